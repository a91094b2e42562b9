//! What can go wrong with a restore.

use std::io;
use std::path::PathBuf;

/// Every error of this crate. Messages never repeat their source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive is bad, or can't be read.
    #[error("reading the archive")]
    Archive(#[from] archive::Error),
    /// The service failed or refused, and not only this item.
    #[error("{doing}")]
    Graph {
        /// What was being done, with owner or path.
        doing: String,
        /// What the service said.
        source: graph::Error,
    },
    /// The content of an item could not be read, or is not what the archive says.
    #[error("reading the content of {path}")]
    Content {
        /// Path of the member.
        path: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A file of the target directory could not be written.
    #[error("writing {}", path.display())]
    Directory {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The IMAP server failed or refused.
    #[error("{doing}: {message}")]
    Imap {
        /// What was being done.
        doing: String,
        /// What the server, or the connection to it, said.
        message: String,
        /// Nothing else can be tried on this connection, or with these credentials.
        fatal: bool,
        /// The server does not let this user in.
        refused: bool,
    },
    /// The CalDAV or CardDAV server failed or refused.
    #[error("{doing}: {message}")]
    Dav {
        /// What was being done.
        doing: String,
        /// What the server, or the connection to it, said.
        message: String,
        /// Stable word for report and journal; `refused` if the server does not let us.
        cause: &'static str,
        /// Nothing else can be tried there.
        fatal: bool,
    },
    /// The journal can't be used.
    #[error("using the journal {}: {what}", path.display())]
    Journal {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A temporary file failed.
    #[error("using a temporary file in {}", path.display())]
    Spool {
        /// The folder for temporary files.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was asked for can't be done like this.
    #[error("{what}")]
    Usage {
        /// Why.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// What the target made is not what it was given.
    #[error("{path} is not as it should be: {what}")]
    Unequal {
        /// Path of the member.
        path: String,
        /// The difference.
        what: String,
    },
    /// The item can't be restored here at all.
    #[error("{what}")]
    Item {
        /// Stable word for report and journal.
        cause: &'static str,
        /// Why, in words.
        what: String,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Whether nothing else should be tried after it.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Graph { source, .. } => crate::target::is_fatal(source),
            Self::Directory { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded
                        | io::ErrorKind::ReadOnlyFilesystem
                )
            }
            Self::Imap { fatal, .. } | Self::Dav { fatal, .. } => *fatal,
            Self::Content { .. } | Self::Unequal { .. } | Self::Item { .. } => false,
            Self::Archive(_)
            | Self::Journal { .. }
            | Self::Spool { .. }
            | Self::Usage { .. }
            | Self::Interrupted => true,
        }
    }

    /// The stable word for report and journal.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Archive(_) | Self::Content { .. } => "damaged",
            Self::Unequal { .. } => "unequal",
            Self::Item { cause, .. } | Self::Dav { cause, .. } => cause,
            Self::Graph { source, .. } => crate::target::cause(source),
            Self::Directory { .. } | Self::Imap { .. } => "target",
            _ => "local",
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
