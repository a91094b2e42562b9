//! What every part of a run shares, and how services are asked: errors of an item apart from those
//! that end the run.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use archive::Selector;
use graph::{Graph, Prefer, Scope};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;
use crate::base::OpenBase;
use crate::error::is_fatal;
use crate::follow::{self, Told};
use crate::inventory::{Inventory, LEAST_CACHE};
use crate::kept::Kept;
use crate::monitor::Monitor;
use crate::options::Options;
use crate::outcome::Tally;
use crate::spool::{Draft, Reading, Spool, Spooled, Turn};

/// KiB of an inventory in memory that are of use.
const MOST_CACHE: u32 = 1 << 10;
/// Times a torn body is asked for (FACTS 2.7).
const TORN_TRIES: usize = 8;
/// How long a content that comes in may be silent and keep others from coming in.
const SILENCE: Duration = Duration::from_secs(2);

/// What every part of a run shares.
pub(crate) struct Context {
    /// Nothing if an archive is the source, and all of it is in the base.
    pub(crate) graph: Option<Graph>,
    pub(crate) options: Options,
    pub(crate) selector: Selector,
    pub(crate) spool: Arc<Spool>,
    /// Of [`Options::concurrency`], what no section has.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) monitor: Arc<dyn Monitor>,
    /// What services remember from owner to owner.
    pub(crate) kept: Kept,
    /// What has not changed is taken from there.
    pub(crate) base: Option<OpenBase>,
}

impl Context {
    /// # Errors
    /// If the selection is none.
    pub(crate) fn new(
        graph: Option<Graph>,
        options: Options,
        tally: &Arc<Tally>,
        monitor: Arc<dyn Monitor>,
        base: Option<OpenBase>,
    ) -> Result<Self, Error> {
        Ok(Self {
            selector: options.selection.compile().map_err(Error::Archive)?,
            spool: Spool::new(options.spool.clone()),
            slots: Arc::new(Semaphore::new(options.concurrency.clamp(1, Semaphore::MAX_PERMITS))),
            tally: Arc::clone(tally),
            monitor,
            kept: Kept::default(),
            base,
            graph,
            options,
        })
    }

    /// The service that is asked for what the base does not have.
    pub(crate) fn graph(&self) -> &Graph {
        self.graph.as_ref().expect("services are asked for a tenant's content, never an archive's")
    }

    /// An empty inventory, with its share of the memory for those of all sections under way.
    pub(crate) fn inventory(&self) -> Result<Inventory, Error> {
        let kib = self.options.spool.inventory_bytes / 1024 / self.options.sections() as u64;
        let cache = u32::try_from(kib).unwrap_or(u32::MAX).clamp(LEAST_CACHE, MOST_CACHE);
        Inventory::create(self.spool.dir(), cache)
    }

    /// What a section must have to begin. In stream order, or a later one could keep out the one
    /// that it waits for.
    pub(crate) async fn share(&self) -> Result<OwnedSemaphorePermit, Error> {
        let share = u32::try_from(self.options.share()).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.slots).acquire_many_owned(share).await;
        share.map_err(|_| Error::Internal("the slots are closed"))
    }

    /// Copies a `$value` into `draft`, from the beginning when its body is torn: there is no
    /// range (FACTS 4.1). Every other try was the client's. The inner error is the item's.
    pub(crate) async fn copy_value(
        &self,
        scope: &Scope,
        path: &str,
        draft: &mut Draft,
    ) -> Result<Result<(), graph::Error>, Error> {
        let mut torn = 0;
        self.prepare(draft).await?;
        loop {
            let error = match self.copy_once(scope, path, draft).await? {
                Copied::Whole => return Ok(Ok(())),
                Copied::Refused(error) => return Ok(Err(error)),
                Copied::Crowded(refused) => {
                    draft.give_way(refused).await.map_err(|source| self.spool_error(source))?;
                    continue;
                }
                Copied::Torn(error) => error,
            };
            torn += 1;
            if torn == TORN_TRIES || !error.is_retryable() {
                return Ok(Err(error));
            }
            self.restart(draft)?;
        }
    }

    async fn copy_once(
        &self,
        scope: &Scope,
        path: &str,
        draft: &mut Draft,
    ) -> Result<Copied, Error> {
        let mut body = match self.graph().value(scope, path).await {
            Ok(body) => body,
            Err(error) => return Ok(Copied::Refused(error)),
        };
        draft.expect(body.content_length);
        let mut reading = None;
        loop {
            match unless_silent(&mut reading, body.chunk()).await {
                Ok(Some(chunk)) => {
                    if !self.take_in(draft, &mut reading, &chunk).await? {
                        return Ok(Copied::Crowded(chunk.len()));
                    }
                }
                Ok(None) => return Ok(Copied::Whole),
                Err(error) => return Ok(Copied::Torn(error)),
            }
        }
    }

    /// Asks for one object while `doing` something. The inner error is the item's, the outer one ends
    /// the run.
    pub(crate) async fn ask(
        &self,
        scope: &Scope,
        path: &str,
        prefer: Prefer,
        doing: &str,
    ) -> Result<Result<Value, graph::Error>, Error> {
        match self.graph().get(scope, path, prefer).await {
            Err(error) if is_fatal(&error) => Err(Error::graph(doing, error)),
            answer => Ok(answer),
        }
    }

    /// Asks for all rows of a short list, in the order in which they are told, likewise.
    pub(crate) async fn ask_all(
        &self,
        scope: &Scope,
        path: &str,
        doing: &str,
    ) -> Result<Result<Vec<Value>, graph::Error>, Error> {
        let Told { rows, ended, .. } = follow::all_rows(self.graph(), scope, path).await;
        match ended {
            Err(error) if is_fatal(&error) => Err(Error::graph(doing, error)),
            ended => Ok(ended.map(|()| rows)),
        }
    }

    /// Whether what `path` names is gone. What was refused of it with a 404 does not prove that.
    pub(crate) async fn is_missing(
        &self,
        scope: &Scope,
        path: &str,
        doing: &str,
    ) -> Result<bool, Error> {
        let is_missing = follow::is_missing(self.graph(), scope, path).await;
        is_missing.map_err(|error| Error::graph(doing, error))
    }

    /// A `$value` in the spool, whole; likewise.
    pub(crate) async fn spool_value(
        &self,
        scope: &Scope,
        path: &str,
        turn: Turn,
        doing: &str,
    ) -> Result<Result<Spooled, graph::Error>, Error> {
        let mut draft = self.spool.draft(turn);
        match self.copy_value(scope, path, &mut draft).await? {
            Ok(()) => self.finish(draft).map(Ok),
            Err(error) if is_fatal(&error) => Err(Error::graph(doing, error)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Appends what comes in over a connection, if there is room now. Who has to wait for room gives
    /// back the right to come in: it must not keep those out that have room.
    pub(crate) async fn take_in(
        &self,
        draft: &mut Draft,
        reading: &mut Option<Reading>,
        bytes: &[u8],
    ) -> Result<bool, Error> {
        if reading.is_none() {
            *reading = Some(self.spool.reading(draft.turn()).await);
        }
        let written = draft.try_write(bytes).map_err(|source| self.spool_error(source))?;
        if !written {
            *reading = None;
        }
        Ok(written)
    }

    pub(crate) async fn prepare(&self, draft: &mut Draft) -> Result<(), Error> {
        draft.prepare().await.map_err(|source| self.spool_error(source))
    }

    pub(crate) async fn write(&self, draft: &mut Draft, bytes: &[u8]) -> Result<(), Error> {
        draft.write(bytes).await.map_err(|source| self.spool_error(source))
    }

    pub(crate) fn restart(&self, draft: &mut Draft) -> Result<(), Error> {
        draft.restart().map_err(|source| self.spool_error(source))
    }

    pub(crate) fn finish(&self, draft: Draft) -> Result<Spooled, Error> {
        draft.finish().map_err(|source| self.spool_error(source))
    }

    /// True when what comes from the base went through the chain already.
    pub(crate) fn base_is_filtered(&self) -> bool {
        self.base.as_ref().is_some_and(OpenBase::is_filtered)
    }

    /// True when the selection may take some items of a folder and leave others.
    pub(crate) fn narrows(&self) -> bool {
        let selection = &self.options.selection;
        !selection.include.is_empty() || selection.since.is_some() || selection.until.is_some()
    }

    pub(crate) fn spool_error(&self, source: std::io::Error) -> Error {
        Error::Spool { dir: self.spool.dir().clone(), source }
    }
}

/// Waits for a part of a content. One that does not come soon, as when its connection broke and the
/// service says to wait, gives back the right to come in.
pub(crate) async fn unless_silent<T>(
    reading: &mut Option<Reading>,
    part: impl Future<Output = T>,
) -> T {
    let mut part = pin!(part);
    match tokio::time::timeout(SILENCE, &mut part).await {
        Ok(came) => came,
        Err(_) => {
            *reading = None;
            part.await
        }
    }
}

/// How copying a `$value` ended.
enum Copied {
    Whole,
    Refused(graph::Error),
    Torn(graph::Error),
    /// There was no room for so many bytes more. Who waited for it with the answer open would keep
    /// one of the mailbox's connections, and the item that everybody waits for may need that.
    Crowded(usize),
}
