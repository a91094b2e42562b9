//! A budget: so many units in any stretch of time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Slots that a window is divided into: finer ones lose less of the budget.
const SLOTS: u32 = 60;

/// Part of a documented budget that we use: requests are counted when they arrive, which is not
/// quite when they leave, and other tools may use the same app (FACTS 2.2).
const USED_SHARE: f64 = 0.96;

/// At most `limit` units in any window of `length`. Unlike a bucket that is refilled, it never
/// lets twice the budget pass in the first window, and it wastes none of it either.
#[derive(Debug)]
pub(crate) struct Window {
    limit: u64,
    slot: Duration,
    origin: Instant,
    /// Used slots only, so that a mailbox that is rarely asked costs little memory.
    used: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Window {
    pub(crate) fn new(requests: u32, length: Duration, now: Instant) -> Window {
        let limit = (f64::from(requests) * USED_SHARE).floor().max(1.0) as u64;
        let slot = (length / SLOTS).max(Duration::from_micros(1));
        Window { limit, slot, origin: now, used: VecDeque::new(), sum: 0 }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// How long until `units` may pass when only `share` of the budget is ours; zero for now.
    pub(crate) fn delay(&mut self, now: Instant, units: u64, share: f64) -> Duration {
        let current = self.expire(now);
        let limit = ((self.limit as f64 * share) as u64).max(1);
        let mut sum = self.sum;
        for (slot, count) in &self.used {
            // More units than the limit pass alone, else they never would.
            if sum == 0 || sum + units <= limit {
                break;
            }
            sum -= count;
            let free = slot + u64::from(SLOTS) + 1;
            if sum == 0 || sum + units <= limit {
                debug_assert!(free > current);
                let at = self.slot.saturating_mul(u32::try_from(free).unwrap_or(u32::MAX));
                return (self.origin + at).saturating_duration_since(now);
            }
        }
        Duration::ZERO
    }

    pub(crate) fn take(&mut self, now: Instant, units: u64) {
        let current = self.expire(now);
        match self.used.back_mut() {
            Some((slot, count)) if *slot == current => *count += units,
            _ => self.used.push_back((current, units)),
        }
        self.sum += units;
    }

    /// Whether forgetting this window would forget nothing.
    pub(crate) fn is_idle(&mut self, now: Instant) -> bool {
        self.expire(now);
        self.sum == 0
    }

    /// Drops what is older than the window and one slot, and returns the slot of `now`.
    fn expire(&mut self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.origin);
        let current = (elapsed.as_nanos() / self.slot.as_nanos()) as u64;
        while let Some((slot, count)) = self.used.front() {
            if slot + u64::from(SLOTS) >= current {
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

    /// Sends as fast as the window allows and returns when each unit passed.
    fn greedy(requests: u32, count: usize) -> Vec<Duration> {
        let origin = Instant::now();
        let mut now = origin;
        let mut window = Window::new(requests, LENGTH, origin);
        let mut passed = Vec::new();
        while passed.len() < count {
            match window.delay(now, 1, 1.0) {
                Duration::ZERO => {
                    window.take(now, 1);
                    passed.push(now - origin);
                    now += Duration::from_millis(25);
                }
                delay => now += delay,
            }
        }
        passed
    }

    #[test]
    fn no_stretch_of_time_exceeds_the_documented_limit() {
        let passed = greedy(10_000, 40_000);
        let mut start = 0;
        for (end, at) in passed.iter().enumerate() {
            while *at - passed[start] >= LENGTH {
                start += 1;
            }
            assert!(end - start < 9_600, "{} in one window", end - start + 1);
        }
        // 40,000 requests at 16 a second take 4 windows at least: waste no more than a slot each.
        assert!(passed[39_999] < Duration::from_secs(4 * 620), "{:?}", passed[39_999]);
    }

    #[test]
    fn a_share_and_more_than_the_limit_pass() {
        let now = Instant::now();
        let mut window = Window::new(100, LENGTH, now);
        assert_eq!(window.delay(now, 500, 1.0), Duration::ZERO);
        window.take(now, 48);
        assert_eq!(window.delay(now, 1, 1.0), Duration::ZERO);
        assert!(window.delay(now, 1, 0.5) > LENGTH);
        assert!(!window.is_idle(now + LENGTH));
        assert!(window.is_idle(now + LENGTH + LENGTH / 30));
        assert_eq!(window.delay(now + LENGTH * 2, 1, 0.5), Duration::ZERO);
    }
}
