//! What exporting settings takes: nearly the same of everybody. What rules and a picture add is
//! asked for.

use std::collections::BTreeSet;

use graph::{ErrorKind, Graph, Prefer, segment};
use serde_json::Value;

use super::folders::ACTIONS;
use super::mailbox;
use super::read::text;
use crate::error::is_fatal;
use crate::estimate::{Known, Load, Numbers, all_rows};
use crate::owner::Owner;
use crate::service::mail::folders::WELL_KNOWN;

/// Bytes of the profile, and of a mailbox's other documents together.
const ASSUMED_PROFILE: u64 = 3_000;
const ASSUMED_DOCUMENTS: u64 = 3_000;
/// Bytes of a rule.
const ASSUMED_RULE: u64 = 800;
/// Bytes of a picture in its largest size.
const ASSUMED_PICTURE: u64 = 50_000;
/// Root, profile, what people say of themselves.
const DIRECTORY: u64 = 3;

pub(super) async fn estimate(
    graph: &Graph,
    owner: &Owner,
) -> Result<Option<Numbers>, graph::Error> {
    let (scope, user) = (mailbox(owner), format!("/users/{}", segment(&owner.id)));
    let rules = format!("{user}/mailFolders/inbox/messageRules");
    let (mut count, mut named, mut is_refused) = (0, BTreeSet::new(), false);
    let take = |rule: Value| {
        count += 1;
        let folders = ACTIONS.map(|action| text(&rule, action).to_owned());
        named.extend(folders.into_iter().filter(|id| !id.is_empty()));
    };
    match all_rows(graph, &scope, &rules, Prefer::none(), take).await {
        Ok(_) => {}
        Err(error) if is_fatal(&error) => return Err(error),
        Err(error) if matches!(error.kind(), ErrorKind::NoMailbox | ErrorKind::NotFound) => {
            // What the directory knows, and that there is no mailbox.
            let (bytes, directory) = (ASSUMED_PROFILE, DIRECTORY);
            let load = Load { items: 1, bytes, mailbox: 1, directory, ..Load::default() };
            return Ok(Some(Numbers { load, items: Known::Counted, bytes: Known::Assumed }));
        }
        Err(error) => is_refused = *error.kind() == ErrorKind::Permission,
    }
    let photo = graph.get(&scope, &format!("{user}/photo"), Prefer::none()).await;
    let pictures = match photo {
        Ok(_) => 1,
        Err(error) if is_fatal(&error) => return Err(error),
        Err(_) => 0,
    };
    // Each folder that a rule names, and all that have names of their own, with the root.
    let folders = match named.len() as u64 {
        0 => 0,
        named => named + WELL_KNOWN.len() as u64 + 1,
    };
    // Of a mailbox that is not for us an export says so, part by part.
    let (documents, bytes) = if is_refused { (0, 0) } else { (3, ASSUMED_DOCUMENTS) };
    // Mailbox settings, categories, rules, overrides and picture are asked for; the list of rules
    // is no document.
    let load = Load {
        items: 1 + documents + count + pictures,
        bytes: ASSUMED_PROFILE + bytes + count * ASSUMED_RULE + pictures * ASSUMED_PICTURE,
        mailbox: 5 + folders + pictures,
        directory: DIRECTORY,
        ..Load::default()
    };
    Ok(Some(Numbers { load, items: Known::Counted, bytes: Known::Assumed }))
}
