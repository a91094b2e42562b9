//! Where written content goes: one unnamed temporary file, so that a restore of any size does not
//! fill the memory. Space is never reused; the file is gone with the simulator.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::blob::Blob;

/// Contents below this size stay in memory.
const SMALL: usize = 256;

/// The file, made when first needed.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    inner: OnceLock<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    file: Mutex<File>,
    end: Mutex<u64>,
}

/// Reserved space: what has not been written yet reads as zeros and takes no room on disk.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    inner: Arc<Inner>,
    at: u64,
    len: u64,
}

impl Spool {
    fn inner(&self) -> io::Result<Arc<Inner>> {
        if let Some(inner) = self.inner.get() {
            return Ok(Arc::clone(inner));
        }
        let fresh = Inner { file: Mutex::new(tempfile::tempfile()?), end: Mutex::new(0) };
        Ok(Arc::clone(self.inner.get_or_init(|| Arc::new(fresh))))
    }

    /// Reserves space for `len` bytes.
    pub(crate) fn room(&self, len: u64) -> io::Result<Room> {
        let inner = self.inner()?;
        let at = {
            let mut end = inner.end.lock().expect("no panic under this lock");
            let at = *end;
            *end += len;
            at
        };
        Ok(Room { inner, at, len })
    }

    /// Puts content away.
    pub(crate) fn store(&self, bytes: &[u8]) -> io::Result<Blob> {
        if bytes.len() < SMALL {
            return Ok(Blob::Stored(bytes.to_vec().into()));
        }
        let room = self.room(bytes.len() as u64)?;
        room.write(0, bytes)?;
        Ok(Blob::Spooled(room))
    }
}

impl Room {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.inner.file.lock().expect("no panic under this lock")
    }

    /// Writes at a place within the room.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if at + bytes.len() as u64 > self.len {
            return Err(io::Error::other("beyond the reserved space"));
        }
        let mut file = self.file();
        file.seek(SeekFrom::Start(self.at + at))?;
        file.write_all(bytes)
    }

    /// Reads up to `want` bytes at a place within the room.
    pub(crate) fn read(&self, at: u64, want: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(want);
        let mut file = self.file();
        file.seek(SeekFrom::Start(self.at + at))?;
        Read::by_ref(&mut *file).take(want as u64).read_to_end(&mut bytes)?;
        // Reserved at the end of the file and not written yet.
        bytes.resize(want, 0);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_come_back_each_from_its_own_place() {
        let spool = Spool::default();
        let contents: Vec<Vec<u8>> = (0..20_u8).map(|n| vec![n; 100 * usize::from(n)]).collect();
        let blobs: Vec<Blob> = contents.iter().map(|c| spool.store(c).unwrap()).collect();
        for (blob, content) in blobs.iter().zip(&contents) {
            assert_eq!(blob.bytes(), content);
        }
        assert!(matches!(blobs[19], Blob::Spooled(_)));
        let room = spool.room(1000).unwrap();
        room.write(500, b"middle").unwrap();
        assert!(room.write(998, b"beyond").is_err());
        let bytes = Blob::Spooled(room).bytes();
        assert_eq!((bytes.len(), &bytes[499..507]), (1000, b"\0middle\0".as_slice()));
    }
}
