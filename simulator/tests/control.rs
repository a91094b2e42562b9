//! The control API, as a test in another process uses it.

mod client;

use client::{Answer, Client, read};
use serde_json::{Value, json};
use simulator::Options;

struct Control {
    client: Client,
}

impl Control {
    fn url(&self, path: &str) -> String {
        format!("{}/_sim{path}", self.client.simulator.graph_url())
    }

    async fn look(&self, path: &str) -> Value {
        read(self.client.http.get(self.url(path))).await.unwrap().body
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        read(self.client.http.post(self.url(path)).json(&body)).await.unwrap()
    }

    async fn act(&self, path: &str, body: Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }
}

async fn control() -> (Control, String) {
    let control = Control { client: Client::new(Options::default()).await };
    let user = control.look("/users").await[0]["id"].as_str().unwrap().to_owned();
    (control, user)
}

#[tokio::test]
async fn mail_is_changed() {
    let (control, user) = control().await;
    let message = control.look(&format!("/messages?user={user}")).await[0].clone();
    let id = &message["id"];
    control.act("/set_read", json!({"user": user, "message": id, "read": true})).await;
    control.act("/set_flag", json!({"user": user, "message": id, "flagged": true})).await;
    control.act("/set_categories", json!({"user": user, "message": id, "categories": ["x"]})).await;
    control.act("/move_message", json!({"user": user, "message": id, "folder": "archive"})).await;
    let now =
        control.client.get(&format!("/users/{user}/messages/{}", id.as_str().unwrap())).await.body;
    assert_eq!((&now["isRead"], &now["categories"]), (&json!(true), &json!(["x"])));
    assert_ne!(now["changeKey"], message["changeKey"]);
    control.act("/delete_message", json!({"user": user, "message": id})).await;
    let gone =
        control.client.get(&format!("/users/{user}/messages/{}", id.as_str().unwrap())).await;
    assert_eq!(gone.status, 404);
    let eml = "Subject: x\r\n\r\ny";
    let new =
        control.act("/add_message", json!({"user": user, "folder": "inbox", "eml": eml})).await;
    let path = format!("/users/{user}/messages/{}/$value", new["id"].as_str().unwrap());
    assert_eq!(control.client.get(&path).await.bytes, eml.as_bytes());
}

#[tokio::test]
async fn folders_and_users_are_changed() {
    let (control, user) = control().await;
    let made =
        control.act("/add_folder", json!({"user": user, "parent": "inbox", "name": "Neu"})).await;
    let (_, link) = control.client.round(&format!("/users/{user}/mailFolders/delta"), &[]).await;
    control
        .act("/rename_folder", json!({"user": user, "folder": "Posteingang/Neu", "name": "Neuer"}))
        .await;
    let (renamed, link) = control.client.round(&link, &[]).await;
    assert_eq!((&renamed[0]["id"], &renamed[0]["displayName"]), (&made["id"], &json!("Neuer")));
    control.act("/delete_folder", json!({"user": user, "folder": made["id"]})).await;
    let (deleted, _) = control.client.round(&link, &[]).await;
    assert_eq!(deleted[0]["@removed"]["reason"], "deleted");
    control.act("/rename_user", json!({"user": user, "upn": "new@contoso.onmicrosoft.com"})).await;
    let renamed = control.client.get("/users/new@contoso.onmicrosoft.com").await;
    assert_eq!(renamed.body["id"], user.as_str());
}

#[tokio::test]
async fn files_are_changed() {
    let (control, user) = control().await;
    control.act("/put_file", json!({"drive": user, "path": "a/b.txt", "text": "hi"})).await;
    control.act("/touch", json!({"drive": user, "path": "a/b.txt"})).await;
    control.act("/rename_file", json!({"drive": user, "path": "a/b.txt", "name": "c.txt"})).await;
    control.act("/move_file", json!({"drive": user, "path": "a/c.txt", "folder": "d/e"})).await;
    let files = control.look(&format!("/files?drive={user}")).await;
    let here = |path: Value| files.as_array().unwrap().iter().any(|file| file["path"] == path);
    assert!(here(json!(["d", "e", "c.txt"])) && !here(json!(["a", "c.txt"])));
    control.act("/delete_file", json!({"drive": user, "path": "d"})).await;
    let gone = control.client.get(&format!("/users/{user}/drive/root:/d/e/c.txt")).await;
    assert_eq!(gone.status, 404);
    assert_eq!(control.post("/touch", json!({"drive": user, "path": "nope"})).await.status, 400);
}

#[tokio::test]
async fn faults_and_the_log() {
    let (control, _) = control().await;
    assert_eq!(control.look("").await["clientId"], control.client.simulator.client_id().as_str());
    control.act("/faults", json!(["timeout"])).await;
    assert_eq!(control.look("/faults").await, json!(["timeout"]));
    assert_eq!(control.client.get("/organization").await.status, 504);
    let log = control.look("/log").await;
    let last = log["requests"].as_array().unwrap().iter().rfind(|r| r["host"] == "graph").unwrap();
    assert_eq!((&last["fault"], &last["path"]), (&json!("timeout"), &json!("/v1.0/organization")));
    assert_eq!(control.look("/counts").await["byFault"]["timeout"], 1);
    control.act("/clear_log", json!({})).await;
    assert_eq!(control.look("/counts").await["requests"], 0);
    assert_eq!(control.post("/faults", json!(["nonsense"])).await.status, 400);
    assert_eq!(control.post("/nonsense", json!({})).await.status, 400);
}
