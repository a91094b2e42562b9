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

/// The attachments of the message that the service does not list.
pub(super) fn missing(message: &Message, attached: &[Attached]) -> Vec<usize> {
    let mut names: Vec<&str> =
        attached.iter().filter_map(|attachment| attachment["name"].as_str()).collect();
    let mut missing = Vec::new();
    for (at, attachment) in message.attachments.iter().enumerate() {
        match names.iter().position(|name| *name == attachment.name) {
            Some(found) => drop(names.swap_remove(found)),
            None => missing.push(at),
        }
    }
    missing
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

/// Adds the attachment at `at` of `message` to the message `id` that was made of it.
pub(super) async fn add(
    place: &MailPlace,
    path: &str,
    id: &str,
    at: usize,
    message: &Message,
) -> Result<(), Error> {
    let attachment = &message.attachments[at];
    // Two may have one name: this one is there when there are as many as up to here.
    let same = |other: &&Attachment| other.name == attachment.name;
    let nth = message.attachments[..=at].iter().filter(same).count();
    let found = || async {
        let named = |listed: &Value| listed["name"] == attachment.name.as_str();
        let mut listed = list(place, id).await?.into_iter().filter(named);
        Ok(listed.nth(nth - 1))
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
