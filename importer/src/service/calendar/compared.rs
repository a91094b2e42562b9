//! What of an event is compared with what came back of it: what is known not to come back (see
//! [`crate::Loss`]) is not in it.

use serde_json::{Map, Value, json};

use super::content::{Attachment, Content};
use super::event::Event;
use super::occurrences::time;
use super::settle::{categories, pattern, places};
use crate::body::BodyText;
use crate::content::digest;
use crate::error::Error;
use crate::item::Item;
use crate::service::Compared;

/// What is compared as it is.
const PLAIN: [&str; 9] = [
    "isAllDay",
    "showAs",
    "sensitivity",
    "importance",
    "isReminderOn",
    "reminderMinutesBeforeStart",
    "allowNewTimeProposals",
    "hideAttendees",
    "responseRequested",
];

/// See [`crate::service::Import::compared`].
pub(super) fn compared(item: &Item) -> Result<Compared, Error> {
    let failed = |source| Error::Content { path: item.path.clone(), source };
    let content = Content::read(item, &std::env::temp_dir())?;
    let event = Event::of(&item.line.graph);
    let mut about = about(&event.json);
    about.insert("recurrence".into(), pattern(&event.json["recurrence"]));
    about.insert("attachments".into(), attachments(&content.own).map_err(failed)?);
    let mut exceptions = Map::new();
    for (day, exception) in &event.exceptions {
        let mut about = self::about(&exception.json);
        let own = content.exceptions.get(day).map(Vec::as_slice).unwrap_or_default();
        about.insert("attachments".into(), attachments(own).map_err(failed)?);
        exceptions.insert(day.to_string(), about.into());
    }
    about.insert("exceptions".into(), exceptions.into());
    let cancelled = event.cancelled.iter().map(ToString::to_string);
    about.insert("cancelled".into(), cancelled.collect());
    let subject = event.json["subject"].as_str().unwrap_or_default();
    let name = format!("{} {}", about["start"].as_str().unwrap_or_default(), subject.trim());
    let seen = json!([about["body"], about["attachments"], about["exceptions"]]);
    Ok(Compared { name, content: seen, all: about.into() })
}

fn about(event: &Value) -> Map<String, Value> {
    let mut about = Map::new();
    for name in PLAIN {
        about.insert(name.into(), event[name].clone());
    }
    for name in ["start", "end"] {
        let time = time(event, name).map(|time| time.to_rfc3339());
        about.insert(name.into(), time.into());
    }
    about.insert("subject".into(), event["subject"].as_str().unwrap_or_default().trim().into());
    about.insert("categories".into(), categories(event).into());
    about.insert("locations".into(), places(event).into());
    about.insert("body".into(), BodyText::of(&event["body"]).digest().into());
    about
}

fn attachments(all: &[Attachment]) -> std::io::Result<Value> {
    let mut digests = Vec::new();
    for attachment in all {
        digests.push(json!([attachment.name, digest(&mut attachment.open())?]));
    }
    digests.sort_by_cached_key(Value::to_string);
    Ok(digests.into())
}
