//! The folders of contacts: the default one, which no list names, and the tree of all others.

use archive::Outcome;
use graph::{Prefer, Scope, segment};
use serde_json::{Value, json};

use super::{Desk, scope};
use crate::Error;
use crate::follow::Watch;
use crate::remarks::Remarks;
use crate::service::Note;
use crate::tree::{Tree, put_folder, walk};

/// What tells of folders, in the inventory.
pub(super) const FOLDERS: &str = "folders";
/// Folders a page (FACTS 3.2).
const PAGE: u32 = 1000;
/// The name that stands for the default folder whatever it is called (FACTS 3.4).
const DEFAULT: &str = "Contacts";
/// Keys of a folder that say nothing of it (FACTS 9).
const VOLATILE: [&str; 2] = ["@odata.etag", "@odata.type"];

/// The folders as they are walked: what the service lists without a parent, and below it.
struct Folders<'a> {
    desk: &'a Desk<'a>,
    default: &'a str,
}

impl Tree for Folders<'_> {
    fn scope(&self) -> Scope {
        scope(self.desk.owner)
    }

    fn below(&self, folder: &str) -> Option<String> {
        let all = format!("/users/{}/contactFolders", self.desk.user());
        Some(match folder {
            "" => format!("{all}?$top={PAGE}"),
            _ => format!("{all}/{}/childFolders?$top={PAGE}", segment(folder)),
        })
    }

    fn folder(&self, folder: &str) -> Option<String> {
        let all = format!("/users/{}/contactFolders", self.desk.user());
        (!folder.is_empty()).then(|| format!("{all}/{}?$select=id", segment(folder)))
    }

    /// What is listed without a parent is mostly in the default folder.
    fn put(&self, folder: &Value, id: &str, parent: &str) -> Result<bool, Error> {
        if id == self.default {
            return Ok(false);
        }
        let is_in_default = folder.get("parentFolderId").and_then(Value::as_str);
        let is_in_default = parent.is_empty() && is_in_default == Some(self.default);
        let parent = if is_in_default { self.default } else { parent };
        self.desk.put_folder(folder, id, parent, None)?;
        Ok(true)
    }

    fn remarks(&self) -> &Remarks {
        &self.desk.remarks
    }

    fn fatal(&self, error: graph::Error) -> Error {
        self.desk.fatal(error)
    }
}

impl Desk<'_> {
    /// Puts the default folder in; its id. None if it can't be had, which is so only where it is
    /// empty: `root` names it by any contact in it.
    pub(super) async fn default_folder(&self, root: &Value) -> Result<Option<String>, Error> {
        let known = root.pointer("/value/0/parentFolderId").and_then(Value::as_str);
        let path =
            format!("/users/{}/contactFolders/{}", self.user(), segment(known.unwrap_or(DEFAULT)));
        let doing = format!("listing the contacts of {}", self.owner.upn);
        let asked = self.context.ask(&scope(self.owner), &path, Prefer::none(), &doing).await?;
        let folder = match (asked, known) {
            (Ok(folder), _) => folder,
            // It is there; its name is all that is missing.
            (Err(error), Some(id)) => {
                if !matches!(error.status(), Some(400 | 404)) {
                    let message = "the name of the default folder could not be read";
                    let note = Note::new(Outcome::Failed, "listing", message).with_code(&error);
                    self.remarks.failed(id, note);
                }
                json!({"id": id, "displayName": DEFAULT})
            }
            (Err(error), None) if matches!(error.status(), Some(400 | 404)) => return Ok(None),
            (Err(error), None) => {
                let message = "the default folder could not be opened";
                let note = Note::new(Outcome::Failed, "listing", message).with_code(&error);
                self.remarks.failed("", note);
                return Ok(None);
            }
        };
        let id = folder.get("id").and_then(Value::as_str).or(known).unwrap_or(DEFAULT).to_owned();
        self.put_folder(&folder, &id, "", Some("contacts"))?;
        Ok(Some(id))
    }

    /// The whole tree into the inventory; ids of those whose contacts are selected.
    pub(super) async fn folders(&self, default: Option<&str>) -> Result<Vec<String>, Error> {
        let graph = self.context.graph();
        let tree = Folders { desk: self, default: default.unwrap_or_default() };
        let found =
            walk(graph, &tree, "", default.map(str::to_owned).into_iter().collect()).await?;
        // Whether the first list shows all that is in the default folder is not documented.
        let found = match default {
            Some(default) => walk(graph, &tree, default, found).await?,
            None => found,
        };
        self.selected(found)
    }

    /// Drops the folders that the selection excludes: they need not be listed.
    fn selected(&self, found: Vec<String>) -> Result<Vec<String>, Error> {
        if self.context.options.selection.exclude.is_empty() {
            return Ok(found);
        }
        self.inventory.arrange("", &format!("{}/contacts", self.owner.path()))?;
        let mut kept = Vec::new();
        for id in found {
            let path = self.inventory.folder_path(&id)?;
            if path.is_none_or(|path| !self.context.selector.excludes_subtree(&path)) {
                kept.push(id);
            }
        }
        Ok(kept)
    }

    fn put_folder(
        &self,
        folder: &Value,
        id: &str,
        parent: &str,
        well_known: Option<&str>,
    ) -> Result<(), Error> {
        let place = (id, parent);
        put_folder(self.inventory, FOLDERS, folder, place, well_known, &VOLATILE)
    }

    /// Tells when folders came, were renamed or moved since we began: a contact may have gone to a
    /// folder that did not exist when the tree was read.
    pub(super) async fn watch_tree(&self) -> Result<Watch, Error> {
        let path = format!("/users/{}/contactFolders/delta?$select=id", self.user());
        let watch = Watch::of_folders(self.context, scope(self.owner), &path, PAGE).await;
        watch.map_err(|error| self.fatal(error))
    }
}
