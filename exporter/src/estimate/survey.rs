//! All owners of a selection, or a sample of them.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use graph::Graph;
use serde::Serialize;

use super::{Bound, Enquiry, Estimate, Found, Known, Limits, Load, Numbers, Time, estimate};
use crate::owner::{Owner, Owners};
use crate::pipeline::each;
use crate::{Error, Service};

/// What an export of a selection takes.
#[derive(Debug, Serialize)]
pub struct Survey {
    /// Users and groups of the tenant, as far as they were listed.
    pub users: u64,
    /// Those that are selected.
    pub owners: u64,
    /// Those that were asked; where fewer than all, the rest is extrapolated.
    pub asked: u64,
    /// By service, in the order of the format.
    pub services: BTreeMap<Service, ServiceTotal>,
    /// Requests for the lists of users and groups, each one unit of the directory (FACTS 2.5);
    /// those on account of single owners are in the loads.
    pub directory: u64,
    /// All services together.
    pub total: Load,
    /// How long all of it takes.
    pub time: Time,
    /// The owners that take longest, the longest first; among those that were asked.
    pub largest: Vec<Largest>,
    /// Who could not be asked, and why: at most as many as `largest` may be.
    pub unknown: Vec<(String, String)>,
}

/// One service of all owners.
#[derive(Debug, Serialize)]
pub struct ServiceTotal {
    /// What it takes.
    pub load: Load,
    /// How the number of items is known.
    pub items: Known,
    /// How the number of bytes is known.
    pub bytes: Known,
    /// Owners that have it.
    pub with: u64,
    /// Owners that do not.
    pub without: u64,
    /// Owners whose content is not for us.
    pub refused: u64,
    /// Owners that could not be asked.
    pub unknown: u64,
    /// Owners of whom it can't be told: this version does not estimate the service.
    pub uncounted: u64,
    /// How long it takes alone.
    pub time: Time,
}

/// An owner among the largest.
#[derive(Clone, Debug, Serialize)]
pub struct Largest {
    /// Object id.
    pub id: String,
    /// Name in paths and messages.
    pub upn: String,
    /// Seconds that the owner takes alone.
    pub seconds: f64,
    /// What is asked for.
    pub load: Load,
}

/// Estimates the owners of `owners`, or `sample` of them: every so many-th by id, the same each
/// time. At most `top` of the largest are kept.
///
/// # Errors
/// What would end an export before its first byte: nobody is selected, a service is refused for
/// everybody, credentials.
pub async fn survey(
    graph: &Graph,
    owners: &Owners,
    enquiry: &Enquiry,
    limits: &Limits,
    sample: Option<u64>,
    top: usize,
) -> Result<Survey, Error> {
    if owners.named == 0 {
        return Err(Error::NoOwner { owners: owners.total });
    }
    let all = owners.ours.count;
    let wanted = sample.map_or(all, |sample| sample.min(all));
    // Of `all` in a row, those where the share that is wanted reaches another whole number.
    let chosen = |at: u64| {
        let share = |n: u64| u128::from(n) * u128::from(wanted) / u128::from(all.max(1));
        share(at + 1) > share(at)
    };
    let ahead = usize::try_from(limits.concurrency).unwrap_or(usize::MAX);
    let mut estimates = std::pin::pin!(
        each(&owners.ours)
            .enumerate()
            .filter(|(at, _)| std::future::ready(chosen(*at as u64)))
            .map(|(_, owner)| async move {
                let owner = owner?;
                let estimate = estimate(graph, &owner, enquiry).await?;
                Ok::<_, Error>((owner, estimate))
            })
            .buffered(ahead)
    );
    let mut sum = Sum::new(&enquiry.services, top);
    while let Some((owner, estimate)) = estimates.try_next().await? {
        sum.add(&owner, estimate, limits);
    }
    // Owners of other shards may not be refused.
    if owners.others.count == 0 {
        sum.refused_for_all()?;
    }
    Ok(sum.survey(owners, wanted, limits))
}

/// What is known of the owners so far.
struct Sum {
    services: BTreeMap<Service, OfService>,
    /// The mailbox that is asked most, by all services in it.
    busiest: Option<(String, u64)>,
    largest: Vec<Largest>,
    unknown: Vec<(String, String)>,
    top: usize,
}

#[derive(Default)]
struct OfService {
    load: Load,
    items: Known,
    bytes: Known,
    with: u64,
    without: u64,
    refused: u64,
    unknown: u64,
    uncounted: u64,
    /// Asked before the first byte, until there is an owner who has it.
    search: Load,
    is_open: bool,
    busiest: Option<(String, u64)>,
    refusal: Option<graph::Error>,
}

impl Sum {
    fn new(services: &[Service], top: usize) -> Self {
        let services = services.iter().map(|service| (*service, OfService::default())).collect();
        Self { services, busiest: None, largest: Vec::new(), unknown: Vec::new(), top }
    }

    fn add(&mut self, owner: &Owner, estimate: Estimate, limits: &Limits) {
        let (load, seconds) = (estimate.load(), estimate.seconds(limits));
        keep_busiest(&mut self.busiest, owner, load.mailbox);
        for part in estimate.parts {
            let service = self.services.entry(part.service).or_default();
            service.load += part.load;
            if !service.is_open && !owner.guest {
                service.search += part.service.opening(owner);
                service.is_open = matches!(part.found, Found::Present(_) | Found::Excluded);
            }
            keep_busiest(&mut service.busiest, owner, part.load.mailbox);
            match part.found {
                Found::Present(numbers) => service.present(&numbers),
                Found::Absent => service.without += 1,
                Found::Excluded => {}
                Found::Uncounted => service.uncounted += 1,
                Found::Refused(error) => {
                    service.refused += 1;
                    service.refusal.get_or_insert(error);
                }
                Found::Unknown(why) => {
                    service.unknown += 1;
                    if self.unknown.len() < self.top {
                        self.unknown.push((owner.upn.clone(), why));
                    }
                }
            }
        }
        let after = |other: &Largest| other.seconds.total_cmp(&seconds).is_ge();
        let at = self.largest.partition_point(after);
        if at < self.top && seconds > 0.0 {
            let (id, upn) = (owner.id.clone(), owner.upn.clone());
            self.largest.insert(at, Largest { id, upn, seconds, load });
            self.largest.truncate(self.top);
        }
    }

    fn refused_for_all(&mut self) -> Result<(), Error> {
        for (service, sum) in &mut self.services {
            if let (0, Some(error)) = (sum.with, sum.refusal.take()) {
                let (service, owners) = (service.name(), sum.refused);
                return Err(Error::Refused { service, owners, source: Box::new(error) });
            }
        }
        Ok(())
    }

    fn survey(self, owners: &Owners, asked: u64, limits: &Limits) -> Survey {
        let all = owners.ours.count;
        let mut total = Load::default();
        let mut services = BTreeMap::new();
        for (service, sum) in self.services {
            let sum = sum.total(limits, all, asked);
            total += sum.load;
            services.insert(service, sum);
        }
        let directory = owners.pages;
        let mut time = time(limits, &total, self.busiest.as_ref());
        let users = limits.directory(directory);
        if users > time.seconds {
            time = Time { seconds: users, bound: Bound::Directory };
        }
        Survey {
            users: owners.total,
            owners: all,
            asked,
            services,
            directory,
            total,
            time,
            largest: self.largest,
            unknown: self.unknown,
        }
    }
}

impl OfService {
    fn present(&mut self, numbers: &Numbers) {
        self.with += 1;
        self.items = self.items.max(numbers.items);
        self.bytes = self.bytes.max(numbers.bytes);
    }

    fn total(self, limits: &Limits, all: u64, asked: u64) -> ServiceTotal {
        let is_sample = asked < all;
        let share = |n: u64| match is_sample {
            true => u64::try_from(u128::from(n) * u128::from(all) / u128::from(asked.max(1)))
                .unwrap_or(u64::MAX),
            false => n,
        };
        let known = |known: Known| if is_sample { known.max(Known::Sampled) } else { known };
        let mut load = self.load.scaled(all, asked);
        load += self.search;
        ServiceTotal {
            time: time(limits, &load, self.busiest.as_ref()),
            load,
            items: known(self.items),
            bytes: known(self.bytes),
            with: share(self.with),
            without: share(self.without),
            refused: share(self.refused),
            unknown: share(self.unknown),
            uncounted: share(self.uncounted),
        }
    }
}

fn keep_busiest(busiest: &mut Option<(String, u64)>, owner: &Owner, requests: u64) {
    if requests > busiest.as_ref().map_or(0, |(_, most)| *most) {
        *busiest = Some((owner.upn.clone(), requests));
    }
}

fn time(limits: &Limits, load: &Load, busiest: Option<&(String, u64)>) -> Time {
    limits.time(load, busiest.map(|(owner, requests)| (owner.as_str(), *requests)))
}
