//! A restore to a real IMAP server: every byte, flag, date and folder; once; and back again.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use serde_json::Value;
use simulator::{Options, Profile};
use tempfile::TempDir;

use crate::dovecot::{Dovecot, Message, PASSWORD, Setup, TOKEN, USER};
use crate::harness::{Archive, Tenant, corpus, run, sha256, text};
use wire::Wire;

/// An archive on disk, and what its mails must look like on an IMAP server.
struct Backup {
    /// `mail`, or `conversations`, whose posts are mails too.
    service: &'static str,
    dir: TempDir,
    path: PathBuf,
    archive: Archive,
}

impl Backup {
    fn of(options: Options) -> Self {
        Self::of_service("mail", &Tenant::start(options))
    }

    fn of_service(service: &'static str, tenant: &Tenant) -> Self {
        let run = tenant.export(&["--service", service]).expect(0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m365.tar");
        std::fs::write(&path, &run.stdout).unwrap();
        Self { service, dir, path, archive: Archive::new(&run.stdout) }
    }

    fn small() -> Self {
        Self::of(Options {
            users: 1,
            special_users: false,
            mails: 40,
            files: 0,
            ..Options::default()
        })
    }

    /// Of these mails in a folder `here`.
    fn of_mails(mails: &[(&str, &[u8])]) -> Self {
        let content = tempfile::tempdir().unwrap();
        let folder = content.path().join("here");
        std::fs::create_dir(&folder).unwrap();
        for (name, bytes) in mails {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        Self::of(Options { content: Some(content.path().to_owned()), ..Options::default() })
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sections(&self) -> Vec<String> {
        let paths = self.archive.members.iter().map(|member| member.path.as_str());
        let ending = format!("/{}.ndjson", self.service);
        let of_service = paths.filter(|path| path.ends_with(&ending));
        of_service.filter_map(|path| path.strip_suffix(".ndjson")).map(str::to_owned).collect()
    }

    /// Mails with a NUL, which only some servers hold, and Dovecot does not.
    fn unfit(&self) -> usize {
        let mails = self.archive.members.iter().filter(|member| member.path.ends_with(".eml"));
        mails.filter(|member| member.content.contains(&0)).count()
    }

    /// What the server must have of a section, below `root`.
    fn expected(&self, section: &str, root: &str, separator: &str) -> Vec<Message> {
        let lines = self.archive.lines(section);
        let folders: BTreeMap<&str, &Value> = lines
            .iter()
            .filter(|line| line["kind"] == "folder")
            .map(|line| (text(line, "id"), line))
            .collect();
        let items = self.archive.items(section);
        let mails = lines.iter().filter(|line| matches!(text(line, "kind"), "message" | "post"));
        mails
            .filter_map(|line| {
                let member = items.get(text(line, "id")).filter(|m| !m.content.contains(&0))?;
                let graph = &line["graph"];
                let mut levels = trail(&folders, text(graph, "parentFolderId"));
                levels.insert(0, root.to_owned());
                let levels: Vec<String> =
                    levels.iter().map(|level| level.replace(separator, "_")).collect();
                Some(Message {
                    mailbox: levels.join(separator),
                    sha256: sha256(&crlf(&member.content)),
                    date: member.mtime,
                    flags: flags(graph),
                })
            })
            .collect()
    }
}

/// Names of the folders down to one, without the root of all.
fn trail(folders: &BTreeMap<&str, &Value>, id: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut next = folders.get(id);
    while let Some(folder) = next {
        let graph = &folder["graph"];
        if is_root(folder) {
            break;
        }
        let name = ["displayName", "topic"].into_iter().find_map(|key| graph[key].as_str());
        names.insert(0, name.unwrap().to_owned());
        next = folders.get(text(graph, "parentFolderId"));
    }
    names
}

/// Whether it is the folder that all others are in: the section's own.
fn is_root(folder: &Value) -> bool {
    text(folder, "path").ends_with("/mail")
}

/// Every line end as CRLF, worked out on the whole.
fn crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"\r\n");
        let pair = rest[at..].starts_with(b"\r\n");
        rest = &rest[at + if pair { 2 } else { 1 }..];
    }
    out.extend_from_slice(rest);
    out
}

/// Flags and keywords of a mail, for categories of letters, digits and blanks.
fn flags(graph: &Value) -> Vec<String> {
    let mut flags = BTreeSet::new();
    let mut add = |so: bool, flag: &str| {
        if so {
            flags.insert(flag.to_owned());
        }
    };
    add(graph["isRead"] == true, "\\Seen");
    add(graph["isDraft"] == true, "\\Draft");
    add(graph["flag"]["flagStatus"] == "flagged", "\\Flagged");
    for property in graph["singleValueExtendedProperties"].as_array().into_iter().flatten() {
        if text(property, "id") == "Integer 0x1081" {
            add(["102", "103"].contains(&text(property, "value")), "\\Answered");
            add(text(property, "value") == "104", "$Forwarded");
        }
    }
    for category in graph["categories"].as_array().into_iter().flatten() {
        add(true, &category.as_str().unwrap().replace(' ', "_"));
    }
    flags.into_iter().collect()
}

fn import<'a>(backup: &'a Path, to: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["import", backup.to_str().unwrap(), "--to", to], more].concat()
}

/// Restores all of it beside.
#[track_caller]
fn restore(server: &Dovecot, backup: &Backup, journal: &str) {
    let journal = backup.journal(journal);
    let more = ["--journal", journal.to_str().unwrap()];
    let run = run(server.tar365(&import(&backup.path, &server.address(""), &more)));
    let unfit = backup.unfit();
    let run = run.expect(if unfit > 0 { 3 } else { 0 });
    let said = run.stderr.lines().filter(|line| line.contains("NUL")).count();
    assert_eq!(said, unfit, "{}", run.stderr);
}

/// The restore folder of each message, and the messages without it.
fn roots(messages: &[Message], separator: &str) -> BTreeMap<String, Vec<Message>> {
    let mut roots: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    for message in messages {
        let (root, _) = message.mailbox.split_once(separator).unwrap_or((&message.mailbox, ""));
        roots.entry(root.to_owned()).or_default().push(message.clone());
    }
    roots
}

/// That the server has what is in the archive, no more and no less, and pull tools agree.
#[track_caller]
fn assert_all_there(server: &Dovecot, backup: &Backup) {
    let messages = server.messages();
    let roots = roots(&messages, "/");
    let mut found: Vec<_> = roots.iter().collect();
    for section in backup.sections() {
        let matching = found.iter().position(|(root, messages)| {
            let mut expected = backup.expected(&section, root, "/");
            expected.sort();
            **messages == expected
        });
        let Some(matching) = matching else {
            let expected = backup.expected(&section, "?", "/");
            if expected.is_empty() {
                continue;
            }
            // Said without the root, which is not known.
            let below = |m: &Message| {
                let (_, below) = m.mailbox.split_once('/').unwrap_or_default();
                Message { mailbox: below.to_owned(), ..m.clone() }
            };
            let expected: BTreeSet<_> = expected.iter().map(below).collect();
            let found: BTreeSet<_> = messages.iter().map(below).collect();
            let missing: Vec<_> = expected.difference(&found).take(3).collect();
            let strange: Vec<_> = found.difference(&expected).take(3).collect();
            panic!("{section}: missing {missing:#?}\nstrange {strange:#?}");
        };
        found.remove(matching);
    }
    assert!(found.is_empty(), "nobody's: {:?}", found.iter().map(|(root, _)| root));
    assert!(roots.keys().all(|root| root.starts_with("tar365 restore ")), "{:?}", roots.keys());
}

#[test]
fn every_byte_flag_date_and_folder_once() {
    let options = Options { users: 2, mails: 140, files: 0, ..Options::default() };
    let backup = Backup::of(options);
    let server = Dovecot::start(&Setup::default());
    restore(&server, &backup, "first");
    assert_all_there(&server, &backup);
    let messages = server.messages();
    assert!(messages.len() > 200, "{}", messages.len());
    for flag in ["\\Seen", "\\Flagged", "\\Draft"] {
        let with = messages.iter().filter(|m| m.flags.iter().any(|f| f == flag)).count();
        assert!(with > 0 && with < messages.len(), "{flag}: {with}");
    }
    assert!(messages.iter().any(|m| m.flags.iter().any(|f| !f.starts_with('\\'))), "no keyword");
    // Empty folders too, and a mail program shows them all.
    let mailboxes = server.mailboxes();
    let made = mailboxes.keys().filter(|name| *name != "INBOX");
    let subscribed = server.subscribed();
    assert!(made.clone().all(|name| subscribed.contains(name)));
    let folders = backup.sections().into_iter().map(|section| {
        let lines = backup.archive.lines(&section);
        let folders =
            lines.iter().filter(|line| line["kind"] == "folder" && !is_root(line)).count();
        // The restore folder itself.
        folders + usize::from(folders > 0)
    });
    assert_eq!(made.count(), folders.sum::<usize>());
    assert_eq!(server.pulled(), (messages.len(), 0));
    // With a journal of its own, the second run knows nothing of the first.
    restore(&server, &backup, "second");
    assert_eq!(server.messages(), messages);
    restore(&server, &backup, "first");
    assert_eq!(server.messages(), messages);
}

#[test]
fn nasty_mails_and_names() {
    let options =
        Options { users: 1, mails: 200, files: 0, profile: Profile::Nasty, ..Options::default() };
    let backup = Backup::of(options);
    let server = Dovecot::start(&Setup::default());
    restore(&server, &backup, "journal");
    let messages = server.messages();
    let mut found: Vec<_> = messages.iter().map(|m| (m.sha256.clone(), m.date)).collect();
    let mut expected: Vec<_> = backup
        .sections()
        .iter()
        .flat_map(|section| backup.expected(section, "", "/"))
        .map(|m| (m.sha256, m.date))
        .collect();
    found.sort();
    expected.sort();
    assert!(found == expected, "{} of {}", found.len(), expected.len());
    restore(&server, &backup, "again");
    assert_eq!(server.messages(), messages);
}

#[test]
fn real_mails() {
    let Some(dir) = corpus() else { return };
    let backup = Backup::of(Options { content: Some(dir.join("eml")), ..Options::default() });
    let server = Dovecot::start(&Setup::default());
    restore(&server, &backup, "first");
    assert_all_there(&server, &backup);
    let messages = server.messages();
    assert!(messages.len() > 100, "{}", messages.len());
    // Some have no header that mbsync could read to its end.
    let (pulled, refused) = server.pulled();
    assert_eq!(pulled + refused, messages.len());
    assert!(refused < 10, "{refused}");
    restore(&server, &backup, "second");
    assert_eq!(server.messages(), messages);
}

#[test]
fn in_place_means_the_servers_own_folders() {
    let backup = Backup::small();
    let special = &[("Gesendet", "\\Sent"), ("Papierkorb", "\\Trash")];
    let server = Dovecot::start(&Setup { special, ..Setup::default() });
    let address = server.address("");
    run(server.tar365(&import(&backup.path, &address, &["--in-place"]))).expect(0);
    let section = &backup.sections()[0];
    let lines = backup.archive.lines(section);
    let folders: BTreeMap<&str, &Value> = lines
        .iter()
        .filter(|line| line["kind"] == "folder")
        .map(|line| (text(line, "id"), line))
        .collect();
    let items = backup.archive.items(section);
    let mut expected: Vec<(String, String)> = Vec::new();
    for line in lines.iter().filter(|line| line["kind"] == "message") {
        let mut folder = folders[text(&line["graph"], "parentFolderId")];
        let mut names = trail(&folders, text(&line["graph"], "parentFolderId"));
        while let Some(above) = folders.get(text(&folder["graph"], "parentFolderId")) {
            if is_root(above) {
                break;
            }
            folder = above;
        }
        match text(&folder["graph"], "wellKnownName") {
            "inbox" => names[0] = "INBOX".to_owned(),
            "sentitems" => names[0] = "Gesendet".to_owned(),
            "deleteditems" => names[0] = "Papierkorb".to_owned(),
            _ => {}
        }
        expected.push((names.join("/"), sha256(&crlf(&items[text(line, "id")].content))));
    }
    expected.sort();
    let messages = server.messages();
    let mut found: Vec<_> =
        messages.iter().map(|m| (m.mailbox.clone(), m.sha256.clone())).collect();
    found.sort();
    assert_eq!(found, expected);
    assert!(["INBOX", "Gesendet"].iter().all(|name| found.iter().any(|(at, _)| at == name)));
    run(server.tar365(&import(&backup.path, &address, &["--in-place"]))).expect(0);
    assert_eq!(server.messages(), messages);
}

#[test]
fn a_token_instead_of_a_password() {
    let backup = Backup::small();
    let server = Dovecot::start(&Setup::default());
    let address = server.address("Old/Mail");
    let with = |token: &str| {
        let mut command = server.tar365(&import(&backup.path, &address, &[]));
        command.env_remove("TAR365_IMAP_PASSWORD").env("TAR365_IMAP_TOKEN", token);
        run(command)
    };
    let refused = with("not-so-good").expect(77);
    assert!(refused.stderr.contains(&format!("{USER}@localhost")), "{}", refused.stderr);
    assert!(!refused.stderr.contains("not-so-good"), "{}", refused.stderr);
    assert_eq!(server.messages(), []);
    with(TOKEN).expect(0);
    let messages = server.messages();
    assert!(!messages.is_empty());
    assert!(messages.iter().all(|m| m.mailbox.starts_with("Old/Mail/tar365 restore ")));
}

#[test]
fn who_is_not_let_in_is_told_and_the_secret_is_not() {
    let backup = Backup::small();
    let server = Dovecot::start(&Setup::default());
    let address = server.address("");
    let arguments = import(&backup.path, &address, &[]);
    let mut command = server.tar365(&arguments);
    command.env("TAR365_IMAP_PASSWORD", "swordfish").env("RUST_LOG", "trace");
    let refused = run(command).expect(77);
    assert!(refused.stderr.contains(&format!("{USER}@localhost")), "{}", refused.stderr);
    for secret in ["swordfish", "c3dvcmRmaXNo", "N3b3JkZmlza", "zd29yZGZpc2"] {
        assert!(!refused.stderr.contains(secret), "{}", refused.stderr);
    }
    // A certificate that nobody vouches for is not believed.
    let mut command = server.tar365(&arguments);
    command.env_remove("TAR365_CA_CERTIFICATE");
    let refused = run(command);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    assert!(!server.log().contains("Login: user="), "it logged in");
    // An address is no place for a password.
    let with_password = format!("imaps://ann:swordfish@localhost:{}/", server.imaps);
    let refused = run(server.tar365(&import(&backup.path, &with_password, &[]))).expect(2);
    assert!(!refused.stderr.contains("swordfish"), "{}", refused.stderr);
}

#[test]
fn an_old_server_with_other_names() {
    // No UIDPLUS, no literals unasked, no special use; names begin with INBOX.
    let setup = Setup {
        separator: Some("."),
        prefix: "INBOX.",
        capability: Some("IMAP4rev1 NAMESPACE"),
        ..Setup::default()
    };
    let backup = Backup::small();
    let server = Dovecot::start(&setup);
    restore(&server, &backup, "journal");
    let messages = server.messages();
    let section = &backup.sections()[0];
    let root = messages[0].mailbox.split('.').take(2).collect::<Vec<_>>().join(".");
    assert!(root.starts_with("INBOX.tar365 restore "), "{root}");
    let name = root.strip_prefix("INBOX.").unwrap();
    let mut expected = backup.expected(section, name, ".");
    for message in &mut expected {
        message.mailbox.insert_str(0, "INBOX.");
    }
    expected.sort();
    assert_eq!(messages, expected);
    restore(&server, &backup, "other journal");
    assert_eq!(server.messages(), messages);
}

#[test]
fn a_full_mailbox_costs_what_does_not_fit() {
    let large = [b"Subject: large\r\n\r\n".as_slice(), &[b'x'; 400_000]].concat();
    let backup = Backup::of_mails(&[
        ("a.eml", b"Subject: a\r\n\r\nsmall\r\n"),
        ("b.eml", &large),
        ("c.eml", b"Subject: c\r\n\r\nsmall too\r\n"),
    ]);
    let server = Dovecot::start(&Setup { quota: Some(100_000), ..Setup::default() });
    let address = server.address("");
    let partly = run(server.tar365(&import(&backup.path, &address, &[]))).expect(3);
    assert!(partly.stderr.contains("uota"), "{}", partly.stderr);
    assert_eq!(server.messages().len(), 2);
}

#[test]
fn copies_stay_copies_and_what_can_not_be_kept_is_said() {
    let mail = b"Subject: twice\n\nthe same\n".as_slice();
    let backup =
        Backup::of_mails(&[("1.eml", mail), ("2.eml", mail), ("3.eml", b"Subject: \0\n\n")]);
    let server = Dovecot::start(&Setup::default());
    let address = server.address("");
    for _ in 0..2 {
        let run = run(server.tar365(&import(&backup.path, &address, &[])));
        assert!(run.stderr.contains("NUL"), "{}", run.stderr);
        let messages = server.messages();
        let digests: Vec<&str> = messages.iter().map(|m| m.sha256.as_str()).collect();
        assert_eq!(digests, [sha256(&crlf(mail)), sha256(&crlf(mail))]);
    }
}

#[test]
fn undo_leaves_the_account_as_before() {
    let backup = Backup::small();
    let server = Dovecot::start(&Setup::default());
    let journal = backup.journal("journal");
    let journal = journal.to_str().unwrap();
    // One of the mails is there before, and somebody else's.
    let section = &backup.sections()[0];
    let items = backup.archive.items(section);
    server.commands(&["APPEND INBOX {6+}\r\nA: b\r\n"]);
    let before = (server.messages(), server.mailboxes().into_keys().collect::<Vec<_>>());
    let address = server.address("");
    let import_all = import(&backup.path, &address, &["--in-place", "--journal", journal]);
    run(server.tar365(&import_all)).expect(0);
    assert_eq!(server.messages().len(), items.len() + 1);
    run(server.tar365(&["import", "--undo", journal])).expect(0);
    let after = (server.messages(), server.mailboxes().into_keys().collect::<Vec<_>>());
    assert_eq!(after, before);
}

#[test]
fn undo_keeps_what_others_put_into_a_restored_folder() {
    let backup = Backup::small();
    let server = Dovecot::start(&Setup::default());
    restore(&server, &backup, "journal");
    let mailbox = server.messages()[0].mailbox.clone();
    let put = format!("APPEND \"{mailbox}\" {{6+}}\r\nA: b\r\n");
    assert!(server.commands(&[&put])[0].starts_with("OK"));
    let journal = backup.journal("journal");
    run(server.tar365(&["import", "--undo", journal.to_str().unwrap()]));
    let messages = server.messages();
    let left: Vec<_> = messages.iter().map(|m| (m.mailbox.clone(), m.sha256.clone())).collect();
    assert_eq!(left, [(mailbox, sha256(b"A: b\r\n"))]);
}

/// One mail that the server can't cope with: it costs itself, and all behind it come home.
#[test]
fn a_mail_at_which_the_server_hangs_up_costs_itself() {
    let backup = Backup::of_mails(&[
        ("a.eml", b"Subject: a\r\n\r\nfirst\r\n"),
        ("b.eml", b"Subject: poison\r\n\r\nsecond\r\n"),
        ("c.eml", b"Subject: c\r\n\r\nthird\r\n"),
    ]);
    let server = Dovecot::start(&Setup { readable: true, ..Setup::default() });
    let wire = Wire::to(server.imap, usize::MAX, "Subject: poison");
    let journal = backup.journal("journal");
    let more = ["--journal", journal.to_str().unwrap()];
    let partly = run(server.tar365(&import(&backup.path, &wire.address(), &more))).expect(3);
    assert!(partly.stderr.contains("poison"), "{}", partly.stderr);
    assert_eq!(server.messages().len(), 2);
    // Where it copes again, it is all that is missing.
    let wire = Wire::to(server.imap, usize::MAX, "");
    let other = backup.journal("other journal");
    let more = ["--journal", other.to_str().unwrap()];
    run(server.tar365(&import(&backup.path, &wire.address(), &more))).expect(0);
    assert_eq!(server.messages().len(), 3);
}

#[test]
fn a_lost_answer_makes_nothing_twice() {
    let backup = Backup::small();
    let server = Dovecot::start(&Setup { readable: true, ..Setup::default() });
    let wire = Wire::to(server.imap, 4, "");
    let address = wire.address();
    let journal = backup.journal("journal");
    let more = ["--journal", journal.to_str().unwrap()];
    run(server.tar365(&import(&backup.path, &address, &more))).expect(0);
    assert!(wire.cut.load(Ordering::SeqCst) >= 5);
    assert_all_there(&server, &backup);
    // What arrived although nobody said so was made by this run and is taken back with it.
    run(server.tar365(&["import", "--undo", journal.to_str().unwrap()])).expect(0);
    assert_eq!(server.messages(), []);
    assert_eq!(server.mailboxes().into_keys().collect::<Vec<_>>(), ["INBOX"]);
}

#[test]
fn without_tls_only_on_this_machine_and_with_it_when_offered() {
    let backup = Backup::small();
    let server = Dovecot::start(&Setup::default());
    let user = USER.replace('@', "%40");
    let address = format!("imap://{user}@localhost:{}/", server.imap);
    let arguments = import(&backup.path, &address, &[]);
    // This one offers STARTTLS, so its certificate counts.
    let mut command = server.tar365(&arguments);
    command.env_remove("TAR365_CA_CERTIFICATE");
    assert_ne!(run(command).code, 0);
    run(server.tar365(&arguments)).expect(0);
    assert_all_there(&server, &backup);
    assert!(server.log().contains("TLS"), "{}", server.log());
    assert!(!server.log().contains(PASSWORD));
}

#[test]
fn posts_of_groups_are_mails_in_folders_of_their_threads() {
    let small = || Options { users: 1, special_users: false, ..Options::default() };
    let tenant = Tenant::start(small());
    let office = tenant.simulator.tenant();
    // Threads that are called the same, nothing, and like what IMAP has of its own.
    let when = "2026-03-02T08:00:00Z".parse().unwrap();
    for topic in ["INBOX", "a.b/c", "%*\"\\ & Ü"] {
        office.add_post(&office.groups()[0].id, topic, "<p>Text</p>", when).unwrap();
    }
    let backup = Backup::of_service("conversations", &tenant);
    assert_eq!(backup.sections().len(), 2);
    let server = Dovecot::start(&Setup::default());
    restore(&server, &backup, "first");
    assert_all_there(&server, &backup);
    let messages = server.messages();
    let known = office.groups().into_iter().flat_map(|group| office.posts(&group.id).unwrap());
    assert_eq!(messages.len(), known.count());
    // Once, also for who kept no journal.
    restore(&server, &backup, "second");
    assert_eq!(server.messages(), messages);
    let journal = backup.journal("first");
    let undo = ["import", "--undo", journal.to_str().unwrap()];
    run(server.tar365(&undo)).expect(0);
    assert!(server.messages().is_empty());
    assert!(!server.mailboxes().keys().any(|name| name.starts_with("tar365 restore")));
}
