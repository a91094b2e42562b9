//! What a run cost, for its report.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// What has been asked of the service so far.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests sent, by [`crate::Scope::name`], besides `login`, `download` and `upload`.
    pub requests: BTreeMap<&'static str, u64>,
    /// Requests that were sent again.
    pub retries: u64,
    /// Answers that told us to slow down: 429 and 503.
    pub throttled: u64,
    /// Time that tasks spent waiting for budgets, pauses and retries, summed over all tasks.
    pub waited: Duration,
    /// What each scope took, by [`crate::Scope::name`].
    pub scopes: BTreeMap<&'static str, ScopeCounters>,
    /// Bytes of all bodies, unpacked.
    pub bytes: u64,
    /// Requests among them that were to change something, parts of uploads included.
    pub writes: u64,
    /// Bytes of the bodies that those carried, again for each time they were sent.
    pub uploaded: u64,
}

/// What one kind of scope took, all mailboxes together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ScopeCounters {
    /// Requests that were paid from its budget, those to download and upload hosts included.
    pub requests: u64,
    /// Requests, or resource units (FACTS 2.3, 2.5): as the service says, else as documented.
    pub units: u64,
    /// Answers that told us to slow down.
    pub throttled: u64,
    /// Time that tasks spent waiting for its budget and the end of its pauses, summed.
    pub waited: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counters>);

impl Tally {
    fn with(&self, change: impl FnOnce(&mut Counters)) {
        change(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    pub(crate) fn request(&self, place: &'static str) {
        self.with(|counters| *counters.requests.entry(place).or_default() += 1);
    }

    /// A request that is to change something, with a body of `count` bytes.
    pub(crate) fn write(&self, count: usize) {
        self.with(|counters| {
            counters.writes += 1;
            counters.uploaded += count as u64;
        });
    }

    pub(crate) fn retry(&self) {
        self.with(|counters| counters.retries += 1);
    }

    /// A request was admitted to a scope, for so many units.
    pub(crate) fn admitted(&self, scope: &'static str, units: u64) {
        self.with(|counters| {
            let scope = counters.scopes.entry(scope).or_default();
            scope.requests += 1;
            scope.units += units;
        });
    }

    /// A request cost `actual` units and not those it was admitted for.
    pub(crate) fn corrected(&self, scope: &'static str, assumed: u64, actual: u64) {
        self.with(|counters| {
            let units = &mut counters.scopes.entry(scope).or_default().units;
            *units = (*units + actual).saturating_sub(assumed);
        });
    }

    pub(crate) fn throttled(&self, scope: &'static str) {
        self.with(|counters| {
            counters.throttled += 1;
            counters.scopes.entry(scope).or_default().throttled += 1;
        });
    }

    /// A task waited for the budget of a scope, or for the end of its pause.
    pub(crate) fn waited(&self, scope: &'static str, time: Duration) {
        self.with(|counters| {
            counters.waited += time;
            counters.scopes.entry(scope).or_default().waited += time;
        });
    }

    pub(crate) fn bytes(&self, count: usize) {
        self.with(|counters| counters.bytes += count as u64);
    }

    /// Sleeps, and says so.
    pub(crate) async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.with(|counters| counters.waited += time);
    }

    pub(crate) fn snapshot(&self) -> Counters {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}
