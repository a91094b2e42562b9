//! Contact to vCard.

use std::io::{Read, Write};

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;

use super::extended::{self, Extended};
use super::table::{ADDRESS, ADDRESSES, NAME, ORGANIZATION, STRUCTURED, TEXTS};
use super::{LOSSY, Version, photo};
use crate::error::Error;
use crate::identity;
use crate::json::{self, Object};
use crate::line::{Lines, escape_uri, has_controls, tidy};
use crate::loss::{Loss, Losses};

/// Writes a contact as the service gave it as a card, with its photo. Returns what the card does not
/// hold; what [`LOSSY`] says of every contact is only named if it may be missed.
///
/// # Errors
/// [`Error::Shape`] if the JSON has no id or a member of another type than documented;
/// [`Error::Io`] of `out`.
pub fn write(
    contact: &Value,
    photo: Option<&mut dyn Read>,
    version: Version,
    out: &mut impl Write,
) -> Result<Vec<Loss>, Error> {
    let contact = json::object(contact)?;
    let mut losses = Losses::default();
    unknown(contact, &mut losses);
    let extended = extended_properties(contact, &mut losses)?;
    let mut card = Card { lines: Lines::new(out), version, contact };
    card.start()?;
    card.name(&mut losses)?;
    card.texts()?;
    card.phones(&extended)?;
    card.internet(&extended)?;
    card.addresses()?;
    card.rest(&extended, &mut losses)?;
    if let Some(photo) = photo {
        card.photo(photo)?;
    }
    card.lines.raw("END", "VCARD")?;
    Ok(losses.into_vec())
}

/// A card that is being written.
struct Card<'a, W: Write> {
    lines: Lines<'a, W>,
    version: Version,
    contact: &'a Object,
}

impl<W: Write> Card<'_, W> {
    fn by_version<'v>(&self, v3: &'v str, v4: &'v str) -> &'v str {
        match self.version {
            Version::V3 => v3,
            Version::V4 => v4,
        }
    }

    fn start(&mut self) -> Result<(), Error> {
        self.lines.raw("BEGIN", "VCARD")?;
        self.lines.raw("VERSION", self.by_version("3.0", "4.0"))?;
        self.lines.raw("PRODID", "-//tar365//tar365//EN")?;
        let uid = identity::uuid(json::required(self.contact, "id")?);
        let scheme = self.by_version("", "urn:uuid:");
        self.lines.raw("UID", &format!("{scheme}{uid}"))?;
        if let Some(modified) = json::text(self.contact, "lastModifiedDateTime")? {
            let modified = DateTime::parse_from_rfc3339(modified)
                .map_err(|_| Error::shape("lastModifiedDateTime"))?
                .with_timezone(&Utc)
                .format(self.by_version("%Y-%m-%dT%H:%M:%SZ", "%Y%m%dT%H%M%SZ"));
            self.lines.raw("REV", &modified.to_string())?;
        }
        Ok(())
    }

    fn name(&mut self, losses: &mut Losses) -> Result<(), Error> {
        self.lines.text("FN", &self.formatted_name()?)?;
        self.lines.texts("N", ";", &members(self.contact, &NAME)?)?;
        if let Some(name) = json::text(self.contact, "nickName")? {
            let name = tidy(name, "nickName", losses);
            if !name.is_empty() {
                self.lines.text("NICKNAME", &name)?;
            }
        }
        let organization = members(self.contact, &ORGANIZATION)?;
        if let Some(last) = organization.iter().rposition(|member| !member.is_empty()) {
            self.lines.texts("ORG", ";", &organization[..=last])?;
        }
        Ok(())
    }

    /// FN must be there and must not be empty.
    fn formatted_name(&self) -> Result<String, Error> {
        let mut parts = Vec::new();
        for part in ["givenName", "middleName", "surname"] {
            parts.extend(json::text(self.contact, part)?);
        }
        let parts = parts.join(" ");
        let email = emails(self.contact)?.into_iter().find_map(|(_, address)| address);
        let candidates = [
            json::text(self.contact, "displayName")?,
            json::text(self.contact, "fileAs")?,
            Some(parts.as_str()),
            json::text(self.contact, "companyName")?,
            email,
        ];
        let visible = |name: &&str| name.chars().any(|c| !c.is_whitespace() && !c.is_control());
        Ok(candidates.into_iter().flatten().find(visible).unwrap_or("unnamed").to_owned())
    }

    fn texts(&mut self) -> Result<(), Error> {
        for text in TEXTS {
            if let Some(value) = json::text(self.contact, text.graph)? {
                self.lines.text(text.head(self.version), value)?;
            }
        }
        let child = self.by_version("X-MS-CHILD", "RELATED;TYPE=child;VALUE=text");
        for name in json::texts(self.contact, "children")? {
            self.lines.text(child, name)?;
        }
        Ok(())
    }

    fn phones(&mut self, extended: &[(&str, &str)]) -> Result<(), Error> {
        for (list, head) in [("businessPhones", "TEL;TYPE=WORK"), ("homePhones", "TEL;TYPE=HOME")] {
            for number in json::texts(self.contact, list)? {
                self.lines.text(head, number)?;
            }
        }
        if let Some(number) = json::text(self.contact, "mobilePhone")? {
            self.lines.text("TEL;TYPE=CELL", number)?;
        }
        for Extended { id, head } in extended::PHONES {
            if let Some(number) = find(extended, id) {
                self.lines.text(head, number)?;
            }
        }
        Ok(())
    }

    /// Addresses of mail and messengers, web pages.
    fn internet(&mut self, extended: &[(&str, &str)]) -> Result<(), Error> {
        for (index, (name, address)) in emails(self.contact)?.into_iter().enumerate() {
            let head = match index {
                0 => self.by_version("EMAIL;TYPE=INTERNET,PREF", "EMAIL;PREF=1"),
                _ => self.by_version("EMAIL;TYPE=INTERNET", "EMAIL"),
            };
            let address = address.unwrap_or_default();
            match name {
                None => self.lines.text(head, address)?,
                // Apple's way to name one of several lines, which many programs show.
                Some(name) => {
                    let item = index + 1;
                    self.lines.text(&format!("item{item}.{head}"), address)?;
                    self.lines.text(&format!("item{item}.X-ABLabel"), name)?;
                }
            }
        }
        for address in json::texts(self.contact, "imAddresses")? {
            if is_uri(address) {
                self.lines.raw("IMPP", &escape_uri(address))?;
            } else {
                self.lines.text("X-MS-IMADDRESS", address)?;
            }
        }
        if let Some(page) = json::text(self.contact, "businessHomePage")? {
            self.lines.raw("URL;TYPE=WORK", &escape_uri(page))?;
        }
        if let Some(page) = find(extended, extended::PERSONAL_PAGE) {
            self.lines.raw("URL;TYPE=HOME", &escape_uri(page))?;
        }
        Ok(())
    }

    fn addresses(&mut self) -> Result<(), Error> {
        for (name, v3, v4) in ADDRESSES {
            let Some(address) = json::inner(self.contact, name)? else { continue };
            let members = members(address, &ADDRESS)?;
            if members.iter().any(|member| !member.is_empty()) {
                let all = [&["", ""], &members[..]].concat();
                self.lines.texts(self.by_version(v3, v4), ";", &all)?;
            }
        }
        Ok(())
    }

    fn rest(&mut self, extended: &[(&str, &str)], losses: &mut Losses) -> Result<(), Error> {
        if let Some(birthday) = json::text(self.contact, "birthday")? {
            self.date("BDAY", "birthday", birthday)?;
        }
        if let Some(day) = find(extended, extended::ANNIVERSARY) {
            let head = extended::anniversary(self.version);
            self.date(head, "singleValueExtendedProperties", day)?;
        }
        let categories = json::texts(self.contact, "categories")?;
        let categories: Vec<_> =
            categories.into_iter().map(|name| tidy(name, "categories", losses)).collect();
        let categories: Vec<_> =
            categories.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        if !categories.is_empty() {
            self.lines.texts("CATEGORIES", ",", &categories)?;
        }
        Ok(())
    }

    /// The date of a point in time, in UTC (FACTS 8.9); the service's null gives no line.
    fn date(&mut self, head: &str, property: &str, time: &str) -> Result<(), Error> {
        let date = match DateTime::parse_from_rfc3339(time) {
            Ok(time) => time.with_timezone(&Utc).date_naive(),
            Err(_) => time.parse::<NaiveDate>().map_err(|_| Error::shape(property))?,
        };
        let year_one = NaiveDate::from_ymd_opt(1, 1, 1);
        if Some(date) != year_one {
            let date = date.format(self.by_version("%Y-%m-%d", "%Y%m%d")).to_string();
            self.lines.raw(head, &date)?;
        }
        Ok(())
    }

    fn photo(&mut self, photo: &mut dyn Read) -> Result<(), Error> {
        let mut start = Vec::new();
        photo.take(photo::LONGEST_START).read_to_end(&mut start)?;
        let format = photo::format(&start);
        let (head, prefix) = match (self.version, format) {
            (Version::V3, Some(format)) => {
                (format!("PHOTO;ENCODING=b;TYPE={format}"), String::new())
            }
            (Version::V3, None) => ("PHOTO;ENCODING=b".to_owned(), String::new()),
            (Version::V4, format) => {
                let kind = format.map_or("application/octet-stream".to_owned(), |format| {
                    format!("image/{}", format.to_ascii_lowercase())
                });
                ("PHOTO".to_owned(), format!("data:{kind};base64,"))
            }
        };
        self.lines.base64(&head, &prefix, &mut start.as_slice().chain(photo))?;
        Ok(())
    }
}

/// Members of an object, empty where it has none.
fn members<'a>(object: &'a Object, names: &[&str]) -> Result<Vec<&'a str>, Error> {
    names.iter().map(|name| Ok(json::text(object, name)?.unwrap_or_default())).collect()
}

/// Name and address.
type Email<'a> = (Option<&'a str>, Option<&'a str>);

/// Names and addresses of mail: `emailAddresses`, and after them what the newer properties have
/// besides (FACTS 5.3).
fn emails(contact: &Object) -> Result<Vec<Email<'_>>, Error> {
    let entry = |entry| Ok::<_, Error>((json::text(entry, "name")?, json::text(entry, "address")?));
    let mut all = json::objects(contact, "emailAddresses")?
        .into_iter()
        .map(entry)
        .collect::<Result<Vec<_>, _>>()?;
    for name in ["primaryEmailAddress", "secondaryEmailAddress", "tertiaryEmailAddress"] {
        if let Some(other) = json::inner(contact, name)? {
            let other = entry(other)?;
            if !all.iter().any(|(_, address)| *address == other.1) {
                all.push(other);
            }
        }
    }
    all.retain(|(name, address)| name.is_some() || address.is_some());
    Ok(all)
}

/// Ids and values of the extended properties that a card has lines for.
fn extended_properties<'a>(
    contact: &'a Object,
    losses: &mut Losses,
) -> Result<Vec<(&'a str, &'a str)>, Error> {
    let mut known = Vec::new();
    for property in json::objects(contact, "singleValueExtendedProperties")? {
        let id = json::required(property, "id")?;
        let mut ids = extended::PHONES.iter().map(|extended| extended.id);
        let others = [extended::PERSONAL_PAGE, extended::ANNIVERSARY];
        let is = |known: &str| known.eq_ignore_ascii_case(id);
        if ids.any(is) || others.into_iter().any(is) {
            known.extend(json::text(property, "value")?.map(|value| (id, value)));
        } else {
            losses.add(id, "an extended property that a card has no line for");
        }
    }
    Ok(known)
}

fn find<'a>(extended: &[(&str, &'a str)], id: &str) -> Option<&'a str> {
    extended.iter().find(|(is, _)| is.eq_ignore_ascii_case(id)).map(|(_, value)| *value)
}

/// What we do not know or what no line holds.
fn unknown(contact: &Object, losses: &mut Losses) {
    for (name, value) in contact.iter().filter(|(_, value)| json::says_something(value)) {
        let structured = [STRUCTURED, &NAME, &ORGANIZATION].concat();
        let known = structured.contains(&name.as_str())
            || TEXTS.iter().any(|text| text.graph == name)
            || ADDRESSES.iter().any(|(address, ..)| address == name);
        if known {
            if json::any_text(value, &has_controls) {
                losses.add(name, "control characters were left out");
            }
        } else if ["extensions", "multiValueExtendedProperties"].contains(&name.as_str()) {
            losses.add(name, "kept in the metadata only");
        } else if !name.contains('@') && !LOSSY.iter().any(|(lossy, _)| lossy == name) {
            losses.add(name, "a property that a card has no line for");
        }
    }
}

/// Whether a text starts with a scheme (RFC 3986, 3.1).
fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}
