//! SHA-256 in the three spellings of the format: raw, hexadecimal, base32hex.

use sha2::{Digest, Sha256};

/// A raw SHA-256 digest.
pub type Sha256Digest = [u8; 32];

/// The digest as 64 lower-case hexadecimal digits.
pub fn hex(digest: &Sha256Digest) -> String {
    data_encoding::HEXLOWER.encode(digest)
}

/// The inverse of [`hex`]; upper case is refused: the format has one spelling.
pub(crate) fn parse_hex(text: &str) -> Option<Sha256Digest> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// The first `length` characters of the SHA-256 of `text` in RFC 4648 base32hex, lower case.
pub(crate) fn base32(text: &str, length: usize) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut encoded = data_encoding::BASE32HEX_NOPAD.encode(&digest).to_ascii_lowercase();
    encoded.truncate(length);
    encoded
}

/// Serde form of a digest: the hexadecimal string.
pub(crate) mod serde_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(
        digest: &super::Sha256Digest,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::hex(digest))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<super::Sha256Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_hex(&text).ok_or_else(|| D::Error::custom("not a lower-case SHA-256"))
    }
}
