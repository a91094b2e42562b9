//! The file of a task: made of its JSON, with the attachments in it.

use std::cell::RefCell;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use archive::Outcome;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use graph::{Prefer, segment};
use serde_json::Value;

use super::{lists_of, scope};
use crate::Error;
use crate::context::Context;
use crate::error::is_gone;
use crate::make::{Maker, make};
use crate::service::{Asked, Fetched, INCOMPLETE, Note};
use crate::spool::Spooled;

/// Makes the file, and asks for each attachment when its turn in the file has come.
pub(super) async fn fetch(context: &Context, asked: Asked<'_>) -> Result<Fetched, Error> {
    let mut task: Value = serde_json::from_str(&asked.item.json)
        .map_err(|_| Error::Internal("the inventory gave back bad JSON"))?;
    let path = path(&asked, &task);
    let attachments = attachments(&path, &task);
    // Which list it is in is no property of a task, and stands in its path.
    task.as_object_mut().map(|task| task.remove("parentFolderId"));
    let missing = Mutex::new(None);
    let (paths, asked_for, lacking) = (&attachments, &asked, &missing);
    let part = |number: usize| async move {
        let Some(path) = paths.get(number) else { return Ok(None) };
        Ok(match attachment(context, asked_for, path).await? {
            Ok(content) => Some(content),
            Err(error) => {
                lacking.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                None
            }
        })
    };
    let made = make(context, asked.turn, move |maker| convert(&task, maker), part).await?;
    Ok(match made {
        Ok((content, ())) => {
            let missing = missing.into_inner().unwrap_or_else(PoisonError::into_inner);
            if missing.as_ref().is_some_and(is_gone) && is_vanished(context, &asked, &path).await? {
                let message = "the task was gone when its attachments were read";
                return Ok(Fetched::Without(Note::new(Outcome::Skipped, "vanished", message)));
            }
            let note = missing.map(|error| {
                let message = "not all attachments of the task could be read";
                Note::new(Outcome::Converted, INCOMPLETE, message).with_code(&error)
            });
            Fetched::Whole(content, note)
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let message = "the task is not as documented; its metadata has all of it";
            Fetched::Without(Note::new(Outcome::Failed, "content", message))
        }
        Err(source) => return Err(context.spool_error(source)),
    })
}

fn path(asked: &Asked<'_>, task: &Value) -> String {
    let list = task.get("parentFolderId").and_then(Value::as_str).unwrap_or_default();
    format!("{}/{}/tasks/{}", lists_of(asked.owner), segment(list), segment(&asked.item.id))
}

/// The paths of a task's attachments, in their order.
fn attachments(task_path: &str, task: &Value) -> Vec<String> {
    let id = |of: &Value| segment(of.get("id").and_then(Value::as_str).unwrap_or_default());
    let all = task.get("attachments").and_then(Value::as_array).into_iter().flatten();
    all.map(|attachment| format!("{task_path}/attachments/{}", id(attachment))).collect()
}

/// Whether not only an attachment is gone, but the whole task.
async fn is_vanished(context: &Context, asked: &Asked<'_>, path: &str) -> Result<bool, Error> {
    let doing = format!("reading {}", asked.item.path);
    context.is_missing(&scope(asked.owner), path, &doing).await
}

/// The bytes of one, as they are or out of its JSON (FACTS 3.8). The inner error is the item's.
async fn attachment(
    context: &Context,
    asked: &Asked<'_>,
    path: &str,
) -> Result<Result<Spooled, graph::Error>, Error> {
    let (scope, doing) = (scope(asked.owner), format!("reading {}", asked.item.path));
    let value = format!("{path}/$value");
    let error = match context.spool_value(&scope, &value, asked.turn, &doing).await? {
        Ok(content) => return Ok(Ok(content)),
        Err(error) => error,
    };
    let json = match context.ask(&scope, path, Prefer::none(), &doing).await? {
        Ok(json) => json,
        Err(error) => return Ok(Err(error)),
    };
    let bytes = json.get("contentBytes").and_then(Value::as_str);
    match bytes.and_then(|bytes| STANDARD.decode(bytes).ok()) {
        Some(bytes) => {
            let mut draft = context.spool.draft(asked.turn);
            context.write(&mut draft, &bytes).await?;
            context.finish(draft).map(Ok)
        }
        None => Ok(Err(error)),
    }
}

/// On a thread of its own. `InvalidData` if the task is not as documented.
fn convert(task: &Value, maker: &mut Maker) -> io::Result<()> {
    let mut number = 0;
    // The converter writes and asks for parts in turn, never both at a time.
    let maker = RefCell::new(maker);
    let mut out = Out(&maker);
    let part = |_: &Value| {
        let part = maker.borrow_mut().part(number)?;
        number += 1;
        let part = part.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Box::new(part) as Box<dyn Read>)
    };
    match convert::task::write(task, &mut out, part) {
        // What its file does not hold stands in the metadata (doc/tasks.md).
        Ok(_losses) => Ok(()),
        Err(convert::Error::Io(error) | convert::Error::Attachment { source: error, .. }) => {
            Err(error)
        }
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

/// Where a converter writes that asks for parts as well.
struct Out<'a, 'm>(&'a RefCell<&'m mut Maker>);

impl io::Write for Out<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}
