//! Generated content: every user, mail and file is a function of the seed and its number.

pub(crate) mod calendar;
pub(crate) mod contacts;
pub(crate) mod drive;
pub(crate) mod folders;
pub(crate) mod groups;
pub(crate) mod mail;
pub(crate) mod outlook;
pub(crate) mod todo;
pub(crate) mod words;

use chrono::{DateTime, TimeDelta, Utc};

use crate::mail::Address;
use words::{GIVEN, SURNAMES, ascii};

/// The name of ordinary user `number`; no two are alike.
pub(crate) fn person(number: u64) -> (String, String) {
    let (givens, surnames) = (GIVEN.len() as u64, SURNAMES.len() as u64);
    let given = GIVEN[(number % givens) as usize];
    let surname = SURNAMES[((number + number / givens) % surnames) as usize];
    let round = number / (givens * surnames);
    let suffix = if round == 0 { String::new() } else { (round + 1).to_string() };
    (given.to_owned(), format!("{surname}{suffix}"))
}

/// His address.
pub(crate) fn address(number: u64, domain: &str) -> Address {
    let (given, surname) = person(number);
    Address {
        address: format!("{}.{}@{domain}", ascii(&given), ascii(&surname)),
        name: format!("{given} {surname}"),
    }
}

/// The day generated content begins.
pub(crate) fn epoch() -> DateTime<Utc> {
    DateTime::from_timestamp(1_451_890_800, 0).expect("4 January 2016 exists")
}

/// Seconds from then to the last generated item.
pub(crate) const SPAN: u64 = 336_000_000;

pub(crate) fn seconds_after(start: DateTime<Utc>, seconds: u64) -> DateTime<Utc> {
    start + TimeDelta::seconds(seconds as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_addresses_are_alike() {
        let all: std::collections::HashSet<_> =
            (0..5000).map(|n| address(n, "contoso.com").address).collect();
        assert_eq!(all.len(), 5000);
    }
}
