//! Large mails: what is posted stays small, what is attached stays where it is.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;

use archive::Sha256Digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::message::{AttachmentBody, Message};
use crate::content::Content;
use crate::error::Error;
use crate::place::Loss;
use crate::region::Region;

/// A mail with an attachment of `size` bytes in base64 in a file, and that attachment's digest.
fn with_attachment(size: usize) -> (Arc<File>, u64, Vec<u8>) {
    let mut file = tempfile::tempfile().unwrap();
    let head = "Subject: large\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\
        text\r\n--b\r\nContent-Type: application/x-test; name=large.bin\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n";
    file.write_all(head.as_bytes()).unwrap();
    let mut digest = Sha256::new();
    let mut left = size;
    let mut block = 0_u8;
    while left > 0 {
        // 57 bytes are a line of 76 characters.
        let bytes = vec![block; left.min(57 * 1000)];
        digest.update(&bytes);
        for line in bytes.chunks(57) {
            let line = STANDARD.encode(line) + "\r\n";
            file.write_all(line.as_bytes()).unwrap();
        }
        left -= bytes.len();
        block = block.wrapping_add(1);
    }
    file.write_all(b"--b--\r\n").unwrap();
    let length = file.metadata().unwrap().len();
    (file.into(), length, digest.finalize().to_vec())
}

#[test]
fn a_large_attachment_is_decoded_while_it_is_read() {
    let size = 20_000_000;
    let (file, length, digest) = with_attachment(size);
    let message =
        Message::read(&super::item(Content::Spooled(file, length), length, json!({}))).unwrap();
    assert_eq!(message.body(), ("text", "text"));
    let [attachment] = message.attachments.as_slice() else { panic!("{message:?}") };
    let AttachmentBody::File(part) = &attachment.body else { panic!("no file") };
    assert_eq!((part.size(), attachment.name.as_str()), (size as u64, "large.bin"));
    for _ in 0..2 {
        let mut read = Sha256::new();
        std::io::copy(&mut part.open(), &mut read).unwrap();
        assert_eq!(read.finalize().to_vec(), digest);
    }
    assert!(attachment.json_size() > 4 * size as u64 / 3);
    assert!(message.json.to_string().len() < 2000);
}

#[test]
fn a_mail_that_is_not_what_the_archive_says_is_an_error() {
    let (file, length, _) = with_attachment(100_000);
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    Region::new(Arc::clone(&file), 0, length).reader().read_exact(&mut bytes).unwrap();
    let right: Sha256Digest = Sha256::digest(&bytes).into();
    let mut wrong = right;
    wrong[0] ^= 1;
    for (sha256, good) in [(right, true), (wrong, false)] {
        let region = Region::new(Arc::clone(&file), 0, length);
        let content = Content::Archived { region, sha256: Some(sha256) };
        let read = Message::read(&super::item(content, length, json!({})));
        assert_eq!(read.is_ok(), good);
        assert!(good || matches!(read, Err(Error::Content { .. })));
    }
}

#[test]
fn a_body_too_large_for_the_service_is_attached() {
    let html = format!("<img src=cid:i>{}", "\u{e4}\"".repeat(700_000));
    let mail = format!(
        "Content-Type: multipart/related; boundary=b\n\n--b\n\
         Content-Type: text/html; charset=utf-8\n\n{html}\n--b\n\
         Content-Type: image/png\nContent-ID: <i>\n\nx\n--b--"
    );
    // 1.4 million characters, but 2.8 million with the quotes escaped.
    let message = super::read(&mail);
    assert_eq!(message.body(), ("html", html.as_str()));
    assert!(message.losses.is_empty() && message.attachments[0].is_inline);

    let mail = mail.replace("\u{e4}\"", "\u{e4}\"\"");
    let message = super::read(&mail);
    assert_eq!(message.losses, [Loss::BodyAsAttachment]);
    let (kind, notice) = message.body();
    assert!(kind == "text" && notice.contains("body.html") && !notice.contains('\n'));
    assert_eq!(message.names(), ["body.html", "image001.png"]);
    // Nothing shows the image now: a mail reader would hide it.
    assert!(message.attachments.iter().all(|attachment| !attachment.is_inline));
    assert!(message.attachments[0].content_type.starts_with("text/html"));
    assert!(mail.contains(std::str::from_utf8(&message.attachments[0].bytes()).unwrap()));

    let message = super::read(format!("Subject: a\n\n{}", "x".repeat(3_000_001)));
    assert_eq!(
        (message.names(), message.attachments[0].bytes().len()),
        (vec!["body.txt"], 3_000_001)
    );
}

#[test]
fn a_header_block_too_large_is_left_out() {
    let block = |lines: usize| "X-Filler: some text that fills the line\r\n".repeat(lines);
    let message = super::read(format!("Subject: a\r\n{}\r\nb", block(6000)));
    assert!(message.property("String 0x007D").is_some() && message.losses.is_empty());
    // A single line is kept to its end.
    let people = "name <p@x.y>, ".repeat(10_000);
    let message = super::read(format!("To: {people}last@x.y\r\n\r\nb"));
    assert!(message.property("String 0x007D").unwrap().ends_with("last@x.y"));
    for lines in [7000, 50_000] {
        let message = super::read(format!("Subject: a\r\n{}\r\nb", block(lines)));
        assert!(message.property("String 0x007D").is_none());
        assert_eq!(message.losses, [Loss::Headers]);
        assert_eq!((message.json["subject"].as_str(), message.body()), (Some("a"), ("text", "b")));
    }
}

#[test]
fn nested_mails_cost_a_bounded_amount_of_memory() {
    let nested = format!("Subject: inner\n\n{}", "x".repeat(2_000_000));
    let mut mail = "Content-Type: multipart/digest; boundary=b\n".to_owned();
    for _ in 0..10 {
        mail += &format!("\n--b\n\n{nested}");
    }
    let message = super::read(mail + "\n--b--");
    let items = message.attachments.iter();
    let items = items.filter(|one| matches!(one.body, AttachmentBody::Item(_))).count();
    assert_eq!((items, message.attachments.len()), (8, 10));
    assert_eq!(message.losses, [Loss::NestedAsFile]);
    assert_eq!(message.attachments[9].bytes(), nested.as_bytes());
}

#[test]
fn parts_and_depth_are_bounded_and_nothing_is_lost_by_it() {
    let many =
        "Content-Type: multipart/mixed; boundary=b\n".to_owned() + &"\n--b\n\nx".repeat(5000);
    let message = super::read(&many);
    assert!(message.attachments.len() <= 1000);
    let last = message.attachments.last().unwrap().bytes();
    assert!(last.len() > 5 * 4000, "{}", last.len());

    let mut deep = String::new();
    for level in 0..200 {
        deep += &format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n");
    }
    let message = super::read(deep + "\nend of it");
    assert!(message.body().1.ends_with("end of it"));
}
