//! Tokens: how they are asked for, shared, renewed and refused.

mod mock;

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use futures::future::join_all;
use graph::{Credential, ErrorKind, Graph, Prefer, Scope};
use mock::{Count, Mock, Seen, json, refusal, status, token, with};
use serde_json::{Value, json as value};

async fn get(graph: &Graph) -> Result<Value, graph::Error> {
    graph.get(&Scope::Other, "/organization", Prefer::none()).await
}

/// Answers what is no request for a token with an empty object.
fn ok(seen: &Seen) -> Option<axum::http::Response<axum::body::Body>> {
    (!seen.path().contains("/oauth2/")).then(|| json("{}"))
}

fn jwt(claims: &Value) -> String {
    format!("eyJ0eXAiOiJKV1QifQ.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[tokio::test]
async fn a_secret_is_sent_as_a_form() {
    let access = jwt(&value!({"roles": ["Mail.Read"], "tid": "t-1", "appid": "a-1"}));
    let mock = Mock::start(move |seen| {
        let answer = seen.path().contains("/oauth2/").then(|| token(&access, 3599));
        answer.map(|answer| with(answer, "date", "Sun, 06 Nov 1994 08:49:37 GMT"))
    })
    .await;
    let graph = mock.graph();
    let identity = graph.sign_in().await.unwrap();
    assert_eq!(identity.roles.as_deref(), Some(&["Mail.Read".to_owned()][..]));
    assert_eq!(identity.tenant_id.as_deref(), Some("t-1"));
    assert_eq!(identity.app_id.as_deref(), Some("a-1"));
    assert_eq!(identity.expires_in, Duration::from_secs(3599));
    assert_eq!(identity.server_date.unwrap().to_rfc3339(), "1994-11-06T08:49:37+00:00");
    assert!(identity.clock_skew.unwrap() < TimeDelta::days(-10_000));
    assert_eq!(graph.certificate_expiry(), None);

    let [sent] = &mock.tokens()[..] else { panic!() };
    assert_eq!(
        (sent.method.as_str(), sent.target.as_str()),
        ("POST", "/contoso.example/oauth2/v2.0/token")
    );
    assert_eq!(sent.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(sent.form("grant_type").as_deref(), Some("client_credentials"));
    assert_eq!(sent.form("client_id").as_deref(), Some("app-1"));
    assert_eq!(sent.form("client_secret").as_deref(), Some(mock::SECRET));
    assert_eq!(sent.form("scope").as_deref(), Some("https://graph.microsoft.com/.default"));
    assert!(sent.header("client-request-id").is_some());
}

#[tokio::test]
async fn opaque_tokens_are_as_good() {
    for (access, roles) in [
        ("opaque", None),
        ("a.b.c", None),
        (&jwt(&value!({"aud": "x"})), Some(vec![])),
        (&jwt(&value!({"scp": "Mail.Read User.Read"})), Some(vec!["Mail.Read", "User.Read"])),
    ] {
        let access = access.to_owned();
        let mock = Mock::start(move |seen| ok(seen).or_else(|| Some(token(&access, 60)))).await;
        let mut config = mock.config();
        config.tenant = "87d349ed-44d7-43e1-9a83-5f2406dee5bd".into();
        let graph = Graph::new(config, mock::secret()).unwrap();
        let identity = graph.sign_in().await.unwrap();
        let expected = roles.map(|r| r.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(identity.roles, expected);
        let tenant = identity.tenant_id.as_deref();
        assert_eq!(tenant, Some("87d349ed-44d7-43e1-9a83-5f2406dee5bd"));
        assert_eq!(identity.app_id.as_deref(), Some("app-1"));
    }
}

#[tokio::test]
async fn a_federated_token_is_read_for_every_request() {
    let count = Count::default();
    let mock = Mock::start(move |seen| match seen.path().contains("/oauth2/") {
        true if count.next() == 1 => Some(status(503, "")),
        true => Some(token("short", 0)),
        false => Some(json("{}")),
    })
    .await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "outer-1").unwrap();
    let path = file.path().to_owned();
    let credential = Credential::FederatedToken { client_id: "app-1".into(), file: path.clone() };
    let graph = Graph::new(mock.config(), credential).unwrap();
    get(&graph).await.unwrap();
    std::fs::write(&path, "outer-2").unwrap();
    get(&graph).await.unwrap();
    let sent: Vec<_> = mock.tokens().iter().map(|s| s.form("client_assertion").unwrap()).collect();
    assert_eq!(sent, ["outer-1", "outer-1", "outer-2"]);

    for broken in [true, false] {
        if broken {
            std::fs::write(&path, " ").unwrap()
        } else {
            std::fs::remove_file(&path).unwrap()
        }
        let error = get(&graph).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Local);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn managed_identities_speak_their_own_dialect() {
    let count = Count::default();
    let mock = Mock::start(move |seen| {
        ok(seen).or_else(|| {
            Some(match count.next() {
                1 => status(404, ""),
                2 => status(429, ""),
                3 => status(410, ""),
                _ => json(
                    r#"{"access_token":"m","refresh_token":"","expires_in":"3599","expires_on":
                    "1506484173","not_before":"1506480273","resource":"r","token_type":"Bearer"}"#,
                ),
            })
        })
    })
    .await;
    let endpoint = Some(mock.url.clone());
    let credential = Credential::ManagedIdentity { client_id: Some("c 1".into()), endpoint };
    let graph = Graph::new(mock.config(), credential).unwrap();
    assert_eq!(graph.sign_in().await.unwrap().expires_in, Duration::from_secs(3599));
    get(&graph).await.unwrap();
    let sent = mock.tokens();
    assert_eq!(sent.len(), 4);
    for seen in sent {
        assert_eq!(seen.method, "GET");
        assert_eq!(seen.header("metadata"), Some("true"));
        assert_eq!(
            seen.target,
            "/metadata/identity/oauth2/token?api-version=2018-02-01\
             &resource=https%3A%2F%2Fgraph.microsoft.com&client_id=c+1"
        );
    }
    assert_eq!(mock.seen()[0].header("authorization"), Some("Bearer m"));
}

#[tokio::test]
async fn a_managed_identity_that_is_not_there_is_final() {
    let mock = Mock::start(|_| {
        let text = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
        Some(status(400, text))
    })
    .await;
    let endpoint = Some(mock.url.clone());
    let credential = Credential::ManagedIdentity { client_id: None, endpoint };
    let error = Graph::new(mock.config(), credential).unwrap().sign_in().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Credentials);
    assert!(error.to_string().contains("Identity not found"));
    assert_eq!(mock.tokens().len(), 1);
}

fn device_answer(seen: &Seen, polls: usize) -> axum::http::Response<axum::body::Body> {
    let failure = |error: &str| status(400, &format!(r#"{{"error":"{error}"}}"#));
    let refresh = |n: u32| {
        json(format!(
            r#"{{"token_type":"Bearer","scope":"x","expires_in":0,"access_token":"d{n}",
                "refresh_token":"refresh-{n}","id_token":"i"}}"#
        ))
    };
    match (seen.path().ends_with("/devicecode"), seen.form("grant_type").as_deref()) {
        (true, _) => json(
            r#"{"device_code":"dc","user_code":"UC","verification_uri":"https://x.example/d",
                "expires_in":900,"interval":0,"message":"open x, enter UC"}"#,
        ),
        (_, Some("refresh_token")) => match seen.form("refresh_token").as_deref() {
            Some("refresh-1") => refresh(2),
            Some("refresh-2") => refresh(3),
            _ => failure("invalid_grant"),
        },
        _ => match polls {
            1 | 2 => failure("authorization_pending"),
            3 => status(503, ""),
            4 => failure("slow_down"),
            _ => refresh(1),
        },
    }
}

#[tokio::test]
async fn a_person_signs_in_once_and_refresh_tokens_rotate() {
    let count = Count::default();
    let mock = Mock::start(move |seen| {
        let poll = seen.form("device_code").is_some();
        ok(seen).or_else(|| Some(device_answer(seen, if poll { count.next() } else { 0 })))
    })
    .await;
    let shown = Arc::new(Mutex::new(Vec::new()));
    let show = Arc::clone(&shown);
    let prompt = Box::new(move |text: &str| show.lock().unwrap().push(text.to_owned()));
    let credential = Credential::DeviceCode { client_id: "app-1".into(), prompt };
    let graph = Graph::new(mock.config(), credential).unwrap();
    for _ in 0..3 {
        get(&graph).await.unwrap();
    }
    assert_eq!(*shown.lock().unwrap(), ["open x, enter UC"]);
    let sent = mock.tokens();
    let scope = "https://graph.microsoft.com/.default offline_access";
    assert_eq!(sent[0].form("scope").as_deref(), Some(scope));
    let polls: Vec<_> = sent.iter().filter(|s| s.form("device_code").is_some()).collect();
    assert_eq!(polls.len(), 5);
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    assert!(polls.iter().all(|p| p.form("grant_type").as_deref() == Some(grant)));
    let refreshes: Vec<_> = sent.iter().filter_map(|s| s.form("refresh_token")).collect();
    assert_eq!(refreshes, ["refresh-1", "refresh-2"]);
    let used: Vec<_> =
        mock.seen().iter().map(|s| s.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(used, ["Bearer d1", "Bearer d2", "Bearer d3"]);
    let error = get(&graph).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Credentials);
    assert!(error.hint().unwrap().contains("sign in again"));
}

#[tokio::test]
async fn a_declined_sign_in_ends() {
    for error in ["authorization_declined", "bad_verification_code", "expired_token"] {
        let mock = Mock::start(move |seen| {
            Some(match seen.form("device_code") {
                Some(_) => status(400, &format!(r#"{{"error":"{error}"}}"#)),
                None => device_answer(seen, 0),
            })
        })
        .await;
        let prompt = Box::new(|_: &str| {});
        let credential = Credential::DeviceCode { client_id: "app-1".into(), prompt };
        let failed = Graph::new(mock.config(), credential).unwrap().sign_in().await.unwrap_err();
        assert_eq!(*failed.kind(), ErrorKind::Credentials, "{failed}");
        assert_eq!(failed.code(), Some(error));
        assert_eq!(mock.tokens().len(), 2);
    }
}

#[tokio::test]
async fn fifty_tasks_share_one_token() {
    let mock =
        Mock::start(|seen| ok(seen).or_else(|| Some(with(token("one", 3599), "x-delay-ms", "50"))))
            .await;
    let graph = mock.graph();
    let tasks = join_all((0..50).map(|_| get(&graph))).await;
    assert!(tasks.iter().all(Result::is_ok));
    assert_eq!((mock.tokens().len(), mock.seen().len()), (1, 50));
    assert_eq!(graph.counters().requests["login"], 1);
}

#[tokio::test]
async fn fifty_tasks_share_one_failure() {
    let mock = Mock::start(|seen| {
        let text = r#"{"error":"invalid_client","error_description":"AADSTS7000222: expired"}"#;
        ok(seen).or_else(|| Some(with(status(401, text), "x-delay-ms", "50")))
    })
    .await;
    let graph = mock.graph();
    for failed in join_all((0..50).map(|_| get(&graph))).await {
        assert_eq!(*failed.unwrap_err().kind(), ErrorKind::Credentials);
    }
    assert_eq!((mock.tokens().len(), mock.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_token_is_renewed_behind_the_work() {
    let count = Count::default();
    let mock = Mock::start(move |seen| {
        ok(seen).or_else(|| {
            Some(match count.next() {
                1 => token("first", 2),
                _ => with(token("second", 3599), "x-delay-ms", "100"),
            })
        })
    })
    .await;
    let graph = mock.graph();
    get(&graph).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1650)).await;
    // Nobody waits for the new one while the old one works.
    join_all((0..10).map(|_| get(&graph))).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    get(&graph).await.unwrap();
    let used: Vec<_> =
        mock.seen().iter().map(|s| s.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(used[..11], vec!["Bearer first".to_owned(); 11]);
    assert_eq!(used[11], "Bearer second");
    assert_eq!(mock.tokens().len(), 2);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let count = Count::default();
    let mock = Mock::start(move |seen| match (seen.path(), seen.header("authorization")) {
        (path, _) if path.contains("/oauth2/") => Some(token(&format!("t{}", count.next()), 3599)),
        ("/v1.0/organization", Some("Bearer t1")) => {
            Some(with(refusal(401, "InvalidAuthenticationToken"), "x-delay-ms", "30"))
        }
        ("/v1.0/organization", _) => Some(json("{}")),
        _ => Some(refusal(401, "InvalidAuthenticationToken")),
    })
    .await;
    let graph = mock.graph();
    let tasks = join_all((0..20).map(|_| get(&graph))).await;
    assert!(tasks.iter().all(Result::is_ok));
    assert_eq!((mock.tokens().len(), mock.seen().len()), (2, 40));

    let error = graph.get(&Scope::Other, "/forbidden", Prefer::none()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Credentials);
    assert_eq!((error.status(), error.retries()), (Some(401), 1));
    assert_eq!((mock.tokens().len(), mock.seen().len()), (3, 42));
}

#[tokio::test]
async fn transient_failures_of_the_login_host_are_waited_for() {
    let count = Count::default();
    let mock = Mock::start(move |seen| {
        ok(seen).or_else(|| match count.next() {
            1 => Some(with(status(429, ""), "retry-after", "0.01")),
            2..=8 => Some(status(503, "<html>")),
            9 => Some(status(400, r#"{"error":"temporarily_unavailable"}"#)),
            _ => None,
        })
    })
    .await;
    mock.graph().sign_in().await.unwrap();
    assert_eq!(mock.tokens().len(), 10);

    let mut config = mock.config();
    config.login_url = Some("http://127.0.0.1:1/".parse().unwrap());
    config.sign_in_patience = Duration::from_millis(30);
    let error = Graph::new(config, mock::secret()).unwrap().sign_in().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unreachable);
    assert!(error.is_retryable() && error.retries() > 1);
}

#[tokio::test]
async fn refusals_of_the_login_host_are_explained() {
    for (number, hint) in [
        (7000215, "secret is wrong"),
        (7000222, "expired"),
        (700016, "not in this tenant"),
        (700027, "not registered"),
        (700024, "clock"),
        (90002, "no such tenant"),
        (53003, "conditional access"),
        (500011, "check the cloud"),
    ] {
        for described in [true, false] {
            let words = if described { format!("AADSTS{number}: Words.") } else { "x".into() };
            let body = format!(
                r#"{{"error":"invalid_client","error_description":"{words}\r\nTrace ID: 1",
                    "error_codes":[{number}],"trace_id":"tr-1"}}"#
            );
            let mock = Mock::start(move |_| Some(status(401, &body))).await;
            let error = mock.graph().sign_in().await.unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Credentials);
            assert!(error.hint().unwrap().contains(hint), "{error:?}");
            assert!(error.to_string().contains(&format!("AADSTS{number}")), "{error}");
            assert_eq!(error.request_id(), Some("tr-1"));
            assert!(!error.is_retryable());
            assert_eq!(mock.tokens().len(), 1);
        }
    }
}

#[tokio::test]
async fn nonsense_of_the_login_host_is_no_secret_spilled() {
    let echo = format!(
        r#"{{"error":"invalid_client","error_description":"AADSTS1: got {} and eyJhbGci.x.y"}}"#,
        mock::SECRET
    );
    let spilled = r#"{"access_token":"eyJsecret","token_type":"Bearer","expires_in":"soon"}"#;
    for (code, body) in [(400, echo.as_str()), (200, spilled), (200, "<html>eyJsecret"), (302, "")]
    {
        let body = body.to_owned();
        let mock = Mock::start(move |_| Some(status(code, &body))).await;
        let graph = mock.graph();
        let error = graph.sign_in().await.unwrap_err();
        let shown = format!("{error} {error:?} {:?} {graph:?}", mock::secret());
        assert!(!shown.contains("eyJ") && !shown.contains(mock::SECRET), "{shown}");
        let expected = if code == 400 { ErrorKind::Credentials } else { ErrorKind::Protocol };
        assert_eq!(*error.kind(), expected, "{code}");
    }
}
