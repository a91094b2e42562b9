//! Calendars and events written by clients. Nobody is mailed; what the service would have mailed
//! is written down.

use http::Method;
use serde_json::Value;

use crate::calendar::{self, Span};
use crate::compose::{self, Object};
use crate::error::Refusal;
use crate::mail::Attachment;
use crate::reply::Reply;
use crate::routes::Answer;
use crate::routes::attachment_upload::{self, Target};
use crate::routes::calendar::{Desk, reply};
use crate::routes::mail_write;
use crate::shelf::{self, Day, Kind, Number, Place, Thing};

/// `POST .../calendars`
pub(crate) fn create_calendar(desk: &Desk<'_>) -> Answer {
    let access = &desk.access;
    let body = compose::body(access.asked.call)?;
    compose::conforms("calendar", &body)?;
    compose::extended_properties(&body)?;
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        let text = "Required property 'name' is missing.";
        return Err(Refusal::new(400, "ErrorRequiredPropertyMissing", text));
    }
    free_name(desk, &name, None)?;
    let mut properties = calendar::new_calendar(&name, &access.owner.name, &access.owner.address);
    for own in ["color", "singleValueExtendedProperties"] {
        properties.extend(body.get(own).map(|value| (own.to_owned(), value.clone())));
    }
    let number = access.shelf.put(Kind::Calendar, None, properties, access.now());
    let row = desk.calendar_row(number.into()).ok_or_else(Refusal::item_not_found)?;
    Ok(access.made("calendars", row))
}

fn free_name(desk: &Desk<'_>, name: &str, except: Option<Number>) -> Result<(), Refusal> {
    let shelf = desk.access.shelf;
    let taken = |number: &Number| {
        let thing = shelf.thing(*number).filter(|_| Some(*number) != except);
        let other =
            thing.and_then(|thing| thing.properties["name"].as_str().map(str::to_lowercase));
        other == Some(name.to_lowercase())
    };
    match shelf.all(Kind::Calendar).iter().any(taken) {
        true => {
            let text = "A folder with the specified name already exists., Could not create folder.";
            Err(Refusal::new(409, "ErrorFolderExists", text))
        }
        false => Ok(()),
    }
}

/// PATCH and DELETE of a calendar.
pub(crate) fn change_calendar(desk: &Desk<'_>, number: Number) -> Answer {
    let access = &desk.access;
    match *access.method() {
        Method::DELETE if number == desk.default => {
            let text = "Distinguished folders cannot be deleted.";
            Err(Refusal::new(400, "ErrorDeleteDistinguishedFolder", text))
        }
        Method::DELETE => {
            access.shelf.remove(number, access.now());
            Ok(Reply::empty(204))
        }
        Method::PATCH => {
            let mut body = compose::body(access.asked.call)?;
            compose::conforms("calendar", &body)?;
            if let Some(name) = body.get("name").and_then(Value::as_str) {
                free_name(desk, name, Some(number))?;
            }
            body.retain(|name, _| matches!(name.as_str(), "name" | "color" | "isDefaultCalendar"));
            access.shelf.change(number.into(), access.now(), |thing| thing.properties.extend(body));
            let row = desk.calendar_row(number.into()).ok_or_else(Refusal::item_not_found)?;
            Ok(access.entity("calendars", row))
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

/// `POST .../events`
pub(crate) fn create(desk: &Desk<'_>, calendar: Number) -> Answer {
    let access = &desk.access;
    let mut body = compose::body(access.asked.call)?;
    writable(desk, calendar)?;
    compose::item_properties(&body)?;
    let event = calendar::created(body.clone(), &access.owner, &access.asked.call.request_id)?;
    if let Some(place) = earlier(desk, &event) {
        return reply(desk, place, true);
    }
    let attachments = compose::take_attachments(&access.asked.world.spool, &mut body)?;
    let mut event = event;
    event.remove("attachments");
    let number = access.shelf.put(Kind::Event, Some(calendar), event.clone(), access.now());
    if !attachments.is_empty() {
        access.shelf.change(number.into(), access.now(), |thing| thing.attachments = attachments);
    }
    let place = Place::from(number);
    if invites(&event) {
        access.note_mailed("createEvent", place, &event);
    }
    reply(desk, place, true)
}

/// The event that an earlier request with the same `transactionId` has made.
fn earlier(desk: &Desk<'_>, event: &Object) -> Option<Place> {
    let wanted = event.get("transactionId").filter(|id| id.is_string())?;
    let shelf = desk.access.shelf;
    let same = |number: &Number| {
        shelf
            .thing(*number)
            .is_some_and(|thing| thing.properties.get("transactionId") == Some(wanted))
    };
    shelf.all(Kind::Event).into_iter().find(same).map(Place::from)
}

fn writable(desk: &Desk<'_>, calendar: Number) -> Result<(), Refusal> {
    let thing = desk.access.shelf.thing(calendar).ok_or_else(Refusal::item_not_found)?;
    match thing.properties.get("canEdit") == Some(&Value::Bool(true)) {
        true => Ok(()),
        false => Err(crate::routes::things::denied()),
    }
}

/// Whether the service mails people when this event comes, changes or goes: the organizer's copy
/// of a meeting.
fn invites(event: &Object) -> bool {
    let organizer = event.get("isOrganizer") == Some(&Value::Bool(true));
    let attendees = event.get("attendees").and_then(Value::as_array);
    organizer && attendees.is_some_and(|attendees| !attendees.is_empty())
}

/// Whatever is not a GET on an event or below it.
pub(crate) fn change(desk: &Desk<'_>, place: Place, rest: &[&str]) -> Answer {
    let access = &desk.access;
    let thing = access.shelf.thing(place.number).ok_or_else(Refusal::item_not_found)?;
    let event = calendar::event_at(&thing, place).ok_or_else(Refusal::item_not_found)?;
    writable(desk, thing.parent.unwrap_or_default())?;
    match (access.method(), rest) {
        (&Method::PATCH, []) => patch(desk, place, &thing, &event),
        (&Method::DELETE, []) | (&Method::POST, ["permanentDelete"]) => {
            if invites(&event) {
                access.note_mailed("deleteEvent", place, &event);
            }
            access.shelf.take_away(place, access.now());
            Ok(Reply::empty(204))
        }
        (&Method::POST, ["cancel"]) => {
            access.note_mailed("cancelEvent", place, &event);
            access.shelf.take_away(place, access.now());
            Ok(Reply::empty(202))
        }
        (&Method::POST, ["accept" | "decline" | "tentativelyAccept" | "forward"]) => {
            access.note_mailed(rest[0], place, &event);
            Ok(Reply::empty(202))
        }
        (&Method::POST, ["dismissReminder" | "snoozeReminder"]) => Ok(Reply::empty(202)),
        (&Method::POST, ["attachments"]) => attach(desk, place),
        (&Method::POST, ["attachments", "createUploadSession"]) => attachment_upload::open_for(
            access.asked,
            &access.id,
            Target::Event(place),
            &access.shelf.id(place, true),
        ),
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn patch(desk: &Desk<'_>, place: Place, thing: &Thing, event: &Object) -> Answer {
    let access = &desk.access;
    let mut body = compose::body(access.asked.call)?;
    if body.contains_key("attachments") {
        let text = "Attachments of an event are added one by one.";
        return Err(Refusal::new(400, "ErrorInvalidRequest", text));
    }
    if place.day.is_some() && body.get("recurrence").is_some_and(Value::is_object) {
        let text = "An occurrence cannot recur.";
        return Err(Refusal::new(400, "ErrorInvalidRequest", text));
    }
    let told = body.keys().any(|name| !calendar::is_private(name));
    let changed = calendar::changed(event, body.clone())?;
    let extended = shelf::take_extended(&mut body);
    if let Some(day) = place.day {
        let span = Span::read(&changed).ok_or_else(Refusal::item_not_found)?;
        if calendar::crosses(thing, place.number, day, &span) {
            let text = "Modified occurrence is crossing or overlapping adjacent occurrence.";
            return Err(Refusal::new(400, "ErrorOccurrenceCrossingBoundary", text));
        }
    }
    let after = changed.clone();
    access.shelf.change(place, access.now(), |thing| {
        let own = match place.day {
            Some(day) => change_day(thing, day, event, changed),
            None => {
                if thing.properties.get("recurrence") != changed.get("recurrence") {
                    thing.days.clear();
                }
                thing.properties = changed;
                thing.properties.remove("singleValueExtendedProperties");
                &mut thing.extended
            }
        };
        own.retain(|old| !extended.iter().any(|new| crate::extended::same(&new.id, &old.id)));
        own.extend(extended);
    });
    if told && (invites(&after) || invites(event)) {
        access.note_mailed("updateEvent", place, &after);
    }
    reply(desk, place, false)
}

/// Makes an exception of an occurrence, or changes it further; returns its extended properties.
fn change_day<'t>(
    thing: &'t mut Thing,
    day: chrono::NaiveDate,
    before: &Object,
    after: Object,
) -> &'t mut Vec<crate::extended::Property> {
    let own = exception(thing, day);
    let differs = |(name, value): &(String, Value)| {
        before.get(name) != Some(value) && name != "singleValueExtendedProperties"
    };
    own.0.extend(after.into_iter().filter(differs));
    own.1
}

type Exception<'t> =
    (&'t mut Object, &'t mut Vec<crate::extended::Property>, &'t mut Vec<Attachment>);

fn exception(thing: &mut Thing, day: chrono::NaiveDate) -> Exception<'_> {
    let fresh = || Day::Changed {
        properties: Object::new(),
        extended: Vec::new(),
        attachments: Vec::new(),
    };
    let entry = thing.days.entry(day).or_insert_with(fresh);
    if matches!(entry, Day::Cancelled) {
        *entry = fresh();
    }
    match entry {
        Day::Changed { properties, extended, attachments } => (properties, extended, attachments),
        Day::Cancelled => unreachable!("it was replaced"),
    }
}

/// `POST .../attachments`
fn attach(desk: &Desk<'_>, place: Place) -> Answer {
    let access = &desk.access;
    let body = compose::body(access.asked.call)?;
    compose::conforms("attachment", &body)?;
    if let Some(item) = body.get("item").and_then(Value::as_object) {
        compose::item_properties(item)?;
    }
    let attachment = compose::attachment(&access.asked.world.spool, body.into())?;
    let number = add(&access.asked.world.tenant, &access.id, place, attachment)?;
    let made = desk.with_holder(place, |holder| holder.made(access.asked, number));
    made.ok_or_else(Refusal::item_not_found)
}

/// Adds an attachment to an event, an occurrence or a task; returns its number.
pub(crate) fn add(
    tenant: &crate::Tenant,
    user: &str,
    place: Place,
    attachment: Attachment,
) -> Result<usize, Refusal> {
    let person = tenant.person(user).ok_or_else(Refusal::item_not_found)?;
    let (mailbox, shelf) =
        person.mailbox().zip(person.shelf()).ok_or_else(Refusal::item_not_found)?;
    let thing = shelf.thing(place.number).ok_or_else(Refusal::item_not_found)?;
    let number = calendar::attachments_at(&thing, place).len();
    mail_write::need_room(mailbox, attachment.size())?;
    mailbox.use_room(attachment.size());
    shelf.change(place, chrono::Utc::now(), |thing| match place.day {
        Some(day) => exception(thing, day).2.push(attachment),
        None => thing.attachments.push(attachment),
    });
    Ok(number)
}
