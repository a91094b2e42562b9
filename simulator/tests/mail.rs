//! Users, folders, messages and their delta.

mod client;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use client::{Client, IMMUTABLE, ids};
use serde_json::Value;
use sha2::{Digest, Sha256};
use simulator::{Credentials, Options, Profile, UserKind};

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn users_are_paged_selected_and_filtered() {
    let client = Client::new(Options { users: 25, ..Options::default() }).await;
    let (all, pages) =
        client.all("/users?$select=id,userPrincipalName,accountEnabled&$top=10").await;
    assert_eq!((all.len(), pages), (31, 4));
    assert_eq!(ids(&all).iter().collect::<HashSet<_>>().len(), 31);
    let default = client.get("/users?$top=1").await;
    assert_eq!(default.rows()[0].as_object().unwrap().len(), 11);
    let shared = client.user(UserKind::SharedMailbox);
    let one = client
        .get(&format!(
            "/users?$filter=userPrincipalName eq '{}'&$select=id,accountEnabled",
            shared.upn
        ))
        .await;
    assert_eq!(one.rows().len(), 1);
    assert_eq!(one.rows()[0]["accountEnabled"], false);
    let guest = client.user(UserKind::Guest);
    let upn = guest.upn.replace('#', "%23");
    assert_eq!(client.get(&format!("/users/{upn}")).await.body["id"], guest.id.as_str());
    assert_eq!(client.get("/users/nobody@contoso.com").await.code(), "Request_ResourceNotFound");
    assert_eq!(client.get("/users?$top=1000").await.status, 400);
    assert_eq!(client.get("/users?$select=id,aboutMe").await.status, 501);
    let organization = client.get("/organization").await;
    assert_eq!(organization.rows()[0]["id"], client.simulator.tenant_id().as_str());
}

#[tokio::test]
async fn users_without_a_mailbox_or_scope_are_refused() {
    let client = Client::new(Options::default()).await;
    let code = async |kind, what: &str| {
        let answer = client.get(&format!("/users/{}/{what}", client.user(kind).id)).await;
        (answer.status, answer.code().to_owned())
    };
    for kind in [UserKind::Guest, UserKind::Unlicensed] {
        assert_eq!(code(kind, "mailFolders").await, (404, "MailboxNotEnabledForRESTAPI".into()));
        assert_eq!(code(kind, "drive").await.0, 404);
    }
    assert_eq!(code(UserKind::OutOfScope, "mailFolders").await, (403, "ErrorAccessDenied".into()));
    assert_eq!(code(UserKind::NoDrive, "drive").await.0, 404);
    for kind in [UserKind::SharedMailbox, UserKind::Room, UserKind::NoDrive] {
        assert_eq!(code(kind, "mailFolders").await.0, 200);
    }
    assert_eq!(code(UserKind::Member, "nonsense").await, (400, "BadRequest".into()));
}

/// Every folder by walking the tree, with its path.
async fn tree(client: &Client, user: &str) -> Vec<(String, Value)> {
    let mut open = vec![(String::new(), format!("/users/{user}/mailFolders"))];
    let mut found = Vec::new();
    while let Some((path, url)) = open.pop() {
        let (rows, _) = client.all(&format!("{url}?includeHiddenFolders=true&$top=3")).await;
        for row in rows {
            let id = row["id"].as_str().unwrap();
            let path = format!("{path}/{}", row["displayName"].as_str().unwrap());
            open.push((path.clone(), format!("/users/{user}/mailFolders/{id}/childFolders")));
            found.push((path, row));
        }
    }
    found
}

#[tokio::test]
async fn the_folder_tree() {
    let client = Client::new(Options::default()).await;
    let user = client.member();
    let tree = tree(&client, &user).await;
    let paths: BTreeSet<&str> = tree.iter().map(|(path, _)| path.as_str()).collect();
    assert!(paths.contains("/Posteingang/Projekte/2026/Q1 (Angebote & Aufträge)/Ganz unten"));
    assert!(paths.contains("/Besprechungs-Cache"));
    assert!(!paths.contains("/Deletions"));
    let visible = client.get(&format!("/users/{user}/mailFolders?$top=100")).await;
    assert!(!visible.rows().iter().any(|row| row["displayName"] == "Besprechungs-Cache"));
    let searches =
        tree.iter().filter(|(_, row)| row["@odata.type"] == "#microsoft.graph.mailSearchFolder");
    assert_eq!(searches.count(), 1);
    let (flat, _) = client.round(&format!("/users/{user}/mailFolders/delta"), &[]).await;
    let mut flat = ids(&flat);
    let mut walked: Vec<&str> = tree.iter().map(|(_, row)| row["id"].as_str().unwrap()).collect();
    flat.sort_unstable();
    walked.sort_unstable();
    assert_eq!(flat, walked);
    let root =
        client.get(&format!("/users/{user}/mailFolders/msgfolderroot")).await.body["id"].clone();
    assert_eq!(
        client.get(&format!("/users/{user}/mailFolders/inbox")).await.body["parentFolderId"],
        root
    );
    let dumpster =
        client.get(&format!("/users/{user}/mailFolders/recoverableitemsdeletions")).await;
    assert!(dumpster.body["totalItemCount"].as_u64().unwrap() > 0);
    assert_eq!(
        client.get(&format!("/users/{user}/mailFolders/nonsense")).await.code(),
        "ErrorInvalidIdMalformed"
    );
}

#[tokio::test]
async fn every_message_is_listed_once_and_its_mime_is_the_tenants() {
    let client = Client::new(Options { mails: 200, ..Options::default() }).await;
    let user = client.member();
    let mut listed = BTreeMap::new();
    let folders = client.simulator.tenant().folders(&user).unwrap();
    for folder in folders.iter().filter(|folder| !folder.search) {
        let (rows, _) = client
            .all(&format!(
                "/users/{user}/mailFolders/{}/messages?$select=id,parentFolderId&$top=7",
                folder.id
            ))
            .await;
        assert_eq!(rows.len() as u64, folder.total, "{:?}", folder.path);
        for row in rows {
            assert_eq!(row["parentFolderId"], folder.id.as_str());
            assert!(listed.insert(row["id"].as_str().unwrap().to_owned(), row).is_none());
        }
    }
    let truth = client.simulator.tenant().messages(&user).unwrap();
    assert_eq!((listed.len(), truth.len()), (200, 200));
    for mail in truth.iter().step_by(5) {
        assert!(listed.contains_key(&mail.id));
        let mime = client.get(&format!("/users/{user}/messages/{}/$value", mail.id)).await;
        assert_eq!((mime.status, mime.header("content-type")), (200, "text/plain"));
        assert_eq!(hex(&mime.bytes), mail.sha256());
        assert_eq!(mime.bytes, mail.mime());
    }
    let id = &truth[0].id;
    let through_folder =
        client.get(&format!("/users/{user}/mailFolders/inbox/messages/{id}/$value")).await;
    assert_eq!((through_folder.status, through_folder.code()), (405, "ErrorInvalidRequest"));
}

#[tokio::test]
async fn ids_are_immutable_only_when_asked_for() {
    let client = Client::new(Options::default()).await;
    let user = client.member();
    let url = format!("/users/{user}/mailFolders/inbox/messages?$select=id&$top=1");
    let preferred = client.get(&url).await;
    assert!(preferred.header("preference-applied").contains("ImmutableId"));
    let immutable = preferred.rows()[0]["id"].as_str().unwrap().to_owned();
    let plain = client.get_with(&url, &[]).await;
    assert_eq!(plain.header("preference-applied"), "");
    let classic = plain.rows()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((immutable.len(), classic.len()), (72, 152));
    for id in [&immutable, &classic] {
        assert_eq!(
            client.get_with(&format!("/users/{user}/messages/{id}"), &[]).await.body["id"],
            classic.as_str()
        );
    }
    client.simulator.tenant().move_message(&user, &immutable, "archive").unwrap();
    assert_eq!(client.get(&format!("/users/{user}/messages/{immutable}")).await.status, 200);
    assert_eq!(
        client.get(&format!("/users/{user}/messages/{classic}")).await.code(),
        "ErrorItemNotFound"
    );
    assert_eq!(
        client.get(&format!("/users/{user}/messages/AAMk")).await.code(),
        "ErrorInvalidIdMalformed"
    );
    let other = client.simulator.tenant().users()[1].id.clone();
    assert_eq!(client.get(&format!("/users/{other}/messages/{immutable}")).await.status, 400);
}

#[tokio::test]
async fn properties_selection_and_extended_properties() {
    let client = Client::new(Options { mails: 64, ..Options::default() }).await;
    let user = client.member();
    let expand = "$expand=singleValueExtendedProperties($filter=id eq 'String 0x001A' or id eq 'String 0x007D')";
    let (rows, _) = client.all(&format!("/users/{user}/messages?$top=50&{expand}")).await;
    let class =
        |row: &Value| row["singleValueExtendedProperties"][0]["value"].as_str().unwrap().to_owned();
    assert!(rows.iter().any(|row| class(row) == "IPM.Note.SMIME"));
    let meeting = rows
        .iter()
        .find(|row| row["@odata.type"] == "#microsoft.graph.eventMessageRequest")
        .unwrap();
    assert_eq!(meeting["meetingMessageType"], "meetingRequest");
    assert_eq!(class(meeting), "IPM.Schedule.Meeting.Request");
    assert!(rows.iter().any(|row| row["internetMessageId"].is_null()));
    assert!(rows.iter().any(|row| row["receivedDateTime"].is_null() && row["isDraft"] == true));
    let message_ids: Vec<&str> =
        rows.iter().filter_map(|row| row["internetMessageId"].as_str()).collect();
    assert!(message_ids.iter().collect::<HashSet<_>>().len() < message_ids.len());
    let select = client
        .get(&format!("/users/{user}/messages?$select=subject,internetMessageHeaders&$top=1"))
        .await;
    let mut names: Vec<&String> = select.rows()[0].as_object().unwrap().keys().collect();
    names.sort_unstable();
    assert_eq!(names, ["@odata.etag", "id", "internetMessageHeaders", "subject"]);
    let text = [IMMUTABLE, ("prefer", "outlook.body-content-type=\"text\"")];
    let text =
        client.get_with(&format!("/users/{user}/messages?$top=50&$select=body"), &text).await;
    assert!(text.rows().iter().all(|row| row["body"]["contentType"] == "text"));
    assert_eq!(client.get(&format!("/users/{user}/messages?$select=subjekt")).await.status, 400);
}

#[tokio::test]
async fn attachments() {
    let client = Client::new(Options { mails: 64, ..Options::default() }).await;
    let user = client.member();
    let (rows, _) =
        client.all(&format!("/users/{user}/messages?$select=hasAttachments&$top=100")).await;
    let mut kinds = HashSet::new();
    for row in rows.iter().filter(|row| row["hasAttachments"] == true) {
        let base = format!("/users/{user}/messages/{}/attachments", row["id"].as_str().unwrap());
        let listed = client.get(&format!("{base}?$select=id,name,contentType,size,isInline")).await;
        for attachment in listed.rows() {
            assert_eq!(attachment.get("contentBytes"), None);
            let kind = attachment["@odata.type"].as_str().unwrap().to_owned();
            let one = format!("{base}/{}", attachment["id"].as_str().unwrap());
            let value = client.get(&format!("{one}/$value")).await;
            match kind.as_str() {
                "#microsoft.graph.referenceAttachment" => assert_eq!(value.status, 405),
                "#microsoft.graph.itemAttachment" => assert!(value.bytes.starts_with(b"From:")),
                _ => {
                    let whole = client.get(&one).await;
                    let bytes = data_encoding::BASE64
                        .decode(whole.body["contentBytes"].as_str().unwrap().as_bytes());
                    assert_eq!(bytes.unwrap(), value.bytes);
                }
            }
            kinds.insert(kind);
        }
    }
    assert_eq!(kinds.len(), 3);
}

#[tokio::test]
async fn delta_tells_what_changed_since() {
    let client = Client::new(Options { mails: 100, ..Options::default() }).await;
    let (tenant, user) = (client.simulator.tenant(), client.member());
    let delta = |folder: &str| {
        format!(
            "/users/{user}/mailFolders/{folder}/messages/delta?$select=subject,isRead,flag,changeKey"
        )
    };
    let paged = [IMMUTABLE, ("prefer", "odata.maxpagesize=3")];
    let (inbox, inbox_link) = client.round(&delta("inbox"), &paged).await;
    let (archive, archive_link) = client.round(&delta("archive"), &[IMMUTABLE]).await;
    assert_eq!(inbox.len(), 35);
    assert_eq!(client.round(&inbox_link, &[IMMUTABLE]).await.0.len(), 0);
    let ids = ids(&inbox);
    tenant.set_read(&user, ids[0], true).unwrap();
    tenant.set_flag(&user, ids[1], true).unwrap();
    tenant.delete_message(&user, ids[2]).unwrap();
    tenant.move_message(&user, ids[3], "archive").unwrap();
    let new = tenant.add_message(&user, "inbox", b"Subject: new\r\n\r\nhello\r\n").unwrap();
    let (changes, again) = client.round(&inbox_link, &paged).await;
    let by_id: BTreeMap<&str, &Value> =
        changes.iter().map(|row| (row["id"].as_str().unwrap(), row)).collect();
    assert_eq!(by_id.len(), 5);
    assert_eq!(by_id[ids[0]].get("subject"), None);
    assert_eq!(by_id[ids[0]]["isRead"], true);
    assert_eq!(by_id[ids[1]]["flag"]["flagStatus"], "flagged");
    assert_ne!(by_id[ids[1]]["changeKey"], inbox[1]["changeKey"]);
    assert_eq!(by_id[ids[2]]["@removed"]["reason"], "deleted");
    assert_eq!(by_id[ids[3]]["@removed"]["reason"], "deleted");
    assert_eq!(by_id[new.as_str()]["subject"], "new");
    let (moved, _) = client.round(&archive_link, &[IMMUTABLE]).await;
    assert_eq!((moved.len(), archive.len()), (1, 5));
    assert_eq!(moved[0]["id"], ids[3]);
    assert_eq!(client.round(&again, &[IMMUTABLE]).await.0.len(), 0);
    // An old link still works, and a full round agrees with the tenant.
    assert_eq!(client.round(&inbox_link, &[IMMUTABLE]).await.0.len(), 5);
    let (full, _) = client.round(&delta("inbox"), &[IMMUTABLE]).await;
    let truth = tenant.messages(&user).unwrap();
    let here = truth.iter().filter(|mail| client::ids(&full).contains(&mail.id.as_str())).count();
    assert_eq!((full.len(), here), (34, 34));
    let counts = client.get(&format!("/users/{user}/mailFolders/inbox")).await.body;
    assert_eq!(counts["totalItemCount"], 34);
    let unread = full.iter().filter(|row| row["isRead"] == false).count();
    assert_eq!(counts["unreadItemCount"], unread);
}

#[tokio::test]
async fn delta_links_must_be_used_as_they_are() {
    let client = Client::new(Options::default()).await;
    let user = client.member();
    let url = format!("/users/{user}/mailFolders/inbox/messages/delta?$select=subject");
    let first = client.get_with(&url, &[("prefer", "odata.maxpagesize=5")]).await;
    assert_eq!(first.rows().len(), 5);
    let next = first.next().unwrap();
    assert!(next.contains("%2b"));
    assert_eq!(client.get(next).await.status, 200);
    let mangled = client.get(&next.replace("%2b", "%2B")).await;
    assert_eq!((mangled.status, mangled.code()), (400, "SyncStateInvalid"));
    assert_eq!(client.get(&url.replace("delta?", "delta?$search=x&")).await.status, 400);
    let capped = client.round(&format!("{url}&$top=4"), &[]).await;
    assert_eq!(capped.0.len(), 4);
}

#[tokio::test]
async fn roles_are_enforced() {
    let roles = |roles: &[&str]| Options {
        credentials: Credentials {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..Credentials::default()
        },
        ..Options::default()
    };
    let client = Client::new(roles(&["Mail.ReadBasic.All"])).await;
    let user = client.member();
    assert_eq!(client.get("/users").await.code(), "Authorization_RequestDenied");
    assert_eq!(client.get(&format!("/users/{user}/drive")).await.code(), "accessDenied");
    let messages = client.get(&format!("/users/{user}/messages")).await;
    assert_eq!((messages.status, messages.rows()[0].get("body")), (200, None));
    let id = messages.rows()[0]["id"].as_str().unwrap();
    assert_eq!(
        client.get(&format!("/users/{user}/messages/{id}/$value")).await.code(),
        "ErrorAccessDenied"
    );
    let client = Client::new(roles(&["User.Read.All"])).await;
    let denied = client.get(&format!("/users/{user}/mailFolders")).await;
    assert_eq!((denied.status, denied.code()), (403, "ErrorAccessDenied"));
    assert!(denied.body["error"]["innerError"]["request-id"].is_string());
    assert_eq!(client.get("/applications").await.status, 403);
}

#[tokio::test]
async fn a_nasty_tenant_has_every_hazard() {
    let client =
        Client::new(Options { profile: Profile::Nasty, mails: 200, ..Options::default() }).await;
    let user = client.member();
    let names: Vec<String> = tree(&client, &user)
        .await
        .into_iter()
        .map(|(_, row)| row["displayName"].as_str().unwrap().to_owned())
        .collect();
    for name in ["..", "nul\0byte", "CON", "caf\u{e9}", "cafe\u{301}", "README", "readme"] {
        assert!(names.iter().any(|n| n == name), "{name:?}");
    }
    // Half a surrogate pair is legal in JSON text and in no Rust string.
    let url = format!(
        "{}/v1.0/users/{user}/messages?$select=subject&$top=1000",
        client.simulator.graph_url()
    );
    let raw =
        client.http.get(url).bearer_auth(&client.token).send().await.unwrap().text().await.unwrap();
    assert!(raw.contains(r"\ud83d here"));
    assert!(serde_json::from_str::<Value>(&raw).is_err());
}
