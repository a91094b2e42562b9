//! Uniqueness of paths among any number of members, by an external sort of their digests.
//!
//! Two members collide if some file system would give them one name: equal paths, paths equal
//! after folding, or a file where another member needs a folder.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{Error, path};

/// Records sorted in memory at once: about 1.5 MiB.
const RUN: usize = 32 * 1024;
/// Records read at once of a run that is merged.
const PIECE: usize = 128;
const RECORD: usize = 33;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// Needed by a path below it.
    Implied,
    Directory,
    File,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    folded: [u8; 16],
    exact: [u8; 8],
    use_: Use,
    ordinal: u64,
}

/// A member whose path collides with one before it in the order of the sort.
pub(super) struct Collision {
    pub(super) ordinal: u64,
    pub(super) what: &'static str,
}

/// Collects paths, then tells the collisions.
pub(super) struct Paths {
    directory: PathBuf,
    records: Vec<Record>,
    /// All full runs, one behind the other, if there are any.
    file: Option<File>,
    runs: u64,
    parent: String,
}

impl Paths {
    pub(super) fn new(directory: &Path) -> Self {
        Paths {
            directory: directory.to_owned(),
            records: Vec::new(),
            file: None,
            runs: 0,
            parent: String::new(),
        }
    }

    /// Adds the member number `ordinal` and the folders above it.
    pub(super) fn add(&mut self, path: &str, use_: Use, ordinal: u64) -> Result<(), Error> {
        self.push(path, use_, ordinal)?;
        let Some((parent, _)) = path.rsplit_once('/') else {
            return Ok(());
        };
        if parent == self.parent {
            return Ok(());
        }
        let ends = parent.match_indices('/').map(|(end, _)| end).chain([parent.len()]);
        for end in ends {
            self.push(&parent[..end], Use::Implied, ordinal)?;
        }
        parent.clone_into(&mut self.parent);
        Ok(())
    }

    /// The first `limit` collisions, in no order that means anything.
    pub(super) fn collisions(mut self, limit: usize) -> Result<Vec<Collision>, Error> {
        self.records.sort_unstable();
        let mut merge = Merge::new(self.file.take(), self.runs, std::mem::take(&mut self.records))
            .map_err(|source| self.error(source))?;
        let mut collisions = Vec::new();
        let mut before: Option<Record> = None;
        while let Some(record) = merge.next().map_err(|source| self.error(source))? {
            if let Some(what) = before.and_then(|before| collision(before, record))
                && collisions.len() < limit
            {
                collisions.push(Collision { ordinal: record.ordinal, what });
            }
            before = Some(record);
        }
        Ok(collisions)
    }

    fn push(&mut self, path: &str, use_: Use, ordinal: u64) -> Result<(), Error> {
        let folded = Sha256::digest(path::fold(path));
        let exact = Sha256::digest(path);
        self.records.push(Record {
            folded: *folded.first_chunk().expect("32 bytes"),
            exact: *exact.first_chunk().expect("32 bytes"),
            use_,
            ordinal,
        });
        if self.records.len() == RUN {
            self.spill().map_err(|source| self.error(source))?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.records.sort_unstable();
        let mut bytes = Vec::with_capacity(RUN * RECORD);
        for record in self.records.drain(..) {
            bytes.extend(record.encode());
        }
        self.runs += 1;
        match &mut self.file {
            Some(file) => file.write_all(&bytes),
            empty => empty.insert(tempfile::tempfile_in(&self.directory)?).write_all(&bytes),
        }
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Spool { path: self.directory.clone(), source }
    }
}

/// What is wrong with a path that sorts right behind another.
fn collision(before: Record, record: Record) -> Option<&'static str> {
    if before.folded != record.folded {
        None
    } else if before.exact != record.exact {
        Some("its path equals another one but for case or normalization")
    } else if before.use_ != Use::Implied {
        Some("its path stands twice in the archive")
    } else if record.use_ == Use::File {
        Some("it is a file, but another member needs a folder here")
    } else {
        None
    }
}

impl Record {
    fn encode(&self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..16].copy_from_slice(&self.folded);
        bytes[16..24].copy_from_slice(&self.exact);
        bytes[24] = self.use_ as u8;
        bytes[25..].copy_from_slice(&self.ordinal.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; RECORD]) -> Self {
        let (folded, rest) = bytes.split_first_chunk().expect("33 bytes");
        let (exact, rest) = rest.split_first_chunk().expect("17 bytes");
        let (use_, ordinal) = rest.split_first_chunk().expect("9 bytes");
        Record {
            folded: *folded,
            exact: *exact,
            use_: match use_ {
                [0] => Use::Implied,
                [1] => Use::Directory,
                [_] => Use::File,
            },
            ordinal: u64::from_be_bytes(*ordinal.first_chunk().expect("8 bytes")),
        }
    }
}

/// Merges sorted runs of a file and one in memory.
struct Merge {
    file: Option<File>,
    runs: Vec<Run>,
    /// The next record of every run.
    heads: BinaryHeap<Reverse<(Record, usize)>>,
}

struct Run {
    /// Records read but not merged, the next one last.
    records: Vec<Record>,
    /// Where in the file the rest of it starts and ends.
    position: u64,
    end: u64,
}

impl Merge {
    fn new(file: Option<File>, runs: u64, mut memory: Vec<Record>) -> io::Result<Self> {
        let length = (RUN * RECORD) as u64;
        memory.reverse();
        let in_file = (0..runs).map(|number| Run {
            records: Vec::new(),
            position: number * length,
            end: (number + 1) * length,
        });
        let in_memory = Run { records: memory, position: 0, end: 0 };
        let mut merge =
            Merge { file, runs: in_file.chain([in_memory]).collect(), heads: BinaryHeap::new() };
        for number in 0..merge.runs.len() {
            merge.advance(number)?;
        }
        Ok(merge)
    }

    fn next(&mut self) -> io::Result<Option<Record>> {
        let Some(Reverse((record, run))) = self.heads.pop() else {
            return Ok(None);
        };
        self.advance(run)?;
        Ok(Some(record))
    }

    /// Puts the next record of a run among the heads.
    fn advance(&mut self, number: usize) -> io::Result<()> {
        let run = &mut self.runs[number];
        if run.records.is_empty() && run.position < run.end {
            let file = self.file.as_mut().expect("a run with a place has a file");
            let length = (run.end - run.position).min((PIECE * RECORD) as u64);
            let mut bytes = vec![0; length as usize];
            file.seek(SeekFrom::Start(run.position))?;
            file.read_exact(&mut bytes)?;
            run.position += length;
            let (records, _) = bytes.as_chunks::<RECORD>();
            run.records.extend(records.iter().rev().map(Record::decode));
        }
        if let Some(record) = run.records.pop() {
            self.heads.push(Reverse((record, number)));
        }
        Ok(())
    }
}
