//! What every part of a run shares, and how services are asked: errors of an item apart from those
//! that end the run.

use std::sync::Arc;

use archive::Selector;
use graph::{Graph, Prefer, Scope};
use serde_json::Value;

use crate::Error;
use crate::base::OpenBase;
use crate::error::is_fatal;
use crate::kept::Kept;
use crate::monitor::Monitor;
use crate::options::Options;
use crate::outcome::Tally;
use crate::spool::{Draft, Spool, Spooled, Turn};

/// Times a torn body is asked for (FACTS 2.7).
const TORN_TRIES: usize = 8;

/// What every part of a run shares.
pub(crate) struct Context {
    /// Nothing if an archive is the source, and all of it is in the base.
    pub(crate) graph: Option<Graph>,
    pub(crate) options: Options,
    pub(crate) selector: Selector,
    pub(crate) spool: Arc<Spool>,
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

    /// Copies a `$value` into `draft`, from the beginning when its body is torn: there is no
    /// range (FACTS 4.1). Every other try was the client's. The inner error is the item's.
    pub(crate) async fn copy_value(
        &self,
        scope: &Scope,
        path: &str,
        draft: &mut Draft,
    ) -> Result<Result<(), graph::Error>, Error> {
        let mut torn = 0;
        loop {
            let error = match self.copy_once(scope, path, draft).await? {
                Copied::Whole => return Ok(Ok(())),
                Copied::Refused(error) => return Ok(Err(error)),
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
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => self.write(draft, &chunk).await?,
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
        let mut pages = self.graph().pages(scope.clone(), path, Prefer::none());
        let mut rows = Vec::new();
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Ok(rows)),
                Err(error) if is_fatal(&error) => return Err(Error::graph(doing, error)),
                Err(error) => return Ok(Err(error)),
            };
            for item in &page.items {
                match item.parse() {
                    Ok(row) => rows.push(row),
                    Err(error) => return Ok(Err(error)),
                }
            }
        }
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

/// How copying a `$value` ended.
enum Copied {
    Whole,
    Refused(graph::Error),
    Torn(graph::Error),
}
