//! Takes back what a restore made in calendars.

use graph::{Prefer, segment};

use super::place::CalendarPlace;
use crate::mailbox::Mailbox;
use crate::place::{Made, Undone};

impl CalendarPlace {
    /// Removes an event, unless somebody changed it, or invited people, who would be told.
    pub(super) async fn undo_event(&self, made: &Made) -> Result<Undone, graph::Error> {
        let id = self.mailbox.item_of(made, |calendar| self.events(calendar)).await?;
        let Some(id) = id else { return Ok(Undone::Removed) };
        let Some(seen) = self.look(&id).await? else { return Ok(Undone::Removed) };
        let is_changed = made.etag.as_ref().is_some_and(|etag| *etag != seen.digest());
        if seen.has_attendees() || is_changed {
            return Ok(Undone::Kept);
        }
        self.mailbox.remove(&self.event(&id)).await?;
        Ok(Undone::Removed)
    }

    /// Removes a calendar if nothing is in it.
    pub(super) async fn undo_calendar(&self, id: &str) -> Result<Undone, graph::Error> {
        let Mailbox { graph, scope, root, .. } = &self.mailbox;
        let path = format!("{}?$select=id&$top=1", self.events(id));
        let mut pages = graph.pages(scope.clone(), &path, Prefer::none());
        loop {
            match pages.next().await {
                Ok(Some(page)) if page.items.is_empty() => {}
                Ok(Some(_)) => return Ok(Undone::Kept),
                Ok(None) => break,
                Err(error) if error.status() == Some(404) => return Ok(Undone::Removed),
                Err(error) => return Err(error),
            }
        }
        self.mailbox.remove(&format!("{root}/calendars/{}", segment(id))).await?;
        Ok(Undone::Removed)
    }
}
