//! What several had goes to one: section after section, in the order of the archive.
//!
//! Each sees what the one before it made, so a folder of one name is made once, and of what a
//! mailbox has only once the last is there, whoever is quicker.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::options::Options;
use crate::section::Section;
use crate::service::Service;

/// The sections under way, by service and by the names of who gets them.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<Vec<(Service, BTreeSet<String>, Turn)>>);

/// Held while a section is being restored.
pub(crate) type Turn = Arc<tokio::sync::Mutex<()>>;

impl Turns {
    /// The turn that the section must wait for. Who asks first and locks first is first.
    pub(crate) fn of(&self, section: &Section, options: &Options) -> Turn {
        if options.to_user.is_none() && options.map_user.is_empty() {
            return Turn::default();
        }
        let owner = &section.owner;
        let names = match options.heir(owner) {
            Some(heir) => BTreeSet::from([heir.to_lowercase()]),
            None => BTreeSet::from([owner.id.to_lowercase(), owner.names.upn.to_lowercase()]),
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody holds or waits for is over.
        known.retain(|(_, _, turn)| Arc::strong_count(turn) > 1);
        let same = known.iter_mut().find(|(service, others, _)| {
            *service == section.service && !others.is_disjoint(&names)
        });
        if let Some((_, others, turn)) = same {
            others.extend(names);
            return Arc::clone(turn);
        }
        let turn = Turn::default();
        known.push((section.service, names, Arc::clone(&turn)));
        turn
    }
}
