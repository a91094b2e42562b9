//! The header block of a mail or of a part.

use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::{HeaderValue, MessageParser};

/// A header block as text, taken apart into fields. The first of several fields of a name counts.
#[derive(Debug)]
pub(super) struct Head {
    text: String,
    /// Name in small letters, and where its value is in `text`.
    fields: Vec<(String, std::ops::Range<usize>)>,
}

impl Head {
    /// `block` may have the empty line at its end, or not.
    pub(super) fn new(block: &[u8]) -> Self {
        let text = text_of(block, None);
        let mut fields: Vec<(String, std::ops::Range<usize>)> = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let end = at + line.len();
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.end = end;
                }
            } else if let Some((name, _)) = line.split_once(':') {
                fields.push((name.trim_end().to_ascii_lowercase(), at + name.len() + 1..end));
            }
            at = end;
        }
        Self { text, fields }
    }

    /// All of it, with its own line ends.
    pub(super) fn text(&self) -> &str {
        self.text.trim_end_matches(['\r', '\n'])
    }

    /// Every value of that name, as it stands.
    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().filter(move |(field, _)| field == name);
        fields.map(|(_, value)| &self.text[value.clone()])
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The value of that name on one line, not decoded. None if there is nothing in it.
    pub(super) fn unfolded(&self, name: &str) -> Option<String> {
        let value = self.all(name).next()?;
        let value: String = value.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The value of that name, parsed as the field `as_field`, whose syntax the parser knows.
    pub(super) fn parsed(&self, name: &str, as_field: &str) -> Option<HeaderValue<'static>> {
        self.all(name).next().and_then(|value| parse(as_field, value))
    }

    /// Every value of that name.
    pub(super) fn all_parsed(&self, name: &str) -> impl Iterator<Item = HeaderValue<'static>> {
        self.all(name).filter_map(move |value| parse(name, value))
    }
}

/// Parses the value of one field.
fn parse(field: &str, value: &str) -> Option<HeaderValue<'static>> {
    let block = format!("{field}:{}\r\n\r\n", value.trim_end_matches(['\r', '\n']));
    let message = MessageParser::default().parse_headers(&block)?;
    Some(message.headers().first()?.value.clone().into_owned())
}

/// Text with encoded words (RFC 2047) as what it means.
pub(super) fn decode_words(text: &str) -> String {
    let decoded = parse("Subject", &format!(" {text}"));
    decoded.and_then(HeaderValue::into_text).map_or_else(|| text.to_owned(), Into::into)
}

/// Bytes as text. A character set that is missing or unknown is taken for UTF-8 if that fits,
/// else for Windows-1252, which is what browsers do.
pub(super) fn text_of(bytes: &[u8], charset: Option<&str>) -> String {
    let charset = charset.map(str::trim).filter(|charset| !charset.is_empty());
    let decoder = charset
        .filter(|charset| !charset.eq_ignore_ascii_case("us-ascii"))
        .and_then(|charset| charset_decoder(charset.as_bytes()));
    match (decoder, std::str::from_utf8(bytes)) {
        (Some(decoder), _) => decoder(bytes),
        (None, Ok(text)) => text.to_owned(),
        (None, Err(_)) => match charset_decoder(b"windows-1252") {
            Some(decoder) => decoder(bytes),
            None => String::from_utf8_lossy(bytes).into_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_folded_doubled_and_in_eight_bits() {
        let head = Head::new(
            b"SUBJECT : f\xfcr\r\n dich\nSubject: other\nX-Empty:\r\nno field\nTo: a@b\r\n\r\n",
        );
        assert_eq!(head.unfolded("subject").unwrap(), "f\u{fc}r dich");
        assert_eq!(head.unfolded("x-empty"), None);
        assert!(head.has("x-empty") && !head.has("no field"));
        assert_eq!(head.unfolded("to").unwrap(), "a@b");
    }

    #[test]
    fn text_needs_no_charset() {
        assert_eq!(text_of("gr\u{fc}n".as_bytes(), None), "gr\u{fc}n");
        assert_eq!(text_of(b"gr\xfcn", Some("x-unknown")), "gr\u{fc}n");
        assert_eq!(text_of(b"gr\xfcn", Some("us-ascii")), "gr\u{fc}n");
        assert_eq!(text_of("gr\u{fc}n".as_bytes(), Some("US-ASCII")), "gr\u{fc}n");
        assert_eq!(text_of(b"\x82\xa0", Some("Shift_JIS")), "\u{3042}");
        assert_eq!(text_of(b"", Some("utf-8")), "");
    }

    #[test]
    fn encoded_words_are_decoded() {
        assert_eq!(decode_words("=?utf-8?B?w6Q=?= =?iso-8859-1?Q?=F6?= x"), "\u{e4}\u{f6} x");
    }
}
