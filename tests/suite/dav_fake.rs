//! A small CalDAV and CardDAV server that does what a test tells it, and remembers what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use sha2::{Digest as _, Sha256};

use crate::harness::runtime;

/// More than any test sends.
const MOST: usize = 1 << 30;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What a test says to a request: its own answer, or the usual one.
pub type Say = dyn Fn(&Asked, &Fake) -> Option<Response> + Send + Sync;

/// The server.
pub struct Fake {
    pub port: u16,
    /// In the `DAV` header.
    pub dav: &'static str,
    pub asked: Mutex<Vec<Asked>>,
    /// Text by path.
    pub objects: Mutex<BTreeMap<String, String>>,
    pub collections: Mutex<Vec<String>>,
    /// More properties of each collection.
    pub properties: &'static str,
}

impl Fake {
    pub fn start(
        dav: &'static str,
        properties: &'static str,
        say: impl Fn(&Asked, &Self) -> Option<Response> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake = Arc::new(Self {
            port,
            dav,
            asked: Mutex::default(),
            objects: Mutex::default(),
            collections: Mutex::default(),
            properties,
        });
        let (server, say): (_, Arc<Say>) = (Arc::clone(&fake), Arc::new(say));
        let router = Router::new().fallback(move |request: Request| {
            let (server, say) = (Arc::clone(&server), Arc::clone(&say));
            async move {
                let asked = read(request).await;
                server.asked.lock().unwrap().push(asked.clone());
                say(&asked, &server).unwrap_or_else(|| server.usual(&asked))
            }
        });
        runtime().spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub fn address(&self) -> String {
        format!("caldav+http://ann@localhost:{}", self.port)
    }

    /// Requests of a method.
    pub fn all(&self, method: &str) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.method == method).cloned().collect()
    }

    pub fn usual(&self, asked: &Asked) -> Response {
        let mut objects = self.objects.lock().unwrap();
        let found = objects.get(&asked.path).cloned();
        let is_same = |text: &String| etag(text) == asked.header("if-match");
        match asked.method.as_str() {
            "OPTIONS" => answer(200, &[("dav", self.dav)], ""),
            "PROPFIND" => self.propfind(asked, objects.keys()),
            "MKCALENDAR" | "MKCOL" => {
                self.collections.lock().unwrap().push(asked.path.clone());
                answer(201, &[], "")
            }
            "PUT" if found.is_some() && asked.header("if-none-match") == "*" => {
                answer(412, &[], "")
            }
            "PUT" => {
                objects.insert(asked.path.clone(), asked.body.clone());
                answer(201, &[("etag", &etag(&asked.body))], "")
            }
            "GET" => match found {
                Some(text) => answer(200, &[("etag", &etag(&text))], &text),
                None => answer(404, &[], ""),
            },
            "DELETE" if asked.path.ends_with('/') => {
                self.collections.lock().unwrap().retain(|path| *path != asked.path);
                answer(204, &[], "")
            }
            "DELETE" if !found.as_ref().is_none_or(is_same) => answer(412, &[], ""),
            "DELETE" => {
                objects.remove(&asked.path);
                answer(if found.is_some() { 204 } else { 404 }, &[], "")
            }
            _ => answer(405, &[], ""),
        }
    }

    fn propfind<'a>(&self, asked: &Asked, objects: impl Iterator<Item = &'a String>) -> Response {
        let collections = self.collections.lock().unwrap();
        let own = collections.contains(&asked.path);
        let properties = self.properties;
        let collection = |path: &str| {
            response(
                path,
                &format!(
                    "<D:resourcetype><D:collection/><C:calendar/><A:addressbook/></D:resourcetype>\
                 <D:displayname>x</D:displayname>{properties}"
                ),
            )
        };
        let mut all = match asked.path.as_str() {
            "/.well-known/caldav" | "/.well-known/carddav" => return answer(404, &[], ""),
            "/" => response(
                "/",
                "<C:calendar-home-set><D:href>/home/</D:href></C:calendar-home-set>\
                 <A:addressbook-home-set><D:href>/home/</D:href></A:addressbook-home-set>",
            ),
            "/home/" => response("/home/", "<D:resourcetype><D:collection/></D:resourcetype>"),
            path if own => collection(path),
            _ => return answer(404, &[], ""),
        };
        if asked.header("depth") == "1" && asked.path == "/home/" {
            all.extend(collections.iter().map(|path| collection(path)));
        } else if asked.header("depth") == "1" {
            all.extend(
                objects.filter(|path| path.starts_with(&asked.path)).map(|p| response(p, "")),
            );
        }
        multistatus(&all)
    }
}

async fn read(request: Request) -> Asked {
    let headers = request.headers().iter().map(|(name, value)| {
        (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())
    });
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let headers = headers.collect();
    let body = to_bytes(request.into_body(), MOST).await.unwrap_or_default();
    Asked { method, path, headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

fn etag(text: &str) -> String {
    let digest = Sha256::digest(text);
    format!("\"{:02x}{:02x}{:02x}{:02x}\"", digest[0], digest[1], digest[2], digest[3])
}

pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body.to_owned())).unwrap()
}

fn response(path: &str, properties: &str) -> String {
    format!(
        "<D:response><D:href>{path}</D:href><D:propstat><D:prop>{properties}</D:prop>\
         <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    )
}

fn multistatus(responses: &str) -> Response {
    let body = format!(
        "<D:multistatus xmlns:D='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav' \
         xmlns:A='urn:ietf:params:xml:ns:carddav'>{responses}</D:multistatus>"
    );
    answer(207, &[], &body)
}

/// A refusal with a condition (RFC 4918, 16).
pub fn refusal(status: u16, condition: &str) -> Response {
    let body = format!(
        "<D:error xmlns:D='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'>{condition}</D:error>"
    );
    answer(status, &[], &body)
}

/// The connection ends, and no answer was heard.
pub fn hang_up() -> Response {
    std::panic::resume_unwind(Box::new("the test hangs up"))
}
