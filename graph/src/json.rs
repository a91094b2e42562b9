//! JSON as Graph really sends it.

use std::borrow::Cow;

/// The text of an answer that any JSON parser accepts: invalid UTF-8 and escapes of half a
/// surrogate pair, which Exchange makes when it cuts a text in the middle of a character, become
/// U+FFFD.
pub(crate) fn repair(body: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(body);
    match repaired(&text) {
        Some(repaired) => Cow::Owned(repaired),
        None => text,
    }
}

/// None if there is nothing to repair, which is the rule: then nothing is copied.
fn repaired(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out: Option<String> = None;
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        let length = match (escape(bytes, at), escape(bytes, at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                let out = out.get_or_insert_with(|| String::with_capacity(text.len()));
                out.push_str(&text[copied..at]);
                out.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        at = (at + length).min(bytes.len());
    }
    if let Some(out) = &mut out {
        out.push_str(&text[copied..]);
    }
    out
}

/// The code unit of the `\uXXXX` at `at`, if there is one.
fn escape(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_surrogate_pairs_are_replaced() {
        for (sent, expected) in [
            (&br#"{"a":"x\ud83d"}"#[..], r#"{"a":"x\ufffd"}"#),
            (
                br#"["\uDE00\uD83D\uDE00\ud83d\ud83d\ude00"]"#,
                r#"["\ufffd\uD83D\uDE00\ufffd\ud83d\ude00"]"#,
            ),
            (br#"["\\ud83d \\\ud83d \n\u00fc"]"#, r#"["\\ud83d \\\ufffd \n\u00fc"]"#),
            (b"[\"\xff\xc3\xbc\"]", "[\"\u{fffd}ü\"]"),
            (br#"["plain"]"#, r#"["plain"]"#),
            (br"\", r"\"),
            (br"\ud83d", r"\ufffd"),
            (br"\ud8", r"\ud8"),
        ] {
            assert_eq!(repair(sent), expected);
        }
        assert!(matches!(repair(br#"["\ud83d\ude00"]"#), Cow::Borrowed(_)));
    }
}
