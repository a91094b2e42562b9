//! The one error of this crate.

use std::fmt;
use std::sync::Arc;

use crate::link::DeltaLink;
use crate::redact;

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// What went wrong, in the terms a caller decides by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The app can't sign in, or its token is refused twice (FACTS 1.7).
    Credentials,
    /// Signed in, but not allowed to do this (FACTS 6.2).
    Permission,
    /// No such object.
    NotFound,
    /// The user has no mailbox: no licence, guest, on-premises, soft-deleted.
    NoMailbox,
    /// The user has no OneDrive, the tenant no SharePoint, or the drive has vanished.
    NoDrive,
    /// The item vanished since it was listed.
    ItemGone,
    /// The folder vanished since it was listed.
    FolderGone,
    /// The delta token is worth nothing any more: start over (FACTS 3.0).
    SyncStateLost {
        /// Where the service wants us to start, else the first page again.
        restart: Option<DeltaLink>,
    },
    /// The service can't make MIME of this item: take its JSON (FACTS 4.1).
    MimeConversion,
    /// The item is damaged in the service's store.
    Corrupt,
    /// The service found malware and keeps the content.
    Malware,
    /// Locked, rights-managed, kept back by policy, or archived.
    Locked,
    /// The file changed while it was read; what was read so far belongs to another version.
    Changed,
    /// Told to slow down for longer than our patience.
    Throttled,
    /// Nobody answered for longer than our patience.
    Unreachable,
    /// The connection broke inside an answer, again and again.
    Interrupted,
    /// The service failed, again and again.
    Server,
    /// The service does not understand the request: a mistake in this program.
    BadRequest,
    /// The service does not accept what it was given to write (400); [`Error::code`] says why.
    Invalid,
    /// What is to be made is there already, or another change was faster (409).
    Conflict,
    /// What is to be written is no longer as `If-Match` says (412).
    PreconditionFailed,
    /// No room left in the mailbox or drive (507; FACTS 6.2).
    Quota,
    /// Upload sessions were lost again and again, or one was and the source can't go back.
    UploadSessionLost,
    /// The source of an upload failed, so its end was not sent. Its [`std::io::Error`] is the
    /// [`std::error::Error::source`].
    Source,
    /// More than the service handles.
    TooLarge,
    /// This cloud or version can't do it.
    Unsupported,
    /// The answer is not what the protocol says it is.
    Protocol,
    /// The server's certificate is not trusted, or no secure connection can be made.
    Tls,
    /// The certificates to trust are unreadable.
    CaCertificate,
    /// The client certificate, its key, or another setting is unusable.
    Configuration,
    /// A file of ours can't be read.
    Local,
}

impl ErrorKind {
    fn phrase(&self) -> &'static str {
        match self {
            ErrorKind::Credentials => "credentials refused",
            ErrorKind::Permission => "permission refused",
            ErrorKind::NotFound => "not found",
            ErrorKind::NoMailbox => "no mailbox",
            ErrorKind::NoDrive => "no drive",
            ErrorKind::ItemGone => "the item has vanished",
            ErrorKind::FolderGone => "the folder has vanished",
            ErrorKind::SyncStateLost { .. } => "the delta token is no longer valid",
            ErrorKind::MimeConversion => "the service has no MIME of this item",
            ErrorKind::Corrupt => "the item is damaged",
            ErrorKind::Malware => "the service found malware",
            ErrorKind::Locked => "locked",
            ErrorKind::Changed => "changed while being read",
            ErrorKind::Throttled => "throttled for longer than our patience",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Interrupted => "the connection broke",
            ErrorKind::Server => "the service failed",
            ErrorKind::BadRequest => "the request was not understood",
            ErrorKind::Invalid => "the service does not accept it",
            ErrorKind::Conflict => "in conflict with what is there",
            ErrorKind::PreconditionFailed => "changed by somebody else",
            ErrorKind::Quota => "no room left",
            ErrorKind::UploadSessionLost => "the upload session was lost",
            ErrorKind::Source => "the source of the upload failed",
            ErrorKind::TooLarge => "too large",
            ErrorKind::Unsupported => "not supported here",
            ErrorKind::Protocol => "unexpected answer",
            ErrorKind::Tls => "no trusted connection",
            ErrorKind::CaCertificate => "unusable CA certificates",
            ErrorKind::Configuration => "unusable configuration",
            ErrorKind::Local => "local file",
        }
    }
}

/// Any failure. Neither `Display` nor `Debug` shows a token, a secret or the query of an address,
/// and `Display` does not repeat [`std::error::Error::source`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Error {
    details: Box<Details>,
    source: Option<Source>,
}

#[derive(Clone, Debug)]
struct Details {
    kind: ErrorKind,
    operation: &'static str,
    url: Option<String>,
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
    client_request_id: Option<String>,
    retries: u32,
    hint: Option<&'static str>,
}

impl Details {
    fn summary(&self) -> String {
        let mut text = self.operation.to_owned();
        if let Some(url) = &self.url {
            text += &format!(" {url}");
        }
        text += &format!(": {}", self.kind.phrase());
        let facts = [
            self.status.map(|status| format!("status {status}")),
            self.code.as_ref().map(|code| format!("code {code}")),
            self.request_id.as_ref().map(|id| format!("request-id {id}")),
            self.client_request_id.as_ref().map(|id| format!("client-request-id {id}")),
            (self.retries > 0).then(|| format!("{} retries", self.retries)),
        ];
        let facts: Vec<String> = facts.into_iter().flatten().collect();
        if !facts.is_empty() {
            text += &format!(" ({})", facts.join(", "));
        }
        if let Some(message) = &self.message {
            text += &format!(": {message}");
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.details.summary())
    }
}

/// By hand, so that the cause itself can be downcast and not the `Arc` around it.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("details", &self.details)
            .field("source", &self.source.as_ref().map(ToString::to_string))
            .finish()
    }
}

impl Error {
    /// What a caller decides by.
    pub fn kind(&self) -> &ErrorKind {
        &self.details.kind
    }

    /// What we were doing.
    pub fn operation(&self) -> &'static str {
        self.details.operation
    }

    /// Where: without query; of a pre-authenticated address only the host.
    pub fn url(&self) -> Option<&str> {
        self.details.url.as_deref()
    }

    /// The HTTP status of the last answer.
    pub fn status(&self) -> Option<u16> {
        self.details.status
    }

    /// The deepest code of the answer that we know, else its outermost one (FACTS 6.1).
    pub fn code(&self) -> Option<&str> {
        self.details.code.as_deref()
    }

    /// The service's own words, shortened. Never decide by them.
    pub fn message(&self) -> Option<&str> {
        self.details.message.as_deref()
    }

    /// The service's id of the last request, which its support asks for (FACTS 2.1).
    pub fn request_id(&self) -> Option<&str> {
        self.details.request_id.as_deref()
    }

    /// Our id of the last request.
    pub fn client_request_id(&self) -> Option<&str> {
        self.details.client_request_id.as_deref()
    }

    /// How many times the request was sent again.
    pub fn retries(&self) -> u32 {
        self.details.retries
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{Interrupted, Server, Throttled, Unreachable};
        matches!(self.details.kind, Throttled | Unreachable | Interrupted | Server)
    }

    /// Whether the service refused the whole mailbox, drive or site, not just one item.
    pub fn is_scope_refused(&self) -> bool {
        use ErrorKind::{NoDrive, NoMailbox, Permission};
        matches!(self.details.kind, NoMailbox | NoDrive | Permission)
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.details.hint.or(match self.details.kind {
            ErrorKind::Permission => Some(
                "grant the application permission and admin consent, \
                 or keep this owner out of the selection",
            ),
            ErrorKind::Tls => Some("trust the certificate of the server or proxy with a CA file"),
            ErrorKind::CaCertificate => Some("the file must hold certificates in PEM form"),
            ErrorKind::Throttled => Some("try again later, with fewer workers, or more patience"),
            ErrorKind::Unreachable => Some("check the network, HTTPS_PROXY and the host's name"),
            _ => None,
        })
    }
}

/// Building one.
impl Error {
    pub(crate) fn new(kind: ErrorKind, operation: &'static str) -> Error {
        let details = Details {
            kind,
            operation,
            url: None,
            status: None,
            code: None,
            message: None,
            request_id: None,
            client_request_id: None,
            retries: 0,
            hint: None,
        };
        Error { details: Box::new(details), source: None }
    }

    /// The address, already redacted.
    pub(crate) fn at(mut self, url: String) -> Error {
        self.details.url = Some(url);
        self
    }

    pub(crate) fn with_status(mut self, status: http::StatusCode) -> Error {
        self.details.status = Some(status.as_u16());
        self
    }

    pub(crate) fn with_code(mut self, code: Option<String>) -> Error {
        self.details.code = code.map(|code| redact::text(&code));
        self
    }

    pub(crate) fn with_message(mut self, message: impl AsRef<str>) -> Error {
        let message = redact::text(message.as_ref());
        self.details.message = (!message.is_empty()).then_some(message);
        self
    }

    pub(crate) fn with_ids(mut self, request: Option<String>, client: Option<String>) -> Error {
        self.details.request_id = request.map(|id| redact::text(&id));
        self.details.client_request_id = client;
        self
    }

    pub(crate) fn with_retries(mut self, retries: u32) -> Error {
        self.details.retries = retries;
        self
    }

    pub(crate) fn with_hint(mut self, hint: Option<&'static str>) -> Error {
        self.details.hint = hint;
        self
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Error {
        self.details.kind = kind;
        self
    }

    pub(crate) fn because<E>(mut self, source: E) -> Error
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        self.source = Some(Arc::new(source));
        self
    }
}
