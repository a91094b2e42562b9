//! Reading the operator's settings.

use serde::de::DeserializeOwned;

/// Settings that are JSON, as a type of the filter's own (`#[derive(serde::Deserialize, Default)]`;
/// `#[serde(deny_unknown_fields)]` finds misspelt names). No text gives the default.
///
/// # Errors
/// What is wrong, with line and column.
pub fn json<T: DeserializeOwned + Default>(text: &str) -> Result<T, String> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(text).map_err(|error| format!("settings: {error}"))
}
