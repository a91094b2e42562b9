//! Bases that are none: each is a clear error, or what is bad is fetched again. Never a silent
//! full export, never a lost item.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use simulator::Options;

use crate::base::{Night, Shelf, WAYS, Way, contents, night, place_of, rebuilt, same};
use crate::harness::{Tenant, children, ends, run_with, runs, send, tar365, wait_until};
use crate::soak::soak;

fn tiny() -> Options {
    Options { users: 2, mails: 25, files: 12, ..Options::default() }
}

/// The run is an error that says so, and nobody can take what it wrote for an archive.
#[track_caller]
fn refused(night: &Night, what: &str) {
    let run = &night.run;
    assert!(run.stderr.contains("base"), "{what}: {}", run.stderr);
    assert!(!run.stderr.contains("panicked"), "{what}: {}", run.stderr);
    match run.stdout.is_empty() {
        true => assert!(matches!(run.code, 1 | 2), "{what}: code {}", run.code),
        false => {
            assert_eq!(run.code, 1, "{what}: {}", run.stderr);
            run_with(tar365(&["verify", "-"]), &run.stdout).expect(1);
            let untar = run_with(crate::harness::tool("tar"), &[]).code;
            assert_ne!(untar, 0);
        }
    }
}

#[test]
fn a_base_that_is_cut_is_an_error_wherever_it_is_cut() {
    let tenant = Tenant::start(tiny());
    let whole = tenant.export(&[]).expect(0).stdout;
    let all = contents(&tenant.simulator.log().records()).len();
    let (mail, size) = place_of(&whole, |entry| entry.path.ends_with(".eml"));
    let (manifest, _) = place_of(&whole, |entry| entry.path == archive::MANIFEST_PATH);
    let (metadata, _) = place_of(&whole, |entry| entry.path.ends_with("mail.ndjson"));
    let border = (mail + size).next_multiple_of(512);
    let cuts = [
        1,
        511,
        512,
        600,
        metadata + 5,
        mail + size / 2,
        border,
        whole.len() / 2,
        manifest - 512,
        manifest + 7,
        whole.len() - 5120 - 512,
        whole.len() - 3000,
        whole.len() - 1024,
        whole.len() - 512,
        whole.len() - 1,
    ];
    for cut in cuts {
        for way in WAYS {
            // Little ahead of its turn, so that what is fetched too early can be told.
            let night = night(&tenant, &whole[..cut], way, &["--concurrency", "16"]);
            refused(&night, &format!("{cut} of {} bytes, {way:?}", whole.len()));
            // Told when it is seen, not after everything was fetched.
            let fetched = contents(&night.asked).len();
            assert!(fetched < all / 3, "{cut} {way:?}: {fetched} of {all} fetched for nothing");
        }
    }
}

#[test]
fn an_item_that_is_damaged_in_the_base_is_fetched_again() {
    let tenant = Tenant::start(tiny());
    let whole = tenant.export(&[]).expect(0).stdout;
    for part in ["/mail/", "/onedrive/"] {
        let (at, size) = place_of(&whole, |entry| entry.path.contains(part));
        let mut bad = whole.clone();
        bad[at + size / 2] ^= 1;
        for way in WAYS {
            let night = night(&tenant, &bad, way, &[]);
            assert_eq!(night.number("bad_in_base"), 1, "{part} {way:?}");
            assert_eq!(contents(&night.asked).len(), 1, "{part} {way:?}");
            assert!(night.run.stderr.contains("bad in the base"), "{}", night.run.stderr);
            same(&night.run.expect(0).stdout, &whole, part);
        }
    }
}

#[test]
fn damage_to_what_the_base_says_of_itself_is_an_error() {
    let tenant = Tenant::start(tiny());
    let whole = tenant.export(&[]).expect(0).stdout;
    let seal = whole.len() - 1024 - 4096;
    let mut places = vec![("seal", seal + 200), ("seal's header", seal - 400)];
    for (name, path) in [
        ("metadata", "mail.ndjson"),
        ("head", archive::HEAD_PATH),
        ("manifest", archive::MANIFEST_PATH),
        ("ledger", archive::LEDGER_PATH),
    ] {
        let (at, size) = place_of(&whole, |entry| entry.path.ends_with(path));
        places.extend([at, at + size / 3, at + size / 2, at + size - 2].map(|at| (name, at)));
    }
    for (name, at) in places {
        let mut bad = whole.clone();
        bad[at] ^= 4;
        for way in WAYS {
            refused(&night(&tenant, &bad, way, &[]), &format!("{name} at {at}, {way:?}"));
        }
    }
}

/// Wherever a bit falls over: the export is right, or it is an error.
#[test]
fn no_damage_ever_reaches_the_next_archive() {
    let tenant = Tenant::start(Options { mails: 8, files: 4, ..tiny() });
    let whole = tenant.export(&[]).expect(0).stdout;
    let tries = if soak() { 2000 } else { 25 };
    for number in 0..tries {
        let mut bad = whole.clone();
        // Spread over all of it, and over the places in a block.
        let at = (number * 2_654_435_761 + 77) % whole.len();
        bad[at] ^= 1 << (number % 8);
        for way in WAYS {
            let night = night(&tenant, &bad, way, &[]);
            if night.run.code == 0 {
                same(&night.run.stdout, &whole, &format!("a flip at {at}, {way:?}"));
            } else {
                refused(&night, &format!("a flip at {at}, {way:?}"));
            }
        }
    }
}

#[test]
fn a_base_of_somebody_else_is_an_error() {
    let tenant = Tenant::start(tiny());
    let whole = tenant.export(&[]).expect(0).stdout;
    let mut foreign = crate::harness::tool("tar");
    foreign.args(["-c", "-C", env!("CARGO_MANIFEST_DIR"), "README.md", "doc"]);
    let foreign = crate::harness::run(foreign).expect(0).stdout;
    let other = rebuilt(&whole, |head| head.tenant = "another".to_owned(), |_, _| {});
    let filtered = rebuilt(
        &whole,
        |head| {
            head.filters.push(archive::FilterRef {
                name: "redact-pii".to_owned(),
                version: "1.0".to_owned(),
                sha256: [1; 32],
                settings_sha256: [2; 32],
            });
        },
        |_, _| {},
    );
    let newer = rebuilt(&whole, |head| head.format = archive::FORMAT + 1, |_, _| {});
    let poisoned = {
        let (at, size) = place_of(&whole, |entry| entry.path.ends_with(".eml"));
        let mut torn = whole[..(at + size).next_multiple_of(512)].to_vec();
        let spool_dir = std::env::temp_dir();
        let options = archive::writer::Options { align: None, spool_dir };
        let writer = archive::Writer::new(Vec::new(), options).unwrap();
        torn.extend(writer.fail("the service is away").unwrap());
        torn
    };
    let text = b"this is no tar at all, but long enough to be one ".repeat(50);
    for (what, bytes, word) in [
        ("a foreign tar", &foreign, "archive"),
        ("another tenant", &other, "tenant"),
        ("other filters", &filtered, "filters"),
        ("a newer format", &newer, "format"),
        ("poison", &poisoned, ""),
        ("no tar", &text, ""),
    ] {
        for way in WAYS {
            let night = night(&tenant, bytes, way, &[]);
            refused(&night, &format!("{what}, {way:?}"));
            assert!(night.run.stderr.contains(word), "{what}, {way:?}: {}", night.run.stderr);
            if !["poison", "no tar"].contains(&what) && way == Way::Pipe {
                assert!(night.run.stdout.is_empty(), "{what}: known before the first byte");
            }
        }
        // --base-missing is for no base, not for a bad one.
        let night = night(&tenant, bytes, Way::Pipe, &["--base-missing", "full"]);
        refused(&night, &format!("{what} with --base-missing full"));
    }
    // Also --resume does not make one of another tenant ours.
    for bytes in [&other, &filtered, &newer, &foreign] {
        for way in WAYS {
            refused(&night(&tenant, bytes, way, &["--resume"]), "resumed");
        }
    }
}

#[test]
fn a_missing_base_is_a_full_export_only_where_that_is_wanted() {
    let tenant = Tenant::start(tiny());
    let shelf = Shelf::new();
    let whole = tenant.export(&[]).expect(0).stdout;
    let empty = shelf.put("empty", b"");
    let nowhere = shelf.path("nowhere").to_str().unwrap().to_owned();
    for named in [
        ["--base", &nowhere],
        ["--base", &empty],
        ["--base-command", "true"],
        ["--base-command", "false"],
        ["--base-command", &format!("cat '{nowhere}'")],
    ] {
        let run = tenant.export(&named).expect(1);
        assert!(run.stdout.is_empty() && run.stderr.contains("no base"), "{}", run.stderr);
        assert!(run.stderr.contains("--base-missing full"), "{}", run.stderr);
        let full = [&named[..], &["--base-missing", "full"]].concat();
        let run = tenant.export(&full).expect(0);
        assert!(run.stderr.contains("full export"), "{}", run.stderr);
        same(&run.stdout, &whole, named[1]);
    }
    // A command that can't be run is a mistake, not a first night.
    for command in ["there-is-no-such-command", "'", ""] {
        let flags = ["--base-command", command, "--base-missing", "full"];
        let run = tenant.export(&flags).expect(2);
        assert!(run.stdout.is_empty(), "{command}");
    }
    tenant.export(&["--resume"]).expect(2);
    tenant.export(&["--base", &nowhere, "--base-command", "true"]).expect(2);
}

#[test]
fn a_base_command_that_fails_ends_the_export() {
    let tenant = Tenant::start(tiny());
    let shelf = Shelf::new();
    let whole = tenant.export(&[]).expect(0).stdout;
    let path = shelf.put("base.tar", &whole);
    let half = whole.len() / 2;
    let border = {
        let (at, size) = place_of(&whole, |entry| entry.path.ends_with(".eml"));
        (at + size).next_multiple_of(512)
    };
    for script in [
        format!("head -c {half} {path}; exit 3"),
        format!("head -c {border} {path}; exit 3"),
        format!("head -c 100 {path}; exit 3"),
        format!("cat {path}; exit 3"),
        format!("cat {path}; kill -9 $$"),
    ] {
        let flags = ["--base-command", &format!("bash -c '{script}'"), "--base-missing", "full"];
        let run = tenant.export(&flags);
        assert_eq!(run.code, 1, "{script}: {}", run.stderr);
        assert!(run.stderr.contains("bash ended with"), "{script}: {}", run.stderr);
        run_with(tar365(&["verify", "-"]), &run.stdout).expect(1);
    }
    // What follows a whole archive is not nothing, and does not hold us up.
    for more in ["head -c 10000000 /dev/zero", "true"] {
        let command = format!("bash -c 'cat {path}; {more}'");
        same(&tenant.export(&["--base-command", &command]).expect(0).stdout, &whole, more);
    }
    let command = format!("bash -c 'cat {path}; head -c 10000000 /dev/urandom'");
    tenant.export(&["--base-command", &command]).expect(1);
}

/// A command that thinks for ever is ended with the export.
#[test]
fn a_base_command_that_hangs_does_not_outlive_the_export() {
    let tenant = Tenant::start(tiny());
    let shelf = Shelf::new();
    let whole = tenant.export(&[]).expect(0).stdout;
    let path = shelf.put("base.tar", &whole);
    for script in [
        "sleep 1000".to_owned(),
        "exec >&-; exec sleep 1000".to_owned(),
        format!("head -c 30000 {path}; exec sleep 1000"),
        // All is said, but not that this is all; then that as well.
        format!("cat {path}; exec sleep 1000"),
        format!("cat {path}; exec >&-; exec sleep 1000"),
    ] {
        let mut command = tenant.tar365(&["export", "--base-command"]);
        command.arg(format!("bash -c '{script}'"));
        let mut export = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut found = Vec::new();
        wait_until(Duration::from_secs(60), "the command sleeps", || {
            found = children(export.id(), "sleep");
            !found.is_empty()
        });
        nothing_more_is_asked(&tenant);
        send(export.id(), Signal::TERM);
        assert_eq!(ends(&mut export, Duration::from_secs(10)), 143, "{script}");
        wait_until(Duration::from_secs(10), "the command has ended", || !runs(found[0]));
    }
}

/// Waits until the export has come as far as it comes.
fn nothing_more_is_asked(tenant: &Tenant) {
    let mut seen = (0, Instant::now());
    wait_until(Duration::from_secs(60), "nothing more is asked", || {
        let now = tenant.simulator.log().counts().requests;
        if now != seen.0 {
            seen = (now, Instant::now());
        }
        seen.1.elapsed() > Duration::from_secs(1)
    });
}

#[test]
fn the_secret_is_not_the_commands_business() {
    let tenant = Tenant::start(Options { mails: 1, files: 0, users: 1, ..Options::default() });
    let command = "bash -c 'env | grep -c ^TAR365_CLIENT_SECRET= >&2; true'";
    let run = tenant.export(&["--base-command", command]).expect(1);
    assert!(run.stderr.lines().any(|line| line == "0"), "{}", run.stderr);
}
