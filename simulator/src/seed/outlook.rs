//! What generated mailboxes hold besides mail. It draws from a stream of its own: mails and files
//! are the same with and without it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use data_encoding::BASE64;
use serde_json::json;

use crate::compose::{Object, object};
use crate::dice::{self, Dice};
use crate::mail::Address;
use crate::seed::{self, SPAN, epoch, seconds_after};
use crate::shelf::{Kind, Photo, Shelf};

/// What the things of a mailbox have in common.
pub(crate) struct Source {
    pub(crate) seed: u64,
    pub(crate) owner: Address,
    pub(crate) domain: String,
    /// 0: German, 1: English, 2: Japanese.
    pub(crate) language: usize,
    pub(crate) events: u64,
    pub(crate) contacts: u64,
    pub(crate) tasks: u64,
    /// Rules, categories, a picture and calendars beside the default one.
    pub(crate) lived_in: bool,
}

impl Source {
    /// Numbers for one thing of one sort.
    pub(crate) fn dice(&self, sort: u64, number: u64) -> Dice {
        Dice::new(&[self.seed, dice::text(&self.owner.address), sort, number])
    }

    /// When a thing was made.
    pub(crate) fn made(&self, sort: u64, number: u64) -> DateTime<Utc> {
        seconds_after(epoch(), self.dice(sort, number).below(SPAN))
    }

    /// Somebody of the tenant who is not the owner.
    pub(crate) fn colleague(&self, dice: &mut Dice) -> Address {
        let (first, other) = (dice.below(40), dice.below(40));
        let somebody = seed::address(first, &self.domain);
        if somebody.address == self.owner.address {
            return seed::address(other + 41, &self.domain);
        }
        somebody
    }
}

/// Fills a new shelf; what every mailbox has is made in any case.
pub(crate) fn fill(shelf: &Shelf, source: &Source) {
    seed::calendar::fill(shelf, source);
    seed::contacts::fill(shelf, source);
    seed::todo::fill(shelf, source);
    shelf.set_settings(settings(source));
    if source.lived_in {
        categories(shelf, source);
        rules(shelf, source);
        if source.dice(60, 0).below(3) > 0 {
            shelf.set_photo(Some(photo(&source.owner.name)));
        }
        overrides(shelf, source);
    }
}

fn settings(source: &Source) -> Object {
    let away = source.lived_in && source.dice(61, 0).below(2) == 0;
    let (locale, language, date) = match source.language % 3 {
        0 => ("de-DE", "German (Germany)", "dd.MM.yyyy"),
        1 => ("en-US", "English (United States)", "M/d/yyyy"),
        _ => ("ja-JP", "Japanese (Japan)", "yyyy/MM/dd"),
    };
    let zone = "W. Europe Standard Time";
    let mut replies = json!({
        "status": if away { "scheduled" } else { "disabled" },
        "externalAudience": if away { "contactsOnly" } else { "all" },
        "internalReplyMessage": "",
        "externalReplyMessage": "",
        "scheduledStartDateTime": {"dateTime": "2026-08-03T06:00:00.0000000", "timeZone": "UTC"},
        "scheduledEndDateTime": {"dateTime": "2026-08-21T16:00:00.0000000", "timeZone": "UTC"},
    });
    if away {
        let text =
            "<html><body><div>Ich bin im Urlaub. Schöne Grüße &amp; bis bald!</div></body></html>";
        replies["internalReplyMessage"] = text.into();
        replies["externalReplyMessage"] = "<html><body>Out of office.</body></html>".into();
    }
    object(json!({
        "timeZone": zone,
        "dateFormat": date,
        "timeFormat": "HH:mm",
        "delegateMeetingMessageDeliveryOptions": "sendToDelegateOnly",
        "language": {"locale": locale, "displayName": language},
        "workingHours": {
            "daysOfWeek": ["monday", "tuesday", "wednesday", "thursday", "friday"],
            "startTime": "08:00:00.0000000",
            "endTime": "17:00:00.0000000",
            "timeZone": {"name": zone},
        },
        "automaticRepliesSetting": replies,
    }))
}

/// The names of generated categories; events, contacts and tasks use them.
pub(crate) const CATEGORIES: [(&str, &str); 4] = [
    ("Rote Kategorie", "preset0"),
    ("Projekt „Größe“", "preset9"),
    ("Privat 🏠", "preset4"),
    ("Customer/Vendor", "none"),
];

fn categories(shelf: &Shelf, source: &Source) {
    for (number, (name, color)) in (0..).zip(CATEGORIES) {
        let category = object(json!({"displayName": name, "color": color}));
        shelf.put(Kind::Category, None, category, source.made(62, number));
    }
}

fn rules(shelf: &Shelf, source: &Source) {
    let mut dice = source.dice(63, 0);
    let boss = source.colleague(&mut dice);
    let recipient = json!({"emailAddress": {"name": boss.name, "address": boss.address}});
    let all = [
        json!({
            "displayName": "Newsletter → Archiv",
            "conditions": {"subjectContains": ["Newsletter", "Rundbrief"], "withinSizeRange": {"minimumSize": 0, "maximumSize": 500}},
            "exceptions": {"sentToMe": true, "importance": "high"},
            "actions": {"moveToFolder": "archive", "markAsRead": true, "stopProcessingRules": true},
        }),
        json!({
            "displayName": "Chef",
            "conditions": {"fromAddresses": [recipient]},
            "actions": {"assignCategories": ["Rote Kategorie"], "markImportance": "high"},
        }),
        json!({
            "displayName": "Weiterleitung / extern: \"Büro\"",
            "isEnabled": false,
            "conditions": {"hasAttachments": true, "sentOnlyToMe": true},
            "actions": {"forwardTo": [{"emailAddress": {"name": "Büro", "address": "office@fabrikam.example"}}]},
        }),
    ];
    for (number, rule) in (0..).zip(all) {
        let mut rule = object(rule);
        rule.entry("isEnabled").or_insert(true.into());
        rule.insert("sequence".into(), (number + 1).into());
        rule.insert("hasError".into(), false.into());
        rule.insert("isReadOnly".into(), false.into());
        shelf.put(Kind::Rule, None, rule, source.made(64, number));
    }
}

/// Whose mail is always focused, and whose never.
fn overrides(shelf: &Shelf, source: &Source) {
    let mut dice = source.dice(65, 0);
    let boss = source.colleague(&mut dice);
    let senders = [
        ("focused", boss.name, boss.address),
        ("other", "News".into(), "news@fabrikam.example".into()),
    ];
    for (number, (class, name, address)) in (0..).zip(senders) {
        let sender = json!({"name": name, "address": address});
        let one = object(json!({"classifyAs": class, "senderEmailAddress": sender}));
        shelf.put(Kind::Override, None, one, source.made(66, number));
    }
}

/// A JPEG of one white pixel, as a comment apart from those of others.
pub(crate) fn photo(of: &str) -> Photo {
    const PIXEL: &[u8] = b"/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA=";
    let pixel = BASE64.decode(PIXEL).expect("the picture is written as a constant");
    let comment = of.as_bytes();
    let length = u16::try_from(comment.len() + 2).unwrap_or(2);
    let mut bytes = pixel[..2].to_vec();
    bytes.extend_from_slice(&[0xff, 0xfe]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&comment[..usize::from(length) - 2]);
    bytes.extend_from_slice(&pixel[2..]);
    // The constant leaves the end marker out.
    bytes.extend_from_slice(&[0xff, 0xd9]);
    Photo { content_type: "image/jpeg".into(), bytes: Bytes::from(bytes) }
}
