//! MIME as Exchange renders it from a message's properties.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::dice;
use crate::mail::{Address, Attached, Attachment, LONE_SURROGATE, Mail};

/// Renders a message. `nonce` goes into generated boundaries, as the service makes them anew.
pub(crate) fn render(mail: &Mail, nonce: u64) -> Bytes {
    let mut out = Vec::with_capacity(4096);
    for (name, value) in &mail.headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        // Generated header values hold Latin-1 only where 8-bit headers are meant.
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    let mut boundaries = Boundaries { nonce, used: 0 };
    tree(mail).write(&mut out, &mut boundaries);
    out.into()
}

/// The header block of a generated message, in the order Exchange writes it.
pub(crate) fn headers(mail: &Mail, received: &[String]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
    for hop in received {
        add("Received", hop.clone());
    }
    if let Some(from) = &mail.from {
        add("From", addresses(std::slice::from_ref(from)));
    }
    for (name, list) in [("To", &mail.to), ("CC", &mail.cc), ("Bcc", &mail.bcc)] {
        if !list.is_empty() {
            add(name, addresses(list));
        }
    }
    add("Subject", encoded(&mail.subject));
    add("Thread-Topic", encoded(&mail.subject));
    if let Some(sent) = mail.sent {
        add("Date", date(sent));
    }
    if let Some(id) = &mail.message_id {
        add("Message-ID", id.clone());
    }
    if let Some(id) = &mail.in_reply_to {
        add("In-Reply-To", id.clone());
        add("References", id.clone());
    }
    if mail.importance == "high" {
        add("Importance", "high".into());
        add("X-Priority", "1".into());
    }
    add("Accept-Language", "de-DE, en-US".into());
    add("Content-Language", "de-DE".into());
    add("X-MS-Has-Attach", if mail.has_attachments() { "yes" } else { "" }.into());
    add("X-MS-Exchange-Organization-SCL", if mail.draft { "-1" } else { "1" }.into());
    all
}

/// Headers that the service writes from properties, whatever the transport had left.
const OWN: [&str; 20] = [
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "subject",
    "thread-topic",
    "thread-index",
    "date",
    "message-id",
    "in-reply-to",
    "references",
    "importance",
    "priority",
    "x-priority",
    "mime-version",
    "x-ms-has-attach",
    "disposition-notification-to",
    "return-receipt-to",
];

/// The header block of a message that a client has written or changed: what the transport had left
/// (the values folded as they were), and then what follows from the properties.
pub(crate) fn rebuilt(mail: &Mail, transport: &[(String, String)]) -> Vec<(String, String)> {
    let kept = transport.iter().filter(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !OWN.contains(&name.as_str()) && !name.starts_with("content-")
    });
    let mut all: Vec<(String, String)> = kept.cloned().collect();
    let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
    if let Some(from) = &mail.from {
        add("From", addresses(std::slice::from_ref(from)));
    }
    if let Some(sender) = mail.sender.as_ref().filter(|sender| mail.from.as_ref() != Some(sender)) {
        add("Sender", addresses(std::slice::from_ref(sender)));
    }
    let lists =
        [("Reply-To", &mail.reply_to), ("To", &mail.to), ("CC", &mail.cc), ("Bcc", &mail.bcc)];
    for (name, list) in lists {
        if !list.is_empty() {
            add(name, addresses(list));
        }
    }
    add("Subject", encoded(&mail.subject));
    add("Thread-Topic", encoded(&mail.subject));
    if let Some(sent) = mail.sent {
        add("Date", date(sent));
    }
    let ids = [
        ("Message-ID", &mail.message_id),
        ("In-Reply-To", &mail.in_reply_to),
        ("References", &mail.references),
    ];
    for (name, id) in ids {
        if let Some(id) = id {
            add(name, id.split_whitespace().collect::<Vec<_>>().join("\r\n "));
        }
    }
    if mail.importance != "normal" {
        add("Importance", mail.importance.to_owned());
    }
    for (name, value) in &mail.own_headers {
        add(name, encoded(value));
    }
    add("X-MS-Has-Attach", if mail.has_attachments() { "yes" } else { "" }.into());
    all
}

pub(crate) fn date(date: DateTime<Utc>) -> String {
    date.format("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

fn addresses(list: &[Address]) -> String {
    let one = |a: &Address| {
        if a.name.is_empty() {
            format!("<{}>", a.address)
        } else if a.name.is_ascii() && !a.name.contains(['"', '\\', '\r', '\n']) {
            format!("\"{}\" <{}>", a.name, a.address)
        } else {
            format!("{} <{}>", words(&a.name), a.address)
        }
    };
    list.iter().map(one).collect::<Vec<_>>().join(",\r\n\t")
}

/// RFC 2047 where needed, folded.
fn encoded(text: &str) -> String {
    let plain = |c: char| (' '..='~').contains(&c);
    if text.chars().all(plain) && text.len() < 70 && !text.contains("=?") {
        return text.to_owned();
    }
    words(text)
}

/// RFC 2047 encoded words, one a line.
fn words(text: &str) -> String {
    let text = text.replace(LONE_SURROGATE, "\u{fffd}");
    let mut words = vec![String::new()];
    for letter in text.chars() {
        if words.last().is_some_and(|word| word.len() + letter.len_utf8() > 42) {
            words.push(String::new());
        }
        words.last_mut().expect("starts with one").push(letter);
    }
    let encode = |word: &String| format!("=?utf-8?B?{}?=", STANDARD.encode(word));
    words.iter().map(encode).collect::<Vec<_>>().join("\r\n ")
}

struct Boundaries {
    nonce: u64,
    used: u64,
}

impl Boundaries {
    fn next(&mut self) -> String {
        let text = dice::hash(&[self.nonce, self.used]);
        self.used += 1;
        format!("_{:03}_{text:016X}contoso_", self.used - 1)
    }
}

enum Part {
    Leaf { headers: Vec<String>, body: Vec<u8> },
    Multi { subtype: &'static str, parts: Vec<Part> },
}

impl Part {
    fn write(&self, out: &mut Vec<u8>, boundaries: &mut Boundaries) {
        match self {
            Part::Leaf { headers, body } => {
                for header in headers {
                    out.extend_from_slice(header.as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(body);
            }
            Part::Multi { subtype, parts } => {
                let boundary = boundaries.next();
                let head = format!(
                    "Content-Type: multipart/{subtype};\r\n\tboundary=\"{boundary}\"\r\n\r\n"
                );
                out.extend_from_slice(head.as_bytes());
                for part in parts {
                    out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
                    part.write(out, boundaries);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
            }
        }
    }
}

fn tree(mail: &Mail) -> Part {
    if mail.class == "IPM.Note.SMIME" && (!mail.made || mail.attachments.len() == 1) {
        return smime(mail);
    }
    let mut root = body(mail);
    let (inline, files): (Vec<_>, Vec<_>) = mail.attachments.iter().partition(|a| a.inline);
    if !inline.is_empty() {
        let mut parts = vec![root];
        parts.extend(inline.into_iter().map(attachment));
        root = Part::Multi { subtype: "related", parts };
    }
    if !files.is_empty() {
        let mut parts = vec![root];
        parts.extend(files.into_iter().map(attachment));
        root = Part::Multi { subtype: "mixed", parts };
    }
    root
}

fn body(mail: &Mail) -> Part {
    // What clients write is always kept as UTF-8.
    let text = |subtype: &str, content: &str| match mail.made {
        true => leaf(&format!("text/{subtype}; charset=\"utf-8\""), &[], content.as_bytes()),
        false => text(subtype, content),
    };
    let mut parts = vec![text("plain", &mail.text)];
    if let Some(html) = &mail.html {
        parts.push(text("html", html));
    }
    if let Some(meeting) = &mail.meeting {
        let stamp = |date: DateTime<Utc>| date.format("%Y%m%dT%H%M%SZ").to_string();
        let organizer = mail.from.clone().unwrap_or_default().address;
        let lines = [
            "BEGIN:VCALENDAR".to_owned(),
            "METHOD:REQUEST".to_owned(),
            "PRODID:Microsoft Exchange Server 2010".to_owned(),
            "VERSION:2.0".to_owned(),
            "BEGIN:VEVENT".to_owned(),
            format!("ORGANIZER:mailto:{organizer}"),
            format!("UID:{}", meeting.uid),
            format!("SUMMARY;LANGUAGE=de-DE:{}", mail.subject),
            format!("DTSTART:{}", stamp(meeting.start)),
            format!("DTEND:{}", stamp(meeting.end)),
            format!("DTSTAMP:{}", stamp(mail.created)),
            format!("LOCATION:{}", meeting.place),
            "SEQUENCE:0".to_owned(),
            "END:VEVENT".to_owned(),
            "END:VCALENDAR".to_owned(),
        ];
        let ics = lines.join("\r\n") + "\r\n";
        parts.push(leaf("text/calendar; charset=\"utf-8\"; method=REQUEST", &[], ics.as_bytes()));
    }
    match parts.len() {
        1 => parts.remove(0),
        _ => Part::Multi { subtype: "alternative", parts },
    }
}

fn text(subtype: &str, text: &str) -> Part {
    if text.is_ascii() {
        let header = format!("Content-Type: text/{subtype}; charset=\"us-ascii\"");
        let encoding = "Content-Transfer-Encoding: quoted-printable".to_owned();
        return Part::Leaf { headers: vec![header, encoding], body: quoted_printable(text) };
    }
    // Text that Latin-1 can hold travels in eight raw bits, the rest as UTF-8 in base64.
    match text.chars().map(|c| u8::try_from(u32::from(c))).collect::<Result<Vec<u8>, _>>() {
        Ok(body) => Part::Leaf {
            headers: vec![
                format!("Content-Type: text/{subtype}; charset=\"iso-8859-1\""),
                "Content-Transfer-Encoding: 8bit".into(),
            ],
            body,
        },
        Err(_) => leaf(&format!("text/{subtype}; charset=\"utf-8\""), &[], text.as_bytes()),
    }
}

fn leaf(content_type: &str, more: &[String], content: &[u8]) -> Part {
    let mut headers = vec![format!("Content-Type: {content_type}")];
    headers.extend_from_slice(more);
    headers.push("Content-Transfer-Encoding: base64".into());
    let encoded = STANDARD.encode(content);
    let mut body = Vec::with_capacity(encoded.len() * 78 / 76 + 2);
    for line in encoded.as_bytes().chunks(76) {
        body.extend_from_slice(line);
        body.extend_from_slice(b"\r\n");
    }
    Part::Leaf { headers, body }
}

fn attachment(attachment: &Attachment) -> Part {
    let disposition = if attachment.inline { "inline" } else { "attachment" };
    let name = match attachment.name.contains(['"', '\\']) {
        true => words(&attachment.name),
        false => encoded(&attachment.name),
    };
    let mut more = vec![format!("Content-Disposition: {disposition}; filename=\"{name}\"")];
    more.extend(attachment.content_id.as_ref().map(|id| format!("Content-ID: <{id}>")));
    match &attachment.what {
        Attached::File(blob) => {
            let content_type = format!("{}; name=\"{name}\"", attachment.content_type);
            leaf(&content_type, &more, &blob.bytes())
        }
        Attached::Item(mime) => {
            let mut headers = vec!["Content-Type: message/rfc822".to_owned()];
            headers.append(&mut more);
            Part::Leaf { headers, body: mime.bytes().to_vec() }
        }
        Attached::Reference => {
            text("html", "<a href=\"https://contoso-my.sharepoint.com/\">Link</a>")
        }
    }
}

fn smime(mail: &Mail) -> Part {
    let disposition = "Content-Disposition: attachment; filename=\"smime.p7m\"".to_owned();
    let content = mail.attachments.first().map(|a| match &a.what {
        Attached::File(blob) => blob.bytes(),
        _ => Bytes::new(),
    });
    let content_type = "application/pkcs7-mime; smime-type=enveloped-data; name=\"smime.p7m\"";
    leaf(content_type, &[disposition], &content.unwrap_or_default())
}

fn quoted_printable(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 11 / 10);
    let mut column = 0;
    for line in text.split_inclusive("\r\n") {
        let (content, end) = match line.strip_suffix("\r\n") {
            Some(content) => (content, "\r\n"),
            None => (line, ""),
        };
        for (at, byte) in content.bytes().enumerate() {
            let last = at + 1 == content.len();
            let literal = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || byte == b' ' && !last;
            let width = if literal { 1 } else { 3 };
            if column + width > 75 {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            if literal {
                out.push(byte);
            } else {
                out.extend_from_slice(format!("={byte:02X}").as_bytes());
            }
            column += width;
        }
        out.extend_from_slice(end.as_bytes());
        column = 0;
    }
    out
}
