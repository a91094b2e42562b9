//! What exporting contacts takes: the service has no counts, so next to nothing of each is listed.

use std::collections::BTreeSet;

use convert::contact::{EXTENDED, Version, write};
use graph::{Graph, Prefer, Scope, segment};
use serde_json::Value;

use super::card::has_picture;
use super::folder::{DELTA_PAGE, PAGE};
use super::{HAS_PICTURE, expansion, scope};
use crate::error::is_fatal;
use crate::estimate::{
    Counter, Depth, Enquiry, Known, Load, Numbers, Sample, all_rows, is_bad_request, rows_of_any,
};
use crate::owner::Owner;

/// Contacts of a page that has only their ids (FACTS 3.2).
const IDS: u32 = 1000;
/// Bytes of a photo in a card: no property tells.
const ASSUMED_PHOTO: u64 = 20_000;
/// Bytes of a card without one, where none could be looked at.
const ASSUMED_CARD: u64 = 700;

/// What a folder told.
#[derive(Clone, Copy, Default)]
struct Seen {
    contacts: u64,
    /// Those whose photo is asked for.
    photos: u64,
    whole: bool,
}

struct Enquirer<'a> {
    graph: &'a Graph,
    scope: Scope,
    user: String,
}

pub(super) async fn estimate(
    graph: &Graph,
    owner: &Owner,
    enquiry: &Enquiry,
) -> Result<Option<Numbers>, graph::Error> {
    let user = format!("/users/{}", segment(&owner.id));
    let of = Enquirer { graph, scope: scope(owner), user };
    let (default, first) = of.contacts("").await?;
    let mut folders = vec![first];
    let mut ids = of.folders(enquiry.without_message_delta).await?;
    ids.remove(&default);
    for id in ids {
        let path = format!("/contactFolders/{}", segment(&id));
        match of.contacts(&path).await {
            Ok((_, seen)) => folders.push(seen),
            Err(error) if is_fatal(&error) => return Err(error),
            Err(_) => folders.push(Seen::default()),
        }
    }
    let sizes = if first.contacts > 0 { of.sizes(enquiry.depth).await? } else { Sample::default() };
    Ok(Some(numbers(&folders, sizes, enquiry)))
}

impl Enquirer<'_> {
    /// The contacts of a folder, and its id if there are any.
    async fn contacts(&self, folder: &str) -> Result<(String, Seen), graph::Error> {
        let list = format!("{}{folder}/contacts?$select=id,parentFolderId&$top=", self.user);
        let picture = expansion(&[HAS_PICTURE]);
        let paths = [
            format!("{list}{IDS}&{picture}"),
            format!("{list}{PAGE}&{picture}"),
            format!("{list}{PAGE}"),
        ];
        let (mut seen, mut id) = (Seen::default(), String::new());
        let take = |row: Value| {
            seen.contacts += 1;
            seen.photos += u64::from(has_picture(&row) != Some(false));
            if let Some(parent) = row.get("parentFolderId").and_then(Value::as_str) {
                parent.clone_into(&mut id);
            }
        };
        let (_, whole) = rows_of_any(self.graph, &self.scope, &paths, take).await?;
        Ok((id, Seen { whole, ..seen }))
    }

    /// Ids of all folders. Their delta gives them at once; where there is none they are walked.
    async fn folders(&self, is_walked: bool) -> Result<BTreeSet<String>, graph::Error> {
        let all = format!("{}/contactFolders", self.user);
        let mut found = BTreeSet::new();
        let mut queue = vec![match is_walked {
            true => format!("{all}?$top={IDS}&$select=id"),
            false => format!("{all}/delta?$select=id"),
        }];
        while let Some(path) = queue.pop() {
            let mut below = Vec::new();
            let take = |row: Value| {
                let Some(id) = row.get("id").and_then(Value::as_str) else { return };
                if row.get("@removed").is_some() {
                    found.remove(id);
                } else if found.insert(id.to_owned()) && is_walked {
                    let id = segment(id);
                    below.push(format!("{all}/{id}/childFolders?$top={IDS}&$select=id"));
                }
            };
            let prefer = if is_walked { Prefer::none() } else { Prefer::page_size(IDS) };
            match all_rows(self.graph, &self.scope, &path, prefer, take).await {
                Err(error) if is_fatal(&error) => return Err(error),
                _ => queue.append(&mut below),
            }
        }
        Ok(found)
    }

    /// Bytes of cards without photos, of the default folder's first page or of all.
    async fn sizes(&self, depth: Depth) -> Result<Sample, graph::Error> {
        let path = format!("{}/contacts?$top={PAGE}", self.user);
        let mut sizes = Sample::default();
        for path in [format!("{path}&{}", expansion(EXTENDED)), path] {
            let mut pages = self.graph.pages(self.scope.clone(), &path, Prefer::none());
            loop {
                match pages.next().await {
                    Ok(Some(page)) => {
                        for item in &page.items {
                            let mut bytes = Counter::default();
                            if write(&item.parse()?, None, Version::V3, &mut bytes).is_ok() {
                                sizes.add(bytes.0);
                            }
                        }
                    }
                    Err(error) if is_bad_request(&error) => break,
                    Err(error) if is_fatal(&error) => return Err(error),
                    Ok(None) | Err(_) => return Ok(sizes),
                }
                if depth != Depth::Exact {
                    return Ok(sizes);
                }
            }
        }
        Ok(sizes)
    }
}

/// The requests of a listing as [`super::list`] makes it when nothing changes meanwhile, and one
/// for each photo. `folders` begins with the default one.
fn numbers(folders: &[Seen], sizes: Sample, enquiry: &Enquiry) -> Numbers {
    let sum = |of: fn(&Seen) -> u64| folders.iter().map(of).sum::<u64>();
    let pages = |size: u32| {
        let pages = folders.iter().map(|seen| seen.contacts.div_ceil(u64::from(size)).max(1));
        pages.sum::<u64>()
    };
    let (contacts, photos) = (sum(|seen| seen.contacts), sum(|seen| seen.photos));
    let all = folders.len() as u64;
    let below = all - 1;
    // What is below each, and below the mailbox.
    let walk = 1 + all;
    let listing = match enquiry.without_message_delta {
        // The tree is walked again, and each folder listed until it stays the same.
        true => 2 * walk + 2 * pages(PAGE),
        // The tree is watched, and each folder's changes are asked for once.
        false => {
            below.div_ceil(u64::from(IDS)).max(1) + 1 + walk + pages(PAGE) + pages(DELTA_PAGE) + all
        }
    };
    let cards = sizes.total(contacts);
    let bytes = cards.unwrap_or(contacts * ASSUMED_CARD) + photos * ASSUMED_PHOTO;
    let is_whole = folders.iter().all(|seen| seen.whole);
    let load = Load { items: contacts, bytes, mailbox: 2 + listing + photos, ..Load::default() };
    Numbers {
        load,
        items: if is_whole { Known::Counted } else { Known::Sampled },
        bytes: match cards {
            _ if photos > 0 => Known::Assumed,
            Some(_) if sizes.of() < contacts => Known::Sampled,
            None if contacts > 0 => Known::Assumed,
            _ => Known::Counted,
        },
    }
}
