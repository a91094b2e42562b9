//! One section: the metadata lines of an owner and service, and the members they announce.

use std::{io::BufRead, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::problems::Problems;
use crate::{
    Error, json,
    metadata::{FOLDER, Line, Lines, OWNER, OrderKey},
    reader::Kind,
    spool::{Spool, SpoolReader},
};

/// How a metadata line with a path ended, in the sequence that the ledger is compared with.
pub(super) const FILE_PRESENT: char = 'f';
pub(super) const FOLDER_PRESENT: char = 'd';
pub(super) const MISSING: char = 'm';

/// A section whose members are being read.
pub(super) struct Section {
    /// Path of the metadata member without `.ndjson`.
    pub(super) prefix: String,
    /// Object id of the owner.
    pub(super) owner: Option<String>,
    /// A flag and the path as JSON for each line that has a path, in order.
    announced: SpoolReader,
}

impl Section {
    /// Reads and checks the metadata lines.
    pub(super) fn read(
        content: impl BufRead,
        path: &str,
        spool_dir: &Path,
        problems: &mut Problems,
    ) -> Result<Self, Error> {
        let prefix = path.strip_suffix(".ndjson").unwrap_or(path).to_owned();
        let mut announced = Spool::new(spool_dir)?;
        let mut lines = Lines::new(content, path);
        let mut owner = None;
        let mut before = None;
        let mut first = true;
        while let Some(Some(text)) = problems.absorb(path, lines.next_text())? {
            let place = lines.place();
            let Some(line) = problems.absorb(&place, parse(&text, &place))? else {
                continue;
            };
            if json::canonical(&line.0) != text {
                problems.add(&place, "the JSON is not canonical");
            }
            let line = line.1;
            if first && line.kind == OWNER {
                owner = Some(line.id.clone());
            } else if first {
                problems.add(&place, "the first line is not the owner");
            }
            first = false;
            check_order(&line, &mut before, &place, problems);
            if let Some(path) = &line.path {
                check_path(&prefix, &line, path, &place, problems);
                let flag = if line.kind == FOLDER { FOLDER_PRESENT } else { FILE_PRESENT };
                announced.push(record(flag, path).as_bytes())?;
            }
        }
        if first {
            problems.add(path, "the first line is not the owner");
        }
        Ok(Section { prefix, owner, announced: announced.reader()? })
    }

    /// Whether a path lies in the section.
    pub(super) fn contains(&self, path: &str) -> bool {
        path.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Finds the line of a member among those not yet reached; what is passed on the way is
    /// missing. Adds both to the `sequence`.
    pub(super) fn member(
        &mut self,
        path: &str,
        kind: Kind,
        sequence: &mut Spool,
        problems: &mut Problems,
    ) -> Result<(), Error> {
        let flag = if kind == Kind::Directory { FOLDER_PRESENT } else { FILE_PRESENT };
        let wanted = record(flag, path);
        let start = self.announced.position();
        let mut passed = 0_u64;
        loop {
            match self.announced.line()? {
                Some(line) if line == wanted.trim_end() => break,
                Some(_) if !problems.is_full() => passed += 1,
                _ => {
                    problems.add(path, "no metadata line announces it, or it is out of order");
                    return self.announced.seek(start);
                }
            }
        }
        if passed > 0 {
            let found = self.announced.position();
            self.announced.seek(start)?;
            for _ in 0..passed {
                self.miss_next(sequence)?;
            }
            self.announced.seek(found)?;
        }
        sequence.push(wanted.as_bytes())
    }

    /// Ends the section: what was not reached is missing.
    pub(super) fn finish(mut self, sequence: &mut Spool) -> Result<(), Error> {
        while self.miss_next(sequence)? {}
        Ok(())
    }

    /// Adds the next line to the sequence as missing, if there is one.
    fn miss_next(&mut self, sequence: &mut Spool) -> Result<bool, Error> {
        let Some(line) = self.announced.line()? else {
            return Ok(false);
        };
        sequence.push(format!("{MISSING}{}\n", &line[1..]).as_bytes())?;
        Ok(true)
    }
}

/// A line of the sequence: the flag and the path as JSON, because a path may hold a newline.
pub(super) fn record(flag: char, path: &str) -> String {
    format!("{flag}{}\n", Value::from(path))
}

fn parse(text: &str, place: &str) -> Result<(Value, Line), Error> {
    let invalid = |source| Error::Json { place: place.to_owned(), source };
    let value: Value = serde_json::from_str(text).map_err(invalid)?;
    let line = Line::deserialize(&value).map_err(invalid)?;
    Ok((value, line))
}

fn check_order(line: &Line, before: &mut Option<OrderKey>, place: &str, problems: &mut Problems) {
    let Some(key) = line.key() else { return };
    if before.as_ref().is_some_and(|before| *before >= key) {
        problems.add(place, "the line is out of order");
    }
    *before = Some(key);
}

fn check_path(prefix: &str, line: &Line, path: &str, place: &str, problems: &mut Problems) {
    let inside = match path.strip_prefix(prefix) {
        Some("") => line.kind == FOLDER,
        Some(rest) => rest.starts_with('/'),
        None => false,
    };
    if !inside || line.kind == OWNER {
        problems.add(place, "its path does not belong to this section");
    }
}
