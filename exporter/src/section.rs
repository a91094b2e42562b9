//! One service of one owner: listed, named, its metadata written, its items fetched in order.
//!
//! A section runs as a task of its own ahead of its turn and hands its events to the writer
//! through a bounded channel; how far ahead it gets is bounded by that and by the spool.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use archive::metadata::{self, Line};
use archive::{LedgerLine, Outcome, Region, Selector};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use graph::{Graph, Scope};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::Error;
use crate::base::{Earlier, OpenBase, SectionBase};
use crate::inventory::{Inventory, Item};
use crate::large::Large;
use crate::monitor::Monitor;
use crate::options::Options;
use crate::outcome::Tally;
use crate::owner::Owner;
use crate::service::{Asked, Fetched, Listing, Note, Presence, Service};
use crate::spool::{Draft, Spool, Spooled, Turn};
use crate::state::Seeds;

/// Times a torn body is asked for (FACTS 2.7).
const TORN_TRIES: usize = 8;
/// Rows read from the inventory at a time.
const BATCH: u32 = 256;

/// What every part of a run shares.
pub(crate) struct Context {
    pub(crate) graph: Graph,
    pub(crate) options: Options,
    pub(crate) selector: Selector,
    pub(crate) spool: Arc<Spool>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) monitor: Arc<dyn Monitor>,
    /// How much less than everything is asked of message listings (0: nothing less).
    pub(crate) mail_query_level: AtomicUsize,
    /// What has not changed is taken from there.
    pub(crate) base: Option<OpenBase>,
}

impl Context {
    /// Copies a `$value` into `draft`, from the beginning when its body is torn: there is no
    /// range (FACTS 4.1). Every other try was the client's. The inner error is the item's.
    pub(crate) async fn copy_value(
        &self,
        scope: &Scope,
        path: &str,
        draft: &mut Draft,
    ) -> Result<Result<(), graph::Error>, Error> {
        let mut torn = 0;
        loop {
            let error = match self.copy_once(scope, path, draft).await? {
                Copied::Whole => return Ok(Ok(())),
                Copied::Refused(error) => return Ok(Err(error)),
                Copied::Torn(error) => error,
            };
            torn += 1;
            if torn == TORN_TRIES || !error.is_retryable() {
                return Ok(Err(error));
            }
            self.restart(draft)?;
        }
    }

    async fn copy_once(
        &self,
        scope: &Scope,
        path: &str,
        draft: &mut Draft,
    ) -> Result<Copied, Error> {
        let mut body = match self.graph.value(scope, path).await {
            Ok(body) => body,
            Err(error) => return Ok(Copied::Refused(error)),
        };
        loop {
            match body.chunk().await {
                Ok(Some(chunk)) => self.write(draft, &chunk).await?,
                Ok(None) => return Ok(Copied::Whole),
                Err(error) => return Ok(Copied::Torn(error)),
            }
        }
    }

    pub(crate) async fn write(&self, draft: &mut Draft, bytes: &[u8]) -> Result<(), Error> {
        draft.write(bytes).await.map_err(|source| self.spool_error(source))
    }

    pub(crate) fn restart(&self, draft: &mut Draft) -> Result<(), Error> {
        draft.restart().map_err(|source| self.spool_error(source))
    }

    pub(crate) fn finish(&self, draft: Draft) -> Result<Spooled, Error> {
        draft.finish().map_err(|source| self.spool_error(source))
    }

    /// True when the selection may take some items of a folder and leave others.
    fn narrows(&self) -> bool {
        let selection = &self.options.selection;
        !selection.include.is_empty() || selection.since.is_some() || selection.until.is_some()
    }

    pub(crate) fn spool_error(&self, source: std::io::Error) -> Error {
        Error::Spool { dir: self.spool.dir().clone(), source }
    }
}

/// How copying a `$value` ended.
enum Copied {
    Whole,
    Refused(graph::Error),
    Torn(graph::Error),
}

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
    /// An item without content: its turn passes.
    Passed {
        turn: Turn,
    },
}

/// A section: whose, what, and its place in the stream.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) index: u64,
    pub(crate) owner: Arc<Owner>,
    pub(crate) service: Service,
}

impl Section {
    fn base(&self) -> String {
        format!("{}/{}", self.owner.path(), self.service.name())
    }

    /// Runs to the end, or until nobody listens any more.
    pub(crate) async fn run(
        self,
        context: Arc<Context>,
        events: mpsc::Sender<Event>,
    ) -> Result<(), Error> {
        let number = self.index;
        let ended = self.all(&context, Outlet { events }).await;
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
            Presence::Present(root) => root,
            Presence::Absent(note) => {
                if note.outcome == Outcome::Failed {
                    Tally::add(&context.tally.failed_listings, 1);
                }
                return outlet.send(Event::Ledger(note.of_scope(&base))).await;
            }
            Presence::Refused(error) => {
                let message = "the service refuses this owner to the app";
                let note = Note::new(Outcome::Skipped, "refused", message).with_code(&error);
                return outlet.send(Event::Ledger(note.of_scope(&base))).await;
            }
        };
        context.tally.count_owner_with(self.service);
        let inventory = Inventory::create(context.spool.dir())?;
        let seeds = self.seeds(context)?;
        let (inventory, listing) =
            self.service.list(context, &self.owner, &root, inventory, seeds).await?;
        Tally::add(&context.tally.listed, inventory.items()?);
        Tally::add(&context.tally.failed_listings, listing.failed);
        tokio::task::block_in_place(|| inventory.arrange(&listing.root, &base))?;
        self.ledger(&inventory, &listing, &base, &outlet).await?;
        let digest = self.metadata(context, &inventory, &base, &outlet).await?;
        if let Some(states) = context.options.states.as_ref().filter(|_| listing.failed == 0) {
            states.record(&self.key(), digest, listing.links);
        }
        self.content(context, &inventory, &root, &outlet).await
    }

    /// What is to be said of the section as a whole, sorted by scope.
    async fn ledger(
        &self,
        inventory: &Inventory,
        listing: &Listing,
        base: &str,
        outlet: &Outlet,
    ) -> Result<(), Error> {
        let mut lines: Vec<LedgerLine> = self
            .service
            .not_covered()
            .iter()
            .map(|(code, message)| {
                let mut note = Note::new(Outcome::Skipped, "not-covered", message);
                note.code = Some((*code).to_owned());
                note.of_scope(base)
            })
            .collect();
        for (folder, note) in &listing.notes {
            let path = inventory.folder_path(folder)?;
            let mut line = note.clone().of_scope(path.as_deref().unwrap_or(base));
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
    async fn metadata(
        &self,
        context: &Context,
        inventory: &Inventory,
        base: &str,
        outlet: &Outlet,
    ) -> Result<String, Error> {
        let selector = &context.selector;
        let narrowed = context.narrows();
        if narrowed {
            for_each_batch(inventory, |items| {
                for item in items.iter().filter(|item| selected(selector, item)) {
                    inventory.use_folder_of(&item.id)?;
                }
                Ok(())
            })?;
            inventory.use_parents()?;
        }
        let turn = Turn { section: self.index, item: 0 };
        let mut draft = context.spool.draft(turn);
        let owner = Line {
            kind: metadata::OWNER.to_owned(),
            id: self.owner.id.clone(),
            path: None,
            graph: self.owner.graph.clone(),
        };
        context.write(&mut draft, owner.encode().as_bytes()).await?;
        let folder_selected =
            |folder: &Item| (narrowed && folder.used) || selector.matches_path(&folder.path);
        let mut folders = inventory.folders_after("", BATCH)?;
        while let Some(last) = folders.last().map(|folder| folder.id.clone()) {
            for folder in folders.iter().filter(|folder| folder_selected(folder)) {
                context.write(&mut draft, line(folder)?.as_bytes()).await?;
            }
            folders = inventory.folders_after(&last, BATCH)?;
        }
        let mut items = inventory.items_after((i64::MIN, ""), BATCH)?;
        while let Some(last) = items.last().map(|item| (item.key, item.id.clone())) {
            let mut lines = String::new();
            for item in items.iter().filter(|item| selected(selector, item)) {
                lines.push_str(&line(item)?);
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
            for folder in folders.into_iter().filter(folder_selected) {
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
        let is_whole = !context.narrows() && context.options.selection.exclude.is_empty();
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
    async fn content(
        &self,
        context: &Context,
        inventory: &Inventory,
        root: &Value,
        outlet: &Outlet,
    ) -> Result<(), Error> {
        let width = context.options.concurrency.min(self.service.owner_concurrency()).max(1);
        let (owner, service) = (&self.owner.id, self.service.name());
        let base = match &context.base {
            Some(base) => base.section(context, self.index, owner, service).await?,
            None => SectionBase::None,
        };
        let fetched = self
            .placed(context, inventory, base)
            .map(|next| async move {
                let Placed { turn, item, earlier, sampled } = next?;
                self.fetch_or_reuse(context, root, item, turn, earlier, sampled).await
            })
            .buffered(width);
        let mut fetched = std::pin::pin!(fetched);
        while let Some(events) = fetched.try_next().await? {
            for event in events {
                outlet.send(event).await?;
            }
        }
        Ok(())
    }

    /// The items in order, with what the base has of them. One at a time: a base on a pipe can't
    /// go back.
    fn placed<'a>(
        &'a self,
        context: &'a Context,
        inventory: &'a Inventory,
        base: SectionBase<'a>,
    ) -> BoxStream<'a, Result<Placed, Error>> {
        let items = in_order(inventory, &context.selector).boxed();
        stream::try_unfold((items, base), move |(mut items, mut base)| async move {
            let Some((number, item)) = items.try_next().await? else { return Ok(None) };
            let turn = Turn { section: self.index, item: number };
            let earlier = base.take(context, item.key, &item.id, turn).await?;
            let is_sampled =
                |open: &OpenBase| earlier.is_some() && open.is_sampled(&item.id, base.metadata());
            let sampled = context.base.as_ref().is_some_and(is_sampled);
            Ok(Some((Placed { turn, item, earlier, sampled }, (items, base))))
        })
        .boxed()
    }

    pub(crate) async fn fetch(
        &self,
        context: &Context,
        root: &Value,
        item: Item,
        turn: Turn,
    ) -> Result<Vec<Event>, Error> {
        if let Some(unwanted) = item.unwanted.clone() {
            let note = Note {
                outcome: Outcome::Skipped,
                cause: unwanted.cause,
                code: Some(unwanted.code),
                message: unwanted.message,
            };
            let mut line = note.of_item(&item.path, &item.id);
            line.path = line.path.filter(|_| item.has_path());
            return Ok(vec![Event::Ledger(line), Event::Passed { turn }]);
        }
        let asked = Asked { owner: &self.owner, root, item: &item, turn };
        let fetched = self.service.fetch(context, asked).await?;
        let Item { id, path, mtime, .. } = item;
        Ok(match fetched {
            Fetched::Whole(content, None) => vec![Event::Item { path, mtime, content }],
            Fetched::Whole(content, Some(note)) => {
                let line = note.of_item(&path, &id);
                vec![Event::Ledger(line), Event::Item { path, mtime, content }]
            }
            Fetched::TooLarge(large) => vec![Event::Large { turn, large, id }],
            Fetched::Without(note) => {
                vec![Event::Ledger(note.of_item(&path, &id)), Event::Passed { turn }]
            }
        })
    }
}

/// An item, its turn, and what the base has of it.
struct Placed {
    turn: Turn,
    item: Item,
    earlier: Option<Earlier>,
    /// To be fetched all the same.
    sampled: bool,
}

fn selected(selector: &Selector, item: &Item) -> bool {
    selector.matches_path(&item.path) && selector.matches_time(item.mtime)
}

fn line(item: &Item) -> Result<String, Error> {
    let graph: Value = serde_json::from_str(&item.json)
        .map_err(|_| Error::Internal("the inventory gave back bad JSON"))?;
    let path = item.has_path().then(|| item.path.clone());
    Ok(Line { kind: item.kind.clone(), id: item.id.clone(), path, graph }.encode())
}

fn for_each_batch(
    inventory: &Inventory,
    mut act: impl FnMut(&[Item]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut items = inventory.items_after((i64::MIN, ""), BATCH)?;
    while let Some(last) = items.last().map(|item| (item.key, item.id.clone())) {
        act(&items)?;
        items = inventory.items_after((last.0, &last.1), BATCH)?;
    }
    Ok(())
}

/// The selected items in stream order, numbered from 1 (0 is the metadata).
fn in_order<'a>(
    inventory: &'a Inventory,
    selector: &'a Selector,
) -> impl Stream<Item = Result<(u64, Item), Error>> + 'a {
    let batches = stream::try_unfold((i64::MIN, String::new()), move |after| async move {
        let items = inventory.items_after((after.0, &after.1), BATCH)?;
        let last = items.last().map(|item| (item.key, item.id.clone()));
        Ok::<_, Error>(last.map(|last| (stream::iter(items.into_iter().map(Ok)), last)))
    });
    let mut number = 0;
    batches
        .try_flatten()
        .try_filter(move |item| std::future::ready(selected(selector, item)))
        .map_ok(move |item| {
            number += 1;
            (number, item)
        })
}

/// Where events go. A closed channel is the pipeline ending, not an error of ours.
struct Outlet {
    events: mpsc::Sender<Event>,
}

impl Outlet {
    async fn send(&self, event: Event) -> Result<(), Error> {
        self.events.send(event).await.map_err(|_| Error::Interrupted)
    }
}

/// Whether a service refuses everyone is asked before the first byte (design.md 6).
pub(crate) async fn refused_for_all(
    context: &Context,
    owners: impl Stream<Item = Result<Owner, Error>>,
    service: Service,
) -> Result<Option<(u64, graph::Error)>, Error> {
    let mut owners = std::pin::pin!(owners);
    let mut refused: Option<(u64, graph::Error)> = None;
    while let Some(owner) = owners.try_next().await? {
        match service.find(context, &owner).await? {
            Presence::Present(_) => return Ok(None),
            Presence::Absent(_) => {}
            Presence::Refused(error) => {
                let count = refused.as_ref().map_or(0, |(count, _)| *count);
                refused = Some((count + 1, refused.map_or(error, |(_, first)| first)));
            }
        }
    }
    Ok(refused)
}
