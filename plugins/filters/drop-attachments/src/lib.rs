//! Takes attachments out of mails and leaves a note in their place.
//!
//! What is dropped is said by media types, names, sizes and whether the part is shown inline, see
//! [`Settings`] and `doc/plugins/drop-attachments.md`.

mod rewrite;
mod settings;
mod stub;

use std::cell::RefCell;

use mime_edit::Half;
use tar365_plugin::{
    Content, ContentDecision, Filter, Item, Manifest, Phase, log, settings as read,
};

pub use rewrite::{Dropped, rewrite};
pub use settings::{Conditions, MAX_SIZE, Messages, Settings, Signed, Size, Verdict};

/// The filter.
#[derive(Debug)]
pub struct DropAttachments(Settings);

impl Filter for DropAttachments {
    const MANIFEST: Manifest<'static> = Manifest {
        name: "drop-attachments",
        version: env!("CARGO_PKG_VERSION"),
        author: "tar365",
        description: "Takes attachments out of mails, by type, name and size, and leaves a note \
                      with name, type, size and SHA-256 in their place.",
        phases: &[Phase::Content],
        services: &["mail"],
    };

    fn configure(settings: &str) -> Result<Self, String> {
        let settings: Settings = read::json(settings)?;
        settings.check()?;
        Ok(DropAttachments(settings))
    }

    fn on_content(
        &self,
        item: &Item,
        content: &mut Content<'_>,
    ) -> Result<ContentDecision, String> {
        if item.kind != "message" {
            return Ok(ContentDecision::Keep);
        }
        let content = RefCell::new(content);
        let dropped = rewrite(&self.0, Half(&content), Half(&content))
            .map_err(|error| format!("the mail can't be read: {error}"))?;
        for Dropped { name, media_type, size } in &dropped {
            let name = name.as_deref().unwrap_or("an attachment without a name");
            log::debug(format_args!("dropped {name} ({media_type}, {size} bytes)"));
        }
        Ok(if dropped.is_empty() { ContentDecision::Keep } else { ContentDecision::Replace })
    }
}

tar365_plugin::export!(DropAttachments);
