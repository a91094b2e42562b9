//! A base on a pipe: read once, in step with the export.

use std::io::{self, BufReader, Read, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use archive::manifest::ManifestLine;
use archive::metadata::{self, Lines};
use archive::{
    Entry, HEAD_PATH, Head, Kind, LEDGER_PATH, MANIFEST_PATH, Reader, SEAL_PATH, Sha256Digest,
};
use quickxorhash::QuickXorHash;
use sha2::{Digest as _, Sha256};

use super::{Earlier, EarlierContent, Ended, damaged, lock, place};
use crate::Error;
use crate::context::Context;
use crate::outcome::Tally;
use crate::service::calendar::content::is_incomplete;
use crate::spool::{Spooled, Turn};
use crate::substitute;

/// Largest head we read, in bytes.
const MAX_HEAD: u64 = 1024 * 1024;
/// Bytes moved at a time.
const PIECE: usize = 128 * 1024;

/// See [`super::BaseSource::Stream`].
pub(super) struct StreamBase {
    reader: Reader<Box<dyn Read + Send>>,
    ended: Option<Ended>,
    head: Head,
    head_sha256: Sha256Digest,
    incomplete: bool,
    /// The digests of manifest and ledger, once they have passed.
    tail: Vec<(Sha256Digest, u64)>,
    /// The member at hand: its content was not read yet.
    entry: Option<Entry>,
    /// The section at hand, until somebody asks for it.
    section: Option<Metadata>,
    /// Nothing more comes.
    over: bool,
    /// And that is the end of the export: who asks next must not take it for nothing being there.
    failed: bool,
}

/// The metadata of a section, kept while its items pass.
struct Metadata {
    owner: String,
    service: String,
    digest: String,
    file: std::fs::File,
    path: String,
}

impl Metadata {
    /// Its place in the stream: by owner's id, then by service.
    fn is_before(&self, owner: &str, service: &str) -> bool {
        let rank = |name: &str| metadata::SERVICES.iter().position(|service| *service == name);
        (self.owner.as_str(), rank(&self.service)) < (owner, rank(service))
    }
}

impl StreamBase {
    pub(super) fn open(
        input: Box<dyn Read + Send>,
        ended: Ended,
        incomplete: bool,
    ) -> Result<Self, Error> {
        let mut reader = Reader::new(input);
        let mut ended = Some(ended);
        let first = reader.next_entry().map_err(|error| broken_by(&mut ended, error))?;
        if first.is_none_or(|entry| entry.path != HEAD_PATH) {
            let what = "it does not begin like an archive of tar365".to_owned();
            return Err(Error::Base { what });
        }
        let head = reader.content().into_vec(MAX_HEAD);
        let head = head.map_err(|error| broken_by(&mut ended, error))?;
        Ok(Self {
            head_sha256: Sha256::digest(&head).into(),
            head: Head::parse(&head).map_err(damaged)?,
            reader,
            ended,
            incomplete,
            tail: Vec::new(),
            entry: None,
            section: None,
            over: false,
            failed: false,
        })
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    /// The next member. A stream that may be incomplete just ends.
    fn next(&mut self) -> Result<Option<Entry>, Error> {
        if let Some(entry) = self.entry.take() {
            return Ok(Some(entry));
        }
        if self.failed {
            return Err(Error::BaseEnded { what: "it broke off before".to_owned() });
        }
        if self.over {
            return Ok(None);
        }
        let next = self.reader.next_entry().and_then(|next| match next {
            Some(entry) if entry.path != MANIFEST_PATH => Ok(Some(entry)),
            Some(entry) => self.prove_manifest(&entry).map(|()| None),
            // Without a manifest it does not end: told now, not after hours of fetching.
            None => self.reader.finish()?.into_seal().map(|_| None),
        });
        match next {
            Ok(Some(entry)) => Ok(Some(entry)),
            Ok(None) => {
                self.over = true;
                Ok(None)
            }
            Err(error) => self.broken(error).map(|()| None),
        }
    }

    /// What a broken stream means: its end, or the end of the export.
    fn broken(&mut self, error: archive::Error) -> Result<(), Error> {
        self.over = true;
        match broken_by(&mut self.ended, error) {
            Error::BadBase(_) if self.incomplete => Ok(()),
            error => {
                self.failed = true;
                Err(error)
            }
        }
    }

    /// Reads the manifest, which its own digest proves; it proves the head.
    fn prove_manifest(&mut self, entry: &Entry) -> Result<(), archive::Error> {
        let bad = |what: &str| archive::Error::Invalid {
            place: MANIFEST_PATH.to_owned(),
            what: what.to_owned(),
        };
        let mut lines = Lines::new(BufReader::new(self.reader.content()), MANIFEST_PATH);
        let first = lines.next_text()?.ok_or_else(|| bad("it is empty"))?;
        while lines.next_text()?.is_some() {}
        if ManifestLine::parse(&first)?.sha256 != Some(self.head_sha256) {
            return Err(archive::Error::Digest { path: HEAD_PATH.to_owned() });
        }
        self.tail.extend(entry.sha256.map(|sha256| (sha256, entry.size)));
        Ok(())
    }

    /// What is left of the stream; the seal, which must be that of this manifest and ledger.
    fn rest(&mut self) -> Result<(), archive::Error> {
        while let Some(entry) = self.reader.next_entry()? {
            if entry.path == MANIFEST_PATH {
                self.prove_manifest(&entry)?;
            } else if entry.path == LEDGER_PATH {
                io::copy(&mut self.reader.content(), &mut io::sink())
                    .map_err(|error| archive::Error::from_content(LEDGER_PATH, error))?;
                self.tail.extend(entry.sha256.map(|sha256| (sha256, entry.size)));
            }
        }
        let seal = self.reader.finish()?.into_seal()?;
        let sealed = [seal.manifest, seal.ledger].map(|extent| (extent.sha256, extent.length));
        if self.tail != sealed {
            let what = "it is not that of the manifest and the ledger before it".to_owned();
            return Err(archive::Error::Invalid { place: SEAL_PATH.to_owned(), what });
        }
        Ok(())
    }

    /// Moves on to the section of that owner and service; its metadata, if it is there.
    fn seek(&mut self, owner: &str, service: &str, dir: &Path) -> Result<Option<Metadata>, Error> {
        loop {
            if self.section.is_none() {
                let Some(entry) = self.next()? else { return Ok(None) };
                let Some((_, name)) = metadata::section_of(&entry.path) else { continue };
                let name = name.to_owned();
                self.section = self.keep(&entry, &name, dir)?;
                continue;
            }
            let is_before = |section: &mut Metadata| section.is_before(owner, service);
            if self.section.take_if(is_before).is_none() {
                let is_it = |at: &mut Metadata| at.owner == owner && at.service == service;
                return Ok(self.section.take_if(is_it));
            }
        }
    }

    /// Keeps the metadata that passes, proven.
    fn keep(
        &mut self,
        entry: &Entry,
        service: &str,
        dir: &Path,
    ) -> Result<Option<Metadata>, Error> {
        let spool = |source| Error::Spool { dir: dir.to_owned(), source };
        let mut file = tempfile::tempfile_in(dir).map_err(spool)?;
        let mut content = self.reader.content();
        let mut buffer = vec![0; PIECE];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => file.write_all(&buffer[..read]).map_err(spool)?,
                Err(error) => {
                    let error = archive::Error::from_content(&entry.path, error);
                    return self.broken(error).map(|()| None);
                }
            }
        }
        let mut kept = Metadata {
            owner: String::new(),
            service: service.to_owned(),
            digest: entry.sha256.as_ref().map(archive::hex).unwrap_or_default(),
            file,
            path: entry.path.clone(),
        };
        let owner = kept.lines(dir)?.next_line().map_err(damaged)?;
        match owner.filter(|line| line.kind == metadata::OWNER) {
            Some(owner) => kept.owner = owner.id,
            None => return Ok(None),
        }
        Ok(Some(kept))
    }

    /// The member at this path, if it is the next one.
    fn member(&mut self, path: &str) -> Result<Option<Entry>, Error> {
        let Some(entry) = self.next()? else { return Ok(None) };
        if entry.path == path {
            return Ok(Some(entry));
        }
        self.entry = Some(entry);
        Ok(None)
    }

    /// Reads what is left, and asks who wrote it.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        if let Err(error) = self.rest() {
            self.broken(error)?;
            // Who wrote it is not asked: what is broken may go on for ever.
            return Ok(());
        }
        self.ended.take().map_or(Ok(()), |ended| ended()).map_err(|what| Error::BaseEnded { what })
    }
}

impl Metadata {
    fn lines(&mut self, dir: &Path) -> Result<Lines<BufReader<std::fs::File>>, Error> {
        let spool = |source| Error::Spool { dir: dir.to_owned(), source };
        let mut file = self.file.try_clone().map_err(spool)?;
        io::Seek::rewind(&mut file).map_err(spool)?;
        Ok(Lines::new(BufReader::new(file), &self.path))
    }
}

/// One section of a base on a pipe.
pub(crate) struct StreamSection {
    base: Arc<Mutex<StreamBase>>,
    lines: Lines<BufReader<std::fs::File>>,
    line: Option<metadata::Line>,
    digest: String,
}

impl StreamSection {
    pub(super) fn find(
        base: &Arc<Mutex<StreamBase>>,
        owner: &str,
        service: &str,
        dir: &Path,
    ) -> Result<Option<Self>, Error> {
        tokio::task::block_in_place(|| {
            let found = lock(base).seek(owner, service, dir)?;
            let Some(mut metadata) = found else { return Ok(None) };
            let lines = metadata.lines(dir)?;
            let digest = std::mem::take(&mut metadata.digest);
            Ok(Some(Self { base: Arc::clone(base), lines, line: None, digest }))
        })
    }

    pub(super) fn metadata(&self) -> &str {
        &self.digest
    }

    /// The item at this place, its content taken off the pipe.
    pub(super) async fn take(
        &mut self,
        context: &Context,
        key: i64,
        id: &str,
        turn: Turn,
    ) -> Result<Option<Earlier>, Error> {
        loop {
            if self.line.is_none() {
                self.line =
                    tokio::task::block_in_place(|| self.lines.next_line()).map_err(damaged)?;
            }
            let Some(line) = &self.line else { return Ok(None) };
            let order = place(line).map(|place| place.cmp(&(key, id)));
            if order == Some(std::cmp::Ordering::Greater) {
                return Ok(None);
            }
            let Some(line) = self.line.take() else { return Ok(None) };
            let member = match &line.path {
                Some(path) => tokio::task::block_in_place(|| lock(&self.base).member(path))?,
                None => None,
            };
            if order != Some(std::cmp::Ordering::Equal) {
                continue;
            }
            let Some(entry) = member.filter(|entry| entry.kind == Kind::File) else {
                return Ok(None);
            };
            return self.content(context, line, &entry, turn).await;
        }
    }

    /// Takes the content off the pipe. What nothing proves is as if it were not there: the digest
    /// that the member carries proves it, or else the service's own hash.
    async fn content(
        &self,
        context: &Context,
        line: metadata::Line,
        entry: &Entry,
        turn: Turn,
    ) -> Result<Option<Earlier>, Error> {
        let listed = line.graph.pointer("/file/hashes/quickXorHash").and_then(|h| h.as_str());
        let is_provable = entry.sha256.is_some() || listed.is_some();
        if !is_provable || entry.size > context.spool.longest() {
            return Ok(None);
        }
        let mut draft = context.spool.patient_draft(turn, entry.sha256.is_some());
        let mut hash = listed.is_some().then(QuickXorHash::new);
        let mut end = Vec::new();
        let mut buffer = vec![0; PIECE];
        loop {
            let read =
                tokio::task::block_in_place(|| lock(&self.base).reader.content().read(&mut buffer));
            match read {
                Ok(0) => break,
                Ok(read) => {
                    if let Some(hash) = &mut hash {
                        hash.update(&buffer[..read]);
                    }
                    keep_end(&mut end, &buffer[..read]);
                    context.write(&mut draft, &buffer[..read]).await?;
                }
                Err(error) => {
                    let error = archive::Error::from_content(&entry.path, error);
                    // A bad item is fetched again; a stream that ends is the stream's matter.
                    if matches!(error, archive::Error::Digest { .. }) {
                        Tally::add(&context.tally.bad_in_base, 1);
                        let what =
                            format!("{} is bad in the base and is fetched again", entry.path);
                        context.monitor.warn(&what);
                        return Ok(None);
                    }
                    lock(&self.base).broken(error)?;
                    return Ok(None);
                }
            }
        }
        // Read to its end, it was what its digest says.
        let spooled: Spooled = match entry.sha256 {
            Some(sha256) => draft.finish_proven(sha256).map_err(|e| context.spool_error(e))?,
            None => context.finish(draft)?,
        };
        let is_ours = match line.kind.as_str() {
            archive::metadata::EVENT => is_incomplete(&end),
            _ => substitute::is_end(&end, &line.id),
        };
        if listed.map(str::to_owned) != hash.map(encode) || is_ours {
            // Its bytes then were not what the service said, or not the service's at all. The
            // ledger that tells so comes too late: it is to be told anew.
            return Ok(None);
        }
        let content = EarlierContent::Spooled(spooled);
        Ok(Some(Earlier { graph: line.graph, content, note: None }))
    }
}

/// Why a stream is broken. Who wrote one that is cut knows; else he may be writing still, and is
/// not asked.
fn broken_by(ended: &mut Option<Ended>, error: archive::Error) -> Error {
    let is_cut = matches!(error, archive::Error::Truncated { .. } | archive::Error::Unsealed);
    match ended.take_if(|_| is_cut).map(|ended| ended()) {
        Some(Err(what)) => Error::BaseEnded { what },
        _ => damaged(error),
    }
}

/// The last bytes of a content, as it passes.
fn keep_end(end: &mut Vec<u8>, piece: &[u8]) {
    end.extend_from_slice(&piece[piece.len().saturating_sub(substitute::LONGEST_END)..]);
    end.drain(..end.len().saturating_sub(substitute::LONGEST_END));
}

fn encode(mut hash: QuickXorHash) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(hash.finalize())
}
