//! Folders in folders, as the service lists them: level by level.

use std::collections::BTreeSet;

use archive::Outcome;
use graph::{ErrorKind, Graph, Prefer, Scope};
use serde_json::Value;

use crate::Error;
use crate::error::is_fatal;
use crate::inventory::{Inventory, Name, Node};
use crate::remarks::Remarks;
use crate::service::{Note, volatile};

/// A tree of folders: mail folders, contact folders; a list of lists is one of a single level.
pub(crate) trait Tree: Sync {
    /// Whose throttling it counts to.
    fn scope(&self) -> Scope;

    /// Path and query that list what is directly in a folder; none if nothing can be.
    fn below(&self, folder: &str) -> Option<String>;

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

/// Walks the tree below `root`: all ids, in the order they were found, after those that are `known`
/// and stand in the inventory already. A level that can't be listed is a failed listing, not the
/// run's end.
pub(crate) async fn walk(
    graph: &Graph,
    tree: &impl Tree,
    root: &str,
    known: Vec<String>,
) -> Result<Vec<String>, Error> {
    let mut seen: BTreeSet<String> = known.iter().cloned().collect();
    let mut found = known;
    let mut queue = vec![root.to_owned()];
    while let Some(parent) = queue.pop() {
        let Some(path) = tree.below(&parent) else { continue };
        let mut pages = graph.pages(tree.scope(), &path, Prefer::none());
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(error) if is_fatal(&error) => return Err(tree.fatal(error)),
                Err(error) => {
                    level_failed(tree.remarks(), &parent, &error);
                    break;
                }
            };
            for item in &page.items {
                let folder = item.parse().map_err(|error| tree.fatal(error))?;
                let Some(id) = folder.get("id").and_then(Value::as_str) else { continue };
                if seen.contains(id) || !tree.put(&folder, id, &parent)? {
                    continue;
                }
                seen.insert(id.to_owned());
                found.push(id.to_owned());
                queue.push(id.to_owned());
            }
        }
    }
    Ok(found)
}

/// One that vanished meanwhile is nobody's failure.
fn level_failed(remarks: &Remarks, parent: &str, error: &graph::Error) {
    if !matches!(error.kind(), ErrorKind::FolderGone | ErrorKind::ItemGone) {
        let message = "the folders below could not be listed";
        remarks.failed(parent, Note::new(Outcome::Failed, "listing", message).with_code(error));
    }
}
