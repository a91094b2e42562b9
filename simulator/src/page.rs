//! Pages of a collection: how many rows, which properties, and the link to what follows.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::call::Call;
use crate::dice;
use crate::error::Refusal;
use crate::faults::Kind;
use crate::reply::Reply;
use crate::server::World;

/// What stays as it is in a path segment.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'!');

pub(crate) fn escaped(segment: &str) -> String {
    utf8_percent_encode(segment, SEGMENT).to_string()
}

/// The properties asked for with `$select`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Select(Option<Vec<String>>);

impl Select {
    pub(crate) fn new(option: Option<&str>) -> Select {
        let names = option.filter(|text| !text.trim().is_empty()).map(|text| {
            // A cast (`microsoft.graph.eventMessage/meetingMessageType`) selects its property.
            let last = |name: &str| name.rsplit('/').next().unwrap_or(name).trim().to_owned();
            text.split(',').map(last).collect()
        });
        Select(names)
    }

    pub(crate) fn given(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a property that is returned by default is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.0.is_none() || self.names(name)
    }

    /// Whether a property was asked for by name.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|names| names.iter().any(|n| n == name || n == "*"))
    }

    /// Drops what was not asked for; ids and annotations stay.
    pub(crate) fn apply(&self, row: &mut Map<String, Value>) {
        if self.given() {
            row.retain(|name, _| name == "id" || name.starts_with('@') || self.names(name));
        }
    }
}

/// A page before it is JSON.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) context: String,
    pub(crate) rows: Vec<Value>,
    pub(crate) next: Option<String>,
    pub(crate) delta: Option<String>,
    pub(crate) count: Option<u64>,
}

impl Page {
    /// The reply; the faults that concern rows strike here.
    pub(crate) fn reply(mut self, world: &World, call: &Call) -> Reply {
        let line = call.line();
        let is_delta = call.segments.iter().any(|segment| segment == "delta");
        if is_delta && world.faults.strikes(Kind::Repeat, &line, &line).is_some() {
            let last_of_id = |(at, row): &(usize, &Value)| {
                let later = self.rows.get(at + 1..).unwrap_or_default();
                !later.iter().any(|other| other["id"] == row["id"])
            };
            let again: Vec<Value> = (self.rows.iter().enumerate())
                .filter(last_of_id)
                .map(|(_, row)| row.clone())
                .step_by(3)
                .collect();
            self.rows.extend(again);
        }
        if world.options.reorder || world.faults.strikes(Kind::Reorder, &line, &line).is_some() {
            let dice = dice::Dice::new(&[world.options.fault_seed, dice::text(&line)]);
            shuffle(&mut self.rows, dice);
        }
        let mut body = Map::new();
        let context = format!("{}/v1.0/$metadata#{}", call.roots.graph, self.context);
        body.insert("@odata.context".into(), context.into());
        for (name, link) in [("@odata.nextLink", self.next), ("@odata.deltaLink", self.delta)] {
            body.extend(link.map(|link| (name.to_owned(), link.into())));
        }
        body.extend(self.count.map(|count| ("@odata.count".to_owned(), count.into())));
        body.insert("value".into(), self.rows.into());
        Reply::json(body.into())
    }
}

/// Permutes rows, but not those of one id among each other: the last one of an id counts.
fn shuffle(rows: &mut [Value], mut dice: dice::Dice) {
    let mut order: BTreeMap<String, VecDeque<Value>> = BTreeMap::new();
    for row in rows.iter() {
        order.entry(row["id"].to_string()).or_default().push_back(row.clone());
    }
    for at in (1..rows.len()).rev() {
        rows.swap(at, dice.below(at as u64 + 1) as usize);
    }
    for row in rows.iter_mut() {
        if let Some(next) = order.get_mut(&row["id"].to_string()).and_then(VecDeque::pop_front) {
            *row = next;
        }
    }
}

/// How many rows a page has: what was asked within limits, and never more than the cap.
pub(crate) fn size(world: &World, asked: Option<usize>, default: usize, most: usize) -> usize {
    let size = asked.unwrap_or(default).clamp(1, most);
    world.options.page_cap.map_or(size, |cap| size.min(cap.max(1)))
}

/// The next link of a list: the request again with one option more.
pub(crate) fn link(call: &Call, option: &str, value: &str) -> String {
    let kept = call.query_without(&[option, "skip", "skiptoken"]);
    let separator = if kept.is_empty() { "" } else { "&" };
    format!("{}{}?{kept}{separator}%24{option}={value}", call.roots.graph, call.path)
}

/// An opaque token. It is accepted only exactly as it was given out: a client that decodes links
/// and encodes them again changes the `%2b` and breaks it.
pub(crate) fn seal(state: &impl Serialize) -> String {
    let text = seal_plain(state);
    let sum = dice::text(&text) as u32;
    format!("{text}%2b{sum:08x}!~%3d")
}

pub(crate) fn open<T: DeserializeOwned>(raw: &str) -> Result<T, Refusal> {
    let broken = || Refusal::bad_request("Badly formed token.");
    let (text, rest) = raw.split_once("%2b").ok_or_else(broken)?;
    let sum = dice::text(text) as u32;
    if rest != format!("{sum:08x}!~%3d") {
        return Err(broken());
    }
    open_plain(text)
}

/// A token of letters, digits, `-` and `_`.
pub(crate) fn seal_plain(state: &impl Serialize) -> String {
    let json = serde_json::to_vec(state).expect("token states serialise");
    let sum = (dice::hash(&[json.iter().fold(7, |s, b| dice::mix(s ^ u64::from(*b)))]) as u32)
        .to_be_bytes();
    let mut bytes = sum.to_vec();
    bytes.extend(json.iter().zip(sum.iter().cycle()).map(|(byte, key)| byte ^ key));
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn open_plain<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    let broken = || Refusal::bad_request("Badly formed token.");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| broken())?;
    let (sum, rest) = bytes.split_at_checked(4).ok_or_else(broken)?;
    let json: Vec<u8> = rest.iter().zip(sum.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    serde_json::from_slice(&json).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_only_unchanged() {
        let token = seal(&(1, "two"));
        assert_eq!(open::<(u8, String)>(&token).unwrap(), (1, "two".to_owned()));
        assert!(open::<(u8, String)>(&token.replace("%2b", "%2B")).is_err());
        assert!(open::<(u8, String)>(&token.replace("%2b", "+")).is_err());
        assert!(open::<(u8, String)>(&token[1..]).is_err());
        let plain = seal_plain(&(1, "two"));
        assert_eq!(open_plain::<(u8, String)>(&plain).unwrap(), (1, "two".to_owned()));
    }

    #[test]
    fn selections() {
        let select =
            Select::new(Some("id, subject,microsoft.graph.eventMessage/meetingMessageType"));
        assert!(select.wants("subject") && select.names("meetingMessageType"));
        assert!(!select.wants("body"));
        assert!(Select::new(None).wants("body") && !Select::new(None).names("body"));
    }
}
