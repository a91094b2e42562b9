//! Attachments of what is in a mailbox: messages and events take them alike (FACTS 5.2).

use graph::{Json, Prefer, Upload};
use serde_json::{Value, json};

use super::Mailbox;
use crate::sequential::{Open, Sequential};

/// From this many bytes on an attachment needs an upload session.
pub(crate) const LARGE: u64 = 3_000_000;
/// Bytes of a part of one: at most 4 MB; a multiple of 320 KiB pleases every host.
const CHUNK: u64 = 3_932_160;

/// A file that is to be attached.
pub(crate) struct File<'a> {
    pub(crate) name: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) content_id: Option<&'a str>,
    pub(crate) is_inline: bool,
    /// Bytes.
    pub(crate) size: u64,
}

impl Mailbox {
    /// The attachments that the item at the path `item` has, without their bytes.
    pub(crate) async fn attached(&self, item: &str) -> Result<Vec<Json>, graph::Error> {
        let path = format!("{item}/attachments?$select=id,name,contentType,size,isInline");
        let mut pages = self.graph.pages(self.scope.clone(), &path, Prefer::none());
        let mut all = Vec::new();
        while let Some(page) = pages.next().await? {
            for item in &page.items {
                all.push(item.parse()?);
            }
        }
        Ok(all)
    }

    /// Attaches what `attachment` says, with its bytes in it: less than [`LARGE`] of them. The item
    /// has `before` others with its name, so that a lost answer makes no second one.
    pub(crate) async fn attach(
        &self,
        item: &str,
        attachment: &Value,
        before: usize,
    ) -> Result<(), graph::Error> {
        let name = attachment["name"].as_str().unwrap_or_default();
        let found = || self.named(item, name, before);
        let path = format!("{item}/attachments");
        self.graph.create(&self.scope, &path, attachment, found).await.map(drop)
    }

    /// Attaches a file of any size in an upload session, likewise. `open` reads it from its start.
    pub(crate) async fn attach_large(
        &self,
        item: &str,
        file: &File<'_>,
        before: usize,
        open: Open,
    ) -> Result<(), graph::Error> {
        let mut about = json!({
            "attachmentType": "file",
            "name": file.name,
            "size": file.size,
            "contentType": file.content_type,
            "isInline": file.is_inline,
        });
        if let Some(id) = file.content_id {
            about["contentId"] = id.into();
        }
        let upload = Upload {
            scope: self.scope.clone(),
            path: format!("{item}/attachments/createUploadSession"),
            body: json!({ "AttachmentItem": about }),
            total: file.size,
            chunk: CHUNK,
            resource: false,
        };
        let found = || self.named(item, file.name, before);
        self.graph.upload(&upload, &mut Sequential::new(open), found).await.map(drop)
    }

    /// The attachment of that name after `before` others.
    async fn named(
        &self,
        item: &str,
        name: &str,
        before: usize,
    ) -> Result<Option<Json>, graph::Error> {
        let mut listed = self.attached(item).await?.into_iter().filter(|one| one["name"] == name);
        Ok(listed.nth(before))
    }
}
