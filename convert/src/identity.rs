//! Names that stay with an item.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// A UUID of version 8 (RFC 9562, 5.8) that is a function of the immutable id alone, for items
/// that have no identifier of their own outside of Graph.
pub(crate) fn uuid(id: &str) -> String {
    let mut bytes = Sha256::digest(id.as_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = HEXLOWER.encode(&bytes[..16]);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
