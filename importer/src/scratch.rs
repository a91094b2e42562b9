//! Temporary databases: for what grows with a mailbox and must not grow in memory.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::error::Error;

/// A database in an unnamed file: nothing is left behind, however we end.
#[derive(Debug)]
pub(crate) struct Scratch {
    db: Mutex<Connection>,
    dir: PathBuf,
}

impl Scratch {
    /// With these tables, in `dir`.
    pub(crate) fn create(dir: &Path, tables: &str) -> Result<Self, Error> {
        let spool = |source| Error::Spool { path: dir.to_owned(), source };
        let file = tempfile::Builder::new()
            .prefix("tar365-import-")
            .tempfile_in(dir)
            .map_err(spool)?
            .into_temp_path();
        let failed = |error| spool(std::io::Error::other(error));
        let db = Connection::open(&file).map_err(failed)?;
        let settings = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
                        PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -1024;
                        PRAGMA temp_store = FILE;";
        db.execute_batch(settings).map_err(failed)?;
        db.execute_batch(tables).map_err(failed)?;
        // One transaction for its whole life: nobody else reads it.
        db.execute_batch("BEGIN").map_err(failed)?;
        file.close().map_err(spool)?;
        Ok(Self { db: Mutex::new(db), dir: dir.to_owned() })
    }

    pub(crate) fn asked<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&db).map_err(|error| Error::Spool {
            path: self.dir.clone(),
            source: std::io::Error::other(error),
        })
    }
}
