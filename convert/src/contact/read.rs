//! vCard to contact, with calcard, which also knows version 2.1 and its encodings.

use std::collections::BTreeMap;

use calcard::common::IanaString;
use calcard::vcard::{VCard, VCardEntry, VCardParameterName, VCardParameterValue, VCardValue};
use calcard::{Entry, Parser};
use chrono::NaiveDate;
use serde_json::{Value, json};

use super::extended;
use super::table::{ADDRESS, ADDRESSES, NAME, ORGANIZATION, messenger, text_of};
use crate::encoding::decode;
use crate::error::Error;
use crate::json::Object;
use crate::loss::{Loss, Losses};

/// Addresses of mail that Exchange keeps in a contact (FACTS 5.3).
const EMAILS: usize = 3;

/// A contact out of a card.
#[derive(Clone, Debug, PartialEq)]
pub struct Contact {
    /// What to POST to make it.
    pub body: Value,
    /// The photo's bytes, to be PUT to `photo/$value`.
    pub photo: Option<Vec<u8>>,
    /// The lines of the card that a contact has no place for.
    pub losses: Vec<Loss>,
}

/// Reads the cards of a file: UTF-8, UTF-16 with a mark, else Windows' Latin letters.
///
/// # Errors
/// [`Error::Invalid`] if there is no card in it.
pub fn read(bytes: &[u8]) -> Result<Vec<Contact>, Error> {
    let (text, guessed) = decode(bytes.to_vec());
    let mut parser = Parser::new(&text);
    let mut contacts = Vec::new();
    let mut strays = Losses::default();
    loop {
        match parser.entry() {
            Entry::VCard(card) => contacts.push(Reading::of(&card).finish()),
            Entry::Eof => break,
            _ => strays.add("VCARD", "lines outside of a card"),
        }
    }
    if guessed {
        strays.add("CHARSET", "not UTF-8, read as Windows-1252");
    }
    let last = contacts.last_mut();
    last.ok_or(Error::Invalid { property: "VCARD", why: "missing" })?
        .losses
        .extend(strays.into_vec());
    Ok(contacts)
}

/// A contact that is being gathered.
#[derive(Default)]
struct Reading<'a> {
    body: Object,
    photo: Option<Vec<u8>>,
    losses: Losses,
    /// What Apple's programs call the lines of a group.
    labels: BTreeMap<String, &'a str>,
    /// Addresses of mail, with what the card says of their rank.
    emails: Vec<(u32, Value)>,
}

impl<'a> Reading<'a> {
    fn of(card: &'a VCard) -> Self {
        let mut reading = Self::default();
        for entry in &card.entries {
            if let (Some(group), true) = (&entry.group, is(entry, "X-ABLABEL")) {
                let label = entry.values.first().and_then(VCardValue::as_text);
                reading.labels.insert(group.to_ascii_lowercase(), label.unwrap_or_default());
            }
        }
        for entry in &card.entries {
            reading.line(entry);
        }
        reading
    }

    fn finish(mut self) -> Contact {
        for label in std::mem::take(&mut self.labels).into_values() {
            if standard_label(label).is_none() {
                self.losses.add("X-ABLABEL", "the name of a line");
            }
        }
        self.emails.sort_by_key(|(rank, _)| *rank);
        let mut emails: Vec<_> = self.emails.into_iter().map(|(_, email)| email).collect();
        let surplus = emails.split_off(emails.len().min(EMAILS)).len();
        self.losses.add_many("EMAIL", "a contact has three addresses", surplus as u32);
        if !emails.is_empty() {
            self.body.insert("emailAddresses".to_owned(), Value::Array(emails));
        }
        if let Some(Value::Array(list)) = self.body.get_mut("singleValueExtendedProperties") {
            list.sort_by_key(|property| property["id"].to_string());
        }
        Contact {
            body: Value::Object(self.body),
            photo: self.photo,
            losses: self.losses.into_vec(),
        }
    }

    fn line(&mut self, entry: &'a VCardEntry) {
        let name = entry.name.as_str().to_ascii_uppercase();
        match name.as_str() {
            // About the card, not about whom it is of; what the service sets itself.
            "BEGIN" | "END" | "VERSION" | "PRODID" | "PROFILE" | "UID" | "REV" | "CREATED" => {}
            "X-ABLABEL" if entry.group.is_some() => {}
            "KIND" if text(entry).eq_ignore_ascii_case("individual") => {}
            "FN" => self.set(&name, "displayName", text(entry)),
            "N" => {
                self.components(&name, &NAME, entry);
                if let Some(sort) = parameter(entry, &VCardParameterName::SortAs) {
                    self.set("SORT-AS", "fileAs", sort.to_owned());
                }
            }
            "NICKNAME" => self.set(&name, "nickName", list(entry).join(", ")),
            "ORG" => self.components(&name, &ORGANIZATION, entry),
            "TEL" => self.phone(entry),
            "EMAIL" => self.email(entry),
            "IMPP" | "X-MS-IMADDRESS" => self.push("imAddresses", text(entry)),
            "ADR" => self.address(entry),
            "URL" => self.page(entry),
            "BDAY" => match date(entry) {
                // Outlook's own hour for birthdays: the same day in most of the world (FACTS 8.9).
                Some(date) => self.set(&name, "birthday", format!("{date}T11:59:00Z")),
                None => self.losses.add(name, "not a date"),
            },
            "ANNIVERSARY" | "X-ANNIVERSARY" | "X-EVOLUTION-ANNIVERSARY" => match date(entry) {
                Some(date) => {
                    self.extend(&name, extended::ANNIVERSARY, format!("{date}T00:00:00Z"))
                }
                None => self.losses.add(name, "not a date"),
            },
            "CATEGORIES" => {
                for category in list(entry) {
                    self.push("categories", category);
                }
            }
            "X-MS-CHILD" => self.push("children", text(entry)),
            "RELATED" | "X-ABRELATEDNAMES" => self.relation(&name, entry),
            "PHOTO" => self.photo(entry),
            "NOTE" => self.note(text(entry)),
            _ => match (text_of(&name), messenger(&name)) {
                (Some(property), _) => self.set(&name, property, text(entry)),
                (_, Some(scheme)) => self.push("imAddresses", format!("{scheme}:{}", text(entry))),
                _ => self.losses.add(name, "a contact has no such property"),
            },
        }
    }

    /// Sets a property that a contact has once; empty is nothing.
    fn set(&mut self, line: &str, property: &str, value: String) {
        if value.is_empty() {
            return;
        }
        match self.body.get(property) {
            None => _ = self.body.insert(property.to_owned(), Value::String(value)),
            Some(there) if *there == Value::String(value) => {}
            Some(_) => self.losses.add(line, "a contact has only one"),
        }
    }

    fn push(&mut self, property: &str, value: String) {
        if !value.is_empty() {
            let list = self.body.entry(property).or_insert_with(|| json!([]));
            list.as_array_mut().into_iter().for_each(|list| list.push(value.clone().into()));
        }
    }

    /// Sets a property that is not Graph's own.
    fn extend(&mut self, line: &str, id: &str, value: String) {
        if value.is_empty() {
        } else if self.has_extended(id) {
            self.losses.add(line, "a contact has only one");
        } else {
            let property = json!({"id": id, "value": value});
            let list = self.body.entry("singleValueExtendedProperties").or_insert(json!([]));
            list.as_array_mut().into_iter().for_each(|list| list.push(property.clone()));
        }
    }

    fn has_extended(&self, id: &str) -> bool {
        let list = self.body.get("singleValueExtendedProperties").and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|property| property["id"] == id))
    }

    fn components(&mut self, line: &str, properties: &[&str], entry: &VCardEntry) {
        let values: Vec<_> = entry.values.iter().map(component).collect();
        for (property, value) in properties.iter().zip(&values) {
            self.set(line, property, value.clone());
        }
        if values.iter().skip(properties.len()).any(|value| !value.is_empty()) {
            self.losses.add(line, "more components than a contact has");
        }
    }

    fn note(&mut self, note: String) {
        let note = match self.body.get("personalNotes").and_then(Value::as_str) {
            Some(before) => format!("{before}\n\n{note}"),
            None => note,
        };
        if !note.is_empty() {
            self.body.insert("personalNotes".to_owned(), note.into());
        }
    }

    fn phone(&mut self, entry: &VCardEntry) {
        let number = text(entry);
        let number = match parameter(entry, &VCardParameterName::Value) {
            Some("URI") => number.strip_prefix("tel:").unwrap_or(&number).to_owned(),
            _ => number,
        };
        let kinds = kinds(entry);
        let has = |kind: &str| kinds.iter().any(|is| is == kind);
        if has("FAX") {
            let fax = if has("HOME") { extended::HOME_FAX } else { extended::BUSINESS_FAX };
            self.extend("TEL", fax, number);
        } else if has("PAGER") {
            self.extend("TEL", extended::PAGER, number);
        } else if has("CAR") {
            self.extend("TEL", extended::CAR_PHONE, number);
        } else if has("ISDN") {
            self.extend("TEL", extended::ISDN, number);
        } else if (has("CELL") || has("IPHONE")) && !self.body.contains_key("mobilePhone") {
            self.set("TEL", "mobilePhone", number);
        } else if has("HOME") {
            self.push("homePhones", number);
        } else if has("WORK") {
            self.push("businessPhones", number);
        } else {
            self.extend("TEL", extended::OTHER_PHONE, number);
        }
    }

    fn email(&mut self, entry: &'a VCardEntry) {
        let address = text(entry);
        let mut email = Object::new();
        // A label that is not one of Apple's own is a name that a person gave.
        let group = entry.group.as_ref().map(|group| group.to_ascii_lowercase());
        let label = group.and_then(|group| self.labels.remove(&group));
        if let Some(name) = label.filter(|label| standard_label(label).is_none()) {
            email.extend((!name.is_empty()).then(|| ("name".to_owned(), name.into())));
        }
        if !address.is_empty() {
            email.insert("address".to_owned(), address.into());
        }
        if !email.is_empty() {
            self.emails.push((rank(entry), Value::Object(email)));
        }
    }

    fn address(&mut self, entry: &VCardEntry) {
        let values: Vec<_> = entry.values.iter().map(component).collect();
        let mut address = Object::new();
        // Office box and extension have no property of their own in Graph.
        let street: Vec<_> =
            values.iter().take(3).filter(|value| !value.is_empty()).cloned().collect();
        for (member, value) in
            ADDRESS.iter().zip([street.join("\n")].iter().chain(values.iter().skip(3)))
        {
            if !value.is_empty() {
                address.insert((*member).to_owned(), value.clone().into());
            }
        }
        if address.is_empty() {
            return;
        }
        let kinds = kinds(entry);
        let wanted = match kinds.iter().find(|kind| ["WORK", "HOME"].contains(&kind.as_str())) {
            Some(kind) if kind == "WORK" => ADDRESSES[0].0,
            Some(_) => ADDRESSES[1].0,
            None => ADDRESSES[2].0,
        };
        let free = [wanted, ADDRESSES[2].0].into_iter().find(|name| !self.body.contains_key(*name));
        match free {
            Some(name) => _ = self.body.insert(name.to_owned(), Value::Object(address)),
            None => self.losses.add("ADR", "a contact has one of each kind"),
        }
    }

    fn page(&mut self, entry: &VCardEntry) {
        let home = kinds(entry).iter().any(|kind| kind == "HOME");
        if home || self.body.contains_key("businessHomePage") {
            self.extend("URL", extended::PERSONAL_PAGE, text(entry));
        } else {
            self.set("URL", "businessHomePage", text(entry));
        }
    }

    fn relation(&mut self, line: &str, entry: &'a VCardEntry) {
        let group = entry.group.as_ref().map(|group| group.to_ascii_lowercase());
        let label = group.and_then(|group| self.labels.get(&group).copied());
        let kinds = match label.and_then(standard_label) {
            Some(label) => vec![label.to_ascii_uppercase()],
            None => kinds(entry),
        };
        let is = |kind: &str| kinds.iter().any(|is| is == kind);
        let name = text(entry);
        if is("SPOUSE") {
            self.set(line, "spouseName", name);
        } else if is("CHILD") {
            self.push("children", name);
        } else if is("MANAGER") {
            self.set(line, "manager", name);
        } else if is("ASSISTANT") {
            self.set(line, "assistantName", name);
        } else {
            self.losses.add(line, "a contact has no such relation");
        }
    }

    fn photo(&mut self, entry: &VCardEntry) {
        let is_link = entry.params.iter().any(|param| param.name == VCardParameterName::Value);
        let bytes = match entry.values.first() {
            Some(VCardValue::Binary(data)) => data.data.clone(),
            // calcard gives what was in base64 and happens to be UTF-8 as a text, so what is left
            // of the encoding must be told from it.
            Some(VCardValue::Text(text)) if !is_link && !looks_encoded(text) => {
                text.clone().into_bytes()
            }
            _ => return self.losses.add("PHOTO", "a link, or not readable"),
        };
        if self.photo.is_some() {
            self.losses.add("PHOTO", "a contact has only one");
        } else if !bytes.is_empty() {
            self.photo = Some(bytes);
        }
    }
}

fn is(entry: &VCardEntry, name: &str) -> bool {
    entry.name.as_str().eq_ignore_ascii_case(name)
}

/// The value of a line that has one.
fn text(entry: &VCardEntry) -> String {
    list(entry).join(",")
}

fn list(entry: &VCardEntry) -> Vec<String> {
    entry.values.iter().map(component).collect()
}

/// One component, with LF as the end of its lines; a list in it stays one text.
fn component(value: &VCardValue) -> String {
    match value {
        VCardValue::Text(text) => text.replace("\r\n", "\n"),
        VCardValue::Component(list) => list.join(", "),
        VCardValue::Integer(number) => number.to_string(),
        VCardValue::Float(number) => number.to_string(),
        VCardValue::Boolean(flag) => flag.to_string(),
        VCardValue::PartialDateTime(time) => time.to_rfc3339().unwrap_or_default(),
        VCardValue::Binary(data) => String::from_utf8_lossy(&data.data).into_owned(),
        other => other.as_text().unwrap_or_default().to_owned(),
    }
}

/// The types of a line in capitals, also those that version 2.1 has without a name.
fn kinds(entry: &VCardEntry) -> Vec<String> {
    let kinds = entry.params.iter().filter_map(|param| match (&param.name, &param.value) {
        (VCardParameterName::Type, VCardParameterValue::Type(kind)) => {
            Some(kind.as_str().to_owned())
        }
        (VCardParameterName::Type, VCardParameterValue::Text(kind)) => Some(kind.clone()),
        (VCardParameterName::Other(kind), VCardParameterValue::Null) => Some(kind.clone()),
        (VCardParameterName::Pref, _) => Some("PREF".to_owned()),
        _ => None,
    });
    kinds.map(|kind| kind.to_ascii_uppercase()).collect()
}

/// Where a line stands among those of its name: 1 to 100, 101 if the card does not say.
fn rank(entry: &VCardEntry) -> u32 {
    let mut ranks = entry.params.iter().filter_map(|param| match (&param.name, &param.value) {
        (VCardParameterName::Pref, VCardParameterValue::Integer(rank)) => Some(*rank),
        _ => None,
    });
    match ranks.next() {
        Some(rank) => rank,
        None if kinds(entry).iter().any(|kind| kind == "PREF") => 1,
        None => 101,
    }
}

fn parameter<'e>(entry: &'e VCardEntry, name: &VCardParameterName) -> Option<&'e str> {
    entry.params.iter().filter(|param| param.name == *name).find_map(|param| match &param.value {
        VCardParameterValue::Text(text) => Some(text.as_str()),
        VCardParameterValue::ValueType(kind) => Some(kind.as_str()),
        _ => None,
    })
}

/// A date; 1604 stands for no year, as in Outlook and Apple's programs.
fn date(entry: &VCardEntry) -> Option<NaiveDate> {
    match entry.values.first()? {
        VCardValue::PartialDateTime(date) => NaiveDate::from_ymd_opt(
            date.year.unwrap_or(1604).into(),
            date.month?.into(),
            date.day?.into(),
        ),
        VCardValue::Text(text) => ["%Y-%m-%d", "%Y%m%d"].iter().find_map(|format| {
            NaiveDate::parse_from_str(text.get(..10).unwrap_or(text), format).ok()
        }),
        _ => None,
    }
}

/// The label without its marks, if it is one that Apple's programs translate.
fn standard_label(label: &str) -> Option<&str> {
    label.strip_prefix("_$!<")?.strip_suffix(">!$_")
}

/// Whether what stands for a picture is base64 that could not be decoded, or a link.
fn looks_encoded(text: &str) -> bool {
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/= \r\n\t".contains(c);
    text.chars().all(base64)
        || ["http:", "https:", "cid:", "file:"].iter().any(|s| text.starts_with(s))
}
