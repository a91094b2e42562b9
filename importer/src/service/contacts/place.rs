//! The contacts of a mailbox as the place of a restore (FACTS 5.3).
//!
//! A contact is made in one request, with its mark; a photo follows, and until it is there the mark
//! says "partial". What was made is read again and compared.

use std::path::PathBuf;
use std::sync::Arc;

use archive::metadata::Line;
use graph::{ErrorKind, Graph, segment};
use serde_json::{Value, json};

use super::contact::{Contact, EXTENDED};
use super::folders::{self, Folders};
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

/// By which a contact of somebody else is the same.
const KEPT: Kept = Kept { name: "displayName", date: "createdDateTime" };
/// Deepest folder that Exchange allows (FACTS 5.1).
const DEEPEST: usize = 300;

/// The contacts of a mailbox.
pub(crate) struct ContactPlace {
    pub(super) mailbox: Mailbox,
    user: User,
    pub(super) folders: Folders,
    destination: String,
    on_conflict: OnConflict,
    spool_dir: PathBuf,
    /// Contacts go back to where they were exported from: there they keep their ids.
    is_home: bool,
}

/// A contact that is there.
pub(super) struct Done {
    pub(super) id: String,
    /// The folder it is in, as the service says.
    pub(super) folder: Option<String>,
    pub(super) losses: Vec<Loss>,
}

impl ContactPlace {
    pub(super) async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<Self, Error> {
        let beside = options.beside(section);
        journal.place(&section.prefix, &user.id)?;
        let mailbox = Mailbox::of_user(graph, &user.id);
        let is_home = beside.is_none() && user.id.eq_ignore_ascii_case(&section.owner.id);
        let place = Self {
            folders: Folders::new(mailbox.clone(), &section.prefix, journal, beside.clone()),
            mailbox,
            user: user.clone(),
            destination: beside.unwrap_or_default(),
            on_conflict: options.on_conflict,
            spool_dir: options.spool_dir.clone(),
            is_home,
        };
        place.mailbox.check("contacts?$top=1&$select=id", "contacts", &user.upn).await?;
        Ok(place)
    }

    /// For an undo: `address` is the user's id.
    pub(super) fn reopen(
        graph: Graph,
        section: &str,
        address: &str,
        journal: Arc<Journal>,
    ) -> Self {
        let mailbox = Mailbox::of_user(graph, address);
        Self {
            folders: Folders::new(mailbox.clone(), section, journal, None),
            mailbox,
            user: User { id: address.to_owned(), upn: address.to_owned() },
            destination: String::new(),
            on_conflict: OnConflict::Skip,
            spool_dir: PathBuf::new(),
            is_home: false,
        }
    }

    /// The contact in the folder that this run put it into.
    pub(super) fn contact(&self, folder: &str, id: &str) -> String {
        format!("{}/{}", folders::contacts(&self.mailbox, folder), segment(id))
    }

    /// What was in a folder before this run, if it was there.
    async fn existing<'a>(&self, folder: &'a Container) -> Result<Option<&'a Existing>, Error> {
        let list = folders::contacts(&self.mailbox, &folder.id);
        self.mailbox.existing(folder, &list, &KEPT, &self.spool_dir).await
    }

    /// Makes the contact, with its photo.
    async fn make(
        &self,
        item: &Item,
        folder: &Container,
        contact: &Contact,
    ) -> Result<Done, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let source = &item.line.id;
        let mark = match contact.photo {
            None => source.clone(),
            Some(_) => partial_mark(source),
        };
        let mut body = Value::Object(contact.body.clone());
        add_mark(&mut body, &mark);
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let path = folders::contacts(&self.mailbox, &folder.id);
        let found = || self.mailbox.marked(&path, &mark);
        self.folders.remember(&item.path, &folder.id)?;
        let made = match graph.create(scope, &path, &body, found).await {
            // Not every property of MAPI's can be set: what lacks is found when it is read again.
            Err(error)
                if *error.kind() == ErrorKind::Invalid && contact.extended().next().is_some() =>
            {
                body.as_object_mut().map(|body| body.remove(EXTENDED));
                add_mark(&mut body, &mark);
                graph.create(scope, &path, &body, found).await
            }
            made => made,
        };
        let made = id(&made.map_err(failed)?);
        let ended = async {
            let done = self.settle(item, &folder.id, &made, contact).await?;
            if contact.photo.is_some() {
                let whole = json!({ EXTENDED: [{ "id": SOURCE, "value": source }] });
                let path = self.contact(&folder.id, &made);
                graph.patch(scope, &path, &whole, None).await.map_err(failed)?;
            }
            Ok::<_, Error>(done)
        };
        match ended.await {
            Err(error) if !error.is_fatal() => {
                // Half a contact is worse than none.
                self.mailbox.remove(&self.contact(&folder.id, &made)).await.map_err(failed)?;
                Err(error)
            }
            ended => ended,
        }
    }

    async fn put_into(
        &self,
        item: &Item,
        folder: &Container,
        contact: &Contact,
    ) -> Result<Restored, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let existing = self.existing(folder).await?;
        let mut own = existing.map(|e| e.own(&item.line.id)).transpose()?.flatten();
        if own.is_none() && item.may_be_late && !folder.is_new {
            let list = folders::contacts(&self.mailbox, &folder.id);
            own = self.mailbox.late(&list, &item.line.id).await.map_err(failed)?;
        }
        let text = |key: &str| item.line.graph.get(key).and_then(Value::as_str);
        let foreign = || {
            let of = |existing: &Existing| {
                existing.foreign(&item.line.id, text(KEPT.name), text(KEPT.date))
            };
            existing.map(of).transpose().map(Option::flatten)
        };
        if let Some(own) = own {
            if !own.is_partial {
                return self.finished(item, folder, contact, own.id, foreign).await;
            }
            self.mailbox.remove(&self.contact(&folder.id, &own.id)).await.map_err(failed)?;
        }
        let present = |id: String| Done { id, folder: None, losses: Vec::new() };
        match (foreign()?, self.on_conflict) {
            (Some(id), OnConflict::Skip) => Ok(restored(How::Foreign, present(id))),
            (Some(old), OnConflict::Replace) => {
                let done = self.make(item, folder, contact).await?;
                let how = self.take_place_of(item, &folder.id, &old).await?;
                Ok(restored(how, done))
            }
            (None, OnConflict::Skip) if self.is_home && self.is_elsewhere(&item.line).await? => {
                Ok(restored(How::Foreign, present(item.line.id.clone())))
            }
            _ => Ok(restored(How::Created, self.make(item, folder, contact).await?)),
        }
    }

    /// One that an earlier run made. What somebody changed since is his; only the end of a run that
    /// died is made up for.
    async fn finished(
        &self,
        item: &Item,
        folder: &Container,
        contact: &Contact,
        id: String,
        foreign: impl Fn() -> Result<Option<String>, Error>,
    ) -> Result<Restored, Error> {
        if !item.is_doubtful {
            return Ok(restored(How::Present, Done { id, folder: None, losses: Vec::new() }));
        }
        let done = self.settle(item, &folder.id, &id, contact).await?;
        let how = match self.on_conflict {
            OnConflict::Replace => match (self.folders.replaced(&item.path)?, foreign()?) {
                (Some(old), _) => self.give_way(item, old).await?,
                (None, Some(old)) => self.take_place_of(item, &folder.id, &old).await?,
                (None, None) => How::Present,
            },
            _ => How::Present,
        };
        Ok(restored(how, done))
    }

    /// Whether the contact itself is in another folder of this mailbox, and not thrown away. An id
    /// alone is no proof: a mailbox that was made anew may have given it to another contact.
    async fn is_elsewhere(&self, source: &Line) -> Result<bool, Error> {
        let failed = |source| {
            let doing = "looking for a contact that was moved".to_owned();
            Error::Graph { doing, source }
        };
        let created = |contact: &Value| {
            let text = contact.get("createdDateTime").and_then(Value::as_str);
            text.and_then(|text| text.get(..19)).map(str::to_owned)
        };
        let root = &self.mailbox.root;
        let select = "$select=id,parentFolderId,createdDateTime";
        let path = format!("{root}/contacts/{}?{select}", segment(&source.id));
        let found = match self.mailbox.look(&path).await {
            Ok(found) => found,
            // What this mailbox does not take for an id.
            Err(error) if *error.kind() == ErrorKind::BadRequest => None,
            Err(error) => return Err(failed(error)),
        };
        let Some(found) = found.filter(|found| created(found) == created(&source.graph)) else {
            return Ok(false);
        };
        // Folders of contacts are below the default one or beside it; what was thrown away is in
        // a folder of mails.
        let parent =
            |of: &Value| of.get("parentFolderId").and_then(Value::as_str).map(str::to_owned);
        let folder = async |id: &str| {
            let path = format!("{root}/contactFolders/{}?$select=id,parentFolderId", segment(id));
            self.mailbox.look(&path).await.map_err(failed)
        };
        let top = folder("Contacts").await?.as_ref().and_then(parent);
        let mut at = parent(&found);
        for _ in 0..DEEPEST {
            let Some(id) = at else { return Ok(false) };
            match folder(&id).await? {
                Some(known) => at = parent(&known),
                None => return Ok(top.is_some_and(|top| top == id)),
            }
        }
        Ok(false)
    }
}

impl Place for ContactPlace {
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
        self.folders.at(trail).await.map(drop)
    }

    async fn put(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        let folder = self.folders.at(trail).await?;
        let contact = tokio::task::block_in_place(|| Contact::read(item))?;
        let mut restored = self.put_into(item, &folder, &contact).await?;
        if folder.stands_in {
            restored.losses.push(Loss::Folder);
        }
        Ok(restored)
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

/// Where it was put is what an undo goes by.
fn restored(how: How, done: Done) -> Restored {
    Restored { how, id: done.id, etag: done.folder, losses: done.losses }
}
