//! What becomes of uploaded bytes: they are spooled, or forgotten when only their hash counts.

use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::blob::{BLOCK, Blob, Digests, QuickXor, weave};
use crate::spool::{Room, Spool};

/// How much of a generated content is compared at a time.
const STEP: usize = 25 * BLOCK;

/// Content on its way in.
#[derive(Debug)]
pub(crate) struct Sink {
    keep: Keep,
    len: u64,
}

#[derive(Debug)]
enum Keep {
    Spooled(Room),
    /// All there was so far is this block, repeated and stamped as generated content is.
    Woven(Vec<u8>),
    Hashed(Box<(Sha256, QuickXor)>),
}

impl Sink {
    /// A sink for `len` bytes. More than `forget_over` are not kept, unless they are generated
    /// content, which can be made again.
    pub(crate) fn new(spool: &Spool, len: u64, forget_over: Option<u64>) -> io::Result<Sink> {
        let keep = if forget_over.is_some_and(|most| len > most) {
            Keep::Woven(Vec::new())
        } else {
            Keep::Spooled(spool.room(len)?)
        };
        Ok(Sink { keep, len: 0 })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.keep {
            Keep::Spooled(room) => room.write(self.len, bytes)?,
            Keep::Woven(base) => {
                if !continues(base, self.len, bytes) {
                    // `continues` may have taken the block's missing bytes already.
                    base.truncate(usize::try_from(self.len).unwrap_or(BLOCK).min(BLOCK));
                    let mut hashes = hashed(base, self.len)?;
                    hashes.0.update(bytes);
                    hashes.1.update(bytes);
                    self.keep = Keep::Hashed(Box::new(hashes));
                }
            }
            Keep::Hashed(hashes) => {
                hashes.0.update(bytes);
                hashes.1.update(bytes);
            }
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn finish(self) -> Blob {
        let len = self.len;
        match self.keep {
            Keep::Spooled(room) => Blob::Spooled(room),
            Keep::Woven(base) => Blob::Repeated { base: base.into(), len },
            Keep::Hashed(hashes) => Blob::Forgotten(Arc::new(Digests {
                len,
                sha256: data_encoding::HEXLOWER.encode(&hashes.0.finalize()),
                quick_xor: hashes.1.finish(len),
            })),
        }
    }
}

/// Whether `bytes`, from `at`, go on as generated content would; takes the block from the first.
fn continues(base: &mut Vec<u8>, mut at: u64, mut bytes: &[u8]) -> bool {
    if base.len() < BLOCK {
        let (first, rest) = bytes.split_at(bytes.len().min(BLOCK - base.len()));
        base.extend_from_slice(first);
        (at, bytes) = (at + first.len() as u64, rest);
    }
    for part in bytes.chunks(STEP) {
        if weave(base, at, part.len()) != part {
            return false;
        }
        at += part.len() as u64;
    }
    true
}

/// The hashes, so far, of generated content.
fn hashed(base: &[u8], len: u64) -> io::Result<(Sha256, QuickXor)> {
    let mut hashes = (Sha256::new(), QuickXor::default());
    let blob = Blob::Repeated { base: base.to_vec().into(), len };
    blob.each_chunk(|chunk| {
        hashes.0.update(chunk);
        hashes.1.update(chunk);
    })?;
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pours content in pieces that respect no border.
    fn poured(bytes: &[u8], forget_over: Option<u64>) -> Blob {
        let spool = Spool::default();
        let mut sink = Sink::new(&spool, bytes.len() as u64, forget_over).unwrap();
        for part in bytes.chunks(7_777) {
            sink.write(part).unwrap();
        }
        sink.finish()
    }

    fn woven(len: u64) -> Vec<u8> {
        Blob::Woven { seed: 4, len, text: false }.bytes().to_vec()
    }

    #[test]
    fn nothing_changes_on_the_way() {
        for len in [0, 5, BLOCK as u64, 1_000_000, 3_000_011] {
            let bytes = woven(len);
            let plain = Blob::Stored(bytes.clone().into());
            for forget_over in [None, Some(0), Some(1_000_000)] {
                let blob = poured(&bytes, forget_over);
                assert_eq!(blob.len(), len);
                assert_eq!(blob.bytes(), bytes, "{len} {forget_over:?}");
                assert_eq!([blob.sha256(), blob.quick_xor()], [plain.sha256(), plain.quick_xor()]);
            }
        }
    }

    #[test]
    fn other_content_is_only_hashed() {
        // Different from the first block, early, at a border, late.
        for wrong in [3, BLOCK, BLOCK + 8, 99_999] {
            let mut bytes = woven(100_000);
            bytes[wrong] ^= 1;
            let blob = poured(&bytes, Some(50_000));
            // A first block may be anything, but then the second has to be like it.
            assert!(matches!(blob, Blob::Forgotten(_)), "{wrong}");
            let plain = Blob::Stored(bytes.into());
            assert_eq!([blob.sha256(), blob.quick_xor()], [plain.sha256(), plain.quick_xor()]);
            assert!(blob.reader().read(0, 10).is_err());
        }
    }
}
