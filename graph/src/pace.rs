//! Who may send when: budgets, pauses and connections, apart for each scope (FACTS 2).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bucket::Window;
use crate::config::{Budget, Config, Pace};
use crate::counters::Tally;
use crate::retry::{RateLimit, backoff};
use crate::scope::Scope;

/// Documented budgets: units, seconds. SharePoint's are those of the smallest tenant, whose daily
/// one binds a first full export (FACTS 2.3).
const DOCUMENTED: [(&str, u32, u64); 6] = [
    ("mailbox", 10_000, 600),
    ("mailbox-upload", 150_000_000, 300),
    ("sharepoint", 1_250, 60),
    ("sharepoint", 1_200_000, 86_400),
    ("directory", 3_500, 10),
    ("directory-write", 3_000, 150),
];

/// The least of its budget that an adaptive scope keeps, and what a budget's worth of good answers
/// gives back to it.
const LEAST_SHARE: f64 = 1.0 / 64.0;
const REGAIN: f64 = 0.25;

/// Mailboxes known before the first search for idle ones.
const SWEEP_FROM: usize = 1024;

#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    budgets: Vec<(String, u32, Duration)>,
    connections: usize,
    backoff: Duration,
    patience: Duration,
    mailboxes: Mutex<Mailboxes>,
    sharepoint: Arc<Lane>,
    directory: Arc<Lane>,
    other: Arc<Lane>,
}

#[derive(Debug, Default)]
struct Mailboxes {
    lanes: HashMap<String, Arc<Lane>>,
    sweep_at: usize,
}

/// The scope was told to pause for longer than our patience.
#[derive(Debug)]
pub(crate) struct PausedTooLong;

/// What a request takes from the budgets of its scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Requests, or resource units. Without any it is only kept from entering a paused scope.
    pub(crate) units: u64,
    /// Of what is written: bytes in a mailbox, requests in the directory (FACTS 2.2, 2.5).
    pub(crate) written: u64,
}

/// The right to send one request; a mailbox's connection with it until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) lane: Arc<Lane>,
    _connection: Option<OwnedSemaphorePermit>,
}

impl Pacer {
    pub(crate) fn new(config: &Config) -> Pacer {
        let mut budgets = Vec::new();
        for scope in Budget::SCOPES {
            let own: Vec<_> = config.budgets.iter().filter(|own| own.scope == scope).collect();
            let documented =
                DOCUMENTED.iter().filter(|(name, ..)| own.is_empty() && *name == scope);
            budgets.extend(
                documented
                    .map(|(name, units, s)| ((*name).to_owned(), *units, Duration::from_secs(*s))),
            );
            budgets.extend(own.into_iter().map(|budget| {
                (budget.scope.clone(), budget.requests, Duration::from_secs_f64(budget.seconds))
            }));
        }
        if config.pace == Pace::None {
            budgets.clear();
        }
        let lane = |name| Arc::new(Lane::new(name, config.pace, &budgets, None));
        Pacer {
            pace: config.pace,
            connections: config.mailbox_connections.max(1),
            backoff: config.backoff,
            patience: config.patience,
            mailboxes: Mutex::new(Mailboxes { lanes: HashMap::new(), sweep_at: SWEEP_FROM }),
            sharepoint: lane("sharepoint"),
            directory: lane("directory"),
            other: lane("other"),
            budgets,
        }
    }

    /// Waits for a connection, the end of a pause and `cost` of the budgets.
    pub(crate) async fn admit(
        &self,
        scope: &Scope,
        cost: Cost,
        tally: &Tally,
    ) -> Result<Permit, PausedTooLong> {
        let lane = self.lane(scope);
        let connection = match &lane.connections {
            // Nobody closes the semaphore.
            Some(connections) => Arc::clone(connections).acquire_owned().await.ok(),
            None => None,
        };
        loop {
            match lane.enter(Instant::now(), cost) {
                Entry::Now => {
                    return Ok(Permit { lane, _connection: connection });
                }
                Entry::Budget(wait) => tally.wait(wait).await,
                // Our own back-off never is, but a service may say so.
                Entry::Paused(wait) if wait > self.patience => return Err(PausedTooLong),
                Entry::Paused(wait) => tally.wait(wait).await,
            }
        }
    }

    /// The service told a request of `lane` to slow down: nobody of that lane sends until then.
    pub(crate) fn throttled(&self, lane: &Lane, told: Option<Duration>, jitter: f64) {
        let base = self.backoff.min(self.patience);
        lane.throttled(Instant::now(), told, base, jitter);
    }

    pub(crate) fn lane(&self, scope: &Scope) -> Arc<Lane> {
        match scope {
            Scope::Mailbox(user) => self.mailbox(user),
            Scope::SharePoint => Arc::clone(&self.sharepoint),
            Scope::Directory => Arc::clone(&self.directory),
            Scope::Other => Arc::clone(&self.other),
        }
    }

    /// Drops idle mailboxes whenever their number has doubled: a tenant may have 200,000.
    fn mailbox(&self, user: &str) -> Arc<Lane> {
        let mut known = self.mailboxes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(lane) = known.lanes.get(user) {
            return Arc::clone(lane);
        }
        if known.lanes.len() >= known.sweep_at {
            let now = Instant::now();
            known.lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || !lane.is_idle(now));
            known.sweep_at = SWEEP_FROM.max(known.lanes.len() * 2);
        }
        let lane = Lane::new("mailbox", self.pace, &self.budgets, Some(self.connections));
        let lane = Arc::new(lane);
        known.lanes.insert(user.to_owned(), Arc::clone(&lane));
        lane
    }
}

/// The state of one scope.
#[derive(Debug)]
pub(crate) struct Lane {
    connections: Option<Arc<Semaphore>>,
    adaptive: bool,
    heeds_rate_limit: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    windows: Vec<Window>,
    /// Of what is written.
    written: Vec<Window>,
    paused_until: Option<Instant>,
    /// What the service says is left, and until when.
    grant: Option<(Instant, u64)>,
    /// Part of the budget that is ours.
    share: f64,
    /// Refusals in a row that did not say for how long.
    untold: u32,
}

enum Entry {
    Now,
    Paused(Duration),
    Budget(Duration),
}

impl Lane {
    fn new(
        name: &str,
        pace: Pace,
        budgets: &[(String, u32, Duration)],
        connections: Option<usize>,
    ) -> Lane {
        let now = Instant::now();
        let windows = |name: &str| {
            let own = budgets.iter().filter(|(scope, ..)| scope == name);
            own.map(|(_, units, length)| Window::new(*units, *length, now)).collect()
        };
        let written = match name {
            "mailbox" => windows("mailbox-upload"),
            "directory" => windows("directory-write"),
            _ => Vec::new(),
        };
        Lane {
            connections: connections.map(|count| Arc::new(Semaphore::new(count))),
            adaptive: pace == Pace::Adaptive,
            heeds_rate_limit: pace != Pace::None,
            state: Mutex::new(State {
                windows: windows(name),
                written,
                paused_until: None,
                grant: None,
                share: 1.0,
                untold: 0,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn enter(&self, now: Instant, cost: Cost) -> Entry {
        let Cost { units, written } = cost;
        let mut state = self.state();
        if let Some(until) = state.paused_until {
            match until.saturating_duration_since(now) {
                Duration::ZERO => state.paused_until = None,
                wait => return Entry::Paused(wait),
            }
        }
        if units == 0 {
            return Entry::Now;
        }
        if let Some((until, left)) = state.grant {
            match until.saturating_duration_since(now) {
                Duration::ZERO => state.grant = None,
                wait if left < units => return Entry::Budget(wait),
                _ => {}
            }
        }
        let share = state.share;
        let delays = state.windows.iter_mut().map(|window| window.delay(now, units, share));
        let delay = delays.max().unwrap_or_default();
        let delays = state.written.iter_mut().filter(|_| written > 0);
        let delays = delays.map(|window| window.delay(now, written, share));
        match delays.max().unwrap_or_default().max(delay) {
            Duration::ZERO => {}
            wait => return Entry::Budget(wait),
        }
        if let Some((_, left)) = &mut state.grant {
            *left -= units;
        }
        for window in &mut state.windows {
            window.take(now, units);
        }
        for window in state.written.iter_mut().filter(|_| written > 0) {
            window.take(now, written);
        }
        Entry::Now
    }

    fn throttled(&self, now: Instant, told: Option<Duration>, base: Duration, jitter: f64) {
        let mut state = self.state();
        // Requests that were on their way together are refused together: that is one refusal.
        let in_pause = state.paused_until.is_some_and(|until| until > now);
        if self.adaptive && !in_pause {
            state.share = (state.share / 2.0).max(LEAST_SHARE);
        }
        let wait = told.unwrap_or_else(|| backoff(base, state.untold, jitter));
        if told.is_some() {
            state.untold = 0;
        } else if !in_pause {
            state.untold = state.untold.saturating_add(1);
        }
        let until = now + wait;
        state.paused_until = Some(state.paused_until.map_or(until, |before| before.max(until)));
    }

    /// A good answer.
    pub(crate) fn succeeded(&self, units: u64, limit: Option<RateLimit>) {
        let mut state = self.state();
        state.untold = 0;
        if self.adaptive && state.share < 1.0 {
            let budget = state.windows.first().map_or(1, Window::limit) as f64;
            state.share = (state.share + REGAIN * units as f64 / budget).min(1.0);
        }
        if let Some(RateLimit { remaining, reset }) = limit.filter(|_| self.heeds_rate_limit) {
            let now = Instant::now();
            // Requests under way are not in `remaining` yet; they are in what we had left.
            let left = state.grant.filter(|(until, _)| *until > now).map_or(remaining, |g| g.1);
            state.grant = Some((now + reset, remaining.min(left)));
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let mut state = self.state();
        let paused = state.paused_until.is_some_and(|until| until > now);
        let idle = state.windows.iter_mut().all(|window| window.is_idle(now));
        !paused && idle && state.written.iter_mut().all(|window| window.is_idle(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pacer(pace: Pace, budgets: &[&str]) -> Pacer {
        let mut config = Config::new("t");
        config.pace = pace;
        config.budgets = budgets.iter().map(|text| text.parse().unwrap()).collect();
        Pacer::new(&config)
    }

    const ONE: Cost = Cost { units: 1, written: 0 };

    fn passes(lane: &Lane, now: Instant) -> usize {
        (0..).take_while(|_| matches!(lane.enter(now, ONE), Entry::Now)).count()
    }

    #[test]
    fn what_is_written_has_a_budget_of_its_own() {
        let now = Instant::now();
        let pacer = pacer(Pace::Documented, &[]);
        let lane = pacer.lane(&Scope::Mailbox("a".into()));
        let mail = Cost { units: 1, written: 4_000_000 };
        let mails = (0..).take_while(|_| matches!(lane.enter(now, mail), Entry::Now)).count();
        assert_eq!(mails, 36, "of 4 MB in 96 % of 150 MB");
        assert!(matches!(lane.enter(now, ONE), Entry::Now), "reading goes on");
        let late = now + Duration::from_secs(306);
        assert!(matches!(lane.enter(late, mail), Entry::Now));
        let lane = pacer.lane(&Scope::Directory);
        let change = Cost { units: 1, written: 1 };
        let changes = (0..).take_while(|_| matches!(lane.enter(now, change), Entry::Now)).count();
        assert_eq!(changes, 2_880);
    }

    #[test]
    fn own_budgets_replace_documented_ones() {
        let now = Instant::now();
        let pacer = pacer(Pace::Documented, &["mailbox=100/60"]);
        assert_eq!(passes(&pacer.lane(&Scope::Mailbox("a".into())), now), 96);
        assert_eq!(passes(&pacer.lane(&Scope::Mailbox("b".into())), now), 96);
        assert_eq!(passes(&pacer.lane(&Scope::SharePoint), now), 1200);
    }

    #[test]
    fn a_pause_holds_in_every_mode_and_stops_one_scope() {
        let now = Instant::now();
        for pace in [Pace::Documented, Pace::Adaptive, Pace::None] {
            let pacer = pacer(pace, &[]);
            let (a, b) = (Scope::Mailbox("a".into()), Scope::Mailbox("b".into()));
            let lane = pacer.lane(&a);
            lane.throttled(now, Some(Duration::from_secs(9)), Duration::ZERO, 0.0);
            lane.throttled(now, Some(Duration::from_secs(3)), Duration::ZERO, 0.0);
            let later = now + Duration::from_secs(8);
            assert!(matches!(lane.enter(later, ONE), Entry::Paused(d) if d.as_secs() == 1));
            assert!(matches!(pacer.lane(&b).enter(now, ONE), Entry::Now));
            assert!(matches!(lane.enter(now + Duration::from_secs(9), ONE), Entry::Now));
        }
    }

    #[test]
    fn refusals_halve_the_share_once_a_pause() {
        let now = Instant::now();
        let pacer = pacer(Pace::Adaptive, &["sharepoint=100/60"]);
        let lane = pacer.lane(&Scope::SharePoint);
        let second = Some(Duration::from_secs(1));
        lane.throttled(now, second, Duration::ZERO, 0.0);
        lane.throttled(now, second, Duration::ZERO, 0.0);
        assert_eq!(passes(&lane, now + Duration::from_secs(2)), 48);
        lane.succeeded(96, None);
        assert_eq!(passes(&lane, now + Duration::from_secs(2)), 24);
    }

    #[test]
    fn what_the_service_says_is_left_is_heeded() {
        let pacer = pacer(Pace::Documented, &[]);
        let lane = pacer.lane(&Scope::SharePoint);
        let reset = Duration::from_secs(10);
        lane.succeeded(1, Some(RateLimit { remaining: 5, reset }));
        assert_eq!(passes(&lane, Instant::now()), 5);
        lane.succeeded(1, Some(RateLimit { remaining: 3, reset }));
        assert_eq!(passes(&lane, Instant::now()), 0);
        assert_eq!(passes(&lane, Instant::now() + reset), 1200 - 5);
    }

    #[test]
    fn idle_mailboxes_are_forgotten() {
        let pacer = pacer(Pace::Documented, &["mailbox=10/0.001"]);
        let busy = pacer.lane(&Scope::Mailbox("busy".into()));
        for n in 0..SWEEP_FROM * 4 {
            let lane = pacer.lane(&Scope::Mailbox(n.to_string()));
            assert!(matches!(lane.enter(Instant::now(), ONE), Entry::Now));
            if n % SWEEP_FROM == 0 {
                std::thread::sleep(Duration::from_millis(3));
            }
        }
        assert!(pacer.mailboxes.lock().unwrap().lanes.len() <= SWEEP_FROM * 2);
        assert!(Arc::ptr_eq(&busy, &pacer.lane(&Scope::Mailbox("busy".into()))));
    }
}
