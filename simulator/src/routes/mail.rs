//! Messages: lists, delta, single ones and their MIME.

use http::Method;
use serde_json::{Value, json};

use crate::call::Preferences;
use crate::delta::{self, MailToken, Round};
use crate::error::Refusal;
use crate::faults::Kind;
use crate::filter::Filter;
use crate::mailbox::{Delta, Edition, Key, Mailbox};
use crate::page::{self, Page, Select, escaped};
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::message::View;
use crate::routes::{Answer, Asked, attachments, folders, mail_write};

/// Roles that may see more than headers.
const READERS: [&str; 4] =
    ["Mail.Read", "Mail.ReadWrite", "Mail.Read.Shared", "full_access_as_app"];

/// A filtered delta reports no more than this.
const FILTERED_DELTA: usize = 5000;

/// `/users/{user}/messages/...`
pub(crate) fn route(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let (person, mailbox) = folders::mailbox_for_mail(asked, user)?;
    let prefer = asked.call.preferences();
    let reply = match rest {
        [] if asked.call.method != Method::GET => mail_write::create(asked, person, mailbox, None),
        [] => list_all(asked, person, mailbox, &prefer),
        [message, more @ ..] => inside(asked, person, mailbox, None, message, more),
    };
    reply.map(|reply| folders::applied(reply, &prefer))
}

/// A message and what is below it, addressed with or without its folder.
pub(crate) fn inside(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    folder: Option<u32>,
    id: &str,
    rest: &[&str],
) -> Answer {
    let key = find(mailbox, id)?;
    weather(asked, mailbox, key, rest)?;
    let message = mailbox.message(key).ok_or_else(Refusal::item_not_found)?;
    if folder.is_some_and(|folder| folder != message.folder) {
        return Err(Refusal::item_not_found());
    }
    if asked.call.method != Method::GET {
        return mail_write::change(asked, person, mailbox, &message, rest);
    }
    let prefer = asked.call.preferences();
    let view = View::new(asked, mailbox, &prefer);
    match rest {
        [] => {
            let context = format!("users('{}')/messages/$entity", escaped(&person.id));
            Ok(view.entity(&message, &context))
        }
        ["$value"] => mime(asked, mailbox, key, message.mail.class),
        ["attachments", more @ ..] => {
            need_content(asked)?;
            attachments::route(asked, person, mailbox, &message, more)
        }
        [segment, ..] => Err(Refusal::unknown_segment(segment)),
    }
}

fn find(mailbox: &Mailbox, id: &str) -> Result<Key, Refusal> {
    mailbox.find(id).map_err(|malformed| match malformed {
        true => Refusal::malformed_id(),
        false => Refusal::item_not_found(),
    })
}

fn need_content(asked: &Asked<'_>) -> Result<(), Refusal> {
    let text = "Access is denied. Check credentials and try again.";
    asked.need(&READERS, ("ErrorAccessDenied", text))
}

/// What may have happened to a message since it was listed.
fn weather(asked: &Asked<'_>, mailbox: &Mailbox, key: Key, rest: &[&str]) -> Result<(), Refusal> {
    let (world, line) = (asked.world, asked.call.line());
    let id = mailbox.ids.immutable(key);
    let fetched = matches!(rest, [] | ["$value"]);
    if fetched && world.faults.strikes(Kind::Vanish, &line, &id).is_some() {
        mailbox.edit(key, Edition::Delete);
        return Err(Refusal::item_not_found());
    }
    if fetched && world.faults.strikes(Kind::Change, &line, &id).is_some() {
        mailbox.edit(key, Edition::Categories(vec!["Geändert".into()]));
    }
    if world.faults.marks(Kind::Corrupt, &line, &id).is_some() {
        let text = "Data is corrupt., Cannot open the item.";
        return Err(Refusal::new(500, "ErrorCorruptData", text));
    }
    Ok(())
}

fn mime(asked: &Asked<'_>, mailbox: &Mailbox, key: Key, class: &str) -> Answer {
    need_content(asked)?;
    let (world, line) = (asked.world, asked.call.line());
    let id = mailbox.ids.immutable(key);
    let hopeless = class.contains("SMIME") && world.faults.present(Kind::Mime, &line);
    if hopeless || world.faults.marks(Kind::Mime, &line, &id).is_some() {
        let text =
            "The MIME content of this message could not be generated., MIME conversion failed.";
        return Err(Refusal::new(500, "ErrorMimeContentConversionFailed", text));
    }
    let unstable = world.faults.marks(Kind::UnstableMime, &line, &id).is_some();
    let nonce = if unstable { crate::dice::text(&asked.call.request_id) } else { 0 };
    let bytes = mailbox.mime(key, nonce).ok_or_else(Refusal::item_not_found)?;
    Ok(Reply::bytes("text/plain", bytes))
}

enum Order {
    NewestFirst,
    OldestFirst,
}

fn order(asked: &Asked<'_>) -> Result<Order, Refusal> {
    let text = asked.call.option("orderby").unwrap_or_default().trim();
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        [] | ["receivedDateTime", "desc"] => Ok(Order::NewestFirst),
        ["receivedDateTime"] | ["receivedDateTime", "asc"] => Ok(Order::OldestFirst),
        _ => Err(Refusal::new(
            400,
            "ErrorInvalidUrlQuery",
            "The simulator orders messages by receivedDateTime only.",
        )),
    }
}

/// `/mailFolders/{folder}/messages`
pub(crate) fn list(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    folder: u32,
    prefer: &Preferences,
) -> Answer {
    let call = asked.call;
    let oldest_first = matches!(order(asked)?, Order::OldestFirst);
    let skip = call.number("skip").unwrap_or(0);
    let size = page_size(asked, prefer)?;
    let found = indexed(asked, mailbox, &[folder], oldest_first)?;
    let fetch = |skip, limit| match &found {
        Some(found) => found.iter().skip(skip).take(limit).copied().collect(),
        None => mailbox.keys_by_date(folder, oldest_first, skip, limit),
    };
    let context = format!(
        "users('{}')/mailFolders('{}')/messages",
        escaped(&person.id),
        escaped(&mailbox.ids.folder(folder))
    );
    let (page, done) = fill(asked, mailbox, prefer, &context, (skip, size), fetch)?;
    if done {
        wander(asked, mailbox, folder);
    }
    let wanted = call.option("count") == Some("true");
    let count = wanted.then(|| mailbox.counts(folder).0);
    Ok(Page { count, ..page }.reply(asked.world, call))
}

/// `/users/{user}/messages`: every folder but the ones apart, one after the other.
fn list_all(asked: &Asked<'_>, person: &Person, mailbox: &Mailbox, prefer: &Preferences) -> Answer {
    let oldest_first = matches!(order(asked)?, Order::OldestFirst);
    let skip = asked.call.number("skip").unwrap_or(0);
    let size = page_size(asked, prefer)?;
    let folders: Vec<u32> = (0..)
        .zip(mailbox.folders())
        .filter(|(_, folder)| !folder.search && !folder.apart && !folder.gone)
        .map(|(number, _)| number)
        .collect();
    let found = indexed(asked, mailbox, &folders, oldest_first)?;
    let fetch = |mut skip: usize, limit: usize| {
        if let Some(found) = &found {
            return found.iter().skip(skip).take(limit).copied().collect();
        }
        let mut keys = Vec::new();
        for folder in &folders {
            let total = mailbox.counts(*folder).0 as usize;
            if skip < total {
                keys.extend(mailbox.keys_by_date(*folder, oldest_first, skip, limit - keys.len()));
            }
            skip = skip.saturating_sub(total);
            if keys.len() == limit {
                break;
            }
        }
        keys
    };
    let context = format!("users('{}')/messages", escaped(&person.id));
    let (page, _) = fill(asked, mailbox, prefer, &context, (skip, size), fetch)?;
    Ok(page.reply(asked.world, asked.call))
}

/// The messages that a filter accepts, where an index finds them: as the service does, it answers
/// such a question at once however large the folder is.
fn indexed(
    asked: &Asked<'_>,
    mailbox: &Mailbox,
    folders: &[u32],
    oldest_first: bool,
) -> Result<Option<Vec<Key>>, Refusal> {
    let Some(filter) = Filter::new(asked.call.option("filter"))? else {
        return Ok(None);
    };
    let Some(index_keys) = filter.index_keys() else {
        return Ok(None);
    };
    let view = View::new(asked, mailbox, &Preferences::default());
    let mut found = mailbox.candidates(folders, &index_keys);
    found.retain(|key| {
        mailbox.message(*key).is_some_and(|message| filter.accepts(&view.filterable(&message)))
    });
    if oldest_first {
        found.reverse();
    }
    Ok(Some(found))
}

fn page_size(asked: &Asked<'_>, prefer: &Preferences) -> Result<usize, Refusal> {
    let top = asked.call.number("top");
    if top.is_some_and(|top| !(1..=1000).contains(&top)) {
        let text = "The value of $top must be between 1 and 1000.";
        return Err(Refusal::new(400, "ErrorInvalidUrlQuery", text));
    }
    Ok(page::size(asked.world, top.or(prefer.page_size), 10, 1000))
}

/// A page of a list from `skip` on; says whether it was the last. With a filter a page may be
/// short, or empty, and still have another after it.
fn fill(
    asked: &Asked<'_>,
    mailbox: &Mailbox,
    prefer: &Preferences,
    context: &str,
    (skip, size): (usize, usize),
    fetch: impl Fn(usize, usize) -> Vec<Key>,
) -> Result<(Page, bool), Refusal> {
    let call = asked.call;
    let filter = Filter::new(call.option("filter"))?;
    let view = View::new(asked, mailbox, prefer);
    let mut keys = fetch(skip, size + 1);
    let more = keys.len() > size;
    keys.truncate(size);
    let messages = keys.into_iter().filter_map(|key| mailbox.message(key));
    let wanted = messages.filter(|message| {
        filter.as_ref().is_none_or(|filter| filter.accepts(&view.filterable(message)))
    });
    let rows = wanted.map(|message| view.row(&message, false)).collect();
    let next = more.then(|| page::link(call, "skip", &(skip + size).to_string()));
    let page = Page { context: context.to_owned(), rows, next, ..Page::default() };
    Ok((page, !more))
}

/// `/mailFolders/{folder}/messages/delta`
pub(crate) fn delta(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    folder: u32,
    prefer: &Preferences,
) -> Answer {
    let call = asked.call;
    let mut token = match delta::outlook_token::<MailToken>(asked.world, call)? {
        Some(token) if token.user == person.id && token.folder == folder => token,
        Some(_) => {
            let text = "The sync state is of another folder.";
            return Err(Refusal::new(400, "SyncStateInvalid", text));
        }
        None => first_token(asked, person, mailbox, folder)?,
    };
    let mut size = page::size(asked.world, prefer.page_size, 10, 1000);
    size = token.left.map_or(size, |left| size.min(left));
    let select = Select::new(token.select.as_deref());
    let view = View::with(asked, mailbox, prefer, select, token.expand.as_deref());
    let (rows, last) = round(mailbox, &mut token, size, &view)?;
    let mut page = Page { context: "Collection(message)".into(), rows, ..Page::default() };
    let path = format!(
        "{}/v1.0/users('{}')/mailFolders('{}')/messages/delta",
        call.roots.graph,
        escaped(&person.id),
        escaped(&mailbox.ids.folder(folder))
    );
    let sealed = page::seal(&token);
    if last {
        page.delta = Some(format!("{path}?$deltatoken={sealed}"));
        wander(asked, mailbox, folder);
    } else {
        page.next = Some(format!("{path}?$skiptoken={sealed}"));
    }
    Ok(page.reply(asked.world, call))
}

fn first_token(
    asked: &Asked<'_>,
    person: &Person,
    mailbox: &Mailbox,
    folder: u32,
) -> Result<MailToken, Refusal> {
    let call = asked.call;
    if call.option("search").is_some() {
        let text = "The query parameter '$search' is not supported with delta.";
        return Err(Refusal::new(400, "ErrorInvalidUrlQuery", text));
    }
    let filter = call.option("filter");
    if filter.is_some_and(|text| !text.trim_start().starts_with("receivedDateTime g")) {
        let text = "Change tracking supports only filters on receivedDateTime with ge or gt.";
        return Err(Refusal::new(400, "ErrorInvalidUrlQuery", text));
    }
    let top = call.number("top");
    Ok(MailToken {
        user: person.id.clone(),
        folder,
        round: Round::First { after: None, seq: mailbox.seq() },
        select: call.option("select").map(str::to_owned),
        expand: call.option("expand").map(str::to_owned),
        filter: filter.map(str::to_owned),
        left: top.or(filter.map(|_| FILTERED_DELTA)),
    })
}

/// One page of a round; moves the token on and says whether the round is over.
fn round(
    mailbox: &Mailbox,
    token: &mut MailToken,
    size: usize,
    view: &View<'_>,
) -> Result<(Vec<Value>, bool), Refusal> {
    let filter = Filter::new(token.filter.as_deref())?;
    match token.round {
        Round::First { after, seq } => {
            let keys = mailbox.keys_after(token.folder, after, size + 1);
            let more = keys.len() > size;
            let keys = &keys[..keys.len().min(size)];
            let messages = keys.iter().filter_map(|key| mailbox.message(*key));
            let wanted = messages.filter(|message| {
                filter.as_ref().is_none_or(|filter| filter.accepts(&view.filterable(message)))
            });
            let rows: Vec<Value> = wanted.map(|message| view.row(&message, true)).collect();
            token.left = token.left.map(|left| left.saturating_sub(keys.len()));
            let last = !more || token.left == Some(0);
            token.round = match last {
                true => Round::Later { since: seq, from: seq, until: None },
                false => Round::First { after: keys.last().copied(), seq },
            };
            if last {
                token.left = None;
            }
            Ok((rows, last))
        }
        Round::Later { since, from, until } => {
            let until = until.unwrap_or_else(|| mailbox.seq());
            let folder = token.folder;
            let (changes, next) = mailbox.changes(folder, since, from, until, size);
            let rows =
                changes.into_iter().filter_map(|change| changed(mailbox, folder, view, change));
            token.round = match next {
                Some(from) => Round::Later { since, from, until: Some(until) },
                None => Round::Later { since: until, from: until, until: None },
            };
            Ok((rows.collect(), next.is_none()))
        }
    }
}

fn changed(mailbox: &Mailbox, folder: u32, view: &View<'_>, change: Delta) -> Option<Value> {
    match change {
        Delta::Present(key) => mailbox.message(key).map(|message| view.row(&message, true)),
        Delta::ReadFlag(key) => mailbox.message(key).map(|message| view.read_flag(&message)),
        Delta::Removed(key) => Some(json!({
            "@odata.type": "#microsoft.graph.message",
            "id": view.id_in(folder, key),
            "@removed": {"reason": "deleted"},
        })),
    }
}

/// With the `move` fault: a mail slips into the folder just listed, out of one listed later.
fn wander(asked: &Asked<'_>, mailbox: &Mailbox, folder: u32) {
    let line = asked.call.line();
    if asked.world.faults.strikes(Kind::Move, &line, &mailbox.ids.folder(0)).is_none() {
        return;
    }
    let folders = mailbox.folders();
    let source = (0..folders.len() as u32).rev().find(|n| {
        let other = &folders[*n as usize];
        *n != folder && !other.search && !other.apart && mailbox.counts(*n).0 > 0
    });
    let key = source.and_then(|source| mailbox.keys_after(source, None, 1).first().copied());
    if let Some(key) = key {
        mailbox.edit(key, Edition::Move(folder));
    }
}
