//! HTTP: who may be trusted, and what a failed exchange means.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

use crate::config::Config;
use crate::error::{Error, ErrorKind};

/// Redirects that a download host may send us through.
const DOWNLOAD_REDIRECTS: usize = 5;

/// Longer than any request.
const NEVER: Duration = Duration::from_secs(86_400);

/// The HTTP clients. Those that carry tokens follow no redirects. HTTP/1.1 only: with HTTP/2 all
/// answers of a host share one connection and its window, so that those who wait for room in memory
/// or on the disk with their answers open would keep the bytes from those who have it.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    /// Graph and the login host.
    pub(crate) service: Client,
    /// The same without kept connections, for retries (FACTS 2.1).
    pub(crate) reconnecting: Client,
    /// Pre-authenticated addresses: identity encoding, so that lengths and ranges are true.
    pub(crate) download: Client,
    /// Pre-authenticated addresses that are written to. Time without a byte read does not count
    /// there, as long as bytes go out: each request has a time of its own.
    pub(crate) upload: Client,
    /// Time without a byte after which a connection counts as torn.
    pub(crate) silence: Duration,
    /// The metadata service of this machine, which no proxy can reach (FACTS 1.5).
    pub(crate) local: Client,
}

impl Transport {
    pub(crate) fn new(config: &Config) -> Result<Transport, Error> {
        let tls = match &config.ca_certificates_pem {
            None => None,
            Some(pem) => {
                let mut tls = crate::trust::client_tls(Some(pem))?;
                tls.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some(tls)
            }
        };
        let make = |change: &dyn Fn(ClientBuilder) -> ClientBuilder| {
            let builder = match &tls {
                None => Client::builder().use_rustls_tls(),
                Some(tls) => Client::builder().use_preconfigured_tls(tls.clone()),
            };
            let builder = builder
                .http1_only()
                .user_agent(&config.user_agent)
                .connect_timeout(config.connect_timeout)
                .read_timeout(config.read_timeout)
                .redirect(Policy::none());
            change(builder).build().map_err(|error| {
                Error::new(ErrorKind::Configuration, "set up HTTP").because(error.without_url())
            })
        };
        let policy = || Policy::custom(follow_download);
        Ok(Transport {
            service: make(&|builder| builder.pool_max_idle_per_host(32))?,
            reconnecting: make(&|builder| builder.pool_max_idle_per_host(0))?,
            download: make(&|builder| builder.no_gzip().redirect(policy()).referer(false))?,
            upload: make(&|builder| builder.no_gzip().referer(false).read_timeout(NEVER))?,
            silence: config.read_timeout,
            local: make(&|builder| builder.no_proxy())?,
        })
    }
}

/// A pre-authenticated address is as good as a password: never from HTTPS to HTTP.
fn follow_download(attempt: reqwest::redirect::Attempt<'_>) -> reqwest::redirect::Action {
    let secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > DOWNLOAD_REDIRECTS
        || (secure && attempt.url().scheme() != "https")
    {
        attempt.stop()
    } else {
        attempt.follow()
    }
}

/// Why an exchange failed without an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The server or proxy can't be trusted: no retry helps.
    Tls,
    /// No connection.
    Unreachable,
    /// A connection that broke or went silent.
    Torn,
}

impl Fault {
    pub(crate) fn of(error: &reqwest::Error) -> Fault {
        if !error.is_connect() {
            Fault::Torn
        } else if is_untrusted(error) {
            Fault::Tls
        } else {
            Fault::Unreachable
        }
    }

    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Fault::Tls => ErrorKind::Tls,
            Fault::Unreachable => ErrorKind::Unreachable,
            Fault::Torn => ErrorKind::Interrupted,
        }
    }
}

fn is_untrusted(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            use rustls::Error::{AlertReceived, InvalidCertificate, PeerIncompatible};
            return matches!(tls, AlertReceived(_) | InvalidCertificate(_) | PeerIncompatible(_));
        }
        // An `io::Error` hides the error it wraps and shows that one's source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}
