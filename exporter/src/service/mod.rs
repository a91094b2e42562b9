//! What there is to export. A new content type is one file here, which says all that is to be known
//! of it ([`Export`]), and one arm in `dispatch`.

pub(crate) mod calendar;
mod contacts;
mod conversations;
mod mail;
mod onedrive;
mod settings;
mod tasks;
mod time;
pub(crate) mod volatile;

use archive::{Head, LedgerLine, Outcome};
use graph::{DeltaLink, ErrorKind, Graph, Prefer, Scope};
use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::context::Context;
use crate::error::{is_fatal, is_gone};
use crate::estimate::{Depth, Enquiry, Found, Load, Numbers};
use crate::inventory::{Inventory, Item, Name};
use crate::large::Large;
use crate::options::Options;
use crate::owner::{Owner, OwnerKind};
use crate::spool::{Spooled, Turn};
use crate::state::Seeds;

/// A service, in the order of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Service {
    /// Messages as EML.
    Mail,
    /// Events as iCalendar.
    Calendar,
    /// Contacts as vCards.
    Contacts,
    /// Tasks of To Do as iCalendar.
    Tasks,
    /// What a mailbox is set to, rules, categories, picture and profile, as JSON.
    Settings,
    /// Conversations of a group.
    Conversations,
    /// The user's drive, native files.
    OneDrive,
}

/// The same call on whatever service it is: a new one is registered here, in [`Service`], and in
/// [`Service::ALL`].
macro_rules! dispatch {
    ($service:expr, $as:ident => $call:expr) => {
        match $service {
            Service::Mail => {
                type $as = mail::Mail;
                $call
            }
            Service::Calendar => {
                type $as = calendar::Calendar;
                $call
            }
            Service::Contacts => {
                type $as = contacts::Contacts;
                $call
            }
            Service::Tasks => {
                type $as = tasks::Tasks;
                $call
            }
            Service::Settings => {
                type $as = settings::Settings;
                $call
            }
            Service::Conversations => {
                type $as = conversations::Conversations;
                $call
            }
            Service::OneDrive => {
                type $as = onedrive::OneDrive;
                $call
            }
        }
    };
}

/// What is fixed of a service.
pub(crate) struct About {
    /// The name in `--service`, in the head and in paths.
    pub(crate) name: &'static str,
    /// See [`Service::roles`].
    pub(crate) roles: &'static [&'static str],
    /// Who may have it.
    pub(crate) owners: &'static [OwnerKind],
    /// The most content requests of one owner at the same time.
    pub(crate) owner_concurrency: usize,
    /// Kinds of items that never have content, and so no path.
    pub(crate) without_content: &'static [&'static str],
    /// What this version leaves in the tenant, per owner: never silence (design.md 3). A code and
    /// a message each.
    pub(crate) not_covered: &'static [(&'static str, &'static str)],
}

/// A service. See doc/service-spec.md for what each of these must do.
pub(crate) trait Export {
    const ABOUT: About;

    /// Of the codes of [`About::not_covered`], those that Graph has no way to.
    const IMPOSSIBLE: &'static [&'static str] = &[];

    /// Whether one request tells how much there is: enough to say whose stream begins first.
    const IS_WEIGHED: bool = false;

    /// What this version leaves in the tenant of owners of that kind; see [`About::not_covered`].
    fn not_covered(_kind: OwnerKind) -> &'static [(&'static str, &'static str)] {
        Self::ABOUT.not_covered
    }

    /// The one request that tells whether the owner has it; its answer is the `root` of all that
    /// follows.
    fn root(owner: &Owner) -> (Scope, String);

    /// The request that tells whether the app was let in to what counts, where [`Self::root`] is
    /// answered all the same.
    fn probe(owner: &Owner) -> (Scope, String) {
        Self::root(owner)
    }

    /// Puts all that the owner has into the inventory. What `seeds` knows need not be listed.
    fn list(of: Opened<'_>, seeds: Seeds) -> impl Future<Output = Result<Listing, Error>> + Send;

    /// The whole content of one item, or why it is not to be had.
    fn fetch(
        context: &Context,
        asked: Asked<'_>,
    ) -> impl Future<Output = Result<Fetched, Error>> + Send;

    /// What exporting it will ask for, by a few requests (see [`crate::estimate`]); none where
    /// nobody has said how to tell.
    fn estimate(
        _graph: &Graph,
        _owner: &Owner,
        _enquiry: &Enquiry,
    ) -> impl Future<Output = Result<Option<Numbers>, graph::Error>> + Send {
        std::future::ready(Ok(None))
    }

    /// The time of an item or folder in its member, seconds since 1970.
    fn mtime(kind: &str, graph: &Value) -> i64;

    /// The key that items are ordered by, from their metadata: nanoseconds since 1970, and what
    /// `archive::metadata::Line::key` says for their kind.
    fn order(graph: &Value) -> i64;

    /// The name that follows from the metadata of an item or folder.
    fn name(graph: &Value, item: &Item) -> NewName;

    /// Media type and length of an item's content, as far as the listing tells.
    fn media(json: &str) -> (Option<String>, Option<u64>);

    /// Whether an item has the content that it had, by what the service said of it then and says
    /// now.
    fn is_same_content(earlier: &Value, now: &Value) -> bool {
        crate::base::is_same_content(earlier, now)
    }

    /// Whether an archive with that head has the contents in the form that is asked for now.
    fn is_alike(_head: &Head, _options: &Options) -> bool {
        true
    }

    /// Why a large file can't be read, of an error that no retry cures.
    fn refusal(
        _context: &Context,
        _large: &Large,
        error: &graph::Error,
    ) -> impl Future<Output = Note> + Send {
        let note = Note::new(Outcome::Failed, "content", "the file could not be read");
        std::future::ready(note.with_code(error))
    }
}

/// An owner's service while it is listed.
#[derive(Clone, Copy)]
pub(crate) struct Opened<'a> {
    pub(crate) context: &'a Context,
    pub(crate) owner: &'a Owner,
    /// What [`Presence::Present`] said.
    pub(crate) root: &'a Value,
    /// Where all of it goes.
    pub(crate) inventory: &'a Inventory,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) outcome: Outcome,
    pub(crate) cause: String,
    pub(crate) code: Option<String>,
    pub(crate) message: String,
    /// Of what, below the scope it is made a line of; none for all of that.
    pub(crate) part: Option<String>,
}

impl Note {
    pub(crate) fn new(outcome: Outcome, cause: &str, message: &str) -> Self {
        let (cause, message) = (cause.to_owned(), message.to_owned());
        Self { outcome, cause, code: None, message, part: None }
    }

    /// It speaks of no more than this, by its path below the scope.
    pub(crate) fn of_part(mut self, part: &str) -> Self {
        self.part = Some(part.to_owned());
        self
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

    /// As a ledger line of all that is below `scope`, or of its part of that.
    pub(crate) fn of_scope(self, scope: &str) -> LedgerLine {
        let below = self.part.map(|part| format!("/{part}")).unwrap_or_default();
        LedgerLine {
            scope: Some(format!("{scope}{below}")),
            path: None,
            id: None,
            outcome: self.outcome,
            cause: self.cause,
            code: self.code,
            message: self.message,
        }
    }
}

/// The cause of a note on content that is there but for a part of it that could not be read.
pub(crate) const INCOMPLETE: &str = "incomplete";
/// What services that came before it call the same: their archives say so.
const INCOMPLETE_TOO: [&str; 3] = ["attachments", "attachments-incomplete", "no-mime-incomplete"];

/// Whether content with a note of that cause lacks something that may be had another time: a base
/// does not stand for it, and who wants all has not got it.
pub(crate) fn is_incomplete(cause: &str) -> bool {
    cause == INCOMPLETE || INCOMPLETE_TOO.contains(&cause)
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
    pub const ALL: [Self; 7] = [
        Self::Mail,
        Self::Calendar,
        Self::Contacts,
        Self::Tasks,
        Self::Settings,
        Self::Conversations,
        Self::OneDrive,
    ];

    /// What is fixed of it.
    pub(crate) const fn about(self) -> &'static About {
        dispatch!(self, Of => &<Of as Export>::ABOUT)
    }

    /// See [`Export::not_covered`].
    pub(crate) fn not_covered(self, kind: OwnerKind) -> &'static [(&'static str, &'static str)] {
        dispatch!(self, Of => Of::not_covered(kind))
    }

    /// See [`Export::IMPOSSIBLE`].
    pub(crate) fn is_impossible(self, code: &str) -> bool {
        dispatch!(self, Of => <Of as Export>::IMPOSSIBLE.contains(&code))
    }

    /// The name in `--service`, in the head and in paths.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.about().name
    }

    /// The service of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// Application roles that exporting it needs (FACTS 1.8), least first; any one suffices.
    #[must_use]
    pub const fn roles(self) -> &'static [&'static str] {
        self.about().roles
    }

    /// The request that tells whether an owner has it: whose throttling it counts to, and its
    /// path.
    #[must_use]
    fn root_request(self, owner: &Owner) -> (Scope, String) {
        dispatch!(self, Of => Of::root(owner))
    }

    /// The request that tells whether the app was let in.
    #[must_use]
    pub fn probe_request(self, owner: &Owner) -> (Scope, String) {
        dispatch!(self, Of => Of::probe(owner))
    }

    /// The kinds of owners that can have one of `services`.
    #[must_use]
    pub fn owner_kinds(services: &[Self]) -> Vec<OwnerKind> {
        let served = |kind: &OwnerKind| services.iter().any(|service| service.serves(*kind));
        OwnerKind::ALL.into_iter().filter(served).collect()
    }

    /// Whether owners of that kind can have it.
    #[must_use]
    pub fn serves(self, kind: OwnerKind) -> bool {
        self.about().owners.contains(&kind)
    }

    /// Whether items of that kind can have content. Folders are members; what never has content
    /// has no path.
    pub(crate) fn has_content(self, kind: &str) -> bool {
        !self.about().without_content.contains(&kind)
    }

    pub(crate) async fn find(self, context: &Context, owner: &Owner) -> Result<Presence, Error> {
        if owner.guest {
            return Ok(Presence::Absent(Note::new(
                Outcome::Skipped,
                "guest",
                "a guest has neither mailbox nor OneDrive in this tenant",
            )));
        }
        let (scope, path) = self.root_request(owner);
        let ask = || context.graph().get(&scope, &path, Prefer::none());
        let mut root = ask().await;
        // Who has a licence and "is not found" is asked again: what he lacks has a code of its own.
        let should_have = owner.licensed && owner.enabled;
        if matches!(&root, Err(error) if should_have && is_gone(error)) {
            root = ask().await;
        }
        match root {
            Ok(root) => Ok(Presence::Present(root)),
            Err(error) => self.absence(owner, error),
        }
    }

    /// What exporting it will take, by a few requests.
    ///
    /// # Errors
    /// What would end an export.
    pub(crate) async fn estimate(
        self,
        graph: &Graph,
        owner: &Owner,
        enquiry: &Enquiry,
    ) -> Result<Found, Error> {
        if owner.guest {
            return Ok(Found::Absent);
        }
        if enquiry.depth == Depth::Quick && !dispatch!(self, Of => Of::IS_WEIGHED) {
            return Ok(Found::Uncounted);
        }
        let error = match dispatch!(self, Of => Of::estimate(graph, owner, enquiry).await) {
            Ok(Some(numbers)) => return Ok(Found::Present(numbers)),
            Ok(None) => return Ok(Found::Uncounted),
            Err(error) => error,
        };
        let why = error.to_string();
        Ok(match self.absence(owner, error)? {
            Presence::Refused(error) => Found::Refused(error),
            Presence::Absent(note) if note.outcome == Outcome::Failed => Found::Unknown(why),
            _ => Found::Absent,
        })
    }

    /// What [`Self::find`] asks for.
    pub(crate) fn opening(self, owner: &Owner) -> Load {
        match self.root_request(owner).0 {
            Scope::Mailbox(_) => Load { mailbox: 1, ..Load::default() },
            Scope::SharePoint => Load { sharepoint: 1, units: 1, ..Load::default() },
            Scope::Directory => Load { directory: 1, ..Load::default() },
            Scope::Other => Load::default(),
        }
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
            | ErrorKind::ItemGone => lacking(owner),
            ErrorKind::Locked => ("locked", "the service keeps the owner's content locked"),
            _ => {
                let note = Note::new(Outcome::Failed, "listing", "the owner could not be opened");
                return Ok(Presence::Absent(note.with_code(&error)));
            }
        };
        Ok(Presence::Absent(Note::new(Outcome::Skipped, cause, message).with_code(&error)))
    }

    /// Puts all that the owner has into the inventory.
    pub(crate) async fn list(self, of: Opened<'_>, seeds: Seeds) -> Result<Listing, Error> {
        dispatch!(self, Of => Of::list(of, seeds).await)
    }

    pub(crate) async fn fetch(self, context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
        dispatch!(self, Of => Of::fetch(context, asked).await)
    }

    /// Why a large file of it can't be read.
    pub(crate) async fn refusal(
        self,
        context: &Context,
        large: &Large,
        error: &graph::Error,
    ) -> Note {
        dispatch!(self, Of => Of::refusal(context, large, error).await)
    }

    /// The time of an item or folder in its member, seconds since 1970.
    pub(crate) fn mtime_of(self, kind: &str, graph: &Value) -> i64 {
        dispatch!(self, Of => Of::mtime(kind, graph))
    }

    /// The key that items are ordered by, from their metadata.
    pub(crate) fn order_of(self, graph: &Value) -> i64 {
        dispatch!(self, Of => Of::order(graph))
    }

    /// The name that follows from an item's metadata.
    pub(crate) fn name_of(self, graph: &Value, item: &Item) -> NewName {
        dispatch!(self, Of => Of::name(graph, item))
    }

    /// See [`Export::is_same_content`].
    pub(crate) fn is_same_content(self, earlier: &Value, now: &Value) -> bool {
        dispatch!(self, Of => Of::is_same_content(earlier, now))
    }

    /// See [`Export::is_alike`].
    pub(crate) fn is_alike(self, head: &Head, options: &Options) -> bool {
        dispatch!(self, Of => Of::is_alike(head, options))
    }

    /// Media type and length of an item's content, as far as the listing tells.
    pub(crate) fn media(self, json: &str) -> (Option<String>, Option<u64>) {
        dispatch!(self, Of => Of::media(json))
    }
}

/// Why an owner does not have a service: cause and message.
const fn lacking(owner: &Owner) -> (&'static str, &'static str) {
    if matches!(owner.kind, OwnerKind::Group) {
        ("no-service", "the group does not have the service")
    } else if !owner.licensed {
        ("unlicensed", "the user has no licence")
    } else if !owner.enabled {
        ("disabled", "the user is disabled and does not have the service")
    } else {
        ("no-service", "the user does not have the service")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_stand_in_the_order_of_the_format() {
        let place = |service: Service| {
            archive::metadata::SERVICES.iter().position(|known| *known == service.name())
        };
        assert!(Service::ALL.is_sorted());
        assert!(Service::ALL.is_sorted_by_key(|service| place(*service)));
        assert!(Service::ALL.iter().all(|service| place(*service).is_some()));
    }
}
