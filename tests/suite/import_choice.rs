//! What is chosen of an archive is restored, and nothing else is; little is read for it, and a
//! plan says before what will be done.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use simulator::{Host, Language, Options};

use crate::harness::{Archive, Tenant, run, runs, text, wait_until};
use crate::import::{Saved, counts, emptied, writable, writes};

/// Messages of an archive: section and metadata line.
fn messages(archive: &Archive) -> Vec<(String, Value)> {
    let sections =
        archive.members.iter().filter_map(|member| member.path.strip_suffix("/mail.ndjson"));
    sections
        .flat_map(|owner| {
            let section = format!("{owner}/mail");
            let lines = archive.lines(&section).into_iter();
            lines
                .filter(|line| text(line, "kind") == "message")
                .map(move |line| (section.clone(), line))
        })
        .collect()
}

#[test]
fn what_is_chosen_is_restored_and_nothing_else() {
    let source = writable(Options { users: 2, mails: 90, files: 20, ..Options::default() });
    let saved = Saved::export(&source);
    let messages = messages(&Archive::new(&saved.bytes));
    let subject = |line: &Value| text(&line["graph"], "subject").to_lowercase();
    let received = |line: &Value| text(&line["graph"], "receivedDateTime").to_owned();
    let from = |line: &Value| line["graph"]["from"]["emailAddress"]["address"].to_string();
    let one = &messages
        .iter()
        .find(|(_, line)| text(&line["graph"], "internetMessageId").contains("AM0PR"))
        .unwrap()
        .1;
    let id = text(&one["graph"], "internetMessageId").to_owned();
    let path = text(one, "path").to_owned();
    let folder = path.rsplit_once('/').unwrap().0.to_owned();
    let user = messages[0].0.split('/').nth(1).unwrap().to_owned();
    let bare = id.trim_matches(['<', '>']).to_owned();
    type Wanted<'a> = &'a dyn Fn(&Value) -> bool;
    let cases: [(&[&str], Wanted<'_>); 11] = [
        (&["--subject", "angebot"], &|line| subject(line).contains("angebot")),
        (&["--subject", "ANGEBOT"], &|line| subject(line).contains("angebot")),
        (&["--subject", "re: *"], &|line| subject(line).starts_with("re: ")),
        (&["--from", "fabrikam.example"], &|line| from(line).contains("fabrikam.example")),
        (&["--message-id", &id], &|line| text(&line["graph"], "internetMessageId") == id),
        (&["--message-id", &bare], &|line| text(&line["graph"], "internetMessageId") == id),
        (&["--path", &path], &|line| text(line, "path") == path),
        (&["--path", &folder], &|line| text(line, "path").starts_with(&format!("{folder}/"))),
        (&["--since", "2022-01-01", "--until", "2024-01-01"], &|line| {
            let at = text(line, "path").rsplit('/').next().unwrap();
            ("20220101".."20240101").contains(&at)
        }),
        (&["--subject", "angebot", "--since", "2022-01-01"], &|line| {
            subject(line).contains("angebot") && &*received(line) >= "2022"
        }),
        (&["--user", &user, "--subject", "angebot", "--subject", "status"], &|line| {
            let asked = subject(line).contains("angebot") || subject(line).contains("status");
            asked && text(line, "path").starts_with(&format!("users/{user}/"))
        }),
    ];
    for (number, (arguments, wanted)) in cases.into_iter().enumerate() {
        let target = emptied(&source, Language::English);
        let journal = format!("journal {number}");
        let arguments = [&["--service", "mail"], arguments].concat();
        let run = saved.import(&target, &journal, &arguments).expect(0);
        let mut expected: Vec<_> = messages
            .iter()
            .filter(|(_, line)| wanted(line))
            .map(|(_, line)| text(&line["graph"], "subject").to_owned())
            .collect();
        let world = target.simulator.tenant();
        let users = world.users().into_iter();
        let mut found: Vec<_> = users
            .flat_map(|user| world.messages(&user.id).unwrap())
            .map(|mail| mail.subject)
            .collect();
        assert!(
            !expected.is_empty() && expected.len() < messages.len(),
            "{arguments:?}: {}",
            expected.len()
        );
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{arguments:?}");
        assert_eq!(counts(&run)[0] as usize, expected.len());
    }
}

#[test]
fn what_matches_nothing_is_told() {
    let source = writable(Options { users: 1, mails: 10, files: 2, ..Options::default() });
    let saved = Saved::export(&source);
    let target = emptied(&source, Language::English);
    for (arguments, code) in [
        (&["--subject", "no mail says this"][..], 3),
        (&["--user", "nobody@example.com"], 2),
        (&["--service", "calendar"], 2),
        (&["--path", "[z-a]"], 2),
    ] {
        saved.import(&target, "nothing", arguments).expect(code);
    }
    assert!(writes(&target).is_empty());
}

/// An archive of more than 300 MB, most of which nobody asks for, and a mail that is only once in
/// it: its owner and its subject.
fn large() -> (Tenant, Saved, String, String) {
    let source = writable(Options {
        users: 4,
        mails: 400,
        files: 3,
        big_file: Some(300_000_000),
        ..Options::default()
    });
    let world = source.simulator.tenant();
    let user = world.users().into_iter().min_by(|a, b| a.upn.cmp(&b.upn)).unwrap();
    let inbox = world.folders(&user.id).unwrap();
    let inbox = inbox.into_iter().find(|folder| folder.well_known == Some("inbox")).unwrap();
    let mail = b"From: a@example.com\r\nSubject: The one that is looked for\r\n\r\nHere.\r\n";
    world.add_message(&user.id, &inbox.id, mail).unwrap();
    let saved = Saved::new(Vec::new());
    let out = File::create(saved.path()).unwrap();
    let status = source.tar365(&["export"]).stdout(out).stderr(Stdio::null()).status().unwrap();
    assert!(status.success());
    (source, saved, user.upn, "the one that is looked for".to_owned())
}

/// Bytes that a process read before it ended, from whatever file, as the kernel counts them.
fn bytes_read(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let id = child.id();
    wait_until(Duration::from_secs(120), "the import has ended", || !runs(id));
    // It is a zombie: what it did is known until it is waited for.
    let io = std::fs::read_to_string(format!("/proc/{id}/io")).unwrap();
    assert!(child.wait().unwrap().success());
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    read.parse().unwrap()
}

#[test]
fn one_mail_costs_little_of_a_large_archive() {
    let (source, saved, upn, subject) = large();
    let total = std::fs::metadata(saved.path()).unwrap().len();
    assert!(total > 300_000_000, "{total}");
    // What it reads besides, as the certificates of the system, is no matter of the archive.
    let tiny = writable(Options { users: 1, mails: 1, files: 0, ..Options::default() });
    let little = Saved::export(&tiny);
    let besides =
        bytes_read(tiny.tar365(&["import", &little.path(), "--journal", &little.file("j")]));
    for (arguments, percent) in
        [(&["--user", &*upn, "--subject", &subject][..], 1), (&["--subject", &subject], 2)]
    {
        let target = emptied(&source, Language::German);
        let (path, journal) = (saved.path(), saved.file(&format!("journal {percent}")));
        let fixed = ["import", &path, "--journal", &journal];
        let read = bytes_read(target.tar365(&[&fixed, arguments].concat()));
        let read = read.saturating_sub(besides);
        assert!(read > 1000 && read * 100 < total * percent, "{read} of {total} for {arguments:?}");
        let world = target.simulator.tenant();
        let user = world.users().into_iter().find(|user| user.upn == upn).unwrap();
        assert_eq!(world.messages(&user.id).unwrap().len(), 1);
    }
    let (path, upn) = (saved.path(), &*upn);
    // The measure measures.
    let all = bytes_read(crate::harness::tar365(&["verify", &path]));
    assert!(all >= total, "{all} of {total}: reads are not counted");

    // From a pipe: as soon as the owner's mail is over, nothing more is taken.
    let target = emptied(&source, Language::German);
    let journal = saved.file("journal of the pipe");
    let arguments = [
        "import",
        "-",
        "--journal",
        &journal,
        "--user",
        upn,
        "--service",
        "mail",
        "--subject",
        &subject,
    ];
    let mut child = target
        .tar365(&arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let archive = std::fs::read(&path).unwrap();
    let mut fed = 0;
    let broken = archive.chunks(65_536).find_map(|chunk| {
        let refused = pipe.write_all(chunk).err();
        fed += chunk.len() as u64;
        refused
    });
    assert_eq!(broken.map(|error| error.kind()), Some(std::io::ErrorKind::BrokenPipe));
    drop(pipe);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(fed * 10 < total, "{fed} of {total} were taken");
}

#[test]
fn a_plan_touches_nothing_and_comes_true() {
    let source = writable(Options { users: 2, mails: 120, files: 40, ..Options::default() });
    let saved = Saved::export(&source);
    for arguments in [&[][..], &["--service", "mail", "--subject", "angebot"], &["--in-place"]] {
        let target = emptied(&source, Language::English);
        let planned =
            run(target
                .tar365(&[&["import", &saved.path(), "--dry-run", "--json"], arguments].concat()))
            .expect(0);
        let written = writes(&target);
        assert!(written.is_empty(), "{written:#?}");
        let plan: Value = serde_json::from_slice(&planned.stdout).unwrap();
        let sum = |key: &str| {
            let sections = plan["sections"].as_array().unwrap().iter();
            sections.map(|section| section[key].as_u64().unwrap()).sum::<u64>()
        };
        assert_eq!(plan["on_conflict"], "skip");
        let report = saved.file("report.json");
        target.simulator.log().clear();
        let journal = format!("journal {}", arguments.len());
        saved.import(&target, &journal, &[arguments, &["--report", &report]].concat()).expect(0);
        let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
        let summary = &report["summary"];
        assert_eq!(summary["created"].as_u64().unwrap(), sum("items"), "{arguments:?}");
        assert_eq!(summary["bytes"].as_u64().unwrap(), sum("bytes"), "{arguments:?}");
        let asked = target.simulator.log().count(|record| record.host != Host::Login) as u64;
        let planned = sum("requests") + sum("folders");
        assert!(
            asked * 2 > planned && asked < planned * 2 + 20,
            "{arguments:?}: {planned} requests were planned, {asked} were made"
        );
    }
}
