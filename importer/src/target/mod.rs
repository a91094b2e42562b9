//! Where a restore goes.

pub(crate) mod dav;
pub(crate) mod directory;
pub(crate) mod imap;
mod tenant;

use std::sync::Arc;

use graph::ErrorKind;

pub use dav::{DavCredentials, DavTarget};
pub use directory::{DirectoryTarget, Layout};
pub use imap::{Credentials, ImapTarget};
pub use tenant::TenantTarget;
pub(crate) use tenant::{User, is_named};

use crate::error::Error;
use crate::journal::Journal;
use crate::options::{Destination, Options};
use crate::place::AnyPlace;
use crate::section::Section;

/// Where a restore goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Target {
    /// Microsoft 365.
    Tenant(TenantTarget),
    /// A folder of a file system.
    Directory(DirectoryTarget),
    /// An IMAP server.
    Imap(Box<ImapTarget>),
    /// An account on a CalDAV or CardDAV server.
    Dav(Box<DavTarget>),
}

impl Target {
    /// What must not differ between two runs with one journal.
    pub(crate) fn about(&self, options: &Options) -> Vec<(&'static str, String)> {
        let destination = match &options.destination {
            Destination::InPlace => "in place".to_owned(),
            Destination::Beside { label } => label.clone().unwrap_or_default(),
        };
        let heirs = options.map_user.iter().map(|(old, new)| format!("{old}={new}"));
        let heirs: Vec<_> = heirs.chain(options.to_user.clone()).collect();
        vec![("target", self.to_string()), ("destination", destination), ("user", heirs.join(","))]
    }

    /// The place for a section's items.
    ///
    /// # Errors
    /// If it is not fatal, only this section can't be restored.
    pub(crate) async fn open(
        &self,
        section: &Section,
        options: &Options,
        journal: &Arc<Journal>,
    ) -> Result<AnyPlace, Error> {
        let journal = Arc::clone(journal);
        match self {
            Self::Tenant(tenant) => tenant.open(section, options, journal).await,
            Self::Directory(directory) => {
                directory.open(section, options, journal).map(AnyPlace::new)
            }
            Self::Imap(imap) => imap.open(section, options, journal).await.map(AnyPlace::new),
            Self::Dav(dav) => dav.open(section, options, journal).await.map(AnyPlace::new),
        }
    }

    /// What the folders of a section may hold with those of others, by a name: a mailbox, an
    /// account, a folder. `address` is what [`Journal::place`] remembers.
    pub(crate) fn ground(&self, section: &str, address: &str) -> String {
        match self {
            Self::Tenant(_) => address.to_owned(),
            Self::Imap(_) | Self::Dav(_) => String::new(),
            Self::Directory(_) => {
                DirectoryTarget::ground(address).unwrap_or_else(|| section.to_owned())
            }
        }
    }

    /// The place that [`Journal::place`] remembered, for an undo.
    pub(crate) async fn reopen(
        &self,
        section: &str,
        address: &str,
        journal: &Arc<Journal>,
    ) -> Result<AnyPlace, Error> {
        let journal = Arc::clone(journal);
        match self {
            Self::Tenant(tenant) => tenant.reopen(section, address, journal),
            Self::Directory(directory) => {
                directory.reopen(section, address, journal).map(AnyPlace::new)
            }
            Self::Imap(imap) => imap.reopen(section, address, journal).await.map(AnyPlace::new),
            Self::Dav(dav) => dav.reopen(section, address, journal).map(AnyPlace::new),
        }
    }
}

impl std::fmt::Display for Target {
    /// As `--to` has it; never with a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tenant(tenant) => tenant.fmt(f),
            Self::Directory(directory) => directory.fmt(f),
            Self::Imap(imap) => imap.as_ref().fmt(f),
            Self::Dav(dav) => dav.as_ref().fmt(f),
        }
    }
}

/// Whether nothing else of the service should be tried after this.
pub(crate) fn is_fatal(error: &graph::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Credentials
            | ErrorKind::Throttled
            | ErrorKind::Unreachable
            | ErrorKind::CaCertificate
            | ErrorKind::Configuration
            | ErrorKind::Local
            | ErrorKind::Tls
    )
}

/// The stable word for an item that the service did not take.
pub(crate) fn cause(error: &graph::Error) -> &'static str {
    match error.kind() {
        ErrorKind::Permission => "refused",
        ErrorKind::Quota => "quota",
        ErrorKind::TooLarge => "too-large",
        ErrorKind::Conflict | ErrorKind::PreconditionFailed => "exists",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Source => "damaged",
        _ => "service",
    }
}
