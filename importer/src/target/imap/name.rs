//! Names of mailboxes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

/// A name in the modified UTF-7 of RFC 3501, 5.1.3.
pub(super) fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for character in name.chars() {
        if matches!(character, ' '..='~') {
            flush(&mut shifted, &mut out);
            out.push(character);
            if character == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units);
            shifted.extend(units.iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut shifted, &mut out);
    out
}

fn flush(shifted: &mut Vec<u8>, out: &mut String) {
    if !shifted.is_empty() {
        out.push('&');
        out.push_str(&STANDARD_NO_PAD.encode(&shifted).replace('/', ","));
        out.push('-');
        shifted.clear();
    }
}

/// The name of one level of the hierarchy: what would begin another level, or can't stand in a
/// name at all, is an underscore.
pub(super) fn component(name: &str, delimiter: &str) -> String {
    let name = if delimiter.is_empty() { name.to_owned() } else { name.replace(delimiter, "_") };
    let name: String = name.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}

/// A name that any server takes, for one that this server refused: letters, digits and spaces of
/// it, and some of its digest, so that two refused names stay two.
pub(super) fn harmless(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || " -_".contains(c) { c } else { '_' };
    let name_part: String = name.chars().take(40).map(plain).collect();
    let digest = Sha256::digest(name);
    format!("{}~{:02x}{:02x}{:02x}", name_part.trim(), digest[0], digest[1], digest[2])
}

/// As a quoted string (RFC 3501, 9). What is quoted here is printable ASCII.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The parser leaves quoted strings as they came.
pub(super) fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut escaped = false;
    for character in text.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{component, encode, harmless, quoted, unquoted};

    #[test]
    fn modified_utf_7() {
        // The first two stand in RFC 3501.
        assert_eq!(encode("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(encode("☺!"), "&Jjo-!");
        assert_eq!(encode("Entwürfe"), "Entw&APw-rfe");
        assert_eq!(encode("A & B"), "A &- B");
        assert_eq!(encode("📬 in"), "&2D3c7A- in");
    }

    #[test]
    fn a_level_never_becomes_two() {
        assert_eq!(component("a/b\r\nc", "/"), "a_b__c");
        assert_eq!(component("a/b", "."), "a/b");
        assert_eq!(component("", "/"), "_");
    }

    #[test]
    fn refused_names_stay_apart() {
        assert_ne!(harmless("a*b"), harmless("a%b"));
        assert!(!harmless("../\"*%").contains(['*', '%', '"', '.', '/']));
    }

    #[test]
    fn quoting_and_back() {
        let name = "a\\b\"c";
        let there = quoted(name);
        assert_eq!(there, "\"a\\\\b\\\"c\"");
        assert_eq!(unquoted(there.trim_matches('"')), name);
    }
}
