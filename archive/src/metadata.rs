//! Metadata lines: what the service says of an owner, its folders and its items.
//!
//! A section is the member `<prefix>.ndjson` and the members below `<prefix>/`. Its lines are
//! strictly ascending by [`OrderKey`]: the owner, its folders, its items; the members below the
//! prefix come in the order of the lines that have a path.

use std::io::BufRead;

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, json};

/// Kind of the first line of every section. Its id is the owner's object id, its `graph` has
/// `id`, `userPrincipalName`, `mail`, `displayName`, `proxyAddresses` and `userType`.
pub const OWNER: &str = "owner";
/// Kind of a container; its path, if any, is a directory member.
pub const FOLDER: &str = "folder";
/// Kind of a mail.
pub const MESSAGE: &str = "message";
/// Kind of a file of a drive.
pub const FILE: &str = "file";
/// Kind of an event of a calendar, or of a whole series.
pub const EVENT: &str = "event";
/// Kind of a contact.
pub const CONTACT: &str = "contact";
/// Kind of a task of a list.
pub const TASK: &str = "task";
/// Kind of a post in a conversation of a group.
pub const POST: &str = "post";
/// Kind of what a mailbox is set to: a rule, the categories, a photo.
pub const SETTING: &str = "setting";

/// The services of a user or group in the order they stand in the stream.
pub const SERVICES: [&str; 7] =
    ["mail", "calendar", "contacts", "tasks", "settings", "conversations", "onedrive"];

/// The section that the metadata at `path` is of: its prefix, `users/<upn>/<service>` or
/// `groups/<name>/<service>`, and the service. None for any other member.
pub fn section_of(path: &str) -> Option<(&str, &str)> {
    let prefix = path.strip_suffix(".ndjson")?;
    let mut parts = prefix.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("users" | "groups"), Some(_), Some(service), None) => Some((prefix, service)),
        _ => None,
    }
}

/// Longest line a reader accepts, in bytes.
pub const MAX_LINE: u64 = 16 * 1024 * 1024;

/// One metadata line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`OWNER`], [`FOLDER`], [`MESSAGE`], [`FILE`], [`EVENT`], ...
    pub kind: String,
    /// The service's id, immutable where it has one.
    pub id: String,
    /// Path of the member with the content; none for what has no content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The service's own JSON, less its volatile keys.
    pub graph: Value,
}

/// The place of a line in its section. Lines of a kind this version does not know have only the
/// order of the stream, see [`Line::key`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    /// 0 owner, 1 folder, 2 item.
    rank: u8,
    /// The instant in seconds since 1970 and nanoseconds; none sorts first.
    instant: Option<(i64, u32)>,
    /// Compared byte by byte.
    id: String,
}

impl OrderKey {
    /// The instant in nanoseconds since 1970; what has none or is out of range comes first.
    pub fn nanoseconds(&self) -> i64 {
        self.instant.map_or(i64::MIN, |(seconds, nanoseconds)| {
            seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.into())
        })
    }

    /// True for items, as opposed to the owner and his folders.
    pub fn is_item(&self) -> bool {
        self.rank == 2
    }
}

impl Line {
    /// The canonical line including its newline.
    pub fn encode(&self) -> String {
        encode(&self.kind, &self.id, self.path.as_deref(), &json::canonical(&self.graph))
    }

    /// Reads one line, with or without its newline.
    pub fn parse(line: &str) -> Result<Self, Error> {
        serde_json::from_str(line)
            .map_err(|source| Error::Json { place: "a metadata line".into(), source })
    }

    /// Where the line belongs in its section: owner, folders by id, then mail and posts by
    /// (receivedDateTime, else createdDateTime, id) and the rest by (createdDateTime, id). Dates
    /// are compared as instants; a missing or unreadable date sorts first. None for kinds this
    /// version does not know.
    pub fn key(&self) -> Option<OrderKey> {
        let (rank, instant) = match self.kind.as_str() {
            OWNER => (0, None),
            FOLDER => (1, None),
            MESSAGE | POST => {
                let received = self.instant("receivedDateTime");
                (2, received.or_else(|| self.instant("createdDateTime")))
            }
            FILE | EVENT | CONTACT | TASK | SETTING => (2, self.instant("createdDateTime")),
            _ => return None,
        };
        Some(OrderKey { rank, instant, id: self.id.clone() })
    }

    fn instant(&self, field: &str) -> Option<(i64, u32)> {
        let date = DateTime::parse_from_rfc3339(self.graph.get(field)?.as_str()?).ok()?;
        Some((date.timestamp(), date.timestamp_subsec_nanos()))
    }
}

/// [`Line::encode`] of what `graph` is the canonical JSON of.
pub fn encode(kind: &str, id: &str, path: Option<&str>, graph: &str) -> String {
    let mut line = String::with_capacity(graph.len() + id.len() + 256);
    line.push_str("{\"graph\":");
    line.push_str(graph);
    for (key, value) in [("id", Some(id)), ("kind", Some(kind)), ("path", path)] {
        if let Some(value) = value {
            line.push(',');
            json::write_string(key, &mut line);
            line.push(':');
            json::write_string(value, &mut line);
        }
    }
    line.push_str("}\n");
    line
}

/// The lines of a `.ndjson` member, one at a time in bounded memory.
pub struct Lines<R> {
    input: R,
    /// Path of the member, for messages.
    path: String,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines of `input`, the content of the member at `path`.
    pub fn new(input: R, path: &str) -> Self {
        Lines { input, path: path.to_owned(), number: 0 }
    }

    /// The next line's text without its newline, or none at the end. Fails for a line over
    /// [`MAX_LINE`], without a newline at its end, or that is no UTF-8.
    pub fn next_text(&mut self) -> Result<Option<String>, Error> {
        let mut bytes = Vec::new();
        let read = std::io::Read::take(&mut self.input, MAX_LINE)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| Error::from_content(&self.path, source))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let invalid = |what: &str| Error::Invalid { place: self.place(), what: what.into() };
        if bytes.pop() != Some(b'\n') {
            return Err(invalid("the line does not end with a newline, or is too long"));
        }
        String::from_utf8(bytes).map(Some).map_err(|_| invalid("the line is not UTF-8"))
    }

    /// The next metadata line.
    pub fn next_line(&mut self) -> Result<Option<Line>, Error> {
        let Some(text) = self.next_text()? else {
            return Ok(None);
        };
        let line = serde_json::from_str(&text)
            .map_err(|source| Error::Json { place: self.place(), source })?;
        Ok(Some(line))
    }

    /// `<path>:<line number>` of the line given last.
    pub fn place(&self) -> String {
        format!("{}:{}", self.path, self.number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_canonical(kind in ".*", id in ".*", path in proptest::option::of(".*"), key in ".*") {
            let line = Line { kind, id, path, graph: json!({ "id": 1, key.as_str(): [key.as_str()], "\u{e000}": 2 }) };
            prop_assert_eq!(line.encode(), json::canonical_of(&line) + "\n");
        }
    }
}
