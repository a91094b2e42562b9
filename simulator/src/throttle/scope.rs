//! One scope: its budgets, and whether it is closed.

use std::time::Duration;

use super::meter::{Bucket, Meter, Window};
use super::pauses::Pauses;
use super::{Area, Cost, Moment};
use crate::limits::{Factors, Limits};

/// No answer tells to wait for less of the service's time.
const SHORTEST: Duration = Duration::from_secs(1);

/// From this part of its limit on use is told in the headers of answers (FACTS 2.3, 2.5).
const TOLD_FROM: f64 = 0.8;

#[derive(Default)]
pub(crate) struct Scope {
    pub(super) pauses: Pauses,
    budgets: Vec<Budget>,
    concurrent: Option<usize>,
}

/// What a budget counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// Requests, or resource units: of refused requests, too.
    Units,
    /// Bytes of bodies, or writes, that were let in.
    Written,
    /// Bytes of contents that were sent.
    Sent,
}

struct Budget {
    counts: Counts,
    limit: u64,
    meter: Meter,
    excess: Excess,
}

/// Which limit a request is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    Concurrency,
    Requests,
    Uploads,
    SharePoint,
    DirectoryUnits,
    DirectoryWrites,
    /// None by itself: the scope is closed.
    Closed,
}

/// Why a request has to wait, and until when.
pub(crate) struct Refused {
    pub(crate) excess: Excess,
    pub(crate) until: Duration,
}

/// How much of a limit has been used, by others as well.
pub(crate) struct Usage {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    /// It is so much that headers tell it.
    pub(crate) told: bool,
    /// The time until it is not, if nothing else is sent.
    pub(crate) reset: Duration,
}

impl Scope {
    pub(crate) fn new(area: Option<Area>, limits: Option<&Limits>) -> Scope {
        let (Some(area), Some(limits)) = (area, limits) else { return Scope::default() };
        let (sharepoint, directory) = (limits.sharepoint.as_ref(), limits.directory.as_ref());
        let window = |counts, limit, length, excess| {
            let meter = Meter::Window(Window::new(length, limits.windows));
            Budget { counts, limit, meter, excess }
        };
        let seconds = Duration::from_secs;
        let budgets = match area {
            Area::Outlook => vec![
                window(Counts::Units, limits.requests, limits.window, Excess::Requests),
                window(Counts::Written, limits.upload_bytes, limits.upload_window, Excess::Uploads),
            ],
            Area::SharePoint => sharepoint.map_or_else(Vec::new, |own| {
                let window = |counts, limit, length| {
                    window(counts, limit, seconds(length), Excess::SharePoint)
                };
                vec![
                    window(Counts::Units, own.minute, 60),
                    window(Counts::Units, own.day, 86_400),
                    window(Counts::Units, own.tenant, 300),
                    window(Counts::Written, own.transfer, 3_600),
                    window(Counts::Sent, own.transfer, 3_600),
                ]
            }),
            Area::Directory => directory.map_or_else(Vec::new, |own| {
                let (counts, excess) = (Counts::Units, Excess::DirectoryUnits);
                let meter = Meter::Bucket(Bucket::new(seconds(10)));
                let writes = Excess::DirectoryWrites;
                vec![
                    Budget { counts, limit: own.units, meter, excess },
                    window(Counts::Written, own.writes, seconds(150), writes),
                ]
            }),
        };
        let concurrent = (area == Area::Outlook).then_some(limits.concurrent);
        Scope { pauses: Pauses::default(), budgets, concurrent }
    }

    /// Charges a request and lets it in, or says until when it has to wait.
    pub(crate) fn admit(
        &mut self,
        moment: Moment,
        cost: Cost,
        in_flight: usize,
        share: Share,
    ) -> Result<(), Refused> {
        let now = moment.now;
        let closed = self.pauses.until(now);
        let mut over = closed.map(|until| (until, Excess::Closed));
        let most = self.concurrent;
        if most.is_some_and(|most| in_flight > most) {
            let until = now + SHORTEST;
            over = Some((closed.map_or(until, |later| later.max(until)), Excess::Concurrency));
        }
        for budget in &mut self.budgets {
            if let Some(wait) = budget.take(now, cost, share) {
                let until = now + wait.max(SHORTEST);
                over = Some((over.map_or(until, |(later, _)| later.max(until)), budget.excess));
            }
        }
        if let Some((until, excess)) = over {
            self.pauses.tell(moment, until);
            return Err(Refused { excess, until });
        }
        for budget in &mut self.budgets {
            budget.let_in(now, cost, share);
        }
        Ok(())
    }

    /// Counts the contents of an answer.
    pub(crate) fn sent(&mut self, now: Duration, bytes: u64) {
        for budget in self.budgets.iter_mut().filter(|budget| budget.counts == Counts::Sent) {
            budget.meter.charge(now, bytes, budget.limit);
        }
    }

    /// Use of the scope's first limit, which is that of its shortest window.
    pub(crate) fn usage(&mut self, now: Duration, share: Share) -> Option<Usage> {
        let budget = self.budgets.first_mut()?;
        let (limit, ours) = (share.limit(budget.limit), share.ours(budget.limit));
        let others = limit - ours;
        let told_from = (limit as f64 * TOLD_FROM).ceil() as u64;
        let used = budget.meter.used(now, ours) + others;
        let silent = told_from.saturating_sub(1 + others);
        let reset = budget.meter.until_at_most(now, silent, ours);
        Some(Usage { limit, used, reset, told: used >= told_from })
    }
}

impl Budget {
    /// Charges a request that comes in, and says how long it would have to wait, if it has to.
    fn take(&mut self, now: Duration, cost: Cost, share: Share) -> Option<Duration> {
        let limit = share.ours(self.limit);
        let amount = match self.counts {
            Counts::Units => cost.units,
            Counts::Written => cost.written,
            Counts::Sent => 1,
        };
        // Who takes nothing of a budget does not feel that it is used up.
        let over = amount > 0 && self.meter.wait(now, amount, limit).is_some();
        if self.counts == Counts::Units {
            self.meter.charge(now, amount, limit);
        }
        over.then(|| self.meter.wait(now, amount, limit)).flatten()
    }

    fn let_in(&mut self, now: Duration, cost: Cost, share: Share) {
        if self.counts == Counts::Written {
            self.meter.charge(now, cost.written, share.ours(self.limit));
        }
    }
}

/// How much of the documented limits there is now.
#[derive(Clone, Copy)]
pub(crate) struct Share {
    factor: f64,
    others: f64,
}

impl Share {
    pub(super) fn of(area: Option<Area>, factors: Factors) -> Share {
        let (factor, others) = match area {
            Some(Area::Outlook) => (factors.outlook, 0.0),
            Some(Area::SharePoint) => (factors.sharepoint, factors.others),
            Some(Area::Directory) => (factors.directory, 0.0),
            None => (1.0, 0.0),
        };
        Share { factor, others }
    }

    /// The limit for all.
    fn limit(self, documented: u64) -> u64 {
        ((documented as f64 * self.factor).round() as u64).max(1)
    }

    /// What others leave of it.
    fn ours(self, documented: u64) -> u64 {
        ((self.limit(documented) as f64 * (1.0 - self.others)).round() as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SharePoint;

    const ALL: Share = Share { factor: 1.0, others: 0.0 };

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn moment(now: Duration) -> Moment {
        Moment { now, answered: now, grace: at(2) }
    }

    fn sharepoint(minute: u64) -> Scope {
        let own = SharePoint { minute, ..SharePoint::for_licences(1) };
        Scope::new(
            Some(Area::SharePoint),
            Some(&Limits { sharepoint: Some(own), ..Limits::default() }),
        )
    }

    fn ask(scope: &mut Scope, now: u64, units: u64) -> Result<(), (u64, bool)> {
        let told = scope.pauses.told(at(now));
        let admitted = scope.admit(moment(at(now)), Cost { units, written: 0 }, 1, ALL);
        admitted.map_err(|refused| (refused.until.as_secs(), told))
    }

    #[test]
    fn refused_requests_count_and_the_wait_told_takes_them_into_account() {
        let mut scope = sharepoint(10);
        assert_eq!(ask(&mut scope, 0, 5), Ok(()));
        assert_eq!(ask(&mut scope, 10, 5), Ok(()));
        // What is used at 60 is 5 of 10, and 1 of the refused one itself.
        assert_eq!(ask(&mut scope, 20, 1), Err((60, false)));
        assert_eq!(ask(&mut scope, 21, 5), Err((80, false)), "under way, and dearer");
        assert_eq!(ask(&mut scope, 30, 1), Err((80, true)));
        assert_eq!(ask(&mut scope, 69, 5), Err((90, true)));
        assert_eq!(ask(&mut scope, 90, 5), Ok(()));
    }

    #[test]
    fn no_wait_is_shorter_than_a_second() {
        let mut scope = sharepoint(100);
        assert_eq!(ask(&mut scope, 0, 5), Ok(()));
        assert_eq!(ask(&mut scope, 1, 95), Ok(()));
        let late = Duration::from_millis(59_500);
        let refused = scope.admit(moment(late), Cost { units: 1, written: 0 }, 1, ALL).err();
        assert_eq!(refused.map(|refused| refused.until), Some(late + at(1)));
    }

    #[test]
    fn a_file_longer_than_the_rest_of_an_hour_waits_and_reading_does_not() {
        let own = SharePoint { transfer: 100, ..SharePoint::for_licences(1) };
        let limits = Limits { sharepoint: Some(own), ..Limits::default() };
        let mut scope = Scope::new(Some(Area::SharePoint), Some(&limits));
        let mut write = |now, written, share| {
            let admitted = scope.admit(moment(at(now)), Cost { units: 2, written }, 1, share);
            admitted.map_err(|refused| refused.until.as_secs())
        };
        assert_eq!(write(0, 90, ALL), Ok(()));
        assert_eq!(write(1, 10, ALL), Ok(()));
        assert_eq!(write(2, 0, Share { factor: 0.5, others: 0.0 }), Ok(()));
        assert_eq!(write(3, 11, ALL), Err(3_600));
        assert_eq!(write(3_600, 11, ALL), Ok(()), "the refused body was never taken in");
    }
}
