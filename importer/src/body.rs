//! Texts of mails and events, as they are compared.

use std::borrow::Cow;
use std::fmt;

use mail_parser::decoders::html::html_to_text;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What a body says, whatever becomes of its markup and white space: services write HTML anew.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BodyText {
    is_html: bool,
    letters: usize,
    sha256: [u8; 32],
}

impl BodyText {
    /// Of a `body` as Graph has them.
    pub(crate) fn of(body: &Value) -> Self {
        let is_html =
            body["contentType"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("html"));
        let content = body["content"].as_str().unwrap_or_default();
        let text = match is_html {
            true => Cow::Owned(html_to_text(content)),
            false => Cow::Borrowed(content),
        };
        let (mut letters, mut digest) = (0, Sha256::new());
        let is_seen = |letter: &char| !letter.is_whitespace() && !letter.is_control();
        for letter in text.chars().filter(is_seen) {
            letters += 1;
            digest.update(letter.encode_utf8(&mut [0; 4]));
        }
        // What has no text has no kind of it.
        Self { is_html: is_html && letters > 0, letters, sha256: digest.finalize().into() }
    }

    /// The same for equal texts, and for no others.
    pub(crate) fn digest(&self) -> String {
        format!("{self:?} {}", archive::hex(&self.sha256))
    }

    /// Whether there is nothing to be read.
    pub(crate) const fn is_empty(&self) -> bool {
        self.letters == 0
    }
}

impl fmt::Debug for BodyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_html { "HTML" } else { "text" };
        write!(f, "{kind} of {} letters", self.letters)
    }
}
