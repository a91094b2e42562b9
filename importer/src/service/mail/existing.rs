//! What is in a folder already: so that nothing is put there twice.

use std::path::Path;

use graph::{Graph, Prefer, Scope, segment};
use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::SOURCE;
use crate::error::Error;
use crate::scratch::Scratch;

/// Messages a page.
const PAGE: u32 = 500;

const TABLES: &str = "
CREATE TABLE own (source TEXT PRIMARY KEY, id TEXT NOT NULL, partial INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE TABLE other (id TEXT PRIMARY KEY, name TEXT, received TEXT) WITHOUT ROWID;
CREATE INDEX alike ON other (name, received);
";

/// The messages that a folder held before this run.
#[derive(Debug)]
pub(super) struct Existing(Scratch);

/// A message that was put there by an earlier run.
pub(super) struct Own {
    pub(super) id: String,
    /// It was not finished.
    pub(super) is_partial: bool,
}

impl Existing {
    /// Lists the folder.
    pub(super) async fn list(
        graph: &Graph,
        scope: &Scope,
        user: &str,
        folder: &str,
        spool_dir: &Path,
    ) -> Result<Self, Error> {
        let expand = segment(&format!("singleValueExtendedProperties($filter=id eq '{SOURCE}')"))
            .to_string();
        let path = format!(
            "/users/{}/mailFolders/{}/messages?$select=id,internetMessageId,receivedDateTime\
             &$expand={expand}&$top={PAGE}",
            segment(user),
            segment(folder),
        );
        let failed =
            |source| Error::Graph { doing: "listing what is there already".into(), source };
        let existing = Self(Scratch::create(spool_dir, TABLES)?);
        let mut pages = graph.pages(scope.clone(), &path, Prefer::none());
        while let Some(page) = pages.next().await.map_err(failed)? {
            for item in &page.items {
                existing.add(&item.parse().map_err(failed)?)?;
            }
        }
        Ok(existing)
    }

    fn add(&self, message: &Value) -> Result<(), Error> {
        let text = |key: &str| message.get(key).and_then(Value::as_str);
        let id = text("id").unwrap_or_default();
        self.0.asked(|db| {
            if let Some(mark) = mark(message) {
                let (source, is_partial) = read_mark(mark);
                let sql = "INSERT OR REPLACE INTO own VALUES (?1, ?2, ?3)";
                return db.prepare_cached(sql)?.execute(params![source, id, is_partial]).map(drop);
            }
            let name = text("internetMessageId").filter(|id| !id.is_empty());
            let received = text("receivedDateTime").map(second);
            let sql = "INSERT OR REPLACE INTO other VALUES (?1, ?2, ?3)";
            db.prepare_cached(sql)?.execute([Some(id), name, received]).map(drop)
        })
    }

    /// The message that an earlier run made of the one with the id `source`.
    pub(super) fn own(&self, source: &str) -> Result<Option<Own>, Error> {
        self.0.asked(|db| {
            let sql = "SELECT id, partial FROM own WHERE source = ?1";
            db.prepare_cached(sql)?
                .query_row([source], |row| Ok(Own { id: row.get(0)?, is_partial: row.get(1)? }))
                .optional()
        })
    }

    /// A message of somebody else that is this one, or one with the same Message-ID and date.
    /// Each is given out once: copies stay copies.
    pub(super) fn foreign(
        &self,
        source: &str,
        name: Option<&str>,
        received: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let received = received.map(second);
        self.0.asked(|db| {
            let same = "DELETE FROM other WHERE id = ?1 RETURNING id";
            let found: Option<String> =
                db.prepare_cached(same)?.query_row([source], |row| row.get(0)).optional()?;
            if found.is_some() {
                return Ok(found);
            }
            let alike = "DELETE FROM other WHERE id = (SELECT id FROM other
                         WHERE name = ?1 AND received = ?2 ORDER BY id LIMIT 1) RETURNING id";
            db.prepare_cached(alike)?.query_row([name, received], |row| row.get(0)).optional()
        })
    }
}

/// The value of our mark, if the message has it.
pub(super) fn mark(message: &Value) -> Option<&str> {
    let properties = message.get("singleValueExtendedProperties")?.as_array()?;
    let ours = |property: &&Value| {
        let id = property.get("id").and_then(Value::as_str).unwrap_or_default();
        id.to_ascii_lowercase().ends_with("name tar365-source")
    };
    properties.iter().find(ours)?.get("value")?.as_str()
}

/// What the mark of a message says while it is not finished.
pub(super) fn partial_mark(source: &str) -> String {
    format!("partial {source}")
}

/// The source, and whether the message was not finished.
fn read_mark(mark: &str) -> (&str, bool) {
    mark.strip_prefix("partial ").map_or((mark, false), |source| (source, true))
}

/// A date without its fraction of a second.
fn second(date: &str) -> &str {
    date.get(..19).unwrap_or(date)
}
