//! What of a mail is compared with what came back of it: its properties, its text, and its
//! attachments byte by byte.

use std::io;

use serde_json::{Map, Value, json};

use super::{AttachmentBody, Message};
use crate::content::digest;
use crate::error::Error;
use crate::item::Item;
use crate::service::Compared;

/// See [`crate::service::Import::compared`].
pub(super) fn compared(item: &Item) -> Result<Compared, Error> {
    let failed = |source| Error::Content { path: item.path.clone(), source };
    let text = |key: &str| item.line.graph.get(key).and_then(Value::as_str).unwrap_or_default();
    let is_draft = item.line.graph.get("isDraft").and_then(Value::as_bool) == Some(true);
    // Nobody received a draft: its date is when it was made.
    let date = text("receivedDateTime").get(..19).filter(|_| !is_draft).unwrap_or("draft");
    let about = message(&Message::read(item)?, false).map_err(failed)?;
    let name = format!("{date} {}", text("subject").trim());
    let content = json!([about["body"], about["attachments"]]);
    Ok(Compared { name, content, all: about })
}

/// What of a mail must come back. Property by property, as it would be posted: so what is known
/// not to come back (see [`crate::Loss`]) is not in it.
fn message(message: &Message, is_nested: bool) -> io::Result<Value> {
    const PROPERTIES: [&str; 12] = [
        "subject",
        "from",
        "sender",
        "toRecipients",
        "ccRecipients",
        "bccRecipients",
        "replyTo",
        "internetMessageId",
        "importance",
        "isRead",
        "flag",
        "categories",
    ];
    let mut about = Map::new();
    for key in PROPERTIES.iter().copied() {
        // One that has no Message-ID is given one.
        if is_nested && key == "internetMessageId" {
            continue;
        }
        about.insert(key.into(), message.json.get(key).cloned().unwrap_or_default());
    }
    // The service fills in who sent it, and what a flag does not say.
    if let Some(flag) = message.json.pointer("/flag/flagStatus") {
        about.insert("flag".into(), flag.clone());
    }
    let body = message.json.pointer("/body/content").and_then(Value::as_str).unwrap_or_default();
    let body = body.replace("\r\n", "\n");
    about.insert("body".into(), digest(&mut body.trim_end().as_bytes())?.into());
    let properties = message.json.get("singleValueExtendedProperties").and_then(Value::as_array);
    for property in properties.into_iter().flatten() {
        let id = property.get("id").and_then(Value::as_str).unwrap_or_default();
        // The header block is the service's to write; the rest is dates, threads, class. A mail
        // in the mail has no dates but those of its own header.
        if id != "String 0x007D" && !(is_nested && id.starts_with("SystemTime")) {
            about.insert(id.into(), property.get("value").cloned().unwrap_or_default());
        }
    }
    let mut attachments = Vec::new();
    for attachment in &message.attachments {
        let content = match &attachment.body {
            AttachmentBody::File(part) => digest(&mut part.open())?.into(),
            AttachmentBody::Item(inner) => self::message(inner, true)?,
        };
        attachments.push(json!({ "name": attachment.name, "content": content }));
    }
    attachments.sort_by_key(Value::to_string);
    about.insert("attachments".into(), attachments.into());
    Ok(about.into())
}
