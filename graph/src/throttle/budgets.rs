//! What Microsoft documents, and which part of it is ours (FACTS 2.2, 2.3, 2.5).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Config, Pace};

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Measure {
    /// Requests, or resource units.
    Units,
    /// Of what is written: bytes in a mailbox, requests in the directory.
    Written,
}

/// So much in any stretch of `length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) measure: Measure,
    pub(crate) amount: u64,
    pub(crate) length: Duration,
}

/// How the limits of one scope are kept.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Slower after a refusal than the limits ask for.
    pub(crate) adaptive: bool,
    /// Whether the service's headers matter.
    pub(crate) heeds: bool,
    /// Part of each limit that is ours.
    pub(crate) share: f64,
    /// The user named the limits: the service may lower them only.
    pub(crate) named: bool,
    /// The one that the service's headers are about comes first.
    pub(crate) limits: Vec<Limit>,
}

/// SharePoint's units a minute and a day, by the most licences of a tier (FACTS 2.3).
const SHAREPOINT: [(u64, u64, u64); 5] = [
    (1_000, 1_250, 1_200_000),
    (5_000, 2_500, 2_400_000),
    (15_000, 3_750, 3_600_000),
    (50_000, 5_000, 4_800_000),
    (u64::MAX, 6_250, 6_000_000),
];

/// The directory's units in 10 s, by the most users of a tier (FACTS 2.5).
const DIRECTORY: [(u64, u64); 3] = [(49, 3_500), (500, 5_000), (u64::MAX, 8_000)];

impl Rules {
    /// Those of `scope`, by its name in a budget.
    pub(crate) fn new(scope: &str, config: &Config) -> Rules {
        let mut limits = kept(scope, Measure::Units, config);
        match scope {
            "mailbox" => limits.extend(kept("mailbox-upload", Measure::Written, config)),
            "directory" => limits.extend(kept("directory-write", Measure::Written, config)),
            _ => {}
        }
        Rules {
            adaptive: config.pace == Pace::Adaptive,
            heeds: config.pace != Pace::None,
            share: config.throttle_share,
            named: config.budgets.iter().any(|budget| budget.scope == scope),
            limits,
        }
    }

    /// Our part of `amount`.
    pub(crate) fn ours(&self, amount: u64) -> u64 {
        ((amount as f64 * self.share) as u64).max(1)
    }

    /// Units a second that the first limit allows in the long run.
    pub(crate) fn pace(&self) -> Option<f64> {
        let limit = self.limits.iter().find(|limit| limit.measure == Measure::Units)?;
        Some(self.ours(limit.amount) as f64 / limit.length.as_secs_f64())
    }
}

/// The limits of `name`: the user's, else the documented ones. Of several for the same time the
/// strictest holds.
fn kept(name: &str, measure: Measure, config: &Config) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    if config.pace == Pace::None {
        return limits;
    }
    let own = config.budgets.iter().filter(|budget| budget.scope == name);
    let mut kept: Vec<(u64, Duration)> = own
        .map(|budget| (u64::from(budget.requests), Duration::from_secs_f64(budget.seconds)))
        .collect();
    if kept.is_empty() {
        let documented = documented(name, config.licences.unwrap_or_default());
        kept.extend(documented.into_iter().map(|(n, seconds)| (n, Duration::from_secs(seconds))));
    }
    for (amount, length) in kept {
        match limits.iter_mut().find(|limit| limit.length == length) {
            Some(limit) => limit.amount = limit.amount.min(amount),
            None => limits.push(Limit { measure, amount, length }),
        }
    }
    limits
}

/// The limits that Microsoft documents for a scope, by its name in a budget: what may be asked, in
/// requests or resource units, and in how many seconds. `licences` chooses the tier, for the
/// directory the number of users does; 0 is the smallest one, which is safe for all.
#[must_use]
pub fn documented(name: &str, licences: u64) -> Vec<(u64, u64)> {
    match name {
        "mailbox" => vec![(10_000, 600)],
        "mailbox-upload" => vec![(150_000_000, 300)],
        "sharepoint" => {
            let tier = SHAREPOINT.into_iter().find(|(most, ..)| licences <= *most);
            tier.map(|(_, minute, day)| vec![(minute, 60), (day, 86_400)]).unwrap_or_default()
        }
        "directory" => {
            let tier = DIRECTORY.into_iter().find(|(most, _)| licences <= *most);
            tier.map(|(_, units)| vec![(units, 10)]).unwrap_or_default()
        }
        "directory-write" => vec![(3_000, 150)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(scope: &str, licences: Option<u64>, budgets: &[&str]) -> Vec<(u64, u64)> {
        let mut config = Config::new("t");
        config.licences = licences;
        config.budgets = budgets.iter().map(|text| text.parse().unwrap()).collect();
        let rules = Rules::new(scope, &config);
        rules.limits.iter().map(|limit| (limit.amount, limit.length.as_secs())).collect()
    }

    #[test]
    fn licences_choose_the_tier() {
        let sharepoint = |licences| amounts("sharepoint", licences, &[]);
        assert_eq!(sharepoint(None), [(1_250, 60), (1_200_000, 86_400)]);
        assert_eq!(sharepoint(Some(1_000)), sharepoint(None));
        assert_eq!(sharepoint(Some(1_001)), [(2_500, 60), (2_400_000, 86_400)]);
        assert_eq!(sharepoint(Some(15_000)), [(3_750, 60), (3_600_000, 86_400)]);
        assert_eq!(sharepoint(Some(50_000)), [(5_000, 60), (4_800_000, 86_400)]);
        assert_eq!(sharepoint(Some(50_001)), [(6_250, 60), (6_000_000, 86_400)]);
        let directory = |licences| amounts("directory", licences, &[])[0];
        assert_eq!(directory(Some(49)), (3_500, 10));
        assert_eq!(directory(Some(50)), (5_000, 10));
        assert_eq!(directory(Some(501)), (8_000, 10));
        assert_eq!(amounts("mailbox", Some(99_999), &[]), [(10_000, 600), (150_000_000, 300)]);
    }

    #[test]
    fn own_budgets_replace_documented_ones() {
        assert_eq!(amounts("sharepoint", Some(60_000), &["sharepoint=7/3"]), [(7, 3)]);
        let both = ["sharepoint=7/3", "sharepoint=50/60", "sharepoint=5/3"];
        assert_eq!(amounts("sharepoint", None, &both), [(5, 3), (50, 60)]);
        assert_eq!(amounts("mailbox", None, &["mailbox=7/3"]), [(7, 3), (150_000_000, 300)]);
    }
}
