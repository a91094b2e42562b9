//! Tasks to VTODO and back: every property, any text, recurrences, attachments, other programs.

#![recursion_limit = "256"]

mod programs;
mod published;

use std::collections::BTreeMap;
use std::io::{self, Read};

use convert::task::{LOSSY, Task, read, write};
use convert::{Error, Loss};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use published::{Schema, shared};
use serde_json::{Map, Value, json};

/// The file of a task, and what it does not hold; each attachment's content is its `id`.
fn written(task: &Value) -> (String, Vec<Loss>) {
    let mut out = Vec::new();
    let losses = write(task, &mut out, |attachment| {
        Ok(Box::new(io::Cursor::new(attachment["id"].as_str().unwrap().as_bytes().to_vec())))
    })
    .unwrap();
    (String::from_utf8(out).unwrap(), losses)
}

fn file(task: &Value) -> String {
    written(task).0
}

/// The one task of a file, and the contents of its attachments.
fn one(file: &[u8]) -> (Task, Vec<Vec<u8>>) {
    let mut contents = Vec::new();
    let mut tasks = read(&mut &*file, |attachment, content| {
        assert_eq!(attachment.number, contents.len());
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        contents.push(bytes);
        Ok(())
    })
    .unwrap();
    assert_eq!(tasks.len(), 1);
    (tasks.remove(0), contents)
}

fn back(task: &Value) -> Task {
    let (back, _) = one(file(task).as_bytes());
    assert_eq!(back.losses, [], "{}", file(task));
    back
}

fn at(time: &str, zone: &str) -> Value {
    json!({"dateTime": format!("{time}.0000000"), "timeZone": zone})
}

/// One that has everything.
fn shopping() -> Value {
    json!({
        "id": "AAMkAD=", "@odata.etag": "W/\"1\"", "title": "Shop, for dinner; now",
        "status": "waitingOnOthers", "importance": "high", "isReminderOn": true,
        "createdDateTime": "2026-07-22T10:39:03.7937971Z",
        "lastModifiedDateTime": "2026-11-22T12:02:10.8835421Z",
        "bodyLastModifiedDateTime": "2026-11-22T12:02:10Z",
        "body": {"contentType": "html", "content": "<p>Käse &amp; Wein\r\n</p>"},
        "startDateTime": at("2026-11-23T00:00:00", "UTC"),
        "dueDateTime": at("2026-11-30T00:00:00", "W. Europe Standard Time"),
        "completedDateTime": at("2026-11-29T09:00:00", "Pacific Standard Time"),
        "reminderDateTime": at("2026-11-29T09:30:00", "W. Europe Standard Time"),
        "recurrence": {
            "pattern": {"type": "weekly", "interval": 2, "month": 0, "dayOfMonth": 0,
                "daysOfWeek": ["monday"], "firstDayOfWeek": "sunday", "index": "first"},
            "range": {"type": "endDate", "startDate": "2026-11-23", "endDate": "2027-11-23",
                "recurrenceTimeZone": "UTC", "numberOfOccurrences": 0},
        },
        "categories": ["Red category", "a,b"], "hasAttachments": true,
        "checklistItems": [
            {"id": "1", "displayName": "bread; butter", "isChecked": true,
                "checkedDateTime": "2026-11-21T08:00:00.1234567Z", "createdDateTime": "2026-11-20T08:00:00Z"},
            {"id": "2", "displayName": "\"milk\"", "isChecked": false}],
        "linkedResources": [
            {"id": "3", "applicationName": "Partner, App", "displayName": "a;b",
                "externalId": "x\\y", "webUrl": "https://example.com/a;b,c?d"},
            {"id": "4", "applicationName": "No address"}],
        "attachments": [
            {"@odata.type": "#microsoft.graph.taskFileAttachment", "id": "plain text", "size": 10,
                "name": "list; of \"all\".txt", "contentType": "text/plain"},
            {"id": "no kind", "name": "", "contentType": "nonsense; charset=x"}],
    })
}

#[test]
fn a_task_is_as_rfc_5545_says() {
    let expected = "\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//tar365//tar365//EN
BEGIN:VTODO
UID:UUID
DTSTAMP:20261122T120210Z
CREATED:20260722T103903Z
LAST-MODIFIED:20261122T120210Z
DTSTART;VALUE=DATE:20261123
DUE;VALUE=DATE;X-TAR365-ZONE=W. Europe Standard Time:20261130
RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;WKST=SU;UNTIL=20271123
SUMMARY:Shop\\, for dinner\\; now
DESCRIPTION:Käse & Wein
X-ALT-DESC;FMTTYPE=text/html:<p>Käse &amp\\; Wein\\n</p>
CATEGORIES:Red category,a\\,b
PRIORITY:1
STATUS:NEEDS-ACTION
X-TAR365-STATUS:waitingOnOthers
COMPLETED;X-TAR365-ZONE=Pacific Standard Time:20261129T170000Z
X-TAR365-CHECKLIST-ITEM:{\"checkedDateTime\":\"2026-11-21T08:00:00.1234567Z\"\\,\"displayName\":\"bread\\; butter\"\\,\"isChecked\":true}
X-TAR365-CHECKLIST-ITEM:{\"checkedDateTime\":null\\,\"displayName\":\"~1\"milk~1\"\"\\,\"isChecked\":false}
ATTACH:https://example.com/a;b,c?d
X-TAR365-LINKED-RESOURCE:{\"applicationName\":\"Partner\\, App\"\\,\"displayName\":\"a\\;b\"\\,\"externalId\":\"x~1~1y\"\\,\"webUrl\":\"https://example.com/a\\;b\\,c?d\"}
X-TAR365-LINKED-RESOURCE:{\"applicationName\":\"No address\"}
ATTACH;ENCODING=BASE64;VALUE=BINARY;FMTTYPE=text/plain;X-FILENAME=\"list; of ^'all^'.txt\":cGxhaW4gdGV4dA==
ATTACH;ENCODING=BASE64;VALUE=BINARY;X-TAR365-CONTENT-TYPE=\"nonsense; charset=x\":bm8ga2luZA==
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:REMINDER
TRIGGER;VALUE=DATE-TIME;X-TAR365-ZONE=W. Europe Standard Time:20261129T083000Z
END:VALARM
END:VTODO
END:VCALENDAR
";
    let (file, losses) = written(&shopping());
    let unfolded = file.replace("\r\n ", "");
    let uid = unfolded.lines().find_map(|line| line.strip_prefix("UID:")).unwrap();
    assert_eq!(unfolded, expected.replace("UUID", uid).replace('\n', "\r\n"));
    assert!(file.split("\r\n").all(|line| line.len() <= 75));
    assert_eq!(losses, []);
}

#[test]
fn a_task_comes_back() {
    let (task, contents) = one(file(&shopping()).as_bytes());
    assert_eq!(task.losses, []);
    let mut expected = expected(&shopping());
    expected.body["body"]["content"] = json!("<p>Käse &amp; Wein\n</p>");
    assert_eq!(task.body, expected.body);
    assert_eq!(task.checklist, expected.checklist);
    assert_eq!(task.links, expected.links);
    assert_eq!(contents, [b"plain text".to_vec(), b"no kind".to_vec()]);
    let named: Vec<_> = task
        .attachments
        .iter()
        .map(|a| (a.number, a.name.as_str(), a.content_type.as_str()))
        .collect();
    assert_eq!(named, [(0, "list; of \"all\".txt", "text/plain"), (1, "", "nonsense; charset=x")]);
}

#[test]
fn times_of_day_have_their_zone() {
    let task = json!({
        "id": "1", "startDateTime": at("2026-11-23T00:00:00", "America/New_York"),
        "dueDateTime": at("2026-11-23T09:00:00", "W. Europe Standard Time"),
    });
    let text = file(&task).replace("\r\n ", "");
    // The start is later: 05:00 UTC is before 08:00.
    for line in [
        "BEGIN:VTIMEZONE",
        "TZID:Europe/Berlin",
        "TZID:America/New_York",
        "DTSTART;TZID=America/New_York;X-TAR365-ZONE=America/New_York:20261123T000000",
        "DUE;TZID=Europe/Berlin:20261123T090000",
    ] {
        assert!(text.lines().any(|is| is == line), "{line} in {text}");
    }
    assert_eq!(back(&task).body, expected(&task).body);
    let utc = json!({"id": "1", "dueDateTime": at("2026-11-23T04:00:00", "UTC")});
    assert!(file(&utc).contains("\r\nDUE:20261123T040000Z\r\n"));
    assert_eq!(back(&utc).body, expected(&utc).body);
}

#[test]
fn a_start_after_the_end_is_kept_beside_it() {
    let task = json!({
        "id": "1", "startDateTime": at("2026-11-24T00:00:00", "UTC"),
        "dueDateTime": at("2026-11-23T00:00:00", "UTC"),
    });
    assert!(!file(&task).contains("DTSTART"));
    assert_eq!(back(&task).body, expected(&task).body);
}

#[test]
fn every_published_property_comes_back_or_is_declared() {
    let Some(schema) = Schema::read() else { return };
    let lossy = |name: &str| LOSSY.iter().any(|(lossy, _)| *lossy == name);
    let mut known = Vec::new();
    for (name, of) in schema.properties("graph.todoTask") {
        known.push(name.clone());
        let choice = match name.as_str() {
            "importance" => "high",
            "status" => "deferred",
            _ => "html",
        };
        let (sample, wanted) = match name.as_str() {
            // Not only of the type, but with a meaning.
            "recurrence" => (shopping()["recurrence"].clone(), recurrence(&shopping())),
            _ if of == "graph.dateTimeTimeZone" => {
                (at("2026-01-02T03:04:05", "UTC"), at("2026-01-02T03:04:05", "UTC"))
            }
            // The members of these are looked at below.
            "checklistItems" | "linkedResources" | "attachments" => continue,
            _ if lossy(&name) => continue,
            _ => (schema.sample(&of, choice), schema.sample(&of, choice)),
        };
        let mut task = json!({"id": "1", name.as_str(): sample});
        if name == "isReminderOn" {
            task["reminderDateTime"] = at("2026-01-02T03:04:05", "UTC");
        }
        assert_eq!(back(&task).body[&name], wanted, "{name}");
    }
    for (list, of) in
        [("checklistItems", "graph.checklistItem"), ("linkedResources", "graph.linkedResource")]
    {
        for (name, of) in schema.properties(of) {
            let path = format!("{list}/{name}");
            let sample = schema.sample(&of, "");
            let task = back(&json!({"id": "1", list: [{name.as_str(): sample}]}));
            let read = if list == "linkedResources" { task.links } else { task.checklist };
            assert!(lossy(&path) || read[0][&name] == sample, "{path}: {read:?}");
            known.push(path);
        }
    }
    for (name, of) in schema.properties("graph.taskFileAttachment") {
        let path = format!("attachments/{name}");
        // The content: `attachments_are_streamed`.
        if !lossy(&path) && name != "contentBytes" {
            let sample = match name.as_str() {
                "name" => json!("some, text; of it"),
                _ => schema.sample(&of, ""),
            };
            let task = json!({"id": "1", "attachments": [{"id": "x", name.as_str(): sample}]});
            let attachment = back(&task).attachments.remove(0);
            let read = if name == "name" { attachment.name } else { attachment.content_type };
            assert_eq!(json!(read), sample, "{path}");
        }
        known.push(path);
    }
    for (name, _) in LOSSY {
        assert!(known.iter().any(|is| is == name), "{name} is no property");
    }
}

#[test]
fn the_list_of_losses_is_documented() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../doc/contacts.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (name, _) in LOSSY {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in doc/contacts.md");
    }
}

#[test]
fn what_a_file_does_not_hold_is_named() {
    let task = json!({
        "id": "1", "title": "bell\u{7}", "categories": ["a  b"], "status": "dreamt", "importance": "huge",
        "isReminderOn": true, "extensions": [{"id": "e"}], "mood": "good", "@odata.etag": "W/1",
        "recurrence": {"pattern": {"type": "lunar"}, "range": {}},
        "dueDateTime": at("2026-01-01T10:00:00", "Mars Standard Time"),
    });
    let (text, losses) = written(&task);
    let named: Vec<_> = losses.iter().map(|loss| loss.property.as_str()).collect();
    assert_eq!(
        named,
        [
            "categories",
            "dueDateTime/timeZone",
            "extensions",
            "importance",
            "isReminderOn",
            "mood",
            "recurrence",
            "title"
        ]
    );
    // What we do not understand comes back nevertheless.
    let (task_back, _) = one(text.as_bytes());
    for name in ["status", "recurrence", "dueDateTime"] {
        assert_eq!(task_back.body[name], task[name]);
    }
}

#[test]
fn attachments_are_streamed() {
    /// Bytes that are nowhere in memory.
    struct Long(u64, u8);
    impl Read for Long {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.min(buffer.len() as u64).min(1013) as usize;
            for byte in &mut buffer[..count] {
                self.1 = self.1.wrapping_mul(31).wrapping_add(7);
                *byte = self.1;
            }
            self.0 -= count as u64;
            Ok(count)
        }
    }
    for length in [0, 1, 2, 3, 4, 6143, 6144, 6145, 12287, 12288, 12289, 3_000_000] {
        let task = json!({"id": "1", "attachments": [{"name": "a"}, {"name": "b"}]});
        let mut out = Vec::new();
        write(&task, &mut out, |_| Ok(Box::new(Long(length, 1)))).unwrap();
        let (task, contents) = one(&out);
        let mut expected = Vec::new();
        Long(length, 1).read_to_end(&mut expected).unwrap();
        assert_eq!(task.attachments.len(), 2);
        assert!(contents.iter().all(|content| *content == expected), "{length}");
        // Nobody has to read them.
        assert_eq!(read(&mut &*out, |_, _| Ok(())).unwrap(), [task]);
    }
}

#[test]
fn what_goes_wrong_with_an_attachment_is_told() {
    let task = json!({"id": "1", "attachments": [{"name": "a.txt"}]});
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let losses = write(&task, &mut Vec::new(), |_| Err(gone())).unwrap();
    assert_eq!(losses[0].property, "attachments");
    let refused = write(&task, &mut Vec::new(), |_| Err(io::ErrorKind::TimedOut.into()));
    assert!(matches!(refused, Err(Error::Attachment { name, .. }) if name == "a.txt"));
    let damaged = b"BEGIN:VCALENDAR\nBEGIN:VTODO\nATTACH;ENCODING=BASE64;VALUE=BINARY:!!!!\n\
        END:VTODO\nEND:VCALENDAR\n";
    assert!(matches!(read(&mut &damaged[..], |_, _| Ok(())), Err(Error::Attachment { .. })));
    let full =
        read(&mut file(&shopping()).as_bytes(), |_, _| Err(io::ErrorKind::StorageFull.into()));
    assert!(matches!(full, Err(Error::Attachment { .. })));
}

#[test]
fn json_that_is_not_as_documented_is_refused() {
    for task in [
        json!([]),
        json!({"title": "no id"}),
        json!({"id": "1", "title": 5}),
        json!({"id": "1", "isReminderOn": "yes"}),
        json!({"id": "1", "dueDateTime": "2026-01-01"}),
        json!({"id": "1", "dueDateTime": {"dateTime": "soon"}}),
        json!({"id": "1", "checklistItems": {}}),
        json!({"id": "1", "createdDateTime": "yesterday"}),
    ] {
        assert!(write(&task, &mut Vec::new(), |_| unreachable!()).is_err(), "{task}");
    }
}

#[test]
fn files_of_other_programs_are_understood() {
    let file = "BEGIN:VCALENDAR\nVERSION:2.0\nX-WR-CALNAME:Home\nBEGIN:VTODO\nUID:1\n\
        SUMMARY:Write\n  it\nDTSTART;TZID=Europe/Berlin:20261123T090000\nDUE;TZID=/x/Nowhere:20261124T090000\n\
        RRULE:FREQ=MONTHLY;BYDAY=2MO\nPRIORITY:3\nPERCENT-COMPLETE:40\nLOCATION:here\n\
        ATTACH:https://example.com/\nATTACH;FMTTYPE=text/plain;ENCODING=BASE64;VALUE=BINARY:aGVsbG8\n\
        BEGIN:VALARM\nACTION:AUDIO\nTRIGGER:-PT15M\nEND:VALARM\nBEGIN:VALARM\nTRIGGER:-PT1M\nEND:VALARM\n\
        END:VTODO\nBEGIN:VEVENT\nUID:2\nEND:VEVENT\nEND:VCALENDAR\n";
    let (task, contents) = one(file.as_bytes());
    assert_eq!(
        task.body,
        json!({
            "title": "Write it", "status": "inProgress", "importance": "high", "isReminderOn": true,
            "startDateTime": at("2026-11-23T09:00:00", "W. Europe Standard Time"),
            "dueDateTime": at("2026-11-24T09:00:00", "UTC"),
            "reminderDateTime": at("2026-11-23T08:45:00", "W. Europe Standard Time"),
        })
    );
    assert_eq!(task.links, [json!({"webUrl": "https://example.com/"})]);
    assert_eq!(
        (task.attachments[0].content_type.as_str(), contents),
        ("text/plain", vec![b"hello".to_vec()])
    );
    let lost: Vec<_> = task.losses.iter().map(|loss| loss.property.as_str()).collect();
    assert_eq!(
        lost,
        // The rule, as the start is not a second Monday.
        [
            "DUE",
            "LOCATION",
            "PERCENT-COMPLETE",
            "RRULE",
            "VALARM",
            "VCALENDAR/X-WR-CALNAME",
            "VEVENT"
        ]
    );
    assert!(read(&mut &b"BEGIN:VCALENDAR\nEND:VCALENDAR\n"[..], |_, _| Ok(())).is_err());
}

#[test]
fn a_rule_that_was_changed_is_what_counts() {
    let mut task = shopping();
    task["dueDateTime"] = Value::Null;
    task["recurrence"]["range"]["recurrenceTimeZone"] = json!("W. Europe Standard Time");
    let text = file(&task).replace("\r\n ", "");
    let (unchanged, _) = one(text.as_bytes());
    assert_eq!(unchanged.body["recurrence"], recurrence(&task));
    let (changed, _) = one(text.replace("INTERVAL=2", "INTERVAL=3").as_bytes());
    assert_eq!(changed.body["recurrence"]["pattern"]["interval"], 3);
    let removed: Vec<_> = text.lines().filter(|line| !line.starts_with("RRULE")).collect();
    let (removed, _) = one(removed.join("\n").as_bytes());
    assert_eq!(removed.body.get("recurrence"), None);
}

#[test]
#[expect(clippy::print_stderr, reason = "counts of real files are to be seen")]
fn files_of_the_field_lose_nothing_silently() {
    let Some(corpus) = shared("corpus/ics/ical4j") else { return };
    let (mut files, mut tasks, mut without) = (0, 0, 0);
    let mut lost = BTreeMap::<_, u32>::new();
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        files += 1;
        let there = String::from_utf8_lossy(&bytes);
        let there = there.lines().filter(|line| line.trim_end() == "BEGIN:VTODO").count();
        match read(&mut &*bytes, |_, content| io::copy(content, &mut io::sink()).map(|_| ())) {
            Ok(read) => {
                assert_eq!(read.len(), there, "{}", path.display());
                tasks += read.len();
                for task in read {
                    for loss in &task.losses {
                        *lost.entry(loss.property.clone()).or_default() += loss.count;
                    }
                    // What was understood is kept from then on.
                    let mut again = task.body.clone();
                    again["id"] = json!("1");
                    assert_eq!(back(&again).body, task.body, "{}", path.display());
                }
            }
            Err(Error::Invalid { property: "VTODO", .. }) => {
                assert_eq!(there, 0, "{}", path.display());
                without += 1;
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    assert!(tasks > 0);
    eprintln!("{files} files, {without} without a task, {tasks} tasks; without a place: {lost:?}");
}

#[test]
fn other_programs_read_the_files_and_keep_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::deterministic();
    let mut tasks = vec![shopping()];
    tasks.extend((0..60).map(|_| task().new_tree(&mut runner).unwrap().current()));
    for (number, task) in tasks.iter_mut().enumerate() {
        task["id"] = json!(format!("task {number}"));
        let path = directory.path().join(format!("{number}.ics"));
        std::fs::write(&path, file(task)).unwrap();
        std::fs::write(path.with_extension("json"), clean(task).unwrap().to_string()).unwrap();
    }
    let said = programs::python("tasks.py", &[directory.path()]);
    assert!(said.contains(&format!("{} tasks", tasks.len())), "{said}");
}

/// Text as people and programs leave it in tasks.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,8}", "[ -~\t\r\n\u{7}äß漢😀\u{85}\u{2028},;:\\\\\"^']{0,100}"]
}

/// A day or a time of day that every zone has once a day.
fn moment() -> impl Strategy<Value = Value> {
    let zone = prop::sample::select(vec![
        "UTC",
        "Pacific Standard Time",
        "W. Europe Standard Time",
        "Europe/Berlin",
        "India Standard Time",
        "Lord Howe Standard Time",
        "tzone://Microsoft/Utc",
        "tzone://Microsoft/Custom",
        "Nowhere/None",
    ]);
    let hour = prop_oneof![Just(0), 5..=22u32];
    (2024..=2028, 1..=12u32, 1..=28u32, hour, zone).prop_map(|(year, month, day, hour, zone)| {
        at(&format!("{year}-{month:02}-{day:02}T{hour:02}:00:00"), zone)
    })
}

/// A recurrence as it comes back: without what its type does not use.
fn recurring() -> impl Strategy<Value = Value> {
    const WEEK: [&str; 7] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let days = prop::sample::subsequence(WEEK.to_vec(), 1..=7);
    let index = prop::sample::select(vec!["first", "second", "third", "fourth", "last"]);
    let zone = prop::sample::select(vec!["UTC", "W. Europe Standard Time"]);
    (
        (0..6, 1..=3, 1..=12, 1..=31, days, prop::sample::select(WEEK.to_vec()), index),
        (0..3, 1..=12u32, 1..=28u32, zone),
    )
        .prop_map(|((kind, interval, month, day, days, first, index), (range, m, d, zone))| {
            let pattern = match kind {
                0 => json!({"type": "daily", "interval": interval}),
                1 => json!({"type": "weekly", "interval": interval, "daysOfWeek": days,
                    "firstDayOfWeek": first}),
                2 => json!({"type": "absoluteMonthly", "interval": interval, "dayOfMonth": day}),
                3 => json!({"type": "absoluteYearly", "interval": interval, "month": month,
                    "dayOfMonth": day}),
                4 => json!({"type": "relativeMonthly", "interval": interval, "daysOfWeek": days,
                    "index": index}),
                _ => json!({"type": "relativeYearly", "interval": interval, "month": month,
                    "daysOfWeek": days, "index": index}),
            };
            let start = format!("2026-{m:02}-{d:02}");
            let range = match range {
                0 => json!({"type": "noEnd", "startDate": start, "recurrenceTimeZone": zone}),
                1 => json!({"type": "endDate", "startDate": start, "recurrenceTimeZone": zone,
                    "endDate": format!("2036-{m:02}-{d:02}")}),
                _ => json!({"type": "numbered", "startDate": start, "recurrenceTimeZone": zone,
                    "numberOfOccurrences": d}),
            };
            json!({"pattern": pattern, "range": range})
        })
}

fn task() -> impl Strategy<Value = Value> {
    let maybe = |strategy: BoxedStrategy<Value>| prop::option::of(strategy);
    let choice = |values: &[&'static str]| {
        maybe(prop::sample::select(values.to_vec()).prop_map(Value::from).boxed())
    };
    let members = |names: &'static [&'static str]| {
        prop::collection::vec(prop::option::of(text()), names.len()).prop_map(move |values| {
            let members = names.iter().zip(values);
            Value::Object(members.map(|(name, text)| ((*name).to_owned(), json!(text))).collect())
        })
    };
    (
        (text(), text(), choice(&["text", "html"]), prop::collection::vec(text(), 0..3)),
        (
            choice(&["low", "normal", "high"]),
            choice(&["notStarted", "inProgress", "completed", "waitingOnOthers", "deferred"]),
            any::<bool>(),
        ),
        prop::collection::vec(maybe(moment().boxed()), 4),
        maybe(recurring().boxed()),
        prop::collection::vec((members(&["displayName"]), any::<bool>()), 0..3),
        prop::collection::vec(
            members(&["applicationName", "displayName", "externalId", "webUrl"]),
            0..3,
        ),
    )
        .prop_map(|(texts, marks, times, recurrence, checklist, links)| {
            let checklist: Vec<_> = checklist
                .into_iter()
                .map(|(mut item, checked)| {
                    item["isChecked"] = json!(checked);
                    item
                })
                .collect();
            json!({
                "id": "AAMk", "lastModifiedDateTime": "2026-11-22T10:00:00Z", "title": texts.0,
                "body": {"content": texts.1, "contentType": texts.2}, "categories": texts.3,
                "importance": marks.0, "status": marks.1.unwrap_or(json!("notStarted")),
                "isReminderOn": marks.2 && times[3].is_some(),
                "startDateTime": times[0], "dueDateTime": times[1], "completedDateTime": times[2],
                "reminderDateTime": times[3], "recurrence": recurrence, "checklistItems": checklist,
                "linkedResources": links,
            })
        })
}

/// A task as it is expected back.
fn expected(task: &Value) -> Task {
    let clean = clean(task).unwrap();
    let mut body = clean.as_object().unwrap().clone();
    body.retain(|name, _| !name.contains('@') && LOSSY.iter().all(|(lossy, _)| lossy != name));
    for name in ["checklistItems", "linkedResources", "attachments"] {
        body.remove(name);
    }
    if task["recurrence"].is_object() {
        body.insert("recurrence".to_owned(), recurrence(task));
    }
    if task["isReminderOn"] == false {
        body.remove("isReminderOn");
    }
    if body.get("body").is_some_and(|body| body.get("content").is_none()) {
        body.remove("body");
    } else if let Some(body) = body.get_mut("body") {
        body["contentType"] = match body["contentType"].as_str() {
            None => json!("text"),
            Some(kind) => json!(kind),
        };
    }
    if let Some(Value::Array(categories)) = body.remove("categories") {
        let words = |text: &Value| {
            text.as_str().unwrap().split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        };
        let categories: Vec<_> =
            categories.iter().map(words).filter(|text| !text.is_empty()).collect();
        if !categories.is_empty() {
            body.insert("categories".to_owned(), json!(categories));
        }
    }
    let kept = |list: &str, names: &[&str]| -> Vec<Value> {
        // JSON keeps even what a line does not.
        let kept = task[list].as_array().into_iter().flatten().map(|item| {
            let members = names.iter().filter(|name| {
                !item[**name].is_null() && (item[**name] != "" || list == "checklistItems")
            });
            Value::Object(members.map(|name| ((*name).to_owned(), item[*name].clone())).collect())
        });
        kept.collect()
    };
    Task {
        body: Value::Object(body),
        checklist: kept("checklistItems", &["displayName", "checkedDateTime", "isChecked"])
            .into_iter()
            .map(|mut item| {
                if item["displayName"] == "" {
                    item.as_object_mut().unwrap().remove("displayName");
                }
                item
            })
            .collect(),
        links: kept("linkedResources", &["applicationName", "displayName", "externalId", "webUrl"]),
        ..Task::default()
    }
}

/// The recurrence of a task without what its type does not use.
fn recurrence(task: &Value) -> Value {
    let used: &[&str] = match task["recurrence"]["pattern"]["type"].as_str().unwrap() {
        "daily" => &[],
        "weekly" => &["daysOfWeek", "firstDayOfWeek"],
        "absoluteMonthly" => &["dayOfMonth"],
        "absoluteYearly" => &["month", "dayOfMonth"],
        "relativeMonthly" => &["daysOfWeek", "index"],
        _ => &["month", "daysOfWeek", "index"],
    };
    let mut recurrence = task["recurrence"].clone();
    let pattern = recurrence["pattern"].as_object_mut().unwrap();
    pattern.retain(|name, _| ["type", "interval"].contains(&&**name) || used.contains(&&**name));
    let range = recurrence["range"].as_object_mut().unwrap();
    if range["type"] != "numbered" {
        range.remove("numberOfOccurrences");
    }
    recurrence
}

/// Without nulls, empty values and control characters; line ends as LF.
fn clean(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => {
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            let text: String =
                text.chars().filter(|c| !c.is_ascii_control() || "\t\n".contains(*c)).collect();
            (!text.is_empty()).then(|| json!(text))
        }
        Value::Array(list) => {
            let list: Vec<_> = list.iter().filter_map(clean).collect();
            (!list.is_empty()).then(|| json!(list))
        }
        Value::Object(members) => {
            let members =
                members.iter().filter_map(|(name, value)| Some((name.clone(), clean(value)?)));
            let members: Map<_, _> = members.collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        Value::Null => None,
        other => Some(other.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_written_comes_back(task in task()) {
        let read = back(&task);
        prop_assert_eq!(&read, &expected(&task));
        // What came back is a fixed point.
        let mut again = read.body.clone();
        for name in ["id", "lastModifiedDateTime"] {
            again[name] = task[name].clone();
        }
        again["checklistItems"] = json!(read.checklist);
        again["linkedResources"] = json!(read.links);
        prop_assert_eq!(&back(&again), &read);
        let (text, losses) = written(&task);
        if losses.iter().all(|loss| loss.property.ends_with("/timeZone")) {
            prop_assert_eq!(text, file(&again));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        text in "(BEGIN:VCALENDAR\r\n)?(BEGIN:VTODO\r\n)?([A-Z]{3,9}[ -~\r\n]{0,60}\r\n){0,5}(END:VTODO)?"
    ) {
        let _ = read(&mut text.as_bytes(), |_, content| io::copy(content, &mut io::sink()).map(|_| ()));
    }
}
