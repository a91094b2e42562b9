//! A mailbox as the place of a restore (FACTS 5.1).
//!
//! A message is made in one request, with its mark, its dates and its small attachments; large
//! ones follow, and until the last is there the mark says "partial". What was made is read again
//! and compared. So a run that died leaves only whole messages and marked pieces, and the next
//! one knows both.

use std::path::PathBuf;
use std::sync::Arc;

use graph::{ErrorKind, Graph, Json, Prefer, Scope, segment};
use serde_json::{Value, json};

use super::SOURCE;
use super::attachments;
use super::attachments::Attached;
use super::existing::{Existing, partial_mark};
use super::expected::{Expected, ExpectedAttachment};
use super::folders::{Folders, Target, id};
use super::message::Message;
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::{Destination, OnConflict, Options};
use crate::place::{How, Loss, Made, Place, Restored, Undone, What};
use crate::section::{Folder, Section};
use crate::target::User;

/// What is compared after a message was made.
const LOOK: &str = "$select=id,subject,receivedDateTime,sentDateTime,isDraft,isRead,flag,\
                    categories,importance,internetMessageId,parentFolderId,changeKey";

/// PidTagMessageClass.
const MESSAGE_CLASS: &str = "String 0x001A";
/// Times that a removal is tried again: half a message must not stay.
const REMOVALS: u32 = 3;

/// A mailbox.
pub(crate) struct MailPlace {
    pub(super) graph: Graph,
    pub(super) scope: Scope,
    /// `/users/{id}`.
    pub(super) root: String,
    user: User,
    folders: Folders,
    destination: String,
    on_conflict: OnConflict,
    spool_dir: PathBuf,
}

impl MailPlace {
    pub(crate) async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<Self, Error> {
        let label = match &options.destination {
            Destination::Beside { label: Some(label) } => label,
            _ => &section.label,
        };
        let aside = format!("tar365 restore {label}");
        let in_place = options.destination == Destination::InPlace;
        let beside = (!in_place).then(|| aside.clone());
        journal.place(&section.prefix, &user.id)?;
        let folders =
            Folders::new(graph, &user.id, &section.prefix, journal, beside.clone(), aside);
        let place = Self::with(folders, user.clone(), beside.unwrap_or_default(), options);
        place.check().await?;
        Ok(place)
    }

    /// For an undo: `address` is the user's id.
    pub(crate) fn reopen(
        graph: Graph,
        section: &str,
        address: &str,
        journal: Arc<Journal>,
    ) -> Self {
        let user = User { id: address.to_owned(), upn: address.to_owned() };
        let folders = Folders::new(graph, address, section, journal, None, String::new());
        Self {
            graph: folders.graph.clone(),
            scope: folders.scope.clone(),
            root: folders.root(),
            user,
            folders,
            destination: String::new(),
            on_conflict: OnConflict::Skip,
            spool_dir: PathBuf::new(),
        }
    }

    fn with(folders: Folders, user: User, destination: String, options: &Options) -> Self {
        Self {
            graph: folders.graph.clone(),
            scope: folders.scope.clone(),
            root: folders.root(),
            user,
            folders,
            destination,
            on_conflict: options.on_conflict,
            spool_dir: options.spool_dir.clone(),
        }
    }

    /// Whether there is a mailbox that we may use, before anything is read for it.
    async fn check(&self) -> Result<(), Error> {
        let path = format!("{}/mailFolders/inbox?$select=id", self.root);
        let asked = self.graph.get(&self.scope, &path, Prefer::none()).await;
        asked.map(drop).map_err(|source| {
            let doing = format!("opening the mailbox of {}", self.user.upn);
            Error::Graph { doing, source }
        })
    }

    /// Where items go, for the report.
    pub(crate) fn shown(&self) -> String {
        match self.destination.as_str() {
            "" => format!("{}: in place", self.user.upn),
            folder => format!("{}: folder {folder:?}", self.user.upn),
        }
    }

    pub(super) fn message(&self, id: &str) -> String {
        format!("{}/messages/{}", self.root, segment(id))
    }

    /// What a message was before this run, if it was.
    async fn existing<'a>(&self, folder: &'a Target) -> Result<Option<&'a Existing>, Error> {
        if folder.is_new {
            return Ok(None);
        }
        let list =
            || Existing::list(&self.graph, &self.scope, &self.user.id, &folder.id, &self.spool_dir);
        folder.existing.get_or_try_init(list).await.map(Some)
    }

    /// Makes the message, with all that belongs to it.
    async fn make(&self, item: &Item, folder: &Target, message: &Message) -> Result<Done, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let source = &item.line.id;
        let plan = attachments::plan(message)
            .map_err(|source| Error::Content { path: item.path.clone(), source })?;
        let mark = match plan.later.is_empty() {
            true => source.clone(),
            false => partial_mark(source),
        };
        let mut body = message.json.clone();
        add_mark(&mut body, &mark);
        if !plan.inline.is_empty() {
            body["attachments"] = plan.inline.into();
        }
        let path = format!("{}/mailFolders/{}/messages", self.root, segment(&folder.id));
        let found = || self.marked(&folder.id, &mark);
        self.folders.remember(&item.path, &folder.id)?;
        let mut losses = Vec::new();
        let made = match self.graph.create(&self.scope, &path, &body, found).await {
            // Not every class can be made (FACTS 5.1): then it is an ordinary mail.
            Err(error) if *error.kind() == ErrorKind::Invalid && drop_class(&mut body) => {
                losses.push(Loss::MessageClass);
                self.graph.create(&self.scope, &path, &body, found).await
            }
            made => made,
        };
        let made = Done { id: id(&made.map_err(failed)?), losses };
        let ended = async {
            for at in plan.later.iter().copied() {
                attachments::add(self, &item.path, &made.id, at, message).await?;
            }
            let mut done = self.settle(item, made.id.clone(), message).await?;
            done.losses.extend_from_slice(&made.losses);
            if !plan.later.is_empty() {
                let whole = json!({ "singleValueExtendedProperties": [
                    { "id": SOURCE, "value": source },
                ]});
                self.patch(&done.id, &whole).await.map_err(failed)?;
            }
            Ok::<_, Error>(done)
        };
        match ended.await {
            Err(error) if !error.is_fatal() => {
                // Half a message is worse than none: who reads it takes it for whole.
                self.remove(&made.id).await.map_err(failed)?;
                Err(error)
            }
            ended => ended,
        }
    }

    /// Reads what was made again; corrects what can be; says what can't.
    async fn settle(&self, item: &Item, id: String, message: &Message) -> Result<Done, Error> {
        let failed = |source| Error::Graph { doing: format!("checking {}", item.path), source };
        let expected = message.expected();
        let (mut made, mut attached) = self.look(&id, &expected).await.map_err(failed)?;
        if expected.difference(&made, &attached).is_none() {
            return Ok(Done { id, losses: Vec::new() });
        }
        // A service that does not take them with the message takes them one by one.
        for missing in attachments::missing(message, &attached) {
            attachments::add(self, &item.path, &id, missing, message).await?;
        }
        let mut change = serde_json::Map::new();
        for key in ["isRead", "flag", "categories", "importance"] {
            if let Some(value) = message.json.get(key) {
                change.insert(key.to_owned(), value.clone());
            }
        }
        match self.patch(&id, &change.into()).await {
            Err(error) if *error.kind() != ErrorKind::Invalid => return Err(failed(error)),
            _ => {}
        }
        (made, attached) = self.look(&id, &expected).await.map_err(failed)?;
        match losses(&expected, &made, &attached) {
            Ok(losses) => Ok(Done { id, losses }),
            Err(what) => Err(Error::Unequal { path: item.path.clone(), what }),
        }
    }

    async fn look(
        &self,
        id: &str,
        expected: &Expected,
    ) -> Result<(Json, Vec<Attached>), graph::Error> {
        let path = format!("{}?{LOOK}", self.message(id));
        let made = self.graph.get(&self.scope, &path, Prefer::none()).await?;
        let attached = match expected.attachments.is_empty() {
            true => Vec::new(),
            false => attachments::list(self, id).await?,
        };
        Ok((made, attached))
    }

    async fn patch(&self, id: &str, change: &Value) -> Result<(), graph::Error> {
        self.graph.patch(&self.scope, &self.message(id), change, None).await.map(drop)
    }

    /// The message in the folder that carries this mark.
    async fn marked(&self, folder: &str, mark: &str) -> Result<Option<Json>, graph::Error> {
        let quoted = mark.replace('\'', "''");
        let filter = format!(
            "singleValueExtendedProperties/Any(ep: ep/id eq '{SOURCE}' and ep/value eq '{quoted}')"
        );
        let path = format!(
            "{}/mailFolders/{}/messages?$select=id&$filter={}",
            self.root,
            segment(folder),
            segment(&filter)
        );
        let mut pages = self.graph.pages(self.scope.clone(), &path, Prefer::none());
        while let Some(page) = pages.next().await? {
            if let Some(item) = page.items.first() {
                return item.parse().map(Some);
            }
        }
        Ok(None)
    }

    /// Takes a message away for good; one that is gone is no error.
    async fn remove(&self, id: &str) -> Result<(), graph::Error> {
        let path = format!("{}/permanentDelete", self.message(id));
        let mut refusals = 0;
        loop {
            match self.graph.act(&self.scope, &path, &Value::Null).await {
                Ok(_) => return Ok(()),
                // Not every cloud has the action; then it goes where deleted mail goes.
                Err(error) if matches!(error.status(), Some(400 | 404 | 405 | 501)) => {
                    return gone(self.graph.delete(&self.scope, &self.message(id), None).await);
                }
                // A message that was changed a moment ago may still be busy (409).
                Err(error) if refusals < REMOVALS && !crate::target::is_fatal(&error) => {
                    refusals += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn put_into(
        &self,
        item: &Item,
        folder: &Target,
        message: &Message,
    ) -> Result<Restored, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let existing = self.existing(folder).await?;
        if let Some(own) = existing.map(|e| e.own(&item.line.id)).transpose()?.flatten() {
            // Also a whole one is looked at: the run that made it may have died before it did.
            if !own.is_partial
                && let Ok(done) = self.settle(item, own.id.clone(), message).await
            {
                return Ok(restored(How::Present, folder, done));
            }
            self.remove(&own.id).await.map_err(failed)?;
        }
        let text = |key: &str| item.line.graph.get(key).and_then(Value::as_str);
        let foreign = existing.map(|existing| {
            let received = text("receivedDateTime");
            existing.foreign(&item.line.id, text("internetMessageId"), received)
        });
        match (foreign.transpose()?.flatten(), self.on_conflict) {
            (Some(id), OnConflict::Skip) => {
                Ok(restored(How::Present, folder, Done { id, losses: Vec::new() }))
            }
            (Some(old), OnConflict::Replace) => {
                let done = self.make(item, folder, message).await?;
                let path = format!("{}/move", self.message(&old));
                let to = json!({ "destinationId": "deleteditems" });
                let moved = self.graph.act(&self.scope, &path, &to).await.map_err(failed)?;
                // An immutable id outlives the move; an id that is not does not.
                let old = match id(&moved) {
                    id if id.is_empty() => old,
                    id => id,
                };
                Ok(restored(How::Replaced { old }, folder, done))
            }
            _ => {
                let done = self.make(item, folder, message).await?;
                Ok(restored(How::Created, folder, done))
            }
        }
    }

    /// What was begun and is there all the same, because the end came between.
    async fn begun(&self, made: &Made) -> Result<Option<String>, graph::Error> {
        let (Some(source), Some(folder)) = (&made.source, &made.spot) else { return Ok(None) };
        for mark in [source.clone(), partial_mark(source)] {
            match self.marked(folder, &mark).await {
                Ok(Some(message)) => return Ok(Some(id(&message))),
                Ok(None) => {}
                Err(error) if error.status() == Some(404) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn undo_item(&self, made: &Made) -> Result<Undone, graph::Error> {
        let id = match &made.id {
            Some(id) => id.clone(),
            None => match self.begun(made).await? {
                Some(id) => id,
                None => return Ok(Undone::Removed),
            },
        };
        let path = format!("{}?$select=id,parentFolderId", self.message(&id));
        match self.graph.get(&self.scope, &path, Prefer::none()).await {
            Ok(message) => {
                let folder = message.get("parentFolderId").and_then(Value::as_str);
                // Somebody filed it: it is his now.
                if made.etag.as_deref().is_some_and(|etag| Some(etag) != folder) {
                    return Ok(Undone::Kept);
                }
                self.remove(&id).await?;
            }
            Err(error) if error.status() == Some(404) => {}
            Err(error) => return Err(error),
        }
        if let (Some(old), Some(folder)) = (&made.old, &made.etag) {
            let path = format!("{}/move", self.message(old));
            let back = json!({ "destinationId": folder });
            match self.graph.act(&self.scope, &path, &back).await {
                Err(error) if error.status() != Some(404) => return Err(error),
                _ => {}
            }
        }
        Ok(Undone::Removed)
    }

    async fn undo_folder(&self, id: &str) -> Result<Undone, graph::Error> {
        let folder = format!("{}/mailFolders/{}", self.root, segment(id));
        let path = format!("{folder}?$select=totalItemCount,childFolderCount");
        let found = match self.graph.get(&self.scope, &path, Prefer::none()).await {
            Ok(found) => found,
            Err(error) if error.status() == Some(404) => return Ok(Undone::Removed),
            Err(error) => return Err(error),
        };
        let count = |key: &str| found.get(key).and_then(Value::as_u64).unwrap_or(1);
        if count("totalItemCount") + count("childFolderCount") > 0 {
            return Ok(Undone::Kept);
        }
        let path = format!("{folder}/permanentDelete");
        match self.graph.act(&self.scope, &path, &Value::Null).await {
            Ok(_) => {}
            Err(error) if !matches!(error.status(), Some(400 | 404 | 405 | 501)) => {
                return Err(error);
            }
            Err(_) => gone(self.graph.delete(&self.scope, &folder, None).await)?,
        }
        Ok(Undone::Removed)
    }
}

impl Place for MailPlace {
    async fn folder(&self, trail: &[Folder]) -> Result<(), Error> {
        // A search folder has no content of its own: as an ordinary one it would stay empty. What
        // stands in for a folder that every mailbox has is only made for what goes into it.
        if trail.iter().any(is_search_folder) || self.folders.is_aside(trail) {
            return Ok(());
        }
        self.folders.at(trail).await.map(drop)
    }

    async fn put(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        let folder = self.folders.at(trail).await?;
        let message = tokio::task::block_in_place(|| Message::read(item))?;
        let mut restored = self.put_into(item, &folder, &message).await?;
        restored.losses.extend_from_slice(&message.losses);
        if folder.stands_in {
            restored.losses.push(Loss::Folder);
        }
        restored.losses.sort_unstable();
        restored.losses.dedup();
        Ok(restored)
    }

    async fn finish(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn undo(&self, made: &Made) -> Result<Undone, Error> {
        let undone = match (made.what, &made.id) {
            (What::Folder, Some(id)) => self.undo_folder(id).await,
            (What::Folder, None) => match self.folders.begun(&made.path).await {
                Ok(Some(id)) => self.undo_folder(&id).await,
                Ok(None) => Ok(Undone::Removed),
                Err(error) => Err(error),
            },
            (What::Item, _) => self.undo_item(made).await,
        };
        undone.map_err(|source| Error::Graph { doing: format!("undoing {}", made.path), source })
    }
}

/// A message that is there.
struct Done {
    id: String,
    losses: Vec<Loss>,
}

fn restored(how: How, folder: &Target, done: Done) -> Restored {
    // Where it was put is what an undo goes by: flags change with every reader.
    let etag = Some(folder.id.clone()).filter(|id| id != super::folders::ROOT);
    Restored { how, id: done.id, etag, losses: done.losses }
}

/// What the service did not keep of a message; an error if that is what makes it a mail at all:
/// that it is no draft, and its attachments.
fn losses(expected: &Expected, made: &Value, attached: &[Value]) -> Result<Vec<Loss>, String> {
    // What is forgiven is taken as the service has it; what is not given is not compared.
    let is = Expected::said(made);
    let forgiving = Expected {
        received: None,
        sent: None,
        is_draft: expected.is_draft,
        internet_message_id: None,
        attachments: renamed(expected, attached),
        ..is
    };
    if let Some(what) = forgiving.difference(made, attached) {
        return Err(what);
    }
    let all = || expected.clone();
    let strict_in = [
        (
            Loss::Headers,
            Expected {
                subject: all().subject,
                internet_message_id: all().internet_message_id,
                ..forgiving.clone()
            },
        ),
        (
            Loss::Flags,
            Expected {
                is_read: expected.is_read,
                flag_status: all().flag_status,
                categories: all().categories,
                importance: all().importance,
                ..forgiving.clone()
            },
        ),
        (
            Loss::Date,
            Expected { received: expected.received, sent: expected.sent, ..forgiving.clone() },
        ),
        (Loss::Name, Expected { attachments: all().attachments, ..forgiving.clone() }),
    ];
    let lost =
        strict_in.into_iter().filter(|(_, strict)| strict.difference(made, attached).is_some());
    Ok(lost.map(|(loss, _)| loss).collect())
}

/// The attachments under the names that the service gave them, if they are as many, and none
/// smaller.
fn renamed(expected: &Expected, attached: &[Value]) -> Vec<ExpectedAttachment> {
    let mut sizes: Vec<_> = expected.attachments.iter().map(|a| a.size.unwrap_or(0)).collect();
    let mut made: Vec<_> =
        attached.iter().map(|a| a["size"].as_u64().unwrap_or(u64::MAX)).collect();
    sizes.sort_unstable();
    made.sort_unstable();
    if sizes.len() != made.len() || sizes.iter().zip(&made).any(|(least, is)| is < least) {
        return expected.attachments.clone();
    }
    let name = |attachment: &Value| attachment["name"].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> =
        attached.iter().map(|a| ExpectedAttachment { name: name(a), size: None }).collect();
    all.sort();
    all
}

fn add_mark(body: &mut Value, mark: &str) {
    let property = json!({ "id": SOURCE, "value": mark });
    match body.get_mut("singleValueExtendedProperties").and_then(Value::as_array_mut) {
        Some(properties) => properties.push(property),
        None => body["singleValueExtendedProperties"] = json!([property]),
    }
}

/// Takes the message class away; false if there is none.
fn drop_class(body: &mut Value) -> bool {
    let properties = body.get_mut("singleValueExtendedProperties").and_then(Value::as_array_mut);
    let Some(properties) = properties else { return false };
    let before = properties.len();
    properties.retain(|property| property["id"] != MESSAGE_CLASS);
    properties.len() < before
}

fn is_search_folder(folder: &Folder) -> bool {
    folder.graph.get("@odata.type").and_then(Value::as_str)
        == Some("#microsoft.graph.mailSearchFolder")
}

/// What is to be deleted may be gone already.
fn gone(deleted: Result<(), graph::Error>) -> Result<(), graph::Error> {
    match deleted {
        Err(error) if error.status() == Some(404) => Ok(()),
        deleted => deleted,
    }
}
