//! What there is to restore. A new content type is one file here, which says all that is to be known
//! of it ([`Import`]), and one arm in `dispatch`.

pub(crate) mod calendar;
pub(crate) mod contacts;
pub(crate) mod conversations;
pub(crate) mod mail;
pub(crate) mod onedrive;
pub(crate) mod settings;
pub(crate) mod tasks;

use std::sync::Arc;

use archive::metadata::Line;
use graph::Graph;
use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::Options;
use crate::place::{AnyPlace, Place};
use crate::section::Section;
use crate::target::User;

/// A service, in the order of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Service {
    /// Messages.
    Mail,
    /// Events.
    Calendar,
    /// Contacts.
    Contacts,
    /// Tasks of To Do.
    Tasks,
    /// What a mailbox is set to.
    Settings,
    /// Conversations of a group, which nothing of goes back to Microsoft 365.
    Conversations,
    /// The user's drive.
    OneDrive,
}

/// The same call on whatever service it is: a new one is registered here, in [`Service`], and in
/// [`Service::ALL`].
macro_rules! dispatch {
    ($service:expr, $as:ident => $call:expr) => {
        match $service {
            Service::Mail => {
                type $as = mail::Mail;
                $call
            }
            Service::Calendar => {
                type $as = calendar::Calendar;
                $call
            }
            Service::Contacts => {
                type $as = contacts::Contacts;
                $call
            }
            Service::Tasks => {
                type $as = tasks::Tasks;
                $call
            }
            Service::Conversations => {
                type $as = conversations::Conversations;
                $call
            }
            Service::Settings => {
                type $as = settings::Settings;
                $call
            }
            Service::OneDrive => {
                type $as = onedrive::OneDrive;
                $call
            }
        }
    };
}

/// What is fixed of a service.
pub(crate) struct About {
    /// The name in `--service`, in the head and in paths.
    pub(crate) name: &'static str,
    /// See [`Service::roles`].
    pub(crate) roles: &'static [&'static str],
    /// What the service lets in at most, in bytes a second; none if that is not known.
    pub(crate) most_upload: Option<u64>,
}

/// A service on the way back. See doc/service-spec.md for what each of these must do.
pub(crate) trait Import {
    const ABOUT: About;

    /// Where the items of one section go in the tenant.
    type Place: Place + 'static;

    /// Opens the place of a section, and tells the journal its address.
    ///
    /// # Errors
    /// If it is not fatal, only this section can't be restored.
    fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> impl Future<Output = Result<Self::Place, Error>> + Send;

    /// The same place for an undo: `address` is what the journal was told.
    fn reopen(graph: Graph, section: &str, address: &str, journal: Arc<Journal>) -> Self::Place;

    /// The time of an item's member (format 2.1), seconds since 1970.
    fn mtime(line: &Line) -> i64;

    /// Requests that restoring an item takes, about: to make it and to look at it again.
    fn requests(line: &Line, size: u64) -> u64;

    /// What is compared of an item in two archives: what people and programs see of it.
    ///
    /// # Errors
    /// If it can't be read.
    fn compared(item: &Item) -> Result<Compared, Error>;

    /// Whether everybody has such an item, made or not: then nobody has one too many.
    fn is_given(_item: &Item) -> bool {
        false
    }

    /// Where things go that are restored beside what is there, in words, by the name of the new
    /// folder.
    fn beside(label: &str) -> String {
        format!("folder \"tar365 restore {label}\"")
    }

    /// The name of a folder as the tenant takes it, for the same.
    fn folder_name(name: &str) -> String {
        name.trim().to_lowercase()
    }
}

/// What is compared of an item. Ids and change tags are the service's own, and it renders anew, so
/// neither they nor bytes are a measure.
pub(crate) struct Compared {
    /// What it is called in its folder.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) content: Value,
    /// All that must be equal, the content too.
    pub(crate) all: Value,
}

impl Service {
    /// All services, in the order of the format.
    pub const ALL: [Self; 7] = [
        Self::Mail,
        Self::Calendar,
        Self::Contacts,
        Self::Tasks,
        Self::Settings,
        Self::Conversations,
        Self::OneDrive,
    ];

    const fn about(self) -> &'static About {
        dispatch!(self, Of => &<Of as Import>::ABOUT)
    }

    /// The name in `--service`, in the head and in paths.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.about().name
    }

    /// Application roles that restoring it needs (FACTS 1.8), least first; any one suffices. None
    /// for what no application may write.
    #[must_use]
    pub const fn roles(self) -> &'static [&'static str] {
        self.about().roles
    }

    /// The service of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// The service of the section at `users/<upn>/<service>`.
    pub(crate) fn of_section(prefix: &str) -> Option<Self> {
        prefix.rsplit('/').next().and_then(Self::from_name)
    }

    /// What it lets in at most, in bytes a second.
    pub(crate) const fn most_upload(self) -> Option<u64> {
        self.about().most_upload
    }

    /// See [`Import::open`].
    pub(crate) async fn open(
        self,
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<AnyPlace, Error> {
        dispatch!(self, Of => {
            Of::open(graph, user, section, options, journal).await.map(AnyPlace::new)
        })
    }

    /// See [`Import::reopen`].
    pub(crate) fn reopen(
        self,
        graph: Graph,
        section: &str,
        address: &str,
        journal: Arc<Journal>,
    ) -> AnyPlace {
        dispatch!(self, Of => AnyPlace::new(Of::reopen(graph, section, address, journal)))
    }

    /// See [`Import::mtime`].
    pub(crate) fn mtime(self, line: &Line) -> i64 {
        dispatch!(self, Of => Of::mtime(line))
    }

    /// See [`Import::requests`].
    pub(crate) fn requests(self, line: &Line, size: u64) -> u64 {
        dispatch!(self, Of => Of::requests(line, size))
    }

    /// See [`Import::compared`].
    pub(crate) fn compared(self, item: &Item) -> Result<Compared, Error> {
        dispatch!(self, Of => Of::compared(item))
    }

    /// See [`Import::is_given`].
    pub(crate) fn is_given(self, item: &Item) -> bool {
        dispatch!(self, Of => Of::is_given(item))
    }

    /// See [`Import::beside`].
    pub(crate) fn beside(self, label: &str) -> String {
        dispatch!(self, Of => Of::beside(label))
    }

    /// See [`Import::folder_name`].
    pub(crate) fn folder_name(self, name: &str) -> String {
        dispatch!(self, Of => Of::folder_name(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_stand_in_the_order_of_the_format() {
        let place = |service: Service| {
            archive::metadata::SERVICES.iter().position(|known| *known == service.name())
        };
        assert!(Service::ALL.is_sorted());
        assert!(Service::ALL.is_sorted_by_key(|service| place(*service)));
        assert!(Service::ALL.iter().all(|service| place(*service).is_some()));
    }
}
