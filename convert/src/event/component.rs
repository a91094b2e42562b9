//! A VEVENT.

use std::io::{self, Read, Write};

use chrono::NaiveDate;
use mail_parser::decoders::html::html_to_text;
use serde_json::Value;

use super::times::{Moment, offset_time};
use super::{AttachmentRef, Error, attachments, left, people, places};
use crate::ical::head;
use crate::ical::vtimezone::stamp;
use crate::line::{Lines, has_controls};
use crate::loss::Losses;

/// An event on its way into the file.
pub(super) struct Component<'a> {
    pub(super) event: &'a Value,
    pub(super) uid: String,
    pub(super) instance: Instance,
    pub(super) start: Moment,
    pub(super) end: Moment,
    /// The RRULE of a master.
    pub(super) rule: Option<String>,
    /// Starts of occurrences there are none of.
    pub(super) cancelled: Vec<Moment>,
    /// The last year with an occurrence, of a master.
    pub(super) last_year: Option<i32>,
}

pub(super) enum Instance {
    Single,
    Master,
    /// Instead of the occurrence at this time.
    Exception(Moment),
}

impl Component<'_> {
    /// The day of the occurrence an exception stands for.
    pub(super) fn original(&self) -> Option<NaiveDate> {
        match &self.instance {
            Instance::Exception(original) => Some(original.date()),
            Instance::Single | Instance::Master => None,
        }
    }
}

/// Values of Graph beside those of iCalendar.
pub(super) const CLASSES: [(&str, &str); 4] = [
    ("normal", "PUBLIC"),
    ("personal", "X-PERSONAL"),
    ("private", "PRIVATE"),
    ("confidential", "CONFIDENTIAL"),
];
/// Importance, PRIORITY, X-MICROSOFT-CDO-IMPORTANCE.
pub(super) const IMPORTANCES: [(&str, &str, &str); 3] =
    [("low", "9", "0"), ("normal", "5", "1"), ("high", "1", "2")];
/// `showAs`, X-MICROSOFT-CDO-BUSYSTATUS. Nobody but `free` is TRANSPARENT.
pub(super) const BUSY: [(&str, &str); 5] = [
    ("free", "FREE"),
    ("tentative", "TENTATIVE"),
    ("busy", "BUSY"),
    ("oof", "OOF"),
    ("workingElsewhere", "WORKINGELSEWHERE"),
];

pub(super) fn write<'c, W: Write>(
    component: &Component<'_>,
    lines: &mut Lines<'_, W>,
    attachment: &mut impl FnMut(AttachmentRef<'_>) -> io::Result<Box<dyn Read + 'c>>,
    losses: &mut Losses,
) -> Result<(), Error> {
    let event = component.event;
    lines.raw("BEGIN", "VEVENT")?;
    write_times(component, lines)?;
    write_text(event, lines, losses)?;
    places::write(event, lines, losses)?;
    write_marks(component, lines, losses)?;
    if let Some(url) = left::join_url(event) {
        // A URI has no spaces; the service's have none either.
        if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            losses.add("onlineMeeting/joinUrl", "it is no address");
        } else {
            let conference = head("CONFERENCE").param("VALUE", "URI").param("FEATURE", "AUDIO");
            lines.raw(&conference, url)?;
            lines.text("X-MICROSOFT-SKYPETEAMSMEETINGURL", url)?;
        }
    }
    people::write(event, lines, losses)?;
    attachments::write(event, lines, attachment, losses)?;
    if event["isReminderOn"] == true {
        let minutes = event["reminderMinutesBeforeStart"].as_i64().unwrap_or(0);
        write_alarm(minutes, lines)?;
    }
    lines.raw("END", "VEVENT")?;
    Ok(())
}

fn write_times<W: Write>(component: &Component<'_>, lines: &mut Lines<'_, W>) -> io::Result<()> {
    let event = component.event;
    lines.text("UID", &component.uid)?;
    if let Instance::Exception(original) = &component.instance {
        original.write(lines, "RECURRENCE-ID")?;
    }
    let time = |name: &str| offset_time(&event[name]).map(|time| stamp(time.naive_utc()) + "Z");
    let modified = time("lastModifiedDateTime");
    let created = time("createdDateTime");
    // Required (RFC 5545, 3.6.1), and a clock would make other bytes of the same event.
    let stamp = modified.as_deref().or(created.as_deref()).unwrap_or("19700101T000000Z");
    lines.raw("DTSTAMP", stamp)?;
    component.start.write(lines, "DTSTART")?;
    // An event without length has none: DTEND must be later than DTSTART (RFC 5545, 3.8.2.2).
    if component.end != component.start {
        component.end.write(lines, "DTEND")?;
    }
    if let Some(rule) = &component.rule {
        lines.raw("RRULE", rule)?;
    }
    for start in &component.cancelled {
        start.write(lines, "EXDATE")?;
    }
    if let Some(created) = &created {
        lines.raw("CREATED", created)?;
    }
    if let Some(modified) = &modified {
        lines.raw("LAST-MODIFIED", modified)?;
    }
    Ok(())
}

fn write_text<W: Write>(
    event: &Value,
    lines: &mut Lines<'_, W>,
    losses: &mut Losses,
) -> io::Result<()> {
    let subject = event["subject"].as_str().unwrap_or_default();
    let content = event["body"]["content"].as_str().unwrap_or_default();
    for (name, text) in [("subject", subject), ("body/content", content)] {
        if has_controls(text) {
            losses.add(name, "control characters are left out");
        }
    }
    if !subject.is_empty() {
        lines.text("SUMMARY", subject)?;
    }
    if !content.is_empty() {
        let kind = event["body"]["contentType"].as_str().unwrap_or("text");
        if kind.eq_ignore_ascii_case("html") {
            let text = html_to_text(content);
            if !text.trim().is_empty() {
                lines.text("DESCRIPTION", text.trim())?;
            }
            lines.text(&head("X-ALT-DESC").param("FMTTYPE", "text/html"), content)?;
        } else {
            lines.text("DESCRIPTION", content)?;
        }
    }
    let categories = event["categories"].as_array().into_iter().flatten();
    let given: Vec<&str> = categories.filter_map(Value::as_str).collect();
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Readers of lists pass over spaces around an entry, and take several for one.
    if given.iter().any(|category| plain(category) != *category) {
        losses.add("categories", "more than one space, or one around it, is left out");
    }
    let categories: Vec<String> = given.into_iter().map(plain).collect();
    let categories: Vec<&str> =
        categories.iter().map(String::as_str).filter(|category| !category.is_empty()).collect();
    if !categories.is_empty() {
        lines.texts("CATEGORIES", ",", &categories)?;
    }
    Ok(())
}

fn write_marks<W: Write>(
    component: &Component<'_>,
    lines: &mut Lines<'_, W>,
    losses: &mut Losses,
) -> io::Result<()> {
    let event = component.event;
    if let Some(sensitivity) = event["sensitivity"].as_str() {
        match CLASSES.iter().find(|known| known.0 == sensitivity) {
            Some(known) => lines.raw("CLASS", known.1)?,
            None => losses.add("sensitivity", "a value that is not known"),
        }
    }
    if let Some(importance) = event["importance"].as_str() {
        match IMPORTANCES.iter().find(|known| known.0 == importance) {
            Some(known) => {
                lines.raw("PRIORITY", known.1)?;
                lines.raw("X-MICROSOFT-CDO-IMPORTANCE", known.2)?;
            }
            None => losses.add("importance", "a value that is not known"),
        }
    }
    let response = event["responseStatus"]["response"].as_str();
    let status = match (event["isCancelled"] == true, response) {
        (true, _) => "CANCELLED",
        (false, Some("tentativelyAccepted")) => "TENTATIVE",
        (false, _) => "CONFIRMED",
    };
    lines.raw("STATUS", status)?;
    if let Some(show_as) = event["showAs"].as_str() {
        match BUSY.iter().find(|known| known.0 == show_as) {
            Some(known) => {
                let transparent = known.1 == "FREE";
                lines.raw("TRANSP", if transparent { "TRANSPARENT" } else { "OPAQUE" })?;
                lines.raw("X-MICROSOFT-CDO-BUSYSTATUS", known.1)?;
            }
            None => losses.add("showAs", "a value iCalendar does not have"),
        }
    }
    let all_day = matches!(component.start, Moment::Day(_));
    lines.raw("X-MICROSOFT-CDO-ALLDAYEVENT", if all_day { "TRUE" } else { "FALSE" })?;
    let kind = match component.instance {
        Instance::Single => "0",
        Instance::Master => "1",
        Instance::Exception(_) => "3",
    };
    lines.raw("X-MICROSOFT-CDO-INSTTYPE", kind)?;
    if let Some(allowed) = event["allowNewTimeProposals"].as_bool() {
        let value = if allowed { "FALSE" } else { "TRUE" };
        lines.raw("X-MICROSOFT-DISALLOW-COUNTER", value)?;
    }
    Ok(())
}

fn write_alarm<W: Write>(minutes: i64, lines: &mut Lines<'_, W>) -> io::Result<()> {
    lines.raw("BEGIN", "VALARM")?;
    lines.raw("ACTION", "DISPLAY")?;
    // Required of what is displayed (RFC 5545, 3.6.6); the same word as Exchange's.
    lines.raw("DESCRIPTION", "REMINDER")?;
    let sign = if minutes < 0 { "" } else { "-" };
    let trigger = format!("{sign}PT{}M", minutes.unsigned_abs());
    lines.raw(&head("TRIGGER").param("RELATED", "START"), &trigger)?;
    lines.raw("END", "VALARM")
}
