//! The contacts of one folder as they are listed: whole, and then what changes.

use archive::Outcome;
use graph::{Prefer, Scope, segment};
use serde_json::Value;

use super::folders::FOLDERS;
use super::{Desk, is_refusal, scope};
use crate::Error;
use crate::follow::{Extent, LOST_LINKS, Listed, Refusal, Round, Still, round};
use crate::inventory::Inventory;
use crate::service::Note;

/// Contacts a page of the list: some have long notes.
pub(super) const PAGE: u32 = 250;
/// Rows of a delta, which have only ids and tags (FACTS 3.2).
pub(super) const DELTA_PAGE: u32 = 500;

/// The contacts of one folder.
pub(super) struct Rows<'a> {
    desk: &'a Desk<'a>,
    pub(super) id: String,
    /// The rows of a list, with all there is of a contact; else those of a delta, that say only
    /// whether it changed.
    are_whole: bool,
    /// Ids of the page at hand that are to be asked for.
    changed: Vec<String>,
    /// Extended properties were asked for.
    wants_all: bool,
}

impl<'a> Rows<'a> {
    pub(super) fn new(desk: &'a Desk<'a>, id: String) -> Self {
        Self { desk, id, are_whole: false, changed: Vec::new(), wants_all: false }
    }

    fn folder(&self) -> String {
        format!("/users/{}/contactFolders/{}", self.desk.user(), segment(&self.id))
    }

    /// Lists all contacts with all that is known of them. False if that can't be done.
    pub(super) async fn whole(&mut self) -> Result<bool, Error> {
        self.are_whole = true;
        let graph = self.desk.context.graph();
        let mut is_whole = None;
        // The last time without what the service refused.
        for tried in 0..=LOST_LINKS + 1 {
            let path = self.beginning();
            let mut pages = graph.pages(self.scope(), &path, self.prefer());
            let is_known = tried >= LOST_LINKS;
            is_whole = match round(graph, self, &mut pages, Extent::All, is_known).await? {
                Round::Ended { .. } => Some(true),
                Round::Over => Some(false),
                Round::Lost(_) => continue,
            };
            break;
        }
        if is_whole.is_none() {
            self.gave_up();
        }
        self.are_whole = false;
        Ok(is_whole.unwrap_or(false))
    }

    /// To be listed again and again.
    pub(super) fn still(desk: &'a Desk<'a>, id: String) -> Still<Self> {
        Still::new(Self { are_whole: true, ..Self::new(desk, id) })
    }
}

impl Listed for Rows<'_> {
    fn scope(&self) -> Scope {
        scope(self.desk.owner)
    }

    fn prefer(&self) -> Prefer {
        match self.are_whole {
            true => Prefer::none(),
            false => Prefer::page_size(DELTA_PAGE),
        }
    }

    fn beginning(&mut self) -> String {
        let folder = self.folder();
        self.wants_all = self.are_whole && !self.desk.is_plain();
        match self.are_whole {
            true => format!("{folder}/contacts?$top={PAGE}{}", self.desk.query("&")),
            false => format!("{folder}/contacts/delta?$select=id,changeKey"),
        }
    }

    fn take_row(&mut self, row: Value) -> Result<bool, Error> {
        let Value::Object(graph) = row else { return Ok(false) };
        let Some(id) = graph.get("id").and_then(Value::as_str).map(str::to_owned) else {
            return Ok(false);
        };
        let inventory = self.desk.inventory;
        if graph.contains_key("@removed") {
            inventory.remove(&self.id, &id)?;
            return Ok(true);
        }
        if self.are_whole {
            return self.desk.put_contact(&self.id, &id, graph);
        }
        let known = inventory.json(&self.id, &id)?;
        let known = known.and_then(|json| serde_json::from_str::<Value>(&json).ok());
        match known {
            // As it was listed: to be kept.
            Some(Value::Object(known))
                if known.get("changeKey").is_some()
                    && known.get("changeKey") == graph.get("changeKey") =>
            {
                self.desk.put_contact(&self.id, &id, known)
            }
            _ => {
                self.changed.push(id);
                Ok(true)
            }
        }
    }

    async fn end_page(&mut self) -> Result<(), Error> {
        for contact in std::mem::take(&mut self.changed) {
            self.desk.complete(&self.id, &contact).await?;
        }
        Ok(())
    }

    fn told(&self) -> (&Inventory, &str) {
        (self.desk.inventory, &self.id)
    }

    fn container(&self) -> Option<String> {
        Some(format!("{}?$select=id", self.folder()))
    }

    fn vanished(&mut self, error: &graph::Error) -> Result<(), Error> {
        let Desk { inventory, remarks, .. } = self.desk;
        inventory.forget(&self.id)?;
        inventory.remove(FOLDERS, &self.id)?;
        remarks.vanished(&self.id, "folder", error);
        Ok(())
    }

    fn refused(&mut self, error: graph::Error, _is_closing: bool) -> Result<Refusal, Error> {
        match error.kind() {
            _ if self.wants_all && is_refusal(&error) => {
                self.desk.ask_less();
                return Ok(Refusal::Again);
            }
            _ => {
                let message = "the folder could not be listed to its end";
                let note = Note::new(Outcome::Failed, "listing", message);
                self.desk.remarks.failed(&self.id, note.with_code(&error));
            }
        }
        Ok(Refusal::Over)
    }

    fn gave_up(&mut self) {
        let message = "the service lost the listing again and again";
        self.desk.remarks.failed(&self.id, Note::new(Outcome::Failed, "listing", message));
    }

    fn fatal(&self, error: graph::Error) -> Error {
        self.desk.fatal(error)
    }
}
