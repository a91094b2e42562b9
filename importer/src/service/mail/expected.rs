//! What the service must say of a message that was made, to be compared with what it says.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::message::{AttachmentBody, Message};
use crate::body::BodyText;

/// A message as it must be now. All but the attachments is in the message itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expected {
    pub(crate) subject: String,
    /// None where nothing was asked for.
    pub(crate) received: Option<DateTime<Utc>>,
    /// None where nothing was asked for.
    pub(crate) sent: Option<DateTime<Utc>>,
    pub(crate) is_read: bool,
    pub(crate) is_draft: bool,
    /// `notFlagged`, `flagged` or `complete`.
    pub(crate) flag_status: String,
    /// Sorted: the service keeps no order.
    pub(crate) categories: Vec<String>,
    pub(crate) importance: String,
    pub(crate) internet_message_id: Option<String>,
    /// The sender's address in small letters; none where nothing was asked for.
    pub(crate) from: Option<String>,
    /// How many: to, cc and bcc.
    pub(crate) recipients: [usize; 3],
    pub(crate) body: BodyText,
    /// Sorted by name.
    pub(crate) attachments: Vec<ExpectedAttachment>,
}

/// See [`Expected::attachments`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ExpectedAttachment {
    pub(crate) name: String,
    /// At least so many bytes: the service adds its overhead (FACTS 4.2). None of a mail in the
    /// mail, which the service stores in a form of its own.
    pub(crate) size: Option<u64>,
}

impl Message {
    /// What the service must say of it.
    pub(crate) fn expected(&self) -> Expected {
        let mut attachments: Vec<_> = self
            .attachments
            .iter()
            .map(|attachment| ExpectedAttachment {
                name: attachment.name.clone(),
                size: match &attachment.body {
                    AttachmentBody::File(part) => Some(part.size()),
                    AttachmentBody::Item(_) => None,
                },
            })
            .collect();
        attachments.sort();
        Expected {
            received: self.extended_date("SystemTime 0x0E06"),
            sent: self.extended_date("SystemTime 0x0039"),
            is_draft: self.extended("Integer 0x0E07").is_none(),
            attachments,
            ..Expected::said(&self.json)
        }
    }

    /// An extended property that is set.
    fn extended(&self, id: &str) -> Option<&str> {
        let all = self.json["singleValueExtendedProperties"].as_array()?;
        all.iter().find(|property| property["id"] == id)?["value"].as_str()
    }

    fn extended_date(&self, id: &str) -> Option<DateTime<Utc>> {
        self.extended(id).and_then(date)
    }
}

impl Expected {
    /// What `message` says: the service's JSON of it, without attachments.
    pub(super) fn said(message: &Value) -> Self {
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        let categories = message["categories"].as_array().into_iter().flatten();
        let mut categories: Vec<_> =
            categories.filter_map(Value::as_str).map(str::to_owned).collect();
        categories.sort();
        Self {
            subject: text("subject"),
            received: message["receivedDateTime"].as_str().and_then(date),
            sent: message["sentDateTime"].as_str().and_then(date),
            is_read: message["isRead"].as_bool().unwrap_or(false),
            is_draft: message["isDraft"].as_bool().unwrap_or(false),
            flag_status: message["flag"]["flagStatus"].as_str().unwrap_or("notFlagged").to_owned(),
            categories,
            importance: text("importance"),
            internet_message_id: message["internetMessageId"].as_str().map(str::to_owned),
            from: message["from"]["emailAddress"]["address"].as_str().map(str::to_lowercase),
            recipients: ["toRecipients", "ccRecipients", "bccRecipients"]
                .map(|key| message[key].as_array().map_or(0, Vec::len)),
            body: BodyText::of(&message["body"]),
            attachments: Vec::new(),
        }
    }

    /// The first property in which the service's message differs, in words. `attachments` is the
    /// service's list of them with `name` and `size`.
    pub(crate) fn difference(&self, message: &Value, attachments: &[Value]) -> Option<String> {
        let made = Self::said(message);
        let told = |what: &str, differs: bool, is: String, should: String| {
            differs.then(|| format!("{what} is {is} instead of {should}"))
        };
        macro_rules! compare {
            ($($field:ident $what:literal)*) => {
                None$(.or_else(|| told(
                    $what,
                    made.$field != self.$field,
                    format!("{:?}", made.$field),
                    format!("{:?}", self.$field),
                )))*
            };
        }
        let mut difference = compare!(
            subject "the subject"
            is_draft "isDraft"
            is_read "isRead"
            flag_status "the flag"
            categories "categories"
            importance "the importance"
            recipients "the number of recipients (to, cc, bcc)"
            body "the body"
        );
        // What was not asked for, the service makes up.
        if self.received.is_some() {
            difference = difference.or_else(|| compare!(received "the received date"));
        }
        if self.sent.is_some() {
            difference = difference.or_else(|| compare!(sent "the sent date"));
        }
        if self.internet_message_id.is_some() {
            difference = difference.or_else(|| compare!(internet_message_id "the Message-ID"));
        }
        if self.from.is_some() {
            difference = difference.or_else(|| compare!(from "the sender"));
        }
        difference.or_else(|| self.attachment_difference(attachments))
    }

    /// Whether that differs which can still be changed.
    pub(super) fn flags_differ(&self, message: &Value) -> bool {
        let made = Self::said(message);
        made.is_read != self.is_read
            || made.flag_status != self.flag_status
            || made.categories != self.categories
            || made.importance != self.importance
    }

    fn attachment_difference(&self, attachments: &[Value]) -> Option<String> {
        let mut made: Vec<_> = attachments
            .iter()
            .map(|attachment| ExpectedAttachment {
                name: attachment["name"].as_str().unwrap_or_default().to_owned(),
                size: attachment["size"].as_u64(),
            })
            .collect();
        made.sort();
        if made.len() != self.attachments.len() {
            let (is, should) = (made.len(), self.attachments.len());
            return Some(format!("there are {is} attachments instead of {should}"));
        }
        made.iter().zip(&self.attachments).find_map(|(made, should)| {
            if made.name != should.name {
                return Some(format!("an attachment is {:?}, not {:?}", made.name, should.name));
            }
            let (is, least) = (made.size?, should.size?);
            (is < least).then(|| format!("{:?} has {is} bytes instead of {least}", made.name))
        })
    }
}

/// To the second, as the service keeps it.
fn date(text: &str) -> Option<DateTime<Utc>> {
    let date = DateTime::parse_from_rfc3339(text).ok()?;
    DateTime::from_timestamp(date.timestamp(), 0)
}
