//! Where an archive comes from: a file, a server that gives parts of one, or a pipe; compressed or
//! not.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use archive::{Entry, OwnerNames, Region, Selection, Selector, metadata};
use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::Handle;
use tokio_util::io::SyncIoBridge;

use crate::exit::{Code, Failure};
use crate::remote;

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The name of an archive as it may be shown: of an address not the query.
pub(crate) fn shown(path: &Path) -> String {
    match path.to_str().filter(|path| remote::is_url(path)) {
        Some(url) => remote::shown(url),
        None => path.display().to_string(),
    }
}

/// An archive to read.
pub(crate) enum Input {
    /// A plain file, or one on a server that gives parts: members can be reached by their place.
    Seekable(Region),
    /// Anything else, from its first byte to its last.
    Stream(Box<dyn Read + Send>),
}

impl Input {
    /// Opens `path`, or standard input for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::because(Code::Fatal, &format!("opening {}", shown(path)), &error)
        };
        if let Some(url) = path.to_str().filter(|path| remote::is_url(path)) {
            let file = remote::open(url).map_err(failed)?;
            let start = peek(&mut file.reader()).map_err(failed)?;
            return match is_packed(&start) {
                true => unpack(Box::new(file.reader())).map(Self::Stream).map_err(failed),
                false => Ok(Self::Seekable(file)),
            };
        }
        if path.as_os_str() == "-" {
            return Ok(Self::Stream(unpack(Box::new(io::stdin())).map_err(failed)?));
        }
        let mut file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if meta.is_dir() {
            return Err(Failure::new(Code::Fatal, format!("{} is a folder", path.display()))
                .hint("an archive is a file, or - for standard input"));
        }
        if !meta.is_file() {
            return Ok(Self::Stream(unpack(Box::new(file)).map_err(failed)?));
        }
        let start = peek(&mut file).map_err(failed)?;
        file.rewind().map_err(failed)?;
        if is_packed(&start) {
            return Ok(Self::Stream(unpack(Box::new(file)).map_err(failed)?));
        }
        Region::whole(file).map(Self::Seekable).map_err(failed)
    }

    /// As those want it who read a file by its manifest. One without a seal is read as a stream.
    pub(crate) fn into_source(self) -> importer::Source {
        match self {
            Self::Seekable(file) if archive::Index::open(file.reader()).is_ok() => {
                importer::Source::File(file)
            }
            Self::Seekable(file) => importer::Source::Stream(Self::Seekable(file).into_stream()),
            Self::Stream(stream) => importer::Source::Stream(stream),
        }
    }

    /// As those want it who read it more than once: what is on a pipe is kept in an unlinked file.
    ///
    /// # Errors
    /// If `dir` has no room for it.
    pub(crate) fn into_region(self, dir: &Path) -> io::Result<Region> {
        match self {
            Self::Seekable(file) => Ok(file),
            Self::Stream(mut stream) => {
                let mut kept = tempfile::tempfile_in(dir)?;
                tokio::task::block_in_place(|| io::copy(&mut stream, &mut kept))?;
                Region::whole(kept)
            }
        }
    }

    /// From the first byte to the last.
    pub(crate) fn into_stream(self) -> Box<dyn Read + Send> {
        match self {
            Self::Seekable(file) => Box::new(BufReader::with_capacity(256 * 1024, file.reader())),
            Self::Stream(stream) => stream,
        }
    }
}

fn peek(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(4);
    input.take(4).read_to_end(&mut start)?;
    Ok(start)
}

fn is_packed(start: &[u8]) -> bool {
    start.starts_with(&ZSTD) || start.starts_with(&GZIP)
}

/// Decompresses if it is compressed.
pub(crate) fn unpack(mut input: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let start = peek(&mut input)?;
    let is_zstd = start.starts_with(&ZSTD);
    let is_gzip = start.starts_with(&GZIP);
    let whole = Cursor::new(start).chain(input);
    if !is_zstd && !is_gzip {
        return Ok(Box::new(BufReader::with_capacity(256 * 1024, whole)));
    }
    let packed = tokio::io::BufReader::with_capacity(256 * 1024, Blocking(whole));
    Ok(if is_zstd {
        Box::new(SyncIoBridge::new_with_handle(ZstdDecoder::new(packed), Handle::current()))
    } else {
        Box::new(SyncIoBridge::new_with_handle(GzipDecoder::new(packed), Handle::current()))
    })
}

/// A blocking reader, as the decoders want it. Only polled from a thread that may block.
struct Blocking<R>(R);

impl<R: Read + Unpin> AsyncRead for Blocking<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.read(into.initialize_unfilled())?;
        into.advance(read);
        Poll::Ready(Ok(()))
    }
}

/// Which members of an archive are wanted. Owners are known by the first line of their metadata,
/// which comes before their content.
pub(crate) struct Wanted {
    selection: Selection,
    selector: Selector,
    /// The owner the stream is at: folder in the archive, and whether he is wanted.
    owner: Option<(String, bool)>,
}

impl Wanted {
    pub(crate) fn new(selection: Selection) -> Result<Self, Failure> {
        let selector = selection.compile()?;
        Ok(Self { selection, selector, owner: None })
    }

    /// True when everything is wanted, also what is the archive's own.
    pub(crate) fn everything(&self) -> bool {
        self.selection == Selection::default()
    }

    /// Tells who the owner of the following members is, from the first line of his metadata.
    pub(crate) fn learn(&mut self, path: &str, first_line: &str) {
        let Some(folder) = owner_folder(path) else {
            return;
        };
        let names = metadata::Line::parse(first_line)
            .ok()
            .filter(|line| line.kind == metadata::OWNER)
            .map(|line| OwnerNames::from_graph(&line.graph))
            .unwrap_or_else(|| OwnerNames {
                upn: archive::path::unescape(folder.split('/').nth(1).unwrap_or_default()),
                is_group: folder.starts_with("groups/"),
                ..OwnerNames::default()
            });
        self.owner = Some((folder.to_owned(), self.selector.matches_owner(&names)));
    }

    fn names_owners(&self) -> bool {
        !self.selection.users.is_empty() || !self.selection.groups.is_empty()
    }

    /// Whether the owner's metadata must be looked at before `path` can be decided.
    pub(crate) fn needs(&self, path: &str) -> bool {
        self.names_owners() && is_metadata(path)
    }

    /// Whether the member at `path` is wanted. Metadata has no time of its own.
    pub(crate) fn wants(&self, path: &str, mtime: Option<i64>) -> bool {
        if self.everything() {
            return true;
        }
        let Some(folder) = owner_folder(path) else {
            return false;
        };
        let owner = !self.names_owners()
            || self.owner.as_ref().is_some_and(|(known, wanted)| known == folder && *wanted);
        owner
            && self.selector.matches_service(service(path))
            && self.selector.matches_path(path)
            && mtime.is_none_or(|mtime| self.selector.matches_time(mtime))
    }

    /// [`Wanted::wants`] for an entry of the stream.
    pub(crate) fn wants_entry(&self, entry: &Entry) -> bool {
        let timed = entry.kind == archive::Kind::File && !is_metadata(&entry.path);
        self.wants(&entry.path, timed.then_some(entry.mtime))
    }
}

impl archive::extract::Choice for Wanted {
    fn wants(&mut self, entry: &Entry) -> bool {
        self.wants_entry(entry)
    }

    fn asks_owner(&self, entry: &Entry) -> bool {
        self.needs(&entry.path)
    }

    fn learn(&mut self, entry: &Entry, first_line: &str) {
        Self::learn(self, &entry.path, first_line);
    }
}

/// `users/<upn>/<service>.ndjson`, and the same of a group.
pub(crate) fn is_metadata(path: &str) -> bool {
    metadata::section_of(path).is_some()
}

/// `users/<upn>` or `groups/<name>` of anything below it.
fn owner_folder(path: &str) -> Option<&str> {
    let (above, rest) = path.split_once('/')?;
    let end = rest.find('/').filter(|_| matches!(above, "users" | "groups"))?;
    path.get(..above.len() + 1 + end)
}

/// The service of `users/<upn>/<service>[.ndjson|/…]`.
fn service(path: &str) -> &str {
    let name = path.split('/').nth(2).unwrap_or_default();
    name.strip_suffix(".ndjson").unwrap_or(name)
}
