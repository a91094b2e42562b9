//! What becomes of a mail: every decision, the real mails of the corpus against an independent
//! reader, and anything at all.

mod anything;
mod corpus;
mod decisions;
mod large;

use archive::metadata::Line;
use bytes::Bytes;
use serde_json::{Value, json};

use super::message::{Attachment, AttachmentBody, Message};
use crate::content::Content;
use crate::item::Item;

/// 2026-01-02T03:04:05Z.
const MTIME: i64 = 1_767_323_045;

fn item(content: Content, size: u64, graph: Value) -> Item {
    let line = Line { kind: "message".into(), id: "AAMk".into(), path: None, graph };
    let path = "users/a@example.com/mail/Inbox/a.eml".into();
    Item {
        line,
        path,
        mtime: MTIME,
        size,
        converted: false,
        is_doubtful: false,
        may_be_late: false,
        content,
    }
}

fn in_memory(mail: &[u8], graph: Value) -> Item {
    item(Content::Memory(Bytes::copy_from_slice(mail)), mail.len() as u64, graph)
}

/// The mail without anything the archive says of it.
fn read(mail: impl AsRef<[u8]>) -> Message {
    Message::read(&in_memory(mail.as_ref(), json!({}))).unwrap()
}

fn read_with(mail: &str, graph: Value) -> Message {
    Message::read(&in_memory(mail.as_bytes(), graph)).unwrap()
}

impl Message {
    fn property(&self, id: &str) -> Option<&str> {
        let all = self.json["singleValueExtendedProperties"].as_array().unwrap();
        let found: Vec<_> = all.iter().filter(|property| property["id"] == id).collect();
        assert!(found.len() < 2, "{id} is set twice");
        found.first().map(|property| property["value"].as_str().unwrap())
    }

    fn body(&self) -> (&str, &str) {
        let text = |key: &str| self.json["body"][key].as_str().unwrap();
        (text("contentType"), text("content"))
    }

    fn names(&self) -> Vec<&str> {
        self.attachments.iter().map(|attachment| attachment.name.as_str()).collect()
    }
}

impl Attachment {
    fn bytes(&self) -> Vec<u8> {
        match &self.body {
            AttachmentBody::File(part) => {
                let bytes = part.bytes().unwrap();
                assert_eq!(bytes.len() as u64, part.size());
                bytes
            }
            AttachmentBody::Item(_) => panic!("{} is a mail", self.name),
        }
    }

    fn item(&self) -> &Message {
        match &self.body {
            AttachmentBody::Item(message) => message,
            AttachmentBody::File(_) => panic!("{} is a file", self.name),
        }
    }
}
