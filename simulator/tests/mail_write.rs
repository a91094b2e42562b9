//! What clients write to mailboxes.

mod client;

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Answer, Client, IMMUTABLE, ids, read};
use mail_parser::{MessageParser, MimeHeaders};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Credentials, Fault, Language, Limits, NewUser, Options};

const USER: &str = "11111111-2222-4333-8444-555555555555";
const NAMED: &str = "String {00020386-0000-0000-C000-000000000046} Name X-Origin";

fn empty() -> Options {
    let user = NewUser {
        id: USER.into(),
        upn: "anna@fabrikam.example".into(),
        display_name: "Anna Beispiel".into(),
        mail: "anna.beispiel@fabrikam.example".into(),
        language: Language::German,
    };
    Options {
        empty: Some(vec![user]),
        credentials: Credentials::restoring(),
        limits: None,
        ..Options::default()
    }
}

fn with_faults(texts: &[&str]) -> Options {
    let faults = texts.iter().map(|text| text.parse::<Fault>().unwrap()).collect();
    Options { faults, ..empty() }
}

struct Mailbox(Client);

impl Mailbox {
    async fn new(options: Options) -> Mailbox {
        Mailbox(Client::new(options).await)
    }

    async fn attempt(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, reqwest::Error> {
        let url = format!("{}/v1.0/users/{USER}{path}", self.0.simulator.graph_url());
        let mut request = self.0.http.request(method, url).bearer_auth(&self.0.token).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request).await
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        let headers = [IMMUTABLE, ("content-type", "application/json")];
        self.attempt(method, path, &headers, body.to_string().into_bytes()).await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::POST, path, body).await
    }

    async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.json(Method::PATCH, path, body).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.attempt(Method::DELETE, path, &[IMMUTABLE], Vec::new()).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.0.get(&format!("/users/{USER}{path}")).await
    }

    async fn made(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body
    }

    fn in_folder(&self, folder: &str) -> Vec<simulator::MailInfo> {
        self.0.simulator.tenant().folder_messages(USER, folder).unwrap()
    }
}

fn id(row: &Value) -> &str {
    row["id"].as_str().unwrap()
}

fn recipient(name: &str, address: &str) -> Value {
    json!({"emailAddress": {"name": name, "address": address}})
}

fn property(id: &str, value: &str) -> Value {
    json!({"id": id, "value": value})
}

const TRANSPORT: &str = "Received: from a.example by b.example;\r\n\tTue, 1 Jan 2019 10:00:00 +0000\r\nFrom: somebody else <else@a.example>\r\nContent-Type: text/plain\r\nX-Spam: no\r\n";

/// A mail that was received years ago, with all that can be said about it.
fn received() -> Value {
    json!({
        "subject": "Größe \"zitiert\"",
        "body": {"contentType": "html", "content": "<p>Hallo <b>Welt</b> ☃</p>"},
        "from": recipient("Bernd \"B\" Müller", "bernd@a.example"),
        "sender": recipient("Büro", "buero@a.example"),
        "toRecipients": [recipient("Anna", "anna@fabrikam.example")],
        "ccRecipients": [recipient("Carl", "carl@a.example")],
        "bccRecipients": [recipient("Dora", "dora@a.example")],
        "replyTo": [recipient("Antwort", "antwort@a.example")],
        "importance": "high",
        "categories": ["Rot", "Blau"],
        "isRead": true,
        "flag": {"flagStatus": "complete", "completedDateTime": {"dateTime": "2019-02-01T00:00:00", "timeZone": "UTC"}},
        "internetMessageId": "<alt@a.example>",
        "inferenceClassification": "other",
        "isReadReceiptRequested": true,
        "receivedDateTime": "2001-01-01T00:00:00Z",
        "sentDateTime": "2001-01-01T00:00:00Z",
        "isDraft": true,
        "internetMessageHeaders": [{"name": "X-Own", "value": "kept"}, {"name": "Received", "value": "from nowhere"}],
        "singleValueExtendedProperties": [
            property("Integer 0x0E07", "1"),
            property("SystemTime 0x0E06", "2019-01-01T10:00:05Z"),
            property("SystemTime 0x0039", "2019-01-01T10:00:00Z"),
            property("String 0x007D", TRANSPORT),
            property("String 0x1042", "<vorher@a.example>"),
            property("String 0x1039", "<ganz@a.example> <vorher@a.example>"),
            property(NAMED, "archive (1)"),
        ],
        "attachments": [
            {"@odata.type": "#microsoft.graph.fileAttachment", "name": "größe.bin", "contentType": "application/x-thing", "contentBytes": STANDARD.encode([0, 255, 13, 10])},
            {"@odata.type": "#microsoft.graph.fileAttachment", "name": "bild.png", "contentType": "image/png", "isInline": true, "contentId": "bild@a", "contentBytes": STANDARD.encode(b"png")},
            {"@odata.type": "#microsoft.graph.itemAttachment", "name": "Innen", "item": {
                "@odata.type": "#microsoft.graph.message",
                "subject": "Innen",
                "body": {"contentType": "text", "content": "innen"},
                "attachments": [{"@odata.type": "#microsoft.graph.fileAttachment", "name": "tief.txt", "contentBytes": STANDARD.encode(b"tief")}],
            }},
        ],
    })
}

#[tokio::test]
async fn folders_are_made_renamed_moved_and_deleted() {
    let mailbox = Mailbox::new(empty()).await;
    let top = mailbox.made("/mailFolders", &json!({"displayName": "Alt", "isHidden": true})).await;
    assert_eq!((&top["displayName"], &top["isHidden"]), (&json!("Alt"), &json!(true)));
    assert_eq!(
        mailbox.post("/mailFolders", &json!({"displayName": "aLT"})).await.code(),
        "ErrorFolderExists"
    );
    assert_eq!(
        mailbox.post("/mailFolders", &json!({"displayName": "posteingang"})).await.status,
        409
    );
    assert_eq!(mailbox.post("/mailFolders", &json!({"name": "x"})).await.code(), "RequestBodyRead");
    assert_eq!(mailbox.post("/mailFolders", &json!({"displayName": " "})).await.status, 400);
    let child =
        mailbox.made("/mailFolders/inbox/childFolders", &json!({"displayName": "Alt"})).await;
    assert_eq!(id(&mailbox.get(&format!("/mailFolders/{}", id(&child))).await.body), id(&child));
    let twice = mailbox
        .post(
            &format!("/mailFolders/{}/move", id(&child)),
            &json!({"destinationId": "msgfolderroot"}),
        )
        .await;
    assert_eq!(twice.code(), "ErrorFolderExists");
    let renamed = mailbox
        .patch(&format!("/mailFolders/{}", id(&child)), &json!({"displayName": "Neu"}))
        .await;
    assert_eq!((renamed.status, &renamed.body["displayName"]), (200, &json!("Neu")));
    let moved = mailbox
        .post(&format!("/mailFolders/{}/move", id(&child)), &json!({"destinationId": id(&top)}))
        .await;
    assert_eq!((moved.status, &moved.body["parentFolderId"]), (201, &top["id"]));
    let circle = mailbox
        .post(&format!("/mailFolders/{}/move", id(&top)), &json!({"destinationId": id(&child)}))
        .await;
    assert_eq!(circle.status, 400);
    assert_eq!(mailbox.delete("/mailFolders/inbox").await.status, 400);
    let mail = mailbox.made(&format!("/mailFolders/{}/messages", id(&child)), &json!({})).await;
    assert_eq!(mailbox.delete(&format!("/mailFolders/{}", id(&top))).await.status, 204);
    let binned =
        mailbox.get("/mailFolders/deleteditems/childFolders?includeHiddenFolders=true").await;
    assert_eq!(ids(binned.rows()), [id(&top)]);
    assert_eq!(
        mailbox
            .post(&format!("/mailFolders/{}/permanentDelete", id(&top)), &json!({}))
            .await
            .status,
        204
    );
    assert_eq!(mailbox.get(&format!("/mailFolders/{}", id(&child))).await.status, 404);
    assert_eq!(mailbox.get(&format!("/messages/{}", id(&mail))).await.status, 404);
}

#[tokio::test]
async fn a_received_mail_is_created_as_it_was() {
    let mailbox = Mailbox::new(empty()).await;
    let (_, link) = mailbox
        .0
        .round(&format!("/users/{USER}/mailFolders/inbox/messages/delta"), &[IMMUTABLE])
        .await;
    let answer = mailbox.post("/mailFolders/inbox/messages", &received()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert!(answer.header("location").contains("/messages('"));
    let made = answer.body;
    for (name, value) in [
        ("subject", json!("Größe \"zitiert\"")),
        ("isDraft", json!(false)),
        ("isRead", json!(true)),
        ("receivedDateTime", json!("2019-01-01T10:00:05Z")),
        ("sentDateTime", json!("2019-01-01T10:00:00Z")),
        ("internetMessageId", json!("<alt@a.example>")),
        ("importance", json!("high")),
        ("categories", json!(["Rot", "Blau"])),
        ("inferenceClassification", json!("other")),
        ("isReadReceiptRequested", json!(true)),
        ("hasAttachments", json!(true)),
        ("from", received()["from"].clone()),
        ("sender", received()["sender"].clone()),
        ("bccRecipients", received()["bccRecipients"].clone()),
        ("replyTo", received()["replyTo"].clone()),
        ("flag", received()["flag"].clone()),
        ("body", received()["body"].clone()),
    ] {
        assert_eq!(made[name], value, "{name}");
    }
    let (rows, _) = mailbox.0.round(&link, &[IMMUTABLE]).await;
    assert_eq!(ids(&rows), [id(&made)]);
    let whole = mailbox.0.all(&format!("/users/{USER}/mailFolders/inbox/messages")).await.0;
    assert_eq!(ids(&whole), [id(&made)]);
    let expand = format!(
        "singleValueExtendedProperties($filter=id eq '{NAMED}' or id eq 'String 0x7D' or id eq 'Integer 0x0e07')"
    );
    let asked = mailbox
        .get(&format!("/messages/{}?$select=internetMessageHeaders&$expand={expand}", id(&made)))
        .await;
    let values: Vec<&Value> = asked.body["singleValueExtendedProperties"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["value"])
        .collect();
    assert_eq!(values, [&json!("archive (1)"), &json!(TRANSPORT), &json!("17")]);
    let names: Vec<&str> = asked.body["internetMessageHeaders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| h["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Received", "From", "Content-Type", "X-Spam", "X-Own"]);
}

#[tokio::test]
async fn the_mime_is_the_services_own_work() {
    let mailbox = Mailbox::new(empty()).await;
    let made = mailbox.made("/mailFolders/inbox/messages", &received()).await;
    let bytes = mailbox.get(&format!("/messages/{}/$value", id(&made))).await.bytes;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(
        text.starts_with("Received: from a.example by b.example;\r\n\tTue, 1 Jan 2019"),
        "{text}"
    );
    assert!(text.contains("\r\nX-Spam: no\r\n") && text.contains("\r\nX-Own: kept\r\n"));
    assert!(!text.contains("else@a.example") && !text.contains("from nowhere"));
    let mail = MessageParser::default().parse(&bytes).unwrap();
    assert_eq!(mail.subject(), Some("Größe \"zitiert\""));
    assert_eq!(mail.message_id(), Some("alt@a.example"));
    assert_eq!(mail.from().unwrap().first().unwrap().name(), Some("Bernd \"B\" Müller"));
    assert_eq!(mail.date().unwrap().to_rfc3339(), "2019-01-01T10:00:00Z");
    assert_eq!(mail.in_reply_to().as_text(), Some("vorher@a.example"));
    assert_eq!(mail.references().as_text_list().unwrap().len(), 2);
    assert_eq!(mail.body_html(0).unwrap(), "<p>Hallo <b>Welt</b> ☃</p>");
    assert_eq!(mail.body_text(0).unwrap().trim(), "Hallo Welt ☃");
    let parts: Vec<_> = mail
        .attachments()
        .map(|part| (part.attachment_name().unwrap_or_default(), part.contents()))
        .collect();
    assert_eq!(parts[0], ("bild.png", b"png".as_slice()));
    assert_eq!(parts[1], ("größe.bin", [0, 255, 13, 10].as_slice()));
    let inner = mail.attachments().find_map(|part| part.message()).unwrap();
    assert_eq!((inner.subject(), inner.body_text(0).unwrap().trim()), (Some("Innen"), "innen"));
    assert_eq!(inner.attachment(0).unwrap().contents(), b"tief");
    assert_eq!(mail.attachment(0).unwrap().content_id(), Some("bild@a"));
    let again = mailbox.get(&format!("/messages/{}/$value", id(&made))).await.bytes;
    assert_eq!(bytes, again);
    let whole = mailbox.get(&format!("/messages/{}?$expand=attachments", id(&made))).await.body;
    let listed = mailbox.get(&format!("/messages/{}/attachments", id(&made))).await;
    assert_eq!(whole["attachments"].as_array().unwrap().len(), 3);
    for (number, row) in listed.rows().iter().enumerate() {
        assert_eq!(whole["attachments"][number]["id"], row["id"]);
        let value =
            mailbox.get(&format!("/messages/{}/attachments/{}/$value", id(&made), id(row))).await;
        let content: &[u8] = [[0, 255, 13, 10].as_slice(), b"png", b""][number];
        assert!(value.status == 200 && (number == 2 || value.bytes == content));
        assert_eq!(row["isInline"], number == 1);
    }
}

#[tokio::test]
async fn without_message_flags_it_is_a_draft() {
    let mailbox = Mailbox::new(empty()).await;
    let draft = mailbox.made("/messages", &json!({"subject": "Entwurf"})).await;
    assert_eq!((&draft["isDraft"], &draft["isRead"]), (&json!(true), &json!(true)));
    assert!(draft["internetMessageId"].as_str().unwrap().starts_with('<'));
    assert_eq!(mailbox.in_folder("drafts")[0].id, id(&draft));
    for (flags, is_draft, is_read) in
        [("8", true, true), ("9", true, true), ("4", false, false), ("1", false, true)]
    {
        let body = json!({"singleValueExtendedProperties": [property("integer 0xe07", flags)]});
        let made = mailbox.made("/mailFolders/archive/messages", &body).await;
        assert_eq!(
            (&made["isDraft"], &made["isRead"]),
            (&json!(is_draft), &json!(is_read)),
            "{flags}"
        );
    }
    let counts = mailbox.get("/mailFolders/archive").await.body;
    assert_eq!((&counts["totalItemCount"], &counts["unreadItemCount"]), (&json!(4), &json!(1)));
}

#[tokio::test]
async fn bodies_that_are_refused() {
    let mailbox = Mailbox::new(empty()).await;
    let to = |n: usize| json!({"toRecipients": vec![recipient("a", "a@b.example"); n]});
    assert_eq!(mailbox.post("/messages", &to(500)).await.status, 201);
    assert_eq!(mailbox.post("/messages", &to(501)).await.status, 400);
    let invalid = json!({"replyTo": [recipient("a", "nobody")]});
    assert_eq!(mailbox.post("/messages", &invalid).await.code(), "ErrorInvalidRecipients");
    assert_eq!(mailbox.post("/messages", &json!({"subjekt": ""})).await.code(), "RequestBodyRead");
    let long = "x".repeat(4 << 20);
    let large =
        mailbox.post("/messages", &json!({"body": {"contentType": "text", "content": long}})).await;
    assert_eq!((large.status, large.code()), (413, "ErrorMessageSizeExceeded"));
    let json = [("content-type", "application/json")];
    let broken = mailbox.attempt(Method::POST, "/messages", &json, b"{".to_vec()).await.unwrap();
    assert_eq!((broken.status, broken.code()), (400, "BadRequest"));
    assert_eq!(mailbox.in_folder("drafts").len(), 1);
    let reader = Mailbox::new(Options { credentials: Credentials::default(), ..empty() }).await;
    assert_eq!(reader.post("/messages", &json!({})).await.code(), "ErrorAccessDenied");
    assert_eq!(reader.post("/mailFolders", &json!({"displayName": "a"})).await.status, 403);
}

#[tokio::test]
async fn mime_becomes_a_draft() {
    let mailbox = Mailbox::new(empty()).await;
    let eml = b"From: a@b.example\r\nSubject: Alt\r\nDate: Tue, 1 Jan 2019 10:00:00 +0000\r\n\r\nText\r\n";
    let plain = [IMMUTABLE, ("content-type", "text/plain")];
    let post = async |path: &str, body: Vec<u8>| {
        mailbox.attempt(Method::POST, path, &plain, body).await.unwrap()
    };
    let made = post("/messages", STANDARD.encode(eml).into_bytes()).await;
    assert_eq!((made.status, &made.body["isDraft"]), (201, &json!(true)));
    assert_eq!(made.body["sentDateTime"], "2019-01-01T10:00:00Z");
    assert_ne!(made.body["receivedDateTime"], "2019-01-01T10:00:00Z");
    assert_eq!(mailbox.in_folder("drafts")[0].mime(), eml.as_slice());
    let bad = post("/messages", b"no base64!".to_vec()).await;
    assert_eq!((bad.status, bad.code()), (400, "ErrorMimeContentInvalidBase64String"));
    assert_eq!(post("/messages", vec![b'A'; (4 << 20) + 4]).await.status, 413);
    assert_eq!(
        post("/mailFolders/inbox/messages", STANDARD.encode(eml).into_bytes()).await.status,
        400
    );
    let patched =
        mailbox.patch(&format!("/messages/{}", id(&made.body)), &json!({"subject": "Neu"})).await;
    assert_eq!(patched.status, 200);
    let mime = mailbox.in_folder("drafts")[0].mime();
    let mail = MessageParser::default().parse(mime.as_ref()).unwrap();
    assert_eq!((mail.subject(), mail.body_text(0).unwrap().trim()), (Some("Neu"), "Text"));
}

#[tokio::test]
async fn messages_are_found_by_id_and_property() {
    let mailbox = Mailbox::new(empty()).await;
    let made = mailbox.made("/mailFolders/inbox/messages", &received()).await;
    for n in 0..30 {
        let body = json!({"internetMessageId": format!("<{n}@a.example>")});
        mailbox.made("/mailFolders/inbox/messages", &body).await;
    }
    let marked = |id: &str, value: &str| {
        format!("singleValueExtendedProperties/Any(ep: ep/id eq '{id}' and ep/value eq '{value}')")
    };
    for list in ["/mailFolders/inbox/messages", "/messages"] {
        for filter in [
            "internetMessageId eq '<alt@a.example>'".to_owned(),
            marked(NAMED, "archive (1)"),
            marked(&NAMED.to_lowercase().replace("string", "String"), "archive (1)"),
        ] {
            let found = mailbox.get(&format!("{list}?$filter={filter}&$top=1")).await;
            assert_eq!((found.status, ids(found.rows())), (200, vec![id(&made)]), "{filter}");
            assert_eq!(found.next(), None, "{filter}");
        }
        for filter in
            ["internetMessageId eq '<none@a.example>'".to_owned(), marked(NAMED, "archive")]
        {
            assert!(mailbox.get(&format!("{list}?$filter={filter}")).await.rows().is_empty());
        }
    }
    let elsewhere = mailbox
        .get("/mailFolders/drafts/messages?$filter=internetMessageId eq '<alt@a.example>'")
        .await;
    assert!(elsewhere.rows().is_empty());
    let later = json!({"singleValueExtendedProperties": [property(NAMED, "second")]});
    assert_eq!(mailbox.patch(&format!("/messages/{}", id(&made)), &later).await.status, 200);
    let found = mailbox.get(&format!("/messages?$filter={}", marked(NAMED, "second"))).await;
    assert_eq!(ids(found.rows()), [id(&made)]);
    assert!(
        mailbox
            .get(&format!("/messages?$filter={}", marked(NAMED, "archive (1)")))
            .await
            .rows()
            .is_empty()
    );
}

#[tokio::test]
async fn messages_are_changed_moved_copied_and_deleted() {
    let mailbox = Mailbox::new(empty()).await;
    let made = mailbox.made("/mailFolders/inbox/messages", &received()).await;
    let path = format!("/messages/{}", id(&made));
    let changed = mailbox.patch(&path, &json!({
        "isRead": false, "categories": [], "importance": "low", "flag": {"flagStatus": "flagged"},
        "singleValueExtendedProperties": [property("Integer 0xe07", "8"), property("SystemTime 0x0e06", "2020-01-01T00:00:00Z")],
    })).await.body;
    assert_eq!((&changed["isRead"], &changed["importance"]), (&json!(false), &json!("low")));
    assert_eq!(
        (&changed["isDraft"], &changed["receivedDateTime"]),
        (&json!(false), &made["receivedDateTime"])
    );
    assert_eq!(changed["flag"], json!({"flagStatus": "flagged"}));
    assert_ne!(changed["changeKey"], made["changeKey"]);
    assert_eq!(mailbox.patch(&path, &json!({"subject": "x"})).await.status, 400);
    let stale = [
        IMMUTABLE,
        ("content-type", "application/json"),
        ("if-match", made["@odata.etag"].as_str().unwrap()),
    ];
    let patched =
        mailbox.attempt(Method::PATCH, &path, &stale, b"{\"isRead\":true}".to_vec()).await.unwrap();
    assert_eq!((patched.status, patched.code()), (412, "ErrorIrresolvableConflict"));
    let fresh = [
        IMMUTABLE,
        ("content-type", "application/json"),
        ("if-match", changed["@odata.etag"].as_str().unwrap()),
    ];
    let patched =
        mailbox.attempt(Method::PATCH, &path, &fresh, b"{\"isRead\":true}".to_vec()).await.unwrap();
    assert_eq!((patched.status, &patched.body["isRead"]), (200, &json!(true)));
    let copy = mailbox.made(&format!("{path}/copy"), &json!({"destinationId": "archive"})).await;
    assert_ne!(copy["id"], made["id"]);
    let (original, twin) =
        (mailbox.in_folder("inbox").remove(0), mailbox.in_folder("archive").remove(0));
    assert_eq!(
        (original.received, &original.flag, original.attachments()),
        (twin.received, &twin.flag, twin.attachments())
    );
    let moved = mailbox.made(&format!("{path}/move"), &json!({"destinationId": "archive"})).await;
    assert_eq!(moved["id"], made["id"]);
    assert_eq!((mailbox.in_folder("inbox").len(), mailbox.in_folder("archive").len()), (0, 2));
    for (folder, left) in [("deleteditems", 1), ("recoverableitemsdeletions", 1)] {
        assert_eq!(mailbox.delete(&path).await.status, 204);
        assert_eq!(mailbox.in_folder(folder).len(), left);
    }
    let gone = mailbox.post(&format!("/messages/{}/permanentDelete", id(&copy)), &json!({})).await;
    assert_eq!((gone.status, mailbox.in_folder("archive").len()), (204, 0));
    assert_eq!(mailbox.get(&format!("/messages/{}", id(&copy))).await.status, 404);
}

/// Opens an upload session for a file of that size.
async fn session(mailbox: &Mailbox, message: &str, size: usize) -> Answer {
    let item = json!({"attachmentType": "file", "name": "gross.bin", "size": size, "isInline": true, "contentId": "g@a", "contentType": "image/png"});
    mailbox
        .post(
            &format!("/messages/{message}/attachments/createUploadSession"),
            &json!({"AttachmentItem": item}),
        )
        .await
}

async fn put(mailbox: &Mailbox, url: &str, content: &[u8], from: usize, to: usize) -> Answer {
    let range = format!("bytes {from}-{}/{}", to - 1, content.len());
    let request = mailbox.0.http.put(url).header("content-range", range);
    read(request.body(content[from..to].to_vec())).await.unwrap()
}

#[tokio::test]
async fn attachments_are_added_and_large_ones_uploaded() {
    let mailbox = Mailbox::new(empty()).await;
    let made = mailbox.made("/mailFolders/inbox/messages", &received()).await;
    let path = format!("/messages/{}/attachments", id(&made));
    let file = |len: usize| json!({"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.bin", "contentBytes": STANDARD.encode(vec![7; len])});
    let added = mailbox.made(&path, &file(2_900_000)).await;
    let value = mailbox.get(&format!("{path}/{}/$value", id(&added))).await;
    assert_eq!(value.bytes, vec![7; 2_900_000]);
    assert_eq!(mailbox.post(&path, &file((3 << 20) + 1)).await.status, 413);
    for size in [2_999_999, (150 << 20) + 1] {
        assert_eq!(session(&mailbox, id(&made), size).await.status, 400);
    }
    let content: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    let opened = session(&mailbox, id(&made), content.len()).await;
    assert_eq!((opened.status, &opened.body["nextExpectedRanges"]), (201, &json!(["0-"])));
    assert!(opened.body["expirationDateTime"].is_string());
    let url = opened.body["uploadUrl"].as_str().unwrap();
    assert!(url.starts_with(&mailbox.0.simulator.download_url()));
    let leaked = read(mailbox.0.http.put(url).bearer_auth("x").body("a")).await.unwrap();
    assert_eq!(leaked.status, 401);
    assert_eq!(mailbox.0.simulator.log().counts().leaked_authorization, 1);
    let mib = 1 << 20;
    assert_eq!(put(&mailbox, url, &content, 0, 4 * mib + 1).await.status, 413);
    assert_eq!(put(&mailbox, url, &content, mib, 2 * mib).await.status, 416);
    let first = put(&mailbox, url, &content, 0, 4 * mib).await;
    assert_eq!(
        (first.status, &first.body["NextExpectedRanges"]),
        (200, &json!([(4 * mib).to_string()]))
    );
    assert!(first.body["ExpirationDateTime"].is_string());
    assert_eq!(put(&mailbox, url, &content, 0, 4 * mib).await.status, 416);
    let asked = read(mailbox.0.http.get(url)).await.unwrap();
    assert_eq!(asked.body["NextExpectedRanges"], json!([(4 * mib).to_string()]));
    assert_eq!(put(&mailbox, url, &content, 4 * mib, 8 * mib).await.status, 200);
    let last = put(&mailbox, url, &content, 8 * mib, content.len()).await;
    assert_eq!((last.status, last.bytes.len()), (201, 0));
    assert_eq!(put(&mailbox, url, &content, 0, mib).await.status, 404);
    let listed = mailbox.get(&path).await;
    let row = listed.rows().last().unwrap();
    assert_eq!(
        (&row["name"], &row["isInline"], &row["contentId"]),
        (&json!("gross.bin"), &json!(true), &json!("g@a"))
    );
    assert!(
        last.header("location").contains(id(row).trim_end_matches('=')),
        "{}",
        last.header("location")
    );
    assert_eq!(mailbox.get(&format!("{path}/{}/$value", id(row))).await.bytes, content);
    let mime = mailbox.in_folder("inbox")[0].mime();
    let mail = MessageParser::default().parse(mime.as_ref()).unwrap();
    assert!(mail.attachments().any(|part| part.contents() == content));
    let again = session(&mailbox, id(&made), content.len()).await;
    let url = again.body["uploadUrl"].as_str().unwrap();
    assert_eq!(read(mailbox.0.http.delete(url)).await.unwrap().status, 204);
    assert_eq!(read(mailbox.0.http.get(url)).await.unwrap().status, 404);
}

#[tokio::test]
async fn uploads_are_limited_and_counted_and_quotas_end_them() {
    let limits = Limits { upload_bytes: 5000, ..Limits::default() };
    let mailbox = Mailbox::new(Options { limits: Some(limits), ..empty() }).await;
    let body = json!({"body": {"contentType": "text", "content": "x".repeat(2000)}});
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(mailbox.post("/messages", &body).await.status);
    }
    assert_eq!(statuses, [201, 201, 429]);
    let uploaded = mailbox.0.simulator.log().counts().uploaded[USER];
    assert_eq!(uploaded, 2 * body.to_string().len() as u64);
    let mailbox = Mailbox::new(Options { mailbox_quota: Some(5000), ..empty() }).await;
    let first = mailbox.made("/messages", &body).await;
    assert_eq!(mailbox.post("/messages", &body).await.status, 201);
    let full = mailbox.post("/messages", &body).await;
    assert_eq!((full.status, full.code()), (507, "ErrorQuotaExceeded"));
    assert_eq!(
        mailbox.post(&format!("/messages/{}/permanentDelete", id(&first)), &json!({})).await.status,
        204
    );
    assert_eq!(mailbox.post("/messages", &body).await.status, 201);
    mailbox.0.simulator.tenant().set_mailbox_quota(USER, None).unwrap();
    assert_eq!(mailbox.post("/messages", &body).await.status, 201);
}

#[tokio::test]
async fn nobody_is_mailed_but_the_attempt_is_seen() {
    let mailbox = Mailbox::new(empty()).await;
    let made = mailbox.made("/messages", &json!({"isReadReceiptRequested": true})).await;
    assert!(mailbox.0.simulator.tenant().mailed().is_empty());
    let path = format!("/messages/{}", id(&made));
    for action in ["send", "reply", "replyAll", "forward"] {
        assert_eq!(mailbox.post(&format!("{path}/{action}"), &json!({})).await.status, 202);
    }
    assert_eq!(mailbox.post("/sendMail", &json!({"message": {"subject": "a"}})).await.status, 202);
    let mailed = mailbox.0.simulator.tenant().mailed();
    let actions: Vec<&str> = mailed.iter().map(|one| one.action.as_str()).collect();
    assert_eq!(actions, ["send", "reply", "replyAll", "forward", "sendMail"]);
    assert_eq!(mailed[0].message.as_deref(), Some(id(&made)));
    let seen = mailbox.0.get(&format!("{}/_sim/mailed", mailbox.0.simulator.graph_url())).await;
    assert_eq!(seen.body.as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn faults_of_writes() {
    for (fault, status) in [
        ("throttle:seconds=0", 429),
        ("unavailable:seconds=0", 503),
        ("timeout", 504),
        ("server-error", 500),
        ("html-error", 502),
        ("empty-503", 503),
        ("quota", 507),
        ("too-large", 413),
        ("conflict", 409),
    ] {
        let with_match = if fault.contains(':') {
            format!("{fault},match=POST /v1.0")
        } else {
            format!("{fault}:match=POST /v1.0")
        };
        let mailbox = Mailbox::new(with_faults(&[&with_match])).await;
        let body = json!({"subject": fault});
        assert_eq!(mailbox.post("/messages", &body).await.status, status, "{fault}");
        assert!(mailbox.in_folder("drafts").is_empty(), "{fault}");
        assert_eq!(mailbox.post("/messages", &body).await.status, 201, "{fault}");
        assert_ne!(
            mailbox.post("/messages", &json!({"subject": "other"})).await.status,
            201,
            "{fault}"
        );
    }
    let mailbox = Mailbox::new(with_faults(&["conflict:match=mailFolders"])).await;
    assert_eq!(
        mailbox.post("/mailFolders", &json!({"displayName": "a"})).await.code(),
        "ErrorFolderExists"
    );
}

#[tokio::test]
async fn writes_that_are_carried_out_without_an_answer() {
    let json = [IMMUTABLE, ("content-type", "application/json")];
    for fault in ["reset-after", "error-after", "truncate:match=POST /v1.0"] {
        let mailbox = Mailbox::new(with_faults(&[fault])).await;
        let mut statuses = BTreeSet::new();
        for n in 0..8 {
            let body = json!({"subject": n.to_string()}).to_string().into_bytes();
            let first = mailbox.attempt(Method::POST, "/messages", &json, body.clone()).await;
            statuses.extend(first.map(|answer| answer.status));
            assert_eq!(mailbox.in_folder("drafts").len(), 2 * n + 1, "{fault}");
            let second = mailbox.attempt(Method::POST, "/messages", &json, body).await.unwrap();
            assert_eq!(second.status, 201, "{fault}");
        }
        let expected: &[u16] = if fault == "error-after" { &[503, 504] } else { &[] };
        assert_eq!(statuses, expected.iter().copied().collect(), "{fault}");
        let name = fault.split(':').next().unwrap();
        assert_eq!(mailbox.0.simulator.log().counts().by_fault[name], 8);
        assert_eq!(mailbox.get("/messages").await.status, 200);
    }
}

#[tokio::test]
async fn a_lost_session_is_lost_once() {
    let mailbox = Mailbox::new(with_faults(&["session-lost:match=PUT"])).await;
    let made = mailbox.made("/messages", &json!({})).await;
    let content = vec![1; 3_000_000];
    for (status, left) in [(404, 0), (201, 1)] {
        let opened = session(&mailbox, id(&made), content.len()).await;
        let url = opened.body["uploadUrl"].as_str().unwrap();
        assert_eq!(put(&mailbox, url, &content, 0, content.len()).await.status, status);
        assert_eq!(read(mailbox.0.http.get(url)).await.unwrap().status, 404);
        assert_eq!(mailbox.in_folder("drafts")[0].attachments().len(), left);
    }
}

#[tokio::test]
async fn a_session_has_an_end() {
    let mailbox = Mailbox::new(Options { url_lifetime: Duration::ZERO, ..empty() }).await;
    let made = mailbox.made("/messages", &json!({})).await;
    let opened = session(&mailbox, id(&made), 3_000_000).await;
    let url = opened.body["uploadUrl"].as_str().unwrap();
    assert_eq!(put(&mailbox, url, &[1; 3_000_000], 0, 3_000_000).await.status, 404);
}

#[tokio::test]
async fn a_part_whose_answer_was_lost_is_not_asked_for_again() {
    let mailbox = Mailbox::new(with_faults(&["reset-after:match=PUT"])).await;
    let made = mailbox.made("/messages", &json!({})).await;
    let content: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 253) as u8).collect();
    let opened = session(&mailbox, id(&made), content.len()).await;
    let url = opened.body["uploadUrl"].as_str().unwrap();
    let part = |range: std::ops::Range<usize>| {
        let header = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
        mailbox.0.http.put(url).header("content-range", header).body(content[range].to_vec())
    };
    assert!(read(part(0..3_000_000)).await.is_err());
    let state = read(mailbox.0.http.get(url)).await.unwrap();
    assert_eq!(state.body["NextExpectedRanges"], json!(["3000000"]));
    assert!(read(part(3_000_000..content.len())).await.is_err());
    assert_eq!(read(mailbox.0.http.get(url)).await.unwrap().status, 404);
    let attachments = mailbox.in_folder("drafts")[0].attachments();
    assert_eq!((attachments.len(), attachments[0].len), (1, 5_000_000));
}

#[tokio::test]
async fn a_batch_may_write() {
    let mailbox = Mailbox::new(empty()).await;
    let headers = json!({"Content-Type": "application/json", "Prefer": "IdType=\"ImmutableId\""});
    let post = |n: &str, url: &str, body: Value| json!({"id": n, "method": "POST", "url": format!("/users/{USER}{url}"), "headers": headers, "body": body});
    let answer = mailbox
        .0
        .batch(json!({"requests": [
            post("1", "/messages", json!({"subject": "a"})),
            post("2", "/mailFolders", json!({"displayName": "Neu"})),
            post("3", "/mailFolders", json!({"displayName": "Posteingang"})),
        ]}))
        .await;
    let statuses: BTreeSet<(String, u64)> = answer.body["responses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["id"].as_str().unwrap().to_owned(), r["status"].as_u64().unwrap()))
        .collect();
    let expected = [("1", 201), ("2", 201), ("3", 409)].map(|(n, status)| (n.to_owned(), status));
    assert_eq!(statuses, BTreeSet::from(expected));
    assert_eq!(mailbox.in_folder("drafts").len(), 1);
}

#[tokio::test]
async fn an_empty_tenant_has_nothing_but_what_everyone_has() {
    let mailbox = Mailbox::new(empty()).await;
    let tenant = mailbox.0.simulator.tenant();
    assert_eq!(tenant.users().len(), 1);
    let user = mailbox.get("").await.body;
    assert_eq!(
        (&user["displayName"], &user["mail"]),
        (&json!("Anna Beispiel"), &json!("anna.beispiel@fabrikam.example"))
    );
    let names: Vec<_> = tenant.folders(USER).unwrap();
    assert!(names.iter().all(|folder| folder.well_known.is_some() && folder.total == 0));
    assert!(names.iter().any(|folder| folder.path == ["Posteingang"]));
    assert!(tenant.messages(USER).unwrap().is_empty());
    assert!(tenant.files(USER).unwrap().is_empty());
    let root = mailbox.get("/drive/root/children").await;
    assert_eq!((root.status, root.rows().len()), (200, 0));
}
