//! Text parts as characters.

use encoding_rs::{Encoding as Charset, UTF_8, UTF_16BE, UTF_16LE};

use crate::part::Part;
use crate::transfer::{self, Encoding};

/// The text of a part. Characters that are not edited become the same bytes again, whatever the
/// charset, and also if the bytes are no text in it.
#[derive(Debug, Clone)]
pub struct Text {
    /// What is read; lines end as they do in the mail.
    pub text: String,
    codec: Codec,
    encoding: Encoding,
    /// The body as it was, for its line ends.
    body: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Codec {
    Charset(&'static Charset),
    /// A character a byte: ISO-8859-1. All charsets that are in use in mails, except UTF-16 and
    /// ISO-2022, are ASCII where a byte is less than 128 and begins a character.
    Bytes,
}

impl Text {
    /// Decodes the body of a text part; none if its transfer encoding is not known.
    pub fn decode(part: &Part, body: &[u8]) -> Option<Text> {
        if part.encoding == Encoding::Other {
            return None;
        }
        let bytes = transfer::decode(part.encoding, body);
        let charset = match &part.charset {
            Some(label) => Charset::for_label(label.trim().as_bytes()),
            None => Some(UTF_8),
        };
        let exact = charset.and_then(|charset| Some((exactly(charset, &bytes)?, charset)));
        let (text, codec) = match exact {
            Some((text, charset)) => (text, Codec::Charset(charset)),
            None => (bytes.iter().map(|byte| char::from(*byte)).collect(), Codec::Bytes),
        };
        Some(Text { text, codec, encoding: part.encoding, body: body.to_vec() })
    }

    /// The body for a changed text, in the charset and transfer encoding of the part. A character
    /// that the charset lacks is written as a numeric reference, `&#8364;`.
    pub fn encode(&self, changed: &str) -> Vec<u8> {
        let bytes = match self.codec {
            Codec::Charset(charset) => to_bytes(charset, changed),
            Codec::Bytes => to_latin(changed),
        };
        transfer::encode(self.encoding, &bytes, &self.body)
    }
}

/// The text, if the charset gives the same bytes for it again.
fn exactly(charset: &'static Charset, bytes: &[u8]) -> Option<String> {
    let text = charset.decode_without_bom_handling_and_without_replacement(bytes)?;
    (to_bytes(charset, &text) == bytes).then(|| text.into_owned())
}

fn to_bytes(charset: &'static Charset, text: &str) -> Vec<u8> {
    // The library writes UTF-8 for these two, as browsers have to.
    if charset == UTF_16LE {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    } else if charset == UTF_16BE {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    } else {
        charset.encode(text).0.into_owned()
    }
}

fn to_latin(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(format!("&#{};", u32::from(character)).bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
