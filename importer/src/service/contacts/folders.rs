//! The folders of contacts, made and found by path; the default one by what it is.

use std::sync::Arc;

use graph::segment;
use serde_json::json;

use crate::error::Error;
use crate::journal::Journal;
use crate::mailbox::{Container, Containers, Mailbox, Shape};
use crate::section::Folder;

/// Stands for the default folder, which the service wants named by no id (FACTS 3.4, 5.3).
const DEFAULT: &str = "";

/// Folders of contacts. What is in the default one is listed without a parent.
const SHAPE: Shape = Shape {
    name: "displayName",
    below: |parent| match parent {
        DEFAULT => "/contactFolders".to_owned(),
        parent => format!("/contactFolders/{}/childFolders", segment(parent)),
    },
    by_name: None,
    takes: |_| true,
};

/// The folders of one mailbox.
#[derive(Debug)]
pub(super) struct Folders {
    all: Containers,
    /// Name of the folder that all others go into; none in place.
    beside: Option<String>,
}

impl Folders {
    pub(super) fn new(
        mailbox: Mailbox,
        section: &str,
        journal: Arc<Journal>,
        beside: Option<String>,
    ) -> Self {
        Self { all: Containers::new(mailbox, &SHAPE, section, journal), beside }
    }

    /// The folder at the end of `trail`, which is made if it is not there.
    pub(super) async fn at(&self, trail: &[Folder]) -> Result<Arc<Container>, Error> {
        let (mut key, mut at) = (String::new(), self.default().await?);
        if let Some(name) = &self.beside {
            key.push('\0');
            key.push_str(name);
            at = self.child(&key, &at, name, false).await?;
        }
        for (depth, folder) in trail.iter().enumerate() {
            let is_first_in_place = depth == 0 && self.beside.is_none();
            if is_first_in_place && folder.well_known.as_deref() == Some("contacts") {
                continue;
            }
            key.push('\0');
            key.push_str(&folder.name);
            let name = shown(&folder.name);
            let stands_in = at.stands_in || name != folder.name;
            at = self.child(&key, &at, name, stands_in).await?;
            if is_first_in_place && at.is_new {
                // It was beside the default folder; clients can make folders only inside.
                at = Container::new(at.id.clone(), true, true);
            }
        }
        Ok(at)
    }

    /// One and the same for all that goes there: what was in it before is listed once.
    async fn default(&self) -> Result<Arc<Container>, Error> {
        let cell = self.all.cell(DEFAULT);
        let default = || async { Container::new(DEFAULT.to_owned(), false, false) };
        Ok(Arc::clone(cell.get_or_init(default).await))
    }

    async fn child(
        &self,
        key: &str,
        parent: &Container,
        name: &str,
        stands_in: bool,
    ) -> Result<Arc<Container>, Error> {
        self.all.child(key, parent, name, &json!({}), stands_in).await
    }

    /// The folder at a place that was begun, if it is there.
    pub(super) async fn begun(&self, place: &str) -> Result<Option<String>, graph::Error> {
        self.all.begun(place).await
    }

    /// Takes note that the contact at `path` will be made in the folder with this id.
    pub(super) fn remember(&self, path: &str, folder: &str) -> Result<(), Error> {
        self.all.journal.spot(&self.all.section, path, folder)
    }

    /// Takes note of the contact that will give way to the one at `path`.
    pub(super) fn replaces(&self, path: &str, old: &str) -> Result<(), Error> {
        self.all.journal.replaces(&self.all.section, path, old)
    }

    /// The contact that an earlier run was taking away for the one at `path`.
    pub(super) fn replaced(&self, path: &str) -> Result<Option<String>, Error> {
        self.all.journal.under_way(&self.all.section, path).map(|(_, old)| old)
    }
}

/// What is in a folder.
pub(super) fn contacts(mailbox: &Mailbox, folder: &str) -> String {
    match folder {
        DEFAULT => format!("{}/contacts", mailbox.root),
        folder => format!("{}/contactFolders/{}/contacts", mailbox.root, segment(folder)),
    }
}

/// A name the service accepts: not empty, and without the spaces around it.
fn shown(name: &str) -> &str {
    match name.trim() {
        "" => "(no name)",
        name => name,
    }
}
