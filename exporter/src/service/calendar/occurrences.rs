//! A series put together from occurrences, where the service shows nothing else of it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use convert::event::{Occurrences, instant, reckoned};
use serde_json::{Map, Value, json};

use super::series::{CANCELLED, EXCEPTIONS, TAG, day_of, in_order};
use super::text;

/// What of an occurrence is its own, whether or not it differs in anything.
const OWN: [&str; 8] =
    ["@odata.etag", "changeKey", "end", "iCalUId", "id", "occurrenceId", "originalStart", "start"];
/// What else may differ without making an exception of it.
const BESIDE: [&str; 3] = ["createdDateTime", "lastModifiedDateTime", "uid"];
/// What a series has of its own, or only occurrences have.
const NOT_OF_SERIES: [&str; 5] =
    ["@odata.etag", "changeKey", "occurrenceId", "originalStart", "seriesMasterId"];
/// What each occurrence says, as far as the series does not.
const OCCURRENCES: &str = "occurrences";

/// The rows of one series, or one single event.
pub(super) struct Gathered {
    /// Of the series.
    pub(super) id: String,
    /// The first occurrence that is as the series has it: what all have in common.
    first: Option<Map<String, Value>>,
    /// Of each occurrence what is its own.
    occurrences: Vec<Value>,
    /// Whole events.
    exceptions: Vec<Value>,
    /// The series itself, should the service show it, or a single event.
    whole: Option<Value>,
}

impl Gathered {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            first: None,
            occurrences: Vec::new(),
            exceptions: Vec::new(),
            whole: None,
        }
    }

    pub(super) fn add(&mut self, row: Value) {
        if text(&row, "id") == self.id {
            self.whole = Some(row);
            return;
        }
        let Value::Object(row) = row else { return };
        if row.get("type").is_none_or(|kind| kind != "occurrence") {
            self.exceptions.push(row.into());
            return;
        }
        let first = self.first.get_or_insert_with(|| row.clone());
        let differs = |name: &str| first.get(name) != row.get(name);
        let may_differ = |name: &str| OWN.contains(&name) || BESIDE.contains(&name);
        let mut names = first.keys().chain(row.keys());
        if names.any(|name| differs(name) && !may_differ(name)) {
            // By what it says it is none.
            self.exceptions.push(row.into());
            return;
        }
        let own = row.iter().filter(|(name, _)| OWN.contains(&name.as_str()) || differs(name));
        let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        self.occurrences.push(Value::Object(own));
    }

    /// As one event, and how many of its occurrences have no place of their own in it.
    pub(super) fn into_event(self) -> Option<(Value, usize)> {
        let Self { id, first, occurrences, mut exceptions, whole } = self;
        let count = occurrences.len() + exceptions.len();
        if count == 0 {
            return whole.map(|event| (event, 0));
        }
        let told = whole.filter(|event| event["recurrence"].is_object());
        let mut series = match (&told, &first) {
            (Some(told), _) => told.clone(),
            (None, Some(first)) => Value::Object(first.clone()),
            (None, None) => as_it_was(exceptions.first()?),
        };
        // The zone tells the days of occurrences, which tell the recurrence.
        let zone = text(&series, "originalStartTimeZone").to_owned();
        let reckon = |days: &BTreeSet<NaiveDate>| match &told {
            Some(told) => Some(told["recurrence"].clone()),
            None => reckoned(days, Some(zone.as_str()).filter(|zone| !zone.is_empty())),
        };
        series["recurrence"] = reckon(&BTreeSet::from([NaiveDate::default()]))?;
        let days = Occurrences::of(&series)?;
        let mut all: BTreeSet<NaiveDate> =
            exceptions.iter().filter_map(|one| day_of(&days, one)).collect();
        let mut regular = BTreeMap::new();
        for own in &occurrences {
            let day = day_of(&days, own).filter(|day| all.insert(*day));
            regular.extend(day.map(|day| (day, own)));
        }
        series["recurrence"] = reckon(&all)?;
        let days = Occurrences::of(&series)?;
        // Somebody's clock was put otherwise than we know.
        for (day, own) in regular {
            let regular = days.instant(day);
            if instant(&own["start"]).is_some_and(|start| start != regular) {
                let mut moved = whole_of(first.as_ref(), own);
                moved["originalStart"] = regular.format("%FT%TZ").to_string().into();
                exceptions.push(moved);
            }
        }
        if let Some(first) = days.days().next().filter(|_| told.is_none()) {
            begin(&mut series, days.instant(first));
        }
        let last = all.last().copied().unwrap_or_default();
        let missing = days.days().take_while(|day| *day <= last).filter(|day| !all.contains(day));
        let missing = missing.map(|day| Value::from(format!("OID.{id}.{day}"))).collect();
        Some((finished(series, &id, occurrences, exceptions, missing), count - all.len()))
    }
}

fn finished(
    series: Value,
    id: &str,
    occurrences: Vec<Value>,
    exceptions: Vec<Value>,
    missing: Vec<Value>,
) -> Value {
    let Value::Object(mut series) = series else { return series };
    series.retain(|name, _| !NOT_OF_SERIES.contains(&name.as_str()));
    series.insert("id".to_owned(), id.into());
    series.insert("type".to_owned(), "seriesMaster".into());
    series.insert(CANCELLED.to_owned(), missing.into());
    series.insert(EXCEPTIONS.to_owned(), in_order(exceptions).into());
    series.insert(OCCURRENCES.to_owned(), occurrences.into());
    let series = Value::Object(series);
    let tag = archive::path::long_tag(&archive::json::canonical(&series));
    let Value::Object(mut series) = series else { return series };
    series.insert(TAG.to_owned(), tag.into());
    series.into()
}

/// An exception at the time at which the series has it.
fn as_it_was(exception: &Value) -> Value {
    let mut event = exception.clone();
    let original = DateTime::parse_from_rfc3339(text(exception, "originalStart"));
    if let Ok(original) = original
        && event["isAllDay"] != true
    {
        begin(&mut event, original.to_utc());
    }
    event
}

/// Moves an event to where it begins, as long as it was.
fn begin(event: &mut Value, at: DateTime<Utc>) {
    let Some((start, end)) = instant(&event["start"]).zip(instant(&event["end"])) else { return };
    if start == at {
        return;
    }
    for (name, time) in [("start", at), ("end", at + (end - start))] {
        let time = time.format("%FT%T.0000000").to_string();
        event[name] = json!({ "dateTime": time, "timeZone": "UTC" });
    }
}

/// An occurrence with all that it says.
fn whole_of(first: Option<&Map<String, Value>>, own: &Value) -> Value {
    let mut whole = first.cloned().unwrap_or_default();
    whole.retain(|name, _| !OWN.contains(&name.as_str()));
    whole.extend(own.as_object().cloned().unwrap_or_default());
    whole.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An occurrence of "S" on a day of March 2026, an hour from that time of UTC on.
    fn row(day: u32, time: &str, zone: &str) -> Value {
        let start = format!("2026-{:02}-{:02}T{time}:00", 3 + (day - 1) / 31, (day - 1) % 31 + 1);
        let start: chrono::NaiveDateTime = start.parse().unwrap();
        let clock = |at: chrono::NaiveDateTime| json!({ "dateTime": at.format("%FT%T.0000000").to_string(), "timeZone": "UTC" });
        json!({
            "id": format!("O{day:02}"),
            "seriesMasterId": "S",
            "type": "occurrence",
            "subject": "Team",
            "originalStartTimeZone": zone,
            "originalEndTimeZone": zone,
            "originalStart": start.format("%FT%TZ").to_string(),
            "start": clock(start),
            "end": clock(start + chrono::Duration::hours(1)),
        })
    }

    fn gather(rows: impl IntoIterator<Item = Value>) -> (Value, usize) {
        let mut gathered = Gathered::new("S");
        rows.into_iter().for_each(|row| gathered.add(row));
        gathered.into_event().unwrap()
    }

    fn count(event: &Value, name: &str) -> usize {
        event[name].as_array().unwrap().len()
    }

    #[test]
    fn the_clock_is_put_in_a_zone_that_is_known_and_in_one_that_is_not() {
        // Weekly at nine in Berlin, where the clock is put on the 29th.
        let rows = |zone: &'static str| {
            let time = |day| if day < 29 { "08:00" } else { "07:00" };
            [2, 9, 16, 23, 30, 37].map(|day| row(day, time(day), zone))
        };
        let (known, homeless) = gather(rows("W. Europe Standard Time"));
        assert_eq!(homeless, 0);
        assert_eq!(count(&known, EXCEPTIONS), 0, "{known:#}");
        let (unknown, homeless) = gather(rows("tzone://Microsoft/Custom"));
        assert_eq!(homeless, 0);
        assert_eq!(count(&unknown, EXCEPTIONS), 2, "{unknown:#}");
        assert_eq!(unknown[EXCEPTIONS][0]["originalStart"], "2026-03-30T08:00:00Z");
        for event in [known, unknown] {
            assert_eq!((count(&event, OCCURRENCES), count(&event, CANCELLED)), (6, 0));
            assert_eq!(event["recurrence"]["pattern"]["type"], "weekly");
        }
    }

    #[test]
    fn exceptions_stand_where_they_stood() {
        let mut moved = row(9, "08:00", "UTC");
        moved["type"] = "exception".into();
        moved["subject"] = "Other".into();
        let later = row(12, "15:00", "UTC");
        (moved["start"], moved["end"]) = (later["start"].clone(), later["end"].clone());
        let rows = [row(2, "08:00", "UTC"), moved.clone(), row(23, "08:00", "UTC")];
        let (event, homeless) = gather(rows);
        assert_eq!((homeless, count(&event, EXCEPTIONS)), (0, 1));
        assert_eq!(event[CANCELLED], json!(["OID.S.2026-03-16"]));
        // Nothing else is left of the series: it begins where the exception belongs.
        let (alone, homeless) = gather([moved]);
        assert_eq!((homeless, count(&alone, EXCEPTIONS)), (0, 1));
        assert_eq!(alone["start"]["dateTime"], "2026-03-09T08:00:00.0000000");
        assert_eq!(alone["end"]["dateTime"], "2026-03-09T09:00:00.0000000");
    }

    #[test]
    fn what_differs_is_an_exception_and_two_of_a_day_are_told() {
        let mut other = row(9, "08:00", "UTC");
        other["location"] = json!({ "displayName": "Elsewhere" });
        let (event, _) = gather([row(2, "08:00", "UTC"), other]);
        assert_eq!((count(&event, EXCEPTIONS), count(&event, OCCURRENCES)), (1, 1));
        let mut twin = row(2, "10:00", "UTC");
        twin["id"] = "twin".into();
        let (_, homeless) = gather([row(2, "08:00", "UTC"), twin]);
        assert_eq!(homeless, 1);
        let single = json!({ "id": "S", "type": "singleInstance" });
        assert_eq!(gather([single.clone()]), (single, 0));
    }
}
