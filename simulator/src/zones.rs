//! Time zones by the names that the service takes and gives: Windows', IANA's and its own.

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// A zone that Outlook on a desktop made up: the service gives the name out and does not take it.
pub(crate) const CUSTOM: &str = "tzone://Microsoft/Custom";

/// The service's own name of UTC.
const OWN_UTC: &str = "tzone://Microsoft/Utc";

/// Windows names, those of them that generated content and tests use (CLDR, territory 001).
const WINDOWS: &[(&str, Tz)] = &[
    ("AUS Eastern Standard Time", Tz::Australia__Sydney),
    ("Arabian Standard Time", Tz::Asia__Dubai),
    ("Atlantic Standard Time", Tz::America__Halifax),
    ("Cen. Australia Standard Time", Tz::Australia__Adelaide),
    ("Central America Standard Time", Tz::America__Guatemala),
    ("Central Asia Standard Time", Tz::Asia__Bishkek),
    ("Central Europe Standard Time", Tz::Europe__Budapest),
    ("Central European Standard Time", Tz::Europe__Warsaw),
    ("Central Standard Time", Tz::America__Chicago),
    ("Chatham Islands Standard Time", Tz::Pacific__Chatham),
    ("China Standard Time", Tz::Asia__Shanghai),
    ("E. Africa Standard Time", Tz::Africa__Nairobi),
    ("E. Australia Standard Time", Tz::Australia__Brisbane),
    ("E. Europe Standard Time", Tz::Europe__Chisinau),
    ("E. South America Standard Time", Tz::America__Sao_Paulo),
    ("Eastern Standard Time", Tz::America__New_York),
    ("Egypt Standard Time", Tz::Africa__Cairo),
    ("FLE Standard Time", Tz::Europe__Kyiv),
    ("GMT Standard Time", Tz::Europe__London),
    ("GTB Standard Time", Tz::Europe__Bucharest),
    ("Greenwich Standard Time", Tz::Atlantic__Reykjavik),
    ("Hawaiian Standard Time", Tz::Pacific__Honolulu),
    ("India Standard Time", Tz::Asia__Kolkata),
    ("Iran Standard Time", Tz::Asia__Tehran),
    ("Israel Standard Time", Tz::Asia__Jerusalem),
    ("Korea Standard Time", Tz::Asia__Seoul),
    ("Line Islands Standard Time", Tz::Pacific__Kiritimati),
    ("Lord Howe Standard Time", Tz::Australia__Lord_Howe),
    ("Morocco Standard Time", Tz::Africa__Casablanca),
    ("Mountain Standard Time", Tz::America__Denver),
    ("Nepal Standard Time", Tz::Asia__Kathmandu),
    ("New Zealand Standard Time", Tz::Pacific__Auckland),
    ("Newfoundland Standard Time", Tz::America__St_Johns),
    ("Pacific SA Standard Time", Tz::America__Santiago),
    ("Pacific Standard Time", Tz::America__Los_Angeles),
    ("Romance Standard Time", Tz::Europe__Paris),
    ("Russian Standard Time", Tz::Europe__Moscow),
    ("SA Pacific Standard Time", Tz::America__Bogota),
    ("Samoa Standard Time", Tz::Pacific__Apia),
    ("Singapore Standard Time", Tz::Asia__Singapore),
    ("South Africa Standard Time", Tz::Africa__Johannesburg),
    ("Tokyo Standard Time", Tz::Asia__Tokyo),
    ("Turkey Standard Time", Tz::Europe__Istanbul),
    ("US Mountain Standard Time", Tz::America__Phoenix),
    ("UTC", Tz::UTC),
    ("W. Australia Standard Time", Tz::Australia__Perth),
    ("W. Europe Standard Time", Tz::Europe__Berlin),
];

/// The rules behind a name that a client may write; none where the service would refuse it.
pub(crate) fn accepted(name: &str) -> Option<Tz> {
    let known = WINDOWS.iter().find(|(windows, _)| windows.eq_ignore_ascii_case(name));
    let own = || name.eq_ignore_ascii_case(OWN_UTC).then_some(Tz::UTC);
    known.map(|(_, zone)| *zone).or_else(own).or_else(|| name.parse().ok())
}

/// The rules behind a name that is stored. What a custom zone says only the service knows.
pub(crate) fn rules(name: &str) -> Tz {
    let custom = || if name == CUSTOM { Tz::Asia__Kathmandu } else { Tz::UTC };
    accepted(name).unwrap_or_else(custom)
}

/// The instant of a wall clock's reading. One that comes twice is the first of the two; one that
/// is skipped is as far after the gap as it stands in it.
pub(crate) fn instant(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time.to_utc(),
        LocalResult::None => {
            // With the offset of before: no gap is longer than a day.
            let before = zone.from_local_datetime(&(local - TimeDelta::days(1))).earliest();
            let before = before.unwrap_or_else(|| zone.from_utc_datetime(&local));
            (before + TimeDelta::days(1)).to_utc()
        }
    }
}

/// What a wall clock shows at an instant.
pub(crate) fn local(zone: Tz, instant: DateTime<Utc>) -> NaiveDateTime {
    instant.with_timezone(&zone).naive_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn names() {
        assert_eq!(accepted("w. europe standard time"), Some(Tz::Europe__Berlin));
        assert_eq!(accepted("Europe/Berlin"), Some(Tz::Europe__Berlin));
        assert_eq!(accepted(OWN_UTC), Some(Tz::UTC));
        assert_eq!(accepted(CUSTOM), None);
        assert_eq!(accepted(""), None);
        assert_eq!(rules(CUSTOM), Tz::Asia__Kathmandu);
    }

    #[test]
    fn clocks_that_skip_and_repeat() {
        let berlin = Tz::Europe__Berlin;
        let utc = |text: &str| instant(berlin, clock(text)).naive_utc();
        assert_eq!(utc("2026-01-15T10:00:00"), clock("2026-01-15T09:00:00"));
        assert_eq!(utc("2026-07-15T10:00:00"), clock("2026-07-15T08:00:00"));
        assert_eq!(utc("2026-03-29T02:30:00"), clock("2026-03-29T01:30:00"));
        assert_eq!(utc("2026-10-25T02:30:00"), clock("2026-10-25T00:30:00"));
        assert_eq!(
            local(berlin, instant(berlin, clock("2026-03-29T02:30:00"))),
            clock("2026-03-29T03:30:00")
        );
    }
}
