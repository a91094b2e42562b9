//! Programs that an export runs: they are ended with all that they have started, they can ask on a
//! terminal, and what is written for them is for nobody else.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use simulator::Options;
use tempfile::TempDir;

use crate::harness::{Tenant, children, ends, run, send, wait_until};

const LONG: Duration = Duration::from_secs(60);
/// How long tar365 may take to end (design 5).
const GRACE: Duration = Duration::from_secs(10);
/// Keeps what it was given to the end, behind another program.
const PIPELINE: &str = r#"sh -c 'cat | (cat > "$OUT/.came"; mv "$OUT/.came" "$OUT/m365.tar")'"#;
/// As a scheduler runs it.
const ALONE: &str = "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])";
/// As a person does.
const ON_A_TERMINAL: &str = "import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

fn small() -> Options {
    Options { users: 1, special_users: false, mails: 12, files: 4, ..Options::default() }
}

/// A tenant whose export takes long.
fn slow() -> Options {
    Options { mails: 2_000, files: 0, latency: Duration::from_millis(50), ..small() }
}

/// An export into an engine, under the program of python.
fn export(tenant: &Tenant, place: &str, out: &Path, engine: &str) -> Command {
    let export = tenant.tar365(&["export", "--progress", "none", "--to-command", engine]);
    let mut command = Command::new("python3");
    command.args(["-c", place]).arg(export.get_program()).args(export.get_args());
    command.stdin(Stdio::null()).stdout(Stdio::null()).env("OUT", out);
    tenant.known_to(command)
}

/// Those that live and know this folder.
fn left(out: &Path) -> usize {
    let known = format!("OUT={}", out.display());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let environments = entries.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
    let knows = |all: &Vec<u8>| all.split(|byte| *byte == 0).any(|one| one == known.as_bytes());
    environments.filter(knows).count()
}

/// The export that python runs, or has become.
fn exporter(child: &Child) -> u32 {
    let is_it = |id: u32| {
        let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        name.trim() == "tar365"
    };
    let mut found = None;
    wait_until(LONG, "the export has started", || {
        let below = children(child.id(), "tar365").pop();
        found = below.or_else(|| is_it(child.id()).then_some(child.id()));
        found.is_some()
    });
    found.unwrap()
}

fn under_way(tenant: &Tenant) {
    wait_until(LONG, "the export is under way", || {
        tenant.simulator.log().count(|request| request.path.ends_with("/$value")) >= 40
    });
}

#[test]
fn an_engine_is_ended_with_all_that_it_has_started() {
    for place in [ALONE, ON_A_TERMINAL] {
        let (tenant, out) = (Tenant::start(slow()), TempDir::new().unwrap());
        let mut child = export(&tenant, place, out.path(), PIPELINE).spawn().unwrap();
        let exporter = exporter(&child);
        under_way(&tenant);
        assert!(out.path().join(".came").exists());
        send(exporter, Signal::TERM);
        assert_eq!(ends(&mut child, GRACE), 143, "{place}");
        wait_until(LONG, "nobody is left", || left(out.path()) == 0);
        assert!(!out.path().join("m365.tar").exists(), "a torn stream is kept: {place}");
    }
}

/// One that waits for something when it has all, and one that has not.
#[test]
fn an_engine_that_hears_nothing_is_ended_all_the_same() {
    for (is_whole, engine) in [
        (true, r#"bash -c 'trap "" TERM; cat > /dev/null; touch "$OUT/all"; sleep 1000'"#),
        (false, r#"bash -c 'trap "" TERM; sleep 1000 | cat; true'"#),
    ] {
        let options = if is_whole { small() } else { slow() };
        let (tenant, out) = (Tenant::start(options), TempDir::new().unwrap());
        let mut child = export(&tenant, ALONE, out.path(), engine).spawn().unwrap();
        match is_whole {
            true => wait_until(LONG, "it has all", || out.path().join("all").exists()),
            false => under_way(&tenant),
        }
        send(child.id(), Signal::TERM);
        assert_eq!(ends(&mut child, GRACE), 143, "{engine}");
        assert_eq!(left(out.path()), 0, "{engine}");
    }
}

/// Who is not in the group in front is stopped when he asks on the terminal.
#[test]
fn an_engine_can_ask_on_the_terminal() {
    let (tenant, out) = (Tenant::start(small()), TempDir::new().unwrap());
    let engine = r#"sh -c 'read word < /dev/tty; cat > /dev/null; test "$word" = sesame'"#;
    let mut command = export(&tenant, ON_A_TERMINAL, out.path(), engine);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut person = child.stdin.take().unwrap();
    person.write_all(b"sesame\n").unwrap();
    assert_eq!(ends(&mut child, LONG), 0);
}

#[test]
fn a_partial_copy_is_for_nobody_else() {
    let (tenant, out) = (Tenant::start(small()), TempDir::new().unwrap());
    let copy = out.path().join("copy.tar");
    let mode = || std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777;
    for is_there in [false, true] {
        if is_there {
            std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o644)).unwrap();
        }
        let path = copy.to_str().unwrap();
        let engine = ["--to-command", "head -c 5000", "--partial-copy", path];
        tenant.export(&engine).expect(74);
        assert!(copy.metadata().unwrap().len() > 0);
        assert_eq!(mode(), 0o600, "it was there: {is_there}");
    }
}

#[test]
fn that_limits_are_not_shared_is_said() {
    let tenant = Tenant::start(small());
    let mut command = tenant.tar365(&["export", "--pace-dir", "/dev/null"]);
    command.env("TAR365_PACE", "adaptive");
    let told = run(command).expect(0);
    assert!(told.stderr.contains("limits are not shared"), "{}", told.stderr);
}
