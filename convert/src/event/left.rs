//! What of an event a file does not hold.

use serde_json::Value;

use crate::json::says_something;
use crate::loss::Losses;

/// Members of an event that are the service's handles, or said by other members: their absence from
/// a file is no loss.
pub const HANDLES: [&str; 14] = [
    "bodyPreview",
    "calendar",
    "changeKey",
    "hasAttachments",
    "id",
    "instances",
    "isOrganizer",
    "occurrenceId",
    "onlineMeetingUrl",
    "parentFolderId",
    "seriesMasterId",
    "type",
    "uid",
    "webLink",
];

/// Members that are written, or whose parts are looked at below.
const WRITTEN: [&str; 36] = [
    "allowNewTimeProposals",
    "attachments",
    "attendees",
    "body",
    "cancelledOccurrences",
    "categories",
    "createdDateTime",
    "end",
    "exceptionOccurrences",
    "iCalUId",
    "importance",
    "isAllDay",
    "isCancelled",
    "isReminderOn",
    "lastModifiedDateTime",
    "location",
    "locations",
    "occurrences",
    "onlineMeeting",
    "onlineMeetingProvider",
    "organizer",
    "originalEndTimeZone",
    "originalStart",
    "originalStartTimeZone",
    "recurrence",
    "responseStatus",
    "sensitivity",
    "showAs",
    "singleValueExtendedProperties",
    "start",
    "subject",
    "hideAttendees",
    "isDraft",
    "isOnlineMeeting",
    "reminderMinutesBeforeStart",
    "responseRequested",
];

/// Adds what of an event is not written, whatever the service may add to its events.
pub(super) fn note(event: &Value, losses: &mut Losses) {
    for (name, value) in event.as_object().into_iter().flatten() {
        let known = WRITTEN.contains(&name.as_str()) || HANDLES.contains(&name.as_str());
        if !known && !name.contains('@') && says_something(value) {
            losses.add(name.clone(), "iCalendar has no such property");
        }
    }
    for name in ["hideAttendees", "isDraft"] {
        if event[name] == true {
            losses.add(name, "iCalendar has no such property");
        }
    }
    if event["hasAttachments"] == true && event["attachments"].as_array().is_none_or(Vec::is_empty)
    {
        losses.add("attachments", "they were not listed");
    }
    note_meeting(event, losses);
    note_zones(event, losses);
    let properties = event["singleValueExtendedProperties"].as_array();
    let foreign = properties.into_iter().flatten().filter(|property| {
        let id = property["id"].as_str().unwrap_or_default();
        !super::ZONE_PROPERTIES.iter().any(|known| known.eq_ignore_ascii_case(id))
    });
    let count = u32::try_from(foreign.count()).unwrap_or(u32::MAX);
    losses.add_many("singleValueExtendedProperties", "iCalendar has no such property", count);
    if !matches!(
        event["responseStatus"]["response"].as_str(),
        None | Some("none" | "organizer" | "tentativelyAccepted")
    ) {
        losses.add("responseStatus/response", "written only as PARTSTAT of who attends");
    }
    if super::times::offset_time(&event["responseStatus"]["time"]).is_some() {
        losses.add("responseStatus/time", "iCalendar has no such property");
    }
}

fn note_meeting(event: &Value, losses: &mut Losses) {
    for (name, value) in event["onlineMeeting"].as_object().into_iter().flatten() {
        if name != "joinUrl" && says_something(value) {
            losses.add(format!("onlineMeeting/{name}"), "iCalendar has no such property");
        }
    }
    if !matches!(event["onlineMeetingProvider"].as_str(), None | Some("unknown")) {
        losses.add("onlineMeetingProvider", "iCalendar has no such property");
    }
    if event["isOnlineMeeting"] == true && join_url(event).is_none() {
        losses.add("isOnlineMeeting", "there is no address to join it at");
    }
}

/// A series is written in one zone; an event that begins in one and ends in another has both.
fn note_zones(event: &Value, losses: &mut Losses) {
    use crate::ical::zone::Zone;
    let named = |value: &Value| value.as_str().filter(|name| !name.is_empty()).map(Zone::named);
    let Some(zone) = named(&event["recurrence"]["range"]["recurrenceTimeZone"]) else { return };
    for name in ["originalStartTimeZone", "originalEndTimeZone"] {
        if named(&event[name]).is_some_and(|other| other != zone) {
            losses.add(name, "a series has the zone of its recurrence");
        }
    }
}

/// Where an online meeting is joined.
pub(super) fn join_url(event: &Value) -> Option<&str> {
    let urls = [&event["onlineMeeting"]["joinUrl"], &event["onlineMeetingUrl"]];
    urls.into_iter().filter_map(Value::as_str).find(|url| !url.is_empty())
}
