//! Takes back what a restore made in the tasks of a mailbox.

use graph::{Prefer, segment};
use serde_json::{Value, json};

use super::look::state;
use super::place::TasksPlace;
use super::task::{Task, mark_link, marked};
use crate::mailbox::{Mailbox, id};
use crate::place::{Made, Undone};

impl TasksPlace {
    pub(super) async fn undo_item(&self, made: &Made) -> Result<Undone, graph::Error> {
        let (list, before) = match (&made.etag, &made.spot) {
            (Some(etag), _) => etag.split_once(' ').unwrap_or((etag, "")),
            (None, Some(spot)) => (spot.as_str(), ""),
            (None, None) => return Ok(Undone::Removed),
        };
        let id = match (&made.id, &made.source) {
            (Some(id), _) => Some(id.clone()),
            // It was begun and may be there all the same, because the end came between.
            (None, Some(source)) => self.late(list, source).await?.map(|own| own.id),
            (None, None) => None,
        };
        if let Some(id) = &id
            && !self.take_away(list, id, before).await?
        {
            return Ok(Undone::Kept);
        }
        if let Some(old) = &made.old {
            self.bring_back(list, old, id.as_deref()).await?;
        }
        Ok(Undone::Removed)
    }

    /// Removes a task, unless somebody changed it: then it is his, and this is false.
    async fn take_away(&self, list: &str, id: &str, before: &str) -> Result<bool, graph::Error> {
        let path = self.task(list, id);
        match self.looks.task(&self.mailbox, &path).await {
            Ok(found) if !before.is_empty() && state(&found) != before => return Ok(false),
            Ok(_) => {}
            Err(error) if error.status() == Some(404) => return Ok(true),
            Err(error) => return Err(error),
        }
        self.mailbox.delete(&path).await.map(|()| true)
    }

    /// Makes again what was replaced: it had no attachments. It is marked as made of itself, so that
    /// another undo, or another restore, finds it.
    async fn bring_back(
        &self,
        list: &str,
        old: &str,
        removed: Option<&str>,
    ) -> Result<(), graph::Error> {
        let Ok(old) = serde_json::from_str::<Value>(old) else { return Ok(()) };
        let own = id(&old);
        if own.is_empty() {
            return Ok(());
        }
        if self.mailbox.look(&self.task(list, &own)).await?.is_some() {
            // It did not even go.
            return Ok(());
        }
        let mark = marked(&old).unwrap_or(&own);
        let found = async || {
            let found = self.marked(list, mark).await?;
            Ok::<_, graph::Error>(found.filter(|found| Some(id(found).as_str()) != removed))
        };
        if found().await?.is_some() {
            return Ok(());
        }
        let task = Task::of(&old);
        let mut body = task.body.clone();
        body["linkedResources"] = json!([mark_link(mark)]);
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let made = graph.create(scope, &self.tasks(list), &body, found).await?;
        self.add_rows(&self.task(list, &id(&made)), &task).await
    }

    pub(super) async fn undo_list(&self, id: &str) -> Result<Undone, graph::Error> {
        let path = format!("{}/todo/lists/{}", self.mailbox.root, segment(id));
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let mut pages = graph.pages(scope.clone(), &self.tasks(id), Prefer::none());
        loop {
            match pages.next().await {
                Ok(Some(page)) if !page.items.is_empty() => return Ok(Undone::Kept),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if error.status() == Some(404) => return Ok(Undone::Removed),
                Err(error) => return Err(error),
            }
        }
        self.mailbox.delete(&path).await?;
        Ok(Undone::Removed)
    }
}
