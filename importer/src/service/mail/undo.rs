//! Takes back what a restore made in a mailbox.

use graph::{Prefer, segment};
use serde_json::{Value, json};

use super::place::{MailPlace, gone};
use crate::place::{Made, Undone};

impl MailPlace {
    pub(super) async fn undo_item(&self, made: &Made) -> Result<Undone, graph::Error> {
        let id = match (&made.id, &made.source, &made.spot) {
            (Some(id), ..) => Some(id.clone()),
            // It was begun and may be there all the same, because the end came between.
            (None, Some(source), Some(folder)) => {
                self.late(source, folder).await?.map(|own| own.id)
            }
            _ => None,
        };
        if let Some(id) = id
            && !self.take_away(&id, made.etag.as_deref()).await?
        {
            return Ok(Undone::Kept);
        }
        if let (Some(old), Some(folder)) = (&made.old, made.etag.as_ref().or(made.spot.as_ref())) {
            let path = format!("{}/move", self.message(old));
            let back = json!({ "destinationId": folder });
            match self.graph.act(&self.scope, &path, &back).await {
                Err(error) if error.status() != Some(404) => return Err(error),
                _ => {}
            }
        }
        Ok(Undone::Removed)
    }

    /// Removes a message, unless somebody filed it elsewhere: then it is his, and this is false.
    async fn take_away(&self, id: &str, folder: Option<&str>) -> Result<bool, graph::Error> {
        let path = format!("{}?$select=id,parentFolderId", self.message(id));
        match self.graph.get(&self.scope, &path, Prefer::none()).await {
            Ok(message) => {
                let is_in = message.get("parentFolderId").and_then(Value::as_str);
                if folder.is_some() && folder != is_in {
                    return Ok(false);
                }
                self.remove(id).await.map(|()| true)
            }
            Err(error) if error.status() == Some(404) => Ok(true),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn undo_folder(&self, id: &str) -> Result<Undone, graph::Error> {
        let folder = format!("{}/mailFolders/{}", self.root, segment(id));
        let path = format!("{folder}?$select=totalItemCount,childFolderCount");
        let found = match self.graph.get(&self.scope, &path, Prefer::none()).await {
            Ok(found) => found,
            Err(error) if error.status() == Some(404) => return Ok(Undone::Removed),
            Err(error) => return Err(error),
        };
        let count = |key: &str| found.get(key).and_then(Value::as_u64).unwrap_or(1);
        if count("totalItemCount") + count("childFolderCount") > 0 {
            return Ok(Undone::Kept);
        }
        let path = format!("{folder}/permanentDelete");
        match self.graph.act(&self.scope, &path, &Value::Null).await {
            Ok(_) => {}
            Err(error) if !matches!(error.status(), Some(400 | 404 | 405 | 501)) => {
                return Err(error);
            }
            Err(_) => gone(self.graph.delete(&self.scope, &folder, None).await)?,
        }
        Ok(Undone::Removed)
    }
}
