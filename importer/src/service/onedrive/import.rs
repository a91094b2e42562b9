//! What is to be known of OneDrive.

use std::sync::Arc;

use archive::metadata::Line;
use graph::Graph;
use serde_json::{Value, json};

use super::{CHUNK, DrivePlace, name, text};
use crate::content::digest;
use crate::error::Error;
use crate::item::Item;
use crate::journal::Journal;
use crate::options::Options;
use crate::section::Section;
use crate::service::{About, Compared, Import};
use crate::target::User;

/// The user's drive.
pub(in crate::service) struct OneDrive;

impl Import for OneDrive {
    const ABOUT: About = About {
        name: "onedrive",
        roles: &["Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All"],
        most_upload: None,
    };

    type Place = DrivePlace;

    async fn open(
        graph: Graph,
        user: &User,
        section: &Section,
        options: &Options,
        journal: Arc<Journal>,
    ) -> Result<DrivePlace, Error> {
        DrivePlace::open(graph, user, section, options, journal).await
    }

    fn reopen(graph: Graph, section: &str, address: &str, journal: Arc<Journal>) -> DrivePlace {
        DrivePlace::reopen(graph, section, address, journal)
    }

    /// When it was changed.
    fn mtime(line: &Line) -> i64 {
        let changed = ["/fileSystemInfo/lastModifiedDateTime", "/lastModifiedDateTime"];
        crate::item::mtime(line, &changed)
    }

    fn requests(_line: &Line, size: u64) -> u64 {
        if size == 0 { 3 } else { 2 + size.div_ceil(CHUNK) }
    }

    /// Name, bytes and times.
    fn compared(item: &Item) -> Result<Compared, Error> {
        let failed = |source| Error::Content { path: item.path.clone(), source };
        let graph = &item.line.graph;
        let second = |key: &str| {
            let time = graph.pointer(&format!("/fileSystemInfo/{key}")).and_then(Value::as_str);
            time.and_then(|time| time.get(..19)).unwrap_or_default().to_owned()
        };
        let content = digest(&mut item.content.open().map_err(failed)?).map_err(failed)?;
        let all = json!({
            "sha256": content,
            "created": second("createdDateTime"),
            "changed": second("lastModifiedDateTime"),
        });
        let name = Self::folder_name(&text(graph, "name"));
        Ok(Compared { name, content: content.into(), all })
    }

    /// Files and folders have names of one kind.
    fn folder_name(name: &str) -> String {
        name::accepted(name, false).0.to_lowercase()
    }
}
