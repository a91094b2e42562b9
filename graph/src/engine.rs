//! Sends requests: admission, token, retries, and what a failure was.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue};
use reqwest::{RequestBuilder, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::info;
use url::Url;
use uuid::Uuid;

use crate::call::{Call, Purpose};
use crate::classify::{Refusal, Verdict, is_limit, stops_scope};
use crate::counters::Tally;
use crate::error::{Error, ErrorKind};
use crate::json;
use crate::link::{DeltaLink, Root};
use crate::retry::{Attempts, Trouble, jitter, told_wait};
use crate::scope::Scope;
use crate::throttle::{Lane, Pacer, PausedTooLong, Permit};
use crate::token::{Token, Tokens};
use crate::transport::{Fault, Transport};

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) root: Root,
    pub(crate) transport: Transport,
    pub(crate) tokens: Tokens,
    pub(crate) pacer: Pacer,
    pub(crate) tally: Arc<Tally>,
    pub(crate) patience: Duration,
    pub(crate) backoff: Duration,
    /// Bounds the pages that are in memory at the same time, whatever the number of tasks.
    pub(crate) rooms: Arc<Semaphore>,
}

/// What the directory answers if it answers anything.
const DIRECTORY: &str = "/users?$top=1&$select=id";

/// Pages in memory at the same time: one of 1,000 messages is about 2 MB, twice while it is read.
pub(crate) const ROOMS: usize = 3;
/// How long a page or an object may take to come in. It keeps others out, however little comes.
const LONGEST_BODY: Duration = Duration::from_secs(300);

/// The right to hold a page in memory.
pub(crate) type Room = Option<Arc<OwnedSemaphorePermit>>;

/// A good answer whose body is still to be read. A mailbox's connection goes with it.
pub(crate) struct Reply {
    pub(crate) response: Response,
    pub(crate) id: Uuid,
    pub(crate) permit: Permit,
}

/// What came of one try.
pub(crate) enum Tried {
    Answered(Box<Reply>),
    /// No answer, or none that stands; the wait before the next try is over.
    Again,
}

impl Engine {
    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::new(self.patience, self.backoff)
    }

    /// Sends `call` until it is answered as asked for, or not to be answered.
    pub(crate) async fn send(&self, call: &mut Call, tries: &mut Attempts) -> Result<Reply, Error> {
        loop {
            if let Tried::Answered(reply) = self.attempt(call, tries).await? {
                return Ok(*reply);
            }
        }
    }

    /// Sends `call` once, and waits for what the next try must wait for.
    pub(crate) async fn attempt(
        &self,
        call: &mut Call,
        tries: &mut Attempts,
    ) -> Result<Tried, Error> {
        match self.try_once(call, tries).await? {
            Ok(tried) => Ok(tried),
            Err(error) => Err(self.or_out(&call.scope, error).await),
        }
    }

    /// A mailbox that outlasts our patience while the directory answers is its own failure, and
    /// nobody waits for it again: a scope stops alone.
    pub(crate) async fn or_out(&self, scope: &Scope, error: Error) -> Error {
        let is_out = matches!(error.kind(), ErrorKind::Throttled | ErrorKind::Unreachable);
        if !is_out || !matches!(scope, Scope::Mailbox(_)) {
            return error;
        }
        let lane = self.pacer.lane(scope);
        if !lane.is_out() && !self.probe(&Scope::Directory, DIRECTORY.to_owned()).await {
            return error;
        }
        lane.set_out(true);
        error.with_kind(ErrorKind::Server)
    }

    /// The inner error is the scope's; without a token nobody can ask anything.
    async fn try_once(
        &self,
        call: &mut Call,
        tries: &mut Attempts,
    ) -> Result<Result<Tried, Error>, Error> {
        let cost = call.cost();
        let permit = match self.pacer.admit(&call.scope, cost, &self.tally).await {
            Ok(permit) => permit,
            Err(paused) => return Ok(Err(paused_too_long(call, tries, &paused))),
        };
        tries.admitted(&permit);
        let token = self.tokens.get().await?;
        if let Err(paused) = self.pacer.outlast_pause(&permit, &self.tally).await {
            return Ok(Err(paused_too_long(call, tries, &paused)));
        }
        let id = Uuid::new_v4();
        self.tally.request(call.scope.name());
        if let Some(write) = &call.write {
            self.tally.write(write.content.len());
        }
        let waited = match self.request(call, &token, id, tries.reconnect).send().await {
            Ok(response) if is_good(call, &response) => {
                self.heed(&permit, &response, true, id).await;
                return Ok(Ok(Tried::Answered(Box::new(Reply { response, id, permit }))));
            }
            Ok(response) => {
                self.heed(&permit, &response, false, id).await;
                let refusal = Refusal::read(response).await;
                log(&refusal, &call.shown(), id);
                drop(permit);
                tries.open += u32::from(refusal.leaves_open(call));
                let wait = self.refused(call, tries, &token, &refusal, id).await;
                match self.unless_outage(call, tries, id, wait).await {
                    Ok(()) => self.unless_spoilt(call, tries, &refusal, id).await,
                    ended => ended,
                }
            }
            Err(error) => {
                drop(permit);
                let fault = Fault::of(&error);
                tries.open += u32::from(fault == Fault::Torn);
                let wait = self.failed(tries, fault, id, describe(call, id), error).await;
                self.unless_outage(call, tries, id, wait).await
            }
        };
        Ok(waited.map(|()| Tried::Again))
    }

    /// A request that has used up its tries is the item's failure only if others are answered.
    /// When nobody is, the service is out, and that is a matter of patience.
    async fn unless_outage(
        &self,
        call: &Call,
        tries: &mut Attempts,
        id: Uuid,
        ended: Result<(), Error>,
    ) -> Result<(), Error> {
        let Err(error) = ended else { return Ok(()) };
        let used_up = matches!(error.kind(), ErrorKind::Server | ErrorKind::Interrupted);
        if !call.is_write() && is_unavailable(&error) && self.answers(call).await {
            self.pacer.lane(&call.scope).set_spoilt();
            return Err(error.with_kind(ErrorKind::Server));
        }
        if !used_up || self.answers(call).await {
            return Err(error);
        }
        let error = error.with_kind(ErrorKind::Unreachable);
        self.retry(tries, Trouble::Unreachable, id, error).await
    }

    /// What is read and "unavailable" again and again, while the service answers others, is a bad
    /// item (FACTS 3.6 of notebooks). A limit is never the item's.
    async fn unless_spoilt(
        &self,
        call: &Call,
        tries: &mut Attempts,
        refusal: &Refusal,
        id: Uuid,
    ) -> Result<(), Error> {
        let of_scope = refusal.is_limit();
        let unavailable = matches!(
            refusal.verdict(call),
            Verdict::Retry(Trouble::Throttled(_), _) if !of_scope
        );
        if call.is_write() || !unavailable || !tries.may_be_spoilt() {
            return Ok(());
        }
        if !self.answers(call).await {
            return Ok(());
        }
        self.pacer.lane(&call.scope).set_spoilt();
        let failure = explain(describe(call, id), ErrorKind::Server, refusal);
        Err(failure.with_retries(tries.retries))
    }

    /// Whether the service answers anything else in the scope of `call`, refusals included.
    async fn answers(&self, call: &Call) -> bool {
        let path = match &call.scope {
            Scope::Mailbox(group) if call.is_of_group() => {
                format!("/groups/{}/threads?$top=1&$select=id", crate::link::segment(group))
            }
            Scope::Mailbox(user) => {
                format!("/users/{}/mailFolders/inbox?$select=id", crate::link::segment(user))
            }
            Scope::SharePoint => "/sites/root?$select=id".to_owned(),
            Scope::Directory => DIRECTORY.to_owned(),
            Scope::Other => return true,
        };
        self.probe(&call.scope, path).await
    }

    async fn probe(&self, scope: &Scope, path: String) -> bool {
        let Ok(url) = self.root.resolve(&path) else { return true };
        let call = Call {
            operation: "probe",
            purpose: Purpose::Object,
            scope: scope.clone(),
            url,
            prefer: crate::Prefer::none(),
            write: None,
        };
        let Ok(permit) = self.pacer.admit(scope, call.cost(), &self.tally).await else {
            return false;
        };
        let Ok(token) = self.tokens.get().await else { return false };
        if self.pacer.outlast_pause(&permit, &self.tally).await.is_err() {
            return false;
        }
        self.tally.request(scope.name());
        let id = Uuid::new_v4();
        let Ok(answer) = self.request(&call, &token, id, true).send().await else { return false };
        let status = answer.status();
        self.heed(&permit, &answer, status.is_success(), id).await;
        !status.is_server_error() && !is_limit(status.as_u16(), None)
    }

    /// An answer's JSON, repaired and read by `parse`. A torn answer is asked for again.
    pub(crate) async fn json<T>(
        &self,
        call: &mut Call,
        parse: impl Fn(&str) -> serde_json::Result<T>,
    ) -> Result<(T, Room), Error> {
        let mut tries = self.attempts();
        loop {
            let reply = self.send(call, &mut tries).await?;
            let (id, status) = (reply.id, reply.response.status());
            let failure = describe(call, id);
            // Only now, when the answer is there: who is told to wait must not keep others out.
            let room = self.room(call).await;
            let body = tokio::time::timeout(LONGEST_BODY, reply.response.bytes()).await;
            // Waiting for another try must not occupy the mailbox.
            drop(reply.permit);
            match body {
                // It trickles: a smaller page may come in time.
                Err(late) => {
                    let failure = failure.with_kind(ErrorKind::Interrupted).because(late);
                    self.retry(&mut tries, Trouble::Torn, id, failure).await?;
                }
                Ok(Ok(body)) => {
                    self.tally.bytes(body.len());
                    match parse(&json::repair(&body)) {
                        Ok(answer) => return Ok((answer, room)),
                        // Without a length only the end that is missing tells of a broken connection.
                        Err(error) if error.is_eof() => {
                            let failure = failure.with_kind(ErrorKind::Interrupted).because(error);
                            self.retry(&mut tries, Trouble::Torn, id, failure).await?;
                        }
                        Err(error) => {
                            let failure = failure.with_status(status).with_retries(tries.retries);
                            return Err(failure.because(error));
                        }
                    }
                }
                Ok(Err(error)) => self.failed(&mut tries, Fault::Torn, id, failure, error).await?,
            }
            call.shrink();
        }
    }

    async fn room(&self, call: &Call) -> Room {
        match call.purpose {
            Purpose::FirstPage | Purpose::NextPage => {
                Arc::clone(&self.rooms).acquire_owned().await.ok().map(Arc::new)
            }
            _ => None,
        }
    }

    fn request(&self, call: &Call, token: &Token, id: Uuid, reconnect: bool) -> RequestBuilder {
        let http = if reconnect { &self.transport.reconnecting } else { &self.transport.service };
        let method = call.write.as_ref().map_or(&Method::GET, |write| &write.method);
        let mut request = http
            .request(method.clone(), call.url.clone())
            .header(http::header::AUTHORIZATION, token.header())
            .header("client-request-id", id.to_string());
        if call.accepts_json() {
            request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
        }
        if call.purpose == Purpose::Content {
            // Some hosts answer with the bytes themselves (FACTS 4.3): their length must be true.
            request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some(prefer) = call.prefer.header(matches!(call.scope, Scope::Mailbox(_))) {
            request = request.header("Prefer", prefer);
        }
        if call.prefer.is_eventual() {
            request = request.header("ConsistencyLevel", "eventual");
        }
        if call.scope == Scope::Directory {
            request = request.header("x-ms-throttle-priority", "low");
        }
        match &call.write {
            Some(write) => write.put_into(request),
            None => request,
        }
    }

    /// Waits for the next try, or says why there is none.
    async fn refused(
        &self,
        call: &mut Call,
        tries: &mut Attempts,
        token: &Arc<Token>,
        refusal: &Refusal,
        id: Uuid,
    ) -> Result<(), Error> {
        let failure = |kind| explain(describe(call, id), kind, refusal);
        match refusal.verdict(call) {
            Verdict::Unauthorized if !tries.renewed => {
                tries.renewed = true;
                tries.retries += 1;
                self.tally.retry();
                self.tokens.discard(token);
                Ok(())
            }
            Verdict::Unauthorized => {
                let kind = unauthorized(call, refusal);
                Err(failure(kind).with_retries(tries.retries))
            }
            Verdict::Final(ErrorKind::SyncStateLost { .. }) => {
                let restart = refusal.header("location").filter(|to| self.root.follow(to).is_ok());
                let restart = restart.map(DeltaLink::new);
                Err(failure(ErrorKind::SyncStateLost { restart }).with_retries(tries.retries))
            }
            Verdict::Final(kind) => Err(failure(kind).with_retries(tries.retries)),
            Verdict::Retry(trouble, kind) => {
                let failure = failure(kind.clone());
                if refusal.status == http::StatusCode::GATEWAY_TIMEOUT {
                    call.shrink();
                }
                self.pause(&call.scope, refusal, trouble, &kind, id).await;
                tries.reconnect |= refusal.status == http::StatusCode::SERVICE_UNAVAILABLE;
                self.retry(tries, trouble, id, failure).await
            }
        }
    }

    /// Takes in what the head of an answer says of the limits; `good` if it is what was asked for.
    /// When it stops the scope, nobody else sends while its body is on the way.
    pub(crate) async fn heed(&self, permit: &Permit, answer: &Response, good: bool, id: Uuid) {
        let headers = answer.headers();
        if stops_scope(answer.status(), headers) {
            self.stop(&permit.lane, told_wait(headers), id).await;
        }
        permit.answered(headers, good, &self.tally).await;
    }

    /// What only the body of a refusal tells. A throttled scope stops as a whole; a transient
    /// failure of one item does not stop it.
    pub(crate) async fn pause(
        &self,
        scope: &Scope,
        refusal: &Refusal,
        trouble: Trouble,
        kind: &ErrorKind,
        id: Uuid,
    ) {
        if let (Trouble::Throttled(told), ErrorKind::Throttled) = (trouble, kind)
            && !stops_scope(refusal.status, &refusal.headers)
        {
            self.stop(&self.pacer.lane(scope), told, id).await;
        }
    }

    async fn stop(&self, lane: &Lane, told: Option<Duration>, id: Uuid) {
        self.tally.throttled(lane.name);
        self.pacer.throttled(lane, told, jitter(id)).await;
    }

    /// No answer, or half of one. `failure` says of what.
    pub(crate) async fn failed(
        &self,
        tries: &mut Attempts,
        fault: Fault,
        id: Uuid,
        failure: Error,
        error: reqwest::Error,
    ) -> Result<(), Error> {
        let failure = failure.with_kind(fault.kind()).because(error.without_url());
        info!(%failure, ?fault, "no answer");
        match fault {
            Fault::Tls => Err(failure),
            Fault::Unreachable => self.retry(tries, Trouble::Unreachable, id, failure).await,
            Fault::Torn => self.retry(tries, Trouble::Torn, id, failure).await,
        }
    }

    pub(crate) async fn retry(
        &self,
        tries: &mut Attempts,
        trouble: Trouble,
        id: Uuid,
        failure: Error,
    ) -> Result<(), Error> {
        match tries.after(trouble, jitter(id)) {
            Some(wait) => {
                self.tally.retry();
                self.tally.wait(wait).await;
                Ok(())
            }
            None => Err(failure.with_retries(tries.retries)),
        }
    }
}

/// Told to slow down, but not because of a limit.
fn is_unavailable(error: &Error) -> bool {
    let is_limit = |status| is_limit(status, error.code());
    *error.kind() == ErrorKind::Throttled && error.status().is_some_and(|status| !is_limit(status))
}

fn is_good(call: &Call, response: &Response) -> bool {
    let status = response.status();
    let infected = response.headers().contains_key("x-virus-infected");
    let redirected = call.purpose == Purpose::Content
        && status.is_redirection()
        && response.headers().contains_key(http::header::LOCATION);
    !infected && (status.is_success() || redirected)
}

fn paused_too_long(call: &Call, tries: &Attempts, paused: &PausedTooLong) -> Error {
    let error = Error::new(ErrorKind::Throttled, call.operation).at(call.shown());
    paused.told(error.with_retries(tries.retries))
}

/// A second 401, with a token just issued: the app is refused, unless it is the known answer for
/// a OneDrive that was never opened (FACTS 6.2).
fn unauthorized(call: &Call, refusal: &Refusal) -> ErrorKind {
    let token =
        refusal.code().is_some_and(|c| c.eq_ignore_ascii_case("InvalidAuthenticationToken"));
    if !token && call.names_own_drive() { ErrorKind::NoDrive } else { ErrorKind::Credentials }
}

pub(crate) fn describe(call: &Call, id: Uuid) -> Error {
    Error::new(ErrorKind::Protocol, call.operation)
        .at(call.shown())
        .with_ids(None, Some(id.to_string()))
}

/// `failure` with all that the service said.
pub(crate) fn explain(failure: Error, kind: ErrorKind, refusal: &Refusal) -> Error {
    let client_id = failure.client_request_id().map(str::to_owned);
    failure
        .with_kind(kind)
        .with_status(refusal.status)
        .with_code(refusal.code().map(str::to_owned))
        .with_message(&refusal.message)
        .with_ids(refusal.header("request-id").map(str::to_owned), client_id)
        .with_hint(refusal.hint())
}

/// What Microsoft's support asks for (FACTS 2.1).
pub(crate) fn log(refusal: &Refusal, url: &str, id: Uuid) {
    info!(
        status = refusal.status.as_u16(),
        url,
        code = refusal.code().map(crate::redact::text),
        request_id = refusal.header("request-id"),
        client_request_id = %id,
        diagnostic = refusal.header("x-ms-ags-diagnostic"),
        date = refusal.header("date"),
        "refused"
    );
}

/// The address of a redirect, absolute.
pub(crate) fn location(response: &Response) -> Option<Url> {
    let location = response.headers().get(http::header::LOCATION)?.to_str().ok()?;
    response.url().join(location).ok()
}
