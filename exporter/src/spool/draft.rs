//! Content on its way into the spool.

use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::store::{BLOCK, Extents};
use super::{Held, LONG_STEP, Lease, MOST_SLACK, Room, SHORT, Spool, Spooled, Turn, Wanted, Who};

/// Content on its way in.
#[derive(Debug)]
pub(crate) struct Draft {
    // Declared first: the bytes must be gone before the lease says so.
    held: Held,
    who: Who,
    size: u64,
    /// How long it is likely to get, if more than that.
    expected: u64,
    digest: Option<Sha256>,
    /// Of what was written to the disk.
    checksum: crc32fast::Hasher,
    lease: Lease,
}

impl Draft {
    pub(super) fn new(spool: &Arc<Spool>, who: Who) -> Self {
        Self {
            lease: Lease { spool: Arc::clone(spool), memory: 0, disk: 0 },
            who,
            held: Held::Memory(Vec::new()),
            size: 0,
            expected: 0,
            digest: Some(Sha256::new()),
            checksum: crc32fast::Hasher::new(),
        }
    }

    /// Somebody else proves it, and so knows its digest.
    pub(super) fn without_digest(self) -> Self {
        Self { digest: None, ..self }
    }

    pub(crate) const fn turn(&self) -> Turn {
        self.who.turn
    }

    /// What the service says of its length, which may be a lie: only where it goes depends on it.
    pub(crate) fn expect(&mut self, length: Option<u64>) {
        self.expected = length.unwrap_or(0);
    }

    /// Appends. Waits when both budgets are used up by others and it is not our turn.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        while !self.try_write(bytes)? {
            let Some(wanted) = self.wanted(bytes.len()) else { continue };
            let (spool, who) = (Arc::clone(&self.lease.spool), self.who);
            spool.take(|used| spool.room(used, who, &wanted)).await;
        }
        Ok(())
    }

    /// Appends if there is room now.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if let Some(wanted) = self.wanted(bytes.len()) {
            let spool = &self.lease.spool;
            let Some(room) = spool.take_room(&mut spool.used(), self.who, &wanted) else {
                return Ok(false);
            };
            self.move_to(&room)?;
        }
        match &mut self.held {
            Held::Memory(buffer) => buffer.extend_from_slice(bytes),
            Held::Disk(extents) => {
                self.checksum.update(bytes);
                extents.write(self.size, bytes)?;
            }
            Held::Base(_) => return Err(io::Error::other("what is in a base is whole")),
        }
        self.size += bytes.len() as u64;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        Ok(true)
    }

    /// Before it is asked for: if there is no room to spare, waits for enough for something short.
    pub(crate) async fn prepare(&mut self) -> io::Result<()> {
        let spool = &self.lease.spool;
        let has_room = self.lease.memory + self.lease.disk > 0;
        if has_room || spool.room(&spool.used(), self.who, &either(SHORT)).is_some() {
            return Ok(());
        }
        self.reserve(SHORT).await
    }

    /// Gives up what there is, and waits for its turn or for room: for what was expected, and for
    /// twice what it had each time, so that it is not refused often. `refused` are the bytes that
    /// found none.
    pub(crate) async fn give_way(&mut self, refused: usize) -> io::Result<()> {
        let had = self.lease.memory.max(self.lease.disk).max(self.size + refused as u64);
        let expected = self.expected.min(self.lease.spool.longest());
        self.restart()?;
        self.held = Held::Memory(Vec::new());
        self.lease.keep(0, 0);
        self.reserve(expected.max(2 * had.max(SHORT))).await
    }

    async fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let (spool, who) = (Arc::clone(&self.lease.spool), self.who);
        let room = spool.take(|used| spool.take_room(used, who, &either(bytes))).await;
        self.move_to(&room)
    }

    /// What it needs for so many bytes more; nothing if it has the room.
    fn wanted(&self, bytes: usize) -> Option<Wanted> {
        match &self.held {
            Held::Memory(buffer) if buffer.capacity() - buffer.len() >= bytes => None,
            Held::Memory(buffer) => {
                // What is expected, if it was told; else as much again, but no more than a MiB too
                // much.
                let needed = buffer.len() + bytes;
                let capacity = match usize::try_from(self.expected) {
                    Ok(expected) if expected >= needed => expected,
                    _ => needed + buffer.len().clamp(4096, 1 << 20),
                };
                let more = (capacity - buffer.capacity()) as u64;
                Some(Wanted::Either(more, (needed as u64).next_multiple_of(BLOCK)))
            }
            Held::Disk(extents) => {
                let missing = (self.size + bytes as u64).saturating_sub(extents.room());
                let least = if extents.room() < LONG_STEP { BLOCK } else { LONG_STEP };
                (missing > 0).then(|| Wanted::Disk(missing.max(least).next_multiple_of(BLOCK)))
            }
            Held::Base(_) => None,
        }
    }

    /// Takes over room that was charged.
    fn move_to(&mut self, room: &Room) -> io::Result<()> {
        match room {
            Room::Memory(bytes) => self.lease.memory += bytes,
            Room::Disk(bytes) => self.lease.disk += bytes,
        }
        match (room, &mut self.held) {
            (Room::Memory(bytes), Held::Memory(buffer)) => {
                let more = usize::try_from(*bytes).unwrap_or(usize::MAX);
                buffer.reserve_exact(buffer.capacity() - buffer.len() + more);
                Ok(())
            }
            (Room::Disk(bytes), Held::Disk(extents)) => extents.grow(*bytes),
            (Room::Disk(bytes), Held::Memory(_)) => self.spill(*bytes),
            _ => Err(io::Error::other("room of another kind was expected")),
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
            Held::Disk(_) | Held::Base(_) => {}
        }
        (self.size, self.expected) = (0, 0);
        self.checksum.reset();
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
        if let Held::Disk(extents) = &mut self.held {
            extents.cut(self.size);
            self.lease.keep(self.lease.memory, extents.room());
        }
        if let Held::Memory(buffer) = &mut self.held
            && buffer.capacity() - buffer.len() > MOST_SLACK
        {
            buffer.shrink_to_fit();
            self.lease.keep(buffer.capacity() as u64, self.lease.disk);
        }
        Ok(Spooled {
            size: self.size,
            sha256,
            checksum: self.checksum.finalize(),
            found: crc32fast::Hasher::new(),
            position: 0,
            turn: self.who.turn,
            held: self.held,
            lease: self.lease,
        })
    }

    fn spill(&mut self, room: u64) -> io::Result<()> {
        let mut extents = Extents::new(&self.lease.spool.store, self.lease.spool.dir())?;
        extents.grow(room)?;
        if let Held::Memory(buffer) = &self.held {
            extents.write(0, buffer)?;
            self.checksum.update(buffer);
        }
        self.held = Held::Disk(extents);
        self.lease.keep(0, self.lease.disk);
        Ok(())
    }
}

const fn either(bytes: u64) -> Wanted {
    Wanted::Either(bytes, bytes.next_multiple_of(BLOCK))
}
