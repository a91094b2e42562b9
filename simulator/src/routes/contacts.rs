//! Contact folders, contacts and their pictures.

use http::Method;
use serde_json::{Value, json};

use crate::calendar::stamp;
use crate::compose::{self, Object};
use crate::contacts;
use crate::error::Refusal;
use crate::options::ContactProperties;
use crate::page::{Select, escaped};
use crate::reply::Reply;
use crate::routes::things::{Access, Roles, Token, Tracked};
use crate::routes::{Answer, Asked, settings};
use crate::shelf::{self, Kind, Number, Place};

const ROLES: Roles = Roles { readers: &["Contacts.Read"], writers: &["Contacts.ReadWrite"] };

/// `/users/{user}/contacts...` and `/contactFolders...`
pub(crate) fn route(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let access = Access::of_user(asked, user, &ROLES)?;
    let expands = access.asked.call.option("expand").is_some();
    if expands && asked.world.options.contact_properties == ContactProperties::Refused {
        return Err(Refusal::bad_request("Parsing OData Select and Expand failed."));
    }
    let default = access.shelf.all(Kind::ContactFolder).into_iter().next();
    let desk = Desk { default: default.ok_or_else(Refusal::item_not_found)?, access };
    match rest {
        ["contacts", rest @ ..] => desk.contacts(desk.default, rest),
        ["contactFolders", rest @ ..] => desk.folders(None, rest),
        _ => Err(Refusal::bad_request("The request URI is not valid.")),
    }
}

/// A caller at the contacts of a mailbox.
struct Desk<'a> {
    access: Access<'a>,
    /// The folder that no list of folders shows.
    default: Number,
}

impl Desk<'_> {
    fn folder_of(&self, id: &str) -> Result<Number, Refusal> {
        match id.eq_ignore_ascii_case("contacts") {
            true => Ok(self.default),
            false => Ok(self.access.find(Kind::ContactFolder, id)?.number),
        }
    }

    fn folder_row(&self, place: Place) -> Option<Object> {
        let thing = self.access.shelf.thing(place.number)?;
        let mut row = thing.properties.clone();
        // The default folder lies in the root of the mailbox, which is none of this shelf.
        let parent = thing.parent.map_or_else(
            || self.access.shelf.ids.folder(u32::MAX / 2),
            |parent| self.access.id_of(parent.into()),
        );
        row.insert("id".into(), self.access.id_of(place).into());
        row.insert("parentFolderId".into(), parent.into());
        Some(row)
    }

    /// `contactFolders` or, of a parent, `childFolders`, and what is below.
    fn folders(&self, parent: Option<Number>, rest: &[&str]) -> Answer {
        let inside = parent.unwrap_or(self.default);
        match (self.access.method(), rest) {
            (&Method::GET, []) => {
                let all = self.access.shelf.children(Kind::ContactFolder, Some(inside));
                let places = all.into_iter().map(Place::from).collect();
                let select = self.access.select();
                let shown = |_, row| self.access.cut(row, &select, &[]);
                self.access.list(
                    "contactFolders",
                    places,
                    10,
                    |place| self.folder_row(place),
                    shown,
                )
            }
            (&Method::POST, []) => self.make_folder(inside),
            (&Method::GET, ["delta"]) if parent.is_none() => self.folders_delta(),
            (_, [folder, rest @ ..]) => {
                let folder = self.folder_of(folder)?;
                match rest {
                    [] => self.folder(folder),
                    ["childFolders", rest @ ..] => self.folders(Some(folder), rest),
                    ["contacts", rest @ ..] => self.contacts(folder, rest),
                    [segment, ..] => Err(Refusal::unknown_segment(segment)),
                }
            }
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    fn folder(&self, folder: Number) -> Answer {
        let access = &self.access;
        match *access.method() {
            Method::GET => {}
            Method::PATCH => {
                let mut body = compose::body(access.asked.call)?;
                compose::conforms("contactFolder", &body)?;
                body.retain(|name, _| name == "displayName");
                access
                    .shelf
                    .change(folder.into(), access.now(), |thing| thing.properties.extend(body));
            }
            Method::DELETE if folder != self.default => {
                access.shelf.remove(folder, access.now());
                return Ok(Reply::empty(204));
            }
            Method::DELETE => {
                let text = "Distinguished folders cannot be deleted.";
                return Err(Refusal::new(400, "ErrorDeleteDistinguishedFolder", text));
            }
            _ => return Err(Refusal::method_not_allowed()),
        }
        let row = self.folder_row(folder.into()).ok_or_else(Refusal::item_not_found)?;
        Ok(access.entity("contactFolders", access.cut(row, &access.select(), &[])))
    }

    fn make_folder(&self, parent: Number) -> Answer {
        let access = &self.access;
        let body = compose::body(access.asked.call)?;
        compose::conforms("contactFolder", &body)?;
        compose::extended_properties(&body)?;
        let name = body.get("displayName").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() {
            let text = "Required property 'displayName' is missing.";
            return Err(Refusal::new(400, "ErrorRequiredPropertyMissing", text));
        }
        let siblings = access.shelf.children(Kind::ContactFolder, Some(parent));
        let same = |number: &Number| {
            let thing = access.shelf.thing(*number);
            thing.is_some_and(|thing| {
                thing.properties["displayName"]
                    .as_str()
                    .is_some_and(|other| other.to_lowercase() == name.to_lowercase())
            })
        };
        if siblings.iter().any(same) {
            let text = "A folder with the specified name already exists., Could not create folder.";
            return Err(Refusal::new(409, "ErrorFolderExists", text));
        }
        let mut folder = body;
        folder.retain(|name, _| {
            matches!(name.as_str(), "displayName" | "singleValueExtendedProperties")
        });
        let number = access.shelf.put(Kind::ContactFolder, Some(parent), folder, access.now());
        let row = self.folder_row(number.into()).ok_or_else(Refusal::item_not_found)?;
        Ok(access.made("contactFolders", row))
    }

    fn folders_delta(&self) -> Answer {
        let access = &self.access;
        let all = |_: &Token| {
            access.shelf.all(Kind::ContactFolder).into_iter().map(Place::from).collect()
        };
        let touched = |_: &Token, place| access.itself(Kind::ContactFolder, None, place);
        let row = |_: &Token, place, select: &Select| {
            Some(access.cut(self.folder_row(place)?, select, &[]))
        };
        access.delta(&Tracked {
            path: "contactFolders".into(),
            of: "contactFolder",
            usual_size: 10,
            window: None,
            all: &all,
            touched: &touched,
            row: &row,
        })
    }

    fn row(&self, place: Place) -> Option<Object> {
        let thing = self.access.shelf.thing(place.number)?;
        let folder = self.access.id_of(thing.parent?.into());
        let mut row = contacts::row(&thing, folder);
        let change_key = self.access.shelf.change_key(place.number, &thing);
        row.insert("id".into(), self.access.id_of(place).into());
        row.insert("@odata.etag".into(), format!("W/\"{change_key}\"").into());
        row.insert("changeKey".into(), change_key.into());
        row.insert("createdDateTime".into(), stamp(thing.created));
        row.insert("lastModifiedDateTime".into(), stamp(thing.modified));
        let has_picture = json!({"id": HAS_PICTURE, "value": thing.photo.is_some().to_string()});
        let extended = thing.extended.iter().map(|p| json!({"id": p.id, "value": p.value}));
        let extended = extended.chain([has_picture]).collect();
        if self.access.asked.world.options.contact_properties == ContactProperties::Given {
            row.insert("singleValueExtendedProperties".into(), extended);
        }
        Some(row)
    }

    /// The contacts of a folder and what is below.
    fn contacts(&self, folder: Number, rest: &[&str]) -> Answer {
        let access = &self.access;
        let path = format!("contactFolders('{}')/contacts", escaped(&access.id_of(folder.into())));
        match (access.method(), rest) {
            (&Method::GET, []) => {
                let all = access.shelf.children(Kind::Contact, Some(folder));
                let places = all.into_iter().map(Place::from).collect();
                let select = access.select();
                let shown = |_, row| access.cut(row, &select, &[]);
                access.list(&path, places, 10, |place| self.row(place), shown)
            }
            (&Method::POST, []) => {
                let contact = contacts::created(compose::body(access.asked.call)?)?;
                let number = access.shelf.put(Kind::Contact, Some(folder), contact, access.now());
                self.shown(number.into(), true)
            }
            (&Method::GET, ["delta"]) => self.delta(folder, path),
            (_, [contact, rest @ ..]) => self.contact(access.find(Kind::Contact, contact)?, rest),
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    fn delta(&self, folder: Number, path: String) -> Answer {
        let access = &self.access;
        let all = |_: &Token| {
            let all = access.shelf.children(Kind::Contact, Some(folder));
            all.into_iter().map(Place::from).collect()
        };
        let touched = |_: &Token, place| access.itself(Kind::Contact, Some(folder), place);
        let row =
            |_: &Token, place, select: &Select| Some(access.cut(self.row(place)?, select, &[]));
        access.delta(&Tracked {
            path,
            of: "contact",
            usual_size: 10,
            window: None,
            all: &all,
            touched: &touched,
            row: &row,
        })
    }

    fn shown(&self, place: Place, made: bool) -> Answer {
        let row = self.row(place).ok_or_else(Refusal::item_not_found)?;
        let select = if made { Select::default() } else { self.access.select() };
        let row = self.access.cut(row, &select, &[]);
        Ok(if made {
            self.access.made("contacts", row)
        } else {
            self.access.entity("contacts", row)
        })
    }

    fn contact(&self, place: Place, rest: &[&str]) -> Answer {
        let access = &self.access;
        match (access.method(), rest) {
            (&Method::GET, []) => {
                access.weather(place)?;
                self.shown(place, false)
            }
            (&Method::PATCH, []) => {
                let mut body = contacts::changed(compose::body(access.asked.call)?)?;
                let extended = shelf::take_extended(&mut body);
                access.shelf.change(place, access.now(), |thing| {
                    thing.properties.extend(body);
                    thing.extended.retain(|old| {
                        !extended.iter().any(|new| crate::extended::same(&new.id, &old.id))
                    });
                    thing.extended.extend(extended);
                });
                self.shown(place, false)
            }
            (&Method::DELETE, []) | (&Method::POST, ["permanentDelete"]) => {
                access.shelf.remove(place.number, access.now());
                Ok(Reply::empty(204))
            }
            (_, ["photo", rest @ ..]) => self.photo(place, rest),
            (&Method::GET, [segment, ..]) => Err(Refusal::unknown_segment(segment)),
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    fn photo(&self, place: Place, rest: &[&str]) -> Answer {
        let access = &self.access;
        let id = access.id_of(place);
        let context = format!("{}/contacts('{}')/photo", access.root, escaped(&id));
        if *access.method() == Method::GET {
            access.weather(place)?;
            let thing = access.shelf.thing(place.number).ok_or_else(Refusal::item_not_found)?;
            return settings::photo(access.asked, thing.photo.as_ref(), &context, rest);
        }
        let photo = settings::new_photo(access.asked, rest)?;
        access.shelf.change(place, access.now(), |thing| thing.photo = Some(photo));
        Ok(Reply::empty(200))
    }
}

/// MAPI's PidLidHasPicture.
const HAS_PICTURE: &str = "Boolean {00062004-0000-0000-c000-000000000046} Id 0x8015";
