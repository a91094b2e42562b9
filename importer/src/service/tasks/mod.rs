//! Tasks of To Do (FACTS 5.5).

mod lists;
mod look;
mod parts;
mod place;
mod task;
mod undo;

use std::sync::Arc;

use archive::metadata::Line;
use graph::Graph;
use serde_json::Value;

use super::{About, Compared, Import};
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::Options;
use crate::section::Section;
use crate::target::User;
use place::TasksPlace;

/// Tasks.
pub(super) struct Tasks;

impl Import for Tasks {
    const ABOUT: About = About {
        name: "tasks",
        roles: &["Tasks.ReadWrite.All"],
        // FACTS 2.2: To Do is backed by the mailbox, 150 MB in 5 minutes.
        most_upload: Some(150_000_000 / 300),
    };

    type Place = TasksPlace;

    async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<TasksPlace, Error> {
        TasksPlace::open(graph, user, section, options, journal).await
    }

    fn reopen(graph: Graph, section: &str, address: &str, journal: Arc<Journal>) -> TasksPlace {
        TasksPlace::reopen(graph, section, address, journal)
    }

    /// When it was changed.
    fn mtime(line: &Line) -> i64 {
        crate::item::mtime(line, &["/lastModifiedDateTime", "/createdDateTime"])
    }

    /// To make it and look at it; one for each of its parts, and one to say that it is whole.
    fn requests(line: &Line, size: u64) -> u64 {
        let count = |part: &str| line.graph.get(part).and_then(Value::as_array).map_or(0, Vec::len);
        let parts: usize =
            ["attachments", "checklistItems", "linkedResources"].map(count).iter().sum();
        2 + parts as u64 + u64::from(parts > 0) + size / 4_000_000
    }

    /// What it says, and its attachments byte by byte.
    fn compared(item: &Item) -> Result<Compared, Error> {
        let mut said = look::said(&item.line.graph);
        said["attachments"] = task::digests(item)?;
        let name = said["title"].as_str().unwrap_or_default().to_owned();
        Ok(Compared { name, content: said.clone(), all: said })
    }
}
