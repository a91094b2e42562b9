//! The attachments of a message: with it, after it, or in an upload session (FACTS 5.2).

use std::io;

use graph::{Prefer, Upload};
use serde_json::{Value, json};

use super::message::{Attachment, AttachmentBody, Message};
use super::place::MailPlace;
use crate::error::Error;
use crate::sequential::Sequential;

/// Bytes of JSON that a message and its attachments may have in one request of some 4 MB.
const MOST_IN_ONE: u64 = 3_000_000;
/// From here on an attachment needs an upload session.
const LARGE: u64 = 3_000_000;
/// Bytes of a part of one: at most 4 MB; a multiple of 320 KiB pleases every host.
const CHUNK: u64 = 3_932_160;

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

/// What the service has, without the bytes.
pub(super) async fn list(place: &MailPlace, id: &str) -> Result<Vec<Attached>, graph::Error> {
    let path =
        format!("{}/attachments?$select=id,name,contentType,size,isInline", place.message(id));
    let mut pages = place.graph.pages(place.scope.clone(), &path, Prefer::none());
    let mut all = Vec::new();
    while let Some(page) = pages.next().await? {
        for item in &page.items {
            all.push(item.parse()?);
        }
    }
    Ok(all)
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
    let attachment = &message.attachments[at];
    let found = || async {
        let named = |listed: &Value| listed["name"] == attachment.name.as_str();
        let mut listed = list(place, id).await?.into_iter().filter(named);
        Ok(listed.nth(before))
    };
    let made = match &attachment.body {
        AttachmentBody::File(part) if part.size() >= LARGE => {
            let upload = session(place, id, attachment, part.size());
            let part = part.clone();
            let mut source = Sequential::new(Box::new(move || Ok(part.open())));
            place.graph.upload(&upload, &mut source, found).await.map(drop)
        }
        _ => {
            let failed = |source| Error::Content { path: path.to_owned(), source };
            let body = attachment.json().map_err(failed)?;
            let to = format!("{}/attachments", place.message(id));
            place.graph.create(&place.scope, &to, &body, found).await.map(drop)
        }
    };
    let doing = || format!("adding the attachment {:?} of {path}", attachment.name);
    made.map_err(|source| Error::Graph { doing: doing(), source })
}

fn session(place: &MailPlace, id: &str, attachment: &Attachment, size: u64) -> Upload {
    let mut item = json!({
        "attachmentType": "file",
        "name": attachment.name,
        "size": size,
        "contentType": attachment.content_type,
        "isInline": attachment.is_inline,
    });
    if let Some(id) = &attachment.content_id {
        item["contentId"] = id.as_str().into();
    }
    Upload {
        scope: place.scope.clone(),
        path: format!("{}/attachments/createUploadSession", place.message(id)),
        body: json!({ "AttachmentItem": item }),
        total: size,
        chunk: CHUNK,
    }
}
