//! Calls of a guest: a turn, a store, an instance, all for one question.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use wasmtime::{Engine, Store};

use crate::{
    Failure, Limits,
    contract::{Guest, Instance},
    failure::Stage,
    limits::{CALLS, HANDED_OVER},
    state::State,
};

/// What all calls of one plugin have in common.
pub(crate) struct Runner {
    /// The plugin's, for messages.
    pub(crate) name: Arc<str>,
    pub(crate) settings: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) engine: Engine,
    pub(crate) calls: Arc<Calls>,
}

impl Runner {
    /// Waits for its turn. The call's store has everything limited and nothing to decide on.
    pub(crate) fn begin(&self) -> Call<'_> {
        let turn = self.calls.turn();
        let state = State::new(&self.name, &self.settings, &self.limits);
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.usage);
        store.set_fuel(self.limits.fuel).expect("the engine is configured for fuel");
        store.set_hostcall_fuel(HANDED_OVER);
        Call { plugin: &self.name, store, _turn: turn }
    }
}

/// One call. The instance takes its place in the pool until this is dropped, so the turn is kept
/// that long: fields are dropped in order.
pub(crate) struct Call<'a> {
    plugin: &'a str,
    store: Store<State>,
    _turn: Turn<'a>,
}

impl Call<'_> {
    pub(crate) fn state(&mut self) -> &mut State {
        self.store.data_mut()
    }

    /// Makes an instance and asks it.
    pub(crate) fn ask<T>(
        &mut self,
        guest: &dyn Guest,
        question: impl FnOnce(&dyn Instance, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Failure> {
        let Call { plugin, store, .. } = self;
        let failed = |stage, error| Failure::of(plugin, stage, &error);
        let instance =
            guest.instantiate(store).map_err(|error| failed(Stage::Instantiation, error))?;
        question(&*instance, store).map_err(|error| failed(Stage::Call, error))
    }
}

/// Counts the calls under way, so that the pool has a place for each.
#[derive(Default)]
pub(crate) struct Calls {
    places: Mutex<Places>,
    ended: Condvar,
}

#[derive(Default)]
struct Places {
    taken: u32,
    /// Calls that wait for one: to wake somebody is a system call, also where there is nobody.
    wanted: u32,
}

impl Calls {
    /// Waits until there is a place.
    fn turn(&self) -> Turn<'_> {
        let mut places = self.places();
        places.wanted += 1;
        places = self
            .ended
            .wait_while(places, |places| places.taken >= CALLS)
            .unwrap_or_else(PoisonError::into_inner);
        places.wanted -= 1;
        places.taken += 1;
        Turn(self)
    }

    /// Numbers can't be left half written.
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the pool; given back when it is dropped.
struct Turn<'a>(&'a Calls);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut places = self.0.places();
        places.taken -= 1;
        if places.wanted > 0 {
            self.0.ended.notify_one();
        }
    }
}
