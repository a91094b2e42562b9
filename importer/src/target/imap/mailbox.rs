//! What is in a mailbox, as far as it matters for what comes: who is there already.

use std::collections::BTreeSet;

use async_imap::imap_proto::{MailboxDatum, Response, ResponseCode};

use super::mail::Mail;
use super::name::quoted;
use super::wire::{Failure, Session};

/// What the server said when a mailbox was selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) validity: u32,
    pub(super) uid_next: Option<u32>,
    exists: u32,
    /// PERMANENTFLAGS, if it named any.
    pub(super) permanent: Option<Vec<String>>,
}

impl Selected {
    pub(super) const fn is_empty(&self) -> bool {
        self.exists == 0
    }
}

/// A message that may be the one that is looked for. Sixteen bytes and a flag, because a mailbox
/// may have a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    size: u32,
    date: i64,
    uid: u32,
    taken: bool,
}

/// The messages of a mailbox by size and date. Each stands for one item at most: copies in one
/// folder stay copies.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// Zero until it is read.
    validity: u32,
    entries: Vec<Entry>,
    /// UIDs below this are among the entries.
    read_to: u32,
    /// UIDs from there on that stand for an item already.
    taken: BTreeSet<u32>,
    /// There may be messages of ours that are not among the entries.
    pub(super) stale: bool,
}

impl Mailbox {
    /// Reads what is new. `taken` are UIDs that stand for items of an earlier run.
    pub(super) async fn refresh(
        &mut self,
        session: &mut Session,
        selected: &Selected,
        taken: &(impl Fn() -> BTreeSet<u32> + Sync),
    ) -> Result<(), Failure> {
        if self.validity != selected.validity {
            *self = Self { validity: selected.validity, read_to: 1, ..Self::default() };
            if selected.exists == 0 {
                self.read_to = selected.uid_next.unwrap_or(1);
                return Ok(());
            }
        } else if !self.stale {
            return Ok(());
        }
        // A server tells of new messages when there is a command to answer.
        session.must("look for new messages", "NOOP", |_| ()).await?;
        let from = self.read_to;
        let mut found = Vec::new();
        session
            .fetch(&format!("{from}:*"), |message| {
                // A set that ends with a star has the last message in it, however old.
                if message.uid >= from {
                    found.push((message.uid, message.size, message.date));
                }
            })
            .await?;
        let known = taken();
        for (uid, size, date) in found {
            self.read_to = self.read_to.max(uid.saturating_add(1));
            let taken = self.taken.remove(&uid) || known.contains(&uid);
            if let Some(date) = date {
                self.entries.push(Entry { size, date, uid, taken });
            }
        }
        self.entries.sort_unstable();
        self.stale = false;
        Ok(())
    }

    /// A message with the bytes and the date of the mail that stands for no item yet: now it
    /// stands for this one.
    pub(super) async fn find(
        &mut self,
        session: &mut Session,
        mail: &Mail<'_>,
    ) -> Result<Option<u32>, Failure> {
        let key = (mail.size, mail.date);
        let start = self.entries.partition_point(|entry| (entry.size, entry.date) < key);
        let end = self.entries.partition_point(|entry| (entry.size, entry.date) <= key);
        for entry in self.entries[start..end].iter_mut().filter(|entry| !entry.taken) {
            if session.sha256(entry.uid).await? == Some(mail.sha256) {
                entry.taken = true;
                return Ok(Some(entry.uid));
            }
        }
        Ok(None)
    }

    /// A message that was made now stands for its item.
    pub(super) fn take(&mut self, uid: u32) {
        if uid >= self.read_to {
            self.taken.insert(uid);
        }
    }
}

impl Session {
    /// Selects a mailbox, unless it is. None if there is no such mailbox.
    pub(super) async fn select(&mut self, wire: &str) -> Result<Option<Selected>, Failure> {
        if let Some((name, selected)) = &self.selected
            && name == wire
        {
            return Ok(Some(selected.clone()));
        }
        self.selected = None;
        let mut selected = Selected::default();
        let reply = self
            .command(&format!("SELECT {}", quoted(wire)), |response| match response {
                Response::MailboxData(MailboxDatum::Exists(exists)) => selected.exists = *exists,
                Response::Data { outcome, .. } => match &outcome.code {
                    Some(ResponseCode::UidValidity(validity)) => selected.validity = *validity,
                    Some(ResponseCode::UidNext(next)) => selected.uid_next = Some(*next),
                    Some(ResponseCode::PermanentFlags(flags)) => {
                        let flags = flags.iter().map(|flag| flag.clone().into_owned());
                        selected.permanent = Some(flags.collect());
                    }
                    _ => {}
                },
                _ => {}
            })
            .await?;
        if reply.ok {
            self.selected = Some((wire.to_owned(), selected.clone()));
            return Ok(Some(selected));
        }
        match reply.code.as_str() {
            // Without a code it may be anything; whether it is there, LIST tells.
            "" | "NONEXISTENT" | "TRYCREATE" if !self.is_listed(wire).await? => Ok(None),
            _ => Err(reply.failure(&format!("open mailbox {wire}"))),
        }
    }

    /// Whether there is such a mailbox, one that can be selected.
    pub(super) async fn is_listed(&mut self, wire: &str) -> Result<bool, Failure> {
        let mut there = false;
        let command = format!("LIST \"\" {}", quoted(wire));
        self.must("list mailboxes", &command, |response| {
            if let Some((attributes, _, name)) = super::wire::listed(response) {
                let gone = |a: &String| a == "\\noselect" || a == "\\nonexistent";
                there |= super::layout::is_same(&name, wire) && !attributes.iter().any(gone);
            }
        })
        .await?;
        Ok(there)
    }
}
