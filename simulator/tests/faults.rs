//! Misbehaviour on demand, and what the log makes of it.

mod client;

use std::time::Duration;

use client::{Client, IMMUTABLE, ids};
use simulator::{Fault, Kind, Limits, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn faults(texts: &[&str]) -> Options {
    let faults = texts.iter().map(|text| text.parse::<Fault>().unwrap()).collect();
    Options { faults, ..Options::default() }
}

async fn with(texts: &[&str]) -> (Client, String) {
    let client = Client::new(faults(texts)).await;
    let user = client.member();
    (client, user)
}

#[tokio::test]
async fn statuses_come_once_per_url() {
    for (name, status, code) in [
        ("throttle", 429, "TooManyRequests"),
        ("throttle-bare", 429, "TooManyRequests"),
        ("unavailable", 503, "serviceNotAvailable"),
        ("timeout", 504, "UnknownError"),
        ("server-error", 500, "ErrorInternalServerTransientError"),
        ("html-error", 502, ""),
        ("empty-503", 503, ""),
    ] {
        let (client, user) =
            with(&[&format!("{name}:match=mailFolders,times=1,seconds=0.05")]).await;
        let url = format!("/users/{user}/mailFolders");
        let hit = client.get(&url).await;
        assert_eq!((hit.status, hit.code()), (status, code), "{name}");
        let told = !hit.header("retry-after").is_empty();
        assert_eq!(told, ["throttle", "unavailable"].contains(&name), "{name}");
        assert_eq!(name == "html-error", hit.bytes.starts_with(b"<html>"));
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(client.get(&url).await.status, 200, "{name}");
        assert_eq!(client.get("/organization").await.status, 200, "{name}");
        assert_eq!(client.simulator.log().counts().by_fault[name], 1);
    }
}

#[tokio::test]
async fn a_throttled_mailbox_stays_closed_and_others_do_not() {
    let (client, user) = with(&["throttle:match=inbox,seconds=0.4"]).await;
    let other = client.simulator.tenant().users()[1].id.clone();
    let hit = client.get(&format!("/users/{user}/mailFolders/inbox")).await;
    assert_eq!((hit.status, hit.header("retry-after")), (429, "0.400"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.get(&format!("/users/{user}/mailFolders/drafts")).await.status, 429);
    assert_eq!(client.get(&format!("/users/{other}/mailFolders/drafts")).await.status, 200);
    let log = client.simulator.log();
    assert_eq!((log.during_retry_after(), log.provoked()), (1, 1));
    tokio::time::sleep(Duration::from_millis(350)).await;
    assert_eq!(client.get(&format!("/users/{user}/mailFolders/drafts")).await.status, 200);
}

#[tokio::test]
async fn connections_break() {
    let (client, user) = with(&["reset:match=drafts", "truncate:match=inbox"]).await;
    let url = |folder| format!("/users/{user}/mailFolders/{folder}");
    assert!(client.try_get(&url("drafts"), &[]).await.is_err());
    assert_eq!(client.get(&url("drafts")).await.status, 200);
    assert!(client.try_get(&url("inbox"), &[]).await.is_err());
    assert_eq!(client.get(&url("inbox")).await.status, 200);
    let counts = client.simulator.log().counts();
    assert_eq!((counts.by_status[&0], counts.by_fault["truncate"]), (1, 1));
    let address = client.simulator.graph_url().replace("http://", "");
    client.simulator.set_faults(vec![Fault::new(Kind::Reset)]);
    let mut raw = tokio::net::TcpStream::connect(address).await.unwrap();
    raw.write_all(b"GET /v1.0/users HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let _ = raw.read_to_end(&mut heard).await;
    assert_eq!(heard, b"", "a reset is no reply at all");
    let (client, user) = with(&["no-length", "truncate:match=$value"]).await;
    let id = client.simulator.tenant().messages(&user).unwrap()[0].id.clone();
    let url = format!("/users/{user}/messages/{id}/$value");
    assert!(client.try_get(&url, &[]).await.is_err());
    let whole = client.get(&url).await;
    assert_eq!((whole.status, whole.header("content-length")), (200, ""));
}

#[tokio::test]
async fn a_token_is_revoked_in_mid_run() {
    let (mut client, _) = with(&["token-expiry:after=2"]).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(client.get("/organization").await.status);
    }
    assert_eq!(statuses, [200, 200, 401, 401]);
    client.sign_in().await;
    assert_eq!(client.get("/organization").await.status, 200);
}

#[tokio::test]
async fn delta_rounds_are_lost_repeated_and_permuted() {
    let (client, user) = with(&["delta-gone"]).await;
    let url = format!("/users/{user}/mailFolders/inbox/messages/delta?$select=subject");
    let paged = [IMMUTABLE, ("prefer", "odata.maxpagesize=5")];
    let first = client.get_with(&url, &paged).await;
    let lost = client.get_with(first.next().unwrap(), &paged).await;
    assert_eq!((lost.status, lost.code()), (410, "SyncStateNotFound"));
    let (rows, _) = client.round(&url, &paged).await;
    assert_eq!(rows.len(), 21);
    let drive =
        client.get(&format!("/users/{user}/drive")).await.body["id"].as_str().unwrap().to_owned();
    let first = client.get(&format!("/drives/{drive}/root/delta?$top=5")).await;
    let lost = client.get(first.next().unwrap()).await;
    assert_eq!((lost.status, lost.code()), (410, "resyncChangesApplyDifferences"));
    let (client, user) = with(&["repeat:rate=1", "reorder:rate=1"]).await;
    let url = format!("/users/{user}/mailFolders/inbox/messages/delta?$select=subject");
    let (shuffled, _) = client.round(&url, &paged).await;
    assert!(shuffled.len() > 21);
    let distinct: std::collections::BTreeSet<_> = ids(&shuffled).into_iter().collect();
    assert_eq!(distinct, ids(&rows).into_iter().collect());
}

#[tokio::test]
async fn things_happen_between_list_and_fetch() {
    let (client, user) =
        with(&["vanish:match=$value,rate=0.2", "change:match=$value,rate=0.5"]).await;
    let url = format!("/users/{user}/mailFolders/inbox/messages/delta?$select=changeKey");
    let (rows, link) = client.round(&url, &[IMMUTABLE]).await;
    let mut gone = Vec::new();
    for id in ids(&rows) {
        let answer = client.get(&format!("/users/{user}/messages/{id}/$value")).await;
        if answer.status == 404 {
            gone.push(id);
        }
    }
    let (changes, _) = client.round(&link, &[IMMUTABLE]).await;
    let removed: Vec<_> =
        changes.iter().filter(|row| row.get("@removed").is_some()).cloned().collect();
    assert_eq!(ids(&removed).len(), gone.len());
    assert!(!gone.is_empty() && changes.len() > gone.len());
    let (client, user) = with(&["move"]).await;
    let before = client.simulator.tenant().messages(&user).unwrap().len();
    let (first, link) = client.round(&url.replace(&user, &client.member()), &[IMMUTABLE]).await;
    let (moved, _) = client.round(&link, &[IMMUTABLE]).await;
    assert_eq!((first.len(), moved.len()), (21, 1));
    assert_eq!(client.simulator.tenant().messages(&user).unwrap().len(), before);
}

#[tokio::test]
async fn flaws_stay_with_their_items() {
    let (client, user) = with(&["mime", "corrupt:rate=0.1", "unstable-mime"]).await;
    let mails = client.simulator.tenant().messages(&user).unwrap();
    let (mut corrupt, mut unstable) = (0, 0);
    for mail in &mails {
        let url = format!("/users/{user}/messages/{}/$value", mail.id);
        let (first, second) = (client.get(&url).await, client.get(&url).await);
        assert_eq!((first.status, first.code()), (second.status, second.code()));
        match first.code() {
            "" => unstable += u32::from(first.bytes != second.bytes),
            "ErrorMimeContentConversionFailed" => assert_eq!(mail.class, "IPM.Note.SMIME"),
            other => {
                assert_eq!((first.status, other), (500, "ErrorCorruptData"));
                corrupt += 1;
            }
        }
    }
    assert!(corrupt > 0 && unstable > 10);
}

#[tokio::test]
async fn drive_faults() {
    let (client, user) =
        with(&["url-expired", "malware:rate=0.2", "size-lie:rate=0.5", "range-ignored"]).await;
    let drive =
        client.get(&format!("/users/{user}/drive")).await.body["id"].as_str().unwrap().to_owned();
    let files = client.simulator.tenant().files(&drive).unwrap();
    let (mut infected, mut lies, mut cut, mut dead) = (0, 0, 0, 0);
    for file in &files {
        let item = client.get(&format!("/drives/{drive}/items/{}", file.id)).await.body;
        infected += u32::from(item.get("malware").is_some());
        lies += u32::from(item["size"] != file.size);
        let content = client.get(&format!("/drives/{drive}/items/{}/content", file.id)).await;
        if content.status != 302 {
            continue;
        }
        match client.download(content.header("location"), &[]).await {
            Ok(answer) if answer.status == 401 => dead += 1,
            Ok(answer) => assert_eq!(answer.bytes.len(), 0),
            Err(_) => cut += 1,
        }
        assert_eq!(client.download(content.header("location"), &[]).await.unwrap().status, 401);
        let again = client.get(&format!("/drives/{drive}/items/{}/content", file.id)).await;
        let whole =
            client.download(again.header("location"), &[("range", "bytes=1-")]).await.unwrap();
        assert_eq!((whole.status, whole.bytes), (200, file.bytes().to_vec()));
    }
    assert!(infected > 2 && lies > 2 && cut > 5 && dead > 5, "{infected} {lies} {cut} {dead}");
}

#[tokio::test]
async fn a_restless_file() {
    for (text, kept) in [("restless:versions=kept", 3), ("restless:versions=gone", 1)] {
        let (client, user) = with(&[text]).await;
        let drive = client.get(&format!("/users/{user}/drive")).await.body["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let files = client.simulator.tenant().files(&drive).unwrap();
        let largest = files.iter().max_by_key(|file| file.size).unwrap();
        let base = format!("/drives/{drive}/items/{}", largest.id);
        let url = client.get(&format!("{base}/content")).await.header("location").to_owned();
        let first = client.download(&url, &[]).await.unwrap();
        let second = client
            .download(&url, &[("range", "bytes=9-"), ("if-range", first.header("etag"))])
            .await
            .unwrap();
        assert_eq!(second.status, 200);
        assert_ne!(first.header("etag"), second.header("etag"));
        let versions = client.get(&format!("{base}/versions")).await;
        assert_eq!(versions.rows().len(), kept, "{text}");
        let old = client.get(&format!("{base}/versions/2.0/content")).await;
        if kept == 1 {
            assert_eq!(old.status, 404);
        } else {
            let old =
                client.download(old.header("location"), &[("range", "bytes=100-")]).await.unwrap();
            assert_eq!((old.status, &old.bytes[..]), (206, &first.bytes[100..]));
        }
    }
}

#[tokio::test]
async fn one_seed_one_fate() {
    let fate = async |seed| {
        let client =
            Client::new(Options { fault_seed: seed, ..faults(&["server-error:rate=0.3"]) }).await;
        let mut statuses = Vec::new();
        for n in 1..100 {
            statuses.push(client.get(&format!("/users?$top={n}")).await.status);
        }
        statuses
    };
    assert_eq!(fate(1).await, fate(1).await);
    assert_ne!(fate(1).await, fate(2).await);
}

#[tokio::test]
async fn limits_count_per_mailbox() {
    let limits = Limits {
        requests: 20,
        window: Duration::from_secs(60),
        clock_scale: 100.0,
        ..Limits::default()
    };
    let options =
        Options { limits: Some(limits), latency: Duration::from_millis(20), ..Options::default() };
    let client = Client::new(options).await;
    let user = client.member();
    let url = format!("/users/{user}/mailFolders/inbox");
    let six = futures::future::join_all((0..6).map(|_| client.get(&url))).await;
    let refused: Vec<_> = six.iter().filter(|answer| answer.status == 429).collect();
    assert!(
        !refused.is_empty() && refused.iter().all(|answer| answer.code() == "ApplicationThrottled")
    );
    let log = client.simulator.log();
    assert!(log.max_concurrent(Some(&user)) > 4);
    assert_eq!(log.provoked(), refused.len() as u64);
    let mut last = client.get(&url).await;
    for _ in 0..30 {
        last = client.get(&url).await;
        if last.status == 429 {
            break;
        }
    }
    let wait: f64 = last.header("retry-after").parse().unwrap();
    assert!(wait > 0.0 && wait <= 0.6, "{wait}");
    tokio::time::sleep(Duration::from_secs_f64(wait)).await;
    assert_eq!(client.get(&url).await.status, 200);
}

#[tokio::test]
async fn pages_are_capped_and_permuted() {
    let options = Options { page_cap: Some(4), reorder: true, ..Options::default() };
    let client = Client::new(options).await;
    let user = client.member();
    let (rows, pages) =
        client.all(&format!("/users/{user}/mailFolders/inbox/messages?$top=999&$select=id")).await;
    assert_eq!((rows.len(), pages), (21, 6));
    let (rows, _) = client
        .round(&format!("/users/{user}/mailFolders/inbox/messages/delta"), &[IMMUTABLE])
        .await;
    assert_eq!(rows.len(), 21);
    assert!(client.all("/users?$top=999").await.1 > 2);
}

#[tokio::test]
async fn every_fault_has_a_name_and_can_be_set() {
    let client = Client::new(Options::default()).await;
    for kind in Kind::ALL {
        assert_eq!(kind.name().parse::<Fault>().unwrap().kind, *kind);
        client.simulator.set_faults(vec![Fault::new(*kind)]);
        let _ = client.try_get(&format!("/users/{}/mailFolders", client.member()), &[]).await;
    }
}
