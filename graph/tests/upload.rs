//! Uploads: every byte once, in both dialects, whatever happens on the way.

mod mock;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use graph::{Error, ErrorKind, Graph, Scope, Source, Upload, Uploaded};
use mock::{Count, Mock, Seen, json, refusal, reset, status, torn, with};
use serde_json::{Value, json as value};

type Answer = Response<Body>;

const SESSION: &str = "/drives/d/items/p:/a.bin:/createUploadSession";
const CHUNK: usize = 100;
const TOTAL: usize = 250;

/// 250 letters that differ by position.
fn content() -> String {
    (0..TOTAL).map(|n| char::from(b'a' + (n * 7 % 26) as u8)).collect()
}

/// What is read of it, and what may go wrong with it.
#[derive(Default)]
struct Letters {
    reads: Vec<(u64, usize)>,
    finished: usize,
    breaks_at: Option<u64>,
    is_wrong: bool,
    only_forward: bool,
    short: bool,
}

impl Source for Letters {
    fn read(&mut self, offset: u64, length: usize) -> BoxFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            let at = self.reads.last().map_or(0, |(offset, length)| offset + *length as u64);
            if self.only_forward && offset < at {
                return Err(io::ErrorKind::NotSeekable.into());
            }
            self.reads.push((offset, length));
            if self.breaks_at == Some(offset) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let length = if self.short { length - 1 } else { length };
            let start = offset as usize;
            Ok(content().as_bytes()[start..start + length].to_vec().into())
        })
    }

    fn finish(&mut self) -> io::Result<()> {
        self.finished += 1;
        if self.is_wrong { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
    }
}

/// A good host's session: takes what comes in order.
#[derive(Clone, Default)]
struct Host(Arc<Mutex<String>>);

impl Host {
    fn has(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn forget(&self, from: usize) {
        self.0.lock().unwrap().truncate(from);
    }

    /// Stores the part, or refuses it as out of place.
    fn store(&self, seen: &Seen) -> Answer {
        let mut has = self.0.lock().unwrap();
        let range = seen.header("content-range").unwrap();
        let (span, total) = range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
        let (start, end) = span.split_once('-').unwrap();
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
        assert_eq!((total, end + 1 - start), ("250", seen.body.len()));
        if start != has.len() {
            return refusal(416, "invalidRange");
        }
        has.push_str(&seen.body);
        if has.len() == TOTAL {
            return status(201, r#"{"id":"item","name":"a.bin"}"#);
        }
        status(202, &format!(r#"{{"nextExpectedRanges":["{}-"]}}"#, has.len()))
    }

    fn status(&self) -> Answer {
        match self.0.lock().unwrap().len() {
            TOTAL => refusal(404, "itemNotFound"),
            at => json(format!(r#"{{"nextExpectedRanges":["{at}-{}"]}}"#, TOTAL - 1)),
        }
    }
}

/// `session` answers all but the opening of sessions, or leaves it to a good host. It gets the
/// request, its number, and the host.
async fn service(
    session: impl Fn(&Seen, usize, &Host) -> Option<Answer> + Send + Sync + 'static,
) -> (Mock, Host) {
    let (count, opened, host) = (Count::default(), Count::default(), Host::default());
    let good = host.clone();
    let mock = Mock::start_with(move |seen, base| {
        if seen.path().contains("/oauth2/") {
            return None;
        }
        if seen.path().ends_with("createUploadSession") {
            good.forget(0);
            let n = opened.next();
            return Some(json(format!(r#"{{"uploadUrl":"{base}/p-secret/{n}?sig=q-secret"}}"#)));
        }
        let answer = session(seen, count.next(), &good);
        Some(answer.unwrap_or_else(|| match seen.method.as_str() {
            "PUT" => good.store(seen),
            "GET" => good.status(),
            _ => status(204, ""),
        }))
    })
    .await;
    (mock, host)
}

fn upload(scope: Scope) -> Upload {
    Upload {
        scope,
        path: SESSION.into(),
        body: value!({"item": {"name": "a.bin"}}),
        total: TOTAL as u64,
        chunk: CHUNK as u64,
        resource: false,
    }
}

/// What came of an upload to a drive, and how often the item was looked for.
async fn send(
    graph: &Graph,
    source: &mut Letters,
    there: Option<Value>,
) -> (Result<Uploaded, Error>, usize) {
    let looked = Count::default();
    let upload = upload(Scope::SharePoint);
    let sent = graph.upload(&upload, source, || {
        looked.next();
        let there = there.clone();
        async move { Ok(there) }
    });
    (sent.await, looked.get())
}

/// The requests to the host: method, session and what of the content.
fn steps(mock: &Mock) -> Vec<String> {
    let seen = mock.seen();
    let host = seen.iter().filter(|seen| seen.path().starts_with("/p-secret/"));
    host.map(|seen| {
        let range = seen.header("content-range").unwrap_or_default();
        let range = range.strip_prefix("bytes ").and_then(|r| r.strip_suffix("/250"));
        let session = seen.path().strip_prefix("/p-secret/").unwrap();
        format!("{session} {} {}", seen.method, range.unwrap_or_default()).trim().to_owned()
    })
    .collect()
}

const WHOLE: [&str; 3] = ["1 PUT 0-99", "1 PUT 100-199", "1 PUT 200-249"];

#[tokio::test]
async fn a_drive_gets_every_byte_in_order_without_the_token() {
    let (mock, host) = service(|_, _, _| None).await;
    let (graph, mut source) = (mock.graph(), Letters::default());
    let (sent, looked) = send(&graph, &mut source, None).await;
    let uploaded = sent.unwrap();
    assert_eq!((uploaded.item["id"].as_str(), uploaded.location), (Some("item"), None));
    assert_eq!((host.has(), looked, source.finished), (content(), 0, 1));
    assert_eq!(source.reads, [(0, 100), (100, 100), (200, 50)]);
    assert_eq!(steps(&mock), WHOLE);
    let seen = mock.seen();
    assert_eq!(seen[0].target, format!("/v1.0{SESSION}"));
    assert_eq!(seen[0].body, r#"{"item":{"name":"a.bin"}}"#);
    assert_eq!(seen[0].header("authorization"), Some("Bearer opaque-token"));
    for put in &seen[1..] {
        assert_eq!(put.header("authorization"), None);
        assert_eq!(put.header("content-type"), Some("application/octet-stream"));
        assert_eq!(put.header("content-length"), Some(&*put.body.len().to_string()));
    }
    let counters = graph.counters();
    assert_eq!((counters.writes, counters.uploaded), (4, 250 + 25));
    assert_eq!((counters.requests["upload"], counters.requests["sharepoint"]), (3, 1));
}

/// The other dialect: capital letters, 200 for parts, no GET, an empty 201 with a `Location`.
fn outlook(seen: &Seen, host: &Host) -> Answer {
    if seen.method != "PUT" {
        return status(405, "");
    }
    let answer = host.store(seen);
    let place = "https://outlook.example/a('1')?token=q-secret";
    match (answer.status().as_u16(), host.has().len()) {
        (201, _) => with(status(201, ""), "location", place),
        (202, at) => json(format!(
            r#"{{"ExpirationDateTime":"2026-01-01T00:00:00Z","NextExpectedRanges":["{at}"]}}"#
        )),
        (_, at) => status(416, &format!(r#"{{"NextExpectedRanges":["{at}-"]}}"#)),
    }
}

async fn attach(graph: &Graph, there: Option<Value>) -> Result<Uploaded, Error> {
    let upload = upload(Scope::Mailbox("u".into()));
    let found = || {
        let there = there.clone();
        async move { Ok(there) }
    };
    graph.upload(&upload, &mut Letters::default(), found).await
}

#[tokio::test]
async fn a_mailbox_speaks_another_dialect() {
    let (mock, host) = service(|seen, _, host| Some(outlook(seen, host))).await;
    let uploaded = attach(&mock.graph(), None).await.unwrap();
    assert_eq!(uploaded.item, Value::Null);
    assert!(uploaded.location.as_ref().unwrap().starts_with("https://outlook.example/a('1')"));
    assert!(!format!("{uploaded:?}").contains("q-secret"));
    assert_eq!((host.has(), steps(&mock)), (content(), WHOLE.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn a_mailbox_that_does_not_know_its_status_gets_the_part_again() {
    for stored in [true, false] {
        for unknown in [404, 405] {
            let (mock, host) = service(move |seen, n, host| {
                Some(match n {
                    2 => {
                        if stored {
                            outlook(seen, host);
                        }
                        status(500, "")
                    }
                    _ if seen.method == "GET" => status(unknown, ""),
                    _ => outlook(seen, host),
                })
            })
            .await;
            attach(&mock.graph(), None).await.unwrap();
            assert_eq!(host.has(), content());
            let expected: &[&str] = match stored {
                // Refused as there already: it says itself where to go on.
                true => &[
                    "1 PUT 0-99",
                    "1 PUT 100-199",
                    "1 GET",
                    "1 PUT 100-199",
                    "1 GET",
                    "1 PUT 200-249",
                ],
                false => {
                    &["1 PUT 0-99", "1 PUT 100-199", "1 GET", "1 PUT 100-199", "1 PUT 200-249"]
                }
            };
            assert_eq!(steps(&mock), expected);
        }
    }
}

#[tokio::test]
async fn a_range_that_is_there_already_is_there_already() {
    // Neither the status nor the refusal says where to go on.
    let (mock, host) = service(|seen, n, host| {
        Some(match (seen.method.as_str(), n) {
            (_, 1) => {
                host.store(seen);
                reset()
            }
            ("GET", _) => status(405, ""),
            _ => match outlook(seen, host) {
                answer if answer.status() == 416 => status(416, ""),
                answer => answer,
            },
        })
    })
    .await;
    attach(&mock.graph(), None).await.unwrap();
    assert_eq!(host.has(), content());
}

#[tokio::test]
async fn a_broken_part_goes_on_where_the_host_says() {
    let broken: [fn() -> Answer; 5] = [
        reset,
        || torn(b"{", 100),
        || status(500, ""),
        || status(504, ""),
        || with(status(503, ""), "retry-after", "0"),
    ];
    for answer in broken {
        for kept in [100, 160, 200] {
            let (mock, host) = service(move |seen, n, host| {
                (n == 2).then(|| {
                    host.store(seen);
                    host.forget(kept);
                    answer()
                })
            })
            .await;
            let (sent, looked) = send(&mock.graph(), &mut Letters::default(), None).await;
            assert_eq!(sent.unwrap().item["id"], "item");
            assert_eq!((host.has(), looked), (content(), 0));
            let rest = format!("1 PUT {kept}-199");
            let mut expected = vec!["1 PUT 0-99", "1 PUT 100-199", "1 GET"];
            expected.extend((kept < 200).then_some(rest.as_str()));
            expected.push("1 PUT 200-249");
            assert_eq!(steps(&mock), expected);
        }
    }
}

#[tokio::test]
async fn a_silent_host_is_asked_too() {
    let (mock, host) =
        service(|seen, n, host| (n == 1).then(|| with(host.store(seen), "x-delay-ms", "2000")))
            .await;
    let mut config = mock.config();
    config.read_timeout = Duration::from_millis(200);
    let graph = Graph::new(config, mock::secret()).unwrap();
    send(&graph, &mut Letters::default(), None).await.0.unwrap();
    assert_eq!(host.has(), content());
    assert_eq!(steps(&mock), ["1 PUT 0-99", "1 GET", "1 PUT 100-199", "1 PUT 200-249"]);
}

#[tokio::test]
async fn a_throttled_part_is_sent_again_without_asking() {
    let (mock, host) = service(|_, n, _| {
        (n == 2).then(|| with(refusal(429, "activityLimitReached"), "retry-after", "0.5"))
    })
    .await;
    let graph = mock.graph();
    send(&graph, &mut Letters::default(), None).await.0.unwrap();
    assert_eq!(host.has(), content());
    assert_eq!(steps(&mock), ["1 PUT 0-99", "1 PUT 100-199", "1 PUT 100-199", "1 PUT 200-249"]);
    let seen = mock.seen();
    assert!(seen[3].at - seen[2].at >= Duration::from_millis(500));
    assert_eq!((graph.counters().throttled, graph.counters().retries), (1, 1));
}

#[tokio::test]
async fn a_host_that_forgot_a_part_gets_it_again() {
    for answer in [416, 400] {
        let forgetful = move |_: &Seen, n: usize, host: &Host| {
            (n == 3).then(|| {
                host.forget(50);
                refusal(answer, "fragmentOutOfOrder")
            })
        };
        let (mock, host) = service(forgetful).await;
        send(&mock.graph(), &mut Letters::default(), None).await.0.unwrap();
        assert_eq!(host.has(), content());
        let again = ["1 PUT 50-99", "1 PUT 100-199", "1 PUT 200-249"];
        assert_eq!(steps(&mock)[4..], again);

        let (mock, _) = service(forgetful).await;
        let mut source = Letters { only_forward: true, ..Letters::default() };
        let error = send(&mock.graph(), &mut source, None).await.0.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::UploadSessionLost);
        assert_eq!(steps(&mock).last().unwrap(), "1 DELETE");
    }
}

#[tokio::test]
async fn a_host_that_forgets_again_and_again_is_given_up() {
    let (mock, _) = service(|seen, _, host| {
        let second = seen.header("content-range") == Some("bytes 100-199/250");
        second.then(|| {
            host.forget(0);
            refusal(416, "invalidRange")
        })
    })
    .await;
    let error = send(&mock.graph(), &mut Letters::default(), None).await.0.unwrap_err();
    assert_eq!((error.kind(), error.status()), (&ErrorKind::Server, Some(416)));
    assert_eq!(steps(&mock).iter().filter(|step| step.ends_with("PUT 0-99")).count(), 5);
    assert_eq!(steps(&mock).last().unwrap(), "1 DELETE");
}

#[tokio::test]
async fn a_status_that_is_throttled_pauses_too() {
    let (mock, host) = service(|seen, n, _| match (seen.method.as_str(), n) {
        ("PUT", 1) => Some(status(504, "")),
        ("GET", _) => Some(with(status(503, ""), "retry-after", "0.5")),
        _ => None,
    })
    .await;
    send(&mock.graph(), &mut Letters::default(), None).await.0.unwrap();
    assert_eq!(host.has(), content());
    assert_eq!(steps(&mock)[..3], ["1 PUT 0-99", "1 GET", "1 PUT 0-99"]);
    let seen = mock.seen();
    assert!(seen[3].at - seen[2].at >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_lost_session_is_started_anew() {
    for lost in [404, 410, 401] {
        let (mock, host) = service(move |_, n, _| (n == 2).then(|| status(lost, ""))).await;
        let mut source = Letters::default();
        let (sent, looked) = send(&mock.graph(), &mut source, None).await;
        assert_eq!(sent.unwrap().item["id"], "item");
        assert_eq!((host.has(), looked), (content(), 0));
        let expected =
            ["1 PUT 0-99", "1 PUT 100-199", "2 PUT 0-99", "2 PUT 100-199", "2 PUT 200-249"];
        assert_eq!(steps(&mock), expected);

        let (mock, _) = service(move |_, n, _| (n == 2).then(|| status(lost, ""))).await;
        let mut source = Letters { only_forward: true, ..Letters::default() };
        let error = send(&mock.graph(), &mut source, None).await.0.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::UploadSessionLost);
        assert_eq!(steps(&mock).last().unwrap(), "2 DELETE");
    }
}

#[tokio::test]
async fn sessions_that_are_always_lost_are_given_up() {
    let (mock, _) = service(|seen, _, _| (seen.method == "PUT").then(|| status(404, ""))).await;
    let (sent, looked) = send(&mock.graph(), &mut Letters::default(), None).await;
    let error = sent.unwrap_err();
    assert_eq!((error.kind(), error.status()), (&ErrorKind::UploadSessionLost, Some(404)));
    assert_eq!(steps(&mock), ["1 PUT 0-99", "2 PUT 0-99", "3 PUT 0-99", "4 PUT 0-99"]);
    assert_eq!(looked, 0);
}

#[tokio::test]
async fn a_lost_last_answer_is_looked_for() {
    let lost: [fn() -> Answer; 5] = [
        reset,
        || torn(b"{", 100),
        || status(201, r#"{"id":"#),
        || status(504, ""),
        || with(status(503, ""), "retry-after", "0"),
    ];
    for answer in lost {
        let stored = move |seen: &Seen, n: usize, host: &Host| {
            (n == 3).then(|| {
                host.store(seen);
                answer()
            })
        };
        let (mock, host) = service(stored).await;
        let there = Some(value!({"id": "found"}));
        let (sent, looked) = send(&mock.graph(), &mut Letters::default(), there).await;
        assert_eq!(sent.unwrap().item["id"], "found");
        assert_eq!((host.has(), looked), (content(), 1));
        assert_eq!(steps(&mock), ["1 PUT 0-99", "1 PUT 100-199", "1 PUT 200-249", "1 GET"]);

        // Not there: only then once more.
        let (mock, host) = service(stored).await;
        let mut source = Letters::default();
        let (sent, looked) = send(&mock.graph(), &mut source, None).await;
        assert_eq!(sent.unwrap().item["id"], "item");
        assert_eq!((host.has(), looked, source.finished), (content(), 1, 2));
        assert_eq!(steps(&mock)[4..], ["2 PUT 0-99", "2 PUT 100-199", "2 PUT 200-249"]);
    }
}

#[tokio::test]
async fn a_mailboxs_lost_last_answer_is_looked_for() {
    let (mock, _) = service(|seen, n, host| {
        Some(match (n, host.has().len()) {
            (3, _) => {
                host.store(seen);
                reset()
            }
            (_, TOTAL) => status(404, ""),
            _ => outlook(seen, host),
        })
    })
    .await;
    let uploaded = attach(&mock.graph(), Some(value!({"id": "found"}))).await.unwrap();
    assert_eq!(uploaded.item["id"], "found");
    assert_eq!(steps(&mock)[2..], ["1 PUT 200-249", "1 GET", "1 PUT 200-249"]);
}

#[tokio::test]
async fn our_own_file_in_the_way_of_a_new_session_is_found() {
    let opened = Count::default();
    let mock = Mock::start_with(move |seen, base| {
        if seen.path().contains("/oauth2/") {
            return None;
        }
        Some(match (seen.method.as_str(), seen.header("content-range")) {
            ("POST", _) if opened.next() == 1 => json(format!(r#"{{"uploadUrl":"{base}/s"}}"#)),
            ("POST", _) => refusal(409, "nameAlreadyExists"),
            ("PUT", Some("bytes 200-249/250")) => reset(),
            ("PUT", _) => status(202, "{}"),
            _ => status(404, ""),
        })
    })
    .await;
    // The item shows up late.
    let looked = Count::default();
    let upload = upload(Scope::SharePoint);
    let graph = mock.graph();
    let mut source = Letters::default();
    let sent = graph.upload(&upload, &mut source, || {
        let there = (looked.next() == 2).then(|| value!({"id": "found"}));
        async move { Ok(there) }
    });
    assert_eq!(sent.await.unwrap().item["id"], "found");
}

#[tokio::test]
async fn a_failing_source_never_sends_the_last_part() {
    let sources = [
        Letters { breaks_at: Some(200), ..Letters::default() },
        Letters { is_wrong: true, ..Letters::default() },
    ];
    for mut source in sources {
        let (mock, host) = service(|_, _, _| None).await;
        let (sent, looked) = send(&mock.graph(), &mut source, None).await;
        let error = sent.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Source);
        let cause = std::error::Error::source(&error).unwrap();
        let cause = cause.downcast_ref::<io::Error>().unwrap();
        assert_eq!(cause.kind(), io::ErrorKind::InvalidData);
        assert_eq!((host.has().len(), looked), (200, 0));
        assert_eq!(steps(&mock), ["1 PUT 0-99", "1 PUT 100-199", "1 DELETE"]);
    }
    let (mock, _) = service(|_, _, _| None).await;
    let mut short = Letters { short: true, ..Letters::default() };
    let error = send(&mock.graph(), &mut short, None).await.0.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Source);
    assert_eq!(steps(&mock), ["1 DELETE"]);
}

#[tokio::test]
async fn refusals_end_the_upload_and_its_session() {
    use ErrorKind::*;
    for (code, name, kind) in [
        (409, "nameAlreadyExists", Conflict),
        (412, "", PreconditionFailed),
        (413, "", TooLarge),
        (507, "quotaLimitReached", Quota),
        (403, "ErrorQuotaExceeded", Quota),
        (400, "ErrorInvalid", Invalid),
        (403, "accessDenied", Permission),
        (302, "", Protocol),
    ] {
        let (mock, _) = service(move |_, n, _| {
            let answer = with(refusal(code, name), "location", "/elsewhere");
            (n == 3).then_some(answer)
        })
        .await;
        let there = Some(value!({"id": "of somebody else"}));
        let (sent, looked) = send(&mock.graph(), &mut Letters::default(), there).await;
        let error = sent.unwrap_err();
        assert_eq!((error.kind(), error.status()), (&kind, Some(code)), "{code} {name}");
        assert_eq!(looked, 0);
        assert_eq!(steps(&mock)[3..], ["1 DELETE"], "{code} {name}");
        assert!(!mock.targets().contains(&"/elsewhere".to_owned()));
    }
}

#[tokio::test]
async fn the_address_is_never_shown() {
    let echo = |code: u16| {
        move |seen: &Seen, _: usize, _: &Host| {
            let words = format!("no http://host{} nor {} here", seen.target, seen.path());
            Some(status(code, &format!(r#"{{"error":{{"code":"x","message":"{words}"}}}}"#)))
        }
    };
    for code in [400, 404, 409, 500, 302] {
        let (mock, _) = service(echo(code)).await;
        let error = send(&mock.graph(), &mut Letters::default(), None).await.0.unwrap_err();
        let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("no … nor … here"), "{shown}");
    }
    let (mock, _) = service(|_, _, _| Some(reset())).await;
    let error = send(&mock.graph(), &mut Letters::default(), None).await.0.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Interrupted);
    assert_eq!(error.url(), Some(format!("{}…", mock.url).as_str()));
    let shown = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_session_needs_a_safe_address() {
    for address in [r#""ftp://x/p-secret""#, r#""p-secret""#, "null"] {
        let mock = Mock::start(move |seen| {
            let answer = || json(format!(r#"{{"uploadUrl":{address}}}"#));
            (!seen.path().contains("/oauth2/")).then(answer)
        })
        .await;
        let error = send(&mock.graph(), &mut Letters::default(), None).await.0.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Protocol);
        assert!(!format!("{error} {error:?}").contains("secret"));
        assert_eq!(mock.seen().len(), 1);
    }
}

#[tokio::test]
async fn nothing_has_no_session() {
    let (mock, _) = service(|_, _, _| None).await;
    let empty = Upload { total: 0, ..upload(Scope::SharePoint) };
    let graph = mock.graph();
    let mut source = Letters::default();
    let sent = graph.upload(&empty, &mut source, || async { Ok(None) }).await;
    assert_eq!(*sent.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(mock.seen().len(), 0);
}

#[tokio::test]
async fn parts_of_attachments_count_as_written_to_the_mailbox() {
    let (mock, _) = service(|seen, _, host| Some(outlook(seen, host))).await;
    let mut config = mock.config();
    // The session's body and two parts of 100 bytes, but not the third.
    config.budgets = vec!["mailbox-upload=250/600".parse().unwrap()];
    let graph = Graph::new(config, mock::secret()).unwrap();
    let sent = tokio::time::timeout(Duration::from_millis(500), attach(&graph, None)).await;
    assert!(sent.is_err());
    assert_eq!(steps(&mock), WHOLE[..2]);
}

#[tokio::test]
async fn parts_wait_for_a_connection_of_the_mailbox() {
    let (mock, _) = service(|seen, _, host| {
        (seen.method != "GET").then(|| with(outlook(seen, host), "x-delay-ms", "20"))
    })
    .await;
    let mut config = mock.config();
    config.mailbox_connections = 1;
    let graph = Graph::new(config, mock::secret()).unwrap();
    graph.sign_in().await.unwrap();
    let scope = Scope::Mailbox("u".into());
    let reads = futures::future::join_all(
        (0..20).map(|_| graph.get(&scope, "/users/u/messages/m", graph::Prefer::none())),
    );
    let (sent, _) = tokio::join!(attach(&graph, None), reads);
    sent.unwrap();
    assert_eq!(mock.busiest.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn uploads_can_be_spawned() {
    let (mock, _) = service(|_, _, _| None).await;
    let graph = mock.graph();
    let sent = tokio::spawn(async move {
        let mut source = Letters::default();
        send(&graph, &mut source, None).await.0
    });
    assert_eq!(sent.await.unwrap().unwrap().item["id"], "item");
}
