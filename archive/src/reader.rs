//! Reads an archive from a pipe, one member at a time, in constant memory.
//!
//! Foreign tar of the same content is readable too (borg and GNU tar write an archive they
//! imported with headers of their own); what proves such a member is then only the manifest.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

use sha2::{Digest, Sha256};

use crate::{
    Error, FAILED_PATH, SEAL_PATH,
    digest::Sha256Digest,
    header::{self, BLOCK, Block, Extension, Fields, MAX_EXTENSION},
    seal::{SEAL_SIZE, Seal},
};

const BUFFER: usize = 64 * 1024;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// Anything else, by its typeflag: not of this format, and never extracted.
    Other(u8),
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path without a trailing slash. Not checked: see [`crate::path::check`].
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes of content.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Digest the member carries; none for folders, the head, and files that were streamed.
    pub sha256: Option<Sha256Digest>,
    /// First byte of the member in the stream (its `x` header, if it has one).
    pub offset: u64,
    /// First byte of the content in the stream.
    pub data_offset: u64,
    /// All bytes of the member, padding included.
    pub span: u64,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a seal, and the end blocks behind it.
    Sealed(Seal),
    /// At a member border or with end blocks, but without a seal.
    Unsealed,
    /// With the poison member, and this reason.
    Poisoned(String),
}

impl End {
    /// The seal, or the error that says why there is none.
    pub fn into_seal(self) -> Result<Seal, Error> {
        match self {
            End::Sealed(seal) => Ok(seal),
            End::Unsealed => Err(Error::Unsealed),
            End::Poisoned(reason) => Err(Error::Poisoned { reason }),
        }
    }
}

/// Reads a stream. Content and folders come as entries; seal and poison end the entries and show
/// in [`Reader::finish`].
pub struct Reader<R: Read> {
    input: BufReader<R>,
    position: u64,
    /// What is left of the member at hand.
    member: Member,
    end: Option<End>,
    /// The blocks before the content of the entry given last, as they stood in the stream.
    header: Vec<u8>,
    comment: Option<String>,
    dirty_padding: bool,
    trailing: u64,
    seal_header: Option<Entry>,
}

#[derive(Default)]
struct Member {
    path: String,
    remaining: u64,
    padding: u64,
    /// Runs while all content so far was given to the caller.
    digest: Option<Sha256>,
    expected: Option<Sha256Digest>,
    /// The digest of the whole content, once it was given.
    found: Option<Sha256Digest>,
}

impl Member {
    /// Takes note of content the caller got.
    fn take(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        self.remaining -= bytes.len() as u64;
    }

    /// At the end of the content, fails if its digest is wrong.
    fn settle(&mut self) -> Result<(), Error> {
        if self.remaining > 0 {
            return Ok(());
        }
        if let Some(digest) = self.digest.take() {
            self.found = Some(digest.finalize().into());
        }
        // Told once: the caller may go on with the next member.
        match (self.found, self.expected.take()) {
            (Some(found), Some(expected)) if found != expected => {
                Err(Error::Digest { path: self.path.clone() })
            }
            _ => Ok(()),
        }
    }
}

impl<R: Read> Reader<R> {
    /// Reads nothing yet.
    pub fn new(input: R) -> Self {
        Reader {
            input: BufReader::with_capacity(BUFFER, input),
            position: 0,
            member: Member::default(),
            end: None,
            header: Vec::new(),
            comment: None,
            dirty_padding: false,
            trailing: 0,
            seal_header: None,
        }
    }

    /// The next member, or none at the end, which [`Reader::finish`] then tells: always ask it,
    /// because a stream without a seal ends like any other. Content that was not read is skipped
    /// without a check; content read to its last byte fails here at the latest if it is not what
    /// its digest says. [`Error::Truncated`] if the stream ends inside a member.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip_content()?;
        if self.end.is_some() {
            return Ok(None);
        }
        let Some(entry) = self.read_header()? else {
            return Ok(None);
        };
        self.member = Member {
            path: entry.path.clone(),
            remaining: entry.size,
            padding: entry.size.next_multiple_of(BLOCK as u64) - entry.size,
            digest: (entry.kind == Kind::File).then(Sha256::new),
            expected: entry.sha256,
            found: None,
        };
        match entry.path.as_str() {
            FAILED_PATH => self.read_poison()?,
            SEAL_PATH => self.read_seal(entry)?,
            _ => return Ok(Some(entry)),
        }
        Ok(None)
    }

    /// The content of the entry given last, or what is left of it.
    pub fn content(&mut self) -> Content<'_, R> {
        Content { reader: self }
    }

    /// Demands a digest of the content at hand, for members that carry none themselves.
    pub fn expect_digest(&mut self, sha256: Sha256Digest) {
        self.member.expected = Some(sha256);
    }

    /// Skips to the end of the stream; how it ended.
    pub fn finish(&mut self) -> Result<End, Error> {
        loop {
            match &self.end {
                Some(end) => return Ok(end.clone()),
                None => drop(self.next_entry()?),
            }
        }
    }

    /// Bytes of the stream so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether the header of the entry given last is the one this crate writes for it.
    pub(crate) fn has_canonical_header(&self, entry: &Entry) -> bool {
        let Entry { path, kind, size, mtime, .. } = entry;
        let fields = Fields { path, kind: *kind, size: *size, mtime: *mtime };
        let comment = self.comment.as_deref();
        !matches!(kind, Kind::Other(_))
            && comment.is_none_or(header::is_canonical_comment)
            && header::encode(&fields, comment) == self.header
    }

    /// Whether padding since the last call was not zero.
    pub(crate) fn take_dirty_padding(&mut self) -> bool {
        std::mem::take(&mut self.dirty_padding)
    }

    /// Zero bytes behind the end blocks.
    pub(crate) fn trailing(&self) -> u64 {
        self.trailing
    }

    /// The seal as a member, once it was read.
    pub(crate) fn seal_header(&self) -> Option<&Entry> {
        self.seal_header.as_ref()
    }

    /// Reads headers up to the one of a member.
    fn read_header(&mut self) -> Result<Option<Entry>, Error> {
        let offset = self.position;
        let mut extension = Extension::default();
        let mut long_name = None;
        self.header.clear();
        loop {
            let at = self.position;
            let invalid = |what| Error::Header { offset: at, what };
            let Some(bytes) = self.read_block()? else {
                if !self.header.is_empty() {
                    return Err(Error::Truncated { offset: self.position });
                }
                self.end = Some(End::Unsealed);
                return Ok(None);
            };
            if bytes == [0; BLOCK] && self.header.is_empty() {
                self.read_end_blocks(false)?;
                self.end = Some(End::Unsealed);
                return Ok(None);
            }
            let block = Block::parse(&bytes).map_err(invalid)?;
            self.header.extend(bytes);
            match block.flag {
                b'x' => {
                    let body = self.read_extension(block.size)?;
                    extension = Extension::parse(&body).map_err(invalid)?;
                }
                b'L' => long_name = Some(self.read_extension(block.size)?),
                b'g' | b'K' => drop(self.read_extension(block.size)?),
                _ => {
                    self.comment = extension.comment.take();
                    return self
                        .entry(block, extension, long_name, offset)
                        .map_err(invalid)
                        .map(Some);
                }
            }
            if self.header.len() as u64 > 2 * MAX_EXTENSION {
                return Err(invalid("too many headers before a member"));
            }
        }
    }

    /// What the headers of a member add up to.
    fn entry(
        &self,
        block: Block,
        extension: Extension,
        long_name: Option<Vec<u8>>,
        offset: u64,
    ) -> Result<Entry, &'static str> {
        let long_name = long_name.map(|mut name| {
            name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
            name
        });
        let name = extension.path.or(long_name).unwrap_or(block.name);
        let mut path = String::from_utf8(name).map_err(|_| "the path is not UTF-8")?;
        if path.len() > crate::path::MAX_PATH + 1 {
            return Err("the path is too long");
        }
        let size = extension.size.unwrap_or(block.size);
        let kind = match block.flag {
            b'0' | 0 | b'7' if path.ends_with('/') => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File,
            b'5' => Kind::Directory,
            other => Kind::Other(other),
        };
        if kind != Kind::File && size > 0 {
            return Err("a member that is no file has content");
        }
        if kind == Kind::Directory && path.ends_with('/') {
            path.pop();
        }
        let padded = size.checked_next_multiple_of(BLOCK as u64).filter(|size| *size < 1 << 62);
        let padded = padded.ok_or("the size is absurd")?;
        Ok(Entry {
            path,
            kind,
            size,
            mtime: extension.mtime.unwrap_or(block.mtime),
            sha256: self.comment.as_deref().and_then(header::parse_comment),
            offset,
            data_offset: self.position,
            span: self.position - offset + padded,
        })
    }

    /// The body of a header that extends the next one.
    fn read_extension(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        let offset = self.position;
        if size > MAX_EXTENSION {
            return Err(Error::Header { offset, what: "its extension is too long" });
        }
        let size = size as usize;
        let mut body = vec![0; size.next_multiple_of(BLOCK)];
        self.read_exact(&mut body)?;
        self.header.extend(&body);
        body.truncate(size);
        Ok(body)
    }

    fn read_poison(&mut self) -> Result<(), Error> {
        let mut reason = Vec::new();
        let position = self.position;
        (&mut self.input)
            .take(BLOCK as u64)
            .read_to_end(&mut reason)
            .map_err(|source| Error::Read { offset: position, source })?;
        self.position += reason.len() as u64;
        let text = String::from_utf8_lossy(&reason);
        let text = text.trim_end_matches('\0').replace(char::is_control, " ");
        self.member = Member::default();
        self.end = Some(End::Poisoned(text));
        Ok(())
    }

    fn read_seal(&mut self, entry: Entry) -> Result<(), Error> {
        if entry.size != SEAL_SIZE as u64 {
            let what = "its size is not the one of a seal".to_owned();
            return Err(Error::Invalid { place: SEAL_PATH.into(), what });
        }
        let mut text = [0; SEAL_SIZE];
        self.read_exact(&mut text)?;
        let seal = Seal::parse(&text)?;
        if seal.encode() != text {
            let what = "it is not canonical".to_owned();
            return Err(Error::Invalid { place: SEAL_PATH.into(), what });
        }
        self.member = Member::default();
        self.seal_header = Some(entry);
        self.read_end_blocks(true)?;
        self.end = Some(End::Sealed(seal));
        Ok(())
    }

    /// Reads the end blocks, or what is left of them, and makes sure that only zeros follow.
    fn read_end_blocks(&mut self, both: bool) -> Result<(), Error> {
        let mut end = [0; 2 * BLOCK];
        let end = if both { &mut end[..] } else { &mut end[..BLOCK] };
        let offset = self.position;
        self.read_exact(end)?;
        let what = "something that is not zero stands behind the end";
        if end.iter().any(|&byte| byte != 0) {
            return Err(Error::Header { offset, what });
        }
        loop {
            let offset = self.position;
            let bytes = fill(&mut self.input, offset)?;
            let length = bytes.len();
            if length == 0 {
                return Ok(());
            }
            if bytes.iter().any(|&byte| byte != 0) {
                return Err(Error::Header { offset, what });
            }
            self.input.consume(length);
            self.position += length as u64;
            self.trailing += length as u64;
        }
    }

    /// A block, or none if the stream ends before it.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        if fill(&mut self.input, self.position)?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.read_exact(&mut block)?;
        Ok(Some(block))
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let offset = self.position;
        self.input.read_exact(buffer).map_err(|source| match source.kind() {
            ErrorKind::UnexpectedEof => Error::Truncated { offset },
            _ => Error::Read { offset, source },
        })?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    /// Moves behind the content and padding of the member at hand.
    fn skip_content(&mut self) -> Result<(), Error> {
        self.member.settle()?;
        self.member.digest = None;
        while self.member.remaining > 0 {
            let length = self.fill_content()?.len();
            self.consume_content(length);
        }
        let mut padding = [0; BLOCK];
        let padding = &mut padding[..self.member.padding as usize];
        self.read_exact(padding)?;
        self.dirty_padding |= padding.iter().any(|&byte| byte != 0);
        self.member = Member::default();
        Ok(())
    }

    /// What of the content is at hand; empty only at its end.
    fn fill_content(&mut self) -> Result<&[u8], Error> {
        let remaining = self.member.remaining;
        if remaining == 0 {
            return Ok(&[]);
        }
        let bytes = fill(&mut self.input, self.position)?;
        if bytes.is_empty() {
            return Err(Error::Truncated { offset: self.position });
        }
        Ok(&bytes[..bytes.len().min(remaining.try_into().unwrap_or(usize::MAX))])
    }

    fn consume_content(&mut self, amount: usize) {
        self.member.take(&self.input.buffer()[..amount]);
        self.input.consume(amount);
        self.position += amount as u64;
    }
}

/// The bytes at hand, at least one unless the input is at its end.
fn fill<R: Read>(input: &mut BufReader<R>, offset: u64) -> Result<&[u8], Error> {
    if input.buffer().is_empty() {
        loop {
            match input.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { offset, source }),
            }
        }
    }
    Ok(input.buffer())
}

/// The content of one member. The read that reaches its end fails if the digest is wrong, with an
/// [`io::Error`] that holds an [`Error`]: see [`Error::from_content`].
pub struct Content<'a, R: Read> {
    reader: &'a mut Reader<R>,
}

impl<R: Read> Content<'_, R> {
    /// Reads to the end and checks the digest, if there is one; the digest of the content, unless
    /// some of it was skipped before.
    pub fn verify(self) -> Result<Option<Sha256Digest>, Error> {
        loop {
            let length = self.reader.fill_content()?.len();
            if length == 0 {
                self.reader.member.settle()?;
                return Ok(self.reader.member.found);
            }
            self.reader.consume_content(length);
        }
    }

    /// All of it, checked, if it is at most `limit` bytes.
    pub fn into_vec(mut self, limit: u64) -> Result<Vec<u8>, Error> {
        let path = self.reader.member.path.clone();
        let found = self.reader.member.remaining;
        if found > limit {
            return Err(Error::Size { path, expected: limit, found });
        }
        let mut bytes = Vec::with_capacity(found as usize);
        match self.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(Error::from_content(&path, source)),
        }
    }
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        // Not at the next read: who asks for exactly the size never comes back.
        self.reader.member.settle().map_err(io::Error::other)?;
        Ok(length)
    }
}

impl<R: Read> BufRead for Content<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.member.settle().map_err(io::Error::other)?;
        self.reader.fill_content().map_err(io::Error::other)
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume_content(amount);
    }
}
