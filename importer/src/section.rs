//! A section of the archive as a restore sees it: whose it is, and its folders.

use archive::OwnerNames;
use archive::metadata::Line;
use serde_json::Value;

/// A section: one service of one owner.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// `users/<upn>/<service>`: the metadata is at `<prefix>.ndjson`, the items below `<prefix>/`.
    pub(crate) prefix: String,
    /// `mail`, `onedrive`, ...
    pub(crate) service: crate::Service,
    /// Whose it was.
    pub(crate) owner: Owner,
    /// Names the folder that restored items go to: see [`crate::label`].
    pub(crate) label: String,
}

/// Whose content it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Owner {
    /// Object id.
    pub(crate) id: String,
    /// UPN and addresses.
    pub(crate) names: OwnerNames,
}

/// A folder of a section, with its own name, not the one in paths.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Folder {
    /// The service's id.
    pub(crate) id: String,
    /// Exact name.
    pub(crate) name: String,
    /// `inbox`, `sentitems`, `defaultList`, ... if the service says it is one.
    pub(crate) well_known: Option<String>,
    /// Path of its member in the archive, relative to the section: `Inbox/Projects`.
    pub(crate) path: String,
    /// All the archive has of it.
    pub(crate) graph: Value,
}

impl Folder {
    pub(crate) fn from_line(line: &Line, prefix: &str) -> Self {
        let text = |key| line.graph.get(key).and_then(Value::as_str);
        // As lists of tasks have it, where most say that they are none (FACTS 3.8).
        let of_tasks = text("wellknownListName").filter(|name| *name != "none");
        let path = line.path.as_deref().unwrap_or_default();
        let path = path.strip_prefix(prefix).unwrap_or(path).trim_matches('/');
        Self {
            id: line.id.clone(),
            name: ["displayName", "name", "topic"]
                .into_iter()
                .find_map(text)
                .unwrap_or_default()
                .to_owned(),
            well_known: text("wellKnownName").or(of_tasks).map(str::to_owned),
            path: path.to_owned(),
            graph: line.graph.clone(),
        }
    }
}

impl Folder {
    /// The folder that all others are in, which every mailbox and drive has of its own: its member
    /// is the section's own directory.
    pub(crate) fn is_root(&self) -> bool {
        self.path.is_empty()
    }
}

/// What a section's restore folder is called by: the day of its newest item and the beginning of
/// the digest of its metadata (design 8). The same snapshot always has the same.
pub(crate) fn label(newest: Option<&str>, sha256: Option<&archive::Sha256Digest>) -> String {
    let day = newest.and_then(|date| date.get(..10)).unwrap_or("0000-00-00");
    let digest = sha256.map(archive::hex).unwrap_or_default();
    format!("{day}-{}", digest.get(..6).unwrap_or("000000"))
}
