//! The folders of a mailbox: walked by recursion, and watched while their messages are listed.

use archive::Outcome;
use futures::{StreamExt, TryStreamExt, stream};
use graph::{Prefer, Scope, segment};
use serde_json::Value;

use super::{Mailbox, PAGE, root_id, scope};
use crate::Error;
use crate::error::{is_fatal, is_gone};
use crate::follow::Watch;
use crate::remarks::Remarks;
use crate::service::Note;
use crate::tree::{Tree, put_folder, walk};

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
pub(in crate::service) const WELL_KNOWN: [&str; 15] = [
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

/// What is said of a mailbox whose recoverable items nobody asked for.
pub(super) fn recoverable_left_out() -> Note {
    let message = "recoverable items are exported with --include-recoverable only";
    let mut note = Note::new(Outcome::Skipped, "not-covered", message);
    note.code = Some("recoverable-items".to_owned());
    note
}

/// The folders of a mailbox as they are walked.
struct Folders<'a> {
    mailbox: &'a Mailbox<'a>,
    root: &'a str,
    /// What the well-known names stand for.
    names: Vec<(&'static str, String)>,
}

impl Tree for Folders<'_> {
    fn scope(&self) -> Scope {
        scope(self.mailbox.owner)
    }

    fn below(&self, folder: &str) -> Option<String> {
        let all = format!("/users/{}/mailFolders", self.mailbox.user());
        let list = match folder == self.root {
            true => all,
            false => format!("{all}/{}/childFolders", segment(folder)),
        };
        Some(format!("{list}?includeHiddenFolders=true&$top={PAGE}"))
    }

    fn folder(&self, folder: &str) -> Option<String> {
        let all = format!("/users/{}/mailFolders", self.mailbox.user());
        Some(format!("{all}/{}?$select=id", segment(folder)))
    }

    fn put(&self, folder: &Value, id: &str, parent: &str) -> Result<bool, Error> {
        let named = self.names.iter().find(|(_, known)| known == id).map(|(name, _)| *name);
        let is_search = named == Some("searchfolders")
            || folder.get("@odata.type").and_then(Value::as_str)
                == Some("#microsoft.graph.mailSearchFolder");
        if is_search {
            return Ok(false);
        }
        self.mailbox.put_folder(folder, id, parent, named)?;
        Ok(true)
    }

    fn remarks(&self) -> &Remarks {
        &self.mailbox.remarks
    }

    fn fatal(&self, error: graph::Error) -> Error {
        self.mailbox.fatal(error)
    }
}

impl Mailbox<'_> {
    /// The whole folder tree into the inventory; ids of those whose messages are selected.
    pub(super) async fn folders(&self, root: &Value, base: &str) -> Result<Vec<String>, Error> {
        let names = self.well_known().await?;
        self.put_folder(root, root_id(root), "", None)?;
        let root = root_id(root);
        let mut found = vec![root.to_owned()];
        if self.context.options.include_recoverable {
            self.recoverable(root, &mut found).await?;
        }
        let tree = Folders { mailbox: self, root, names };
        let found = walk(self.context.graph(), &tree, root, found).await?;
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
                let note =
                    |outcome| Note::new(outcome, "recoverable-items", message).with_code(&error);
                match is_gone(&error) || matches!(error.status(), Some(400 | 403)) {
                    true => self.remarks.note("", note(Outcome::Skipped)),
                    false => self.remarks.failed("", note(Outcome::Failed)),
                }
                Ok(())
            }
        }
    }

    /// Drops the folders that the selection excludes: they need not be listed.
    fn selected(&self, found: Vec<String>, root: &str, base: &str) -> Result<Vec<String>, Error> {
        if self.context.options.selection.exclude.is_empty() {
            return Ok(found);
        }
        let inventory = self.inventory;
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
            // Most mailboxes have only some, and some services know fewer names.
            Err(error) if is_gone(&error) || matches!(error.status(), Some(400 | 403)) => Ok(None),
            Err(error) => {
                let message = format!("which folder is the {name} could not be read");
                let note = Note::new(Outcome::Failed, "listing", &message);
                self.remarks.failed("", note.with_code(&error));
                Ok(None)
            }
        }
    }

    fn put_folder(
        &self,
        folder: &Value,
        id: &str,
        parent: &str,
        well_known: Option<&str>,
    ) -> Result<(), Error> {
        let place = (id, parent);
        put_folder(self.inventory, FOLDERS, folder, place, well_known, &FOLDER_VOLATILE)
    }

    /// Tells when folders came, were renamed or moved since we began: a mail may have gone to a
    /// folder that did not exist when the tree was read.
    pub(super) async fn watch_tree(&self) -> Result<Watch, Error> {
        let path = format!("/users/{}/mailFolders/delta?$select=id", self.user());
        let watch = Watch::of_folders(self.context, scope(self.owner), &path, PAGE).await;
        watch.map_err(|error| self.fatal(error))
    }
}
