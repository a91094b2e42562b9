//! Where restored things go, and what is there already: nothing is touched without being asked
//! for, nothing is made twice, nobody is mailed.

use std::collections::BTreeMap;

use simulator::{Language, NewUser, Options, User};

use crate::harness::Tenant;
use crate::import::{Saved, assert_nobody_was_mailed, compare, counted, counts, writable, writes};

fn small() -> Tenant {
    writable(Options { users: 2, mails: 40, files: 20, ..Options::default() })
}

/// Every mail and file of a user, with what changes when it is touched.
fn live(tenant: &Tenant, user: &User) -> BTreeMap<String, String> {
    let world = tenant.simulator.tenant();
    let mails = world.messages(&user.id).unwrap().into_iter();
    let mails = mails.map(|mail| (mail.id, format!("{} {}", mail.folder, mail.change_key)));
    let files = world.files(&user.id).unwrap().into_iter();
    mails.chain(files.map(|file| (file.id, format!("{:?} {}", file.path, file.etag)))).collect()
}

/// Where each mail is, by its subject and Message-ID, under the folder that restores made.
fn folders_at_the_top(tenant: &Tenant, user: &User) -> Vec<String> {
    let folders = tenant.simulator.tenant().folders(&user.id).unwrap();
    let top = folders.into_iter().filter(|folder| folder.path.len() == 1);
    top.map(|folder| folder.path[0].clone()).collect()
}

/// A well-known folder.
fn folder(tenant: &Tenant, user: &User, well_known: &str) -> simulator::MailFolder {
    let folders = tenant.simulator.tenant().folders(&user.id).unwrap();
    folders.into_iter().find(|folder| folder.well_known == Some(well_known)).unwrap()
}

#[test]
fn a_new_folder_is_filled_and_the_live_ones_are_left_alone() {
    let tenant = small();
    let saved = Saved::export(&tenant);
    let users = tenant.simulator.tenant().users();
    let before: Vec<_> = users.iter().map(|user| live(&tenant, user)).collect();
    tenant.simulator.log().clear();
    let [created, rest @ ..] = counts(&saved.import(&tenant, "j", &[]).expect(0));
    assert!(created > 100 && rest[..3] == [0; 3], "{created} {rest:?}");
    let mut made = 0;
    for (user, before) in users.iter().zip(&before) {
        let after = live(&tenant, user);
        for (id, state) in before {
            assert_eq!(after.get(id), Some(state), "{}", user.upn);
        }
        made += after.len() - before.len();
        let tops = folders_at_the_top(&tenant, user);
        let ours: Vec<_> = tops.iter().filter(|name| name.starts_with("tar365 restore ")).collect();
        assert_eq!(ours.len(), 1, "{tops:?}");
        let files = tenant.simulator.tenant().files(&user.id).unwrap();
        let new = files.iter().filter(|file| !before.contains_key(&file.id));
        for file in new {
            assert!(file.path[0].starts_with("tar365 restore "), "{:?}", file.path);
        }
    }
    assert_eq!(made as u64, created);
    assert_nobody_was_mailed(&tenant);
}

#[test]
fn a_second_run_makes_nothing() {
    let tenant = small();
    let saved = Saved::export(&tenant);
    let [created, ..] = counts(&saved.import(&tenant, "first", &[]).expect(0));
    let piped = |tenant: &Tenant| saved.pipe(tenant, "piped", &[]);
    type Again<'a> = &'a dyn Fn(&Tenant) -> crate::harness::Run;
    let runs: [(&str, Again<'_>); 3] = [
        ("the same journal", &|tenant| saved.import(tenant, "first", &[])),
        ("a new journal", &|tenant| saved.import(tenant, "second", &[])),
        ("a pipe", &piped),
    ];
    for (how, again) in runs {
        tenant.simulator.log().clear();
        let run = again(&tenant).expect(0);
        let [new, replaced, present, failed, _] = counts(&run);
        assert_eq!([new, replaced, present, failed], [0, 0, created, 0], "{how}");
        let written = writes(&tenant);
        assert!(written.is_empty(), "{how}: {written:#?}");
    }
}

#[test]
fn in_place_what_is_gone_comes_back_and_the_rest_stays() {
    let tenant = small();
    let saved = Saved::export(&tenant);
    let world = tenant.simulator.tenant();
    let user = &world.users()[0];
    let inbox = folder(&tenant, user, "inbox");
    let sent = folder(&tenant, user, "sentitems");
    let mut deleted = Vec::new();
    for home in [&inbox, &sent] {
        for mail in world.folder_messages(&user.id, &home.id).unwrap().into_iter().take(3) {
            world.delete_message(&user.id, &mail.id).unwrap();
            deleted.push((home.id.clone(), mail.subject.clone(), mail.received));
        }
    }
    let files = world.files(&user.id).unwrap();
    let file = files.iter().find(|file| file.size > 0 && !file.malware).unwrap();
    world.delete_file(&user.id, &file.path.join("/")).unwrap();
    let (path, digest) = (file.path.clone(), file.sha256());
    let before = live(&tenant, user);

    let [created, replaced, present, failed, _] =
        counts(&saved.import(&tenant, "j", &["--in-place"]).expect(0));
    assert_eq!([created, replaced, failed], [deleted.len() as u64 + 1, 0, 0]);
    assert!(present > 80, "{present}");
    let after = live(&tenant, user);
    for (id, state) in &before {
        assert_eq!(after.get(id), Some(state));
    }
    let mut back: Vec<_> = world
        .messages(&user.id)
        .unwrap()
        .into_iter()
        .filter(|mail| !before.contains_key(&mail.id))
        .map(|mail| (mail.folder.clone(), mail.subject.clone(), mail.received))
        .collect();
    back.sort();
    deleted.sort();
    assert_eq!(back, deleted);
    let file = world.files(&user.id).unwrap().into_iter().find(|file| file.path == path).unwrap();
    assert_eq!(file.sha256(), digest);
    compare(&saved, &Saved::export(&tenant), "in-place", None);
    assert_nobody_was_mailed(&tenant);
}

#[test]
fn it_goes_to_whom_it_is_given() {
    let source = small();
    let saved = Saved::export(&source);
    let users = source.simulator.tenant().users();
    let (gone, stays) = (&users[0], &users[1]);
    let heir = NewUser {
        id: stays.id.clone(),
        upn: stays.upn.clone(),
        display_name: stays.display_name.clone(),
        mail: stays.upn.clone(),
        language: Language::English,
    };
    let mapping = format!("{}={}", gone.upn, stays.upn);
    for to in [&["--to-user", &stays.upn][..], &["--map-user", &mapping]] {
        let target = writable(Options { empty: Some(vec![heir.clone()]), ..Options::default() });
        let lost =
            saved.import(&target, &format!("without {}", to[0]), &["--user", &gone.upn]).expect(3);
        assert!(lost.stderr.contains("--map-user"), "{}", lost.stderr);
        let [created, _, _, failed, _] = counts(&lost);
        assert!(created == 0 && failed > 50, "{}", lost.stderr);
        assert!(live(&target, stays).is_empty());

        let arguments = [&["--user", &gone.upn], to].concat();
        let [created, _, _, failed, _] =
            counts(&saved.import(&target, to[0], &arguments).expect(0));
        assert!(created > 50 && failed == 0);
        assert_eq!(live(&target, stays).len() as u64, created);
    }
}

#[test]
fn conflicts_of_mail_end_as_asked() {
    let tenant = small();
    let saved = Saved::export(&tenant);
    let world = tenant.simulator.tenant();
    let user = &world.users()[0];
    let inbox = folder(&tenant, user, "inbox");
    let count = || world.folder_messages(&user.id, &inbox.id).unwrap().len() as u64;
    let before = count();
    assert!(before > 5);
    let only = ["--in-place", "--service", "mail", "--user", &user.upn, "--path", &inbox.path[0]];
    let import = |journal: &str, how: &str| {
        counts(
            &saved
                .import(&tenant, journal, &[&only[..], &["--on-conflict", how]].concat())
                .expect(0),
        )
    };
    let [_, _, all, ..] = import("skip", "skip");
    assert!(all >= before);
    assert_eq!(import("skip", "skip"), [0, 0, all, 0, 0]);
    assert_eq!(count(), before);

    assert_eq!(import("copy", "copy"), [all, 0, 0, 0, 0]);
    assert_eq!(count(), 2 * before);
    // Copies of an earlier run are found again, and not copied once more.
    assert_eq!(import("copy again", "copy"), [0, 0, all, 0, 0]);
    saved.undo(&tenant, "copy").expect(0);
    assert_eq!(count(), before);

    let originals: Vec<_> = world
        .folder_messages(&user.id, &inbox.id)
        .unwrap()
        .into_iter()
        .map(|mail| mail.id)
        .collect();
    assert_eq!(import("replace", "replace"), [0, all, 0, 0, 0]);
    assert_eq!(count(), before);
    let bin = folder(&tenant, user, "deleteditems");
    for id in &originals {
        assert_eq!(world.message(&user.id, id).unwrap().folder, bin.id, "replaced, not destroyed");
    }
    saved.undo(&tenant, "replace").expect(0);
    for id in &originals {
        assert_eq!(world.message(&user.id, id).unwrap().folder, inbox.id, "undo brings it back");
    }
    assert_eq!(count(), before);
    assert_nobody_was_mailed(&tenant);
}

#[test]
fn conflicts_of_files_end_as_asked() {
    let tenant = small();
    let saved = Saved::export(&tenant);
    let world = tenant.simulator.tenant();
    let user = &world.users()[0];
    let files = world.files(&user.id).unwrap();
    let file = files.iter().find(|file| file.path.last().unwrap() == "Liesmich.md").unwrap();
    let (path, archived) = (file.path.join("/"), file.sha256());
    world.put_file(&user.id, &path, b"what came after the backup").unwrap();
    let content = |name: &str| {
        let files = world.files(&user.id).unwrap();
        files.into_iter().find(|file| file.path.join("/") == name).map(|file| file.sha256())
    };
    let newer = content(&path).unwrap();
    assert_ne!(newer, archived);
    let only =
        ["--in-place", "--service", "onedrive", "--user", &user.upn, "--path", "Liesmich.md"];
    let run = |journal: &str, how: &str| {
        let arguments = [&only[..], &["--on-conflict", how]].concat();
        saved.import(&tenant, journal, &arguments)
    };
    let import = |journal: &str, how: &str| counts(&run(journal, how).expect(0));
    // What is in the way is not the file: it is not there, and that is told.
    let skipped = run("skip", "skip").expect(3);
    assert_eq!(counts(&skipped), [0; 5], "{}", skipped.stderr);
    assert_eq!(counted(&skipped, "left out"), 1);
    assert_eq!(content(&path).as_ref(), Some(&newer));

    let beside = "Liesmich (2).md";
    assert_eq!(import("copy", "copy"), [1, 0, 0, 0, 0]);
    assert_eq!(content(beside).as_ref(), Some(&archived));
    assert_eq!(content(&path).as_ref(), Some(&newer));
    assert_eq!(import("copy again", "copy"), [0, 0, 1, 0, 0]);
    saved.undo(&tenant, "copy").expect(0);
    assert_eq!(content(beside), None);

    assert_eq!(import("replace", "replace"), [0, 1, 0, 0, 0]);
    assert_eq!(content(&path).as_ref(), Some(&archived));
    assert_eq!(import("replace again", "replace"), [0, 0, 1, 0, 0]);
    saved.undo(&tenant, "replace").expect(0);
    assert_eq!(content(&path).as_ref(), Some(&newer), "undo brings the newer one back");
}
