//! An HTTP proxy whose other end is the simulator.
//!
//! Programs that can't be told another address than `https://graph.microsoft.com` still honour
//! `HTTPS_PROXY`. Through it they ask for `CONNECT graph.microsoft.com:443`; the proxy agrees,
//! terminates TLS itself and serves what that host would. Nothing ever leaves the machine: a host
//! that the certificate does not cover is refused.

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use crate::tls::{Authority, accept, converse};

/// Serves as a proxy until the listener fails or the future is dropped. `router_for` answers for a
/// host, named as the client asked for it in lower case; requests carry it as their `Host` too.
///
/// # Errors
/// If the listener fails.
pub async fn serve_connect<F>(
    listener: TcpListener,
    router_for: F,
    authority: &Authority,
) -> io::Result<()>
where
    F: Fn(&str) -> Router + Send + Sync + 'static,
{
    let router_for = Arc::new(router_for);
    accept(listener, |stream| tunnel(stream, Arc::clone(&router_for), authority.clone())).await
}

/// One client: its `CONNECT`, then TLS and requests on the same connection.
async fn tunnel<F>(stream: TcpStream, router_for: Arc<F>, authority: Authority)
where
    F: Fn(&str) -> Router + Send + Sync + 'static,
{
    let agreed: Mutex<Option<(OnUpgrade, String)>> = Mutex::new(None);
    let service = service_fn(|mut request: Request<Incoming>| {
        let answer = match destination(&request, &authority) {
            Ok(host) => {
                let upgrade = hyper::upgrade::on(&mut request);
                *agreed.lock().expect("no panic while held") = Some((upgrade, host));
                StatusCode::OK.into_response()
            }
            Err(refusal) => refusal.into_response(),
        };
        std::future::ready(Ok::<Response<Body>, std::convert::Infallible>(answer))
    });
    let proxy = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = proxy.with_upgrades().await {
        return debug!(%error, "proxy connection broke");
    }
    let Some((upgrade, host)) = agreed.into_inner().expect("no panic while held") else {
        return;
    };
    match upgrade.await {
        Ok(stream) => {
            converse(TokioIo::new(stream), router_for(&host), authority.server_config()).await;
        }
        Err(error) => debug!(%error, "no tunnel"),
    }
}

/// The host that a request wants to be connected with, or the answer that refuses it.
fn destination(
    request: &Request<Incoming>,
    authority: &Authority,
) -> Result<String, (StatusCode, String)> {
    if request.method() != Method::CONNECT {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "only CONNECT is served here\n".into()));
    }
    let Some(to) = request.uri().authority() else {
        return Err((StatusCode::BAD_REQUEST, "CONNECT needs host:port\n".into()));
    };
    let (host, port) = (to.host().to_ascii_lowercase(), to.port_u16().unwrap_or(443));
    if port != 443 || !authority.covers(&host) {
        return Err((StatusCode::FORBIDDEN, format!("{host}:{port} is not simulated\n")));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::State;
    use axum::routing::get;
    use http::HeaderMap;

    async fn proxy() -> reqwest::Client {
        let authority = Authority::new([""; 0]).unwrap();
        let ca = reqwest::Certificate::from_pem(authority.ca_pem().as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router_for = |host: &str| {
            let answer = |State(asked): State<String>, headers: HeaderMap| async move {
                format!("{asked} {}", headers["host"].to_str().unwrap())
            };
            Router::new().route("/v1.0/me", get(answer)).with_state(host.to_owned())
        };
        tokio::spawn(async move { serve_connect(listener, router_for, &authority).await });
        let client = reqwest::Client::builder().add_root_certificate(ca);
        client.proxy(reqwest::Proxy::all(address).unwrap()).build().unwrap()
    }

    #[tokio::test]
    async fn names_of_the_service_lead_to_the_simulator() {
        let client = proxy().await;
        for host in ["graph.microsoft.com", "contoso-my.sharepoint.com", "localhost"] {
            for _ in 0..2 {
                let answer = client.get(format!("https://{host}/v1.0/me")).send().await.unwrap();
                assert_eq!(answer.text().await.unwrap(), format!("{host} {host}"));
            }
        }
    }

    #[tokio::test]
    async fn nothing_else_is_reached() {
        let client = proxy().await;
        assert!(client.get("https://example.com/").send().await.is_err());
        assert!(client.get("https://graph.microsoft.com:444/").send().await.is_err());
        let plain = client.get("http://graph.microsoft.com/").send().await.unwrap();
        assert_eq!(plain.status(), 405);
    }
}
