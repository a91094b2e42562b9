//! Whether two calendar objects or cards say the same, however they are written.
//!
//! A server may store the bytes it was given or write them anew: with its lines in another order,
//! folded elsewhere, with other capitals and quotes, its own time zones, and a time of its own for
//! the change (RFC 4791, 5.3.4). None of that is what people and programs see. Nothing is held but
//! a digest a component: an attachment may be of any size.

use sha2::{Digest, Sha256};

use super::line::{Head, Lines, Piece, parameter};
use super::object::Kind;

/// Longer than the identifiers of any program.
const MOST_OF_UID: usize = 4096;
/// Longer than any duration or rule.
const MOST_OF_SHORT: usize = 64 * 1024;
/// Components in components; deeper ones count as lines of the deepest.
const DEEPEST: usize = 16;
/// What a server sets itself, or what is of the file and not of the thing.
const OWN: [&str; 9] = [
    "PRODID",
    "VERSION",
    "CALSCALE",
    "METHOD",
    "DTSTAMP",
    "CREATED",
    "LAST-MODIFIED",
    "SEQUENCE",
    "REV",
];

/// A digest of what an object says. Equal objects have equal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Likeness([u8; 32]);

impl std::fmt::Display for Likeness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&archive::hex(&self.0))
    }
}

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) likeness: Likeness,
    /// What the first component is that is anything.
    pub(super) kind: Option<Kind>,
    /// The first one that an event, a task or a card has.
    pub(super) uid: Option<String>,
}

/// Reads an object to find out what it is.
#[derive(Debug)]
pub(super) struct Measure {
    lines: Lines,
    reading: Reading,
}

/// What was read so far.
#[derive(Debug)]
struct Reading {
    /// The components that are open; the first one is the file.
    open: Vec<Component>,
    line: Line,
    kind: Option<Kind>,
    uid: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Component {
    name: String,
    /// The sum of the digests of what is in it: order does not matter, number does.
    sum: [u64; 4],
}

/// The line that is being read.
#[derive(Debug)]
enum Line {
    Ignored,
    /// `BEGIN` and `END`: the name of a component.
    Bound {
        begins: bool,
        name: Vec<u8>,
    },
    /// What can be written in many ways: its meaning, once it is there, and what stands before it.
    Short {
        digest: Sha256,
        value: Vec<u8>,
        meaning: fn(&str) -> Option<String>,
    },
    Property {
        digest: Sha256,
        is_base64: bool,
        escaped: bool,
        uid: Option<Vec<u8>>,
    },
}

impl Measure {
    pub(super) fn new() -> Self {
        let open = vec![Component::default()];
        let reading = Reading { open, line: Line::Ignored, kind: None, uid: None };
        Self { lines: Lines::default(), reading }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let reading = &mut self.reading;
        self.lines.push(bytes, &mut |piece| reading.piece(piece));
    }

    pub(super) fn end(mut self) -> Measured {
        let reading = &mut self.reading;
        self.lines.finish(&mut |piece| reading.piece(piece));
        while reading.open.len() > 1 {
            reading.close();
        }
        let uid = reading.uid.as_deref().map(text).filter(|uid| !uid.is_empty());
        Measured { likeness: Likeness(reading.open[0].digest()), kind: reading.kind, uid }
    }
}

impl Reading {
    fn piece(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Head(head) => self.line = self.begin(head),
            Piece::Value(value) => self.line.value(value),
            Piece::End => match std::mem::replace(&mut self.line, Line::Ignored) {
                Line::Ignored => {}
                Line::Short { mut digest, value, meaning } => {
                    let written = String::from_utf8_lossy(&value);
                    let meant = meaning(written.trim());
                    digest.update(meant.as_deref().unwrap_or(&written));
                    self.add(digest.finalize().into());
                }
                Line::Property { digest, uid, .. } => {
                    self.uid = self.uid.take().or(uid);
                    self.add(digest.finalize().into());
                }
                Line::Bound { begins: true, name } if self.open.len() < DEEPEST => {
                    let name = String::from_utf8_lossy(&name).trim().to_ascii_uppercase();
                    self.kind = self.kind.or_else(|| Kind::of(&name));
                    self.open.push(Component { name, sum: [0; 4] });
                }
                Line::Bound { begins: false, .. } if self.open.len() > 1 => self.close(),
                Line::Bound { .. } => {}
            },
        }
    }

    fn begin(&self, written: &[u8]) -> Line {
        // Rules of zones are the server's: names and times of the event say what they must.
        if self.open.iter().any(|component| component.name == "VTIMEZONE")
            && !written.eq_ignore_ascii_case(b"END:")
            && !written.eq_ignore_ascii_case(b"BEGIN:")
        {
            return Line::Ignored;
        }
        let Some(head) = Head::parse(written) else {
            let digest = Sha256::new_with_prefix(written);
            return Line::Property { digest, is_base64: false, escaped: false, uid: None };
        };
        let is_thing = self.open.last().is_some_and(|open| Kind::of(&open.name).is_some());
        match head.name.as_str() {
            "BEGIN" => Line::Bound { begins: true, name: Vec::new() },
            "END" => Line::Bound { begins: false, name: Vec::new() },
            name if OWN.contains(&name) || name.starts_with("X-RADICALE-") => Line::Ignored,
            name => property(&head, is_thing && name == "UID"),
        }
    }

    fn close(&mut self) {
        let Some(component) = self.open.pop() else { return };
        if component.name != "VTIMEZONE" {
            self.add(component.digest());
        }
    }

    fn add(&mut self, digest: [u8; 32]) {
        let Some(component) = self.open.last_mut() else { return };
        for (sum, bytes) in component.sum.iter_mut().zip(digest.chunks_exact(8)) {
            let mut part = [0; 8];
            part.copy_from_slice(bytes);
            *sum = sum.wrapping_add(u64::from_be_bytes(part));
        }
    }
}

impl Component {
    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(self.name.as_bytes());
        for part in self.sum {
            digest.update(part.to_be_bytes());
        }
        digest.finalize().into()
    }
}

impl Line {
    fn value(&mut self, value: &[u8]) {
        match self {
            Self::Ignored => {}
            Self::Bound { name, .. } => {
                let room = 64_usize.saturating_sub(name.len());
                name.extend_from_slice(&value[..value.len().min(room)]);
            }
            Self::Short { value: all, .. } => {
                let room = MOST_OF_SHORT.saturating_sub(all.len());
                all.extend_from_slice(&value[..value.len().min(room)]);
            }
            Self::Property { digest, is_base64: true, .. } => {
                for part in value.split(u8::is_ascii_whitespace) {
                    digest.update(part);
                }
            }
            Self::Property { digest, escaped, uid, .. } => {
                if let Some(uid) = uid {
                    let room = MOST_OF_UID.saturating_sub(uid.len());
                    uid.extend_from_slice(&value[..value.len().min(room)]);
                }
                unescaped(value, escaped, digest);
            }
        }
    }
}

/// A text value, without the backslashes.
fn text(written: &[u8]) -> String {
    let written = String::from_utf8_lossy(written);
    let (mut text, mut rest) = (String::new(), written.trim().chars());
    while let Some(c) = rest.next() {
        text.extend(if c == '\\' { rest.next() } else { Some(c) });
    }
    text
}

/// A backslash before a comma or not: servers differ, and mean the same.
fn unescaped(value: &[u8], escaped: &mut bool, digest: &mut Sha256) {
    let mut rest = value;
    while !rest.is_empty() {
        if std::mem::take(escaped) {
            let (first, after) = rest.split_at(1);
            digest.update(if matches!(first, b"n" | b"N") { b"\n" } else { first });
            rest = after;
        } else {
            let end = rest.iter().position(|byte| *byte == b'\\').unwrap_or(rest.len());
            digest.update(&rest[..end]);
            *escaped = end < rest.len();
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
}

fn property(head: &Head<'_>, is_uid: bool) -> Line {
    let mut parameters: Vec<String> = head.parameters.iter().filter_map(|p| normal(p)).collect();
    parameters.sort();
    let is_base64 = parameters.iter().any(|p| p == "ENCODING=B" || p == "ENCODING=BASE64");
    let mut digest = Sha256::new();
    // A group only holds lines together; its name is anybody's.
    digest.update(if head.group.is_empty() { "" } else { "." });
    digest.update(&head.name);
    for parameter in parameters {
        digest.update(";");
        digest.update(parameter);
    }
    digest.update(":");
    let meaning: Option<fn(&str) -> Option<String>> = match head.name.as_str() {
        "TRIGGER" | "DURATION" => Some(seconds),
        "RRULE" | "EXRULE" => Some(rule),
        _ => None,
    };
    if let Some(meaning) = meaning {
        return Line::Short { digest, value: Vec::new(), meaning };
    }
    Line::Property { digest, is_base64, escaped: false, uid: is_uid.then(Vec::new) }
}

/// A duration (RFC 5545, 3.3.6), which can be written in many ways.
fn seconds(written: &str) -> Option<String> {
    let unsigned = written.trim_start_matches(['+', '-']);
    let (mut seconds, mut number, mut in_time) = (0_i64, String::new(), false);
    for c in unsigned.strip_prefix('P')?.chars() {
        let unit = match (c, in_time) {
            ('0'..='9', _) => {
                number.push(c);
                continue;
            }
            ('T', false) => {
                in_time = true;
                continue;
            }
            ('W', false) => 7 * 86_400,
            ('D', false) => 86_400,
            ('H', true) => 3600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return None,
        };
        let part = number.parse::<i64>().ok()?.checked_mul(unit)?;
        seconds = seconds.checked_add(part)?;
        number.clear();
    }
    let signed = if written.starts_with('-') { -seconds } else { seconds };
    number.is_empty().then(|| signed.to_string())
}

/// A rule (RFC 5545, 3.3.10), whose parts stand in any order.
fn rule(written: &str) -> Option<String> {
    let written = written.to_ascii_uppercase();
    let mut parts: Vec<&str> = written.split(';').collect();
    parts.sort_unstable();
    Some(parts.join(";"))
}

/// A parameter as all may write it; none of what a server sets, or what is so without it.
fn normal(written: &str) -> Option<String> {
    let (name, value) = parameter(written);
    let value = value.replace('"', "");
    match name.as_str() {
        "SCHEDULE-AGENT" | "SCHEDULE-STATUS" | "SCHEDULE-FORCE-SEND" => None,
        "VALUE" if value.eq_ignore_ascii_case("DATE-TIME") => None,
        // Words of the standard, in which case does not matter.
        "VALUE" | "TYPE" | "ENCODING" | "ROLE" | "PARTSTAT" | "CUTYPE" | "RSVP" | "RELATED" => {
            Some(format!("{name}={}", value.to_ascii_uppercase()))
        }
        _ => Some(format!("{name}={value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Measure, Measured};

    fn of(text: &str) -> Measured {
        let mut whole = Measure::new();
        whole.push(text.as_bytes());
        let whole = whole.end();
        let mut pieces = Measure::new();
        for byte in text.bytes() {
            pieces.push(&[byte]);
        }
        assert_eq!(pieces.end(), whole);
        whole
    }

    const EVENT: &str = "BEGIN:VCALENDAR\r\nPRODID:a\r\nBEGIN:VTIMEZONE\r\nTZID:X\r\n\
        END:VTIMEZONE\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20250101T000000Z\r\n\
        SUMMARY:one\\, two\r\nATTENDEE;CN=\"A\";RSVP=TRUE:mailto:a@b.c\r\nEND:VEVENT\r\n\
        BEGIN:VEVENT\r\nUID:1\r\nSUMMARY:other\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

    #[test]
    fn what_is_written_otherwise_is_the_same() {
        let anew = "BEGIN:VCALENDAR\nPRODID:b\nBEGIN:VEVENT\nSUMMARY:other\nUID:1\nEND:VEVENT\n\
            BEGIN:VEVENT\nATTENDEE;rsvp=true;CN=A;SCHEDULE-AGENT=NONE:mailto:\n a@b.c\n\
            SUMMARY:one, two\nUID:1\nEND:VEVENT\nEND:VCALENDAR\n";
        assert_eq!(of(EVENT), of(anew));
    }

    #[test]
    fn what_says_something_else_is_not() {
        for (old, new) in [
            ("SUMMARY:other", "SUMMARY:Other"),
            ("UID:1\r\nSUMMARY:other\r\n", "UID:1\r\nUID:1\r\nSUMMARY:other\r\n"),
            ("a@b.c", "a@b.d"),
            ("RSVP=TRUE", "RSVP=FALSE"),
            ("BEGIN:VEVENT\r\nUID:1\r\nSUMMARY:other\r\nEND:VEVENT\r\n", ""),
        ] {
            let changed = EVENT.replace(old, new);
            assert_ne!(changed, EVENT);
            assert_ne!(of(&changed), of(EVENT), "{old} -> {new}");
        }
        // A line that went to the other event.
        let moved = EVENT.replace("SUMMARY:one\\, two", "SUMMARY:x").replace("other", "one\\, two");
        let there = EVENT.replace("SUMMARY:other", "SUMMARY:x");
        assert_ne!(of(&moved), of(&there));
    }

    #[test]
    fn durations() {
        for (one, other, same) in [
            ("-PT1440M", "-P1D", true),
            ("PT90M", "+PT1H30M", true),
            ("P1W", "P7D", true),
            ("-P1D", "P1D", false),
            ("PT0S", "-PT0M", true),
            ("20250101T000000Z", "20250101T000001Z", false),
            ("P1M", "PT1M", false),
        ] {
            let with =
                |trigger: &str| of(&format!("BEGIN:VALARM\nTRIGGER:{trigger}\nEND:VALARM\n"));
            assert_eq!(with(one) == with(other), same, "{one} {other}");
        }
    }

    #[test]
    fn rules() {
        let with = |rule: &str| of(&format!("BEGIN:VEVENT\nRRULE:{rule}\nEND:VEVENT\n"));
        let given = with("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=28,29;BYSETPOS=-1");
        assert_eq!(given, with("FREQ=YEARLY;BYMONTHDAY=28,29;BYMONTH=2;BYSETPOS=-1"));
        assert_ne!(given, with("FREQ=YEARLY;BYMONTHDAY=28,29;BYMONTH=3;BYSETPOS=-1"));
    }

    #[test]
    fn what_it_is() {
        let event = of(&EVENT.replace("UID:1", "UID:a\\,\r\n b").replace("TZID:X", "UID:zone"));
        assert_eq!((event.kind, event.uid.as_deref()), (Some(Kind::Event), Some("a,b")));
        let card = of("BEGIN:vcard\nUID:u\nEND:vcard\n");
        assert_eq!((card.kind, card.uid.as_deref()), (Some(Kind::Card), Some("u")));
        let none = of("BEGIN:VCALENDAR\nUID:u\nEND:VCALENDAR\n");
        assert_eq!((none.kind, none.uid), (None, None));
    }

    #[test]
    fn photos_are_the_same_however_they_are_folded() {
        let card =
            |photo: &str| format!("BEGIN:VCARD\r\nPHOTO;ENCODING=b:{photo}\r\nEND:VCARD\r\n");
        assert_eq!(of(&card("AAAABBBB")), of(&card("AAAA\r\n  BBBB")));
        assert_ne!(of(&card("AAAABBBB")), of(&card("AAAABBBC")));
    }
}
