//! A file larger than the spool: streamed when it is its turn (design.md 3.5).
//!
//! Its header says a size before its last byte is known to exist, so the stream is pinned to one
//! version: resumed while the file stays the same, finished from the version store when it moved
//! on, padded with zeros and called damaged when even that is gone. One busy file never costs the
//! night.

use archive::Outcome;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use graph::{Download, ErrorKind, Prefer, Scope, segment};
use quickxorhash::QuickXorHash;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::Error;
use crate::context::Context;
use crate::error::is_fatal;
use crate::filter::Piece;
use crate::service::{Note, Service};
use crate::stream::{Command, Stream};

/// Times the file is opened anew because it moved on while we asked for its version.
const OPENINGS: usize = 3;
/// Times a download that breaks for other reasons is taken up again.
const RESUMES: usize = 8;

/// What is known of the file when its turn comes.
#[derive(Debug)]
pub(crate) struct Large {
    /// Knows why a file can't be read.
    pub(crate) service: Service,
    pub(crate) drive: String,
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) mtime: i64,
    pub(crate) length: u64,
    /// quickXorHash of the listing.
    pub(crate) hash: Option<String>,
    /// eTag of the listing.
    pub(crate) etag: Option<String>,
    /// MIME type of the listing.
    pub(crate) mime: Option<String>,
}

/// The file opened, and the version that is being read if it could be told.
struct Opened {
    download: Download,
    version: Option<Version>,
}

/// A version of the file, as the version store tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    id: String,
    size: Option<u64>,
}

/// Where a large file goes.
pub(crate) enum Sink<'a> {
    /// Into the archive.
    Archive(&'a mut Stream),
    /// To plugins, until nobody reads any more.
    Pipe(mpsc::Sender<Piece>),
}

impl Sink<'_> {
    async fn begin(&mut self, path: String, mtime: i64, size: u64) -> Result<(), Error> {
        match self {
            Self::Archive(stream) => stream.send(Command::Begin { path, mtime, size }).await,
            Self::Pipe(pipe) => {
                drop(pipe.send(Piece::Size(size)).await);
                Ok(())
            }
        }
    }

    async fn chunk(&mut self, bytes: Bytes) -> Result<(), Error> {
        match self {
            Self::Archive(stream) => stream.send(Command::Chunk(bytes)).await,
            Self::Pipe(pipe) => {
                drop(pipe.send(Piece::Bytes(bytes)).await);
                Ok(())
            }
        }
    }

    async fn end(&mut self, damaged: bool) -> Result<(), Error> {
        match self {
            Self::Archive(stream) => stream.send(Command::End { damaged }).await,
            Self::Pipe(pipe) => {
                if damaged {
                    drop(pipe.send(Piece::Torn).await);
                }
                Ok(())
            }
        }
    }

    /// Nobody reads it any more.
    fn is_closed(&self) -> bool {
        matches!(self, Self::Pipe(pipe) if pipe.is_closed())
    }
}

impl Large {
    /// Writes the member. A note when it is not what the service has, or could not be begun.
    pub(crate) async fn write(
        &self,
        context: &Context,
        sink: &mut Sink<'_>,
    ) -> Result<Option<Note>, Error> {
        let mut opened = match self.open(context).await {
            Ok(opened) => opened,
            Err(error) if is_fatal(&error) => return Err(self.fatal(error)),
            Err(error) => return Ok(Some(self.service.refusal(context, self, &error).await)),
        };
        opened.download.learn_length().await;
        let size = match opened.download.length {
            Some(length) => length,
            None => match opened.version.as_ref().and_then(|version| version.size) {
                Some(size) => size,
                None => self.told_size(context).await,
            },
        };
        let (path, mtime) = (self.path.clone(), self.mtime);
        sink.begin(path, mtime, size).await?;
        let mut body = Body { left: size, hash: QuickXorHash::new(), moved: false, surplus: false };
        let torn = self.copy(context, sink, &mut opened, &mut body).await?;
        if sink.is_closed() {
            return Ok(None);
        }
        let note = match torn {
            Some(error) => {
                let message = "the file changed or broke off while it was streamed, and the version \
                               begun could not be had to its end; the rest is zeros";
                Some(Note::new(Outcome::Damaged, "torn", message).with_code(&error))
            }
            None if body.left > 0 => {
                let message = "the file is shorter than the service said; the rest is zeros";
                Some(Note::new(Outcome::Damaged, "short", message))
            }
            None if body.surplus => {
                let message = "the file is longer than the service said; what is beyond is missing";
                Some(Note::new(Outcome::Damaged, "long", message))
            }
            None => {
                let hash = STANDARD.encode(body.hash.finalize());
                self.check(context, body.moved, &opened, &hash).await
            }
        };
        sink.end(note.is_some()).await?;
        Ok(note)
    }

    /// Proves the bytes where two versions might have been mixed: those of the listed version
    /// have its hash; those of a later one are trusted when the version was pinned at opening.
    async fn check(
        &self,
        context: &Context,
        moved: bool,
        opened: &Opened,
        hash: &str,
    ) -> Option<Note> {
        if self.hash.as_deref() == Some(hash) {
            return None;
        }
        if !moved {
            return self.compare(context, hash).await;
        }
        if opened.version.is_some() {
            return None;
        }
        let message = "the file changed while it was streamed; its parts may be of two versions";
        Some(Note::new(Outcome::Damaged, "torn", message))
    }

    /// One version came in whole, but not with the hash of the listing. Right if the file has
    /// changed since it was listed; else, or if nobody tells, the bytes are not to be trusted, and
    /// it is too late to read them again.
    async fn compare(&self, context: &Context, hash: &str) -> Option<Note> {
        self.hash.as_ref()?;
        let path = format!("/drives/{}/items/{}", segment(&self.drive), segment(&self.id));
        let item = match context.graph().get(&Scope::SharePoint, &path, Prefer::none()).await {
            Ok(item) => item,
            Err(error) => {
                let message = "the bytes are not those of the listed hash, and whether the file \
                               has changed since could not be asked";
                return Some(Note::new(Outcome::Damaged, "unproven", message).with_code(&error));
            }
        };
        let changed = item["eTag"].as_str().is_some_and(|tag| self.etag.as_deref() != Some(tag));
        if changed || listed_hash(&item).is_none_or(|now| now == hash) {
            return None;
        }
        let message = "the bytes are not those of the service's hash";
        Some(Note::new(Outcome::Damaged, "hash-mismatch", message))
    }

    /// Opens the file and tells which version it is. The newest, if that was so before and after;
    /// or if it is after, and the item has the download's entity tag still. A file that changes
    /// whenever it is opened needs the second rule.
    async fn open(&self, context: &Context) -> Result<Opened, graph::Error> {
        let mut before = self.newest_version(context).await;
        for _ in 1..OPENINGS {
            let download = context.graph().open_file(&self.drive, &self.id).await?;
            let after = self.newest_version(context).await;
            if before == after || self.has_tag(context, download.etag.as_deref()).await {
                return Ok(Opened { download, version: after });
            }
            before = after;
        }
        let download = context.graph().open_file(&self.drive, &self.id).await?;
        Ok(Opened { download, version: None })
    }

    /// Whether the item's eTag is that of the download: nothing has changed since it was opened.
    async fn has_tag(&self, context: &Context, tag: Option<&str>) -> bool {
        let Some(tag) = tag else { return false };
        let path =
            format!("/drives/{}/items/{}?$select=id,eTag", segment(&self.drive), segment(&self.id));
        let item = context.graph().get(&Scope::SharePoint, &path, Prefer::none()).await;
        item.is_ok_and(|item| item["eTag"].as_str() == Some(tag))
    }

    /// Without versions (or the right to see them) a file that changes is damaged, no more.
    async fn newest_version(&self, context: &Context) -> Option<Version> {
        let path = format!("/drives/{}/items/{}/versions", segment(&self.drive), segment(&self.id));
        let versions = context.graph().get(&Scope::SharePoint, &path, Prefer::none()).await.ok()?;
        let newest = &versions["value"][0];
        let id = newest["id"].as_str()?.to_owned();
        Some(Version { id, size: newest["size"].as_u64() })
    }

    /// Copies to the end; the error that ended it early.
    async fn copy(
        &self,
        context: &Context,
        sink: &mut Sink<'_>,
        opened: &mut Opened,
        body: &mut Body,
    ) -> Result<Option<graph::Error>, Error> {
        let size = body.left;
        let mut resumes = 0;
        while body.left > 0 && !sink.is_closed() {
            let error = match opened.download.chunk().await {
                Ok(Some(chunk)) => {
                    sink.chunk(body.take(chunk)).await?;
                    continue;
                }
                Ok(None) => break,
                Err(error) => error,
            };
            if is_fatal(&error) {
                return Err(self.fatal(error));
            }
            resumes += 1;
            let changed = *error.kind() == ErrorKind::Changed;
            let Some(version) = opened.version.clone().filter(|_| resumes <= RESUMES) else {
                body.moved |= changed;
                return Ok(Some(error));
            };
            body.moved |= changed;
            let offset = size - body.left;
            match context.graph().open_version(&self.drive, &self.id, &version.id, offset).await {
                Ok(download) if download.length.is_none_or(|length| length == size) => {
                    opened.download = download;
                }
                Ok(_) => return Ok(Some(error)),
                Err(error) if is_fatal(&error) => return Err(self.fatal(error)),
                Err(error) => return Ok(Some(error)),
            }
        }
        // Without a length nobody told the download where to end.
        body.surplus |= opened.download.length.is_none()
            && matches!(opened.download.chunk().await, Ok(Some(more)) if !more.is_empty());
        Ok(None)
    }

    /// The size the item has now, for a download that tells none.
    async fn told_size(&self, context: &Context) -> u64 {
        let path =
            format!("/drives/{}/items/{}?$select=id,size", segment(&self.drive), segment(&self.id));
        let item = context.graph().get(&Scope::SharePoint, &path, Prefer::none()).await;
        item.ok().and_then(|item| item["size"].as_u64()).unwrap_or(self.length)
    }

    fn fatal(&self, error: graph::Error) -> Error {
        Error::graph(format!("reading {}", self.path), error)
    }
}

/// What the listing says of a file's content.
pub(crate) fn listed_hash(item: &Value) -> Option<&str> {
    item.pointer("/file/hashes/quickXorHash").and_then(Value::as_str)
}

struct Body {
    left: u64,
    hash: QuickXorHash,
    moved: bool,
    /// More came than the header has room for.
    surplus: bool,
}

impl Body {
    /// At most what the header still has room for.
    fn take(&mut self, mut chunk: Bytes) -> Bytes {
        if chunk.len() as u64 > self.left {
            self.surplus = true;
            chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        }
        self.left -= chunk.len() as u64;
        self.hash.update(&chunk);
        chunk
    }
}
