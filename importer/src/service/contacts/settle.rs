//! What was made is read again and compared with what it was made of: a difference is corrected,
//! counted, or makes the contact none.

use bytes::Bytes;
use graph::{ErrorKind, Prefer, segment};
use serde_json::{Map, Value};

use super::contact::Contact;
use super::place::{ContactPlace, Done};
use crate::error::Error;
use crate::item::Item;
use crate::mailbox::Mailbox;
use crate::place::Loss;

impl ContactPlace {
    /// Reads what was made again; corrects what can be; says what can't.
    pub(super) async fn settle(
        &self,
        item: &Item,
        folder: &str,
        id: &str,
        contact: &Contact,
    ) -> Result<Done, Error> {
        let failed = |source| Error::Graph { doing: format!("checking {}", item.path), source };
        let path = self.contact(folder, id);
        let mut made = self.look_at(&path, contact).await.map_err(failed)?;
        let differing = contact.differing(&made);
        if !differing.is_empty() {
            let values = differing.iter().filter_map(|key| Some((*key, contact.body.get(*key)?)));
            let change: Map<_, _> =
                values.map(|(key, value)| (key.to_owned(), value.clone())).collect();
            let Mailbox { graph, scope, .. } = &self.mailbox;
            match graph.patch(scope, &path, &change.into(), None).await {
                Err(error) if *error.kind() != ErrorKind::Invalid => return Err(failed(error)),
                _ => {}
            }
            made = self.look_at(&path, contact).await.map_err(failed)?;
        }
        let differing = contact.differing(&made);
        if differing.contains(&"displayName") {
            let what = "it is called something else".to_owned();
            return Err(Error::Unequal { path: item.path.clone(), what });
        }
        let mut losses = Vec::new();
        if !differing.is_empty() {
            losses.push(Loss::Properties);
        }
        if let Some(photo) = &contact.photo
            && !self.settle_photo(&path, photo).await.map_err(failed)?
        {
            losses.push(Loss::Photo);
        }
        let folder = made.get("parentFolderId").and_then(Value::as_str).map(str::to_owned);
        Ok(Done { id: id.to_owned(), folder, losses })
    }

    /// All of a contact, with the extended properties that it should have.
    async fn look_at(&self, path: &str, contact: &Contact) -> Result<Value, graph::Error> {
        let wanted: Vec<_> = contact.extended().map(|id| format!("id eq '{id}'")).collect();
        let expand = match wanted.is_empty() {
            true => String::new(),
            false => {
                let filter = segment(&wanted.join(" or "));
                format!("?$expand=singleValueExtendedProperties($filter={filter})")
            }
        };
        let Mailbox { graph, scope, .. } = &self.mailbox;
        graph.get(scope, &format!("{path}{expand}"), Prefer::none()).await
    }

    /// Sees to it that the contact has the photo. False if the service does not take it as it is.
    async fn settle_photo(&self, contact: &str, photo: &[u8]) -> Result<bool, graph::Error> {
        if let Some(there) = self.photo(contact).await? {
            return Ok(there == photo);
        }
        match self.put_photo(contact, photo).await {
            Ok(()) => Ok(self.photo(contact).await?.is_some_and(|there| there == photo)),
            Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::TooLarge) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn put_photo(&self, contact: &str, photo: &[u8]) -> Result<(), graph::Error> {
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let path = format!("{contact}/photo/$value");
        let bytes = Bytes::copy_from_slice(photo);
        let nobody = || async { Ok(None) };
        graph.put(scope, &path, bytes, media_type(photo), nobody).await.map(drop)
    }

    /// The photo of the contact at this path, if it has one.
    pub(super) async fn photo(&self, contact: &str) -> Result<Option<Vec<u8>>, graph::Error> {
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let mut body = match graph.value(scope, &format!("{contact}/photo/$value")).await {
            Ok(body) => body,
            Err(error) if error.status() == Some(404) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut photo = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            photo.extend_from_slice(&chunk);
        }
        Ok(Some(photo))
    }
}

/// What a photo is by its first bytes; Outlook's own are JPEG.
fn media_type(photo: &[u8]) -> &'static str {
    match photo {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'B', b'M', ..] => "image/bmp",
        _ => "image/jpeg",
    }
}
