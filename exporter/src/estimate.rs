//! What an export will ask of the service, before it does: from counts that a few requests give.
//!
//! Requests follow from the numbers by what the services' own files do, without retries: one file
//! and one match arm a content type here, too.

mod limits;
mod rows;
mod survey;

use std::ops::AddAssign;

use archive::Selector;
use graph::Graph;
use serde::Serialize;

pub use limits::{Bound, Limits, Time};
pub(crate) use rows::{Counter, Sample, all_rows, is_bad_request, rows_of_any};
pub use survey::{Largest, ServiceTotal, Survey, survey};

use crate::owner::Owner;
use crate::{Error, Service};

/// How much is asked of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// One request a service. Sizes of mails and numbers of files are then assumed.
    Quick,
    /// More, where that is needed for a number: averages of a part stand for the rest.
    Sampled,
    /// Every page: what a listing costs an export, without the contents.
    Exact,
}

/// How a number is known; of several the last one holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// The service said it.
    #[default]
    Counted,
    /// From the average of a sample.
    Sampled,
    /// From an average of our own.
    Assumed,
}

/// What is to be estimated, and how.
#[derive(Clone, Debug)]
pub struct Enquiry {
    /// Services in any order.
    pub services: Vec<Service>,
    /// What is selected. Sections that it excludes as a whole are not counted; what it takes of
    /// others can't be told without listing them, so they are counted in full.
    pub selector: Selector,
    /// How much is asked of each owner.
    pub depth: Depth,
    /// Also the recoverable items of each mailbox.
    pub include_recoverable: bool,
    /// True where messages have no delta (FACTS 10: 21Vianet).
    pub without_message_delta: bool,
}

/// What an export asks of the service, by the scopes that it is limited in (FACTS 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Load {
    /// Messages, files, events, contacts, tasks, documents, posts.
    pub items: u64,
    /// Bytes of their contents.
    pub bytes: u64,
    /// Requests to mailboxes.
    pub mailbox: u64,
    /// Requests to SharePoint.
    pub sharepoint: u64,
    /// Resource units of those.
    pub units: u64,
    /// Requests to the directory on account of owners, each one resource unit (FACTS 2.5).
    pub directory: u64,
    /// Requests to the hosts that give file contents: in no budget.
    pub downloads: u64,
    /// Bytes that those give: SharePoint's egress.
    pub egress: u64,
}

impl Load {
    /// All requests, whatever they are for.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.mailbox + self.sharepoint + self.directory + self.downloads
    }

    /// The same of `all` owners, of which these are the numbers of `of`.
    fn scaled(self, all: u64, of: u64) -> Self {
        let scale = |n: u64| {
            let scaled = u128::from(n) * u128::from(all) / u128::from(of.max(1));
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        Self {
            items: scale(self.items),
            bytes: scale(self.bytes),
            mailbox: scale(self.mailbox),
            sharepoint: scale(self.sharepoint),
            units: scale(self.units),
            directory: scale(self.directory),
            downloads: scale(self.downloads),
            egress: scale(self.egress),
        }
    }
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.items += other.items;
        self.bytes += other.bytes;
        self.mailbox += other.mailbox;
        self.sharepoint += other.sharepoint;
        self.units += other.units;
        self.directory += other.directory;
        self.downloads += other.downloads;
        self.egress += other.egress;
    }
}

/// The load of one service of one owner, and how far it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) load: Load,
    pub(crate) items: Known,
    pub(crate) bytes: Known,
}

/// Is the service there for this owner?
#[derive(Debug)]
pub(crate) enum Found {
    Present(Numbers),
    Absent,
    Refused(graph::Error),
    /// The selection does not take it.
    Excluded,
    /// Nobody has said how to tell.
    Uncounted,
    /// It could not be asked; an export may fare better.
    Unknown(String),
}

/// One service of one owner.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) service: Service,
    pub(crate) found: Found,
    /// What an export asks for; not much where it finds nothing.
    pub(crate) load: Load,
}

/// What an export asks for on account of one owner.
#[derive(Debug)]
pub struct Estimate {
    pub(crate) parts: Vec<Part>,
}

impl Estimate {
    /// All services together.
    #[must_use]
    pub fn load(&self) -> Load {
        let mut all = Load::default();
        self.parts.iter().for_each(|part| all += part.load);
        all
    }

    /// Seconds that the owner takes alone, at these limits: a weight for who begins first.
    #[must_use]
    pub fn seconds(&self, limits: &Limits) -> f64 {
        limits.owner(&self.load())
    }
}

/// Asks what `owner` has, with a few requests a service unless [`Depth::Exact`] is asked for.
///
/// # Errors
/// What would end an export: credentials, or a service that does not answer. An owner without a
/// service, or one who is refused to us, is none.
pub async fn estimate(graph: &Graph, owner: &Owner, enquiry: &Enquiry) -> Result<Estimate, Error> {
    let mut services = enquiry.services.clone();
    services.sort_unstable();
    services.dedup();
    let mut parts = Vec::new();
    for service in services {
        if !service.serves(owner.kind) {
            continue;
        }
        let section = format!("{}/{}", owner.path(), service.name());
        let found = match enquiry.selector.excludes_subtree(&section) {
            true => Found::Excluded,
            false => service.estimate(graph, owner, enquiry).await?,
        };
        let load = match &found {
            Found::Present(numbers) => numbers.load,
            Found::Excluded => Load::default(),
            _ if owner.guest => Load::default(),
            _ => service.opening(owner),
        };
        parts.push(Part { service, found, load });
    }
    Ok(Estimate { parts })
}
