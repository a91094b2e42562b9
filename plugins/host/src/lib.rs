//! Runs filter plugins: WebAssembly components that decide, item by item, what leaves the tenant.
//!
//! A [`Host`] loads [`Source`]s into [`Plugin`]s, and a [`Chain`] asks those in the operator's
//! order. What a plugin may import and must export is the package in `wit/`; nothing else is given
//! to it, so that the same plugin with the same settings gives the same answers everywhere:
//!
//! - a fresh instance for every call, nothing of one item reaches the next;
//! - fuel, memory, stack, tables and everything it hands over are bounded by [`Limits`];
//! - NaNs are canonical, relaxed SIMD is deterministic, there are no threads;
//! - content comes in pieces whose borders do not depend on how the bytes arrive.
//!
//! Whatever goes wrong inside a plugin is a [`Failure`] of the item, never of the host, and means
//! that the item is not written.
//!
//! What plugins say comes out of `tracing` with the target `plugin`, at their own level.
//!
//! Calls block and need a thread with a stack of at least 2 MiB, as threads of std and tokio have.

mod chain;
mod contract;
mod engine;
mod error;
mod failure;
mod fields;
mod host;
mod imports;
mod item;
mod limits;
mod manifest;
mod plugin;
mod runner;
mod state;
mod text;

pub use chain::{Chain, Verdict};
pub use error::Error;
pub use failure::{Cause, ContentError, Failure};
pub use host::{Host, Source};
pub use item::{ContentDecision, Item, MetadataDecision};
pub use limits::Limits;
pub use manifest::{Manifest, Phase};
pub use plugin::Plugin;
