//! Who may send when: budgets, pauses and connections, apart for each scope (FACTS 2).
//!
//! - [`budgets`]: what is documented, and which part of it is ours
//! - [`window`]: so many units in any stretch of time
//! - [`tempo`]: a rate that refusals lower and time raises (AIMD)
//! - [`signals`]: what an answer's headers say of the limits
//! - [`memory`]: all that is known of a scope, and the decisions
//! - [`shared`]: the same for all processes of this host
//! - [`lane`] and [`pacer`]: tasks that wait for it

mod budgets;
mod lane;
mod memory;
mod pacer;
mod shared;
mod signals;
mod tempo;
mod window;

#[cfg(test)]
mod simulation;

pub use budgets::documented;
pub(crate) use lane::Lane;
pub(crate) use memory::Cost;
pub(crate) use pacer::{Pacer, PausedTooLong, Permit};
pub(crate) use signals::RateLimit;
