//! National identification numbers.
//!
//! A number that bears out by its check digits, its dates and the way it is written is taken
//! wherever it stands. A form in which too many other numbers would bear out (nine digits with one
//! check digit are found in every tenth order number) is taken only if a word before it says what
//! it is.

mod digits;
mod lettered;

use std::ops::Range;

use serde::Deserialize;

use super::run::Number;

pub(super) use lettered::lettered;

/// Bytes before a number in which a word may say what it is.
const CONTEXT: usize = 60;

/// Countries whose ids are known, by ISO 3166 code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "ISO 3166")]
pub enum Country {
    At,
    Be,
    Br,
    Ca,
    Ch,
    Cn,
    Cz,
    De,
    Dk,
    Ee,
    Es,
    Fi,
    Fr,
    Gb,
    In,
    It,
    Kr,
    Lt,
    Nl,
    No,
    Pl,
    Ro,
    Se,
    Sk,
    Tr,
    Us,
    Za,
}

impl Country {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::At,
        Self::Be,
        Self::Br,
        Self::Ca,
        Self::Ch,
        Self::Cn,
        Self::Cz,
        Self::De,
        Self::Dk,
        Self::Ee,
        Self::Es,
        Self::Fi,
        Self::Fr,
        Self::Gb,
        Self::In,
        Self::It,
        Self::Kr,
        Self::Lt,
        Self::Nl,
        Self::No,
        Self::Pl,
        Self::Ro,
        Self::Se,
        Self::Sk,
        Self::Tr,
        Self::Us,
        Self::Za,
    ];

    /// Those looked for unless the settings say otherwise: all but Denmark, whose numbers have no
    /// check digits any more.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        Self::ALL.into_iter().filter(|country| *country != Self::Dk).collect()
    }

    /// What a replacement calls its id.
    const fn name(self) -> &'static str {
        match self {
            Self::At => "at-svnr",
            Self::Be => "be-rrn",
            Self::Br => "br-cpf",
            Self::Ca => "ca-sin",
            Self::Ch => "ch-ahv",
            Self::Cn => "cn-id",
            Self::Cz => "cz-rc",
            Self::De => "de-idnr",
            Self::Dk => "dk-cpr",
            Self::Ee => "ee-ik",
            Self::Es => "es-nif",
            Self::Fi => "fi-hetu",
            Self::Fr => "fr-nir",
            Self::Gb => "gb-nino",
            Self::In => "in-aadhaar",
            Self::It => "it-cf",
            Self::Kr => "kr-rrn",
            Self::Lt => "lt-ak",
            Self::Nl => "nl-bsn",
            Self::No => "no-fnr",
            Self::Pl => "pl-pesel",
            Self::Ro => "ro-cnp",
            Self::Se => "se-pnr",
            Self::Sk => "sk-rc",
            Self::Tr => "tr-kimlik",
            Self::Us => "us-ssn",
            Self::Za => "za-id",
        }
    }

    /// Words, in lower case, that say that a number is one of its ids.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::At => &["svnr", "sv-nr", "sozialversicherung", "versicherungsnummer"],
            Self::Br => &["cpf"],
            Self::Ca => &["sin", "social insurance", "assurance sociale"],
            Self::Cz | Self::Sk => &["rodn", "r.č", "rč"],
            Self::Dk => &["cpr", "personnummer"],
            Self::In => &["aadhaar", "aadhar", "uidai", "आधार"],
            Self::Kr => &["주민등록", "resident registration"],
            Self::Nl => &["bsn", "burgerservice", "sofinummer", "sofi-nummer"],
            Self::Se => &["personnummer", "personnr", "samordningsnummer"],
            Self::Tr => &["kimlik", "tckn", "t.c."],
            Self::Us => &["ssn", "social security"],
            _ => &[],
        }
    }
}

/// How sure it is that a number is an id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sure {
    No,
    /// If a word says so.
    IfSaid,
    Yes,
}

/// The name of the id that a number is.
pub(super) fn digits(
    text: &[u8],
    number: &Number,
    range: &Range<usize>,
    countries: &[Country],
) -> Option<&'static str> {
    if number.lettered
        || number.plus
        || number.lines > 1
        || !(9..=18).contains(&number.digits().len())
    {
        return None;
    }
    let sure = |country: &&Country| digits::sure(**country, number);
    // The surest gives its name: many ids are the same to others' rules.
    let best = countries
        .iter()
        .filter(|country| sure(country) == Sure::Yes)
        .max_by_key(|country| is_said(text, range.start, country.words()));
    if let Some(country) = best {
        return Some(country.name());
    }
    countries
        .iter()
        .filter(|country| sure(country) == Sure::IfSaid)
        .find(|country| is_said(text, range.start, country.words()))
        .map(|country| country.name())
}

/// Whether one of the words stands shortly before `at`.
fn is_said(text: &[u8], at: usize, words: &[&str]) -> bool {
    if words.is_empty() {
        return false;
    }
    let before = String::from_utf8_lossy(&text[at.saturating_sub(CONTEXT)..at]).to_lowercase();
    words.iter().any(|word| {
        before.match_indices(word).any(|(found, _)| {
            let letter = |c: char| c.is_alphanumeric();
            let begins = !before[..found].chars().next_back().is_some_and(letter);
            // Short words are abbreviations: `sin` is not in `single`.
            let ends = !before[found + word.len()..].chars().next().is_some_and(letter);
            begins && (ends || word.len() > 4) || word.len() > 8
        })
    })
}

/// A day that can be, of any year; some countries add to the month or the day.
fn is_date(month: u64, day: u64) -> bool {
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 29,
        _ => 0,
    };
    (1..=days).contains(&day)
}
