//! What exporting tasks takes: the service has no counts, so next to nothing of each is listed, and
//! a page of one list tells how large they are and what a listing may ask for.

use graph::{Graph, Prefer, Scope, segment};
use serde_json::Value;

use super::{EXPANSIONS, PAGE, PARTS, lists_of, scope};
use crate::error::is_fatal;
use crate::estimate::{
    Counter, Depth, Enquiry, Known, Load, Numbers, Sample, all_rows, is_bad_request, rows_of_any,
};
use crate::owner::Owner;

/// Tasks of a page that has only their ids, if the service gives as many.
const IDS: u32 = 1000;
/// Bytes of a task without attachments, where none could be looked at.
const ASSUMED_TASK: u64 = 600;
/// Bytes of an attachment, likewise.
const ASSUMED_ATTACHMENT: u64 = 200_000;

#[derive(Default)]
struct Seen {
    /// Pages of lists, and of their delta.
    lists_pages: u64,
    /// Tasks of each list.
    lists: Vec<u64>,
    /// Tasks with attachments.
    attached: u64,
    whole: bool,
}

/// What a page of whole tasks tells.
#[derive(Default)]
struct Looked {
    /// How much less than everything listings may ask for.
    level: usize,
    /// Requests for steps and links of a task, which a listing may leave out.
    parts: Sample,
    /// It leaves out attachments, too; of these tasks they are asked for.
    leaves_out: bool,
    some_attached: Vec<String>,
    /// Bytes of a task without its attachments.
    sizes: Sample,
    /// Attachments of a task that has some, and bytes of one.
    attachments: Sample,
    attachment: Sample,
}

pub(super) async fn estimate(
    graph: &Graph,
    owner: &Owner,
    enquiry: &Enquiry,
) -> Result<Option<Numbers>, graph::Error> {
    let (scope, lists) = (scope(owner), lists_of(owner));
    let mut ids = Vec::new();
    let take = |row: Value| {
        // Those of others are theirs to export (FACTS 3.8).
        if row.get("isOwner") != Some(&Value::Bool(false)) {
            ids.extend(row.get("id").and_then(Value::as_str).map(str::to_owned));
        }
    };
    let (lists_pages, whole) = all_rows(graph, &scope, &lists, Prefer::none(), take).await?;
    let mut seen = Seen { lists_pages, whole, ..Seen::default() };
    let mut looked = Looked::default();
    for id in ids {
        let path = format!("{lists}/{}/tasks", segment(&id));
        let mut tasks = 0;
        let take = |row: Value| {
            tasks += 1;
            seen.attached += u64::from(row.get("hasAttachments") == Some(&Value::Bool(true)));
        };
        let paths = [format!("{path}?$top={IDS}&$select=id,hasAttachments"), path.clone()];
        match rows_of_any(graph, &scope, &paths, take).await {
            Ok((_, whole)) => seen.whole &= whole,
            Err(error) if is_fatal(&error) => return Err(error),
            Err(_) => seen.whole = false,
        }
        seen.lists.push(tasks);
        if tasks > 0 && (looked.sizes.of() == 0 || enquiry.depth == Depth::Exact) {
            looked.look(graph, &scope, &path, enquiry.depth).await?;
            looked.attachments_of(graph, &scope, &path).await?;
        }
    }
    Ok(Some(numbers(&seen, &looked)))
}

impl Looked {
    /// At the first page of a list as an export asks for it, or all.
    async fn look(
        &mut self,
        graph: &Graph,
        scope: &Scope,
        path: &str,
        depth: Depth,
    ) -> Result<(), graph::Error> {
        while let Some(expansion) = EXPANSIONS.get(self.level) {
            let path = format!("{path}/delta{expansion}");
            let mut pages = graph.pages(scope.clone(), &path, Prefer::page_size(PAGE));
            loop {
                match pages.next().await {
                    Ok(Some(page)) => {
                        for item in &page.items {
                            self.task(&item.parse()?, depth);
                        }
                    }
                    Err(error) if is_bad_request(&error) => break,
                    Err(error) if is_fatal(&error) => return Err(error),
                    Ok(None) | Err(_) => return Ok(()),
                }
                if depth != Depth::Exact {
                    return Ok(());
                }
            }
            self.level += 1;
        }
        self.level = EXPANSIONS.len() - 1;
        Ok(())
    }

    /// Of tasks that a listing gave without them.
    async fn attachments_of(
        &mut self,
        graph: &Graph,
        scope: &Scope,
        path: &str,
    ) -> Result<(), graph::Error> {
        for id in std::mem::take(&mut self.some_attached) {
            let path = format!("{path}/{}/attachments", segment(&id));
            let mut rows = Vec::new();
            match all_rows(graph, scope, &path, Prefer::none(), |row| rows.push(row)).await {
                Ok(_) => self.attached(&rows),
                Err(error) if is_fatal(&error) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn task(&mut self, task: &Value, depth: Depth) {
        let mut bytes = Counter::default();
        let nothing = |_: &Value| Err(std::io::ErrorKind::NotFound.into());
        if convert::task::write(task, &mut bytes, nothing).is_ok() {
            self.sizes.add(bytes.0);
        }
        let is_apart = |part: &&&str| !task.get(**part).is_some_and(Value::is_array);
        let parts = PARTS.iter().filter(|part| **part != "attachments");
        self.parts.add(parts.filter(is_apart).count() as u64);
        match task.get("attachments").and_then(Value::as_array) {
            Some(attachments) if !attachments.is_empty() => self.attached(attachments),
            None if task["hasAttachments"] == true => {
                self.leaves_out = true;
                if (self.some_attached.len() as u64) < Sample::size(depth) {
                    self.some_attached.extend(task["id"].as_str().map(str::to_owned));
                }
            }
            _ => {}
        }
    }

    fn attached(&mut self, attachments: &[Value]) {
        self.attachments.add(attachments.len() as u64);
        for attachment in attachments {
            let size = attachment.get("size").and_then(Value::as_u64).unwrap_or_default();
            // In base64.
            self.attachment.add(size / 3 * 4);
        }
    }
}

/// The requests of a listing as [`super::list`] makes it when nothing changes meanwhile, and one
/// for each attachment.
fn numbers(seen: &Seen, looked: &Looked) -> Numbers {
    let tasks: u64 = seen.lists.iter().sum();
    let lists = seen.lists.len() as u64;
    let pages: u64 = seen.lists.iter().map(|n| n.div_ceil(u64::from(PAGE)).max(1)).sum();
    // What a listing leaves out is asked for at each task.
    let apart = looked.parts.total(tasks).unwrap_or_default()
        + if looked.leaves_out { seen.attached } else { 0 };
    let attachments = looked.attachments.total(seen.attached);
    let count = attachments.unwrap_or(seen.attached);
    // The lists, their changes, then what changed in them and in each of them.
    let listing = 2 * seen.lists_pages + 1 + pages + lists + apart;
    // The first list that is asked learns what is refused.
    let refused = looked.level as u64;
    let sizes = looked.sizes.total(tasks);
    let attached = looked.attachment.total(count);
    let bytes =
        sizes.unwrap_or(tasks * ASSUMED_TASK) + attached.unwrap_or(count * ASSUMED_ATTACHMENT);
    let load =
        Load { items: tasks, bytes, mailbox: 1 + listing + refused + count, ..Load::default() };
    let is_told = (tasks == 0 || sizes.is_some()) && (count == 0 || attached.is_some());
    Numbers {
        load,
        items: if seen.whole { Known::Counted } else { Known::Sampled },
        bytes: match is_told {
            false => Known::Assumed,
            true if looked.sizes.of() < tasks => Known::Sampled,
            true => Known::Counted,
        },
    }
}
