//! A stream for each owner: some at a time, each into an engine or file of its own, on one pacer,
//! and a last one that tells of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use exporter::{
    Monitor, Options, Owner, Parts, Progress, Service, SpoolOptions, StreamEnd, Streams, Summary,
    Tolerance, Verdict,
};
use tokio::task::JoinSet;

use super::{Outcome, Plan, UNSEALED, tell_waiting, tolerance, warn_of_roles, watched};
use crate::base;
use crate::cli::Export;
use crate::config::Tenant;
use crate::exit::{Code, Failure};
use crate::label::Label;
use crate::output;
use crate::progress::Shown;
use crate::report::{NAMED, StreamCounts};
use crate::signals::Stop;
use crate::state;
use crate::terminal;

/// Requests in flight that one stream needs to keep a mailbox busy (FACTS 2.2).
const LEAST_CONCURRENCY: usize = 4;
/// What an interruption at the very end leaves behind.
const NO_LAST: &str = "the stream _tenant is not stored";
/// Memory that a stream needs for content, in bytes.
const LEAST_MEMORY: u64 = 1 << 20;

pub(super) async fn run(
    args: &Arc<Export>,
    plan: Plan,
    tenant: Tenant,
    stop: &Stop,
    outcome: &mut Outcome,
) -> Result<Code, Failure> {
    let shown = Arc::new(Shown::new(args.progress));
    warn_of_roles(&tenant, &plan.services, shown.as_ref());
    let (services, named) = (plan.services.clone(), plan.services_named);
    let options = share(plan.options(args, &tenant), usize::from(args.sink.streams));
    let patient = tokio::spawn(tell_waiting(tenant.graph.clone(), Arc::clone(&shown)));
    let graph = tenant.graph.clone();
    let monitor = Arc::clone(&shown) as Arc<dyn Monitor>;
    let prepared = Streams::prepare(graph, options, monitor, stop.token()).await;
    let streams = prepared.map_err(|error| ended_by(error, stop))?;
    let together = Arc::new(Together { shown: Arc::clone(&shown), sums: Mutex::default() });
    let fleet = Fleet { args: Arc::clone(args), streams, tenant, stop: stop.clone(), together };
    let fleet = Arc::new(fleet);
    let ended = fleet.run(outcome).await;
    patient.abort();
    shown.finish();
    outcome.counters = Some(fleet.tenant.graph.counters());
    ended?;
    let verdict = verdict(args, outcome, &services, named);
    outcome.verdict = Some(verdict);
    Ok(if verdict == Verdict::Complete { Code::Success } else { Code::Missing })
}

/// What one of `count` streams may take of what the whole run may.
fn share(options: Options, count: usize) -> Options {
    let parts = count as u64;
    let spool = SpoolOptions {
        disk_bytes: options.spool.disk_bytes / parts,
        memory_bytes: (options.spool.memory_bytes / parts).max(LEAST_MEMORY),
        inventory_bytes: options.spool.inventory_bytes / parts,
        ..options.spool
    };
    let concurrency = options.concurrency.div_ceil(count).max(LEAST_CONCURRENCY);
    Options { spool, concurrency, ..options }
}

fn ended_by(error: exporter::Error, stop: &Stop) -> Failure {
    match error {
        exporter::Error::Interrupted => stop.failure(UNSEALED),
        error => error.into(),
    }
}

/// The verdict on a run all of whose streams are stored.
fn verdict(args: &Export, outcome: &Outcome, services: &[Service], named: bool) -> Verdict {
    let partial = outcome.streams.as_ref().is_some_and(|streams| streams.partial > 0);
    if partial || outcome.summary.plugin_failures > args.plugins.max_plugin_failures {
        return Verdict::TooMuchMissing;
    }
    // That nobody has a service can only be seen in all streams together.
    let allow_empty = args.outcome.allow_empty || outcome.shard.is_some();
    outcome.summary.verdict(Tolerance::Partial, services, named, allow_empty)
}

/// The streams of a run.
struct Fleet {
    args: Arc<Export>,
    streams: Streams,
    tenant: Tenant,
    stop: Stop,
    together: Arc<Together>,
}

/// How one stream ended.
struct Ended {
    owner: Owner,
    name: String,
    summary: Summary,
    result: Result<StreamEnd, Trouble>,
}

/// Why a stream is not stored.
struct Trouble {
    failure: Failure,
    /// It would be the same with every other one.
    is_general: bool,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        // The service is out, the credentials are refused, or we were told to stop.
        let general = [Code::TryAgain, Code::Refused, Code::Interrupted, Code::Terminated];
        Self { is_general: general.contains(&failure.code), failure }
    }
}

impl Fleet {
    async fn run(self: &Arc<Self>, outcome: &mut Outcome) -> Result<(), Failure> {
        let mut counts = StreamCounts { not_begun: self.streams.count(), ..Default::default() };
        let all = self.all(&mut counts, &mut outcome.summary).await;
        let told = match &all {
            // Nobody is there to take it.
            Err(failure) if failure.code == Code::Usage => Ok(()),
            _ if self.stop.is_requested() => Err(self.stop.failure(NO_LAST)),
            _ => self.conclude(&mut outcome.summary).await,
        };
        let missing = counts.failed + counts.not_begun;
        outcome.summary.sealed = missing == 0 && told.is_ok();
        let what = format!("{missing} of {} streams were not stored", self.streams.count());
        outcome.streams = Some(counts);
        all?;
        match missing {
            0 => told,
            // That we were told to stop says why.
            _ if told.is_err() && self.stop.is_requested() => told,
            _ => Err(Failure::new(Code::Fatal, what)),
        }
    }

    /// Runs the streams of all owners, so many at a time.
    async fn all(
        self: &Arc<Self>,
        counts: &mut StreamCounts,
        summary: &mut Summary,
    ) -> Result<(), Failure> {
        let mut running = JoinSet::new();
        let mut halted = None;
        loop {
            while halted.is_none() && running.len() < usize::from(self.args.sink.streams) {
                let Some(owner) = self.streams.next()? else { break };
                counts.not_begun -= 1;
                running.spawn(Arc::clone(self).one(owner));
            }
            let Some(ended) = running.join_next().await else {
                return halted.map_or(Ok(()), Err);
            };
            let ended = ended
                .map_err(|error| Failure::because(Code::Fatal, "a stream panicked", &error))?;
            if let Some(failure) = self.take(ended, counts, summary)? {
                halted.get_or_insert(failure);
            }
        }
    }

    /// Takes down how a stream ended; what ends the run is given back.
    fn take(
        &self,
        ended: Ended,
        counts: &mut StreamCounts,
        summary: &mut Summary,
    ) -> Result<Option<Failure>, Failure> {
        let Ended { owner, name, summary: own, result } = ended;
        summary.add(&own);
        self.together.end(&name);
        let end = *result.as_ref().unwrap_or(&StreamEnd::Failed);
        self.streams.record(&owner, end, &own)?;
        let count = match end {
            StreamEnd::Complete => &mut counts.complete,
            StreamEnd::Partial => &mut counts.partial,
            _ => &mut counts.failed,
        };
        *count += 1;
        if end != StreamEnd::Complete && counts.named.len() < NAMED {
            counts.named.push(name.clone());
        }
        match result {
            Ok(StreamEnd::Partial) => {
                let text = format!("{name}: more is missing than tolerated (see its ledger)");
                self.together.shown.warn(&text);
                Ok(None)
            }
            Ok(_) => Ok(None),
            Err(Trouble { failure, is_general: true }) => Ok(Some(failure)),
            Err(Trouble { failure, .. }) => {
                self.together.shown.warn(&format!("{name} is not stored: {failure}"));
                failure.hint_text().inspect(|hint| terminal::line(&format!("hint: {hint}")));
                Ok(None)
            }
        }
    }

    /// The stream of one owner.
    async fn one(self: Arc<Self>, owner: Owner) -> Ended {
        let label = Label::of(&owner);
        let mut summary = Summary::default();
        let result = self.stream(&owner, &label, &mut summary).await;
        Ended { owner, name: label.name, summary, result }
    }

    async fn stream(
        &self,
        owner: &Owner,
        label: &Label,
        summary: &mut Summary,
    ) -> Result<StreamEnd, Trouble> {
        let args = &self.args;
        let (base, _reader) = tokio::select! {
            base = base::open(&args.base, Some(label)) => base?,
            () = self.stop.requested() => return Err(self.stop.failure(UNSEALED).into()),
        };
        let path = args.base.state.as_deref().map(|path| label.path(path));
        let selection = self.streams.selection(owner);
        let states = state::read(path.as_deref(), &self.tenant.name, &selection)?;
        let opened = output::open(&args.sink, Some(label));
        // It is not there for any of them, or not for us.
        let general =
            |failure: Failure| Trouble { is_general: failure.code == Code::Usage, failure };
        let (output, engine) = opened.map_err(general)?;
        let copy = args.base.partial_copy.as_deref().map(|path| label.path(path));
        let output = output::with_copy(output, copy.as_deref())?;
        let monitor = OfStream { name: label.name.clone(), all: Arc::clone(&self.together) };
        let monitor = Arc::new(monitor) as Arc<dyn Monitor>;
        let parts = Parts { base, states: states.clone(), output, monitor };
        let export = self.streams.export(owner, parts, self.stop.token());
        let (own, ended) = watched(export, &self.stop, engine.as_ref()).await;
        *summary = own;
        ended?;
        if let (Some(states), Some(path)) = (states, path) {
            state::write(&path, &states);
        }
        let verdict = summary.verdict(tolerance(args), &[], false, true);
        let is_whole = verdict == Verdict::Complete;
        Ok(if is_whole { StreamEnd::Complete } else { StreamEnd::Partial })
    }

    /// The last stream.
    async fn conclude(&self, summary: &mut Summary) -> Result<(), Failure> {
        let label = Label::tenant();
        let (output, engine) = output::open(&self.args.sink, Some(&label))?;
        let conclude = self.streams.conclude(output, self.stop.token());
        let (own, ended) = watched(conclude, &self.stop, engine.as_ref()).await;
        summary.add(&own);
        // A consumer that goes away is one stream's matter here, and no stream may be missing.
        let code = |code| if code == Code::ConsumerGone { Code::Fatal } else { code };
        ended.map_err(|failure| {
            let what = format!("{} is not stored: {failure}", label.name);
            Failure::new(code(failure.code), what)
        })
    }
}

/// The numbers of all streams together, as they are shown.
struct Together {
    shown: Arc<Shown>,
    sums: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    ended: Progress,
    running: HashMap<String, Progress>,
}

impl Together {
    fn progress(&self, name: &str, progress: &Progress, path: &str) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        match sums.running.get_mut(name) {
            Some(known) => known.clone_from(progress),
            None => drop(sums.running.insert(name.to_owned(), progress.clone())),
        }
        let mut sum = sums.ended.clone();
        sums.running.values().for_each(|running| sum.add(running));
        drop(sums);
        self.shown.progress(&sum, path);
    }

    fn end(&self, name: &str) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = sums.running.remove(name) {
            sums.ended.add(&last);
        }
    }
}

/// One stream's share of them.
struct OfStream {
    name: String,
    all: Arc<Together>,
}

impl Monitor for OfStream {
    fn progress(&self, progress: &Progress, path: &str) {
        self.all.progress(&self.name, progress, path);
    }

    fn warn(&self, message: &str) {
        self.all.shown.warn(&format!("{}: {message}", self.name));
    }
}
