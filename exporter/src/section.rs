//! One service of one owner: listed, named, its metadata written, its items fetched in order.
//!
//! A section runs as a task of its own ahead of its turn and hands its events to the writer
//! through a bounded channel; how far ahead it gets is bounded by that and by the spool.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use archive::metadata::{self, Line};
use archive::{LedgerLine, Outcome, Region, Sha256Digest};
use futures::stream::{self, BoxStream, FuturesUnordered};
use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::Error;
use crate::base::{Earlier, OpenBase, SectionBase};
use crate::context::Context;
use crate::filter::{Decided, Drops, Filtered};
use crate::inventory::{Inventory, Item};
use crate::large::Large;
use crate::outcome::Tally;
use crate::owner::Owner;
use crate::queue::Outlet;
use crate::service::{Asked, Fetched, Listing, Note, Opened, Presence, Service};
use crate::spool::{Spooled, Turn};
use crate::state::Seeds;

/// Rows read from the inventory at a time.
pub(crate) const BATCH: u32 = 32;

/// What a section has to say, in stream order.
#[derive(Debug)]
pub(crate) enum Event {
    Ledger(LedgerLine),
    Directory {
        path: String,
        mtime: i64,
    },
    Metadata {
        path: String,
        content: Spooled,
    },
    Item {
        path: String,
        mtime: i64,
        content: Spooled,
        /// If plugins had to decide on it: digest of what they were given.
        given: Option<Sha256Digest>,
    },
    Large {
        turn: Turn,
        large: Box<Large>,
        id: String,
    },
    /// A large file of the base, proven.
    Copied {
        turn: Turn,
        path: String,
        mtime: i64,
        region: Region,
    },
    /// A large file that went through plugins.
    Filtered {
        turn: Turn,
        filtered: Box<Filtered>,
    },
    /// An item without content: its turn passes.
    Passed {
        turn: Turn,
    },
    /// A plugin dropped it: no trace of it is to be written.
    Dropped {
        plugin: String,
    },
    /// A plugin failed on it; the ledger says so.
    Withheld,
}

/// A section: whose, what, and its place in the stream.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) index: u64,
    pub(crate) owner: Arc<Owner>,
    pub(crate) service: Service,
}

impl Section {
    pub(crate) fn base(&self) -> String {
        format!("{}/{}", self.owner.path(), self.service.name())
    }

    /// Runs to the end, or until nobody listens any more.
    pub(crate) async fn run(self, context: Arc<Context>, outlet: Outlet) -> Result<(), Error> {
        let number = self.index;
        let ended = self.all(&context, outlet).await;
        if let Some(base) = &context.base {
            base.section_done(number);
        }
        ended
    }

    async fn all(self, context: &Arc<Context>, outlet: Outlet) -> Result<(), Error> {
        let base = self.base();
        if context.selector.excludes_subtree(&base) {
            return Ok(());
        }
        let root = match self.service.find(context, &self.owner).await? {
            Presence::Present(root) => Arc::new(root),
            Presence::Absent(note) => {
                if note.outcome == Outcome::Failed {
                    Tally::add(&context.tally.failed_listings, 1);
                }
                context.tally.count_uncovered(self.service, &note, "all");
                return outlet.send(Event::Ledger(note.of_scope(&base))).await;
            }
            Presence::Refused(error) => {
                let message = "the service refuses this owner to the app";
                let note = Note::new(Outcome::Skipped, "refused", message).with_code(&error);
                context.tally.count_uncovered(self.service, &note, "all");
                return outlet.send(Event::Ledger(note.of_scope(&base))).await;
            }
        };
        context.tally.count_owner_with(self.service);
        let inventory = context.inventory()?;
        let seeds = self.seeds(context)?;
        let of = Opened { context, owner: &self.owner, root: &root, inventory: &inventory };
        let listing = self.service.list(of, seeds).await?;
        // What is said of single folders stands in the ledger.
        for (_, note) in listing.notes.iter().filter(|(folder, _)| folder.is_empty()) {
            context.tally.count_uncovered(self.service, note, "parts");
        }
        Tally::add(&context.tally.listed, inventory.items()?);
        Tally::add(&context.tally.failed_listings, listing.failed);
        tokio::task::block_in_place(|| {
            inventory.arrange(&listing.root, &base)?;
            choose(&inventory, context)
        })?;
        let mut drops = Drops::default();
        let mut lines = self.not_covered(context, &base);
        if !context.options.plugins.is_empty() {
            // Plugins make lines that name an id alone: one that names the section comes first.
            for line in std::mem::take(&mut lines) {
                outlet.send(Event::Ledger(line)).await?;
            }
        }
        self.filter(context, &inventory, &listing, &outlet, &mut drops).await?;
        let decided = match context.options.plugins.wants_content(self.service.name()) {
            true => Some(self.decide(context, &inventory, &root, &outlet, &mut drops).await?),
            false => None,
        };
        tokio::task::block_in_place(|| inventory.use_folders())?;
        lines.extend(drops.lines(&base));
        self.ledger(&inventory, &listing, lines, &outlet).await?;
        let digest = self.metadata(context, &inventory, &base, &outlet).await?;
        if let Some(states) = context.options.states.as_ref().filter(|_| listing.failed == 0) {
            states.record(&self.key(), digest, listing.links);
        }
        self.content(context, &inventory, &root, decided.as_ref(), &outlet).await
    }

    /// What this version leaves in the tenant.
    fn not_covered(&self, context: &Context, base: &str) -> Vec<LedgerLine> {
        let not_covered = self.service.not_covered(self.owner.kind);
        let lines = not_covered.iter().map(|(code, message)| {
            let mut note = Note::new(Outcome::Skipped, "not-covered", message);
            note.code = Some((*code).to_owned());
            context.tally.count_uncovered(self.service, &note, "all");
            note.of_scope(base)
        });
        let mut lines: Vec<LedgerLine> = lines.collect();
        lines.sort_by_cached_key(LedgerLine::encode);
        lines
    }

    /// What is to be said of the section as a whole, sorted by scope.
    async fn ledger(
        &self,
        inventory: &Inventory,
        listing: &Listing,
        mut lines: Vec<LedgerLine>,
        outlet: &Outlet,
    ) -> Result<(), Error> {
        let base = self.base();
        for (folder, note) in &listing.notes {
            if inventory.is_left_out(folder)? {
                lines.push(note.clone().of_scope(&base));
                continue;
            }
            let path = inventory.folder_path(folder)?;
            let mut line = note.clone().of_scope(path.as_deref().unwrap_or(&base));
            // A folder that vanished has no path any more; its id still tells which it was.
            line.id = Some(folder.clone()).filter(|id| !id.is_empty());
            lines.push(line);
        }
        lines.sort_by_cached_key(LedgerLine::encode);
        for line in lines {
            outlet.send(Event::Ledger(line)).await?;
        }
        Ok(())
    }

    /// The metadata member, then the folders as directory members.
    pub(crate) async fn metadata(
        &self,
        context: &Context,
        inventory: &Inventory,
        base: &str,
        outlet: &Outlet,
    ) -> Result<String, Error> {
        let turn = Turn { section: self.index, item: 0 };
        let mut draft = context.spool.draft(turn);
        let owner = Line {
            kind: metadata::OWNER.to_owned(),
            id: self.owner.id.clone(),
            path: None,
            graph: self.owner.graph.clone(),
        };
        context.write(&mut draft, owner.encode().as_bytes()).await?;
        let is_kept = |folder: &Item| folder.used || !folder.hidden;
        let mut folders = inventory.folders_after("", BATCH)?;
        while let Some(last) = folders.last().map(|folder| folder.id.clone()) {
            for folder in folders.iter().filter(|folder| is_kept(folder)) {
                context.write(&mut draft, line(self.service, folder).as_bytes()).await?;
            }
            folders = inventory.folders_after(&last, BATCH)?;
        }
        let mut items = inventory.items_after((i64::MIN, ""), BATCH)?;
        while let Some(last) = items.last().map(|item| (item.key, item.id.clone())) {
            let mut lines = String::new();
            for item in &items {
                lines.push_str(&line(self.service, item));
            }
            context.write(&mut draft, lines.as_bytes()).await?;
            items = inventory.items_after((last.0, &last.1), BATCH)?;
        }
        let content = context.finish(draft)?;
        let digest = archive::hex(&content.sha256);
        let path = format!("{base}.ndjson");
        outlet.send(Event::Metadata { path, content }).await?;
        let mut folders = inventory.folders_after("", BATCH)?;
        while let Some(last) = folders.last().map(|folder| folder.id.clone()) {
            for folder in folders.into_iter().filter(is_kept) {
                let Item { path, mtime, .. } = folder;
                outlet.send(Event::Directory { path, mtime }).await?;
            }
            folders = inventory.folders_after(&last, BATCH)?;
        }
        Ok(digest)
    }

    /// Its name in the state of listings.
    fn key(&self) -> String {
        format!("{}/{}", self.owner.id, self.service.name())
    }

    /// What need not be listed: the base's lines, if listing can go on from where they end. Not
    /// where a selection goes by paths or times: renaming a folder selects other items, and no
    /// listing tells of them.
    fn seeds(&self, context: &Context) -> Result<Seeds, Error> {
        let is_whole = !context.narrows()
            && context.options.selection.exclude.is_empty()
            && context.options.plugins.is_empty();
        let (Some(states), Some(base), true) = (&context.options.states, &context.base, is_whole)
        else {
            return Ok(Seeds::default());
        };
        let Some(lines) = base.lines(&self.owner.id, self.service.name())? else {
            return Ok(Seeds::default());
        };
        let links = states.links(&self.key(), &lines.digest);
        Ok(Seeds { links, lines: Some(lines) })
    }

    /// The items, fetched a few at a time, handed on in order.
    pub(crate) async fn content(
        &self,
        context: &Arc<Context>,
        inventory: &Inventory,
        root: &Arc<Value>,
        decided: Option<&Decided>,
        outlet: &Outlet,
    ) -> Result<(), Error> {
        // What passed by on a pipe while contents were decided on does not come again.
        let base = match (&context.base, decided) {
            (Some(base), Some(_)) if !base.is_file() => SectionBase::None,
            _ => self.section_base(context).await?,
        };
        let fetched = self
            .placed(context, inventory, base)
            .map(|next| async move {
                let placed = next?;
                if let Some(decided) = decided {
                    return self.recall(context, inventory, root, decided, placed).await;
                }
                self.fetch_apart(context, root, placed).await.map(|(events, ..)| events)
            })
            .buffered(self.width());
        let mut fetched = std::pin::pin!(fetched);
        while let Some(events) = fetched.try_next().await? {
            for event in events {
                outlet.send(event).await?;
            }
        }
        Ok(())
    }

    /// Fetches in a task: the digests of several are for more than one core, and what nobody polls
    /// while its turn is waited for would keep its connection.
    pub(crate) async fn fetch_apart(
        &self,
        context: &Arc<Context>,
        root: &Arc<Value>,
        placed: Placed,
    ) -> Result<(Vec<Event>, Item, Turn), Error> {
        let (section, context, root) = (self.clone(), Arc::clone(context), Arc::clone(root));
        let fetch = async move {
            let Placed { turn, item, earlier, sampled, _slot } = placed;
            let fetch = section.fetch_or_reuse(&context, &root, &item, turn, earlier, sampled);
            Ok((fetch.await?, item, turn))
        };
        let fetched = AbortOnDropHandle::new(tokio::spawn(fetch)).await;
        fetched.unwrap_or(Err(Error::Internal("a fetch panicked")))
    }

    /// The base's part of this section.
    pub(crate) async fn section_base<'a>(
        &self,
        context: &'a Context,
    ) -> Result<SectionBase<'a>, Error> {
        let (owner, service) = (&self.owner.id, self.service.name());
        match &context.base {
            Some(base) => base.section(context, self.index, owner, service).await,
            None => Ok(SectionBase::None),
        }
    }

    /// The most contents that may be under way at the same time.
    pub(crate) fn width(&self) -> usize {
        self.service.about().owner_concurrency
    }

    /// The items in order, with what the base has of them. One at a time: a base on a pipe can't
    /// go back.
    pub(crate) fn placed<'a>(
        &'a self,
        context: &'a Context,
        inventory: &'a Inventory,
        base: SectionBase<'a>,
    ) -> BoxStream<'a, Result<Placed, Error>> {
        let items = in_order(inventory).boxed();
        let start = (items, base, Slots::of(context));
        stream::try_unfold(start, move |(mut items, mut base, slots)| async move {
            let Some((number, item)) = items.try_next().await? else { return Ok(None) };
            let turn = Turn { section: self.index, item: number };
            let earlier = base.take(context, item.key, &item.id, turn).await?;
            let is_sampled =
                |open: &OpenBase| earlier.is_some() && open.is_sampled(&item.id, base.metadata());
            let sampled = context.base.as_ref().is_some_and(is_sampled);
            let placed = Placed { turn, item, earlier, sampled, _slot: slots.next().await? };
            Ok(Some((placed, (items, base, slots))))
        })
        .boxed()
    }

    pub(crate) async fn fetch(
        &self,
        context: &Context,
        root: &Value,
        item: &Item,
        turn: Turn,
    ) -> Result<Vec<Event>, Error> {
        if let Some(unwanted) = item.unwanted.clone() {
            let note = Note {
                outcome: Outcome::Skipped,
                cause: unwanted.cause,
                code: Some(unwanted.code),
                message: unwanted.message,
                part: None,
            };
            let mut line = note.of_item(&item.path, &item.id);
            line.path = line.path.filter(|_| self.service.has_content(&item.kind));
            return Ok(vec![Event::Ledger(line), Event::Passed { turn }]);
        }
        let asked = Asked { owner: &self.owner, root, item, turn };
        let line = |note: Note| Event::Ledger(note.of_item(&item.path, &item.id));
        Ok(match self.service.fetch(context, asked).await? {
            Fetched::Whole(content, note) => {
                let (path, mtime) = (item.path.clone(), item.mtime);
                let content = Event::Item { path, mtime, content, given: None };
                note.map(line).into_iter().chain([content]).collect()
            }
            Fetched::TooLarge(large) => vec![Event::Large { turn, large, id: item.id.clone() }],
            Fetched::Without(note) => vec![line(note), Event::Passed { turn }],
        })
    }
}

/// What contents wait for, one after the other: something of the section's share, or of what no
/// section has or waits for.
struct Slots {
    share: Arc<Semaphore>,
    spare: Arc<Semaphore>,
}

impl Slots {
    fn of(context: &Context) -> Self {
        let share = Arc::new(Semaphore::new(context.options.share()));
        Self { share, spare: Arc::clone(&context.slots) }
    }

    async fn next(&self) -> Result<OwnedSemaphorePermit, Error> {
        let share = || Arc::clone(&self.share);
        let at_once = share().try_acquire_owned();
        match at_once.or_else(|_| Arc::clone(&self.spare).try_acquire_owned()) {
            Ok(slot) => Ok(slot),
            Err(_) => {
                let slot = share().acquire_owned().await;
                slot.map_err(|_| Error::Internal("the slots are closed"))
            }
        }
    }
}

/// An item, its turn, and what the base has of it.
pub(crate) struct Placed {
    pub(crate) turn: Turn,
    pub(crate) item: Item,
    pub(crate) earlier: Option<Earlier>,
    /// To be fetched all the same.
    pub(crate) sampled: bool,
    /// For as long as it is under way.
    pub(crate) _slot: OwnedSemaphorePermit,
}

/// Takes out what is not selected. Folders that only lead to something stay.
fn choose(inventory: &Inventory, context: &Context) -> Result<(), Error> {
    let (selector, selection) = (&context.selector, &context.options.selection);
    if !context.narrows() && selection.exclude.is_empty() {
        return Ok(());
    }
    for_each_folder(inventory, |folder| match selector.matches_path(&folder.path) {
        true => Ok(()),
        false => inventory.hide(&folder.id),
    })?;
    for_each_item(inventory, |item| {
        match selector.matches_path(&item.path) && selector.matches_time(item.mtime) {
            true => Ok(()),
            false => inventory.drop_item(&item.id),
        }
    })
}

fn line(service: Service, item: &Item) -> String {
    let path = service.has_content(&item.kind).then_some(item.path.as_str());
    metadata::encode(&item.kind, &item.id, path, &item.json)
}

fn for_each_folder(
    inventory: &Inventory,
    mut act: impl FnMut(&Item) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut folders = inventory.folders_after("", BATCH)?;
    while let Some(last) = folders.last().map(|folder| folder.id.clone()) {
        folders.iter().try_for_each(&mut act)?;
        folders = inventory.folders_after(&last, BATCH)?;
    }
    Ok(())
}

fn for_each_item(
    inventory: &Inventory,
    mut act: impl FnMut(&Item) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut items = inventory.items_after((i64::MIN, ""), BATCH)?;
    while let Some(last) = items.last().map(|item| (item.key, item.id.clone())) {
        items.iter().try_for_each(&mut act)?;
        items = inventory.items_after((last.0, &last.1), BATCH)?;
    }
    Ok(())
}

/// The items in stream order, numbered from 1 (0 is the metadata).
fn in_order(inventory: &Inventory) -> impl Stream<Item = Result<(u64, Item), Error>> + '_ {
    let batches = stream::try_unfold((i64::MIN, String::new()), move |after| async move {
        let items = inventory.items_after((after.0, &after.1), BATCH)?;
        let last = items.last().map(|item| (item.key, item.id.clone()));
        Ok::<_, Error>(last.map(|last| (stream::iter(items.into_iter().map(Ok)), last)))
    });
    let mut number = 0;
    batches.try_flatten().map_ok(move |item| {
        number += 1;
        (number, item)
    })
}

/// After that long the next owner is asked, too: one whose mailbox is throttled keeps nobody waiting.
const LATE: Duration = Duration::from_secs(1);
/// So many are waited for at the same time.
const MOST_LATE: usize = 16;

/// Whether a service refuses everyone is asked before the first byte (design.md 6).
pub(crate) async fn refused_for_all(
    context: &Context,
    owners: impl Stream<Item = Result<Owner, Error>>,
    service: Service,
) -> Result<Option<(u64, graph::Error)>, Error> {
    let served = owners.try_filter(|owner| ready(service.serves(owner.kind))).fuse();
    let mut owners = std::pin::pin!(served);
    let mut asked = FuturesUnordered::new();
    let mut refused: Option<(u64, graph::Error)> = None;
    loop {
        if asked.len() < MOST_LATE
            && let Some(owner) = owners.try_next().await?
        {
            asked.push(async move { service.find(context, &owner).await });
        }
        let Ok(answer) = tokio::time::timeout(LATE, asked.try_next()).await else { continue };
        match answer? {
            Some(Presence::Present(_)) => return Ok(None),
            Some(Presence::Absent(_)) => {}
            Some(Presence::Refused(error)) => {
                let count = refused.as_ref().map_or(0, |(count, _)| *count);
                refused = Some((count + 1, refused.map_or(error, |(_, first)| first)));
            }
            None => return Ok(refused),
        }
    }
}
