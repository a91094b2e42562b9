//! What a section has to say, from its task to the writer. A section that runs ahead of its turn
//! goes on as long as the spool has room: what waits is written down on disk, so that neither its
//! mailbox idles nor memory grows with it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archive::{LedgerLine, Sha256Digest};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::Error;
use crate::section::Event;
use crate::spool::{Parked, Spool, Turn};

/// Bytes of records read at a time.
const PIECE: usize = 64 * 1024;

/// A queue that holds `most` events in memory.
pub(crate) fn queue(spool: &Arc<Spool>, most: usize) -> (Outlet, Inlet) {
    let queue = Arc::new(Queue {
        spool: Arc::clone(spool),
        most,
        line: Mutex::default(),
        changed: Notify::new(),
    });
    (Outlet(Arc::clone(&queue)), Inlet(queue))
}

/// Where a section says what it has.
#[derive(Debug)]
pub(crate) struct Outlet(Arc<Queue>);

/// Where the writer hears it. Dropping it ends the section.
#[derive(Debug)]
pub(crate) struct Inlet(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    spool: Arc<Spool>,
    most: usize,
    line: Mutex<Line>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Line {
    /// Those that come first.
    here: VecDeque<Event>,
    /// Those behind them.
    parked: Records,
    /// One of the two ends is gone.
    is_over: bool,
}

impl Queue {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        self.line().is_over = true;
        self.changed.notify_waiters();
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Spool { dir: self.spool.dir().clone(), source }
    }

    /// Puts an event in; gives it back if it has to wait.
    fn put(&self, event: Event) -> Result<Option<Event>, Error> {
        let mut line = self.line();
        if line.is_over {
            return Err(Error::Interrupted);
        }
        if line.here.len() < self.most && line.parked.count == 0 {
            line.here.push_back(event);
        } else {
            match Record::park(event).map_err(|source| self.error(source))? {
                Ok(record) => {
                    let put = line.parked.put(&record, self.spool.dir());
                    put.map_err(|source| self.error(source))?;
                }
                Err(event) => return Ok(Some(event)),
            }
        }
        drop(line);
        self.changed.notify_waiters();
        Ok(None)
    }

    fn take(&self) -> Result<Option<Event>, Error> {
        let mut line = self.line();
        if line.here.is_empty() && line.parked.count > 0 {
            let records = line.parked.take(self.most).map_err(|source| self.error(source))?;
            for record in records {
                let event = record.fetch(&self.spool).map_err(|source| self.error(source))?;
                line.here.push_back(event);
            }
        }
        let event = line.here.pop_front();
        drop(line);
        if event.is_some() {
            self.changed.notify_waiters();
        }
        Ok(event)
    }
}

impl Outlet {
    /// Waits when neither memory nor disk has room left for what waits already.
    pub(crate) async fn send(&self, event: Event) -> Result<(), Error> {
        let mut event = event;
        loop {
            // Registered before the check, so that what happens in between is not missed.
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.0.put(event)? {
                None => return Ok(()),
                Some(back) => event = back,
            }
            changed.await;
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Inlet {
    /// The next event; none when the section has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let is_over = self.0.line().is_over;
            if let Some(event) = self.0.take()? {
                return Ok(Some(event));
            }
            if is_over {
                return Ok(None);
            }
            changed.await;
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// An event as it is written down.
#[derive(Debug, Serialize, Deserialize)]
enum Record {
    Ledger(LedgerLine),
    Directory { path: String, mtime: i64 },
    Metadata { path: String, content: Parked },
    Item { path: String, mtime: i64, content: Parked, given: Option<Sha256Digest> },
    Passed { turn: Turn },
}

impl Record {
    /// What is still in the base, or flows when it is its turn, can't be written down.
    fn park(event: Event) -> io::Result<Result<Self, Event>> {
        Ok(match event {
            Event::Ledger(line) => Ok(Self::Ledger(line)),
            Event::Directory { path, mtime } => Ok(Self::Directory { path, mtime }),
            Event::Passed { turn } => Ok(Self::Passed { turn }),
            Event::Metadata { path, content } => match content.park()? {
                Ok(content) => Ok(Self::Metadata { path, content }),
                Err(content) => Err(Event::Metadata { path, content }),
            },
            Event::Item { path, mtime, content, given } => match content.park()? {
                Ok(content) => Ok(Self::Item { path, mtime, content, given }),
                Err(content) => Err(Event::Item { path, mtime, content, given }),
            },
            event => Err(event),
        })
    }

    fn fetch(self, spool: &Arc<Spool>) -> io::Result<Event> {
        Ok(match self {
            Self::Ledger(line) => Event::Ledger(line),
            Self::Directory { path, mtime } => Event::Directory { path, mtime },
            Self::Passed { turn } => Event::Passed { turn },
            Self::Metadata { path, content } => {
                Event::Metadata { path, content: content.fetch(spool)? }
            }
            Self::Item { path, mtime, content, given } => {
                Event::Item { path, mtime, content: content.fetch(spool)?, given }
            }
        })
    }
}

/// Records in an unlinked file, a line of JSON each, first in, first out.
#[derive(Debug, Default)]
struct Records {
    file: Option<File>,
    /// Where the next one is written, and the next one is read.
    end: u64,
    start: u64,
    count: u64,
}

impl Records {
    fn put(&mut self, record: &Record, dir: &Path) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(dir)?),
        };
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        file.write_all_at(&line, self.end)?;
        self.end += line.len() as u64;
        self.count += 1;
        Ok(())
    }

    /// The next ones, at most `most`, as many as a piece of the file has, but one at least.
    fn take(&mut self, most: usize) -> io::Result<Vec<Record>> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let mut piece = Vec::new();
        while !piece.contains(&b'\n') {
            let left = usize::try_from(self.end - self.start).unwrap_or(usize::MAX);
            let old = piece.len();
            piece.resize(left.min(old + PIECE), 0);
            if piece.len() == old {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.read_exact_at(&mut piece[old..], self.start + old as u64)?;
        }
        let mut records = Vec::new();
        let whole = piece.split_inclusive(|byte| *byte == b'\n');
        for line in whole.take(most).filter(|line| line.ends_with(b"\n")) {
            records.push(serde_json::from_slice(line)?);
            self.start += line.len() as u64;
        }
        self.count -= records.len() as u64;
        if self.count == 0 {
            (self.start, self.end) = (0, 0);
            file.set_len(0)?;
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SpoolOptions;
    use crate::spool::Spooled;

    fn spool(memory_bytes: u64, disk_bytes: u64) -> Arc<Spool> {
        Spool::new(SpoolOptions {
            dir: std::env::temp_dir(),
            disk_bytes,
            memory_bytes,
            inventory_bytes: 0,
        })
    }

    async fn item(spool: &Arc<Spool>, number: u64, bytes: usize) -> Event {
        let mut draft = spool.draft(Turn { section: 1, item: number });
        draft.write(&vec![number as u8; bytes]).await.unwrap();
        let path = format!("{number}\n\u{1f600}");
        let content = draft.finish().unwrap();
        Event::Item { path, mtime: number as i64, content, given: None }
    }

    fn check(event: Option<Event>, number: u64, bytes: usize) {
        let Some(Event::Item { path, mtime, mut content, .. }) = event else {
            panic!("item {number} is not there: {event:?}");
        };
        assert_eq!((path, mtime), (format!("{number}\n\u{1f600}"), number as i64));
        assert_eq!(Spooled::bytes(&mut content).unwrap(), vec![number as u8; bytes]);
    }

    #[tokio::test]
    async fn all_come_in_their_order_and_nothing_of_what_waits_is_in_memory() {
        let spool = spool(1 << 20, 1 << 30);
        let (outlet, mut inlet) = queue(&spool, 4);
        for number in 0..1000 {
            outlet.send(item(&spool, number, 3000).await).await.unwrap();
            if number % 3 == 0 {
                check(inlet.next().await.unwrap(), number / 3, 3000);
            }
        }
        let taken = 334;
        let waiting = {
            let line = outlet.0.line();
            assert!(line.here.len() <= 4);
            line.here.len() as u64 + line.parked.count
        };
        assert_eq!(waiting, 1000 - taken);
        drop(outlet);
        for number in taken..1000 {
            check(inlet.next().await.unwrap(), number, 3000);
        }
        assert!(inlet.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn who_finds_no_room_waits() {
        let spool = spool(1 << 20, 128 * 1024);
        let (outlet, mut inlet) = queue(&spool, 2);
        let sending = tokio::spawn({
            let spool = Arc::clone(&spool);
            async move {
                for number in 0..100 {
                    let event = item(&spool, number, 20_000).await;
                    outlet.send(event).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(!sending.is_finished(), "two in memory, two on half of the disk, no more");
        for number in 0..100 {
            check(inlet.next().await.unwrap(), number, 20_000);
        }
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn a_section_ends_with_its_writer() {
        let spool = spool(1 << 20, 0);
        let (outlet, inlet) = queue(&spool, 1);
        outlet.send(item(&spool, 0, 1).await).await.unwrap();
        drop(inlet);
        let refused = outlet.send(item(&spool, 1, 1).await).await;
        assert!(matches!(refused, Err(Error::Interrupted)));
    }
}
