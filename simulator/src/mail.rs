//! A message as the simulator knows it, generated or read from MIME.

use chrono::{DateTime, Utc};

use serde_json::Value;

use crate::blob::Blob;
use crate::extended::Property;

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
    /// The whole follow-up flag, where a client has set one.
    pub(crate) flag: Option<Value>,
    /// Where it is not the one in `from`.
    pub(crate) sender: Option<Address>,
    pub(crate) references: Option<String>,
    pub(crate) read_receipt: bool,
    pub(crate) delivery_receipt: Option<bool>,
    /// Not in the focused inbox.
    pub(crate) other: bool,
    /// Extended properties that clients have set.
    pub(crate) extended: Vec<Property>,
    /// The header block that a client says the transport has left.
    pub(crate) transport: Option<String>,
    /// `x-` headers that a client has added.
    pub(crate) own_headers: Vec<(String, String)>,
    /// Written by a client through properties: the MIME is the service's own work.
    pub(crate) made: bool,
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
    Item(Blob),
    /// A link to a file in a drive: nothing to download.
    Reference,
}

impl Attachment {
    /// What the service reports: content and overhead.
    pub(crate) fn size(&self) -> u64 {
        match &self.what {
            Attached::File(blob) => blob.len() + 144 + 2 * self.name.len() as u64,
            Attached::Item(mime) => mime.len() + 2048,
            Attached::Reference => 512,
        }
    }
}

impl Mail {
    pub(crate) fn has_attachments(&self) -> bool {
        self.attachments.iter().any(|a| !a.inline)
    }

    pub(crate) fn set_flag(&mut self, flag: Value) {
        self.flagged = flag["flagStatus"] == "flagged";
        self.flag = Some(flag);
    }

    /// The date that orders messages.
    pub(crate) fn when(&self) -> DateTime<Utc> {
        self.received.unwrap_or(self.created)
    }
}
