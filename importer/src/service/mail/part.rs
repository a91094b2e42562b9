//! The decoded content of a part of a mail (RFC 2045 section 6), read in bounded memory.
//!
//! Decoding never fails: what is no base64 or no quoted-printable is passed over or passed
//! through, as every mail reader does, so that nothing is lost of a mail somebody broke.

use std::io::{self, BufRead, BufReader, Read};

use super::raw::Raw;

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;
/// Most white space at the end of a quoted-printable line that is taken for padding.
const MOST_PADDING: usize = 1024;

/// Content-Transfer-Encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Encoding {
    /// 7bit, 8bit, binary, and whatever is not known.
    #[default]
    Identity,
    Base64,
    QuotedPrintable,
}

impl Encoding {
    pub(super) fn from_name(name: &str) -> Self {
        let name = name.split([';', ' ', '\t']).next().unwrap_or_default();
        if name.eq_ignore_ascii_case("base64") {
            Self::Base64
        } else if name.eq_ignore_ascii_case("quoted-printable") {
            Self::QuotedPrintable
        } else {
            Self::Identity
        }
    }
}

/// The content of a part: can be read any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    raw: Raw,
    encoding: Encoding,
    size: u64,
}

impl Part {
    /// Reads `raw` once, to know the size.
    pub(super) fn new(raw: Raw, encoding: Encoding) -> io::Result<Self> {
        let mut part = Self { raw, encoding, size: 0 };
        part.size = io::copy(&mut part.open(), &mut io::sink())?;
        if part.size == 0 && part.encoding == Encoding::Base64 && !part.is_blank()? {
            // Not a digit of base64 in it: somebody declared the wrong encoding.
            part.encoding = Encoding::Identity;
            part.size = part.raw.length();
        }
        Ok(part)
    }

    fn is_blank(&self) -> io::Result<bool> {
        for byte in BufReader::with_capacity(CHUNK, self.raw.reader()).bytes() {
            // A lone padding character is an empty content, too.
            if !matches!(byte?, b' ' | b'\t' | b'\r' | b'\n' | b'=') {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Decoded bytes.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Reads the decoded content from its start.
    pub(crate) fn open(&self) -> Box<dyn Read + Send> {
        match self.encoding {
            Encoding::Identity => Box::new(self.raw.reader()),
            Encoding::Base64 => Box::new(Decoding::new(self.raw.reader(), Base64::default())),
            Encoding::QuotedPrintable => {
                Box::new(Decoding::new(self.raw.reader(), QuotedPrintable::default()))
            }
        }
    }

    /// The range of the mail that holds the content, if it stands there as it is.
    pub(super) fn plain(&self) -> Option<&Raw> {
        (self.encoding == Encoding::Identity).then_some(&self.raw)
    }

    /// All of it.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        self.open().read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

trait Decode {
    fn push(&mut self, byte: u8, out: &mut Vec<u8>);
    fn finish(&mut self, out: &mut Vec<u8>);
}

/// Decodes what it reads.
struct Decoding<R, D> {
    input: BufReader<R>,
    decoder: D,
    out: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<R: Read, D: Decode> Decoding<R, D> {
    fn new(input: R, decoder: D) -> Self {
        let input = BufReader::with_capacity(CHUNK, input);
        Self { input, decoder, out: Vec::new(), given: 0, ended: false }
    }
}

impl<R: Read, D: Decode> Read for Decoding<R, D> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.out.len() && !self.ended {
            self.out.clear();
            self.given = 0;
            let chunk = self.input.fill_buf()?;
            for byte in chunk {
                self.decoder.push(*byte, &mut self.out);
            }
            let used = chunk.len();
            self.input.consume(used);
            if used == 0 {
                self.decoder.finish(&mut self.out);
                self.ended = true;
            }
        }
        let most = into.len().min(self.out.len() - self.given);
        into[..most].copy_from_slice(&self.out[self.given..self.given + most]);
        self.given += most;
        Ok(most)
    }
}

/// Base64: characters outside the alphabet are passed over. Padding ends the line, not the
/// content: there are mails of several padded pieces.
#[derive(Default)]
struct Base64 {
    bits: u32,
    digits: u8,
    /// What follows on this line is none.
    padded: bool,
}

impl Decode for Base64 {
    fn push(&mut self, byte: u8, out: &mut Vec<u8>) {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' if self.digits >= 2 => {
                self.finish(out);
                self.padded = true;
                return;
            }
            b'\n' => {
                self.padded = false;
                return;
            }
            _ => return,
        };
        if self.padded {
            return;
        }
        self.bits = self.bits << 6 | u32::from(digit);
        self.digits += 1;
        if self.digits == 4 {
            out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
            *self = Self::default();
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        match self.digits {
            2 => out.push((self.bits >> 4) as u8),
            3 => out.extend_from_slice(&(self.bits >> 2).to_be_bytes()[2..]),
            _ => (),
        }
        *self = Self::default();
    }
}

/// Quoted-printable: a `=` that starts neither a pair of hexadecimal digits nor the end of a
/// line stands for itself; white space before the end of a line goes.
#[derive(Default)]
struct QuotedPrintable {
    /// What can't be decided yet: from `=` on, or white space.
    open: Vec<u8>,
}

impl QuotedPrintable {
    fn flush(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.open);
    }
}

impl Decode for QuotedPrintable {
    fn push(&mut self, byte: u8, out: &mut Vec<u8>) {
        let escaped = self.open.first() == Some(&b'=');
        match byte {
            b'\n' if escaped => self.open.clear(),
            b'\n' => {
                let carriage = self.open.last() == Some(&b'\r');
                self.open.clear();
                out.extend_from_slice(if carriage { b"\r\n" } else { b"\n" });
            }
            b' ' | b'\t' | b'\r' => {
                if self.open.len() >= MOST_PADDING {
                    self.flush(out);
                }
                // `=4 ` is neither a digit pair nor a soft break.
                if escaped && self.open.get(1).is_some_and(u8::is_ascii_hexdigit) {
                    self.flush(out);
                }
                self.open.push(byte);
            }
            _ if escaped && byte.is_ascii_hexdigit() && self.open.len() <= 2 => {
                self.open.push(byte);
                if let [_, high, low] = self.open[..]
                    && high.is_ascii_hexdigit()
                {
                    self.open.clear();
                    out.push(hex(high) << 4 | hex(low));
                } else if self.open.len() == 3 {
                    self.flush(out);
                }
            }
            b'=' => {
                self.flush(out);
                self.open.push(b'=');
            }
            _ => {
                self.flush(out);
                out.push(byte);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        // A soft break may be the last thing there is; the end of a part ends its last line.
        let rest = std::mem::take(&mut self.open);
        match rest.split_first() {
            Some((b'=', rest)) if rest.iter().all(u8::is_ascii_whitespace) => (),
            Some((b'=', _)) => out.extend_from_slice(&rest),
            _ => (),
        }
    }
}

/// The value of a hexadecimal digit.
const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn decoded(encoding: Encoding, raw: &str) -> String {
        let raw = Raw::from_bytes(Bytes::copy_from_slice(raw.as_bytes()));
        let part = Part::new(raw, encoding).unwrap();
        let bytes = part.bytes().unwrap();
        assert_eq!(part.size(), bytes.len() as u64);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn base64_survives_what_people_do_to_it() {
        for (raw, expected) in [
            ("VGVz\r\ndA==\r\n", "Test"),
            ("VGVzdA", "Test"),
            ("V!G-V z.d\tA==", "Test"),
            ("VGVzdA==\nVGVzdA==", "TestTest"),
            ("VGVzdA== ignored\r\nVGVzdA==", "TestTest"),
            ("", ""),
            ("==\n", ""),
            ("\u{7}!?", "\u{7}!?"),
            ("VGVzd", "Tes"),
        ] {
            assert_eq!(decoded(Encoding::Base64, raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn quoted_printable_survives_what_people_do_to_it() {
        for (raw, expected) in [
            ("a=3Db=3db", "a=b=b"),
            ("soft=\r\nbreak=  \nagain", "softbreakagain"),
            ("padding  \t\r\nline\n", "padding\r\nline\n"),
            ("in  side", "in  side"),
            ("a=b", "a=b"),
            ("100% =zz =4 =\r\nx=", "100% =zz =4 x"),
            ("==41=4", "=A=4"),
            ("= 4", "= 4"),
            ("lone\rreturn", "lone\rreturn"),
        ] {
            assert_eq!(decoded(Encoding::QuotedPrintable, raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn encodings_are_known_in_any_case_and_with_comments() {
        assert_eq!(Encoding::from_name("BASE64 (really)"), Encoding::Base64);
        assert_eq!(Encoding::from_name("Quoted-Printable;x"), Encoding::QuotedPrintable);
        assert_eq!(Encoding::from_name("8bit"), Encoding::Identity);
    }
}
