//! Calendars: exported as iCalendar that other programs read, fetched once, restored without a
//! mail to anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use simulator::{ItemInfo, Options, User};
use tempfile::TempDir;

use crate::base::{Way, night, same};
use crate::conformance::{Point, Subject};
use crate::harness::{Archive, Run, Tenant, run, run_with, text, tool, verify};
use crate::import::writable;

/// Calendars among all services.
pub const SUBJECT: Subject = Subject {
    service: "calendar",
    arguments: &["--user", "*"],
    delta: Point::Void("a delta of events is of a window"),
    contents: &["/attachments", "/$value"],
    vanishing: Point::Asked("/attachments?"),
    change: |tenant| {
        let office = tenant.simulator.tenant();
        let user = &office.users()[0].id;
        let mut items = office.items(user).unwrap().into_iter();
        let is_single =
            |item: &ItemInfo| item.kind == "event" && !item.properties["recurrence"].is_object();
        let event = items.find(is_single).unwrap();
        office.change_item(user, &event.id, json!({"subject": "Geändert"})).unwrap();
        event.id
    },
    unsure: 0,
    held: None,
};

const SERVICE: [&str; 4] = ["--service", "calendar", "--user", "*"];

/// Two users; twelve events have every kind once.
fn small() -> Options {
    Options { users: 2, mails: 1, files: 1, ..Options::default() }
}

fn export(tenant: &Tenant) -> Vec<u8> {
    let archive = tenant.export(&SERVICE).expect(0).stdout;
    verify(&archive);
    archive
}

fn section(user: &User) -> String {
    format!("users/{}/calendar", user.upn)
}

/// The events of an archive by their ids: the service's JSON.
fn events(archive: &Archive, section: &str) -> BTreeMap<String, Value> {
    let lines = archive.lines(section).into_iter();
    let events = lines.filter(|line| line["kind"] == "event");
    events.map(|line| (text(&line, "id").to_owned(), line["graph"].clone())).collect()
}

fn list<'a>(event: &'a Value, name: &str) -> &'a [Value] {
    event[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn day(of: &Value) -> String {
    of.as_str().unwrap().rsplit('.').next().unwrap().to_owned()
}

#[test]
fn all_calendars_are_there_with_all_that_became_of_their_events() {
    let tenant = writable(small());
    let bytes = export(&tenant);
    assert!(export(&tenant) == bytes, "the second export has other bytes");
    let archive = Archive::new(&bytes);
    for user in tenant.simulator.tenant().users() {
        let section = section(&user);
        let lines = archive.lines(&section);
        let calendars: Vec<_> = lines.iter().filter(|line| line["kind"] == "folder").collect();
        assert_eq!(calendars.len(), 4, "{calendars:?}");
        let default = calendars.iter().filter(|line| line["graph"]["isDefaultCalendar"] == true);
        assert_eq!(default.count(), 1);
        assert!(calendars.iter().all(|line| line["graph"]["calendarGroup"]["name"].is_string()));
        let shared = lines.iter().find(|line| line["kind"] == "shortcut");
        let shared = shared.expect("a colleague shares a calendar");
        assert!(shared.get("path").is_none() && shared["graph"]["owner"]["address"] != *user.upn);
        let is_told = |line: &Value| {
            let is_skipped = line["cause"] == "shared" && line["outcome"] == "skipped";
            is_skipped && line["id"] == shared["id"]
        };
        assert!(archive.ledger().iter().any(is_told), "{:?}", archive.ledger());

        let exported = events(&archive, &section);
        let contents = archive.items(&section);
        let mut kinds = BTreeSet::new();
        let known = tenant.simulator.tenant().items(&user.id).unwrap();
        let known: Vec<_> = known.into_iter().filter(|item| item.kind == "event").collect();
        let shared_name = text(&shared["graph"], "name");
        let own = known.iter().filter(|item| item.folder != shared_name);
        assert_eq!(own.clone().count(), exported.len());
        assert_eq!(exported.len(), 14);
        for item in own {
            let event = &exported[&item.id];
            kinds.insert(text(event, "type"));
            let exceptions = list(event, "exceptionOccurrences");
            assert_eq!(exceptions.len(), item.changed.len(), "{event}");
            let cancelled: Vec<_> = list(event, "cancelledOccurrences").iter().map(day).collect();
            assert_eq!(cancelled, item.cancelled, "{event}");
            let file = String::from_utf8(contents[&item.id].content.clone()).unwrap();
            let count = |what: &str| file.matches(what).count();
            assert_eq!(count("\r\nRECURRENCE-ID"), exceptions.len(), "{file}");
            assert_eq!(count("\r\nBEGIN:VEVENT"), exceptions.len() + 1, "{file}");
            let attached = item.attachments.len();
            let links = usize::from(attached > 0);
            assert_eq!(count("\r\nATTACH;"), attached - links, "{file}");
            assert!(event["parentFolderId"].is_string());
        }
        assert_eq!(kinds, BTreeSet::from(["seriesMaster", "singleInstance"]));
    }
    let lines = archive.ledger().into_iter();
    let links = lines.filter(|line| line["code"] == "link-attachments");
    assert_eq!(links.count(), 2, "that links are left out is told of each mailbox");
}

/// The files of an archive in a folder, one beside the other.
fn files(archive: &Archive) -> (TempDir, Vec<PathBuf>) {
    let dir = TempDir::new().unwrap();
    let members = archive.members.iter().filter(|member| member.path.ends_with(".ics"));
    let write = |(number, member): (usize, &crate::harness::Member)| {
        let path = dir.path().join(format!("{number}.ics"));
        std::fs::write(&path, &member.content).unwrap();
        path
    };
    let written = members.enumerate().map(write).collect();
    (dir, written)
}

/// A script of the converter's own tests.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("convert/tests").join(name)
}

/// Asks the service for rows, as a program of our own.
pub const ASK: &str = r#"
import calendar, json, os, sys, time, urllib.parse, urllib.request
get = os.environ.get
def ask(url, data=None, headers={}):
    return json.load(urllib.request.urlopen(urllib.request.Request(url, data, headers)))
form = {"client_id": get("TAR365_CLIENT_ID"), "client_secret": get("TAR365_CLIENT_SECRET"),
        "grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}
login = f"{get('TAR365_LOGIN_URL')}/{get('TAR365_TENANT_ID')}/oauth2/v2.0/token"
token = ask(login, urllib.parse.urlencode(form).encode())["access_token"]
def rows(url):
    while url:
        page = ask(url, None, {"Authorization": "Bearer " + token})
        yield from page["value"]
        url = page.get("@odata.nextLink")
"#;

/// Prints when the occurrences of a window start, by the service's own view; after [`ASK`].
const VIEW: &str = r#"
begin, end = (time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(int(at))) for at in sys.argv[1:3])
for user in sys.argv[3:]:
    base = f"{get('TAR365_GRAPH_URL')}/v1.0/users/{user}/calendars"
    for one in rows(base):
        if one["owner"]["address"].lower() != user.lower():
            continue
        view = f"/{urllib.parse.quote(one['id'], safe='')}/calendarView"
        window = f"?startDateTime={begin}&endDateTime={end}&$top=500"
        for row in rows(base + view + window):
            at = time.strptime(row["start"]["dateTime"][:19], "%Y-%m-%dT%H:%M:%S")
            at = calendar.timegm(at)
            if int(sys.argv[1]) <= at < int(sys.argv[2]):
                print(at)
"#;

/// The starts that a program prints, in order.
fn starts(run: Run, field: usize) -> Vec<i64> {
    let printed = String::from_utf8(run.expect(0).stdout).unwrap();
    let lines = printed.lines().map(|line| line.split('\t').nth(field).unwrap().parse().unwrap());
    let mut starts: Vec<i64> = lines.collect();
    starts.sort_unstable();
    starts
}

#[test]
fn other_programs_read_every_file_and_find_the_same_occurrences() {
    // 2024 and 2025.
    let window = ["1704067200", "1767225600"];
    let tenant = writable(small());
    let archive = Archive::new(&export(&tenant));
    let (dir, files) = files(&archive);
    assert_eq!(files.len(), 28);
    let mut strict = tool("python3");
    strict.arg(script("strict.py")).args(&files);
    run(strict).expect(0);

    let mut view = tenant.known_to(tool("python3"));
    let users = tenant.simulator.tenant().users().into_iter().map(|user| user.upn);
    view.args(["-c", &[ASK, VIEW].concat()]).args(window).args(users);
    let known = starts(run(view), 0);
    assert!(known.len() > 250, "{}", known.len());
    let list: String = files.iter().map(|file| format!("{}\n", file.display())).collect();
    let mut python = tool("python3");
    python.arg(script("recurrence/occurrences.py")).args(window);
    assert_eq!(starts(run_with(python, list.as_bytes()), 1), known, "recurring-ical-events");
    let flags = run({
        let mut flags = tool("pkg-config");
        flags.args(["--cflags", "--libs", "libical"]);
        flags
    });
    let flags = String::from_utf8(flags.expect(0).stdout).unwrap();
    let program = dir.path().join("occurrences");
    let mut compiler = tool("gcc");
    compiler.arg("-o").arg(&program).arg(script("recurrence/occurrences.c"));
    compiler.args(flags.split_whitespace());
    run(compiler).expect(0);
    let mut libical = Command::new(&program);
    libical.args(window);
    assert_eq!(starts(run_with(libical, list.as_bytes()), 1), known, "libical");
}

#[test]
fn a_second_night_asks_for_no_content_and_sees_a_changed_exception() {
    let tenant = writable(small());
    let first = export(&tenant);
    for way in [Way::File, Way::Pipe] {
        let night = night(&tenant, &first, way, &SERVICE);
        same(&night.run.expect(0).stdout, &first, "an unchanged tenant");
        let contents: Vec<_> =
            night.asked.iter().filter(|r| r.path.contains("/attachments")).collect();
        assert!(contents.is_empty(), "{contents:?}");
    }
}

/// The exception that a series of an archive has first.
fn some_exception(archive: &Archive, section: &str) -> (String, String) {
    let series = events(archive, section).into_values();
    let mut series = series.filter(|event| !list(event, "exceptionOccurrences").is_empty());
    let series = series.next().unwrap();
    let exception = &list(&series, "exceptionOccurrences")[0];
    (text(&series, "id").to_owned(), text(exception, "id").to_owned())
}

#[test]
fn an_exception_that_changes_makes_its_series_another_and_nothing_else() {
    let tenant = writable(small());
    let first = export(&tenant);
    let before = Archive::new(&first);
    let office = tenant.simulator.tenant();
    let user = office.users().remove(0);
    let section = section(&user);
    let (series, exception) = some_exception(&before, &section);
    let change = json!({"subject": "Nur diesmal anders"});
    office.change_item(&user.id, &exception, change).unwrap();
    let whole = export(&tenant);
    let after = Archive::new(&whole);
    let (was, is) = (events(&before, &section), events(&after, &section));
    assert_eq!(was[&series]["changeKey"], is[&series]["changeKey"], "the master's tag stays");
    let file = String::from_utf8(after.items(&section)[&series].content.clone()).unwrap();
    assert!(file.contains("SUMMARY:Nur diesmal anders"), "{file}");
    for way in [Way::File, Way::Pipe] {
        let night = night(&tenant, &first, way, &SERVICE);
        same(&night.run.expect(0).stdout, &whole, "one exception changed");
        let asked = night.asked.iter().filter(|record| record.path.ends_with("/attachments"));
        let exceptions = list(&is[&series], "exceptionOccurrences").len();
        assert_eq!(asked.count(), 1 + exceptions, "of one series only");
    }
    // What is cancelled changes no tag of the master either.
    office.delete_item(&user.id, &exception).unwrap();
    let whole = export(&tenant);
    for way in [Way::File, Way::Pipe] {
        let night = night(&tenant, &first, way, &SERVICE);
        same(&night.run.expect(0).stdout, &whole, "one occurrence cancelled");
    }
}

#[test]
fn a_cloud_without_exceptions_gives_the_same_from_its_instances() {
    let global = writable(small());
    let other = writable(Options { tells_occurrences: false, ..small() });
    let run = other.export(&SERVICE).expect(0);
    assert!(run.stderr.contains("instances are looked through instead"), "{}", run.stderr);
    let (one, two) = (Archive::new(&export(&global)), Archive::new(&run.stdout));
    for user in global.simulator.tenant().users() {
        let section = section(&user);
        let (one, two) = (events(&one, &section), events(&two, &section));
        assert_eq!(one.len(), two.len());
        for (id, event) in one {
            for name in ["exceptionOccurrences", "cancelledOccurrences"] {
                let days = |event: &Value| {
                    let of = list(event, name).iter();
                    let key = |one: &Value| {
                        one.as_str()
                            .map_or_else(|| text(one, "originalStart").to_owned(), str::to_owned)
                    };
                    of.map(key).collect::<BTreeSet<_>>()
                };
                assert_eq!(days(&event), days(&two[&id]), "{name} of {event}");
            }
        }
    }
}
