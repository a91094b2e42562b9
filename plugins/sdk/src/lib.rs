//! Filter plugins for tar365: they decide, item by item, what leaves the tenant.
//!
//! A filter is a type that implements [`Filter`], given to [`export!`]. It is compiled to a
//! WebAssembly component that has nothing but what this crate offers: no clock, no files, no
//! network, no randomness. So the same filter with the same settings makes the same archive of the
//! same content.
//!
//! ```
//! use tar365_plugin::{Filter, Item, Manifest, MetadataDecision, Phase, settings};
//!
//! /// Drops mails that have a word in their subject.
//! #[derive(serde::Deserialize, Default)]
//! struct NoSuchSubject { word: String }
//!
//! impl Filter for NoSuchSubject {
//!     const MANIFEST: Manifest<'static> = Manifest {
//!         name: "no-such-subject", version: "1.0.0", author: "me@example.com",
//!         description: "Drops mails that have a word in their subject.",
//!         phases: &[Phase::Metadata], services: &["mail"],
//!     };
//!     fn configure(text: &str) -> Result<Self, String> { settings::json(text) }
//!     fn on_metadata(&self, item: &Item) -> Result<MetadataDecision, String> {
//!         let hit = item.text("/subject").is_some_and(|subject| subject.contains(&self.word));
//!         Ok(if hit { MetadataDecision::Drop("subject".into()) } else { MetadataDecision::Keep })
//!     }
//! }
//! tar365_plugin::export!(NoSuchSubject);
//!
//! # fn main() {
//! // A test needs no WebAssembly:
//! use tar365_plugin::native;
//! let item = native::item("mail", "message", serde_json::json!({ "subject": "my secret" }));
//! let answer = native::on_metadata::<NoSuchSubject>(r#"{"word": "secret"}"#, &item);
//! assert_eq!(answer, Ok(MetadataDecision::Drop("subject".into())));
//! # }
//! ```
//!
//! Every call is made in an instance of its own, so a filter remembers nothing from item to item,
//! and [`Filter::configure`] is called for each: keep it cheap. An `Err` or a panic fails the item
//! closed: it is not written to the archive.
//!
//! Built with `crate-type = ["cdylib", "rlib"]` for `wasm32-unknown-unknown` and linked by
//! `wasm-component-ld`, the crate is the plugin; `tar365 plugin build` does that.

mod content;
mod item;
pub mod log;
pub mod settings;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;
#[cfg(not(target_family = "wasm"))]
pub mod native;

pub use content::Content;
pub use item::Item;
/// What metadata is made of, as [`Item::metadata`] gives it and [`MetadataDecision::Change`] takes
/// it.
pub use serde_json;

/// A filter. The methods that belong to phases not in [`MANIFEST`](Filter::MANIFEST) are never
/// called.
pub trait Filter: Sized {
    /// What the filter says of itself. It can't depend on the settings.
    const MANIFEST: Manifest<'static>;

    /// Reads the settings: the text of the operator's file, empty if there is none. See
    /// [`settings::json`].
    ///
    /// Called once before the first byte of an archive is written, to see whether they are any
    /// good, and again before each call of the other methods.
    ///
    /// # Errors
    /// What is wrong with the settings. The program ends with it.
    fn configure(settings: &str) -> Result<Self, String>;

    /// Decides by what is known of a folder or item. In [`Phase::Hold`] and [`Phase::Metadata`].
    ///
    /// # Errors
    /// The item is failed closed: not written, and the ledger says so. The text is logged.
    fn on_metadata(&self, item: &Item) -> Result<MetadataDecision, String> {
        let _ = item;
        Ok(MetadataDecision::Keep)
    }

    /// Decides by an item's content. In [`Phase::Content`].
    ///
    /// # Errors
    /// As of [`on_metadata`](Filter::on_metadata).
    fn on_content(
        &self,
        item: &Item,
        content: &mut Content<'_>,
    ) -> Result<ContentDecision, String> {
        let _ = (item, content);
        Ok(ContentDecision::Keep)
    }
}

/// What a filter says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// A short name for the archive's head and messages: lower-case letters, digits and hyphens, at
    /// most 64.
    pub name: &'a str,
    /// Its version, as in the archive's head; `env!("CARGO_PKG_VERSION")` is a good one.
    pub version: &'a str,
    /// Who answers for it.
    pub author: &'a str,
    /// One sentence for those who choose among plugins.
    pub description: &'a str,
    /// What it wants to be asked about; at least one.
    pub phases: &'a [Phase],
    /// The services it wants to be asked about, by their names in the archive (`mail`, `onedrive`,
    /// ...). None means all, also those that are yet to come.
    pub services: &'a [&'a str],
}

/// What a filter wants to be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Metadata, before all other plugins of the chain; only [`MetadataDecision::Keep`] and
    /// [`MetadataDecision::Hold`] are answers then.
    Hold,
    /// Metadata of folders and items.
    Metadata,
    /// Content of items that have some.
    Content,
}

/// What becomes of a folder or item, by what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataDecision {
    /// It stays as it is.
    Keep,
    /// It leaves no byte in the archive; a folder stays if something below it does. The text says
    /// why: it is logged and not written to the archive.
    Drop(String),
    /// It stays, with this in place of its metadata; its name follows. Ids, the folder it is in,
    /// and the dates that its place in the archive follows from can't be changed.
    Change(serde_json::Value),
    /// It stays as it is and no other plugin of the chain is asked. In [`Phase::Hold`] only. The
    /// text says why.
    Hold(String),
}

/// What becomes of an item, by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentDecision {
    /// It stays as it is; what was written to [`Content`] is forgotten.
    Keep,
    /// It leaves no byte in the archive. The text says why.
    Drop(String),
    /// What was written to [`Content`] is its content from here on.
    Replace,
}

/// Makes a [`Filter`] the plugin that this crate is. Once in a crate; outside of WebAssembly it
/// only checks the type.
#[macro_export]
macro_rules! export {
    ($filter:ty) => {
        const _: () = {
            const fn filter<F: $crate::Filter>() {}
            filter::<$filter>();
        };
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::guest::Component<$filter>;
    $crate::guest::export_component!(Component with_types_in $crate::guest::bindings);
        };
    };
}
