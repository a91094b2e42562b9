//! Task to VTODO.

use std::io::{self, Read, Write};

use chrono::{DateTime, Datelike, Utc};
use mail_parser::decoders::html::html_to_text;
use serde_json::{Value, json};

use super::times::{Time, utc};
use super::{IMPORTANCES, LOSSY, STATUSES};
use crate::error::Error;
use crate::ical::head;
use crate::ical::recurrence::{End, Recurrence};
use crate::identity;
use crate::json::{self, Object};
use crate::line::{Lines, has_controls, tidy};
use crate::loss::{Loss, Losses};

/// Names no version: the same task has the same bytes after an update.
const PRODUCT: &str = "-//tar365//tar365//EN";
/// Years a zone is written for: before the task, after it, and where a series has no end.
const YEARS_BEFORE: i32 = 1;
const YEARS_AFTER: i32 = 12;
const YEARS_OPEN: i32 = 30;
/// The properties of a task that are written, beside those in [`LOSSY`].
const WRITTEN: [&str; 14] = [
    "attachments",
    "body",
    "categories",
    "checklistItems",
    "completedDateTime",
    "dueDateTime",
    "importance",
    "isReminderOn",
    "linkedResources",
    "recurrence",
    "reminderDateTime",
    "startDateTime",
    "status",
    "title",
];

pub(super) fn write<'c>(
    task: &Value,
    out: &mut impl Write,
    attachment: impl FnMut(&Value) -> io::Result<Box<dyn Read + 'c>>,
) -> Result<Vec<Loss>, Error> {
    let task = json::object(task)?;
    let mut losses = Losses::default();
    unknown(task, &mut losses);
    let schedule = Schedule::of(task, &mut losses)?;
    let mut todo = Todo { lines: Lines::new(out), task, losses, is_incomplete: false };
    todo.lines.raw("BEGIN", "VCALENDAR")?;
    todo.lines.raw("VERSION", "2.0")?;
    todo.lines.raw("PRODID", PRODUCT)?;
    schedule.write_zones(&mut todo.lines)?;
    todo.lines.raw("BEGIN", "VTODO")?;
    todo.stamps()?;
    schedule.write(&mut todo.lines)?;
    todo.text()?;
    todo.state()?;
    todo.checklist()?;
    todo.links()?;
    todo.attachments(attachment)?;
    todo.reminder()?;
    if todo.is_incomplete {
        todo.lines.raw(super::INCOMPLETE, "TRUE")?;
    }
    todo.lines.raw("END", "VTODO")?;
    todo.lines.raw("END", "VCALENDAR")?;
    Ok(todo.losses.into_vec())
}

/// When a task is to be done.
struct Schedule {
    /// DTSTART, and whether only RRULE needs it.
    start: Option<(Time, bool)>,
    /// A start that can't be DTSTART, as it is after DUE.
    misplaced: Option<Time>,
    due: Option<Time>,
    /// DTSTART and DUE are both days or both times (RFC 5545, 3.8.2.3).
    as_days: bool,
    rule: Option<Rule>,
}

/// A recurrence.
struct Rule {
    /// The value of RRULE, where there can be one.
    rrule: Option<String>,
    /// The service's JSON, where it would not come back from RRULE.
    json: Option<String>,
    /// The year after which there is no occurrence.
    last: Option<i32>,
}

impl Schedule {
    fn of(task: &Object, losses: &mut Losses) -> Result<Self, Error> {
        let start = Time::of(task, "startDateTime", losses)?;
        let due = Time::of(task, "dueDateTime", losses)?;
        let as_days = [&start, &due].into_iter().flatten().all(Time::is_day);
        let is_late = |start: &Time| {
            due.as_ref().is_some_and(|due| match as_days {
                true => start.date() > due.date(),
                false => start.instant() > due.instant(),
            })
        };
        let (misplaced, start) = match start {
            Some(start) if is_late(&start) => (Some(start), None),
            start => (None, start),
        };
        let mut schedule =
            Self { start: start.map(|start| (start, false)), misplaced, due, as_days, rule: None };
        if let Some(recurrence) = json::inner(task, "recurrence")? {
            schedule.recur(&Value::Object(recurrence.clone()), losses);
        }
        Ok(schedule)
    }

    /// RRULE counts from DTSTART, so there must be one: the due time, else the first day.
    fn recur(&mut self, json: &Value, losses: &mut Losses) {
        let recurrence = match Recurrence::from_graph(json) {
            Ok(recurrence) => recurrence,
            Err(why) => {
                losses.add("recurrence", why);
                self.rule = Some(Rule { rrule: None, json: Some(super::kept(json)), last: None });
                return;
            }
        };
        let implied = || {
            let first = self.due.clone();
            let first = first.or_else(|| recurrence.dates().next().map(Time::day));
            first.map(|first| (first, true))
        };
        let Some((start, implied)) = self.start.take().or_else(implied) else {
            return losses.add("recurrence", "it ends before its first occurrence");
        };
        let zone = json["range"]["recurrenceTimeZone"].as_str().unwrap_or_default();
        let zone = if zone.is_empty() { "UTC" } else { zone };
        let from_rule = Recurrence { start: start.date(), ..recurrence.clone() };
        let comes_back = from_rule == recurrence
            && zone == "UTC"
            && from_rule.dates().next() == Some(start.date());
        let rrule = recurrence.rrule(|day| start.until(day, self.as_days));
        let last = match recurrence.end {
            End::Never => None,
            End::On(day) => Some(day),
            End::After(_) => from_rule.dates().last(),
        };
        self.rule = Some(Rule {
            rrule: Some(rrule),
            json: (!comes_back).then(|| super::kept(&recurrence.to_graph(Some(zone)))),
            last: last.map(|day| day.year()),
        });
        self.start = Some((start, implied));
    }

    fn write_zones<W: Write>(&self, lines: &mut Lines<'_, W>) -> io::Result<()> {
        let start = self.start.as_ref().map(|(start, _)| start);
        let mut written = Vec::new();
        for time in [start, self.misplaced.as_ref(), self.due.as_ref()].into_iter().flatten() {
            if self.as_days || written.contains(time.zone()) {
                continue;
            }
            let year = time.date().year();
            let last = match &self.rule {
                None => year,
                Some(rule) => rule.last.unwrap_or(year + YEARS_OPEN),
            };
            let last = (last + 1).max(year + YEARS_AFTER);
            time.zone().write(lines, year - YEARS_BEFORE..=last)?;
            written.push(time.zone().clone());
        }
        Ok(())
    }

    fn write<W: Write>(&self, lines: &mut Lines<'_, W>) -> io::Result<()> {
        if let Some((start, implied)) = &self.start {
            start.write(lines, "DTSTART", self.as_days, *implied)?;
        }
        if let Some(start) = &self.misplaced {
            // Readers take a line they do not know for a text.
            let head =
                if self.as_days { "X-TAR365-START" } else { "X-TAR365-START;VALUE=DATE-TIME" };
            start.write(lines, head, self.as_days, false)?;
        }
        if let Some(due) = &self.due {
            due.write(lines, "DUE", self.as_days, false)?;
        }
        if let Some(rule) = &self.rule {
            if let Some(rrule) = &rule.rrule {
                lines.raw("RRULE", rrule)?;
            }
            if let Some(json) = &rule.json {
                lines.text("X-TAR365-RECURRENCE", json)?;
            }
        }
        Ok(())
    }
}

/// A task that is being written.
struct Todo<'a, W: Write> {
    lines: Lines<'a, W>,
    task: &'a Object,
    losses: Losses,
    /// An attachment is missing.
    is_incomplete: bool,
}

impl<W: Write> Todo<'_, W> {
    fn stamps(&mut self) -> Result<(), Error> {
        self.lines.raw("UID", &identity::uuid(json::required(self.task, "id")?))?;
        let created = instant(self.task, "createdDateTime")?;
        let modified = instant(self.task, "lastModifiedDateTime")?;
        // Required (RFC 5545, 3.6.2), and a clock would make other bytes of the same task.
        let stamp = modified.as_ref().or(created.as_ref());
        self.lines.raw("DTSTAMP", stamp.map_or("19700101T000000Z", String::as_str))?;
        if let Some(created) = &created {
            self.lines.raw("CREATED", created)?;
        }
        if let Some(modified) = &modified {
            self.lines.raw("LAST-MODIFIED", modified)?;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<(), Error> {
        if let Some(title) = json::text(self.task, "title")? {
            self.lines.text("SUMMARY", title)?;
        }
        if let Some(body) = json::inner(self.task, "body")? {
            let kind = json::text(body, "contentType")?.unwrap_or("text");
            match json::text(body, "content")? {
                None => {}
                Some(html) if kind.eq_ignore_ascii_case("html") => {
                    let text = html_to_text(html);
                    if !text.trim().is_empty() {
                        self.lines.text("DESCRIPTION", text.trim())?;
                    }
                    self.lines.text("X-ALT-DESC;FMTTYPE=text/html", html)?;
                }
                Some(text) => self.lines.text("DESCRIPTION", text)?,
            }
        }
        let mut categories = Vec::new();
        for category in json::texts(self.task, "categories")? {
            let category = tidy(category, "categories", &mut self.losses);
            if !category.is_empty() {
                categories.push(category);
            }
        }
        if !categories.is_empty() {
            let categories: Vec<_> = categories.iter().map(String::as_str).collect();
            self.lines.texts("CATEGORIES", ",", &categories)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<(), Error> {
        if let Some(importance) = json::text(self.task, "importance")? {
            match IMPORTANCES.iter().find(|(known, _)| *known == importance) {
                Some((_, priority)) => self.lines.raw("PRIORITY", priority)?,
                None => self.losses.add("importance", "a value that is not known"),
            }
        }
        if let Some(status) = json::text(self.task, "status")? {
            let known = STATUSES.iter().find(|(known, _)| *known == status);
            let ical = known.map_or("NEEDS-ACTION", |(_, ical)| ical);
            self.lines.raw("STATUS", ical)?;
            if ical == "COMPLETED" {
                self.lines.raw("PERCENT-COMPLETE", "100")?;
            }
            // The first of a name is what it means without more.
            if STATUSES.iter().find(|(_, other)| *other == ical) != known || known.is_none() {
                self.lines.text("X-TAR365-STATUS", status)?;
            }
        }
        if let Some(completed) = Time::of(self.task, "completedDateTime", &mut self.losses)? {
            completed.write_utc(&mut self.lines, "COMPLETED")?;
        }
        Ok(())
    }

    /// iCalendar's nearest, a VTODO for each item, would be other items to every CalDAV server
    /// (RFC 4791, 4.1: one UID a file).
    fn checklist(&mut self) -> Result<(), Error> {
        for item in json::objects(self.task, "checklistItems")? {
            let kept = json!({
                "checkedDateTime": json::text(item, "checkedDateTime")?,
                "displayName": json::text(item, "displayName")?,
                "isChecked": json::flag(item, "isChecked")?,
            });
            self.lines.text(super::CHECKLIST_ITEM, &super::kept(&kept))?;
        }
        Ok(())
    }

    /// The address as every program shows it, and all of the link in a line of ours.
    fn links(&mut self) -> Result<(), Error> {
        for link in json::objects(self.task, "linkedResources")? {
            let mut kept = Object::new();
            for member in super::LINK {
                if let Some(text) = json::text(link, member)? {
                    kept.insert(member.to_owned(), text.into());
                }
            }
            let url = json::text(link, "webUrl")?.unwrap_or_default();
            if is_url(url) {
                self.lines.raw("ATTACH", url)?;
            }
            self.lines.text(super::LINKED_RESOURCE, &super::kept(&Value::Object(kept)))?;
        }
        Ok(())
    }

    fn attachments<'c>(
        &mut self,
        mut content: impl FnMut(&Value) -> io::Result<Box<dyn Read + 'c>>,
    ) -> Result<(), Error> {
        let list = self.task.get("attachments").and_then(Value::as_array);
        for attachment in list.into_iter().flatten() {
            let members = json::object(attachment)?;
            let name = json::text(members, "name")?.unwrap_or_default();
            let failed = |source| Error::Attachment { name: name.to_owned(), source };
            let mut bytes = match content(attachment) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.losses.add("attachments", "the service no longer has its content");
                    self.is_incomplete = true;
                    continue;
                }
                Err(error) => return Err(failed(error)),
            };
            let kind = json::text(members, "contentType")?.unwrap_or_default();
            let mut head = head("ATTACH").param("ENCODING", "BASE64").param("VALUE", "BINARY");
            if is_media_type(kind) {
                head = head.param("FMTTYPE", kind);
            } else if !kind.is_empty() {
                head = head.param(super::CONTENT_TYPE, kind);
            }
            if !name.is_empty() {
                head = head.param("X-FILENAME", name);
            }
            self.lines.base64(&head, "", &mut *bytes).map_err(failed)?;
        }
        Ok(())
    }

    fn reminder(&mut self) -> Result<(), Error> {
        let on = json::flag(self.task, "isReminderOn")?;
        match Time::of(self.task, "reminderDateTime", &mut self.losses)? {
            Some(time) if on => {
                self.lines.raw("BEGIN", "VALARM")?;
                self.lines.raw("ACTION", "DISPLAY")?;
                // Required of what is displayed (RFC 5545, 3.6.6); the same word as Exchange's.
                self.lines.raw("DESCRIPTION", "REMINDER")?;
                time.write_utc(&mut self.lines, "TRIGGER;VALUE=DATE-TIME")?;
                self.lines.raw("END", "VALARM")?;
            }
            Some(time) => time.write_utc(&mut self.lines, "X-TAR365-REMINDER;VALUE=DATE-TIME")?,
            None if on => self.losses.add("isReminderOn", "there is no time to remind at"),
            None => {}
        }
        Ok(())
    }
}

/// A DateTimeOffset in whole seconds of UTC; the year 1 is Graph's null (FACTS 8.9).
fn instant(task: &Object, name: &str) -> Result<Option<String>, Error> {
    let Some(text) = json::text(task, name)? else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| Error::shape(name))?;
    let time = time.with_timezone(&Utc);
    Ok((time.year() > 1).then(|| utc(time)))
}

/// What may stand where readers expect a URI.
fn is_url(text: &str) -> bool {
    let whole = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\');
    whole && text.contains(':') && !text.starts_with("data:")
}

/// What may stand in FMTTYPE (RFC 5545, 3.2.8).
fn is_media_type(kind: &str) -> bool {
    kind.matches('/').count() == 1
        && kind.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&.+-^_/".contains(c))
        && !kind.contains('^')
}

/// What we do not know or what no line holds.
fn unknown(task: &Object, losses: &mut Losses) {
    for (name, value) in task.iter().filter(|(_, value)| json::says_something(value)) {
        if WRITTEN.contains(&name.as_str()) {
            if json::any_text(value, &has_controls) {
                losses.add(name, "control characters were left out");
            }
        } else if name == "extensions" {
            losses.add(name, "kept in the metadata only");
        } else if !name.contains('@') && !LOSSY.iter().any(|(lossy, _)| lossy == name) {
            losses.add(name, "a property that a task's file has no line for");
        }
    }
}
