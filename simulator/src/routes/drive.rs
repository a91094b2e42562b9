//! Drives: items, children, delta, versions, and the way to their bytes.

use chrono::{DateTime, Utc};
use http::Method;
use serde_json::{Value, json};

use crate::Profile;
use crate::blob::Blob;
use crate::delta::DriveToken;
use crate::dice;
use crate::drive::{Drive, Facet, Node};
use crate::error::Refusal;
use crate::faults::Kind;
use crate::page::{self, Page, Select};
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::directory::not_found;
use crate::routes::item::{Ask, View};
use crate::routes::{Answer, Asked, store};
use crate::tenant::UserKind;

const READERS: [&str; 6] = [
    "Files.Read.All",
    "Files.ReadWrite.All",
    "Sites.Read.All",
    "Sites.ReadWrite.All",
    "Sites.FullControl.All",
    "Files.Read",
];

fn need(asked: &Asked<'_>) -> Result<(), Refusal> {
    asked.need(&READERS, ("accessDenied", "Access denied"))
}

/// `/users/{user}/drive/...`
pub(crate) fn of_user(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let (person, drive) = owned(asked, user)?;
    inside(asked, person, drive, rest)
}

/// `/users/{user}/drives`
pub(crate) fn list(asked: &Asked<'_>, user: &str) -> Answer {
    let (person, drive) = owned(asked, user)?;
    let mut row = properties(person, drive);
    if let Some(row) = row.as_object_mut() {
        Select::new(asked.call.option("select")).apply(row);
    }
    let page = Page { context: "drives".into(), rows: vec![row], ..Page::default() };
    Ok(page.reply(asked.world, asked.call))
}

/// `/drives/{drive}/...`
pub(crate) fn route(asked: &Asked<'_>, id: &str, rest: &[&str]) -> Answer {
    need(asked)?;
    let person = asked.world.tenant.drive_owner(id).ok_or_else(Refusal::drive_item_not_found)?;
    asked.need_own(&person.id)?;
    let drive = person.drive().ok_or_else(Refusal::drive_item_not_found)?;
    inside(asked, person, drive, rest)
}

fn owned<'a>(asked: &Asked<'a>, user: &str) -> Result<(&'a Person, &'a Drive), Refusal> {
    need(asked)?;
    let person = asked.world.tenant.person(user).ok_or_else(|| not_found(user))?;
    asked.need_own(&person.id)?;
    let none = || match person.kind {
        UserKind::Unlicensed | UserKind::Guest => {
            Refusal::new(404, "itemNotFound", "Unable to retrieve user's mysite URL.")
        }
        _ => Refusal::new(404, "ResourceNotFound", "User's mysite not found."),
    };
    Ok((person, person.drive().ok_or_else(none)?))
}

fn inside(asked: &Asked<'_>, person: &Person, drive: &Drive, rest: &[&str]) -> Answer {
    if asked.call.method != Method::GET {
        return store::route(asked, person, drive, rest);
    }
    let missing = Refusal::drive_item_not_found;
    let (number, rest) = match rest {
        [] => {
            let mut row = properties(person, drive);
            if let Some(row) = row.as_object_mut() {
                Select::new(asked.call.option("select")).apply(row);
            }
            row["@odata.context"] =
                format!("{}/v1.0/$metadata#drives/$entity", asked.call.roots.graph).into();
            return Ok(Reply::json(row));
        }
        ["root", ":", path, rest @ ..] => (drive.at_path(path).ok_or_else(missing)?, rest),
        ["root", rest @ ..] => (0, rest),
        ["items", id, ":", path, rest @ ..] => {
            (drive.below(item_number(drive, id)?, path).ok_or_else(missing)?, rest)
        }
        ["items", id, rest @ ..] => (item_number(drive, id)?, rest),
        [segment, ..] => return Err(Refusal::unknown_segment(segment)),
    };
    let view = View::new(asked, person, drive);
    match rest {
        ["delta"] if number == 0 => delta(asked, drive, view),
        ["delta"] => {
            Err(Refusal::new(400, "invalidRequest", "Delta is supported on the root only."))
        }
        _ => item(asked, drive, &view, number, rest),
    }
}

pub(crate) fn item_number(drive: &Drive, id: &str) -> Result<u32, Refusal> {
    if id == "root" {
        return Ok(0);
    }
    drive.ids.item_number(id).ok_or_else(Refusal::drive_item_not_found)
}

fn properties(person: &Person, drive: &Drive) -> Value {
    let (used, total) = drive.usage();
    json!({
        "id": drive.ids.drive,
        "name": "OneDrive",
        "driveType": "business",
        "createdDateTime": "2016-01-04T07:00:00Z",
        "webUrl": format!("{}/Documents", site(person)),
        "owner": {"user": {"id": person.id, "displayName": person.display_name(), "email": person.upn()}},
        "quota": {
            "deleted": 0,
            "remaining": total.saturating_sub(used),
            "state": "normal",
            "total": total,
            "used": used,
        },
    })
}

/// The address of a user's personal site.
pub(crate) fn site(person: &Person) -> String {
    format!("https://contoso-my.sharepoint.com/personal/{}", alias(person))
}

pub(crate) fn alias(person: &Person) -> String {
    person.upn().replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

fn item(asked: &Asked<'_>, drive: &Drive, view: &View<'_>, number: u32, rest: &[&str]) -> Answer {
    weather(asked, drive, number, rest)?;
    let node = drive.node(number).ok_or_else(Refusal::drive_item_not_found)?;
    match rest {
        [] => Ok(view.reply(number, &node)),
        ["children"] => children(asked, drive, view, number),
        ["content"] => content(asked, drive, view, number, &node),
        ["versions"] => versions(asked, view, number, &node),
        ["versions", version] => {
            let (at, _) = version_at(asked, &node, version)?;
            Ok(Reply::json(view.version(&node, at)))
        }
        ["versions", version, "content"] => {
            let (_, wanted) = version_at(asked, &node, version)?;
            if node.current().is_some_and(|current| current.number == wanted) {
                let text = "You cannot get the content of the current version.";
                return Err(Refusal::new(400, "invalidRequest", text));
            }
            Ok(view.redirect(number, Some(wanted)))
        }
        [segment, ..] => Err(Refusal::unknown_segment(segment)),
    }
}

/// What may have happened to an item since it was listed.
fn weather(asked: &Asked<'_>, drive: &Drive, number: u32, rest: &[&str]) -> Result<(), Refusal> {
    let (faults, line) = (&asked.world.faults, asked.call.line());
    let is_file = drive.node(number).is_some_and(|node| node.facet == Facet::File);
    if !is_file || !matches!(rest, [] | ["content"]) {
        return Ok(());
    }
    let id = drive.ids.item(number);
    if faults.strikes(Kind::Vanish, &line, &id).is_some() {
        drive.delete(number);
        return Err(Refusal::drive_item_not_found());
    }
    if faults.strikes(Kind::Change, &line, &id).is_some() {
        rewrite(drive, number);
    }
    Ok(())
}

/// Someone saves the file: other bytes, another length.
pub(crate) fn rewrite(drive: &Drive, number: u32) {
    drive.change(number, |node| {
        if let Some(old) = node.current() {
            let seed = dice::hash(&[u64::from(number), u64::from(old.number)]);
            let blob = Blob::Woven { seed, len: old.blob.len() + 7, text: false };
            node.push_version(blob, Utc::now());
        }
    });
}

fn content(asked: &Asked<'_>, drive: &Drive, view: &View<'_>, number: u32, node: &Node) -> Answer {
    if node.facet != Facet::File {
        let text = "The resource does not have content.";
        return Err(Refusal::new(400, "invalidRequest", text));
    }
    if view.infected(number, node) {
        let text = "Malware detected: the file cannot be downloaded.";
        return Err(
            Refusal::new(403, "malwareDetected", text).with_header("x-virus-infected", "true")
        );
    }
    let packed = node.parent.and_then(|parent| drive.node(parent));
    if packed.is_some_and(|parent| parent.facet == Facet::Package) {
        let text = "Content of OneNote packages cannot be downloaded.";
        return Err(Refusal::new(400, "notSupported", text));
    }
    let tags = [view.etag(number, node), view.ctag(number, node)];
    if asked.call.header("if-none-match").is_some_and(|tag| tags.iter().any(|own| own == tag)) {
        return Ok(Reply::empty(304));
    }
    Ok(view.redirect(number, None))
}

fn children(asked: &Asked<'_>, drive: &Drive, view: &View<'_>, number: u32) -> Answer {
    let call = asked.call;
    let skip = match call.raw_option("skiptoken") {
        Some(raw) => page::open::<usize>(raw)?,
        None => 0,
    };
    let size = page::size(asked.world, call.number("top"), 200, 999);
    let all = drive.children(number);
    let shown = all.iter().skip(skip).take(size);
    let rows = shown.filter_map(|n| Some(view.row(*n, &drive.node(*n)?, Ask::Item))).collect();
    let more = all.len() > skip + size;
    let page = Page {
        context: format!(
            "drives('{}')/items('{}')/children",
            drive.ids.drive,
            drive.ids.item(number)
        ),
        rows,
        next: more.then(|| page::link(call, "skiptoken", &page::seal(&(skip + size)))),
        ..Page::default()
    };
    Ok(page.reply(asked.world, call))
}

fn versions(asked: &Asked<'_>, view: &View<'_>, number: u32, node: &Node) -> Answer {
    let kept = kept_versions(asked, number, node);
    let newest_first = (0..node.versions.len()).rev().take(kept);
    let rows = newest_first.map(|at| view.version(node, at)).collect();
    let page = Page { context: "Collection(driveItemVersion)".into(), rows, ..Page::default() };
    Ok(page.reply(asked.world, asked.call))
}

/// How many versions there still are, counted from the newest.
fn kept_versions(asked: &Asked<'_>, number: u32, node: &Node) -> usize {
    let line = asked.call.line();
    let key = number.to_string();
    let gone = asked.world.faults.marks(Kind::Restless, &line, &key);
    match gone {
        Some(fault) if !fault.keep_versions => node.versions.len().min(1),
        _ => node.versions.len(),
    }
}

pub(crate) fn version_at(
    asked: &Asked<'_>,
    node: &Node,
    id: &str,
) -> Result<(usize, u32), Refusal> {
    let kept = kept_versions(asked, 0, node);
    let found = (0..node.versions.len())
        .rev()
        .take(kept)
        .find(|at| format!("{}.0", node.versions[*at].number) == id);
    let at = found.ok_or_else(Refusal::drive_item_not_found)?;
    Ok((at, node.versions[at].number))
}

/// Everything, and later what changed, with the folders above it.
fn delta(asked: &Asked<'_>, drive: &Drive, mut view: View<'_>) -> Answer {
    let call = asked.call;
    let mut token = match token(asked, drive)? {
        Some(token) => token,
        None => first_token(asked, drive)?,
    };
    if call.option("token") == Some("latest") {
        token.since = Some(drive.seq());
    }
    let until = *token.until.get_or_insert_with(|| drive.seq());
    let nasty = asked.world.options.profile == Profile::Nasty;
    let due = due(asked, drive, &token, until);
    let size = page::size(asked.world, token.top, 200, 1000);
    view.select = Select::new(token.select.as_deref());
    let mut rows = Vec::new();
    for number in due.iter().skip(token.skip).take(size) {
        let Some(node) = drive.any(*number) else {
            continue;
        };
        let row = view.row(*number, &node, Ask::Delta);
        if nasty && number % 5 == 3 && !node.gone {
            // An earlier state of the same item: the last one of a round counts.
            let mut old = row.clone();
            old["name"] = format!("{} (alt)", node.name).into();
            rows.push(old);
        }
        rows.push(row);
    }
    let mut page = Page { context: "Collection(driveItem)".into(), rows, ..Page::default() };
    let link = |token: &DriveToken| {
        let token = page::seal_plain(token);
        format!("{}/v1.0/drives/{}/root/delta(token='{token}')", call.roots.graph, drive.ids.drive)
    };
    if due.len() > token.skip + size {
        token.skip += size;
        page.next = Some(link(&token));
    } else {
        token = DriveToken { since: Some(until), skip: 0, until: None, newer: None, ..token };
        page.delta = Some(link(&token));
    }
    Ok(page.reply(asked.world, call))
}

/// The items a round reports, in order.
fn due(asked: &Asked<'_>, drive: &Drive, token: &DriveToken, until: u64) -> Vec<u32> {
    let Some(since) = token.since else {
        let nasty = asked.world.options.profile == Profile::Nasty;
        let mut all = drive.all(nasty);
        if nasty {
            // Children before their parents, where the service is at its worst.
            all.reverse();
        }
        return all;
    };
    let mut due = drive.changes(since, until);
    if asked.call.header("deltaexcludeparent").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        due = drive.changed_only(since, until);
    }
    if let Some(newer) = token.newer {
        let recent =
            |n: &u32| drive.node(*n).is_some_and(|node| node.modified.timestamp() >= newer);
        due.extend(drive.all(false).into_iter().filter(recent));
        due.sort_unstable();
        due.dedup();
    }
    due
}

fn token(asked: &Asked<'_>, drive: &Drive) -> Result<Option<DriveToken>, Refusal> {
    let call = asked.call;
    let Some(text) = call.option("token").filter(|text| !text.is_empty() && *text != "latest")
    else {
        return Ok(None);
    };
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        let time = time.with_timezone(&Utc);
        let token = first_token(asked, drive)?;
        let since = Some(drive.seq_at(time));
        return Ok(Some(DriveToken { since, newer: Some(time.timestamp()), ..token }));
    }
    let resync = || {
        let fresh =
            format!("{}/v1.0/drives/{}/root/delta?token=", call.roots.graph, drive.ids.drive);
        Refusal::new(
            410,
            "resyncChangesApplyDifferences",
            "Resync required. Replace any local items with the server's version (including deletes) if you're sure that the service was up to date with your local changes when you last sync'd. Upload any local changes that the server doesn't know about.",
        )
        .with_inner("resyncRequired")
        .with_header("location", fresh)
    };
    if asked.world.faults.strikes(Kind::DeltaGone, &call.line(), &drive.ids.drive).is_some() {
        return Err(resync());
    }
    match page::open_plain::<DriveToken>(text) {
        Ok(token) if token.drive == drive.ids.drive => Ok(Some(token)),
        _ => Err(resync()),
    }
}

fn first_token(asked: &Asked<'_>, drive: &Drive) -> Result<DriveToken, Refusal> {
    let call = asked.call;
    Ok(DriveToken {
        drive: drive.ids.drive.clone(),
        since: None,
        skip: 0,
        until: None,
        newer: None,
        top: call.number("top"),
        select: call.option("select").map(str::to_owned),
    })
}
