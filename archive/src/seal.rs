//! The seal: the last member, which makes a stream a whole archive.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, FORMAT, SEAL_PATH, digest::Sha256Digest, json};

/// Bytes of the seal's content. Fixed, and the seal has no `x` header, so that it lies at a known
/// distance from the end: [`SEAL_SIZE`] + two zero blocks of 512.
pub const SEAL_SIZE: usize = 4096;

/// Whether the archive holds all it was meant to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Completeness {
    /// Nothing failed and nothing is damaged.
    Complete,
    /// The ledger says what failed.
    Partial,
}

/// Where the content of a member lies in the uncompressed stream, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// First byte of the content, from the start of the stream.
    pub offset: u64,
    /// Bytes of content.
    pub length: u64,
    /// Digest of the content.
    #[serde(with = "crate::digest::serde_hex")]
    pub sha256: Sha256Digest,
}

/// `.tar365/seal.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Format version, as in the head.
    pub version: u32,
    /// Whether all is in here.
    pub outcome: Completeness,
    /// Lines of the manifest: all members before it.
    pub members: u64,
    /// Content members that are items (not metadata, not folders, not of `.tar365/`).
    pub items: u64,
    /// Ledger lines with this outcome.
    pub skipped: u64,
    /// Ledger lines with this outcome.
    pub failed: u64,
    /// Ledger lines with this outcome.
    pub converted: u64,
    /// Ledger lines with this outcome.
    pub damaged: u64,
    /// Where the manifest lies.
    pub manifest: Extent,
    /// Where the ledger lies.
    pub ledger: Extent,
}

impl Seal {
    /// The member's content: canonical JSON, spaces up to [`SEAL_SIZE`] - 1 bytes, a newline.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = json::canonical_of(self).into_bytes();
        // Every number at its largest gives less than 600 bytes.
        assert!(text.len() < SEAL_SIZE, "a seal has a bounded length");
        text.resize(SEAL_SIZE - 1, b' ');
        text.push(b'\n');
        text
    }

    /// SHA-256 of the member's content: it stands for the whole archive.
    pub fn digest(&self) -> Sha256Digest {
        Sha256::digest(self.encode()).into()
    }

    /// Reads the member's content. Fails with [`Error::Version`] for a format newer than ours.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let invalid = |source| Error::Json { place: SEAL_PATH.into(), source };
        let Version { version } = serde_json::from_slice(text).map_err(invalid)?;
        if version == 0 || version > FORMAT {
            return Err(Error::Version { found: version, known: FORMAT });
        }
        serde_json::from_slice(text).map_err(invalid)
    }
}
