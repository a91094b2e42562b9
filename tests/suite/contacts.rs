//! Contacts: what is exported of them, and that it comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use simulator::{Fault, Language, Options, Profile, PublicUrls};
use tempfile::TempDir;

use crate::base::same;
use crate::conformance::{Point, Subject, small};
use crate::harness::{Archive, Tenant, python, run, run_with, tar365, text, tool, verify};
use crate::import::{Saved, assert_nobody_was_mailed, counts, emptied, writable, writes};
use crate::import_kill::kill_when;

pub const SUBJECT: Subject = Subject {
    service: "contacts",
    arguments: &[],
    delta: Point::Asked("/contacts/delta"),
    contents: &["/photo/$value"],
    vanishing: Point::Asked("/photo/$value"),
    change: |tenant| {
        let office = tenant.simulator.tenant();
        let user = &office.users()[0].id;
        let items = office.items(user).unwrap();
        let contact = items.into_iter().find(|item| item.kind == "contact").unwrap();
        office.change_item(user, &contact.id, json!({"nickName": "Änne"})).unwrap();
        contact.id
    },
    unsure: 0,
    held: Some(held),
};

/// The ids of all contacts of all users.
pub fn held(tenant: &Tenant) -> BTreeSet<String> {
    let office = tenant.simulator.tenant();
    // Not everybody has a mailbox.
    let items = office.users().into_iter().filter_map(|user| office.items(&user.id).ok()).flatten();
    items.filter(|item| item.kind == "contact").map(|item| item.id).collect()
}

/// A tenant that may be written to, with contacts and next to nothing else.
fn source() -> Tenant {
    writable(Options { users: 2, mails: 1, files: 1, contacts: 12, ..Options::default() })
}

pub fn export(tenant: &Tenant) -> Saved {
    let bytes = tenant.export(&["--service", "contacts"]).expect(0).stdout;
    verify(&bytes);
    Saved::new(bytes)
}

pub fn sections(archive: &Archive) -> Vec<String> {
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
pub type Contact = (Vec<String>, String, String);

/// All contacts of an owner. Folders are named as they are; the default folder has no name, and
/// neither have the folder `beside` and what is above it.
pub fn contacts(archive: &Archive, section: &str, beside: Option<&str>) -> Vec<Contact> {
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
pub fn assert_same(found: &[Contact], wanted: &[Contact]) {
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

/// The contacts of both users are those of the archive, each once.
#[track_caller]
fn assert_back(tenant: &Tenant, saved: &Saved) {
    let (before, after) = (Archive::new(&saved.bytes), Archive::new(&export(tenant).bytes));
    for section in sections(&before) {
        assert_same(&contacts(&after, &section, None), &contacts(&before, &section, None));
    }
}

#[test]
fn lost_answers_and_outages_make_no_contact_twice() {
    let source = source();
    let saved = export(&source);
    let through = |faults: &[&str]| {
        let target = emptied(&source, Language::German);
        let parsed = faults.iter().map(|fault| fault.parse::<Fault>().unwrap()).collect();
        target.simulator.set_faults(parsed);
        let run = saved.import(&target, faults[0], &["--in-place"]).expect(0);
        assert_eq!(counts(&run), [24, 0, 0, 0, 0], "{faults:?}: {}", run.stderr);
        let struck = target.simulator.log().counts().by_fault;
        assert!(!struck.is_empty(), "{faults:?}");
        target.simulator.set_faults(Vec::new());
        assert_back(&target, &saved);
    };
    // They wait more than they compute.
    std::thread::scope(|scope| {
        scope.spawn(|| through(&["reset-after:rate=0.15"]));
        scope.spawn(|| through(&["error-after:rate=0.15"]));
        scope.spawn(|| {
            through(&["throttle:rate=0.2,seconds=0.05", "unavailable:rate=0.2,seconds=0.05"])
        });
        scope.spawn(|| through(&["reset:rate=0.2", "truncate:rate=0.2"]));
    });
}

#[test]
fn an_import_that_is_killed_is_completed_by_the_next() {
    let source = source();
    let saved = export(&source);
    for (then, writes_until) in [("one", 7), ("other", 9), ("one", 16), ("other", 25)] {
        let target = emptied(&source, Language::German);
        let journal = saved.file(&format!("{then}-{writes_until}"));
        let path = saved.path();
        let arguments = ["import", &path, "--journal", &journal, "--in-place"];
        let mut command = target.tar365(&arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        assert!(kill_when(&mut child, || writes(&target).len() >= writes_until), "ended before");
        let next =
            if then == "one" { journal } else { saved.file(&format!("anew-{writes_until}")) };
        let next = next.rsplit('/').next().unwrap();
        saved.import(&target, next, &["--in-place"]).expect(0);
        assert_back(&target, &saved);
        // Nothing says of itself that it is not whole.
        let office = target.simulator.tenant();
        assert_eq!(held(&target).len(), 24);
        assert!(office.mailed().is_empty());
    }
}

#[test]
fn in_place_only_what_is_gone_is_made() {
    let source = source();
    let saved = export(&source);
    let office = source.simulator.tenant();
    let user = office.users()[0].id.clone();
    let of_user = || {
        let items = office.items(&user).unwrap();
        items.into_iter().filter(|item| item.kind == "contact").collect::<Vec<_>>()
    };
    let all = of_user();
    office.delete_item(&user, &all[0].id).unwrap();
    office.delete_item(&user, &all[3].id).unwrap();
    office.change_item(&user, &all[1].id, json!({"nickName": "since then"})).unwrap();
    let run = saved.import(&source, "skip", &["--in-place"]).expect(0);
    assert_eq!(counts(&run), [2, 0, 22, 0, 0], "{}", run.stderr);
    let changed =
        |nick: &str| of_user().iter().filter(|i| i.properties["nickName"] == nick).count();
    assert_eq!((of_user().len(), changed("since then")), (all.len(), 1));
    // What is there gives way if that is asked for, and comes back.
    let run = saved.import(&source, "replace", &["--in-place", "--on-conflict", "replace"]);
    assert_eq!(counts(&run.expect(0)), [0, 22, 2, 0, 0]);
    assert_eq!((of_user().len(), changed("since then")), (all.len(), 0));
    assert_back(&source, &saved);
    let again = saved.import(&source, "anew", &["--in-place", "--on-conflict", "replace"]);
    assert_eq!(counts(&again.expect(0)), [0, 0, 24, 0, 0]);
    saved.undo(&source, "replace").expect(0);
    assert_eq!((of_user().len(), changed("since then")), (all.len(), 1));
    office
        .change_item(
            &user,
            &of_user().iter().find(|i| i.properties["nickName"] == "since then").unwrap().id,
            json!({"nickName": all[1].properties["nickName"]}),
        )
        .unwrap();
    assert_back(&source, &saved);
    // What was made again and nobody filed elsewhere is taken back.
    saved.undo(&source, "skip").expect(0);
    assert_eq!(of_user().len(), all.len() - 2);
}

#[test]
fn only_photos_are_asked_for_one_by_one() {
    let tenant = source();
    tenant.simulator.log().clear();
    let archive = Archive::new(&export(&tenant).bytes);
    let asked = tenant.simulator.log().records();
    let photos = asked.iter().filter(|record| record.path.ends_with("/photo/$value")).count();
    let cards = archive.members.iter().filter(|member| member.path.ends_with(".vcf"));
    let with_photo =
        cards.filter(|member| String::from_utf8_lossy(&member.content).contains("\r\nPHOTO"));
    assert_eq!((photos, with_photo.count()), (8, 8));
    assert!(asked.iter().all(|record| record.status < 300), "something was asked in vain");
    assert!(asked.len() < 60, "{} requests for 24 contacts", asked.len());
}

/// Reads each card with vobject and all with khard: how many, and of how many the photo.
const READ: &str = r#"
import json, pathlib, subprocess, sys
import vobject

root = pathlib.Path(sys.argv[1])
count = photos = 0
for file in sorted(root.rglob("*.vcf")):
    cards = list(vobject.readComponents(file.read_bytes().decode()))
    assert len(cards) == 1, file
    cards[0].validate(raiseException=True)
    assert cards[0].fn.value.strip() and cards[0].uid.value, file
    count += 1
    if hasattr(cards[0], "photo"):
        assert cards[0].photo.value.startswith(b"\xff\xd8\xff"), file
        photos += 1
"#;

/// The end of [`READ`] and its like: khard lists the cards, and what was found is printed.
pub const KHARD: &str = r#"books = sorted({file.parent for file in root.rglob("*.vcf")})
config = root / "khard.conf"
sections = "".join(f"[[book{n}]]\npath = {book}\n" for n, book in enumerate(books))
config.write_text(f"[addressbooks]\n{sections}[general]\ndebug = no\n")
listed = subprocess.run(["khard", "-c", config, "list", "--parsable", "--fields", "uid"],
                        capture_output=True, text=True)
assert listed.returncode == 0, listed.stderr
print(json.dumps([count, photos, len(set(listed.stdout.split()))]))
"#;

#[test]
fn other_programs_read_every_card() {
    for profile in [Profile::Plain, Profile::Nasty] {
        let tenant = Tenant::start(Options {
            users: 3,
            contacts: 40,
            special_users: false,
            profile,
            ..Options::default()
        });
        let held = held(&tenant).len();
        let bytes = tenant.export(&["--service", "contacts"]).expect(0).stdout;
        let dir = TempDir::new().unwrap();
        let to = dir.path().to_str().unwrap();
        run_with(tar365(&["extract", "-", "-C", to]), &bytes).expect(0);
        let mut command = tool("python3");
        command.args(["-c", &[READ, KHARD].concat(), to]);
        let said = run(command).expect(0).stdout;
        let [count, photos, uids]: [usize; 3] = serde_json::from_slice(&said).unwrap();
        assert_eq!((count, uids), (held, held), "{profile:?}");
        assert!(photos > 30, "{photos}");
    }
}

/// The properties of a type of Microsoft's published schema, inherited ones too.
const PROPERTIES: &str = r#"
import json, lzma, sys
import xml.etree.ElementTree as tree

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
types = {}
for schema in tree.parse(lzma.open(sys.argv[1])).iter(EDM + "Schema"):
    for entity in schema.iter(EDM + "EntityType"):
        types[entity.get("Name")] = entity
names, at = [], "contact"
while at:
    entity = types[at]
    names += [p.get("Name") for p in entity if p.tag in (EDM + "Property", EDM + "NavigationProperty")]
    at = (entity.get("BaseType") or "").rpartition(".")[2]
print(json.dumps(names))
"#;

#[test]
fn every_published_property_of_a_contact_comes_back_or_is_named() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/graph/v1.0-Prod.csdl.xz");
    if !schema.exists() {
        let required = std::env::var_os("TAR365_REQUIRE_CORPUS").is_some_and(|v| v == "1");
        assert!(!required, "{} is missing", schema.display());
        eprintln!("*** NOT TESTED: {} is missing ***", schema.display());
        return;
    }
    let names = python(PROPERTIES, &[schema.as_os_str()]);
    let names: Vec<String> = serde_json::from_str(&names).unwrap();
    assert!(names.len() >= 45, "{names:?}");
    let source = source();
    let saved = export(&source);
    let target = emptied(&source, Language::German);
    saved.import(&target, "journal", &["--in-place"]).expect(0);
    let (before, after) = (Archive::new(&saved.bytes), Archive::new(&export(&target).bytes));
    let section = &sections(&before)[0];
    // One that has everything. The restored ones have another order: that in which they were made.
    let whole = |archive: &Archive, is_it: &dyn Fn(&Value) -> bool| {
        let lines = archive.lines(section);
        let whole = lines.iter().find(|line| is_it(&line["graph"])).unwrap();
        let card = archive.member(text(whole, "path")).unwrap().content.clone();
        (whole["graph"].clone(), String::from_utf8(card).unwrap())
    };
    let (graph, card) = whole(&before, &|graph| !text(graph, "yomiSurname").is_empty());
    let (again, _) = whole(&after, &|other| {
        other["imAddresses"] == graph["imAddresses"] && graph["imAddresses"][0].is_string()
    });
    let text = include_str!("../../doc/restore.md");
    let (_, text) = text.split_once("\n## What comes back in Microsoft 365\n").unwrap();
    let named = |name: &str| text.contains(&format!("`{name}`"));
    for name in &names {
        let is_known = !graph[name].is_null();
        let is_in_card = name == "photo" && card.contains("\r\nPHOTO;");
        let is_restored = is_known && graph[name] == again[name];
        assert!(is_known || is_in_card || named(name), "{name} is nowhere");
        assert!(is_restored || is_in_card || named(name), "{name} is lost without a word");
    }
}

/// 21Vianet tells no changes of contacts: folders are listed until they stay the same.
#[test]
fn where_there_is_no_delta_the_archive_is_the_same() {
    let wanted = export(&Tenant::start(small()));
    let graph = "https://microsoftgraph.chinacloudapi.cn".into();
    let public = PublicUrls { graph, login: String::new(), download: String::new() };
    let tenant = Tenant::start(Options { public: Some(public), ..small() });
    let run = tenant.export(&["--cloud", "china", "--service", "contacts"]).expect(0);
    same(&run.stdout, &wanted.bytes, "without delta");
    let asked = tenant.simulator.log().records();
    assert!(!asked.iter().any(|record| record.path.contains("/delta")), "a delta was asked for");
}
