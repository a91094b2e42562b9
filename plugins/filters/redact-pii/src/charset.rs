//! Character sets: texts out of bytes, and back without harm to what was not changed.

use std::borrow::Cow;

use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::find::Finder;
use crate::text::Form;

/// Stands for a byte that is no character: this and the byte. The last characters of all, which
/// nothing uses.
const STRAY: u32 = 0x10_ff00;

/// A text in other bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// It could not stay in its character set and is UTF-8 now.
    pub is_utf8_now: bool,
}

/// Redacts a text in the named character set, or in the one it looks like. `None` if nothing was
/// found.
#[must_use]
pub fn redact(finder: &Finder, bytes: &[u8], label: Option<&str>, form: Form) -> Option<Redacted> {
    if label.is_some_and(|label| label.eq_ignore_ascii_case("utf-7")) {
        let text = finder.redact(&utf7(bytes)?, form)?;
        return Some(Redacted { bytes: text.into_bytes(), is_utf8_now: true });
    }
    let charset = charset(bytes, label);
    if charset == UTF_8 {
        let text = finder.redact(&lossless(bytes), form)?;
        return Some(Redacted { bytes: lossless_back(&text), is_utf8_now: false });
    }
    let (text, has_errors) = charset.decode_without_bom_handling(bytes);
    let Some(redacted) = finder.redact(&text, form) else {
        // Something else may have been added to it.
        let is_wide = charset == UTF_16LE || charset == UTF_16BE;
        let text = finder.redact(&lossless(bytes), form).filter(|_| is_wide)?;
        return Some(Redacted { bytes: lossless_back(&text), is_utf8_now: false });
    };
    let back = if has_errors { None } else { encode(&redacted, charset) };
    Some(match back {
        Some(bytes) => Redacted { bytes, is_utf8_now: false },
        None => Redacted { bytes: redacted.into_bytes(), is_utf8_now: true },
    })
}

/// A text in the named character set, as well as it can be read.
#[must_use]
pub fn decode(bytes: &[u8], label: &str) -> String {
    if label.eq_ignore_ascii_case("utf-7")
        && let Some(text) = utf7(bytes)
    {
        return text;
    }
    let charset = charset(bytes, Some(label));
    charset.decode_without_bom_handling(bytes).0.into_owned()
}

/// Whether bytes are text in a character set that they show themselves: no binary data.
#[must_use]
pub fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(8192)];
    if utf16(start).is_some() {
        return true;
    }
    let odd =
        start.iter().filter(|byte| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f));
    !start.contains(&0) && odd.count() * 100 <= start.len()
}

/// Bytes as text from which they can be had again, whatever they are.
#[must_use]
pub fn lossless(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(with_strays(bytes)),
    }
}

/// The bytes of such a text.
#[must_use]
pub fn lossless_back(text: &str) -> Vec<u8> {
    without_strays(text)
}

/// The character set that a text shows itself to be in, for pieces of it that do not.
#[must_use]
pub fn shown(start: &[u8]) -> &'static str {
    match utf16(&start[..start.len().min(8192)]) {
        Some(charset) if charset == UTF_16LE => "utf-16le",
        Some(_) => "utf-16be",
        None => "utf-8",
    }
}

fn charset(bytes: &[u8], label: Option<&str>) -> &'static Encoding {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return UTF_8;
    }
    if let Some(found) = utf16(&bytes[..bytes.len().min(8192)]) {
        return found;
    }
    let Some(label) = label else { return UTF_8 };
    let charset = Encoding::for_label(label.trim().as_bytes()).unwrap_or(UTF_8);
    // ASCII is a part of UTF-8, that of the web is Windows-1252: what is beyond ASCII is not known.
    let is_ascii = charset == WINDOWS_1252 && label.to_ascii_lowercase().contains("ascii");
    // Said to be UTF-16, but shows none of it.
    let is_wide = charset == UTF_16BE || charset == UTF_16LE;
    if is_ascii
        || (is_wide && bytes.is_ascii())
        || !charset.is_ascii_compatible() && !is_wide && charset != ISO_2022_JP
    {
        return UTF_8;
    }
    charset
}

/// UTF-16 shows itself by its mark or by zeros at every second byte.
fn utf16(start: &[u8]) -> Option<&'static Encoding> {
    match start {
        [0xff, 0xfe, ..] => return Some(UTF_16LE),
        [0xfe, 0xff, ..] => return Some(UTF_16BE),
        _ => {}
    }
    if !start.contains(&0) {
        return None;
    }
    let pairs = start.len() / 2;
    let zeros = |at: usize| start.iter().skip(at).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    if pairs >= 4 && even == 0 && odd * 2 > pairs {
        Some(UTF_16LE)
    } else if pairs >= 4 && odd == 0 && even * 2 > pairs {
        Some(UTF_16BE)
    } else {
        None
    }
}

fn encode(text: &str, charset: &'static Encoding) -> Option<Vec<u8>> {
    if charset == UTF_16LE {
        return Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    }
    if charset == UTF_16BE {
        return Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    }
    let (bytes, _, has_errors) = charset.encode(text);
    (!has_errors).then(|| bytes.into_owned())
}

/// UTF-8 with its stray bytes as characters that stand for them.
fn with_strays(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 64);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(
            chunk.invalid().iter().filter_map(|byte| char::from_u32(STRAY + u32::from(*byte))),
        );
    }
    text
}

fn without_strays(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut buffer = [0; 4];
    for found in text.chars() {
        match u8::try_from((found as u32).wrapping_sub(STRAY)) {
            Ok(byte) if byte >= 0x80 => bytes.push(byte),
            _ => bytes.extend_from_slice(found.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    bytes
}

/// UTF-7 (RFC 2152), which the web's encodings do not know. `None` if the bytes are not ASCII.
fn utf7(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('+') {
        out.push_str(before);
        let in_base64 = |found: char| found.is_ascii_alphanumeric() || matches!(found, '+' | '/');
        let end = behind.find(|found| !in_base64(found)).unwrap_or(behind.len());
        let wide = crate::transfer::base64_decode(&behind.as_bytes()[..end]);
        let units = wide.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        out.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')));
        if end == 0 && behind.starts_with('-') {
            out.push('+');
        }
        rest = behind[end..].strip_prefix('-').unwrap_or(&behind[end..]);
    }
    out.push_str(rest);
    Some(out)
}
