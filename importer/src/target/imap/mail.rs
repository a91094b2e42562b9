//! The bytes of a mail as they go over the wire: every line ends with CRLF.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::content::Content;
use crate::error::Error;
use crate::item::Item;

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;
/// A mail that passes by can be read once; up to this size it is kept in memory then.
const MOST_IN_MEMORY: u64 = 160 << 20;

/// What is known of a mail before it is sent. It is read once for this, and again for each
/// sending: no mail is ever whole in memory.
#[derive(Debug)]
pub(super) struct Mail<'a> {
    content: Source<'a>,
    /// Path of its member, for messages.
    pub(super) path: &'a str,
    /// Bytes over the wire.
    pub(super) size: u32,
    /// SHA-256 of them: the mail's identity in a mailbox.
    pub(super) sha256: [u8; 32],
    /// It has a NUL, which only a `literal8` can hold (RFC 3516).
    pub(super) has_nul: bool,
    /// INTERNALDATE, in seconds since 1970.
    pub(super) date: i64,
}

/// Where its bytes can be read again.
#[derive(Debug)]
enum Source<'a> {
    Item(&'a Content),
    Memory(Content),
}

impl Source<'_> {
    fn open(&self) -> io::Result<Pieces> {
        match self {
            Self::Item(content) => Pieces::open(content),
            Self::Memory(content) => Pieces::open(content),
        }
    }
}

impl<'a> Mail<'a> {
    /// Reads all of it, to its proven end.
    pub(super) fn measure(item: &'a Item) -> Result<Self, Error> {
        let unreadable = |source: io::Error| Error::Content { path: item.path.clone(), source };
        let too_large = || Error::Item {
            cause: "too-large",
            what: format!("{} is too large for IMAP", item.path),
        };
        let content = if item.content.is_repeatable() {
            Source::Item(&item.content)
        } else {
            match item.bytes(MOST_IN_MEMORY) {
                Ok(bytes) => Source::Memory(Content::Memory(bytes)),
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    return Err(too_large());
                }
                Err(error) => return Err(unreadable(error)),
            }
        };
        let (mut size, mut has_nul, mut sha256) = (0_u64, false, Sha256::new());
        let mut pieces = content.open().map_err(unreadable)?;
        while let Some(piece) = pieces.next().map_err(unreadable)? {
            size += piece.len() as u64;
            has_nul |= piece.contains(&0);
            sha256.update(piece);
        }
        let size = u32::try_from(size).map_err(|_| too_large())?;
        let sha256 = sha256.finalize().into();
        Ok(Self { content, path: &item.path, size, sha256, has_nul, date: item.mtime })
    }

    /// Reads it from the start.
    pub(super) fn pieces(&self) -> io::Result<Pieces> {
        self.content.open()
    }
}

/// A mail's bytes, a piece at a time.
pub(super) struct Pieces {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    out: Vec<u8>,
    lines: Lines,
    ended: bool,
}

impl Pieces {
    fn open(content: &Content) -> io::Result<Self> {
        let buffer = vec![0; PIECE];
        let out = Vec::with_capacity(PIECE);
        Ok(Self { input: content.open()?, buffer, out, lines: Lines::default(), ended: false })
    }

    /// The next bytes; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.out.clear();
        while self.out.is_empty() && !self.ended {
            match self.input.read(&mut self.buffer) {
                Ok(0) => {
                    self.lines.end(&mut self.out);
                    self.ended = true;
                }
                Ok(read) => self.lines.push(&self.buffer[..read], &mut self.out),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(self.out.as_slice()).filter(|out| !out.is_empty()))
    }
}

/// Makes CRLF of a bare LF and of a bare CR.
#[derive(Debug, Default)]
struct Lines {
    /// The last byte was a CR, and what follows decides what it is.
    after_cr: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            let was_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match (was_cr, byte) {
                (true, b'\n') | (false, b'\n') => out.extend_from_slice(b"\r\n"),
                (true, b'\r') => out.extend_from_slice(b"\r\n"),
                (false, b'\r') => {}
                (true, byte) => out.extend_from_slice(&[b'\r', b'\n', byte]),
                (false, byte) => out.push(byte),
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.after_cr) {
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn line_ends() {
        for (given, expected) in [
            ("", ""),
            ("a\nb\n", "a\r\nb\r\n"),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("a\rb\r", "a\r\nb\r\n"),
            ("\r\r\n\n\r", "\r\n\r\n\r\n\r\n"),
            ("no end", "no end"),
        ] {
            // However it is cut, it comes out the same.
            for cut in 0..=given.len() {
                let (mut lines, mut out) = (Lines::default(), Vec::new());
                lines.push(&given.as_bytes()[..cut], &mut out);
                lines.push(&given.as_bytes()[cut..], &mut out);
                lines.end(&mut out);
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{given:?} cut at {cut}");
            }
        }
    }
}
