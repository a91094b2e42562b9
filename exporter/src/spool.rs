//! Where content waits: in memory while the budget lasts, then in unlinked files.
//!
//! The size of an item is known only when it is whole (listing sizes lie, MIME has none:
//! design.md 3.5), and later items are fetched while an earlier one is being written. Three
//! budgets bound that: bytes in memory, bytes on disk, open files. Who finds the memory full
//! goes to disk; who finds the disk full waits for either, unless he is the *head*, the first
//! item that is not written yet: he may always proceed, else finished later items would starve
//! him for ever. All others together take at most half of the disk budget, so that a head of no
//! more than the other half never breaks it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archive::Region;
use archive::region::RegionReader;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::options::SpoolOptions;

/// Place in the stream: section, then item in it. Smaller is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Turn {
    /// Index of the section.
    pub(crate) section: u64,
    /// Index of the item inside the section.
    pub(crate) item: u64,
}

/// Disk space is taken in steps of this many bytes.
const DISK_STEP: u64 = 1 << 20;
/// Items on disk at the same time; each holds an open file.
const MAX_FILES: u64 = 192;

#[derive(Debug, Default)]
struct Used {
    memory: u64,
    disk: u64,
    files: u64,
    head: Turn,
    /// Of sections whose contents are decided on: the first item that is not decided on yet.
    fronts: BTreeMap<u64, u64>,
}

impl Used {
    /// Whether everything waits for this one: it may take what it needs.
    fn is_head(&self, turn: Turn) -> bool {
        let is_front = || self.fronts.get(&turn.section).is_some_and(|front| turn.item <= *front);
        turn <= self.head || (turn.section == self.head.section && is_front())
    }
}

/// The budgets, shared by all that fetch.
#[derive(Debug)]
pub(crate) struct Spool {
    options: SpoolOptions,
    used: Mutex<Used>,
    freed: Notify,
}

impl Spool {
    pub(crate) fn new(options: SpoolOptions) -> Arc<Self> {
        Arc::new(Self { options, used: Mutex::default(), freed: Notify::new() })
    }

    /// Directory of the temporary files.
    pub(crate) fn dir(&self) -> &PathBuf {
        &self.options.dir
    }

    /// Contents longer than this are streamed, not spooled.
    pub(crate) fn longest(&self) -> u64 {
        self.options.disk_bytes
    }

    /// Room on disk for what is needed until a section is written; none yet.
    pub(crate) fn reserve(self: &Arc<Self>) -> Reserved {
        Reserved(Lease { spool: Arc::clone(self), memory: 0, disk: 0, files: 0 })
    }

    /// All before `head` is written, or has no content.
    pub(crate) fn set_head(&self, head: Turn) {
        let mut used = self.used();
        used.head = used.head.max(head);
        drop(used);
        self.freed.notify_waiters();
    }

    /// All items of a section before this one are decided on; none is left to be if it is none.
    /// They take room and give it back without anything being written, so they have a head of
    /// their own.
    pub(crate) fn set_front(&self, section: u64, item: Option<u64>) {
        let mut used = self.used();
        match item {
            Some(item) => used.fronts.insert(section, item),
            None => used.fronts.remove(&section),
        };
        drop(used);
        self.freed.notify_waiters();
    }

    /// A place for content that will be written at `turn`.
    pub(crate) fn draft(self: &Arc<Self>, turn: Turn) -> Draft {
        self.draft_that(turn, false)
    }

    /// A place for content that rather waits for memory than goes to disk before its turn: it
    /// comes as fast as we like, and nothing is won by having it early. If somebody else proves
    /// it, and so knows its digest, that is not computed again.
    pub(crate) fn patient_draft(self: &Arc<Self>, turn: Turn, is_proven: bool) -> Draft {
        let draft = self.draft_that(turn, true);
        Draft { digest: draft.digest.filter(|_| !is_proven), ..draft }
    }

    fn draft_that(self: &Arc<Self>, turn: Turn, is_patient: bool) -> Draft {
        Draft {
            is_patient,
            lease: Lease { spool: Arc::clone(self), memory: 0, disk: 0, files: 0 },
            turn,
            held: Held::Memory(Vec::new()),
            size: 0,
            digest: Some(Sha256::new()),
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what `take` finds room for; waits until something is freed when it finds none.
    async fn take<T>(&self, mut take: impl FnMut(&mut Used) -> Option<T>) -> T {
        loop {
            // Registered before the check, so that a release in between is not missed.
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(taken) = take(&mut self.used()) {
                return taken;
            }
            freed.await;
        }
    }

    fn take_memory(&self, used: &mut Used, bytes: u64) -> bool {
        let fits = used.memory + bytes <= self.options.memory_bytes;
        if fits {
            used.memory += bytes;
        }
        fits
    }

    fn take_disk(&self, used: &mut Used, turn: Turn, bytes: u64, files: u64) -> bool {
        let fits = used.is_head(turn)
            || (used.disk + bytes <= self.options.disk_bytes / 2
                && used.files + files <= MAX_FILES);
        if fits {
            used.disk += bytes;
            used.files += files;
        }
        fits
    }
}

/// Where more content may go.
enum Room {
    Memory,
    Disk,
}

/// What one content holds of the budgets; gives it back when dropped.
#[derive(Debug)]
struct Lease {
    spool: Arc<Spool>,
    memory: u64,
    disk: u64,
    files: u64,
}

/// Room on disk for something that the spool does not see; freed when it is dropped.
#[derive(Debug)]
pub(crate) struct Reserved(Lease);

impl Reserved {
    /// Takes room for so many bytes more, if there is any to spare: nobody waits for it.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let mut used = self.0.spool.used();
        let fits = used.disk + bytes <= self.0.spool.options.disk_bytes / 2;
        if fits {
            used.disk += bytes;
            self.0.disk += bytes;
        }
        fits
    }
}

impl Lease {
    fn release(&mut self) {
        let mut used = self.spool.used();
        used.memory -= self.memory;
        used.disk -= self.disk;
        used.files -= self.files;
        (self.memory, self.disk, self.files) = (0, 0, 0);
        drop(used);
        self.spool.freed.notify_waiters();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}

#[derive(Debug)]
enum Held {
    Memory(Vec<u8>),
    Disk(File),
    /// Where it was before: it takes no room.
    Base(RegionReader),
}

/// Content on its way in.
#[derive(Debug)]
pub(crate) struct Draft {
    // Declared first: the bytes must be gone before the lease says so.
    held: Held,
    turn: Turn,
    is_patient: bool,
    size: u64,
    digest: Option<Sha256>,
    lease: Lease,
}

impl Draft {
    /// Appends. Waits when both budgets are used up by others and it is not our turn.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Held::Memory(buffer) = &self.held
            && buffer.capacity() - buffer.len() < bytes.len()
        {
            self.grow(bytes.len()).await?;
        }
        match &mut self.held {
            Held::Memory(buffer) => buffer.extend_from_slice(bytes),
            Held::Disk(_) | Held::Base(_) => self.append(bytes).await?,
        }
        self.size += bytes.len() as u64;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        Ok(())
    }

    /// More room in memory, or else on disk for all there is.
    async fn grow(&mut self, bytes: usize) -> io::Result<()> {
        let Held::Memory(buffer) = &mut self.held else { return Ok(()) };
        // Half as much again, but no more than a MiB too much.
        let wanted = buffer.len() + bytes + (buffer.len() / 2).clamp(4096, 1 << 20);
        let more = (wanted - buffer.capacity()) as u64;
        let disk = DISK_STEP.max((buffer.len() + bytes) as u64);
        let (spool, turn, is_patient) = (Arc::clone(&self.lease.spool), self.turn, self.is_patient);
        let room = spool
            .take(|used| {
                if spool.take_memory(used, more) {
                    Some(Room::Memory)
                } else if is_patient && !used.is_head(turn) {
                    None
                } else {
                    spool.take_disk(used, turn, disk, 1).then_some(Room::Disk)
                }
            })
            .await;
        match room {
            Room::Memory => {
                self.lease.memory += more;
                buffer.reserve_exact(wanted - buffer.len());
                Ok(())
            }
            Room::Disk => {
                self.lease.disk += disk;
                self.lease.files += 1;
                self.spill()
            }
        }
    }

    /// Bytes written so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Forgets what was written: the content starts over.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        match &mut self.held {
            Held::Memory(buffer) => buffer.clear(),
            Held::Disk(file) => {
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
            }
            Held::Base(_) => {}
        }
        self.size = 0;
        self.digest = self.digest.take().map(|_| Sha256::new());
        Ok(())
    }

    /// The content is whole.
    pub(crate) fn finish(mut self) -> io::Result<Spooled> {
        let digest = self.digest.take().map(|digest| digest.finalize().into());
        self.finish_proven(digest.ok_or_else(|| io::Error::other("nobody knows the digest"))?)
    }

    /// The content is whole, and was proven to have this digest.
    pub(crate) fn finish_proven(mut self, sha256: [u8; 32]) -> io::Result<Spooled> {
        if let Held::Disk(file) = &mut self.held {
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(Spooled {
            size: self.size,
            sha256,
            position: 0,
            turn: self.turn,
            held: self.held,
            lease: self.lease,
        })
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut file = tempfile::tempfile_in(&self.lease.spool.options.dir)?;
        if let Held::Memory(buffer) = &self.held {
            file.write_all(buffer)?;
        }
        self.held = Held::Disk(file);
        let mut used = self.lease.spool.used();
        used.memory -= self.lease.memory;
        self.lease.memory = 0;
        drop(used);
        self.lease.spool.freed.notify_waiters();
        Ok(())
    }

    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.size + bytes.len() as u64;
        while end > self.lease.disk {
            let step = DISK_STEP.max(end - self.lease.disk);
            let (spool, turn) = (Arc::clone(&self.lease.spool), self.turn);
            spool.take(|used| spool.take_disk(used, turn, step, 0).then_some(())).await;
            self.lease.disk += step;
        }
        match &mut self.held {
            Held::Disk(file) => file.write_all(bytes),
            Held::Memory(_) | Held::Base(_) => Err(io::Error::other("a spool file was expected")),
        }
    }
}

/// Content that is whole, with its digest; reads as a file does.
#[derive(Debug)]
pub(crate) struct Spooled {
    held: Held,
    position: usize,
    /// Bytes.
    pub(crate) size: u64,
    /// SHA-256 of all bytes.
    pub(crate) sha256: [u8; 32],
    turn: Turn,
    lease: Lease,
}

impl Spooled {
    /// Content that stays where it is, and was proven there.
    pub(crate) fn in_base(
        spool: &Arc<Spool>,
        region: &Region,
        sha256: [u8; 32],
        turn: Turn,
    ) -> Self {
        Self {
            size: region.length(),
            sha256,
            position: 0,
            turn,
            held: Held::Base(region.reader()),
            lease: Lease { spool: Arc::clone(spool), memory: 0, disk: 0, files: 0 },
        }
    }

    /// Whether it is still where the base has it.
    pub(crate) const fn is_in_base(&self) -> bool {
        matches!(self.held, Held::Base(_))
    }

    /// All of it; it can be read again after that.
    pub(crate) fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        self.read_to_end(&mut bytes)?;
        self.rewind()?;
        Ok(bytes)
    }

    /// To be read from its beginning again.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        match &mut self.held {
            Held::Memory(_) => self.position = 0,
            Held::Disk(file) => drop(file.seek(SeekFrom::Start(0))?),
            Held::Base(region) => drop(region.seek(SeekFrom::Start(0))?),
        }
        Ok(())
    }

    /// It is written; whose turn is next may take what he needs. Not before: what waits in the
    /// writer's queue still holds its room.
    pub(crate) fn written(self) {
        let (spool, turn) = (Arc::clone(&self.lease.spool), self.turn);
        drop(self);
        spool.set_head(Turn { item: turn.item + 1, ..turn });
    }
}

impl Read for Spooled {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.held {
            Held::Disk(file) => file.read(into),
            Held::Base(region) => region.read(into),
            Held::Memory(buffer) => {
                let mut rest = buffer.get(self.position..).unwrap_or_default();
                let read = rest.read(into)?;
                self.position += read;
                Ok(read)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(memory_bytes: u64, disk_bytes: u64) -> Arc<Spool> {
        Spool::new(SpoolOptions { dir: std::env::temp_dir(), disk_bytes, memory_bytes })
    }

    fn turn(item: u64) -> Turn {
        Turn { section: 0, item }
    }

    async fn filled(spool: &Arc<Spool>, item: u64, bytes: usize) -> Spooled {
        let mut draft = spool.draft(turn(item));
        draft.write(&vec![7; bytes]).await.unwrap();
        draft.finish().unwrap()
    }

    #[tokio::test]
    async fn spills_when_memory_is_used_up_and_reads_back_the_same() {
        let spool = spool(8192, 1 << 30);
        let mut draft = spool.draft(turn(0));
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        for chunk in bytes.chunks(999) {
            draft.write(chunk).await.unwrap();
        }
        assert_eq!(spool.used().memory, 0);
        let mut whole = draft.finish().unwrap();
        let mut back = Vec::new();
        whole.read_to_end(&mut back).unwrap();
        assert_eq!(back, bytes);
        assert_eq!(whole.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
        drop(whole);
        let used = spool.used();
        assert_eq!((used.disk, used.files), (0, 0));
    }

    #[tokio::test]
    async fn the_head_proceeds_when_later_items_hold_the_disk() {
        let spool = spool(0, 8 << 20);
        spool.set_head(turn(0));
        let later = filled(&spool, 5, 4 << 20).await;
        let waiting = tokio::spawn({
            let spool = Arc::clone(&spool);
            async move { filled(&spool, 4, 1 << 20).await.size }
        });
        let head = filled(&spool, 0, 3 << 20).await;
        assert!(!waiting.is_finished());
        drop(head);
        drop(later);
        assert_eq!(waiting.await.unwrap(), 1 << 20);
    }

    #[tokio::test]
    async fn a_patient_draft_waits_for_memory_until_it_is_its_turn() {
        let spool = spool(1 << 20, 1 << 30);
        let early = filled(&spool, 1, 900_000).await;
        let patient = |item| {
            let spool = Arc::clone(&spool);
            tokio::spawn(async move {
                let mut draft = spool.patient_draft(turn(item), false);
                draft.write(&[7; 500_000]).await.unwrap();
                draft.finish().unwrap()
            })
        };
        let waiting = patient(2);
        let head = filled(&spool, 0, 500_000).await;
        assert!(!waiting.is_finished());
        drop(head);
        drop(early);
        let whole = waiting.await.unwrap();
        assert_eq!(spool.used().disk, 0);
        // Memory is full again, and it is the turn of the next one.
        let next = patient(3);
        spool.set_head(turn(3));
        next.await.unwrap();
        drop(whole);
    }

    #[tokio::test]
    async fn a_restarted_draft_has_only_the_second_content() {
        for memory in [0, 1 << 20] {
            let spool = spool(memory, 1 << 30);
            let mut draft = spool.draft(turn(0));
            draft.write(b"first, torn").await.unwrap();
            draft.restart().unwrap();
            draft.write(b"second").await.unwrap();
            let mut whole = draft.finish().unwrap();
            let mut back = String::new();
            whole.read_to_string(&mut back).unwrap();
            assert_eq!((back.as_str(), whole.size), ("second", 6));
        }
    }
}
