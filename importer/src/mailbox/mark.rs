//! The mark by which an item is known as made of another.

use serde_json::{Value, json};

/// The property that marks an item as ours: its value is the id of the item it was made of.
pub(crate) const SOURCE: &str = "String {00020329-0000-0000-C000-000000000046} Name tar365-source";

/// Adds the mark to what is about to be made.
pub(crate) fn add_mark(body: &mut Value, mark: &str) {
    let property = json!({ "id": SOURCE, "value": mark });
    match body.get_mut("singleValueExtendedProperties").and_then(Value::as_array_mut) {
        Some(properties) => properties.push(property),
        None => body["singleValueExtendedProperties"] = json!([property]),
    }
}

/// What lists must `$expand` for items to carry their marks.
pub(super) fn expansion() -> String {
    graph::segment(&format!("singleValueExtendedProperties($filter=id eq '{SOURCE}')")).to_string()
}

/// The value of our mark, if the item has it.
pub(super) fn mark(item: &Value) -> Option<&str> {
    let properties = item.get("singleValueExtendedProperties")?.as_array()?;
    let ours = |property: &&Value| {
        let id = property.get("id").and_then(Value::as_str).unwrap_or_default();
        id.to_ascii_lowercase().ends_with("name tar365-source")
    };
    properties.iter().find(ours)?.get("value")?.as_str()
}

/// What the mark of an item says while it is not finished.
pub(crate) fn partial_mark(source: &str) -> String {
    format!("partial {source}")
}

/// The source, and whether the item was not finished.
pub(super) fn read_mark(mark: &str) -> (&str, bool) {
    mark.strip_prefix("partial ").map_or((mark, false), |source| (source, true))
}
