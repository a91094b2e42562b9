//! VTODO to task, with calcard.

use calcard::common::{IanaString, PartialDateTime};
use calcard::icalendar::{
    ICalendar, ICalendarComponent, ICalendarComponentType, ICalendarDuration, ICalendarEntry,
    ICalendarParameterName, ICalendarParameterValue, ICalendarRecurrenceRule, ICalendarRelated,
    ICalendarValue, Uri,
};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use serde_json::{Value, json};

use super::times::{IMPLIED, ZONE, graph};
use super::{
    Attachment, CHECKLIST_ITEM, IMPORTANCES, INCOMPLETE, LINK, LINKED_RESOURCE, STATUSES, Task,
};
use crate::ical::cut::{CUT, CutHead};
use crate::ical::recurrence::Recurrence;
use crate::ical::zone::Zone;
use crate::json::Object;
use crate::loss::Losses;

/// Reads a VTODO of a calendar.
pub(super) fn todo(
    calendar: &ICalendar,
    component: &ICalendarComponent,
    attachments: &[CutHead],
) -> Task {
    let mut reading = Reading { heads: attachments, ..Reading::default() };
    for entry in &component.entries {
        reading.line(entry);
    }
    reading.body_text();
    reading.state();
    reading.recur();
    let inner = component.component_ids.iter();
    for inner in inner.filter_map(|id| calendar.components.get(*id as usize)) {
        match inner.component_type {
            ICalendarComponentType::VAlarm => reading.alarm(inner),
            _ => reading.losses.add(inner.component_type.as_str(), "a task has no such part"),
        }
    }
    reading.finish()
}

/// Reads what a calendar says of all in it.
pub(super) fn calendar(component: &ICalendarComponent, losses: &mut Losses) {
    for entry in &component.entries {
        match entry.name.as_str() {
            "VERSION" | "PRODID" | "CALSCALE" => {}
            name => losses.add(format!("VCALENDAR/{name}"), "a task has no such property"),
        }
    }
}

/// A task that is being gathered.
#[derive(Default)]
struct Reading<'a> {
    /// Of all attachments of the file.
    heads: &'a [CutHead],
    attachments: Vec<Attachment>,
    body: Object,
    checklist: Vec<Value>,
    links: Vec<Value>,
    /// Addresses of ATTACH.
    addresses: Vec<String>,
    losses: Losses,
    start: Option<&'a ICalendarEntry>,
    rule: Option<&'a ICalendarRecurrenceRule>,
    kept_recurrence: Option<Value>,
    description: Option<String>,
    html: Option<String>,
    status: Option<String>,
    kept_status: Option<String>,
    percent: Option<i64>,
}

impl<'a> Reading<'a> {
    fn line(&mut self, entry: &'a ICalendarEntry) {
        let name = entry.name.as_str().to_ascii_uppercase();
        match name.as_str() {
            // About the file, or set by the service.
            "UID" | "DTSTAMP" | "CREATED" | "LAST-MODIFIED" | "SEQUENCE" | INCOMPLETE => {}
            "SUMMARY" => self.set(&name, "title", text(entry)),
            "DESCRIPTION" => self.description = Some(text(entry)),
            "X-ALT-DESC" if parameter(entry, "FMTTYPE").is_none_or(|kind| kind == "text/html") => {
                self.html = Some(text(entry));
            }
            "DTSTART" => {
                self.start = Some(entry);
                if parameter(entry, IMPLIED) != Some("TRUE") {
                    self.time(&name, "startDateTime", entry);
                }
            }
            "X-TAR365-START" => self.time(&name, "startDateTime", entry),
            "DUE" => self.time(&name, "dueDateTime", entry),
            "COMPLETED" => self.time(&name, "completedDateTime", entry),
            "X-TAR365-REMINDER" => self.time(&name, "reminderDateTime", entry),
            "PRIORITY" => self.priority(entry),
            "STATUS" => self.status = Some(text(entry).to_ascii_uppercase()),
            "X-TAR365-STATUS" => self.kept_status = Some(text(entry)),
            "PERCENT-COMPLETE" => match entry.values.first() {
                Some(ICalendarValue::Integer(percent)) => self.percent = Some(*percent),
                _ => self.losses.add(name, "not a number"),
            },
            "CATEGORIES" => {
                for category in entry.values.iter().map(value).filter(|text| !text.is_empty()) {
                    let list = self.body.entry("categories").or_insert_with(|| json!([]));
                    list.as_array_mut().into_iter().for_each(|list| list.push(json!(category)));
                }
            }
            "RRULE" if self.rule.is_none() => match entry.values.first() {
                Some(ICalendarValue::RecurrenceRule(rule)) => self.rule = Some(rule),
                _ => self.losses.add(name, "not a rule"),
            },
            "X-TAR365-RECURRENCE" => self.kept_recurrence = self.json(entry),
            CHECKLIST_ITEM => {
                let item = self.json(entry);
                self.checklist.extend(item.as_ref().and_then(Value::as_object).map(checklist_item));
            }
            LINKED_RESOURCE => {
                let link = self.json(entry);
                self.links.extend(link.as_ref().and_then(Value::as_object).map(linked_resource));
            }
            CUT => self.attachment(entry),
            "ATTACH" | "URL" => match entry.values.first() {
                Some(ICalendarValue::Uri(Uri::Location(url))) => self.addresses.push(url.clone()),
                _ => self.losses.add(name, "neither an address nor whole"),
            },
            _ => self.losses.add(name, "a task has no such property"),
        }
    }

    fn set(&mut self, line: &str, property: &str, value: String) {
        if value.is_empty() {
        } else if self.body.contains_key(property) {
            self.losses.add(line, "a task has only one");
        } else {
            self.body.insert(property.to_owned(), value.into());
        }
    }

    fn json(&mut self, entry: &ICalendarEntry) -> Option<Value> {
        let value = super::unkept(&text(entry));
        if value.is_none() {
            self.losses.add(entry.name.as_str(), "not the JSON that was written");
        }
        value
    }

    fn time(&mut self, line: &str, property: &str, entry: &ICalendarEntry) {
        let Some(time) = time(entry) else { return self.losses.add(line, "not a time") };
        let named = parameter(entry, ZONE);
        let (local, zone) = match (&time, named) {
            (Stamp::Day(day), named) => (day.and_time(NaiveTime::MIN), named.unwrap_or("UTC")),
            (Stamp::Utc(utc), None) => (*utc, "UTC"),
            (Stamp::Utc(utc), Some(name)) => match Zone::named(name) {
                Some(zone) => (zone.local(utc.and_utc()), name),
                None => (*utc, name),
            },
            (Stamp::Local(local, _), Some(name)) => (*local, name),
            (Stamp::Local(local, zone), None) => match zone.and_then(Zone::named) {
                Some(zone) => (*local, zone.graph_name()),
                None => {
                    self.losses.add(line, "its zone is not known, UTC is taken");
                    (*local, "UTC")
                }
            },
        };
        let value = graph(local, zone);
        if self.body.insert(property.to_owned(), value).is_some() {
            self.losses.add(line, "a task has only one");
        }
    }

    fn attachment(&mut self, entry: &ICalendarEntry) {
        let number = text(entry).parse().ok();
        let head = number.and_then(|number: usize| Some((number, self.heads.get(number)?)));
        match head {
            Some((number, head)) => self.attachments.push(Attachment::of(number, head)),
            None => self.losses.add(CUT, "a line of this program's own"),
        }
    }

    fn priority(&mut self, entry: &ICalendarEntry) {
        let Some(ICalendarValue::Integer(priority)) = entry.values.first() else {
            return self.losses.add("PRIORITY", "not a number");
        };
        // RFC 5545, 3.8.1.9: 1 to 4 is high, 5 is medium, 6 to 9 is low, 0 is none.
        let priority = match priority {
            1..=4 => "1",
            6..=9 => "9",
            _ => "5",
        };
        let importance = IMPORTANCES.iter().find(|(_, known)| *known == priority);
        self.body.extend(importance.map(|(name, _)| ("importance".to_owned(), json!(name))));
    }

    fn body_text(&mut self) {
        let (content, kind) = match (self.html.take(), self.description.take()) {
            (Some(html), _) if !html.is_empty() => (html, "html"),
            (_, Some(text)) if !text.is_empty() => (text, "text"),
            _ => return,
        };
        self.body.insert("body".to_owned(), json!({"content": content, "contentType": kind}));
    }

    fn state(&mut self) {
        let is_done = self.percent == Some(100) || self.body.contains_key("completedDateTime");
        let known = match self.status.as_deref() {
            None if is_done => Some("completed"),
            None if self.percent.is_some_and(|percent| percent > 0) => Some("inProgress"),
            None => None,
            Some(status) => {
                let known = STATUSES.iter().find(|(_, ical)| *ical == status);
                if known.is_none() {
                    self.losses.add("STATUS", "a value that a task does not have");
                }
                known.map(|(name, _)| *name)
            }
        };
        if self.percent.is_some_and(|percent| percent > 0 && percent < 100) {
            self.losses.add("PERCENT-COMPLETE", "a task is done or not");
        }
        // What we kept holds as long as nobody has gone on with the task.
        let status = match (known, self.kept_status.take()) {
            (Some("notStarted"), Some(kept)) => kept,
            (Some(known), _) => known.to_owned(),
            (None, _) => return,
        };
        self.body.insert("status".to_owned(), status.into());
    }

    fn recur(&mut self) {
        let kept = self.kept_recurrence.take();
        let Some(rule) = self.rule else {
            // It was not written as a rule; a rule that is gone was removed by somebody.
            if let Some(kept) = kept.filter(|kept| Recurrence::from_graph(kept).is_err()) {
                self.body.insert("recurrence".to_owned(), kept);
            }
            return;
        };
        let start = self.start.and_then(|start| Some((start, time(start)?)));
        let read = match &start {
            None => Err("it has no start"),
            Some((_, time)) => {
                Recurrence::from_rrule(rule, time.date(), |until| time.last_day(until))
            }
        };
        let before = kept.as_ref().and_then(|kept| Recurrence::from_graph(kept).ok());
        let recurrence = match (read, before, kept) {
            // Unchanged since it was written.
            (Ok(read), Some(before), Some(kept))
                if read == (Recurrence { start: read.start, ..before.clone() }) =>
            {
                kept
            }
            (Ok(read), ..) => read.to_graph(Some("UTC")),
            (Err(_), Some(_), Some(kept)) => kept,
            (Err(why), ..) => return self.losses.add("RRULE", why),
        };
        self.body.insert("recurrence".to_owned(), recurrence);
    }

    fn alarm(&mut self, alarm: &ICalendarComponent) {
        let named = |name: &str| alarm.entries.iter().find(|entry| is(entry, name));
        let Some(trigger) = named("TRIGGER") else {
            return self.losses.add("VALARM", "it has no time");
        };
        if self.body.contains_key("reminderDateTime") {
            return self.losses.add("VALARM", "a task has only one reminder");
        }
        match trigger.values.first() {
            Some(ICalendarValue::Duration(duration)) => {
                let from_end = trigger.params.iter().any(|param| {
                    param.value == ICalendarParameterValue::Related(ICalendarRelated::End)
                });
                let order = ["startDateTime", "dueDateTime"];
                let mut base = order.into_iter().filter(|name| !from_end || *name == order[1]);
                let Some(base) = base.find_map(|name| self.body.get(name)) else {
                    return self.losses.add("VALARM", "there is no time it refers to");
                };
                match before(base, duration) {
                    Some(time) => _ = self.body.insert("reminderDateTime".to_owned(), time),
                    None => return self.losses.add("VALARM", "it has no time"),
                }
            }
            _ => self.time("VALARM", "reminderDateTime", trigger),
        }
        if self.body.contains_key("reminderDateTime") {
            self.body.insert("isReminderOn".to_owned(), true.into());
        }
    }

    fn finish(mut self) -> Task {
        for url in self.addresses {
            if self.links.iter().all(|link| link["webUrl"] != *url) {
                self.links.push(json!({"webUrl": url}));
            }
        }
        Task {
            body: Value::Object(std::mem::take(&mut self.body)),
            checklist: self.checklist,
            links: self.links,
            attachments: self.attachments,
            losses: self.losses.into_vec(),
        }
    }
}

/// What to POST for an item of a checklist that was kept.
fn checklist_item(kept: &Object) -> Value {
    let mut item = Object::new();
    for name in ["displayName", "checkedDateTime"] {
        item.extend(kept.get(name).filter(|v| v.is_string()).map(|v| (name.to_owned(), v.clone())));
    }
    item.insert("isChecked".to_owned(), json!(kept.get("isChecked") == Some(&Value::Bool(true))));
    Value::Object(item)
}

/// What to POST for a link that was kept.
fn linked_resource(kept: &Object) -> Value {
    let members = LINK.iter().filter_map(|name| {
        kept.get(*name).filter(|value| value.is_string()).map(|v| ((*name).to_owned(), v.clone()))
    });
    Value::Object(members.collect())
}

/// A time as a file has it.
enum Stamp<'a> {
    Day(NaiveDate),
    Utc(NaiveDateTime),
    /// By the clock of a zone, if one is named.
    Local(NaiveDateTime, Option<&'a str>),
}

impl Stamp<'_> {
    fn date(&self) -> NaiveDate {
        match self {
            Self::Day(day) => *day,
            Self::Utc(time) | Self::Local(time, _) => time.date(),
        }
    }

    /// The day of UNTIL by the clock of this start.
    fn last_day(&self, until: &PartialDateTime) -> Option<NaiveDate> {
        let zone = match self {
            Self::Local(_, Some(zone)) => Zone::named(zone),
            _ => None,
        };
        match (naive(until)?, zone) {
            (last, Some(zone)) if until.has_zone() => Some(zone.local(last.and_utc()).date()),
            (last, _) => Some(last.date()),
        }
    }
}

fn time(entry: &ICalendarEntry) -> Option<Stamp<'_>> {
    let Some(ICalendarValue::PartialDateTime(time)) = entry.values.first() else { return None };
    let local = naive(time)?;
    Some(if !time.has_time() {
        Stamp::Day(local.date())
    } else if time.has_zone() {
        Stamp::Utc(local)
    } else {
        Stamp::Local(local, parameter(entry, "TZID"))
    })
}

/// Date and time of day, midnight if there is none.
fn naive(time: &PartialDateTime) -> Option<NaiveDateTime> {
    let date = NaiveDate::from_ymd_opt(time.year?.into(), time.month?.into(), time.day?.into())?;
    let part = |part: Option<u8>| part.unwrap_or(0).into();
    // A leap second is the last of its minute.
    date.and_hms_opt(part(time.hour), part(time.minute), part(time.second).min(59))
}

/// A time so long before or after a `dateTimeTimeZone` of ours.
fn before(base: &Value, duration: &ICalendarDuration) -> Option<Value> {
    let local = base["dateTime"].as_str()?;
    let local = NaiveDateTime::parse_from_str(local, "%Y-%m-%dT%H:%M:%S%.f").ok()?;
    let days = i64::from(duration.weeks) * 7 + i64::from(duration.days);
    let seconds = i64::from(duration.hours) * 3600
        + i64::from(duration.minutes) * 60
        + i64::from(duration.seconds);
    let length = TimeDelta::try_days(days)?.checked_add(&TimeDelta::try_seconds(seconds)?)?;
    let length = if duration.neg { -length } else { length };
    Some(graph(local.checked_add_signed(length)?, base["timeZone"].as_str()?))
}

fn is(entry: &ICalendarEntry, name: &str) -> bool {
    entry.name.as_str().eq_ignore_ascii_case(name)
}

fn parameter<'e>(entry: &'e ICalendarEntry, name: &str) -> Option<&'e str> {
    let mut params = entry.params.iter().filter(|param| match &param.name {
        ICalendarParameterName::Other(other) => other.eq_ignore_ascii_case(name),
        known => known.as_str() == name,
    });
    params.find_map(|param| match &param.value {
        ICalendarParameterValue::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The value of a line that has one text.
fn text(entry: &ICalendarEntry) -> String {
    entry.values.iter().map(value).collect::<Vec<_>>().join(";")
}

/// A value as text, with LF as the end of its lines.
fn value(value: &ICalendarValue) -> String {
    match value {
        ICalendarValue::Text(text) => text.replace("\r\n", "\n"),
        ICalendarValue::Status(status) => status.as_str().to_owned(),
        ICalendarValue::Integer(number) => number.to_string(),
        ICalendarValue::Uri(Uri::Location(uri)) => uri.clone(),
        _ => String::new(),
    }
}
