//! Mail as one mboxrd file a folder.
//!
//! - A message is a `From ` line (Return-Path, else the sender; received time in UTC), its bytes
//!   with LF for CRLF and one more `>` before each `>*From `, a newline at the end if it has none,
//!   and an empty line. No header is added, so read state and flags are lost.
//! - A message is recognised by the SHA-256 of its bytes as they stand in the file: a second run
//!   adds nothing. Each one found stands for one message, so that copies in a folder stay copies,
//!   and those that the journal knows stand for what it says.
//! - Before a message is appended, a file beside the mailbox, `.tar365-tail-<tag>`, says where it
//!   will stand and how long it is. What a kill left of it is taken away by the next
//!   run, whichever that is, unless somebody appended something else behind.

mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::file::{Files, join};
use super::flags::Flags;
use super::ground::{Ground, fitted, lock, parent, unwritable};
use super::mboxrd::{Quoted, Span, digest_at, is_followed, scan};
use super::notes::{Note, Notes};
use crate::error::Error;
use crate::item::Item;
use crate::place::{How, Restored};
use crate::section::Folder;

pub(super) use undo::undo_all;

/// The mailboxes of one owner.
#[derive(Debug)]
pub(super) struct Mailboxes {
    /// The folder they are in.
    base: String,
    known: Mutex<BTreeMap<String, Arc<Mutex<Known>>>>,
}

/// The messages that were in a mailbox when the restore came to it. 17 bytes a message: first half
/// of the digest, sorted; and whether it stands for a message of the archive.
#[derive(Debug, Default)]
struct Known(Vec<([u8; 16], bool)>);

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
        let known = self.known(ground, &mailbox)?;
        let mut known = lock(&known);
        let mut quoted = Quoted::new(item, &ground.work())?;
        let etag = archive::hex(&quoted.sha256);
        let restored = |how, id| {
            let losses = Flags::of(&item.line).loss_in_plain_files().into_iter().collect();
            Restored { how, id, etag: Some(etag.clone()), losses }
        };
        if known.consume(&etag) {
            // A run that was killed put it there, if it stands where that was about to.
            return Ok(match notes.of(&item.path)?.filter(|note| note.etag == etag) {
                Some(note) if stands(ground, &mailbox, &note)? => restored(How::Created, note.id),
                _ => restored(How::Present, mailbox),
            });
        }
        let span = append(ground, &mailbox, &mut quoted, &|span| {
            notes.add(&item.path, &etag, &span.id(&mailbox))
        })?;
        Ok(restored(How::Created, span.id(&mailbox)))
    }

    fn known(&self, ground: &Ground, mailbox: &str) -> Result<Arc<Mutex<Known>>, Error> {
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
            known.0.push((half, false));
        });
        if !is_mailbox.map_err(|source| unwritable(&place, source))? {
            let what = format!("{mailbox} is there, but is no mailbox");
            return Err(Error::Item { cause: "exists", what });
        }
        known.0.sort_unstable();
        // What stands for items of earlier runs, or of another section, stands for no other.
        ground.settled_at(mailbox, &mut |id, etag| {
            if Span::split(id).map_or(id, |(of, _)| of) == mailbox {
                known.consume(etag);
            }
        })?;
        let known = Arc::new(Mutex::new(known));
        all.insert(mailbox.to_owned(), Arc::clone(&known));
        Ok(known)
    }

    /// After the last message. Mailboxes that a killed run completed need no message of this one,
    /// and still have the note of their last.
    pub(super) fn finish(&self, ground: &Ground, notes: &Notes) -> Result<(), Error> {
        let mut mailboxes: BTreeSet<String> = lock(&self.known).keys().cloned().collect();
        notes.each(&mut |note| {
            if let Some((mailbox, _)) = Span::split(&note.id)
                && !mailboxes.contains(mailbox)
            {
                mailboxes.insert(mailbox.to_owned());
            }
        })?;
        let mut places = mailboxes.iter().filter_map(|mailbox| ground.existing(mailbox));
        places.try_for_each(|place| repair(&place))
    }
}

impl Known {
    /// Whether a message with this digest is there that stands for none yet; now it does.
    fn consume(&mut self, etag: &str) -> bool {
        let Some(wanted) = half(etag) else {
            return false;
        };
        let start = self.0.partition_point(|(other, _)| *other < wanted);
        let mut equal = self.0[start..].iter_mut().take_while(|(other, _)| *other == wanted);
        match equal.find(|(_, used)| !*used) {
            Some((_, used)) => {
                *used = true;
                true
            }
            None => false,
        }
    }
}

/// Whether the message of a note stands where the note says.
fn stands(ground: &Ground, mailbox: &str, note: &Note) -> Result<bool, Error> {
    let Some((_, span)) = Span::split(&note.id).filter(|(of, _)| *of == mailbox) else {
        return Ok(false);
    };
    let place = ground.path(mailbox);
    let found = digest_at(&open(&place)?, span).map_err(|source| unwritable(&place, source))?;
    Ok(found.is_some_and(|sha256| archive::hex(&sha256) == note.etag))
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
    note_tail(&place, span, &start)?;
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

/// Bytes of such a file: two numbers of 20 digits, and how the message begins.
const TAIL_NOTE: usize = 512;

fn note_tail(mailbox: &Path, span: Span, start: &str) -> Result<(), Error> {
    let place = tail_note(mailbox);
    let failed = |source| unwritable(&place, source);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).custom_flags(NO_LINK);
    let note = options.open(&place).map_err(failed)?;
    let mut text = format!("{:020} {:020} {start}", span.offset, span.length).into_bytes();
    // One write of one length: it is there or it is not.
    text.resize(TAIL_NOTE, 0);
    note.write_all_at(&text, 0).and_then(|()| note.sync_data()).map_err(failed)
}

/// Where a message was to stand, and how it begins.
fn read_tail_note(text: &str) -> Option<(Span, &str)> {
    let mut parts = text.trim_end_matches('\0').splitn(3, ' ');
    let (offset, length, start) = (parts.next()?, parts.next()?, parts.next()?);
    Some((Span { offset: offset.parse().ok()?, length: length.parse().ok()? }, start))
}

/// Takes away what a kill left of a message, and the note of it.
fn repair(mailbox: &Path) -> Result<(), Error> {
    let place = tail_note(mailbox);
    let text = match fs::symlink_metadata(&place) {
        Ok(found) if found.is_file() => fs::read(&place),
        _ => return Ok(()),
    };
    let text = text.map_err(|source| unwritable(&place, source))?;
    let text = String::from_utf8_lossy(&text);
    let is_there = matches!(fs::symlink_metadata(mailbox), Ok(found) if found.is_file());
    if let Some((span, start)) = read_tail_note(&text).filter(|_| is_there) {
        let failed = |source| unwritable(mailbox, source);
        let file = open(mailbox)?;
        let size = file.metadata().map_err(failed)?.len();
        let is_torn = size > span.offset && size < span.end();
        if is_torn && is_ours(&file, span.offset, size, start).map_err(failed)? {
            file.set_len(span.offset).and_then(|()| file.sync_all()).map_err(failed)?;
        }
    }
    fs::remove_file(&place).map_err(|source| unwritable(&place, source))
}

/// Whether a tail is ours and nothing else: if somebody appended a message meanwhile, all stays.
fn is_ours(mut file: &File, offset: u64, size: u64, start: &str) -> io::Result<bool> {
    let mut found = vec![0; start.len().min(usize::try_from(size - offset).unwrap_or(usize::MAX))];
    file.read_exact_at(&mut found, offset)?;
    if !start.as_bytes().starts_with(&found) {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(offset))?;
    Ok(!is_followed(&mut file.take(size - offset))?)
}

/// To `open(2)`: an error if it is a symbolic link.
const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

fn open(mailbox: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).custom_flags(NO_LINK).open(mailbox);
    opened.map_err(|source| unwritable(mailbox, source))
}
