//! Attachments, within the file: an event and all it has is one item.

use std::io::{self, Read, Write};

use serde_json::Value;

use super::{AttachmentRef, Error};
use crate::ical::head;
use crate::line::Lines;
use crate::loss::Losses;

/// Parameters of ours: an attachment that the body shows, its id there, and one that is an item.
pub(super) const INLINE: &str = "X-TAR365-INLINE";
pub(super) const CONTENT_ID: &str = "X-TAR365-CONTENT-ID";
pub(super) const ITEM: &str = "X-TAR365-ITEM";

pub(super) fn write<'c, W: Write>(
    event: &Value,
    lines: &mut Lines<'_, W>,
    content: &mut impl FnMut(AttachmentRef<'_>) -> io::Result<Box<dyn Read + 'c>>,
    losses: &mut Losses,
) -> Result<(), Error> {
    for attachment in event["attachments"].as_array().into_iter().flatten() {
        let kind = attachment["@odata.type"].as_str().unwrap_or_default();
        if kind.ends_with("referenceAttachment") {
            write_link(attachment, lines, losses)?;
            continue;
        }
        let name = attachment["name"].as_str().unwrap_or_default();
        let failed = |source| Error::Attachment { name: name.to_owned(), source };
        let mut bytes = match content(AttachmentRef { event, attachment }) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                losses.add("attachments", "the service no longer has its content");
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        let is_item = kind.ends_with("itemAttachment");
        let media = media_type(attachment, is_item, losses);
        let mut first = [0];
        let is_empty = io::Read::read(&mut bytes, &mut first).map_err(failed)? == 0;
        // A property without a value is none to some programs.
        let line = match is_empty {
            true => head("ATTACH"),
            false => head("ATTACH").param("ENCODING", "BASE64").param("VALUE", "BINARY"),
        };
        let mut line = line.param("FMTTYPE", media);
        if !name.is_empty() {
            line = line.param("X-FILENAME", name);
        }
        if attachment["isInline"] == true {
            line = line.param(INLINE, "TRUE");
        }
        if let Some(id) = attachment["contentId"].as_str().filter(|id| !id.is_empty()) {
            line = line.param(CONTENT_ID, id);
        }
        if is_item {
            line = line.param(ITEM, "TRUE");
        }
        match is_empty {
            true => lines.raw(&line, &format!("data:{media};base64,"))?,
            false => {
                let mut bytes = first.as_slice().chain(bytes);
                lines.base64(&line, "", &mut bytes).map_err(failed)?;
            }
        }
        if attachment["contentLocation"].as_str().is_some_and(|location| !location.is_empty()) {
            losses.add("attachments/contentLocation", "iCalendar has no such property");
        }
    }
    Ok(())
}

/// A link to a file elsewhere. Graph v1.0 does not tell where (FACTS 4.2); beta does.
fn write_link<W: Write>(
    attachment: &Value,
    lines: &mut Lines<'_, W>,
    losses: &mut Losses,
) -> io::Result<()> {
    let url = attachment["sourceUrl"].as_str().unwrap_or_default();
    if url.is_empty() || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        losses
            .add("attachments", "a link to a file of which the service does not tell the address");
        return Ok(());
    }
    let name = attachment["name"].as_str().unwrap_or_default();
    let line =
        if name.is_empty() { head("ATTACH") } else { head("ATTACH").param("X-FILENAME", name) };
    lines.raw(&line, url)
}

/// FMTTYPE, which has no parameters (RFC 5545, 3.2.8).
fn media_type<'a>(attachment: &'a Value, is_item: bool, losses: &mut Losses) -> &'a str {
    let told = attachment["contentType"].as_str().unwrap_or_default();
    let (media, parameters) = told.split_once(';').unwrap_or((told, ""));
    let media = media.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$&.+-^_/".contains(c);
    if media.matches('/').count() == 1 && media.chars().all(allowed) {
        if !parameters.is_empty() {
            losses.add("attachments/contentType", "without its parameters");
        }
        return media;
    }
    // What `$value` gives for an item (FACTS 4.2).
    match attachment["item"]["@odata.type"].as_str().unwrap_or_default() {
        _ if !is_item => "application/octet-stream",
        kind if kind.ends_with(".event") => "text/calendar",
        kind if kind.ends_with(".contact") => "text/vcard",
        _ => "message/rfc822",
    }
}
