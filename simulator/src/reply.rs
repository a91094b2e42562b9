//! A reply before it is bytes on a wire, so that batches can carry it and faults can maim it.

use std::io;
use std::ops::Range;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use crate::blob::Blob;
use crate::call::Call;
use crate::error::Refusal;
use crate::mail::LONE_SURROGATE;
use crate::throttle::Slot;

pub(crate) const JSON: &str = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Payload,
    /// Whether `Content-Length` is sent; otherwise the body is chunked.
    pub(crate) sized: bool,
    /// The body breaks off in its middle, whatever was announced.
    pub(crate) halved: bool,
    /// Nothing is sent at all.
    pub(crate) reset: bool,
}

#[derive(Debug)]
pub(crate) enum Payload {
    Empty,
    Json(Value),
    Bytes(Bytes),
    Blob(Blob, Range<u64>),
}

impl Reply {
    fn new(status: u16, body: Payload) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).expect("statuses are written as constants"),
            headers: Vec::new(),
            body,
            sized: true,
            halved: false,
            reset: false,
        }
    }

    pub(crate) fn json(body: Value) -> Reply {
        Reply::new(200, Payload::Json(body)).with("content-type", JSON).with("odata-version", "4.0")
    }

    pub(crate) fn json_status(status: u16, body: Value) -> Reply {
        Reply::new(status, Payload::Json(body))
            .with("content-type", "application/json; charset=utf-8")
    }

    pub(crate) fn bytes(content_type: &str, bytes: Bytes) -> Reply {
        Reply::new(200, Payload::Bytes(bytes)).with("content-type", content_type)
    }

    pub(crate) fn blob(status: u16, blob: Blob, range: Range<u64>) -> Reply {
        Reply::new(status, Payload::Blob(blob, range))
    }

    pub(crate) fn empty(status: u16) -> Reply {
        Reply::new(status, Payload::Empty)
    }

    pub(crate) fn redirect(location: &str) -> Reply {
        Reply::empty(302).with("location", location)
    }

    pub(crate) fn html(status: u16, page: &str) -> Reply {
        let page = Bytes::copy_from_slice(page.as_bytes());
        Reply::new(status, Payload::Bytes(page)).with("content-type", "text/html; charset=us-ascii")
    }

    /// The connection closes without a word.
    pub(crate) fn none() -> Reply {
        Reply { reset: true, ..Reply::empty(500) }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Reply {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// The reply that a refusal is.
    pub(crate) fn refused(refusal: &Refusal, call: &Call) -> Reply {
        let date = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S").to_string();
        let client = call.header("client-request-id").unwrap_or(&call.request_id);
        let body = refusal.body(&date, &call.request_id, client);
        let mut reply = Reply::new(refusal.status.as_u16(), Payload::Json(body));
        reply = reply.with("content-type", "application/json");
        for (name, value) in &refusal.headers {
            reply = reply.with(name, value);
        }
        reply
    }

    /// Bytes of the body, once it is bytes.
    pub(crate) fn len(&self) -> u64 {
        match &self.body {
            Payload::Empty | Payload::Json(_) => 0,
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Blob(_, range) => range.end - range.start,
        }
    }

    /// JSON becomes bytes, and compressed where the client likes it. So does other content unless
    /// it is large: there the service's own time counts.
    fn settle(&mut self, gzip: bool) {
        let (bytes, most) = match &self.body {
            Payload::Json(value) => (json_bytes(value), usize::MAX),
            Payload::Bytes(bytes) => (bytes.clone(), 64 << 10),
            _ => return,
        };
        let compress = gzip && bytes.len() > 1024 && bytes.len() <= most;
        if compress {
            self.headers.push((header::CONTENT_ENCODING, HeaderValue::from_static("gzip")));
            self.headers.push((header::VARY, HeaderValue::from_static("Accept-Encoding")));
            self.sized = false;
        }
        self.body = Payload::Bytes(if compress { compressed(&bytes) } else { bytes });
    }

    /// The response; `slot` is given back when the last byte has been handed over.
    pub(crate) fn into_response(mut self, gzip: bool, slot: Option<Slot>) -> Response<Body> {
        self.settle(gzip);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        for (name, value) in self.headers.drain(..) {
            response.headers_mut().append(name, value);
        }
        let length = self.len();
        let bodiless =
            self.status == StatusCode::NO_CONTENT || self.status == StatusCode::NOT_MODIFIED;
        if self.sized && !bodiless && !self.reset {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        }
        let end = if self.reset || self.halved { length / 2 } else { length };
        let broken = self.reset || end < length;
        *response.body_mut() = flow(self.body, end, broken, slot);
        response
    }
}

/// The body up to `end`; a broken one then fails, which closes the connection.
fn flow(body: Payload, end: u64, broken: bool, slot: Option<Slot>) -> Body {
    let mut source = match body {
        Payload::Empty | Payload::Json(_) if !broken => return Body::empty(),
        Payload::Bytes(bytes) if !broken => {
            // Nothing waits for the client here: the slot is free when the bytes are taken.
            let once = stream::once(async move {
                drop(slot);
                Ok::<_, io::Error>(bytes)
            });
            return Body::from_stream(once);
        }
        Payload::Bytes(bytes) => (Blob::Stored(bytes), 0),
        Payload::Blob(blob, range) => (blob, range.start),
        Payload::Empty | Payload::Json(_) => (Blob::Stored(Bytes::new()), 0),
    };
    let stop = source.1 + end;
    let mut reader = source.0.reader();
    let mut failed = false;
    let mut slot = slot;
    Body::from_stream(stream::iter(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        if source.1 >= stop {
            failed = true;
            slot.take();
            return broken.then(|| Err(io::Error::other("cut short on purpose")));
        }
        let chunk = reader.read(source.1, stop);
        if let Ok(chunk) = &chunk {
            source.1 += chunk.len() as u64;
            if source.1 >= stop {
                slot.take();
            }
        } else {
            failed = true;
        }
        Some(chunk)
    })))
}

/// Compact JSON, with the escapes that Rust's strings cannot hold.
pub(crate) fn json_bytes(value: &Value) -> Bytes {
    let mut json = serde_json::to_vec(value).expect("values serialise");
    let mut mark = [0; 4];
    let mark = LONE_SURROGATE.encode_utf8(&mut mark).as_bytes();
    while let Some(at) = json.windows(4).position(|w| w == mark) {
        json.splice(at..at + 4, *b"\\ud83d");
    }
    json.into()
}

fn compressed(bytes: &Bytes) -> Bytes {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte").into()
}
