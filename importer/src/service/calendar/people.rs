//! Who was invited, and the meeting online: told in the text of the event, because setting either
//! again would mail people and make another meeting (FACTS 5.4).

use serde_json::{Value, json};

/// How a plain text is told apart from what follows.
const RULE: &str = "________________________________";
const HEADING: &str = "From the archive. Nobody was invited again.";

/// What is to be told of an event; empty if there is nothing.
pub(super) fn told(event: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let attendees = event["attendees"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !attendees.is_empty() || event["isOrganizer"] == false {
        let organizer = person(&event["organizer"]);
        if !organizer.is_empty() {
            lines.push(format!("Organizer: {organizer}"));
        }
    }
    for (kind, name) in
        [("required", "Required"), ("optional", "Optional"), ("resource", "Resource")]
    {
        let of_kind = attendees.iter().filter(|attendee| {
            let own = attendee["type"].as_str().unwrap_or("required");
            own.eq_ignore_ascii_case(kind) || (kind == "required" && !is_known(own))
        });
        lines.extend(of_kind.map(|attendee| {
            let answer = attendee["status"]["response"].as_str().unwrap_or("none");
            match answer {
                "none" | "notResponded" => format!("{name}: {}", person(attendee)),
                answer => format!("{name}: {} ({})", person(attendee), spaced(answer)),
            }
        }));
    }
    if let Some(url) = join_url(event) {
        lines.push(format!("Online meeting: {url}"));
    }
    lines
}

fn is_known(kind: &str) -> bool {
    ["optional", "resource"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// Where an online meeting was joined.
pub(super) fn join_url(event: &Value) -> Option<&str> {
    let urls = [&event["onlineMeeting"]["joinUrl"], &event["onlineMeetingUrl"]];
    urls.into_iter().filter_map(Value::as_str).find(|url| !url.is_empty())
}

fn person(of: &Value) -> String {
    let text = |key: &str| of["emailAddress"][key].as_str().unwrap_or_default().trim();
    match (text("name"), text("address")) {
        (name, address) if name.is_empty() || name == address => address.to_owned(),
        (name, "") => name.to_owned(),
        (name, address) => format!("{name} <{address}>"),
    }
}

/// `tentativelyAccepted` as words.
fn spaced(answer: &str) -> String {
    let mut words = String::new();
    for letter in answer.chars() {
        if letter.is_uppercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// The body with these lines at its end.
pub(super) fn with_lines(body: &Value, lines: &[String]) -> Value {
    let content = body["content"].as_str().unwrap_or_default();
    let is_html =
        body["contentType"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("html"));
    if !is_html {
        let told = lines.join("\r\n");
        let text = format!("{content}\r\n\r\n{RULE}\r\n{HEADING}\r\n{told}\r\n");
        return json!({ "contentType": "text", "content": text });
    }
    let told: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
    let told = format!("<hr><p>{HEADING}<br>{}</p>", told.join("<br>"));
    let end = content.to_ascii_lowercase().rfind("</body>").unwrap_or(content.len());
    let (before, after) = content.split_at(end);
    json!({ "contentType": "html", "content": format!("{before}{told}{after}") })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
