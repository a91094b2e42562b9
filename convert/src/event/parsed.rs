//! What calcard parsed, asked for by name. What nobody asks for is a loss.

use std::collections::HashSet;

use calcard::common::PartialDateTime;
use calcard::icalendar::{
    ICalendarComponent, ICalendarEntry, ICalendarParameterName, ICalendarValue,
};
use chrono::{Duration, NaiveDate, NaiveDateTime};

use super::cut::{SPACE, TAB};
use crate::loss::Losses;

/// Parameters that are read where they mean something, or that say no more than the value does.
const PARAMETERS: [&str; 18] = [
    "CN",
    "CUTYPE",
    "EMAIL",
    "FEATURE",
    "FILENAME",
    "FMTTYPE",
    "PARTSTAT",
    "RELATED",
    "ROLE",
    "RSVP",
    "TZID",
    "VALUE",
    "X-APPLE-FILENAME",
    "X-FILENAME",
    "X-ORACLE-FILENAME",
    "X-TAR365-CONTENT-ID",
    "X-TAR365-INLINE",
    "X-TAR365-ITEM",
];

/// A component whose properties are taken one after the other.
pub(super) struct Taken<'a> {
    component: &'a ICalendarComponent,
    asked: HashSet<&'static str>,
}

impl<'a> Taken<'a> {
    pub(super) fn new(component: &'a ICalendarComponent) -> Self {
        Self { component, asked: HashSet::new() }
    }

    pub(super) fn all(&mut self, name: &'static str) -> Vec<&'a ICalendarEntry> {
        self.asked.insert(name);
        let is_wanted = |entry: &&ICalendarEntry| entry.name.as_str().eq_ignore_ascii_case(name);
        self.component.entries.iter().filter(is_wanted).collect()
    }

    /// A property of which there is one at most: the first.
    pub(super) fn one(
        &mut self,
        name: &'static str,
        losses: &mut Losses,
    ) -> Option<&'a ICalendarEntry> {
        let all = self.all(name);
        let more = all.len().saturating_sub(1);
        losses.add_many(format!("VEVENT/{name}"), "there may be one only", more as u32);
        all.first().copied()
    }

    /// The text of such a property; none if it is empty.
    pub(super) fn text(&mut self, name: &'static str, losses: &mut Losses) -> Option<String> {
        self.one(name, losses).map(text).filter(|text| !text.is_empty())
    }

    /// Adds what nobody asked for.
    pub(super) fn rest(self, component: &str, losses: &mut Losses) {
        for entry in &self.component.entries {
            let name = entry.name.as_str().to_ascii_uppercase();
            if !self.asked.contains(name.as_str()) {
                losses.add(format!("{component}/{name}"), "Graph has no such property");
                continue;
            }
            for parameter in &entry.params {
                let parameter = parameter.name.as_str().to_ascii_uppercase();
                if !PARAMETERS.contains(&parameter.as_str()) {
                    let property = format!("{component}/{name};{parameter}");
                    losses.add(property, "Graph has no such parameter");
                }
            }
        }
    }
}

/// The value of a property, whatever its type. Properties of unknown names are taken for lists of
/// texts by the parser; here they are one.
pub(super) fn text(entry: &ICalendarEntry) -> String {
    let values = entry.values.iter().map(|value| match value {
        // Case does not matter in these, and the parser keeps the case of those it does not know.
        ICalendarValue::Text(text) => text.clone(),
        other => other.clone().into_text().unwrap_or_default().into_owned(),
    });
    values.collect::<Vec<_>>().join(";")
}

/// A parameter's text, decoded as RFC 6868 says.
pub(super) fn parameter(entry: &ICalendarEntry, name: &str) -> Option<String> {
    let found = entry.params.iter().find(|parameter| match &parameter.name {
        ICalendarParameterName::Other(other) => other.eq_ignore_ascii_case(name),
        known => known.as_str().eq_ignore_ascii_case(name),
    })?;
    let value = found.value.clone().into_text()?.replace(SPACE, " ").replace(TAB, "\t");
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        let rest = characters.as_str();
        let (decoded, escaped) = match (character, rest.chars().next()) {
            ('^', Some('n')) => ('\n', true),
            ('^', Some('^')) => ('^', true),
            ('^', Some('\'')) => ('"', true),
            _ => (character, false),
        };
        text.push(decoded);
        if escaped {
            characters.next();
        }
    }
    Some(text)
}

/// A DATE or a DATE-TIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Time {
    Day(NaiveDate),
    /// By the clock of the property's TZID.
    Local(NaiveDateTime),
    Utc(NaiveDateTime),
}

impl Time {
    pub(super) fn of(time: &PartialDateTime) -> Option<Self> {
        let (year, month, day) = (time.year?, time.month?, time.day?);
        let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())?;
        let Some(hour) = time.hour else { return Some(Self::Day(date)) };
        // A leap second is the second before it.
        let second = time.second.unwrap_or(0).min(59);
        let minute = time.minute.unwrap_or(0);
        let local = date.and_hms_opt(hour.into(), minute.into(), second.into())?;
        let Some(hours) = time.tz_hour else { return Some(Self::Local(local)) };
        let east =
            Duration::minutes(i64::from(hours) * 60 + i64::from(time.tz_minute.unwrap_or(0)));
        local.checked_sub_signed(if time.tz_minus { -east } else { east }).map(Self::Utc)
    }
}

/// The times of a property, and how many of its values are none.
pub(super) fn times(entry: &ICalendarEntry) -> (Vec<Time>, u32) {
    let times = entry.values.iter().filter_map(|value| match value {
        ICalendarValue::PartialDateTime(time) => Time::of(time),
        _ => None,
    });
    let times: Vec<_> = times.collect();
    let others = entry.values.len() - times.len();
    (times, u32::try_from(others).unwrap_or(u32::MAX))
}
