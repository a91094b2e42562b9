//! Takes messages out of their mailboxes, several at once: what does not stand at the end costs
//! writing the mailbox anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::{Span, half, open, repair};
use crate::error::Error;
use crate::place::{Made, Told, Undone};
use crate::target::directory::file::Files;
use crate::target::directory::ground::unwritable;
use crate::target::directory::mboxrd::{digest_at, scan};

/// A message that is to go.
struct Message<'a> {
    entry: &'a (i64, Made),
    /// Where it was put.
    span: Span,
    etag: String,
    /// Only a note tells of it: it stands there or nowhere.
    is_noted: bool,
}

/// See [`crate::place::Place::undo_all`].
pub(in crate::target::directory) fn undo_all(
    files: &Files<'_>,
    all: &[(i64, Made)],
    told: &mut Told<'_>,
) -> Result<(), Error> {
    let mut mailboxes: BTreeMap<String, Vec<Message<'_>>> = BTreeMap::new();
    for entry in all {
        match message(files, entry) {
            Ok(Ok((mailbox, message))) => mailboxes.entry(mailbox).or_default().push(message),
            Ok(Err(undone)) => told(entry, Ok(undone))?,
            Err(error) => told(entry, Err(error))?,
        }
    }
    for (mailbox, messages) in mailboxes {
        let place = files.ground.path(&mailbox);
        match take_out(files, &place, &messages) {
            Ok(undone) => {
                for (message, undone) in messages.iter().zip(undone) {
                    told(message.entry, Ok(undone))?;
                }
            }
            Err(error) => {
                let text = crate::error::chain(&error);
                told(messages[0].entry, Err(error))?;
                for message in &messages[1..] {
                    told(message.entry, Err(unwritable(&place, io::Error::other(&*text))))?;
                }
            }
        }
    }
    Ok(())
}

/// A message and its mailbox, or what became of it if there is nothing to be done.
fn message<'a>(
    files: &Files<'_>,
    entry: &'a (i64, Made),
) -> Result<Result<(String, Message<'a>), Undone>, Error> {
    let made = &entry.1;
    let noted = if made.id.is_none() { files.notes.of(&made.path)? } else { None };
    let (id, etag) = match (&made.id, &noted) {
        (Some(id), _) => (id, made.etag.clone().unwrap_or_default()),
        (None, Some(note)) => (&note.id, note.etag.clone()),
        (None, None) => return Ok(Err(Undone::Removed)),
    };
    let Some((mailbox, span)) = Span::split(id) else { return Ok(Err(Undone::Kept)) };
    let place = files.ground.existing(mailbox);
    if place.is_none_or(|place| fs::symlink_metadata(place).is_err()) {
        return Ok(Err(Undone::Removed));
    }
    let message = Message { entry, span, etag, is_noted: noted.is_some() };
    Ok(Ok((mailbox.to_owned(), message)))
}

/// Takes messages out of one mailbox, and says what became of each.
fn take_out(
    files: &Files<'_>,
    place: &Path,
    messages: &[Message<'_>],
) -> Result<Vec<Undone>, Error> {
    repair(place)?;
    let failed = |source| unwritable(place, source);
    let mut file = open(place)?;
    let found = find(&mut file, messages).map_err(failed)?;
    // The tail of a run that was killed is away already; one that is equal is another's.
    let undone = messages.iter().zip(&found).map(|(message, found)| match found {
        None if !message.is_noted => Undone::Kept,
        _ => Undone::Removed,
    });
    let undone = undone.collect();
    let mut spans: Vec<Span> = found.into_iter().flatten().collect();
    spans.sort_unstable_by_key(|span| span.offset);
    let mut size = file.metadata().map_err(failed)?.len();
    while let Some(last) = spans.pop_if(|last| last.end() >= size) {
        size = last.offset;
    }
    if spans.is_empty() {
        file.set_len(size).and_then(|()| file.sync_all()).map_err(failed)?;
        return Ok(undone);
    }
    let _makes_its_folder = files.ground.temporary("")?;
    write_anew(place, &mut file, &spans, size, &files.ground.work()).map_err(failed)?;
    Ok(undone)
}

/// Where messages stand now: where they were put, or else anywhere.
fn find(file: &mut File, messages: &[Message<'_>]) -> io::Result<Vec<Option<Span>>> {
    let mut taken = BTreeSet::new();
    let mut found = Vec::with_capacity(messages.len());
    for message in messages {
        let stands = digest_at(file, message.span)?
            .is_some_and(|sha256| archive::hex(&sha256) == message.etag);
        // By their ends: where one begins depends on what it was put behind.
        found.push((stands && taken.insert(message.span.end())).then_some(message.span));
    }
    let is_lost =
        |(message, found): &(&Message<'_>, &Option<Span>)| found.is_none() && !message.is_noted;
    let lost = messages.iter().zip(&found).filter(is_lost);
    let mut lost: BTreeMap<[u8; 16], Vec<Span>> =
        lost.filter_map(|(message, _)| Some((half(&message.etag)?, Vec::new()))).collect();
    if lost.is_empty() {
        return Ok(found);
    }
    file.seek(SeekFrom::Start(0))?;
    scan(file, &mut |sha256, span| {
        let (half, _) = sha256.split_at(16);
        if let Some(equal) = lost.get_mut(half)
            && !taken.contains(&span.end())
        {
            equal.push(span);
        }
    })?;
    for (message, found) in messages.iter().zip(&mut found) {
        if found.is_none() && !message.is_noted {
            let equal = half(&message.etag).and_then(|half| lost.get_mut(&half));
            *found = equal.and_then(Vec::pop);
        }
    }
    Ok(found)
}

/// The first `size` bytes without the spans, which are in order, replace the mailbox at once.
fn write_anew(
    mailbox: &Path,
    file: &mut File,
    spans: &[Span],
    size: u64,
    work: &Path,
) -> io::Result<()> {
    let mut anew = tempfile::NamedTempFile::new_in(work)?;
    let ends = spans.iter().map(|span| span.end());
    let starts = spans.iter().map(|span| span.offset).chain([size]);
    for (from, to) in [0].into_iter().chain(ends).zip(starts) {
        file.seek(SeekFrom::Start(from))?;
        io::copy(&mut (&*file).take(to - from), anew.as_file_mut())?;
    }
    anew.as_file().set_permissions(file.metadata()?.permissions())?;
    anew.as_file().sync_all()?;
    anew.persist(mailbox).map_err(|error| error.error)?;
    Ok(())
}
