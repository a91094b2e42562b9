//! Messages as clients write them: the JSON of a POST or PATCH, checked and then read as a mail.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, SubsecRound, Utc};
use serde_json::{Map, Value};

use crate::blob::Blob;
use crate::error::Refusal;
use crate::extended::{self, Property};
use crate::mail::{Address, Attached, Attachment, Mail};
use crate::spool::Spool;
use crate::{dice, mime};

mod check;

pub(crate) use check::{
    at_creation_only, body, conforms, extended_properties, fits, item_properties,
    message_properties,
};

/// MAPI properties that count at creation only.
const MESSAGE_FLAGS: &str = "Integer 0xe07";
const DELIVERY_TIME: &str = "SystemTime 0xe06";
const SUBMIT_TIME: &str = "SystemTime 0x39";
const TRANSPORT_HEADERS: &str = "String 0x7d";
pub(crate) const MESSAGE_ID: &str = "String 0x1035";
const IN_REPLY_TO: &str = "String 0x1042";
const REFERENCES: &str = "String 0x1039";
const MESSAGE_CLASS: &str = "String 0x1a";
pub(crate) const AT_CREATION: [&str; 8] = [
    MESSAGE_FLAGS,
    DELIVERY_TIME,
    SUBMIT_TIME,
    TRANSPORT_HEADERS,
    MESSAGE_ID,
    IN_REPLY_TO,
    REFERENCES,
    MESSAGE_CLASS,
];

const UNSENT: i64 = 8;
const READ: i64 = 1;

/// Message classes that keep their name; any other is read as an ordinary note.
const CLASSES: [&str; 5] = [
    "IPM.Note",
    "IPM.Note.SMIME",
    "IPM.Note.SMIME.MultipartSigned",
    "REPORT.IPM.Note.NDR",
    "IPM.Schedule.Meeting.Request",
];

/// A file larger than this needs an upload session.
pub(crate) const MOST_INLINE: u64 = 3 << 20;

pub(crate) type Object = Map<String, Value>;

/// The members of what was written as a JSON object.
pub(crate) fn object(json: Value) -> Object {
    match json {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

/// Takes the attachments out of a message's JSON; files go to the spool.
pub(crate) fn take_attachments(
    spool: &Spool,
    json: &mut Object,
) -> Result<Vec<Attachment>, Refusal> {
    let Some(Value::Array(all)) = json.remove("attachments") else {
        return Ok(Vec::new());
    };
    all.into_iter().map(|one| attachment(spool, one)).collect()
}

/// One attachment; its JSON has been checked against the schema.
pub(crate) fn attachment(spool: &Spool, mut json: Value) -> Result<Attachment, Refusal> {
    let kind = json["@odata.type"].as_str().unwrap_or_default().to_owned();
    let text = |name: &str| json[name].as_str().map(one_line);
    let (name, content_type) = (text("name"), text("contentType"));
    let (content_id, inline) = (text("contentId"), json["isInline"] == true);
    let what = match kind.trim_start_matches("#microsoft.graph.") {
        "fileAttachment" => Attached::File(file(spool, &json["contentBytes"])?),
        "itemAttachment" => Attached::Item(item(spool, json["item"].take())?),
        _ => {
            let text = format!("An attachment of the type '{kind}' cannot be created.");
            return Err(Refusal::new(400, "ErrorInvalidAttachmentType", text));
        }
    };
    let name = name.filter(|name| !name.is_empty()).ok_or_else(|| {
        Refusal::new(400, "ErrorRequiredPropertyMissing", "Required property 'name' is missing.")
    })?;
    let usual = "application/octet-stream";
    Ok(Attachment {
        name,
        content_type: content_type.unwrap_or_else(|| usual.to_owned()),
        content_id: content_id.map(|id| id.trim_matches(['<', '>']).to_owned()),
        inline,
        what,
    })
}

fn file(spool: &Spool, content: &Value) -> Result<Blob, Refusal> {
    let content = content.as_str().ok_or_else(|| {
        let text = "Required property 'ContentBytes' is missing.";
        Refusal::new(400, "ErrorRequiredPropertyMissing", text)
    })?;
    let bytes = STANDARD.decode(content).map_err(|_| {
        let text = "Cannot convert a value to the expected type 'Edm.Binary'.";
        Refusal::new(400, "RequestBodyRead", text)
    })?;
    if bytes.len() as u64 > MOST_INLINE {
        let text = "The attachment exceeds 3 MB: create an upload session.";
        return Err(Refusal::new(413, "ErrorMessageSizeExceeded", text));
    }
    spool.store(&bytes).map_err(|error| full(&error))
}

/// What goes into a header must not begin another one.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], "")
}

/// A disk that is full looks like a service that is.
pub(crate) fn full(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "the spool file");
    Refusal::new(507, "ErrorQuotaExceeded", "The mailbox quota has been exceeded.")
}

/// An attached message, kept as the MIME that it becomes.
fn item(spool: &Spool, item: Value) -> Result<Blob, Refusal> {
    let Value::Object(mut json) = item else {
        let text = "Required property 'Item' is missing.";
        return Err(Refusal::new(400, "ErrorRequiredPropertyMissing", text));
    };
    let attachments = take_attachments(spool, &mut json)?;
    let mail = mail(&json, attachments, Utc::now().trunc_subsecs(0));
    let nonce = dice::text(&mail.subject);
    spool.store(&mime::render(&mail, nonce)).map_err(|error| full(&error))
}

/// Reads a whole message that was created as JSON.
pub(crate) fn mail(json: &Object, attachments: Vec<Attachment>, created: DateTime<Utc>) -> Mail {
    let mut mail = Mail {
        created,
        received: Some(created),
        sent: Some(created),
        class: "IPM.Note",
        importance: "normal",
        attachments,
        made: true,
        ..Mail::default()
    };
    apply(&mut mail, json);
    at_creation(&mut mail);
    mail.conversation = dice::text(match &mail.references {
        Some(references) => references.split_whitespace().next().unwrap_or_default(),
        None => mail.subject.trim_start_matches(['R', 'E', 'A', 'W', 'r', 'e', 'w', ':', ' ']),
    });
    mail.headers = mime::rebuilt(&mail, &headers_of(mail.transport.as_deref().unwrap_or("")));
    mail
}

/// What the MAPI properties say that are heeded at creation only.
fn at_creation(mail: &mut Mail) {
    let all = std::mem::take(&mut mail.extended);
    let text = |id| extended::find(&all, id).map(|property| property.value.clone());
    let time = |id| text(id).and_then(|value| parse_time(&value));
    let flags = text(MESSAGE_FLAGS).and_then(|value| value.trim().parse::<i64>().ok());
    mail.draft = flags.is_none_or(|flags| flags & UNSENT != 0);
    mail.read = mail.draft || flags.is_some_and(|flags| flags & READ != 0);
    mail.received = time(DELIVERY_TIME).or(mail.received);
    mail.sent = time(SUBMIT_TIME).or(mail.sent);
    mail.transport = text(TRANSPORT_HEADERS);
    mail.message_id = mail.message_id.take().or_else(|| text(MESSAGE_ID));
    mail.in_reply_to = text(IN_REPLY_TO);
    mail.references = text(REFERENCES);
    let class = text(MESSAGE_CLASS).unwrap_or_default();
    let known = CLASSES.into_iter().find(|known| known.eq_ignore_ascii_case(&class));
    mail.class = known.unwrap_or("IPM.Note");
    // Those without a property of their own can still be asked for as they were written.
    let shown = [TRANSPORT_HEADERS, MESSAGE_ID, DELIVERY_TIME, SUBMIT_TIME, MESSAGE_FLAGS];
    mail.extended = all;
    mail.extended.retain(|property| !shown.iter().any(|id| extended::same(id, &property.id)));
}

/// A time as extended properties hold it.
pub(crate) fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text.trim()).ok()?.to_utc();
    (1601..=9999).contains(&time.year()).then_some(time)
}

/// Changes a mail as the properties of a POST or PATCH say. Whether it is read is the mailbox's
/// own.
pub(crate) fn apply(mail: &mut Mail, json: &Object) {
    for (name, value) in json {
        let text = || value.as_str().unwrap_or_default().to_owned();
        match name.as_str() {
            "subject" => mail.subject = text(),
            "body" => apply_body(mail, value),
            "from" => mail.from = address(value),
            "sender" => mail.sender = address(value),
            "toRecipients" => mail.to = addresses(value),
            "ccRecipients" => mail.cc = addresses(value),
            "bccRecipients" => mail.bcc = addresses(value),
            "replyTo" => mail.reply_to = addresses(value),
            "importance" => {
                let known = ["low", "normal", "high"].into_iter().find(|known| value == known);
                mail.importance = known.unwrap_or("normal");
            }
            "internetMessageId" => mail.message_id = Some(text()).filter(|id| !id.is_empty()),
            "categories" => {
                mail.categories = serde_json::from_value(value.clone()).unwrap_or_default();
            }
            "flag" if value.is_object() => mail.set_flag(value.clone()),
            "inferenceClassification" => mail.other = value == "other",
            "isReadReceiptRequested" => mail.read_receipt = value == true,
            "isDeliveryReceiptRequested" => mail.delivery_receipt = value.as_bool(),
            "internetMessageHeaders" => mail.own_headers = own_headers(value),
            "singleValueExtendedProperties" => {
                for property in properties(value) {
                    mail.extended.retain(|old| !extended::same(&old.id, &property.id));
                    mail.extended.push(property);
                }
            }
            _ => {}
        }
    }
    if mail.sender.is_none() {
        mail.sender = mail.from.clone();
    }
}

fn apply_body(mail: &mut Mail, body: &Value) {
    let content = body["content"].as_str().unwrap_or_default();
    let is_html = body["contentType"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("html"));
    mail.html = is_html.then(|| content.to_owned());
    mail.text = match is_html {
        true => mail_parser::decoders::html::html_to_text(content),
        false => content.to_owned(),
    };
}

fn address(value: &Value) -> Option<Address> {
    let one = value.get("emailAddress").filter(|one| one.is_object())?;
    let address = one_line(one["address"].as_str().unwrap_or_default());
    let name = one["name"].as_str().map_or_else(|| address.clone(), str::to_owned);
    Some(Address { name, address })
}

fn addresses(value: &Value) -> Vec<Address> {
    value.as_array().into_iter().flatten().filter_map(address).collect()
}

/// The properties of a `singleValueExtendedProperties` array.
pub(crate) fn properties(value: &Value) -> Vec<Property> {
    let one = |value: &Value| {
        let id = extended::canonical(value["id"].as_str()?)?;
        Some(Property { id, value: value["value"].as_str().unwrap_or_default().to_owned() })
    };
    value.as_array().into_iter().flatten().filter_map(one).collect()
}

/// Headers that a client may add: all others are ignored.
fn own_headers(value: &Value) -> Vec<(String, String)> {
    let one = |header: &Value| {
        let name = header["name"].as_str()?;
        let own = name.to_ascii_lowercase().starts_with("x-")
            && name.chars().all(|c| c.is_ascii_graphic() && c != ':');
        own.then(|| (name.to_owned(), header["value"].as_str().unwrap_or_default().to_owned()))
    };
    value.as_array().into_iter().flatten().filter_map(one).collect()
}

/// The headers of a block; folded values keep their line breaks.
pub(crate) fn headers_of(block: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.starts_with([' ', '\t']), headers.last_mut()) {
            (true, Some((_, value))) => {
                value.push_str("\r\n");
                value.push_str(line);
            }
            (true, None) => {}
            (false, _) => {
                if let Some((name, value)) = line.split_once(':') {
                    headers.push((name.trim().to_owned(), value.trim().to_owned()));
                }
            }
        }
    }
    headers
}
