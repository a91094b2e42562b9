//! Tenant to tar: what [`export`] does is list (into an [inventory](inventory) on disk), fetch
//! (in stream order, bounded, into a [spool](spool)) and write (through [`archive::Writer`]).
//!
//! A content type is one file in [`service`] and one match arm; owners, order, spooling,
//! outcomes and the stream itself know nothing of mail or files.
//!
//! Memory is bounded by [`Options`], never by the tenant: what is listed stands in a temporary
//! database, what is fetched ahead in the spool.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

mod base;
mod error;
mod filter;
mod inventory;
mod large;
mod monitor;
mod options;
mod outcome;
mod owner;
mod pipeline;
mod reuse;
mod rewrite;
mod section;
mod service;
mod spool;
mod state;
mod stream;
mod substitute;

pub use base::{Base, BaseSource, Ended};
pub use error::Error;
pub use monitor::{Decision, Monitor, Progress, Silent};
pub use options::{Options, SpoolOptions, default_spool_dir, spool_dir_is_memory};
pub use outcome::{Summary, Tolerance, Verdict};
pub use owner::{Owner, OwnerList, Owners};
pub use pipeline::export;
pub use rewrite::rewrite;
pub use service::Service;
pub use state::{State, States};
pub use stream::Output;
