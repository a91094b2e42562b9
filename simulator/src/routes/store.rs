//! The write side of drives: folders, names, places, times, deletions (FACTS 5.6). What brings
//! content is in `upload.rs`.

use chrono::{DateTime, Datelike, SubsecRound, Utc};
use http::{Method, StatusCode};
use serde_json::{Map, Value};

use crate::drive::{Conflict, Drive, Facet, Node, Saved, Times, Trouble, Update};
use crate::error::Refusal;
use crate::names;
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::drive::{alias, item_number, version_at};
use crate::routes::item::View;
use crate::routes::{Answer, Asked, upload};
use crate::uploads::Target;

const WRITERS: [&str; 4] =
    ["Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All", "Files.ReadWrite"];

/// A drive that a caller changes.
pub(crate) struct Desk<'a> {
    pub(crate) asked: &'a Asked<'a>,
    pub(crate) person: &'a Person,
    pub(crate) drive: &'a Drive,
    pub(crate) view: View<'a>,
}

/// Whatever is no GET below `/drives/{drive}`.
pub(crate) fn route(asked: &Asked<'_>, person: &Person, drive: &Drive, rest: &[&str]) -> Answer {
    asked.need(&WRITERS, ("accessDenied", "Access denied"))?;
    let desk = Desk { asked, person, drive, view: View::new(asked, person, drive) };
    let (target, rest) = match rest {
        ["root", ":", path, rest @ ..] => (desk.by_path(0, path)?, rest),
        ["root", rest @ ..] => (Target::Item(0), rest),
        ["items", id, ":", path, rest @ ..] => {
            (desk.by_path(desk.alive(item_number(drive, id)?)?.0, path)?, rest)
        }
        ["items", id, rest @ ..] => (Target::Item(desk.alive(item_number(drive, id)?)?.0), rest),
        _ => return Err(Refusal::method_not_allowed()),
    };
    match (&asked.call.method, rest, target) {
        (&Method::PUT, ["content"], target) => upload::content(&desk, target),
        (&Method::POST, ["createUploadSession"], target) => upload::open(&desk, target),
        (_, _, Target::Named { .. }) => Err(Refusal::drive_item_not_found()),
        (method, rest, Target::Item(number)) => desk.item(method, rest, number),
    }
}

pub(crate) fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(400, "invalidRequest", text)
}

/// The annotation or option that says what becomes of a name that is taken.
pub(crate) fn conflict(text: Option<&str>, default: Conflict) -> Result<Conflict, Refusal> {
    let unknown = || invalid("The value of @microsoft.graph.conflictBehavior is invalid.");
    text.map_or(Ok(default), |text| Conflict::named(text).ok_or_else(unknown))
}

pub(crate) const CONFLICT: &str = "@microsoft.graph.conflictBehavior";

/// Members of a `fileSystemInfo`; to the second, as SharePoint keeps them.
pub(crate) fn times(info: Option<&Value>) -> Result<Times, Refusal> {
    let Some(info) = info.filter(|info| !info.is_null()) else {
        return Ok(Times::default());
    };
    let info = info.as_object().ok_or_else(|| invalid("fileSystemInfo is no object."))?;
    let known = ["createdDateTime", "lastModifiedDateTime", "lastAccessedDateTime"];
    members(info, &known)?;
    let time = |name: &str| match info.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let time = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
            // Windows' time begins in 1601.
            let time = time.filter(|time| time.year() >= 1601);
            let time = time.ok_or_else(|| invalid(format!("{name} is no valid date.")))?;
            Ok(Some(time.with_timezone(&Utc).trunc_subsecs(0)))
        }
    };
    Ok(Times { created: time("createdDateTime")?, modified: time("lastModifiedDateTime")? })
}

/// Refuses members that are unknown or cannot be written; annotations of OData pass.
pub(crate) fn members(body: &Map<String, Value>, known: &[&str]) -> Result<(), Refusal> {
    match body.keys().find(|name| !known.contains(&name.as_str()) && !name.starts_with("@odata.")) {
        None => Ok(()),
        Some(name) => Err(invalid(format!("The property '{name}' cannot be set."))
            .with_inner("propertyNotUpdateable")),
    }
}

impl Trouble {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Trouble::Exists => {
                let text = "An item with the same name already exists under the parent.";
                Refusal::new(409, "nameAlreadyExists", text)
            }
            Trouble::Full => Refusal::new(507, "quotaLimitReached", "The quota limit is reached."),
            Trouble::Missing => Refusal::drive_item_not_found(),
            Trouble::Loop => invalid("An item cannot be moved into itself."),
        }
    }
}

impl<'a> Desk<'a> {
    pub(crate) fn alive(&self, number: u32) -> Result<(u32, Node), Refusal> {
        let node = self.drive.node(number).ok_or_else(Refusal::drive_item_not_found)?;
        Ok((number, node))
    }

    /// What a path names: an item, or a name in a folder that must be there.
    fn by_path(&self, base: u32, path: &str) -> Result<Target, Refusal> {
        if let Some(number) = self.drive.below(base, path) {
            return Ok(Target::Item(number));
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.drive.below(base, folder).ok_or_else(Refusal::drive_item_not_found)?;
        if !self.alive(parent)?.1.is_container() {
            return Err(Refusal::drive_item_not_found());
        }
        Ok(Target::Named { parent, name: name.to_owned() })
    }

    /// Refuses names that SharePoint does not take, and paths that are too long for it.
    pub(crate) fn check_name(&self, parent: u32, name: &str) -> Result<(), Refusal> {
        if let Some(fault) = names::fault(name, parent == 0) {
            return Err(invalid(fault));
        }
        let folders: usize =
            self.drive.trail(parent).iter().map(|name| names::characters(name) + 1).sum();
        let site = format!("personal/{}/Documents/", alias(self.person));
        if names::characters(&site) + folders + names::characters(name) > names::LONGEST_PATH {
            return Err(invalid("The path is too long.").with_inner("pathIsTooLong"));
        }
        Ok(())
    }

    /// `If-Match` takes either tag.
    pub(crate) fn check_match(&self, number: u32, node: &Node) -> Result<(), Refusal> {
        let tags = [self.view.etag(number, node), self.view.ctag(number, node)];
        match self.asked.call.header("if-match") {
            Some(tag) if tag != "*" && !tags.iter().any(|own| own == tag) => {
                let text = "The item has changed since it was read.";
                Err(Refusal::new(412, "resourceModified", text).with_inner("entityTagDoesNotMatch"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn body(&self) -> Result<Map<String, Value>, Refusal> {
        match self.asked.call.json() {
            Some(Value::Object(body)) => Ok(body),
            _ => Err(invalid("The request body is no JSON object.")),
        }
    }

    /// An item that was stored, with 201 when it is new.
    pub(crate) fn saved(&self, saved: Saved) -> Answer {
        let (number, node) = self.alive(saved.number)?;
        let mut reply = self.view.reply(number, &node);
        if saved.new {
            reply.status = StatusCode::CREATED;
        }
        Ok(reply)
    }

    fn item(&self, method: &Method, rest: &[&str], number: u32) -> Answer {
        match (method, rest) {
            (&Method::POST, ["children"]) => self.make_folder(number),
            (&Method::PATCH, []) => self.update(number),
            (&Method::PUT, []) => upload::adopt(self, number),
            (&Method::DELETE, []) => self.discard(number, false),
            (&Method::POST, ["permanentDelete"]) => self.discard(number, true),
            (&Method::POST, ["versions", version, "restoreVersion"]) => {
                self.restore_version(number, version)
            }
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    fn make_folder(&self, parent: u32) -> Answer {
        let body = self.body()?;
        members(&body, &["name", "folder", CONFLICT])?;
        let name = body.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| invalid("The name is missing."))?;
        if !body.get("folder").is_some_and(Value::is_object) {
            return Err(invalid("Only folders can be created this way."));
        }
        self.check_name(parent, name)?;
        let conflict = conflict(body.get(CONFLICT).and_then(Value::as_str), Conflict::Fail)?;
        let saved = self.drive.make_folder(parent, name, conflict);
        self.saved(saved.map_err(Trouble::refusal)?)
    }

    fn update(&self, number: u32) -> Answer {
        let (_, node) = self.alive(number)?;
        if node.facet == Facet::Root {
            return Err(invalid("The root cannot be changed."));
        }
        self.check_match(number, &node)?;
        let body = self.body()?;
        members(&body, &["name", "fileSystemInfo", "parentReference", CONFLICT])?;
        let name = match body.get("name") {
            None => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => return Err(invalid("The name is no text.")),
        };
        let parent = body.get("parentReference").map(|to| self.new_parent(to)).transpose()?;
        let in_folder = parent.or(node.parent).unwrap_or_default();
        if name.is_some() || parent.is_some() {
            self.check_name(in_folder, name.as_deref().unwrap_or(&node.name))?;
        }
        let option = self.asked.call.option(CONFLICT);
        let behavior = option.or(body.get(CONFLICT).and_then(Value::as_str));
        let conflict = conflict(behavior, Conflict::Fail)?;
        let update = Update { name, parent, times: times(body.get("fileSystemInfo"))? };
        self.drive.update(number, update, conflict).map_err(Trouble::refusal)?;
        self.saved(Saved { number, new: false })
    }

    /// The folder that a `parentReference` names by its id.
    fn new_parent(&self, reference: &Value) -> Result<u32, Refusal> {
        if reference["driveId"].as_str().is_some_and(|id| id != self.drive.ids.drive) {
            return Err(invalid("Items cannot be moved between drives."));
        }
        let id = reference["id"].as_str().ok_or_else(|| invalid("parentReference has no id."))?;
        Ok(self.alive(item_number(self.drive, id)?)?.0)
    }

    fn discard(&self, number: u32, for_good: bool) -> Answer {
        let (_, node) = self.alive(number)?;
        if node.facet == Facet::Root {
            return Err(invalid("The root cannot be deleted."));
        }
        self.check_match(number, &node)?;
        self.drive.discard(number, for_good);
        Ok(Reply::empty(204))
    }

    fn restore_version(&self, number: u32, version: &str) -> Answer {
        let (_, node) = self.alive(number)?;
        let (at, wanted) = version_at(self.asked, &node, version)?;
        if node.current().is_some_and(|current| current.number == wanted) {
            return Err(invalid("The current version cannot be restored."));
        }
        let blob = node.versions[at].blob.clone();
        self.drive.overwrite(number, blob, Times::default()).map_err(Trouble::refusal)?;
        Ok(Reply::empty(204))
    }
}
