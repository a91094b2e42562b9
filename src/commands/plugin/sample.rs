//! Items of an archive in memory, to ask plugins about again and again.

use std::collections::HashMap;
use std::io::BufReader;
use std::sync::Arc;

use archive::metadata::{self, Line, Lines};
use archive::{OwnerNames, Reader, Region};
use plugin_host::Item;
use serde_json::Value;

use crate::exit::{Code, Failure};
use crate::input;

/// Folders and items that are kept.
const ITEMS: usize = 20_000;
/// Bytes of content that are kept.
const CONTENTS: u64 = 64 << 20;

/// Folders and items, as plugins get them.
#[derive(Default)]
pub(super) struct Sample {
    pub(super) items: Vec<Item>,
    /// Contents of some of them, by their place in `items`.
    pub(super) contents: Vec<(usize, Arc<[u8]>)>,
    by_path: HashMap<String, usize>,
}

impl Sample {
    /// The first items of an archive, and as much of their content as has room.
    pub(super) fn of(archive: &Region) -> Result<Self, Failure> {
        let mut sample = Self::default();
        let mut reader = Reader::new(BufReader::with_capacity(256 << 10, archive.reader()));
        let mut room = CONTENTS;
        while let Some(entry) = reader.next_entry()? {
            if input::is_metadata(&entry.path) {
                let service = entry.path.rsplit('/').next().unwrap_or_default();
                let service = service.trim_end_matches(".ndjson").to_owned();
                sample.take(&service, Lines::new(BufReader::new(reader.content()), &entry.path))?;
            } else if let Some(&item) = sample.by_path.get(&entry.path)
                && entry.size <= room
            {
                room -= entry.size;
                let content = reader.content().into_vec(room.saturating_add(entry.size))?;
                sample.contents.push((item, content.into()));
            }
        }
        if sample.items.is_empty() {
            return Err(Failure::new(Code::Fatal, "the archive has no items to measure with"));
        }
        Ok(sample)
    }

    fn take<R: std::io::BufRead>(
        &mut self,
        service: &str,
        mut lines: Lines<R>,
    ) -> Result<(), Failure> {
        let (mut owner, mut owner_id) = (String::new(), String::new());
        while let Some(line) = lines.next_line()? {
            if line.kind == metadata::OWNER {
                owner = OwnerNames::from_graph(&line.graph).upn;
                owner_id.clone_from(&line.id);
            } else if self.items.len() < ITEMS {
                if let Some(path) = line.path.as_ref().filter(|_| line.kind != metadata::FOLDER) {
                    self.by_path.insert(path.clone(), self.items.len());
                }
                self.items.push(item(service, &owner, &owner_id, line));
            }
        }
        Ok(())
    }
}

fn item(service: &str, owner: &str, owner_id: &str, line: Line) -> Item {
    let media_type = line.graph.pointer("/file/mimeType").and_then(Value::as_str);
    Item {
        service: service.to_owned(),
        owner: owner.to_owned(),
        owner_id: owner_id.to_owned(),
        media_type: media_type.map(str::to_owned),
        size: line.graph.get("size").and_then(Value::as_u64),
        metadata: archive::json::canonical(&line.graph).into(),
        id: line.id,
        kind: line.kind,
        path: line.path.unwrap_or_default(),
    }
}
