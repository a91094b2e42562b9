//! Mail of a mailbox.

mod address;
mod attachments;
mod compared;
mod expected;
pub(super) mod folders;
mod found;
mod head;
mod message;
mod name;
mod nested;
mod outline;
mod part;
mod place;
mod properties;
mod raw;
mod settle;
#[cfg(test)]
mod tests;
mod undo;

use std::sync::Arc;

use archive::metadata::Line;
use graph::Graph;
use serde_json::Value;

use super::{About, Compared, Import};
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::Options;
use crate::section::Section;
use crate::target::User;
use message::{AttachmentBody, Message};
use place::MailPlace;

/// Messages.
pub(super) struct Mail;

impl Import for Mail {
    const ABOUT: About = About {
        name: "mail",
        roles: &["Mail.ReadWrite"],
        // FACTS 2.2: 150 MB in 5 minutes.
        most_upload: Some(150_000_000 / 300),
    };

    type Place = MailPlace;

    async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<MailPlace, Error> {
        MailPlace::open(graph, user, section, options, journal).await
    }

    fn reopen(graph: Graph, section: &str, address: &str, journal: Arc<Journal>) -> MailPlace {
        MailPlace::reopen(graph, section, address, journal)
    }

    /// When it was received.
    fn mtime(line: &Line) -> i64 {
        crate::item::mtime(line, &["/receivedDateTime", "/createdDateTime"])
    }

    fn requests(line: &Line, size: u64) -> u64 {
        match size {
            0..3_000_000 => {
                let attached = line.graph.get("hasAttachments").and_then(Value::as_bool);
                2 + u64::from(attached.unwrap_or(false))
            }
            _ => 6 + size.div_ceil(4_000_000),
        }
    }

    fn compared(item: &Item) -> Result<Compared, Error> {
        compared::compared(item)
    }
}

/// Whether the item's bytes make a message that can be sent.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_any(item: &crate::item::Item) -> bool {
    message::Message::read(item).is_ok_and(|message| attachments::plan(&message).is_ok())
}
