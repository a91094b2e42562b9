//! A card in version 3.0, for a server that does not say that it takes 4.0 (RFC 6352, 6.2.2): there
//! are programs that take it, and cut its photo off.

use std::io::{self, Read};

use convert::contact::{Version, read, write};

use crate::content::Content;
use crate::error::Error;
use crate::item::Item;

/// A card of more bytes is none that a service gave: a photo has at most a few million.
const MOST: u64 = 64 << 20;
/// How a card of version 4.0 begins (RFC 6350, 6.7.9).
const BEGINNING: &[u8] = b"BEGIN:VCARD\r\nVERSION:4.0\r\n";

/// The contact as an export in version 3.0 has it: of its archived JSON, with the photo of its card.
/// None if it is nothing else already.
pub(super) fn older(item: &Item) -> Result<Option<Item>, Error> {
    let failed = |source| Error::Content { path: item.path.clone(), source };
    if item.content.is_repeatable() && !is_newer(item).map_err(failed)? {
        return Ok(None);
    }
    let mut bytes = item.bytes(MOST).map_err(failed)?;
    if bytes.starts_with(BEGINNING) {
        let invalid = |error| failed(io::Error::new(io::ErrorKind::InvalidData, error));
        let photo = read(&bytes).map_err(invalid)?.into_iter().find_map(|card| card.photo);
        let mut photo = photo.as_deref();
        let photo = photo.as_mut().map(|photo| photo as &mut dyn Read);
        let mut card = Vec::new();
        // What no card holds is told of by none.
        write(&item.line.graph, photo, Version::V3, &mut card).map_err(invalid)?;
        bytes = card.into();
    }
    Ok(Some(Item {
        line: item.line.clone(),
        path: item.path.clone(),
        size: bytes.len() as u64,
        content: Content::Memory(bytes),
        ..*item
    }))
}

fn is_newer(item: &Item) -> io::Result<bool> {
    let mut start = Vec::with_capacity(BEGINNING.len());
    item.content.open()?.take(BEGINNING.len() as u64).read_to_end(&mut start)?;
    Ok(start == BEGINNING)
}
