//! What is to be said of a listing, collected by all that list side by side.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use archive::Outcome;
use graph::DeltaLink;

use crate::service::{Listing, Note};

/// Notes of one section, and how many listings failed.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    notes: Mutex<Vec<(String, Note)>>,
    failed: AtomicU64,
}

impl Remarks {
    /// A note of the folder with that id; of the whole section if it is empty.
    pub(crate) fn note(&self, folder: &str, note: Note) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        // What is listed again is noted again; failures may be of several things alike.
        let is_said = |(of, known): &(String, Note)| of == folder && *known == note;
        if note.outcome == Outcome::Failed || !notes.iter().any(is_said) {
            notes.push((folder.to_owned(), note));
        }
    }

    /// The same of a listing that did not reach its end.
    pub(crate) fn failed(&self, folder: &str, note: Note) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.note(folder, note);
    }

    /// A container, a `what`, that was gone before its listing was at its end.
    pub(crate) fn vanished(&self, folder: &str, what: &str, error: &graph::Error) {
        let message = format!("the {what} vanished while it was listed");
        self.note(folder, Note::new(Outcome::Skipped, "vanished", &message).with_code(error));
    }

    /// How it ended: the id of the root folder, and where the next listings may begin. Notes are
    /// in the order of their folders, whichever was listed first.
    pub(crate) fn into_listing(
        self,
        root: impl Into<String>,
        links: impl IntoIterator<Item = (String, DeltaLink)>,
    ) -> Listing {
        let mut notes = self.notes.into_inner().unwrap_or_else(PoisonError::into_inner);
        notes.sort_by(|a, b| a.0.cmp(&b.0));
        Listing {
            root: root.into(),
            notes,
            failed: self.failed.into_inner(),
            links: links.into_iter().collect(),
        }
    }
}
