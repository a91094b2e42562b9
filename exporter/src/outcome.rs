//! How a run ended, in numbers and in one verdict (design.md 6).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use archive::Outcome;
use serde::Serialize;

use crate::Service;
use crate::service::{Note, is_incomplete};

/// How much may be missing before a complete stream is worth an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tolerance {
    /// Up to max(10 items, 0.1 %) and no failed listing.
    #[default]
    Default,
    /// Nothing may fail.
    Strict,
    /// Anything may be missing, as long as the ledger says so.
    Partial,
}

/// What the exit code says of a sealed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Complete, or what is missing is tolerated: 0.
    Complete,
    /// More is missing than tolerated: 3.
    TooMuchMissing,
    /// A service that was asked for by name, or every service, is nowhere: 3.
    Empty,
}

/// The numbers of a finished or broken run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Owners selected.
    pub owners: u64,
    /// Items in the archive.
    pub items: u64,
    /// Members in the archive, without its own tail.
    pub members: u64,
    /// Bytes of the tar, before compression.
    pub bytes: u64,
    /// Ledger lines by outcome.
    pub skipped: u64,
    /// See `skipped`.
    pub failed: u64,
    /// See `skipped`.
    pub converted: u64,
    /// See `skipped`.
    pub damaged: u64,
    /// Listings that did not reach their end: folders, mailboxes or drives.
    pub failed_listings: u64,
    /// Contents whose service-side hash was not that of the bytes, twice over.
    pub hash_mismatches: u64,
    /// Ledger lines by cause.
    pub causes: BTreeMap<String, u64>,
    /// Owners that have the service, by service.
    pub owners_with: BTreeMap<&'static str, u64>,
    /// What is covered of the owners and what is not, sorted. It stands beside the other numbers.
    #[serde(skip)]
    pub coverage: Vec<Coverage>,
    /// Items taken from the base.
    pub from_base: u64,
    /// Their bytes.
    pub base_bytes: u64,
    /// Of those: fetched, and equal to the base's but for generated boundaries.
    pub kept: u64,
    /// Items whose bytes in the base were bad: fetched again.
    pub bad_in_base: u64,
    /// Items that the service calls unchanged and that were fetched for comparison.
    pub reread: u64,
    /// Of those: different from the base. The present bytes are in the archive.
    pub drifted: u64,
    /// Items that plugins dropped.
    pub dropped: u64,
    /// Folders and items that a plugin failed on: they are not in the archive.
    pub plugin_failures: u64,
    /// True when the stream carries its seal.
    pub sealed: bool,
    /// SHA-256 of the manifest, in hex, when sealed.
    pub manifest_sha256: Option<String>,
    /// SHA-256 of the seal, in hex, when sealed.
    pub seal_sha256: Option<String>,
}

/// Of how many owners something is covered, or why not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Coverage {
    /// The service it belongs to.
    pub service: &'static str,
    /// `all`, `parts`, a part by its name, or the code of what is not covered.
    pub what: String,
    /// `covered`; `not-covered`: Graph has it and this version leaves it; `impossible`: Graph has
    /// no way to it; `not-permitted`: refused to the app; `absent`: the owner has none; `failed`.
    pub state: &'static str,
    /// Owners of which this is so.
    pub owners: u64,
}

impl Summary {
    /// Adds the numbers of another stream of the same run. Whether all are sealed is for the
    /// caller to say; digests are those of one stream and are dropped.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.owners, other.owners),
            (&mut self.items, other.items),
            (&mut self.members, other.members),
            (&mut self.bytes, other.bytes),
            (&mut self.skipped, other.skipped),
            (&mut self.failed, other.failed),
            (&mut self.converted, other.converted),
            (&mut self.damaged, other.damaged),
            (&mut self.failed_listings, other.failed_listings),
            (&mut self.hash_mismatches, other.hash_mismatches),
            (&mut self.from_base, other.from_base),
            (&mut self.base_bytes, other.base_bytes),
            (&mut self.kept, other.kept),
            (&mut self.bad_in_base, other.bad_in_base),
            (&mut self.reread, other.reread),
            (&mut self.drifted, other.drifted),
            (&mut self.dropped, other.dropped),
            (&mut self.plugin_failures, other.plugin_failures),
        ];
        for (sum, number) in pairs {
            *sum += number;
        }
        for (cause, count) in &other.causes {
            *self.causes.entry(cause.clone()).or_default() += count;
        }
        for (service, count) in &other.owners_with {
            *self.owners_with.entry(service).or_default() += count;
        }
        for row in &other.coverage {
            let is_same = |own: &&mut Coverage| {
                (own.service, &own.what, own.state) == (row.service, &row.what, row.state)
            };
            match self.coverage.iter_mut().find(is_same) {
                Some(own) => own.owners += row.owners,
                None => self.coverage.push(row.clone()),
            }
        }
        self.coverage.sort();
        self.manifest_sha256 = None;
        self.seal_sha256 = None;
    }

    /// The verdict on a sealed stream. `services` are those asked for, `named` when by name.
    #[must_use]
    pub fn verdict(
        &self,
        tolerance: Tolerance,
        services: &[Service],
        named: bool,
        allow_empty: bool,
    ) -> Verdict {
        let has = |service: &Service| self.owners_with.get(service.name()).is_some_and(|n| *n > 0);
        let empty = if named { !services.iter().all(has) } else { !services.iter().any(has) };
        let causes = self.causes.iter().filter(|(cause, _)| is_incomplete(cause));
        let lacking = self.damaged + causes.map(|(_, count)| count).sum::<u64>();
        let tolerated = match tolerance {
            Tolerance::Partial => true,
            Tolerance::Strict => self.failed == 0 && self.failed_listings == 0 && lacking == 0,
            // What plugins failed on has a limit of its own.
            Tolerance::Default => {
                let failed = self.failed.saturating_sub(self.plugin_failures);
                self.failed_listings == 0 && failed + lacking <= (self.items / 1000).max(10)
            }
        };
        if !tolerated {
            Verdict::TooMuchMissing
        } else if empty && !allow_empty {
            Verdict::Empty
        } else {
            Verdict::Complete
        }
    }
}

/// Counts while the run goes on; shared by all parts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) listed: AtomicU64,
    pub(crate) items: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) owners: AtomicU64,
    pub(crate) owners_done: AtomicU64,
    pub(crate) failed_listings: AtomicU64,
    pub(crate) hash_mismatches: AtomicU64,
    pub(crate) from_base: AtomicU64,
    pub(crate) base_bytes: AtomicU64,
    pub(crate) kept: AtomicU64,
    pub(crate) bad_in_base: AtomicU64,
    pub(crate) reread: AtomicU64,
    pub(crate) drifted: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) plugin_failures: AtomicU64,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    outcomes: BTreeMap<&'static str, u64>,
    causes: BTreeMap<String, u64>,
    owners_with: BTreeMap<&'static str, u64>,
    /// By service, what, and state.
    coverage: BTreeMap<(&'static str, String, &'static str), u64>,
}

impl Tally {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn count_ledger(&self, outcome: Outcome, cause: &str) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        *ledger.outcomes.entry(name(outcome)).or_default() += 1;
        *ledger.causes.entry(cause.to_owned()).or_default() += 1;
    }

    pub(crate) fn count_owner_with(&self, service: Service) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        *ledger.owners_with.entry(service.name()).or_default() += 1;
        let all = (service.name(), "all".to_owned(), "covered");
        *ledger.coverage.entry(all).or_default() += 1;
    }

    /// What is not here of an owner: `what`, unless the note itself says which part.
    pub(crate) fn count_uncovered(&self, service: Service, note: &Note, what: &str) {
        let code = note.code.as_deref().unwrap_or_default();
        let state = match (note.outcome, note.cause.as_str()) {
            (Outcome::Failed, _) => "failed",
            (_, "not-covered") if service.is_impossible(code) => "impossible",
            (_, "not-covered") => "not-covered",
            (_, "refused") => "not-permitted",
            _ => "absent",
        };
        let what = match (note.cause.as_str(), &note.part) {
            ("not-covered", _) => code,
            (_, Some(part)) => part,
            ("recoverable-items", None) => "recoverable-items",
            _ => what,
        };
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        *ledger.coverage.entry((service.name(), what.to_owned(), state)).or_default() += 1;
    }

    pub(crate) fn outcome(&self, outcome: Outcome) -> u64 {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.outcomes.get(name(outcome)).copied().unwrap_or(0)
    }

    pub(crate) fn summary(&self) -> Summary {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (causes, owners_with, coverage) =
            {
                let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
                let rows = ledger.coverage.iter().map(|((service, what, state), owners)| {
                    Coverage { service, what: what.clone(), state, owners: *owners }
                });
                (ledger.causes.clone(), ledger.owners_with.clone(), rows.collect())
            };
        Summary {
            coverage,
            owners: load(&self.owners),
            items: load(&self.items),
            bytes: load(&self.bytes),
            skipped: self.outcome(Outcome::Skipped),
            failed: self.outcome(Outcome::Failed),
            converted: self.outcome(Outcome::Converted),
            damaged: self.outcome(Outcome::Damaged),
            failed_listings: load(&self.failed_listings),
            hash_mismatches: load(&self.hash_mismatches),
            from_base: load(&self.from_base),
            base_bytes: load(&self.base_bytes),
            kept: load(&self.kept),
            bad_in_base: load(&self.bad_in_base),
            reread: load(&self.reread),
            drifted: load(&self.drifted),
            dropped: load(&self.dropped),
            plugin_failures: load(&self.plugin_failures),
            causes,
            owners_with,
            ..Summary::default()
        }
    }
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Skipped => "skipped",
        Outcome::Failed => "failed",
        Outcome::Converted => "converted",
        Outcome::Damaged => "damaged",
    }
}
