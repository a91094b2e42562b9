//! Takes a restore back, by its journal.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::error::Error;
use crate::journal::Journal;
use crate::monitor::Monitor;
use crate::place::{AnyPlace, Place as _, Undone, What};
use crate::target::Target;

/// Entries that are read from the journal at a time.
const BATCH: usize = 500;

/// What an undo did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct UndoSummary {
    /// Items and folders that are gone now.
    pub removed: u64,
    /// Those that somebody changed, moved or filled since: they stay.
    pub kept: u64,
    /// Those that could not be taken back.
    pub failed: u64,
}

/// Where the run with this journal went, as [`Target`] shows itself.
///
/// # Errors
/// If it is no journal.
pub fn target_of(journal: &Path) -> Result<String, Error> {
    Ok(Journal::open_existing(journal)?.about("target")?.unwrap_or_default())
}

/// Takes back what the journal says was made: items first, then the folders that are empty by
/// then. It can be repeated.
///
/// # Errors
/// What made it pointless to go on.
pub async fn undo(
    journal: &Path,
    target: &Target,
    monitor: &dyn Monitor,
) -> Result<UndoSummary, Error> {
    let journal = Arc::new(Journal::open_existing(journal)?);
    let before = journal.about("target")?.unwrap_or_default();
    if before != target.to_string() {
        return Err(Error::Usage {
            what: format!("the journal is of a restore to {before}, not to {target}"),
            hint: "give the --to and the tenant of that restore",
        });
    }
    let mut summary = UndoSummary::default();
    for (section, address) in journal.places()? {
        let place = target.reopen(&section, &address, &journal).await?;
        for what in [What::Item, What::Folder] {
            all(&journal, &section, &place, what, monitor, &mut summary).await?;
        }
        place.finish().await?;
    }
    Ok(summary)
}

async fn all(
    journal: &Journal,
    section: &str,
    place: &AnyPlace,
    what: What,
    monitor: &dyn Monitor,
    summary: &mut UndoSummary,
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let batch = journal.made(section, what, after, BATCH)?;
        let Some((last, _)) = batch.last() else { return Ok(()) };
        after = Some(*last);
        for (seq, made) in batch {
            match place.undo(&made).await {
                Ok(Undone::Removed) => {
                    summary.removed += 1;
                    journal.undone(seq, true)?;
                }
                Ok(Undone::Kept) => {
                    summary.kept += 1;
                    journal.undone(seq, false)?;
                    monitor.warn(&format!("{} was changed since and stays", made.path));
                }
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    summary.failed += 1;
                    monitor.warn(&crate::error::chain(&error));
                }
            }
        }
    }
}
