//! One upload session at its host: parts go out, positions come back.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use reqwest::RequestBuilder;
use url::Url;
use uuid::Uuid;

use crate::Json;
use crate::call::Call;
use crate::classify::{Refusal, Verdict};
use crate::engine::{Engine, describe, explain, log};
use crate::error::{Error, ErrorKind};
use crate::json;
use crate::redact;
use crate::retry::{Attempts, Trouble};
use crate::scope::Scope;
use crate::service::Graph;
use crate::throttle::{Cost, PausedTooLong, Permit};
use crate::transport::Fault;
use crate::upload::{Upload, Uploaded};
use crate::write::{Repeat, Write, nobody};

/// A connection that takes less for a part is torn: bytes in a second.
const LEAST_SPEED: u64 = 16 * 1024;

/// How long a host may take to hear that nothing more will come.
const FAREWELL: Duration = Duration::from_secs(30);

/// Codes that say that the host has another position than we think (FACTS 6.1).
const MISPLACED: [&str; 4] =
    ["invalidRange", "invalidStartIndex", "fragmentOverlap", "fragmentOutOfOrder"];

/// A part of what is uploaded.
pub(crate) struct Chunk {
    pub(crate) start: u64,
    pub(crate) bytes: Bytes,
}

impl Chunk {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The rest of it from `position` on, if that lies in it.
    pub(crate) fn from(self, position: u64) -> Option<Chunk> {
        let skip = usize::try_from(position.checked_sub(self.start)?).ok()?;
        (skip < self.bytes.len())
            .then(|| Chunk { start: position, bytes: self.bytes.slice(skip..) })
    }
}

/// What the host says of a part that was sent.
pub(crate) enum Answer {
    /// Where it wants us to go on.
    Next(u64),
    Done(Uploaded),
    /// It does not know the session; in its words.
    Lost(Error),
}

/// What one request to the host came to.
enum Told {
    Answer(Answer),
    /// The wait is over: send the same again.
    Again,
    /// The wait is over; only the host knows what it has. What its refusal said of that, if it did.
    Unsure(Option<u64>),
}

/// A session that was opened. Its address is a password: it is in no error and no log line.
pub(crate) struct Session<'upload> {
    upload: &'upload Upload,
    /// What opened it, for errors and for what a refusal means.
    call: Call,
    address: Url,
    /// A resource of the service, which takes parts of whoever has a token.
    is_resource: bool,
    /// Where parts go to if the resource turns out to have no `content`.
    bare: Option<Url>,
    tries: Attempts,
    /// The most the host ever had: a host that forgets and forgets makes no progress.
    farthest: u64,
    /// Whether all was sent and it is open whether that made the item.
    pub(crate) in_doubt: bool,
}

impl<'upload> Session<'upload> {
    /// Opening one more does no harm: sessions that are not used expire.
    pub(crate) async fn open(graph: &Graph, upload: &'upload Upload) -> Result<Self, Error> {
        let write = Write::json(Method::POST, &upload.body);
        let mut call = graph.writing("upload", &upload.scope, &upload.path, write)?;
        let opened = graph.engine.write(&mut call, Repeat::Freely, nobody).await?;
        let address = field(&opened, "uploadUrl").and_then(Json::as_str);
        let address = address.and_then(crate::link::exact);
        let address = address.filter(|to| call.may_lead_to(to)).ok_or_else(|| {
            let failure = describe(&call, Uuid::new_v4());
            failure.with_message("the session has no safe address")
        })?;
        let tries = graph.engine.attempts();
        let is_resource = upload.resource && is_resource(&graph.engine, &address);
        let (address, bare) = match is_resource {
            true => (content_of(&address), Some(address)),
            false => (address, None),
        };
        Ok(Session {
            upload,
            call,
            address,
            is_resource,
            bare,
            tries,
            farthest: 0,
            in_doubt: false,
        })
    }

    /// Sends `chunk` until the host has some of it, has all, or has lost the session.
    pub(crate) async fn send(&mut self, engine: &Engine, chunk: &Chunk) -> Result<Answer, Error> {
        match self.send_on(engine, chunk).await {
            // A host that is not reached is another than the service's: that is everybody's trouble.
            Err(error) if *error.kind() == ErrorKind::Throttled => {
                Err(engine.or_out(&self.upload.scope, error).await)
            }
            sent => sent,
        }
    }

    async fn send_on(&mut self, engine: &Engine, chunk: &Chunk) -> Result<Answer, Error> {
        loop {
            let told = match self.put(engine, chunk).await? {
                Told::Unsure(Some(position)) => Told::Answer(Answer::Next(position)),
                Told::Unsure(None) => self.ask(engine).await?,
                told => told,
            };
            match told {
                Told::Answer(Answer::Next(position)) if position == self.upload.total => {
                    // It has all and made nothing of it that we know of: more can't be sent.
                    self.in_doubt = true;
                    return Ok(Answer::Lost(self.failure("all was sent, but nothing came of it")));
                }
                Told::Answer(Answer::Next(position)) => {
                    if position > self.farthest {
                        self.farthest = position;
                        self.tries.progress();
                    }
                    return Ok(Answer::Next(position));
                }
                Told::Answer(answer) => return Ok(answer),
                Told::Again | Told::Unsure(_) => {}
            }
        }
    }

    /// Tells the host that nothing more will come, if it listens.
    pub(crate) async fn cancel(&self, engine: &Engine) {
        let farewell = async {
            if let Ok(permit) = self.admit(engine, 0).await
                && let Some(request) = self.request(engine, Method::DELETE, 0).await.ok()
                && let Ok(answer) = request.send().await
            {
                engine.heed(&permit, &answer, answer.status().is_success(), Uuid::new_v4()).await;
            }
        };
        // Whatever comes of it, the session expires by itself.
        drop(tokio::time::timeout(FAREWELL, farewell).await);
    }

    pub(crate) fn failure(&self, message: &str) -> Error {
        self.failed(Uuid::new_v4()).with_message(message)
    }

    fn failed(&self, id: Uuid) -> Error {
        describe(&self.call, id).at(redact::host(&self.address)).with_retries(self.tries.retries)
    }

    /// Each request may count where requests to the service do, and an attachment's bytes do.
    async fn admit(&self, engine: &Engine, length: usize) -> Result<Permit, PausedTooLong> {
        let (units, written) = match self.upload.scope {
            Scope::SharePoint if length > 0 => (2, 0),
            Scope::Mailbox(_) => (1, length as u64),
            _ => (1, 0),
        };
        engine.pacer.admit(&self.upload.scope, Cost { units, written }, &engine.tally).await
    }

    /// Without `Authorization`: the address is one (FACTS 5.2, 5.6), unless it is a resource.
    async fn request(
        &self,
        engine: &Engine,
        method: Method,
        length: usize,
    ) -> Result<RequestBuilder, Error> {
        engine.tally.request("upload");
        if method == Method::PUT {
            engine.tally.write(length);
        }
        let slowest = Duration::from_secs(length as u64 / LEAST_SPEED);
        let http = &engine.transport.upload;
        let request = http.request(method, self.address.clone());
        let request = request.timeout(engine.transport.silence + slowest);
        Ok(match self.is_resource {
            true => request.header(AUTHORIZATION, engine.tokens.get().await?.header()),
            false => request,
        })
    }

    /// Sends `chunk` once.
    async fn put(&mut self, engine: &Engine, chunk: &Chunk) -> Result<Told, Error> {
        let id = Uuid::new_v4();
        let permit = self.admit(engine, chunk.bytes.len()).await;
        let failed = || self.failed(id).with_kind(ErrorKind::Throttled);
        let permit = permit.map_err(|paused| paused.told(failed()))?;
        self.tries.admitted(&permit);
        let is_last = chunk.end() == self.upload.total;
        let range = format!("bytes {}-{}/{}", chunk.start, chunk.end() - 1, self.upload.total);
        let request = self.request(engine, Method::PUT, chunk.bytes.len()).await?;
        let request = request
            .header(CONTENT_RANGE, range)
            .header(CONTENT_LENGTH, chunk.bytes.len())
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(chunk.bytes.clone());
        match request.send().await {
            Ok(response) if response.status().is_success() => {
                engine.heed(&permit, &response, true, id).await;
                let (status, headers) = (response.status(), response.headers().clone());
                let body = response.bytes().await;
                // Waiting for another try must not occupy the mailbox.
                drop(permit);
                match body {
                    Ok(body) => {
                        engine.tally.bytes(body.len());
                        self.accepted(engine, chunk, (status, &headers, &body), id).await
                    }
                    Err(error) => {
                        self.in_doubt |= is_last;
                        let failure = self.failed(id);
                        engine.failed(&mut self.tries, Fault::Torn, id, failure, error).await?;
                        Ok(Told::Unsure(None))
                    }
                }
            }
            Ok(response) => {
                engine.heed(&permit, &response, false, id).await;
                let refusal = Refusal::read(response).await;
                drop(permit);
                self.in_doubt |= is_last && refusal.leaves_open(&self.call);
                self.refused(engine, chunk, refusal, id).await
            }
            Err(error) => {
                drop(permit);
                let fault = Fault::of(&error);
                self.in_doubt |= is_last && fault == Fault::Torn;
                let failure = self.failed(id);
                engine.failed(&mut self.tries, fault, id, failure, error).await?;
                Ok(Told::Unsure(None))
            }
        }
    }

    /// The host took it: where it wants us to go on, or what came of it.
    async fn accepted(
        &mut self,
        engine: &Engine,
        chunk: &Chunk,
        (status, headers, body): (StatusCode, &HeaderMap, &[u8]),
        id: Uuid,
    ) -> Result<Told, Error> {
        let item: Option<Json> = serde_json::from_str(&json::repair(body)).ok();
        if let Some(next) = item.as_ref().and_then(next_position) {
            if next > chunk.start {
                return Ok(Told::Answer(Answer::Next(next)));
            }
            // It took nothing of it.
            let failure = self.failed(id).with_status(status).with_kind(ErrorKind::Server);
            engine.retry(&mut self.tries, Trouble::Server(None), id, failure).await?;
            return Ok(Told::Answer(Answer::Next(next)));
        }
        if chunk.end() < self.upload.total {
            return Ok(Told::Answer(Answer::Next(chunk.end())));
        }
        let location = location(headers);
        let is_made = item.as_ref().and_then(|item| field(item, "id")).is_some();
        let made = status != StatusCode::ACCEPTED && (is_made || location.is_some());
        if made || (status == StatusCode::CREATED && body.is_empty()) {
            let item = item.unwrap_or_default();
            return Ok(Told::Answer(Answer::Done(Uploaded { item, location })));
        }
        self.in_doubt = true;
        let failure = self.failed(id).with_status(status).with_kind(ErrorKind::Interrupted);
        engine.retry(&mut self.tries, Trouble::Torn, id, failure).await?;
        Ok(Told::Unsure(None))
    }

    /// The host did not take it.
    async fn refused(
        &mut self,
        engine: &Engine,
        chunk: &Chunk,
        refusal: Refusal,
        id: Uuid,
    ) -> Result<Told, Error> {
        log(&refusal, &redact::host(&self.address), id);
        if self.is_resource
            && self.farthest == 0
            && matches!(refusal.status.as_u16(), 400 | 404 | 405)
        {
            if let Some(bare) = self.bare.take() {
                self.address = bare;
                return Ok(Told::Again);
            }
            // Neither is there: it was the session that was not.
            let lost = self.explain(ErrorKind::UploadSessionLost, &refusal, id);
            return Ok(Told::Answer(Answer::Lost(lost)));
        }
        let explained = |kind| self.explain(kind, &refusal, id);
        let misplaced = refusal.code().is_some_and(|code| {
            MISPLACED.iter().any(|misplaced| misplaced.eq_ignore_ascii_case(code))
        });
        match refusal.status {
            // The address is the authorisation: without one there is no session.
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAUTHORIZED => {
                return Ok(Told::Answer(Answer::Lost(explained(ErrorKind::UploadSessionLost))));
            }
            status if status == StatusCode::RANGE_NOT_SATISFIABLE || misplaced => {
                let failure = explained(ErrorKind::Server);
                let says = refusal.body.as_ref().and_then(next_position);
                engine.retry(&mut self.tries, Trouble::Server(None), id, failure).await?;
                return match (says, self.position(engine).await?) {
                    (_, Position::At(next)) | (Some(next), Position::Untold) => {
                        Ok(Told::Answer(Answer::Next(next)))
                    }
                    (_, Position::Gone(error)) => Ok(Told::Answer(Answer::Lost(error))),
                    // What is refused as a range that is there already is there already.
                    (None, Position::Untold) => Ok(Told::Answer(Answer::Next(chunk.end()))),
                    (_, Position::Silent) => Ok(Told::Unsure(says)),
                };
            }
            _ => {}
        }
        match refusal.verdict(&self.call) {
            Verdict::Retry(trouble, kind) => {
                let failure = explained(kind.clone());
                engine.pause(&self.upload.scope, &refusal, trouble, &kind, id).await;
                engine.retry(&mut self.tries, trouble, id, failure).await?;
                let taken_nothing = refusal.status == StatusCode::TOO_MANY_REQUESTS;
                Ok(if taken_nothing { Told::Again } else { Told::Unsure(None) })
            }
            Verdict::Unauthorized => Err(explained(ErrorKind::Permission)),
            Verdict::Final(kind) => Err(explained(kind)),
        }
    }

    async fn ask(&mut self, engine: &Engine) -> Result<Told, Error> {
        Ok(match self.position(engine).await? {
            Position::At(next) => Told::Answer(Answer::Next(next)),
            Position::Gone(error) => Told::Answer(Answer::Lost(error)),
            Position::Untold | Position::Silent => Told::Again,
        })
    }

    /// Asks the host once what it has. Whether it answers that is its affair: if not, sending the
    /// part again will tell.
    async fn position(&mut self, engine: &Engine) -> Result<Position, Error> {
        let id = Uuid::new_v4();
        let permit = self.admit(engine, 0).await;
        let failed = || self.failed(id).with_kind(ErrorKind::Throttled);
        let permit = permit.map_err(|paused| paused.told(failed()))?;
        self.tries.admitted(&permit);
        let Ok(response) = self.request(engine, Method::GET, 0).await?.send().await else {
            return Ok(Position::Silent);
        };
        engine.heed(&permit, &response, response.status().is_success(), id).await;
        if response.status().is_success() {
            let Ok(body) = response.bytes().await else { return Ok(Position::Silent) };
            let status: Option<Json> = serde_json::from_str(&json::repair(&body)).ok();
            let next = status.as_ref().and_then(next_position);
            return Ok(next.map_or(Position::Untold, Position::At));
        }
        let refusal = Refusal::read(response).await;
        log(&refusal, &redact::host(&self.address), id);
        if let Verdict::Retry(trouble, kind) = refusal.verdict(&self.call) {
            engine.pause(&self.upload.scope, &refusal, trouble, &kind, id).await;
            return Ok(Position::Silent);
        }
        Ok(match (refusal.status.as_u16(), &self.upload.scope) {
            (404, Scope::SharePoint) | (410, _) => {
                Position::Gone(self.explain(ErrorKind::UploadSessionLost, &refusal, id))
            }
            // Outlook need not know GET here (FACTS 5.2): that is no sign of a lost session.
            _ => Position::Untold,
        })
    }

    /// What the host said, but for addresses: one of them may be this session's.
    fn explain(&self, kind: ErrorKind, refusal: &Refusal, id: Uuid) -> Error {
        let words = refusal.message.split_whitespace();
        let words = words.map(|word| {
            let secret = word.contains("://") || word.contains(self.address.path());
            if secret { "…" } else { word }
        });
        let message = words.collect::<Vec<_>>().join(" ");
        explain(self.failed(id), kind, refusal)
            .with_message(message)
            .with_retries(self.tries.retries)
    }
}

/// Whether an address is that of an upload session among the resources of the service.
fn is_resource(engine: &Engine, address: &Url) -> bool {
    let mut segments = address.path().split('/');
    engine.root.follow(address.as_str()).is_ok()
        && segments.any(|segment| segment.eq_ignore_ascii_case("attachmentSessions"))
}

/// Where the bytes of a resource are.
fn content_of(address: &Url) -> Url {
    let (path, query) = address.as_str().split_once('?').unwrap_or((address.as_str(), ""));
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let content = format!("{}/content{query}", path.trim_end_matches('/'));
    crate::link::exact(&content).unwrap_or_else(|| address.clone())
}

/// What a host says when it is asked for its position.
enum Position {
    At(u64),
    Gone(Error),
    /// It does not tell.
    Untold,
    /// It does not tell now.
    Silent,
}

/// A field by its name, in whatever case (FACTS 5.2).
fn field<'json>(object: &'json Json, name: &str) -> Option<&'json Json> {
    let mut fields = object.as_object()?.iter();
    fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Where the first missing range starts: `["26-", …]`, `["26-99"]`, `["26"]`.
fn next_position(answer: &Json) -> Option<u64> {
    let ranges = field(answer, "nextExpectedRanges")?.as_array()?;
    let starts = ranges.iter().filter_map(|range| {
        let text = range.as_str()?;
        text.split('-').next()?.trim().parse().ok()
    });
    starts.min()
}

fn location(headers: &HeaderMap) -> Option<String> {
    headers.get(LOCATION)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_in_both_dialects() {
        for (text, expected) in [
            (r#"{"nextExpectedRanges":["26-"]}"#, Some(26)),
            (r#"{"NextExpectedRanges":["2097152"]}"#, Some(2_097_152)),
            (r#"{"nextExpectedRanges":["77829-99375","12345-55232"]}"#, Some(12_345)),
            (r#"{"nextExpectedRanges":[]}"#, None),
            (r#"{"id":"x"}"#, None),
            ("[]", None),
        ] {
            assert_eq!(next_position(&serde_json::from_str(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn the_rest_of_a_part() {
        let chunk = || Chunk { start: 10, bytes: Bytes::from_static(b"abcd") };
        let rest = chunk().from(12).unwrap();
        assert_eq!((rest.start, &rest.bytes[..], rest.end()), (12, &b"cd"[..], 14));
        assert!(chunk().from(9).is_none() && chunk().from(14).is_none());
    }
}
