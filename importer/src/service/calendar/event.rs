//! What an event of an archive becomes: what is posted of it, what is done to its occurrences, and
//! what is kept as data because it may not be set again (FACTS 5.4).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use convert::event::{KEPT, Occurrences, ZONE_PROPERTIES, cancelled_day, settable};
use serde_json::{Map, Value, json};

use super::people;
use crate::mailbox::SOURCE;
use crate::place::Loss;

/// What Exchange calls a zone that has only rules.
const CUSTOM_ZONE: &str = "tzone://Microsoft/Custom";

/// Members that need not be kept as data: they are posted or restored in other ways, follow from
/// what is, or are handles of the old item.
const NOT_KEPT: [&str; 22] = [
    "@odata.etag",
    "@odata.type",
    "attachments",
    "bodyPreview",
    "cTag",
    "calendar",
    "cancelledOccurrences",
    "changeKey",
    "exceptionOccurrences",
    "hasAttachments",
    "id",
    "instances",
    "multiValueExtendedProperties",
    "occurrenceId",
    "occurrences",
    "originalStart",
    "parentFolderId",
    "seriesMasterId",
    "singleValueExtendedProperties",
    "type",
    "uid",
    "webLink",
];

/// An event as it is made.
#[derive(Debug)]
pub(super) struct Event {
    /// What is posted, without a mark.
    pub(super) json: Value,
    /// Occurrences that differ, by their days in the zone of the series.
    pub(super) exceptions: BTreeMap<NaiveDate, Exception>,
    /// Days of occurrences that were cancelled.
    pub(super) cancelled: Vec<NaiveDate>,
    /// When its occurrences are, if it is a series.
    pub(super) occurrences: Option<Occurrences>,
    /// What of it can't be set.
    pub(super) losses: Vec<Loss>,
}

/// An occurrence that differs.
#[derive(Debug)]
pub(super) struct Exception {
    /// Its id where it was exported.
    pub(super) source: String,
    /// All that may be set of it, and what is kept of the rest.
    pub(super) json: Value,
}

impl Event {
    /// Of the JSON of a metadata line.
    pub(super) fn of(graph: &Value) -> Self {
        let mut losses = Vec::new();
        let json = posted(graph, &mut losses);
        let occurrences = Occurrences::of(graph);
        let mut event =
            Self { json, exceptions: BTreeMap::new(), cancelled: Vec::new(), occurrences, losses };
        let list = |name: &str| graph[name].as_array().map(Vec::as_slice).unwrap_or_default();
        for exception in list("exceptionOccurrences") {
            let day = event.occurrences.as_ref().and_then(|all| all.day_of(exception));
            let Some(day) = day else {
                event.losses.push(Loss::Occurrence);
                continue;
            };
            let source = exception["id"].as_str().unwrap_or_default().to_owned();
            let json = posted(exception, &mut event.losses);
            event.exceptions.insert(day, Exception { source, json });
        }
        let days = list("cancelledOccurrences").iter().filter_map(cancelled_day);
        event.cancelled = days.filter(|day| !event.exceptions.contains_key(day)).collect();
        event.losses.sort_unstable();
        event.losses.dedup();
        event
    }

    /// Whether more requests follow the one that makes it.
    pub(super) fn has_more(&self) -> bool {
        !self.exceptions.is_empty() || !self.cancelled.is_empty()
    }
}

/// What of an event is posted.
fn posted(event: &Value, losses: &mut Vec<Loss>) -> Value {
    let mut json = settable(event);
    // Whatever the mailbox does by default (FACTS 5.4).
    json["isOnlineMeeting"] = false.into();
    let lines = people::told(event);
    if !lines.is_empty() {
        json["body"] = people::with_lines(&event["body"], &lines);
    }
    note(event, losses);
    let mut properties: Vec<Value> = properties(event).cloned().collect();
    // What an earlier restore kept of the original is worth more than what is left of it now.
    let has_kept = properties.iter().any(|property| is_id(property, KEPT));
    if !has_kept || has_people(event) {
        properties.retain(|property| !is_id(property, KEPT));
        properties.push(json!({ "id": KEPT, "value": kept(event, &json) }));
    }
    json["singleValueExtendedProperties"] = properties.into();
    json
}

/// Extended properties that are the event's own, not rules of zones, which the service writes
/// itself, nor our mark.
fn properties(event: &Value) -> impl Iterator<Item = &Value> {
    let all = event["singleValueExtendedProperties"].as_array().into_iter().flatten();
    all.filter(|property| {
        !is_id(property, SOURCE) && !ZONE_PROPERTIES.iter().any(|zone| is_id(property, zone))
    })
}

pub(super) fn is_id(property: &Value, id: &str) -> bool {
    property["id"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(id))
}

fn has_people(event: &Value) -> bool {
    let is_invited = event["attendees"].as_array().is_some_and(|all| !all.is_empty());
    is_invited || event["isOrganizer"] == false
}

/// All that is not posted, as JSON.
fn kept(event: &Value, posted: &Value) -> String {
    let members = event.as_object().into_iter().flatten();
    let kept = members.filter(|(name, value)| {
        let is_posted = posted.get(name.as_str()).is_some() && name.as_str() != "isOnlineMeeting";
        !is_posted && !NOT_KEPT.contains(&name.as_str()) && !value.is_null()
    });
    let kept: Map<String, Value> =
        kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    archive::json::canonical(&kept.into())
}

/// What of an event can only be told.
fn note(event: &Value, losses: &mut Vec<Loss>) {
    if has_people(event) {
        losses.push(Loss::Attendees);
    }
    if event["isOnlineMeeting"] == true || people::join_url(event).is_some() {
        losses.push(Loss::OnlineMeeting);
    }
    if event["isCancelled"] == true || event["isDraft"] == true {
        losses.push(Loss::MeetingState);
    }
    let zones = [
        &event["originalStartTimeZone"],
        &event["originalEndTimeZone"],
        &event["recurrence"]["range"]["recurrenceTimeZone"],
    ];
    if zones.iter().any(|zone| **zone == CUSTOM_ZONE) {
        losses.push(Loss::TimeZone);
    }
}
