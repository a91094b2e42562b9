//! The tar readers of the world list and extract the same tree, without a word on stderr.
//! They are demanded, not skipped: a promise that nobody checks is none.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::sample;

const PYTHON_LIST: &str = "
import sys, tarfile
for member in tarfile.open(sys.argv[1], 'r|'):
    print(member.name)
";
const PYTHON_EXTRACT: &str = "
import sys, tarfile
with tarfile.open(sys.argv[1], 'r|') as archive:
    archive.extractall(sys.argv[2])
";

/// Runs a program; its output. In a UTF-8 locale, because bsdtar converts names to the locale.
fn run(command: &[&str]) -> Output {
    let output = Command::new(command[0]).args(&command[1..]).env("LC_ALL", "C.UTF-8").output();
    output.unwrap_or_else(|error| panic!("{} is needed for this test: {error}", command[0]))
}

fn quiet(command: &[&str]) -> String {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn list(tool: &str, file: &str) -> Vec<String> {
    let text = match tool {
        "tar" => quiet(&["tar", "--quoting-style=literal", "-tf", file]),
        "bsdtar" => quiet(&["bsdtar", "-tf", file]),
        "busybox" => quiet(&["busybox", "tar", "-tf", file]),
        _ => quiet(&["python3", "-c", PYTHON_LIST, file]),
    };
    text.lines().map(|line| line.trim_end_matches('/').to_owned()).collect()
}

fn extract(tool: &str, file: &str, target: &str) {
    match tool {
        "tar" => quiet(&["tar", "-xf", file, "-C", target]),
        "bsdtar" => quiet(&["bsdtar", "-xf", file, "-C", target]),
        "busybox" => quiet(&["busybox", "tar", "-xf", file, "-C", target]),
        _ => quiet(&["python3", "-c", PYTHON_EXTRACT, file, target]),
    };
}

const TOOLS: [&str; 4] = ["tar", "bsdtar", "busybox", "python3"];

fn write_archive(directory: &Path, bytes: &[u8]) -> String {
    let file = directory.join("archive.tar");
    fs::write(&file, bytes).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn all_list_and_extract_the_same() {
    for align in [None, Some(4096)] {
        let (bytes, _, expected) = sample::full(align);
        let mut paths: Vec<_> = expected.iter().map(|(path, _)| path.clone()).collect();
        paths.extend(
            [archive::MANIFEST_PATH, archive::LEDGER_PATH, archive::SEAL_PATH].map(Into::into),
        );
        let contents: BTreeMap<_, _> = expected.into_iter().collect();
        let directory = tempfile::tempdir().unwrap();
        let file = write_archive(directory.path(), &bytes);
        for tool in TOOLS {
            assert_eq!(list(tool, &file), paths, "{tool}");
            let target = directory.path().join(tool);
            fs::create_dir(&target).unwrap();
            extract(tool, &file, target.to_str().unwrap());
            let tree = sample::tree(&target);
            for path in &paths {
                let found = tree.get(path).unwrap_or_else(|| panic!("{tool} lost {path}"));
                if let Some(content) = contents.get(path) {
                    assert_eq!(found, content, "{tool}: {path}");
                }
            }
        }
    }
}

#[test]
fn times_and_modes_arrive() {
    use std::os::unix::fs::MetadataExt;
    let (bytes, ..) = sample::full(None);
    let directory = tempfile::tempdir().unwrap();
    let file = write_archive(directory.path(), &bytes);
    for tool in TOOLS {
        let target = directory.path().join(tool);
        fs::create_dir(&target).unwrap();
        extract(tool, &file, target.to_str().unwrap());
        let drive = target.join("users/alice@contoso.com/onedrive");
        let one = drive.join("one.txt").metadata().unwrap();
        assert_eq!((one.mtime(), one.mode() & 0o777), (1_500_000_001, 0o644), "{tool}");
        let folder = drive.join("Documents").metadata().unwrap();
        // Not its time: GNU tar and BusyBox set it before the files that come later.
        assert_eq!(folder.mode() & 0o777, 0o755, "{tool}");
    }
}

#[test]
fn a_poisoned_stream_fails_in_all() {
    let mut sample = sample::Sample::new(None);
    sample.file("users/a@b.c/mail.ndjson", 0, b"{}\n", false);
    let bytes = sample.writer.fail("the service is gone").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = write_archive(directory.path(), &bytes);
    let target = directory.path().join("target");
    fs::create_dir(&target).unwrap();
    let target = target.to_str().unwrap();
    for command in [
        &["tar", "-xf", &file, "-C", target][..],
        &["bsdtar", "-xf", &file, "-C", target],
        &["busybox", "tar", "-xf", &file, "-C", target],
        &["python3", "-c", PYTHON_EXTRACT, &file, target],
    ] {
        assert!(!run(command).status.success(), "{command:?}");
    }
}

#[test]
fn the_reader_of_the_document_agrees() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../doc/read_archive.py");
    let (bytes, ..) = sample::full(None);
    let directory = tempfile::tempdir().unwrap();
    let file = write_archive(directory.path(), &bytes);
    let text = quiet(&["python3", script, &file]);
    assert!(
        text.ends_with(
            "partial: 21 members, 13 items, 2 skipped, 1 failed, 1 converted, 1 damaged\n"
        ),
        "{text}"
    );
    let mut damaged = bytes.clone();
    let content = bytes.windows(9).position(|window| window == b"Subject: ").unwrap();
    damaged[content] ^= 1;
    for bad in [&damaged[..], &bytes[..bytes.len() / 2]] {
        fs::write(&file, bad).unwrap();
        assert!(!run(&["python3", script, &file]).status.success());
    }
}

#[test]
#[ignore = "moves 36 GiB through pipes: a minute"]
fn a_member_over_8_gib_is_read_by_all() {
    use std::{io::Write, process::Stdio};
    const SIZE: u64 = 9 << 30;
    for tool in [
        &["tar", "-tvf", "-"][..],
        &["bsdtar", "-tvf", "-"],
        &["busybox", "tar", "-tvf", "-"],
        &[
            "python3",
            "-c",
            "import sys, tarfile\nfor member in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'): print(member.name, member.size)",
        ],
    ] {
        let mut child = Command::new(tool[0])
            .args(&tool[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdin.take().unwrap();
        let mut writer = archive::Writer::new(out, sample::options(None)).unwrap();
        writer.head(&sample::head()).unwrap();
        writer.begin_stream("users/a/big.iso", 0, SIZE).unwrap();
        let zeros = vec![0; 1 << 20];
        (0..SIZE >> 20).for_each(|_| writer.stream(&zeros).unwrap());
        writer.end_stream().unwrap();
        writer.directory("users/a/after", 0).unwrap();
        let (mut out, _) = writer.finish(None).unwrap();
        out.flush().unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{tool:?}");
        assert!(text.contains(&SIZE.to_string()) && text.contains("users/a/after"), "{text}");
    }
}
