//! The directory a restore builds in. No path leaves it, and no symbolic link below it is
//! followed: each folder on the way is looked at before anything is made in it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use archive::extract::folder_at;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::Error;
use crate::journal::Journal;

/// Longest name a file system takes, in bytes.
pub(super) const MAX_NAME: usize = 255;

/// To `open(2)`: an error if it is a symbolic link, or anything else but a folder.
const PLAIN_FOLDER: i32 = OFlags::NOFOLLOW.union(OFlags::DIRECTORY).bits() as i32;

/// What comes of a folder that went away, was replaced, or belongs to somebody else.
const NOT_OURS: [Errno; 5] = [Errno::ACCESS, Errno::PERM, Errno::NOENT, Errno::NOTDIR, Errno::LOOP];

/// A directory, and the part of the journal that says what was made in it. Paths are relative to
/// it, with slashes; the empty one is the directory itself.
#[derive(Debug)]
pub(super) struct Ground {
    root: PathBuf,
    /// What is ours only while the restore runs is in the folder of this name.
    work: String,
    section: String,
    journal: Arc<Journal>,
    /// Folders that something was made in, to be synced at the end.
    touched: Mutex<BTreeSet<String>>,
    making: Mutex<()>,
}

impl Ground {
    /// `work` is a name nobody else has: the journal keeps it.
    pub(super) fn new(root: PathBuf, work: String, section: String, journal: Arc<Journal>) -> Self {
        let (touched, making) = (Mutex::default(), Mutex::default());
        Self { root, work, section, journal, touched, making }
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        if relative.is_empty() { self.root.clone() } else { self.root.join(relative) }
    }

    /// Where a file waits until it is whole; by the path of its member, so that what a kill left
    /// is found again.
    pub(super) fn temporary(&self, member: &str) -> Result<PathBuf, Error> {
        let name = format!("{}/{}", self.work, archive::path::long_tag(member));
        self.plain_folder(&self.work)?;
        Ok(self.path(&name))
    }

    /// The folder of what is ours only while the restore runs.
    pub(super) fn work(&self) -> PathBuf {
        self.path(&self.work)
    }

    /// A name for what has to make room for the file of a member: the same for the same journal.
    pub(super) fn old_name(&self, member: &str) -> String {
        let tag = archive::path::long_tag(&format!("{}\n{member}", self.work));
        format!(".tar365-old-{tag}")
    }

    /// Sees to it that the folder is there, and all above it. The journal remembers what was made.
    pub(super) fn folder(&self, relative: &str) -> Result<(), Error> {
        let _one_at_a_time = lock(&self.making);
        for folder in ways(relative) {
            let place = self.path(folder);
            if folder_at(&place).map_err(|source| unwritable(&place, source))? {
                continue;
            }
            self.remember(folder)?;
            fs::create_dir(&place).map_err(|source| unwritable(&place, source))?;
            self.touch(parent(folder));
        }
        Ok(())
    }

    /// As [`Self::folder`], of one that is not restored content.
    fn plain_folder(&self, relative: &str) -> Result<(), Error> {
        let _one_at_a_time = lock(&self.making);
        let place = self.path(relative);
        match folder_at(&place) {
            Ok(true) => Ok(()),
            Ok(false) => fs::create_dir(&place),
            Err(source) => Err(source),
        }
        .map_err(|source| unwritable(&place, source))
    }

    /// Tells the journal of a folder, or a mailbox file, that is about to be made.
    pub(super) fn remember(&self, relative: &str) -> Result<(), Error> {
        self.journal.made_folder(&self.section, relative, relative)
    }

    /// Something was made or removed in that folder.
    pub(super) fn touch(&self, folder: &str) {
        let mut touched = lock(&self.touched);
        if !touched.contains(folder) {
            touched.insert(folder.to_owned());
        }
    }

    /// Where it is, if all folders above it are there and are folders.
    pub(super) fn existing(&self, relative: &str) -> Option<PathBuf> {
        archive::path::check(relative).ok()?;
        let whole =
            ways(parent(relative)).all(|folder| matches!(folder_at(&self.path(folder)), Ok(true)));
        whole.then(|| self.path(relative))
    }

    /// Makes what was done safe from a power cut, and removes what was only for the run. An undo
    /// takes away folders, also the one that was asked for if a run made it.
    pub(super) fn finish(&self, undoing: bool) -> Result<(), Error> {
        self.clear()?;
        let mut touched = std::mem::take(&mut *lock(&self.touched));
        touched.insert(String::new());
        for folder in &touched {
            let place = self.path(folder);
            let synced = File::open(&place).and_then(|opened| opened.sync_all());
            match synced.map_err(|source| (source.kind(), source)) {
                // Not every file system can sync a folder.
                Ok(()) | Err((ErrorKind::InvalidInput | ErrorKind::Unsupported, _)) => {}
                Err((ErrorKind::NotFound, _)) if undoing => {}
                Err((_, source)) => return Err(unwritable(&place, source)),
            }
        }
        Ok(())
    }

    /// Gives a folder its time, if it is one, and ours: that of somebody else stays as it is.
    pub(super) fn set_time(&self, folder: &str, time: SystemTime) -> Result<(), Error> {
        let place = self.path(folder);
        let mut options = OpenOptions::new();
        let opened = options.read(true).custom_flags(PLAIN_FOLDER).open(&place);
        let is_not_ours = |source: &io::Error| {
            let errno = source.raw_os_error().map(Errno::from_raw_os_error);
            errno.is_some_and(|errno| NOT_OURS.contains(&errno))
        };
        match opened.and_then(|opened| opened.set_modified(time)) {
            Err(source) if !is_not_ours(&source) => Err(unwritable(&place, source)),
            _ => Ok(()),
        }
    }

    /// Removes the working folder.
    pub(super) fn clear(&self) -> Result<(), Error> {
        let work = self.work();
        match fs::remove_dir_all(&work) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(unwritable(&work, source)),
            _ => Ok(()),
        }
    }

    /// See [`Journal::settled_at`].
    pub(super) fn settled_at(
        &self,
        id: &str,
        visit: &mut dyn FnMut(&str, &str),
    ) -> Result<(), Error> {
        self.journal.settled_at(id, visit)
    }

    /// Where the sections of the journal go, other than this one.
    pub(super) fn neighbours(&self) -> Result<Vec<String>, Error> {
        let mut places = self.journal.places()?;
        places.retain(|(section, _)| *section != self.section);
        Ok(places.into_iter().map(|(_, target)| target).collect())
    }
}

/// Refuses what no honest archive has: paths that leave the directory, names that not every file
/// system can hold.
pub(super) fn check(path: &str) -> Result<(), Error> {
    let refused = |what: String| Error::Item { cause: "path", what };
    archive::path::check(path).map_err(|error| refused(format!("{path:?} is unsafe: {error}")))?;
    match path.split('/').find(|component| !archive::path::is_portable(component)) {
        Some(component) => {
            Err(refused(format!("not every file system can hold the name {component:?}")))
        }
        None => Ok(()),
    }
}

/// `stem` and `ending`, the stem cut so that a file system takes it; then with a tag of the whole.
pub(super) fn fitted(stem: &str, ending: &str) -> String {
    if stem.len() + ending.len() <= MAX_NAME {
        return format!("{stem}{ending}");
    }
    let tag = archive::path::tag(stem);
    let mut end = MAX_NAME - ending.len() - tag.len() - 1;
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{tag}{ending}", &stem[..end])
}

/// `a`, `a/b`, `a/b/c`; of the empty path nothing.
pub(super) fn ways(path: &str) -> impl Iterator<Item = &str> {
    let borders = path.match_indices('/').map(|(at, _)| at);
    let whole = (!path.is_empty()).then_some(path.len());
    borders.chain(whole).map(|end| &path[..end])
}

/// The folder that something is in.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

pub(super) fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::Directory { path: path.to_owned(), source }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
