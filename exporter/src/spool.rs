//! Where content waits: in memory while the budget lasts, then in blocks of one unlinked file.
//!
//! The size of an item is known only when it is whole (listing sizes lie, MIME has none:
//! design.md 3.5), and later items are fetched while an earlier one is being written. Two
//! budgets bound that: bytes in memory, bytes on disk. Who finds the memory full
//! goes to disk; who finds the disk full waits for either, unless he is the *head*, the first
//! item that is not written yet: he may always proceed, else finished later items would starve
//! him for ever. All others together take at most half of the disk budget, so that a head of no
//! more than the other half never breaks it.

mod draft;
mod store;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archive::Region;
use archive::region::RegionReader;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub(crate) use self::draft::Draft;
use self::store::{BLOCK, Extents, Run, Store};

use crate::options::SpoolOptions;

/// Place in the stream: section, then item in it. Smaller is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// Index of the section.
    pub(crate) section: u64,
    /// Index of the item inside the section.
    pub(crate) item: u64,
}

/// Contents that come in at the same time: the buffers of their connections grow while they do, and
/// no network is faster with more. As many as like may wait for the service's answer.
const MOST_READING: usize = 32;
/// A long content takes so many bytes of the disk more at a time.
const LONG_STEP: u64 = 1 << 20;
/// Bytes of memory that a content may hold for nothing.
const MOST_SLACK: usize = 16 << 10;
/// Said of content of the spool.
const FORGETFUL: &str = "the disk gave back other bytes than were written";
/// Contents of at most so many bytes are read from the disk before they are handed to the writer,
/// who has 16 of them at most: not worth a budget.
const SHORT: u64 = 64 << 10;

#[derive(Debug, Default)]
struct Used {
    memory: u64,
    disk: u64,
    /// Contents that come in now.
    reading: usize,
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
    store: Arc<Store>,
}

impl Spool {
    pub(crate) fn new(options: SpoolOptions) -> Arc<Self> {
        Arc::new(Self {
            options,
            used: Mutex::default(),
            freed: Notify::new(),
            store: Arc::default(),
        })
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
        Reserved(Lease { spool: Arc::clone(self), memory: 0, disk: 0 })
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
        Draft::new(self, Who { turn, is_patient: false })
    }

    /// A place for content that rather waits for memory than goes to disk before its turn: it
    /// comes as fast as we like, and nothing is won by having it early. If somebody else proves
    /// it, and so knows its digest, that is not computed again.
    pub(crate) fn patient_draft(self: &Arc<Self>, turn: Turn, is_proven: bool) -> Draft {
        let draft = Draft::new(self, Who { turn, is_patient: true });
        if is_proven { draft.without_digest() } else { draft }
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

    /// Waits until this content may come in. Whoever may must not wait for room: a mailbox's
    /// connections wait for this, and the head for those.
    pub(crate) async fn reading(self: &Arc<Self>, turn: Turn) -> Reading {
        self.take(|used| {
            let may = used.reading < MOST_READING || used.is_head(turn);
            used.reading += usize::from(may);
            may.then_some(())
        })
        .await;
        Reading(Arc::clone(self))
    }

    /// Where there is room for what somebody wants.
    fn room(&self, used: &Used, who: Who, wanted: &Wanted) -> Option<Room> {
        let is_head = used.is_head(who.turn);
        match *wanted {
            Wanted::Either(bytes, _) if used.memory + bytes <= self.options.memory_bytes => {
                Some(Room::Memory(bytes))
            }
            Wanted::Either(..) if who.is_patient && !is_head => None,
            Wanted::Either(_, bytes) | Wanted::Disk(bytes) => {
                let fits = is_head || used.disk + bytes <= self.options.disk_bytes / 2;
                fits.then_some(Room::Disk(bytes))
            }
        }
    }

    /// The same, and takes it.
    fn take_room(&self, used: &mut Used, who: Who, wanted: &Wanted) -> Option<Room> {
        let room = self.room(used, who, wanted)?;
        match room {
            Room::Memory(bytes) => used.memory += bytes,
            Room::Disk(bytes) => used.disk += bytes,
        }
        Some(room)
    }
}

/// The right of a content to come in.
#[derive(Debug)]
pub(crate) struct Reading(Arc<Spool>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.used().reading -= 1;
        self.0.freed.notify_waiters();
    }
}

/// Where more content may go.
enum Room {
    /// So many bytes more of memory.
    Memory(u64),
    /// So many bytes more of the disk.
    Disk(u64),
}

/// Who wants it.
#[derive(Debug, Clone, Copy)]
struct Who {
    turn: Turn,
    /// Rather waits for memory than goes to disk before its turn.
    is_patient: bool,
}

/// What more content needs.
enum Wanted {
    /// Bytes of memory, or else of the disk.
    Either(u64, u64),
    Disk(u64),
}

/// What one content holds of the budgets; gives it back when dropped.
#[derive(Debug)]
struct Lease {
    spool: Arc<Spool>,
    memory: u64,
    disk: u64,
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
    /// Gives back all but so many bytes of each.
    fn keep(&mut self, memory: u64, disk: u64) {
        let mut used = self.spool.used();
        used.memory -= self.memory - memory;
        used.disk -= self.disk - disk;
        (self.memory, self.disk) = (memory, disk);
        drop(used);
        self.spool.freed.notify_waiters();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keep(0, 0);
    }
}

#[derive(Debug)]
enum Held {
    Memory(Vec<u8>),
    Disk(Extents),
    /// Where it was before: it takes no room.
    Base(RegionReader),
}

/// Content that is whole, with its digest; reads as a file does.
#[derive(Debug)]
pub(crate) struct Spooled {
    held: Held,
    /// Bytes read of what is not in the base.
    position: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// SHA-256 of all bytes.
    pub(crate) sha256: [u8; 32],
    /// If it is on disk: CRC-32 of what was written there, and of what was read so far. Computing
    /// the digest again took half of the writer's time; against a disk that forgets this is enough,
    /// and the manifest has the digest of what the service gave.
    checksum: u32,
    found: crc32fast::Hasher,
    turn: Turn,
    lease: Lease,
}

/// Content that was left on disk.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Parked {
    runs: Vec<Run>,
    size: u64,
    sha256: [u8; 32],
    checksum: u32,
    turn: Turn,
}

impl Parked {
    pub(crate) fn fetch(self, spool: &Arc<Spool>) -> io::Result<Spooled> {
        let Self { runs, size, sha256, checksum, turn } = self;
        let extents = Extents::again(&spool.store, spool.dir(), runs)?;
        let lease = Lease { spool: Arc::clone(spool), memory: 0, disk: extents.room() };
        let (held, found) = (Held::Disk(extents), crc32fast::Hasher::new());
        Ok(Spooled { held, position: 0, size, sha256, checksum, found, turn, lease })
    }
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
            checksum: 0,
            found: crc32fast::Hasher::new(),
            position: 0,
            turn,
            held: Held::Base(region.reader()),
            lease: Lease { spool: Arc::clone(spool), memory: 0, disk: 0 },
        }
    }

    /// Whether it is still where the base has it.
    pub(crate) const fn is_in_base(&self) -> bool {
        matches!(self.held, Held::Base(_))
    }

    /// Leaves it on disk, so that what is known of it can be written down: what waits long for its
    /// turn takes no memory. Given back if it is in the base, or no room is left on disk.
    pub(crate) fn park(mut self) -> io::Result<Result<Parked, Self>> {
        if let Held::Memory(bytes) = &self.held {
            let room = self.size.next_multiple_of(BLOCK);
            let spool = Arc::clone(&self.lease.spool);
            let who = Who { turn: self.turn, is_patient: false };
            if spool.take_room(&mut spool.used(), who, &Wanted::Disk(room)).is_none() {
                return Ok(Err(self));
            }
            self.lease.disk += room;
            let mut extents = Extents::new(&spool.store, spool.dir())?;
            extents.grow(room)?;
            extents.write(0, bytes)?;
            self.checksum = crc32fast::hash(bytes);
            self.held = Held::Disk(extents);
            self.lease.keep(0, self.lease.disk);
        }
        match self.held {
            Held::Disk(extents) => {
                let Self { size, sha256, checksum, turn, mut lease, .. } = self;
                // The room stays taken.
                lease.disk = 0;
                Ok(Ok(Parked { runs: extents.leave(), size, sha256, checksum, turn }))
            }
            held => Ok(Err(Self { held, ..self })),
        }
    }

    /// Brings what is short back from the disk.
    pub(crate) fn fetch_short(mut self) -> io::Result<Self> {
        if matches!(self.held, Held::Disk(_)) && self.size <= SHORT {
            self.held = Held::Memory(Self::bytes(&mut self)?);
        }
        Ok(self)
    }

    /// All of it, if it is in memory and nothing was read of it yet.
    pub(crate) fn in_memory(&self) -> Option<&[u8]> {
        match &self.held {
            Held::Memory(bytes) if self.position == 0 => Some(bytes),
            _ => None,
        }
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
        self.position = 0;
        self.found.reset();
        if let Held::Base(region) = &mut self.held {
            region.seek(SeekFrom::Start(0))?;
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
        // What stands behind that in a block is left over from another content.
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let most = into.len().min(left);
        let read = match &mut self.held {
            Held::Disk(extents) => {
                let read = extents.read(self.position, &mut into[..most])?;
                self.found.update(&into[..read]);
                let is_end = read > 0 && read == left;
                if is_end && self.found.clone().finalize() != self.checksum {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, FORGETFUL));
                }
                read
            }
            Held::Base(region) => return region.read(into),
            Held::Memory(buffer) => {
                let start = usize::try_from(self.position).unwrap_or(usize::MAX);
                let mut rest = buffer.get(start..).unwrap_or_default();
                rest.read(into)?
            }
        };
        self.position += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
