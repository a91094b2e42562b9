//! The properties of a message: from the metadata line where it has them, else from the header
//! block (FACTS 5.1 and 8.2).

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use mail_parser::HeaderValue;
use serde_json::{Map, Value, json};

use super::address::{MOST_RECIPIENTS, People};
use super::head::Head;
use crate::place::Loss;

/// Largest header block the service is given, in bytes.
pub(super) const MOST_HEADERS: u64 = 256 * 1024;

/// PidTagMessageFlags, set to mfSubmitted: without mfUnsent it is no draft.
const MESSAGE_FLAGS: &str = "Integer 0x0E07";
/// PidTagMessageDeliveryTime.
const DELIVERY_TIME: &str = "SystemTime 0x0E06";
/// PidTagClientSubmitTime.
const SUBMIT_TIME: &str = "SystemTime 0x0039";
/// PidTagTransportMessageHeaders.
const TRANSPORT_HEADERS: &str = "String 0x007D";
/// PidTagInReplyToId.
const IN_REPLY_TO: &str = "String 0x1042";
/// PidTagInternetReferences.
const REFERENCES: &str = "String 0x1039";
/// PidTagMessageClass.
const MESSAGE_CLASS: &str = "String 0x001A";
/// PidTagLastVerbExecuted and PidTagLastVerbExecutionTime: the icon of what was replied to.
const LAST_VERB: [&str; 2] = ["Integer 0x1081", "SystemTime 0x1082"];

/// What is known of a message.
pub(super) struct Known<'a> {
    pub(super) head: &'a Head,
    /// Bytes of the header block, of which `head` may be a part.
    pub(super) head_size: u64,
    /// The service's own JSON; null of a mail in a mail.
    pub(super) graph: &'a Value,
    /// Seconds since 1970, for a mail that says nothing else.
    pub(super) received: Option<i64>,
    /// Its content is one encrypted or signed blob (RFC 8551).
    pub(super) is_opaque: bool,
}

impl Known<'_> {
    /// All properties but the body. Losses are added to `losses`.
    pub(super) fn properties(&self, losses: &mut Vec<Loss>) -> Map<String, Value> {
        let mut json = Map::new();
        json.insert("subject".into(), self.subject().into());
        self.people(&mut json, losses);
        if let Some(id) = self.message_id() {
            json.insert("internetMessageId".into(), id.into());
        }
        json.insert("importance".into(), self.importance().into());
        json.insert("isRead".into(), self.graph["isRead"].as_bool().unwrap_or(true).into());
        let flag = &self.graph["flag"];
        if matches!(flag["flagStatus"].as_str(), Some("flagged" | "complete")) {
            let set = |(_, value): &(&String, &Value)| !value.is_null();
            let mut flag: Map<_, _> = flag
                .as_object()
                .into_iter()
                .flatten()
                .filter(set)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            // The service refuses a mail whose flag has an end without a start.
            if let (Some(due), None) = (flag.get("dueDateTime"), flag.get("startDateTime")) {
                flag.insert("startDateTime".into(), due.clone());
            }
            json.insert("flag".into(), flag.into());
        }
        if self.graph["categories"].as_array().is_some_and(|list| !list.is_empty()) {
            json.insert("categories".into(), self.graph["categories"].clone());
        }
        if let Some(inference) = self.graph["inferenceClassification"].as_str() {
            json.insert("inferenceClassification".into(), inference.into());
        }
        // Set to be sure: a restored mail that is unread would ask its sender's mailbox to be
        // told when it is read.
        json.insert("isReadReceiptRequested".into(), false.into());
        json.insert("isDeliveryReceiptRequested".into(), false.into());
        if self.wants_receipt() {
            losses.push(Loss::ReceiptRequest);
        }
        json.insert("singleValueExtendedProperties".into(), self.extended(losses).into());
        json
    }

    fn subject(&self) -> String {
        if let Some(subject) = self.graph["subject"].as_str() {
            return subject.to_owned();
        }
        let subject = self.head.parsed("subject", "Subject").and_then(HeaderValue::into_text);
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        subject.unwrap_or_default().chars().map(clean).collect::<String>().trim().to_owned()
    }

    fn people(&self, json: &mut Map<String, Value>, losses: &mut Vec<Loss>) {
        let known = |property: &str, field: &str| {
            People::from_graph(self.graph.get(property)).or(|| People::from_head(self.head, field))
        };
        let mut lost = false;
        for (property, field) in [("from", "from"), ("sender", "sender")] {
            let mut people = known(property, field);
            if !people.list.is_empty() {
                json.insert(property.into(), people.list.swap_remove(0));
            }
            // The service knows one author.
            lost |= people.lost || !people.list.is_empty();
        }
        let mut left = MOST_RECIPIENTS;
        for (property, field) in [
            ("toRecipients", "to"),
            ("ccRecipients", "cc"),
            ("bccRecipients", "bcc"),
            ("replyTo", "reply-to"),
        ] {
            let most = if property == "replyTo" { MOST_RECIPIENTS } else { left };
            let people = known(property, field).cut(most);
            if property != "replyTo" {
                left -= people.list.len();
            }
            lost |= people.lost;
            json.insert(property.into(), people.list.into());
        }
        if lost {
            losses.push(Loss::Recipients);
        }
    }

    fn message_id(&self) -> Option<String> {
        let known = self.graph["internetMessageId"].as_str().map(str::to_owned);
        known
            .or_else(|| self.head.unfolded("message-id"))
            .filter(|id| !id.is_empty() && !id.contains(char::is_control))
    }

    fn importance(&self) -> &'static str {
        let graph = self.graph["importance"].as_str().map(str::to_owned);
        let told = graph.or_else(|| {
            let field = ["importance", "x-priority", "priority", "x-msmail-priority"];
            field.into_iter().find_map(|field| self.head.unfolded(field))
        });
        let told = told.unwrap_or_default().to_lowercase();
        match told.split([' ', '(']).next().unwrap_or_default() {
            "high" | "urgent" | "1" | "2" => "high",
            "low" | "non-urgent" | "4" | "5" => "low",
            _ => "normal",
        }
    }

    fn wants_receipt(&self) -> bool {
        let asked = |property: &str| self.graph[property].as_bool() == Some(true);
        asked("isReadReceiptRequested")
            || asked("isDeliveryReceiptRequested")
            || self.head.has("disposition-notification-to")
            || self.head.has("return-receipt-to")
    }

    fn extended(&self, losses: &mut Vec<Loss>) -> Vec<Value> {
        let mut all = Vec::new();
        let mut set = |id: &str, value: String| all.push(json!({"id": id, "value": value}));
        if self.graph["isDraft"].as_bool() != Some(true) {
            set(MESSAGE_FLAGS, "4".into());
        }
        let received = self.date("receivedDateTime", losses).or_else(|| self.arrival());
        let sent = self.date("sentDateTime", losses);
        let sent = sent.or_else(|| self.written(losses)).or(received);
        for (id, date) in [(DELIVERY_TIME, received.or(sent)), (SUBMIT_TIME, sent)] {
            if let Some(date) = date {
                set(id, date.to_rfc3339_opts(SecondsFormat::Secs, true));
            }
        }
        let headers = self.head.text();
        if self.head_size > MOST_HEADERS || headers.contains('\0') {
            losses.push(Loss::Headers);
        } else if !headers.is_empty() {
            set(TRANSPORT_HEADERS, headers.to_owned());
        }
        for (id, field) in [(IN_REPLY_TO, "in-reply-to"), (REFERENCES, "references")] {
            // Ids, with any white space between them.
            if let Some(value) = self.head.unfolded(field) {
                set(id, value.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
        if let Some(class) = self.class(losses) {
            set(MESSAGE_CLASS, class.to_owned());
        }
        for id in LAST_VERB {
            if let Some(value) = self.archived(id) {
                set(id, value.to_owned());
            }
        }
        all
    }

    /// A date of the metadata.
    fn date(&self, property: &str, losses: &mut Vec<Loss>) -> Option<DateTime<Utc>> {
        let text = self.graph[property].as_str()?;
        let date = DateTime::parse_from_rfc3339(text).ok().map(|date| date.to_utc());
        // The service's way to say that there is none (FACTS 8.9).
        if date.is_some_and(|date| date.year() == 1) {
            return None;
        }
        let date = date.filter(is_storable);
        if date.is_none() {
            losses.push(Loss::Date);
        }
        date
    }

    /// When the mail arrived, by the archive or by its last hop.
    fn arrival(&self) -> Option<DateTime<Utc>> {
        let hop = || match self.head.parsed("received", "Received")? {
            HeaderValue::Received(received) => instant(received.date()?),
            _ => None,
        };
        let archived = self.received.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        archived.or_else(hop).filter(is_storable)
    }

    /// The `Date:` of the mail.
    fn written(&self, losses: &mut Vec<Loss>) -> Option<DateTime<Utc>> {
        self.head.unfolded("date")?;
        let date = self.head.parsed("date", "Date").and_then(HeaderValue::into_datetime);
        let date = date.and_then(instant).filter(is_storable);
        if date.is_none() {
            losses.push(Loss::Date);
        }
        date
    }

    /// An extended property that the archive has.
    fn archived(&self, id: &str) -> Option<&str> {
        let all = self.graph["singleValueExtendedProperties"].as_array()?;
        let known =
            |property: &&Value| property["id"].as_str().is_some_and(|name| same_property(name, id));
        all.iter().find(known)?["value"].as_str()
    }

    /// The class to set. A class whose meaning rests on properties or bytes that a restored mail
    /// does not have would be shown broken: such a mail becomes an ordinary one.
    fn class(&self, losses: &mut Vec<Loss>) -> Option<&str> {
        let class = self.archived(MESSAGE_CLASS)?;
        let name = class.to_ascii_lowercase();
        if name == "ipm.note" || name.is_empty() {
            return None;
        }
        if name == "ipm.note.smime.multipartsigned" || name == "ipm.note.smime" && !self.is_opaque {
            losses.push(Loss::Signature);
            return None;
        }
        if name.starts_with("ipm.note.") {
            return Some(class);
        }
        losses.push(Loss::MessageClass);
        None
    }
}

/// The service writes tags as `0x1a` or `0x001A`.
fn same_property(one: &str, other: &str) -> bool {
    let parts = |id: &str| {
        let (kind, tag) = id.split_once(' ')?;
        let digits = tag.strip_prefix("0x").or_else(|| tag.strip_prefix("0X"))?;
        Some((kind.to_ascii_lowercase(), u32::from_str_radix(digits, 16).ok()?))
    };
    parts(one).is_some_and(|one| Some(one) == parts(other))
}

fn instant(date: mail_parser::DateTime) -> Option<DateTime<Utc>> {
    date.is_valid().then(|| DateTime::from_timestamp(date.to_timestamp(), 0)).flatten()
}

/// Whether a FILETIME, counted from 1601 on, and Graph's dates can hold it.
fn is_storable(date: &DateTime<Utc>) -> bool {
    (1601..=9999).contains(&date.year())
}
