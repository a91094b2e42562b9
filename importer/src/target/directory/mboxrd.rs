//! The mboxrd format: making a message of it, and finding messages in it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use archive::Sha256Digest;
use sha2::{Digest, Sha256};
use tempfile::SpooledTempFile;

use super::file::each_chunk;
use crate::error::Error;
use crate::item::Item;

/// A message of up to this many bytes is quoted in memory.
const IN_MEMORY: usize = 4 * 1024 * 1024;
/// How far a Return-Path is looked for, and the longest piece of a line that is held.
const HEAD: usize = 64 * 1024;
/// Begins a message.
const FROM: &[u8; 5] = b"From ";

/// Where a message stands in a mailbox, from its `From ` line to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A message as it stands in a mailbox.
#[derive(Debug)]
pub(super) struct Quoted {
    /// `From sender date` and a newline.
    pub(super) from_line: String,
    /// Bytes of [`Self::content`].
    pub(super) length: u64,
    /// Their digest.
    pub(super) sha256: Sha256Digest,
    content: SpooledTempFile,
}

impl Quoted {
    /// Reads the item to its end. What is large goes into a temporary file in `folder`.
    pub(super) fn new(item: &Item, folder: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Spool { path: folder.to_owned(), source };
        let mut content = tempfile::spooled_tempfile_in(IN_MEMORY, folder);
        let (mut quoter, mut digest) = (Quoter::default(), Sha256::new());
        let mut head = Vec::new();
        let mut length = 0;
        let mut take = |quoter: &mut Quoter| {
            digest.update(&quoter.out);
            length += quoter.out.len() as u64;
            let written = content.write_all(&quoter.out).map_err(failed);
            quoter.out.clear();
            written
        };
        each_chunk(item, &mut |bytes| {
            let room = HEAD.saturating_sub(head.len());
            head.extend_from_slice(&bytes[..bytes.len().min(room)]);
            quoter.push(bytes);
            take(&mut quoter)
        })?;
        quoter.finish();
        take(&mut quoter)?;
        let sha256 = digest.finalize().into();
        Ok(Self { from_line: from_line(item, &head), length, sha256, content })
    }

    pub(super) fn content(&mut self) -> io::Result<&mut SpooledTempFile> {
        self.content.rewind()?;
        Ok(&mut self.content)
    }
}

/// `From a@example.com Thu Jan  1 00:00:00 1970`.
fn from_line(item: &Item, head: &[u8]) -> String {
    let from = &item.line.graph["from"]["emailAddress"]["address"];
    let sender = return_path(head).or_else(|| from.as_str().and_then(safe_address).map(Into::into));
    let sender = sender.unwrap_or_else(|| "MAILER-DAEMON".to_owned());
    // The years that asctime has four digits for.
    let seconds = item.mtime.clamp(0, 253_402_300_799);
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    format!("From {sender} {}\n", time.format("%a %b %e %H:%M:%S %Y"))
}

/// The address in the first Return-Path of the header, if there is one that is no `<>`.
fn return_path(head: &[u8]) -> Option<String> {
    const NAME: &str = "return-path:";
    for line in head.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() {
            return None;
        }
        if let Some((name, value)) = line.split_at_checked(NAME.len())
            && name.eq_ignore_ascii_case(NAME)
        {
            let value = value.trim();
            let bare = value.strip_prefix('<').and_then(|value| value.strip_suffix('>'));
            return safe_address(bare.unwrap_or(value)).map(Into::into);
        }
    }
    None
}

/// What can stand between two spaces of a `From ` line.
fn safe_address(address: &str) -> Option<&str> {
    let is_safe = |byte: u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'<' | b'>');
    let is_address = (1..=320).contains(&address.len()) && address.bytes().all(is_safe);
    is_address.then_some(address)
}

/// LF for CRLF, and one more `>` before each `>*From ` that begins a line.
#[derive(Debug, Default)]
struct Quoter {
    out: Vec<u8>,
    /// A CR that may be half of a CRLF.
    carriage_return: bool,
    /// Behind the beginning of a line and any `>`.
    inside: bool,
    /// Bytes of [`FROM`] seen there and not yet in `out`.
    matched: usize,
    /// Last byte that went out.
    last: Option<u8>,
}

impl Quoter {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if std::mem::take(&mut self.carriage_return) && *byte != b'\n' {
                self.byte(b'\r');
            }
            match byte {
                b'\r' => self.carriage_return = true,
                other => self.byte(*other),
            }
        }
    }

    fn finish(&mut self) {
        if std::mem::take(&mut self.carriage_return) {
            self.byte(b'\r');
        }
        self.release();
        if self.last.is_some_and(|last| last != b'\n') {
            self.emit(b'\n');
        }
    }

    fn byte(&mut self, byte: u8) {
        if !self.inside {
            if self.matched == 0 && byte == b'>' {
                // One more of them may stand at the end as well as at the beginning.
                return self.emit(byte);
            }
            if byte == FROM[self.matched] {
                self.matched += 1;
                if self.matched == FROM.len() {
                    self.emit(b'>');
                    self.release();
                    self.inside = true;
                }
                return;
            }
            self.release();
        }
        self.inside = byte != b'\n';
        self.emit(byte);
    }

    /// Lets go what was held back.
    fn release(&mut self) {
        for byte in &FROM[..std::mem::take(&mut self.matched)] {
            self.emit(*byte);
        }
    }

    fn emit(&mut self, byte: u8) {
        self.out.push(byte);
        self.last = Some(byte);
    }
}

/// Tells the digest and place of each message of a mailbox. Digests are of what stands between the
/// `From ` line and the empty line at the end. False if it is no mailbox.
pub(super) fn scan(
    input: &mut dyn Read,
    visit: &mut dyn FnMut(Sha256Digest, Span),
) -> io::Result<bool> {
    let mut input = BufReader::with_capacity(HEAD, input);
    let mut message: Option<(Sha256, u64)> = None;
    let (mut offset, mut at_start, mut in_from_line, mut held) = (0_u64, true, false, false);
    let mut piece = Vec::new();
    loop {
        piece.clear();
        let read = (&mut input).take(HEAD as u64).read_until(b'\n', &mut piece)? as u64;
        let begins = at_start && piece.starts_with(FROM);
        if (begins || read == 0)
            && let Some((digest, start)) = message.take()
        {
            visit(digest.finalize().into(), Span { offset: start, length: offset - start });
            held = false;
        }
        if read == 0 {
            return Ok(true);
        }
        if begins {
            message = Some((Sha256::new(), offset));
            in_from_line = true;
        } else if let Some((digest, _)) = &mut message {
            let is_empty = at_start && piece == b"\n";
            if !in_from_line {
                // An empty line belongs to the message only if another line of it follows.
                if std::mem::replace(&mut held, is_empty) {
                    digest.update(b"\n");
                }
                if !is_empty {
                    digest.update(&piece);
                }
            }
        } else if piece != b"\n" {
            return Ok(false);
        }
        at_start = piece.ends_with(b"\n");
        in_from_line &= !at_start;
        offset += read;
    }
}

/// Whether another message begins in what a kill left of one of ours: at the start of a line, where
/// ours has it quoted, or behind a line that was torn.
pub(super) fn is_followed(input: &mut dyn Read) -> io::Result<bool> {
    let mut input = BufReader::with_capacity(HEAD, input);
    let (mut begun, mut at_start) = (false, true);
    let mut piece = Vec::new();
    loop {
        piece.clear();
        if (&mut input).take(HEAD as u64).read_until(b'\n', &mut piece)? == 0 {
            return Ok(false);
        }
        let is_first = at_start && piece.starts_with(FROM) && !std::mem::replace(&mut begun, true);
        let mut begins = piece.windows(FROM.len()).enumerate().filter(|(_, found)| *found == FROM);
        let another = begins.any(|(at, _)| match at {
            0 if at_start => !is_first,
            _ => is_from_line(&piece[at..]),
        });
        if another {
            return Ok(true);
        }
        at_start = piece.ends_with(b"\n");
    }
}

/// `From sender Mon ...`.
fn is_from_line(line: &[u8]) -> bool {
    const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.nth(2).is_some_and(|day| DAYS.contains(&day))
}

/// The digest of the message that stands there, if one does and nothing else.
pub(super) fn digest_at(file: &File, span: Span) -> io::Result<Option<Sha256Digest>> {
    let mut file = file;
    file.seek(SeekFrom::Start(span.offset))?;
    let (mut found, mut messages) = (None, 0);
    let mut input = file.take(span.length);
    scan(&mut input, &mut |sha256, _| {
        found = Some(sha256);
        messages += 1;
    })?;
    Ok(found.filter(|_| messages == 1 && input.limit() == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(input: &[u8], chunk: usize) -> Vec<u8> {
        let mut quoter = Quoter::default();
        input.chunks(chunk).for_each(|bytes| quoter.push(bytes));
        quoter.finish();
        quoter.out
    }

    #[test]
    fn quoting() {
        let input = b"From a\r\n>From b\n>>From\n Fro\rm \r\r\nFFrom \nFromFrom c\n>>From d\nFrom";
        let wanted =
            b">From a\n>>From b\n>>From\n Fro\rm \r\nFFrom \nFromFrom c\n>>>From d\nFrom\n";
        for chunk in 1..input.len() {
            let found = quoted(input, chunk);
            assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(wanted));
        }
        assert_eq!(quoted(b"", 1), b"");
        assert_eq!(quoted(b"x\r\n\r\n", 1), b"x\n\n");
        assert_eq!(quoted(b"x\r", 1), b"x\r\n");
    }

    #[test]
    fn scanning_finds_what_was_quoted() {
        let long = [&b"a"[..], &vec![b'b'; 3 * HEAD], b"\nFrom x\n"].concat();
        let bodies: [&[u8]; 6] = [b"", b"x", b"x\n\n\n", b"\n\nx\n", b"From x\n\nFrom y", &long];
        let mut mailbox = Vec::new();
        let mut wanted = Vec::new();
        for body in bodies {
            let quoted = quoted(body, 7);
            let record = [&b"From - now\n"[..], &quoted, b"\n"].concat();
            let (offset, length) = (mailbox.len() as u64, record.len() as u64);
            wanted.push((<[u8; 32]>::from(Sha256::digest(&quoted)), Span { offset, length }));
            mailbox.extend(record);
        }
        let mut found = Vec::new();
        assert!(scan(&mut &mailbox[..], &mut |sha256, span| found.push((sha256, span))).unwrap());
        assert_eq!(found, wanted);
        assert!(!scan(&mut &b"\nno mailbox\nFrom x\n"[..], &mut |_, _| ()).unwrap());
        assert!(scan(&mut io::empty(), &mut |_, _| unreachable!()).unwrap());
    }

    #[test]
    fn a_message_behind_a_torn_one_is_seen() {
        let followed = |text: &str| is_followed(&mut text.as_bytes()).unwrap();
        let torn = "From a@b Thu Jan  1 00:00:00 1970\nA: b\n\n>From x\nnews From Anna on Mon";
        assert!(!followed(torn));
        assert!(!followed(&format!("\n{torn}")));
        let other = "From c@d Fri Jan  2 00:00:00 1970\nA: c\n\n";
        assert!(followed(&format!("{torn}{other}")), "behind half a line");
        assert!(followed(&format!("{torn}\n{other}")), "on a line of its own");
        assert!(followed(&format!("From a@b T{other}")), "behind half a first line");
        assert!(followed(&format!("{torn}{}{other}", "x".repeat(3 * HEAD))));
    }

    #[test]
    fn senders_are_safe() {
        let path = |head: &str| return_path(head.as_bytes());
        assert_eq!(path("A: b\r\nreturn-path: <a@b.c>\r\n\r\n").as_deref(), Some("a@b.c"));
        assert_eq!(path("Return-Path: a@b.c"), Some("a@b.c".to_owned()));
        assert_eq!(path("Return-Path: <>\r\n"), None);
        assert_eq!(path("Return-Path: <a b@c>\r\n"), None);
        assert_eq!(path("A: b\r\n\r\nReturn-Path: <a@b.c>\r\n"), None);
        assert_eq!(path("Return-Päth: <a@b.c>\r\n"), None);
    }
}
