//! An archive on a web server that gives parts of files (RFC 9110 section 14): opened like a file,
//! read where it is needed.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archive::Region;
use archive::region::ReadAt;
use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE,
};
use reqwest::{Client, StatusCode};
use tokio::runtime::Handle;

/// Bytes asked for at a place of its own: metadata and single mails are scattered.
const FIRST: u64 = 32 * 1024;
/// Most bytes asked for at a time: who reads on gets twice as many as before.
const MOST: u64 = 1024 * 1024;
/// Parts kept: a walk reads metadata, manifest and members in turn.
const KEPT: usize = 16;
/// Tries of one request.
const TRIES: u32 = 6;
/// Time before the second try; it doubles from try to try.
const PAUSE: Duration = Duration::from_millis(200);
/// A server that says nothing for this long is asked again.
const SILENCE: Duration = Duration::from_secs(60);

/// Whether an archive is named by its address.
pub(crate) fn is_url(path: &str) -> bool {
    path.starts_with("https://") || path.starts_with("http://")
}

/// An address as it may be shown: its query, or a password in it, may be what gives access.
pub(crate) fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => bare.to_owned(),
    }
}

/// Asks for the file's length.
///
/// # Errors
/// If the server does not give parts of it.
pub(crate) fn open(url: &str) -> io::Result<Region> {
    // A part of something compressed on the way would be no part of the file.
    let http = Client::builder().no_gzip().connect_timeout(SILENCE).read_timeout(SILENCE);
    let http = http.build().map_err(io::Error::other)?;
    let runtime = Handle::current();
    let server = Arc::new(Server { http, url: url.to_owned(), file: None });
    let (_, file) = Server::part(&server, &runtime, 0, 1)?;
    let length = file.length;
    let server =
        Arc::new(Server { http: server.http.clone(), url: url.to_owned(), file: Some(file) });
    let remote = Remote { server, runtime, parts: Mutex::default() };
    Ok(Region::of(Arc::new(remote), length))
}

struct Remote {
    server: Arc<Server>,
    runtime: Handle,
    /// Where they begin, and what is there; the one used last stands last.
    parts: Mutex<VecDeque<(u64, Bytes)>>,
}

struct Server {
    http: Client,
    url: String,
    /// The file when it was opened: parts of two would be no archive.
    file: Option<Version>,
}

/// What tells a file from another at the same address.
#[derive(Clone, PartialEq, Eq)]
struct Version {
    length: u64,
    /// Its tag; the time of its last change if it has none.
    tag: Option<String>,
}

/// Why there is no answer.
enum Trouble {
    /// Another try may help.
    Passing(io::Error),
    Lasting(io::Error),
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.server.url))
    }
}

impl ReadAt for Remote {
    fn read_at(&self, into: &mut [u8], offset: u64, end: u64) -> io::Result<usize> {
        let (start, bytes) = match self.kept(offset) {
            Some(part) => part,
            None => {
                let wanted = into.len() as u64;
                let length = self.ahead(offset).max(wanted).min(end.saturating_sub(offset));
                if length == 0 {
                    return Ok(0);
                }
                let (bytes, _) = Server::part(&self.server, &self.runtime, offset, length)?;
                self.keep(offset, bytes.clone());
                (offset, bytes)
            }
        };
        let bytes = usize::try_from(offset - start).ok().and_then(|at| bytes.get(at..));
        let bytes = bytes.unwrap_or_default();
        let length = into.len().min(bytes.len());
        into[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }
}

impl Remote {
    /// The part that has the byte at `offset`.
    fn kept(&self, offset: u64) -> Option<(u64, Bytes)> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let has = |(start, bytes): &(u64, Bytes)| {
            offset.checked_sub(*start).is_some_and(|at| at < bytes.len() as u64)
        };
        let at = parts.iter().position(has)?;
        let part = parts.remove(at)?;
        parts.push_back(part.clone());
        Some(part)
    }

    fn keep(&self, start: u64, bytes: Bytes) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.len() == KEPT {
            parts.pop_front();
        }
        parts.push_back((start, bytes));
    }

    /// How much to ask for: more behind what was read just before.
    fn ahead(&self, offset: u64) -> u64 {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = parts.iter().find(|(start, bytes)| start + bytes.len() as u64 == offset);
        before.map_or(FIRST, |(_, bytes)| (bytes.len() as u64 * 2).clamp(FIRST, MOST))
    }
}

impl Server {
    /// A part of the file, less if the server gives less, and which file that is. Blocks the
    /// thread.
    fn part(
        server: &Arc<Self>,
        runtime: &Handle,
        start: u64,
        length: u64,
    ) -> io::Result<(Bytes, Version)> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let server = Arc::clone(server);
        // On a task of its own: a `block_on` in here, on a thread that is in one already, would
        // take the wake-ups that are meant for the outer one.
        runtime.spawn(async move { sender.send(server.ask_again(start, length).await) });
        let wait = || receiver.recv().unwrap_or_else(|_| Err(io::Error::other("stopped")));
        match Handle::try_current() {
            // On a thread of the runtime others must go on meanwhile.
            Ok(_) => tokio::task::block_in_place(wait),
            Err(_) => wait(),
        }
    }

    async fn ask_again(&self, start: u64, length: u64) -> io::Result<(Bytes, Version)> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.ask(start, length).await {
                Err(Trouble::Passing(_)) => tokio::time::sleep(pause).await,
                Err(Trouble::Lasting(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
            pause *= 2;
        }
        self.ask(start, length).await.map_err(|trouble| match trouble {
            Trouble::Passing(error) | Trouble::Lasting(error) => error,
        })
    }

    async fn ask(&self, start: u64, length: u64) -> Result<(Bytes, Version), Trouble> {
        let mut request = self
            .http
            .get(&self.url)
            .header(ACCEPT_ENCODING, "identity")
            .header(RANGE, format!("bytes={start}-{}", start + length - 1));
        let tag = self.file.as_ref().and_then(|file| file.tag.as_ref());
        if let Some(tag) = tag.filter(|tag| tag.starts_with('"')) {
            request = request.header(IF_RANGE, tag);
        }
        let answer = request.send().await.map_err(|error| self.failed(error))?;
        let status = answer.status();
        if status != StatusCode::PARTIAL_CONTENT {
            return self.no_part(status);
        }
        let Some((end, whole)) = range(answer.headers(), start) else {
            return Err(lasting("the server gives another part than it was asked for"));
        };
        let file = Version { length: whole, tag: tag_of(answer.headers()) };
        if self.file.as_ref().is_some_and(|known| *known != file) {
            return Err(changed());
        }
        let bytes = answer.bytes().await.map_err(|error| self.failed(error))?;
        let expected = end - start + 1;
        if bytes.len() as u64 != expected || expected > length {
            let what = format!("the server gives {} bytes for {expected}", bytes.len());
            return Err(Trouble::Passing(io::Error::new(io::ErrorKind::UnexpectedEof, what)));
        }
        Ok((bytes, file))
    }

    /// A server that was never there is not waited for.
    fn failed(&self, error: reqwest::Error) -> Trouble {
        let lasts = error.is_builder() || error.is_connect() && self.file.is_none();
        // Its address is the caller's to show.
        let error = io::Error::other(error.without_url());
        if lasts { Trouble::Lasting(error) } else { Trouble::Passing(error) }
    }

    /// What an answer means that brings no part.
    fn no_part(&self, status: StatusCode) -> Result<(Bytes, Version), Trouble> {
        match (status, &self.file) {
            (StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::OK, Some(_)) => Err(changed()),
            // There is no first byte.
            (StatusCode::RANGE_NOT_SATISFIABLE, None) => {
                Ok((Bytes::new(), Version { length: 0, tag: None }))
            }
            (StatusCode::OK, None) => Err(lasting(
                "the server gives no parts of files: pipe the archive in instead, with - for its \
                 name",
            )),
            _ => {
                let passes = status.is_server_error()
                    || status == StatusCode::TOO_MANY_REQUESTS
                    || status == StatusCode::REQUEST_TIMEOUT;
                let error = io::Error::other(format!("the server answers {status}"));
                Err(if passes { Trouble::Passing(error) } else { Trouble::Lasting(error) })
            }
        }
    }
}

/// Last byte of a part that begins at `start`, and the length of the whole: `bytes 0-9/100`.
fn range(headers: &HeaderMap, start: u64) -> Option<(u64, u64)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (part, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    let (last, whole) = (last.parse().ok()?, whole.parse().ok()?);
    (first.parse() == Ok(start) && (start..whole).contains(&last)).then_some((last, whole))
}

fn tag_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(ETAG).or_else(|| headers.get(LAST_MODIFIED))?;
    Some(value.to_str().ok()?.to_owned())
}

fn changed() -> Trouble {
    lasting("the file on the server is another one now")
}

fn lasting(what: &str) -> Trouble {
    Trouble::Lasting(io::Error::other(what))
}
