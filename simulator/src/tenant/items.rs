//! How tests look at events, contacts and tasks, and change them behind a client's back.

use bytes::Bytes;
use chrono::{SubsecRound, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{AttachmentInfo, Tenant, attachment_info};
use crate::Error;
use crate::blob::Blob;
use crate::compose::Object;
use crate::mail::{Address, Attached, Attachment};
use crate::shelf::{Day, Kind, Photo, Place, Shelf};

/// An event, a contact or a task as it is now.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemInfo {
    /// The immutable id; tasks have but one.
    pub id: String,
    /// `event`, `contact` or `task`.
    pub kind: &'static str,
    /// The name of the calendar, folder or list it lies in.
    pub folder: String,
    /// What it is made of; what the service computes is not among it.
    pub properties: Value,
    /// Days of a series whose occurrence was cancelled.
    pub cancelled: Vec<String>,
    /// Days of a series whose occurrence was changed.
    pub changed: Vec<String>,
    /// The attachments, in order, without those of single occurrences.
    #[serde(skip)]
    pub attachments: Vec<AttachmentInfo>,
}

const KINDS: [(Kind, &str); 3] =
    [(Kind::Event, "event"), (Kind::Contact, "contact"), (Kind::Task, "task")];

impl Tenant {
    /// Of a user, or of a group.
    fn shelf(&self, user: &str) -> Result<&Shelf, Error> {
        if let Some(group) = self.groups.iter().find(|group| group.id == user) {
            return Ok(&group.shelf);
        }
        self.known(user)?.shelf().ok_or_else(|| Error::unknown("mailbox", user))
    }

    /// The events of all calendars, the contacts of all folders, the tasks of all lists.
    pub fn items(&self, user: &str) -> Result<Vec<ItemInfo>, Error> {
        let shelf = self.shelf(user)?;
        let numbered = KINDS.iter().flat_map(|(kind, name)| {
            shelf.all(*kind).into_iter().map(move |number| (number, *name))
        });
        let info = |(number, kind): (u32, &'static str)| {
            let thing = shelf.thing(number)?;
            let folder = shelf.thing(thing.parent?)?;
            let name = folder.properties.get("name").or(folder.properties.get("displayName"));
            let days = |wanted: fn(&Day) -> bool| {
                let days = thing.days.iter().filter(|(_, day)| wanted(day));
                days.map(|(day, _)| day.to_string()).collect()
            };
            Some(ItemInfo {
                id: shelf.id(number.into(), true),
                kind,
                folder: name.and_then(Value::as_str).unwrap_or_default().to_owned(),
                properties: thing.properties.clone().into(),
                cancelled: days(|day| matches!(day, Day::Cancelled)),
                changed: days(|day| matches!(day, Day::Changed { .. })),
                attachments: thing.attachments.iter().map(attachment_info).collect(),
            })
        };
        Ok(numbered.filter_map(info).collect())
    }

    fn place(&self, shelf: &Shelf, id: &str) -> Result<Place, Error> {
        let kinds = KINDS.iter().map(|(kind, _)| *kind).chain([Kind::Post]);
        let found = kinds.into_iter().find_map(|kind| shelf.find(kind, id).ok());
        found.ok_or_else(|| Error::unknown("item", id))
    }

    /// Deletes an event, one occurrence of a series, a contact or a task.
    pub fn delete_item(&self, user: &str, id: &str) -> Result<(), Error> {
        let shelf = self.shelf(user)?;
        shelf.take_away(self.place(shelf, id)?, Utc::now().trunc_subsecs(6));
        Ok(())
    }

    /// Adds an event, with a file attached if it is to have one, to the first calendar of a user or
    /// group; its id.
    pub fn add_event(
        &self,
        owner: &str,
        event: Value,
        attachment: Option<(&str, &'static [u8])>,
    ) -> Result<String, Error> {
        let shelf = self.shelf(owner)?;
        let calendar = shelf.all(Kind::Calendar).into_iter().next();
        let calendar = calendar.ok_or_else(|| Error::unknown("calendar", owner))?;
        let of = Address { name: owner.to_owned(), address: format!("{owner}@{}", self.domain) };
        let id = format!("{owner} {}", shelf.all(Kind::Event).len());
        let bad = |_| Error::Setting("no event is like this".into());
        let event = crate::calendar::created(crate::compose::object(event), &of, &id);
        // Known before anybody looked: the same in every tenant.
        let when = crate::seed::epoch();
        let number = shelf.put(Kind::Event, Some(calendar), event.map_err(bad)?, when);
        shelf.change(number.into(), when, |thing| {
            thing.attachments.extend(attachment.map(|(name, bytes)| Attachment {
                name: name.into(),
                content_type: "application/octet-stream".into(),
                content_id: None,
                inline: false,
                what: Attached::File(Blob::Stored(Bytes::from_static(bytes))),
            }));
        });
        Ok(shelf.id(number.into(), true))
    }

    /// Adds a task to the list of that `wellknownListName`, with attachments of these names and
    /// bytes; its id.
    pub fn add_task(
        &self,
        user: &str,
        list: &str,
        task: Value,
        attachments: &[(String, Vec<u8>)],
    ) -> Result<String, Error> {
        let shelf = self.shelf(user)?;
        let bad = |_| Error::Setting("no task is like this".into());
        let task = crate::todo::created(crate::compose::object(task)).map_err(bad)?;
        let is_it = |number: &u32| {
            shelf.thing(*number).is_some_and(|of| of.properties["wellknownListName"] == list)
        };
        let list = shelf.all(Kind::TaskList).into_iter().find(is_it);
        let list = list.ok_or_else(|| Error::unknown("list", user))?;
        let now = Utc::now().trunc_subsecs(6);
        let number = shelf.put(Kind::Task, Some(list), task, now);
        shelf.change(number.into(), now, |thing| {
            let all = attachments.iter().map(|(name, bytes)| file(name, bytes));
            thing.attachments.extend(all);
        });
        Ok(shelf.id(number.into(), true))
    }

    /// Attaches a file of these bytes to an event or a task.
    pub fn attach(&self, user: &str, id: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let shelf = self.shelf(user)?;
        let place = self.place(shelf, id)?;
        shelf.change(place, Utc::now().trunc_subsecs(6), |thing| {
            thing.attachments.push(file(name, bytes));
        });
        Ok(())
    }

    /// Gives an event, an occurrence of a series, a contact, a task or a post other properties,
    /// unchecked;
    /// those of a series are those of its master.
    pub fn change_item(&self, user: &str, id: &str, properties: Value) -> Result<(), Error> {
        let Value::Object(properties) = properties else {
            return Err(Error::Setting("properties are a JSON object".into()));
        };
        let shelf = self.shelf(user)?;
        let place = self.place(shelf, id)?;
        let now = Utc::now().trunc_subsecs(6);
        shelf.change(place, now, |thing| {
            let fresh = || Day::Changed {
                properties: Object::new(),
                extended: Vec::new(),
                attachments: Vec::new(),
            };
            match place.day.map(|day| thing.days.entry(day).or_insert_with(fresh)) {
                Some(Day::Changed { properties: own, .. }) => own.extend(properties),
                _ => thing.properties.extend(properties),
            }
        });
        Ok(())
    }

    /// Sets what a mailbox is set to: members of `mailboxSettings`, unchecked.
    pub fn change_settings(&self, user: &str, members: Value) -> Result<(), Error> {
        let Value::Object(members) = members else {
            return Err(Error::Setting("settings are a JSON object".into()));
        };
        let shelf = self.shelf(user)?;
        let mut settings = shelf.settings();
        settings.extend(members);
        shelf.set_settings(settings);
        Ok(())
    }

    /// Gives a mailbox a rule, a category or an override, by the name of its type, unchecked.
    pub fn add_setting(&self, user: &str, of: &str, properties: Value) -> Result<String, Error> {
        let kind = match of {
            "messageRule" => Kind::Rule,
            "outlookCategory" => Kind::Category,
            "inferenceClassificationOverride" => Kind::Override,
            _ => return Err(Error::unknown("kind of setting", of)),
        };
        let Value::Object(properties) = properties else {
            return Err(Error::Setting("properties are a JSON object".into()));
        };
        let shelf = self.shelf(user)?;
        let number = shelf.put(kind, None, properties, Utc::now().trunc_subsecs(6));
        Ok(shelf.id(number.into(), true))
    }

    /// Gives a user another picture, or none.
    pub fn set_photo(&self, user: &str, photo: Option<(&str, &[u8])>) -> Result<(), Error> {
        let photo = photo.map(|(content_type, bytes)| Photo {
            content_type: content_type.to_owned(),
            bytes: bytes.to_vec().into(),
        });
        self.shelf(user)?.set_photo(photo);
        Ok(())
    }
}

fn file(name: &str, bytes: &[u8]) -> Attachment {
    Attachment {
        name: name.to_owned(),
        content_type: "application/octet-stream".into(),
        content_id: None,
        inline: false,
        what: Attached::File(Blob::Stored(Bytes::copy_from_slice(bytes))),
    }
}
