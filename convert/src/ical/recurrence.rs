//! Graph's `patternedRecurrence` and the RRULE of RFC 5545, 3.3.10, each as the other.
//!
//! Of a pattern only the members that its type requires are read: the service also sends
//! `month: 0`, `dayOfMonth: 0` and `index: "first"` where they mean nothing.

use calcard::icalendar::{
    ICalendarDay, ICalendarFrequency, ICalendarRecurrenceRule, ICalendarWeekday,
};
use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use serde_json::{Map, Value, json};

/// Weekdays as Graph names them, as RRULE does, and as chrono does.
pub(crate) const WEEK: [(&str, &str, Weekday); 7] = [
    ("monday", "MO", Weekday::Mon),
    ("tuesday", "TU", Weekday::Tue),
    ("wednesday", "WE", Weekday::Wed),
    ("thursday", "TH", Weekday::Thu),
    ("friday", "FR", Weekday::Fri),
    ("saturday", "SA", Weekday::Sat),
    ("sunday", "SU", Weekday::Sun),
];
const INDEXES: [(&str, i32); 5] =
    [("first", 1), ("second", 2), ("third", 3), ("fourth", 4), ("last", -1)];

/// A recurrence in local dates; the zone is the item's affair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recurrence {
    pub(crate) pattern: Pattern,
    /// Every so many days, weeks, months or years.
    pub(crate) interval: u32,
    /// Where counting periods begins. The first occurrence may be later.
    pub(crate) start: NaiveDate,
    pub(crate) end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    Daily,
    /// On these days of each week, which begins with `first`.
    Weekly {
        days: Vec<Weekday>,
        first: Weekday,
    },
    /// On this day of a month, or its last day where it is shorter.
    Monthly {
        month: Option<u32>,
        day: u32,
    },
    /// On the first, ..., fourth, last (-1) of those days of a month which are one of `days`.
    Relative {
        month: Option<u32>,
        days: Vec<Weekday>,
        index: i32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Never,
    /// No occurrence is later than this day.
    On(NaiveDate),
    After(u32),
}

impl Recurrence {
    /// Reads a `patternedRecurrence`. The error says what is not understood.
    pub(crate) fn from_graph(recurrence: &Value) -> Result<Self, &'static str> {
        let pattern = &recurrence["pattern"];
        let range = &recurrence["range"];
        let start = date(&range["startDate"]).ok_or("its start date is no date")?;
        let interval = number(&pattern["interval"]).filter(|&interval| interval > 0);
        let month = || {
            number(&pattern["month"])
                .filter(|month| (1..=12).contains(month))
                .ok_or("no such month")
        };
        let day = || {
            number(&pattern["dayOfMonth"]).filter(|day| (1..=31).contains(day)).ok_or("no such day")
        };
        let index = || {
            let name = pattern["index"].as_str().unwrap_or("first");
            INDEXES.iter().find(|known| known.0 == name).map(|known| known.1).ok_or("no such index")
        };
        let kind = pattern["type"].as_str().unwrap_or_default();
        let pattern = match kind {
            "daily" => Pattern::Daily,
            "weekly" => Pattern::Weekly {
                days: days(&pattern["daysOfWeek"])?,
                first: weekday(&pattern["firstDayOfWeek"]).unwrap_or(Weekday::Sun),
            },
            "absoluteMonthly" => Pattern::Monthly { month: None, day: day()? },
            "absoluteYearly" => Pattern::Monthly { month: Some(month()?), day: day()? },
            "relativeMonthly" => Pattern::Relative {
                month: None,
                days: days(&pattern["daysOfWeek"])?,
                index: index()?,
            },
            "relativeYearly" => Pattern::Relative {
                month: Some(month()?),
                days: days(&pattern["daysOfWeek"])?,
                index: index()?,
            },
            _ => return Err("its pattern has a type that is not known"),
        };
        let end = match range["type"].as_str().unwrap_or("noEnd") {
            "noEnd" => End::Never,
            "endDate" => End::On(date(&range["endDate"]).ok_or("its end date is no date")?),
            "numbered" => End::After(
                number(&range["numberOfOccurrences"])
                    .filter(|&count| count > 0)
                    .ok_or("it has no number of occurrences")?,
            ),
            _ => return Err("its range has a type that is not known"),
        };
        Ok(Self { pattern, interval: interval.ok_or("its interval is no number")?, start, end })
    }

    /// Writes a `patternedRecurrence` as Graph takes it; `zone` is the `recurrenceTimeZone`.
    pub(crate) fn to_graph(&self, zone: Option<&str>) -> Value {
        let mut pattern = Map::new();
        let month_of = |month: Option<u32>, monthly: &str, yearly: &str| match month {
            None => (monthly.to_owned(), 0),
            Some(month) => (yearly.to_owned(), month),
        };
        let mut set = |kind: String, month: u32| {
            pattern.insert("type".into(), kind.into());
            pattern.insert("interval".into(), self.interval.into());
            if month > 0 {
                pattern.insert("month".into(), month.into());
            }
        };
        match &self.pattern {
            Pattern::Daily => set("daily".into(), 0),
            Pattern::Weekly { days, first } => {
                set("weekly".into(), 0);
                pattern.insert("daysOfWeek".into(), graph_names(days));
                pattern.insert("firstDayOfWeek".into(), names(*first).0.into());
            }
            Pattern::Monthly { month, day } => {
                let (kind, month) = month_of(*month, "absoluteMonthly", "absoluteYearly");
                set(kind, month);
                pattern.insert("dayOfMonth".into(), (*day).into());
            }
            Pattern::Relative { month, days, index } => {
                let (kind, month) = month_of(*month, "relativeMonthly", "relativeYearly");
                set(kind, month);
                pattern.insert("daysOfWeek".into(), graph_names(days));
                let name = INDEXES.iter().find(|known| known.1 == *index).map(|known| known.0);
                pattern.insert("index".into(), name.into());
            }
        }
        let mut range = Map::new();
        range.insert("startDate".into(), self.start.to_string().into());
        match self.end {
            End::Never => range.insert("type".into(), "noEnd".into()),
            End::On(date) => {
                range.insert("endDate".into(), date.to_string().into());
                range.insert("type".into(), "endDate".into())
            }
            End::After(count) => {
                range.insert("numberOfOccurrences".into(), count.into());
                range.insert("type".into(), "numbered".into())
            }
        };
        if let Some(zone) = zone {
            range.insert("recurrenceTimeZone".into(), zone.into());
        }
        json!({ "pattern": pattern, "range": range })
    }

    /// The value of an RRULE; `until` writes the last day as the item's DTSTART is written.
    ///
    /// It counts from DTSTART, which must be the first of [`Self::dates`].
    pub(crate) fn rrule(&self, until: impl FnOnce(NaiveDate) -> String) -> String {
        let interval = match self.interval {
            1 => String::new(),
            more => format!(";INTERVAL={more}"),
        };
        let frequency = |month: &Option<u32>| match month {
            None => format!("FREQ=MONTHLY{interval}"),
            Some(month) => format!("FREQ=YEARLY{interval};BYMONTH={month}"),
        };
        let mut rule = match &self.pattern {
            Pattern::Daily => format!("FREQ=DAILY{interval}"),
            Pattern::Weekly { days, first } => {
                format!("FREQ=WEEKLY{interval};BYDAY={};WKST={}", listed(days), names(*first).1)
            }
            // BYMONTHDAY=31 alone would pass over shorter months, where Exchange takes the last day.
            Pattern::Monthly { month, day } if *day > 28 => {
                let days: Vec<_> = (28..=*day).map(|day| day.to_string()).collect();
                format!("{};BYMONTHDAY={};BYSETPOS=-1", frequency(month), days.join(","))
            }
            Pattern::Monthly { month, day } => format!("{};BYMONTHDAY={day}", frequency(month)),
            // Of several days one is meant, so an index on each (2MO,2TU) would be wrong.
            Pattern::Relative { month, days, index } => {
                format!("{};BYDAY={};BYSETPOS={index}", frequency(month), listed(days))
            }
        };
        match self.end {
            End::Never => {}
            End::On(date) => rule.push_str(&format!(";UNTIL={}", until(date))),
            End::After(count) => rule.push_str(&format!(";COUNT={count}")),
        }
        rule
    }

    /// Every day of an occurrence, in order.
    pub(crate) fn dates(&self) -> impl Iterator<Item = NaiveDate> {
        let count = match self.end {
            End::After(count) => count as usize,
            End::Never | End::On(_) => usize::MAX,
        };
        // Every pattern has a day in each of its periods, so this always comes to an end.
        (0..)
            .map_while(|period| self.period(period))
            .flatten()
            .filter(|day| *day >= self.start)
            .take_while(|day| !matches!(self.end, End::On(last) if *day > last))
            .take(count)
    }

    /// The days of a period, counted from the one `start` is in. None when the calendar ends.
    fn period(&self, period: u32) -> Option<Vec<NaiveDate>> {
        let count = period.checked_mul(self.interval)?;
        let month_at = |month: &Option<u32>| match month {
            None => first_of_month(self.start)?.checked_add_months(Months::new(count)),
            Some(month) => {
                let year = self.start.year().checked_add(i32::try_from(count).ok()?)?;
                NaiveDate::from_ymd_opt(year, *month, 1)
            }
        };
        let days = match &self.pattern {
            Pattern::Daily => vec![self.start.checked_add_days(Days::new(count.into()))?],
            Pattern::Weekly { days, first } => {
                let back = days_since(self.start.weekday(), *first);
                let week = self.start.checked_sub_days(Days::new(back))?;
                let week = week.checked_add_days(Days::new(u64::from(count) * 7))?;
                let days = week.iter_days().take(7).filter(|day| days.contains(&day.weekday()));
                days.collect()
            }
            Pattern::Monthly { month, day } => {
                let first = month_at(month)?;
                vec![first.with_day(*day.min(&days_in_month(first)?))?]
            }
            Pattern::Relative { month, days, index } => {
                let first = month_at(month)?;
                let length = days_in_month(first)? as usize;
                let all = first.iter_days().take(length);
                let fitting: Vec<_> = all.filter(|day| days.contains(&day.weekday())).collect();
                let chosen = match usize::try_from(*index) {
                    Ok(index) => fitting.get(index.checked_sub(1)?),
                    Err(_) => fitting.last(),
                };
                chosen.copied().into_iter().collect()
            }
        };
        // A year has four digits in every format.
        days.last().is_none_or(|day| day.year() <= 9999).then_some(days)
    }
}

/// Reading RRULE.
impl Recurrence {
    /// Reads an RRULE of an item that begins on `start`; `until` reads the last day from UNTIL.
    /// The error says what Graph's patterns do not have.
    pub(crate) fn from_rrule(
        rule: &ICalendarRecurrenceRule,
        start: NaiveDate,
        until: impl FnOnce(&calcard::common::PartialDateTime) -> Option<NaiveDate>,
    ) -> Result<Self, &'static str> {
        let by_time = !rule.bysecond.is_empty() || !rule.byminute.is_empty();
        if by_time || !rule.byhour.is_empty() {
            return Err("Graph has no rules within a day");
        }
        if !rule.byyearday.is_empty() || !rule.byweekno.is_empty() || rule.rscale.is_some() {
            return Err("Graph has no rule by day or week of the year, or of another calendar");
        }
        let pattern = match rule.freq {
            ICalendarFrequency::Daily => daily(rule)?,
            ICalendarFrequency::Weekly => weekly(rule, start)?,
            ICalendarFrequency::Monthly => monthly(rule, start, None)?,
            ICalendarFrequency::Yearly => {
                let month = match rule.bymonth[..] {
                    [] => start.month(),
                    [month] if !month.is_leap() => month.month().into(),
                    _ => return Err("Graph has no rule for several months"),
                };
                if rule.bymonth.is_empty() && !rule.byday.is_empty() {
                    return Err("Graph has no rule by weekday of a year");
                }
                monthly(rule, start, Some(month))?
            }
            _ => return Err("Graph has no rules within a day"),
        };
        if rule.freq != ICalendarFrequency::Yearly && !rule.bymonth.is_empty() {
            return Err("Graph has no rule limited to months");
        }
        let end = match (&rule.until, rule.count) {
            (_, Some(count)) => End::After(count),
            (Some(last), None) => End::On(until(last).ok_or("its UNTIL is no date")?),
            (None, None) => End::Never,
        };
        let interval = rule.interval.unwrap_or(1).max(1).into();
        let read = Self { pattern, interval, start, end };
        if read.dates().next() != Some(start) {
            return Err("its first occurrence is outside of the rule");
        }
        Ok(read)
    }
}

fn daily(rule: &ICalendarRecurrenceRule) -> Result<Pattern, &'static str> {
    if !rule.bymonthday.is_empty() || !rule.bysetpos.is_empty() {
        return Err("Graph has no daily rule limited to days of a month");
    }
    if rule.byday.is_empty() {
        return Ok(Pattern::Daily);
    }
    // "Every weekday" is written so by some; with another interval it is not a weekly rule.
    if rule.interval.unwrap_or(1) > 1 {
        return Err("Graph has no daily rule limited to weekdays");
    }
    Ok(Pattern::Weekly { days: plain(&rule.byday)?, first: first_day(rule) })
}

fn weekly(rule: &ICalendarRecurrenceRule, start: NaiveDate) -> Result<Pattern, &'static str> {
    if !rule.bymonthday.is_empty() || !rule.bysetpos.is_empty() {
        return Err("Graph has no weekly rule limited to days of a month");
    }
    let mut days = plain(&rule.byday)?;
    if days.is_empty() {
        days.push(start.weekday());
    }
    Ok(Pattern::Weekly { days, first: first_day(rule) })
}

fn monthly(
    rule: &ICalendarRecurrenceRule,
    start: NaiveDate,
    month: Option<u32>,
) -> Result<Pattern, &'static str> {
    const SHORT: &str = "Graph's rule takes the last day of months this rule passes over";
    let by_date = |day: u32| Ok(Pattern::Monthly { month, day });
    // A month of its own always has its day, 29 February apart.
    let always = |day: u32| match month {
        None => day <= 28,
        Some(month) => NaiveDate::from_ymd_opt(2023, month, 1)
            .and_then(days_in_month)
            .is_some_and(|n| day <= n),
    };
    match (&rule.byday[..], &rule.bymonthday[..], &rule.bysetpos[..]) {
        ([], [], []) if always(start.day()) => by_date(start.day()),
        ([], [-1], []) => by_date(31),
        ([], [day @ 1..=31], []) if always(day.unsigned_abs().into()) => {
            by_date(day.unsigned_abs().into())
        }
        ([], [] | [1..=31], []) => Err(SHORT),
        ([], [28, more @ ..], [-1]) if (29..).zip(more).all(|(day, more)| day == *more) => {
            by_date(28 + more.len() as u32)
        }
        ([day], [], []) => match day.ordwk {
            Some(index @ (-1 | 1..=4)) => Ok(Pattern::Relative {
                month,
                days: vec![chrono_day(day.weekday)],
                index: index.into(),
            }),
            _ => Err("Graph has no rule by this number of weekdays"),
        },
        (days @ [_, ..], [], [index @ (-1 | 1..=4)]) => {
            Ok(Pattern::Relative { month, days: plain(days)?, index: *index })
        }
        _ => Err("Graph has no rule by several days of a month"),
    }
}

fn first_day(rule: &ICalendarRecurrenceRule) -> Weekday {
    rule.wkst.map_or(Weekday::Mon, chrono_day)
}

/// Weekdays without numbers, in the order of the week, each once.
fn plain(days: &[ICalendarDay]) -> Result<Vec<Weekday>, &'static str> {
    if days.iter().any(|day| day.ordwk.is_some()) {
        return Err("Graph has no rule by several numbers of weekdays");
    }
    let wanted: Vec<_> = days.iter().map(|day| chrono_day(day.weekday)).collect();
    Ok(WEEK.iter().map(|known| known.2).filter(|day| wanted.contains(day)).collect())
}

fn chrono_day(day: ICalendarWeekday) -> Weekday {
    match day {
        ICalendarWeekday::Sunday => Weekday::Sun,
        ICalendarWeekday::Monday => Weekday::Mon,
        ICalendarWeekday::Tuesday => Weekday::Tue,
        ICalendarWeekday::Wednesday => Weekday::Wed,
        ICalendarWeekday::Thursday => Weekday::Thu,
        ICalendarWeekday::Friday => Weekday::Fri,
        ICalendarWeekday::Saturday => Weekday::Sat,
    }
}

fn names(day: Weekday) -> (&'static str, &'static str) {
    let known = WEEK[day.num_days_from_monday() as usize];
    (known.0, known.1)
}

fn graph_names(days: &[Weekday]) -> Value {
    days.iter().map(|day| names(*day).0).collect()
}

fn listed(days: &[Weekday]) -> String {
    days.iter().map(|day| names(*day).1).collect::<Vec<_>>().join(",")
}

/// Days of the week in its order, each once: the service's order says nothing.
fn days(value: &Value) -> Result<Vec<Weekday>, &'static str> {
    let wanted = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted: Option<Vec<_>> = wanted.iter().map(weekday).collect();
    let wanted = wanted.filter(|days| !days.is_empty()).ok_or("its days of the week are none")?;
    Ok(WEEK.iter().map(|known| known.2).filter(|day| wanted.contains(day)).collect())
}

fn weekday(value: &Value) -> Option<Weekday> {
    let name = value.as_str()?;
    WEEK.iter().find(|known| known.0.eq_ignore_ascii_case(name)).map(|known| known.2)
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| number.try_into().ok())
}

fn date(value: &Value) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(value.as_str()?.get(..10)?, "%Y-%m-%d").ok()
}

/// Days from the last `first` up to `day`.
fn days_since(day: Weekday, first: Weekday) -> u64 {
    u64::from((7 + day.num_days_from_monday() - first.num_days_from_monday()) % 7)
}

fn first_of_month(day: NaiveDate) -> Option<NaiveDate> {
    day.with_day(1)
}

fn days_in_month(day: NaiveDate) -> Option<u32> {
    let next = first_of_month(day)?.checked_add_months(Months::new(1))?;
    next.pred_opt().map(|last| last.day())
}
