//! The lists of a mailbox, made and found by name; the default one by what it is.

use std::sync::Arc;

use graph::Prefer;
use serde_json::{Value, json};

use crate::error::Error;
use crate::journal::Journal;
use crate::mailbox::{Container, Containers, Mailbox, Shape, id};
use crate::section::Folder;

/// Where lists hang; they hang nowhere else.
const ROOT: &str = "lists";
/// The list that every mailbox has.
const DEFAULT: &str = "defaultList";
/// The list that the service makes itself of the flagged mails of the mailbox.
const FLAGGED: &str = "flaggedEmails";

/// Lists of tasks, those of the user himself (FACTS 3.8).
const SHAPE: Shape = Shape {
    name: "displayName",
    below: |_| "/todo/lists".to_owned(),
    by_name: None,
    takes: |list| list.get("isOwner") != Some(&Value::Bool(false)) && !is(list, FLAGGED),
};

/// The lists of one mailbox.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) all: Containers,
    /// What the names of new lists begin with; none in place.
    beside: Option<String>,
    /// The same for what can't be restored in place.
    aside: String,
}

impl Lists {
    pub(super) fn new(
        mailbox: Mailbox,
        section: &str,
        journal: Arc<Journal>,
        beside: Option<String>,
        aside: String,
    ) -> Self {
        Self { all: Containers::new(mailbox, &SHAPE, section, journal), beside, aside }
    }

    /// The list at the end of `trail`, which is made if it is not there. Lists are in no others, so
    /// those beside have the name of the restore in theirs.
    pub(super) async fn at(&self, trail: &[Folder]) -> Result<Arc<Container>, Error> {
        let root = Container::new(ROOT.to_owned(), false, false);
        let Some(list) = trail.last() else {
            // What the archive has in no list.
            let key = format!("\0{}", self.aside);
            return self.all.child(&key, &root, &self.aside, &json!({}), true).await;
        };
        if self.beside.is_none()
            && list.well_known.as_deref() == Some(DEFAULT)
            && let Some(found) = self.default().await?
        {
            return Ok(found);
        }
        let own = match list.name.trim() {
            "" => "(no name)",
            name => name,
        };
        let name = match &self.beside {
            Some(beside) => format!("{beside}: {own}"),
            None => own.to_owned(),
        };
        let key = format!("\0{name}");
        self.all.child(&key, &root, &name, &json!({}), own != list.name).await
    }

    /// The default list, whatever it is called.
    async fn default(&self) -> Result<Option<Arc<Container>>, Error> {
        let cell = self.all.cell("\0\0default");
        let found = cell.get_or_try_init(|| async {
            let Mailbox { graph, scope, root, .. } = &self.all.mailbox;
            let mut pages =
                graph.pages(scope.clone(), &format!("{root}/todo/lists"), Prefer::none());
            while let Some(page) = pages.next().await? {
                for item in &page.items {
                    let list = item.parse()?;
                    if is(&list, DEFAULT) {
                        return Ok(Container::new(id(&list), false, false));
                    }
                }
            }
            Ok(Container::new(String::new(), false, false))
        });
        let found: Result<_, graph::Error> = found.await;
        let found = found.map_err(|source| {
            let doing = "looking for the default list of tasks".to_owned();
            Error::Graph { doing, source }
        })?;
        Ok(Some(Arc::clone(found)).filter(|list| !list.id.is_empty()))
    }
}

/// Whether tasks in it are views of flagged mails: they come back with these, and no client can
/// make them (FACTS 3.8).
pub(super) fn is_of_mails(trail: &[Folder]) -> bool {
    trail.iter().any(|list| list.well_known.as_deref() == Some(FLAGGED))
}

fn is(list: &Value, known: &str) -> bool {
    list.get("wellknownListName").and_then(Value::as_str) == Some(known)
}
