//! What clients do to a mailbox: create, copy, find by what was created, and folders.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Content, Edit, Edition, Key, Mailbox, State, Stored};
use crate::blob::Blob;
use crate::compose;
use crate::dice;
use crate::extended;
use crate::mail::{Attachment, Mail};
use crate::mime;
use crate::seed::folders::{self, Folder};

/// A message to be created.
pub(crate) enum Draft {
    /// As MIME: always a draft.
    Mime(Blob),
    /// As JSON without the attachments, and the attachments.
    Json(Blob, Vec<Attachment>),
}

/// Why a folder cannot be as asked.
pub(crate) enum FolderTrouble {
    /// There is one of that name.
    Exists,
    /// It is one of those that every mailbox has.
    WellKnown,
    /// It would lie inside itself.
    Circle,
}

/// Properties that are seen in the MIME.
const IN_MIME: [&str; 12] = [
    "subject",
    "body",
    "from",
    "sender",
    "toRecipients",
    "ccRecipients",
    "bccRecipients",
    "replyTo",
    "importance",
    "internetMessageId",
    "internetMessageHeaders",
    "attachments",
];

impl Edit {
    pub(super) fn merge(&mut self, properties: compose::Object) {
        const EXTENDED: &str = "singleValueExtendedProperties";
        for (name, value) in properties {
            let old = self.properties.get_mut(EXTENDED).and_then(|old| old.as_array_mut());
            match (old, value) {
                // Later ones of one id win when they are read.
                (Some(old), serde_json::Value::Array(new)) if name == EXTENDED => old.extend(new),
                (_, value) => drop(self.properties.insert(name, value)),
            }
        }
    }

    pub(super) fn changes_mime(&self) -> bool {
        let seen = |name: &String| IN_MIME.contains(&name.as_str());
        !self.attached.is_empty() || self.properties.keys().any(seen)
    }

    /// Applies what is not the mailbox's own.
    pub(super) fn change_mail(&self, mail: &mut Mail) {
        compose::apply(mail, &self.properties);
        mail.attachments.extend(self.attached.iter().cloned());
        if self.changes_mime() {
            mail.made = true;
            let block = mail.transport.as_deref().map(compose::headers_of);
            mail.headers = mime::rebuilt(mail, block.as_ref().unwrap_or(&mail.headers));
        }
    }
}

/// What a message can be found by without looking at every one: an identifier and its value.
pub(crate) fn index_key(id: &str, value: &str) -> u64 {
    let id = extended::canonical(id).unwrap_or_else(|| id.to_owned()).to_lowercase();
    dice::hash(&[dice::text(&id), dice::text(&value.to_lowercase())])
}

fn index_keys(mail: &Mail) -> Vec<u64> {
    let id = mail.message_id.iter().map(|id| index_key("internetMessageId", id));
    let same = mail.message_id.iter().map(|id| index_key("String 0x1035", id));
    let properties = mail.extended.iter().map(|p| index_key(&p.id, &p.value));
    id.chain(same).chain(properties).collect()
}

impl Mailbox {
    /// Creates a message now; its dates are those that it is created with.
    pub(crate) fn create(&self, folder: u32, draft: Draft, size: u64, now: DateTime<Utc>) -> Key {
        let draft_of = |content| Stored { content, folder, when: now, read: true, size };
        let mut stored = draft_of(match draft {
            Draft::Mime(blob) => Content::Mime { blob, draft: true },
            Draft::Json(json, attachments) => {
                Content::Json { json, attachments: Arc::from(attachments) }
            }
        });
        let mail = self.read_stored(&stored);
        if matches!(stored.content, Content::Json { .. }) {
            stored.read = mail.read;
        }
        let mut state = self.state();
        let when = mail.when();
        let key = self.push_dated(&mut state, stored, when);
        index(&mut state, key, &mail);
        key
    }

    /// Adds a message whose place among others is not the time of its creation.
    fn push_dated(&self, state: &mut State, stored: Stored, when: DateTime<Utc>) -> Key {
        let key = self.push(state, stored);
        let folder = state.stored[(key - self.source.count) as usize].folder;
        let now = state.stored[(key - self.source.count) as usize].when;
        if when != now {
            state.ordered.insert(key, when);
            let set = state.incoming.entry(folder).or_default();
            set.remove(&(now, key));
            set.insert((when, key));
        }
        key
    }

    /// Copies a message as it is; `None` when it is not there.
    pub(crate) fn copy(&self, key: Key, folder: u32) -> Option<Key> {
        let mail = self.message(key)?.mail;
        let mut state = self.state();
        let home = self.born(&state, key)?;
        let stored = match self.stored(&state, key) {
            Some(stored) => Stored { folder, ..stored.clone() },
            None => Stored {
                content: Content::Generated(key, self.role(&state.folders, home)),
                folder,
                when: self.when(&state, key),
                read: mail.read,
                size: 0,
            },
        };
        let copy = self.push_dated(&mut state, stored, mail.when());
        let edit = state.edits.get(&key).cloned();
        if let Some(edit) = edit {
            let change = state.seq;
            state.edits.insert(copy, Edit { folder: None, change, ..edit });
        }
        index(&mut state, copy, &mail);
        Some(copy)
    }

    /// Makes a message findable by the properties it has now.
    pub(crate) fn index_again(&self, key: Key) {
        if let Some(message) = self.message(key) {
            index(&mut self.state(), key, &message.mail);
        }
    }

    /// Messages in some folders that may have one of these index keys, newest first: all that do
    /// are among them.
    pub(crate) fn candidates(&self, folders: &[u32], index_keys: &[u64]) -> Vec<Key> {
        let state = self.state();
        let known = index_keys.iter().filter_map(|key| state.index.get(key)).flatten().copied();
        let unknown = (0..self.source.count).chain(state.unindexed.iter().copied());
        let all: BTreeSet<Key> = known.chain(unknown).collect();
        let here = |key: &Key| self.place(&state, *key).is_some_and(|at| folders.contains(&at));
        let mut found: Vec<Key> = all.into_iter().filter(here).collect();
        found.sort_by_key(|key| std::cmp::Reverse((self.when(&state, *key), *key)));
        found
    }

    /// Adds an attachment; returns its number among those of the message.
    pub(crate) fn attach(&self, key: Key, attachment: Attachment) -> Option<usize> {
        let mut state = self.state();
        if !self.edit_in(&mut state, key, Edition::Attach(attachment)) {
            return None;
        }
        let later = state.edits.get(&key)?.attached.len();
        let role = self.role(&state.folders, self.born(&state, key)?);
        let stored = self.stored(&state, key).cloned();
        drop(state);
        let first = match stored {
            Some(stored) => self.read_stored(&stored),
            None => self.source.mail(key, role),
        };
        Some(first.attachments.len() + later - 1)
    }

    /// Whether the quota leaves room for more.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let state = self.state();
        state.quota.is_none_or(|quota| state.used + bytes <= quota)
    }

    pub(crate) fn set_quota(&self, quota: Option<u64>) {
        self.state().quota = quota;
    }

    /// Counts bytes against the quota.
    pub(crate) fn use_room(&self, bytes: u64) {
        self.state().used += bytes;
    }

    /// Makes a folder of a name that the parent does not have yet.
    pub(crate) fn create_folder(
        &self,
        parent: u32,
        name: &str,
        hidden: bool,
    ) -> Result<u32, FolderTrouble> {
        let mut state = self.state();
        free(&state.folders, parent, name, None)?;
        let number = folders::add(&mut state.folders, parent, name, &[]);
        state.folders[number as usize].hidden = hidden;
        state.note_folders(&[number, parent]);
        Ok(number)
    }

    /// Gives a folder another name or another place.
    pub(crate) fn change_folder(
        &self,
        folder: u32,
        parent: Option<u32>,
        name: Option<&str>,
    ) -> Result<(), FolderTrouble> {
        let mut state = self.state();
        let old = state.folders[folder as usize].clone();
        let (parent, name) = (parent.or(old.parent), name.unwrap_or(&old.name));
        let Some(parent) = parent.filter(|_| old.well_known.is_none()) else {
            return Err(FolderTrouble::WellKnown);
        };
        let mut above = Some(parent);
        while let Some(at) = above {
            if at == folder {
                return Err(FolderTrouble::Circle);
            }
            above = state.folders[at as usize].parent;
        }
        free(&state.folders, parent, name, Some(folder))?;
        let changed = &mut state.folders[folder as usize];
        changed.name = name.to_owned();
        changed.parent = Some(parent);
        let mut touched = vec![folder, parent];
        touched.extend(old.parent);
        state.note_folders(&touched);
        Ok(())
    }

    /// Whether a folder is or lies in another.
    pub(crate) fn is_within(&self, folder: u32, outer: u32) -> bool {
        let state = self.state();
        let parent = |at: &u32| state.folders[*at as usize].parent;
        std::iter::successors(Some(folder), parent).any(|at| at == outer)
    }
}

impl State {
    fn note_folders(&mut self, folders: &[u32]) {
        self.seq += 1;
        let seq = self.seq;
        self.folder_journal.extend(folders.iter().map(|folder| (seq, *folder)));
    }
}

fn index(state: &mut State, key: Key, mail: &Mail) {
    for place in index_keys(mail) {
        let keys = state.index.entry(place).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
}

/// Names of folders are unique among their siblings, whatever their case.
fn free(all: &[Folder], parent: u32, name: &str, except: Option<u32>) -> Result<(), FolderTrouble> {
    let name = name.to_lowercase();
    let taken = (0..).zip(all).any(|(number, folder)| {
        Some(number) != except
            && !folder.gone
            && folder.parent == Some(parent)
            && folder.name.to_lowercase() == name
    });
    if taken { Err(FolderTrouble::Exists) } else { Ok(()) }
}
