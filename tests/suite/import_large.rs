//! Mails that are large or odd: each comes back, as far as doc/restore.md says.

use std::fmt::Write as _;

use simulator::{Language, Options};

use crate::harness::Archive;
use crate::import::{Saved, assert_nobody_was_mailed, compare, counts, emptied, writable};

/// Lines of base64 that decode to at least so many bytes.
fn base64_lines(bytes: usize) -> String {
    let mut lines = String::with_capacity(bytes * 4 / 3 + bytes / 54 + 100);
    for number in 0..bytes.div_ceil(54) {
        let _ = writeln!(lines, "{:A>72}\r", format!("{number:08}"));
    }
    lines
}

fn parts() -> String {
    let (file, image) = (base64_lines(10_000_000), base64_lines(4_000_000));
    format!(
        "From: a@example.com\r\nTo: b@example.com\r\nSubject: parts\r\nMessage-ID: <parts@example.com>\r\n\
         Disposition-Notification-To: a@example.com\r\nReferences: <one@example.com> <two@example.com>\r\n\
         In-Reply-To: <two@example.com>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=outer\r\n\r\n\
         --outer\r\nContent-Type: multipart/related; boundary=inner\r\n\r\n\
         --inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
         <p>Größe <img src=\"cid:logo@example.com\"></p>\r\n\
         --inner\r\nContent-Type: image/png; name=logo.png\r\nContent-ID: <logo@example.com>\r\n\
         Content-Disposition: inline; filename=logo.png\r\nContent-Transfer-Encoding: base64\r\n\r\n{image}\
         --inner--\r\n\
         --outer\r\nContent-Type: application/zip; name=backup.zip\r\n\
         Content-Disposition: attachment; filename=backup.zip\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{file}\
         --outer\r\nContent-Type: message/rfc822\r\n\r\n\
         From: c@example.com\r\nSubject: nested\r\nDate: Mon, 02 Jan 2023 10:00:00 +0000\r\n\
         Content-Type: multipart/mixed; boundary=nested\r\n\r\n\
         --nested\r\nContent-Type: text/plain\r\n\r\nInside.\r\n\
         --nested\r\nContent-Type: application/pdf; name=inside.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n--nested--\r\n\
         --outer--\r\n"
    )
}

#[test]
fn large_and_odd_mails_come_back() {
    let source = writable(Options { users: 1, mails: 0, files: 0, ..Options::default() });
    let world = source.simulator.tenant();
    let user = &world.users()[0];
    let folders = world.folders(&user.id).unwrap();
    let inbox = folders.iter().find(|folder| folder.well_known == Some("inbox")).unwrap();
    let crowd: Vec<_> =
        (0..600).map(|number| format!("Person {number} <p{number}@example.com>")).collect();
    let from = "From: a@example.com\r\nTo: b@example.com\r\n";
    let twin =
        format!("{from}Subject: twins\r\nMessage-ID: <twin@example.com>\r\n\r\nThe same.\r\n");
    let mails = [
        parts(),
        format!(
            "{from}Subject: long\r\nMessage-ID: <long@example.com>\r\n\r\n{}",
            "A line of a long text.\r\n".repeat(220_000)
        ),
        format!(
            "From: a@example.com\r\nTo: {}\r\nSubject: crowd\r\nMessage-ID: <crowd@example.com>\r\n\r\nAll!\r\n",
            crowd.join(",\r\n ")
        ),
        format!("{from}Subject: nameless\r\n\r\nWithout a Message-ID.\r\n"),
        twin.clone(),
        twin,
        format!(
            "{from}Subject: another twin\r\nMessage-ID: <twin@example.com>\r\n\r\nAnother.\r\n"
        ),
        format!("{from}Subject: nothing\r\n\r\n"),
        "\r\n".to_owned(),
    ];
    for mail in &mails {
        world.add_message(&user.id, &inbox.id, mail.as_bytes()).unwrap();
    }
    let saved = Saved::export(&source);
    let target = emptied(&source, Language::English);
    for journal in ["first", "second"] {
        let run = saved.import(&target, journal, &[]).expect(0);
        let all = mails.len() as u64;
        let expected = if journal == "first" { [all, 0, 0, 0, 0] } else { [0, 0, all, 0, 0] };
        assert_eq!(counts(&run), expected, "{}", run.stderr);
        let losses =
            ["1 items: body-as-attachment", "1 items: receipt-request", "1 items: recipients"];
        for loss in losses {
            assert!(run.stderr.contains(loss), "{loss}:\n{}", run.stderr);
        }
        let after = Saved::export(&target);
        let compared = compare(&saved, &after, "beside", None);
        assert_eq!(compared.mails, mails.len());
        let explained = |cause: &str| compared.explained.get(cause).copied().unwrap_or_default();
        assert_eq!(explained("body-as-attachment"), 1, "{compared:?}");
        assert!(explained("recipients") >= 1, "{compared:?}");
        assert_nobody_was_mailed(&target);
        let restored = Archive::new(&after.bytes);
        let section =
            restored.members.iter().find_map(|m| m.path.strip_suffix("/mail.ndjson")).unwrap();
        let lines = restored.lines(&format!("{section}/mail"));
        let asks = |line: &serde_json::Value| line["graph"]["isReadReceiptRequested"] == true;
        assert!(!lines.iter().any(asks), "a receipt is asked for");
    }
    let log = target.simulator.log();
    let sessions = log.count(|record| record.path.ends_with("/createUploadSession"));
    // The file, the image and the text; the second run has no need of them.
    assert_eq!(sessions, 3);
}
