//! What clients did: every request, and counts that never forget.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;

use crate::throttle::Area;

/// One request.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its number; 1 is the first.
    pub seq: u64,
    /// Milliseconds since the simulator started.
    pub at: u64,
    /// Which of the simulated hosts was asked.
    pub host: Host,
    /// GET, POST, ...
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// The query as sent, without what would open a file.
    pub query: String,
    /// The status answered; 0 when the connection was closed instead.
    pub status: u16,
    /// The user id of the mailbox, or the drive id.
    pub owner: Option<String>,
    /// The fault that hit.
    pub fault: Option<String>,
    /// Whether the request carried an `Authorization` header.
    pub authorization: bool,
    /// The first `Prefer` header as sent: the size of pages.
    pub prefer: Option<String>,
    /// Whether it arrived inside a `$batch`.
    pub batched: bool,
    /// Whether it was sent into a scope that had been told to wait.
    pub during_retry_after: bool,
    /// The `User-Agent` header.
    pub user_agent: String,
}

/// The hosts that a real tenant has and a simulator plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// graph.microsoft.com
    Graph,
    /// login.microsoftonline.com
    Login,
    /// The machine's identity endpoint.
    Imds,
    /// contoso-my.sharepoint.com
    Download,
    /// The control API of the simulator.
    Control,
}

/// The request log.
pub struct Log {
    started: Instant,
    capacity: usize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    last: u64,
    records: VecDeque<Record>,
    counts: Counts,
    in_flight: BTreeMap<String, usize>,
}

/// Totals since the start or the last [`Log::clear`].
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// All requests but those of the control API.
    pub requests: u64,
    /// By status; 0 counts closed connections.
    pub by_status: BTreeMap<u16, u64>,
    /// By fault that hit.
    pub by_fault: BTreeMap<String, u64>,
    /// 429 that the client provoked: over a limit, or while told to wait.
    pub provoked: u64,
    /// Requests sent into a scope that had been told to wait.
    pub during_retry_after: u64,
    /// Downloads that carried an `Authorization` header.
    pub leaked_authorization: u64,
    /// The most requests in flight at a time, by mailbox (user id).
    pub max_concurrent: BTreeMap<String, usize>,
    /// Resource units that SharePoint would have charged (FACTS 2.3), by drive.
    pub resource_units: BTreeMap<String, u64>,
    /// Bytes of the bodies of writes that were let in, by mailbox (user id).
    pub uploaded: BTreeMap<String, u64>,
    /// By scope: a mailbox (user id), `sharepoint` or `directory`.
    pub scopes: BTreeMap<String, ScopeCounts>,
}

/// Totals of one scope. Downloads are SharePoint's, parts of a batch count one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeCounts {
    /// Requests, refused ones included.
    pub requests: u64,
    /// What they cost: resource units, or as many as requests in a mailbox.
    pub units: u64,
    /// 429 that the client provoked: over a limit, or while told to wait.
    pub provoked: u64,
    /// Requests sent although the client had been told to wait.
    pub during_retry_after: u64,
    /// The most requests in flight at a time.
    pub max_concurrent: usize,
}

/// What scopes of mailboxes begin with; the user id follows.
const MAILBOX: &str = "mailbox:";

impl Book {
    /// The totals of a scope of the services.
    fn scope(&mut self, scope: &str) -> Option<&mut ScopeCounts> {
        Area::of(scope)?;
        let name = scope.strip_prefix(MAILBOX).unwrap_or(scope);
        Some(self.counts.scopes.entry(name.to_owned()).or_default())
    }
}

impl Log {
    pub(crate) fn new(capacity: usize) -> Log {
        Log { started: Instant::now(), capacity, book: Mutex::default() }
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("no panic under this lock")
    }

    /// The requests remembered in full, oldest first.
    pub fn records(&self) -> Vec<Record> {
        self.book().records.iter().cloned().collect()
    }

    /// How many remembered requests satisfy a condition.
    pub fn count(&self, condition: impl Fn(&Record) -> bool) -> usize {
        self.book().records.iter().filter(|record| condition(record)).count()
    }

    /// The totals.
    pub fn counts(&self) -> Counts {
        self.book().counts.clone()
    }

    /// Requests sent into a scope that had been told to wait.
    pub fn during_retry_after(&self) -> u64 {
        self.book().counts.during_retry_after
    }

    /// 429 that the client provoked.
    pub fn provoked(&self) -> u64 {
        self.book().counts.provoked
    }

    /// The most requests in flight at a time on one mailbox (user id), or on any with `None`.
    pub fn max_concurrent(&self, mailbox: Option<&str>) -> usize {
        let book = self.book();
        let most = &book.counts.max_concurrent;
        match mailbox {
            Some(mailbox) => most.get(mailbox).copied().unwrap_or(0),
            None => most.values().copied().max().unwrap_or(0),
        }
    }

    /// Forgets records and totals.
    pub fn clear(&self) {
        let mut book = self.book();
        book.records.clear();
        book.counts = Counts::default();
    }

    /// Writes a request down. `provoked`: its 429 was the client's own fault.
    pub(crate) fn add(&self, mut record: Record, provoked: bool) {
        let mut book = self.book();
        book.last += 1;
        record.seq = book.last;
        record.at = self.started.elapsed().as_millis() as u64;
        if record.host != Host::Control {
            let counts = &mut book.counts;
            counts.requests += 1;
            *counts.by_status.entry(record.status).or_default() += 1;
            if let Some(fault) = &record.fault {
                *counts.by_fault.entry(fault.clone()).or_default() += 1;
            }
            counts.provoked += u64::from(provoked);
            counts.during_retry_after += u64::from(record.during_retry_after);
            counts.leaked_authorization +=
                u64::from(record.host == Host::Download && record.authorization);
        }
        if self.capacity > 0 {
            if book.records.len() == self.capacity {
                book.records.pop_front();
            }
            book.records.push_back(record);
        }
    }

    pub(crate) fn charge(&self, drive: &str, units: u64) {
        *self.book().counts.resource_units.entry(drive.to_owned()).or_default() += units;
    }

    /// Counts a request into a scope; returns how many are in flight there now.
    pub(crate) fn enter(&self, scope: &str, units: u64) -> usize {
        let mut book = self.book();
        let now = book.in_flight.entry(scope.to_owned()).or_default();
        *now += 1;
        let now = *now;
        if let Some(mailbox) = scope.strip_prefix(MAILBOX) {
            let most = book.counts.max_concurrent.entry(mailbox.to_owned()).or_default();
            *most = now.max(*most);
        }
        if let Some(counts) = book.scope(scope) {
            counts.requests += 1;
            counts.units += units;
            counts.max_concurrent = now.max(counts.max_concurrent);
        }
        now
    }

    /// Counts the body of a request that was let in.
    pub(crate) fn let_in(&self, scope: &str, written: u64) {
        if let Some(mailbox) = scope.strip_prefix(MAILBOX).filter(|_| written > 0) {
            *self.book().counts.uploaded.entry(mailbox.to_owned()).or_default() += written;
        }
    }

    /// Counts a request that was refused by its scope.
    pub(crate) fn refused(&self, scope: &str, told: bool) {
        if let Some(counts) = self.book().scope(scope) {
            counts.provoked += 1;
            counts.during_retry_after += u64::from(told);
        }
    }

    pub(crate) fn leave(&self, scope: &str) {
        let mut book = self.book();
        if let Some(now) = book.in_flight.get_mut(scope) {
            *now -= 1;
            if *now == 0 {
                book.in_flight.remove(scope);
            }
        }
    }
}
