//! Where the next run's listings may begin: the delta links at the end of this one's.
//!
//! They only make listing cheaper. What they are added to is the metadata of the base, so they
//! are used only with the very section they were made with, of the same selection; with anything
//! else everything is listed. They hold tokens of the service, so they are not for everybody.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use graph::DeltaLink;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Increment with every change of the file.
const VERSION: u32 = 1;

/// The delta links of a run.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    tenant: String,
    selection: Value,
    /// By owner's id and service: `<id>/<service>`.
    sections: BTreeMap<String, SectionState>,
}

/// The delta links of one section.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SectionState {
    /// Digest of the section's metadata in the archive that was written with them, in hex.
    metadata: String,
    /// By container's id.
    links: BTreeMap<String, String>,
}

/// The state before a run, and the one after it while it grows.
pub struct States {
    before: State,
    after: Mutex<State>,
}

impl State {
    /// Reads one that [`State::to_json`] wrote.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// For the next run; it holds tokens.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl States {
    /// `before` is what the last run left, if it is known.
    #[must_use]
    pub fn new(before: Option<State>, tenant: &str, selection: &Value) -> Self {
        let fits = |state: &State| {
            state.version == VERSION && state.tenant == tenant && state.selection == *selection
        };
        let (tenant, selection) = (tenant.to_owned(), selection.clone());
        let after = State { version: VERSION, tenant, selection, sections: BTreeMap::new() };
        Self { before: before.filter(fits).unwrap_or_default(), after: Mutex::new(after) }
    }

    /// What to keep once the stream is safely where it goes.
    #[must_use]
    pub fn after(&self) -> State {
        self.after.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The links that belong to this section of the base.
    pub(crate) fn links(&self, section: &str, metadata: &str) -> BTreeMap<String, DeltaLink> {
        let known = self.before.sections.get(section).filter(|known| known.metadata == metadata);
        let links = known.into_iter().flat_map(|known| &known.links);
        links.map(|(id, link)| (id.clone(), DeltaLink::new(link.as_str()))).collect()
    }

    /// Remembers the links at the end of a section's listing.
    pub(crate) fn record(
        &self,
        section: &str,
        metadata: String,
        links: impl IntoIterator<Item = (String, DeltaLink)>,
    ) {
        let links = links.into_iter().map(|(id, link)| (id, link.as_str().to_owned())).collect();
        let mut after = self.after.lock().unwrap_or_else(PoisonError::into_inner);
        after.sections.insert(section.to_owned(), SectionState { metadata, links });
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").finish_non_exhaustive()
    }
}

/// What is known of a section from the base, and from where its listings go on.
#[derive(Default)]
pub(crate) struct Seeds {
    /// By container's id.
    pub(crate) links: BTreeMap<String, DeltaLink>,
    /// The base's lines, to be read once.
    pub(crate) lines: Option<crate::base::BaseLines>,
}

impl Seeds {
    /// From where the listing of a container goes on; none if it must begin anew.
    pub(crate) fn link(&self, container: &str) -> Option<DeltaLink> {
        self.links.get(container).cloned()
    }
}
