//! Messages written by clients: created, changed, moved, copied, deleted, never sent.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use http::Method;
use serde_json::Value;

use crate::compose::{self, Object};
use crate::error::Refusal;
use crate::extended;
use crate::mail::Attachment;
use crate::mailbox::{Draft, Edition, Mailbox, Message};
use crate::page::{Select, escaped};
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::message::View;
use crate::routes::{Answer, Asked, attachment_upload, attachments, folders};
use crate::tenant::Mailed;

/// Roles that may change mail.
const WRITERS: [&str; 2] = ["Mail.ReadWrite", "full_access_as_app"];

/// The largest message: what Exchange Online can be set to at most.
const MOST: u64 = 150 << 20;

pub(crate) fn need_write(asked: &Asked<'_>) -> Result<(), Refusal> {
    let text = "Access is denied. Check credentials and try again.";
    asked.need(&WRITERS, ("ErrorAccessDenied", text))
}

/// `POST .../messages`
pub(crate) fn create(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    folder: Option<u32>,
) -> Answer {
    if asked.call.method != Method::POST {
        return Err(Refusal::method_not_allowed());
    }
    need_write(asked)?;
    let is_mime = asked.call.header("content-type").is_some_and(|t| t.starts_with("text/plain"));
    let draft = match (is_mime, folder) {
        (true, Some(_)) => {
            let text = "The request body could not be deserialized.";
            return Err(Refusal::new(400, "UnableToDeserializePostBody", text));
        }
        (true, None) => from_mime(asked)?,
        (false, _) => from_json(asked)?,
    };
    let size = match &draft {
        Draft::Mime(mime) => mime.len(),
        Draft::Json(json, attachments) => {
            json.len() + attachments.iter().map(Attachment::size).sum::<u64>()
        }
    };
    need_room(mailbox, size)?;
    let drafts = mailbox.folder("drafts").ok_or_else(Refusal::item_not_found)?;
    let key = mailbox.create(folder.unwrap_or(drafts), draft, size, Utc::now());
    let message = mailbox.message(key).ok_or_else(Refusal::item_not_found)?;
    Ok(made(asked, person, mailbox, &message))
}

/// The reply to a request that made a message.
fn made(asked: &Asked<'_>, person: &Person, mailbox: &Mailbox, message: &Message) -> Reply {
    let prefer = asked.call.preferences();
    let view = View::with(asked, mailbox, &prefer, Select::new(None), None);
    let context = format!("users('{}')/messages/$entity", escaped(&person.id));
    let mut reply = view.entity(message, &context);
    reply.status = http::StatusCode::CREATED;
    let id = view.id_in(message.folder, message.key);
    let root = &asked.call.roots.graph;
    let place =
        format!("{root}/v1.0/users('{}')/messages('{}')", escaped(&person.id), escaped(&id));
    reply.with("location", &place)
}

pub(crate) fn need_room(mailbox: &Mailbox, size: u64) -> Result<(), Refusal> {
    match mailbox.has_room(size) {
        true => Ok(()),
        false => Err(compose::full(&io::Error::other("the mailbox's quota is used up"))),
    }
}

fn from_mime(asked: &Asked<'_>) -> Result<Draft, Refusal> {
    compose::fits(asked.call)?;
    let text: Vec<u8> =
        asked.call.body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let mime = STANDARD.decode(text).map_err(|_| {
        let text = "Invalid base64 string for MIME content.";
        Refusal::new(400, "ErrorMimeContentInvalidBase64String", text)
    })?;
    let blob = asked.world.spool.store(&mime).map_err(|error| compose::full(&error))?;
    Ok(Draft::Mime(blob))
}

fn from_json(asked: &Asked<'_>) -> Result<Draft, Refusal> {
    let mut json = compose::body(asked.call)?;
    compose::message_properties(&json)?;
    let attachments = compose::take_attachments(&asked.world.spool, &mut json)?;
    let given = json.get("internetMessageId").and_then(Value::as_str).unwrap_or_default();
    let extended = json.get("singleValueExtendedProperties").map(compose::properties);
    let has_id = !given.is_empty()
        || extended.is_some_and(|all| extended::find(&all, compose::MESSAGE_ID).is_some());
    if !has_id {
        let id = format!("<{}@eurprd04.prod.outlook.com>", asked.call.request_id);
        json.insert("internetMessageId".into(), id.into());
    }
    let json = serde_json::to_vec(&json).unwrap_or_default();
    let json = asked.world.spool.store(&json).map_err(|error| compose::full(&error))?;
    Ok(Draft::Json(json, attachments))
}

/// Whatever is not a GET on a message or below it.
pub(crate) fn change(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    message: &Message,
    rest: &[&str],
) -> Answer {
    if let ["send" | "reply" | "replyAll" | "forward"] = rest {
        return never_sent(asked, &person.id, rest[0], Some(mailbox.ids.immutable(message.key)));
    }
    need_write(asked)?;
    if_match(asked, message)?;
    match (&asked.call.method, rest) {
        (&Method::PATCH, []) => patch(asked, person, mailbox, message),
        (&Method::DELETE, []) => {
            let bin = folder(mailbox, "deleteditems")?;
            let edition = match mailbox.is_within(message.folder, bin) {
                true => Edition::Move(folder(mailbox, "recoverableitemsdeletions")?),
                false => Edition::Move(bin),
            };
            mailbox.edit(message.key, edition);
            Ok(Reply::empty(204))
        }
        (&Method::POST, ["permanentDelete"]) => {
            mailbox.edit(message.key, Edition::Delete);
            Ok(Reply::empty(204))
        }
        (&Method::POST, ["move" | "copy"]) => {
            let to = destination(asked, mailbox)?;
            let key = match rest[0] {
                "move" => mailbox.edit(message.key, Edition::Move(to)).then_some(message.key),
                _ => mailbox.copy(message.key, to),
            };
            let moved = key.and_then(|key| mailbox.message(key));
            Ok(made(asked, person, mailbox, &moved.ok_or_else(Refusal::item_not_found)?))
        }
        (&Method::POST, ["attachments"]) => attach(asked, person, mailbox, message),
        (&Method::POST, ["attachments", "createUploadSession"]) => {
            attachment_upload::open(asked, person, mailbox, message)
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn folder(mailbox: &Mailbox, well_known: &str) -> Result<u32, Refusal> {
    mailbox.folder(well_known).ok_or_else(Refusal::item_not_found)
}

/// The folder that a body names as `destinationId`.
pub(crate) fn destination(asked: &Asked<'_>, mailbox: &Mailbox) -> Result<u32, Refusal> {
    let body = compose::body(asked.call)?;
    let name = body.get("destinationId").or(body.get("DestinationId")).and_then(Value::as_str);
    let name = name.ok_or_else(|| {
        let text = "Required parameter 'DestinationId' is missing.";
        Refusal::new(400, "ErrorInvalidParameter", text)
    })?;
    folders::known(mailbox, name)
}

fn if_match(asked: &Asked<'_>, message: &Message) -> Result<(), Refusal> {
    let Some(tag) = asked.call.header("if-match") else {
        return Ok(());
    };
    let current = format!("W/\"{}\"", message.change_key);
    let listed = tag.split(',').map(str::trim);
    match listed.into_iter().any(|tag| tag == "*" || tag == current) {
        true => Ok(()),
        false => Err(Refusal::new(
            412,
            "ErrorIrresolvableConflict",
            "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.",
        )),
    }
}

/// Properties that only drafts let change.
const OF_DRAFTS: [&str; 11] = [
    "subject",
    "body",
    "from",
    "sender",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
    "internetMessageId",
    "isReadReceiptRequested",
    "isDeliveryReceiptRequested",
];

/// Properties that any message lets change, besides those of the mailbox itself.
const OF_ALL: [&str; 3] =
    ["importance", "inferenceClassification", "singleValueExtendedProperties"];

fn patch(asked: &Asked<'_>, person: &Person, mailbox: &Mailbox, message: &Message) -> Answer {
    let body = compose::body(asked.call)?;
    compose::message_properties(&body)?;
    let mut properties = Object::new();
    let mut own = Vec::new();
    for (name, value) in body {
        match name.as_str() {
            "isRead" => own.extend(value.as_bool().map(Edition::Read)),
            "flag" => own.push(Edition::Flag(value)),
            "categories" => {
                let names = serde_json::from_value(value).unwrap_or_default();
                own.push(Edition::Categories(names));
            }
            name if OF_DRAFTS.contains(&name) && !message.mail.draft => {
                let text = format!("The property '{name}' of a sent message cannot be changed.");
                return Err(Refusal::new(400, "ErrorInvalidPropertyUpdateSentMessage", text));
            }
            "singleValueExtendedProperties" => {
                let kept =
                    value.as_array().cloned().unwrap_or_default().into_iter().filter(|p| {
                        !compose::at_creation_only(p["id"].as_str().unwrap_or_default())
                    });
                properties.insert(name, kept.collect());
            }
            known if OF_DRAFTS.contains(&known) || OF_ALL.contains(&known) => {
                properties.insert(name, value);
            }
            // Read-only ones are ignored, as they are at creation.
            _ => {}
        }
    }
    if !properties.is_empty() {
        need_room(mailbox, asked.call.body.len() as u64)?;
        mailbox.edit(message.key, Edition::Properties(properties));
        mailbox.index_again(message.key);
    }
    for edition in own {
        mailbox.edit(message.key, edition);
    }
    let message = mailbox.message(message.key).ok_or_else(Refusal::item_not_found)?;
    let prefer = asked.call.preferences();
    let view = View::with(asked, mailbox, &prefer, Select::new(None), None);
    Ok(view.entity(&message, &format!("users('{}')/messages/$entity", escaped(&person.id))))
}

/// `POST .../attachments`
fn attach(asked: &Asked<'_>, person: &Person, mailbox: &Mailbox, message: &Message) -> Answer {
    // The attachment of 3 MB that fits makes a body of a little more than 4 MB.
    let body = compose::body(asked.call)?;
    compose::conforms("attachment", &body)?;
    if let Some(item) = body.get("item").and_then(Value::as_object) {
        compose::item_properties(item)?;
    }
    let attachment = compose::attachment(&asked.world.spool, body.into())?;
    let number = add(mailbox, message, attachment)?;
    let message = mailbox.message(message.key).ok_or_else(Refusal::item_not_found)?;
    Ok(attachments::made(asked, person, mailbox, &message, number))
}

/// Adds an attachment to a message; returns its number.
pub(crate) fn add(
    mailbox: &Mailbox,
    message: &Message,
    attachment: Attachment,
) -> Result<usize, Refusal> {
    let size = attachment.size();
    let before: u64 = message.mail.attachments.iter().map(Attachment::size).sum();
    if before + size > MOST {
        let text = "The message exceeds the maximum supported size.";
        return Err(Refusal::new(413, "ErrorMessageSizeExceeded", text));
    }
    need_room(mailbox, size)?;
    mailbox.use_room(size);
    mailbox.attach(message.key, attachment).ok_or_else(Refusal::item_not_found)
}

/// `send` and its kin: accepted as always, written down, and nobody is mailed.
pub(crate) fn never_sent(
    asked: &Asked<'_>,
    user: &str,
    action: &str,
    message: Option<String>,
) -> Answer {
    if asked.call.method != Method::POST {
        return Err(Refusal::method_not_allowed());
    }
    let (person, _) = folders::mailbox_of(asked, user)?;
    let body = asked.call.json().unwrap_or_default();
    asked.world.tenant.note_mailed(Mailed {
        user: person.id.clone(),
        action: action.to_owned(),
        message,
        body,
    });
    Ok(Reply::empty(202))
}
