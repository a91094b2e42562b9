//! A contact as it is posted, of its archived JSON, with the photo of its card.

use std::io;

use chrono::DateTime;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::item::Item;
use crate::mailbox::SOURCE;

/// A card of more bytes is none that a service gave: a photo has at most a few million.
const MOST: u64 = 64 << 20;

/// What can be set of a contact (FACTS 5.3, 8.4). The addresses of mail by their number are the
/// same as those in the list.
const SETTABLE: [&str; 33] = [
    "assistantName",
    "birthday",
    "businessAddress",
    "businessHomePage",
    "businessPhones",
    "categories",
    "children",
    "companyName",
    "department",
    "displayName",
    "emailAddresses",
    "fileAs",
    "generation",
    "givenName",
    "homeAddress",
    "homePhones",
    "imAddresses",
    "initials",
    "jobTitle",
    "manager",
    "middleName",
    "mobilePhone",
    "nickName",
    "officeLocation",
    "otherAddress",
    "personalNotes",
    "profession",
    "spouseName",
    "surname",
    "title",
    "yomiCompanyName",
    "yomiGivenName",
    "yomiSurname",
];
const NUMBERED: [&str; 3] =
    ["primaryEmailAddress", "secondaryEmailAddress", "tertiaryEmailAddress"];
pub(super) const EXTENDED: &str = "singleValueExtendedProperties";
/// That there is a photo follows from the photo.
const HAS_PICTURE: &str = "id 0x8015";

/// A contact on its way back.
pub(super) struct Contact {
    /// What to POST, without the mark.
    pub(super) body: Map<String, Value>,
    pub(super) photo: Option<Vec<u8>>,
}

impl Contact {
    /// # Errors
    /// If its card can't be read.
    pub(super) fn read(item: &Item) -> Result<Self, Error> {
        let failed = |source| Error::Content { path: item.path.clone(), source };
        let bytes = item.bytes(MOST).map_err(failed)?;
        let cards = convert::contact::read(&bytes);
        let cards =
            cards.map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let photo = cards.into_iter().find_map(|card| card.photo);
        Ok(Self { body: settable(&item.line.graph), photo })
    }

    /// The properties that the service has otherwise than they are here.
    pub(super) fn differing(&self, made: &Value) -> Vec<&str> {
        let made = plain(made.as_object().unwrap_or(&Map::new()));
        let wanted = plain(&self.body);
        let wanted = wanted.as_object().into_iter().flatten();
        let is_other = |(name, value): &(&String, &Value)| match name.as_str() {
            // Of those that are not ours nothing is asked.
            EXTENDED => {
                let known = made[EXTENDED].as_array().cloned().unwrap_or_default();
                value.as_array().is_some_and(|own| own.iter().any(|one| !known.contains(one)))
            }
            _ => made.get(*name) != Some(*value),
        };
        let names: Vec<String> = wanted.filter(is_other).map(|(name, _)| name.clone()).collect();
        self.body.keys().map(String::as_str).filter(|key| names.iter().any(|n| n == key)).collect()
    }

    /// The ids of its extended properties.
    pub(super) fn extended(&self) -> impl Iterator<Item = &str> {
        let list = self.body.get(EXTENDED).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|property| property["id"].as_str())
    }
}

/// What can be posted of a contact.
pub(super) fn settable(graph: &Value) -> Map<String, Value> {
    let mut body = Map::new();
    for name in SETTABLE {
        if let Some(value) = graph.get(name).filter(|value| says_something(value)) {
            body.insert(name.to_owned(), value.clone());
        }
    }
    if !body.contains_key("emailAddresses") {
        let numbered = NUMBERED.iter().filter_map(|name| graph.get(*name));
        let all: Vec<_> = numbered.filter(|value| says_something(value)).cloned().collect();
        if !all.is_empty() {
            body.insert("emailAddresses".to_owned(), all.into());
        }
    }
    let extended = graph.get(EXTENDED).and_then(Value::as_array);
    let is_settable = |property: &&Value| {
        let id = property["id"].as_str().unwrap_or_default().to_ascii_lowercase();
        !id.is_empty() && !id.ends_with(HAS_PICTURE) && id != SOURCE.to_ascii_lowercase()
    };
    let extended: Vec<_> = extended.into_iter().flatten().filter(is_settable).cloned().collect();
    if !extended.is_empty() {
        body.insert(EXTENDED.to_owned(), extended.into());
    }
    body
}

/// No null, nothing empty.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => list.iter().any(says_something),
        Value::Object(members) => members.values().any(says_something),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The settable properties in one form: the service writes line ends, hours of birthdays, names of
/// addresses and ids of extended properties its own way.
pub(super) fn plain(contact: &Map<String, Value>) -> Value {
    let mut all = Map::new();
    for (name, value) in settable(&Value::Object(contact.clone())) {
        let value = match name.as_str() {
            "birthday" => date(&value),
            "emailAddresses" => value.as_array().into_iter().flatten().map(email).collect(),
            EXTENDED => extended(&value),
            _ => text(&value),
        };
        all.insert(name, value);
    }
    all.into()
}

/// Texts with one kind of line end and no space around; members that say nothing are none.
fn text(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace("\r\n", "\n").trim().into(),
        Value::Array(list) => list.iter().filter(|v| says_something(v)).map(text).collect(),
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| says_something(value));
            members.map(|(name, value)| (name.clone(), text(value))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// The day of a birthday: Outlook sets the hour.
fn date(value: &Value) -> Value {
    let text = value.as_str().unwrap_or_default();
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.to_utc().date_naive().to_string().into(),
        Err(_) => text.get(..10).unwrap_or(text).into(),
    }
}

/// Without a name the service gives an address its own.
fn email(value: &Value) -> Value {
    let member = |name: &str| value[name].as_str().unwrap_or_default().trim().to_owned();
    let (name, address) = (member("name"), member("address"));
    let name = if name.is_empty() { address.clone() } else { name };
    json!([name, address])
}

/// Sorted, ids in lower case and without zeros before their digits, times as instants.
fn extended(value: &Value) -> Value {
    let mut all: Vec<Value> = value
        .as_array()
        .into_iter()
        .flatten()
        .map(|property| {
            let id = property["id"].as_str().unwrap_or_default().to_ascii_lowercase();
            let id = match id.rsplit_once("0x") {
                Some((before, digits)) => format!("{before}0x{}", digits.trim_start_matches('0')),
                None => id,
            };
            let value = property["value"].as_str().unwrap_or_default();
            let value = match id.split_once(' ') {
                Some(("systemtime", _)) => DateTime::parse_from_rfc3339(value)
                    .map_or_else(|_| value.to_owned(), |time| time.timestamp().to_string()),
                Some(("boolean", _)) => value.to_ascii_lowercase(),
                _ => value.to_owned(),
            };
            json!([id, value])
        })
        .collect();
    all.sort_by_key(Value::to_string);
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn only_what_can_be_set_is_posted() {
        let contact = json!({
            "id": "1", "changeKey": "2", "parentFolderId": "3", "createdDateTime": "2026-01-01T00:00:00Z",
            "@odata.etag": "x", "displayName": "Anna", "surname": null, "birthday": null,
            "homePhones": [], "homeAddress": {}, "emailAddresses": [],
            "primaryEmailAddress": {"name": "a", "address": "a@b.example"}, "tertiaryEmailAddress": null,
            EXTENDED: [
                {"id": "Boolean {00062004-0000-0000-c000-000000000046} Id 0x8015", "value": "true"},
                {"id": "String 0x3a24", "value": "1"},
            ],
        });
        let wanted = json!({
            "displayName": "Anna",
            "emailAddresses": [{"name": "a", "address": "a@b.example"}],
            EXTENDED: [{"id": "String 0x3a24", "value": "1"}],
        });
        assert_eq!(Value::Object(settable(&contact)), wanted);
    }

    #[test]
    fn what_the_service_writes_its_own_way_is_the_same() {
        let own = Contact {
            body: object(json!({
                "birthday": "1974-02-28T00:00:00Z", "personalNotes": "one\r\ntwo ",
                "emailAddresses": [{"address": "a@b.example"}],
                "homeAddress": {"city": "Bonn", "state": ""},
                EXTENDED: [{"id": "Integer 0x0036", "value": "2"}],
            })),
            photo: None,
        };
        let mut made = json!({
            "birthday": "1974-02-28T11:59:00Z", "personalNotes": "one\ntwo", "nickName": null,
            "emailAddresses": [{"name": "a@b.example", "address": "a@b.example"}],
            "homeAddress": {"city": "Bonn"}, "children": [],
            EXTENDED: [{"id": "integer 0x36", "value": "2"}, {"id": "String 0x3a24", "value": "1"}],
        });
        assert_eq!(own.differing(&made), [""; 0]);
        made["birthday"] = "1974-03-01T11:59:00Z".into();
        made["homeAddress"] = json!({});
        made[EXTENDED] = json!([]);
        assert_eq!(own.differing(&made), ["birthday", "homeAddress", EXTENDED]);
    }
}
