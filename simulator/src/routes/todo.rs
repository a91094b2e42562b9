//! Task lists, tasks and what belongs to them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use crate::calendar::{Zone, stamp};
use crate::compose::{self, Object};
use crate::error::Refusal;
use crate::mail::{Attached, Attachment};
use crate::options::TaskParts;
use crate::page::{Page, Select, escaped};
use crate::reply::Reply;
use crate::routes::things::{Access, Roles, Token, Tracked};
use crate::routes::{Answer, Asked, attachment_upload, calendar_write};
use crate::shelf::{Kind, Number, Place, Thing};
use crate::todo;
use crate::zones;

const ROLES: Roles = Roles { readers: &["Tasks.Read.All"], writers: &["Tasks.ReadWrite.All"] };

/// `/users/{user}/todo/...`
pub(crate) fn route(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let access = Access::of_user(asked, user, &ROLES)?;
    let named = access.prefer.zone.clone().filter(|name| zones::accepted(name).is_some());
    let name = named.unwrap_or_else(|| "UTC".to_owned());
    let desk = Desk { zone: Zone { rules: zones::rules(&name), name }, access };
    match rest {
        ["lists", rest @ ..] => desk.lists(rest),
        [segment, ..] => Err(Refusal::unknown_segment(segment)),
        [] => Ok(desk.access.entity("todo", compose::object(json!({"id": "todo"})))),
    }
}

/// A caller at the tasks of a mailbox.
struct Desk<'a> {
    access: Access<'a>,
    zone: Zone,
}

impl Desk<'_> {
    fn places(&self, kind: Kind, parent: Option<Number>) -> Vec<Place> {
        self.access.shelf.children(kind, parent).into_iter().map(Place::from).collect()
    }

    /// The properties of a thing with its id and tag.
    fn plain(&self, place: Place) -> Option<Object> {
        let thing = self.access.shelf.thing(place.number)?;
        let mut row = thing.properties.clone();
        let tag = format!("W/\"{}\"", self.access.shelf.change_key(place.number, &thing));
        row.insert("@odata.etag".into(), tag.into());
        row.insert("id".into(), self.access.id_of(place).into());
        Some(row)
    }

    fn lists(&self, rest: &[&str]) -> Answer {
        let access = &self.access;
        match (access.method(), rest) {
            (&Method::GET, []) => {
                let select = access.select();
                let places = self.places(Kind::TaskList, None);
                let shown = |_, row| access.cut(row, &select, &[]);
                access.list("todo/lists", places, 100, |place| self.plain(place), shown)
            }
            (&Method::POST, []) => {
                let body = self.list_body()?;
                let list = json!({"displayName": body["displayName"], "isOwner": true, "isShared": false, "wellknownListName": "none"});
                let list = compose::object(list);
                let number = access.shelf.put(Kind::TaskList, None, list, access.now());
                let row = self.plain(number.into()).ok_or_else(Refusal::item_not_found)?;
                Ok(access.made("todo/lists", row))
            }
            (&Method::GET, ["delta"]) => self.lists_delta(),
            (_, [list, rest @ ..]) => {
                let list = access.find(Kind::TaskList, list)?;
                match rest {
                    [] => self.list(list),
                    ["tasks", rest @ ..] => self.tasks(list.number, rest),
                    [segment, ..] => Err(Refusal::unknown_segment(segment)),
                }
            }
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    fn list_body(&self) -> Result<Object, Refusal> {
        let body = compose::body(self.access.asked.call)?;
        compose::conforms("todoTaskList", &body)?;
        match body.get("displayName").and_then(Value::as_str).is_some_and(|name| !name.is_empty()) {
            true => Ok(body),
            false => Err(Refusal::new(400, "invalidRequest", "Required parameter: displayName")),
        }
    }

    fn list(&self, list: Place) -> Answer {
        let access = &self.access;
        let thing = access.shelf.thing(list.number).ok_or_else(Refusal::item_not_found)?;
        let fixed = thing.properties["wellknownListName"] != "none";
        match *access.method() {
            Method::GET => {}
            Method::PATCH | Method::DELETE if fixed => {
                return Err(Refusal::new(
                    400,
                    "invalidRequest",
                    "Invalid request: this list is built in.",
                ));
            }
            Method::PATCH => {
                let mut body = self.list_body()?;
                body.retain(|name, _| name == "displayName");
                access.shelf.change(list, access.now(), |thing| thing.properties.extend(body));
            }
            Method::DELETE => {
                access.shelf.remove(list.number, access.now());
                return Ok(Reply::empty(204));
            }
            _ => return Err(Refusal::method_not_allowed()),
        }
        let row = self.plain(list).ok_or_else(Refusal::item_not_found)?;
        Ok(access.entity("todo/lists", access.cut(row, &access.select(), &[])))
    }

    fn lists_delta(&self) -> Answer {
        let access = &self.access;
        let all = |_: &Token| self.places(Kind::TaskList, None);
        let touched = |_: &Token, place| access.itself(Kind::TaskList, None, place);
        let row =
            |_: &Token, place, select: &Select| Some(access.cut(self.plain(place)?, select, &[]));
        access.delta(&Tracked {
            path: "todo/lists".into(),
            of: "todoTaskList",
            usual_size: 100,
            window: None,
            all: &all,
            touched: &touched,
            row: &row,
        })
    }

    fn whole(&self, place: Place) -> Option<Object> {
        let thing = self.access.shelf.thing(place.number)?;
        let mut row = todo::row(&thing, &self.zone);
        let tag = format!("W/\"{}\"", self.access.shelf.change_key(place.number, &thing));
        row.insert("@odata.etag".into(), tag.into());
        row.insert("id".into(), self.access.id_of(place).into());
        Some(row)
    }

    /// A task with what belongs to it, as far as that is asked for and given.
    fn shown(
        &self,
        place: Place,
        row: Object,
        select: &Select,
        expands: impl Fn(&str) -> bool,
    ) -> Object {
        let mut row = self.access.cut(row, select, &[]);
        let given = self.access.asked.world.options.task_parts == TaskParts::Given;
        let expands = |name: &str| given && expands(name);
        for (name, kind) in BELONGINGS {
            if expands(name) {
                let all = self.places(kind, Some(place.number));
                row.insert(
                    name.into(),
                    all.into_iter()
                        .filter_map(|item| self.belonging(kind, item))
                        .map(Value::from)
                        .collect(),
                );
            }
        }
        if expands("attachments") {
            let thing = self.access.shelf.thing(place.number);
            let rows = thing.map(|thing| self.attachments(place, &thing, false));
            row.insert("attachments".into(), rows.unwrap_or_default().into());
        }
        row
    }

    fn tasks(&self, list: Number, rest: &[&str]) -> Answer {
        let access = &self.access;
        let path = format!("todo/lists('{}')/tasks", escaped(&access.id_of(list.into())));
        if access.asked.world.options.task_parts == TaskParts::Refused
            && access.asked.call.option("expand").is_some()
        {
            return Err(Refusal::new(400, "invalidRequest", "Invalid request: $expand"));
        }
        match (access.method(), rest) {
            (&Method::GET, []) => {
                let select = access.select();
                let shown =
                    |place, row| self.shown(place, row, &select, |name| access.expands(name));
                access.list(
                    &path,
                    self.places(Kind::Task, Some(list)),
                    100,
                    |place| self.whole(place),
                    shown,
                )
            }
            (&Method::POST, []) => self.create(list, &path),
            (&Method::GET, ["delta"]) => {
                let all = |_: &Token| self.places(Kind::Task, Some(list));
                let touched = |_: &Token, place| access.itself(Kind::Task, Some(list), place);
                let row = |token: &Token, place, select: &Select| {
                    let expands = |name: &str| token.expands(name);
                    Some(self.shown(place, self.whole(place)?, select, expands))
                };
                access.delta(&Tracked {
                    path,
                    of: "todoTask",
                    usual_size: 100,
                    window: None,
                    all: &all,
                    touched: &touched,
                    row: &row,
                })
            }
            (_, [task, rest @ ..]) => {
                self.task(access.find_in(Kind::Task, list, task)?, &path, rest)
            }
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    fn create(&self, list: Number, path: &str) -> Answer {
        let access = &self.access;
        let mut body = compose::body(access.asked.call)?;
        let owner = access.shelf.thing(list).ok_or_else(Refusal::item_not_found)?;
        if owner.properties["wellknownListName"] == "flaggedEmails" {
            return Err(Refusal::new(
                400,
                "invalidRequest",
                "Invalid request: this list takes no tasks.",
            ));
        }
        if body.get("title").and_then(Value::as_str).is_none() {
            return Err(Refusal::new(400, "invalidRequest", "Required parameter: title"));
        }
        compose::conforms("todoTask", &body)?;
        let belongings = BELONGINGS.map(|(name, kind)| (kind, body.remove(name)));
        let task = todo::created(body)?;
        let number = access.shelf.put(Kind::Task, Some(list), task, access.now());
        for (kind, given) in belongings {
            for item in given.as_ref().and_then(Value::as_array).into_iter().flatten() {
                let item = item.as_object().cloned().unwrap_or_default();
                access.shelf.put(kind, Some(number), item, access.now());
            }
        }
        let row = self.whole(number.into()).ok_or_else(Refusal::item_not_found)?;
        Ok(access.made(path, row))
    }

    /// One task and what is below it.
    fn task(&self, place: Place, path: &str, rest: &[&str]) -> Answer {
        let access = &self.access;
        let thing = access.shelf.thing(place.number).ok_or_else(Refusal::item_not_found)?;
        match (access.method(), rest) {
            (&Method::GET, []) => access.weather(place)?,
            (&Method::PATCH, []) => {
                let task = todo::changed(&thing.properties, compose::body(access.asked.call)?)?;
                access.shelf.change(place, access.now(), |thing| thing.properties = task);
            }
            (&Method::DELETE, []) => {
                access.shelf.remove(place.number, access.now());
                return Ok(Reply::empty(204));
            }
            (_, ["attachments", rest @ ..]) => return self.attached(place, &thing, path, rest),
            (&Method::PUT, ["attachmentSessions", session, below @ ..])
                if below.is_empty() == access.asked.world.options.bare_task_sessions
                    && matches!(below, [] | ["content"]) =>
            {
                return attachment_upload::part_of_task(access.asked, place, session);
            }
            (_, [name, rest @ ..]) => {
                let known = BELONGINGS.into_iter().find(|(known, _)| known == name);
                let (name, kind) = known.ok_or_else(|| Refusal::unknown_segment(name))?;
                return self.belongings(place, &format!("{path}/{name}"), kind, rest);
            }
            _ => return Err(Refusal::method_not_allowed()),
        }
        let row = self.whole(place).ok_or_else(Refusal::item_not_found)?;
        let expands = |name: &str| access.expands(name);
        Ok(access.entity(path, self.shown(place, row, &access.select(), expands)))
    }

    fn belonging(&self, kind: Kind, place: Place) -> Option<Object> {
        let thing = self.access.shelf.thing(place.number)?;
        let mut row = self.plain(place)?;
        row.remove("@odata.etag");
        if kind == Kind::ChecklistItem {
            row.entry("isChecked").or_insert(false.into());
            row.insert("createdDateTime".into(), stamp(thing.created));
        }
        Some(row)
    }

    /// Checklist items or linked resources of a task.
    fn belongings(&self, task: Place, path: &str, kind: Kind, rest: &[&str]) -> Answer {
        let access = &self.access;
        let read = || {
            let of = if kind == Kind::ChecklistItem { "checklistItem" } else { "linkedResource" };
            let mut body = compose::body(access.asked.call)?;
            compose::conforms(of, &body)?;
            body.retain(|name, _| {
                !matches!(name.as_str(), "id" | "createdDateTime") && !name.contains('@')
            });
            let checked = body.get("isChecked") == Some(&Value::Bool(true));
            if checked && !body.contains_key("checkedDateTime") {
                body.insert("checkedDateTime".into(), stamp(access.now()));
            }
            Ok::<_, Refusal>(body)
        };
        let shown = |place| self.belonging(kind, place).ok_or_else(Refusal::item_not_found);
        let touch = || access.shelf.change(task, access.now(), |_| {});
        match (access.method(), rest) {
            (&Method::GET, []) => {
                let select = access.select();
                let places = self.places(kind, Some(task.number));
                access.list(
                    path,
                    places,
                    100,
                    |place| self.belonging(kind, place),
                    |_, row| access.cut(row, &select, &[]),
                )
            }
            (&Method::POST, []) => {
                let number = access.shelf.put(kind, Some(task.number), read()?, access.now());
                touch();
                Ok(access.made(path, shown(number.into())?))
            }
            (method, [id]) => {
                let place = access.find_in(kind, task.number, id)?;
                match *method {
                    Method::GET => {}
                    Method::PATCH => {
                        let body = read()?;
                        access
                            .shelf
                            .change(place, access.now(), |thing| thing.properties.extend(body));
                        touch();
                    }
                    Method::DELETE => {
                        access.shelf.remove(place.number, access.now());
                        touch();
                        return Ok(Reply::empty(204));
                    }
                    _ => return Err(Refusal::method_not_allowed()),
                }
                Ok(access.entity(path, shown(place)?))
            }
            (_, [_, segment, ..]) => Err(Refusal::unknown_segment(segment)),
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    fn attachments(&self, task: Place, thing: &Thing, content: bool) -> Vec<Value> {
        let all = thing.attachments.iter().enumerate();
        all.map(|(number, one)| self.attachment(task, thing, (number, one), content).into())
            .collect()
    }

    fn attachment(
        &self,
        task: Place,
        thing: &Thing,
        (number, attachment): (usize, &Attachment),
        content: bool,
    ) -> Object {
        let Attached::File(blob) = &attachment.what else {
            return Object::new();
        };
        let mut row = compose::object(json!({
            "@odata.type": "#microsoft.graph.taskFileAttachment",
            "@odata.mediaContentType": attachment.content_type,
            "id": self.access.shelf.ids.attachment(&self.access.id_of(task), number),
            "lastModifiedDateTime": stamp(thing.modified),
            "name": attachment.name,
            "contentType": attachment.content_type,
            "size": blob.len(),
        }));
        if content {
            row.insert("contentBytes".into(), STANDARD.encode(blob.bytes()).into());
        }
        row
    }

    fn attached(&self, task: Place, thing: &Thing, path: &str, rest: &[&str]) -> Answer {
        let access = &self.access;
        if *access.method() == Method::GET {
            access.weather(task)?;
        }
        let id = access.id_of(task);
        let below = format!("{path}('{}')/attachments", escaped(&id));
        match (access.method(), rest) {
            (&Method::GET, []) => {
                let context = format!("{}/{below}", access.root);
                let rows = self.attachments(task, thing, false);
                Ok(Page { context, rows, ..Page::default() }
                    .reply(access.asked.world, access.asked.call))
            }
            (&Method::POST, []) => self.attach(task, &below),
            (&Method::POST, ["createUploadSession"]) => {
                let body = compose::body(access.asked.call)?;
                let info = body.get("attachmentInfo").and_then(Value::as_object);
                let info = info.ok_or_else(|| {
                    Refusal::new(400, "invalidRequest", "Required parameter: attachmentInfo")
                })?;
                compose::conforms("attachmentInfo", info)?;
                let path = access.asked.call.below_version().trim_start_matches('/');
                let path = path.trim_end_matches("/attachments/createUploadSession");
                attachment_upload::open_for_task(access.asked, &access.id, task, path, info)
            }
            (method, [wanted, rest @ ..]) => {
                let find = |number: &usize| access.shelf.ids.attachment(&id, *number) == *wanted;
                let number =
                    (0..thing.attachments.len()).find(find).ok_or_else(Refusal::item_not_found)?;
                let attachment = &thing.attachments[number];
                match (method, rest, &attachment.what) {
                    (&Method::GET, [], _) => {
                        let row = self.attachment(task, thing, (number, attachment), true);
                        Ok(access.entity(&below, row))
                    }
                    (&Method::GET, ["$value"], Attached::File(blob)) => {
                        let reply = Reply::blob(200, blob.clone(), 0..blob.len());
                        Ok(reply.with("content-type", &attachment.content_type))
                    }
                    _ => Err(Refusal::method_not_allowed()),
                }
            }
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    fn attach(&self, task: Place, path: &str) -> Answer {
        let access = &self.access;
        let mut body = compose::body(access.asked.call)?;
        compose::conforms("attachmentBase", &body)?;
        if body.get("@odata.type") != Some(&json!("#microsoft.graph.taskFileAttachment")) {
            return Err(Refusal::new(400, "invalidRequest", "Required parameter: @odata.type"));
        }
        body.insert("@odata.type".into(), "#microsoft.graph.fileAttachment".into());
        let attachment = compose::attachment(&access.asked.world.spool, body.into())?;
        let number = calendar_write::add(&access.asked.world.tenant, &access.id, task, attachment)?;
        let thing = access.shelf.thing(task.number).ok_or_else(Refusal::item_not_found)?;
        let row = self.attachment(task, &thing, (number, &thing.attachments[number]), false);
        Ok(access.made(path, row))
    }
}

/// What tasks have beside properties and attachments.
const BELONGINGS: [(&str, Kind); 2] =
    [("checklistItems", Kind::ChecklistItem), ("linkedResources", Kind::LinkedResource)];
