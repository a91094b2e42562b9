//! The folders that rules name, by what people call them.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};

use super::read::{Reader, text};
use crate::Error;
use crate::service::mail::folders::WELL_KNOWN;
use graph::segment;

/// Deeper than any mailbox is; a tree that goes on has a circle.
const DEEPEST: usize = 300;
/// Where the tree of folders hangs.
const ROOT: &str = "msgfolderroot";
/// The actions that name a folder (FACTS 8.2).
pub(super) const ACTIONS: [&str; 2] = ["/actions/moveToFolder", "/actions/copyToFolder"];

/// Ways to folders of one mailbox.
pub(super) struct Paths<'a> {
    reader: &'a Reader<'a>,
    /// Folders as they were told, by id; none for those that are gone.
    known: BTreeMap<String, Option<Value>>,
    /// By id: which well-known folder it is, and the root.
    well_known: Option<BTreeMap<String, &'static str>>,
    refusal: Option<graph::Error>,
}

impl<'a> Paths<'a> {
    pub(super) fn new(reader: &'a Reader<'a>) -> Self {
        Self { reader, known: BTreeMap::new(), well_known: None, refusal: None }
    }

    /// Why some paths are not known.
    pub(super) fn into_refusal(self) -> Option<graph::Error> {
        self.refusal
    }

    /// The folders on the way to each folder that a rule names, from the top, by its id. A folder
    /// that is gone has none.
    pub(super) async fn of_rule(&mut self, rule: &Value) -> Result<Map<String, Value>, Error> {
        let mut paths = Map::new();
        for action in ACTIONS {
            let id = text(rule, action);
            if !id.is_empty()
                && !paths.contains_key(id)
                && let Some(path) = self.path(id).await?
            {
                paths.insert(id.to_owned(), path.into());
            }
        }
        Ok(paths)
    }

    async fn path(&mut self, id: &str) -> Result<Option<Vec<Value>>, Error> {
        let mut path = Vec::new();
        let mut at = id.to_owned();
        for _ in 0..DEEPEST {
            let named = self.well_known().await?.get(&at).copied();
            if named == Some(ROOT) {
                path.reverse();
                return Ok(Some(path));
            }
            let Some(folder) = self.folder(&at).await? else { return Ok(None) };
            let mut step = json!({ "displayName": text(&folder, "/displayName") });
            if let Some(name) = named {
                step["wellKnownName"] = name.into();
            }
            path.push(step);
            at = text(&folder, "/parentFolderId").to_owned();
        }
        Ok(None)
    }

    async fn folder(&mut self, id: &str) -> Result<Option<Value>, Error> {
        if let Some(known) = self.known.get(id) {
            return Ok(known.clone());
        }
        let select = "$select=id,displayName,parentFolderId";
        let path = self.reader.path(&format!("/mailFolders/{}?{select}", segment(id)));
        let found = match self.reader.ask(&self.reader.scope(), &path).await? {
            Ok(folder) => Some(folder),
            Err(error) => {
                // An id that is none, as of a rule whose folder is long gone, is answered with 400.
                if !matches!(error.status(), Some(400 | 404)) {
                    self.refusal.get_or_insert(error);
                }
                None
            }
        };
        self.known.insert(id.to_owned(), found.clone());
        Ok(found)
    }

    /// Asked for when a rule names a folder: most mailboxes have none that does.
    async fn well_known(&mut self) -> Result<&BTreeMap<String, &'static str>, Error> {
        if self.well_known.is_none() {
            let names = WELL_KNOWN.into_iter().chain([ROOT]);
            let asked: Vec<_> = names.map(|name| well_known_folder(self.reader, name)).collect();
            let found: Vec<_> = stream::iter(asked).buffered(4).try_collect().await?;
            let mut all = BTreeMap::new();
            for found in found {
                match found {
                    Ok((id, name)) => drop(all.insert(id, name)),
                    // Most mailboxes have only some of them.
                    Err(error) if error.status() == Some(404) => {}
                    Err(error) if *error.kind() == graph::ErrorKind::Permission => {
                        self.refusal.get_or_insert(error);
                    }
                    Err(_) => {}
                }
            }
            self.well_known = Some(all);
        }
        Ok(self.well_known.get_or_insert_default())
    }
}

/// Which folder a well-known name stands for: its id, and the name.
async fn well_known_folder(
    reader: &Reader<'_>,
    name: &'static str,
) -> Result<Result<(String, &'static str), graph::Error>, Error> {
    let path = reader.path(&format!("/mailFolders/{name}?$select=id"));
    let folder = reader.ask(&reader.scope(), &path).await?;
    Ok(folder.map(|folder| (text(&folder, "/id").to_owned(), name)))
}
