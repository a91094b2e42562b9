//! Containers of a mailbox, found by name and made if they are not there: mail folders, contact
//! folders, calendars, lists. The journal is told of each that is made, so that an undo finds it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use graph::{ErrorKind, Prefer, segment};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Existing, Mailbox, id};
use crate::error::Error;
use crate::journal::Journal;

/// How often a container is listed whose listing fails.
const LISTINGS: u32 = 3;

/// How the service wants a kind of container asked for and made.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The key of a name: `displayName`, `name`.
    pub(crate) name: &'static str,
    /// Path, below the mailbox's, of what is directly in a container.
    pub(crate) below: fn(parent: &str) -> String,
    /// Query before the filter by name, with an `&` at its end unless it is empty; none where
    /// the service has no such filter: then all are listed and looked through.
    pub(crate) by_name: Option<&'static str>,
    /// Whether one that is there may be taken: none of somebody else's, none that takes no items.
    pub(crate) takes: fn(container: &Value) -> bool,
}

/// A container that is there.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// Made by this run: nothing is in it but what this run put there.
    pub(crate) is_new: bool,
    /// What was in it before this run; read when first asked for.
    existing: OnceCell<Existing>,
    /// How often that failed.
    refusals: AtomicU32,
    /// Another container than the archive says.
    pub(crate) stands_in: bool,
}

impl Container {
    pub(crate) fn new(id: String, is_new: bool, stands_in: bool) -> Arc<Self> {
        let (existing, refusals) = (OnceCell::new(), AtomicU32::new(0));
        Arc::new(Self { id, is_new, existing, refusals, stands_in })
    }

    /// What was in it before this run, as `read` finds it. What can't be read is asked for by a few
    /// items only: each of them would list it from the beginning.
    pub(crate) async fn held<F>(&self, read: impl FnOnce() -> F + Send) -> Result<&Existing, Error>
    where
        F: Future<Output = Result<Existing, Error>> + Send,
    {
        if let Some(existing) = self.existing.get() {
            return Ok(existing);
        }
        if self.refusals.load(Ordering::Relaxed) >= LISTINGS {
            let what = "what is there already could not be listed, again and again".to_owned();
            return Err(Error::Item { cause: "service", what });
        }
        let existing = self.existing.get_or_try_init(read).await;
        if existing.as_ref().is_err_and(|error| !error.is_fatal()) {
            self.refusals.fetch_add(1, Ordering::Relaxed);
        }
        existing
    }
}

/// A container that is looked for only once.
pub(crate) type Cell = Arc<OnceCell<Arc<Container>>>;

/// The containers of one section.
#[derive(Debug)]
pub(crate) struct Containers {
    pub(crate) mailbox: Mailbox,
    shape: &'static Shape,
    pub(crate) section: String,
    pub(crate) journal: Arc<Journal>,
    /// By the names on the way down, which no name can contain a NUL of.
    known: Mutex<HashMap<String, Cell>>,
}

impl Containers {
    pub(crate) fn new(
        mailbox: Mailbox,
        shape: &'static Shape,
        section: &str,
        journal: Arc<Journal>,
    ) -> Self {
        let section = section.to_owned();
        Self { mailbox, shape, section, journal, known: Mutex::default() }
    }

    /// The one that goes by `key` in this run.
    pub(crate) fn cell(&self, key: &str) -> Cell {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key.to_owned()).or_default())
    }

    /// The container `name` in `parent`, which is made if it is not there, of `body` and its name.
    /// `key` tells it from all others in this run. `stands_in`: not the one that the archive says.
    pub(crate) async fn child(
        &self,
        key: &str,
        parent: &Container,
        name: &str,
        body: &Value,
        stands_in: bool,
    ) -> Result<Arc<Container>, Error> {
        let cell = self.cell(key);
        let made = cell.get_or_try_init(|| async {
            // In a container that was just made there is none yet: one request less.
            if !parent.is_new
                && let Some(found) = self.find(&parent.id, name).await?
            {
                let place = place(&parent.id, name);
                self.journal.found_folder(&self.section, &place, &found.id)?;
                return Ok(found.container(name, stands_in));
            }
            self.make(&parent.id, name, body, stands_in).await
        });
        let doing = |source| Error::Graph {
            doing: format!("making the folder {:?}", key.replace('\0', "/")),
            source,
        };
        match made.await {
            Ok(container) => Ok(Arc::clone(container)),
            Err(Trouble::Graph(source)) => Err(doing(source)),
            Err(Trouble::Own(error)) => Err(error),
        }
    }

    async fn make(
        &self,
        parent: &str,
        name: &str,
        body: &Value,
        stands_in: bool,
    ) -> Result<Arc<Container>, Trouble> {
        let mut body = body.clone();
        body[self.shape.name] = name.into();
        let Mailbox { graph, scope, root, .. } = &self.mailbox;
        let path = format!("{root}{}", (self.shape.below)(parent));
        let found =
            || async { Ok(self.find(parent, name).await?.map(|found| json!({ "id": found.id }))) };
        let place = place(parent, name);
        self.journal.begin_folder(&self.section, &place)?;
        let made = match graph.create(scope, &path, &body, found).await {
            Ok(made) => Container::new(id(&made), true, stands_in),
            Err(error) if *error.kind() == ErrorKind::Conflict => {
                // Somebody else was faster.
                self.journal.foreign_folder(&self.section, &place)?;
                let found = self.find(parent, name).await?;
                return found.map(|found| found.container(name, stands_in)).ok_or(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        self.journal.made_folder(&self.section, &place, &made.id)?;
        Ok(made)
    }

    /// The container at a place that was begun, if it is there.
    pub(crate) async fn begun(&self, place: &str) -> Result<Option<String>, graph::Error> {
        let Some((parent, name)) = place.split_once('/') else { return Ok(None) };
        match self.find(parent, name).await {
            Ok(found) => Ok(found.map(|found| found.id)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The child with that name, whatever its case, as the service compares names.
    async fn find(&self, parent: &str, name: &str) -> Result<Option<Found>, graph::Error> {
        let key = self.shape.name;
        let below = (self.shape.below)(parent);
        let mut path = format!("{}{below}", self.mailbox.root);
        if let Some(query) = self.shape.by_name {
            let quoted = name.replace('\'', "''");
            let filter = segment(&format!("{key} eq '{quoted}'"));
            path.push_str(&format!("?{query}$select=id,{key}&$filter={filter}"));
        }
        let mut pages = self.mailbox.graph.pages(self.mailbox.scope.clone(), &path, Prefer::none());
        while let Some(page) = pages.next().await? {
            for item in &page.items {
                let found = item.parse()?;
                let own = found.get(key).and_then(Value::as_str).unwrap_or_default();
                if own.to_lowercase() == name.to_lowercase() && (self.shape.takes)(&found) {
                    return Ok(Some(Found { id: id(&found), name: own.to_owned() }));
                }
            }
        }
        Ok(None)
    }
}

/// A container as the journal knows it before it has an id; no id of the service has a slash.
fn place(parent: &str, name: &str) -> String {
    format!("{parent}/{name}")
}

/// A container that was there before.
struct Found {
    id: String,
    name: String,
}

impl Found {
    /// For what belongs into `name`: a name that differs in case is another one in the archive.
    fn container(self, name: &str, stands_in: bool) -> Arc<Container> {
        Container::new(self.id, false, stands_in || self.name != name)
    }
}

/// Either the service's trouble or our own.
enum Trouble {
    Graph(graph::Error),
    Own(Error),
}

impl From<graph::Error> for Trouble {
    fn from(error: graph::Error) -> Self {
        Self::Graph(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}
