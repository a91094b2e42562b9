//! What an archive says of its items, without putting any of them anywhere.

use std::io::Read;
use std::path::Path;

use archive::metadata::{self, Line};
use archive::{Index, OwnerNames, Reader, Region, Sha256Digest};
use sha2::{Digest, Sha256};

use crate::choice::Choice;
use crate::error::Error;
use crate::section::{Owner, Section};
use crate::walk::{Ask, Job, Source, Task, Walk};

/// An item as the archive has it.
#[derive(Debug)]
pub struct Surveyed<'a> {
    /// Object id of its owner.
    pub owner_id: &'a str,
    /// UPN of its owner.
    pub owner: &'a str,
    /// `mail`, `onedrive`, ...
    pub service: &'static str,
    /// Its metadata line.
    pub line: &'a Line,
    /// Bytes of content.
    pub size: u64,
    /// Digest of the content, if it is known; always of an archive in a file.
    pub sha256: Option<Sha256Digest>,
}

/// Shows all items that are chosen, in the order of the archive, until `visit` returns false.
/// Of a file only the manifest and the metadata of chosen owners are read.
///
/// # Errors
/// If the archive is bad.
pub async fn survey(
    source: Source,
    choice: &Choice,
    spool_dir: &Path,
    mut visit: impl FnMut(&Surveyed<'_>) -> bool,
) -> Result<(), Error> {
    let is_file = matches!(source, Source::File(_));
    let ask = Ask {
        chooser: choice.compile()?,
        only_failed: None,
        spool_dir: spool_dir.to_owned(),
        spool_limit: u64::MAX,
        incomplete: false,
        contents: !is_file,
    };
    let mut walk = Walk::begin(source, ask);
    while let Some(task) = walk.tasks.recv().await {
        let goes_on = match is_file {
            true => of_file(task, &mut visit)?,
            false => of_stream(task, &mut visit).await?,
        };
        if !goes_on {
            return Ok(());
        }
    }
    let walked = walk.ended().await?;
    if let Some((section, what)) = walked.damaged.into_iter().next() {
        return Err(archive::Error::Invalid { place: section, what }.into());
    }
    match (walked.broken, walked.end) {
        (Some(broken), _) => Err(broken.into()),
        (None, Some(end)) => Ok(end.into_seal().map(drop)?),
        (None, None) => Ok(()),
    }
}

/// The owners of an archive in a file, once each: their metadata lines.
///
/// # Errors
/// If the archive is bad.
pub fn owners(file: &Region) -> Result<Vec<Line>, Error> {
    let mut entries = Index::open(file.reader())?.into_entries()?;
    let mut owners: Vec<Line> = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        if metadata::section_of(&entry.line.path).is_none() {
            continue;
        }
        let mut reader = Reader::new(file.slice(entry.offset, entry.line.span).reader());
        reader.next_entry()?;
        let content = std::io::BufReader::new(reader.content());
        let first = metadata::Lines::new(content, &entry.line.path).next_line();
        // Damaged metadata is for who reads it to tell.
        let Ok(Some(line)) = first else { continue };
        if line.kind == metadata::OWNER && owners.iter().all(|owner| owner.id != line.id) {
            owners.push(line);
        }
    }
    Ok(owners)
}

/// Whether an owner goes by this name: object id, UPN or any address.
#[must_use]
pub fn is_named(owner: &Line, name: &str) -> bool {
    let names = OwnerNames::from_graph(&owner.graph);
    crate::target::is_named(&Owner { id: owner.id.clone(), names }, name)
}

fn of_file(task: Task, visit: &mut impl FnMut(&Surveyed<'_>) -> bool) -> Result<bool, Error> {
    let Task { section, work, jobs } = task;
    // Nobody reads contents.
    drop(jobs);
    let mut after = 0;
    while let Some(located) = work.next_located(after)? {
        after = located.seq;
        if !visit(&surveyed(&section, &located.line, located.size, located.sha256)) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn of_stream(
    task: Task,
    visit: &mut impl FnMut(&Surveyed<'_>) -> bool,
) -> Result<bool, Error> {
    let Task { section, mut jobs, .. } = task;
    while let Some(job) = jobs.recv().await {
        let item = match job {
            Job::Item(item) => item,
            Job::Bad { error, .. } => return Err(error),
        };
        let sha256 = tokio::task::block_in_place(|| {
            let mut digest = Sha256::new();
            std::io::copy(&mut item.content.open()?.by_ref(), &mut digest)?;
            Ok(digest.finalize().into())
        });
        let failed = |source| Error::Content { path: item.path.clone(), source };
        let sha256 = sha256.map_err(failed)?;
        if !visit(&surveyed(&section, &item.line, item.size, Some(sha256))) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn surveyed<'a>(
    section: &'a Section,
    line: &'a Line,
    size: u64,
    sha256: Option<Sha256Digest>,
) -> Surveyed<'a> {
    Surveyed {
        owner_id: &section.owner.id,
        owner: &section.owner.names.upn,
        service: section.service.name(),
        line,
        size,
        sha256,
    }
}
