//! Drives: what clients put into them.

mod client;

use std::time::Duration;

use client::{Answer, Client, read};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simulator::schema::model;
use simulator::{Credentials, Options};

/// The unit of fragments.
const UNIT: usize = 320 << 10;

/// A tenant with one empty drive.
struct Desk {
    client: Client,
    drive: String,
}

/// One user, without mails and files, and an application that may write.
fn empty() -> Options {
    Options {
        users: 1,
        special_users: false,
        mails: 0,
        files: 0,
        credentials: Credentials::restoring(),
        ..Options::default()
    }
}

impl Desk {
    async fn new(options: Options) -> Desk {
        let client = Client::new(options).await;
        let user = client.member();
        let drive = client.get(&format!("/users/{user}/drive")).await;
        assert_eq!(drive.status, 200, "{}", drive.body);
        let drive = drive.body["id"].as_str().unwrap().to_owned();
        Desk { client, drive }
    }

    /// A request below the drive.
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let root = self.client.simulator.graph_url();
        let url = format!("{root}/v1.0/drives/{}/{path}", self.drive);
        let mut request = self.client.http.request(method, url).bearer_auth(&self.client.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request.body(body)).await.unwrap()
    }

    async fn json(&self, method: Method, path: &str, body: Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(method, path, &headers, body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.client.get(&format!("/drives/{}/{path}", self.drive)).await
    }

    async fn put(&self, path: &str, bytes: &[u8]) -> Answer {
        self.send(Method::PUT, path, &[], bytes.to_vec()).await
    }

    async fn folder(&self, parent: &str, name: &str) -> String {
        let body = json!({"name": name, "folder": {}});
        let made = self.json(Method::POST, &format!("items/{parent}/children"), body).await;
        assert_eq!(made.status, 201, "{}", made.body);
        made.id()
    }

    /// Opens a session; returns its address.
    async fn session(&self, path: &str, body: Value) -> String {
        let opened = self.json(Method::POST, &format!("{path}:/createUploadSession"), body).await;
        assert_eq!(opened.status, 200, "{}", opened.body);
        assert_eq!(opened.body["nextExpectedRanges"], json!(["0-"]));
        let published = &model().get("uploadSession").unwrap().properties;
        let members = opened.body.as_object().unwrap().keys();
        let members: Vec<_> = members.filter(|name| !name.starts_with('@')).collect();
        assert!(members.iter().all(|name| published.contains_key(name.as_str())), "{members:?}");
        opened.body["uploadUrl"].as_str().unwrap().to_owned()
    }

    /// A request to a session, without a token.
    async fn visit(&self, method: Method, url: &str, range: &str, bytes: &[u8]) -> Answer {
        let mut request = self.client.http.request(method, url);
        if !range.is_empty() {
            request = request.header("content-range", range);
        }
        read(request.body(bytes.to_vec())).await.unwrap()
    }

    /// A fragment of `all`.
    async fn fragment(&self, url: &str, all: &[u8], from: usize, to: usize) -> Answer {
        let range = format!("bytes {from}-{}/{}", to - 1, all.len());
        self.visit(Method::PUT, url, &range, &all[from..to]).await
    }

    /// The bytes of an item as a client would fetch them.
    async fn content(&self, id: &str) -> Vec<u8> {
        let there = self.get(&format!("items/{id}/content")).await;
        assert_eq!(there.status, 302, "{}", there.body);
        self.client.download(there.header("location"), &[]).await.unwrap().bytes
    }

    /// Names below an item.
    async fn names(&self, path: &str) -> Vec<String> {
        let rows = self.get(&format!("{path}/children")).await;
        let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
        rows.rows().iter().map(name).collect()
    }
}

trait Item {
    fn id(&self) -> String;
}

impl Item for Answer {
    fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_default().to_owned()
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn refused(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.code())
}

#[tokio::test]
async fn small_uploads() {
    let desk = Desk::new(empty()).await;
    let made = desk.put("items/root:/A%20%231%25.txt:/content", b"hello world").await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["name"], "A #1%.txt");
    assert_eq!(made.body["size"], 11);
    assert_eq!(made.body["file"]["hashes"]["quickXorHash"], "aCgDG9jwBhDc4Q1yawMZAAAAAAA=");
    assert_eq!(desk.content(&made.id()).await, b"hello world");
    // The same name in another case is the same file, with a new version.
    let again = desk.put("root:/a%20%231%25.TXT:/content", b"other").await;
    assert_eq!((again.status, again.id()), (200, made.id()));
    assert_ne!(again.body["eTag"], made.body["eTag"]);
    assert_ne!(again.body["cTag"], made.body["cTag"]);
    let versions = desk.get(&format!("items/{}/versions", made.id())).await;
    let sizes: Vec<_> = versions.rows().iter().map(|row| row["size"].clone()).collect();
    assert_eq!(sizes, [5, 11]);
    let nothing = desk.put("root:/leer.txt:/content", b"").await;
    assert_eq!((nothing.status, &nothing.body["size"]), (201, &json!(0)));
    assert_eq!(nothing.body["file"]["hashes"]["quickXorHash"], "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let by_id = desk.put(&format!("items/{}/content", nothing.id()), b"full").await;
    assert_eq!((by_id.status, &by_id.body["size"]), (200, &json!(4)));
    assert_eq!(desk.content(&nothing.id()).await, b"full");
    let missing = desk.put("root:/No/where.txt:/content", b"x").await;
    assert_eq!(refused(&missing), (404, "itemNotFound"));
    let folder = desk.folder("root", "Folder").await;
    let blocked = desk.put("root:/folder:/content", b"x").await;
    assert_eq!(refused(&blocked), (409, "nameAlreadyExists"));
    let blocked = desk.put(&format!("items/{folder}/content"), b"x").await;
    assert_eq!(refused(&blocked), (400, "invalidRequest"));
    let too_much = desk.put("root:/big.bin:/content", &vec![0; 250_000_001]).await;
    assert_eq!(too_much.status, 413);
}

#[tokio::test]
async fn conflicts() {
    let desk = Desk::new(empty()).await;
    let option = |how| format!("root:/a.txt:/content?@microsoft.graph.conflictBehavior={how}");
    let first = desk.put(&option("fail"), b"1").await;
    assert_eq!(first.status, 201);
    assert_eq!(refused(&desk.put(&option("fail"), b"2").await), (409, "nameAlreadyExists"));
    assert_eq!(desk.content(&first.id()).await, b"1");
    for (name, bytes) in [("a 1.txt", b"2"), ("a 2.txt", b"3")] {
        let renamed = desk.put(&option("rename"), bytes).await;
        assert_eq!((renamed.status, &renamed.body["name"]), (201, &json!(name)));
    }
    let replaced = desk.put(&option("replace"), b"4").await;
    assert_eq!((replaced.status, replaced.id()), (200, first.id()));
    assert_eq!(refused(&desk.put(&option("burn"), b"5").await), (400, "invalidRequest"));
    let stale = [("if-match", first.body["eTag"].as_str().unwrap())];
    let late = desk.send(Method::PUT, "root:/a.txt:/content", &stale, "6").await;
    assert_eq!(refused(&late), (412, "resourceModified"));
    let fresh = [("if-match", replaced.body["eTag"].as_str().unwrap())];
    let in_time = desk.send(Method::PUT, "root:/a.txt:/content", &fresh, "7").await;
    assert_eq!(in_time.status, 200);
}

#[tokio::test]
async fn two_at_a_time_never_both_find_a_name_free() {
    let desk = Desk::new(empty()).await;
    let all = async |how: &str| {
        let path = format!("root:/{how}.txt:/content?@microsoft.graph.conflictBehavior={how}");
        let answers = (0..20).map(|_| desk.put(&path, b"x"));
        futures::future::join_all(answers).await
    };
    let new = |answers: &[Answer]| answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(new(&all("fail").await), 1);
    assert_eq!(new(&all("replace").await), 1);
    assert_eq!(new(&all("rename").await), 20);
    let mut names = desk.names("root").await;
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 22);
    let folder = json!({"name": "Ordner", "folder": {}});
    let folders = (0..20).map(|_| desk.json(Method::POST, "root/children", folder.clone()));
    assert_eq!(new(&futures::future::join_all(folders).await), 1);
}

#[tokio::test]
async fn names_and_paths_that_sharepoint_refuses() {
    let desk = Desk::new(empty()).await;
    for name in ["a%3Ab", "%20a", "a.", "~$a", "CON", "com1", "a_vti_b", "desktop.ini", "forms"] {
        let answer = desk.put(&format!("root:/{name}:/content"), b"x").await;
        assert_eq!(refused(&answer), (400, "invalidRequest"), "{name}");
    }
    let folder = |name: &str| json!({"name": name, "folder": {}});
    for name in ["a/b", "a|b", "a ", ""] {
        let answer = desk.json(Method::POST, "root/children", folder(name)).await;
        assert_eq!(refused(&answer), (400, "invalidRequest"), "{name}");
    }
    let deep = desk.folder("root", &"d".repeat(200)).await;
    let site = desk.get("root").await.body["webUrl"].as_str().unwrap().to_owned();
    let site = site.strip_prefix("https://contoso-my.sharepoint.com/").unwrap();
    let room = 400 - format!("{site}/{}/", "d".repeat(200)).len();
    let fits = desk.put(&format!("items/{deep}:/{}:/content", "f".repeat(room)), b"x").await;
    assert_eq!(fits.status, 201, "{}", fits.body);
    let longer = desk.put(&format!("items/{deep}:/{}:/content", "f".repeat(room + 1)), b"x").await;
    assert_eq!(refused(&longer), (400, "invalidRequest"));
    assert_eq!(longer.body["error"]["innerError"]["code"], "pathIsTooLong");
}

#[tokio::test]
async fn upload_sessions() {
    let desk = Desk::new(empty()).await;
    let bytes = noise(5 * UNIT + 77);
    let times = json!({
        "createdDateTime": "2001-02-03T04:05:06Z",
        "lastModifiedDateTime": "2002-03-04T05:06:07.890Z",
    });
    let item = json!({"item": {
        "@microsoft.graph.conflictBehavior": "fail", "name": "ö.bin", "fileSystemInfo": times,
    }});
    let url = desk.session("items/root:/%C3%B6.bin", item.clone()).await;
    assert!(url.starts_with(&desk.client.simulator.download_url()));
    // A token is refused, and so is what does not fit.
    let with_token = desk.client.http.put(&url).bearer_auth(&desk.client.token);
    let range = format!("bytes 0-{}/{}", UNIT - 1, bytes.len());
    let with_token = with_token.header("content-range", range).body(bytes[..UNIT].to_vec());
    assert_eq!(read(with_token).await.unwrap().status, 401);
    assert_eq!(desk.fragment(&url, &bytes, 0, UNIT + 1).await.status, 400);
    assert_eq!(desk.fragment(&url, &bytes, UNIT, 2 * UNIT).await.status, 416);
    assert_eq!(desk.visit(Method::PUT, &url, "", &bytes[..UNIT]).await.status, 400);
    assert_eq!(desk.visit(Method::PUT, &url, "bytes 0-9/100", b"short").await.status, 400);
    assert_eq!(desk.visit(Method::PUT, &url, "bytes 0-0/0", b"").await.status, 400);
    let huge = vec![0; 60 << 20];
    let range = format!("bytes 0-{}/{}", huge.len() - 1, 2 * huge.len());
    assert_eq!(desk.visit(Method::PUT, &url, &range, &huge).await.status, 413);
    // None of that has moved it.
    let first = desk.fragment(&url, &bytes, 0, 2 * UNIT).await;
    assert_eq!(first.status, 202, "{}", first.body);
    let next = format!("{}-", 2 * UNIT);
    assert_eq!(first.body["nextExpectedRanges"], json!([next]));
    assert!(first.body["expirationDateTime"].is_string());
    let twice = desk.fragment(&url, &bytes, 0, 2 * UNIT).await;
    assert_eq!(refused(&twice), (416, "invalidRange"));
    let status = desk.visit(Method::GET, &url, "", b"").await;
    assert_eq!((status.status, &status.body["nextExpectedRanges"]), (200, &json!([next])));
    let other_total = desk.fragment(&url, &bytes[..4 * UNIT], 2 * UNIT, 3 * UNIT).await;
    assert_eq!(other_total.status, 400);
    assert_eq!(desk.fragment(&url, &bytes, 2 * UNIT, 5 * UNIT).await.status, 202);
    let made = desk.fragment(&url, &bytes, 5 * UNIT, bytes.len()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["fileSystemInfo"]["createdDateTime"], "2001-02-03T04:05:06Z");
    assert_eq!(made.body["fileSystemInfo"]["lastModifiedDateTime"], "2002-03-04T05:06:07Z");
    assert_ne!(made.body["createdDateTime"], "2001-02-03T04:05:06Z");
    assert_eq!(desk.content(&made.id()).await, bytes);
    assert_eq!(desk.visit(Method::GET, &url, "", b"").await.status, 404);
    // The name is taken now, which shows at the end.
    let url = desk.session("items/root:/%C3%B6.bin", item).await;
    let taken = desk.fragment(&url, b"new", 0, 3).await;
    assert_eq!(refused(&taken), (409, "nameAlreadyExists"));
    let adopted = json!({
        "name": "ö.bin", "@microsoft.graph.conflictBehavior": "rename",
        "@microsoft.graph.sourceUrl": url,
    });
    let adopted = desk.json(Method::PUT, "root", adopted).await;
    assert_eq!((adopted.status, &adopted.body["name"]), (201, &json!("ö 1.bin")));
    assert_eq!(desk.content(&adopted.id()).await, b"new");
}

#[tokio::test]
async fn sessions_end() {
    let desk = Desk::new(empty()).await;
    let cancelled = desk.session("root:/a.bin", json!({})).await;
    assert_eq!(desk.visit(Method::DELETE, &cancelled, "", b"").await.status, 204);
    assert_eq!(desk.fragment(&cancelled, b"x", 0, 1).await.status, 404);
    let deferred = desk.session("root:/a.bin", json!({"deferCommit": true})).await;
    let early = desk.visit(Method::POST, &deferred, "", b"").await;
    assert_eq!(early.status, 400);
    let whole = desk.fragment(&deferred, b"xy", 0, 2).await;
    assert_eq!((whole.status, &whole.body["nextExpectedRanges"]), (202, &json!([])));
    assert!(desk.names("root").await.is_empty());
    let made = desk.visit(Method::POST, &deferred, "", b"").await;
    assert_eq!((made.status, &made.body["name"]), (201, &json!("a.bin")));
    // By its id an existing file gets a new version.
    let path = format!("items/{}/createUploadSession", made.id());
    let opened = desk.json(Method::POST, &path, json!({})).await;
    let url = opened.body["uploadUrl"].as_str().unwrap();
    let replaced = desk.fragment(url, b"xyz", 0, 3).await;
    assert_eq!((replaced.status, replaced.id()), (200, made.id()));
    for item in [json!({"fileSize": 3}), json!({"description": "x"}), json!({"name": "b.bin"})] {
        let path = "root:/c.bin:/createUploadSession";
        let answer = desk.json(Method::POST, path, json!({"item": item})).await;
        assert_eq!(refused(&answer), (400, "invalidRequest"), "{item}");
    }
    desk.client.simulator.set_faults(vec!["session-lost:times=1".parse().unwrap()]);
    let url = desk.session("root:/d.bin", json!({})).await;
    assert_eq!(desk.fragment(&url, b"x", 0, 1).await.status, 404);
    let url = desk.session("root:/d.bin", json!({})).await;
    assert_eq!(desk.fragment(&url, b"x", 0, 1).await.status, 201);
}

#[tokio::test]
async fn sessions_expire() {
    let options = Options { upload_lifetime: Duration::ZERO, ..empty() };
    let desk = Desk::new(options).await;
    let url = desk.session("root:/a.bin", json!({})).await;
    assert_eq!(desk.fragment(&url, b"x", 0, 1).await.status, 404);
}

#[tokio::test]
async fn the_answer_to_the_last_fragment_gets_lost() {
    let desk = Desk::new(empty()).await;
    let url = desk.session("root:/a.bin", json!({})).await;
    desk.client.simulator.set_faults(vec!["reset-after".parse().unwrap()]);
    let request = desk.client.http.put(&url).header("content-range", "bytes 0-1/2").body("ab");
    assert!(read(request).await.is_err());
    assert_eq!(desk.visit(Method::GET, &url, "", b"").await.status, 404);
    let found = desk.get("root:/a.bin").await;
    assert_eq!((found.status, &found.body["size"]), (200, &json!(2)));
}

#[tokio::test]
async fn folders() {
    let desk = Desk::new(empty()).await;
    assert!(desk.names("root").await.is_empty());
    let folder = |how: &str| json!({"name": "Ordner", "folder": {}, "@microsoft.graph.conflictBehavior": how});
    let made = desk.json(Method::POST, "root/children", folder("fail")).await;
    assert_eq!((made.status, &made.body["folder"]["childCount"]), (201, &json!(0)));
    let again = desk.json(Method::POST, "root/children", folder("fail")).await;
    assert_eq!(refused(&again), (409, "nameAlreadyExists"));
    let same = desk.json(Method::POST, "root/children", folder("replace")).await;
    assert_eq!((same.status, same.id()), (200, made.id()));
    let other = desk.json(Method::POST, "root/children", folder("rename")).await;
    assert_eq!((other.status, &other.body["name"]), (201, &json!("Ordner 1")));
    let file = json!({"name": "a.txt", "file": {}});
    assert_eq!(desk.json(Method::POST, "root/children", file).await.status, 400);
    let inner = desk.json(Method::POST, "root:/ordner:/children", folder("fail")).await;
    assert_eq!(inner.body["parentReference"]["id"], made.body["id"]);
    let found = desk.get("root:/ordner/ordner?$select=id,name").await;
    assert_eq!(found.id(), inner.id());
    assert!(found.body.get("size").is_none());
    let found = desk.get(&format!("items/{}:/Ordner:?$select=id", made.id())).await;
    assert_eq!(found.id(), inner.id());
}

#[tokio::test]
async fn dates_of_folders_move_and_can_be_set() {
    let desk = Desk::new(empty()).await;
    let folder = desk.folder("root", "Ordner").await;
    let path = format!("items/{folder}");
    let date = "1999-12-31T23:59:59Z";
    let old = json!({"fileSystemInfo": {"lastModifiedDateTime": date}});
    let set = desk.json(Method::PATCH, &path, old.clone()).await;
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!(set.body["fileSystemInfo"]["lastModifiedDateTime"], date);
    desk.put(&format!("items/{folder}:/a.txt:/content"), b"x").await;
    let moved = desk.get(&path).await;
    assert_ne!(moved.body["fileSystemInfo"]["lastModifiedDateTime"], date);
    assert_ne!(moved.body["eTag"], set.body["eTag"]);
    let set = desk.json(Method::PATCH, &path, old).await;
    assert_eq!(set.body["fileSystemInfo"]["lastModifiedDateTime"], date);
    assert_eq!(desk.get(&path).await.body["fileSystemInfo"], set.body["fileSystemInfo"]);
}

#[tokio::test]
async fn items_change() {
    let desk = Desk::new(empty()).await;
    let (from, to) = (desk.folder("root", "from").await, desk.folder("root", "to").await);
    let made = desk.put("root:/from/a.txt:/content", b"x").await;
    let path = format!("items/{}", made.id());
    let times = json!({"fileSystemInfo": {"createdDateTime": "2001-01-01T01:01:01+01:00"}});
    let dated = desk.json(Method::PATCH, &path, times).await;
    assert_eq!(dated.body["fileSystemInfo"]["createdDateTime"], "2001-01-01T00:01:01Z");
    assert_ne!(dated.body["eTag"], made.body["eTag"]);
    assert_eq!(dated.body["cTag"], made.body["cTag"]);
    desk.put("root:/to/b.txt:/content", b"y").await;
    let body = json!({"name": "B.txt", "parentReference": {"id": to}});
    let taken = desk.json(Method::PATCH, &path, body).await;
    assert_eq!(refused(&taken), (409, "nameAlreadyExists"));
    let body = json!({"name": "c.txt", "parentReference": {"id": to}});
    let stale = [("if-match", made.body["eTag"].as_str().unwrap())];
    let late = desk.send(Method::PATCH, &path, &stale, body.to_string()).await;
    assert_eq!(refused(&late), (412, "resourceModified"));
    let ctag = [("if-match", made.body["cTag"].as_str().unwrap())];
    let moved = desk.send(Method::PATCH, &path, &ctag, body.to_string()).await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    assert_eq!(desk.names("root:/to:").await, ["b.txt", "c.txt"]);
    assert!(desk.names("root:/from:").await.is_empty());
    assert_eq!(moved.body["fileSystemInfo"]["createdDateTime"], "2001-01-01T00:01:01Z");
    let circle = json!({"parentReference": {"id": from}});
    let circle = desk.json(Method::PATCH, &format!("items/{from}"), circle).await;
    assert_eq!(refused(&circle), (400, "invalidRequest"));
    for body in [json!({"size": 3}), json!({"name": "a:b"}), json!({"name": 5})] {
        let answer = desk.json(Method::PATCH, &path, body.clone()).await;
        assert_eq!(refused(&answer), (400, "invalidRequest"), "{body}");
    }
    let elsewhere = json!({"parentReference": {"driveId": "b!other", "id": to}});
    assert_eq!(desk.json(Method::PATCH, &path, elsewhere).await.status, 400);
}

#[tokio::test]
async fn items_go() {
    let desk = Desk::new(empty()).await;
    desk.folder("root", "Ordner").await;
    let made = desk.put("root:/Ordner/a.txt:/content", b"x").await;
    let other = desk.put("root:/Ordner/b.txt:/content", b"x").await;
    let stale = [("if-match", "\"{00000000},1\"")];
    let path = format!("items/{}", made.id());
    assert_eq!(desk.send(Method::DELETE, &path, &stale, "").await.status, 412);
    assert_eq!(desk.send(Method::DELETE, &path, &[], "").await.status, 204);
    assert_eq!(refused(&desk.get(&path).await), (404, "itemNotFound"));
    assert_eq!(desk.send(Method::DELETE, &path, &[], "").await.status, 404);
    let tenant = desk.client.simulator.tenant();
    assert_eq!(tenant.recycle_bin(&desk.drive).unwrap(), [["Ordner", "a.txt"]]);
    let path = format!("items/{}/permanentDelete", other.id());
    assert_eq!(desk.send(Method::POST, &path, &[], "").await.status, 204);
    assert_eq!(tenant.recycle_bin(&desk.drive).unwrap().len(), 1);
    assert!(desk.names("root:/Ordner:").await.is_empty());
    assert_eq!(desk.send(Method::DELETE, "root", &[], "").await.status, 400);
    // The name is free again.
    assert_eq!(desk.put("root:/Ordner/a.txt:/content", b"y").await.status, 201);
}

#[tokio::test]
async fn older_versions_come_back() {
    let desk = Desk::new(empty()).await;
    let made = desk.put("root:/a.txt:/content", b"old").await;
    desk.put("root:/a.txt:/content", b"newer").await;
    let path = |v: &str| format!("items/{}/versions/{v}/restoreVersion", made.id());
    assert_eq!(desk.send(Method::POST, &path("2.0"), &[], "").await.status, 400);
    assert_eq!(desk.send(Method::POST, &path("9.0"), &[], "").await.status, 404);
    assert_eq!(desk.send(Method::POST, &path("1.0"), &[], "").await.status, 204);
    assert_eq!(desk.content(&made.id()).await, b"old");
    let versions = desk.get(&format!("items/{}/versions", made.id())).await;
    assert_eq!(client::ids(versions.rows()), ["3.0", "2.0", "1.0"]);
}

#[tokio::test]
async fn a_full_drive() {
    let desk = Desk::new(empty()).await;
    desk.client.simulator.tenant().set_quota(&desk.drive, 1000).unwrap();
    assert_eq!(desk.put("root:/a.bin:/content", &[0; 900]).await.status, 201);
    assert_eq!(
        refused(&desk.put("root:/b.bin:/content", &[0; 101]).await),
        (507, "quotaLimitReached")
    );
    let url = desk.session("root:/b.bin", json!({})).await;
    let full = desk.fragment(&url, &[0; 101], 0, 101).await;
    assert_eq!(refused(&full), (507, "quotaLimitReached"));
    assert_eq!(desk.fragment(&url, &[0; 100], 0, 100).await.status, 201);
    // What is replaced makes room.
    for (len, status) in [(800, 200), (900, 200), (901, 507)] {
        let answer = desk.put("root:/a.bin:/content", &vec![0; len]).await;
        assert_eq!(answer.status, status, "{len}");
    }
    let user = desk.client.member();
    let quota = desk.client.get(&format!("/users/{user}/drive")).await.body["quota"].clone();
    assert_eq!([&quota["used"], &quota["total"], &quota["remaining"]], [1000, 1000, 0]);
}

#[tokio::test]
async fn office_files_are_rewritten_when_asked() {
    let desk = Desk::new(Options { rewrite_office: true, ..empty() }).await;
    let made = desk.put("root:/a.docx:/content", b"hello world").await;
    assert!(made.body["size"].as_u64().unwrap() > 11);
    assert_ne!(made.body["file"]["hashes"]["quickXorHash"], "aCgDG9jwBhDc4Q1yawMZAAAAAAA=");
    let content = desk.content(&made.id()).await;
    assert!(content.starts_with(b"hello world"));
    assert_eq!(made.body["size"], content.len());
    let url = desk.session("root:/b.xlsx", json!({})).await;
    let by_session = desk.fragment(&url, b"hello world", 0, 11).await;
    assert_eq!(by_session.body["file"], {
        let mut file = made.body["file"].clone();
        file["mimeType"] = by_session.body["file"]["mimeType"].clone();
        file
    });
    assert_eq!(desk.content(&by_session.id()).await, content);
    let plain = desk.put("root:/a.txt:/content", b"hello world").await;
    assert_eq!(plain.body["size"], 11);
}

#[tokio::test]
async fn delta_sees_what_was_written() {
    let desk = Desk::new(empty()).await;
    let root = format!("/drives/{}/root/delta", desk.drive);
    let (rows, link) = desk.client.round(&root, &[]).await;
    assert_eq!(rows.len(), 1);
    let folder = desk.folder("root", "Ordner").await;
    let bytes = noise(2 * UNIT + 1);
    let item = json!({"item": {"fileSystemInfo": {
        "createdDateTime": "2011-01-01T00:00:00Z", "lastModifiedDateTime": "2012-01-01T00:00:00Z",
    }}});
    let url = desk.session(&format!("items/{folder}:/a.bin"), item).await;
    desk.fragment(&url, &bytes, 0, UNIT).await;
    let made = desk.fragment(&url, &bytes, UNIT, bytes.len()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let (rows, link) = desk.client.round(&link, &[]).await;
    let row = rows.iter().find(|row| row["id"] == made.body["id"]).unwrap();
    for name in ["size", "file", "fileSystemInfo", "createdDateTime", "lastModifiedDateTime"] {
        assert_eq!(row[name], made.body[name], "{name}");
    }
    assert_eq!(row["parentReference"]["id"], folder);
    assert_eq!(row["size"], bytes.len());
    let files = desk.client.simulator.tenant().files(&desk.drive).unwrap();
    assert_eq!(files[0].path, ["Ordner", "a.bin"]);
    assert_eq!(files[0].sha256(), data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes)));
    desk.send(Method::DELETE, &format!("items/{folder}"), &[], "").await;
    let (rows, _) = desk.client.round(&link, &[]).await;
    let gone: Vec<_> = rows.iter().filter(|row| row.get("deleted").is_some()).collect();
    assert_eq!(gone.len(), 2);
}

#[tokio::test]
async fn large_content_is_only_remembered() {
    let source = Options { big_file: Some(9 * UNIT as u64 + 5), files: 0, ..Options::default() };
    let source = Client::new(source).await;
    let user = source.member();
    let generated = source.simulator.tenant().files(&user).unwrap()[0].bytes();
    let desk = Desk::new(Options { forget_content_over: Some(UNIT as u64), ..empty() }).await;
    let other = noise(9 * UNIT + 5);
    // Found to be something else when most of it has come.
    let mut late = generated.to_vec();
    *late.last_mut().unwrap() ^= 1;
    for (name, bytes, kept) in
        [("a", &generated[..], true), ("b", &other[..], false), ("c", &late[..], false)]
    {
        let url = desk.session(&format!("root:/{name}.bin"), json!({})).await;
        assert_eq!(desk.fragment(&url, bytes, 0, 4 * UNIT).await.status, 202);
        let made = desk.fragment(&url, bytes, 4 * UNIT, bytes.len()).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let files = desk.client.simulator.tenant().files(&desk.drive).unwrap();
        let file = files.iter().find(|file| file.id == made.id()).unwrap();
        assert_eq!(file.sha256(), data_encoding::HEXLOWER.encode(&Sha256::digest(bytes)));
        assert_eq!(file.size, bytes.len() as u64);
        if kept {
            assert_eq!(desk.content(&made.id()).await, bytes);
        } else {
            let there = desk.get(&format!("items/{}/content", made.id())).await;
            assert!(desk.client.download(there.header("location"), &[]).await.is_err());
        }
    }
}

#[tokio::test]
async fn writes_need_their_role_cost_two_units_and_are_throttled() {
    let desk = Desk::new(empty()).await;
    let units = || desk.client.simulator.log().counts().resource_units[&desk.drive];
    let before = units();
    assert_eq!(desk.put("root:/a.txt:/content", b"x").await.status, 201);
    assert_eq!(units(), before + 2);
    desk.get("root:/a.txt").await;
    assert_eq!(units(), before + 3);
    desk.client.simulator.set_faults(vec!["throttle:match=/content".parse().unwrap()]);
    let refusal = desk.put("root:/b.txt:/content", b"x").await;
    assert_eq!(refusal.status, 429);
    assert!(!refusal.header("retry-after").is_empty());
    assert_eq!(desk.client.simulator.tenant().files(&desk.drive).unwrap().len(), 1);
    let reader = Options { credentials: Credentials::default(), ..empty() };
    let desk = Desk::new(reader).await;
    assert_eq!(refused(&desk.put("root:/a.txt:/content", b"x").await), (403, "accessDenied"));
    assert_eq!(desk.get("root:/a.txt").await.status, 404);
}
