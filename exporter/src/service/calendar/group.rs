//! The calendar of a group. An application sees of it what falls into a window, and neither its
//! events as such nor their attachments (FACTS 1.8, 3.11): so the window is walked from
//! [`FIRST_YEAR`] to [`END_YEAR`], and a series is put together from its occurrences.

use std::sync::atomic::{AtomicI64, Ordering};

use archive::path::event_name;
use archive::{Outcome, metadata};
use chrono::{DateTime, Duration, NaiveDate, Utc};
use graph::{Pages, Scope, segment};
use serde_json::{Map, Value};

use super::listing::{MOST_JSON, plain};
use super::occurrences::Gathered;
use super::{order, preferences, scope, start, text};
use crate::Error;
use crate::context::Context;
use crate::error::{is_fatal, is_gone};
use crate::follow::{CLOSING_ROUNDS, LOST_LINKS, is_lost};
use crate::inventory::{Inventory, Name, Node, Unwanted};
use crate::owner::Owner;
use crate::remarks::Remarks;
use crate::service::{Listing, Note, Opened};

/// What this version leaves of a group's calendar.
pub(super) const NOT_COVERED: &[(&str, &str)] = &[
    (
        "group-calendar-window",
        "Graph shows applications only a window of a group's calendar: what is before 1990 or \
         after 2049 is not exported",
    ),
    (
        "group-event-attachments",
        "Graph gives attachments of a group's events only to a person who is signed in",
    ),
    (
        "group-series",
        "Graph shows applications occurrences and no series of a group's calendar: how one recurs \
         is reckoned from its occurrences",
    ),
];

/// The window, in whole years: no clock may move it, or the same calendar would have other bytes
/// tomorrow. Series without an end have occurrences for ever, and end with it.
const FIRST_YEAR: i32 = 1990;
const END_YEAR: i32 = 2050;
/// How much of it is asked for at a time, in days: four years, less than the 1825 that are known to
/// be accepted.
const AT_A_TIME: i64 = 1461;
/// Occurrences of a page: they come with their texts.
const PAGE: u32 = 100;
/// Occurrences that are read back at a time.
const BATCH: u32 = 64;
/// What tells of events, in the inventory.
const EVENTS: &str = "events";

/// The least that can be asked: whether there is a calendar, and whether we are let in.
pub(super) fn root(owner: &Owner) -> (Scope, String) {
    let from = midnight(FIRST_YEAR);
    (scope(owner), format!("{}&$top=1", view(owner, from, from + Duration::days(1))))
}

fn midnight(year: i32) -> DateTime<Utc> {
    let day = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default();
    day.and_time(chrono::NaiveTime::MIN).and_utc()
}

fn view(owner: &Owner, from: DateTime<Utc>, until: DateTime<Utc>) -> String {
    let stamp = |time: DateTime<Utc>| time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    format!(
        "/groups/{}/calendarView?startDateTime={}&endDateTime={}",
        segment(&owner.id),
        segment(&stamp(from)),
        segment(&stamp(until))
    )
}

/// Lists the window until it stays the same, then puts each event and series into the inventory.
pub(super) async fn list(of: Opened<'_>) -> Result<Listing, Error> {
    let Opened { context, owner, inventory, .. } = of;
    let calendar = Calendar {
        context,
        owner,
        days: AtomicI64::new(AT_A_TIME),
        seen: context.inventory()?,
        remarks: Remarks::default(),
    };
    let mut is_whole = false;
    for _ in 0..=CLOSING_ROUNDS {
        calendar.seen.outdate(EVENTS)?;
        let Some(news) = calendar.walk().await? else { break };
        let missing = calendar.seen.remove_outdated(EVENTS)?;
        if std::mem::replace(&mut is_whole, true) && !news && missing == 0 {
            break;
        }
    }
    tokio::task::block_in_place(|| calendar.gather(inventory))?;
    Ok(calendar.remarks.into_listing("", []))
}

/// A group's calendar while it is listed.
struct Calendar<'a> {
    context: &'a Context,
    owner: &'a Owner,
    /// How many days the service shows at a time: another may show more of his.
    days: AtomicI64,
    /// Everything that a window showed, a series' occurrences one after the other.
    seen: Inventory,
    remarks: Remarks,
}

impl Calendar<'_> {
    /// Once through the whole window. Whether anything was new; none if it could not be walked.
    async fn walk(&self) -> Result<Option<bool>, Error> {
        let (mut from, end) = (midnight(FIRST_YEAR), midnight(END_YEAR));
        let (mut news, mut lost) = (false, 0);
        while from < end {
            let days = self.days.load(Ordering::Relaxed);
            let until = (from + Duration::days(days)).min(end);
            let error = match self.window(from, until).await? {
                Ok(is_new) => {
                    (news, lost, from) = (news | is_new, 0, until);
                    continue;
                }
                // It may be too long: that is told by nothing else (FACTS 3.11).
                Err(Unseen::Refused(error)) if error.status() == Some(400) && days > 1 => {
                    self.days.store(days / 2, Ordering::Relaxed);
                    continue;
                }
                Err(Unseen::Refused(error)) if !is_gone(&error) => error,
                Err(Unseen::Refused(error)) if self.is_missing().await? => {
                    self.seen.forget(EVENTS)?;
                    self.remarks.vanished("", "calendar", &error);
                    return Ok(None);
                }
                Err(Unseen::Refused(_) | Unseen::Lost(_)) if lost < LOST_LINKS => {
                    lost += 1;
                    continue;
                }
                Err(Unseen::Refused(error) | Unseen::Lost(error)) => error,
            };
            let message = "the calendar could not be listed to its end";
            let note = Note::new(Outcome::Failed, "listing", message);
            self.remarks.failed("", note.with_code(&error));
            return Ok(None);
        }
        Ok(Some(news))
    }

    /// Whether there is no group any more.
    async fn is_missing(&self) -> Result<bool, Error> {
        let path = format!("/groups/{}?$select=id", segment(&self.owner.id));
        self.context.is_missing(&Scope::Directory, &path, &self.doing()).await
    }

    fn doing(&self) -> String {
        format!("listing the calendar of {}", self.owner.upn)
    }

    /// What a window shows. Whether anything was new, or why it is not shown.
    async fn window(
        &self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Result<bool, Unseen>, Error> {
        let path = format!("{}&$top={PAGE}", view(self.owner, from, until));
        let mut pages = self.pages(&path);
        let fatal = |error| Error::graph(self.doing(), error);
        let mut news = false;
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Ok(news)),
                Err(error) if is_fatal(&error) => return Err(fatal(error)),
                Err(error) if is_lost(&pages, &error) => return Ok(Err(Unseen::Lost(error))),
                Err(error) => return Ok(Err(Unseen::Refused(error))),
            };
            for item in &page.items {
                let row = item.parse().map_err(fatal)?;
                news |= self.see(row)?;
            }
        }
    }

    fn pages(&self, path: &str) -> Pages {
        self.context.graph().pages(scope(self.owner), path, preferences())
    }

    /// Keeps a row; true if that is news.
    fn see(&self, row: Value) -> Result<bool, Error> {
        let Value::Object(mut graph) = row else { return Ok(false) };
        if graph.get("id").and_then(Value::as_str).is_none() {
            return Ok(false);
        }
        plain(&mut graph);
        let graph = Value::Object(graph);
        self.seen.update(&Node {
            id: &place(&graph),
            listing: EVENTS,
            parent: "",
            kind: metadata::EVENT,
            folder: false,
            key: 0,
            mtime: 0,
            name: Name::Unique(""),
            json: &archive::json::canonical(&graph),
            unwanted: None,
        })
    }

    /// Puts all that was seen into the inventory, one item an event or series.
    fn gather(&self, inventory: &Inventory) -> Result<(), Error> {
        let mut after = String::new();
        let mut gathered: Option<Gathered> = None;
        loop {
            let rows = self.seen.items_by_id_after(&after, BATCH)?;
            for json in &rows {
                let row: Map<String, Value> = serde_json::from_str(json)
                    .map_err(|_| Error::Internal("the inventory gave back bad JSON"))?;
                let row = Value::Object(row);
                after = place(&row);
                let id = series(&row);
                if gathered.as_ref().is_some_and(|gathered| gathered.id != id) {
                    self.put(inventory, gathered.take())?;
                }
                gathered.get_or_insert_with(|| Gathered::new(id)).add(row);
            }
            if rows.is_empty() {
                return self.put(inventory, gathered);
            }
        }
    }

    fn put(&self, inventory: &Inventory, gathered: Option<Gathered>) -> Result<(), Error> {
        let Some((graph, homeless)) = gathered.and_then(Gathered::into_event) else {
            return Ok(());
        };
        if homeless > 0 {
            let message = "occurrences of a series are on one day, where iCalendar has one";
            self.remarks.failed("", Note::new(Outcome::Failed, "occurrences", message));
        }
        let mut json = archive::json::canonical(&graph);
        let mut unwanted = None;
        if json.len() > MOST_JSON {
            // What does not fit into a line of metadata can't be restored either.
            json = archive::json::canonical(&super::series::brief(&graph));
            let message = "a series is larger than the format allows";
            self.remarks.failed("", Note::new(Outcome::Failed, "too-large", message));
            unwanted = Some(Unwanted {
                cause: "too-large".to_owned(),
                code: String::new(),
                message: "the series is larger than the format allows".to_owned(),
            });
        }
        let (id, start) = (text(&graph, "id"), start(&graph));
        inventory.put(&Node {
            id,
            listing: EVENTS,
            parent: "",
            kind: metadata::EVENT,
            folder: false,
            key: order(&graph),
            mtime: start,
            name: Name::Unique(&event_name(start, text(&graph, "subject"), id)),
            json: &json,
            unwanted,
        })
    }
}

/// Why a window is not shown, or not to its end.
enum Unseen {
    /// The service lost it on the way.
    Lost(graph::Error),
    Refused(graph::Error),
}

/// The series that a row is of; its own id for a single event, and for a series itself.
fn series(row: &Value) -> &str {
    match text(row, "seriesMasterId") {
        "" => text(row, "id"),
        series => series,
    }
}

/// Where a row stands: all rows of a series together, in the order of their starts.
fn place(row: &Value) -> String {
    let start = row.pointer("/start/dateTime").and_then(Value::as_str).unwrap_or_default();
    format!("{}\n{start}\n{}", series(row), text(row, "id"))
}
