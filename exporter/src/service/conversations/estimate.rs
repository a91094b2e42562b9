//! What exporting the conversations of a group takes: they are counted, and some of them tell how
//! many posts one has.

use graph::{Graph, Prefer, Scope, segment};
use serde_json::Value;

use super::{PAGE, group, scope, text};
use crate::error::is_fatal;
use crate::estimate::{Depth, Enquiry, Known, Load, Numbers, Sample, all_rows};
use crate::owner::Owner;

/// Conversations that are looked at; each takes two requests and more.
const CONVERSATIONS: usize = 5;
/// Bytes of a post besides its text.
const HEADERS: u64 = 900;
/// Bytes of a text, where none could be looked at.
const ASSUMED_TEXT: u64 = 4_000;

/// What some conversations told: of each one number.
#[derive(Default)]
struct Looked {
    /// Requests for its threads and their posts.
    asked: Sample,
    posts: Sample,
    /// Posts whose attachments are asked for.
    attached: Sample,
    /// Bytes of all its posts.
    sizes: Sample,
}

pub(super) async fn estimate(
    graph: &Graph,
    owner: &Owner,
    enquiry: &Enquiry,
) -> Result<Option<Numbers>, graph::Error> {
    let scope = scope(owner);
    let path = format!("{}/conversations", group(owner));
    let (mut count, mut first) = (0_u64, Vec::new());
    let is_exact = enquiry.depth == Depth::Exact;
    let take = |row: Value| {
        count += 1;
        // The newest come first: those of a page are more like all than the first five.
        if is_exact || count <= u64::from(PAGE) {
            first.push(text(&row, "id").to_owned());
        }
    };
    let (pages, whole) = all_rows(graph, &scope, &path, Prefer::page_size(PAGE), take).await?;
    let step = if is_exact { 1 } else { first.len().div_ceil(CONVERSATIONS).max(1) };
    let mut looked = Looked::default();
    for id in first.iter().step_by(step) {
        looked.look(graph, owner, &scope, id).await?;
    }
    Ok(Some(numbers((count, pages, whole), &looked)))
}

impl Looked {
    /// At all posts of a conversation.
    async fn look(
        &mut self,
        graph: &Graph,
        owner: &Owner,
        scope: &Scope,
        id: &str,
    ) -> Result<(), graph::Error> {
        let group = group(owner);
        let prefer = || Prefer::page_size(PAGE);
        let threads = format!("{group}/conversations/{}/threads", segment(id));
        let mut ids = Vec::new();
        let take = |row: Value| ids.push(segment(text(&row, "id")).to_string());
        let mut asked = match all_rows(graph, scope, &threads, prefer(), take).await {
            Ok((pages, _)) => pages,
            Err(error) if is_fatal(&error) => return Err(error),
            Err(_) => return Ok(()),
        };
        let (mut posts, mut attached, mut bytes) = (0, 0, 0);
        for thread in ids {
            let path = format!("{group}/threads/{thread}/posts");
            let take = |post: Value| {
                let body = text(&post["body"], "content");
                posts += 1;
                bytes += HEADERS + body.len() as u64;
                attached += u64::from(post["hasAttachments"] == true || body.contains("cid:"));
            };
            match all_rows(graph, scope, &path, prefer(), take).await {
                Ok((pages, _)) => asked += pages,
                Err(error) if is_fatal(&error) => return Err(error),
                Err(_) => asked += 1,
            }
        }
        self.asked.add(asked);
        self.posts.add(posts);
        self.attached.add(attached);
        self.sizes.add(bytes);
        Ok(())
    }
}

/// The requests of a listing as [`super::Conversations`] makes it when nothing changes meanwhile:
/// the conversations twice, and in each its threads and posts; then one for the attachments of each
/// post that has some, which are refused.
fn numbers((count, pages, whole): (u64, u64, bool), looked: &Looked) -> Numbers {
    // A thread and a post each, at least.
    let posts = looked.posts.total(count).unwrap_or(count);
    let asked = looked.asked.total(count).unwrap_or(2 * count);
    let attached = looked.attached.total(count).unwrap_or_default();
    let bytes = looked.sizes.total(count).unwrap_or(posts * (HEADERS + ASSUMED_TEXT));
    let known = match looked.posts.of() {
        0 if count > 0 => Known::Assumed,
        of if of < count || !whole => Known::Sampled,
        _ => Known::Counted,
    };
    Numbers {
        load: Load {
            items: posts,
            bytes,
            mailbox: 1 + 2 * pages + asked + attached,
            ..Load::default()
        },
        items: known,
        // How long a text is in the file follows from how it is encoded there.
        bytes: if count > 0 { known.max(Known::Sampled) } else { known },
    }
}
