//! A drive: its items, their versions and the journal that delta reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};

use crate::blob::Blob;
use crate::ids::DriveIds;
use crate::uploads::Uploads;

mod edit;

pub(crate) use edit::{Conflict, Saved, Times, Trouble, Update};

/// Bytes a new drive has room for: 1 TiB, the usual allowance.
const ROOM: u64 = 1 << 40;

/// What kind of item a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Facet {
    Root,
    Folder,
    File,
    /// A OneNote notebook.
    Package,
    /// A link to an item of another drive.
    Shortcut,
}

/// An item. Its number is its place in the list and never changes.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) parent: Option<u32>,
    pub(crate) facet: Facet,
    /// As the service saw it.
    pub(crate) created: DateTime<Utc>,
    pub(crate) modified: DateTime<Utc>,
    /// As the client's file system had it: `fileSystemInfo`.
    pub(crate) client_created: DateTime<Utc>,
    pub(crate) client_modified: DateTime<Utc>,
    /// Counts changes of the item.
    pub(crate) etag: u32,
    /// Oldest first; the last is current. Empty for what is no file.
    pub(crate) versions: Vec<Version>,
    pub(crate) gone: bool,
    /// Deleted, but only into the recycle bin.
    pub(crate) recycled: bool,
    pub(crate) malware: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) number: u32,
    pub(crate) blob: Blob,
    pub(crate) modified: DateTime<Utc>,
    hash: Arc<OnceLock<String>>,
}

impl Version {
    pub(crate) fn hash(&self) -> &str {
        self.hash.get_or_init(|| self.blob.quick_xor())
    }
}

impl Node {
    pub(crate) fn new(
        parent: Option<u32>,
        name: &str,
        facet: Facet,
        created: DateTime<Utc>,
        modified: DateTime<Utc>,
    ) -> Node {
        Node {
            name: name.to_owned(),
            parent,
            facet,
            created,
            modified,
            client_created: created,
            client_modified: modified,
            etag: 1,
            versions: Vec::new(),
            gone: false,
            recycled: false,
            malware: false,
        }
    }

    pub(crate) fn push_version(&mut self, blob: Blob, modified: DateTime<Utc>) {
        let number = self.versions.last().map_or(1, |v| v.number + 1);
        self.versions.push(Version { number, blob, modified, hash: Arc::default() });
    }

    /// The item changes now.
    fn stir(&mut self) {
        self.modified = Utc::now().trunc_subsecs(0);
        self.client_modified = self.modified;
        self.etag += 1;
    }

    pub(crate) fn current(&self) -> Option<&Version> {
        self.versions.last()
    }

    fn len(&self) -> u64 {
        self.current().filter(|_| !self.gone).map_or(0, |version| version.blob.len())
    }

    pub(crate) fn is_container(&self) -> bool {
        matches!(self.facet, Facet::Root | Facet::Folder | Facet::Package)
    }
}

pub(crate) struct Drive {
    pub(crate) ids: DriveIds,
    /// Uploads under way.
    pub(crate) uploads: Uploads,
    state: Mutex<State>,
}

struct State {
    nodes: Vec<Node>,
    children: BTreeMap<u32, Vec<u32>>,
    journal: Vec<(u64, DateTime<Utc>, u32)>,
    seq: u64,
    /// Bytes of all files there are.
    used: u64,
    quota: u64,
}

impl Drive {
    pub(crate) fn new(ids: DriveIds, nodes: Vec<Node>) -> Drive {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (number, node) in nodes.iter().enumerate() {
            if let (Some(parent), false) = (node.parent, node.gone) {
                children.entry(parent).or_default().push(number as u32);
            }
        }
        let used = nodes.iter().map(Node::len).sum();
        let state = State { nodes, children, journal: Vec::new(), seq: 0, used, quota: ROOM };
        Drive { ids, uploads: Uploads::default(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    pub(crate) fn seq(&self) -> u64 {
        self.state().seq
    }

    /// All items in the order of their numbers, deleted ones only if asked for.
    pub(crate) fn all(&self, with_gone: bool) -> Vec<u32> {
        let state = self.state();
        let numbered = (0..).zip(&state.nodes);
        numbered.filter(|(_, node)| with_gone || !node.gone).map(|(number, _)| number).collect()
    }

    /// An item, deleted ones included.
    pub(crate) fn any(&self, number: u32) -> Option<Node> {
        self.state().nodes.get(number as usize).cloned()
    }

    pub(crate) fn node(&self, number: u32) -> Option<Node> {
        self.any(number).filter(|node| !node.gone)
    }

    pub(crate) fn children(&self, number: u32) -> Vec<u32> {
        self.state().children.get(&number).cloned().unwrap_or_default()
    }

    /// The item at a path below the root; names compare as SharePoint does, without case, unless
    /// one fits exactly.
    pub(crate) fn at_path(&self, path: &str) -> Option<u32> {
        self.below(0, path)
    }

    /// The same below a folder.
    pub(crate) fn below(&self, folder: u32, path: &str) -> Option<u32> {
        let state = self.state();
        let mut at = folder;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let children = state.children.get(&at)?;
            let name = |n: &&u32| state.nodes[**n as usize].name.as_str();
            let exact = children.iter().find(|n| name(n) == part);
            let folded = || children.iter().find(|n| name(n).to_lowercase() == part.to_lowercase());
            at = *exact.or_else(folded)?;
        }
        Some(at)
    }

    /// Names from the root down to an item.
    pub(crate) fn trail(&self, number: u32) -> Vec<String> {
        let state = self.state();
        let mut trail = Vec::new();
        let mut at = Some(number);
        while let Some(number) = at {
            let node = &state.nodes[number as usize];
            if node.parent.is_some() {
                trail.push(node.name.clone());
            }
            at = node.parent;
        }
        trail.reverse();
        trail
    }

    /// All files, in the order of their numbers.
    pub(crate) fn files(&self) -> Vec<u32> {
        let state = self.state();
        let numbered = (0..).zip(&state.nodes);
        let files = numbered.filter(|(_, node)| node.facet == Facet::File && !node.gone);
        files.map(|(number, _)| number).collect()
    }

    /// The file with the most bytes.
    pub(crate) fn largest(&self) -> Option<u32> {
        let state = self.state();
        let size = |n: &u32| state.nodes[*n as usize].current().map_or(0, |v| v.blob.len());
        let files = (0..state.nodes.len() as u32).filter(|n| !state.nodes[*n as usize].gone);
        files.max_by_key(size)
    }

    /// The size of all files below an item.
    pub(crate) fn size_below(&self, number: u32) -> u64 {
        let state = self.state();
        let mut open = vec![number];
        let mut total = 0;
        while let Some(at) = open.pop() {
            total += state.nodes[at as usize].current().map_or(0, |v| v.blob.len());
            open.extend(state.children.get(&at).into_iter().flatten());
        }
        total
    }

    /// Items changed after `since` up to `until`, each once, in the order of their last change.
    pub(crate) fn changed_only(&self, since: u64, until: u64) -> Vec<u32> {
        let state = self.state();
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        for (seq, _, node) in &state.journal {
            if *seq > since && *seq <= until {
                last.insert(*node, *seq);
            }
        }
        let mut due: Vec<_> = last.into_iter().map(|(node, seq)| (seq, node)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, node)| node).collect()
    }

    /// The same after the folders above them.
    pub(crate) fn changes(&self, since: u64, until: u64) -> Vec<u32> {
        let due = self.changed_only(since, until);
        let state = self.state();
        let mut above = BTreeSet::new();
        for node in &due {
            let mut at = state.nodes[*node as usize].parent;
            while let Some(number) = at {
                above.insert(number);
                at = state.nodes[number as usize].parent;
            }
        }
        for node in &due {
            above.remove(node);
        }
        above.into_iter().chain(due).collect()
    }

    /// The number of the last change before a point in time.
    pub(crate) fn seq_at(&self, time: DateTime<Utc>) -> u64 {
        let state = self.state();
        let earlier = state.journal.iter().take_while(|(_, at, _)| *at < time);
        earlier.last().map_or(0, |(seq, ..)| *seq)
    }

    /// Changes an item: `content` moves the cTag as well, anything the eTag.
    pub(crate) fn change(&self, number: u32, change: impl FnOnce(&mut Node)) -> bool {
        let mut state = self.state();
        let Some(node) = state.nodes.get_mut(number as usize).filter(|node| !node.gone) else {
            return false;
        };
        let (parent, was_gone, len) = (node.parent, node.gone, node.len());
        node.stir();
        change(node);
        let (now_parent, now_gone, now_len) = (node.parent, node.gone, node.len());
        state.used = state.used - len + now_len;
        if (parent, was_gone) != (now_parent, now_gone) {
            if let Some(list) = parent.and_then(|p| state.children.get_mut(&p)) {
                list.retain(|n| *n != number);
            }
            if let (Some(parent), false) = (now_parent, now_gone) {
                state.children.entry(parent).or_default().push(number);
            }
        }
        state.note(number);
        true
    }

    /// Deletes an item and everything below it.
    pub(crate) fn delete(&self, number: u32) {
        for child in self.children(number) {
            self.delete(child);
        }
        self.change(number, |node| node.gone = true);
    }

    /// Adds an item; returns its number.
    pub(crate) fn add(&self, node: Node) -> u32 {
        let mut state = self.state();
        state.add(node)
    }

    /// Stores a file at a path, as a new version when there is one already.
    pub(crate) fn put(&self, path: &str, bytes: Bytes) -> u32 {
        let now = Utc::now().trunc_subsecs(0);
        let blob = Blob::Stored(bytes);
        let (folders, name) = path.trim_start_matches('/').rsplit_once('/').unwrap_or(("", path));
        let parent = self.folder_at(folders);
        let known = self
            .children(parent)
            .into_iter()
            .find(|n| self.node(*n).is_some_and(|node| node.name == name));
        if let Some(number) = known {
            self.change(number, |node| node.push_version(blob, now));
            return number;
        }
        let mut node = Node::new(Some(parent), name, Facet::File, now, now);
        node.push_version(blob, now);
        self.add(node)
    }

    /// The folder at a path, made where missing.
    pub(crate) fn folder_at(&self, path: &str) -> u32 {
        let now = Utc::now().trunc_subsecs(0);
        let mut at = 0;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let known = self.children(at).into_iter().find(|n| {
                self.node(*n).is_some_and(|node| node.name == part && node.is_container())
            });
            at = known
                .unwrap_or_else(|| self.add(Node::new(Some(at), part, Facet::Folder, now, now)));
        }
        at
    }
}

impl State {
    fn add(&mut self, node: Node) -> u32 {
        let number = self.nodes.len() as u32;
        if let Some(parent) = node.parent {
            self.children.entry(parent).or_default().push(number);
        }
        self.used += node.len();
        self.nodes.push(node);
        self.note(number);
        number
    }

    fn note(&mut self, number: u32) {
        self.seq += 1;
        self.journal.push((self.seq, Utc::now(), number));
    }
}
