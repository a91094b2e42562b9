//! A file as Graph's events.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};

use calcard::icalendar::{ICalendar, ICalendarComponent, ICalendarComponentType};
use calcard::{Entry, Parser};
use chrono::NaiveDate;
use serde_json::{Map, Value, json};

use super::cut::{self, Cut};
use super::fields::Fields;
use super::parsed::{self, Taken};
use super::times;
use super::zones::Zones;
use super::{Error, Loss};
use crate::ical::zone::Zone;
use crate::loss::Losses;

/// What a file holds.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Calendar {
    /// The name of the calendar (`X-WR-CALNAME`), if the file says.
    pub name: Option<String>,
    /// Its events in the order of the file, what belongs to a series together.
    pub series: Vec<Series>,
    /// What of the file is not in them.
    pub losses: Vec<Loss>,
}

/// A single event or a series.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Series {
    /// The UID; `iCalUId` of the event is the same.
    pub uid: String,
    /// The event, or the master, in the form of Graph's, with members that cannot be set:
    /// [`settable`] leaves them out.
    pub event: Value,
    /// Its attachments.
    pub attachments: Vec<Attachment>,
    /// The occurrences that differ.
    pub exceptions: Vec<Exception>,
    /// The days, in the zone of the recurrence, of occurrences that were cancelled.
    pub cancelled: Vec<NaiveDate>,
}

/// An occurrence that differs from its series.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Exception {
    /// The day of the occurrence, in the zone of the recurrence.
    pub original: NaiveDate,
    /// The whole event; `originalStart` has the instant.
    pub event: Value,
    /// Its attachments.
    pub attachments: Vec<Attachment>,
}

/// An attachment of an event that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attachment {
    /// The number that the sink of [`read`] was asked with.
    pub number: usize,
    /// Its members as Graph has them: `@odata.type`, `name`, `contentType`, `isInline`, `contentId`.
    pub json: Value,
    /// Bytes.
    pub size: u64,
}

/// Reads a file of ours or of anybody. `sink` gives, for the number of an attachment, where its
/// bytes go. Times without a zone are taken to be in `zone` (a name of Windows or IANA), else in UTC.
///
/// Nothing is dropped in silence: what Graph cannot hold is in [`Calendar::losses`].
///
/// # Errors
/// [`Error::Io`] when `input` fails, [`Error::Attachment`] when a sink does, [`Error::TooLarge`] for
/// more text than can be held. A file that is no calendar has no events, and losses.
pub fn read<'w>(
    input: impl Read,
    zone: Option<&str>,
    mut sink: impl FnMut(usize) -> io::Result<Box<dyn Write + 'w>>,
) -> Result<Calendar, Error> {
    let mut losses = Losses::default();
    let Cut { text, lines, mut sizes } = cut::cut(input, &mut sink, &mut losses)?;
    let mut read = Calendar::default();
    let mut parsed = 0;
    let mut parser = Parser::new(&text);
    loop {
        match parser.entry() {
            Entry::ICalendar(calendar) => {
                let entries = |component: &ICalendarComponent| component.entries.len() + 2;
                parsed += calendar.components.iter().map(entries).sum::<usize>();
                let zone = zone.and_then(Zone::named);
                let mut reader = Reader { sink: &mut sink, sizes: &mut sizes, losses: &mut losses };
                reader.calendar(&calendar, zone, &mut read)?;
            }
            Entry::Eof => break,
            Entry::VCard(_) => losses.add("VCARD", "no event"),
            Entry::InvalidLine(_) => {}
            _ => losses.add("VCALENDAR", "a component that does not end"),
        }
    }
    // The parser passes over lines without a name or a value.
    let skipped = u32::try_from(lines.saturating_sub(parsed)).unwrap_or(u32::MAX);
    losses.add_many("VCALENDAR", "no content line of iCalendar", skipped);
    read.losses = losses.into_vec();
    Ok(read)
}

/// An event without what the service gives itself (FACTS 5.4), for POST or PATCH: also without
/// attendees, whom the service would write to, and without a new online meeting. Times are those of
/// the zone the event lives in, which a series must be given in; where it has no name that the
/// service takes, of one whose clock shows the same, else of UTC.
pub fn settable(event: &Value) -> Value {
    const KEPT: [&str; 18] = [
        "allowNewTimeProposals",
        "body",
        "categories",
        "end",
        "hideAttendees",
        "importance",
        "isAllDay",
        "isReminderOn",
        "location",
        "locations",
        "recurrence",
        "reminderMinutesBeforeStart",
        "responseRequested",
        "sensitivity",
        "showAs",
        "singleValueExtendedProperties",
        "start",
        "subject",
    ];
    let members = event.as_object().into_iter().flatten();
    let kept = members.filter(|(name, value)| KEPT.contains(&name.as_str()) && !value.is_null());
    let mut kept: Map<String, Value> =
        kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    times::set(event, &mut kept);
    Value::Object(kept)
}

/// One pass over a parsed calendar.
pub(super) struct Reader<'a, 'w> {
    pub(super) sink: &'a mut dyn FnMut(usize) -> io::Result<Box<dyn Write + 'w>>,
    pub(super) sizes: &'a mut Vec<u64>,
    pub(super) losses: &'a mut Losses,
}

impl Reader<'_, '_> {
    fn calendar(
        &mut self,
        calendar: &ICalendar,
        zone: Option<Zone>,
        read: &mut Calendar,
    ) -> Result<(), Error> {
        let mut inner: BTreeSet<usize> = BTreeSet::new();
        for component in &calendar.components {
            inner.extend(component.component_ids.iter().map(|id| *id as usize));
        }
        let mut zones = Zones::new(zone);
        let mut events = Vec::new();
        for (number, component) in calendar.components.iter().enumerate() {
            match &component.component_type {
                ICalendarComponentType::VCalendar => self.head(component, &mut zones, read),
                ICalendarComponentType::VTimezone => zones.add(calendar, component),
                ICalendarComponentType::VEvent => events.push(component),
                // These belong to one of the others.
                ICalendarComponentType::Standard
                | ICalendarComponentType::Daylight
                | ICalendarComponentType::VAlarm
                    if inner.contains(&number) => {}
                other => self.losses.add(other.as_str(), "no event"),
            }
        }
        let mut groups: Vec<Vec<Fields>> = Vec::new();
        let mut by_uid: HashMap<String, usize> = HashMap::new();
        for component in events {
            let Some(fields) = self.event(calendar, component, &zones)? else { continue };
            match by_uid.get(&fields.uid).filter(|_| !fields.uid.is_empty()) {
                Some(&group) => groups[group].push(fields),
                None => {
                    by_uid.insert(fields.uid.clone(), groups.len());
                    groups.push(vec![fields]);
                }
            }
        }
        for group in groups {
            self.group(group, &mut read.series);
        }
        Ok(())
    }

    fn head(&mut self, component: &ICalendarComponent, zones: &mut Zones, read: &mut Calendar) {
        let mut taken = Taken::new(component);
        for name in ["PRODID", "VERSION", "X-TAR365-CUT"] {
            taken.all(name);
        }
        if let Some(scale) = taken.text("CALSCALE", self.losses)
            && !scale.eq_ignore_ascii_case("GREGORIAN")
        {
            self.losses.add("VCALENDAR/CALSCALE", "Graph has no other calendar");
        }
        read.name = taken.text("X-WR-CALNAME", self.losses).or(read.name.take());
        if let Some(zone) = taken.text("X-WR-TIMEZONE", self.losses) {
            zones.floating(&zone);
        }
        taken.rest("VCALENDAR", self.losses);
    }

    /// All events of one UID: a master and its exceptions, or what there is of them.
    fn group(&mut self, group: Vec<Fields>, series: &mut Vec<Series>) {
        let (exceptions, masters): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|fields| fields.original.is_some());
        let mut masters = masters.into_iter().map(Fields::into_series);
        let mut first = masters.next();
        for mut fields in exceptions {
            let (original, instant) = match (&first, fields.original.take()) {
                (Some((_, Some(rule))), Some(original)) => original.within(rule),
                (_, Some(_)) => {
                    self.losses.add("VEVENT/RECURRENCE-ID", "without its series, a single event");
                    series.push(fields.into_series().0);
                    continue;
                }
                (_, None) => continue,
            };
            let Some((master, _)) = &mut first else { continue };
            fields.event.insert("type".into(), "exception".into());
            if let Some(instant) = instant {
                let text = instant.format("%Y-%m-%dT%H:%M:%SZ").to_string();
                fields.event.insert("originalStart".into(), text.into());
            }
            let event = Value::Object(fields.event);
            master.exceptions.push(Exception { original, event, attachments: fields.attachments });
        }
        series.extend(first.map(|(first, _)| first));
        for (other, _) in masters {
            self.losses.add("VEVENT/UID", "another event has it too, both are kept");
            series.push(other);
        }
    }

    /// Keeps bytes that the parser found as an attachment of their own.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let number = self.sizes.len();
        let failed = |source| Error::Attachment { name: number.to_string(), source };
        let mut out = (self.sink)(number).map_err(failed)?;
        out.write_all(bytes).and_then(|()| out.flush()).map_err(failed)?;
        self.sizes.push(bytes.len() as u64);
        Ok(number)
    }
}

/// Members of an attachment as Graph has them.
pub(super) fn attachment_json(entry: &calcard::icalendar::ICalendarEntry) -> Value {
    use super::attachments::{CONTENT_ID, INLINE, ITEM};
    let names = ["X-FILENAME", "FILENAME", "X-APPLE-FILENAME", "X-ORACLE-FILENAME"];
    let name = names.iter().find_map(|name| parsed::parameter(entry, name));
    let is = |name: &str| parsed::parameter(entry, name).is_some();
    let kind = if is(ITEM) { "itemAttachment" } else { "fileAttachment" };
    let mut json = json!({
        "@odata.type": format!("#microsoft.graph.{kind}"),
        "name": name.unwrap_or_else(|| "attachment".to_owned()),
        "contentType": parsed::parameter(entry, "FMTTYPE"),
        "isInline": is(INLINE),
    });
    if let Some(id) = parsed::parameter(entry, CONTENT_ID) {
        json["contentId"] = id.into();
    }
    json
}
