//! The folder or item that a filter is asked about.

use serde_json::Value;

/// A folder or item. What all have stands in the fields; the rest is metadata as Microsoft Graph
/// gives it (changed by the plugins before), fetched from the host when asked for: [`Item::text`]
/// and [`Item::value`] for single values are much cheaper than all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Id of the service, immutable.
    pub id: String,
    /// The service: `mail`, `onedrive`, ...
    pub service: String,
    /// What it is, as in its metadata line: `folder`, `message`, `file`, ... More will come.
    pub kind: String,
    /// Address of the owner (user principal name).
    pub owner: String,
    /// Object id of the owner.
    pub owner_id: String,
    /// Path in the archive. It follows from the metadata and changes with it.
    pub path: String,
    /// Media type of the content, if it is known before the content is fetched.
    pub media_type: Option<String>,
    /// Bytes of the content, if the service tells. Services lie: count what you read.
    pub size: Option<u64>,
    /// In a component it is at the host.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) metadata: Value,
    #[cfg(target_family = "wasm")]
    pub(crate) metadata: crate::guest::Metadata,
}

impl Item {
    /// All metadata: a JSON object, as text.
    #[must_use]
    pub fn metadata_text(&self) -> String {
        self.metadata.to_string()
    }

    /// All metadata: a JSON object. Its keys are sorted (unless the filter's crate turns on the
    /// feature `preserve_order` of `serde_json`), and a number like `1.50` is `1.5`.
    #[must_use]
    pub fn metadata(&self) -> Value {
        #[cfg(not(target_family = "wasm"))]
        return self.metadata.clone();
        #[cfg(target_family = "wasm")]
        self.metadata.parse()
    }

    /// One value of the metadata by JSON pointer (RFC 6901), such as `/from/emailAddress`; `None`
    /// if there is nothing.
    #[must_use]
    pub fn value(&self, pointer: &str) -> Option<Value> {
        #[cfg(not(target_family = "wasm"))]
        return self.metadata.pointer(pointer).cloned();
        #[cfg(target_family = "wasm")]
        self.metadata.value(pointer)
    }

    /// One text of the metadata by JSON pointer, such as `/from/emailAddress/address`; `None` if
    /// there is nothing or something else than text.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<String> {
        match self.value(pointer) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}
