//! An archive through plugins: what `export` would have written had they been in its chain then.
//! For restores and extraction that are to be filtered, and for trying plugins out.
//!
//! The same pipeline as an export's, with an archive in the tenant's place: sections are listed
//! from its metadata, and every content is in it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use archive::metadata::{self, Line};
use archive::{LedgerLine, Outcome, OwnerNames, Region, Seal, Selector};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::base::{self, FileBase, OpenBase};
use crate::context::Context;
use crate::filter::Drops;
use crate::inventory::{Inventory, LEAST_CACHE, Name, Node};
use crate::outcome::{Summary, Tally};
use crate::owner::Owner;
use crate::pipeline::{Running, conclude, drain};
use crate::queue::Outlet;
use crate::reuse::DAMAGED;
use crate::section::{BATCH, Event, Section};
use crate::service::{Listing, Service};
use crate::stream::{Command, Output, Stream as Archive};
use crate::{Error, Monitor, Options};

/// Writes `archive` to `output` as the plugins of `options` leave it. Of the selection owners and
/// services count; the rest of it is for who reads the result. The head names the plugins that the
/// archive went through before, and those of this time.
///
/// # Errors
/// See [`Error`]. The stream then carries the poison member, or nothing if it had not begun.
pub async fn rewrite(
    archive: Region,
    options: Options,
    output: Box<dyn Output>,
    monitor: Arc<dyn Monitor>,
    cancel: CancellationToken,
) -> (Summary, Result<(), Error>) {
    let tally = Arc::new(Tally::default());
    let run = run(archive, options, output, monitor, cancel, &tally);
    crate::pipeline::summarize(&tally, run.await)
}

async fn run(
    archive: Region,
    options: Options,
    output: Box<dyn Output>,
    monitor: Arc<dyn Monitor>,
    cancel: CancellationToken,
    tally: &Arc<Tally>,
) -> Result<Option<Seal>, Error> {
    let base = tokio::task::block_in_place(|| FileBase::open(&archive))?;
    let mut head = base.head().clone();
    head.filters.extend(options.plugins.references());
    let selector = options.selection.compile().map_err(Error::Archive)?;
    let (sections, left_out) =
        tokio::task::block_in_place(|| sections(&base, &options, &selector))?;
    let known: BTreeSet<String> = sections.iter().map(Section::base).collect();
    let is_told = |section: &str| {
        let mut parts = section.split('/').skip(1);
        let (owner, service) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let upn = archive::path::unescape(owner);
        let is_group = section.starts_with("groups/");
        !left_out.contains(section)
            && selector.matches_owner(&OwnerNames { upn, is_group, ..OwnerNames::default() })
            && options.services.iter().any(|known| known.name() == service)
    };
    let ledger = Arc::new(Ledger::read(&archive, &options.spool.dir, &known, is_told)?);
    let writer =
        archive::writer::Options { align: options.align, spool_dir: options.spool.dir.clone() };
    let context = Arc::new(Context::new(None, options, tally, monitor, Some(OpenBase::of(base)))?);
    let mut stream = Archive::start(output, writer, Arc::clone(tally))?;
    let write = async {
        stream.send(Command::Head(Box::new(head))).await?;
        let mut others = ledger.lines(OTHERS);
        let mut other = others.next()?;
        for section in sections {
            // What is said of owners without the service, where it was said.
            let first = ledger.lines(&format!("{}\n", section.base())).next()?;
            let is_before = |(number, _): &mut (String, LedgerLine)| {
                first.as_ref().is_some_and(|(first, _)| *number < *first)
            };
            while let Some((_, line)) = other.take_if(is_before) {
                stream.send(Command::Ledger(line)).await?;
                other = others.next()?;
            }
            let share = context.share().await?;
            let running = Running::start(&context, section.clone(), true, |outlet| {
                section.rewrite(Arc::clone(&context), Arc::clone(&ledger), outlet)
            });
            drain(&context, running, &mut stream).await?;
            drop(share);
        }
        while let Some((_, line)) = other {
            stream.send(Command::Ledger(line)).await?;
            other = others.next()?;
        }
        Ok(())
    };
    let written = tokio::select! {
        () = cancel.cancelled() => Err(Error::Interrupted),
        written = write => written,
    };
    conclude(stream, written, false).await
}

/// The archive's sections that are selected, in stream order, and the paths of the others.
fn sections(
    base: &FileBase,
    options: &Options,
    selector: &Selector,
) -> Result<(Vec<Section>, BTreeSet<String>), Error> {
    let (mut sections, mut left_out) = (Vec::new(), BTreeSet::new());
    for (owner, service) in base.sections() {
        let service = Service::from_name(service)
            .ok_or_else(|| Error::UnknownService { service: service.to_owned() })?;
        let Some(mut lines) = base.metadata(owner, service.name())? else { continue };
        let Some(line) = lines.next_line()? else { continue };
        let Some(owner) = Owner::of_line(&line) else { continue };
        let is_selected =
            selector.matches_owner(&owner.names()) && options.services.contains(&service);
        let section = Section { index: 0, owner: Arc::new(owner), service };
        if is_selected {
            sections.push(section);
        } else {
            left_out.insert(section.base());
        }
    }
    sections.sort_by(|a, b| (&a.owner.id, a.service).cmp(&(&b.owner.id, b.service)));
    (0..).zip(&mut sections).for_each(|(index, section)| section.index = index);
    Ok((sections, left_out))
}

impl Section {
    /// Runs to the end, as [`Section::run`] does for a tenant.
    async fn rewrite(
        self,
        context: Arc<Context>,
        ledger: Arc<Ledger>,
        outlet: Outlet,
    ) -> Result<(), Error> {
        context.tally.count_owner_with(self.service);
        let inventory = context.inventory()?;
        let root = tokio::task::block_in_place(|| self.take_lines(&context, &inventory))?;
        Tally::add(&context.tally.listed, inventory.items()?);
        let listing = Listing { root, ..Listing::default() };
        // No service is asked.
        let nothing = Arc::new(Value::Null);
        let mut drops = Drops::default();
        // As in an export: what plugins are told of by id alone comes after what names the section.
        let is_whole = |line: &LedgerLine| self.is_whole(line);
        self.tell_anew(&inventory, &ledger, &outlet, is_whole, true).await?;
        self.filter(&context, &inventory, &listing, &outlet, &mut drops).await?;
        tokio::task::block_in_place(|| inventory.use_folders())?;
        let by_content = context.options.plugins.wants_content(self.service.name());
        let decided = match by_content {
            true => {
                // What the archive does not hold can't be decided on, and is not there afterwards.
                let others = |line: &LedgerLine| !self.is_whole(line) && !is_of_held(line);
                self.tell_anew(&inventory, &ledger, &outlet, others, false).await?;
                Some(self.decide(&context, &inventory, &nothing, &outlet, &mut drops).await?)
            }
            false => None,
        };
        tokio::task::block_in_place(|| inventory.use_folders())?;
        let base = self.base();
        for line in drops.lines(&base) {
            outlet.send(Event::Ledger(line)).await?;
        }
        let rest = |line: &LedgerLine| !self.is_whole(line) && (!by_content || is_of_held(line));
        self.tell_anew(&inventory, &ledger, &outlet, rest, true).await?;
        self.metadata(&context, &inventory, &base, &outlet).await?;
        self.content(&context, &inventory, &nothing, decided.as_ref(), &outlet).await
    }

    /// Whether a line speaks of the section as a whole.
    fn is_whole(&self, line: &LedgerLine) -> bool {
        line.id.is_none() && line.scope.as_deref() == Some(self.base().as_str())
    }

    /// Tells what the archive's ledger says of the section and what is still there of it, as far
    /// as that is `wanted`; of items that are not there any more without their paths.
    async fn tell_anew(
        &self,
        inventory: &Inventory,
        ledger: &Ledger,
        outlet: &Outlet,
        wanted: impl Fn(&LedgerLine) -> bool,
        is_there: bool,
    ) -> Result<(), Error> {
        let base = self.base();
        let mut lines = ledger.lines(&format!("{base}\n"));
        while let Some((_, line)) = lines.next()? {
            if !wanted(&line) {
                continue;
            }
            if let Some(line) = placed_anew(inventory, &base, line)? {
                let path = line.path.filter(|_| is_there);
                outlet.send(Event::Ledger(LedgerLine { path, ..line })).await?;
            }
        }
        Ok(())
    }

    /// The archive's lines into the inventory; the root's id.
    fn take_lines(&self, context: &Context, inventory: &Inventory) -> Result<String, Error> {
        let base = self.base();
        let open = context.base.as_ref();
        let lines = open.map(|open| open.lines(&self.owner.id, self.service.name())).transpose()?;
        let Some(mut lines) = lines.flatten() else { return Ok(String::new()) };
        // The folder that all is in, if the archive has no line of it.
        let mut root = String::new();
        let mut arranged = false;
        while let Some(line) = lines.next_line()? {
            if line.kind == metadata::OWNER {
                continue;
            }
            if line.kind == metadata::FOLDER {
                let path = line.path.as_deref().unwrap_or(&base);
                if path == base {
                    root.clone_from(&line.id);
                }
                let node = self.node(&line, "", path);
                inventory.put_at(&Node { folder: true, ..node.as_node() }, path)?;
                continue;
            }
            if !std::mem::replace(&mut arranged, true) {
                arrange(inventory, &root, &base)?;
            }
            let path = line.path.clone().unwrap_or_else(|| format!("{base}/{}", line.id));
            let (folder, _) = path.rsplit_once('/').unwrap_or_default();
            let parent = inventory.folder_at(folder)?.unwrap_or_else(|| root.clone());
            inventory.put(&self.node(&line, &parent, &path).as_node())?;
        }
        if !arranged {
            arrange(inventory, &root, &base)?;
        }
        Ok(root)
    }

    fn node(&self, line: &Line, parent: &str, path: &str) -> ArchivedNode {
        let name = path.rsplit('/').next().unwrap_or_default();
        ArchivedNode {
            id: line.id.clone(),
            parent: parent.to_owned(),
            kind: line.kind.clone(),
            key: self.service.order_of(&line.graph),
            mtime: self.service.mtime_of(&line.kind, &line.graph),
            name: name.to_owned(),
            json: archive::json::canonical(&line.graph),
        }
    }
}

/// A line of an archive as the inventory takes it.
struct ArchivedNode {
    id: String,
    parent: String,
    kind: String,
    key: i64,
    mtime: i64,
    name: String,
    json: String,
}

impl ArchivedNode {
    fn as_node(&self) -> Node<'_> {
        Node {
            id: &self.id,
            listing: "archive",
            parent: &self.parent,
            kind: &self.kind,
            folder: false,
            key: self.key,
            mtime: self.mtime,
            name: Name::Exact(&self.name),
            json: &self.json,
            unwanted: None,
        }
    }
}

fn arrange(inventory: &Inventory, root: &str, base: &str) -> Result<(), Error> {
    if root.is_empty() {
        // Known by no line of its own: never written, but something to be in.
        inventory.put_root(base)?;
    }
    inventory.arrange_by_paths(root)
}

/// What the ledger said, of what is still there, where it is now.
fn placed_anew(
    inventory: &Inventory,
    base: &str,
    line: LedgerLine,
) -> Result<Option<LedgerLine>, Error> {
    let id = line.id.clone().unwrap_or_default();
    if line.scope.is_some() {
        if inventory.is_left_out(&id)? {
            return Ok(Some(LedgerLine { scope: Some(base.to_owned()), id: None, ..line }));
        }
        let scope = match inventory.folder_path(&id)?.filter(|_| !id.is_empty()) {
            Some(path) => path,
            None => base.to_owned(),
        };
        return Ok(Some(LedgerLine { scope: Some(scope), ..line }));
    }
    // What was dropped is not told of; what never had a path has none now.
    let Some(path) = inventory.item_path(&id)? else {
        return Ok(Some(line).filter(|line| line.path.is_none()));
    };
    let line = LedgerLine { path: line.path.is_some().then_some(path), ..line };
    Ok(Some(match line.outcome {
        // It is not handed on, so it is not there any more.
        Outcome::Damaged => {
            let message = DAMAGED.to_owned();
            LedgerLine { outcome: Outcome::Failed, cause: "damaged".to_owned(), message, ..line }
        }
        _ => line,
    }))
}

/// Whether a line speaks of an item whose content the archive has.
fn is_of_held(line: &LedgerLine) -> bool {
    line.scope.is_none() && line.outcome == Outcome::Converted
}

/// Keys of the lines of what has no section here, such as owners without the service.
const OTHERS: &str = "\n";

/// The archive's ledger, on disk, by section.
struct Ledger(Inventory);

impl Ledger {
    fn read(
        archive: &Region,
        dir: &std::path::Path,
        sections: &BTreeSet<String>,
        is_told: impl Fn(&str) -> bool,
    ) -> Result<Self, Error> {
        tokio::task::block_in_place(|| {
            let index = archive::Index::open(archive.reader()).map_err(Error::BadBase)?;
            let mut lines = base::ledger(archive, index.seal())?;
            let ledger = Inventory::create(dir, LEAST_CACHE)?;
            let mut number = 0_u64;
            let mut section = String::new();
            while let Some(text) = lines.next_text().map_err(Error::BadBase)? {
                let line = LedgerLine::parse(&text).map_err(Error::BadBase)?;
                // A line that names only an id stands with those of its section.
                if let Some(place) = line.scope.as_deref().or(line.path.as_deref()) {
                    section = place.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
                }
                if sections.contains(&section) {
                    ledger.remember(&format!("{section}\n{number:020}"), &text)?;
                } else if is_told(&section) {
                    ledger.remember(&format!("{OTHERS}{number:020}"), &text)?;
                }
                number += 1;
            }
            Ok(Self(ledger))
        })
    }

    /// The lines whose keys begin so, in order.
    fn lines(&self, prefix: &str) -> LedgerLines<'_> {
        let (prefix, after) = (prefix.to_owned(), String::new());
        LedgerLines { ledger: &self.0, prefix, after, batch: VecDeque::new() }
    }
}

/// Lines of the ledger, a batch at a time.
struct LedgerLines<'a> {
    ledger: &'a Inventory,
    prefix: String,
    after: String,
    batch: VecDeque<(String, String)>,
}

impl LedgerLines<'_> {
    /// The next line, and its number in the ledger; numbers compare as texts.
    fn next(&mut self) -> Result<Option<(String, LedgerLine)>, Error> {
        if self.batch.is_empty() {
            self.batch = self.ledger.recall_all(&self.prefix, &self.after, BATCH)?.into();
        }
        let Some((key, text)) = self.batch.pop_front() else { return Ok(None) };
        let number = key.rsplit('\n').next().unwrap_or_default().to_owned();
        self.after = key;
        Ok(Some((number, LedgerLine::parse(&text).map_err(Error::BadBase)?)))
    }
}
