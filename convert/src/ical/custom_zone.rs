//! Zones that have only rules, as Outlook stores them with an appointment: PidLidTimeZoneStruct and
//! PidLidAppointmentTimeZoneDefinitionRecur (MS-OXOCAL, 2.2.1.39 and 2.2.1.41).

use std::io::{self, Write};

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Weekday};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::vtimezone::{offset, stamp};
use crate::line::Lines;

/// The year the written rules begin with: no mailbox is older, and no reader counts back further.
const FIRST_YEAR: i32 = 1970;
const DAYS: [(Weekday, &str); 7] = [
    (Weekday::Sun, "SU"),
    (Weekday::Mon, "MO"),
    (Weekday::Tue, "TU"),
    (Weekday::Wed, "WE"),
    (Weekday::Thu, "TH"),
    (Weekday::Fri, "FR"),
    (Weekday::Sat, "SA"),
];
/// Bytes of a PidLidTimeZoneStruct, of a rule in a definition, and where its rule begins.
const STRUCT: usize = 48;
const DEFINED: usize = 66;
const DEFINED_BIAS: usize = 22;

/// Standard time, and daylight saving time by the same rule every year. Minutes east of UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) standard: i32,
    pub(crate) daylight: Option<Daylight>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Daylight {
    pub(crate) offset: i32,
    /// When it begins, by the clock of standard time.
    pub(crate) begin: Onset,
    /// When it ends, by the clock of daylight saving time.
    pub(crate) end: Onset,
}

/// The nth weekday of a month, the last one for 5.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Onset {
    pub(crate) month: u32,
    pub(crate) week: u32,
    /// Days since Sunday.
    pub(crate) weekday: u32,
    pub(crate) time: NaiveTime,
}

impl Rule {
    /// Reads a PidLidTimeZoneStruct.
    pub(crate) fn from_struct(bytes: &[u8]) -> Option<Self> {
        // Bias, standard bias, daylight bias; a year and a date for standard, the same for daylight.
        let bias = |at: usize| {
            let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
            let bias = i32::from_le_bytes(bytes);
            (-1440..=1440).contains(&bias).then_some(bias)
        };
        Self::of(bias(0)?, bias(4)?, bias(8)?, bytes.get(14..30)?, bytes.get(32..48)?)
    }

    /// Reads a PidLidAppointmentTimeZoneDefinition: of its rules the one in effect, which is
    /// marked, else the last.
    pub(crate) fn from_definition(bytes: &[u8]) -> Option<Self> {
        let short = |at: usize| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        // Major and minor version stand before the size of the rest of the header.
        let rules = bytes.get(4 + usize::from(short(2)?)..)?;
        let marked = |rule: &&[u8]| rule[4] & 3 != 0;
        let rules = || rules.chunks_exact(DEFINED);
        let rule = rules().find(marked).or_else(|| rules().last())?;
        let bias = |at: usize| {
            let bytes = rule.get(at..at + 4)?.try_into().ok()?;
            Some(i32::from_le_bytes(bytes)).filter(|bias| (-1440..=1440).contains(bias))
        };
        let at = DEFINED_BIAS;
        Self::of(bias(at)?, bias(at + 4)?, bias(at + 8)?, &rule[at + 12..at + 28], &rule[at + 28..])
    }

    fn of(bias: i32, standard: i32, daylight: i32, end: &[u8], begin: &[u8]) -> Option<Self> {
        let saving = match (Onset::read(begin)?, Onset::read(end)?) {
            (Some(begin), Some(end)) => Some(Daylight { offset: -(bias + daylight), begin, end }),
            _ => None,
        };
        Some(Self { standard: -(bias + standard), daylight: saving })
    }

    /// Writes a PidLidTimeZoneStruct.
    pub(crate) fn to_struct(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STRUCT);
        let saving = self.daylight.as_ref().map_or(0, |daylight| self.standard - daylight.offset);
        for bias in [-self.standard, 0, saving] {
            bytes.extend(bias.to_le_bytes());
        }
        for onset in [
            self.daylight.as_ref().map(|daylight| &daylight.end),
            self.daylight.as_ref().map(|daylight| &daylight.begin),
        ] {
            bytes.extend([0; 2]);
            bytes.extend(onset.map_or([0; 16], Onset::system_time));
        }
        bytes
    }

    /// A TZID: a function of the rule alone.
    pub(crate) fn id(&self) -> String {
        format!("Custom-{}", HEXLOWER.encode(&Sha256::digest(self.to_struct())[..4]))
    }

    pub(crate) fn local(&self, utc: NaiveDateTime) -> NaiveDateTime {
        let standard = utc + Duration::minutes(self.standard.into());
        let Some(daylight) = &self.daylight else { return standard };
        let begin = daylight.begin.in_year(standard.year());
        let end = daylight.end.in_year(standard.year())
            + Duration::minutes((self.standard - daylight.offset).into());
        let saving = if begin < end {
            begin <= standard && standard < end
        } else {
            standard < end || begin <= standard
        };
        if saving { utc + Duration::minutes(daylight.offset.into()) } else { standard }
    }

    /// The instant of a local time, see [`super::zone::Zone::instant`].
    pub(crate) fn utc(&self, local: NaiveDateTime) -> NaiveDateTime {
        let saving = self.daylight.as_ref().map_or(self.standard, |daylight| daylight.offset);
        let mut candidates =
            [saving, self.standard].map(|east| local - Duration::minutes(east.into()));
        candidates.sort();
        let shown = candidates.into_iter().find(|utc| self.local(*utc) == local);
        // Before the gap the clock showed standard time, unless saving runs backwards.
        shown.unwrap_or(local - Duration::minutes(self.standard.min(saving).into()))
    }

    pub(crate) fn write<W: Write>(&self, lines: &mut Lines<'_, W>) -> io::Result<()> {
        lines.raw("BEGIN", "VTIMEZONE")?;
        lines.text("TZID", &self.id())?;
        let Some(daylight) = &self.daylight else {
            let begin = NaiveDate::from_ymd_opt(FIRST_YEAR, 1, 1).unwrap_or_default();
            let onset = begin.and_time(NaiveTime::MIN);
            part(lines, "STANDARD", onset, None, self.standard, self.standard)?;
            return lines.raw("END", "VTIMEZONE");
        };
        let (standard, saving) = (self.standard, daylight.offset);
        let end = daylight.end.in_year(FIRST_YEAR);
        part(lines, "STANDARD", end, Some(daylight.end.rrule()), saving, standard)?;
        let begin = daylight.begin.in_year(FIRST_YEAR);
        part(lines, "DAYLIGHT", begin, Some(daylight.begin.rrule()), standard, saving)?;
        lines.raw("END", "VTIMEZONE")
    }
}

fn part<W: Write>(
    lines: &mut Lines<'_, W>,
    component: &str,
    onset: NaiveDateTime,
    rule: Option<String>,
    from: i32,
    to: i32,
) -> io::Result<()> {
    lines.raw("BEGIN", component)?;
    lines.raw("DTSTART", &stamp(onset))?;
    if let Some(rule) = rule {
        lines.raw("RRULE", &rule)?;
    }
    lines.raw("TZOFFSETFROM", &offset(from * 60))?;
    lines.raw("TZOFFSETTO", &offset(to * 60))?;
    lines.raw("END", component)
}

impl Onset {
    /// Reads a SYSTEMTIME: nothing for month 0. None if it is no yearly rule.
    fn read(bytes: &[u8]) -> Option<Option<Self>> {
        let mut fields = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        let mut next = || fields.next().map(u32::from);
        let (year, month, weekday, week) = (next()?, next()?, next()?, next()?);
        let time = NaiveTime::from_hms_opt(next()?, next()?, next()?)?;
        if month == 0 {
            return Some(None);
        }
        let valid = year == 0 && month <= 12 && weekday <= 6 && (1..=5).contains(&week);
        valid.then_some(Some(Self { month, week, weekday, time }))
    }

    fn system_time(&self) -> [u8; 16] {
        let time = &self.time;
        let (hour, minute, second) = chrono_fields(*time);
        let fields = [0, self.month, self.weekday, self.week, hour, minute, second, 0];
        let mut bytes = [0; 16];
        for (two, field) in bytes.chunks_exact_mut(2).zip(fields) {
            // Each is a field of a calendar or a clock.
            two.copy_from_slice(&(field as u16).to_le_bytes());
        }
        bytes
    }

    pub(crate) fn in_year(&self, year: i32) -> NaiveDateTime {
        let weekday = DAYS[self.weekday as usize % 7].0;
        let week = self.week.min(5) as u8;
        let day = (1..=week)
            .rev()
            .find_map(|week| NaiveDate::from_weekday_of_month_opt(year, self.month, weekday, week));
        day.unwrap_or_default().and_time(self.time)
    }

    fn rrule(&self) -> String {
        let week = if self.week == 5 { -1 } else { i64::from(self.week) };
        let day = DAYS[self.weekday as usize % 7].1;
        format!("FREQ=YEARLY;BYMONTH={};BYDAY={week}{day}", self.month)
    }
}

fn chrono_fields(time: NaiveTime) -> (u32, u32, u32) {
    use chrono::Timelike;
    (time.hour(), time.minute(), time.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn central_europe() -> Rule {
        let last_sunday = |month, hour| Onset {
            month,
            week: 5,
            weekday: 0,
            time: NaiveTime::from_hms_opt(hour, 0, 0).expect("a time"),
        };
        let daylight = Daylight { offset: 120, begin: last_sunday(3, 2), end: last_sunday(10, 3) };
        Rule { standard: 60, daylight: Some(daylight) }
    }

    #[test]
    fn a_rule_is_the_zone_it_describes() {
        use super::super::zone::Zone;
        let berlin = Zone::named("Europe/Berlin").expect("known");
        let custom = Zone::Custom(central_europe());
        let begin = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date").and_time(NaiveTime::MIN);
        for quarter in 0..366 * 24 * 4 {
            let time = begin + Duration::minutes(15 * quarter);
            assert_eq!(custom.local(time.and_utc()), berlin.local(time.and_utc()), "{time}");
            assert_eq!(custom.instant(time), berlin.instant(time), "{time}");
        }
    }

    #[test]
    fn structures_are_read_as_written() {
        let rule = central_europe();
        let bytes = rule.to_struct();
        assert_eq!(bytes.len(), STRUCT);
        assert_eq!(Rule::from_struct(&bytes), Some(rule.clone()));
        assert_eq!(Rule::from_struct(&bytes[..40]), None);

        let mut definition = vec![2, 1, 10, 0, 2, 0, 2, 0, b'T', 0, b'Z', 0, 2, 0];
        let mut defined = vec![2, 1, 0x3e, 0, 0, 0, 0xd9, 7];
        defined.extend([0; 14]);
        defined.extend(&bytes[..12]);
        defined.extend(&bytes[14..30]);
        defined.extend(&bytes[32..48]);
        let mut other = defined.clone();
        other[DEFINED_BIAS] = 0;
        defined[4] = 2;
        definition.extend(other);
        definition.extend(&defined);
        assert_eq!(Rule::from_definition(&definition), Some(rule));
    }
}
