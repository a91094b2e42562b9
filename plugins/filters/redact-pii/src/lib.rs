//! `redact-pii`: a filter plugin that replaces what identifies persons and their accounts.
//!
//! Payment card numbers, IBANs, national ids, e-mail addresses and patterns of the operator's own
//! are found in metadata, in mails (decoded, at any depth), in text files and in Office documents.
//! What is written elsewhere stays byte for byte; a mail keeps its structure. What can't be looked
//! into goes by rule. See `doc/plugins/redact-pii.md`.

pub mod charset;
pub mod content;
mod document;
pub mod edit;
pub mod find;
pub mod mail;
pub mod metadata;
pub mod settings;
pub mod stream;
pub mod text;
mod transfer;
mod uu;
pub mod view;

use std::borrow::Cow;

use tar365_plugin::{
    Content, ContentDecision, Filter, Item, Manifest, MetadataDecision, Phase, log,
};

use content::About;
use settings::Rules;
use stream::Done;

/// The filter.
#[derive(Debug)]
pub struct RedactPii(Rules);

impl Filter for RedactPii {
    const MANIFEST: Manifest<'static> = Manifest {
        name: "redact-pii",
        version: env!("CARGO_PKG_VERSION"),
        author: "tar365",
        description: "Replaces card numbers, IBANs, national ids, e-mail addresses and own patterns \
                      in metadata, mails, text files and Office documents.",
        phases: &[Phase::Metadata, Phase::Content],
        services: &[],
    };

    fn configure(settings: &str) -> Result<Self, String> {
        Rules::parse(settings).map(Self).map_err(|error| error.to_string())
    }

    fn on_metadata(&self, item: &Item) -> Result<MetadataDecision, String> {
        let mut metadata = item.metadata();
        Ok(if metadata::redact(&self.0.finder, &mut metadata) {
            MetadataDecision::Change(metadata)
        } else {
            MetadataDecision::Keep
        })
    }

    fn on_content(
        &self,
        item: &Item,
        content: &mut Content<'_>,
    ) -> Result<ContentDecision, String> {
        let media_type = match (item.kind.as_str(), &item.media_type) {
            ("message", _) => Cow::Borrowed("message/rfc822"),
            (_, Some(media_type)) => {
                let bare = media_type.split(';').next().unwrap_or_default();
                Cow::Owned(bare.trim().to_ascii_lowercase())
            }
            (_, None) => Cow::Borrowed(""),
        };
        let name = item.text("/name").unwrap_or_else(|| item.path.clone());
        let about = About { name: Cow::Owned(name), media_type, ..About::default() };
        match stream::redact(&self.0, &about, item.size, content) {
            Ok(Done::Keep) => Ok(ContentDecision::Keep),
            Ok(Done::Written) => Ok(ContentDecision::Replace),
            Ok(Done::Drop(reason)) => {
                log::info(reason);
                Ok(ContentDecision::Drop(reason.to_owned()))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

tar365_plugin::export!(RedactPii);
