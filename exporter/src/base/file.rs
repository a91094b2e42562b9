//! A base in a file.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use archive::index::{Entries, Position};
use archive::metadata::{self, Lines};
use archive::region::{Proven, RegionReader};
use archive::{
    HEAD_PATH, Head, Index, IndexEntry, LEDGER_PATH, LedgerLine, Outcome, Reader, Region,
    SEAL_PATH, Sha256Digest,
};

use super::{Earlier, EarlierContent, damaged, place};
use crate::Error;
use crate::service::Note;

/// A sealed archive in a file.
pub(crate) struct FileBase {
    whole: Region,
    head: Head,
    /// By owner's id and service.
    sections: BTreeMap<(String, String), Place>,
    /// What the ledger says of items that are there all the same.
    notes: Arc<BTreeMap<String, Note>>,
}

/// Where a section is.
#[derive(Debug, Clone)]
struct Place {
    metadata: IndexEntry,
    members: Position,
}

impl FileBase {
    pub(crate) fn open(whole: &Region) -> Result<Self, Error> {
        let index = Index::open(whole.reader()).map_err(damaged)?;
        let (head, seal) = (index.head().clone(), index.seal().clone());
        let mut base = Self {
            notes: Arc::new(notes(whole, &seal)?),
            whole: whole.clone(),
            head,
            sections: BTreeMap::new(),
        };
        let mut entries = index.into_entries().map_err(damaged)?;
        let mut members = 0;
        while let Some(entry) = entries.next_entry().map_err(damaged)? {
            members += 1;
            if entry.line.path == HEAD_PATH {
                base.prove(&entry)?;
            }
            let Some((_, service)) = metadata::section_of(&entry.line.path) else { continue };
            let mut lines = base.lines(&entry)?;
            let Some(first) = lines.next_line().map_err(damaged)? else { continue };
            if first.kind == metadata::OWNER {
                let place = Place { members: entries.position(), metadata: entry.clone() };
                base.sections.insert((first.id, service.to_owned()), place);
            }
        }
        if members != seal.members {
            let what = "it counts other members than there are".to_owned();
            return Err(damaged(archive::Error::Invalid { place: SEAL_PATH.to_owned(), what }));
        }
        Ok(base)
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Owner's id and service of each section.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sections.keys().map(|(owner, service)| (owner.as_str(), service.as_str()))
    }

    /// The section of that owner and service. Its metadata is proven first.
    pub(super) fn section(&self, owner: &str, service: &str) -> Result<Option<FileSection>, Error> {
        let key = (owner.to_owned(), service.to_owned());
        let Some(Place { metadata, members }) = self.sections.get(&key) else { return Ok(None) };
        let sha256 = self.prove(metadata)?;
        let index = Index::open(self.whole.reader()).map_err(damaged)?;
        let members = index.into_entries_at(*members).map_err(damaged)?;
        Ok(Some(FileSection {
            whole: self.whole.clone(),
            lines: self.lines(metadata)?,
            members,
            line: None,
            member: None,
            notes: Arc::clone(&self.notes),
            digest: archive::hex(&sha256),
        }))
    }

    /// The metadata of a section, proven, and its digest in hex.
    pub(crate) fn metadata(&self, owner: &str, service: &str) -> Result<Option<BaseLines>, Error> {
        let key = (owner.to_owned(), service.to_owned());
        let Some(Place { metadata, .. }) = self.sections.get(&key) else { return Ok(None) };
        let digest = archive::hex(&self.prove(metadata)?);
        Ok(Some(BaseLines { digest, lines: self.lines(metadata)? }))
    }

    /// Reads a file to its end, which proves it.
    fn prove(&self, entry: &IndexEntry) -> Result<Sha256Digest, Error> {
        let path = &entry.line.path;
        let sha256 = entry.line.sha256.ok_or_else(|| {
            let what = "the manifest has no digest of it".to_owned();
            damaged(archive::Error::Invalid { place: path.clone(), what })
        })?;
        super::prove(&self.content(entry), sha256)
            .map_err(|error| damaged(archive::Error::from_content(path, error)))?;
        Ok(sha256)
    }

    fn lines(&self, metadata: &IndexEntry) -> Result<Lines<BufReader<RegionReader>>, Error> {
        // The header is looked at once, so that a manifest that lies is told.
        let region = self.whole.slice(metadata.offset, metadata.line.span);
        let mut reader = Reader::new(region.reader());
        let entry = reader.next_entry().map_err(damaged)?;
        if entry.is_none_or(|entry| entry.path != metadata.line.path) {
            return Err(damaged(archive::Error::Invalid {
                place: metadata.line.path.clone(),
                what: "the manifest does not fit: another member stands here".to_owned(),
            }));
        }
        let content = self.content(metadata).reader();
        Ok(Lines::new(BufReader::new(content), &metadata.line.path))
    }

    fn content(&self, entry: &IndexEntry) -> Region {
        content(&self.whole, entry)
    }
}

/// What the base says of a section, a line at a time.
pub(crate) struct BaseLines {
    /// Digest of all of it, in hex.
    pub(crate) digest: String,
    lines: Lines<BufReader<RegionReader>>,
}

impl BaseLines {
    /// The next line.
    pub(crate) fn next_line(&mut self) -> Result<Option<metadata::Line>, Error> {
        self.lines.next_line().map_err(damaged)
    }
}

/// The content of a member. What stands before it is as long as what the span leaves.
fn content(whole: &Region, entry: &IndexEntry) -> Region {
    let line = &entry.line;
    let header = line.span.saturating_sub(line.size.next_multiple_of(512));
    whole.slice(entry.offset + header, line.size)
}

/// One section of a base in a file.
pub(crate) struct FileSection {
    whole: Region,
    lines: Lines<BufReader<RegionReader>>,
    members: Entries<RegionReader>,
    /// The item at hand.
    line: Option<metadata::Line>,
    /// The member at hand.
    member: Option<IndexEntry>,
    notes: Arc<BTreeMap<String, Note>>,
    digest: String,
}

impl FileSection {
    pub(super) fn metadata(&self) -> &str {
        &self.digest
    }

    /// The item at this place.
    pub(super) fn take(&mut self, key: i64, id: &str) -> Result<Option<Earlier>, Error> {
        loop {
            if self.line.is_none() {
                self.line = self.lines.next_line().map_err(damaged)?;
            }
            let Some(line) = &self.line else { return Ok(None) };
            let order = place(line).map(|place| place.cmp(&(key, id)));
            if order == Some(std::cmp::Ordering::Greater) {
                return Ok(None);
            }
            let Some(line) = self.line.take() else { return Ok(None) };
            // Also of what is not wanted: lines and members are in step.
            let member = self.member_of(&line)?;
            if order == Some(std::cmp::Ordering::Equal) {
                return Ok(member.and_then(|member| self.found(line, &member)));
            }
        }
    }

    fn found(&self, line: metadata::Line, member: &IndexEntry) -> Option<Earlier> {
        let sha256 = member.line.sha256.filter(|_| !member.line.damaged)?;
        let content = EarlierContent::Region(content(&self.whole, member), sha256);
        let note = self.notes.get(&member.line.path).cloned();
        Some(Earlier { graph: line.graph, content, note })
    }

    /// The member of a line. Members come in the order of the lines that have a path, and each
    /// has its line (format 4): one that is not the line's belongs to a later one.
    fn member_of(&mut self, line: &metadata::Line) -> Result<Option<IndexEntry>, Error> {
        let Some(path) = &line.path else { return Ok(None) };
        if self.member.is_none() {
            self.member = self.members.next_entry().map_err(damaged)?;
        }
        Ok(self.member.take_if(|member| member.line.path == *path))
    }
}

/// The ledger of a sealed archive, proven when its end is reached.
pub(crate) fn ledger(
    whole: &Region,
    seal: &archive::Seal,
) -> Result<Lines<BufReader<impl Read>>, Error> {
    let mut reader = whole.reader();
    let failed =
        |source: io::Error| damaged(archive::Error::Read { offset: seal.ledger.offset, source });
    reader.seek(SeekFrom::Start(seal.ledger.offset)).map_err(failed)?;
    let content = Proven::new(reader.take(seal.ledger.length), Some(seal.ledger.sha256));
    Ok(Lines::new(BufReader::new(content), LEDGER_PATH))
}

/// The ledger's lines of items that have a member: they are what they are again. All of the
/// ledger is proven.
fn notes(whole: &Region, seal: &archive::Seal) -> Result<BTreeMap<String, Note>, Error> {
    let mut notes = BTreeMap::new();
    let mut lines = ledger(whole, seal)?;
    while let Some(text) = lines.next_text().map_err(damaged)? {
        let line = LedgerLine::parse(&text).map_err(damaged)?;
        if let (Outcome::Converted, Some(path)) = (line.outcome, line.path) {
            let (outcome, cause, code) = (line.outcome, line.cause, line.code);
            notes.insert(path, Note { outcome, cause, code, message: line.message, part: None });
        }
    }
    Ok(notes)
}
