//! VALARM as Graph's one reminder, which is minutes before the start.

use calcard::icalendar::{
    ICalendar, ICalendarComponent, ICalendarComponentType, ICalendarEntry, ICalendarValue,
};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::parsed::{Taken, Time, parameter};
use crate::loss::Losses;

/// Reads the components within an event. The first alarm that Graph could give is the reminder.
pub(super) fn read(
    calendar: &ICalendar,
    event: &ICalendarComponent,
    start: &DateTime<Utc>,
    into: &mut Map<String, Value>,
    losses: &mut Losses,
) {
    let mut reminder = None;
    for part in event.component_ids.iter().filter_map(|id| calendar.component_by_id(*id)) {
        if part.component_type != ICalendarComponentType::VAlarm {
            losses
                .add(format!("VEVENT/{}", part.component_type.as_str()), "Graph has no such part");
            continue;
        }
        let mut taken = Taken::new(part);
        let action = taken.text("ACTION", losses).unwrap_or_default().to_ascii_uppercase();
        let trigger = taken.one("TRIGGER", losses);
        taken.all("DESCRIPTION");
        if !matches!(action.as_str(), "DISPLAY" | "AUDIO" | "") {
            losses.add("VALARM/ACTION", "Graph's reminders are displayed");
            continue;
        }
        taken.rest("VALARM", losses);
        match trigger.and_then(|trigger| seconds_before(trigger, start)) {
            Some(seconds) if seconds >= 0 && reminder.is_none() => {
                if seconds % 60 != 0 {
                    losses.add("VALARM/TRIGGER", "Graph has no seconds");
                }
                reminder = Some(seconds / 60);
            }
            Some(_) if reminder.is_some() => losses.add("VALARM", "Graph has one reminder"),
            _ => losses.add("VALARM/TRIGGER", "Graph's reminders come before the start"),
        }
    }
    into.insert("isReminderOn".into(), reminder.is_some().into());
    if let Some(minutes) = reminder {
        into.insert("reminderMinutesBeforeStart".into(), minutes.into());
    }
}

fn seconds_before(trigger: &ICalendarEntry, start: &DateTime<Utc>) -> Option<i64> {
    let by_end = parameter(trigger, "RELATED").is_some_and(|to| to.eq_ignore_ascii_case("END"));
    match trigger.values.first()? {
        ICalendarValue::Duration(_) if by_end => None,
        ICalendarValue::Duration(length) => length.as_seconds().checked_neg(),
        ICalendarValue::PartialDateTime(time) => match Time::of(time)? {
            Time::Utc(time) => Some((*start - time.and_utc()).num_seconds()),
            Time::Local(_) | Time::Day(_) => None,
        },
        _ => None,
    }
}
