//! Canonical JSON: one value has one spelling.
//!
//! Object keys in the order of RFC 8785 (UTF-16 code units), strings escaped as there, no white
//! space. Numbers differ from RFC 8785: integers in the range of i64 and u64 stay integers of any
//! size, others are the shortest decimal that parses back to the same double.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

/// The canonical text of a value, on one line, without a newline.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, &mut text);
    text
}

/// The canonical text of anything that serde turns into JSON with string keys.
pub(crate) fn canonical_of<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).expect("our own types are JSON with string keys");
    canonical(&value)
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write_value(item, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            // serde_json may keep insertion order if any crate of the build asks it to.
            members.sort_by(|(a, _), (b, _)| order(a, b));
            text.push('{');
            for (position, (key, item)) in members.into_iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write_string(key, text);
                text.push(':');
                write_value(item, text);
            }
            text.push('}');
        }
        Value::String(string) => write_string(string, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            write!(text, "{value}").expect("writing to a String does not fail");
        }
    }
}

/// As UTF-16 code units, which is as bytes where one of the two is ASCII.
fn order(a: &str, b: &str) -> Ordering {
    match a.is_ascii() || b.is_ascii() {
        true => a.cmp(b),
        false => a.encode_utf16().cmp(b.encode_utf16()),
    }
}

/// Only what JSON demands is escaped, with the short form where there is one.
pub(crate) fn write_string(string: &str, text: &mut String) {
    text.push('"');
    let mut rest = string;
    let is_special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    while let Some(at) = rest.as_bytes().iter().position(is_special) {
        let (plain, special) = rest.split_at(at);
        text.push_str(plain);
        match special.as_bytes()[0] {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            8 => text.push_str("\\b"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            12 => text.push_str("\\f"),
            b'\r' => text.push_str("\\r"),
            control => {
                write!(text, "\\u{control:04x}").expect("writing to a String does not fail");
            }
        }
        rest = &special[1..];
    }
    text.push_str(rest);
    text.push('"');
}
