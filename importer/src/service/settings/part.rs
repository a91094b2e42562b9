//! The parts there is one of in a mailbox, as keys and values that are read and set one by one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use graph::{Prefer, segment};
use serde_json::{Value, json};

use crate::error::Error;
use crate::item::Item;
use crate::mailbox::{Mailbox, id};

/// A picture is at most this large (FACTS 5.1 and the service's own limit of 4 MB).
const MOST_PHOTO: u64 = 4 << 20;
/// What of `mailboxSettings` the service takes (FACTS 8.2); the rest is its own.
const SETTABLE: [&str; 7] = [
    "automaticRepliesSetting",
    "dateFormat",
    "delegateMeetingMessageDeliveryOptions",
    "language",
    "timeFormat",
    "timeZone",
    "workingHours",
];
/// Rows a page (FACTS 3.2).
const PAGE: u32 = 1000;

/// Values by their keys; what is not there is null.
pub(super) type Values = BTreeMap<String, Value>;

/// A part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Each property of `mailboxSettings` by its name.
    Mailbox,
    /// Each category by its name, whose case does not matter.
    Categories,
    /// Each focused-inbox override by the sender's address.
    Overrides,
    /// The picture.
    Photo,
    /// The directory's.
    Profile,
}

impl Part {
    /// The part with this id in the archive; none of a rule.
    pub(super) fn of(id: &str) -> Option<Self> {
        Some(match id {
            "mailboxSettings" => Self::Mailbox,
            "masterCategories" => Self::Categories,
            "inferenceClassification" => Self::Overrides,
            "photo" => Self::Photo,
            "profile" => Self::Profile,
            _ => return None,
        })
    }

    /// What the archive has of it.
    pub(super) fn wanted(self, item: &Item) -> Result<Values, Error> {
        let graph = &item.line.graph;
        Ok(match self {
            Self::Profile => Values::new(),
            Self::Photo => {
                let failed = |source| Error::Content { path: item.path.clone(), source };
                let bytes = item.bytes(MOST_PHOTO).map_err(failed)?;
                let kind = graph.get("@odata.mediaContentType").and_then(Value::as_str);
                Values::from([("photo".to_owned(), photo(kind, &bytes))])
            }
            _ => self.values(graph),
        })
    }

    /// An answer of the service, or a document made of one.
    fn values(self, answer: &Value) -> Values {
        if self == Self::Mailbox {
            let value = |key: &&str| answer.get(*key).filter(|value| !value.is_null()).cloned();
            return SETTABLE
                .iter()
                .filter_map(|key| Some(((*key).to_owned(), value(key)?)))
                .collect();
        }
        let rows = answer.get("value").and_then(Value::as_array).into_iter().flatten();
        rows.map(|row| (self.key(row), row.clone())).collect()
    }

    fn key(self, row: &Value) -> String {
        let pointer = match self {
            Self::Overrides => "/senderEmailAddress/address",
            _ => "/displayName",
        };
        row.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_lowercase()
    }

    /// Whether two values are the same for whoever uses them.
    pub(super) fn is_same(self, one: &Value, other: &Value) -> bool {
        let of = |value: &Value| match self {
            Self::Mailbox => comparable(value),
            Self::Categories => value.get("color").cloned().unwrap_or_default(),
            Self::Overrides => value.get("classifyAs").cloned().unwrap_or_default(),
            Self::Photo => value.get("bytes").cloned().unwrap_or_default(),
            Self::Profile => Value::Null,
        };
        one.is_null() == other.is_null() && of(one) == of(other)
    }

    /// Whether a value that is missing may be added where nothing else is to be changed.
    pub(super) fn adds_beside(self) -> bool {
        self == Self::Categories
    }

    /// All that is there.
    pub(super) async fn read(self, mailbox: &Mailbox) -> Result<Values, graph::Error> {
        match self {
            Self::Mailbox => {
                let path = format!("{}/mailboxSettings", mailbox.root);
                let answer = mailbox.graph.get(&mailbox.scope, &path, Prefer::none()).await?;
                Ok(self.values(&answer))
            }
            Self::Categories | Self::Overrides => {
                let path = format!("{}?$top={PAGE}", self.path(mailbox));
                Ok(self.values(&json!({ "value": rows(mailbox, &path).await? })))
            }
            Self::Photo => {
                let path = self.path(mailbox);
                let Some(about) = mailbox.look(path.trim_end_matches("/$value")).await? else {
                    return Ok(Values::new());
                };
                let kind = about.get("@odata.mediaContentType").and_then(Value::as_str);
                let Some(bytes) = value(mailbox, &path).await? else { return Ok(Values::new()) };
                Ok(Values::from([("photo".to_owned(), photo(kind, &bytes))]))
            }
            Self::Profile => Ok(Values::new()),
        }
    }

    fn path(self, mailbox: &Mailbox) -> String {
        let below = match self {
            Self::Mailbox => "mailboxSettings",
            Self::Categories => "outlook/masterCategories",
            Self::Overrides => "inferenceClassification/overrides",
            Self::Photo | Self::Profile => "photo/$value",
        };
        format!("{}/{below}", mailbox.root)
    }

    /// Sets one value where `live` is; null takes it away.
    pub(super) async fn set(
        self,
        mailbox: &Mailbox,
        key: &str,
        value: &Value,
        live: &Value,
    ) -> Result<(), graph::Error> {
        let Mailbox { graph, scope, .. } = mailbox;
        let path = self.path(mailbox);
        let one = format!("{path}/{}", segment(&id(live)));
        match self {
            // What every mailbox has can't be taken away.
            Self::Mailbox if value.is_null() => Ok(()),
            Self::Mailbox => {
                let change = json!({ key: value });
                graph.patch(scope, &path, &change, None).await.map(drop)
            }
            Self::Photo if value.is_null() => mailbox.delete(&path).await,
            Self::Photo => {
                let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
                let bytes: Bytes = STANDARD.decode(text("bytes")).unwrap_or_default().into();
                let none = || async { Ok(None) };
                graph.put(scope, &path, bytes, text("contentType"), none).await.map(drop)
            }
            Self::Categories | Self::Overrides if value.is_null() => mailbox.delete(&one).await,
            Self::Categories | Self::Overrides if live.is_null() => {
                let mut row = value.clone();
                super::remove(&mut row, "id");
                let found = || async { Ok(self.read(mailbox).await?.remove(key)) };
                graph.create(scope, &path, &row, found).await.map(drop)
            }
            // The rest of a category can't be changed (FACTS 5.5).
            Self::Categories => {
                let change = json!({ "color": value.get("color") });
                graph.patch(scope, &one, &change, None).await.map(drop)
            }
            Self::Overrides => {
                let change = json!({ "classifyAs": value.get("classifyAs") });
                graph.patch(scope, &one, &change, None).await.map(drop)
            }
            Self::Profile => Ok(()),
        }
    }
}

fn photo(kind: Option<&str>, bytes: &[u8]) -> Value {
    json!({ "contentType": kind.unwrap_or("image/jpeg"), "bytes": STANDARD.encode(bytes) })
}

/// All rows of a short list.
pub(super) async fn rows(mailbox: &Mailbox, path: &str) -> Result<Vec<Value>, graph::Error> {
    let mut pages = mailbox.graph.pages(mailbox.scope.clone(), path, Prefer::none());
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await? {
        for item in &page.items {
            rows.push(item.parse()?);
        }
    }
    Ok(rows)
}

/// A small content; none if it is not there.
async fn value(mailbox: &Mailbox, path: &str) -> Result<Option<Vec<u8>>, graph::Error> {
    let mut body = match mailbox.graph.value(&mailbox.scope, path).await {
        Ok(body) => body,
        Err(error) if error.status() == Some(404) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// As the same setting is always written: enumerations without case, times without fractions that
/// are zero, no nulls and no annotations; a language is its locale, and replies without a schedule
/// have no times, whatever the service fills in.
pub(super) fn comparable(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let is_language = members.contains_key("locale");
            let status = members.get("status").and_then(Value::as_str);
            let is_unscheduled = status.is_some_and(|s| !s.eq_ignore_ascii_case("scheduled"));
            let told = members.iter().filter(|(key, value)| {
                let is_derived = is_unscheduled && key.starts_with("scheduled")
                    || key.contains('@')
                    || is_language && *key == "displayName";
                !value.is_null() && !is_derived
            });
            let told = told.map(|(key, value)| {
                let is_word = matches!(
                    key.as_str(),
                    "status"
                        | "externalAudience"
                        | "daysOfWeek"
                        | "locale"
                        | "delegateMeetingMessageDeliveryOptions"
                );
                let value = comparable(value);
                (key.clone(), if is_word { lower(value) } else { value })
            });
            Value::Object(told.collect())
        }
        Value::Array(values) => values.iter().map(comparable).collect(),
        // Times: 08:00:00.0000000 is 08:00:00.
        Value::String(text) => match text.split_once('.') {
            Some((time, zeros)) if time.len() >= 8 && zeros.bytes().all(|byte| byte == b'0') => {
                time.into()
            }
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

fn lower(value: Value) -> Value {
    match value {
        Value::String(text) => text.to_lowercase().into(),
        Value::Array(values) => values.into_iter().map(lower).collect(),
        other => other,
    }
}
