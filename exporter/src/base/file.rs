//! A base in a file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use archive::index::{Entries, Position};
use archive::metadata::{self, Lines};
use archive::region::RegionReader;
use archive::{Head, Index, IndexEntry, LEDGER_PATH, LedgerLine, Outcome, Reader, Region};

use super::{Earlier, EarlierContent, damaged, place};
use crate::Error;
use crate::service::Note;

/// A sealed archive in a file.
pub(super) struct FileBase {
    whole: Region,
    file: Arc<File>,
    head: Head,
    /// By owner's id and service.
    sections: HashMap<(String, String), Place>,
    /// What the ledger says of items that are there all the same.
    notes: Arc<HashMap<String, Note>>,
}

/// Where a section is.
#[derive(Debug, Clone)]
struct Place {
    metadata: IndexEntry,
    members: Position,
}

impl FileBase {
    pub(super) fn open(file: &Arc<File>) -> Result<Self, Error> {
        let failed = |source| damaged(archive::Error::Read { offset: 0, source });
        let length = file.metadata().map_err(failed)?.len();
        let whole = Region::new(Arc::clone(file), 0, length);
        let index = Index::open(whole.reader()).map_err(damaged)?;
        let (head, seal) = (index.head().clone(), index.seal().clone());
        let mut base = Self {
            notes: Arc::new(notes(&whole, &seal)?),
            whole,
            file: Arc::clone(file),
            head,
            sections: HashMap::new(),
        };
        let mut entries = index.into_entries().map_err(damaged)?;
        while let Some(entry) = entries.next_entry().map_err(damaged)? {
            let Some((_, service)) = metadata_of(&entry.line.path) else { continue };
            let mut lines = base.lines(&entry)?;
            let Some(first) = lines.next_line().map_err(damaged)? else { continue };
            if first.kind == metadata::OWNER {
                let place = Place { members: entries.position(), metadata: entry.clone() };
                base.sections.insert((first.id, service.to_owned()), place);
            }
        }
        Ok(base)
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// The section of that owner and service. Its metadata is proven first.
    pub(super) fn section(&self, owner: &str, service: &str) -> Result<Option<FileSection>, Error> {
        let key = (owner.to_owned(), service.to_owned());
        let Some(Place { metadata, members }) = self.sections.get(&key) else { return Ok(None) };
        let content = self.content(metadata);
        let Some(sha256) = metadata.line.sha256 else { return Ok(None) };
        super::prove(&content, sha256)
            .map_err(|error| damaged(archive::Error::from_content(&metadata.line.path, error)))?;
        let index = Index::open(self.whole.reader()).map_err(damaged)?;
        let members = index.into_entries_at(*members).map_err(damaged)?;
        Ok(Some(FileSection {
            file: Arc::clone(&self.file),
            lines: self.lines(metadata)?,
            members,
            line: None,
            member: None,
            notes: Arc::clone(&self.notes),
            digest: archive::hex(&sha256),
        }))
    }

    fn lines(&self, metadata: &IndexEntry) -> Result<Lines<BufReader<RegionReader>>, Error> {
        // The header is looked at once, so that a manifest that lies is told.
        let region = Region::new(Arc::clone(&self.file), metadata.offset, metadata.line.span);
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
        content(&self.file, entry)
    }
}

/// The content of a member. What stands before it is as long as what the span leaves.
fn content(file: &Arc<File>, entry: &IndexEntry) -> Region {
    let line = &entry.line;
    let header = line.span.saturating_sub(line.size.next_multiple_of(512));
    Region::new(Arc::clone(file), entry.offset + header, line.size)
}

/// One section of a base in a file.
pub(crate) struct FileSection {
    file: Arc<File>,
    lines: Lines<BufReader<RegionReader>>,
    members: Entries<RegionReader>,
    /// The item at hand.
    line: Option<metadata::Line>,
    /// The member at hand.
    member: Option<IndexEntry>,
    notes: Arc<HashMap<String, Note>>,
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
        let content = EarlierContent::Region(content(&self.file, member), sha256);
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

/// `users/<upn>/<service>.ndjson`: the prefix and the service.
pub(super) fn metadata_of(path: &str) -> Option<(&str, &str)> {
    let prefix = path.strip_suffix(".ndjson")?;
    let mut parts = prefix.split('/');
    let (_, _, Some(service), None) = (parts.next()?, parts.next()?, parts.next(), parts.next())
    else {
        return None;
    };
    prefix.starts_with("users/").then_some((prefix, service))
}

/// The ledger's lines of items that have a member: they are what they are again.
fn notes(whole: &Region, seal: &archive::Seal) -> Result<HashMap<String, Note>, Error> {
    let mut notes = HashMap::new();
    if seal.converted == 0 {
        return Ok(notes);
    }
    let mut reader = whole.reader();
    let failed =
        |source: io::Error| damaged(archive::Error::Read { offset: seal.ledger.offset, source });
    reader.seek(SeekFrom::Start(seal.ledger.offset)).map_err(failed)?;
    let content = BufReader::new(reader.take(seal.ledger.length));
    let mut lines = Lines::new(content, LEDGER_PATH);
    while let Some(text) = lines.next_text().map_err(damaged)? {
        let line = LedgerLine::parse(&text).map_err(damaged)?;
        if let (Outcome::Converted, Some(path)) = (line.outcome, line.path) {
            let (outcome, cause, code) = (line.outcome, line.cause, line.code);
            notes.insert(path, Note { outcome, cause, code, message: line.message });
        }
    }
    Ok(notes)
}
