//! The operator's log. The host adds the filter's name and the item; nothing of it is in the
//! archive. A call has 64 messages, of 4 KiB at most.
//!
//! ```
//! tar365_plugin::log::warn(format_args!("{} parts are too many", 1000));
//! ```

use std::fmt::Display;

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the filter's author.
    Debug,
    /// For the curious.
    Info,
    /// The operator should see it.
    Warn,
    /// Something is wrong.
    Error,
}

/// A message for the filter's author.
pub fn debug(message: impl Display) {
    write(Level::Debug, &message.to_string());
}

/// A message for the curious.
pub fn info(message: impl Display) {
    write(Level::Info, &message.to_string());
}

/// A message that the operator should see.
pub fn warn(message: impl Display) {
    write(Level::Warn, &message.to_string());
}

/// Something is wrong.
pub fn error(message: impl Display) {
    write(Level::Error, &message.to_string());
}

#[cfg(target_family = "wasm")]
use crate::guest::log as write;
#[cfg(not(target_family = "wasm"))]
use crate::native::log as write;
