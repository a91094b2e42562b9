//! What is in a container already: so that nothing is put there twice.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use graph::Prefer;
use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::mark::{expansion, mark, read_mark};
use super::{Mailbox, id};
use crate::error::Error;
use crate::scratch::Scratch;

/// Items a page.
const PAGE: u32 = 500;

const TABLES: &str = "
CREATE TABLE own (container INTEGER, source TEXT, id TEXT NOT NULL, partial INTEGER NOT NULL,
  PRIMARY KEY (container, source)) WITHOUT ROWID;
CREATE TABLE other (container INTEGER, id TEXT, name TEXT, received TEXT,
  PRIMARY KEY (container, id)) WITHOUT ROWID;
CREATE INDEX alike ON other (container, name, received);
";

/// What all containers of a mailbox held: one database, whatever their number.
#[derive(Debug, Default)]
pub(super) struct Held {
    scratch: Mutex<Option<Arc<Scratch>>>,
    containers: AtomicI64,
}

/// Items of one kind: by which two of their properties somebody else's item is the same.
#[derive(Debug)]
pub(crate) struct Kept {
    /// A text that names it: Message-ID, iCalUId.
    pub(crate) name: &'static str,
    /// A date, compared to the second.
    pub(crate) date: &'static str,
}

/// The items that a container held before this run.
#[derive(Debug)]
pub(crate) struct Existing {
    scratch: Arc<Scratch>,
    /// Its number in there.
    container: i64,
}

/// An item that was put there by an earlier run.
pub(crate) struct Own {
    pub(crate) id: String,
    /// It was not finished.
    pub(crate) is_partial: bool,
}

impl Existing {
    /// Lists the collection at `list`.
    pub(crate) async fn list(
        mailbox: &Mailbox,
        list: &str,
        kept: &Kept,
        spool_dir: &Path,
    ) -> Result<Self, Error> {
        let expand = expansion();
        let Kept { name, date } = kept;
        let path = format!("{list}?$select=id,{name},{date}&$expand={expand}&$top={PAGE}");
        let failed =
            |source| Error::Graph { doing: "listing what is there already".into(), source };
        let existing = Self::empty(mailbox, spool_dir)?;
        let mut pages = mailbox.graph.pages(mailbox.scope.clone(), &path, Prefer::none());
        while let Some(page) = pages.next().await.map_err(failed)? {
            for item in &page.items {
                existing.add(&item.parse().map_err(failed)?, kept)?;
            }
        }
        Ok(existing)
    }

    /// Of a container that is yet to be listed.
    pub(crate) fn empty(mailbox: &Mailbox, spool_dir: &Path) -> Result<Self, Error> {
        let Held { scratch, containers } = &*mailbox.held;
        let mut scratch = scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = match &*scratch {
            Some(there) => Arc::clone(there),
            None => Arc::clone(scratch.insert(Arc::new(Scratch::create(spool_dir, TABLES)?))),
        };
        Ok(Self { scratch, container: containers.fetch_add(1, Ordering::Relaxed) })
    }

    fn add(&self, item: &Value, kept: &Kept) -> Result<(), Error> {
        self.note(item, kept, mark(item))
    }

    /// Takes note of an item, and of the mark that it carries.
    pub(crate) fn note(&self, item: &Value, kept: &Kept, mark: Option<&str>) -> Result<(), Error> {
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        let id = id(item);
        self.scratch.asked(|db| {
            if let Some(mark) = mark {
                let (source, is_partial) = read_mark(mark);
                let sql = "INSERT OR REPLACE INTO own VALUES (?1, ?2, ?3, ?4)";
                let values = params![self.container, source, id, is_partial];
                return db.prepare_cached(sql)?.execute(values).map(drop);
            }
            let name = text(kept.name).filter(|name| !name.is_empty());
            let received = text(kept.date).map(second);
            let sql = "INSERT OR REPLACE INTO other VALUES (?1, ?2, ?3, ?4)";
            let values = params![self.container, id, name, received];
            db.prepare_cached(sql)?.execute(values).map(drop)
        })
    }

    /// The item that an earlier run made of the one with the id `source`.
    pub(crate) fn own(&self, source: &str) -> Result<Option<Own>, Error> {
        self.scratch.asked(|db| {
            let sql = "SELECT id, partial FROM own WHERE container = ?1 AND source = ?2";
            db.prepare_cached(sql)?
                .query_row(params![self.container, source], |row| {
                    Ok(Own { id: row.get(0)?, is_partial: row.get(1)? })
                })
                .optional()
        })
    }

    /// An item of somebody else that is this one, or one with the same name and date. Each is given
    /// out once: copies stay copies.
    pub(crate) fn foreign(
        &self,
        source: &str,
        name: Option<&str>,
        received: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let received = received.map(second);
        self.scratch.asked(|db| {
            let same = "DELETE FROM other WHERE container = ?1 AND id = ?2 RETURNING id";
            let mut same = db.prepare_cached(same)?;
            let found: Option<String> =
                same.query_row(params![self.container, source], |row| row.get(0)).optional()?;
            if found.is_some() {
                return Ok(found);
            }
            let alike = "DELETE FROM other WHERE container = ?1 AND id = (SELECT id FROM other
                         WHERE container = ?1 AND name = ?2 AND received = ?3 ORDER BY id LIMIT 1)
                         RETURNING id";
            let values = params![self.container, name, received];
            db.prepare_cached(alike)?.query_row(values, |row| row.get(0)).optional()
        })
    }
}

/// A date without its fraction of a second.
fn second(date: &str) -> &str {
    date.get(..19).unwrap_or(date)
}
