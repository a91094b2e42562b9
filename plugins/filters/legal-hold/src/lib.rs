//! Holds what a legal hold covers, whatever other filters say.
//!
//! Who and what is held is said by custodians, services, dates and keywords, see
//! `doc/plugins/legal-hold.md`.

mod hold;

use serde::Deserialize;
use tar365_plugin::{Filter, Item, Manifest, MetadataDecision, Phase, settings as read};

use hold::Hold;
pub use hold::SERVICES;

/// The filter.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LegalHold {
    /// An item is held if one of these covers it.
    holds: Vec<Hold>,
}

impl Filter for LegalHold {
    const MANIFEST: Manifest<'static> = Manifest {
        name: "legal-hold",
        version: env!("CARGO_PKG_VERSION"),
        author: "tar365",
        description: "Holds what a legal hold covers, by custodians, services, dates and keywords, \
                      whatever other filters say.",
        phases: &[Phase::Hold],
        services: &[],
    };

    fn configure(settings: &str) -> Result<Self, String> {
        let filter: LegalHold = read::json(settings)?;
        // A hold that holds nothing is a mistake that shows when it is too late.
        if filter.holds.is_empty() {
            return Err("settings: holds: there is none, so nothing would be held".into());
        }
        for (index, hold) in filter.holds.iter().enumerate() {
            hold.check().map_err(|error| format!("settings: holds[{index}]: {error}"))?;
        }
        Ok(filter)
    }

    fn on_metadata(&self, item: &Item) -> Result<MetadataDecision, String> {
        let hold = self.holds.iter().find(|hold| hold.covers(item));
        Ok(hold.map_or(MetadataDecision::Keep, |hold| MetadataDecision::Hold(hold.name.clone())))
    }
}

tar365_plugin::export!(LegalHold);
