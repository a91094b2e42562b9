//! A mailbox as the place of its settings.

use std::collections::BTreeSet;
use std::sync::Arc;

use graph::Graph;
use tokio::sync::Mutex;

use super::part::Part;
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::mailbox::Mailbox;
use crate::options::{Destination, OnConflict, Options};
use crate::place::{Made, Place, Restored, Undone, What};
use crate::section::{Folder, Section};
use crate::service::mail::folders::Folders;
use crate::target::User;

/// Entries that are read from the journal at a time.
const PAGE: usize = 500;

/// A mailbox.
pub(crate) struct SettingsPlace {
    pub(super) mailbox: Mailbox,
    upn: String,
    /// Nothing that is there is changed.
    pub(super) beside: bool,
    /// Settings go back to the mailbox they are of: there ids of folders are the same.
    pub(super) is_home: bool,
    pub(super) on_conflict: OnConflict,
    pub(super) enable_rules: bool,
    pub(super) enable_replies: bool,
    pub(super) section: String,
    pub(super) journal: Arc<Journal>,
    /// Where rules put mail.
    pub(super) folders: Folders,
    /// Rules that one of the archive is already: two that are alike stay two.
    pub(super) taken: Mutex<BTreeSet<String>>,
}

impl SettingsPlace {
    pub(super) async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<Self, Error> {
        journal.place(&section.prefix, &user.id)?;
        let place = Self {
            upn: user.upn.clone(),
            beside: options.destination != Destination::InPlace,
            is_home: user.id.eq_ignore_ascii_case(&section.owner.id),
            on_conflict: options.on_conflict,
            enable_rules: options.enable_rules,
            enable_replies: options.enable_replies,
            ..Self::reopen(graph, &section.prefix, &user.id, journal)
        };
        *place.taken.lock().await = place.settled()?;
        place.mailbox.check("mailboxSettings", "settings", &place.upn).await?;
        Ok(place)
    }

    /// For an undo: `address` is the user's id.
    pub(super) fn reopen(
        graph: Graph,
        section: &str,
        address: &str,
        journal: Arc<Journal>,
    ) -> Self {
        let mailbox = Mailbox::of_user(graph, address);
        let folders =
            Folders::new(mailbox.clone(), section, Arc::clone(&journal), None, String::new());
        Self {
            mailbox,
            upn: address.to_owned(),
            beside: true,
            is_home: false,
            on_conflict: OnConflict::Skip,
            enable_rules: false,
            enable_replies: false,
            section: section.to_owned(),
            journal,
            folders,
            taken: Mutex::default(),
        }
    }

    /// Ids of the rules that earlier runs with this journal settled on.
    fn settled(&self) -> Result<BTreeSet<String>, Error> {
        let (mut all, mut after) = (BTreeSet::new(), 0);
        loop {
            let settled = self.journal.settled(&self.section, after, PAGE)?;
            let Some((last, _)) = settled.last() else { return Ok(all) };
            after = *last;
            all.extend(settled.into_iter().map(|(_, id)| id));
        }
    }
}

impl Place for SettingsPlace {
    fn shown(&self) -> String {
        match self.beside {
            false => format!("{}: settings, in place", self.upn),
            true => format!("{}: settings, only what is missing", self.upn),
        }
    }

    /// One after the other: what a mailbox has once is no matter for two at a time.
    fn concurrency(&self) -> usize {
        1
    }

    async fn folder(&self, _trail: &[Folder]) -> Result<(), Error> {
        Ok(())
    }

    async fn put(&self, item: &Item, _trail: &[Folder]) -> Result<Restored, Error> {
        match Part::of(&item.line.id) {
            Some(part) => self.put_part(item, part).await,
            None => self.put_rule(item).await,
        }
    }

    async fn undo(&self, made: &Made) -> Result<Undone, Error> {
        let part = made.source.as_deref().and_then(Part::of);
        let undone = match (made.what, part) {
            (What::Folder, _) => self.folders.undo(made).await,
            (What::Item, Some(part)) => self.undo_part(made, part).await,
            (What::Item, None) => self.undo_rule(made, &self.settled()?).await,
        };
        undone.map_err(|source| Error::Graph { doing: format!("undoing {}", made.path), source })
    }
}
