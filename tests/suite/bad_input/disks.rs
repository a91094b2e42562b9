//! Disks that are full, and consumers that go away.

use super::*;

/// Runs `tar365` where no file may grow beyond `blocks` of 1,024 bytes. The disk is full then,
/// also for who is not root and can't mount a small one.
fn on_a_small_disk(command: &Command, blocks: u32) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""), "bash"]);
    shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// A small file system, for as long as this lives. Only root can have one.
struct Mount(PathBuf);

impl Mount {
    fn new(dir: &Path, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(dir.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// The spool fills up in the middle of a file: poison, exit code 1, no file left behind.
#[test]
fn a_full_disk_in_the_spool() {
    let tenant = Tenant::start(Options { big_file: Some(90 << 20), ..small() });
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let report = dir.path().join("report.json");
    let metrics = dir.path().join("metrics.prom");
    let arguments = [
        "export",
        "--progress",
        "none",
        "--spool-dir",
        spool.to_str().unwrap(),
        "--spool-limit",
        "1GiB",
        "--report",
        report.to_str().unwrap(),
        "--metrics",
        metrics.to_str().unwrap(),
    ];
    let check = |done: &Run| {
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert_message(done, &["spool", spool.to_str().unwrap()], Some("--spool-dir"));
        assert_no_secret_in_log(done);
        assert_poisoned(&done.stdout);
        assert_reported(&report, &metrics, 1);
        assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0, "a file is left in the spool");
        std::fs::remove_file(&report).unwrap();
        std::fs::remove_file(&metrics).unwrap();
    };
    check(&run(on_a_small_disk(&tenant.tar365(&arguments), 60 * 1024)));
    if let Some(_mount) = Mount::new(&spool, "30m") {
        let done = run(tenant.tar365(&arguments));
        check(&Run {
            // That the spool is in memory is worth a warning, not an error.
            stderr: done.stderr.replace("warning: the spool", "warning: the temporary"),
            ..done
        });
    } else {
        eprintln!("*** NOT TESTED on a full tmpfs: mount needs root ***");
    }
    // With so little room that not even the list of what there is fits.
    let done = run(on_a_small_disk(&tenant.tar365(&arguments), 4));
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert_message(&done, &[spool.to_str().unwrap()], Some("--spool-dir"));
    run_with(tar365(&["verify", "-"]), &done.stdout).expect(1);
}

/// The list of members has no more room when a member has just ended: a plain end there is a good
/// archive to most readers.
#[test]
fn a_full_disk_below_the_manifest() {
    let tenant = Tenant::start(Options { users: 24, mails: 20, files: 0, ..small() });
    let spool = tempfile::tempdir().unwrap();
    let path = spool.path().to_str().unwrap();
    // So little ahead of its turn that all of that is in memory.
    let few = ["--service", "mail", "--concurrency", "4"];
    let arguments = ["export", "--progress", "none", "--spool-dir", path];
    let export = tenant.tar365(&[&arguments[..], &few].concat());
    let done = run(on_a_small_disk(&export, 66)).expect(1);
    assert_message(&done, &["archive", path, "File too large"], Some("--spool-dir"));
    assert_poisoned(&done.stdout);
}

#[test]
fn a_full_disk_in_the_output() {
    let tenant = tenant(Credentials::default());
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = tenant.tar365(&["export", "--progress", "none"]);
    command.stdout(full()).stderr(Stdio::piped());
    let done = run_as_it_is(command).expect(1);
    assert_message(&done, &["output", "No space left"], None);
    let done = tenant.export(&["--progress", "none", "--output", "/dev/full"]).expect(1);
    assert_message(&done, &["output", "No space left"], None);
    // A file appears when it is whole, so not at all.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.tar");
    let export =
        tenant.tar365(&["export", "--progress", "none", "--output", file.to_str().unwrap()]);
    let done = run(on_a_small_disk(&export, 64)).expect(1);
    assert_message(&done, &["File too large"], None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something is left");
}

/// As `run`, with the stdout the command has.
fn run_as_it_is(mut command: Command) -> Run {
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_consumer_that_goes_away() {
    let tenant = Tenant::start(Options { mails: 200, files: 40, ..small() });
    for taken in [0, 1, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let (report, metrics) = (dir.path().join("report.json"), dir.path().join("metrics.prom"));
        let reports =
            ["--report", report.to_str().unwrap(), "--metrics", metrics.to_str().unwrap()];
        let mut command =
            tenant.tar365(&[&["export", "--progress", "none"][..], &reports].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut vec![0; taken]).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), None, "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().unwrap_or(-1);
        let done = Run { code, stdout: Vec::new(), stderr }.expect(74);
        assert_message(&done, &["consumer", "went away"], Some("program that reads"));
        assert_reported(&report, &metrics, 74);
    }
    for engine in ["false", "head -c 100000", "bash -c 'head -c 100000 >/dev/null; exit 5'"] {
        let done = tenant.export(&["--progress", "none", "--to-command", engine]);
        assert_eq!(done.code, 74, "{engine}: {}", done.stderr);
        assert_message(&done, &[], Some("program that reads"));
    }
    // It took everything, and then says that it did not store it.
    let done =
        tenant.export(&["--progress", "none", "--to-command", "bash -c 'cat >/dev/null; exit 5'"]);
    assert_eq!(done.code, 74, "{}", done.stderr);
    assert_message(&done, &["bash"], None);
    // What an engine is run with is nobody's secret.
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("environment");
    let engine = format!("bash -c 'env >{}; cat >/dev/null'", seen.display());
    tenant.export(&["--to-command", &engine]).expect(0);
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(!seen.contains(&tenant.simulator.client_secret()), "the engine knows the secret");
}
