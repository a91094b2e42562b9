//! Mails through the filter, as the host gives them to it.

use drop_attachments::{DropAttachments, Dropped, Settings, rewrite};
use mime_edit::{Event, Walk};
use proptest::prelude::*;
use tar365_plugin::{ContentDecision, Filter, native};

const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// The mail with CRLF after the filter; none if it is kept.
#[track_caller]
fn filtered(settings: &str, mail: &str) -> Option<String> {
    let mail = mail.replace('\n', "\r\n");
    let item = native::item("mail", "message", serde_json::json!({"hasAttachments": true}));
    let mut out = Vec::new();
    match native::on_content::<DropAttachments>(settings, &item, mail.as_bytes(), &mut out) {
        Ok(ContentDecision::Keep) => {
            assert!(out.is_empty(), "a mail that is kept is not written");
            None
        }
        Ok(ContentDecision::Replace) => {
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out.matches('\n').count(), out.matches("\r\n").count());
            Some(out.replace("\r\n", "\n"))
        }
        other => panic!("{other:?}"),
    }
}

/// A mail of a text and this part.
fn with_part(part: &str) -> String {
    format!(
        "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\npre\n--b\n\ntext\n--b\n{part}\n--b--\n"
    )
}

fn part(media_type: &str, more: &str) -> String {
    format!("Content-Type: {media_type}\n{more}Content-Transfer-Encoding: base64\n\naGVsbG8=")
}

fn note(name: &str, media_type: &str, size: u64, sha256: &str) -> String {
    let name = if name.is_empty() { String::new() } else { format!("Name: {name}\n") };
    format!(
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n\
         Content-Disposition: inline\n\nThis attachment was removed when the mail was exported.\n\
         {name}Type: {media_type}\nSize: {size} bytes\nSHA-256: {sha256}"
    )
}

#[track_caller]
fn drops(settings: &str, part: &str) -> bool {
    filtered(settings, &with_part(part)).is_some()
}

#[test]
fn a_note_stands_in_its_place_and_all_else_is_as_it_was() {
    let part = part(
        "application/pdf; name=ignored.pdf",
        "X-Own: stays\nContent-Disposition: \
        attachment;\n filename=\"a b.pdf\"\nContent-ID: <1@x>\n",
    );
    let note = note("a b.pdf", "application/pdf", 5, HELLO)
        .replace("inline\n", "inline\nX-Own: stays\nContent-ID: <1@x>\n");
    assert_eq!(filtered("", &with_part(&part)).as_deref(), Some(&*with_part(&note)));
    // The note is no attachment: a second time changes nothing.
    assert_eq!(filtered("", &with_part(&note)), None);
}

#[test]
fn a_mail_that_is_an_attachment_becomes_the_note() {
    let mail = "Subject: fax\nMIME-Version: 1.0\nContent-Type: image/tiff\nTo: a@b\n\nhello";
    let note = note("", "image/tiff", 5, HELLO)
        .replace("Content-Type", "Subject: fax\nMIME-Version: 1.0\nContent-Type")
        .replace("inline\n", "inline\nTo: a@b\n");
    assert_eq!(filtered("", mail), Some(note + "\n"));
}

#[test]
fn an_attachment_without_a_body_or_a_head_that_ends() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for part in ["Content-Type: a/b\n", "Content-Type: a/b"] {
        let mail = format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n{part}\n--b--\n");
        let expected = format!(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n{}\n--b--\n",
            note("", "a/b", 0, empty)
        );
        assert_eq!(filtered("", &mail), Some(expected), "{part:?}");
    }
}

#[test]
fn types_names_and_inline() {
    let pdf = part("Application/PDF; name=\"Report.PDF\"", "");
    assert!(drops(r#"{"drop": [{"types": ["application/*"]}]}"#, &pdf));
    assert!(drops(r#"{"drop": [{"types": ["image/*", "*/pdf"]}]}"#, &pdf));
    assert!(!drops(r#"{"drop": [{"types": ["image/*"]}]}"#, &pdf));
    assert!(drops(r#"{"drop": [{"names": ["*.pdf"]}]}"#, &pdf));
    assert!(!drops(r#"{"drop": [{"names": ["*.pdf"], "types": ["image/*"]}]}"#, &pdf));
    assert!(!drops(r#"{"keep": [{"names": ["report.*"]}]}"#, &pdf));
    assert!(drops(r#"{"keep": [{"names": ["report.*"], "inline": true}]}"#, &pdf));
    assert!(drops(r#"{"drop": [{"names": [""]}]}"#, &part("image/png", "")));
    let inline = part("image/png", "Content-Disposition: INLINE\n");
    assert!(drops(r#"{"drop": [{"inline": true}]}"#, &inline));
    assert!(!drops(r#"{"drop": [{"inline": false}]}"#, &inline));
    let related = with_part(&part("image/png", "Content-ID: <a>\n")).replace("mixed", "related");
    assert!(filtered(r#"{"drop": [{"inline": true}]}"#, &related).is_some());
    assert!(filtered(r#"{"drop": [{"inline": false}]}"#, &related).is_none());
}

#[test]
fn names_in_every_notation() {
    for (name, expected) in [
        ("filename=\"=?utf-8?B?w5xiZXIuZXhl?=\"", "Über.exe"),
        ("filename==?iso-8859-1?Q?=DCber=2Eexe?=", "Über.exe"),
        ("filename*=utf-8''%C3%9Cber.exe", "Über.exe"),
        ("filename*0*=utf-8''%C3%9Cb;\n filename*1=er.e; filename*2=xe", "Über.exe"),
        ("filename*0=\"Üb\"; filename*1=\"er.exe\"", "Über.exe"),
        ("filename=\"a\\\"b.exe\"", "a\"b.exe"),
        ("FileName = x.EXE", "x.EXE"),
    ] {
        let part =
            part("application/octet-stream", &format!("Content-Disposition: attachment; {name}\n"));
        let mail = filtered(r#"{"drop": [{"names": ["*.exe"]}]}"#, &with_part(&part));
        let mail = mail.unwrap_or_else(|| panic!("{name} is not dropped"));
        let text = if expected.is_ascii() {
            expected.to_owned()
        } else {
            expected.replace('Ü', "=C3=9C")
        };
        assert!(mail.contains(&format!("Name: {text}\n")), "{name}: {mail}");
    }
}

#[test]
fn sizes_are_of_the_decoded_content() {
    // Five bytes, eight encoded.
    let hello = part("a/b", "");
    for (condition, dropped) in [
        (r#""at_least": 5"#, true),
        (r#""at_least": 6"#, false),
        (r#""at_most": 5"#, true),
        (r#""at_most": "4 B""#, false),
        (r#""at_least": 1, "at_most": 4"#, false),
        (r#""at_least": 5, "at_most": 5"#, true),
        (r#""at_least": "1 KiB""#, false),
    ] {
        assert_eq!(
            drops(&format!(r#"{{"drop": [{{{condition}}}]}}"#), &hello),
            dropped,
            "{condition}"
        );
        assert_eq!(
            drops(&format!(r#"{{"keep": [{{{condition}}}]}}"#), &hello),
            !dropped,
            "{condition}"
        );
    }
    // Larger than what is read at once.
    let long = |size: usize| format!("Content-Type: a/b\n\n{}", "x".repeat(size));
    let settings = r#"{"drop": [{"at_least": "200 KiB"}], "keep": [{"at_least": "300 KiB"}]}"#;
    assert!(!drops_long(settings, &long(200 * 1024 - 1)));
    assert!(drops_long(settings, &long(200 * 1024)));
    assert!(drops_long(settings, &long(300 * 1024 - 1)));
    assert!(!drops_long(settings, &long(300 * 1024)));
    let two = format!("{}\n--b\n{}", long(3000), long(5000));
    let mail = filtered(r#"{"drop": [{"at_least": 4000}]}"#, &with_part(&two)).unwrap();
    assert!(mail.contains(&long(3000)) && mail.contains("Size: 5000 bytes"));
}

fn drops_long(settings: &str, part: &str) -> bool {
    let settings: Settings = serde_json::from_str(settings).unwrap();
    let mail = with_part(part);
    let mut out = Vec::new();
    let dropped = rewrite(&settings, mail.as_bytes(), &mut out).unwrap();
    assert!(!dropped.is_empty() || out.is_empty() || out == mail.as_bytes());
    !dropped.is_empty()
}

#[test]
fn embedded_messages_are_looked_into_or_taken_whole() {
    let inner = with_part(&part("application/zip; name=x.zip", ""))
        .replace("=b\n", "=i\n")
        .replace("--b", "--i");
    let mail = with_part(&format!("Content-Type: message/rfc822; name=fw.eml\n\n{inner}"));
    let inside = filtered("", &mail).unwrap();
    assert_eq!(
        inside,
        mail.replace(
            &part("application/zip; name=x.zip", ""),
            &note("x.zip", "application/zip", 5, HELLO)
        )
    );
    let whole = filtered(r#"{"messages": "whole"}"#, &mail).unwrap();
    assert!(whole.contains("Name: fw.eml\nType: message/rfc822\n") && !whole.contains("x.zip"));
    assert_eq!(filtered(r#"{"messages": "whole", "drop": [{"names": ["*.zip"]}]}"#, &mail), None);
    // In base64 it can't be looked into.
    let encoded = part("message/rfc822", "");
    assert!(drops("", &encoded));
}

#[test]
fn what_is_the_mail_itself_stays() {
    for (mail, dropped) in [
        ("Subject: x\n\ntext", false),
        ("Content-Type: text/html\n\n<p>", false),
        ("Content-Type: text/plain; name=x.txt\n\ntext", true),
        ("Content-Type: application/pkcs7-mime; name=smime.p7m\n\nMIIB", false),
        (
            "Content-Type: multipart/encrypted; boundary=b\n\n--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--b\nContent-Type: application/octet-stream; name=x.asc\n\nx\n--b--",
            false,
        ),
        (
            "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/calendar; name=x.ics\n\nx\n--b--",
            false,
        ),
        (
            "Content-Type: multipart/report; boundary=b\n\n--b\n\nx\n--b\nContent-Type: message/delivery-status\n\nx\n--b--",
            false,
        ),
        (
            "Content-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: application/pgp-signature; name=x.asc\n\nx\n--b--",
            false,
        ),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/pgp-signature; name=x.asc\n\nx\n--b--",
            true,
        ),
    ] {
        assert_eq!(filtered("", mail).is_some(), dropped, "{mail}");
    }
}

#[test]
fn signed_mails() {
    let mail = "Content-Type: multipart/signed; boundary=s\n\n--s\nContent-Type: a/b\n\nhello\n--s\n\
                Content-Type: application/pkcs7-signature; name=smime.p7s\n\nx\n--s--\n";
    let expected = mail.replace("Content-Type: a/b\n\nhello", &note("", "a/b", 5, HELLO));
    assert_eq!(filtered("", mail), Some(expected));
    assert_eq!(filtered(r#"{"signed": "keep"}"#, mail), None);
}

#[test]
fn a_name_cannot_make_lines_of_its_own() {
    let part = part(
        "a/b",
        "Content-Disposition: attachment; filename*=utf-8''x%0D%0A%0D%0A--b--%0A.exe\n",
    );
    let mail = filtered("", &with_part(&part)).unwrap();
    assert!(mail.contains("Name: x    --b-- .exe\n"), "{mail}");
}

#[test]
fn other_items_are_kept() {
    let item = native::item("mail", "event", serde_json::json!({}));
    let mail = with_part(&part("a/b", ""));
    let decision = native::on_content::<DropAttachments>("", &item, mail.as_bytes(), Vec::new());
    assert_eq!(decision, Ok(ContentDecision::Keep));
}

#[test]
fn settings_that_are_wrong_say_where() {
    for (settings, place) in [
        (r#"{"dorp": []}"#, "unknown field `dorp`"),
        (r#"{"drop": [{"type": ["a"]}]}"#, "unknown field `type`"),
        (r#"{"drop": []}"#, "drop: the list is empty"),
        (r#"{"drop": [{"types": []}]}"#, "an empty list"),
        (r#"{"drop": [{}, {"at_least": "65 MiB"}]}"#, "drop[1]: at_least"),
        (r#"{"keep": [{"at_least": 2, "at_most": 1}]}"#, "keep[0]: at_least is more"),
        (r#"{"messages": "both"}"#, "unknown variant `both`"),
        (r#"{"drop": [{"at_least": "much"}]}"#, "line 1"),
    ] {
        let error = DropAttachments::configure(settings).err().unwrap_or_default();
        assert!(error.starts_with("settings: ") && error.contains(place), "{settings}: {error}");
    }
}

#[test]
fn a_large_mail_goes_through_in_little_memory() {
    // 64 MB, dropped and kept: the output is counted, nothing of it is stored.
    struct Count(u64);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            assert!(bytes.len() <= 2 << 20, "{} bytes at once", bytes.len());
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let head = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: a/b\n\n";
    for (settings, written) in [("{}", 300), (r#"{"drop": [{"at_most": "1 MiB"}]}"#, 64 << 20)] {
        let mail = std::io::Read::chain(
            head.as_bytes(),
            std::io::Read::take(std::io::repeat(b'x'), 64 << 20),
        );
        let settings: Settings = serde_json::from_str(settings).unwrap();
        let mut count = Count(0);
        let dropped = rewrite(&settings, mail, &mut count).unwrap();
        assert!(count.0.abs_diff(written) < 500, "{}", count.0);
        let expected = Dropped { name: None, media_type: "a/b".into(), size: 64 << 20 };
        assert_eq!(dropped, if written == 300 { vec![expected] } else { vec![] });
    }
}

/// What stands in what, and what of it is an attachment.
fn structure(mail: &[u8]) -> (Vec<(Vec<String>, bool)>, usize) {
    let mut walk = Walk::new(mail);
    let (mut parts, mut attachments) = (Vec::new(), 0);
    while let Some(event) = walk.next_event().unwrap() {
        if let Event::Head(part) = event {
            parts.push((part.within.clone(), part.form == mime_edit::Form::Leaf));
            attachments += usize::from(part.is_attachment());
        }
    }
    (parts, attachments)
}

proptest! {
    #[test]
    fn the_structure_stays_and_no_attachment_does(
        lines in prop::collection::vec(
            prop::sample::select(vec![
                "--b", "--b--", "--c", "--c--", "", "", "text", "Content-Type: multipart/mixed; boundary=b",
                "Content-Type: multipart/digest; boundary=c", "Content-Type: message/rfc822",
                "Content-Type: a/b; name=x", "Content-Disposition: attachment", " fold: x",
                "Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: quoted-printable",
            ]),
            0..40,
        ),
        end in prop::sample::select(vec!["\r\n", "\n"]),
    ) {
        let mail = lines.join(end);
        let mut out = Vec::new();
        let dropped = rewrite(&Settings::default(), mail.as_bytes(), &mut out).unwrap();
        let (before, attachments) = structure(mail.as_bytes());
        prop_assert_eq!(dropped.len(), attachments);
        if !dropped.is_empty() {
            prop_assert_eq!(structure(&out), (before, 0), "{}", String::from_utf8_lossy(&out));
        }
    }
}
