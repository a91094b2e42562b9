//! A message as JSON.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::call::Preferences;
use crate::compose;
use crate::extended;
use crate::mail::{Address, LONE_SURROGATE, Mail};
use crate::mailbox::{Key, Mailbox, Message};
use crate::page::{Select, escaped};
use crate::reply::Reply;
use crate::routes::{Asked, attachments};

/// How a caller wants to see messages.
pub(crate) struct View<'a> {
    asked: &'a Asked<'a>,
    mailbox: &'a Mailbox,
    immutable: bool,
    text: bool,
    select: Select,
    extended: Vec<String>,
    attachments: bool,
    /// Without the right to content there are only headers.
    content: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(
        asked: &'a Asked<'a>,
        mailbox: &'a Mailbox,
        prefer: &Preferences,
    ) -> View<'a> {
        let select = Select::new(asked.call.option("select"));
        View::with(asked, mailbox, prefer, select, asked.call.option("expand"))
    }

    /// With a selection and expansion that stand in a token rather than in the request.
    pub(crate) fn with(
        asked: &'a Asked<'a>,
        mailbox: &'a Mailbox,
        prefer: &Preferences,
        select: Select,
        expand: Option<&str>,
    ) -> View<'a> {
        View {
            asked,
            mailbox,
            immutable: prefer.immutable_ids,
            text: prefer.text_body,
            select,
            extended: expand.map(extended_ids).unwrap_or_default(),
            attachments: expand
                .is_some_and(|text| text.split(['(', ',']).any(|e| e == "attachments")),
            content: asked.who.has(&["Mail.Read", "Mail.ReadWrite", "full_access_as_app"]),
        }
    }

    fn id(&self, message: &Message) -> String {
        self.id_in(message.folder, message.key)
    }

    /// The id that a message had in a folder.
    pub(crate) fn id_in(&self, folder: u32, key: Key) -> String {
        match self.immutable {
            true => self.mailbox.ids.immutable(key),
            false => self.mailbox.ids.classic(key, folder),
        }
    }

    pub(crate) fn entity(&self, message: &Message, context: &str) -> Reply {
        let mut body = self.row(message, false);
        body["@odata.context"] =
            format!("{}/v1.0/$metadata#{context}", self.asked.call.roots.graph).into();
        Reply::json(body)
    }

    /// What a later delta round says when only the read flag changed.
    pub(crate) fn read_flag(&self, message: &Message) -> Value {
        json!({
            "@odata.type": odata_type(&message.mail),
            "@odata.etag": format!("W/\"{}\"", message.change_key),
            "id": self.id(message),
            "isRead": message.mail.read,
        })
    }

    /// The properties a filter may look at.
    pub(crate) fn filterable(&self, message: &Message) -> Value {
        let mut row = Map::new();
        for name in FILTERABLE {
            row.insert((*name).into(), self.property(name, message));
        }
        let mut extended = message.mail.extended.clone();
        extended.extend(
            message
                .mail
                .message_id
                .iter()
                .map(|id| extended::Property { id: "String 0x1035".into(), value: id.clone() }),
        );
        let one = |p: &extended::Property| json!({"id": p.id, "value": p.value});
        let all: Vec<Value> = extended.iter().map(one).collect();
        row.insert("singleValueExtendedProperties".into(), all.into());
        row.into()
    }

    /// A message of a collection; delta names its type always, lists only when it is special.
    pub(crate) fn row(&self, message: &Message, typed: bool) -> Value {
        let mail = &message.mail;
        let mut row = Map::new();
        let kind = odata_type(mail);
        if typed || kind != "#microsoft.graph.message" {
            row.insert("@odata.type".into(), kind.into());
        }
        row.insert("@odata.etag".into(), format!("W/\"{}\"", message.change_key).into());
        row.insert("id".into(), self.id(message).into());
        for name in DEFAULT.iter().filter(|name| self.select.wants(name)) {
            row.insert((*name).into(), self.property(name, message));
        }
        if mail.meeting.is_some() {
            for name in MEETING.iter().filter(|name| self.select.wants(name)) {
                row.insert((*name).into(), meeting_property(name, mail));
            }
        }
        for name in ON_REQUEST.iter().filter(|name| self.select.names(name)) {
            row.insert((*name).into(), self.property(name, message));
        }
        if !self.content {
            for name in ["body", "bodyPreview", "uniqueBody"] {
                row.remove(name);
            }
        } else {
            self.expand(message, &mut row);
        }
        row.into()
    }

    fn expand(&self, message: &Message, row: &mut Map<String, Value>) {
        let known = self.extended.iter().filter_map(|id| {
            match extended::find(&message.mail.extended, id) {
                Some(property) => Some(json!({"id": property.id, "value": property.value})),
                None => Some(json!({"id": id, "value": extended_value(id, message)?})),
            }
        });
        let known: Vec<Value> = known.collect();
        if !known.is_empty() {
            row.insert("singleValueExtendedProperties".into(), known.into());
        }
        if self.attachments {
            let id = self.id(message);
            let all = attachments::rows(self.mailbox, message, &id, &Select::new(None));
            row.insert("attachments".into(), all.into());
        }
    }

    fn property(&self, name: &str, message: &Message) -> Value {
        let mail = &message.mail;
        match name {
            "createdDateTime" => date(mail.created),
            "lastModifiedDateTime" => date(message.modified),
            "changeKey" => message.change_key.as_str().into(),
            "categories" => mail.categories.clone().into(),
            "receivedDateTime" => mail.received.map_or(Value::Null, date),
            "sentDateTime" => mail.sent.map_or(Value::Null, date),
            "hasAttachments" => mail.has_attachments().into(),
            "internetMessageId" => mail.message_id.clone().into(),
            "subject" => mail.subject.as_str().into(),
            "bodyPreview" => preview(mail).into(),
            "importance" => mail.importance.into(),
            "parentFolderId" => self.mailbox.ids.folder(message.folder).into(),
            "conversationId" => self.mailbox.ids.conversation(mail.conversation).into(),
            "conversationIndex" => conversation_index(mail).into(),
            "isDeliveryReceiptRequested" if mail.draft => {
                (mail.delivery_receipt == Some(true)).into()
            }
            "isDeliveryReceiptRequested" => mail.delivery_receipt.into(),
            "isReadReceiptRequested" => mail.read_receipt.into(),
            "isRead" => mail.read.into(),
            "isDraft" => mail.draft.into(),
            "webLink" => format!(
                "https://outlook.office365.com/owa/?ItemID={}&exvsurl=1&viewmodel=ReadMessageItem",
                escaped(&self.id(message))
            )
            .into(),
            "inferenceClassification" => if mail.other { "other" } else { "focused" }.into(),
            "body" => self.body(mail),
            "uniqueBody" => self.body(mail),
            "sender" if mail.sender.is_some() => {
                mail.sender.as_ref().map_or(Value::Null, recipient)
            }
            "sender" | "from" => mail.from.as_ref().map_or(Value::Null, recipient),
            "toRecipients" => recipients(&mail.to),
            "ccRecipients" => recipients(&mail.cc),
            "bccRecipients" => recipients(&mail.bcc),
            "replyTo" => recipients(&mail.reply_to),
            "flag" if mail.flag.is_some() => mail.flag.clone().into(),
            "flag" if mail.flagged => json!({"flagStatus": "flagged"}),
            "flag" => json!({"flagStatus": "notFlagged"}),
            "internetMessageHeaders" if mail.draft => Value::Null,
            "internetMessageHeaders" => transport_headers(mail),
            _ => Value::Null,
        }
    }

    fn body(&self, mail: &Mail) -> Value {
        match &mail.html {
            Some(html) if !self.text => json!({"contentType": "html", "content": html}),
            _ => json!({"contentType": "text", "content": mail.text}),
        }
    }
}

const FILTERABLE: &[&str] = &[
    "receivedDateTime",
    "createdDateTime",
    "lastModifiedDateTime",
    "sentDateTime",
    "isRead",
    "isDraft",
    "hasAttachments",
    "internetMessageId",
    "subject",
    "importance",
    "from",
    "sender",
    "conversationId",
    "parentFolderId",
    "flag",
];

const DEFAULT: &[&str] = &[
    "createdDateTime",
    "lastModifiedDateTime",
    "changeKey",
    "categories",
    "receivedDateTime",
    "sentDateTime",
    "hasAttachments",
    "internetMessageId",
    "subject",
    "bodyPreview",
    "importance",
    "parentFolderId",
    "conversationId",
    "conversationIndex",
    "isDeliveryReceiptRequested",
    "isReadReceiptRequested",
    "isRead",
    "isDraft",
    "webLink",
    "inferenceClassification",
    "body",
    "sender",
    "from",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
    "flag",
];

const ON_REQUEST: &[&str] = &["uniqueBody", "internetMessageHeaders"];

const MEETING: &[&str] = &[
    "meetingMessageType",
    "type",
    "isOutOfDate",
    "isAllDay",
    "isDelegated",
    "responseRequested",
    "allowNewTimeProposals",
    "meetingRequestType",
    "startDateTime",
    "endDateTime",
    "location",
    "recurrence",
    "previousLocation",
    "previousStartDateTime",
    "previousEndDateTime",
];

fn odata_type(mail: &Mail) -> &'static str {
    match mail.meeting {
        Some(_) => "#microsoft.graph.eventMessageRequest",
        None => "#microsoft.graph.message",
    }
}

fn meeting_property(name: &str, mail: &Mail) -> Value {
    let Some(meeting) = &mail.meeting else {
        return Value::Null;
    };
    let zoned = |date: DateTime<Utc>| json!({"dateTime": date.format("%Y-%m-%dT%H:%M:%S.0000000").to_string(), "timeZone": "UTC"});
    match name {
        "meetingMessageType" => "meetingRequest".into(),
        "type" => "singleInstance".into(),
        "isOutOfDate" | "isAllDay" | "isDelegated" => false.into(),
        "responseRequested" | "allowNewTimeProposals" => true.into(),
        "meetingRequestType" => "newMeetingRequest".into(),
        "startDateTime" => zoned(meeting.start),
        "endDateTime" => zoned(meeting.end),
        "location" => {
            json!({"displayName": meeting.place, "locationType": "default", "uniqueIdType": "unknown"})
        }
        _ => Value::Null,
    }
}

pub(crate) fn date(date: DateTime<Utc>) -> Value {
    date.format("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

/// What the transport has left, and what a client has added.
fn transport_headers(mail: &Mail) -> Value {
    let one = |(name, value): &(String, String)| json!({"name": name, "value": value.replace("\r\n", "")});
    match &mail.transport {
        Some(block) => {
            compose::headers_of(block).iter().chain(&mail.own_headers).map(one).collect()
        }
        None if mail.made => mail.own_headers.iter().map(one).collect(),
        None => mail.headers.iter().map(one).collect(),
    }
}

fn recipient(address: &Address) -> Value {
    json!({"emailAddress": {"name": address.name, "address": address.address}})
}

fn recipients(list: &[Address]) -> Value {
    list.iter().map(recipient).collect::<Vec<_>>().into()
}

fn preview(mail: &Mail) -> String {
    mail.text.chars().take(255).collect()
}

fn conversation_index(mail: &Mail) -> String {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&mail.when().timestamp().to_be_bytes()[3..]);
    bytes.extend_from_slice(&crate::dice::guid_bytes(&[mail.conversation, 6]));
    data_encoding::BASE64.encode(&bytes)
}

/// The ids in `singleValueExtendedProperties($filter=id eq 'A' or id eq 'B')`.
pub(crate) fn extended_ids(expand: &str) -> Vec<String> {
    let Some(inside) = expand.split_once("singleValueExtendedProperties(").map(|(_, rest)| rest)
    else {
        return Vec::new();
    };
    inside.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

/// MAPI properties, by tag, as far as they are known. Case and leading zeros of the tag vary.
fn extended_value(id: &str, message: &Message) -> Option<String> {
    let (kind, tag) = id.split_once(' ')?;
    let tag = u32::from_str_radix(tag.trim().to_lowercase().strip_prefix("0x")?, 16).ok()?;
    let mail = &message.mail;
    let value = match (kind.to_lowercase().as_str(), tag) {
        ("string", 0x1a) => mail.class.to_owned(),
        ("string", 0x37) => mail.subject.replace(LONE_SURROGATE, "\u{fffd}"),
        ("string", 0x7d) if mail.transport.is_some() => mail.transport.clone()?,
        ("string", 0x7d) if !mail.draft && !mail.made => {
            mail.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
        }
        ("string", 0x1035) => mail.message_id.clone()?,
        ("string", 0x1042) => mail.in_reply_to.clone()?,
        ("string", 0x1039) => mail.references.clone()?,
        ("systemtime", 0xe06) => date(mail.received?).as_str()?.to_owned(),
        ("systemtime", 0x39) => date(mail.sent?).as_str()?.to_owned(),
        ("integer", 0xe07) => (u32::from(mail.read)
            | u32::from(mail.draft) << 3
            | u32::from(mail.has_attachments()) << 4)
            .to_string(),
        ("integer" | "long", 0xe08) => {
            let attached: u64 = mail.attachments.iter().map(|a| a.size()).sum();
            (mail.text.len() as u64 * 2 + attached + 8000).to_string()
        }
        _ => return None,
    };
    Some(value)
}
