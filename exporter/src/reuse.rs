//! An item that the base has too: taken from there, or fetched and compared.

use std::io::Read as _;

use archive::{Outcome, Region, Sha256Digest};
use serde_json::Value;

use crate::Error;
use crate::base::{Earlier, EarlierContent, equal_but_boundaries, prove};
use crate::context::Context;
use crate::filter::{self, Passed};
use crate::inventory::Item;
use crate::outcome::Tally;
use crate::section::{Event, Section};
use crate::service::{Note, is_incomplete};
use crate::spool::{Spooled, Turn};

/// Mails longer than this are not compared: both would be in memory, twice.
const MOST_COMPARED: u64 = 8 << 20;

/// What the ledger says of an item that an archive has in no usable form.
pub(crate) const DAMAGED: &str = "its bytes in the archive are damaged";

impl Section {
    /// The item from the base if it may be used, else from the service, and through the plugins
    /// that decide on contents. An item of a base that went through them is as they left it.
    pub(crate) async fn fetch_or_reuse(
        &self,
        context: &Context,
        root: &Value,
        item: &Item,
        turn: Turn,
        earlier: Option<Earlier>,
        sampled: bool,
    ) -> Result<Vec<Event>, Error> {
        let events = match &context.graph {
            Some(_) => self.obtain(context, root, item, turn, earlier, sampled).await?,
            None => archived(context, item, turn, earlier).await?,
        };
        match context.base_is_filtered() {
            true => Ok(events),
            false => self.pass(context, item, turn, events).await,
        }
    }

    /// What was fetched and is the base's but for boundaries that the service makes up is the
    /// base's all the same.
    async fn obtain(
        &self,
        context: &Context,
        root: &Value,
        item: &Item,
        turn: Turn,
        earlier: Option<Earlier>,
        sampled: bool,
    ) -> Result<Vec<Event>, Error> {
        // What lacked something may be had whole now.
        let is_whole = |earlier: &Earlier| {
            earlier.note.as_ref().is_none_or(|note| !is_incomplete(&note.cause))
        };
        let wanted = item.unwanted.is_none();
        let Some(earlier) = earlier.filter(|earlier| wanted && is_whole(earlier)) else {
            return self.fetch_like_base(context, root, item, turn).await;
        };
        let now: Value = serde_json::from_str(&item.json)
            .map_err(|_| Error::Internal("the inventory gave back bad JSON"))?;
        let is_same = self.service.is_same_content(&earlier.graph, &now);
        if is_same && !sampled {
            return match reuse(context, item, turn, earlier).await? {
                Some(events) => Ok(events),
                None => self.fetch_like_base(context, root, item, turn).await,
            };
        }
        let mut earlier = earlier;
        let mut fetched = self.fetch_like_base(context, root, item, turn).await?;
        let likeness = likeness(context, &mut fetched, &mut earlier)?;
        if is_same && likeness != Likeness::Unknown {
            Tally::add(&context.tally.reread, 1);
        }
        let is_kept = match likeness {
            Likeness::Same => false,
            Likeness::SameButBoundaries => true,
            Likeness::Different if is_same => {
                Tally::add(&context.tally.drifted, 1);
                let path = &item.path;
                context.monitor.warn(&format!("{path} differs from the base, though unchanged"));
                false
            }
            Likeness::Different => false,
            // What could only not be compared is as good as it was.
            Likeness::Unknown => is_same,
        };
        if !is_kept {
            return Ok(fetched);
        }
        // Its room is needed for the other.
        drop(fetched);
        match reuse(context, item, turn, earlier).await? {
            Some(events) => {
                let kept = likeness == Likeness::SameButBoundaries;
                Tally::add(&context.tally.kept, u64::from(kept));
                Ok(events)
            }
            None => self.fetch_like_base(context, root, item, turn).await,
        }
    }

    /// From the service; through plugins if the base is what went through them.
    async fn fetch_like_base(
        &self,
        context: &Context,
        root: &Value,
        item: &Item,
        turn: Turn,
    ) -> Result<Vec<Event>, Error> {
        let events = self.fetch(context, root, item, turn).await?;
        match context.base_is_filtered() {
            true => self.pass(context, item, turn, events).await,
            false => Ok(events),
        }
    }

    /// Has a spooled content decided on; what is larger must be asked about when it streams.
    async fn pass(
        &self,
        context: &Context,
        item: &Item,
        turn: Turn,
        mut events: Vec<Event>,
    ) -> Result<Vec<Event>, Error> {
        let is_content = |event: &mut Event| matches!(event, Event::Item { .. });
        if !context.options.plugins.wants_content(self.service.name()) {
            return Ok(events);
        }
        let Some(Event::Item { path, mtime, content, .. }) = events.pop_if(is_content) else {
            return Ok(events);
        };
        match filter::pass(self, context, item, turn, content).await? {
            Passed::Content(content, given) => {
                events.push(Event::Item { path, mtime, content, given: Some(given) });
                Ok(events)
            }
            Passed::Dropped(plugin) => Ok(vec![Event::Dropped { plugin }]),
            Passed::Failed(failure) => {
                let line = filter::failed(context, item, &failure);
                Ok(vec![Event::Ledger(line), Event::Withheld])
            }
        }
    }
}

/// An item of an archive that is the only source. What the archive says of it is told anew with
/// the rest of its ledger.
async fn archived(
    context: &Context,
    item: &Item,
    turn: Turn,
    earlier: Option<Earlier>,
) -> Result<Vec<Event>, Error> {
    let Some(earlier) = earlier else { return Ok(vec![Event::Passed { turn }]) };
    if let Some(events) = reuse(context, item, turn, Earlier { note: None, ..earlier }).await? {
        return Ok(events);
    }
    let note = Note::new(Outcome::Failed, "damaged", DAMAGED);
    Ok(vec![Event::Ledger(note.of_item(&item.path, &item.id)), Event::Passed { turn }])
}

/// How what was fetched compares with what the base has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Same,
    SameButBoundaries,
    Different,
    /// It could not be had now, or is too large to be looked at before it is written.
    Unknown,
}

fn likeness(
    context: &Context,
    fetched: &mut [Event],
    earlier: &mut Earlier,
) -> Result<Likeness, Error> {
    let (is_converted, content) = match fetched {
        [Event::Item { content, .. }] => (false, content),
        [Event::Ledger(_), Event::Item { content, .. }] => (true, content),
        [Event::Ledger(line), Event::Passed { .. }] if line.outcome == Outcome::Skipped => {
            return Ok(Likeness::Different);
        }
        [Event::Dropped { .. }] | [Event::Ledger(_), Event::Withheld] => {
            return Ok(Likeness::Different);
        }
        _ => return Ok(Likeness::Unknown),
    };
    let (size, sha256) = match &earlier.content {
        EarlierContent::Region(region, sha256) => (region.length(), *sha256),
        EarlierContent::Spooled(spooled) => (spooled.size, spooled.sha256),
    };
    if (size, sha256) == (content.size, content.sha256) {
        return Ok(Likeness::Same);
    }
    if is_converted || earlier.note.is_some() || size.max(content.size) > MOST_COMPARED {
        return Ok(Likeness::Different);
    }
    let failed = |source| context.spool_error(source);
    tokio::task::block_in_place(|| {
        let before = match &mut earlier.content {
            EarlierContent::Region(region, sha256) => read(region, *sha256),
            EarlierContent::Spooled(spooled) => Some(spooled.bytes().map_err(failed)?),
        };
        let Some(before) = before else { return Ok(Likeness::Different) };
        let now = content.bytes().map_err(failed)?;
        Ok(match equal_but_boundaries(&before, &now) {
            true => Likeness::SameButBoundaries,
            false => Likeness::Different,
        })
    })
}

/// The events of an item of the base; none if its bytes are not what they should be.
async fn reuse(
    context: &Context,
    item: &Item,
    turn: Turn,
    earlier: Earlier,
) -> Result<Option<Vec<Event>>, Error> {
    let Earlier { content, note, .. } = earlier;
    let (path, mtime) = (item.path.clone(), item.mtime);
    let (content, size) = match content {
        EarlierContent::Spooled(content) => {
            let size = content.size;
            (Some(Event::Item { path, mtime, content, given: None }), size)
        }
        EarlierContent::Region(region, sha256) => {
            let size = region.length();
            (in_file(context, path, mtime, turn, &region, sha256), size)
        }
    };
    let Some(content) = content else {
        Tally::add(&context.tally.bad_in_base, 1);
        let then = if context.graph.is_some() { "is fetched again" } else { "is left out" };
        context.monitor.warn(&format!("{} is bad in the base and {then}", item.path));
        return Ok(None);
    };
    Tally::add(&context.tally.from_base, 1);
    Tally::add(&context.tally.base_bytes, size);
    let note = note.filter(|note: &Note| note.outcome == Outcome::Converted);
    let line = note.map(|note| Event::Ledger(note.of_item(&item.path, &item.id)));
    Ok(Some(line.into_iter().chain([content]).collect()))
}

/// Content in the base's file, proven before a byte of it is used. It stays where it is until it
/// is written: that takes no room, and a second look at what was just read costs less than to keep
/// it.
fn in_file(
    context: &Context,
    path: String,
    mtime: i64,
    turn: Turn,
    region: &Region,
    sha256: Sha256Digest,
) -> Option<Event> {
    tokio::task::block_in_place(|| prove(region, sha256)).ok()?;
    if region.length() > context.spool.longest() {
        return Some(Event::Copied { turn, path, mtime, region: region.clone() });
    }
    let content = Spooled::in_base(&context.spool, region, sha256, turn);
    Some(Event::Item { path, mtime, content, given: None })
}

/// All of a region, if it is what it should be.
fn read(region: &Region, sha256: Sha256Digest) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(region.length()).ok()?);
    archive::region::Proven::new(region.reader(), Some(sha256)).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
