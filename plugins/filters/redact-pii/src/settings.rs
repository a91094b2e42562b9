//! What the operator sets.

use regex::RegexBuilder;
use serde::Deserialize;
use thiserror::Error;

use crate::find::{Addresses, Country, Finder, Pattern};

/// Bytes of the program of one pattern: what an instance can build for every item.
const PATTERN_SIZE: usize = 1 << 20;

/// The settings file, as it is written. Every field may be left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Payment card numbers.
    pub cards: bool,
    /// How many of a card number's last digits stay, behind the replacement; at most 4.
    pub card_keep_last: usize,
    /// International bank account numbers.
    pub ibans: bool,
    /// National ids of these countries; all but Denmark's unless set.
    pub national_ids: Vec<Country>,
    /// E-mail addresses.
    pub emails: bool,
    /// Domains whose addresses stay, and those of domains below them.
    pub email_allowed_domains: Vec<String>,
    /// Patterns of one's own.
    pub patterns: Vec<OwnPattern>,
    /// What replaces a hit; `{kind}` is what was found.
    pub replacement: String,
    /// Documents that can be looked into: Office, OpenDocument, ZIP.
    pub documents: Documents,
    /// Documents that can't: PDF, old Office, encrypted ones, other archives, TNEF.
    pub opaque: Opaque,
    /// Images, sound, video, fonts.
    pub media: Opaque,
    /// Other files that are no text.
    pub other: Other,
    /// Mails, or parts of mails, that are signed.
    pub signed: Signed,
    /// Mails, or parts of mails, that are encrypted.
    pub encrypted: Opaque,
    /// MiB of a mail or document that are held in memory at most. What is larger is failed (mails)
    /// or opaque (documents). A plugin's memory must be about five times as much.
    pub max_held_mib: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cards: true,
            card_keep_last: 0,
            ibans: true,
            national_ids: Country::usual(),
            emails: false,
            email_allowed_domains: Vec::new(),
            patterns: Vec::new(),
            replacement: "[redacted:{kind}]".to_owned(),
            documents: Documents::Redact,
            opaque: Opaque::Drop,
            media: Opaque::Pass,
            other: Other::Inspect,
            signed: Signed::Redact,
            encrypted: Opaque::Pass,
            max_held_mib: 48,
        }
    }
}

/// A pattern of the operator's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnPattern {
    /// What replacements call it: lower-case letters, digits, hyphens.
    pub name: String,
    /// A regular expression as of the `regex` crate.
    pub pattern: String,
    /// What replaces a match; `$1` is its first group. The replacement of all unless set.
    pub replacement: Option<String>,
}

/// What becomes of documents that can be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Documents {
    /// Their texts are redacted.
    Redact,
    /// Those with something in them are dropped, others stay.
    DropFound,
    /// All are dropped.
    Drop,
    /// All stay as they are.
    Pass,
}

/// What becomes of what can't be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opaque {
    /// It stays as it is.
    Pass,
    /// It is dropped.
    Drop,
}

/// What becomes of other files that are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Other {
    /// Dropped if something is found in their plain bytes.
    Inspect,
    /// They stay as they are.
    Pass,
    /// They are dropped.
    Drop,
}

/// What becomes of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signed {
    /// It is redacted; the signature no longer bears out if something was found.
    Redact,
    /// A mail in which something signed would have to be redacted is dropped.
    Drop,
    /// It stays as it is.
    Pass,
}

/// What is wrong with settings.
#[derive(Debug, Error)]
pub enum Invalid {
    /// Not the JSON that is expected.
    #[error("settings: {0}")]
    Json(#[from] serde_json::Error),
    /// A value that can't be.
    #[error("settings: {place}: {reason}")]
    Value {
        /// Which one.
        place: String,
        /// Why.
        reason: String,
    },
}

/// The settings as they are worked with.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What is looked for.
    pub finder: Finder,
    /// See [`Settings::documents`].
    pub documents: Documents,
    /// See [`Settings::opaque`].
    pub opaque: Opaque,
    /// See [`Settings::media`].
    pub media: Opaque,
    /// See [`Settings::other`].
    pub other: Other,
    /// See [`Settings::signed`].
    pub signed: Signed,
    /// See [`Settings::encrypted`].
    pub encrypted: Opaque,
    /// Bytes held in memory at most.
    pub max_held: usize,
}

impl Rules {
    /// The rules of a settings file; the usual ones if it is empty.
    ///
    /// # Errors
    /// If something in it is not known or can't be, with its place.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let settings =
            if text.trim().is_empty() { Settings::default() } else { serde_json::from_str(text)? };
        Self::new(settings)
    }

    /// The rules of settings.
    ///
    /// # Errors
    /// If something can't be.
    pub fn new(settings: Settings) -> Result<Self, Invalid> {
        check_replacement("replacement", &settings.replacement)?;
        if settings.card_keep_last > 4 {
            return invalid("card_keep_last", "at most 4 digits may stay");
        }
        if !(1..=1024).contains(&settings.max_held_mib) {
            return invalid("max_held_mib", "between 1 and 1024");
        }
        let mut domains = Vec::new();
        for (index, domain) in settings.email_allowed_domains.iter().enumerate() {
            let domain = domain.trim_start_matches('@').to_lowercase();
            if domain.is_empty() || domain.contains(['@', ' ', '*']) {
                let place = format!("email_allowed_domains[{index}]");
                return invalid(place, "a domain such as \"contoso.com\" is expected");
            }
            domains.push(domain);
        }
        let mut patterns = Vec::new();
        for (index, own) in settings.patterns.iter().enumerate() {
            patterns.push(pattern(own, &settings.replacement, &format!("patterns[{index}]"))?);
        }
        let finder = Finder {
            replacement: settings.replacement,
            cards: settings.cards.then_some(settings.card_keep_last),
            ibans: settings.ibans,
            countries: settings.national_ids,
            addresses: settings.emails.then_some(Addresses { allowed: domains }),
            patterns,
        };
        let kinds = ["card", "iban", "email", "us-ssn"];
        let texts = kinds.map(|kind| finder.replacement.replace("{kind}", kind));
        if let Some(text) = texts.iter().find(|text| !finder.find(text).is_empty()) {
            return invalid("replacement", format!("{text:?} would itself be redacted"));
        }
        Ok(Self {
            finder,
            documents: settings.documents,
            opaque: settings.opaque,
            media: settings.media,
            other: settings.other,
            signed: settings.signed,
            encrypted: settings.encrypted,
            max_held: settings.max_held_mib << 20,
        })
    }
}

fn invalid<T>(place: impl Into<String>, reason: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::Value { place: place.into(), reason: reason.into() })
}

/// A replacement stands in headers, names and texts of any character set.
fn check_replacement(place: &str, text: &str) -> Result<(), Invalid> {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(());
    }
    invalid(place, "only printable ASCII can be written everywhere")
}

fn pattern(own: &OwnPattern, replacement: &str, place: &str) -> Result<Pattern, Invalid> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if own.name.is_empty() || !own.name.bytes().all(is_name) {
        return invalid(format!("{place}.name"), "lower-case letters, digits and hyphens");
    }
    let regex = RegexBuilder::new(&own.pattern)
        .size_limit(PATTERN_SIZE)
        .build()
        .or_else(|error| invalid(format!("{place}.pattern"), error.to_string()))?;
    if regex.is_match("") {
        return invalid(format!("{place}.pattern"), "it matches nothing at all, so everywhere");
    }
    let replacement = match &own.replacement {
        Some(replacement) => {
            check_replacement(&format!("{place}.replacement"), replacement)?;
            replacement.clone()
        }
        None => replacement.replace("{kind}", &own.name).replace('$', "$$"),
    };
    Ok(Pattern { regex, replacement })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, place) in [
            ("{\"card\": true}", "unknown field `card`"),
            ("{\n\"cards\": 1}", "line 2 column 10"),
            ("{\"national_ids\": [\"XX\"]}", "unknown variant `XX`"),
            ("{\"card_keep_last\": 5}", "card_keep_last: at most 4"),
            ("{\"replacement\": \"\u{e9}\"}", "replacement: only printable"),
            ("{\"replacement\": \"4111111111111111\"}", "would itself be redacted"),
            ("{\"emails\": true, \"replacement\": \"a@b.example\"}", "would itself be redacted"),
            ("{\"patterns\": [{\"name\": \"a\", \"pattern\": \"(\"}]}", "patterns[0].pattern: "),
            ("{\"patterns\": [{\"name\": \"a\", \"pattern\": \"x*\"}]}", "matches nothing at all"),
            ("{\"patterns\": [{\"name\": \"A b\", \"pattern\": \"x\"}]}", "patterns[0].name: "),
            ("{\"email_allowed_domains\": [\"*.x\"]}", "email_allowed_domains[0]: "),
            ("{\"max_held_mib\": 0}", "max_held_mib: "),
            ("{\"documents\": \"keep\"}", "unknown variant `keep`"),
        ] {
            let error = Rules::parse(text).unwrap_err().to_string();
            assert!(error.contains(place) && error.starts_with("settings: "), "{text}: {error}");
        }
        assert!(Rules::parse(" \n").is_ok());
        assert!(Rules::parse("{\"national_ids\": [\"DE\", \"DK\"], \"signed\": \"drop\"}").is_ok());
    }
}
