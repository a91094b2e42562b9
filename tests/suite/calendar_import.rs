//! Calendars restored: what comes back is what was exported, but for what doc/restore.md says, and
//! nobody is mailed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};
use simulator::{Fault, Language, Options};

use crate::harness::{Archive, Tenant, run, sha256, tar365, text, verify};
use crate::import::{Saved, counts, emptied, emptied_with, writable};

pub const SERVICE: [&str; 4] = ["--service", "calendar", "--user", "*"];
/// The property in which what may not be set is kept.
const KEPT: &str = "String {00020329-0000-0000-C000-000000000046} Name tar365-event";

pub fn small() -> Options {
    Options { users: 2, mails: 1, files: 1, ..Options::default() }
}

pub fn saved(tenant: &Tenant) -> Saved {
    let archive = tenant.export(&SERVICE).expect(0).stdout;
    verify(&archive);
    Saved::new(archive)
}

#[track_caller]
pub fn assert_nobody_was_mailed(tenant: &Tenant) {
    let mailed = tenant.simulator.tenant().mailed();
    assert!(mailed.is_empty(), "{mailed:?}");
}

/// How a property of an event comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it was.
    Same,
    /// The service makes it anew.
    Anew,
    /// Declared lost; kept as data with the event.
    Lost,
    /// Not exported: told in the ledger of each archive.
    NotCovered,
}

/// Every property of the type in Microsoft's schema.
const PROPERTIES: [(&str, Way); 49] = [
    ("allowNewTimeProposals", Way::Same),
    ("attachments", Way::Same),
    ("attendees", Way::Lost),
    ("body", Way::Same),
    ("bodyPreview", Way::Anew),
    ("calendar", Way::Anew),
    ("cancelledOccurrences", Way::Same),
    ("categories", Way::Same),
    ("changeKey", Way::Anew),
    ("createdDateTime", Way::Anew),
    ("end", Way::Same),
    ("exceptionOccurrences", Way::Same),
    ("extensions", Way::NotCovered),
    ("hasAttachments", Way::Same),
    ("hideAttendees", Way::Same),
    ("iCalUId", Way::Anew),
    ("id", Way::Anew),
    ("importance", Way::Same),
    ("instances", Way::Anew),
    ("isAllDay", Way::Same),
    ("isCancelled", Way::Lost),
    ("isDraft", Way::Lost),
    ("isOnlineMeeting", Way::Lost),
    ("isOrganizer", Way::Lost),
    ("isReminderOn", Way::Same),
    ("lastModifiedDateTime", Way::Anew),
    ("location", Way::Same),
    ("locations", Way::Same),
    ("multiValueExtendedProperties", Way::NotCovered),
    ("onlineMeeting", Way::Lost),
    ("onlineMeetingProvider", Way::Lost),
    ("onlineMeetingUrl", Way::Lost),
    ("organizer", Way::Lost),
    ("originalEndTimeZone", Way::Same),
    ("originalStart", Way::Same),
    ("originalStartTimeZone", Way::Same),
    ("recurrence", Way::Same),
    ("reminderMinutesBeforeStart", Way::Same),
    ("responseRequested", Way::Same),
    ("responseStatus", Way::Lost),
    ("sensitivity", Way::Same),
    ("seriesMasterId", Way::Anew),
    ("showAs", Way::Same),
    ("singleValueExtendedProperties", Way::NotCovered),
    ("start", Way::Same),
    ("subject", Way::Same),
    ("transactionId", Way::Lost),
    ("type", Way::Same),
    ("webLink", Way::Anew),
];

#[test]
fn every_property_of_microsofts_schema_has_its_way_back() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/graph/v1.0-Prod.csdl.xz");
    if !schema.is_file() {
        eprintln!("*** NOT TESTED with Microsoft's schema: {} is missing ***", schema.display());
        return;
    }
    let program = r#"
import lzma, sys, xml.etree.ElementTree as E
types = {}
for e in E.parse(lzma.open(sys.argv[1])).iter():
    if e.tag.endswith("}EntityType"):
        types.setdefault(e.get("Name"), e)
name = "event"
while name:
    for p in types[name]:
        if p.tag.endswith("}Property") or p.tag.endswith("}NavigationProperty"):
            print(p.get("Name"))
    name = (types[name].get("BaseType") or "").split(".")[-1]
"#;
    let told = crate::harness::python(program, &[schema.as_os_str()]);
    let schema: BTreeSet<&str> = told.lines().collect();
    let known: BTreeSet<&str> = PROPERTIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(known, schema);
    let text = include_str!("../../doc/restore.md");
    for (name, way) in PROPERTIES.iter().filter(|(_, way)| *way != Way::Same) {
        assert!(text.contains(&format!("`{name}`")), "{name} ({way:?}) is not in doc/restore.md");
    }
}

fn list<'a>(event: &'a Value, name: &str) -> &'a [Value] {
    event[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The day at the end of an occurrence's id.
fn day(id: &Value) -> &str {
    id.as_str().unwrap_or_default().rsplit('.').next().unwrap_or_default()
}

/// The events of a section with the attachments in their files, by start and subject.
fn events(archive: &Archive, section: &str) -> BTreeMap<String, (Value, Vec<String>)> {
    let contents = archive.items(section);
    let lines = archive.lines(section).into_iter().filter(|line| line["kind"] == "event");
    let event = |line: Value| {
        let event = line["graph"].clone();
        let key = format!("{} {}", text(&event["start"], "dateTime"), text(&event, "subject"));
        let file = String::from_utf8(contents[text(&line, "id")].content.clone()).unwrap();
        let file = file.replace("\r\n ", "");
        let attached = file.lines().filter(|line| line.starts_with("ATTACH;"));
        // What was an item is a file of the same bytes; their order is that of ids.
        let bytes = attached.map(|line| sha256(line.rsplit(':').next().unwrap().as_bytes()));
        let mut bytes: Vec<String> = bytes.collect();
        bytes.sort_unstable();
        (key, (event, bytes))
    };
    let all: Vec<_> = lines.map(event).collect();
    let number = all.len();
    let events = BTreeMap::from_iter(all);
    assert_eq!(events.len(), number, "two events have one name");
    events
}

/// What of an event must be as it was.
fn same(event: &Value, name: &str) -> Value {
    match name {
        // The people are told at its end.
        "body" => {
            let body = &event["body"];
            let content = text(body, "content");
            let end = content.find("<hr><p>From the archive.").or(content.find("\r\n\r\n____"));
            let after = if content.contains("</body>") { "</body></html>" } else { "" };
            let content = end.map_or(content.to_owned(), |end| content[..end].to_owned() + after);
            json!([body["contentType"], content])
        }
        "cancelledOccurrences" => list(event, name).iter().map(day).collect(),
        "exceptionOccurrences" => {
            let names = PROPERTIES.iter().filter(|(name, way)| {
                *way == Way::Same && !matches!(*name, "exceptionOccurrences" | "attachments")
            });
            let names: Vec<&str> = names.map(|(name, _)| *name).collect();
            let one = |one: &Value| names.iter().map(|name| same(one, name)).collect::<Value>();
            list(event, name).iter().map(one).collect()
        }
        "attachments" => Value::Null,
        name => event[name].clone(),
    }
}

/// All that comes back of an event, in one line.
pub fn said(event: &Value) -> String {
    let names = PROPERTIES.iter().filter(|(_, way)| *way == Way::Same);
    names.map(|(name, _)| format!("{name}={} ", same(event, name))).collect()
}

/// Everything that may differ between an event and what it was restored to.
fn differences(was: &Value, is: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    // A zone without a name is UTC, or another with the same clock.
    let is_nameless = was["originalStartTimeZone"] == "tzone://Microsoft/Custom";
    let names = PROPERTIES.iter().filter(|(_, way)| *way == Way::Same);
    for (name, _) in names {
        if is_nameless && (name.contains("TimeZone") || *name == "recurrence") {
            continue;
        }
        let (was, is) = (same(was, name), same(is, name));
        if was != is {
            differences.push(format!("{name}: {was} is {is}"));
        }
    }
    for name in ["attendees", "onlineMeeting"] {
        if !is[name].is_null() && !list(is, name).is_empty() {
            differences.push(format!("{name}: there is {}", is[name]));
        }
    }
    if is["isOnlineMeeting"] == true || is["isOrganizer"] == false {
        differences.push("it is an online meeting, or somebody else's".to_owned());
    }
    let kept = list(is, "singleValueExtendedProperties").iter();
    let mut kept = kept.filter(|property| text(property, "id").eq_ignore_ascii_case(KEPT));
    let kept = kept.next().map_or("{}", |property| text(property, "value"));
    let kept: Value = serde_json::from_str(kept).unwrap();
    for (name, way) in PROPERTIES {
        let keeps = way == Way::Lost && !was[name].is_null() && name != "isOrganizer";
        if keeps && kept[name] != was[name] {
            differences.push(format!("{name} is not kept: {kept}"));
        }
    }
    differences
}

/// What is in `before` is in `after`, of each user.
#[track_caller]
fn assert_back(tenant: &Tenant, before: &Archive, after: &Archive) -> usize {
    let mut all = 0;
    for user in tenant.simulator.tenant().users() {
        let section = format!("users/{}/calendar", user.upn);
        let (was, is) = (events(before, &section), events(after, &section));
        assert_eq!(was.keys().collect::<Vec<_>>(), is.keys().collect::<Vec<_>>());
        all += was.len();
        for (key, (was, attached)) in &was {
            let (is, now_attached) = &is[key];
            let differences = differences(was, is);
            assert!(differences.is_empty(), "{key}: {differences:#?}");
            assert_eq!(attached, now_attached, "{key}");
        }
    }
    all
}

#[test]
fn what_was_exported_comes_back_and_nobody_is_mailed() {
    let source = writable(small());
    let saved = saved(&source);
    let before = Archive::new(&saved.bytes);
    for (language, mode) in [(Language::German, "beside"), (Language::Japanese, "in-place")] {
        let target = emptied(&source, language);
        let arguments: &[&str] = if mode == "beside" { &[] } else { &["--in-place"] };
        let run = saved.import(&target, mode, arguments);
        assert_nobody_was_mailed(&target);
        let run = run.expect(0);
        assert_eq!(counts(&run), [28, 0, 0, 0, 0], "{}", run.stderr);
        for loss in ["attendees", "online-meeting", "time-zone", "nested-as-file"] {
            assert!(run.stderr.contains(loss), "{loss}: {}", run.stderr);
        }
        assert!(!run.stderr.contains("occurrence"), "{}", run.stderr);
        assert_nobody_was_mailed(&target);
        let again = target.export(&SERVICE).expect(0).stdout;
        verify(&again);
        assert_eq!(assert_back(&source, &before, &Archive::new(&again)), 28);
        // The product's own comparison agrees.
        let second = Saved::new(again);
        // The ids of that tenant must not turn up by chance.
        let options = Options { seed: 366, ..Options::default() };
        let third = emptied_with(&source, language, options);
        let drill = second.import(&third, "again", arguments).expect(0);
        assert_eq!(counts(&drill), [28, 0, 0, 0, 0], "{}", drill.stderr);
        // A second run makes nothing twice, whether it knows of the first or not.
        let another = format!("another-{mode}");
        for journal in [mode, another.as_str()] {
            let run = saved.import(&target, journal, arguments).expect(0);
            assert_eq!(counts(&run), [0, 0, 28, 0, 0], "{}", run.stderr);
        }
        saved.undo(&target, mode).expect(0);
        let items = |user: &simulator::User| target.simulator.tenant().items(&user.id).unwrap();
        let left: Vec<_> = target.simulator.tenant().users().iter().flat_map(items).collect();
        assert!(left.is_empty(), "{left:?}");
        assert_nobody_was_mailed(&target);
    }
}

#[test]
fn answers_that_are_lost_make_nothing_twice() {
    let source = writable(small());
    let saved = saved(&source);
    let before = Archive::new(&saved.bytes);
    let target = emptied(&source, Language::English);
    let faults = [
        "reset-after:rate=0.3,times=1,match=/events",
        "error-after:rate=0.3,times=1,match=/calendars",
    ];
    target.simulator.set_faults(faults.map(|fault| fault.parse::<Fault>().unwrap()).to_vec());
    let run = saved.import(&target, "journal", &[]).expect(0);
    assert_eq!(counts(&run), [28, 0, 0, 0, 0], "{}", run.stderr);
    let log = target.simulator.log().records();
    let struck = log.iter().filter(|record| record.fault.is_some()).count();
    assert!(struck > 10, "{struck}");
    target.simulator.set_faults(Vec::new());
    let again = target.export(&SERVICE).expect(0).stdout;
    assert_eq!(assert_back(&source, &before, &Archive::new(&again)), 28);
    assert_nobody_was_mailed(&target);
}

/// Where it was exported from everything is there still, and nothing of it is touched: neither
/// meetings nor the service's own calendars.
#[test]
fn in_place_only_what_is_gone_comes_back() {
    let tenant = writable(small());
    let saved = saved(&tenant);
    let office = tenant.simulator.tenant();
    let user = office.users().remove(0);
    let items = || office.items(&user.id).unwrap();
    let before: Vec<_> = items().into_iter().map(|item| item.id).collect();
    for conflict in ["skip", "replace"] {
        let arguments = ["--in-place", "--user", &user.upn, "--on-conflict", conflict];
        let run = saved.import(&tenant, conflict, &arguments);
        assert_nobody_was_mailed(&tenant);
        let run = run.expect(0);
        match conflict {
            "skip" => assert_eq!(counts(&run), [0, 0, 14, 0, 0], "{}", run.stderr),
            // To replace a meeting is to call it off: it is put beside it.
            _ => assert_eq!(counts(&run), [14, 0, 0, 0, 0], "{}", run.stderr),
        }
        let now: BTreeSet<_> = items().into_iter().map(|item| item.id).collect();
        assert!(before.iter().all(|id| now.contains(id)), "{conflict}: something is gone");
        assert_nobody_was_mailed(&tenant);
    }
    saved.undo(&tenant, "replace").expect(0);
    assert_eq!(items().len(), before.len());
    // Meetings are deleted by their owner, who is one that tells people.
    let archive = Archive::new(&saved.bytes);
    let section = format!("users/{}/calendar", user.upn);
    let (_, (meeting, _)) = events(&archive, &section)
        .into_iter()
        .find(|(_, (event, _))| {
            !list(event, "attendees").is_empty() && event["isOrganizer"] == true
        })
        .unwrap();
    office.delete_item(&user.id, text(&meeting, "id")).unwrap();
    let run = saved.import(&tenant, "gone", &["--in-place", "--user", &user.upn]).expect(0);
    assert_eq!(counts(&run), [1, 0, 13, 0, 0], "{}", run.stderr);
    let made = items().into_iter().find(|item| !before.contains(&item.id)).unwrap();
    assert_eq!(made.properties["subject"], meeting["subject"]);
    assert_eq!(made.properties["attendees"], json!([]));
    let told = made.properties["body"]["content"].as_str().unwrap();
    let person = text(&list(&meeting, "attendees")[0]["emailAddress"], "address");
    assert!(told.contains(person) && told.contains("Organizer: "), "{told}");
    assert_nobody_was_mailed(&tenant);
}

/// An event that its owner has invited people to since is his: to touch it would mail them.
#[test]
fn what_people_were_invited_to_since_is_not_touched() {
    let source = writable(small());
    let saved = saved(&source);
    let target = emptied(&source, Language::English);
    saved.import(&target, "journal", &[]).expect(0);
    let office = target.simulator.tenant();
    let user = office.users().remove(0);
    let events = office.items(&user.id).unwrap();
    let guest = json!({"emailAddress": {"name": "Gast", "address": "gast@fabrikam.example"}});
    let (invited, renamed) = (&events[0].id, &events[1].id);
    office.change_item(&user.id, invited, json!({"attendees": [guest]})).unwrap();
    office.change_item(&user.id, renamed, json!({"subject": "Jetzt meiner"})).unwrap();
    // Another journal: found by its mark, and let be.
    let run = saved.import(&target, "another", &["--user", &user.upn]);
    assert_eq!(counts(&run), [0, 0, 14, 0, 0], "{}", run.stderr);
    assert_nobody_was_mailed(&target);
    let run = saved.undo(&target, "journal").expect(3);
    let left: BTreeSet<_> =
        office.items(&user.id).unwrap().into_iter().map(|item| item.id).collect();
    assert_eq!(left, BTreeSet::from([invited.clone(), renamed.clone()]), "{}", run.stderr);
    assert_nobody_was_mailed(&target);
}

/// The product's own comparison finds what came back equal, and a difference where there is one.
#[test]
fn a_drill_brings_calendars_back() {
    let source = writable(small());
    let saved = saved(&source);
    let drill = |arguments: &[&str]| {
        let fixed = ["drill", &saved.path(), "--service", "calendar"];
        run(tar365(&[&fixed, arguments].concat()))
    };
    let done = drill(&[]).expect(0);
    let shown = String::from_utf8(done.stdout).unwrap();
    assert!(shown.ends_with("PASSED\n"), "{shown}");
}
