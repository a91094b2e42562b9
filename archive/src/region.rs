//! A part of a file, read by position: any number of readers share one handle.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::Sha256Digest;
use sha2::{Digest, Sha256};

/// What can be read by position: a file, or something like it elsewhere.
pub trait ReadAt: Send + Sync + std::fmt::Debug {
    /// Reads some bytes from `offset` on: how many there were, 0 only at the end. Nothing behind
    /// `end` will be wanted next, for those who read ahead.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, into: &mut [u8], offset: u64, end: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, into: &mut [u8], offset: u64, _: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }
}

/// A part of a file.
#[derive(Debug, Clone)]
pub struct Region {
    store: Arc<dyn ReadAt>,
    start: u64,
    length: u64,
}

impl Region {
    /// `length` bytes from `start` on.
    pub fn new(file: Arc<File>, start: u64, length: u64) -> Self {
        Self { store: file, start, length }
    }

    /// All of a file.
    ///
    /// # Errors
    /// If its length can't be told.
    pub fn whole(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self::new(Arc::new(file), 0, length))
    }

    /// All of something of that length.
    pub fn of(store: Arc<dyn ReadAt>, length: u64) -> Self {
        Self { store, start: 0, length }
    }

    /// A part of this part; less if there is less.
    pub fn slice(&self, start: u64, length: u64) -> Self {
        let start = start.min(self.length);
        Self {
            store: Arc::clone(&self.store),
            start: self.start + start,
            length: length.min(self.length - start),
        }
    }

    /// Its bytes.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Reads it from its start.
    pub fn reader(&self) -> RegionReader {
        RegionReader { region: self.clone(), at: 0 }
    }

    /// Bytes from `offset` on: how many there were.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.length.saturating_sub(offset);
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        if most == 0 {
            return Ok(0);
        }
        self.store.read_at(&mut into[..most], self.start + offset, self.start + self.length)
    }
}

/// Reads a [`Region`]; seeks in it.
#[derive(Debug, Clone)]
pub struct RegionReader {
    region: Region,
    at: u64,
}

impl Read for RegionReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.region.read_at(into, self.at)?;
        if read == 0 && self.at < self.region.length && !into.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for RegionReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.region.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// A reader whose end is an error unless all that was read has the digest.
pub struct Proven<R> {
    inner: R,
    digest: Option<(Sha256, Sha256Digest)>,
}

impl<R: Read> Proven<R> {
    /// Without a digest it proves nothing.
    pub fn new(inner: R, expected: Option<Sha256Digest>) -> Self {
        Self { inner, digest: expected.map(|expected| (Sha256::new(), expected)) }
    }
}

impl<R: Read> Read for Proven<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        if read > 0 {
            if let Some((digest, _)) = &mut self.digest {
                digest.update(&into[..read]);
            }
        } else if !into.is_empty()
            && let Some((digest, expected)) = self.digest.take()
            && digest.finalize()[..] != expected[..]
        {
            let what = "the content does not match its digest";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(read)
    }
}
