//! What a restore did is taken back, and nothing else.

use simulator::Options;

use crate::harness::{Archive, Tenant, json_lines, text};
use crate::import::{Saved, counts, writable};

/// An archive without what changes by having been touched: of containers their change tags and
/// when they were changed. Items must be as they were, to the byte.
fn normal(saved: &Saved) -> Vec<(String, String)> {
    let archive = Archive::new(&saved.bytes);
    let members = archive.members.into_iter().filter(|member| !member.path.starts_with(".tar365/"));
    let mut all = Vec::new();
    for member in members {
        if !member.path.ends_with(".ndjson") {
            all.push((member.path, crate::harness::sha256(&member.content)));
            continue;
        }
        for mut line in json_lines(&member.content) {
            if text(&line, "kind") == "folder" {
                let graph = line["graph"].as_object_mut().unwrap();
                for key in ["changeKey", "eTag", "lastModifiedDateTime"] {
                    graph.remove(key);
                }
                if let Some(times) = graph.get_mut("fileSystemInfo") {
                    times.as_object_mut().unwrap().remove("lastModifiedDateTime");
                }
            }
            all.push((member.path.clone(), line.to_string()));
        }
    }
    all
}

#[track_caller]
fn assert_same(before: &Saved, after: &Saved) {
    let (before, after) = (normal(before), normal(after));
    assert!(before.len() > 50);
    for (one, other) in before.iter().zip(&after) {
        assert_eq!(one, other);
    }
    assert_eq!(before.len(), after.len());
}

fn tenant() -> Tenant {
    writable(Options { users: 2, mails: 40, files: 20, ..Options::default() })
}

#[test]
fn the_target_is_as_before() {
    let tenant = tenant();
    let saved = Saved::export(&tenant);
    let world = tenant.simulator.tenant();
    let user = &world.users()[0];
    for mail in world.messages(&user.id).unwrap().into_iter().step_by(3).take(10) {
        world.delete_message(&user.id, &mail.id).unwrap();
    }
    let files = world.files(&user.id).unwrap();
    for file in files.iter().filter(|file| !file.malware).take(4) {
        world.delete_file(&user.id, &file.path.join("/")).unwrap();
    }
    let before = Saved::export(&tenant);
    for arguments in [&[][..], &["--in-place"]] {
        let journal = format!("journal {}", arguments.len());
        let [created, ..] = counts(&saved.import(&tenant, &journal, arguments).expect(0));
        assert!(created >= 8);
        assert_ne!(normal(&Saved::export(&tenant)), normal(&before));
        let undone = saved.undo(&tenant, &journal).expect(0);
        assert!(undone.stderr.contains(" 0 changed since and kept, 0 failed"), "{}", undone.stderr);
        assert_same(&before, &Saved::export(&tenant));
        // Once more has nothing to do.
        let again = saved.undo(&tenant, &journal).expect(0);
        assert!(again.stderr.contains("undone: 0 removed"), "{}", again.stderr);
    }
}

#[test]
fn what_somebody_changed_since_stays() {
    let tenant = tenant();
    let saved = Saved::export(&tenant);
    let world = tenant.simulator.tenant();
    let user = &world.users()[0];
    let old: Vec<_> = world.messages(&user.id).unwrap().into_iter().map(|mail| mail.id).collect();
    saved.import(&tenant, "j", &[]).expect(0);
    let folders = world.folders(&user.id).unwrap();
    let inbox = folders.iter().find(|folder| folder.well_known == Some("inbox")).unwrap();
    let new = world.messages(&user.id).unwrap().into_iter().find(|mail| !old.contains(&mail.id));
    let filed = new.unwrap().id;
    world.move_message(&user.id, &filed, &inbox.id).unwrap();
    let files = world.files(&user.id).unwrap();
    let is_ours = |path: &[String]| path[0].starts_with("tar365 restore ");
    let file = files.iter().find(|file| is_ours(&file.path) && !file.malware).unwrap();
    let edited = file.path.join("/");
    world.put_file(&user.id, &edited, b"edited").unwrap();

    let undone = saved.undo(&tenant, "j").expect(3);
    assert!(undone.stderr.contains("changed since and stays"), "{}", undone.stderr);
    assert_eq!(world.message(&user.id, &filed).unwrap().folder, inbox.id);
    let left: Vec<_> =
        world.files(&user.id).unwrap().into_iter().filter(|file| is_ours(&file.path)).collect();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].path.join("/"), edited);
    assert_eq!(&left[0].bytes()[..], b"edited");
    let mails = world.messages(&user.id).unwrap().len();
    assert_eq!(mails, old.len() + 1, "all others are gone");
}
