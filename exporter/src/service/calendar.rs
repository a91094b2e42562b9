//! Calendars: each with its events, a series with its exceptions and cancelled occurrences, as one
//! iCalendar file an event or series (FACTS 3.5). Of a group what an application sees of its calendar
//! (FACTS 3.11).

pub(crate) mod content;
mod estimate;
mod group;
mod listing;
mod occurrences;
mod series;

use archive::path::event_name;
use graph::{Graph, Prefer, Scope, segment};
use serde_json::Value;

use super::{About, Asked, Export, Fetched, Listing, NewName, Opened, time};
use crate::Error;
use crate::context::Context;
use crate::estimate::{Enquiry, Numbers};
use crate::inventory::Item;
use crate::owner::{Owner, OwnerKind};
use crate::state::Seeds;

/// A calendar that somebody else shares: its events are his.
const SHARED: &str = "shortcut";

/// Events as iCalendar.
pub(super) struct Calendar;

impl Export for Calendar {
    const ABOUT: About = About {
        name: "calendar",
        roles: &["Calendars.Read", "Calendars.ReadWrite"],
        owners: &[OwnerKind::User, OwnerKind::Group],
        // FACTS 2.2: 4 per app and mailbox.
        owner_concurrency: 4,
        without_content: &[SHARED],
        not_covered: &[
            ("calendar-permissions", "whom a calendar is shared with is not exported"),
            (
                "event-extensions",
                "extensions and named properties that other programs add to events are not exported",
            ),
            (
                "link-attachments",
                "Graph does not tell where links lead to that are attached to events",
            ),
        ],
    };

    const IMPOSSIBLE: &'static [&'static str] = &["group-event-attachments", "group-series"];

    fn not_covered(kind: OwnerKind) -> &'static [(&'static str, &'static str)] {
        match kind {
            OwnerKind::User => Self::ABOUT.not_covered,
            OwnerKind::Group => group::NOT_COVERED,
        }
    }

    /// The calendars of the default group, of which every mailbox has one.
    fn root(owner: &Owner) -> (Scope, String) {
        if owner.kind == OwnerKind::Group {
            return group::root(owner);
        }
        (scope(owner), format!("{}/calendars?$top={}", user(owner), listing::CALENDARS_PAGE))
    }

    /// There is no delta without a window (FACTS 3.5), so nothing of `seeds` can be used.
    async fn list(of: Opened<'_>, _seeds: Seeds) -> Result<Listing, Error> {
        match of.owner.kind {
            OwnerKind::User => listing::list(of).await,
            OwnerKind::Group => group::list(of).await,
        }
    }

    async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
        content::fetch(context, asked).await
    }

    async fn estimate(
        graph: &Graph,
        owner: &Owner,
        enquiry: &Enquiry,
    ) -> Result<Option<Numbers>, graph::Error> {
        // What a window shows is known when it was walked, and not before.
        match owner.kind {
            OwnerKind::User => estimate::estimate(graph, owner, enquiry).await,
            OwnerKind::Group => Ok(None),
        }
    }

    /// When it starts, of a series the first occurrence.
    fn mtime(kind: &str, graph: &Value) -> i64 {
        if kind == archive::metadata::FOLDER { 0 } else { start(graph) }
    }

    fn order(graph: &Value) -> i64 {
        order(graph)
    }

    fn name(graph: &Value, item: &Item) -> NewName {
        if item.kind == archive::metadata::FOLDER || item.kind == SHARED {
            return NewName::Native(text(graph, "name").to_owned());
        }
        NewName::Unique(event_name(start(graph), text(graph, "subject"), &item.id))
    }

    fn media(_json: &str) -> (Option<String>, Option<u64>) {
        (Some("text/calendar".to_owned()), None)
    }
}

/// What texts and times are asked in: HTML as it was written; times in UTC, which is what comes
/// when no zone is named (FACTS 3.1).
fn preferences() -> Prefer {
    Prefer::none().and("outlook.body-content-type=\"html\"").and("outlook.allow-unsafe-html")
}

/// When an event starts, in seconds since 1970; a whole day at its midnight in UTC. 0 if it does
/// not say.
fn start(event: &Value) -> i64 {
    let text = event.pointer("/start/dateTime").and_then(Value::as_str).unwrap_or_default();
    time::seconds(time::nanoseconds(&format!("{}Z", text.trim_end_matches('Z'))))
}

/// What events are ordered by: no edit changes it.
fn order(event: &Value) -> i64 {
    time::order_key(time::first(event, &["/createdDateTime"]))
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn user(owner: &Owner) -> String {
    format!("/users/{}", segment(&owner.id))
}

fn event_path(owner: &Owner, id: &str) -> String {
    format!("{}/events/{}", user(owner), segment(id))
}

fn scope(owner: &Owner) -> Scope {
    Scope::Mailbox(owner.id.clone())
}
