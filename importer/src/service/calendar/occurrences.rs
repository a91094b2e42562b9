//! What becomes of the occurrences of a series that was made: some are cancelled, some changed.
//!
//! An occurrence may not be moved over another (FACTS 5.4), so what was cancelled goes first; what
//! was moved to later follows from the last to the first, what was moved to earlier from the first
//! to the last.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, NaiveDate, Utc};
use convert::event::{Occurrences, instant};
use graph::{ErrorKind, Prefer, segment};
use serde_json::{Map, Value, json};

use super::content::Content;
use super::event::{Event, Exception};
use super::place::CalendarPlace;
use crate::error::Error;
use crate::item::Item;
use crate::mailbox::{Mailbox, add_mark, id};
use crate::place::Loss;

/// The longest window (FACTS 3.5).
const MOST_DAYS: i64 = 1825;
/// Instances of a page.
const PAGE: u32 = 1000;

/// An occurrence as the service has it before anything is done to it.
#[derive(Debug)]
struct Instance {
    id: String,
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
}

impl CalendarPlace {
    /// Makes the occurrences of the series with this id what they were.
    pub(super) async fn set_occurrences(
        &self,
        item: &Item,
        series: &str,
        event: &Event,
        content: &Content,
    ) -> Result<Vec<Loss>, Error> {
        let Some(occurrences) = &event.occurrences else { return Ok(Vec::new()) };
        let failed = |source| {
            let doing = format!("restoring the occurrences of {}", item.path);
            Error::Graph { doing, source }
        };
        let days = event.cancelled.iter().chain(event.exceptions.keys()).copied();
        let instances = self.instances(series, occurrences, days).await.map_err(failed)?;
        let mut losses = Vec::new();
        for day in &event.cancelled {
            match instances.get(day) {
                Some(instance) => {
                    self.mailbox.delete(&self.event(&instance.id)).await.map_err(failed)?;
                }
                None => losses.push(Loss::Occurrence),
            }
        }
        for (day, exception) in in_order(event, &instances) {
            let Some(instance) = instances.get(day) else {
                losses.push(Loss::Occurrence);
                continue;
            };
            let change = change(event, exception, instance);
            let is_whole = self.change(&instance.id, change).await.map_err(failed)?;
            losses.extend((!is_whole).then_some(Loss::Occurrence));
            let attached = content.exceptions.get(day).map(Vec::as_slice).unwrap_or_default();
            self.attach(item, &instance.id, attached).await?;
        }
        Ok(losses)
    }

    /// Changes an occurrence; as much of it as the service takes. False if that is not all.
    async fn change(&self, id: &str, mut change: Value) -> Result<bool, graph::Error> {
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let mut is_whole = true;
        for less in [&["start", "end"][..], &["singleValueExtendedProperties"], &[]] {
            match graph.patch(scope, &self.event(id), &change, None).await {
                Err(error) if *error.kind() == ErrorKind::Invalid => is_whole = false,
                changed => return changed.map(|_| is_whole),
            }
            for member in less {
                change.as_object_mut().and_then(|members| members.remove(*member));
            }
        }
        Ok(false)
    }

    /// The instances of the series on these days.
    async fn instances(
        &self,
        series: &str,
        occurrences: &Occurrences,
        days: impl Iterator<Item = NaiveDate>,
    ) -> Result<BTreeMap<NaiveDate, Instance>, graph::Error> {
        let mut wanted: Vec<NaiveDate> = days.collect();
        wanted.sort_unstable();
        let mut found = BTreeMap::new();
        let mut rest = wanted.as_slice();
        while let Some(first) = rest.first() {
            let from = occurrences.instant(*first) - Duration::days(1);
            let end = from + Duration::days(MOST_DAYS - 2);
            let count = rest.partition_point(|day| occurrences.instant(*day) < end);
            let (here, later) = rest.split_at(count.max(1));
            rest = later;
            let until =
                here.last().map_or(end, |day| occurrences.instant(*day)) + Duration::days(2);
            let path = format!(
                "{}/instances?startDateTime={}&endDateTime={}&$select=id,start,end&$top={PAGE}",
                self.event(series),
                segment(&stamp(from)),
                segment(&stamp(until)),
            );
            let Mailbox { graph, scope, .. } = &self.mailbox;
            let mut pages = graph.pages(scope.clone(), &path, Prefer::none());
            while let Some(page) = pages.next().await? {
                for row in &page.items {
                    let row = row.parse()?;
                    let start = instant(&row["start"]);
                    let stands = start.map(|start| json!({ "originalStart": stamp(start) }));
                    let day = stands.and_then(|stands| occurrences.day_of(&stands));
                    let Some(day) = day.filter(|day| here.contains(day)) else { continue };
                    let end = instant(&row["end"]);
                    found.insert(day, Instance { id: id(&row), start, end });
                }
            }
        }
        Ok(found)
    }
}

/// The exceptions in an order in which none is moved over another.
fn in_order<'a>(
    event: &'a Event,
    instances: &BTreeMap<NaiveDate, Instance>,
) -> Vec<(&'a NaiveDate, &'a Exception)> {
    let is_later = |(day, exception): &(&NaiveDate, &Exception)| {
        let before = instances.get(day).and_then(|instance| instance.start);
        time(&exception.json, "start") > before
    };
    let (mut later, earlier): (Vec<_>, Vec<_>) = event.exceptions.iter().partition(is_later);
    later.reverse();
    later.into_iter().chain(earlier).collect()
}

/// What of an exception differs from its series, with a mark. The mark alone makes an exception of
/// an occurrence, so that one without any other difference stays one.
fn change(event: &Event, exception: &Exception, instance: &Instance) -> Value {
    let times = [("start", instance.start), ("end", instance.end)];
    let is_other = event.json["isAllDay"] != exception.json["isAllDay"];
    let is_moved =
        is_other || times.iter().any(|(name, before)| time(&exception.json, name) != *before);
    let members = exception.json.as_object().into_iter().flatten();
    let differing = members.filter(|(name, value)| match name.as_str() {
        "start" | "end" => is_moved,
        "singleValueExtendedProperties" => true,
        "recurrence" | "isOnlineMeeting" => false,
        // They are one: what is said by `locations` is in `location` too.
        "location" | "locations" => event.json.get("locations") != exception.json.get("locations"),
        name => event.json.get(name) != Some(*value),
    });
    let differing: Map<String, Value> =
        differing.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut change = Value::Object(differing);
    add_mark(&mut change, &exception.source);
    change
}

/// When an event starts or ends. Days are days in any zone: they count as UTC's.
pub(super) fn time(event: &Value, name: &str) -> Option<DateTime<Utc>> {
    let mut time = event[name].clone();
    if event["isAllDay"] == true {
        time["timeZone"] = "UTC".into();
    }
    instant(&time)
}

fn stamp(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daily series of which some days were moved by so many hours.
    fn moved(hours: &[(u32, i64)]) -> (Event, BTreeMap<NaiveDate, Instance>) {
        let at = |day: u32, hours: i64| {
            let day = NaiveDate::from_ymd_opt(2026, 3, day).unwrap();
            day.and_hms_opt(9, 0, 0).unwrap().and_utc() + Duration::hours(hours)
        };
        let text = |time: DateTime<Utc>| json!({ "dateTime": time.format("%Y-%m-%dT%H:%M:%S").to_string(), "timeZone": "UTC" });
        let exception = |(day, hours): &(u32, i64)| {
            json!({
                "id": format!("x{day}"), "originalStart": stamp(at(*day, 0)),
                "start": text(at(*day, *hours)), "end": text(at(*day, *hours + 1)),
            })
        };
        let series = json!({
            "id": "s", "start": text(at(1, 0)), "end": text(at(1, 1)),
            "recurrence": {
                "pattern": { "type": "daily", "interval": 1 },
                "range": { "type": "noEnd", "startDate": "2026-03-01" },
            },
            "exceptionOccurrences": hours.iter().map(exception).collect::<Value>(),
        });
        let instance = |(day, _): &(u32, i64)| {
            let start = Some(at(*day, 0));
            let instance = Instance { id: day.to_string(), start, end: Some(at(*day, 1)) };
            (at(*day, 0).date_naive(), instance)
        };
        (Event::of(&series), hours.iter().map(instance).collect())
    }

    #[test]
    fn none_is_moved_over_another() {
        let (event, instances) = moved(&[(2, 20), (3, 20), (4, 20), (6, -20), (7, -20), (9, 0)]);
        let order = in_order(&event, &instances);
        let order: Vec<_> = order.iter().map(|(_, one)| one.source.as_str()).collect();
        assert_eq!(order, ["x4", "x3", "x2", "x6", "x7", "x9"]);
    }

    #[test]
    fn only_what_differs_is_changed_and_the_mark_is_always_set() {
        let (event, instances) = moved(&[(2, 5), (3, 0)]);
        let names = |day: u32| {
            let day = NaiveDate::from_ymd_opt(2026, 3, day).unwrap();
            let change = change(&event, &event.exceptions[&day], &instances[&day]);
            change.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(2), ["end", "singleValueExtendedProperties", "start"]);
        assert_eq!(names(3), ["singleValueExtendedProperties"]);
    }
}
