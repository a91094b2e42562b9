//! A range of the bytes of a mail: in memory, or in the file that holds the mail.

use std::io::{self, Read};

use bytes::Bytes;

use crate::content::Content;
use crate::region::Region;

/// Bytes that can be read any number of times, also in parts. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    source: Source,
    start: u64,
    length: u64,
}

#[derive(Debug, Clone)]
enum Source {
    Memory(Bytes),
    File(Region),
}

impl Raw {
    pub(super) fn from_bytes(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self { source: Source::Memory(bytes), start: 0, length }
    }

    /// The bytes of an item. They are not proven by reading a [`Raw`]: read the content to its
    /// end once.
    ///
    /// # Errors
    /// Of a content that can't be read twice.
    pub(super) fn of(content: &Content) -> io::Result<Self> {
        let region = match content {
            Content::Memory(bytes) => return Ok(Self::from_bytes(bytes.clone())),
            Content::Spooled(file, size) => Region::new(std::sync::Arc::clone(file), 0, *size),
            Content::Archived { region, .. } => region.clone(),
            Content::Passing(_) => {
                return Err(io::Error::other("a mail larger than the spool can't be taken apart"));
            }
        };
        let length = region.length();
        Ok(Self { source: Source::File(region), start: 0, length })
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from `start` up to `end`, both counted from the start of this range and cut to it.
    pub(super) fn slice(&self, start: u64, end: u64) -> Self {
        let end = end.min(self.length);
        let start = start.min(end);
        Self { source: self.source.clone(), start: self.start + start, length: end - start }
    }

    pub(super) fn reader(&self) -> RawReader {
        RawReader { raw: self.clone(), at: 0 }
    }
}

/// Reads a [`Raw`] from its start to its end.
#[derive(Debug)]
pub(super) struct RawReader {
    raw: Raw,
    at: u64,
}

impl Read for RawReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.raw.length - self.at;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        if most == 0 {
            return Ok(0);
        }
        let offset = self.raw.start + self.at;
        let read = match &self.raw.source {
            Source::File(region) => region.read_at(&mut into[..most], offset)?,
            Source::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let bytes = bytes.get(from..).unwrap_or_default();
                let most = most.min(bytes.len());
                into[..most].copy_from_slice(&bytes[..most]);
                most
            }
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}
