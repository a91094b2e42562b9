//! What a target offers for the items of one section, and what comes of an item.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::Serialize;

use crate::error::Error;
use crate::item::Item;
use crate::section::Folder;

/// Where the items of one section go: a mailbox, a drive, a folder of a file system, an account
/// of an IMAP server.
///
/// Everything may be asked for twice: after a crash, a second run finds what the first one made
/// and makes nothing double.
pub(crate) trait Place: Send + Sync {
    /// Where items go, for the report.
    fn shown(&self) -> String;

    /// Items that may be under way at a time.
    fn concurrency(&self) -> usize;

    /// Sees to it that the folder at the end of `trail` is there. An empty trail is the
    /// destination itself.
    fn folder(&self, trail: &[Folder]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Sees to it that the item is in that folder, which is made if need be.
    ///
    /// # Errors
    /// [`Error::is_fatal`] tells whether others may be tried after it.
    fn put(
        &self,
        item: &Item,
        trail: &[Folder],
    ) -> impl Future<Output = Result<Restored, Error>> + Send;

    /// After the last item: what can only be done then, as the times of folders.
    fn finish(&self) -> impl Future<Output = Result<(), Error>> + Send {
        std::future::ready(Ok(()))
    }

    /// Takes back what a journal says was made: an item, or a folder if it is empty. Folders come
    /// after what is in them. What was changed since stays.
    fn undo(&self, made: &Made) -> impl Future<Output = Result<Undone, Error>> + Send;

    /// Takes back several, the latest first, and tells what became of each. Ends with the error
    /// that `told` gives.
    fn undo_all(
        &self,
        all: &[(i64, Made)],
        told: &mut Told<'_>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            for made in all {
                let undone = self.undo(&made.1).await;
                told(made, undone)?;
            }
            Ok(())
        }
    }
}

/// Hears what became of an entry of the journal.
pub(crate) type Told<'a> =
    dyn FnMut(&(i64, Made), Result<Undone, Error>) -> Result<(), Error> + Send + 'a;

/// Any of the places there are.
pub(crate) struct AnyPlace(Box<dyn Boxed>);

impl AnyPlace {
    pub(crate) fn new(place: impl Place + 'static) -> Self {
        Self(Box::new(place))
    }
}

impl Place for AnyPlace {
    fn shown(&self) -> String {
        self.0.shown()
    }

    fn concurrency(&self) -> usize {
        self.0.concurrency()
    }

    async fn folder(&self, trail: &[Folder]) -> Result<(), Error> {
        self.0.folder(trail).await
    }

    async fn put(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        self.0.put(item, trail).await
    }

    async fn finish(&self) -> Result<(), Error> {
        self.0.finish().await
    }

    async fn undo(&self, made: &Made) -> Result<Undone, Error> {
        self.0.undo(made).await
    }

    async fn undo_all(&self, all: &[(i64, Made)], told: &mut Told<'_>) -> Result<(), Error> {
        self.0.undo_all(all, told).await
    }
}

/// A place whose futures are boxed, so that nobody needs to know which it is.
trait Boxed: Send + Sync {
    fn shown(&self) -> String;
    fn concurrency(&self) -> usize;
    fn folder<'a>(&'a self, trail: &'a [Folder]) -> BoxFuture<'a, Result<(), Error>>;
    fn put<'a>(
        &'a self,
        item: &'a Item,
        trail: &'a [Folder],
    ) -> BoxFuture<'a, Result<Restored, Error>>;
    fn finish(&self) -> BoxFuture<'_, Result<(), Error>>;
    fn undo<'a>(&'a self, made: &'a Made) -> BoxFuture<'a, Result<Undone, Error>>;
    fn undo_all<'a>(
        &'a self,
        all: &'a [(i64, Made)],
        told: &'a mut Told<'_>,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

impl<P: Place> Boxed for P {
    fn shown(&self) -> String {
        Place::shown(self)
    }

    fn concurrency(&self) -> usize {
        Place::concurrency(self)
    }

    fn folder<'a>(&'a self, trail: &'a [Folder]) -> BoxFuture<'a, Result<(), Error>> {
        Place::folder(self, trail).boxed()
    }

    fn put<'a>(
        &'a self,
        item: &'a Item,
        trail: &'a [Folder],
    ) -> BoxFuture<'a, Result<Restored, Error>> {
        Place::put(self, item, trail).boxed()
    }

    fn finish(&self) -> BoxFuture<'_, Result<(), Error>> {
        Place::finish(self).boxed()
    }

    fn undo<'a>(&'a self, made: &'a Made) -> BoxFuture<'a, Result<Undone, Error>> {
        Place::undo(self, made).boxed()
    }

    fn undo_all<'a>(
        &'a self,
        all: &'a [(i64, Made)],
        told: &'a mut Told<'_>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Place::undo_all(self, all, told).boxed()
    }
}

/// Something that was made in a target, as the journal remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// Folder or item.
    pub(crate) what: What,
    /// Path of the member in the archive; of a folder its place in the target, for messages.
    pub(crate) path: String,
    /// The item's id where it was exported.
    pub(crate) source: Option<String>,
    /// How the target knows it: an id, a path. None of an item that was begun but whose end
    /// nobody saw: it may or may not be there.
    pub(crate) id: Option<String>,
    /// What the target said of its state when it was made (eTag, digest): an item that differs
    /// now was changed by somebody.
    pub(crate) etag: Option<String>,
    /// What it replaced, as the target can bring it back.
    pub(crate) old: Option<String>,
    /// Where it was being put, as the place told the journal before it did.
    pub(crate) spot: Option<String>,
}

/// See [`Made`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A container.
    Folder,
    /// A mail, a file.
    Item,
}

/// What came of [`Place::undo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undone {
    /// It is gone, or was gone already.
    Removed,
    /// It was changed, moved or filled by somebody since and stays.
    Kept,
}

/// An item that is where it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restored {
    /// How it came there.
    pub(crate) how: How,
    /// How the target knows it: what [`Place::undo`] is given.
    pub(crate) id: String,
    /// See [`Made::etag`].
    pub(crate) etag: Option<String>,
    /// What of it the target could not take. Counted in the report, described in doc/restore.md.
    pub(crate) losses: Vec<Loss>,
}

/// See [`Restored::how`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// Made now.
    Created,
    /// Was there already: nothing was done. If this journal was about to put it there, it did.
    Present,
    /// Was there already and is somebody else's, whatever this journal was about to do.
    Foreign,
    /// Made now in the stead of another, which the target can bring back by this.
    Replaced {
        /// See [`Made::old`].
        old: String,
    },
}

/// What a target can't keep of an item. Each has its paragraph in doc/restore.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// The plain text beside an HTML body: the service makes its own.
    TextAlternative,
    /// The service stored another text than it was given.
    Body,
    /// The body was too large for the service and is an attachment now.
    BodyAsAttachment,
    /// A mail in the mail is an attached `.eml` file now.
    NestedAsFile,
    /// A signature that covers the exact bytes of the mail can't be verified any more.
    Signature,
    /// An address the service does not accept, or recipients above its limit of 500.
    Recipients,
    /// The request for a receipt, which would mail somebody when the mail is read.
    ReceiptRequest,
    /// A meeting request, report or the like is an ordinary mail now.
    MessageClass,
    /// Headers the service has no place for: a header block of more than 256 KiB, or with zero
    /// bytes in it. What has a property of its own (subject, dates, people) is kept.
    Headers,
    /// Flags, categories or keywords the target has no place for.
    Flags,
    /// A date the target did not take.
    Date,
    /// The name had to be changed to be accepted.
    Name,
    /// The service wrote properties into an Office file; what the document says is the same.
    Rewritten,
    /// The service changed the bytes of an Office file of which nobody can tell what they say.
    Unverified,
    /// The folder could not be used as it was and another stands in for it.
    Folder,
    /// The service stored another recurrence than it was given.
    Recurrence,
    /// The service stored another link than it was given.
    Link,
    /// The task is a view of a flagged mail, and comes back with that.
    FlaggedMail,
    /// The mail had been rendered by the exporter: not the original bytes.
    Converted,
    /// A property of a contact that the service did not take, or keeps as another value.
    Properties,
    /// The photo of a contact that the service did not take, or keeps with other bytes.
    Photo,
    /// The server mails people by itself, and is told at each of them not to.
    Scheduling,
    /// The server stored something else than it was given.
    Altered,
    /// Who was invited to an event, its organizer and the answers are told in its text.
    Attendees,
    /// A meeting online is not made again; how it was joined is told in the text.
    OnlineMeeting,
    /// A cancelled meeting or a draft of one is an ordinary event.
    MeetingState,
    /// An occurrence of a series that the service did not take as it was.
    Occurrence,
    /// A place of an event that the service did not take as it was.
    Location,
    /// A time zone without a name: another with the same clock stands for it, or UTC.
    TimeZone,
    /// Attachments that are not in the archive, because the service did not give them.
    Attachments,
    /// A rule, or the automatic replies, were on and are off now.
    Disabled,
    /// What a mailbox has only once was left as it is there.
    InPlaceOnly,
    /// The service did not take a setting, or took another one.
    Setting,
    /// Who a person is belongs to the directory.
    Profile,
}

impl Loss {
    /// Its name in report, journal and documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TextAlternative => "text-alternative",
            Self::Body => "body",
            Self::BodyAsAttachment => "body-as-attachment",
            Self::NestedAsFile => "nested-as-file",
            Self::Signature => "signature",
            Self::Recipients => "recipients",
            Self::ReceiptRequest => "receipt-request",
            Self::MessageClass => "message-class",
            Self::Headers => "headers",
            Self::Flags => "flags",
            Self::Date => "date",
            Self::Name => "name",
            Self::Unverified => "unverified",
            Self::Rewritten => "rewritten",
            Self::Folder => "folder",
            Self::Recurrence => "recurrence",
            Self::Link => "link",
            Self::FlaggedMail => "flagged-mail",
            Self::Converted => "converted",
            Self::Properties => "properties",
            Self::Photo => "photo",
            Self::Scheduling => "scheduling",
            Self::Altered => "altered",
            Self::Attendees => "attendees",
            Self::OnlineMeeting => "online-meeting",
            Self::MeetingState => "meeting-state",
            Self::Occurrence => "occurrence",
            Self::Location => "location",
            Self::TimeZone => "time-zone",
            Self::Attachments => "attachments",
            Self::Disabled => "disabled",
            Self::InPlaceOnly => "in-place-only",
            Self::Setting => "setting",
            Self::Profile => "profile",
        }
    }
}
