//! What clients do to a drive: each as one step, so that two of them never both find a name free.

use chrono::{DateTime, SubsecRound, Utc};

use super::{Drive, Facet, Node, State};
use crate::blob::Blob;

/// What becomes of an item whose name is taken (`@microsoft.graph.conflictBehavior`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conflict {
    Fail,
    Replace,
    Rename,
}

impl Conflict {
    /// The value of the annotation; `None` is what the service does not know.
    pub(crate) fn named(text: &str) -> Option<Conflict> {
        match text {
            "fail" => Some(Conflict::Fail),
            "replace" => Some(Conflict::Replace),
            "rename" => Some(Conflict::Rename),
            _ => None,
        }
    }
}

/// `fileSystemInfo`, as far as given.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) created: Option<DateTime<Utc>>,
    pub(crate) modified: Option<DateTime<Utc>>,
}

impl Times {
    fn put_on(self, node: &mut Node) {
        node.client_created = self.created.unwrap_or(node.client_created);
        node.client_modified = self.modified.unwrap_or(node.client_modified);
    }
}

/// An item that was stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saved {
    pub(crate) number: u32,
    /// There was none before.
    pub(crate) new: bool,
}

/// What a client wants to be different about an item.
#[derive(Debug, Default)]
pub(crate) struct Update {
    pub(crate) name: Option<String>,
    pub(crate) parent: Option<u32>,
    pub(crate) times: Times,
}

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The name is taken.
    Exists,
    /// The drive is full.
    Full,
    /// The item, or the folder it should go to, is not there.
    Missing,
    /// A folder cannot go into itself.
    Loop,
}

impl Drive {
    /// The item of this name in a folder; case does not matter.
    pub(crate) fn child(&self, parent: u32, name: &str) -> Option<u32> {
        self.state().child(parent, name)
    }

    /// Stores a file in a folder.
    pub(crate) fn save(
        &self,
        parent: u32,
        name: &str,
        conflict: Conflict,
        (blob, times): (Blob, Times),
    ) -> Result<Saved, Trouble> {
        let mut state = self.state();
        state.container(parent)?;
        let known = state.child(parent, name);
        let name = match (known, conflict) {
            (Some(number), Conflict::Replace) => {
                state.overwrite(number, blob, times)?;
                return Ok(Saved { number, new: false });
            }
            (Some(_), Conflict::Fail) => return Err(Trouble::Exists),
            (Some(_), Conflict::Rename) => state.free_name(parent, name, Facet::File),
            (None, _) => name.to_owned(),
        };
        state.afford(0, blob.len())?;
        let now = Utc::now().trunc_subsecs(0);
        let mut node = Node::new(Some(parent), &name, Facet::File, now, now);
        node.push_version(blob, now);
        times.put_on(&mut node);
        let number = state.add(node);
        state.touch(parent);
        Ok(Saved { number, new: true })
    }

    /// Gives a file other content, as a new version.
    pub(crate) fn overwrite(&self, number: u32, blob: Blob, times: Times) -> Result<(), Trouble> {
        self.state().overwrite(number, blob, times)
    }

    /// Makes a folder; with [`Conflict::Replace`] one that exists will do.
    pub(crate) fn make_folder(
        &self,
        parent: u32,
        name: &str,
        conflict: Conflict,
    ) -> Result<Saved, Trouble> {
        let mut state = self.state();
        state.container(parent)?;
        let name = match (state.child(parent, name), conflict) {
            (Some(number), Conflict::Replace) if state.container(number).is_ok() => {
                return Ok(Saved { number, new: false });
            }
            (Some(_), Conflict::Rename) => state.free_name(parent, name, Facet::Folder),
            (Some(_), _) => return Err(Trouble::Exists),
            (None, _) => name.to_owned(),
        };
        let now = Utc::now().trunc_subsecs(0);
        let number = state.add(Node::new(Some(parent), &name, Facet::Folder, now, now));
        state.touch(parent);
        Ok(Saved { number, new: true })
    }

    /// Renames and moves an item and sets its times. Its content stays, and so does its cTag.
    pub(crate) fn update(
        &self,
        number: u32,
        update: Update,
        conflict: Conflict,
    ) -> Result<(), Trouble> {
        let mut state = self.state();
        let node = state.alive(number)?.clone();
        let parent = update.parent.or(node.parent).ok_or(Trouble::Missing)?;
        state.container(parent)?;
        if state.is_within(parent, number) {
            return Err(Trouble::Loop);
        }
        let mut name = update.name.unwrap_or_else(|| node.name.clone());
        if state.child(parent, &name).is_some_and(|taken| taken != number) {
            match conflict {
                Conflict::Rename => name = state.free_name(parent, &name, node.facet),
                Conflict::Fail | Conflict::Replace => return Err(Trouble::Exists),
            }
        }
        let before = node.parent.filter(|before| *before != parent);
        if let Some(before) = before {
            state.children.entry(before).or_default().retain(|n| *n != number);
            state.children.entry(parent).or_default().push(number);
        }
        let node = &mut state.nodes[number as usize];
        node.stir();
        node.name = name;
        node.parent = Some(parent);
        update.times.put_on(node);
        state.note(number);
        for folder in before.into_iter().chain(before.is_some().then_some(parent)) {
            state.touch(folder);
        }
        Ok(())
    }

    /// Deletes an item with all below it, into the recycle bin or for good.
    pub(crate) fn discard(&self, number: u32, for_good: bool) {
        let parent = self.node(number).and_then(|node| node.parent);
        self.delete(number);
        let mut state = self.state();
        if let Some(node) = state.nodes.get_mut(number as usize) {
            node.recycled = !for_good;
        }
        if let Some(parent) = parent {
            state.touch(parent);
        }
    }

    /// The items that lie in the recycle bin, not those below them.
    pub(crate) fn recycled(&self) -> Vec<u32> {
        let state = self.state();
        let numbered = (0..).zip(&state.nodes);
        numbered.filter(|(_, node)| node.gone && node.recycled).map(|(number, _)| number).collect()
    }

    /// Bytes used and bytes allowed.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let state = self.state();
        (state.used, state.quota)
    }

    pub(crate) fn set_quota(&self, bytes: u64) {
        self.state().quota = bytes;
    }
}

impl State {
    fn alive(&self, number: u32) -> Result<&Node, Trouble> {
        let node = self.nodes.get(number as usize).filter(|node| !node.gone);
        node.ok_or(Trouble::Missing)
    }

    fn container(&self, number: u32) -> Result<(), Trouble> {
        self.alive(number)?.is_container().then_some(()).ok_or(Trouble::Missing)
    }

    fn child(&self, parent: u32, name: &str) -> Option<u32> {
        let folded = name.to_lowercase();
        let same = |n: &&u32| self.nodes[**n as usize].name.to_lowercase() == folded;
        self.children.get(&parent)?.iter().find(same).copied()
    }

    /// `name 1.txt`, `name 2.txt`, ...: the first that is not taken.
    fn free_name(&self, parent: u32, name: &str, facet: Facet) -> String {
        let split =
            name.rsplit_once('.').filter(|(stem, _)| facet == Facet::File && !stem.is_empty());
        let (stem, ending) = match split {
            Some((stem, ending)) => (stem, format!(".{ending}")),
            None => (name, String::new()),
        };
        let mut number = 1;
        loop {
            let free = format!("{stem} {number}{ending}");
            if self.child(parent, &free).is_none() {
                return free;
            }
            number += 1;
        }
    }

    fn afford(&self, less: u64, more: u64) -> Result<(), Trouble> {
        let then = (self.used - less).saturating_add(more);
        if more > less && then > self.quota { Err(Trouble::Full) } else { Ok(()) }
    }

    fn overwrite(&mut self, number: u32, blob: Blob, times: Times) -> Result<(), Trouble> {
        let node = self.alive(number)?;
        if node.facet != Facet::File {
            return Err(Trouble::Exists);
        }
        let (old, new) = (node.len(), blob.len());
        self.afford(old, new)?;
        self.used = self.used - old + new;
        let node = &mut self.nodes[number as usize];
        node.stir();
        node.push_version(blob, node.modified);
        times.put_on(node);
        self.note(number);
        Ok(())
    }

    /// Whether an item is a folder or below it.
    fn is_within(&self, item: u32, folder: u32) -> bool {
        let up = |at: &u32| self.nodes[*at as usize].parent;
        std::iter::successors(Some(item), up).any(|at| at == folder)
    }

    /// A folder's date moves when something comes into it or goes.
    fn touch(&mut self, folder: u32) {
        if let Some(node) = self.nodes.get_mut(folder as usize).filter(|node| !node.gone) {
            node.stir();
            self.note(folder);
        }
    }
}
