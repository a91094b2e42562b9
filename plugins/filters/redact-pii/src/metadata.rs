//! Metadata: all texts of Graph JSON, but for those that things are known by.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::edit::apply_text;
use crate::find::{Finder, Hit, REDACTED};
use crate::mail;
use crate::text::{Form, PLAIN, file_name, token};
use crate::view::{Dialect, percent};

/// What stands as it is in an address of a page.
const PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
/// Members that are no text: what versions, hashes, times and kinds are told by.
const STRUCTURE: [&str; 12] = [
    "id",
    "etag",
    "ctag",
    "changeKey",
    "eTag",
    "cTag",
    "hashes",
    "sharepointIds",
    "contentType",
    "mimeType",
    "conversationIndex",
    "fileSystemInfo",
];
/// Members that are addresses of pages or paths, in which names stand with percent signs.
const ADDRESSES: [&str; 6] = ["webUrl", "webLink", "webDavUrl", "path", "sourceUrl", "contentUrl"];

/// Redacts metadata in place; whether anything was found.
pub fn redact(finder: &Finder, metadata: &mut Value) -> bool {
    match metadata {
        Value::Object(members) => object(finder, members),
        _ => false,
    }
}

fn object(finder: &Finder, members: &mut Map<String, Value>) -> bool {
    let is_html = members
        .get("contentType")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("html"));
    let mut changed = false;
    for (name, value) in members.iter_mut().filter(|(name, _)| !is_structure(name)) {
        changed |= match value {
            Value::Array(fields) if name == "internetMessageHeaders" => headers(finder, fields),
            value => member(finder, name, value, is_html && name == "content"),
        };
    }
    changed
}

fn member(finder: &Finder, name: &str, value: &mut Value, is_html: bool) -> bool {
    match value {
        Value::String(text) => {
            let redacted = string(finder, name, text, is_html);
            let changed = redacted.is_some();
            if let Some(redacted) = redacted {
                *text = redacted;
            }
            changed
        }
        Value::Array(values) => values
            .iter_mut()
            .fold(false, |changed, value| member(finder, name, value, is_html) | changed),
        Value::Object(members) => object(finder, members),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_structure(name: &str) -> bool {
    let ends = ["Id", "Ids", "DateTime"].iter().any(|end| name.ends_with(end));
    ends || name.contains('@') || STRUCTURE.contains(&name)
}

fn string(finder: &Finder, name: &str, text: &str, is_html: bool) -> Option<String> {
    if is_html {
        return finder.redact(text, Form::Markup(Dialect::Html));
    }
    if ADDRESSES.contains(&name) {
        let view = percent(text);
        let write = |hit: &Hit| utf8_percent_encode(&file_name(&hit.with), &PATH).to_string();
        let edits = view.edits(&finder.find(view.text()), write);
        return (!edits.is_empty()).then(|| apply_text(text, &edits));
    }
    if name == "name" {
        return finder.redact_name(text);
    }
    let hits = finder.find(text);
    if let [hit] = hits.as_slice()
        && hit.address
        && hit.range == (0..text.len())
    {
        return Some(format!("{}@{REDACTED}", token(&hit.with)));
    }
    finder.redact(text, PLAIN)
}

/// Header fields of a mail, as objects with name and value.
fn headers(finder: &Finder, fields: &mut [Value]) -> bool {
    let mut changed = false;
    for field in fields {
        let Some(name) = field.get("name").and_then(Value::as_str).map(str::to_owned) else {
            continue;
        };
        if let Some(Value::String(value)) = field.get_mut("value")
            && let Some(redacted) = mail::redact_header(finder, &name, value)
        {
            *value = redacted;
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Rules;
    use serde_json::json;

    #[test]
    fn all_texts_are_redacted_and_structure_stays() {
        let rules = Rules::parse("{\"emails\": true}").unwrap();
        let card = "4111 1111 1111 1111";
        let mut metadata = json!({
            "id": "4111111111111111",
            "@odata.etag": "4111111111111111",
            "subject": card,
            "name": format!("Card {card}.txt"),
            "webUrl": "https://x.example/a%20b/4111%201111%201111%201111.txt?a=b",
            "parentReference": {"id": "4111111111111111", "path": "/drive/root:/4111-1111-1111-1111"},
            "receivedDateTime": "2026-01-02T03:04:05Z",
            "internetMessageId": "<4111111111111111@x.example>",
            "body": {"contentType": "html", "content": "<p>4111&nbsp;1111<b> 1111 1111</b></p>"},
            "from": {"emailAddress": {"name": card, "address": "a@b.example"}},
            "internetMessageHeaders": [
                {"name": "X-Card", "value": "=?utf-8?Q?4111_1111_1111_1111?="},
                {"name": "Message-ID", "value": "<4111111111111111@x.example>"},
            ],
            "categories": ["DE89 3704 0044 0532 0130 00", "red"],
            "size": 4_111_111_111_111_111_u64,
        });
        assert!(redact(&rules.finder, &mut metadata));
        let headers = metadata["internetMessageHeaders"].take();
        assert!(
            !headers[0].to_string().contains("4111") && headers[1].to_string().contains("4111")
        );
        assert_eq!(
            metadata,
            json!({
                "id": "4111111111111111",
                "@odata.etag": "4111111111111111",
                "subject": "[redacted:card]",
                "name": "Card [redacted-card].txt",
                "webUrl": "https://x.example/a%20b/%5Bredacted-card%5D.txt?a=b",
                "parentReference": {"id": "4111111111111111", "path": "/drive/root:/%5Bredacted-card%5D"},
                "receivedDateTime": "2026-01-02T03:04:05Z",
                "internetMessageId": "<4111111111111111@x.example>",
                "body": {"contentType": "html", "content": "<p>[redacted:card]<b></b></p>"},
                "from": {"emailAddress": {"name": "[redacted-card]", "address": "redacted-email@redacted.invalid"}},
                "internetMessageHeaders": null,
                "categories": ["[redacted:iban]", "red"],
                "size": 4_111_111_111_111_111_u64,
            })
        );
        assert!(!redact(&rules.finder, &mut metadata));
    }
}
