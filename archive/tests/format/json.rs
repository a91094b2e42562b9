//! Canonical JSON.

use archive::json::canonical;
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn keys_stand_in_the_order_of_utf_16() {
    // The example of RFC 8785, section 3.2.3.
    let value = json!({
        "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh",
        "1": "One", "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control",
        "\u{f6}": "Latin Small Letter O With Diaeresis",
    });
    let text = canonical(&value);
    let order = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
    let places: Vec<_> = order.iter().map(|word| text.find(word).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn strings_are_escaped_as_little_as_possible() {
    let text = canonical(&json!("\u{0}\u{1f}\u{8}\t\n\u{c}\r\"\\/\u{7f}\u{2028}ü"));
    assert_eq!(text, "\"\\u0000\\u001f\\b\\t\\n\\f\\r\\\"\\\\/\u{7f}\u{2028}ü\"");
}

#[test]
fn numbers_stay_what_they_are() {
    for number in ["0", "-1", "9223372036854775807", "18446744073709551615", "1.5", "-0.25"] {
        let value: Value = serde_json::from_str(number).unwrap();
        assert_eq!(canonical(&value), number);
    }
    let text = "{\"a\":[1,{\"b\":null}],\"c\":true}";
    assert_eq!(canonical(&serde_json::from_str(text).unwrap()), text);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn canonical_text_is_the_value_and_a_fixed_point(value in any_json()) {
        let text = canonical(&value);
        prop_assert!(!text.contains('\n'));
        let parsed: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&parsed, &value);
        prop_assert_eq!(canonical(&parsed), text);
    }
}
