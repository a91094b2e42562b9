//! The recipes of `examples/`, night after night: what has not changed comes out of the backup.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use simulator::{Fault, Options};
use tempfile::TempDir;

use crate::base::{contents, read, same};
use crate::harness::{Tenant, children, ends, files_below, run, send, tool, wait_until};

const LONG: Duration = Duration::from_secs(60);

fn small() -> Options {
    Options { users: 2, mails: 40, files: 20, ..Options::default() }
}

/// An example with its repositories below a folder.
fn example(name: &str, tenant: &Tenant, below: &Path) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let mut command = tool("bash");
    command
        .arg(path)
        .env("RESTORE_TO", below.join("restored"))
        .env("RESTIC_REPOSITORY", below.join("repository"))
        .env("RESTIC_CACHE_DIR", below.join("cache"))
        .env("RESTIC_PASSWORD", "of no worth")
        .env("BORG_REPO", below.join("repository"))
        .env("BORG_BASE_DIR", below.join("base"))
        .env("BORG_PASSPHRASE", "of no worth")
        .env("BACKUP_DIR", below.join("repository"))
        .env("KEEP", "2");
    tenant.known_to(command)
}

/// What the newest backup gives back.
fn newest(name: &str, tenant: &Tenant, below: &Path) -> Vec<u8> {
    let script = match name {
        "restic.sh" => "restic dump latest m365.tar",
        "borg.sh" => r#"borg extract --stdout "::$(borg list --short --last 1)" m365.tar"#,
        _ => r#"cd "$BACKUP_DIR"; cat "$(ls m365-*Z.tar | tail -n 1)""#,
    };
    let mut command = example(name, tenant, below);
    let mut shell = tool("bash");
    shell.args(["-euc", script]);
    for (variable, value) in command.get_envs() {
        shell.env(variable, value.unwrap_or_default());
    }
    command = shell;
    run(command).expect(0).stdout
}

/// Names are by the second.
fn next_second() {
    std::thread::sleep(Duration::from_millis(1_100));
}

fn nights(name: &str) {
    let tenant = Tenant::start(small());
    let below = TempDir::new().unwrap();
    let office = tenant.simulator.tenant();
    let user = office.users()[0].id.clone();
    for number in 0..3 {
        let full = run(tenant.whole(&["export"])).expect(0).stdout;
        tenant.simulator.log().clear();
        run(example(name, &tenant, below.path())).expect(0);
        let fetched = contents(&tenant.simulator.log().records()).len();
        assert!(if number == 0 { fetched > 100 } else { fetched == 2 }, "{number}: {fetched}");
        same(&newest(name, &tenant, below.path()), &full, name);
        let inbox = office.folders(&user).unwrap().into_iter();
        let inbox = inbox.filter(|f| f.well_known == Some("inbox")).map(|f| f.id).next().unwrap();
        office.add_message(&user, &inbox, b"Subject: another day\r\n\r\nhello\r\n").unwrap();
        office.put_file(&user, &format!("{number}.txt"), b"a file").unwrap();
        next_second();
    }
    // A night that fails is none, and the one after it goes on from the last good one.
    let before = newest(name, &tenant, below.path());
    tenant.simulator.set_faults(vec!["unavailable:rate=1,after=20".parse::<Fault>().unwrap()]);
    let mut failing = example(name, &tenant, below.path());
    failing.env("TAR365_PATIENCE", "1s");
    assert_ne!(run(failing).code, 0);
    tenant.simulator.set_faults(Vec::new());
    assert!(newest(name, &tenant, below.path()) == before);
    next_second();
    let full = run(tenant.whole(&["export"])).expect(0).stdout;
    run(example(name, &tenant, below.path())).expect(0);
    same(&newest(name, &tenant, below.path()), &full, name);
}

#[test]
fn restic_is_its_own_base() {
    nights("restic.sh");
}

#[test]
fn borg_is_its_own_base() {
    nights("borg.sh");
}

#[test]
fn plain_files_rotate() {
    nights("rotate.sh");
}

#[test]
fn only_so_many_plain_files_are_kept() {
    let tenant = Tenant::start(Options { users: 1, mails: 3, files: 2, ..small() });
    let below = TempDir::new().unwrap();
    let kept = || -> Vec<String> {
        let files = files_below(&below.path().join("repository"));
        files.into_keys().filter(|name| name != ".lock").collect()
    };
    let mut seen = Vec::new();
    for _ in 0..4 {
        run(example("rotate.sh", &tenant, below.path())).expect(0);
        seen.push(kept().pop().unwrap());
        next_second();
    }
    assert_eq!(kept(), seen[2..]);
}

#[test]
fn a_first_plain_file_goes_on_where_it_was_killed() {
    let tenant = Tenant::start(Options { latency: Duration::from_millis(5), ..small() });
    let full = run(tenant.whole(&["export"])).expect(0).stdout;
    let all = contents(&tenant.simulator.log().records()).len();
    let below = TempDir::new().unwrap();
    let unfinished = below.path().join("repository/unfinished.tar");
    tenant.simulator.log().clear();
    let mut command = example("rotate.sh", &tenant, below.path());
    let mut script = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until(LONG, "half of it is written", || {
        std::fs::metadata(&unfinished).is_ok_and(|about| about.len() > full.len() as u64 / 2)
    });
    for export in children(script.id(), "tar365") {
        send(export, Signal::KILL);
    }
    assert_ne!(ends(&mut script, LONG), 0);
    let has_some = read(&unfinished).len();
    assert!(has_some > full.len() / 2);
    tenant.simulator.log().clear();
    run(example("rotate.sh", &tenant, below.path())).expect(0);
    let fetched = contents(&tenant.simulator.log().records()).len();
    assert!(fetched > 0 && fetched < all * 3 / 4, "{fetched} of {all}");
    same(&newest("rotate.sh", &tenant, below.path()), &full, "resumed");
    assert!(!unfinished.exists());
}
