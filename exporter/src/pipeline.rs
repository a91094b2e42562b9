//! The whole of an export: sections in stream order, a few of them under way ahead of their
//! turn, one stream out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use archive::{Head, LedgerLine, Region, Seal};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use graph::Graph;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::base::{Base, OpenBase};
use crate::context::Context;
use crate::large::Sink;
use crate::monitor::{Monitor, Progress};
use crate::options::Options;
use crate::outcome::{Summary, Tally};
use crate::owner::{Owner, OwnerList, Owners};
use crate::queue::{Inlet, Outlet, queue};
use crate::section::{Event, Section, refused_for_all};
use crate::service::Service;
use crate::spool::Turn;
use crate::stream::{Command, Output, Stream as Archive};

/// Events of one section that wait for their turn in memory; more wait on disk.
const EVENTS_AHEAD: usize = 64;
/// Sections that have begun and are not written yet, whether they are at their end or not.
const MOST_SECTIONS: usize = 256;

/// Bytes of a large file of the base that are copied at a time.
const COPIED: usize = 256 * 1024;

/// Writes the selected content of the tenant to `output`. What has not changed since `base` is
/// taken from there.
///
/// The summary tells the numbers also of a run that failed. Before the first byte of a stream is
/// written, the token was got, the owners are listed, and each service was open to at least one
/// of them.
///
/// # Errors
/// See [`Error`]. The stream then carries the poison member, or nothing at all if it had not
/// begun.
pub async fn export(
    graph: Graph,
    options: Options,
    base: Option<Base>,
    output: Box<dyn Output>,
    monitor: Arc<dyn Monitor>,
    cancel: CancellationToken,
) -> (Summary, Result<(), Error>) {
    let tally = Arc::new(Tally::default());
    let run = run(graph, options, base, output, monitor, cancel, &tally);
    summarize(&tally, run.await)
}

/// The numbers of a run that ended so.
pub(crate) fn summarize(
    tally: &Tally,
    ended: Result<Option<Seal>, Error>,
) -> (Summary, Result<(), Error>) {
    match ended {
        Ok(seal) => {
            let mut summary = tally.summary();
            if let Some(seal) = seal {
                summary.sealed = true;
                summary.members = seal.members;
                summary.manifest_sha256 = Some(archive::hex(&seal.manifest.sha256));
                summary.seal_sha256 = Some(archive::hex(&seal.digest()));
            }
            (summary, Ok(()))
        }
        Err(error) => (tally.summary(), Err(error)),
    }
}

async fn run(
    graph: Graph,
    options: Options,
    base: Option<Base>,
    output: Box<dyn Output>,
    monitor: Arc<dyn Monitor>,
    cancel: CancellationToken,
    tally: &Arc<Tally>,
) -> Result<Option<Seal>, Error> {
    let prepared = async {
        let context = open(graph, options, base, monitor, tally).await?;
        let owners = prepare(&context).await?;
        Ok::<_, Error>((context, owners))
    };
    let (context, owners) = tokio::select! {
        () = cancel.cancelled() => return Err(Error::Interrupted),
        prepared = prepared => prepared?,
    };
    tally.owners.store(owners.ours.count, Ordering::Relaxed);
    let note = owners.tell_refused(&services(&context.options), tally);
    stream_out(&context, note, each(&owners.ours), output, cancel).await
}

/// Opens the base and all that the parts of a run share.
pub(crate) async fn open(
    graph: Graph,
    options: Options,
    base: Option<Base>,
    monitor: Arc<dyn Monitor>,
    tally: &Arc<Tally>,
) -> Result<Arc<Context>, Error> {
    let open = move || {
        let base = base.map(|base| OpenBase::open(base, &options)).transpose()?;
        Ok((base, options))
    };
    let (base, options) = patiently(open).await?;
    Ok(Arc::new(Context::new(Some(graph), options, tally, monitor, base)?))
}

/// Runs what may take for ever, because who writes the base does: not in this task, which is to
/// hear that it shall end.
async fn patiently<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let asked = tokio::task::spawn_blocking(ask).await;
    asked.unwrap_or(Err(Error::Internal("reading the base panicked")))
}

/// Writes what these owners have as one stream, after what is to be said of all.
pub(crate) async fn stream_out(
    context: &Arc<Context>,
    note: Option<LedgerLine>,
    owners: impl Stream<Item = Result<Owner, Error>>,
    output: Box<dyn Output>,
    cancel: CancellationToken,
) -> Result<Option<Seal>, Error> {
    let mut archive = Archive::start(output, writer(context), Arc::clone(&context.tally))?;
    let ours = Arc::clone(context);
    let whole = async {
        write(context, note, owners, &mut archive).await?;
        patiently(move || ours.base.as_ref().map_or(Ok(()), OpenBase::finish)).await
    };
    let written = tokio::select! {
        () = cancel.cancelled() => Err(Error::Interrupted),
        written = whole => written,
    };
    let may_name = context.options.plugins.is_empty();
    conclude(archive, written, may_name).await
}

pub(crate) fn writer(context: &Context) -> archive::writer::Options {
    archive::writer::Options {
        align: context.options.align,
        spool_dir: context.options.spool.dir.clone(),
    }
}

/// Ends the stream as what was written ended. Where plugins filter, its last words name nothing:
/// what failed may be what they were to keep back.
pub(crate) async fn conclude(
    mut archive: Archive,
    written: Result<(), Error>,
    may_name: bool,
) -> Result<Option<Seal>, Error> {
    match written {
        Ok(()) => {
            archive.send(Command::Finish).await?;
            archive.ended().await
        }
        Err(error) => {
            // Tell the consumer in the data. If the pipe is what failed, this fails as well, and
            // the first error is the one to report.
            let reason = match may_name {
                true => reason(&error),
                false => "the run failed; its own messages say why".to_owned(),
            };
            let _ = archive.send(Command::Fail(reason)).await;
            let _ = archive.ended().await;
            Err(error)
        }
    }
}

/// Everything that can fail before the first byte.
pub(crate) async fn prepare(context: &Context) -> Result<Owners, Error> {
    let dir = context.spool.dir();
    let owners =
        Owners::list(context.graph(), &context.options.services, &context.selector, dir).await?;
    if owners.named == 0 {
        return Err(Error::NoOwner { owners: owners.total });
    }
    for service in services(&context.options) {
        // The owners of other shards are asked when ours are refused: they decide whether all are.
        let all = each(&owners.ours).chain(each(&owners.others));
        if let Some((count, source)) = refused_for_all(context, all, service).await? {
            let source = Box::new(source);
            return Err(Error::Refused { service: service.name(), owners: count, source });
        }
    }
    Ok(owners)
}

/// The services in the order of the format, once each.
pub(crate) fn services(options: &Options) -> Vec<Service> {
    let mut services = options.services.clone();
    services.sort_unstable();
    services.dedup();
    services
}

/// Owners in stream order.
pub(crate) fn each(owners: &OwnerList) -> impl Stream<Item = Result<Owner, Error>> + '_ {
    stream::try_unfold(String::new(), move |after| async move {
        let batch = owners.after(&after, 64)?;
        let last = batch.last().map(|owner| owner.id.clone());
        Ok::<_, Error>(last.map(|last| (stream::iter(batch.into_iter().map(Ok)), last)))
    })
    .try_flatten()
}

/// What the last block of a failed stream says: the chain of causes, which hold no secrets.
fn reason(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A section under way. Dropping it stops it.
pub(crate) struct Running {
    section: Section,
    events: Inlet,
    task: JoinHandle<Result<(), Error>>,
    owner_done: bool,
}

impl Running {
    /// Starts a section as a task: it goes on by itself while the spool has room.
    pub(crate) fn start<F>(
        context: &Context,
        section: Section,
        owner_done: bool,
        run: impl FnOnce(Outlet) -> F,
    ) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let (outlet, events) = queue(&context.spool, EVENTS_AHEAD);
        let task = tokio::spawn(run(outlet));
        Self { section, events, task, owner_done }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the sections in their order, so many at a time, and writes them in that order. A section
/// that is at its end before its turn makes room for another: no mailbox waits for the output while
/// the spool has room.
async fn write(
    context: &Arc<Context>,
    note: Option<LedgerLine>,
    owners: impl Stream<Item = Result<Owner, Error>>,
    archive: &mut Archive,
) -> Result<(), Error> {
    let services = services(&context.options);
    archive.send(Command::Head(Box::new(head(&context.options, &services)))).await?;
    if let Some(line) = note {
        archive.send(Command::Ledger(line)).await?;
    }
    let (started, mut sections) = mpsc::channel(MOST_SECTIONS);
    let write = async {
        let mut done = 0;
        while let Some(section) = sections.recv().await {
            let section: Running = section;
            done += u64::from(section.owner_done);
            drain(context, section, archive).await?;
            context.tally.owners_done.store(done, Ordering::Relaxed);
        }
        Ok(())
    };
    tokio::try_join!(start(context, owners, services, started), write).map(|_| ())
}

async fn start(
    context: &Arc<Context>,
    owners: impl Stream<Item = Result<Owner, Error>>,
    services: Vec<Service>,
    started: mpsc::Sender<Running>,
) -> Result<(), Error> {
    let mut owners = std::pin::pin!(owners);
    let mut index = 0;
    while let Some(owner) = owners.try_next().await? {
        let owner = Arc::new(owner);
        let his = services.iter().filter(|service| service.serves(owner.kind));
        let last = his.clone().next_back();
        for service in his {
            let section = Section { index, owner: Arc::clone(&owner), service: *service };
            let share = context.share().await?;
            let (ours, run) = (Arc::clone(context), section.clone());
            let running =
                Running::start(context, section, Some(service) == last, |outlet| async move {
                    let ended = run.run(ours, outlet).await;
                    drop(share);
                    ended
                });
            if started.send(running).await.is_err() {
                return Ok(());
            }
            index += 1;
        }
    }
    Ok(())
}

pub(crate) fn head(options: &Options, services: &[Service]) -> Head {
    let mut head = Head::new(
        options.tenant.clone(),
        services.iter().map(|service| service.name().to_owned()).collect(),
        options.selection.to_json(),
        options.plugins.references(),
    );
    // An option that changes nothing of what there is does not show.
    if services.contains(&Service::Contacts) {
        head.vcard = options.vcard;
    }
    head
}

/// Writes all that one section has to say.
pub(crate) async fn drain(
    context: &Context,
    mut running: Running,
    archive: &mut Archive,
) -> Result<(), Error> {
    context.spool.set_head(Turn { section: running.section.index, item: 0 });
    while let Some(event) = running.events.next().await? {
        let turn = match event {
            Event::Ledger(line) => {
                archive.send(Command::Ledger(line)).await?;
                continue;
            }
            Event::Directory { path, mtime } => {
                archive.send(Command::Directory { path, mtime }).await?;
                continue;
            }
            // Their turns pass when they are written: until then they hold their room.
            Event::Metadata { path, content } => {
                report(context, &path);
                archive.send(Command::File { path, mtime: 0, item: false, content }).await?;
                continue;
            }
            Event::Item { path, mtime, content, .. } => {
                report(context, &path);
                // As short as what the queue reads: giving up the thread for it would cost more.
                let content =
                    content.fetch_short().map_err(|source| context.spool_error(source))?;
                archive.send(Command::File { path, mtime, item: true, content }).await?;
                continue;
            }
            Event::Large { turn, large, id } => {
                report(context, &large.path);
                if let Some(note) = large.write(context, &mut Sink::Archive(archive)).await? {
                    archive.send(Command::Ledger(note.of_item(&large.path, &id))).await?;
                }
                turn
            }
            Event::Filtered { turn, filtered } => {
                report(context, filtered.path());
                if let Some(note) = filtered.write(&running.section, context, archive).await? {
                    let line = note.of_item(filtered.path(), filtered.id());
                    archive.send(Command::Ledger(line)).await?;
                }
                turn
            }
            Event::Dropped { .. } | Event::Withheld => {
                return Err(Error::Internal("an item without a decision was to be written"));
            }
            Event::Copied { turn, path, mtime, region } => {
                report(context, &path);
                copy(context, archive, path, mtime, &region).await?;
                turn
            }
            Event::Passed { turn } => turn,
        };
        context.spool.set_head(Turn { item: turn.item + 1, ..turn });
    }
    match (&mut running.task).await {
        Ok(ended) => ended,
        Err(_) => Err(Error::Internal("a section panicked")),
    }
}

/// A file of the base that is too large for the spool: streamed, as it was then.
async fn copy(
    context: &Context,
    archive: &mut Archive,
    path: String,
    mtime: i64,
    region: &Region,
) -> Result<(), Error> {
    archive.send(Command::Begin { path, mtime, size: region.length() }).await?;
    let mut reader = region.reader();
    loop {
        let mut piece = vec![0; COPIED];
        let read = tokio::task::block_in_place(|| std::io::Read::read(&mut reader, &mut piece));
        let read = read.map_err(|source| context.spool_error(source))?;
        if read == 0 {
            return archive.send(Command::End { damaged: false }).await;
        }
        piece.truncate(read);
        archive.send(Command::Chunk(piece.into())).await?;
    }
}

fn report(context: &Context, path: &str) {
    let tally = &context.tally;
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    context.monitor.progress(
        &Progress {
            owners_done: load(&tally.owners_done),
            owners: load(&tally.owners),
            listed: load(&tally.listed),
            items: load(&tally.items),
            bytes: load(&tally.bytes),
            skipped: tally.outcome(archive::Outcome::Skipped),
            failed: tally.outcome(archive::Outcome::Failed),
        },
        path,
    );
}
