//! The content of a drive's file (FACTS 4.3).

use std::fmt;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, StatusCode};
use reqwest::{RequestBuilder, Response};
use url::Url;
use uuid::Uuid;

use crate::call::Call;
use crate::classify::{Refusal, Verdict};
use crate::engine::{Engine, Reply, describe, explain, location, log};
use crate::error::{Error, ErrorKind};
use crate::redact;
use crate::retry::{Attempts, Trouble};
use crate::throttle::{Cost, PausedTooLong, Permit};
use crate::transport::Fault;

/// What a request to a download host costs: it is SharePoint that answers there (FACTS 2.3). The
/// first one belongs to the request that led there, which has paid for one download.
const FETCH: Cost = Cost { units: 1, written: 0 };

/// Addresses in a row that the download host refuses before we believe it.
const REFUSED_ADDRESSES: u32 = 6;

/// A file being read. It survives torn connections and expired addresses by itself, and never
/// mixes two versions of the file: then it ends with [`ErrorKind::Changed`].
#[non_exhaustive]
pub struct Download {
    /// Bytes of the whole file, whatever offset was asked for. Listings lie (FACTS 4.3), this
    /// does not.
    pub length: Option<u64>,
    /// Entity tag of the content, as the download host says. Without one, a changed file of the
    /// same length and date can't be told from the old one.
    pub etag: Option<String>,
    modified: Option<String>,
    engine: Arc<Engine>,
    call: Call,
    tries: Attempts,
    /// The pre-authenticated address, until the host refuses it.
    address: Option<Url>,
    /// Whether the next request to it is paid for.
    paid: bool,
    refused_addresses: u32,
    stream: Option<Stream>,
    /// Bytes of the file that the caller has, or did not want.
    position: u64,
    /// Whether `length` and `etag` stand.
    pinned: bool,
    done: bool,
}

struct Stream {
    source: Source,
    id: Uuid,
    /// Bytes that come once more, because the whole file was sent instead of its rest.
    skip: u64,
}

/// Graph itself sometimes sends the bytes.
enum Source {
    Graph(Box<Reply>),
    Host(Response),
}

/// Without its address, which is a password.
impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("call", &self.call)
            .field("length", &self.length)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Source {
    fn response(&mut self) -> &mut Response {
        match self {
            Source::Graph(reply) => &mut reply.response,
            Source::Host(response) => response,
        }
    }
}

impl Download {
    pub(crate) async fn open(
        engine: Arc<Engine>,
        call: Call,
        offset: u64,
        tries: Attempts,
    ) -> Result<Download, Error> {
        let mut download = Download {
            length: None,
            etag: None,
            modified: None,
            tries,
            engine,
            call,
            address: None,
            paid: false,
            refused_addresses: 0,
            stream: None,
            position: offset,
            pinned: false,
            done: false,
        };
        download.connect().await?;
        Ok(download)
    }

    /// The next bytes, or none at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.done {
            let Some(stream) = &mut self.stream else {
                self.connect().await?;
                continue;
            };
            let id = stream.id;
            match stream.source.response().chunk().await {
                Ok(Some(mut bytes)) => {
                    self.engine.tally.bytes(bytes.len());
                    let skipped = stream.skip.min(bytes.len() as u64);
                    stream.skip -= skipped;
                    bytes.advance(skipped as usize);
                    if !bytes.is_empty() {
                        self.position += bytes.len() as u64;
                        self.tries.progress();
                        self.refused_addresses = 0;
                        return Ok(Some(bytes));
                    }
                }
                Ok(None) if self.is_whole() => self.done = true,
                Ok(None) => self.torn(id, None).await?,
                Err(error) => self.torn(id, Some(error)).await?,
            }
        }
        self.stream = None;
        Ok(None)
    }

    /// Asks for the length where the host did not tell it: a range of one byte names the whole
    /// (RFC 9110, 14.4). It is taken over only from the same version; else it stays unknown.
    pub async fn learn_length(&mut self) {
        let (None, Some(address)) = (self.length, &self.address) else { return };
        let mut request = self.engine.transport.download.get(address.clone());
        request = request.header(ACCEPT_ENCODING, "identity").header(RANGE, "bytes=0-0");
        if let Some(validator) = self.validator() {
            request = request.header(IF_RANGE, validator);
        }
        let Ok(permit) = self.admit().await else { return };
        let Ok(answer) = request.send().await else { return };
        let good = answer.status().is_success();
        self.engine.heed(&permit, &answer, good, Uuid::new_v4()).await;
        let headers = answer.headers();
        let same = !differs(&self.etag, &header(headers, ETAG.as_str()))
            && !differs(&self.modified, &header(headers, LAST_MODIFIED.as_str()));
        if answer.status() == StatusCode::PARTIAL_CONTENT && same {
            let range = header(headers, CONTENT_RANGE.as_str());
            self.length = range.and_then(|range| parse_range(&range)).and_then(|(_, total)| total);
        }
    }

    fn is_whole(&self) -> bool {
        let skipped = self.stream.as_ref().is_none_or(|stream| stream.skip == 0);
        skipped && self.length.is_none_or(|length| self.position >= length)
    }

    async fn torn(&mut self, id: Uuid, error: Option<reqwest::Error>) -> Result<(), Error> {
        self.stream = None;
        let failure = self.failure(id).with_kind(ErrorKind::Interrupted);
        match error {
            Some(error) => {
                self.engine.failed(&mut self.tries, Fault::Torn, id, failure, error).await
            }
            None => self.engine.retry(&mut self.tries, Trouble::Torn, id, failure).await,
        }
    }

    /// Gets a stream that begins at `position`, or finds that there is nothing left.
    async fn connect(&mut self) -> Result<(), Error> {
        while self.stream.is_none() && !self.done {
            match self.address.clone() {
                None => self.ask_graph().await?,
                Some(address) => self.ask_host(&address).await?,
            }
        }
        Ok(())
    }

    /// A fresh address, or the bytes themselves. `Range` works only at the address.
    async fn ask_graph(&mut self) -> Result<(), Error> {
        let reply = self.engine.send(&mut self.call, &mut self.tries).await?;
        let id = reply.id;
        if reply.response.status().is_success() {
            let skip = self.accept_whole(reply.response.headers(), id)?;
            self.stream = Some(Stream { source: Source::Graph(Box::new(reply)), id, skip });
            return Ok(());
        }
        let address = location(&reply.response).filter(|to| self.call.may_lead_to(to));
        let refused = || self.failure(id).with_message("the redirect leads to no safe address");
        self.address = Some(address.ok_or_else(refused)?);
        self.paid = true;
        Ok(())
    }

    /// Without `Authorization`, and with `Range` only where something is left out: a file of no
    /// bytes has no range.
    fn request(&self, address: &Url) -> RequestBuilder {
        let mut request =
            self.engine.transport.download.get(address.clone()).header(ACCEPT_ENCODING, "identity");
        if self.position > 0 {
            request = request.header(RANGE, format!("bytes={}-", self.position));
            if let Some(validator) = self.validator() {
                request = request.header(IF_RANGE, validator);
            }
        }
        request
    }

    async fn admit(&mut self) -> Result<Permit, PausedTooLong> {
        let cost = if std::mem::take(&mut self.paid) { Cost::default() } else { FETCH };
        let permit = self.engine.pacer.admit(&self.call.scope, cost, &self.engine.tally).await?;
        self.tries.admitted(&permit);
        self.engine.tally.request("download");
        Ok(permit)
    }

    /// The bytes from where they lie.
    async fn ask_host(&mut self, address: &Url) -> Result<(), Error> {
        let id = Uuid::new_v4();
        let permit = self.admit().await;
        let permit = permit
            .map_err(|paused| paused.told(self.failure(id).with_kind(ErrorKind::Throttled)))?;
        let response = match self.request(address).send().await {
            Ok(response) => response,
            Err(error) => {
                let failure = self.failure(id).at(redact::host(address));
                let fault = Fault::of(&error);
                return self.engine.failed(&mut self.tries, fault, id, failure, error).await;
            }
        };
        self.engine.heed(&permit, &response, response.status().is_success(), id).await;
        drop(permit);
        let infected = response.headers().contains_key("x-virus-infected");
        let coding = response.headers().get(CONTENT_ENCODING);
        if response.status().is_success() && coding.is_some_and(|coding| coding != "identity") {
            let failure = self.failure(id).at(redact::host(address));
            return Err(
                failure.with_message("the bytes are packed although we asked for them bare")
            );
        }
        match response.status() {
            StatusCode::OK if !infected => {
                let skip = self.accept_whole(response.headers(), id)?;
                self.stream = Some(Stream { source: Source::Host(response), id, skip });
                Ok(())
            }
            StatusCode::PARTIAL_CONTENT if !infected => {
                self.accept_rest(response.headers(), id)?;
                self.stream = Some(Stream { source: Source::Host(response), id, skip: 0 });
                Ok(())
            }
            StatusCode::RANGE_NOT_SATISFIABLE => self.accept_nothing(response.headers(), id),
            _ => self.refused(address, id, Refusal::read(response).await).await,
        }
    }

    /// What makes the host send the whole file if it is another one (RFC 9110, 13.1.5): a strong
    /// tag, else the date.
    fn validator(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|tag| !tag.starts_with("W/"));
        match &self.etag {
            Some(_) => strong,
            None => self.modified.as_deref(),
        }
    }

    /// The whole file comes: how much of it to skip.
    fn accept_whole(&mut self, headers: &HeaderMap, id: Uuid) -> Result<u64, Error> {
        let length = header(headers, http::header::CONTENT_LENGTH.as_str());
        self.pin(headers, length.and_then(|length| length.parse().ok()), id)?;
        Ok(self.position)
    }

    /// The rest comes: it must be the rest of the same file, from where we are.
    fn accept_rest(&mut self, headers: &HeaderMap, id: Uuid) -> Result<(), Error> {
        let range = header(headers, CONTENT_RANGE.as_str()).and_then(|range| parse_range(&range));
        match range {
            Some((start, total)) if start == self.position => self.pin(headers, total, id),
            _ => Err(self.failure(id).with_message("the range is not the one asked for")),
        }
    }

    /// Nothing comes: right if we have all, which a file without known length shows only here.
    fn accept_nothing(&mut self, headers: &HeaderMap, id: Uuid) -> Result<(), Error> {
        let range = header(headers, CONTENT_RANGE.as_str());
        let total: Option<u64> =
            range.and_then(|range| range.strip_prefix("bytes */")?.parse().ok());
        if total.or(self.length) != Some(self.position) {
            return Err(self.changed(id, "the file ends before the part asked for"));
        }
        self.pin(headers, total, id)?;
        self.done = true;
        Ok(())
    }

    /// The first answer says what the file is; all others must say the same.
    fn pin(&mut self, headers: &HeaderMap, total: Option<u64>, id: Uuid) -> Result<(), Error> {
        let etag = header(headers, ETAG.as_str());
        let modified = header(headers, LAST_MODIFIED.as_str());
        if !self.pinned {
            (self.length, self.etag, self.modified) = (total, etag, modified);
            self.pinned = true;
            return match self.length {
                Some(length) if length < self.position => {
                    Err(self.changed(id, "the file ends before the part asked for"))
                }
                _ => Ok(()),
            };
        }
        if differs(&self.etag, &etag) {
            Err(self.changed(id, "its entity tag moved"))
        } else if differs(&self.length, &total) {
            Err(self.changed(id, "its length changed"))
        } else if self.etag.is_none() && differs(&self.modified, &modified) {
            Err(self.changed(id, "its date changed"))
        } else {
            self.length = self.length.or(total);
            Ok(())
        }
    }

    /// The host refuses. Mostly the address has expired; how it says so is not certain.
    async fn refused(&mut self, address: &Url, id: Uuid, refusal: Refusal) -> Result<(), Error> {
        log(&refusal, &redact::host(address), id);
        let failure = self.failure(id).at(redact::host(address));
        let retries = self.tries.retries;
        let explained = |kind| explain(failure.clone(), kind, &refusal).with_retries(retries);
        let expired = matches!(refusal.status.as_u16(), 401 | 403 | 404 | 410);
        if expired && !refusal.has_reason() {
            self.address = None;
            self.refused_addresses += 1;
            let failure = match refusal.status.as_u16() {
                404 | 410 => explained(ErrorKind::ItemGone),
                _ => explained(ErrorKind::Permission),
            };
            if self.refused_addresses < REFUSED_ADDRESSES {
                return self.engine.retry(&mut self.tries, Trouble::Torn, id, failure).await;
            }
            return Err(failure);
        }
        match refusal.verdict(&self.call) {
            Verdict::Retry(trouble, kind) => {
                self.engine.pause(&self.call.scope, &refusal, trouble, &kind, id).await;
                let failure = explained(kind);
                self.engine.retry(&mut self.tries, trouble, id, failure).await
            }
            Verdict::Unauthorized => Err(explained(ErrorKind::Permission)),
            Verdict::Final(kind) => Err(explained(kind)),
        }
    }

    fn failure(&self, id: Uuid) -> Error {
        describe(&self.call, id).with_retries(self.tries.retries)
    }

    fn changed(&self, id: Uuid, how: &str) -> Error {
        self.failure(id).with_kind(ErrorKind::Changed).with_message(how)
    }
}

/// Both known and not the same.
fn differs<T: PartialEq>(before: &Option<T>, now: &Option<T>) -> bool {
    matches!((before, now), (Some(before), Some(now)) if before != now)
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// `bytes 10-19/20`: where it starts and how long the whole is, if known.
fn parse_range(range: &str) -> Option<(u64, Option<u64>)> {
    let (span, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = span.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(parse_range("bytes 10-19/20"), Some((10, Some(20))));
        assert_eq!(parse_range("bytes 10-19/*"), Some((10, None)));
        assert_eq!(parse_range("bytes */20"), None);
        assert_eq!(parse_range("items 1-2/3"), None);
    }
}
