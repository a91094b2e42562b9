//! The settings of a mailbox, its rules and categories, and pictures.

use http::Method;
use serde_json::{Value, json};

use crate::compose::{self, Object};
use crate::dice;
use crate::error::Refusal;
use crate::reply::Reply;
use crate::routes::things::{Access, Roles};
use crate::routes::{Answer, Asked, folders};
use crate::shelf::{Kind, Photo, Place};
use crate::tenant::UserKind;
use crate::zones;

const ROLES: Roles =
    Roles { readers: &["MailboxSettings.Read"], writers: &["MailboxSettings.ReadWrite"] };

/// `/users/{user}/mailboxSettings...`
pub(crate) fn of_mailbox(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let access = Access::of_user(asked, user, &ROLES)?;
    let (person, mailbox) = folders::mailbox_of(asked, user)?;
    if *access.method() == Method::PATCH && rest.is_empty() {
        change(&access)?;
    } else if *access.method() != Method::GET {
        return Err(Refusal::method_not_allowed());
    }
    let mut settings = access.shelf.settings();
    let archive = mailbox.folder("archive").map(|folder| mailbox.ids.folder(folder));
    let purpose = match person.kind {
        UserKind::SharedMailbox => "shared",
        UserKind::Room => "room",
        _ => "user",
    };
    settings.insert("archiveFolder".into(), archive.into());
    settings.insert("userPurpose".into(), purpose.into());
    let context =
        format!("{}/v1.0/$metadata#{}/mailboxSettings", asked.call.roots.graph, access.root);
    match rest {
        [] => {
            access.select().apply(&mut settings);
            settings.insert("@odata.context".into(), context.into());
            Ok(Reply::json(settings.into()))
        }
        [name] if settings.contains_key(*name) => {
            let value = settings.remove(*name).unwrap_or_default();
            Ok(Reply::json(match value {
                Value::Object(mut value) => {
                    value.insert("@odata.context".into(), format!("{context}/{name}").into());
                    value.into()
                }
                value => json!({"@odata.context": format!("{context}/{name}"), "value": value}),
            }))
        }
        [segment, ..] => Err(Refusal::unknown_segment(segment)),
    }
}

fn change(access: &Access<'_>) -> Result<(), Refusal> {
    let mut body = compose::body(access.asked.call)?;
    compose::conforms("mailboxSettings", &body)?;
    body.retain(|name, _| !matches!(name.as_str(), "archiveFolder" | "userPurpose"));
    let no_zone = || {
        let text = "A valid TimeZone value must be specified.";
        Refusal::new(400, "TimeZoneNotSupportedException", text)
    };
    if let Some(zone) = body.get("timeZone").and_then(Value::as_str) {
        zones::accepted(zone).ok_or_else(no_zone)?;
    }
    let mut settings = access.shelf.settings();
    for (name, value) in body.into_iter().filter(|(name, _)| !name.contains('@')) {
        match (settings.get_mut(&name).and_then(Value::as_object_mut), value) {
            // Members that are not given stay as they are.
            (Some(old), Value::Object(new)) => {
                old.extend(new.into_iter().filter(|(name, _)| !name.contains('@')));
            }
            (_, value) => drop(settings.insert(name, value)),
        }
    }
    access.shelf.set_settings(settings);
    Ok(())
}

/// `/users/{user}/mailFolders/inbox/messageRules...`
pub(crate) fn rules(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let access = Access::of_user(asked, user, &ROLES)?;
    let (_, mailbox) = folders::mailbox_of(asked, user)?;
    let path = "mailFolders('inbox')/messageRules";
    // Generated rules name folders as people know them.
    let folder = |name: &str| mailbox.folder(name).map(|folder| mailbox.ids.folder(folder));
    let row = |place: Place| {
        let thing = access.shelf.thing(place.number)?;
        let mut row = thing.properties.clone();
        row.insert("id".into(), access.id_of(place).into());
        for action in ["moveToFolder", "copyToFolder"] {
            if let Some(name) = row.get("actions").and_then(|actions| actions[action].as_str()) {
                row["actions"][action] = folder(name).unwrap_or_else(|| name.to_owned()).into();
            }
        }
        Some(row)
    };
    let known = |body: &Object| {
        let named = ["moveToFolder", "copyToFolder"]
            .into_iter()
            .filter_map(|action| body.get("actions")?[action].as_str());
        match named.map(folder).all(|folder| folder.is_some()) {
            true => Ok(()),
            false => Err(Refusal::new(400, "ErrorInvalidIdMalformed", "Id is malformed.")),
        }
    };
    let kept = ["displayName", "sequence", "isEnabled", "conditions", "exceptions", "actions"];
    simple(
        &access,
        Simple { kind: Kind::Rule, of: "messageRule", path, kept: &kept, check: &known, row: &row },
        rest,
    )
}

/// `/users/{user}/outlook/masterCategories...`
pub(crate) fn categories(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let access = Access::of_user(asked, user, &ROLES)?;
    let ["masterCategories", rest @ ..] = rest else {
        let segment = rest.first().copied().unwrap_or("outlook");
        return Err(Refusal::unknown_segment(segment));
    };
    let row = |place: Place| {
        let mut row = access.shelf.thing(place.number)?.properties.clone();
        row.insert("id".into(), access.id_of(place).into());
        Some(row)
    };
    let free = |body: &Object| {
        let name =
            body.get("displayName").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        let all = access
            .shelf
            .all(Kind::Category)
            .into_iter()
            .filter_map(|number| access.shelf.thing(number));
        let taken = all.into_iter().any(|thing| {
            thing.properties["displayName"]
                .as_str()
                .is_some_and(|other| other.to_lowercase() == name)
        });
        match taken {
            true => Err(Refusal::new(
                409,
                "CategoryNameAlreadyExists",
                "A category with that name already exists.",
            )),
            false => Ok(()),
        }
    };
    let simple_ones = Simple {
        kind: Kind::Category,
        of: "outlookCategory",
        path: "outlook/masterCategories",
        kept: &["displayName", "color"],
        check: &free,
        row: &row,
    };
    simple(&access, simple_ones, rest)
}

/// Things that are nothing but their properties.
struct Simple<'f> {
    kind: Kind,
    of: &'static str,
    path: &'static str,
    /// What clients may set.
    kept: &'f [&'f str],
    check: &'f dyn Fn(&Object) -> Result<(), Refusal>,
    row: &'f dyn Fn(Place) -> Option<Object>,
}

fn simple(access: &Access<'_>, things: Simple<'_>, rest: &[&str]) -> Answer {
    let shown = |place: Place| {
        let row = (things.row)(place).ok_or_else(Refusal::item_not_found)?;
        Ok::<_, Refusal>(access.cut(row, &access.select(), &[]))
    };
    let body = || {
        let mut body = compose::body(access.asked.call)?;
        compose::conforms(things.of, &body)?;
        body.retain(|name, _| things.kept.contains(&name.as_str()));
        Ok::<_, Refusal>(body)
    };
    match (access.method(), rest) {
        (&Method::GET, []) => {
            let places = access.shelf.all(things.kind).into_iter().map(Place::from).collect();
            let select = access.select();
            access
                .list(things.path, places, 100, things.row, |_, row| access.cut(row, &select, &[]))
        }
        (&Method::POST, []) => {
            let mut body = body()?;
            let name = body.get("displayName").and_then(Value::as_str).unwrap_or_default();
            if name.is_empty() {
                let text = "Required property 'displayName' is missing.";
                return Err(Refusal::new(400, "ErrorRequiredPropertyMissing", text));
            }
            (things.check)(&body)?;
            if things.kind == Kind::Rule {
                body.entry("isEnabled").or_insert(true.into());
                body.insert("hasError".into(), false.into());
                body.insert("isReadOnly".into(), false.into());
            }
            let number = access.shelf.put(things.kind, None, body, access.now());
            Ok(access.made(things.path, shown(number.into())?))
        }
        (&Method::GET, [id]) => {
            Ok(access.entity(things.path, shown(access.find(things.kind, id)?)?))
        }
        (&Method::PATCH, [id]) => {
            let place = access.find(things.kind, id)?;
            let body = body()?;
            if things.kind == Kind::Rule {
                (things.check)(&body)?;
            }
            access.shelf.change(place, access.now(), |thing| thing.properties.extend(body));
            Ok(access.entity(things.path, shown(place)?))
        }
        (&Method::DELETE, [id]) => {
            access.shelf.remove(access.find(things.kind, id)?.number, access.now());
            Ok(Reply::empty(204))
        }
        (_, [_, segment, ..]) => Err(Refusal::unknown_segment(segment)),
        _ => Err(Refusal::method_not_allowed()),
    }
}

/// The sizes in which pictures of users are kept.
const SIZES: [&str; 8] =
    ["48x48", "64x64", "96x96", "120x120", "240x240", "360x360", "432x432", "648x648"];

/// `/users/{user}/photo...` and `/photos/{size}...`
pub(crate) fn photo_of_user(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let roles = Roles {
        readers: &["User.Read.All", "ProfilePhoto.Read.All", "Directory.Read.All", "User.Read"],
        writers: &["ProfilePhoto.ReadWrite.All", "User.ReadWrite.All"],
    };
    // Pictures are kept in mailboxes: who has none has no picture.
    let access = Access::of_user(asked, user, &roles)
        .map_err(|refusal| if refusal.status == 404 { no_photo() } else { refusal })?;
    let rest = match rest {
        ["photo", rest @ ..] => rest,
        ["photos", size, rest @ ..] if SIZES.contains(&size.to_lowercase().as_str()) => rest,
        _ => return Err(no_photo()),
    };
    if *access.method() == Method::DELETE {
        access.shelf.photo().ok_or_else(no_photo)?;
        access.shelf.set_photo(None);
        return Ok(Reply::empty(204));
    }
    if *access.method() != Method::GET {
        access.shelf.set_photo(Some(new_photo(asked, rest)?));
        return Ok(Reply::empty(200));
    }
    photo(asked, access.shelf.photo().as_ref(), &format!("{}/photo", access.root), rest)
}

fn no_photo() -> Refusal {
    Refusal::new(
        404,
        "ImageNotFound",
        "Exception of type 'Microsoft.Fast.Profile.Core.Exception.ImageNotFoundException' was thrown.",
    )
}

/// What is said of a picture, or the picture itself.
pub(crate) fn photo(
    asked: &Asked<'_>,
    photo: Option<&Photo>,
    context: &str,
    rest: &[&str],
) -> Answer {
    let photo = photo.ok_or_else(no_photo)?;
    let tag = format!("\"{:08X}\"", dice::bytes(&photo.bytes) as u32);
    match rest {
        [] => Ok(Reply::json(json!({
            "@odata.context": format!("{}/v1.0/$metadata#{context}/$entity", asked.call.roots.graph),
            "@odata.mediaContentType": photo.content_type,
            "@odata.mediaEtag": tag,
            "id": "1X1",
            "width": 1,
            "height": 1,
        }))),
        ["$value"] => Ok(Reply::bytes(&photo.content_type, photo.bytes.clone()).with("etag", &tag)),
        [segment, ..] => Err(Refusal::unknown_segment(segment)),
    }
}

/// The picture in a request.
pub(crate) fn new_photo(asked: &Asked<'_>, rest: &[&str]) -> Result<Photo, Refusal> {
    const MOST: usize = 4 << 20;
    let call = asked.call;
    if !matches!(call.method, Method::PUT | Method::PATCH) || rest != ["$value"] {
        return Err(Refusal::method_not_allowed());
    }
    let content_type = call.header("content-type").unwrap_or_default();
    if !content_type.starts_with("image/") || call.body.is_empty() {
        return Err(Refusal::new(400, "ErrorInvalidRequest", "The request body is no picture."));
    }
    if call.body.len() > MOST {
        return Err(Refusal::new(413, "ErrorMessageSizeExceeded", "The picture is too large."));
    }
    Ok(Photo { content_type: content_type.to_owned(), bytes: call.body.clone() })
}

/// `/users/{user}/inferenceClassification/overrides...`
pub(crate) fn overrides(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let roles = Roles { readers: &["Mail.Read"], writers: &["Mail.ReadWrite"] };
    let access = Access::of_user(asked, user, &roles)?;
    let path = "inferenceClassification/overrides";
    let ["overrides", rest @ ..] = rest else {
        return Err(Refusal::unknown_segment(rest.first().copied().unwrap_or_default()));
    };
    let row = |place: Place| {
        let mut row = access.shelf.thing(place.number)?.properties.clone();
        row.insert("id".into(), access.id_of(place).into());
        Some(row)
    };
    let shown = |place| row(place).ok_or_else(Refusal::item_not_found);
    let body = || {
        let mut body = compose::body(asked.call)?;
        compose::conforms("inferenceClassificationOverride", &body)?;
        body.retain(|name, _| matches!(name.as_str(), "classifyAs" | "senderEmailAddress"));
        Ok::<_, Refusal>(body)
    };
    match (access.method(), rest) {
        (&Method::GET, []) => {
            let all = access.shelf.all(Kind::Override).into_iter().map(Place::from).collect();
            access.list(path, all, 100, row, |_, row| row)
        }
        (&Method::POST, []) => {
            let body = body()?;
            let address = sender(&body).ok_or_else(|| {
                let text = "Required property 'senderEmailAddress' is missing.";
                Refusal::new(400, "ErrorRequiredPropertyMissing", text)
            })?;
            // A sender has one at most: a second one takes its place.
            let same = access.shelf.all(Kind::Override).into_iter().find(|number| {
                let thing = access.shelf.thing(*number);
                thing.is_some_and(|thing| sender(&thing.properties).as_ref() == Some(&address))
            });
            let number = match same {
                Some(number) => {
                    access.shelf.change(number.into(), access.now(), |thing| {
                        thing.properties.extend(body);
                    });
                    number
                }
                None => access.shelf.put(Kind::Override, None, body, access.now()),
            };
            Ok(access.made(path, shown(number.into())?))
        }
        (&Method::PATCH, [id]) => {
            let place = access.find(Kind::Override, id)?;
            let body = body()?;
            access.shelf.change(place, access.now(), |thing| thing.properties.extend(body));
            Ok(access.entity(path, shown(place)?))
        }
        (&Method::DELETE, [id]) => {
            access.shelf.remove(access.find(Kind::Override, id)?.number, access.now());
            Ok(Reply::empty(204))
        }
        (_, [_, segment, ..]) => Err(Refusal::unknown_segment(segment)),
        _ => Err(Refusal::method_not_allowed()),
    }
}

/// Of whom an override speaks.
fn sender(of: &Object) -> Option<String> {
    let address = of.get("senderEmailAddress")?.get("address")?.as_str()?;
    (!address.is_empty()).then(|| address.to_lowercase())
}
