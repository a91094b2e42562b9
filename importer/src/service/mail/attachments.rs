//! The attachments of a message: with it, after it, or in an upload session (FACTS 5.2).

use std::io;

use serde_json::Value;

use super::message::{AttachmentBody, Message};
use super::place::MailPlace;
use crate::error::Error;
use crate::mailbox::{File, LARGE};

/// Bytes of JSON that a message and its attachments may have in one request of some 4 MB.
const MOST_IN_ONE: u64 = 3_000_000;

/// An attachment as the service lists it.
pub(super) type Attached = Value;

/// How the attachments of a message are sent.
#[derive(Debug)]
pub(super) struct Plan {
    /// With the message itself.
    pub(super) inline: Vec<Value>,
    /// After it, in this order, by their place in the message.
    pub(super) later: Vec<usize>,
}

/// What fits into the request that makes the message goes with it: it is then whole at once.
pub(super) fn plan(message: &Message) -> io::Result<Plan> {
    let mut left = MOST_IN_ONE.saturating_sub(message.json.to_string().len() as u64);
    let mut plan = Plan { inline: Vec::new(), later: Vec::new() };
    for (at, attachment) in message.attachments.iter().enumerate() {
        let cost = attachment.json_size();
        if plan.later.is_empty() && cost <= left {
            left -= cost;
            plan.inline.push(attachment.json()?);
        } else {
            plan.later.push(at);
        }
    }
    Ok(plan)
}

/// The attachments of the message that the service does not list. Two may have one name: the
/// larger is looked for first, for it can't be the smaller.
pub(super) fn missing(message: &Message, attached: &[Attached]) -> Vec<usize> {
    let mut listed: Vec<(&str, u64)> = attached
        .iter()
        .map(|one| (one["name"].as_str().unwrap_or_default(), one["size"].as_u64().unwrap_or(0)))
        .collect();
    listed.sort_unstable_by_key(|(_, size)| *size);
    let least = |at: &usize| match &message.attachments[*at].body {
        AttachmentBody::File(part) => part.size(),
        AttachmentBody::Item(_) => 0,
    };
    let mut wanted: Vec<usize> = (0..message.attachments.len()).collect();
    wanted.sort_by_key(|at| std::cmp::Reverse(least(at)));
    wanted.retain(|at| {
        let (name, least) = (message.attachments[*at].name.as_str(), least(at));
        let found = listed.iter().position(|(listed, size)| *listed == name && *size >= least);
        found.map(|found| listed.remove(found)).is_none()
    });
    wanted.sort_unstable();
    wanted
}

/// How many of those listed have that name.
pub(super) fn named(attached: &[Attached], name: &str) -> usize {
    attached.iter().filter(|listed| listed["name"] == name).count()
}

/// Adds the attachment at `at` of `message` to the message `id` that was made of it, which has
/// `before` others with its name.
pub(super) async fn add(
    place: &MailPlace,
    path: &str,
    id: &str,
    at: usize,
    before: usize,
    message: &Message,
) -> Result<(), Error> {
    let (attachment, made) = (&message.attachments[at], place.message(id));
    let added = match &attachment.body {
        AttachmentBody::File(part) if part.size() >= LARGE => {
            let file = File {
                name: &attachment.name,
                content_type: &attachment.content_type,
                content_id: attachment.content_id.as_deref(),
                is_inline: attachment.is_inline,
                size: part.size(),
            };
            let part = part.clone();
            let open = Box::new(move || Ok(part.open()));
            place.mailbox.attach_large(&made, &file, before, open).await
        }
        _ => {
            let failed = |source| Error::Content { path: path.to_owned(), source };
            let body = attachment.json().map_err(failed)?;
            place.mailbox.attach(&made, &body, before).await
        }
    };
    let doing = || format!("adding the attachment {:?} of {path}", attachment.name);
    added.map_err(|source| Error::Graph { doing: doing(), source })
}
