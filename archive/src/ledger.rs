//! The ledger: what is not in the archive, or not as the service has it, and why.

use serde::{Deserialize, Serialize};

use crate::{Error, json};

/// How an item or scope ended that was not simply written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The service itself says it is not to be had (malware, vanished, no licence).
    Skipped,
    /// It should be there, but could not be got.
    Failed,
    /// It came by a fallback; the bytes are our own rendering.
    Converted,
    /// The member is padded with zeros to its declared size.
    Damaged,
}

/// One line of `.tar365/ledger.ndjson`. At least one of `scope`, `path` and `id` is given.
/// Everything here is stable from run to run: request ids, dates and the service's own texts
/// belong in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// An archive path prefix, such as `users/<upn>/mail`: the line speaks of all below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The path in the item's metadata line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The service's id of the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, as one stable word, such as `malware` or `vanished`.
    pub cause: String,
    /// The service's error code, such as `ErrorItemNotFound`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why, as a sentence of our own.
    pub message: String,
}

impl LedgerLine {
    /// The canonical line including its newline.
    pub fn encode(&self) -> String {
        json::canonical_of(self) + "\n"
    }

    /// Reads one line, with or without its newline.
    pub fn parse(line: &str) -> Result<Self, Error> {
        serde_json::from_str(line)
            .map_err(|source| Error::Json { place: crate::LEDGER_PATH.into(), source })
    }
}
