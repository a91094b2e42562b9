//! To Do, restored: what comes back, what does not, and that nothing comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use serde_json::{Map, Value, json};
use simulator::{Language, Options, TaskParts};

use crate::harness::{Archive, Tenant, corpus, python, text};
use crate::import::{Saved, counts, emptied_with, writable, writes};
use crate::import_kill::kill_when;
use crate::tasks::{ONLY, lines, small};

/// What of a task, its steps, links and attachments the service makes anew (doc/restore.md).
const MADE_ANEW: [&str; 7] = [
    "id",
    "parentFolderId",
    "@odata.etag",
    "createdDateTime",
    "lastModifiedDateTime",
    "bodyLastModifiedDateTime",
    "attachments",
];

/// The lines of a task's file that say the same.
const ANEW_IN_FILE: [&str; 4] = ["UID:", "DTSTAMP:", "CREATED:", "LAST-MODIFIED:"];

fn saved(tenant: &Tenant) -> Saved {
    Saved::new(tenant.export(&ONLY).expect(0).stdout)
}

/// A tenant with the same users and no tasks.
fn emptied(of: &Tenant, language: Language, task_parts: TaskParts) -> Tenant {
    emptied_with(of, language, Options { task_parts, ..Options::default() })
}

fn is_mark(link: &Value) -> bool {
    link["applicationName"] == "tar365"
}

/// All tasks of an archive as people know them, by user and list, whatever restore that is of.
/// In place the default list is known as that, beside by its name.
pub fn said(archive: &Archive, in_place: bool) -> Vec<String> {
    let lists: BTreeMap<String, Value> = lines(archive, "folder")
        .into_iter()
        .map(|line| (text(&line, "id").to_owned(), line["graph"].clone()))
        .collect();
    let tasks = lines(archive, "task").into_iter().map(|line| {
        let mut graph = line["graph"].clone();
        let list = &lists[text(&graph, "parentFolderId")];
        let list = match text(list, "wellknownListName") {
            "defaultList" if in_place => "default",
            _ => {
                let name = text(list, "displayName");
                let restored = name.strip_prefix("tar365 restore ");
                restored.and_then(|name| Some(name.split_once(": ")?.1)).unwrap_or(name)
            }
        };
        let owner = text(&line, "path").split('/').nth(1).unwrap().to_owned();
        for part in ["checklistItems", "linkedResources"] {
            let rows = graph[part].as_array_mut().unwrap();
            rows.retain(|row| !is_mark(row));
            for row in rows.iter_mut() {
                anew(row.as_object_mut().unwrap());
            }
            rows.sort_by_key(Value::to_string);
        }
        anew(graph.as_object_mut().unwrap());
        let file = String::from_utf8(archive.member(text(&line, "path")).unwrap().content.clone());
        let file = file.unwrap().replace("\r\n ", "");
        let file = file.lines().filter(|line| {
            let ours = line.starts_with("X-TAR365-LINKED-RESOURCE") && line.contains("tar365 ");
            !ours
                && !line.contains("Restored by tar365")
                && !ANEW_IN_FILE.iter().any(|name| line.starts_with(name))
        });
        let mut file: Vec<_> = file.collect();
        file.sort_unstable();
        format!("{owner} {list} {graph} {}", file.join("\n"))
    });
    let mut tasks: Vec<_> = tasks.collect();
    tasks.sort();
    tasks
}

fn anew(object: &mut Map<String, Value>) {
    object.retain(|key, _| !MADE_ANEW.contains(&key.as_str()));
}

/// The same tasks, each as often.
#[track_caller]
fn same(before: &[String], after: &[String]) {
    let lacks = |of: &[String], other: &[String]| {
        of.iter().filter(|task| !other.contains(task)).cloned().collect::<Vec<_>>()
    };
    let (lost, new) = (lacks(before, after), lacks(after, before));
    let counts = (lost.len(), new.len());
    assert!(before == after, "{counts:?} lost and new: {:#?}", (lost.first(), new.first()));
}

#[test]
fn tasks_come_back_whole_in_place_and_beside() {
    let source = Tenant::start(Options { tasks: 16, ..small() });
    let saved = saved(&source);
    let before = Archive::new(&saved.bytes);
    for (mode, parts) in [
        ("in-place", TaskParts::Given),
        ("beside", TaskParts::Given),
        ("in-place", TaskParts::Ignored),
        ("beside", TaskParts::Refused),
    ] {
        let target = emptied(&source, Language::German, parts);
        let in_place = mode == "in-place";
        let arguments: &[&str] = if in_place { &["--in-place"] } else { &[] };
        let run = saved.import(&target, mode, arguments).expect(0);
        assert_eq!(counts(&run), [32, 0, 0, 0, 0], "{}", run.stderr);
        let after = self::saved(&target);
        same(&said(&before, in_place), &said(&Archive::new(&after.bytes), in_place));
        // A second run, which knows nothing of the first, makes nothing.
        target.simulator.log().clear();
        let again = saved.import(&target, &format!("{mode} again"), arguments).expect(0);
        assert_eq!(counts(&again), [0, 0, 32, 0, 0], "{}", again.stderr);
        assert_eq!(writes(&target).len(), 0);
        // And an undo leaves nothing.
        let undone = saved.undo(&target, mode);
        assert_eq!(undone.code, 0, "{}", undone.stderr);
        let left = Archive::new(&target.export(&ONLY).expect(0).stdout);
        assert_eq!(lines(&left, "task").len(), 0);
        assert_eq!(lines(&left, "folder").len(), 4, "the two that each mailbox has");
    }
}

/// Bytes that no compression takes away.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8).collect()
}

#[test]
fn large_attachments_go_through_a_session_and_lost_answers_make_nothing_twice() {
    let source = emptied(&Tenant::start(small()), Language::German, TaskParts::Given);
    let user = source.simulator.tenant().users().remove(0);
    let mut sizes = Vec::new();
    for (number, size) in [4_000_001, 17, 0].into_iter().enumerate() {
        sizes.push((format!("file {number}.bin"), noise(size)));
    }
    source
        .simulator
        .tenant()
        .add_task(&user.id, "defaultList", json!({"title": "Files"}), &sizes)
        .unwrap();
    let saved = saved(&source);
    let before = said(&Archive::new(&saved.bytes), true);
    assert_eq!(before.len(), 1);
    for fault in ["", "reset-after", "error-after", "session-lost"] {
        let target = emptied(&source, Language::German, TaskParts::Given);
        if !fault.is_empty() {
            let fault = format!("{fault}:match=/todo/");
            target.simulator.set_faults(vec![fault.parse().unwrap()]);
        }
        let run = saved.import(&target, &format!("journal {fault}"), &["--in-place"]).expect(0);
        target.simulator.set_faults(Vec::new());
        assert_eq!(counts(&run), [1, 0, 0, 0, 0], "{fault}: {}", run.stderr);
        same(&before, &said(&Archive::new(&self::saved(&target).bytes), true));
    }
}

/// The properties of types of Microsoft's published schema, with those of what they are based on.
fn published(types: &[&str]) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let schema =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/graph/v1.0-Prod.csdl.xz");
    // Beside the corpus, and as loud if it is missing.
    corpus().filter(|_| schema.exists())?;
    let program = r#"
import json, lzma, sys, xml.etree.ElementTree as tree
edm = "{http://docs.oasis-open.org/odata/ns/edm}"
known = {e.get("Name"): e for e in tree.fromstring(lzma.open(sys.argv[1]).read()).iter(edm + "EntityType")}
def properties(name):
    of = known[name]
    own = [e.get("Name") for e in of if e.tag in (edm + "Property", edm + "NavigationProperty")]
    base = of.get("BaseType", "").rsplit(".", 1)[-1]
    return own + (properties(base) if base else [])
print(json.dumps({name: sorted(properties(name)) for name in sys.argv[2:]}))
"#;
    let names = types.iter().map(std::ffi::OsStr::new);
    let arguments: Vec<_> = std::iter::once(schema.as_os_str()).chain(names).collect();
    Some(serde_json::from_str(&python(program, &arguments)).unwrap())
}

/// Every property that tasks and their parts are published to have is in the archive and comes back,
/// or is named in doc/restore.md as what does not.
#[test]
fn every_published_property_comes_back_or_is_declared() {
    let types = ["todoTask", "checklistItem", "linkedResource", "taskFileAttachment"];
    let Some(schema) = published(&types) else { return };
    let source = Tenant::start(Options { tasks: 16, ..small() });
    let saved = saved(&source);
    let target = emptied(&source, Language::German, TaskParts::Given);
    saved.import(&target, "journal", &["--in-place"]).expect(0);
    let after = Archive::new(&self::saved(&target).bytes);
    let documented = include_str!("../../doc/restore.md");
    for (of, part) in
        types.into_iter().zip(["", "checklistItems", "linkedResources", "attachments"])
    {
        let keys = |archive: &Archive| -> BTreeMap<String, BTreeSet<String>> {
            let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for line in lines(archive, "task") {
                let graph = &line["graph"];
                let rows = match part {
                    "" => vec![graph.clone()],
                    part => graph[part].as_array().unwrap().clone(),
                };
                for row in rows.iter().filter(|row| !is_mark(row)).flat_map(|row| row.as_object()) {
                    for (key, value) in row {
                        all.entry(key.clone()).or_default().insert(value.to_string());
                    }
                }
            }
            all
        };
        let (before, after) = (keys(&Archive::new(&saved.bytes)), keys(&after));
        for property in &schema[of] {
            let is_documented = documented.contains(&format!("`{property}`"));
            match (before.get(property), after.get(property)) {
                // What stands in parts of its own is compared as such; bytes stand in the file.
                _ if ["attachments", "checklistItems", "linkedResources"]
                    .contains(&&**property) =>
                {
                    assert!(before.contains_key(property), "{of} {property} is not exported");
                }
                _ if property == "contentBytes" => {}
                (Some(one), Some(other)) if one == other => {}
                _ => assert!(is_documented, "{of} {property} does not come back"),
            }
        }
    }
}

#[test]
fn what_is_replaced_comes_back_on_undo_and_what_was_changed_since_stays() {
    let home = writable(Options { tasks: 16, ..small() });
    let saved = saved(&home);
    let before = said(&Archive::new(&saved.bytes), true);
    // In place nothing is missing.
    let run = saved.import(&home, "skip", &["--in-place"]).expect(0);
    assert_eq!(counts(&run), [0, 0, 32, 0, 0], "{}", run.stderr);
    assert_eq!(writes(&home).len(), 0);
    // What has attachments can't be brought back by an undo, and stays.
    let run = saved.import(&home, "replace", &["--in-place", "--on-conflict", "replace"]).expect(3);
    assert_eq!(counts(&run), [0, 24, 0, 0, 0], "{}", run.stderr);
    same(&before, &said(&Archive::new(&self::saved(&home).bytes), true));
    let undone = saved.undo(&home, "replace");
    assert_eq!(undone.code, 0, "{}", undone.stderr);
    same(&before, &said(&Archive::new(&self::saved(&home).bytes), true));
    // A copy is beside it; one that was ticked off since is its owner's.
    let run = saved.import(&home, "copy", &["--in-place", "--on-conflict", "copy"]).expect(0);
    assert_eq!(counts(&run)[0], 8, "{}", run.stderr);
    let office = home.simulator.tenant();
    let user = office.users().remove(0);
    let copy = office.items(&user.id).unwrap().into_iter().rfind(|item| item.kind == "task");
    office.change_item(&user.id, &copy.unwrap().id, json!({"status": "completed"})).unwrap();
    let undone = saved.undo(&home, "copy");
    assert_eq!(undone.code, 3, "{}", undone.stderr);
    assert_eq!(lines(&Archive::new(&self::saved(&home).bytes), "task").len(), 33);
}

/// Whatever moment a run is killed at, the next one makes nothing twice and leaves nothing half.
#[test]
fn a_killed_run_is_completed_or_taken_back() {
    let source = writable(Options { users: 1, tasks: 8, ..small() });
    let saved = saved(&source);
    let before = said(&Archive::new(&saved.bytes), true);
    let mut kills = 0;
    for (number, at) in [6, 11, 17, 24, 32, 40].into_iter().enumerate() {
        let target = emptied(&source, Language::Japanese, TaskParts::Given);
        let (path, journal) = (saved.path(), saved.file(&format!("first {at}")));
        let arguments = ["import", &path, "--journal", &journal, "--in-place"];
        let mut command = target.tar365(&arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let requests = || target.simulator.log().counts().requests;
        kills += u32::from(kill_when(&mut child, || requests() >= at));
        if number % 3 == 2 {
            let undone = saved.undo(&target, &format!("first {at}"));
            assert_eq!(undone.code, 0, "{}", undone.stderr);
            same(&[], &said(&Archive::new(&self::saved(&target).bytes), true));
            continue;
        }
        let again = if number % 3 == 0 { format!("first {at}") } else { format!("other {at}") };
        saved.import(&target, &again, &["--in-place"]).expect(0);
        same(&before, &said(&Archive::new(&self::saved(&target).bytes), true));
    }
    assert!(kills >= 3, "only {kills} were killed in time");
}

#[test]
fn tasks_that_are_views_of_flagged_mails_are_exported_and_left_to_the_mails() {
    let source = emptied(&Tenant::start(small()), Language::German, TaskParts::Given);
    let office = source.simulator.tenant();
    let user = office.users().remove(0).id;
    office.add_task(&user, "flaggedEmails", json!({"title": "A mail"}), &[]).unwrap();
    let saved = saved(&source);
    let archive = Archive::new(&saved.bytes);
    assert_eq!(lines(&archive, "task").len(), 1);
    for arguments in [&["--in-place"][..], &[]] {
        let target = emptied(&source, Language::German, TaskParts::Given);
        let run =
            saved.import(&target, &format!("journal{}", arguments.concat()), arguments).expect(0);
        assert_eq!(counts(&run), [0, 0, 1, 0, 0], "{}", run.stderr);
        assert!(run.stderr.contains("flagged-mail"), "{}", run.stderr);
        assert_eq!(lines(&Archive::new(&self::saved(&target).bytes), "task").len(), 0);
    }
}
