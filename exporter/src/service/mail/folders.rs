//! The folders of a mailbox: walked by recursion, and watched while their messages are listed.

use archive::Outcome;
use futures::{StreamExt, TryStreamExt, stream};
use graph::{DeltaLink, ErrorKind, Pages, Prefer, segment};
use serde_json::Value;

use super::{Mailbox, PAGE, root_id, scope};
use crate::Error;
use crate::error::is_fatal;
use crate::inventory::{Name, Node};
use crate::service::Note;

/// What tells of folders, in the inventory.
pub(super) const FOLDERS: &str = "folders";
/// Keys of a folder that count what is in it (FACTS 9).
const FOLDER_VOLATILE: [&str; 6] = [
    "@odata.etag",
    "@odata.context",
    "childFolderCount",
    "totalItemCount",
    "unreadItemCount",
    "sizeInBytes",
];
/// Names that stand for a folder whatever its display name (FACTS 3.3).
const WELL_KNOWN: [&str; 15] = [
    "archive",
    "clutter",
    "conflicts",
    "conversationhistory",
    "deleteditems",
    "drafts",
    "inbox",
    "junkemail",
    "localfailures",
    "outbox",
    "scheduled",
    "searchfolders",
    "sentitems",
    "serverfailures",
    "syncissues",
];

impl Mailbox<'_> {
    /// The whole folder tree into the inventory; ids of those whose messages are selected.
    pub(super) async fn folders(&self, root: &Value, base: &str) -> Result<Vec<String>, Error> {
        let names = self.well_known().await?;
        let searches = names.iter().find(|(name, _)| *name == "searchfolders");
        let named = |id: &str| names.iter().find(|(_, known)| known == id).map(|(name, _)| *name);

        self.put_folder(root, root_id(root), "", None)?;
        let root = root_id(root);
        let mut found = vec![root.to_owned()];
        let mut queue = vec![(root.to_owned(), format!("/users/{}/mailFolders", self.user()))];
        if self.context.options.include_recoverable {
            self.recoverable(root, &mut found).await?;
        }
        while let Some((parent, path)) = queue.pop() {
            let path = format!("{path}?includeHiddenFolders=true&$top={PAGE}");
            let mut pages = self.context.graph().pages(scope(self.owner), &path, Prefer::none());
            while let Some(page) = self.next(&mut pages, &parent).await? {
                for item in &page.items {
                    let folder = item.parse().map_err(|e| self.fatal(e))?;
                    let Some(id) = folder.get("id").and_then(Value::as_str) else {
                        continue;
                    };
                    let virtual_one = searches.is_some_and(|(_, search)| search == id)
                        || folder.get("@odata.type").and_then(Value::as_str)
                            == Some("#microsoft.graph.mailSearchFolder");
                    if virtual_one || found.iter().any(|known| known == id) {
                        continue;
                    }
                    self.put_folder(&folder, id, &parent, named(id))?;
                    found.push(id.to_owned());
                    let below =
                        format!("/users/{}/mailFolders/{}/childFolders", self.user(), segment(id));
                    queue.push((id.to_owned(), below));
                }
            }
        }
        self.selected(found, root, base)
    }

    /// Recoverable items stand beside the ordinary folders, under the name the service gives.
    async fn recoverable(&self, root: &str, found: &mut Vec<String>) -> Result<(), Error> {
        let path = format!("/users/{}/mailFolders/recoverableitemsdeletions", self.user());
        match self.context.graph().get(&scope(self.owner), &path, Prefer::none()).await {
            Ok(folder) => {
                if let Some(id) = folder.get("id").and_then(Value::as_str) {
                    self.put_folder(&folder, id, root, Some("recoverableitemsdeletions"))?;
                    found.push(id.to_owned());
                }
                Ok(())
            }
            Err(error) if is_fatal(&error) => Err(self.fatal(error)),
            Err(error) => {
                let message = "the recoverable items could not be opened";
                self.note(
                    "",
                    Note::new(Outcome::Skipped, "recoverable-items", message).with_code(&error),
                );
                Ok(())
            }
        }
    }

    /// Drops the folders that the selection excludes: they need not be listed.
    fn selected(&self, found: Vec<String>, root: &str, base: &str) -> Result<Vec<String>, Error> {
        if self.context.options.selection.exclude.is_empty() {
            return Ok(found);
        }
        let inventory = &self.inventory;
        inventory.arrange(root, base)?;
        let mut kept = Vec::new();
        for id in found {
            let path = inventory.folder_path(&id)?;
            if path.is_none_or(|path| !self.context.selector.excludes_subtree(&path)) {
                kept.push(id);
            }
        }
        Ok(kept)
    }

    /// Which folders the well-known names stand for; most mailboxes have only some.
    async fn well_known(&self) -> Result<Vec<(&'static str, String)>, Error> {
        let asked = WELL_KNOWN.map(|name| self.well_known_folder(name));
        let found: Vec<Option<(&'static str, String)>> =
            stream::iter(asked).buffered(4).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn well_known_folder(
        &self,
        name: &'static str,
    ) -> Result<Option<(&'static str, String)>, Error> {
        let path = format!("/users/{}/mailFolders/{name}?$select=id", self.user());
        match self.context.graph().get(&scope(self.owner), &path, Prefer::none()).await {
            Ok(folder) => Ok(folder["id"].as_str().map(|id| (name, id.to_owned()))),
            Err(error) if is_fatal(&error) => Err(self.fatal(error)),
            Err(_) => Ok(None),
        }
    }

    fn put_folder(
        &self,
        folder: &Value,
        id: &str,
        parent: &str,
        well_known: Option<&str>,
    ) -> Result<(), Error> {
        let mut graph = folder.as_object().cloned().unwrap_or_default();
        FOLDER_VOLATILE.iter().for_each(|key| drop(graph.remove(*key)));
        if let Some(name) = well_known {
            graph.insert("wellKnownName".to_owned(), name.into());
        }
        let name = folder.get("displayName").and_then(Value::as_str).unwrap_or_default();
        self.inventory.put(&Node {
            id,
            listing: FOLDERS,
            parent,
            kind: "folder",
            folder: true,
            key: 0,
            mtime: 0,
            name: Name::Native(name),
            json: &archive::json::canonical(&Value::Object(graph)),
            unwanted: None,
        })
    }

    /// From where changes of the folder tree will be told. None where the service can't tell.
    pub(super) async fn watch_tree(&self) -> Result<Option<DeltaLink>, Error> {
        if self.context.options.without_message_delta {
            return Ok(None);
        }
        let path = format!("/users/{}/mailFolders/delta?$select=id", self.user());
        let prefer = Prefer::page_size(PAGE);
        let mut pages = self.context.graph().pages(scope(self.owner), &path, prefer);
        Ok(self.drain_tree(&mut pages).await?.and_then(|(_, link)| link))
    }

    /// Whether folders came, were renamed or moved since we began: a mail may have gone to a
    /// folder that did not exist when the tree was read. Where it can't be told: yes.
    pub(super) async fn tree_changed(&self, tree: &mut Option<DeltaLink>) -> Result<bool, Error> {
        let Some(link) = tree.take() else {
            return Ok(true);
        };
        let prefer = Prefer::page_size(PAGE);
        let mut pages = self.context.graph().delta_from(scope(self.owner), &link, prefer);
        let Some((rows, link)) = self.drain_tree(&mut pages).await? else {
            return Ok(true);
        };
        *tree = link;
        Ok(rows > 0)
    }

    /// Rows and the deltaLink of a round of the folder tree; none if it failed.
    async fn drain_tree(
        &self,
        pages: &mut Pages,
    ) -> Result<Option<(usize, Option<DeltaLink>)>, Error> {
        let (mut rows, mut link) = (0, None);
        loop {
            match pages.next().await {
                Ok(Some(page)) => {
                    rows += page.items.len();
                    link = page.delta.or(link);
                }
                Ok(None) => return Ok(Some((rows, link))),
                Err(error) if is_fatal(&error) => return Err(self.fatal(error)),
                Err(_) => return Ok(None),
            }
        }
    }

    /// The next page of folders; a level that fails is a failed listing, not the run's end.
    async fn next(&self, pages: &mut Pages, parent: &str) -> Result<Option<graph::Page>, Error> {
        match pages.next().await {
            Ok(page) => Ok(page),
            Err(error) if is_fatal(&error) => Err(self.fatal(error)),
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::FolderGone | ErrorKind::ItemGone) {
                    let note = Note::new(
                        Outcome::Failed,
                        "listing",
                        "the folders below could not be listed",
                    );
                    self.failed_listing(parent, note.with_code(&error));
                }
                Ok(None)
            }
        }
    }
}
