//! `$batch`.

mod client;

use client::Client;
use serde_json::{Value, json};
use simulator::Options;

fn response<'a>(answer: &'a client::Answer, id: &str) -> &'a Value {
    let all = answer.body["responses"].as_array().unwrap();
    all.iter().find(|response| response["id"] == id).unwrap()
}

#[tokio::test]
async fn each_request_has_its_own_reply() {
    let client = Client::new(Options::default()).await;
    let user = client.member();
    let mail = &client.simulator.tenant().messages(&user).unwrap()[0];
    let drive = client.user(simulator::UserKind::Member).drive.unwrap();
    let file = client.simulator.tenant().files(&drive).unwrap().remove(6).id;
    let answer = client
        .batch(json!({"requests": [
            {"id": "1", "method": "GET", "url": "/organization"},
            {"id": "2", "method": "GET", "url": format!("users/{user}/messages/{}", mail.id), "headers": {"Prefer": "IdType=\"ImmutableId\""}},
            {"id": "3", "method": "GET", "url": format!("/users/{user}/messages/{}", mail.id)},
            {"id": "4", "method": "GET", "url": "/users/nobody"},
            {"id": "5", "method": "GET", "url": "/organization", "dependsOn": ["4"]},
            {"id": "6", "method": "GET", "url": "/organization", "dependsOn": ["1"]},
            {"id": "7", "method": "GET", "url": format!("/drives/{drive}/items/{file}/content")},
            {"id": "8", "method": "GET", "url": format!("/users/{user}/messages/{}/$value", mail.id)},
            {"id": "9", "method": "POST", "url": "/users", "body": {}, "headers": {"Content-Type": "application/json"}},
        ]}))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_ne!(answer.body["responses"][0]["id"], "1");
    assert_eq!(response(&answer, "1")["body"]["value"][0]["countryLetterCode"], "DE");
    assert_eq!(response(&answer, "2")["body"]["id"], mail.id.as_str());
    assert_ne!(response(&answer, "3")["body"]["id"], mail.id.as_str());
    assert_eq!(response(&answer, "4")["status"], 404);
    assert_eq!(response(&answer, "5")["status"], 424);
    assert_eq!(response(&answer, "6")["status"], 200);
    assert_eq!(response(&answer, "7")["status"], 302);
    let url = response(&answer, "7")["headers"]["Location"].as_str().unwrap();
    assert_eq!(client.download(url, &[]).await.unwrap().status, 200);
    let mime =
        data_encoding::BASE64.decode(response(&answer, "8")["body"].as_str().unwrap().as_bytes());
    assert_eq!(mime.unwrap(), mail.mime());
    assert_eq!(response(&answer, "9")["status"], 405);
    assert_eq!(client.simulator.log().count(|record| record.batched), 8);
}

#[tokio::test]
async fn envelopes_that_are_refused() {
    let client = Client::new(Options::default()).await;
    let one = |id: &str| json!({"id": id, "method": "GET", "url": "/organization"});
    let many: Vec<Value> = (0..21).map(|n| one(&n.to_string())).collect();
    for body in [
        json!({}),
        json!({"requests": []}),
        json!({"requests": many}),
        json!({"requests": [one("a"), one("A")]}),
        json!({"requests": [{"id": "1", "method": "GET"}]}),
        json!({"requests": [{"id": "1", "method": "POST", "url": "/users", "body": {}}]}),
    ] {
        assert_eq!(client.batch(body.clone()).await.status, 400, "{body}");
    }
    let nested = json!({"requests": [{"id": "1", "method": "POST", "url": "/$batch", "body": {}, "headers": {"Content-Type": "application/json"}}]});
    assert_eq!(client.batch(nested).await.body["responses"][0]["status"], 400);
}

#[tokio::test]
async fn a_throttled_item_says_so_inside() {
    let faults = vec!["throttle:match=inbox,seconds=0.05".parse().unwrap()];
    let client = Client::new(Options { faults, ..Options::default() }).await;
    let user = client.member();
    let answer = client
        .batch(json!({"requests": [{"id": "1", "method": "GET", "url": format!("/users/{user}/mailFolders/inbox")}]}))
        .await;
    let inner = response(&answer, "1");
    assert_eq!((answer.status, &inner["status"]), (200, &json!(429)));
    assert_eq!(inner["headers"]["Retry-After"], "0.050");
}
