//! Mail: folders by recursion, messages by delta per folder, MIME as Exchange renders it.

mod folders;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use archive::Outcome;
use futures::{StreamExt, TryStreamExt, stream};
use graph::{DeltaLink, ErrorKind, Pages, Prefer, Scope, segment};
use serde_json::{Map, Value};

use super::{Asked, Fetched, Listing, NewName, Note, Presence, time};
use crate::base::BaseLines;
use crate::error::is_fatal;
use crate::inventory::{Inventory, Item, Name, Node};
use crate::owner::Owner;
use crate::section::Context;
use crate::state::Seeds;
use crate::{Error, substitute};

/// The largest page of messages Graph gives (FACTS 3.2).
const PAGE: u32 = 1000;
/// Folder listings of one mailbox at the same time: a page of 1,000 messages is about 2 MB.
const FOLDERS_AT_ONCE: usize = 2;
/// Rounds in which deltaLinks are replayed (design.md 5).
const CLOSING_ROUNDS: usize = 3;
/// Times a folder is listed anew when the service loses its delta token.
const RESYNCS: usize = 5;

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

/// Asks for the root of the folder tree.
pub(super) async fn find(context: &Context, owner: &Owner) -> Result<Presence, graph::Error> {
    let path = format!("/users/{}/mailFolders/msgfolderroot", segment(&owner.id));
    let root = context.graph().get(&scope(owner), &path, Prefer::none()).await?;
    Ok(Presence::Present(root))
}

/// When a message came, seconds since 1970.
pub(super) fn mtime(message: &Value) -> i64 {
    time::seconds(time::first_real(message, &DATES))
}

/// What messages are ordered by.
pub(super) fn order(message: &Value) -> i64 {
    time::order_key(time::first(message, &DATES))
}

/// A folder's own name; of a message its date and subject.
pub(super) fn name(graph: &Value, item: &Item) -> NewName {
    let text = |key: &str| graph.get(key).and_then(Value::as_str).unwrap_or_default();
    if item.kind == archive::metadata::FOLDER {
        return NewName::Native(text("displayName").to_owned());
    }
    NewName::Unique(archive::path::mail_name(item.mtime, text("subject"), &item.id))
}

/// Mails are MIME; how long it is nobody knows before it is there (FACTS 4.1).
pub(super) fn media() -> (Option<String>, Option<u64>) {
    (Some("message/rfc822".to_owned()), None)
}

fn root_id(root: &Value) -> &str {
    root.get("id").and_then(Value::as_str).unwrap_or("msgfolderroot")
}

fn scope(owner: &Owner) -> Scope {
    Scope::Mailbox(owner.id.clone())
}

/// One folder whose messages are listed.
#[derive(Debug)]
struct Folder {
    id: String,
    delta: Option<DeltaLink>,
}

/// A mailbox while it is listed.
struct Mailbox<'a> {
    context: &'a Context,
    owner: &'a Owner,
    inventory: Inventory,
    /// Where listings of folders go on.
    links: BTreeMap<String, DeltaLink>,
    notes: Mutex<Vec<(String, Note)>>,
    failed: AtomicU64,
}

/// Lists folders, then the messages of each, then what moved meanwhile.
pub(super) async fn list(
    context: &Context,
    owner: &Owner,
    root: &Value,
    inventory: Inventory,
    seeds: Seeds,
) -> Result<(Inventory, Listing), Error> {
    let Seeds { links, lines } = seeds;
    let (notes, failed) = (Mutex::default(), AtomicU64::new(0));
    let mailbox = Mailbox { context, owner, inventory, links, notes, failed };
    let base = format!("{}/mail", owner.path());
    let mut tree = mailbox.watch_tree().await?;
    let ids = mailbox.folders(root, &base).await?;
    let mut known: BTreeSet<String> = ids.iter().cloned().collect();
    if let Some(lines) = lines {
        tokio::task::block_in_place(|| mailbox.seed(lines, &known))?;
    }
    let mut folders = mailbox.all_messages(ids).await?;
    for _ in 0..CLOSING_ROUNDS {
        let grown = mailbox.tree_changed(&mut tree).await?;
        if grown {
            let mut new = mailbox.folders(root, &base).await?;
            new.retain(|id| known.insert(id.clone()));
            folders.append(&mut mailbox.all_messages(new).await?);
        }
        let quiet = mailbox.close(&mut folders).await?;
        if quiet && !(grown && tree.is_some()) {
            break;
        }
    }
    let Mailbox { inventory, notes, failed, .. } = mailbox;
    let mut notes = notes.into_inner().unwrap_or_else(PoisonError::into_inner);
    notes.sort_by(|a, b| a.0.cmp(&b.0));
    let links = folders.into_iter().filter_map(|folder| Some((folder.id, folder.delta?)));
    let listing = Listing {
        root: root_id(root).to_owned(),
        notes,
        failed: failed.into_inner(),
        links: links.collect(),
    };
    Ok((inventory, listing))
}

impl Mailbox<'_> {
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
                Self::put_message(&self.inventory, &folder, &line.id, graph)?;
            }
        }
        Ok(())
    }

    /// Lists one folder to its end, starting over when the service lost the token. None when
    /// the folder vanished or could not be listed.
    async fn messages(&self, id: String) -> Result<Option<Folder>, Error> {
        if self.context.options.without_message_delta {
            return self.messages_without_delta(id).await;
        }
        let mut start = self.links.get(&id).cloned();
        for _ in 0..=RESYNCS {
            let level = self.context.mail_query_level.load(Ordering::Relaxed);
            let mut pages = match start.take() {
                Some(link) => self.context.graph().delta_from(
                    scope(self.owner),
                    &link,
                    Prefer::page_size(PAGE),
                ),
                None => {
                    let path = format!(
                        "/users/{}/mailFolders/{}/messages/delta?{}",
                        self.user(),
                        segment(&id),
                        query(level)
                    );
                    self.context.graph().pages(scope(self.owner), &path, Prefer::page_size(PAGE))
                }
            };
            match self.take_pages(&id, &mut pages, level).await? {
                Round::Ended { delta, .. } => return Ok(Some(Folder { id, delta })),
                Round::Lost(restart) => {
                    self.inventory.forget(&id)?;
                    start = restart;
                }
                Round::Over => return Ok(None),
            }
        }
        let note =
            Note::new(Outcome::Failed, "listing", "the service lost the listing again and again");
        self.failed_listing(&id, note);
        Ok(None)
    }

    /// FACTS 10: no message delta in 21Vianet. Lists until the count agrees.
    async fn messages_without_delta(&self, id: String) -> Result<Option<Folder>, Error> {
        let folder = format!("/users/{}/mailFolders/{}", self.user(), segment(&id));
        for _ in 0..CLOSING_ROUNDS {
            let level = self.context.mail_query_level.load(Ordering::Relaxed);
            let path = format!("{folder}/messages?{}&$top={PAGE}", query(level));
            let mut pages = self.context.graph().pages(scope(self.owner), &path, Prefer::none());
            let rows = match self.take_pages(&id, &mut pages, level).await? {
                Round::Ended { rows, .. } => rows,
                Round::Lost(_) => continue,
                Round::Over => return Ok(None),
            };
            let path = format!("{folder}?$select=totalItemCount");
            match self.context.graph().get(&scope(self.owner), &path, Prefer::none()).await {
                Err(error) if is_fatal(&error) => return Err(self.fatal(error)),
                Ok(counted) if counted["totalItemCount"].as_u64().is_some_and(|n| n != rows) => {}
                _ => break,
            }
        }
        Ok(Some(Folder { id, delta: None }))
    }

    async fn all_messages(&self, ids: Vec<String>) -> Result<Vec<Folder>, Error> {
        stream::iter(ids)
            .map(|id| self.messages(id))
            .buffered(FOLDERS_AT_ONCE)
            .try_filter_map(|folder| async { Ok(folder) })
            .try_collect()
            .await
    }

    /// Replays each deltaLink once: a mail moved while its mailbox was listed is in the changes
    /// of both folders. True when nothing came.
    async fn close(&self, folders: &mut [Folder]) -> Result<bool, Error> {
        let mut quiet = true;
        for folder in folders.iter_mut() {
            let Some(link) = folder.delta.clone() else {
                continue;
            };
            let mut pages =
                self.context.graph().delta_from(scope(self.owner), &link, Prefer::page_size(PAGE));
            match self.take_pages(&folder.id, &mut pages, LEAST_QUERY).await? {
                Round::Ended { delta, rows } => {
                    quiet &= rows == 0;
                    folder.delta = delta;
                }
                Round::Lost(_) => {
                    self.inventory.forget(&folder.id)?;
                    quiet = false;
                    let again = self.messages(folder.id.clone()).await?;
                    folder.delta = again.and_then(|folder| folder.delta);
                }
                Round::Over => folder.delta = None,
            }
        }
        Ok(quiet)
    }

    /// One round of one folder, from the first page to the deltaLink.
    async fn take_pages(&self, id: &str, pages: &mut Pages, level: usize) -> Result<Round, Error> {
        let (mut rows, mut delta) = (0, None);
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Round::Ended { delta, rows }),
                Err(error) => return self.round_error(id, error, level),
            };
            rows += page.items.len() as u64;
            let mut partial = Vec::new();
            for item in &page.items {
                let row = item.parse().map_err(|error| self.fatal(error))?;
                if let Some(unknown) = self.take_row(id, row)? {
                    partial.push(unknown);
                }
            }
            for message in partial {
                self.complete(id, &message).await?;
            }
            delta = page.delta.or(delta);
        }
    }

    fn round_error(&self, id: &str, error: graph::Error, level: usize) -> Result<Round, Error> {
        if is_fatal(&error) {
            return Err(self.fatal(error));
        }
        match error.kind() {
            ErrorKind::SyncStateLost { restart } => Ok(Round::Lost(restart.clone())),
            ErrorKind::FolderGone | ErrorKind::ItemGone | ErrorKind::NotFound => {
                self.inventory.forget(id)?;
                self.inventory.remove(folders::FOLDERS, id)?;
                let note = Note::new(
                    Outcome::Skipped,
                    "vanished",
                    "the folder vanished while it was listed",
                );
                self.note(id, note.with_code(&error));
                Ok(Round::Over)
            }
            ErrorKind::BadRequest if level < LEAST_QUERY => {
                self.ask_less(level);
                Ok(Round::Lost(None))
            }
            _ => {
                let note = Note::new(
                    Outcome::Failed,
                    "listing",
                    "the folder could not be listed to its end",
                );
                self.failed_listing(id, note.with_code(&error));
                Ok(Round::Over)
            }
        }
    }

    /// A service that refuses what was asked at `level` is asked less from now on. Several
    /// listings may find out at the same time.
    fn ask_less(&self, level: usize) {
        let current = &self.context.mail_query_level;
        let next = current.compare_exchange(level, level + 1, Ordering::Relaxed, Ordering::Relaxed);
        if next.is_ok() {
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
        let inventory = &self.inventory;
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
        VOLATILE.iter().for_each(|key| drop(graph.remove(*key)));
        graph.retain(|key, _| !key.ends_with("@odata.context"));
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
        let level = self.context.mail_query_level.load(Ordering::Relaxed);
        let path = format!("/users/{}/messages/{}?{}", self.user(), segment(id), query(level));
        match self.context.graph().get(&scope(self.owner), &path, Prefer::none()).await {
            Ok(Value::Object(mut graph)) => {
                // Lists name the type of every row, single answers only of those that have another.
                let known = self.inventory.json(folder, id)?;
                let known = known.and_then(|known| serde_json::from_str::<Value>(&known).ok());
                if let Some(kind) = known.as_ref().and_then(|known| known.get("@odata.type")) {
                    graph.entry("@odata.type").or_insert_with(|| kind.clone());
                }
                Self::put_message(&self.inventory, folder, id, graph)
            }
            Ok(_) => Ok(()),
            Err(error) if is_fatal(&error) => Err(self.fatal(error)),
            Err(error) if matches!(error.kind(), ErrorKind::ItemGone | ErrorKind::NotFound) => {
                Ok(())
            }
            Err(error) => {
                let note =
                    Note::new(Outcome::Failed, "listing", "a changed message could not be read");
                self.failed_listing(folder, note.with_code(&error));
                Ok(())
            }
        }
    }

    fn note(&self, folder: &str, note: Note) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push((folder.to_owned(), note));
    }

    fn failed_listing(&self, folder: &str, note: Note) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.note(folder, note);
    }

    fn fatal(&self, error: graph::Error) -> Error {
        Error::graph(format!("listing the mailbox of {}", self.owner.upn), error)
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

/// How a round of listing one folder ended.
enum Round {
    Ended {
        delta: Option<DeltaLink>,
        rows: u64,
    },
    /// The token is lost: start over, from here if the service says where.
    Lost(Option<DeltaLink>),
    /// The folder vanished, or its listing failed; the ledger has it.
    Over,
}

/// The MIME of one message, or an EML of our own when the service has none.
pub(super) async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
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
