//! The file of a series: its zones, its master, its exceptions.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use chrono::{Datelike, NaiveDate};
use serde_json::Value;

use super::component::{self, Component, Instance};
use super::times::{self, Moment};
use super::{AttachmentRef, Error, Loss, Series, left, uid};
use crate::ical::recurrence::{End, Recurrence};
use crate::ical::zone::Zone;
use crate::line::Lines;
use crate::loss::Losses;

/// Names no version: the same event has the same bytes after an update.
pub(crate) const PRODUCT: &str = "-//tar365//tar365//EN";
/// Years a zone is written for: before the event, after it, and where a series has no end.
const YEARS_BEFORE: i32 = 1;
const YEARS_AFTER: i32 = 12;
const YEARS_OPEN: i32 = 30;

pub(super) fn write<'c>(
    series: &Series<'_>,
    out: &mut impl Write,
    mut attachment: impl FnMut(AttachmentRef<'_>) -> io::Result<Box<dyn Read + 'c>>,
) -> Result<Vec<Loss>, Error> {
    let mut losses = Losses::default();
    let components = components(series, &mut losses)?;
    let mut lines = Lines::new(out);
    lines.raw("BEGIN", "VCALENDAR")?;
    lines.raw("VERSION", "2.0")?;
    lines.raw("PRODID", PRODUCT)?;
    for (zone, years) in zones(&components) {
        zone.write(&mut lines, years)?;
    }
    for part in &components {
        component::write(part, &mut lines, &mut attachment, &mut losses)?;
    }
    lines.raw("END", "VCALENDAR")?;
    Ok(losses.into_vec())
}

fn components<'a>(series: &Series<'a>, losses: &mut Losses) -> Result<Vec<Component<'a>>, Error> {
    let event = series.event;
    let uid = match event["iCalUId"].as_str().filter(|uid| !uid.is_empty()) {
        Some(ical_uid) => uid::uid(ical_uid),
        None => {
            losses.add("iCalUId", "there is none, the file has one of its own");
            crate::identity::uuid(event["id"].as_str().unwrap_or_default())
        }
    };
    let zone = times::zone(event, series.zone, losses);
    let (start, end) = times::span(event, &zone, losses)?;
    left::note(event, losses);
    let recurrence = recurrence(event, losses);
    let instance = if recurrence.is_some() { Instance::Master } else { Instance::Single };
    let mut master = Component {
        event,
        uid: uid.clone(),
        instance,
        start,
        end,
        rule: None,
        cancelled: Vec::new(),
        last_year: None,
    };
    if let Some((recurrence, first)) = &recurrence {
        recur(&mut master, recurrence, *first, losses);
    }
    let mut exceptions = BTreeMap::new();
    for exception in series.exceptions {
        let component = exceptional(exception, &master, &zone, losses)?;
        let Instance::Exception(original) = &component.instance else { continue };
        if exceptions.insert(original.until(), component).is_some() {
            losses.add("exceptionOccurrences", "two for one occurrence, the later one is written");
        }
    }
    let excepted = exceptions.values().filter_map(Component::original).collect();
    let recurrence = recurrence.as_ref().map(|(recurrence, _)| recurrence);
    let dates = cancelled(series, recurrence, &excepted, losses);
    master.cancelled = dates.into_iter().map(|date| master.start.on(date)).collect();
    Ok(std::iter::once(master).chain(exceptions.into_values()).collect())
}

/// The days of occurrences there are none of; what is an exception is none of them.
fn cancelled(
    series: &Series<'_>,
    recurrence: Option<&Recurrence>,
    excepted: &BTreeSet<NaiveDate>,
    losses: &mut Losses,
) -> BTreeSet<NaiveDate> {
    let dates: BTreeSet<_> = series.cancelled.iter().filter_map(occurrence_date).collect();
    let undated = series.cancelled.iter().filter(|id| occurrence_date(id).is_none()).count();
    losses.add_many("cancelledOccurrences", "it does not end in a date", undated as u32);
    let last = dates.last().copied().unwrap_or_default();
    let days = recurrence.into_iter().flat_map(Recurrence::dates);
    let days: BTreeSet<_> = days.take_while(|day| *day <= last).collect();
    let missed = dates.difference(&days).count();
    losses.add_many("cancelledOccurrences", "the series has none on this day", missed as u32);
    dates.intersection(&days).filter(|day| !excepted.contains(day)).copied().collect()
}

/// The recurrence of a master and its first day.
fn recurrence(event: &Value, losses: &mut Losses) -> Option<(Recurrence, NaiveDate)> {
    let value = event.get("recurrence").filter(|value| value.is_object())?;
    let recurrence = match Recurrence::from_graph(value) {
        Ok(recurrence) => recurrence,
        Err(why) => {
            losses.add("recurrence", why);
            return None;
        }
    };
    let Some(first) = recurrence.dates().next() else {
        losses.add("recurrence", "it ends before its first occurrence");
        return None;
    };
    if first != recurrence.start {
        losses.add("recurrence/range/startDate", "the file begins with the first occurrence");
    }
    Some((recurrence, first))
}

/// Makes a component the master of a recurrence. DTSTART counts as an occurrence, so it must be the
/// first one, which the start of the range need not be.
fn recur(
    master: &mut Component<'_>,
    recurrence: &Recurrence,
    first: NaiveDate,
    losses: &mut Losses,
) {
    let length = master.end.date() - master.start.date();
    if master.start.date() != first {
        losses.add("start", "the first occurrence of the recurrence is on another day");
    }
    let end = match (&master.start, &master.end) {
        // Every occurrence has the same times of day: the end may not have a zone of its own.
        (Moment::Time(_, zone), Moment::Time(end, other)) if zone != other => {
            Moment::at(other.instant(*end), zone)
        }
        (_, end) => end.clone(),
    };
    master.start = master.start.on(first);
    master.end = end.on(first + length);
    let last = match recurrence.end {
        End::Never => None,
        End::On(date) => Some(date),
        End::After(_) => recurrence.dates().last(),
    };
    master.last_year = Some(last.map_or(first.year() + YEARS_OPEN, |last| last.year()));
    master.rule = Some(recurrence.rrule(|date| master.start.on(date).until()));
}

fn exceptional<'a>(
    event: &'a Value,
    master: &Component<'_>,
    zone: &Zone,
    losses: &mut Losses,
) -> Result<Component<'a>, Error> {
    let own = event["originalStartTimeZone"].as_str().and_then(Zone::named);
    let (start, end) = times::span(event, own.as_ref().unwrap_or(zone), losses)?;
    left::note(event, losses);
    let original = original(event, &master.start, zone).unwrap_or_else(|| {
        losses.add("originalStart", "there is none, the exception's own start is taken");
        master.start.on(start.date())
    });
    Ok(Component {
        event,
        uid: master.uid.clone(),
        instance: Instance::Exception(original),
        start,
        end,
        rule: None,
        cancelled: Vec::new(),
        last_year: None,
    })
}

/// Where in its series an exception stood: RECURRENCE-ID. By the master's clock even where no clock
/// showed that time, as that is how readers count.
pub(super) fn original(event: &Value, master: &Moment, zone: &Zone) -> Option<Moment> {
    let by_id = occurrence_date(&event["occurrenceId"]);
    let instant = times::offset_time(&event["originalStart"]);
    let Moment::Time(_, clock) = master else {
        // Midnight of the day, in UTC or in the zone.
        let by_start = instant.map(|instant| match instant.time() {
            chrono::NaiveTime::MIN => instant.date_naive(),
            _ => zone.local(instant).date(),
        });
        return by_id.or(by_start).map(Moment::Day);
    };
    let Some(instant) = instant else { return by_id.map(|date| master.on(date)) };
    let local = clock.local(instant);
    let regular = master.on(by_id.unwrap_or(local.date()));
    match &regular {
        Moment::Time(time, zone) if zone.instant(*time) != instant => {
            Some(Moment::Time(local, clock.clone()))
        }
        _ => Some(regular),
    }
}

/// The date in an id of an occurrence: `OID.{seriesMasterId}.{yyyy-mm-dd}` (FACTS 3.5).
pub(super) fn occurrence_date(id: &Value) -> Option<NaiveDate> {
    let (_, date) = id.as_str()?.rsplit_once('.')?;
    NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()
}

/// The zones of all components by TZID, with the years in which they must be right.
fn zones(components: &[Component<'_>]) -> Vec<(Zone, std::ops::RangeInclusive<i32>)> {
    let mut zones: BTreeMap<String, (Zone, i32, i32)> = BTreeMap::new();
    for part in components {
        let original = match &part.instance {
            Instance::Exception(original) => Some(original),
            Instance::Master | Instance::Single => None,
        };
        for moment in [Some(&part.start), Some(&part.end), original].into_iter().flatten() {
            let Some(zone) = moment.zone() else { continue };
            let Some(id) = zone.id() else { continue };
            let year = moment.date().year();
            let last = part.last_year.unwrap_or(year);
            let known = zones.entry(id).or_insert_with(|| (zone.clone(), year, last));
            known.1 = known.1.min(year);
            known.2 = known.2.max(last);
        }
    }
    let years = |first: i32, last: i32| first - YEARS_BEFORE..=(last + 1).max(first + YEARS_AFTER);
    zones.into_values().map(|(zone, first, last)| (zone, years(first, last))).collect()
}
