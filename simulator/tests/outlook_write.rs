//! Calendars, contacts, tasks and settings as clients write them: what comes back, what is
//! refused, and that the service's mails are written down.

mod client;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::{Answer, Client, IMMUTABLE, read};
use reqwest::Method;
use serde_json::{Value, json};
use simulator::{Credentials, Language, NewUser, Options};

const USER: &str = "11111111-2222-4333-8444-555555555555";
const ORIGIN: &str = "String {00020386-0000-0000-C000-000000000046} Name X-Origin";

struct Mailbox(Client);

impl Mailbox {
    async fn new() -> Mailbox {
        let user = NewUser {
            id: USER.into(),
            upn: "anna@fabrikam.example".into(),
            display_name: "Anna Beispiel".into(),
            mail: "anna@fabrikam.example".into(),
            language: Language::English,
        };
        let credentials = Credentials::restoring();
        let empty = Some(vec![user]);
        Mailbox(
            Client::new(Options { empty, credentials, limits: None, ..Options::default() }).await,
        )
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: Vec<u8>) -> Answer {
        let url = match path.starts_with("http") {
            true => path.to_owned(),
            false => format!("{}/v1.0/users/{USER}{path}", self.0.simulator.graph_url()),
        };
        let request = self.0.http.request(method, url).bearer_auth(&self.0.token).body(body);
        let request = request.header("content-type", kind).header(IMMUTABLE.0, IMMUTABLE.1);
        read(request).await.unwrap()
    }

    async fn json(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send(method, path, "application/json", body.to_string().into_bytes()).await
    }

    /// A POST that makes something; returns its id.
    async fn make(&self, path: &str, body: Value) -> (String, Value) {
        let answer = self.json(Method::POST, path, body).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.body);
        (answer.body["id"].as_str().unwrap().to_owned(), answer.body)
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.json(Method::PATCH, path, body).await
    }

    async fn delete(&self, path: &str) -> u16 {
        self.send(Method::DELETE, path, "application/json", Vec::new()).await.status
    }

    async fn get(&self, path: &str) -> Answer {
        self.0.get(&format!("/users/{USER}{path}")).await
    }

    /// A refusal of a POST: its status and code.
    async fn refused(&self, path: &str, body: Value) -> (u16, String) {
        let answer = self.json(Method::POST, path, body).await;
        (answer.status, answer.code().to_owned())
    }

    fn mailed(&self) -> Vec<String> {
        self.0.simulator.tenant().mailed().into_iter().map(|mailed| mailed.action).collect()
    }
}

fn time(text: &str) -> Value {
    json!({"dateTime": text, "timeZone": "W. Europe Standard Time"})
}

/// Every day from the second of March on, at nine for an hour.
fn series() -> Value {
    json!({
        "subject": "Reihe", "start": time("2026-03-02T09:00:00"), "end": time("2026-03-02T10:00:00"),
        "recurrence": {
            "pattern": {"type": "daily", "interval": 1},
            "range": {"type": "numbered", "startDate": "2026-03-02", "numberOfOccurrences": 6},
        },
    })
}

async fn starts(mailbox: &Mailbox, series: &str) -> Vec<(String, String)> {
    let window = "startDateTime=2026-01-01T00:00:00Z&endDateTime=2026-12-31T00:00:00Z";
    let answer = mailbox.get(&format!("/events/{series}/instances?{window}&$top=50")).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    answer
        .rows()
        .iter()
        .map(|row| (text(&row["start"]["dateTime"])[5..16].to_owned(), text(&row["id"])))
        .collect()
}

#[tokio::test]
async fn a_series_with_its_exceptions() {
    let mailbox = Mailbox::new().await;
    let (calendar, made) = mailbox.make("/calendars", json!({"name": "Büro"})).await;
    assert_eq!((&made["canEdit"], &made["isDefaultCalendar"]), (&true.into(), &false.into()));
    let mut body = series();
    body["singleValueExtendedProperties"] = json!([{"id": ORIGIN, "value": "one"}]);
    let (id, made) = mailbox.make(&format!("/calendars/{calendar}/events"), body).await;
    assert_eq!(
        (&made["type"], &made["start"]["dateTime"]),
        (&"seriesMaster".into(), &"2026-03-02T08:00:00.0000000".into())
    );
    assert_eq!(made["recurrence"]["range"]["recurrenceTimeZone"], "W. Europe Standard Time");
    let instances = starts(&mailbox, &id).await;
    assert_eq!(instances.len(), 6);
    let event = |n: usize| format!("/events/{}", instances[n].1);

    let moved = mailbox.patch(&event(1), json!({"subject": "Später", "start": time("2026-03-03T15:00:00"), "end": time("2026-03-03T16:30:00")})).await;
    assert_eq!((moved.status, &moved.body["type"]), (200, &"exception".into()));
    assert_eq!(moved.body["originalStart"], "2026-03-03T08:00:00.0000000Z");
    assert_eq!(mailbox.delete(&event(3)).await, 204);
    assert_eq!(mailbox.get(&event(3)).await.status, 404);
    let beyond = json!({"start": time("2026-03-05T09:30:00"), "end": time("2026-03-06T09:30:00")});
    let crossing = mailbox.patch(&event(2), beyond).await;
    assert_eq!((crossing.status, crossing.code()), (400, "ErrorOccurrenceCrossingBoundary"));
    // The neighbour that was cancelled is in nobody's way.
    let within = json!({"start": time("2026-03-05T09:30:00"), "end": time("2026-03-05T10:30:00")});
    assert_eq!(mailbox.patch(&event(2), within).await.status, 200);

    let now = starts(&mailbox, &id).await;
    let now: Vec<&str> = now.iter().map(|(start, _)| start.as_str()).collect();
    assert_eq!(now, ["03-02T08:00", "03-03T14:00", "03-05T08:30", "03-06T08:00", "03-07T08:00"]);
    let master = mailbox
        .get(&format!("/events/{id}?$select=cancelledOccurrences&$expand=exceptionOccurrences"))
        .await
        .body;
    assert_eq!(master["cancelledOccurrences"], json!([format!("OID.{id}.2026-03-05")]));
    assert_eq!(master["exceptionOccurrences"].as_array().unwrap().len(), 2);

    let filter = format!(
        "$filter=singleValueExtendedProperties/Any(ep: ep/id eq '{ORIGIN}' and ep/value eq 'one')"
    );
    let found = mailbox.get(&format!("/calendars/{calendar}/events?{filter}")).await;
    assert_eq!(client::ids(found.rows()), [id.as_str()]);
    let none = mailbox
        .get(&format!("/calendars/{calendar}/events?{}", filter.replace("'one'", "'two'")))
        .await;
    assert!(none.rows().is_empty());
    assert_eq!(mailbox.mailed(), [] as [String; 0]);
}

#[tokio::test]
async fn what_would_have_been_mailed() {
    let mailbox = Mailbox::new().await;
    let alone = json!({"subject": "Allein", "start": time("2026-03-02T09:00:00"), "end": time("2026-03-02T10:00:00")});
    let (id, _) = mailbox.make("/events", alone.clone()).await;
    mailbox.patch(&format!("/events/{id}"), json!({"subject": "Anders"})).await;
    mailbox.delete(&format!("/events/{id}")).await;
    assert_eq!(mailbox.mailed(), [] as [String; 0]);

    let mut meeting = alone;
    meeting["attendees"] = json!([{"type": "required", "emailAddress": {"address": "ben@fabrikam.example", "name": "Ben"}}]);
    let (id, made) = mailbox.make("/events", meeting).await;
    assert_eq!(made["attendees"][0]["status"]["response"], "none");
    let event = format!("/events/{id}");
    mailbox.patch(&event, json!({"categories": ["Rot"], "isReminderOn": false})).await;
    assert_eq!(mailbox.mailed(), ["createEvent"]);
    mailbox.patch(&event, json!({"location": {"displayName": "Hof"}})).await;
    mailbox.delete(&event).await;
    assert_eq!(mailbox.mailed(), ["createEvent", "updateEvent", "deleteEvent"]);
    let url = format!("{}/_sim/mailed", mailbox.0.simulator.graph_url());
    let told = mailbox.0.get(&url).await.body;
    assert_eq!(told[0]["body"]["attendees"][0]["emailAddress"]["address"], "ben@fabrikam.example");
    assert_eq!(told[0]["message"], id);
}

#[tokio::test]
async fn events_that_are_refused() {
    let mailbox = Mailbox::new().await;
    let with = |name: &str, value: Value| {
        let mut body = series();
        body[name] = value;
        body
    };
    let in_range = |name: &str, value: Value| {
        let mut body = series();
        body["recurrence"]["range"][name] = value;
        body
    };
    let mut no_start = series();
    no_start.as_object_mut().unwrap().remove("start");
    for (body, code) in [
        (with("subjekt", "x".into()), "RequestBodyRead"),
        (with("showAs", "gone".into()), "RequestBodyRead"),
        (with("responseRequested", "yes".into()), "RequestBodyRead"),
        (
            with(
                "start",
                json!({"dateTime": "2026-03-02T09:00:00", "timeZone": "tzone://Microsoft/Custom"}),
            ),
            "TimeZoneNotSupportedException",
        ),
        (with("attendees", json!([{"emailAddress": {"name": "x"}}])), "ErrorInvalidRecipients"),
        (with("end", time("2026-03-01T09:00:00")), "ErrorInvalidRequest"),
        (with("isAllDay", true.into()), "ErrorInvalidRequest"),
        (in_range("recurrenceTimeZone", "".into()), "TimeZoneNotSupportedException"),
        (in_range("startDate", "2026-03-03".into()), "ErrorPropertyValidationFailure"),
        (in_range("numberOfOccurrences", 0.into()), "ErrorPropertyValidationFailure"),
        (no_start, "ErrorRequiredPropertyMissing"),
    ] {
        assert_eq!(
            mailbox.refused("/events", body.clone()).await,
            (400, code.to_owned()),
            "{body}"
        );
    }
    assert!(mailbox.get("/events").await.rows().is_empty());
    let (first, _) = mailbox.make("/events", with("transactionId", "t-1".into())).await;
    let (again, _) = mailbox.make("/events", with("transactionId", "t-1".into())).await;
    assert_eq!(first, again);
    assert_eq!(
        mailbox.refused("/calendars", json!({"name": "CALENDAR"})).await,
        (409, "ErrorFolderExists".into())
    );
}

#[tokio::test]
async fn attachments_of_events_small_and_large() {
    let mailbox = Mailbox::new().await;
    let (id, _) = mailbox.make("/events", series()).await;
    let file = json!({"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": STANDARD.encode("abc")});
    let (small, _) = mailbox.make(&format!("/events/{id}/attachments"), file.clone()).await;
    let value = mailbox.get(&format!("/events/{id}/attachments/{small}/$value")).await;
    assert_eq!(value.bytes, b"abc");
    let content: Vec<u8> = (0..3_200_000_u32).map(|n| n as u8).collect();
    let item = json!({"AttachmentItem": {"attachmentType": "file", "name": "b.bin", "size": content.len()}});
    let opened = mailbox
        .json(Method::POST, &format!("/events/{id}/attachments/createUploadSession"), item)
        .await;
    assert_eq!(opened.status, 201, "{}", opened.body);
    let url = opened.body["uploadUrl"].as_str().unwrap();
    let range = format!("bytes 0-{}/{}", content.len() - 1, content.len());
    let put = mailbox.0.http.put(url).header("content-range", range).body(content.clone());
    assert_eq!(read(put).await.unwrap().status, 201);
    let all = mailbox.get(&format!("/events/{id}/attachments?$select=name")).await;
    assert_eq!(all.rows().len(), 2);
    let large = all.rows()[1]["id"].as_str().unwrap();
    assert_eq!(
        mailbox.get(&format!("/events/{id}/attachments/{large}/$value")).await.bytes,
        content
    );
    // An occurrence that gets one of its own is an exception from then on.
    let second = starts(&mailbox, &id).await[1].1.clone();
    mailbox.make(&format!("/events/{second}/attachments"), file).await;
    assert_eq!(mailbox.get(&format!("/events/{second}")).await.body["type"], "exception");
    assert_eq!(mailbox.get(&format!("/events/{second}/attachments")).await.rows().len(), 3);
    assert_eq!(mailbox.get(&format!("/events/{id}/attachments")).await.rows().len(), 2);
}

#[tokio::test]
async fn changes_of_a_window_are_told() {
    let mailbox = Mailbox::new().await;
    let (id, _) = mailbox.make("/events", series()).await;
    let path = format!(
        "/users/{USER}/calendarView/delta?startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-03-05T00:00:00Z"
    );
    let (rows, link) = mailbox.0.round(&path, &[IMMUTABLE]).await;
    assert_eq!(rows.len(), 4);
    let second = starts(&mailbox, &id).await[1].1.clone();
    mailbox.delete(&format!("/events/{second}")).await;
    let (rows, link) = mailbox.0.round(&link, &[IMMUTABLE]).await;
    assert_eq!((rows.len(), &rows[0]["id"]), (1, &second.into()));
    assert_eq!(rows[0]["@removed"]["reason"], "deleted");
    let single = json!({"subject": "Neu", "start": time("2026-03-04T09:00:00"), "end": time("2026-03-04T10:00:00")});
    let (new, _) = mailbox.make("/events", single.clone()).await;
    let (rows, link) = mailbox.0.round(&link, &[IMMUTABLE]).await;
    assert_eq!(client::ids(&rows), [new.as_str()]);
    // Out of the window is gone.
    mailbox
        .patch(
            &format!("/events/{new}"),
            json!({"start": time("2026-04-04T09:00:00"), "end": time("2026-04-04T10:00:00")}),
        )
        .await;
    mailbox.delete(&format!("/events/{id}")).await;
    let (rows, _) = mailbox.0.round(&link, &[IMMUTABLE]).await;
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row["@removed"].is_object()));
}

#[tokio::test]
async fn contacts_and_their_folders() {
    let mailbox = Mailbox::new().await;
    let (folder, _) = mailbox.make("/contactFolders", json!({"displayName": "Kunden"})).await;
    let taken = mailbox.refused("/contactFolders", json!({"displayName": "KUNDEN"})).await;
    assert_eq!(taken, (409, "ErrorFolderExists".into()));
    let (inner, _) = mailbox
        .make(&format!("/contactFolders/{folder}/childFolders"), json!({"displayName": "Alt"}))
        .await;
    let contacts = format!("/contactFolders/{inner}/contacts");
    let delta = format!("/users/{USER}{contacts}/delta?$select=surname");
    let (_, link) = mailbox.0.round(&delta, &[IMMUTABLE]).await;
    let body = json!({
        "givenName": "Zoë", "surname": "Ångström", "birthday": "1980-05-04T00:00:00Z",
        "emailAddresses": [{"address": "z@fabrikam.example"}],
        "singleValueExtendedProperties": [{"id": ORIGIN, "value": "c-1"}, {"id": "String 0x3A24", "value": "+49 1"}],
    });
    let (id, made) = mailbox.make(&contacts, body).await;
    assert_eq!(
        (&made["displayName"], &made["fileAs"]),
        (&"Zoë Ångström".into(), &"Ångström, Zoë".into())
    );
    assert_eq!(
        (&made["birthday"], &made["parentFolderId"]),
        (&"1980-05-04T11:59:00Z".into(), &inner.clone().into())
    );
    assert_eq!(mailbox.refused(&contacts, json!({"birthday": ""})).await.0, 400);
    assert_eq!(
        mailbox.refused(&contacts, json!({"familyName": "x"})).await,
        (400, "RequestBodyRead".into())
    );
    let filter = format!(
        "$filter=singleValueExtendedProperties/any(e:e/id eq '{ORIGIN}' and e/value eq 'c-1')"
    );
    assert_eq!(
        client::ids(mailbox.get(&format!("{contacts}?{filter}")).await.rows()),
        [id.as_str()]
    );
    let fax = mailbox
        .get(&format!(
            "{contacts}/{id}?$expand=singleValueExtendedProperties($filter=id eq 'String 0x3a24')"
        ))
        .await;
    assert_eq!(fax.body["singleValueExtendedProperties"][0]["value"], "+49 1");
    let photo = format!("{contacts}/{id}/photo/$value");
    assert_eq!(mailbox.get(&photo).await.code(), "ImageNotFound");
    let put = mailbox.send(Method::PUT, &photo, "image/jpeg", b"\xff\xd8picture".to_vec()).await;
    assert_eq!(put.status, 200, "{}", put.body);
    assert_eq!(mailbox.get(&photo).await.bytes, b"\xff\xd8picture");
    let (rows, link) = mailbox.0.round(&link, &[IMMUTABLE]).await;
    assert_eq!((rows.len(), &rows[0]["surname"]), (1, &"Ångström".into()));
    assert_eq!(rows[0].get("givenName"), None);
    mailbox.delete(&format!("{contacts}/{id}")).await;
    let (rows, _) = mailbox.0.round(&link, &[IMMUTABLE]).await;
    assert_eq!(rows[0]["@removed"]["reason"], "deleted");
}

#[tokio::test]
async fn tasks_with_all_that_belongs_to_them() {
    let mailbox = Mailbox::new().await;
    let (list, _) = mailbox.make("/todo/lists", json!({"displayName": "Haus"})).await;
    let tasks = format!("/todo/lists/{list}/tasks");
    let body = json!({
        "title": "Dach", "status": "completed", "completedDateTime": time("2026-03-02T00:00:00"),
        "dueDateTime": time("2026-03-30T00:00:00"), "importance": "high",
        "linkedResources": [{"applicationName": "x", "externalId": "e-1", "displayName": "d", "webUrl": "https://x.example"}],
    });
    let (id, made) = mailbox.make(&tasks, body).await;
    assert_eq!(
        made["dueDateTime"],
        json!({"dateTime": "2026-03-29T22:00:00.0000000", "timeZone": "UTC"})
    );
    assert_eq!(made["completedDateTime"]["dateTime"], "2026-03-01T23:00:00.0000000");
    let task = format!("{tasks}/{id}");
    mailbox
        .make(&format!("{task}/checklistItems"), json!({"displayName": "eins", "isChecked": true}))
        .await;
    let file = json!({"@odata.type": "#microsoft.graph.taskFileAttachment", "name": "a", "contentType": "text/plain", "contentBytes": STANDARD.encode("abc")});
    mailbox.make(&format!("{task}/attachments"), file).await;
    let content = vec![7; 5_000_000];
    let info =
        json!({"attachmentInfo": {"attachmentType": "file", "name": "b", "size": content.len()}});
    let opened =
        mailbox.json(Method::POST, &format!("{task}/attachments/createUploadSession"), info).await;
    let url = format!("{}/content", opened.body["uploadUrl"].as_str().unwrap());
    for (from, to) in [(0, 4 << 20), (4 << 20, content.len())] {
        let range = format!("bytes {from}-{}/{}", to - 1, content.len());
        let put =
            mailbox.0.http.put(&url).bearer_auth(&mailbox.0.token).header("content-range", range);
        let answer = read(put.body(content[from..to].to_vec())).await.unwrap();
        assert_eq!(answer.status, if to == content.len() { 201 } else { 200 }, "{}", answer.body);
    }
    let whole = mailbox
        .get(&format!("{tasks}?$expand=checklistItems,linkedResources,attachments"))
        .await
        .rows()[0]
        .clone();
    assert_eq!(whole["checklistItems"][0]["isChecked"], true);
    assert_eq!(whole["linkedResources"][0]["externalId"], "e-1");
    let sizes: Vec<&Value> =
        whole["attachments"].as_array().unwrap().iter().map(|a| &a["size"]).collect();
    assert_eq!(sizes, [3, 5_000_000]);
    assert_eq!(mailbox.refused(&tasks, json!({"subject": "x"})).await.0, 400);
    assert_eq!(mailbox.refused(&tasks, json!({"title": "x", "status": "done"})).await.0, 400);
}

#[tokio::test]
async fn settings_rules_categories_and_a_picture() {
    let mailbox = Mailbox::new().await;
    let away = json!({"automaticRepliesSetting": {"status": "alwaysEnabled", "internalReplyMessage": "Weg"}, "timeZone": "Tokyo Standard Time"});
    let answer = mailbox.patch("/mailboxSettings", away).await;
    assert_eq!((answer.status, &answer.body["timeZone"]), (200, &"Tokyo Standard Time".into()));
    let now = mailbox.get("/mailboxSettings").await.body;
    assert_eq!(now["automaticRepliesSetting"]["internalReplyMessage"], "Weg");
    assert_eq!(now["automaticRepliesSetting"]["externalAudience"], "all");
    assert_eq!(mailbox.patch("/mailboxSettings", json!({"timeZone": "Mars"})).await.status, 400);
    let inbox = mailbox.get("/mailFolders/inbox").await.body["id"].as_str().unwrap().to_owned();
    let rule = |folder: &str| json!({"displayName": "r", "sequence": 1, "isEnabled": false, "conditions": {"sentToMe": true}, "actions": {"moveToFolder": folder, "stopProcessingRules": true}});
    let rules = "/mailFolders/inbox/messageRules";
    let (id, made) = mailbox.make(rules, rule(&inbox)).await;
    assert_eq!(
        (&made["isEnabled"], &made["actions"]["moveToFolder"]),
        (&false.into(), &inbox.into())
    );
    assert_eq!(mailbox.refused(rules, rule("nowhere")).await.0, 400);
    assert_eq!(
        mailbox.patch(&format!("{rules}/{id}"), json!({"isEnabled": true})).await.body["isEnabled"],
        true
    );
    let categories = "/outlook/masterCategories";
    mailbox.make(categories, json!({"displayName": "Rot", "color": "preset0"})).await;
    let taken =
        mailbox.refused(categories, json!({"displayName": "rot", "color": "preset1"})).await;
    assert_eq!(taken.0, 409);
    assert_eq!(mailbox.get("/photo/$value").await.code(), "ImageNotFound");
    assert_eq!(
        mailbox.send(Method::PUT, "/photo/$value", "image/png", b"png".to_vec()).await.status,
        200
    );
    let photo = mailbox.get("/photo/$value").await;
    assert_eq!((photo.bytes.as_slice(), photo.header("content-type")), (&b"png"[..], "image/png"));
}
