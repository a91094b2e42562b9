//! Bytes nobody would call a mail.

use std::io::Read;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::super::message::{Attachment, AttachmentBody, Message};
use super::super::outline::Outline;
use crate::content::Content;

/// Reads at most a few bytes at a time.
struct Slow<'a>(&'a [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let most = self.1.min(into.len());
        (&mut self.0).read(&mut into[..most])
    }
}

/// What mails are made of, in any order.
fn mail() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"\r\n"[..]),
        Just(&b"\n"[..]),
        Just(&b"Content-Type: multipart/mixed; boundary=a\r\n"[..]),
        Just(&b"Content-Type: multipart/alternative; boundary=\"b b\"\n"[..]),
        Just(&b"Content-Type: multipart/digest; boundary=c\r\n\r\n"[..]),
        Just(&b"Content-Type: message/rfc822\r\n\r\n"[..]),
        Just(&b"Content-Type: text/html; charset=utf-7; name*0*=''%ff\r\n"[..]),
        Just(&b"Content-Type: image/png\r\nContent-ID: <x>\r\n"[..]),
        Just(&b"Content-Transfer-Encoding: base64\r\n"[..]),
        Just(&b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"[..]),
        Just(&b"\n--a\r\n"[..]),
        Just(&b"\r\n--a--\r\n"[..]),
        Just(&b"\n--b b  \n"[..]),
        Just(&b"\n--b b--"[..]),
        Just(&b"\r\n--c\r\n"[..]),
        Just(&b"Subject: =?utf-8?B?/w==?= =?x?Q?=\r\n"[..]),
        Just(&b"From: <\"@\">, ;:, a@b\r\nDate: Mon, 99 Feb 99999 99:99\r\n"[..]),
        Just(&b"<img src='cid:x'>VGVzdA==\r\n"[..]),
        Just(&b"=3D=\r\n=zz"[..]),
    ];
    let piece = prop_oneof![
        8 => piece.prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// All there is of an attachment.
fn told(attachment: &Attachment) -> String {
    let body = match &attachment.body {
        AttachmentBody::File(_) => format!("{:?}", attachment.bytes()),
        AttachmentBody::Item(message) => told_of(message),
    };
    let Attachment { name, content_type, content_id, is_inline, .. } = attachment;
    format!("{name:?} {content_type:?} {content_id:?} {is_inline} {body}")
}

fn told_of(message: &Message) -> String {
    let attachments: Vec<_> = message.attachments.iter().map(told).collect();
    format!("{} {attachments:?} {:?}", message.json, message.losses)
}

fn in_file(bytes: &[u8]) -> Content {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    Content::Spooled(file.into(), bytes.len() as u64)
}

proptest! {
    #[test]
    fn any_bytes_make_a_message(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let message = super::read(&bytes);
        prop_assert!(message.json["body"]["content"].is_string());
    }

    #[test]
    fn a_mail_is_the_same_in_memory_and_in_a_file(bytes in mail()) {
        let memory = super::read(&bytes);
        let file = super::item(in_file(&bytes), bytes.len() as u64, json!({}));
        let file = Message::read(&file).unwrap();
        prop_assert_eq!(told_of(&memory), told_of(&file));
    }

    #[test]
    fn the_outline_does_not_depend_on_how_it_is_read(bytes in mail(), most in 1_usize..9) {
        let whole = Outline::read(bytes.as_slice()).unwrap();
        let slow = Outline::read(Slow(&bytes, most)).unwrap();
        prop_assert_eq!(format!("{:?}", whole), format!("{:?}", slow));
    }

    #[test]
    fn leaves_follow_each_other(bytes in mail()) {
        let outline = Outline::read(bytes.as_slice()).unwrap();
        let mut at = 0;
        for entity in outline.entities.iter().filter(|entity| !entity.is_multipart) {
            prop_assert!(at <= entity.body.start && entity.body.start <= entity.body.end);
            at = entity.body.end;
        }
        prop_assert!(at <= bytes.len() as u64);
    }

    #[test]
    fn what_is_built_comes_back(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6),
        newline in prop_oneof![Just("\n"), Just("\r\n")],
    ) {
        use base64::Engine;
        let mut mail = format!("Content-Type: multipart/mixed; boundary=\"x y\"{newline}{newline}");
        for part in &parts {
            let encoded = base64::engine::general_purpose::STANDARD.encode(part);
            mail += &format!("--x y{newline}Content-Type: application/x-test{newline}");
            mail += &format!("Content-Transfer-Encoding: base64{newline}{newline}");
            for line in encoded.as_bytes().chunks(76) {
                mail += std::str::from_utf8(line).unwrap();
                mail += newline;
            }
        }
        mail += "--x y--";
        let item = super::item(Content::Memory(Bytes::from(mail)), 0, json!({}));
        let message = Message::read(&item).unwrap();
        let restored: Vec<_> = message.attachments.iter().map(Attachment::bytes).collect();
        prop_assert_eq!(restored, parts);
    }
}
