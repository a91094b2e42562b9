//! Errors of the simulator itself, and the errors it plays.

use http::StatusCode;
use serde_json::{Value, json};

/// Why the simulator could not start or could not do what a test asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener or a file of the content folder.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate, a fault or another setting that makes no sense.
    #[error("{0}")]
    Setting(String),
    /// A user, message, folder or file that a test named does not exist.
    #[error("no such {what}: {name}")]
    Unknown {
        /// The kind of thing.
        what: &'static str,
        /// What it was called.
        name: String,
    },
}

impl Error {
    pub(crate) fn unknown(what: &'static str, name: impl Into<String>) -> Error {
        Error::Unknown { what, name: name.into() }
    }
}

/// A Graph error reply: status, code, message and what some carry besides.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) message: String,
    /// A more exact code, nested in `innerError` as OneDrive does.
    pub(crate) inner: Option<&'static str>,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Refusal {
        Refusal {
            status: StatusCode::from_u16(status).expect("statuses are written as constants"),
            code: code.into(),
            message: message.into(),
            inner: None,
            headers: Vec::new(),
        }
    }

    pub(crate) fn with_inner(mut self, code: &'static str) -> Refusal {
        self.inner = Some(code);
        self
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Refusal {
        self.headers.push((name, value.into()));
        self
    }

    /// The documented body: `innerError` carries date and request ids, and may nest a better code.
    pub(crate) fn body(&self, date: &str, request_id: &str, client_request_id: &str) -> Value {
        let mut inner = json!({
            "date": date,
            "request-id": request_id,
            "client-request-id": client_request_id,
        });
        if let Some(code) = self.inner {
            inner["code"] = code.into();
        }
        json!({"error": {"code": self.code, "message": self.message, "innerError": inner}})
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Refusal {
        Refusal::new(400, "BadRequest", message)
    }

    pub(crate) fn unknown_segment(segment: &str) -> Refusal {
        Refusal::bad_request(format!("Resource not found for the segment '{segment}'."))
    }

    pub(crate) fn method_not_allowed() -> Refusal {
        Refusal::new(
            405,
            "Request_BadRequest",
            "Specified HTTP method is not allowed for the request target.",
        )
    }

    pub(crate) fn item_not_found() -> Refusal {
        Refusal::new(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    }

    pub(crate) fn malformed_id() -> Refusal {
        Refusal::new(400, "ErrorInvalidIdMalformed", "Id is malformed.")
    }

    pub(crate) fn drive_item_not_found() -> Refusal {
        Refusal::new(404, "itemNotFound", "The resource could not be found.")
    }
}
