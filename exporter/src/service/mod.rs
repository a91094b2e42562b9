//! What there is to export. A new content type is one file here and one arm in each match.

mod mail;
pub(crate) mod onedrive;
mod time;

use archive::{LedgerLine, Outcome};
use graph::{DeltaLink, ErrorKind};
use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::error::is_fatal;
use crate::inventory::{Inventory, Item, Name};
use crate::large::Large;
use crate::owner::Owner;
use crate::section::Context;
use crate::spool::{Spooled, Turn};
use crate::state::Seeds;

/// A service, in the order of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Service {
    /// Messages as EML.
    Mail,
    /// The user's drive, native files.
    OneDrive,
}

/// Is the service there for this owner?
#[derive(Debug)]
pub(crate) enum Presence {
    /// Yes; its root folder or drive, as the service describes it.
    Present(Value),
    /// No, and that is nobody's fault: no licence, a guest, not provisioned.
    Absent(Note),
    /// It is not for us: out of the app's scope, or permissions are missing.
    Refused(graph::Error),
}

/// How listing ended for an owner that has the service.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Id of the root folder.
    pub(crate) root: String,
    /// What the ledger has to say of folders, by their ids; of the whole section by "".
    pub(crate) notes: Vec<(String, Note)>,
    /// Listings that did not reach their end.
    pub(crate) failed: u64,
    /// Where the next listings may begin, by container.
    pub(crate) links: Vec<(String, DeltaLink)>,
}

/// A name that follows from changed metadata; see [`Name`].
pub(crate) enum NewName {
    Native(String),
    Unique(String),
}

impl NewName {
    pub(crate) fn as_name(&self) -> Name<'_> {
        match self {
            Self::Native(name) => Name::Native(name),
            Self::Unique(name) => Name::Unique(name),
        }
    }
}

/// Why something is not here, or not as it was.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) outcome: Outcome,
    pub(crate) cause: String,
    pub(crate) code: Option<String>,
    pub(crate) message: String,
}

impl Note {
    pub(crate) fn new(outcome: Outcome, cause: &str, message: &str) -> Self {
        Self { outcome, cause: cause.to_owned(), code: None, message: message.to_owned() }
    }

    pub(crate) fn with_code(mut self, error: &graph::Error) -> Self {
        self.code = error.code().map(str::to_owned);
        self
    }

    /// As a ledger line of one item.
    pub(crate) fn of_item(self, path: &str, id: &str) -> LedgerLine {
        LedgerLine {
            scope: None,
            path: Some(path.to_owned()),
            id: Some(id.to_owned()),
            outcome: self.outcome,
            cause: self.cause,
            code: self.code,
            message: self.message,
        }
    }

    /// As a ledger line of all that is below `scope`.
    pub(crate) fn of_scope(self, scope: &str) -> LedgerLine {
        LedgerLine {
            scope: Some(scope.to_owned()),
            path: None,
            id: None,
            outcome: self.outcome,
            cause: self.cause,
            code: self.code,
            message: self.message,
        }
    }
}

/// What came of fetching one item.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The content, and what the ledger must say of it.
    Whole(Spooled, Option<Note>),
    /// Longer than the spool allows: to be streamed when it is its turn.
    TooLarge(Box<Large>),
    /// No content.
    Without(Note),
}

/// Who asks for an item's content.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) owner: &'a Owner,
    /// What [`Presence::Present`] said.
    pub(crate) root: &'a Value,
    pub(crate) item: &'a Item,
    pub(crate) turn: Turn,
}

impl Service {
    /// All services, in the order of the format.
    pub const ALL: [Self; 2] = [Self::Mail, Self::OneDrive];

    /// The name in `--service`, in the head and in paths.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::OneDrive => "onedrive",
        }
    }

    /// The service of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// Application roles that exporting it needs (FACTS 1.8), least first; any one suffices.
    #[must_use]
    pub const fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Mail => &["Mail.Read", "Mail.ReadWrite"],
            Self::OneDrive => &[
                "Files.Read.All",
                "Files.ReadWrite.All",
                "Sites.Read.All",
                "Sites.ReadWrite.All",
                "Sites.FullControl.All",
            ],
        }
    }

    /// The most content requests of one owner at the same time.
    pub(crate) const fn owner_concurrency(self) -> usize {
        match self {
            // FACTS 2.2: 4 per app and mailbox.
            Self::Mail => 4,
            Self::OneDrive => 8,
        }
    }

    pub(crate) async fn find(self, context: &Context, owner: &Owner) -> Result<Presence, Error> {
        if owner.guest {
            return Ok(Presence::Absent(Note::new(
                Outcome::Skipped,
                "guest",
                "a guest has neither mailbox nor OneDrive in this tenant",
            )));
        }
        let found = match self {
            Self::Mail => mail::find(context, owner).await,
            Self::OneDrive => onedrive::find(context, owner).await,
        };
        found.or_else(|error| self.absence(owner, error))
    }

    /// Tells "has none" and "not for us" from what ends the run.
    fn absence(self, owner: &Owner, error: graph::Error) -> Result<Presence, Error> {
        let doing = format!("opening {} of {}", self.name(), owner.upn);
        if is_fatal(&error) {
            return Err(Error::graph(doing, error));
        }
        if *error.kind() == ErrorKind::Permission {
            return Ok(Presence::Refused(error));
        }
        let (cause, message) = match error.kind() {
            ErrorKind::NoMailbox
            | ErrorKind::NoDrive
            | ErrorKind::NotFound
            | ErrorKind::ItemGone => {
                if !owner.licensed {
                    ("unlicensed", "the user has no licence")
                } else if !owner.enabled {
                    ("disabled", "the user is disabled and does not have the service")
                } else {
                    ("no-service", "the user does not have the service")
                }
            }
            ErrorKind::Locked => ("locked", "the service keeps the owner's content locked"),
            _ => {
                let note = Note::new(Outcome::Failed, "listing", "the owner could not be opened");
                return Ok(Presence::Absent(note.with_code(&error)));
            }
        };
        Ok(Presence::Absent(Note::new(Outcome::Skipped, cause, message).with_code(&error)))
    }

    /// Puts all that the owner has into `inventory`. What `seeds` knows need not be listed.
    pub(crate) async fn list(
        self,
        context: &Context,
        owner: &Owner,
        root: &Value,
        inventory: Inventory,
        seeds: Seeds,
    ) -> Result<(Inventory, Listing), Error> {
        match self {
            Self::Mail => mail::list(context, owner, root, inventory, seeds).await,
            Self::OneDrive => onedrive::list(context, owner, root, inventory, seeds).await,
        }
    }

    pub(crate) async fn fetch(self, context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
        match self {
            Self::Mail => mail::fetch(context, asked).await,
            Self::OneDrive => onedrive::fetch(context, asked).await,
        }
    }

    /// The time of an item or folder in its member, seconds since 1970.
    pub(crate) fn mtime_of(self, kind: &str, graph: &Value) -> i64 {
        match self {
            Self::Mail if kind == archive::metadata::FOLDER => 0,
            Self::Mail => mail::mtime(graph),
            Self::OneDrive => onedrive::mtime(graph),
        }
    }

    /// The key that items are ordered by, from their metadata.
    pub(crate) fn order_of(self, graph: &Value) -> i64 {
        match self {
            Self::Mail => mail::order(graph),
            Self::OneDrive => onedrive::order(graph),
        }
    }

    /// The name that follows from an item's metadata.
    pub(crate) fn name_of(self, graph: &Value, item: &Item) -> NewName {
        match self {
            Self::Mail => mail::name(graph, item),
            Self::OneDrive => onedrive::name(graph),
        }
    }

    /// Media type and length of an item's content, as far as the listing tells.
    pub(crate) fn media(self, json: &str) -> (Option<String>, Option<u64>) {
        match self {
            Self::Mail => mail::media(),
            Self::OneDrive => onedrive::media(json),
        }
    }

    /// What this version leaves in the tenant, per owner: never silence (design.md 3).
    pub(crate) const fn not_covered(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Mail => {
                &[("archive-mailbox", "Graph does not give the in-place archive mailbox")]
            }
            Self::OneDrive => &[
                ("versions", "earlier versions of files are not exported"),
                ("sharing", "sharing permissions and links are not exported"),
            ],
        }
    }
}
