//! The chain on one content that the spool holds: plugin after plugin, each with what the one
//! before it left.

use archive::Sha256Digest;
use plugin_host::{ContentDecision, ContentError, Failure};
use tokio::sync::mpsc;

use super::pipe::{AHEAD, Lent, Piece, PipeWriter};
use crate::Error;
use crate::context::Context;
use crate::inventory::Item;
use crate::monitor::Decision;
use crate::section::Section;
use crate::spool::{Spooled, Turn};

/// What the chain made of a content.
pub(crate) enum Passed {
    /// It is what it was, or another; the digest is that of what was given to the chain.
    Content(Spooled, Sha256Digest),
    /// The plugin of this name dropped it.
    Dropped(String),
    Failed(Failure),
}

/// Lets every plugin that wants to decide on this content.
pub(crate) async fn pass(
    section: &Section,
    context: &Context,
    item: &Item,
    turn: Turn,
    mut content: Spooled,
) -> Result<Passed, Error> {
    let given = content.sha256;
    let service = section.service.name();
    let count = context.options.plugins.content_plugins(service).count();
    let is_exempt = item.exempt;
    for number in (0..count).filter(|_| !is_exempt) {
        let (decision, input, written) = run(section, context, item, turn, content, number).await?;
        tell(context, section, item, number, &decision);
        content = match decision {
            Ok(ContentDecision::Keep) => input,
            Ok(ContentDecision::Replace) => written,
            Ok(ContentDecision::Drop(_)) => {
                return Ok(Passed::Dropped(name(context, section, number)));
            }
            Err(failure) => return Ok(Passed::Failed(failure)),
        };
    }
    Ok(Passed::Content(content, given))
}

/// Runs one plugin: its decision, the content it was given, and what it wrote.
async fn run(
    section: &Section,
    context: &Context,
    item: &Item,
    turn: Turn,
    content: Spooled,
    number: usize,
) -> Result<(Result<ContentDecision, Failure>, Spooled, Spooled), Error> {
    let lent = Lent::new(content);
    let (sender, mut pieces) = mpsc::channel(AHEAD);
    let (chain, subject) = (context.options.plugins.clone(), section.subject(item));
    let (service, input) = (section.service.name(), lent.clone());
    let plugin = tokio::task::spawn_blocking(move || {
        let plugin = chain.content_plugins(service).nth(number)?;
        Some(plugin.on_content(&subject, input, PipeWriter::new(sender)).0)
    });
    let mut draft = context.spool.draft(turn);
    while let Some(piece) = pieces.recv().await {
        if let Piece::Bytes(bytes) = piece {
            context.write(&mut draft, &bytes).await?;
        }
    }
    let decision = plugin.await.ok().flatten();
    let decision = decision.ok_or(Error::Internal("a plugin's thread panicked"))?;
    let decision = match decision {
        Ok(decision) => Ok(decision),
        Err(ContentError::Failure(failure)) => Err(failure),
        Err(ContentError::Input(source) | ContentError::Output(source)) => {
            return Err(context.spool_error(source));
        }
    };
    let input = lent.back().ok_or(Error::Internal("a plugin kept its content"))?;
    let input = input.map_err(|source| context.spool_error(source))?;
    Ok((decision, input, context.finish(draft)?))
}

/// The name of a plugin of the chain that decides on contents.
pub(super) fn name(context: &Context, section: &Section, number: usize) -> String {
    let mut plugins = context.options.plugins.content_plugins(section.service.name());
    plugins.nth(number).map(|plugin| plugin.manifest().name.clone()).unwrap_or_default()
}

pub(super) fn tell(
    context: &Context,
    section: &Section,
    item: &Item,
    number: usize,
    decision: &Result<ContentDecision, Failure>,
) {
    let plugin = name(context, section, number);
    let (what, reason) = match decision {
        Ok(ContentDecision::Keep) => ("keep content", ""),
        Ok(ContentDecision::Replace) => ("replace content", ""),
        Ok(ContentDecision::Drop(reason)) => ("drop", reason.as_str()),
        Err(failure) => ("fail", failure.message.as_str()),
    };
    let (path, kind) = (item.path.as_str(), item.kind.as_str());
    context.monitor.decided(&Decision { path, kind, what, plugin: &plugin, reason });
}
