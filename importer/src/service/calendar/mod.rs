//! Calendars of a mailbox (FACTS 5.4). Nobody is mailed: no attendee is ever set, and nothing that
//! has attendees is ever changed or deleted.

mod calendars;
mod compared;
mod content;
mod event;
mod occurrences;
mod people;
mod place;
mod settle;
mod undo;

use std::sync::Arc;

use archive::metadata::Line;
use graph::Graph;
use serde_json::Value;

use super::{About, Compared, Import};
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::Options;
use crate::section::Section;
use crate::target::User;
use place::CalendarPlace;

/// Events.
pub(super) struct Calendar;

impl Import for Calendar {
    const ABOUT: About = About {
        name: "calendar",
        roles: &["Calendars.ReadWrite"],
        // FACTS 2.2: 150 MB in 5 minutes.
        most_upload: Some(150_000_000 / 300),
    };

    type Place = CalendarPlace;

    async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<CalendarPlace, Error> {
        CalendarPlace::open(graph, user, section, options, journal).await
    }

    fn reopen(graph: Graph, section: &str, address: &str, journal: Arc<Journal>) -> CalendarPlace {
        CalendarPlace::reopen(graph, section, address, journal)
    }

    /// When it starts, of a series the first occurrence.
    fn mtime(line: &Line) -> i64 {
        let text = line.graph.pointer("/start/dateTime").and_then(Value::as_str);
        let text = text.map(|text| format!("{}Z", text.trim_end_matches('Z')));
        let time = text.and_then(|text| chrono::DateTime::parse_from_rfc3339(&text).ok());
        time.map_or(0, |time| time.timestamp().clamp(0, i64::from(i32::MAX)))
    }

    /// The event, a look at it, its attachments, and each occurrence that differs.
    fn requests(line: &Line, size: u64) -> u64 {
        let count = |name: &str| line.graph[name].as_array().map_or(0, |list| list.len() as u64);
        let exceptions = count("exceptionOccurrences");
        let differing = exceptions + count("cancelledOccurrences");
        let series = if differing > 0 { 3 + differing } else { 0 };
        3 + series + size / 4_000_000
    }

    fn compared(item: &Item) -> Result<Compared, Error> {
        compared::compared(item)
    }
}
