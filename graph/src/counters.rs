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
    /// Bytes of all bodies, unpacked.
    pub bytes: u64,
    /// Requests among them that were to change something, parts of uploads included.
    pub writes: u64,
    /// Bytes of the bodies that those carried, again for each time they were sent.
    pub uploaded: u64,
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

    pub(crate) fn throttled(&self) {
        self.with(|counters| counters.throttled += 1);
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
