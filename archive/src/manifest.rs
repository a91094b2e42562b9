//! The manifest: one line a member, in stream order.

use serde::{Deserialize, Serialize};

use crate::{
    Error,
    digest::{Sha256Digest, hex, parse_hex},
    json,
};

/// One line of `.tar365/manifest.ndjson`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestLine {
    /// The member's path, without a trailing slash also for a folder.
    pub path: String,
    /// Digest of the content; none for a folder.
    pub sha256: Option<Sha256Digest>,
    /// Bytes of content; 0 for a folder.
    pub size: u64,
    /// All bytes of the member: `x` header, header, content and padding.
    pub span: u64,
    /// The content is not whole: the end is zeros.
    pub damaged: bool,
}

/// The line as JSON has it.
#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    damaged: bool,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    size: u64,
    span: u64,
}

impl ManifestLine {
    /// The canonical line including its newline.
    pub fn encode(&self) -> String {
        let wire = Wire {
            damaged: self.damaged,
            path: self.path.clone(),
            sha256: self.sha256.as_ref().map(hex),
            size: self.size,
            span: self.span,
        };
        json::canonical_of(&wire) + "\n"
    }

    /// Reads one line, with or without its newline.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let place = || crate::MANIFEST_PATH.to_owned();
        let wire: Wire =
            serde_json::from_str(line).map_err(|source| Error::Json { place: place(), source })?;
        let sha256 = match wire.sha256 {
            None => None,
            Some(text) => Some(parse_hex(&text).ok_or_else(|| Error::Invalid {
                place: place(),
                what: "sha256 is not 64 lower-case hexadecimal digits".into(),
            })?),
        };
        Ok(ManifestLine {
            path: wire.path,
            sha256,
            size: wire.size,
            span: wire.span,
            damaged: wire.damaged,
        })
    }
}
