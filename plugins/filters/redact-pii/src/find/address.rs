//! E-mail addresses.

use std::ops::Range;

/// The domain of addresses that stand for others (RFC 2606).
pub const REDACTED: &str = "redacted.invalid";

/// E-mail addresses but for those of some domains.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// Domains, in lower case, whose addresses (and those of domains below) stay.
    pub allowed: Vec<String>,
}

impl Addresses {
    /// Where addresses stand in a text.
    pub(super) fn find<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        memchr::memchr_iter(b'@', text.as_bytes()).filter_map(|at| self.around(text, at))
    }

    fn around(&self, text: &str, at: usize) -> Option<Range<usize>> {
        let local = |found: char| found.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(found);
        let before: usize =
            text[..at].chars().rev().take_while(|found| local(*found)).map(char::len_utf8).sum();
        // Signs that can be in an address but rarely begin one: `'a@b.c'`, `mailto=a@b.c`.
        let start = at - before;
        let start = at - text[start..at].trim_start_matches(['\'', '.', '/', '=', '?', '&']).len();
        let domain = |found: char| found.is_alphanumeric() || matches!(found, '-' | '.');
        let behind: usize =
            text[at + 1..].chars().take_while(|found| domain(*found)).map(char::len_utf8).sum();
        let host = text[at + 1..at + 1 + behind].trim_end_matches(['.', '-']);
        let top = host.rsplit_once('.').map_or("", |(_, top)| top);
        let is_host = top.chars().count() >= 2 && !top.chars().all(|found| found.is_ascii_digit());
        if start == at || !is_host || host.starts_with('.') || host.contains("..") {
            return None;
        }
        let host_name = host.to_lowercase();
        let is_below = |domain: &String| {
            host_name
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        // What stands for an address that was redacted before.
        if host_name == REDACTED || self.allowed.iter().any(is_below) {
            return None;
        }
        Some(start..at + 1 + host.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_but_for_those_allowed() {
        let addresses = Addresses { allowed: vec!["contoso.com".to_owned()] };
        let text = "<a.b+c@x.example>, ann@contoso.com b@mail.contoso.com; c@notcontoso.com. \
                    'd@ü.example' @x.de 1@2.3 v1.0@0.1 mailto:e@f.org?x";
        let found: Vec<&str> = addresses.find(text).map(|range| &text[range]).collect();
        assert_eq!(found, ["a.b+c@x.example", "c@notcontoso.com", "d@ü.example", "e@f.org"]);
    }
}
