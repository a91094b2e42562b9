//! What plugins decide on an archive, told item by item.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use archive::{Region, Selection};
use exporter::{Decision, Monitor, Progress, SpoolOptions, Summary};
use plugin_host::Chain;
use serde_json::json;

use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::plugins;
use crate::terminal::{self, Data};

/// Decisions that wait to be printed; then those who decide wait.
const WAITING: usize = 4096;

/// What is shown of them, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Show {
    /// Also what is kept.
    pub(super) all: bool,
    /// One JSON object a line.
    pub(super) json: bool,
}

/// How often plugins decided what, by the words of [`Decision::what`].
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<String, u64>);

/// Puts what is selected of an archive through a chain and prints what becomes of it. What comes
/// out is in a file that is gone with us.
pub(super) async fn filter(
    input: Input,
    chain: Chain,
    selection: &Selection,
    spool: SpoolOptions,
    show: Show,
) -> Result<(Region, Summary, Counts), Failure> {
    let (sender, receiver) = sync_channel(WAITING);
    let mut printer = tokio::task::spawn_blocking(move || print(&receiver, show));
    let monitor = Arc::new(Watch(sender.clone()));
    let filtered = tokio::select! {
        // It ends before it is told to when nobody reads what it prints.
        printed = &mut printer => return Err(ended(printed).err().unwrap_or_else(internal)),
        filtered = plugins::rewritten(input, chain, selection, spool, monitor) => filtered,
    };
    // A printer that has ended has said why.
    let _ = tokio::task::block_in_place(|| sender.send(None));
    let counts = ended(printer.await)?;
    let (region, summary) = filtered?;
    Ok((region, summary, counts))
}

fn ended(
    printed: Result<Result<Counts, Failure>, tokio::task::JoinError>,
) -> Result<Counts, Failure> {
    printed.unwrap_or_else(|_| Err(internal()))
}

fn internal() -> Failure {
    Failure::new(Code::Fatal, "internal error")
}

/// Sends what is decided to where it is printed; none is the end.
struct Watch(SyncSender<Option<Decided>>);

/// An owned [`Decision`].
struct Decided {
    path: String,
    kind: String,
    what: String,
    plugin: String,
    reason: String,
}

impl Monitor for Watch {
    fn progress(&self, _: &Progress, _: &str) {}

    fn warn(&self, message: &str) {
        terminal::line(&format!("tar365: warning: {message}"));
    }

    fn decided(&self, decision: &Decision<'_>) {
        let decided = Decided {
            path: decision.path.to_owned(),
            kind: decision.kind.to_owned(),
            what: decision.what.to_owned(),
            plugin: decision.plugin.to_owned(),
            reason: decision.reason.to_owned(),
        };
        // Nobody receives any more only when printing has failed, which is told.
        let _ = self.0.send(Some(decided));
    }
}

/// Prints what comes until its end.
fn print(decisions: &Receiver<Option<Decided>>, show: Show) -> Result<Counts, Failure> {
    let mut data = Data::new();
    let mut counts = Counts::default();
    while let Ok(Some(decided)) = decisions.recv() {
        if show.all || !matches!(decided.what.as_str(), "keep" | "keep content") {
            data.line(&if show.json { decided.json() } else { decided.text() })?;
        }
        *counts.0.entry(decided.what).or_default() += 1;
    }
    data.finish()?;
    Ok(counts)
}

impl Decided {
    fn text(&self) -> String {
        let line = format!("{:<15}  {}", self.what, self.path);
        match (self.plugin.as_str(), self.reason.as_str()) {
            ("", _) => line,
            (plugin, "") => format!("{line}  ({plugin})"),
            (plugin, reason) => format!("{line}  ({plugin}: {reason})"),
        }
    }

    fn json(&self) -> String {
        json!({
            "decision": self.what,
            "path": self.path,
            "kind": self.kind,
            "plugin": self.plugin,
            "reason": self.reason,
        })
        .to_string()
    }
}

impl Counts {
    /// The last line.
    pub(super) fn show(&self, summary: &Summary, show: Show) -> Result<(), Failure> {
        let mut data = Data::new();
        if show.json {
            let items = summary.items;
            data.line(&json!({ "decisions": self.0, "items_left": items }).to_string())?;
            return data.finish();
        }
        let of = |what: &str| self.0.get(what).copied().unwrap_or_default();
        data.line(&format!(
            "by metadata: {} kept, {} changed, {} held; by content: {} kept, {} replaced; {} \
             dropped, {} failed; {} items are left",
            of("keep"),
            of("change"),
            of("hold"),
            of("keep content"),
            of("replace content"),
            of("drop"),
            of("fail"),
            summary.items,
        ))?;
        data.finish()
    }
}
