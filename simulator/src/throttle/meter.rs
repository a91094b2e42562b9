//! What has been used of a limit, and when it will be given back.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::Windows;

/// Charges that lie closer together than this part of a window are given back together.
const SLICES: u32 = 10_000;

/// Measures use against a limit, which the caller names each time because it may change.
pub(crate) enum Meter {
    Window(Window),
    Bucket(Bucket),
}

impl Meter {
    pub(crate) fn used(&mut self, now: Duration, limit: u64) -> u64 {
        match self {
            Meter::Window(window) => window.used(now),
            Meter::Bucket(bucket) => bucket.used(now, limit).ceil() as u64,
        }
    }

    pub(crate) fn charge(&mut self, now: Duration, amount: u64, limit: u64) {
        match self {
            Meter::Window(window) => window.charge(now, amount),
            Meter::Bucket(bucket) => bucket.charge(now, amount, limit),
        }
    }

    /// How long until `amount` fits in, if nothing else is charged; `None`: it does now.
    pub(crate) fn wait(&mut self, now: Duration, amount: u64, limit: u64) -> Option<Duration> {
        match self {
            Meter::Window(window) => window.wait(now, amount, limit),
            Meter::Bucket(bucket) => bucket.wait(now, amount, limit),
        }
    }

    /// How long until no more than `level` is used, if nothing else is charged.
    pub(crate) fn until_at_most(&mut self, now: Duration, level: u64, limit: u64) -> Duration {
        match self {
            Meter::Window(window) => window.until_at_most(now, level),
            Meter::Bucket(bucket) => bucket.until_at_most(now, level, limit),
        }
    }
}

/// Use within a stretch of time.
pub(crate) struct Window {
    length: Duration,
    lie: Windows,
    /// When it is given back, and how much; oldest first.
    spent: VecDeque<(Duration, u64)>,
    used: u64,
}

impl Window {
    pub(crate) fn new(length: Duration, lie: Windows) -> Window {
        let length = length.max(Duration::from_nanos(1));
        Window { length, lie, spent: VecDeque::new(), used: 0 }
    }

    fn used(&mut self, now: Duration) -> u64 {
        while let Some((_, amount)) = self.spent.pop_front_if(|(back, _)| *back <= now) {
            self.used -= amount;
        }
        self.used
    }

    fn charge(&mut self, now: Duration, amount: u64) {
        if amount == 0 {
            return;
        }
        self.used(now);
        self.used += amount;
        let back = now + self.length;
        // Never given back too early: the later time stands for both.
        let slice = |time: Duration| time.as_nanos() * u128::from(SLICES) / self.length.as_nanos();
        match (self.spent.back_mut(), self.lie) {
            (Some((_, sum)), Windows::Fixed) => *sum += amount,
            (Some((last, sum)), Windows::Sliding) if slice(back) == slice(*last) => {
                *last = back;
                *sum += amount;
            }
            _ => self.spent.push_back((back, amount)),
        }
    }

    /// What is more than the limit all by itself would never pass: it does when nothing is used.
    fn wait(&mut self, now: Duration, amount: u64, limit: u64) -> Option<Duration> {
        let mut used = self.used(now);
        let mut at = None;
        for (back, given) in &self.spent {
            if used == 0 || used + amount <= limit {
                break;
            }
            used -= given;
            at = Some(*back);
        }
        at.map(|at| at - now)
    }

    fn until_at_most(&mut self, now: Duration, level: u64) -> Duration {
        let mut used = self.used(now);
        let mut at = now;
        for (back, given) in &self.spent {
            if used <= level {
                break;
            }
            used -= given;
            at = *back;
        }
        at - now
    }
}

/// Use that is given back at an even pace: a limit's worth in `refill`.
pub(crate) struct Bucket {
    refill: Duration,
    used: f64,
    at: Duration,
}

impl Bucket {
    pub(crate) fn new(refill: Duration) -> Bucket {
        Bucket { refill, used: 0.0, at: Duration::ZERO }
    }

    fn used(&mut self, now: Duration, limit: u64) -> f64 {
        let passed = (now - self.at).as_secs_f64() / self.refill.as_secs_f64();
        self.used = (self.used - passed * limit as f64).max(0.0);
        self.at = now;
        self.used
    }

    /// There is no less in a bucket than nothing: what is refused takes what is left.
    fn charge(&mut self, now: Duration, amount: u64, limit: u64) {
        let before = self.used(now, limit);
        self.used = (before + amount as f64).min(before.max(limit as f64));
    }

    fn wait(&mut self, now: Duration, amount: u64, limit: u64) -> Option<Duration> {
        let used = self.used(now, limit);
        let over = (used + amount as f64 - limit as f64).min(used);
        // Not by what rounding leaves.
        (over > 1e-6).then(|| self.refill.mul_f64(over / limit as f64))
    }

    fn until_at_most(&mut self, now: Duration, level: u64, limit: u64) -> Duration {
        let over = (self.used(now, limit) - level as f64).max(0.0);
        self.refill.mul_f64(over / limit as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_sliding_window_holds_for_any_stretch() {
        let mut window = Window::new(at(60), Windows::Sliding);
        for second in 0..10 {
            assert_eq!(window.wait(at(second), 1, 10), None);
            window.charge(at(second), 1);
        }
        assert_eq!(window.wait(at(10), 1, 10), Some(at(50)));
        assert_eq!(window.wait(at(10), 3, 10), Some(at(52)));
        assert_eq!(window.wait(at(60), 1, 10), None);
        window.charge(at(60), 1);
        assert_eq!(window.wait(at(60), 1, 10), Some(at(1)));
        assert_eq!(window.until_at_most(at(60), 8), at(2));
        assert_eq!(window.used(at(120)), 0);
        assert_eq!(window.wait(at(120), 11, 10), None, "it would never pass");
        window.charge(at(120), 1);
        assert_eq!(window.wait(at(120), 11, 10), Some(at(60)));
    }

    #[test]
    fn a_fixed_window_forgets_all_at_its_end() {
        let mut window = Window::new(at(60), Windows::Fixed);
        window.charge(at(5), 1);
        window.charge(at(64), 9);
        assert_eq!(window.wait(at(64), 1, 10), Some(at(1)));
        window.charge(at(64), 5);
        assert_eq!(window.wait(at(64), 1, 10), Some(at(1)), "refusals do not move its end");
        assert_eq!((window.used(at(65)), window.wait(at(65), 10, 10)), (0, None));
    }

    #[test]
    fn charges_close_together_are_given_back_together_and_never_early() {
        let mut window = Window::new(at(100_000), Windows::Sliding);
        for second in 0..10_000 {
            window.charge(at(second), 1);
        }
        assert_eq!(window.spent.len(), 1_000);
        assert_eq!(window.used(at(100_008)), 10_000);
        assert_eq!(window.used(at(100_009)), 9_990);
    }

    #[test]
    fn a_bucket_is_refilled_evenly_and_never_below_empty() {
        let mut bucket = Bucket::new(at(10));
        assert_eq!(bucket.wait(at(0), 100, 100), None);
        bucket.charge(at(0), 100, 100);
        assert_eq!(bucket.wait(at(0), 5, 100), Some(Duration::from_millis(500)));
        bucket.charge(at(0), 100, 100);
        assert_eq!(bucket.wait(at(0), 5, 100), Some(Duration::from_millis(500)));
        assert_eq!(bucket.wait(at(1), 10, 100), None);
        assert_eq!(bucket.wait(at(1), 20, 100), Some(at(1)));
        assert_eq!(bucket.wait(at(20), 200, 100), None, "it would never pass");
    }
}
