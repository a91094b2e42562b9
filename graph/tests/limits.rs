//! Pauses, budgets, connections, retries: counted at the service.

mod mock;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Response;
use futures::StreamExt as _;
use futures::future::join_all;
use graph::{Budget, Cloud, ErrorKind, Graph, Pace, Prefer, Scope};
use mock::{Count, Mock, Seen, json, refusal, status, with};

fn mailbox(user: &str) -> Scope {
    Scope::Mailbox(user.into())
}

async fn get(graph: &Graph, scope: &Scope, path: &str) -> Result<serde_json::Value, graph::Error> {
    graph.get(scope, path, Prefer::none()).await
}

fn is_token(seen: &Seen) -> bool {
    seen.path().contains("/oauth2/")
}

fn ok(seen: &Seen) -> Option<Response<Body>> {
    (!is_token(seen)).then(|| json("{}"))
}

#[tokio::test]
async fn a_pause_stops_its_scope_and_no_other() {
    for pace in [Pace::Documented, Pace::Adaptive, Pace::None] {
        let count = Count::default();
        let mock = Mock::start(move |seen| match seen.path() {
            "/v1.0/users/a/x" if count.next() == 1 => {
                Some(with(refusal(429, "ApplicationThrottled"), "retry-after", "3.1"))
            }
            _ => ok(seen),
        })
        .await;
        let mut config = mock.config();
        config.pace = pace;
        let graph = Graph::new(config, mock::secret()).unwrap();
        graph.sign_in().await.unwrap();
        let (a, b) = (mailbox("a"), mailbox("b"));
        let first = get(&graph, &a, "/users/a/x");
        let others = async {
            while graph.counters().throttled == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let busy = join_all((0..30).map(|_| get(&graph, &a, "/users/a/x")));
            let free = join_all((0..30).map(|_| get(&graph, &b, "/users/b/x")));
            let sharepoint = join_all((0..9).map(|_| get(&graph, &Scope::SharePoint, "/sites/s")));
            let (busy, free, sharepoint) = tokio::join!(busy, free, sharepoint);
            assert!(busy.iter().chain(&free).chain(&sharepoint).all(Result::is_ok));
        };
        let (first, ()) = tokio::join!(first, others);
        first.unwrap();

        let seen = mock.seen();
        let refused = seen.iter().find(|seen| seen.path() == "/v1.0/users/a/x").unwrap().at;
        let in_pause = |path: &str| {
            let pause = refused + Duration::from_millis(5)..refused + Duration::from_millis(3090);
            seen.iter().filter(|s| s.path() == path && pause.contains(&s.at)).count()
        };
        assert_eq!(in_pause("/v1.0/users/a/x"), 0, "{pace:?}");
        assert_eq!(in_pause("/v1.0/users/b/x"), 30);
        assert_eq!(in_pause("/v1.0/sites/s"), 9);
        assert_eq!(seen.len(), 1 + 31 + 30 + 9);
        let counters = graph.counters();
        assert_eq!((counters.throttled, counters.retries), (1, 1));
        assert!(counters.waited > Duration::from_millis(3000));
        assert_eq!((counters.requests["mailbox"], counters.requests["sharepoint"]), (62, 9));
    }
}

#[tokio::test]
async fn the_longer_of_two_waits_holds() {
    let count = Count::default();
    let mock = Mock::start(move |seen| match count.next() {
        2 => {
            let answer = with(status(503, ""), "retry-after", "0.05");
            Some(with(with(answer, "ratelimit-remaining", "0"), "ratelimit-reset", "1"))
        }
        _ => ok(seen),
    })
    .await;
    let graph = mock.graph();
    get(&graph, &Scope::SharePoint, "/sites/s").await.unwrap();
    let seen = mock.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));
}

#[tokio::test]
async fn throttling_has_no_number_of_tries() {
    let count = Count::default();
    let mock = Mock::start(move |seen| {
        if is_token(seen) {
            return None;
        }
        Some(match count.next() {
            n @ 1..=20 => {
                with(refusal(429, "TooManyRequests"), "retry-after", ["0", "0.01"][n % 2])
            }
            21 => refusal(429, "TooManyRequests"),
            22 => status(503, ""),
            23 => refusal(500, "ErrorServerBusy"),
            24 => refusal(400, "activityLimitReached"),
            25 => refusal(409, "ErrorMailboxStoreUnavailable"),
            26 => with(status(503, ""), "retry-after", "soon"),
            // Too many bytes (FACTS 2.1).
            27 => with(status(509, ""), "retry-after", "0.01"),
            _ => json("{}"),
        })
    })
    .await;
    let graph = mock.graph();
    get(&graph, &mailbox("u"), "/users/u/x").await.unwrap();
    assert_eq!(mock.seen().len(), 28);
    assert_eq!(graph.counters().retries, 27);
}

/// What is "unavailable" while others of its scope are answered fails alone, whatever it is.
#[tokio::test]
async fn an_address_that_is_out_is_not_its_scope() {
    for (scope, path) in [
        (mailbox("u"), "/users/u/mailFolders/f/messages/delta"),
        (mailbox("u"), "/users/u/events/e/attachments"),
        (Scope::SharePoint, "/drives/d/root/delta"),
        (Scope::Directory, "/users/u/manager"),
    ] {
        let mock = Mock::start(move |seen| match seen.path().strip_prefix("/v1.0") {
            Some(asked) if asked == path => Some(with(status(503, ""), "retry-after", "0.02")),
            _ => ok(seen),
        })
        .await;
        let mut config = mock.config();
        config.patience = Duration::from_millis(300);
        let graph = Graph::new(config, mock::secret()).unwrap();
        let error = get(&graph, &scope, path).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Server, "{path}");
        assert!(error.retries() >= 5);
        get(&graph, &scope, "/users/u/other").await.unwrap();
    }
}

/// A failure says how long it lasts, too: nobody asks again meanwhile.
#[tokio::test]
async fn the_wait_of_a_failure_holds() {
    for code in [500, 502, 504] {
        let count = Count::default();
        let mock = Mock::start(move |seen| match count.next() {
            2 => Some(with(status(code, ""), "retry-after", "0.4")),
            _ => ok(seen),
        })
        .await;
        get(&mock.graph(), &mailbox("u"), "/users/u/x").await.unwrap();
        let seen = mock.seen();
        let asked: Vec<_> = seen.iter().filter(|seen| seen.path() == "/v1.0/users/u/x").collect();
        assert_eq!(asked.len(), 2);
        assert!(asked[1].at - asked[0].at >= Duration::from_millis(400), "{code}");
    }
}

#[tokio::test]
async fn patience_ends() {
    for is_out in [false, true] {
        let mock = Mock::start(move |seen| match seen.path() {
            "/v1.0/users/long/x" => Some(with(status(429, ""), "retry-after", "7200")),
            "/v1.0/users/often/x" => Some(with(status(429, ""), "retry-after", "0.02")),
            // The directory: if it does not answer either, the service is out and no mailbox is.
            "/v1.0/users" if is_out => Some(status(503, "")),
            _ => None,
        })
        .await;
        let mut config = mock.config();
        config.patience = Duration::from_millis(300);
        let graph = Graph::new(config, mock::secret()).unwrap();
        let asked = |path: &str| mock.seen().iter().filter(|seen| seen.path() == path).count();
        let kind = if is_out { ErrorKind::Throttled } else { ErrorKind::Server };
        for _ in 0..3 {
            // Told once, all others of the mailbox know without asking.
            let error = get(&graph, &mailbox("long"), "/users/long/x").await.unwrap_err();
            assert_eq!(*error.kind(), kind);
            assert!(error.is_retryable());
        }
        assert_eq!(asked("/v1.0/users/long/x"), 1);
        assert!(is_out || asked("/v1.0/users") == 1);
        let start = Instant::now();
        let error = get(&graph, &mailbox("often"), "/users/often/x").await.unwrap_err();
        assert_eq!(*error.kind(), kind);
        assert!(error.retries() >= 5 && start.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn failures_have_their_number_of_tries() {
    for (code, body, tries, kind) in [
        (500, "", 5, ErrorKind::Server),
        (502, "<html>", 5, ErrorKind::Server),
        (504, "", 5, ErrorKind::Server),
        (500, r#"{"error":{"code":"ErrorCorruptData"}}"#, 2, ErrorKind::Corrupt),
        (
            500,
            r#"{"error":{"code":"ErrorMimeContentConversionFailed"}}"#,
            1,
            ErrorKind::MimeConversion,
        ),
        (501, "", 1, ErrorKind::Unsupported),
        (507, "", 1, ErrorKind::TooLarge),
        (404, "", 1, ErrorKind::NotFound),
    ] {
        let mock = Mock::start(move |seen| (!is_token(seen)).then(|| status(code, body))).await;
        let graph = mock.graph();
        let error = get(&graph, &Scope::Other, "/x").await.unwrap_err();
        assert_eq!(*error.kind(), kind);
        assert_eq!(
            (mock.seen().len(), error.retries() as usize),
            (tries, tries - 1),
            "{code} {body}"
        );
        assert_eq!(graph.counters().throttled, 0);
    }
}

#[tokio::test]
async fn broken_connections_have_their_number_of_tries() {
    let mock = Mock::start(|seen| (!is_token(seen)).then(|| mock::torn(b"{", 100))).await;
    let error = get(&mock.graph(), &Scope::Other, "/x").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Interrupted);
    assert!(error.is_retryable());
    assert_eq!(mock.seen().len(), 8);

    // Nobody there: as long as patience lasts.
    let mut config = mock.config();
    config.graph_url = Some("http://127.0.0.1:1".parse().unwrap());
    config.patience = Duration::from_millis(50);
    let graph = Graph::new(config, mock::secret()).unwrap();
    let error = get(&graph, &Scope::Other, "/x").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unreachable);
    assert!(error.retries() >= 3);
}

#[tokio::test]
async fn a_silent_connection_counts_as_broken() {
    let count = Count::default();
    let mock = Mock::start(move |seen| match seen.path() {
        "/v1.0/x" if count.next() == 1 => Some(with(json("{}"), "x-delay-ms", "2000")),
        _ => ok(seen),
    })
    .await;
    let mut config = mock.config();
    config.read_timeout = Duration::from_millis(100);
    let graph = Graph::new(config, mock::secret()).unwrap();
    get(&graph, &Scope::Other, "/x").await.unwrap();
    assert_eq!(mock.seen().len(), 2);
}

#[tokio::test]
async fn a_mailbox_has_four_connections() {
    let mock = Mock::start(|seen| ok(seen).map(|answer| with(answer, "x-delay-ms", "20"))).await;
    let graph = mock.graph();
    graph.sign_in().await.unwrap();
    let user = mailbox("u");
    let all = join_all((0..40).map(|_| get(&graph, &user, "/users/u/x"))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(mock.busiest.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_body_keeps_its_connection_until_it_is_dropped() {
    let mock = Mock::start(|seen| (!is_token(seen)).then(|| mock::bytes(b"From: x"))).await;
    let mut config = mock.config();
    config.mailbox_connections = 1;
    let graph = Graph::new(config, mock::secret()).unwrap();
    let user = mailbox("u");
    let body = graph.value(&user, "/users/u/messages/m/$value").await.unwrap();
    let second = graph.value(&user, "/users/u/messages/n/$value");
    tokio::pin!(second);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut second).await;
    assert!(early.is_err());
    assert_eq!(mock.seen().len(), 1);
    drop(body);
    second.await.unwrap();
    assert_eq!(mock.seen().len(), 2);
}

#[tokio::test]
async fn waiting_for_a_retry_occupies_no_connection() {
    let count = Count::default();
    let mock = Mock::start(move |seen| match seen.path() {
        "/v1.0/users/u/torn" if count.next() == 1 => Some(mock::torn(b"{", 100)),
        _ => ok(seen),
    })
    .await;
    let mut config = mock.config();
    config.mailbox_connections = 1;
    config.backoff = Duration::from_secs(1);
    let graph = Graph::new(config, mock::secret()).unwrap();
    let user = mailbox("u");
    let torn = get(&graph, &user, "/users/u/torn");
    let other = async {
        while graph.counters().retries == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        get(&graph, &user, "/users/u/other").await.unwrap();
    };
    let (torn, ()) = tokio::join!(torn, other);
    torn.unwrap();
    assert_eq!(mock.targets(), ["/v1.0/users/u/torn", "/v1.0/users/u/other", "/v1.0/users/u/torn"]);
}

/// The most requests in any stretch of `window`.
fn densest(seen: &[Seen], window: Duration) -> usize {
    let counts = seen
        .iter()
        .map(|first| seen.iter().filter(|s| s.at >= first.at && s.at < first.at + window).count());
    counts.max().unwrap_or_default()
}

#[tokio::test]
async fn budgets_hold_on_a_faster_clock() {
    let second = Duration::from_secs(1);
    for (pace, limit) in [(Pace::Documented, 50), (Pace::Adaptive, 50), (Pace::None, usize::MAX)] {
        let mock = Mock::start(ok).await;
        let mut config = mock.config();
        config.pace = pace;
        config.budgets = vec!["mailbox=50/1".parse().unwrap()];
        let graph = Graph::new(config, mock::secret()).unwrap();
        graph.sign_in().await.unwrap();
        let start = Instant::now();
        let user = mailbox("u");
        let all = join_all((0..130).map(|_| get(&graph, &user, "/users/u/x"))).await;
        assert!(all.iter().all(Result::is_ok));
        let dense = densest(&mock.seen(), second);
        assert!(dense <= limit, "{dense} requests in a second");
        assert!(limit == usize::MAX || start.elapsed() > second * 2);
        assert!(start.elapsed() < second * 4);
    }
}

#[tokio::test]
async fn resource_units_are_counted() {
    let mock = Mock::start(|seen| {
        (!is_token(seen)).then(|| json(r#"{"value":[],"@odata.deltaLink":"x"}"#))
    })
    .await;
    let mut config = mock.config();
    config.budgets = vec!["sharepoint=20/600".parse().unwrap()];
    let graph = Graph::new(config, mock::secret()).unwrap();
    let list = || async {
        let mut pages = graph.pages(Scope::SharePoint, "/drives/d/root/delta", Prefer::none());
        pages.next().await.unwrap().unwrap();
    };
    // Nine lists cost 18 of the 19 units we use; the tenth waits for ten minutes.
    for _ in 0..9 {
        list().await;
    }
    get(&graph, &Scope::SharePoint, "/drives/d/items/i").await.unwrap();
    let late = tokio::time::timeout(Duration::from_millis(100), list()).await;
    assert!(late.is_err());
    assert_eq!(mock.seen().len(), 10);
}

#[tokio::test]
async fn what_is_left_is_heeded_before_a_refusal() {
    let count = Count::default();
    let mock = Mock::start(move |seen| {
        let answer = ok(seen)?;
        let left = [5, 4, 3, 2, 1, 0].get(count.next() - 1).copied().unwrap_or(1000);
        let answer = with(answer, "ratelimit-limit", "1250");
        let answer = with(answer, "ratelimit-remaining", &left.to_string());
        Some(with(answer, "ratelimit-reset", "1"))
    })
    .await;
    let graph = mock.graph();
    graph.sign_in().await.unwrap();
    for _ in 0..8 {
        get(&graph, &Scope::SharePoint, "/sites/s").await.unwrap();
    }
    let seen = mock.seen();
    assert_eq!(seen.len(), 8);
    assert!(seen[6].at - seen[5].at > Duration::from_millis(900), "nothing is left");
    // Of the little that is left one at a time: after a fifth of a second, a fourth, a third, ...
    assert!(seen[5].at - seen[1].at > Duration::from_millis(800));
}

#[tokio::test]
async fn nobody_sends_in_a_pause_however_many_there_are() {
    let (count, told) = (Count::default(), Arc::new(Mutex::new(Vec::new())));
    let pauses = Arc::clone(&told);
    let mock = Mock::start(move |seen| {
        let answer = ok(seen)?;
        let n = count.next();
        let answer = with(answer, "x-delay-ms", &(n * 7 % 23).to_string());
        if !n.is_multiple_of(60) {
            return Some(answer);
        }
        pauses.lock().unwrap().push(seen.at);
        // The body of a refusal comes late, and is not waited for.
        Some(with(refusal(429, "activityLimitReached"), "retry-after", "1.2"))
    })
    .await;
    let mut config = mock.config();
    config.budgets = vec!["sharepoint=500/1".parse().unwrap()];
    let graph = Graph::new(config, mock::secret()).unwrap();
    let all = futures::stream::iter(0..200).map(|n| {
        let graph = graph.clone();
        async move { get(&graph, &Scope::SharePoint, &format!("/sites/s{n}")).await }
    });
    let all: Vec<_> = all.buffer_unordered(16).collect().await;
    assert!(all.iter().all(Result::is_ok));
    let told = told.lock().unwrap().clone();
    assert!(told.len() >= 3);
    for since in told {
        // What was under way has arrived by then.
        let pause = since + Duration::from_millis(300)..since + Duration::from_millis(1190);
        let inside = mock.seen().iter().filter(|seen| pause.contains(&seen.at)).count();
        assert_eq!(inside, 0);
    }
    let counters = graph.counters();
    let scope = counters.scopes["sharepoint"];
    assert_eq!(scope.requests, counters.requests["sharepoint"]);
    assert_eq!((scope.units, scope.throttled), (scope.requests, counters.throttled));
    assert!(scope.waited > Duration::from_secs(3) && scope.waited <= counters.waited);
}

#[tokio::test]
async fn who_waited_for_a_token_sees_the_pause_that_began_meanwhile() {
    let (count, logins) = (Count::default(), Count::default());
    let mock = Mock::start(move |seen| match seen.path() {
        "/v1.0/sites/late" if count.next() == 1 => Some(status(401, "")),
        "/v1.0/sites/full" if count.next() < 3 => {
            Some(with(refusal(429, "activityLimitReached"), "retry-after", "1.5"))
        }
        path if path.contains("/oauth2/") => {
            let delay = ["0", "500"][usize::from(logins.next() > 1)];
            Some(with(mock::token("t", 3599), "x-delay-ms", delay))
        }
        _ => ok(seen),
    })
    .await;
    let mut config = mock.config();
    config.pace = Pace::None;
    let graph = Graph::new(config, mock::secret()).unwrap();
    graph.sign_in().await.unwrap();
    // Has its answer when the token is gone, which the first one asks for anew.
    let held = graph.get(&Scope::SharePoint, "/sites/late", Prefer::none());
    let full = async {
        let full = get(&graph, &Scope::SharePoint, "/sites/full");
        let late = join_all((0..9).map(|_| get(&graph, &Scope::SharePoint, "/sites/more")));
        let (full, late) = tokio::join!(full, late);
        full.unwrap();
        assert!(late.iter().all(Result::is_ok));
    };
    let (held, ()) = tokio::join!(held, full);
    held.unwrap();
    let seen = mock.seen();
    let refused = seen.iter().find(|seen| seen.path() == "/v1.0/sites/full").unwrap().at;
    let pause = refused + Duration::from_millis(300)..refused + Duration::from_millis(1490);
    assert_eq!(seen.iter().filter(|seen| pause.contains(&seen.at)).count(), 0);
}

#[tokio::test]
async fn the_service_names_its_limit_and_what_a_request_costs() {
    let mock = Mock::start(|seen| {
        let answer = ok(seen)?;
        if seen.path() == "/v1.0/users/u" {
            return Some(with(answer, "x-ms-resource-unit", "1700"));
        }
        let answer = with(answer, "ratelimit-limit", "10");
        Some(with(with(answer, "ratelimit-remaining", "8"), "ratelimit-reset", "0.001"))
    })
    .await;
    let graph = mock.graph();
    let sites = join_all((0..9).map(|_| get(&graph, &Scope::SharePoint, "/sites/s"))).await;
    assert!(sites.iter().all(Result::is_ok));
    let tenth = get(&graph, &Scope::SharePoint, "/sites/s");
    let tenth = tokio::time::timeout(Duration::from_millis(200), tenth).await;
    assert!(tenth.is_err(), "nine of ten in a minute");

    for _ in 0..2 {
        get(&graph, &Scope::Directory, "/users/u").await.unwrap();
    }
    assert_eq!(graph.counters().scopes["directory"].units, 3400);
    get(&graph, &Scope::Directory, "/users/u").await.unwrap();
    let fourth = get(&graph, &Scope::Directory, "/users/u");
    let fourth = tokio::time::timeout(Duration::from_millis(200), fourth).await;
    assert!(fourth.is_err(), "3465 are ours in 10 s");
    assert_eq!(mock.seen().len(), 9 + 3);
}

#[test]
fn settings_are_read() {
    let budget: Budget = "mailbox=10000/600".parse().unwrap();
    assert_eq!(
        (budget.scope.as_str(), budget.requests, budget.seconds),
        ("mailbox", 10_000, 600.0)
    );
    for bad in
        ["", "mailbox", "mailbox=1", "mailbox=0/1", "mailbox=1/0", "box=1/1", "mailbox=1/nan"]
    {
        let error = bad.parse::<Budget>().unwrap_err();
        assert!(error.to_string().contains("mailbox=10000/600"), "{error}");
    }
    assert_eq!("gcc-high".parse::<Cloud>().unwrap(), Cloud::GccHigh);
    assert_eq!(Cloud::Dod.graph_root(), "https://dod-graph.microsoft.us");
    assert_eq!(Cloud::China.scope(), "https://microsoftgraph.chinacloudapi.cn/.default");
    assert_eq!(Cloud::GccHigh.federated_audience(), "api://AzureADTokenExchangeUSGov");
    assert!("germany".parse::<Cloud>().unwrap_err().to_string().contains("gcc-high"));
    assert_eq!("adaptive".parse::<Pace>().unwrap(), Pace::Adaptive);
}
