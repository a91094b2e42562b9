//! The head: what the archive is meant to hold, known before the first item.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, FORMAT, Shard, digest::Sha256Digest, json};

/// The first member, `.tar365/archive.json`. It says nothing about the run (no clock, host or
/// program version): the same content must give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Format version, [`FORMAT`] in what we write.
    pub format: u32,
    /// Tenant id (a GUID).
    pub tenant: String,
    /// Services in the stream, in the order of [`crate::metadata::SERVICES`].
    pub services: Vec<String>,
    /// What was asked for, see [`crate::Selection::to_json`].
    pub selection: Value,
    /// The filter chain in order; empty = unfiltered.
    pub filters: Vec<FilterRef>,
    /// What the contacts are written as.
    #[serde(default, skip_serializing_if = "VCard::is_usual")]
    pub vcard: VCard,
}

/// The version of vCard that contacts are in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VCard {
    /// RFC 2426. A head does not name it.
    #[default]
    #[serde(rename = "3.0")]
    V3,
    /// RFC 6350.
    #[serde(rename = "4.0")]
    V4,
}

impl VCard {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// A filter plugin the content went through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRef {
    /// The plugin's own name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// Digest of the plugin file.
    #[serde(with = "crate::digest::serde_hex")]
    pub sha256: Sha256Digest,
    /// Digest of its settings (of no bytes at all if it has none).
    #[serde(with = "crate::digest::serde_hex")]
    pub settings_sha256: Sha256Digest,
}

impl Head {
    /// A head of the format this crate writes, with contacts as they usually are.
    pub fn new(
        tenant: String,
        services: Vec<String>,
        selection: Value,
        filters: Vec<FilterRef>,
    ) -> Self {
        Head { format: FORMAT, tenant, services, selection, filters, vcard: VCard::default() }
    }

    /// The shard of the tenant it is, if it is one.
    pub fn shard(&self) -> Option<Shard> {
        self.selection.get("shard")?.as_str()?.parse().ok()
    }

    /// The member's content: canonical JSON and a newline.
    pub fn encode(&self) -> String {
        json::canonical_of(self) + "\n"
    }

    /// Reads the member's content. Fails with [`Error::Version`] for a format newer than ours.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let invalid = |source| Error::Json { place: crate::HEAD_PATH.into(), source };
        let Version { format } = serde_json::from_slice(text).map_err(invalid)?;
        if format == 0 || format > FORMAT {
            return Err(Error::Version { found: format, known: FORMAT });
        }
        serde_json::from_slice(text).map_err(invalid)
    }
}
