//! Keys that say nothing of what they stand at, or change by themselves (FACTS 9).

use serde_json::{Map, Value};

/// Drops `keys`, and the contexts that every answer has.
pub(crate) fn strip(graph: &mut Map<String, Value>, keys: &[&str]) {
    keys.iter().for_each(|key| drop(graph.remove(*key)));
    graph.retain(|key, _| !key.ends_with("@odata.context"));
}
