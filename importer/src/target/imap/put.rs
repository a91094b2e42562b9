//! One mail into one mailbox.

use super::ImapPlace;
use super::account::{Errand, Id, lock};
use super::flags::Flags;
use super::mail::Mail;
use super::mailbox::{Mailbox, Selected};
use super::name::quoted;
use super::wire::{Failure, Found, Reply, Session, date_time};
use crate::error::Error;
use crate::place::{How, Loss, Restored};

/// Sees to it that a mail is in a mailbox. When a connection is lost on the way, the next run of
/// it goes on where it was: nothing is appended before the mailbox was looked through for what may
/// have arrived.
pub(super) struct Put<'a> {
    place: &'a ImapPlace,
    mail: &'a Mail<'a>,
    wire: &'a str,
    mailbox: &'a mut Mailbox,
    flags: Flags,
    /// The message, once it is known to be there.
    uid: Option<u32>,
}

impl<'a> Put<'a> {
    pub(super) fn new(
        place: &'a ImapPlace,
        mail: &'a Mail<'a>,
        wire: &'a str,
        mailbox: &'a mut Mailbox,
        flags: Flags,
    ) -> Self {
        Self { place, mail, wire, mailbox, flags, uid: None }
    }
}

impl Errand for Put<'_> {
    type Done = Restored;

    async fn run(&mut self, session: &mut Session) -> Result<Restored, Failure> {
        let selected = match session.select(self.wire).await? {
            Some(selected) => selected,
            None => self.create(session).await?,
        };
        let ours = self.place.first_uid(self.wire, &selected)?;
        let uid = match self.uid {
            Some(uid) => uid,
            None => {
                let taken = || self.place.account.taken(self.wire, selected.validity);
                self.mailbox.refresh(session, &selected, &taken).await?;
                match self.mailbox.find(session, self.mail).await? {
                    // What was there before this journal began is somebody else's.
                    Some(uid) if uid < ours => {
                        return Ok(self.restored(&selected, How::Present, uid, Vec::new()));
                    }
                    Some(uid) => uid,
                    None => self.append(session, &selected).await?,
                }
            }
        };
        self.uid = Some(uid);
        let losses = self.check(session, uid).await?;
        Ok(self.restored(&selected, How::Created, uid, losses))
    }
}

impl ImapPlace {
    /// Messages with this UID or a higher one were made under this journal, or came by chance.
    fn first_uid(&self, wire: &str, selected: &Selected) -> Result<u32, Failure> {
        let (next, is_new) = self.account.first_seen(wire, selected);
        if is_new {
            lock(&self.stored).mailboxes.insert(wire.to_owned(), (selected.validity, next));
            self.remember()?;
        }
        Ok(next)
    }
}

impl Put<'_> {
    fn restored(&self, selected: &Selected, how: How, uid: u32, losses: Vec<Loss>) -> Restored {
        let id = Id { wire: self.wire, validity: selected.validity, uid }.to_string();
        Restored { how, id, etag: None, losses }
    }

    /// Makes a mailbox that somebody took away since it was looked up.
    async fn create(&self, session: &mut Session) -> Result<Selected, Failure> {
        let create = format!("CREATE {}", quoted(self.wire));
        session.must(&format!("create mailbox {}", self.wire), &create, |_| ()).await?;
        session.select(self.wire).await?.ok_or_else(|| {
            Failure::Final(Error::Imap {
                doing: format!("open mailbox {}", self.wire),
                message: "it is not there".to_owned(),
                fatal: false,
                refused: false,
            })
        })
    }

    /// Puts it there and finds out its UID.
    async fn append(&mut self, session: &mut Session, selected: &Selected) -> Result<u32, Failure> {
        self.flags.keep_permanent(selected.permanent.as_deref());
        if self.mail.has_nul && !session.can("BINARY") {
            return Err(self.nul_byte());
        }
        if session.append_limit().is_some_and(|limit| u64::from(self.mail.size) > limit) {
            return Err(Failure::Final(Error::Item {
                cause: "too-large",
                what: format!("{} is larger than the server takes", self.mail.path),
            }));
        }
        // Should the answer get lost, it may be there or not.
        self.mailbox.stale = true;
        let mut reply = self.send(session).await?;
        if !reply.ok && reply.code == "TRYCREATE" {
            session.selected = None;
            self.create(session).await?;
            reply = self.send(session).await?;
        }
        let vague = ["", "CANNOT", "LIMIT"].contains(&reply.code.as_str());
        if !reply.ok && vague && !self.flags.keywords.is_empty() {
            // It may be a keyword that it does not like: they are tried one by one later.
            let keywords = std::mem::take(&mut self.flags.keywords);
            reply = self.send(session).await?;
            self.flags.keywords = keywords;
        }
        if !reply.ok {
            // Nothing was put there (RFC 3501, 6.3.11).
            self.mailbox.stale = false;
            return Err(reply.failure(&format!("put {} into {}", self.mail.path, self.wire)));
        }
        let uid = match reply.appended {
            Some((validity, uid)) if validity == selected.validity => uid,
            _ => return self.find_again(session, selected).await,
        };
        self.mailbox.take(uid);
        self.mailbox.stale = false;
        Ok(uid)
    }

    async fn send(&self, session: &mut Session) -> Result<Reply, Failure> {
        let flags: Vec<&str> = self.flags.all().collect();
        let flags = format!("({})", flags.join(" "));
        session.append(self.wire, &flags, &date_time(self.mail.date), self.mail).await
    }

    /// A server without UIDPLUS does not say what became of it.
    async fn find_again(
        &mut self,
        session: &mut Session,
        selected: &Selected,
    ) -> Result<u32, Failure> {
        let taken = || self.place.account.taken(self.wire, selected.validity);
        self.mailbox.refresh(session, selected, &taken).await?;
        match self.mailbox.find(session, self.mail).await? {
            Some(uid) => Ok(uid),
            None if self.mail.has_nul => Err(self.nul_byte()),
            None => Err(self.unequal(
                "the server took it, but does not have it with these bytes and this date",
            )),
        }
    }

    /// Compares what the server has with what it was given; flags get a second chance.
    async fn check(&mut self, session: &mut Session, uid: u32) -> Result<Vec<Loss>, Failure> {
        let Some(mut found) = look(session, uid).await? else {
            return Err(self.unequal("the server took it, but does not show it"));
        };
        // Some servers guess sizes; only the bytes can tell then. And a NUL does not survive all.
        let doubtful = found.size != self.mail.size || self.mail.has_nul;
        if doubtful && session.sha256(uid).await? != Some(self.mail.sha256) {
            if self.mail.has_nul {
                self.discard(session, uid).await?;
                return Err(self.nul_byte());
            }
            self.discard(session, uid).await?;
            let (size, given) = (found.size, self.mail.size);
            return Err(self.unequal(&format!("{given} bytes became {size}")));
        }
        if !self.flags.missing_in(&found.flags).is_empty() {
            for flag in self.flags.missing_in(&found.flags) {
                // One that it does not like must not cost the others.
                session.command(&format!("UID STORE {uid} +FLAGS.SILENT ({flag})"), |_| ()).await?;
            }
            found = look(session, uid).await?.unwrap_or(found);
        }
        let mut losses = Vec::new();
        if self.flags.lossy || !self.flags.missing_in(&found.flags).is_empty() {
            losses.push(Loss::Flags);
        }
        if found.date != Some(self.mail.date) {
            losses.push(Loss::Date);
        }
        Ok(losses)
    }

    /// Takes away what is not what was given. Where that can't be done to it alone, it stays.
    async fn discard(&self, session: &mut Session, uid: u32) -> Result<(), Failure> {
        if session.can("UIDPLUS") {
            let store = format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)");
            session.must("remove a message", &store, |_| ()).await?;
            session.must("remove a message", &format!("UID EXPUNGE {uid}"), |_| ()).await?;
        }
        Ok(())
    }

    fn unequal(&self, what: &str) -> Failure {
        Failure::Final(Error::Unequal { path: self.mail.path.to_owned(), what: what.to_owned() })
    }

    fn nul_byte(&self) -> Failure {
        Failure::Final(Error::Item {
            cause: "nul-byte",
            what: format!("{} has a NUL, which this server can't hold", self.mail.path),
        })
    }
}

/// What the server says of a message. It may need a moment to show a new one.
async fn look(session: &mut Session, uid: u32) -> Result<Option<Found>, Failure> {
    let mut found = None;
    for again in [false, true] {
        if again {
            session.must("look for new messages", "NOOP", |_| ()).await?;
        }
        let see = |message: Found| {
            if message.uid == uid {
                found = Some(message);
            }
        };
        session.fetch(&uid.to_string(), see).await?;
        if found.is_some() {
            break;
        }
    }
    Ok(found)
}
