//! Archives that are not whole, and runs that did not bring everything home.

use simulator::{Language, Options};

use crate::harness::{Archive, Tenant};
use crate::import::{Saved, compare, counts, emptied, writable, writes};

fn source() -> Tenant {
    writable(Options { users: 2, mails: 60, files: 20, ..Options::default() })
}

#[test]
fn only_what_failed_is_tried_again() {
    let source = source();
    let saved = Saved::export(&source);
    let target = emptied(&source, Language::English);
    let world = target.simulator.tenant();
    let limit = |bytes| {
        for user in world.users() {
            world.set_mailbox_quota(&user.id, bytes).unwrap();
        }
    };
    limit(Some(150_000));
    let run = saved.import(&target, "j", &[]).expect(3);
    let [created, _, _, failed, missing] = counts(&run);
    assert!(created > 40 && failed > 10, "{}", run.stderr);
    limit(None);
    target.simulator.log().clear();
    let journal = saved.file("j");
    let path = saved.path();
    let again = crate::harness::run(target.tar365(&["import", &path, "--only-failed", &journal]));
    let again = again.expect(0);
    assert_eq!(counts(&again), [failed, 0, 0, 0, missing], "{}", again.stderr);
    compare(&saved, &Saved::export(&target), "beside", None);
    // Nothing is left to be done, and a journal that is not there is no journal.
    target.simulator.log().clear();
    let third = ["import", &path, "--only-failed", &journal];
    let third = crate::harness::run(target.tar365(&third)).expect(0);
    assert_eq!(counts(&third), [0, 0, 0, 0, missing], "{}", third.stderr);
    let nothing = saved.file("no journal");
    let fourth = ["import", &path, "--only-failed", &nothing];
    crate::harness::run(target.tar365(&fourth)).expect(2);
    assert!(!std::path::Path::new(&nothing).exists());
    assert!(writes(&target).is_empty());
}

/// Archives that are not whole, with what they are.
fn unfinished(saved: &Saved) -> Vec<(&'static str, Vec<u8>)> {
    let whole = &saved.bytes;
    let refused = writable(Options {
        faults: vec!["token-expiry:rate=1,after=30".parse().unwrap()],
        ..Options::default()
    });
    let poisoned = refused.export(&[]).expect(77).stdout;
    assert!(poisoned.windows(13).any(|bytes| bytes == b"EXPORT-FAILED"), "{}", poisoned.len());
    vec![
        ("cut in the middle", whole[..whole.len() * 6 / 10].to_vec()),
        ("cut at a block", whole[..whole.len() / 2 / 512 * 512].to_vec()),
        ("without its seal", whole[..whole.len() - 3072].to_vec()),
        ("without its end", whole[..whole.len() - 1024].to_vec()),
        ("poisoned", poisoned),
        ("empty", Vec::new()),
    ]
}

#[test]
fn an_archive_that_is_not_whole_is_refused_before_the_first_write() {
    let source = source();
    let saved = Saved::export(&source);
    for (what, bytes) in unfinished(&saved) {
        let target = emptied(&source, Language::English);
        let bad = Saved::new(bytes);
        for arguments in [&[][..], &["--in-place"]] {
            let run = bad.import(&target, "j", arguments).expect(1);
            assert!(
                what == "empty" || run.stderr.contains("--incomplete"),
                "{what}: {}",
                run.stderr
            );
        }
        let written = writes(&target);
        assert!(written.is_empty(), "{what}: {written:#?}");
    }
}

#[test]
fn an_archive_that_breaks_off_on_a_pipe_is_restored_beside_and_can_be_undone() {
    let source = source();
    let saved = Saved::export(&source);
    let cut = Saved::new(saved.bytes[..saved.bytes.len() * 6 / 10].to_vec());
    let target = emptied(&source, Language::English);
    let world = target.simulator.tenant();
    let all = || -> usize {
        let users = world.users();
        users
            .iter()
            .map(|user| {
                world.messages(&user.id).unwrap().len() + world.files(&user.id).unwrap().len()
            })
            .sum()
    };
    let run = cut.pipe(&target, "j", &[]).expect(1);
    assert!(run.stderr.contains("--undo"), "{}", run.stderr);
    let [created, ..] = counts(&run);
    assert!(created > 50 && all() as u64 == created, "{}", run.stderr);
    cut.undo(&target, "j").expect(0);
    assert_eq!(all(), 0);

    // In place only when told that nobody knows what is missing.
    target.simulator.log().clear();
    let run = cut.pipe(&target, "in place", &["--in-place"]).expect(2);
    assert!(run.stderr.contains("--incomplete"), "{}", run.stderr);
    assert!(writes(&target).is_empty());
    // The file in which it breaks off is damaged.
    let run = cut.pipe(&target, "incomplete", &["--in-place", "--incomplete"]).expect(1);
    assert_eq!(counts(&run)[0], created, "{}", run.stderr);
    // The same of a file.
    let target = emptied(&source, Language::English);
    let run = cut.import(&target, "file", &["--incomplete"]).expect(1);
    assert_eq!(counts(&run)[0], created, "{}", run.stderr);
}

#[test]
fn a_damaged_mail_costs_itself() {
    let source = source();
    let mut saved = Saved::export(&source);
    let archive = Archive::new(&saved.bytes);
    let mail =
        archive.members.iter().filter(|member| member.path.ends_with(".eml")).nth(20).unwrap();
    let at =
        saved.bytes.windows(mail.content.len()).position(|bytes| bytes == mail.content).unwrap();
    saved.bytes[at + mail.content.len() / 2] ^= 0x20;
    let saved = Saved::new(saved.bytes);
    for from in ["file", "pipe"] {
        let target = emptied(&source, Language::English);
        let run = match from {
            "file" => saved.import(&target, from, &[]),
            _ => saved.pipe(&target, from, &[]),
        };
        let run = run.expect(1);
        let [created, replaced, present, failed, _] = counts(&run);
        assert_eq!([replaced, present, failed], [0, 0, 1], "{from}: {}", run.stderr);
        assert!(created > 100, "{from}: {created}");
        let name = mail.path.rsplit('/').next().unwrap();
        assert!(run.stderr.contains(name), "{from}: {}", run.stderr);
        let world = target.simulator.tenant();
        let here: usize = world
            .users()
            .iter()
            .map(|user| {
                world.messages(&user.id).unwrap().len() + world.files(&user.id).unwrap().len()
            })
            .sum();
        assert_eq!(here as u64, created, "{from}");
    }
}
