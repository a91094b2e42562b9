//! Room on disk: blocks of one unlinked file, used again and again.
//!
//! A file for each content cost more than what was written to it: ext4 looks for an inode that
//! nobody had for some seconds, and that was half of the processor time of an export.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// Bytes that are given out together.
pub(super) const BLOCK: u64 = 32 * 1024;

/// Blocks that lie together: the first, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run(u32, u32);

/// The file, and which of its blocks are free.
#[derive(Debug, Default)]
pub(super) struct Store(Mutex<Blocks>);

#[derive(Debug, Default)]
struct Blocks {
    file: Option<Arc<File>>,
    /// Free runs by their first block; no two touch.
    free: BTreeMap<u32, u32>,
    /// Blocks from here on were never given out, or are free again.
    end: u32,
}

/// The file is closed in a thread that nobody waits for: until the disk has all of its blocks back,
/// seconds may pass (5 s for 1.7 GB on a disk that discards them). For the same reason it does not
/// get shorter before: what is free is used again, and it never has more than the spool's limit.
impl Drop for Blocks {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let close = move || drop(file);
            // Without a thread it is closed here.
            drop(std::thread::Builder::new().name("spool".to_owned()).spawn(close));
        }
    }
}

impl Store {
    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At most `most` blocks that lie together.
    fn take(&self, most: u32) -> io::Result<Run> {
        let mut blocks = self.blocks();
        if let Some((start, count)) = blocks.free.pop_first() {
            let taken = count.min(most);
            if taken < count {
                blocks.free.insert(start + taken, count - taken);
            }
            return Ok(Run(start, taken));
        }
        let start = blocks.end;
        blocks.end = start.checked_add(most).ok_or(io::ErrorKind::StorageFull)?;
        Ok(Run(start, most))
    }

    fn give(&self, Run(mut start, mut count): Run) {
        let mut blocks = self.blocks();
        if let Some((before, length)) = blocks.free.range(..start).next_back()
            && before + length == start
        {
            (start, count) = (*before, count + length);
            blocks.free.remove(&start);
        }
        if let Some(length) = blocks.free.remove(&(start + count)) {
            count += length;
        }
        if start + count < blocks.end {
            blocks.free.insert(start, count);
            return;
        }
        blocks.end = start;
    }

    fn file(&self, dir: &Path) -> io::Result<Arc<File>> {
        let mut blocks = self.blocks();
        if blocks.file.is_none() {
            blocks.file = Some(Arc::new(tempfile::tempfile_in(dir)?));
        }
        blocks.file.clone().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Blocks that hold one content, in its order. They are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Extents {
    store: Arc<Store>,
    file: Arc<File>,
    /// With the content's first byte in each.
    runs: Vec<(u64, Run)>,
}

impl Extents {
    pub(super) fn new(store: &Arc<Store>, dir: &Path) -> io::Result<Self> {
        Ok(Self { file: store.file(dir)?, store: Arc::clone(store), runs: Vec::new() })
    }

    /// Those that [`Extents::leave`] left.
    pub(super) fn again(store: &Arc<Store>, dir: &Path, runs: Vec<Run>) -> io::Result<Self> {
        let mut again = Self::new(store, dir)?;
        runs.into_iter().for_each(|run| again.push(run));
        Ok(again)
    }

    /// The blocks, which stay in use.
    pub(super) fn leave(mut self) -> Vec<Run> {
        std::mem::take(&mut self.runs).into_iter().map(|(_, run)| run).collect()
    }

    /// Bytes there is room for.
    pub(super) fn room(&self) -> u64 {
        self.runs.last().map_or(0, |(first, Run(_, count))| first + u64::from(*count) * BLOCK)
    }

    fn push(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some((_, Run(start, count))) if *start + *count == run.0 => *count += run.1,
            _ => self.runs.push((self.room(), run)),
        }
    }

    /// More room, in whole blocks.
    pub(super) fn grow(&mut self, bytes: u64) -> io::Result<()> {
        let wanted = self.room() + bytes;
        while self.room() < wanted {
            let missing = (wanted - self.room()).div_ceil(BLOCK);
            self.push(self.store.take(u32::try_from(missing).unwrap_or(u32::MAX))?);
        }
        Ok(())
    }

    /// Gives back what lies behind the block of the last of so many bytes.
    pub(super) fn cut(&mut self, bytes: u64) {
        while let Some((first, Run(start, count))) = self.runs.pop() {
            let kept = bytes.saturating_sub(first).div_ceil(BLOCK).min(u64::from(count)) as u32;
            if kept < count {
                self.store.give(Run(start + kept, count - kept));
            }
            if kept > 0 {
                return self.runs.push((first, Run(start, kept)));
            }
        }
    }

    /// Where in the file a byte is, and how many lie there together.
    fn place(&self, at: u64) -> Option<(u64, usize)> {
        let index = self.runs.partition_point(|(first, _)| *first <= at).checked_sub(1)?;
        let (first, Run(start, count)) = self.runs[index];
        let left = (u64::from(count) * BLOCK).checked_sub(at - first).filter(|left| *left > 0)?;
        let together = usize::try_from(left).unwrap_or(usize::MAX);
        Some((u64::from(start) * BLOCK + (at - first), together))
    }

    pub(super) fn write(&self, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (offset, room) = self.place(at).ok_or(io::ErrorKind::WriteZero)?;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.file.write_all_at(now, offset)?;
            at += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let Some((offset, room)) = self.place(at).filter(|_| !into.is_empty()) else {
            return Ok(0);
        };
        let most = room.min(into.len());
        match self.file.read_at(&mut into[..most], offset)? {
            // What was written is there.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

impl Drop for Extents {
    fn drop(&mut self) {
        self.runs.drain(..).for_each(|(_, run)| self.store.give(run));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(store: &Arc<Store>, seed: u8, bytes: usize) -> (Extents, Vec<u8>) {
        let mut extents = Extents::new(store, &std::env::temp_dir()).unwrap();
        let content: Vec<u8> = (0..bytes).map(|n| (n as u8).wrapping_mul(31) ^ seed).collect();
        for (number, piece) in content.chunks(20_000).enumerate() {
            let at = number as u64 * 20_000;
            let missing = (at + piece.len() as u64).saturating_sub(extents.room());
            extents.grow(missing).unwrap();
            extents.write(at, piece).unwrap();
        }
        (extents, content)
    }

    fn read(extents: &Extents, bytes: usize) -> Vec<u8> {
        let mut content = vec![0; bytes];
        let mut at = 0;
        while at < bytes {
            at += extents.read(at as u64, &mut content[at..]).unwrap();
        }
        content
    }

    proptest! {
        /// Contents come and go in any order: each is what was written, no block is given out
        /// twice, and in the end all are free.
        #[test]
        fn contents_keep_apart(steps in prop::collection::vec((0usize..300_000, 0usize..8), 1..40)) {
            let store = Arc::new(Store::default());
            let mut held: Vec<(Extents, Vec<u8>)> = Vec::new();
            for (number, (bytes, dropped)) in steps.into_iter().enumerate() {
                let (mut extents, content) = filled(&store, number as u8, bytes);
                extents.cut(bytes as u64);
                prop_assert!(extents.room() < bytes as u64 + BLOCK);
                if number % 3 == 0 {
                    let runs = extents.leave();
                    extents = Extents::again(&store, &std::env::temp_dir(), runs).unwrap();
                }
                held.push((extents, content));
                if dropped < held.len() {
                    drop(held.swap_remove(dropped));
                }
                for (extents, content) in &held {
                    prop_assert!(read(extents, content.len()) == *content);
                }
            }
            drop(held);
            let blocks = store.blocks();
            prop_assert!(blocks.end == 0 && blocks.free.is_empty());
        }
    }

    #[test]
    fn the_file_never_gets_longer_than_what_was_in_use_at_a_time() {
        let store = Arc::new(Store::default());
        for _ in 0..3 {
            let mut extents = Extents::new(&store, &std::env::temp_dir()).unwrap();
            extents.grow(BLOCK * 3).unwrap();
            extents.write(BLOCK * 3 - 1, b"x").unwrap();
            let file = store.blocks().file.clone().unwrap();
            assert_eq!(file.metadata().unwrap().len(), BLOCK * 3);
        }
    }
}
