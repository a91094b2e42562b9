//! Real mails, beside Python's `email`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mime_edit::{Encoding, Event, Form, Part, Text, Walk, decode};

/// Prints the leaves of each mail whose path comes in, as a list of [type, bytes in hex]. White
/// space is left out: Python drops the carriage returns of quoted-printable, and a last line end; a leaf with nothing
/// else is left out too.
const LEAVES: &str = r#"
import sys, json, email, email.policy
for path in sys.stdin:
    mail = email.message_from_binary_file(open(path.rstrip("\n"), "rb"))
    leaves = []
    for part in mail.walk():
        if part.is_multipart() or part.get_content_maintype() == "multipart": continue
        data = b"".join(part.get_payload(decode=True).split())
        if not data: continue
        leaves.append([part.get_content_type(), data.hex()])
    print(json.dumps(leaves))
"#;

/// Mails that are understood differently, and why that is right.
const DIFFERENT: [(&str, &str); 21] = [
    ("cpython/msg_15.eml", "parts after an inner multipart with the boundary of the outer"),
    ("cpython/msg_16.eml", "a delivery status is one leaf"),
    ("cpython/msg_25.eml", "a multipart without a boundary is one leaf"),
    ("cpython/msg_36.eml", "an external body is one leaf"),
    ("cpython/msg_39.eml", "parts after an inner multipart with the boundary of the outer"),
    ("cpython/msg_41.eml", "a multipart without a boundary is one leaf"),
    ("cpython/msg_43.eml", "a delivery status is one leaf"),
    ("mail-parser/malformed-005.eml", "a boundary that looks like another's end"),
    ("mail-parser/malformed-017.eml", "the semicolon before the boundary lacks"),
    ("mail-parser/malformed-019.eml", "white space before a colon"),
    ("mail-parser/rfc-001.eml", "an external body is one leaf"),
    ("mail-parser/rfc-008.eml", "an embedded message in base64 is decoded, not walked"),
    ("mail-parser/thirdparty-002.eml", "base64 goes on after its padding"),
    ("mail-parser/thirdparty-003.eml", "white space after the name of the encoding"),
    ("mail-parser/thirdparty-009.eml", "a partial message is one leaf"),
    ("mail-parser/thirdparty-012.eml", "a boundary that is folded"),
    ("mime4j/testmsgs-bad-newlines-multiple-parts-base64.eml", "as rfc-008"),
    ("mime4j/testmsgs-base64encoded-rfc822message-nested.eml", "as rfc-008"),
    ("mime4j/testmsgs-base64encoded-rfc822message.eml", "as rfc-008"),
    ("mime4j/testmsgs-multipartemptypart.eml", "an epilogue is no part"),
    ("mime4j/testmsgs-obsolete.eml", "white space before a colon"),
];

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

fn independent(paths: &[PathBuf]) -> Vec<Vec<(String, String)>> {
    let mut python = Command::new("python3")
        .args(["-c", LEAVES])
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

/// The leaves as type and decoded bytes in hex. Asserts that all bytes are there, and that every
/// text goes both ways.
fn leaves(path: &Path) -> Vec<(String, String)> {
    let mail = std::fs::read(path).unwrap();
    let mut walk = Walk::new(&mail[..]);
    let (mut all, mut leaves, mut body) = (Vec::new(), Vec::new(), Vec::new());
    let mut current = Part::default();
    while let Some(event) = walk.next_event().unwrap() {
        match event {
            Event::Between(bytes) => all.extend_from_slice(bytes),
            Event::Head(part) => {
                all.extend_from_slice(&part.raw);
                let fields: Vec<u8> =
                    part.fields().iter().flat_map(|field| field.raw.to_vec()).collect();
                assert!(part.raw.starts_with(&fields) && part.raw.len() - fields.len() <= 2);
                current = part.clone();
            }
            Event::Body(bytes) => {
                all.extend_from_slice(bytes);
                body.extend_from_slice(bytes);
            }
            Event::End { .. } => {
                assert_eq!(current.form, Form::Leaf);
                let bytes = decode(current.encoding, &body);
                if let Some(text) = Text::decode(&current, &body) {
                    let again = text.encode(&text.text);
                    assert_eq!(decode(current.encoding, &again), bytes, "{}", path.display());
                    if current.encoding == Encoding::Identity {
                        assert_eq!(again, body);
                    }
                }
                let hex: String = bytes
                    .iter()
                    .filter(|byte| !byte.is_ascii_whitespace() && **byte != 0x0b)
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                if !hex.is_empty() {
                    leaves.push((current.media_type.clone(), hex));
                }
                body.clear();
            }
        }
    }
    assert!(all == mail, "{} is not what it was", path.display());
    leaves
}

#[test]
fn real_mails_have_the_parts_that_python_finds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpus/eml");
    if !corpus.is_dir() {
        let required = std::env::var_os("TAR365_REQUIRE_CORPUS").is_some_and(|value| value == "1");
        assert!(!required, "{} is missing", corpus.display());
        return;
    }
    let mut paths = Vec::new();
    mails(&corpus, &mut paths);
    paths.sort();
    assert!(paths.len() >= 100, "{} mails", paths.len());
    let mut differences = Vec::new();
    for (path, theirs) in paths.iter().zip(independent(&paths)) {
        let ours = leaves(path);
        let name = path.strip_prefix(&corpus).unwrap().display().to_string();
        let known = DIFFERENT.iter().any(|(known, _)| *known == name);
        if (ours == theirs) == known {
            let short = |leaves: &[(String, String)]| -> Vec<String> {
                let part = |leaf: &(String, String)| format!("{} {}", leaf.0, leaf.1.len() / 2);
                leaves.iter().map(part).collect()
            };
            differences.push(format!("{name}:\n  {:?}\n  {:?}", short(&ours), short(&theirs)));
        }
    }
    assert!(differences.is_empty(), "{}\n{}", differences.len(), differences.join("\n"));
}
