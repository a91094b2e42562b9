//! A recurrence from nothing but the days of its occurrences: for calendars that show occurrences
//! and not the series they are of (FACTS 3.11).

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate, Weekday};
use serde_json::Value;

use crate::ical::recurrence::{End, Pattern, Recurrence, WEEK};

const LAST: i32 = -1;

/// The `patternedRecurrence` that has all of these days and the fewest others, from the first to the
/// last of them; none if there are no days. The others are to be cancelled.
pub fn reckoned(days: &BTreeSet<NaiveDate>, zone: Option<&str>) -> Option<Value> {
    let (first, last) = (*days.first()?, *days.last()?);
    let candidates = [weekly(days), daily(days, first), monthly(days, first)];
    let candidates = candidates.into_iter().chain(relative(days, first).map(Some)).flatten();
    let candidates = candidates.map(|(pattern, interval)| Recurrence {
        pattern,
        interval,
        start: first,
        end: End::On(last),
    });
    let fitting = candidates.filter_map(|recurrence| {
        let all: BTreeSet<NaiveDate> = recurrence.dates().collect();
        days.is_subset(&all).then_some((all.len(), recurrence))
    });
    // Of equals the first: whole weeks are the usual thing.
    let best = fitting.min_by_key(|(count, _)| *count);
    best.map(|(_, recurrence)| recurrence.to_graph(zone))
}

/// The greatest number that divides all of these; 1 for none, and for zeros.
fn common(numbers: impl Iterator<Item = i64>) -> u32 {
    let divisor = numbers.fold(0, |a: i64, b| {
        let (mut a, mut b) = (a, b);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    });
    u32::try_from(divisor).unwrap_or(1).max(1)
}

fn daily(days: &BTreeSet<NaiveDate>, first: NaiveDate) -> Option<(Pattern, u32)> {
    let interval = common(days.iter().map(|day| (*day - first).num_days()));
    Some((Pattern::Daily, interval))
}

fn weekly(days: &BTreeSet<NaiveDate>) -> Option<(Pattern, u32)> {
    let first = Weekday::Mon;
    let monday = |day: &NaiveDate| day.week(first).first_day();
    let begin = monday(days.first()?);
    let interval = common(days.iter().map(|day| (monday(day) - begin).num_weeks()));
    let there: BTreeSet<u32> =
        days.iter().map(|day| day.weekday().num_days_from_monday()).collect();
    let week = WEEK.iter().map(|(_, _, day)| *day);
    let days = week.filter(|day| there.contains(&day.num_days_from_monday())).collect();
    Some((Pattern::Weekly { days, first }, interval))
}

/// Every so many months, and the month if that is every so many years.
fn months(days: &BTreeSet<NaiveDate>, first: NaiveDate) -> (Option<u32>, u32) {
    let number = |day: NaiveDate| i64::from(day.year()) * 12 + i64::from(day.month0());
    match common(days.iter().map(|day| number(*day) - number(first))) {
        interval if interval.is_multiple_of(12) => (Some(first.month()), interval / 12),
        interval => (None, interval),
    }
}

fn monthly(days: &BTreeSet<NaiveDate>, first: NaiveDate) -> Option<(Pattern, u32)> {
    let day = days.iter().map(Datelike::day).max()?;
    let (month, interval) = months(days, first);
    Some((Pattern::Monthly { month, day }, interval))
}

/// The second Tuesday, the last Friday.
fn relative(
    days: &BTreeSet<NaiveDate>,
    first: NaiveDate,
) -> impl Iterator<Item = (Pattern, u32)> + use<> {
    let (month, interval) = months(days, first);
    let index = i32::try_from(first.day0() / 7 + 1).ok().filter(|index| *index < 5);
    index.into_iter().chain([LAST]).map(move |index| {
        (Pattern::Relative { month, days: vec![first.weekday()], index }, interval)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(of: &[&str]) -> BTreeSet<NaiveDate> {
        of.iter().map(|day| day.parse().unwrap()).collect()
    }

    fn every(pattern: Pattern, interval: u32, count: u32) -> BTreeSet<NaiveDate> {
        let start = NaiveDate::from_ymd_opt(2026, 1, 30).unwrap();
        Recurrence { pattern, interval, start, end: End::After(count) }.dates().collect()
    }

    /// What is reckoned has these days and so many others.
    #[track_caller]
    fn check(days: &BTreeSet<NaiveDate>, kind: &str, others: usize) {
        let graph = reckoned(days, Some("UTC")).unwrap();
        assert_eq!(graph["pattern"]["type"], kind, "{graph}");
        let all: BTreeSet<_> = Recurrence::from_graph(&graph).unwrap().dates().collect();
        assert!(days.is_subset(&all), "{graph}");
        assert_eq!(all.len() - days.len(), others, "{graph}");
    }

    #[test]
    fn patterns_come_back() {
        let week = vec![Weekday::Tue, Weekday::Fri];
        check(&every(Pattern::Weekly { days: week, first: Weekday::Mon }, 2, 9), "weekly", 0);
        check(&every(Pattern::Daily, 3, 9), "daily", 0);
        check(&every(Pattern::Daily, 1, 20), "weekly", 0);
        check(&every(Pattern::Monthly { month: None, day: 31 }, 1, 9), "absoluteMonthly", 0);
        check(&every(Pattern::Monthly { month: Some(2), day: 29 }, 1, 9), "absoluteYearly", 0);
        for index in [1, 4, LAST] {
            let days = vec![Weekday::Thu];
            check(
                &every(Pattern::Relative { month: None, days, index }, 1, 20),
                "relativeMonthly",
                0,
            );
        }
        let days = vec![Weekday::Sun];
        check(
            &every(Pattern::Relative { month: Some(5), days, index: 2 }, 1, 9),
            "relativeYearly",
            0,
        );
    }

    #[test]
    fn holes_are_few_and_nothing_is_lost() {
        let mut all =
            every(Pattern::Weekly { days: vec![Weekday::Fri], first: Weekday::Mon }, 1, 9);
        let hole = *all.iter().nth(3).unwrap();
        all.remove(&hole);
        check(&all, "weekly", 1);
        check(&days(&["2026-03-03"]), "weekly", 0);
        check(&days(&["2026-03-03", "2026-03-04", "2026-09-17"]), "weekly", 3);
        assert!(reckoned(&BTreeSet::new(), None).is_none());
    }
}
