//! Tasks of To Do as iCalendar's VTODO (RFC 5545, 3.6.2), one a file, and back (FACTS 3.8, 5.5, 8.4).
//!
//! Checklist, links and attachments stand within. What iCalendar has no property for stands in
//! lines and parameters of ours (`X-TAR365-…`); [`LOSSY`] is what does not come back.

use std::io::{self, Read, Write};

use calcard::icalendar::ICalendarComponentType;
use calcard::{Entry, Parser};
use serde_json::Value;

mod read;
mod times;
mod write;

use crate::ical::cut::{CutHead, cut};
use crate::loss::Losses;
use crate::{Error, Loss};

/// A task out of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    /// What to POST to make it.
    pub body: Value,
    /// What to POST to its `checklistItems`, in order.
    pub checklist: Vec<Value>,
    /// What to POST to its `linkedResources`, in order.
    pub links: Vec<Value>,
    /// Its attachments, in order.
    pub attachments: Vec<Attachment>,
    /// The lines of the file that a task has no place for.
    pub losses: Vec<Loss>,
}

/// An attachment in a file of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Which of the file's attachments it is, from 0.
    pub number: usize,
    /// Its name, empty if it has none.
    pub name: String,
    /// Its media type, empty if it is not known.
    pub content_type: String,
}

/// The properties of a task, its checklist items, links and attachments that do not come back from
/// its file, and why.
pub const LOSSY: &[(&str, &str)] = &[
    ("id", "made into the UID; a restored task gets a new one"),
    ("createdDateTime", "stands as CREATED; set by the service"),
    ("lastModifiedDateTime", "stands as LAST-MODIFIED and DTSTAMP; set by the service"),
    ("bodyLastModifiedDateTime", "set by the service"),
    ("hasAttachments", "set by the service"),
    ("extensions", "data of other applications, kept in the metadata only"),
    ("attachmentSessions", "uploads that have not ended are no part of a task"),
    ("checklistItems/id", "a restored item gets a new one"),
    ("checklistItems/createdDateTime", "set by the service"),
    ("linkedResources/id", "a restored link gets a new one"),
    ("attachments/id", "a restored attachment gets a new one"),
    ("attachments/size", "the bytes tell"),
    ("attachments/lastModifiedDateTime", "set by the service"),
];

/// Values of `importance`, and PRIORITY.
const IMPORTANCES: [(&str, &str); 3] = [("low", "9"), ("normal", "5"), ("high", "1")];

/// Values of `status`, and STATUS. Two have no counterpart: a line of ours beside it names them.
const STATUSES: [(&str, &str); 5] = [
    ("notStarted", "NEEDS-ACTION"),
    ("inProgress", "IN-PROCESS"),
    ("completed", "COMPLETED"),
    ("waitingOnOthers", "NEEDS-ACTION"),
    ("deferred", "NEEDS-ACTION"),
];

/// Lines of ours, each with JSON as its text: parts of a task that iCalendar has no property for.
const CHECKLIST_ITEM: &str = "X-TAR365-CHECKLIST-ITEM";
const LINKED_RESOURCE: &str = "X-TAR365-LINKED-RESOURCE";

/// Our last line of a task that lacks an attachment: who reads the file is told, and so is who takes
/// it from an earlier run.
const INCOMPLETE: &str = "X-TAR365-INCOMPLETE";

/// Our parameter of an attachment: a content type that is none.
const CONTENT_TYPE: &str = "X-TAR365-CONTENT-TYPE";

/// What is kept of a link.
const LINK: [&str; 4] = ["applicationName", "displayName", "externalId", "webUrl"];

/// JSON as the text of a line of ours. It has no backslashes (`~1`, and `~0` for `~`), as
/// servers that know no type for a line have been seen to halve them.
fn kept(json: &Value) -> String {
    json.to_string().replace('~', "~0").replace('\\', "~1")
}

/// What [`kept`] was given.
fn unkept(text: &str) -> Option<Value> {
    serde_json::from_str(&text.replace("~1", "\\").replace("~0", "~")).ok()
}

/// Writes the file of a task as the service gave it, with `checklistItems`, `linkedResources` and
/// the list of `attachments` in it. `attachment` gives the raw content of one of these, in their
/// order; an error of the kind `NotFound` is a loss, any other ends the conversion.
///
/// The bytes depend on the input alone. Returns what the file does not hold.
///
/// # Errors
/// [`Error::Io`] when `out` fails, [`Error::Attachment`] when a content does, [`Error::Shape`] if
/// the JSON has no id or a member of another type than documented.
pub fn write<'c>(
    task: &Value,
    out: &mut impl Write,
    attachment: impl FnMut(&Value) -> io::Result<Box<dyn Read + 'c>>,
) -> Result<Vec<Loss>, Error> {
    write::write(task, out, attachment)
}

/// Reads the tasks of a file. The content of each attachment is given to `attachment` as it streams
/// by, before it is known to which task it belongs: [`Task::attachments`] tells by the number.
///
/// # Errors
/// [`Error::Io`] when the input fails, [`Error::Attachment`] when `attachment` does or the content
/// is damaged, [`Error::TooLarge`], and [`Error::Invalid`] if there is no task in it.
pub fn read(
    input: &mut dyn Read,
    mut attachment: impl FnMut(&Attachment, &mut dyn Read) -> io::Result<()>,
) -> Result<Vec<Task>, Error> {
    let (text, heads, guessed) =
        cut(input, |number, head, content| attachment(&Attachment::of(number, head), content))?;
    let mut parser = Parser::new(&text);
    let mut tasks = Vec::new();
    let mut strays = Losses::default();
    loop {
        let calendar = match parser.entry() {
            Entry::ICalendar(calendar) => calendar,
            Entry::Eof => break,
            _ => {
                strays.add("VCALENDAR", "lines outside of a calendar");
                continue;
            }
        };
        for component in &calendar.components {
            match &component.component_type {
                ICalendarComponentType::VTodo if component.is_recurrence_override() => {
                    strays.add("VTODO/RECURRENCE-ID", "a series of tasks has no exceptions");
                }
                ICalendarComponentType::VTodo => {
                    tasks.push(read::todo(&calendar, component, &heads));
                }
                ICalendarComponentType::VCalendar => read::calendar(component, &mut strays),
                // Zones are known by their names; what is in a task is read with it.
                ICalendarComponentType::VTimezone
                | ICalendarComponentType::Standard
                | ICalendarComponentType::Daylight
                | ICalendarComponentType::VAlarm => {}
                other => strays.add(other.as_str(), "not a task"),
            }
        }
    }
    if guessed {
        strays.add("CHARSET", "not UTF-8, read as Windows-1252");
    }
    let last = tasks.last_mut().ok_or(Error::Invalid { property: "VTODO", why: "missing" })?;
    last.losses.extend(strays.into_vec());
    Ok(tasks)
}

impl Attachment {
    fn of(number: usize, head: &CutHead) -> Self {
        let first = |names: [&str; 2]| {
            let mut values = names.into_iter().filter_map(|name| head.parameter(name));
            values.next().unwrap_or_default().to_owned()
        };
        Self {
            number,
            name: first(["X-FILENAME", "FILENAME"]),
            content_type: first(["FMTTYPE", CONTENT_TYPE]),
        }
    }
}
