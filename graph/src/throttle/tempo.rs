//! A rate that refusals lower and time raises: additive increase, multiplicative decrease.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a refusal leaves of the rate.
const CUT: f64 = 0.7;

/// Time in which refusals count as one.
const ONE_CUT: Duration = Duration::from_secs(10);

/// What a second without refusal gives back, as a part of the rate before the cut.
const REGAIN: f64 = 0.005;

/// The first cut starts from no less than so many times the rate of the limit itself: a budget may
/// be used in bursts, and it is the burst that was refused.
const FIRST: f64 = 4.0;

/// The least part of the limit's rate that is left.
const LEAST: f64 = 1.0 / 64.0;

/// The rate is measured over about this time.
const MEASURED: Duration = Duration::from_secs(10);

/// The least time that a rate is measured over.
const GLANCE: Duration = Duration::from_millis(100);

/// How fast units pass, and how fast they may. The limits stay the ceiling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tempo {
    bound: Option<Bound>,
    cut_at: Option<Duration>,
    /// Units since then.
    sent: f64,
    since: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bound {
    /// Units a second at `since`, and before the cut.
    rate: f64,
    before: f64,
    since: Duration,
    /// When the next unit may pass.
    next: Duration,
}

impl Bound {
    fn rate(&self, at: Duration) -> f64 {
        self.rate + self.before * REGAIN * at.saturating_sub(self.since).as_secs_f64()
    }
}

impl Tempo {
    /// How long until the next units may pass.
    pub(crate) fn delay(&mut self, at: Duration) -> Duration {
        // Twice what was refused passes well: nothing is learned from a bound any more.
        self.bound.take_if(|bound| bound.rate(at) >= bound.before * 2.0);
        self.bound.as_ref().map_or(Duration::ZERO, |bound| bound.next.saturating_sub(at))
    }

    pub(crate) fn take(&mut self, at: Duration, units: u64) {
        if at.saturating_sub(self.since) > MEASURED {
            let rate = self.measured(at);
            self.since = at.saturating_sub(MEASURED / 2);
            self.sent = rate * (MEASURED / 2).as_secs_f64();
        }
        self.sent += units as f64;
        if let Some(bound) = &mut self.bound {
            let time = units as f64 / bound.rate(at);
            bound.next = bound.next.max(at).saturating_add(seconds(time));
        }
    }

    fn measured(&self, at: Duration) -> f64 {
        self.sent / at.saturating_sub(self.since).max(GLANCE).as_secs_f64()
    }

    /// A refusal. `pace` is the rate of the limit itself; nobody sends before `until`.
    pub(crate) fn cut(&mut self, at: Duration, pace: Option<f64>, until: Duration) {
        if self.cut_at.is_some_and(|cut| at.saturating_sub(cut) < ONE_CUT) {
            return;
        }
        let measured = self.measured(at);
        let pace = pace.unwrap_or(measured);
        let before = match &self.bound {
            Some(bound) => bound.rate(at),
            None => measured.max(pace * FIRST),
        };
        let rate = (before * CUT).max(pace * LEAST).max(f64::MIN_POSITIVE);
        self.bound = Some(Bound { rate, before, since: until, next: until });
        self.cut_at = Some(at);
        (self.sent, self.since) = (0.0, until);
    }

    /// The service says that most of the budget is used: the rate stays as it is.
    pub(crate) fn hold(&mut self, at: Duration) {
        if let Some(bound) = &mut self.bound {
            bound.rate = bound.rate(at);
            bound.since = bound.since.max(at);
        }
    }

    #[cfg(test)]
    pub(crate) fn rate(&self, at: Duration) -> Option<f64> {
        self.bound.as_ref().map(|bound| bound.rate(at))
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn refusals_cut_once_in_ten_seconds_and_time_gives_back() {
        let mut tempo = Tempo::default();
        let mut at = SECOND * 100;
        for _ in 0..3_000 {
            assert_eq!(tempo.delay(at), Duration::ZERO, "no bound before a refusal");
            tempo.take(at, 1);
            at += SECOND / 100;
        }
        tempo.cut(at, Some(10.0), at);
        let first = tempo.rate(at).unwrap();
        assert!((65.0..75.0).contains(&first), "70 % of 100 a second: {first}");
        tempo.cut(at + SECOND * 9, Some(10.0), at + SECOND * 9);
        assert_eq!(tempo.rate(at), Some(first));
        tempo.hold(at + SECOND * 4);
        let held = tempo.rate(at + SECOND * 4).unwrap();
        assert!((held - first - 2.0).abs() < 0.2, "2 % of 100 in 4 s: {held}");

        // Nobody sends any more: further cuts end at a least.
        for n in 1..60 {
            let at = at + SECOND * 10 * n;
            tempo.delay(at);
            tempo.cut(at, Some(10.0), at);
        }
        let least = tempo.rate(at + SECOND * 590).unwrap();
        assert!((0.15..0.16).contains(&least), "1/64 of 10: {least}");
        assert_eq!(tempo.delay(at + SECOND * 3_600), Duration::ZERO);
        assert_eq!(tempo.rate(at), None, "forgotten in an hour");
    }

    #[test]
    fn units_pass_evenly_below_the_bound() {
        let mut tempo = Tempo::default();
        tempo.cut(SECOND, Some(10.0), SECOND * 5);
        assert_eq!(tempo.delay(SECOND), SECOND * 4, "the pause");
        let mut at = SECOND * 5;
        let mut passed = 0;
        while at < SECOND * 15 {
            let delay = tempo.delay(at);
            at += delay;
            tempo.take(at, 2);
            passed += 2;
        }
        assert!((280..=300).contains(&passed), "28 a second for 10 s, growing: {passed}");
    }
}
