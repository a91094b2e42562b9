//! What of a section is to be restored, on disk: its folders, and the items that are wanted.
//!
//! One temporary database a section. A member of the archive is looked up by its path, so that
//! nothing depends on the order of a stream that nobody has proven yet.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use archive::metadata::Line;
use archive::{IndexEntry, Sha256Digest};
use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use crate::error::Error;
use crate::scratch::Scratch;
use crate::section::Folder;

const TABLES: &str = "
CREATE TABLE folder (id TEXT PRIMARY KEY, parent TEXT, line TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE item (
  seq INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, line TEXT NOT NULL,
  offset INTEGER, span INTEGER, size INTEGER, sha256 BLOB, damaged INTEGER, seen INTEGER NOT NULL DEFAULT 0);
";

/// Ways to folders that are kept.
const TRAILS: usize = 16;
/// Deeper than any service allows; an archive that says otherwise has a circle.
const DEEPEST: usize = 400;

/// See the module.
#[derive(Debug)]
pub(crate) struct Work {
    scratch: Scratch,
    prefix: String,
    /// The ways that were asked for last: items of one folder come together, and so do folders.
    trails: Mutex<VecDeque<(String, Vec<Folder>)>>,
}

/// Where the member of an item is in the archive's file.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) seq: i64,
    pub(crate) line: Line,
    pub(crate) offset: u64,
    pub(crate) span: u64,
    pub(crate) size: u64,
    pub(crate) sha256: Option<Sha256Digest>,
    pub(crate) damaged: bool,
}

impl Work {
    /// Empty, for the section at `prefix`.
    pub(crate) fn create(dir: &Path, prefix: &str) -> Result<Self, Error> {
        let scratch = Scratch::create(dir, TABLES)?;
        Ok(Self { scratch, prefix: prefix.to_owned(), trails: Mutex::default() })
    }

    pub(crate) fn add_folder(&self, line: &Line) -> Result<(), Error> {
        let parent = parent(line);
        let text = line.encode();
        self.scratch.asked(|db| {
            db.prepare_cached("INSERT OR REPLACE INTO folder VALUES (?1, ?2, ?3)")?
                .execute(params![line.id, parent, text])
                .map(drop)
        })
    }

    /// Takes note of an item that is wanted. False if there is one at that path already.
    pub(crate) fn add_item(&self, line: &Line) -> Result<bool, Error> {
        let Some(path) = &line.path else { return Ok(true) };
        let text = line.encode();
        self.scratch.asked(|db| {
            db.prepare_cached("INSERT OR IGNORE INTO item (path, line) VALUES (?1, ?2)")?
                .execute(params![path, text])
                .map(|rows| rows == 1)
        })
    }

    /// Folders that the archive knows.
    pub(crate) fn folders(&self) -> Result<u64, Error> {
        let sql = "SELECT count(*) FROM folder";
        self.scratch.asked(|db| db.query_row(sql, [], |row| unsigned(row, 0)))
    }

    /// Items that are wanted.
    pub(crate) fn count(&self) -> Result<u64, Error> {
        self.scratch
            .asked(|db| db.query_row("SELECT count(*) FROM item", [], |row| unsigned(row, 0)))
    }

    /// The wanted item at that path, once.
    pub(crate) fn take(&self, path: &str) -> Result<Option<Line>, Error> {
        let text: Option<String> = self.scratch.asked(|db| {
            let sql = "UPDATE item SET seen = 1 WHERE path = ?1 AND seen = 0 RETURNING line";
            db.prepare_cached(sql)?.query_row([path], |row| row.get(0)).optional()
        })?;
        text.map(|text| own_line(&text)).transpose()
    }

    /// Remembers where a wanted item's member is; false if none at that path is wanted, or it was
    /// seen before.
    pub(crate) fn locate(&self, entry: &IndexEntry) -> Result<bool, Error> {
        let IndexEntry { line, offset } = entry;
        let (offset, span) = (signed(*offset), signed(line.span));
        self.scratch.asked(|db| {
            let sql = "UPDATE item SET seen = 1, offset = ?2, span = ?3, sha256 = ?4, damaged = ?5,
                       size = ?6
                       WHERE path = ?1 AND seen = 0";
            db.prepare_cached(sql)?
                .execute(params![
                    line.path,
                    offset,
                    span,
                    line.sha256,
                    line.damaged,
                    signed(line.size)
                ])
                .map(|rows| rows == 1)
        })
    }

    /// The next item behind `after` whose place is known, in the order of the archive.
    pub(crate) fn next_located(&self, after: i64) -> Result<Option<Located>, Error> {
        let row = self.scratch.asked(|db| {
            let sql = "SELECT seq, line, offset, span, sha256, damaged, size FROM item
                       WHERE seq > ?1 AND offset IS NOT NULL ORDER BY seq LIMIT 1";
            db.prepare_cached(sql)?
                .query_row([after], |row| {
                    let place = (row.get(0)?, unsigned(row, 2)?, unsigned(row, 3)?);
                    Ok((
                        place,
                        row.get::<_, String>(1)?,
                        row.get(4)?,
                        row.get(5)?,
                        unsigned(row, 6)?,
                    ))
                })
                .optional()
        })?;
        row.map(|((seq, offset, span), text, sha256, damaged, size)| {
            Ok(Located { seq, line: own_line(&text)?, offset, span, size, sha256, damaged })
        })
        .transpose()
    }

    /// The next wanted item behind `after` that has no member, by its place and path.
    pub(crate) fn next_missing(&self, after: i64) -> Result<Option<(i64, String)>, Error> {
        self.scratch.asked(|db| {
            let sql = "SELECT seq, path FROM item WHERE seq > ?1 AND seen = 0 ORDER BY seq LIMIT 1";
            db.prepare_cached(sql)?
                .query_row([after], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
    }

    /// The next item behind `after`, whatever became of it.
    pub(crate) fn next_item(&self, after: i64) -> Result<Option<(i64, String)>, Error> {
        self.scratch.asked(|db| {
            let sql = "SELECT seq, path FROM item WHERE seq > ?1 ORDER BY seq LIMIT 1";
            db.prepare_cached(sql)?
                .query_row([after], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
    }

    /// The folders from below the root down to the one with this id. Empty for the root itself
    /// and for a folder the archive does not know.
    pub(crate) fn trail(&self, id: &str) -> Result<Vec<Folder>, Error> {
        let mut known = self.trails.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, way)) = known.iter().find(|(known, _)| known == id) {
            return Ok(way.clone());
        }
        let mut above = Vec::new();
        let mut next = Some(id.to_owned());
        let mut trail = Vec::new();
        // Up to a folder whose way is known, or to the top.
        while let Some(id) = next.take() {
            if let Some((_, way)) = known.iter().find(|(known, _)| *known == id) {
                trail.clone_from(way);
                break;
            }
            let row: Option<(Option<String>, String)> = self.scratch.asked(|db| {
                db.prepare_cached("SELECT parent, line FROM folder WHERE id = ?1")?
                    .query_row([&id], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })?;
            let Some((parent, text)) = row else { break };
            let folder = Folder::from_line(&own_line(&text)?, &self.prefix);
            if folder.is_root() || above.len() == DEEPEST {
                break;
            }
            above.push(folder);
            next = parent;
        }
        trail.extend(above.into_iter().rev());
        trail.truncate(DEEPEST);
        if known.len() == TRAILS {
            known.pop_front();
        }
        known.push_back((id.to_owned(), trail.clone()));
        Ok(trail)
    }

    /// The folders an item is in.
    pub(crate) fn trail_of(&self, line: &Line) -> Result<Vec<Folder>, Error> {
        let Some(id) = parent(line) else { return Ok(Vec::new()) };
        let is_known = self
            .scratch
            .asked(|db| db.prepare_cached("SELECT 1 FROM folder WHERE id = ?1")?.exists([&id]))?;
        if is_known { self.trail(&id) } else { Ok(self.trail_by_path(line)) }
    }

    /// The same by the path of the member, for a folder whose line is damaged: names in paths are
    /// close to those of the folders.
    fn trail_by_path(&self, line: &Line) -> Vec<Folder> {
        let path = line.path.as_deref().unwrap_or_default();
        let path = path.strip_prefix(self.prefix.as_str()).unwrap_or(path).trim_matches('/');
        let ends = path.match_indices('/').map(|(end, _)| &path[..end]);
        let folder = |path: &str| Folder {
            id: path.to_owned(),
            name: archive::path::unescape(path.rsplit('/').next().unwrap_or(path)),
            well_known: None,
            path: path.to_owned(),
            graph: Value::Null,
        };
        ends.map(folder).collect()
    }

    /// The id of the next folder behind `after`, and its path in the archive.
    pub(crate) fn next_folder(
        &self,
        after: &str,
    ) -> Result<Option<(String, Option<String>)>, Error> {
        let row: Option<(String, String)> = self.scratch.asked(|db| {
            db.prepare_cached("SELECT id, line FROM folder WHERE id > ?1 ORDER BY id LIMIT 1")?
                .query_row([after], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })?;
        row.map(|(id, text)| Ok((id, own_line(&text)?.path))).transpose()
    }
}

/// The id of the folder that a folder or item is in.
fn parent(line: &Line) -> Option<String> {
    let graph = &line.graph;
    let id = graph.get("parentFolderId").or_else(|| graph.pointer("/parentReference/id"));
    id.and_then(Value::as_str).map(str::to_owned)
}

fn own_line(text: &str) -> Result<Line, Error> {
    Ok(Line::parse(text)?)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|n| u64::try_from(n).unwrap_or(0))
}
