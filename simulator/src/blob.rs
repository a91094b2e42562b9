//! Contents: stored, on disk, or a function of a number, whatever their size.
//!
//! Generated content is one block, repeated, with the block's number XORed into its first eight
//! bytes. So every block differs (a resumed download that lost its place is noticed), any range
//! is made in no time, and the quickXorHash, which is linear and has a period of 160 bytes, of
//! many GiB costs as much as that of one block.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::dice::Dice;
use crate::spool::Room;

/// A multiple of the period of the hash.
pub(crate) const BLOCK: usize = 64 * 160;

#[derive(Debug, Clone)]
pub(crate) enum Blob {
    Stored(Bytes),
    Woven {
        seed: u64,
        len: u64,
        text: bool,
    },
    OnDisk {
        path: PathBuf,
        len: u64,
    },
    /// Uploaded, and found to be generated content with this block.
    Repeated {
        base: Bytes,
        len: u64,
    },
    /// Uploaded, and only the hashes were kept: it cannot be read any more.
    Forgotten(Arc<Digests>),
    /// Written by a client: a part of the one file of the spool.
    Spooled(Room),
}

/// What is left of content that was not kept.
#[derive(Debug)]
pub(crate) struct Digests {
    pub(crate) len: u64,
    /// Hex.
    pub(crate) sha256: String,
    /// Base64.
    pub(crate) quick_xor: String,
}

impl Blob {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Blob::Stored(bytes) => bytes.len() as u64,
            Blob::Woven { len, .. } | Blob::OnDisk { len, .. } | Blob::Repeated { len, .. } => *len,
            Blob::Forgotten(digest) => digest.len,
            Blob::Spooled(room) => room.len(),
        }
    }

    pub(crate) fn reader(&self) -> Reader {
        let base = match self {
            Blob::Woven { seed, len, text } => {
                let mut base = if *text { prose(*seed, BLOCK) } else { noise(*seed, BLOCK) };
                base.truncate(usize::try_from(*len).unwrap_or(BLOCK).min(BLOCK));
                base.into()
            }
            Blob::Repeated { base, .. } => base.clone(),
            _ => Bytes::new(),
        };
        Reader { blob: self.clone(), base, file: None }
    }

    /// Everything; for contents known to be small.
    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Blob::Stored(bytes) => bytes.clone(),
            _ => {
                let mut reader = self.reader();
                let mut all = Vec::new();
                while (all.len() as u64) < self.len() {
                    match reader.read(all.len() as u64, self.len()) {
                        Ok(chunk) if !chunk.is_empty() => all.extend_from_slice(&chunk),
                        _ => break,
                    }
                }
                all.into()
            }
        }
    }

    pub(crate) fn sha256(&self) -> String {
        if let Blob::Forgotten(digest) = self {
            return digest.sha256.clone();
        }
        let mut hash = Sha256::new();
        let _ = self.each_chunk(|chunk| hash.update(chunk));
        data_encoding::HEXLOWER.encode(&hash.finalize())
    }

    /// OneDrive's hash, base64.
    pub(crate) fn quick_xor(&self) -> String {
        let mut hash = QuickXor::default();
        match self {
            Blob::Forgotten(digest) => return digest.quick_xor.clone(),
            Blob::Woven { len, .. } | Blob::Repeated { len, .. } => {
                hash.update(&self.woven_sum(*len));
            }
            _ => drop(self.each_chunk(|chunk| hash.update(chunk))),
        }
        hash.finish(self.len())
    }

    pub(crate) fn each_chunk(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut reader = self.reader();
        let mut at = 0;
        while at < self.len() {
            let chunk = reader.read(at, self.len())?;
            if chunk.is_empty() {
                break;
            }
            at += chunk.len() as u64;
            take(&chunk);
        }
        Ok(())
    }

    /// The XOR of all blocks, which has the same hash as all of them one after the other.
    fn woven_sum(&self, len: u64) -> Vec<u8> {
        let base = self.reader().base;
        let whole = len / BLOCK as u64;
        let mut sum = vec![0; base.len()];
        if whole % 2 == 1 {
            sum.copy_from_slice(&base);
        }
        // 0 ^ 1 ^ ... ^ (whole - 1)
        let last = whole.wrapping_sub(1);
        let numbers = match whole % 4 {
            1 => last,
            2 => 1,
            3 => last + 1,
            _ => 0,
        };
        stamp(&mut sum, numbers);
        let mut tail = base[..(len % BLOCK as u64) as usize].to_vec();
        stamp(&mut tail, whole);
        for (into, from) in sum.iter_mut().zip(tail) {
            *into ^= from;
        }
        sum
    }
}

fn stamp(block: &mut [u8], number: u64) {
    for (byte, mark) in block.iter_mut().zip(number.to_le_bytes()) {
        *byte ^= mark;
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice::new(&[seed, 0x626c_6f62]);
    (0..len / 8).flat_map(|_| dice.next().to_le_bytes()).collect()
}

fn prose(seed: u64, len: usize) -> Vec<u8> {
    let mut text = crate::seed::words::paragraphs(&mut Dice::new(&[seed, 0x7465_7874]), len);
    text.resize(len, b' ');
    text
}

/// Reads a blob at any place.
pub(crate) struct Reader {
    blob: Blob,
    base: Bytes,
    file: Option<File>,
}

impl Reader {
    /// Up to 256 KiB from `at`, not beyond `end`.
    pub(crate) fn read(&mut self, at: u64, end: u64) -> io::Result<Bytes> {
        const CHUNK: u64 = 25 * BLOCK as u64;
        let end = end.min(self.blob.len()).min(at.saturating_add(CHUNK));
        let want = end.saturating_sub(at) as usize;
        match &self.blob {
            Blob::Stored(bytes) => Ok(bytes.slice(at as usize..at as usize + want)),
            Blob::Woven { .. } | Blob::Repeated { .. } => Ok(weave(&self.base, at, want)),
            Blob::Spooled(room) => Ok(room.read(at, want)?.into()),
            Blob::Forgotten(_) => Err(io::Error::other("only the hash of this content was kept")),
            Blob::OnDisk { path, .. } => {
                if self.file.is_none() {
                    self.file = Some(File::open(path)?);
                }
                let file = self.file.as_mut().expect("just opened");
                file.seek(SeekFrom::Start(at))?;
                let mut chunk = vec![0; want];
                file.read_exact(&mut chunk)?;
                Ok(chunk.into())
            }
        }
    }
}

/// `want` bytes from `at` of a block repeated and stamped.
pub(crate) fn weave(base: &[u8], at: u64, want: usize) -> Bytes {
    let mut chunk = Vec::with_capacity(want + 2 * BLOCK);
    let mut number = at / BLOCK as u64;
    let skip = (at % BLOCK as u64) as usize;
    while chunk.len() < skip + want {
        let from = chunk.len();
        chunk.extend_from_slice(base);
        stamp(&mut chunk[from..], number);
        number += 1;
    }
    Bytes::from(chunk).slice(skip..skip + want)
}

/// The 160-bit circular XOR that OneDrive calls quickXorHash.
#[derive(Debug, Default)]
pub(crate) struct QuickXor {
    cells: [u8; 20],
    at: usize,
}

impl QuickXor {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let (cell, shift) = (self.at / 8, self.at % 8);
            let spread = u16::from(byte) << shift;
            self.cells[cell] ^= spread as u8;
            self.cells[(cell + 1) % 20] ^= (spread >> 8) as u8;
            self.at = (self.at + 11) % 160;
        }
    }

    pub(crate) fn finish(mut self, len: u64) -> String {
        for (cell, byte) in self.cells[12..].iter_mut().zip(len.to_le_bytes()) {
            *cell ^= byte;
        }
        data_encoding::BASE64.encode(&self.cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8]) -> String {
        Blob::Stored(Bytes::copy_from_slice(bytes)).quick_xor()
    }

    #[test]
    fn published_vectors() {
        assert_eq!(hash(b""), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        assert_eq!(hash(b"hello world"), "aCgDG9jwBhDc4Q1yawMZAAAAAAA=");
        assert_eq!(
            hash(b"The quick brown fox jumps over the lazy dog"),
            "bMSlbysmxJL6S75XwfMcQZOpcr4="
        );
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(hash(&all), "QkGEfSisZcA7k+FCh71r2dbCayY=");
    }

    #[test]
    fn the_short_cut_equals_the_long_way() {
        let block = BLOCK as u64;
        for len in [0, 5, 8, block - 1, block, block + 3, 2 * block, 7 * block + 777, 8 * block + 9]
        {
            for text in [false, true] {
                let woven = Blob::Woven { seed: 7, len, text };
                assert_eq!(woven.bytes().len() as u64, len);
                assert_eq!(woven.quick_xor(), hash(&woven.bytes()), "{len}");
            }
        }
    }

    #[test]
    fn ranges_agree_with_the_whole() {
        let woven = Blob::Woven { seed: 9, len: 100_000, text: false };
        let whole = woven.bytes();
        for at in [0_u64, 1, 10_239, 10_240, 55_555, 99_999] {
            let part = woven.reader().read(at, 100_000).unwrap();
            assert_eq!(part, whole.slice(at as usize..at as usize + part.len()));
        }
    }
}
