//! Content transfer encodings: RFC 2045, and uuencode.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How a part's bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// As they are: 7bit, 8bit, binary, and what is not known.
    Identity,
    /// Base64.
    Base64,
    /// Quoted-printable.
    Quoted,
    /// uuencode, as `x-uuencode`.
    Uu,
}

impl Transfer {
    /// By the value of `Content-Transfer-Encoding`.
    #[must_use]
    pub(crate) fn named(value: &str) -> Self {
        let value = value.split([';', '(']).next().unwrap_or_default();
        match value.trim().to_ascii_lowercase().as_str() {
            "base64" => Self::Base64,
            "quoted-printable" => Self::Quoted,
            "x-uuencode" | "uuencode" | "x-uue" | "uue" => Self::Uu,
            _ => Self::Identity,
        }
    }

    /// The bytes that are written.
    #[must_use]
    pub(crate) fn decode(self, body: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Identity => Cow::Borrowed(body),
            Self::Base64 => Cow::Owned(base64_decode(body)),
            Self::Quoted => Cow::Owned(quoted_decode(body)),
            Self::Uu => match crate::uu::blocks(body).into_iter().next() {
                Some(block) => Cow::Owned(block.decode(body)),
                None => Cow::Borrowed(body),
            },
        }
    }

    /// Bytes as they are to be written, in lines as those of `like`.
    #[must_use]
    pub(crate) fn encode(self, bytes: &[u8], like: &[u8]) -> Vec<u8> {
        match self {
            Self::Identity => bytes.to_vec(),
            Self::Base64 => base64_encode(bytes, like),
            Self::Quoted => quoted_encode(bytes, line_end(like)),
            Self::Uu => match crate::uu::blocks(like).into_iter().next() {
                Some(block) => block.encode(like, bytes),
                None => bytes.to_vec(),
            },
        }
    }
}

/// The line ending in use.
#[must_use]
pub(crate) fn line_end(text: &[u8]) -> &'static str {
    match memchr::memchr(b'\n', text) {
        Some(at) if at == 0 || text[at - 1] != b'\r' => "\n",
        Some(_) => "\r\n",
        None if text.contains(&b'\r') => "\r",
        None => "\r\n",
    }
}

/// Base64 as mail readers read it: what is no character of the alphabet is skipped, and padding
/// only ends a group.
#[must_use]
pub(crate) fn base64_decode(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 3);
    let mut bits = 0_u32;
    let mut count = 0;
    for byte in body {
        let value = VALUES[usize::from(*byte)];
        if value < 64 {
            bits = bits << 6 | u32::from(value);
            count += 1;
            if count == 4 {
                out.extend_from_slice(&bits.to_be_bytes()[1..]);
                (bits, count) = (0, 0);
            }
        } else if *byte == b'=' && count > 0 {
            flush(&mut out, bits, count);
            (bits, count) = (0, 0);
        }
    }
    flush(&mut out, bits, count);
    out
}

/// The bytes of a group of less than four characters.
fn flush(out: &mut Vec<u8>, bits: u32, count: u32) {
    if count >= 2 {
        let bytes = (bits << (6 * (4 - count))).to_be_bytes();
        out.extend_from_slice(&bytes[1..count as usize]);
    }
}

const VALUES: [u8; 256] = {
    let mut values = [64; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut at = 0;
    while at < 64 {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
};

fn base64_encode(bytes: &[u8], like: &[u8]) -> Vec<u8> {
    let end = line_end(like);
    let first = like.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty());
    let width = first.map_or(76, <[u8]>::len).clamp(4, 76) / 4 * 4;
    let mut out = Vec::with_capacity(bytes.len() / 3 * 4 + bytes.len() / 40 + 8);
    for line in bytes.chunks(width / 4 * 3) {
        if !out.is_empty() {
            out.extend_from_slice(end.as_bytes());
        }
        out.extend_from_slice(STANDARD.encode(line).as_bytes());
    }
    if like.ends_with(b"\n") {
        out.extend_from_slice(end.as_bytes());
    }
    out
}

fn quoted_decode(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'=', &body[at..]) {
        out.extend_from_slice(&body[at..at + found]);
        let sign = at + found;
        at = sign + 1;
        let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
        if let (Some(high), Some(low)) = (hex(body.get(at)), hex(body.get(at + 1))) {
            out.push(u8::try_from(high * 16 + low).unwrap_or_default());
            at += 2;
            continue;
        }
        let blanks = body[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match &body[at + blanks..] {
            [b'\r', b'\n', ..] => at += blanks + 2,
            [b'\n' | b'\r', ..] => at += blanks + 1,
            [] => at += blanks,
            _ => out.push(b'='),
        }
    }
    out.extend_from_slice(&body[at..]);
    out
}

fn quoted_encode(bytes: &[u8], end: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    let mut width = 0;
    let mut at = 0;
    // A text of two bytes a character has no line breaks of one.
    let has_lines = !bytes.contains(&0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let line = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest[0] == b'\n') };
        if line > 0 && has_lines {
            out.extend_from_slice(&rest[..line]);
            width = 0;
            at += line;
            continue;
        }
        let ends = matches!(rest.get(1), None | Some(b'\r' | b'\n'));
        let plain = match rest[0] {
            b' ' | b'\t' => !ends,
            b'=' => false,
            // Lines that transports would change.
            b'.' | b'F' if width == 0 => false,
            byte => (b'!'..=b'~').contains(&byte),
        };
        let length = if plain { 1 } else { 3 };
        if width + length > 75 {
            out.push(b'=');
            out.extend_from_slice(end.as_bytes());
            width = 0;
        }
        if plain {
            out.push(rest[0]);
        } else {
            out.extend_from_slice(format!("={:02X}", rest[0]).as_bytes());
        }
        width += length;
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes: Vec<u8>, lf: bool) {
            let like: &[u8] = if lf { b"QUJD\nQUJD\n" } else { b"x\r\n" };
            for transfer in [Transfer::Base64, Transfer::Quoted] {
                let written = transfer.encode(&bytes, like);
                prop_assert!(written.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
                let read = transfer.decode(&written).into_owned();
                prop_assert_eq!(read, bytes.clone());
            }
        }
    }

    #[test]
    fn broken_encodings_are_read_as_far_as_they_go() {
        assert_eq!(base64_decode(b"QU*JD\r\nQQ==QUJD Q"), b"ABCAABC");
        assert_eq!(quoted_decode(b"a=3Db= \r\nc=\nd=zz=3"), b"a=bcd=zz=3");
    }
}
