//! When to try again (FACTS 2.7).

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use http::HeaderMap;
use uuid::Uuid;

use crate::throttle::{Permit, RateLimit};

/// Tries of a request that the service fails.
const SERVER_TRIES: u32 = 5;

/// Tries of a request whose connection breaks before or inside the answer.
const TORN_TRIES: u32 = 8;

/// Tries of content that is known to be given rarely.
const BRIEF_TRIES: u32 = 3;

/// What is "unavailable" for this long, while others are not, is a bad item.
const SPOILT_AFTER: Duration = Duration::from_secs(600);

/// Tries of what is "unavailable" in a mailbox that has a bad item already: it may have thousands.
const SPOILT_TRIES: u32 = 6;

/// The longest delay of our own.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// More than anybody's patience, and less than clocks overflow at.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 86_400);

/// Something that may be over next time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// Told to slow down, perhaps for how long.
    Throttled(Option<Duration>),
    /// 500, 502, 504; perhaps with how long to wait.
    Server(Option<Duration>),
    /// Nobody there.
    Unreachable,
    /// The connection broke.
    Torn,
    /// A damaged item: worth one more try (FACTS 6.2).
    Damaged,
}

/// The tries of one request.
#[derive(Debug)]
pub(crate) struct Attempts {
    patience: Duration,
    /// Whether the scope has outlasted our patience and not answered since.
    is_out: bool,
    base: Duration,
    since: Option<Instant>,
    pub(crate) retries: u32,
    /// Whether a new token has been tried.
    pub(crate) renewed: bool,
    /// Whether the next try needs a new connection (FACTS 2.1).
    pub(crate) reconnect: bool,
    /// Tries that the service may have carried out, although it did not say so.
    pub(crate) open: u32,
    told: u32,
    throttled: u32,
    server: u32,
    unreachable: u32,
    torn: u32,
    damaged: u32,
    /// Times the item itself, not the scope, was "unavailable".
    unavailable: u32,
    /// So many are enough.
    most_unavailable: u32,
}

impl Attempts {
    pub(crate) fn new(patience: Duration, base: Duration) -> Attempts {
        Attempts {
            patience,
            is_out: false,
            base,
            since: None,
            retries: 0,
            renewed: false,
            reconnect: false,
            open: 0,
            told: 0,
            throttled: 0,
            server: 0,
            unreachable: 0,
            torn: 0,
            damaged: 0,
            unavailable: 0,
            most_unavailable: u32::MAX,
        }
    }

    /// Gives up soon on content that is "unavailable" (FACTS 3.6: parts of notebooks often are).
    /// What is said of the scope, by 429, is waited for as ever.
    pub(crate) fn brief(mut self) -> Attempts {
        self.most_unavailable = BRIEF_TRIES;
        self
    }

    /// Before each try. What it waited for a budget of ours is no trouble with the service; where
    /// the scope has outlasted our patience before, one try tells whether it is back.
    pub(crate) fn admitted(&mut self, permit: &Permit) {
        self.paced(permit.paced);
        self.is_out = permit.lane.is_out();
        if permit.lane.is_spoilt() {
            self.most_unavailable = self.most_unavailable.min(SPOILT_TRIES);
        }
    }

    fn paced(&mut self, waited: Duration) {
        if let Some(since) = &mut self.since {
            *since += waited;
        }
    }

    /// It was "unavailable" once more, and not its scope. True when that has been so for so long, or
    /// so often, that it may be the item.
    pub(crate) fn may_be_spoilt(&mut self) -> bool {
        self.unavailable += 1;
        let since = self.since.get_or_insert_with(Instant::now);
        self.unavailable >= self.most_unavailable || since.elapsed() >= SPOILT_AFTER
    }

    /// How long to wait before the next try, or none if there is to be none.
    pub(crate) fn after(&mut self, trouble: Trouble, jitter: f64) -> Option<Duration> {
        let elapsed = self.since.get_or_insert_with(Instant::now).elapsed();
        let (count, tries) = match trouble {
            Trouble::Throttled(Some(_)) => (&mut self.told, u32::MAX),
            Trouble::Throttled(None) => (&mut self.throttled, u32::MAX),
            Trouble::Server(_) => (&mut self.server, SERVER_TRIES),
            Trouble::Unreachable => (&mut self.unreachable, u32::MAX),
            Trouble::Torn => (&mut self.torn, TORN_TRIES),
            Trouble::Damaged => (&mut self.damaged, 2),
        };
        // FACTS 2.7 names a delay for refusals only. A broken connection is made anew at once,
        // a failing server gets a moment.
        let base = match trouble {
            Trouble::Torn => self.base / 16,
            Trouble::Server(_) | Trouble::Damaged => self.base / 4,
            _ => self.base,
        };
        let delay = backoff(base, *count, jitter);
        *count = count.saturating_add(1);
        if *count >= tries || elapsed >= self.patience || self.is_out {
            return None;
        }
        let left = self.patience - elapsed;
        let delay = match trouble {
            Trouble::Throttled(Some(told)) | Trouble::Server(Some(told)) if told > left => {
                return None;
            }
            Trouble::Throttled(Some(told)) => obeyed(told, base, jitter),
            Trouble::Server(Some(told)) => told.max(delay),
            _ => delay.min(left),
        };
        self.retries += 1;
        self.reconnect |= !matches!(trouble, Trouble::Throttled(_) | Trouble::Damaged);
        Some(delay)
    }

    /// Bytes arrived: what was wrong before is over.
    pub(crate) fn progress(&mut self) {
        *self = Attempts {
            retries: self.retries,
            most_unavailable: self.most_unavailable,
            ..Attempts::new(self.patience, self.base)
        };
    }
}

/// Exponential with jitter: between half of `base` times 2^`step` and all of it.
pub(crate) fn backoff(base: Duration, step: u32, jitter: f64) -> Duration {
    let longest = base.saturating_mul(1 << step.min(20)).min(LONGEST_BACKOFF);
    longest.mul_f64(0.5 + jitter / 2.0)
}

/// The wait that was told; where it is none, or over by our clock, one of ours, or we would be
/// refused as fast as the network goes.
pub(crate) fn obeyed(told: Duration, base: Duration, jitter: f64) -> Duration {
    if told.is_zero() { backoff(base, 0, jitter) } else { told }
}

/// A number from 0 to 1 that differs from request to request. It only ever moves delays.
pub(crate) fn jitter(id: Uuid) -> f64 {
    let bytes = id.as_bytes();
    f64::from(u16::from_be_bytes([bytes[0], bytes[1]])) / f64::from(u16::MAX)
}

/// How long the service wants us to wait: the longer of `Retry-After` (seconds, perhaps with a
/// fraction, or a date) and `RateLimit-Reset` (FACTS 2.1, 2.3).
pub(crate) fn told_wait(headers: &HeaderMap) -> Option<Duration> {
    let after = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let after = after.map(str::trim).and_then(|text| {
        seconds(text).or_else(|| {
            let until = http_date(text)?;
            let now = date(headers).unwrap_or_else(Utc::now);
            Some((until - now).to_std().unwrap_or_default())
        })
    });
    let reset = RateLimit::read(headers).map(|limit| limit.reset);
    after.max(reset).map(|wait| wait.min(LONGEST_WAIT))
}

/// The service's clock.
pub(crate) fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    http_date(headers.get(http::header::DATE)?.to_str().ok()?)
}

/// A number of seconds in a header; never so many that clocks overflow.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let wait = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
    Some(wait.min(LONGEST_WAIT))
}

fn http_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn waits_are_read() {
        const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        type Case = (&'static [(&'static str, &'static str)], Option<u64>);
        let cases: [Case; 10] = [
            (&[], None),
            (&[("retry-after", "2.128")], Some(2128)),
            (&[("retry-after", "0")], Some(0)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "1e18")], Some(2_592_000_000)),
            (&[DATE, ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60_000)),
            (&[DATE, ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")], Some(0)),
            (
                &[("retry-after", "1"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "7")],
                Some(7000),
            ),
            (
                &[("retry-after", "9"), ("ratelimit-remaining", "0;w=1"), ("ratelimit-reset", "7")],
                Some(9000),
            ),
        ];
        for (pairs, expected) in cases {
            let wait = told_wait(&headers(pairs));
            assert_eq!(wait, expected.map(Duration::from_millis), "{pairs:?}");
        }
    }

    #[test]
    fn each_trouble_has_its_number_of_tries() {
        let hour = Duration::from_secs(3600);
        let tries = |trouble| {
            let mut attempts = Attempts::new(hour, Duration::from_millis(1));
            1 + (0..100).take_while(|_| attempts.after(trouble, 0.5).is_some()).count()
        };
        assert_eq!(tries(Trouble::Server(None)), 5);
        assert_eq!(tries(Trouble::Torn), 8);
        assert_eq!(tries(Trouble::Damaged), 2);
        assert_eq!(tries(Trouble::Throttled(None)), 101);
        assert_eq!(tries(Trouble::Unreachable), 101);
        assert_eq!(tries(Trouble::Throttled(Some(hour + hour))), 1);
    }

    #[test]
    fn waiting_for_a_budget_is_not_the_services_fault() {
        let minute = Duration::from_secs(60);
        let mut attempts = Attempts::new(minute, Duration::from_millis(1));
        assert!(attempts.after(Trouble::Throttled(None), 0.5).is_some());
        let begun = attempts.since.unwrap();
        attempts.since = begun.checked_sub(2 * minute).or(Some(begun));
        attempts.paced(2 * minute);
        assert!(attempts.after(Trouble::Throttled(None), 0.5).is_some());
    }

    #[test]
    fn delays_grow_to_five_minutes() {
        let second = Duration::from_secs(1);
        assert_eq!(backoff(second, 0, 1.0), second);
        assert_eq!(backoff(second, 3, 0.0), Duration::from_secs(4));
        assert_eq!(backoff(second, 40, 1.0), Duration::from_secs(300));
    }
}
