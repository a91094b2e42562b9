//! One exchange with the token endpoint: HTTP for the `oauth2` crate, and what it hides.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oauth2::{AsyncHttpClient, ErrorResponse, HttpRequest, HttpResponse, RequestTokenError};
use serde::Deserialize;
use uuid::Uuid;

use crate::aadsts;
use crate::classify::Refusal;
use crate::engine::log;
use crate::error::{Error, ErrorKind};
use crate::json;
use crate::login::{Entra, Refused};
use crate::redact;
use crate::retry::{Trouble, date, told_wait};
use crate::transport::Fault;

pub(crate) const SIGN_IN: &str = "sign in";

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) entra: Arc<Entra>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    failure: Option<Refused>,
    server_date: Option<DateTime<Utc>>,
    sent: Option<Instant>,
}

/// An OAuth error as Entra writes it (FACTS 1.2).
#[derive(Default, Deserialize)]
#[serde(default)]
struct OauthError {
    error: String,
    error_description: String,
    error_codes: Vec<u32>,
    trace_id: Option<String>,
}

impl<'call> AsyncHttpClient<'call> for Exchange {
    type Error = Error;
    type Future = BoxFuture<'call, Result<HttpResponse, Error>>;

    fn call(&'call self, request: HttpRequest) -> Self::Future {
        self.post(request).boxed()
    }
}

impl Exchange {
    pub(crate) fn new(entra: &Arc<Entra>) -> Exchange {
        Exchange { entra: Arc::clone(entra), seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The login host's clock at its last answer.
    pub(crate) fn server_date(&self) -> Option<DateTime<Utc>> {
        self.seen().server_date
    }

    pub(crate) fn last_sent(&self) -> Option<Instant> {
        self.seen().sent
    }

    /// Sends one request. Answers go back to `oauth2`, which knows which errors mean to go on
    /// polling; what was wrong is remembered here, because it keeps too little of it.
    async fn post(&self, request: HttpRequest) -> Result<HttpResponse, Error> {
        let id = Uuid::new_v4();
        let failure = |kind| {
            Error::new(kind, SIGN_IN)
                .at(request.uri().to_string())
                .with_ids(None, Some(id.to_string()))
        };
        let protocol = failure(ErrorKind::Protocol);
        let unreachable = failure(ErrorKind::Unreachable);
        let sent = reqwest::Request::try_from(request)
            .map_err(|error| protocol.clone().because(error.without_url()))?;
        self.entra.tally.request("login");
        self.seen().sent = Some(Instant::now());
        let builder = reqwest::RequestBuilder::from_parts(self.entra.http.clone(), sent)
            .header("client-request-id", id.to_string());
        let answer = match builder.send().await {
            Ok(response) => read(response).await,
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| self.no_answer(unreachable, error))?;
        self.seen().server_date = date(answer.headers());
        if answer.status().is_success() {
            return Ok(answer);
        }
        let refused = self.explain(protocol, &answer, id);
        let transient = refused.trouble.is_some();
        let error = refused.error.clone();
        self.seen().failure = Some(refused);
        // As an error of HTTP, so that polling goes on.
        if transient { Err(error) } else { Ok(answer) }
    }

    fn no_answer(&self, failure: Error, error: reqwest::Error) -> Error {
        let fault = Fault::of(&error);
        let error = failure.with_kind(fault.kind()).because(error.without_url());
        let trouble = (fault != Fault::Tls).then_some(Trouble::Unreachable);
        self.seen().failure = Some(Refused { error: error.clone(), trouble });
        error
    }

    fn explain(&self, failure: Error, answer: &HttpResponse, id: Uuid) -> Refused {
        let status = answer.status();
        let refusal = Refusal::new(status, answer.headers().clone(), answer.body());
        log(&refusal, failure.url().unwrap_or_default(), id);
        let oauth: OauthError =
            serde_json::from_str(&json::repair(answer.body())).unwrap_or_default();
        let number =
            aadsts::number(&oauth.error_description).or_else(|| oauth.error_codes.first().copied());
        let (kind, trouble) = match status.as_u16() {
            429 => (ErrorKind::Throttled, Some(Trouble::Throttled(told_wait(answer.headers())))),
            500.. => (ErrorKind::Server, Some(Trouble::Throttled(told_wait(answer.headers())))),
            _ if oauth.error == "temporarily_unavailable" => {
                (ErrorKind::Server, Some(Trouble::Throttled(None)))
            }
            400.. if !oauth.error.is_empty() => (ErrorKind::Credentials, None),
            _ => (ErrorKind::Protocol, None),
        };
        let code = number.map(|n| format!("AADSTS{n}")).or_else(|| none_if_empty(&oauth.error));
        let error = failure
            .with_kind(kind)
            .with_status(status)
            .with_code(code)
            .with_message(self.conceal(&format!("{} {}", oauth.error, oauth.error_description)))
            .with_ids(oauth.trace_id, Some(id.to_string()))
            .with_hint(aadsts::hint(number, &oauth.error));
        Refused { error, trouble }
    }

    /// A service should not repeat a secret; an intermediary might.
    fn conceal(&self, message: &str) -> String {
        match self.entra.secret().filter(|secret| !secret.is_empty()) {
            Some(secret) => message.replace(secret, "…"),
            None => message.to_owned(),
        }
    }

    /// What `oauth2` gave up on.
    pub(crate) fn refused<T: ErrorResponse>(&self, error: RequestTokenError<Error, T>) -> Refused {
        match (self.seen().failure.take(), error) {
            (Some(refused), _) => refused,
            (None, RequestTokenError::Request(error)) => error.into(),
            // Its text may hold the answer, and that a token.
            (None, _) => Error::new(ErrorKind::Protocol, SIGN_IN)
                .at(redact::text(self.entra.client().token_uri().as_str()))
                .with_message("the answer of the token endpoint is unreadable")
                .into(),
        }
    }
}

fn none_if_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

async fn read(response: reqwest::Response) -> Result<HttpResponse, reqwest::Error> {
    let mut answer = http::Response::new(Vec::new());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = response.headers().clone();
    *answer.body_mut() = response.bytes().await?.to_vec();
    Ok(answer)
}
