//! Workers that do not know of each other, at one budget: what the rules of [`Memory`] make of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::config::{Config, Pace};
use crate::throttle::budgets::Rules;
use crate::throttle::memory::{Cost, Entry, Memory};
use crate::throttle::signals::{RateLimit, Signals};

const ONE: Cost = Cost { units: 1, written: 0 };
const MINUTE: Duration = Duration::from_secs(60);
const LIMIT: u64 = 1_250;
const LENGTH: Duration = Duration::from_secs(40 * 60);

/// How the service counts.
#[derive(Clone, Copy, Debug)]
enum Counting {
    /// So many from one full minute to the next.
    Fixed,
    /// A bucket that leaks so many a minute, and that refused requests fill as well.
    Leaky,
}

struct Service {
    counting: Counting,
    window: u128,
    level: f64,
    at: Duration,
    /// Whether it names what is left.
    tells: bool,
    refused: u64,
    passed: u64,
    /// Since and until when which worker knows that it has to wait, and what it sent all the same.
    pauses: Vec<(Duration, Duration)>,
    intruders: u64,
}

enum Answer {
    Good(Signals),
    Refused(Duration),
}

impl Service {
    fn ask(&mut self, at: Duration) -> Answer {
        let leak = LIMIT as f64 / MINUTE.as_secs_f64();
        let reset = match self.counting {
            Counting::Fixed => {
                let window = at.as_nanos() / MINUTE.as_nanos();
                if window != self.window {
                    (self.window, self.level) = (window, 0.0);
                }
                MINUTE - Duration::from_nanos((at.as_nanos() % MINUTE.as_nanos()) as u64)
            }
            Counting::Leaky => {
                self.level -= (at - self.at).as_secs_f64() * leak;
                self.level = self.level.max(0.0);
                Duration::from_secs_f64((self.level / leak).min(10.0))
            }
        };
        self.at = at;
        self.level += 1.0;
        if self.level > LIMIT as f64 {
            self.level = self.level.min(LIMIT as f64 * 1.1);
            self.refused += 1;
            return Answer::Refused(reset.max(Duration::from_secs(1)));
        }
        self.passed += 1;
        let remaining = LIMIT - self.level as u64;
        let near = self.tells && self.level >= 0.8 * LIMIT as f64;
        let rate_limit = near.then_some(RateLimit { limit: Some(LIMIT), remaining, reset });
        Answer::Good(Signals { rate_limit, ..Signals::default() })
    }
}

/// Part of the service's limit that was used, and of all requests that were refused.
fn run(workers: usize, pace: Pace, counting: Counting, tells: bool) -> (f64, f64) {
    let mut config = Config::new("t");
    config.pace = pace;
    let rules = Rules::new("sharepoint", &config);
    let mut memories: Vec<_> = (0..workers).map(|_| Memory::new(&rules)).collect();
    let mut service = Service {
        counting,
        window: 0,
        level: 0.0,
        at: Duration::ZERO,
        tells,
        refused: 0,
        passed: 0,
        pauses: vec![(Duration::MAX, Duration::ZERO); workers],
        intruders: 0,
    };
    // Each worker has eight tasks. An event is a task that wants to send, or a request that arrives.
    let mut events = BinaryHeap::new();
    let mut number = 0_u64;
    for task in 0..workers * 8 {
        events.push(Reverse((
            Duration::from_millis(task as u64),
            task as u64,
            task % workers,
            None,
        )));
    }
    while let Some(Reverse((at, n, worker, sent))) = events.pop() {
        if at > LENGTH {
            break;
        }
        number += 1;
        let memory = &mut memories[worker];
        // Between 50 and 150 ms there and as long back.
        let latency = Duration::from_millis(50 + (n * 7919 + number * 104_729) % 101);
        match sent {
            None => match memory.enter(&rules, at, ONE) {
                Entry::Now => events.push(Reverse((at + latency, n, worker, Some(at)))),
                Entry::Paused(wait) | Entry::Budget(wait) => {
                    events.push(Reverse((at + wait, n, worker, None)));
                }
            },
            Some(sent) => {
                let (since, until) = service.pauses[worker];
                service.intruders += u64::from(since < sent && sent < until);
                match service.ask(at) {
                    Answer::Good(signals) => {
                        memory.answered(&rules, (sent, at), ONE, signals, true);
                    }
                    Answer::Refused(wait) => {
                        memory.answered(&rules, (sent, at), ONE, Signals::default(), false);
                        memory.refused(&rules, at, Some(wait), Duration::ZERO, 0.0);
                        let since = if at < until { since } else { at };
                        service.pauses[worker] = (since, until.max(at + wait));
                    }
                }
                events.push(Reverse((at + latency, n, worker, None)));
            }
        }
    }
    assert_eq!(service.intruders, 0, "sent in a pause");
    let best = LIMIT as f64 * LENGTH.as_secs_f64() / MINUTE.as_secs_f64();
    let share = service.refused as f64 / (service.refused + service.passed) as f64;
    (service.passed as f64 / best, share)
}

#[test]
fn who_adapts_finds_its_part() {
    for counting in [Counting::Fixed, Counting::Leaky] {
        for tells in [false, true] {
            for (workers, most_refused) in [(1, 0.0), (2, 0.005), (8, 0.012), (32, 0.05)] {
                let (used, refused) = run(workers, Pace::Adaptive, counting, tells);
                let case = format!("{workers} workers, {counting:?}, tells {tells}");
                assert!(used > 0.97, "{case}: {used} used");
                assert!(refused <= most_refused, "{case}: {refused} refused");
            }
        }
    }
}

#[test]
fn who_does_not_adapt_is_refused_more_and_more() {
    let (used, refused) = run(32, Pace::Documented, Counting::Leaky, false);
    assert!(used < 0.6 && refused > 0.5, "{used} used, {refused} refused");
    let (used, refused) = run(1, Pace::Documented, Counting::Leaky, false);
    assert!(used > 0.97 && refused == 0.0, "{used} used, {refused} refused");
}
