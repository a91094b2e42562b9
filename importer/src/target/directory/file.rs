//! One item, one file: as it stands in the archive, under a name that it gets only when it is
//! whole and proven.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use archive::Sha256Digest;
use archive::extract::system_time;
use sha2::{Digest, Sha256};
use tempfile::TempPath;

use super::ground::{Ground, parent, unwritable};
use super::notes::{Note, Notes};
use crate::error::Error;
use crate::item::Item;
use crate::options::OnConflict;
use crate::place::{How, Made, Restored, Undone};

/// How many copies of one name are tried.
const MAX_COPIES: u32 = 10_000;

/// Where the files of a section go.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) ground: &'a Ground,
    pub(super) notes: &'a Notes,
    pub(super) on_conflict: OnConflict,
}

/// What is under a name.
enum Found {
    Nothing,
    /// A file with the bytes that were looked for.
    Same,
    /// A file with other bytes, or a symbolic link: it can be moved aside.
    Other,
    /// A folder, or something stranger.
    InTheWay,
}

impl Files<'_> {
    /// Puts the item into a folder under the first name of `nth` (1, 2, ...) that the policy
    /// allows. Two names are asked for only if there may be copies.
    pub(super) fn put(
        &self,
        item: &Item,
        folder: &str,
        nth: &dyn Fn(u32) -> String,
    ) -> Result<Restored, Error> {
        self.ground.folder(folder)?;
        let noted = self.notes.of(&item.path)?;
        if item.content.is_repeatable()
            && let Some(found) = self.equal(item, folder, nth, noted.as_ref())?
        {
            return Ok(found);
        }
        let (mut temporary, sha256) = self.store(item)?;
        let etag = archive::hex(&sha256);
        let mut copy = 1;
        while copy < MAX_COPIES {
            let id = join(folder, &nth(copy));
            let place = self.ground.path(&id);
            match find(&place, item.size, &sha256)? {
                Found::Nothing => {
                    self.notes.add(&item.path, &etag, &id)?;
                    match temporary.persist_noclobber(&place) {
                        Ok(()) => {
                            self.ground.touch(parent(&id));
                            return Ok(self.made(item, id, etag));
                        }
                        // Somebody was quicker: what he made is looked at.
                        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                            temporary = error.path;
                        }
                        Err(error) => return Err(unwritable(&place, error.error)),
                    }
                }
                Found::Same => return Ok(self.found(item, id, etag, noted.as_ref())),
                Found::Other if self.on_conflict == OnConflict::Replace => {
                    self.notes.add(&item.path, &etag, &id)?;
                    self.set_aside(item, &id, &place)?;
                }
                Found::Other | Found::InTheWay if self.on_conflict == OnConflict::Copy => copy += 1,
                Found::Other | Found::InTheWay => return Err(exists(&id)),
            }
        }
        Err(exists(&join(folder, &nth(1))))
    }

    /// The file with these bytes that is there already, if there is one: found without writing.
    fn equal(
        &self,
        item: &Item,
        folder: &str,
        nth: &dyn Fn(u32) -> String,
        noted: Option<&Note>,
    ) -> Result<Option<Restored>, Error> {
        let mut digest = None;
        for copy in 1..MAX_COPIES {
            let id = join(folder, &nth(copy));
            let place = self.ground.path(&id);
            match fs::symlink_metadata(&place) {
                Ok(found) if found.is_file() && found.len() == item.size => {
                    let sha256 = match digest {
                        Some(sha256) => sha256,
                        None => *digest.insert(digest_of_content(item)?),
                    };
                    if matches!(find(&place, item.size, &sha256)?, Found::Same) {
                        return Ok(Some(self.found(item, id, archive::hex(&sha256), noted)));
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(unwritable(&place, source)),
            }
            if self.on_conflict != OnConflict::Copy {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The item in a temporary file, whole, proven and on disk.
    fn store(&self, item: &Item) -> Result<(TempPath, Sha256Digest), Error> {
        let path = self.ground.temporary(&item.path)?;
        let failed = |source| unwritable(&path, source);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut file = File::create_new(&path).map_err(failed)?;
        let temporary = TempPath::try_from_path(&path).map_err(failed)?;
        let mut digest = Sha256::new();
        each_chunk(item, &mut |bytes| {
            digest.update(bytes);
            file.write_all(bytes).map_err(failed)
        })?;
        file.set_modified(system_time(item.mtime)).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok((temporary, digest.finalize().into()))
    }

    /// Moves what is in the way to a name that an undo knows.
    fn set_aside(&self, item: &Item, id: &str, place: &Path) -> Result<(), Error> {
        let old = self.ground.path(&join(parent(id), &self.ground.old_name(&item.path)));
        if fs::symlink_metadata(&old).is_ok() {
            return Err(exists(id));
        }
        fs::rename(place, &old).map_err(|source| unwritable(place, source))
    }

    fn made(&self, item: &Item, id: String, etag: String) -> Restored {
        let old = join(parent(&id), &self.ground.old_name(&item.path));
        let how = match fs::symlink_metadata(self.ground.path(&old)) {
            Ok(_) => How::Replaced { old },
            Err(_) => How::Created,
        };
        Restored { how, id, etag: Some(etag), losses: Vec::new() }
    }

    /// A file that is there already, maybe because this restore made it before it was killed.
    fn found(&self, item: &Item, id: String, etag: String, noted: Option<&Note>) -> Restored {
        let restored = self.made(item, id, etag);
        // Only this journal moves something aside to that name; a power cut may take the note.
        let is_ours = matches!(restored.how, How::Replaced { .. })
            || noted.is_some_and(|note| {
                note.id == restored.id && Some(&note.etag) == restored.etag.as_ref()
            });
        let how = if is_ours { restored.how } else { How::Present };
        Restored { how, ..restored }
    }

    /// Removes a file if it is still what it was, and brings back what it replaced. `renamed` finds
    /// a file that goes by another name since.
    pub(super) fn undo(
        &self,
        made: &Made,
        renamed: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Undone, Error> {
        let noted = if made.id.is_none() { self.notes.of(&made.path)? } else { None };
        let (id, etag) = match (&made.id, &noted) {
            (Some(id), _) => (id, made.etag.as_ref()),
            (None, Some(note)) => (&note.id, Some(&note.etag)),
            (None, None) => return Ok(Undone::Removed),
        };
        let Some(mut place) = self.ground.existing(id) else {
            return Ok(Undone::Removed);
        };
        if is_missing(&place)
            && let Some(now) = renamed(id)
        {
            place = self.ground.path(&now);
        }
        let old = join(parent(id), &self.ground.old_name(&made.path));
        let old = self.ground.path(made.old.as_ref().unwrap_or(&old));
        if !is_missing(&place) {
            if digest_of_file(&place)?.map(|sha256| archive::hex(&sha256)).as_ref() != etag {
                // Of an item that was only begun, it may be what was there before.
                let untouched = noted.is_some() && is_missing(&old);
                return Ok(if untouched { Undone::Removed } else { Undone::Kept });
            }
            fs::remove_file(&place).map_err(|source| unwritable(&place, source))?;
        }
        if !is_missing(&old) {
            let place = self.ground.path(id);
            fs::rename(&old, &place).map_err(|source| unwritable(&place, source))?;
        }
        Ok(Undone::Removed)
    }
}

/// `folder/name`, or the name alone in the directory itself.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn is_missing(place: &Path) -> bool {
    matches!(fs::symlink_metadata(place), Err(error) if error.kind() == ErrorKind::NotFound)
}

fn exists(id: &str) -> Error {
    Error::Item { cause: "exists", what: format!("there is another file at {id}") }
}

fn find(place: &Path, size: u64, sha256: &Sha256Digest) -> Result<Found, Error> {
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_file() => {
            let is_same = found.len() == size && digest_of_file(place)?.as_ref() == Some(sha256);
            Ok(if is_same { Found::Same } else { Found::Other })
        }
        Ok(found) if found.is_symlink() => Ok(Found::Other),
        Ok(_) => Ok(Found::InTheWay),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::Nothing),
        Err(source) => Err(unwritable(place, source)),
    }
}

/// The digest of a file; none of anything else.
fn digest_of_file(place: &Path) -> Result<Option<Sha256Digest>, Error> {
    let failed = |source| unwritable(place, source);
    if !fs::symlink_metadata(place).map_err(failed)?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(place).map_err(failed)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(Some(digest.finalize().into())),
            read => digest.update(&buffer[..read]),
        }
    }
}

fn digest_of_content(item: &Item) -> Result<Sha256Digest, Error> {
    let mut digest = Sha256::new();
    each_chunk(item, &mut |bytes| {
        digest.update(bytes);
        Ok(())
    })?;
    Ok(digest.finalize().into())
}

/// Reads the content to its end, and so proves it.
pub(super) fn each_chunk(
    item: &Item,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |source| Error::Content { path: item.path.clone(), source };
    let mut content = item.content.open().map_err(failed)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        match content.read(&mut buffer) {
            Ok(0) if size == item.size => return Ok(()),
            Ok(0) => return Err(failed(ErrorKind::UnexpectedEof.into())),
            Ok(read) => {
                size += read as u64;
                visit(&buffer[..read])?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(failed(source)),
        }
    }
}
