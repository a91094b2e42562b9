//! What a mailbox is set to (FACTS 5.5).
//!
//! A mailbox has its settings, its picture and each category only once, so there is no "beside":
//! what is not there is added, what differs is only written in place. A rule is an item of its own
//! and is added; it comes back off unless asked for, as automatic replies do.

mod document;
mod part;
mod place;
mod rules;

use std::sync::Arc;

use archive::metadata::Line;
use graph::Graph;
use serde_json::{Value, json};

use super::{About, Compared, Import};
use crate::content::digest;
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::Options;
use crate::section::Section;
use crate::target::User;
use part::Part;
use place::SettingsPlace;

/// What a mailbox is set to.
pub(super) struct Settings;

impl Import for Settings {
    const ABOUT: About = About {
        name: "settings",
        roles: &["MailboxSettings.ReadWrite"],
        // FACTS 2.2: 150 MB in 5 minutes.
        most_upload: Some(150_000_000 / 300),
    };

    type Place = SettingsPlace;

    async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<SettingsPlace, Error> {
        SettingsPlace::open(graph, user, section, options, journal).await
    }

    fn reopen(graph: Graph, section: &str, address: &str, journal: Arc<Journal>) -> SettingsPlace {
        SettingsPlace::reopen(graph, section, address, journal)
    }

    /// Nothing tells when something was set.
    fn mtime(_line: &Line) -> i64 {
        0
    }

    /// To look, to write, to look again.
    fn requests(line: &Line, _size: u64) -> u64 {
        let many = line.graph.get("value").and_then(Value::as_array).map_or(1, Vec::len);
        2 + many as u64
    }

    fn compared(item: &Item) -> Result<Compared, Error> {
        compared(item)
    }

    /// Every mailbox has its settings, and a list of categories that may be empty.
    fn is_given(item: &Item) -> bool {
        let rows = item.line.graph.get("value").and_then(Value::as_array);
        match Part::of(&item.line.id) {
            Some(Part::Mailbox | Part::Profile) => true,
            Some(Part::Categories | Part::Overrides) => rows.is_none_or(Vec::is_empty),
            Some(Part::Photo) | None => false,
        }
    }

    fn beside(_label: &str) -> String {
        "missing categories and rules are added, rules off; nothing else is changed".to_owned()
    }
}

/// Less what belongs to the mailbox or to the directory.
fn compared(item: &Item) -> Result<Compared, Error> {
    let failed = |source| Error::Content { path: item.path.clone(), source };
    let mut all = item.line.graph.clone();
    let name = match Part::of(&item.line.id) {
        Some(Part::Photo) => {
            all = json!({ "sha256": digest(&mut item.content.open().map_err(failed)?).map_err(failed)? });
            "photo".to_owned()
        }
        Some(Part::Profile) => {
            all = Value::Null;
            item.line.id.clone()
        }
        Some(Part::Mailbox) => {
            all = part::comparable(&all);
            ["archiveFolder", "userPurpose"].iter().for_each(|key| remove(&mut all, key));
            item.line.id.clone()
        }
        Some(_) => {
            let rows = all.get_mut("value").and_then(Value::as_array_mut);
            rows.into_iter().flatten().for_each(|row| remove(row, "id"));
            item.line.id.clone()
        }
        None => {
            all = rules::comparable(&all);
            item.line.graph["displayName"].as_str().unwrap_or_default().to_owned()
        }
    };
    Ok(Compared { name, content: all.clone(), all })
}

fn remove(of: &mut Value, key: &str) {
    if let Some(of) = of.as_object_mut() {
        of.remove(key);
    }
}
