//! Why an item could not be converted at all.

use std::io;

/// A conversion that failed; what merely lacks in the other format is a [`crate::Loss`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The output or the input failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The content of an attachment could not be had or kept.
    #[error("attachment {name:?}: {source}")]
    Attachment {
        /// Its name, or its number where it has none.
        name: String,
        /// What the caller's reader or writer said.
        source: io::Error,
    },
    /// The item lacks what the format cannot be without.
    #[error("{property} is {why}")]
    Invalid {
        /// The property, as its format names it.
        property: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A property of the item is missing or of another type than documented.
    #[error("{0} is missing or of an unexpected type")]
    Shape(String),
    /// The text of an item, attachments apart, is larger than is kept in memory.
    #[error("more than {0} bytes of text in one item")]
    TooLarge(usize),
}

impl Error {
    pub(crate) fn shape(property: impl Into<String>) -> Self {
        Self::Shape(property.into())
    }
}
