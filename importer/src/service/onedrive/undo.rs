//! Takes back what a restore made in a drive.

use graph::{ErrorKind, Scope, segment};
use serde_json::Value;

use super::{DrivePlace, Spot, hash, text};
use crate::place::{Made, Undone};

impl DrivePlace {
    pub(super) async fn undo_item(&self, made: &Made) -> Result<Undone, graph::Error> {
        let Some(id) = &made.id else {
            return self.undo_begun(made).await;
        };
        let path = self.item(id);
        let Some(there) = self.look(&path).await? else { return Ok(Undone::Removed) };
        let is_ours = made.etag.as_deref().is_none_or(|etag| etag == text(&there, "eTag"));
        if !is_ours {
            return Ok(Undone::Kept);
        }
        if let Some(old) = made.old.as_deref().filter(|old| !old.is_empty()) {
            return self.bring_back(id, old).await;
        }
        match self.graph.delete(&Scope::SharePoint, &path, made.etag.as_deref()).await {
            Ok(()) => Ok(Undone::Removed),
            Err(error) if error.status() == Some(404) => Ok(Undone::Removed),
            Err(error) if *error.kind() == ErrorKind::PreconditionFailed => Ok(Undone::Kept),
            Err(error) => Err(error),
        }
    }

    /// What was begun and is there all the same, because the end came between.
    async fn undo_begun(&self, made: &Made) -> Result<Undone, graph::Error> {
        let spot = made.spot.as_deref().and_then(|spot| serde_json::from_str(spot).ok());
        let Some(Spot { parent, name, size, hash: known, .. }) = spot else {
            return Ok(Undone::Removed);
        };
        let Some(there) = self.look(&self.child(&parent, &name)).await? else {
            return Ok(Undone::Removed);
        };
        let id = text(&there, "id");
        let is_ours = there.get("size").and_then(Value::as_u64) == Some(size)
            && hash(&there).zip(known).is_none_or(|(there, known)| there == known);
        match (is_ours, made.old.as_deref().filter(|old| !old.is_empty())) {
            (true, Some(old)) => self.bring_back(&id, old).await,
            // What was to be replaced is still there.
            (false, Some(old)) if self.version(&id).await? == old => Ok(Undone::Removed),
            (false, _) => Ok(Undone::Kept),
            (true, None) => {
                match self.graph.delete(&Scope::SharePoint, &self.item(&id), None).await {
                    Err(error) if error.status() != Some(404) => Err(error),
                    _ => Ok(Undone::Removed),
                }
            }
        }
    }

    /// Makes an old version of a file the one that is seen.
    pub(super) async fn bring_back(&self, id: &str, old: &str) -> Result<Undone, graph::Error> {
        let path = format!("{}/versions/{}/restoreVersion", self.item(id), segment(old));
        match self.graph.act(&Scope::SharePoint, &path, &Value::Null).await {
            Ok(_) => Ok(Undone::Removed),
            Err(error) if error.status() == Some(404) => Ok(Undone::Kept),
            Err(error) => Err(error),
        }
    }

    /// The folder at a place that was begun, if it is there.
    pub(super) async fn begun_folder(&self, place: &str) -> Result<Option<String>, graph::Error> {
        let Some((parent, name)) = place.split_once('/') else { return Ok(None) };
        let there = self.look(&self.child(parent, name)).await?;
        Ok(there.filter(|there| there.get("folder").is_some()).map(|there| text(&there, "id")))
    }

    pub(super) async fn undo_folder(&self, id: &str) -> Result<Undone, graph::Error> {
        let Some(there) = self.look(&self.item(id)).await? else { return Ok(Undone::Removed) };
        let children = there.pointer("/folder/childCount").and_then(Value::as_u64);
        if children != Some(0) {
            return Ok(Undone::Kept);
        }
        match self.graph.delete(&Scope::SharePoint, &self.item(id), None).await {
            Err(error) if error.status() != Some(404) => Err(error),
            _ => Ok(Undone::Removed),
        }
    }
}
