//! Whom we trust.

mod mock;

use std::sync::Arc;

use graph::{ErrorKind, Graph, Prefer, Scope};
use mock::Mock;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

/// A server that answers each request with an empty object, and its certificate.
async fn https() -> (u16, String) {
    let names = vec!["localhost".to_owned()];
    https_with(rcgen::CertificateParams::new(names).unwrap()).await
}

async fn https_with(params: rcgen::CertificateParams) -> (u16, String) {
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, cert.pem())
}

#[tokio::test]
async fn a_server_is_trusted_only_with_its_certificate() {
    let (port, pem) = https().await;
    let mock = Mock::start(|_| None).await;
    for (trusted, kind) in [(false, Some(ErrorKind::Tls)), (true, None)] {
        let mut config = mock.config();
        config.graph_url = Some(format!("https://localhost:{port}").parse().unwrap());
        config.ca_certificates_pem = trusted.then(|| pem.clone().into_bytes());
        let graph = Graph::new(config, mock::secret()).unwrap();
        let answer = graph.get(&Scope::Other, "/x", Prefer::none()).await;
        assert_eq!(answer.as_ref().err().map(|error| error.kind().clone()), kind, "{answer:?}");
        if let Err(error) = answer {
            assert!(!error.is_retryable() && error.retries() == 0);
            assert!(error.hint().unwrap().contains("CA"));
        }
    }
    // Plain HTTP where TLS is expected is no matter of trust, nor of waiting.
    let mut config = mock.config();
    config.graph_url =
        Some(format!("https://localhost:{}", mock.url.port().unwrap()).parse().unwrap());
    config.patience = std::time::Duration::from_millis(20);
    let graph = Graph::new(config, mock::secret()).unwrap();
    let error = graph.get(&Scope::Other, "/x", Prefer::none()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unreachable);
}

/// What `openssl req -x509` makes says of itself that it is a CA.
#[tokio::test]
async fn a_self_signed_ca_is_trusted_as_the_server_it_names_and_no_other() {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let (port, pem) = https_with(params.clone()).await;
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let (expired_port, expired_pem) = https_with(params.clone()).await;
    let (_, other_pem) = https().await;
    let mock = Mock::start(|_| None).await;
    for (host, port, pem, trusted) in [
        ("localhost", port, &pem, true),
        ("127.0.0.1", port, &pem, false),
        ("localhost", port, &other_pem, false),
        ("localhost", expired_port, &expired_pem, false),
    ] {
        let mut config = mock.config();
        config.graph_url = Some(format!("https://{host}:{port}").parse().unwrap());
        config.ca_certificates_pem = Some(pem.clone().into_bytes());
        let graph = Graph::new(config, mock::secret()).unwrap();
        let answer = graph.get(&Scope::Other, "/x", Prefer::none()).await;
        assert_eq!(answer.is_ok(), trusted, "{host}:{port}: {answer:?}");
        if let Err(error) = answer {
            assert_eq!(*error.kind(), ErrorKind::Tls);
        }
    }
}
