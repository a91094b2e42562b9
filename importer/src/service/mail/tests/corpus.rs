//! Every mail of the corpus against Python's `email`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::super::message::{AttachmentBody, Message};
use crate::place::Loss;

/// Mails whose leaves differ: how many only we find, how many only Python, and what it is that we
/// restore and Python does not see.
const DIFFERENT: [(&str, usize, usize, &str); 13] = [
    ("cpython/msg_15.eml", 1, 1, "parts after an inner multipart with the boundary of the outer"),
    ("cpython/msg_39.eml", 4, 0, "parts after an inner multipart with the boundary of the outer"),
    ("mail-parser/malformed-005.eml", 1, 0, "parts of a boundary that looks like another's end"),
    (
        "mail-parser/malformed-017.eml",
        1,
        1,
        "parts, though the semicolon before the boundary lacks",
    ),
    (
        "mail-parser/malformed-019.eml",
        8,
        1,
        "parts, though the first field has a space before its colon",
    ),
    ("mail-parser/rfc-008.eml", 1, 1, "the leaves of a mail in base64"),
    ("mail-parser/thirdparty-000.eml", 1, 1, "a text body without its zero byte"),
    ("mail-parser/thirdparty-003.eml", 1, 1, "quoted-printable, though spaces follow the word"),
    (
        "mime4j/testmsgs-bad-newlines-multiple-parts-base64.eml",
        1,
        1,
        "the leaves of a mail in base64",
    ),
    (
        "mime4j/testmsgs-base64encoded-rfc822message-nested.eml",
        1,
        1,
        "the leaves of a mail in base64",
    ),
    ("mime4j/testmsgs-base64encoded-rfc822message.eml", 1, 1, "the leaves of a mail in base64"),
    ("mime4j/testmsgs-multipartemptypart.eml", 0, 1, "no epilogue, which nobody is shown"),
    ("mime4j/testmsgs-obsolete.eml", 1, 1, "fields with white space before the colon"),
];

#[derive(Debug, Deserialize)]
struct Leaf {
    r#type: String,
    /// SHA-256 of the bytes.
    exact: String,
    /// Of the text, line ends apart.
    text: String,
    /// Of the bytes, line ends apart.
    bytes: String,
    /// Of the bytes without white space.
    dense: String,
}

/// A leaf that is restored.
struct Restored {
    r#type: String,
    name: String,
    exact: Option<String>,
    loose: String,
    dense: String,
}

impl Restored {
    /// Text may lose white space on its way; anything else is the same to the byte.
    fn is(&self, leaf: &Leaf) -> bool {
        self.exact.as_ref() == Some(&leaf.exact)
            || leaf.r#type.starts_with("text/")
                && (self.loose == leaf.text || self.loose == leaf.bytes)
            || leaf.r#type.starts_with("message/") && self.dense == leaf.dense
            // Without parts it is text.
            || leaf.r#type.starts_with("multipart/") && self.dense == leaf.dense
    }
}

fn sha(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn loose(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<_> = text.split('\n').map(str::trim_end).collect();
    sha(lines.join("\n").trim_end())
}

fn restored(message: &Message, all: &mut Vec<Restored>) -> usize {
    let mut mails = 1;
    let (kind, text) = message.body();
    let dense =
        |bytes: &[u8]| sha(bytes.split(u8::is_ascii_whitespace).collect::<Vec<_>>().concat());
    if !text.trim().is_empty() && !message.losses.contains(&Loss::BodyAsAttachment) {
        all.push(Restored {
            r#type: kind.into(),
            name: "body".into(),
            exact: None,
            loose: loose(text),
            dense: dense(text.as_bytes()),
        });
    }
    for attachment in &message.attachments {
        if let AttachmentBody::Item(nested) = &attachment.body {
            mails += restored(nested, all);
            continue;
        }
        let bytes = attachment.bytes();
        if !bytes.trim_ascii().is_empty() {
            let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            all.push(Restored {
                r#type: attachment.content_type.clone(),
                name: attachment.name.clone(),
                exact: Some(sha(&bytes)),
                loose: loose(&latin),
                dense: dense(&bytes),
            });
        }
    }
    mails
}

fn mails(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            mails(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            all.push(path);
        }
    }
}

/// What Python finds, a list a mail.
fn independent(paths: &[PathBuf]) -> Vec<Vec<Leaf>> {
    let mut python = Command::new("python3")
        .args(["-c", include_str!("leaves.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut input = python.stdin.take().unwrap();
    for path in paths {
        writeln!(input, "{}", path.display()).unwrap();
    }
    drop(input);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_leaf_of_every_real_mail_is_restored() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/eml");
    if !corpus.is_dir() {
        let required = std::env::var_os("TAR365_REQUIRE_CORPUS").is_some_and(|value| value == "1");
        assert!(!required, "{} is missing", corpus.display());
        return;
    }
    let mut paths = Vec::new();
    mails(&corpus, &mut paths);
    paths.sort();
    let known = independent(&paths);
    assert_eq!(known.len(), paths.len());
    let mut differences = Vec::new();
    for (path, leaves) in paths.iter().zip(known) {
        let message = super::read(std::fs::read(path).unwrap());
        let mut ours = Vec::new();
        let mails = restored(&message, &mut ours);
        let mut theirs = leaves;
        ours.retain(|leaf| match theirs.iter().position(|other| leaf.is(other)) {
            Some(at) => {
                theirs.remove(at);
                false
            }
            None => true,
        });
        // A plain text beside HTML is dropped, and counted.
        let may_lack = if message.losses.contains(&Loss::TextAlternative) { mails } else { 0 };
        let dropped =
            theirs.len() <= may_lack && theirs.iter().all(|leaf| leaf.r#type == "text/plain");
        let name = path.strip_prefix(&corpus).unwrap().display().to_string();
        let known = DIFFERENT.iter().find(|(different, ..)| *different == name);
        let as_known = match known {
            Some((_, only_ours, only_theirs, _)) => {
                (ours.len(), theirs.len()) == (*only_ours, *only_theirs)
            }
            None => dropped && ours.is_empty(),
        };
        if !as_known {
            let ours: Vec<_> = ours.iter().map(|leaf| (&leaf.r#type, &leaf.name)).collect();
            let theirs: Vec<_> = theirs.iter().map(|leaf| &leaf.r#type).collect();
            differences.push(format!("{name}: only ours {ours:?}, only theirs {theirs:?}"));
        }
    }
    assert!(differences.is_empty(), "{}\n{}", differences.len(), differences.join("\n"));
    // A corpus without mails would prove nothing.
    assert!(paths.len() >= 100, "{} mails", paths.len());
}
