//! Events as clients write them: checked, completed and made canonical.

use chrono::{Days, NaiveTime};
use serde_json::{Value, json};

use super::{Clock, Occurrences, Span, clock};
use crate::compose::{Object, conforms, extended_properties, object};
use crate::error::Refusal;
use crate::mail::Address;
use crate::{dice, recurrence, zones};

/// The most attendees of an event (FACTS 5.4).
const MOST_ATTENDEES: usize = 500;

/// How the ids of items that no other system has made begin (MS-OXOCAL, PidLidGlobalObjectId): the
/// day of an occurrence, a time and zeros follow, then the length and bytes of a GUID.
const GLOBAL_OBJECT_ID: &str = "040000008200E00074C5B7101A82E008";

/// What the service computes itself and ignores in a request.
const READ_ONLY: [&str; 23] = [
    "id",
    "changeKey",
    "createdDateTime",
    "lastModifiedDateTime",
    "bodyPreview",
    "cancelledOccurrences",
    "exceptionOccurrences",
    "hasAttachments",
    "iCalUId",
    "instances",
    "isCancelled",
    "isDraft",
    "isOrganizer",
    "onlineMeeting",
    "onlineMeetingUrl",
    "organizer",
    "originalEndTimeZone",
    "originalStart",
    "originalStartTimeZone",
    "responseStatus",
    "seriesMasterId",
    "type",
    "webLink",
];

/// What only the owner of the calendar sees: a change of it is told to nobody.
pub(crate) fn is_private(name: &str) -> bool {
    const PRIVATE: [&str; 8] = [
        "categories",
        "isReminderOn",
        "reminderMinutesBeforeStart",
        "showAs",
        "responseRequested",
        "singleValueExtendedProperties",
        "multiValueExtendedProperties",
        "extensions",
    ];
    PRIVATE.contains(&name) || READ_ONLY.contains(&name)
}

/// A calendar of one's own.
pub(crate) fn new_calendar(name: &str, owner: &str, address: &str) -> Object {
    let calendar = json!({
        "name": name,
        "color": "auto",
        "hexColor": "",
        "isDefaultCalendar": false,
        "canShare": true,
        "canViewPrivateItems": true,
        "canEdit": true,
        "allowedOnlineMeetingProviders": ["teamsForBusiness"],
        "defaultOnlineMeetingProvider": "teamsForBusiness",
        "isTallyingResponses": false,
        "isRemovable": true,
        "owner": {"name": owner, "address": address},
    });
    object(calendar)
}

/// A new event of an organizer, from the body of a POST without its attachments.
pub(crate) fn created(mut body: Object, owner: &Address, nonce: &str) -> Result<Object, Refusal> {
    conforms("event", &body)?;
    extended_properties(&body)?;
    body.retain(|name, value| !READ_ONLY.contains(&name.as_str()) && !value.is_null());
    let mut event = defaults(owner, nonce);
    lay_over(&mut event, body)?;
    finish(&mut event)?;
    Ok(event)
}

/// An event after a PATCH. The result is whole: the caller knows what differs.
pub(crate) fn changed(event: &Object, mut body: Object) -> Result<Object, Refusal> {
    conforms("event", &body)?;
    extended_properties(&body)?;
    body.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
    body.remove("transactionId");
    let mut event = event.clone();
    lay_over(&mut event, body)?;
    finish(&mut event)?;
    Ok(event)
}

fn defaults(owner: &Address, nonce: &str) -> Object {
    let unique = data_encoding::HEXUPPER.encode(&dice::guid_bytes(&[dice::text(nonce)]));
    let defaults = json!({
        "subject": "",
        "body": {"contentType": "html", "content": ""},
        "importance": "normal",
        "sensitivity": "normal",
        "showAs": "busy",
        "isAllDay": false,
        "isCancelled": false,
        "isDraft": false,
        "isOrganizer": true,
        "isReminderOn": true,
        "reminderMinutesBeforeStart": 15,
        "responseRequested": true,
        "allowNewTimeProposals": true,
        "hideAttendees": false,
        "isOnlineMeeting": false,
        "onlineMeetingProvider": "unknown",
        "onlineMeeting": null,
        "onlineMeetingUrl": null,
        "transactionId": null,
        "categories": [],
        "attendees": [],
        "locations": [],
        "organizer": {"emailAddress": {"name": owner.name, "address": owner.address}},
        "responseStatus": {"response": "organizer", "time": "0001-01-01T00:00:00Z"},
        "iCalUId": format!("{GLOBAL_OBJECT_ID}{:040}10000000{unique}", 0),
    });
    object(defaults)
}

fn lay_over(event: &mut Object, body: Object) -> Result<(), Refusal> {
    let (place, places) = (body.get("location").cloned(), body.get("locations").cloned());
    for (name, value) in body {
        let value = match name.as_str() {
            "attendees" => attendees(value)?,
            "body" => body_of(&value),
            "start" | "end" => time(&value)?,
            "recurrence" if value.is_object() => recurrence_of(&value)?,
            "location" | "locations" => continue,
            _ => value,
        };
        event.insert(name, value);
    }
    let places = match (places.filter(Value::is_array), place.filter(Value::is_object)) {
        (Some(Value::Array(places)), _) => places,
        (_, Some(place)) if place["displayName"] == "" => Vec::new(),
        (_, Some(place)) => vec![place],
        _ if event.contains_key("location") => return Ok(()),
        _ => Vec::new(),
    };
    let places: Vec<Value> = places.into_iter().map(location).collect();
    let names: Vec<&str> =
        places.iter().filter_map(|place| place["displayName"].as_str()).collect();
    let one = match places.as_slice() {
        [] => {
            json!({"displayName": "", "locationType": "default", "uniqueIdType": "unknown", "address": {}, "coordinates": {}})
        }
        [one] => one.clone(),
        _ => location(json!({"displayName": names.join("; ")})),
    };
    event.insert("location".into(), one);
    event.insert("locations".into(), places.into());
    Ok(())
}

fn location(mut place: Value) -> Value {
    let name = place["displayName"].clone();
    if let Some(place) = place.as_object_mut() {
        place.entry("locationType").or_insert("default".into());
        place.entry("uniqueId").or_insert(name);
        place.entry("uniqueIdType").or_insert("private".into());
    }
    place
}

fn body_of(body: &Value) -> Value {
    let kind = body["contentType"].as_str().unwrap_or("text").to_lowercase();
    json!({"contentType": kind, "content": body["content"].as_str().unwrap_or_default()})
}

fn attendees(list: Value) -> Result<Value, Refusal> {
    let list = list.as_array().cloned().unwrap_or_default();
    if list.len() > MOST_ATTENDEES {
        let text = "The event has more attendees than the service allows.";
        return Err(Refusal::new(400, "ErrorInvalidRecipients", text));
    }
    let one = |mut attendee: Value| {
        let address = attendee["emailAddress"]["address"].as_str().unwrap_or_default();
        if !address.contains('@') {
            let text = "At least one recipient isn't valid.";
            return Err(Refusal::new(400, "ErrorInvalidRecipients", text));
        }
        let name = attendee["emailAddress"]["name"].as_str().unwrap_or(address).to_owned();
        attendee["emailAddress"]["name"] = name.into();
        if attendee["type"].is_null() {
            attendee["type"] = "required".into();
        }
        attendee["status"] = json!({"response": "none", "time": "0001-01-01T00:00:00Z"});
        Ok(attendee)
    };
    list.into_iter().map(one).collect()
}

fn no_zone(name: &str) -> Refusal {
    let text = format!(
        "A valid TimeZone value must be specified. The following TimeZone value is not supported: '{name}'."
    );
    Refusal::new(400, "TimeZoneNotSupportedException", text)
}

fn invalid(property: &str) -> Refusal {
    let text = format!("At least one property failed validation., Property: {property}");
    Refusal::new(400, "ErrorPropertyValidationFailure", text)
}

/// A time, with its zone checked and without more digits than the service keeps.
fn time(json: &Value) -> Result<Value, Refusal> {
    let zone = json["timeZone"].as_str().unwrap_or_default();
    zones::accepted(zone).ok_or_else(|| no_zone(zone))?;
    let time = Clock::read(json).ok_or_else(|| invalid("dateTime"))?;
    Ok(clock(time.local, zone))
}

/// Every member that the service sends, whether the type of the pattern needs it or not.
fn recurrence_of(json: &Value) -> Result<Value, Refusal> {
    recurrence::Series::read(json).map_err(invalid)?;
    let (pattern, range) = (&json["pattern"], &json["range"]);
    let zone = &range["recurrenceTimeZone"];
    if let Some(zone) = zone.as_str() {
        zones::accepted(zone).ok_or_else(|| no_zone(zone))?;
    }
    let word = |value: &Value, usual: &str| {
        let text = value.as_str().unwrap_or(usual);
        let (head, tail) = text.split_at_checked(1).unwrap_or((text, ""));
        format!("{}{tail}", head.to_lowercase())
    };
    let number = |value: &Value, usual: u64| value.as_u64().unwrap_or(usual);
    let days = pattern["daysOfWeek"].as_array().into_iter().flatten();
    let days: Vec<Value> = days.map(|day| word(day, "").into()).collect();
    let kind = word(&range["type"], "noEnd");
    let end = match kind.as_str() {
        "endDate" => range["endDate"].as_str().unwrap_or_default(),
        _ => "0001-01-01",
    };
    Ok(json!({
        "pattern": {
            "type": word(&pattern["type"], ""),
            "interval": number(&pattern["interval"], 1),
            "month": number(&pattern["month"], 0),
            "dayOfMonth": number(&pattern["dayOfMonth"], 0),
            "daysOfWeek": days,
            "firstDayOfWeek": word(&pattern["firstDayOfWeek"], "sunday"),
            "index": word(&pattern["index"], "first"),
        },
        "range": {
            "type": kind,
            "startDate": range["startDate"],
            "endDate": end,
            "recurrenceTimeZone": zone,
            "numberOfOccurrences": if kind == "numbered" { number(&range["numberOfOccurrences"], 0) } else { 0 },
        },
    }))
}

/// Checks what concerns several properties, and puts the start of a series on its first day.
fn finish(event: &mut Object) -> Result<(), Refusal> {
    let missing = |name: &str| {
        let text = format!("Required property '{name}' is missing.");
        Refusal::new(400, "ErrorRequiredPropertyMissing", text)
    };
    for name in ["start", "end"] {
        if !event.get(name).is_some_and(Value::is_object) {
            return Err(missing(name));
        }
    }
    let span = Span::read(event).ok_or_else(|| invalid("start"))?;
    let backwards = match span.all_day {
        true => span.end.local < span.start.local + Days::new(1),
        false => span.end.instant() < span.start.instant(),
    };
    if backwards {
        let text = "The event's end time must be later than its start time.";
        return Err(Refusal::new(400, "ErrorInvalidRequest", text));
    }
    let midnight = |time: &Clock| time.local.time() == NaiveTime::MIN;
    if span.all_day && !(midnight(&span.start) && midnight(&span.end)) {
        let text = "The Event.Start property for an all-day event needs to be set to midnight.";
        return Err(Refusal::new(400, "ErrorInvalidRequest", text));
    }
    meeting(event);
    let Some(range) = event.get_mut("recurrence").and_then(|json| json.get_mut("range")) else {
        return Ok(());
    };
    if range["recurrenceTimeZone"].is_null() {
        range["recurrenceTimeZone"] = span.start.zone.as_str().into();
    }
    let start_date = range["startDate"].as_str().unwrap_or_default().to_owned();
    let occurrences = Occurrences::of(event).ok_or_else(|| invalid("recurrence"))?;
    let local = zones::local(zones::rules(&occurrences.zone), span.start.instant());
    let date = if span.all_day { span.start.local.date() } else { local.date() };
    if date.to_string() != start_date {
        return Err(invalid("startDate"));
    }
    let first = occurrences.nth(0).ok_or_else(|| invalid("recurrence"))?;
    let first_span = occurrences.span(first);
    event.insert("start".into(), clock(first_span.start.local, &span.start.zone));
    event.insert("end".into(), clock(first_span.end.local, &span.end.zone));
    event["recurrence"]["range"]["startDate"] = first.to_string().into();
    Ok(())
}

/// Whoever asks for an online meeting gets one.
fn meeting(event: &mut Object) {
    let wanted = event.get("isOnlineMeeting") == Some(&Value::Bool(true));
    if !wanted || event.get("onlineMeeting").is_some_and(Value::is_object) {
        return;
    }
    let unique = event.get("iCalUId").and_then(Value::as_str).unwrap_or_default();
    let url = format!(
        "https://teams.microsoft.com/l/meetup-join/19%3ameeting_{:016x}%40thread.v2/0",
        dice::text(unique)
    );
    event.insert("onlineMeetingProvider".into(), "teamsForBusiness".into());
    event.insert("onlineMeeting".into(), json!({"joinUrl": url}));
}
