//! What a restore did, on disk: a run that was killed goes on where it was, and a run can be
//! taken back.
//!
//! It is an SQLite file, so that a kill at any moment leaves it whole, a million items need no
//! memory, and an auditor can ask it questions:
//!
//! ```sql
//! SELECT state, count(*) FROM entry GROUP BY state;
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::error::Error;
use crate::place::{How, Made, Restored, What};

/// How long a program that only looks into the journal may hold us up.
const LONGEST_LOCK: Duration = Duration::from_secs(1);
/// Increment with every change of the tables.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entry (
  seq INTEGER PRIMARY KEY,
  section TEXT NOT NULL,          -- users/<upn>/<service>
  kind TEXT NOT NULL,             -- item, folder
  path TEXT NOT NULL,             -- of the member; of a folder its place in the target
  source TEXT,                    -- the item's id where it was exported
  state TEXT NOT NULL,            -- begun, created, replaced, present, failed, undone, kept
  id TEXT,                        -- how the target knows it
  etag TEXT,                      -- its state in the target when it was made
  old TEXT,                       -- what it replaced
  spot TEXT,                      -- where it is being put, while its id is not known
  cause TEXT,                     -- why it failed
  message TEXT,
  losses TEXT NOT NULL DEFAULT '',-- what the target could not take
  UNIQUE (section, kind, path)
);
CREATE TABLE place (
  section TEXT PRIMARY KEY,
  target TEXT NOT NULL            -- where its items went, as the target can open it again
) WITHOUT ROWID;
";

/// A journal. Shared by all parts of a run; each call is one transaction.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    db: Mutex<Connection>,
}

/// What the journal knows of an item from an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    New,
    /// It was begun, and nothing of it can be in the target.
    Unmade,
    /// It was being made when the run died: it may be in the target, or about to show there.
    Doubtful,
    /// The same, but that run saw its end: what it made of it shows by now.
    Failed,
    /// It is where it should be.
    Done,
}

impl Journal {
    /// Opens `path`, or makes it. `about` is what must not differ between runs with one journal:
    /// the target and the options that decide what is put where.
    ///
    /// # Errors
    /// If it belongs to something else.
    pub(crate) fn open(path: &Path, about: &[(&str, String)]) -> Result<Self, Error> {
        let journal = Self::connect(path)?;
        let fresh = journal.asked(|db| {
            db.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0))
        })? == 0;
        if fresh {
            journal.asked(|db| {
                let all = db.unchecked_transaction()?;
                all.execute_batch(TABLES)?;
                for (key, value) in about {
                    all.execute("INSERT INTO about VALUES (?1, ?2)", [*key, value])?;
                }
                all.execute("INSERT INTO about VALUES ('version', ?1)", [VERSION.to_string()])?;
                all.commit()
            })?;
            return Ok(journal);
        }
        journal.check_version()?;
        journal.order()?;
        for (key, value) in about {
            let before = journal.about(key)?.unwrap_or_default();
            if before != *value {
                return Err(journal.unusable(format!(
                    "it is of a restore with another {key}: {before:?}, not {value:?}"
                )));
            }
        }
        Ok(journal)
    }

    /// Opens a journal that must be there already.
    pub(crate) fn open_existing(path: &Path) -> Result<Self, Error> {
        if !path.is_file() {
            let what = "there is no such file".to_owned();
            return Err(Error::Journal { path: path.to_owned(), what });
        }
        let journal = Self::connect(path)?;
        journal.check_version()?;
        journal.order()?;
        Ok(journal)
    }

    /// Before what earlier runs did is read in its order, a batch at a time.
    fn order(&self) -> Result<(), Error> {
        let sql = "CREATE INDEX IF NOT EXISTS entry_order ON entry (section, kind, seq)";
        self.asked(|db| db.execute_batch(sql))
    }

    fn connect(path: &Path) -> Result<Self, Error> {
        let failed = |error: rusqlite::Error| Error::Journal {
            path: path.to_owned(),
            what: error.to_string(),
        };
        let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Usage {
                what: format!("the journal {} is in use by another run", path.display()),
                hint: "wait for its end: two at a time would make everything twice",
            },
            _ => failed(error),
        };
        let db = Connection::open(path).map_err(failed)?;
        db.busy_timeout(LONGEST_LOCK).map_err(failed)?;
        // Until it is closed nobody else gets in: two runs would each make what the other has
        // not written down yet. It is the kernel's lock, so a kill ends it.
        db.pragma_update(None, "locking_mode", "EXCLUSIVE").map_err(failed)?;
        // Against a kill of the process every commit is safe; against a power cut all but the
        // last ones, which the target itself then tells: what is there is not made again.
        db.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        db.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        db.pragma_update(None, "cache_size", -2048).map_err(failed)?;
        db.execute_batch("BEGIN EXCLUSIVE; COMMIT").map_err(failed)?;
        Ok(Self { path: path.to_owned(), db: Mutex::new(db) })
    }

    fn check_version(&self) -> Result<(), Error> {
        let is_journal = self.asked(|db| {
            let sql = "SELECT count(*) FROM sqlite_master WHERE name IN ('about', 'entry')";
            db.query_row(sql, [], |row| row.get::<_, i64>(0))
        })? == 2;
        if !is_journal {
            return Err(self.unusable("it is no journal of a restore".into()));
        }
        match self.about("version")? {
            Some(version) if version == VERSION.to_string() => Ok(()),
            version => Err(self.unusable(format!(
                "it is of version {}, this program knows {VERSION}",
                version.unwrap_or_default()
            ))),
        }
    }

    /// What was said of the run when the journal was made.
    pub(crate) fn about(&self, key: &str) -> Result<Option<String>, Error> {
        self.asked(|db| {
            let sql = "SELECT value FROM about WHERE key = ?1";
            db.query_row(sql, [key], |row| row.get(0)).optional()
        })
    }

    /// Remembers where a section's items go, so that an undo finds them.
    pub(crate) fn place(&self, section: &str, target: &str) -> Result<(), Error> {
        self.asked(|db| {
            let sql = "INSERT INTO place VALUES (?1, ?2)
                       ON CONFLICT DO UPDATE SET target = excluded.target";
            db.execute(sql, [section, target]).map(drop)
        })
    }

    /// Where the items of a section went.
    pub(crate) fn place_of(&self, section: &str) -> Result<Option<String>, Error> {
        self.asked(|db| {
            let sql = "SELECT target FROM place WHERE section = ?1";
            db.prepare_cached(sql)?.query_row([section], |row| row.get(0)).optional()
        })
    }

    /// All sections and where their items went.
    pub(crate) fn places(&self) -> Result<Vec<(String, String)>, Error> {
        self.asked(|db| {
            let mut rows = db.prepare("SELECT section, target FROM place ORDER BY section")?;
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// When a section was last begun something of: the greater the later.
    pub(crate) fn latest(&self, section: &str) -> Result<i64, Error> {
        self.asked(|db| {
            let sql = "SELECT coalesce(max(seq), 0) FROM entry WHERE section = ?1";
            db.prepare_cached(sql)?.query_row([section], |row| row.get(0))
        })
    }

    /// What earlier runs did about an item.
    pub(crate) fn known(&self, section: &str, path: &str) -> Result<Known, Error> {
        let row: Option<(String, bool, bool)> = self.asked(|db| {
            let sql = "SELECT state, spot IS NOT NULL, id IS NOT NULL FROM entry
                       WHERE section = ?1 AND kind = 'item' AND path = ?2";
            db.prepare_cached(sql)?
                .query_row([section, path], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })?;
        let Some((state, has_spot, has_id)) = row else { return Ok(Known::New) };
        Ok(match state.as_str() {
            "undone" => Known::New,
            "begun" if has_spot => Known::Doubtful,
            // Of what failed or was kept without an id nobody knows whether it was made.
            "failed" if has_spot => Known::Failed,
            "kept" if has_spot && !has_id => Known::Failed,
            "begun" | "failed" => Known::Unmade,
            "kept" if !has_id => Known::Unmade,
            _ => Known::Done,
        })
    }

    /// Before the first request that changes the target.
    pub(crate) fn begin(&self, section: &str, path: &str, source: &str) -> Result<(), Error> {
        self.asked(|db| {
            let sql = "INSERT INTO entry (section, kind, path, source, state)
                       VALUES (?1, 'item', ?2, ?3, 'begun')
                       ON CONFLICT DO UPDATE SET state = 'begun', cause = NULL, message = NULL,
                       id = iif(state = 'undone', NULL, id),
                       spot = iif(state = 'undone', NULL, spot),
                       old = iif(state = 'undone', NULL, old)";
            db.prepare_cached(sql)?.execute([section, path, source]).map(drop)
        })
    }

    /// Before it is made: where it will be found, should nobody live to see it there. So an item
    /// that a later run finds there counts as made by this journal, and others do not.
    pub(crate) fn spot(&self, section: &str, path: &str, spot: &str) -> Result<(), Error> {
        self.asked(|db| {
            let sql = "UPDATE entry SET spot = ?3
                       WHERE section = ?1 AND kind = 'item' AND path = ?2";
            db.prepare_cached(sql)?.execute([section, path, spot]).map(drop)
        })
    }

    /// When it turns out that it can't have been made: what is at the spot is somebody else's.
    pub(crate) fn no_spot(&self, section: &str, path: &str) -> Result<(), Error> {
        self.asked(|db| {
            let sql = "UPDATE entry SET spot = NULL
                       WHERE section = ?1 AND kind = 'item' AND path = ?2";
            db.prepare_cached(sql)?.execute([section, path]).map(drop)
        })
    }

    /// Where an earlier run was putting the item, and what that was about to replace.
    pub(crate) fn under_way(
        &self,
        section: &str,
        path: &str,
    ) -> Result<(Option<String>, Option<String>), Error> {
        self.asked(|db| {
            let sql = "SELECT spot, old FROM entry
                       WHERE section = ?1 AND kind = 'item' AND path = ?2";
            let found = db
                .prepare_cached(sql)?
                .query_row([section, path], |row| Ok((row.get(0)?, row.get(1)?)));
            found.optional().map(Option::unwrap_or_default)
        })
    }

    /// Before what is there gives way: how the target can bring it back.
    pub(crate) fn replaces(&self, section: &str, path: &str, old: &str) -> Result<(), Error> {
        self.asked(|db| {
            let sql = "UPDATE entry SET old = ?3
                       WHERE section = ?1 AND kind = 'item' AND path = ?2";
            db.prepare_cached(sql)?.execute([section, path, old]).map(drop)
        })
    }

    /// When the item is where it should be. One that is found where it was being put, or is still
    /// what an earlier run made, was made by this journal, and has replaced what that run replaced.
    pub(crate) fn done(&self, section: &str, path: &str, restored: &Restored) -> Result<(), Error> {
        let (state, old) = match &restored.how {
            How::Created => ("created", None),
            How::Present | How::Foreign => ("present", None),
            How::Replaced { old } => ("replaced", Some(old)),
        };
        let losses: Vec<_> = restored.losses.iter().map(|loss| loss.name()).collect();
        self.asked(|db| {
            let sql = "UPDATE entry SET id = ?4, etag = ?5, losses = ?7,
                       old = iif(?3 = 'present', old, ?6), spot = iif(?8, NULL, spot),
                       state = CASE WHEN ?3 <> 'present' OR ?8 THEN ?3
                                    WHEN spot IS NULL AND id IS NOT ?4 THEN ?3
                                    WHEN old IS NULL THEN 'created' ELSE 'replaced' END
                       WHERE section = ?1 AND kind = 'item' AND path = ?2";
            let Restored { how, id, etag, .. } = restored;
            let (losses, is_foreign) = (losses.join(" "), *how == How::Foreign);
            db.prepare_cached(sql)?
                .execute(params![section, path, state, id, etag, old, losses, is_foreign])
                .map(drop)
        })
    }

    /// When it is not. What was there before any run is not ours, whatever becomes of it.
    pub(crate) fn fail(&self, section: &str, path: &str, error: &Error) -> Result<(), Error> {
        let message = error.to_string();
        self.asked(|db| {
            let sql = "INSERT INTO entry (section, kind, path, state, cause, message)
                       VALUES (?1, 'item', ?2, 'failed', ?3, ?4)
                       ON CONFLICT DO UPDATE SET state = 'failed', cause = excluded.cause,
                       message = excluded.message, id = iif(state = 'present', NULL, id),
                       etag = iif(state = 'present', NULL, etag)";
            db.prepare_cached(sql)?
                .execute([section, path, error.cause(), message.as_str()])
                .map(drop)
        })
    }

    /// Before a folder is made whose id the target gives. `place` is its place in the target: the
    /// id of the folder it is in, a slash, and its name.
    pub(crate) fn begin_folder(&self, section: &str, place: &str) -> Result<(), Error> {
        self.asked(|db| {
            let sql = "INSERT INTO entry (section, kind, path, state)
                       VALUES (?1, 'folder', ?2, 'begun')
                       ON CONFLICT DO UPDATE SET state = 'begun', id = NULL";
            db.prepare_cached(sql)?.execute([section, place]).map(drop)
        })
    }

    /// A folder that was made: `place` is its place in the target, in words.
    pub(crate) fn made_folder(&self, section: &str, place: &str, id: &str) -> Result<(), Error> {
        self.asked(|db| {
            let sql = "INSERT INTO entry (section, kind, path, state, id)
                       VALUES (?1, 'folder', ?2, 'created', ?3)
                       ON CONFLICT DO UPDATE SET state = 'created', id = excluded.id";
            db.prepare_cached(sql)?.execute([section, place, id]).map(drop)
        })
    }

    /// A folder that is there: made by a run that died before it could say so, if it was begun.
    /// True if a run with this journal made it.
    pub(crate) fn found_folder(&self, section: &str, place: &str, id: &str) -> Result<bool, Error> {
        self.asked(|db| {
            let sql = "UPDATE entry SET state = 'created', id = ?3
                       WHERE section = ?1 AND kind = 'folder' AND path = ?2 AND state = 'begun'";
            db.prepare_cached(sql)?.execute([section, place, id])?;
            let sql = "SELECT count(*) FROM entry WHERE section = ?1 AND kind = 'folder'
                       AND path = ?2 AND state = 'created' AND id = ?3";
            let made: i64 =
                db.prepare_cached(sql)?.query_row([section, place, id], |row| row.get(0))?;
            Ok(made > 0)
        })
    }

    /// A folder that was begun is somebody else's.
    pub(crate) fn foreign_folder(&self, section: &str, place: &str) -> Result<(), Error> {
        self.asked(|db| {
            let sql = "DELETE FROM entry
                       WHERE section = ?1 AND kind = 'folder' AND path = ?2 AND state = 'begun'";
            db.prepare_cached(sql)?.execute([section, place]).map(drop)
        })
    }

    /// Up to `limit` things that were made in a section, newest first, items before folders,
    /// from behind `after`: to be undone. What was present before is not among them.
    pub(crate) fn made(
        &self,
        section: &str,
        what: What,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, Made)>, Error> {
        let kind = kind(what);
        self.asked(|db| {
            let sql = "SELECT seq, path, source, id, etag, old, spot FROM entry
                       WHERE section = ?1 AND kind = ?2 AND seq < ?3
                       AND state IN ('begun', 'created', 'replaced', 'failed')
                       ORDER BY seq DESC LIMIT ?4";
            let before = after.unwrap_or(i64::MAX);
            let mut rows = db.prepare_cached(sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            rows.query_map(params![section, kind, before, limit], |row| {
                let made = Made {
                    what,
                    path: row.get(1)?,
                    source: row.get(2)?,
                    id: row.get(3)?,
                    etag: row.get(4)?,
                    old: row.get(5)?,
                    spot: row.get(6)?,
                };
                Ok((row.get(0)?, made))
            })?
            .collect()
        })
    }

    /// Up to `limit` ids of items that are where they should be, also of those that were there
    /// before; from behind `after`.
    pub(crate) fn settled(
        &self,
        section: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, String)>, Error> {
        self.asked(|db| {
            let sql = "SELECT seq, id FROM entry
                       WHERE section = ?1 AND kind = 'item' AND seq > ?2 AND id IS NOT NULL
                       AND state IN ('created', 'replaced', 'present') ORDER BY seq LIMIT ?3";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            db.prepare_cached(sql)?
                .query_map(params![section, after, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }

    /// Calls `visit` with id and etag of each item, of any section, that is where it should be and
    /// whose id is `id` or begins with it and a `#`.
    pub(crate) fn settled_at(
        &self,
        id: &str,
        visit: &mut dyn FnMut(&str, &str),
    ) -> Result<(), Error> {
        self.asked(|db| {
            db.execute_batch("CREATE INDEX IF NOT EXISTS entry_id ON entry (id)")?;
            let sql = "SELECT id, etag FROM entry
                       WHERE (id = ?1 OR (id > ?1 || '#' AND id < ?1 || '$'))
                       AND kind = 'item' AND etag IS NOT NULL
                       AND state IN ('created', 'replaced', 'present')";
            let mut query = db.prepare_cached(sql)?;
            let mut rows = query.query([id])?;
            while let Some(row) = rows.next()? {
                visit(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
            }
            Ok(())
        })
    }

    /// After an undo.
    pub(crate) fn undone(&self, seq: i64, removed: bool) -> Result<(), Error> {
        let state = if removed { "undone" } else { "kept" };
        self.asked(|db| {
            let sql = "UPDATE entry SET state = ?2 WHERE seq = ?1";
            db.prepare_cached(sql)?.execute(params![seq, state]).map(drop)
        })
    }

    fn unusable(&self, what: String) -> Error {
        Error::Journal { path: self.path.clone(), what }
    }

    fn asked<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let db: MutexGuard<'_, Connection> = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&db).map_err(|error| self.unusable(error.to_string()))
    }
}

const fn kind(what: What) -> &'static str {
    match what {
        What::Folder => "folder",
        What::Item => "item",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: &str = "users/a@b.c/mail";

    fn restored(how: How) -> Restored {
        Restored { how, id: "new".into(), etag: None, losses: Vec::new() }
    }

    #[test]
    fn one_run_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = Journal::open(&path, &[]).unwrap();
        for second in [Journal::open(&path, &[]), Journal::open_existing(&path)] {
            assert!(matches!(second, Err(Error::Usage { .. })), "{second:?}");
        }
        drop(journal);
        Journal::open_existing(&path).unwrap();
    }

    #[test]
    fn what_may_be_in_the_target_is_in_doubt() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("journal"), &[]).unwrap();
        let known = |path| journal.known(SECTION, path).unwrap();
        assert_eq!(known("a"), Known::New);
        journal.begin(SECTION, "a", "1").unwrap();
        assert_eq!(known("a"), Known::Unmade);
        journal.spot(SECTION, "a", "inbox").unwrap();
        assert_eq!(known("a"), Known::Doubtful);
        journal.done(SECTION, "a", &restored(How::Created)).unwrap();
        assert_eq!(known("a"), Known::Done);
    }

    #[test]
    fn what_a_run_that_died_was_replacing_is_brought_back() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(&dir.path().join("journal"), &[]).unwrap();
        for path in ["found", "replaced"] {
            journal.begin(SECTION, path, "1").unwrap();
            journal.spot(SECTION, path, "inbox").unwrap();
        }
        journal.replaces(SECTION, "replaced", "old").unwrap();
        journal.done(SECTION, "found", &restored(How::Present)).unwrap();
        journal.done(SECTION, "replaced", &restored(How::Present)).unwrap();
        // What was there before any run is not ours to take away.
        journal.begin(SECTION, "there", "1").unwrap();
        journal.done(SECTION, "there", &restored(How::Present)).unwrap();
        let made = journal.made(SECTION, What::Item, None, 9).unwrap();
        let made: Vec<_> =
            made.iter().map(|(_, made)| (made.path.as_str(), made.old.as_deref())).collect();
        assert_eq!(made, [("replaced", Some("old")), ("found", None)]);
    }
}
