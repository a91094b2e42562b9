//! Conversations of a group: out of the archive into files and IMAP mailboxes, never back into
//! Microsoft 365. No application may write them, and whatever a person writes there is mailed to
//! every member (FACTS 1.8, 5.8).

use std::sync::Arc;

use archive::metadata::Line;
use graph::Graph;
use serde_json::{Value, json};

use super::{About, Compared, Import};
use crate::content::digest;
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::Options;
use crate::place::{Made, Place, Restored, Undone};
use crate::section::{Folder, Section};
use crate::target::User;

/// Conversations of a group.
pub(super) struct Conversations;

impl Import for Conversations {
    const ABOUT: About = About { name: "conversations", roles: &[], most_upload: None };

    type Place = Nowhere;

    async fn open(
        _graph: Graph,
        _user: &User,
        section: &Section,
        _options: &Options,
        _journal: Arc<Journal>,
    ) -> Result<Nowhere, Error> {
        Err(refused(&section.prefix))
    }

    fn reopen(_graph: Graph, section: &str, _address: &str, _journal: Arc<Journal>) -> Nowhere {
        Nowhere { section: section.to_owned() }
    }

    /// When it came.
    fn mtime(line: &Line) -> i64 {
        crate::item::mtime(line, &["/receivedDateTime", "/createdDateTime"])
    }

    fn requests(_line: &Line, _size: u64) -> u64 {
        0
    }

    /// Its bytes, which follow from what the service says of it.
    fn compared(item: &Item) -> Result<Compared, Error> {
        let failed = |source| Error::Content { path: item.path.clone(), source };
        let text = |key: &str| item.line.graph.get(key).and_then(Value::as_str).unwrap_or_default();
        let content = digest(&mut item.content.open().map_err(failed)?).map_err(failed)?;
        let name = format!("{} {}", text("receivedDateTime"), text("topic").trim());
        let all = json!({ "sha256": content });
        Ok(Compared { name, content: content.into(), all })
    }
}

/// Why nothing of it goes into Microsoft 365.
pub(crate) fn refused(section: &str) -> Error {
    let what = format!(
        "{section}: no application may write conversations, and each post would be mailed to the \
         members; --to directory:PATH or imaps://USER@HOST gets them out"
    );
    Error::Item { cause: "not-writable", what }
}

/// The place that there is none of in Microsoft 365.
pub(crate) struct Nowhere {
    section: String,
}

impl Place for Nowhere {
    fn shown(&self) -> String {
        "nowhere".to_owned()
    }

    fn concurrency(&self) -> usize {
        1
    }

    async fn folder(&self, _trail: &[Folder]) -> Result<(), Error> {
        Err(refused(&self.section))
    }

    async fn put(&self, _item: &Item, _trail: &[Folder]) -> Result<Restored, Error> {
        Err(refused(&self.section))
    }

    /// Nothing was made.
    async fn undo(&self, _made: &Made) -> Result<Undone, Error> {
        Err(refused(&self.section))
    }
}
