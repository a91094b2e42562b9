//! Times of events: what Graph says, in the zone the event lives in.

use std::io::{self, Write};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::ical::custom_zone::Rule;
use crate::ical::head;
use crate::ical::vtimezone::stamp;
use crate::ical::zone::Zone;
use crate::line::Lines;
use crate::loss::Losses;

/// Extended properties that hold the rules of a zone without a name (`$expand` them): the zone of
/// the recurrence, of the start as displayed, and the old form of the first (MS-OXOCAL, 2.2.1.39 ff).
pub const ZONE_PROPERTIES: [&str; 3] = [
    "Binary {00062002-0000-0000-C000-000000000046} Id 0x8260",
    "Binary {00062002-0000-0000-C000-000000000046} Id 0x825E",
    "Binary {00062002-0000-0000-C000-000000000046} Id 0x8233",
];

/// A start or an end as a file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moment {
    Day(NaiveDate),
    Time(NaiveDateTime, Zone),
}

impl Moment {
    /// An instant by the clock of a zone, or by UTC's where that clock shows the time twice and
    /// means the second.
    pub(super) fn at(instant: DateTime<Utc>, zone: &Zone) -> Self {
        let local = zone.local(instant);
        if zone.instant(local) == instant {
            Self::Time(local, zone.clone())
        } else {
            Self::Time(instant.naive_utc(), Zone::Utc)
        }
    }

    pub(super) fn zone(&self) -> Option<&Zone> {
        match self {
            Self::Day(_) => None,
            Self::Time(_, zone) => Some(zone),
        }
    }

    pub(super) fn date(&self) -> NaiveDate {
        match self {
            Self::Day(day) => *day,
            Self::Time(time, _) => time.date(),
        }
    }

    /// The same time of day on another day.
    pub(super) fn on(&self, day: NaiveDate) -> Self {
        match self {
            Self::Day(_) => Self::Day(day),
            Self::Time(time, zone) => Self::Time(day.and_time(time.time()), zone.clone()),
        }
    }

    /// As UNTIL has it: UTC, or a date where DTSTART is one (RFC 5545, 3.3.10).
    pub(super) fn until(&self) -> String {
        match self {
            Self::Day(day) => day.format("%Y%m%d").to_string(),
            Self::Time(time, zone) => format!("{}Z", stamp(zone.instant(*time).naive_utc())),
        }
    }

    pub(super) fn write<W: Write>(&self, lines: &mut Lines<'_, W>, name: &str) -> io::Result<()> {
        match self {
            Self::Day(day) => {
                let value = day.format("%Y%m%d").to_string();
                lines.raw(&head(name).param("VALUE", "DATE"), &value)
            }
            Self::Time(time, zone) => match zone.id() {
                None => lines.raw(name, &format!("{}Z", stamp(*time))),
                Some(id) => lines.raw(&head(name).param("TZID", &id), &stamp(*time)),
            },
        }
    }
}

/// A `dateTimeTimeZone`, not yet an instant.
pub(super) struct GraphTime<'a> {
    pub(super) local: NaiveDateTime,
    zone: Option<&'a str>,
}

impl<'a> GraphTime<'a> {
    pub(super) fn read(event: &'a Value, name: &'static str) -> Result<Self, Error> {
        let invalid = Error::Invalid { property: name, why: "no time" };
        let text = event[name]["dateTime"].as_str().ok_or(invalid)?;
        let local = local(text).ok_or(Error::Invalid { property: name, why: "no time" })?;
        Ok(Self { local, zone: event[name]["timeZone"].as_str().filter(|name| !name.is_empty()) })
    }

    /// The instant; a zone that is not known is taken for `otherwise`.
    pub(super) fn instant(&self, otherwise: &Zone, losses: &mut Losses) -> DateTime<Utc> {
        match self.zone.map(Zone::named) {
            None => Zone::Utc.instant(self.local),
            Some(Some(zone)) => zone.instant(self.local),
            Some(None) => {
                if !matches!(otherwise, Zone::Custom(_)) {
                    losses
                        .add("start/timeZone", "this zone is not known, the event's own is taken");
                }
                otherwise.instant(self.local)
            }
        }
    }
}

/// The instant that a `dateTimeTimeZone` means; none where it is no time or its zone not known.
pub fn instant(time: &Value) -> Option<DateTime<Utc>> {
    let zone = time["timeZone"].as_str().filter(|name| !name.is_empty());
    let zone = zone.map_or(Some(Zone::Utc), Zone::named)?;
    Some(zone.instant(local(time["dateTime"].as_str()?)?))
}

/// Seven digits of a second's fraction are Graph's; a `Z` is tolerated.
fn local(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim_end_matches('Z');
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(whole_seconds)
}

/// A DateTimeOffset, cut to seconds. The year 1 is Graph's null (FACTS 8.9).
pub(super) fn offset_time(value: &Value) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?.to_utc();
    let known = time.naive_utc() > NaiveDate::from_ymd_opt(1, 1, 2)?.and_hms_opt(0, 0, 0)?;
    known.then(|| whole_seconds(time.naive_utc()).and_utc())
}

fn whole_seconds(time: NaiveDateTime) -> NaiveDateTime {
    use chrono::Timelike;
    time.with_nanosecond(0).unwrap_or(time)
}

/// The zone an event lives in: of its recurrence, else where it was made; rules without a name from
/// the extended properties; else the mailbox's.
pub(super) fn zone(event: &Value, mailbox: Option<&str>, losses: &mut Losses) -> Zone {
    let names = [
        &event["recurrence"]["range"]["recurrenceTimeZone"],
        &event["originalStartTimeZone"],
        &event["start"]["timeZone"],
    ];
    let mut names = names.into_iter().filter_map(Value::as_str).filter(|name| !name.is_empty());
    let Some(name) = names.next() else { return Zone::Utc };
    if let Some(zone) = Zone::named(name).or_else(|| custom(event)) {
        return zone;
    }
    losses.add("originalStartTimeZone", "this zone is not known, the mailbox's is taken");
    let mailbox = mailbox.and_then(Zone::named);
    mailbox.or_else(|| names.find_map(Zone::named)).unwrap_or(Zone::Utc)
}

/// Sets the times of an event in the zone it lives in, by a name that the service takes.
pub(super) fn set(event: &Value, kept: &mut Map<String, Value>) {
    let mut unheard = Losses::default();
    let home = home(event);
    let is_series = event["recurrence"].is_object();
    for (member, own) in [("start", "originalStartTimeZone"), ("end", "originalEndTimeZone")] {
        let Ok(time) = GraphTime::read(event, member) else { continue };
        let own = event[own].as_str().filter(|_| !is_series).and_then(known);
        let (zone, name) = own.as_ref().unwrap_or(&home);
        let clock = if event["isAllDay"] == true {
            // Days are days in any zone.
            (time.local.date().and_time(NaiveTime::MIN), name.as_str())
        } else {
            let instant = time.instant(zone, &mut unheard);
            match zone.local(instant) {
                local if is_series || zone.instant(local) == instant => (local, name.as_str()),
                // The second time that a clock shows it.
                _ => (instant.naive_utc(), "UTC"),
            }
        };
        let text = clock.0.format("%Y-%m-%dT%H:%M:%S.0000000").to_string();
        kept.insert(member.into(), json!({ "dateTime": text, "timeZone": clock.1 }));
        let is_moved = member == "start" && known_name(&event["recurrence"]).is_none();
        if is_series && is_moved {
            // Another zone may have another day.
            kept["recurrence"]["range"]["startDate"] = clock.0.date().to_string().into();
        }
    }
    if is_series {
        kept["recurrence"]["range"]["recurrenceTimeZone"] = home.1.into();
    }
}

/// The zone that an event lives in, with a name that the service takes.
fn home(event: &Value) -> (Zone, String) {
    let named = |zone: Zone| {
        let name = zone.exact_name().to_owned();
        (zone, name)
    };
    let names = [&event["originalStartTimeZone"], &event["start"]["timeZone"]];
    let by_name = || names.into_iter().filter_map(Value::as_str).find_map(known);
    let year = || event["start"]["dateTime"].as_str()?.get(..4)?.parse().ok();
    let alike = || match custom(event)? {
        Zone::Custom(rule) => Zone::like(&rule, year()?),
        zone => Some(zone),
    };
    let own = known_name(&event["recurrence"]).and_then(known);
    let own = own.or_else(|| event["originalStartTimeZone"].as_str().and_then(known));
    own.or_else(|| alike().map(named)).or_else(by_name).unwrap_or((Zone::Utc, "UTC".to_owned()))
}

fn known_name(recurrence: &Value) -> Option<&str> {
    recurrence["range"]["recurrenceTimeZone"].as_str().filter(|name| known(name).is_some())
}

/// A zone by its name, with the name as it was given.
fn known(name: &str) -> Option<(Zone, String)> {
    let zone = Zone::named(name)?;
    let name = if zone == Zone::Utc { "UTC" } else { name };
    Some((zone, name.to_owned()))
}

/// The rules in the first of [`ZONE_PROPERTIES`] that has some.
fn custom(event: &Value) -> Option<Zone> {
    let properties = event["singleValueExtendedProperties"].as_array()?;
    ZONE_PROPERTIES.iter().enumerate().find_map(|(number, wanted)| {
        let is_wanted = |property: &&Value| {
            property["id"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(wanted))
        };
        let bytes = properties.iter().find(is_wanted)?["value"].as_str()?;
        let bytes = BASE64.decode(bytes.as_bytes()).ok()?;
        let is_old_form = number == ZONE_PROPERTIES.len() - 1;
        let rule =
            if is_old_form { Rule::from_struct(&bytes) } else { Rule::from_definition(&bytes) };
        rule.map(Zone::Custom)
    })
}

/// Start and end of an event that is no series, or of the first occurrence of one.
pub(super) fn span(
    event: &Value,
    zone: &Zone,
    losses: &mut Losses,
) -> Result<(Moment, Moment), Error> {
    let start = GraphTime::read(event, "start")?;
    let end = GraphTime::read(event, "end")?;
    if event["isAllDay"].as_bool() == Some(true) {
        // Days are days in any zone: converting one would move it.
        let day = start.local.date();
        let next = day.succ_opt().ok_or(Error::Invalid { property: "start", why: "no time" })?;
        let end = end.local.date();
        if end <= day {
            losses.add("end", "before the start, a day is written");
        }
        return Ok((Moment::Day(day), Moment::Day(end.max(next))));
    }
    let start = start.instant(zone, losses);
    let end = end.instant(zone, losses);
    if end < start {
        losses.add("end", "before the start, the start is written");
    }
    let end_zone = event["originalEndTimeZone"].as_str().and_then(Zone::named);
    let same = event["originalStartTimeZone"] == event["originalEndTimeZone"];
    let is_series = event["recurrence"].is_object();
    let end_zone = end_zone.filter(|_| !same && !is_series).unwrap_or_else(|| zone.clone());
    Ok((Moment::at(start, zone), Moment::at(end.max(start), &end_zone)))
}
