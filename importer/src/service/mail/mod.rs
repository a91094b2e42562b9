//! Mail of a mailbox.

mod address;
mod attachments;
mod existing;
mod expected;
mod folders;
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

pub(crate) use message::{AttachmentBody, Message};
pub(crate) use place::MailPlace;

/// The property that marks a message as ours: its value is the id of the message it was made of.
const SOURCE: &str = "String {00020329-0000-0000-C000-000000000046} Name tar365-source";

/// Whether the item's bytes make a message that can be sent.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_any(item: &crate::item::Item) -> bool {
    message::Message::read(item).is_ok_and(|message| attachments::plan(&message).is_ok())
}
