//! What becomes of what in a mail.

use serde_json::{Value, json};

use super::super::message::{AttachmentBody, Message};
use super::{in_memory, read, read_with};
use crate::place::Loss;

/// A multipart of parts, each with its own header block.
fn multipart(kind: &str, parts: &[&str]) -> String {
    let boundary = format!("={kind}={}=", parts.len());
    let mut mail = format!("Content-Type: multipart/{kind}; boundary=\"{boundary}\"\r\n\r\n");
    for part in parts {
        mail += &format!("--{boundary}\r\n{part}\r\n");
    }
    mail + &format!("--{boundary}--\r\n")
}

const PLAIN: &str = "Content-Type: text/plain\r\n\r\nplain";
const HTML: &str = "Content-Type: text/html\r\n\r\n<b>html</b>";

#[test]
fn a_received_mail_is_no_draft_and_keeps_its_dates() {
    let mail = "Date: Thu, 1 Jan 2026 10:00:00 +0100\r\nMessage-ID: <a@b>\r\nIn-Reply-To: <c@d>\r\n\
        References: <x@y>\r\n <c@d>\r\nSubject: s\r\n\r\nbody";
    let message = read(mail);
    assert_eq!(message.property("Integer 0x0E07"), Some("4"));
    // The archive's time is when it arrived.
    assert_eq!(message.property("SystemTime 0x0E06"), Some("2026-01-02T03:04:05Z"));
    assert_eq!(message.property("SystemTime 0x0039"), Some("2026-01-01T09:00:00Z"));
    assert_eq!(message.property("String 0x1042"), Some("<c@d>"));
    assert_eq!(message.property("String 0x1039"), Some("<x@y> <c@d>"));
    assert_eq!(message.property("String 0x007D"), mail.split("\r\n\r\n").next());
    assert_eq!(message.property("String 0x001A"), None);
    assert_eq!(message.json["internetMessageId"], "<a@b>");
    assert!(message.losses.is_empty());

    let known = json!({
        "receivedDateTime": "2025-05-05T05:05:05.5Z", "sentDateTime": "2025-05-05T05:05:00+01:00",
        "internetMessageId": "<z@z>", "isDraft": true, "subject": "changed since",
    });
    let message = read_with(mail, known);
    assert_eq!(message.property("Integer 0x0E07"), None);
    assert_eq!(message.property("SystemTime 0x0E06"), Some("2025-05-05T05:05:05Z"));
    assert_eq!(message.property("SystemTime 0x0039"), Some("2025-05-05T04:05:00Z"));
    assert_eq!(message.json["internetMessageId"], "<z@z>");
    assert_eq!(message.json["subject"], "changed since");
}

#[test]
fn dates_that_the_service_can_not_hold_are_counted() {
    let sent = |date: &str| {
        let message = read(format!("Date: {date}\r\n\r\n"));
        let sent = message.property("SystemTime 0x0039").unwrap().to_owned();
        (sent, message.losses)
    };
    for date in ["Monday", "Thu, 1 Jan 1400 00:00:00 +0000"] {
        assert_eq!(sent(date), ("2026-01-02T03:04:05Z".to_owned(), vec![Loss::Date]), "{date}");
    }
    let message = read_with("\r\n", json!({"receivedDateTime": "0001-01-01T00:00:00Z"}));
    assert_eq!(message.property("SystemTime 0x0E06"), Some("2026-01-02T03:04:05Z"));
    assert!(message.losses.is_empty());
}

#[test]
fn state_comes_from_the_metadata() {
    let due = json!({"dateTime": "2026-03-01T00:00:00.0000000", "timeZone": "UTC"});
    let message = read_with(
        "Importance: low\r\n\r\n",
        json!({
            "isRead": false, "importance": "high", "categories": ["Red", "Blue"],
            "inferenceClassification": "other",
            "flag": {"flagStatus": "flagged", "dueDateTime": due, "startDateTime": null},
            "singleValueExtendedProperties": [
                {"id": "Integer 0x1081", "value": "103"},
                {"id": "String 0x1a", "value": "IPM.Note"},
                {"id": "SystemTime 0x1082", "value": "2026-01-03T00:00:00Z"},
            ],
        }),
    );
    let json = &message.json;
    assert_eq!((&json["isRead"], &json["importance"]), (&json!(false), &json!("high")));
    assert_eq!(json["categories"], json!(["Red", "Blue"]));
    assert_eq!(json["inferenceClassification"], "other");
    // The service takes no end without a start.
    let flag = json!({"flagStatus": "flagged", "dueDateTime": due, "startDateTime": due});
    assert_eq!(json["flag"], flag);
    assert_eq!(message.property("Integer 0x1081"), Some("103"));
    assert_eq!(message.property("SystemTime 0x1082"), Some("2026-01-03T00:00:00Z"));

    let json = read("X-Priority: 1 (Highest)\r\n\r\n").json;
    assert_eq!((&json["isRead"], &json["importance"]), (&json!(true), &json!("high")));
    assert_eq!((&json["flag"], &json["categories"]), (&Value::Null, &Value::Null));
    assert_eq!(
        read_with("\r\n", json!({"flag": {"flagStatus": "notFlagged"}})).json["flag"],
        Value::Null
    );
}

#[test]
fn only_classes_that_a_restored_mail_can_have_are_set() {
    let class = |mail: &str, class: &str| {
        let all = json!([{"id": "String 0x001A", "value": class}]);
        let message = read_with(mail, json!({"singleValueExtendedProperties": all}));
        (message.property("String 0x001A").map(str::to_owned), message.losses)
    };
    let opaque = "Content-Type: application/pkcs7-mime; name=smime.p7m\r\n\r\nx";
    let set = |name: &str| (Some(name.to_owned()), vec![]);
    assert_eq!(class("\r\n", "IPM.Note"), (None, vec![]));
    assert_eq!(class("\r\n", "IPM.Note.Custom"), set("IPM.Note.Custom"));
    assert_eq!(class(opaque, "IPM.Note.SMIME"), set("IPM.Note.SMIME"));
    assert_eq!(class("\r\n", "IPM.Note.SMIME"), (None, vec![Loss::Signature]));
    assert_eq!(class("\r\n", "IPM.Note.SMIME.MultipartSigned"), (None, vec![Loss::Signature]));
    for other in ["IPM.Schedule.Meeting.Request", "REPORT.IPM.Note.NDR", "IPM.Notebook"] {
        assert_eq!(class("\r\n", other), (None, vec![Loss::MessageClass]), "{other}");
    }
}

#[test]
fn nobody_is_asked_for_a_receipt() {
    for (mail, graph) in [
        ("Disposition-Notification-To: a@b.c\r\n\r\n", json!({})),
        ("\r\n", json!({"isReadReceiptRequested": true})),
        ("\r\n", json!({"isDeliveryReceiptRequested": true})),
    ] {
        let message = read_with(mail, graph);
        assert_eq!(message.losses, [Loss::ReceiptRequest]);
        assert_eq!(message.json["isReadReceiptRequested"], false);
        assert_eq!(message.json["isDeliveryReceiptRequested"], false);
    }
}

#[test]
fn people_come_from_the_metadata_or_the_header() {
    let person = |address: &str| json!({"emailAddress": {"name": address, "address": address}});
    let mail =
        "From: f@x.y\r\nTo: t@x.y\r\nTO: u@x.y\r\nCc: g: c@x.y, d@x.y;\r\nReply-To: r@x.y\r\n\r\n";
    let message = read(mail);
    assert_eq!(message.json["from"], person("f@x.y"));
    assert_eq!(message.json["sender"], Value::Null);
    assert_eq!(message.json["toRecipients"], json!([person("t@x.y"), person("u@x.y")]));
    assert_eq!(message.json["ccRecipients"], json!([person("c@x.y"), person("d@x.y")]));
    assert_eq!(message.json["replyTo"], json!([person("r@x.y")]));

    let message =
        read_with(mail, json!({"bccRecipients": [person("b@x.y")], "from": person("o@x.y")}));
    assert_eq!(message.json["bccRecipients"], json!([person("b@x.y")]));
    assert_eq!(message.json["from"], person("o@x.y"));
    assert_eq!(message.json["toRecipients"].as_array().unwrap().len(), 2);

    assert!(read("To: undisclosed-recipients:;\r\n\r\n").losses.is_empty());
    let many: Vec<_> = (0..400).map(|number| format!("p{number}@x.y")).collect();
    let many = many.join(",\r\n ");
    let message = read(format!("To: {many}\r\nCc: {many}\r\n\r\n"));
    assert_eq!(message.json["toRecipients"].as_array().unwrap().len(), 400);
    assert_eq!(message.json["ccRecipients"].as_array().unwrap().len(), 100);
    assert_eq!(message.losses, [Loss::Recipients]);
    assert!(message.property("String 0x007D").unwrap().contains("p399@x.y"));
}

#[test]
fn the_html_is_the_body_and_the_plain_text_beside_it_goes() {
    let message = read(multipart("alternative", &[PLAIN, HTML]));
    assert_eq!(message.body(), ("html", "<b>html</b>"));
    assert_eq!(message.losses, [Loss::TextAlternative]);
    assert!(message.attachments.is_empty());

    // Texts one after the other are no alternatives.
    let message = read(multipart("mixed", &[PLAIN, "Content-Type: image/png\r\n\r\nx", HTML]));
    assert_eq!(message.body(), ("text", "plain"));
    assert_eq!(message.names(), ["image001.png", "text.html"]);
    assert!(message.losses.is_empty());

    // As Apple writes it: the HTML is in pieces.
    let pieces = multipart("mixed", &[HTML, "Content-Type: application/pdf\r\n\r\nx", HTML]);
    let message = read(multipart("alternative", &[PLAIN, &pieces]));
    assert_eq!(message.body(), ("html", "<b>html</b>"));
    assert_eq!(message.names(), ["document.pdf", "text.html"]);
    assert_eq!(message.losses, [Loss::TextAlternative]);

    let calendar = "Content-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR";
    let message = read(multipart("alternative", &[PLAIN, calendar]));
    assert_eq!((message.body(), message.names()), (("text", "plain"), vec!["meeting.ics"]));
    assert_eq!(message.attachments[0].bytes(), b"BEGIN:VCALENDAR");
    assert!(message.losses.is_empty());
}

#[test]
fn a_text_that_is_a_file_is_no_body() {
    let file = "Content-Type: text/plain; name=a.txt\r\n\r\nfile";
    let attached = "Content-Type: text/html\r\nContent-Disposition: attachment\r\n\r\nfile";
    let message = read(multipart("mixed", &[file, attached, PLAIN]));
    assert_eq!((message.body(), message.names()), (("text", "plain"), vec!["a.txt", "text.html"]));
    let message = read(multipart("mixed", &[file]));
    assert_eq!((message.body(), message.names()), (("text", ""), vec!["a.txt"]));
}

#[test]
fn images_of_the_body_are_inline() {
    let html = "Content-Type: text/html\r\n\r\n<img src=\"cid:a%40b\"><img src='CID:c'>cid:d";
    let image = |id: &str, more: &str| {
        format!("Content-Type: image/png\r\nContent-ID: <{id}>\r\n{more}\r\nx")
    };
    let inline = "Content-Disposition: inline; filename=i.png\r\n";
    let attached = "Content-Disposition: attachment; filename=f.png\r\n";
    let parts = [
        html.to_owned(),
        image("a@b", attached),
        image("c", ""),
        image("other", attached),
        image("more", inline),
        "Content-Type: application/pdf\r\nContent-Disposition: inline\r\n\r\nx".to_owned(),
        image("nothing", ""),
    ];
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    let told = |message: &Message| -> Vec<_> {
        let all = message.attachments.iter();
        all.map(|one| (one.content_id.clone().unwrap_or_default(), one.is_inline)).collect()
    };
    let of = |id: &str, inline| (id.to_owned(), inline);
    let all = |related| {
        vec![
            of("a@b", true),
            of("c", true),
            of("other", false),
            of("more", true),
            of("", false),
            of("nothing", related),
        ]
    };
    assert_eq!(told(&read(multipart("related", &parts))), all(true));
    assert_eq!(told(&read(multipart("mixed", &parts))), all(false));
    // A plain text shows nothing.
    let message = read(multipart("related", &[PLAIN, &image("c", inline)]));
    assert_eq!(told(&message), [of("c", false)]);
}

#[test]
fn signed_and_encrypted_mail_keeps_its_parts() {
    let signature = "Content-Type: application/pkcs7-signature; name=smime.p7s\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nc2ln";
    let message = read(multipart("signed", &[PLAIN, signature]));
    assert_eq!((message.body(), message.names()), (("text", "plain"), vec!["smime.p7s"]));
    assert_eq!(message.attachments[0].bytes(), b"sig");
    assert_eq!(message.losses, [Loss::Signature]);

    let message = read("Content-Type: application/pkcs7-mime\r\n\r\nblob");
    assert_eq!((message.body(), message.names()), (("text", ""), vec!["smime.p7m"]));
    assert_eq!(message.attachments[0].bytes(), b"blob");
    assert!(message.losses.is_empty());
}

#[test]
fn other_leaves_are_files_to_the_byte() {
    for (declared, name) in [
        ("message/delivery-status", "delivery-status.txt"),
        ("message/partial; id=a", "attachment.bin"),
        ("application/ms-tnef", "winmail.dat"),
        ("x-unknown/y", "attachment.bin"),
    ] {
        let part = format!("Content-Type: {declared}\r\n\r\n\u{0}a \r\n\r\nb\r\n");
        let message = read(multipart("report", &[PLAIN, &part]));
        assert_eq!(message.names(), [name]);
        assert_eq!(message.attachments[0].bytes(), b"\0a \r\n\r\nb\r\n", "{declared}");
        assert!(message.losses.is_empty());
    }
    let uuencoded = "begin 644 a\n#86)C\n`\nend\n";
    assert_eq!(read(format!("Subject: a\n\n{uuencoded}")).body(), ("text", uuencoded));
}

#[test]
fn a_mail_in_the_mail_is_one() {
    let inner = "Subject: inner\r\nDate: Thu, 1 Jan 2026 10:00:00 +0000\r\n".to_owned()
        + &multipart("mixed", &[PLAIN, "Content-Type: image/gif; name=x.gif\r\n\r\nGIF"]);
    let plain = "Content-Type: message/rfc822\r\n\r\n".to_owned() + &inner;
    let encoded = {
        use base64::Engine;
        let encoded = base64::engine::general_purpose::STANDARD.encode(&inner);
        let head = "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64";
        format!("{head}\r\n\r\n{encoded}")
    };
    let message = read(multipart("mixed", &[PLAIN, &plain, &encoded]));
    assert_eq!(message.names(), ["inner", "inner"]);
    for attachment in &message.attachments {
        let inner = attachment.item();
        assert_eq!((inner.body(), inner.names()), (("text", "plain"), vec!["x.gif"]));
        assert_eq!(inner.property("Integer 0x0E07"), Some("4"));
        assert_eq!(inner.property("SystemTime 0x0039"), Some("2026-01-01T10:00:00Z"));
        let json = attachment.json().unwrap();
        assert_eq!(json["@odata.type"], "#microsoft.graph.itemAttachment");
        assert_eq!(json["item"]["@odata.type"], "#microsoft.graph.message");
        assert_eq!(json["item"]["attachments"][0]["contentBytes"], "R0lG");
        assert_eq!(json["item"]["attachments"][0]["name"], "x.gif");
        let real = json.to_string().len() as u64;
        assert!((real..real + 1000).contains(&attachment.json_size()), "{real}");
    }
    assert!(message.losses.is_empty());

    // What says it is a mail but has no header, and what is too large or too deep.
    let message = read(multipart("mixed", &[PLAIN, "Content-Type: message/rfc822\r\n\r\n\r\nx"]));
    assert_eq!(
        (message.names(), &message.losses[..]),
        (vec!["message.eml"], &[Loss::NestedAsFile][..])
    );
    let large = format!(
        "Content-Type: message/rfc822; name=a/b\r\n\r\nSubject: s\r\n\r\n{}",
        "x".repeat(2_500_000)
    );
    let message = read(multipart("mixed", &[PLAIN, &large]));
    assert_eq!(message.names(), ["a_b.eml"]);
    assert_eq!(message.attachments[0].content_type, "message/rfc822");
    assert_eq!(message.losses, [Loss::NestedAsFile, Loss::Name]);
}

#[test]
fn mails_in_mails_end_somewhere() {
    let mut mail = "Subject: innermost\r\n\r\nx".to_owned();
    for _ in 0..20 {
        mail = format!("Subject: s\r\nContent-Type: message/rfc822\r\n\r\n{mail}");
    }
    let message = read(&mail);
    let mut depth = 0;
    let mut at = &message;
    while let [attachment] = at.attachments.as_slice()
        && let AttachmentBody::Item(inner) = &attachment.body
    {
        depth += 1;
        at = inner;
    }
    assert_eq!(depth, 8);
    assert!(at.attachments[0].bytes().ends_with(b"Subject: innermost\r\n\r\nx"));
    assert_eq!(message.losses, [Loss::NestedAsFile]);
}

#[test]
fn names_are_decoded_and_made_safe() {
    for (declared, expected, losses) in [
        ("filename*=utf-8''%C3%A4%20b.txt", "\u{e4} b.txt", &[][..]),
        ("filename*0=\"long \"; filename*1=\"name.pdf\"", "long name.pdf", &[]),
        ("filename=\"=?utf-8?Q?=C3=A4.txt?=\"", "\u{e4}.txt", &[]),
        ("filename=\"../../x\"", ".._.._x", &[Loss::Name]),
        ("filename=\"\"", "image001.png", &[]),
    ] {
        let part = format!(
            "Content-Type: image/png\r\nContent-Disposition: attachment; {declared}\r\n\r\nx"
        );
        let message = read(multipart("mixed", &[PLAIN, &part]));
        assert_eq!(message.names(), [expected], "{declared}");
        assert_eq!(message.losses, losses, "{declared}");
    }
}

#[test]
fn broken_mails_lose_nothing() {
    for (mail, body) in [
        ("", ""),
        ("\r\n\r\n", "\r\n"),
        ("just text\r\nmore", "just text\r\nmore"),
        ("Subject: a\r\nno field\r\nmore", "no field\r\nmore"),
        ("Subject: only a header", ""),
        ("Content-Type: multipart/mixed\r\n\r\nno boundary", "no boundary"),
        ("Content-Type: multipart/mixed; boundary=b\r\n\r\nno part", "no part"),
        ("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nno end\r\n", "no end\r\n"),
        ("Content-Transfer-Encoding: base64\r\n\r\n!?", "!?"),
        ("Content-Transfer-Encoding: base64\r\n\r\nVGVz*dA", "Test"),
        ("Content-Transfer-Encoding: quoted-printable\r\n\r\n=zz =41", "=zz A"),
        ("Content-Type: text\r\n\r\nx", "x"),
        ("From someone at noon\r\nSubject: a\r\n\r\nx", "x"),
    ] {
        let message = read(mail);
        assert_eq!((message.body(), message.names()), (("text", body), vec![]), "{mail:?}");
    }
}

#[test]
fn eight_bits_and_encoded_words_are_read() {
    for subject in
        [&b"gr\xc3\xbcn"[..], b"gr\xfcn", b"=?iso-8859-1?Q?gr=FCn?=", b"gr\xc3\xbc\r\n\tn"]
    {
        let mail = [b"Subject: ", subject, b"\r\nSubject: second\r\n\r\ngr\xfcn"].concat();
        let message = read(mail);
        let read = message.json["subject"].as_str().unwrap();
        assert_eq!(read.replace([' ', '\t'], ""), "gr\u{fc}n");
        assert_eq!(message.body(), ("text", "gr\u{fc}n"));
    }
    let message = read(
        "Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: base64\r\n\r\n0A==",
    );
    assert_eq!(message.body().1, "\u{43f}");
}

#[test]
fn html_may_declare_its_own_character_set() {
    let html = |charset: &str| {
        let mail = format!("Content-Type: text/html{charset}\r\n\r\n<meta charset='KOI8-R'>");
        read([mail.as_bytes(), b"\xd0"].concat()).body().1.to_owned()
    };
    assert_eq!(html(""), "<meta charset='KOI8-R'>\u{43f}");
    // What the header says is stronger (RFC 2854 section 6).
    assert_eq!(html("; charset=iso-8859-1"), "<meta charset='KOI8-R'>\u{d0}");
}

#[test]
fn there_is_one_author() {
    let message = read("From: a@x.y, b@x.y\r\n\r\n");
    assert_eq!(message.json["from"]["emailAddress"]["address"], "a@x.y");
    assert_eq!(message.losses, [Loss::Recipients]);
}

#[test]
fn what_the_exporter_rendered_is_counted() {
    let mut item = in_memory(b"Subject: a\r\n\r\nb", json!({}));
    item.converted = true;
    assert_eq!(Message::read(&item).unwrap().losses, [Loss::Converted]);
}

#[test]
fn a_difference_of_what_was_made_is_found() {
    let file = "Content-Type: application/pdf; name=a.pdf\r\n\r\n12345";
    let mail =
        "Subject: s\r\nMessage-ID: <a@b>\r\n".to_owned() + &multipart("mixed", &[PLAIN, file]);
    let known = json!({
        "receivedDateTime": "2026-01-01T00:00:00Z", "sentDateTime": "2026-01-01T00:00:00Z",
        "isRead": false, "categories": ["b", "a"], "flag": {"flagStatus": "flagged"},
    });
    let expected = read_with(&mail, known).expected();
    let made = json!({
        "subject": "s", "internetMessageId": "<a@b>", "importance": "normal",
        "receivedDateTime": "2026-01-01T00:00:00.000Z", "sentDateTime": "2026-01-01T00:00:00Z",
        "isRead": false, "isDraft": false, "categories": ["a", "b"],
        "flag": {"flagStatus": "flagged"},
        "body": {"contentType": "text", "content": "plain\r\n"},
    });
    let attachments = [json!({"name": "a.pdf", "size": 200})];
    assert_eq!(expected.difference(&made, &attachments), None);
    for (key, other) in [
        ("subject", json!("t")),
        ("internetMessageId", json!("<c@d>")),
        ("importance", json!("high")),
        ("receivedDateTime", json!("2026-01-01T00:00:01Z")),
        ("sentDateTime", Value::Null),
        ("isRead", json!(true)),
        ("isDraft", json!(true)),
        ("categories", json!(["a"])),
        ("flag", json!({"flagStatus": "notFlagged"})),
        ("body", json!({"contentType": "text", "content": ""})),
        ("body", json!({"contentType": "html", "content": "<p>plain</p>"})),
        ("toRecipients", json!([{"emailAddress": {"address": "a@b.c"}}])),
    ] {
        let mut made = made.clone();
        made[key] = other;
        assert!(expected.difference(&made, &attachments).is_some(), "{key}");
    }
    for attachments in [
        vec![],
        vec![json!({"name": "b.pdf", "size": 200})],
        vec![json!({"name": "a.pdf", "size": 4})],
    ] {
        assert!(expected.difference(&made, &attachments).is_some(), "{attachments:?}");
    }
}
