//! What becomes of one file: an attachment, a file of a drive, an entry of an archive.

use std::borrow::Cow;

use crate::charset;
use crate::document;
use crate::mail;
use crate::settings::{Documents, Opaque, Other, Rules};
use crate::text::{Form, PLAIN};
use crate::uu;
use crate::view::{Dialect, Lines};

/// How deep parts in parts and files in files are looked into, counted in parts.
pub const DEPTH: usize = 48;
/// What a file in a file counts.
pub const FILE: usize = 6;

/// What is known of a file besides its bytes.
#[derive(Debug, Clone, Default)]
pub struct About<'a> {
    /// Its name, if it has one.
    pub name: Cow<'a, str>,
    /// Its media type in lower case, without parameters.
    pub media_type: Cow<'a, str>,
    /// The character set it is said to be in.
    pub charset: Option<Cow<'a, str>>,
    /// How lines of plain text hang together.
    pub lines: Option<Lines>,
}

/// What becomes of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It is these bytes now.
    Change {
        /// The bytes.
        bytes: Vec<u8>,
        /// It was text in another character set and is UTF-8 now.
        is_utf8_now: bool,
    },
    /// It must not stay, for this reason.
    Drop(&'static str),
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text in some form.
    Text(Form),
    /// A mail.
    Mail,
    /// Several mails, each after a line that begins with `From `.
    Mbox,
    /// A ZIP file: Office documents among them.
    Zip,
    /// A document or archive that can't be looked into.
    Opaque,
    /// An image, sound, video or font.
    Media,
    /// Anything else.
    Other,
}

/// Decides on a file that is in memory.
#[must_use]
pub fn decide(rules: &Rules, about: &About<'_>, bytes: &[u8], depth: usize) -> Verdict {
    let kind = kind(about, bytes);
    if depth >= DEPTH && !matches!(kind, Kind::Text(_) | Kind::Media) {
        return opaque(rules.opaque, "it is nested too deeply to be looked into");
    }
    match kind {
        Kind::Text(form) => text(rules, about, bytes, form, depth),
        Kind::Mail => match mail::redact(rules, bytes, depth + FILE) {
            mail::Outcome::Keep => Verdict::Keep,
            mail::Outcome::Change(bytes) => Verdict::Change { bytes, is_utf8_now: false },
            mail::Outcome::Drop(reason) => Verdict::Drop(reason),
        },
        Kind::Mbox => mbox(rules, bytes, depth),
        Kind::Zip => match rules.documents {
            Documents::Pass => Verdict::Keep,
            Documents::Drop => Verdict::Drop("it is a document"),
            Documents::Redact => document::redact(rules, bytes, depth),
            Documents::DropFound => match document::redact(rules, bytes, depth) {
                Verdict::Change { .. } => Verdict::Drop("something was found in the document"),
                other => other,
            },
        },
        Kind::Opaque => opaque(rules.opaque, "it is a document that can't be looked into"),
        Kind::Media => opaque(rules.media, "it is an image, sound or video"),
        Kind::Other => match rules.other {
            Other::Pass => Verdict::Keep,
            Other::Drop => Verdict::Drop("it is no text and of unknown kind"),
            Other::Inspect if is_found_raw(rules, bytes) => {
                Verdict::Drop("something was found in a file of unknown kind")
            }
            Other::Inspect => Verdict::Keep,
        },
    }
}

/// What becomes of something that is not looked into.
#[must_use]
pub fn opaque(rule: Opaque, reason: &'static str) -> Verdict {
    match rule {
        Opaque::Pass => Verdict::Keep,
        Opaque::Drop => Verdict::Drop(reason),
    }
}

/// Text, with the files that may be written in it.
fn text(rules: &Rules, about: &About<'_>, bytes: &[u8], form: Form, depth: usize) -> Verdict {
    let mut bytes = Cow::Borrowed(bytes);
    let blocks = if form == PLAIN { uu::blocks(&bytes) } else { Vec::new() };
    for block in blocks.iter().rev() {
        let file = block.decode(&bytes);
        let changed = match decide(rules, &About::default(), &file, depth + FILE) {
            Verdict::Keep => continue,
            Verdict::Change { bytes: file, .. } if block.can_encode() => {
                block.encode(&bytes, &file)
            }
            Verdict::Change { .. } => splice(&bytes, block, "something was found in it"),
            Verdict::Drop(reason) => splice(&bytes, block, reason),
        };
        bytes = Cow::Owned(changed);
    }
    match charset::redact(&rules.finder, &bytes, about.charset.as_deref(), form) {
        Some(charset::Redacted { bytes, is_utf8_now }) => Verdict::Change { bytes, is_utf8_now },
        None => match bytes {
            Cow::Borrowed(_) => Verdict::Keep,
            Cow::Owned(bytes) => Verdict::Change { bytes, is_utf8_now: false },
        },
    }
}

/// A text with a stub in place of a file in it.
fn splice(text: &[u8], block: &uu::Block, reason: &str) -> Vec<u8> {
    let stub = document::stub(&block.decode(text), reason, crate::transfer::line_end(text));
    [&text[..block.range.start], stub.trim_ascii_end().as_bytes(), &text[block.range.end..]]
        .concat()
}

/// Mails one after another.
fn mbox(rules: &Rules, bytes: &[u8], depth: usize) -> Verdict {
    let mut out = Vec::with_capacity(bytes.len());
    let mut changed = false;
    let mut start = 0;
    while start < bytes.len() {
        let line = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at + 1);
        let next = memchr::memmem::find(&bytes[line..], b"\nFrom ");
        let end = next.map_or(bytes.len(), |at| line + at + 1);
        out.extend_from_slice(&bytes[start..line]);
        match mail::redact(rules, &bytes[line..end], depth + FILE) {
            mail::Outcome::Keep => out.extend_from_slice(&bytes[line..end]),
            mail::Outcome::Change(mail) => {
                changed = true;
                out.extend_from_slice(&mail);
            }
            mail::Outcome::Drop(reason) => return Verdict::Drop(reason),
        }
        start = end;
    }
    if changed { Verdict::Change { bytes: out, is_utf8_now: false } } else { Verdict::Keep }
}

/// Whether something is found in the plain bytes of a file, read as ASCII and as UTF-16.
#[must_use]
pub fn is_found_raw(rules: &Rules, bytes: &[u8]) -> bool {
    let narrow: String = bytes.iter().map(|byte| raw_char(*byte)).collect();
    if !rules.finder.find(&narrow).is_empty() {
        return true;
    }
    (0..2).any(|offset| {
        let pairs = bytes.get(offset..).unwrap_or_default().chunks_exact(2);
        let wide: String =
            pairs.map(|pair| if pair[1] == 0 { raw_char(pair[0]) } else { '\u{1}' }).collect();
        !rules.finder.find(&wide).is_empty()
    })
}

/// A byte as text; what is none separates.
fn raw_char(byte: u8) -> char {
    match byte {
        b' '..=b'~' | b'\r' | b'\n' | b'\t' => char::from(byte),
        _ => '\u{1}',
    }
}

/// What a file is, by its bytes first, then by what it is said to be.
#[must_use]
pub fn kind(about: &About<'_>, bytes: &[u8]) -> Kind {
    if let Some(kind) = document::by_magic(bytes) {
        return kind;
    }
    let extension = about.name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    let extension = extension.as_deref().unwrap_or_default();
    let media_type = about.media_type.as_ref();
    if !charset::is_text(bytes) && !is_text_type(media_type) {
        return Kind::Other;
    }
    let start = &bytes[..bytes.len().min(512)];
    let is_xml = memchr::memmem::find(start, b"<?xml").is_some();
    match (media_type, extension) {
        ("message/rfc822" | "message/global", _) | (_, "eml" | "mht" | "mhtml") => Kind::Mail,
        (_, "mbox" | "mbx") if bytes.starts_with(b"From ") => Kind::Mbox,
        ("text/calendar" | "text/vcard" | "text/directory" | "text/x-vcard", _)
        | (_, "ics" | "vcf" | "ifb" | "vcard") => Kind::Text(Form::Plain(Lines::Folded)),
        ("text/html" | "application/xhtml+xml", _) | (_, "html" | "htm" | "xhtml") => {
            Kind::Text(Form::Markup(Dialect::Html))
        }
        ("text/xml" | "application/xml", _) | (_, "xml" | "svg" | "rss" | "fodt" | "fods") => {
            Kind::Text(Form::Markup(Dialect::Xml))
        }
        (media_type, _) if is_xml || media_type.ends_with("+xml") => {
            Kind::Text(Form::Markup(Dialect::Xml))
        }
        ("text/plain", _) => Kind::Text(about.lines.map_or(PLAIN, Form::Plain)),
        _ if bytes.starts_with(b"BEGIN:V") => Kind::Text(Form::Plain(Lines::Folded)),
        _ if bytes.starts_with(b"From ")
            && memchr::memmem::find(start, b"\nReceived:").is_some() =>
        {
            Kind::Mbox
        }
        _ => Kind::Text(PLAIN),
    }
}

fn is_text_type(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || media_type.starts_with("message/")
        || media_type.ends_with("+xml")
        || media_type.ends_with("+json")
        || matches!(
            media_type,
            "application/json"
                | "application/xml"
                | "application/javascript"
                | "application/x-sh"
                | "application/csv"
                | "application/sql"
                | "application/yaml"
        )
}
