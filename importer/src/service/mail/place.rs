//! A mailbox as the place of a restore (FACTS 5.1).
//!
//! A message is made in one request, with its mark, its dates and its small attachments; large
//! ones follow, and until the last is there the mark says "partial". What was made is read again
//! and compared. So a run that died leaves only whole messages and marked pieces, and the next
//! one knows both.

use std::path::PathBuf;
use std::sync::Arc;

use graph::{ErrorKind, Graph, segment};
use serde_json::{Value, json};

use super::attachments;
use super::folders::Folders;
use super::message::Message;
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::mailbox::{
    CONNECTIONS, Container, Existing, Kept, Mailbox, SOURCE, add_mark, id, partial_mark,
};
use crate::options::{OnConflict, Options};
use crate::place::{How, Loss, Made, Place, Restored, Undone, What};
use crate::section::{Folder, Section};
use crate::target::User;

/// PidTagMessageClass.
const MESSAGE_CLASS: &str = "String 0x001A";
/// By which a message of somebody else is the same.
const KEPT: Kept = Kept { name: "internetMessageId", date: "receivedDateTime" };

/// A mailbox.
pub(crate) struct MailPlace {
    pub(super) mailbox: Mailbox,
    user: User,
    pub(super) folders: Folders,
    destination: String,
    on_conflict: OnConflict,
    spool_dir: PathBuf,
    /// Messages go back to where they were exported from: there they keep their ids.
    is_home: bool,
}

impl MailPlace {
    pub(crate) async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<Self, Error> {
        let aside = options.aside(section);
        let beside = options.beside(section);
        journal.place(&section.prefix, &user.id)?;
        let mailbox = Mailbox::of_user(graph, &user.id);
        let folders =
            Folders::new(mailbox.clone(), &section.prefix, journal, beside.clone(), aside);
        let is_home = beside.is_none() && user.id.eq_ignore_ascii_case(&section.owner.id);
        let mut place = Self::with(
            mailbox,
            folders,
            user.clone(),
            beside.unwrap_or_default(),
            options.on_conflict,
            options.spool_dir.clone(),
        );
        place.is_home = is_home;
        place.mailbox.check("mailFolders/inbox?$select=id", "mailbox", &user.upn).await?;
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
        let mailbox = Mailbox::of_user(graph, address);
        let folders = Folders::new(mailbox.clone(), section, journal, None, String::new());
        Self::with(mailbox, folders, user, String::new(), OnConflict::Skip, PathBuf::new())
    }

    fn with(
        mailbox: Mailbox,
        folders: Folders,
        user: User,
        destination: String,
        on_conflict: OnConflict,
        spool_dir: PathBuf,
    ) -> Self {
        Self { mailbox, user, folders, destination, on_conflict, spool_dir, is_home: false }
    }

    pub(super) fn message(&self, id: &str) -> String {
        format!("{}/messages/{}", self.mailbox.root, segment(id))
    }

    /// What is in a folder.
    pub(super) fn messages(&self, folder: &str) -> String {
        format!("{}/mailFolders/{}/messages", self.mailbox.root, segment(folder))
    }

    /// What a message was before this run, if it was.
    async fn existing<'a>(&self, folder: &'a Container) -> Result<Option<&'a Existing>, Error> {
        let list = self.messages(&folder.id);
        self.mailbox.existing(folder, &list, &KEPT, &self.spool_dir).await
    }

    /// Makes the message, with all that belongs to it.
    async fn make(
        &self,
        item: &Item,
        folder: &Container,
        message: &Message,
    ) -> Result<Done, Error> {
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
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let path = self.messages(&folder.id);
        let found = || self.mailbox.marked(&path, &mark);
        self.folders.remember(&item.path, &folder.id)?;
        let mut losses = Vec::new();
        let made = match graph.create(scope, &path, &body, found).await {
            // Not every class can be made (FACTS 5.1): then it is an ordinary mail.
            Err(error) if *error.kind() == ErrorKind::Invalid && drop_class(&mut body) => {
                losses.push(Loss::MessageClass);
                graph.create(scope, &path, &body, found).await
            }
            made => made,
        };
        let made = Done { id: id(&made.map_err(failed)?), losses };
        let ended = async {
            for at in plan.later.iter().copied() {
                let own = &message.attachments[at].name;
                let before = message.attachments[..at].iter().filter(|a| a.name == *own).count();
                attachments::add(self, &item.path, &made.id, at, before, message).await?;
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
                self.mailbox.remove(&self.message(&made.id)).await.map_err(failed)?;
                Err(error)
            }
            ended => ended,
        }
    }

    pub(super) async fn patch(&self, id: &str, change: &Value) -> Result<(), graph::Error> {
        let Mailbox { graph, scope, .. } = &self.mailbox;
        graph.patch(scope, &self.message(id), change, None).await.map(drop)
    }

    /// Moves the message that was there to where deleted ones are.
    async fn take_place_of(&self, item: &Item, old: String) -> Result<How, Error> {
        self.folders.replaces(&item.path, &old)?;
        let path = format!("{}/move", self.message(&old));
        let to = json!({ "destinationId": "deleteditems" });
        match self.mailbox.graph.act(&self.mailbox.scope, &path, &to).await {
            // An immutable id outlives the move; an id that is not does not.
            Ok(moved) => match id(&moved) {
                id if id.is_empty() => Ok(How::Replaced { old }),
                old => Ok(How::Replaced { old }),
            },
            // It gave way already.
            Err(error) if error.status() == Some(404) => Ok(How::Replaced { old }),
            Err(source) => {
                let doing = format!("moving away what {} replaces", item.path);
                Err(Error::Graph { doing, source })
            }
        }
    }

    async fn put_into(
        &self,
        item: &Item,
        folder: &Container,
        message: &Message,
    ) -> Result<Restored, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let existing = self.existing(folder).await?;
        let mut own = existing.map(|e| e.own(&item.line.id)).transpose()?.flatten();
        if own.is_none() && item.may_be_late && !folder.is_new {
            let list = self.messages(&folder.id);
            own = self.mailbox.late(&list, &item.line.id).await.map_err(failed)?;
        }
        let text = |key: &str| item.line.graph.get(key).and_then(Value::as_str);
        let foreign = || {
            let received = text("receivedDateTime");
            let of = |existing: &Existing| {
                existing.foreign(&item.line.id, text("internetMessageId"), received)
            };
            existing.map(of).transpose().map(Option::flatten)
        };
        if let Some(own) = own {
            // Whoever has it may have read, flagged or changed it since: it is only looked at where
            // the run that made it may have died before it did.
            if !own.is_partial && !item.is_doubtful {
                let done = Done { id: own.id, losses: Vec::new() };
                return Ok(restored(How::Present, folder, done));
            }
            if !own.is_partial {
                match self.settle(item, own.id.clone(), message).await {
                    Ok(done) => {
                        // Or before it took away what it replaces.
                        let old = match item.is_doubtful && self.on_conflict == OnConflict::Replace
                        {
                            true => self
                                .folders
                                .replaced(&item.path)?
                                .map_or_else(&foreign, |old| Ok(Some(old)))?,
                            false => None,
                        };
                        let how = match old {
                            Some(old) => self.take_place_of(item, old).await?,
                            None => How::Present,
                        };
                        return Ok(restored(how, folder, done));
                    }
                    Err(Error::Unequal { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            self.mailbox.remove(&self.message(&own.id)).await.map_err(failed)?;
        }
        match (foreign()?, self.on_conflict) {
            (Some(id), OnConflict::Skip) => {
                Ok(restored(How::Foreign, folder, Done { id, losses: Vec::new() }))
            }
            (Some(old), OnConflict::Replace) => {
                let done = self.make(item, folder, message).await?;
                let how = self.take_place_of(item, old).await?;
                Ok(restored(how, folder, done))
            }
            (None, OnConflict::Skip) if self.is_home && self.is_elsewhere(&item.line).await? => {
                let id = item.line.id.clone();
                Ok(restored(How::Foreign, folder, Done { id, losses: Vec::new() }))
            }
            _ => {
                let done = self.make(item, folder, message).await?;
                Ok(restored(How::Created, folder, done))
            }
        }
    }
}

impl Place for MailPlace {
    fn shown(&self) -> String {
        match self.destination.as_str() {
            "" => format!("{}: in place", self.user.upn),
            folder => format!("{}: folder {folder:?}", self.user.upn),
        }
    }

    fn concurrency(&self) -> usize {
        CONNECTIONS
    }

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

    async fn undo(&self, made: &Made) -> Result<Undone, Error> {
        let undone = match made.what {
            What::Folder => self.folders.undo(made).await,
            What::Item => self.undo_item(made).await,
        };
        undone.map_err(|source| Error::Graph { doing: format!("undoing {}", made.path), source })
    }
}

/// A message that is there.
pub(super) struct Done {
    pub(super) id: String,
    pub(super) losses: Vec<Loss>,
}

fn restored(how: How, folder: &Container, done: Done) -> Restored {
    // Where it was put is what an undo goes by: flags change with every reader.
    let etag = Some(folder.id.clone()).filter(|id| id != super::folders::ROOT);
    Restored { how, id: done.id, etag, losses: done.losses }
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
