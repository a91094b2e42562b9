//! What a refusal means: decided by status and code, never by words but for the few that other
//! projects found to be the only sign (FACTS 6).

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::call::{Call, Target};
use crate::error::ErrorKind;
use crate::json;
use crate::retry::{Trouble, told_wait};
use crate::scope::Scope;

/// Of a refusal's body, as much as an explanation can reasonably need.
const LONGEST_BODY: usize = 64 * 1024;

/// An answer that is not what we asked for.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Outermost first.
    codes: Vec<String>,
    pub(crate) message: String,
    /// What else it says, if it is JSON.
    pub(crate) body: Option<Value>,
}

/// What to do about it.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// A new token, once.
    Unauthorized,
    /// Try again, and what it is when that does not help.
    Retry(Trouble, ErrorKind),
    Final(ErrorKind),
}

/// What a code means, whatever the status.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meaning {
    Throttled,
    /// A transient failure of Exchange or SharePoint: as 503.
    Transient,
    Permission,
    NoMailbox,
    NoUser,
    Gone,
    FolderGone,
    SyncStateLost,
    NoMime,
    Corrupt,
    Malware,
    Locked,
    TooLarge,
    Quota,
    Unsupported,
    BadRequest,
    Changed,
    /// Says no more than the status.
    Plain,
}

/// The codes of FACTS 2.1, 2.7 and 6, in lower case.
const CODES: &[(&str, Meaning)] = &[
    ("toomanyrequests", Meaning::Throttled),
    ("activitylimitreached", Meaning::Throttled),
    ("applicationthrottled", Meaning::Throttled),
    ("request_throttledtemporarily", Meaning::Throttled),
    ("throttledrequest", Meaning::Throttled),
    ("errorinternalservertransienterror", Meaning::Transient),
    ("errorserverbusy", Meaning::Transient),
    ("errormailboxstoreunavailable", Meaning::Transient),
    ("errortimeoutexpired", Meaning::Transient),
    ("errormailboxmoveinprogress", Meaning::Transient),
    ("cannotsnapshottree", Meaning::Transient),
    ("authorization_requestdenied", Meaning::Permission),
    ("authorizationfailed", Meaning::Permission),
    ("forbidden", Meaning::Permission),
    ("accessdenied", Meaning::Permission),
    ("erroraccessdenied", Meaning::Permission),
    ("errorgroupsaccessdenied", Meaning::Permission),
    ("extensionerror", Meaning::Permission),
    ("mailboxnotenabledforrestapi", Meaning::NoMailbox),
    ("errornonexistentmailbox", Meaning::NoMailbox),
    ("errorinvaliduser", Meaning::NoMailbox),
    ("resourcenotfound", Meaning::NoUser),
    ("request_resourcenotfound", Meaning::NoUser),
    ("erroritemnotfound", Meaning::Gone),
    ("itemnotfound", Meaning::Gone),
    ("errorsyncfoldernotfound", Meaning::FolderGone),
    ("errorfoldernotfound", Meaning::FolderGone),
    ("syncstatenotfound", Meaning::SyncStateLost),
    ("syncstateinvalid", Meaning::SyncStateLost),
    ("resyncrequired", Meaning::SyncStateLost),
    ("resyncchangesapplydifferences", Meaning::SyncStateLost),
    ("resyncchangesuploaddifferences", Meaning::SyncStateLost),
    ("resyncapplydifferences", Meaning::SyncStateLost),
    ("resyncuploaddifferences", Meaning::SyncStateLost),
    ("errormimecontentconversionfailed", Meaning::NoMime),
    ("errormimecontentinvalid", Meaning::NoMime),
    ("errorcorruptdata", Meaning::Corrupt),
    ("errorcannotopenfileattachment", Meaning::Corrupt),
    ("malwaredetected", Meaning::Malware),
    ("virussuspicious", Meaning::Malware),
    ("resourcelocked", Meaning::Locked),
    ("accessrestricted", Meaning::Locked),
    ("notallowed", Meaning::Locked),
    ("noaccess", Meaning::Locked),
    ("errormessagesizeexceeded", Meaning::TooLarge),
    ("maxfilesizeexceeded", Meaning::TooLarge),
    ("maxstreamsizeexceeded", Meaning::TooLarge),
    ("errorattachmentsizelimitexceeded", Meaning::TooLarge),
    ("errorquotaexceeded", Meaning::Quota),
    ("quotalimitreached", Meaning::Quota),
    ("notimplemented", Meaning::Unsupported),
    ("notsupported", Meaning::Unsupported),
    ("invalidrequest", Meaning::BadRequest),
    ("errorinvalididmalformed", Meaning::BadRequest),
    ("errorinvalidmailboxitemid", Meaning::BadRequest),
    ("errorinvalidurlquery", Meaning::BadRequest),
    ("inefficientfilter", Meaning::BadRequest),
    ("resourcemodified", Meaning::Changed),
    ("entitytagdoesnotmatch", Meaning::Changed),
    ("errorirresolvableconflict", Meaning::Changed),
    ("errorfolderexists", Meaning::Plain),
    ("errorinvalidrecipients", Meaning::Plain),
    ("errormimecontentinvalidbase64string", Meaning::Plain),
    ("namealreadyexists", Meaning::Plain),
    ("badrequest", Meaning::Plain),
    ("errorinternalservererror", Meaning::Plain),
    ("errorinvalidrequest", Meaning::Plain),
    ("generalexception", Meaning::Plain),
    ("imagenotfound", Meaning::Plain),
    ("invalidauthenticationtoken", Meaning::Plain),
    ("invalidrange", Meaning::Plain),
    ("notfound", Meaning::Plain),
    ("servicenotavailable", Meaning::Plain),
    ("servicereadonly", Meaning::Plain),
    ("unauthenticated", Meaning::Plain),
    ("unknownerror", Meaning::Plain),
];

fn meaning(code: &str) -> Option<Meaning> {
    CODES.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).map(|(_, meaning)| *meaning)
}

/// Too many bytes (FACTS 2.1); the standard has no such status.
const BANDWIDTH: u16 = 509;

/// Whether a limit of ours was reached, which is never about one item.
pub(crate) fn is_limit(status: u16, code: Option<&str>) -> bool {
    matches!(status, 429 | BANDWIDTH) || code.and_then(meaning) == Some(Meaning::Throttled)
}

/// Whether an answer stops its whole scope, whatever its body says.
pub(crate) fn stops_scope(status: StatusCode, headers: &HeaderMap) -> bool {
    let throttles = status == StatusCode::SERVICE_UNAVAILABLE || is_limit(status.as_u16(), None);
    throttles && !headers.contains_key("x-virus-infected")
}

impl Refusal {
    /// Takes what an explanation needs from `response`; that it breaks meanwhile does not matter.
    pub(crate) async fn read(mut response: reqwest::Response) -> Refusal {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_BODY {
                break;
            }
        }
        Refusal::new(response.status(), response.headers().clone(), &body)
    }

    /// The body may be Graph's, OAuth's, a proxy's HTML, or empty (FACTS 6.1).
    pub(crate) fn new(status: StatusCode, headers: HeaderMap, body: &[u8]) -> Refusal {
        let mut refusal =
            Refusal { status, headers, codes: Vec::new(), message: String::new(), body: None };
        let Ok(body) = serde_json::from_str::<Value>(&json::repair(body)) else {
            return refusal;
        };
        match &body["error"] {
            Value::String(code) => {
                refusal.codes.push(code.clone());
                refusal.message = body["error_description"].as_str().unwrap_or_default().to_owned();
            }
            error => {
                refusal.message = error["message"].as_str().unwrap_or_default().to_owned();
                let mut inner = Some(error);
                while let Some(error) = inner.filter(|error| error.is_object()) {
                    refusal.codes.extend(error["code"].as_str().map(str::to_owned));
                    inner = error.get("innerError").or_else(|| error.get("innererror"));
                }
            }
        }
        refusal.body = Some(body);
        refusal
    }

    /// The deepest code we know, else the outermost one.
    pub(crate) fn code(&self) -> Option<&str> {
        let known = self.codes.iter().rev().find(|code| meaning(code).is_some());
        known.or(self.codes.first()).map(String::as_str)
    }

    pub(crate) fn is_limit(&self) -> bool {
        is_limit(self.status.as_u16(), self.code())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the code alone explains the refusal, so that an expired address does not.
    pub(crate) fn has_reason(&self) -> bool {
        let meaning = self.code().and_then(meaning);
        self.is_infected() || matches!(meaning, Some(Meaning::Malware | Meaning::Locked))
    }

    fn is_infected(&self) -> bool {
        self.headers.contains_key("x-virus-infected")
    }

    /// The words that decide, because nothing else tells (FACTS 6.2, [3P]).
    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        words.iter().all(|word| message.contains(word))
    }

    fn says_no_drive(&self) -> bool {
        self.says(&["mysite not found"])
            || self.says(&["unable to retrieve user's mysite url"])
            || self.says(&["tenant does not have a spo license"])
    }

    pub(crate) fn verdict(&self, call: &Call) -> Verdict {
        let wait = told_wait(&self.headers);
        let meaning = self.code().and_then(meaning).unwrap_or(Meaning::Plain);
        match (self.status.as_u16(), meaning) {
            (401, _) => Verdict::Unauthorized,
            _ if self.is_infected() => Verdict::Final(ErrorKind::Malware),
            (429 | 503 | BANDWIDTH, _) | (_, Meaning::Throttled) => throttled(wait),
            (_, Meaning::Transient) => match wait {
                Some(_) => throttled(wait),
                None => Verdict::Retry(Trouble::Throttled(None), ErrorKind::Server),
            },
            (_, Meaning::Corrupt) => Verdict::Retry(Trouble::Damaged, ErrorKind::Corrupt),
            (status, Meaning::Plain) => self.by_status(status, call),
            (status, meaning) => Verdict::Final(self.by_meaning(status, meaning, call)),
        }
    }

    /// Whether what `call` is to write may have been written, although this was the answer: a
    /// failure of the service does not tell when it failed.
    pub(crate) fn leaves_open(&self, call: &Call) -> bool {
        let verdict = self.verdict(call);
        self.status.is_server_error()
            && matches!(verdict, Verdict::Retry(..) | Verdict::Final(ErrorKind::Server))
    }

    fn by_meaning(&self, status: u16, meaning: Meaning, call: &Call) -> ErrorKind {
        match meaning {
            _ if self.says_no_drive() => ErrorKind::NoDrive,
            Meaning::Permission => ErrorKind::Permission,
            Meaning::NoMailbox => ErrorKind::NoMailbox,
            Meaning::NoUser => match (&call.scope, call.target()) {
                (Scope::Mailbox(_), _) => ErrorKind::NoMailbox,
                (_, Target::Drive) => ErrorKind::NoDrive,
                _ => ErrorKind::NotFound,
            },
            Meaning::Gone => match call.target() {
                Target::Drive => ErrorKind::NoDrive,
                Target::Folder => ErrorKind::FolderGone,
                Target::Item => ErrorKind::ItemGone,
                Target::Other => ErrorKind::NotFound,
            },
            Meaning::FolderGone => ErrorKind::FolderGone,
            Meaning::SyncStateLost => ErrorKind::SyncStateLost { restart: None },
            Meaning::NoMime if call.is_write() => ErrorKind::Invalid,
            Meaning::NoMime => ErrorKind::MimeConversion,
            Meaning::Corrupt => ErrorKind::Corrupt,
            Meaning::Malware => ErrorKind::Malware,
            Meaning::Locked => ErrorKind::Locked,
            Meaning::TooLarge => ErrorKind::TooLarge,
            Meaning::Unsupported => ErrorKind::Unsupported,
            Meaning::BadRequest if matches!(status, 405 | 501) => ErrorKind::Unsupported,
            Meaning::BadRequest if call.is_write() => ErrorKind::Invalid,
            Meaning::BadRequest => ErrorKind::BadRequest,
            Meaning::Quota => ErrorKind::Quota,
            Meaning::Changed if call.is_write() => ErrorKind::PreconditionFailed,
            Meaning::Changed => ErrorKind::Changed,
            Meaning::Throttled | Meaning::Transient | Meaning::Plain => ErrorKind::Server,
        }
    }

    fn by_status(&self, status: u16, call: &Call) -> Verdict {
        Verdict::Final(match status {
            400 | 403 | 404 if self.says_no_drive() => ErrorKind::NoDrive,
            400 | 410 if self.says(&["deltatoken", "not supported for this request"]) => {
                ErrorKind::SyncStateLost { restart: None }
            }
            402 | 403 => ErrorKind::Permission,
            404 if call.target() == Target::Drive => ErrorKind::NoDrive,
            410 if call.is_delta() => ErrorKind::SyncStateLost { restart: None },
            404 | 410 => ErrorKind::NotFound,
            405 | 501 => ErrorKind::Unsupported,
            400 if call.is_write() && self.says(&["io error during request payload read"]) => {
                return Verdict::Retry(Trouble::Torn, ErrorKind::Interrupted);
            }
            409 if call.is_write() => ErrorKind::Conflict,
            412 if call.is_write() => ErrorKind::PreconditionFailed,
            507 if call.is_write() => ErrorKind::Quota,
            409 | 412 => ErrorKind::Changed,
            413 | 507 => ErrorKind::TooLarge,
            423 => ErrorKind::Locked,
            500 | 502 | 504 => {
                let wait = told_wait(&self.headers);
                return Verdict::Retry(Trouble::Server(wait), ErrorKind::Server);
            }
            500.. => ErrorKind::Server,
            400.. if call.is_write() => ErrorKind::Invalid,
            400.. => ErrorKind::BadRequest,
            _ => ErrorKind::Protocol,
        })
    }

    /// What only a person who knows the service can tell from this.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        let code = self.code().unwrap_or_default();
        let vague = ["unknownerror", "forbidden"].iter().any(|c| c.eq_ignore_ascii_case(code));
        if self.header("www-authenticate").is_some_and(|h| h.contains("insufficient_claims")) {
            return Some("conditional access refuses this app: exclude it from the policy");
        }
        (self.status == StatusCode::FORBIDDEN && vague && self.message.is_empty()).then_some(
            "Teams messages need an approved (protected) API, a licence, or consent in the team",
        )
    }
}

fn throttled(wait: Option<Duration>) -> Verdict {
    Verdict::Retry(Trouble::Throttled(wait), ErrorKind::Throttled)
}
