//! What was made is read again and compared with what it was made of.

use graph::{ErrorKind, Json, Prefer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::event::Event;
use super::occurrences::time;
use super::place::CalendarPlace;
use crate::body::BodyText;
use crate::error::Error;
use crate::item::Item;
use crate::mailbox::Mailbox;
use crate::place::Loss;

/// What is looked at of an event.
const LOOK: &str = "$select=id,subject,body,start,end,isAllDay,recurrence,showAs,sensitivity,\
                    importance,isReminderOn,reminderMinutesBeforeStart,categories,locations,\
                    attendees,allowNewTimeProposals,hideAttendees,responseRequested";
/// What became of the occurrences of a series.
const OCCURRENCES: &str = "$select=id,cancelledOccurrences&$expand=exceptionOccurrences";
/// What is simply set: a service that does not keep it keeps all else.
const FLAGS: [&str; 8] = [
    "showAs",
    "sensitivity",
    "importance",
    "isReminderOn",
    "reminderMinutesBeforeStart",
    "allowNewTimeProposals",
    "hideAttendees",
    "responseRequested",
];

/// An event as it is now.
pub(super) struct Seen {
    event: Json,
    /// None where the service does not tell of them.
    occurrences: Option<Json>,
}

impl CalendarPlace {
    /// The event with this id; none if it is gone.
    pub(super) async fn look(&self, id: &str) -> Result<Option<Seen>, graph::Error> {
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let path = self.event(id);
        let html = || Prefer::none().and("outlook.body-content-type=\"html\"");
        let event = match graph.get(scope, &format!("{path}?{LOOK}"), html()).await {
            Ok(event) => event,
            Err(error) if error.status() == Some(404) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut occurrences = None;
        if event["recurrence"].is_object() {
            match graph.get(scope, &format!("{path}?{OCCURRENCES}"), html()).await {
                Ok(told) => occurrences = Some(told),
                // Not in all clouds (FACTS 10).
                Err(error)
                    if matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::Unsupported) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Seen { event, occurrences }))
    }

    /// Reads what was made again; says what of it was not kept.
    pub(super) async fn settle(
        &self,
        item: &Item,
        id: &str,
        event: &Event,
    ) -> Result<(Seen, Vec<Loss>), Error> {
        let unequal = |what: String| Error::Unequal { path: item.path.clone(), what };
        let looked = self.look(id).await.map_err(|source| {
            let doing = format!("checking {}", item.path);
            Error::Graph { doing, source }
        })?;
        let seen = looked.ok_or_else(|| unequal("it is not there".to_owned()))?;
        let mut losses = losses(&event.json, &seen.event).map_err(unequal)?;
        losses.extend(seen.occurrence_losses(event).map_err(unequal)?);
        Ok((seen, losses))
    }
}

impl Seen {
    /// By which somebody's change is known: of what people see of it, not of what the service
    /// touches by itself.
    pub(super) fn digest(&self) -> String {
        let mut event = self.event.clone();
        if let Some(members) = event.as_object_mut() {
            members.retain(|name, _| !name.starts_with('@') && name != "id");
        }
        let told = self.occurrences.as_ref();
        let exceptions = told.and_then(|told| told["exceptionOccurrences"].as_array());
        let mut exceptions: Vec<Value> = exceptions
            .into_iter()
            .flatten()
            .map(|one| {
                let seen = ["originalStart", "start", "end", "subject", "body", "attendees"];
                json!(seen.map(|name| one[name].clone()))
            })
            .collect();
        exceptions.sort_by_cached_key(Value::to_string);
        let cancelled = told.map(|told| told["cancelledOccurrences"].clone());
        let all = json!([event, exceptions, cancelled]);
        archive::hex(&Sha256::digest(archive::json::canonical(&all)).into())
    }

    /// Whether somebody would be mailed if it were deleted.
    pub(super) fn has_attendees(&self) -> bool {
        has_attendees(&self.event)
            || self.occurrences.as_ref().is_some_and(|told| {
                let exceptions = told["exceptionOccurrences"].as_array();
                exceptions.into_iter().flatten().any(has_attendees)
            })
    }

    fn occurrence_losses(&self, event: &Event) -> Result<Vec<Loss>, String> {
        let (Some(told), Some(all)) = (&self.occurrences, &event.occurrences) else {
            return Ok(Vec::new());
        };
        let list = |name: &str| told[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let cancelled = list("cancelledOccurrences");
        let mut losses = Vec::new();
        let days = cancelled.iter().filter_map(convert::event::cancelled_day);
        let days: Vec<_> = days.collect();
        if event.cancelled.iter().any(|day| !days.contains(day)) {
            losses.push(Loss::Occurrence);
        }
        for (day, wanted) in &event.exceptions {
            let mut found = list("exceptionOccurrences").iter();
            let found = found.rfind(|one| all.day_of(one) == Some(*day));
            match found {
                Some(found) if has_attendees(found) => {
                    return Err(format!("the occurrence of {day} has attendees"));
                }
                Some(found) => match self::losses(&wanted.json, found) {
                    Ok(lost) => losses.extend(lost),
                    Err(_) => losses.push(Loss::Occurrence),
                },
                None => losses.push(Loss::Occurrence),
            }
        }
        Ok(losses)
    }
}

fn has_attendees(event: &Value) -> bool {
    event["attendees"].as_array().is_some_and(|attendees| !attendees.is_empty())
}

/// What the service did not keep of an event; an error if it is another one by that.
fn losses(wanted: &Value, is: &Value) -> Result<Vec<Loss>, String> {
    if has_attendees(is) {
        return Err("it has attendees".to_owned());
    }
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().trim().to_owned();
    if text(wanted, "subject") != text(is, "subject") {
        return Err("its subject is another".to_owned());
    }
    if wanted["isAllDay"] != is["isAllDay"] && wanted.get("isAllDay").is_some() {
        return Err("whole days are none, or the other way round".to_owned());
    }
    let is_series = wanted["recurrence"].is_object();
    if is_series && pattern(&wanted["recurrence"]) != pattern(&is["recurrence"]) {
        return Err("it recurs otherwise".to_owned());
    }
    // A series may begin at the first day of its pattern, which its own start need not be.
    let first = |event: &Value| {
        let all = convert::event::Occurrences::of(event)?;
        Some(all.instant(all.days().next()?))
    };
    let is_same = match is_series {
        true => first(wanted) == first(is) && length(wanted) == length(is),
        false => ["start", "end"].iter().all(|name| time(wanted, name) == time(is, name)),
    };
    if !is_same {
        return Err("it is at another time".to_owned());
    }
    let (body, is_body) = (BodyText::of(&wanted["body"]), BodyText::of(&is["body"]));
    if is_body.is_empty() && !body.is_empty() {
        return Err("its body is empty".to_owned());
    }
    let mut losses = Vec::new();
    if body != is_body {
        losses.push(Loss::Body);
    }
    let differs = |name: &&str| wanted.get(*name).is_some_and(|value| *value != is[*name]);
    if FLAGS.iter().any(differs) || categories(wanted) != categories(is) {
        losses.push(Loss::Flags);
    }
    if wanted.get("locations").is_some() && places(wanted) != places(is) {
        losses.push(Loss::Location);
    }
    Ok(losses)
}

fn length(event: &Value) -> Option<chrono::TimeDelta> {
    Some(time(event, "end")? - time(event, "start")?)
}

/// The names of categories, in no order.
pub(super) fn categories(event: &Value) -> Vec<&str> {
    let all = event["categories"].as_array().into_iter().flatten();
    let mut all: Vec<&str> = all.filter_map(Value::as_str).collect();
    all.sort_unstable();
    all
}

/// The names of places.
pub(super) fn places(event: &Value) -> Vec<&str> {
    let all = event["locations"].as_array().into_iter().flatten();
    all.filter_map(|place| place["displayName"].as_str()).collect()
}

/// What counts of a recurrence: the service fills in what its type does not need.
pub(super) fn pattern(recurrence: &Value) -> Value {
    let (pattern, range) = (&recurrence["pattern"], &recurrence["range"]);
    let kind = pattern["type"].as_str().unwrap_or_default();
    let counts: &[&str] = match kind {
        "weekly" => &["daysOfWeek", "firstDayOfWeek"],
        "absoluteMonthly" => &["dayOfMonth"],
        "relativeMonthly" => &["daysOfWeek", "index"],
        "absoluteYearly" => &["dayOfMonth", "month"],
        "relativeYearly" => &["daysOfWeek", "index", "month"],
        _ => &[],
    };
    let mut told = json!({ "type": kind, "interval": pattern["interval"] });
    for name in counts {
        told[*name] = pattern[*name].clone();
    }
    if let Some(days) = told["daysOfWeek"].as_array_mut() {
        days.sort_by_cached_key(Value::to_string);
    }
    told["range"] = range["type"].clone();
    match range["type"].as_str() {
        Some("endDate") => told["until"] = range["endDate"].clone(),
        Some("numbered") => told["count"] = range["numberOfOccurrences"].clone(),
        _ => {}
    }
    told
}
