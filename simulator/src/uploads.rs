//! Upload sessions of a drive (FACTS 5.6): fragments in order, each a multiple of 320 KiB.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::blob::Blob;
use crate::drive::{Conflict, Times};
use crate::error::Refusal;
use crate::sink::Sink;
use crate::spool::Spool;

/// Every fragment but the last is a multiple of this.
const UNIT: u64 = 320 << 10;
/// Every fragment is smaller than this.
const FRAGMENT_LIMIT: u64 = 60 << 20;
/// The largest file there can be.
const LARGEST: u64 = 250 << 30;

/// Where an upload goes.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Item(u32),
    Named { parent: u32, name: String },
}

/// The part of a file that a request carries, from `Content-Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    first: u64,
    last: u64,
    pub(crate) total: u64,
}

/// An upload under way.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) target: Target,
    pub(crate) conflict: Conflict,
    pub(crate) times: Times,
    /// The last fragment does not make the file; an empty POST does.
    pub(crate) deferred: bool,
    /// What the service itself writes behind the content.
    pub(crate) tail: &'static [u8],
    total: Option<u64>,
    received: u64,
    content: Content,
    expires: DateTime<Utc>,
    closed: bool,
}

#[derive(Debug)]
enum Content {
    Nothing,
    Growing(Sink),
    Whole(Blob),
}

/// How contents are kept.
#[derive(Clone, Copy)]
pub(crate) struct Keeping<'a> {
    pub(crate) spool: &'a Spool,
    pub(crate) forget_over: Option<u64>,
}

impl Keeping<'_> {
    /// Keeps content that arrived in one piece.
    pub(crate) fn keep(self, bytes: &[u8], tail: &[u8]) -> std::io::Result<Blob> {
        let len = (bytes.len() + tail.len()) as u64;
        let mut sink = Sink::new(self.spool, len, self.forget_over)?;
        sink.write(bytes)?;
        sink.write(tail)?;
        Ok(sink.finish())
    }
}

/// The sessions of a drive.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    last: u64,
    open: HashMap<u64, Arc<Mutex<Session>>>,
}

impl Uploads {
    /// Opens a session; returns its number.
    pub(crate) fn open(&self, session: Session) -> u64 {
        let mut sessions = self.0.lock().expect("no panic under this lock");
        sessions.last += 1;
        let number = sessions.last;
        sessions.open.insert(number, Arc::new(Mutex::new(session)));
        number
    }

    /// A session that is still open.
    pub(crate) fn get(&self, number: u64) -> Option<Arc<Mutex<Session>>> {
        let sessions = self.0.lock().expect("no panic under this lock");
        sessions.open.get(&number).cloned()
    }

    /// Ends a session.
    pub(crate) fn close(&self, number: u64) {
        self.0.lock().expect("no panic under this lock").open.remove(&number);
    }
}

impl Session {
    pub(crate) fn new(
        target: Target,
        conflict: Conflict,
        times: Times,
        deferred: bool,
        tail: &'static [u8],
    ) -> Session {
        Session {
            target,
            conflict,
            times,
            deferred,
            tail,
            total: None,
            received: 0,
            content: Content::Nothing,
            expires: Utc::now(),
            closed: false,
        }
    }

    /// The session lives for `lifetime` from now on.
    pub(crate) fn renew(&mut self, lifetime: Duration) {
        self.expires = Utc::now() + lifetime;
    }

    /// No more of it.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.closed || self.expires <= Utc::now()
    }

    pub(crate) fn expires(&self) -> String {
        self.expires.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// What is still to come, as `nextExpectedRanges` says it.
    pub(crate) fn expected(&self) -> Vec<String> {
        match self.total {
            Some(total) if self.received == total => Vec::new(),
            _ => vec![format!("{}-", self.received)],
        }
    }

    /// The content, when it is all there.
    pub(crate) fn whole(&self) -> Option<&Blob> {
        match &self.content {
            Content::Whole(blob) => Some(blob),
            Content::Nothing | Content::Growing(_) => None,
        }
    }

    /// Takes a fragment, or says why it does not fit.
    pub(crate) fn take(
        &mut self,
        fragment: Fragment,
        bytes: &[u8],
        keeping: Keeping<'_>,
    ) -> Result<(), Refusal> {
        self.check(fragment, bytes.len() as u64)?;
        let lost = |error: std::io::Error| Refusal::new(500, "generalException", error.to_string());
        if let Content::Nothing = self.content {
            let len = fragment.total + self.tail.len() as u64;
            let sink = Sink::new(keeping.spool, len, keeping.forget_over).map_err(lost)?;
            self.content = Content::Growing(sink);
            self.total = Some(fragment.total);
        }
        let Content::Growing(sink) = &mut self.content else {
            return Err(overlap());
        };
        sink.write(bytes).map_err(lost)?;
        self.received += bytes.len() as u64;
        if self.received == fragment.total {
            sink.write(self.tail).map_err(lost)?;
            if let Content::Growing(sink) = std::mem::replace(&mut self.content, Content::Nothing) {
                self.content = Content::Whole(sink.finish());
            }
        }
        Ok(())
    }

    fn check(&self, fragment: Fragment, len: u64) -> Result<(), Refusal> {
        let bad = |text: &str| Err(Refusal::new(400, "invalidRequest", text));
        if len >= FRAGMENT_LIMIT {
            let text = "The fragment is too large.";
            let refusal = Refusal::new(413, "invalidRequest", text);
            return Err(refusal.with_inner("maxFragmentLengthExceeded"));
        }
        if fragment.total > LARGEST {
            let refusal = Refusal::new(413, "invalidRequest", "The file is too large.");
            return Err(refusal.with_inner("maxFileSizeExceeded"));
        }
        if self.total.is_some_and(|total| total != fragment.total) {
            return bad("The total size differs from that of the fragments before.");
        }
        if fragment.last >= fragment.total || fragment.first > fragment.last {
            return bad("The Content-Range header is invalid.");
        }
        if fragment.last - fragment.first + 1 != len {
            let refusal = Refusal::new(400, "invalidRequest", "The declared length is wrong.");
            return Err(refusal.with_inner("fragmentLengthMismatch"));
        }
        if fragment.first < self.received {
            return Err(overlap());
        }
        if fragment.first > self.received {
            let text = "A fragment before this one is missing.";
            let refusal = Refusal::new(416, "invalidRange", text);
            return Err(refusal.with_inner("fragmentOutOfOrder"));
        }
        if fragment.last + 1 < fragment.total && !len.is_multiple_of(UNIT) {
            return bad("The fragment is not a multiple of 320 KiB.");
        }
        Ok(())
    }
}

fn overlap() -> Refusal {
    let text = "Part of the fragment has been received already.";
    Refusal::new(416, "invalidRange", text).with_inner("fragmentOverlap")
}

impl Fragment {
    /// Reads `bytes FIRST-LAST/TOTAL`.
    pub(crate) fn parse(header: &str) -> Option<Fragment> {
        let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some(Fragment {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            total: total.parse().ok()?,
        })
    }
}
