//! Microsoft 365.

use std::fmt;
use std::sync::Arc;

use graph::{ErrorKind, Graph, Prefer, Scope, segment};
use serde_json::Value;

use crate::error::Error;
use crate::journal::Journal;
use crate::options::Options;
use crate::place::AnyPlace;
use crate::section::{Owner, Section};
use crate::service::{Service, conversations};

/// Mailboxes and drives of a tenant.
#[derive(Debug)]
pub struct TenantTarget {
    graph: Graph,
    /// Its id or domain, as messages and journal name it.
    name: String,
}

impl TenantTarget {
    /// Restores into the tenant that `graph` is signed in to.
    #[must_use]
    pub fn new(graph: Graph, name: impl Into<String>) -> Self {
        Self { graph, name: name.into() }
    }

    pub(crate) async fn open(
        &self,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<AnyPlace, Error> {
        if section.service.roles().is_empty() {
            return Err(conversations::refused(&section.prefix));
        }
        let user = self.user(&section.owner, options).await?;
        section.service.open(self.graph.clone(), &user, section, options, journal).await
    }

    /// `address` is what the place gave the journal.
    pub(crate) fn reopen(
        &self,
        section: &str,
        address: &str,
        journal: Arc<Journal>,
    ) -> Result<AnyPlace, Error> {
        let service = Service::of_section(section).ok_or_else(|| Error::Usage {
            what: format!("the journal has {section}, whose service is not known"),
            hint: "it is of a later version",
        })?;
        Ok(service.reopen(self.graph.clone(), section, address, journal))
    }

    /// Who gets what was `owner`'s: the user he is mapped to; else himself by his object id,
    /// which outlives a change of name, and by name, which outlives a deletion.
    async fn user(&self, owner: &Owner, options: &Options) -> Result<User, Error> {
        if let Some(named) = options.heir(owner) {
            return match self.find(named).await? {
                Some(user) => Ok(user),
                None => Err(nobody(named)),
            };
        }
        if owner.names.is_group {
            let group = &owner.names.upn;
            let what = format!(
                "apps may not write to {group}, a group; --to-user names who gets it, and \
                 --to directory:PATH gets it out"
            );
            return Err(Error::Item { cause: "owner", what });
        }
        for name in [&owner.id, &owner.names.upn] {
            if !name.is_empty()
                && let Some(user) = self.find(name).await?
            {
                return Ok(user);
            }
        }
        Err(nobody(&owner.names.upn))
    }

    async fn find(&self, name: &str) -> Result<Option<User>, Error> {
        let path = format!("/users/{}?$select=id,userPrincipalName", segment(name));
        match self.graph.get(&Scope::Directory, &path, Prefer::none()).await {
            Ok(user) => {
                let text = |key| user.get(key).and_then(Value::as_str).map(str::to_owned);
                let id = text("id").unwrap_or_else(|| name.to_owned());
                let upn = text("userPrincipalName").unwrap_or_else(|| name.to_owned());
                Ok(Some(User { id, upn }))
            }
            Err(error) if error.status() == Some(404) => Ok(None),
            // Without a role for the directory the mailbox itself tells whether he is there.
            Err(error) if *error.kind() == ErrorKind::Permission => {
                Ok(Some(User { id: name.to_owned(), upn: name.to_owned() }))
            }
            Err(source) => Err(Error::Graph { doing: format!("looking for {name}"), source }),
        }
    }
}

impl fmt::Display for TenantTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenant {}", self.name)
    }
}

/// Who gets it.
#[derive(Debug, Clone)]
pub(crate) struct User {
    /// Object id.
    pub(crate) id: String,
    /// For messages.
    pub(crate) upn: String,
}

/// Whether an owner goes by this name: object id, UPN or any address.
pub(crate) fn is_named(owner: &Owner, name: &str) -> bool {
    let addresses =
        owner.names.proxy_addresses.iter().map(|address| {
            address.split_once(':').map_or(address.as_str(), |(_, address)| address)
        });
    let names = [owner.id.as_str(), owner.names.upn.as_str()];
    names
        .into_iter()
        .chain(owner.names.mail.as_deref())
        .chain(addresses)
        .any(|own| own.eq_ignore_ascii_case(name))
}

fn nobody(name: &str) -> Error {
    Error::Item {
        cause: "owner",
        what: format!("the tenant has no user {name}; --map-user {name}=NEW names another"),
    }
}
