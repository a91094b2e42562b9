//! Mail: folders by recursion, messages by delta per folder, MIME as Exchange renders it.

mod estimate;
pub(super) mod folders;

use std::collections::{BTreeMap, BTreeSet};

use archive::Outcome;
use futures::{StreamExt, TryStreamExt, stream};
use graph::{DeltaLink, ErrorKind, Graph, Prefer, Scope, segment};
use serde_json::{Map, Value};

use super::{About, Asked, Export, Fetched, Listing, NewName, Note, Opened, time, volatile};
use crate::base::BaseLines;
use crate::context::Context;
use crate::error::{is_fatal, is_gone};
use crate::estimate::{Enquiry, Numbers};
use crate::follow::{
    CLOSING_ROUNDS, Extent, Followed, LOST_LINKS, Listed, Refusal, Round, at_once, replay_all,
    round,
};
use crate::inventory::{Inventory, Item, Name, Node};
use crate::kept::Level;
use crate::owner::{Owner, OwnerKind};
use crate::remarks::Remarks;
use crate::state::Seeds;
use crate::{Error, substitute};

/// The largest page of messages Graph gives (FACTS 3.2).
const PAGE: u32 = 1000;
/// The level of [`query`] that asks for nothing a service may refuse.
const LEAST_QUERY: usize = 2;

/// Everything FACTS 8.2 lists, but what the EML has (body, headers) and what is volatile.
const SELECT: &str = "id,changeKey,categories,createdDateTime,lastModifiedDateTime,subject,from,\
    sender,toRecipients,ccRecipients,bccRecipients,replyTo,conversationId,conversationIndex,\
    internetMessageId,receivedDateTime,sentDateTime,hasAttachments,importance,\
    inferenceClassification,isRead,isDraft,isReadReceiptRequested,isDeliveryReceiptRequested,\
    flag,parentFolderId";
/// What derived types add to it (FACTS 8.2), by type cast.
const SELECT_DERIVED: [(&str, &str); 3] = [
    (
        "eventMessage",
        "meetingMessageType,startDateTime,endDateTime,location,isAllDay,isOutOfDate,isDelegated,\
         recurrence,type",
    ),
    (
        "eventMessageRequest",
        "previousLocation,previousStartDateTime,previousEndDateTime,responseRequested,\
         allowNewTimeProposals,meetingRequestType",
    ),
    ("eventMessageResponse", "responseType,proposedNewTime"),
];
/// Message class, and replied/forwarded with its time: in no other property.
const EXPAND: &str = "singleValueExtendedProperties($filter=id%20eq%20'String%200x001A'\
    %20or%20id%20eq%20'Integer%200x1081'%20or%20id%20eq%20'SystemTime%200x1082')";
/// Keys of a message that say nothing of it, change by themselves, or stand in the EML
/// (FACTS 9).
const VOLATILE: [&str; 7] = [
    "@odata.etag",
    "@odata.context",
    "webLink",
    "body",
    "bodyPreview",
    "uniqueBody",
    "internetMessageHeaders",
];

/// When a message came; what never came was made.
const DATES: [&str; 2] = ["/receivedDateTime", "/createdDateTime"];

/// Messages as EML.
pub(super) struct Mail;

impl Export for Mail {
    const ABOUT: About = About {
        name: "mail",
        roles: &["Mail.Read", "Mail.ReadWrite"],
        owners: &[OwnerKind::User],
        // FACTS 2.2: 4 per app and mailbox.
        owner_concurrency: 4,
        without_content: &[],
        not_covered: &[
            ("archive-mailbox", "Graph does not give the in-place archive mailbox"),
            ("public-folders", "Graph does not give public folders"),
        ],
    };

    const IMPOSSIBLE: &'static [&'static str] = &["archive-mailbox", "public-folders"];

    const IS_WEIGHED: bool = true;

    /// The root of the folder tree.
    fn root(owner: &Owner) -> (Scope, String) {
        (scope(owner), format!("/users/{}/mailFolders/msgfolderroot", segment(&owner.id)))
    }

    async fn list(of: Opened<'_>, seeds: Seeds) -> Result<Listing, Error> {
        list(of, seeds).await
    }

    async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
        fetch(context, asked).await
    }

    async fn estimate(
        graph: &Graph,
        owner: &Owner,
        enquiry: &Enquiry,
    ) -> Result<Option<Numbers>, graph::Error> {
        estimate::estimate(graph, owner, enquiry).await.map(Some)
    }

    fn mtime(kind: &str, graph: &Value) -> i64 {
        if kind == archive::metadata::FOLDER { 0 } else { mtime(graph) }
    }

    fn order(graph: &Value) -> i64 {
        order(graph)
    }

    /// A folder's own name; of a message its date and subject.
    fn name(graph: &Value, item: &Item) -> NewName {
        let text = |key: &str| graph.get(key).and_then(Value::as_str).unwrap_or_default();
        if item.kind == archive::metadata::FOLDER {
            return NewName::Native(text("displayName").to_owned());
        }
        NewName::Unique(archive::path::mail_name(item.mtime, text("subject"), &item.id))
    }

    /// Mails are MIME; how long it is nobody knows before it is there (FACTS 4.1).
    fn media(_json: &str) -> (Option<String>, Option<u64>) {
        (Some("message/rfc822".to_owned()), None)
    }
}

/// When a message came, seconds since 1970.
fn mtime(message: &Value) -> i64 {
    time::seconds(time::first_real(message, &DATES))
}

/// What messages are ordered by.
fn order(message: &Value) -> i64 {
    time::order_key(time::first(message, &DATES))
}

fn root_id(root: &Value) -> &str {
    root.get("id").and_then(Value::as_str).unwrap_or("msgfolderroot")
}

fn scope(owner: &Owner) -> Scope {
    Scope::Mailbox(owner.id.clone())
}

/// A mailbox while it is listed.
struct Mailbox<'a> {
    context: &'a Context,
    owner: &'a Owner,
    inventory: &'a Inventory,
    /// See [`query`].
    level: Level<Mail>,
    /// Where listings of folders go on.
    links: BTreeMap<String, DeltaLink>,
    remarks: Remarks,
}

/// Lists folders, then the messages of each, then what moved meanwhile.
async fn list(of: Opened<'_>, seeds: Seeds) -> Result<Listing, Error> {
    let Opened { context, owner, root, inventory } = of;
    let Seeds { links, lines } = seeds;
    let (level, remarks) = (Level::new(&context.kept), Remarks::default());
    let mailbox = Mailbox { context, owner, inventory, level, links, remarks };
    if !context.options.include_recoverable {
        mailbox.remarks.note("", folders::recoverable_left_out());
    }
    let base = format!("{}/mail", owner.path());
    let mut tree = mailbox.watch_tree().await?;
    let ids = mailbox.folders(root, &base).await?;
    let mut known: BTreeSet<String> = ids.iter().cloned().collect();
    if let Some(lines) = lines {
        tokio::task::block_in_place(|| mailbox.seed(lines, &known))?;
    }
    let mut folders = mailbox.all_messages(ids).await?;
    for _ in 0..CLOSING_ROUNDS {
        let grown = tree.has_changed(context.graph()).await.map_err(|e| mailbox.fatal(e))?;
        if grown {
            let mut new = mailbox.folders(root, &base).await?;
            new.retain(|id| known.insert(id.clone()));
            folders.append(&mut mailbox.all_messages(new).await?);
        }
        // A mail moved while its mailbox was listed is in the changes of both folders.
        let quiet = replay_all(context.graph(), &mut folders).await?;
        if quiet && !(grown && tree.can_tell()) {
            break;
        }
    }
    let links: Vec<_> =
        folders.into_iter().filter_map(|folder| Some((folder.listed.id, folder.link?))).collect();
    Ok(mailbox.remarks.into_listing(root_id(root), links))
}

impl<'a> Mailbox<'a> {
    fn user(&self) -> String {
        segment(&self.owner.id)
    }

    /// Takes the messages of an earlier run from its metadata, of the folders whose listing goes
    /// on from there.
    fn seed(&self, mut lines: BaseLines, folders: &BTreeSet<String>) -> Result<(), Error> {
        while let Some(line) = lines.next_line()? {
            let Value::Object(graph) = line.graph else { continue };
            let folder = graph.get("parentFolderId").and_then(Value::as_str).unwrap_or_default();
            let goes_on = self.links.contains_key(folder) && folders.contains(folder);
            if line.kind == archive::metadata::MESSAGE && goes_on {
                let folder = folder.to_owned();
                Self::put_message(self.inventory, &folder, &line.id, graph)?;
            }
        }
        Ok(())
    }

    /// Lists one folder to its end. None when it vanished or could not be listed.
    async fn messages(&self, id: String) -> Result<Option<Followed<Messages<'_>>>, Error> {
        let start = self.links.get(&id).cloned();
        let messages = Messages::new(self, id);
        let followed = match self.context.options.without_message_delta {
            true => messages.count_until_true().await?,
            false => Followed::begin(self.context.graph(), messages, start).await?,
        };
        Ok(Some(followed).filter(|followed| !followed.is_over))
    }

    async fn all_messages(&self, ids: Vec<String>) -> Result<Vec<Followed<Messages<'_>>>, Error> {
        stream::iter(ids)
            .map(|id| self.messages(id))
            .buffered(at_once(&self.links))
            .try_filter_map(|folder| async { Ok(folder) })
            .try_collect()
            .await
    }

    /// A service that refuses what was asked at `level` is asked less from now on.
    fn ask_less(&self, level: usize) {
        if self.level.lower(level) {
            let what = ["type casts in $select", "extended properties"][level];
            let message =
                format!("the service refuses {what} in message listings; going on without");
            self.context.monitor.warn(&message);
        }
    }

    /// Takes one row of a delta or list answer. Gives the id back when the row names only what
    /// changed and the rest is not known.
    fn take_row(&self, folder: &str, row: Value) -> Result<Option<String>, Error> {
        let Value::Object(mut graph) = row else {
            return Ok(None);
        };
        let Some(id) = graph.get("id").and_then(Value::as_str).map(str::to_owned) else {
            return Ok(None);
        };
        let inventory = self.inventory;
        if graph.contains_key("@removed") {
            inventory.remove(folder, &id)?;
            return Ok(None);
        }
        if !graph.contains_key("receivedDateTime") && !graph.contains_key("createdDateTime") {
            // FACTS 3.3: later rounds may carry only what changed, and not even the new change key.
            // That is the last of this run; over what an earlier run knew it would be a lie.
            if self.links.contains_key(folder) {
                return Ok(Some(id));
            }
            let known = inventory.json(folder, &id)?;
            let Some(Value::Object(mut whole)) =
                known.and_then(|json| serde_json::from_str(&json).ok())
            else {
                return Ok(Some(id));
            };
            whole.append(&mut graph);
            graph = whole;
        }
        Self::put_message(inventory, folder, &id, graph)?;
        Ok(None)
    }

    fn put_message(
        inventory: &Inventory,
        folder: &str,
        id: &str,
        mut graph: Map<String, Value>,
    ) -> Result<(), Error> {
        volatile::strip(&mut graph, &VOLATILE);
        if let Some(Value::Array(properties)) = graph.get_mut("singleValueExtendedProperties") {
            properties.sort_by_cached_key(|property| property["id"].to_string());
        }
        let graph = Value::Object(graph);
        let mtime = mtime(&graph);
        let subject = graph.get("subject").and_then(Value::as_str).unwrap_or_default();
        inventory.put(&Node {
            id,
            listing: folder,
            parent: folder,
            kind: "message",
            folder: false,
            key: order(&graph),
            mtime,
            name: Name::Unique(&archive::path::mail_name(mtime, subject, id)),
            json: &archive::json::canonical(&graph),
            unwanted: None,
        })
    }

    /// Asks for the whole of a message that a delta row only hinted at.
    async fn complete(&self, folder: &str, id: &str) -> Result<(), Error> {
        let query = query(self.level.now());
        let path = format!("/users/{}/messages/{}?{query}", self.user(), segment(id));
        let scope = scope(self.owner);
        let ask = || self.context.graph().get(&scope, &path, Prefer::none());
        let mut asked = ask().await;
        // One 404 does not prove it.
        if matches!(&asked, Err(error) if is_gone(error)) {
            asked = ask().await;
        }
        match asked {
            Ok(Value::Object(mut graph)) => {
                // Lists name the type of every row, single answers only of those that have another.
                let known = self.inventory.json(folder, id)?;
                let known = known.and_then(|known| serde_json::from_str::<Value>(&known).ok());
                if let Some(kind) = known.as_ref().and_then(|known| known.get("@odata.type")) {
                    graph.entry("@odata.type").or_insert_with(|| kind.clone());
                }
                Self::put_message(self.inventory, folder, id, graph)
            }
            Ok(_) => Ok(()),
            Err(error) if is_fatal(&error) => Err(self.fatal(error)),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => {
                let note =
                    Note::new(Outcome::Failed, "listing", "a changed message could not be read");
                self.remarks.failed(folder, note.with_code(&error));
                self.inventory.keep(folder, id)
            }
        }
    }

    fn fatal(&self, error: graph::Error) -> Error {
        Error::graph(format!("listing the mailbox of {}", self.owner.upn), error)
    }
}

/// The messages of one folder.
struct Messages<'a> {
    mailbox: &'a Mailbox<'a>,
    id: String,
    /// What was asked of the listing under way.
    level: usize,
    /// Ids of the page at hand of which only what changed was told.
    partial: Vec<String>,
}

impl<'a> Messages<'a> {
    fn new(mailbox: &'a Mailbox<'a>, id: String) -> Self {
        Self { mailbox, id, level: mailbox.level.now(), partial: Vec::new() }
    }

    fn folder(&self) -> String {
        format!("/users/{}/mailFolders/{}", self.mailbox.user(), segment(&self.id))
    }

    /// FACTS 10: no message delta in 21Vianet. Lists until the count agrees.
    async fn count_until_true(mut self) -> Result<Followed<Self>, Error> {
        let graph = self.mailbox.context.graph();
        let (mut is_over, mut is_whole, mut lost) = (false, false, 0);
        for _ in 0..=CLOSING_ROUNDS {
            self.level = self.mailbox.level.now();
            let path = format!("{}/messages?{}&$top={PAGE}", self.folder(), query(self.level));
            let mut pages = graph.pages(self.scope(), &path, Prefer::none());
            let is_known = lost >= LOST_LINKS;
            let rows = match round(graph, &mut self, &mut pages, Extent::All, is_known).await? {
                Round::Ended { rows, .. } => {
                    is_whole = true;
                    rows
                }
                Round::Lost(_) => {
                    (is_whole, lost) = (false, lost + 1);
                    continue;
                }
                Round::Over => {
                    is_over = true;
                    break;
                }
            };
            let path = format!("{}?$select=totalItemCount", self.folder());
            match graph.get(&self.scope(), &path, Prefer::none()).await {
                Err(error) if is_fatal(&error) => return Err(self.fatal(error)),
                Ok(counted) if counted["totalItemCount"].as_u64().is_some_and(|n| n != rows) => {}
                _ => break,
            }
        }
        if !is_whole && !is_over {
            self.gave_up();
            is_over = true;
        }
        Ok(Followed { listed: self, link: None, is_over })
    }
}

impl Listed for Messages<'_> {
    fn scope(&self) -> Scope {
        scope(self.mailbox.owner)
    }

    fn prefer(&self) -> Prefer {
        Prefer::page_size(PAGE)
    }

    fn beginning(&mut self) -> String {
        self.level = self.mailbox.level.now();
        format!("{}/messages/delta?{}", self.folder(), query(self.level))
    }

    fn take_row(&mut self, row: Value) -> Result<bool, Error> {
        self.partial.extend(self.mailbox.take_row(&self.id, row)?);
        Ok(true)
    }

    async fn end_page(&mut self) -> Result<(), Error> {
        for message in std::mem::take(&mut self.partial) {
            self.mailbox.complete(&self.id, &message).await?;
        }
        Ok(())
    }

    fn told(&self) -> (&Inventory, &str) {
        (self.mailbox.inventory, &self.id)
    }

    fn container(&self) -> Option<String> {
        Some(format!("{}?$select=id", self.folder()))
    }

    fn vanished(&mut self, error: &graph::Error) -> Result<(), Error> {
        let Mailbox { inventory, remarks, .. } = self.mailbox;
        inventory.forget(&self.id)?;
        inventory.remove(folders::FOLDERS, &self.id)?;
        remarks.vanished(&self.id, "folder", error);
        Ok(())
    }

    fn refused(&mut self, error: graph::Error, is_closing: bool) -> Result<Refusal, Error> {
        match error.kind() {
            // What changes are told with was asked for when the listing began.
            ErrorKind::BadRequest | ErrorKind::Unsupported
                if !is_closing && self.level < LEAST_QUERY =>
            {
                self.mailbox.ask_less(self.level);
                return Ok(Refusal::Again);
            }
            _ => {
                let message = "the folder could not be listed to its end";
                let note = Note::new(Outcome::Failed, "listing", message);
                self.mailbox.remarks.failed(&self.id, note.with_code(&error));
            }
        }
        Ok(Refusal::Over)
    }

    fn gave_up(&mut self) {
        let message = "the service lost the listing again and again";
        self.mailbox.remarks.failed(&self.id, Note::new(Outcome::Failed, "listing", message));
    }

    fn fatal(&self, error: graph::Error) -> Error {
        self.mailbox.fatal(error)
    }
}

/// The query of a message listing, at level 1 without casts, at level 2 without expansion too.
fn query(level: usize) -> String {
    let mut query = format!("$select={SELECT}");
    if level < 1 {
        for (kind, properties) in SELECT_DERIVED {
            for property in properties.split(',') {
                query.push_str(&format!(",microsoft.graph.{kind}/{property}"));
            }
        }
    }
    if level < LEAST_QUERY {
        query.push_str("&$expand=");
        query.push_str(EXPAND);
    }
    query
}

/// The MIME of one message, or an EML of our own when the service has none.
async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
    let path =
        format!("/users/{}/messages/{}/$value", segment(&asked.owner.id), segment(&asked.item.id));
    let mut draft = context.spool.draft(asked.turn);
    let error = match context.copy_value(&scope(asked.owner), &path, &mut draft).await? {
        Ok(()) => return Ok(Fetched::Whole(context.finish(draft)?, None)),
        Err(error) => error,
    };
    if is_fatal(&error) {
        return Err(Error::graph(format!("reading {}", asked.item.path), error));
    }
    let note = match error.kind() {
        ErrorKind::MimeConversion => {
            context.restart(&mut draft)?;
            return substitute::message(context, asked, draft, &error).await;
        }
        ErrorKind::ItemGone | ErrorKind::NotFound => {
            Note::new(Outcome::Skipped, "vanished", "the message was gone when it was read")
        }
        ErrorKind::Corrupt => {
            Note::new(Outcome::Failed, "corrupt", "the service calls the message corrupt")
        }
        _ => Note::new(Outcome::Failed, "content", "the message could not be read"),
    };
    Ok(Fetched::Without(note.with_code(&error)))
}
