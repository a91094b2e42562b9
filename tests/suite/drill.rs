//! `drill`: whether an archive would come back, tried without a tenant.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use serde_json::Value;
use simulator::{Options, Profile};
use tempfile::TempDir;

use crate::harness::{Archive, Run, corpus, json_lines, run, run_with, tar365, text};
use crate::import::{Saved, writable};
use crate::web::{Manner, SECRET, Web};

/// A drill in a folder of its own, in which nothing is left.
struct Drill {
    dir: TempDir,
}

impl Drill {
    fn new() -> Self {
        let drill = Self { dir: TempDir::new().unwrap() };
        std::fs::create_dir(drill.dir.path().join("spool")).unwrap();
        drill
    }

    fn run(&self, archive: &str, input: Option<&[u8]>, arguments: &[&str]) -> Run {
        let report = self.dir.path().join("report.json");
        let fixed = ["drill", archive, "--report", report.to_str().unwrap()];
        let mut command = tar365(&[&fixed, arguments].concat());
        let spool = self.dir.path().join("spool");
        command.env("TMPDIR", &spool).env("TAR365_SPOOL_DIR", &spool).env("HOME", self.dir.path());
        let done = match input {
            Some(input) => run_with(command, input),
            None => run(command),
        };
        let left: Vec<_> = std::fs::read_dir(&spool).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        done
    }

    /// What the last report says; that it is no more than expected lies beside it.
    fn report(&self) -> Value {
        let text = std::fs::read(self.dir.path().join("report.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn has_report(&self) -> bool {
        self.dir.path().join("report.json").exists()
    }
}

fn manifest_digest(bytes: &[u8]) -> String {
    let index = archive::Index::open(Cursor::new(bytes)).unwrap();
    archive::hex(&index.seal().manifest.sha256)
}

/// All of it comes back, and the report says so.
#[track_caller]
fn passes(saved: &Saved, at_least: u64) {
    let drill = Drill::new();
    let again = drill.dir.path().join("again.tar");
    let done = drill.run(&saved.path(), None, &["--keep", again.to_str().unwrap()]);
    let shown = String::from_utf8(done.stdout.clone()).unwrap();
    assert_eq!(done.code, 0, "{shown}\n{}", done.stderr);
    assert_eq!(shown.lines().last(), Some("PASSED"));
    let report = drill.report();
    let digest = manifest_digest(&saved.bytes);
    assert_eq!(report["manifest_sha256"], *digest);
    assert!(shown.contains(&digest));
    let seal = archive::Index::open(Cursor::new(&saved.bytes)).unwrap().seal().clone();
    assert!(seal.items >= at_least, "{}", seal.items);
    let comparison = &report["comparison"];
    assert_eq!([&comparison["items"], &comparison["equal"]], [seal.items; 2]);
    for what in ["different", "absent", "surplus", "absent_folders"] {
        assert_eq!(comparison[what], 0, "{what}");
    }
    assert_eq!(report["restore"]["created"], seal.items);
    assert_eq!(
        [&report["passed"], &report["restore"]["failed"]],
        [&Value::from(true), &Value::from(0)]
    );
    assert!(text(&report, "started") <= text(&report, "ended"));
    // What came back is an archive like any other, of as many items.
    let mut kept = Vec::new();
    File::open(&again).unwrap().read_to_end(&mut kept).unwrap();
    crate::harness::verify(&kept);
    assert_eq!(archive::Index::open(Cursor::new(&kept)).unwrap().seal().items, seal.items);
}

#[test]
fn an_ordinary_tenant_passes() {
    let source = writable(Options { users: 2, mails: 60, files: 30, ..Options::default() });
    passes(&Saved::export(&source), 170);
}

#[test]
fn the_nastiest_tenant_passes() {
    let nasty =
        Options { users: 2, mails: 150, files: 60, profile: Profile::Nasty, ..Options::default() };
    passes(&Saved::export(&writable(nasty)), 400);
}

#[test]
fn the_corpus_passes() {
    let Some(dir) = corpus() else { return };
    passes(&Saved::export(&writable(Options { content: Some(dir), ..Options::default() })), 140);
}

fn small() -> Saved {
    Saved::export(&writable(Options { users: 2, mails: 20, files: 10, ..Options::default() }))
}

#[test]
fn a_pipe_a_server_and_a_selection_pass() {
    let saved = small();
    let drill = Drill::new();
    drill.run("-", Some(&saved.bytes), &[]).expect(0);
    let of_pipe = drill.report();
    assert_eq!(of_pipe["manifest_sha256"], *manifest_digest(&saved.bytes));
    let web = Web::serve(Path::new(&saved.path()), Manner::Good);
    let done = drill.run(&web.url(), None, &[]).expect(0);
    let of_web = drill.report();
    assert_eq!(of_web["comparison"], of_pipe["comparison"]);
    let said = of_web.to_string() + &String::from_utf8_lossy(&done.stdout) + &done.stderr;
    assert!(!said.contains(SECRET) && !said.contains("pa55word"), "{said}");
    let archive = Archive::new(&saved.bytes);
    let section = archive.members.iter().find_map(|m| m.path.strip_suffix("/mail.ndjson")).unwrap();
    let user = section.strip_prefix("users/").unwrap();
    drill.run(&saved.path(), None, &["--user", user, "--service", "mail"]).expect(0);
    let report = drill.report();
    let mails = archive.items(&format!("users/{user}/mail")).len();
    assert_eq!(report["comparison"]["items"], mails);
    assert!((mails as u64) < of_pipe["comparison"]["items"].as_u64().unwrap());
}

/// The archive with other metadata and contents, sealed anew.
fn rewritten(bytes: &[u8], change: impl Fn(&str, &mut Vec<u8>)) -> Vec<u8> {
    use archive::writer::{FileMember, Head, Options, Writer};
    use sha2::{Digest, Sha256};
    let mut reader = archive::Reader::new(bytes);
    let options = Options { align: None, spool_dir: std::env::temp_dir() };
    let mut writer = Writer::new(Vec::new(), options).unwrap();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.content().read_to_end(&mut content).unwrap();
        if entry.path == archive::HEAD_PATH {
            writer.head(&Head::parse(&content).unwrap()).unwrap();
        } else if entry.kind == archive::Kind::Directory {
            writer.directory(&entry.path, entry.mtime).unwrap();
        } else if !entry.path.starts_with(".tar365/") {
            change(&entry.path, &mut content);
            let (size, sha256) = (content.len() as u64, Sha256::digest(&content).into());
            let item = !entry.path.ends_with(".ndjson");
            let member = FileMember { path: &entry.path, mtime: entry.mtime, size, sha256, item };
            writer.file(&member, &mut &*content).unwrap();
        }
    }
    writer.finish(None).unwrap().0
}

/// Changes the metadata lines of a service.
fn with_lines(bytes: &[u8], service: &str, change: impl Fn(&mut Value)) -> Saved {
    let metadata = format!("/{service}.ndjson");
    Saved::new(rewritten(bytes, |path, content| {
        if path.ends_with(&metadata) {
            let mut lines = json_lines(content);
            lines.iter_mut().for_each(&change);
            *content = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
        }
    }))
}

#[test]
fn what_does_not_come_back_fails_the_drill() {
    let saved = small();
    let drill = Drill::new();
    let same = Saved::new(rewritten(&saved.bytes, |_, _| ()));
    drill.run(&same.path(), None, &[]).expect(0);
    assert_eq!(drill.report()["passed"], true);
    // Longer than any path in a drive can be: refused.
    let long = "long ".repeat(60);
    let names = with_lines(&saved.bytes, "onedrive", |line| {
        let is_inner =
            !line["graph"]["parentReference"].is_null() && text(line, "kind") == "folder";
        if is_inner {
            line["graph"]["name"] = format!("{long}{}", text(&line["graph"], "name")).into();
        }
    });
    let refused = drill.run(&names.path(), None, &[]).expect(3);
    let report = drill.report();
    assert_eq!(report["passed"], false);
    assert!(report["restore"]["failed"].as_u64().unwrap() > 0, "{report:#}");
    let shown = String::from_utf8(refused.stdout).unwrap();
    assert_eq!(shown.lines().last(), Some("FAILED"));
    assert!(shown.contains("not restored: users/"), "{shown}");
}

#[test]
fn what_is_no_whole_archive_is_no_drill() {
    let saved = small();
    let whole = &saved.bytes;
    let archive = Archive::new(whole);
    let section = archive.members.iter().find_map(|m| m.path.strip_suffix("/mail.ndjson")).unwrap();
    let (_, mail) = archive.items(&format!("{section}/mail")).into_iter().next().unwrap();
    let at = whole.windows(mail.content.len()).position(|bytes| bytes == mail.content).unwrap();
    let line = whole.windows(19).position(|bytes| bytes == b"\"internetMessageId\"").unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases = [
        ("unsealed", whole[..whole.len() - 3072].to_vec()),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("a damaged mail", flipped(at + mail.content.len() - 20)),
        ("damaged metadata", flipped(line + 3)),
    ];
    for (what, bytes) in cases {
        let bad = Saved::new(bytes);
        let drill = Drill::new();
        for done in [drill.run(&bad.path(), None, &[]), drill.run("-", Some(&bad.bytes), &[])] {
            assert_eq!(done.code, 1, "{what}: {}", done.stderr);
            assert!(done.stderr.contains("tar365: error: "), "{what}: {}", done.stderr);
            assert!(!String::from_utf8_lossy(&done.stdout).contains("PASSED"), "{what}");
            assert!(!drill.has_report(), "{what}");
        }
    }
}
