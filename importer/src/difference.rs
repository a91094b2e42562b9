//! What changed between two archives: items added, removed, changed, moved, or only flagged.

use std::io::BufReader;
use std::path::Path;

use archive::metadata::{Line, Lines};
use archive::{LEDGER_PATH, LedgerLine, Outcome, Region};
use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::choice::Choice;
use crate::error::Error;
use crate::scratch::Scratch;
use crate::survey::{Surveyed, survey};
use crate::walk::Source;

const TABLES: &str = "
CREATE TABLE item (
  seq INTEGER PRIMARY KEY, owner TEXT, service TEXT, id TEXT, path TEXT NOT NULL,
  content TEXT NOT NULL, place TEXT NOT NULL, flags TEXT NOT NULL, rest TEXT NOT NULL,
  seen INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX who ON item (owner, service, id);
CREATE TABLE unread (id TEXT NOT NULL, below TEXT);
CREATE INDEX what ON unread (id);
CREATE INDEX place ON unread (below) WHERE below IS NOT NULL;
";

/// What became of an item. Of one that changed in several ways, the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Only the second archive has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Its content is another.
    Changed,
    /// It is in another folder, or has another name.
    Moved,
    /// It was read, flagged, or put into categories.
    Flags,
    /// The service says something else of it.
    Metadata,
    /// Only the first has it, but the export of the second could not read it, as its ledger says.
    Unknown,
}

impl Change {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Added,
        Self::Removed,
        Self::Changed,
        Self::Moved,
        Self::Flags,
        Self::Metadata,
        Self::Unknown,
    ];

    /// Its name, as JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Moved => "moved",
            Self::Flags => "flags",
            Self::Metadata => "metadata",
            Self::Unknown => "unknown",
        }
    }
}

/// An item that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What became of it.
    pub change: Change,
    /// Its path; of one that the second archive does not have, the path it had.
    pub path: String,
    /// The path it had, if that was another.
    pub was: Option<String>,
    /// Its id.
    pub id: String,
}

/// Shows all differences of what is chosen: those of items of the second archive in its order,
/// then what was removed. What a second archive in a file could not read is not called removed.
///
/// # Errors
/// If one of them is bad.
pub async fn difference(
    first: Source,
    second: Source,
    choice: &Choice,
    spool_dir: &Path,
    mut visit: impl FnMut(&Difference) -> bool,
) -> Result<(), Error> {
    let scratch = Scratch::create(spool_dir, TABLES)?;
    let mut failed = Ok(());
    survey(first, choice, spool_dir, |item| {
        failed = remember(&scratch, item);
        failed.is_ok()
    })
    .await?;
    failed?;
    if let Source::File(file) = &second {
        note_unread(&scratch, file)?;
    }
    let mut failed = Ok(true);
    survey(second, choice, spool_dir, |item| {
        failed = compare(&scratch, item).map(|found| found.is_none_or(|found| visit(&found)));
        matches!(failed, Ok(true))
    })
    .await?;
    if !failed? {
        return Ok(());
    }
    let mut after = 0;
    while let Some((seq, difference)) = next_unseen(&scratch, after)? {
        after = seq;
        if !visit(&difference) {
            return Ok(());
        }
    }
    Ok(())
}

/// An item's parts that are compared.
struct Parts {
    content: String,
    place: String,
    flags: String,
    rest: String,
}

impl Parts {
    fn of(item: &Surveyed<'_>) -> Self {
        const FLAGS: [&str; 4] = ["isRead", "flag", "categories", "importance"];
        // What follows from the others, or moves with every touch.
        const FOLLOWS: [&str; 10] = [
            "changeKey",
            "eTag",
            "cTag",
            "lastModifiedDateTime",
            "lastModifiedBy",
            // It cannot change, but the names of who it was can.
            "createdBy",
            "parentFolderId",
            "parentReference",
            "size",
            "file",
        ];
        let graph = item.line.graph.as_object().cloned().unwrap_or_default();
        let pick = |keys: &[&str]| -> Map<String, Value> {
            let picked = graph.iter().filter(|(key, _)| keys.contains(&key.as_str()));
            picked.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let mut rest = graph.clone();
        rest.retain(|key, _| !FLAGS.contains(&key.as_str()) && !FOLLOWS.contains(&key.as_str()));
        rest.remove("name");
        if let Some(Value::Object(info)) = rest.get_mut("fileSystemInfo") {
            info.remove("lastModifiedDateTime");
        }
        let folder =
            graph.get("parentFolderId").or_else(|| graph.get("parentReference")?.get("id"));
        let place = json!([folder, graph.get("name")]);
        let canonical = |map: Map<String, Value>| archive::json::canonical(&map.into());
        Self {
            content: item.sha256.as_ref().map(archive::hex).unwrap_or_default(),
            place: archive::json::canonical(&place),
            flags: canonical(pick(&FLAGS)),
            rest: canonical(rest),
        }
    }
}

fn remember(scratch: &Scratch, item: &Surveyed<'_>) -> Result<(), Error> {
    let Parts { content, place, flags, rest } = Parts::of(item);
    let Line { id, path, .. } = item.line;
    scratch.asked(|db| {
        let sql = "INSERT OR REPLACE INTO item
                   (owner, service, id, path, content, place, flags, rest)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        db.prepare_cached(sql)?
            .execute(params![item.owner_id, item.service, id, path, content, place, flags, rest])
            .map(drop)
    })
}

fn compare(scratch: &Scratch, item: &Surveyed<'_>) -> Result<Option<Difference>, Error> {
    let now = Parts::of(item);
    let Line { id, path, .. } = item.line;
    let path = path.clone().unwrap_or_default();
    let before: Option<(String, Parts)> = scratch.asked(|db| {
        let sql = "UPDATE item SET seen = 1 WHERE owner = ?1 AND service = ?2 AND id = ?3
                   RETURNING path, content, place, flags, rest";
        db.prepare_cached(sql)?
            .query_row(params![item.owner_id, item.service, id], |row| {
                let (content, place) = (row.get(1)?, row.get(2)?);
                Ok((row.get(0)?, Parts { content, place, flags: row.get(3)?, rest: row.get(4)? }))
            })
            .optional()
    })?;
    let id = id.clone();
    let Some((was, before)) = before else {
        return Ok(Some(Difference { change: Change::Added, path, was: None, id }));
    };
    let change = if before.content != now.content {
        Change::Changed
    } else if before.place != now.place {
        Change::Moved
    } else if before.flags != now.flags {
        Change::Flags
    } else if before.rest != now.rest {
        Change::Metadata
    } else {
        return Ok(None);
    };
    let was = Some(was).filter(|was| *was != path);
    Ok(Some(Difference { change, path, was, id }))
}

/// Takes note of what the export of this archive could not read: items, and all of folders.
fn note_unread(scratch: &Scratch, file: &Region) -> Result<(), Error> {
    let extent = archive::Index::open(file.reader())?.seal().ledger;
    let region = file.slice(extent.offset, extent.length);
    let mut lines = Lines::new(BufReader::new(region.reader()), LEDGER_PATH);
    while let Some(text) = lines.next_text()? {
        let LedgerLine { scope, id, outcome, cause, .. } = LedgerLine::parse(&text)?;
        if outcome != Outcome::Failed && cause != "refused" {
            continue;
        }
        let below = scope.map(|scope| scope + "/");
        scratch.asked(|db| {
            db.prepare_cached("INSERT INTO unread VALUES (?1, ?2)")?
                .execute(params![id.unwrap_or_default(), below])
                .map(drop)
        })?;
    }
    Ok(())
}

fn next_unseen(scratch: &Scratch, after: i64) -> Result<Option<(i64, Difference)>, Error> {
    scratch.asked(|db| {
        let sql = "SELECT seq, path, id,
                     id IN (SELECT id FROM unread)
                     OR json_extract(place, '$[0]') IN (SELECT id FROM unread)
                     OR EXISTS (SELECT 1 FROM unread
                                WHERE below = substr(item.path, 1, length(below)))
                   FROM item WHERE seq > ?1 AND seen = 0 ORDER BY seq LIMIT 1";
        db.prepare_cached(sql)?
            .query_row([after], |row| {
                let change = if row.get(3)? { Change::Unknown } else { Change::Removed };
                let (path, id) = (row.get(1)?, row.get(2)?);
                Ok((row.get(0)?, Difference { change, path, was: None, id }))
            })
            .optional()
    })
}
