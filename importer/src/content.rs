//! The bytes of an item: in memory, in a temporary file, in the archive itself, or passing by.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use archive::Sha256Digest;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::region::{Proven, Region};

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Content {
    /// Small, and proven.
    Memory(Bytes),
    /// In a temporary file, and proven.
    Spooled(Arc<File>, u64),
    /// In the archive; proven while it is read.
    Archived {
        /// The content itself.
        region: Region,
        /// What it must be.
        sha256: Option<Sha256Digest>,
    },
    /// Larger than the spool: it can be read once, while the archive goes by.
    Passing(Passing),
}

/// A reader that is given away once.
pub(crate) struct Passing(Mutex<Option<Box<dyn Read + Send>>>);

impl Passing {
    pub(crate) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self(Mutex::new(Some(reader)))
    }

    fn take(&self) -> Option<Box<dyn Read + Send>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl std::fmt::Debug for Passing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passing")
    }
}

impl Content {
    /// Reads from the start. What was read to its end without an error is what the archive says.
    ///
    /// # Errors
    /// Also when it passed by already: see [`Content::is_repeatable`].
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Self::Memory(bytes) => Ok(Box::new(Cursor::new(bytes.clone()))),
            Self::Spooled(file, size) => {
                Ok(Box::new(Region::new(Arc::clone(file), 0, *size).reader()))
            }
            Self::Archived { region, sha256 } => {
                Ok(Box::new(Proven::new(region.reader(), *sha256)))
            }
            Self::Passing(passing) => {
                passing.take().ok_or_else(|| io::Error::other("the content has passed by already"))
            }
        }
    }

    /// The same content, to be read elsewhere. What passes by goes with the first who reads it.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Memory(bytes) => Self::Memory(bytes.clone()),
            Self::Spooled(file, size) => Self::Spooled(Arc::clone(file), *size),
            Self::Archived { region, sha256 } => {
                Self::Archived { region: region.clone(), sha256: *sha256 }
            }
            Self::Passing(passing) => Self::Passing(Passing(Mutex::new(passing.take()))),
        }
    }

    /// Whether it can be read again.
    pub(crate) const fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Passing(_))
    }
}

/// The digest of all that a reader gives, in hex.
pub(crate) fn digest(reader: &mut impl Read) -> io::Result<String> {
    let mut digest = Sha256::new();
    io::copy(reader, &mut digest)?;
    Ok(archive::hex(&digest.finalize().into()))
}
