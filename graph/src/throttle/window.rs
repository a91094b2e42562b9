//! So many units in any stretch of time.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::throttle::budgets::Measure;

/// Slots that a window is divided into: finer ones lose less of the budget.
const SLOTS: u64 = 240;

/// What was used within the last `length`. Unlike a bucket that is refilled, it never lets twice
/// the budget pass in the first window, and it wastes no more than a slot of it.
///
/// The service counts a request when it arrives, which is some time between its start and its
/// answer. So what is taken when it starts is moved to when it was answered ([`Window::settle`]):
/// whenever the service counted it, we count it for at least as long, and no stretch of the
/// service's time exceeds the limit, however late requests arrive. (Answers that take longer than
/// the whole window are the exception.)
///
/// Times are since any moment that all users of the window agree on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) measure: Measure,
    pub(crate) length: Duration,
    /// Used slots only, so that a mailbox that is rarely asked costs little memory.
    used: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Window {
    pub(crate) fn new(measure: Measure, length: Duration) -> Window {
        Window { measure, length, used: VecDeque::new(), sum: 0 }
    }

    /// How long until `units` may pass when `limit` are ours; zero for now.
    pub(crate) fn delay(&mut self, at: Duration, units: u64, limit: u64) -> Duration {
        self.expire(at);
        let mut sum = self.sum;
        for (slot, count) in &self.used {
            // More units than the limit pass alone, else they never would.
            if sum == 0 || sum + units <= limit {
                break;
            }
            sum -= count;
            if sum == 0 || sum + units <= limit {
                return self.start(slot + SLOTS + 1).saturating_sub(at);
            }
        }
        Duration::ZERO
    }

    pub(crate) fn take(&mut self, at: Duration, units: u64) {
        let current = self.expire(at);
        match self.used.back_mut() {
            Some((slot, count)) if *slot == current => *count += units,
            _ => self.used.push_back((current, units)),
        }
        self.sum += units;
    }

    /// What was taken at `sent` as `assumed` has arrived by `at`, and was `actual`.
    pub(crate) fn settle(&mut self, sent: Duration, at: Duration, assumed: u64, actual: u64) {
        self.expire(at);
        let slot = self.slot(sent);
        if let Ok(place) = self.used.binary_search_by_key(&slot, |(slot, _)| *slot) {
            let (_, count) = &mut self.used[place];
            let moved = assumed.min(*count);
            *count -= moved;
            self.sum -= moved;
        }
        self.take(at, actual);
    }

    /// Whether forgetting this window would forget nothing.
    pub(crate) fn is_idle(&mut self, at: Duration) -> bool {
        self.expire(at);
        self.sum == 0
    }

    /// Whether both times are the same to this window.
    pub(crate) fn is_same(&self, one: Duration, other: Duration) -> bool {
        self.slot(one) == self.slot(other)
    }

    fn width(&self) -> u128 {
        (self.length.as_nanos() / u128::from(SLOTS)).max(1)
    }

    fn slot(&self, at: Duration) -> u64 {
        u64::try_from(at.as_nanos() / self.width()).unwrap_or(u64::MAX)
    }

    fn start(&self, slot: u64) -> Duration {
        let nanos = self.width().saturating_mul(u128::from(slot));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Drops what is older than the window and one slot, and returns the slot of `at`, or the
    /// newest one if that is later.
    fn expire(&mut self, at: Duration) -> u64 {
        let newest = self.used.back().map_or(0, |(slot, _)| *slot);
        let current = self.slot(at).max(newest);
        while let Some((slot, count)) = self.used.front() {
            if slot + SLOTS >= current && *count > 0 {
                break;
            }
            self.sum -= count;
            self.used.pop_front();
        }
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(600);
    const LIMIT: u64 = 10_000;
    /// The default share of it.
    const OURS: u64 = 9_900;

    /// Sends as fast as the window allows, one request every `gap`, each of which arrives after
    /// `latency` of its number and is answered as much later. Returns when they arrived.
    fn greedy(count: u64, gap: Duration, latency: impl Fn(u64) -> Duration) -> Vec<Duration> {
        let mut window = Window::new(Measure::Units, LENGTH);
        let mut now = Duration::from_secs(12_345);
        let mut arrived = Vec::new();
        let mut answers = std::collections::BTreeMap::new();
        for n in 0..count {
            loop {
                while let Some(((at, _), sent)) = answers.pop_first() {
                    if at > now {
                        answers.insert((at, n + count), sent);
                        break;
                    }
                    window.settle(sent, at, 1, 1);
                }
                match window.delay(now, 1, OURS) {
                    Duration::ZERO => break,
                    // An answer on the way may make it longer, never shorter.
                    delay => now += delay,
                }
            }
            window.take(now, 1);
            arrived.push(now + latency(n));
            answers.insert((now + latency(n) * 2, n), now);
            now += gap;
        }
        arrived.sort();
        arrived
    }

    /// The most arrivals in any stretch of the window's length.
    fn densest(arrived: &[Duration]) -> u64 {
        let mut start = 0;
        let counts = arrived.iter().enumerate().map(|(end, at)| {
            while *at - arrived[start] >= LENGTH {
                start += 1;
            }
            end - start + 1
        });
        counts.max().unwrap_or_default() as u64
    }

    /// Arrivals of which a service with fixed windows, beginning at `offset`, refuses some.
    fn over_fixed(arrived: &[Duration], offset: Duration) -> bool {
        let mut counts = std::collections::HashMap::new();
        for at in arrived {
            let window = (*at + offset).as_nanos() / LENGTH.as_nanos();
            *counts.entry(window).or_insert(0_u64) += 1;
        }
        counts.values().any(|count| *count > LIMIT)
    }

    #[test]
    fn no_stretch_of_time_exceeds_the_limit_and_little_of_it_is_wasted() {
        type Latency = fn(u64) -> Duration;
        let latencies: [Latency; 3] = [
            |_| Duration::from_millis(50),
            |n| Duration::from_millis(40 + n * 7919 % 3001),
            // The first burst arrives so late that the second one is on its heels.
            |n| if n < OURS { Duration::from_secs(20) } else { Duration::from_millis(50) },
        ];
        for latency in latencies {
            // In bursts, and about as fast as the limit itself.
            for gap in [Duration::from_millis(1), Duration::from_millis(25)] {
                let arrived = greedy(OURS * 8, gap, latency);
                assert!(densest(&arrived) <= LIMIT, "{}", densest(&arrived));
                for offset in 0..7 {
                    assert!(!over_fixed(&arrived, LENGTH * offset / 7));
                }
                // The last of eight bursts begins after seven windows.
                let elapsed = arrived[arrived.len() - OURS as usize] - arrived[0];
                let rate = (OURS * 7) as f64 / elapsed.as_secs_f64();
                let best = LIMIT as f64 / LENGTH.as_secs_f64();
                assert!(rate >= 0.97 * best, "{}", rate / best);
            }
        }
    }

    #[test]
    fn what_is_settled_counts_from_its_answer_and_at_its_price() {
        let mut window = Window::new(Measure::Units, LENGTH);
        let second = Duration::from_secs(1);
        window.take(second, 90);
        window.settle(second, second * 31, 90, 95);
        assert!(window.delay(second * 605, 6, 100) > second * 25);
        assert_eq!(window.delay(second * 605, 5, 100), Duration::ZERO);
        assert_eq!(window.delay(second * 635, 100, 100), Duration::ZERO);
    }

    #[test]
    fn a_lower_limit_and_more_than_the_limit_pass() {
        let now = Duration::from_secs(77);
        let mut window = Window::new(Measure::Units, LENGTH);
        assert_eq!(window.delay(now, 500, 100), Duration::ZERO);
        window.take(now, 48);
        assert_eq!(window.delay(now, 1, 96), Duration::ZERO);
        assert!(window.delay(now, 1, 48) >= LENGTH);
        assert!(!window.is_idle(now + LENGTH));
        assert!(window.is_idle(now + LENGTH + LENGTH / 100));
    }
}
