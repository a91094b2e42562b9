//! Generated calendars: every kind of event and of series, with what can be odd about them.

use bytes::Bytes;
use chrono::{Days, NaiveDate, TimeDelta};
use serde_json::{Value, json};

use crate::blob::Blob;
use crate::calendar::{self, Occurrences, clock};
use crate::compose::object;
use crate::dice::Dice;
use crate::mail::{Address, Attached, Attachment};
use crate::seed::outlook::{CATEGORIES, Source};
use crate::seed::words;
use crate::shelf::{Day, Kind, Number, Shelf};
use crate::zones;

/// Kinds of events come round every this many.
const ROUND: u64 = 12;

/// Streams of numbers.
const SORT: u64 = 50;

/// The calendars and events of a mailbox.
pub(crate) fn fill(shelf: &Shelf, source: &Source) {
    let name = ["Kalender", "Calendar", "予定表"][source.language % 3];
    let default = add_calendar(
        shelf,
        source,
        name,
        &[
            ("isDefaultCalendar", true.into()),
            ("isTallyingResponses", true.into()),
            ("isRemovable", false.into()),
        ],
    );
    if !source.lived_in {
        return;
    }
    let second =
        add_calendar(shelf, source, "Schichten / Büro „Süd“", &[("color", "lightGreen".into())]);
    let fixed = [("canEdit", false.into()), ("canShare", false.into())];
    let birthdays = ["Geburtstage", "Birthdays", "誕生日"][source.language % 3];
    let birthdays = add_calendar(shelf, source, birthdays, &fixed);
    let holidays = add_calendar(shelf, source, "Feiertage in Deutschland", &fixed);
    let colleague = source.colleague(&mut source.dice(SORT, 1));
    let owner = json!({"name": colleague.name, "address": colleague.address});
    let shared = [
        ("owner", owner),
        ("canShare", false.into()),
        ("canEdit", false.into()),
        ("canViewPrivateItems", false.into()),
    ];
    let shared = add_calendar(shelf, source, &colleague.name, &shared);
    for number in 0..source.events {
        // The second calendar has an event now and then.
        let calendar = if number % 5 == 4 { second } else { default };
        let event = Plan { source, number, dice: source.dice(SORT + 2, number) }.event();
        put(shelf, source, calendar, number, event);
    }
    for (number, (calendar, subject)) in (1_000_000..).zip([
        (birthdays, "Geburtstag von Clara"),
        (holidays, "Neujahr"),
        (shared, "Sein Termin"),
    ]) {
        let body = json!({"subject": subject, "isAllDay": true, "start": time(2025, 1, 1, 0, "W. Europe Standard Time"), "end": time(2025, 1, 2, 0, "W. Europe Standard Time"), "showAs": "free"});
        put(shelf, source, calendar, number, Event { body, ..Event::default() });
    }
}

fn add_calendar(shelf: &Shelf, source: &Source, name: &str, other: &[(&str, Value)]) -> Number {
    let mut calendar = calendar::new_calendar(name, &source.owner.name, &source.owner.address);
    calendar.extend(other.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    shelf.put(Kind::Calendar, None, calendar, source.made(SORT, 0))
}

/// An event and what a client could not have written.
#[derive(Default)]
struct Event {
    body: Value,
    organizer: Option<Address>,
    attachments: Vec<Attachment>,
    /// The zone as it is stored, where clients cannot write it.
    custom_zone: bool,
    /// Occurrences, counted from the first, that were cancelled.
    cancelled: Vec<usize>,
    /// And those that were changed: what, and by how many minutes they were moved.
    changed: Vec<(usize, Value, i64)>,
}

fn put(shelf: &Shelf, source: &Source, calendar: Number, number: u64, made: Event) {
    let nonce = format!("{} {} {number}", source.seed, source.owner.address);
    let mut event = calendar::created(object(made.body), &source.owner, &nonce)
        .expect("generated events are accepted");
    if let Some(organizer) = made.organizer {
        event.insert("isOrganizer".into(), false.into());
        event.insert("organizer".into(), recipient(&organizer));
        let response = json!({"response": "accepted", "time": "2025-02-03T09:15:00Z"});
        event.insert("responseStatus".into(), response);
    }
    if made.custom_zone {
        for name in ["start", "end"] {
            event[name]["timeZone"] = zones::CUSTOM.into();
        }
        event["recurrence"]["range"]["recurrenceTimeZone"] = zones::CUSTOM.into();
    }
    for attendee in event.get_mut("attendees").and_then(Value::as_array_mut).into_iter().flatten() {
        if attendee["type"] != "resource" {
            attendee["status"] = json!({"response": "accepted", "time": "2025-02-03T09:15:00Z"});
        }
    }
    let when = source.made(SORT + 3, number);
    let id = shelf.put(Kind::Event, Some(calendar), event.clone(), when);
    let Some(occurrences) =
        Occurrences::of(&event).filter(|_| !made.cancelled.is_empty() || !made.changed.is_empty())
    else {
        shelf.change(id.into(), when, |thing| thing.attachments = made.attachments);
        return;
    };
    shelf.change(id.into(), when, |thing| {
        thing.attachments = made.attachments;
        let cancelled = made.cancelled.iter().filter_map(|n| occurrences.nth(*n));
        thing.days.extend(cancelled.map(|day| (day, Day::Cancelled)));
        for (nth, properties, minutes) in made.changed {
            if let Some(day) = occurrences.nth(nth) {
                thing.days.insert(day, exception(&occurrences, day, properties, minutes));
            }
        }
    });
}

fn exception(occurrences: &Occurrences, day: NaiveDate, properties: Value, minutes: i64) -> Day {
    let mut properties = object(properties);
    if minutes != 0 {
        let span = occurrences.span(day);
        let later = TimeDelta::minutes(minutes);
        properties.insert("start".into(), clock(span.start.local + later, &span.start.zone));
        properties.insert("end".into(), clock(span.end.local + later, &span.end.zone));
    }
    Day::Changed { properties, extended: Vec::new(), attachments: Vec::new() }
}

fn recipient(address: &Address) -> Value {
    json!({"emailAddress": {"name": address.name, "address": address.address}})
}

fn attendee(address: &Address, kind: &str) -> Value {
    json!({"type": kind, "emailAddress": {"name": address.name, "address": address.address}})
}

fn time(year: i32, month: u32, day: u32, hour: u32, zone: &str) -> Value {
    let day = NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
    clock(day.and_hms_opt(hour, 0, 0).unwrap_or_default(), zone)
}

struct Plan<'a> {
    source: &'a Source,
    number: u64,
    dice: Dice,
}

impl Plan<'_> {
    fn event(mut self) -> Event {
        let title = format!("{} {}", words::topic(&mut self.dice), self.number + 1);
        let body = json!({"subject": title});
        match self.number % ROUND {
            0 => self.meeting(body),
            1 => self.all_day(body),
            2 => self.daily(body),
            3 => self.weekly(body),
            4 => self.monthly_on_a_day(body),
            5 => self.monthly_on_a_weekday(body),
            6 => self.yearly_on_a_day(body),
            7 => self.yearly_on_a_weekday(body),
            8 => self.in_a_zone_of_its_own(body),
            9 => self.invited(body),
            10 => self.with_attachments(body),
            _ => self.moment(body),
        }
    }

    /// A day of the years 2024 and 2025.
    fn day(&mut self) -> NaiveDate {
        let first = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap_or_default();
        first + Days::new(self.dice.below(700))
    }

    /// A time within a day, in a zone, for some minutes.
    fn at(&mut self, body: &mut Value, day: NaiveDate, minutes: i64, zone: &str) {
        let hour = 7 + self.dice.below(9) as u32;
        let start = day.and_hms_opt(hour, 15 * self.dice.below(4) as u32, 0).unwrap_or_default();
        body["start"] = clock(start, zone);
        body["end"] = clock(start + TimeDelta::minutes(minutes), zone);
    }

    fn recurs(body: &mut Value, day: NaiveDate, pattern: Value, range: Value) {
        let mut range = range;
        range["startDate"] = day.to_string().into();
        body["recurrence"] = json!({"pattern": pattern, "range": range});
    }

    fn html(&mut self) -> Value {
        let prose = words::prose(&mut self.dice, 400);
        let html = format!(
            "<html><head></head><body><p>Grüße aus <b>München</b> &amp; Umgebung – 会議</p><p>{prose}</p><ul><li>eins</li><li>zwei</li></ul></body></html>"
        );
        json!({"contentType": "html", "content": html})
    }

    fn meeting(mut self, mut body: Value) -> Event {
        let day = self.day();
        self.at(&mut body, day, 60, "W. Europe Standard Time");
        let (first, second) =
            (self.source.colleague(&mut self.dice), self.source.colleague(&mut self.dice));
        let room = Address {
            name: "Raum Isar".into(),
            address: format!("raum.isar@{}", self.source.domain),
        };
        body["attendees"] = json!([
            attendee(&first, "required"),
            attendee(&second, "optional"),
            attendee(&room, "resource")
        ]);
        body["body"] = self.html();
        body["isOnlineMeeting"] = true.into();
        body["locations"] = json!([
            {"displayName": "Raum Isar", "locationType": "conferenceRoom", "locationEmailAddress": room.address},
            {"displayName": "Marienplatz 1", "address": {"street": "Marienplatz 1", "city": "München", "postalCode": "80331", "countryOrRegion": "Deutschland"}, "coordinates": {"latitude": 48.137, "longitude": 11.575}},
        ]);
        body["categories"] = json!([CATEGORIES[0].0, CATEGORIES[1].0]);
        Event { body, ..Event::default() }
    }

    fn all_day(mut self, mut body: Value) -> Event {
        let day = self.day();
        let days = Days::new(1 + self.dice.below(4));
        let zone = "Pacific Standard Time";
        body["start"] = clock(day.and_time(chrono::NaiveTime::MIN), zone);
        body["end"] = clock((day + days).and_time(chrono::NaiveTime::MIN), zone);
        body["isAllDay"] = true.into();
        body["sensitivity"] = "private".into();
        body["showAs"] = "oof".into();
        body["isReminderOn"] = false.into();
        Event { body, ..Event::default() }
    }

    fn daily(mut self, mut body: Value) -> Event {
        let day = self.day();
        self.at(&mut body, day, 30, "W. Europe Standard Time");
        let pattern = json!({"type": "daily", "interval": 2});
        Self::recurs(
            &mut body,
            day,
            pattern,
            json!({"type": "numbered", "numberOfOccurrences": 10}),
        );
        let other = json!({"subject": "Ausnahmsweise später", "location": {"displayName": "Draußen", "locationType": "default", "uniqueId": "Draußen", "uniqueIdType": "private"}, "locations": [{"displayName": "Draußen", "locationType": "default", "uniqueId": "Draußen", "uniqueIdType": "private"}]});
        Event { body, cancelled: vec![4], changed: vec![(2, other, 90)], ..Event::default() }
    }

    /// Through both changes of the clocks, in a zone that makes them on other days.
    fn weekly(mut self, mut body: Value) -> Event {
        let day = self.day();
        self.at(&mut body, day, 45, "Eastern Standard Time");
        let pattern = json!({"type": "weekly", "interval": 1, "daysOfWeek": ["monday", "wednesday", "sunday"], "firstDayOfWeek": "monday"});
        Self::recurs(&mut body, day, pattern, json!({"type": "noEnd"}));
        let attendee = attendee(&self.source.colleague(&mut self.dice), "required");
        body["attendees"] = json!([attendee]);
        let changed = vec![
            (1, json!({}), -60),
            (7, json!({"showAs": "tentative", "categories": [CATEGORIES[2].0]}), 0),
        ];
        Event { body, cancelled: vec![0, 5], changed, ..Event::default() }
    }

    fn monthly_on_a_day(mut self, mut body: Value) -> Event {
        let day = NaiveDate::from_ymd_opt(2024, 1, 31).unwrap_or_default();
        self.at(&mut body, day, 120, "AUS Eastern Standard Time");
        let pattern = json!({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31});
        Self::recurs(&mut body, day, pattern, json!({"type": "endDate", "endDate": "2026-12-31"}));
        Event { body, cancelled: vec![1], ..Event::default() }
    }

    fn monthly_on_a_weekday(mut self, mut body: Value) -> Event {
        let day = self.day();
        self.at(&mut body, day, 90, "Europe/Berlin");
        let days = ["monday", "tuesday", "wednesday", "thursday", "friday"];
        let pattern =
            json!({"type": "relativeMonthly", "interval": 2, "daysOfWeek": days, "index": "last"});
        Self::recurs(
            &mut body,
            day,
            pattern,
            json!({"type": "numbered", "numberOfOccurrences": 12}),
        );
        body["body"] = self.html();
        Event {
            body,
            changed: vec![(
                3,
                json!({"body": {"contentType": "text", "content": "Nur dieses Mal.\r\n"}}),
                0,
            )],
            ..Event::default()
        }
    }

    fn yearly_on_a_day(self, mut body: Value) -> Event {
        let zone = "W. Europe Standard Time";
        body["start"] = time(2024, 2, 29, 0, zone);
        body["end"] = time(2024, 3, 1, 0, zone);
        body["isAllDay"] = true.into();
        body["showAs"] = "free".into();
        let day = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap_or_default();
        let pattern =
            json!({"type": "absoluteYearly", "interval": 1, "month": 2, "dayOfMonth": 29});
        Self::recurs(&mut body, day, pattern, json!({"type": "noEnd"}));
        Event { body, ..Event::default() }
    }

    fn yearly_on_a_weekday(mut self, mut body: Value) -> Event {
        let day = NaiveDate::from_ymd_opt(2023, 11, 23).unwrap_or_default();
        self.at(&mut body, day, 240, "Central Standard Time");
        let pattern = json!({"type": "relativeYearly", "interval": 1, "month": 11, "daysOfWeek": ["thursday"], "index": "fourth"});
        Self::recurs(
            &mut body,
            day,
            pattern,
            json!({"type": "numbered", "numberOfOccurrences": 6}),
        );
        Event { body, cancelled: vec![2], ..Event::default() }
    }

    fn in_a_zone_of_its_own(mut self, mut body: Value) -> Event {
        let day = self.day();
        self.at(&mut body, day, 60, "Nepal Standard Time");
        let pattern = json!({"type": "daily", "interval": 7});
        Self::recurs(
            &mut body,
            day,
            pattern,
            json!({"type": "numbered", "numberOfOccurrences": 5}),
        );
        Event { body, custom_zone: true, ..Event::default() }
    }

    /// His copy of somebody else's meeting.
    fn invited(mut self, mut body: Value) -> Event {
        let day = self.day();
        self.at(&mut body, day, 60, "Tokyo Standard Time");
        let organizer = self.source.colleague(&mut self.dice);
        body["subject"] = "四半期レビュー 🚀 – “Größenmaß”, a;b\\c".into();
        body["attendees"] = json!([attendee(&self.source.owner, "required")]);
        body["body"] = json!({"contentType": "text", "content": "Zeile eins\r\nZeile zwei; mit, Zeichen\\\r\n"});
        body["location"] = json!({"displayName": "https://fabrikam.example/raum?x=1"});
        Event { body, organizer: Some(organizer), ..Event::default() }
    }

    fn with_attachments(mut self, mut body: Value) -> Event {
        let day = self.day();
        self.at(&mut body, day, 60, "GMT Standard Time");
        body["body"] = json!({"contentType": "html", "content": "<html><body><img src=\"cid:bild@1\">Siehe Anhang</body></html>"});
        let file = |name: &str, kind: &str, bytes: Vec<u8>| Attachment {
            name: name.into(),
            content_type: kind.into(),
            content_id: None,
            inline: false,
            what: Attached::File(Blob::Stored(Bytes::from(bytes))),
        };
        let length = 900 + self.dice.below(4000) as usize;
        let text = words::prose(&mut self.dice, length).into_bytes();
        let picture = crate::seed::outlook::photo("bild").bytes.to_vec();
        let inner = b"From: a@fabrikam.example\r\nTo: b@fabrikam.example\r\nSubject: Anlage\r\nDate: Mon, 4 Mar 2024 09:00:00 +0000\r\n\r\nText\r\n";
        let attachments = vec![
            file("Tagesordnung – Entwurf.txt", "text/plain", text),
            Attachment {
                content_id: Some("bild@1".into()),
                inline: true,
                ..file("bild.jpg", "image/jpeg", picture)
            },
            Attachment {
                what: Attached::Item(Blob::Stored(Bytes::from_static(inner))),
                ..file("Anlage", "message/rfc822", Vec::new())
            },
            Attachment {
                what: Attached::Reference,
                ..file("Protokoll.docx", "text/html", Vec::new())
            },
            file("leer.bin", "application/octet-stream", Vec::new()),
        ];
        Event { body, attachments, ..Event::default() }
    }

    /// No time at all, in a zone by its IANA name.
    fn moment(mut self, mut body: Value) -> Event {
        let day = self.day();
        self.at(&mut body, day, 0, "America/St_Johns");
        body["importance"] = "high".into();
        body["showAs"] = "workingElsewhere".into();
        body["reminderMinutesBeforeStart"] = 1440.into();
        body["categories"] = json!([CATEGORIES[3].0]);
        Event { body, ..Event::default() }
    }
}
