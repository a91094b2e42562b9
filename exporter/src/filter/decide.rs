//! All contents of a section are decided on before its metadata is written; then the section is
//! written, with what was kept of them or with what a second fetch and the same decisions give.

use std::sync::Arc;

use archive::{LedgerLine, Sha256Digest};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hold::{Extent, Hold};
use super::large::{Filtered, Judged, Source};
use super::{Drops, failed};
use crate::Error;
use crate::context::Context;
use crate::inventory::{Inventory, Item};
use crate::outcome::Tally;
use crate::queue::Outlet;
use crate::section::{Event, Placed, Section};
use crate::spool::Turn;

/// A section whose contents are decided on.
pub(crate) struct Decided(Hold);

/// What is remembered of an item that stays.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// What the ledger says of it.
    ledger: Vec<LedgerLine>,
    left: Left,
}

/// Where its content comes from.
#[derive(Debug, Serialize, Deserialize)]
enum Left {
    Held(Extent),
    /// From the base, where the same chain has decided already.
    Base,
    /// The same way as before: it was this when it came, and this when the chain was done.
    Again {
        given: Sha256Digest,
        left: Sha256Digest,
    },
    /// Too large for the spool; which plugins replaced it, and what came out.
    Large {
        replaced: Vec<bool>,
        /// Length, and digest in hex, if a plugin replaced it.
        left: Option<(u64, String)>,
    },
    /// It has none.
    Nothing,
}

impl Section {
    /// Fetches all contents and has them decided on. What does not stay is taken out of the
    /// inventory.
    pub(crate) async fn decide(
        &self,
        context: &Arc<Context>,
        inventory: &Inventory,
        root: &Arc<Value>,
        outlet: &Outlet,
        drops: &mut Drops,
    ) -> Result<Decided, Error> {
        let mut hold = Hold::new(&context.spool).map_err(|e| context.spool_error(e))?;
        let base = self.section_base(context).await?;
        // Nothing is written before all are decided on: who is next goes on, whatever else waits.
        context.spool.set_front(self.index, Some(1));
        let fetched = self
            .placed(context, inventory, base)
            .map(|next| async move { self.fetch_apart(context, root, next?).await })
            .buffered(self.width());
        let mut fetched = std::pin::pin!(fetched);
        while let Some((events, item, turn)) = fetched.try_next().await? {
            let left = self.settle(context, &mut hold, &item, events, outlet, drops).await?;
            match left {
                Some(record) => inventory.remember(&item.id, &json(&record)?)?,
                None => inventory.drop_item(&item.id)?,
            }
            context.spool.set_front(self.index, Some(turn.item + 1));
        }
        context.spool.set_front(self.index, None);
        Ok(Decided(hold))
    }

    /// What is to be remembered of an item; nothing if it does not stay.
    async fn settle(
        &self,
        context: &Context,
        hold: &mut Hold,
        item: &Item,
        events: Vec<Event>,
        outlet: &Outlet,
        drops: &mut Drops,
    ) -> Result<Option<Record>, Error> {
        let mut ledger = Vec::new();
        let mut left = None;
        for event in events {
            match event {
                Event::Ledger(line) => ledger.push(line),
                Event::Item { content, given: None, .. } if content.is_in_base() => {
                    left = Some(Left::Base);
                }
                Event::Item { mut content, given, .. } => {
                    let kept = tokio::task::block_in_place(|| hold.keep(&mut content));
                    left = Some(match kept.map_err(|e| context.spool_error(e))? {
                        Some(extent) => Left::Held(extent),
                        None => Left::Again {
                            given: given.unwrap_or(content.sha256),
                            left: content.sha256,
                        },
                    });
                }
                Event::Copied { .. } if context.base_is_filtered() => left = Some(Left::Base),
                Event::Copied { region, .. } => {
                    let source = Source::Region(region);
                    left = self.settle_large(context, item, source, outlet, drops).await?;
                }
                Event::Large { large, .. } => {
                    let source = Source::File(large);
                    left = self.settle_large(context, item, source, outlet, drops).await?;
                }
                Event::Dropped { plugin } => drop_item(context, drops, plugin),
                // It never has content, so there was nothing to decide on.
                Event::Passed { .. } if !self.service.has_content(&item.kind) => {
                    left = Some(Left::Nothing)
                }
                _ => {}
            }
        }
        if let Some(left) = left {
            return Ok(Some(Record { ledger, left }));
        }
        // What could not be had could not be decided on: the ledger knows it by its id.
        for line in ledger {
            outlet.send(Event::Ledger(LedgerLine { path: None, ..line })).await?;
        }
        Ok(None)
    }

    async fn settle_large(
        &self,
        context: &Context,
        item: &Item,
        source: Source,
        outlet: &Outlet,
        drops: &mut Drops,
    ) -> Result<Option<Left>, Error> {
        match self.judge(context, item, &source).await? {
            Judged::Stays { replaced, left } => {
                let left = left.map(|(size, sha256)| (size, archive::hex(&sha256)));
                return Ok(Some(Left::Large { replaced, left }));
            }
            Judged::Dropped(plugin) => drop_item(context, drops, plugin),
            Judged::Failed(failure) => {
                outlet.send(Event::Ledger(failed(context, item, &failure))).await?;
            }
            Judged::Unreadable(note) => {
                let line = note.of_item("", &item.id);
                outlet.send(Event::Ledger(LedgerLine { path: None, ..line })).await?;
            }
        }
        Ok(None)
    }

    /// The events of an item that was decided on, now that it is written.
    pub(crate) async fn recall(
        &self,
        context: &Arc<Context>,
        inventory: &Inventory,
        root: &Arc<Value>,
        decided: &Decided,
        placed: Placed,
    ) -> Result<Vec<Event>, Error> {
        let record = inventory.recall(&placed.item.id)?;
        let record = record.and_then(|json| serde_json::from_str(&json).ok());
        let Record { ledger, left } =
            record.ok_or(Error::Internal("an item was not decided on"))?;
        if let Left::Held(extent) = left {
            let content = decided.0.get(extent, placed.turn);
            let (path, mtime) = (placed.item.path, placed.item.mtime);
            let item = Event::Item { path, mtime, content, given: None };
            return Ok(ledger.into_iter().map(Event::Ledger).chain([item]).collect());
        }
        let (events, item, turn) = self.fetch_apart(context, root, placed).await?;
        events.into_iter().map(|event| confirm(context, &item, turn, event, &left)).collect()
    }
}

/// What comes the second time must be what was decided on. An event that is not confirmed would
/// be content that no plugin has let pass.
fn confirm(
    context: &Context,
    item: &Item,
    turn: Turn,
    event: Event,
    left: &Left,
) -> Result<Event, Error> {
    let twice = || Error::SecondDecision { path: item.path.clone() };
    let filtered = |source| match left {
        Left::Large { replaced, left } => Ok(Event::Filtered {
            turn,
            filtered: Box::new(Filtered {
                source,
                item: item.clone(),
                replaced: replaced.clone(),
                left: left.clone(),
            }),
        }),
        _ => Err(twice()),
    };
    match event {
        Event::Large { turn, large, id } if item.exempt => Ok(Event::Large { turn, large, id }),
        Event::Large { large, .. } => filtered(Source::File(large)),
        Event::Copied { turn, path, mtime, region }
            if item.exempt || context.base_is_filtered() =>
        {
            Ok(Event::Copied { turn, path, mtime, region })
        }
        Event::Copied { region, .. } => filtered(Source::Region(region)),
        Event::Dropped { .. } | Event::Withheld => Err(twice()),
        // The same content must end as it did; one that has changed since may end otherwise.
        Event::Item { given: Some(now), ref content, .. } => match left {
            Left::Again { given, left } if *given == now && *left != content.sha256 => Err(twice()),
            _ => Ok(event),
        },
        event => Ok(event),
    }
}

fn drop_item(context: &Context, drops: &mut Drops, plugin: String) {
    Tally::add(&context.tally.dropped, 1);
    drops.count(plugin);
}

fn json(record: &Record) -> Result<String, Error> {
    serde_json::to_string(record).map_err(|_| Error::Internal("a record is no JSON"))
}
