//! The tar365 archive format: names, headers, writer, reader, manifest, ledger, seal, verification.
//! No network, no async, no clock.
//!
//! An archive is one ustar + PAX stream (`doc/format.md` is the normative text):
//!
//! ```text
//! .tar365/archive.json        head            head::Head
//! users/<upn>/mail.ndjson     metadata        metadata::Line, one a folder or item
//! users/<upn>/mail/...        content         named by path::{component, mail_name}
//! .tar365/manifest.ndjson     every member    manifest::ManifestLine
//! .tar365/ledger.ndjson       what is missing ledger::LedgerLine
//! .tar365/seal.json           counts, digests seal::Seal
//! ```
//!
//! [`Writer`] makes such a stream, [`Reader`] reads it from a pipe, [`Index`] from a file,
//! [`verify::verify`] proves it, [`extract::extract`] unpacks it, [`Selector`] chooses from it.

mod digest;
mod error;
pub mod extract;
pub mod head;
mod header;
pub mod index;
pub mod json;
pub mod ledger;
pub mod manifest;
pub mod metadata;
pub mod path;
pub mod reader;
pub mod region;
pub mod seal;
pub mod select;
pub mod shard;
mod spool;
pub mod verify;
pub mod writer;

pub use digest::{Sha256Digest, hex};
pub use error::Error;
pub use head::{FilterRef, Head, VCard};
pub use index::{Entries, Index, IndexEntry, Position};
pub use ledger::{LedgerLine, Outcome};
pub use manifest::ManifestLine;
pub use reader::{End, Entry, Kind, Reader};
pub use region::Region;
pub use seal::{Completeness, Extent, Seal};
pub use select::{OwnerNames, Selection, Selector};
pub use shard::Shard;
pub use writer::Writer;

/// The format version this crate writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// Path of the first member, the head.
pub const HEAD_PATH: &str = ".tar365/archive.json";
/// Path of the list of all members before it.
pub const MANIFEST_PATH: &str = ".tar365/manifest.ndjson";
/// Path of the list of what is not in the archive, or not as it should be.
pub const LEDGER_PATH: &str = ".tar365/ledger.ndjson";
/// Path of the last member of a finished archive.
pub const SEAL_PATH: &str = ".tar365/seal.json";
/// Path of the poison member: a stream that holds it failed and says why.
pub const FAILED_PATH: &str = ".tar365/EXPORT-FAILED";
