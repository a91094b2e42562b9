//! What a restore is told.

use std::path::PathBuf;

use crate::section::{Owner, Section};
use crate::target::is_named;

/// What to do with an item that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Leave it alone.
    #[default]
    Skip,
    /// Put another beside it.
    Copy,
    /// Put the archive's in its stead; undo brings it back.
    Replace,
}

impl OnConflict {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Copy => "copy",
            Self::Replace => "replace",
        }
    }
}

/// Where in the target items go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Into a new folder `tar365 restore <label>`; without a label each owner has his own.
    Beside {
        /// What the folder is called by.
        label: Option<String>,
    },
    /// Where they were.
    InPlace,
}

/// Everything that bounds or directs a restore.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where items go.
    pub destination: Destination,
    /// What to do with an item that is there already.
    pub on_conflict: OnConflict,
    /// Whose items go to whom: UPN or object id of old and new owner.
    pub map_user: Vec<(String, String)>,
    /// All items go to this user.
    pub to_user: Option<String>,
    /// Most items under way at a time, at least 1. A mailbox never has more than 4.
    pub concurrency: usize,
    /// Directory of temporary files.
    pub spool_dir: PathBuf,
    /// Most bytes of one item on disk; a larger file on a pipe is passed through.
    pub spool_limit: u64,
    /// Inbox rules that were on come back on.
    pub enable_rules: bool,
    /// So do automatic replies.
    pub enable_replies: bool,
    /// Restore what an archive without a seal holds.
    pub incomplete: bool,
}

impl Options {
    /// Who is told to get what was `owner`'s; none if nobody is.
    pub(crate) fn heir(&self, owner: &Owner) -> Option<&str> {
        let mapped = self.map_user.iter().find(|(old, _)| is_named(owner, old));
        self.to_user.as_deref().or(mapped.map(|(_, new)| new.as_str()))
    }

    /// What a section is restored below or under the name of, where it does not go in place; in
    /// place, what has no place of its own goes there.
    pub(crate) fn aside(&self, section: &Section) -> String {
        let label = match &self.destination {
            Destination::Beside { label: Some(label) } => label,
            _ => &section.label,
        };
        format!("tar365 restore {label}")
    }

    /// The same; none in place.
    pub(crate) fn beside(&self, section: &Section) -> Option<String> {
        (self.destination != Destination::InPlace).then(|| self.aside(section))
    }
}
