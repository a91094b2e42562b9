//! The card of one contact: written of what the listing told, with its photo asked for.

use std::io::{self, Read};

use archive::{Outcome, VCard};
use convert::contact::{Version, write};
use graph::{Prefer, segment};
use serde_json::Value;

use super::{HAS_PICTURE, scope};
use crate::Error;
use crate::context::Context;
use crate::make::{Maker, make};
use crate::service::{Asked, Fetched, Note};
use crate::spool::Spooled;

/// The only part of a card.
const PHOTO: usize = 0;

/// The card of a contact. What of the contact no card holds stands in the metadata.
pub(super) async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
    let contact: Value = serde_json::from_str(&asked.item.json)
        .map_err(|_| Error::Internal("the inventory gave back bad JSON"))?;
    let mut photo = match photo(context, asked, &contact).await? {
        Ok(photo) => photo,
        Err(note) => return Ok(Fetched::Without(note)),
    };
    let version = match context.options.vcard {
        VCard::V3 => Version::V3,
        VCard::V4 => Version::V4,
    };
    let convert = move |out: &mut Maker| {
        let mut photo = out.part(PHOTO)?;
        let photo = photo.as_mut().map(|photo| photo as &mut dyn Read);
        write(&contact, photo, version, out).map_err(io::Error::other)
    };
    let part = |_| std::future::ready(Ok(photo.take()));
    match make(context, asked.turn, convert, part).await? {
        Ok((content, _losses)) => Ok(Fetched::Whole(content, None)),
        Err(_) => {
            let message = "the contact is not as the service's own documentation says";
            Ok(Fetched::Without(Note::new(Outcome::Failed, "content", message)))
        }
    }
}

/// The photo of a contact, if it has one; else why there is no card.
async fn photo(
    context: &Context,
    asked: Asked<'_>,
    contact: &Value,
) -> Result<Result<Option<Spooled>, Note>, Error> {
    if has_picture(contact) == Some(false) {
        return Ok(Ok(None));
    }
    let doing = format!("reading {}", asked.item.path);
    let scope = scope(asked.owner);
    let folder = contact.get("parentFolderId").and_then(Value::as_str).unwrap_or_default();
    let (user, id) = (segment(&asked.owner.id), segment(&asked.item.id));
    let contact = format!("/users/{user}/contactFolders/{}/contacts/{id}", segment(folder));
    let path = format!("{contact}/photo/$value");
    let error = match context.spool_value(&scope, &path, asked.turn, &doing).await? {
        Ok(photo) => return Ok(Ok(Some(photo))),
        Err(error) => error,
    };
    let is_missing = |error: &graph::Error| error.status() == Some(404);
    if error.code() == Some("ImageNotFound") {
        return Ok(Ok(None));
    }
    if is_missing(&error) {
        // Where the service does not say which, asking for the contact tells no photo from no
        // contact.
        let path = format!("{contact}?$select=id");
        return Ok(match context.ask(&scope, &path, Prefer::none(), &doing).await? {
            Err(error) if is_missing(&error) => {
                let message = "the contact was gone when it was read";
                Err(Note::new(Outcome::Skipped, "vanished", message).with_code(&error))
            }
            _ => Ok(None),
        });
    }
    let message = "the photo of the contact could not be read";
    Ok(Err(Note::new(Outcome::Failed, "content", message).with_code(&error)))
}

/// What the contact itself says of it; not every one does (FACTS 3.4).
pub(super) fn has_picture(contact: &Value) -> Option<bool> {
    let properties = contact.get("singleValueExtendedProperties")?.as_array()?;
    let is_it = |property: &&Value| {
        property["id"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(HAS_PICTURE))
    };
    properties.iter().find(is_it)?["value"].as_str()?.to_ascii_lowercase().parse().ok()
}
