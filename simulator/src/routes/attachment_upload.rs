//! Attachments too large for one request: upload sessions on a host that wants no token.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use chrono::{DateTime, Utc};
use http::Method;
use serde_json::{Value, json};

use crate::blob::Blob;
use crate::call::{Call, fresh_guid};
use crate::compose;
use crate::error::Refusal;
use crate::faults::Kind;
use crate::mail::{Attached, Attachment};
use crate::mailbox::{Key, Mailbox, Message};
use crate::page::escaped;
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::{Answer, Asked, Outcome, calendar_write, mail_write};
use crate::server::World;
use crate::shelf::Place;
use crate::spool::Room;
use crate::throttle::Cost;

/// What a session may hold: from about the size that no plain request takes.
const SIZES: std::ops::RangeInclusive<u64> = 3_000_000..=150 << 20;

/// What the attachment of a task may weigh.
const MOST_OF_TASK: u64 = 25 << 20;

/// The largest part of an upload.
const MOST: usize = 4 << 20;

/// The sessions that are open, by the id in their address.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Session>>,
}

/// What an attachment is uploaded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Message(Key),
    Event(Place),
    Task(Place),
}

#[derive(Clone)]
struct Session {
    user: String,
    target: Target,
    attachment: Attachment,
    room: Room,
    next: u64,
    until: DateTime<Utc>,
    token: String,
    /// What `session-lost` tells sessions apart by: the attachment, not the attempt.
    key: String,
}

impl Sessions {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().expect("no panic under this lock")
    }
}

/// `POST .../attachments/createUploadSession` of a message.
pub(crate) fn open(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    message: &Message,
) -> Answer {
    let id = mailbox.ids.immutable(message.key);
    open_for(asked, &person.id, Target::Message(message.key), &id)
}

/// `POST .../attachments/createUploadSession` of a user's message or event, which has that id.
pub(crate) fn open_for(asked: &Asked<'_>, user: &str, target: Target, of: &str) -> Answer {
    let body = compose::body(asked.call)?;
    let item = body.get("AttachmentItem").or(body.get("attachmentItem"));
    let item = item.and_then(Value::as_object).ok_or_else(|| {
        let text = "Required parameter 'AttachmentItem' is missing.";
        Refusal::new(400, "ErrorInvalidParameter", text)
    })?;
    compose::conforms("attachmentItem", item)?;
    let size = item.get("size").and_then(Value::as_u64).unwrap_or_default();
    if size < *SIZES.start() {
        let text = "Attachment size must be greater than the minimum size.";
        return Err(Refusal::new(400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", text));
    }
    if size > *SIZES.end() {
        let text = "The attachment exceeds the maximum size.";
        return Err(Refusal::new(400, "ErrorAttachmentSizeLimitExceeded", text));
    }
    let session = begun(asked, user, target, item, size)?;
    let (id, until) = (fresh_guid(), session.until);
    let url = format!(
        "{}/api/gv1.0/users('{user}@{}')/{}('{}')/AttachmentSessions('{id}')?authtoken={}",
        asked.call.roots.download,
        asked.world.authority.credentials.tenant_id,
        collection(target),
        escaped(of),
        session.token,
    );
    asked.world.sessions.open().insert(id, session);
    Ok(opened(asked.call, &url, until, 201))
}

/// `POST .../attachments/createUploadSession` of a task: the parts come to the Graph host itself.
pub(crate) fn open_for_task(
    asked: &Asked<'_>,
    user: &str,
    task: Place,
    path: &str,
    item: &compose::Object,
) -> Answer {
    let size = item.get("size").and_then(Value::as_u64).unwrap_or_default();
    if !(1..=MOST_OF_TASK).contains(&size) {
        let text = "The attachment exceeds the maximum size.";
        return Err(Refusal::new(400, "ErrorAttachmentSizeLimitExceeded", text));
    }
    let session = begun(asked, user, Target::Task(task), item, size)?;
    let (id, until) = (fresh_guid(), session.until);
    let url = format!("{}/v1.0/{path}/attachmentSessions/{id}", asked.call.roots.graph);
    asked.world.sessions.open().insert(id, session);
    Ok(opened(asked.call, &url, until, 200))
}

fn begun(
    asked: &Asked<'_>,
    user: &str,
    target: Target,
    item: &compose::Object,
    size: u64,
) -> Result<Session, Refusal> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    let name = text("name").filter(|name| !name.is_empty());
    let (Some(name), Some("file")) = (name, text("attachmentType").as_deref()) else {
        let text = "An attachment item needs the type 'file' and a name.";
        return Err(Refusal::new(400, "ErrorInvalidParameter", text));
    };
    let person = asked.world.tenant.person(user).and_then(|person| person.mailbox());
    mail_write::need_room(person.ok_or_else(Refusal::item_not_found)?, size)?;
    let room = asked.world.spool.room(size).map_err(|error| compose::full(&error))?;
    Ok(Session {
        user: user.to_owned(),
        target,
        key: format!("{user} {name} {size}"),
        attachment: Attachment {
            name,
            content_type: text("contentType").unwrap_or_else(|| "application/octet-stream".into()),
            content_id: text("contentId").map(|id| id.trim_matches(['<', '>']).to_owned()),
            inline: item.get("isInline") == Some(&Value::Bool(true)),
            what: Attached::File(Blob::Spooled(room.clone())),
        },
        room,
        next: 0,
        until: Utc::now() + asked.world.options.url_lifetime,
        token: fresh_guid(),
    })
}

fn opened(call: &Call, url: &str, until: DateTime<Utc>, status: u16) -> Reply {
    let mut reply = Reply::json(json!({
        "@odata.context": format!("{}/v1.0/$metadata#microsoft.graph.uploadSession", call.roots.graph),
        "uploadUrl": url,
        "expirationDateTime": stamp(until),
        "nextExpectedRanges": ["0-"],
    }));
    reply.status = http::StatusCode::from_u16(status).unwrap_or_default();
    reply
}

fn collection(target: Target) -> &'static str {
    match target {
        Target::Message(_) => "messages",
        Target::Event(_) => "events",
        Target::Task(_) => "tasks",
    }
}

/// A part for the attachment of a task: PUT of `attachmentSessions/{id}/content`.
pub(crate) fn part_of_task(asked: &Asked<'_>, task: Place, id: &str) -> Answer {
    let session = asked.world.sessions.open().get(id).cloned();
    let ours = session.filter(|session| session.target == Target::Task(task));
    let lost = || Refusal::new(404, "ErrorItemNotFound", "The upload session was not found.");
    let session = ours.filter(|session| Utc::now() < session.until).ok_or_else(lost)?;
    let line = asked.call.line();
    if asked.world.faults.strikes(Kind::SessionLost, &line, &session.key).is_some() {
        asked.world.sessions.open().remove(id);
        return Err(lost());
    }
    part(asked.world, asked.call, id)
}

fn stamp(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Whether a request to the host without tokens is about such a session.
pub(crate) fn is_ours(call: &Call) -> bool {
    call.segments.get(6).is_some_and(|segment| segment == "AttachmentSessions")
}

/// PUT, GET and DELETE of a session's address.
pub(crate) fn answer(world: &World, call: &Call) -> Outcome {
    let id = call.segments.get(7).map(String::as_str).unwrap_or_default();
    let refused = |status, code, text: &str| {
        Outcome::from(Reply::refused(&Refusal::new(status, code, text), call))
    };
    let lost = || refused(404, "ErrorItemNotFound", "The upload session was not found.");
    if call.header("authorization").is_some() {
        return refused(401, "InvalidAuthenticationToken", "An upload address takes no token.");
    }
    let session = world.sessions.open().get(id).cloned();
    let Some(session) = session.filter(|session| Utc::now() < session.until) else {
        return lost();
    };
    if call.option("authtoken") != Some(session.token.as_str()) {
        return refused(401, "InvalidAuthenticationToken", "The authtoken is invalid.");
    }
    let mut outcome =
        if world.faults.strikes(Kind::SessionLost, &call.line(), &session.key).is_some() {
            world.sessions.open().remove(id);
            Outcome { fault: Some(Kind::SessionLost), ..lost() }
        } else {
            match call.method {
                Method::PUT => put(world, call, id),
                Method::GET => Reply::json(state(call, &session)).into(),
                Method::DELETE => {
                    world.sessions.open().remove(id);
                    Reply::empty(204).into()
                }
                _ => Reply::refused(&Refusal::method_not_allowed(), call).into(),
            }
        };
    outcome.owner = Some(session.user);
    outcome
}

/// How far an upload has come, spelt as this host does.
fn state(call: &Call, session: &Session) -> Value {
    json!({
        "@odata.context": format!("{}/api/v2.0/$metadata#Users('{}')/Messages/AttachmentSessions/$entity", call.roots.download, session.user),
        "ExpirationDateTime": stamp(session.until),
        "NextExpectedRanges": [session.next.to_string()],
    })
}

fn put(world: &World, call: &Call, id: &str) -> Outcome {
    let owner = world.sessions.open().get(id).map(|session| session.user.clone());
    let mailbox = owner.unwrap_or_default();
    let cost = Cost { units: 1, written: call.body.len() as u64 };
    match world.throttle.enter(&format!("mailbox:{mailbox}"), cost, call.arrived) {
        Ok(slot) => {
            let reply =
                part(world, call, id).unwrap_or_else(|refusal| Reply::refused(&refusal, call));
            Outcome { slot: Some(slot), ..reply.into() }
        }
        Err(wait) => Outcome::waiting(&wait, call),
    }
}

/// `bytes FROM-TO/TOTAL`
fn range(text: &str) -> Option<(u64, u64, u64)> {
    let (span, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = span.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?, total.parse().ok()?))
}

fn part(world: &World, call: &Call, id: &str) -> Answer {
    let lost = || Refusal::new(404, "ErrorItemNotFound", "The upload session was not found.");
    let bad = |status, text: &str| Refusal::new(status, "ErrorInvalidRequest", text);
    if call.body.len() > MOST {
        return Err(bad(413, "A part of an upload may not exceed 4 MB."));
    }
    let mut open = world.sessions.open();
    let session = open.get_mut(id).ok_or_else(lost)?;
    let asked = call.header("content-range").and_then(range);
    let (from, to, total) = asked.ok_or_else(|| bad(400, "Content-Range is missing."))?;
    if to < from || to - from + 1 != call.body.len() as u64 {
        return Err(bad(400, "Content-Range does not fit the body."));
    }
    if from != session.next || total != session.room.len() || to >= total {
        return Err(bad(416, "The range is not the one that was expected."));
    }
    session.room.write(from, &call.body).map_err(|error| compose::full(&error))?;
    session.next = to + 1;
    if session.next < total {
        return Ok(Reply::json(state(call, session)));
    }
    let done = session.clone();
    open.remove(id);
    drop(open);
    finish(world, call, done)
}

/// The last part has arrived: the message has one more attachment.
fn finish(world: &World, call: &Call, session: Session) -> Answer {
    let person = world.tenant.person(&session.user).ok_or_else(Refusal::item_not_found)?;
    let mailbox = person.mailbox().ok_or_else(Refusal::item_not_found)?;
    let shelf = person.shelf().ok_or_else(Refusal::item_not_found)?;
    let (of, attachment) = match session.target {
        Target::Message(key) => {
            let message = mailbox.message(key).ok_or_else(Refusal::item_not_found)?;
            let id = mailbox.ids.immutable(key);
            let number = mail_write::add(mailbox, &message, session.attachment)?;
            let attachment = mailbox.ids.attachment(&id, number);
            (id, attachment)
        }
        Target::Event(place) | Target::Task(place) => {
            let id = shelf.id(place, true);
            let number = calendar_write::add(&world.tenant, &person.id, place, session.attachment)?;
            let attachment = shelf.ids.attachment(&id, number);
            (id, attachment)
        }
    };
    let location = format!(
        "{}/api/gv1.0/users('{}')/{}('{}')/attachments('{}')",
        call.roots.download,
        person.id,
        collection(session.target),
        escaped(&of),
        escaped(&attachment),
    );
    Ok(Reply::empty(201).with("location", &location))
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges() {
        assert_eq!(range("bytes 0-9/10"), Some((0, 9, 10)));
        for text in ["", "bytes=0-9/10", "bytes 0-9", "bytes */10", "bytes a-9/10"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
