//! What two people had goes to a third: mail, calendars, contacts, tasks and settings, into folders of one
//! label, of a label each, and in place. Nothing of one hides what the other had, a second run makes
//! nothing, and an undo leaves what was there to the byte.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use simulator::{Language, Options};

use crate::calendar_import::assert_nobody_was_mailed;
use crate::harness::{Archive, Tenant, examine_all, text};
use crate::import::{Saved, counts, emptied_with, writable};

/// Three people, of whom the last gets what the others had.
fn source() -> Tenant {
    writable(Options { users: 3, mails: 4, files: 1, tasks: 8, contacts: 8, ..Options::default() })
}

fn export(tenant: &Tenant, service: &str) -> Vec<u8> {
    tenant.export(&["--service", service, "--progress", "none"]).expect(0).stdout
}

/// What is there, by the name that people know it by, each as often as it is.
fn names(archive: &Archive, kind: &str) -> Vec<String> {
    let sections = archive.members.iter().filter_map(|m| m.path.strip_suffix(".ndjson"));
    let sections = sections.filter(|path| path.starts_with("users/"));
    let lines = sections.flat_map(|section| archive.lines(section));
    let items = lines.filter(|line| line["kind"] == kind);
    let name = |graph: &serde_json::Value| {
        let keys = ["subject", "displayName", "title"];
        let name = keys.iter().map(|key| text(graph, key)).find(|name| !name.is_empty());
        format!("{} {}", name.unwrap_or_default(), graph["start"])
    };
    let mut names: Vec<_> = items.map(|line| name(&line["graph"])).collect();
    names.sort();
    names
}

#[test]
fn two_people_go_to_one() {
    let source = source();
    let users: Vec<_> =
        source.simulator.tenant().users().into_iter().map(|user| user.upn).collect();
    let [one, other, heir] = &users[..] else { panic!("{users:?}") };
    let mut cases = Vec::new();
    for (service, kind) in
        [("calendar", "event"), ("contacts", "contact"), ("tasks", "task"), ("mail", "message")]
    {
        for arguments in [&["--label", "L"][..], &[], &["--in-place"]] {
            cases.push((service, kind, arguments));
        }
    }
    examine_all(&cases, 3, |(service, kind, arguments)| {
        let chosen = ["--service", service, "--user", one, "--user", other];
        let saved = Saved::new(source.export(&chosen).expect(0).stdout);
        let wanted = names(&Archive::new(&saved.bytes), kind);
        let target = emptied_with(&source, Language::German, Options::default());
        let before = export(&target, service);
        let arguments = [&["--to-user", heir][..], arguments].concat();
        let told = |what: &str| format!("{service} {arguments:?}: {what}");
        let all = wanted.len() as u64;
        let run = saved.import(&target, "journal", &arguments);
        if run.code != 0 || counts(&run) != [all, 0, 0, 0, 0] {
            return Err(told(&run.stderr));
        }
        let after = export(&target, service);
        if names(&Archive::new(&after), kind) != wanted {
            return Err(told("not what was wanted"));
        }
        let again = saved.import(&target, "another", &arguments);
        if again.code != 0 || counts(&again) != [0, 0, all, 0, 0] {
            return Err(told(&format!("a second time: {}", again.stderr)));
        }
        let folders = |archive: &[u8]| -> Vec<String> {
            let archive = Archive::new(archive);
            let lines = archive.lines(&format!("users/{heir}/{service}"));
            let folders = lines.iter().filter(|line| line["kind"] == "folder");
            folders.map(|line| text(line, "path").to_owned()).collect()
        };
        let unique: BTreeSet<_> = folders(&after).iter().map(|path| bare(path)).collect();
        if unique.len() != folders(&after).len() {
            return Err(told(&format!("a folder is there twice: {:#?}", folders(&after))));
        }
        let undone = saved.undo(&target, "journal");
        if undone.code != 0 || export(&target, service) != before {
            return Err(told(&format!(
                "undo: {} {:#?}",
                undone.stderr,
                folders(&export(&target, service))
            )));
        }
        assert_nobody_was_mailed(&target);
        Ok(())
    });
}

/// The path of a folder as it would be if no other had its name.
fn bare(path: &str) -> String {
    path.split_once(" ~").or(path.split_once('~')).map_or(path, |(bare, _)| bare).to_owned()
}

/// Of what a mailbox has once, the last of the archive is there; rules and categories are everybody's.
#[test]
fn settings_of_two_people_go_to_one() {
    let source = source();
    let office = source.simulator.tenant();
    let users: Vec<_> = office.users().into_iter().map(|user| user.upn).collect();
    let [one, other, heir] = &users[..] else { panic!("{users:?}") };
    for (user, zone) in [(one, "Tokyo Standard Time"), (other, "Samoa Standard Time")] {
        office.change_settings(user, json!({"timeZone": zone})).unwrap();
        let rule = json!({"displayName": format!("Of {zone}"), "sequence": 9, "isEnabled": true,
            "hasError": false, "isReadOnly": false, "conditions": {"subjectContains": [zone]},
            "actions": {"markAsRead": true}});
        office.add_setting(user, "messageRule", rule).unwrap();
        let category = json!({"displayName": format!("Of {zone}"), "color": "preset1"});
        office.add_setting(user, "outlookCategory", category).unwrap();
    }
    let chosen = ["--service", "settings", "--user", one, "--user", other];
    let saved = Saved::new(source.export(&chosen).expect(0).stdout);
    let sections = Archive::new(&saved.bytes);
    let order: Vec<_> =
        sections.members.iter().filter_map(|m| m.path.strip_suffix("/settings.ndjson")).collect();
    let last = sections.member(&format!("{}/settings/mailbox-settings.json", order[1])).unwrap();
    let last: Value = serde_json::from_slice(&last.content).unwrap();
    for arguments in [&["--in-place", "--on-conflict", "replace"][..], &[]] {
        let target = emptied_with(&source, Language::German, Options::default());
        let before = export(&target, "settings");
        let arguments = [&["--to-user", heir][..], arguments].concat();
        saved.import(&target, "journal", &arguments).expect(0);
        let after = Archive::new(&export(&target, "settings"));
        let document = |path: &str| -> Value {
            let member = after.member(&format!("users/{heir}/settings/{path}"));
            serde_json::from_slice(&member.unwrap_or_else(|| panic!("{path}")).content).unwrap()
        };
        let is_in_place = arguments.contains(&"--in-place");
        let zone = document("mailbox-settings.json")["timeZone"].clone();
        assert_eq!(zone == last["timeZone"], is_in_place, "{zone}");
        let categories = document("categories.json");
        for zone in ["Tokyo Standard Time", "Samoa Standard Time"] {
            let name = format!("Of {zone}");
            document(&format!("rules/{name}.json"));
            let rows = categories["value"].as_array().unwrap();
            assert!(rows.iter().any(|row| row["displayName"] == name), "{categories}");
        }
        let undone = saved.undo(&target, "journal").expect(0);
        assert!(export(&target, "settings") == before, "{}", undone.stderr);
        std::fs::remove_file(saved.file("journal")).unwrap();
        assert_nobody_was_mailed(&target);
    }
}
