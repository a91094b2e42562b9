//! What refusals mean, and what is never shown of them.

mod mock;

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Response;
use graph::{Error, ErrorKind, Graph, Prefer, Scope};
use mock::{Mock, json, refusal, status, torn, with};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// What the service answers to a path of a scope.
async fn ask(scope: Scope, path: &str, answer: fn() -> Response<Body>) -> (Error, usize) {
    let mock = Mock::start(move |seen| (!seen.path().contains("/oauth2/")).then(answer)).await;
    let error = mock.graph().get(&scope, path, Prefer::none()).await.unwrap_err();
    (error, mock.seen().len())
}

fn mailbox() -> Scope {
    Scope::Mailbox("u".into())
}

/// Status, code or body, scope, path, kind: one line for each of FACTS 6.2 that can be decided.
#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn refusals_mean_what_the_table_says() {
    use ErrorKind::*;
    const MESSAGE: &str = "/users/u/messages/m";
    const FOLDER: &str = "/users/u/mailFolders/f/messages/delta";
    const FILE: &str = "/drives/d/items/i";
    const ROOT: &str = "/drives/d/root/delta";
    const OWN: &str = "/users/u/drives";
    let lost = || SyncStateLost { restart: None };
    let cases: Vec<(u16, &str, Scope, &str, ErrorKind)> = vec![
        (403, "Authorization_RequestDenied", Scope::Directory, "/users", Permission),
        (403, "AuthorizationFailed", Scope::Other, "/x", Permission),
        (403, "Forbidden", Scope::Other, "/x", Permission),
        (403, "accessdenied", Scope::SharePoint, FILE, Permission),
        (403, "AccessDenied", Scope::SharePoint, "/sites/s", Permission),
        (403, "SomethingNew", Scope::Other, "/x", Permission),
        (402, "PaymentRequired", Scope::Other, "/x", Permission),
        (404, "MailboxNotEnabledForRESTAPI", mailbox(), FOLDER, NoMailbox),
        (400, "mailboxnotenabledforrestapi", mailbox(), "/users/u/todo/lists", NoMailbox),
        (404, "ErrorNonExistentMailbox", mailbox(), FOLDER, NoMailbox),
        (404, "ErrorInvalidUser", mailbox(), FOLDER, NoMailbox),
        (404, "ResourceNotFound", mailbox(), FOLDER, NoMailbox),
        (404, "Request_ResourceNotFound", mailbox(), FOLDER, NoMailbox),
        (404, "Request_ResourceNotFound", Scope::Directory, "/users/x", NotFound),
        (403, "ErrorAccessDenied", mailbox(), FOLDER, Permission),
        (403, "extensionError", mailbox(), FOLDER, Permission),
        (404, "ErrorItemNotFound", mailbox(), MESSAGE, ItemGone),
        (404, "ErrorItemNotFound", mailbox(), FOLDER, FolderGone),
        (404, "ErrorSyncFolderNotFound", mailbox(), FOLDER, FolderGone),
        (404, "ErrorFolderNotFound", mailbox(), FOLDER, FolderGone),
        (410, "SyncStateNotFound", mailbox(), FOLDER, lost()),
        (400, "SyncStateInvalid", mailbox(), FOLDER, lost()),
        (400, "ResyncRequired", mailbox(), FOLDER, lost()),
        (410, "", mailbox(), FOLDER, lost()),
        (410, "", mailbox(), MESSAGE, NotFound),
        (500, "ErrorMimeContentConversionFailed", mailbox(), MESSAGE, MimeConversion),
        (400, "ErrorMimeContentInvalid", mailbox(), MESSAGE, MimeConversion),
        (400, "ErrorInvalidIdMalformed", mailbox(), MESSAGE, BadRequest),
        (400, "ErrorInvalidMailboxItemId", mailbox(), MESSAGE, BadRequest),
        (400, "InefficientFilter", mailbox(), MESSAGE, BadRequest),
        (400, "BadRequest", Scope::Other, "/x", BadRequest),
        (405, "ErrorInvalidRequest", mailbox(), MESSAGE, Unsupported),
        (501, "NotImplemented", Scope::Other, "/x", Unsupported),
        (413, "ErrorMessageSizeExceeded", mailbox(), MESSAGE, TooLarge),
        (413, "", mailbox(), MESSAGE, TooLarge),
        (404, "itemNotFound", Scope::SharePoint, FILE, ItemGone),
        (404, "itemNotFound", Scope::SharePoint, ROOT, NoDrive),
        (404, "itemNotFound", Scope::SharePoint, "/sites/s", NotFound),
        (404, "ResourceNotFound", Scope::SharePoint, OWN, NoDrive),
        (404, "", Scope::SharePoint, OWN, NoDrive),
        (410, "resyncChangesApplyDifferences", Scope::SharePoint, ROOT, lost()),
        (410, "resyncChangesUploadDifferences", Scope::SharePoint, ROOT, lost()),
        (410, "resyncRequired", Scope::SharePoint, ROOT, lost()),
        (403, "malwareDetected", Scope::SharePoint, FILE, Malware),
        (400, "virusSuspicious", Scope::SharePoint, FILE, Malware),
        (423, "resourceLocked", Scope::SharePoint, FILE, Locked),
        (403, "accessRestricted", Scope::SharePoint, FILE, Locked),
        (403, "notAllowed", Scope::SharePoint, FILE, Locked),
        (423, "NoAccess", Scope::SharePoint, "/sites/s", Locked),
        (412, "resourceModified", Scope::SharePoint, FILE, Changed),
        (409, "", Scope::SharePoint, FILE, Changed),
        (404, "ImageNotFound", mailbox(), "/users/u/photo/$value", NotFound),
        (401, "InvalidAuthenticationToken", Scope::SharePoint, OWN, Credentials),
        (401, "unauthenticated", Scope::SharePoint, ROOT, Credentials),
        (401, "unauthenticated", Scope::SharePoint, OWN, NoDrive),
        (401, "", mailbox(), FOLDER, Credentials),
        (406, "", Scope::Other, "/x", BadRequest),
        (505, "", Scope::Other, "/x", Server),
    ];
    for (code, name, scope, path, kind) in cases {
        let answer = refusal(code, name);
        let body = axum::body::to_bytes(answer.into_body(), 4096).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let mock = Mock::start(move |seen| {
            (!seen.path().contains("/oauth2/"))
                .then(|| with(status(code, &body), "request-id", "r-1"))
        })
        .await;
        let error = mock.graph().get(&scope, path, Prefer::none()).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{code} {name} {path}");
        assert_eq!(error.status(), Some(code));
        assert_eq!(error.code(), Some(name), "{code}");
        assert_eq!(error.request_id(), Some("r-1"));
        let shown = error.to_string();
        for part in [error.client_request_id().unwrap(), "r-1", &code.to_string(), "words", path] {
            assert!(shown.contains(part), "{shown}");
        }
        assert_eq!(mock.seen().len(), if code == 401 { 2 } else { 1 }, "{code} {name}");
        let refused = matches!(kind, Permission | NoMailbox | NoDrive);
        assert_eq!(error.is_scope_refused(), refused);
    }
}

#[tokio::test]
async fn the_deepest_known_code_decides() {
    let (error, _) = ask(Scope::SharePoint, "/drives/d/items/i", || {
        status(
            403,
            r#"{"error":{"code":"accessDenied","innerError":{"code":"accessRestricted",
                "innererror":{"code":"brandNew","innerError":{"date":"x"}}}}}"#,
        )
    })
    .await;
    assert_eq!((error.kind(), error.code()), (&ErrorKind::Locked, Some("accessRestricted")));
    let (error, _) = ask(Scope::Other, "/x", || {
        status(400, r#"{"error":{"code":"outer","innerError":{"code":"inner"}}}"#)
    })
    .await;
    assert_eq!((error.kind(), error.code()), (&ErrorKind::BadRequest, Some("outer")));
}

#[tokio::test]
async fn bodies_of_any_kind_are_survived() {
    for body in [
        "",
        "<html>",
        "null",
        "[]",
        "{",
        r#"{"error":{"@odata.type":"odata.error"}}"#,
        r#"{"error":7}"#,
    ] {
        let mock =
            Mock::start(move |seen| (!seen.path().contains("/oauth2/")).then(|| status(403, body)))
                .await;
        let error = mock.graph().get(&Scope::Other, "/x", Prefer::none()).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (&ErrorKind::Permission, None));
    }
    let (error, _) = ask(Scope::Other, "/x", || {
        status(403, r#"{"error":"access_denied","error_description":"because"}"#)
    })
    .await;
    assert_eq!((error.code(), error.message()), (Some("access_denied"), Some("because")));
    let (error, _) = ask(Scope::Other, "/x", || {
        status(403, r#"{"error":{"code":"UnknownError","message":""}}"#)
    })
    .await;
    assert!(error.hint().unwrap().contains("protected"));
}

#[tokio::test]
async fn a_few_words_decide_where_nothing_else_does() {
    let words = |code: u16, name: &str, message: &str| {
        status(code, &format!(r#"{{"error":{{"code":"{name}","message":"{message}"}}}}"#))
    };
    for (code, name, message) in [
        (404, "ResourceNotFound", "User's mysite not found."),
        (404, "itemNotFound", "Unable to retrieve user's mysite URL."),
        (400, "BadRequest", "Tenant does not have a SPO license."),
        (403, "accessDenied", "Tenant does not have a SPO license."),
    ] {
        let mock = Mock::start(move |seen| {
            (!seen.path().contains("/oauth2/")).then(|| words(code, name, message))
        })
        .await;
        let error = mock.graph().get(&Scope::SharePoint, "/groups/g/x", Prefer::none()).await;
        assert_eq!(*error.unwrap_err().kind(), ErrorKind::NoDrive, "{message}");
    }
    let mock = Mock::start(move |seen| {
        let message = "The DeltaToken is not supported for this request.";
        (!seen.path().contains("/oauth2/")).then(|| words(400, "BadRequest", message))
    })
    .await;
    let error = mock.graph().get(&mailbox(), "/users/u/x/delta", Prefer::none()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::SyncStateLost { .. }));
}

#[tokio::test]
async fn a_content_stream_tells_its_type_and_its_tears() {
    let mock = Mock::start(|seen| match seen.path().rsplit('/').nth(1) {
        Some("whole") => Some(with(json("From: x"), "content-type", "text/plain")),
        Some("torn") => Some(torn(b"From", 100)),
        _ => None,
    })
    .await;
    let graph = mock.graph();
    let mut body = graph.value(&mailbox(), "/users/u/messages/whole/$value").await.unwrap();
    assert_eq!(body.content_type.as_deref(), Some("text/plain"));
    assert_eq!(body.content_length, Some(7));
    assert_eq!(body.chunk().await.unwrap().unwrap(), "From: x");
    assert_eq!(body.chunk().await.unwrap(), None);
    let mut body = graph.value(&mailbox(), "/users/u/messages/torn/$value").await.unwrap();
    assert_eq!(body.chunk().await.unwrap().unwrap(), "From");
    let error = body.chunk().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Interrupted);
    assert!(error.is_retryable());
    let error = graph.value(&mailbox(), "/users/u/messages/none/$value").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound);
    let seen = mock.seen();
    assert!(seen.iter().all(|s| s.header("prefer") == Some("IdType=\"ImmutableId\"")));
}

/// All that is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        *self.0.lock().unwrap() += &format!("{field}={value:?} ");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut self.clone());
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.lock().unwrap())
    }
}

/// An error and everything under it, in both forms.
fn everything(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(" {error} {error:?}");
        source = error.source();
    }
    text
}

/// Fails in every way that could show a secret.
async fn fail(graph: &Graph, text: &mut String) {
    for path in ["/echo?$skiptoken=q-secret", "/html?$skiptoken=q-secret", "/torn?x=q-secret"] {
        let error = graph.get(&Scope::Other, path, Prefer::none()).await.unwrap_err();
        *text += &everything(&error);
    }
    for item in ["dead", "torn", "refused"] {
        let error = match graph.open_file("d", item).await {
            Err(error) => error,
            Ok(mut download) => loop {
                *text += &format!("{download:?}");
                if let Err(error) = download.chunk().await {
                    break error;
                }
            },
        };
        *text += &everything(&error);
    }
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let mock = Mock::start_with(|seen, base| {
        let dead = "http://127.0.0.1:1/p-secret?tempauth=q-secret";
        let to = |path: &str| with(status(302, ""), "location", &format!("{base}/{path}-p-secret?sig=q-secret"));
        Some(match seen.path() {
            path if path.contains("/oauth2/") => mock::token("eyJ-token-secret.x.y", 3599),
            "/v1.0/echo" => status(400, &format!(
                r#"{{"error":{{"code":"x","message":"got {} at {base}/v1.0/echo?$skiptoken=q-secret"}}}}"#,
                seen.header("authorization").unwrap()
            )),
            "/v1.0/html" => json("<html>q-secret"),
            "/v1.0/drives/d/items/dead/content" => with(status(302, ""), "location", dead),
            "/v1.0/drives/d/items/torn/content" => to("torn"),
            "/v1.0/drives/d/items/refused/content" => to("refused"),
            "/refused-p-secret" => status(423, "{base}/?q-secret"),
            _ => torn(b"x", 100),
        })
    })
    .await;
    let mut config = mock.config();
    config.patience = std::time::Duration::from_millis(200);
    let graph = Graph::new(config, mock::secret()).unwrap();
    let mut text = format!("{graph:?} {:?}", graph.sign_in().await.unwrap());
    fail(&graph, &mut text).await;
    drop(guard);
    text += &log.to_string();
    assert!(text.contains("refused") && text.contains("client_request_id"), "{text}");
    for secret in ["q-secret", "p-secret", "token-secret", mock::SECRET] {
        let at = text.find(secret).map(|at| &text[at.saturating_sub(300)..at + 20]);
        assert_eq!(at, None, "{secret}");
    }
}

#[tokio::test]
async fn display_does_not_repeat_the_source() {
    let mock = Mock::start(|_| None).await;
    let mut config = mock.config();
    config.patience = std::time::Duration::from_millis(5);
    config.graph_url = Some("http://127.0.0.1:1".parse().unwrap());
    let graph = Graph::new(config, mock::secret()).unwrap();
    let error = graph.get(&Scope::Other, "/x", Prefer::none()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(!error.to_string().contains(&source), "{error} / {source}");
    assert_eq!(error.operation(), "get");
    assert_eq!(error.url(), Some("http://127.0.0.1:1/v1.0/x"));
    assert_eq!(error.clone().to_string(), error.to_string());
}
