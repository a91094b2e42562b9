//! Mail as one mboxrd file a folder.
//!
//! - A message is a `From ` line (Return-Path, else the sender; received time in UTC), its bytes
//!   with LF for CRLF and one more `>` before each `>*From `, a newline at the end if it has none,
//!   and an empty line. No header is added, so read state and flags are lost.
//! - A message is recognised by the SHA-256 of its bytes as they stand in the file: a second run
//!   adds nothing. Each one found stands for one message, so that copies in a folder stay copies.
//! - Before a message is appended, a file beside the mailbox, `.tar365-tail-<tag>`, says where it
//!   will stand, how long it is and its digest. What a kill left of it is taken away by the next
//!   run, whichever that is, unless somebody appended something else behind.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::file::{Files, join};
use super::flags::Flags;
use super::ground::{Ground, fitted, lock, parent, unwritable};
use super::mboxrd::{Quoted, Span, digest_at, scan};
use super::notes::Notes;
use crate::error::Error;
use crate::item::Item;
use crate::place::{How, Made, Restored, Undone};
use crate::section::Folder;

/// The mailboxes of one owner.
#[derive(Debug)]
pub(super) struct Mailboxes {
    /// The folder they are in.
    base: String,
    known: Mutex<BTreeMap<String, Arc<Mutex<Known>>>>,
}

/// The messages that were in a mailbox when the restore came to it. 17 bytes a message.
#[derive(Debug, Default)]
struct Known {
    /// First half of the digest, sorted; and whether it stands for a message of the archive.
    messages: Vec<([u8; 16], bool)>,
    /// Tags of members that an earlier, killed run of this restore put there.
    claimed: Vec<String>,
}

impl Mailboxes {
    pub(super) fn new(base: String) -> Self {
        Self { base, known: Mutex::default() }
    }

    /// The file of a folder, which is made.
    pub(super) fn folder(&self, ground: &Ground, trail: &[Folder]) -> Result<String, Error> {
        let mailbox = self.mailbox(trail);
        ground.folder(parent(&mailbox))?;
        let place = ground.path(&mailbox);
        if matches!(fs::symlink_metadata(&place), Err(error) if error.kind() == ErrorKind::NotFound)
        {
            ground.remember(&mailbox)?;
            File::create_new(&place).map_err(|source| unwritable(&place, source))?;
            ground.touch(parent(&mailbox));
        }
        Ok(mailbox)
    }

    /// `Inbox/Projects` is `Inbox/Projects.mbox`. A folder `a.mbox` is `a%2Embox`, so that the
    /// folder of its children is not the file of a folder `a`.
    fn mailbox(&self, trail: &[Folder]) -> String {
        let mut names = super::components(trail);
        for name in &mut names {
            let stem = name.len().saturating_sub(5);
            if name.get(stem..).is_some_and(|end| end.eq_ignore_ascii_case(".mbox")) {
                name.replace_range(stem..=stem, "%2E");
            }
        }
        match names.pop() {
            None => fitted(&self.base, ".mbox"),
            Some(last) => {
                let folder = names.iter().fold(self.base.clone(), |path, name| join(&path, name));
                join(&folder, &fitted(&last, ".mbox"))
            }
        }
    }

    pub(super) fn put(
        &self,
        files: &Files<'_>,
        item: &Item,
        trail: &[Folder],
    ) -> Result<Restored, Error> {
        let Files { ground, notes, .. } = *files;
        let mailbox = self.folder(ground, trail)?;
        // The notes are in the folder of temporary files.
        ground.temporary(&item.path)?;
        let known = self.known(ground, notes, &mailbox)?;
        let mut known = lock(&known);
        let mut quoted = Quoted::new(item, &ground.work())?;
        let etag = archive::hex(&quoted.sha256);
        let restored = |how, id| {
            let losses = Flags::of(&item.line).loss_in_plain_files().into_iter().collect();
            Restored { how, id, etag: Some(etag.clone()), losses }
        };
        if let Some(note) = notes.of(&item.path)?
            && note.etag == etag
            && known.claimed.binary_search(&note.tag).is_ok()
        {
            let how = if note.present { How::Present } else { How::Created };
            return Ok(restored(how, note.id));
        }
        if known.consume(&etag) {
            notes.add(&item.path, true, &etag, &mailbox)?;
            return Ok(restored(How::Present, mailbox));
        }
        let span = append(ground, &mailbox, &mut quoted, &|span| {
            notes.add(&item.path, false, &etag, &span.id(&mailbox))
        })?;
        Ok(restored(How::Created, span.id(&mailbox)))
    }

    fn known(
        &self,
        ground: &Ground,
        notes: &Notes,
        mailbox: &str,
    ) -> Result<Arc<Mutex<Known>>, Error> {
        let mut all = lock(&self.known);
        if let Some(known) = all.get(mailbox) {
            return Ok(Arc::clone(known));
        }
        let place = ground.path(mailbox);
        repair(&place)?;
        let mut known = Known::default();
        let mut input = open(&place)?;
        let is_mailbox = scan(&mut input, &mut |sha256, _| {
            let mut half = [0; 16];
            half.copy_from_slice(&sha256[..16]);
            known.messages.push((half, false));
        });
        if !is_mailbox.map_err(|source| unwritable(&place, source))? {
            let what = format!("{mailbox} is there, but is no mailbox");
            return Err(Error::Item { cause: "exists", what });
        }
        known.messages.sort_unstable();
        notes.each(&mut |note| {
            let of = Span::split(&note.id).map_or(note.id.as_str(), |(mailbox, _)| mailbox);
            if of == mailbox && known.consume(&note.etag) {
                known.claimed.push(note.tag);
            }
        })?;
        known.claimed.sort_unstable();
        let known = Arc::new(Mutex::new(known));
        all.insert(mailbox.to_owned(), Arc::clone(&known));
        Ok(known)
    }

    /// After the last message.
    pub(super) fn finish(&self, ground: &Ground) -> Result<(), Error> {
        for mailbox in lock(&self.known).keys() {
            repair(&ground.path(mailbox))?;
        }
        Ok(())
    }

    /// Takes a message out of its mailbox.
    pub(super) fn undo(files: &Files<'_>, made: &Made) -> Result<Undone, Error> {
        let noted = if made.id.is_none() { files.notes.of(&made.path)? } else { None };
        let noted = noted.filter(|note| !note.present);
        let (id, etag) = match (&made.id, &noted) {
            (Some(id), _) => (id, made.etag.as_deref().unwrap_or_default()),
            (None, Some(note)) => (&note.id, note.etag.as_str()),
            (None, None) => return Ok(Undone::Removed),
        };
        let Some((mailbox, span)) = Span::split(id) else {
            return Ok(Undone::Kept);
        };
        let Some(place) = files.ground.existing(mailbox) else {
            return Ok(Undone::Removed);
        };
        if fs::symlink_metadata(&place).is_err() {
            return Ok(Undone::Removed);
        }
        repair(&place)?;
        let failed = |source| unwritable(&place, source);
        let mut file = open(&place)?;
        let size = file.metadata().map_err(failed)?.len();
        let span = match digest_at(&file, span).map_err(failed)? {
            Some(sha256) if archive::hex(&sha256) == etag => Some(span),
            _ => find(&mut file, etag).map_err(failed)?,
        };
        match span {
            // The tail of a run that was killed is away already.
            None if noted.is_some() => return Ok(Undone::Removed),
            None => return Ok(Undone::Kept),
            Some(span) if span.end() >= size => {
                file.set_len(span.offset).and_then(|()| file.sync_all()).map_err(failed)?;
            }
            Some(span) => {
                let _makes_its_folder = files.ground.temporary(&made.path)?;
                cut(&place, &mut file, span, &files.ground.work()).map_err(failed)?;
            }
        }
        Ok(Undone::Removed)
    }
}

impl Known {
    /// Whether a message with this digest is there that stands for none yet; now it does.
    fn consume(&mut self, etag: &str) -> bool {
        let Some(wanted) = half(etag) else {
            return false;
        };
        let start = self.messages.partition_point(|(other, _)| *other < wanted);
        let mut equal = self.messages[start..].iter_mut().take_while(|(other, _)| *other == wanted);
        match equal.find(|(_, used)| !*used) {
            Some((_, used)) => {
                *used = true;
                true
            }
            None => false,
        }
    }
}

/// The first half of a digest in hexadecimal.
fn half(etag: &str) -> Option<[u8; 16]> {
    let half = u128::from_str_radix(etag.get(..32)?, 16).ok()?;
    Some(half.to_be_bytes())
}

impl Span {
    const fn end(self) -> u64 {
        self.offset + self.length
    }

    fn id(self, mailbox: &str) -> String {
        format!("{mailbox}#{}+{}", self.offset, self.length)
    }

    fn split(id: &str) -> Option<(&str, Self)> {
        let (mailbox, span) = id.rsplit_once('#')?;
        let (offset, length) = span.split_once('+')?;
        Some((mailbox, Self { offset: offset.parse().ok()?, length: length.parse().ok()? }))
    }
}

/// Appends a message, and is back when it is on disk. `before` is told where it will stand.
fn append(
    ground: &Ground,
    mailbox: &str,
    quoted: &mut Quoted,
    before: &dyn Fn(Span) -> Result<(), Error>,
) -> Result<Span, Error> {
    let place = ground.path(mailbox);
    let failed = |source| unwritable(&place, source);
    let mut file = open(&place)?;
    let offset = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let start = format!("{}{}", missing_end(&file, offset).map_err(failed)?, quoted.from_line);
    let length = start.len() as u64 + quoted.length + 1;
    let span = Span { offset, length };
    before(span)?;
    note_tail(&place, span)?;
    let written = file
        .write_all(start.as_bytes())
        .and_then(|()| io::copy(quoted.content()?, &mut file))
        .and_then(|_| file.write_all(b"\n"))
        .and_then(|()| file.sync_all());
    if let Err(source) = written {
        // A full disk: the mailbox stays as it was. If even that fails the next run repairs it.
        file.set_len(offset).map_err(failed)?;
        return Err(failed(source));
    }
    Ok(span)
}

/// What a mailbox that somebody else wrote lacks before a message can follow: an empty line.
fn missing_end(file: &File, size: u64) -> io::Result<&'static str> {
    let mut end = [b'\n'; 2];
    let known = size.min(2);
    file.read_exact_at(&mut end[2 - known as usize..], size - known)?;
    Ok(match end {
        [b'\n', b'\n'] => "",
        [_, b'\n'] => "\n",
        _ => "\n\n",
    })
}

/// The file that says what is being appended to a mailbox.
pub(super) fn tail_note(mailbox: &Path) -> PathBuf {
    let name = mailbox.file_name().unwrap_or_default().to_string_lossy();
    mailbox.with_file_name(format!(".tar365-tail-{}", archive::path::long_tag(&name)))
}

fn note_tail(mailbox: &Path, span: Span) -> Result<(), Error> {
    let place = tail_note(mailbox);
    let failed = |source| unwritable(&place, source);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).custom_flags(NO_LINK);
    let note = options.open(&place).map_err(failed)?;
    // One write of one length: it is there or it is not.
    let line = format!("{:020} {:020}\n", span.offset, span.length);
    note.write_all_at(line.as_bytes(), 0).and_then(|()| note.sync_data()).map_err(failed)
}

/// Takes away what a kill left of a message, and the note of it.
fn repair(mailbox: &Path) -> Result<(), Error> {
    let place = tail_note(mailbox);
    let line = match fs::symlink_metadata(&place) {
        Ok(found) if found.is_file() => fs::read_to_string(&place),
        _ => return Ok(()),
    };
    let line = line.map_err(|source| unwritable(&place, source))?;
    let span = line.trim_end().split_once(' ').and_then(|(offset, length)| {
        Some(Span { offset: offset.parse().ok()?, length: length.parse().ok()? })
    });
    if let Some(span) = span {
        let failed = |source| unwritable(mailbox, source);
        let file = open(mailbox)?;
        let size = file.metadata().map_err(failed)?.len();
        if size > span.offset && size < span.end() {
            file.set_len(span.offset).and_then(|()| file.sync_all()).map_err(failed)?;
        }
    }
    fs::remove_file(&place).map_err(|source| unwritable(&place, source))
}

/// To `open(2)`: an error if it is a symbolic link.
const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

fn open(mailbox: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).custom_flags(NO_LINK).open(mailbox);
    opened.map_err(|source| unwritable(mailbox, source))
}

/// Where a message stands now.
fn find(file: &mut File, etag: &str) -> io::Result<Option<Span>> {
    file.seek(SeekFrom::Start(0))?;
    let mut found = None;
    scan(file, &mut |sha256, span| {
        if archive::hex(&sha256) == etag {
            found = Some(span);
        }
    })?;
    Ok(found)
}

/// Takes a message out of the middle: the mailbox is written anew and replaced at once.
fn cut(mailbox: &Path, file: &mut File, span: Span, work: &Path) -> io::Result<()> {
    let mut anew = tempfile::NamedTempFile::new_in(work)?;
    file.seek(SeekFrom::Start(0))?;
    io::copy(&mut (&*file).take(span.offset), anew.as_file_mut())?;
    file.seek(SeekFrom::Start(span.end()))?;
    io::copy(file, anew.as_file_mut())?;
    anew.as_file().set_permissions(file.metadata()?.permissions())?;
    anew.as_file().sync_all()?;
    anew.persist(mailbox).map_err(|error| error.error)?;
    Ok(())
}
