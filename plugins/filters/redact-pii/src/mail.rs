//! Mail: MIME messages (RFC 2045 and following), changed in place.
//!
//! The message is walked in its raw bytes; what is changed becomes an edit of a header field or of
//! a part's body. So everything else stays byte for byte, and parts, nesting and boundaries are
//! what they were.

mod header;
mod params;

use std::borrow::Cow;
use std::ops::Range;

use crate::charset;
use crate::content::{About, DEPTH, Kind, Verdict, decide, kind};
use crate::document;
use crate::edit::{Edit, apply, merge};
use crate::find::Finder;
use crate::settings::{Opaque, Rules, Signed};
use crate::text::PLAIN;
use crate::transfer::{Transfer, line_end};
use crate::view::Lines;

/// What becomes of a mail.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stays as it is.
    Keep,
    /// It is these bytes now.
    Change(Vec<u8>),
    /// It must not stay, for this reason.
    Drop(&'static str),
}

/// Redacts a mail.
#[must_use]
pub fn redact(rules: &Rules, raw: &[u8], depth: usize) -> Outcome {
    let mut walk = Walk { rules, raw, edits: Vec::new(), dropped: None };
    walk.entity(0..raw.len(), "text/plain", depth);
    match (walk.dropped, walk.edits) {
        (Some(reason), _) => Outcome::Drop(reason),
        (None, edits) if edits.is_empty() => Outcome::Keep,
        (None, edits) => Outcome::Change(apply(raw, &merge(edits))),
    }
}

/// Redacts the value of one header field. `None` if nothing was found.
#[must_use]
pub fn redact_header(finder: &Finder, name: &str, value: &str) -> Option<String> {
    header::redact(finder, name, value)
}

struct Walk<'a> {
    rules: &'a Rules,
    raw: &'a [u8],
    edits: Vec<Edit>,
    /// Why the whole mail must go.
    dropped: Option<&'static str>,
}

/// A header field, where it is written.
struct Field {
    /// With its line break.
    whole: Range<usize>,
    /// Behind the colon, without the last line break.
    value: Range<usize>,
    name: String,
}

/// A message or part.
struct Entity {
    fields: Vec<Field>,
    body: Range<usize>,
}

impl Walk<'_> {
    fn entity(&mut self, range: Range<usize>, default: &str, depth: usize) {
        if depth >= DEPTH {
            self.dropped = Some("it is nested too deeply to be looked into");
            return;
        }
        let entity = split(self.raw, range);
        for field in &entity.fields {
            self.field(field);
        }
        let (media_type, value) = self.content_type(&entity, default);
        let (_, written) = params::parse(&value);
        let parameter = |name: &str| params::get(&value, &written, name);
        let is_multipart = media_type.starts_with("multipart/");
        if let Some(boundary) = parameter("boundary").filter(|_| is_multipart)
            && let Some(parts) = parts(self.raw, entity.body.clone(), &boundary)
        {
            self.multipart(&media_type, &parts, depth);
            return;
        }
        let encoding = self.value(&entity, "content-transfer-encoding").unwrap_or_default();
        let transfer = Transfer::named(&encoding);
        match media_type.as_str() {
            "text/rfc822-headers"
            | "message/delivery-status"
            | "message/feedback-report"
            | "message/disposition-notification"
            | "message/global-delivery-status"
                if transfer == Transfer::Identity =>
            {
                return self.blocks(entity.body);
            }
            media_type if media_type.starts_with("message/") => {
                return self.message(&entity, transfer, depth);
            }
            _ => {}
        }
        let lines = parameter("format").filter(|format| format.eq_ignore_ascii_case("flowed"));
        let delete_space = parameter("delsp").is_some_and(|del| del.eq_ignore_ascii_case("yes"));
        let disposition = self.value(&entity, "content-disposition").unwrap_or_default();
        let (_, written_there) = params::parse(&disposition);
        let file = params::get(&disposition, &written_there, "filename").or(parameter("name"));
        let about = About {
            name: Cow::Owned(file.unwrap_or_default()),
            media_type: Cow::Borrowed(&media_type),
            charset: parameter("charset").map(Cow::Owned),
            lines: lines.map(|_| Lines::Flowed { delete_space }),
        };
        let signed_type = parameter("smime-type").unwrap_or_default().to_ascii_lowercase();
        self.leaf(&entity, &about, transfer, &signed_type, depth);
    }

    /// A message in a part. It must not be encoded (RFC 2046, 5.2.1), but some are, and some only
    /// say so: it is read both ways.
    fn message(&mut self, entity: &Entity, transfer: Transfer, depth: usize) {
        if transfer == Transfer::Identity {
            return self.entity(entity.body.clone(), "text/plain", depth + 1);
        }
        let body = &self.raw[entity.body.clone()];
        let mut changed = None;
        match redact(self.rules, body, depth + 1) {
            Outcome::Keep => {}
            Outcome::Change(bytes) => changed = Some(bytes),
            Outcome::Drop(reason) => self.dropped = Some(reason),
        }
        let now = changed.as_deref().unwrap_or(body);
        let (first, _) = line(now, 0, now.len());
        if transfer == Transfer::Quoted || !now[..first].contains(&b':') {
            match redact(self.rules, &transfer.decode(now), depth + 1) {
                Outcome::Keep => {}
                Outcome::Change(bytes) => changed = Some(transfer.encode(&bytes, now)),
                Outcome::Drop(reason) => self.dropped = Some(reason),
            }
        }
        if let Some(with) = changed {
            self.edits.push(Edit { range: entity.body.clone(), with });
        }
    }

    /// Fields alone, in blocks with an empty line between them (RFC 3464).
    fn blocks(&mut self, range: Range<usize>) {
        let mut rest = range;
        while !rest.is_empty() {
            let entity = split(self.raw, rest.clone());
            for field in &entity.fields {
                self.field(field);
            }
            if entity.body.start == rest.start {
                return self.gap(rest);
            }
            rest = entity.body;
        }
    }

    /// Text that belongs to no part.
    fn gap(&mut self, range: Range<usize>) {
        let raw = &self.raw[range.clone()];
        if let Some(redacted) = charset::redact(&self.rules.finder, raw, None, PLAIN) {
            self.edits.push(Edit { range, with: redacted.bytes });
        }
    }

    fn field(&mut self, field: &Field) {
        let raw = &self.raw[field.value.clone()];
        // Most fields have nothing in which anything could be found.
        let telling =
            |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'@' | b'=') || *byte >= 0x80;
        if !raw.iter().any(telling) && self.rules.finder.patterns.is_empty() {
            return;
        }
        let text = charset::lossless(raw);
        if let Some(redacted) = header::redact(&self.rules.finder, &field.name, &text) {
            let with = charset::lossless_back(&redacted);
            self.edits.push(Edit { range: field.value.clone(), with });
        }
    }

    /// The value of a field as text.
    fn value(&self, entity: &Entity, name: &str) -> Option<String> {
        let field = entity.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        Some(charset::lossless(&self.raw[field.value.clone()]).into_owned())
    }

    fn content_type(&self, entity: &Entity, default: &str) -> (String, String) {
        let Some(value) = self.value(entity, "content-type") else {
            return (default.to_owned(), String::new());
        };
        let (first, _) = params::parse(&value);
        // What is no type is text (RFC 2045, 5.2).
        let is_type = first.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
        (if is_type { first } else { "text/plain".to_owned() }, value)
    }

    fn multipart(&mut self, media_type: &str, parts: &Parts, depth: usize) {
        let signed = media_type == "multipart/signed";
        if media_type == "multipart/encrypted" {
            if self.rules.encrypted == Opaque::Drop {
                self.dropped = Some("it is encrypted");
            }
            return;
        }
        if signed && self.rules.signed == Signed::Pass {
            return;
        }
        let before = self.edits.len();
        for gap in &parts.gaps {
            self.gap(gap.clone());
        }
        let default =
            if media_type == "multipart/digest" { "message/rfc822" } else { "text/plain" };
        for part in &parts.parts {
            self.entity(part.clone(), default, depth + 1);
        }
        if signed && self.rules.signed == Signed::Drop && self.edits.len() > before {
            self.dropped = Some("something was found in what is signed");
        }
    }

    fn leaf(
        &mut self,
        entity: &Entity,
        about: &About<'_>,
        transfer: Transfer,
        smime: &str,
        depth: usize,
    ) {
        let body = &self.raw[entity.body.clone()];
        if body.is_empty() {
            return;
        }
        let bytes = transfer.decode(body);
        let verdict = match about.media_type.as_ref() {
            "application/pkcs7-mime" | "application/x-pkcs7-mime"
                if !smime.starts_with("certs") =>
            {
                self.pkcs7(smime)
            }
            "application/pkcs7-signature"
            | "application/x-pkcs7-signature"
            | "application/pgp-signature"
            | "application/pgp-keys" => Verdict::Keep,
            _ if is_pgp_message(&bytes) && self.rules.encrypted == Opaque::Drop => {
                self.dropped = Some("it is encrypted");
                Verdict::Keep
            }
            _ => decide(self.rules, about, &bytes, depth),
        };
        match verdict {
            Verdict::Keep => {}
            Verdict::Change { bytes: changed, is_utf8_now } => {
                let is_text = matches!(kind(about, &bytes), Kind::Text(_));
                self.change(entity, &changed, transfer, is_utf8_now && is_text);
            }
            Verdict::Drop(reason) => self.stub(entity, &bytes, reason),
        }
    }

    /// S/MIME in one piece: encrypted, or signed with the text inside the signature.
    fn pkcs7(&mut self, smime: &str) -> Verdict {
        if smime.starts_with("signed") || smime.starts_with("compressed") {
            return match self.rules.signed {
                Signed::Pass => Verdict::Keep,
                Signed::Redact => Verdict::Drop("it is signed in a way that can't be looked into"),
                Signed::Drop => {
                    self.dropped = Some("it is signed in a way that can't be looked into");
                    Verdict::Keep
                }
            };
        }
        if self.rules.encrypted == Opaque::Drop {
            self.dropped = Some("it is encrypted");
        }
        Verdict::Keep
    }

    /// Puts other bytes into a part.
    fn change(&mut self, entity: &Entity, bytes: &[u8], transfer: Transfer, is_utf8_now: bool) {
        let body = &self.raw[entity.body.clone()];
        let mut transfer = transfer;
        if is_utf8_now {
            self.set_charset(entity);
            if transfer == Transfer::Identity && !bytes.is_ascii() {
                transfer = Transfer::Quoted;
                self.set(entity, "Content-Transfer-Encoding", "quoted-printable");
            }
        }
        let with = transfer.encode(bytes, body);
        self.edits.push(Edit { range: entity.body.clone(), with });
    }

    /// Puts a note in place of a part's content.
    fn stub(&mut self, entity: &Entity, bytes: &[u8], reason: &str) {
        let end = line_end(self.raw);
        let mut with = document::stub(bytes, reason, end);
        if !self.raw[entity.body.clone()].ends_with(b"\n") {
            with.truncate(with.len() - end.len());
        }
        self.set(entity, "Content-Type", "text/plain; charset=utf-8");
        self.set(entity, "Content-Transfer-Encoding", "7bit");
        if self.value(entity, "content-disposition").is_some() {
            self.set(entity, "Content-Disposition", "attachment; filename=\"removed.txt\"");
        }
        self.edits.push(Edit { range: entity.body.clone(), with: with.into_bytes() });
    }

    /// Gives a field another value, or adds it.
    fn set(&mut self, entity: &Entity, name: &str, value: &str) {
        let found: Vec<&Field> =
            entity.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).collect();
        for field in &found {
            let with = format!(" {value}").into_bytes();
            self.edits.retain(|edit| edit.range != field.value);
            self.edits.push(Edit { range: field.value.clone(), with });
        }
        if found.is_empty() {
            let at = entity.fields.last().map_or(entity.body.start, |field| field.whole.end);
            let end = line_end(self.raw);
            // An entity without fields begins with the empty line, or has none.
            let with = match entity.fields.is_empty() && at == 0 {
                true => format!("{name}: {value}{end}{end}"),
                false => format!("{name}: {value}{end}"),
            };
            self.insert(at, with);
        }
    }

    /// Adds to what is inserted at a place.
    fn insert(&mut self, at: usize, text: String) {
        match self.edits.iter_mut().find(|edit| edit.range == (at..at)) {
            Some(edit) => edit.with.extend_from_slice(text.as_bytes()),
            None => self.edits.push(Edit { range: at..at, with: text.into_bytes() }),
        }
    }

    /// Says that a part is UTF-8.
    fn set_charset(&mut self, entity: &Entity) {
        let Some(field) =
            entity.fields.iter().find(|field| field.name.eq_ignore_ascii_case("content-type"))
        else {
            self.set(entity, "Content-Type", "text/plain; charset=utf-8");
            return;
        };
        // Something may have been found in the field itself.
        let own = self.edits.iter().position(|edit| edit.range == field.value);
        let raw = match own {
            Some(index) => self.edits.swap_remove(index).with,
            None => self.raw[field.value.clone()].to_vec(),
        };
        let value = charset::lossless(&raw);
        let (_, written) = params::parse(&value);
        let mut changed = value.clone().into_owned();
        let charsets = written.iter().filter(|written| written.name == "charset");
        let places: Vec<Range<usize>> = charsets.map(|written| written.whole.clone()).collect();
        for place in places.iter().rev() {
            changed.replace_range(place.clone(), "");
        }
        changed = changed.trim_end().to_owned() + "; charset=utf-8";
        let with = charset::lossless_back(&changed);
        self.edits.push(Edit { range: field.value.clone(), with });
    }
}

/// An armoured message in plain text.
fn is_pgp_message(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP MESSAGE-----")
}

/// The line that begins at `at`: its content's end and the next one's beginning. Ends at CRLF, LF
/// or CR alone, as readers have it.
fn line(raw: &[u8], at: usize, end: usize) -> (usize, usize) {
    match memchr::memchr2(b'\r', b'\n', &raw[at..end]) {
        None => (end, end),
        Some(found) => {
            let stop = at + found;
            let crlf = raw[stop] == b'\r' && stop + 1 < end && raw[stop + 1] == b'\n';
            (stop, stop + 1 + usize::from(crlf))
        }
    }
}

/// Fields and body. The fields end at an empty line or at one that can be no field.
fn split(raw: &[u8], range: Range<usize>) -> Entity {
    let mut fields: Vec<Field> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let (stop, next) = line(raw, at, range.end);
        let text = &raw[at..stop];
        if text.is_empty() {
            return Entity { fields, body: next..range.end };
        }
        let colon = text.iter().position(|byte| *byte == b':');
        let is_name = |name: &[u8]| name.trim_ascii_end().iter().all(u8::is_ascii_graphic);
        if matches!(text[0], b' ' | b'\t') && !fields.is_empty() {
            if let Some(last) = fields.last_mut() {
                last.whole.end = next;
                last.value.end = stop;
            }
        } else if let Some(colon) = colon.filter(|colon| is_name(&text[..*colon])) {
            let name = String::from_utf8_lossy(text[..colon].trim_ascii_end()).into_owned();
            fields.push(Field { whole: at..next, value: at + colon + 1..stop, name });
        } else if at == range.start && text.starts_with(b"From ") {
            fields.push(Field { whole: at..next, value: at + 5..stop, name: "From".to_owned() });
        } else {
            break;
        }
        at = next;
    }
    Entity { fields, body: at..range.end }
}

/// The inside of a multipart body.
struct Parts {
    parts: Vec<Range<usize>>,
    /// What stands before the first part and behind the last one.
    gaps: Vec<Range<usize>>,
}

/// Cuts a multipart body at its boundary; none if it is not there.
fn parts(raw: &[u8], body: Range<usize>, boundary: &str) -> Option<Parts> {
    let delimiter = [b"--", boundary.trim_end().as_bytes()].concat();
    let mut found = Parts { parts: Vec::new(), gaps: Vec::new() };
    // Where the current part begins, and where the line before this one ends.
    let mut open: Option<usize> = None;
    let mut gap = body.start;
    let mut at = body.start;
    let mut before = body.start;
    while at < body.end {
        let (stop, next) = line(raw, at, body.end);
        let rest = raw[at..stop].strip_prefix(delimiter.as_slice());
        let ends = match rest.map(<[u8]>::trim_ascii_end) {
            Some(b"") => Some(false),
            Some(b"--") => Some(true),
            _ => None,
        };
        if let Some(ends) = ends {
            match open.take() {
                // The line break before a delimiter is the delimiter's.
                Some(start) => found.parts.push(start..before.max(start)),
                None => found.gaps.push(gap..at),
            }
            if ends {
                found.gaps.push(next..body.end);
                return Some(found);
            }
            open = Some(next);
            gap = next;
        }
        before = stop;
        at = next;
    }
    match open {
        Some(start) => found.parts.push(start..body.end),
        None if found.parts.is_empty() => return None,
        None => found.gaps.push(gap..body.end),
    }
    Some(found)
}
