//! Files: from a foreign host, to the last byte, of one version.

mod mock;

use axum::body::Body;
use axum::http::Response;
use graph::{Download, Error, ErrorKind, Graph};
use mock::{Count, Mock, Seen, bytes, json, refusal, status, torn, with};

type Answer = Response<Body>;

const ETAG: &str = "\"{GUID},1\"";

/// 10,000 bytes that differ by position.
fn content() -> Vec<u8> {
    (0..2_500u32).flat_map(u32::to_le_bytes).collect()
}

async fn rest(download: &mut Download) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// The first byte asked for.
fn range(seen: &Seen) -> Option<usize> {
    seen.header("range").map(|range| {
        range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
    })
}

/// What a good download host answers.
fn serve(seen: &Seen, content: &[u8], etag: &str) -> Answer {
    let whole = with(bytes(content), "etag", etag);
    let Some(start) = range(seen) else {
        return whole;
    };
    if seen.header("if-range").is_some_and(|tag| tag != etag) {
        return whole;
    }
    partial(&content[start..], start, content.len(), etag)
}

fn partial(rest: &[u8], start: usize, total: usize, etag: &str) -> Answer {
    let mut answer = with(bytes(rest), "etag", etag);
    *answer.status_mut() = axum::http::StatusCode::PARTIAL_CONTENT;
    with(answer, "content-range", &format!("bytes {start}-{}/{total}", total - 1))
}

/// A service that sends everybody to the download host `host`, each time to a new address.
async fn service(host: &Mock) -> (Mock, Graph) {
    let (to, count) = (host.url.to_string(), Count::default());
    let mock = Mock::start(move |seen| {
        seen.path().ends_with("/content").then(|| {
            let to = format!("{to}f?tempauth=secret-{}", count.next());
            with(status(302, ""), "location", &to)
        })
    })
    .await;
    let graph = mock.graph();
    (mock, graph)
}

#[tokio::test]
async fn a_redirect_is_followed_without_the_token() {
    let host = Mock::start(|seen| Some(serve(seen, &content(), ETAG))).await;
    let (mock, graph) = service(&host).await;
    let mut download = graph.open_file("b!d+1", "01/ABC").await.unwrap();
    assert!(!format!("{download:?}").contains("secret-"));
    assert_eq!((download.length, download.etag.as_deref()), (Some(10_000), Some(ETAG)));
    assert_eq!(rest(&mut download).await.unwrap(), content());
    assert_eq!(download.chunk().await.unwrap(), None);
    assert_eq!(mock.targets(), ["/v1.0/drives/b%21d%2B1/items/01%2FABC/content"]);
    assert_eq!(mock.seen()[0].header("authorization"), Some("Bearer opaque-token"));
    let [seen] = &host.seen()[..] else { panic!() };
    assert_eq!(seen.target, "/f?tempauth=secret-1");
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("range"), None);
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert!(seen.header("user-agent").unwrap().contains("tar365"));
    let counters = graph.counters();
    assert_eq!((counters.requests["download"], counters.bytes), (1, 10_000));
    assert!(!format!("{download:?}").contains("secret-"));
}

#[tokio::test]
async fn bytes_may_come_from_the_service_itself() {
    let count = Count::default();
    let mock = Mock::start(move |seen| {
        seen.path().ends_with("/content").then(|| match count.next() {
            1 => with(torn(&content()[..4_000], 10_000), "etag", ETAG),
            _ => with(bytes(&content()), "etag", ETAG),
        })
    })
    .await;
    let mut download = mock.graph().open_file("d", "i").await.unwrap();
    assert_eq!(rest(&mut download).await.unwrap(), content());
    let seen = mock.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|s| range(s).is_none() && s.header("authorization").is_some()));
}

#[tokio::test]
async fn empty_files_are_whole() {
    let host = Mock::start(|seen| Some(serve(seen, b"", ETAG))).await;
    let (_mock, graph) = service(&host).await;
    let mut download = graph.open_file("d", "i").await.unwrap();
    assert_eq!(download.length, Some(0));
    assert_eq!(download.chunk().await.unwrap(), None);
    assert_eq!(host.seen()[0].header("range"), None);
}

#[tokio::test]
async fn a_torn_body_is_resumed() {
    for etag in [ETAG, "W/\"weak\""] {
        let count = Count::default();
        let host = Mock::start(move |seen| {
            let all = content();
            Some(match count.next() {
                1 => with(torn(&all[..3_000], 10_000), "etag", etag),
                2 => with(status(503, ""), "retry-after", "0.01"),
                3 => {
                    let mut answer = with(torn(&all[3_000..5_000], 7_000), "etag", etag);
                    *answer.status_mut() = axum::http::StatusCode::PARTIAL_CONTENT;
                    with(answer, "content-range", "bytes 3000-9999/10000")
                }
                // Ignores the range: the same file from its start.
                4 => with(torn(&all[..6_000], 10_000), "etag", etag),
                _ => serve(seen, &all, etag),
            })
        })
        .await;
        let (mock, graph) = service(&host).await;
        let mut download = graph.open_file("d", "i").await.unwrap();
        assert_eq!(rest(&mut download).await.unwrap(), content());
        let seen = host.seen();
        let ranges: Vec<_> = seen.iter().map(range).collect();
        assert_eq!(ranges, [None, Some(3_000), Some(3_000), Some(5_000), Some(6_000)]);
        let strong = (!etag.starts_with("W/")).then_some(etag);
        assert!(seen[1..].iter().all(|seen| seen.header("if-range") == strong));
        assert!(seen.iter().all(|seen| seen.header("authorization").is_none()));
        assert_eq!(mock.seen().len(), 1);
        // The redirect and the request that follows it are one download, each further one another.
        let scope = graph.counters().scopes["sharepoint"];
        assert_eq!((scope.requests, scope.units, scope.throttled), (6, 5, 1));
    }
}

#[tokio::test]
async fn an_expired_address_is_replaced() {
    for code in [401, 403, 404] {
        let count = Count::default();
        let host = Mock::start(move |seen| {
            Some(match (count.next(), seen.target.as_str()) {
                (1, _) => status(code, ""),
                (2, _) => with(torn(&content()[..10], 10_000), "etag", ETAG),
                (3, _) => status(code, "<html>expired"),
                _ => serve(seen, &content(), ETAG),
            })
        })
        .await;
        let (mock, graph) = service(&host).await;
        let mut download = graph.open_file("d", "i").await.unwrap();
        assert_eq!(rest(&mut download).await.unwrap(), content());
        let targets: Vec<_> =
            host.targets().iter().map(|t| t.replace("/f?tempauth=secret-", "")).collect();
        assert_eq!(targets, ["1", "2", "2", "3"]);
        assert_eq!(range(&host.seen()[3]), Some(10));
        assert_eq!(mock.seen().len(), 3);
    }
}

#[tokio::test]
async fn a_host_that_refuses_every_address_is_believed() {
    for (code, kind) in [(403, ErrorKind::Permission), (404, ErrorKind::ItemGone)] {
        let host = Mock::start(move |_| Some(status(code, ""))).await;
        let (mock, graph) = service(&host).await;
        let error = graph.open_file("d", "i").await.unwrap_err();
        assert_eq!(*error.kind(), kind);
        assert_eq!((mock.seen().len(), host.seen().len()), (6, 6));
        assert!(!format!("{error} {error:?}").contains("secret-"), "{error:?}");
        assert_eq!(error.url(), Some(format!("{}…", host.url).as_str()));
    }
}

#[tokio::test]
async fn two_versions_are_never_mixed() {
    type Change = fn(&Seen) -> Answer;
    let changes: [(&str, Change); 6] = [
        ("whole, by If-Range", |seen| serve(seen, &content(), "\"{GUID},2\"")),
        ("rest of another tag", |_| partial(&content()[100..], 100, 10_000, "\"{GUID},2\"")),
        ("rest of another length", |_| partial(&content()[100..], 100, 12_000, ETAG)),
        ("whole of another length", |_| with(bytes(&content()[..5_000]), "etag", ETAG)),
        ("shorter", |_| with(status(416, ""), "content-range", "bytes */50")),
        ("whole of another tag", |_| with(bytes(&content()), "etag", "\"x\"")),
    ];
    for (name, change) in changes {
        let count = Count::default();
        let host = Mock::start(move |seen| {
            Some(match count.next() {
                1 => with(torn(&content()[..100], 10_000), "etag", ETAG),
                _ => change(seen),
            })
        })
        .await;
        let (_mock, graph) = service(&host).await;
        let mut download = graph.open_file("d", "i").await.unwrap();
        let mut got = 0;
        let error = loop {
            match download.chunk().await {
                Ok(Some(chunk)) => got += chunk.len(),
                Ok(None) => panic!("{name}"),
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), got), (&ErrorKind::Changed, 100), "{name}");
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn a_wrong_range_is_no_rest() {
    let count = Count::default();
    let host = Mock::start(move |_| {
        Some(match count.next() {
            1 => with(torn(&content()[..100], 10_000), "etag", ETAG),
            _ => partial(&content()[90..], 90, 10_000, ETAG),
        })
    })
    .await;
    let (_mock, graph) = service(&host).await;
    let mut download = graph.open_file("d", "i").await.unwrap();
    assert_eq!(*rest(&mut download).await.unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_host_that_always_breaks_off_is_given_up() {
    let host = Mock::start(move |seen| {
        Some(match range(seen) {
            None => with(torn(&content()[..100], 10_000), "etag", ETAG),
            Some(_) => {
                let mut answer = with(torn(b"", 9_900), "etag", ETAG);
                *answer.status_mut() = axum::http::StatusCode::PARTIAL_CONTENT;
                with(answer, "content-range", "bytes 100-9999/10000")
            }
        })
    })
    .await;
    let (_mock, graph) = service(&host).await;
    let mut download = graph.open_file("d", "i").await.unwrap();
    let error = rest(&mut download).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Interrupted);
    assert_eq!(host.seen().len(), 8);
}

#[tokio::test]
async fn a_version_is_read_from_an_offset() {
    for ignores_range in [false, true] {
        let host = Mock::start(move |seen| {
            Some(match ignores_range {
                true => with(bytes(&content()), "etag", ETAG),
                false => serve(seen, &content(), ETAG),
            })
        })
        .await;
        let (mock, graph) = service(&host).await;
        let mut download = graph.open_version("d", "i", "2.0", 6_000).await.unwrap();
        assert_eq!(download.length, Some(10_000));
        assert_eq!(rest(&mut download).await.unwrap(), content()[6_000..]);
        assert_eq!(mock.targets(), ["/v1.0/drives/d/items/i/versions/2.0/content"]);
        assert_eq!(range(&host.seen()[0]), Some(6_000));
        // The end of the file is no error, what is behind it is.
        let host =
            Mock::start(|_| Some(with(status(416, ""), "content-range", "bytes */10000"))).await;
        let (_mock, graph) = service(&host).await;
        let mut download = graph.open_version("d", "i", "2.0", 10_000).await.unwrap();
        assert_eq!(download.chunk().await.unwrap(), None);
        let error = graph.open_version("d", "i", "2.0", 10_001).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Changed);
    }
}

#[tokio::test]
async fn reasons_are_kept() {
    let answers: [(fn() -> Answer, ErrorKind); 6] = [
        (|| refusal(403, "malwareDetected"), ErrorKind::Malware),
        (|| refusal(404, "virusSuspicious"), ErrorKind::Malware),
        (|| with(status(403, ""), "x-virus-infected", "EICAR"), ErrorKind::Malware),
        (|| with(status(200, "x"), "x-virus-infected", "EICAR"), ErrorKind::Malware),
        (|| refusal(403, "accessRestricted"), ErrorKind::Locked),
        (|| refusal(423, "resourceLocked"), ErrorKind::Locked),
    ];
    for (answer, kind) in answers {
        let host = Mock::start(move |_| Some(answer())).await;
        let (_mock, graph) = service(&host).await;
        let error = graph.open_file("d", "i").await.unwrap_err();
        assert_eq!(*error.kind(), kind);
        assert_eq!(host.seen().len(), 1);
        let mock = Mock::start(move |seen| seen.path().ends_with("/content").then(answer)).await;
        let error = mock.graph().open_file("d", "i").await.unwrap_err();
        assert_eq!(*error.kind(), kind);
        assert_eq!(mock.seen().len(), 1);
    }
    let mock =
        Mock::start(|seen| seen.path().ends_with("/content").then(|| refusal(404, "itemNotFound")))
            .await;
    let error = mock.graph().open_file("d", "i").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ItemGone);
}

#[tokio::test]
async fn packed_bytes_are_not_the_file() {
    let host = Mock::start(|_| Some(with(bytes(b"packed"), "content-encoding", "gzip"))).await;
    let (_mock, graph) = service(&host).await;
    let error = graph.open_file("d", "i").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_file_of_unknown_length_ends_where_it_ends() {
    let host = Mock::start(|_| {
        let parts = [Ok::<_, std::io::Error>("one "), Ok("two")];
        Some(Response::new(Body::from_stream(futures::stream::iter(parts))))
    })
    .await;
    let (_mock, graph) = service(&host).await;
    let mut download = graph.open_file("d", "i").await.unwrap();
    assert_eq!((download.length, download.etag.as_deref()), (None, None));
    assert_eq!(rest(&mut download).await.unwrap(), b"one two");
}

#[tokio::test]
async fn redirects_lead_to_http_servers_only() {
    for to in ["file:///etc/passwd", "ftp://x/y", "javascript:1"] {
        let mock = Mock::start(move |seen| {
            seen.path().ends_with("/content").then(|| with(status(302, ""), "location", to))
        })
        .await;
        let error = mock.graph().open_file("d", "i").await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Protocol, "{to}");
    }
    let mock = Mock::start(|seen| (seen.path().ends_with("/content")).then(|| json("{}"))).await;
    let mut download = mock.graph().open_file("d", "i").await.unwrap();
    assert_eq!(rest(&mut download).await.unwrap(), b"{}");
}
