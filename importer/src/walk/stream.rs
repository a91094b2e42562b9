//! An archive on a pipe: as it comes, in constant memory.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc as blocking;

use archive::metadata::{Lines, section_of};
use archive::{Entry, HEAD_PATH, Kind, MANIFEST_PATH, ManifestLine, Reader, Sha256Digest};
use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{AHEAD, Ask, Found, Job, Seen, Task, Walked};
use crate::content::{Content, Passing};
use crate::error::Error;
use crate::item::Item;
use crate::work::Work;

/// Bytes that pass by at a time, and how many such pieces wait for who takes them.
const PIECE: usize = 256 * 1024;
const PIECES: usize = 8;
/// Largest head we read, in bytes.
const MAX_HEAD: u64 = 1024 * 1024;

/// The section the stream is at.
struct Open {
    prefix: String,
    work: Arc<Work>,
    jobs: mpsc::Sender<Job>,
    left: u64,
}

/// A file that carries no digest: only the manifest at the end tells whether it was right.
struct Unproven {
    section: String,
    path: String,
    sha256: Sha256Digest,
}

/// Walks a stream to its end, or to where nothing more can be wanted.
pub(crate) fn walk(
    input: Box<dyn Read + Send>,
    ask: &Arc<Ask>,
    tasks: &mpsc::Sender<Task>,
) -> Result<Walked, Error> {
    let mut walker = Walker {
        ask,
        tasks,
        seen: Seen::default(),
        open: None,
        unproven: Vec::new(),
        walked: Walked::default(),
    };
    let mut reader = Reader::new(input);
    match walker.run(&mut reader) {
        Ok(()) => {}
        // What was given out before was whole; the rest is not there.
        Err(Error::Archive(error)) if walker.walked.sections > 0 => {
            walker.walked.broken = Some(error);
        }
        Err(error) => return Err(error),
    }
    Ok(walker.walked)
}

struct Walker<'a> {
    ask: &'a Arc<Ask>,
    tasks: &'a mpsc::Sender<Task>,
    seen: Seen,
    open: Option<Open>,
    unproven: Vec<Unproven>,
    walked: Walked,
}

impl Walker<'_> {
    fn run(&mut self, reader: &mut Reader<Box<dyn Read + Send>>) -> Result<(), Error> {
        let first = reader.next_entry()?;
        if first.is_none_or(|entry| entry.path != HEAD_PATH) {
            let what = "it is not the first member: this is no archive of tar365".to_owned();
            return Err(archive::Error::Invalid { place: HEAD_PATH.into(), what }.into());
        }
        archive::Head::parse(&reader.content().into_vec(MAX_HEAD)?)?;
        while let Some(entry) = reader.next_entry()? {
            if let Some((prefix, service)) = section_of(&entry.path) {
                self.open = None;
                if self.seen.is_over_at(prefix, &self.ask.chooser) && self.unproven.is_empty() {
                    return Ok(());
                }
                if let Some(service) = self.ask.chooser.service(service) {
                    self.open(reader, &entry, prefix, service)?;
                }
            } else if entry.path == MANIFEST_PATH {
                self.open = None;
                self.settle(reader)?;
            } else if entry.kind == Kind::File {
                self.item(reader, &entry)?;
            }
            let is_idle = self.open.as_ref().is_none_or(|open| open.left == 0);
            if is_idle && self.unproven.is_empty() && self.seen.is_over(&self.ask.chooser) {
                self.open = None;
                return Ok(());
            }
        }
        self.open = None;
        self.walked.end = Some(reader.finish()?);
        Ok(())
    }

    fn open(
        &mut self,
        reader: &mut Reader<Box<dyn Read + Send>>,
        entry: &Entry,
        prefix: &str,
        service: crate::Service,
    ) -> Result<(), Error> {
        // Not buffered once more: all lines come before the digest is found wrong.
        let content = reader.content();
        let found = match self.ask.section(prefix, service, content, entry.sha256.as_ref())? {
            Found::Unwanted => return Ok(()),
            Found::Whole(section, work) => Some((section, work)),
            // If it is the stream that broke off, the next look at it says so.
            Found::Damaged(found, what) => {
                self.walked.damaged.push((prefix.to_owned(), what));
                found
            }
        };
        self.seen.section(prefix);
        self.walked.sections += 1;
        let Some((section, work)) = found else { return Ok(()) };
        let (jobs, receiver) = mpsc::channel(AHEAD);
        let (left, work) = (work.count()?, Arc::new(work));
        let task = Task { section, work: Arc::clone(&work), jobs: receiver };
        self.tasks.blocking_send(task).map_err(|_| Error::Interrupted)?;
        self.open = Some(Open { prefix: prefix.to_owned(), work, jobs, left });
        Ok(())
    }

    fn item(
        &mut self,
        reader: &mut Reader<Box<dyn Read + Send>>,
        entry: &Entry,
    ) -> Result<(), Error> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.left == 0 {
            return Ok(());
        }
        let Some(line) = open.work.take(&entry.path)? else { return Ok(()) };
        open.left -= 1;
        if open.jobs.is_closed() {
            // Who took the section gave it up: its items are counted as missing there.
            return Ok(());
        }
        let item = |content| {
            Job::Item(Box::new(Item {
                path: entry.path.clone(),
                mtime: entry.mtime,
                size: entry.size,
                converted: false,
                is_doubtful: false,
                may_be_late: false,
                line,
                content,
            }))
        };
        let mut proof = None;
        if entry.size > self.ask.spool_limit {
            let (pieces, receiver) = blocking::sync_channel(PIECES);
            let passing = Passing::new(Box::new(Pieces::new(receiver)));
            if open.jobs.blocking_send(item(Content::Passing(passing))).is_ok() {
                proof = pass(reader.content(), &pieces)?;
            }
        } else {
            let mut content = Hashing { inner: reader.content(), digest: Sha256::new() };
            let job = match self.ask.content(&mut content, entry.size, &entry.path) {
                Ok(whole) => {
                    proof = Some(content.digest.finalize().into());
                    item(whole)
                }
                Err(Error::Archive(error @ archive::Error::Digest { .. })) => {
                    Job::Bad { path: entry.path.clone(), error: error.into() }
                }
                Err(error @ Error::Spool { .. }) => return Err(error),
                // The stream ends in the middle of it: the item must know, and so must the walk.
                Err(error) => {
                    let path = entry.path.clone();
                    let told = std::io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string());
                    let bad = Error::Content { path: path.clone(), source: told };
                    drop(open.jobs.blocking_send(Job::Bad { path, error: bad }));
                    return Err(error);
                }
            };
            // A receiver that is gone gave the section up, and says so itself.
            drop(open.jobs.blocking_send(job));
        }
        if let (None, Some(sha256)) = (entry.sha256, proof) {
            let (section, path) = (open.prefix.clone(), entry.path.clone());
            self.unproven.push(Unproven { section, path, sha256 });
        }
        Ok(())
    }

    /// The manifest passes by: it speaks of the files that carry no digest themselves.
    fn settle(&mut self, reader: &mut Reader<Box<dyn Read + Send>>) -> Result<(), Error> {
        if self.unproven.is_empty() {
            return Ok(());
        }
        let mut waiting = std::mem::take(&mut self.unproven);
        let mut lines = Lines::new(BufReader::new(reader.content()), MANIFEST_PATH);
        while let Some(text) = lines.next_text()? {
            let line = ManifestLine::parse(&text)?;
            let Some(at) = waiting.iter().position(|file| file.path == line.path) else { continue };
            let file = waiting.swap_remove(at);
            if line.damaged || line.sha256 != Some(file.sha256) {
                self.walked.disproven.push((file.section, file.path));
            }
        }
        let unknown = waiting.into_iter().map(|file| (file.section, file.path));
        self.walked.disproven.extend(unknown);
        Ok(())
    }
}

/// Hands the content on while it is read; its digest, if all of it was.
fn pass(
    mut content: impl Read,
    pieces: &blocking::SyncSender<io::Result<Bytes>>,
) -> Result<Option<Sha256Digest>, Error> {
    let mut digest = Sha256::new();
    loop {
        let mut piece = vec![0; PIECE];
        let read = match content.read(&mut piece) {
            Ok(read) => read,
            Err(error) => {
                let error = archive::Error::from_content("a passing file", error);
                drop(pieces.send(Err(io::Error::other(error.to_string()))));
                return match error {
                    // The item knows; the stream goes on.
                    archive::Error::Digest { .. } => Ok(None),
                    error => Err(error.into()),
                };
            }
        };
        if read == 0 {
            drop(pieces.send(Ok(Bytes::new())));
            return Ok(Some(digest.finalize().into()));
        }
        piece.truncate(read);
        digest.update(&piece);
        if pieces.send(Ok(piece.into())).is_err() {
            // Nobody wants the rest.
            return Ok(None);
        }
    }
}

/// Reads what [`pass`] hands on. An empty piece is the end: without it the stream broke.
struct Pieces {
    receiver: blocking::Receiver<io::Result<Bytes>>,
    piece: Bytes,
    ended: bool,
}

impl Pieces {
    fn new(receiver: blocking::Receiver<io::Result<Bytes>>) -> Self {
        Self { receiver, piece: Bytes::new(), ended: false }
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && !self.ended && !into.is_empty() {
            let broken = |_| io::Error::from(io::ErrorKind::UnexpectedEof);
            self.piece = self.receiver.recv().map_err(broken)??;
            self.ended = self.piece.is_empty();
        }
        let length = self.piece.len().min(into.len());
        self.piece.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

/// Takes the digest of what is read.
struct Hashing<R> {
    inner: R,
    digest: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.digest.update(&into[..read]);
        Ok(read)
    }
}
