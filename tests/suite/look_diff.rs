//! `diff`: what changed between two archives, and between an archive and the tenant.

use std::collections::{BTreeMap, BTreeSet};

use simulator::{MailInfo, Options};

use crate::harness::{Run, Tenant, json_lines, run, run_with, tar365, text};
use crate::import::{Saved, writable};

const NAMES: [&str; 7] = ["added", "removed", "changed", "moved", "flags", "metadata", "unknown"];

fn source() -> Tenant {
    writable(Options { users: 2, mails: 40, files: 20, ..Options::default() })
}

/// Paths in a drive of ordinary files, by the drive.
fn files(tenant: &Tenant, user: usize) -> (String, Vec<String>) {
    let world = tenant.simulator.tenant();
    let drive = world.users()[user].drive.clone().unwrap();
    let files = world.files(&drive).unwrap().into_iter();
    let paths: Vec<_> = files
        .filter(|file| !file.malware && file.size > 0 && file.path.len() == 2)
        .filter(|file| !file.path[1].ends_with(".zip") && !file.path[1].ends_with(".one"))
        .map(|file| file.path.join("/"))
        .collect();
    (drive, paths)
}

/// What was done to a tenant: change and id.
type Done = BTreeSet<(&'static str, String)>;

/// Changes of every kind.
fn change(tenant: &Tenant) -> Done {
    let world = tenant.simulator.tenant();
    let users = world.users();
    let (one, two) = (&users[0].id, &users[1].id);
    let mut done = Done::new();
    let folders = world.folders(one).unwrap();
    let named = |known: &str| folders.iter().find(|f| f.well_known == Some(known)).unwrap();
    let (inbox, archive) = (named("inbox"), named("deleteditems"));
    let mails: Vec<MailInfo> = world.folder_messages(one, &inbox.id).unwrap();
    let eml = b"From: a@example.com\r\nTo: b@example.com\r\nSubject: brand new\r\n\r\nHello.\r\n";
    done.insert(("added", world.add_message(one, &inbox.id, eml).unwrap()));
    world.delete_message(one, &mails[0].id).unwrap();
    done.insert(("removed", mails[0].id.clone()));
    world.set_read(one, &mails[1].id, !mails[1].is_read).unwrap();
    done.insert(("flags", mails[1].id.clone()));
    world.set_flag(one, &mails[2].id, mails[2].flag != "flagged").unwrap();
    done.insert(("flags", mails[2].id.clone()));
    world.set_categories(one, &mails[3].id, vec!["Later".into()]).unwrap();
    done.insert(("flags", mails[3].id.clone()));
    world.move_message(one, &mails[4].id, &archive.id).unwrap();
    done.insert(("moved", mails[4].id.clone()));
    // Of several changes the first is told.
    world.move_message(one, &mails[5].id, &archive.id).unwrap();
    world.set_read(one, &mails[5].id, !mails[5].is_read).unwrap();
    done.insert(("moved", mails[5].id.clone()));
    let (drive, paths) = files(tenant, 1);
    let id = |path: &str| {
        let files = world.files(&drive).unwrap();
        files.into_iter().find(|file| file.path.join("/") == path).unwrap().id
    };
    done.insert(("changed", id(&paths[0])));
    world.put_file(&drive, &paths[0], b"Other bytes.").unwrap();
    done.insert(("removed", id(&paths[1])));
    world.delete_file(&drive, &paths[1]).unwrap();
    done.insert(("moved", id(&paths[2])));
    world.rename_file(&drive, &paths[2], "another name.bin").unwrap();
    done.insert(("moved", id(&paths[3])));
    world.move_file(&drive, &paths[3], "Elsewhere").unwrap();
    done.insert(("added", world.put_file(&drive, "new.txt", b"New bytes.").unwrap()));
    // Its tag changes, and nothing that anybody sees.
    world.touch(&drive, &paths[4]).unwrap();
    // Whatever they are called, they and their items are the same.
    world.rename_user(two, "renamed@contoso.onmicrosoft.com").unwrap();
    done
}

/// What a run says in JSON: the changes, and that its summary counts them.
#[track_caller]
fn told(run: &Run) -> BTreeSet<(String, String)> {
    let mut lines = json_lines(&run.stdout);
    let summary = lines.pop().unwrap();
    let mut counts: BTreeMap<_, u64> = NAMES.iter().map(|name| ((*name).to_owned(), 0)).collect();
    for line in &lines {
        *counts.get_mut(text(line, "change")).unwrap() += 1;
    }
    let said: BTreeMap<String, u64> = serde_json::from_value(summary["summary"].clone()).unwrap();
    assert_eq!(said, counts);
    let told: BTreeSet<_> = lines
        .iter()
        .map(|line| (text(line, "change").to_owned(), text(line, "id").to_owned()))
        .collect();
    assert_eq!(told.len(), lines.len());
    told
}

fn owned(done: &Done) -> BTreeSet<(String, String)> {
    done.iter().map(|(change, id)| ((*change).to_owned(), id.clone())).collect()
}

fn paths(saved: &Saved) -> BTreeMap<String, String> {
    let run = run(tar365(&["find", &saved.path(), "--json"])).expect(0);
    let lines = json_lines(&run.stdout).into_iter();
    lines.map(|line| (text(&line, "id").to_owned(), text(&line, "path").to_owned())).collect()
}

#[test]
fn what_changed_between_two_archives_is_told() {
    let tenant = source();
    let before = Saved::export(&tenant);
    let done = change(&tenant);
    let after = Saved::export(&tenant);
    let (first, second) = (before.path(), after.path());
    let diff = |arguments: &[&str]| run(tar365(&[&["diff"], arguments].concat()));
    let as_json = diff(&[&first, &second, "--json"]).expect(3);
    assert_eq!(told(&as_json), owned(&done), "{}", String::from_utf8_lossy(&as_json.stdout));
    let (had, has) = (paths(&before), paths(&after));
    for line in json_lines(&as_json.stdout).iter().filter(|line| line.get("summary").is_none()) {
        let id = text(line, "id");
        let path = has.get(id).or(had.get(id)).unwrap();
        assert_eq!(text(line, "path"), path);
        let was = had.get(id).filter(|was| *was != path && has.contains_key(id));
        assert_eq!(line["was"].as_str(), was.map(String::as_str));
    }
    let shown = String::from_utf8(diff(&[&first, &second]).expect(3).stdout).unwrap();
    assert_eq!(shown.lines().count(), done.len());
    for (change, id) in &done {
        let path = has.get(id).or(had.get(id)).unwrap();
        let begin = format!("{change:<9} {path}");
        assert_eq!(shown.lines().filter(|line| line.starts_with(&begin)).count(), 1, "{begin}");
    }
    // Seen from the other side, what was added is removed.
    let back = diff(&[&second, &first, "--json"]).expect(3);
    let turned = |change: &str| match change {
        "added" => "removed".to_owned(),
        "removed" => "added".to_owned(),
        other => other.to_owned(),
    };
    assert_eq!(told(&back), owned(&done).into_iter().map(|(c, id)| (turned(&c), id)).collect());
    // Pipes say the same.
    let piped = run_with(tar365(&["diff", "-", &second, "--json"]), &before.bytes).expect(3);
    assert!(piped.stdout == as_json.stdout);
    let piped = run_with(tar365(&["diff", &first, "-", "--json"]), &after.bytes).expect(3);
    assert_eq!(told(&piped), told(&as_json));
    // A part of it.
    let mail = diff(&[&first, &second, "--json", "--service", "mail"]).expect(3);
    let is_mail =
        |(_, id): &(String, String)| has.get(id).or(had.get(id)).unwrap().contains("/mail/");
    let expected: BTreeSet<_> = owned(&done).into_iter().filter(is_mail).collect();
    assert!(!expected.is_empty() && expected.len() < done.len());
    assert_eq!(told(&mail), expected);
}

#[test]
fn equal_archives_have_no_differences_and_bad_ones_are_errors() {
    let tenant = source();
    let saved = Saved::export(&tenant);
    let path = saved.path();
    let equal = run(tar365(&["diff", &path, &path])).expect(0);
    assert!(equal.stdout.is_empty());
    let equal = run(tar365(&["diff", &path, &path, "--json"])).expect(0);
    assert!(told(&equal).is_empty());
    let cut = Saved::new(saved.bytes[..saved.bytes.len() - 3072].to_vec());
    let bad = cut.path();
    for (first, second) in [(&path, &bad), (&bad, &path)] {
        let run = run(tar365(&["diff", first, second])).expect(1);
        assert!(run.stderr.contains("error"), "{}", run.stderr);
    }
    run_with(tar365(&["diff", "-", &path]), &cut.bytes).expect(1);
    run(tar365(&["diff", &path])).expect(2);
    run(tar365(&["diff", &path, &path, "--tenant"])).expect(2);
    run(tar365(&["diff", &path, &path, "--include", "[a"])).expect(2);
    run(tar365(&["diff", "-", "-"])).expect(2);
}

#[test]
fn an_archive_is_compared_with_the_tenant_by_what_changed() {
    let tenant = source();
    let before = Saved::export(&tenant);
    let first = before.path();
    let spool = tempfile::TempDir::new().unwrap();
    let diff = |arguments: &[&str]| {
        tenant.simulator.log().clear();
        let mut command =
            tenant.tar365(&[&["diff", &first, "--tenant", "--json"], arguments].concat());
        command.env("TAR365_SPOOL_DIR", spool.path());
        let done = run(command);
        assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 0);
        let records = tenant.simulator.log().records();
        assert!(records.iter().all(|record| matches!(record.method.as_str(), "GET" | "POST")));
        let contents = |record: &&simulator::Record| {
            record.path.ends_with("/$value") || record.host == simulator::Host::Download
        };
        (done, records.iter().filter(contents).count())
    };
    let (same, fetched) = diff(&[]);
    assert!(told(&same.expect(0)).is_empty());
    assert_eq!(fetched, 0);
    let done = change(&tenant);
    let (now, fetched) = diff(&[]);
    assert_eq!(told(&now.expect(3)), owned(&done));
    // A mail and two files are new or changed; eight more have been touched.
    assert!((3..=3 + 8).contains(&fetched), "{fetched} contents");
    let after = Saved::export(&tenant);
    let two = run(tar365(&["diff", &first, &after.path(), "--json"])).expect(3);
    let (now, _) = diff(&[]);
    assert!(now.stdout == two.stdout);
    let (mail, _) = diff(&["--service", "mail"]);
    let two =
        run(tar365(&["diff", &first, &after.path(), "--json", "--service", "mail"])).expect(3);
    assert!(mail.expect(3).stdout == two.stdout);
    // It is read twice.
    let piped = run_with(tenant.tar365(&["diff", "-", "--tenant"]), &before.bytes).expect(2);
    assert!(piped.stderr.contains("file"), "{}", piped.stderr);
}

#[test]
fn what_the_tenant_does_not_give_is_not_called_removed() {
    let tenant = source();
    let before = Saved::export(&tenant);
    let world = tenant.simulator.tenant();
    let user = &world.users()[0];
    let mails = paths(&before).into_values().filter(|path| path.contains("/mail/")).count();
    let (drive, files) = files(&tenant, 1);
    world.delete_file(&drive, &files[0]).unwrap();
    let summary = |done: &Run| json_lines(&done.stdout).pop().unwrap()["summary"].clone();
    let fault = |text: &str| tenant.simulator.set_faults(vec![text.parse().unwrap()]);
    let path = before.path();
    let diff = || run(tenant.tar365(&["diff", &path, "--tenant", "--json", "--patience", "1s"]));
    // No folder can be listed.
    fault("server-error:rate=1,match=/messages");
    let done = diff().expect(3);
    let said = summary(&done);
    assert_eq!([&said["unknown"], &said["removed"]], [mails as u64, 1], "{said}");
    assert_eq!(told(&done).len(), mails + 1);
    // A new mail can not be fetched; and an archive in which that is so says it, too.
    let inbox = world.folders(&user.id).unwrap();
    let inbox = inbox.iter().find(|folder| folder.well_known == Some("inbox")).unwrap();
    let one = &world.folder_messages(&user.id, &inbox.id).unwrap()[0];
    fault("server-error:rate=1,match=$value");
    let after =
        Saved::new(tenant.export(&["--patience", "1s", "--allow-partial"]).expect(0).stdout);
    tenant.simulator.set_faults(Vec::new());
    let two = run(tar365(&["diff", &path, &after.path(), "--json"])).expect(3);
    assert!(told(&two).contains(&("unknown".to_owned(), one.id.clone())));
    assert_eq!([&summary(&two)["unknown"], &summary(&two)["removed"]], [mails as u64, 1]);
    // It is what can't be known, not what changed, that goes with the fault.
    assert_eq!(summary(&diff().expect(3))["removed"], 1);
    assert_eq!(told(&diff()).len(), 1);
}
