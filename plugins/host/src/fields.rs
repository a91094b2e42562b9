//! Single values of an item's metadata.

use std::collections::HashMap;

use archive::json::canonical;
use serde_json::{Value, value::RawValue};

/// The fields of a JSON object. Their values are not read until they are asked for: guests ask for
/// few, and to read all of them takes longer than many a guest.
pub(crate) struct Fields(HashMap<String, Box<RawValue>>);

impl Fields {
    /// Fails if `text` is not that of an object.
    pub(crate) fn new(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).map(Fields)
    }

    /// The text of the field that a JSON pointer (RFC 6901) below the whole leads to or into, and
    /// the rest of the pointer, for [`value`].
    pub(crate) fn find<'a>(&self, pointer: &'a str) -> Option<(&str, &'a str)> {
        let path = pointer.strip_prefix('/')?;
        let (field, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        let text = self.0.get(&field.replace("~1", "/").replace("~0", "~"))?;
        Some((text.get(), rest))
    }
}

/// The value at a JSON pointer in the text of a field, as canonical text; `None` if there is
/// nothing. Takes time with the length of the text.
pub(crate) fn value(text: &str, pointer: &str) -> serde_json::Result<Option<String>> {
    let field: Value = serde_json::from_str(text)?;
    Ok(field.pointer(pointer).map(canonical))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Fields, canonical, value};

    #[test]
    fn values_are_those_of_the_whole() {
        let text = r#"{"a":{"b":[1,{"c":"x"}],"":0},"a/b":2,"m~n":3,"~1":4,"":{"":5},"é":null,"z":1.50,"a":{"b":[9]}}"#;
        let whole: Value = serde_json::from_str(text).unwrap();
        let fields = Fields::new(text).unwrap();
        for pointer in [
            "/a", "/a/b", "/a/b/0", "/a/b/1/c", "/a/b/01", "/a/", "/a/c", "/a~1b", "/m~0n", "/~01",
            "/", "//", "/é", "/z", "a", "a/b", "/nothing",
        ] {
            let expected = whole.pointer(pointer).map(canonical);
            let found = fields.find(pointer).and_then(|(text, rest)| value(text, rest).unwrap());
            assert_eq!(found, expected, "{pointer}");
        }
    }

    #[test]
    fn what_is_no_object_has_no_fields() {
        for text in ["", "[1]", "null", "{\"a\":}", "{} x"] {
            assert!(Fields::new(text).is_err(), "{text}");
        }
    }
}
