//! What can go wrong with an archive.

use std::{io, path::PathBuf};

use crate::path::PathError;

/// Every error of this crate. Messages are fragments that fit behind "failed to ...: " and never
/// repeat their source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The sink refused bytes. After this the stream is torn.
    #[error("cannot write the archive at byte {offset}")]
    Write {
        /// Bytes of the stream accepted so far.
        offset: u64,
        /// What the sink said.
        source: io::Error,
    },
    /// The source of the archive failed.
    #[error("cannot read the archive at byte {offset}")]
    Read {
        /// Bytes of the stream read so far.
        offset: u64,
        /// What the source said.
        source: io::Error,
    },
    /// The content handed to the writer could not be read.
    #[error("cannot read the content of {path}")]
    Content {
        /// Path of the member.
        path: String,
        /// What the content's reader said.
        source: io::Error,
    },
    /// A temporary file failed.
    #[error("cannot use a temporary file in {}", path.display())]
    Spool {
        /// The folder for temporary files.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder of the extraction failed.
    #[error("cannot write {}", path.display())]
    Extract {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A path that can't be a member's.
    #[error("unsafe path {path:?}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// The writer was used in the wrong order, or with impossible arguments.
    #[error("cannot write {path}: {what}")]
    Usage {
        /// The member at hand, or what the option is called.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The content handed to the writer has another size than announced.
    #[error("{path} was announced with {expected} bytes, but has {found}")]
    Size {
        /// Path of the member.
        path: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes seen (one more than announced stands for any number above).
        found: u64,
    },
    /// Content whose digest is not the announced one.
    #[error("the content of {path} does not match its digest")]
    Digest {
        /// Path of the member.
        path: String,
    },
    /// The stream ends inside a member or before the end blocks.
    #[error("the archive is cut at byte {offset}")]
    Truncated {
        /// Where it ends.
        offset: u64,
    },
    /// The export that wrote the stream failed and said so.
    #[error("the export that wrote this archive failed: {reason}")]
    Poisoned {
        /// The reason it left.
        reason: String,
    },
    /// The stream ends without a seal: its export never finished.
    #[error("the archive has no seal: its export never finished")]
    Unsealed,
    /// A block that is no tar header, or one that can't be meant.
    #[error("bad tar header at byte {offset}: {what}")]
    Header {
        /// Where the header starts.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// JSON that does not parse.
    #[error("bad JSON in {place}")]
    Json {
        /// The member, with the line where known.
        place: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A part of the archive that contradicts the format.
    #[error("{place}: {what}")]
    Invalid {
        /// The member, with the line where known.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// An archive of a later format.
    #[error("the archive has format {found}; this program reads up to {known}")]
    Version {
        /// Its format.
        found: u32,
        /// The newest we know.
        known: u32,
    },
    /// A glob or date of a selection that can't be read.
    #[error("bad selection {value:?}: {what}")]
    Selection {
        /// What was given.
        value: String,
        /// What is wrong.
        what: String,
    },
}

impl Error {
    /// The error of this crate that the reader of a content wrapped, or [`Error::Content`].
    pub fn from_content(path: &str, error: io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(own) => own,
            Err(source) => Error::Content { path: path.to_owned(), source },
        }
    }
}
