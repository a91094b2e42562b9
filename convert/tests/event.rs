//! Events there and back: what a file says, that it says it again, and what real files make of us.

#![recursion_limit = "256"]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use convert::event::{self, Calendar, Loss, ReadSeries, Series};
use proptest::prelude::*;
use serde_json::{Value, json};

const SERIES_UID: &str = "040000008200E00074C5B7101A82E00800000000DA2B357D94B5D201000000000000000010000000EC4597557F0CB34EA4CC2887EA7B17C3";

/// What was attached, by number.
type Bytes = Rc<RefCell<BTreeMap<usize, Vec<u8>>>>;

/// A sink for one attachment.
struct Sink(usize, Bytes);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.borrow_mut().entry(self.0).or_default().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read(file: &[u8]) -> (Calendar, BTreeMap<usize, Vec<u8>>) {
    let bytes = Bytes::default();
    let calendar = event::read(file, None, |number| {
        bytes.borrow_mut().insert(number, Vec::new());
        Ok(Box::new(Sink(number, Rc::clone(&bytes))))
    });
    (calendar.expect("a file that can be read"), bytes.take())
}

/// Writes a series whose attachments have the contents their `id` names.
fn write(series: &Series<'_>, contents: &BTreeMap<usize, Vec<u8>>) -> (String, Vec<Loss>) {
    let mut out = Vec::new();
    let losses = event::write(series, &mut out, |wanted| {
        let number = wanted.attachment["id"].as_str().and_then(|id| id.parse::<usize>().ok());
        let content = number.and_then(|number| contents.get(&number));
        let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Box::new(&content[..]) as Box<dyn Read>)
    });
    (String::from_utf8(out).expect("UTF-8"), losses.expect("an event"))
}

fn write_again(series: &ReadSeries, contents: &BTreeMap<usize, Vec<u8>>) -> String {
    let whole = |event: &Value, attachments: &[event::Attachment]| {
        let list = attachments.iter().map(|attachment| {
            let mut json = attachment.json.clone();
            json["id"] = attachment.number.to_string().into();
            json
        });
        let mut event = event.clone();
        event["attachments"] = list.collect();
        event
    };
    let master = whole(&series.event, &series.attachments);
    let exceptions: Vec<Value> =
        series.exceptions.iter().map(|one| whole(&one.event, &one.attachments)).collect();
    let cancelled: Vec<Value> =
        series.cancelled.iter().map(|day| format!("OID.x.{day}").into()).collect();
    let series =
        Series { event: &master, exceptions: &exceptions, cancelled: &cancelled, zone: None };
    write(&series, contents).0
}

fn time(text: &str) -> Value {
    json!({ "dateTime": format!("{text}.0000000"), "timeZone": "UTC" })
}

/// A weekly meeting with everything a file can hold.
fn meeting() -> Value {
    json!({
        "id": "AAMk=", "iCalUId": SERIES_UID, "type": "seriesMaster",
        "createdDateTime": "2026-01-01T08:00:00.1234567Z",
        "lastModifiedDateTime": "2026-01-02T08:00:00Z",
        "subject": "Jour fixe: Zahlen, Ärger; \\ \"Fragen\"",
        "body": { "contentType": "html", "content": "<html><body><p>Grüße;</p>a, b</body></html>" },
        "start": time("2026-03-24T08:30:00"), "end": time("2026-03-24T09:30:00"),
        "originalStartTimeZone": "W. Europe Standard Time",
        "originalEndTimeZone": "W. Europe Standard Time",
        "isAllDay": false, "showAs": "workingElsewhere", "sensitivity": "personal",
        "importance": "high", "isReminderOn": true, "reminderMinutesBeforeStart": 15,
        "allowNewTimeProposals": false, "responseRequested": true, "isOnlineMeeting": true,
        "onlineMeeting": { "joinUrl": "https://meet.example.com/l/19%3ameeting?context=%7b%22Tid" },
        "categories": ["New York", "Blue, \"light\""],
        "location": { "displayName": "Room 3; Lobby" },
        "locations": [
            { "displayName": "Room 3", "locationType": "conferenceRoom",
              "locationUri": "room3@example.com", "coordinates": { "latitude": 47.672, "longitude": -102.103 } },
            { "displayName": "Lobby", "address": { "city": "Redmond", "street": "1 Main St" } },
        ],
        "organizer": { "emailAddress": { "name": "Vance, Adele", "address": "adele@example.com" } },
        "attendees": [
            { "type": "required", "status": { "response": "accepted" },
              "emailAddress": { "name": "Dana \"D\" ^Swope", "address": "dana@example.com" } },
            { "type": "optional", "status": { "response": "tentativelyAccepted" },
              "emailAddress": { "name": "Alex: Wilber", "address": "alex@example.com" } },
            { "type": "resource", "status": { "response": "none" },
              "emailAddress": { "name": "Room 3", "address": "room3@example.com" } },
            { "type": "required", "status": { "response": "declined" },
              "emailAddress": { "name": "Old", "address": "/o=ExchangeLabs/ou=x/cn=Recipients/cn=1" } },
        ],
        "recurrence": {
            "pattern": { "type": "weekly", "interval": 2, "daysOfWeek": ["thursday", "tuesday"],
                         "firstDayOfWeek": "sunday", "month": 0, "dayOfMonth": 0, "index": "first" },
            "range": { "type": "endDate", "startDate": "2026-03-23", "endDate": "2026-12-31",
                       "recurrenceTimeZone": "W. Europe Standard Time", "numberOfOccurrences": 0 },
        },
        "cancelledOccurrences": ["OID.AAMk=.2026-04-07", "OID.AAMk=.2026-04-08"],
        "attachments": [
            { "@odata.type": "#microsoft.graph.fileAttachment", "id": "0", "name": "a;\"b\".txt",
              "contentType": "text/plain", "isInline": false },
            { "@odata.type": "#microsoft.graph.fileAttachment", "id": "1", "name": "größe.png",
              "contentType": "image/png", "isInline": true, "contentId": "logo@1" },
            { "@odata.type": "#microsoft.graph.itemAttachment", "id": "2", "name": "A mail",
              "contentType": null, "isInline": false },
        ],
        "exceptionOccurrences": [{
            "type": "exception", "originalStart": "2026-04-09T07:30:00Z",
            "subject": "Moved", "start": time("2026-04-10T10:00:00"), "end": time("2026-04-10T10:00:00"),
            "originalStartTimeZone": "GMT Standard Time", "originalEndTimeZone": "GMT Standard Time",
            "isCancelled": true, "showAs": "free",
            "body": { "contentType": "text", "content": "two\r\nlines" },
            "lastModifiedDateTime": "2026-02-02T08:00:00Z",
            "attachments": [{ "@odata.type": "#microsoft.graph.fileAttachment", "id": "3",
                              "name": "empty", "contentType": "application/x-empty; a=b", "isInline": false }],
        }],
    })
}

fn contents() -> BTreeMap<usize, Vec<u8>> {
    let large: Vec<u8> = (0..=255).cycle().take(300_001).collect();
    // Text that is valid in itself is what a parser's own decoding would change.
    [(0, b"text".to_vec()), (1, large), (2, b"Subject: x\r\n\r\ny".to_vec()), (3, vec![])].into()
}

#[test]
fn a_meeting_says_all() {
    let meeting = meeting();
    let (file, losses) = write(&Series::of(&meeting, None), &contents());
    assert!(file.lines().all(|line| line.len() <= 75) && file.ends_with("END:VCALENDAR\r\n"));
    assert!(!file.replace("\r\n", "").contains(['\r', '\n']), "every line ends in CRLF");
    assert!(!file.contains("METHOD"), "a file that is kept asks nobody");
    let unfolded = file.replace("\r\n ", "");
    let uid = format!("UID:{SERIES_UID}");
    for line in [
        uid.as_str(),
        "TZID:Europe/Berlin",
        "DTSTAMP:20260102T080000Z",
        "DTSTART;TZID=Europe/Berlin:20260324T093000",
        "RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH;WKST=SU;UNTIL=20261231T083000Z",
        "EXDATE;TZID=Europe/Berlin:20260407T093000",
        "RECURRENCE-ID;TZID=Europe/Berlin:20260409T093000",
        "DTSTART;TZID=Europe/London:20260410T110000",
        "CLASS:X-PERSONAL",
        "X-MICROSOFT-CDO-BUSYSTATUS:WORKINGELSEWHERE",
        "ORGANIZER;CN=\"Vance, Adele\":mailto:adele@example.com",
        "ATTENDEE;CN=Dana ^'D^' ^^Swope;ROLE=REQ-PARTICIPANT;PARTSTAT=ACCEPTED;RSVP=TRUE:mailto:dana@example.com",
        "ATTENDEE;CN=Room 3;CUTYPE=ROOM;ROLE=NON-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:room3@example.com",
        "ATTENDEE;CN=Old;ROLE=REQ-PARTICIPANT;PARTSTAT=DECLINED;RSVP=TRUE:invalid:nomail",
        "CATEGORIES:New York,Blue\\, \"light\"",
        "TRIGGER;RELATED=START:-PT15M",
        "GEO:47.672;-102.103",
    ] {
        assert!(unfolded.lines().any(|known| known == line), "{line}\n{unfolded:.9000}");
    }
    let lost: Vec<&str> = losses.iter().map(|loss| loss.property.as_str()).collect();
    assert_eq!(
        lost,
        [
            "attachments/contentType",
            "attendees/emailAddress/address",
            "cancelledOccurrences",
            "recurrence/range/startDate",
        ]
    );

    strict(&[file]);
}

#[test]
fn a_meeting_reads_back() {
    let meeting = meeting();
    let (file, _) = write(&Series::of(&meeting, None), &contents());
    let (calendar, bytes) = read(file.as_bytes());
    assert_eq!(calendar.losses, []);
    let [series] = &calendar.series[..] else { panic!("one series: {:?}", calendar.series) };
    assert_eq!(bytes, contents());
    for name in [
        "subject",
        "body",
        "isAllDay",
        "showAs",
        "sensitivity",
        "importance",
        "categories",
        "reminderMinutesBeforeStart",
        "allowNewTimeProposals",
        "responseRequested",
        "onlineMeeting",
        "location",
        "locations",
        "organizer",
        "originalStartTimeZone",
        "iCalUId",
    ] {
        assert_eq!(series.event[name], meeting[name], "{name}");
    }
    assert_eq!(series.event["attendees"][0], meeting["attendees"][0]);
    assert_eq!(
        series.event["start"],
        json!({ "dateTime": "2026-03-24T09:30:00.0000000", "timeZone": "W. Europe Standard Time" })
    );
    assert_eq!(series.event["recurrence"]["pattern"]["daysOfWeek"], json!(["tuesday", "thursday"]));
    assert_eq!(
        series.cancelled.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["2026-04-07"]
    );
    let [moved] = &series.exceptions[..] else { panic!("one exception") };
    assert_eq!(moved.original.to_string(), "2026-04-09");
    assert_eq!(moved.event["originalStart"], "2026-04-09T07:30:00Z");
    assert_eq!(
        (&moved.event["isCancelled"], &moved.event["showAs"]),
        (&json!(true), &json!("free"))
    );
    assert_eq!(series.attachments[1].json["contentId"], "logo@1");
    assert_eq!(series.attachments[2].json["@odata.type"], "#microsoft.graph.itemAttachment");
    assert_eq!(write_again(series, &bytes), file);
}

#[test]
fn whole_days_are_days_everywhere() {
    let day = json!({
        "iCalUId": "day@example.com", "isAllDay": true, "subject": "Holiday",
        "start": { "dateTime": "2026-05-01T00:00:00.0000000", "timeZone": "Tokyo Standard Time" },
        "end": { "dateTime": "2026-05-03T00:00:00.0000000", "timeZone": "Tokyo Standard Time" },
        "originalStartTimeZone": "Tokyo Standard Time",
    });
    let (file, losses) = write(&Series::of(&day, None), &BTreeMap::new());
    assert!(file.contains("DTSTART;VALUE=DATE:20260501\r\nDTEND;VALUE=DATE:20260503\r\n"));
    assert!(!file.contains("VTIMEZONE") && losses.is_empty());
    let (calendar, _) = read(file.as_bytes());
    assert_eq!(calendar.series[0].event["end"]["dateTime"], "2026-05-03T00:00:00.0000000");
    assert_eq!(write_again(&calendar.series[0], &BTreeMap::new()), file);
}

#[test]
fn zones_without_a_name_come_from_their_rules() {
    // Bias -330 (UTC+5:30), no daylight saving; then one with it that no place has.
    for saving in [false, true] {
        let mut bytes = vec![0_u8; 48];
        bytes[..4].copy_from_slice(&(-330_i32).to_le_bytes());
        if saving {
            bytes[8..12].copy_from_slice(&(-60_i32).to_le_bytes());
            bytes[14..30].copy_from_slice(&[0, 0, 11, 0, 2, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
            bytes[32..48].copy_from_slice(&[0, 0, 2, 0, 3, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        }
        let value = data_encoding::BASE64.encode(&bytes);
        let event = json!({
            "iCalUId": "custom@example.com", "subject": "x",
            "start": time("2026-07-01T06:30:00"), "end": time("2026-07-01T07:00:00"),
            "originalStartTimeZone": "tzone://Microsoft/Custom",
            "originalEndTimeZone": "tzone://Microsoft/Custom",
            "singleValueExtendedProperties": [
                { "id": "Binary {00062002-0000-0000-c000-000000000046} Id 0x8233", "value": value },
            ],
        });
        let (file, losses) = write(&Series::of(&event, Some("UTC")), &BTreeMap::new());
        assert_eq!(losses, []);
        assert!(file.contains("TZID=Custom-"), "{file}");
        assert!(
            file.contains(if saving { ":20260701T130000" } else { ":20260701T120000" }),
            "{file}"
        );
        let (calendar, _) = read(file.as_bytes());
        assert_eq!(write_again(&calendar.series[0], &BTreeMap::new()), file);
        strict(&[file]);
    }
    let event = json!({
        "iCalUId": "lost@example.com",
        "start": time("2026-07-01T06:30:00"), "end": time("2026-07-01T07:00:00"),
        "originalStartTimeZone": "Customized Time Zone",
    });
    let (file, losses) = write(&Series::of(&event, Some("Tokyo Standard Time")), &BTreeMap::new());
    assert!(file.contains("DTSTART;TZID=Asia/Tokyo:20260701T153000"));
    assert_eq!(losses[0].property, "originalStartTimeZone");
}

#[test]
fn what_a_file_does_not_hold_is_told() {
    let event = json!({
        "iCalUId": "x", "subject": "bell\u{7}",
        "start": time("2026-07-01T06:30:00"), "end": time("2026-07-01T05:00:00"),
        "hideAttendees": true, "isDraft": true, "transactionId": "t", "isOnlineMeeting": true,
        "onlineMeetingProvider": "teamsForBusiness", "hasAttachments": true, "showAs": "unknown",
        "onlineMeeting": { "conferenceId": "1" }, "extensions": [{ "id": "e" }],
        "responseStatus": { "response": "accepted", "time": "2026-01-01T00:00:00Z" },
        "somethingNew": 1, "webLink": "https://example.com", "bodyPreview": "b", "nothing": null,
        "singleValueExtendedProperties": [{ "id": "String 0x1000", "value": "v" }],
        "attendees": [{ "emailAddress": { "address": "a@example.com" },
            "status": { "response": "notResponded", "time": "0001-01-01T00:00:00Z" },
            "proposedNewTime": { "start": time("2026-07-01T06:30:00") } }],
        "recurrence": { "pattern": { "type": "hijri", "interval": 1 }, "range": { "startDate": "2026-07-01" } },
    });
    let (_, losses) = write(&Series::of(&event, None), &BTreeMap::new());
    let lost: Vec<&str> = losses.iter().map(|loss| loss.property.as_str()).collect();
    assert_eq!(
        lost,
        [
            "attachments",
            "attendees/proposedNewTime",
            "attendees/status/response",
            "end",
            "extensions",
            "hideAttendees",
            "isDraft",
            "isOnlineMeeting",
            "onlineMeeting/conferenceId",
            "onlineMeetingProvider",
            "recurrence",
            "responseStatus/response",
            "responseStatus/time",
            "showAs",
            "singleValueExtendedProperties",
            "somethingNew",
            "subject",
            "transactionId",
        ]
    );
}

#[test]
fn what_is_set_again_mails_nobody() {
    let set = event::settable(&meeting());
    for name in [
        "attendees",
        "organizer",
        "iCalUId",
        "id",
        "onlineMeeting",
        "isOnlineMeeting",
        "createdDateTime",
        "cancelledOccurrences",
        "attachments",
    ] {
        assert_eq!(set[name], Value::Null, "{name}");
    }
    assert_eq!(set["subject"], meeting()["subject"]);
    assert_eq!(
        set["start"],
        json!({ "dateTime": "2026-03-24T09:30:00.0000000", "timeZone": "W. Europe Standard Time" })
    );
}

#[test]
fn rules_that_graph_has_not_are_lost_aloud() {
    let with = |rule: &str| {
        let file = format!(
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:u\r\nDTSTAMP:20260101T000000Z\r\n\
             DTSTART:20260131T100000Z\r\nRRULE:{rule}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        );
        let (calendar, _) = read(file.as_bytes());
        let pattern = calendar.series[0].event["recurrence"]["pattern"].clone();
        (pattern, calendar.losses.len())
    };
    for rule in [
        "FREQ=HOURLY",
        "FREQ=MONTHLY",
        "FREQ=MONTHLY;BYMONTHDAY=31",
        "FREQ=YEARLY;BYWEEKNO=5",
        "FREQ=MONTHLY;BYDAY=5SA",
        "FREQ=MONTHLY;BYMONTHDAY=15,31",
        "FREQ=DAILY;BYMONTH=1",
        "FREQ=WEEKLY;BYDAY=MO",
    ] {
        assert_eq!(with(rule), (Value::Null, 1), "{rule}");
    }
    let last_day = json!({ "type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31 });
    assert_eq!(with("FREQ=MONTHLY;BYMONTHDAY=-1"), (last_day.clone(), 0));
    assert_eq!(with("FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1"), (last_day, 0));
    let saturday = json!({ "type": "relativeMonthly", "interval": 3, "daysOfWeek": ["saturday"], "index": "last" });
    assert_eq!(with("FREQ=MONTHLY;INTERVAL=3;BYDAY=-1SA"), (saturday, 0));
    let yearly = json!({ "type": "absoluteYearly", "interval": 1, "month": 1, "dayOfMonth": 31 });
    assert_eq!(with("FREQ=YEARLY"), (yearly, 0));
}

#[test]
#[expect(clippy::print_stdout, reason = "what real files lose is the report of this test")]
fn real_files_are_read_without_a_silent_loss() {
    let shared = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/ics/ical4j");
    let Ok(entries) = std::fs::read_dir(&shared) else {
        assert!(
            std::env::var_os("TAR365_REQUIRE_CORPUS").is_none(),
            "{} is missing",
            shared.display()
        );
        return;
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let (mut events, mut exceptions, mut attached) = (0, 0, 0);
    let mut losses: BTreeMap<String, u32> = BTreeMap::new();
    let mut written = Vec::new();
    for file in &files {
        let bytes = std::fs::read(file).expect("a file");
        let (calendar, contents) = read(&bytes);
        let begun = String::from_utf8_lossy(&bytes).matches("BEGIN:VEVENT").count();
        let kept: usize = calendar.series.iter().map(|series| 1 + series.exceptions.len()).sum();
        let refused = calendar
            .losses
            .iter()
            .filter(|loss| loss.property == "VEVENT/DTSTART" && loss.why.contains("no event"));
        let refused: u32 = refused.map(|loss| loss.count).sum();
        assert_eq!(kept + refused as usize, begun, "{}", file.display());
        events += calendar.series.len();
        exceptions += calendar.series.iter().map(|series| series.exceptions.len()).sum::<usize>();
        attached += contents.len();
        for loss in calendar.losses {
            *losses.entry(format!("{}: {}", loss.property, loss.why)).or_default() += loss.count;
        }
        for series in &calendar.series {
            let once = write_again(series, &contents);
            let (again, bytes) = read(once.as_bytes());
            let [read] = &again.series[..] else {
                panic!("{}: one series\n{once}", file.display())
            };
            let twice = write_again(read, &bytes);
            let differing = once.lines().zip(twice.lines()).find(|(one, two)| one != two);
            assert_eq!(differing, None, "{}", file.display());
            written.push(once);
        }
    }
    println!(
        "{} files, {events} series, {exceptions} exceptions, {attached} attachments, {losses:#?}",
        files.len()
    );
    assert!(events > 300, "{events}");
    strict(&written);
}

#[test]
fn white_space_in_a_name_stays() {
    let file = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:x\r\n\
        DTSTART:20260102T030405Z\r\nORGANIZER;CN=\\\t\ta  b:mailto:o@example.com\r\n\
        ATTENDEE:mailto:a@example.com\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let (calendar, contents) = read(file.as_bytes());
    let written = write_again(&calendar.series[0], &contents);
    assert!(written.contains(";CN=\\\t\ta  b:"), "{written}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn written_again_is_the_same(
        texts in prop::collection::vec("\\PC{0,90}|[a-z ,;:\\\\\"^\n\r\t=]{0,60}", 6),
        html in any::<bool>(), all_day in any::<bool>(),
        start in 0_i64..2_000_000_000, length in 0_i64..200_000,
        zone in prop::sample::select(vec!["UTC", "Pacific Standard Time", "Lord Howe Standard Time",
            "Europe/Vienna", "Egypt Standard Time", "Morocco Standard Time"]),
        choices in prop::collection::vec(0_usize..6, 6),
    ) {
        let time = |seconds: i64| {
            let time = chrono::DateTime::from_timestamp(seconds / 60 * 60, 0).expect("a time");
            json!({ "dateTime": time.format("%Y-%m-%dT%H:%M:%S.0000000").to_string(), "timeZone": "UTC" })
        };
        let pick = |list: &[&str], at: usize| list[choices[at] % list.len()].to_owned();
        let event = json!({
            "iCalUId": format!("{}@x", texts[0]), "subject": texts[1],
            "body": { "contentType": if html { "html" } else { "text" }, "content": texts[2] },
            "location": { "displayName": texts[3] }, "categories": [texts[4]],
            "isAllDay": all_day, "start": time(start), "end": time(start + length),
            "originalStartTimeZone": zone, "originalEndTimeZone": zone,
            "showAs": pick(&["free", "tentative", "busy", "oof", "workingElsewhere"], 0),
            "sensitivity": pick(&["normal", "personal", "private", "confidential"], 1),
            "importance": pick(&["low", "normal", "high"], 2),
            "isReminderOn": choices[3] > 2, "reminderMinutesBeforeStart": choices[4] * 45,
            "organizer": { "emailAddress": { "name": texts[5], "address": "o@example.com" } },
            "attendees": [{ "type": pick(&["required", "optional", "resource"], 5),
                "emailAddress": { "name": texts[4], "address": "a@example.com" } }],
        });
        let (file, _) = write(&Series::of(&event, None), &BTreeMap::new());
        prop_assert!(file.lines().all(|line| line.len() <= 75));
        let (calendar, _) = read(file.as_bytes());
        prop_assert_eq!(calendar.series.len(), 1, "{}", &file);
        prop_assert_eq!(write_again(&calendar.series[0], &BTreeMap::new()), file);
    }

    #[test]
    fn nothing_makes_the_reader_panic(
        lines in prop::collection::vec(
            "(BEGIN|END):(VCALENDAR|VEVENT|VALARM|VTIMEZONE|STANDARD)|(DTSTART|DTEND|EXDATE|RECURRENCE-ID|TRIGGER)(;TZID=[A-Z/]{0,5})?:[-0-9TZP]{0,17}|RRULE:FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY)(;(INTERVAL|COUNT|BYMONTHDAY|BYSETPOS|BYMONTH)=-?[0-9]{1,6}){0,3}|ATTACH;ENCODING=BASE64:[A-Za-z=]{0,9}|UID:[ab]|\\PC{0,20}", 0..30),
    ) {
        let _ = read(lines.join("\r\n").as_bytes());
        let whole = format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101T000000Z\n{}\nEND:VEVENT\nEND:VCALENDAR", lines.join("\n"));
        let _ = read(whole.as_bytes());
    }
}

/// Has icalendar and vobject read files.
fn strict(files: &[String]) {
    let directory = tempfile::tempdir().expect("a directory");
    let paths: Vec<PathBuf> = files
        .iter()
        .enumerate()
        .map(|(number, file)| {
            let path = directory.path().join(format!("{number}.ics"));
            std::fs::write(&path, file).expect("a file");
            path
        })
        .collect();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/strict.py");
    let status = Command::new("python3").arg(script).args(paths).status();
    assert!(status.expect("python3 (tests/setup installs what it needs)").success());
}
