//! Taking back what a restore made.

use super::account::{Errand, Id};
use super::layout::is_same;
use super::name::quoted;
use super::wire::{Failure, Session, listed};
use crate::error::Error;
use crate::place::Undone;

/// Removes a message, and no other.
pub(super) struct RemoveMessage<'a> {
    /// As in the journal.
    pub(super) id: &'a str,
}

impl Errand for RemoveMessage<'_> {
    type Done = Undone;

    async fn run(&mut self, session: &mut Session) -> Result<Undone, Failure> {
        let Some(Id { wire, validity, uid }) = Id::parse(self.id) else {
            return Err(Failure::Final(Error::Imap {
                doing: format!("remove {}", self.id),
                message: "it is no message of an IMAP server".to_owned(),
                fatal: false,
                refused: false,
            }));
        };
        let Some(selected) = session.select(wire).await? else { return Ok(Undone::Removed) };
        if selected.validity != validity {
            tracing::warn!(mailbox = wire, "the server has given new UIDs: nothing is removed");
            return Ok(Undone::Kept);
        }
        if !is_there(session, uid).await? {
            return Ok(Undone::Removed);
        }
        // EXPUNGE would remove what others have marked (RFC 4315, 2.1).
        if !session.can("UIDPLUS") {
            tracing::warn!(mailbox = wire, uid, "without UIDPLUS no message is removed alone");
            return Ok(Undone::Kept);
        }
        let doing = format!("remove a message from {wire}");
        let store = format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)");
        session.must(&doing, &store, |_| ()).await?;
        session.must(&doing, &format!("UID EXPUNGE {uid}"), |_| ()).await?;
        Ok(if is_there(session, uid).await? { Undone::Kept } else { Undone::Removed })
    }
}

async fn is_there(session: &mut Session, uid: u32) -> Result<bool, Failure> {
    let mut there = false;
    session.fetch(&uid.to_string(), |found| there |= found.uid == uid).await?;
    Ok(there)
}

/// Removes a mailbox in which nothing is, neither a message nor another mailbox.
pub(super) struct RemoveFolder<'a> {
    /// Its name on the wire.
    pub(super) wire: &'a str,
    pub(super) delimiter: String,
}

impl Errand for RemoveFolder<'_> {
    type Done = Undone;

    async fn run(&mut self, session: &mut Session) -> Result<Undone, Failure> {
        let wire = self.wire;
        let (mut there, mut children) = (false, false);
        let below = format!("{wire}{}", self.delimiter);
        // A name may hold wildcards, so answers are looked at.
        for pattern in [wire.to_owned(), format!("{below}*")] {
            let command = format!("LIST \"\" {}", quoted(&pattern));
            session
                .must("list mailboxes", &command, |response| {
                    let Some((attributes, _, name)) = listed(response) else { return };
                    if is_same(&name, wire) {
                        there |= !attributes.iter().any(|a| a == "\\nonexistent");
                    } else {
                        children |= !self.delimiter.is_empty()
                            && super::name::unquoted(&name).starts_with(&below);
                    }
                })
                .await?;
        }
        if !there {
            return Ok(Undone::Removed);
        }
        if children || !is_empty(session, wire).await? {
            return Ok(Undone::Kept);
        }
        session.selected = None;
        let doing = format!("remove mailbox {wire}");
        session.must(&doing, &format!("DELETE {}", quoted(wire)), |_| ()).await?;
        let end = session.command(&format!("UNSUBSCRIBE {}", quoted(wire)), |_| ()).await?;
        if !end.ok {
            tracing::debug!(mailbox = wire, message = end.text, "still subscribed");
        }
        Ok(Undone::Removed)
    }
}

/// Whether no message is in it. Selecting it anew shows what others put there.
async fn is_empty(session: &mut Session, wire: &str) -> Result<bool, Failure> {
    session.selected = None;
    Ok(session.select(wire).await?.is_none_or(|selected| selected.is_empty()))
}
