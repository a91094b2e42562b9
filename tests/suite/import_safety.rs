//! What keeps a restore from doing harm or saying less than it knows: no permission, no room,
//! damaged metadata, a label that is no name.

use simulator::{Credentials, Language, Options};

use crate::harness::{Archive, Tenant};
use crate::import::{Saved, counts, emptied, writable, writes};

fn source() -> Tenant {
    writable(Options { users: 2, mails: 40, files: 10, ..Options::default() })
}

/// Mails and files of each user, in the order of their names.
fn contents(of: &Tenant) -> Vec<(usize, usize)> {
    let world = of.simulator.tenant();
    let mut users = world.users();
    users.sort_by(|a, b| a.upn.cmp(&b.upn));
    let count = |id: &str| (world.messages(id).unwrap().len(), world.files(id).unwrap().len());
    users.iter().map(|user| count(&user.id)).collect()
}

#[test]
fn damaged_metadata_costs_its_section_and_with_incomplete_its_line() {
    let source = source();
    let saved = Saved::export(&source);
    let calm = emptied(&source, Language::English);
    saved.import(&calm, "calm", &[]).expect(0);
    let whole = contents(&calm);
    let archive = Archive::new(&saved.bytes);
    let metadata = archive.members.iter().find(|member| member.path.ends_with("/mail.ndjson"));
    let metadata = metadata.unwrap();
    let at = saved.bytes.windows(metadata.content.len()).position(|b| b == metadata.content);
    // The last line is that of an item: its opening bracket.
    let text = &metadata.content[..metadata.content.len() - 1];
    let line = text.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let mut bytes = saved.bytes.clone();
    bytes[at.unwrap() + line] ^= 1;
    let damaged = Saved::new(bytes);
    for (number, more) in [&[][..], &["--incomplete"]].into_iter().enumerate() {
        for from in ["file", "pipe"] {
            let target = emptied(&source, Language::English);
            let journal = format!("{from} {number}");
            let run = match from {
                "file" => damaged.import(&target, &journal, more),
                _ => damaged.pipe(&target, &journal, more),
            };
            let run = run.expect(1);
            let mut expected = whole.clone();
            expected[0].0 = if number == 0 { 0 } else { whole[0].0 - 1 };
            assert_eq!(contents(&target), expected, "{journal}: {}", run.stderr);
            assert!(run.stderr.contains("its metadata is damaged"), "{journal}: {}", run.stderr);
        }
    }
}

#[test]
fn a_full_mailbox_is_left_alone_after_some_refusals() {
    let source = source();
    let saved = Saved::export(&source);
    let target = emptied(&source, Language::English);
    let world = target.simulator.tenant();
    for user in world.users() {
        world.set_mailbox_quota(&user.id, Some(1)).unwrap();
    }
    let run = saved.import(&target, "j", &["--service", "mail"]).expect(3);
    let [created, _, _, failed, _] = counts(&run);
    assert!(created == 0 && failed > 60, "{}", run.stderr);
    let writes = writes(&target);
    let posts = writes.iter().filter(|record| record.path.ends_with("/messages")).count();
    // Three in a row for each of two mailboxes, and what was under way beside the third.
    assert!((6..=12).contains(&posts), "{posts}");
    assert_eq!(run.stderr.matches("no room left, the rest is not tried").count(), 2);
}

#[test]
fn who_may_write_nothing_is_refused_before_the_first_write() {
    let source = source();
    let saved = Saved::export(&source);
    let reading = Tenant::start(Options { users: 2, limits: None, ..Options::default() });
    let run = saved.import(&reading, "j", &[]).expect(77);
    assert!(run.stderr.contains("Mail.ReadWrite is missing"), "{}", run.stderr);
    assert!(writes(&reading).is_empty());
    // What it may write is written.
    let mut credentials = Credentials::restoring();
    credentials.roles.retain(|role| role != "Mail.ReadWrite");
    let users =
        Options { users: 2, mails: 0, files: 0, special_users: false, ..Options::default() };
    let half = Tenant::start(Options { credentials, limits: None, ..users });
    let run = saved.import(&half, "half", &[]);
    assert!(run.stderr.contains("Mail.ReadWrite is missing"), "{}", run.stderr);
    assert!(counts(&run)[0] > 0, "{}", run.stderr);
}

#[test]
fn a_label_is_a_name() {
    let saved = Saved::export(&source());
    let target = writable(Options::default());
    for label in ["", " ", &"x".repeat(300)] {
        saved.import(&target, "j", &["--label", label]).expect(2);
    }
    assert!(writes(&target).is_empty());
}
