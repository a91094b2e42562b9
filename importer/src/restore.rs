//! The restore itself: sections side by side, the items of each as many at a time as its place
//! allows, every step in the journal.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use futures::stream::{self, FuturesUnordered};
use tokio_util::sync::CancellationToken;

use crate::choice::Choice;
use crate::error::Error;
use crate::item::Item;
use crate::journal::{Journal, Known};
use crate::monitor::Monitor;
use crate::options::{Destination, Options};
use crate::outcome::{Summary, Tally};
use crate::place::{AnyPlace, Loss, Place as _};
use crate::section::Section;
use crate::target::Target;
use crate::turns::Turns;
use crate::walk::{Ask, Job, Source, Task, Walk, Walked};

/// Mailboxes and drives that are filled side by side: each has limits of its own.
const SECTIONS: usize = 4;

/// Refusals in a row for want of room, after which a mailbox or drive counts as full.
const FULL: u32 = 3;

/// What a restore needs to know beside [`Options`].
pub struct Order<'a> {
    /// Where items go.
    pub target: &'a Target,
    /// What is wanted.
    pub choice: &'a Choice,
    /// How.
    pub options: &'a Options,
    /// The journal's file; made if it is not there, continued if it is.
    pub journal: &'a Path,
    /// Only what earlier runs with this journal did not bring home.
    pub only_failed: bool,
    /// Ends the run when it is cancelled.
    pub stop: CancellationToken,
}

/// Puts what is wanted of the archive into the target.
///
/// The numbers are true however it ends. Items that fail are counted, not errors.
///
/// # Errors
/// What made it pointless to go on; [`Error::Archive`] also for an archive that broke off, and
/// [`Error::Interrupted`] if it was told to stop.
pub async fn restore(
    source: Source,
    order: &Order<'_>,
    monitor: &dyn Monitor,
) -> (Summary, Result<(), Error>) {
    let tally = Tally::default();
    let ended = tokio::select! {
        ended = run(source, order, monitor, &tally) => ended,
        () = order.stop.cancelled() => Err(Error::Interrupted),
    };
    let mut summary = tally.summary();
    let result = match ended {
        Ok(walked) => {
            let is_sealed = |end: &archive::End| matches!(end, archive::End::Sealed(_));
            summary.sealed = walked.end.as_ref().map(is_sealed);
            if walked.broken.is_some() {
                summary.sealed = Some(false);
            }
            conclude(walked)
        }
        Err(error) => Err(error),
    };
    (summary, result)
}

/// What the archive's end means for the run.
fn conclude(walked: Walked) -> Result<(), Error> {
    // What was asked for was restored; that the archive is no whole one is told all the same.
    match (walked.broken, walked.end) {
        (Some(broken), _) => Err(broken.into()),
        (None, Some(end)) => Ok(end.into_seal().map(drop)?),
        (None, None) => Ok(()),
    }
}

async fn run(
    source: Source,
    order: &Order<'_>,
    monitor: &dyn Monitor,
    tally: &Tally,
) -> Result<Walked, Error> {
    let about = order.target.about(order.options);
    let journal = match order.only_failed {
        true => {
            // It must be there: nothing failed in a run that never was.
            Journal::open_existing(order.journal)?;
            Journal::open(order.journal, &about)?
        }
        false => Journal::open(order.journal, &about)?,
    };
    let journal = Arc::new(journal);
    let ask = Ask {
        chooser: order.choice.compile()?,
        only_failed: order.only_failed.then(|| Arc::clone(&journal)),
        incomplete: order.options.incomplete,
        spool_dir: order.options.spool_dir.clone(),
        spool_limit: order.options.spool_limit,
        contents: true,
    };
    let mut walk = Walk::begin(source, ask);
    let context = Context {
        order,
        monitor,
        tally,
        journal: &journal,
        turns: Turns::default(),
        refused: Mutex::default(),
    };
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = under_way.next(), if !under_way.is_empty() => ended?,
            task = walk.tasks.recv(), if under_way.len() < SECTIONS => match task {
                Some(task) => under_way.push(context.section(task)),
                None => break,
            },
        }
    }
    while let Some(ended) = under_way.next().await {
        ended?;
    }
    let walked = walk.ended().await?;
    context.disprove(&walked)?;
    for (section, what) in &walked.damaged {
        let used = if order.options.incomplete { "only what can be read of it" } else { "nothing" };
        monitor.warn(&format!("{section}: its metadata is damaged, {used} was restored: {what}"));
    }
    tally.damaged_sections(&walked.damaged);
    // Refused everywhere is not a matter of items (design 6).
    let refused = context.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
    match refused {
        Some(error) if tally.summary().places.is_empty() => Err(error),
        _ => Ok(walked),
    }
}

struct Context<'a> {
    order: &'a Order<'a>,
    monitor: &'a dyn Monitor,
    tally: &'a Tally,
    journal: &'a Arc<Journal>,
    turns: Turns,
    /// The first section that we were not let into.
    refused: Mutex<Option<Error>>,
}

impl Context<'_> {
    /// One section from its first folder to its last item.
    async fn section(&self, task: Task) -> Result<(), Error> {
        let Task { mut section, work, mut jobs } = task;
        let turn = self.turns.of(&section, self.order.options);
        let _turn = turn.lock().await;
        if let Destination::Beside { label: Some(label) } = &self.order.options.destination {
            section.label.clone_from(label);
        }
        let wanted = work.count()?;
        let whole = !self.order.choice.names_items() && !self.order.only_failed;
        if wanted == 0 && !whole {
            return Ok(());
        }
        self.tally.wanted(wanted);
        let place = match self.open(&section).await {
            Ok(place) => place,
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                // Nothing of it can be restored: the items are counted as what they lack.
                jobs.close();
                self.monitor.warn(&format!("{}: {}", section.prefix, crate::error::chain(&error)));
                self.give_up(&section.prefix, &error, |after| work.next_item(after))?;
                if error.cause() == "refused" {
                    let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                    refused.get_or_insert(error);
                }
                return Ok(());
            }
        };
        self.tally.place(&section.prefix, &place.shown());
        if whole {
            self.folders(&section.prefix, &place, &work).await?;
        }
        let run = Run {
            context: self,
            place: &place,
            section: &section.prefix,
            work: &work,
            refusals: AtomicU32::new(0),
        };
        let limit = place.concurrency().min(self.order.options.concurrency).max(1);
        let jobs = stream::poll_fn(|context| jobs.poll_recv(context));
        let mut results = jobs.map(|job| run.job(job)).buffer_unordered(limit);
        while let Some(result) = results.next().await {
            result?;
        }
        drop(results);
        place.finish().await?;
        let cause = Error::Item {
            cause: "missing",
            what: "the archive lists it but does not hold it; its ledger says why".into(),
        };
        self.give_up(&section.prefix, &cause, |after| work.next_missing(after))
    }

    /// Opens the place, with the folder that everything goes into: what can't even do that can do
    /// nothing else.
    async fn open(&self, section: &Section) -> Result<AnyPlace, Error> {
        let place = self.order.target.open(section, self.order.options, self.journal).await?;
        place.folder(&[]).await?;
        Ok(place)
    }

    /// All folders, also those that nothing is in.
    async fn folders(
        &self,
        section: &str,
        place: &AnyPlace,
        work: &crate::work::Work,
    ) -> Result<(), Error> {
        let chooser = self.order.choice.compile()?;
        let mut after = String::new();
        while let Some((id, path)) = work.next_folder(&after)? {
            after = id;
            if path.is_some_and(|path| !chooser.folder(&path)) {
                continue;
            }
            let trail = work.trail(&after)?;
            match place.folder(&trail).await {
                Ok(()) => {}
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    let name = trail.last().map_or("", |folder| folder.path.as_str());
                    let text = crate::error::chain(&error);
                    self.monitor.warn(&format!("{section}/{name}: not made: {text}"));
                }
            }
        }
        Ok(())
    }

    /// Items that did not even come so far are counted and journaled. Those that an earlier run
    /// restored are where they should be.
    fn give_up(
        &self,
        section: &str,
        error: &Error,
        next: impl Fn(i64) -> Result<Option<(i64, String)>, Error>,
    ) -> Result<(), Error> {
        let mut after = 0;
        while let Some((seq, path)) = next(after)? {
            after = seq;
            if self.is_done(section, &path)? {
                continue;
            }
            self.tally.failed(&path, error);
            self.journal.fail(section, &path, error)?;
        }
        Ok(())
    }

    /// Whether an earlier run restored an item, which is counted then.
    fn is_done(&self, section: &str, path: &str) -> Result<bool, Error> {
        let is_done = self.journal.known(section, path)? == Known::Done;
        if is_done {
            self.tally.known();
        }
        Ok(is_done)
    }

    fn disprove(&self, walked: &Walked) -> Result<(), Error> {
        for (section, path) in &walked.disproven {
            let what = "the manifest at the end of the archive says that its bytes are damaged: \
                        what was restored is not to be trusted";
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, what);
            let error = Error::Content { path: path.clone(), source };
            self.tally.disproven(path, &error);
            self.journal.fail(section, path, &error)?;
        }
        Ok(())
    }
}

/// The items of one section.
struct Run<'a> {
    context: &'a Context<'a>,
    place: &'a AnyPlace,
    section: &'a str,
    work: &'a crate::work::Work,
    /// How often in a row there was no room.
    refusals: AtomicU32,
}

impl Run<'_> {
    async fn job(&self, job: Job) -> Result<(), Error> {
        let Context { tally, journal, monitor, .. } = self.context;
        let (path, result) = match job {
            Job::Bad { path, error } if path.is_empty() => return Err(error),
            Job::Bad { path, error: error @ Error::Spool { .. } } => {
                drop(path);
                return Err(error);
            }
            Job::Bad { path, .. } if self.context.is_done(self.section, &path)? => return Ok(()),
            Job::Bad { path, error } => (path, Err(error)),
            Job::Item(mut item) => {
                match journal.known(self.section, &item.path)? {
                    Known::Done => {
                        tally.known();
                        return Ok(());
                    }
                    known => {
                        item.is_doubtful = matches!(known, Known::Doubtful | Known::Failed);
                        item.may_be_late = known == Known::Doubtful;
                    }
                }
                let result = match self.refusals.load(Ordering::Relaxed) {
                    FULL.. => Err(full()),
                    _ => self.item(&item).await,
                };
                (item.path, result)
            }
        };
        self.count_refusals(&result);
        if let Err(error) = result {
            // A damaged member is the item's failure; anything else of that kind is everybody's.
            if error.is_fatal() && !matches!(error, Error::Archive(_)) {
                return Err(error);
            }
            tally.failed(&path, &error);
            journal.fail(self.section, &path, &error)?;
        }
        monitor.progress(&tally.progress(), &path);
        Ok(())
    }

    /// What is full takes no more: the rest would cost hours to be refused (FACTS 6.2). A smaller
    /// item may still have had room, so it takes some in a row.
    fn count_refusals(&self, result: &Result<(), Error>) {
        match result {
            Ok(()) => self.refusals.store(0, Ordering::Relaxed),
            Err(error) if error.cause() == "quota" => {
                if self.refusals.fetch_add(1, Ordering::Relaxed) + 1 == FULL {
                    let text = format!("{}: no room left, the rest is not tried", self.section);
                    self.context.monitor.warn(&text);
                }
            }
            Err(_) => {}
        }
    }

    async fn item(&self, item: &Item) -> Result<(), Error> {
        let Context { tally, journal, .. } = self.context;
        let trail = self.work.trail_of(&item.line)?;
        journal.begin(self.section, &item.path, &item.line.id)?;
        let mut restored = self.place.put(item, &trail).await?;
        if item.converted && !restored.losses.contains(&Loss::Converted) {
            restored.losses.push(Loss::Converted);
        }
        journal.done(self.section, &item.path, &restored)?;
        tally.restored(item, &restored);
        Ok(())
    }
}

fn full() -> Error {
    let what = "not tried: others found no room before".to_owned();
    Error::Item { cause: "quota", what }
}
