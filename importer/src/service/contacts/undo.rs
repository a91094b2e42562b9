//! Takes back what a restore made among contacts, and brings back what it replaced.
//!
//! A contact that gives way is deleted, which puts it where deleted things go; no request moves it
//! back from there. So the journal keeps all of it, and an undo makes it anew.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graph::{Prefer, segment};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contact::settable;
use super::folders;
use super::place::ContactPlace;
use crate::error::Error;
use crate::item::Item;
use crate::mailbox::{Mailbox, add_mark, id};
use crate::place::{How, Made, Undone};

/// A contact that gave way, as the journal keeps it.
#[derive(Serialize, Deserialize)]
struct Old {
    id: String,
    /// The folder it was in; empty: the default one.
    folder: String,
    contact: Value,
    /// In base64.
    photo: Option<String>,
}

impl ContactPlace {
    /// Takes the contact that was there away, for the one that was made.
    pub(super) async fn take_place_of(
        &self,
        item: &Item,
        folder: &str,
        old: &str,
    ) -> Result<How, Error> {
        let failed =
            |source| Error::Graph { doing: format!("reading what {} replaces", item.path), source };
        let path = self.contact(folder, old);
        let ids = convert::contact::EXTENDED.iter().map(|id| format!("id eq '{id}'"));
        let filter = segment(&ids.collect::<Vec<_>>().join(" or "));
        let whole = format!("{path}?$expand=singleValueExtendedProperties($filter={filter})");
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let contact = graph.get(scope, &whole, Prefer::none()).await.map_err(failed)?;
        let photo = self.photo(&path).await.map_err(failed)?;
        let old = Old {
            id: old.to_owned(),
            folder: folder.to_owned(),
            contact: Value::Object(settable(&contact)),
            photo: photo.map(|photo| STANDARD.encode(photo)),
        };
        let old = serde_json::to_string(&old).unwrap_or_default();
        self.folders.replaces(&item.path, &old)?;
        self.give_way(item, old).await
    }

    /// Deletes what the journal has by now.
    pub(super) async fn give_way(&self, item: &Item, old: String) -> Result<How, Error> {
        if let Ok(Old { id, folder, .. }) = serde_json::from_str(&old) {
            let deleted = self.mailbox.delete(&self.contact(&folder, &id)).await;
            deleted.map_err(|source| {
                let doing = format!("taking away what {} replaces", item.path);
                Error::Graph { doing, source }
            })?;
        }
        Ok(How::Replaced { old })
    }

    pub(super) async fn undo_item(&self, made: &Made) -> Result<Undone, graph::Error> {
        let id =
            self.mailbox.item_of(made, |folder| folders::contacts(&self.mailbox, folder)).await?;
        if let Some(id) = id
            && !self.take_away(&id, made.etag.as_deref(), made.spot.as_deref()).await?
        {
            return Ok(Undone::Kept);
        }
        if let Some(old) = made.old.as_deref().and_then(|old| serde_json::from_str(old).ok()) {
            self.bring_back(old).await?;
        }
        Ok(Undone::Removed)
    }

    /// Removes a contact, unless somebody filed it elsewhere: then it is his, and this is false.
    async fn take_away(
        &self,
        id: &str,
        folder: Option<&str>,
        spot: Option<&str>,
    ) -> Result<bool, graph::Error> {
        let is_ours = |contact: &Value| {
            let is_in = contact.get("parentFolderId").and_then(Value::as_str);
            folder.is_none() || folder == is_in
        };
        // Wherever it is now; a service that knows contacts only by their folders is asked so.
        let anywhere = self.contact("", id);
        let path = match self.mailbox.look(&format!("{anywhere}?$select=id")).await? {
            Some(_) => anywhere,
            None => self.contact(folder.or(spot).unwrap_or_default(), id),
        };
        self.mailbox.take_back(&path, "id,parentFolderId", is_ours).await
    }

    /// Makes a contact anew that had given way, unless it is still there.
    async fn bring_back(&self, old: Old) -> Result<(), graph::Error> {
        let path = self.contact(&old.folder, &old.id);
        if self.mailbox.look(&format!("{path}?$select=id")).await?.is_some() {
            return Ok(());
        }
        let mut body = old.contact;
        add_mark(&mut body, &old.id);
        let list = folders::contacts(&self.mailbox, &old.folder);
        let found = || self.mailbox.marked(&list, &old.id);
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let made = match found().await? {
            Some(made) => made,
            None => graph.create(scope, &list, &body, found).await?,
        };
        match old.photo.and_then(|photo| STANDARD.decode(photo).ok()) {
            Some(photo) => self.put_photo(&self.contact(&old.folder, &id(&made)), &photo).await,
            None => Ok(()),
        }
    }

    pub(super) async fn undo_folder(&self, id: &str) -> Result<Undone, graph::Error> {
        let folder = format!("{}/contactFolders/{}", self.mailbox.root, segment(id));
        for inside in ["contacts", "childFolders"] {
            let path = format!("{folder}/{inside}?$top=1&$select=id");
            let Some(found) = self.mailbox.look(&path).await? else { return Ok(Undone::Removed) };
            if found["value"].as_array().is_some_and(|rows| !rows.is_empty()) {
                return Ok(Undone::Kept);
            }
        }
        self.mailbox.remove(&folder).await.map(|()| Undone::Removed)
    }
}
