//! Microsoft Graph as a client sees it: credentials, pacing, paging, delta, downloads, writes,
//! uploads, typed errors.
//!
//! Everything goes through [`Graph`], which is cheap to clone and shared by all tasks:
//!
//! ```no_run
//! # async fn demo() -> Result<(), graph::Error> {
//! use graph::{Config, Credential, Graph, Prefer, Scope, segment};
//!
//! let credential = Credential::Secret { client_id: "…".into(), secret: "…".into() };
//! let graph = Graph::new(Config::new("contoso.example"), credential)?;
//! graph.sign_in().await?;
//!
//! let user = "87d349ed-44d7-43e1-9a83-5f2406dee5bd";
//! let path = format!("/users/{}/mailFolders/delta", segment(user));
//! let mut pages = graph.pages(Scope::Mailbox(user.into()), &path, Prefer::page_size(100));
//! while let Some(page) = pages.next().await? {
//!     for folder in page.items {
//!         println!("{}", folder.parse()?["displayName"]);
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! What the crate takes care of, so that no caller has to:
//! - tokens: fetched once, renewed ahead of time, shared by all tasks ([`Credential`]);
//! - limits: every request is paid from the budget of its [`Scope`]; a throttled scope stops
//!   alone ([`Pace`]);
//! - retries: as many as the service's own rules allow, never longer than [`Config::patience`];
//! - writes: what may have been made is looked for before it is made again;
//! - addresses: a token goes to the configured service only, links are followed byte for byte;
//! - secrets: no token, secret or pre-authenticated URL appears in any error or log line.

mod aadsts;
mod assertion;
mod body;
mod call;
mod classify;
mod cloud;
mod config;
mod counters;
mod credential;
mod device;
mod download;
mod engine;
mod error;
mod exchange;
mod identity;
mod imds;
mod json;
mod link;
mod login;
mod page;
mod prefer;
mod redact;
mod retry;
mod scope;
mod service;
mod session;
mod throttle;
mod token;
mod transport;
mod trust;
mod upload;
mod write;

pub use body::Body;
pub use cloud::Cloud;
pub use config::{Budget, BudgetError, Config, Pace, UnknownName};
pub use counters::{Counters, ScopeCounters};
pub use credential::Credential;
pub use download::Download;
pub use error::{Error, ErrorKind};
pub use identity::Identity;
pub use link::{DeltaLink, segment};
pub use page::{Item, Page, Pages};
pub use prefer::Prefer;
pub use scope::Scope;
pub use service::Graph;
pub use throttle::documented;
pub use trust::client_tls;
pub use upload::{Source, Upload, Uploaded};

/// A parsed Graph answer. Lone surrogates and invalid UTF-8 have become U+FFFD.
pub type Json = serde_json::Value;
