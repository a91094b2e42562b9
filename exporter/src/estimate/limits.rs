//! How long a load takes at the documented limits (FACTS 2).

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Load;

/// Requests to a mailbox at the same time (FACTS 2.2).
const MAILBOX_CONNECTIONS: f64 = 4.0;
/// Downloads of one drive at the same time: our own limit.
const DRIVE_CONNECTIONS: f64 = 8.0;
/// SharePoint's egress for an app in a tenant: 400 GB an hour (FACTS 2.3).
const EGRESS: f64 = 400e9 / 3600.0;
// The windows of the limits, in seconds.
const MINUTE: u64 = 60;
const DAY: u64 = 86_400;
const MAILBOX_WINDOW: u64 = 600;
const DIRECTORY_WINDOW: u64 = 10;

/// What a tenant may be asked, by one process.
#[derive(Clone, Debug, Serialize)]
pub struct Limits {
    /// Requests of a mailbox in 10 minutes.
    pub mailbox_requests: u64,
    /// SharePoint's resource units a minute.
    pub units_per_minute: u64,
    /// SharePoint's resource units in 24 hours.
    pub units_per_day: u64,
    /// Resource units of the directory in 10 seconds.
    pub directory_units: u64,
    /// Requests in flight.
    pub concurrency: u64,
    /// How long one request takes, in seconds: an assumption.
    pub latency: f64,
}

impl Limits {
    /// The documented limits of a tenant with so many licences and users; the smallest tenant's
    /// where the licences are not known.
    #[must_use]
    pub fn documented(licences: Option<u64>, users: u64) -> Self {
        let within = |scope: &str, tier: u64, seconds: u64| {
            let limits = graph::documented(scope, tier);
            let limit = limits.into_iter().find(|(_, window)| *window == seconds);
            limit.map_or(u64::MAX, |(amount, _)| amount)
        };
        let licences = licences.unwrap_or_default();
        Self {
            mailbox_requests: within("mailbox", 0, MAILBOX_WINDOW),
            units_per_minute: within("sharepoint", licences, MINUTE),
            units_per_day: within("sharepoint", licences, DAY),
            directory_units: within("directory", users, DIRECTORY_WINDOW),
            concurrency: 16,
            latency: 0.2,
        }
    }

    /// With other assumptions on the process: its requests in flight, and how long one takes.
    #[must_use]
    pub fn at(self, concurrency: u64, latency: Duration) -> Self {
        Self { concurrency: concurrency.max(1), latency: latency.as_secs_f64(), ..self }
    }

    /// The time of a mailbox that so many requests go to.
    pub(crate) fn mailbox(&self, requests: u64) -> f64 {
        windowed(requests, (self.mailbox_requests, MAILBOX_WINDOW), |rest| {
            float(rest) * self.latency / MAILBOX_CONNECTIONS
        })
    }

    /// The time of an owner whom nobody else hinders.
    pub(crate) fn owner(&self, load: &Load) -> f64 {
        let calls = float(load.sharepoint + load.downloads) * self.latency / DRIVE_CONNECTIONS;
        self.mailbox(load.mailbox) + calls.max(self.units(load.units))
    }

    fn per_minute(&self, units: u64) -> f64 {
        float(units) * 60.0 / float(self.units_per_minute)
    }

    fn units(&self, units: u64) -> f64 {
        windowed(units, (self.units_per_day, DAY), |rest| self.per_minute(rest))
    }

    /// The time of the directory's pages.
    pub(crate) fn directory(&self, units: u64) -> f64 {
        windowed(units, (self.directory_units, DIRECTORY_WINDOW), |rest| float(rest) * self.latency)
    }

    /// The time of requests to the directory that do not wait for each other.
    fn directory_units(&self, units: u64) -> f64 {
        windowed(units, (self.directory_units, DIRECTORY_WINDOW), |rest| {
            float(rest) * self.latency / float(self.concurrency)
        })
    }

    /// The least time of a load, of which the busiest mailbox takes `busiest` requests: that of the
    /// scope that takes longest.
    #[must_use]
    pub fn time(&self, load: &Load, busiest: Option<(&str, u64)>) -> Time {
        let per_day = load.units > self.units_per_day;
        let sharepoint = match per_day {
            true => Bound::UnitsPerDay { units: self.units_per_day },
            false => Bound::UnitsPerMinute { units: self.units_per_minute },
        };
        let calls = float(load.requests()) * self.latency / float(self.concurrency);
        let mut times = vec![
            (calls, Bound::Concurrency { requests: self.concurrency, latency: self.latency }),
            (self.units(load.units), sharepoint),
            (float(load.egress) / EGRESS, Bound::Egress),
            (
                self.directory_units(load.directory),
                Bound::DirectoryUnits { units: self.directory_units },
            ),
        ];
        times.extend(busiest.map(|(owner, requests)| {
            (self.mailbox(requests), Bound::Mailbox { owner: owner.to_owned(), requests })
        }));
        let longest = times.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
        let longest = longest.filter(|(seconds, _)| *seconds > 0.0);
        let (seconds, bound) = longest.unwrap_or((0.0, Bound::Nothing));
        Time { seconds, bound }
    }
}

/// A time, and what it can't go below.
#[derive(Clone, Debug, Serialize)]
pub struct Time {
    /// In seconds.
    pub seconds: f64,
    /// Why not less.
    pub bound: Bound,
}

/// What bounds a load.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Bound {
    /// There is nothing to do.
    Nothing,
    /// The busiest mailbox: 10,000 requests in 10 minutes, 4 at the same time.
    Mailbox {
        /// Whose it is.
        owner: String,
        /// What it is asked.
        requests: u64,
    },
    /// SharePoint's resource units a minute.
    UnitsPerMinute {
        /// The tenant's limit.
        units: u64,
    },
    /// SharePoint's resource units in 24 hours.
    UnitsPerDay {
        /// The tenant's limit.
        units: u64,
    },
    /// SharePoint's 400 GB an hour.
    Egress,
    /// The list of users.
    Directory,
    /// The directory's resource units in 10 seconds.
    DirectoryUnits {
        /// The tenant's limit.
        units: u64,
    },
    /// Our own requests in flight.
    Concurrency {
        /// So many.
        requests: u64,
        /// Each of so many seconds.
        latency: f64,
    },
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Mailbox { owner, requests } => {
                write!(f, "{requests} requests to {owner}'s mailbox")
            }
            Self::UnitsPerMinute { units } => write!(f, "{units} resource units a minute"),
            Self::UnitsPerDay { units } => write!(f, "{units} resource units a day"),
            Self::Egress => f.write_str("400 GB an hour"),
            Self::Directory => f.write_str("the list of users"),
            Self::DirectoryUnits { units } => {
                write!(f, "{units} units of the directory in {DIRECTORY_WINDOW} s")
            }
            Self::Concurrency { requests, latency } => {
                write!(f, "{requests} requests in flight, {latency} s each")
            }
        }
    }
}

/// The time of `count` when at most `limit` of them pass in any `window` of seconds: full windows,
/// and a rest that takes as long as `pace` says.
fn windowed(count: u64, (limit, window): (u64, u64), pace: impl Fn(u64) -> f64) -> f64 {
    let full = count.saturating_sub(1) / limit;
    float(full) * float(window).max(pace(limit)) + pace(count - full * limit)
}

#[expect(clippy::cast_precision_loss, reason = "times are floats")]
fn float(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits::documented(None, 10).at(16, Duration::from_millis(100))
    }

    fn is(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-6, "{left} is not {right}");
    }

    #[test]
    fn a_mailbox_takes_what_its_windows_and_connections_let_through() {
        // 4 connections of 0.1 s are faster than the window only within it.
        is(limits().mailbox(0), 0.0);
        is(limits().mailbox(10_000), 250.0);
        is(limits().mailbox(10_001), 600.025);
        is(limits().mailbox(35_000), 3.0 * 600.0 + 125.0);
        // 0.4 s each never fills a window.
        is(limits().at(16, Duration::from_millis(400)).mailbox(35_000), 3500.0);
    }

    #[test]
    fn the_day_binds_sharepoint_from_its_budget_on() {
        let load = |units| Load { units, ..Load::default() };
        let minute = limits().time(&load(1_200_000), None);
        assert_eq!(minute.bound, Bound::UnitsPerMinute { units: 1_250 });
        is(minute.seconds, 57_600.0);
        let day = limits().time(&load(1_325_000), None);
        assert_eq!(day.bound, Bound::UnitsPerDay { units: 1_200_000 });
        is(day.seconds, 86_400.0 + 6_000.0);
    }

    #[test]
    fn tiers_end_where_they_are_documented_to() {
        let tier = |licences| Limits::documented(Some(licences), 0).units_per_minute;
        let ends = [0, 1_000, 1_001, 5_000, 5_001, 15_000, 15_001, 50_000, 50_001].map(tier);
        assert_eq!(ends, [1_250, 1_250, 2_500, 2_500, 3_750, 3_750, 5_000, 5_000, 6_250]);
        let size = |users| Limits::documented(None, users).directory_units;
        assert_eq!([49, 50, 500, 501].map(size), [3_500, 5_000, 5_000, 8_000]);
    }

    #[test]
    fn whatever_takes_longest_binds() {
        let mails = Load { mailbox: 40_000, ..Load::default() };
        let one = limits().time(&mails, Some(("anna", 40_000)));
        assert_eq!(one.bound, Bound::Mailbox { owner: "anna".into(), requests: 40_000 });
        let many = limits().time(&mails, Some(("anna", 400)));
        assert!(matches!(many.bound, Bound::Concurrency { .. }));
        is(many.seconds, 250.0);
        let files = Load { egress: 400_000_000_000, units: 10, ..Load::default() };
        let egress = limits().time(&files, None);
        assert_eq!(egress.bound, Bound::Egress);
        is(egress.seconds, 3600.0);
        // 3,500 units in 10 s.
        let profiles = limits()
            .at(512, Duration::ZERO)
            .time(&Load { directory: 35_000, ..Load::default() }, None);
        assert_eq!(profiles.bound, Bound::DirectoryUnits { units: 3_500 });
        is(profiles.seconds, 90.0);
    }
}
