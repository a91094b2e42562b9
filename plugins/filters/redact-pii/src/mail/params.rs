//! Parameters of structured headers: RFC 2045, and RFC 2231 for those in other character sets, in
//! pieces.

use std::collections::BTreeMap;
use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::charset;
use crate::edit::{Edit, apply_text, merge};
use crate::find::Finder;

/// What stands as it is in an extended value.
const ATTRIBUTE: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
/// Characters of one piece of a long value.
const PIECE: usize = 60;

/// One parameter, or a piece of one, where it is written.
#[derive(Debug)]
pub(super) struct Written {
    /// From the semicolon before it.
    pub(super) whole: Range<usize>,
    /// The value, with its quotes.
    pub(super) value: Range<usize>,
    /// Name in lower case, without asterisks.
    pub(super) name: String,
    /// Which piece it is.
    piece: Option<u32>,
    /// Percent signs are read.
    extended: bool,
}

/// What stands before the parameters, in lower case, and the parameters.
pub(super) fn parse(value: &str) -> (String, Vec<Written>) {
    let mut written = Vec::new();
    let end = semicolon(value, 0);
    let first = without_comments(&value[..end]).trim().to_ascii_lowercase();
    let mut start = end;
    while start < value.len() {
        let end = semicolon(value, start + 1);
        if let Some(parameter) = parameter(value, start..end) {
            written.push(parameter);
        }
        start = end;
    }
    (first, written)
}

/// The next semicolon that is not in quotes, or the end.
fn semicolon(value: &str, from: usize) -> usize {
    let bytes = value.as_bytes();
    let mut quoted = false;
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b';' if !quoted => return at,
            _ => {}
        }
        at += 1;
    }
    // Quotes that are never closed quote nothing.
    if quoted { value[from..].find(';').map_or(value.len(), |at| from + at) } else { value.len() }
}

fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    text.chars()
        .filter(|found| {
            match found {
                '(' => depth += 1,
                ')' => {
                    depth = depth.saturating_sub(1);
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect()
}

fn parameter(value: &str, whole: Range<usize>) -> Option<Written> {
    let text = &value[whole.start + 1..whole.end];
    let equals = text.find('=')?;
    let name = text[..equals].trim().to_ascii_lowercase();
    let (name, extended) = match name.strip_suffix('*') {
        Some(name) => (name.to_owned(), true),
        None => (name, false),
    };
    let (name, piece) = match name.split_once('*') {
        Some((name, piece)) => (name.to_owned(), Some(piece.parse().ok()?)),
        None => (name, None),
    };
    let start = whole.start + 1 + equals + 1;
    let raw = &value[start..whole.end];
    let start = start + (raw.len() - raw.trim_start().len());
    let end = start + raw.trim().len();
    Some(Written { whole, value: start..end, name, piece, extended })
}

/// A value without its quotes.
pub(super) fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(found) = chars.next() {
        match found {
            '\\' => out.extend(chars.next()),
            '"' => break,
            '\r' | '\n' => {}
            _ => out.push(found),
        }
    }
    out
}

/// The whole value of a parameter, its pieces put together.
pub(super) fn get(value: &str, written: &[Written], name: &str) -> Option<String> {
    let pieces: Vec<&Written> = written.iter().filter(|written| written.name == name).collect();
    (!pieces.is_empty()).then(|| text(value, pieces))
}

fn text(value: &str, mut pieces: Vec<&Written>) -> String {
    pieces.sort_by_key(|piece| piece.piece);
    let mut bytes = Vec::new();
    let mut label = None;
    for (index, piece) in pieces.iter().enumerate() {
        let raw = unquoted(&value[piece.value.clone()]);
        if !piece.extended {
            bytes.extend_from_slice(raw.as_bytes());
            continue;
        }
        let mut parts = raw.splitn(3, '\'');
        let encoded = match (index, parts.next(), parts.next(), parts.next()) {
            (0, Some(charset), Some(_), Some(rest)) => {
                label = Some(charset.to_owned());
                rest.to_owned()
            }
            _ => raw.clone(),
        };
        bytes.extend(percent_decode_str(&encoded));
    }
    charset::decode(&bytes, label.as_deref().unwrap_or("utf-8"))
}

/// Redacts parameters that are not written as they are read. The others are redacted as text.
pub(super) fn redact(finder: &Finder, value: &str) -> Option<String> {
    if !value.contains('*') {
        return None;
    }
    let (_, written) = parse(value);
    let mut by_name: BTreeMap<&str, Vec<&Written>> = BTreeMap::new();
    for parameter in &written {
        by_name.entry(&parameter.name).or_default().push(parameter);
    }
    let mut edits = Vec::new();
    for (name, pieces) in by_name {
        let encoded = pieces.iter().any(|piece| piece.extended || piece.piece.is_some());
        if !encoded || name == "boundary" {
            continue;
        }
        let Some(redacted) = finder.redact_name(&text(value, pieces.clone())) else { continue };
        let fold = if value.contains('\n') { "\r\n " } else { " " };
        for (index, piece) in pieces.iter().enumerate() {
            let with = if index == 0 { extended(name, &redacted, fold) } else { String::new() };
            edits.push(Edit { range: piece.whole.clone(), with: with.into_bytes() });
        }
    }
    (!edits.is_empty()).then(|| apply_text(value, &merge(edits)))
}

/// A parameter as RFC 2231 has it, with the semicolon before it.
fn extended(name: &str, text: &str, fold: &str) -> String {
    let encoded = utf8_percent_encode(text, &ATTRIBUTE).to_string();
    if encoded.len() <= PIECE {
        return format!(";{fold}{name}*=utf-8''{encoded}");
    }
    let mut out = String::new();
    let mut rest = encoded.as_str();
    let mut index = 0;
    while !rest.is_empty() {
        let mut end = rest.len().min(PIECE);
        // A character's percent sign stays with its digits.
        while end < rest.len() && rest[..end].rfind('%').is_some_and(|sign| end - sign < 3) {
            end -= 1;
        }
        let charset = if index == 0 { "utf-8''" } else { "" };
        out.push_str(&format!(";{fold}{name}*{index}*={charset}{}", &rest[..end]));
        rest = &rest[end..];
        index += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Rules;

    #[test]
    fn parameters_are_put_together() {
        let value = " text/Plain (c;d); NAME=\"a;\\\"b\"; x*1=\"c%20\"; x*0*=utf-8'en'a%C3%A9; bad";
        let (first, written) = parse(value);
        assert_eq!(parse(" a/b ; c=d").0, "a/b");
        assert_eq!(first, "text/plain");
        assert_eq!(get(value, &written, "name").unwrap(), "a;\"b");
        assert_eq!(get(value, &written, "x").unwrap(), "a\u{e9}c%20");
        assert!(get(value, &written, "bad").is_none());
    }

    #[test]
    fn pieces_of_file_names_are_redacted_as_one() {
        let finder = Rules::parse("").unwrap().finder;
        let value =
            "attachment; filename*0*=utf-8''4111%201111; size=3;\r\n filename*1*=%201111-1111.txt";
        assert_eq!(
            redact(&finder, value).unwrap(),
            "attachment;\r\n filename*=utf-8''%5Bredacted-card%5D.txt; size=3"
        );
        assert_eq!(redact(&finder, "attachment; filename*=utf-8''a.txt"), None);
        let long = format!("a; n*=utf-8''4111111111111111%20{}", "%C3%A9".repeat(50));
        let redacted = redact(&finder, &long).unwrap();
        let (_, written) = parse(&redacted);
        assert!(written.len() > 3);
        assert_eq!(
            get(&redacted, &written, "n").unwrap(),
            format!("[redacted-card] {}", "\u{e9}".repeat(50))
        );
    }
}
