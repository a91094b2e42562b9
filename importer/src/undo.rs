//! Takes a restore back, by its journal.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::error::Error;
use crate::journal::Journal;
use crate::monitor::Monitor;
use crate::place::{AnyPlace, Made, Place as _, Undone, What};
use crate::target::Target;

/// Entries that are read from the journal at a time.
const BATCH: usize = 1000;

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
/// then. What went to one mailbox from several is taken back in the opposite order, and its folders
/// when all items are gone. It can be repeated.
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
    for together in grounds(target, &journal)? {
        let mut places = Vec::new();
        for (section, address) in together {
            let place = target.reopen(&section, &address, &journal).await?;
            places.push((section, place));
        }
        for what in [What::Item, What::Folder] {
            for (section, place) in &places {
                all(&journal, section, place, what, monitor, &mut summary).await?;
            }
        }
        for (_, place) in &places {
            place.finish().await?;
        }
    }
    Ok(summary)
}

/// The sections that may have folders in common, together, the latest first.
fn grounds(target: &Target, journal: &Journal) -> Result<Vec<Vec<(String, String)>>, Error> {
    let mut grounds: BTreeMap<String, Vec<(i64, String, String)>> = BTreeMap::new();
    for (section, address) in journal.places()? {
        let ground = target.ground(&section, &address);
        let latest = journal.latest(&section)?;
        grounds.entry(ground).or_default().push((latest, section, address));
    }
    let in_order = grounds.into_values().map(|mut sections| {
        sections.sort_unstable_by(|one, other| other.cmp(one));
        sections.into_iter().map(|(_, section, address)| (section, address)).collect()
    });
    Ok(in_order.collect())
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
        let mut told = |(seq, made): &(i64, Made), undone| {
            match undone {
                Ok(Undone::Removed) => {
                    summary.removed += 1;
                    journal.undone(*seq, true)?;
                }
                Ok(Undone::Kept) => {
                    summary.kept += 1;
                    journal.undone(*seq, false)?;
                    monitor.warn(&format!("{} was changed since and stays", made.path));
                }
                Err(error) if Error::is_fatal(&error) => return Err(error),
                Err(error) => {
                    summary.failed += 1;
                    monitor.warn(&crate::error::chain(&error));
                }
            }
            Ok(())
        };
        place.undo_all(&batch, &mut told).await?;
    }
}
