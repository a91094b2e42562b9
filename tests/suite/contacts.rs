//! Contacts: what is exported of them, and that it comes back.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use simulator::{Language, Options};

use crate::conformance::Subject;
use crate::harness::{Archive, Tenant, text, verify};
use crate::import::{Saved, assert_nobody_was_mailed, counts, emptied, writable, writes};

pub const SUBJECT: Subject = Subject {
    service: "contacts",
    arguments: &[],
    delta: Some("/contacts/delta"),
    contents: &["/photo/$value"],
    vanishing: Some("/photo/$value"),
    change: |tenant| {
        let office = tenant.simulator.tenant();
        let user = &office.users()[0].id;
        let items = office.items(user).unwrap();
        let contact = items.into_iter().find(|item| item.kind == "contact").unwrap();
        office.change_item(user, &contact.id, json!({"nickName": "Änne"})).unwrap();
        contact.id
    },
    held: Some(held),
};

/// The ids of all contacts of all users.
fn held(tenant: &Tenant) -> BTreeSet<String> {
    let office = tenant.simulator.tenant();
    let items = office.users().into_iter().flat_map(|user| office.items(&user.id).unwrap());
    items.filter(|item| item.kind == "contact").map(|item| item.id).collect()
}

/// A tenant that may be written to, with contacts and next to nothing else.
fn source() -> Tenant {
    writable(Options { users: 2, mails: 1, files: 1, contacts: 12, ..Options::default() })
}

fn export(tenant: &Tenant) -> Saved {
    let bytes = tenant.export(&["--service", "contacts"]).expect(0).stdout;
    verify(&bytes);
    Saved::new(bytes)
}

fn sections(archive: &Archive) -> Vec<String> {
    let sections = archive.members.iter().filter_map(|m| m.path.strip_suffix("/contacts.ndjson"));
    sections.map(|owner| format!("{owner}/contacts")).collect()
}

/// What doc/restore.md says that the service makes anew.
fn documented() -> BTreeSet<String> {
    let text = include_str!("../../doc/restore.md");
    let (_, rest) = text.split_once("\nMetadata of contacts and their folders: ").unwrap();
    let (paragraph, _) = rest.split_once("\n\n").unwrap();
    paragraph.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A contact: the folders on the way to it, its metadata and its card, without what is made anew.
type Contact = (Vec<String>, String, String);

/// All contacts of an owner. Folders are named as they are; the default folder has no name, and
/// neither have the folder `beside` and what is above it.
fn contacts(archive: &Archive, section: &str, beside: Option<&str>) -> Vec<Contact> {
    let made_anew = documented();
    let lines = archive.lines(section);
    let names: BTreeMap<&str, &Value> = lines
        .iter()
        .filter(|line| text(line, "kind") == "folder")
        .map(|line| (text(line, "id"), &line["graph"]))
        .collect();
    let mut all: Vec<_> = lines
        .iter()
        .filter(|line| text(line, "kind") == "contact")
        .filter_map(|line| {
            let mut folders = Vec::new();
            let mut at = text(&line["graph"], "parentFolderId");
            while let Some(folder) = names.get(at) {
                if beside == Some(text(folder, "displayName")) {
                    break;
                }
                let is_default = text(folder, "wellKnownName") == "contacts";
                folders.push(if is_default { "" } else { text(folder, "displayName") }.to_owned());
                at = text(folder, "parentFolderId");
            }
            if beside.is_some() && !names.contains_key(at) {
                return None;
            }
            let mut graph = line["graph"].as_object().unwrap().clone();
            graph.retain(|name, _| !made_anew.contains(name));
            let card = &archive.member(text(line, "path")).unwrap().content;
            let card = String::from_utf8(card.clone()).unwrap();
            let kept = card
                .split("\r\n")
                .filter(|line| !made_anew.contains(line.split(':').next().unwrap_or_default()));
            folders.reverse();
            Some((folders, Value::Object(graph).to_string(), kept.collect::<Vec<_>>().join("\n")))
        })
        .collect();
    all.sort();
    all
}

#[track_caller]
fn assert_same(found: &[Contact], wanted: &[Contact]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found, wanted);
    }
}

#[test]
fn contacts_come_back_in_place() {
    let source = source();
    let saved = export(&source);
    let target = emptied(&source, Language::Japanese);
    let run = saved.import(&target, "one", &["--in-place"]).expect(0);
    assert_eq!(counts(&run), [24, 0, 0, 0, 0], "{}", run.stderr);
    assert!(!run.stderr.contains("properties") && !run.stderr.contains("photo"), "{}", run.stderr);
    let (before, after) = (Archive::new(&saved.bytes), Archive::new(&export(&target).bytes));
    for section in sections(&before) {
        let wanted = contacts(&before, &section, None);
        assert_eq!(wanted.len(), 12);
        assert!(wanted.iter().any(|(folders, ..)| folders.len() == 3), "no folder in a folder");
        assert!(wanted.iter().any(|(.., card)| card.contains("\nPHOTO")), "no photo");
        assert!(wanted.iter().any(|(.., card)| card.contains("FAX")), "no extended property");
        assert_same(&contacts(&after, &section, None), &wanted);
    }
    assert_nobody_was_mailed(&target);
    // A second time, also with another journal and from a pipe, nothing is made.
    target.simulator.log().clear();
    for journal in ["one", "two"] {
        let again = saved.import(&target, journal, &["--in-place"]).expect(0);
        assert_eq!(counts(&again), [0, 0, 24, 0, 0], "{}", again.stderr);
    }
    assert_eq!(writes(&target).len(), 0);
    // And at home, where everything still is, neither.
    let home = saved.import(&source, "home", &["--in-place"]).expect(0);
    assert_eq!(counts(&home), [0, 0, 24, 0, 0], "{}", home.stderr);
    let undone = saved.undo(&target, "one").expect(0);
    assert!(undone.stderr.contains(": 30 removed, 0 changed"), "{}", undone.stderr);
    let rest = Archive::new(&export(&target).bytes);
    for section in sections(&before) {
        assert_same(&contacts(&rest, &section, None), &[]);
        let folders =
            rest.lines(&section).into_iter().filter(|line| text(line, "kind") == "folder");
        assert_eq!(folders.count(), 1, "a folder stays");
    }
}

#[test]
fn contacts_come_back_beside_what_is_there() {
    let source = source();
    let saved = export(&source);
    let before = Archive::new(&saved.bytes);
    for way in ["file", "pipe"] {
        let run = match way {
            "file" => saved.import(&source, way, &["--label", "x"]),
            _ => saved.pipe(&source, way, &["--label", "x"]),
        };
        let run = run.expect(0);
        let made = if way == "file" { [24, 0, 0, 0, 0] } else { [0, 0, 24, 0, 0] };
        assert_eq!(counts(&run), made, "{}", run.stderr);
        let after = Archive::new(&export(&source).bytes);
        for section in sections(&before) {
            // What is there already is not touched.
            let mut wanted = contacts(&before, &section, None);
            let ids = |archive: &Archive| -> BTreeSet<String> {
                archive.items(&section).into_keys().collect()
            };
            assert!(ids(&after).is_superset(&ids(&before)));
            for (folders, ..) in &mut wanted {
                // The copy of the default folder is an ordinary one, and so has a name.
                folders[0] = default_name(&before, &section);
            }
            wanted.sort();
            let is_in = |trail: &Vec<String>| trail.first().is_some_and(|name| !name.is_empty());
            let mut found = contacts(&after, &section, Some("tar365 restore x"));
            found.retain(|(trail, ..)| is_in(trail));
            assert_same(&found, &wanted);
        }
    }
    saved.undo(&source, "file").expect(0);
    let rest = export(&source);
    for section in sections(&before) {
        let rest = Archive::new(&rest.bytes);
        assert_same(&contacts(&rest, &section, None), &contacts(&before, &section, None));
    }
}

fn default_name(archive: &Archive, section: &str) -> String {
    let lines = archive.lines(section);
    let default = lines.iter().find(|line| text(&line["graph"], "wellKnownName") == "contacts");
    text(&default.unwrap()["graph"], "displayName").to_owned()
}
