//! Content that is too large for one request: upload sessions (FACTS 5.2, 5.6).
//!
//! Two hosts speak two dialects. A drive's answers with names like `nextExpectedRanges`, tells its
//! status by GET and ends with the item; Outlook's writes `NextExpectedRanges`, need not know GET
//! and ends with a `Location`. What they say is read in both ways, whoever says it.

use std::fmt;
use std::future::Future;
use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::Json;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::scope::Scope;
use crate::service::Graph;
use crate::session::{Answer, Chunk, Session};

/// Sessions that are started for one upload: a lost one is replaced three times.
const SESSIONS: u32 = 4;

/// What is to be uploaded, and where to.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Whose budget pays. Also the parts of a mailbox's attachment count against its upload budget
    /// and its connections.
    pub scope: Scope,
    /// Path of `createUploadSession`.
    pub path: String,
    /// Its body.
    pub body: Json,
    /// Bytes of the whole, not 0: there is no session for nothing (FACTS 5.6).
    pub total: u64,
    /// Bytes of a part, which is also the memory used: a multiple of 320 KiB below 60 MiB for a
    /// drive (FACTS 5.6), at most 4 MB for an attachment (FACTS 5.2).
    pub chunk: u64,
    /// The session is a resource of the service itself, as an attachment of a task has it
    /// (`attachmentSession` of the schema): if its address says so too, parts go to its `content`
    /// and carry the token.
    pub resource: bool,
}

/// What an upload has made.
#[derive(Clone)]
#[non_exhaustive]
pub struct Uploaded {
    /// The item, or `null` if the host does not tell it.
    pub item: Json,
    /// Where it is, if the host tells. Not for logs: it may be pre-authenticated.
    pub location: Option<String>,
}

impl fmt::Debug for Uploaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = self.location.as_ref().map(|_| "…");
        f.debug_struct("Uploaded").field("item", &self.item).field("location", &location).finish()
    }
}

/// The bytes of an upload, by position.
pub trait Source: Send {
    /// Exactly `length` bytes from `offset` on, or an error. Positions rise by what was read,
    /// unless a session is lost or a host forgets a part: then an earlier one is asked for. A
    /// source that can't go back answers that with [`io::ErrorKind::NotSeekable`].
    fn read(&mut self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>>;

    /// Called when all is read and the last part not yet sent: the last chance to find that what
    /// was read is wrong. Called again when the whole is read again.
    fn finish(&mut self) -> io::Result<()>;
}

impl Graph {
    /// Uploads `source` through a session (FACTS 5.2, 5.6).
    ///
    /// The last part is sent only after [`Source::finish`] agrees, so that a damaged source makes
    /// nothing. A session that is lost is started anew three times, from the first byte. When all
    /// was sent and it remains open whether that made the item, `found` is asked first, as in
    /// [`Graph::create`]. An upload that fails is cancelled at the host.
    ///
    /// Errors: [`ErrorKind::Source`], [`ErrorKind::UploadSessionLost`], those of
    /// [`Graph::create`], and those of `found`.
    pub async fn upload<F, Fut>(
        &self,
        upload: &Upload,
        source: &mut dyn Source,
        found: F,
    ) -> Result<Uploaded, Error>
    where
        F: Fn() -> Fut + Send,
        Fut: Future<Output = Result<Option<Json>, Error>> + Send,
    {
        if upload.total == 0 || upload.chunk == 0 {
            let error = Error::new(ErrorKind::Invalid, "upload");
            return Err(error.with_message("an upload session needs bytes, and parts of some"));
        }
        let engine = &self.engine;
        let mut lost = None;
        let mut in_doubt = false;
        for _ in 0..SESSIONS {
            let ended = match Session::open(self, upload).await {
                Ok(mut session) => {
                    let ended = transfer(engine, &mut session, upload, source).await;
                    in_doubt |= session.in_doubt;
                    if ended.is_err() {
                        session.cancel(engine).await;
                    }
                    ended
                }
                Err(error) => Err(error),
            };
            let again = match ended {
                Ok(Ended::Done(uploaded)) => return Ok(uploaded),
                Ok(Ended::Lost(error)) => Ok(error),
                Err(error) => Err(error),
            };
            if in_doubt {
                match (found().await, &again) {
                    (Ok(Some(item)), _) => return Ok(Uploaded { item, location: None }),
                    // Who can't look must not repeat.
                    (Err(error), Ok(_)) => return Err(error),
                    (Ok(None), _) | (Err(_), Err(_)) => {}
                }
            }
            lost = Some(again?);
        }
        let lost = lost.unwrap_or_else(|| Error::new(ErrorKind::Server, "upload"));
        Err(lost.with_kind(ErrorKind::UploadSessionLost))
    }
}

/// How a session ended.
enum Ended {
    Done(Uploaded),
    /// The host does not know it any more; what it said.
    Lost(Error),
}

/// Sends the source from its first byte to its last.
async fn transfer(
    engine: &Engine,
    session: &mut Session<'_>,
    upload: &Upload,
    source: &mut dyn Source,
) -> Result<Ended, Error> {
    let mut position = 0;
    let mut held: Option<Chunk> = None;
    loop {
        // What the host does not have yet of the part at hand, else the next part.
        let chunk = match held.take().and_then(|chunk| chunk.from(position)) {
            Some(chunk) => chunk,
            None => load(upload, source, position).await?,
        };
        let answer = session.send(engine, &chunk).await?;
        match answer {
            Answer::Next(next) if next > chunk.end() => {
                return Err(session.failure("the host wants more than it was sent"));
            }
            Answer::Next(next) => position = next,
            Answer::Done(uploaded) => return Ok(Ended::Done(uploaded)),
            Answer::Lost(error) => return Ok(Ended::Lost(error)),
        }
        held = Some(chunk);
    }
}

/// The part at `position`, which ends where the parts of an undisturbed upload end.
async fn load(upload: &Upload, source: &mut dyn Source, position: u64) -> Result<Chunk, Error> {
    let end = ((position / upload.chunk + 1) * upload.chunk).min(upload.total);
    let failed = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::NotSeekable => ErrorKind::UploadSessionLost,
            _ => ErrorKind::Source,
        };
        Error::new(kind, "upload").because(error)
    };
    let length =
        usize::try_from(end - position).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    let bytes = source.read(position, length).await.map_err(failed)?;
    if bytes.len() != length {
        return Err(failed(io::ErrorKind::UnexpectedEof.into()));
    }
    if end == upload.total {
        source.finish().map_err(failed)?;
    }
    Ok(Chunk { start: position, bytes })
}
