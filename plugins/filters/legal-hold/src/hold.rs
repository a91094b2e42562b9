//! One hold and what it covers.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime};
use serde::{Deserialize, Deserializer};
use tar365_plugin::Item;
use tar365_plugin::serde_json::Value;
use wildmatch::WildMatch;

/// The services of this version's archives: a name that is none would hold nothing.
pub const SERVICES: [&str; 7] =
    ["mail", "calendar", "contacts", "tasks", "settings", "conversations", "onedrive"];

/// A hold: an item is covered if all conditions that are given are true. Where an item lacks what
/// a condition asks for, the condition is true: a hold rather covers too much than too little.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    /// The matter, as it is in the log.
    pub(crate) name: String,
    /// Owners by address (user principal name) or object id; `*` and `?` stand for any characters,
    /// case does not matter.
    custodians: Vec<Glob>,
    /// Services by their names in the archive; none means all.
    #[serde(default)]
    services: Vec<String>,
    /// When a mail was received; of other items, when they were created.
    #[serde(default)]
    received: Period,
    /// When an item was changed last.
    #[serde(default)]
    modified: Period,
    /// One of these words stands in the subject or name, or in the name or address of somebody
    /// who takes part. Case does not matter; none means all.
    #[serde(default)]
    keywords: Vec<String>,
}

/// A time from one instant to before another; either end may be open.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Period {
    #[serde(deserialize_with = "instant")]
    from: Option<DateTime<FixedOffset>>,
    #[serde(deserialize_with = "instant")]
    before: Option<DateTime<FixedOffset>>,
}

#[derive(Debug)]
struct Glob(WildMatch);

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let glob = String::deserialize(deserializer)?;
        if glob.trim().is_empty() {
            return Err(serde::de::Error::custom("an empty glob fits nobody"));
        }
        Ok(Glob(WildMatch::new_case_insensitive(&glob)))
    }
}

/// RFC 3339, or a day, which is its first instant in UTC.
fn instant<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DateTime<FixedOffset>>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let day = || {
        let day: NaiveDate = text.parse().ok()?;
        Some(day.and_time(NaiveTime::MIN).and_utc().fixed_offset())
    };
    let instant = DateTime::parse_from_rfc3339(&text).ok().or_else(day);
    let message = "is neither a day like 2024-01-31 nor a time like 2024-01-31T12:00:00Z";
    instant.map(Some).ok_or_else(|| serde::de::Error::custom(format!("{text:?} {message}")))
}

impl Period {
    fn covers(&self, time: Option<&str>) -> bool {
        let Some(time) = time.and_then(|time| DateTime::parse_from_rfc3339(time).ok()) else {
            return true;
        };
        self.from.is_none_or(|from| from <= time) && self.before.is_none_or(|before| time < before)
    }

    fn check(&self, name: &str) -> Result<(), String> {
        match (self.from, self.before) {
            (Some(from), Some(before)) if from >= before => {
                Err(format!("{name}: `from` is not earlier than `before`, so nothing is held"))
            }
            _ => Ok(()),
        }
    }
}

impl Hold {
    /// Says what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.custodians.is_empty() {
            return Err("custodians: there are none; [\"*\"] is everybody".into());
        }
        if let Some(service) = self.services.iter().find(|one| !SERVICES.contains(&one.as_str())) {
            let known = SERVICES.join(", ");
            return Err(format!("services: there is no `{service}`; there are {known}"));
        }
        if self.keywords.iter().any(|keyword| keyword.trim().is_empty()) {
            return Err("keywords: an empty one stands everywhere".into());
        }
        self.received.check("received")?;
        self.modified.check("modified")
    }

    /// Whether it covers an item. A folder has no dates and words of its own: it is covered with
    /// its custodian and service, so that no other filter changes the path of what is held in it.
    pub(crate) fn covers(&self, item: &Item) -> bool {
        let custodian = self
            .custodians
            .iter()
            .any(|Glob(glob)| glob.matches(&item.owner) || glob.matches(&item.owner_id));
        let service = self.services.is_empty() || self.services.contains(&item.service);
        if !custodian || !service || item.kind == "folder" {
            return custodian && service;
        }
        let received = item.text("/receivedDateTime").or_else(|| item.text("/createdDateTime"));
        let modified = item.text("/lastModifiedDateTime");
        self.received.covers(received.as_deref())
            && self.modified.covers(modified.as_deref())
            && self.speaks_of(item)
    }

    fn speaks_of(&self, item: &Item) -> bool {
        if self.keywords.is_empty() {
            return true;
        }
        let mut texts = Vec::new();
        collect(&item.metadata(), &mut texts);
        let keywords: Vec<String> = self.keywords.iter().map(|word| word.to_lowercase()).collect();
        texts.is_empty()
            || texts.iter().any(|text| keywords.iter().any(|keyword| text.contains(keyword)))
    }
}

/// Names of the properties that keywords are looked for in. They are the same in all services,
/// whatever they stand in: `subject` of a mail and an event, `name` and `address` of an
/// `emailAddress`, `name` of a file, `displayName` of a contact or of who changed a file.
const TEXTS: [&str; 6] = ["subject", "title", "name", "displayName", "address", "email"];

/// All texts that keywords are looked for in, in lower case.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::String(text) if TEXTS.contains(&name.as_str()) => {
                        texts.push(text.to_lowercase());
                    }
                    other => collect(other, texts),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, texts)),
        _ => {}
    }
}
