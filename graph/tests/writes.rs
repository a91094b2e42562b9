//! Writes: carried out once, whatever happens to the answer.

mod mock;

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use graph::{Error, ErrorKind, Graph, Scope};
use mock::{Count, Mock, json, refusal, reset, status, torn, with};
use serde_json::{Value, json as value};

type Answer = Response<Body>;

const FOLDER: &str = "/users/u/mailFolders/f/messages";
const FILE: &str = "/drives/d/items/p:/a.txt:/content?@microsoft.graph.conflictBehavior=fail";

fn mailbox() -> Scope {
    Scope::Mailbox("u".into())
}

/// A service that answers the first write with `first` and all later ones with an id.
async fn service(first: fn() -> Answer) -> (Mock, Graph) {
    let count = Count::default();
    let mock = Mock::start(move |seen| {
        (!seen.path().contains("/oauth2/")).then(|| match count.next() {
            1 => first(),
            _ => status(201, r#"{"id":"second"}"#),
        })
    })
    .await;
    let graph = mock.graph();
    (mock, graph)
}

/// Creates a message, with `there` for what is found, and tells how often it was looked for.
async fn create(graph: &Graph, there: Option<Value>) -> (Result<Value, Error>, usize) {
    let looked = Count::default();
    let body = value!({"subject": "ü"});
    let made = graph
        .create(&mailbox(), FOLDER, &body, || {
            looked.next();
            let there = there.clone();
            async move { Ok(there) }
        })
        .await;
    (made, looked.get())
}

/// The answers after which nobody knows whether the thing was made.
const OPEN: [fn() -> Answer; 9] = [
    reset,
    || torn(b"{", 100),
    || status_without_length(201),
    || json(r#"{"id":"#),
    || status(500, ""),
    || status(502, "<html>"),
    || with(status(503, ""), "retry-after", "0"),
    || status(504, ""),
    || refusal(500, "ErrorInternalServerTransientError"),
];

/// An answer of which nothing says that its body is to be empty.
fn status_without_length(code: u16) -> Answer {
    let mut answer = status(code, "");
    *answer.body_mut() = Body::from_stream(futures::stream::empty::<Result<Bytes, Error>>());
    answer
}

#[tokio::test]
async fn what_was_made_is_not_made_again() {
    for (n, answer) in OPEN.into_iter().enumerate() {
        let (mock, graph) = service(answer).await;
        let (made, looked) = create(&graph, Some(value!({"id": "found"}))).await;
        assert_eq!(made.unwrap()["id"], "found", "{n}");
        assert_eq!((mock.seen().len(), looked), (1, 1), "{n}");
    }
}

#[tokio::test]
async fn what_was_not_made_is_made() {
    for (n, answer) in OPEN.into_iter().enumerate() {
        let (mock, graph) = service(answer).await;
        let (made, looked) = create(&graph, None).await;
        assert_eq!(made.unwrap()["id"], "second", "{n}");
        assert_eq!((mock.seen().len(), looked), (2, LOOKS), "{n}");
    }
}

#[tokio::test]
async fn what_was_refused_is_repeated_without_looking() {
    let refused: [fn() -> Answer; 3] = [
        || with(refusal(429, "TooManyRequests"), "retry-after", "0.01"),
        || refusal(400, "activityLimitReached"),
        || refusal(401, "InvalidAuthenticationToken"),
    ];
    for answer in refused {
        let (mock, graph) = service(answer).await;
        let (made, looked) = create(&graph, Some(value!({"id": "found"}))).await;
        assert_eq!(made.unwrap()["id"], "second");
        assert_eq!((mock.seen().len(), looked), (2, 0));
    }
}

#[tokio::test]
async fn a_request_is_what_the_service_asks_for() {
    let (mock, graph) = service(|| status(201, r#"{"id":"first"}"#)).await;
    create(&graph, None).await.0.unwrap();
    let [seen] = &mock.seen()[..] else { panic!() };
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", &*format!("/v1.0{FOLDER}")));
    assert_eq!(seen.body, r#"{"subject":"ü"}"#);
    assert_eq!(seen.header("content-length"), Some("16"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("prefer"), Some("IdType=\"ImmutableId\""));
    assert_eq!(seen.header("authorization"), Some("Bearer opaque-token"));
    let counters = graph.counters();
    assert_eq!((counters.writes, counters.uploaded, counters.requests["mailbox"]), (1, 16, 1));
}

#[tokio::test]
async fn a_repeated_body_is_the_same() {
    let (mock, graph) = service(|| status(503, "")).await;
    create(&graph, None).await.0.unwrap();
    let seen = mock.seen();
    assert_eq!((seen[0].body.as_str(), seen.len()), (seen[1].body.as_str(), 2));
    assert_eq!(graph.counters().uploaded, 32);
}

#[tokio::test]
async fn refusals_of_writes_are_told_apart() {
    use ErrorKind::*;
    for (code, name, kind) in [
        (409, "ErrorFolderExists", Conflict),
        (409, "nameAlreadyExists", Conflict),
        (409, "", Conflict),
        (409, "ErrorIrresolvableConflict", PreconditionFailed),
        (412, "", PreconditionFailed),
        (412, "resourceModified", PreconditionFailed),
        (413, "ErrorMessageSizeExceeded", TooLarge),
        (413, "", TooLarge),
        (507, "", Quota),
        (507, "ErrorQuotaExceeded", Quota),
        (403, "ErrorQuotaExceeded", Quota),
        (507, "quotaLimitReached", Quota),
        (400, "ErrorInvalidRecipients", Invalid),
        (400, "ErrorMimeContentInvalidBase64String", Invalid),
        (400, "invalidRequest", Invalid),
        (400, "BrandNew", Invalid),
        (422, "", Invalid),
        (403, "ErrorAccessDenied", Permission),
        (404, "ErrorItemNotFound", FolderGone),
        (405, "ErrorInvalidRequest", Unsupported),
        (423, "resourceLocked", Locked),
    ] {
        let body = format!(r#"{{"error":{{"code":"{name}","message":"words"}}}}"#);
        let mock = Mock::start(move |seen| {
            (!seen.path().contains("/oauth2/")).then(|| status(code, &body))
        })
        .await;
        let (made, looked) = create(&mock.graph(), Some(value!({"id": "found"}))).await;
        let error = made.unwrap_err();
        assert_eq!((error.kind(), error.status()), (&kind, Some(code)), "{code} {name}");
        assert_eq!(error.code(), Some(name));
        assert_eq!((mock.seen().len(), looked), (1, 0), "{code} {name}");
    }
}

/// Looks for what may have been made, before it counts as not made.
const LOOKS: usize = 4;

#[tokio::test]
async fn a_conflict_after_an_open_try_may_be_our_own_thing() {
    let answers = |seen: &mock::Seen, count: &Count| {
        (!seen.path().contains("/oauth2/")).then(|| match count.next() {
            1 => status(503, ""),
            _ => refusal(409, "nameAlreadyExists"),
        })
    };
    let count = Count::default();
    let mock = Mock::start(move |seen| answers(seen, &count)).await;
    let looked = Count::default();
    // Not there when first looked for, but there when the repeated request meets it.
    let made = mock
        .graph()
        .create(&Scope::SharePoint, "/drives/d/root/children", &value!({}), || {
            let there = (looked.next() == LOOKS + 1).then(|| value!({"id": "found"}));
            async move { Ok(there) }
        })
        .await;
    assert_eq!(made.unwrap()["id"], "found");
    assert_eq!((mock.seen().len(), looked.get()), (2, LOOKS + 1));

    for there in [Some(value!({"id": "found"})), None] {
        let (count, looked) = (Count::default(), Count::default());
        let mock = Mock::start(move |seen| answers(seen, &count)).await;
        let content = Bytes::from_static(b"text");
        let put = mock
            .graph()
            .put(&Scope::SharePoint, FILE, content, "text/plain", || {
                looked.next();
                let there = there.clone();
                async move { Ok(there) }
            })
            .await;
        match (put, &there) {
            (Ok(item), Some(there)) => assert_eq!(item, *there),
            (Err(error), None) => assert_eq!(*error.kind(), ErrorKind::Conflict),
            (other, _) => panic!("{other:?}"),
        }
        // Repeated as it is, looked for only because of the conflict.
        let looks = if there.is_some() { 1 } else { LOOKS };
        assert_eq!((mock.seen().len(), looked.get()), (2, looks));
    }
}

#[tokio::test]
async fn before_giving_up_it_is_looked_for_once_more() {
    let mock = Mock::start(|seen| {
        (seen.method == "POST" && !seen.path().contains("/oauth2/")).then(|| status(500, ""))
    })
    .await;
    let looked = Count::default();
    let made = mock
        .graph()
        .create(&Scope::Other, "/x", &value!({}), || {
            let there = (looked.next() == 4 * LOOKS + 1).then(|| value!({"id": "found"}));
            async move { Ok(there) }
        })
        .await;
    assert_eq!(made.unwrap()["id"], "found");
    assert_eq!((mock.seen().len(), looked.get()), (5, 4 * LOOKS + 1));
}

#[tokio::test]
async fn who_cannot_look_does_not_repeat() {
    let (mock, graph) = service(|| status(504, "")).await;
    let other = Mock::start(|_| None).await.graph();
    let made = graph
        .create(&mailbox(), FOLDER, &value!({}), || async {
            other.get(&Scope::Other, "/gone", graph::Prefer::none()).await.map(Some)
        })
        .await;
    let error = made.unwrap_err();
    assert_eq!((error.kind(), error.status()), (&ErrorKind::NotFound, Some(404)));
    assert_eq!(mock.seen().len(), 1);
}

#[tokio::test]
async fn looking_needs_no_second_connection() {
    let count = Count::default();
    let mock = Mock::start(move |seen| match (seen.method.as_str(), seen.path()) {
        ("POST", path) if !path.contains("/oauth2/") => {
            count.next();
            Some(torn(b"{", 100))
        }
        ("GET", _) => Some(json(r#"{"id":"found"}"#)),
        _ => None,
    })
    .await;
    let mut config = mock.config();
    config.mailbox_connections = 1;
    let graph = Graph::new(config, mock::secret()).unwrap();
    let scope = mailbox();
    let nothing = value!({});
    let made = graph.create(&scope, FOLDER, &nothing, || async {
        graph.get(&scope, "/users/u/messages/m", graph::Prefer::none()).await.map(Some)
    });
    let made = tokio::time::timeout(Duration::from_secs(20), made).await;
    assert_eq!(made.unwrap().unwrap()["id"], "found");
}

#[tokio::test]
async fn safe_actions_are_repeated_and_may_answer_nothing() {
    let (mock, graph) = service(reset).await;
    let moved =
        graph.act(&mailbox(), "/users/u/messages/m/move", &value!({"destinationId": "f"})).await;
    assert_eq!(moved.unwrap()["id"], "second");
    assert_eq!(mock.seen().len(), 2);

    let empty: [fn() -> Answer; 3] =
        [|| status(202, ""), || status(204, ""), || with(status(200, ""), "content-length", "0")];
    for answer in empty {
        let (mock, graph) = service(answer).await;
        let done = graph.act(&mailbox(), "/users/u/messages/m/permanentDelete", &Value::Null).await;
        assert_eq!(done.unwrap(), Value::Null);
        let [seen] = &mock.seen()[..] else { panic!() };
        assert_eq!((seen.body.as_str(), seen.header("content-length")), ("", Some("0")));
        assert_eq!(seen.header("content-type"), None);
    }
}

#[tokio::test]
async fn changes_are_repeated_under_their_condition() {
    let (mock, graph) = service(|| status(502, "")).await;
    let body = value!({"isRead": true});
    let path = "/users/u/messages/m";
    graph.patch(&mailbox(), path, &body, Some("W/\"7\"")).await.unwrap();
    graph.patch(&mailbox(), path, &body, None).await.unwrap();
    let seen = mock.seen();
    let tags: Vec<_> = seen.iter().map(|seen| seen.header("if-match")).collect();
    assert_eq!(tags, [Some("W/\"7\""), Some("W/\"7\""), None]);
    assert!(seen.iter().all(|seen| seen.method == "PATCH" && seen.body == r#"{"isRead":true}"#));
}

#[tokio::test]
async fn small_content_is_put_with_its_type() {
    for content in ["text", ""] {
        let (mock, graph) = service(|| status(500, "")).await;
        let looked = Count::default();
        let bytes = Bytes::from_static(content.as_bytes());
        let put = graph
            .put(&Scope::SharePoint, FILE, bytes, "application/octet-stream", || {
                looked.next();
                async { Ok(None) }
            })
            .await;
        assert_eq!(put.unwrap()["id"], "second");
        assert_eq!((mock.seen().len(), looked.get()), (2, 0));
        for seen in mock.seen() {
            assert_eq!((seen.method.as_str(), seen.body.as_str()), ("PUT", content));
            assert_eq!(seen.target, format!("/v1.0{FILE}"));
            let length = content.len().to_string();
            assert_eq!(seen.header("content-length"), Some(length.as_str()));
            assert_eq!(seen.header("content-type"), Some("application/octet-stream"));
            assert_eq!(seen.header("prefer"), None);
        }
    }
}

#[tokio::test]
async fn what_is_gone_was_deleted_by_us_only_after_an_open_try() {
    let path = "/users/u/messages/m";
    let gone = |first: fn() -> Answer| async move {
        let count = Count::default();
        let mock = Mock::start(move |seen| {
            (seen.method == "DELETE").then(|| match count.next() {
                1 => first(),
                _ => refusal(404, "ErrorItemNotFound"),
            })
        })
        .await;
        let deleted = mock.graph().delete(&mailbox(), path, Some("\"tag\"")).await;
        assert!(mock.seen().iter().all(|seen| seen.header("if-match") == Some("\"tag\"")));
        (deleted.map_err(|error| error.kind().clone()), mock.seen().len())
    };
    assert_eq!(gone(|| status(204, "")).await, (Ok(()), 1));
    assert_eq!(gone(reset).await, (Ok(()), 2));
    assert_eq!(gone(|| status(503, "")).await, (Ok(()), 2));
    assert_eq!(gone(|| status(429, "")).await, (Err(ErrorKind::ItemGone), 2));
    let at_once = gone(|| refusal(404, "ErrorItemNotFound")).await;
    assert_eq!(at_once, (Err(ErrorKind::ItemGone), 1));
}

#[tokio::test]
async fn a_half_sent_request_is_sent_again() {
    let (mock, graph) = service(|| {
        status(400, r#"{"error":{"code":"x","message":"IO error during request payload read"}}"#)
    })
    .await;
    let (made, looked) = create(&graph, Some(value!({"id": "found"}))).await;
    assert_eq!((made.unwrap()["id"].as_str(), looked), (Some("second"), 0));
    assert_eq!(mock.seen().len(), 2);
}

#[tokio::test]
async fn what_is_written_to_a_mailbox_has_its_budget() {
    let mock =
        Mock::start(|seen| (!seen.path().contains("/oauth2/")).then(|| json(r#"{"id":"x"}"#)))
            .await;
    let mut config = mock.config();
    config.budgets = vec!["mailbox-upload=1000/600".parse().unwrap()];
    let graph = Graph::new(config, mock::secret()).unwrap();
    let body = value!({"body": "x".repeat(300 - 11)});
    let user = mailbox();
    let write = || graph.patch(&user, "/users/u/messages/m", &body, None);
    // Three of 300 bytes fit into the 960 that we use; the fourth waits for ten minutes.
    for _ in 0..3 {
        write().await.unwrap();
    }
    let late = tokio::time::timeout(Duration::from_millis(100), write()).await;
    assert!(late.is_err());
    assert_eq!(mock.seen().len(), 3);
    // Neither reading nor another mailbox waits.
    graph.get(&mailbox(), "/users/u/messages/m", graph::Prefer::none()).await.unwrap();
    graph.patch(&Scope::Mailbox("v".into()), "/users/v/messages/m", &body, None).await.unwrap();
}

#[tokio::test]
async fn writes_can_be_spawned() {
    let (mock, graph) = service(|| status(201, r#"{"id":"first"}"#)).await;
    let task = tokio::spawn(async move {
        let found = || async { Ok(None) };
        graph.create(&mailbox(), FOLDER, &value!({}), found).await
    });
    assert_eq!(task.await.unwrap().unwrap()["id"], "first");
    assert_eq!(mock.seen().len(), 1);
}
