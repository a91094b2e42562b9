//! `export`: a tenant as one tar, or as one for each owner.

mod each;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archive::{Selection, Shard};
use chrono::Utc;
use exporter::{
    Base, Monitor, Options, Service, Silent, SpoolOptions, Summary, Tolerance, Verdict,
};
use graph::Counters;
use plugin_host::Chain;
use tokio_util::sync::CancellationToken;

use crate::base;
use crate::cli::{Export, ProgressMode, Sink, SpoolArgs};
use crate::config::{self, Tenant};
use crate::exit::{Code, Failure};
use crate::label;
use crate::output;
use crate::plugins;
use crate::program::Program;
use crate::progress::Shown;
use crate::report::{Report, StreamCounts};
use crate::shard;
use crate::signals::{self, Stop};
use crate::state;
use crate::terminal;

/// What an interruption leaves behind.
const UNSEALED: &str = "the stream has no seal";
/// After this long without a byte the user is told that we wait.
const WAITING: Duration = Duration::from_secs(30);
/// How long a stream that is being interrupted may take to say so in its data. The consumer may
/// be blocked; schedulers send SIGKILL after 10 s.
const LAST_WORDS: Duration = Duration::from_secs(4);
/// Bytes that the spool's disk must take before a stream begins.
const LEAST_ROOM: usize = 64 << 10;

pub(super) async fn run(args: Export) -> Result<Code, Failure> {
    let args = Arc::new(args);
    let started = Utc::now();
    let mut outcome = Outcome::default();
    let ended = planned(&args, &mut outcome).await;
    write_reports(&args, started, &outcome, &ended);
    if ended.is_ok() {
        last_line(&args, &outcome);
    }
    ended
}

async fn planned(args: &Arc<Export>, outcome: &mut Outcome) -> Result<Code, Failure> {
    let plan = tokio::task::block_in_place(|| Plan::new(args))?;
    outcome.shard = plan.selection.shard;
    export(args, plan, &signals::watch()?, outcome).await
}

/// What the flags say, checked before anything is asked or written.
struct Plan {
    selection: Selection,
    services: Vec<Service>,
    services_named: bool,
    spool: SpoolOptions,
    plugins: Chain,
}

impl Plan {
    fn new(args: &Export) -> Result<Self, Failure> {
        let (services, services_named) = config::services(&args.selection)?;
        let mut selection = config::selection(&args.selection)?;
        selection.shard = shard::chosen(&args.shard)?;
        output::refuse_terminal(&args.sink)?;
        let spool = spool(&args.spool)?;
        let plugins = plugins::chain(&args.plugins)?;
        refuse_names(args)?;
        Ok(Self { selection, services, services_named, spool, plugins })
    }

    /// All of it, as one stream.
    fn options(self, args: &Export, tenant: &Tenant) -> Options {
        Options {
            plugins: self.plugins,
            states: None,
            services: self.services,
            selection: self.selection,
            concurrency: usize::from(args.concurrency),
            spool: self.spool,
            align: args.sink.align,
            include_recoverable: args.include_recoverable,
            vcard: args.vcard.into(),
            tenant: tenant.name.clone(),
            without_message_delta: tenant.without_message_delta,
        }
    }
}

/// One stream has no name to fill in. Commands for it may have braces of their own.
fn refuse_names(args: &Export) -> Result<(), Failure> {
    let base = &args.base;
    let paths = [&base.base, &base.state, &base.partial_copy];
    let paths = paths.into_iter().flatten().filter_map(|path| path.to_str());
    let mut texts = paths.chain(base.base_command.as_deref());
    if !args.sink.is_divided() && texts.any(label::is_template) {
        return Err(Failure::usage("{name} is the name of one of many streams")
            .hint("--each COMMAND, or --output FILE with {name} in it, makes one for each owner"));
    }
    Ok(())
}

/// What is known of a run when it ends, however it ends.
#[derive(Default)]
struct Outcome {
    tenant: String,
    shard: Option<Shard>,
    summary: Summary,
    verdict: Option<Verdict>,
    counters: Option<Counters>,
    /// With a stream for each owner.
    streams: Option<StreamCounts>,
}

async fn export(
    args: &Arc<Export>,
    plan: Plan,
    stop: &Stop,
    outcome: &mut Outcome,
) -> Result<Code, Failure> {
    let tenant = tokio::select! {
        tenant = config::connect(&args.connection) => tenant?,
        () = stop.requested() => return Err(stop.failure(UNSEALED)),
    };
    outcome.tenant.clone_from(&tenant.name);
    if args.sink.is_divided() {
        return each::run(args, plan, tenant, stop, outcome).await;
    }
    // Only now: an engine of ours must not be started, nor a file touched, for a tenant that does
    // not let us in.
    let (base, _reader) = tokio::select! {
        base = base::open(&args.base, None) => base?,
        () = stop.requested() => return Err(stop.failure(UNSEALED)),
    };
    let (output, engine) = output::open(&args.sink, None)?;
    let output = output::with_copy(output, args.base.partial_copy.as_deref())?;
    let shown = Arc::new(Shown::new(args.progress));
    warn_of_roles(&tenant, &plan.services, shown.as_ref());
    let states = state::read(args.base.state.as_deref(), &tenant.name, &plan.selection)?;
    let services = plan.services.clone();
    let named = plan.services_named;
    let options = Options { states: states.clone(), ..plan.options(args, &tenant) };
    let export = exporter::export(
        tenant.graph.clone(),
        options,
        base,
        output,
        Arc::clone(&shown) as Arc<dyn Monitor>,
        stop.token(),
    );
    let patient = tokio::spawn(tell_waiting(tenant.graph.clone(), Arc::clone(&shown)));
    let (summary, ended) = watched(export, stop, engine.as_ref()).await;
    patient.abort();
    shown.finish();
    outcome.counters = Some(tenant.graph.counters());
    outcome.summary = summary;
    ended?;
    // Only now: what the next run leaves out must be safe in this one.
    if let (Some(states), Some(path)) = (states, &args.base.state) {
        state::write(path, &states);
    }
    let verdict = verdict(args, outcome, &services, named);
    outcome.verdict = Some(verdict);
    Ok(if verdict == Verdict::Complete { Code::Success } else { Code::Missing })
}

pub(super) fn spool(args: &SpoolArgs) -> Result<SpoolOptions, Failure> {
    let dir = args.spool_dir.clone().unwrap_or_else(exporter::default_spool_dir);
    let unusable = |code, error: &std::io::Error| {
        Failure::because(code, &format!("using the spool directory {}", dir.display()), error)
            .hint("--spool-dir names a directory for temporary files")
    };
    let bad = |error: std::io::Error| unusable(Code::Usage, &error);
    let mut spool = SpoolOptions::in_dir(dir.clone()).map_err(bad)?;
    // Found out now: later it would cost a stream.
    let mut file = tempfile::tempfile_in(&dir).map_err(bad)?;
    file.write_all(&[0; LEAST_ROOM]).map_err(|error| unusable(Code::Fatal, &error))?;
    drop(file);
    if exporter::spool_dir_is_memory(&dir) {
        terminal::line(&format!(
            "tar365: warning: the spool directory {} is in memory; --spool-dir names another",
            dir.display()
        ));
    }
    if let Some(limit) = args.spool_limit {
        spool.disk_bytes = limit.as_u64();
    }
    Ok(spool)
}

type Ended = (Summary, Result<(), Failure>);

/// Awaits the export; once it is interrupted, not for longer than [`LAST_WORDS`].
async fn watched(
    export: impl Future<Output = (Summary, Result<(), exporter::Error>)>,
    stop: &Stop,
    engine: Option<&Program>,
) -> Ended {
    let deadline = async {
        stop.requested().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        (summary, ended) = export => (summary, ended.map_err(|error| match error {
            exporter::Error::Interrupted => stop.failure(UNSEALED),
            error => error.into(),
        })),
        () = deadline => {
            if let Some(engine) = engine.cloned() {
                // Not on this thread: others may have engines to end, too.
                drop(tokio::task::spawn_blocking(move || engine.end()).await);
            }
            (Summary::default(), Err(stop.failure(UNSEALED)))
        }
    }
}

/// Says when nothing comes because the service does not answer or tells us to wait.
async fn tell_waiting(graph: graph::Graph, shown: Arc<Shown>) {
    let mut before = graph.counters();
    loop {
        tokio::time::sleep(WAITING).await;
        let now = graph.counters();
        if now.bytes == before.bytes {
            shown.warn(&format!(
                "nothing from the service for {} s; {} retries, {} times told to slow down so far",
                WAITING.as_secs(),
                now.retries,
                now.throttled
            ));
        }
        before = now;
    }
}

fn warn_of_roles(tenant: &Tenant, services: &[Service], monitor: &Shown) {
    let Some(roles) = &tenant.identity.roles else {
        return;
    };
    for service in services {
        if !service.roles().iter().any(|role| roles.iter().any(|held| held == role)) {
            monitor.warn(&format!(
                "the token has no permission for {}: {} is missing",
                service.name(),
                service.roles()[0]
            ));
        }
    }
}

/// The verdict on what was written, by the flags.
fn verdict(args: &Export, outcome: &Outcome, services: &[Service], named: bool) -> Verdict {
    let summary = &outcome.summary;
    if summary.plugin_failures > args.plugins.max_plugin_failures {
        return Verdict::TooMuchMissing;
    }
    // That nobody has a service can only be seen in all shards together.
    let allow_empty = args.outcome.allow_empty || outcome.shard.is_some();
    summary.verdict(tolerance(args), services, named, allow_empty)
}

fn tolerance(args: &Export) -> Tolerance {
    match (args.outcome.strict, args.outcome.allow_partial) {
        (true, _) => Tolerance::Strict,
        (_, true) => Tolerance::Partial,
        _ => Tolerance::Default,
    }
}

/// The loud last line: a silent 0 is the field's worst habit.
fn last_line(args: &Export, outcome: &Outcome) {
    let Outcome { summary, verdict, .. } = outcome;
    let what = match verdict {
        Some(Verdict::TooMuchMissing) => "INCOMPLETE, more is missing than tolerated",
        _ if summary.owners == 0 => "complete, but no owner belongs to it",
        Some(Verdict::Empty) => "EMPTY, no owner has the service (--allow-empty)",
        _ if summary.failed + summary.damaged + summary.failed_listings > 0 => {
            "sealed, but some items are missing"
        }
        _ => "complete",
    };
    if args.progress == ProgressMode::Json {
        let line = serde_json::json!({
            "message_type": "summary", "verdict": verdict, "summary": summary,
        });
        return terminal::line(&line.to_string());
    }
    if summary.from_base > 0 {
        terminal::line(&format!(
            "tar365: {} of {} items from the base, {} of them fetched and equal but for \
             boundaries; {} bad in the base, {} of {} fetched for comparison drifted",
            summary.from_base,
            summary.items,
            summary.kept,
            summary.bad_in_base,
            summary.drifted,
            summary.reread
        ));
    }
    if !args.plugins.plugin.is_empty() {
        terminal::line(&format!(
            "tar365: plugins: {} dropped, {} failed",
            summary.dropped, summary.plugin_failures
        ));
    }
    let shard = outcome.shard.map(|shard| format!("shard {shard}: ")).unwrap_or_default();
    let streams = outcome.streams.as_ref();
    let streams = streams.map(|s| format!("{} streams, ", s.complete + s.partial));
    let streams = streams.unwrap_or_default();
    terminal::line(&format!(
        "tar365: {shard}{what}: {streams}{} owners, {} items, {} bytes; {} skipped, {} failed, {} converted, {} \
         damaged, {} failed listings{}",
        summary.owners,
        summary.items,
        summary.bytes,
        summary.skipped,
        summary.failed,
        summary.converted,
        summary.damaged,
        summary.failed_listings,
        if summary.skipped + summary.failed + summary.converted + summary.damaged > 0 {
            " (see .tar365/ledger.ndjson)"
        } else {
            ""
        }
    ));
}

fn write_reports(
    args: &Export,
    started: chrono::DateTime<Utc>,
    outcome: &Outcome,
    ended: &Result<Code, Failure>,
) {
    let error = ended.as_ref().err().map(ToString::to_string);
    let report = Report {
        started,
        ended: Utc::now(),
        tenant: &outcome.tenant,
        shard: outcome.shard,
        summary: &outcome.summary,
        verdict: outcome.verdict,
        counters: outcome.counters.as_ref(),
        streams: outcome.streams.as_ref(),
        code: ended.as_ref().map_or_else(|failure| failure.code, |code| *code),
        error: error.as_deref(),
    };
    let written = [
        args.report.as_ref().map(|path| (path, report.write(path))),
        args.metrics.as_ref().map(|path| (path, report.write_metrics(path))),
    ];
    for (path, result) in written.into_iter().flatten() {
        if let Err(error) = result {
            // The archive is what counts; a report that can't be written must not undo it.
            terminal::line(&format!("tar365: warning: writing {}: {error}", path.display()));
        }
    }
}

/// Exports the tenant into a file.
pub(super) async fn to_file(
    archive: &Path,
    tenant: &Tenant,
    options: Options,
    base: Option<Base>,
) -> Result<exporter::Summary, Failure> {
    let (output, _) = output::open(&Sink::file(archive), None)?;
    let (summary, ended) = exporter::export(
        tenant.graph.clone(),
        options,
        base,
        output,
        Arc::new(Silent),
        CancellationToken::new(),
    )
    .await;
    ended?;
    Ok(summary)
}
