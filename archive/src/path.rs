//! Names a file system can hold, made from names a mailbox can hold.
//!
//! A component is the item's own name with what a file system, a shell window or a reader of tar
//! can't take percent-escaped, so that it can be read back ([`unescape`]) unless it had to be cut.
//! Sources: Microsoft, "Naming Files, Paths, and Namespaces" (forbidden characters, device
//! names, trailing dot and space); measured: components over 255 bytes fail in every extractor,
//! control characters pass through to the terminal, bsdtar extracts NFC, Windows and macOS fold case.

use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class, is_nfc};

use crate::digest;

/// Longest component we write, in bytes. File systems take 255; the rest is room for `.ndjson`
/// and for what extractors append while writing.
pub const MAX_COMPONENT: usize = 200;
/// Longest component a reader accepts, in bytes: what Linux, macOS and most others can hold.
pub const MAX_FOREIGN_COMPONENT: usize = 255;
/// Longest path a reader accepts, in bytes.
pub const MAX_PATH: usize = 16 * 1024;

/// Longest extension that survives a cut, in bytes without the dot.
const MAX_EXTENSION: usize = 20;
const TAG_LENGTH: usize = 10;
const LONG_TAG_LENGTH: usize = 26;
/// The empty name. No other name gives a lone `%`, because a real one becomes `%25`.
const EMPTY: &str = "%";

/// Why a path is not safe to extract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Starts with a slash.
    #[error("it is absolute")]
    Absolute,
    /// Empty, or two slashes in a row, or a slash at the end.
    #[error("it has an empty component")]
    Empty,
    /// Has a component `.` or `..`.
    #[error("it has a dot component")]
    Dot,
    /// Has a backslash, which Windows takes for a slash.
    #[error("it has a backslash")]
    Backslash,
    /// Has NUL or another control character.
    #[error("it has a control character")]
    Control,
    /// A component over [`MAX_FOREIGN_COMPONENT`] or a path over [`MAX_PATH`].
    #[error("it is too long")]
    TooLong,
}

/// The component for an item called `name` whose immutable id is `id` (used only when cut):
/// escaped, NFC, at most [`MAX_COMPONENT`] bytes with the extension kept.
pub fn component(name: &str, id: &str) -> String {
    fit(&escape(name), id, Extension::Kept, false)
}

/// As [`component`], with `~tag` before the extension also when nothing is cut: for all names of
/// a folder whose [`fold`] is equal.
pub fn tagged_component(name: &str, id: &str) -> String {
    fit(&escape(name), id, Extension::Kept, true)
}

/// As [`component`] for a folder: a folder `a.b` has no extension.
pub fn directory_component(name: &str, id: &str) -> String {
    fit(&escape(name), id, Extension::None, false)
}

/// As [`tagged_component`] for a folder: `~tag` stands at the end.
pub fn tagged_directory_component(name: &str, id: &str) -> String {
    fit(&escape(name), id, Extension::None, true)
}

/// The tag of an id: 10 characters (50 bits) of its SHA-256 in base32hex, lower case.
pub fn tag(id: &str) -> String {
    digest::base32(id, TAG_LENGTH)
}

/// The first 26 characters (130 bits) of it: for names that must be unique among millions, or that
/// nobody may make on purpose.
pub fn long_tag(id: &str) -> String {
    digest::base32(id, LONG_TAG_LENGTH)
}

/// The name of a mail: `20261122T101500Z Quarterly report ~k3f9a2c1d4.eml`. `received` is in
/// seconds since 1970, UTC. White space around the subject is dropped: the exact subject stands
/// in the metadata. Unique without a look at the siblings, because it always has the tag.
pub fn mail_name(received: i64, subject: &str, id: &str) -> String {
    dated_name(received, subject, id, "eml")
}

/// The name of an event or series, by its start, likewise: `20261122T101500Z Review ~k3f9a2c1d4.ics`.
pub fn event_name(start: i64, subject: &str, id: &str) -> String {
    dated_name(start, subject, id, "ics")
}

fn dated_name(time: i64, subject: &str, id: &str, extension: &str) -> String {
    let ending = format!("~{}.{extension}", tag(id));
    let moment = compact_time(time);
    let room = MAX_COMPONENT - moment.len() - ending.len() - 2;
    let mut escaped = String::new();
    escape_characters(subject.trim(), &mut escaped);
    match cut(&escaped, room).trim_end() {
        "" => format!("{moment} {ending}"),
        subject => format!("{moment} {subject} {ending}"),
    }
}

/// The key under which two sibling names are equal on some file system: NFC and case folded.
/// It folds more than any one of them does (`ß` = `ss`), which only costs a tag.
pub fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Down first: the capital ẞ has no upper case, its small form has.
    let lower = name.nfc().flat_map(char::to_lowercase);
    let upper = lower.flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).nfc().collect()
}

/// Whether a member path is safe to extract below a directory: relative, no dot components, no
/// backslash, no control characters, of bounded length.
pub fn check(path: &str) -> Result<(), PathError> {
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    if path.contains('\\') {
        return Err(PathError::Backslash);
    }
    if path.chars().any(char::is_control) {
        return Err(PathError::Control);
    }
    if path.len() > MAX_PATH {
        return Err(PathError::TooLong);
    }
    for component in path.split('/') {
        match component {
            "" => return Err(PathError::Empty),
            "." | ".." => return Err(PathError::Dot),
            long if long.len() > MAX_FOREIGN_COMPONENT => return Err(PathError::TooLong),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a component is one that the functions of this module could have made: every file
/// system can hold it.
pub fn is_portable(component: &str) -> bool {
    component.len() <= MAX_FOREIGN_COMPONENT
        && !component.is_empty()
        && is_nfc(component)
        && !component.chars().any(|c| must_escape(c) && c != '%' && c != '~')
        && !component.starts_with(' ')
        && !component.ends_with(['.', ' '])
        && !is_device_name(component)
}

/// The name behind a component, for showing it: the exact one unless it was cut or tagged.
/// What is no escape stays as it is, bytes that are no UTF-8 become U+FFFD.
pub fn unescape(component: &str) -> String {
    if component == EMPTY {
        return String::new();
    }
    let mut bytes = Vec::with_capacity(component.len());
    let mut rest = component.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the extension of a name is kept when it is cut or tagged.
enum Extension {
    Kept,
    None,
}

/// Cuts an escaped name to [`MAX_COMPONENT`] bytes and inserts the tag, if it must.
fn fit(escaped: &str, id: &str, extension: Extension, tagged: bool) -> String {
    if !tagged && escaped.len() <= MAX_COMPONENT {
        return escaped.to_owned();
    }
    let split = match (extension, escaped.rfind('.')) {
        (Extension::Kept, Some(dot))
            if dot > 0 && (2..=MAX_EXTENSION + 1).contains(&(escaped.len() - dot)) =>
        {
            dot
        }
        _ => escaped.len(),
    };
    let (stem, extension) = escaped.split_at(split);
    let room = MAX_COMPONENT - extension.len() - 1 - TAG_LENGTH;
    format!("{}~{}{extension}", cut(stem, room), tag(id))
}

/// The longest prefix of at most `room` bytes that ends between characters; an escaped character
/// of several bytes is one.
fn cut(escaped: &str, room: usize) -> &str {
    if escaped.len() <= room {
        return escaped;
    }
    let mut end = 0;
    loop {
        let next = end + first_length(&escaped[end..]);
        if next > room {
            return &escaped[..end];
        }
        end = next;
    }
}

/// Bytes of the first character of a text that is not empty, with all its escapes.
fn first_length(escaped: &str) -> usize {
    let bytes = escaped.as_bytes();
    if bytes[0] != b'%' {
        return escaped.chars().next().map_or(0, char::len_utf8);
    }
    let first = bytes.get(1).and_then(|&digit| hex_digit(digit)).unwrap_or_default();
    let escapes = match first {
        0xf => 4,
        0xe => 3,
        0xc | 0xd => 2,
        _ => 1,
    };
    escapes * 3
}

/// The whole name escaped, of any length.
fn escape(name: &str) -> String {
    if name.is_empty() {
        return EMPTY.to_owned();
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    let (mut body, mut last) = (name, None);
    if let Some(end @ ('.' | ' ')) = name.chars().next_back() {
        body = &name[..name.len() - 1];
        last = Some(end);
    }
    if let Some(rest) = body.strip_prefix(' ') {
        push_escaped(' ', &mut escaped);
        body = rest;
    }
    escape_characters(body, &mut escaped);
    if let Some(last) = last {
        push_escaped(last, &mut escaped);
    }
    if is_device_name(&escaped) {
        let first = escaped.remove(0);
        escaped.insert_str(0, &format!("%{:02X}", first as u32));
    }
    escaped
}

/// Appends the NFC of `name` with every character that is never allowed escaped.
fn escape_characters(name: &str, escaped: &mut String) {
    let mut after_escape = !escaped.is_empty();
    for character in name.nfc() {
        // A combining mark behind an escape would melt into its last hexadecimal digit in NFC.
        after_escape =
            must_escape(character) || after_escape && canonical_combining_class(character) != 0;
        if after_escape {
            push_escaped(character, escaped);
        } else {
            escaped.push(character);
        }
    }
}

fn push_escaped(character: char, escaped: &mut String) {
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        escaped.push_str(&format!("%{byte:02X}"));
    }
}

/// Characters that never stand in a component: separators, control characters, line breaks, marks
/// that turn the direction of text (they can make `exe.txt` of `txt.exe`), what Windows forbids,
/// and our own `~` and `%`.
fn must_escape(character: char) -> bool {
    character.is_control()
        || matches!(character, '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*' | '~' | '%')
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Device names of Windows, with any extension and in any case; `COM¹` counts as `COM1` there.
fn is_device_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let upper = stem.to_ascii_uppercase();
    match upper.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" => true,
        other => {
            other.strip_prefix("COM").or_else(|| other.strip_prefix("LPT")).is_some_and(|port| {
                matches!(port, "¹" | "²" | "³")
                    || port.len() == 1 && port.as_bytes()[0].is_ascii_digit()
            })
        }
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

/// `20261122T101500Z`; years outside 0..=9999 are clamped to that range.
fn compact_time(seconds: i64) -> String {
    const YEAR_0: i64 = -62_167_219_200;
    const END_OF_9999: i64 = 253_402_300_799;
    let time = chrono::DateTime::from_timestamp(seconds.clamp(YEAR_0, END_OF_9999), 0)
        .expect("years 0 to 9999 are in the range of chrono");
    time.format("%Y%m%dT%H%M%SZ").to_string()
}
