//! Contacts as vCards, one a file, and back (FACTS 3.4, 5.3, 8.4).
//!
//! Version 3.0 (RFC 2426) is what Exchange itself writes and what every program reads with its
//! photo; 4.0 (RFC 6350) by choice. What the standard has no property for stands where the field's
//! programs put it (`X-MS-SPOUSE`, `X-PHONETIC-FIRST-NAME`, `X-ABLabel`); [`LOSSY`] is the rest.

mod extended;
mod photo;
mod read;
mod table;
mod write;

pub use extended::EXTENDED;
pub use read::{Contact, read};
pub use write::write;

/// The version of vCard to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// RFC 2426.
    #[default]
    V3,
    /// RFC 6350.
    V4,
}

/// The properties of a contact that do not come back from its card, and why.
pub const LOSSY: &[(&str, &str)] = &[
    ("id", "made into the UID; a restored contact gets a new one"),
    ("changeKey", "the service's own"),
    ("createdDateTime", "set by the service"),
    ("lastModifiedDateTime", "stands as REV; set by the service"),
    ("parentFolderId", "the folder is the directory of the file"),
    ("primaryEmailAddress", "the first of emailAddresses, and comes back there"),
    ("secondaryEmailAddress", "the second of emailAddresses, and comes back there"),
    ("tertiaryEmailAddress", "the third of emailAddresses, and comes back there"),
    ("extensions", "data of other applications, kept in the metadata only"),
    ("multiValueExtendedProperties", "kept in the metadata only"),
    (
        "singleValueExtendedProperties",
        "fax, pager, other phone, car phone, ISDN, personal web page and anniversary only",
    ),
];
