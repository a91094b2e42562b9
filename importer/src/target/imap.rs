//! An account on an IMAP server (RFC 3501): a way out of the cloud, and the restore that keeps
//! every byte.
//!
//! **Bytes.** A mail is APPENDed as it stands in the archive; only its line ends become CRLF (a bare
//! LF and a bare CR too), as IMAP asks for. A mail with a NUL needs a server with BINARY (RFC 3516)
//! that gives it back unchanged; else it fails with the cause `nul-byte`.
//!
//! **Date.** INTERNALDATE is when the mail was received, to the second, in UTC.
//!
//! **Flags.** `\Seen` isRead, `\Draft` isDraft, `\Flagged` a flag that is set, `\Answered` and
//! `$Forwarded` what was last done with the mail, a keyword for each category: as Thunderbird makes
//! them, blanks are underscores, other characters that a keyword can't hold too (a declared loss),
//! what is not ASCII is modified UTF-7. Importance stays what it is in IMAP, a header: `$Important`
//! (RFC 8457) is a guess of the server's, not a wish of the sender's. A flag marked complete has
//! nothing that says it.
//!
//! **Folders.** Beside: below `tar365 restore <label>`, by their own names. In place: well-known
//! folders are INBOX and the server's folders of that use (RFC 6154), the others stand by their own
//! names at the top. A folder in the address is put above all of it, and makes all names their own.
//! Mails outside all folders go to INBOX when in place. Names that a server refuses have a stand-in
//! with a piece of digest; the loss is declared on each mail in it.
//!
//! **Once.** A mail is there already if the mailbox has a message of the same bytes (SHA-256) and
//! date. Each message stands for one item, so that copies stay copies. Flags of what is there already
//! are not touched.
//!
//! **Undo.** Messages are removed by UID EXPUNGE (RFC 4315), one by one; without UIDPLUS, or after
//! the server gave new UIDs, they are kept. So is a message whose making was begun but never ended:
//! it can't be told from one that somebody else put there. A run that is resumed first settles those.

mod account;
mod flags;
mod layout;
mod login;
mod mail;
mod mailbox;
mod name;
mod put;
mod undo;
mod wire;

use std::sync::{Arc, Mutex};

use percent_encoding::percent_decode_str;
use tokio::sync::OnceCell;
use url::Url;

use self::account::{Account, Stored, lock};
use self::flags::Flags;
use self::layout::{Home, Make, Wanted};
use self::mail::Mail;
use self::put::Put;
use self::undo::{RemoveFolder, RemoveMessage};
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::Options;
use crate::place::{Loss, Made, Place, Restored, Undone, What};
use crate::section::{Folder, Section};

const HINT: &str = "imaps://user@host[:port]/[folder], with %40 for an @ in the user";

/// How somebody shows who he is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// AUTHENTICATE PLAIN, else LOGIN.
    Password(String),
    /// An access token: XOAUTH2, else OAUTHBEARER (RFC 7628).
    XOAuth2(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::XOAuth2(_) => "XOAuth2(..)",
        })
    }
}

/// An account on an IMAP server. Copies of it share connections and what they know of mailboxes;
/// all sections of a run must go through copies of one.
#[derive(Debug, Clone)]
pub struct ImapTarget {
    /// As given.
    url: String,
    /// TLS from the first byte; else by STARTTLS when offered.
    tls: bool,
    host: String,
    port: u16,
    user: String,
    /// Levels above everything.
    root: Vec<String>,
    credentials: Credentials,
    ca_certificates_pem: Option<Arc<[u8]>>,
    account: Arc<OnceCell<Arc<Account>>>,
}

impl ImapTarget {
    /// Reads `imaps://user@host[:port]/[folder]` or the same with `imap://`, which goes over to TLS
    /// when the server offers it, and else logs in on this machine only. `ca_certificates_pem` are
    /// trusted beside the system's roots.
    ///
    /// # Errors
    /// If it is no such address. A password in it is refused: addresses are logged and stored.
    pub fn parse(
        address: &str,
        credentials: Credentials,
        ca_certificates_pem: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let bad = |what: &str| Error::Usage { what: what.to_owned(), hint: HINT };
        let url = Url::parse(address).map_err(|_| bad("the address can't be read"))?;
        let tls = match url.scheme() {
            "imaps" => true,
            "imap" => false,
            _ => return Err(bad("the address is not one of an IMAP server")),
        };
        if url.password().is_some() {
            return Err(bad("a password does not belong into an address"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("the address has more in it than user, host, port and folder"));
        }
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8().map(String::from);
            text.map_err(|_| bad("the address is not UTF-8"))
        };
        let user = decoded(url.username())?;
        let host = decoded(url.host_str().unwrap_or_default())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(bad("the address names no host"));
        }
        if user.is_empty() || user.chars().any(char::is_control) {
            return Err(bad("the address names no user"));
        }
        let root = url.path_segments().into_iter().flatten().filter(|level| !level.is_empty());
        let root = root.map(decoded).collect::<Result<_, _>>()?;
        // Said now rather than after the plan.
        login::tls(ca_certificates_pem)?;
        Ok(Self {
            url: address.to_owned(),
            tls,
            host,
            port: url.port().unwrap_or(if tls { 993 } else { 143 }),
            user,
            root,
            credentials,
            ca_certificates_pem: ca_certificates_pem.map(Arc::from),
            account: Arc::new(OnceCell::new()),
        })
    }

    /// The account as the place of a section's items. Logs in, so that everything that can be
    /// wrong with address and credentials is said before the first item.
    ///
    /// # Errors
    /// If the server can't be reached or lets nobody in, or for a section that is no mail. Posts of
    /// groups are mails, too.
    pub(crate) async fn open(
        &self,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<ImapPlace, Error> {
        use crate::Service::{Conversations, Mail};
        if !matches!(section.service, Mail | Conversations) {
            return Err(Error::Usage {
                what: format!("an IMAP server takes mail, not {}", section.prefix),
                hint: "--service mail,conversations",
            });
        }
        let mut root = self.root.clone();
        root.extend(options.beside(section));
        let before = journal.place_of(&section.prefix)?;
        let mut stored: Stored =
            before.and_then(|stored| serde_json::from_str(&stored).ok()).unwrap_or_default();
        stored.url.clone_from(&self.url);
        let place = self.place(&section.prefix, root, stored, journal, options.concurrency).await?;
        place.remember()?;
        drop(place.account.layout().await?);
        Ok(place)
    }

    /// The place where a section's items went, for an undo: `stored` is what the journal has of it.
    pub(crate) async fn reopen(
        &self,
        section: &str,
        stored: &str,
        journal: Arc<Journal>,
    ) -> Result<ImapPlace, Error> {
        let stored: Stored = serde_json::from_str(stored).map_err(|_| Error::Usage {
            what: format!("the journal does not say where {section} went"),
            hint: "give the journal of a restore to an IMAP server",
        })?;
        self.place(section, Vec::new(), stored, journal, 1).await
    }

    async fn place(
        &self,
        section: &str,
        root: Vec<String>,
        stored: Stored,
        journal: Arc<Journal>,
        concurrency: usize,
    ) -> Result<ImapPlace, Error> {
        let account = self
            .account
            .get_or_try_init(|| async {
                // The account lives in the cell; its own copy must not hold it.
                let target = Self { account: Arc::new(OnceCell::new()), ..self.clone() };
                Account::new(target, journal, concurrency).map(Arc::new)
            })
            .await?;
        Ok(ImapPlace {
            account: Arc::clone(account),
            section: section.to_owned(),
            root,
            stored: Mutex::new(stored),
        })
    }
}

impl std::fmt::Display for ImapTarget {
    /// As `--to` has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)
    }
}

/// The account as the place of one section's items.
#[derive(Debug)]
pub(crate) struct ImapPlace {
    account: Arc<Account>,
    section: String,
    /// Levels above all folders; none when they are put where they were.
    root: Vec<String>,
    stored: Mutex<Stored>,
}

impl ImapPlace {
    fn remember(&self) -> Result<(), Error> {
        let stored = serde_json::to_string(&*lock(&self.stored));
        // Strings and numbers only.
        let stored = stored.unwrap_or_default();
        self.account.journal().place(&self.section, &stored)
    }

    /// The mailbox of a folder, made if need be. None for the account itself.
    async fn home(&self, trail: &[Folder]) -> Result<Option<Home>, Error> {
        let names = trail.iter().map(|folder| folder.name.clone());
        let levels: Vec<String> = self.root.iter().cloned().chain(names).collect();
        if levels.is_empty() {
            return Ok(None);
        }
        let first = trail.first().filter(|_| self.root.is_empty());
        let wanted = Wanted { levels, well_known: first.and_then(|f| f.well_known.clone()) };
        let mut layout = self.account.layout().await?;
        let mut make = Make {
            layout: &mut layout,
            wanted: &wanted,
            journal: self.account.journal(),
            section: &self.section,
        };
        self.account.run(None, &mut make).await.map(Some)
    }
}

impl Place for ImapPlace {
    fn shown(&self) -> String {
        let url = lock(&self.stored).url.clone();
        match self.root.last() {
            None => format!("{url}: in place"),
            Some(folder) => format!("{url}: folder {folder:?}"),
        }
    }

    fn concurrency(&self) -> usize {
        // A mailbox takes one at a time, an account a few connections.
        4
    }

    async fn folder(&self, trail: &[Folder]) -> Result<(), Error> {
        self.home(trail).await.map(drop)
    }

    async fn put(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        let mail = Mail::measure(item)?;
        let home = self.home(trail).await?;
        let home = home.unwrap_or_else(|| Home { wire: "INBOX".to_owned(), lossy: true });
        let mailbox = self.account.mailbox(&home.wire);
        let mut mailbox = mailbox.lock().await;
        let mut put = Put::new(self, &mail, &home.wire, &mut mailbox, Flags::of(&item.line.graph));
        let mut restored = self.account.run(Some(&home.wire), &mut put).await?;
        if home.lossy {
            restored.losses.push(Loss::Folder);
        }
        Ok(restored)
    }

    async fn finish(&self) -> Result<(), Error> {
        self.account.hang_up().await;
        Ok(())
    }

    async fn undo(&self, made: &Made) -> Result<Undone, Error> {
        let Some(id) = &made.id else {
            tracing::warn!(path = made.path, "it was begun, and nobody knows whether it is there");
            return Ok(Undone::Kept);
        };
        match made.what {
            What::Item => self.account.run(None, &mut RemoveMessage { id }).await,
            What::Folder => {
                let delimiter = self.account.layout().await?.delimiter().to_owned();
                self.account.run(None, &mut RemoveFolder { wire: id, delimiter }).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, ImapTarget};

    fn target(address: &str) -> Result<ImapTarget, String> {
        let credentials = Credentials::Password("hunter2".to_owned());
        ImapTarget::parse(address, credentials, None).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses() {
        let full = target("imaps://ann%40example.com@mail.example.com:1993/Old%20mail/20%2F26");
        let full = full.unwrap();
        assert_eq!((full.user.as_str(), full.port, full.tls), ("ann@example.com", 1993, true));
        assert_eq!(full.host, "mail.example.com");
        assert_eq!(full.root, ["Old mail", "20/26"]);
        let short = target("imap://ann@[::1]").unwrap();
        assert_eq!((short.host.as_str(), short.port, short.tls), ("::1", 143, false));
        assert_eq!(target("imaps://a@h/").unwrap().root, Vec::<String>::new());
    }

    #[test]
    fn no_address() {
        for address in [
            "https://a@h/",
            "imaps://h/",
            "imaps:///",
            "a@h",
            "imaps://a@h/?x",
            "imaps://a@h/#x",
            "imaps://a%0d@h/",
            "imaps://%ff@h/",
        ] {
            assert!(target(address).is_err(), "{address}");
        }
        let error = target("imaps://a:geheim@h/").unwrap_err();
        assert!(!error.contains("geheim"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let target = target("imaps://ann@mail.example.com/").unwrap();
        assert!(!format!("{target:?}").contains("hunter2"));
    }
}
