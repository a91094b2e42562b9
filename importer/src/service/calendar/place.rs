//! The calendars of a mailbox as the place of a restore (FACTS 5.4).
//!
//! An event is made in one request, with its mark; attachments and occurrences follow, and until
//! the last is there the mark says "partial". What was made is read again and compared. So a run
//! that died leaves only whole events and marked pieces, and the next one knows both.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use graph::{ErrorKind, Graph, Prefer, segment};
use serde_json::{Value, json};

use super::calendars::Calendars;
use super::content::Content;
use super::event::Event;
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::mailbox::{
    CONNECTIONS, Container, Existing, Kept, Mailbox, SOURCE, add_mark, id, partial_mark,
};
use crate::options::{OnConflict, Options};
use crate::place::{How, Loss, Made, Place, Restored, Undone, What};
use crate::section::{Folder, Owner, Section};
use crate::target::User;

/// By which an event of somebody else is the same: all who were invited have one with that UID,
/// but it was made for each at a time of its own.
const KEPT: Kept = Kept { name: "iCalUId", date: "createdDateTime" };

/// The calendars of a mailbox.
pub(crate) struct CalendarPlace {
    pub(super) mailbox: Mailbox,
    user: User,
    calendars: Calendars,
    destination: String,
    on_conflict: OnConflict,
    spool_dir: PathBuf,
    /// Events go back to where they were exported from: there they keep their ids.
    is_home: bool,
    /// Tells the requests of this run from those of all others.
    run: String,
}

impl CalendarPlace {
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
        let owner = &section.owner;
        let calendars =
            Calendars::new(mailbox.clone(), &section.prefix, journal, beside.clone(), aside, owner);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let place = Self {
            mailbox,
            user: user.clone(),
            calendars,
            is_home: beside.is_none() && user.id.eq_ignore_ascii_case(&owner.id),
            destination: beside.unwrap_or_default(),
            on_conflict: options.on_conflict,
            spool_dir: options.spool_dir.clone(),
            run: now.as_nanos().to_string(),
        };
        place.mailbox.check("calendars?$select=id&$top=1", "calendars", &user.upn).await?;
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
        let owner = Owner::default();
        let calendars =
            Calendars::new(mailbox.clone(), section, journal, None, String::new(), &owner);
        Self {
            mailbox,
            user: User { id: address.to_owned(), upn: address.to_owned() },
            calendars,
            destination: String::new(),
            on_conflict: OnConflict::Skip,
            spool_dir: PathBuf::new(),
            is_home: false,
            run: String::new(),
        }
    }

    pub(super) fn event(&self, id: &str) -> String {
        format!("{}/events/{}", self.mailbox.root, segment(id))
    }

    /// What is in a calendar.
    pub(super) fn events(&self, calendar: &str) -> String {
        format!("{}/calendars/{}/events", self.mailbox.root, segment(calendar))
    }

    /// What a calendar held before this run, if it was there.
    async fn existing<'a>(&self, calendar: &'a Container) -> Result<Option<&'a Existing>, Error> {
        let list = self.events(&calendar.id);
        self.mailbox.existing(calendar, &list, &KEPT, &self.spool_dir).await
    }

    /// By this the service knows a request that it was given before (FACTS 5.4).
    fn transaction(&self, source: &str, calendar: &str) -> String {
        archive::path::long_tag(&format!("{}\0{calendar}\0{source}", self.run))
    }

    /// Makes the event, with all that belongs to it.
    async fn make(&self, item: &Item, calendar: &Container, event: &Event) -> Result<Done, Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let content = tokio::task::block_in_place(|| Content::read(item, &self.spool_dir))?;
        let source = &item.line.id;
        let is_later = event.has_more() || !content.is_empty();
        let mark = if is_later { partial_mark(source) } else { source.clone() };
        let mut body = event.json.clone();
        add_mark(&mut body, &mark);
        body["transactionId"] = self.transaction(source, &calendar.id).into();
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let path = self.events(&calendar.id);
        let found = || self.mailbox.marked(&path, &mark);
        let all = &self.calendars.all;
        all.journal.spot(&all.section, &item.path, &calendar.id)?;
        let made = graph.create(scope, &path, &body, found).await.map_err(failed)?;
        let id = id(&made);
        let ended = async {
            self.attach(item, &id, &content.own).await?;
            let mut losses = self.set_occurrences(item, &id, event, &content).await?;
            losses.extend(content.losses());
            let (seen, lost) = self.settle(item, &id, event).await?;
            losses.extend(lost);
            if is_later {
                let whole = json!({ "singleValueExtendedProperties": [
                    { "id": SOURCE, "value": source },
                ]});
                let path = self.event(&id);
                graph.patch(scope, &path, &whole, None).await.map_err(failed)?;
            }
            Ok::<_, Error>(Done { id: id.clone(), state: Some(seen.digest()), losses })
        };
        match ended.await {
            Err(error) if !error.is_fatal() => {
                // Half an event is worse than none. It has no attendees, so nobody is told.
                self.mailbox.remove(&self.event(&id)).await.map_err(failed)?;
                Err(error)
            }
            ended => ended,
        }
    }

    async fn put_into(
        &self,
        item: &Item,
        calendar: &Container,
        event: &Event,
    ) -> Result<(How, Done), Error> {
        let failed = |source| Error::Graph { doing: format!("restoring {}", item.path), source };
        let existing = self.existing(calendar).await?;
        let source = &item.line.id;
        let mut own = existing.map(|existing| existing.own(source)).transpose()?.flatten();
        if own.is_none() && item.may_be_late && !calendar.is_new {
            let list = self.events(&calendar.id);
            own = self.mailbox.late(&list, source).await.map_err(failed)?;
        }
        if let Some(own) = own {
            let changed = |id| Done { id, state: None, losses: Vec::new() };
            if !own.is_partial {
                return match self.settle(item, &own.id, event).await {
                    Ok((seen, losses)) => {
                        let done = Done { id: own.id, state: Some(seen.digest()), losses };
                        Ok((How::Present, done))
                    }
                    // People change their events, and that stays.
                    Err(Error::Unequal { .. }) => Ok((How::Present, changed(own.id))),
                    Err(error) => Err(error),
                };
            }
            // Somebody who invited people to it made it his own: they would be told.
            let looked = self.look(&own.id).await.map_err(failed)?;
            if looked.as_ref().is_some_and(super::settle::Seen::has_attendees) {
                return Ok((How::Present, changed(own.id)));
            }
            self.mailbox.remove(&self.event(&own.id)).await.map_err(failed)?;
        }
        // One that was there is never replaced: to delete a meeting is to call it off, by mail.
        if self.on_conflict == OnConflict::Skip {
            let text = |key: &str| item.line.graph.get(key).and_then(Value::as_str);
            let foreign =
                existing.map(|existing| existing.foreign(source, text(KEPT.name), text(KEPT.date)));
            let mut there = foreign.transpose()?.flatten();
            if there.is_none() && self.is_home && self.is_elsewhere(item).await? {
                there = Some(source.clone());
            }
            if let Some(id) = there {
                return Ok((How::Foreign, Done { id, state: None, losses: Vec::new() }));
            }
        }
        Ok((How::Created, self.make(item, calendar, event).await?))
    }

    /// Whether the event is in another calendar of this mailbox, one that can be seen: its owner
    /// moved it there.
    async fn is_elsewhere(&self, item: &Item) -> Result<bool, Error> {
        let graph = &item.line.graph;
        let Mailbox { graph: service, scope, .. } = &self.mailbox;
        let event = self.event(&item.line.id);
        let failed = |source| {
            let doing = "looking for an event that was moved".to_owned();
            Error::Graph { doing, source }
        };
        let is_gone = |error: &graph::Error| {
            error.status() == Some(404) || *error.kind() == ErrorKind::BadRequest
        };
        let path = format!("{event}?$select=id,createdDateTime");
        let second = |of: &Value| {
            let text = of["createdDateTime"].as_str().and_then(|text| text.get(..19));
            text.map(str::to_owned)
        };
        match service.get(scope, &path, Prefer::none()).await {
            Ok(found) if second(&found) == second(graph) => {}
            Ok(_) => return Ok(false),
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
        let path = format!("{event}/calendar?$select=id");
        match service.get(scope, &path, Prefer::none()).await {
            Ok(calendar) => {
                let ids = self.calendars.ids().await.map_err(failed)?;
                Ok(ids.contains(&id(&calendar)))
            }
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Place for CalendarPlace {
    fn shown(&self) -> String {
        match self.destination.as_str() {
            "" => format!("{}: in place", self.user.upn),
            name => format!("{}: calendars {name:?}", self.user.upn),
        }
    }

    fn concurrency(&self) -> usize {
        CONNECTIONS
    }

    async fn folder(&self, trail: &[Folder]) -> Result<(), Error> {
        // There is none that holds the others; what others share is theirs.
        if trail.last().is_none_or(|calendar| self.calendars.is_shared(calendar)) {
            return Ok(());
        }
        // What stands in for a calendar of the service's own is only made for what goes into it.
        if self.destination.is_empty() && trail.last().is_some_and(is_read_only) {
            return Ok(());
        }
        self.calendars.at(trail).await.map(drop)
    }

    async fn put(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        let calendar = self.calendars.at(trail).await?;
        let event = Event::of(&item.line.graph);
        let (how, done) = self.put_into(item, &calendar, &event).await?;
        let mut losses = done.losses;
        if done.state.is_some() {
            losses.extend_from_slice(&event.losses);
            losses.extend(calendar.stands_in.then_some(Loss::Folder));
            losses.extend(item.converted.then_some(Loss::Attachments));
        }
        losses.sort_unstable();
        losses.dedup();
        Ok(Restored { how, id: done.id, etag: done.state, losses })
    }

    async fn undo(&self, made: &Made) -> Result<Undone, Error> {
        let undone = match (made.what, &made.id) {
            (What::Folder, Some(id)) => self.undo_calendar(id).await,
            (What::Folder, None) => match self.calendars.all.begun(&made.path).await {
                Ok(Some(id)) => self.undo_calendar(&id).await,
                Ok(None) => Ok(Undone::Removed),
                Err(error) => Err(error),
            },
            (What::Item, _) => self.undo_event(made).await,
        };
        undone.map_err(|source| Error::Graph { doing: format!("undoing {}", made.path), source })
    }
}

/// An event that is there.
struct Done {
    id: String,
    /// What it looks like; none of one that is not ours.
    state: Option<String>,
    losses: Vec<Loss>,
}

fn is_read_only(calendar: &Folder) -> bool {
    calendar.graph["canEdit"] == false
}
