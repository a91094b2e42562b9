//! Tasks as clients write them and as the service shows them.

use serde_json::json;

use crate::calendar::{self, Clock, Zone};
use crate::compose::{Object, conforms, object};
use crate::error::Refusal;
use crate::recurrence::Series;
use crate::shelf::Thing;
use crate::zones;

/// What the service computes itself and ignores in a request.
const READ_ONLY: [&str; 9] = [
    "id",
    "createdDateTime",
    "lastModifiedDateTime",
    "bodyLastModifiedDateTime",
    "hasAttachments",
    "attachments",
    "attachmentSessions",
    "checklistItems",
    "linkedResources",
];

/// Times of the day and the like, in zones.
const TIMES: [&str; 4] = ["dueDateTime", "startDateTime", "reminderDateTime", "completedDateTime"];

/// A new task from the body of a POST, without what belongs to it.
pub(crate) fn created(body: Object) -> Result<Object, Refusal> {
    let mut task = object(json!({
        "title": "",
        "body": {"content": "", "contentType": "text"},
        "status": "notStarted",
        "importance": "normal",
        "isReminderOn": false,
        "categories": [],
    }));
    task.extend(checked(body)?);
    finish(&mut task);
    Ok(task)
}

/// A task after a PATCH.
pub(crate) fn changed(task: &Object, body: Object) -> Result<Object, Refusal> {
    let mut task = task.clone();
    task.extend(checked(body)?);
    finish(&mut task);
    Ok(task)
}

fn checked(mut body: Object) -> Result<Object, Refusal> {
    conforms("todoTask", &body)?;
    body.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
    let invalid =
        |name: &str| Refusal::new(400, "invalidRequest", format!("Invalid request: {name}"));
    for name in TIMES {
        let Some(time) = body.get(name).filter(|time| !time.is_null()) else {
            continue;
        };
        let zone = time["timeZone"].as_str().unwrap_or_default();
        let known = zones::accepted(zone).is_some();
        Clock::read(time).filter(|_| known).ok_or_else(|| invalid(name))?;
    }
    if let Some(recurrence) = body.get("recurrence").filter(|json| !json.is_null()) {
        Series::read(recurrence).map_err(invalid)?;
    }
    Ok(body)
}

fn finish(task: &mut Object) {
    let done = task.get("status").is_some_and(|status| status == "completed");
    let now = chrono::Utc::now().date_naive().and_time(chrono::NaiveTime::MIN);
    if !done {
        task.remove("completedDateTime");
    } else if !task.contains_key("completedDateTime") {
        task.insert("completedDateTime".into(), calendar::clock(now, "UTC"));
    }
}

/// A task with everything that can be asked for; what is empty does not show.
pub(crate) fn row(thing: &Thing, zone: &Zone) -> Object {
    let mut row = thing.properties.clone();
    for name in TIMES {
        if let Some(time) = row.get(name).and_then(Clock::read) {
            let local = zones::local(zone.rules, time.instant());
            row.insert(name.into(), calendar::clock(local, &zone.name));
        }
    }
    row.insert("createdDateTime".into(), calendar::stamp(thing.created));
    row.insert("lastModifiedDateTime".into(), calendar::stamp(thing.modified));
    row.insert("bodyLastModifiedDateTime".into(), calendar::stamp(thing.created));
    row.insert("hasAttachments".into(), (!thing.attachments.is_empty()).into());
    row.retain(|_, value| !value.is_null());
    row
}
