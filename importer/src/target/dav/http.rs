//! Requests to the one server that the address names: credentials go nowhere else, waits are those
//! the server asks for, and of an answer no more is read than can be meant.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use tokio::time::{sleep, timeout};
use url::Url;

use super::Credentials;
use super::object::Object;
use super::xml::preconditions;
use crate::error::{Error, chain};

const CONNECT: Duration = Duration::from_secs(30);
/// For an answer, beside the time that the bytes themselves take.
const ANSWER: Duration = Duration::from_secs(180);
/// Nobody's line is slower than this, in bytes a second.
const SLOWEST: u64 = 16 * 1024;
/// Tries of one request when connections get lost or the server has no time.
const TRIES: u32 = 6;
/// All waits of one request that a server may ask for.
const PATIENCE: Duration = Duration::from_secs(1800);
const REDIRECTS: u32 = 5;
/// More than the list of anybody's calendars.
const MOST_OF_ANSWER: usize = 16 << 20;
const MOST_OF_ERROR: usize = 64 * 1024;

/// A request, which may be sent again.
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    pub(super) url: Url,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body<'a>,
}

pub(super) enum Body<'a> {
    None,
    Xml(String),
    Object(&'a Object),
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: &'static str, url: &Url, body: Body<'a>) -> Self {
        Self { method, url: url.clone(), headers: Vec::new(), body }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An answer whose body was not read yet.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where it came from in the end.
    pub(super) url: Url,
    /// An earlier try of the same request may have been carried out.
    pub(super) is_doubtful: bool,
    response: Response,
}

/// What a server says when it refuses.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) conditions: Vec<String>,
    /// What is in the way.
    pub(super) href: Option<String>,
}

impl std::fmt::Display for Refusal {
    /// Nothing that the server could have made of its own: its texts may repeat a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server says {}", self.status)?;
        if self.conditions.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.conditions.join(", "))
        }
    }
}

/// The server.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    /// As the address has it.
    home: Url,
    authorization: HeaderValue,
    /// It answered before: if it does not now, it will again.
    reached: AtomicBool,
}

impl Http {
    /// Connects to nothing yet.
    pub(super) fn new(
        home: &Url,
        user: &str,
        credentials: &Credentials,
        ca_certificates_pem: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let unusable = |what: String| Error::Usage { what, hint: "look at --ca-certificate" };
        let mut tls = graph::client_tls(ca_certificates_pem)
            .map_err(|error| unusable(format!("the CA certificates: {}", chain(&error))))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let builder = Client::builder()
            .use_preconfigured_tls(tls)
            .http1_only()
            .user_agent(concat!("tar365/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .redirect(Policy::none())
            .no_gzip()
            .referer(false);
        // What is on this machine is not behind a proxy, and must not go through one in the clear.
        let builder = if home.scheme() == "http" { builder.no_proxy() } else { builder };
        let client = builder
            .build()
            .map_err(|error| unusable(format!("HTTP: {}", chain(&error.without_url()))))?;
        let text = match credentials {
            Credentials::Password(password) => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            Credentials::Token(token) => format!("Bearer {token}"),
        };
        let mut authorization = HeaderValue::try_from(text).map_err(|_| Error::Usage {
            what: "the access token is no such thing".to_owned(),
            hint: "it is one line of letters, digits and signs",
        })?;
        authorization.set_sensitive(true);
        Ok(Self { client, home: home.clone(), authorization, reached: AtomicBool::new(false) })
    }

    /// An address that the server named, if it is one of its own.
    pub(super) fn resolve(&self, base: &Url, href: &str) -> Result<Url, Error> {
        let url = base.join(href).map_err(|_| Error::Usage {
            what: format!("{} names an address that is none", self.shown()),
            hint: "the --to may be no CalDAV or CardDAV server",
        })?;
        if url.origin() == self.home.origin() {
            return Ok(url);
        }
        let to = url.origin().ascii_serialization();
        Err(Error::Usage {
            what: format!("{} sends us to {to}, where its password does not go", self.shown()),
            hint: "give the address it sends to as --to, if you trust it",
        })
    }

    /// The server, without anything secret.
    pub(super) fn shown(&self) -> String {
        self.home.origin().ascii_serialization()
    }

    /// Sends it until there is an answer that does not say to come again.
    ///
    /// # Errors
    /// Final ones.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let (mut url, mut redirects) = (self.resolve(&ask.url, "")?, 0);
        let (mut tries, mut waited, mut is_doubtful) = (0, Duration::ZERO, false);
        loop {
            tries += 1;
            let response = match self.once(ask, &url).await {
                Ok(response) => response,
                Err(Lost(message)) => {
                    is_doubtful = true;
                    if tries == TRIES || !self.reached.load(Ordering::Relaxed) {
                        return Err(self.unreachable(message));
                    }
                    tracing::warn!(message, "the connection to the server is lost");
                    sleep(Duration::from_secs(1 << (tries - 1))).await;
                    continue;
                }
            };
            self.reached.store(true, Ordering::Relaxed);
            let status = response.status();
            if let Some(to) = redirection(&response) {
                redirects += 1;
                if redirects > REDIRECTS {
                    return Err(self.unreachable("it sends us in circles".to_owned()));
                }
                url = self.resolve(&url, &to)?;
                tries -= 1;
                continue;
            }
            if status == StatusCode::UNAUTHORIZED {
                return Err(self.refused(response.headers()));
            }
            if !matches!(status.as_u16(), 429 | 502 | 503 | 504) {
                let headers = response.headers().clone();
                return Ok(Answer { status, headers, url, is_doubtful, response });
            }
            // A gateway does not say whether the server behind it did something.
            is_doubtful |= status != StatusCode::TOO_MANY_REQUESTS;
            let wait = told_wait(response.headers()).filter(|wait| !wait.is_zero());
            waited += wait.unwrap_or_default();
            if (wait.is_none() && tries >= TRIES) || waited > PATIENCE {
                return Err(self.gone("throttled", format!("it keeps saying {status}")));
            }
            sleep(wait.unwrap_or_else(|| Duration::from_secs(1 << (tries.min(TRIES) - 1)))).await;
        }
    }

    async fn once(&self, ask: &Ask<'_>, url: &Url) -> Result<Response, Lost> {
        let method = Method::from_bytes(ask.method.as_bytes()).unwrap_or_default();
        let mut request = self
            .client
            .request(method, url.clone())
            .header(AUTHORIZATION, self.authorization.clone());
        for (name, value) in &ask.headers {
            request = request.header(HeaderName::from_static(name), value);
        }
        let mut size = 0;
        request = match &ask.body {
            Body::None => request,
            Body::Xml(text) => {
                request.header(CONTENT_TYPE, "application/xml; charset=utf-8").body(text.clone())
            }
            Body::Object(object) => {
                size = object.size;
                let pieces = object.pieces().map_err(|error| Lost(error.to_string()))?;
                let pieces = stream::try_unfold(pieces, |mut pieces| async move {
                    Ok::<_, std::io::Error>(
                        pieces.next()?.map(|piece| (Bytes::from(piece), pieces)),
                    )
                });
                // Its length is known, and not every server takes a body that does not tell it.
                request
                    .header(CONTENT_TYPE, object.kind.media_type())
                    .header(CONTENT_LENGTH, size)
                    .body(reqwest::Body::wrap_stream(pieces))
            }
        };
        let limit = ANSWER + Duration::from_secs(size / SLOWEST);
        match timeout(limit, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Lost(chain(&error.without_url()))),
            Err(_) => Err(Lost("nobody answers".to_owned())),
        }
    }

    /// Sends it and reads the answer's body, which is small.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<(Answer, Vec<u8>), Error> {
        for _ in 0..TRIES {
            let mut answer = self.send(ask).await?;
            let mut body = Vec::new();
            let most = if answer.status.is_success() { MOST_OF_ANSWER } else { MOST_OF_ERROR };
            let all = async {
                while let Some(piece) = answer.piece().await? {
                    if body.len() + piece.len() > most {
                        return Ok(false);
                    }
                    body.extend_from_slice(&piece);
                }
                Ok(true)
            };
            match timeout(ANSWER, all).await {
                Ok(Ok(true)) => return Ok((answer, body)),
                // Of an error it is enough.
                Ok(Ok(false)) if !answer.status.is_success() => return Ok((answer, body)),
                Ok(Ok(false)) => {
                    return Err(self.failed(ask, "the answer has no end", "target"));
                }
                Ok(Err(Lost(message))) => tracing::warn!(message, "an answer broke off"),
                Err(_) => return Err(self.failed(ask, "the answer has no end", "target")),
            }
        }
        Err(self.unreachable("its answers break off".to_owned()))
    }

    /// An answer that is a refusal.
    pub(super) fn refusal(status: StatusCode, body: &[u8]) -> Refusal {
        let (conditions, href) = preconditions(body);
        Refusal { status, conditions, href }
    }

    fn failed(&self, ask: &Ask<'_>, message: &str, cause: &'static str) -> Error {
        Error::Dav {
            doing: format!("{} {}{}", ask.method, self.shown(), ask.url.path()),
            message: message.to_owned(),
            cause,
            fatal: false,
        }
    }

    fn unreachable(&self, message: String) -> Error {
        self.gone("target", message)
    }

    /// Nothing else can be done there now.
    fn gone(&self, cause: &'static str, message: String) -> Error {
        Error::Dav { doing: format!("reach {}", self.shown()), message, cause, fatal: true }
    }

    fn refused(&self, headers: &HeaderMap) -> Error {
        let mut offered = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|h| h.to_str().ok());
        let knows = |scheme: &str| {
            let start = scheme.get(..6).unwrap_or_default();
            start.eq_ignore_ascii_case("basic ") || start.eq_ignore_ascii_case("bearer")
        };
        let is_strange = headers.contains_key(WWW_AUTHENTICATE) && !offered.any(knows);
        let message = match is_strange {
            true => "it wants another way to log in than Basic or a token",
            false => "the server does not take the credentials",
        };
        Error::Dav {
            doing: format!("log in at {}", self.shown()),
            message: message.to_owned(),
            cause: "refused",
            fatal: true,
        }
    }
}

impl Answer {
    /// The next piece of the body.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Lost> {
        self.response.chunk().await.map_err(|error| Lost(chain(&error.without_url())))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The connection is no good, or there is none.
#[derive(Debug)]
pub(super) struct Lost(pub(super) String);

/// Where else to send the same request to.
fn redirection(response: &Response) -> Option<String> {
    let is_one = matches!(response.status().as_u16(), 301 | 302 | 307 | 308);
    let to = response.headers().get(LOCATION).filter(|_| is_one)?;
    Some(to.to_str().unwrap_or_default().to_owned())
}

/// Seconds, or a date.
fn told_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
    Some((until - Utc::now()).to_std().unwrap_or_default())
}
