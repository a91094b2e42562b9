//! The zones of a file that was read: TZID is a name of its own, which may or may not be one that
//! others know.

use std::collections::HashMap;

use calcard::common::PartialDateTime;
use calcard::icalendar::{
    ICalendar, ICalendarComponent, ICalendarComponentType, ICalendarRecurrenceRule, ICalendarValue,
    ICalendarWeekday,
};

use super::parsed::{Taken, Time};
use crate::ical::custom_zone::{Daylight, Onset, Rule};
use crate::ical::zone::Zone;
use crate::loss::Losses;

pub(super) struct Zones {
    /// Of times without one.
    floating: Zone,
    defined: HashMap<String, Defined>,
}

/// What a VTIMEZONE says.
struct Defined {
    location: Option<String>,
    rule: Option<Rule>,
}

impl Zones {
    pub(super) fn new(floating: Option<Zone>) -> Self {
        Self { floating: floating.unwrap_or(Zone::Utc), defined: HashMap::new() }
    }

    /// The file's own zone for times without one, if it is known.
    pub(super) fn floating(&mut self, name: &str) {
        if let Some(zone) = Zone::named(name) {
            self.floating = zone;
        }
    }

    pub(super) fn of_floating(&self) -> &Zone {
        &self.floating
    }

    pub(super) fn add(&mut self, calendar: &ICalendar, component: &ICalendarComponent) {
        // A VTIMEZONE says what its name means; its own losses are none of the events'.
        let mut unheard = Losses::default();
        let mut taken = Taken::new(component);
        let Some(id) = taken.text("TZID", &mut unheard) else { return };
        let location = taken.text("X-LIC-LOCATION", &mut unheard);
        self.defined.insert(id, Defined { location, rule: rule(calendar, component) });
    }

    /// The zone of a TZID for an event of a year: by its name, by a path that ends in a name, by
    /// what the VTIMEZONE says.
    pub(super) fn named(&self, id: &str, year: i32) -> Option<Zone> {
        let defined = self.defined.get(id);
        let rule = defined.and_then(|defined| defined.rule.as_ref());
        let ours = rule.filter(|rule| rule.id() == id).map(|rule| Zone::Custom(rule.clone()));
        ours.or_else(|| Zone::named(id))
            .or_else(|| id.match_indices('/').find_map(|(slash, _)| Zone::named(&id[slash + 1..])))
            .or_else(|| Zone::named(defined?.location.as_deref()?))
            .or_else(|| rule.and_then(|rule| Zone::like(rule, year)))
            .or_else(|| rule.map(|rule| Zone::Custom(rule.clone())))
    }
}

/// The rules in force now: the last ones of either kind.
fn rule(calendar: &ICalendar, zone: &ICalendarComponent) -> Option<Rule> {
    let last = |kind: &ICalendarComponentType| {
        let parts = zone.component_ids.iter().filter_map(|id| calendar.component_by_id(*id));
        parts
            .filter(|part| part.component_type == *kind)
            .filter_map(part)
            .max_by_key(|part| part.since)
    };
    let standard = last(&ICalendarComponentType::Standard);
    let daylight = last(&ICalendarComponentType::Daylight).filter(|part| part.goes_on);
    let (Some(standard), Some(daylight)) = (&standard, &daylight) else {
        let only = standard.or(daylight)?;
        return Some(Rule { standard: only.offset, daylight: None });
    };
    let begin = daylight.onset.clone()?;
    let saving = Daylight { offset: daylight.offset, begin, end: standard.onset.clone()? };
    Some(Rule { standard: standard.offset, daylight: Some(saving) })
}

struct Part {
    since: chrono::NaiveDateTime,
    /// Minutes east of UTC.
    offset: i32,
    onset: Option<Onset>,
    goes_on: bool,
}

fn part(component: &ICalendarComponent) -> Option<Part> {
    let mut unheard = Losses::default();
    let mut taken = Taken::new(component);
    let since = match taken.one("DTSTART", &mut unheard)?.values.first()? {
        ICalendarValue::PartialDateTime(time) => match Time::of(time)? {
            Time::Local(time) | Time::Utc(time) => time,
            Time::Day(day) => day.and_hms_opt(0, 0, 0)?,
        },
        _ => return None,
    };
    let offset = match taken.one("TZOFFSETTO", &mut unheard)?.values.first()? {
        ICalendarValue::PartialDateTime(time) => minutes(time)?,
        _ => return None,
    };
    let rule = taken.one("RRULE", &mut unheard).and_then(|entry| match entry.values.first()? {
        ICalendarValue::RecurrenceRule(rule) => Some(rule.as_ref()),
        _ => None,
    });
    let onset = rule.and_then(|rule| onset(rule, since.time()));
    Some(Part { since, offset, onset, goes_on: rule.is_some_and(|rule| rule.until.is_none()) })
}

fn minutes(offset: &PartialDateTime) -> Option<i32> {
    let minutes = i32::from(offset.tz_hour?) * 60 + i32::from(offset.tz_minute.unwrap_or(0));
    Some(if offset.tz_minus { -minutes } else { minutes })
}

/// A yearly rule by a numbered weekday of a month, or by a weekday of a week of days.
fn onset(rule: &ICalendarRecurrenceRule, time: chrono::NaiveTime) -> Option<Onset> {
    let [month] = rule.bymonth[..] else { return None };
    let [day] = rule.byday[..] else { return None };
    let week = match (day.ordwk, rule.bymonthday.first()) {
        (Some(-1), _) => 5,
        (Some(week @ 1..=4), _) => week as u32,
        (None, Some(first @ (1 | 8 | 15 | 22))) => (*first as u32 - 1) / 7 + 1,
        _ => return None,
    };
    let weekday = match day.weekday {
        ICalendarWeekday::Sunday => 0,
        ICalendarWeekday::Monday => 1,
        ICalendarWeekday::Tuesday => 2,
        ICalendarWeekday::Wednesday => 3,
        ICalendarWeekday::Thursday => 4,
        ICalendarWeekday::Friday => 5,
        ICalendarWeekday::Saturday => 6,
    };
    Some(Onset { month: month.month().into(), week, weekday, time })
}
