//! What exporting a mailbox takes, by the counts of its folders.

use std::collections::BTreeMap;

use graph::{Graph, Prefer, segment};
use serde::Deserialize;
use serde_json::Value;

use super::folders::WELL_KNOWN;
use super::{PAGE, scope};
use crate::error::is_fatal;
use crate::estimate::{Depth, Enquiry, Known, Load, Numbers};
use crate::owner::Owner;

/// Bytes of a mail, where the service tells none: about the mean of business mailboxes.
const ASSUMED_BYTES: u64 = 70_000;
/// PidTagMessageSizeExtended: a message as the mailbox stores it. Its MIME is longer by what
/// base64 adds to attachments.
const SIZE: &str = "singleValueExtendedProperties($filter=id%20eq%20'Long%200x0E08')";
/// Messages in a sample of sizes.
const SAMPLE: u32 = 200;

#[derive(Deserialize)]
struct Folder {
    id: String,
    #[serde(rename = "@odata.type")]
    kind: Option<String>,
    #[serde(rename = "totalItemCount")]
    items: Option<u64>,
    #[serde(rename = "childFolderCount")]
    children: Option<u64>,
    #[serde(rename = "@removed")]
    removed: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "singleValueExtendedProperties", default)]
    properties: Vec<Property>,
}

#[derive(Deserialize)]
struct Property {
    value: String,
}

pub(super) async fn estimate(
    graph: &Graph,
    owner: &Owner,
    enquiry: &Enquiry,
) -> Result<Numbers, graph::Error> {
    let below = folders(graph, owner, enquiry).await?;
    let recoverable = match enquiry.include_recoverable {
        true => recoverable(graph, owner).await?,
        false => None,
    };
    let mut load = requests(below.values().copied(), recoverable, enquiry);
    let mut bytes = Known::Counted;
    if load.items > 0 {
        let (mean, known) = mean_size(graph, owner, enquiry.depth).await?;
        load.bytes = load.items.saturating_mul(mean);
        bytes = known;
    }
    Ok(Numbers { load, items: Known::Counted, bytes })
}

/// The requests of a listing as [`super::list`] makes it when nothing changes meanwhile, and one
/// for each message. The root has no messages of its own.
fn requests(
    below: impl ExactSizeIterator<Item = u64>,
    recoverable: Option<u64>,
    enquiry: &Enquiry,
) -> Load {
    let page = u64::from(PAGE);
    let (walked, apart) = (below.len() as u64, u64::from(enquiry.include_recoverable));
    let (mut listed, mut items, mut pages) = (1, 0, 1);
    for count in below.chain(recoverable) {
        listed += 1;
        items += count;
        pages += count.div_ceil(page).max(1);
    }
    let walk = WELL_KNOWN.len() as u64 + 1 + walked + apart;
    let listing = match enquiry.without_message_delta {
        // The tree is walked again, and each folder counted.
        true => 2 * walk + pages + listed,
        // The tree is watched, and each folder's changes are asked for once.
        false => walk + walked.div_ceil(page).max(1) + 1 + pages + listed,
    };
    Load { items, mailbox: 1 + listing + items, ..Load::default() }
}

/// Messages in the folders below the root, by the folders' ids. The flat listing by delta is one
/// request; where there is none the tree is walked.
async fn folders(
    graph: &Graph,
    owner: &Owner,
    enquiry: &Enquiry,
) -> Result<BTreeMap<String, u64>, graph::Error> {
    let top = format!("/users/{}/mailFolders", segment(&owner.id));
    let select = "$select=totalItemCount,childFolderCount";
    let level = |path: String| format!("{path}?includeHiddenFolders=true&{select}");
    let mut queue = vec![match enquiry.without_message_delta {
        true => level(top.clone()),
        false => format!("{top}/delta?{select}"),
    }];
    let mut found = BTreeMap::new();
    while let Some(path) = queue.pop() {
        let mut pages = graph.pages(scope(owner), &path, Prefer::page_size(PAGE));
        while let Some(page) = pages.next().await? {
            for item in &page.items {
                let folder: Folder = item.parse_as()?;
                if folder.removed.is_some() {
                    found.remove(&folder.id);
                    continue;
                }
                if folder.kind.as_deref() == Some("#microsoft.graph.mailSearchFolder") {
                    continue;
                }
                if enquiry.without_message_delta && folder.children.is_some_and(|n| n > 0) {
                    queue.push(level(format!("{top}/{}/childFolders", segment(&folder.id))));
                }
                found.insert(folder.id, folder.items.unwrap_or_default());
            }
        }
    }
    Ok(found)
}

/// Messages among the recoverable items; none if they can't be opened.
async fn recoverable(graph: &Graph, owner: &Owner) -> Result<Option<u64>, graph::Error> {
    let user = segment(&owner.id);
    let path =
        format!("/users/{user}/mailFolders/recoverableitemsdeletions?$select=totalItemCount");
    match graph.get(&scope(owner), &path, Prefer::none()).await {
        Ok(folder) => Ok(folder["totalItemCount"].as_u64()),
        Err(error) if is_fatal(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Bytes of a message on average.
async fn mean_size(
    graph: &Graph,
    owner: &Owner,
    depth: Depth,
) -> Result<(u64, Known), graph::Error> {
    let assumed = (ASSUMED_BYTES, Known::Assumed);
    let size = match depth {
        Depth::Quick => return Ok(assumed),
        Depth::Sampled => SAMPLE,
        Depth::Exact => PAGE,
    };
    let path =
        format!("/users/{}/messages?$select=id&$top={size}&$expand={SIZE}", segment(&owner.id));
    let mut pages = graph.pages(scope(owner), &path, Prefer::none());
    let (mut count, mut bytes, mut known) = (0_u64, 0_u64, Known::Counted);
    loop {
        let page = match pages.next().await {
            Ok(Some(page)) => page,
            Ok(None) => break,
            Err(error) if is_fatal(&error) => return Err(error),
            // What was read of it so far is a sample, too.
            Err(_) => {
                known = Known::Sampled;
                break;
            }
        };
        for item in &page.items {
            let message: Message = item.parse_as()?;
            let told = message.properties.first().and_then(|size| size.value.parse::<u64>().ok());
            count += u64::from(told.is_some());
            bytes += told.unwrap_or_default();
        }
        if page.next && depth == Depth::Sampled {
            known = Known::Sampled;
            break;
        }
    }
    Ok(bytes.checked_div(count).map_or(assumed, |mean| (mean, known)))
}
