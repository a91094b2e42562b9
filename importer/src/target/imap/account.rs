//! An account on a server, shared by all sections that go there: its connections, its mailboxes,
//! and what earlier runs with the same journal know of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::layout::Layout;
use super::mailbox::{Mailbox, Selected};
use super::wire::{Failure, Session};
use super::{ImapTarget, login};
use crate::error::Error;
use crate::journal::Journal;

/// Connections at a time: servers allow some ten to a user.
const MOST_CONNECTIONS: usize = 4;
/// Tries of one errand when connections get lost.
const TRIES: u32 = 6;
/// Errands in a row that may use them up while the server answers others.
const IN_VAIN: u32 = 10;
/// Rows of the journal read at a time.
const PAGE: usize = 1000;

/// Something to do on a connection, which may be begun again on another.
pub(super) trait Errand {
    type Done: Send;

    fn run(
        &mut self,
        session: &mut Session,
    ) -> impl Future<Output = Result<Self::Done, Failure>> + Send;
}

/// Where a section's items go, as the journal keeps it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) url: String,
    /// UIDVALIDITY and UIDNEXT of each mailbox when this journal's first run saw it.
    pub(super) mailboxes: BTreeMap<String, (u32, u32)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Account {
    target: ImapTarget,
    journal: Arc<Journal>,
    connections: usize,
    permits: Semaphore,
    idle: Mutex<Vec<Session>>,
    /// Somebody logged in before: a server that does not answer now will again.
    reached: AtomicBool,
    /// Errands in a row that used up their tries.
    in_vain: AtomicU32,
    layout: tokio::sync::Mutex<Option<Layout>>,
    mailboxes: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Mailbox>>>>,
    /// UIDVALIDITY and UID of what stands for items of earlier runs, by mailbox.
    taken: BTreeMap<String, BTreeSet<(u32, u32)>>,
    /// See [`Stored::mailboxes`].
    first_seen: Mutex<BTreeMap<String, (u32, u32)>>,
}

impl Account {
    /// Connects to nothing yet.
    pub(super) fn new(
        target: ImapTarget,
        journal: Arc<Journal>,
        concurrency: usize,
    ) -> Result<Self, Error> {
        let connections = concurrency.clamp(1, MOST_CONNECTIONS);
        let mut taken: BTreeMap<String, BTreeSet<(u32, u32)>> = BTreeMap::new();
        let mut first_seen = BTreeMap::new();
        for (section, stored) in journal.places()? {
            let Ok(stored) = serde_json::from_str::<Stored>(&stored) else { continue };
            first_seen.extend(stored.mailboxes);
            let mut after = 0;
            loop {
                let settled = journal.settled(&section, after, PAGE)?;
                for id in settled.iter().filter_map(|(_, id)| Id::parse(id)) {
                    taken.entry(id.wire.to_owned()).or_default().insert((id.validity, id.uid));
                }
                match settled.last() {
                    Some((seq, _)) => after = *seq,
                    None => break,
                }
            }
        }
        Ok(Self {
            target,
            journal,
            connections,
            permits: Semaphore::new(connections),
            idle: Mutex::new(Vec::new()),
            reached: AtomicBool::new(false),
            in_vain: AtomicU32::new(0),
            layout: tokio::sync::Mutex::new(None),
            mailboxes: Mutex::new(BTreeMap::new()),
            taken,
            first_seen: Mutex::new(first_seen),
        })
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Runs an errand, again and again while connections get lost. A connection that has `wire`
    /// selected is preferred.
    pub(super) async fn run<E: Errand + Send>(
        &self,
        wire: Option<&str>,
        errand: &mut E,
    ) -> Result<E::Done, Error> {
        let permit = self.permits.acquire().await;
        let mut tried = 0;
        loop {
            let failure = match self.session(wire).await {
                Ok(mut session) => {
                    let result = errand.run(&mut session).await;
                    if !session.broken && !matches!(result, Err(Failure::Lost(_))) {
                        lock(&self.idle).push(session);
                    }
                    match result {
                        Ok(done) => {
                            drop(permit);
                            self.in_vain.store(0, Ordering::Relaxed);
                            return Ok(done);
                        }
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            let message = match failure {
                Failure::Final(error) => return Err(error),
                Failure::Lost(message) => message,
            };
            tried += 1;
            if !self.reached.load(Ordering::Relaxed) {
                return Err(self.unreachable(message, true));
            }
            if tried == TRIES {
                return Err(self.unreachable(message, !self.is_it_the_errand().await));
            }
            // An idle connection may be dead for long; only what comes after that is news.
            if tried > 1 {
                tracing::warn!(message, "the connection to the IMAP server is lost");
                tokio::time::sleep(Duration::from_secs(1 << (tried - 2))).await;
            } else {
                lock(&self.idle).clear();
            }
        }
    }

    /// Whether the server answers something else: one mail or mailbox that it can't cope with must
    /// not end every run at the same place. If many are so, it is the server.
    async fn is_it_the_errand(&self) -> bool {
        if self.in_vain.fetch_add(1, Ordering::Relaxed) >= IN_VAIN {
            return false;
        }
        match login::session(&self.target).await {
            Ok(mut session) => session.must("ask for a sign of life", "NOOP", |_| ()).await.is_ok(),
            Err(_) => false,
        }
    }

    fn unreachable(&self, message: String, fatal: bool) -> Error {
        Error::Imap {
            doing: format!("reach {}:{}", self.target.host, self.target.port),
            message,
            fatal,
            refused: false,
        }
    }

    async fn session(&self, wire: Option<&str>) -> Result<Session, Failure> {
        if let Some(session) = self.idle_session(wire) {
            return Ok(session);
        }
        let session = login::session(&self.target).await?;
        self.reached.store(true, Ordering::Relaxed);
        Ok(session)
    }

    /// One that has the mailbox selected, else one with none, else the one that waits longest, if
    /// there may be no more.
    fn idle_session(&self, wire: Option<&str>) -> Option<Session> {
        let mut idle = lock(&self.idle);
        let at = idle
            .iter()
            .position(|s| s.selected.as_ref().map(|(name, _)| name.as_str()) == wire)
            .or_else(|| idle.iter().position(|session| session.selected.is_none()));
        let in_use = self.connections - self.permits.available_permits();
        match at {
            Some(at) => Some(idle.remove(at)),
            None if !idle.is_empty()
                && (wire.is_none() || idle.len() + in_use > self.connections) =>
            {
                Some(idle.remove(0))
            }
            None => None,
        }
    }

    /// The server's mailboxes, for as long as the caller changes them.
    pub(super) async fn layout(&self) -> Result<tokio::sync::MappedMutexGuard<'_, Layout>, Error> {
        let mut layout = self.layout.lock().await;
        if layout.is_none() {
            *layout = Some(self.run(None, &mut Look).await?);
        }
        Ok(tokio::sync::MutexGuard::map(layout, |layout| layout.get_or_insert_default()))
    }

    /// What is known of a mailbox. Who holds it is the only one who puts something there.
    pub(super) fn mailbox(&self, wire: &str) -> Arc<tokio::sync::Mutex<Mailbox>> {
        Arc::clone(lock(&self.mailboxes).entry(wire.to_owned()).or_default())
    }

    /// UIDs of a mailbox that stand for items of earlier runs.
    pub(super) fn taken(&self, wire: &str, validity: u32) -> BTreeSet<u32> {
        let all = self.taken.get(wire).into_iter().flatten();
        all.filter(|(of, _)| *of == validity).map(|(_, uid)| *uid).collect()
    }

    /// The UID that the first message made under this journal may have had. New is what the
    /// journal has to remember.
    pub(super) fn first_seen(&self, wire: &str, selected: &Selected) -> (u32, bool) {
        let mut first_seen = lock(&self.first_seen);
        match first_seen.get(wire) {
            Some((validity, next)) if *validity == selected.validity => (*next, false),
            _ => {
                let next = selected.uid_next.unwrap_or(u32::MAX);
                first_seen.insert(wire.to_owned(), (selected.validity, next));
                (next, true)
            }
        }
    }

    /// Says good-bye on what is idle.
    pub(super) async fn hang_up(&self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        for session in idle {
            session.logout().await;
        }
    }
}

/// Reads the layout.
struct Look;

impl Errand for Look {
    type Done = Layout;

    async fn run(&mut self, session: &mut Session) -> Result<Layout, Failure> {
        let prefix = login::namespace(session).await?;
        Layout::read(session, prefix).await
    }
}

/// How the journal knows a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id<'a> {
    pub(super) wire: &'a str,
    pub(super) validity: u32,
    pub(super) uid: u32,
}

impl<'a> Id<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (rest, uid) = text.rsplit_once(";uid=")?;
        let (wire, validity) = rest.rsplit_once(";uidvalidity=")?;
        Some(Self { wire, validity: validity.parse().ok()?, uid: uid.parse().ok()? })
    }
}

impl std::fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{};uidvalidity={};uid={}", self.wire, self.validity, self.uid)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn ids() {
        for wire in ["INBOX", "a;uid=3", "x;uidvalidity=1;uid=2"] {
            let id = Id { wire, validity: 7, uid: 9 };
            assert_eq!(Id::parse(&id.to_string()), Some(id));
        }
        assert_eq!(Id::parse("INBOX"), None);
        assert_eq!(Id::parse("INBOX;uidvalidity=1;uid=x"), None);
    }
}
