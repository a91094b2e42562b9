//! A stream for each owner: many at a time, the longest first, and one that tells of them all
//! (design.md 10).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archive::{LedgerLine, Outcome, Seal, Selection};
use futures::{TryStreamExt, stream};
use graph::Graph;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::base::Base;
use crate::context::Context;
use crate::estimate::{Depth, Enquiry, Limits, estimate};
use crate::inventory::{Inventory, Name, Node};
use crate::monitor::Monitor;
use crate::options::Options;
use crate::outcome::{Summary, Tally};
use crate::owner::{Owner, OwnerList};
use crate::pipeline::{
    conclude, each, head, open, prepare, services, stream_out, summarize, writer,
};
use crate::service::Note;
use crate::spool::Turn;
use crate::state::States;
use crate::stream::{Command, Output, Stream as Archive};

/// Where the last stream tells of the others.
const STREAMS_PATH: &str = "directory/streams.ndjson";
/// Rows read at a time.
const BATCH: u32 = 64;

/// The owners of a tenant, each to be exported as a stream of its own.
pub struct Streams {
    context: Arc<Context>,
    /// In the order in which they begin: the longest first.
    owners: OwnerList,
    /// Where in that order we are.
    at: Mutex<(i64, String)>,
    /// What became of each, by id.
    ended: Inventory,
    count: u64,
    /// What is to be said of all.
    note: Option<LedgerLine>,
}

/// What one stream needs besides its owner.
pub struct Parts {
    /// What has not changed is taken from there.
    pub base: Option<Base>,
    /// From where the owner's listings go on.
    pub states: Option<Arc<States>>,
    /// Where the stream goes.
    pub output: Box<dyn Output>,
    /// Who is told of it.
    pub monitor: Arc<dyn Monitor>,
}

/// How long asking how much an owner has may take.
const WEIGHED_IN: Duration = Duration::from_secs(20);

/// How the stream of one owner ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamEnd {
    /// Stored, and no more is missing than tolerated.
    Complete,
    /// Stored, but more is missing.
    Partial,
    /// Not stored.
    Failed,
    /// Not begun: the run ended before.
    NotBegun,
    /// There is none: a guest has nothing.
    Guest,
}

impl Streams {
    /// Lists the owners and asks how much each has, so that the longest streams begin first:
    /// nothing shortens the whole as much (design.md 10). Guests get no stream.
    ///
    /// # Errors
    /// As [`crate::export`] before its first byte.
    pub async fn prepare(
        graph: Graph,
        options: Options,
        monitor: Arc<dyn Monitor>,
        cancel: CancellationToken,
    ) -> Result<Self, Error> {
        let context = open(graph, options, None, monitor, &Arc::new(Tally::default())).await?;
        tokio::select! {
            () = cancel.cancelled() => Err(Error::Interrupted),
            streams = Self::line_up(context) => streams,
        }
    }

    async fn line_up(context: Arc<Context>) -> Result<Self, Error> {
        let owners = prepare(&context).await?;
        let note = owners.tell_refused(&services(&context.options), &context.tally);
        let owners = owners.ours;
        let ended = context.inventory()?;
        let mut count = 0;
        {
            let weighed = each(&owners)
                .map_ok(|owner| weigh_in_time(&context, owner))
                .try_buffer_unordered(context.options.concurrency);
            let mut weighed = std::pin::pin!(weighed);
            while let Some((owner, weight)) = weighed.try_next().await? {
                let end = if owner.guest { StreamEnd::Guest } else { StreamEnd::NotBegun };
                count += u64::from(!owner.guest);
                put(&ended, &owner, end, &Summary::default())?;
                owners.place(&owner, -weight)?;
            }
        }
        owners.placed()?;
        let at = Mutex::new((i64::MIN, String::new()));
        Ok(Self { context, owners, at, ended, count, note })
    }

    /// How many there are, without the last one.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The owner whose stream is to begin next.
    ///
    /// # Errors
    /// When the temporary database fails.
    pub fn next(&self) -> Result<Option<Owner>, Error> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((key, owner)) = self.owners.first_after((at.0, &at.1))? {
            *at = (key, owner.id.clone());
            if !owner.guest {
                return Ok(Some(owner));
            }
        }
        Ok(None)
    }

    /// What an owner's stream selects: of the whole selection, that owner.
    #[must_use]
    pub fn selection(&self, owner: &Owner) -> Selection {
        let whole = &self.context.options.selection;
        Selection { users: vec![owner.id.clone()], shard: None, ..whole.clone() }
    }

    /// Writes the stream of one owner: byte for byte what [`crate::export`] writes for that
    /// user's id.
    ///
    /// # Errors
    /// As [`crate::export`].
    pub async fn export(
        &self,
        owner: &Owner,
        parts: Parts,
        cancel: CancellationToken,
    ) -> (Summary, Result<(), Error>) {
        let Parts { base, states, output, monitor } = parts;
        let selection = self.selection(owner);
        let options = Options { selection, states, ..self.context.options.clone() };
        let tally = Arc::new(Tally::default());
        Tally::add(&tally.owners, 1);
        let run = async {
            let graph = self.context.graph().clone();
            let context = tokio::select! {
                () = cancel.cancelled() => return Err(Error::Interrupted),
                context = open(graph, options, base, monitor, &tally) => context?,
            };
            stream_out(&context, None, stream::iter([Ok(owner.clone())]), output, cancel).await
        };
        summarize(&tally, run.await)
    }

    /// Remembers how the stream of an owner ended.
    ///
    /// # Errors
    /// When the temporary database fails.
    pub fn record(&self, owner: &Owner, end: StreamEnd, summary: &Summary) -> Result<(), Error> {
        put(&self.ended, owner, end, summary)
    }

    /// Writes the last stream: which there are, the digest of the seal of each, and in the ledger
    /// whose is not there.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn conclude(
        &self,
        output: Box<dyn Output>,
        cancel: CancellationToken,
    ) -> (Summary, Result<(), Error>) {
        let tally = Arc::clone(&self.context.tally);
        let run = async {
            let mut archive = Archive::start(output, writer(&self.context), Arc::clone(&tally))?;
            let written = tokio::select! {
                () = cancel.cancelled() => Err(Error::Interrupted),
                written = self.tell(&mut archive) => written,
            };
            conclude(archive, written, self.context.options.plugins.is_empty()).await
        };
        let ended: Result<Option<Seal>, Error> = run.await;
        summarize(&tally, ended)
    }

    async fn tell(&self, archive: &mut Archive) -> Result<(), Error> {
        let options = &self.context.options;
        archive.send(Command::Head(Box::new(head(options, &services(options))))).await?;
        if let Some(line) = self.note.clone() {
            archive.send(Command::Ledger(line)).await?;
        }
        let mut draft = self.context.spool.draft(Turn::default());
        let mut after = String::new();
        loop {
            let rows = self.ended.items_by_id_after(&after, BATCH)?;
            let Some(last) = rows.last() else { break };
            after = field(&parse(last), "id").to_owned();
            for row in rows {
                self.context.write(&mut draft, row.as_bytes()).await?;
                self.context.write(&mut draft, b"\n").await?;
                if let Some(line) = ledger_line(&parse(&row)) {
                    archive.send(Command::Ledger(line)).await?;
                }
            }
        }
        let (path, content) = (STREAMS_PATH.to_owned(), self.context.finish(draft)?);
        archive.send(Command::File { path, mtime: 0, item: false, content }).await
    }
}

/// The owner with its weight: milliseconds that its stream takes at the documented limits. Who
/// can't be weighed has none, and shows why when it is its turn; who is throttled now keeps no
/// stream from beginning.
async fn weigh_in_time(context: &Context, owner: Owner) -> Result<(Owner, i64), Error> {
    let weighed = tokio::time::timeout(WEIGHED_IN, weigh(context, &owner)).await;
    Ok((owner, weighed.unwrap_or(Ok(0))?))
}

async fn weigh(context: &Context, owner: &Owner) -> Result<i64, Error> {
    if owner.guest {
        return Ok(0);
    }
    let options = &context.options;
    let enquiry = Enquiry {
        services: options.services.clone(),
        selector: context.selector.clone(),
        depth: Depth::Quick,
        include_recoverable: options.include_recoverable,
        without_message_delta: options.without_message_delta,
    };
    let estimate = estimate(context.graph(), owner, &enquiry).await?;
    let milliseconds = estimate.seconds(&Limits::documented(None, 0)) * 1000.0;
    Ok(milliseconds.round() as i64)
}

fn put(
    inventory: &Inventory,
    owner: &Owner,
    end: StreamEnd,
    summary: &Summary,
) -> Result<(), Error> {
    let line = json!({
        "id": owner.id,
        "userPrincipalName": owner.upn,
        "path": owner.path(),
        "outcome": end,
        "seal": summary.seal_sha256,
        "items": summary.items,
        "skipped": summary.skipped,
        "failed": summary.failed,
        "converted": summary.converted,
        "damaged": summary.damaged,
    });
    inventory.put(&Node {
        id: &owner.id,
        listing: "streams",
        parent: "",
        kind: "stream",
        folder: false,
        key: 0,
        mtime: 0,
        name: Name::Unique(&owner.upn),
        json: &archive::json::canonical(&line),
        unwanted: None,
    })
}

fn parse(row: &str) -> Value {
    serde_json::from_str(row).unwrap_or_default()
}

fn field<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What the ledger says of an owner that has no stream.
fn ledger_line(row: &Value) -> Option<LedgerLine> {
    let note = match field(row, "outcome") {
        "guest" => {
            let message = "a guest has neither mailbox nor OneDrive in this tenant";
            Note::new(Outcome::Skipped, "guest", message)
        }
        "failed" => Note::new(Outcome::Failed, "stream", "the owner's stream was not stored"),
        "not-begun" => {
            Note::new(Outcome::Failed, "stream", "the run ended before the owner's stream began")
        }
        _ => return None,
    };
    Some(note.of_scope(field(row, "path")))
}
