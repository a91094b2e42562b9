//! `export --state`: listings that go on from where the last run's ended give the same archive.

use simulator::{Fault, Options};

use crate::base::{Night, Shelf, Way, night};
use crate::harness::Tenant;

/// Small pages, so that listing everything takes many requests.
fn options() -> Options {
    Options { users: 2, mails: 600, files: 60, page_cap: Some(10), ..Options::default() }
}

/// A day's changes of all kinds.
fn edit(tenant: &Tenant) {
    let world = tenant.simulator.tenant();
    let user = &world.users()[0];
    let folders = world.folders(&user.id).unwrap();
    let messages = world.messages(&user.id).unwrap();
    world.set_read(&user.id, &messages[0].id, false).unwrap();
    world.set_flag(&user.id, &messages[1].id, true).unwrap();
    world.delete_message(&user.id, &messages[2].id).unwrap();
    let other = folders.iter().find(|folder| folder.id != messages[3].folder).unwrap();
    world.move_message(&user.id, &messages[3].id, &other.id).unwrap();
    let eml = b"Subject: new\r\nDate: Mon, 02 Feb 2026 10:00:00 +0000\r\n\r\ntext\r\n";
    world.add_message(&user.id, &other.id, eml).unwrap();
    let new = world.add_folder(&user.id, &other.id, "New folder").unwrap();
    world.move_message(&user.id, &messages[4].id, &new).unwrap();
    let own = folders.iter().rev().find(|folder| folder.path.len() > 1).unwrap_or(other);
    world.rename_folder(&user.id, &own.id, "Renamed").unwrap();
    let drive = user.drive.as_ref().unwrap();
    let files = world.files(drive).unwrap();
    let path = |number: usize| files[number].path.join("/");
    world.put_file(drive, "new file.txt", b"new").unwrap();
    world.put_file(drive, &path(0), b"changed").unwrap();
    world.delete_file(drive, &path(1)).unwrap();
    world.rename_file(drive, &path(2), "renamed.txt").unwrap();
}

fn with_state(tenant: &Tenant, base: &[u8], shelf: &Shelf) -> Night {
    night(tenant, base, Way::File, &["--state", shelf.path("state").to_str().unwrap()])
}

#[test]
fn listing_what_changed_gives_what_listing_everything_gives() {
    let tenant = Tenant::start(options());
    let shelf = Shelf::new();
    let state = shelf.path("state");
    let first = tenant.export(&["--state", state.to_str().unwrap()]).expect(0).stdout;
    for day in 0..2 {
        let known = std::fs::read(&state).unwrap();
        if day > 0 {
            edit(&tenant);
        }
        let cheap = with_state(&tenant, &first, &shelf);
        let cheap_bytes = cheap.run.expect(0).stdout;
        let dear = night(&tenant, &first, Way::File, &[]);
        assert!(cheap_bytes == dear.run.expect(0).stdout, "day {day}");
        assert!(cheap_bytes == tenant.export(&[]).expect(0).stdout, "day {day}");
        // Of some 120 pages of mails few are left; folders are listed as ever.
        assert!(
            cheap.asked.len() + 80 < dear.asked.len(),
            "day {day}: {} requests, {} without a state",
            cheap.asked.len(),
            dear.asked.len()
        );
        // The next day begins with the same base and the state that belongs to it.
        std::fs::write(&state, known).unwrap();
    }
}

#[test]
fn a_state_that_does_not_fit_lists_everything() {
    let tenant = Tenant::start(options());
    let shelf = Shelf::new();
    let state = shelf.path("state");
    let first = tenant.export(&["--state", state.to_str().unwrap()]).expect(0).stdout;
    edit(&tenant);
    let second = tenant.export(&[]).expect(0).stdout;
    // Of another night than the base.
    let run = with_state(&tenant, &second, &shelf).run.expect(0);
    assert!(run.stdout == second);
    // The service forgot the tokens.
    std::fs::remove_file(&state).unwrap();
    drop(tenant.export(&["--state", state.to_str().unwrap()]).expect(0));
    tenant.simulator.set_faults(vec!["delta-gone:times=1".parse::<Fault>().unwrap()]);
    let run = with_state(&tenant, &second, &shelf).run.expect(0);
    assert!(run.stdout == second);
    drop(first);
    // No state at all.
    std::fs::write(&state, "no state").unwrap();
    let run = with_state(&tenant, &second, &shelf).run.expect(2);
    assert!(run.stdout.is_empty() && run.stderr.contains("state"));
}
