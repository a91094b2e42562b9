//! Mails through the filter, as the host gives them to it, and real ones beside Python's `email`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use strip_tracking::StripTracking;
use tar365_plugin::{ContentDecision, Filter, native};

/// The mail after the filter; none if it is kept.
#[track_caller]
fn filtered(settings: &str, mail: &[u8]) -> Option<Vec<u8>> {
    let item = native::item("mail", "message", serde_json::json!({}));
    let mut out = Vec::new();
    match native::on_content::<StripTracking>(settings, &item, mail, &mut out) {
        Ok(ContentDecision::Keep) => None,
        Ok(ContentDecision::Replace) => Some(out),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn filtered_text(settings: &str, mail: &str) -> Option<String> {
    filtered(settings, mail.as_bytes()).map(|mail| String::from_utf8(mail).unwrap())
}

const PIXEL: &str = "<img src=\"https://x.example/o\" width=\"1\" height=\"1\">";
const LINK: &str = "https://x.example/?utm_source=a&b=1";

#[test]
fn parts_in_every_encoding_and_nothing_else() {
    let mail = format!(
        "Subject: {LINK}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{LINK}\r\n--b\r\n\
         Content-Type: text/html; charset=utf-16le\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         UTF16\r\n--b\r\nContent-Type: text/html; charset=shift_jis\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>=95=5C<img =\r\nsrc=3D\"https://x.example/\
         o\" width=3D1 height=3D1>=95=5C</p>\r\n--b\r\nContent-Type: text/plain\r\n\r\n{LINK}\r\n--b\r\n\
         Content-Type: text/html; name=a.html\r\n\r\n{PIXEL}\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
         Subject: {LINK}\r\n\r\n{LINK}\r\n--b--\r\n{LINK}\r\n"
    );
    let utf16 = |text: &str| {
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        String::from_utf8(mime_edit::encode(mime_edit::Encoding::Base64, &bytes, b"a\r\nb"))
            .unwrap()
    };
    let before = mail.replace("UTF16", &utf16(&format!("<p>é{PIXEL}é</p>")));
    let clean = "https://x.example/?b=1";
    let after = mail
        .replace("UTF16", &utf16("<p>éé</p>"))
        .replace(
            "<p>=95=5C<img =\r\nsrc=3D\"https://x.example/o\" width=3D1 height=3D1>=95=5C</p>",
            "<p>=95\\=95\\</p>",
        )
        .replace(&format!("text/plain\r\n\r\n{LINK}"), &format!("text/plain\r\n\r\n{clean}"))
        .replace(
            &format!("Subject: {LINK}\r\n\r\n{LINK}"),
            &format!("Subject: {LINK}\r\n\r\n{clean}"),
        );
    assert_eq!(filtered_text("", &before), Some(after.clone()));
    assert_eq!(filtered_text("", &after), None);
    let html_only = filtered_text(r#"{"plain": false}"#, &before).unwrap();
    assert!(
        html_only.contains(&format!("text/plain\r\n\r\n{LINK}")) && !html_only.contains("<img =")
    );
}

#[test]
fn signed_mails() {
    let mail = format!(
        "Content-Type: multipart/signed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>{PIXEL}\n--b\n\
         Content-Type: application/pgp-signature\n\nx\n--b--\n"
    );
    assert_eq!(filtered_text("", &mail), None);
    assert_eq!(filtered_text(r#"{"signed": "change"}"#, &mail), Some(mail.replace(PIXEL, "")));
}

#[test]
fn a_text_that_is_too_long_is_kept_and_the_operator_is_told() {
    let mut mail = format!("Content-Type: text/html\n\n{PIXEL}").into_bytes();
    mail.extend(std::iter::repeat_n(b"0123456789abcde\n", 600_000).flatten());
    assert_eq!(filtered("", &mail), None);
    let messages = native::messages();
    assert!(
        matches!(&messages[..], [(tar365_plugin::log::Level::Warn, text)] if text.contains("1 text"))
    );
}

#[test]
fn other_items_are_kept() {
    let item = native::item("mail", "event", serde_json::json!({}));
    let mail = format!("Content-Type: text/html\n\n{PIXEL}");
    let decision = native::on_content::<StripTracking>("", &item, mail.as_bytes(), Vec::new());
    assert_eq!(decision, Ok(ContentDecision::Keep));
}

#[test]
fn settings_that_are_wrong_say_where() {
    for (settings, what) in [
        (r#"{"pixel": true}"#, "unknown field `pixel`"),
        (r#"{"pixels": false, "parameters": false}"#, "all are off"),
        (r#"{"more_parameters": ["a", ""]}"#, "more_parameters[1]"),
        (r#"{"signed": "break"}"#, "unknown variant `break`"),
        (r#"{"unwrap": "yes"}"#, "line 1"),
    ] {
        let error = StripTracking::configure(settings).unwrap_err();
        assert!(error.starts_with("settings: ") && error.contains(what), "{settings}: {error}");
    }
}

/// Prints for each mail whose path comes in what it consists of: head, type, what is decoded, and
/// what stands around its parts.
const TREE: &str = r#"
import sys, json, email, hashlib
for path in sys.stdin:
    mail = email.message_from_binary_file(open(path.rstrip("\n"), "rb"))
    print(json.dumps([[ascii(part.items()), part.get_content_type(),
        "" if part.is_multipart() else (part.get_payload(decode=True) or b"").decode("latin-1"),
        ascii(part.preamble), ascii(part.epilogue)] for part in mail.walk()]))
"#;

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

fn trees(paths: &[PathBuf]) -> Vec<Vec<[String; 5]>> {
    let mut python = Command::new("python3")
        .args(["-c", TREE])
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

/// Every real mail that has HTML, with a pixel before and a link after each HTML text: what
/// Python reads afterwards is what it reads of the mail with the clean link and no pixel.
#[test]
fn real_mails_keep_all_else() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpus/eml");
    if !corpus.is_dir() {
        let required = std::env::var_os("TAR365_REQUIRE_CORPUS").is_some_and(|value| value == "1");
        assert!(!required, "{} is missing", corpus.display());
        return;
    }
    let mut paths = Vec::new();
    mails(&corpus, &mut paths);
    paths.sort();
    let dir = tempfile::tempdir().unwrap();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (index, path) in paths.iter().enumerate() {
        let mail = std::fs::read(path).unwrap();
        let mut planted = Vec::new();
        let plant = |part: &mime_edit::Part, text: &str| {
            let html = part.media_type == "text/html";
            html.then(|| format!("{PIXEL}{text}<a href=\"https://x.example/?utm_id=1\">"))
        };
        let wants = |part: &mime_edit::Part| {
            !part.is_attachment() && !part.within.iter().any(|within| within == "multipart/signed")
        };
        let outcome =
            mime_edit::edit_texts(&mail[..], &mut planted, 1 << 20, wants, plant).unwrap();
        if !outcome.changed {
            continue;
        }
        let clean = filtered("", &planted).unwrap();
        let expected = dir.path().join(format!("{index}.expected"));
        let mut marked = Vec::new();
        let mark = |part: &mime_edit::Part, text: &str| {
            let html = part.media_type == "text/html";
            html.then(|| format!("{text}<a href=\"https://x.example/\">"))
        };
        mime_edit::edit_texts(&mail[..], &mut marked, 1 << 20, wants, mark).unwrap();
        // What the mail itself had of tracking goes from both.
        let marked = filtered("", &marked).unwrap_or(marked);
        std::fs::write(&expected, &marked).unwrap();
        let result = dir.path().join(format!("{index}.result"));
        std::fs::write(&result, &clean).unwrap();
        before.push(expected);
        after.push(result);
    }
    assert!(before.len() >= 20, "{} of {} mails have HTML", before.len(), paths.len());
    let (expected, results) = (trees(&before), trees(&after));
    assert_eq!(expected.len(), before.len());
    for ((path, expected), result) in before.iter().zip(expected).zip(results) {
        assert_eq!(result, expected, "{}", path.display());
    }
}
