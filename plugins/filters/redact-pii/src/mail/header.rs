//! Header fields: as text, with the encoded words of RFC 2047 read.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::params;
use crate::charset;
use crate::edit::{apply_text, clip};
use crate::find::{Finder, Hit, REDACTED};
use crate::text::{file_name, token};
use crate::transfer::Transfer;
use crate::view::{Lines, plain};

/// Fields whose values others refer to, or that have a form which nothing else can take. Numbers
/// in them are no card's.
const STRUCTURE: [&str; 14] = [
    "message-id",
    "in-reply-to",
    "references",
    "resent-message-id",
    "content-id",
    "date",
    "resent-date",
    "mime-version",
    "content-transfer-encoding",
    "dkim-signature",
    "arc-seal",
    "arc-message-signature",
    "x-google-dkim-signature",
    "thread-index",
];
/// Fields that are text as it comes.
const TEXT: [&str; 6] =
    ["subject", "comments", "keywords", "thread-topic", "content-description", "summary"];

/// What is left of a field's value; `None` if nothing was found in it.
pub(super) fn redact(finder: &Finder, name: &str, value: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    if STRUCTURE.contains(&name.as_str()) {
        return None;
    }
    let is_text = name.starts_with("x-") || TEXT.contains(&name.as_str());
    let is_part = name.starts_with("content-") && !is_text;
    let write = |hit: &Hit| match (is_text, hit.address) {
        (true, _) => hit.with.clone(),
        (false, true) => format!("{}@{REDACTED}", token(&hit.with)),
        (false, false) if is_part => token(&file_name(&hit.with)),
        (false, false) => token(&hit.with),
    };
    let redacted = words(finder, value, write);
    if !is_part {
        return redacted;
    }
    let before = redacted.as_deref().unwrap_or(value);
    params::redact(finder, before).or(redacted)
}

/// A piece of a value: as it stands, or encoded words that are read as one text.
struct Piece {
    /// In the value.
    source: Range<usize>,
    /// In what is read.
    read: Range<usize>,
    encoded: bool,
}

fn words(finder: &Finder, value: &str, write: impl Fn(&Hit) -> String) -> Option<String> {
    let (read, pieces) = read(value);
    let view = plain(&read, Lines::Header);
    let hits = finder.find(view.text());
    let hits: Vec<Hit> = hits.into_iter().filter(|hit| !is_boundary(view.text(), hit)).collect();
    if hits.is_empty() {
        return None;
    }
    let edits = view.edits(&hits, write);
    let mut out = String::with_capacity(value.len());
    for piece in pieces {
        let own = clip(&edits, &piece.read);
        if own.is_empty() {
            out.push_str(&value[piece.source]);
            continue;
        }
        let text = apply_text(&read[piece.read], &own);
        if piece.encoded {
            out.push_str(&encode(&text, if value.contains('\n') { "\r\n " } else { " " }));
        } else {
            out.push_str(&text);
        }
    }
    Some(out)
}

/// A boundary has to stay: what it separates goes by it.
fn is_boundary(text: &str, hit: &Hit) -> bool {
    let parameter = text[..hit.range.start].rsplit(';').next().unwrap_or_default();
    parameter.trim_start().to_ascii_lowercase().starts_with("boundary")
}

/// What a value reads, and in which pieces it is written.
fn read(value: &str) -> (String, Vec<Piece>) {
    let mut text = String::with_capacity(value.len());
    let mut pieces = Vec::new();
    let mut done = 0;
    let mut at = 0;
    while let Some(found) = value[at..].find("=?") {
        let start = at + found;
        let Some(mut word) = Word::parse(value, start) else {
            at = start + 2;
            continue;
        };
        let mut run = vec![];
        let mut end = word.end;
        // Blanks between encoded words are not read.
        loop {
            let blank = value[end..].len() - value[end..].trim_start().len();
            let next = Word::parse(value, end + blank);
            run.push(word);
            match next {
                Some(next) => {
                    end = next.end;
                    word = next;
                }
                None => break,
            }
        }
        if start > done {
            let from = text.len();
            text.push_str(&value[done..start]);
            pieces.push(Piece { source: done..start, read: from..text.len(), encoded: false });
        }
        let from = text.len();
        text.push_str(&decode(&run));
        pieces.push(Piece { source: start..end, read: from..text.len(), encoded: true });
        done = end;
        at = end;
    }
    if done < value.len() {
        let from = text.len();
        text.push_str(&value[done..]);
        pieces.push(Piece { source: done..value.len(), read: from..text.len(), encoded: false });
    }
    (text, pieces)
}

/// `=?charset?B?text?=`
struct Word<'a> {
    charset: &'a str,
    is_base64: bool,
    text: &'a str,
    end: usize,
}

impl<'a> Word<'a> {
    fn parse(value: &'a str, at: usize) -> Option<Self> {
        let inner = value[at..].strip_prefix("=?")?;
        let (charset, rest) = inner.split_once('?')?;
        let is_base64 = match rest.get(..2)? {
            "B?" | "b?" => true,
            "Q?" | "q?" => false,
            _ => return None,
        };
        let rest = &rest[2..];
        let length = rest.find("?=")?;
        let plausible = charset.len() <= 40 && charset.bytes().all(|byte| byte.is_ascii_graphic());
        // A language may follow the character set (RFC 2231).
        let charset = charset.split('*').next().unwrap_or_default();
        let end = at + 2 + (inner.len() - rest.len()) + length + 2;
        (plausible && !charset.is_empty()).then(|| Self {
            charset,
            is_base64,
            text: &rest[..length],
            end,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        if self.is_base64 {
            return crate::transfer::base64_decode(self.text.as_bytes());
        }
        Transfer::Quoted.decode(self.text.replace('_', " ").as_bytes()).into_owned()
    }
}

/// Words one after another; a character may be cut by the end of one.
fn decode(words: &[Word<'_>]) -> String {
    let mut text = String::new();
    for same in words.chunk_by(|a, b| a.charset.eq_ignore_ascii_case(b.charset)) {
        let bytes: Vec<u8> = same.iter().flat_map(Word::bytes).collect();
        text.push_str(&charset::decode(&bytes, same[0].charset));
    }
    text
}

/// A text as encoded words, none longer than 75 characters.
fn encode(text: &str, fold: &str) -> String {
    let mut words = Vec::new();
    let mut word = String::new();
    for found in text.chars() {
        if word.len() + found.len_utf8() > 45 {
            words.push(std::mem::take(&mut word));
        }
        word.push(found);
    }
    if !word.is_empty() {
        words.push(word);
    }
    let encoded = |word: &String| format!("=?utf-8?B?{}?=", STANDARD.encode(word));
    words.iter().map(encoded).collect::<Vec<_>>().join(fold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Rules;

    fn redacted(name: &str, value: &str) -> Option<String> {
        let rules = Rules::parse("{\"emails\": true}").unwrap();
        redact(&rules.finder, name, value)
    }

    #[test]
    fn encoded_words_are_read_and_written_again() {
        let value =
            "Card =?utf-8?Q?n=C2=B0_4111_11?=\r\n =?UTF-8?B?MTEgMTExMQ==?= 1111 =?x?Q?kept?=";
        let result = redacted("Subject", value).unwrap();
        let (text, _) = read(&result);
        // The blank between two encoded words is not read.
        assert_eq!(text, "Card n\u{b0} [redacted:card]kept");
        assert!(result.ends_with(" =?x?Q?kept?=") && result.contains("=?utf-8?B?"));
        assert_eq!(redacted("Subject", "=?utf-8?Q?nothing_here_1234?="), None);
        assert_eq!(redacted("Subject", "=?utf-8?Q?41=C2=A011?= =?utf-8?Z?x?= =?"), None);
    }

    #[test]
    fn structured_fields_stay_so() {
        assert_eq!(
            redacted("From", " Card 4111 1111\r\n 1111 1111 <a.b@c.example>, x").unwrap(),
            " Card redacted-card <redacted-email@redacted.invalid>, x"
        );
        assert_eq!(redacted("Message-ID", "<4111111111111111@x.example>"), None);
        let value = "multipart/mixed; boundary=\"4111111111111111\"; name=4111111111111111.txt";
        assert_eq!(
            redacted("Content-Type", value).unwrap(),
            "multipart/mixed; boundary=\"4111111111111111\"; name=redacted-card.txt"
        );
    }
}
