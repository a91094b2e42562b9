//! Mail folders: the tree, its delta, and the way to their messages.

use http::Method;
use serde_json::{Map, Value, json};

use crate::call::Preferences;
use crate::delta::{self, FolderToken};
use crate::error::Refusal;
use crate::mailbox::Mailbox;
use crate::page::{self, Page, Select, escaped};
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::{Answer, Asked, folder_write, mail};
use crate::seed::folders::{Folder, ROOT};
use crate::tenant::UserKind;

/// Roles that may list folders and messages.
const LISTERS: [&str; 6] = [
    "Mail.Read",
    "Mail.ReadWrite",
    "Mail.ReadBasic",
    "Mail.ReadBasic.All",
    "Mail.Read.Shared",
    "full_access_as_app",
];

/// Well-known names, whether a mailbox has such a folder or not.
const WELL_KNOWN: [&str; 17] = [
    "archive",
    "clutter",
    "conflicts",
    "conversationhistory",
    "deleteditems",
    "drafts",
    "inbox",
    "junkemail",
    "localfailures",
    "msgfolderroot",
    "outbox",
    "recoverableitemsdeletions",
    "scheduled",
    "searchfolders",
    "sentitems",
    "serverfailures",
    "syncissues",
];

pub(crate) fn route(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let (person, mailbox) = mailbox_for_mail(asked, user)?;
    let prefer = asked.call.preferences();
    if asked.call.method != Method::GET {
        let reply = folder_write::route(asked, person, mailbox, rest);
        return reply.map(|reply| applied(reply, &prefer));
    }
    let reply = match rest {
        [] => list(asked, person, mailbox, ROOT),
        ["delta"] => delta(asked, person, mailbox, &prefer),
        [folder] => {
            let number = known(mailbox, folder)?;
            let context = format!("users('{}')/mailFolders/$entity", escaped(&person.id));
            Ok(entity(asked, &context, row(mailbox, number)))
        }
        [folder, "childFolders"] => list(asked, person, mailbox, known(mailbox, folder)?),
        [parent, "childFolders", folder, ..] => {
            let (parent, number) = (known(mailbox, parent)?, known(mailbox, folder)?);
            if mailbox.folders()[number as usize].parent != Some(parent) {
                return Err(not_found());
            }
            let mut direct = vec![*folder];
            direct.extend_from_slice(&rest[3..]);
            return route(asked, user, &direct);
        }
        [folder, "messages", "delta"] => {
            mail::delta(asked, person, mailbox, known(mailbox, folder)?, &prefer)
        }
        [folder, "messages"] => {
            mail::list(asked, person, mailbox, known(mailbox, folder)?, &prefer)
        }
        [folder, "messages", _, "$value"] => {
            known(mailbox, folder)?;
            let text = "The OData request is not supported.";
            Err(Refusal::new(405, "ErrorInvalidRequest", text))
        }
        [folder, "messages", message, more @ ..] => {
            let folder = known(mailbox, folder)?;
            mail::inside(asked, person, mailbox, Some(folder), message, more)
        }
        [_, segment, ..] => Err(Refusal::unknown_segment(segment)),
    };
    reply.map(|reply| applied(reply, &prefer))
}

/// Says which preferences were heeded.
pub(crate) fn applied(reply: Reply, prefer: &Preferences) -> Reply {
    match prefer.applied.is_empty() {
        true => reply,
        false => reply.with("preference-applied", &prefer.applied.join(", ")),
    }
}

/// The mailbox of a user, for callers who may read mail.
pub(crate) fn mailbox_for_mail<'a>(
    asked: &Asked<'a>,
    user: &str,
) -> Result<(&'a Person, &'a Mailbox), Refusal> {
    let denied = "Access is denied. Check credentials and try again.";
    asked.need(&LISTERS, ("ErrorAccessDenied", denied))?;
    mailbox_of(asked, user)
}

/// The mailbox of a user, if there is one and the caller's scope covers it.
pub(crate) fn mailbox_of<'a>(
    asked: &Asked<'a>,
    user: &str,
) -> Result<(&'a Person, &'a Mailbox), Refusal> {
    let invalid = || {
        Refusal::new(404, "ErrorInvalidUser", format!("The requested user '{user}' is invalid."))
    };
    let person = asked.world.tenant.person(user).ok_or_else(invalid)?;
    asked.need_own(&person.id)?;
    if person.kind == UserKind::OutOfScope {
        return Err(Refusal::new(
            403,
            "ErrorAccessDenied",
            "Access to OData is disabled: [RAOP] : Blocked by tenant configured AppOnly AccessPolicy settings.",
        ));
    }
    let none = || {
        Refusal::new(
            404,
            "MailboxNotEnabledForRESTAPI",
            "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
        )
    };
    Ok((person, person.mailbox().ok_or_else(none)?))
}

fn not_found() -> Refusal {
    Refusal::new(
        404,
        "ErrorItemNotFound",
        "The specified object was not found in the store., The process failed to get the correct properties.",
    )
}

pub(crate) fn known(mailbox: &Mailbox, name: &str) -> Result<u32, Refusal> {
    let plausible = name.len() >= 100 || WELL_KNOWN.contains(&name.to_lowercase().as_str());
    mailbox.folder(name).ok_or_else(|| match plausible {
        true => not_found(),
        false => Refusal::malformed_id(),
    })
}

/// Whether the tree shows a folder: search folders' parents and recoverable items are elsewhere.
fn listed(folder: &Folder, hidden_too: bool) -> bool {
    !folder.gone && !folder.apart && (hidden_too || !folder.hidden)
}

fn list(asked: &Asked<'_>, person: &Person, mailbox: &Mailbox, parent: u32) -> Answer {
    let call = asked.call;
    let hidden_too = call.option("includeHiddenFolders") == Some("true");
    let folders = mailbox.folders();
    let numbered = folders.iter().enumerate();
    let children: Vec<u32> = numbered
        .filter(|(_, folder)| folder.parent == Some(parent) && listed(folder, hidden_too))
        .map(|(number, _)| number as u32)
        .collect();
    let skip = call.number("skip").unwrap_or(0);
    let prefer = call.preferences();
    let size = page::size(asked.world, call.number("top").or(prefer.page_size), 10, 1000);
    let select = Select::new(call.option("select"));
    let shown = children.iter().skip(skip).take(size);
    let rows = shown.map(|number| selected(&select, row(mailbox, *number))).collect();
    let more = children.len() > skip + size;
    let next = more.then(|| page::link(call, "skip", &(skip + size).to_string()));
    let count = (call.option("count") == Some("true")).then_some(children.len() as u64);
    let context = match parent {
        ROOT => format!("users('{}')/mailFolders", escaped(&person.id)),
        _ => format!(
            "users('{}')/mailFolders('{}')/childFolders",
            escaped(&person.id),
            escaped(&mailbox.ids.folder(parent))
        ),
    };
    Ok(Page { context, rows, next, delta: None, count }.reply(asked.world, call))
}

pub(crate) fn entity(asked: &Asked<'_>, context: &str, row: Map<String, Value>) -> Reply {
    let mut body = selected(&Select::new(asked.call.option("select")), row);
    body["@odata.context"] = format!("{}/v1.0/$metadata#{context}", asked.call.roots.graph).into();
    Reply::json(body)
}

fn selected(select: &Select, mut row: Map<String, Value>) -> Value {
    select.apply(&mut row);
    row.into()
}

pub(crate) fn row(mailbox: &Mailbox, number: u32) -> Map<String, Value> {
    let folders = mailbox.folders();
    let folder = &folders[number as usize];
    let (total, unread) = mailbox.counts(number);
    let children = folders.iter().filter(|f| f.parent == Some(number) && listed(f, false)).count();
    // The root's own parent is the mailbox itself, which has no folder here.
    let parent =
        folder.parent.map_or_else(|| mailbox.ids.folder(0xffff), |p| mailbox.ids.folder(p));
    let mut row = json!({
        "id": mailbox.ids.folder(number),
        "displayName": folder.name,
        "parentFolderId": parent,
        "childFolderCount": children,
        "unreadItemCount": unread,
        "totalItemCount": total,
        "isHidden": folder.hidden && folder.parent.is_some(),
    });
    if folder.search {
        row["@odata.type"] = "#microsoft.graph.mailSearchFolder".into();
        row["isSupported"] = true.into();
        row["includeNestedFolders"] = true.into();
        row["sourceFolderIds"] =
            json!([mailbox.ids.folder(mailbox.folder("inbox").unwrap_or(ROOT))]);
        row["filterQuery"] = "isRead eq false".into();
    }
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

/// All folders in one flat sequence, and later what changed.
fn delta(asked: &Asked<'_>, person: &Person, mailbox: &Mailbox, prefer: &Preferences) -> Answer {
    let call = asked.call;
    let mut token = match delta::outlook_token::<FolderToken>(asked.world, call)? {
        Some(token) if token.user == person.id => token,
        Some(_) => {
            return Err(Refusal::new(
                400,
                "SyncStateInvalid",
                "The sync state is of another mailbox.",
            ));
        }
        None => FolderToken {
            user: person.id.clone(),
            since: None,
            skip: 0,
            seq: None,
            select: call.option("select").map(str::to_owned),
        },
    };
    let until = *token.seq.get_or_insert_with(|| mailbox.seq());
    let folders = mailbox.folders();
    let due: Vec<u32> = match token.since {
        None => (0..folders.len() as u32)
            .filter(|n| *n != ROOT && listed(&folders[*n as usize], true))
            .collect(),
        Some(since) => {
            let shown = |n: &u32| *n != ROOT && !folders[*n as usize].apart;
            mailbox.folder_changes(since).into_iter().filter(shown).collect()
        }
    };
    let size = page::size(asked.world, prefer.page_size.or(call.number("top")), 10, 1000);
    let select = Select::new(token.select.as_deref());
    let shown = due.iter().skip(token.skip).take(size);
    let rows = shown.map(|number| match folders[*number as usize].gone {
        true => json!({"id": mailbox.ids.folder(*number), "@removed": {"reason": "deleted"}}),
        false => selected(&select, row(mailbox, *number)),
    });
    let mut page =
        Page { context: "Collection(mailFolder)".into(), rows: rows.collect(), ..Page::default() };
    let path =
        format!("{}/v1.0/users('{}')/mailFolders/delta", call.roots.graph, escaped(&person.id));
    if due.len() > token.skip + size {
        token.skip += size;
        page.next = Some(format!("{path}?$skiptoken={}", page::seal(&token)));
    } else {
        token = FolderToken { since: Some(until), skip: 0, seq: None, ..token };
        page.delta = Some(format!("{path}?$deltatoken={}", page::seal(&token)));
    }
    Ok(page.reply(asked.world, call))
}
