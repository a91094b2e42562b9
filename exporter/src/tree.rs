//! Folders in folders, as the service lists them: level by level.

use std::collections::BTreeSet;

use archive::Outcome;
use futures::TryStreamExt as _;
use futures::stream::FuturesOrdered;
use graph::{Graph, Scope};
use serde_json::Value;

use crate::Error;
use crate::error::{is_fatal, is_gone};
use crate::follow::{SHORT_AT_ONCE, Told, all_rows, is_missing};
use crate::inventory::{Inventory, Name, Node};
use crate::remarks::Remarks;
use crate::service::{Note, volatile};

/// A tree of folders: mail folders, contact folders; a list of lists is one of a single level.
pub(crate) trait Tree: Sync {
    /// Whose throttling it counts to.
    fn scope(&self) -> Scope;

    /// Path and query that list what is directly in a folder; none if nothing can be.
    fn below(&self, folder: &str) -> Option<String>;

    /// What answers for a folder itself, and only if it is there; none where nothing does.
    fn folder(&self, folder: &str) -> Option<String>;

    /// Puts a folder into the inventory. False if it is none of ours, with all below it.
    fn put(&self, folder: &Value, id: &str, parent: &str) -> Result<bool, Error>;

    /// Where failed levels are remarked.
    fn remarks(&self) -> &Remarks;

    /// The fatal error that ends the run here.
    fn fatal(&self, error: graph::Error) -> Error;
}

/// Puts a folder into the inventory, without its `volatile` keys; with the name that stands for it
/// whatever it is called, if there is one.
pub(crate) fn put_folder(
    inventory: &Inventory,
    listing: &str,
    folder: &Value,
    (id, parent): (&str, &str),
    well_known: Option<&str>,
    volatile: &[&str],
) -> Result<(), Error> {
    let mut graph = folder.as_object().cloned().unwrap_or_default();
    volatile::strip(&mut graph, volatile);
    if let Some(name) = well_known {
        graph.insert("wellKnownName".to_owned(), name.into());
    }
    let name = folder.get("displayName").and_then(Value::as_str).unwrap_or_default();
    inventory.put(&Node {
        id,
        listing,
        parent,
        kind: archive::metadata::FOLDER,
        folder: true,
        key: 0,
        mtime: 0,
        name: Name::Native(name),
        json: &archive::json::canonical(&Value::Object(graph)),
        unwanted: None,
    })
}

/// Walks the tree below `root`, level by level: all ids, in the order they were found, after those
/// that are `known` and stand in the inventory already. A level that can't be listed is a failed
/// listing, not the run's end.
pub(crate) async fn walk(
    graph: &Graph,
    tree: &impl Tree,
    root: &str,
    known: Vec<String>,
) -> Result<Vec<String>, Error> {
    let mut seen: BTreeSet<String> = known.iter().cloned().collect();
    let mut found = known;
    let mut level = vec![root.to_owned()];
    while !level.is_empty() {
        let mut parents = level.iter();
        let begun = parents.by_ref().take(SHORT_AT_ONCE).map(|parent| below(graph, tree, parent));
        let mut lists: FuturesOrdered<_> = begun.collect();
        let mut next = Vec::new();
        while let Some((parent, rows)) = lists.try_next().await? {
            for folder in rows {
                let Some(id) = folder.get("id").and_then(Value::as_str) else { continue };
                if !seen.contains(id) && tree.put(&folder, id, parent)? {
                    seen.insert(id.to_owned());
                    next.push(id.to_owned());
                }
            }
            if let Some(parent) = parents.next() {
                lists.push_back(below(graph, tree, parent));
            }
        }
        drop(lists);
        found.extend_from_slice(&next);
        level = next;
    }
    Ok(found)
}

/// What is directly in a folder, as far as it can be listed; whose that is, too.
async fn below<'a>(
    graph: &Graph,
    tree: &impl Tree,
    parent: &'a str,
) -> Result<(&'a str, Vec<Value>), Error> {
    let Some(path) = tree.below(parent) else { return Ok((parent, Vec::new())) };
    let scope = tree.scope();
    let Told { rows, ended, .. } = all_rows(graph, &scope, &path).await;
    let error = match ended {
        Ok(()) => return Ok((parent, rows)),
        Err(error) if is_fatal(&error) => return Err(tree.fatal(error)),
        Err(error) => error,
    };
    // One that vanished meanwhile is nobody's failure.
    let is_missing = match tree.folder(parent) {
        Some(folder) if is_gone(&error) => {
            is_missing(graph, &scope, &folder).await.map_err(|error| tree.fatal(error))?
        }
        _ => false,
    };
    if !is_missing {
        let message = "the folders below could not be listed";
        let note = Note::new(Outcome::Failed, "listing", message);
        tree.remarks().failed(parent, note.with_code(&error));
    }
    Ok((parent, rows))
}
