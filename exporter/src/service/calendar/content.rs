//! The file of an event or series, with its attachments.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::sync::Arc;

use archive::Outcome;
use convert::event::{AttachmentRef, Series};
use graph::segment;
use serde_json::Value;

use super::{event_path, scope, text};
use crate::Error;
use crate::attached::attachments;
use crate::context::Context;
use crate::error::is_gone;
use crate::make::{Maker, make};
use crate::owner::OwnerKind;
use crate::service::{Asked, Fetched, Note};

/// The attachments of a series: whose, and where their bytes are.
type Parts = Vec<(String, String)>;

pub(super) async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
    let Asked { owner, item, turn, .. } = asked;
    let mut event: Value = serde_json::from_str(&item.json)
        .map_err(|_| Error::Internal("the inventory gave back bad JSON"))?;
    let scope = scope(owner);
    let doing = format!("reading {}", item.path);
    let mut parts = Parts::new();
    let is_group = owner.kind == OwnerKind::Group;
    let gone = match is_group {
        true => Ok(with_attachments(&event)),
        false => list_attachments(context, asked, &mut event, &mut parts, &doing).await?,
    };
    let gone = match gone {
        Ok(gone) => gone,
        Err(error) => return Ok(Fetched::Without(refusal(&error))),
    };
    let incomplete = if is_group { refused } else { incomplete };
    let paths: Vec<String> = parts
        .iter()
        .map(|(event, id)| {
            format!("{}/attachments/{}/$value", event_path(owner, event), segment(id))
        })
        .collect();
    let parts = Arc::new(parts);
    let convert = {
        let parts = Arc::clone(&parts);
        move |out: &mut Maker| convert_series(&event, &parts, gone, out)
    };
    let part = async |number: usize| {
        let Some(path) = paths.get(number) else { return Ok(None) };
        // What can't be had is a loss, told with the others.
        context.spool_value(&scope, path, turn, &doing).await.map(Result::ok)
    };
    match make(context, turn, convert, part).await? {
        Ok((content, missing)) => Ok(Fetched::Whole(content, missing.map(incomplete))),
        Err(_) => {
            let message = "the event lacks what an iCalendar file can't be without";
            Ok(Fetched::Without(Note::new(Outcome::Failed, "content", message)))
        }
    }
}

/// Lists the attachments of the event and of each exception into its JSON. That there are some is
/// not said where the body alone shows them (FACTS 3.5), so all are asked about. How many
/// exceptions are gone: of those there is what was listed.
async fn list_attachments(
    context: &Context,
    asked: Asked<'_>,
    event: &mut Value,
    parts: &mut Parts,
    doing: &str,
) -> Result<Result<usize, graph::Error>, Error> {
    let mut gone = 0;
    let mut exceptions = match event.get_mut("exceptionOccurrences").map(Value::take) {
        Some(Value::Array(exceptions)) => exceptions,
        _ => Vec::new(),
    };
    for one in std::iter::once(&mut *event).chain(&mut exceptions) {
        let id = text(one, "id").to_owned();
        let base = event_path(asked.owner, &id);
        let listed = match attachments(context, &scope(asked.owner), &base, doing).await? {
            Ok(listed) => listed,
            Err(error) if is_gone(&error) && id != asked.item.id => {
                gone += 1;
                continue;
            }
            Err(error) => return Ok(Err(error)),
        };
        parts.extend(listed.iter().map(|one| (id.clone(), text(one, "id").to_owned())));
        one["attachments"] = listed.into();
    }
    if event.get("exceptionOccurrences").is_some() {
        event["exceptionOccurrences"] = exceptions.into();
    }
    Ok(Ok(gone))
}

/// How many of an event and its exceptions say that something is attached to them.
fn with_attachments(event: &Value) -> usize {
    let exceptions = event["exceptionOccurrences"].as_array().into_iter().flatten();
    std::iter::once(event).chain(exceptions).filter(|one| one["hasAttachments"] == true).count()
}

/// An event of a group, whose attachments no application gets (FACTS 1.8).
fn refused(_missing: usize) -> Note {
    let message = "Graph gives attachments of a group's events to no application";
    Note::new(Outcome::Converted, "attachments-refused", message)
}

fn refusal(error: &graph::Error) -> Note {
    let note = match is_gone(error) {
        true => Note::new(Outcome::Skipped, "vanished", "the event was gone when it was read"),
        false => Note::new(Outcome::Failed, "content", "the attachments could not be listed"),
    };
    note.with_code(error)
}

/// Attachments that are not in the file. What else iCalendar has no place for stands in the
/// metadata beside it, so nothing of that is lost.
fn incomplete(missing: usize) -> Note {
    let message = format!("attachments could not be read: {missing}");
    Note::new(Outcome::Converted, "attachments", &message)
}

/// How a file ends that lacks something: with an empty line. By it a file is known as such before
/// the ledger that tells so has come by.
const INCOMPLETE_END: &[u8] = b"END:VCALENDAR\r\n\r\n";

/// Whether the file of an event lacks something that may be had another time.
pub(crate) fn is_incomplete(end: &[u8]) -> bool {
    end.ends_with(INCOMPLETE_END)
}

/// Writes the file; how many attachments could not be had, if any, beside those that `gone`
/// exceptions may have had.
fn convert_series(
    event: &Value,
    parts: &Parts,
    gone: usize,
    out: &mut Maker,
) -> io::Result<Option<usize>> {
    let (out, missing) = (RefCell::new(out), Cell::new(gone));
    let attachment = |of: AttachmentRef<'_>| {
        let (event, id) = (text(of.event, "id"), text(of.attachment, "id"));
        let number = parts.iter().position(|(whose, part)| whose == event && part == id);
        let number = number.ok_or(io::ErrorKind::NotFound)?;
        let Some(part) = out.borrow_mut().part(number)? else {
            missing.set(missing.get() + 1);
            return Err(io::ErrorKind::NotFound.into());
        };
        Ok(Box::new(part) as Box<dyn Read>)
    };
    let series = Series::of(event, None);
    let written = convert::event::write(&series, &mut Shared(&out), attachment);
    written.map_err(|error| match error {
        convert::event::Error::Io(error) => error,
        error => io::Error::other(error),
    })?;
    if missing.get() > 0 {
        out.borrow_mut().write_all(b"\r\n")?;
    }
    Ok(Some(missing.get()).filter(|missing| *missing > 0))
}

/// One maker for who writes and who asks for parts: never both at a time.
struct Shared<'a, 'm>(&'a RefCell<&'m mut Maker>);

impl Write for Shared<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}
