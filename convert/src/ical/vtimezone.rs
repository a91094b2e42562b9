//! VTIMEZONE (RFC 5545, 3.6.5) from the transitions of the IANA database. Transitions that go on
//! by a yearly rule are written as that rule, others one by one.

use std::io::{self, Write};
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, Offset, TimeZone as _, Utc};
use chrono_tz::{OffsetComponents, OffsetName, Tz};

use crate::line::Lines;

/// Days between looks at a zone's offset: fewer than between any two transitions since 1970.
const STEP: i64 = 5;
/// Years in a row by which a rule is believed.
const EVIDENCE: usize = 5;

/// What holds between two transitions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Observance {
    offset: i32,
    daylight: bool,
    name: String,
}

/// A change to an observance, and the local times by the clock before it when that came to pass.
struct Change {
    from: i32,
    to: Observance,
    onsets: Vec<NaiveDateTime>,
}

/// Writes the VTIMEZONE of a zone.
pub(super) fn write<W: Write>(
    lines: &mut Lines<'_, W>,
    zone: Tz,
    years: RangeInclusive<i32>,
) -> io::Result<()> {
    lines.raw("BEGIN", "VTIMEZONE")?;
    lines.text("TZID", zone.name())?;
    let begin = new_year(*years.start());
    let first = observance(zone, begin);
    let onset = begin.naive_utc() + Duration::seconds(first.offset.into());
    // What held before, as if it had begun with the first year.
    observed(lines, first.offset, &first, onset, &[])?;
    for Change { from, to, onsets } in changes(zone, &years) {
        let rule = (0..onsets.len())
            .find_map(|since| Some((since, yearly(&onsets[since..], *years.end())?)));
        let single = rule.as_ref().map_or(onsets.len(), |(since, _)| *since);
        if let Some((onset, more)) = onsets[..single].split_first() {
            let dates: Vec<String> = more.iter().map(|onset| stamp(*onset)).collect();
            let dates = if dates.is_empty() { vec![] } else { vec![("RDATE", dates.join(","))] };
            observed(lines, from, &to, *onset, &dates)?;
        }
        if let Some((since, rule)) = rule {
            observed(lines, from, &to, onsets[since], &[("RRULE", rule)])?;
        }
    }
    lines.raw("END", "VTIMEZONE")
}

fn observed<W: Write>(
    lines: &mut Lines<'_, W>,
    from: i32,
    to: &Observance,
    onset: NaiveDateTime,
    again: &[(&str, String)],
) -> io::Result<()> {
    let component = if to.daylight { "DAYLIGHT" } else { "STANDARD" };
    lines.raw("BEGIN", component)?;
    lines.raw("DTSTART", &stamp(onset))?;
    for (name, value) in again {
        lines.raw(name, value)?;
    }
    lines.raw("TZOFFSETFROM", &offset(from))?;
    lines.raw("TZOFFSETTO", &offset(to.offset))?;
    lines.text("TZNAME", &to.name)?;
    lines.raw("END", component)
}

/// All changes in some years, alike ones together, in the order of their first.
fn changes(zone: Tz, years: &RangeInclusive<i32>) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let end = new_year(years.end() + 1);
    let mut time = new_year(*years.start());
    let mut now = observance(zone, time);
    while time < end {
        let next = time + Duration::days(STEP);
        let then = observance(zone, next);
        if then != now {
            let onset = transition(zone, time, next).naive_utc();
            let onset = onset + Duration::seconds(now.offset.into());
            let known =
                changes.iter_mut().find(|known| known.from == now.offset && known.to == then);
            match known {
                Some(known) => known.onsets.push(onset),
                None => {
                    changes.push(Change { from: now.offset, to: then.clone(), onsets: vec![onset] })
                }
            }
            now = then;
        }
        time = next;
    }
    changes
}

/// The second at which the observance of `before` ends; at `after` another holds.
fn transition(zone: Tz, before: DateTime<Utc>, after: DateTime<Utc>) -> DateTime<Utc> {
    let old = observance(zone, before);
    let (mut before, mut after) = (before, after);
    while after - before > Duration::seconds(1) {
        let middle = before + Duration::seconds((after - before).num_seconds() / 2);
        if observance(zone, middle) == old { before = middle } else { after = middle }
    }
    after
}

fn observance(zone: Tz, time: DateTime<Utc>) -> Observance {
    let found = zone.offset_from_utc_datetime(&time.naive_utc());
    let offset = found.fix().local_minus_utc();
    Observance {
        offset,
        // Irish winter is "daylight saving" of minus an hour to the database, not to readers.
        daylight: found.dst_offset() > Duration::zero(),
        name: found.abbreviation().map_or_else(|| self::offset(offset), str::to_owned),
    }
}

/// The RRULE of onsets that follow one in every year up to the last.
fn yearly(onsets: &[NaiveDateTime], last: i32) -> Option<String> {
    let first = onsets.first()?;
    let regular = onsets.iter().zip(first.year()..).all(|(onset, year)| {
        onset.year() == year
            && onset.month() == first.month()
            && onset.weekday() == first.weekday()
            && onset.time() == first.time()
    });
    if !regular || onsets.len() < EVIDENCE || onsets.last()?.year() != last {
        return None;
    }
    let weekday = weekday(onsets[0].date());
    let low = onsets.iter().map(Datelike::day).min()?;
    let high = onsets.iter().map(Datelike::day).max()?;
    let is_last = |onset: &NaiveDateTime| (*onset + Duration::days(7)).month() != onset.month();
    let month = first.month();
    if onsets.iter().all(is_last) {
        return Some(format!("FREQ=YEARLY;BYMONTH={month};BYDAY=-1{weekday}"));
    }
    let week = (low - 1) / 7;
    if week == (high - 1) / 7 {
        return Some(format!("FREQ=YEARLY;BYMONTH={month};BYDAY={}{weekday}", week + 1));
    }
    let days: Vec<String> = (low..=high).map(|day| day.to_string()).collect();
    (days.len() == 7).then(|| {
        format!("FREQ=YEARLY;BYMONTH={month};BYMONTHDAY={};BYDAY={weekday}", days.join(","))
    })
}

fn weekday(date: NaiveDate) -> &'static str {
    ["MO", "TU", "WE", "TH", "FR", "SA", "SU"][date.weekday().num_days_from_monday() as usize]
}

fn new_year(year: i32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).single().unwrap_or(DateTime::UNIX_EPOCH)
}

/// A local time as DATE-TIME (RFC 5545, 3.3.5).
pub(crate) fn stamp(time: NaiveDateTime) -> String {
    time.format("%Y%m%dT%H%M%S").to_string()
}

/// An offset as UTC-OFFSET (RFC 5545, 3.3.14); seconds only where there are some.
pub(super) fn offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let all = seconds.abs();
    let text = format!("{sign}{:02}{:02}", all / 3600, all / 60 % 60);
    if all % 60 == 0 { text } else { format!("{text}{:02}", all % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(zone: Tz, years: RangeInclusive<i32>) -> String {
        let mut bytes = Vec::new();
        write(&mut Lines::new(&mut bytes), zone, years).expect("a vector takes everything");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn rules_that_go_on_are_rules() {
        let berlin = written(Tz::Europe__Berlin, 2025..=2037);
        assert!(berlin.contains("RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\n"));
        assert!(berlin.contains("RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\n"));
        assert!(!berlin.contains("RDATE"));
        let new_york = written(Tz::America__New_York, 2005..=2020);
        assert!(new_york.contains("DTSTART:20050403T020000\r\nRDATE:20060402T020000\r\n"));
        assert!(
            new_york.contains("DTSTART:20070311T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=2SU")
        );
        assert!(
            written(Tz::Asia__Jerusalem, 2025..=2037)
                .contains("BYMONTHDAY=23,24,25,26,27,28,29;BYDAY=FR")
        );
    }

    #[test]
    fn a_zone_without_changes_is_one_observance() {
        let tokyo = written(Tz::Asia__Tokyo, 2025..=2037);
        assert_eq!(tokyo.matches("BEGIN:").count(), 2);
        assert!(tokyo.contains("TZOFFSETFROM:+0900\r\nTZOFFSETTO:+0900\r\nTZNAME:JST\r\n"));
    }

    #[test]
    fn irregular_changes_are_listed() {
        let casablanca = written(Tz::Africa__Casablanca, 2025..=2037);
        assert!(casablanca.contains("RDATE:"));
        assert!(!casablanca.contains("RRULE"));
    }
}
