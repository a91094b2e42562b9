//! A restore to real CalDAV and CardDAV servers: everything arrives, says what it said, once; and
//! goes again.

use std::path::PathBuf;
use std::process::Stdio;

use crate::dav_server::{
    Folder, Kind, OWNER, Seen, Server, USER, archive_of, card, differences, event, task,
};
use crate::harness::{Tenant, members, run};
use crate::import_kill::kill_when;
use simulator::Options;
use tempfile::TempDir;

/// An archive on disk, and the texts in it.
struct Backup {
    dir: TempDir,
    path: PathBuf,
}

impl Backup {
    fn of(sections: &[(&str, Vec<Folder<'_>>)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m365.tar");
        archive_of(&path, sections);
        Self { dir, path }
    }

    fn journal(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

fn photo() -> Vec<u8> {
    (0..30_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn folder<'a>(name: &'a str, path: &'a str, items: Vec<(&str, String)>) -> Folder<'a> {
    let items = items.into_iter().map(|(uid, text)| (uid.to_owned(), text)).collect();
    Folder { name, path, parent: None, items }
}

/// Two calendars, two lists of one name, contacts in a folder in a folder.
fn small() -> Vec<(&'static str, Vec<Folder<'static>>)> {
    let long = "040000008200E00074C5B7101A82E008".repeat(6);
    let calendars = vec![
        folder(
            "Kalender",
            "Kalender",
            vec![
                ("a", event("a", "First")),
                ("b", event(&long, "With a long UID")),
                ("c", event("c/../d e@f\\,g", "With a strange UID")),
            ],
        ),
        folder("Tom & Jürgen <3", "Tom & Jürgen _3", vec![("e", event("e", "Other"))]),
        folder("Leer", "Leer", vec![]),
    ];
    let lists = vec![
        folder("Kalender", "Kalender", vec![("t", task("t", "Of the same name"))]),
        folder("Doppelt", "Doppelt", vec![("u", task("u", "One"))]),
        folder("Doppelt", "Doppelt~2", vec![("v", task("v", "Two"))]),
    ];
    let mut inner = folder("Team", "Kontakte/Team", vec![("y", card("y", "Yves", b"jpeg"))]);
    inner.parent = Some("Kontakte");
    let books =
        vec![folder("Kontakte", "Kontakte", vec![("x", card("x", "Xaver Ä", &photo()))]), inner];
    vec![("calendar", calendars), ("tasks", lists), ("contacts", books)]
}

/// Every text of a section that is there, under any name.
#[track_caller]
fn assert_there(seen: &Seen, name: &str, expected: &[&str]) {
    let named = seen.by_name();
    let Some(found) = named.get(name) else { panic!("{name:?} is not in {:?}", named.keys()) };
    assert_eq!(found.len(), expected.len(), "{name}");
    for text in expected {
        let uid = text.lines().find(|line| line.starts_with("UID:")).unwrap();
        let unfolded = |text: &str| text.replace("\r\n ", "").replace("\n ", "").replace('\\', "");
        let same = found.iter().find(|found| unfolded(found).contains(&unfolded(uid)));
        let same = same.unwrap_or_else(|| panic!("{uid} is not in {name}"));
        assert_eq!(differences(&[(text, same)]), Vec::<String>::new());
    }
}

#[track_caller]
fn restored_beside(kind: Kind) {
    let (server, backup) = (Server::start(kind), Backup::of(&small()));
    let before = server.seen();
    for (protocol, services) in [("caldav", "calendar,tasks"), ("carddav", "contacts")] {
        let journal = backup.journal(protocol);
        let more = ["--journal", &journal, "--label", "L"];
        let first = server.import(&backup.path, protocol, &more).expect(0);
        assert!(!first.stderr.contains("altered"), "{}", first.stderr);
        // With a new journal, and with another address of the same.
        let to = server.address(protocol, &server.home(protocol));
        let archive = backup.path.to_str().unwrap();
        let again = ["import", archive, "--to", &to, "--label", "L", "--service", services];
        let second = run(server.tar365(&again)).expect(0);
        assert!(second.stderr.contains(" 0 created"), "{}", second.stderr);
        // The journal knows.
        let third = server.import(&backup.path, protocol, &more).expect(0);
        assert!(third.stderr.contains(" 0 created"), "{}", third.stderr);
    }
    let seen = server.seen();
    let of = |service: usize, folder: usize| -> Vec<String> {
        small()[service].1[folder].items.iter().map(|(_, text)| text.clone()).collect()
    };
    for (service, index, name) in
        [(0, 1, "Tom & Jürgen <3"), (0, 2, "Leer"), (2, 0, "Kontakte"), (2, 1, "Kontakte/Team")]
    {
        let texts = of(service, index);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_there(&seen, &format!("tar365 restore L: {name}"), &texts);
    }
    // A calendar and two lists, of one name each.
    let same_name = [of(0, 0), of(1, 0)].concat();
    assert_there(
        &seen,
        "tar365 restore L: Kalender",
        &same_name.iter().map(|t| &**t).collect::<Vec<_>>(),
    );
    let lists = [of(1, 1), of(1, 2)].concat();
    assert_there(
        &seen,
        "tar365 restore L: Doppelt",
        &lists.iter().map(|t| &**t).collect::<Vec<_>>(),
    );
    assert_eq!(seen.collections.len(), before.collections.len() + 8, "{:?}", seen.collections);
    for protocol in ["caldav", "carddav"] {
        let journal = backup.journal(protocol);
        let undone = run(server.tar365(&["import", "--undo", &journal])).expect(0);
        assert!(undone.stderr.contains(" 0 changed since and kept, 0 failed"), "{}", undone.stderr);
    }
    assert_eq!(server.seen(), before);
}

#[test]
fn radicale_has_everything_once_and_gives_it_back() {
    restored_beside(Kind::Radicale);
}

#[test]
fn radicale_behind_tls_too() {
    restored_beside(Kind::SecureRadicale);
}

#[test]
fn xandikos_has_everything_once_and_gives_it_back() {
    restored_beside(Kind::Xandikos);
}

#[test]
fn in_place_what_is_there_stays_and_counts() {
    for kind in [Kind::Radicale, Kind::Xandikos] {
        let server = Server::start(kind);
        let home = server.home("caldav");
        let mine = format!("{home}mine/");
        let xml = [("Content-Type", "application/xml")];
        let make = |name: &str| {
            format!(
                "<C:mkcalendar xmlns:D='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><D:set>\
                 <D:prop><D:displayname>{name}</D:displayname></D:prop></D:set></C:mkcalendar>"
            )
        };
        if kind == Kind::Radicale {
            server.request("PROPFIND", &home, &[("Depth", "0")], "");
        }
        let made = server.request("MKCALENDAR", &mine, &xml, &make("Kalender"));
        assert_eq!(made["status"], 201, "{made}");
        let ics = [("Content-Type", "text/calendar")];
        for (name, text) in [("own", event("a", "First")), ("other", event("b", "Changed"))] {
            let put = server.request("PUT", &format!("{mine}{name}.ics"), &ics, &text);
            assert_eq!(put["status"], 201, "{put}");
        }
        let before = server.seen();
        let backup = Backup::of(&[(
            "calendar",
            vec![folder(
                "Kalender",
                "Kalender",
                vec![
                    ("a", event("a", "First")),
                    ("b", event("b", "Second")),
                    ("bb", event("bb", "Third")),
                ],
            )],
        )]);
        let journal = backup.journal("journal");
        let more = ["--in-place", "--journal", &journal];
        let first = server.import(&backup.path, "caldav", &more).expect(3);
        assert!(
            first.stderr.contains("1 created, 0 replaced, 1 there already, 1 left out"),
            "{}",
            first.stderr
        );
        let seen = server.seen();
        assert_eq!(seen.collections, before.collections);
        assert_eq!(seen.objects.len(), 3);
        // One collection is an address too.
        let to = server.address("caldav", &mine);
        let again = ["import", backup.path.to_str().unwrap(), "--to", &to];
        run(server.tar365(&again)).expect(2);
        let second = run(server.tar365(&[&again[..], &["--in-place"]].concat())).expect(3);
        assert!(
            second.stderr.contains("0 created, 0 replaced, 2 there already, 1 left out"),
            "{}",
            second.stderr
        );
        run(server.tar365(&["import", "--undo", &journal])).expect(0);
        assert_eq!(server.seen(), before, "{kind:?}");
    }
}

#[test]
fn what_somebody_changed_since_is_not_taken_back() {
    let server = Server::start(Kind::Xandikos);
    let backup = Backup::of(&small());
    let journal = backup.journal("journal");
    server.import(&backup.path, "caldav", &["--journal", &journal]).expect(0);
    let seen = server.seen();
    let (path, text) = seen.objects.iter().find(|(_, text)| text.contains("Other")).unwrap();
    let ics = [("Content-Type", "text/calendar")];
    let put = server.request("PUT", &quoted(path), &ics, &text.replace("Other", "Mine"));
    assert_eq!(put["status"].as_i64().unwrap() / 100, 2, "{put}");
    let undone = run(server.tar365(&["import", "--undo", &journal])).expect(3);
    assert!(undone.stderr.contains("2 changed since and kept"), "{}", undone.stderr);
    let left = server.seen();
    assert_eq!(left.objects.len(), 1);
    assert!(left.objects[path].contains("Mine"));
}

fn quoted(path: &str) -> String {
    path.replace('@', "%40").replace(' ', "%20")
}

#[test]
fn other_services_are_refused() {
    let server = Server::start(Kind::Xandikos);
    let backup = Backup::of(&small());
    for (protocol, service, takes) in
        [("caldav", "mail", "calendars and tasks"), ("carddav", "calendar", "contacts")]
    {
        let more = ["--service", service];
        let backup = match service {
            "mail" => Backup::of(&[("mail", vec![folder("Inbox", "Inbox", vec![])])]),
            _ => Backup::of(&small()),
        };
        let refused = server.import(&backup.path, protocol, &more).expect(2);
        assert!(refused.stderr.contains(&format!("takes {takes}")), "{}", refused.stderr);
    }
    for more in [["--on-conflict", "replace"], ["--on-conflict", "copy"]] {
        server.import(&backup.path, "caldav", &more).expect(2);
    }
    assert_eq!(server.seen().objects.len(), 0);
    let planned = server.import(&backup.path, "caldav", &["--dry-run"]).expect(0);
    let planned = String::from_utf8(planned.stdout).unwrap();
    assert!(planned.contains(&format!("{OWNER}/tasks")), "{planned}");
    assert!(!planned.contains(&format!("{OWNER}/contacts")), "{planned}");
    assert!(planned.contains(&USER.replace('@', "%40")), "{planned}");
}

#[test]
fn a_killed_run_is_completed_or_taken_back() {
    let uids: Vec<String> = (0..60).map(|number| format!("uid-{number}")).collect();
    let events = || uids.iter().map(|uid| (&**uid, event(uid, "Meeting"))).collect();
    for (kind, at) in [(Kind::Radicale, 9), (Kind::Xandikos, 25)] {
        let backup = Backup::of(&[("calendar", vec![folder("Calendar", "Calendar", events())])]);
        let server = Server::start(kind);
        let before = server.seen();
        let journal = backup.journal("journal");
        let (archive, to) = (backup.path.to_str().unwrap(), server.address("caldav", ""));
        let arguments = ["import", archive, "--to", &to, "--label", "L", "--journal", &journal];
        let mut command = server.tar365(&arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        assert!(kill_when(&mut child, || server.stored() >= at), "{kind:?}");
        let half = server.seen().objects.len();
        assert!((1..60).contains(&half), "{half}");
        let other = backup.journal("other");
        let anew = server.import(&backup.path, "caldav", &["--label", "L", "--journal", &other]);
        let anew = anew.expect(0);
        assert!(anew.stderr.contains(&format!(" {half} there already")), "{}", anew.stderr);
        assert_eq!(server.seen().objects.len(), 60);
        // Each takes back its own.
        run(server.tar365(&["import", "--undo", &other]));
        assert_eq!(server.seen().objects.len(), half);
        run(server.tar365(&arguments)).expect(0);
        assert_eq!(server.seen().objects.len(), 60);
        run(server.tar365(&["import", "--undo", &journal])).expect(0);
        assert_eq!(server.seen(), before, "{kind:?}");
    }
}

/// The first UID, without the folds and backslashes that a server may write otherwise.
fn uid(text: &str) -> String {
    let text = text.replace("\r\n ", "").replace("\n ", "");
    let line = text.lines().find_map(|line| line.strip_prefix("UID:"));
    line.unwrap_or_default().trim().replace('\\', "")
}

/// What a tenant has goes there, says there what it said, and goes again.
#[track_caller]
fn exported(kind: Kind, protocol: &str, services: &str) {
    let tenant = Tenant::start(Options { users: 2, mails: 1, files: 1, ..Options::default() });
    let bytes = tenant.export(&["--service", services]).expect(0).stdout;
    let backup = Backup { dir: tempfile::tempdir().unwrap(), path: PathBuf::new() };
    let backup = Backup { path: backup.dir.path().join("m365.tar"), ..backup };
    std::fs::write(&backup.path, &bytes).unwrap();
    let is_item = |path: &str| path.ends_with(".ics") || path.ends_with(".vcf");
    let items: Vec<_> =
        members(&bytes).into_iter().filter(|member| is_item(&member.path)).collect();
    assert!(items.len() > 20, "{}", items.len());
    let server = Server::start(kind);
    let before = server.seen();
    let journal = backup.journal("journal");
    let first = server.import(&backup.path, protocol, &["--journal", &journal]).expect(0);
    let said = format!(" {} created", items.len());
    assert!(first.stderr.contains(&said), "{}", first.stderr);
    assert!(!first.stderr.contains("altered"), "{}", first.stderr);
    let seen = server.seen();
    assert_eq!(seen.objects.len(), items.len());
    // One event may be in two calendars: each has its own.
    let mut left: Vec<&String> = seen.objects.values().collect();
    let mut pairs = Vec::new();
    for item in &items {
        let text = std::str::from_utf8(&item.content).unwrap();
        let places = 0..left.len();
        let all: Vec<usize> = places.filter(|at| uid(left[*at]) == uid(text)).collect();
        // A meeting of two people says something else to each.
        let is_it = |at: &&usize| all.len() == 1 || differences(&[(text, left[**at])]).is_empty();
        let at = *all.iter().find(is_it).unwrap_or_else(|| panic!("{} is not there", item.path));
        pairs.push((text, left.swap_remove(at).as_str()));
    }
    assert_eq!(differences(&pairs), Vec::<String>::new());
    let other = backup.journal("other");
    let second = server.import(&backup.path, protocol, &["--journal", &other]).expect(0);
    assert!(second.stderr.contains(" 0 created"), "{}", second.stderr);
    assert_eq!(server.seen(), seen);
    run(server.tar365(&["import", "--undo", &journal])).expect(0);
    assert_eq!(server.seen(), before);
}

#[test]
fn contacts_of_a_tenant_are_read_by_python_as_they_were() {
    exported(Kind::Radicale, "carddav", "contacts");
    exported(Kind::Xandikos, "carddav", "contacts");
}

#[test]
fn calendars_and_tasks_of_a_tenant_are_read_by_python_as_they_were() {
    exported(Kind::Radicale, "caldav", "calendar,tasks");
    exported(Kind::Xandikos, "caldav", "calendar,tasks");
}
