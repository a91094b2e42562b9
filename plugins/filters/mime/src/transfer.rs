//! Transfer encodings (RFC 2045 6).

/// How the bytes of a body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// As they are: 7bit, 8bit, binary, or nothing said.
    #[default]
    Identity,
    /// base64.
    Base64,
    /// quoted-printable.
    QuotedPrintable,
    /// One that is not known here, like x-uuencode.
    Other,
}

impl Encoding {
    /// By the value of `Content-Transfer-Encoding`.
    pub fn named(name: &str) -> Self {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "7bit" | "8bit" | "binary" => Encoding::Identity,
            "base64" => Encoding::Base64,
            "quoted-printable" => Encoding::QuotedPrintable,
            _ => Encoding::Other,
        }
    }
}

/// Decodes a body that comes in pieces. Lenient as mail readers are: what does not belong into
/// base64 is skipped, and an escape of quoted-printable that is none stands for itself.
#[derive(Debug)]
pub struct Decoder {
    encoding: Encoding,
    /// base64: the bits of an unfinished group and how many characters they are of.
    bits: u32,
    characters: u32,
    /// quoted-printable: white space that counts only if the line goes on, or the beginning of an
    /// escape.
    rest: Vec<u8>,
}

impl Decoder {
    /// At the beginning of a body. An unknown encoding is passed as it is.
    pub fn new(encoding: Encoding) -> Self {
        Decoder { encoding, bits: 0, characters: 0, rest: Vec::new() }
    }

    /// Appends what `piece` stands for to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match self.encoding {
            Encoding::Identity | Encoding::Other => out.extend_from_slice(piece),
            Encoding::Base64 => piece.iter().for_each(|byte| self.push_base64(*byte, out)),
            Encoding::QuotedPrintable => piece.iter().for_each(|byte| self.push_quoted(*byte, out)),
        }
    }

    /// The body is at its end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.encoding == Encoding::Base64 {
            self.end_group(out);
        }
        // A last `=` is a soft line break; white space at the end is no part of the text.
        let rest = std::mem::take(&mut self.rest);
        if rest.len() > 1 && rest[0] == b'=' && !matches!(rest[1], b'\r' | b' ' | b'\t') {
            out.extend_from_slice(&rest);
        }
    }

    fn push_base64(&mut self, byte: u8, out: &mut Vec<u8>) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            // Some mailers join encodings that are padded each.
            b'=' => return self.end_group(out),
            _ => return,
        };
        self.bits = self.bits << 6 | u32::from(value);
        self.characters += 1;
        if self.characters == 4 {
            out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
            (self.bits, self.characters) = (0, 0);
        }
    }

    /// Ends a group of two or three characters; one alone stands for nothing.
    fn end_group(&mut self, out: &mut Vec<u8>) {
        if self.characters >= 2 {
            let bytes = (self.bits << (6 * (4 - self.characters))).to_be_bytes();
            let length = self.characters as usize - 1;
            out.extend_from_slice(&bytes[1..=length]);
        }
        (self.bits, self.characters) = (0, 0);
    }

    fn push_quoted(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.rest.first(), byte) {
            // White space that ends a line was added on the way (RFC 2045 6.7, rule 3).
            (Some(b' ' | b'\t'), b'\r' | b'\n') => {
                self.rest.clear();
                out.push(byte);
            }
            (None | Some(b' ' | b'\t'), b' ' | b'\t') => self.rest.push(byte),
            (Some(b'='), _) => self.push_escape(byte, out),
            (_, b'=') => {
                out.append(&mut self.rest);
                self.rest.push(byte);
            }
            _ => {
                out.append(&mut self.rest);
                out.push(byte);
            }
        }
    }

    /// A byte after `=`.
    fn push_escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.rest.get(1).copied(), byte) {
            // A soft line break; white space may stand before it.
            (None | Some(b' ' | b'\t'), b'\n') | (Some(b'\r'), b'\n') => self.rest.clear(),
            (None | Some(b' ' | b'\t'), b'\r') => self.rest = b"=\r".to_vec(),
            (None, b' ' | b'\t') => self.rest.push(byte),
            (Some(b' ' | b'\t'), b' ' | b'\t') => {}
            (None, _) if byte.is_ascii_hexdigit() => self.rest.push(byte),
            (Some(first), _) if first.is_ascii_hexdigit() && byte.is_ascii_hexdigit() => {
                self.rest.clear();
                out.push(hex(first) << 4 | hex(byte));
            }
            // A soft line break of a carriage return alone: the byte is the next line's.
            (Some(b'\r'), _) => {
                self.rest.clear();
                self.push_quoted(byte, out);
            }
            // No escape.
            _ => {
                out.append(&mut self.rest);
                self.push_quoted(byte, out);
            }
        }
    }
}

/// Value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// What a whole body stands for.
pub fn decode(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut decoder = Decoder::new(encoding);
    decoder.push(body, &mut out);
    decoder.finish(&mut out);
    out
}

/// The line end that a text uses first; CRLF if it has none.
pub fn line_end(text: &[u8]) -> &'static [u8] {
    match memchr::memchr2(b'\n', b'\r', text) {
        Some(at) if text[at] == b'\n' => b"\n",
        Some(at) if text.get(at + 1) != Some(&b'\n') && at + 1 < text.len() => b"\r",
        _ => b"\r\n",
    }
}

/// Writes bytes as a body in this encoding, with lines that end as those of `like` do. The last
/// line has an end only if `like` has.
pub fn encode(encoding: Encoding, bytes: &[u8], like: &[u8]) -> Vec<u8> {
    let end = line_end(like);
    match encoding {
        Encoding::Identity | Encoding::Other => bytes.to_vec(),
        Encoding::Base64 => {
            let mut out = encode_base64(bytes, end);
            if matches!(like.last(), Some(b'\n' | b'\r')) {
                out.extend_from_slice(end);
            }
            out
        }
        Encoding::QuotedPrintable => encode_quoted(bytes, end),
    }
}

/// Characters of an encoded line (RFC 2045 6.7 and 6.8).
const LINE: usize = 76;

fn encode_base64(bytes: &[u8], end: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::with_capacity(bytes.len() / 54 * (72 + end.len()) + LINE);
    for (index, line) in bytes.chunks(LINE / 4 * 3).enumerate() {
        if index > 0 {
            out.extend_from_slice(end);
        }
        for group in line.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for at in 0..4 {
                let value = bits >> (18 - 6 * at) & 63;
                out.push(if at <= group.len() { ALPHABET[value as usize] } else { b'=' });
            }
        }
    }
    out
}

fn encode_quoted(bytes: &[u8], end: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 8);
    let mut column = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(end) {
            out.extend_from_slice(end);
            (column, at) = (0, at + end.len());
            continue;
        }
        let byte = bytes[at];
        at += 1;
        let ends_line = at == bytes.len() || bytes[at..].starts_with(end);
        let plain = match byte {
            b'=' => false,
            b' ' | b'\t' => !ends_line,
            _ => byte.is_ascii_graphic(),
        };
        let width = if plain { 1 } else { 3 };
        // One character is left for the soft line break.
        if column + width > LINE - usize::from(!ends_line) {
            out.push(b'=');
            out.extend_from_slice(end);
            column = 0;
        }
        // "From " and a lone "." are changed by old mail systems, but only at a line's beginning;
        // what a soft break puts there was not there before.
        if plain {
            out.push(byte);
        } else {
            out.extend_from_slice(&[
                b'=',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
        column += width;
    }
    out
}

#[cfg(test)]
mod tests;
