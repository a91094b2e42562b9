//! A mailbox: generated mails that exist only as numbers, and what has been changed since.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde_json::Value;

use crate::blob::Blob;
use crate::content;
use crate::ids::{MailIds, Named};
use crate::mail::{Attachment, Mail};
use crate::seed::folders::{self, Folder};
use crate::seed::mail::{Role, Source};
use crate::{compose, dice, mime};

mod write;

pub(crate) use write::{Draft, FolderTrouble, index_key};

/// The number of a message: generated ones first, then those that were added.
pub(crate) type Key = u64;

pub(crate) struct Mailbox {
    pub(crate) ids: MailIds,
    source: Source,
    lanes: u64,
    state: Mutex<State>,
}

struct State {
    folders: Vec<Folder>,
    edits: HashMap<Key, Edit>,
    stored: Vec<Stored>,
    /// By folder: messages that are not there by generation, newest last.
    incoming: HashMap<u32, BTreeSet<(DateTime<Utc>, Key)>>,
    journal: Vec<Change>,
    folder_journal: Vec<(u64, u32)>,
    seq: u64,
    /// Where to look for messages by what they were created with.
    index: HashMap<u64, Vec<Key>>,
    /// Those whose place by date is not the time at which they were created.
    ordered: HashMap<Key, DateTime<Utc>>,
    /// Added, but not in the index.
    unindexed: BTreeSet<Key>,
    /// Bytes that clients have written.
    used: u64,
    quota: Option<u64>,
}

/// A message that was added.
#[derive(Clone)]
struct Stored {
    content: Content,
    folder: u32,
    when: DateTime<Utc>,
    /// Whether it was read when it came.
    read: bool,
    /// Counted against the quota.
    size: u64,
}

/// What an added message was made from.
#[derive(Clone)]
enum Content {
    Mime {
        blob: Blob,
        draft: bool,
    },
    /// The JSON of its creation, without the attachments.
    Json {
        json: Blob,
        attachments: Arc<[Attachment]>,
    },
    /// A copy of a generated one.
    Generated(Key, Role),
}

#[derive(Debug, Clone, Default)]
struct Edit {
    folder: Option<u32>,
    gone: bool,
    read: Option<bool>,
    flag: Option<Value>,
    categories: Option<Vec<String>>,
    /// Other properties that were changed.
    properties: compose::Object,
    attached: Vec<Attachment>,
    change: u64,
    modified: Option<DateTime<Utc>>,
}

/// One change of one message.
#[derive(Debug, Clone)]
struct Change {
    seq: u64,
    key: Key,
    before: Option<u32>,
    after: Option<u32>,
    only_read: bool,
}

/// A message with everything that can be asked about it.
pub(crate) struct Message {
    pub(crate) key: Key,
    pub(crate) folder: u32,
    pub(crate) mail: Mail,
    pub(crate) modified: DateTime<Utc>,
    pub(crate) change_key: String,
}

/// What a delta round reports about one message.
pub(crate) enum Delta {
    Present(Key),
    /// Nothing but the read flag changed.
    ReadFlag(Key),
    Removed(Key),
}

/// What to change about a message.
pub(crate) enum Edition {
    Read(bool),
    Flag(Value),
    Categories(Vec<String>),
    Properties(compose::Object),
    Attach(Attachment),
    Move(u32),
    Delete,
}

impl Mailbox {
    /// A mailbox of generated mails.
    pub(crate) fn generated(ids: MailIds, source: Source, language: usize) -> Mailbox {
        let (folders, lanes) = folders::generated(language, source.profile);
        Mailbox::with(ids, source, folders, lanes)
    }

    /// A mailbox with the usual folders and nothing in them.
    pub(crate) fn empty(ids: MailIds, mut source: Source, language: usize) -> Mailbox {
        source.count = 0;
        Mailbox::with(ids, source, folders::well_known(language), 1)
    }

    fn with(ids: MailIds, source: Source, folders: Vec<Folder>, lanes: u64) -> Mailbox {
        let state = State {
            folders,
            edits: HashMap::new(),
            stored: Vec::new(),
            incoming: HashMap::new(),
            journal: Vec::new(),
            folder_journal: Vec::new(),
            seq: 0,
            index: HashMap::new(),
            ordered: HashMap::new(),
            unindexed: BTreeSet::new(),
            used: 0,
            quota: None,
        };
        Mailbox { ids, source, lanes, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    /// The number of the last change so far.
    pub(crate) fn seq(&self) -> u64 {
        self.state().seq
    }

    pub(crate) fn folders(&self) -> Vec<Folder> {
        self.state().folders.clone()
    }

    /// A folder by its id or well-known name.
    pub(crate) fn folder(&self, name: &str) -> Option<u32> {
        let state = self.state();
        let lower = name.to_lowercase();
        let known = state.folders.iter().position(|f| f.well_known == Some(lower.as_str()));
        let number = known.map(|n| n as u32).or_else(|| self.ids.folder_number(name))?;
        let folder = state.folders.get(number as usize)?;
        (!folder.gone).then_some(number)
    }

    /// Display names from the root of the mailbox down.
    pub(crate) fn trail(&self, folder: u32) -> Vec<String> {
        let state = self.state();
        let mut trail = Vec::new();
        let mut at = Some(folder);
        while let Some(folder) = at {
            let folder = &state.folders[folder as usize];
            if folder.parent.is_some() || folder.apart {
                trail.push(folder.name.clone());
            }
            at = folder.parent;
        }
        trail.reverse();
        trail
    }

    /// How many messages a folder holds and how many of them are unread.
    pub(crate) fn counts(&self, folder: u32) -> (u64, u64) {
        let state = self.state();
        if state.folders[folder as usize].search {
            drop(state);
            return self.counts(folders::by_name(&self.folders(), "inbox"));
        }
        let generated = self.generated_count(&state.folders[folder as usize]);
        let received = self.role(&state.folders, folder) == Role::Received;
        let mut total = generated;
        let mut unread = if received { generated.div_ceil(7) } else { 0 };
        let incoming = state.incoming.get(&folder);
        for (key, edit) in &state.edits {
            let born_here = self.born(&state, *key) == Some(folder);
            let here = !edit.gone && edit.folder.or(self.born(&state, *key)) == Some(folder);
            if born_here && *key < self.source.count {
                let was_unread = self.born_unread(&state, *key);
                total -= u64::from(!here);
                unread -= u64::from(was_unread);
                unread += u64::from(here && !edit.read.unwrap_or(!was_unread));
            }
        }
        for (_, key) in incoming.into_iter().flatten() {
            total += 1;
            let read = state.edits.get(key).and_then(|edit| edit.read);
            unread += u64::from(!read.unwrap_or(!self.born_unread(&state, *key)));
        }
        (total, unread)
    }

    fn generated_count(&self, folder: &Folder) -> u64 {
        let (rounds, rest) = (self.source.count / self.lanes, self.source.count % self.lanes);
        let partial = folder.lanes.iter().filter(|lane| **lane < rest).count() as u64;
        rounds * folder.lanes.len() as u64 + partial
    }

    /// The generated mail at a place of a folder, oldest first.
    fn nth(&self, folder: &Folder, n: u64) -> Key {
        let lanes = folder.lanes.len() as u64;
        n / lanes * self.lanes + folder.lanes[(n % lanes) as usize]
    }

    /// How many generated mails of a folder have smaller keys.
    fn rank(&self, folder: &Folder, key: Key) -> u64 {
        let (round, lane) = (key / self.lanes, key % self.lanes);
        let before = folder.lanes.iter().filter(|l| **l < lane).count() as u64;
        round * folder.lanes.len() as u64 + before
    }

    /// The folder a message was generated in or added to.
    fn born(&self, state: &State, key: Key) -> Option<u32> {
        if key >= self.source.count {
            return state.stored.get((key - self.source.count) as usize).map(|s| s.folder);
        }
        let lane = key % self.lanes;
        state.folders.iter().position(|f| f.lanes.contains(&lane)).map(|n| n as u32)
    }

    /// Every seventh generated mail that was received is unread.
    fn born_unread(&self, state: &State, key: Key) -> bool {
        let Some(folder) = self.born(state, key) else {
            return false;
        };
        if let Some(stored) = self.stored(state, key) {
            return !stored.read;
        }
        self.role(&state.folders, folder) == Role::Received
            && self.rank(&state.folders[folder as usize], key).is_multiple_of(7)
    }

    fn role(&self, folders: &[Folder], folder: u32) -> Role {
        match folders[folder as usize].well_known {
            Some("drafts") => Role::Draft,
            Some("sentitems") => Role::Sent,
            _ => Role::Received,
        }
    }

    /// Where a message is now.
    fn place(&self, state: &State, key: Key) -> Option<u32> {
        match state.edits.get(&key) {
            Some(edit) if edit.gone => None,
            Some(Edit { folder: Some(folder), .. }) => Some(*folder),
            _ => self.born(state, key),
        }
    }

    /// Keys of a folder in ascending order, from beyond `after`.
    pub(crate) fn keys_after(&self, folder: u32, after: Option<Key>, limit: usize) -> Vec<Key> {
        let state = self.state();
        let home = &state.folders[folder as usize];
        let start = after.map_or(0, |key| self.rank(home, key + 1));
        let total = self.generated_count(home);
        let here = |key: &Key| self.place(&state, *key) == Some(folder);
        let untouched = state.edits.is_empty();
        let mut keys: Vec<Key> = (start.min(total)..total)
            .map(|n| self.nth(home, n))
            .filter(|key| untouched || here(key))
            .take(limit)
            .collect();
        if let Some(incoming) = state.incoming.get(&folder) {
            let late = incoming.iter().map(|(_, key)| *key);
            keys.extend(late.filter(|key| after.is_none_or(|after| *key > after)));
            keys.sort_unstable();
            keys.truncate(limit);
        }
        keys
    }

    /// Keys of a folder by date, newest first unless `oldest_first`.
    pub(crate) fn keys_by_date(
        &self,
        folder: u32,
        oldest_first: bool,
        skip: usize,
        limit: usize,
    ) -> Vec<Key> {
        let state = self.state();
        let folder = match state.folders[folder as usize].search {
            true => folders::by_name(&state.folders, "inbox"),
            false => folder,
        };
        let home = &state.folders[folder as usize];
        let total = self.generated_count(home);
        let empty = BTreeSet::new();
        let incoming = state.incoming.get(&folder).unwrap_or(&empty);
        if state.edits.is_empty() && incoming.is_empty() {
            let nth = |n: u64| self.nth(home, if oldest_first { n } else { total - 1 - n });
            return (0..total).skip(skip).take(limit).map(nth).collect();
        }
        let dated = |n: u64| {
            let key = self.nth(home, n);
            (self.source.received(key), key)
        };
        let here = |entry: &(DateTime<Utc>, Key)| self.place(&state, entry.1) == Some(folder);
        let born = (0..total).map(dated).filter(here);
        if oldest_first {
            let all = merge(born, incoming.iter().copied(), |a, b| a <= b);
            all.skip(skip).take(limit).collect()
        } else {
            let born = (0..total).rev().map(dated).filter(here);
            let all = merge(born, incoming.iter().rev().copied(), |a, b| a >= b);
            all.skip(skip).take(limit).collect()
        }
    }

    /// The message an id names, if it is there; the flag tells whether the id was malformed.
    pub(crate) fn find(&self, id: &str) -> Result<Key, bool> {
        let named = self.ids.message(id).ok_or(true)?;
        let state = self.state();
        let (Named::Immutable { key } | Named::Classic { key, .. }) = named;
        let place = self.place(&state, key).ok_or(false)?;
        match named {
            Named::Classic { folder, .. } if folder != place => Err(false),
            _ => Ok(key),
        }
    }

    /// A message as it is now.
    pub(crate) fn message(&self, key: Key) -> Option<Message> {
        let state = self.state();
        let folder = self.place(&state, key)?;
        let role = self.role(&state.folders, self.born(&state, key)?);
        let read = !self.born_unread(&state, key);
        let stored = self.stored(&state, key).cloned();
        let edit = state.edits.get(&key).cloned().unwrap_or_default();
        // Making a message takes longer than all the rest: others need not wait for it.
        drop(state);
        let mut mail = match stored {
            Some(stored) => self.read_stored(&stored),
            None => self.source.mail(key, role),
        };
        edit.change_mail(&mut mail);
        mail.read = edit.read.unwrap_or(read);
        if let Some(flag) = edit.flag {
            mail.set_flag(flag);
        }
        mail.categories = edit.categories.unwrap_or(mail.categories);
        let modified = edit.modified.unwrap_or_else(|| mail.when() + TimeDelta::seconds(3));
        let change_key = self.ids.change_key(key, edit.change);
        Some(Message { key, folder, mail, modified, change_key })
    }

    fn read_stored(&self, stored: &Stored) -> Mail {
        match &stored.content {
            Content::Mime { blob, draft } => {
                Mail { draft: *draft, ..content::parse(&blob.bytes(), stored.when) }
            }
            Content::Json { json, attachments } => {
                let json = serde_json::from_slice(&json.bytes()).unwrap_or_default();
                compose::mail(&json, attachments.to_vec(), stored.when)
            }
            Content::Generated(key, role) => self.source.mail(*key, *role),
        }
    }

    /// A message that was added.
    fn stored<'a>(&self, state: &'a State, key: Key) -> Option<&'a Stored> {
        state.stored.get(key.checked_sub(self.source.count)? as usize)
    }

    /// A message's MIME. Generated boundaries follow `nonce`.
    pub(crate) fn mime(&self, key: Key, nonce: u64) -> Option<Bytes> {
        let state = self.state();
        self.place(&state, key)?;
        let changed = state.edits.get(&key).is_some_and(Edit::changes_mime);
        let stored = self.stored(&state, key).filter(|_| !changed);
        let blob = stored.and_then(|stored| match &stored.content {
            Content::Mime { blob, .. } => Some(blob.clone()),
            _ => None,
        });
        drop(state);
        match blob {
            Some(blob) => Some(blob.bytes()),
            None => {
                let nonce = dice::hash(&[self.source.seed, key, nonce]);
                Some(mime::render(&self.message(key)?.mail, nonce))
            }
        }
    }

    /// Changes of a folder after `since` up to `until`, beginning after change `from`: each
    /// message once, at its last change. The second value is where to go on, if anywhere.
    pub(crate) fn changes(
        &self,
        folder: u32,
        since: u64,
        from: u64,
        until: u64,
        limit: usize,
    ) -> (Vec<Delta>, Option<u64>) {
        let state = self.state();
        let touches = |c: &&Change| {
            (c.before == Some(folder) || c.after == Some(folder)) && c.seq > since && c.seq <= until
        };
        let mut last: HashMap<Key, (u64, bool)> = HashMap::new();
        for change in state.journal.iter().filter(touches) {
            let entry = last.entry(change.key).or_insert((0, true));
            *entry = (change.seq, entry.1 && change.only_read);
        }
        let mut due: Vec<_> = last.into_iter().filter(|(_, (seq, _))| *seq > from).collect();
        due.sort_unstable_by_key(|(_, (seq, _))| *seq);
        let more = due.len() > limit;
        due.truncate(limit);
        let next = due.last().map(|(_, (seq, _))| *seq).filter(|_| more);
        let rows = due.into_iter().map(|(key, (_, only_read))| {
            match (self.place(&state, key) == Some(folder), only_read) {
                (true, true) => Delta::ReadFlag(key),
                (true, false) => Delta::Present(key),
                (false, _) => Delta::Removed(key),
            }
        });
        (rows.collect(), next)
    }

    /// Folders changed after `since`.
    pub(crate) fn folder_changes(&self, since: u64) -> Vec<u32> {
        let state = self.state();
        let changed = state.folder_journal.iter().filter(|(seq, _)| *seq > since);
        changed.map(|(_, folder)| *folder).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Changes a message; false when it is not there.
    pub(crate) fn edit(&self, key: Key, edition: Edition) -> bool {
        self.edit_in(&mut self.state(), key, edition)
    }

    fn edit_in(&self, state: &mut State, key: Key, edition: Edition) -> bool {
        let Some(before) = self.place(state, key) else {
            return false;
        };
        state.seq += 1;
        let seq = state.seq;
        let born = self.born(state, key);
        let when = self.when(state, key);
        let only_read = matches!(edition, Edition::Read(_));
        let edit = state.edits.entry(key).or_default();
        edit.change = seq;
        edit.modified = Some(Utc::now().trunc_subsecs(0));
        match edition {
            Edition::Read(read) => edit.read = Some(read),
            Edition::Flag(flag) => edit.flag = Some(flag),
            Edition::Categories(categories) => edit.categories = Some(categories),
            Edition::Properties(properties) => edit.merge(properties),
            Edition::Attach(attachment) => edit.attached.push(attachment),
            Edition::Move(folder) => edit.folder = Some(folder),
            Edition::Delete => edit.gone = true,
        }
        if edit.gone {
            let size = self.stored(state, key).map_or(0, |stored| stored.size);
            state.used = state.used.saturating_sub(size);
        }
        let after = self.place(state, key);
        if before != after.unwrap_or(u32::MAX) {
            if let Some(set) = state.incoming.get_mut(&before) {
                set.remove(&(when, key));
            }
            if let Some(after) = after.filter(|a| key >= self.source.count || Some(*a) != born) {
                state.incoming.entry(after).or_default().insert((when, key));
            }
            state.folder_journal.push((seq, before));
            state.folder_journal.extend(after.map(|after| (seq, after)));
        }
        state.journal.push(Change { seq, key, before: Some(before), after, only_read });
        true
    }

    fn when(&self, state: &State, key: Key) -> DateTime<Utc> {
        if let Some(when) = state.ordered.get(&key) {
            return *when;
        }
        match key.checked_sub(self.source.count) {
            Some(n) => state.stored[n as usize].when,
            None => self.source.received(key),
        }
    }

    /// Adds a message as MIME; it arrives at `when`.
    pub(crate) fn add(&self, folder: u32, blob: Blob, when: DateTime<Utc>) -> Key {
        let mut state = self.state();
        let content = Content::Mime { blob, draft: false };
        let key = self.push(&mut state, Stored { content, folder, when, read: false, size: 0 });
        state.unindexed.insert(key);
        key
    }

    fn push(&self, state: &mut State, stored: Stored) -> Key {
        let key = self.source.count + state.stored.len() as u64;
        let (folder, when) = (stored.folder, stored.when);
        state.used += stored.size;
        state.stored.push(stored);
        state.incoming.entry(folder).or_default().insert((when, key));
        state.seq += 1;
        let seq = state.seq;
        let after = Some(folder);
        state.journal.push(Change { seq, key, before: None, after, only_read: false });
        state.folder_journal.push((seq, folder));
        key
    }

    /// Adds a folder, or returns the one of that name under that parent.
    pub(crate) fn add_folder(&self, parent: u32, name: &str) -> u32 {
        let mut state = self.state();
        let known = state.folders.iter().position(|f| f.parent == Some(parent) && f.name == name);
        if let Some(known) = known {
            return known as u32;
        }
        let number = folders::add(&mut state.folders, parent, name, &[]);
        state.seq += 1;
        let seq = state.seq;
        state.folder_journal.extend([(seq, number), (seq, parent)]);
        number
    }

    pub(crate) fn delete_folder(&self, folder: u32) {
        for (number, child) in self.folders().iter().enumerate() {
            if child.parent == Some(folder) && !child.gone {
                self.delete_folder(number as u32);
            }
        }
        for key in self.keys_after(folder, None, usize::MAX) {
            self.edit(key, Edition::Delete);
        }
        let mut state = self.state();
        state.folders[folder as usize].gone = true;
        state.seq += 1;
        let seq = state.seq;
        state.folder_journal.push((seq, folder));
    }

    pub(crate) fn rename_folder(&self, folder: u32, name: &str) {
        let mut state = self.state();
        state.folders[folder as usize].name = name.to_owned();
        state.seq += 1;
        let seq = state.seq;
        state.folder_journal.push((seq, folder));
    }
}

/// Two ordered sequences as one.
fn merge<T: Copy + 'static>(
    left: impl Iterator<Item = (T, Key)>,
    right: impl Iterator<Item = (T, Key)>,
    first: impl Fn(&(T, Key), &(T, Key)) -> bool,
) -> impl Iterator<Item = Key> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(a), Some(b)) if first(a, b) => left.next(),
        (Some(_), Some(_)) | (None, Some(_)) => right.next(),
        (_, None) => left.next(),
    })
    .map(|(_, key)| key)
}
