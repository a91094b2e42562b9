//! Series as Graph could have them, from a seed: every kind of pattern and range, starts around the
//! days clocks change, times that some days do not have, exceptions and cancellations.

use chrono::{Datelike, Days, Duration, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::walk;

pub(crate) const PATTERNS: usize = 504;
/// Names as Graph gives them beside what they must mean.
pub(crate) const ZONES: [(&str, Tz); 12] = [
    ("Pacific Standard Time", Tz::America__Los_Angeles),
    ("Eastern Standard Time", Tz::America__New_York),
    ("Newfoundland Standard Time", Tz::America__St_Johns),
    ("Pacific SA Standard Time", Tz::America__Santiago),
    ("GMT Standard Time", Tz::Europe__London),
    ("W. Europe Standard Time", Tz::Europe__Berlin),
    ("Egypt Standard Time", Tz::Africa__Cairo),
    ("Israel Standard Time", Tz::Asia__Jerusalem),
    ("India Standard Time", Tz::Asia__Kolkata),
    ("AUS Eastern Standard Time", Tz::Australia__Sydney),
    ("Lord Howe Standard Time", Tz::Australia__Lord_Howe),
    ("Chatham Islands Standard Time", Tz::Pacific__Chatham),
];
const DAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const INDEXES: [&str; 5] = ["first", "second", "third", "fourth", "last"];
const TIMES: [(u32, u32); 10] =
    [(0, 0), (0, 30), (1, 30), (2, 0), (2, 15), (2, 30), (3, 0), (9, 0), (12, 45), (23, 30)];
/// Around these days clocks change somewhere in 2026.
const EDGES: [(u32, u32); 8] =
    [(3, 6), (3, 26), (4, 3), (4, 23), (9, 4), (9, 25), (10, 23), (10, 30)];

/// A series.
pub(crate) struct Case {
    pub(crate) number: u64,
    pub(crate) zone: Tz,
    /// The local time of day of every regular occurrence.
    pub(crate) time: NaiveTime,
    pub(crate) all_day: bool,
    pub(crate) master: Value,
    pub(crate) exceptions: Vec<Value>,
    pub(crate) cancelled: Vec<Value>,
    /// Days of occurrences that were moved, to when in UTC.
    pub(crate) moved: Vec<(NaiveDate, NaiveDateTime)>,
    /// Days of occurrences that were cancelled.
    pub(crate) gone: Vec<NaiveDate>,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

impl Case {
    /// The `number`th pattern, in a zone, or at an hour instead of its own time. The pattern
    /// depends on neither.
    pub(crate) fn generate(number: u64, zone: usize, hour: Option<u32>) -> Self {
        let mut random = Random(number);
        let start = start(&mut random);
        let recurrence = recurrence(number, start, ZONES[zone].0, &mut random);
        let all_day = random.below(8) == 0;
        let time = random.pick(&TIMES);
        let (hour, minute) = hour.map_or(time, |hour| (hour, 0));
        let mut case = Self {
            number,
            zone: ZONES[zone].1,
            time: NaiveTime::from_hms_opt(hour, minute, 0).expect("a time"),
            all_day,
            master: Value::Null,
            exceptions: Vec::new(),
            cancelled: Vec::new(),
            moved: Vec::new(),
            gone: Vec::new(),
        };
        let first = walk::days(&recurrence).next().expect("an occurrence");
        // A first occurrence at a time that day does not have, or has twice, says nothing about
        // the time of the others.
        if !all_day && case.zone.from_local_datetime(&first.and_time(case.time)).single().is_none()
        {
            case.time = NaiveTime::from_hms_opt(12, 0, 0).expect("a time");
        }
        let begin = case.start(first);
        case.master = json!({
            "iCalUId": format!("series-{number}@example.com"),
            "type": "seriesMaster",
            "subject": "regular",
            "isAllDay": all_day,
            "start": graph_time(begin),
            "end": graph_time(begin + if all_day { Duration::days(1) } else { Duration::minutes(30) }),
            "originalStartTimeZone": ZONES[zone].0,
            "originalEndTimeZone": ZONES[zone].0,
            "lastModifiedDateTime": "2026-01-02T03:04:05.678Z",
            "recurrence": recurrence,
        });
        case.change(&mut random);
        case
    }

    /// Whether some day of the series has its time twice or not at all, or an exception such a time.
    pub(crate) fn meets_a_change(&self) -> bool {
        let first = walk::days(&self.master["recurrence"]).next().expect("an occurrence");
        let mut days = first.iter_days().take_while(|day| day.year() < 2029);
        let unclear =
            |local: NaiveDateTime| self.zone.from_local_datetime(&local).single().is_none();
        let mut moved = self.moved.iter().map(|(_, utc)| self.zone.from_utc_datetime(utc));
        !self.all_day
            && (days.any(|day| unclear(day.and_time(self.time)))
                || moved.any(|time| unclear(time.naive_local())))
    }

    /// The start of the occurrence of a day, in UTC; of an event that lasts all day, its midnight.
    pub(crate) fn start(&self, day: NaiveDate) -> NaiveDateTime {
        if self.all_day {
            return day.and_time(NaiveTime::MIN);
        }
        walk::instant(self.zone, day.and_time(self.time)).naive_utc()
    }

    /// Moves some of the first occurrences and cancels some.
    fn change(&mut self, random: &mut Random) {
        let days: Vec<_> = walk::days(&self.master["recurrence"]).take(60).collect();
        for day in days {
            match random.below(12) {
                0 if self.moved.len() < 4 => self.except(day, random),
                1 if self.gone.len() < 4 => {
                    self.gone.push(day);
                    self.cancelled.push(format!("OID.AAMkAD=.{day}").into());
                }
                _ => {}
            }
        }
    }

    fn except(&mut self, day: NaiveDate, random: &mut Random) {
        let original = self.start(day);
        let moved = match self.all_day {
            true => original + Duration::days(1 + random.below(3) as i64),
            false => original + Duration::minutes(15 * (1 + random.below(200) as i64)),
        };
        let length = if self.all_day { Duration::days(1) } else { Duration::minutes(45) };
        self.moved.push((day, moved));
        self.exceptions.push(json!({
            "type": "exception",
            "subject": "moved",
            "isAllDay": self.all_day,
            "originalStart": original.and_utc().to_rfc3339(),
            "start": graph_time(moved),
            "end": graph_time(moved + length),
            "originalStartTimeZone": self.master["originalStartTimeZone"],
            "originalEndTimeZone": self.master["originalEndTimeZone"],
            "lastModifiedDateTime": "2026-01-03T03:04:05Z",
        }));
    }
}

fn graph_time(utc: NaiveDateTime) -> Value {
    json!({ "dateTime": utc.format("%Y-%m-%dT%H:%M:%S.0000000").to_string(), "timeZone": "UTC" })
}

fn start(random: &mut Random) -> NaiveDate {
    let (month, day) = random.pick(&EDGES);
    let edge = NaiveDate::from_ymd_opt(2026, month, day).expect("a date");
    match random.below(3) {
        0 => edge + Days::new(random.below(5)),
        1 => {
            Utc.with_ymd_and_hms(2025, 6, 1, 0, 0, 0).single().expect("a date").date_naive()
                + Days::new(random.below(600))
        }
        // The ends of months, of a leap year too.
        _ => {
            let month =
                NaiveDate::from_ymd_opt(2024 + random.below(3) as i32, 1, 31).expect("a date");
            month + Days::new(random.below(60))
        }
    }
}

fn recurrence(number: u64, start: NaiveDate, zone: &str, random: &mut Random) -> Value {
    let interval = [1, 1, 2, 3, 1 + random.below(6)][random.below(5) as usize];
    let mut days: Vec<&str> = Vec::new();
    match random.below(5) {
        0 => days.extend(&DAYS[1..6]),
        1 => days.extend([DAYS[0], DAYS[6]]),
        2 => days.extend(DAYS),
        _ => {
            for _ in 0..=random.below(3) {
                let day = random.pick(&DAYS);
                if !days.contains(&day) {
                    days.push(day);
                }
            }
        }
    }
    let day = random.pick(&[1, 5, 13, 27, 28, 29, 30, 31]);
    let month = 1 + random.below(12);
    let index = random.pick(&INDEXES);
    // What a type does not need is sent all the same.
    let mut pattern = json!({
        "interval": interval, "month": 0, "dayOfMonth": 0, "daysOfWeek": [],
        "firstDayOfWeek": random.pick(&DAYS), "index": "first",
    });
    let kind = [
        "daily",
        "weekly",
        "absoluteMonthly",
        "relativeMonthly",
        "absoluteYearly",
        "relativeYearly",
    ][number as usize % 6];
    pattern["type"] = kind.into();
    if kind == "weekly" || kind.starts_with("relative") {
        pattern["daysOfWeek"] = days.into();
    }
    if kind.starts_with("relative") {
        pattern["index"] = index.into();
    }
    if kind.starts_with("absolute") {
        pattern["dayOfMonth"] = day.into();
    }
    if kind.ends_with("Yearly") {
        pattern["month"] = month.into();
    }
    let mut range = json!({
        "startDate": start.to_string(), "endDate": "0001-01-01", "recurrenceTimeZone": zone,
        "numberOfOccurrences": 0,
    });
    let years = if kind.ends_with("Yearly") { 30 } else { 2 };
    match number / 6 % 3 {
        0 => range["type"] = "noEnd".into(),
        1 => {
            let end = start + Days::new(365 * years + random.below(400));
            range["type"] = "endDate".into();
            range["endDate"] = end.with_day(end.day()).expect("a date").to_string().into();
        }
        _ => {
            range["type"] = "numbered".into();
            range["numberOfOccurrences"] = (1 + random.below(90)).into();
        }
    }
    json!({ "pattern": pattern, "range": range })
}
