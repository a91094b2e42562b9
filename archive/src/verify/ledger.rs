//! The ledger against what the metadata announces and the members show.

use std::{collections::VecDeque, io::BufRead};

use serde::Deserialize;
use serde_json::Value;

use super::{
    problems::Problems,
    section::{FILE_PRESENT, MISSING, record},
};
use crate::{
    Error, LEDGER_PATH, json,
    ledger::{LedgerLine, Outcome},
    metadata::Lines,
    spool::SpoolReader,
    writer::Counters,
};

/// Scope lines remembered: a scope stands before the items it explains.
const SCOPES: usize = 64;

/// Checks the ledger and counts its lines. `sequence` has every metadata line with a path in
/// stream order and how it ended, `damaged` the damaged files of the manifest.
pub(super) fn check(
    content: impl BufRead,
    sequence: SpoolReader,
    damaged: SpoolReader,
    problems: &mut Problems,
) -> Result<Counters, Error> {
    let mut lines = Lines::new(content, LEDGER_PATH);
    let mut check =
        Check { sequence, damaged, scopes: VecDeque::new(), here: String::new(), problems };
    let mut counts = Counters::default();
    while let Some(Some(text)) = check.problems.absorb(LEDGER_PATH, lines.next_text())? {
        let place = lines.place();
        let Some((value, line)) = check.problems.absorb(&place, parse(&text, &place))? else {
            continue;
        };
        if json::canonical(&value) != text {
            check.problems.add(&place, "the JSON is not canonical");
        }
        match line.outcome {
            Outcome::Skipped => counts.skipped += 1,
            Outcome::Failed => counts.failed += 1,
            Outcome::Converted => counts.converted += 1,
            Outcome::Damaged => counts.damaged += 1,
        }
        check.line(&line, &place)?;
    }
    check.finish()?;
    Ok(counts)
}

fn parse(text: &str, place: &str) -> Result<(Value, LedgerLine), Error> {
    let invalid = |source| Error::Json { place: place.to_owned(), source };
    let value: Value = serde_json::from_str(text).map_err(invalid)?;
    let line = LedgerLine::deserialize(&value).map_err(invalid)?;
    Ok((value, line))
}

struct Check<'a> {
    sequence: SpoolReader,
    damaged: SpoolReader,
    scopes: VecDeque<String>,
    /// The line of the sequence reached last.
    here: String,
    problems: &'a mut Problems,
}

impl Check<'_> {
    fn line(&mut self, line: &LedgerLine, place: &str) -> Result<(), Error> {
        if line.scope.is_none() && line.path.is_none() && line.id.is_none() {
            self.problems.add(place, "it speaks of nothing: no scope, path or id");
        }
        let Some(path) = &line.path else {
            if let Some(scope) = &line.scope {
                self.scopes.truncate(SCOPES - 1);
                self.scopes.push_front(scope.clone());
            }
            return Ok(());
        };
        if line.outcome == Outcome::Damaged {
            let listed = self.damaged.line()?;
            if listed.as_deref() != Some(record(FILE_PRESENT, path).trim_end()) {
                self.problems.add(place, "the manifest does not have it as its next damaged file");
            }
        }
        if !self.walk_to(path)? {
            self.problems.add(place, "no metadata line has its path, or it is out of order");
            return Ok(());
        }
        let outcome_fits = match line.outcome {
            Outcome::Converted | Outcome::Damaged => self.here.starts_with(FILE_PRESENT),
            Outcome::Skipped | Outcome::Failed => !self.here.starts_with(FILE_PRESENT),
        };
        if !outcome_fits {
            let what = if self.here.starts_with(MISSING) { "missing" } else { "there" };
            self.problems.add(place, &format!("its outcome does not fit: the member is {what}"));
        }
        Ok(())
    }

    /// Walks the sequence to `path`, if it is ahead or already reached. What is passed must not
    /// be missing without a reason.
    fn walk_to(&mut self, path: &str) -> Result<bool, Error> {
        let wanted = record(FILE_PRESENT, path);
        let is_wanted = |line: &str| line.get(1..) == Some(wanted[1..].trim_end());
        if is_wanted(&self.here) {
            return Ok(true);
        }
        let start = self.sequence.position();
        let mut passed = 0_u64;
        loop {
            match self.sequence.line()? {
                Some(line) if is_wanted(&line) => break,
                Some(_) if !self.problems.is_full() => passed += 1,
                _ => {
                    self.sequence.seek(start)?;
                    return Ok(false);
                }
            }
        }
        self.sequence.seek(start)?;
        for _ in 0..passed {
            self.pass()?;
        }
        self.here = self.sequence.line()?.unwrap_or_default();
        Ok(true)
    }

    /// Passes one line of the sequence; false at its end.
    fn pass(&mut self) -> Result<bool, Error> {
        let Some(line) = self.sequence.line()? else {
            return Ok(false);
        };
        if let Some(path) = line.strip_prefix(MISSING) {
            let path: String = serde_json::from_str(path)
                .map_err(|source| Error::Json { place: "a temporary file".into(), source })?;
            let explained = self.scopes.iter().any(|scope| {
                path.strip_prefix(scope)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if !explained {
                self.problems.add(&path, "its member is missing and the ledger does not say why");
            }
        }
        self.here = line;
        Ok(true)
    }

    /// Everything behind the last line must be there, too.
    fn finish(mut self) -> Result<(), Error> {
        while self.pass()? {}
        if let Some(line) = self.damaged.line()? {
            self.problems.add(&line[1..], "it is damaged and the ledger does not say so");
        }
        Ok(())
    }
}
