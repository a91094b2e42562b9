//! Folders made, renamed, moved and deleted by clients.

use http::{Method, StatusCode};
use serde_json::Value;

use crate::compose;
use crate::error::Refusal;
use crate::mailbox::{FolderTrouble, Mailbox};
use crate::page::escaped;
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::{Answer, Asked, folders, mail, mail_write};
use crate::seed::folders::ROOT;

/// Whatever is not a GET below `mailFolders`.
pub(crate) fn route(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    rest: &[&str],
) -> Answer {
    let known = |name: &str| folders::known(mailbox, name);
    match (&asked.call.method, rest) {
        (&Method::POST, []) => create(asked, person, mailbox, ROOT),
        (&Method::POST, [parent, "childFolders"]) => create(asked, person, mailbox, known(parent)?),
        (&Method::PATCH, [folder]) => rename(asked, person, mailbox, known(folder)?),
        (&Method::DELETE, [folder]) => delete(asked, mailbox, known(folder)?, false),
        (&Method::POST, [folder, "permanentDelete"]) => {
            delete(asked, mailbox, known(folder)?, true)
        }
        (&Method::POST, [folder, "move"]) => {
            mail_write::need_write(asked)?;
            let (folder, to) = (known(folder)?, mail_write::destination(asked, mailbox)?);
            mailbox.change_folder(folder, Some(to), None).map_err(|why| refused(&why))?;
            Ok(shown(asked, person, mailbox, folder, StatusCode::CREATED))
        }
        (_, [folder, "messages"]) => {
            mail_write::create(asked, person, mailbox, Some(known(folder)?))
        }
        (_, [folder, "messages", message, more @ ..]) => {
            mail::inside(asked, person, mailbox, Some(known(folder)?), message, more)
        }
        (_, [_, "childFolders", direct @ ..]) if !direct.is_empty() => {
            route(asked, person, mailbox, direct)
        }
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn refused(why: &FolderTrouble) -> Refusal {
    match why {
        FolderTrouble::Exists => Refusal::new(
            409,
            "ErrorFolderExists",
            "A folder with the specified name already exists., Could not create folder.",
        ),
        FolderTrouble::WellKnown => Refusal::new(
            400,
            "ErrorDeleteDistinguishedFolder",
            "Distinguished folders cannot be deleted, moved or renamed.",
        ),
        FolderTrouble::Circle => {
            Refusal::new(400, "ErrorMoveCopyFailed", "A folder cannot be moved into itself.")
        }
    }
}

fn name_of(body: &compose::Object) -> Result<&str, Refusal> {
    let name = body.get("displayName").and_then(Value::as_str).map(str::trim);
    name.filter(|name| !name.is_empty()).ok_or_else(|| {
        let text = "Required property 'DisplayName' is missing or empty.";
        Refusal::new(400, "ErrorInvalidParameter", text)
    })
}

fn create(asked: &Asked<'_>, person: &Person, mailbox: &Mailbox, parent: u32) -> Answer {
    mail_write::need_write(asked)?;
    let body = compose::body(asked.call)?;
    compose::conforms("mailFolder", &body)?;
    let hidden = body.get("isHidden") == Some(&Value::Bool(true));
    let made = mailbox.create_folder(parent, name_of(&body)?, hidden);
    let folder = made.map_err(|why| refused(&why))?;
    Ok(shown(asked, person, mailbox, folder, StatusCode::CREATED))
}

fn rename(asked: &Asked<'_>, person: &Person, mailbox: &Mailbox, folder: u32) -> Answer {
    mail_write::need_write(asked)?;
    let body = compose::body(asked.call)?;
    compose::conforms("mailFolder", &body)?;
    let name = name_of(&body)?;
    mailbox.change_folder(folder, None, Some(name)).map_err(|why| refused(&why))?;
    Ok(shown(asked, person, mailbox, folder, StatusCode::OK))
}

/// A deleted folder goes to Deleted Items with all that is in it; from there, for good.
fn delete(asked: &Asked<'_>, mailbox: &Mailbox, folder: u32, for_good: bool) -> Answer {
    mail_write::need_write(asked)?;
    if mailbox.folders()[folder as usize].well_known.is_some() {
        return Err(refused(&FolderTrouble::WellKnown));
    }
    let bin = folders::known(mailbox, "deleteditems")?;
    let gone = for_good
        || mailbox.is_within(folder, bin)
        || mailbox.change_folder(folder, Some(bin), None).is_err();
    if gone {
        mailbox.delete_folder(folder);
    }
    Ok(Reply::empty(204))
}

fn shown(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    folder: u32,
    status: StatusCode,
) -> Reply {
    let context = format!("users('{}')/mailFolders/$entity", escaped(&person.id));
    let mut reply = folders::entity(asked, &context, folders::row(mailbox, folder));
    reply.status = status;
    reply
}
