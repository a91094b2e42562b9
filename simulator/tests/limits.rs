//! The documented limits: what passes, what is told, and what is counted.

mod client;

use std::time::Duration;

use client::{Answer, Client, read};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{
    Credentials, Directory, Factors, Fault, Limits, Options, ScopeCounts, SharePoint, UserKind,
    Windows,
};

/// Practically stands still, so that nothing is given back during a test.
const STILL: f64 = 1e-3;

async fn client(limits: Limits) -> Client {
    let credentials = Credentials::restoring();
    Client::new(Options { limits: Some(limits), credentials, ..Options::default() }).await
}

fn sharepoint(change: impl FnOnce(&mut SharePoint)) -> Limits {
    let mut own = SharePoint::for_licences(1);
    change(&mut own);
    Limits { sharepoint: Some(own), clock_scale: STILL, ..Limits::default() }
}

fn directory(units: u64, writes: u64) -> Limits {
    let own = Directory { units, writes };
    Limits { directory: Some(own), clock_scale: STILL, ..Limits::default() }
}

fn drive(client: &Client) -> String {
    client.user(UserKind::Member).drive.unwrap()
}

fn counts(client: &Client, scope: &str) -> ScopeCounts {
    client.simulator.log().counts().scopes.get(scope).cloned().unwrap_or_default()
}

/// How many of these requests pass before one does not, and what that one is told.
async fn passes(client: &Client, path: &str) -> (u64, Answer) {
    for passed in 0.. {
        let answer = client.get(path).await;
        if answer.status == 429 {
            return (passed, answer);
        }
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    unreachable!("a test's limit is not that high")
}

fn seconds(answer: &Answer, header: &str) -> f64 {
    answer.header(header).parse().unwrap()
}

/// Waits as told; the clock of ours that the server uses is the same.
async fn obey(answer: &Answer) {
    tokio::time::sleep(Duration::from_secs_f64(seconds(answer, "retry-after"))).await;
}

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    let url = format!("{}/v1.0{path}", client.simulator.graph_url());
    read(client.http.request(method, url).bearer_auth(&client.token).json(body)).await.unwrap()
}

#[test]
fn tiers() {
    let tiers = [
        (0, 1_250, 1_200_000, 18_750),
        (1_000, 1_250, 1_200_000, 18_750),
        (1_001, 2_500, 2_400_000, 37_500),
        (5_001, 3_750, 3_600_000, 56_250),
        (15_000, 3_750, 3_600_000, 56_250),
        (50_000, 5_000, 4_800_000, 75_000),
        (50_001, 6_250, 6_000_000, 93_750),
    ];
    for (licences, minute, day, tenant) in tiers {
        let tier = Limits::documented(licences).sharepoint.unwrap();
        assert_eq!((tier.minute, tier.day, tier.tenant), (minute, day, tenant), "{licences}");
    }
    for (users, units) in [(49, 3_500), (50, 5_000), (500, 5_000), (501, 8_000)] {
        assert_eq!(Limits::documented(users).directory.unwrap().units, units, "{users}");
    }
}

/// How many of more and more requests pass, sent twenty in a batch.
async fn passes_batched(client: &Client, url: &str) -> usize {
    let part = |id: u32| json!({"id": id.to_string(), "method": "GET", "url": url});
    let envelope = json!({"requests": (0..20).map(part).collect::<Vec<_>>()});
    let mut passed = 0;
    loop {
        let answer = client.batch(envelope.clone()).await;
        let parts = answer.body["responses"].as_array().unwrap();
        let good = parts.iter().filter(|part| part["status"] == 200).count();
        passed += good;
        if good < parts.len() {
            return passed;
        }
    }
}

#[tokio::test]
async fn the_documented_numbers_pass_and_not_one_more() {
    let client = client(Limits { clock_scale: STILL, ..Limits::documented(3) }).await;
    let (user, other) = (client.member(), client.simulator.tenant().users()[1].id.clone());
    let path = |user: &str| format!("/users/{user}/mailFolders/inbox?$select=id");
    let root = format!("/drives/{}/root", drive(&client));
    assert_eq!(passes_batched(&client, &path(&user)).await, 10_000);
    assert_eq!(client.get(&path(&other)).await.status, 200, "other mailboxes answer");
    assert_eq!(passes_batched(&client, &root).await, 1_250);
    assert_eq!(passes_batched(&client, "/users?$expand=manager").await, 3_500 / 3);
    assert_eq!(client.get(&path(&other)).await.status, 200);
    for (scope, path, least) in [
        (user.as_str(), path(&user), 500.0),
        ("sharepoint", root, 50.0),
        ("directory", "/users".into(), 1.0),
    ] {
        let refused = client.get(&path).await;
        assert_eq!(refused.status, 429, "{path}");
        assert!(seconds(&refused, "retry-after") * STILL >= least - 0.001, "{:?}", refused.headers);
        assert!(counts(&client, scope).provoked > 0);
    }
    assert_eq!(counts(&client, &other).provoked, 0);
}

#[tokio::test]
async fn who_waits_as_told_passes_again() {
    let limits = Limits {
        requests: 20,
        window: Duration::from_secs(60),
        sharepoint: Some(SharePoint { minute: 20, ..SharePoint::for_licences(1) }),
        directory: Some(Directory { units: 4, writes: 2 }),
        clock_scale: 100.0,
        ..Limits::default()
    };
    for windows in [Windows::Sliding, Windows::Fixed] {
        let client = client(Limits { windows, ..limits.clone() }).await;
        let (user, drive) = (client.member(), drive(&client));
        let mailbox = format!("/users/{user}/mailFolders/inbox");
        for path in [mailbox, format!("/drives/{drive}/root"), "/users?$expand=manager".into()] {
            for _ in 0..2 {
                let (_, refused) = passes(&client, &path).await;
                obey(&refused).await;
                let again = client.get(&path).await;
                assert_eq!(again.status, 200, "{windows:?} {path} {:?}", refused.headers);
            }
        }
        assert_eq!(client.simulator.log().during_retry_after(), 0);
    }
}

#[tokio::test]
async fn the_day_the_tenant_and_bytes_have_limits_of_their_own() {
    let client = client(sharepoint(|own| own.day = 30)).await;
    let root = format!("/drives/{}/root", drive(&client));
    let (passed, refused) = passes(&client, &root).await;
    assert_eq!(passed, 30);
    assert!(seconds(&refused, "retry-after") > 86_000.0 / STILL, "{:?}", refused.headers);
    let client = self::client(sharepoint(|own| own.tenant = 20)).await;
    let (passed, refused) = passes(&client, &root).await;
    assert_eq!(passed, 20);
    let wait = seconds(&refused, "retry-after") * STILL;
    assert!((299.0..=300.0).contains(&wait), "{wait}");
    let client = self::client(sharepoint(|own| own.transfer = 1)).await;
    let drive = drive(&client);
    let file = client.simulator.tenant().files(&drive).unwrap();
    let file = file.iter().find(|file| file.size > 0).unwrap().id.clone();
    let content = client.get(&format!("/drives/{drive}/items/{file}/content")).await;
    let whole = client.download(content.header("location"), &[]).await.unwrap();
    assert_eq!(whole.status, 200, "what is more than the limit by itself would never pass");
    assert_eq!(client.download(content.header("location"), &[]).await.unwrap().status, 429);
}

#[tokio::test]
async fn costs_are_as_documented() {
    let client = client(Limits { clock_scale: STILL, ..Limits::documented(1) }).await;
    let drive = drive(&client);
    let user = client.member();
    let file = client.simulator.tenant().files(&drive).unwrap().remove(3).id;
    let cost = async |scope: &str, method: Method, path: &str| {
        let before = counts(&client, scope).units;
        send(&client, method, path, &json!({})).await;
        counts(&client, scope).units - before
    };
    let first = client.get(&format!("/drives/{drive}/root/delta")).await;
    let link = first.delta().unwrap().split_once("/v1.0").unwrap().1.to_owned();
    for (path, units) in [
        ("", 1),
        ("/root", 1),
        ("/root/children", 2),
        ("/items/F/children", 2),
        ("/items/F", 1),
        ("/root:/permissions", 1),
        ("/items/F/content", 1),
        ("/items/F/versions", 2),
        ("/items/F/versions/1.0", 1),
        ("/items/F/permissions", 5),
        ("/items/F/permissions/1", 5),
        ("/items/F?$expand=permissions", 5),
        ("/root/delta", 2),
        ("/root/delta?token=latest", 1),
    ] {
        let path = format!("/drives/{drive}{}", path.replace('F', &file));
        assert_eq!(cost("sharepoint", Method::GET, &path).await, units, "{path}");
    }
    assert_eq!(cost("sharepoint", Method::GET, &link).await, 1, "{link}");
    assert_eq!(cost("sharepoint", Method::GET, &format!("/users/{user}/drives")).await, 2);
    let item = format!("/drives/{drive}/items/{file}");
    assert_eq!(cost("sharepoint", Method::PATCH, &item).await, 2);
    assert_eq!(cost("sharepoint", Method::DELETE, &item).await, 2);
    assert_eq!(cost("sharepoint", Method::POST, &format!("{item}/invite")).await, 5);
    for (path, units) in [
        ("/users", 2),
        ("/users?$select=id", 1),
        ("/users?$top=19", 1),
        ("/users?$top=20", 2),
        ("/users?$expand=manager", 3),
        ("/users?$select=id&$top=5", 1),
        ("/users/delta", 2),
        ("/groups", 1),
        ("/groups/g/members", 3),
        ("/groups/g/members?$select=id", 2),
        ("/groups/g/transitiveMembers", 5),
        ("/users/u/memberOf", 2),
        ("/users/u/licenseDetails", 2),
        ("/subscribedSkus", 3),
        ("/directoryObjects/getByIds", 5),
        ("/directoryObjects/getByIds?$select=id", 2),
        ("/organization", 1),
        ("/organization?$select=id", 1),
    ] {
        assert_eq!(cost("directory", Method::GET, path).await, units, "{path}");
    }
    assert_eq!(cost(&user, Method::GET, &format!("/users/{user}/mailFolders")).await, 1);
}

#[tokio::test]
async fn a_download_costs_one_unit_whichever_way() {
    let client = client(Limits { clock_scale: STILL, ..Limits::documented(1) }).await;
    let drive = drive(&client);
    let file = client.simulator.tenant().files(&drive).unwrap().remove(3).id;
    let item = format!("/drives/{drive}/items/{file}");
    let listed = client.get(&format!("{item}?$select=id,@microsoft.graph.downloadUrl")).await;
    let content = client.get(&format!("{item}/content")).await;
    let units = || counts(&client, "sharepoint").units;
    assert_eq!(units(), 2);
    let redirected = client.download(content.header("location"), &[]).await.unwrap();
    assert_eq!((redirected.status, units()), (200, 2));
    let address = listed.body["@microsoft.graph.downloadUrl"].as_str().unwrap();
    assert_eq!(client.download(address, &[]).await.unwrap().status, 200);
    assert_eq!((units(), counts(&client, "sharepoint").requests), (3, 4));
}

#[tokio::test]
async fn parts_of_a_batch_count_and_the_envelope_does_not() {
    let client = client(directory(5, 0)).await;
    let part = |id: u32| json!({"id": id.to_string(), "method": "GET", "url": "/organization"});
    let envelope = json!({"requests": (0..4).map(part).collect::<Vec<_>>()});
    assert_eq!(client.batch(envelope.clone()).await.status, 200);
    assert_eq!(counts(&client, "directory").units, 4);
    let answer = client.batch(envelope).await;
    let parts = answer.body["responses"].as_array().unwrap();
    let refused: Vec<&Value> = parts.iter().filter(|part| part["status"] == 429).collect();
    assert_eq!((answer.status, refused.len()), (200, 3));
    assert!(refused.iter().all(|part| part["headers"]["Retry-After"].is_string()));
}

#[tokio::test]
async fn sharepoint_tells_how_much_is_left_from_80_percent_on() {
    let client = client(sharepoint(|own| own.minute = 50)).await;
    let root = format!("/drives/{}/root", drive(&client));
    for passed in 1..=52_u64 {
        let answer = client.get(&root).await;
        assert_eq!(answer.status == 429, passed > 50, "{passed}");
        let told = ["ratelimit-limit", "ratelimit-remaining"].map(|name| answer.header(name));
        if passed < 40 {
            assert_eq!(told, ["", ""]);
            continue;
        }
        assert_eq!(told, ["50", &50_u64.saturating_sub(passed).to_string()]);
        let reset = seconds(&answer, "ratelimit-reset") * STILL;
        assert!((59.0..=60.0).contains(&reset), "{reset}");
    }
    let mailbox = client.get(&format!("/users/{}/mailFolders", client.member())).await;
    assert_eq!((mailbox.status, mailbox.header("ratelimit-limit")), (200, ""));
}

#[tokio::test]
async fn the_directory_tells_what_a_request_cost_and_who_is_over_which_limit() {
    let client = client(directory(20, 2)).await;
    for used in (2..=20).step_by(2) {
        let answer = client.get("/users").await;
        assert_eq!(answer.header("x-ms-resource-unit"), "2");
        let part = answer.header("x-ms-throttle-limit-percentage");
        let expected = if used < 16 { String::new() } else { format!("{:.2}", used as f64 / 20.0) };
        assert_eq!(part, expected, "{used}");
    }
    let refused = client.get("/users").await;
    assert_eq!(refused.status, 429);
    let whose = format!("{}/{}", client.simulator.client_id(), client.simulator.tenant_id());
    let scope = format!("Tenant_Application/ReadWrite/{whose}");
    assert_eq!(refused.header("x-ms-throttle-scope"), scope);
    assert_eq!(refused.header("x-ms-throttle-information"), "ResourceUnitLimitExceeded");
    let client = self::client(directory(1_000, 2)).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let answer = send(&client, Method::POST, "/groups", &json!({})).await;
        statuses.push((answer.status, answer.header("x-ms-throttle-information").to_owned()));
    }
    assert_eq!(statuses[2], (429, "WriteLimitExceeded".to_owned()));
    assert!(statuses[..2].iter().all(|(status, _)| *status != 429), "{statuses:?}");
}

#[tokio::test]
async fn what_is_sent_while_told_to_wait_is_counted_and_what_was_under_way_is_not() {
    let limits = Limits { requests: 10, clock_scale: STILL, ..Limits::default() };
    let client = client(limits).await;
    let (user, other) = (client.member(), client.simulator.tenant().users()[1].id.clone());
    let path = format!("/users/{user}/mailFolders/inbox");
    assert_eq!(passes(&client, &path).await.0, 10);
    // The wait is for days, so all of the 50 ms are grace.
    let under_way = client.get(&path).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    let told = client.get(&path).await;
    assert_eq!((under_way.status, told.status), (429, 429));
    assert_eq!(client.get(&path.replace(&user, &other)).await.status, 200);
    let own = counts(&client, &user);
    assert_eq!((own.requests, own.units, own.provoked), (13, 13, 3));
    assert_eq!((own.during_retry_after, own.max_concurrent), (1, 1));
    assert_eq!(counts(&client, &other).during_retry_after, 0);
    let url = format!("{}/_sim/counts", client.simulator.graph_url());
    let seen = client.get(&url).await.body["scopes"][&user].clone();
    let expected = json!({
        "requests": 13, "units": 13, "provoked": 3, "duringRetryAfter": 1, "maxConcurrent": 1,
    });
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn concurrency_is_limited_and_closes_the_mailbox() {
    let limits = Limits { clock_scale: STILL, ..Limits::default() };
    let options =
        Options { limits: Some(limits), latency: Duration::from_millis(200), ..Options::default() };
    let client = Client::new(options).await;
    let path = format!("/users/{}/mailFolders/inbox", client.member());
    let six = futures::future::join_all((0..6).map(|_| client.get(&path))).await;
    let refused: Vec<&Answer> = six.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|answer| answer.code() == "ApplicationThrottled"));
    assert_eq!(client.get(&path).await.status, 429, "a second of the service's is long");
    assert_eq!(counts(&client, &client.member()).max_concurrent, 5);
}

#[tokio::test]
async fn others_and_the_service_itself_may_leave_less() {
    let client = client(sharepoint(|own| (own.minute, own.others) = (40, 0.75))).await;
    let root = format!("/drives/{}/root", drive(&client));
    let answer = client.get(&root).await;
    assert_eq!(answer.header("ratelimit-limit"), "", "31 of 40 used, 30 of them by others");
    let answer = client.get(&root).await;
    assert_eq!(answer.header("ratelimit-remaining"), "8");
    assert_eq!(passes(&client, &root).await.0, 8);

    let client = self::client(sharepoint(|own| own.minute = 40)).await;
    let control = format!("{}/_sim/limits", client.simulator.graph_url());
    let set = async |body: Value| read(client.http.post(&control).json(&body)).await.unwrap();
    assert_eq!(set(json!({"sharepoint": 0.5})).await.status, 200);
    let now = client.get(&control).await.body;
    assert_eq!(now, json!({"outlook": 1.0, "sharepoint": 0.5, "directory": 1.0, "others": 0.0}));
    let (passed, refused) = passes(&client, &root).await;
    assert_eq!((passed, refused.header("ratelimit-limit")), (20, "20"));
    for wrong in [json!({"sharepoint": 0}), json!({"others": 1}), json!({"nonsense": 1})] {
        assert_eq!(set(wrong.clone()).await.status, 400, "{wrong}");
    }
    let factors = Factors { outlook: 0.001, sharepoint: 1.0, directory: 1.0, others: 0.0 };
    client.simulator.set_factors(factors).unwrap();
    let mailbox = format!("/users/{}/mailFolders/inbox", client.member());
    assert_eq!(passes(&client, &mailbox).await.0, 10);
}

#[tokio::test]
async fn a_fixed_window_ends_when_it_was_to_end() {
    let limits =
        Limits { requests: 10, windows: Windows::Fixed, clock_scale: STILL, ..Limits::default() };
    let client = client(limits).await;
    let path = format!("/users/{}/mailFolders/inbox", client.member());
    let (passed, first) = passes(&client, &path).await;
    let second = client.get(&path).await;
    assert_eq!((passed, first.code()), (10, "ApplicationThrottled"));
    assert!(seconds(&second, "retry-after") <= seconds(&first, "retry-after"));
}

#[tokio::test]
async fn limits_that_make_no_sense() {
    for clock_scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let limits = Some(Limits { clock_scale, ..Limits::default() });
        assert!(simulator::serve(Options { limits, ..Options::default() }).await.is_err());
    }
    let limits = Some(sharepoint(|own| own.others = 1.0));
    assert!(simulator::serve(Options { limits, ..Options::default() }).await.is_err());
}

#[tokio::test]
async fn a_fault_closes_its_scope_in_our_time() {
    let client = client(Limits { clock_scale: STILL, ..Limits::default() }).await;
    let fault = "throttle:match=/root,times=1,seconds=0.2".parse::<Fault>().unwrap();
    client.simulator.set_faults(vec![fault]);
    let root = format!("/drives/{}/root", drive(&client));
    let hit = client.get(&root).await;
    assert_eq!((hit.status, hit.header("retry-after")), (429, "0.200"));
    assert_eq!(client.get(&root).await.status, 429);
    assert_eq!(client.get("/users").await.status, 200);
    obey(&hit).await;
    assert_eq!(client.get(&root).await.status, 200);
}
