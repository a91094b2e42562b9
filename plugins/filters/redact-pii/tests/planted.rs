//! Secrets planted in every place of mails and documents, looked for again by Python's readers.
#![expect(clippy::print_stderr, reason = "a test that does not run must say so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use redact_pii::RedactPii;
use serde_json::json;
use tar365_plugin::{ContentDecision, native};

/// Mails and files that are made up.
const COUNT: &str = "250";

fn python(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plant.py");
    let output = Command::new("python3").arg(script).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the filter makes of a file; none if it drops it.
fn filtered(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let is_mail = Path::new(name).extension().is_some_and(|extension| extension == "eml");
    let (service, kind) = if is_mail { ("mail", "message") } else { ("onedrive", "file") };
    let item = native::item(service, kind, json!({ "id": "1", "name": name }));
    let mut output = Vec::new();
    match native::on_content::<RedactPii>("", &item, bytes, &mut output).unwrap() {
        ContentDecision::Keep => Some(bytes.to_vec()),
        ContentDecision::Replace => {
            // What was redacted once has nothing left in it.
            let again = native::on_content::<RedactPii>("", &item, output.as_slice(), Vec::new());
            assert_eq!(again, Ok(ContentDecision::Keep), "{name} twice");
            Some(output)
        }
        ContentDecision::Drop(_) => None,
    }
}

/// Runs all files of a directory through the filter; how many were changed and how many dropped.
fn run(from: &Path, to: &Path) -> (usize, usize) {
    let (mut changed, mut dropped) = (0, 0);
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        match filtered(name, &bytes) {
            Some(after) => {
                changed += usize::from(after != bytes);
                fs::write(to.join(name), after).unwrap();
            }
            None => dropped += 1,
        }
    }
    (changed, dropped)
}

fn corpus() -> Option<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpus");
    if corpus.is_dir() {
        return Some(corpus);
    }
    let required = std::env::var_os("TAR365_REQUIRE_CORPUS").is_some_and(|value| value == "1");
    assert!(!required, "{} is missing", corpus.display());
    eprintln!("*** NOT TESTED with real-world files: {} is missing ***", corpus.display());
    None
}

#[test]
fn nothing_planted_is_left_anywhere() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    python(&["make", from.to_str().unwrap(), COUNT]);
    let (changed, dropped) = run(from, to);
    assert!(changed > 900 && dropped < 30, "{changed} changed, {dropped} dropped");
    let report = python(&["check", from.to_str().unwrap(), to.to_str().unwrap()]);
    let numbers = report.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    assert!(numbers.min().is_some_and(|least| least > 900), "{report}");
}

#[test]
fn mails_of_the_corpus_stay_as_they_are() {
    let Some(corpus) = corpus() else { return };
    let mut mails = Vec::new();
    let mut directories = vec![corpus.join("eml")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { directories.push(path) } else { mails.push(path) }
        }
    }
    assert!(mails.len() > 130);
    for path in mails {
        let bytes = fs::read(&path).unwrap();
        let settings = r#"{"opaque": "pass"}"#;
        let item = native::item("mail", "message", json!({ "id": "1" }));
        let answer = native::on_content::<RedactPii>(settings, &item, bytes.as_slice(), Vec::new());
        assert_eq!(answer, Ok(ContentDecision::Keep), "{}", path.display());
    }
}

#[test]
fn nothing_planted_in_the_corpus_is_left() {
    let Some(corpus) = corpus() else { return };
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (from, to) = (from.path(), to.path());
    python(&["corpus", corpus.join("eml").to_str().unwrap(), from.to_str().unwrap()]);
    let (changed, dropped) = run(from, to);
    assert!(changed > 120 && dropped == 0, "{changed} changed, {dropped} dropped");
    python(&["check", from.to_str().unwrap(), to.to_str().unwrap()]);
}

#[test]
fn real_documents_without_secrets_stay_as_they_are() {
    let Some(corpus) = corpus() else { return };
    let mut kept = 0;
    for directory in ["docx", "xlsx", "pptx", "odt", "ods"] {
        for entry in fs::read_dir(corpus.join("files").join(format!("tika-{directory}"))).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let item = native::item("onedrive", "file", json!({ "id": "1", "name": name }));
            let settings = r#"{"opaque": "pass"}"#;
            let answer =
                native::on_content::<RedactPii>(settings, &item, bytes.as_slice(), Vec::new());
            assert_eq!(answer, Ok(ContentDecision::Keep), "{}", path.display());
            kept += 1;
        }
    }
    assert!(kept > 40, "{kept}");
}

/// Text beyond what is held goes through in windows; nothing is lost or left where they meet.
#[test]
fn large_text_is_redacted_piece_by_piece() {
    let line = "The number is 4111 1111\r\n1111 1111, and this line is a line of text.\r\n";
    let redacted = line.replace("4111 1111\r\n1111 1111", "[redacted:card]");
    let count = (20 << 20) / line.len();
    let item = native::item("onedrive", "file", json!({ "id": "1", "name": "a.txt" }));
    let settings = r#"{"max_held_mib": 1}"#;
    let mut output = Vec::new();
    let text = line.repeat(count);
    let answer = native::on_content::<RedactPii>(settings, &item, text.as_bytes(), &mut output);
    assert_eq!(answer, Ok(ContentDecision::Replace));
    assert!(output == redacted.repeat(count).as_bytes());
    // One line without an end.
    let text = line.replace("\r\n", " ").repeat(count);
    let mut output = Vec::new();
    let answer = native::on_content::<RedactPii>(settings, &item, text.as_bytes(), &mut output);
    assert_eq!(answer, Ok(ContentDecision::Replace));
    let left = String::from_utf8(output).unwrap().matches("1111").count();
    assert!(left == 0, "{left}");
    let mail = native::item("mail", "message", json!({ "id": "1" }));
    let error = native::on_content::<RedactPii>(settings, &mail, text.as_bytes(), Vec::new());
    assert!(error.is_err_and(|error| error.contains("larger than 1 MiB")));
}
