//! All that is known of a scope, and what follows from it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::retry::{backoff, obeyed};
use crate::throttle::budgets::{Measure, Rules};
use crate::throttle::signals::{RateLimit, Signals};
use crate::throttle::tempo::Tempo;
use crate::throttle::window::Window;

/// Windows of other processes, with other budgets, that are kept beside our own.
const FOREIGN: usize = 3;

/// How long a limit that the service named is believed: it is named again only by who comes near.
const BELIEVED: Duration = Duration::from_secs(3600);

/// No service has more than so many times what is documented.
const MOST_LEARNED: u64 = 16;

/// Used part of a budget from which what is left is spread over the time that is left.
const SPREAD_FROM: f64 = 0.9;

/// Used part of a budget from which nobody becomes faster.
const HOLD_FROM: f64 = 0.8;

/// What a request takes from the budgets of its scope. Without any it is only kept from entering a
/// paused scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Requests, or resource units.
    pub(crate) units: u64,
    /// Of what is written: bytes in a mailbox, requests in the directory (FACTS 2.2, 2.5).
    pub(crate) written: u64,
}

impl Cost {
    fn of(self, measure: Measure) -> u64 {
        match measure {
            Measure::Units => self.units,
            Measure::Written => self.written,
        }
    }
}

/// Whether a request may be sent, and if not, after how long to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Now,
    Paused(Duration),
    Budget(Duration),
}

/// The state of one scope. Times are since any moment that all who share it agree on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// One for each limit of ours, in their order, then those of others.
    windows: Vec<Window>,
    paused_until: Option<Duration>,
    /// Refusals in a row that did not say for how long.
    untold: u32,
    grant: Option<Grant>,
    /// The first limit as the service names it, and until when that is believed.
    learned: Option<(u64, Duration)>,
    tempo: Tempo,
}

/// What the service says is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Grant {
    until: Duration,
    left: u64,
    /// From when the next request may take of it, where it is to last.
    next: Option<Duration>,
}

impl Memory {
    pub(crate) fn new(rules: &Rules) -> Memory {
        let windows = rules.limits.iter().map(|limit| Window::new(limit.measure, limit.length));
        Memory { windows: windows.collect(), ..Memory::default() }
    }

    /// Takes `known`, of somebody whose limits may be others, in place of what it knows itself.
    pub(crate) fn adopt(&mut self, rules: &Rules, mut known: Memory, at: Duration) {
        let mut windows = std::mem::take(&mut self.windows);
        windows.truncate(rules.limits.len());
        for own in &mut windows {
            let same = |other: &Window| (other.measure, other.length) == (own.measure, own.length);
            if let Some(place) = known.windows.iter().position(same) {
                *own = known.windows.remove(place);
            }
        }
        known.windows.retain_mut(|foreign| !foreign.is_idle(at));
        known.windows.truncate(FOREIGN);
        windows.append(&mut known.windows);
        *self = Memory { windows, ..known };
    }

    /// How long nobody may send; zero if there is no pause.
    pub(crate) fn pause(&self, at: Duration) -> Duration {
        self.paused_until.map_or(Duration::ZERO, |until| until.saturating_sub(at))
    }

    /// Takes `cost` from all budgets, or says what is in the way.
    pub(crate) fn enter(&mut self, rules: &Rules, at: Duration, cost: Cost) -> Entry {
        match self.pause(at) {
            Duration::ZERO => self.paused_until = None,
            wait => return Entry::Paused(wait),
        }
        if cost == Cost::default() {
            return Entry::Now;
        }
        let delay = self.grant_delay(at, cost.units).max(self.tempo.delay(at));
        match delay.max(self.window_delay(rules, at, cost)) {
            Duration::ZERO => {}
            wait => return Entry::Budget(wait),
        }
        if let Some(grant) = &mut self.grant {
            grant.take(at, cost.units);
        }
        self.tempo.take(at, cost.units);
        for window in &mut self.windows {
            match cost.of(window.measure) {
                0 => {}
                units => window.take(at, units),
            }
        }
        Entry::Now
    }

    fn grant_delay(&mut self, at: Duration, units: u64) -> Duration {
        self.grant.take_if(|grant| grant.until <= at);
        match &self.grant {
            Some(grant) if grant.left < units => grant.until - at,
            Some(Grant { next: Some(next), .. }) => next.saturating_sub(at),
            _ => Duration::ZERO,
        }
    }

    fn window_delay(&mut self, rules: &Rules, at: Duration, cost: Cost) -> Duration {
        self.learned.take_if(|(_, until)| *until <= at);
        let learned = self.learned.map(|(amount, _)| amount);
        let limits = rules.limits.iter().zip(&mut self.windows).enumerate();
        let delays = limits.map(|(place, (limit, window))| {
            let amount = learned.filter(|_| place == 0).unwrap_or(limit.amount);
            match cost.of(limit.measure) {
                0 => Duration::ZERO,
                units => window.delay(at, units, rules.ours(amount)),
            }
        });
        delays.max().unwrap_or_default()
    }

    /// Whether an answer at `at` to what was sent at `sent` says nothing new.
    pub(crate) fn is_settled(&self, sent: Duration, at: Duration) -> bool {
        self.untold == 0 && self.windows.iter().all(|window| window.is_same(sent, at))
    }

    /// A request of `cost`, sent at `sent`, was answered; `good` if as asked for.
    pub(crate) fn answered(
        &mut self,
        rules: &Rules,
        (sent, at): (Duration, Duration),
        cost: Cost,
        signals: Signals,
        good: bool,
    ) {
        if good {
            self.untold = 0;
        }
        for window in &mut self.windows {
            let assumed = cost.of(window.measure);
            let told = signals.units.filter(|_| window.measure == Measure::Units);
            let actual = told.unwrap_or(assumed);
            if assumed > 0 && (assumed != actual || !window.is_same(sent, at)) {
                window.settle(sent, at, assumed, actual);
            }
        }
        if !rules.heeds {
            return;
        }
        let first = rules.limits.first().filter(|limit| limit.measure == Measure::Units);
        if let Some(told) = signals.rate_limit {
            if let (Some(named), Some(first)) = (told.limit, first) {
                self.learn_limit(rules, named, first.amount, at);
            }
            let limit = told.limit.or(first.map(|first| first.amount));
            self.learn_left(told, limit, at);
        } else if let (Some(used), Some(first)) = (signals.used, first)
            && used >= HOLD_FROM
        {
            // A bucket that is refilled all the time: a tenth of it in a tenth of its time.
            let remaining = (first.amount as f64 * (1.0 - used).max(0.0)) as u64;
            let told = RateLimit { limit: None, remaining, reset: first.length / 10 };
            self.learn_left(told, Some(first.amount), at);
        }
    }

    /// The service names its limit.
    fn learn_limit(&mut self, rules: &Rules, named: u64, ours: u64, at: Duration) {
        let most = if rules.named { ours } else { ours.saturating_mul(MOST_LEARNED) };
        self.learned = (named != ours).then(|| (named.min(most), at + BELIEVED));
    }

    /// Only what is left, until it is said to be more again; towards the end of it evenly, so that
    /// others who read the same see in time what we take.
    fn learn_left(&mut self, told: RateLimit, limit: Option<u64>, at: Duration) {
        let before = self.grant.take().filter(|grant| grant.until > at);
        let used = limit.map(|limit| 1.0 - told.remaining as f64 / limit as f64);
        if used.is_some_and(|used| used >= HOLD_FROM) {
            self.tempo.hold(at);
        }
        let spread = used.is_some_and(|used| used > SPREAD_FROM);
        // Requests under way are not in `remaining` yet; they are in what we had left.
        let left = before.as_ref().map_or(told.remaining, |grant| grant.left.min(told.remaining));
        let next = before.and_then(|grant| grant.next).unwrap_or(at);
        self.grant = Some(Grant { until: at + told.reset, left, next: spread.then_some(next) });
    }

    /// The service told a request to slow down, perhaps for how long: nobody sends until then.
    pub(crate) fn refused(
        &mut self,
        rules: &Rules,
        at: Duration,
        told: Option<Duration>,
        base: Duration,
        jitter: f64,
    ) {
        // Requests that were on their way together are refused together: that is one refusal.
        let in_pause = self.pause(at) > Duration::ZERO;
        let wait = match told {
            Some(told) => obeyed(told, base, jitter),
            None => backoff(base, self.untold, jitter),
        };
        if told.is_some() {
            self.untold = 0;
        } else if !in_pause {
            self.untold = self.untold.saturating_add(1);
        }
        let until = at + self.pause(at).max(wait);
        self.paused_until = Some(until);
        if rules.adaptive && !in_pause {
            self.tempo.cut(at, rules.pace(), until);
        }
    }

    /// Whether forgetting all this would forget nothing.
    pub(crate) fn is_idle(&mut self, at: Duration) -> bool {
        self.pause(at) == Duration::ZERO && self.windows.iter_mut().all(|window| window.is_idle(at))
    }
}

impl Grant {
    fn take(&mut self, at: Duration, units: u64) {
        if let Some(next) = &mut self.next {
            let part = units as f64 / self.left.max(units) as f64;
            *next = at + self.until.saturating_sub(at).mul_f64(part);
        }
        self.left = self.left.saturating_sub(units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Pace};

    const NOW: Duration = Duration::from_secs(1_000);
    const SECOND: Duration = Duration::from_secs(1);
    const ONE: Cost = Cost { units: 1, written: 0 };

    fn rules(scope: &str, pace: Pace, budgets: &[&str]) -> Rules {
        let mut config = Config::new("t");
        config.pace = pace;
        config.budgets = budgets.iter().map(|text| text.parse().unwrap()).collect();
        Rules::new(scope, &config)
    }

    fn passes(memory: &mut Memory, rules: &Rules, at: Duration, cost: Cost) -> u64 {
        (0..).take_while(|_| memory.enter(rules, at, cost) == Entry::Now).count() as u64
    }

    fn good(memory: &mut Memory, rules: &Rules, at: Duration, signals: Signals) {
        memory.answered(rules, (at, at), ONE, signals, true);
    }

    fn told(limit: u64, remaining: u64, reset: u64) -> Signals {
        let reset = SECOND * u32::try_from(reset).unwrap();
        let rate_limit = Some(RateLimit { limit: Some(limit), remaining, reset });
        Signals { rate_limit, ..Signals::default() }
    }

    #[test]
    fn what_is_written_has_a_budget_of_its_own() {
        let rules = rules("mailbox", Pace::Adaptive, &[]);
        let mut memory = Memory::new(&rules);
        let mail = Cost { units: 1, written: 4_000_000 };
        assert_eq!(passes(&mut memory, &rules, NOW, mail), 37, "of 4 MB in 99 % of 150 MB");
        assert_eq!(memory.enter(&rules, NOW, ONE), Entry::Now, "reading goes on");
        assert_eq!(memory.enter(&rules, NOW + SECOND * 303, mail), Entry::Now);

        let rules = self::rules("directory", Pace::Adaptive, &[]);
        let mut memory = Memory::new(&rules);
        assert_eq!(passes(&mut memory, &rules, NOW, Cost { units: 1, written: 1 }), 2_970);
    }

    #[test]
    fn all_limits_hold_together() {
        let rules =
            rules("sharepoint", Pace::Documented, &["sharepoint=100/1", "sharepoint=250/9"]);
        let mut memory = Memory::new(&rules);
        let passed = [0, 2, 4, 6].map(|s| passes(&mut memory, &rules, NOW + SECOND * s, ONE));
        assert_eq!(passed, [99, 99, 49, 0]);
    }

    #[test]
    fn a_share_is_left_to_others() {
        let mut config = Config::new("t");
        config.throttle_share = 0.5;
        let rules = Rules::new("sharepoint", &config);
        assert_eq!(passes(&mut Memory::new(&rules), &rules, NOW, ONE), 625);
    }

    #[test]
    fn a_pause_holds_in_every_mode() {
        for pace in [Pace::Documented, Pace::Adaptive, Pace::None] {
            let rules = rules("mailbox", pace, &[]);
            let mut memory = Memory::new(&rules);
            memory.refused(&rules, NOW, Some(SECOND * 9), Duration::ZERO, 0.0);
            memory.refused(&rules, NOW, Some(SECOND * 3), Duration::ZERO, 0.0);
            assert_eq!(memory.enter(&rules, NOW + SECOND * 8, ONE), Entry::Paused(SECOND));
            assert_eq!(memory.enter(&rules, NOW + SECOND * 9, ONE), Entry::Now);
        }
    }

    #[test]
    fn refusals_that_do_not_say_for_how_long_grow_once_a_pause() {
        let rules = rules("mailbox", Pace::Documented, &[]);
        let mut memory = Memory::new(&rules);
        let refuse = |memory: &mut Memory, at| {
            memory.refused(&rules, at, None, SECOND, 1.0);
            memory.pause(at)
        };
        assert_eq!(refuse(&mut memory, NOW), SECOND);
        assert_eq!(refuse(&mut memory, NOW + SECOND), SECOND * 2);
        assert_eq!(refuse(&mut memory, NOW + SECOND), SECOND * 4, "no shorter than the next");
        assert_eq!(refuse(&mut memory, NOW + SECOND * 5), SECOND * 4);
        good(&mut memory, &rules, NOW + SECOND * 9, Signals::default());
        assert_eq!(refuse(&mut memory, NOW + SECOND * 9), SECOND);
    }

    #[test]
    fn refusals_slow_down_who_adapts() {
        for (pace, expected) in [(Pace::Adaptive, 1), (Pace::Documented, 99)] {
            let rules = rules("sharepoint", pace, &["sharepoint=100/60"]);
            let mut memory = Memory::new(&rules);
            memory.refused(&rules, NOW, Some(SECOND), Duration::ZERO, 0.0);
            assert_eq!(passes(&mut memory, &rules, NOW + SECOND, ONE), expected);
        }
    }

    #[test]
    fn what_is_left_is_heeded() {
        let rules = rules("sharepoint", Pace::Documented, &[]);
        let mut memory = Memory::new(&rules);
        good(&mut memory, &rules, NOW, told(1_250, 150, 10));
        assert_eq!(passes(&mut memory, &rules, NOW, ONE), 150);
        good(&mut memory, &rules, NOW, told(1_250, 130, 10));
        assert_eq!(passes(&mut memory, &rules, NOW, ONE), 0, "under way when that was said");
        let rest = passes(&mut memory, &rules, NOW + SECOND * 10, ONE);
        assert_eq!(rest, 1_237 - 150);
    }

    #[test]
    fn the_last_tenth_is_spread_over_the_time_that_is_left() {
        let rules = rules("sharepoint", Pace::Documented, &[]);
        let mut memory = Memory::new(&rules);
        good(&mut memory, &rules, NOW, told(1_250, 100, 20));
        let mut at = NOW;
        let mut passed = Vec::new();
        while at < NOW + SECOND * 20 {
            match memory.enter(&rules, at, ONE) {
                Entry::Now => passed.push(at - NOW),
                Entry::Budget(wait) | Entry::Paused(wait) => at += wait,
            }
        }
        assert_eq!(passed.len(), 100);
        let half = passed.iter().filter(|at| **at < SECOND * 10).count();
        assert!((48..=52).contains(&half), "{half} in the first half");
    }

    #[test]
    fn a_named_limit_is_learned() {
        let within = |budgets: &[&str], named: u64| {
            let rules = rules("sharepoint", Pace::Documented, budgets);
            let mut memory = Memory::new(&rules);
            good(&mut memory, &rules, NOW, told(named, named / 5, 1));
            let later = NOW + SECOND * 100;
            let passed = passes(&mut memory, &rules, later, ONE);
            (passed, passes(&mut memory, &rules, later + BELIEVED, ONE))
        };
        assert_eq!(within(&[], 600), (594, 1_237), "believed for an hour");
        assert_eq!(within(&[], 6_250), (6_187, 1_237));
        assert_eq!(within(&["sharepoint=1250/60"], 6_250), (1_237, 1_237));
        assert_eq!(within(&["sharepoint=1250/60"], 500), (495, 1_237));
    }

    #[test]
    fn the_real_cost_counts() {
        let rules = rules("directory", Pace::Documented, &[]);
        let mut memory = Memory::new(&rules);
        let cost = Cost { units: 2, written: 0 };
        assert_eq!(memory.enter(&rules, NOW, cost), Entry::Now);
        let signals = Signals { units: Some(65), ..Signals::default() };
        memory.answered(&rules, (NOW, NOW), cost, signals, true);
        assert_eq!(passes(&mut memory, &rules, NOW, ONE), 3_465 - 65);
    }

    #[test]
    fn the_directory_says_how_much_is_used() {
        let rules = rules("directory", Pace::Documented, &[]);
        let at = |used| {
            let mut memory = Memory::new(&rules);
            good(&mut memory, &rules, NOW, Signals { used: Some(used), ..Signals::default() });
            (passes(&mut memory, &rules, NOW, ONE), passes(&mut memory, &rules, NOW + SECOND, ONE))
        };
        assert_eq!(at(0.7).0, 3_465);
        assert_eq!(at(0.8).0, 699);
        assert_eq!(at(0.95).0, 1, "evenly");
        assert_eq!(at(1.3), (0, 3_465), "not for a tenth of the window");
    }

    #[test]
    fn who_has_other_limits_sees_what_was_used_of_ours() {
        let ours = rules("sharepoint", Pace::Documented, &["sharepoint=100/60"]);
        let mut memory = Memory::new(&ours);
        assert_eq!(passes(&mut memory, &ours, NOW, ONE), 99);

        let theirs =
            rules("sharepoint", Pace::Documented, &["sharepoint=200/60", "sharepoint=9/1"]);
        let mut other = Memory::new(&theirs);
        other.adopt(&theirs, memory, NOW);
        assert_eq!(passes(&mut other, &theirs, NOW, ONE), 8);
        assert_eq!(passes(&mut other, &theirs, NOW + SECOND * 2, Cost { units: 4, written: 0 }), 2);

        let mut again = Memory::new(&ours);
        again.adopt(&ours, other, NOW + SECOND * 2);
        let full = again.window_delay(&ours, NOW + SECOND * 61, ONE);
        assert_eq!(full, Duration::ZERO);
        assert_eq!(passes(&mut again, &ours, NOW + SECOND * 61, ONE), 99 - 8);
        let mut last = Memory::new(&ours);
        last.adopt(&ours, again.clone(), NOW + SECOND * 63);
        assert_eq!((again.windows.len(), last.windows.len()), (2, 1), "a second is over");
    }
}
