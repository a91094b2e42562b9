//! Archive to tenant, folder, IMAP, CalDAV or CardDAV server: what [`restore`] does is choose (from the archive's
//! metadata), read (what was chosen, bounded) and put (into a [`Target`]), with every step in a
//! journal, by which a run that died goes on and [`undo`] takes back.
//!
//! A content type is one file in `service` and one match arm; selection, journal, order and report
//! know nothing of mail or files.

mod body;
mod choice;
mod compare;
mod content;
mod difference;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod item;
mod journal;
mod mailbox;
mod monitor;
mod options;
mod outcome;
mod place;
mod plan;
mod region;
mod restore;
mod scratch;
mod section;
mod sequential;
mod service;
mod survey;
mod target;
mod turns;
mod undo;
mod walk;
mod work;

pub use choice::Choice;
pub use compare::{Comparison, compare};
pub use difference::{Change, Difference, difference};
pub use error::Error;
pub use monitor::{Monitor, Progress};
pub use options::{Destination, OnConflict, Options};
pub use outcome::Summary;
pub use place::Loss;
pub use plan::{Plan, PlannedSection, plan};
pub use restore::{Order, restore};
pub use service::Service;
pub use survey::{Surveyed, is_named, owners, survey};
pub use target::{
    Credentials, DavCredentials, DavTarget, DirectoryTarget, ImapTarget, Layout, Target,
    TenantTarget,
};
pub use undo::{UndoSummary, target_of, undo};
pub use walk::Source;
