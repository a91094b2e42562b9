//! One scope: its state, here or in the file that processes share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::throttle::budgets::Rules;
use crate::throttle::memory::{Cost, Entry, Memory};
use crate::throttle::shared::Shared;
use crate::throttle::signals::Signals;

/// Where the state of a scope is kept.
#[derive(Clone, Debug)]
pub(crate) enum Keeping {
    /// By this process, which began to count then.
    Own(Instant),
    /// In a file, under this number.
    Shared(Arc<Shared>, usize),
}

/// A request that was admitted, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    at: Duration,
    pub(crate) cost: Cost,
}

/// The state of one scope.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    pub(crate) connections: Option<Arc<Semaphore>>,
    /// Where tasks queue for the budget, so that who needs much of it is not overtaken for ever.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// Whether it did not answer for longer than our patience.
    out: AtomicBool,
    /// Whether something of it stayed "unavailable" while other things were answered.
    spoilt: AtomicBool,
    /// Microseconds for which tasks slept because the service had told the scope to stop.
    paused: AtomicU64,
    rules: Arc<Rules>,
    keeping: Keeping,
    /// As it was when it was last looked at.
    memory: Mutex<Memory>,
}

impl Lane {
    pub(crate) fn new(
        name: &'static str,
        rules: Arc<Rules>,
        connections: Option<usize>,
        keeping: Keeping,
    ) -> Lane {
        Lane {
            name,
            connections: connections.map(|count| Arc::new(Semaphore::new(count))),
            turn: tokio::sync::Mutex::default(),
            out: AtomicBool::new(false),
            spoilt: AtomicBool::new(false),
            paused: AtomicU64::new(0),
            memory: Mutex::new(Memory::new(&rules)),
            rules,
            keeping,
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn now(&self) -> Duration {
        match &self.keeping {
            Keeping::Own(origin) => origin.elapsed(),
            Keeping::Shared(..) => Shared::now(),
        }
    }

    /// Changes the state, which nobody else sees meanwhile.
    async fn change<T>(&self, change: impl FnOnce(&mut Memory, &Rules, Duration) -> T) -> T {
        let Keeping::Shared(shared, number) = &self.keeping else {
            return change(&mut self.memory(), &self.rules, self.now());
        };
        let locked = shared.lock().await;
        let mut memory = self.memory();
        let at = self.now();
        let Some(mut locked) = locked else { return change(&mut memory, &self.rules, at) };
        if let Some(known) = locked.load(*number) {
            memory.adopt(&self.rules, known, at);
        }
        let changed = change(&mut memory, &self.rules, at);
        locked.store(*number, &memory);
        changed
    }

    /// Takes `cost` from the budgets, or says what is in the way.
    pub(crate) async fn enter(&self, cost: Cost) -> Result<Charge, Entry> {
        let enter = |memory: &mut Memory, rules: &Rules, at| match memory.enter(rules, at, cost) {
            Entry::Now => Ok(Charge { at, cost }),
            entry => Err(entry),
        };
        self.change(enter).await
    }

    /// How long a pause that this process knows of still lasts.
    pub(crate) fn pause(&self) -> Duration {
        let at = self.now();
        self.memory().pause(at)
    }

    /// What was charged was answered; `good` if as asked for.
    pub(crate) async fn answered(&self, charge: Charge, signals: Signals, good: bool) {
        let is_settled = self.memory().is_settled(charge.at, self.now());
        if is_settled && signals == Signals::default() {
            return;
        }
        let answered = |memory: &mut Memory, rules: &Rules, at| {
            memory.answered(rules, (charge.at, at), charge.cost, signals, good);
        };
        self.change(answered).await;
    }

    /// The service told a request to slow down, perhaps for how long.
    pub(crate) async fn refused(&self, told: Option<Duration>, base: Duration, jitter: f64) {
        let refused = |memory: &mut Memory, rules: &Rules, at| {
            memory.refused(rules, at, told, base, jitter);
        };
        self.change(refused).await;
    }

    pub(crate) fn is_idle(&self) -> bool {
        let at = self.now();
        !self.is_out() && self.memory().is_idle(at)
    }

    /// See [`Lane::set_spoilt`].
    pub(crate) fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Relaxed)
    }

    /// Something of a mailbox stayed "unavailable" while other things were answered. Nothing follows
    /// from that where one scope is a whole tenant.
    pub(crate) fn set_spoilt(&self) {
        self.spoilt.store(self.connections.is_some(), Ordering::Relaxed);
    }

    /// Whether it has outlasted our patience and not answered since.
    pub(crate) fn is_out(&self) -> bool {
        self.out.load(Ordering::Relaxed)
    }

    /// How long tasks have slept in pauses so far.
    pub(crate) fn paused(&self) -> Duration {
        Duration::from_micros(self.paused.load(Ordering::Relaxed))
    }

    pub(crate) fn add_pause(&self, slept: Duration) {
        let slept = u64::try_from(slept.as_micros()).unwrap_or(u64::MAX);
        self.paused.fetch_add(slept, Ordering::Relaxed);
    }

    pub(crate) fn set_out(&self, out: bool) {
        self.out.store(out, Ordering::Relaxed);
    }
}
