//! The file of an event or series, with its attachments.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::sync::Arc;

use archive::Outcome;
use convert::event::{AttachmentRef, Series};
use graph::segment;
use serde_json::Value;

use super::listing::is_gone;
use super::{event_path, scope, text};
use crate::Error;
use crate::attached::attachments;
use crate::context::Context;
use crate::make::{Maker, make};
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
    if let Err(error) = list_attachments(context, asked, &mut event, &mut parts, &doing).await? {
        return Ok(Fetched::Without(refusal(&error)));
    }
    let paths: Vec<String> = parts
        .iter()
        .map(|(event, id)| format!("{}/attachments/{}/$value", event_path(owner, event), segment(id)))
        .collect();
    let parts = Arc::new(parts);
    let convert = {
        let parts = Arc::clone(&parts);
        move |out: &mut Maker| convert_series(&event, &parts, out)
    };
    let part = async |number: usize| {
        let Some(path) = paths.get(number) else { return Ok(None) };
        // What can't be had is a loss, told with the others.
        context.spool_value(&scope, path, turn, &doing).await.map(Result::ok)
    };
    match make(context, turn, convert, part).await? {
        Ok((content, lost)) => Ok(Fetched::Whole(content, lost.map(incomplete))),
        Err(_) => {
            let message = "the event lacks what an iCalendar file can't be without";
            Ok(Fetched::Without(Note::new(Outcome::Failed, "content", message)))
        }
    }
}

/// Lists the attachments of the event and of each exception into its JSON. That there are some is
/// not said where the body alone shows them (FACTS 3.5), so all are asked about.
async fn list_attachments(
    context: &Context,
    asked: Asked<'_>,
    event: &mut Value,
    parts: &mut Parts,
    doing: &str,
) -> Result<Result<(), graph::Error>, Error> {
    let mut exceptions = match event.get_mut("exceptionOccurrences").map(Value::take) {
        Some(Value::Array(exceptions)) => exceptions,
        _ => Vec::new(),
    };
    for one in std::iter::once(&mut *event).chain(&mut exceptions) {
        let id = text(one, "id").to_owned();
        let base = event_path(asked.owner, &id);
        let listed = match attachments(context, &scope(asked.owner), &base, doing).await? {
            Ok(listed) => listed,
            Err(error) => return Ok(Err(error)),
        };
        parts.extend(listed.iter().map(|one| (id.clone(), text(one, "id").to_owned())));
        one["attachments"] = listed.into();
    }
    if event.get("exceptionOccurrences").is_some() {
        event["exceptionOccurrences"] = exceptions.into();
    }
    Ok(Ok(()))
}

fn refusal(error: &graph::Error) -> Note {
    let note = match is_gone(error) {
        true => Note::new(Outcome::Skipped, "vanished", "the event was gone when it was read"),
        false => Note::new(Outcome::Failed, "content", "the attachments could not be listed"),
    };
    note.with_code(error)
}

/// What of the attachments is not in the file. What else iCalendar has no place for stands in the
/// metadata beside it, so nothing of that is lost.
fn incomplete(lost: String) -> Note {
    Note::new(Outcome::Converted, "attachments", &format!("not all attachments are there: {lost}"))
}

/// Writes the file; what of the attachments is not in it.
fn convert_series(event: &Value, parts: &Parts, out: &mut Maker) -> io::Result<Option<String>> {
    let out = RefCell::new(out);
    let attachment = |of: AttachmentRef<'_>| {
        let (event, id) = (text(of.event, "id"), text(of.attachment, "id"));
        let number = parts.iter().position(|(whose, part)| whose == event && part == id);
        let number = number.ok_or(io::ErrorKind::NotFound)?;
        let part = out.borrow_mut().part(number)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(part) as Box<dyn Read>)
    };
    let series = Series::of(event, None);
    let losses = convert::event::write(&series, &mut Shared(&out), attachment);
    let losses = losses.map_err(|error| match error {
        convert::event::Error::Io(error) => error,
        error => io::Error::other(error),
    })?;
    let lost = losses.iter().filter(|loss| loss.property == "attachments");
    let lost: Vec<String> = lost.map(|loss| format!("{} ({})", loss.why, loss.count)).collect();
    Ok(Some(lost.join("; ")).filter(|lost| !lost.is_empty()))
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
