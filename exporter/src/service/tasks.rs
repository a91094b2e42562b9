//! Tasks of To Do: lists, the tasks of each by delta, an iCalendar file for each (FACTS 3.8).
//!
//! Steps, links and attachments of a task are navigation properties, and no delta tells of a change
//! in them (FACTS 3.0). So each run lists all tasks, a hundred a request with all of that in it, and
//! the delta only tells what changed while it did.

mod content;
mod estimate;

use std::collections::BTreeSet;

use archive::Outcome;
use futures::{StreamExt, TryStreamExt, stream};
use graph::{ErrorKind, Graph, Prefer, Scope, segment};
use serde_json::{Map, Value};

use super::{About, Asked, Export, Fetched, Listing, NewName, Note, Opened, time, volatile};
use crate::Error;
use crate::context::Context;
use crate::error::is_gone;
use crate::estimate::{Enquiry, Numbers};
use crate::follow::{CLOSING_ROUNDS, Followed, Listed, Refusal, Watch, replay_all};
use crate::inventory::{Inventory, Item, Name, Node};
use crate::kept::Level;
use crate::owner::{Owner, OwnerKind};
use crate::remarks::Remarks;
use crate::state::Seeds;
use crate::tree::{Tree, walk};

/// Tasks a page: what the service gives anyway (FACTS 3.2).
const PAGE: u32 = 100;
/// Lists of one mailbox that are listed at the same time.
const LISTS_AT_ONCE: usize = 2;
/// Tasks that are completed at the same time, where the listing left something out.
const ROWS_AT_ONCE: usize = 2;
/// What tells of lists, in the inventory.
const LISTS: &str = "lists";

/// What belongs to a task without being a property of it.
const PARTS: [&str; 3] = ["attachments", "checklistItems", "linkedResources"];
/// What a listing is asked to put into its rows, from all to nothing: which of it a service takes
/// is not documented (FACTS 3.8).
const EXPANSIONS: [&str; 3] = [
    "?$expand=attachments,checklistItems,linkedResources",
    "?$expand=checklistItems,linkedResources",
    "",
];
/// Keys of a task or a part of one that not every kind of answer has, or that hold content.
const VOLATILE: [&str; 5] = [
    "@odata.context",
    "@odata.mediaContentType",
    "@odata.mediaEditLink",
    "@odata.mediaReadLink",
    "contentBytes",
];

/// Tasks as iCalendar.
pub(super) struct Tasks;

impl Export for Tasks {
    const ABOUT: About = About {
        name: "tasks",
        roles: &["Tasks.Read.All", "Tasks.ReadWrite.All"],
        owners: &[OwnerKind::User],
        // FACTS 2.6: as the mailbox it is in.
        owner_concurrency: 4,
        without_content: &[],
        not_covered: &[(
            "extensions",
            "data that other applications keep at lists and tasks (open extensions) is not exported",
        )],
    };

    /// The lists; they are asked for again when they are walked.
    fn root(owner: &Owner) -> (Scope, String) {
        (scope(owner), lists_of(owner))
    }

    async fn list(of: Opened<'_>, _seeds: Seeds) -> Result<Listing, Error> {
        list(of).await
    }

    async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
        content::fetch(context, asked).await
    }

    async fn estimate(
        graph: &Graph,
        owner: &Owner,
        enquiry: &Enquiry,
    ) -> Result<Option<Numbers>, graph::Error> {
        estimate::estimate(graph, owner, enquiry).await
    }

    fn mtime(kind: &str, graph: &Value) -> i64 {
        if kind == archive::metadata::FOLDER { 0 } else { mtime(graph) }
    }

    fn order(graph: &Value) -> i64 {
        order(graph)
    }

    /// A list's own name; of a task its title.
    fn name(graph: &Value, item: &Item) -> NewName {
        let text = |key: &str| graph.get(key).and_then(Value::as_str).unwrap_or_default();
        if item.kind == archive::metadata::FOLDER {
            return NewName::Native(text("displayName").to_owned());
        }
        NewName::Native(file_name(text("title")))
    }

    fn media(_json: &str) -> (Option<String>, Option<u64>) {
        (Some("text/calendar".to_owned()), None)
    }
}

/// When a task was changed, seconds since 1970.
fn mtime(task: &Value) -> i64 {
    time::seconds(time::first_real(task, &["/lastModifiedDateTime", "/createdDateTime"]))
}

/// What tasks are ordered by.
fn order(task: &Value) -> i64 {
    time::order_key(time::first(task, &["/createdDateTime"]))
}

fn file_name(title: &str) -> String {
    format!("{}.ics", title.trim())
}

fn scope(owner: &Owner) -> Scope {
    Scope::Mailbox(owner.id.clone())
}

fn lists_of(owner: &Owner) -> String {
    format!("/users/{}/todo/lists", segment(&owner.id))
}

/// The lists of one owner while they are listed.
struct Account<'a> {
    context: &'a Context,
    owner: &'a Owner,
    inventory: &'a Inventory,
    /// An index into [`EXPANSIONS`].
    level: Level<Tasks>,
    remarks: Remarks,
}

/// Lists the lists, then the tasks of each, then what changed meanwhile.
async fn list(of: Opened<'_>) -> Result<Listing, Error> {
    let Opened { context, owner, inventory, .. } = of;
    let (level, remarks) = (Level::new(&context.kept), Remarks::default());
    let account = Account { context, owner, inventory, level, remarks };
    let graph = context.graph();
    let changes = format!("{}/delta", lists_of(owner));
    let fatal = |error| account.fatal(error);
    let mut watch =
        Watch::begin(graph, scope(owner), &changes, Prefer::none()).await.map_err(fatal)?;
    let ids = walk(graph, &account, "", Vec::new()).await?;
    let mut known: BTreeSet<String> = ids.iter().cloned().collect();
    let mut lists = account.all_tasks(ids).await?;
    for _ in 0..CLOSING_ROUNDS {
        let grown = watch.has_changed(graph).await.map_err(fatal)?;
        if grown {
            let mut new = walk(graph, &account, "", Vec::new()).await?;
            new.retain(|id| known.insert(id.clone()));
            lists.append(&mut account.all_tasks(new).await?);
        }
        // A task that was moved to another list is in the changes of both.
        let quiet = replay_all(graph, &mut lists).await?;
        if quiet && !(grown && watch.can_tell()) {
            break;
        }
    }
    drop(lists);
    Ok(account.remarks.into_listing("", []))
}

impl Tree for Account<'_> {
    fn scope(&self) -> Scope {
        scope(self.owner)
    }

    /// Lists hold no lists.
    fn below(&self, folder: &str) -> Option<String> {
        folder.is_empty().then(|| lists_of(self.owner))
    }

    fn folder(&self, _folder: &str) -> Option<String> {
        None
    }

    /// Those of others are theirs to export (FACTS 3.8).
    fn put(&self, list: &Value, id: &str, parent: &str) -> Result<bool, Error> {
        let Value::Object(mut graph) = list.clone() else { return Ok(false) };
        if graph.get("isOwner") == Some(&Value::Bool(false)) {
            let message = "a list that somebody else shares; it is exported with his own";
            self.remarks.note(id, Note::new(Outcome::Skipped, "shared", message));
            return Ok(false);
        }
        volatile::strip(&mut graph, &["@odata.etag", "@odata.type"]);
        let name = graph.get("displayName").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.inventory.put(&Node {
            id,
            listing: LISTS,
            parent,
            kind: archive::metadata::FOLDER,
            folder: true,
            key: i64::MIN,
            mtime: 0,
            name: Name::Native(&name),
            json: &archive::json::canonical(&Value::Object(graph)),
            unwanted: None,
        })?;
        Ok(true)
    }

    fn remarks(&self) -> &Remarks {
        &self.remarks
    }

    fn fatal(&self, error: graph::Error) -> Error {
        Account::fatal(self, error)
    }
}

impl Account<'_> {
    /// Lists one list to its end. None when it vanished or could not be listed.
    async fn tasks(&self, id: String) -> Result<Option<Followed<List<'_>>>, Error> {
        let list = List { account: self, id, level: 0, rows: Vec::new() };
        let followed = Followed::begin(self.context.graph(), list, None).await?;
        Ok(Some(followed).filter(|followed| !followed.is_over))
    }

    /// The first list alone: what is refused there, none of the others asks for.
    async fn all_tasks(&self, ids: Vec<String>) -> Result<Vec<Followed<List<'_>>>, Error> {
        let mut ids = ids.into_iter();
        let first = match ids.next() {
            Some(id) => self.tasks(id).await?,
            None => None,
        };
        let others = stream::iter(ids).map(|id| self.tasks(id)).buffered(LISTS_AT_ONCE);
        let others: Vec<_> = others.try_collect().await?;
        Ok(first.into_iter().chain(others.into_iter().flatten()).collect())
    }

    /// A service that refuses what was asked at `level` is asked less from now on.
    fn ask_less(&self, level: usize) {
        if self.level.lower(level) {
            let what = ["attachments", "steps and links"][level];
            let message = format!("the service refuses {what} in listings of tasks; asking apart");
            self.context.monitor.warn(&message);
        }
    }

    fn fatal(&self, error: graph::Error) -> Error {
        Error::graph(format!("listing the tasks of {}", self.owner.upn), error)
    }
}

/// The tasks of one list.
struct List<'a> {
    account: &'a Account<'a>,
    id: String,
    /// What was asked of the listing under way.
    level: usize,
    /// The rows of the page at hand, in their order; without JSON what is gone.
    rows: Vec<(String, Option<Map<String, Value>>)>,
}

impl List<'_> {
    fn path(&self) -> String {
        format!("{}/{}/tasks", lists_of(self.account.owner), segment(&self.id))
    }

    fn remark(&self, message: &str, error: &graph::Error) {
        let note = Note::new(Outcome::Failed, "listing", message);
        self.account.remarks.failed(&self.id, note.with_code(error));
    }

    /// A row with all that belongs to the task; without JSON if it is gone.
    async fn whole(
        &self,
        (id, row): (String, Option<Map<String, Value>>),
    ) -> Result<(String, Option<Map<String, Value>>), Error> {
        let Some(mut graph) = row else { return Ok((id, None)) };
        let Account { context, owner, .. } = self.account;
        let doing = format!("listing the tasks of {}", owner.upn);
        let path = format!("{}/{}", self.path(), segment(&id));
        // FACTS 3.0: a change may be told of by what changed alone.
        if !(graph.contains_key("createdDateTime") && graph.contains_key("status")) {
            let scope = scope(owner);
            let ask = || context.ask(&scope, &path, Prefer::none(), &doing);
            let mut asked = ask().await?;
            // One 404 does not prove it.
            if matches!(&asked, Err(error) if is_gone(error)) {
                asked = ask().await?;
            }
            match asked {
                Ok(Value::Object(whole)) => graph = whole,
                Ok(_) => {}
                Err(error) if is_gone(&error) => return Ok((id, None)),
                Err(error) => {
                    self.remark("a changed task could not be read", &error);
                    // What is known is better than a part of what is not.
                    let known = self.account.inventory.json(&self.id, &id)?;
                    let known = known.and_then(|json| serde_json::from_str(&json).ok());
                    return Ok((id, Some(known.unwrap_or(graph))));
                }
            }
        }
        for part in PARTS {
            let is_cut = graph.contains_key(&format!("{part}@odata.nextLink"));
            if graph.get(part).is_some_and(Value::is_array) && !is_cut {
                continue;
            }
            if part == "attachments" && graph.get("hasAttachments") == Some(&Value::Bool(false)) {
                graph.insert(part.to_owned(), Value::Array(Vec::new()));
                continue;
            }
            let rows = context.ask_all(&scope(owner), &format!("{path}/{part}"), &doing).await?;
            match rows {
                Ok(rows) => drop(graph.insert(part.to_owned(), rows.into())),
                Err(error) => {
                    if is_gone(&error) && context.is_missing(&scope(owner), &path, &doing).await? {
                        return Ok((id, None));
                    }
                    self.remark("what belongs to a task could not be listed", &error);
                }
            }
        }
        Ok((id, Some(graph)))
    }

    fn put(&self, id: &str, mut graph: Map<String, Value>) -> Result<(), Error> {
        tidy(&mut graph);
        // Its JSON does not say which list it is in.
        graph.insert("parentFolderId".to_owned(), self.id.as_str().into());
        let graph = Value::Object(graph);
        let title = graph.get("title").and_then(Value::as_str).unwrap_or_default();
        self.account.inventory.put(&Node {
            id,
            listing: &self.id,
            parent: &self.id,
            kind: archive::metadata::TASK,
            folder: false,
            key: order(&graph),
            mtime: mtime(&graph),
            name: Name::Native(&file_name(title)),
            json: &archive::json::canonical(&graph),
            unwanted: None,
        })
    }
}

impl Listed for List<'_> {
    fn scope(&self) -> Scope {
        scope(self.account.owner)
    }

    fn prefer(&self) -> Prefer {
        Prefer::page_size(PAGE)
    }

    fn beginning(&mut self) -> String {
        self.level = self.account.level.now();
        format!("{}/delta{}", self.path(), EXPANSIONS[self.level])
    }

    fn take_row(&mut self, row: Value) -> Result<bool, Error> {
        let Value::Object(graph) = row else { return Ok(false) };
        let Some(id) = graph.get("id").and_then(Value::as_str).map(str::to_owned) else {
            return Ok(false);
        };
        let is_there = !graph.contains_key("@removed");
        self.rows.push((id, is_there.then_some(graph)));
        Ok(true)
    }

    async fn end_page(&mut self) -> Result<(), Error> {
        let rows = std::mem::take(&mut self.rows);
        let list = &*self;
        let mut rows =
            std::pin::pin!(stream::iter(rows).map(|row| list.whole(row)).buffered(ROWS_AT_ONCE));
        while let Some((id, graph)) = rows.try_next().await? {
            match graph {
                Some(graph) => list.put(&id, graph)?,
                None => list.account.inventory.remove(&list.id, &id)?,
            }
        }
        Ok(())
    }

    fn told(&self) -> (&Inventory, &str) {
        (self.account.inventory, &self.id)
    }

    fn container(&self) -> Option<String> {
        Some(format!("{}/{}", lists_of(self.account.owner), segment(&self.id)))
    }

    fn vanished(&mut self, error: &graph::Error) -> Result<(), Error> {
        let Account { inventory, remarks, .. } = self.account;
        inventory.forget(&self.id)?;
        inventory.remove(LISTS, &self.id)?;
        remarks.vanished(&self.id, "list", error);
        Ok(())
    }

    fn refused(&mut self, error: graph::Error, is_closing: bool) -> Result<Refusal, Error> {
        match error.kind() {
            // What changes are told with was asked for when the listing began.
            ErrorKind::BadRequest | ErrorKind::Unsupported
                if !is_closing && self.level + 1 < EXPANSIONS.len() =>
            {
                self.account.ask_less(self.level);
                return Ok(Refusal::Again);
            }
            _ => self.remark("the list could not be listed to its end", &error),
        }
        Ok(Refusal::Over)
    }

    fn gave_up(&mut self) {
        let message = "the service lost the listing again and again";
        let note = Note::new(Outcome::Failed, "listing", message);
        self.account.remarks.failed(&self.id, note);
    }

    fn fatal(&self, error: graph::Error) -> Error {
        self.account.fatal(error)
    }
}

/// Drops what is volatile, and puts what belongs to the task in an order that no answer changes:
/// steps as they were made. The entity tag stays: tasks have no change key.
fn tidy(graph: &mut Map<String, Value>) {
    volatile::strip(graph, &VOLATILE);
    graph.remove("@odata.type");
    graph.retain(|key, _| !PARTS.iter().any(|part| is_annotation(key, part)));
    for part in PARTS {
        let Some(Value::Array(rows)) = graph.get_mut(part) else { continue };
        for row in rows.iter_mut().filter_map(Value::as_object_mut) {
            volatile::strip(row, &VOLATILE);
            row.remove("@odata.etag");
            // Only attachments are of more than one type.
            if part != "attachments" {
                row.remove("@odata.type");
            }
        }
        rows.sort_by_cached_key(|row| {
            (order(row), row.get("id").and_then(Value::as_str).unwrap_or_default().to_owned())
        });
    }
}

/// Whether a key says something of how `part` was sent.
fn is_annotation(key: &str, part: &str) -> bool {
    key.strip_prefix(part).is_some_and(|rest| rest.starts_with('@'))
}
