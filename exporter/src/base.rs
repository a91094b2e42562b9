//! The archive of an earlier run as the source of what has not changed (design 4).
//!
//! Both streams have the same order, which no edit changes, so it is a merge join: item by item
//! the earlier archive is moved on to where the present one is. What is there with the same id is
//! given out with its content and what the service said of it then; whether it may be used is for
//! the section to decide. Nothing of a service is known here.

mod boundary;
mod file;
mod stream;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use archive::metadata::Line;
use archive::{FilterRef, Head, Region, Sha256Digest};
use serde_json::Value;
use tokio::sync::watch;

pub(crate) use boundary::equal_but_boundaries;

use self::file::FileSection;
pub(crate) use self::file::{BaseLines, FileBase, ledger};
use self::stream::{StreamBase, StreamSection};
use crate::Error;
use crate::context::Context;
use crate::options::Options;
use crate::service::Note;
use crate::spool::{Spooled, Turn};

/// An earlier archive.
pub struct Base {
    /// Where it is.
    pub source: BaseSource,
    /// It may lack its seal: what it holds whole is used, the rest is fetched (`--resume`).
    pub incomplete: bool,
    /// The share of unchanged items, 0 to 1, that is fetched all the same and compared.
    pub reread: f64,
}

/// Where an earlier archive is.
pub enum BaseSource {
    /// In a file: only what is needed is read.
    File(Region),
    /// On a pipe, with what tells at its end whether who wrote it was well.
    Stream(Box<dyn Read + Send>, Ended),
}

/// Asked when a stream has ended; an error says what was wrong.
pub type Ended = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// An item of the base that has the id of a present one.
#[derive(Debug)]
pub(crate) struct Earlier {
    /// What the service said of it then.
    pub(crate) graph: Value,
    pub(crate) content: EarlierContent,
    /// What the ledger said of it.
    pub(crate) note: Option<Note>,
}

/// The bytes of an item of the base.
#[derive(Debug)]
pub(crate) enum EarlierContent {
    /// In the base's file; to be proven before it is used.
    Region(Region, Sha256Digest),
    /// Taken off the pipe, and proven.
    Spooled(Spooled),
}

/// A base that is ready to be asked.
pub(crate) struct OpenBase {
    kind: Kind,
    reread: f64,
    /// It went through the same plugins.
    is_filtered: bool,
    /// Services whose contents it has in another form than is asked for now.
    unlike: Vec<&'static str>,
}

enum Kind {
    File(Box<FileBase>),
    Stream(Arc<Mutex<StreamBase>>, Gate),
}

/// The base's side of one section.
pub(crate) enum SectionBase<'a> {
    /// There is none: everything is fetched.
    None,
    File(Box<FileSection>),
    Stream {
        section: Box<StreamSection>,
        /// Held until the section is done.
        _pass: Pass<'a>,
    },
}

impl OpenBase {
    /// Opens it and checks that it is one of ours. Reads the manifest of a file.
    ///
    /// # Errors
    /// For anything that would silently make a full export of an incremental one: a base that is
    /// damaged, foreign, of another tenant, of a shard that has no owner of ours, or went through
    /// other filters.
    pub(crate) fn open(base: Base, options: &Options) -> Result<Self, Error> {
        let filters = options.plugins.references();
        let Base { source, incomplete, reread } = base;
        let is_filtered = !filters.is_empty();
        let (kind, head) = match source {
            BaseSource::File(file) => {
                let base = FileBase::open(&file)?;
                let head = base.head().clone();
                (Kind::File(Box::new(base)), head)
            }
            BaseSource::Stream(input, ended) => {
                let base = StreamBase::open(input, ended, incomplete)?;
                let head = base.head().clone();
                (Kind::Stream(Arc::new(Mutex::new(base)), Gate::default()), head)
            }
        };
        check(&head, options, &filters)?;
        let is_filtered = is_filtered && !head.filters.is_empty();
        let unlike = options.services.iter().filter(|service| !service.is_alike(&head, options));
        let unlike = unlike.map(|service| service.name()).collect();
        Ok(Self { kind, reread, is_filtered, unlike })
    }

    /// Whether it went through the same plugins as what is written now: its items are final.
    pub(crate) const fn is_filtered(&self) -> bool {
        self.is_filtered
    }

    /// Whether a section can be asked for twice.
    pub(crate) const fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File(_))
    }

    /// An archive that is the source of everything: no plugin of this run has seen it.
    pub(crate) fn of(base: FileBase) -> Self {
        let kind = Kind::File(Box::new(base));
        Self { kind, reread: 0.0, is_filtered: false, unlike: Vec::new() }
    }

    /// The metadata of a section, if it can be read ahead of its turn.
    pub(crate) fn lines(&self, owner: &str, service: &str) -> Result<Option<BaseLines>, Error> {
        match &self.kind {
            Kind::File(base) => tokio::task::block_in_place(|| base.metadata(owner, service)),
            Kind::Stream(..) => Ok(None),
        }
    }

    /// The base's part of the section with this number, once all sections before it are done with
    /// a base that can't go back. None of what it has in another form: that is made anew.
    pub(crate) async fn section(
        &self,
        context: &Context,
        number: u64,
        owner: &str,
        service: &str,
    ) -> Result<SectionBase<'_>, Error> {
        if self.unlike.contains(&service) {
            self.section_done(number);
            return Ok(SectionBase::None);
        }
        match &self.kind {
            Kind::File(base) => {
                let section = tokio::task::block_in_place(|| base.section(owner, service))?;
                Ok(section.map_or(SectionBase::None, |s| SectionBase::File(Box::new(s))))
            }
            Kind::Stream(base, gate) => {
                let pass = gate.wait(number).await;
                let section = StreamSection::find(base, owner, service, context.spool.dir())?;
                Ok(match section {
                    Some(section) => {
                        SectionBase::Stream { section: Box::new(section), _pass: pass }
                    }
                    None => SectionBase::None,
                })
            }
        }
    }

    /// Says that a section needs nothing of the base any more.
    pub(crate) fn section_done(&self, number: u64) {
        if let Kind::Stream(_, gate) = &self.kind {
            gate.done(number);
        }
    }

    /// Whether an unchanged item belongs to the sample that is fetched again. The same for the
    /// same base and item, so that two runs agree; another sample with another base.
    pub(crate) fn is_sampled(&self, id: &str, metadata: &str) -> bool {
        use sha2::{Digest, Sha256};
        if self.reread <= 0.0 {
            return false;
        }
        let digest: [u8; 32] = Sha256::new_with_prefix(metadata).chain_update(id).finalize().into();
        let number = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
        f64::from(number) < self.reread * f64::from(u32::MAX)
    }

    /// At the end of the export: a base that turns out not to be whole is an error even now. Waits
    /// for who writes it.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        match &self.kind {
            Kind::File(_) => Ok(()),
            Kind::Stream(base, _) => lock(base).finish(),
        }
    }
}

impl SectionBase<'_> {
    /// The base's item with this place in the order, if it has one. Places must rise.
    pub(crate) async fn take(
        &mut self,
        context: &Context,
        key: i64,
        id: &str,
        turn: Turn,
    ) -> Result<Option<Earlier>, Error> {
        match self {
            Self::None => Ok(None),
            Self::File(section) => tokio::task::block_in_place(|| section.take(key, id)),
            Self::Stream { section, .. } => section.take(context, key, id, turn).await,
        }
    }

    /// The digest of the base's metadata in hex, as far as it is known; the sample goes by it.
    pub(crate) fn metadata(&self) -> &str {
        match self {
            Self::None => "",
            Self::File(section) => section.metadata(),
            Self::Stream { section, .. } => section.metadata(),
        }
    }
}

/// What must be equal between two nights.
fn check(head: &Head, options: &Options, filters: &[FilterRef]) -> Result<(), Error> {
    let tenant = &options.tenant;
    if head.tenant != *tenant {
        return Err(Error::Base {
            what: format!("it is of the tenant {}, not of {tenant}", head.tenant),
        });
    }
    if let (Some(base), Some(ours)) = (head.shard(), options.selection.shard)
        && base.is_disjoint_from(ours)
    {
        let what = format!("it is shard {base}, which has no owner of shard {ours}");
        return Err(Error::Base { what });
    }
    // What no plugin has seen they can see now; what others did can't be taken back.
    if !head.filters.is_empty() && head.filters != filters {
        return Err(Error::Base { what: "its content went through other filters".to_owned() });
    }
    Ok(())
}

/// The order of an item in its section.
fn place(line: &Line) -> Option<(i64, &str)> {
    let key = line.key().filter(archive::metadata::OrderKey::is_item)?;
    Some((key.nanoseconds(), line.id.as_str()))
}

/// Whether the service says that the content is what it was: by the hash of the content, else by
/// the content's tag, else by the item's own. The entity tag counts where a service keeps it, which
/// it does where there is no other. What belongs to an item without being a property of it need not
/// show in its tag (FACTS 3.0), so where it stands in the item's JSON it is compared itself.
pub(crate) fn is_same_content(earlier: &Value, now: &Value) -> bool {
    const PARTS: [&str; 3] = ["attachments", "checklistItems", "linkedResources"];
    const TAGS: [&str; 5] =
        ["/file/hashes/quickXorHash", "/cTag", "/eTag", "/changeKey", "/@odata.etag"];
    let size = |item: &Value| item.pointer("/size").and_then(Value::as_u64);
    if size(earlier) != size(now) || PARTS.iter().any(|part| earlier.get(part) != now.get(part)) {
        return false;
    }
    let tag = |item: &'_ Value, tag| item.pointer(tag).and_then(Value::as_str).map(str::to_owned);
    let both = TAGS.iter().find_map(|name| tag(earlier, name).zip(tag(now, name)));
    both.is_some_and(|(earlier, now)| earlier == now)
}

fn damaged(source: archive::Error) -> Error {
    Error::BadBase(source)
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets sections pass in their order.
#[derive(Debug)]
struct Gate {
    next: watch::Sender<u64>,
    early: Mutex<BTreeSet<u64>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { next: watch::Sender::new(0), early: Mutex::default() }
    }
}

/// The right to move the base on; the next section has it when this is dropped.
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.done(self.number);
    }
}

impl Gate {
    async fn wait(&self, number: u64) -> Pass<'_> {
        let mut next = self.next.subscribe();
        // The sender lives as long as we do.
        let _ = next.wait_for(|next| *next >= number).await;
        Pass { gate: self, number }
    }

    fn done(&self, number: u64) {
        let mut early = lock(&self.early);
        self.next.send_modify(|next| {
            if number >= *next {
                early.insert(number);
            }
            while early.remove(next) {
                *next += 1;
            }
        });
    }
}

/// Reads a base's content to its end, which proves it.
pub(crate) fn prove(region: &Region, sha256: Sha256Digest) -> io::Result<()> {
    let mut proven = archive::region::Proven::new(region.reader(), Some(sha256));
    let most = usize::try_from(region.length()).unwrap_or(usize::MAX);
    let mut buffer = vec![0; most.clamp(1, 256 * 1024)];
    while proven.read(&mut buffer)? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_same_content;
    use serde_json::json;

    #[test]
    fn the_content_decides_where_the_service_tells_of_it() {
        let file = |hash: &str, tag: &str| json!({"size": 3, "eTag": tag, "file": {"hashes": {"quickXorHash": hash}}});
        assert!(is_same_content(&file("a", "1"), &file("a", "2")));
        assert!(!is_same_content(&file("a", "1"), &file("b", "1")));
        let tagged = |size: u64, tag: &str| json!({"size": size, "eTag": tag});
        assert!(is_same_content(&tagged(3, "1"), &tagged(3, "1")));
        assert!(!is_same_content(&tagged(3, "1"), &tagged(4, "1")));
        assert!(!is_same_content(&json!({"changeKey": "a"}), &json!({"changeKey": "b"})));
        assert!(is_same_content(&json!({"changeKey": "a"}), &json!({"changeKey": "a"})));
        assert!(!is_same_content(&json!({}), &json!({})));
        let task =
            |step: &str| json!({"@odata.etag": "1", "checklistItems": [{"displayName": step}]});
        assert!(is_same_content(&task("bread"), &task("bread")));
        assert!(!is_same_content(&task("bread"), &task("milk")));
    }
}
