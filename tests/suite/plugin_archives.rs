//! Plugins and archives that are there already: as a base, extracted, restored, filtered again.

use crate::base::{Shelf, WAYS, contents, night, same};
use crate::guest::Guest;
use crate::harness::{Archive, files_below, run, tar365, text, verify};
use crate::plugins::{
    CONTENT, SUBJECT, TRACES, by_content, by_metadata, copies, if_value, no_trace, stamps, tenant,
    with,
};

#[test]
fn a_base_that_no_plugin_saw_goes_through_the_chain() {
    let (tenant, ids) = tenant();
    let whole = tenant.export(&[]).expect(0).stdout;
    for guest in [by_metadata(), by_content(), stamps("stamped\n")] {
        let shelf = Shelf::new();
        let plugin = shelf.guest(&guest);
        let wanted = with(&tenant, &[&plugin], &[]).expect(0).stdout;
        for way in WAYS {
            let night = night(&tenant, &whole, way, &["--plugin", &plugin]);
            assert_eq!(contents(&night.asked), [""; 0], "{way:?}");
            same(&night.run.expect(0).stdout, &wanted, &format!("{way:?}"));
        }
    }
    let shelf = Shelf::new();
    let plugin = shelf.guest(&by_content());
    let night = night(&tenant, &whole, crate::base::Way::File, &["--plugin", &plugin]);
    no_trace(&night.run.expect(0).stdout, &ids);
}

#[test]
fn a_base_of_the_same_chain_is_taken_as_it_is() {
    let (tenant, ids) = tenant();
    for guest in [by_metadata(), by_content(), stamps("stamped\n")] {
        let shelf = Shelf::new();
        let plugin = shelf.guest(&guest);
        let first = with(&tenant, &[&plugin], &[]).expect(0).stdout;
        for way in WAYS {
            let night = night(&tenant, &first, way, &["--plugin", &plugin]);
            let fetched = contents(&night.asked);
            // What was dropped by its content is not in the base, and must be seen again.
            let is_dropped = |id: &String| ids.contains(id);
            let is_file_of_pipe =
                |id: &String| way == crate::base::Way::Pipe && id.starts_with("01");
            assert!(
                fetched.iter().all(|id| is_dropped(id) || is_file_of_pipe(id)),
                "{way:?} {fetched:?}"
            );
            same(&night.run.expect(0).stdout, &first, &format!("{way:?}"));
        }
        // Another chain can't undo what this one did; nor can none.
        let other = shelf.put("other.wat", copies().wat().as_bytes());
        for flags in [&["--plugin", &other][..], &[]] {
            let night = night(&tenant, &first, crate::base::Way::File, flags);
            assert!(night.run.expect(2).stderr.contains("other filters"));
        }
    }
}

#[test]
fn extracted_and_restored_through_plugins() {
    let (tenant, ids) = tenant();
    let whole = tenant.export(&[]).expect(0).stdout;
    for guest in [by_metadata(), by_content(), stamps("stamped\n")] {
        let shelf = Shelf::new();
        let plugin = shelf.guest(&guest);
        let archive = shelf.put("whole.tar", &whole);
        let filtered = with(&tenant, &[&plugin], &[]).expect(0).stdout;
        let filtered_archive = shelf.put("filtered.tar", &filtered);
        let dir = |name: &str| shelf.path(name).display().to_string();
        let extract = |archive: &str, to: &str, flags: &[&str]| {
            let to = dir(to);
            run(tar365(&[&["extract", archive, "-C", &to], flags].concat())).expect(0);
            let mut files = files_below(to.as_ref());
            // It tells of the same, in another order.
            files.retain(|path, _| !path.starts_with(".tar365/"));
            files
        };
        let now = extract(&archive, "now", &["--plugin", &plugin]);
        let then = extract(&filtered_archive, "then", &[]);
        assert_eq!(now.keys().collect::<Vec<_>>(), then.keys().collect::<Vec<_>>());
        assert!(now == then);
        // A restore writes what the filtered archive would.
        let to = format!("directory:{}", dir("restored"));
        let flags = ["import", &archive, "--to", &to, "--plugin", &plugin, "--journal"];
        let journal = dir("journal");
        run(tar365(&[&flags[..], &[&journal]].concat())).expect(0);
        let restored = files_below(dir("restored").as_ref());
        assert!(!restored.is_empty());
        if guest.wat() != stamps("stamped\n").wat() {
            for (path, content) in &restored {
                assert!(!TRACES.iter().any(|trace| path.contains(trace)), "{path}");
                no_trace(content, &ids);
            }
        }
    }
}

/// Of what an archive does not hold its filtered copy tells as well.
#[test]
fn a_filtered_archive_tells_of_all_that_is_missing() {
    let (tenant, _) = tenant();
    let whole = tenant.export(&[]).expect(0).stdout;
    let missing = |archive: &Archive| -> Vec<(String, String, String)> {
        let of_items = archive.ledger().into_iter().filter(|line| line.get("id").is_some());
        let mut told: Vec<_> = of_items
            .map(|line| ["id", "outcome", "cause"].map(|key| text(&line, key).to_owned()).into())
            .collect();
        told.sort();
        told
    };
    let wanted = missing(&Archive::new(&whole));
    assert!(wanted.iter().any(|(_, _, cause)| cause == "malware"));
    let shelf = Shelf::new();
    let archive = shelf.put("whole.tar", &whole);
    for guest in [by_metadata(), by_content()] {
        let (plugin, filtered) = (shelf.guest(&guest), shelf.path("filtered.tar"));
        let to = filtered.display().to_string();
        run(tar365(&["plugin", "run", &plugin, &archive, "-o", &to])).expect(0);
        let filtered = std::fs::read(&filtered).unwrap();
        verify(&filtered);
        assert_eq!(missing(&Archive::new(&filtered)), wanted);
    }
}

#[test]
fn what_is_damaged_in_the_archive_is_not_lost_in_silence() {
    let (tenant, _) = tenant();
    let mut archive = tenant.export(&[]).expect(0).stdout;
    let (at, size) = crate::base::place_of(&archive, |entry| entry.path.ends_with(".eml"));
    archive[at + size / 2] ^= 1;
    let shelf = Shelf::new();
    let bad = shelf.put("bad.tar", &archive);
    for guest in [by_metadata(), copies()] {
        let plugin = shelf.guest(&guest);
        let out = shelf.path("out").display().to_string();
        let flags = ["extract", &bad, "-C", &out, "--overwrite", "--plugin", &plugin];
        let run = run(tar365(&flags)).expect(1);
        assert!(run.stderr.contains("1 damaged in the archive"), "{}", run.stderr);
    }
}

/// A folder that is dropped is there for what is in it, until that is dropped by its content.
#[test]
fn a_dropped_folder_goes_with_the_last_that_is_in_it() {
    let (tenant, _) = tenant();
    let office = tenant.simulator.tenant();
    let user = office.users().into_iter().find(|user| user.upn.starts_with("anna")).unwrap().id;
    let folders = office.folders(&user).unwrap();
    let inbox = folders.iter().find(|folder| folder.well_known == Some("inbox")).unwrap();
    let folder = office.add_folder(&user, &inbox.id, "Zebrafink").unwrap();
    let eml = format!("Subject: {SUBJECT}\r\n\r\n{CONTENT}\r\n");
    office.add_message(&user, &folder, eml.as_bytes()).unwrap();
    let mut guest = Guest::new("folders");
    let reason = guest.text("a reason");
    let drop = if_value(&mut guest, "/displayName", "Zebrafink", &format!("(call $drop {reason})"));
    let shelf = Shelf::new();
    let folders = guest.on_metadata(&format!("{drop} (call $keep)"));
    let folders = shelf.put("folders.wat", folders.wat().as_bytes());
    let contents = shelf.put("contents.wat", by_content().wat().as_bytes());
    let whole = shelf.put("whole.tar", &tenant.export(&[]).expect(0).stdout);
    let is_there = |plugins: &[&str]| {
        let out = tempfile::tempdir().unwrap();
        let named = plugins.iter().flat_map(|plugin| ["--plugin", plugin]);
        let flags = ["extract", &whole, "-C", out.path().to_str().unwrap()];
        run(tar365(&flags.into_iter().chain(named).collect::<Vec<_>>())).expect(0);
        let inbox = "users/anna.schmidt@contoso.onmicrosoft.com/mail";
        let mut mail = std::fs::read_dir(out.path().join(inbox)).unwrap();
        let is_in_archive = mail.any(|folder| folder.unwrap().path().join("Zebrafink").exists());
        let exported = Archive::new(&with(&tenant, plugins, &[]).expect(0).stdout);
        let is_in_export = exported.members.iter().any(|m| m.path.contains("/Zebrafink"));
        assert_eq!(is_in_archive, is_in_export);
        is_in_export
    };
    assert!(is_there(&[&folders]));
    assert!(!is_there(&[&folders, &contents]));
}
