//! A loaded plugin.

use std::io::{Read, Write};

use archive::FilterRef;

use crate::{
    ContentDecision, ContentError, Failure, Item, Manifest, MetadataDecision, Phase,
    contract::Guest, limits::MESSAGE, runner::Runner, state::Content, text::shown,
};

/// A plugin that is compiled, linked and configured. Every call has an instance of its own, so
/// that calls can be made from many threads at once and no answer depends on another.
pub struct Plugin {
    manifest: Manifest,
    reference: FilterRef,
    guest: Box<dyn Guest>,
    runner: Runner,
}

impl Plugin {
    pub(crate) fn new(
        manifest: Manifest,
        reference: FilterRef,
        guest: Box<dyn Guest>,
        runner: Runner,
    ) -> Self {
        Plugin { manifest, reference, guest, runner }
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How the archive's head speaks of it: digests are of the bytes as they were given.
    pub fn reference(&self) -> FilterRef {
        self.reference.clone()
    }

    /// Whether it is to be asked about this service in this phase.
    pub fn wants(&self, phase: Phase, service: &str) -> bool {
        let services = &self.manifest.services;
        self.has(phase) && (services.is_empty() || services.iter().any(|name| name == service))
    }

    /// Asks it to decide by metadata. A change is given as it came, see [`crate::Chain`].
    ///
    /// Fails with [`crate::Cause::Answer`] for an answer that its phases do not allow, and as
    /// [`Failure`] says.
    pub fn on_metadata(&self, item: &Item) -> Result<MetadataDecision, Failure> {
        let mut call = self.runner.begin();
        call.state().item = Some(item.clone());
        let answer = call.ask(&*self.guest, |instance, store| instance.on_metadata(store))?;
        let answer = answer.map_err(|message| self.refused(&message))?;
        let wrong = |what: &str| Err(Failure::answer(&self.manifest.name, what));
        match answer {
            MetadataDecision::Hold(_) if !self.has(Phase::Hold) => {
                wrong("it holds an item without having the phase hold")
            }
            MetadataDecision::Drop(_) | MetadataDecision::Change(_)
                if !self.has(Phase::Metadata) =>
            {
                wrong("it drops or changes an item without having the phase metadata")
            }
            MetadataDecision::Drop(reason) => Ok(MetadataDecision::Drop(shown(&reason, MESSAGE))),
            MetadataDecision::Hold(reason) => Ok(MetadataDecision::Hold(shown(&reason, MESSAGE))),
            answer => Ok(answer),
        }
    }

    /// Asks it to decide by content. It reads `input` as far as it likes, in pieces whose borders
    /// do not depend on those of `input`, and writes to `output`, which is given back in every
    /// case and not flushed. What was written counts only after [`ContentDecision::Replace`].
    pub fn on_content<I, O>(
        &self,
        item: &Item,
        input: I,
        output: O,
    ) -> (Result<ContentDecision, ContentError>, O)
    where
        I: Read + Send + 'static,
        O: Write + Send + 'static,
    {
        let mut call = self.runner.begin();
        call.state().item = Some(item.clone());
        call.state().content = Some(Content { input: Box::new(input), output: Box::new(output) });
        let answer = call.ask(&*self.guest, |instance, store| instance.on_content(store));
        let state = call.state();
        let decision = match (state.io_error.take(), answer) {
            (Some(error), _) => Err(error),
            (None, Err(failure)) => Err(failure.into()),
            (None, Ok(Err(message))) => Err(self.refused(&message).into()),
            (None, Ok(Ok(ContentDecision::Drop(reason)))) => {
                Ok(ContentDecision::Drop(shown(&reason, MESSAGE)))
            }
            (None, Ok(Ok(decision))) => Ok(decision),
        };
        let content = state.content.take().expect("nobody takes the content of a call");
        let output = content.output.into_any().downcast().expect("the output that was lent");
        (decision, *output)
    }

    fn has(&self, phase: Phase) -> bool {
        self.manifest.phases.contains(&phase)
    }

    fn refused(&self, message: &str) -> Failure {
        Failure::refused(&self.manifest.name, message)
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Plugin")
            .field("manifest", &self.manifest)
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}
