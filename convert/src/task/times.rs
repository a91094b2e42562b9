//! Times of tasks: `dateTimeTimeZone`, which for start and due mostly means a day.

use std::io::{self, Write};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use serde_json::{Value, json};

use crate::error::Error;
use crate::ical::head;
use crate::ical::vtimezone::stamp;
use crate::ical::zone::Zone;
use crate::json::{self, Object};
use crate::line::Lines;
use crate::loss::Losses;

/// Our parameter: what the service calls the zone, where that would not come back by itself.
pub(super) const ZONE: &str = "X-TAR365-ZONE";

/// A time as the service has it.
#[derive(Clone, Debug)]
pub(super) struct Time {
    local: NaiveDateTime,
    /// UTC where its name is not known.
    zone: Zone,
    name: String,
}

impl Time {
    /// Reads a property of a task.
    pub(super) fn of(
        task: &Object,
        property: &str,
        losses: &mut Losses,
    ) -> Result<Option<Self>, Error> {
        let Some(value) = json::inner(task, property)? else { return Ok(None) };
        let Some(text) = json::text(value, "dateTime")? else { return Ok(None) };
        let local =
            NaiveDateTime::parse_from_str(text.trim_end_matches('Z'), "%Y-%m-%dT%H:%M:%S%.f")
                .ok()
                .and_then(|local| local.with_nanosecond(0))
                .ok_or_else(|| Error::shape(property))?;
        let name = json::text(value, "timeZone")?.unwrap_or("UTC").to_owned();
        let zone = Zone::named(&name).unwrap_or_else(|| {
            losses.add(format!("{property}/timeZone"), "this zone is not known, UTC is taken");
            Zone::Utc
        });
        Ok(Some(Self { local, zone, name }))
    }

    /// A day.
    pub(super) fn day(date: NaiveDate) -> Self {
        Self { local: date.and_time(NaiveTime::MIN), zone: Zone::Utc, name: "UTC".to_owned() }
    }

    /// Whether no hour is said.
    pub(super) fn is_day(&self) -> bool {
        self.local.time() == NaiveTime::MIN
    }

    pub(super) fn date(&self) -> NaiveDate {
        self.local.date()
    }

    pub(super) fn zone(&self) -> &Zone {
        &self.zone
    }

    pub(super) fn instant(&self) -> DateTime<Utc> {
        self.zone.instant(self.local)
    }

    /// As UNTIL has it on another day: in UTC, or a date where DTSTART is one (RFC 5545, 3.3.10).
    pub(super) fn until(&self, day: NaiveDate, as_day: bool) -> String {
        if as_day {
            day.format("%Y%m%d").to_string()
        } else {
            utc(self.zone.instant(day.and_time(self.local.time())))
        }
    }

    /// A line with the time as a day, or as a time in its zone.
    pub(super) fn write<W: Write>(
        &self,
        lines: &mut Lines<'_, W>,
        name: &str,
        as_day: bool,
        implied: bool,
    ) -> io::Result<()> {
        let mut head = head(name);
        let id = self.zone.id();
        if as_day {
            head = head.param("VALUE", "DATE");
        } else if let Some(id) = &id {
            head = head.param("TZID", id);
        }
        let comes_back = if as_day { "UTC" } else { self.zone.graph_name() };
        if self.name != comes_back {
            head = head.param(ZONE, &self.name);
        }
        if implied {
            head = head.param(IMPLIED, "TRUE");
        }
        let value = match id {
            _ if as_day => self.local.format("%Y%m%d").to_string(),
            Some(_) => stamp(self.local),
            None => stamp(self.local) + "Z",
        };
        lines.raw(&head, &value)
    }

    /// A line with the time in UTC.
    pub(super) fn write_utc<W: Write>(
        &self,
        lines: &mut Lines<'_, W>,
        name: &str,
    ) -> io::Result<()> {
        let mut head = head(name);
        if self.name != "UTC" {
            head = head.param(ZONE, &self.name);
        }
        lines.raw(&head, &utc(self.instant()))
    }
}

/// Our parameter of a DTSTART that is there only because RRULE needs one.
pub(super) const IMPLIED: &str = "X-TAR365-IMPLIED";

/// An instant as DATE-TIME.
pub(super) fn utc(instant: DateTime<Utc>) -> String {
    stamp(instant.naive_utc()) + "Z"
}

/// A `dateTimeTimeZone` as the service writes it.
pub(super) fn graph(local: NaiveDateTime, zone: &str) -> Value {
    json!({"dateTime": local.format("%Y-%m-%dT%H:%M:%S.0000000").to_string(), "timeZone": zone})
}
