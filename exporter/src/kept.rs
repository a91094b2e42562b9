//! What services keep for a whole run: each a type of its own, unknown to everybody else.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One value of each type that was asked for.
#[derive(Default)]
pub(crate) struct Kept(Mutex<BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Kept {
    /// The value of that type, made when it is asked for first.
    pub(crate) fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = all.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        Arc::clone(made).downcast().expect("values stand by their own type")
    }
}

/// How much less than everything is asked of one owner (0: nothing less), because the service
/// refused more. Each owner is asked himself, so that no archive depends on who was asked first;
/// who runs it is told once. `S` is a type for what is asked.
pub(crate) struct Level<S> {
    now: AtomicUsize,
    told: Arc<Told<S>>,
}

/// The lowest level that the run was told of.
struct Told<S>(AtomicUsize, PhantomData<fn() -> S>);

impl<S> Default for Told<S> {
    fn default() -> Self {
        Self(AtomicUsize::new(0), PhantomData)
    }
}

impl<S: 'static> Level<S> {
    pub(crate) fn new(kept: &Kept) -> Self {
        Self { now: AtomicUsize::new(0), told: kept.get() }
    }

    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// After a refusal of what is asked at level `from`, which several listings may come upon at the
    /// same time. True for the first in the run.
    pub(crate) fn lower(&self, from: usize) -> bool {
        let (is, next) = (Ordering::Relaxed, from + 1);
        self.now.compare_exchange(from, next, is, is).is_ok()
            && self.told.0.fetch_max(next, is) < next
    }
}

impl<S> fmt::Debug for Level<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now.fmt(f)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}
