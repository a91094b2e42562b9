//! Backup engines take the stream and give it back, every byte; what is torn is never kept where
//! an engine can be told.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use simulator::{Fault, Options};
use tempfile::TempDir;

use crate::harness::{
    Archive, Run, Tenant, children, corpus, ends, files_below, run, run_with, runs, send, sha256,
    tar365, tool, verify, wait_until,
};

/// How long anything may take that should take a second.
const LONG: Duration = Duration::from_secs(60);
/// How long tar365 may take to end (design 5).
const GRACE: Duration = Duration::from_secs(10);

fn small() -> Options {
    Options { users: 2, mails: 40, files: 20, ..Options::default() }
}

/// A tenant whose export takes half a minute.
fn slow() -> Options {
    Options {
        users: 1,
        mails: 2_000,
        files: 0,
        special_users: false,
        latency: Duration::from_millis(50),
        ..Options::default()
    }
}

/// Waits until contents have been asked for; so the head is written and the end is far.
fn under_way(tenant: &Tenant) {
    wait_until(LONG, "the export is under way", || {
        tenant.simulator.log().count(|request| request.path.ends_with("/$value")) >= 40
    });
}

/// A shell's script in which `$TAR365` is the binary and the engine knows its repository.
pub fn script(tenant: &Tenant, engine: &impl Engine, text: &str) -> Command {
    let mut command = tool("bash");
    command.args(["-euc", text]);
    engine.known_to(tenant.known_to(command))
}

/// An engine with a repository that goes away with it.
pub trait Engine {
    fn known_to(&self, command: Command) -> Command;

    /// What it keeps, checkpoints included.
    fn kept(&self) -> usize;
}

pub struct Restic(TempDir);

impl Restic {
    pub fn new() -> Self {
        let restic = Self(TempDir::new().unwrap());
        run(restic.command(&["--quiet", "init"])).expect(0);
        restic
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tool("restic");
        command.args(arguments);
        self.known_to(command)
    }

    /// The stream as the repository gives it back.
    fn dump(&self) -> Vec<u8> {
        run(self.command(&["dump", "latest", "m365.tar"])).expect(0).stdout
    }
}

impl Engine for Restic {
    fn known_to(&self, mut command: Command) -> Command {
        command
            .env("RESTIC_REPOSITORY", self.0.path().join("repository"))
            .env("RESTIC_CACHE_DIR", self.0.path().join("cache"))
            .env("RESTIC_PASSWORD", "of no worth");
        command
    }

    fn kept(&self) -> usize {
        let list = run(self.command(&["snapshots", "--json", "--no-lock"])).expect(0).stdout;
        serde_json::from_slice::<Vec<Value>>(&list).unwrap().len()
    }
}

pub struct Borg(TempDir);

impl Borg {
    pub fn new() -> Self {
        let borg = Self(TempDir::new().unwrap());
        run(borg.command(&["init", "--encryption=none"])).expect(0);
        borg
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tool("borg");
        command.args(arguments);
        self.known_to(command)
    }

    pub fn list(&self, arguments: &[&str]) -> Vec<String> {
        let list = run(self.command(&[&["list"], arguments].concat())).expect(0).stdout;
        String::from_utf8(list).unwrap().lines().map(str::to_owned).collect()
    }

    /// Unpacks a folder's worth of the archive `m365`.
    fn extract(&self, paths: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let into = TempDir::new().unwrap();
        let mut command = self.command(&[&["extract", "::m365"], paths].concat());
        command.current_dir(into.path());
        let silent = run(command).expect(0);
        assert_eq!(silent.stderr, "");
        files_below(into.path())
    }
}

impl Engine for Borg {
    fn known_to(&self, mut command: Command) -> Command {
        command
            .env("BORG_REPO", self.0.path().join("repository"))
            .env("BORG_BASE_DIR", self.0.path().join("base"))
            .env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        command
    }

    fn kept(&self) -> usize {
        self.list(&["--short", "--consider-checkpoints"]).len()
    }
}

const RESTIC_PIPE: &str =
    r#""$TAR365" export | restic --quiet backup --stdin --stdin-filename m365.tar"#;
const RESTIC_COMMAND: &str =
    r#"restic --quiet backup --stdin-filename m365.tar --stdin-from-command -- "$TAR365" export"#;
const RESTIC_TO_COMMAND: &str = r#""$TAR365" export \
    --to-command 'restic --quiet backup --stdin --stdin-filename m365.tar'"#;
const BORG_PIPE: &str = r#""$TAR365" export | borg import-tar ::m365 -"#;
const BORG_COMMAND: &str = r#""$TAR365" export --to-command 'borg import-tar ::m365 -'"#;

/// The files of an archive, as an extraction of it should be.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let files = Archive::new(archive).members.into_iter().filter(|member| !member.is_directory);
    let mut files: BTreeMap<_, _> = files.map(|member| (member.path, member.content)).collect();
    // Our reader keeps the seal to itself; it is the last member, before two empty blocks.
    let seal = &archive[archive.len() - 1024 - 4096..archive.len() - 1024];
    files.insert(archive::SEAL_PATH.to_owned(), seal.to_vec());
    files
}

#[track_caller]
fn equal(got: &BTreeMap<String, Vec<u8>>, wanted: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(got.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (path, content) in wanted {
        assert!(got[path] == *content, "{path} is another");
    }
}

#[test]
fn restic_gives_back_what_a_pipe_or_a_command_gave_it() {
    let tenant = Tenant::start(small());
    for demo in [false, true] {
        let whole = if demo { &["export", "--demo"][..] } else { &["export"] };
        let whole = run(tenant.whole(whole)).expect(0).stdout;
        for way in [RESTIC_PIPE, RESTIC_COMMAND, RESTIC_TO_COMMAND] {
            let demo = if demo { "export --demo" } else { "export" };
            let way = way.replace("export", demo);
            let restic = Restic::new();
            run(script(&tenant, &restic, &way)).expect(0);
            assert!(restic.dump() == whole, "{way}: restic gives back other bytes");
            let check = r#"set -o pipefail; restic dump latest m365.tar | "$TAR365" verify -"#;
            run(script(&tenant, &restic, check)).expect(0);
        }
    }
}

#[test]
fn borg_gives_back_what_a_pipe_or_a_command_gave_it() {
    let tenant = Tenant::start(small());
    let whole = run(tenant.whole(&["export"])).expect(0).stdout;
    let files = files(&whole);
    let mail = files.keys().rfind(|path| path.ends_with(".eml")).unwrap();
    for way in [BORG_PIPE, BORG_COMMAND] {
        let borg = Borg::new();
        run(script(&tenant, &borg, way)).expect(0);
        assert_eq!(borg.list(&["--short"]), ["m365"]);
        let one = borg.extract(&[mail]);
        equal(&one, &BTreeMap::from([(mail.clone(), files[mail].clone())]));
        equal(&borg.extract(&[]), &files);
    }
}

#[test]
fn real_mails_and_files_come_back_from_restic_and_borg() {
    let Some(corpus) = corpus() else { return };
    // The list of digests that came with the files, not what we read ourselves.
    let list = std::fs::read_to_string(corpus.join("MANIFEST.tsv")).unwrap();
    let listed: Vec<(&str, &str)> = list
        .lines()
        .skip(1)
        .map(|line| line.split('\t'))
        .map(|mut fields| (fields.next().unwrap(), fields.next().unwrap()))
        .filter(|(path, _)| corpus.join(path).is_file())
        .collect();
    let malformed = listed.iter().filter(|(path, _)| path.contains("malformed")).count();
    assert!(listed.len() > 300 && malformed > 10, "{} and {malformed}", listed.len());

    let tenant = Tenant::start(Options { content: Some(corpus), ..Options::default() });
    let complete = |files: &BTreeMap<String, Vec<u8>>| {
        let mut mails: BTreeMap<String, usize> = BTreeMap::new();
        let mut others: BTreeMap<&str, String> = BTreeMap::new();
        for (path, content) in files.iter().filter(|(path, _)| path.starts_with("users/")) {
            if let Some((_, path)) = path.split_once("/onedrive/") {
                others.insert(path, sha256(content));
            } else if path.contains("/mail/") {
                *mails.entry(sha256(content)).or_default() += 1;
            }
        }
        for (path, digest) in &listed {
            if path.ends_with(".eml") {
                let copies = mails.get_mut(*digest).unwrap_or_else(|| panic!("{path} is lost"));
                *copies =
                    copies.checked_sub(1).unwrap_or_else(|| panic!("a copy of {path} is lost"));
            } else {
                assert_eq!(others.get(path).map(String::as_str), Some(*digest), "{path}");
            }
        }
        assert!(mails.values().all(|left| *left == 0), "there are mails that nobody sent");
    };

    let restic = Restic::new();
    run(script(&tenant, &restic, RESTIC_COMMAND)).expect(0);
    let stored = restic.dump();
    verify(&stored);
    complete(&files(&stored));

    let borg = Borg::new();
    run(script(&tenant, &borg, BORG_COMMAND)).expect(0);
    let unpacked = borg.extract(&[]);
    equal(&unpacked, &files(&stored));
    complete(&unpacked);
}

/// Ways in which a run fails for good when half of the work is done, and the code that tells it.
/// The token becomes worthless; the service stays away; the host is not reachable any more.
const FATAL: [(&str, i32); 3] = [
    ("token-expiry:rate=1,after=260", 77),
    ("unavailable:rate=1,after=260", 75),
    ("reset:rate=1,after=260", 75),
];

/// Makes the service fail for good after as many requests as the fault says, counted from now.
fn break_down(tenant: &Tenant, fault: &str) {
    tenant.simulator.set_faults(vec![fault.parse::<Fault>().unwrap()]);
}

fn refused_by_verify(torn: &[u8]) {
    let refusal = run_with(tar365(&["verify", "-"]), torn).expect(1);
    assert!(!refusal.stderr.contains("panicked"), "{}", refusal.stderr);
    assert_ne!(refusal.stderr, "");
}

#[test]
fn a_failing_export_leaves_nothing_in_a_repository() {
    let tenant = Tenant::start(small());
    let torn = |command: Command| {
        let mut command = command;
        command.env("TAR365_PATIENCE", "2s");
        command
    };
    for (fault, code) in FATAL {
        break_down(&tenant, fault);
        let plain = run(torn(tenant.tar365(&["export"]))).expect(code);
        let poison = b".tar365/EXPORT-FAILED";
        assert!(plain.stdout.windows(poison.len()).any(|window| window == poison), "{fault}");
        assert!(plain.stdout.len() > 100_000, "{fault}: too early to prove anything");
        refused_by_verify(&plain.stdout);

        let restic = Restic::new();
        break_down(&tenant, fault);
        let run_by_restic = run(torn(script(&tenant, &restic, RESTIC_COMMAND)));
        assert_ne!(run_by_restic.code, 0, "{fault}");
        break_down(&tenant, fault);
        run(torn(script(&tenant, &restic, RESTIC_TO_COMMAND))).expect(code);
        assert_eq!(restic.kept(), 0, "{fault}: restic keeps a torn stream");

        let borg = Borg::new();
        break_down(&tenant, fault);
        run(torn(script(&tenant, &borg, BORG_COMMAND))).expect(code);
        assert_eq!(borg.kept(), 0, "{fault}: borg keeps a torn stream");

        // Behind a pipe restic can't know. verify does.
        break_down(&tenant, fault);
        run(torn(script(&tenant, &restic, RESTIC_PIPE))).expect(0);
        assert_eq!(restic.kept(), 1);
        refused_by_verify(&restic.dump());

        // The poison works on borg behind a pipe, too.
        break_down(&tenant, fault);
        assert_ne!(run(torn(script(&tenant, &borg, BORG_PIPE))).code, 0, "{fault}");
        assert_eq!(borg.kept(), 0, "{fault}: borg keeps a torn stream from a pipe");
    }
}

#[test]
fn an_export_that_never_begins_leaves_nothing_in_a_repository() {
    let tenant = Tenant::start(small());
    let (restic, borg) = (Restic::new(), Borg::new());
    let wrong = |mut command: Command| {
        command.env("TAR365_CLIENT_SECRET", "not the secret");
        run(command)
    };
    assert_ne!(wrong(script(&tenant, &restic, RESTIC_COMMAND)).code, 0);
    wrong(script(&tenant, &borg, BORG_COMMAND)).expect(77);
    // Not even when the selection is what is wrong, or the spool.
    let also = format!("{BORG_COMMAND} --user nobody@nowhere");
    run(script(&tenant, &borg, &also)).expect(2);
    let also = format!("{BORG_COMMAND} --spool-dir /nowhere/at/all");
    run(script(&tenant, &borg, &also)).expect(2);
    assert_eq!((restic.kept(), borg.kept()), (0, 0));
}

/// Starts a script whose output nobody needs.
fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The only child of that name.
#[track_caller]
fn child(of: u32, name: &str) -> u32 {
    let mut found = Vec::new();
    wait_until(LONG, &format!("{of} has started {name}"), || {
        found = children(of, name);
        !found.is_empty()
    });
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}

#[test]
fn a_killed_export_leaves_no_snapshot() {
    let tenant = Tenant::start(slow());
    let restic = Restic::new();
    let mut engine = start(script(&tenant, &restic, &format!("exec {RESTIC_COMMAND}")));
    let export = child(engine.id(), "tar365");
    under_way(&tenant);
    send(export, Signal::KILL);
    assert_ne!(ends(&mut engine, LONG), 0);
    assert_eq!(restic.kept(), 0);
    assert!(!runs(export));
}

#[test]
fn a_killed_restic_takes_the_export_with_it() {
    for signal in [Signal::KILL, Signal::TERM, Signal::INT] {
        let tenant = Tenant::start(slow());
        let restic = Restic::new();
        let mut engine = start(script(&tenant, &restic, &format!("exec {RESTIC_COMMAND}")));
        let export = child(engine.id(), "tar365");
        under_way(&tenant);
        send(engine.id(), signal);
        assert_ne!(ends(&mut engine, LONG), 0);
        wait_until(GRACE, "the orphan has ended", || !runs(export));
        assert_eq!(restic.kept(), 0);
    }
}

#[test]
fn a_killed_export_behind_a_pipe_is_refused_by_verify() {
    let tenant = Tenant::start(slow());
    let restic = Restic::new();
    let mut shell = start(script(&tenant, &restic, RESTIC_PIPE));
    let export = child(shell.id(), "tar365");
    under_way(&tenant);
    send(export, Signal::KILL);
    assert_eq!(ends(&mut shell, LONG), 0);
    assert_eq!(restic.kept(), 1, "restic takes any end for the end");
    let torn = restic.dump();
    refused_by_verify(&torn);
    // What came through is not lost.
    let into = TempDir::new().unwrap();
    let mut salvage = tar365(&["extract", "-", "--incomplete", "-C"]);
    salvage.arg(into.path());
    run_with(salvage, &torn).expect(0);
    assert!(files_below(into.path()).keys().any(|path| path.ends_with(".eml")));
}

/// Nobody ends borg when the export is killed. Most cuts it notices itself; where it takes one for
/// the end, the archive that it keeps has no seal.
#[test]
fn a_killed_export_leaves_no_sealed_archive_in_borg() {
    let tenant = Tenant::start(slow());
    let borg = Borg::new();
    let mut export = start(script(&tenant, &borg, &format!("exec {BORG_COMMAND}")));
    let engine = child(export.id(), "borg");
    under_way(&tenant);
    send(export.id(), Signal::KILL);
    assert_eq!(ends(&mut export, LONG), -9);
    wait_until(LONG, "borg has ended", || !runs(engine));
    if borg.kept() > 0 {
        let kept = borg.list(&["--format", "{path}{NL}", "::m365"]);
        assert!(!kept.iter().any(|path| path == archive::SEAL_PATH));
    }
}

#[test]
fn an_interrupted_export_leaves_no_archive_in_borg() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let tenant = Tenant::start(slow());
        let borg = Borg::new();
        let mut export = start(script(&tenant, &borg, &format!("exec {BORG_COMMAND}")));
        let engine = child(export.id(), "borg");
        under_way(&tenant);
        send(export.id(), signal);
        assert_eq!(ends(&mut export, GRACE), code);
        assert!(!runs(engine), "borg outlives the export");
        assert_eq!(borg.kept(), 0);
    }
}

#[test]
fn an_interrupted_export_says_so_in_its_data() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let tenant = Tenant::start(slow());
        let mut command = tenant.tar365(&["export"]);
        let mut export = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = export.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            stdout.read_to_end(&mut all).unwrap();
            all
        });
        under_way(&tenant);
        let sent = Instant::now();
        send(export.id(), signal);
        assert_eq!(ends(&mut export, GRACE), code);
        // Nothing is in the way here.
        assert!(sent.elapsed() < Duration::from_secs(3), "{:?}", sent.elapsed());
        let torn = reader.join().unwrap();
        refused_by_verify(&torn);
        let unpacked = run_with(into_nowhere("tar"), &torn);
        assert_ne!(unpacked.code, 0, "GNU tar takes a torn stream for a whole one");
    }
}

fn into_nowhere(program: &str) -> Command {
    let mut command = tool(program);
    command.args(["-xOf", "-"]);
    command
}

#[test]
fn a_blocked_consumer_does_not_keep_the_export_from_ending() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        // More than pipe and spool hold.
        let tenant = Tenant::start(Options { big_file: Some(200 << 20), ..small() });
        let mut command = tenant.tar365(&["export", "--spool-limit", "10MB"]);
        let mut export = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        stands_still(&tenant);
        send(export.id(), signal);
        assert_eq!(ends(&mut export, GRACE), code);
        let mut torn = Vec::new();
        export.stdout.take().unwrap().read_to_end(&mut torn).unwrap();
        assert!(!torn.is_empty());
        refused_by_verify(&torn);
        let mut said = String::new();
        export.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("interrupted") && !said.contains("panicked"), "{said}");
    }
}

/// Waits until nothing has been asked for a second.
fn stands_still(tenant: &Tenant) {
    let (mut before, mut since) = (0, Instant::now());
    wait_until(LONG, "the export stands still", || {
        let now = tenant.simulator.log().counts().requests;
        if now != before {
            (before, since) = (now, Instant::now());
        }
        now > 0 && since.elapsed() > Duration::from_secs(1)
    });
}

#[test]
fn a_blocked_engine_is_ended_with_the_export() {
    let tenant = Tenant::start(small());
    let mut command = tenant.tar365(&["export", "--to-command", "sleep 1000"]);
    let mut export = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let engine = child(export.id(), "sleep");
    stands_still(&tenant);
    send(export.id(), Signal::TERM);
    assert_eq!(ends(&mut export, GRACE), 143);
    assert!(!runs(engine), "the engine outlives the export");
}

#[test]
fn an_engine_that_ignores_sigterm_is_ended_with_the_export() {
    let tenant = Tenant::start(small());
    let stubborn = r#"bash -c 'trap "" TERM; while true; do read -t 1 < /dev/zero || true; done'"#;
    let mut command = tenant.tar365(&["export", "--to-command", stubborn]);
    let mut export = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let engine = child(export.id(), "bash");
    stands_still(&tenant);
    send(export.id(), Signal::TERM);
    assert_eq!(ends(&mut export, GRACE), 143);
    assert!(!runs(engine), "the engine outlives the export");
}

/// A consumer that goes away has its own code and a word about it; nothing panics.
#[track_caller]
fn consumer_gone(run: Run) {
    let run = run.expect(74);
    assert!(run.stderr.contains("error"), "{}", run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
}

#[test]
fn a_consumer_that_goes_away_is_code_74() {
    let tenant = Tenant::start(small());
    for limit in ["0", "1", "100000"] {
        for compress in ["", "--compress zstd", "--compress gzip"] {
            let text = format!(
                r#"set +e; "$TAR365" export {compress} | head -c {limit} >/dev/null
                exit "${{PIPESTATUS[0]}}""#
            );
            let mut command = tool("bash");
            command.args(["-c", &text]);
            consumer_gone(run(tenant.known_to(command)));
        }
    }
    for engine in ["head -c 100000", "false", "true", "bash -c 'cat >/dev/null; exit 9'"] {
        consumer_gone(tenant.export(&["--to-command", engine]));
    }
    tenant.export(&["--to-command", "bash -c 'cat >/dev/null'"]).expect(0);
    tenant.export(&["--to-command", "there-is-no-such-engine"]).expect(2);
}

#[test]
fn the_secret_is_not_the_engines_business() {
    let tenant = Tenant::start(Options { mails: 1, files: 0, users: 1, ..Options::default() });
    let command = "bash -c 'cat >/dev/null; env | grep -c ^TAR365_CLIENT_SECRET= >&2; true'";
    let run = tenant.export(&["--to-command", command]).expect(0);
    assert!(run.stderr.lines().any(|line| line == "0"), "{}", run.stderr);
}

/// Runs an example of ours twice, into a new repository and an old one; and once when it fails.
fn example(name: &str, engine: &impl Engine) {
    let tenant = Tenant::start(small());
    let files = files(&run(tenant.whole(&["export"])).expect(0).stdout);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let command = |restored: &Path| {
        let mut command = tool("bash");
        command.arg(&path).env("RESTORE_TO", restored);
        engine.known_to(tenant.known_to(command))
    };
    for times in 1..=2 {
        let restored = TempDir::new().unwrap();
        let done = run(command(restored.path())).expect(0);
        let one = files_below(restored.path());
        let (mail, content) = one.iter().next().unwrap();
        assert_eq!(one.len(), 1);
        assert!(mail.ends_with(".eml") && files[mail] == *content, "{mail}");
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(said.contains("restored"), "{said}");
        assert_eq!(engine.kept(), times);
        // Archives are named by the second.
        std::thread::sleep(Duration::from_millis(1_100));
    }
    break_down(&tenant, "unavailable:rate=1,after=70");
    let restored = TempDir::new().unwrap();
    let mut failing = command(restored.path());
    failing.env("TAR365_PATIENCE", "2s");
    assert_ne!(run(failing).code, 0);
    assert_eq!(engine.kept(), 2);
    assert_eq!(files_below(restored.path()).len(), 0);
}

#[test]
fn the_restic_example_works() {
    example("restic.sh", &Restic(TempDir::new().unwrap()));
}

#[test]
fn the_borg_example_works() {
    example("borg.sh", &BorgWithKey(Borg(TempDir::new().unwrap())));
}

/// The example makes an encrypted repository.
struct BorgWithKey(Borg);

impl Engine for BorgWithKey {
    fn known_to(&self, command: Command) -> Command {
        let mut command = self.0.known_to(command);
        command.env("BORG_PASSPHRASE", "of no worth");
        command
    }

    fn kept(&self) -> usize {
        let mut list = tool("borg");
        list.args(["list", "--short", "--consider-checkpoints"]);
        let list = run(self.known_to(list)).expect(0).stdout;
        String::from_utf8(list).unwrap().lines().count()
    }
}
