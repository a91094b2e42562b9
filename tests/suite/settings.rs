//! Settings of mailboxes: what is exported of them, and what becomes of a part that is refused.

use serde_json::{Value, json};
use simulator::{Credentials, Options};

use crate::conformance::{Point, Subject};
use crate::harness::{Archive, Tenant, run, tar365, text, verify};

pub const SUBJECT: Subject = Subject {
    service: "settings",
    arguments: &[],
    delta: Point::Void("settings have none"),
    contents: &["/photo/$value"],
    vanishing: Point::Void("what a mailbox is set to is always there"),
    change: |tenant| {
        let office = tenant.simulator.tenant();
        let user = &office.users()[0].id;
        office.change_settings(user, json!({"timeZone": "Tokyo Standard Time"})).unwrap();
        "mailboxSettings".to_owned()
    },
    unsure: 0,
    held: None,
};

const SETTINGS: [&str; 2] = ["--service", "settings"];

fn small() -> Options {
    Options {
        users: 2,
        mails: 3,
        files: 1,
        special_users: false,
        limits: None,
        ..Options::default()
    }
}

/// The section of the first user, and the archive.
fn section(bytes: &[u8]) -> (Archive, String) {
    let archive = Archive::new(bytes);
    let metadata = archive.members.iter().find(|member| member.path.ends_with("settings.ndjson"));
    let section = metadata.unwrap().path.strip_suffix(".ndjson").unwrap().to_owned();
    (archive, section)
}

fn document(archive: &Archive, path: &str) -> Value {
    let member = archive.member(path).unwrap_or_else(|| panic!("{path} is not there"));
    serde_json::from_slice(&member.content).unwrap()
}

/// Ledger lines but those of what no version covers: scope and cause.
fn ledger(archive: &Archive) -> Vec<(String, String)> {
    let lines = archive.ledger().into_iter().filter(|line| text(line, "cause") != "not-covered");
    let lines =
        lines.map(|line| (text(&line, "scope").to_owned(), text(&line, "cause").to_owned()));
    lines.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

#[test]
fn all_parts_are_documents_with_stable_names() {
    let tenant = Tenant::start(small());
    let export = tenant.export(&SETTINGS).expect(0);
    verify(&export.stdout);
    let (archive, section) = section(&export.stdout);
    let lines = archive.lines(&section);
    for line in &lines[1..] {
        let Some(path) = line["path"].as_str().filter(|_| line["kind"] == "setting") else {
            continue;
        };
        let content = &archive.member(path).unwrap().content;
        match line["id"] == "photo" {
            true => assert!(content.starts_with(&[0xff, 0xd8]), "{path}"),
            // What the metadata says of it is all that it is.
            false => {
                let line = serde_json::to_string(&line["graph"]).unwrap() + "\n";
                assert_eq!(String::from_utf8_lossy(content), line, "{path}");
            }
        }
    }
    let settings = document(&archive, &format!("{section}/mailbox-settings.json"));
    assert_eq!(settings["workingHours"]["timeZone"]["name"], "W. Europe Standard Time");
    let categories = document(&archive, &format!("{section}/categories.json"));
    let names = categories["value"].as_array().unwrap().iter().map(|row| text(row, "displayName"));
    let names: Vec<_> = names.collect();
    assert!(names.len() == 4 && names.is_sorted(), "{names:?}");
    let rule = document(&archive, &format!("{section}/rules/Newsletter → Archiv.json"));
    let folder = text(&rule["actions"], "moveToFolder");
    assert_eq!(rule["folders"][folder][0]["wellKnownName"], "archive", "{rule}");
    let overrides = document(&archive, &format!("{section}/focused-inbox.json"));
    assert_eq!(overrides["value"].as_array().unwrap().len(), 2);
    let profile = document(&archive, &format!("{section}/profile.json"));
    assert!(profile["department"].is_string() && profile["skills"].is_array(), "{profile}");
    assert!(profile["assignedPlans"][0]["assignedDateTime"].is_null(), "{profile}");
    assert_eq!(ledger(&archive), []);
    let again = Tenant::start(Options { reorder: true, page_cap: Some(1), ..small() });
    assert!(again.export(&SETTINGS).expect(0).stdout == export.stdout, "other pages, other bytes");
}

#[test]
fn a_refused_part_is_told_and_the_others_are_here() {
    let export = |refused: &str| {
        let mut credentials = Credentials::default();
        credentials.roles.retain(|role| role != refused);
        let tenant = Tenant::start(Options { credentials, users: 1, ..small() });
        let export = tenant.export(&SETTINGS).expect(0);
        verify(&export.stdout);
        export
    };
    let run = export("MailboxSettings.Read");
    assert!(run.stderr.contains("MailboxSettings.Read"), "{}", run.stderr);
    let (archive, of) = section(&run.stdout);
    let refused = ["categories.json", "mailbox-settings.json", "rules"];
    let lines = refused.map(|part| (format!("{of}/{part}"), "refused".to_owned()));
    assert_eq!(ledger(&archive), lines);
    for part in ["profile.json", "photo.jpg", "focused-inbox.json"] {
        assert!(archive.member(&format!("{of}/{part}")).is_some(), "{part}");
    }
    let run = export("Mail.Read");
    let (archive, of) = section(&run.stdout);
    let refused = ["focused-inbox.json", "rules"];
    let lines = refused.map(|part| (format!("{of}/{part}"), "refused".to_owned()));
    assert_eq!(ledger(&archive), lines, "the names of folders are for who may read mail");
    assert!(archive.member(&format!("{of}/rules/Chef.json")).is_some());
}

#[test]
fn who_has_no_mailbox_has_a_profile() {
    let tenant = Tenant::start(Options { special_users: true, users: 1, ..small() });
    let export = tenant.export(&SETTINGS).expect(0);
    verify(&export.stdout);
    let archive = Archive::new(&export.stdout);
    let told = ledger(&archive);
    let unlicensed = told.iter().find(|(_, cause)| cause == "unlicensed").unwrap();
    let scope = &unlicensed.0;
    assert!(archive.member(&format!("{scope}/profile.json")).is_some(), "{told:?}");
    assert!(archive.member(&format!("{scope}/mailbox-settings.json")).is_none());
    assert!(told.iter().any(|(_, cause)| cause == "guest"), "{told:?}");
    assert!(told.iter().any(|(_, cause)| cause == "refused"), "out of scope: {told:?}");
    assert!(told.iter().all(|(_, cause)| cause != "listing"), "{told:?}");
}

#[test]
fn what_was_set_since_the_base_is_in_the_next_archive() {
    let tenant = Tenant::start(small());
    let base = tenant.export(&SETTINGS).expect(0).stdout;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("base.tar");
    std::fs::write(&file, &base).unwrap();
    let with_base = || {
        let arguments = [&SETTINGS[..], &["--base", file.to_str().unwrap()]].concat();
        let export = tenant.export(&arguments).expect(0).stdout;
        assert!(tenant.export(&SETTINGS).expect(0).stdout == export, "a base makes no difference");
        export
    };
    assert!(with_base() == base, "nothing was set");
    let world = tenant.simulator.tenant();
    for user in world.users() {
        world.change_settings(&user.upn, json!({"timeZone": "Tokyo Standard Time"})).unwrap();
        world.set_photo(&user.upn, Some(("image/png", b"\x89PNG another"))).unwrap();
        let rule = json!({"displayName": "New", "sequence": 9, "isEnabled": true,
            "conditions": {"sentToMe": true}, "actions": {"delete": true}});
        world.add_setting(&user.upn, "messageRule", rule).unwrap();
        let category = json!({"displayName": "New", "color": "preset1"});
        world.add_setting(&user.upn, "outlookCategory", category).unwrap();
    }
    let next = with_base();
    let (archive, section) = section(&next);
    let settings = document(&archive, &format!("{section}/mailbox-settings.json"));
    assert_eq!(settings["timeZone"], "Tokyo Standard Time");
    let photo = archive.member(&format!("{section}/photo.png")).unwrap();
    assert_eq!(photo.content, b"\x89PNG another");
    assert!(archive.member(&format!("{section}/rules/New.json")).is_some());
    let categories = document(&archive, &format!("{section}/categories.json"));
    assert!(categories["value"].as_array().unwrap().iter().any(|row| row["displayName"] == "New"));
    let next = dir.path().join("next.tar");
    std::fs::write(&next, with_base()).unwrap();
    let diff = run(tar365(&["diff", file.to_str().unwrap(), next.to_str().unwrap()])).expect(3);
    let told = String::from_utf8_lossy(&diff.stdout).into_owned();
    for part in ["mailbox-settings.json", "categories.json", "photo.png", "rules/New.json"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("focused-inbox.json"), "{told}");
}

#[test]
fn the_report_says_what_is_covered_and_what_is_not() {
    let tenant = Tenant::start(Options { special_users: true, users: 1, ..small() });
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let arguments = ["--service", "mail,settings", "--report", report.to_str().unwrap()];
    let archive = Archive::new(&tenant.export(&arguments).expect(0).stdout);
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let owners = |service: &str, what: &str, state: &str| {
        let rows = report["coverage"].as_array().unwrap();
        let is_it = |row: &&Value| {
            (text(row, "service"), text(row, "what"), text(row, "state")) == (service, what, state)
        };
        rows.iter().find(is_it).map_or(0, |row| row["owners"].as_u64().unwrap())
    };
    let mailboxes = owners("mail", "all", "covered");
    assert!(mailboxes >= 3, "{report}");
    for (service, what, state) in [
        ("mail", "archive-mailbox", "impossible"),
        ("mail", "public-folders", "impossible"),
        ("mail", "recoverable-items", "not-covered"),
    ] {
        assert_eq!(owners(service, what, state), mailboxes, "{what}");
        let lines = archive.ledger().into_iter().filter(|line| text(line, "code") == what);
        assert_eq!(lines.count() as u64, mailboxes, "{what} in the ledger");
    }
    assert_eq!(owners("mail", "all", "not-permitted"), 1);
    assert_eq!(owners("settings", "categories.json", "not-permitted"), 1);
    assert_eq!(owners("settings", "parts", "absent"), 1, "{report}");
    let settings = owners("settings", "all", "covered");
    assert_eq!(owners("settings", "signatures", "impossible"), settings);
}

/// The service may fill in the dates of replies that have no schedule by its clock.
#[test]
fn dates_of_replies_without_a_schedule_make_no_other_archive() {
    let tenant = Tenant::start(Options { users: 1, ..small() });
    let world = tenant.simulator.tenant();
    let user = &world.users()[0].upn;
    let export = |status: &str, day: u8| {
        let time = |hour: u8| json!({"dateTime": format!("2026-11-{day:02}T{hour:02}:00:00.0000000"), "timeZone": "UTC"});
        let replies = json!({"automaticRepliesSetting": {
            "status": status, "externalAudience": "all", "internalReplyMessage": "<p>Weg</p>",
            "externalReplyMessage": "", "scheduledStartDateTime": time(8), "scheduledEndDateTime": time(9),
        }});
        world.change_settings(user, replies).unwrap();
        tenant.export(&SETTINGS).expect(0).stdout
    };
    for status in ["disabled", "Disabled", "alwaysEnabled"] {
        let one = export(status, 1);
        assert!(one == export(status, 2), "{status}: the dates are in the archive");
        let (archive, section) = section(&one);
        let settings = document(&archive, &format!("{section}/mailbox-settings.json"));
        let replies = &settings["automaticRepliesSetting"];
        assert_eq!(
            (text(replies, "status"), text(replies, "internalReplyMessage")),
            (status, "<p>Weg</p>")
        );
    }
    assert!(export("scheduled", 1) != export("scheduled", 2), "dates of a schedule are not in it");
}
