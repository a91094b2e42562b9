//! A Microsoft 365 on loopback HTTP, for trials and tests.
//!
//! ```no_run
//! # async fn example() -> Result<(), simulator::Error> {
//! let simulator = simulator::serve(simulator::Options::default()).await?;
//! let root = simulator.graph_url();
//! # simulator.shutdown().await; Ok(()) }
//! ```
//!
//! It plays the login, Graph, download and instance-identity hosts for a tenant whose users,
//! mails and files are a function of a seed, or the files of a folder. It behaves as documented,
//! [`Limits`] and error bodies included, and misbehaves as told: see [`Fault`]. It shares no code
//! with the client it tests, so that a mistake on one side does not pass on the other.
//!
//! Tests look at the tenant and change it through [`Tenant`] and read what the client did from the
//! [`Log`]; tests in another process use the control API, described in `routes/control.rs`.

mod authority;
mod blob;
mod calendar;
mod call;
mod clock;
mod compose;
pub mod connect;
mod contacts;
mod content;
mod delta;
mod dice;
mod drive;
mod error;
mod extended;
mod faults;
mod filter;
mod groups;
mod ids;
mod limits;
mod log;
mod mail;
mod mailbox;
mod media;
mod mime;
mod names;
mod options;
mod page;
mod person;
mod recurrence;
mod reply;
mod routes;
pub mod schema;
mod seed;
mod server;
mod shelf;
mod sink;
mod spool;
mod tenant;
mod throttle;
mod tickets;
pub mod tls;
mod todo;
mod units;
mod uploads;
mod zones;

pub use error::Error;
pub use faults::{Fault, Kind};
pub use limits::{Directory, Factors, Limits, SharePoint, Windows};
pub use log::{Counts, Host, Log, Record, ScopeCounts};
pub use options::{
    ContactProperties, Credentials, Language, NewUser, Options, Profile, PublicUrls, TaskParts,
};
pub use server::{Simulator, serve};
pub use tenant::{
    AttachmentInfo, FileInfo, GroupInfo, ItemInfo, MailFolder, MailInfo, Mailed, PostInfo, Tenant,
    User, UserKind,
};
