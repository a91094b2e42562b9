//! What the services of a mailbox have in common on the way back: containers that are found or made
//! by name, items that carry the id of what they were made of, and how to be rid of them.

mod attach;
mod containers;
mod existing;
mod mark;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use graph::{Graph, Json, Prefer, Scope, segment};
use serde_json::Value;
use tokio::time::Instant;

use crate::error::Error;
use crate::place::Made;

pub(crate) use attach::{File, LARGE};
pub(crate) use containers::{Container, Containers, Shape};
pub(crate) use existing::{Existing, Kept, Own};
pub(crate) use mark::{SOURCE, add_mark, partial_mark};

/// Items under way at a time: a mailbox takes four requests of one app (FACTS 2.2).
pub(crate) const CONNECTIONS: usize = 4;
/// Times that a removal is tried again: half an item must not stay.
const REMOVALS: u32 = 3;
/// How long a search may not show what was stored before (FACTS 5.1): as long as the looks that a
/// request takes whose answer was lost.
const LAG: Duration = Duration::from_secs(7);
/// Between the first two looks; twice as long between the next.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// A mailbox that is written to.
#[derive(Debug, Clone)]
pub(crate) struct Mailbox {
    pub(crate) graph: Graph,
    pub(crate) scope: Scope,
    /// `/users/{id}`: what all paths begin with.
    pub(crate) root: String,
    /// When nobody else was restoring here any more.
    opened: Instant,
    /// What containers held before.
    held: Arc<existing::Held>,
}

impl Mailbox {
    /// The mailbox of a user, by his id or name.
    pub(crate) fn of_user(graph: Graph, user: &str) -> Self {
        Self {
            graph,
            scope: Scope::Mailbox(user.to_owned()),
            root: format!("/users/{}", segment(user)),
            opened: Instant::now(),
            held: Arc::default(),
        }
    }

    /// Whether what is at `below` is there for us, before anything is read for it.
    ///
    /// # Errors
    /// With `what` it is, and of whom.
    pub(crate) async fn check(&self, below: &str, what: &str, upn: &str) -> Result<(), Error> {
        let path = format!("{}/{below}", self.root);
        let asked = self.graph.get(&self.scope, &path, Prefer::none()).await;
        asked.map(drop).map_err(|source| {
            let doing = format!("opening the {what} of {upn}");
            Error::Graph { doing, source }
        })
    }

    /// What a container held before this run; none if this run made it. Its items are at `list`.
    pub(crate) async fn existing<'a>(
        &self,
        container: &'a Container,
        list: &str,
        kept: &Kept,
        spool_dir: &Path,
    ) -> Result<Option<&'a Existing>, Error> {
        if container.is_new {
            return Ok(None);
        }
        container.held(|| Existing::list(self, list, kept, spool_dir)).await.map(Some)
    }

    /// The item that an undo is about. One that was begun may be there all the same, because the
    /// end came between: it is looked for in the list of where it was being put.
    pub(crate) async fn item_of(
        &self,
        made: &Made,
        list: impl FnOnce(&str) -> String,
    ) -> Result<Option<String>, graph::Error> {
        match (&made.id, &made.source, &made.spot) {
            (Some(id), ..) => Ok(Some(id.clone())),
            (None, Some(source), Some(spot)) => {
                Ok(self.late(&list(spot), source).await?.map(|own| own.id))
            }
            _ => Ok(None),
        }
    }

    /// Asks for one object; none if it is not there.
    pub(crate) async fn look(&self, path: &str) -> Result<Option<Json>, graph::Error> {
        match self.graph.get(&self.scope, path, Prefer::none()).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The item of the collection at `list` that carries this mark: messages, events, contacts. The
    /// service compares values of extended properties whatever their case, and ids differ in it: each
    /// found is looked at.
    pub(crate) async fn marked(
        &self,
        list: &str,
        mark: &str,
    ) -> Result<Option<Json>, graph::Error> {
        let quoted = mark.replace('\'', "''");
        let filter = format!(
            "singleValueExtendedProperties/Any(ep: ep/id eq '{SOURCE}' and ep/value eq '{quoted}')"
        );
        let (filter, expand) = (segment(&filter), self::mark::expansion());
        let path = format!("{list}?$select=id&$filter={filter}&$expand={expand}");
        let mut pages = self.graph.pages(self.scope.clone(), &path, Prefer::none());
        while let Some(page) = pages.next().await? {
            for item in &page.items {
                let item = item.parse()?;
                if self::mark::mark(&item) == Some(mark) {
                    return Ok(Some(item));
                }
            }
        }
        Ok(None)
    }

    /// What a run that died made of the item `source` in the collection at `list`. It is searched
    /// until a search must show all that was stored before this run began.
    pub(crate) async fn late(&self, list: &str, source: &str) -> Result<Option<Own>, graph::Error> {
        self.late_by(source, |mark| async move { self.marked(list, &mark).await }).await
    }

    /// The same of what is searched in another way, by its mark.
    pub(crate) async fn late_by<F>(
        &self,
        source: &str,
        marked: impl Fn(String) -> F + Send + Sync,
    ) -> Result<Option<Own>, graph::Error>
    where
        F: Future<Output = Result<Option<Json>, graph::Error>> + Send,
    {
        let mut wait = FIRST_WAIT;
        loop {
            let age = self.opened.elapsed();
            for (mark, is_partial) in [(source.to_owned(), false), (partial_mark(source), true)] {
                match marked(mark).await {
                    Ok(Some(found)) => return Ok(Some(Own { id: id(&found), is_partial })),
                    Ok(None) => {}
                    // The container is gone, with all that was in it.
                    Err(error) if error.status() == Some(404) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            if age >= LAG {
                return Ok(None);
            }
            tokio::time::sleep(wait.min(LAG - age)).await;
            wait *= 2;
        }
    }

    /// Takes what is at `path` away for good; what is gone is no error.
    pub(crate) async fn remove(&self, path: &str) -> Result<(), graph::Error> {
        let for_good = format!("{path}/permanentDelete");
        let mut refusals = 0;
        loop {
            match self.graph.act(&self.scope, &for_good, &Value::Null).await {
                Ok(_) => return Ok(()),
                // Not every cloud has the action; then it goes where deleted things go.
                Err(error) if matches!(error.status(), Some(400 | 404 | 405 | 501)) => {
                    return self.delete(path).await;
                }
                // What was changed a moment ago may still be busy (409).
                Err(error) if refusals < REMOVALS && !crate::target::is_fatal(&error) => {
                    refusals += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes what is at `path`; what is gone is no error.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), graph::Error> {
        match self.graph.delete(&self.scope, path, None).await {
            Err(error) if error.status() == Some(404) => Ok(()),
            deleted => deleted,
        }
    }

    /// Takes what is at `path` away, unless it is not ours any more by what `select` tells of it:
    /// then this is false.
    pub(crate) async fn take_back(
        &self,
        path: &str,
        select: &str,
        is_ours: impl FnOnce(&Value) -> bool,
    ) -> Result<bool, graph::Error> {
        match self.look(&format!("{path}?$select={select}")).await? {
            Some(found) if !is_ours(&found) => Ok(false),
            Some(_) => self.remove(path).await.map(|()| true),
            None => Ok(true),
        }
    }
}

/// The id of what the service answered.
pub(crate) fn id(of: &Value) -> String {
    of.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
}
