//! `export --each`: a stream for each owner, each what an export of that owner is, and a last one
//! that tells of them all.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use simulator::{Fault, Options};
use tempfile::TempDir;

use crate::base::contents;
use crate::engines::{Borg, Engine, Restic};
use crate::harness::{
    Archive, Run, Tenant, children, ends, files_below, json_lines, run, send, sha256, text, tool,
    verify, wait_until,
};

const LONG: Duration = Duration::from_secs(60);
const NAMED: &str = "{name}.tar";
/// Stores each stream in the folder `$OUT`, as one that keeps only what it was given to the end.
const STORE: &str =
    r#"sh -c 'cat > "$OUT/.$TAR365_NAME" && mv "$OUT/.$TAR365_NAME" "$OUT/$TAR365_NAME.tar"'"#;

fn small() -> Options {
    Options { users: 4, mails: 12, files: 6, ..Options::default() }
}

fn each(tenant: &Tenant, out: &Path, arguments: &[&str]) -> Command {
    let mut command = tenant.tar365(&[&["export", "--each"], arguments].concat());
    command.env("OUT", out);
    command
}

/// The streams by name, without the last.
fn streams(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let all = files_below(out).into_iter();
    let named = all.filter_map(|(path, bytes)| {
        Some((path.strip_suffix(".tar")?.to_owned(), bytes)).filter(|(name, _)| name != "_tenant")
    });
    named.collect()
}

fn last(out: &Path) -> Archive {
    Archive::new(&std::fs::read(out.join("_tenant.tar")).unwrap())
}

fn told(out: &Path) -> Vec<Value> {
    json_lines(&last(out).member("directory/streams.ndjson").unwrap().content)
}

#[test]
fn each_stream_is_what_an_export_of_that_owner_is() {
    let tenant = Tenant::start(small());
    let out = TempDir::new().unwrap();
    let run_of_all = run(each(&tenant, out.path(), &[STORE])).expect(0);
    assert!(run_of_all.stdout.is_empty(), "stdout carries data only");
    let streams = streams(out.path());
    let told = told(out.path());
    let guests = told.iter().filter(|line| text(line, "outcome") == "guest").count();
    assert_eq!((streams.len() + guests, guests), (told.len(), 1));
    for line in told.iter().filter(|line| text(line, "outcome") != "guest") {
        let stream = &streams[&text(line, "userPrincipalName").to_lowercase()];
        verify(stream);
        let seal = &stream[stream.len() - 1024 - 4096..stream.len() - 1024];
        assert_eq!(text(line, "seal"), sha256(seal));
        let alone = tenant.export(&["--user", text(line, "id")]);
        match alone.code {
            0 => assert!(alone.stdout == *stream, "{line}"),
            // Refused for the one owner there is is refused for all; who has nothing is nobody.
            code => assert!([3, 77].contains(&code), "{}", alone.stderr),
        }
    }
    let ids: Vec<_> = told.iter().map(|line| text(line, "id")).collect();
    assert!(ids.is_sorted());
    verify(&std::fs::read(out.path().join("_tenant.tar")).unwrap());
}

#[test]
fn files_are_streams_too_and_two_runs_are_equal() {
    let tenant = Tenant::start(small());
    let folders: Vec<_> = ["1", "3", "64"]
        .map(|count| {
            let out = TempDir::new().unwrap();
            let path = out.path().join(NAMED);
            let output = ["--output", path.to_str().unwrap(), "--streams", count];
            // So that the share of each stream is the same.
            tenant.export(&[&output[..], &["--spool-limit", "1GiB"]].concat()).expect(0);
            files_below(out.path())
        })
        .into();
    assert!(folders[0].len() > 8, "{}", folders[0].len());
    assert!(folders.iter().all(|folder| *folder == folders[0]));
    let out = TempDir::new().unwrap();
    run(each(&tenant, out.path(), &[STORE, "--streams", "2"])).expect(0);
    assert!(files_below(out.path()) == folders[0]);
}

#[test]
fn a_selection_and_shards_hold_for_streams() {
    let tenant = Tenant::start(small());
    let names = |arguments: &[&str]| {
        let out = TempDir::new().unwrap();
        let command = each(&tenant, out.path(), &[&[STORE], arguments].concat());
        run(command).expect(0);
        streams(out.path())
    };
    let all = names(&[]);
    let parts: Vec<_> = ["0/2", "1/2"].map(|shard| names(&["--shard", shard])).into();
    assert!(parts.iter().all(|part| !part.is_empty()));
    let together: BTreeMap<_, _> = parts.into_iter().flatten().collect();
    assert!(together == all, "shards are the whole, byte for byte");
    let one = names(&["--user", "anna*", "--service", "mail"]);
    assert_eq!(one.len(), 1);
    let archive = Archive::new(one.values().next().unwrap());
    assert!(archive.members.iter().all(|member| !member.path.contains("/onedrive")));
}

#[test]
fn names_need_streams() {
    let tenant = Tenant::start(small());
    for arguments in [["--base", "{name}.tar"], ["--base-command", "cat {id}"]] {
        let refused = tenant.export(&arguments).expect(2);
        assert!(refused.stderr.contains("--each"), "{}", refused.stderr);
        assert!(refused.stdout.is_empty());
    }
    assert_eq!(tenant.simulator.log().counts().requests, 0, "nothing was asked");
    let out = TempDir::new().unwrap();
    let missing = run(each(&tenant, out.path(), &["no-such-engine {name}"])).expect(2);
    assert!(missing.stderr.contains("no-such-engine"), "{}", missing.stderr);
    run(each(&tenant, out.path(), &["cat 'unclosed {name}"])).expect(2);
    assert!(files_below(out.path()).is_empty());
}

/// How many of the programs that `$OUT/log` tells of ran at a time at most.
fn most_at_a_time(out: &Path) -> usize {
    let log = std::fs::read_to_string(out.join("log")).unwrap();
    let mut running = 0_usize;
    let counts = log.lines().map(|line| {
        running = if line == "begin" { running + 1 } else { running - 1 };
        running
    });
    counts.max().unwrap()
}

#[test]
fn no_more_streams_run_at_a_time_than_asked_for() {
    let tenant = Tenant::start(Options { latency: Duration::from_millis(10), ..small() });
    for count in [1, 3] {
        let out = TempDir::new().unwrap();
        let engine = "sh -c 'echo begin >> $OUT/log; cat > /dev/null; echo end >> $OUT/log'";
        let streams = count.to_string();
        run(each(&tenant, out.path(), &[engine, "--streams", &streams])).expect(0);
        assert_eq!(most_at_a_time(out.path()), count);
        assert!(tenant.simulator.log().max_concurrent(None) <= 4, "of one mailbox");
    }
}

#[test]
fn the_longest_begins_first() {
    let tenant = Tenant::start(Options { special_users: true, ..small() });
    let out = TempDir::new().unwrap();
    let engine = "sh -c 'echo $TAR365_NAME >> $OUT/log; cat > $OUT/$TAR365_NAME.tar'";
    run(each(&tenant, out.path(), &[engine, "--streams", "1", "--service", "mail"])).expect(0);
    let order = std::fs::read_to_string(out.path().join("log")).unwrap();
    let order: Vec<_> = order.lines().collect();
    assert_eq!(order.last(), Some(&"_tenant"));
    let sizes = streams(out.path());
    let mails = |name: &&str| {
        let archive = Archive::new(&sizes[*name]);
        archive.members.iter().filter(|member| member.path.ends_with(".eml")).count()
    };
    let counts: Vec<_> = order[..order.len() - 1].iter().map(mails).collect();
    assert!(counts.is_sorted_by(|one, next| one >= next), "{counts:?}");
    assert!(counts[0] > counts[counts.len() - 1]);
}

#[test]
fn restic_gets_each_night_what_is_new_and_keeps_every_stream() {
    let tenant = Tenant::start(Options { special_users: false, ..small() });
    let restic = Restic::new();
    let night = || {
        tenant.simulator.log().clear();
        let mut command = tenant.tar365(&["export", "--streams", "2", "--base-missing", "full"]);
        command.args([
            "--each",
            "restic --quiet backup --stdin --stdin-filename {name}.tar --tag {name}",
            "--base-command",
            "restic --quiet dump --tag {name} latest {name}.tar",
        ]);
        command
            .env("PATH", tool("restic").get_envs().find(|(k, _)| *k == "PATH").unwrap().1.unwrap());
        let night: Run = run(restic.known_to(command)).expect(0);
        (night, contents(&tenant.simulator.log().records()).len())
    };
    let (first, fetched) = night();
    assert!(fetched >= 4 * 17, "{fetched}");
    assert_eq!(first.stderr.matches("there is no base").count(), 4, "{}", first.stderr);
    assert_eq!(restic.kept(), 5);
    let (second, fetched) = night();
    assert_eq!(fetched, 0, "{}", second.stderr);
    assert_eq!(restic.kept(), 10);
    let stream = |which: &str| {
        let list = run(restic.command(&["snapshots", "--json", "--tag", which])).expect(0).stdout;
        let list: Vec<Value> = serde_json::from_slice(&list).unwrap();
        assert_eq!(list.len(), 2, "{which}");
        let dump = |snapshot: &Value| {
            let id = text(snapshot, "short_id");
            run(restic.command(&["dump", id, &format!("{which}.tar")])).expect(0).stdout
        };
        let (one, two) = (dump(&list[0]), dump(&list[1]));
        assert!(one == two, "the same content is the same bytes: {which}");
        verify(&one);
        one
    };
    let last = Archive::new(&stream("_tenant"));
    for line in json_lines(&last.member("directory/streams.ndjson").unwrap().content) {
        stream(&text(&line, "userPrincipalName").to_lowercase());
    }
}

#[test]
fn borg_takes_them_one_after_the_other() {
    let tenant = Tenant::start(Options { special_users: false, ..small() });
    let borg = Borg::new();
    let engine = "borg import-tar ::{name} -";
    let mut command = tenant.tar365(&["export", "--each", engine, "--streams", "1"]);
    command.env("PATH", tool("borg").get_envs().find(|(k, _)| *k == "PATH").unwrap().1.unwrap());
    run(borg.known_to(command)).expect(0);
    let mut kept = borg.list(&["--short"]);
    kept.sort_unstable();
    assert_eq!(kept.len(), 5);
    assert_eq!(kept[0], "_tenant");
}

#[test]
fn an_engine_that_fails_costs_its_own_stream_only() {
    let tenant = Tenant::start(small());
    let whole = TempDir::new().unwrap();
    run(each(&tenant, whole.path(), &[STORE])).expect(0);
    let whole = streams(whole.path());
    let name = whole.keys().find(|name| name.starts_with("anna")).unwrap();
    let out = TempDir::new().unwrap();
    let store = STORE.replace("cat >", "case $TAR365_NAME in anna*) exit 7;; esac; cat >");
    let report = out.path().join("report");
    let failed =
        run(each(&tenant, out.path(), &[&store, "--report", report.to_str().unwrap()])).expect(1);
    assert!(failed.stderr.contains(&format!("{name} is not stored")), "{}", failed.stderr);
    let mut stored = streams(out.path());
    assert!(stored.insert(name.clone(), whole[name].clone()).is_none());
    assert!(stored == whole);
    let last = last(out.path());
    let line = told(out.path()).into_iter().find(|line| text(line, "outcome") == "failed").unwrap();
    assert_eq!(line["seal"], Value::Null);
    let ledger = last.ledger();
    let scope = ledger.iter().find(|line| text(line, "cause") == "stream").unwrap();
    assert_eq!((text(scope, "scope"), text(scope, "outcome")), (text(&line, "path"), "failed"));
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["exit_code"], 1);
    assert_eq!(report["streams"]["failed"], 1);
    assert_eq!(report["streams"]["named"], serde_json::json!([name]));
    assert_eq!(report["summary"]["sealed"], false);
}

/// What the machine lacks for one stream it may have for the next. A loop of links is nothing that
/// a user gets wrong for all.
#[test]
fn an_engine_that_can_not_be_started_now_costs_its_own_stream_only() {
    let tenant = Tenant::start(small());
    let whole = TempDir::new().unwrap();
    run(each(&tenant, whole.path(), &[STORE])).expect(0);
    let whole = streams(whole.path());
    let (out, engines) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = engines.path().join("_tenant");
    let script = format!("#!/bin/sh\nexec {STORE}\n");
    std::fs::write(&store, script).unwrap();
    std::fs::set_permissions(&store, PermissionsExt::from_mode(0o700)).unwrap();
    let of = |name: &String| engines.path().join(name);
    for name in whole.keys() {
        let target = if name.starts_with("anna") { of(name) } else { store.clone() };
        symlink(target, of(name)).unwrap();
    }
    let engine = format!("'{}/{{name}}'", engines.path().display());
    let failed = run(each(&tenant, out.path(), &[&engine])).expect(1);
    assert!(failed.stderr.contains("1 of"), "{}", failed.stderr);
    let mut stored = streams(out.path());
    stored.extend(whole.iter().find(|(name, _)| name.starts_with("anna")).map(owned));
    assert!(stored == whole);
    last(out.path());
}

fn owned((name, stream): (&String, &Vec<u8>)) -> (String, Vec<u8>) {
    (name.clone(), stream.clone())
}

#[test]
fn a_stream_with_too_much_missing_is_partial() {
    let tenant = Tenant::start(small());
    tenant.simulator.set_faults(vec!["corrupt:rate=1".parse::<Fault>().unwrap()]);
    let out = TempDir::new().unwrap();
    let partial = run(each(&tenant, out.path(), &[STORE])).expect(3);
    assert!(partial.stderr.contains("more is missing than tolerated"), "{}", partial.stderr);
    assert!(told(out.path()).iter().any(|line| text(line, "outcome") == "partial"));
    run(each(&tenant, out.path(), &[STORE, "--allow-partial"])).expect(0);
}

#[test]
fn a_service_that_goes_away_ends_all_and_nothing_torn_is_kept() {
    let tenant = Tenant::start(Options { latency: Duration::from_millis(5), ..small() });
    let out = TempDir::new().unwrap();
    let fault = "unavailable:rate=1,after=60".parse::<Fault>().unwrap();
    tenant.simulator.set_faults(vec![fault]);
    run(each(&tenant, out.path(), &[STORE, "--patience", "2s"])).expect(75);
    for (name, stream) in streams(out.path()) {
        assert!(!stream.is_empty(), "{name}");
        verify(&stream);
    }
    let told = told(out.path());
    assert!(told.iter().any(|line| text(line, "outcome") == "failed"));
    assert!(told.iter().any(|line| text(line, "outcome") == "not-begun"));
}

#[test]
fn told_to_stop_it_ends_all_engines_before_their_input_ends() {
    let tenant = Tenant::start(Options {
        users: 8,
        mails: 2_000,
        files: 0,
        special_users: false,
        latency: Duration::from_millis(50),
        ..Options::default()
    });
    let out = TempDir::new().unwrap();
    let mut command = each(&tenant, out.path(), &[STORE, "--streams", "8"]);
    let mut child = command.spawn().unwrap();
    wait_until(LONG, "all streams are under way", || {
        children(child.id(), "sh").len() == 8
            && tenant.simulator.log().count(|request| request.path.ends_with("/$value")) >= 40
    });
    let start = Instant::now();
    send(child.id(), Signal::TERM);
    assert_eq!(ends(&mut child, LONG), 143);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(streams(out.path()).is_empty(), "a torn stream is kept");
}

/// All owners' streams are stored, and yet the run was not done.
#[test]
fn told_to_stop_while_the_last_engine_stores_it_says_so() {
    let tenant = Tenant::start(Options { users: 1, special_users: false, ..small() });
    let out = TempDir::new().unwrap();
    let store = STORE.replace("&& mv", "&& touch $OUT/came && sleep 1 && mv");
    let report = out.path().join("report");
    let mut command = each(&tenant, out.path(), &[&store, "--report", report.to_str().unwrap()]);
    let mut child = command.spawn().unwrap();
    wait_until(LONG, "all has come", || out.path().join("came").exists());
    send(child.id(), Signal::TERM);
    assert_eq!(ends(&mut child, LONG), 143);
    assert_eq!(streams(out.path()).len(), 1);
    assert!(!out.path().join("_tenant.tar").exists());
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["exit_code"], 143);
    assert_eq!(report["summary"]["sealed"], false);
}
