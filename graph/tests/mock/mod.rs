//! A service that answers as a test wants, and remembers what it was asked.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(unreachable_pub, reason = "a module of each test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use graph::{Config, Credential, Graph};
use url::Url;

pub const SECRET: &str = "s3cr3t~value";

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    pub headers: HeaderMap,
    pub body: String,
    pub at: Instant,
}

impl Seen {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A field of a form.
    pub fn form(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(self.body.as_bytes());
        fields.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

pub struct Mock {
    pub url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub busy: Arc<AtomicUsize>,
    pub busiest: Arc<AtomicUsize>,
}

type Answer = Response<Body>;

impl Mock {
    /// `answer` may leave requests for tokens unanswered: then there is one.
    pub async fn start(answer: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) -> Mock {
        Mock::start_with(move |seen, _| answer(seen)).await
    }

    /// `answer` gets the address of the service as well.
    pub async fn start_with(
        answer: impl Fn(&Seen, &str) -> Option<Answer> + Send + Sync + 'static,
    ) -> Mock {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mock = Mock {
            url: Url::parse(&base).unwrap(),
            seen: Arc::default(),
            busy: Arc::default(),
            busiest: Arc::default(),
        };
        let state = (Arc::new(answer), Arc::clone(&mock.seen), Arc::clone(&mock.busy));
        let busiest = Arc::clone(&mock.busiest);
        let router = axum::Router::new().fallback(move |request: Request<Body>| {
            let ((answer, seen, busy), base) = (state.clone(), base.clone());
            let busiest = Arc::clone(&busiest);
            async move {
                let request = read(request).await;
                seen.lock().unwrap().push(request.clone());
                busiest.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let answer = answer(&request, &base).unwrap_or_else(|| by_default(&request));
                if let Some(delay) = answer.headers().get("x-delay-ms") {
                    let delay = delay.to_str().unwrap().parse().unwrap();
                    tokio::time::sleep(Duration::from_millis(delay)).await;
                }
                busy.fetch_sub(1, Ordering::SeqCst);
                answer
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        mock
    }

    pub fn config(&self) -> Config {
        let mut config = Config::new("contoso.example");
        config.graph_url = Some(self.url.clone());
        config.login_url = Some(self.url.clone());
        config.backoff = Duration::from_millis(2);
        config.patience = Duration::from_secs(20);
        config.sign_in_patience = Duration::from_secs(20);
        config
    }

    pub fn graph(&self) -> Graph {
        Graph::new(self.config(), secret()).unwrap()
    }

    /// What was asked besides tokens.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| !is_token(seen)).cloned().collect()
    }

    pub fn tokens(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| is_token(seen)).cloned().collect()
    }

    pub fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.target).collect()
    }
}

pub fn secret() -> Credential {
    Credential::Secret { client_id: "app-1".into(), secret: SECRET.into() }
}

async fn read(request: Request<Body>) -> Seen {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Seen {
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().unwrap().to_string(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        at,
    }
}

fn is_token(seen: &Seen) -> bool {
    seen.path().contains("/oauth2/")
}

fn by_default(seen: &Seen) -> Answer {
    if is_token(seen) { token("opaque-token", 3599) } else { status(404, "") }
}

pub fn json(text: impl Into<String>) -> Answer {
    let text: String = text.into();
    Response::builder().header("content-type", "application/json").body(Body::from(text)).unwrap()
}

pub fn token(access: &str, life: u64) -> Answer {
    json(format!(r#"{{"token_type":"Bearer","expires_in":{life},"access_token":"{access}"}}"#))
}

pub fn status(status: u16, body: &str) -> Answer {
    let mut answer = json(body);
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

pub fn refusal(code: u16, error: &str) -> Answer {
    status(code, &format!(r#"{{"error":{{"code":"{error}","message":"words"}}}}"#))
}

pub fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

pub fn bytes(content: &[u8]) -> Answer {
    Response::new(Body::from(content.to_vec()))
}

/// A body that breaks after `content`, of a length that promises more.
pub fn torn(content: &[u8], length: usize) -> Answer {
    let chunk = Bytes::copy_from_slice(content);
    let parts = futures::stream::iter([Ok(chunk)]);
    let broken = futures::stream::once(async {
        // Lets the first part reach the client.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(std::io::Error::other("cut"))
    });
    let body = Body::from_stream(futures::StreamExt::chain(parts, broken));
    Response::builder().header("content-length", length).body(body).unwrap()
}

/// Breaks the connection before there is any answer.
pub fn reset() -> Answer {
    std::panic::resume_unwind(Box::new("reset"))
}

/// How often something was done.
#[derive(Clone, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    /// 1 the first time.
    pub fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
