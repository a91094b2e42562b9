//! The folders of a mailbox, made and found by path; well-known ones by what they are.

use std::sync::Arc;

use graph::{ErrorKind, Prefer, segment};
use serde_json::{Value, json};

use crate::error::Error;
use crate::journal::Journal;
use crate::mailbox::{Container, Containers, Mailbox, Shape, id};
use crate::place::{Made, Undone};
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

/// Mail folders.
const SHAPE: Shape = Shape {
    name: "displayName",
    below: |parent| format!("/mailFolders/{}/childFolders", segment(parent)),
    by_name: Some("includeHiddenFolders=true&"),
    takes: |_| true,
};

/// The folders of one mailbox.
#[derive(Debug)]
pub(in crate::service) struct Folders {
    all: Containers,
    /// Name of the folder that all others go into; none in place.
    beside: Option<String>,
    /// Name of the folder for what can't be restored in place.
    aside: String,
}

impl Folders {
    pub(in crate::service) fn new(
        mailbox: Mailbox,
        section: &str,
        journal: Arc<Journal>,
        beside: Option<String>,
        aside: String,
    ) -> Self {
        Self { all: Containers::new(mailbox, &SHAPE, section, journal), beside, aside }
    }

    /// Whether what is in this folder goes beside, though everything else goes in place.
    pub(in crate::service) fn is_aside(&self, trail: &[Folder]) -> bool {
        let never = |folder: &Folder| {
            folder.well_known.as_deref().is_some_and(|name| {
                NEVER_IN_PLACE.iter().any(|never| never.eq_ignore_ascii_case(name))
            })
        };
        self.beside.is_none() && trail.iter().any(never)
    }

    /// The folder at the end of `trail`, which is made if it is not there.
    pub(in crate::service) async fn at(&self, trail: &[Folder]) -> Result<Arc<Container>, Error> {
        let aside = self.is_aside(trail);
        let (mut key, mut at) = (String::new(), Container::new(ROOT.to_owned(), false, aside));
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

    /// A folder by what it is, whatever it is called (FACTS 5.1); none if this mailbox has none.
    async fn well_known(&self, name: &str) -> Result<Option<Arc<Container>>, Error> {
        let cell = self.all.cell(&format!("\0{name}\0"));
        let Mailbox { graph, scope, root, .. } = &self.all.mailbox;
        let path = format!("{root}/mailFolders/{}?$select=id", segment(name));
        let found = cell
            .get_or_try_init(|| async {
                let folder = graph.get(scope, &path, Prefer::none()).await?;
                Ok::<_, graph::Error>(Container::new(id(&folder), false, false))
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
        parent: &Container,
        name: &str,
        folder: Option<&Folder>,
        stands_in: bool,
    ) -> Result<Arc<Container>, Error> {
        let is_hidden = folder.and_then(|f| f.graph.get("isHidden")).and_then(Value::as_bool);
        let body = match is_hidden {
            Some(true) => json!({ "isHidden": true }),
            _ => json!({}),
        };
        self.all.child(key, parent, name, &body, stands_in).await
    }

    /// The folder at a place that was begun, if it is there.
    async fn begun(&self, place: &str) -> Result<Option<String>, graph::Error> {
        self.all.begun(place).await
    }

    /// Takes note that the message at `path` will be made in the folder with this id.
    pub(super) fn remember(&self, path: &str, folder: &str) -> Result<(), Error> {
        self.all.journal.spot(&self.all.section, path, folder)
    }

    /// Takes note of the message that will be moved away for the one at `path`.
    pub(super) fn replaces(&self, path: &str, old: &str) -> Result<(), Error> {
        self.all.journal.replaces(&self.all.section, path, old)
    }

    /// The message that an earlier run was moving away for the one at `path`.
    pub(super) fn replaced(&self, path: &str) -> Result<Option<String>, Error> {
        self.all.journal.under_way(&self.all.section, path).map(|(_, old)| old)
    }

    /// Takes back a folder that was made, or begun, if nothing is in it.
    pub(in crate::service) async fn undo(&self, made: &Made) -> Result<Undone, graph::Error> {
        match &made.id {
            Some(id) => self.remove_empty(id).await,
            None => match self.begun(&made.path).await? {
                Some(id) => self.remove_empty(&id).await,
                None => Ok(Undone::Removed),
            },
        }
    }

    async fn remove_empty(&self, id: &str) -> Result<Undone, graph::Error> {
        let mailbox = &self.all.mailbox;
        let folder = format!("{}/mailFolders/{}", mailbox.root, segment(id));
        let path = format!("{folder}?$select=totalItemCount,childFolderCount");
        let Some(found) = mailbox.look(&path).await? else { return Ok(Undone::Removed) };
        let count = |key: &str| found.get(key).and_then(Value::as_u64).unwrap_or(1);
        if count("totalItemCount") + count("childFolderCount") > 0 {
            return Ok(Undone::Kept);
        }
        let path = format!("{folder}/permanentDelete");
        match mailbox.graph.act(&mailbox.scope, &path, &Value::Null).await {
            Ok(_) => {}
            Err(error) if !matches!(error.status(), Some(400 | 404 | 405 | 501)) => {
                return Err(error);
            }
            Err(_) => mailbox.delete(&folder).await?,
        }
        Ok(Undone::Removed)
    }

    /// Whether this folder is Deleted Items, what only recovery shows, or below them.
    pub(super) async fn is_trash(&self, folder: &str) -> Result<bool, Error> {
        let Mailbox { graph, scope, root, .. } = &self.all.mailbox;
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
            let path = format!("{root}/mailFolders/{}?$select=parentFolderId", segment(&at));
            let found = graph.get(scope, &path, Prefer::none()).await;
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
}

/// A name the service accepts: not empty, and without the spaces around it, which it cuts off.
fn shown(name: &str) -> &str {
    match name.trim() {
        "" => "(no name)",
        name => name,
    }
}
