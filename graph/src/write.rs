//! Requests that change something, and when they may be repeated.
//!
//! A request that broke off, or that the service failed to answer, may have been carried out all
//! the same. Repeating it blindly makes things twice, so what makes something new is looked for
//! before it is made again.

use std::future::Future;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH};
use http::{HeaderMap, Method, StatusCode};
use reqwest::RequestBuilder;

use crate::Json;
use crate::call::{Call, Purpose};
use crate::engine::{Engine, Reply, Tried, describe};
use crate::error::{Error, ErrorKind};
use crate::json;
use crate::retry::{Attempts, Trouble};
use crate::scope::Scope;
use crate::service::Graph;
use crate::transport::Fault;

const JSON: &str = "application/json";
/// Looks for a thing that may have been made, over seven times the first back-off.
const LOOKS: u32 = 4;

/// What a request changes.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) method: Method,
    /// Cheap to clone for each try.
    pub(crate) content: Bytes,
    content_type: String,
    if_match: Option<String>,
}

impl Write {
    pub(crate) fn new(method: Method, content: Bytes, content_type: &str) -> Write {
        Write { method, content, content_type: content_type.to_owned(), if_match: None }
    }

    /// A body of JSON; `null` is no body.
    pub(crate) fn json(method: Method, body: &Json) -> Write {
        let content = match body {
            Json::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        Write::new(method, content, JSON)
    }

    fn if_match(self, tag: Option<&str>) -> Write {
        Write { if_match: tag.map(str::to_owned), ..self }
    }

    /// With a length also where there is nothing: some hosts answer 411 without.
    pub(crate) fn put_into(&self, mut request: RequestBuilder) -> RequestBuilder {
        if let Some(tag) = &self.if_match {
            request = request.header(IF_MATCH, tag);
        }
        if self.method == Method::DELETE {
            return request;
        }
        if !self.content.is_empty() || self.content_type != JSON {
            request = request.header(CONTENT_TYPE, &self.content_type);
        }
        request.header(CONTENT_LENGTH, self.content.len()).body(self.content.clone())
    }
}

/// How a request may be repeated of which nobody knows whether it was carried out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Repeat {
    /// Twice is the same as once.
    Freely,
    /// Not before what it makes was looked for.
    Asking,
}

impl Graph {
    /// POST that makes something new: JSON in, JSON out.
    ///
    /// After an answer that leaves it open whether the service carried it out (none, a torn one,
    /// 500, 502, 503, 504) `found` is asked before the request is repeated, and also before that
    /// is given up; what it finds is the answer. A 429 is repeated without asking, for it was not
    /// carried out. A 409 after an open try asks too: it may be our own thing that is in the way.
    ///
    /// Errors of `found` end the call. Else: [`ErrorKind::Conflict`] (409), `Invalid` (400),
    /// `TooLarge` (413), `Quota` (507) and those of every request.
    pub async fn create<F, Fut>(
        &self,
        scope: &Scope,
        path: &str,
        body: &Json,
        found: F,
    ) -> Result<Json, Error>
    where
        F: Fn() -> Fut + Send,
        Fut: Future<Output = Result<Option<Json>, Error>> + Send,
    {
        let write = Write::json(Method::POST, body);
        let mut call = self.writing("create", scope, path, write)?;
        self.engine.write(&mut call, Repeat::Asking, found).await
    }

    /// POST of an action that may safely be repeated, such as moving an item with an immutable id
    /// or restoring a version. A `body` of `null` sends none. The answer may be empty: `null`.
    pub async fn act(&self, scope: &Scope, path: &str, body: &Json) -> Result<Json, Error> {
        let write = Write::json(Method::POST, body);
        let mut call = self.writing("act", scope, path, write)?;
        self.engine.write(&mut call, Repeat::Freely, nobody).await
    }

    /// PATCH, repeated as it is: setting a value twice sets it once.
    ///
    /// With `if_match`, [`ErrorKind::PreconditionFailed`] (412) is somebody else's change; if
    /// [`Error::retries`] is not 0 it may also be our own, whose answer was lost.
    pub async fn patch(
        &self,
        scope: &Scope,
        path: &str,
        body: &Json,
        if_match: Option<&str>,
    ) -> Result<Json, Error> {
        let write = Write::json(Method::PATCH, body).if_match(if_match);
        let mut call = self.writing("change", scope, path, write)?;
        self.engine.write(&mut call, Repeat::Freely, nobody).await
    }

    /// PUT of small content (FACTS 5.6), repeated as it is, for its path says where it goes: not
    /// for `conflictBehavior=rename`. With `conflictBehavior=fail` a 409 after an open try (see
    /// [`Graph::create`]) may be our own file: then `found` is asked.
    pub async fn put<F, Fut>(
        &self,
        scope: &Scope,
        path: &str,
        content: Bytes,
        content_type: &str,
        found: F,
    ) -> Result<Json, Error>
    where
        F: Fn() -> Fut + Send,
        Fut: Future<Output = Result<Option<Json>, Error>> + Send,
    {
        let write = Write::new(Method::PUT, content, content_type);
        let mut call = self.writing("put", scope, path, write)?;
        self.engine.write(&mut call, Repeat::Freely, found).await
    }

    /// DELETE. That there is nothing to delete is success only after an open try (see
    /// [`Graph::create`]): then it was ours.
    pub async fn delete(
        &self,
        scope: &Scope,
        path: &str,
        if_match: Option<&str>,
    ) -> Result<(), Error> {
        let write = Write::new(Method::DELETE, Bytes::new(), JSON).if_match(if_match);
        let mut call = self.writing("delete", scope, path, write)?;
        let mut tries = self.engine.attempts();
        loop {
            match self.engine.write_once(&mut call, &mut tries).await {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => {}
                Err(error) if tries.open > 0 && matches!(error.status(), Some(404 | 410)) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn writing(
        &self,
        operation: &'static str,
        scope: &Scope,
        path: &str,
        write: Write,
    ) -> Result<Call, Error> {
        let call = self.call(operation, Purpose::Object, scope.clone(), path)?;
        Ok(Call { write: Some(write.into()), ..call })
    }
}

/// What is never asked for.
pub(crate) async fn nobody() -> Result<Option<Json>, Error> {
    Ok(None)
}

impl Engine {
    /// Sends `call` until it is carried out, was carried out, or will not be.
    pub(crate) async fn write<F, Fut>(
        &self,
        call: &mut Call,
        repeat: Repeat,
        found: F,
    ) -> Result<Json, Error>
    where
        F: Fn() -> Fut + Send,
        Fut: Future<Output = Result<Option<Json>, Error>> + Send,
    {
        let mut tries = self.attempts();
        let mut looked_after = 0;
        loop {
            let ended = match self.write_once(call, &mut tries).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => None,
                Err(error) => Some(error),
            };
            let conflict = ended.as_ref().is_some_and(|e| *e.kind() == ErrorKind::Conflict);
            let in_doubt = repeat == Repeat::Asking && tries.open > looked_after;
            if in_doubt || (conflict && tries.open > 0) {
                looked_after = tries.open;
                match (self.look(&found).await, &ended) {
                    (Ok(Some(thing)), _) => return Ok(thing),
                    // Who can't look must not repeat.
                    (Err(error), None) => return Err(error),
                    (Ok(None), _) | (Err(_), Some(_)) => {}
                }
            }
            if let Some(error) = ended {
                return Err(error);
            }
        }
    }

    /// Looks for what a request in doubt may have made. Searching lags behind storing: only after
    /// several looks, further and further apart, it counts as not made.
    async fn look<F, Fut>(&self, found: &F) -> Result<Option<Json>, Error>
    where
        F: Fn() -> Fut + Send,
        Fut: Future<Output = Result<Option<Json>, Error>> + Send,
    {
        for look in 0..LOOKS {
            if look > 0 {
                self.tally.wait(self.backoff * 2_u32.pow(look - 1)).await;
            }
            if let Some(thing) = found().await? {
                return Ok(Some(thing));
            }
        }
        Ok(None)
    }

    /// One try and the wait for the next one: the answer, or none if there is to be another try.
    async fn write_once(
        &self,
        call: &mut Call,
        tries: &mut Attempts,
    ) -> Result<Option<Json>, Error> {
        let Tried::Answered(reply) = self.attempt(call, tries).await? else { return Ok(None) };
        let Reply { response, id, permit } = *reply;
        let (status, failure) = (response.status(), describe(call, id));
        let may_be_empty = may_be_empty(status, response.headers());
        let body = response.bytes().await;
        // Neither waiting for another try nor looking for the thing may occupy the mailbox.
        drop(permit);
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                tries.open += 1;
                self.failed(tries, Fault::Torn, id, failure, error).await?;
                return Ok(None);
            }
        };
        self.tally.bytes(body.len());
        if body.is_empty() && may_be_empty {
            return Ok(Some(Json::Null));
        }
        match serde_json::from_str(&json::repair(&body)) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => {
                tries.open += 1;
                if !error.is_eof() {
                    let failure = failure.with_status(status).with_retries(tries.retries);
                    return Err(failure.because(error));
                }
                let failure = failure.with_kind(ErrorKind::Interrupted).because(error);
                self.retry(tries, Trouble::Torn, id, failure).await?;
                Ok(None)
            }
        }
    }
}

/// Whether no body is all there is, and not what is left of a broken connection.
fn may_be_empty(status: StatusCode, headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0");
    length || matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT)
}
