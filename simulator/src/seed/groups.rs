//! Generated group mailboxes.

use bytes::Bytes;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::blob::Blob;
use crate::calendar;
use crate::compose::object;
use crate::dice::{self, Dice};
use crate::groups::Group;
use crate::mail::{Attached, Attachment};
use crate::seed::{self, SPAN, epoch, seconds_after, words};
use crate::shelf::Kind;

/// A mail that is attached to a post.
const INNER: &[u8] = b"From: a@fabrikam.example\r\nTo: b@fabrikam.example\r\nSubject: Anlage\r\n\
    Date: Mon, 4 Mar 2024 09:00:00 +0000\r\n\r\nText\r\n";

/// Conversations with their threads and posts, and two events in the calendar.
pub(crate) fn fill(group: &Group, seed: u64, domain: &str) {
    let mut dice = Dice::new(&[seed, dice::text(&group.id), 91]);
    let when = epoch();
    let calendar = group.shelf.all(Kind::Calendar).into_iter().next();
    for (subject, recurrence) in [
        (
            "Teamrunde",
            json!({"pattern": {"type": "weekly", "interval": 1, "daysOfWeek": ["monday"]}, "range": {"type": "numbered", "startDate": "2025-03-03", "numberOfOccurrences": 8}}),
        ),
        ("Klausur Größe", json!(null)),
    ] {
        let time = |hour: u32| json!({"dateTime": format!("2025-03-03T{hour:02}:00:00"), "timeZone": "W. Europe Standard Time"});
        let body = json!({"subject": subject, "start": time(9), "end": time(10), "recurrence": recurrence});
        let event =
            calendar::created(object(body), &group.address, &format!("{} {subject}", group.id))
                .expect("generated events are accepted");
        group.shelf.put(Kind::Event, calendar, event, when);
    }
    for number in 0..4 {
        conversation(group, number, domain, &mut dice);
    }
}

fn conversation(group: &Group, number: u64, domain: &str, dice: &mut Dice) {
    let shelf = &group.shelf;
    let topic = match number {
        0 => "Neues Büro: „Größe“ / 会議 🚀".to_owned(),
        _ => words::topic(dice),
    };
    let start = seconds_after(epoch(), dice.below(SPAN));
    let conversation = shelf.put(Kind::Conversation, None, object(json!({"topic": topic})), start);
    for at in 0..1 + number % 2 {
        let group_address = json!([{"emailAddress": {"name": group.address.name, "address": group.address.address}}]);
        let thread = object(
            json!({"topic": topic, "isLocked": false, "toRecipients": group_address, "ccRecipients": []}),
        );
        let thread = shelf.put(Kind::Thread, Some(conversation), thread, start);
        for nth in 0..1 + dice.below(4) {
            let sender = seed::address(dice.below(5), domain);
            let sender = json!({"emailAddress": {"name": sender.name, "address": sender.address}});
            let when = start + TimeDelta::minutes((at * 500 + nth * 17) as i64);
            let text = words::prose(dice, 300);
            let picture = if nth == 0 && number == 2 { "<img src=\"cid:bild@1\">" } else { "" };
            let mut post = object(json!({
                "body": {"contentType": "html", "content": format!("<html><body><div>Grüße – {text}</div>{picture}</body></html>")},
                "from": sender,
                "sender": sender,
                "newParticipants": [],
                "categories": [],
            }));
            // Some came by mail, from where everybody numbers his own.
            if number.is_multiple_of(2) {
                let extended =
                    json!(references(&group.address.address, &format!("{number}.{at}"), nth));
                post.insert("singleValueExtendedProperties".into(), extended);
            }
            let post = shelf.put(Kind::Post, Some(thread), post, when);
            if nth == 0 && number.is_multiple_of(2) {
                let attached = attachments(number);
                shelf.change(post.into(), when, |thing| thing.attachments.extend(attached));
            }
        }
    }
}

/// What the header of a post says of those before it.
fn references(address: &str, thread: &str, nth: u64) -> Vec<Value> {
    let id = |n: u64| format!("<post.{thread}.{n}.{address}>");
    let mut known = vec![json!({"id": "String 0x1035", "value": id(nth)})];
    if nth > 0 {
        let all: Vec<String> = (0..nth).map(id).collect();
        known.push(json!({"id": "String 0x1042", "value": id(nth - 1)}));
        known.push(json!({"id": "String 0x1039", "value": all.join(" ")}));
    }
    known
}

/// A file; in one conversation of every kind.
fn attachments(number: u64) -> Vec<Attachment> {
    let file = |name: &str, kind: &str, bytes: &'static [u8]| Attachment {
        name: name.into(),
        content_type: kind.into(),
        content_id: None,
        inline: false,
        what: Attached::File(Blob::Stored(Bytes::from_static(bytes))),
    };
    let mut all = vec![file("Plan.txt", "text/plain", b"Plan")];
    if number == 2 {
        let picture = b"\xff\xd8\xff\xe0\0\x10JFIF\0\r\n--\n\xff\xd9";
        all.extend([
            Attachment {
                content_id: Some("bild@1".into()),
                inline: true,
                ..file("bild.jpg", "image/jpeg", picture)
            },
            Attachment {
                what: Attached::Item(Blob::Stored(Bytes::from_static(INNER))),
                ..file("Anlage", "message/rfc822", b"")
            },
            Attachment { what: Attached::Reference, ..file("Protokoll.docx", "text/html", b"") },
        ]);
    }
    all
}
