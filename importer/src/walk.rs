//! Goes through an archive once and hands out what is wanted, a section at a time.
//!
//! A file is walked by its manifest: of members that are not wanted nothing is read. A pipe is
//! walked as it comes. Both run on threads of their own, because reading blocks; what they hand
//! out is bounded by the channels between.

mod file;
mod stream;

use std::collections::HashSet;
use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::sync::Arc;

use archive::metadata::{self, Lines};
use archive::{End, OwnerNames, Sha256Digest};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::choice::Chooser;
use crate::content::Content;
use crate::error::Error;
use crate::item::Item;
use crate::journal::{Journal, Known};
use crate::region::Region;
use crate::section::{Owner, Section, label};
use crate::work::Work;

use file::walk as walk_file;
use stream::walk as walk_stream;

/// Content up to this many bytes is in memory.
const IN_MEMORY: u64 = 1 << 20;
/// Items read ahead of those that are under way, per section.
const AHEAD: usize = 4;

/// An archive to restore from.
pub enum Source {
    /// A file with a seal: only what is wanted is read.
    File(Region),
    /// Anything else, from its first byte on.
    Stream(Box<dyn Read + Send>),
}

/// What there is at the metadata of a section.
enum Found {
    /// Nothing that is wanted.
    Unwanted,
    Whole(Section, Work),
    /// Why it can't be trusted, with what can be read of it if that is to be used.
    Damaged(Option<(Section, Work)>, String),
}

/// What a walk goes by.
pub(crate) struct Ask {
    pub(crate) chooser: Chooser,
    /// Only items that an earlier run with this journal did not bring home.
    pub(crate) only_failed: Option<Arc<Journal>>,
    /// Of damaged metadata what can be read is used.
    pub(crate) incomplete: bool,
    /// Whether contents are read too; of a file only: a stream brings them anyway.
    pub(crate) contents: bool,
    pub(crate) spool_dir: PathBuf,
    pub(crate) spool_limit: u64,
}

/// A section of which something is wanted.
pub(crate) struct Task {
    pub(crate) section: Section,
    pub(crate) work: Arc<Work>,
    pub(crate) jobs: mpsc::Receiver<Job>,
}

/// One wanted item.
pub(crate) enum Job {
    /// With its content.
    Item(Box<Item>),
    /// The archive has it, but not as it should be.
    Bad { path: String, error: Error },
}

/// How a walk ended.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// How the archive ended; none if that was not looked at, because all that was wanted had
    /// been found before.
    pub(crate) end: Option<End>,
    /// Items that were given out before the archive's end said that they are not to be trusted:
    /// section and path.
    pub(crate) disproven: Vec<(String, String)>,
    /// The stream broke off here. What came before it was given out.
    pub(crate) broken: Option<archive::Error>,
    /// Sections whose metadata is damaged: prefix, and what is wrong. Nothing of them was given
    /// out, or what could be read of them if the walk was told to.
    pub(crate) damaged: Vec<(String, String)>,
    /// Sections that hold anything of what was asked for, with or without wanted items.
    pub(crate) sections: u64,
}

/// A walk under way, on a thread of its own.
pub(crate) struct Walk {
    /// The sections, in the order of the archive.
    pub(crate) tasks: mpsc::Receiver<Task>,
    thread: tokio::task::JoinHandle<Result<Walked, Error>>,
    spool_dir: PathBuf,
}

impl Walk {
    /// Begins one, of a file or of a stream.
    pub(crate) fn begin(source: Source, ask: Ask) -> Self {
        let (sender, tasks) = mpsc::channel(1);
        let spool_dir = ask.spool_dir.clone();
        let ask = Arc::new(ask);
        let thread = tokio::task::spawn_blocking(move || match source {
            Source::File(file) => walk_file(&file, &ask, &sender),
            Source::Stream(input) => walk_stream(input, &ask, &sender),
        });
        Self { tasks, thread, spool_dir }
    }

    /// How it ended, when no more sections come.
    pub(crate) async fn ended(self) -> Result<Walked, Error> {
        let failed =
            |error| Error::Spool { path: self.spool_dir, source: std::io::Error::other(error) };
        self.thread.await.map_err(failed)?
    }
}

/// What the walk has seen of wanted owners, to know when all is found.
#[derive(Default)]
struct Seen {
    owners: HashSet<String>,
    last_owner: String,
    sections_of_last: usize,
}

impl Seen {
    /// A section of a wanted owner was read.
    fn section(&mut self, prefix: &str) {
        let owner = owner_folder(prefix);
        if self.last_owner != owner {
            owner.clone_into(&mut self.last_owner);
            self.sections_of_last = 0;
            self.owners.insert(owner.to_owned());
        }
        self.sections_of_last += 1;
    }

    /// Whether nothing of what follows can be wanted.
    fn is_over(&self, chooser: &Chooser) -> bool {
        chooser.is_over(self.owners.len(), self.sections_of_last)
    }

    /// The same, when the walk is at the section with this prefix.
    fn is_over_at(&self, prefix: &str, chooser: &Chooser) -> bool {
        let another = self.last_owner != owner_folder(prefix);
        self.is_over(chooser) || another && chooser.knows_all(self.owners.len())
    }
}

/// `users/<upn>` of a section's prefix.
fn owner_folder(prefix: &str) -> &str {
    prefix.rsplit_once('/').map_or(prefix, |(owner, _)| owner)
}

/// The owner of a section by the first line of its metadata; by its path if it does not say.
fn owner_of(first_line: &str, prefix: &str) -> Owner {
    let line = metadata::Line::parse(first_line).ok().filter(|line| line.kind == metadata::OWNER);
    if let Some(line) = line {
        let names = OwnerNames::from_graph(&line.graph);
        return Owner { id: line.id, names };
    }
    let folder = prefix.split('/').nth(1).unwrap_or_default();
    let upn = archive::path::unescape(folder);
    let is_group = prefix.starts_with("groups/");
    Owner { names: OwnerNames { upn, is_group, ..OwnerNames::default() }, ..Owner::default() }
}

impl Ask {
    /// Reads the metadata of a section whose service is wanted.
    ///
    /// # Errors
    /// Not for damaged metadata.
    fn section(
        &self,
        prefix: &str,
        service: crate::Service,
        content: impl BufRead,
        sha256: Option<&Sha256Digest>,
    ) -> Result<Found, Error> {
        let mut lines = Lines::new(content, &format!("{prefix}.ndjson"));
        let (first, mut damage) = match lines.next_text() {
            Ok(None) => return Ok(Found::Unwanted),
            Ok(Some(first)) => {
                let damage = metadata::Line::parse(&first).err();
                (first, damage)
            }
            Err(error) => (String::new(), Some(error)),
        };
        let owner = owner_of(&first, prefix);
        if !self.chooser.owner(&owner.names) {
            return Ok(Found::Unwanted);
        }
        let work = Work::create(&self.spool_dir, prefix)?;
        let mut newest: Option<String> = None;
        loop {
            let error = match lines.next_line() {
                Ok(None) => break,
                Ok(Some(line)) => match self.line(&line, prefix, &work, &mut newest)? {
                    true => continue,
                    false => archive::Error::Invalid {
                        place: lines.place(),
                        what: "a second item with the same path".into(),
                    },
                },
                Err(error) => error,
            };
            let is_over =
                !matches!(error, archive::Error::Json { .. } | archive::Error::Invalid { .. });
            damage.get_or_insert(error);
            // To its end in any case: else its digest would trouble the next member.
            if is_over {
                break;
            }
        }
        let section = Section {
            prefix: prefix.to_owned(),
            service,
            owner,
            label: label(newest.as_deref(), sha256),
        };
        match damage {
            None => Ok(Found::Whole(section, work)),
            Some(damage) if self.incomplete => {
                Ok(Found::Damaged(Some((section, work)), crate::error::chain(&damage)))
            }
            Some(damage) => Ok(Found::Damaged(None, crate::error::chain(&damage))),
        }
    }

    /// Takes note of one line; false if it can't be.
    fn line(
        &self,
        line: &metadata::Line,
        prefix: &str,
        work: &Work,
        newest: &mut Option<String>,
    ) -> Result<bool, Error> {
        match line.kind.as_str() {
            metadata::OWNER => Ok(true),
            metadata::FOLDER => work.add_folder(line).map(|()| true),
            _ => {
                let date = |key| line.graph.get(key).and_then(serde_json::Value::as_str);
                let date = date("receivedDateTime").or_else(|| date("lastModifiedDateTime"));
                if date > newest.as_deref() {
                    *newest = date.map(str::to_owned);
                }
                Ok(!self.wants(line, prefix)? || work.add_item(line)?)
            }
        }
    }

    fn wants(&self, line: &metadata::Line, prefix: &str) -> Result<bool, Error> {
        let Some(path) = line.path.as_deref().filter(|_| self.chooser.item(line, prefix)) else {
            return Ok(false);
        };
        match &self.only_failed {
            None => Ok(true),
            Some(journal) => Ok(!matches!(journal.known(prefix, path)?, Known::New | Known::Done)),
        }
    }

    /// The content of a member, proven as far as it can be before its end: in memory, or in a
    /// temporary file.
    fn content(&self, mut reader: impl Read, size: u64, path: &str) -> Result<Content, Error> {
        let broken = |source| Error::from(archive::Error::from_content(path, source));
        if size <= IN_MEMORY {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            reader.read_to_end(&mut bytes).map_err(broken)?;
            return Ok(Content::Memory(Bytes::from(bytes)));
        }
        let spool = |source| Error::Spool { path: self.spool_dir.clone(), source };
        let mut file = tempfile::tempfile_in(&self.spool_dir).map_err(spool)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = reader.read(&mut buffer).map_err(broken)?;
            if read == 0 {
                return Ok(Content::Spooled(Arc::new(file), size));
            }
            std::io::Write::write_all(&mut file, &buffer[..read]).map_err(spool)?;
        }
    }
}
