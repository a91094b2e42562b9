//! The tasks of a mailbox as the place of a restore (FACTS 5.5).
//!
//! A task is made with a link that says what it was made of. Steps, other links and attachments
//! follow, and until the last is there the link says "partial". What was made is read again and
//! compared. So a run that died leaves only whole tasks and marked pieces, and the next one knows
//! both.

use std::path::PathBuf;
use std::sync::Arc;

use graph::{Graph, Json, segment};
use serde_json::{Value, json};

use super::lists::{Lists, is_of_mails};
use super::look::{Looks, corrections, losses, state};
use super::task::{Task, mark_link, mark_of, marked, parts};
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::mailbox::{CONNECTIONS, Container, Existing, Kept, Mailbox, Own, id, partial_mark};
use crate::options::{OnConflict, Options};
use crate::place::{How, Loss, Made, Place, Restored, Undone, What};
use crate::section::{Folder, Section};
use crate::target::User;

/// By which a task of somebody else is the same: nobody can set when one was made.
const KEPT: Kept = Kept { name: "title", date: "createdDateTime" };

/// The tasks of a mailbox.
pub(crate) struct TasksPlace {
    pub(super) mailbox: Mailbox,
    pub(super) looks: Looks,
    pub(super) lists: Lists,
    user: User,
    destination: String,
    on_conflict: OnConflict,
    spool_dir: PathBuf,
}

impl TasksPlace {
    pub(super) async fn open(
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
        let lists = Lists::new(mailbox.clone(), &section.prefix, journal, beside.clone(), aside);
        let place = Self {
            mailbox,
            looks: Looks::default(),
            lists,
            user: user.clone(),
            destination: beside.unwrap_or_default(),
            on_conflict: options.on_conflict,
            spool_dir: options.spool_dir.clone(),
        };
        place.mailbox.check("todo/lists", "tasks", &user.upn).await?;
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
            lists: Lists::new(mailbox.clone(), section, journal, None, String::new()),
            mailbox,
            looks: Looks::default(),
            user: User { id: address.to_owned(), upn: address.to_owned() },
            destination: String::new(),
            on_conflict: OnConflict::Skip,
            spool_dir: PathBuf::new(),
        }
    }

    /// What is in a list.
    pub(super) fn tasks(&self, list: &str) -> String {
        format!("{}/todo/lists/{}/tasks", self.mailbox.root, segment(list))
    }

    pub(super) fn task(&self, list: &str, id: &str) -> String {
        format!("{}/{}", self.tasks(list), segment(id))
    }

    /// What was in the list before this run.
    async fn existing<'a>(&self, list: &'a Container) -> Result<Option<&'a Existing>, Error> {
        if list.is_new {
            return Ok(None);
        }
        let read = || async {
            let existing = Existing::empty(&self.mailbox, &self.spool_dir)?;
            let note =
                |task: Json| existing.note(&task, &KEPT, marked(&task)).map_err(Trouble::Own);
            match self.looks.all(&self.mailbox, &self.tasks(&list.id), note).await {
                Ok(()) => Ok(existing),
                Err(Trouble::Own(error)) => Err(error),
                Err(Trouble::Graph(source)) => {
                    let doing = "listing what is there already".to_owned();
                    Err(Error::Graph { doing, source })
                }
            }
        };
        list.held(read).await.map(Some)
    }

    /// The task of the list with that mark.
    pub(super) async fn marked(
        &self,
        list: &str,
        mark: &str,
    ) -> Result<Option<Json>, graph::Error> {
        let mut found = None;
        let look = |task: Json| {
            if parts(&task, "linkedResources").any(|link| mark_of(link) == Some(mark)) {
                found.get_or_insert(task);
            }
            Ok::<_, graph::Error>(())
        };
        self.looks.all(&self.mailbox, &self.tasks(list), look).await?;
        Ok(found)
    }

    /// What a run that died made of the task `source`.
    pub(super) async fn late(&self, list: &str, source: &str) -> Result<Option<Own>, graph::Error> {
        let marked = |mark: String| async move { self.marked(list, &mark).await };
        self.mailbox.late_by(source, marked).await
    }

    /// Makes the task, with all that belongs to it.
    async fn make(&self, item: &Item, list: &Container, task: &Task) -> Result<Done, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let source = &item.line.id;
        let mark = if task.is_simple() { source.clone() } else { partial_mark(source) };
        let mut body = task.body.clone();
        body["linkedResources"] = json!([mark_link(&mark)]);
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let found = || self.marked(&list.id, &mark);
        self.lists.all.journal.spot(&self.lists.all.section, &item.path, &list.id)?;
        let made = graph.create(scope, &self.tasks(&list.id), &body, found).await;
        let made = id(&made.map_err(failed)?);
        let path = self.task(&list.id, &made);
        let ended = async {
            self.add_parts(&item.path, &path, task).await?;
            self.settle(item, list, &made, task).await
        };
        match ended.await {
            Err(error) if !error.is_fatal() => {
                // Half a task is worse than none: who reads it takes it for whole.
                self.mailbox.delete(&path).await.map_err(failed)?;
                Err(error)
            }
            ended => ended,
        }
    }

    /// Reads what was made again, corrects what can be, says what can't, and that it is whole.
    async fn settle(
        &self,
        item: &Item,
        list: &Container,
        made: &str,
        task: &Task,
    ) -> Result<Done, Error> {
        let failed = |source| Error::Graph { doing: format!("checking {}", item.path), source };
        let path = self.task(&list.id, made);
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let mut found = self.looks.task(&self.mailbox, &path).await.map_err(failed)?;
        let change = corrections(task, &found);
        if !change.is_empty() {
            match graph.patch(scope, &path, &change.into(), None).await {
                Err(error) if *error.kind() != graph::ErrorKind::Invalid => {
                    return Err(failed(error));
                }
                _ => {}
            }
            found = self.looks.task(&self.mailbox, &path).await.map_err(failed)?;
        }
        let losses = losses(task, &found)
            .map_err(|what| Error::Unequal { path: item.path.clone(), what })?;
        let source = item.line.id.as_str();
        if !parts(&found, "linkedResources").any(|link| mark_of(link) == Some(source)) {
            self.set_mark(&path, &found, source).await.map_err(failed)?;
        }
        Ok(Done { id: made.to_owned(), state: Some(state(&found)), losses })
    }

    /// Takes away the task that was there. All of it goes to the journal first; attachments do not
    /// fit there, so one that has some stays.
    async fn take_place_of(&self, item: &Item, list: &Container, old: &str) -> Result<How, Error> {
        let doing = || format!("taking away what {} replaces", item.path);
        let failed = |source| Error::Graph { doing: doing(), source };
        let (_, known) = self.lists.all.journal.under_way(&self.lists.all.section, &item.path)?;
        let kept = match (self.replaceable(item, list, old).await?, known) {
            (Some(found), _) => found.to_string(),
            // It went away already.
            (None, Some(known)) => known,
            (None, None) => json!({}).to_string(),
        };
        self.lists.all.journal.replaces(&self.lists.all.section, &item.path, &kept)?;
        self.mailbox.delete(&self.task(&list.id, old)).await.map_err(failed)?;
        Ok(How::Replaced { old: kept })
    }

    /// The task that would give way; none if it is gone; an error if it could not come back.
    async fn replaceable(
        &self,
        item: &Item,
        list: &Container,
        old: &str,
    ) -> Result<Option<Json>, Error> {
        match self.looks.task(&self.mailbox, &self.task(&list.id, old)).await {
            Ok(found) if found["attachments"].as_array().is_some_and(|all| !all.is_empty()) => {
                let what = format!(
                    "{} would replace a task with attachments, which an undo could not bring back",
                    item.path
                );
                Err(Error::Item { cause: "exists", what })
            }
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(source) => Err(Error::Graph {
                doing: format!("looking at what {} replaces", item.path),
                source,
            }),
        }
    }

    async fn put_into(
        &self,
        item: &Item,
        list: &Container,
        task: &Task,
    ) -> Result<Restored, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let existing = self.existing(list).await?;
        let mut own = existing.map(|e| e.own(&item.line.id)).transpose()?.flatten();
        if own.is_none() && item.may_be_late && !list.is_new {
            own = self.late(&list.id, &item.line.id).await.map_err(failed)?;
        }
        let text = |key: &str| item.line.graph.get(key).and_then(Value::as_str);
        let foreign = || {
            let of = |existing: &Existing| {
                existing.foreign(&item.line.id, text(KEPT.name), text(KEPT.date))
            };
            existing.map(of).transpose().map(Option::flatten)
        };
        if let Some(own) = own {
            let is_replacing = item.is_doubtful && self.on_conflict == OnConflict::Replace;
            // Whoever has it may have ticked it off since: it is only looked at where the run that
            // made it may have died before it did.
            if !own.is_partial && !item.is_doubtful {
                return Ok(restored(How::Present, list, Done::unseen(own.id)));
            }
            if !own.is_partial {
                match self.settle(item, list, &own.id, task).await {
                    Ok(done) => {
                        let journal = &self.lists.all.journal;
                        let (_, gone) = journal.under_way(&self.lists.all.section, &item.path)?;
                        // Or before it took away what it replaces, or just after.
                        let how = match (foreign()?, gone) {
                            (Some(old), _) if is_replacing => {
                                self.take_place_of(item, list, &old).await?
                            }
                            (None, Some(old)) if is_replacing => How::Replaced { old },
                            _ => How::Present,
                        };
                        return Ok(restored(how, list, done));
                    }
                    Err(Error::Unequal { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            self.mailbox.delete(&self.task(&list.id, &own.id)).await.map_err(failed)?;
        }
        match (foreign()?, self.on_conflict) {
            (Some(id), OnConflict::Skip) => Ok(restored(How::Foreign, list, Done::unseen(id))),
            (Some(old), OnConflict::Replace) => {
                self.replaceable(item, list, &old).await?;
                let done = self.make(item, list, task).await?;
                let how = self.take_place_of(item, list, &old).await?;
                Ok(restored(how, list, done))
            }
            _ => {
                let done = self.make(item, list, task).await?;
                Ok(restored(How::Created, list, done))
            }
        }
    }
}

impl Place for TasksPlace {
    fn shown(&self) -> String {
        match self.destination.as_str() {
            "" => format!("{}: in place", self.user.upn),
            name => format!("{}: lists \"{name}: …\"", self.user.upn),
        }
    }

    fn concurrency(&self) -> usize {
        CONNECTIONS
    }

    async fn folder(&self, trail: &[Folder]) -> Result<(), Error> {
        // Lists stand side by side: nothing holds them together. What no client fills is not made.
        if trail.is_empty() || is_of_mails(trail) {
            return Ok(());
        }
        self.lists.at(trail).await.map(drop)
    }

    async fn put(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        if is_of_mails(trail) {
            let losses = vec![Loss::FlaggedMail];
            return Ok(Restored { how: How::Present, id: String::new(), etag: None, losses });
        }
        let list = self.lists.at(trail).await?;
        let task = tokio::task::block_in_place(|| Task::read(item, &self.spool_dir))?;
        let mut restored = self.put_into(item, &list, &task).await?;
        restored.losses.extend_from_slice(&task.losses);
        if list.stands_in {
            restored.losses.push(Loss::Folder);
        }
        restored.losses.sort_unstable();
        restored.losses.dedup();
        Ok(restored)
    }

    async fn undo(&self, made: &Made) -> Result<Undone, Error> {
        let undone = match (made.what, &made.id) {
            (What::Folder, Some(id)) => self.undo_list(id).await,
            (What::Folder, None) => match self.lists.all.begun(&made.path).await {
                Ok(Some(id)) => self.undo_list(&id).await,
                Ok(None) => Ok(Undone::Removed),
                Err(error) => Err(error),
            },
            (What::Item, _) => self.undo_item(made).await,
        };
        undone.map_err(|source| Error::Graph { doing: format!("undoing {}", made.path), source })
    }
}

/// A task that is there.
struct Done {
    id: String,
    /// As it was when it was looked at.
    state: Option<String>,
    losses: Vec<Loss>,
}

impl Done {
    fn unseen(id: String) -> Self {
        Self { id, state: None, losses: Vec::new() }
    }
}

/// An undo needs the list as well, and what it looked like.
fn restored(how: How, list: &Container, done: Done) -> Restored {
    let etag = format!("{} {}", list.id, done.state.unwrap_or_default());
    Restored { how, id: done.id, etag: Some(etag), losses: done.losses }
}

/// Either the service's trouble or our own.
enum Trouble {
    Graph(graph::Error),
    Own(Error),
}

impl From<graph::Error> for Trouble {
    fn from(error: graph::Error) -> Self {
        Self::Graph(error)
    }
}
