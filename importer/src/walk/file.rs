//! An archive that is a file: by its manifest.

use std::collections::HashSet;
use std::io::BufReader;
use std::sync::Arc;

use archive::metadata::{Lines, section_of};
use archive::{End, Index, IndexEntry, LEDGER_PATH, LedgerLine, Outcome, Reader};
use tokio::sync::mpsc;

use super::{AHEAD, Ask, Found, IN_MEMORY, Job, Seen, Task, Walked};
use crate::content::Content;
use crate::error::Error;
use crate::item::Item;
use crate::region::Region;
use crate::section::Section;
use crate::work::{Located, Work};

/// Of the metadata of an owner who may not be wanted, only this much is read at first.
const FIRST_LOOK: u64 = 8 * 1024;

/// A section while the manifest is at it.
struct Open {
    section: Section,
    work: Work,
    left: u64,
}

/// Walks a sealed archive in a file.
pub(crate) fn walk(
    whole: &Region,
    ask: &Arc<Ask>,
    tasks: &mpsc::Sender<Task>,
) -> Result<Walked, Error> {
    let index = Index::open(whole.reader())?;
    let seal = index.seal().clone();
    let converted = Arc::new(converted(whole, &seal)?);
    let mut walker = Walker {
        ask,
        tasks,
        whole,
        converted,
        seen: Seen::default(),
        sections: 0,
        damaged: Vec::new(),
    };
    let mut entries = index.into_entries()?;
    let mut open: Option<Open> = None;
    while let Some(entry) = entries.next_entry()? {
        if let Some((prefix, service)) = section_of(&entry.line.path) {
            let prefix = prefix.to_owned();
            walker.close(open.take())?;
            if walker.seen.is_over_at(&prefix, &ask.chooser) {
                return Ok(walker.ended(None));
            }
            if let Some(service) = ask.chooser.service(service) {
                open = walker.open(&entry, &prefix, service)?;
            }
        } else if let Some(at) = &mut open
            && at.left > 0
            && at.work.locate(&entry)?
        {
            at.left -= 1;
        }
        if open.as_ref().is_some_and(|at| at.left == 0) {
            walker.close(open.take())?;
            if walker.seen.is_over(&ask.chooser) {
                return Ok(walker.ended(None));
            }
        }
    }
    walker.close(open.take())?;
    Ok(walker.ended(Some(End::Sealed(seal))))
}

struct Walker<'a> {
    ask: &'a Arc<Ask>,
    tasks: &'a mpsc::Sender<Task>,
    whole: &'a Region,
    converted: Arc<HashSet<String>>,
    seen: Seen,
    sections: u64,
    /// See [`Walked::damaged`].
    damaged: Vec<(String, String)>,
}

impl Walker<'_> {
    fn ended(self, end: Option<End>) -> Walked {
        Walked { end, sections: self.sections, damaged: self.damaged, ..Walked::default() }
    }

    fn open(
        &mut self,
        entry: &IndexEntry,
        prefix: &str,
        service: crate::Service,
    ) -> Result<Option<Open>, Error> {
        if !self.is_owner_wanted(entry, prefix)? {
            return Ok(None);
        }
        let at = member(self.whole, entry.offset, entry.line.span, &entry.line.path);
        let mut reader = match at {
            Ok((reader, _)) => reader,
            // Not even its header can be read.
            Err(error) => {
                self.seen.section(prefix);
                self.sections += 1;
                self.damaged.push((prefix.to_owned(), crate::error::chain(&error)));
                return Ok(None);
            }
        };
        let sha256 = entry.line.sha256;
        if let Some(sha256) = sha256 {
            reader.expect_digest(sha256);
        }
        // Not buffered once more: all lines come before the digest is found wrong.
        let content = reader.content();
        let found = match self.ask.section(prefix, service, content, sha256.as_ref())? {
            Found::Unwanted => return Ok(None),
            Found::Whole(section, work) => Some((section, work)),
            Found::Damaged(found, what) => {
                self.damaged.push((prefix.to_owned(), what));
                found
            }
        };
        self.seen.section(prefix);
        self.sections += 1;
        let Some((section, work)) = found else { return Ok(None) };
        let left = work.count()?;
        Ok(Some(Open { section, work, left }))
    }

    /// Most owners are told by the first bytes of their metadata.
    fn is_owner_wanted(&self, entry: &IndexEntry, prefix: &str) -> Result<bool, Error> {
        let IndexEntry { line, offset } = entry;
        let span = line.span.min(FIRST_LOOK);
        let Ok((mut reader, _)) = member(self.whole, *offset, span, &line.path) else {
            // Its header is longer than that, or bad: the whole look tells.
            return Ok(true);
        };
        let mut lines = Lines::new(BufReader::new(reader.content()), &line.path);
        match lines.next_text() {
            Ok(Some(first)) => Ok(self.ask.chooser.owner(&super::owner_of(&first, prefix).names)),
            // Cut by our own looking.
            Err(_) => Ok(true),
            Ok(None) => Ok(false),
        }
    }

    /// The section goes to work; its items are read when it is their turn.
    fn close(&self, open: Option<Open>) -> Result<(), Error> {
        let Some(Open { section, work, .. }) = open else { return Ok(()) };
        let work = Arc::new(work);
        let (jobs, receiver) = mpsc::channel(AHEAD);
        let producer = Producer {
            whole: self.whole.clone(),
            ask: Arc::clone(self.ask),
            work: Arc::clone(&work),
            converted: Arc::clone(&self.converted),
        };
        let task = Task { section, work, jobs: receiver };
        self.tasks.blocking_send(task).map_err(|_| Error::Interrupted)?;
        if !self.ask.contents {
            return Ok(());
        }
        std::thread::Builder::new()
            .name("archive".into())
            .spawn(move || producer.run(&jobs))
            .map(drop)
            .map_err(|source| Error::Spool { path: self.ask.spool_dir.clone(), source })
    }
}

/// Reads the wanted items of one section.
struct Producer {
    whole: Region,
    ask: Arc<Ask>,
    work: Arc<Work>,
    converted: Arc<HashSet<String>>,
}

impl Producer {
    fn run(&self, jobs: &mpsc::Sender<Job>) {
        let mut after = 0;
        loop {
            let job = match self.work.next_located(after) {
                Ok(None) => return,
                Ok(Some(located)) => {
                    after = located.seq;
                    let path = located.line.path.clone().unwrap_or_default();
                    match self.item(located, &path) {
                        Ok(item) => Job::Item(Box::new(item)),
                        Err(error) => Job::Bad { path, error },
                    }
                }
                Err(error) => Job::Bad { path: String::new(), error },
            };
            let is_over = matches!(&job, Job::Bad { path, .. } if path.is_empty());
            if jobs.blocking_send(job).is_err() || is_over {
                return;
            }
        }
    }

    fn item(&self, located: Located, path: &str) -> Result<Item, Error> {
        let Located { line, offset, span, sha256, damaged, .. } = located;
        let (mut reader, entry) = member(&self.whole, offset, span, path)?;
        if damaged {
            let what = "it is damaged: the export could not read it to its end".to_owned();
            return Err(archive::Error::Invalid { place: path.to_owned(), what }.into());
        }
        if let Some(sha256) = sha256 {
            reader.expect_digest(sha256);
        }
        let content = if entry.size <= IN_MEMORY {
            self.ask.content(reader.content(), entry.size, path)?
        } else {
            let start = offset + entry.data_offset;
            let region = self.whole.slice(start, entry.size);
            Content::Archived { region, sha256 }
        };
        Ok(Item {
            path: path.to_owned(),
            mtime: entry.mtime,
            size: entry.size,
            converted: self.converted.contains(path),
            is_doubtful: false,
            may_be_late: false,
            line,
            content,
        })
    }
}

/// A reader at the content of the member, which must be the one the manifest speaks of.
fn member(
    whole: &Region,
    offset: u64,
    span: u64,
    path: &str,
) -> Result<(Reader<std::io::Take<crate::region::RegionReader>>, archive::Entry), Error> {
    let region = whole.slice(offset, span);
    let mut reader = Reader::new(std::io::Read::take(region.reader(), span));
    let entry = reader.next_entry()?;
    match entry {
        Some(entry) if entry.path == path => Ok((reader, entry)),
        _ => {
            let what = "the manifest does not fit: another member stands here".to_owned();
            Err(archive::Error::Invalid { place: path.to_owned(), what }.into())
        }
    }
}

/// Paths of items that the exporter had to render itself. There are few in any tenant.
fn converted(whole: &Region, seal: &archive::Seal) -> Result<HashSet<String>, Error> {
    let mut converted = HashSet::new();
    if seal.converted == 0 {
        return Ok(converted);
    }
    let mut reader = whole.reader();
    let offset = seal.ledger.offset;
    std::io::Seek::seek(&mut reader, std::io::SeekFrom::Start(offset))
        .map_err(|source| archive::Error::Read { offset, source })?;
    let content = BufReader::new(std::io::Read::take(reader, seal.ledger.length));
    let mut lines = Lines::new(content, LEDGER_PATH);
    while let Some(text) = lines.next_text()? {
        let line = LedgerLine::parse(&text)?;
        if line.outcome == Outcome::Converted {
            converted.extend(line.path);
        }
    }
    Ok(converted)
}
