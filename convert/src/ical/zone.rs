//! Time zones: the names of Windows and of IANA, and local times as instants.
//!
//! Names are translated by CLDR's table (`icu_time`), times by the IANA database (`chrono-tz`);
//! both are data of those libraries' versions, so a new version may change bytes.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::LazyLock;

use chrono::{
    DateTime, Duration, LocalResult, NaiveDate, NaiveDateTime, Offset, TimeZone as _, Utc,
};
use chrono_tz::Tz;
use icu_time::TimeZone;
use icu_time::zone::WindowsParser;
use icu_time::zone::iana::{IanaParser, IanaParserExtended};

use super::custom_zone::Rule;
use super::vtimezone;
use crate::line::Lines;

/// The longest time by which a clock was ever set forward is a day (Samoa, 2011).
const LONGEST_GAP_HOURS: i64 = 26;

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Zone {
    Utc,
    Iana(Tz),
    /// A zone that has no name, only rules.
    Custom(Rule),
}

impl Zone {
    /// The zone of a name as Graph or iCalendar files have it: of Windows, of IANA, or one of
    /// Exchange's own. None for those that say nothing (`tzone://Microsoft/Custom`).
    pub(crate) fn named(name: &str) -> Option<Self> {
        if matches!(name, "UTC" | "Etc/UTC" | "Z" | "tzone://Microsoft/Utc") {
            return Some(Self::Utc);
        }
        let iana = match WindowsParser::new().parse(name, None) {
            Some(zone) => canonical(zone)?,
            None => name,
        };
        let zone: Tz = iana.parse().ok()?;
        Some(if zone == Tz::Etc__UTC || zone == Tz::UTC { Self::Utc } else { Self::Iana(zone) })
    }

    /// The name Graph takes for this zone: of Windows where it has one, else of IANA. A custom
    /// zone has none: `tzone://Microsoft/Custom`, which is only understood beside its rule.
    pub(crate) fn graph_name(&self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::Iana(zone) => windows_name(*zone).unwrap_or(zone.name()),
            Self::Custom(_) => CUSTOM,
        }
    }

    /// [`Self::graph_name`] where it means this zone and no neighbour, else the name of IANA, which
    /// the service may not take.
    pub(crate) fn exact_name(&self) -> &'static str {
        let name = self.graph_name();
        match self {
            Self::Iana(zone) if Self::named(name).as_ref() != Some(self) => zone.name(),
            _ => name,
        }
    }

    /// A zone with a name whose clock shows in a year and the next what the rule says.
    pub(crate) fn like(rule: &Rule, year: i32) -> Option<Self> {
        let begin = NaiveDate::from_ymd_opt(year, 1, 1)?.and_hms_opt(12, 0, 0)?;
        let days: Vec<_> = (0..2 * 365).map(|day| begin + Duration::days(day)).collect();
        let is_alike =
            |zone: &Self| days.iter().all(|day| zone.local(day.and_utc()) == rule.local(*day));
        windows_names().iter().filter_map(|name| Self::named(name)).find(is_alike)
    }

    /// The TZID of this zone; UTC has none, its times end in `Z`.
    pub(crate) fn id(&self) -> Option<String> {
        match self {
            Self::Utc => None,
            Self::Iana(zone) => Some(zone.name().to_owned()),
            Self::Custom(rule) => Some(rule.id()),
        }
    }

    pub(crate) fn local(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        match self {
            Self::Utc => instant.naive_utc(),
            Self::Iana(zone) => instant.with_timezone(zone).naive_local(),
            Self::Custom(rule) => rule.local(instant.naive_utc()),
        }
    }

    /// The instant of a local time as RFC 5545, 3.3.5 has it: of two the first; one that no clock
    /// showed is counted from before the gap.
    pub(crate) fn instant(&self, local: NaiveDateTime) -> DateTime<Utc> {
        match self {
            Self::Utc => local.and_utc(),
            Self::Iana(zone) => match zone.from_local_datetime(&local) {
                LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time.to_utc(),
                LocalResult::None => {
                    let before = (1..=LONGEST_GAP_HOURS).find_map(|hours| {
                        zone.from_local_datetime(&(local - Duration::hours(hours))).latest()
                    });
                    let offset = before.map_or(0, |time| time.offset().fix().local_minus_utc());
                    (local - Duration::seconds(offset.into())).and_utc()
                }
            },
            Self::Custom(rule) => rule.utc(local).and_utc(),
        }
    }

    /// Writes the VTIMEZONE, nothing for UTC. It is right in `years` and, where the zone's rules
    /// go on, after them.
    pub(crate) fn write<W: Write>(
        &self,
        lines: &mut Lines<'_, W>,
        years: std::ops::RangeInclusive<i32>,
    ) -> io::Result<()> {
        match self {
            Self::Utc => Ok(()),
            Self::Iana(zone) => vtimezone::write(lines, *zone, years),
            Self::Custom(rule) => rule.write(lines),
        }
    }
}

/// What Exchange calls a zone that has only rules.
pub(crate) const CUSTOM: &str = "tzone://Microsoft/Custom";

fn canonical(zone: TimeZone) -> Option<&'static str> {
    static NAMES: LazyLock<HashMap<TimeZone, &'static str>> = LazyLock::new(|| {
        let known = IanaParserExtended::new().iter();
        known.map(|known| (known.time_zone, known.canonical)).collect()
    });
    NAMES.get(&zone).copied()
}

/// The Windows name of a zone, by CLDR's table read backwards: first by the zone that stands for
/// the name everywhere, then by those that do in one territory.
fn windows_name(zone: Tz) -> Option<&'static str> {
    static NAMES: LazyLock<HashMap<TimeZone, &'static str>> = LazyLock::new(|| {
        let parser = WindowsParser::new();
        let mut zones = HashMap::new();
        for name in windows_names() {
            if let Some(zone) = parser.parse(name, None) {
                zones.entry(zone).or_insert(*name);
            }
        }
        for name in windows_names() {
            for territory in territories() {
                let zone = territory.parse().ok().and_then(|code| parser.parse(name, Some(code)));
                if let Some(zone) = zone {
                    zones.entry(zone).or_insert(*name);
                }
            }
        }
        zones
    });
    NAMES.get(&IanaParser::new().parse(zone.name())).copied()
}

fn territories() -> impl Iterator<Item = String> {
    (b'A'..=b'Z').flat_map(|first| {
        (b'A'..=b'Z').map(move |second| format!("{}{}", char::from(first), char::from(second)))
    })
}

/// The names Windows has for zones. `icu_time` reads such a name but does not list them.
fn windows_names() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| include_str!("windows_zones.txt").lines().collect());
    &NAMES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i32, month: u32, day: u32, hour: u32, minute: u32) -> NaiveDateTime {
        NaiveDate::from_ymd_opt(year, month, day)
            .and_then(|date| date.and_hms_opt(hour, minute, 0))
            .expect("a time")
    }

    #[test]
    fn every_windows_name_is_a_zone_and_comes_back() {
        for name in windows_names() {
            let zone = Zone::named(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(Zone::named(zone.graph_name()), Some(zone), "{name}");
        }
        let names = [
            ("Central Asia Standard Time", "Asia/Bishkek"),
            ("Mountain Standard Time (Mexico)", "America/Mazatlan"),
            ("Pacific Standard Time", "America/Los_Angeles"),
        ];
        for (windows, iana) in names {
            assert_eq!(Zone::named(windows).and_then(|zone| zone.id()).as_deref(), Some(iana));
        }
        let vienna = Zone::named("Europe/Vienna").expect("IANA's names are known too");
        assert_eq!(vienna.graph_name(), "W. Europe Standard Time");
        assert_eq!(Zone::named(CUSTOM), None);
        assert_eq!(Zone::named("tzone://Microsoft/Utc"), Some(Zone::Utc));
    }

    #[test]
    fn local_times_in_gaps_and_overlaps() {
        let berlin = Zone::Iana(Tz::Europe__Berlin);
        assert_eq!(berlin.instant(at(2026, 3, 29, 2, 30)), at(2026, 3, 29, 1, 30).and_utc());
        assert_eq!(berlin.instant(at(2026, 10, 25, 2, 30)), at(2026, 10, 25, 0, 30).and_utc());
        let apia = Zone::Iana(Tz::Pacific__Apia);
        assert_eq!(apia.instant(at(2011, 12, 30, 12, 0)), at(2011, 12, 30, 22, 0).and_utc());
    }
}
