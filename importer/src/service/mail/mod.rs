//! Mail of a mailbox.

mod address;
mod attachments;
mod existing;
mod expected;
mod folders;
mod head;
mod message;
mod name;
mod nested;
mod outline;
mod part;
mod place;
mod properties;
mod raw;
#[cfg(test)]
mod tests;

pub(crate) use message::{AttachmentBody, Message};
pub(crate) use place::MailPlace;

/// The property that marks a message as ours: its value is the id of the message it was made of.
const SOURCE: &str = "String {00020329-0000-0000-C000-000000000046} Name tar365-source";
