//! A tenant made of real files.
#![expect(clippy::print_stderr, reason = "a test that does not run must say so")]

mod client;

use std::fs;
use std::path::Path;

use client::Client;
use simulator::Options;

fn of(dir: &Path) -> Options {
    Options { content: Some(dir.to_owned()), ..Options::default() }
}

#[tokio::test]
async fn users_folders_and_files_follow_the_directories() {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put(
        "anna@contoso.com/mail/Inbox/a.eml",
        b"Subject: one\r\nDate: Mon, 2 Feb 2026 10:00:00 +0100\r\n\r\nhello",
    );
    put("anna@contoso.com/mail/Inbox/Sub/b.eml", b"\xff\xfenot a mail at all");
    put("anna@contoso.com/onedrive/x/y.txt", b"text");
    put("ben/onedrive/z.bin", b"");
    let client = Client::new(of(dir.path())).await;
    let users = client.simulator.tenant().users();
    let upns: Vec<&str> = users.iter().map(|user| user.upn.as_str()).collect();
    assert_eq!(upns, ["anna@contoso.com", "ben@contoso.onmicrosoft.com"]);
    let inbox = client.get("/users/anna@contoso.com/mailFolders/inbox/messages").await;
    assert_eq!(inbox.rows().len(), 1);
    assert_eq!(inbox.rows()[0]["subject"], "one");
    assert_eq!(inbox.rows()[0]["sentDateTime"], "2026-02-02T09:00:00Z");
    assert_eq!(inbox.rows()[0]["body"]["content"], "hello");
    let sub = client.get("/users/anna@contoso.com/mailFolders/inbox/childFolders").await;
    assert_eq!(sub.rows()[0]["displayName"], "Sub");
    for mail in client.simulator.tenant().messages("anna@contoso.com").unwrap() {
        let mime = client.get(&format!("/users/{}/messages/{}/$value", users[0].id, mail.id)).await;
        assert_eq!(mime.bytes, mail.mime());
    }
    let item = client.get("/users/anna@contoso.com/drive/root:/x/y.txt").await;
    assert_eq!(item.body["size"], 4);
    let empty = client.simulator.tenant().files("ben@contoso.onmicrosoft.com").unwrap();
    assert_eq!((empty.len(), empty[0].size), (1, 0));
}

/// Real and malformed mails and documents, where they are at hand (not part of the sources).
#[tokio::test]
async fn nothing_in_a_corpus_is_too_strange() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    if !corpus.is_dir() {
        let required = std::env::var_os("TAR365_REQUIRE_CORPUS").is_some_and(|value| value == "1");
        assert!(!required, "{} is missing", corpus.display());
        eprintln!("*** NOT TESTED with real-world files: {} is missing ***", corpus.display());
        return;
    }
    let client = Client::new(of(&corpus)).await;
    let user = client.member();
    let truth = client.simulator.tenant().messages(&user).unwrap();
    let expand = "$expand=attachments,singleValueExtendedProperties($filter=id eq 'String 0x007D')";
    let mut listed = 0;
    for folder in client.simulator.tenant().folders(&user).unwrap() {
        let (rows, _) =
            client.all(&format!("/users/{user}/mailFolders/{}/messages?{expand}", folder.id)).await;
        listed += rows.len();
    }
    assert!(listed > 100);
    assert_eq!(listed, truth.len());
    for mail in &truth {
        let mime = client.get(&format!("/users/{user}/messages/{}/$value", mail.id)).await;
        assert_eq!((mime.status, &mime.bytes), (200, &mail.mime().to_vec()));
        let attachments =
            client.get(&format!("/users/{user}/messages/{}/attachments", mail.id)).await;
        for attachment in attachments.rows() {
            let id = attachment["id"].as_str().unwrap();
            let value = client
                .get(&format!("/users/{user}/messages/{}/attachments/{id}/$value", mail.id))
                .await;
            assert_eq!(value.status, 200);
        }
    }
    let files = client.simulator.tenant().files(&user).unwrap();
    let (items, _) = client.round(&format!("/users/{user}/drive/root/delta"), &[]).await;
    assert!(items.len() > files.len());
    for file in &files {
        let content = client.get(&format!("/users/{user}/drive/items/{}/content", file.id)).await;
        let body = client.download(content.header("location"), &[]).await.unwrap();
        assert_eq!(body.bytes, file.bytes());
    }
}
