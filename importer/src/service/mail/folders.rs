//! The folders of a mailbox, made and found by path; well-known ones by what they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use graph::{ErrorKind, Graph, Prefer, Scope, segment};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::existing::Existing;
use crate::error::Error;
use crate::journal::Journal;
use crate::section::Folder;

/// Where the folders of a mailbox hang.
pub(super) const ROOT: &str = "msgfolderroot";

/// Folders that no client may put things into, or that send what is put into them: their items
/// go beside, also in place. (An item in the Outbox that counts as submitted is one to be sent.)
const NEVER_IN_PLACE: [&str; 9] = [
    "outbox",
    "recoverableitemsroot",
    "recoverableitemsdeletions",
    "recoverableitemspurges",
    "recoverableitemsversions",
    "recoverableitemsdiscoveryholds",
    "searchfolders",
    "syncissues",
    "conflicts",
];

/// What is below them counts as thrown away.
const TRASH: [&str; 2] = ["deleteditems", "recoverableitemsroot"];
/// Deepest folder that Exchange allows (FACTS 5.1).
const DEEPEST: usize = 300;

/// A folder that is there.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) id: String,
    /// Made by this run: nothing is in it but what this run put there.
    pub(super) is_new: bool,
    /// What was in it before this run; read when first asked for.
    pub(super) existing: OnceCell<Existing>,
    /// Another folder than the archive says.
    pub(super) stands_in: bool,
}

impl Target {
    fn new(id: String, is_new: bool, stands_in: bool) -> Arc<Self> {
        Arc::new(Self { id, is_new, existing: OnceCell::new(), stands_in })
    }
}

type Cell = Arc<OnceCell<Arc<Target>>>;

/// The folders of one mailbox.
#[derive(Debug)]
pub(super) struct Folders {
    pub(super) graph: Graph,
    pub(super) user: String,
    pub(super) scope: Scope,
    /// Name of the folder that all others go into; none in place.
    beside: Option<String>,
    /// Name of the folder for what can't be restored in place.
    aside: String,
    section: String,
    journal: Arc<Journal>,
    /// By the names on the way down, which no folder name can contain a NUL of.
    known: Mutex<HashMap<String, Cell>>,
}

impl Folders {
    pub(super) fn new(
        graph: Graph,
        user: &str,
        section: &str,
        journal: Arc<Journal>,
        beside: Option<String>,
        aside: String,
    ) -> Self {
        Self {
            graph,
            user: user.to_owned(),
            scope: Scope::Mailbox(user.to_owned()),
            beside,
            aside,
            section: section.to_owned(),
            journal,
            known: Mutex::default(),
        }
    }

    /// Whether what is in this folder goes beside, though everything else goes in place.
    pub(super) fn is_aside(&self, trail: &[Folder]) -> bool {
        let never = |folder: &Folder| {
            folder.well_known.as_deref().is_some_and(|name| {
                NEVER_IN_PLACE.iter().any(|never| never.eq_ignore_ascii_case(name))
            })
        };
        self.beside.is_none() && trail.iter().any(never)
    }

    /// The folder at the end of `trail`, which is made if it is not there.
    pub(super) async fn at(&self, trail: &[Folder]) -> Result<Arc<Target>, Error> {
        let aside = self.is_aside(trail);
        let (mut key, mut at) = (String::new(), Target::new(ROOT.to_owned(), false, aside));
        let top = if aside { Some(&self.aside) } else { self.beside.as_ref() };
        if let Some(name) = top {
            key.push('\0');
            key.push_str(name);
            at = self.child(&key, &at, name, None, aside).await?;
        }
        for folder in trail {
            let in_place = top.is_none().then_some(folder.well_known.as_deref()).flatten();
            if let Some(name) = in_place
                && let Some(known) = self.well_known(name).await?
            {
                key = format!("\0{name}\0");
                at = known;
                continue;
            }
            key.push('\0');
            key.push_str(&folder.name);
            let name = shown(&folder.name);
            let stands_in = at.stands_in || name != folder.name;
            at = self.child(&key, &at, name, Some(folder), stands_in).await?;
        }
        Ok(at)
    }

    fn cell(&self, key: &str) -> Cell {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key.to_owned()).or_default())
    }

    /// A folder by what it is, whatever it is called (FACTS 5.1); none if this mailbox has none.
    async fn well_known(&self, name: &str) -> Result<Option<Arc<Target>>, Error> {
        let cell = self.cell(&format!("\0{name}\0"));
        let path = format!("{}/mailFolders/{}?$select=id", self.root(), segment(name));
        let found = cell
            .get_or_try_init(|| async {
                let folder = self.graph.get(&self.scope, &path, Prefer::none()).await?;
                Ok::<_, graph::Error>(Target::new(id(&folder), false, false))
            })
            .await;
        match found {
            Ok(target) => Ok(Some(Arc::clone(target))),
            Err(error)
                // A name that this service does not know is to it an id that is none.
                if matches!(error.status(), Some(404))
                    || matches!(error.kind(), ErrorKind::Invalid | ErrorKind::BadRequest) =>
            {
                Ok(None)
            }
            Err(source) => {
                Err(Error::Graph { doing: format!("opening the folder {name}"), source })
            }
        }
    }

    async fn child(
        &self,
        key: &str,
        parent: &Target,
        name: &str,
        folder: Option<&Folder>,
        stands_in: bool,
    ) -> Result<Arc<Target>, Error> {
        let cell = self.cell(key);
        let made = cell.get_or_try_init(|| async {
            // In a folder that was just made there is none yet: one request less.
            if !parent.is_new
                && let Some(found) = self.find(&parent.id, name).await?
            {
                let place = place(&parent.id, name);
                self.journal.found_folder(&self.section, &place, &found.id)?;
                return Ok(found.target(name, stands_in));
            }
            self.make(&parent.id, name, folder, stands_in).await
        });
        let doing = |source| Error::Graph {
            doing: format!("making the folder {:?}", key.replace('\0', "/")),
            source,
        };
        match made.await {
            Ok(target) => Ok(Arc::clone(target)),
            Err(Trouble::Graph(source)) => Err(doing(source)),
            Err(Trouble::Own(error)) => Err(error),
        }
    }

    async fn make(
        &self,
        parent: &str,
        name: &str,
        folder: Option<&Folder>,
        stands_in: bool,
    ) -> Result<Arc<Target>, Trouble> {
        let is_hidden = folder.and_then(|f| f.graph.get("isHidden")).and_then(Value::as_bool);
        let body = match is_hidden {
            Some(true) => json!({ "displayName": name, "isHidden": true }),
            _ => json!({ "displayName": name }),
        };
        let path = format!("{}/mailFolders/{}/childFolders", self.root(), segment(parent));
        let found =
            || async { Ok(self.find(parent, name).await?.map(|found| json!({ "id": found.id }))) };
        let place = place(parent, name);
        self.journal.begin_folder(&self.section, &place)?;
        let target = match self.graph.create(&self.scope, &path, &body, found).await {
            Ok(made) => Target::new(id(&made), true, stands_in),
            Err(error) if *error.kind() == ErrorKind::Conflict => {
                // Somebody else was faster.
                self.journal.foreign_folder(&self.section, &place)?;
                let found = self.find(parent, name).await?;
                return found.map(|found| found.target(name, stands_in)).ok_or(error.into());
            }
            Err(error) => return Err(error.into()),
        };
        self.journal.made_folder(&self.section, &place, &target.id)?;
        Ok(target)
    }

    /// The folder at a place that was begun, if it is there.
    pub(super) async fn begun(&self, place: &str) -> Result<Option<String>, graph::Error> {
        let Some((parent, name)) = place.split_once('/') else { return Ok(None) };
        match self.find(parent, name).await {
            Ok(found) => Ok(found.map(|found| found.id)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes note that the message at `path` will be made in the folder with this id.
    pub(super) fn remember(&self, path: &str, folder: &str) -> Result<(), Error> {
        self.journal.spot(&self.section, path, folder)
    }

    /// Takes note of the message that will be moved away for the one at `path`.
    pub(super) fn replaces(&self, path: &str, old: &str) -> Result<(), Error> {
        self.journal.replaces(&self.section, path, old)
    }

    /// The message that an earlier run was moving away for the one at `path`.
    pub(super) fn replaced(&self, path: &str) -> Result<Option<String>, Error> {
        self.journal.under_way(&self.section, path).map(|(_, old)| old)
    }

    /// Whether this folder is Deleted Items, what only recovery shows, or below them.
    pub(super) async fn is_trash(&self, folder: &str) -> Result<bool, Error> {
        let mut trash = Vec::new();
        for name in TRASH {
            trash.extend(self.well_known(name).await?.map(|folder| folder.id.clone()));
        }
        let top = self.well_known(ROOT).await?.map(|folder| folder.id.clone());
        let mut at = folder.to_owned();
        for _ in 0..DEEPEST {
            if trash.contains(&at) {
                return Ok(true);
            }
            if top.as_ref() == Some(&at) {
                return Ok(false);
            }
            let path =
                format!("{}/mailFolders/{}?$select=parentFolderId", self.root(), segment(&at));
            let found = self.graph.get(&self.scope, &path, Prefer::none()).await;
            let found = found.map_err(|source| {
                let doing = "looking where a message was moved to".to_owned();
                Error::Graph { doing, source }
            })?;
            match found.get("parentFolderId").and_then(Value::as_str) {
                Some(parent) if parent != at => parent.clone_into(&mut at),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// The child with that name, whatever its case, as the service compares names.
    async fn find(&self, parent: &str, name: &str) -> Result<Option<Found>, graph::Error> {
        let quoted = name.replace('\'', "''");
        let filter = segment(&format!("displayName eq '{quoted}'")).to_string();
        let path = format!(
            "{}/mailFolders/{}/childFolders?includeHiddenFolders=true&$select=id,displayName&$filter={filter}",
            self.root(),
            segment(parent),
        );
        let mut pages = self.graph.pages(self.scope.clone(), &path, Prefer::none());
        while let Some(page) = pages.next().await? {
            for item in &page.items {
                let folder = item.parse()?;
                let own = folder.get("displayName").and_then(Value::as_str).unwrap_or_default();
                if own.to_lowercase() == name.to_lowercase() {
                    return Ok(Some(Found { id: id(&folder), name: own.to_owned() }));
                }
            }
        }
        Ok(None)
    }

    pub(super) fn root(&self) -> String {
        format!("/users/{}", segment(&self.user))
    }
}

/// A folder as the journal knows it before it has an id; no id of the service has a slash.
fn place(parent: &str, name: &str) -> String {
    format!("{parent}/{name}")
}

/// A folder that was there before.
struct Found {
    id: String,
    name: String,
}

impl Found {
    /// For what belongs into `name`: a name that differs in case is another one in the archive.
    fn target(self, name: &str, stands_in: bool) -> Arc<Target> {
        Target::new(self.id, false, stands_in || self.name != name)
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

/// A name the service accepts: not empty, and without the spaces around it, which it cuts off.
fn shown(name: &str) -> &str {
    match name.trim() {
        "" => "(no name)",
        name => name,
    }
}

pub(super) fn id(of: &Value) -> String {
    of.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
}
