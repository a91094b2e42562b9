//! Takes the members as they come and gives each to the part that can prove it.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    MAX_PROBLEMS, ledger, manifest,
    paths::{Paths, Use},
    problems::Problems,
    section::Section,
};
use crate::{
    Error, HEAD_PATH, LEDGER_PATH, MANIFEST_PATH,
    digest::Sha256Digest,
    head::Head,
    index::MAX_HEAD,
    json,
    manifest::ManifestLine,
    metadata::{Lines, SERVICES, section_of},
    path,
    reader::{Entry, Kind, Reader},
    seal::Extent,
    spool::Spool,
    writer::Counters,
};

/// Which part of the stream was reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Start,
    Body,
    Manifest,
    Ledger,
}

/// All that is known of the members so far.
pub(super) struct Members {
    pub(super) problems: Problems,
    /// Members seen.
    pub(super) count: u64,
    /// Members the manifest has to list: those before it.
    pub(super) listed: u64,
    pub(super) items: u64,
    pub(super) ledger_counts: Counters,
    /// Format version of the head.
    pub(super) format: Option<u32>,
    pub(super) manifest: Option<Extent>,
    pub(super) ledger: Option<Extent>,
    part: Part,
    spool_dir: PathBuf,
    services: Vec<String>,
    section: Option<Section>,
    /// Owner id, owner path and service of the last section of a user.
    user: Option<(String, String, Option<usize>)>,
    paths: Paths,
    /// The manifest as it should be.
    expected: Spool,
    /// Metadata lines with a path and how they ended, see [`Section`].
    sequence: Spool,
    /// Damaged files of the manifest.
    damaged: Spool,
}

impl Members {
    pub(super) fn new(spool_dir: &Path) -> Result<Self, Error> {
        Ok(Members {
            problems: Problems::default(),
            count: 0,
            listed: 0,
            items: 0,
            ledger_counts: Counters::default(),
            format: None,
            manifest: None,
            ledger: None,
            part: Part::Start,
            spool_dir: spool_dir.to_owned(),
            services: Vec::new(),
            section: None,
            user: None,
            paths: Paths::new(spool_dir),
            expected: Spool::new(spool_dir)?,
            sequence: Spool::new(spool_dir)?,
            damaged: Spool::new(spool_dir)?,
        })
    }

    /// Takes one member and reads its content to the end.
    pub(super) fn member<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        entry: &Entry,
    ) -> Result<(), Error> {
        self.count += 1;
        if !reader.has_canonical_header(entry) {
            self.problems.add(&entry.path, "its header is not the canonical one");
        }
        match (entry.path.as_str(), self.part) {
            (MANIFEST_PATH, Part::Body) => return self.manifest(reader, entry),
            (LEDGER_PATH, Part::Manifest) => return self.ledger(reader, entry),
            (HEAD_PATH, Part::Start) => self.head(reader)?,
            (path, part) => {
                self.check_path(path, part);
                self.body(reader, entry)?;
            }
        }
        if self.part == Part::Start {
            self.part = Part::Body;
        }
        let sha256 = self.digest(reader, &entry.path)?;
        if self.part > Part::Body {
            return Ok(());
        }
        let use_ = if entry.kind == Kind::Directory { Use::Directory } else { Use::File };
        self.paths.add(&entry.path, use_, self.listed)?;
        self.expected.push(manifest::expected(entry, sha256).as_bytes())?;
        self.listed += 1;
        Ok(())
    }

    /// The problems of all members, with those that show only at the end.
    pub(super) fn finish(mut self) -> Result<Problems, Error> {
        let mut collisions = self.paths.collisions(MAX_PROBLEMS)?;
        collisions.sort_by_key(|collision| collision.ordinal);
        let mut lines = self.expected.reader()?;
        let mut next = 0;
        for collision in collisions {
            let mut line = None;
            while next <= collision.ordinal {
                line = lines.line()?.or(line);
                next += 1;
            }
            let path = line.and_then(|line| ManifestLine::parse(&line[1..]).ok());
            let path = path.map_or_else(|| "a member".into(), |line| line.path);
            self.problems.add(&path, collision.what);
        }
        Ok(self.problems)
    }

    fn head<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<(), Error> {
        let outcome = reader.content().into_vec(MAX_HEAD).and_then(|text| {
            let head = Head::parse(&text)?;
            Ok((head.encode().into_bytes() == text, head))
        });
        let Some((canonical, head)) = self.problems.absorb(HEAD_PATH, outcome)? else {
            return Ok(());
        };
        if !canonical {
            self.problems.add(HEAD_PATH, "the JSON is not canonical");
        }
        self.format = Some(head.format);
        self.services = head.services;
        Ok(())
    }

    /// A member between head and manifest.
    fn body<R: Read>(&mut self, reader: &mut Reader<R>, entry: &Entry) -> Result<(), Error> {
        let path = entry.path.as_str();
        if let Some(section) = &mut self.section
            && section.contains(path)
        {
            self.items += u64::from(entry.kind == Kind::File);
            return section.member(path, entry.kind, &mut self.sequence, &mut self.problems);
        }
        self.end_section()?;
        if entry.kind == Kind::File && entry.sha256.is_none() {
            self.problems.add(path, "it carries no digest");
        }
        let is_directory = path.starts_with("directory/");
        match path.rsplit_once('.') {
            Some((_, "ndjson")) if is_directory => self.json_lines(reader, path),
            Some((_, "ndjson")) => self.begin_section(reader, path),
            Some((_, "json")) if is_directory => self.json_lines(reader, path),
            _ => {
                self.problems.add(path, "it belongs to no metadata");
                Ok(())
            }
        }
    }

    fn begin_section<R: Read>(&mut self, reader: &mut Reader<R>, path: &str) -> Result<(), Error> {
        let content = reader.content();
        let section = Section::read(content, path, &self.spool_dir, &mut self.problems)?;
        if let Some((_, service)) = section_of(path) {
            let user = section.prefix.rsplit_once('/').map_or("", |(owner, _)| owner);
            if !self.services.iter().any(|listed| listed == service) {
                self.problems.add(path, "the head does not list its service");
            }
            let owner = section.owner.clone().unwrap_or_default();
            let place = SERVICES.iter().position(|known| *known == service);
            if let Some((owner_before, user_before, place_before)) = &self.user {
                let same = *owner_before == owner;
                let sorted = *owner_before < owner || same && *place_before < place;
                if !sorted || same != (user_before == user) {
                    self.problems.add(path, "the owner or service is out of order");
                }
            }
            self.user = Some((owner, user.to_owned(), place));
        }
        self.section = Some(section);
        Ok(())
    }

    fn end_section(&mut self) -> Result<(), Error> {
        match self.section.take() {
            Some(section) => section.finish(&mut self.sequence),
            None => Ok(()),
        }
    }

    /// Canonical JSON, a value a line, about which nothing more is known.
    fn json_lines<R: Read>(&mut self, reader: &mut Reader<R>, path: &str) -> Result<(), Error> {
        let mut lines = Lines::new(reader.content(), path);
        while let Some(Some(text)) = self.problems.absorb(path, lines.next_text())? {
            let place = lines.place();
            let value = serde_json::from_str(&text)
                .map_err(|source| Error::Json { place: place.clone(), source });
            if let Some(value) = self.problems.absorb(&place, value)?
                && json::canonical(&value) != text
            {
                self.problems.add(&place, "the JSON is not canonical");
            }
        }
        Ok(())
    }

    fn manifest<R: Read>(&mut self, reader: &mut Reader<R>, entry: &Entry) -> Result<(), Error> {
        self.end_section()?;
        self.part = Part::Manifest;
        let mut expected = self.expected.reader()?;
        let content = reader.content();
        manifest::check(content, &mut expected, &mut self.damaged, &mut self.problems)?;
        self.manifest = self.extent(reader, entry)?;
        Ok(())
    }

    fn ledger<R: Read>(&mut self, reader: &mut Reader<R>, entry: &Entry) -> Result<(), Error> {
        self.part = Part::Ledger;
        let (sequence, damaged) = (self.sequence.reader()?, self.damaged.reader()?);
        let content = reader.content();
        self.ledger_counts = ledger::check(content, sequence, damaged, &mut self.problems)?;
        self.ledger = self.extent(reader, entry)?;
        Ok(())
    }

    /// Where a member lies, and its digest.
    fn extent<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        entry: &Entry,
    ) -> Result<Option<Extent>, Error> {
        if entry.sha256.is_none() {
            self.problems.add(&entry.path, "it carries no digest");
        }
        let sha256 = self.digest(reader, &entry.path)?;
        let (offset, length) = (entry.data_offset, entry.size);
        Ok(sha256.map(|sha256| Extent { offset, length, sha256 }))
    }

    /// Reads what is left of the content; its digest.
    fn digest<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        path: &str,
    ) -> Result<Option<Sha256Digest>, Error> {
        match self.problems.absorb(path, reader.content().verify())? {
            Some(sha256) => Ok(sha256),
            // The mismatch is told once; now the digest that was found.
            None => reader.content().verify(),
        }
    }

    fn check_path(&mut self, path: &str, part: Part) {
        if let Err(error) = path::check(path) {
            self.problems.add_error(path, &error);
        } else if !path.split('/').all(path::is_portable) {
            self.problems.add(path, "a component is not portable");
        }
        if path.starts_with(".tar365/") {
            self.problems.add(path, "a member of the format itself is unknown or out of place");
        } else if part == Part::Start {
            self.problems.add(path, "the first member is not the head");
        } else if part > Part::Body {
            self.problems.add(path, "it stands behind the manifest");
        }
    }
}
