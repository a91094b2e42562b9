//! Events as the service sees them: when they are, what a series expands to, how an occurrence
//! looks. Reading only; `calendar/compose.rs` makes events of what clients write.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use crate::compose::Object;
use crate::mail::Attachment;
use crate::recurrence::Series;
use crate::shelf::{Day, Kind, Number, Place, Shelf, Thing};
use crate::zones;

mod compose;

pub(crate) use compose::{changed, created, is_private, new_calendar};

/// A stretch of time, on the clocks of its zones. All-day events have days and no instants: they
/// show midnight in whatever zone is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: Clock,
    pub(crate) end: Clock,
    pub(crate) all_day: bool,
}

/// A reading of the clock of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) local: NaiveDateTime,
    pub(crate) zone: String,
}

impl Clock {
    /// Reads a `dateTimeTimeZone`.
    pub(crate) fn read(json: &Value) -> Option<Clock> {
        let text = json["dateTime"].as_str()?;
        let zone = json["timeZone"].as_str().unwrap_or("UTC");
        // With an offset the zone is for show only.
        let offset = || {
            let time = DateTime::parse_from_rfc3339(text).ok()?;
            Some(zones::local(zones::rules(zone), time.to_utc()))
        };
        let local =
            text.parse().ok().or_else(offset).or_else(|| {
                text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN))
            })?;
        Some(Clock { local, zone: zone.to_owned() })
    }

    pub(crate) fn instant(&self) -> DateTime<Utc> {
        zones::instant(zones::rules(&self.zone), self.local)
    }

    /// As the clock of another zone shows it.
    fn shown(&self, zone: &Zone, all_day: bool) -> Value {
        let local = if all_day { self.local } else { zones::local(zone.rules, self.instant()) };
        clock(local, &zone.name)
    }
}

/// A `dateTimeTimeZone`.
pub(crate) fn clock(local: NaiveDateTime, zone: &str) -> Value {
    json!({"dateTime": local.format("%Y-%m-%dT%H:%M:%S%.6f0").to_string(), "timeZone": zone})
}

/// The zone that a caller wants times in.
pub(crate) struct Zone {
    pub(crate) name: String,
    pub(crate) rules: Tz,
}

impl Span {
    pub(crate) fn read(event: &Object) -> Option<Span> {
        let clock = |name: &str| event.get(name).and_then(Clock::read);
        let all_day = event.get("isAllDay") == Some(&Value::Bool(true));
        Some(Span { start: clock("start")?, end: clock("end")?, all_day })
    }

    /// Whether any of it lies in a window.
    pub(crate) fn touches(&self, (from, to): (DateTime<Utc>, DateTime<Utc>)) -> bool {
        let (start, end) = (self.start.instant(), self.end.instant());
        start < to && (end > from || start == end && start >= from)
    }
}

/// A series that can be walked.
pub(crate) struct Occurrences {
    series: Series,
    zone: String,
    span: Span,
    /// Time of the day at which they start, and how long they last, by the clock of `zone`.
    starts: NaiveTime,
    lasts: TimeDelta,
}

impl Occurrences {
    /// `None` for events that do not recur.
    pub(crate) fn of(event: &Object) -> Option<Occurrences> {
        let recurrence = event.get("recurrence").filter(|recurrence| recurrence.is_object())?;
        let series = Series::read(recurrence).ok()?;
        let span = Span::read(event)?;
        let given = recurrence["range"]["recurrenceTimeZone"].as_str();
        let zone = given.unwrap_or(&span.start.zone).to_owned();
        let local = |clock: &Clock| match span.all_day {
            true => clock.local,
            false => zones::local(zones::rules(&zone), clock.instant()),
        };
        let (start, end) = (local(&span.start), local(&span.end));
        Some(Occurrences { series, zone, starts: start.time(), lasts: end - start, span })
    }

    /// The days of the pattern up to one.
    fn days_until(&self, last: NaiveDate) -> impl Iterator<Item = NaiveDate> {
        self.series.days().take_while(move |day| *day <= last)
    }

    pub(crate) fn contains(&self, day: NaiveDate) -> bool {
        self.series.contains(day)
    }

    /// The day of an occurrence by its place in the pattern, 0 being the first.
    pub(crate) fn nth(&self, place: usize) -> Option<NaiveDate> {
        self.series.days().nth(place)
    }

    /// When the pattern has the occurrence of a day.
    pub(crate) fn span(&self, day: NaiveDate) -> Span {
        let start = day.and_time(self.starts);
        let clock = |local, shown_in: &str| {
            let here = Clock { local, zone: self.zone.clone() };
            if self.span.all_day || shown_in == self.zone {
                return here;
            }
            let local = zones::local(zones::rules(shown_in), here.instant());
            Clock { local, zone: shown_in.to_owned() }
        };
        Span {
            start: clock(start, &self.span.start.zone),
            end: clock(start + self.lasts, &self.span.end.zone),
            all_day: self.span.all_day,
        }
    }
}

/// What is at a place: an event, or the occurrence of a series on a day of its pattern.
pub(crate) fn event_at(thing: &Thing, place: Place) -> Option<Object> {
    let Some(day) = place.day else {
        return Some(thing.properties.clone());
    };
    let occurrences = Occurrences::of(&thing.properties)?;
    let mut event = thing.properties.clone();
    match thing.days.get(&day) {
        Some(Day::Cancelled) => return None,
        None if !occurrences.contains(day) => return None,
        _ => {}
    }
    event.remove("recurrence");
    let span = occurrences.span(day);
    event.insert("start".into(), clock(span.start.local, &span.start.zone));
    event.insert("end".into(), clock(span.end.local, &span.end.zone));
    if let Some(Day::Changed { properties, .. }) = thing.days.get(&day) {
        event.extend(properties.clone());
    }
    Some(event)
}

/// Attachments at a place: an occurrence has those of the series before its own.
pub(crate) fn attachments_at(thing: &Thing, place: Place) -> Vec<Attachment> {
    let mut all = thing.attachments.clone();
    if let Some(Day::Changed { attachments, .. }) = place.day.and_then(|day| thing.days.get(&day)) {
        all.extend(attachments.iter().cloned());
    }
    all
}

/// The occurrences of a series that touch a window, in the order of the pattern.
pub(crate) fn instances(
    number: Number,
    thing: &Thing,
    window: (DateTime<Utc>, DateTime<Utc>),
) -> Vec<Place> {
    let Some(occurrences) = Occurrences::of(&thing.properties) else {
        return Vec::new();
    };
    // Zones differ by a day at most; what was moved is asked for itself.
    let last = window.1.date_naive().checked_add_days(Days::new(2)).unwrap_or(NaiveDate::MAX);
    let moved = thing.days.keys().copied().filter(|day| *day > last);
    let days = occurrences.days_until(last).chain(moved);
    let here = |day: &NaiveDate| match thing.days.get(day) {
        Some(Day::Cancelled) => false,
        Some(Day::Changed { .. }) => {
            let event = event_at(thing, Place { number, day: Some(*day) });
            event.and_then(|event| Span::read(&event)).is_some_and(|span| span.touches(window))
        }
        None => occurrences.span(*day).touches(window),
    };
    days.filter(here).map(|day| Place { number, day: Some(day) }).collect()
}

/// Single events and occurrences of a calendar that touch a window.
pub(crate) fn view(
    shelf: &Shelf,
    calendars: &[Number],
    window: (DateTime<Utc>, DateTime<Utc>),
) -> Vec<Place> {
    let events = calendars.iter().flat_map(|calendar| shelf.children(Kind::Event, Some(*calendar)));
    let places = events.filter_map(|number| Some((number, shelf.thing(number)?)));
    places
        .flat_map(|(number, thing)| match Span::read(&thing.properties) {
            _ if is_series(&thing) => instances(number, &thing, window),
            Some(span) if span.touches(window) => vec![number.into()],
            _ => Vec::new(),
        })
        .collect()
}

pub(crate) fn is_series(thing: &Thing) -> bool {
    thing.properties.get("recurrence").is_some_and(Value::is_object)
}

/// Whether a moved occurrence would lie on or beyond one of its neighbours.
pub(crate) fn crosses(thing: &Thing, number: Number, day: NaiveDate, moved: &Span) -> bool {
    let Some(occurrences) = Occurrences::of(&thing.properties) else {
        return false;
    };
    let alive = |other: &NaiveDate| !matches!(thing.days.get(other), Some(Day::Cancelled));
    let span = |day: NaiveDate| Span::read(&event_at(thing, Place { number, day: Some(day) })?);
    let before = occurrences.days_until(day).filter(|other| *other < day).filter(alive).last();
    let after = occurrences.series.days().skip_while(|other| *other <= day).find(alive);
    let overtakes = |span: Span| moved.start.instant() < span.end.instant();
    let overtaken = |span: Span| moved.end.instant() > span.start.instant();
    before.and_then(span).is_some_and(overtakes) || after.and_then(span).is_some_and(overtaken)
}

/// An event with everything that can be asked for, `id` and expansions apart.
pub(crate) fn row(
    shelf: &Shelf,
    place: Place,
    zone: &Zone,
    text_body: bool,
    immutable: bool,
) -> Option<Object> {
    let thing = shelf.thing(place.number)?;
    let mut row = event_at(&thing, place)?;
    let id = shelf.id(place, immutable);
    let span = Span::read(&row)?;
    let exception = place.day.is_some_and(|day| thing.days.contains_key(&day));
    let kind = match place.day {
        Some(_) if exception => "exception",
        Some(_) => "occurrence",
        None if is_series(&thing) => "seriesMaster",
        None => "singleInstance",
    };
    let series = place.day.map(|_| shelf.id(place.number.into(), immutable));
    let original = place
        .day
        .and_then(|day| Some(Occurrences::of(&thing.properties)?.span(day).start.instant()));
    let visible = attachments_at(&thing, place).iter().any(|attachment| !attachment.inline);
    let cancelled = thing.days.iter().filter(|(_, day)| matches!(day, Day::Cancelled));
    let cancelled: Vec<Value> = cancelled
        .map(|(day, _)| format!("OID.{}.{day}", shelf.id(place.number.into(), immutable)).into())
        .collect();
    let (change_key, modified) = shelf.state_of(place, &thing);
    for (name, value) in [
        ("@odata.etag", format!("W/\"{change_key}\"").into()),
        ("changeKey", change_key.into()),
        ("createdDateTime", stamp(thing.created)),
        ("lastModifiedDateTime", stamp(modified)),
        ("originalStartTimeZone", span.start.zone.as_str().into()),
        ("originalEndTimeZone", span.end.zone.as_str().into()),
        ("start", span.start.shown(zone, span.all_day)),
        ("end", span.end.shown(zone, span.all_day)),
        ("type", kind.into()),
        ("seriesMasterId", series.into()),
        ("hasAttachments", visible.into()),
        ("bodyPreview", preview(&row["body"]).into()),
        ("webLink", link(&id).into()),
        (
            "cancelledOccurrences",
            if kind == "seriesMaster" { cancelled.into() } else { Value::Null },
        ),
    ] {
        row.insert(name.into(), value);
    }
    if let (Some(original), Some(day)) = (original, place.day) {
        row.insert("originalStart".into(), stamp(original));
        let unique = row["iCalUId"].as_str().map(|unique| of_day(unique, day));
        row.insert("iCalUId".into(), unique.into());
    }
    row.entry("recurrence").or_insert(Value::Null);
    if text_body {
        let text = json!({"contentType": "text", "content": plain(&row["body"])});
        row.insert("body".into(), text);
    }
    let extended = match place.day.and_then(|day| thing.days.get(&day)) {
        Some(Day::Changed { extended, .. }) => extended,
        _ => &thing.extended,
    };
    let extended = extended.iter().map(|p| json!({"id": p.id, "value": p.value}));
    row.insert("singleValueExtendedProperties".into(), extended.collect());
    row.insert("id".into(), id.into());
    Some(row)
}

/// With seven fractional digits, as Exchange stamps things.
pub(crate) fn stamp(time: DateTime<Utc>) -> Value {
    time.format("%Y-%m-%dT%H:%M:%S%.6f0Z").to_string().into()
}

fn link(id: &str) -> String {
    let id = crate::page::escaped(id);
    format!("https://outlook.office365.com/owa/?itemid={id}&exvsurl=1&path=/calendar/item")
}

/// The text of a body.
pub(crate) fn plain(body: &Value) -> String {
    let content = body["content"].as_str().unwrap_or_default();
    match body["contentType"] == "html" {
        true => mail_parser::decoders::html::html_to_text(content),
        false => content.to_owned(),
    }
}

pub(crate) fn preview(body: &Value) -> String {
    plain(body).trim().chars().take(255).collect()
}

/// Exchange's GlobalObjectId has room for the day of an occurrence behind its first 16 bytes.
fn of_day(unique: &str, day: NaiveDate) -> String {
    use chrono::Datelike;
    match (unique.get(..32), unique.get(40..)) {
        (Some(head), Some(tail)) if unique.starts_with("04000000") => {
            format!("{head}{:04X}{:02X}{:02X}{tail}", day.year(), day.month(), day.day())
        }
        _ => unique.to_owned(),
    }
}
