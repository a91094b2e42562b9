//! A VEVENT as one of Graph's events.

use calcard::icalendar::{ICalendar, ICalendarComponent, ICalendarEntry, ICalendarValue, Uri};
use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::component::{BUSY, CLASSES, IMPORTANCES};
use super::parsed::{Taken, Time, parameter, text, times};
use super::read::{Attachment, Reader, Series, attachment_json};
use super::zones::Zones;
use super::{Error, ZONE_PROPERTIES, alarm, cut, people, places};
use crate::ical::recurrence::Recurrence;
use crate::ical::zone::Zone;
use crate::loss::Losses;

/// An event that was read, not yet put beside those of its UID.
pub(super) struct Fields {
    pub(super) uid: String,
    pub(super) event: Map<String, Value>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) original: Option<Point>,
    series: Option<Clock>,
    cancelled: Vec<NaiveDate>,
}

/// A time of a file in its zone.
#[derive(Debug, Clone)]
pub(super) enum Point {
    Day(NaiveDate),
    Time(NaiveDateTime, Zone),
}

/// When the occurrences of a series begin, on whatever day.
pub(super) enum Clock {
    Midnight,
    At(NaiveTime, Zone),
}

impl Point {
    /// The day of an occurrence, and its instant where the point says one.
    pub(super) fn within(&self, clock: &Clock) -> (NaiveDate, Option<DateTime<Utc>>) {
        match (self, clock) {
            (Self::Day(day), Clock::Midnight) => {
                (*day, Some(day.and_time(NaiveTime::MIN).and_utc()))
            }
            (Self::Day(day), Clock::At(time, zone)) => {
                (*day, Some(zone.instant(day.and_time(*time))))
            }
            (Self::Time(time, _), Clock::Midnight) => {
                (time.date(), Some(time.date().and_time(NaiveTime::MIN).and_utc()))
            }
            (Self::Time(time, own), Clock::At(_, zone)) if own == zone => {
                (time.date(), Some(zone.instant(*time)))
            }
            (Self::Time(time, own), Clock::At(_, zone)) => {
                let instant = own.instant(*time);
                (zone.local(instant).date(), Some(instant))
            }
        }
    }

    fn day(&self) -> NaiveDate {
        match self {
            Self::Day(day) => *day,
            Self::Time(time, _) => time.date(),
        }
    }
}

impl Fields {
    pub(super) fn into_series(self) -> (Series, Option<Clock>) {
        let series = Series {
            uid: self.uid,
            event: Value::Object(self.event),
            attachments: self.attachments,
            exceptions: Vec::new(),
            cancelled: self.cancelled,
        };
        (series, self.series)
    }
}

/// A `dateTimeTimeZone`. A zone without a name cannot be said, so that its times are UTC's.
pub(super) fn graph_time(local: NaiveDateTime, zone: &Zone) -> Value {
    let (time, name) = match zone {
        Zone::Custom(_) => (zone.instant(local).naive_utc(), "UTC"),
        // A time no clock showed is the one it was then.
        named => (named.local(named.instant(local)), named.graph_name()),
    };
    json!({ "dateTime": time.format("%Y-%m-%dT%H:%M:%S.0000000").to_string(), "timeZone": name })
}

impl Reader<'_, '_> {
    /// Reads a VEVENT; none if it has no start.
    pub(super) fn event(
        &mut self,
        calendar: &ICalendar,
        component: &ICalendarComponent,
        zones: &Zones,
    ) -> Result<Option<Fields>, Error> {
        let mut taken = Taken::new(component);
        let start = taken.one("DTSTART", self.losses);
        let Some(start) =
            start.and_then(|entry| point(entry, zones, self.losses).into_iter().next())
        else {
            self.losses.add("VEVENT/DTSTART", "without it there is no event");
            return Ok(None);
        };
        let mut event = Map::new();
        let uid = taken.text("UID", self.losses).unwrap_or_else(|| {
            self.losses.add("VEVENT/UID", "there is none");
            String::new()
        });
        if !uid.is_empty() {
            event.insert("iCalUId".into(), uid.as_str().into());
        }
        self.span(&mut taken, &start, zones, &mut event);
        let (series, cancelled) = self.recurrence(&mut taken, &start, zones, &mut event);
        let kind = if series.is_some() { "seriesMaster" } else { "singleInstance" };
        event.insert("type".into(), kind.into());
        let original = taken.one("RECURRENCE-ID", self.losses);
        let original =
            original.and_then(|entry| point(entry, zones, self.losses).into_iter().next());
        self.texts(&mut taken, &mut event);
        self.marks(&mut taken, &mut event);
        self.people(&mut taken, &mut event);
        let attachments = self.attachments(&mut taken)?;
        alarm::read(calendar, component, &start_instant(&start), &mut event, self.losses);
        // What iTIP counts by, and what other properties say too.
        for name in
            ["SEQUENCE", "DTSTAMP", "X-MICROSOFT-CDO-ALLDAYEVENT", "X-MICROSOFT-CDO-INSTTYPE"]
        {
            taken.all(name);
        }
        taken.rest("VEVENT", self.losses);
        Ok(Some(Fields { uid, event, attachments, original, series, cancelled }))
    }

    fn span(
        &mut self,
        taken: &mut Taken<'_>,
        start: &Point,
        zones: &Zones,
        event: &mut Map<String, Value>,
    ) {
        let end = taken.one("DTEND", self.losses);
        let end = end.and_then(|entry| point(entry, zones, self.losses).into_iter().next());
        let length =
            taken.one("DURATION", self.losses).and_then(|entry| match entry.values.first() {
                Some(ICalendarValue::Duration(length)) => length.to_time_delta(),
                _ => None,
            });
        match start {
            Point::Day(day) => {
                let length = length.map_or(1, |length| length.num_days().max(1));
                let end = end.map_or(*day + Duration::days(length), |end| end.day());
                let midnight = |day: NaiveDate| {
                    let zone = zones.of_floating().graph_name();
                    json!({ "dateTime": format!("{day}T00:00:00.0000000"), "timeZone": zone })
                };
                event.insert("isAllDay".into(), true.into());
                event.insert("start".into(), midnight(*day));
                event.insert("end".into(), midnight(end.max(*day + Duration::days(1))));
            }
            Point::Time(local, zone) => {
                let end = match end {
                    Some(Point::Time(local, zone)) => (local, zone),
                    Some(Point::Day(day)) => (day.and_time(NaiveTime::MIN), zone.clone()),
                    // Days are days of the calendar, hours are hours (RFC 5545, 3.3.6); the two are
                    // one but where clocks change within the event.
                    None => (*local + length.unwrap_or_default(), zone.clone()),
                };
                event.insert("isAllDay".into(), false.into());
                event.insert("start".into(), graph_time(*local, zone));
                event.insert("end".into(), graph_time(end.0, &end.1));
                event.insert("originalStartTimeZone".into(), zone.exact_name().into());
                event.insert("originalEndTimeZone".into(), end.1.exact_name().into());
                if let Zone::Custom(rule) = zone {
                    let value = BASE64.encode(&rule.to_struct());
                    let property = json!({ "id": ZONE_PROPERTIES[2], "value": value });
                    event.insert("singleValueExtendedProperties".into(), json!([property]));
                }
            }
        }
    }

    fn recurrence(
        &mut self,
        taken: &mut Taken<'_>,
        start: &Point,
        zones: &Zones,
        event: &mut Map<String, Value>,
    ) -> (Option<Clock>, Vec<NaiveDate>) {
        let rule = taken.one("RRULE", self.losses);
        let exceptions = taken.all("EXDATE");
        let Some(rule) = rule else {
            let count = exceptions.len() as u32;
            self.losses.add_many(
                "VEVENT/EXDATE",
                "without a rule there is nothing to cancel",
                count,
            );
            return (None, Vec::new());
        };
        let clock = match start {
            Point::Day(_) => Clock::Midnight,
            Point::Time(time, zone) => Clock::At(time.time(), zone.clone()),
        };
        let recurrence = match rule.values.first() {
            Some(ICalendarValue::RecurrenceRule(rule)) => {
                Recurrence::from_rrule(rule, start.day(), |time| until(Time::of(time)?, &clock))
            }
            _ => Err("no rule"),
        };
        let recurrence = match recurrence {
            Ok(recurrence) => recurrence,
            Err(why) => {
                self.losses.add("VEVENT/RRULE", why);
                return (None, Vec::new());
            }
        };
        let zone = match &clock {
            Clock::Midnight => None,
            Clock::At(_, zone) => Some(zone.graph_name()),
        };
        event.insert("recurrence".into(), recurrence.to_graph(zone));
        let mut cancelled = Vec::new();
        for entry in exceptions {
            let points = point(entry, zones, self.losses);
            cancelled.extend(points.iter().map(|point| point.within(&clock).0));
        }
        cancelled.sort();
        cancelled.dedup();
        let last = cancelled.last().copied().unwrap_or_default();
        let days: Vec<_> = recurrence.dates().take_while(|day| *day <= last).collect();
        let given = cancelled.len();
        cancelled.retain(|day| days.binary_search(day).is_ok());
        let missed = (given - cancelled.len()) as u32;
        self.losses.add_many("VEVENT/EXDATE", "the series has none on this day", missed);
        (Some(clock), cancelled)
    }

    fn texts(&mut self, taken: &mut Taken<'_>, event: &mut Map<String, Value>) {
        let losses = &mut *self.losses;
        if let Some(subject) = taken.text("SUMMARY", losses) {
            event.insert("subject".into(), subject.into());
        }
        let plain = taken.text("DESCRIPTION", losses);
        let html = taken.one("X-ALT-DESC", losses).filter(|entry| {
            parameter(entry, "FMTTYPE").is_none_or(|kind| kind.eq_ignore_ascii_case("text/html"))
        });
        let body = match (html.map(text).filter(|html| !html.is_empty()), plain) {
            (Some(html), _) => Some(("html", html)),
            (None, plain) => plain.map(|plain| ("text", plain)),
        };
        if let Some((kind, content)) = body {
            event.insert("body".into(), json!({ "contentType": kind, "content": content }));
        }
        let mut location = Map::new();
        if let Some(name) = taken.text("LOCATION", losses) {
            location.insert("displayName".into(), name.into());
        }
        let places = taken.text("X-MICROSOFT-LOCATIONS", losses);
        let known = places.as_deref().map(places::read);
        if matches!(known, Some(None)) {
            losses.add("VEVENT/X-MICROSOFT-LOCATIONS", "not understood");
        }
        let known = known.flatten().unwrap_or_default();
        if let Some(entry) = taken.one("GEO", losses)
            && !known.iter().any(|place| place["coordinates"].is_object())
        {
            match (entry.values.first().and_then(float), entry.values.get(1).and_then(float)) {
                (Some(latitude), Some(longitude)) => {
                    let place = json!({ "latitude": latitude, "longitude": longitude });
                    location.insert("coordinates".into(), place);
                }
                _ => losses.add("VEVENT/GEO", "not understood"),
            }
        }
        if !location.is_empty() {
            event.insert("location".into(), location.into());
        }
        if !known.is_empty() {
            event.insert("locations".into(), known.into());
        }
        let categories = taken.all("CATEGORIES").into_iter().flat_map(|entry| &entry.values);
        let categories: Vec<&str> = categories.filter_map(ICalendarValue::as_text).collect();
        if !categories.is_empty() {
            event.insert("categories".into(), json!(categories));
        }
    }

    fn marks(&mut self, taken: &mut Taken<'_>, event: &mut Map<String, Value>) {
        let losses = &mut *self.losses;
        let mut take = |name| taken.text(name, losses).map(|text| text.to_ascii_uppercase());
        let (class, status, shown) = (take("CLASS"), take("STATUS"), take("TRANSP"));
        let priority = take("PRIORITY").and_then(|text| text.parse().ok());
        let importance = take("X-MICROSOFT-CDO-IMPORTANCE");
        let busy = take("X-MICROSOFT-CDO-BUSYSTATUS");
        let counter = take("X-MICROSOFT-DISALLOW-COUNTER");
        let mut set = |name: &str, value: Value| event.insert(name.into(), value);
        if let Some(class) = class {
            // What is not known is private (RFC 5545, 3.8.1.3).
            let known = CLASSES.iter().find(|known| known.1 == class);
            set("sensitivity", known.map_or("private", |known| known.0).into());
        }
        let known = importance.and_then(|value| IMPORTANCES.iter().find(|known| known.2 == value));
        let by_priority = match priority {
            Some(1..=4) => Some("high"),
            Some(5) => Some("normal"),
            Some(6..=9u8) => Some("low"),
            _ => None,
        };
        if let Some(importance) = known.map(|known| known.0).or(by_priority) {
            set("importance", importance.into());
        }
        match status.as_deref() {
            Some("CANCELLED") => drop(set("isCancelled", true.into())),
            Some("TENTATIVE") => {
                drop(set("responseStatus", json!({ "response": "tentativelyAccepted" })));
            }
            _ => {}
        }
        let known = busy.and_then(|value| BUSY.iter().find(|known| known.1 == value));
        let by_transparency = match shown.as_deref() {
            Some("TRANSPARENT") => Some("free"),
            Some("OPAQUE") => Some("busy"),
            _ => None,
        };
        if let Some(shown) = known.map(|known| known.0).or(by_transparency) {
            set("showAs", shown.into());
        }
        if let Some(counter) = counter {
            set("allowNewTimeProposals", (counter != "TRUE").into());
        }
        for (name, member) in
            [("LAST-MODIFIED", "lastModifiedDateTime"), ("CREATED", "createdDateTime")]
        {
            let entry = taken.one(name, self.losses);
            if let Some(Time::Utc(time)) = entry.and_then(|entry| times(entry).0.first().copied()) {
                set(member, time.format("%Y-%m-%dT%H:%M:%SZ").to_string().into());
            }
        }
        let url = taken.text("CONFERENCE", self.losses);
        let url = url.or(taken.text("X-MICROSOFT-SKYPETEAMSMEETINGURL", self.losses));
        if let Some(url) = url {
            set("onlineMeeting", json!({ "joinUrl": url }));
            set("isOnlineMeeting", true.into());
        }
    }

    fn people(&mut self, taken: &mut Taken<'_>, event: &mut Map<String, Value>) {
        let mut asked = Vec::new();
        let mut attendees = Vec::new();
        let organizer = taken.one("ORGANIZER", self.losses);
        for (entry, is_organizer) in organizer
            .into_iter()
            .map(|entry| (entry, true))
            .chain(taken.all("ATTENDEE").into_iter().map(|entry| (entry, false)))
        {
            let uri = text(entry);
            let [name, kind, role, answer, email] =
                ["CN", "CUTYPE", "ROLE", "PARTSTAT", "EMAIL"].map(|name| parameter(entry, name));
            let upper = |text: Option<String>| text.map(|text| text.to_ascii_uppercase());
            let (kind, role, answer) = (upper(kind), upper(role), upper(answer));
            // Some give the address beside a URI of another kind.
            let mail = uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:"));
            let read = people::Read {
                uri: if mail { &uri } else { email.as_deref().unwrap_or(&uri) },
                name: name.as_deref().filter(|name| !name.is_empty()),
                kind: kind.as_deref(),
                role: role.as_deref(),
                answer: answer.as_deref(),
            };
            if is_organizer {
                match read.address() {
                    Some(address) => {
                        event.insert("organizer".into(), json!({ "emailAddress": address }));
                    }
                    None => {
                        self.losses.add("VEVENT/ORGANIZER", "neither a name nor a mail address")
                    }
                }
                continue;
            }
            asked.extend(parameter(entry, "RSVP").map(|rsvp| rsvp.eq_ignore_ascii_case("TRUE")));
            match read.attendee(self.losses) {
                Some(attendee) => attendees.push(attendee),
                None => self.losses.add("VEVENT/ATTENDEE", "neither a name nor a mail address"),
            }
        }
        if !attendees.is_empty() {
            event.insert("attendees".into(), attendees.into());
        }
        if !asked.is_empty() {
            event.insert("responseRequested".into(), asked.contains(&true).into());
        }
    }

    fn attachments(&mut self, taken: &mut Taken<'_>) -> Result<Vec<Attachment>, Error> {
        let mut attachments = Vec::new();
        for entry in taken.all(cut::CUT) {
            let number = text(entry).parse().ok();
            let Some((number, size)) =
                number.and_then(|number: usize| self.sizes.get(number).map(|size| (number, *size)))
            else {
                continue;
            };
            attachments.push(Attachment { number, json: attachment_json(entry), size });
        }
        for entry in taken.all("ATTACH") {
            let bytes = match entry.values.first() {
                Some(ICalendarValue::Uri(Uri::Data(data))) => &data.data,
                Some(ICalendarValue::Binary(bytes)) => bytes,
                // The parser takes what has no data for an address.
                Some(ICalendarValue::Uri(Uri::Location(uri))) if is_empty_data(uri) => &Vec::new(),
                _ => {
                    self.losses.add("VEVENT/ATTACH", "a link, which cannot be attached");
                    continue;
                }
            };
            let number = self.keep(bytes)?;
            let size = bytes.len() as u64;
            attachments.push(Attachment { number, json: attachment_json(entry), size });
        }
        Ok(attachments)
    }
}

/// A `data:` address (RFC 2397) of nothing.
fn is_empty_data(uri: &str) -> bool {
    uri.starts_with("data:") && uri.ends_with(',')
}

/// The points of a property; what is none, and what is in a zone that is not known, is noted.
fn point(entry: &ICalendarEntry, zones: &Zones, losses: &mut Losses) -> Vec<Point> {
    let name = format!("VEVENT/{}", entry.name.as_str());
    let (times, others) = times(entry);
    losses.add_many(name.clone(), "no time", others);
    let id = parameter(entry, "TZID").filter(|id| !id.is_empty());
    let mut points = Vec::with_capacity(times.len());
    for time in times {
        points.push(match time {
            Time::Day(day) => Point::Day(day),
            Time::Utc(time) => Point::Time(time, Zone::Utc),
            Time::Local(local) => {
                let year = chrono::Datelike::year(&local);
                let zone = id.as_deref().map(|id| zones.named(id, year));
                match &zone {
                    None => losses.add(name.clone(), "a time without a zone"),
                    Some(None) => losses.add(name.clone(), "a zone that is not known"),
                    Some(Some(_)) => {}
                }
                Point::Time(local, zone.flatten().unwrap_or_else(|| zones.of_floating().clone()))
            }
        });
    }
    points
}

/// The last day with an occurrence that is not after UNTIL.
fn until(last: Time, clock: &Clock) -> Option<NaiveDate> {
    let (time, zone) = match (last, clock) {
        (Time::Day(day), _) => return Some(day),
        (Time::Local(time) | Time::Utc(time), Clock::Midnight) => return Some(time.date()),
        (_, Clock::At(time, zone)) => (time, zone),
    };
    let instant = match last {
        Time::Utc(utc) => utc.and_utc(),
        Time::Local(local) => zone.instant(local),
        Time::Day(day) => return Some(day),
    };
    let day = zone.local(instant).date();
    if zone.instant(day.and_time(*time)) <= instant { Some(day) } else { day.pred_opt() }
}

fn start_instant(start: &Point) -> DateTime<Utc> {
    match start {
        Point::Day(day) => day.and_time(NaiveTime::MIN).and_utc(),
        Point::Time(time, zone) => zone.instant(*time),
    }
}

fn float(value: &ICalendarValue) -> Option<f64> {
    match value {
        ICalendarValue::Float(number) => Some(*number),
        ICalendarValue::Integer(number) => Some(*number as f64),
        _ => None,
    }
}
