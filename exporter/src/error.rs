//! Why an export ends without a seal.

use std::path::PathBuf;

use graph::ErrorKind;

/// A fatal error: the stream it happened in is not complete and says so.
///
/// What concerns one item or one owner is never an `Error`; it is a line of the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The selection names owners, and the tenant has none of them.
    #[error("the selection matches no owner among {owners} users and groups of the tenant")]
    NoOwner {
        /// How many of the kinds that it names the tenant listed.
        owners: u64,
    },
    /// Every owner refused the service (design: exit code 77).
    #[error("{service} was refused for every owner ({owners} of {owners})")]
    Refused {
        /// The service's name.
        service: &'static str,
        /// How many owners were asked.
        owners: u64,
        /// What the service answered for the first of them.
        #[source]
        source: Box<graph::Error>,
    },
    /// The service answered something that ends the run.
    #[error("{doing} failed")]
    Graph {
        /// What was being done, with the owner's name.
        doing: String,
        /// The cause.
        #[source]
        source: Box<graph::Error>,
    },
    /// The spool can't take more.
    #[error("the spool in {} can't be used", dir.display())]
    Spool {
        /// The spool directory.
        dir: PathBuf,
        /// The cause; disk full among them.
        #[source]
        source: std::io::Error,
    },
    /// The inventory on disk failed.
    #[error("the inventory in {} can't be used", dir.display())]
    Inventory {
        /// The directory of the temporary database.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The archive could not be written.
    #[error("the archive can't be written")]
    Archive(#[source] archive::Error),
    /// The one who reads us went away (design: exit code 74).
    #[error("the consumer of the stream went away")]
    ConsumerGone(#[source] std::io::Error),
    /// The base can't be one: nothing is exported in full by mistake.
    #[error("the base can't be used: {what}")]
    Base {
        /// What is wrong with it.
        what: String,
    },
    /// Who writes the base failed.
    #[error("the base is not whole: {what}")]
    BaseEnded {
        /// How it ended.
        what: String,
    },
    /// The base is damaged, or no archive.
    #[error("the base can't be used")]
    BadBase(#[source] archive::Error),
    /// The archive's file or pipe takes no more bytes.
    #[error("the output can't be written")]
    Output(#[source] std::io::Error),
    /// An archive with something that this version does not know.
    #[error("the archive has {service}, which this version of tar365 can't filter")]
    UnknownService {
        /// The service's name.
        service: String,
    },
    /// A plugin did not answer the same twice; what it answered first is written already.
    #[error("a plugin decided otherwise on {path} the second time")]
    SecondDecision {
        /// Path of the item in the archive.
        path: String,
    },
    /// The caller asked us to stop.
    #[error("interrupted")]
    Interrupted,
    /// A part of the pipeline ended without saying why: a defect of ours.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl Error {
    /// Names what was being done when `source` ended the run.
    pub(crate) fn graph(doing: impl Into<String>, source: graph::Error) -> Self {
        Self::Graph { doing: doing.into(), source: Box::new(source) }
    }
}

/// What vanished while it was listed or read is nobody's failure.
pub(crate) fn is_gone(error: &graph::Error) -> bool {
    matches!(error.kind(), ErrorKind::FolderGone | ErrorKind::ItemGone | ErrorKind::NotFound)
}

/// True for what ends the run: nothing else would succeed after it.
pub(crate) fn is_fatal(error: &graph::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Credentials
            | ErrorKind::Throttled
            | ErrorKind::Unreachable
            | ErrorKind::Tls
            | ErrorKind::CaCertificate
            | ErrorKind::Configuration
            | ErrorKind::Local
    )
}
