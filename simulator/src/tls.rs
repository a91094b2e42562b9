//! The simulator behind TLS, with a certificate authority that lives as long as the process.
//!
//! A client that trusts [`Authority::ca_pem`] reaches it under the names of the real service, which
//! only [`connect`](crate::connect) can bring to it, or as `localhost`.

use std::io;
use std::sync::Arc;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

/// The names that a certificate always covers.
const NAMES: [&str; 5] = [
    "localhost",
    "127.0.0.1",
    "graph.microsoft.com",
    "login.microsoftonline.com",
    "*.sharepoint.com",
];

/// A certificate authority made at start, and the server certificate that it has issued.
#[derive(Clone, Debug)]
pub struct Authority {
    names: Vec<String>,
    ca_pem: String,
    config: Arc<ServerConfig>,
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A name that can't stand in a certificate, or no randomness.
    #[error("make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The certificate does not do for a server.
    #[error("use the certificate")]
    Server(#[from] rustls::Error),
}

/// Stands in the extensions of every request that came through TLS, so that links in answers can
/// begin with `https`. The host is in the `Host` header as always.
#[derive(Clone, Copy, Debug)]
pub struct OverTls;

impl Authority {
    /// Makes the keys and the certificates, for the names of the real service, for `localhost` and
    /// for `extra_names`: host names, `*.` patterns or addresses.
    ///
    /// # Errors
    /// If a name can't stand in a certificate.
    pub fn new<N: Into<String>>(
        extra_names: impl IntoIterator<Item = N>,
    ) -> Result<Self, AuthorityError> {
        let names = NAMES.into_iter().map(String::from);
        let names: Vec<_> = names.chain(extra_names.into_iter().map(Into::into)).collect();

        let mut ca = validity(CertificateParams::default());
        ca.distinguished_name
            .push(DnType::CommonName, "Simulated Microsoft 365, trust for tests only");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate()?;
        let ca_pem = ca.self_signed(&ca_key)?.pem();

        let mut leaf = validity(CertificateParams::new(names.clone())?);
        leaf.distinguished_name.push(DnType::CommonName, "Simulated Microsoft 365");
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?;

        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { names, ca_pem, config: Arc::new(config) })
    }

    /// The authority's certificate, for `SSL_CERT_FILE` and the like.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What a TLS server needs.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Whether the certificate is good for `host`.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => parent.is_some_and(|parent| parent.eq_ignore_ascii_case(domain)),
            None => name.eq_ignore_ascii_case(host),
        })
    }
}

/// Wide enough for any machine's clock, and short of 2050, where the encoding of dates changes.
fn validity(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params
}

/// Serves `router` over TLS until the listener fails or the future is dropped, which ends all
/// connections.
///
/// # Errors
/// If the listener fails.
pub async fn serve_tls(
    listener: TcpListener,
    router: Router,
    authority: &Authority,
) -> io::Result<()> {
    let config = authority.server_config();
    accept(listener, |stream| {
        let (router, config) = (router.clone(), Arc::clone(&config));
        converse(stream, router, config)
    })
    .await
}

/// Runs one task for each connection to `listener`.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    mut serve: impl FnMut(tokio::net::TcpStream) -> F,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _peer) = accepted?;
                connections.spawn(serve(stream));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

/// The server's side of a TLS connection: the handshake, then requests for `router`.
pub(crate) async fn converse<S>(stream: S, router: Router, config: Arc<ServerConfig>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return debug!(%error, "TLS handshake failed"),
    };
    let service = TowerToHyperService::new(router.layer(Extension(OverTls)));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_covered() {
        let authority = Authority::new(["graph.example", "10.0.0.1"]).unwrap();
        for host in
            ["Graph.Microsoft.com", "contoso-my.sharepoint.com", "graph.example", "10.0.0.1"]
        {
            assert!(authority.covers(host), "{host}");
        }
        for host in ["example.com", "sharepoint.com", "a.b.sharepoint.com", ""] {
            assert!(!authority.covers(host), "{host}");
        }
        assert!(authority.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_is_served() {
        let authority = Authority::new([""; 0]).unwrap();
        let router = Router::new().route(
            "/",
            axum::routing::get(|Extension(OverTls): Extension<OverTls>| async { "tls" }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let ca = reqwest::Certificate::from_pem(authority.ca_pem().as_bytes()).unwrap();
        tokio::spawn(async move { serve_tls(listener, router, &authority).await });

        let client = reqwest::Client::builder().no_proxy().add_root_certificate(ca);
        let answer = client.build().unwrap().get(&url).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "tls");
        let stranger = reqwest::Client::builder().no_proxy().build().unwrap();
        assert!(stranger.get(&url).send().await.is_err());
    }
}
