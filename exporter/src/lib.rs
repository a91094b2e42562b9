//! Tenant to tar: what [`export`] does is list (into an [inventory](inventory) on disk), fetch
//! (in stream order, bounded, into a [spool](spool)) and write (through [`archive::Writer`]).
//!
//! A content type is one file in [`service`] and one arm there; owners, order, spooling,
//! outcomes and the stream itself know nothing of mail or files.
//!
//! Memory is bounded by [`Options`], never by the tenant: what is listed stands in a temporary
//! database, what is fetched ahead in the spool.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test"))]

mod attached;
mod base;
mod context;
mod error;
mod estimate;
mod filter;
mod follow;
mod inventory;
mod kept;
mod large;
mod make;
mod monitor;
mod options;
mod outcome;
mod owner;
mod pipeline;
mod queue;
mod remarks;
mod reuse;
mod rewrite;
mod section;
mod service;
mod spool;
mod state;
mod stream;
mod streams;
mod substitute;
mod tree;

pub use base::{Base, BaseSource, Ended};
pub use error::Error;
pub use estimate::{
    Bound, Depth, Enquiry, Estimate, Known, Largest, Limits, Load, ServiceTotal, Survey, Time,
    estimate, survey,
};
pub use monitor::{Decision, Monitor, Progress, Silent};
pub use options::{Options, SpoolOptions, default_spool_dir, spool_dir_is_memory};
pub use outcome::{Coverage, Summary, Tolerance, Verdict};
pub use owner::{Owner, OwnerKind, OwnerList, Owners};
pub use pipeline::export;
pub use rewrite::rewrite;
pub use service::Service;
pub use state::{State, States};
pub use stream::Output;
pub use streams::{Parts, StreamEnd, Streams};
