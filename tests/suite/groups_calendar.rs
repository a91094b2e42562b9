//! Calendars of groups: of what an application is shown, occurrences in a window, series that other
//! programs read; what it is not shown is declared, and nothing is written back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use simulator::{Credentials, Options};

use crate::base::{Way, night, same};
use crate::calendar::{ASK, script};
use crate::conformance::{Point, Subject};
use crate::dav_server::{Kind, Server};
use crate::harness::{Archive, Tenant, files_below, run, run_with, text, tool, verify};
use crate::import::{Saved, writable};

/// Calendars of groups among all services.
pub const SUBJECT: Subject = Subject {
    service: "calendar",
    arguments: &["--group", "*"],
    delta: Point::Void("no delta of a group's calendar is documented for applications"),
    contents: &[],
    vanishing: Point::Void("the listing says all that there is of an event"),
    change: |tenant| {
        let office = tenant.simulator.tenant();
        let group = &office.groups()[0].id;
        let mut events = office.items(group).unwrap().into_iter();
        let event = events.find(|event| !event.properties["recurrence"].is_object()).unwrap();
        office.change_item(group, &event.id, json!({"subject": "Geändert"})).unwrap();
        event.id
    },
    unsure: 0,
    held: Some(|tenant| {
        let office = tenant.simulator.tenant();
        let items = office.groups().into_iter().flat_map(|group| office.items(&group.id).unwrap());
        items.filter(|item| item.kind == "event").map(|item| item.id).collect()
    }),
};

const SERVICE: [&str; 4] = ["--service", "calendar", "--group", "*"];
const ZONE: &str = "W. Europe Standard Time";
/// 2026 and 2027.
const WINDOW: [&str; 2] = ["1767225600", "1830297600"];

fn small() -> Options {
    Options { users: 1, special_users: false, mails: 1, files: 1, ..Options::default() }
}

fn group(tenant: &Tenant) -> String {
    tenant.simulator.tenant().groups()[0].id.clone()
}

fn section(tenant: &Tenant) -> String {
    format!("groups/{}/calendar", tenant.simulator.tenant().groups()[0].mail)
}

/// An event from the day and hour `start` on, of an hour.
fn event(subject: &str, start: &str, recurrence: &Value) -> Value {
    let day = &start[..10];
    let time = |hour: &str| json!({"dateTime": format!("{day}T{hour}:00:00"), "timeZone": ZONE});
    let (from, until) =
        (&start[11..13], format!("{:02}", start[11..13].parse::<u8>().unwrap() + 1));
    json!({
        "subject": subject,
        "body": {"contentType": "html", "content": format!("<p>{subject}</p>")},
        "start": time(from),
        "end": time(&until),
        "recurrence": recurrence,
    })
}

fn series(pattern: Value, start: &str, range: Value) -> Value {
    let mut range = range;
    range["startDate"] = start.into();
    json!({"pattern": pattern, "range": range})
}

/// What is in the first group's calendar: the ids of a series with an exception and a hole, and of
/// an event with an attachment.
struct Filled {
    tenant: Tenant,
    standup: String,
    plan: String,
}

/// Series of every kind, one of them without an end.
fn filled(options: Options) -> Filled {
    let tenant = writable(options);
    let (office, group) = (tenant.simulator.tenant(), group(&tenant));
    let add = |event: Value| office.add_event(&group, event, None).unwrap();
    let count = |count: u32| json!({"type": "numbered", "numberOfOccurrences": count});
    let weekly = json!({"type": "weekly", "interval": 1, "daysOfWeek": ["tuesday", "thursday"]});
    let weekly = series(weekly, "2026-03-03", count(30));
    let standup = add(event("Kurzes Treffen", "2026-03-03T09", &weekly));
    let last = json!({"type": "relativeMonthly", "interval": 1, "daysOfWeek": ["friday"], "index": "last"});
    add(event("Zahltag", "2026-01-30T08", &series(last, "2026-01-30", json!({"type": "noEnd"}))));
    let end = json!({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31});
    add(event("Abschluss", "2026-01-31T17", &series(end, "2026-01-31", count(12))));
    let daily = json!({"type": "daily", "interval": 3});
    let mut whole = event("Ganzer Tag", "2026-05-01T00", &series(daily, "2026-05-01", count(5)));
    whole["isAllDay"] = true.into();
    whole["end"]["dateTime"] = "2026-05-02T00:00:00".into();
    add(whole);
    let plan = event("Mit Plan", "2026-02-02T10", &Value::Null);
    let plan = office.add_event(&group, plan, Some(("Plan.bin", b"Plan"))).unwrap();
    // Over the end of a window, so that two show it.
    let mut long = event("Jahreswechsel", "2025-12-31T20", &Value::Null);
    long["end"]["dateTime"] = "2026-01-02T10:00:00".into();
    add(long);
    Filled { tenant, standup, plan }
}

/// The same, of which one occurrence was cancelled and one changed.
fn changed(options: Options) -> Filled {
    let Filled { tenant, standup, plan } = filled(options);
    let (office, group) = (tenant.simulator.tenant(), group(&tenant));
    let ids = occurrences(&tenant, &standup);
    office.delete_item(&group, &ids[3]).unwrap();
    let moved = json!({
        "subject": "Diesmal länger",
        "start": {"dateTime": "2026-03-19T14:00:00", "timeZone": ZONE},
        "end": {"dateTime": "2026-03-19T16:00:00", "timeZone": ZONE},
    });
    office.change_item(&group, &ids[4], moved).unwrap();
    Filled { tenant, standup, plan }
}

/// The ids of the occurrences of a series, as an export finds them.
fn occurrences(tenant: &Tenant, series: &str) -> Vec<String> {
    let archive = Archive::new(&tenant.export(&SERVICE).expect(0).stdout);
    let events = events(&archive, &section(tenant));
    list(&events[series], "occurrences").iter().map(|one| text(one, "id").to_owned()).collect()
}

fn events(archive: &Archive, section: &str) -> BTreeMap<String, Value> {
    let lines = archive.lines(section).into_iter();
    let events = lines.filter(|line| line["kind"] == "event");
    events.map(|line| (text(&line, "id").to_owned(), line["graph"].clone())).collect()
}

fn list<'a>(event: &'a Value, name: &str) -> &'a [Value] {
    event[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn export(tenant: &Tenant) -> Vec<u8> {
    let archive = tenant.export(&SERVICE).expect(0).stdout;
    verify(&archive);
    archive
}

/// Prints when the occurrences of a window start, as the service shows them; after [`ASK`].
const VIEW: &str = r#"
begin, end = (time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(int(at))) for at in sys.argv[1:3])
url = (f"{get('TAR365_GRAPH_URL')}/v1.0/groups/{sys.argv[3]}/calendarView"
       f"?startDateTime={begin}&endDateTime={end}&$top=500")
for row in rows(url):
    at = calendar.timegm(time.strptime(row["start"]["dateTime"][:19], "%Y-%m-%dT%H:%M:%S"))
    if int(sys.argv[1]) <= at < int(sys.argv[2]):
        print(at)
"#;

#[test]
fn each_series_is_one_file_with_the_occurrences_that_the_service_shows() {
    let Filled { tenant, standup, plan } = changed(small());
    let bytes = export(&tenant);
    same(&export(&tenant), &bytes, "once more");
    let archive = Archive::new(&bytes);
    let section = section(&tenant);
    let events = events(&archive, &section);
    let known = tenant.simulator.tenant().items(&group(&tenant)).unwrap();
    let mut ids: Vec<String> = known.iter().map(|item| item.id.clone()).collect();
    ids.sort();
    assert_eq!(events.keys().cloned().collect::<Vec<_>>(), ids);
    let patterns: BTreeMap<&str, &str> = events
        .values()
        .map(|event| (text(event, "subject"), text(&event["recurrence"]["pattern"], "type")))
        .collect();
    let expected = [
        ("Abschluss", "absoluteMonthly"),
        ("Ganzer Tag", "daily"),
        ("Jahreswechsel", ""),
        ("Klausur Größe", ""),
        ("Kurzes Treffen", "weekly"),
        ("Mit Plan", ""),
        ("Teamrunde", "weekly"),
        ("Zahltag", "relativeMonthly"),
    ];
    assert_eq!(patterns, BTreeMap::from(expected));
    let standup = &events[&standup];
    assert_eq!(list(standup, "occurrences").len(), 28);
    let [exception] = list(standup, "exceptionOccurrences") else { panic!("{standup:#}") };
    assert_eq!(exception["subject"], "Diesmal länger");
    let [cancelled] = list(standup, "cancelledOccurrences") else { panic!("{standup:#}") };
    assert!(cancelled.as_str().unwrap().ends_with(".2026-03-12"), "{cancelled}");
    // What has no end ends with the window.
    let endless = events.values().find(|event| event["subject"] == "Zahltag").unwrap();
    assert_eq!(endless["recurrence"]["range"]["endDate"], "2049-12-31");
    assert_eq!(list(endless, "occurrences").len(), 24 * 12);
    // The file of what has attachments says that they are not in it.
    let items = archive.items(&section);
    assert!(items[&plan].content.ends_with(b"END:VCALENDAR\r\n\r\n"));

    let dir = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> =
        (0..items.len()).map(|n| dir.path().join(format!("{n}.ics"))).collect();
    for (file, member) in files.iter().zip(items.values()) {
        std::fs::write(file, &member.content).unwrap();
    }
    let mut strict = tool("python3");
    strict.arg(script("strict.py")).args(&files);
    run(strict).expect(0);
    let starts = |printed: Vec<u8>, field: usize| -> Vec<i64> {
        let printed = String::from_utf8(printed).unwrap();
        let starts = printed.lines().map(|line| line.split('\t').nth(field).unwrap());
        let mut starts: Vec<i64> = starts.map(|start| start.parse().unwrap()).collect();
        starts.sort_unstable();
        starts
    };
    let mut view = tenant.known_to(tool("python3"));
    view.args(["-c", &[ASK, VIEW].concat()]).args(WINDOW).arg(group(&tenant));
    let shown = starts(run(view).expect(0).stdout, 0);
    assert!(shown.len() > 60, "{shown:?}");
    let list: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
    let mut python = tool("python3");
    python.arg(script("recurrence/occurrences.py")).args(WINDOW);
    assert_eq!(starts(run_with(python, list.as_bytes()).expect(0).stdout, 1), shown);
}

#[test]
fn what_an_application_is_not_shown_is_declared() {
    let Filled { tenant, plan, .. } = filled(small());
    let section = section(&tenant);
    tenant.simulator.log().clear();
    let ledger = Archive::new(&export(&tenant)).ledger();
    let asked = tenant.simulator.log().records();
    let asked = asked.iter().filter(|record| record.path.contains("/groups/"));
    assert!(asked.clone().all(|record| record.status == 200), "nothing is asked in vain");
    let of_section = ledger.iter().filter(|line| text(line, "scope") == section);
    let codes: Vec<&str> = of_section.map(|line| text(line, "code")).collect();
    assert_eq!(codes, ["group-calendar-window", "group-event-attachments", "group-series"]);
    let of_items: Vec<_> = ledger.iter().filter(|line| line["id"].is_string()).collect();
    let [line] = of_items[..] else { panic!("{of_items:?}") };
    assert_eq!((text(line, "id"), text(line, "outcome")), (plan.as_str(), "converted"));
    assert_eq!(text(line, "cause"), "attachments-refused");
    // Who names users gets what he got, and needs no role for groups.
    tenant.simulator.log().clear();
    tenant.export(&["--service", "calendar", "--user", "*"]).expect(0);
    assert_eq!(tenant.simulator.log().count(|record| record.path.contains("/groups")), 0);
}

#[test]
fn windows_pages_order_and_faults_change_nothing() {
    let plain = export(&filled(small()).tenant);
    // Too long a window is asked for in parts, and remembered.
    for view_days in [1460, 100] {
        let Filled { tenant, .. } = filled(Options { view_days, ..small() });
        tenant.simulator.log().clear();
        same(&export(&tenant), &plain, &format!("windows of {view_days} days"));
        let refused = tenant.simulator.log().count(|record| record.status == 400);
        assert!((1..=10).contains(&refused), "{refused} windows were refused");
    }
    let faults = ["throttle:rate=0.2,seconds=0.05", "server-error:rate=0.1", "truncate:rate=0.1"];
    let faults = faults.map(|fault| fault.parse().unwrap()).to_vec();
    let other = Options { page_cap: Some(7), reorder: true, faults, ..small() };
    let Filled { tenant, .. } = filled(other);
    let flags = [&SERVICE[..], &["--concurrency", "7"]].concat();
    same(&tenant.export(&flags).expect(0).stdout, &plain, "pages, order and faults");
    // A calendar that shows nothing at all is told of.
    let tenant = Tenant::start(Options { view_days: 0, ..small() });
    let run = tenant.export(&SERVICE).expect(3);
    let failed = Archive::new(&run.stdout).ledger();
    let failed = failed.iter().filter(|line| line["outcome"] == "failed");
    assert_eq!(failed.count(), 2);
}

#[test]
fn the_next_night_brings_what_is_new() {
    let Filled { tenant, standup, .. } = filled(small());
    let (office, group) = (tenant.simulator.tenant(), group(&tenant));
    let first = export(&tenant);
    let items = Archive::new(&first).items(&section(&tenant)).len() as u64 + 2;
    for way in [Way::File, Way::Pipe] {
        let night = night(&tenant, &first, way, &SERVICE);
        // Of one with attachments a base on a pipe does not tell in time what it lacks.
        let anew = u64::from(way == Way::Pipe);
        assert_eq!(night.number("from_base"), items - anew, "{way:?}");
        same(&night.run.expect(0).stdout, &first, "nothing has changed");
    }
    let ids = occurrences(&tenant, &standup);
    office.delete_item(&group, &ids[8]).unwrap();
    office.add_event(&group, event("Neu", "2026-04-01T09", &Value::Null), None).unwrap();
    let whole = export(&tenant);
    assert!(whole != first);
    for way in [Way::File, Way::Pipe] {
        let night = night(&tenant, &first, way, &SERVICE);
        let anew = u64::from(way == Way::Pipe);
        assert_eq!(night.number("from_base"), items - 1 - anew, "{way:?}");
        same(&night.run.expect(0).stdout, &whole, "one occurrence less, one event more");
    }
}

#[test]
fn groups_without_a_calendar_or_that_let_nobody_in() {
    let Filled { tenant, .. } = filled(small());
    let office = tenant.simulator.tenant();
    let known = office.groups();
    let causes = |archive: &[u8]| -> Vec<String> {
        let ledger = Archive::new(archive).ledger();
        let of = |number: usize| {
            let scope = format!("groups/{}/calendar", known[number].mail);
            let line = ledger.iter().find(|line| text(line, "scope") == scope).unwrap();
            assert_eq!(line["outcome"], "skipped", "{line}");
            text(line, "cause").to_owned()
        };
        vec![of(0), of(1)]
    };
    office.refuse_group(&known[1].id, 403, "ErrorGroupsAccessDenied").unwrap();
    assert_eq!(causes(&export(&tenant)), ["not-covered", "refused"]);
    office.refuse_group(&known[1].id, 404, "MailboxNotEnabledForRESTAPI").unwrap();
    assert_eq!(causes(&export(&tenant)), ["not-covered", "no-service"]);
    // A user's calendars come whatever becomes of groups.
    office.refuse_group(&known[0].id, 403, "ErrorGroupsAccessDenied").unwrap();
    office.refuse_group(&known[1].id, 403, "ErrorGroupsAccessDenied").unwrap();
    assert!(tenant.export(&SERVICE).expect(77).stdout.is_empty());
    let both = tenant.export(&["--service", "calendar"]).expect(0).stdout;
    assert_eq!(causes(&both), ["refused", "refused"]);
    let mut credentials = Credentials::default();
    credentials.roles.retain(|role| !role.starts_with("Calendars."));
    let without = Tenant::start(Options { credentials, ..small() });
    assert!(without.export(&SERVICE).expect(77).stdout.is_empty());
}

#[test]
fn events_go_to_a_user_a_folder_or_a_caldav_server_and_never_back() {
    let Filled { tenant, .. } = changed(small());
    let saved = Saved::new(export(&tenant));
    let archive = Archive::new(&saved.bytes);
    let count = archive.members.iter().filter(|member| member.path.ends_with(".ics")).count();
    assert_eq!(count, 10);
    let refused = saved.import(&tenant, "journal", &["--in-place"]).expect(3);
    assert!(refused.stderr.contains("--to directory:PATH"), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("{count} failed")), "{}", refused.stderr);
    let wrote =
        |record: &simulator::Record| record.method != "GET" && record.path.contains("/groups/");
    assert_eq!(tenant.simulator.log().count(wrote), 0);

    let target = format!("directory:{}", saved.file("out"));
    saved.import(&tenant, "directory", &["--to", &target]).expect(0);
    let there = files_below(Path::new(&saved.file("out")));
    assert_eq!(there.keys().filter(|path| path.ends_with(".ics")).count(), count);

    let user = tenant.simulator.tenant().users()[0].clone();
    let before = tenant.simulator.tenant().items(&user.id).unwrap().len();
    let flags = ["--to-user", &user.upn];
    for (created, present) in [(count, 0), (0, count)] {
        let run = saved.import(&tenant, &format!("to user {created}"), &flags).expect(0);
        let told = format!("{created} created, 0 replaced, {present} there already");
        assert!(run.stderr.contains(&told), "{}", run.stderr);
    }
    assert!(tenant.simulator.tenant().mailed().is_empty());
    let items = tenant.simulator.tenant().items(&user.id).unwrap();
    assert_eq!(items.len() - before, count);
    let standup = items.iter().find(|item| item.properties["subject"] == "Kurzes Treffen").unwrap();
    assert_eq!((standup.changed.len(), standup.cancelled.len()), (1, 1), "{standup:?}");
    assert_eq!(standup.cancelled, ["2026-03-12"]);

    let server = Server::start(Kind::Radicale);
    let journal = saved.file("dav");
    server.import(Path::new(&saved.path()), "caldav", &["--journal", &journal]).expect(0);
    assert_eq!(server.seen().objects.len(), count);
}
