//! What a plugin is asked, and what it answers.

use std::sync::Arc;

/// A folder or an item, as in the contract's record of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Id of the service, immutable.
    pub id: String,
    /// The service: `mail`, `onedrive`, ...
    pub service: String,
    /// What it is, as in its metadata line: `folder`, `message`, `file`, ...
    pub kind: String,
    /// Address of the owner (user principal name).
    pub owner: String,
    /// Object id of the owner.
    pub owner_id: String,
    /// Path in the archive. A chain does not follow the changes of its plugins with it.
    pub path: String,
    /// Media type of the content, if it is known before it is fetched.
    pub media_type: Option<String>,
    /// Bytes of the content, if the service tells.
    pub size: Option<u64>,
    /// The service's metadata: the text of a JSON object.
    pub metadata: Arc<str>,
}

/// What becomes of a folder or item, by what is known of it. Reasons are for the operator's log,
/// cut to 4 KiB and fit for a terminal; they are not for the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataDecision {
    /// It stays as it is.
    Keep,
    /// It leaves no byte in the archive, for this reason.
    Drop(String),
    /// It stays with this text in place of its metadata. Nothing of it is checked yet.
    Change(String),
    /// It stays as it is and no other plugin is asked, for this reason.
    Hold(String),
}

/// What becomes of an item, by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentDecision {
    /// It stays as it is; what was written is to be forgotten.
    Keep,
    /// It leaves no byte in the archive, for this reason (as in [`MetadataDecision`]).
    Drop(String),
    /// What was written is its content from here on.
    Replace,
}
