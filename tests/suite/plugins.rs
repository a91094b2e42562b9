//! Plugins in `export`, `extract` and `import`: what is dropped leaves no trace, what fails fails
//! closed, and the same chain makes the same bytes whichever way they are made.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use simulator::Options;

use crate::base::{Shelf, same};
use crate::faults::busy::Busy;
use crate::guest::Guest;
use crate::harness::{Archive, Run, Tenant, ends, run, sha256, text, tool, verify};

/// A subject, a name and a content that are nowhere else.
pub const SUBJECT: &str = "Zebrafink 4711 geheim";
const NAME: &str = "Kranichzug 0815.txt";
pub const CONTENT: &str = "Uhu bei Nacht, streng vertraulich";
/// What must be in no archive once the items with it are dropped.
pub const TRACES: [&str; 6] =
    ["Zebrafink", "4711 geheim", "Kranichzug", "0815.txt", "Uhu bei Nacht", "streng vertraulich"];

/// A tenant in which somebody has a mail and a file of that kind; the ids of both.
pub fn tenant() -> (Tenant, [String; 2]) {
    let tenant = Tenant::start(Options { users: 2, mails: 40, files: 20, ..Options::default() });
    let office = tenant.simulator.tenant();
    let user = office.users().into_iter().find(|user| user.upn.starts_with("anna")).unwrap().id;
    let inbox = office.folders(&user).unwrap();
    let inbox = inbox.iter().find(|folder| folder.well_known == Some("inbox")).unwrap();
    let eml = format!("Subject: {SUBJECT}\r\n\r\n{CONTENT}\r\n");
    let mail = office.add_message(&user, &inbox.id, eml.as_bytes()).unwrap();
    let file = office.put_file(&user, NAME, CONTENT.as_bytes()).unwrap();
    (tenant, [mail, file])
}

/// Calls `then` if the JSON at a pointer is this text.
pub fn if_value(guest: &mut Guest, pointer: &str, value: &str, then: &str) -> String {
    let (pointer, value) = (guest.text(pointer), guest.text(format!("\"{value}\"")));
    format!(
        "(call $value {pointer} (i32.const 64))
         (if (i32.and (i32.load8_u (i32.const 64))
               (call $equal (i32.load (i32.const 68)) (i32.load (i32.const 72)) {value}))
           (then (return {then})))"
    )
}

/// Calls `then` if the content begins with, or has after a subject, [`CONTENT`].
fn if_content(guest: &mut Guest, then: &str) -> String {
    let mail = format!("Subject: {SUBJECT}");
    let (mail_text, text) = (guest.text(&mail), guest.text(CONTENT));
    format!(
        "(call $read (i32.const 65536) (i32.const 64))
         (if (i32.ge_u (i32.load (i32.const 68)) (i32.const {}))
           (then (if (call $equal (i32.load (i32.const 64)) (i32.const {}) {mail_text})
             (then (return {then})))))
         (if (i32.ge_u (i32.load (i32.const 68)) (i32.const {}))
           (then (if (call $equal (i32.load (i32.const 64)) (i32.const {}) {text})
             (then (return {then})))))
         (call $keep)",
        mail.len(),
        mail.len(),
        CONTENT.len(),
        CONTENT.len(),
    )
}

/// Drops the mail and the file by what is known of them.
pub fn by_metadata() -> Guest {
    let mut guest = Guest::new("by-metadata");
    let reason = guest.text(CONTENT);
    let then = format!("(call $drop {reason})");
    let mail = if_value(&mut guest, "/subject", SUBJECT, &then);
    let file = if_value(&mut guest, "/name", NAME, &then);
    guest.on_metadata(&format!("{mail} {file} (call $keep)"))
}

/// Drops the mail and the file when it has seen their content.
pub fn by_content() -> Guest {
    let mut guest = Guest::new("by-content").pages(8);
    let reason = guest.text(CONTENT);
    let body = if_content(&mut guest, &format!("(call $drop {reason})"));
    guest.on_content(&body)
}

/// Replaces every content by itself, piece by piece.
pub fn copies() -> Guest {
    Guest::new("copies").pages(8).on_content(
        "(loop $more
           (call $reset)
           (call $read (i32.const 65536) (i32.const 64))
           (if (i32.load (i32.const 68)) (then
             (call $write (i32.load (i32.const 64)) (i32.load (i32.const 68)))
             (br $more))))
         (call $replace)",
    )
}

/// Puts something before every content.
pub fn stamps(stamp: &str) -> Guest {
    let mut guest = Guest::new("stamps").pages(8);
    let stamp = guest.text(stamp);
    guest.on_content(&format!(
        "(call $write {stamp})
         (loop $more
           (call $reset)
           (call $read (i32.const 65536) (i32.const 64))
           (if (i32.load (i32.const 68)) (then
             (call $write (i32.load (i32.const 64)) (i32.load (i32.const 68)))
             (br $more))))
         (call $replace)"
    ))
}

/// Fails on the mail and the file.
fn traps() -> Guest {
    let mut guest = Guest::new("traps");
    let mail = if_value(&mut guest, "/subject", SUBJECT, "(unreachable)");
    let file = if_value(&mut guest, "/name", NAME, "(unreachable)");
    guest.on_metadata(&format!("{mail} {file} (call $keep)"))
}

impl Shelf {
    pub fn guest(&self, guest: &Guest) -> String {
        self.put("guest.wat", guest.wat().as_bytes())
    }
}

pub fn with(tenant: &Tenant, plugins: &[&str], flags: &[&str]) -> Run {
    let named = plugins.iter().flat_map(|plugin| ["--plugin", plugin]);
    tenant.export(&named.chain(flags.iter().copied()).collect::<Vec<_>>())
}

#[track_caller]
pub fn no_trace(archive: &[u8], ids: &[String]) {
    let has = |text: &str| archive.windows(text.len()).any(|window| window == text.as_bytes());
    for trace in TRACES {
        assert!(!has(trace), "{trace}");
    }
    for id in ids {
        assert!(!has(id) && !has(&archive::path::tag(id)), "{id}");
    }
}

#[test]
fn what_is_dropped_leaves_no_trace() {
    let (tenant, ids) = tenant();
    let whole = tenant.export(&[]).expect(0).stdout;
    assert!(
        TRACES
            .iter()
            .all(|trace| { whole.windows(trace.len()).any(|window| window == trace.as_bytes()) })
    );
    for guest in [by_metadata(), by_content()] {
        let shelf = Shelf::new();
        let filtered = with(&tenant, &[&shelf.guest(&guest)], &[]).expect(0);
        verify(&filtered.stdout);
        no_trace(&filtered.stdout, &ids);
        let (before, after) = (Archive::new(&whole), Archive::new(&filtered.stdout));
        // Two items and their metadata, and nothing else.
        let paths = |archive: &Archive| archive.members.iter().filter(|m| !m.is_directory).count();
        assert_eq!(paths(&before), paths(&after) + 2);
        let dropped: Vec<_> = after
            .ledger()
            .into_iter()
            .filter(|line| text(line, "cause") == "filtered")
            .map(|line| text(&line, "message").to_owned())
            .collect();
        assert_eq!(dropped, ["1 dropped by a plugin", "1 dropped by a plugin"]);
        assert!(filtered.stderr.contains("2 dropped"), "{}", filtered.stderr);
    }
}

#[test]
fn the_head_names_the_chain() {
    let (tenant, _) = tenant();
    let shelf = Shelf::new();
    let first = shelf.put("first.wat", by_metadata().wat().as_bytes());
    let second = shelf.put("second.wat", copies().wat().as_bytes());
    let settings = shelf.put("settings.json", b"{\"a\": 1}");
    let chain = [first.as_str(), &format!("{second}={settings}")];
    let archive = Archive::new(&with(&tenant, &chain, &[]).expect(0).stdout);
    let head: serde_json::Value =
        serde_json::from_slice(&archive.member(archive::HEAD_PATH).unwrap().content).unwrap();
    let read = |path: &str| sha256(&std::fs::read(path).unwrap());
    assert_eq!(
        head["filters"],
        serde_json::json!([
            { "name": "by-metadata", "version": "1.2.3", "sha256": read(&first),
              "settings_sha256": sha256(b"") },
            { "name": "copies", "version": "1.2.3", "sha256": read(&second),
              "settings_sha256": sha256(b"{\"a\": 1}") },
        ])
    );
}

#[test]
fn the_same_chain_makes_the_same_bytes() {
    let (tenant, _) = tenant();
    let shelf = Shelf::new();
    let plugin = shelf.guest(&stamps("stamped\n"));
    let wanted = with(&tenant, &[&plugin], &[]).expect(0).stdout;
    verify(&wanted);
    // With little room to hold what is decided on, it is fetched and asked about twice.
    for flags in [&["--concurrency", "1"][..], &["--concurrency", "64"], &["--spool-limit", "9MB"]]
    {
        same(&with(&tenant, &[&plugin], flags).expect(0).stdout, &wanted, &flags.join(" "));
    }
}

#[test]
fn content_beyond_the_spool_goes_through_plugins_too() {
    let (tenant, ids) = tenant();
    let whole = tenant.export(&[]).expect(0).stdout;
    let shelf = Shelf::new();
    let stamp = "stamped\n";
    // It has seen enough at once, the one before it has not.
    let early =
        shelf.put("early.wat", Guest::new("early").on_content("(call $keep)").wat().as_bytes());
    let chain = [
        shelf.put("drops.wat", by_content().wat().as_bytes()),
        early.clone(),
        shelf.put("stamps.wat", stamps(stamp).wat().as_bytes()),
        early,
        shelf.put("copies.wat", copies().wat().as_bytes()),
    ];
    let chain = chain.each_ref().map(String::as_str);
    let flags = ["--spool-limit", "20kB"];
    let filtered = with(&tenant, &chain, &flags).expect(0).stdout;
    same(&with(&tenant, &chain, &flags).expect(0).stdout, &filtered, "twice");
    verify(&filtered);
    no_trace(&filtered, &ids);
    let (before, after) = (Archive::new(&whole), Archive::new(&filtered));
    let mut large = 0;
    for member in before.members.iter().filter(|m| m.path.matches('/').count() > 2) {
        let Some(now) = after.member(&member.path) else { continue };
        if member.is_directory {
            continue;
        }
        assert!(now.content.starts_with(stamp.as_bytes()), "{}", member.path);
        assert!(now.content[stamp.len()..] == member.content, "{}", member.path);
        large += usize::from(member.content.len() > 20_000);
    }
    assert!(large > 10, "{large}");
}

#[test]
fn what_a_plugin_fails_on_is_not_written() {
    let (tenant, ids) = tenant();
    let shelf = Shelf::new();
    let plugin = shelf.guest(&traps());
    let failed = with(&tenant, &[&plugin], &[]).expect(3);
    assert!(failed.stderr.contains("plugin traps"), "{}", failed.stderr);
    verify(&failed.stdout);
    for trace in TRACES {
        let has = failed.stdout.windows(trace.len()).any(|window| window == trace.as_bytes());
        assert!(!has, "{trace}");
    }
    // The ledger knows them by their ids, and by nothing else.
    let ledger = Archive::new(&failed.stdout).ledger();
    for id in &ids {
        let line = ledger.iter().find(|line| text(line, "id") == id).unwrap();
        assert_eq!(text(line, "cause"), "plugin-trap");
        assert_eq!(text(line, "outcome"), "failed");
        assert_eq!(text(line, "code"), "traps");
        assert!(line.get("path").is_none() && line.get("scope").is_none());
    }
    with(&tenant, &[&plugin], &["--max-plugin-failures", "1"]).expect(3);
    with(&tenant, &[&plugin], &["--max-plugin-failures", "2"]).expect(0);
}

#[test]
fn hostile_plugins_cost_what_they_were_asked_about() {
    let (tenant, _) = tenant();
    let unbounded = "(loop $l (br $l)) (unreachable)";
    let memory = "(loop $l (drop (memory.grow (i32.const 100))) (br $l)) (unreachable)";
    let stack = Guest::new("stack")
        .core("(func $deep (result i32) (i32.add (call $deep) (i32.const 1)))")
        .on_metadata("(call $deep)");
    let nonsense = {
        let mut guest = Guest::new("nonsense");
        let text = guest.text("no JSON");
        guest.on_metadata(&format!("(call $change {text})"))
    };
    let huge =
        Guest::new("huge").on_metadata("(call $change (i32.const 0) (i32.const 0x3fffffff))");
    let cases = [
        (Guest::new("loop").on_metadata(unbounded), "plugin-fuel"),
        (Guest::new("memory").on_metadata(memory), ""),
        (stack, "plugin-stack"),
        (nonsense, "plugin-answer"),
        (huge, ""),
    ];
    for (guest, cause) in cases {
        let shelf = Shelf::new();
        let flags = ["--plugin-fuel", "5000000", "--plugin-memory", "4MiB", "--service", "mail"];
        let run = with(&tenant, &[&shelf.guest(&guest)], &flags).expect(3);
        let archive = Archive::new(&run.stdout);
        verify(&run.stdout);
        assert!(!archive.members.iter().any(|m| m.path.ends_with(".eml")), "nothing passes");
        let failures: Vec<_> =
            archive.ledger().into_iter().filter(|line| text(line, "outcome") == "failed").collect();
        assert!(failures.len() > 40);
        assert!(
            failures.iter().all(|line| {
                let is = text(line, "cause");
                if cause.is_empty() { is.starts_with("plugin-") } else { is == cause }
            }),
            "{}: {:?}",
            run.stderr,
            failures[0]
        );
    }
}

#[test]
fn a_plugin_that_can_not_be_one_is_refused_before_the_first_byte() {
    let (tenant, _) = tenant();
    let shelf = Shelf::new();
    let clock = "(component (import \"wasi:clocks/wall-clock@0.2.0\" (instance \
                 (export \"now\" (func (result u64))))))";
    let cases = [
        (shelf.put("clock.wat", clock.as_bytes()), "wasi:clocks/wall-clock"),
        (shelf.put("text.wasm", b"not wasm at all"), "no WebAssembly"),
        (shelf.put("module.wat", b"(module)"), "core module"),
        (shelf.put("new.wat", Guest::new("new").built_for("2.0.0").wat().as_bytes()), "2.0.0"),
        (shelf.path("nowhere.wasm").display().to_string(), "No such file"),
    ];
    for (plugin, word) in cases {
        let run = with(&tenant, &[&plugin], &[]).expect(2);
        assert!(run.stdout.is_empty());
        assert!(run.stderr.contains(word) && run.stderr.contains("hint:"), "{}", run.stderr);
    }
    let state = shelf.path("state").display().to_string();
    let base = shelf.put("base.tar", b"");
    let plugin = shelf.guest(&copies());
    with(&tenant, &[&plugin], &["--state", &state, "--base", &base]).expect(2);
}

/// Holds the mail and the file.
fn holds() -> Guest {
    let mut guest = Guest::new("holds").phases(&[0]);
    let reason = guest.text("of a custodian");
    let then = format!("(call $hold {reason})");
    let mail = if_value(&mut guest, "/subject", SUBJECT, &then);
    let file = if_value(&mut guest, "/name", NAME, &then);
    guest.on_metadata(&format!("{mail} {file} (call $keep)"))
}

#[test]
fn what_is_held_no_plugin_touches() {
    let (tenant, ids) = tenant();
    let whole = Archive::new(&tenant.export(&[]).expect(0).stdout);
    let shelf = Shelf::new();
    let dropping = shelf.put("drops.wat", by_metadata().wat().as_bytes());
    let reading = shelf.put("reads.wat", by_content().wat().as_bytes());
    let stamping = shelf.put("stamps.wat", stamps("stamped\n").wat().as_bytes());
    let holding = shelf.put("holds.wat", holds().wat().as_bytes());
    // Wherever it stands in the chain; also what is too large for the spool.
    let first = [&holding, &dropping, &reading, &stamping];
    for chain in [first, [&reading, &stamping, &dropping, &holding]] {
        for limit in ["1GB", "16"] {
            let chain = chain.map(String::as_str);
            let run = with(&tenant, &chain, &["--spool-limit", limit]).expect(0);
            let archive = Archive::new(&run.stdout);
            let mut held = 0;
            for section in ["mail", "onedrive"] {
                let section = format!("users/anna.schmidt@contoso.onmicrosoft.com/{section}");
                let before = whole.items(&section);
                for (id, member) in archive.items(&section) {
                    let is_held = ids.contains(&id);
                    assert_eq!(member.content == before[&id].content, is_held, "{}", member.path);
                    held += usize::from(is_held);
                }
            }
            assert_eq!(held, 2);
        }
    }
}

#[test]
fn folders_are_named_only_where_a_plugin_lets_them() {
    let (tenant, _) = tenant();
    let office = tenant.simulator.tenant();
    let user = office.users().into_iter().find(|user| user.upn.starts_with("anna")).unwrap().id;
    let root = office.folders(&user).unwrap();
    let inbox = root.iter().find(|folder| folder.well_known == Some("inbox")).unwrap();
    let full = office.add_folder(&user, &inbox.id, "Zebrafink").unwrap();
    office.add_message(&user, &full, b"Subject: inside\r\n\r\nx\r\n").unwrap();
    office.add_folder(&user, &inbox.id, "Kranichzug").unwrap();
    let has = |archive: &[u8], text: &str| {
        archive.windows(text.len()).any(|window| window == text.as_bytes())
    };
    // One that is dropped stays if something in it does.
    let mut guest = Guest::new("folders");
    let reason = guest.text("a reason");
    let then = format!("(call $drop {reason})");
    let full = if_value(&mut guest, "/displayName", "Zebrafink", &then);
    let empty = if_value(&mut guest, "/displayName", "Kranichzug", &then);
    let shelf = Shelf::new();
    let plugin = shelf.guest(&guest.on_metadata(&format!("{full} {empty} (call $keep)")));
    let run = with(&tenant, &[&plugin], &["--service", "mail"]).expect(0);
    verify(&run.stdout);
    assert!(has(&run.stdout, "/Zebrafink/"));
    assert!(!has(&run.stdout, "Kranichzug"));
    // One that a plugin fails on may have to be there, but not by its name.
    let mut guest = Guest::new("folders");
    let full = if_value(&mut guest, "/displayName", "Zebrafink", "(unreachable)");
    let empty = if_value(&mut guest, "/displayName", "Kranichzug", "(unreachable)");
    let other = shelf.guest(&guest.on_metadata(&format!("{full} {empty} (call $keep)")));
    let run = with(&tenant, &[&other], &["--service", "mail"]).expect(3);
    verify(&run.stdout);
    assert!(!has(&run.stdout, "Zebrafink/") && !has(&run.stdout, "Kranichzug"));
    let archive = Archive::new(&run.stdout);
    assert!(archive.members.iter().any(|member| member.path.contains(" inside ~")));
}

/// More contents wait to be written than a process may have files open.
#[test]
fn what_is_decided_on_waits_in_one_file_a_section() {
    let tenant = Tenant::start(Options { users: 4, mails: 500, files: 0, ..Options::default() });
    let shelf = Shelf::new();
    let plugin = shelf.guest(&copies());
    // Six sections at a time.
    let flags = ["export", "--service", "mail", "--concurrency", "24", "--plugin", &plugin];
    let mut limited = tool("sh");
    limited.args(["-c", "ulimit -n 400; exec \"$TAR365\" \"$@\"", "sh"]).args(flags);
    run(tenant.known_to(limited)).expect(0);
}

/// Whoever opens the large file finds it changed, every read of it breaks, and after a while what
/// was begun can't be had any more.
#[test]
fn a_large_file_that_changes_costs_that_file_at_most() {
    let shelf = Shelf::new();
    let plugin = shelf.guest(&stamps("stamped\n"));
    let mut ends = BTreeSet::new();
    for spared in [0, 5, 20] {
        let Busy { tenant, id } = Busy::new(spared, "gone");
        let flags = ["--service", "onedrive", "--spool-limit", "1MiB"];
        let run = with(&tenant, &[&plugin], &flags).expect(0);
        verify(&run.stdout);
        let archive = Archive::new(&run.stdout);
        let line = archive.ledger().into_iter().find(|line| text(line, "id") == id);
        let outcome = line.as_ref().map_or("written", |line| text(line, "outcome"));
        // What no plugin decided on is not there, nor is its name.
        let section = "users/anna.schmidt@contoso.onmicrosoft.com/onedrive";
        let is_there = archive.items(section).contains_key(&id);
        assert_eq!(is_there, outcome != "failed", "after {spared} reads: {line:?}");
        assert!(is_there || line.as_ref().is_some_and(|line| line.get("path").is_none()));
        ends.insert(outcome.to_owned());
    }
    assert!(ends.contains("damaged") && ends.contains("failed"), "{ends:?}");
}

/// Nor does the large file wait for those that were asked for with it, which wait for the budget.
#[test]
fn a_large_file_is_decided_on_while_others_wait_for_the_budget() {
    let options =
        Options { users: 1, mails: 0, files: 60, big_file: Some(5 << 20), ..Options::default() };
    let tenant = Tenant::start(options);
    let shelf = Shelf::new();
    let plugin = shelf.guest(&stamps("stamped\n"));
    let flags = ["--service", "onedrive", "--spool-limit", "1MiB", "--budget", "sharepoint=30/1"];
    let mut command = tenant.tar365(&[&["export", "--plugin", &plugin], &flags[..]].concat());
    command.env_remove("TAR365_PACE").stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(ends(&mut command.spawn().unwrap(), Duration::from_secs(100)), 0);
}

#[test]
fn a_dropped_folder_is_named_nowhere() {
    let (tenant, _) = tenant();
    let office = tenant.simulator.tenant();
    let user = office.users().into_iter().find(|user| user.upn.starts_with("anna")).unwrap().id;
    let folders = office.folders(&user).unwrap();
    let inbox = folders.iter().find(|folder| folder.well_known == Some("inbox")).unwrap();
    let dropped = office.add_folder(&user, &inbox.id, "Zebrafink").unwrap();
    let mut guest = Guest::new("folders");
    let reason = guest.text("a reason");
    let drop = if_value(&mut guest, "/displayName", "Zebrafink", &format!("(call $drop {reason})"));
    let shelf = Shelf::new();
    let plugin = shelf.guest(&guest.on_metadata(&format!("{drop} (call $keep)")));
    let flags = ["--service", "mail", "--user", "anna*"];
    let run = with(&tenant, &[&plugin], &flags).expect(0);
    verify(&run.stdout);
    let has = |text: &str| run.stdout.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!has("/Zebrafink") && !has(&dropped));
    // A folder in it that stays keeps the way to it.
    office.add_folder(&user, &dropped, "below").unwrap();
    let run = with(&tenant, &[&plugin], &flags).expect(0);
    let archive = Archive::new(&run.stdout);
    let is_folder = |name: &str| {
        archive
            .members
            .iter()
            .any(|m| m.is_directory && m.path.trim_end_matches('/').ends_with(name))
    };
    assert!(is_folder("/Zebrafink") && is_folder("/Zebrafink/below"));
}

#[test]
fn last_words_name_nothing_where_plugins_filter() {
    let (tenant, _) = tenant();
    let shelf = Shelf::new();
    let plugin = shelf.guest(&copies());
    tenant
        .simulator
        .set_faults(vec!["unavailable:after=20,match=content,times=100000".parse().unwrap()]);
    let run = with(&tenant, &[&plugin], &["--service", "onedrive", "--patience", "2s"]);
    assert!(run.code == 75, "{}", run.stderr);
    let last = run.stdout.rchunks(4096).next().unwrap_or_default();
    let says = |text: &str| last.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(says("the run failed") && !says("users/"));
}

/// Who is next to be decided on gets the room that he needs, and nobody else more than there is.
#[test]
fn many_and_large_contents_are_decided_on_in_little_room() {
    let (tenant, _) = tenant();
    let office = tenant.simulator.tenant();
    let user = office.users().into_iter().find(|user| user.upn.starts_with("anna")).unwrap().id;
    for number in 0..6 {
        let bytes = vec![number; 9_000_000];
        office.put_file(&user, &format!("large {number}.bin"), &bytes).unwrap();
    }
    let shelf = Shelf::new();
    let plugin = shelf.guest(&stamps("stamped\n"));
    let wanted = with(&tenant, &[&plugin], &["--spool-limit", "9100kB"]).expect(0).stdout;
    verify(&wanted);
    for concurrency in ["1", "64"] {
        let flags = ["--spool-limit", "9100kB", "--concurrency", concurrency];
        same(&with(&tenant, &[&plugin], &flags).expect(0).stdout, &wanted, concurrency);
    }
}
