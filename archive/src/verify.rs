//! Proves an archive in one pass and in constant memory.
//!
//! What is proven, each rule as `doc/format.md` has it: every header is the canonical one and
//! every padding zero; every content has the digest of its member and of the manifest; the
//! manifest lists exactly the members; JSON is valid and canonical; sections, lines and members
//! stand in order; every member has a metadata line, and every metadata line its member or a
//! ledger line that explains why not; paths are safe, portable and unique; counts, offsets and
//! digests of the seal are right; the end blocks stand there and nothing behind them.

mod ledger;
mod manifest;
mod members;
mod paths;
mod problems;
mod section;

use std::{
    io::{self, Read},
    path::Path,
};

pub use problems::Problem;

use crate::{
    Error, LEDGER_PATH, MANIFEST_PATH, SEAL_PATH,
    reader::{End, Reader},
    seal::{Completeness, Extent, Seal},
};
use members::Members;
use problems::Problems;

/// Problems a report holds; further ones are only counted.
pub const MAX_PROBLEMS: usize = 100;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The seal, if the stream ends with one that can be read.
    pub seal: Option<Seal>,
    /// Members that were read, manifest and ledger included.
    pub members: u64,
    /// Bytes of the stream that were read.
    pub bytes: u64,
    /// The first [`MAX_PROBLEMS`] problems.
    pub problems: Vec<Problem>,
    /// All problems, counted.
    pub problem_count: u64,
}

impl Report {
    /// Whether the archive is whole and nothing in it contradicts the format. It may still be
    /// partial: [`Report::seal`] and the ledger say what its export could not get.
    pub fn is_proven(&self) -> bool {
        self.problem_count == 0
    }
}

/// Reads the whole stream; temporary files go to `spool_dir`; `progress` is told the bytes read.
/// Fails only if the stream or a temporary file can't be read: what is wrong with the archive,
/// be it cut or poisoned, stands in the report.
pub fn verify(
    archive: impl Read,
    spool_dir: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, Error> {
    let mut reader = Reader::new(Counted { inner: archive, bytes: 0, progress });
    let mut members = Members::new(spool_dir)?;
    let outcome = read_members(&mut reader, &mut members);
    let end = match outcome.and_then(|()| reader.finish()) {
        Ok(end) => Some(end),
        Err(error @ (Error::Read { .. } | Error::Spool { .. })) => return Err(error),
        Err(error) => {
            members.problems.add_error(&format!("byte {}", reader.position()), &error);
            None
        }
    };
    let mut report =
        Report { members: members.count, bytes: reader.position(), ..Report::default() };
    if reader.take_dirty_padding() {
        members.problems.add("the last member", "its padding is not zero");
    }
    match end {
        Some(End::Sealed(seal)) => {
            check_end(&reader, &mut members.problems);
            check_seal(&seal, &mut members);
            report.seal = Some(seal);
        }
        Some(other) => {
            if let Err(error) = other.into_seal() {
                members.problems.add_error("the end", &error);
            }
        }
        None => {}
    }
    let problems = members.finish()?;
    report.problem_count = problems.count;
    report.problems = problems.list;
    Ok(report)
}

fn read_members<R: Read>(reader: &mut Reader<R>, members: &mut Members) -> Result<(), Error> {
    let mut before = String::new();
    while let Some(entry) = reader.next_entry()? {
        if reader.take_dirty_padding() {
            members.problems.add(&before, "its padding is not zero");
        }
        members.member(reader, &entry)?;
        before = entry.path;
    }
    Ok(())
}

/// Proves the header of the seal and what follows it.
fn check_end<R: Read>(reader: &Reader<R>, problems: &mut Problems) {
    if !reader.seal_header().is_some_and(|entry| reader.has_canonical_header(entry)) {
        problems.add(SEAL_PATH, "its header is not the canonical one");
    }
    if reader.trailing() > 0 {
        problems.add("the end", "something stands behind the two end blocks");
    }
}

/// Compares the seal with what was seen.
fn check_seal(seal: &Seal, members: &mut Members) {
    let ledger = &members.ledger_counts;
    let numbers = [
        ("members", seal.members, members.listed),
        ("items", seal.items, members.items),
        ("skipped", seal.skipped, ledger.skipped),
        ("failed", seal.failed, ledger.failed),
        ("converted", seal.converted, ledger.converted),
        ("damaged", seal.damaged, ledger.damaged),
    ];
    for (name, sealed, seen) in numbers {
        if sealed != seen {
            members.problems.add(SEAL_PATH, &format!("{name} is {sealed}, but {seen} are there"));
        }
    }
    if members.format.is_some_and(|format| format != seal.version) {
        members.problems.add(SEAL_PATH, "its version is not the one of the head");
    }
    if seal.outcome == Completeness::Complete && seal.failed + seal.damaged > 0 {
        members.problems.add(SEAL_PATH, "it says complete, but the ledger has failures");
    }
    check_extent(MANIFEST_PATH, &seal.manifest, members.manifest, &mut members.problems);
    check_extent(LEDGER_PATH, &seal.ledger, members.ledger, &mut members.problems);
}

fn check_extent(path: &str, sealed: &Extent, seen: Option<Extent>, problems: &mut Problems) {
    match seen {
        None => problems.add(path, "it is missing"),
        Some(seen) if seen != *sealed => {
            problems.add(path, "its offset, length or digest is not the one of the seal");
        }
        Some(_) => {}
    }
}

/// Tells how much was read.
struct Counted<'a, R> {
    inner: R,
    bytes: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        (self.progress)(self.bytes);
        Ok(read)
    }
}
