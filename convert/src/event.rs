//! Events as iCalendar (RFC 5545) and back. A series, with its exceptions and what was cancelled of
//! it, is one file, attachments within.
//!
//! What the file does not hold is returned as [`Loss`]; `doc/calendar.md` lists it. The service's
//! handles ([`HANDLES`]) and what it derives from other properties are no part of an event.

use std::io::{self, Read, Write};

use serde_json::Value;

mod alarm;
mod attachments;
mod component;
mod cut;
mod fields;
mod left;
mod occurrences;
mod parsed;
mod people;
mod places;
mod read;
mod reckon;
mod times;
mod uid;
mod write;
mod zones;

pub use crate::{Error, Loss};
pub use left::HANDLES;
pub use occurrences::{Occurrences, cancelled_day};
pub use read::{Attachment, Calendar, Exception, Series as ReadSeries, read, settable};
pub use reckon::reckoned;
pub use times::{ZONE_PROPERTIES, instant};

/// The extended property in which an import keeps, as JSON, what of an event it may not set again:
/// who was invited and what they answered, the meeting online.
pub const KEPT: &str = "String {00020329-0000-0000-C000-000000000046} Name tar365-event";

/// An event as the service gave it: a single one, or the master of a series with what belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// The event. `attachments`, where it has any, lists them by `id`, `@odata.type`, `name`,
    /// `contentType`, `isInline` and `contentId`; `singleValueExtendedProperties` should have
    /// [`ZONE_PROPERTIES`].
    pub event: &'a Value,
    /// The occurrences that differ, whole events each, with `originalStart` (FACTS 3.5); their
    /// attachments too are listed in them.
    pub exceptions: &'a [Value],
    /// The occurrences that were cancelled, as `cancelledOccurrences` has them: strings that end in
    /// the date.
    pub cancelled: &'a [Value],
    /// The zone of the mailbox (`mailboxSettings/timeZone`), for events whose own is not known.
    pub zone: Option<&'a str>,
}

impl<'a> Series<'a> {
    /// The series of an event that was asked for with `$expand=exceptionOccurrences` and
    /// `$select=cancelledOccurrences`.
    pub fn of(event: &'a Value, zone: Option<&'a str>) -> Self {
        let list = |name: &str| event[name].as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            event,
            exceptions: list("exceptionOccurrences"),
            cancelled: list("cancelledOccurrences"),
            zone,
        }
    }
}

/// One attachment whose content is wanted.
#[derive(Debug, Clone, Copy)]
pub struct AttachmentRef<'a> {
    /// The event it belongs to: the series' own or one of its exceptions.
    pub event: &'a Value,
    /// Its entry in the event's `attachments`.
    pub attachment: &'a Value,
}

/// Writes the file of an event. `attachment` gives the raw content of one, in the order of the file;
/// an error of the kind `NotFound` is a loss, any other ends the conversion.
///
/// The bytes depend on the input alone. Returns what the file does not hold.
///
/// # Errors
/// [`Error::Io`] when `out` fails, [`Error::Attachment`] when a content does,
/// [`Error::Invalid`] and [`Error::Shape`] when the event is none.
pub fn write<'c>(
    series: &Series<'_>,
    out: &mut impl Write,
    attachment: impl FnMut(AttachmentRef<'_>) -> io::Result<Box<dyn Read + 'c>>,
) -> Result<Vec<Loss>, Error> {
    write::write(series, out, attachment)
}
