//! The days of a series, by walking from its first day on and asking of each whether it fits the
//! pattern: slow, and hard to get wrong.

use chrono::{Datelike, Days, NaiveDate, Weekday};
use serde_json::Value;

/// A `patternedRecurrence` that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    pattern: Pattern,
    interval: u32,
    start: NaiveDate,
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Daily,
    Weekly { days: Vec<Weekday>, first: Weekday },
    AbsoluteMonthly { day: u32 },
    RelativeMonthly { days: Vec<Weekday>, index: Index },
    AbsoluteYearly { month: u32, day: u32 },
    RelativeYearly { month: u32, days: Vec<Weekday>, index: Index },
}

/// Which of the days of a month that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Index {
    /// From the front, 0 being the first.
    Nth(usize),
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    /// The last day that may still fit.
    On(NaiveDate),
    /// The number of days that fit, cancelled ones included.
    After(u64),
}

/// A pattern whose days are further apart than this has no more of them: a 29 February that is
/// skipped at a turn of the century comes again after eight years, times a large interval.
const PATIENCE_DAYS: u64 = 366 * 100;

impl Series {
    /// Reads the JSON; the error names the property that is wrong. Members that the type of the
    /// pattern does not need are ignored, as the service sends them with empty values.
    pub(crate) fn read(json: &Value) -> Result<Series, &'static str> {
        let (pattern, range) = (&json["pattern"], &json["range"]);
        let number = |name: &'static str| {
            let number = pattern[name].as_u64().and_then(|number| u32::try_from(number).ok());
            number.filter(|number| *number > 0).ok_or(name)
        };
        let days = || days_of_week(&pattern["daysOfWeek"]);
        let index = || index(pattern["index"].as_str().unwrap_or("first"));
        let day = || number("dayOfMonth").and_then(|day| in_range(day, 31, "dayOfMonth"));
        let month = || number("month").and_then(|month| in_range(month, 12, "month"));
        let kind = pattern["type"].as_str().unwrap_or_default().to_lowercase();
        let first = pattern["firstDayOfWeek"].as_str().unwrap_or("sunday");
        let read = match kind.as_str() {
            "daily" => Pattern::Daily,
            "weekly" => {
                let first = weekday(first).ok_or("firstDayOfWeek")?;
                Pattern::Weekly { days: days()?, first }
            }
            "absolutemonthly" => Pattern::AbsoluteMonthly { day: day()? },
            "relativemonthly" => Pattern::RelativeMonthly { days: days()?, index: index()? },
            "absoluteyearly" => Pattern::AbsoluteYearly { month: month()?, day: day()? },
            "relativeyearly" => {
                Pattern::RelativeYearly { month: month()?, days: days()?, index: index()? }
            }
            _ => return Err("type"),
        };
        let date = |name: &'static str| {
            range[name].as_str().and_then(|text| text.parse::<NaiveDate>().ok()).ok_or(name)
        };
        let start = date("startDate")?;
        let end = match range["type"].as_str().unwrap_or_default().to_lowercase().as_str() {
            "noend" => End::Never,
            "enddate" => End::On(date("endDate")?),
            "numbered" => {
                let count = range["numberOfOccurrences"].as_u64().filter(|count| *count > 0);
                End::After(count.ok_or("numberOfOccurrences")?)
            }
            _ => return Err("range"),
        };
        if matches!(end, End::On(last) if last < start) {
            return Err("endDate");
        }
        Ok(Series { pattern: read, interval: number("interval")?, start, end })
    }

    /// The days of the series in order. Does not end by itself where the series does not.
    pub(crate) fn days(&self) -> impl Iterator<Item = NaiveDate> {
        let mut walk = Some(self.start);
        let mut left = match self.end {
            End::After(count) => count,
            End::Never | End::On(_) => u64::MAX,
        };
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let mut patience = PATIENCE_DAYS;
            loop {
                let day = walk?;
                walk = day.checked_add_days(Days::new(1));
                patience = patience.checked_sub(1)?;
                if matches!(self.end, End::On(last) if day > last) {
                    return None;
                }
                if self.fits(day) {
                    return Some(day);
                }
            }
        })
    }

    /// Whether a day is one of the series.
    pub(crate) fn contains(&self, day: NaiveDate) -> bool {
        let last = match self.end {
            End::Never => NaiveDate::MAX,
            End::On(last) => last,
            End::After(_) => {
                return self.days().take_while(|other| *other <= day).last() == Some(day);
            }
        };
        (self.start..=last).contains(&day) && self.fits(day)
    }

    fn fits(&self, day: NaiveDate) -> bool {
        let months = months(day) - months(self.start);
        let every = |count: i64| count % i64::from(self.interval) == 0;
        match &self.pattern {
            Pattern::Daily => every((day - self.start).num_days()),
            Pattern::Weekly { days, first } => {
                let weeks = (day.week(*first).first_day() - self.start.week(*first).first_day())
                    .num_days()
                    / 7;
                days.contains(&day.weekday()) && every(weeks)
            }
            Pattern::AbsoluteMonthly { day: of } => every(months) && is_day(day, *of),
            Pattern::RelativeMonthly { days, index } => every(months) && is_nth(day, days, *index),
            Pattern::AbsoluteYearly { month, day: of } => {
                every(years(day, self.start)) && day.month() == *month && is_day(day, *of)
            }
            Pattern::RelativeYearly { month, days, index } => {
                every(years(day, self.start)) && day.month() == *month && is_nth(day, days, *index)
            }
        }
    }
}

fn months(day: NaiveDate) -> i64 {
    i64::from(day.year()) * 12 + i64::from(day.month0())
}

fn years(day: NaiveDate, start: NaiveDate) -> i64 {
    i64::from(day.year()) - i64::from(start.year())
}

fn length_of_month(day: NaiveDate) -> u32 {
    u32::from(day.num_days_in_month())
}

/// A month that is too short has its last day instead.
fn is_day(day: NaiveDate, of: u32) -> bool {
    day.day() == of.min(length_of_month(day))
}

fn is_nth(day: NaiveDate, days: &[Weekday], index: Index) -> bool {
    if !days.contains(&day.weekday()) {
        return false;
    }
    let all = (1..=length_of_month(day)).filter_map(|number| day.with_day(number));
    let fitting: Vec<NaiveDate> = all.filter(|day| days.contains(&day.weekday())).collect();
    let chosen = match index {
        Index::Nth(at) => fitting.get(at),
        Index::Last => fitting.last(),
    };
    chosen == Some(&day)
}

fn in_range(number: u32, most: u32, name: &'static str) -> Result<u32, &'static str> {
    if number <= most { Ok(number) } else { Err(name) }
}

fn days_of_week(json: &Value) -> Result<Vec<Weekday>, &'static str> {
    let all = json.as_array().ok_or("daysOfWeek")?;
    let days = all.iter().map(|day| weekday(day.as_str()?)).collect::<Option<Vec<_>>>();
    days.filter(|days| !days.is_empty()).ok_or("daysOfWeek")
}

fn weekday(name: &str) -> Option<Weekday> {
    // Whole names only: the parser takes abbreviations too.
    name.to_lowercase().ends_with("day").then(|| name.parse().ok()).flatten()
}

fn index(name: &str) -> Result<Index, &'static str> {
    const NAMES: [&str; 4] = ["first", "second", "third", "fourth"];
    let lower = name.to_lowercase();
    match NAMES.iter().position(|known| *known == lower) {
        Some(at) => Ok(Index::Nth(at)),
        None if lower == "last" => Ok(Index::Last),
        None => Err("index"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn days(pattern: Value, start: &str, range: Value, take: usize) -> String {
        let mut range = range;
        range["startDate"] = start.into();
        let series = Series::read(&json!({"pattern": pattern, "range": range})).unwrap();
        let days: Vec<String> = series.days().take(take).map(|day| day.to_string()).collect();
        days.join(" ")
    }

    #[test]
    fn patterns() {
        let no_end = || json!({"type": "noEnd"});
        for (pattern, start, expected) in [
            (
                json!({"type": "daily", "interval": 3}),
                "2026-02-27",
                "2026-02-27 2026-03-02 2026-03-05",
            ),
            (
                json!({"type": "weekly", "interval": 2, "daysOfWeek": ["monday", "Sunday"], "firstDayOfWeek": "monday"}),
                "2026-01-05",
                "2026-01-05 2026-01-11 2026-01-19",
            ),
            (
                json!({"type": "weekly", "interval": 2, "daysOfWeek": ["monday", "sunday"], "firstDayOfWeek": "sunday"}),
                "2026-01-05",
                "2026-01-05 2026-01-18 2026-01-19",
            ),
            (
                json!({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31}),
                "2026-01-31",
                "2026-01-31 2026-02-28 2026-03-31",
            ),
            (
                json!({"type": "relativeMonthly", "interval": 1, "index": "last", "daysOfWeek": ["monday", "tuesday", "wednesday", "thursday", "friday"]}),
                "2026-01-01",
                "2026-01-30 2026-02-27 2026-03-31",
            ),
            (
                json!({"type": "relativeMonthly", "interval": 2, "index": "second", "daysOfWeek": ["tuesday"]}),
                "2026-01-20",
                "2026-03-10 2026-05-12 2026-07-14",
            ),
            (
                json!({"type": "absoluteYearly", "interval": 1, "month": 2, "dayOfMonth": 29}),
                "2024-02-29",
                "2024-02-29 2025-02-28 2026-02-28",
            ),
            (
                json!({"type": "relativeYearly", "interval": 2, "month": 11, "index": "fourth", "daysOfWeek": ["thursday"]}),
                "2026-01-01",
                "2026-11-26 2028-11-23 2030-11-28",
            ),
        ] {
            assert_eq!(days(pattern.clone(), start, no_end(), 3), expected, "{pattern}");
        }
    }

    #[test]
    fn ends() {
        let daily = || json!({"type": "daily", "interval": 1});
        let numbered = json!({"type": "numbered", "numberOfOccurrences": 2});
        assert_eq!(days(daily(), "2026-01-01", numbered, 9), "2026-01-01 2026-01-02");
        let until = json!({"type": "endDate", "endDate": "2026-01-03"});
        assert_eq!(days(daily(), "2026-01-01", until, 9), "2026-01-01 2026-01-02 2026-01-03");
    }

    #[test]
    fn what_makes_no_sense() {
        let range = json!({"type": "noEnd", "startDate": "2026-01-01"});
        for (pattern, name) in [
            (json!({"type": "hourly", "interval": 1}), "type"),
            (json!({"type": "daily", "interval": 0}), "interval"),
            (json!({"type": "weekly", "interval": 1}), "daysOfWeek"),
            (json!({"type": "weekly", "interval": 1, "daysOfWeek": ["Mon"]}), "daysOfWeek"),
            (json!({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 32}), "dayOfMonth"),
            (
                json!({"type": "absoluteYearly", "interval": 1, "dayOfMonth": 3, "month": 0}),
                "month",
            ),
        ] {
            let json = json!({"pattern": pattern, "range": range});
            assert_eq!(Series::read(&json), Err(name), "{json}");
        }
    }
}
