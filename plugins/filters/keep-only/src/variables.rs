//! What an expression knows of an item.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};
use chrono::DateTime;
use tar365_plugin::Item;
use tar365_plugin::serde_json::Value as Json;

use crate::check::Needs;

/// All that there are.
pub(crate) const NAMES: [&str; 13] = [
    "item",
    "kind",
    "service",
    "owner",
    "ownerId",
    "path",
    "mediaType",
    "size",
    "name",
    "sender",
    "recipients",
    "received",
    "modified",
];

/// The variables that `wanted` asks for: most expressions need few, and to get all of an item's
/// metadata costs more than the rest.
pub(crate) fn of(
    item: &Item,
    needs: &Needs,
    wanted: impl Fn(&'static str) -> bool,
) -> impl Iterator<Item = (&'static str, Value)> {
    let wanted = NAMES.into_iter().filter(move |name| wanted(name));
    wanted.map(move |name| (name, value(item, needs, name)))
}

fn value(item: &Item, needs: &Needs, name: &str) -> Value {
    let address = |pointer| item.text(pointer).unwrap_or_default().to_lowercase();
    match name {
        "item" => match &needs.fields {
            Some(fields) => from_json(only(item, fields)),
            None => from_json(item.metadata()),
        },
        "kind" => item.kind.as_str().into(),
        "service" => item.service.as_str().into(),
        "owner" => item.owner.as_str().into(),
        "ownerId" => item.owner_id.as_str().into(),
        "path" => item.path.as_str().into(),
        "mediaType" => item.media_type.as_deref().unwrap_or_default().into(),
        "size" => item.size.map_or(Value::Null, |size| Value::Int(size.cast_signed())),
        "name" => {
            let names = ["/subject", "/name", "/displayName", "/title"];
            names.iter().find_map(|pointer| item.text(pointer)).unwrap_or_default().into()
        }
        "sender" => match address("/from/emailAddress/address") {
            empty if empty.is_empty() => address("/sender/emailAddress/address").into(),
            address => address.into(),
        },
        "recipients" => recipients(item),
        "received" => time(item, &["/receivedDateTime", "/createdDateTime"]),
        "modified" => time(item, &["/lastModifiedDateTime"]),
        _ => Value::Null,
    }
}

/// All addresses of To, Cc and Bcc in lower case.
fn recipients(item: &Item) -> Value {
    let mut addresses = Vec::new();
    for field in ["/toRecipients", "/ccRecipients", "/bccRecipients"] {
        let Some(Json::Array(recipients)) = item.value(field) else { continue };
        for recipient in recipients {
            let address = recipient.pointer("/emailAddress/address").and_then(Json::as_str);
            addresses.extend(address.map(|address| Value::from(address.to_lowercase())));
        }
    }
    Value::List(Arc::new(addresses))
}

/// The first of these times that is there; null if none is.
fn time(item: &Item, pointers: &[&str]) -> Value {
    let text = pointers.iter().find_map(|pointer| item.text(pointer));
    let time = text.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    time.map_or(Value::Null, Value::Timestamp)
}

/// These fields of the metadata.
fn only(item: &Item, fields: &BTreeSet<String>) -> Json {
    let field = |name: &String| {
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        Some((name.clone(), item.value(&pointer)?))
    };
    Json::Object(fields.iter().filter_map(field).collect())
}

/// As JSON has it, but without what is null: for Graph that is another word for missing, and so
/// `has()` tells for both.
fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) => Value::UInt(value),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text),
        Json::Array(list) => Value::List(Arc::new(list.into_iter().map(from_json).collect())),
        Json::Object(object) => {
            let entries = object.into_iter().filter(|(_, value)| !value.is_null());
            let map: HashMap<Key, Value> =
                entries.map(|(name, value)| (Key::from(name), from_json(value))).collect();
            Value::Map(Map { map: Arc::new(map) })
        }
    }
}
