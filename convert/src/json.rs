//! Members of Graph's JSON. Null and what is missing are the same; a value of another type than
//! documented is an error, so that nothing is passed over in silence.

use serde_json::{Map, Value};

use crate::error::Error;

pub(crate) type Object = Map<String, Value>;

/// An item.
pub(crate) fn object(item: &Value) -> Result<&Object, Error> {
    item.as_object().ok_or_else(|| Error::shape("item"))
}

/// A text that is not empty.
pub(crate) fn text<'a>(object: &'a Object, name: &str) -> Result<Option<&'a str>, Error> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.is_empty()).then_some(text)),
        Some(_) => Err(Error::shape(name)),
    }
}

/// A text that every item has.
pub(crate) fn required<'a>(object: &'a Object, name: &str) -> Result<&'a str, Error> {
    text(object, name)?.ok_or_else(|| Error::shape(name))
}

/// A list of texts, without the empty ones.
pub(crate) fn texts<'a>(object: &'a Object, name: &str) -> Result<Vec<&'a str>, Error> {
    list(object, name)?
        .iter()
        .map(|value| value.as_str().ok_or_else(|| Error::shape(name)))
        .filter(|text| !matches!(text, Ok("")))
        .collect()
}

/// A list of objects.
pub(crate) fn objects<'a>(object: &'a Object, name: &str) -> Result<Vec<&'a Object>, Error> {
    list(object, name)?
        .iter()
        .map(|value| value.as_object().ok_or_else(|| Error::shape(name)))
        .collect()
}

/// An object.
pub(crate) fn inner<'a>(object: &'a Object, name: &str) -> Result<Option<&'a Object>, Error> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(_) => Err(Error::shape(name)),
    }
}

/// A truth value, false if there is none.
pub(crate) fn flag(object: &Object, name: &str) -> Result<bool, Error> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Error::shape(name)),
    }
}

fn list<'a>(object: &'a Object, name: &str) -> Result<&'a [Value], Error> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Error::shape(name)),
    }
}

/// Whether a value says anything: no null, nothing empty.
pub(crate) fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => list.iter().any(says_something),
        Value::Object(members) => members.values().any(says_something),
    }
}

/// Whether one of the texts in a value is so.
pub(crate) fn any_text(value: &Value, is: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is(text),
        Value::Array(list) => list.iter().any(|value| any_text(value, is)),
        Value::Object(members) => members.values().any(|value| any_text(value, is)),
        _ => false,
    }
}
