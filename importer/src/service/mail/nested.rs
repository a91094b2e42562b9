//! Attachments as JSON (FACTS 5.2), and mails in mails, which have no other form.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::message::{Attachment, AttachmentBody, Message};

/// Most bytes of JSON around the content of an attachment, apart from its names.
const OVERHEAD: u64 = 256;

impl Attachment {
    /// The attachment as it is posted in one request. The content is in it, so this is for small
    /// ones: see [`Attachment::json_size`].
    pub(crate) fn json(&self) -> io::Result<Value> {
        let mut json = Map::new();
        json.insert("name".into(), self.name.clone().into());
        json.insert("isInline".into(), self.is_inline.into());
        let kind = match &self.body {
            AttachmentBody::File(part) => {
                json.insert("contentType".into(), self.content_type.clone().into());
                if let Some(id) = &self.content_id {
                    json.insert("contentId".into(), id.clone().into());
                }
                json.insert("contentBytes".into(), STANDARD.encode(part.bytes()?).into());
                "#microsoft.graph.fileAttachment"
            }
            AttachmentBody::Item(message) => {
                json.insert("item".into(), message.item_json()?);
                "#microsoft.graph.itemAttachment"
            }
        };
        json.insert("@odata.type".into(), kind.into());
        Ok(json.into())
    }

    /// About as many bytes as [`Attachment::json`] has, without reading the content.
    pub(crate) fn json_size(&self) -> u64 {
        let names = self.name.len() + self.content_type.len();
        let names = names + self.content_id.as_ref().map_or(0, String::len);
        let content = match &self.body {
            AttachmentBody::File(part) => part.size().div_ceil(3) * 4,
            AttachmentBody::Item(message) => message.json_size(),
        };
        OVERHEAD + names as u64 + content
    }
}

impl Message {
    /// The message with its attachments in it, as the item of an attachment.
    fn item_json(&self) -> io::Result<Value> {
        let attachments = self.attachments.iter().map(Attachment::json);
        let attachments = attachments.collect::<io::Result<Vec<_>>>()?;
        let mut json = self.json.clone();
        json["@odata.type"] = json!("#microsoft.graph.message");
        json["attachments"] = attachments.into();
        Ok(json)
    }

    /// About as many bytes as the message has with its attachments in it.
    pub(super) fn json_size(&self) -> u64 {
        let own = self.json.to_string().len() as u64;
        own + self.attachments.iter().map(Attachment::json_size).sum::<u64>()
    }
}
