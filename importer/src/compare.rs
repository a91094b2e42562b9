//! Two archives side by side: whether a restore brought back what was backed up.
//!
//! Ids and change tags are the service's own, and it renders mail anew, so bytes are no measure.
//! Items are compared by what people and programs see of them: for mail its properties, its text
//! and its attachments byte by byte; for files path, bytes and times.

use std::path::Path;

use rusqlite::OptionalExtension;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::choice::Choice;
use crate::error::Error;
use crate::scratch::Scratch;
use crate::service::Compared;
use crate::walk::{Ask, Job, Source, Task, Walk};

/// Differences that are told one by one.
const TOLD: usize = 100;

const TABLES: &str = "
CREATE TABLE item (
  seq INTEGER PRIMARY KEY, side INTEGER NOT NULL, home TEXT NOT NULL, name TEXT NOT NULL,
  digest BLOB NOT NULL, content BLOB NOT NULL, path TEXT NOT NULL, about TEXT NOT NULL,
  matched INTEGER NOT NULL DEFAULT 0, given INTEGER NOT NULL DEFAULT 0);
CREATE INDEX alike ON item (side, home, name, digest, matched);
CREATE TABLE folder (side INTEGER, path TEXT, PRIMARY KEY (side, path)) WITHOUT ROWID;
";

/// What only the second archive has, but what every mailbox has anyway.
const SURPLUS: &str = "side = 1 AND given = 0";

/// What a comparison found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Comparison {
    /// Items of the first archive.
    pub items: u64,
    /// Items that the second has just so.
    pub equal: u64,
    /// Of those: files under another name, because the service does not accept their own, or
    /// another file has it.
    pub renamed: u64,
    /// Items that it has, but differently.
    pub different: u64,
    /// Items that it does not have.
    pub absent: u64,
    /// Items that only the second has.
    pub surplus: u64,
    /// Folders of the first archive that the second does not have.
    pub absent_folders: u64,
    /// The first differences: path in the first archive (in the second for a surplus), and what.
    pub differences: Vec<(String, String)>,
}

impl Comparison {
    /// Whether nothing is missing, different or too many.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.different + self.absent + self.surplus + self.absent_folders == 0
    }
}

/// Compares what is chosen of `first` with all of `second`.
///
/// # Errors
/// If one of them can't be read.
pub async fn compare(
    first: Source,
    second: Source,
    choice: &Choice,
    spool_dir: &Path,
) -> Result<Comparison, Error> {
    let scratch = Scratch::create(spool_dir, TABLES)?;
    let all = Choice::default();
    for (side, source, choice) in [(0, first, choice), (1, second, &all)] {
        let ask = Ask {
            chooser: choice.compile()?,
            only_failed: None,
            incomplete: false,
            spool_dir: spool_dir.to_owned(),
            spool_limit: u64::MAX,
            contents: true,
        };
        let mut walk = Walk::begin(source, ask);
        while let Some(task) = walk.tasks.recv().await {
            section(&scratch, side, task, !choice.names_items()).await?;
        }
        let walked = walk.ended().await?;
        if let Some(broken) = walked.broken {
            return Err(broken.into());
        }
        if let Some((place, what)) = walked.damaged.into_iter().next() {
            return Err(archive::Error::Invalid { place, what }.into());
        }
    }
    conclude(&scratch)
}

async fn section(scratch: &Scratch, side: u8, task: Task, folders: bool) -> Result<(), Error> {
    let Task { section, work, mut jobs } = task;
    let home = |trail: &[crate::section::Folder]| {
        let names = trail.iter().map(|folder| match &folder.well_known {
            Some(known) => format!("[{known}]"),
            None => section.service.folder_name(&folder.name),
        });
        let names: Vec<_> = names.collect();
        format!("{}/{}/{}", section.owner.id, section.service.name(), names.join("/"))
    };
    let mut after = String::new();
    while let Some((id, _)) = work.next_folder(&after)?.filter(|_| folders) {
        after = id;
        let path = home(&work.trail(&after)?);
        scratch.asked(|db| {
            db.prepare_cached("INSERT OR IGNORE INTO folder VALUES (?1, ?2)")?
                .execute(rusqlite::params![side, path])
                .map(drop)
        })?;
    }
    while let Some(job) = jobs.recv().await {
        let item = match job {
            Job::Item(item) => item,
            Job::Bad { error, .. } => return Err(error),
        };
        let home = home(&work.trail_of(&item.line)?);
        let compared = tokio::task::block_in_place(|| section.service.compared(&item))?;
        let Compared { name, content, all } = compared;
        let given = section.service.is_given(&item);
        let about = archive::json::canonical(&all);
        let digest = Sha256::digest(&about);
        let content = Sha256::digest(archive::json::canonical(&content));
        scratch.asked(|db| {
            let sql = "INSERT INTO item (side, home, name, digest, content, path, about, given)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let (digest, content) = (digest.as_slice(), content.as_slice());
            let path = &item.path;
            db.prepare_cached(sql)?
                .execute(rusqlite::params![side, home, name, digest, content, path, about, given])
                .map(drop)
        })?;
    }
    Ok(())
}

/// Pairs what is equal, then what has the same name, then files of the same bytes; the rest is
/// absent or surplus.
fn conclude(scratch: &Scratch) -> Result<Comparison, Error> {
    let mut found = Comparison::default();
    for by in [By::All, By::Content, By::Name, By::Bytes] {
        let mut after = 0;
        while let Some(row) = next(scratch, after, "side = 0 AND matched = 0")? {
            after = row.seq;
            found.items += u64::from(by == By::All);
            let Some(other) = partner(scratch, &row, by)? else { continue };
            pair(scratch, row.seq, other)?;
            let difference = match by {
                By::Name | By::Content => difference(scratch, row.seq, other)?,
                _ => String::new(),
            };
            found.renamed += u64::from(by == By::Bytes);
            if difference.is_empty() {
                found.equal += 1;
            } else {
                found.different += 1;
                tell(scratch, &mut found, row.seq, difference)?;
            }
        }
    }
    let ends = [("side = 0", "it did not come back"), (SURPLUS, "it came back, but was not there")];
    for (side, what) in ends {
        let mut after = 0;
        while let Some(row) = next(scratch, after, &format!("{side} AND matched = 0"))? {
            after = row.seq;
            let count = if side == "side = 0" { &mut found.absent } else { &mut found.surplus };
            *count += 1;
            tell(scratch, &mut found, row.seq, what.to_owned())?;
        }
    }
    let folders: Vec<String> = scratch.asked(|db| {
        let sql = "SELECT path FROM folder WHERE side = 0
                   EXCEPT SELECT path FROM folder WHERE side = 1";
        db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    })?;
    found.absent_folders = folders.len() as u64;
    let told = folders.into_iter().map(|path| (path, "the folder did not come back".to_owned()));
    found.differences.extend(told.take(TOLD.saturating_sub(found.differences.len())));
    Ok(found)
}

/// What pairs two items of one folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Name and everything else.
    All,
    /// Name and what it holds.
    Content,
    /// The name alone.
    Name,
    /// Everything but the name.
    Bytes,
}

struct Row {
    seq: i64,
    home: String,
    name: String,
    digest: Vec<u8>,
    content: Vec<u8>,
}

fn next(scratch: &Scratch, after: i64, which: &str) -> Result<Option<Row>, Error> {
    scratch.asked(|db| {
        let sql = format!(
            "SELECT seq, home, name, digest, content FROM item WHERE seq > ?1 AND {which}
             ORDER BY seq LIMIT 1"
        );
        db.prepare_cached(&sql)?
            .query_row([after], |row| {
                let (seq, home) = (row.get(0)?, row.get(1)?);
                let (name, digest) = (row.get(2)?, row.get(3)?);
                Ok(Row { seq, home, name, digest, content: row.get(4)? })
            })
            .optional()
    })
}

/// An item of the second archive that has no partner yet.
fn partner(scratch: &Scratch, row: &Row, by: By) -> Result<Option<i64>, Error> {
    let condition = match by {
        By::All => "name = ?2 AND digest = ?3 AND ?4 = ?4",
        By::Content => "name = ?2 AND content = ?4 AND ?3 = ?3",
        By::Name => "name = ?2 AND ?3 = ?3 AND ?4 = ?4",
        By::Bytes => "digest = ?3 AND ?2 = ?2 AND ?4 = ?4",
    };
    scratch.asked(|db| {
        let sql = format!(
            "SELECT seq FROM item WHERE side = 1 AND matched = 0 AND home = ?1 AND {condition}
             ORDER BY seq LIMIT 1"
        );
        db.prepare_cached(&sql)?
            .query_row(rusqlite::params![row.home, row.name, row.digest, row.content], |row| {
                row.get(0)
            })
            .optional()
    })
}

fn pair(scratch: &Scratch, one: i64, other: i64) -> Result<(), Error> {
    scratch.asked(|db| {
        let sql = "UPDATE item SET matched = 1 WHERE seq IN (?1, ?2)";
        db.prepare_cached(sql)?.execute([one, other]).map(drop)
    })
}

fn tell(scratch: &Scratch, found: &mut Comparison, seq: i64, what: String) -> Result<(), Error> {
    if found.differences.len() < TOLD {
        let path = read(scratch, seq, "path")?;
        found.differences.push((path, what));
    }
    Ok(())
}

fn read(scratch: &Scratch, seq: i64, column: &str) -> Result<String, Error> {
    let sql = format!("SELECT {column} FROM item WHERE seq = ?1");
    scratch.asked(|db| db.prepare_cached(&sql)?.query_row([seq], |row| row.get(0)))
}

/// The properties in which two items differ.
fn difference(scratch: &Scratch, one: i64, other: i64) -> Result<String, Error> {
    let about = |seq| -> Result<Value, Error> {
        Ok(serde_json::from_str(&read(scratch, seq, "about")?).unwrap_or_default())
    };
    let mut differences = Vec::new();
    differ("", &about(one)?, &about(other)?, &mut differences);
    Ok(differences.join("; "))
}

/// Adds what differs at `place` and below it.
fn differ(place: &str, one: &Value, other: &Value, differences: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let mut keys: Vec<_> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let of = |object: &Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                // A mail that had no Message-ID is given one.
                if key != "internetMessageId" || !of(one).is_null() {
                    differ(&format!("{place} {key}"), &of(one), &of(other), differences);
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (number, (one, other)) in one.iter().zip(other).enumerate() {
                differ(&format!("{place} {}", number + 1), one, other, differences);
            }
        }
        _ if one != other => {
            let shown = |value: &Value| value.to_string().chars().take(60).collect::<String>();
            differences.push(format!("{} was {}, is {}", place.trim(), shown(one), shown(other)));
        }
        _ => {}
    }
}
