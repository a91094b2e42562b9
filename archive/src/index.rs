//! Random access to an archive that is a file.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use crate::{
    Error, HEAD_PATH, MANIFEST_PATH, SEAL_PATH,
    digest::Sha256Digest,
    head::Head,
    header::{BLOCK, Block},
    manifest::ManifestLine,
    metadata::Lines,
    reader::Reader,
    seal::{Extent, SEAL_SIZE, Seal},
};

/// Bytes of the seal as a member, and the two end blocks.
const TAIL: usize = BLOCK + SEAL_SIZE + 2 * BLOCK;
/// Largest head we read, in bytes.
pub(crate) const MAX_HEAD: u64 = 1024 * 1024;

/// A member and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Its line of the manifest.
    pub line: ManifestLine,
    /// First byte of the member in the stream.
    pub offset: u64,
}

/// A sealed archive in a file. Only the seal and the head are held in memory: the manifest is
/// read again each time it is asked.
pub struct Index<R: Read + Seek> {
    input: R,
    seal: Seal,
    head: Head,
}

impl<R: Read + Seek> Index<R> {
    /// Reads the seal at the end, and the head. Fails with [`Error::Unsealed`] if there is none.
    pub fn open(mut input: R) -> Result<Self, Error> {
        let failed = |source| Error::Read { offset: 0, source };
        let size = input.seek(SeekFrom::End(0)).map_err(failed)?;
        let seal = read_seal(&mut input, size)?;
        input.rewind().map_err(failed)?;
        let mut reader = Reader::new(&mut input);
        let first = reader.next_entry()?;
        if first.is_none_or(|entry| entry.path != HEAD_PATH) {
            let what = "it is not the first member".to_owned();
            return Err(Error::Invalid { place: HEAD_PATH.into(), what });
        }
        let head = Head::parse(&reader.content().into_vec(MAX_HEAD)?)?;
        Ok(Index { input, seal, head })
    }

    /// The seal.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Calls `visit` for each member before the manifest, in stream order, until it returns
    /// false. After the last member the digest of the manifest is checked.
    pub fn each(&mut self, visit: &mut dyn FnMut(&IndexEntry) -> bool) -> Result<(), Error> {
        let mut entries = Entries::new(&mut self.input, self.seal.manifest)?;
        while let Some(entry) = entries.next_entry()? {
            if !visit(&entry) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The members from a place that [`Entries::position`] told. The digest of the manifest is not
    /// checked again.
    pub fn into_entries_at(self, position: Position) -> Result<Entries<R>, Error> {
        let Extent { offset, length, .. } = self.seal.manifest;
        let line = position.line;
        let rest = Extent {
            offset: offset + line.min(length),
            length: length - line.min(length),
            ..self.seal.manifest
        };
        let mut entries = Entries::new(self.input, rest)?;
        entries.position = position;
        entries.expected = None;
        Ok(entries)
    }

    /// The members before the manifest, one at a time. Needs the input for itself; content is
    /// then read through another handle.
    pub fn into_entries(self) -> Result<Entries<R>, Error> {
        Entries::new(self.input, self.seal.manifest)
    }

    /// The member at `path`, if there is one. The whole manifest is read, so that what it says of
    /// the member is proven.
    pub fn entry_at(&mut self, path: &str) -> Result<Option<IndexEntry>, Error> {
        let mut found = None;
        self.each(&mut |entry| {
            if entry.line.path == path {
                found = Some(entry.clone());
            }
            true
        })?;
        Ok(found)
    }

    /// A reader that stands at the content of `entry` and ends behind it. The content is checked
    /// against the digest of the manifest, also if the member carries none.
    pub fn open_entry(&mut self, entry: &IndexEntry) -> Result<Reader<io::Take<&mut R>>, Error> {
        let IndexEntry { line, offset } = entry;
        let sought = self.input.seek(SeekFrom::Start(*offset));
        sought.map_err(|source| Error::Read { offset: *offset, source })?;
        let mut reader = Reader::new((&mut self.input).take(line.span));
        let found = reader.next_entry()?;
        if !found.is_some_and(|found| found.path == line.path && found.size == line.size) {
            let what = "the manifest does not fit: another member stands here".to_owned();
            return Err(Error::Invalid { place: line.path.clone(), what });
        }
        if let Some(sha256) = line.sha256 {
            reader.expect_digest(sha256);
        }
        Ok(reader)
    }
}

/// The manifest, a member at a time.
pub struct Entries<R> {
    lines: Lines<BufReader<io::Take<R>>>,
    digest: Sha256,
    expected: Option<Sha256Digest>,
    position: Position,
}

/// A place between two lines of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Bytes of the manifest before it.
    line: u64,
    /// First byte of the next member in the stream.
    member: u64,
}

impl Position {
    /// First byte of the member that stands here; behind the last one, of the manifest.
    pub fn member(&self) -> u64 {
        self.member
    }
}

impl<R: Read + Seek> Entries<R> {
    fn new(mut input: R, manifest: Extent) -> Result<Self, Error> {
        let Extent { offset, length, sha256 } = manifest;
        let sought = input.seek(SeekFrom::Start(offset));
        sought.map_err(|source| Error::Read { offset, source })?;
        let lines = Lines::new(BufReader::new(input.take(length)), MANIFEST_PATH);
        let position = Position::default();
        Ok(Entries { lines, digest: Sha256::new(), expected: Some(sha256), position })
    }

    /// Where the next member stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next member. Before none is given the digest of the manifest is checked.
    pub fn next_entry(&mut self) -> Result<Option<IndexEntry>, Error> {
        let Some(text) = self.lines.next_text()? else {
            let found = self.digest.finalize_reset();
            return match self.expected.take() {
                Some(expected) if found[..] != expected[..] => {
                    Err(Error::Digest { path: MANIFEST_PATH.into() })
                }
                _ => Ok(None),
            };
        };
        self.digest.update(&text);
        self.digest.update("\n");
        let line = ManifestLine::parse(&text)?;
        let offset = self.position.member;
        self.position.line += text.len() as u64 + 1;
        self.position.member = offset.checked_add(line.span).ok_or_else(|| Error::Invalid {
            place: self.lines.place(),
            what: "the span is absurd".into(),
        })?;
        Ok(Some(IndexEntry { line, offset }))
    }
}

/// The seal, if the last bytes are one, and its extents lie in the file.
fn read_seal<R: Read + Seek>(input: &mut R, size: u64) -> Result<Seal, Error> {
    let offset = size.checked_sub(TAIL as u64).ok_or(Error::Unsealed)?;
    let failed = |source| Error::Read { offset, source };
    let mut tail = [0; TAIL];
    input.seek(SeekFrom::Start(offset)).map_err(failed)?;
    input.read_exact(&mut tail).map_err(failed)?;
    let (header, rest) = tail.split_first_chunk().expect("the tail starts with a block");
    let (text, end) = rest.split_at(SEAL_SIZE);
    let is_seal = Block::parse(header)
        .is_ok_and(|block| block.name == SEAL_PATH.as_bytes() && block.size == SEAL_SIZE as u64);
    if !is_seal || end.iter().any(|&byte| byte != 0) {
        return Err(Error::Unsealed);
    }
    let seal = Seal::parse(text)?;
    for extent in [seal.manifest, seal.ledger] {
        if extent.offset.checked_add(extent.length).is_none_or(|end| end > offset) {
            let what = "it speaks of bytes outside the file".to_owned();
            return Err(Error::Invalid { place: SEAL_PATH.into(), what });
        }
    }
    Ok(seal)
}
