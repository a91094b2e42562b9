//! The calendars of a mailbox and the events of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync;

use archive::Outcome;
use archive::path::event_name;
use futures::{StreamExt, TryStreamExt, stream};
use graph::{ErrorKind, Prefer, Scope, segment};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::series::Occurring;
use super::{event_path, order, preferences, scope, start, text, user};
use crate::Error;
use crate::context::Context;
use crate::error::is_gone;
use crate::follow::{CLOSING_ROUNDS, Listed, Refusal, Still, until_still};
use crate::inventory::{Inventory, Name, Node, Unwanted};
use crate::kept::Level;
use crate::owner::Owner;
use crate::remarks::Remarks;
use crate::service::{Listing, Note, Opened, volatile};

/// Events of a page: they come with their texts.
pub(super) const PAGE: u32 = 100;
/// Calendars of a page.
pub(super) const CALENDARS_PAGE: u32 = 100;
/// Calendars of one mailbox that are listed at the same time.
const CALENDARS_AT_ONCE: usize = 2;
/// Series that are asked about at the same time.
const SERIES_AT_ONCE: usize = 2;

/// What tells of calendars, in the inventory.
const CALENDARS: &str = "calendars";
/// Keys of a calendar that change with what is in it, and links.
const CALENDAR_VOLATILE: [&str; 3] = ["@odata.etag", "@odata.id", "changeKey"];
/// Keys of an event that say nothing of it, follow from others, or change by themselves (FACTS 9).
const EVENT_VOLATILE: [&str; 4] = ["@odata.id", "bodyPreview", "instances", "webLink"];
/// JSON that leaves room for the rest of a metadata line.
pub(super) const MOST_JSON: usize = archive::metadata::MAX_LINE as usize - (1 << 20);

/// `$expand` of extended properties in lists: 0, or 1 without.
#[derive(Debug)]
pub(super) struct Properties;

/// `exceptionOccurrences` and `cancelledOccurrences` (FACTS 10): 0, or 1 without.
#[derive(Debug)]
pub(super) struct Occurrences;

/// A mailbox while its calendars are listed.
pub(super) struct Mailbox<'a> {
    pub(super) context: &'a Context,
    pub(super) owner: &'a Owner,
    properties: Level<Properties>,
    pub(super) occurrences: Level<Occurrences>,
    /// A series was asked about its occurrences.
    pub(super) is_answered: Mutex<bool>,
    /// Series whose occurrences could not be read, with the calendar they are in. They are asked
    /// again in each pass.
    unread: sync::Mutex<BTreeMap<String, (String, graph::Error)>>,
    inventory: &'a Inventory,
    remarks: Remarks,
    /// The addresses that the mailbox goes by, in lower case.
    own: BTreeSet<String>,
}

/// Lists calendars, the events of each, and calendars that came meanwhile.
pub(super) async fn list(of: Opened<'_>) -> Result<Listing, Error> {
    let Opened { context, owner, root, inventory } = of;
    let mailbox = Mailbox {
        context,
        owner,
        properties: Level::new(&context.kept),
        occurrences: Level::new(&context.kept),
        is_answered: Mutex::new(false),
        unread: sync::Mutex::default(),
        inventory,
        remarks: Remarks::default(),
        own: addresses(owner, root),
    };
    let (mut known, mut all) = (BTreeSet::new(), Vec::new());
    for _ in 0..CLOSING_ROUNDS {
        let mut calendars = mailbox.calendars().await?;
        calendars.retain(|id| known.insert(id.clone()));
        if calendars.is_empty() {
            break;
        }
        all.extend(calendars.into_iter().map(|id| Still::new(Events::new(&mailbox, id))));
        until_still(context.graph(), &mut all, CALENDARS_AT_ONCE).await?;
    }
    for (calendar, error) in std::mem::take(&mut *mailbox.unread()).into_values() {
        mailbox.failed(&calendar, "the exceptions of a series could not be read", &error);
    }
    Ok(mailbox.remarks.into_listing("", []))
}

/// Whose calendars are the mailbox's own: the service names an owner by any of his addresses, but
/// that of the default calendar is his.
pub(super) fn addresses(owner: &Owner, root: &Value) -> BTreeSet<String> {
    let proxies = owner.graph["proxyAddresses"].as_array().into_iter().flatten();
    let proxies = proxies.filter_map(Value::as_str);
    let proxies = proxies.map(|proxy| proxy.split_once(':').map_or(proxy, |(_, address)| address));
    let calendars = root["value"].as_array().into_iter().flatten();
    let default = calendars.filter(|calendar| calendar["isDefaultCalendar"] == true);
    let default = default.filter_map(|own| own.pointer("/owner/address").and_then(Value::as_str));
    let named = [text(&owner.graph, "mail"), owner.upn.as_str()];
    let all = proxies.chain(named).chain(default).filter(|address| !address.is_empty());
    all.map(str::to_lowercase).collect()
}

impl Mailbox<'_> {
    /// All calendars into the inventory: those of the default group and those of each group, the
    /// group with them. Ids of those whose events are the owner's own and selected.
    async fn calendars(&self) -> Result<Vec<String>, Error> {
        let mut found = BTreeMap::new();
        let all = format!("{}/calendars?$top={CALENDARS_PAGE}", user(self.owner));
        match self.ask(&all).await? {
            Ok(rows) => collect(&mut found, rows, None),
            Err(error) => self.failed("", "the calendars could not be listed", &error),
        }
        let groups = format!("{}/calendarGroups", user(self.owner));
        match self.ask(&format!("{groups}?$top={CALENDARS_PAGE}")).await? {
            Ok(rows) => {
                for group in rows {
                    let id = segment(text(&group, "id")).to_string();
                    let group_path = format!("{groups}/{id}");
                    let path = format!("{group_path}/calendars?$top={CALENDARS_PAGE}");
                    match self.ask(&path).await? {
                        Ok(rows) => collect(&mut found, rows, Some(&group)),
                        Err(error) if is_gone(&error) && self.is_missing(&group_path).await? => {}
                        Err(error) => {
                            self.failed("", "a group of calendars could not be listed", &error);
                        }
                    }
                }
            }
            // Not every cloud has groups (FACTS 6.2).
            Err(error)
                if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::BadRequest)
                    || is_gone(&error) => {}
            Err(error) => self.failed("", "the groups of calendars could not be listed", &error),
        }
        let mut own = Vec::new();
        for (id, graph) in found {
            let is_own = is_own(&graph, &self.own);
            self.put_calendar(&id, graph, is_own)?;
            own.extend(is_own.then_some(id));
        }
        self.selected(own)
    }

    async fn ask(&self, path: &str) -> Result<Result<Vec<Value>, graph::Error>, Error> {
        self.context.ask_all(&scope(self.owner), path, &self.doing()).await
    }

    /// Whether there is no such event, or group of calendars, any more.
    pub(super) async fn is_missing(&self, path: &str) -> Result<bool, Error> {
        let path = format!("{path}?$select=id");
        self.context.is_missing(&scope(self.owner), &path, &self.doing()).await
    }

    fn put_calendar(
        &self,
        id: &str,
        mut graph: Map<String, Value>,
        is_own: bool,
    ) -> Result<(), Error> {
        let shared = || Unwanted {
            cause: "shared".to_owned(),
            code: String::new(),
            message: "a calendar that somebody else shares; its events are his".to_owned(),
        };
        if graph.get("isDefaultCalendar") == Some(&Value::Bool(true)) {
            graph.insert("wellKnownName".to_owned(), "calendar".into());
        }
        let graph = Value::Object(graph);
        self.inventory.put(&Node {
            id,
            listing: CALENDARS,
            parent: "",
            kind: if is_own { archive::metadata::FOLDER } else { super::SHARED },
            folder: is_own,
            key: if is_own { 0 } else { order(&graph) },
            mtime: 0,
            name: Name::Native(text(&graph, "name")),
            json: &archive::json::canonical(&graph),
            unwanted: (!is_own).then(shared),
        })
    }

    /// Drops the calendars that the selection excludes: they need not be listed.
    fn selected(&self, mut found: Vec<String>) -> Result<Vec<String>, Error> {
        if self.context.options.selection.exclude.is_empty() {
            return Ok(found);
        }
        let base = format!("{}/calendar", self.owner.path());
        self.inventory.arrange("", &base)?;
        let mut excluded = BTreeSet::new();
        for id in &found {
            let path = self.inventory.folder_path(id)?;
            if path.is_some_and(|path| self.context.selector.excludes_subtree(&path)) {
                excluded.insert(id.clone());
            }
        }
        found.retain(|id| !excluded.contains(id));
        Ok(found)
    }

    fn unread(&self) -> sync::MutexGuard<'_, BTreeMap<String, (String, graph::Error)>> {
        self.unread.lock().unwrap_or_else(sync::PoisonError::into_inner)
    }

    fn failed(&self, folder: &str, message: &str, error: &graph::Error) {
        let note = Note::new(Outcome::Failed, "listing", message);
        self.remarks.failed(folder, note.with_code(error));
    }
}

/// Not one of somebody else that he sees among his own (FACTS 3.5); `own` are his addresses.
pub(super) fn is_own(calendar: &Map<String, Value>, own: &BTreeSet<String>) -> bool {
    let owner = calendar.get("owner").map_or("", |owner| text(owner, "address"));
    owner.is_empty() || own.contains(&owner.to_lowercase())
}

/// Adds rows to the calendars that are known by their ids, with the group they are in.
fn collect(
    found: &mut BTreeMap<String, Map<String, Value>>,
    rows: Vec<Value>,
    group: Option<&Value>,
) {
    for row in rows {
        let Value::Object(mut graph) = row else { continue };
        let Some(id) = graph.get("id").and_then(Value::as_str).map(str::to_owned) else { continue };
        volatile::strip(&mut graph, &CALENDAR_VOLATILE);
        drop_links(&mut graph);
        if let Some(Value::Object(group)) = group {
            let mut group = group.clone();
            volatile::strip(&mut group, &CALENDAR_VOLATILE);
            graph.insert("calendarGroup".to_owned(), group.into());
        }
        found.insert(id, graph);
    }
}

/// Drops addresses of what else can be asked for.
fn drop_links(graph: &mut Map<String, Value>) {
    graph.retain(|key, _| {
        !key.ends_with("@odata.navigationLink") && !key.ends_with("@odata.associationLink")
    });
}

/// The events of one calendar.
struct Events<'a> {
    mailbox: &'a Mailbox<'a>,
    id: String,
    /// Series of the page at hand that are new or other than they were: the list does not tell
    /// what became of their occurrences.
    series: Vec<Map<String, Value>>,
    /// What was asked of the listing under way.
    properties: usize,
}

impl<'a> Events<'a> {
    const fn new(mailbox: &'a Mailbox<'a>, id: String) -> Self {
        Self { mailbox, id, series: Vec::new(), properties: 0 }
    }

    fn calendar(&self) -> String {
        format!("{}/calendars/{}", user(self.mailbox.owner), segment(&self.id))
    }
}

impl Listed for Events<'_> {
    fn scope(&self) -> Scope {
        scope(self.mailbox.owner)
    }

    fn prefer(&self) -> Prefer {
        preferences()
    }

    fn beginning(&mut self) -> String {
        let path = format!("{}/events?$top={PAGE}", self.calendar());
        self.properties = self.mailbox.properties.now();
        match self.properties {
            0 => format!("{path}&$expand={}", zones()),
            _ => path,
        }
    }

    fn take_row(&mut self, row: Value) -> Result<bool, Error> {
        let Value::Object(mut graph) = row else { return Ok(false) };
        let Some(id) = graph.get("id").and_then(Value::as_str).map(str::to_owned) else {
            return Ok(false);
        };
        plain(&mut graph);
        graph.insert("parentFolderId".to_owned(), self.id.clone().into());
        if !graph.get("recurrence").is_some_and(Value::is_object) {
            return self.put(&id, &graph.into(), None);
        }
        // A series that is as it was when its occurrences were asked about.
        let known = self.mailbox.inventory.json(&self.id, &id)?;
        if let Some(known) = known.and_then(|json| serde_json::from_str::<Value>(&json).ok())
            && super::series::is_told(&known, &graph)
        {
            return self.put(&id, &known, None);
        }
        self.series.push(graph);
        Ok(true)
    }

    async fn end_page(&mut self) -> Result<(), Error> {
        let series = std::mem::take(&mut self.series);
        let mailbox = self.mailbox;
        let mut whole = stream::iter(series)
            .map(|series| mailbox.with_occurrences(series))
            .buffered(SERIES_AT_ONCE);
        // Nothing is waited for in here: who asks for the next series may have the mailbox's turn.
        while let Some((series, told)) = whole.try_next().await? {
            let id = text(&series, "id").to_owned();
            let unread = |error: &graph::Error| Unwanted {
                cause: "listing".to_owned(),
                code: error.code().unwrap_or_default().to_owned(),
                message: "its exceptions could not be read".to_owned(),
            };
            let unwanted = match &told {
                Occurring::Gone => {
                    mailbox.inventory.remove(&self.id, &id)?;
                    continue;
                }
                Occurring::Told => None,
                Occurring::Unread(error) => Some(unread(error)),
            };
            self.put(&id, &series, unwanted)?;
            match told {
                Occurring::Unread(error) => mailbox.unread().insert(id, (self.id.clone(), error)),
                _ => mailbox.unread().remove(&id),
            };
        }
        Ok(())
    }

    fn told(&self) -> (&Inventory, &str) {
        (self.mailbox.inventory, &self.id)
    }

    fn container(&self) -> Option<String> {
        Some(format!("{}?$select=id", self.calendar()))
    }

    fn vanished(&mut self, error: &graph::Error) -> Result<(), Error> {
        let Mailbox { inventory, remarks, .. } = self.mailbox;
        inventory.forget(&self.id)?;
        inventory.remove(CALENDARS, &self.id)?;
        remarks.vanished(&self.id, "calendar", error);
        Ok(())
    }

    fn refused(&mut self, error: graph::Error, _is_closing: bool) -> Result<Refusal, Error> {
        let Mailbox { properties, context, .. } = self.mailbox;
        match error.kind() {
            ErrorKind::BadRequest | ErrorKind::Unsupported if self.properties == 0 => {
                if properties.lower(0) {
                    context.monitor.warn(
                        "the service refuses extended properties in lists of events; going on without",
                    );
                }
                return Ok(Refusal::Again);
            }
            _ => {
                self.mailbox.failed(
                    &self.id,
                    "the calendar could not be listed to its end",
                    &error,
                );
            }
        }
        Ok(Refusal::Over)
    }

    fn gave_up(&mut self) {
        let message = "the service could not list the calendar to its end";
        let note = Note::new(Outcome::Failed, "listing", message);
        self.mailbox.remarks.failed(&self.id, note);
    }

    fn fatal(&self, error: graph::Error) -> Error {
        Error::graph(format!("listing the calendars of {}", self.mailbox.owner.upn), error)
    }
}

impl Events<'_> {
    /// Puts an event into the inventory; true if that is news.
    fn put(&self, id: &str, graph: &Value, unwanted: Option<Unwanted>) -> Result<bool, Error> {
        let mut json = archive::json::canonical(graph);
        let mut unwanted = unwanted;
        if json.len() > MOST_JSON {
            // What does not fit into a line of metadata can't be restored either.
            let brief = super::series::brief(graph);
            json = archive::json::canonical(&brief);
            let message = "the texts of a series are larger than the format allows";
            let note = Note::new(Outcome::Failed, "too-large", message);
            self.mailbox.remarks.failed(&self.id, note);
            unwanted = Some(Unwanted {
                cause: "too-large".to_owned(),
                code: String::new(),
                message: "the texts of the series are larger than the format allows".to_owned(),
            });
        }
        let start = start(graph);
        self.mailbox.inventory.update(&Node {
            id,
            listing: &self.id,
            parent: &self.id,
            kind: archive::metadata::EVENT,
            folder: false,
            key: order(graph),
            mtime: start,
            name: Name::Unique(&event_name(start, text(graph, "subject"), id)),
            json: &json,
            unwanted,
        })
    }
}

/// An event without what is volatile, and with what comes in no order in one.
pub(super) fn plain(event: &mut Map<String, Value>) {
    volatile::strip(event, &EVENT_VOLATILE);
    drop_links(event);
    // The tag of what has no other stays: by it an event is known as unchanged.
    if event.contains_key("changeKey") {
        event.remove("@odata.etag");
    }
    // FACTS 9: it changes by itself.
    if let Some(Value::Object(status)) = event.get_mut("responseStatus") {
        status.remove("time");
    }
    if let Some(Value::Array(properties)) = event.get_mut("singleValueExtendedProperties") {
        properties.sort_by_cached_key(|property| property["id"].to_string());
    }
}

/// The expansion for the rules of zones without names, and for what an import kept of an event.
pub(super) fn zones() -> String {
    let ids = convert::event::ZONE_PROPERTIES.iter().copied().chain([convert::event::KEPT]);
    let filters: Vec<String> = ids.map(|id| format!("id eq '{id}'")).collect();
    let filter = format!("($filter={})", filters.join(" or "));
    format!("singleValueExtendedProperties{}", escaped(&filter))
}

/// As it stands in a query.
fn escaped(text: &str) -> String {
    text.replace(' ', "%20").replace('{', "%7B").replace('}', "%7D")
}

/// The path of an event in the mailbox.
pub(super) fn of_event(mailbox: &Mailbox<'_>, event: &Map<String, Value>) -> String {
    let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
    event_path(mailbox.owner, id)
}
