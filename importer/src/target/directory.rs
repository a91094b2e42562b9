//! A folder of a file system.
//!
//! The layouts, below the folder that is asked for:
//!
//! | | mail | other services |
//! |---|---|---|
//! | native | `users/<upn>/mail/...`, the paths of the archive | the same |
//! | maildir | a Maildir++ tree at `<upn>`, see [`maildir`] | `<upn>/<service>/...` |
//! | mboxrd | `<upn>/<folder>.mbox`, see [`mbox`] | `<upn>/<service>/...` |
//!
//! A file is written to `.tar365-<token>/` in the folder first, synced, and gets its name, which
//! nobody has, when it is whole and proven; that folder is gone at the end. What is replaced waits
//! beside the new one as `.tar365-old-<tag>` for an undo; nothing removes it else. Names come from
//! the archive, where they are portable already; others are refused.

mod file;
mod flags;
mod ground;
mod maildir;
mod mbox;
mod mboxrd;
mod notes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use archive::extract::{folder_at, system_time};
use chrono::DateTime;
use serde::{Deserialize, Serialize};

use crate::Service;
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::{OnConflict, Options};
use crate::place::{Made, Place, Restored, Told, Undone, What};
use crate::section::{Folder, Section};
use file::{Files, join};
use flags::Flags;
use ground::{Ground, lock, unwritable};
use maildir::Maildir;
use mbox::Mailboxes;
use notes::Notes;

/// How mail lies in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// As in the archive: an `.eml` file a mail.
    #[default]
    Native,
    /// A Maildir++ tree an owner.
    Maildir,
    /// An mboxrd file a folder.
    Mboxrd,
}

impl Layout {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Maildir => "maildir",
            Self::Mboxrd => "mboxrd",
        }
    }
}

/// A folder that archives are restored to.
#[derive(Debug)]
pub struct DirectoryTarget {
    path: PathBuf,
    layout: Layout,
    /// The folders above sections that were made for this journal, by any run; none before the
    /// first section.
    made: Mutex<Option<BTreeSet<String>>>,
}

/// Where a section goes, as the journal keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    path: String,
    layout: Layout,
    service: String,
    /// The folder of the section.
    base: String,
    /// Name of the working folder.
    work: String,
    /// Folders from `path` down to `base` that were made for this journal.
    made: Vec<String>,
}

/// Where the items of one section go.
#[derive(Debug)]
pub(crate) struct DirectoryPlace {
    ground: Ground,
    notes: Notes,
    on_conflict: OnConflict,
    /// Of items in the archive.
    prefix: String,
    /// The folder of the section.
    base: String,
    kind: Kind,
    /// Times of folders, set at the end, because each file in them changes them.
    times: Mutex<BTreeMap<String, i64>>,
    /// An undo leaves no working folder.
    undoing: bool,
}

#[derive(Debug)]
enum Kind {
    Files { is_mail: bool },
    Maildir(Maildir),
    Mailboxes(Mailboxes),
}

impl Kind {
    fn new(layout: Layout, service: &str, base: &str) -> Self {
        let is_mail = service == Service::Mail.name();
        match layout {
            Layout::Maildir if is_mail => Self::Maildir(Maildir::new(base.to_owned())),
            Layout::Mboxrd if is_mail => Self::Mailboxes(Mailboxes::new(base.to_owned())),
            _ => Self::Files { is_mail },
        }
    }
}

impl DirectoryTarget {
    /// The folder, which need not be there yet.
    #[must_use]
    pub fn new(path: PathBuf, layout: Layout) -> Self {
        Self { path, layout, made: Mutex::default() }
    }

    /// The place of a section as an earlier run had it, to undo what that did.
    ///
    /// # Errors
    /// If the journal says nothing that could be understood.
    pub(crate) fn reopen(
        &self,
        section: &str,
        stored: &str,
        journal: Arc<Journal>,
    ) -> Result<DirectoryPlace, Error> {
        let stored = serde_json::from_str(stored).map_err(|error| Error::Usage {
            what: format!("the journal does not tell where {section} went: {error}"),
            hint: "it is of another version, or was changed",
        })?;
        DirectoryPlace::of_stored(section, stored, journal)
    }

    /// The folder that a section went to, from what the journal remembers: several may have gone
    /// to one.
    pub(crate) fn ground(stored: &str) -> Option<String> {
        serde_json::from_str(stored).ok().map(|stored: Stored| stored.base)
    }

    /// The place of a section. It is made if it is missing, and the journal told of it before.
    ///
    /// # Errors
    /// Of kind [`Error::Item`] if the archive gives a name that no file system should hold.
    pub(crate) fn open(
        &self,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<DirectoryPlace, Error> {
        tokio::task::block_in_place(|| self.open_now(section, options, journal))
    }

    fn open_now(
        &self,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<DirectoryPlace, Error> {
        ground::check(&section.prefix)?;
        let root = std::path::absolute(&self.path).map_err(|e| unwritable(&self.path, e))?;
        let Some(path) = root.to_str().map(str::to_owned) else {
            let what = format!("{} is not UTF-8: the journal could not name it", root.display());
            return Err(Error::Usage { what, hint: "choose another folder" });
        };
        let base = self.base(section, options);
        ground::check(&base)?;
        let before = before(&journal, &section.prefix)?;
        if let Some(stored) = &before
            && (&stored.path, stored.layout, &stored.base) != (&path, self.layout, &base)
        {
            return Err(Error::Usage {
                what: format!(
                    "the journal has {} in {}/{} as {}",
                    section.prefix,
                    stored.path,
                    stored.base,
                    stored.layout.name()
                ),
                hint: "go on with the same target, layout and users, or with another journal",
            });
        }
        let mut shared = lock(&self.made);
        let shared = match &mut *shared {
            Some(shared) => shared,
            none => none.insert(made_before(&journal)?),
        };
        shared.extend(missing(&root, &base)?);
        // What is above comes first: an undo goes backwards.
        let mut made = on_the_way(&path, &base);
        made.retain(|folder| shared.contains(folder));
        let service = section.service.name();
        let stored = Stored {
            path,
            layout: self.layout,
            service: service.to_owned(),
            work: before.map_or_else(|| new_work_name(&section.prefix), |stored| stored.work),
            base,
            made,
        };
        let text = serde_json::to_string(&stored).expect("strings only");
        journal.place(&section.prefix, &text)?;
        for folder in &stored.made {
            journal.made_folder(&section.prefix, folder, folder)?;
        }
        fs::create_dir_all(&root).map_err(|source| unwritable(&root, source))?;
        let mut place = DirectoryPlace::of_stored(&section.prefix, stored, journal)?;
        place.undoing = false;
        place.on_conflict = options.on_conflict;
        place.ground.folder(&place.base)?;
        if let Kind::Maildir(maildir) = &place.kind {
            // Without a root readers see no tree.
            maildir.folder(&place.ground, &[])?;
        }
        Ok(place)
    }

    /// The folder of a section: with the name of who gets it, if that is another.
    fn base(&self, section: &Section, options: &Options) -> String {
        let mut parts = section.prefix.splitn(3, '/');
        let (above, owner) = (parts.next().unwrap_or("users"), parts.next().unwrap_or_default());
        let is_him = |name: &str| {
            let names = &section.owner.names;
            let known = [section.owner.id.as_str(), &names.id, &names.upn, owner];
            known.iter().any(|known| !known.is_empty() && known.eq_ignore_ascii_case(name))
        };
        let mapped = options.map_user.iter().find(|(old, _)| is_him(old)).map(|(_, new)| new);
        let other = mapped.or(options.to_user.as_ref());
        let owner = other.map_or_else(
            || owner.to_owned(),
            |name| archive::path::directory_component(name, name),
        );
        let service = section.service.name();
        match (self.layout, section.service) {
            (Layout::Native, _) => format!("{above}/{owner}/{service}"),
            (_, Service::Mail) => owner,
            _ => format!("{owner}/{service}"),
        }
    }
}

impl std::fmt::Display for DirectoryTarget {
    /// As `--to` has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "directory:{}", self.path.display())
    }
}

impl DirectoryPlace {
    fn of_stored(section: &str, stored: Stored, journal: Arc<Journal>) -> Result<Self, Error> {
        let root = PathBuf::from(&stored.path);
        let ground = Ground::new(root, stored.work, section.to_owned(), journal);
        Ok(Self {
            notes: Notes::open(&ground.work())?,
            ground,
            on_conflict: OnConflict::Skip,
            prefix: section.to_owned(),
            kind: Kind::new(stored.layout, &stored.service, &stored.base),
            base: stored.base,
            times: Mutex::default(),
            undoing: true,
        })
    }

    fn files(&self) -> Files<'_> {
        Files { ground: &self.ground, notes: &self.notes, on_conflict: self.on_conflict }
    }

    fn folder_now(&self, trail: &[Folder]) -> Result<(), Error> {
        check_trail(trail)?;
        match &self.kind {
            Kind::Maildir(maildir) => maildir.folder(&self.ground, trail).map(drop),
            Kind::Mailboxes(mailboxes) => mailboxes.folder(&self.ground, trail).map(drop),
            Kind::Files { .. } => {
                self.ground.folder(&self.place_of(&components(trail)))?;
                self.remember_times(trail);
                Ok(())
            }
        }
    }

    /// Where a folder of the section goes.
    fn place_of(&self, names: &[String]) -> String {
        names.iter().fold(self.base.clone(), |folder, name| join(&folder, name))
    }

    fn remember_times(&self, trail: &[Folder]) {
        let mut times = lock(&self.times);
        for (depth, folder) in trail.iter().enumerate() {
            if let Some(time) = time_of(folder) {
                times.insert(self.place_of(&components(&trail[..=depth])), time);
            }
        }
    }

    fn put_now(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        check_trail(trail)?;
        match &self.kind {
            Kind::Maildir(maildir) => maildir.put(&self.files(), item, trail),
            Kind::Mailboxes(mailboxes) => mailboxes.put(&self.files(), item, trail),
            Kind::Files { is_mail } => {
                ground::check(&item.path)?;
                let inside = item.path.strip_prefix(&self.prefix);
                let Some(inside) = inside.and_then(|path| path.strip_prefix('/')) else {
                    let what = format!("{} is not below {}", item.path, self.prefix);
                    return Err(Error::Item { cause: "path", what });
                };
                let place = join(&self.base, inside);
                let name = item.file_name();
                let mut restored = self
                    .files()
                    .put(item, ground::parent(&place), &|copy| copy_name(name, copy))?;
                self.remember_times(trail);
                let flags = Flags::of(&item.line);
                restored.losses.extend(is_mail.then(|| flags.loss_in_plain_files()).flatten());
                Ok(restored)
            }
        }
    }

    fn finish_now(&self) -> Result<(), Error> {
        // An undo has looked at each mailbox that it took something from, and the notes are gone.
        if let Kind::Mailboxes(mailboxes) = &self.kind
            && !self.undoing
        {
            mailboxes.finish(&self.ground, &self.notes)?;
        }
        self.ground.finish(self.undoing)?;
        for (folder, time) in &*lock(&self.times) {
            self.ground.set_time(folder, system_time(*time))?;
        }
        Ok(())
    }

    fn undo_now(&self, made: &Made) -> Result<Undone, Error> {
        match (made.what, &self.kind) {
            (What::Folder, _) => self.undo_folder(made.id.as_deref().unwrap_or(&made.path)),
            (What::Item, Kind::Files { .. }) => self.files().undo(made, &|_| None),
            (What::Item, Kind::Maildir(maildir)) => maildir.undo(&self.files(), made),
            (What::Item, Kind::Mailboxes(_)) => {
                let mut undone = Ok(Undone::Kept);
                let one = [(0, made.clone())];
                mbox::undo_all(&self.files(), &one, &mut |_, told| {
                    undone = told;
                    Ok(())
                })?;
                undone
            }
        }
    }

    fn undo_all_now(&self, all: &[(i64, Made)], told: &mut Told<'_>) -> Result<(), Error> {
        let is_item = all.first().is_some_and(|(_, made)| made.what == What::Item);
        if is_item && let Kind::Mailboxes(_) = &self.kind {
            return mbox::undo_all(&self.files(), all, told);
        }
        all.iter().try_for_each(|made| told(made, self.undo_now(&made.1)))
    }

    /// A folder, or a file that is empty without what was restored to it.
    fn undo_folder(&self, folder: &str) -> Result<Undone, Error> {
        let place = if folder.is_empty() || Path::new(folder).is_absolute() {
            // The folder that was asked for, or one above it.
            self.ground.clear()?;
            self.ground.path(folder)
        } else {
            match self.ground.existing(folder) {
                Some(place) => place,
                None => return Ok(Undone::Removed),
            }
        };
        let Ok(found) = fs::symlink_metadata(&place) else {
            return Ok(Undone::Removed);
        };
        if found.is_file() && found.len() == 0 {
            fs::remove_file(&place).map_err(|source| unwritable(&place, source))?;
            return Ok(Undone::Removed);
        }
        match fs::remove_dir(&place) {
            Ok(()) => Ok(Undone::Removed),
            // Other sections are undone after this one, and it is theirs too.
            Err(_) if self.is_shared(folder)? => Ok(Undone::Removed),
            Err(_) => Ok(Undone::Kept),
        }
    }

    /// Whether a folder holds another section of the journal that is still there.
    fn is_shared(&self, folder: &str) -> Result<bool, Error> {
        if !is_on_the_way(folder, &self.ground.path("").to_string_lossy(), &self.base) {
            return Ok(false);
        }
        let neighbours = self.ground.neighbours()?;
        let stored = neighbours.iter().filter_map(|text| serde_json::from_str::<Stored>(text).ok());
        let mut sharing = stored.filter(|other| other.made.iter().any(|made| made == folder));
        Ok(sharing.any(|other| fs::symlink_metadata(self.ground.path(&other.base)).is_ok()))
    }
}

impl Drop for DirectoryPlace {
    fn drop(&mut self) {
        if self.undoing
            && let Err(error) = self.ground.clear()
        {
            tracing::warn!(%error, "the working folder of the restore stays");
        }
    }
}

impl Place for DirectoryPlace {
    fn shown(&self) -> String {
        self.ground.path(&self.base).display().to_string()
    }

    fn concurrency(&self) -> usize {
        1
    }

    async fn folder(&self, trail: &[Folder]) -> Result<(), Error> {
        tokio::task::block_in_place(|| self.folder_now(trail))
    }

    async fn put(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        tokio::task::block_in_place(|| self.put_now(item, trail))
    }

    async fn finish(&self) -> Result<(), Error> {
        tokio::task::block_in_place(|| self.finish_now())
    }

    async fn undo(&self, made: &Made) -> Result<Undone, Error> {
        tokio::task::block_in_place(|| self.undo_now(made))
    }

    async fn undo_all(&self, all: &[(i64, Made)], told: &mut Told<'_>) -> Result<(), Error> {
        tokio::task::block_in_place(|| self.undo_all_now(all, told))
    }
}

/// The names of the folders on the trail, as the archive spells them in paths.
fn components(trail: &[Folder]) -> Vec<String> {
    let trail = trail.iter().filter(|folder| !folder.is_root());
    match trail.clone().next_back() {
        Some(last) if !last.path.is_empty() => last.path.split('/').map(str::to_owned).collect(),
        _ => trail
            .map(|folder| archive::path::directory_component(&folder.name, &folder.id))
            .collect(),
    }
}

fn check_trail(trail: &[Folder]) -> Result<(), Error> {
    components(trail).iter().try_for_each(|component| ground::check(component))
}

/// `name (2).txt`, the way file managers do it.
fn copy_name(name: &str, copy: u32) -> String {
    if copy == 1 {
        return name.to_owned();
    }
    let (stem, extension) = match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= 21 => name.split_at(dot),
        _ => (name, ""),
    };
    ground::fitted(stem, &format!(" ({copy}){extension}"))
}

/// When a folder of a drive was changed, seconds since 1970. Those of mail have no time.
fn time_of(folder: &Folder) -> Option<i64> {
    let own = &folder.graph["fileSystemInfo"]["lastModifiedDateTime"];
    let text = own.as_str().or_else(|| folder.graph["lastModifiedDateTime"].as_str())?;
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp())
}

/// The folders above sections that earlier runs of the journal made.
fn made_before(journal: &Journal) -> Result<BTreeSet<String>, Error> {
    let places = journal.places()?;
    let stored = places.iter().filter_map(|(_, text)| serde_json::from_str::<Stored>(text).ok());
    Ok(stored.flat_map(|stored| stored.made).collect())
}

/// The folders above a section that are not there: absolute down to `root`, then relative to it.
/// The empty one is `root` itself.
fn missing(root: &Path, base: &str) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    for above in root.ancestors().skip(1) {
        if !above.exists() {
            missing.extend(above.to_str().map(str::to_owned));
        }
    }
    let mut relative = String::new();
    if !root.exists() {
        missing.push(String::new());
    }
    for component in base.split('/') {
        relative = join(&relative, component);
        let place = root.join(&relative);
        if !root.exists() || !folder_at(&place).map_err(|source| unwritable(&place, source))? {
            missing.push(relative.clone());
        }
    }
    Ok(missing)
}

/// The folders above `root`, absolute, then it, the empty one, and those down to `base`.
fn on_the_way(root: &str, base: &str) -> Vec<String> {
    let above = Path::new(root).ancestors().skip(1).filter_map(Path::to_str);
    let mut folders: Vec<String> = above.map(str::to_owned).collect();
    folders.reverse();
    folders.push(String::new());
    folders.extend(ground::ways(base).map(str::to_owned));
    folders
}

/// Whether a folder is `root`, above it, or between it and `base`.
fn is_on_the_way(folder: &str, root: &str, base: &str) -> bool {
    if folder.is_empty() {
        return true;
    }
    let whole = if Path::new(folder).is_absolute() { root } else { base };
    Path::new(whole).starts_with(folder)
}

/// Where an earlier run of the journal put a section.
fn before(journal: &Journal, section: &str) -> Result<Option<Stored>, Error> {
    let text = journal.place_of(section)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// A name for a working folder that nobody has.
fn new_work_name(section: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = format!("{section}\n{}\n{}", std::process::id(), now.as_nanos());
    format!(".tar365-{}", archive::path::long_tag(&seed))
}
