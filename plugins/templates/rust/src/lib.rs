//! Drops mails that have a word in their subject.

use tar365_plugin::{
    Content, ContentDecision, Filter, Item, Manifest, MetadataDecision, Phase, settings,
};

/// The settings: `settings.json`.
#[derive(serde::Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct MyFilter {
    /// The word, in any case.
    subject: String,
}

impl Filter for MyFilter {
    const MANIFEST: Manifest<'static> = Manifest {
        name: "my-filter",
        version: env!("CARGO_PKG_VERSION"),
        author: "me@example.com",
        description: env!("CARGO_PKG_DESCRIPTION"),
        // Add Phase::Content to be asked about contents.
        phases: &[Phase::Metadata],
        services: &["mail"],
    };

    fn configure(text: &str) -> Result<Self, String> {
        let filter: Self = settings::json(text)?;
        if filter.subject.is_empty() {
            return Err("settings: \"subject\" must be the word to look for".into());
        }
        Ok(Self { subject: filter.subject.to_lowercase() })
    }

    fn on_metadata(&self, item: &Item) -> Result<MetadataDecision, String> {
        let subject = item.text("/subject").unwrap_or_default();
        if item.kind == "message" && subject.to_lowercase().contains(&self.subject) {
            return Ok(MetadataDecision::Drop("its subject".into()));
        }
        Ok(MetadataDecision::Keep)
    }

    /// `content` is read and written as any `std::io::Read` and `Write`; to change it, write the
    /// new one and answer `ContentDecision::Replace`.
    fn on_content(&self, _: &Item, _: &mut Content<'_>) -> Result<ContentDecision, String> {
        Ok(ContentDecision::Keep)
    }
}

tar365_plugin::export!(MyFilter);

#[cfg(test)]
mod tests {
    use super::*;
    use tar365_plugin::{native, serde_json::json};

    #[test]
    fn subjects_with_the_word_are_dropped() {
        let settings = include_str!("../settings.json");
        let ask = |subject| {
            let item = native::item("mail", "message", json!({ "subject": subject }));
            native::on_metadata::<MyFilter>(settings, &item)
        };
        assert_eq!(ask("Quarterly Report"), Ok(MetadataDecision::Drop("its subject".into())));
        assert_eq!(ask("Lunch"), Ok(MetadataDecision::Keep));
    }

    #[test]
    fn settings_without_the_word_are_refused() {
        assert!(MyFilter::configure("").is_err());
        assert!(MyFilter::configure(r#"{"subjekt": "x"}"#).is_err());
    }
}
