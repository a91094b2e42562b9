//! The chain on a content that the spool does not hold: it flows through all plugins at once, and
//! again for each of them that is yet to decide, and once more to be written (design 9). A second
//! decision that is not the first one is fatal; other bytes, because the file has changed since, are
//! not: what is written is decided on while it is.

use std::cmp::Ordering;

use archive::{Outcome, Region, Sha256Digest};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;
use plugin_host::{ContentDecision, ContentError, Failure};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::content::{name, tell};
use super::pipe::{AHEAD, Piece, PipeReader, PipeWriter};
use crate::Error;
use crate::context::Context;
use crate::inventory::Item;
use crate::large::{Large, Sink};
use crate::section::Section;
use crate::service::{Note, Service};
use crate::stream::{Command, Stream};

/// Bytes of a region that are read at a time.
const PIECE: usize = 256 * 1024;

/// Where a large content comes from; it can be had more than once.
#[derive(Debug)]
pub(super) enum Source {
    File(Box<Large>),
    Region(Region),
}

/// What the chain decided on a large content.
pub(super) enum Judged {
    /// It stays. Which plugins replaced it, and length and digest of what came out if one did.
    Stays {
        replaced: Vec<bool>,
        left: Option<(u64, Sha256Digest)>,
    },
    Dropped(String),
    Failed(Failure),
    /// It could not be had.
    Unreadable(Note),
}

/// A large content that stays, to be written.
#[derive(Debug)]
pub(crate) struct Filtered {
    pub(super) source: Source,
    pub(super) item: Item,
    pub(super) replaced: Vec<bool>,
    /// Length, and digest in hex, if a plugin replaced it.
    pub(super) left: Option<(u64, String)>,
}

impl Filtered {
    pub(crate) fn path(&self) -> &str {
        &self.item.path
    }

    pub(crate) fn id(&self) -> &str {
        &self.item.id
    }

    /// Writes the member. A note if it is not what the service has.
    pub(crate) async fn write(
        &self,
        section: &Section,
        context: &Context,
        stream: &mut Stream,
    ) -> Result<Option<Note>, Error> {
        let mut member = Member {
            path: &self.item.path,
            mtime: self.item.mtime,
            size: self.left.as_ref().map(|(size, _)| *size),
            begun: false,
            came: 0,
            stream,
        };
        let mut digest = Sha256::new();
        let out = Out::Member(&mut member, &mut digest);
        let flow = Flow { section, context, item: &self.item, replaced: &self.replaced };
        let ran = flow.run(&self.source, self.replaced.len(), out).await?;
        // Also of what broke off: some of it may be written that a plugin does not let pass.
        if !ran.is_as(&self.replaced) {
            return Err(Error::SecondDecision { path: self.item.path.clone() });
        }
        if let Some(note) = ran.trouble {
            if !member.begun {
                return Ok(Some(not_there(note)));
            }
            member.end(true).await?;
            return Ok(Some(note));
        }
        member.begin(0).await?;
        let digest = archive::hex(&digest.finalize().into());
        let note = self.compare(member.came, &digest)?;
        member.end(note.is_some()).await?;
        Ok(note)
    }

    /// What is to be said if a plugin left something else than what was measured: the header has
    /// the length of then.
    fn compare(&self, came: u64, digest: &str) -> Result<Option<Note>, Error> {
        let Some((size, _)) = self.left.as_ref().filter(|(_, sha256)| *sha256 != digest) else {
            return Ok(None);
        };
        if matches!(self.source, Source::Region(_)) {
            return Err(Error::SecondDecision { path: self.item.path.clone() });
        }
        let (cause, message) = match came.cmp(size) {
            Ordering::Less => ("short", "the file changed and is shorter now; the rest is zeros"),
            Ordering::Equal => return Ok(None),
            Ordering::Greater => {
                ("long", "the file changed and is longer now; the rest is missing")
            }
        };
        Ok(Some(Note::new(Outcome::Damaged, cause, message)))
    }
}

/// What the ledger says of a file that would be damaged if it were there.
fn not_there(note: Note) -> Note {
    match note.outcome {
        Outcome::Damaged => {
            let message = "the file could not be had whole, so no plugin could decide on it";
            Note { outcome: Outcome::Failed, message: message.to_owned(), ..note }
        }
        _ => note,
    }
}

fn is(now: &Result<ContentDecision, Failure>, replaced: bool) -> bool {
    match now {
        Ok(ContentDecision::Keep) => !replaced,
        Ok(ContentDecision::Replace) => replaced,
        _ => false,
    }
}

impl Section {
    /// Has a large content decided on.
    pub(super) async fn judge(
        &self,
        context: &Context,
        item: &Item,
        source: &Source,
    ) -> Result<Judged, Error> {
        let count = context.options.plugins.content_plugins(self.service.name()).count();
        let count = if item.exempt { 0 } else { count };
        let mut replaced = Vec::new();
        let mut left = None;
        for number in 0..count {
            let (mut size, mut digest) = (0, Sha256::new());
            let flow = Flow { section: self, context, item, replaced: &replaced };
            let out = Out::Measure(&mut size, &mut digest);
            let mut ran = flow.run(source, number + 1, out).await?;
            if let Some(note) = ran.trouble {
                return Ok(Judged::Unreadable(not_there(note)));
            }
            let Some(decision) = ran.decisions.pop().flatten() else {
                return Err(Error::Internal("a plugin did not decide"));
            };
            // Nothing of it is written yet.
            if !ran.is_as(&replaced) {
                let message = "the file changed whenever it was read";
                return Ok(Judged::Unreadable(Note::new(Outcome::Failed, "changing", message)));
            }
            tell(context, self, item, number, &decision);
            match decision {
                Ok(ContentDecision::Keep) => replaced.push(false),
                Ok(ContentDecision::Replace) => {
                    left = Some((size, digest.finalize().into()));
                    replaced.push(true);
                }
                Ok(ContentDecision::Drop(_)) => {
                    return Ok(Judged::Dropped(name(context, self, number)));
                }
                Err(failure) => return Ok(Judged::Failed(failure)),
            }
        }
        Ok(Judged::Stays { replaced, left })
    }
}

/// One pass of a content through plugins.
struct Flow<'a> {
    section: &'a Section,
    context: &'a Context,
    item: &'a Item,
    /// What is known of the plugins: true if the content is replaced by what they write. The one
    /// after these is about to decide.
    replaced: &'a [bool],
}

/// How a pass ended.
struct Ran {
    /// What was wrong with the source.
    trouble: Option<Note>,
    /// None of a plugin that did not see the end.
    decisions: Vec<Option<Result<ContentDecision, Failure>>>,
}

impl Ran {
    /// Whether all that decided did so as before.
    fn is_as(&self, replaced: &[bool]) -> bool {
        let mut both = self.decisions.iter().zip(replaced);
        both.all(|(now, before)| now.as_ref().is_none_or(|now| is(now, *before)))
    }
}

type Decision = Result<ContentDecision, ContentError>;

impl Flow<'_> {
    /// Runs the first `count` plugins on the source.
    async fn run(&self, source: &Source, count: usize, out: Out<'_, '_>) -> Result<Ran, Error> {
        let (first, mut pieces) = mpsc::channel(AHEAD);
        let mut plugins: Vec<JoinHandle<Option<Decision>>> = Vec::new();
        let mut branches = Vec::new();
        for number in 0..count {
            let (next, after) = mpsc::channel(AHEAD);
            if self.replaced.get(number) == Some(&false) {
                let (copies, copy) = mpsc::channel(AHEAD);
                plugins.push(self.start(number, copy, None));
                branches.push(branch(pieces, copies, next));
            } else {
                plugins.push(self.start(number, pieces, Some(next)));
            }
            pieces = after;
        }
        let source = source.send(self.context, first);
        let branches = join_all(branches).map(Ok);
        // If there is nowhere to go, nobody is to read on for nothing.
        let (mut trouble, _, ()) = futures::try_join!(source, branches, out.drain(pieces))?;
        let mut decisions = Vec::new();
        for plugin in plugins {
            let decision = plugin.await.ok().flatten();
            match decision.ok_or(Error::Internal("a plugin's thread panicked"))? {
                Ok(decision) => decisions.push(Some(Ok(decision))),
                Err(ContentError::Failure(failure)) => decisions.push(Some(Err(failure))),
                Err(ContentError::Input(_) | ContentError::Output(_)) => {
                    let message = "the content broke off while a plugin read it";
                    trouble.get_or_insert(Note::new(Outcome::Failed, "torn", message));
                    decisions.push(None);
                }
            }
        }
        Ok(Ran { trouble, decisions })
    }

    /// Starts a plugin on a thread of its own.
    fn start(
        &self,
        number: usize,
        pieces: mpsc::Receiver<Piece>,
        next: Option<mpsc::Sender<Piece>>,
    ) -> JoinHandle<Option<Decision>> {
        let chain = self.context.options.plugins.clone();
        let subject = self.section.subject(self.item);
        let service: Service = self.section.service;
        tokio::task::spawn_blocking(move || {
            let plugin = chain.content_plugins(service.name()).nth(number)?;
            let input = PipeReader::new(pieces);
            Some(match next {
                Some(next) => {
                    let out = PipeWriter::outliving(next);
                    let (decision, out) = plugin.on_content(&subject, input, out);
                    if decision.is_err() {
                        out.tear();
                    }
                    decision
                }
                None => plugin.on_content(&subject, input, std::io::sink()).0,
            })
        })
    }
}

/// Passes pieces on, and gives a plugin a copy of them; each for as long as it reads.
async fn branch(
    mut pieces: mpsc::Receiver<Piece>,
    copies: mpsc::Sender<Piece>,
    next: mpsc::Sender<Piece>,
) {
    while let Some(piece) = pieces.recv().await {
        let is_copied = copies.send(piece.clone()).await.is_ok();
        let is_passed = next.send(piece).await.is_ok();
        if !is_copied && !is_passed {
            return;
        }
    }
}

impl Source {
    /// Sends all of it, or for as long as somebody reads. A note says that it is not whole.
    async fn send(
        &self,
        context: &Context,
        pipe: mpsc::Sender<Piece>,
    ) -> Result<Option<Note>, Error> {
        match self {
            Self::File(large) => large.write(context, &mut Sink::Pipe(pipe)).await,
            Self::Region(region) => {
                let mut reader = region.reader();
                drop(pipe.send(Piece::Size(region.length())).await);
                loop {
                    let mut piece = vec![0; PIECE];
                    let read = tokio::task::block_in_place(|| {
                        std::io::Read::read(&mut reader, &mut piece)
                    });
                    let read = read.map_err(|source| context.spool_error(source))?;
                    piece.truncate(read);
                    if read == 0 || pipe.send(Piece::Bytes(piece.into())).await.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

/// Where a pass ends.
enum Out<'a, 'b> {
    /// Nowhere: length and digest.
    Measure(&'a mut u64, &'a mut Sha256),
    /// In the archive.
    Member(&'a mut Member<'b>, &'a mut Sha256),
}

impl Out<'_, '_> {
    async fn drain(self, mut pieces: mpsc::Receiver<Piece>) -> Result<(), Error> {
        match self {
            Self::Measure(size, digest) => {
                while let Some(piece) = pieces.recv().await {
                    if let Piece::Bytes(bytes) = piece {
                        *size += bytes.len() as u64;
                        digest.update(&bytes);
                    }
                }
            }
            Self::Member(member, digest) => {
                while let Some(piece) = pieces.recv().await {
                    match piece {
                        Piece::Size(size) => member.begin(size).await?,
                        Piece::Bytes(bytes) => {
                            digest.update(&bytes);
                            member.chunk(bytes).await?;
                        }
                        Piece::Torn => {}
                    }
                }
            }
        }
        Ok(())
    }
}

/// A member of the archive that is being written.
struct Member<'a> {
    path: &'a str,
    mtime: i64,
    /// Its length, if it is not the source's.
    size: Option<u64>,
    begun: bool,
    /// Bytes that came for it; no more are written than it has room for.
    came: u64,
    stream: &'a mut Stream,
}

impl Member<'_> {
    /// Begins it, unless it has begun. `told` is the source's length.
    async fn begin(&mut self, told: u64) -> Result<(), Error> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        let size = *self.size.get_or_insert(told);
        let (path, mtime) = (self.path.to_owned(), self.mtime);
        self.stream.send(Command::Begin { path, mtime, size }).await
    }

    async fn chunk(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        self.begin(0).await?;
        let left = self.size.unwrap_or_default().saturating_sub(self.came);
        self.came += bytes.len() as u64;
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        match bytes.is_empty() {
            true => Ok(()),
            false => self.stream.send(Command::Chunk(bytes)).await,
        }
    }

    async fn end(&mut self, damaged: bool) -> Result<(), Error> {
        self.stream.send(Command::End { damaged }).await
    }
}
