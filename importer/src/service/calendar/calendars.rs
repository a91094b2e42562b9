//! The calendars of a mailbox, found or made by name; the default one by what it is.

use std::sync::Arc;

use graph::{Prefer, segment};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::error::Error;
use crate::journal::Journal;
use crate::mailbox::{Container, Containers, Mailbox, Shape, id};
use crate::section::{Folder, Owner};

/// The most characters of a name that Exchange takes.
const LONGEST_NAME: usize = 255;

const SHAPE: Shape = Shape {
    name: "name",
    below: |_| "/calendars".to_owned(),
    by_name: None,
    // Names are taken all the same: see `is_writable`.
    takes: |_| true,
};

/// The calendars of one mailbox.
#[derive(Debug)]
pub(super) struct Calendars {
    pub(super) all: Containers,
    /// What the names of calendars that are made anew begin with; none in place.
    beside: Option<String>,
    /// The same for what can't be restored in place.
    aside: String,
    /// The default calendar, and the address of whose it is.
    default: OnceCell<Option<(Arc<Container>, String)>>,
    /// Addresses of whom the archive's calendars were, in small letters.
    own: Vec<String>,
}

impl Calendars {
    pub(super) fn new(
        mailbox: Mailbox,
        section: &str,
        journal: Arc<Journal>,
        beside: Option<String>,
        aside: String,
        owner: &Owner,
    ) -> Self {
        let names = &owner.names;
        let proxies = names.proxy_addresses.iter().map(String::as_str);
        let proxies = proxies.map(|one| one.split_once(':').map_or(one, |(_, address)| address));
        let own = proxies.chain(names.mail.as_deref()).chain([names.upn.as_str()]);
        let own = own.map(str::to_lowercase).collect();
        let all = Containers::new(mailbox, &SHAPE, section, journal);
        Self { all, beside, aside, default: OnceCell::new(), own }
    }

    /// A calendar that somebody else shared: its events are his, and in his archive.
    pub(super) fn is_shared(&self, calendar: &Folder) -> bool {
        let address = calendar.graph.pointer("/owner/address").and_then(Value::as_str);
        !is_default(calendar)
            && address.is_some_and(|address| !self.own.contains(&address.to_lowercase()))
    }

    /// The calendar at the end of `trail`, which is made if it is not there.
    pub(super) async fn at(&self, trail: &[Folder]) -> Result<Arc<Container>, Error> {
        let top = self.beside.as_ref().unwrap_or(&self.aside);
        let Some(calendar) = trail.last() else {
            return self.made(top, &Value::Null, self.beside.is_none()).await;
        };
        let name = shown(&calendar.name);
        let is_other = name != calendar.name;
        if self.beside.is_some() {
            return self.made(&format!("{top}: {name}"), &calendar.graph, is_other).await;
        }
        if is_default(calendar) {
            return self.default().await.map(|(default, _)| default);
        }
        let found = self.made(&name, &calendar.graph, is_other).await?;
        if found.is_new || self.is_writable(&found.id).await? {
            return Ok(found);
        }
        // Birthdays and holidays are the service's own, and others' calendars are theirs.
        self.made(&format!("{top}: {name}"), &calendar.graph, true).await
    }

    /// The calendar of that name, which is made if it is not there, in the colour of `like`.
    async fn made(
        &self,
        name: &str,
        like: &Value,
        stands_in: bool,
    ) -> Result<Arc<Container>, Error> {
        let name: String = name.chars().take(LONGEST_NAME).collect();
        let root = Container::new(String::new(), false, false);
        let color = like["color"].as_str().filter(|color| !matches!(*color, "auto" | "maxColor"));
        let body = color.map_or_else(|| json!({}), |color| json!({ "color": color }));
        self.all.child(&name, &root, &name, &body, stands_in).await
    }

    /// The default calendar, whatever it is called in the language of the mailbox.
    async fn default(&self) -> Result<(Arc<Container>, String), Error> {
        let cell = &self.default;
        let Mailbox { graph, scope, root, .. } = &self.all.mailbox;
        let path = format!("{root}/calendars");
        let found = cell.get_or_try_init(|| async {
            let mut pages = graph.pages(scope.clone(), &path, Prefer::none());
            while let Some(page) = pages.next().await? {
                for calendar in &page.items {
                    let calendar = calendar.parse()?;
                    if calendar["isDefaultCalendar"] == true {
                        let default = Container::new(id(&calendar), false, false);
                        return Ok(Some((default, owner(&calendar))));
                    }
                }
            }
            Ok(None)
        });
        match found.await {
            Ok(Some(default)) => Ok(default.clone()),
            Ok(None) => Err(Error::Item {
                cause: "no-calendar",
                what: "the mailbox has no default calendar".to_owned(),
            }),
            Err(source) => {
                let doing = "opening the default calendar".to_owned();
                Err(Error::Graph { doing, source })
            }
        }
    }

    /// Whether a calendar is the mailbox's own, and takes events.
    async fn is_writable(&self, id: &str) -> Result<bool, Error> {
        let (_, own) = self.default().await?;
        let cell = self.all.cell(&format!("\0{id}"));
        let path = format!("{}/calendars/{}", self.all.mailbox.root, segment(id));
        let asked = cell.get_or_try_init(|| async {
            let found = self.all.mailbox.look(&path).await?;
            let is_own = |found: &Value| owner(found).is_empty() || owner(found) == own;
            let is_writable =
                found.is_some_and(|found| found["canEdit"] != false && is_own(&found));
            Ok(Container::new(String::new(), is_writable, false))
        });
        match asked.await {
            Ok(known) => Ok(known.is_new),
            Err(source) => {
                let doing = "opening a calendar".to_owned();
                Err(Error::Graph { doing, source })
            }
        }
    }

    /// The ids of all calendars that this mailbox shows.
    pub(super) async fn ids(&self) -> Result<Vec<String>, graph::Error> {
        let Mailbox { graph, scope, root, .. } = &self.all.mailbox;
        let path = format!("{root}/calendars?$select=id");
        let mut pages = graph.pages(scope.clone(), &path, Prefer::none());
        let mut ids = Vec::new();
        while let Some(page) = pages.next().await? {
            for calendar in &page.items {
                ids.push(id(&calendar.parse()?));
            }
        }
        Ok(ids)
    }
}

/// The address of whose a calendar is.
fn owner(calendar: &Value) -> String {
    let address = calendar.pointer("/owner/address").and_then(Value::as_str);
    address.unwrap_or_default().to_lowercase()
}

fn is_default(calendar: &Folder) -> bool {
    calendar.graph["isDefaultCalendar"] == true
}

/// A name that the service accepts.
fn shown(name: &str) -> String {
    match name.trim() {
        "" => "(no name)".to_owned(),
        name => name.chars().take(LONGEST_NAME).collect(),
    }
}
