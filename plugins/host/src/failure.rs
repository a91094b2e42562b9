//! What went wrong inside a plugin, told apart by whose limit or rule was broken.

use std::io;

use wasmtime::Trap;

use crate::{limits::MESSAGE, text::shown};

/// A plugin that did not come to a valid answer. The item is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plugin {plugin}: {message}")]
pub struct Failure {
    /// The plugin's name.
    pub plugin: String,
    /// What kind of failure.
    pub cause: Cause,
    /// For the operator's eyes; may hold the plugin's own words and does not belong into the
    /// archive.
    pub message: String,
}

/// The kinds of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It stopped itself, or broke a rule of WebAssembly or of the contract.
    Trap,
    /// It used up its fuel.
    Fuel,
    /// It wanted more memory, tables or instances than it may have.
    Memory,
    /// It recursed too deeply.
    Stack,
    /// What it handed over makes no sense, or is too much.
    Answer,
    /// It said itself that it can't decide.
    Refused,
}

impl Cause {
    /// The word for it in the ledger.
    pub const fn word(self) -> &'static str {
        match self {
            Cause::Trap => "plugin-trap",
            Cause::Fuel => "plugin-fuel",
            Cause::Memory => "plugin-memory",
            Cause::Stack => "plugin-stack",
            Cause::Answer => "plugin-answer",
            Cause::Refused => "plugin-error",
        }
    }
}

/// Why content did not get through a plugin.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The plugin's fault.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The content could not be read, which is not the plugin's fault.
    #[error("reading the content for a plugin: {0}")]
    Input(#[source] io::Error),
    /// What the plugin wrote could not be stored, which is not its fault either.
    #[error("storing what a plugin wrote: {0}")]
    Output(#[source] io::Error),
}

/// A rule that the host itself enforces, raised as a trap in the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// Growth beyond the limits.
    #[error("{0}")]
    Memory(String),
    /// A function of the contract was used where or as it must not be.
    #[error("{0}")]
    Misuse(String),
    /// The host's own input or output failed; the state knows how.
    #[error("the host could not read or write")]
    Io,
}

/// How far a call had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Making the instance.
    Instantiation,
    /// Running the export and taking its answer.
    Call,
}

impl Failure {
    /// The failure that an error of wasmtime stands for.
    pub(crate) fn of(plugin: &str, stage: Stage, error: &wasmtime::Error) -> Self {
        let cause = if let Some(trap) = error.downcast_ref::<Trap>() {
            match trap {
                Trap::OutOfFuel => Cause::Fuel,
                Trap::StackOverflow => Cause::Stack,
                Trap::AllocationTooLarge => Cause::Memory,
                _ => Cause::Trap,
            }
        } else if let Some(violation) = error.downcast_ref::<Violation>() {
            match violation {
                Violation::Memory(_) => Cause::Memory,
                Violation::Misuse(_) | Violation::Io => Cause::Trap,
            }
        } else {
            // Without a trap: no place for the instance, or values that can't be taken over.
            match stage {
                Stage::Instantiation => Cause::Memory,
                Stage::Call => Cause::Answer,
            }
        };
        Failure {
            plugin: plugin.to_owned(),
            cause,
            message: shown(&error.root_cause().to_string(), MESSAGE),
        }
    }

    /// An answer that can't be accepted.
    pub(crate) fn answer(plugin: &str, message: impl Into<String>) -> Self {
        Failure { plugin: plugin.to_owned(), cause: Cause::Answer, message: message.into() }
    }

    /// The guest's own error.
    pub(crate) fn refused(plugin: &str, message: &str) -> Self {
        let message = format!("it could not decide: {}", shown(message, MESSAGE));
        Failure { plugin: plugin.to_owned(), cause: Cause::Refused, message }
    }
}
