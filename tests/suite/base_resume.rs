//! `--partial-copy` and `--resume`: what came to an untimely end goes on where it was.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use simulator::{Fault, Options};

use crate::base::{Shelf, contents, read, same};
use crate::harness::{Tenant, ends, json_lines, run, send, text, verify, wait_until};
use crate::soak::soak;

const LONG: Duration = Duration::from_secs(60);

fn options() -> Options {
    Options {
        users: 3,
        mails: 60,
        files: 25,
        latency: Duration::from_millis(2),
        ..Options::default()
    }
}

/// The ids of the items that a torn archive has whole.
fn whole_in(torn: &[u8]) -> BTreeSet<String> {
    let mut reader = archive::Reader::new(torn);
    let (mut ids, mut by_path) = (BTreeSet::new(), std::collections::BTreeMap::new());
    while let Ok(Some(entry)) = reader.next_entry() {
        let mut content = Vec::new();
        if reader.content().read_to_end(&mut content).is_err() {
            break;
        }
        if entry.path.ends_with(".ndjson") && entry.path.starts_with("users/") {
            for line in json_lines(&content) {
                by_path.insert(text(&line, "path").to_owned(), text(&line, "id").to_owned());
            }
        } else if let Some(id) = by_path.get(&entry.path).filter(|_| entry.sha256.is_some()) {
            ids.insert(id.clone());
        }
    }
    ids
}

/// Goes on with what is in `copy`; the result, and what it fetched.
#[track_caller]
fn resumed(tenant: &Tenant, copy: &Path, flags: &[&str]) -> (Vec<u8>, Vec<String>) {
    tenant.simulator.log().clear();
    let base = ["--base", copy.to_str().unwrap(), "--resume"];
    let whole = tenant.export(&[&base, flags].concat()).expect(0).stdout;
    (whole, contents(&tenant.simulator.log().records()))
}

#[test]
fn a_killed_export_goes_on_and_fetches_nothing_twice() {
    let tenant = Tenant::start(options());
    let whole = tenant.export(&[]).expect(0).stdout;
    let all = contents(&tenant.simulator.log().records()).len();
    let points = if soak() { 40 } else { 6 };
    let mut most = 0;
    for number in 0..points {
        let shelf = Shelf::new();
        let copy = shelf.path("copy.tar");
        let after = 1 + (number * 7919 + 13) * all / points % (all - 10);
        tenant.simulator.log().clear();
        let mut command = tenant.tar365(&["export", "--concurrency", "4", "--partial-copy"]);
        let mut export =
            command.arg(&copy).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(LONG, "so much is fetched", || {
            let log = tenant.simulator.log();
            log.count(|r| r.path.ends_with("/$value") || r.path.ends_with("/content")) >= after
        });
        send(export.id(), Signal::KILL);
        assert_eq!(ends(&mut export, LONG), -9);
        let torn = read(&copy);
        if torn.is_empty() {
            continue;
        }
        let had = whole_in(&torn);
        most = most.max(had.len());
        let (result, fetched) = resumed(&tenant, &copy, &[]);
        same(&result, &whole, &format!("killed after {after} of {all} contents"));
        let twice: Vec<_> = fetched.iter().filter(|id| had.contains(*id)).collect();
        assert!(twice.is_empty(), "fetched twice: {twice:?}");
        assert_eq!(fetched.len() + had.len(), all, "each once");
        assert!(copy.exists(), "who is not told to remove it leaves it");
    }
    assert!(most > all / 4, "at most {most} of {all} items were in a copy: this proves little");
}

#[test]
fn an_export_that_failed_goes_on_from_its_poisoned_copy() {
    let tenant = Tenant::start(options());
    let whole = tenant.export(&[]).expect(0).stdout;
    let all = contents(&tenant.simulator.log().records()).len();
    let shelf = Shelf::new();
    let copy = shelf.path("copy.tar");
    tenant.simulator.set_faults(vec!["unavailable:rate=1,after=300".parse::<Fault>().unwrap()]);
    let mut command = tenant.tar365(&["export", "--concurrency", "4", "--partial-copy"]);
    command.arg(&copy).env("TAR365_PATIENCE", "2s");
    let failed = run(command).expect(75);
    assert!(read(&copy) == failed.stdout, "the copy is the stream");
    tenant.simulator.set_faults(Vec::new());
    let had = whole_in(&failed.stdout);
    assert!(had.len() > 20, "{}", had.len());

    // A poisoned stream is no base but for --resume.
    let refused = tenant.export(&["--base", copy.to_str().unwrap()]).expect(1);
    assert!(refused.stdout.is_empty());

    let next = shelf.path("next.tar");
    let (result, fetched) = resumed(&tenant, &copy, &["--partial-copy", next.to_str().unwrap()]);
    same(&result, &whole, "resumed from a poisoned copy");
    assert_eq!(fetched.len() + had.len(), all);
    assert!(!next.exists(), "a copy of what came to its end is of no use");
    verify(&result);
}

#[test]
fn an_unfinished_archive_is_kept_until_there_is_more() {
    let tenant = Tenant::start(Options { users: 1, mails: 5, files: 2, ..options() });
    let shelf = Shelf::new();
    let copy = shelf.put("copy.tar", b"all that there is");
    // Not where it is the base: it would be gone before it is read.
    let both = ["--base", copy.as_str(), "--resume", "--partial-copy", copy.as_str()];
    let refused = tenant.export(&both).expect(2);
    assert!(refused.stderr.contains("--partial-copy"), "{}", refused.stderr);
    // Nor for a run that does not begin.
    tenant.export(&["--partial-copy", &copy, "--user", "nobody@nowhere"]).expect(2);
    let other = shelf.put("no archive", b"something else");
    assert_ne!(tenant.export(&["--partial-copy", &copy, "--base", &other]).code, 0);
    assert_eq!(read(Path::new(&copy)), b"all that there is");
    tenant.export(&["--partial-copy", "/nowhere/at/all/copy.tar"]).expect(2);
    tenant.export(&["--partial-copy", &copy]).expect(0);
    assert!(!Path::new(&copy).exists());
}

/// A copy that was cut anywhere, as a full disk or a crash may leave it.
#[test]
fn any_beginning_of_an_archive_can_be_resumed() {
    let tenant = Tenant::start(Options { users: 2, mails: 15, files: 8, ..options() });
    let whole = tenant.export(&[]).expect(0).stdout;
    let all = contents(&tenant.simulator.log().records()).len();
    let shelf = Shelf::new();
    for number in 0..10 {
        let cut = (number * 2_654_435_761 + 4096) % whole.len();
        let copy = shelf.put("copy.tar", &whole[..cut]);
        let had = whole_in(&whole[..cut]).len();
        let (result, fetched) = resumed(&tenant, Path::new(&copy), &[]);
        same(&result, &whole, &format!("cut at {cut}"));
        assert_eq!(fetched.len() + had, all, "cut at {cut}");
    }
    // And a whole one.
    let copy = shelf.put("copy.tar", &whole);
    let (result, fetched) = resumed(&tenant, Path::new(&copy), &[]);
    same(&result, &whole, "whole");
    assert!(fetched.is_empty());
}
