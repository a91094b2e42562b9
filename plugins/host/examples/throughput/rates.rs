//! How often something can be done in a second.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Rounds of a measurement: their median counts.
const ROUNDS: usize = 7;
/// The least that a round takes.
const ROUND: Duration = Duration::from_millis(150);

/// Calls a second of a component and of the same compiled natively, each from so many threads at
/// once. They take turns, so that what else the machine does hits both.
pub(crate) fn both(
    threads: usize,
    component: impl Fn() + Sync,
    native: impl Fn() + Sync,
) -> (f64, f64) {
    let rounds = [(); ROUNDS].map(|()| (rate(threads, &component), rate(threads, &native)));
    (median(rounds.map(|round| round.0)), median(rounds.map(|round| round.1)))
}

/// The middle one.
pub(crate) fn median<const N: usize>(mut values: [f64; N]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[N / 2]
}

fn rate(threads: usize, call: &(impl Fn() + Sync)) -> f64 {
    let start = Instant::now();
    let calls = || {
        let mut calls = 0.0;
        while start.elapsed() < ROUND {
            call();
            calls += 1.0;
        }
        calls
    };
    let calls: f64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(calls)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no call panics")).sum()
    });
    calls / start.elapsed().as_secs_f64()
}
