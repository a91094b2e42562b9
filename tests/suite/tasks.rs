//! To Do, exported: all that a task has, in the metadata and as iCalendar, whatever the service puts
//! into its listings; and a second night that asks for no content.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulator::{Options, TaskParts};
use tempfile::TempDir;

use crate::base::{Way, contents, night, same};
use crate::conformance::{Point, Subject};
use crate::harness::{Archive, Run, Tenant, run, text, tool, verify};

pub const ONLY: [&str; 2] = ["--service", "tasks"];

pub fn small() -> Options {
    Options { users: 2, mails: 0, files: 0, tasks: 12, special_users: false, ..Options::default() }
}

pub const SUBJECT: Subject = Subject {
    service: "tasks",
    arguments: &[],
    delta: Point::Asked("/tasks/delta"),
    contents: &["/$value"],
    vanishing: Point::Asked("/$value"),
    change: |tenant| {
        let office = tenant.simulator.tenant();
        let user = office.users().remove(0);
        let mut items = office.items(&user.id).unwrap().into_iter();
        let task = items.find(|item| item.kind == "task").unwrap();
        office.change_item(&user.id, &task.id, json!({"title": "Something else"})).unwrap();
        task.id
    },
    unsure: 0,
    held: Some(|tenant| {
        let office = tenant.simulator.tenant();
        let of = |id: &str| office.items(id).unwrap().into_iter();
        let all = office.users().into_iter().flat_map(|user| of(&user.id));
        all.filter(|item| item.kind == "task").map(|item| item.id).collect()
    }),
};

/// The metadata lines of a kind.
pub fn lines(archive: &Archive, kind: &str) -> Vec<Value> {
    let sections = archive.members.iter().filter_map(|member| member.path.strip_suffix(".ndjson"));
    let sections = sections.filter(|prefix| prefix.ends_with("/tasks"));
    let lines = sections.flat_map(|prefix| archive.lines(prefix));
    lines.filter(|line| text(line, "kind") == kind).collect()
}

#[test]
fn a_task_stands_in_the_metadata_and_in_a_file_with_all_that_belongs_to_it() {
    let tenant = Tenant::start(small());
    let run = tenant.export(&ONLY).expect(0);
    verify(&run.stdout);
    let archive = Archive::new(&run.stdout);
    let tasks = lines(&archive, "task");
    assert_eq!(tasks.len(), 24);
    let mut whole = 0;
    for line in &tasks {
        let (graph, path) = (&line["graph"], text(line, "path"));
        assert!(graph["parentFolderId"].is_string() && graph["@odata.etag"].is_string());
        let file = String::from_utf8(archive.member(path).unwrap().content.clone()).unwrap();
        let file = file.replace("\r\n ", "");
        assert!(file.starts_with("BEGIN:VCALENDAR\r\n") && file.contains("\r\nBEGIN:VTODO\r\n"));
        let parts = ["checklistItems", "linkedResources", "attachments"];
        let counts = parts.map(|part| graph[part].as_array().unwrap().len());
        let in_file = ["\r\nX-TAR365-CHECKLIST-ITEM:", "\r\nATTACH:", "ENCODING=BASE64"];
        assert_eq!(in_file.map(|line| file.matches(line).count()), counts, "{path}");
        whole += usize::from(counts == [2, 1, 1]);
    }
    assert_eq!(whole, 6);
    let lists = lines(&archive, "folder");
    let known: BTreeMap<&str, usize> = lists.iter().fold(BTreeMap::new(), |mut all, list| {
        *all.entry(text(&list["graph"], "wellknownListName")).or_default() += 1;
        all
    });
    assert_eq!(known, BTreeMap::from([("defaultList", 2), ("flaggedEmails", 2), ("none", 4)]));
    assert!(!archive.ledger().iter().any(|line| text(line, "outcome") == "converted"));
    // A list that somebody else shares is his to export, and the ledger says so.
    let ledger = archive.ledger();
    let shared = ledger.iter().filter(|line| text(line, "cause") == "shared");
    assert_eq!(shared.count(), 2);
}

#[test]
fn whatever_a_listing_gives_the_archive_is_the_same() {
    let archive = |options: Options| -> Run {
        let tenant = Tenant::start(options);
        tenant.export(&ONLY).expect(0)
    };
    let wanted = archive(small());
    for (name, options) in [
        ("ignored", Options { task_parts: TaskParts::Ignored, ..small() }),
        ("refused", Options { task_parts: TaskParts::Refused, ..small() }),
        ("pages of two", Options { page_cap: Some(2), reorder: true, ..small() }),
    ] {
        let run = archive(options);
        assert_eq!(run.stderr.contains("asking apart"), name == "refused", "{}", run.stderr);
        same(&run.stdout, &wanted.stdout, name);
    }
}

#[test]
fn a_second_night_asks_for_no_content_and_for_what_changed_behind_a_tag() {
    let tenant = Tenant::start(small());
    let first = tenant.export(&ONLY).expect(0).stdout;
    for way in [Way::File, Way::Pipe] {
        let second = night(&tenant, &first, way, &ONLY);
        assert_eq!(second.run.code, 0, "{}", second.run.stderr);
        assert_eq!(contents(&second.asked), [""; 0], "{way:?}");
        same(&second.run.stdout, &first, "unchanged");
    }
    let users = tenant.simulator.tenant().users();
    let items = tenant.simulator.tenant().items(&users[0].id).unwrap();
    let task =
        items.iter().find(|item| item.kind == "task" && item.attachments.len() == 1).unwrap();
    let change = json!({"title": "Something else"});
    tenant.simulator.tenant().change_item(&users[0].id, &task.id, change).unwrap();
    let third = night(&tenant, &first, Way::File, &ONLY);
    assert_eq!(contents(&third.asked).len(), 1, "the attachment of the task that was changed");
    same(&third.run.stdout, &tenant.export(&ONLY).expect(0).stdout, "changed");
}

#[test]
fn other_programs_read_every_file() {
    let tenant = Tenant::start(Options { users: 3, tasks: 40, ..small() });
    let archive = Archive::new(&tenant.export(&ONLY).expect(0).stdout);
    let dir = TempDir::new().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/convert/tests/strict.py");
    let mut command = tool("python3");
    command.arg(script);
    let mut files = 0;
    for member in archive.members.iter().filter(|member| member.path.ends_with(".ics")) {
        let file = dir.path().join(format!("{files}.ics"));
        std::fs::write(&file, &member.content).unwrap();
        command.arg(file);
        files += 1;
    }
    assert_eq!(files, 120);
    run(command).expect(0);
}

#[test]
fn an_attachment_that_can_not_be_read_is_told_and_asked_for_again() {
    let tenant = Tenant::start(small());
    tenant.simulator.set_faults(vec!["corrupt:rate=1,match=/attachments/".parse().unwrap()]);
    let first = tenant.export(&ONLY).expect(0).stdout;
    verify(&first);
    // They are there, but not whole.
    tenant.export(&[&ONLY[..], &["--strict"]].concat()).expect(3);
    tenant.simulator.set_faults(Vec::new());
    let archive = Archive::new(&first);
    let ledger = archive.ledger();
    let paths = ledger.iter().filter(|line| text(line, "cause") == "incomplete");
    let paths: Vec<_> = paths.map(|line| text(line, "path")).collect();
    assert_eq!(paths.len(), 6);
    for path in paths {
        let file = String::from_utf8(archive.member(path).unwrap().content.clone()).unwrap();
        assert!(file.contains("\r\nX-TAR365-INCOMPLETE:TRUE\r\n") && !file.contains("BASE64"));
    }
    let whole = tenant.export(&ONLY).expect(0).stdout;
    for way in [Way::File, Way::Pipe] {
        let second = night(&tenant, &first, way, &ONLY);
        assert_eq!(contents(&second.asked).len(), 6, "{way:?}");
        same(&second.run.stdout, &whole, "whole again");
    }
}
