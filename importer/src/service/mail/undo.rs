//! Takes back what a restore made in a mailbox.

use serde_json::{Value, json};

use super::place::MailPlace;
use crate::place::{Made, Undone};

impl MailPlace {
    pub(super) async fn undo_item(&self, made: &Made) -> Result<Undone, graph::Error> {
        let id = self.mailbox.item_of(made, |folder| self.messages(folder)).await?;
        if let Some(id) = id
            && !self.take_away(&id, made.etag.as_deref()).await?
        {
            return Ok(Undone::Kept);
        }
        if let (Some(old), Some(folder)) = (&made.old, made.etag.as_ref().or(made.spot.as_ref())) {
            let path = format!("{}/move", self.message(old));
            let back = json!({ "destinationId": folder });
            match self.mailbox.graph.act(&self.mailbox.scope, &path, &back).await {
                Err(error) if error.status() != Some(404) => return Err(error),
                _ => {}
            }
        }
        Ok(Undone::Removed)
    }

    /// Removes a message, unless somebody filed it elsewhere: then it is his, and this is false.
    async fn take_away(&self, id: &str, folder: Option<&str>) -> Result<bool, graph::Error> {
        let is_ours = |message: &Value| {
            let is_in = message.get("parentFolderId").and_then(Value::as_str);
            folder.is_none() || folder == is_in
        };
        self.mailbox.take_back(&self.message(id), "id,parentFolderId", is_ours).await
    }
}
