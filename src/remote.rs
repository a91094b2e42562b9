//! An archive on a web server that gives parts of files (RFC 9110 section 14): opened like a file,
//! read where it is needed.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use archive::Region;
use archive::region::ReadAt;
use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use reqwest::{Client, StatusCode};
use tokio::runtime::Handle;

/// Bytes asked for at a time: a request costs as much as this many bytes do.
const BLOCK: u64 = 256 * 1024;
/// Blocks kept: a walk reads metadata, manifest and a member in turn.
const KEPT: usize = 16;
/// Tries of one request.
const TRIES: u32 = 4;

/// Whether an archive is named by its address.
pub(crate) fn is_url(path: &str) -> bool {
    path.starts_with("https://") || path.starts_with("http://")
}

/// Asks for the file's length.
///
/// # Errors
/// If the server does not give parts of it.
pub(crate) fn open(url: &str) -> io::Result<Region> {
    let http = Client::builder().build().map_err(io::Error::other)?;
    let mut remote = Remote {
        http,
        url: url.to_owned(),
        tag: None,
        runtime: Handle::current(),
        blocks: Mutex::default(),
    };
    let (_, length, tag) = remote.part(0, 1)?;
    remote.tag = tag;
    Ok(Region::of(Arc::new(remote), length))
}

struct Remote {
    http: Client,
    url: String,
    /// The version of the file: parts of two would be no archive.
    tag: Option<String>,
    runtime: Handle,
    /// By their number; the one used last stands last.
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query of an address may be what gives access to it.
        f.write_str(self.url.split('?').next().unwrap_or_default())
    }
}

impl ReadAt for Remote {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let number = offset / BLOCK;
        let block = match self.kept(number) {
            Some(block) => block,
            None => {
                let (block, _, _) = self.part(number * BLOCK, BLOCK)?;
                let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
                if blocks.len() == KEPT {
                    blocks.pop_front();
                }
                blocks.push_back((number, block.clone()));
                block
            }
        };
        let start = usize::try_from(offset % BLOCK).unwrap_or(usize::MAX).min(block.len());
        let length = into.len().min(block.len() - start);
        into[..length].copy_from_slice(&block[start..start + length]);
        Ok(length)
    }
}

impl Remote {
    fn kept(&self, number: u64) -> Option<Bytes> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let at = blocks.iter().position(|(kept, _)| *kept == number)?;
        let block = blocks.remove(at)?;
        let bytes = block.1.clone();
        blocks.push_back(block);
        Some(bytes)
    }

    /// A part of the file, the length of the whole, and its version. Blocks the thread.
    fn part(&self, start: u64, length: u64) -> io::Result<(Bytes, u64, Option<String>)> {
        let ask = async {
            let mut tries = 1;
            loop {
                match self.ask(start, length).await {
                    Err(error) if tries < TRIES && is_passing(&error) => tries += 1,
                    answer => return answer,
                }
            }
        };
        match Handle::try_current() {
            // On a thread of the runtime others must go on meanwhile.
            Ok(_) => tokio::task::block_in_place(|| self.runtime.block_on(ask)),
            Err(_) => self.runtime.block_on(ask),
        }
    }

    async fn ask(&self, start: u64, length: u64) -> io::Result<(Bytes, u64, Option<String>)> {
        let mut request = self
            .http
            .get(&self.url)
            .header(ACCEPT_ENCODING, "identity")
            .header(RANGE, format!("bytes={start}-{}", start + length - 1));
        if let Some(tag) = self.tag.as_ref().filter(|tag| !tag.starts_with("W/")) {
            request = request.header(IF_RANGE, tag);
        }
        let failed = |error: reqwest::Error| io::Error::other(error.without_url());
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok((Bytes::new(), 0, None));
        }
        if status == StatusCode::OK {
            let what = match self.tag {
                Some(_) => "the file on the server is another one now",
                None => "the server gives no parts of files",
            };
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        if status != StatusCode::PARTIAL_CONTENT {
            let kind = if status.is_server_error() {
                io::ErrorKind::ConnectionReset
            } else {
                io::ErrorKind::NotFound
            };
            return Err(io::Error::new(kind, format!("the server answers {status}")));
        }
        let text = |name| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
        let range = text(CONTENT_RANGE).unwrap_or_default();
        let begins =
            range.strip_prefix("bytes ").is_some_and(|r| r.starts_with(&format!("{start}-")));
        let whole = range.rsplit('/').next().and_then(|whole| whole.parse().ok());
        let Some(whole) = whole.filter(|_| begins) else {
            return Err(io::Error::other("the server gives another part than it was asked for"));
        };
        let tag = text(ETAG);
        let bytes = answer.bytes().await.map_err(failed)?;
        let expected = length.min(u64::saturating_sub(whole, start));
        if bytes.len() as u64 != expected {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok((bytes, whole, tag))
    }
}

/// Whether another try may help.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::Other)
}
