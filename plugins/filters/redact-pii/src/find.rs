//! The search for what is to be redacted, in a text as it is read.
//!
//! Hand-made scanners rather than regular expressions: everything that is looked for by itself is
//! built around groups of digits, which are rare in text, so one pass over the digits finds all of
//! it at the speed of a memory scan, and an instance that lives for one item has nothing to build.

mod address;
mod card;
mod iban;
mod national;
mod run;
#[cfg(test)]
mod tests;

use std::ops::Range;

use regex::Regex;

pub use address::{Addresses, REDACTED};
pub use national::Country;
use run::Run;

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// Where in the text that was searched.
    pub range: Range<usize>,
    /// What is to stand there.
    pub with: String,
    /// It is an e-mail address: where one must stand, one must stand again.
    pub address: bool,
}

/// A regular expression of the operator's own.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// What it matches.
    pub regex: Regex,
    /// What is put in place of a match; `$1` and `${name}` are its groups.
    pub replacement: String,
}

/// What is looked for, and what is put in its place.
#[derive(Debug, Clone, Default)]
pub struct Finder {
    /// What replaces each kind; `{kind}` is its name.
    pub replacement: String,
    /// Payment card numbers, if any: how many of their last digits stay.
    pub cards: Option<usize>,
    /// International bank account numbers.
    pub ibans: bool,
    /// National ids of these countries.
    pub countries: Vec<Country>,
    /// E-mail addresses, if any.
    pub addresses: Option<Addresses>,
    /// Own patterns, in the order they are tried.
    pub patterns: Vec<Pattern>,
}

/// What was found, before it is known what replaces it.
struct Found {
    range: Range<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Card,
    Iban,
    Id(&'static str),
    Address,
    Own(usize),
}

impl Finder {
    /// Everything in `text`, in order and without overlap: of two that overlap, both go and the
    /// first gives its name.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Hit> {
        let mut found = Vec::new();
        if self.cards.is_some() || self.ibans || !self.countries.is_empty() {
            self.numbers(text.as_bytes(), &mut found);
        }
        if let Some(addresses) = &self.addresses {
            let ranges = addresses.find(text);
            found.extend(ranges.map(|range| Found { range, kind: Kind::Address }));
        }
        for (index, pattern) in self.patterns.iter().enumerate() {
            let matches = pattern.regex.find_iter(text).filter(|found| !found.is_empty());
            let kind = Kind::Own(index);
            found.extend(matches.map(|found| Found { range: found.range(), kind }));
        }
        if found.is_empty() {
            return Vec::new();
        }
        found.sort_by_key(|found| (found.range.start, std::cmp::Reverse(found.range.end)));
        let mut hits: Vec<Hit> = Vec::with_capacity(found.len());
        for Found { range, kind } in found {
            match hits.last_mut() {
                Some(last) if range.start < last.range.end => {
                    last.range.end = last.range.end.max(range.end);
                }
                _ => {
                    let with = self.replacement(kind, &text[range.clone()], text, &range);
                    hits.push(Hit { range, with, address: kind == Kind::Address });
                }
            }
        }
        hits
    }

    fn replacement(&self, kind: Kind, found: &str, text: &str, range: &Range<usize>) -> String {
        let name = match kind {
            Kind::Card => "card",
            Kind::Iban => "iban",
            Kind::Id(name) => name,
            Kind::Address => "email",
            Kind::Own(index) => {
                let pattern = &self.patterns[index];
                let mut with = String::new();
                // Matched again where it stands, so that what it looks around for is there.
                let matched = pattern.regex.captures_at(text, range.start);
                match matched.filter(|found| found.get(0).is_some_and(|all| all.range() == *range))
                {
                    Some(matched) => matched.expand(&pattern.replacement, &mut with),
                    None => with.push_str(&pattern.replacement),
                }
                return with;
            }
        };
        let mut with = self.replacement.replace("{kind}", name);
        if kind == Kind::Card
            && let Some(keep) = self.cards.filter(|keep| *keep > 0)
        {
            let digits: Vec<char> = found.chars().filter(char::is_ascii_digit).collect();
            with.extend(&digits[digits.len().saturating_sub(keep)..]);
        }
        with
    }

    /// One pass over the groups of digits.
    fn numbers(&self, text: &[u8], found: &mut Vec<Found>) {
        let mut at = 0;
        // Up to where something was found by way of letters; digits in there are done.
        let mut done = 0;
        let mut run = Run::default();
        while run.next(text, at) {
            at = run.end();
            for first in 0..run.groups.len() {
                let group = &run.groups[first];
                if group.start < done {
                    continue;
                }
                if let Some((range, kind)) = self.lettered(text, group) {
                    done = range.end;
                    found.push(Found { range, kind });
                } else if run.digits >= 8
                    && let Some((range, kind)) = self.digits(text, &run, first)
                {
                    done = range.end;
                    found.push(Found { range, kind });
                }
            }
            // An id that goes on behind its digits has taken the next ones.
            at = at.max(done);
        }
    }

    /// What has letters in it, by its first digits.
    fn lettered(&self, text: &[u8], group: &Range<usize>) -> Option<(Range<usize>, Kind)> {
        if self.ibans
            && let Some(range) = iban::around(text, group)
        {
            return Some((range, Kind::Iban));
        }
        let (range, name) = national::lettered(text, group, &self.countries)?;
        Some((range, Kind::Id(name)))
    }

    /// What is digits alone and begins with the run's group `first`.
    fn digits(&self, text: &[u8], run: &Run, first: usize) -> Option<(Range<usize>, Kind)> {
        let mut best = None;
        for last in first..run.groups.len() {
            let Some(number) = run.number(text, first, last) else { break };
            let range = run.groups[first].start..run.groups[last].end;
            if self.cards.is_some() && card::is_card(&number) {
                best = Some((range, Kind::Card));
            } else if let Some(name) = national::digits(text, &number, &range, &self.countries)
                && !matches!(best, Some((_, Kind::Card)))
            {
                best = Some((range, Kind::Id(name)));
            }
        }
        best
    }
}
