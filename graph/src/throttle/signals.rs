//! What an answer's headers say of the limits (FACTS 2.3, 2.5).

use std::time::Duration;

use http::HeaderMap;

use crate::retry::seconds;

/// The most that one request is believed to have cost.
const DEAREST: u64 = 10_000;

/// What SharePoint says of the minute's budget, from 80 % of it on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RateLimit {
    /// All units of the window, if it says so.
    pub(crate) limit: Option<u64>,
    pub(crate) remaining: u64,
    pub(crate) reset: Duration,
}

impl RateLimit {
    pub(crate) fn read(headers: &HeaderMap) -> Option<RateLimit> {
        let limit = first(headers, "ratelimit-limit").and_then(|limit| limit.parse().ok());
        let remaining = first(headers, "ratelimit-remaining")?.parse().ok()?;
        let reset = seconds(first(headers, "ratelimit-reset")?)?;
        Some(RateLimit { limit: limit.filter(|limit| *limit > 0), remaining, reset })
    }
}

/// All that an answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Signals {
    pub(crate) rate_limit: Option<RateLimit>,
    /// Used part of the directory's budget, from 0.8 on; more than 1 is over it.
    pub(crate) used: Option<f64>,
    /// What the request cost.
    pub(crate) units: Option<u64>,
}

impl Signals {
    pub(crate) fn read(headers: &HeaderMap) -> Signals {
        let used = first(headers, "x-ms-throttle-limit-percentage");
        let units = first(headers, "x-ms-resource-unit");
        Signals {
            rate_limit: RateLimit::read(headers),
            used: used.and_then(|used| used.parse().ok()).filter(|used| (0.0..10.0).contains(used)),
            units: units.and_then(|units| units.parse().ok()).filter(|units| *units <= DEAREST),
        }
    }
}

/// A header's first value without its parameters.
fn first<'headers>(headers: &'headers HeaderMap, name: &str) -> Option<&'headers str> {
    headers.get(name)?.to_str().ok()?.split([',', ';']).next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
            Signals::read(&pairs.collect())
        };
        assert_eq!(read(&[]), Signals::default());
        let reset = Duration::from_secs(5);
        let told = read(&[
            ("ratelimit-limit", "1250, 1250;w=60"),
            ("ratelimit-remaining", "100"),
            ("ratelimit-reset", "5"),
        ]);
        let rate_limit = RateLimit { limit: Some(1250), remaining: 100, reset };
        assert_eq!(told, Signals { rate_limit: Some(rate_limit), ..Signals::default() });
        let told = read(&[("ratelimit-remaining", "100"), ("ratelimit-reset", "5")]);
        assert_eq!(told.rate_limit, Some(RateLimit { limit: None, ..rate_limit }));
        assert_eq!(read(&[("ratelimit-limit", "1250")]), Signals::default());
        let told = read(&[("x-ms-throttle-limit-percentage", "0.9"), ("x-ms-resource-unit", "3")]);
        assert_eq!(told, Signals { rate_limit: None, used: Some(0.9), units: Some(3) });
        let odd = [("x-ms-throttle-limit-percentage", "NaN"), ("x-ms-resource-unit", "99999")];
        assert_eq!(read(&odd), Signals::default());
    }
}
