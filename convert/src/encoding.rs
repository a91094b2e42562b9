//! Character sets of files, which tell theirs by a mark or not at all.

use encoding_rs::{Encoding, WINDOWS_1252};

/// The text of a file: UTF-8, or UTF-16 with a mark, else Windows' Latin letters; and whether that
/// was a guess.
pub(crate) fn decode(bytes: Vec<u8>) -> (String, bool) {
    if let Some((encoding, _)) = Encoding::for_bom(&bytes) {
        let (text, _, malformed) = encoding.decode(&bytes);
        return (text.into_owned(), malformed);
    }
    match String::from_utf8(bytes) {
        Ok(text) => (text, false),
        Err(error) => (WINDOWS_1252.decode(error.as_bytes()).0.into_owned(), true),
    }
}
