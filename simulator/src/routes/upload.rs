//! Content on its way into a drive: in one request, or in the fragments of an upload session,
//! whose address needs no token and takes none (FACTS 5.6).
//!
//! ```text
//! PUT    {uploadUrl}   a fragment: Content-Range: bytes FIRST-LAST/TOTAL
//! GET    {uploadUrl}   what is still expected
//! DELETE {uploadUrl}   gives the upload up
//! POST   {uploadUrl}   empty: makes the file, where that was deferred
//! ```

use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::blob::Blob;
use crate::call::{Call, decoded, fresh_guid, pairs};
use crate::drive::{Conflict, Drive, Facet, Saved, Times, Trouble};
use crate::error::Refusal;
use crate::faults::Kind;
use crate::page::escaped;
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::download::unauthorized;
use crate::routes::drive::alias;
use crate::routes::item::View;
use crate::routes::store::{CONFLICT, Desk, conflict, invalid, members, times};
use crate::routes::{Answer, Outcome};
use crate::server::World;
use crate::uploads::{Fragment, Keeping, Session, Target};

/// What one PUT may bring: 250 MB.
const SMALL_LIMIT: usize = 250_000_000;

/// What SharePoint is made to write into Office files.
const PROPERTIES: &[u8] = b"<docProps><ContentTypeId>0x0101</ContentTypeId></docProps>";

fn keeping(world: &World) -> Keeping<'_> {
    Keeping { spool: &world.spool, forget_over: world.options.forget_content_over }
}

/// What the service writes behind the content of a file of this name.
fn tail(world: &World, name: &str) -> &'static [u8] {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_lowercase();
    match world.options.rewrite_office && ["docx", "xlsx", "pptx"].contains(&ending.as_str()) {
        true => PROPERTIES,
        false => &[],
    }
}

impl Desk<'_> {
    /// Refuses targets that cannot become or stay a file; returns the name.
    fn check_target(&self, target: &Target) -> Result<String, Refusal> {
        match target {
            Target::Named { parent, name } => {
                self.check_name(*parent, name)?;
                Ok(name.clone())
            }
            Target::Item(number) => {
                let (_, node) = self.alive(*number)?;
                self.check_match(*number, &node)?;
                let by_path = self.asked.call.segments.iter().any(|segment| segment == ":");
                match node.facet {
                    Facet::File => Ok(node.name),
                    _ if by_path => Err(Trouble::Exists.refusal()),
                    _ => Err(invalid("The item is no file.")),
                }
            }
        }
    }
}

/// An item addressed by its path is one whose name is taken; addressed by its id it is meant.
fn by_name(desk: &Desk<'_>, target: Target) -> Target {
    let by_path = desk.asked.call.segments.iter().any(|segment| segment == ":");
    let Target::Item(number) = target else { return target };
    match desk.drive.node(number).filter(|_| by_path) {
        Some(node) => match node.parent {
            Some(parent) => Target::Named { parent, name: node.name },
            None => target,
        },
        None => target,
    }
}

fn commit(
    drive: &Drive,
    target: &Target,
    conflict: Conflict,
    content: (Blob, Times),
) -> Result<Saved, Refusal> {
    let saved = match target {
        Target::Item(number) => {
            let (blob, times) = content;
            let number = *number;
            drive.overwrite(number, blob, times).map(|()| Saved { number, new: false })
        }
        Target::Named { parent, name } => drive.save(*parent, name, conflict, content),
    };
    saved.map_err(Trouble::refusal)
}

/// `PUT .../content`
pub(crate) fn content(desk: &Desk<'_>, target: Target) -> Answer {
    let (world, call) = (desk.asked.world, desk.asked.call);
    let name = desk.check_target(&target)?;
    let conflict = conflict(call.option(CONFLICT), Conflict::Replace)?;
    if call.body.len() > SMALL_LIMIT {
        let refusal = Refusal::new(413, "invalidRequest", "The content is too large.");
        return Err(refusal.with_inner("maxFileSizeExceeded"));
    }
    let blob = keeping(world).keep(&call.body, tail(world, &name));
    let blob = blob.map_err(|e| Refusal::new(500, "generalException", e.to_string()))?;
    let target = by_name(desk, target);
    desk.saved(commit(desk.drive, &target, conflict, (blob, Times::default()))?)
}

/// `POST .../createUploadSession`
pub(crate) fn open(desk: &Desk<'_>, target: Target) -> Answer {
    let (world, call) = (desk.asked.world, desk.asked.call);
    let body = if call.body.is_empty() { Map::new() } else { desk.body()? };
    members(&body, &["item", "deferCommit"])?;
    let nothing = Map::new();
    let item = match body.get("item") {
        None | Some(Value::Null) => &nothing,
        Some(Value::Object(item)) => item,
        Some(_) => return Err(invalid("item is no object.")),
    };
    // `description` and `fileSize` are for personal accounts.
    members(item, &["name", "fileSystemInfo", CONFLICT])?;
    let name = desk.check_target(&target)?;
    if item.get("name").is_some_and(|own| own.as_str().is_none_or(|own| own != name)) {
        return Err(invalid("The name in the body is not that of the address."));
    }
    let conflict = conflict(item.get(CONFLICT).and_then(Value::as_str), Conflict::Fail)?;
    let times = times(item.get("fileSystemInfo"))?;
    let deferred = match body.get("deferCommit") {
        None | Some(Value::Null) => false,
        Some(value) => value.as_bool().ok_or_else(|| invalid("deferCommit is no boolean."))?,
    };
    let target = by_name(desk, target);
    let mut session = Session::new(target, conflict, times, deferred, tail(world, &name));
    session.renew(world.options.upload_lifetime);
    let expires = session.expires();
    let number = desk.drive.uploads.open(session);
    let url = format!(
        "{}/personal/{}/_api/v2.0/drives/{}/uploadSession?guid='{}'&path='{}'&overwrite={}&rename={}&tempauth={}",
        call.roots.download,
        alias(desk.person),
        desk.drive.ids.drive,
        fresh_guid(),
        escaped(&name),
        if conflict == Conflict::Replace { "True" } else { "False" },
        if conflict == Conflict::Rename { "True" } else { "False" },
        world.tickets.issue_upload(&desk.drive.ids.drive, number),
    );
    Ok(Reply::json(json!({
        "@odata.context": format!("{}/v1.0/$metadata#microsoft.graph.uploadSession", call.roots.graph),
        "uploadUrl": url,
        "expirationDateTime": expires,
        "nextExpectedRanges": ["0-"],
    })))
}

/// `PUT` of a folder with `@microsoft.graph.sourceUrl`: an upload whose name was taken gets
/// another one.
pub(crate) fn adopt(desk: &Desk<'_>, parent: u32) -> Answer {
    let body = desk.body()?;
    let source = "@microsoft.graph.sourceUrl";
    members(&body, &["name", CONFLICT, source])?;
    let text = |name: &str| {
        let value = body.get(name).and_then(Value::as_str);
        value.ok_or_else(|| invalid(format!("{name} is missing.")))
    };
    let (name, url) = (text("name")?, text(source)?);
    let conflict = conflict(body.get(CONFLICT).and_then(Value::as_str), Conflict::Replace)?;
    desk.check_name(parent, name)?;
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let tempauth = pairs(query).into_iter().find(|(key, _)| key == "tempauth");
    let ticket = tempauth.and_then(|(_, value)| desk.asked.world.tickets.check(&value));
    let ticket = ticket.filter(|ticket| ticket.drive == desk.drive.ids.drive);
    let number = ticket.and_then(|ticket| ticket.upload).ok_or_else(gone)?;
    let session = desk.drive.uploads.get(number).ok_or_else(gone)?;
    let mut session = session.lock().expect("no panic under this lock");
    let blob = session.whole().cloned().ok_or_else(incomplete)?;
    let target = Target::Named { parent, name: name.to_owned() };
    let saved = commit(desk.drive, &target, conflict, (blob, session.times))?;
    session.close();
    desk.drive.uploads.close(number);
    desk.saved(saved)
}

fn gone() -> Refusal {
    let text = "The upload session was not found.";
    Refusal::new(404, "itemNotFound", text).with_inner("uploadSessionNotFound")
}

fn incomplete() -> Refusal {
    invalid("The upload is not complete.").with_inner("uploadSessionIncomplete")
}

/// Requests to the address of a session.
pub(crate) fn answer(world: &World, call: &Call) -> Outcome {
    let ticket = world.tickets.check(call.option("tempauth").unwrap_or_default());
    let (Some(ticket), None) = (ticket, call.header("authorization")) else {
        return unauthorized().into();
    };
    let person = world.tenant.drive_owner(&ticket.drive);
    let drive = person.and_then(|person| person.drive());
    let (Some(number), Some(person), Some(drive)) = (ticket.upload, person, drive) else {
        return unauthorized().into();
    };
    let mut outcome = Outcome::from(Reply::empty(500));
    outcome.owner = Some(ticket.drive.clone());
    let key = decoded(call.raw_option("path").unwrap_or_default());
    if world.faults.strikes(Kind::SessionLost, &call.line(), &key).is_some() {
        drive.uploads.close(number);
        outcome.fault = Some(Kind::SessionLost);
    }
    let visit = Visit { world, call, person, drive, number };
    outcome.reply = visit.answer().unwrap_or_else(|refusal| Reply::refused(&refusal, call));
    outcome
}

/// A request to a session.
struct Visit<'a> {
    world: &'a World,
    call: &'a Call,
    person: &'a Person,
    drive: &'a Drive,
    number: u64,
}

impl Visit<'_> {
    fn answer(&self) -> Answer {
        let session: Arc<Mutex<Session>> = self.drive.uploads.get(self.number).ok_or_else(gone)?;
        let mut session = session.lock().expect("no panic under this lock");
        if session.is_over() {
            self.drive.uploads.close(self.number);
            return Err(gone());
        }
        match self.call.method {
            Method::GET => Ok(status(200, &session)),
            Method::DELETE => {
                self.end(&mut session);
                Ok(Reply::empty(204))
            }
            Method::PUT => self.fragment(&mut session),
            Method::POST if self.call.body.is_empty() => self.commit(&mut session),
            Method::POST => Err(invalid("The request must have no body.")),
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    fn end(&self, session: &mut Session) {
        session.close();
        self.drive.uploads.close(self.number);
    }

    fn fragment(&self, session: &mut Session) -> Answer {
        let header = self.call.header("content-range").and_then(Fragment::parse);
        let fragment = header.ok_or_else(|| invalid("The Content-Range header is invalid."))?;
        let (used, quota) = self.drive.usage();
        let kept = used.saturating_sub(self.replaced(session));
        if kept.saturating_add(fragment.total) > quota {
            return Err(Trouble::Full.refusal());
        }
        session.take(fragment, &self.call.body, keeping(self.world))?;
        session.renew(self.world.options.upload_lifetime);
        if session.whole().is_none() || session.deferred {
            return Ok(status(202, session));
        }
        self.commit(session)
    }

    /// Bytes that the upload will free.
    fn replaced(&self, session: &Session) -> u64 {
        let number = match &session.target {
            Target::Item(number) => Some(*number),
            Target::Named { .. } if session.conflict != Conflict::Replace => None,
            Target::Named { parent, name } => self.drive.child(*parent, name),
        };
        let node = number.and_then(|number| self.drive.node(number));
        node.as_ref().and_then(|node| node.current()).map_or(0, |version| version.blob.len())
    }

    /// Makes the file. When its name is taken the session stays, for another name.
    fn commit(&self, session: &mut Session) -> Answer {
        let blob = session.whole().cloned().ok_or_else(incomplete)?;
        let content = (blob, session.times);
        let saved = commit(self.drive, &session.target, session.conflict, content)?;
        self.end(session);
        let node = self.drive.node(saved.number).ok_or_else(Refusal::drive_item_not_found)?;
        let view = View::of(self.world, self.call, self.person, self.drive);
        let mut reply = view.reply(saved.number, &node);
        if saved.new {
            reply.status = StatusCode::CREATED;
        }
        Ok(reply)
    }
}

fn status(code: u16, session: &Session) -> Reply {
    let body = json!({
        "expirationDateTime": session.expires(),
        "nextExpectedRanges": session.expected(),
    });
    Reply::json_status(code, body)
}
