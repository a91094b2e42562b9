//! How a restore ended, in numbers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::error::Error;
use crate::item::Item;
use crate::monitor::Progress;
use crate::place::{How, Restored};

/// The numbers of a restore. `wanted` is the sum of `created`, `present`, `replaced`, `failed`,
/// `missing`,
/// `left_alone`, and of what was not reached if the run ended early.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Sections (an owner's service) of which something was wanted.
    pub sections: u64,
    /// Items wanted.
    pub wanted: u64,
    /// Items made.
    pub created: u64,
    /// Items that were there already.
    pub present: u64,
    /// Of those: items that an earlier run with this journal brought home. They were not looked
    /// for again.
    pub known: u64,
    /// Items made in the stead of others.
    pub replaced: u64,
    /// Items that are not where they should be.
    pub failed: u64,
    /// Of those: what the archive itself does not have as it should be.
    pub damaged: u64,
    /// Items that were left out because another one is there, which is to be left alone.
    pub left_alone: u64,
    /// Items that the archive lists but does not hold; its ledger says why.
    pub missing: u64,
    /// Sections whose metadata is damaged, and how: at most what could be read of it was restored,
    /// and nobody knows what else there was.
    pub damaged_sections: Vec<(String, String)>,
    /// Bytes of content of items that are where they should be.
    pub bytes: u64,
    /// Failed items by cause.
    pub causes: BTreeMap<String, u64>,
    /// What the target could not take, by its name in doc/restore.md.
    pub losses: BTreeMap<&'static str, u64>,
    /// Whether the archive ended with its seal; none if that was not looked at.
    pub sealed: Option<bool>,
    /// Where things went: section, and place in the target.
    pub places: Vec<(String, String)>,
    /// The first failures, in words: path and reason.
    pub failures: Vec<(String, String)>,
}

/// Failures that are told one by one; the journal has them all.
const TOLD: usize = 100;

/// Counts while the run goes on; shared by all parts.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Summary>);

impl Tally {
    pub(crate) fn wanted(&self, items: u64) {
        let mut summary = self.lock();
        summary.sections += 1;
        summary.wanted += items;
    }

    pub(crate) fn place(&self, section: &str, target: &str) {
        self.lock().places.push((section.to_owned(), target.to_owned()));
    }

    pub(crate) fn restored(&self, item: &Item, restored: &Restored) {
        let mut summary = self.lock();
        match restored.how {
            How::Created => summary.created += 1,
            How::Present | How::Foreign => summary.present += 1,
            How::Replaced { .. } => summary.replaced += 1,
        }
        summary.bytes += item.size;
        for loss in &restored.losses {
            *summary.losses.entry(loss.name()).or_default() += 1;
        }
    }

    /// An item that an earlier run brought home.
    pub(crate) fn known(&self) {
        let mut summary = self.lock();
        summary.present += 1;
        summary.known += 1;
    }

    pub(crate) fn failed(&self, path: &str, error: &Error) {
        let mut summary = self.lock();
        match error.cause() {
            "missing" => summary.missing += 1,
            "exists" => summary.left_alone += 1,
            cause => {
                summary.failed += 1;
                summary.damaged += u64::from(cause == "damaged");
            }
        }
        *summary.causes.entry(error.cause().to_owned()).or_default() += 1;
        if summary.failures.len() < TOLD {
            summary.failures.push((path.to_owned(), crate::error::chain(error)));
        }
    }

    pub(crate) fn damaged_sections(&self, sections: &[(String, String)]) {
        self.lock().damaged_sections.extend_from_slice(sections);
    }

    /// An item that counted as restored until the archive's end disproved it.
    pub(crate) fn disproven(&self, path: &str, error: &Error) {
        let mut summary = self.lock();
        summary.created = summary.created.saturating_sub(1);
        drop(summary);
        self.failed(path, error);
    }

    pub(crate) fn progress(&self) -> Progress {
        let summary = self.lock();
        Progress {
            wanted: summary.wanted,
            restored: summary.created + summary.present + summary.replaced,
            failed: summary.failed,
            bytes: summary.bytes,
        }
    }

    pub(crate) fn summary(&self) -> Summary {
        let mut summary = self.lock().clone();
        summary.places.sort();
        summary.failures.sort();
        summary
    }

    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
