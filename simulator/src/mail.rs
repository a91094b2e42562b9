//! A message as the simulator knows it, generated or read from MIME.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::blob::Blob;

/// Stands for half a surrogate pair, which no Rust string can hold but Graph's JSON may:
/// replaced by the escape when JSON is written.
pub(crate) const LONE_SURROGATE: char = '\u{10fffe}';

#[derive(Debug, Clone, Default)]
pub(crate) struct Mail {
    pub(crate) subject: String,
    pub(crate) from: Option<Address>,
    pub(crate) to: Vec<Address>,
    pub(crate) cc: Vec<Address>,
    pub(crate) bcc: Vec<Address>,
    pub(crate) reply_to: Vec<Address>,
    pub(crate) created: DateTime<Utc>,
    /// Drafts may have none.
    pub(crate) received: Option<DateTime<Utc>>,
    pub(crate) sent: Option<DateTime<Utc>>,
    pub(crate) message_id: Option<String>,
    pub(crate) in_reply_to: Option<String>,
    pub(crate) conversation: u64,
    pub(crate) text: String,
    pub(crate) html: Option<String>,
    /// The header block as the transport left it.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) class: &'static str,
    pub(crate) importance: &'static str,
    pub(crate) categories: Vec<String>,
    pub(crate) draft: bool,
    pub(crate) read: bool,
    pub(crate) flagged: bool,
    pub(crate) meeting: Option<Meeting>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) address: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Meeting {
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: DateTime<Utc>,
    pub(crate) place: String,
    pub(crate) uid: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) content_id: Option<String>,
    pub(crate) inline: bool,
    pub(crate) what: Attached,
}

#[derive(Debug, Clone)]
pub(crate) enum Attached {
    File(Blob),
    /// A message, as MIME.
    Item(Bytes),
    /// A link to a file in a drive: nothing to download.
    Reference,
}

impl Attachment {
    /// What the service reports: content and overhead.
    pub(crate) fn size(&self) -> u64 {
        match &self.what {
            Attached::File(blob) => blob.len() + 144 + 2 * self.name.len() as u64,
            Attached::Item(mime) => mime.len() as u64 + 2048,
            Attached::Reference => 512,
        }
    }
}

impl Mail {
    pub(crate) fn has_attachments(&self) -> bool {
        self.attachments.iter().any(|a| !a.inline)
    }

    /// The date that orders messages.
    pub(crate) fn when(&self) -> DateTime<Utc> {
        self.received.unwrap_or(self.created)
    }
}
