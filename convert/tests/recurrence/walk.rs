//! The occurrences of a Graph pattern by asking of each day whether it is one. Slow, and with
//! nothing in common with the way patterns are written.

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use serde_json::Value;

use super::Occurrences;
use super::generate::Case;

/// Three years, in seconds since 1970.
pub(crate) fn window() -> (i64, i64) {
    let new_year = |year| Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).single().expect("a time");
    (new_year(2026).timestamp(), new_year(2029).timestamp())
}

pub(crate) fn occurrences(case: &Case) -> Occurrences {
    let (from, to) = window();
    let mut found = Occurrences::new();
    for day in days(&case.master["recurrence"]).take_while(|day| day.year() < 2030) {
        if case.gone.contains(&day) {
            continue;
        }
        let moved = case.moved.iter().find(|moved| moved.0 == day);
        let (start, subject) = match moved {
            Some((_, moved)) => (*moved, "moved"),
            None => (case.start(day), "regular"),
        };
        found.push((start.and_utc().timestamp(), subject.to_owned()));
    }
    found.retain(|at| (from..to).contains(&at.0));
    found.sort();
    found
}

/// The days of a recurrence, in order.
pub(crate) fn days(recurrence: &Value) -> impl Iterator<Item = NaiveDate> {
    let range = &recurrence["range"];
    let kind = range["type"].as_str().expect("a type").to_owned();
    let start = date(&range["startDate"]);
    let end = date(&range["endDate"]);
    let count = match kind.as_str() {
        "numbered" => range["numberOfOccurrences"].as_u64().expect("a number") as usize,
        _ => usize::MAX,
    };
    let pattern = recurrence["pattern"].clone();
    start
        .iter_days()
        .take_while(move |day| day.year() < 2200 && (kind != "endDate" || *day <= end))
        .filter(move |day| occurs(&pattern, start, *day))
        .take(count)
}

fn occurs(pattern: &Value, start: NaiveDate, day: NaiveDate) -> bool {
    let interval = pattern["interval"].as_i64().expect("an interval");
    let months =
        i64::from((day.year() - start.year()) * 12 + day.month() as i32) - i64::from(start.month());
    let years = i64::from(day.year() - start.year());
    let in_month = pattern["month"].as_u64() == Some(day.month().into());
    match pattern["type"].as_str().expect("a type") {
        "daily" => (day - start).num_days() % interval == 0,
        "weekly" => {
            let first = weekday(&pattern["firstDayOfWeek"]);
            let weeks = (week_of(day, first) - week_of(start, first)).num_days() / 7;
            weeks % interval == 0 && is_one_of(pattern, day)
        }
        "absoluteMonthly" => months % interval == 0 && is_day_of_month(pattern, day),
        "relativeMonthly" => months % interval == 0 && is_indexed(pattern, day),
        "absoluteYearly" => years % interval == 0 && in_month && is_day_of_month(pattern, day),
        "relativeYearly" => years % interval == 0 && in_month && is_indexed(pattern, day),
        other => panic!("{other}"),
    }
}

/// The day the week of `day` began with.
fn week_of(day: NaiveDate, first: Weekday) -> NaiveDate {
    let mut begin = day;
    while begin.weekday() != first {
        begin -= Duration::days(1);
    }
    begin
}

fn is_one_of(pattern: &Value, day: NaiveDate) -> bool {
    let days = pattern["daysOfWeek"].as_array().expect("days");
    days.iter().any(|name| weekday(name) == day.weekday())
}

/// "If larger than the days in the month, the last day is assumed".
fn is_day_of_month(pattern: &Value, day: NaiveDate) -> bool {
    let wanted = pattern["dayOfMonth"].as_u64().expect("a day");
    let is_last = (day + Duration::days(1)).month() != day.month();
    u64::from(day.day()) == wanted || is_last && wanted > day.day().into()
}

/// Whether a day is the first, ..., last in its month of those that the pattern names.
fn is_indexed(pattern: &Value, day: NaiveDate) -> bool {
    let in_month = |other: &NaiveDate| other.month() == day.month();
    let before = day.iter_days().rev().skip(1).take_while(in_month);
    let before = before.filter(|other| is_one_of(pattern, *other)).count();
    let mut after = day.iter_days().skip(1).take_while(in_month);
    is_one_of(pattern, day)
        && match pattern["index"].as_str().expect("an index") {
            "first" => before == 0,
            "second" => before == 1,
            "third" => before == 2,
            "fourth" => before == 3,
            "last" => !after.any(|other| is_one_of(pattern, other)),
            other => panic!("{other}"),
        }
}

fn weekday(name: &Value) -> Weekday {
    name.as_str().expect("a name").parse().expect("a weekday")
}

fn date(text: &Value) -> NaiveDate {
    text.as_str().expect("a text").parse().expect("a date")
}

/// The first instant whose local time is this one; where there is none, as if the clock had not
/// been set forward yet.
pub(crate) fn instant(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    if let Some(time) = zone.from_local_datetime(&local).earliest() {
        return time.to_utc();
    }
    // No zone here sets its clock by more than three hours.
    let earlier = local - Duration::hours(3);
    zone.from_local_datetime(&earlier).latest().expect("a time").to_utc() + Duration::hours(3)
}
