//! Lists: links byte for byte, headers on every page, no token for strangers.

mod mock;

use graph::{DeltaLink, ErrorKind, Pages, Prefer, Scope};
use mock::{Count, Mock, json, refusal, status, torn, with};

fn mailbox() -> Scope {
    Scope::Mailbox("user-1".into())
}

/// The ids of all items, and the link at the end.
async fn all(mut pages: Pages) -> Result<(Vec<String>, Option<DeltaLink>), graph::Error> {
    let (mut ids, mut link) = (Vec::new(), None);
    while let Some(page) = pages.next().await? {
        for item in &page.items {
            ids.push(item.parse()?["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(page.delta.is_some(), !page.next);
        link = page.delta;
    }
    Ok((ids, link))
}

/// Characters that some client or other rewrites.
const ODD: &str = "/v1.0/users/u/mailFolders('in%2Bbox')/messages/delta\
    ?$skiptoken=a%2Bb+c%20d%2f'e'(f)*!~:@,;=&x&&%24y=%C3%BC/?z[]";

#[tokio::test]
async fn links_are_followed_byte_for_byte_with_the_same_headers() {
    let mock = Mock::start_with(|seen, base| {
        Some(match seen.target.as_str() {
            "/v1.0/users/u/mailFolders/f/messages/delta?$select=id,subject" => {
                json(format!(r#"{{"value":[{{"id":"1"}}],"@odata.nextLink":"{base}{ODD}"}}"#))
            }
            ODD => json(format!(r#"{{"value":[],"@odata.nextLink":"{base}/v1.0/ü?a='ö'"}}"#)),
            "/v1.0/%C3%BC?a='%C3%B6'" => json(format!(
                r#"{{"value":[{{"id":"2"}}],"@odata.deltaLink":"{base}/v1.0/d?token='+%2b'"}}"#
            )),
            "/v1.0/d?token='+%2b'" => json(format!(
                r#"{{"value":[{{"id":"3"}}],"@odata.deltaLink":"{base}/v1.0/d?token=2"}}"#
            )),
            _ => return None,
        })
    })
    .await;
    let graph = mock.graph();
    let prefer = Prefer::page_size(50).and("outlook.body-content-type=\"text\"").eventual();
    let path = "/users/u/mailFolders/f/messages/delta?$select=id,subject";
    let (ids, link) = all(graph.pages(mailbox(), path, prefer.clone())).await.unwrap();
    assert_eq!(ids, ["1", "2"]);
    let link = link.unwrap();
    assert!(link.as_str().ends_with("/v1.0/d?token='+%2b'"));
    let (ids, _) = all(graph.delta_from(mailbox(), &link, prefer)).await.unwrap();
    assert_eq!(ids, ["3"]);

    let seen = mock.seen();
    assert_eq!(seen.len(), 4);
    let mut client_ids: Vec<_> = Vec::new();
    for seen in &seen {
        let expected = "IdType=\"ImmutableId\", odata.maxpagesize=50, \
                        outlook.body-content-type=\"text\"";
        assert_eq!(seen.header("prefer"), Some(expected));
        assert_eq!(seen.header("consistencylevel"), Some("eventual"));
        assert_eq!(seen.header("authorization"), Some("Bearer opaque-token"));
        assert_eq!(seen.header("accept-encoding"), Some("gzip"));
        assert!(seen.header("user-agent").unwrap().starts_with("NONISV|contoso.example|tar365/"));
        client_ids.push(seen.header("client-request-id").unwrap().to_owned());
    }
    client_ids.sort();
    client_ids.dedup();
    assert_eq!(client_ids.len(), 4);
    assert_eq!(mock.tokens().len(), 1);
}

#[tokio::test]
async fn only_mailboxes_have_immutable_ids_and_only_directories_low_priority() {
    let mock = Mock::start(|seen| (!seen.path().contains("oauth2")).then(|| json("{}"))).await;
    let graph = mock.graph();
    for scope in [mailbox(), Scope::SharePoint, Scope::Directory, Scope::Other] {
        graph.get(&scope, "/x", Prefer::none()).await.unwrap();
    }
    let seen = mock.seen();
    let prefer: Vec<_> = seen.iter().map(|seen| seen.header("prefer")).collect();
    assert_eq!(prefer, [Some("IdType=\"ImmutableId\""), None, None, None]);
    let priority: Vec<_> = seen.iter().map(|s| s.header("x-ms-throttle-priority")).collect();
    assert_eq!(priority, [None, None, Some("low"), None]);
}

#[tokio::test]
async fn a_foreign_link_gets_no_token() {
    let foreign = Mock::start(|_| Some(json(r#"{"value":[]}"#))).await;
    for evil in [
        foreign.url.to_string(),
        format!("https://127.0.0.1:{}/", foreign.url.port().unwrap()),
        "https://graph.microsoft.com/".to_owned(),
    ] {
        let link = format!("{evil}v1.0/users?$skiptoken=secret-token");
        let answer = format!(r#"{{"value":[{{"id":"1"}}],"@odata.nextLink":"{link}"}}"#);
        let mock =
            Mock::start(move |seen| seen.path().ends_with("/users").then(|| json(answer.clone())))
                .await;
        let graph = mock.graph();
        let error = all(graph.pages(Scope::Directory, "/users", Prefer::none())).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Protocol);
        assert!(!error.is_retryable());
        assert!(!format!("{error} {error:?}").contains("secret-token"), "{error:?}");
        let link = DeltaLink::new(link);
        let error = all(graph.delta_from(Scope::Directory, &link, Prefer::none())).await;
        assert_eq!(*error.unwrap_err().kind(), ErrorKind::Protocol);
        assert_eq!(mock.seen().len(), 1);
    }
    assert!(foreign.seen().is_empty());
}

#[tokio::test]
async fn next_wins_over_delta() {
    let mock = Mock::start_with(|seen, base| match seen.target.as_str() {
        "/v1.0/users/delta" => Some(json(format!(
            r#"{{"value":[{{"id":"1"}}],"@odata.nextLink":"{base}/v1.0/n",
                "@odata.deltaLink":"{base}/v1.0/d"}}"#
        ))),
        "/v1.0/n" => Some(json(r#"{"value":[{"id":"2"}],"@odata.deltaLink":"x"}"#)),
        _ => None,
    })
    .await;
    let pages = mock.graph().pages(Scope::Directory, "/users/delta", Prefer::none());
    assert_eq!(all(pages).await.unwrap().0, ["1", "2"]);
}

#[tokio::test]
async fn broken_texts_become_replacement_characters() {
    let body = b"{\"value\":[{\"id\":\"a\\ud83d\",\"x\":\"\xff\",\"\\udc00\":\"\\\\ud83d\\ud83d\\ude00\"}]}";
    let mock = Mock::start(|seen| seen.path().ends_with("/users").then(|| mock::bytes(body))).await;
    let graph = mock.graph();
    let mut pages = graph.pages(Scope::Directory, "/users", Prefer::none());
    let page = pages.next().await.unwrap().unwrap();
    let item = page.items[0].parse().unwrap();
    let expected = serde_json::json!({"id": "a\u{fffd}", "x": "\u{fffd}", "\u{fffd}": "\\ud83d😀"});
    assert_eq!(item, expected);
    assert!(pages.next().await.unwrap().is_none());
    let whole = graph.get(&Scope::Directory, "/users", Prefer::none()).await.unwrap();
    assert_eq!(whole["value"][0], expected);
}

#[tokio::test]
async fn a_lost_delta_token_says_where_to_restart() {
    let count = Count::default();
    let mock = Mock::start_with(move |seen, base| {
        let restart = format!("{base}/v1.0/drives/d/root/delta?token='x+y'");
        match seen.target.as_str() {
            "/v1.0/drives/d/root/delta?token=old" => Some(match count.next() {
                1 => with(refusal(410, "resyncChangesApplyDifferences"), "location", &restart),
                2 => with(refusal(410, "whatever"), "location", "https://evil.example/v1.0/x"),
                _ => refusal(400, "SyncStateNotFound"),
            }),
            "/v1.0/drives/d/root/delta?token='x+y'" => Some(json(
                r#"{"value":[{"id":"1"}],
                "@odata.deltaLink":"x"}"#,
            )),
            _ => None,
        }
    })
    .await;
    let graph = mock.graph();
    let old = DeltaLink::new(format!("{}v1.0/drives/d/root/delta?token=old", mock.url));
    let lost = || all(graph.delta_from(Scope::SharePoint, &old, Prefer::none()));
    let error = lost().await.unwrap_err();
    let ErrorKind::SyncStateLost { restart: Some(link) } = error.kind() else {
        panic!("{error:?}")
    };
    let (ids, _) = all(graph.delta_from(Scope::SharePoint, link, Prefer::none())).await.unwrap();
    assert_eq!(ids, ["1"]);
    for _ in 0..2 {
        assert_eq!(*lost().await.unwrap_err().kind(), ErrorKind::SyncStateLost { restart: None });
    }
    assert_eq!(mock.seen().len(), 4);
}

#[tokio::test]
async fn first_pages_shrink_when_they_are_too_much() {
    let count = Count::default();
    let mock = Mock::start(move |seen| {
        if !seen.path().ends_with("/messages") {
            return None;
        }
        Some(match count.next() {
            1 => status(504, "<html>"),
            2 => torn(br#"{"value":["#, 1000),
            _ => json(r#"{"value":[]}"#),
        })
    })
    .await;
    let graph = mock.graph();
    let path = "/users/u/messages?$select=id&$top=100";
    all_pages(graph.pages(mailbox(), path, Prefer::page_size(80))).await;
    let seen = mock.seen();
    let sizes: Vec<_> =
        seen.iter().map(|s| (s.target.rsplit_once('=').unwrap().1, s.header("prefer"))).collect();
    let header = |n| Some(format!("IdType=\"ImmutableId\", odata.maxpagesize={n}"));
    let expected = [("100", header(80)), ("50", header(40)), ("25", header(20))];
    for (size, (top, prefer)) in sizes.iter().zip(&expected) {
        assert_eq!((size.0, size.1), (*top, prefer.as_deref()));
    }
    assert_eq!(sizes.len(), 3);
}

async fn all_pages(pages: Pages) {
    all_ids(pages).await.unwrap();
}

async fn all_ids(mut pages: Pages) -> Result<(), graph::Error> {
    while pages.next().await?.is_some() {}
    Ok(())
}

#[tokio::test]
async fn later_pages_are_asked_for_again_as_they_are() {
    let count = Count::default();
    let mock = Mock::start_with(move |seen, base| match seen.target.as_str() {
        "/v1.0/users" => {
            Some(json(format!(r#"{{"value":[],"@odata.nextLink":"{base}/v1.0/n?$top=9"}}"#)))
        }
        "/v1.0/n?$top=9" => Some(match count.next() {
            1 => status(504, ""),
            2 => torn(b"{", 9),
            // Cut at a chunk's end: only the JSON shows it.
            3 => json(r#"{"value":["#),
            _ => json(r#"{"value":[]}"#),
        }),
        _ => None,
    })
    .await;
    let graph = mock.graph();
    all_pages(graph.pages(Scope::Directory, "/users", Prefer::page_size(50))).await;
    let next = mock.seen().split_off(1);
    assert_eq!(next.len(), 4);
    for seen in next {
        assert_eq!(seen.target, "/v1.0/n?$top=9");
        assert_eq!(seen.header("prefer"), Some("odata.maxpagesize=50"));
    }
    assert_eq!(graph.counters().retries, 3);
}

#[tokio::test]
async fn what_is_no_list_is_an_error() {
    for body in ["<html>login</html>", r#"{"id":"1"}"#, "[]"] {
        let mock =
            Mock::start(move |seen| seen.path().ends_with("/users").then(|| json(body))).await;
        let graph = mock.graph();
        let error = all_ids(graph.pages(Scope::Directory, "/users", Prefer::none())).await;
        assert_eq!(*error.unwrap_err().kind(), ErrorKind::Protocol, "{body}");
        assert_eq!(mock.seen().len(), 1);
    }
    let mock = Mock::start_with(|seen, base| {
        let to = format!("{base}/elsewhere");
        seen.path().ends_with("/users").then(|| with(status(302, ""), "location", &to))
    })
    .await;
    let error = mock.graph().get(&Scope::Directory, "/users", Prefer::none()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Protocol);
    assert_eq!(mock.seen().len(), 1);
}

/// A page that names itself would be read for ever.
#[tokio::test]
async fn a_page_after_itself_is_no_list() {
    let mock = Mock::start_with(|seen, base| {
        (seen.path() == "/v1.0/users").then(|| {
            let link = format!("{base}/v1.0/users?$skiptoken=x");
            json(format!(r#"{{"value":[{{"id":"1"}}],"@odata.nextLink":"{link}"}}"#))
        })
    })
    .await;
    let pages = mock.graph().pages(Scope::Directory, "/users", Prefer::none());
    let error = all(pages).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("after itself"), "{error}");
    assert_eq!(mock.seen().iter().filter(|seen| seen.path() == "/v1.0/users").count(), 2);
}
