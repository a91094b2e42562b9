//! The access token: one for all tasks, renewed before it ends (FACTS 1.7).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderValue;
use serde::Deserialize;
use tokio::sync::OwnedMutexGuard;
use tracing::warn;

use crate::error::{Error, ErrorKind};
use crate::identity::Identity;
use crate::login::Login;

/// Part of its life after which a token is renewed.
const FRESH_SHARE: f64 = 0.8;

/// Time between attempts to renew a token that still works.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// An access token. `Debug` shows nothing of it.
pub(crate) struct Token {
    header: HeaderValue,
    claims: Option<Claims>,
    asked: Instant,
    life: Duration,
    server_date: Option<DateTime<Utc>>,
    skew: Option<TimeDelta>,
}

/// What a token tells if it happens to be a JWT. Nothing may depend on that (FACTS 1.2).
#[derive(Debug, Deserialize)]
struct Claims {
    roles: Option<Vec<String>>,
    scp: Option<String>,
    tid: Option<String>,
    appid: Option<String>,
    azp: Option<String>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("life", &self.life).finish_non_exhaustive()
    }
}

impl Token {
    /// `asked` is when the request for it was sent: its life is counted from there.
    pub(crate) fn new(
        access: &str,
        life: Duration,
        asked: Instant,
        server_date: Option<DateTime<Utc>>,
    ) -> Result<Token, Error> {
        let header = HeaderValue::from_str(&format!("Bearer {access}"));
        let mut header = header.map_err(|_| {
            Error::new(ErrorKind::Protocol, "sign in").with_message("the token is no header value")
        })?;
        header.set_sensitive(true);
        let skew = server_date.map(|date| date - Utc::now());
        Ok(Token { header, claims: claims(access), asked, life, server_date, skew })
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    fn is_fresh(&self) -> bool {
        self.asked.elapsed() < self.life.mul_f64(FRESH_SHARE)
    }

    fn is_valid(&self) -> bool {
        self.asked.elapsed() < self.life
    }

    pub(crate) fn identity(&self, login: &Login) -> Identity {
        let claims = self.claims.as_ref();
        let text = |get: fn(&Claims) -> &Option<String>| claims.and_then(|c| get(c).clone());
        Identity {
            roles: claims.map(Claims::permissions),
            tenant_id: text(|claims| &claims.tid).or_else(|| login.tenant_id()),
            app_id: text(|claims| &claims.appid)
                .or_else(|| text(|claims| &claims.azp))
                .or_else(|| login.client_id().map(str::to_owned)),
            expires_in: self.life,
            server_date: self.server_date,
            clock_skew: self.skew,
        }
    }
}

impl Claims {
    /// App-only tokens have roles, those of a person have scopes.
    fn permissions(&self) -> Vec<String> {
        let scopes = self.scp.iter().flat_map(|scopes| scopes.split_whitespace());
        let roles = self.roles.iter().flatten().map(String::as_str);
        roles.chain(scopes).map(str::to_owned).collect()
    }
}

/// The payload of a JWT, unverified: it is not for us to trust, only to report.
fn claims(access: &str) -> Option<Claims> {
    let mut parts = access.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = URL_SAFE_NO_PAD.decode(payload).or_else(|_| URL_SAFE.decode(payload)).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// The current token and the way to the next one.
#[derive(Debug)]
pub(crate) struct Tokens {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    login: Login,
    current: Mutex<Option<Arc<Token>>>,
    /// Held while somebody asks for a token, so that nobody else does.
    flight: Arc<tokio::sync::Mutex<Landing>>,
    /// How many such requests have ended.
    landed: AtomicU64,
}

/// How the last request for a token ended.
#[derive(Debug, Default)]
struct Landing {
    failure: Option<Error>,
    /// Until when a token that still works is not renewed.
    renew_after: Option<Instant>,
}

impl Tokens {
    pub(crate) fn new(login: Login) -> Tokens {
        let shared = Shared {
            login,
            current: Mutex::default(),
            flight: Arc::default(),
            landed: AtomicU64::new(0),
        };
        Tokens { shared: Arc::new(shared) }
    }

    pub(crate) fn login(&self) -> &Login {
        &self.shared.login
    }

    /// The token to use now. Only who finds none waits for one.
    pub(crate) async fn get(&self) -> Result<Arc<Token>, Error> {
        let current = self.shared.current().clone();
        match current {
            Some(token) if token.is_fresh() => Ok(token),
            Some(token) if token.is_valid() => {
                self.renew_behind();
                Ok(token)
            }
            _ => self.fetch().await,
        }
    }

    /// The service refused `token`. Does nothing if there is a newer one already.
    pub(crate) fn discard(&self, token: &Arc<Token>) {
        self.shared.current().take_if(|current| Arc::ptr_eq(current, token));
    }

    async fn fetch(&self) -> Result<Arc<Token>, Error> {
        let shared = &self.shared;
        let seen = shared.landed.load(Ordering::Acquire);
        let mut flight = Arc::clone(&shared.flight).lock_owned().await;
        if let Some(token) = shared.current().clone().filter(|token| token.is_valid()) {
            return Ok(token);
        }
        // Who waited for a request that failed shares its failure instead of repeating it.
        let landed = shared.landed.load(Ordering::Acquire) != seen;
        if let Some(failure) = flight.failure.clone().filter(|_| landed) {
            return Err(failure);
        }
        shared.ask(&mut flight).await
    }

    fn renew_behind(&self) {
        let Ok(mut flight) = Arc::clone(&self.shared.flight).try_lock_owned() else {
            return;
        };
        if flight.renew_after.is_some_and(|after| Instant::now() < after) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            if let Err(error) = shared.ask(&mut flight).await {
                warn!(%error, "the token is not renewed yet");
                flight.renew_after = Some(Instant::now() + RENEWAL_PAUSE);
            }
        });
    }
}

impl Shared {
    fn current(&self) -> MutexGuard<'_, Option<Arc<Token>>> {
        self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn ask(&self, flight: &mut OwnedMutexGuard<Landing>) -> Result<Arc<Token>, Error> {
        let result = self.login.token().await.map(Arc::new);
        flight.failure = result.as_ref().err().cloned();
        if let Ok(token) = &result {
            *self.current() = Some(Arc::clone(token));
            flight.renew_after = None;
        }
        self.landed.fetch_add(1, Ordering::Release);
        result
    }
}
