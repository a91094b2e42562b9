//! What an owner has, on disk: merged by id as it is listed, read back in stream order.
//!
//! One temporary database a section (an owner's service), gone with the section. It holds the
//! canonical JSON of each folder and item, so that the metadata can be written before the
//! content without holding a mailbox of a million messages in memory. `SQLite` does the three
//! things that would else be code of ours: merge by key, sort beyond memory, join on parents.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use archive::path;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Params, Row, functions::FunctionFlags, params};

use crate::Error;

/// Paths of folders longer than this many bytes start anew under the service's own folder:
/// extraction must stay below `PATH_MAX` (4,096) also with a destination before it.
const LONGEST_FOLDER_PATH: usize = 1500;

/// Statements that are kept prepared: all there are.
const STATEMENTS: usize = 64;
/// KiB of pages in memory that will do.
pub(crate) const LEAST_CACHE: u32 = 256;

/// A name as the service has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// Shown as it is, as far as file systems allow; may clash with its siblings.
    Native(&'a str),
    /// Made by us, unique in its folder.
    Unique(&'a str),
    /// The component itself, as an archive has it; others must not clash with it.
    Exact(&'a str),
}

/// Why an item of the inventory is not fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unwanted {
    pub(crate) cause: String,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// A folder or item as it was listed.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    /// Id, immutable where the service has such.
    pub(crate) id: &'a str,
    /// The listing that told of it. A mail moved while we list is told of by two.
    pub(crate) listing: &'a str,
    /// Id of the folder it is in.
    pub(crate) parent: &'a str,
    /// `kind` of its metadata line.
    pub(crate) kind: &'a str,
    /// True for what contains others.
    pub(crate) folder: bool,
    /// Immutable order key: nanoseconds since 1970.
    pub(crate) key: i64,
    /// Its own time, seconds since 1970.
    pub(crate) mtime: i64,
    pub(crate) name: Name<'a>,
    /// Canonical JSON, volatile keys dropped.
    pub(crate) json: &'a str,
    /// Set when there is no content to fetch.
    pub(crate) unwanted: Option<Unwanted>,
}

/// A folder or item as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) key: i64,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) mtime: i64,
    pub(crate) path: String,
    pub(crate) json: String,
    pub(crate) unwanted: Option<Unwanted>,
    /// For a folder: something that stays is below it.
    pub(crate) used: bool,
    /// For a folder: it is written only if it is used.
    pub(crate) hidden: bool,
    /// No plugin sees its content.
    pub(crate) exempt: bool,
}

/// The inventory of one section.
#[derive(Debug)]
pub(crate) struct Inventory {
    /// Behind a lock, so that the listings of one mailbox share it.
    db: Mutex<Connection>,
    dir: PathBuf,
}

const SCHEMA: &str = "
PRAGMA journal_mode = OFF; PRAGMA temp_store = FILE;
CREATE TABLE node (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL, listing TEXT NOT NULL, parent TEXT NOT NULL,
    kind TEXT NOT NULL, folder INTEGER NOT NULL, key INTEGER NOT NULL, mtime INTEGER NOT NULL,
    name TEXT NOT NULL, fold TEXT, exact INTEGER NOT NULL DEFAULT 0, json TEXT NOT NULL,
    cause TEXT, code TEXT, message TEXT,
    gone INTEGER NOT NULL DEFAULT 0, hidden INTEGER NOT NULL DEFAULT 0,
    outdated INTEGER NOT NULL DEFAULT 0, exempt INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX node_id ON node (id, listing);
CREATE INDEX node_listing ON node (listing);
CREATE TABLE memory (id TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE place (id TEXT PRIMARY KEY, path TEXT NOT NULL, used INTEGER NOT NULL DEFAULT 0)
    WITHOUT ROWID;
";

const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS node_fold ON node (parent, fold) WHERE fold IS NOT NULL;
CREATE INDEX IF NOT EXISTS node_folder ON node (parent) WHERE folder;
CREATE INDEX IF NOT EXISTS node_folders ON node (id) WHERE folder;
CREATE INDEX IF NOT EXISTS node_order ON node (folder, key, id);
";

const COLUMNS: &str = "n.key, n.id, n.kind, n.mtime, n.json, n.cause, n.code, n.message, p.used,
    n.hidden, n.exempt";

impl Inventory {
    /// An empty inventory that holds at most so many KiB of its pages in memory, the rest in a
    /// temporary file in `dir`. One that fits has no file.
    pub(crate) fn create(dir: &Path, cache: u32) -> Result<Self, Error> {
        Self::open(dir, cache).map_err(|source| Error::Inventory { dir: dir.to_owned(), source })
    }

    fn open(dir: &Path, cache: u32) -> rusqlite::Result<Self> {
        // A database without a name has no file before it needs one, and never one that is left
        // behind, however we end.
        let db = Connection::open("")?;
        // Where that file goes; deprecated, but there is no other way to say it.
        db.pragma_update(None, "temp_store_directory", dir.to_string_lossy().as_ref())?;
        db.pragma_update(None, "cache_size", -i64::from(cache))?;
        // Else each statement is planned again for every limit it is given.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        db.execute_batch(SCHEMA)?;
        register_names(&db)?;
        db.execute_batch("BEGIN")?;
        Ok(Self { db: Mutex::new(db), dir: dir.to_owned() })
    }

    /// Puts a folder or item in, over what the same listing told of the same id before.
    pub(crate) fn put(&self, node: &Node<'_>) -> Result<(), Error> {
        let (name, fold, exact) = match node.name {
            Name::Unique(name) => (name, None, false),
            Name::Native(name) => (name, Some(fold(name, node.id, node.folder)), false),
            Name::Exact(name) => (name, Some(path::fold(name)), true),
        };
        let unwanted = node.unwanted.as_ref();
        self.execute(
            "INSERT OR REPLACE INTO node
             (id, listing, parent, kind, folder, key, mtime, name, fold, json, cause, code,
              message, exact)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            params![
                node.id,
                node.listing,
                node.parent,
                node.kind,
                node.folder,
                node.key,
                node.mtime,
                name,
                fold,
                node.json,
                unwanted.map(|u| &u.cause),
                unwanted.map(|u| &u.code),
                unwanted.map(|u| &u.message),
                exact,
            ],
        )?;
        Ok(())
    }

    /// The JSON that `listing` told of `id`, for a row that names only what changed.
    pub(crate) fn json(&self, listing: &str, id: &str) -> Result<Option<String>, Error> {
        self.db()
            .prepare_cached("SELECT json FROM node WHERE id = ?1 AND listing = ?2")
            .and_then(|mut s| s.query_row(params![id, listing], |row| row.get(0)).optional())
            .map_err(|source| self.error(source))
    }

    /// `listing` says that `id` is gone. What another listing says of it stays.
    pub(crate) fn remove(&self, listing: &str, id: &str) -> Result<(), Error> {
        self.execute("DELETE FROM node WHERE id = ?1 AND listing = ?2", params![id, listing])?;
        Ok(())
    }

    /// Forgets all that `listing` told: it starts over, or its container vanished.
    pub(crate) fn forget(&self, listing: &str) -> Result<(), Error> {
        self.execute("DELETE FROM node WHERE listing = ?1", params![listing])?;
        Ok(())
    }

    /// Puts a folder or item in like [`Inventory::put`]. True if that is news: the listing told of
    /// it for the first time, or with other JSON.
    pub(crate) fn update(&self, node: &Node<'_>) -> Result<bool, Error> {
        let known = self.json(node.listing, node.id)?;
        self.put(node)?;
        Ok(known.as_deref() != Some(node.json))
    }

    /// What `listing` told is to be told again; see [`Inventory::remove_outdated`].
    pub(crate) fn outdate(&self, listing: &str) -> Result<(), Error> {
        self.execute("UPDATE node SET outdated = 1 WHERE listing = ?1", [listing])?;
        Ok(())
    }

    /// Of this it was told again, but not what: it stays as it was.
    pub(crate) fn keep(&self, listing: &str, id: &str) -> Result<(), Error> {
        let sql = "UPDATE node SET outdated = 0 WHERE id = ?1 AND listing = ?2";
        self.execute(sql, params![id, listing]).map(drop)
    }

    /// Removes what `listing` did not tell again. How many that are.
    pub(crate) fn remove_outdated(&self, listing: &str) -> Result<usize, Error> {
        self.execute("DELETE FROM node WHERE listing = ?1 AND outdated", [listing])
    }

    /// How many items (not folders) there are.
    pub(crate) fn items(&self) -> Result<u64, Error> {
        self.db()
            .query_row("SELECT count(*) FROM node WHERE NOT folder", [], |row| row.get::<_, i64>(0))
            .map(|n| u64::try_from(n).unwrap_or(0))
            .map_err(|source| self.error(source))
    }

    /// Whether the JSON of any of a kind names `key`; none if there is none of that kind.
    pub(crate) fn holds(&self, kind: &str, key: &str) -> Result<Option<bool>, Error> {
        let sql = "SELECT max(instr(json, ?2) > 0) FROM node WHERE kind = ?1";
        self.db()
            .query_row(sql, params![kind, format!("\"{key}\":")], |row| row.get(0))
            .map_err(|source| self.error(source))
    }

    /// Ends the listing: one row an id, every folder and item with its path under `base`, whose
    /// own id is `root`. An item whose folder was not told of stands under `base` itself, its
    /// name tagged: it is in an odd place, not lost.
    pub(crate) fn arrange(&self, root: &str, base: &str) -> Result<(), Error> {
        self.execute(
            "DELETE FROM node WHERE EXISTS
                 (SELECT 1 FROM node AS later WHERE later.id = node.id AND later.seq > node.seq)",
            [],
        )?;
        self.execute_batch(INDEXES)?;
        self.adopt(
            root,
            "parent <> ?1 AND NOT EXISTS
                 (SELECT 1 FROM node AS up WHERE up.id = node.parent AND up.folder)",
        )?;
        self.place_folders(root, base)?;
        // Folders that contain one another in a circle: a listing caught between two moves.
        let circles = "folder AND parent <> ?1
             AND NOT EXISTS (SELECT 1 FROM place WHERE place.id = node.id)";
        if self.adopt(root, circles)? > 0 {
            self.place_folders(root, base)?;
        }
        Ok(())
    }

    /// Puts a folder in where an archive has it.
    pub(crate) fn put_at(&self, node: &Node<'_>, path: &str) -> Result<(), Error> {
        self.put(node)?;
        self.execute("INSERT OR IGNORE INTO place (id, path) VALUES (?1, ?2)", [node.id, path])?;
        Ok(())
    }

    /// A folder without a line for all that is in none; its id is empty.
    pub(crate) fn put_root(&self, path: &str) -> Result<(), Error> {
        self.execute("INSERT OR IGNORE INTO place (id, path) VALUES ('', ?1)", [path])?;
        Ok(())
    }

    /// Where an item that is still there stands, once arranged.
    pub(crate) fn item_path(&self, id: &str) -> Result<Option<String>, Error> {
        let sql = format!(
            "SELECT p.path || '/' || {COMPONENT} FROM node AS n JOIN place AS p ON p.id = n.parent
             WHERE n.id = ?1 AND NOT n.folder AND NOT n.gone"
        );
        self.db()
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_row([id], |row| row.get(0)).optional())
            .map_err(|source| self.error(source))
    }

    /// The folder at a path.
    pub(crate) fn folder_at(&self, path: &str) -> Result<Option<String>, Error> {
        self.db()
            .prepare_cached("SELECT id FROM place WHERE path = ?1")
            .and_then(|mut s| s.query_row([path], |row| row.get(0)).optional())
            .map_err(|source| self.error(source))
    }

    /// Ends what [`Inventory::put_at`] began: folders are in those whose paths theirs begin with,
    /// or in the root.
    pub(crate) fn arrange_by_paths(&self, root: &str) -> Result<(), Error> {
        self.execute_batch(INDEXES)?;
        self.execute_batch("CREATE INDEX IF NOT EXISTS place_path ON place (path)")?;
        // Of an archive whose selection left its folder out: in an odd place, but not lost.
        self.execute(
            "UPDATE node SET name = tagged(name, id, 1), fold = NULL, exact = 0
             WHERE folder AND id <> ?1 AND NOT EXISTS
                 (SELECT 1 FROM place AS own JOIN place AS above
                  ON above.path = rtrim(rtrim(own.path, replace(own.path, '/', '')), '/')
                  WHERE own.id = node.id)",
            [root],
        )?;
        self.execute(
            "UPDATE node SET parent = coalesce(
                 (SELECT above.id FROM place AS own JOIN place AS above
                  ON above.path = rtrim(rtrim(own.path, replace(own.path, '/', '')), '/')
                  WHERE own.id = node.id), ?1)
             WHERE folder AND id <> ?1",
            [root],
        )?;
        Ok(())
    }

    /// Moves what `condition` says right under the root, with a tagged name.
    fn adopt(&self, root: &str, condition: &str) -> Result<usize, Error> {
        self.execute(
            &format!(
                "UPDATE node SET parent = ?1, name = tagged(name, id, folder), fold = NULL
                 WHERE id <> ?1 AND {condition}"
            ),
            params![root],
        )
    }

    /// Gives a folder or item, once arranged, another name and JSON; it stays where it is. Names
    /// of folders are seen in paths after [`Inventory::place_folders`].
    pub(crate) fn change(&self, id: &str, name: &Name<'_>, json: &str) -> Result<(), Error> {
        let (name, is_native) = match name {
            Name::Unique(name) | Name::Exact(name) => (name, false),
            Name::Native(name) => (name, true),
        };
        self.execute(
            "UPDATE node SET name = ?2, json = ?4, exact = 0,
                 fold = CASE WHEN ?3 THEN folded(?2, id, folder) ELSE NULL END WHERE id = ?1",
            params![id, name, is_native, json],
        )?;
        Ok(())
    }

    /// Takes an item out, once arranged. What had the same name as it keeps the one it has.
    pub(crate) fn drop_item(&self, id: &str) -> Result<(), Error> {
        self.execute("UPDATE node SET gone = 1 WHERE id = ?1 AND NOT folder", params![id])?;
        Ok(())
    }

    /// A folder that is written only if something below it is.
    pub(crate) fn hide(&self, folder: &str) -> Result<(), Error> {
        self.execute("UPDATE node SET hidden = 1 WHERE id = ?1 AND folder", params![folder])?;
        Ok(())
    }

    /// An item whose content no plugin is to see.
    pub(crate) fn exempt(&self, id: &str) -> Result<(), Error> {
        self.execute("UPDATE node SET exempt = 1 WHERE id = ?1", params![id])?;
        Ok(())
    }

    /// Keeps what was decided on an item.
    pub(crate) fn remember(&self, id: &str, json: &str) -> Result<(), Error> {
        self.execute("INSERT OR REPLACE INTO memory VALUES (?1, ?2)", params![id, json])?;
        Ok(())
    }

    /// What was decided on an item.
    pub(crate) fn recall(&self, id: &str) -> Result<Option<String>, Error> {
        self.db()
            .prepare_cached("SELECT json FROM memory WHERE id = ?1")
            .and_then(|mut s| s.query_row(params![id], |row| row.get(0)).optional())
            .map_err(|source| self.error(source))
    }

    /// What is remembered by keys that begin with `prefix`, in order, the next `limit` after
    /// `after`.
    pub(crate) fn recall_all(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, String)>, Error> {
        let select = || {
            let db = self.db();
            let mut statement = db.prepare_cached(
                "SELECT id, json FROM memory WHERE id > max(?1, ?2) AND substr(id, 1, length(?1)) = ?1
                 ORDER BY id LIMIT ?3",
            )?;
            statement
                .query_map(params![prefix, after, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<Vec<_>, _>>()
        };
        select().map_err(|source| self.error(source))
    }

    /// Marks the folders that something is in which stays, if it matters for any.
    pub(crate) fn use_folders(&self) -> Result<(), Error> {
        let is_any_hidden = self
            .db()
            .query_row("SELECT EXISTS (SELECT 1 FROM node WHERE folder AND hidden)", [], |row| {
                row.get::<_, bool>(0)
            })
            .map_err(|source| self.error(source))?;
        if !is_any_hidden {
            return Ok(());
        }
        // It may be asked again when less is left.
        self.execute("UPDATE place SET used = 0 WHERE used", [])?;
        self.execute(
            "UPDATE place SET used = 1 WHERE id IN (SELECT parent FROM node
                 WHERE CASE WHEN folder THEN NOT hidden ELSE NOT gone END)",
            [],
        )?;
        let above = "UPDATE place SET used = 1 WHERE NOT used AND id IN
            (SELECT n.parent FROM node AS n JOIN place AS p ON p.id = n.id WHERE n.folder AND p.used)";
        while self.execute(above, [])? > 0 {}
        Ok(())
    }

    /// The paths of the folders, by their names and parents.
    pub(crate) fn place_folders(&self, root: &str, base: &str) -> Result<(), Error> {
        self.execute("DELETE FROM place", [])?;
        self.execute(
            &format!(
                "WITH RECURSIVE tree (id, path) AS (
                     VALUES (?1, ?2)
                     UNION ALL
                     SELECT n.id, CASE WHEN length(CAST(tree.path AS BLOB)) > {LONGEST_FOLDER_PATH}
                         THEN ?2 || '/' || tagged(n.name, n.id, 1)
                         ELSE tree.path || '/' || {COMPONENT} END
                     FROM tree JOIN node AS n ON n.parent = tree.id WHERE n.folder AND n.id <> ?1)
                 INSERT OR IGNORE INTO place (id, path) SELECT id, path FROM tree"
            ),
            params![root, base],
        )?;
        Ok(())
    }

    /// Whether a folder was left out, and nothing that stays is in it.
    pub(crate) fn is_left_out(&self, id: &str) -> Result<bool, Error> {
        self.db()
            .prepare_cached(
                "SELECT n.hidden AND NOT p.used FROM node AS n JOIN place AS p ON p.id = n.id
                 WHERE n.id = ?1",
            )
            .and_then(|mut s| s.query_row(params![id], |row| row.get(0)).optional())
            .map(|is_left_out| is_left_out.unwrap_or(false))
            .map_err(|source| self.error(source))
    }

    /// Where a folder stands, once arranged.
    pub(crate) fn folder_path(&self, id: &str) -> Result<Option<String>, Error> {
        self.db()
            .prepare_cached("SELECT path FROM place WHERE id = ?1")
            .and_then(|mut s| s.query_row(params![id], |row| row.get(0)).optional())
            .map_err(|source| self.error(source))
    }

    /// The next `limit` folders in stream order (by id) after `after`.
    pub(crate) fn folders_after(&self, after: &str, limit: u32) -> Result<Vec<Item>, Error> {
        self.select(
            &format!(
                "SELECT {COLUMNS}, p.path FROM node AS n JOIN place AS p ON p.id = n.id
                 WHERE n.folder AND n.id > ?1 ORDER BY n.id LIMIT ?2"
            ),
            params![after, limit],
        )
    }

    /// The next `limit` items in stream order (by key, then id) after `after`.
    pub(crate) fn items_after(&self, after: (i64, &str), limit: u32) -> Result<Vec<Item>, Error> {
        self.select(
            &format!(
                "SELECT {COLUMNS}, p.path || '/' || {COMPONENT} FROM node AS n
                 JOIN place AS p ON p.id = n.parent
                 WHERE n.folder = 0 AND NOT n.gone AND (n.key, n.id) > (?1, ?2)
                 ORDER BY n.key, n.id LIMIT ?3"
            ),
            params![after.0, after.1, limit],
        )
    }

    /// The JSON of the next `limit` items by id alone, for an inventory that is not a tree.
    pub(crate) fn items_by_id_after(&self, after: &str, limit: u32) -> Result<Vec<String>, Error> {
        let select = || {
            let db = self.db();
            let mut statement =
                db.prepare_cached("SELECT json FROM node WHERE id > ?1 ORDER BY id LIMIT ?2")?;
            statement
                .query_map(params![after, limit], |row| row.get(0))?
                .collect::<Result<Vec<_>, _>>()
        };
        select().map_err(|source| self.error(source))
    }

    /// Ends the listing of an inventory that is not a tree: its items can be read by their keys.
    pub(crate) fn index(&self) -> Result<(), Error> {
        self.execute_batch(INDEXES)
    }

    /// Key, id and JSON of the next item by key, then id, of an inventory that is not a tree.
    pub(crate) fn first_after(
        &self,
        after: (i64, &str),
    ) -> Result<Option<(i64, String, String)>, Error> {
        self.db()
            .prepare_cached(
                "SELECT key, id, json FROM node WHERE folder = 0 AND (key, id) > (?1, ?2)
                 ORDER BY key, id LIMIT 1",
            )
            .and_then(|mut statement| {
                let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                statement.query_row(params![after.0, after.1], read).optional()
            })
            .map_err(|source| self.error(source))
    }

    fn select(&self, sql: &str, params: impl Params) -> Result<Vec<Item>, Error> {
        let select = || {
            let db = self.db();
            let mut statement = db.prepare_cached(sql)?;
            statement.query_map(params, item)?.collect::<Result<Vec<_>, _>>()
        };
        select().map_err(|source| self.error(source))
    }

    fn execute(&self, sql: &str, params: impl Params) -> Result<usize, Error> {
        self.db()
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map_err(|source| self.error(source))
    }

    fn execute_batch(&self, sql: &str) -> Result<(), Error> {
        self.db().execute_batch(sql).map_err(|source| self.error(source))
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, source: rusqlite::Error) -> Error {
        Error::Inventory { dir: self.dir.clone(), source }
    }
}

/// The component of node `n`: tagged when a sibling has the same name on some file system.
const COMPONENT: &str = "CASE WHEN n.fold IS NULL OR n.exact THEN n.name
    WHEN EXISTS (SELECT 1 FROM node AS s
                 WHERE s.parent = n.parent AND s.fold = n.fold AND s.id <> n.id)
    THEN tagged(n.name, n.id, n.folder) ELSE component(n.name, n.id, n.folder) END";

fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let cause: Option<String> = row.get(5)?;
    let unwanted = match cause {
        None => None,
        Some(cause) => Some(Unwanted { cause, code: row.get(6)?, message: row.get(7)? }),
    };
    Ok(Item {
        key: row.get(0)?,
        id: row.get(1)?,
        kind: row.get(2)?,
        mtime: row.get(3)?,
        json: row.get(4)?,
        unwanted,
        used: row.get(8)?,
        hidden: row.get(9)?,
        exempt: row.get(10)?,
        path: row.get(11)?,
    })
}

fn fold(name: &str, id: &str, folder: bool) -> String {
    path::fold(&component(name, id, folder))
}

fn component(name: &str, id: &str, folder: bool) -> String {
    if folder { path::directory_component(name, id) } else { path::component(name, id) }
}

fn tagged(name: &str, id: &str, folder: bool) -> String {
    if folder {
        path::tagged_directory_component(name, id)
    } else {
        path::tagged_component(name, id)
    }
}

/// Gives SQL the format's own naming rules.
fn register_names(db: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    for (function, rule) in [
        ("component", component as fn(&str, &str, bool) -> String),
        ("tagged", tagged),
        ("folded", fold),
    ] {
        db.create_scalar_function(function, 3, flags, move |call| {
            let (name, id): (String, String) = (call.get(0)?, call.get(1)?);
            Ok(rule(&name, &id, call.get(2)?))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
