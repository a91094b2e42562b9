//! Deliberate misbehaviour: which request is hit, and how often.
//!
//! A fault is written `NAME[:key=value,...]`, for instance `throttle:rate=0.05,seconds=0.4` or
//! `truncate:times=2,match=$value`. Whether a request is hit depends on the fault seed, on the
//! request itself and on how often it was made, never on timing: a run can be repeated.
//! Parameters:
//!
//! * `rate=0.05`: the share of requests hit; a repeated request draws anew. Without a rate every
//!   request is hit, and then `times` is 1 unless given; `vanish` and `change` hit 5 % of the
//!   items. Flaws of items are permanent: by default `corrupt` has 2 %, `malware` 5 % and
//!   `size-lie` 20 % of them, other flaws all.
//! * `times=N`: at most N hits per URL; writes to one URL that differ in their bodies count apart.
//! * `after=N`: spares the first N requests it would apply to.
//! * `match=TEXT`: applies only where `METHOD /path?query`, decoded, contains TEXT.
//! * `seconds=S`: how long throttling lasts (fractions allowed).
//! * `versions=gone|kept`: what `restless` does with older versions.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crate::Error;
use crate::dice;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The ways in which the service can fail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[doc = $doc])+ $variant,)+ }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)+];

            /// The name used in fault texts, in the log and over HTTP.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)+ }
            }

            fn from_name(name: &str) -> Option<Kind> {
                match name { $($name => Some(Kind::$variant),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// 429 with a fractional `Retry-After`; the scope stays closed until it has passed.
    Throttle = "throttle",
    /// 429 without the header.
    ThrottleBare = "throttle-bare",
    /// 503 with a Graph error body and `Retry-After`; closes the scope as well.
    Unavailable = "unavailable",
    /// 504.
    Timeout = "timeout",
    /// 500 `ErrorInternalServerTransientError` or `generalException`.
    ServerError = "server-error",
    /// 502 with the HTML page of a proxy.
    HtmlError = "html-error",
    /// 503 without a body.
    Empty503 = "empty-503",
    /// The connection is closed before any reply.
    Reset = "reset",
    /// The body ends before its `Content-Length` or its last chunk.
    Truncate = "truncate",
    /// The access token is refused with 401 from here on; a new one works.
    TokenExpiry = "token-expiry",
    /// A delta token is refused: 410 with `Location` or `SyncStateNotFound`.
    DeltaGone = "delta-gone",
    /// A list that is there is answered with 404, a later page of one with 404, 410 or 400.
    Missing = "missing",
    /// Delta pages contain objects several times.
    Repeat = "repeat",
    /// Rows are permuted within their page.
    Reorder = "reorder",
    /// An item is deleted between list and fetch.
    Vanish = "vanish",
    /// An item changes between list and fetch.
    Change = "change",
    /// When a folder has been listed, a mail moves into it from a folder not listed yet.
    Move = "move",
    /// 500 `ErrorMimeContentConversionFailed` for S/MIME mails, and for a share of all by `rate`.
    Mime = "mime",
    /// 500 `ErrorCorruptData`, always for the same items.
    Corrupt = "corrupt",
    /// Files carry the malware facet and are refused.
    Malware = "malware",
    /// Listed sizes are wrong.
    SizeLie = "size-lie",
    /// A download URL dies in mid-body or before its first use.
    UrlExpired = "url-expired",
    /// Generated MIME boundaries differ from fetch to fetch.
    UnstableMime = "unstable-mime",
    /// The largest file of a drive changes with every read.
    Restless = "restless",
    /// Downloads and MIME come without `Content-Length`.
    NoLength = "no-length",
    /// Downloads answer a `Range` with 200 and everything.
    RangeIgnored = "range-ignored",
    /// A write is carried out, then the connection is closed without a reply.
    ResetAfter = "reset-after",
    /// A write is carried out, then answered with 503 or 504.
    ErrorAfter = "error-after",
    /// An upload session vanishes: 404.
    SessionLost = "session-lost",
    /// A write is refused with 507: the mailbox or drive is full.
    Quota = "quota",
    /// A write is refused with 413.
    TooLarge = "too-large",
    /// A write is refused with 409.
    Conflict = "conflict",
}

impl Kind {
    /// The kinds that only writes can meet; every other can strike reads and writes alike.
    pub const OF_WRITES: &'static [Kind] = &[
        Kind::ResetAfter,
        Kind::ErrorAfter,
        Kind::SessionLost,
        Kind::Quota,
        Kind::TooLarge,
        Kind::Conflict,
    ];

    /// The share hit when a fault has no rate of its own; `None`: all, but each only once.
    fn usual_rate(self) -> Option<f64> {
        match self {
            Kind::Vanish | Kind::Change | Kind::Malware => Some(0.05),
            Kind::Corrupt => Some(0.02),
            Kind::SizeLie => Some(0.2),
            Kind::Mime => Some(0.0),
            _ => None,
        }
    }
}

/// One fault and when it strikes.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What happens.
    pub kind: Kind,
    /// The share of requests hit.
    pub rate: Option<f64>,
    /// At most this many hits per URL.
    pub times: Option<u32>,
    /// Requests spared at the beginning.
    pub after: u64,
    /// Only where `METHOD /path?query` contains this.
    pub matching: Option<String>,
    /// How long throttling lasts.
    pub seconds: Option<f64>,
    /// Whether a restless file's older versions can be fetched.
    pub keep_versions: bool,
}

impl Fault {
    /// The fault as its bare name would give it.
    pub fn new(kind: Kind) -> Fault {
        Fault {
            kind,
            rate: None,
            times: None,
            after: 0,
            matching: None,
            seconds: None,
            keep_versions: true,
        }
    }

    /// How long a throttled scope stays closed.
    pub(crate) fn pause(&self) -> f64 {
        self.seconds.unwrap_or(0.375)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        match key {
            "rate" => self.rate = Some(number().filter(|n| *n <= 1.0).ok_or("is from 0 to 1")?),
            "times" => self.times = Some(value.parse().map_err(|_| "is a whole number")?),
            "after" => self.after = value.parse().map_err(|_| "is a whole number")?,
            "match" => self.matching = Some(value.to_owned()),
            "seconds" => self.seconds = Some(number().ok_or("is a number of seconds")?),
            "versions" if value == "gone" => self.keep_versions = false,
            "versions" if value == "kept" => self.keep_versions = true,
            "versions" => return Err("is gone or kept".into()),
            _ => return Err("is unknown".into()),
        }
        Ok(())
    }
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Fault, Error> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let kind = Kind::from_name(name)
            .ok_or_else(|| Error::Setting(format!("no fault is called {name:?}")))?;
        let mut fault = Fault::new(kind);
        for parameter in parameters.split(',').filter(|p| !p.is_empty()) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            fault
                .set(key, value)
                .map_err(|why| Error::Setting(format!("fault {name}: {key} {why}")))?;
        }
        Ok(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parameters = Vec::new();
        parameters.extend(self.rate.map(|v| format!("rate={v}")));
        parameters.extend(self.times.map(|v| format!("times={v}")));
        parameters.extend((self.after > 0).then(|| format!("after={}", self.after)));
        parameters.extend(self.matching.as_ref().map(|v| format!("match={v}")));
        parameters.extend(self.seconds.map(|v| format!("seconds={v}")));
        parameters.extend((!self.keep_versions).then(|| "versions=gone".to_owned()));
        let separator = if parameters.is_empty() { "" } else { ":" };
        write!(f, "{}{separator}{}", self.kind.name(), parameters.join(","))
    }
}

/// The faults in force.
pub(crate) struct Faults {
    seed: u64,
    armed: RwLock<Arc<Vec<Armed>>>,
}

struct Armed {
    fault: Fault,
    position: u64,
    seen: AtomicU64,
    /// By request: how often it was made, how often it was hit.
    history: Mutex<HashMap<u64, (u64, u32)>>,
}

impl Faults {
    pub(crate) fn new(seed: u64, faults: Vec<Fault>) -> Faults {
        let faults_in_force = Faults { seed, armed: RwLock::default() };
        faults_in_force.replace(faults);
        faults_in_force
    }

    /// Puts other faults in force; counts start anew.
    pub(crate) fn replace(&self, faults: Vec<Fault>) {
        let armed = faults.into_iter().enumerate().map(|(position, fault)| Armed {
            fault,
            position: position as u64,
            seen: AtomicU64::new(0),
            history: Mutex::default(),
        });
        *self.armed.write().expect("no panic under this lock") = Arc::new(armed.collect());
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.current().iter().map(|armed| armed.fault.to_string()).collect()
    }

    fn current(&self) -> Arc<Vec<Armed>> {
        Arc::clone(&self.armed.read().expect("no panic under this lock"))
    }

    /// Whether this request is hit now. `line` is `METHOD /path?query`; `key` tells requests
    /// apart, so that a repeated one counts as such.
    pub(crate) fn strikes(&self, kind: Kind, line: &str, key: &str) -> Option<Fault> {
        let current = self.current();
        let hit = current
            .iter()
            .filter(|armed| armed.fault.kind == kind && armed.applies(line))
            .find(|armed| armed.strikes(self.seed, key));
        hit.map(|armed| armed.fault.clone())
    }

    /// As [`Faults::strikes`], but only for faults with a `match`.
    pub(crate) fn strikes_named(&self, kind: Kind, line: &str, key: &str) -> Option<Fault> {
        let named = self.current().iter().any(|armed| {
            armed.fault.kind == kind && armed.fault.matching.is_some() && armed.applies(line)
        });
        named.then(|| self.strikes(kind, line, key)).flatten()
    }

    /// Whether the thing called `key` has this flaw; the answer never changes.
    pub(crate) fn marks(&self, kind: Kind, line: &str, key: &str) -> Option<Fault> {
        let current = self.current();
        let marked = |armed: &&Armed| {
            let draw = dice::unit(&[self.seed, armed.position, dice::text(key)]);
            draw < armed.rate().unwrap_or(1.0)
        };
        let hit = current
            .iter()
            .filter(|armed| armed.fault.kind == kind && armed.applies(line))
            .find(marked);
        hit.map(|armed| armed.fault.clone())
    }

    /// Whether there is such a fault at all for this request.
    pub(crate) fn present(&self, kind: Kind, line: &str) -> bool {
        self.current().iter().any(|armed| armed.fault.kind == kind && armed.applies(line))
    }
}

impl Armed {
    fn rate(&self) -> Option<f64> {
        self.fault.rate.or_else(|| self.fault.kind.usual_rate())
    }

    fn applies(&self, line: &str) -> bool {
        self.fault.matching.as_ref().is_none_or(|text| line.contains(text.as_str()))
    }

    fn strikes(&self, seed: u64, key: &str) -> bool {
        if self.seen.fetch_add(1, Ordering::Relaxed) < self.fault.after {
            return false;
        }
        let key = dice::text(key);
        let limit = match (self.fault.times, self.rate()) {
            (Some(times), _) => times,
            (None, Some(_)) => u32::MAX,
            (None, None) => 1,
        };
        let mut history = self.history.lock().expect("no panic under this lock");
        let (attempts, hits) = history.entry(key).or_default();
        let draw = dice::unit(&[seed, self.position, key, *attempts]);
        *attempts += 1;
        let strikes = *hits < limit && draw < self.rate().unwrap_or(1.0);
        *hits += u32::from(strikes);
        strikes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for text in
            ["throttle", "reset:rate=0.05,times=2,after=10,match=$value", "restless:versions=gone"]
        {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        for text in ["", "thrttle", "reset:rate=2", "reset:colour=red", "restless:versions=maybe"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_same_seed_hits_the_same_requests() {
        let run = |seed| {
            let faults = Faults::new(seed, vec!["reset:rate=0.2".parse().unwrap()]);
            let hit =
                |n: &u32| faults.strikes(Kind::Reset, "GET /", &format!("GET /{n}")).is_some();
            (0..1000).filter(hit).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!((150..250).contains(&run(1).len()));
    }

    #[test]
    fn a_bare_fault_hits_each_url_once() {
        let faults = Faults::new(1, vec!["timeout".parse().unwrap()]);
        let hit = |key| faults.strikes(Kind::Timeout, "GET /a", key).is_some();
        assert_eq!(
            [hit("a"), hit("a"), hit("b"), hit("a"), hit("b")],
            [true, false, true, false, false]
        );
    }
}
