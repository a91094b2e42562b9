//! Drives: items, delta, downloads, versions.

mod client;

use std::collections::{BTreeMap, HashMap, HashSet};

use client::{Client, ids};
use serde_json::Value;
use simulator::{Options, Profile, UserKind};

async fn drive_of(client: &Client) -> String {
    let user = client.member();
    client.get(&format!("/users/{user}/drive")).await.body["id"].as_str().unwrap().to_owned()
}

/// What a client knows after a round: the last row of each item counts.
fn merged(rows: &[Value]) -> BTreeMap<String, Value> {
    rows.iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone())).collect()
}

/// The path of an item by its parents' names, as only ids and names are to be trusted.
fn path_of(items: &BTreeMap<String, Value>, id: &str) -> String {
    let item = &items[id];
    match item["parentReference"]["id"].as_str() {
        Some(parent) => format!("{}/{}", path_of(items, parent), item["name"].as_str().unwrap()),
        None => String::new(),
    }
}

async fn check_against_tenant(options: Options) -> (Client, usize) {
    let client = Client::new(options).await;
    let drive = drive_of(&client).await;
    let (rows, _) = client.round(&format!("/drives/{drive}/root/delta?$top=7"), &[]).await;
    let mut items = merged(&rows);
    items.retain(|_, item| item.get("deleted").is_none());
    let files = client.simulator.tenant().files(&drive).unwrap();
    for file in &files {
        let item = &items[&file.id];
        assert_eq!(path_of(&items, &file.id), format!("/{}", file.path.join("/")));
        assert_eq!(
            (item["size"].as_u64().unwrap(), &item["eTag"]),
            (file.size, &file.etag.as_str().into())
        );
        assert_eq!(item.get("cTag"), None);
        let content = client.get(&format!("/drives/{drive}/items/{}/content", file.id)).await;
        if file.malware {
            assert_eq!((content.status, content.code()), (403, "malwareDetected"));
            continue;
        }
        if item["name"] == "Abschnitt 1.one" {
            assert_eq!(content.status, 400);
            continue;
        }
        assert_eq!(content.status, 302);
        let body = client.download(content.header("location"), &[]).await.unwrap();
        assert_eq!(body.bytes, file.bytes(), "{:?}", file.path);
        assert_eq!(body.header("etag"), file.etag);
    }
    (client, rows.len() - items.len())
}

#[tokio::test]
async fn delta_lists_what_the_tenant_has() {
    let (_, surplus) = check_against_tenant(Options { files: 60, ..Options::default() }).await;
    assert_eq!(surplus, 0);
    let nasty = Options { files: 60, profile: Profile::Nasty, ..Options::default() };
    let (client, surplus) = check_against_tenant(nasty).await;
    assert!(surplus > 10);
    let drive = drive_of(&client).await;
    let (rows, _) = client.round(&format!("/drives/{drive}/root/delta"), &[]).await;
    assert!(rows.iter().any(|row| row["deleted"]["state"] == "deleted"));
    let position: HashMap<&str, usize> = ids(&rows).into_iter().zip(0..).collect();
    let backwards = rows.iter().enumerate().filter(|(at, row)| {
        let parent = row["parentReference"]["id"].as_str();
        parent.is_some_and(|parent| position[parent] > *at)
    });
    assert!(backwards.count() > 10);
}

#[tokio::test]
async fn children_paths_and_single_items() {
    let client = Client::new(Options::default()).await;
    let drive = drive_of(&client).await;
    let mut open = vec![format!("/drives/{drive}/root/children?$top=3")];
    let mut found = HashSet::new();
    while let Some(url) = open.pop() {
        for row in client.all(&url).await.0 {
            let id = row["id"].as_str().unwrap();
            assert!(found.insert(id.to_owned()));
            if row["folder"]["childCount"].as_u64().is_some_and(|n| n > 0)
                || row.get("package").is_some()
            {
                open.push(format!("/drives/{drive}/items/{id}/children"));
            }
        }
    }
    for file in client.simulator.tenant().files(&drive).unwrap() {
        assert!(found.contains(&file.id), "{:?}", file.path);
        let path: Vec<String> = file
            .path
            .iter()
            .map(|name| {
                percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC)
                    .to_string()
            })
            .collect();
        let item = client.get(&format!("/drives/{drive}/root:/{}", path.join("/"))).await;
        assert_eq!(item.body["id"], file.id.as_str());
        assert!(item.body["cTag"].as_str().unwrap().starts_with("\"c:{"));
        let content =
            client.get(&format!("/drives/{drive}/root:/{}:/content", path.join("/"))).await;
        assert!([302, 400, 403].contains(&content.status), "{}", content.status);
    }
}

#[tokio::test]
async fn ways_to_a_drive_and_what_is_not_there() {
    let client = Client::new(Options::default()).await;
    let drive = drive_of(&client).await;
    let user = client.member();
    assert_eq!(client.get(&format!("/users/{user}/drives")).await.rows()[0]["id"], drive.as_str());
    assert_eq!(client.get(&format!("/users/{user}/drive/root")).await.body["name"], "root");
    assert_eq!(client.get(&format!("/drives/{drive}/items/nonsense")).await.code(), "itemNotFound");
    assert_eq!(client.get("/drives/nonsense/root").await.status, 404);
    let selected = client.get(&format!("/drives/{drive}/root/children?$select=id,name")).await;
    assert!(selected.rows().iter().all(|row| row.as_object().unwrap().len() == 2));
    let urls = client
        .get(&format!("/drives/{drive}/root/children?$select=id,@microsoft.graph.downloadUrl"))
        .await;
    assert!(urls.rows().iter().any(|row| row["@microsoft.graph.downloadUrl"].is_string()));
}

#[tokio::test]
async fn delta_tells_what_changed_since() {
    let client = Client::new(Options::default()).await;
    let (tenant, drive) = (client.simulator.tenant(), drive_of(&client).await);
    let (first, link) = client.round(&format!("/drives/{drive}/root/delta"), &[]).await;
    let before = merged(&first);
    assert_eq!(client.round(&link, &[]).await.0.len(), 0);
    let latest = client.round(&format!("/drives/{drive}/root/delta?token=latest"), &[]).await;
    assert_eq!(latest.0.len(), 0);
    let start = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let files = tenant.files(&drive).unwrap();
    let path = |n: usize| files[n].path.join("/");
    tenant.delete_file(&drive, &path(5)).unwrap();
    tenant.rename_file(&drive, &path(6), "renamed.txt").unwrap();
    tenant.touch(&drive, &path(7)).unwrap();
    tenant.put_file(&drive, &path(8), b"other content").unwrap();
    let new = tenant.put_file(&drive, "Neu/a/b.txt", b"hello").unwrap();
    for link in [link, latest.1, format!("/drives/{drive}/root/delta?token={start}")] {
        let (rows, _) = client.round(&link, &[]).await;
        let after = merged(&rows);
        assert_eq!(after[&files[5].id]["deleted"]["state"], "deleted");
        assert_eq!(after[&files[6].id]["name"], "renamed.txt");
        assert_eq!(after[&files[8].id]["size"], 13);
        assert_eq!(after[&new]["name"], "b.txt");
        for n in 6..9 {
            assert_ne!(after[&files[n].id]["eTag"], before[&files[n].id]["eTag"]);
        }
        assert!(rows.iter().any(|row| row.get("root").is_some()), "parents come along");
    }
    let quiet = client
        .round(
            &format!("/drives/{drive}/root/delta?token={start}"),
            &[("deltaExcludeParent", "true")],
        )
        .await;
    assert!(!quiet.0.iter().any(|row| row.get("root").is_some()));
    let stale = client.get(&format!("/drives/{drive}/root/delta?token=stale")).await;
    assert_eq!((stale.status, stale.code()), (410, "resyncChangesApplyDifferences"));
    assert_eq!(client.get(stale.header("location")).await.status, 200);
    let item =
        async |n: usize| client.get(&format!("/drives/{drive}/items/{}", files[n].id)).await.body;
    assert!(item(7).await["cTag"].as_str().unwrap().ends_with(",1\""));
    assert!(item(8).await["cTag"].as_str().unwrap().ends_with(",2\""));
    let versions = client.get(&format!("/drives/{drive}/items/{}/versions", files[8].id)).await;
    assert_eq!(ids(versions.rows()), ["2.0", "1.0"]);
    let base = format!("/drives/{drive}/items/{}/versions", files[8].id);
    assert_eq!(client.get(&format!("{base}/2.0/content")).await.status, 400);
    let old = client.get(&format!("{base}/1.0/content")).await;
    let old = client.download(old.header("location"), &[]).await.unwrap();
    assert_eq!(old.bytes, files[8].bytes());
}

#[tokio::test]
async fn the_download_host() {
    let client = Client::new(Options::default()).await;
    let drive = drive_of(&client).await;
    let files = client.simulator.tenant().files(&drive).unwrap();
    let file = files.iter().find(|file| file.size > 20_000 && !file.malware).unwrap();
    let content = format!("/drives/{drive}/items/{}/content", file.id);
    let fresh = async || client.get(&content).await.header("location").to_owned();
    let url = fresh().await;
    assert!(url.starts_with(&client.simulator.download_url()) && url.contains("tempauth="));
    let leaked = client.download(&url, &[("authorization", "Bearer x")]).await.unwrap();
    assert_eq!(leaked.status, 401);
    assert_eq!(client.simulator.log().counts().leaked_authorization, 1);
    assert_eq!(
        client.download(&url.replace("tempauth=v1.", "tempauth=v1.A"), &[]).await.unwrap().status,
        401
    );
    let whole = client.download(&url, &[]).await.unwrap();
    assert_eq!(whole.header("content-length"), file.size.to_string());
    let part =
        client.download(&url, &[("range", "bytes=1000-"), ("if-range", &file.etag)]).await.unwrap();
    assert_eq!((part.status, &part.bytes[..]), (206, &whole.bytes[1000..]));
    assert_eq!(part.header("content-range"), format!("bytes 1000-{}/{}", file.size - 1, file.size));
    let beyond =
        client.download(&url, &[("range", &format!("bytes={}-", file.size))]).await.unwrap();
    assert_eq!(beyond.status, 416);
}

#[tokio::test]
async fn addresses_outlive_neither_changes_nor_time() {
    let client = Client::new(Options::default()).await;
    let drive = drive_of(&client).await;
    let files = client.simulator.tenant().files(&drive).unwrap();
    let file = files.iter().find(|file| file.size > 20_000 && !file.malware).unwrap();
    let content = format!("/drives/{drive}/items/{}/content", file.id);
    let url = client.get(&content).await.header("location").to_owned();
    client.simulator.tenant().put_file(&drive, &file.path.join("/"), b"changed").unwrap();
    let stale =
        client.download(&url, &[("range", "bytes=1-"), ("if-range", &file.etag)]).await.unwrap();
    assert_eq!((stale.status, &stale.bytes[..]), (200, &b"changed"[..]));
    let item = client.get(&format!("/drives/{drive}/items/{}", file.id)).await.body;
    let tag = item["eTag"].as_str().unwrap();
    assert_eq!(client.get_with(&content, &[("if-none-match", tag)]).await.status, 304);
    let empty = files.iter().find(|file| file.size == 0).unwrap();
    let url = client.get(&format!("/drives/{drive}/items/{}/content", empty.id)).await;
    let url = url.header("location");
    assert_eq!(client.download(url, &[]).await.unwrap().bytes, b"");
    assert_eq!(client.download(url, &[("range", "bytes=0-")]).await.unwrap().status, 416);
    let short =
        Options { url_lifetime: std::time::Duration::from_millis(100), ..Options::default() };
    let client = Client::new(short).await;
    let url = client.get(&content).await.header("location").to_owned();
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    assert_eq!(client.download(&url, &[]).await.unwrap().status, 401);
}

#[tokio::test]
async fn twenty_gibibytes_cost_nothing_until_read() {
    let size = 20 << 30;
    let client = Client::new(Options { big_file: Some(size), ..Options::default() }).await;
    let drive = drive_of(&client).await;
    let item = client.get(&format!("/drives/{drive}/root:/Sicherung.vhdx")).await.body;
    assert_eq!(item["size"], size);
    assert_eq!(item["file"]["hashes"]["quickXorHash"].as_str().unwrap().len(), 28);
    let url = item["@microsoft.graph.downloadUrl"].as_str().unwrap();
    let end = client.download(url, &[("range", &format!("bytes={}-", size - 1000))]).await.unwrap();
    assert_eq!((end.status, end.bytes.len()), (206, 1000));
}

#[tokio::test]
async fn special_items() {
    let client = Client::new(Options::default()).await;
    let drive = drive_of(&client).await;
    let (rows, _) = client.round(&format!("/drives/{drive}/root/delta"), &[]).await;
    let with = |facet: &str| rows.iter().filter(|row| row.get(facet).is_some()).count();
    assert_eq!((with("package"), with("remoteItem"), with("malware"), with("root")), (1, 1, 1, 1));
    let room = client.user(UserKind::Room).id;
    assert_eq!(client.get(&format!("/users/{room}/drive")).await.code(), "ResourceNotFound");
}
