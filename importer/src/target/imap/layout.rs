//! How the server names mailboxes, which there are, and which folder is which of them.

use std::collections::{BTreeMap, BTreeSet};

use super::account::Errand;
use super::name::{component, encode, harmless, quoted, unquoted};
use super::wire::{Failure, Session, listed};
use crate::error::Error;
use crate::journal::Journal;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Between the levels of a name; empty on a server without levels.
    delimiter: String,
    /// What the user's own mailboxes but INBOX begin with.
    prefix: String,
    /// Names of mailboxes that can be selected, as on the wire.
    there: BTreeSet<String>,
    /// `\sent` and the like to the mailbox that has this use.
    special: BTreeMap<String, String>,
    /// Mailboxes by what was wanted, so that nothing is worked out twice.
    known: BTreeMap<Vec<String>, Home>,
}

/// The mailbox of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home {
    /// Its name on the wire.
    pub(super) wire: String,
    /// Its name is not the folder's.
    pub(super) lossy: bool,
}

/// The special use (RFC 6154) of a folder that is well known to Graph.
pub(super) fn special_use(well_known: &str) -> Option<&'static str> {
    Some(match well_known {
        "sentitems" => "\\Sent",
        "drafts" => "\\Drafts",
        "deleteditems" => "\\Trash",
        "archive" => "\\Archive",
        "junkemail" => "\\Junk",
        _ => return None,
    })
}

/// Whether a name in a LIST is this one. Quoted strings come unchanged from the parser.
pub(super) fn is_same(listed: &str, wire: &str) -> bool {
    let inbox = |name: &str| name.eq_ignore_ascii_case("INBOX");
    listed == wire || unquoted(listed) == wire || (inbox(listed) && inbox(wire))
}

impl Layout {
    /// Asks the server. `prefix` is the one of the personal namespace.
    pub(super) async fn read(session: &mut Session, prefix: String) -> Result<Self, Failure> {
        let mut layout = Self { prefix, ..Self::default() };
        session
            .must("list mailboxes", "LIST \"\" \"\"", |response| {
                if let Some((_, delimiter, _)) = listed(response) {
                    layout.delimiter = delimiter;
                }
            })
            .await?;
        let special = session.can("SPECIAL-USE") && session.can("LIST-EXTENDED");
        let with = if special { " RETURN (SPECIAL-USE)" } else { "" };
        session
            .must("list mailboxes", &format!("LIST \"\" \"*\"{with}"), |response| {
                let Some((attributes, _, name)) = listed(response) else { return };
                if attributes.iter().any(|a| a == "\\noselect" || a == "\\nonexistent") {
                    return;
                }
                for attribute in attributes {
                    layout.special.entry(attribute).or_insert_with(|| unquoted(&name));
                }
                layout.there.insert(unquoted(&name));
                layout.there.insert(name);
            })
            .await?;
        Ok(layout)
    }

    pub(super) fn delimiter(&self) -> &str {
        &self.delimiter
    }

    fn has(&self, wire: &str) -> bool {
        wire.eq_ignore_ascii_case("INBOX") || self.there.contains(wire)
    }
}

/// What is wanted: the levels of a name, from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) levels: Vec<String>,
    /// What Graph calls the first level, when it stands for the server's own folder of that use.
    pub(super) well_known: Option<String>,
}

/// Finds or makes a mailbox and all above it.
pub(super) struct Make<'a> {
    pub(super) layout: &'a mut Layout,
    pub(super) wanted: &'a Wanted,
    pub(super) journal: &'a Journal,
    /// Section that the journal books it on.
    pub(super) section: &'a str,
}

impl Errand for Make<'_> {
    type Done = Home;

    async fn run(&mut self, session: &mut Session) -> Result<Home, Failure> {
        let mut home = Home { wire: self.layout.prefix.clone(), lossy: false };
        for depth in 0..self.wanted.levels.len() {
            home = self.level(session, depth, &home).await?;
        }
        Ok(home)
    }
}

impl Make<'_> {
    async fn level(
        &mut self,
        session: &mut Session,
        depth: usize,
        above: &Home,
    ) -> Result<Home, Failure> {
        let key = self.key(depth);
        if let Some(home) = self.layout.known.get(&key) {
            return Ok(home.clone());
        }
        let well_known = self.wanted.well_known.as_deref().filter(|_| depth == 0);
        let special = well_known.and_then(special_use);
        let server_own = match well_known {
            Some("inbox") => Some("INBOX".to_owned()),
            _ => special
                .and_then(|special| self.layout.special.get(&special.to_ascii_lowercase()))
                .cloned(),
        };
        let home = match server_own {
            Some(wire) => Home { wire, lossy: false },
            None => self.by_name(session, depth, above, special).await?,
        };
        self.layout.known.insert(key, home.clone());
        Ok(home)
    }

    /// Folders of one name are one mailbox, but for those that have a mailbox of their own.
    fn key(&self, depth: usize) -> Vec<String> {
        let mut key = self.wanted.levels[..=depth].to_vec();
        key.extend(self.wanted.well_known.clone());
        key
    }

    async fn by_name(
        &mut self,
        session: &mut Session,
        depth: usize,
        above: &Home,
        special: Option<&str>,
    ) -> Result<Home, Failure> {
        let name = &self.wanted.levels[depth];
        let flat = self.layout.delimiter.is_empty();
        let delimiter = if flat { "." } else { self.layout.delimiter.as_str() };
        // The prefix of the namespace ends with the delimiter already.
        let under =
            if depth == 0 { above.wire.clone() } else { format!("{}{delimiter}", above.wire) };
        let plain = component(name, delimiter);
        let exact = under.clone() + &encode(&plain);
        // A name that is refused has a stand-in, which is there already the next time.
        let stand_in = under + &encode(&component(&harmless(name), delimiter));
        let lossy = above.lossy || plain != *name || (flat && depth > 0);
        if self.layout.has(&exact) {
            return Ok(Home { wire: exact, lossy });
        }
        if self.layout.has(&stand_in) {
            return Ok(Home { wire: stand_in, lossy: true });
        }
        match self.create(session, depth, &exact, special).await? {
            None => Ok(Home { wire: exact, lossy }),
            Some(refusal) => {
                tracing::warn!(mailbox = exact, %refusal, "the server refuses the name");
                match self.create(session, depth, &stand_in, None).await? {
                    None => Ok(Home { wire: stand_in, lossy: true }),
                    Some(message) => Err(Failure::Final(Error::Imap {
                        doing: format!("create mailbox {}", self.words(depth)),
                        message,
                        fatal: false,
                        refused: false,
                    })),
                }
            }
        }
    }

    /// Makes a mailbox; gives the server's words if it does not like it.
    async fn create(
        &mut self,
        session: &mut Session,
        depth: usize,
        wire: &str,
        special: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        // Before the fact: an undo of what was never made finds nothing, and that is fine.
        self.journal.made_folder(self.section, &self.words(depth), wire)?;
        let plain = format!("CREATE {}", quoted(wire));
        let mut reply = None;
        if let Some(special) = special.filter(|_| session.can("CREATE-SPECIAL-USE")) {
            let command = format!("{plain} (USE ({special}))");
            reply = Some(session.command(&command, |_| ()).await?).filter(|reply| reply.ok);
        }
        let reply = match reply {
            Some(reply) => reply,
            None => session.command(&plain, |_| ()).await?,
        };
        // Another may have made it meanwhile, and not every server has a code for that.
        if !reply.ok && !session.is_listed(wire).await? {
            return match reply.code.as_str() {
                "OVERQUOTA" | "UNAVAILABLE" | "INUSE" | "THROTTLED" | "NOPERM" | "LIMIT" => {
                    Err(reply.failure(&format!("create mailbox {}", self.words(depth))))
                }
                _ => Ok(Some(reply.text)),
            };
        }
        let subscribed = session.command(&format!("SUBSCRIBE {}", quoted(wire)), |_| ()).await?;
        if !subscribed.ok {
            tracing::warn!(mailbox = wire, message = subscribed.text, "not subscribed");
        }
        self.layout.there.insert(wire.to_owned());
        Ok(None)
    }

    fn words(&self, depth: usize) -> String {
        self.wanted.levels[..=depth].join("/")
    }
}
