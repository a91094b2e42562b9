//! An account on a CalDAV (RFC 4791) or CardDAV (RFC 6352) server: calendars, tasks and contacts in
//! the programs that people have.
//!
//! **Where.** The address is the server (RFC 6764), the account's home, or, in place, one calendar
//! or address book. Everything is asked of that one server: who is sent elsewhere says so and stops,
//! because the password must not follow.
//!
//! **Collections.** Each folder is one, for there are none in others: `Team/Old` is a name. Beside:
//! `tar365 restore <label>: <name>`, of our own making, found again by the last part of its address.
//! In place: the one of that name, which takes what is put into it; a new one if there is none.
//!
//! **Objects.** The bytes of the archive (a card of version 4.0 written anew as 3.0 for a server that
//! does not say that it takes it), at a name made of their UID, and only where nothing is yet
//! (`If-None-Match: *`). What is there already and says the same (see [`likeness`]) is present; what
//! says something else stays, and the item is left out. In a collection that was there before, an
//! object of that UID is looked for under any name.
//!
//! **Nobody is mailed.** No METHOD; where the server mails people itself (RFC 6638), it is told at
//! each of them not to, and a removal does not cancel (`Schedule-Reply: F`).
//!
//! **Undo.** What has the tag it was made with is removed, then collections that are empty.

mod account;
mod card;
mod home;
mod http;
mod likeness;
mod line;
mod object;
mod put;
mod undo;
mod xml;

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OnceCell};
use url::{Host, Url};

use self::account::{Collection, Root};
use self::home::Home;
use self::http::Http;
use self::object::{Kind, Object};
use self::put::Put;
use self::xml::Resource;
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::{Destination, OnConflict, Options};
use crate::place::{Made, Place, Restored, Undone};
use crate::section::{Folder, Section};

const HINT: &str = "caldav+https://user@host[:port]/[path] or carddav+https://..., with %40 for an \
                    @ in the user";

/// How somebody shows who he is.
#[derive(Clone, PartialEq, Eq)]
pub enum DavCredentials {
    /// Basic (RFC 7617).
    Password(String),
    /// Bearer (RFC 6750).
    Token(String),
}

use DavCredentials as Credentials;

impl std::fmt::Debug for DavCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(..)",
            Self::Token(_) => "Token(..)",
        })
    }
}

/// What the server is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    CalDav,
    CardDav,
}

impl Protocol {
    const fn well_known(self) -> &'static str {
        match self {
            Self::CalDav => "/.well-known/caldav",
            Self::CardDav => "/.well-known/carddav",
        }
    }

    /// What is said when an address has none.
    const fn nothing(self) -> &'static str {
        match self {
            Self::CalDav => "no calendars are found from there",
            Self::CardDav => "no address books are found from there",
        }
    }

    const fn is_collection(self, resource: &Resource) -> bool {
        match self {
            Self::CalDav => resource.is_calendar,
            Self::CardDav => resource.is_address_book,
        }
    }

    fn homes(self, resource: &Resource) -> &[String] {
        match self {
            Self::CalDav => &resource.calendar_homes,
            Self::CardDav => &resource.address_book_homes,
        }
    }

    /// What the items of a service are.
    fn kind(self, service: &str) -> Result<Kind, Error> {
        match (self, service) {
            (Self::CalDav, "calendar") => Ok(Kind::Event),
            (Self::CalDav, "tasks") => Ok(Kind::Task),
            (Self::CardDav, "contacts") => Ok(Kind::Card),
            (Self::CalDav, service) => Err(Error::Usage {
                what: format!("a CalDAV server takes calendars and tasks, not {service}"),
                hint: "--service calendar,tasks",
            }),
            (Self::CardDav, service) => Err(Error::Usage {
                what: format!("a CardDAV server takes contacts, not {service}"),
                hint: "--service contacts",
            }),
        }
    }
}

/// An account on a CalDAV or CardDAV server. Copies of it share connections and what they know of
/// collections; all sections of a run must go through copies of one.
#[derive(Debug, Clone)]
pub struct DavTarget {
    /// As given.
    address: String,
    protocol: Protocol,
    http: Arc<Http>,
    /// What the address names.
    url: Url,
    account: Arc<OnceCell<Account>>,
}

/// What is known of the account, once it was looked at.
#[derive(Debug)]
struct Account {
    root: Root,
    home: Mutex<Home>,
}

/// Where a section's items go, as the journal keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    url: String,
}

impl DavTarget {
    /// Reads `caldav+https://user@host[:port]/[path]` or the same with `carddav`; with `http` only
    /// on this machine. `ca_certificates_pem` are trusted beside the system's roots.
    ///
    /// # Errors
    /// If it is no such address. A password in it is refused: addresses are logged and stored.
    pub fn parse(
        address: &str,
        credentials: &DavCredentials,
        ca_certificates_pem: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let bad = |what: &str| Error::Usage { what: what.to_owned(), hint: HINT };
        let (protocol, rest) = match address.split_once('+') {
            Some(("caldav", rest)) => (Protocol::CalDav, rest),
            Some(("carddav", rest)) => (Protocol::CardDav, rest),
            _ => return Err(bad("the address is not one of a CalDAV or CardDAV server")),
        };
        let mut url = Url::parse(rest).map_err(|_| bad("the address can't be read"))?;
        if url.password().is_some() {
            return Err(bad("a password does not belong into an address"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("the address has more in it than user, host, port and path"));
        }
        let is_near = match url.host() {
            None => return Err(bad("the address names no host")),
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
        };
        match url.scheme() {
            "https" => {}
            "http" if is_near => {}
            "http" => return Err(bad("without TLS nobody logs in on another machine")),
            _ => return Err(bad("the address is not one of a CalDAV or CardDAV server")),
        }
        let user = percent_decode_str(url.username()).decode_utf8();
        let user = user.map_err(|_| bad("the address is not UTF-8"))?.into_owned();
        let needs_user = matches!(credentials, Credentials::Password(_));
        // A colon would end the user's name (RFC 7617, 2).
        if (needs_user && user.is_empty()) || user.contains(|c: char| c.is_control() || c == ':') {
            return Err(bad("the address names no user"));
        }
        url.set_username("").map_err(|()| bad("the address can't be read"))?;
        let http = Http::new(&url, &user, credentials, ca_certificates_pem)?;
        Ok(Self {
            address: address.to_owned(),
            protocol,
            http: Arc::new(http),
            url,
            account: Arc::new(OnceCell::new()),
        })
    }

    /// The account as the place of a section's items. Looks at it, so that everything that can be
    /// wrong with address and credentials is said before the first item.
    ///
    /// # Errors
    /// If the server can't be reached or lets nobody in, or for a section that it does not take.
    pub(crate) async fn open(
        &self,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<DavPlace, Error> {
        let kind = self.protocol.kind(section.service.name())?;
        if options.on_conflict != OnConflict::Skip {
            return Err(Error::Usage {
                what: "a CalDAV or CardDAV server has no two objects of one UID".to_owned(),
                hint: "only --on-conflict skip goes there",
            });
        }
        let label = match options.destination {
            Destination::InPlace => None,
            Destination::Beside { .. } => Some(section.label.clone()),
        };
        let account = self.account().await?;
        if label.is_some() && matches!(account.root, Root::Collection(_)) {
            return Err(Error::Usage {
                what: format!("{} is one collection", self.address),
                hint: "--in-place puts everything into it; the address of the server makes new ones",
            });
        }
        let place = self.place(section, kind, label, journal);
        let stored = serde_json::to_string(&Stored { url: self.address.clone() });
        place.journal.place(&section.prefix, &stored.unwrap_or_default())?;
        Ok(place)
    }

    async fn account(&self) -> Result<&Account, Error> {
        let look = || async {
            let root = account::discover(&self.http, self.protocol, &self.url).await?;
            let home = match &root {
                Root::Collection(_) => Home::default(),
                Root::Home(url) => Home::read(&self.http, self.protocol, url).await?,
            };
            Ok(Account { root, home: Mutex::new(home) })
        };
        self.account.get_or_try_init(look).await
    }

    fn place(
        &self,
        section: &Section,
        kind: Kind,
        label: Option<String>,
        journal: Arc<Journal>,
    ) -> DavPlace {
        let owner = match section.owner.id.as_str() {
            "" => section.owner.names.upn.clone(),
            id => id.to_owned(),
        };
        DavPlace {
            target: self.clone(),
            section: section.prefix.clone(),
            service: section.service.name(),
            owner,
            kind,
            label,
            journal,
            known: Mutex::default(),
        }
    }

    /// The place where a section's items went, for an undo: the journal has their addresses.
    pub(crate) fn reopen(
        &self,
        section: &str,
        stored: &str,
        journal: Arc<Journal>,
    ) -> Result<DavPlace, Error> {
        let other = || Error::Usage {
            what: format!("the journal does not say where {section} went"),
            hint: "give the journal of a restore to a CalDAV or CardDAV server",
        };
        serde_json::from_str::<Stored>(stored).map_err(|_| other())?;
        let service = crate::Service::of_section(section).ok_or_else(other)?.name();
        Ok(DavPlace {
            target: self.clone(),
            section: section.to_owned(),
            service,
            owner: String::new(),
            kind: self.protocol.kind(service)?,
            label: None,
            journal,
            known: Mutex::default(),
        })
    }
}

impl std::fmt::Display for DavTarget {
    /// As `--to` has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.address)
    }
}

/// The account as the place of one section's items.
#[derive(Debug)]
pub(crate) struct DavPlace {
    target: DavTarget,
    section: String,
    service: &'static str,
    /// Whose the items were.
    owner: String,
    kind: Kind,
    /// What the collections are called by; none in place.
    label: Option<String>,
    journal: Arc<Journal>,
    /// The collections of folders, by their paths.
    known: Mutex<BTreeMap<String, Arc<Ready>>>,
}

/// A collection, and what to heed when something is put there.
#[derive(Debug)]
struct Ready {
    collection: Collection,
    /// This run made it: nothing is there but what this run puts there.
    is_new: bool,
    /// It is not of our making: others may have put there what we bring.
    is_foreign: bool,
    /// The server mails people unless it is told not to.
    mails_people: bool,
}

impl DavPlace {
    fn http(&self) -> &Http {
        &self.target.http
    }

    /// The collection of a folder, made if need be.
    async fn collection(&self, trail: &[Folder]) -> Result<Arc<Ready>, Error> {
        let path = trail.last().map_or("", |folder| folder.path.as_str());
        let mut known = self.known.lock().await;
        if let Some(ready) = known.get(path) {
            return Ok(Arc::clone(ready));
        }
        let account = self.target.account().await?;
        let (collection, is_new, is_foreign) = match &account.root {
            Root::Collection(collection) => (collection.clone(), false, true),
            Root::Home(url) => {
                let wanted = self.wanted(trail, path);
                let mut home = account.home.lock().await;
                home.collection(self, url, &wanted).await?
            }
        };
        let mails_people =
            self.kind != Kind::Card && account::mails_people(self.http(), &collection.url).await?;
        let ready = Arc::new(Ready { collection, is_new, is_foreign, mails_people });
        known.insert(path.to_owned(), Arc::clone(&ready));
        Ok(ready)
    }
}

impl Place for DavPlace {
    fn shown(&self) -> String {
        let address = &self.target;
        match &self.label {
            None => format!("{address}: in place"),
            Some(label) => format!("{address}: \"tar365 restore {label}: ...\""),
        }
    }

    fn concurrency(&self) -> usize {
        4
    }

    async fn folder(&self, trail: &[Folder]) -> Result<(), Error> {
        // There is nothing above collections, and one that nothing is in may not be wanted.
        if trail.is_empty() { Ok(()) } else { self.collection(trail).await.map(drop) }
    }

    async fn put(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        let ready = self.collection(trail).await?;
        let older = match self.kind == Kind::Card && !ready.collection.takes_vcard4 {
            true => card::older(item)?,
            false => None,
        };
        let object = Object::measure(older.as_ref().unwrap_or(item), ready.mails_people)?;
        Put { place: self, ready: &ready, object: &object }.run(item.is_doubtful).await
    }

    async fn undo(&self, made: &Made) -> Result<Undone, Error> {
        undo::undo(self.http(), made).await
    }
}

#[cfg(test)]
mod tests {
    use super::{DavCredentials, DavTarget, Kind, Protocol};

    fn target(address: &str) -> Result<DavTarget, String> {
        let credentials = DavCredentials::Password("hunter2".to_owned());
        DavTarget::parse(address, &credentials, None).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses() {
        let full = target("caldav+https://ann%40example.com@dav.example.com:8443/dav/").unwrap();
        assert_eq!(full.url.as_str(), "https://dav.example.com:8443/dav/");
        assert_eq!(full.protocol, Protocol::CalDav);
        for near in ["localhost", "127.0.0.1:5232", "[::1]"] {
            let target = target(&format!("carddav+http://ann@{near}")).unwrap();
            assert_eq!(target.protocol, Protocol::CardDav);
        }
    }

    #[test]
    fn no_address() {
        for address in [
            "https://a@h/",
            "caldav+ftp://a@h/",
            "caldav+https://h/",
            "caldav://a@h/",
            "caldav+http://a@dav.example.com/",
            "caldav+http://a@10.0.0.1/",
            "caldav+https://a@h/?x",
            "caldav+https://a@h/#x",
            "caldav+https://a%3ab@h/",
            "caldav+https://%ff@h/",
            "caldav+",
        ] {
            assert!(target(address).is_err(), "{address}");
        }
        let error = target("caldav+https://a:geheim@h/").unwrap_err();
        assert!(!error.contains("geheim"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let target = target("caldav+https://ann@dav.example.com/").unwrap();
        let shown = format!("{target:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("Basic"), "{shown}");
    }

    #[test]
    fn services() {
        assert_eq!(Protocol::CalDav.kind("tasks").unwrap(), Kind::Task);
        let refused = Protocol::CalDav.kind("mail").unwrap_err().to_string();
        assert_eq!(refused, "a CalDAV server takes calendars and tasks, not mail");
        assert!(Protocol::CardDav.kind("calendar").is_err());
    }
}
