//! Times as Graph writes them (FACTS 8.9): 0 to 7 digits of a second, inconsistent between
//! services, so they are compared as instants and never as text.

use chrono::DateTime;
use serde_json::Value;

/// Nanoseconds since 1970 of an RFC 3339 time; what is out of range (year 0001) saturates.
pub(super) fn nanoseconds(text: &str) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(
        time.timestamp()
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::from(time.timestamp_subsec_nanos())),
    )
}

/// The first of `keys` (JSON pointers) that `value` has as a time.
pub(super) fn first(value: &Value, keys: &[&str]) -> Option<i64> {
    keys.iter().filter_map(|key| value.pointer(key).and_then(Value::as_str)).find_map(nanoseconds)
}

/// The same, but not the year 0001 that stands for no date (FACTS 8.9).
pub(super) fn first_real(value: &Value, keys: &[&str]) -> Option<i64> {
    keys.iter()
        .filter_map(|key| value.pointer(key).and_then(Value::as_str))
        .filter_map(nanoseconds)
        .find(|time| *time != i64::MIN)
}

/// As a key of order: what has no date comes first.
pub(super) fn order_key(nanoseconds: Option<i64>) -> i64 {
    nanoseconds.unwrap_or(i64::MIN)
}

/// In whole seconds, rounded down; 0 for no date, and for the year 0001 that stands for none
/// (FACTS 8.9).
pub(super) fn seconds(nanoseconds: Option<i64>) -> i64 {
    match nanoseconds {
        None | Some(i64::MIN) => 0,
        Some(nanoseconds) => nanoseconds.div_euclid(1_000_000_000),
    }
}
