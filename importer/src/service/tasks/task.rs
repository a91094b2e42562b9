//! A task out of the archive, as it is to be made: its properties, steps and links from its JSON,
//! the bytes of its attachments from its file.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::content::{Content, digest};
use crate::error::Error;
use crate::item::Item;
use crate::place::Loss;

/// The properties that a client can set (FACTS 5.5).
const SETTABLE: [&str; 11] = [
    "title",
    "body",
    "importance",
    "status",
    "categories",
    "isReminderOn",
    "reminderDateTime",
    "startDateTime",
    "dueDateTime",
    "completedDateTime",
    "recurrence",
];
/// What is settable of a step and of a link.
const OF_STEP: [&str; 3] = ["displayName", "isChecked", "checkedDateTime"];
const OF_LINK: [&str; 4] = ["applicationName", "displayName", "externalId", "webUrl"];
/// The application that the link is of which marks a task as restored.
const APPLICATION: &str = "tar365";
/// What stands for a title that is empty, which no task may have.
const NO_TITLE: &str = "(no title)";

/// See the module.
pub(super) struct Task {
    /// To POST.
    pub(super) body: Value,
    /// To POST below it, in their order.
    pub(super) steps: Vec<Value>,
    pub(super) links: Vec<Value>,
    pub(super) files: Vec<Attached>,
    /// What could not be taken from the archive as it is.
    pub(super) losses: Vec<Loss>,
}

/// An attachment, its bytes in a temporary file.
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) size: u64,
    content: Content,
}

impl Attached {
    pub(super) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        self.content.open()
    }

    /// The same, to be read elsewhere.
    pub(super) fn again(&self) -> Content {
        self.content.again()
    }
}

impl Task {
    pub(super) fn read(item: &Item, spool_dir: &Path) -> Result<Self, Error> {
        let mut task = Self::of(&item.line.graph);
        task.files = files(item, spool_dir)?;
        if task.files.len() < parts(&item.line.graph, "attachments").count() {
            // The ledger says so, too.
            task.losses.push(Loss::Converted);
        }
        Ok(task)
    }

    /// All but the attachments.
    pub(super) fn of(graph: &Value) -> Self {
        let mut losses = Vec::new();
        let mut body = chosen(graph, &SETTABLE);
        if body.get("title").and_then(Value::as_str).is_none_or(|title| title.trim().is_empty()) {
            body.insert("title".to_owned(), NO_TITLE.into());
            losses.push(Loss::Name);
        }
        tidy_recurrence(&mut body);
        let steps = parts(graph, "checklistItems").map(|step| chosen(step, &OF_STEP).into());
        let links = parts(graph, "linkedResources").filter(|link| mark_of(link).is_none());
        Self {
            body: body.into(),
            steps: steps.collect(),
            links: links.map(|link| chosen(link, &OF_LINK).into()).collect(),
            files: Vec::new(),
            losses,
        }
    }

    /// Whether one request makes all of it.
    pub(super) fn is_simple(&self) -> bool {
        self.steps.is_empty() && self.links.is_empty() && self.files.is_empty()
    }
}

/// A link that says which task one was made of. Other programs show it as they show every link.
pub(super) fn mark_link(mark: &str) -> Value {
    json!({
        "applicationName": APPLICATION,
        "displayName": "Restored by tar365",
        "externalId": mark,
    })
}

/// What a link says of where the task is from, if it is ours.
pub(super) fn mark_of(link: &Value) -> Option<&str> {
    let text = |key: &str| link.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    text("applicationName").filter(|name| *name == APPLICATION).and_then(|_| text("externalId"))
}

/// The rows of what belongs to a task.
pub(super) fn parts<'a>(task: &'a Value, part: &str) -> impl Iterator<Item = &'a Value> {
    task.get(part).and_then(Value::as_array).into_iter().flatten()
}

/// The mark of a task, if it has one.
pub(super) fn marked(task: &Value) -> Option<&str> {
    parts(task, "linkedResources").find_map(mark_of)
}

/// What of an object a client sets, without what is null.
fn chosen(of: &Value, keys: &[&str]) -> Map<String, Value> {
    let given = |key: &&str| {
        let value = of.get(*key).filter(|value| !value.is_null())?;
        Some(((*key).to_owned(), value.clone()))
    };
    keys.iter().filter_map(given).collect()
}

/// An empty zone is none (FACTS 5.4).
fn tidy_recurrence(body: &mut Map<String, Value>) {
    let range = body.get_mut("recurrence").and_then(|recurrence| recurrence.get_mut("range"));
    let Some(range) = range.and_then(Value::as_object_mut) else { return };
    if range.get("recurrenceTimeZone").is_some_and(|zone| zone == "" || zone.is_null()) {
        range.remove("recurrenceTimeZone");
    }
}

/// The attachments in the item's file.
fn files(item: &Item, spool_dir: &Path) -> Result<Vec<Attached>, Error> {
    let mut files = Vec::new();
    attachments(item, |attachment, content| {
        let mut file = tempfile::tempfile_in(spool_dir)?;
        let size = spool(content, &mut file)?;
        files.push(Attached {
            name: name_of(attachment),
            content_type: attachment.content_type.clone(),
            size,
            content: Content::Spooled(Arc::new(file), size),
        });
        Ok(())
    })?;
    Ok(files)
}

/// Name and digest of each, in an order of their own.
pub(super) fn digests(item: &Item) -> Result<Value, Error> {
    let mut all = Vec::new();
    attachments(item, |attachment, mut content| {
        all.push(json!([name_of(attachment), digest(&mut content)?]));
        Ok(())
    })?;
    all.sort_by_key(Value::to_string);
    Ok(all.into())
}

fn name_of(attachment: &convert::task::Attachment) -> String {
    match attachment.name.trim() {
        "" => "attachment".to_owned(),
        name => name.to_owned(),
    }
}

/// Gives the bytes of each attachment to `take`, as they go by.
fn attachments(
    item: &Item,
    take: impl FnMut(&convert::task::Attachment, &mut dyn Read) -> io::Result<()>,
) -> Result<(), Error> {
    let failed = |source| Error::Content { path: item.path.clone(), source };
    if parts(&item.line.graph, "attachments").next().is_none() {
        return Ok(());
    }
    let mut input = item.content.open().map_err(failed)?;
    match convert::task::read(&mut input, take) {
        // Only the end of the file proves its bytes.
        Ok(_) => io::copy(&mut input, &mut io::sink()).map(drop).map_err(failed),
        Err(convert::Error::Io(source) | convert::Error::Attachment { source, .. }) => {
            Err(failed(source))
        }
        Err(error) => Err(failed(io::Error::new(io::ErrorKind::InvalidData, error))),
    }
}

fn spool(content: &mut dyn Read, file: &mut File) -> io::Result<u64> {
    let size = io::copy(content, file)?;
    file.flush()?;
    Ok(size)
}
