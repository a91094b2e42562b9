//! The manifest against the members that were read.

use std::io::BufRead;

use super::{
    problems::Problems,
    section::{FILE_PRESENT, record},
};
use crate::{
    Error, MANIFEST_PATH,
    digest::Sha256Digest,
    manifest::ManifestLine,
    metadata::Lines,
    reader::Entry,
    spool::{Spool, SpoolReader},
};

/// Before the manifest line of a member that proves itself by a digest of its own.
const PROVEN: char = '+';
/// Before the others: folders, the head, streamed files.
const UNPROVEN: char = '-';

/// What the manifest has to say of a member.
pub(super) fn expected(entry: &Entry, sha256: Option<Sha256Digest>) -> String {
    let line = ManifestLine {
        path: entry.path.clone(),
        sha256,
        size: entry.size,
        span: entry.span,
        damaged: false,
    };
    let flag = if entry.sha256.is_some() { PROVEN } else { UNPROVEN };
    format!("{flag}{}", line.encode())
}

/// Compares the manifest with the expected lines. Fills `damaged` with the damaged files. After
/// the first difference the rest is not compared: every line would differ.
pub(super) fn check(
    content: impl BufRead,
    expected: &mut SpoolReader,
    damaged: &mut Spool,
    problems: &mut Problems,
) -> Result<(), Error> {
    let mut lines = Lines::new(content, MANIFEST_PATH);
    loop {
        let Some(found) = problems.absorb(MANIFEST_PATH, lines.next_text())? else {
            return Ok(());
        };
        match (expected.line()?, found) {
            (None, None) => return Ok(()),
            (Some(expected), Some(found)) if expected[1..] == found => {}
            (Some(expected), Some(found)) => match damaged_path(&expected, &found) {
                Some(path) => damaged.push(record(FILE_PRESENT, &path).as_bytes())?,
                None => {
                    let what = format!("it does not list the member {}", &expected[1..]);
                    problems.add(&lines.place(), &what);
                    return Ok(());
                }
            },
            (Some(expected), None) => {
                problems.add(MANIFEST_PATH, &format!("it ends before {}", &expected[1..]));
                return Ok(());
            }
            (None, Some(_)) => {
                problems.add(&lines.place(), "it lists a member that is not there");
                return Ok(());
            }
        }
    }
}

/// The path, if a line differs from the expected one only by `damaged`, and its file may.
fn damaged_path(expected: &str, found: &str) -> Option<String> {
    let expected = expected.strip_prefix(UNPROVEN)?;
    let mut line = ManifestLine::parse(expected).ok()?;
    line.damaged = true;
    let may = line.sha256.is_some() && line.encode().trim_end() == found;
    may.then_some(line.path)
}
