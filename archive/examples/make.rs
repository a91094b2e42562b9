//! Writes an archive of one mailbox for benchmarks: `make MAILS BYTES > archive.tar`.

use std::io::{self, Write};

use archive::metadata::{self, Line};
use archive::writer::{FileMember, Options};
use archive::{Head, Sha256Digest, Writer};
use serde_json::json;
use sha2::{Digest, Sha256};

const PREFIX: &str = "users/ann@example.com/mail";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Some(Ok(mails)), Some(Ok(bytes))) = (numbers.next(), numbers.next()) else {
        return Err("usage: make MAILS BYTES > archive.tar".into());
    };
    let spool_dir = std::env::temp_dir();
    let mut writer = Writer::new(io::stdout().lock(), Options { align: None, spool_dir })?;
    let services = vec!["mail".to_owned()];
    writer.head(&Head::new("tenant".to_owned(), services, json!({}), Vec::new()))?;

    let mut lines = tempfile::tempfile()?;
    let mut digest = Sha256::new();
    let mut size = 0;
    let owner = json!({"id": "ann", "userPrincipalName": "ann@example.com"});
    let inbox = json!({"id": "i", "displayName": "Inbox", "wellKnownName": "inbox"});
    let first = [
        line(metadata::OWNER, "ann", None, owner),
        line(metadata::FOLDER, "i", Some(format!("{PREFIX}/Inbox")), inbox),
    ];
    for line in first.into_iter().chain((0..mails).map(mail_line)) {
        let text = line.encode();
        digest.update(&text);
        size += text.len() as u64;
        lines.write_all(text.as_bytes())?;
    }
    io::Seek::rewind(&mut lines)?;
    let sha256: Sha256Digest = digest.finalize().into();
    let path = format!("{PREFIX}.ndjson");
    let member = FileMember { path: &path, mtime: 0, size, sha256, item: false };
    writer.file(&member, &mut io::BufReader::new(lines))?;
    writer.directory(&format!("{PREFIX}/Inbox"), 0)?;
    for number in 0..mails {
        let content = mail(number, bytes);
        let sha256 = Sha256::digest(&content).into();
        let line = mail_line(number);
        let path = line.path.as_deref().unwrap_or_default();
        let size = content.len() as u64;
        let member = FileMember { path, mtime: received(number), size, sha256, item: true };
        writer.file(&member, &mut content.as_bytes())?;
    }
    let (mut stdout, _) = writer.finish(None)?;
    stdout.flush()?;
    Ok(())
}

fn line(kind: &str, id: &str, path: Option<String>, graph: serde_json::Value) -> Line {
    Line { kind: kind.to_owned(), id: id.to_owned(), path, graph }
}

/// Seconds since 1970.
const fn received(number: u64) -> i64 {
    1_600_000_000 + number.cast_signed() * 60
}

fn mail_line(number: u64) -> Line {
    let (id, subject) = (format!("m{number:09}"), format!("Mail {number}"));
    let name = archive::path::mail_name(received(number), &subject, &id);
    let date = chrono::DateTime::from_timestamp(received(number), 0).unwrap_or_default();
    let date = date.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let graph = json!({
        "id": id,
        "parentFolderId": "i",
        "subject": subject,
        "receivedDateTime": date,
        "sentDateTime": date,
        "isRead": true,
        "isDraft": false,
        "internetMessageId": format!("<{number}@example.com>"),
        "from": {"emailAddress": {"name": "Bob", "address": "bob@example.com"}},
    });
    line(metadata::MESSAGE, &id, Some(format!("{PREFIX}/Inbox/{name}")), graph)
}

fn mail(number: u64, bytes: u64) -> String {
    let mut text = format!(
        "From: Bob <bob@example.com>\r\nTo: ann@example.com\r\nSubject: Mail {number}\r\n\
         Message-ID: <{number}@example.com>\r\n\r\n"
    );
    while (text.len() as u64) < bytes {
        text.push_str("The quick brown fox jumps over the lazy dog.\r\n");
    }
    text
}
