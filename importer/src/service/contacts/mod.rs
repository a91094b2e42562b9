//! Contacts of a mailbox (FACTS 5.3).

mod contact;
mod folders;
mod place;
mod settle;
mod undo;

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
use contact::Contact;
use place::ContactPlace;

/// A card of this many bytes has a photo.
const WITH_PHOTO: u64 = 4000;

/// Contacts.
pub(super) struct Contacts;

impl Import for Contacts {
    const ABOUT: About = About {
        name: "contacts",
        roles: &["Contacts.ReadWrite"],
        // FACTS 2.2: 150 MB in 5 minutes.
        most_upload: Some(150_000_000 / 300),
    };

    type Place = ContactPlace;

    async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<ContactPlace, Error> {
        ContactPlace::open(graph, user, section, options, journal).await
    }

    fn reopen(graph: Graph, section: &str, address: &str, journal: Arc<Journal>) -> ContactPlace {
        ContactPlace::reopen(graph, section, address, journal)
    }

    /// When it was changed.
    fn mtime(line: &Line) -> i64 {
        crate::item::mtime(line, &["/lastModifiedDateTime", "/createdDateTime"])
    }

    fn requests(_line: &Line, size: u64) -> u64 {
        if size < WITH_PHOTO { 2 } else { 6 }
    }

    /// Everything that can be set, and the photo.
    fn compared(item: &Item) -> Result<Compared, Error> {
        let failed = |source| Error::Content { path: item.path.clone(), source };
        let contact = Contact::read(item)?;
        let name = contact.body.get("displayName").and_then(Value::as_str).unwrap_or_default();
        let name = name.trim().to_owned();
        let photo = contact.photo.map(|photo| digest(&mut photo.as_slice())).transpose();
        let all = json!({
            "contact": contact::plain(&contact.body),
            "photo": photo.map_err(failed)?,
        });
        Ok(Compared { name, content: all.clone(), all })
    }
}
