//! The filter chain in the pipeline (design 9): what plugins make of a section before a byte of it
//! is written.
//!
//! By metadata, folders and items are dropped, changed or held in the inventory, and everything
//! after that sees only what is left. By content, an item is decided on when it is there: if a
//! plugin of the chain wants contents, all of a section are decided on before its metadata is
//! written ([`decide`]), so that what is dropped leaves no trace.
//!
//! What a plugin fails on is not written at all, and the ledger names it by its id: its name may
//! be what the plugin was to keep back.

mod content;
mod decide;
mod hold;
mod large;
mod pipe;

use std::collections::BTreeMap;
use std::sync::Arc;

use archive::{LedgerLine, Outcome};
use futures::{StreamExt, TryStreamExt, stream};
use plugin_host::{Failure, Verdict};
use serde_json::{Value, json};

pub(crate) use self::content::{Passed, pass};
pub(crate) use self::decide::Decided;
pub(crate) use self::large::Filtered;
pub(crate) use self::pipe::Piece;

use crate::Error;
use crate::context::Context;
use crate::inventory::{Inventory, Item, Name};
use crate::monitor::Decision;
use crate::outcome::Tally;
use crate::queue::Outlet;
use crate::section::{BATCH, Event, Section};
use crate::service::{Listing, Note};

/// Folders and items that one call decides on.
const ASKED_AT_ONCE: usize = 16;

/// How many items each plugin dropped from a section.
#[derive(Debug, Default)]
pub(crate) struct Drops(BTreeMap<String, u64>);

impl Drops {
    fn count(&mut self, plugin: String) {
        *self.0.entry(plugin).or_default() += 1;
    }

    /// What the ledger says of them: how many, never which.
    pub(crate) fn lines(self, base: &str) -> impl Iterator<Item = LedgerLine> {
        self.0.into_iter().map(move |(plugin, count)| {
            let message = format!("{count} dropped by a plugin");
            let mut note = Note::new(Outcome::Skipped, "filtered", &message);
            note.code = Some(plugin);
            note.of_scope(base)
        })
    }
}

/// What the ledger says of an item that a plugin failed on.
pub(crate) fn failed(context: &Context, item: &Item, failure: &Failure) -> LedgerLine {
    Tally::add(&context.tally.plugin_failures, 1);
    context.monitor.warn(&format!("{} is not written: {failure}", item.path));
    let message = "a plugin failed on it, so it is not written";
    let mut note = Note::new(Outcome::Failed, failure.cause.word(), message);
    note.code = Some(failure.plugin.clone());
    LedgerLine { path: None, ..note.of_item("", &item.id) }
}

impl Section {
    /// What a plugin is told of a folder or item.
    pub(crate) fn subject(&self, item: &Item) -> plugin_host::Item {
        let (media_type, size) = self.service.media(&item.json);
        plugin_host::Item {
            id: item.id.clone(),
            service: self.service.name().to_owned(),
            kind: item.kind.clone(),
            owner: self.owner.upn.clone(),
            owner_id: self.owner.id.clone(),
            path: item.path.clone(),
            media_type,
            size,
            metadata: Arc::from(item.json.as_str()),
        }
    }

    /// Lets the chain decide by metadata, folders before items: their names are in the paths of
    /// what is below.
    pub(crate) async fn filter(
        &self,
        context: &Context,
        inventory: &Inventory,
        listing: &Listing,
        outlet: &Outlet,
        drops: &mut Drops,
    ) -> Result<(), Error> {
        if !context.options.plugins.wants_metadata(self.service.name()) {
            return Ok(());
        }
        let mut folders = inventory.folders_after("", BATCH)?;
        while let Some(last) = folders.last().map(|folder| folder.id.clone()) {
            // The root is the service's own; there is nothing to hide or to name.
            folders.retain(|folder| folder.id != listing.root);
            let verdicts = self.ask(context, &folders).await?;
            for (folder, verdict) in folders.iter().zip(verdicts) {
                self.apply_to_folder(context, inventory, folder, verdict, outlet).await?;
            }
            folders = inventory.folders_after(&last, BATCH)?;
        }
        let base = self.base();
        tokio::task::block_in_place(|| inventory.place_folders(&listing.root, &base))?;
        let mut items = inventory.items_after((i64::MIN, ""), BATCH)?;
        while let Some(last) = items.last().map(|item| (item.key, item.id.clone())) {
            let verdicts = self.ask(context, &items).await?;
            for (item, verdict) in items.iter().zip(verdicts) {
                self.apply_to_item(context, inventory, item, verdict, outlet, drops).await?;
            }
            items = inventory.items_after((last.0, &last.1), BATCH)?;
        }
        Ok(())
    }

    /// The chain's verdicts, in order; asked on several threads.
    async fn ask(
        &self,
        context: &Context,
        items: &[Item],
    ) -> Result<Vec<Result<Verdict, Failure>>, Error> {
        let width = std::thread::available_parallelism().map_or(1, usize::from);
        let subjects: Vec<Vec<plugin_host::Item>> = items
            .chunks(ASKED_AT_ONCE)
            .map(|items| items.iter().map(|item| self.subject(item)).collect())
            .collect();
        let verdicts: Vec<Vec<_>> = stream::iter(subjects)
            .map(|subjects| {
                let chain = context.options.plugins.clone();
                let ask = move || subjects.iter().map(|item| chain.on_metadata(item)).collect();
                tokio::task::spawn_blocking(ask)
            })
            .buffered(width)
            .try_collect()
            .await
            .map_err(|_| Error::Internal("a plugin's thread panicked"))?;
        Ok(verdicts.into_iter().flatten().collect())
    }

    async fn apply_to_folder(
        &self,
        context: &Context,
        inventory: &Inventory,
        folder: &Item,
        verdict: Result<Verdict, Failure>,
        outlet: &Outlet,
    ) -> Result<(), Error> {
        tell(context, folder, &verdict);
        match verdict {
            Ok(Verdict::Keep | Verdict::Hold { .. }) => Ok(()),
            Ok(Verdict::Drop { .. }) => inventory.hide(&folder.id),
            Ok(Verdict::Change(json)) => self.change(inventory, folder, &json),
            Err(failure) => {
                outlet.send(Event::Ledger(failed(context, folder, &failure))).await?;
                inventory.hide(&folder.id)?;
                // If something below it stays it has a place, and no more.
                let name = archive::path::tagged_directory_component("", &folder.id);
                inventory.change(&folder.id, &Name::Unique(&name), &bare(&folder.json))
            }
        }
    }

    async fn apply_to_item(
        &self,
        context: &Context,
        inventory: &Inventory,
        item: &Item,
        verdict: Result<Verdict, Failure>,
        outlet: &Outlet,
        drops: &mut Drops,
    ) -> Result<(), Error> {
        tell(context, item, &verdict);
        match verdict {
            Ok(Verdict::Keep) => Ok(()),
            Ok(Verdict::Hold { .. }) => inventory.exempt(&item.id),
            Ok(Verdict::Drop { plugin, .. }) => {
                Tally::add(&context.tally.dropped, 1);
                drops.count(plugin);
                inventory.drop_item(&item.id)
            }
            Ok(Verdict::Change(json)) => self.change(inventory, item, &json),
            Err(failure) => {
                outlet.send(Event::Ledger(failed(context, item, &failure))).await?;
                inventory.drop_item(&item.id)
            }
        }
    }

    /// Other metadata; the name follows.
    fn change(&self, inventory: &Inventory, item: &Item, json: &str) -> Result<(), Error> {
        let graph: Value = serde_json::from_str(json)
            .map_err(|_| Error::Internal("the plugin host let bad JSON pass"))?;
        let name = self.service.name_of(&graph, item);
        inventory.change(&item.id, &name.as_name(), &archive::json::canonical(&graph))
    }
}

/// A folder's id and place, without anything that says what it is.
fn bare(json: &str) -> String {
    let graph: Value = serde_json::from_str(json).unwrap_or_default();
    let mut bare = json!({ "id": graph["id"] });
    if let Some(parent) = graph.get("parentFolderId") {
        bare["parentFolderId"] = parent.clone();
    }
    if let Some(parent) = graph.pointer("/parentReference/id") {
        bare["parentReference"] = json!({ "id": parent });
        bare["folder"] = json!({});
    }
    archive::json::canonical(&bare)
}

fn tell(context: &Context, item: &Item, verdict: &Result<Verdict, Failure>) {
    let (path, kind) = (item.path.as_str(), item.kind.as_str());
    let decision = match verdict {
        Ok(Verdict::Keep) => Decision { path, kind, what: "keep", plugin: "", reason: "" },
        Ok(Verdict::Change(_)) => Decision { path, kind, what: "change", plugin: "", reason: "" },
        Ok(Verdict::Drop { plugin, reason }) => {
            Decision { path, kind, what: "drop", plugin, reason }
        }
        Ok(Verdict::Hold { plugin, reason }) => {
            Decision { path, kind, what: "hold", plugin, reason }
        }
        Err(failure) => {
            Decision { path, kind, what: "fail", plugin: &failure.plugin, reason: &failure.message }
        }
    };
    context.monitor.decided(&decision);
}
