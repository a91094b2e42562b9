//! What is about to be made, noted before it gets its name.
//!
//! Between the moment a file appears and the moment the journal says so, a run may be killed. The
//! notes tell the next run that the file it finds is its own, and an undo what to look for. They
//! live only as long as the restore.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use archive::path::long_tag;

use super::ground::{lock, unwritable};
use crate::error::Error;

/// What a member became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// [`long_tag`] of the path of the member.
    pub(super) tag: String,
    /// Digest of what was made, hexadecimal.
    pub(super) etag: String,
    /// How the target knows it.
    pub(super) id: String,
}

/// The notes of one section. One line each: `<tag> <etag> <id>`.
#[derive(Debug)]
pub(super) struct Notes {
    path: PathBuf,
    /// Tag and offset of the notes of earlier runs, sorted. Cut to 8 characters: a note that is
    /// read tells the rest.
    earlier: Vec<([u8; 8], u64)>,
    file: Mutex<Option<File>>,
}

impl Notes {
    /// Reads what earlier runs left in `folder`, if any did.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("notes");
        let earlier = match earlier(&path) {
            Ok(earlier) => earlier,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(unwritable(&path, source)),
        };
        Ok(Self { path, earlier, file: Mutex::default() })
    }

    /// What an earlier run noted of a member, last.
    pub(super) fn of(&self, member: &str) -> Result<Option<Note>, Error> {
        if self.earlier.is_empty() {
            return Ok(None);
        }
        let tag = long_tag(member);
        let key = key(&tag);
        let start = self.earlier.partition_point(|(other, _)| *other < key);
        let end = self.earlier.partition_point(|(other, _)| *other <= key);
        let mut input = self.input()?;
        for (_, offset) in self.earlier[start..end].iter().rev() {
            let found = input.seek(SeekFrom::Start(*offset)).and_then(|_| read(&mut input));
            let note = found.map_err(|error| unwritable(&self.path, error))?;
            if let Some(note) = note.filter(|note| note.tag == tag) {
                return Ok(Some(note));
            }
        }
        Ok(None)
    }

    /// Calls `visit` for each note of earlier runs.
    pub(super) fn each(&self, visit: &mut dyn FnMut(Note)) -> Result<(), Error> {
        if self.earlier.is_empty() {
            return Ok(());
        }
        let mut input = self.input()?;
        for _ in &self.earlier {
            let note = read(&mut input).map_err(|error| unwritable(&self.path, error))?;
            note.into_iter().for_each(&mut *visit);
        }
        Ok(())
    }

    /// Notes what a member is about to become. The folder of the notes must be there.
    pub(super) fn add(&self, member: &str, etag: &str, id: &str) -> Result<(), Error> {
        let line = format!("{} {etag} {id}\n", long_tag(member));
        let mut slot = lock(&self.file);
        let noted = match &mut *slot {
            Some(file) => file.write_all(line.as_bytes()),
            None => OpenOptions::new().append(true).create(true).open(&self.path).and_then(
                |mut file| {
                    file.write_all(line.as_bytes())?;
                    *slot = Some(file);
                    Ok(())
                },
            ),
        };
        noted.map_err(|source| unwritable(&self.path, source))
    }

    fn input(&self) -> Result<BufReader<File>, Error> {
        let opened = File::open(&self.path).map_err(|source| unwritable(&self.path, source))?;
        Ok(BufReader::new(opened))
    }
}

fn key(tag: &str) -> [u8; 8] {
    let mut key = [0; 8];
    key.iter_mut().zip(tag.bytes()).for_each(|(to, from)| *to = from);
    key
}

/// Where which note stands; a line that a kill cut off is taken away.
fn earlier(path: &Path) -> io::Result<Vec<([u8; 8], u64)>> {
    let mut input = BufReader::new(OpenOptions::new().read(true).write(true).open(path)?);
    let mut entries = Vec::new();
    let (mut offset, mut line) = (0, Vec::new());
    while input.read_until(b'\n', &mut line)? > 0 {
        if line.last() != Some(&b'\n') {
            input.get_ref().set_len(offset)?;
            break;
        }
        entries.push((key(&String::from_utf8_lossy(&line)), offset));
        offset += line.len() as u64;
        line.clear();
    }
    entries.sort_unstable();
    Ok(entries)
}

fn read(input: &mut BufReader<File>) -> io::Result<Option<Note>> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut parts = line.trim_end_matches('\n').splitn(3, ' ').map(str::to_owned);
    let (tag, etag, id) = (parts.next(), parts.next(), parts.next());
    Ok(tag.zip(etag).zip(id).map(|((tag, etag), id)| Note { tag, etag, id }))
}
