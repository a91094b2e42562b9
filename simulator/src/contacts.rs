//! Contacts as clients write them and as the service shows them.

use chrono::{DateTime, NaiveDate};
use serde_json::{Value, json};

use crate::compose::{Object, conforms, extended_properties};
use crate::error::Refusal;
use crate::shelf::Thing;

/// What the service computes itself and ignores in a request.
const READ_ONLY: [&str; 6] =
    ["id", "changeKey", "createdDateTime", "lastModifiedDateTime", "parentFolderId", "photo"];

const TEXTS: [&str; 25] = [
    "assistantName",
    "birthday",
    "businessHomePage",
    "companyName",
    "department",
    "displayName",
    "fileAs",
    "generation",
    "givenName",
    "initials",
    "jobTitle",
    "manager",
    "middleName",
    "mobilePhone",
    "nickName",
    "officeLocation",
    "personalNotes",
    "profession",
    "spouseName",
    "surname",
    "title",
    "yomiCompanyName",
    "yomiGivenName",
    "yomiSurname",
    "parentFolderId",
];
const LISTS: [&str; 5] = ["businessPhones", "categories", "children", "homePhones", "imAddresses"];
const ADDRESSES: [&str; 3] = ["businessAddress", "homeAddress", "otherAddress"];
const MAILS: [&str; 3] = ["primaryEmailAddress", "secondaryEmailAddress", "tertiaryEmailAddress"];

/// A new contact from the body of a POST.
pub(crate) fn created(mut body: Object) -> Result<Object, Refusal> {
    checked(&mut body)?;
    let named = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let names: Vec<&str> =
        ["givenName", "middleName", "surname"].into_iter().filter_map(named).collect();
    let whole = names.join(" ");
    let filed = match (named("surname"), named("givenName")) {
        (Some(surname), Some(given)) => format!("{surname}, {given}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => named("displayName").unwrap_or_default().to_owned(),
    };
    let (display, file) = (named("displayName").is_none(), named("fileAs").is_none());
    if display {
        body.insert("displayName".into(), whole.into());
    }
    if file {
        body.insert("fileAs".into(), filed.into());
    }
    Ok(body)
}

/// What a PATCH changes.
pub(crate) fn changed(mut body: Object) -> Result<Object, Refusal> {
    checked(&mut body)?;
    Ok(body)
}

fn checked(body: &mut Object) -> Result<(), Refusal> {
    conforms("contact", body)?;
    extended_properties(body)?;
    body.retain(|name, _| !READ_ONLY.contains(&name.as_str()));
    if let Some(day) = body.get("birthday").filter(|day| !day.is_null()) {
        let text = day.as_str().unwrap_or_default();
        let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc().date_naive());
        let day = time.or_else(|_| text.parse::<NaiveDate>()).map_err(|_| {
            let text = "Cannot convert the value of 'birthday' to the expected type.";
            Refusal::new(400, "RequestBodyRead", text)
        })?;
        // Exchange keeps birthdays at a minute to noon.
        body.insert("birthday".into(), format!("{day}T11:59:00Z").into());
    }
    let apart = MAILS.map(|name| body.remove(name).filter(Value::is_object));
    if !body.contains_key("emailAddresses") && apart.iter().any(Option::is_some) {
        body.insert("emailAddresses".into(), apart.into_iter().flatten().collect());
    }
    if let Some(Value::Array(all)) = body.get_mut("emailAddresses") {
        all.truncate(MAILS.len());
        for one in all {
            let address = one["address"].clone();
            if one["name"].is_null() {
                one["name"] = address;
            }
        }
    }
    Ok(())
}

/// A contact with all its properties, those apart that the shelf knows.
pub(crate) fn row(thing: &Thing, folder: String) -> Object {
    let mut row = thing.properties.clone();
    row.insert("parentFolderId".into(), folder.into());
    for (names, empty) in
        [(&TEXTS[..], Value::Null), (&LISTS[..], json!([])), (&ADDRESSES[..], json!({}))]
    {
        for name in names {
            let value = row.entry(*name).or_insert_with(|| empty.clone());
            if value.is_null() {
                *value = empty.clone();
            }
        }
    }
    let mails = row.entry("emailAddresses").or_insert_with(|| json!([])).clone();
    for (at, name) in MAILS.iter().enumerate() {
        row.insert((*name).to_owned(), mails.get(at).cloned().unwrap_or_default());
    }
    row
}
