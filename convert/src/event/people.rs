//! Organizer and attendees. The file has no METHOD, and so asks nobody for anything.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::ical::{Head, head};
use crate::json::says_something;
use crate::line::Lines;
use crate::loss::Losses;

/// The address of who has none that mail could be sent to (as Exchange writes it).
const NO_MAIL: &str = "invalid:nomail";
/// Graph's answer, PARTSTAT. `none` and `notResponded`, `organizer` and `accepted` are one there.
const ANSWERS: [(&str, &str); 6] = [
    ("none", "NEEDS-ACTION"),
    ("notResponded", "NEEDS-ACTION"),
    ("accepted", "ACCEPTED"),
    ("organizer", "ACCEPTED"),
    ("tentativelyAccepted", "TENTATIVE"),
    ("declined", "DECLINED"),
];

pub(super) fn write<W: Write>(
    event: &Value,
    lines: &mut Lines<'_, W>,
    losses: &mut Losses,
) -> io::Result<()> {
    let attendees = event["attendees"].as_array().map(Vec::as_slice).unwrap_or_default();
    let organizer = &event["organizer"]["emailAddress"];
    if attendees.is_empty() {
        // An event with an organizer and nobody else reads as a meeting.
        if says_something(organizer) && event["isOrganizer"] == false {
            losses.add("organizer", "an event without attendees has none");
        }
        return Ok(());
    }
    if says_something(organizer) {
        person("ORGANIZER", organizer, "organizer", lines, losses, |head| head)?;
    }
    for attendee in attendees {
        let kind = attendee["type"].as_str().unwrap_or("required").to_ascii_lowercase();
        let response = attendee["status"]["response"].as_str().unwrap_or("none");
        let answer = ANSWERS.iter().find(|known| known.0 == response);
        if answer.is_none() || response == "notResponded" || response == "organizer" {
            losses.add("attendees/status/response", "iCalendar has fewer answers");
        }
        let asked = event["responseRequested"].as_bool();
        let address = &attendee["emailAddress"];
        person("ATTENDEE", address, "attendees", lines, losses, |head| {
            let head = match kind.as_str() {
                "resource" if is_room(event, address) => {
                    head.param("CUTYPE", "ROOM").param("ROLE", "NON-PARTICIPANT")
                }
                "resource" => head.param("CUTYPE", "RESOURCE").param("ROLE", "NON-PARTICIPANT"),
                "optional" => head.param("ROLE", "OPT-PARTICIPANT"),
                _ => head.param("ROLE", "REQ-PARTICIPANT"),
            };
            let head = head.param("PARTSTAT", answer.map_or("NEEDS-ACTION", |known| known.1));
            match asked {
                Some(asked) => head.param("RSVP", if asked { "TRUE" } else { "FALSE" }),
                None => head,
            }
        })?;
        if super::times::offset_time(&attendee["status"]["time"]).is_some() {
            losses.add("attendees/status/time", "iCalendar has no such property");
        }
        if says_something(&attendee["proposedNewTime"]) {
            losses.add("attendees/proposedNewTime", "iCalendar has no such property");
        }
    }
    Ok(())
}

fn person<W: Write>(
    property: &str,
    address: &Value,
    what: &str,
    lines: &mut Lines<'_, W>,
    losses: &mut Losses,
    more: impl FnOnce(Head) -> Head,
) -> io::Result<()> {
    let mail = address["address"].as_str().unwrap_or_default();
    let named = address["name"].as_str().filter(|name| !name.is_empty());
    let reachable = is_mail(mail);
    if !reachable && !mail.is_empty() {
        losses.add(format!("{what}/emailAddress/address"), "it is no mail address");
    }
    // Who has no address is known by the name at least.
    let name = named.unwrap_or(if reachable { "" } else { mail });
    let head = if name.is_empty() { head(property) } else { head(property).param("CN", name) };
    let head = more(head);
    if reachable { lines.raw(&head, &format!("mailto:{mail}")) } else { lines.raw(&head, NO_MAIL) }
}

/// Exchange also has X.500 addresses (`/o=ExchangeLabs/...`).
fn is_mail(address: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"');
    !address.starts_with('/')
        && !address.contains(is_odd)
        && address
            .rsplit_once('@')
            .is_some_and(|(local, host)| !local.is_empty() && !host.is_empty())
}

/// Graph calls rooms and things resources; a room is also one of the event's locations.
fn is_room(event: &Value, address: &Value) -> bool {
    let mail = address["address"].as_str().unwrap_or_default();
    event["locations"].as_array().into_iter().flatten().any(|location| {
        location["locationType"] == "conferenceRoom"
            && [&location["locationEmailAddress"], &location["locationUri"]]
                .into_iter()
                .filter_map(Value::as_str)
                .any(|text| text.eq_ignore_ascii_case(mail))
    })
}

/// What a line of ORGANIZER or ATTENDEE says of a person.
#[derive(Debug, Default)]
pub(super) struct Read<'a> {
    pub(super) uri: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) role: Option<&'a str>,
    pub(super) answer: Option<&'a str>,
}

impl Read<'_> {
    /// Graph's `emailAddress`; none if there is neither a name nor a mail address.
    pub(super) fn address(&self) -> Option<Value> {
        let scheme = self.uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("mailto:"));
        let mail = if scheme { self.uri[7..].trim() } else { self.uri.trim() };
        let mail = Some(mail).filter(|mail| is_mail(mail));
        match (self.name, mail) {
            (None, None) => None,
            (None, Some(mail)) => Some(json!({ "address": mail })),
            (Some(name), None) => Some(json!({ "name": name })),
            (Some(name), Some(mail)) => Some(json!({ "address": mail, "name": name })),
        }
    }

    /// Graph's attendee; none like [`Self::address`].
    pub(super) fn attendee(&self, losses: &mut Losses) -> Option<Value> {
        let kind = match (self.kind.unwrap_or_default(), self.role.unwrap_or_default()) {
            ("ROOM" | "RESOURCE", _) => "resource",
            (_, "OPT-PARTICIPANT") => "optional",
            (_, "NON-PARTICIPANT") => {
                losses.add("VEVENT/ATTENDEE;ROLE", "Graph has only those who take part");
                "optional"
            }
            _ => "required",
        };
        let answer = match self.answer.unwrap_or("NEEDS-ACTION") {
            "NEEDS-ACTION" => "none",
            other => match ANSWERS.iter().find(|known| known.1 == other) {
                Some(known) => known.0,
                None => {
                    losses.add("VEVENT/ATTENDEE;PARTSTAT", "an answer Graph does not have");
                    "none"
                }
            },
        };
        let address = self.address()?;
        Some(json!({ "emailAddress": address, "type": kind, "status": { "response": answer } }))
    }
}
