//! When the occurrences of a series are, by its pattern alone: for services and clouds that tell an
//! occurrence by its instant, and what was cancelled by its day.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;

use super::times::{self, Moment};
use super::write::original;
use crate::ical::recurrence::Recurrence;
use crate::ical::zone::Zone;
use crate::loss::Losses;

/// The occurrences of a series, whether or not they were cancelled or changed.
#[derive(Debug, Clone)]
pub struct Occurrences {
    recurrence: Recurrence,
    /// The first, whose time of day all have.
    start: Moment,
    zone: Zone,
}

impl Occurrences {
    /// Those of an event; none if it is no series that can be walked.
    pub fn of(event: &Value) -> Option<Self> {
        let mut unheard = Losses::default();
        let recurrence = Recurrence::from_graph(event.get("recurrence")?).ok()?;
        let zone = times::zone(event, None, &mut unheard);
        let (start, _) = times::span(event, &zone, &mut unheard).ok()?;
        Some(Self { recurrence, start, zone })
    }

    /// Their days in the zone of the series, in order; there may be no end.
    pub fn days(&self) -> impl Iterator<Item = NaiveDate> {
        self.recurrence.dates()
    }

    /// The day after which there are none; none if there is no end.
    pub fn last_day(&self) -> Option<NaiveDate> {
        use crate::ical::recurrence::End;
        match self.recurrence.end {
            End::Never => None,
            End::On(day) => Some(day),
            End::After(_) => self.recurrence.dates().last(),
        }
    }

    /// When the occurrence of a day starts; midnight in UTC of one that takes whole days.
    pub fn instant(&self, day: NaiveDate) -> DateTime<Utc> {
        match self.start.on(day) {
            Moment::Day(day) => day.and_time(chrono::NaiveTime::MIN).and_utc(),
            Moment::Time(local, zone) => zone.instant(local),
        }
    }

    /// The day of the occurrence that `occurrence`, an event with `originalStart`, stands for.
    pub fn day_of(&self, occurrence: &Value) -> Option<NaiveDate> {
        original(occurrence, &self.start, &self.zone).map(|moment| moment.date())
    }
}

/// The day in the id of an occurrence, as `cancelledOccurrences` has them (FACTS 3.5).
pub fn cancelled_day(id: &Value) -> Option<NaiveDate> {
    super::write::occurrence_date(id)
}
