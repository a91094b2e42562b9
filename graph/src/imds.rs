//! Managed identity: the token service inside an Azure machine (FACTS 1.5).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer};
use url::Url;
use uuid::Uuid;

use crate::classify::Refusal;
use crate::config::Config;
use crate::counters::Tally;
use crate::engine::log;
use crate::error::{Error, ErrorKind};
use crate::exchange::SIGN_IN;
use crate::redact;
use crate::retry::date;
use crate::token::Token;
use crate::transport::Fault;

const ENDPOINT: &str = "http://169.254.169.254";

/// Waits between the tries, in units of the back-off.
const WAITS: [u32; 4] = [2, 6, 14, 30];

/// Waits while the service is upgraded (410): 70 s in all.
const UPGRADE_WAITS: [u32; 7] = [10; 7];

#[derive(Debug)]
pub(crate) struct Imds {
    http: reqwest::Client,
    url: Url,
    client_id: Option<String>,
    backoff: Duration,
    /// How long all tries together may take.
    patience: Duration,
    tally: Arc<Tally>,
}

/// Numbers arrive as texts.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(deserialize_with = "number")]
    expires_in: u64,
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(u64),
        Text(String),
    }
    match Number::deserialize(deserializer)? {
        Number::Number(number) => Ok(number),
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

impl Imds {
    pub(crate) fn new(
        config: &Config,
        http: reqwest::Client,
        client_id: Option<String>,
        endpoint: Option<Url>,
        tally: Arc<Tally>,
    ) -> Result<Imds, Error> {
        let bad = |error| Error::new(ErrorKind::Configuration, SIGN_IN).because(error);
        let endpoint = endpoint.map_or_else(|| Url::parse(ENDPOINT), Ok).map_err(bad)?;
        let mut url = endpoint.join("/metadata/identity/oauth2/token").map_err(bad)?;
        url.query_pairs_mut()
            .append_pair("api-version", "2018-02-01")
            .append_pair("resource", config.cloud.graph_root())
            .extend_pairs(client_id.iter().map(|id| ("client_id", id)));
        Ok(Imds {
            http,
            url,
            client_id,
            backoff: config.backoff,
            patience: config.sign_in_patience,
            tally,
        })
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    pub(crate) async fn token(&self) -> Result<Token, Error> {
        let (mut waits, mut upgrade_waits) = (WAITS.iter(), UPGRADE_WAITS.iter());
        let mut retries = 0;
        let since = Instant::now();
        loop {
            let (error, upgrading) = match self.ask().await {
                Ok(token) => return Ok(token),
                Err(error) => {
                    let upgrading = error.status() == Some(410);
                    (error, upgrading)
                }
            };
            let waits = if upgrading { &mut upgrade_waits } else { &mut waits };
            let wait =
                waits.next().filter(|_| is_transient(&error)).map(|wait| self.backoff * *wait);
            let wait = wait.filter(|wait| since.elapsed() + *wait <= self.patience);
            let Some(wait) = wait else {
                return Err(error.with_retries(retries));
            };
            retries += 1;
            self.tally.retry();
            self.tally.wait(wait).await;
        }
    }

    async fn ask(&self) -> Result<Token, Error> {
        let (id, asked) = (Uuid::new_v4(), Instant::now());
        let failure = |kind| {
            let error = Error::new(kind, SIGN_IN).at(redact::graph_url(&self.url));
            error.with_ids(None, Some(id.to_string()))
        };
        self.tally.request("login");
        let request = self.http.get(self.url.clone()).header("Metadata", "true");
        let response = request.send().await.map_err(|error| {
            let hint = "a managed identity exists only on a machine in Azure";
            failure(Fault::of(&error).kind()).because(error.without_url()).with_hint(Some(hint))
        })?;
        let server_date = date(response.headers());
        if !response.status().is_success() {
            let refusal = Refusal::read(response).await;
            log(&refusal, &redact::graph_url(&self.url), id);
            return Err(crate::engine::explain(
                failure(ErrorKind::Server),
                kind(&refusal),
                &refusal,
            ));
        }
        let body = response
            .bytes()
            .await
            .map_err(|error| failure(ErrorKind::Interrupted).because(error.without_url()))?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| failure(ErrorKind::Protocol).with_message("the answer is unreadable"))?;
        let life = Duration::from_secs(answer.expires_in);
        Token::new(&answer.access_token, life, asked, server_date)
    }
}

fn kind(refusal: &Refusal) -> ErrorKind {
    match refusal.status.as_u16() {
        429 => ErrorKind::Throttled,
        404 | 410 | 500.. => ErrorKind::Server,
        _ => ErrorKind::Credentials,
    }
}

fn is_transient(error: &Error) -> bool {
    error.is_retryable()
}
