//! Calendars, contacts, tasks, settings and group mailboxes as they are read.

mod client;

use std::collections::BTreeSet;

use client::{Client, ids};
use serde_json::Value;
use simulator::schema::{Type, Value as Shape, model};
use simulator::{Credentials, Options, UserKind};

const W2024: &str = "startDateTime=2024-01-01T00:00:00Z&endDateTime=2027-01-01T00:00:00Z";

async fn client() -> Client {
    Client::new(Options { users: 2, mails: 2, files: 2, ..Options::default() }).await
}

/// Every property of a row and of what is in it that its type does not have.
fn unknown(of: &str, row: &Value, found: &mut BTreeSet<String>) {
    let Some(mut of): Option<&'static Type> = model().get(of) else { return };
    if let Some(cast) = row["@odata.type"].as_str() {
        let name = cast.trim_start_matches("#microsoft.graph.");
        of = model().get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
    }
    for (name, value) in row.as_object().into_iter().flatten() {
        if name.starts_with('@') || name.contains("@odata") {
            continue;
        }
        let member =
            |t: &'static Type| t.properties.get(name.as_str()).or(t.navigation.get(name.as_str()));
        let Some(shape) = model().member(of, member) else {
            found.insert(format!("{}/{name}", of.name));
            continue;
        };
        assert_eq!(shape.many, value.is_array(), "{}/{name} is {value}", of.name);
        if let Shape::Named(inner) = shape.value {
            match value {
                Value::Array(all) => all.iter().for_each(|one| unknown(inner, one, found)),
                one => unknown(inner, one, found),
            }
        }
    }
}

#[tokio::test]
async fn every_property_is_one_of_the_schema() {
    let client = client().await;
    let user = format!("/users/{}", client.member());
    let mut found = BTreeSet::new();
    let mut seen = 0;
    for (of, path) in [
        ("calendar", "calendars".to_owned()),
        ("calendarGroup", "calendarGroups".to_owned()),
        ("event", "events?$top=100".to_owned()),
        ("event", "events?$top=100&$expand=attachments".to_owned()),
        ("event", format!("calendarView?$top=200&{}", W2024.replace("2027", "2026"))),
        ("contact", "contacts?$top=100".to_owned()),
        ("contactFolder", "contactFolders".to_owned()),
        ("todoTaskList", "todo/lists".to_owned()),
        ("messageRule", "mailFolders/inbox/messageRules".to_owned()),
        ("outlookCategory", "outlook/masterCategories".to_owned()),
    ] {
        let (rows, _) = client.all(&format!("{user}/{path}")).await;
        seen += rows.len();
        assert!(!rows.is_empty(), "{path}");
        rows.iter().for_each(|row| unknown(of, row, &mut found));
    }
    for event in client.all(&format!("{user}/events?$top=100")).await.0 {
        let id = event["id"].as_str().unwrap();
        let one = client.get(&format!("{user}/events/{id}?$expand=exceptionOccurrences")).await;
        unknown("event", &one.body, &mut found);
    }
    for list in client.all(&format!("{user}/todo/lists")).await.0 {
        let expand = "$expand=checklistItems,linkedResources,attachments";
        let path = format!("{user}/todo/lists/{}/tasks?{expand}", list["id"].as_str().unwrap());
        client.all(&path).await.0.iter().for_each(|row| unknown("todoTask", row, &mut found));
    }
    for (of, path) in [("mailboxSettings", "mailboxSettings"), ("profilePhoto", "photo")] {
        for person in client.simulator.tenant().users() {
            let answer = client.get(&format!("/users/{}/{path}", person.id)).await;
            if answer.status == 200 {
                unknown(of, &answer.body, &mut found);
            }
        }
    }
    for group in client.all("/groups").await.0 {
        unknown("group", &group, &mut found);
        let group = format!("/groups/{}", group["id"].as_str().unwrap());
        for (of, path) in [("conversation", "conversations"), ("conversationThread", "threads")] {
            let answer = client.get(&format!("{group}/{path}")).await;
            answer.rows().iter().for_each(|row| unknown(of, row, &mut found));
        }
    }
    assert!(seen > 60, "{seen}");
    assert_eq!(found, BTreeSet::new());
}

#[tokio::test]
async fn calendars_and_their_owners() {
    let client = client().await;
    let user = format!("/users/{}", client.member());
    let (calendars, pages) = client.all(&format!("{user}/calendars?$top=2")).await;
    assert_eq!((calendars.len(), pages), (5, 3));
    let me = &client.get(&user).await.body["mail"];
    assert_eq!(calendars.iter().filter(|c| c["owner"]["address"] != *me).count(), 1);
    assert_eq!(calendars.iter().filter(|c| c["canEdit"] == false).count(), 3);
    assert_eq!(calendars.iter().filter(|c| c["isDefaultCalendar"] == true).count(), 1);
    let default = client.get(&format!("{user}/calendar")).await;
    assert_eq!(default.body["id"], calendars[0]["id"]);
    let mut all = 0;
    for calendar in &calendars {
        let path = format!("{user}/calendars/{}/events?$top=3", calendar["id"].as_str().unwrap());
        let (events, _) = client.all(&path).await;
        all += events.len();
        for event in events {
            assert!(event["type"] == "singleInstance" || event["type"] == "seriesMaster");
            assert_eq!(event.get("cancelledOccurrences"), None);
        }
    }
    assert_eq!(all, 15);
    let (groups, _) = client.all(&format!("{user}/calendarGroups")).await;
    let mut grouped = 0;
    for group in groups {
        let path = format!("{user}/calendarGroups/{}/calendars", group["id"].as_str().unwrap());
        grouped += client.all(&path).await.0.len();
    }
    assert_eq!(grouped, calendars.len());
}

#[tokio::test]
async fn series_and_what_became_of_their_occurrences() {
    let client = client().await;
    let user = format!("/users/{}", client.member());
    let (events, _) = client.all(&format!("{user}/events?$top=100")).await;
    let of_pattern = |kind: &str| {
        let found = events.iter().find(|event| event["recurrence"]["pattern"]["type"] == kind);
        found.unwrap_or_else(|| panic!("no series is {kind}"))["id"].as_str().unwrap().to_owned()
    };
    for kind in ["absoluteYearly", "relativeMonthly", "relativeYearly", "daily", "weekly"] {
        of_pattern(kind);
    }
    let id = of_pattern("daily");
    let plain = client.get(&format!("{user}/events/{id}")).await.body;
    assert_eq!(plain.get("cancelledOccurrences"), None);
    assert_eq!(plain.get("exceptionOccurrences"), None);
    let path = format!(
        "{user}/events/{id}?$select=subject,cancelledOccurrences&$expand=exceptionOccurrences"
    );
    let master = client.get(&path).await.body;
    let cancelled = master["cancelledOccurrences"][0].as_str().unwrap();
    let parts: Vec<&str> = cancelled.split('.').collect();
    assert_eq!((parts[0], parts[1]), ("OID", id.as_str()));
    let exception = &master["exceptionOccurrences"][0];
    assert_eq!(
        (&exception["type"], &exception["subject"]),
        (&"exception".into(), &"Ausnahmsweise später".into())
    );
    assert_eq!(exception["seriesMasterId"], id.as_str());
    let (instances, _) =
        client.all(&format!("{user}/events/{id}/instances?{W2024}").replace("2027", "2026")).await;
    assert_eq!(instances.len(), 9);
    assert!(
        instances
            .iter()
            .all(|one| !one["start"]["dateTime"].as_str().unwrap().starts_with(parts[2]))
    );
    let same = instances.iter().find(|one| one["id"] == exception["id"]).unwrap();
    assert_eq!(same["start"], exception["start"]);
    let moved =
        client.get(&format!("{user}/events/{}", exception["id"].as_str().unwrap())).await.body;
    assert_ne!(
        moved["originalStart"].as_str().unwrap()[..16],
        moved["start"]["dateTime"].as_str().unwrap()[..16]
    );
    assert_ne!(moved["iCalUId"], plain["iCalUId"]);
}

#[tokio::test]
async fn occurrences_keep_their_hour_when_clocks_change() {
    let client = client().await;
    let user = format!("/users/{}", client.member());
    let (events, _) = client.all(&format!("{user}/events?$top=100")).await;
    let weekly = events.iter().find(|e| e["recurrence"]["pattern"]["type"] == "weekly").unwrap();
    let id = weekly["id"].as_str().unwrap();
    let path = format!(
        "{user}/events/{id}/instances?startDateTime=2026-01-01T00:00:00Z&endDateTime=2026-12-31T00:00:00Z&$top=500"
    );
    let hours = |rows: &[Value]| -> BTreeSet<String> {
        rows.iter()
            .map(|row| row["start"]["dateTime"].as_str().unwrap()[11..16].to_owned())
            .collect()
    };
    let utc = client.get(&path).await;
    assert!(utc.rows().len() > 150);
    assert_eq!(hours(utc.rows()).len(), 2);
    let zone = ("prefer", "outlook.timezone=\"Eastern Standard Time\"");
    let local = client.get_with(&path, &[zone]).await;
    assert_eq!(hours(local.rows()).len(), 1);
    assert_eq!(local.rows()[0]["start"]["timeZone"], "Eastern Standard Time");
    assert!(local.header("preference-applied").contains("outlook.timezone"));
    let wrong = client.get_with(&path, &[("prefer", "outlook.timezone=\"Mars\"")]).await;
    assert_eq!((wrong.status, wrong.code()), (400, "TimeZoneNotSupportedException"));
}

#[tokio::test]
async fn all_day_events_float_and_windows_are_needed() {
    let client = client().await;
    let user = format!("/users/{}", client.member());
    let path = format!("{user}/events?$filter=isAllDay eq true");
    for zone in ["UTC", "Tokyo Standard Time"] {
        let prefer = format!("outlook.timezone=\"{zone}\"");
        let answer = client.get_with(&path, &[("prefer", &prefer)]).await;
        assert!(!answer.rows().is_empty());
        for row in answer.rows() {
            assert!(row["start"]["dateTime"].as_str().unwrap().ends_with("T00:00:00.0000000"));
            assert_eq!(row["start"]["timeZone"], zone);
        }
    }
    for (query, code) in [
        ("", "ErrorInvalidParameter"),
        ("?startDateTime=2024-01-01T00:00:00Z", "ErrorInvalidParameter"),
        (
            "?startDateTime=2024-01-01T00:00:00Z&endDateTime=2030-01-01T00:00:00Z",
            "ErrorInvalidRequest",
        ),
    ] {
        let answer = client.get(&format!("{user}/calendarView{query}")).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{query}");
    }
    let answer = client.get(&format!("{user}/calendarView/delta?{W2024}&$select=subject")).await;
    assert_eq!((answer.status, answer.code()), (400, "ErrorInvalidUrlQuery"));
}

#[tokio::test]
async fn a_delta_of_a_window_tells_masters_and_occurrences() {
    let client = Client::new(Options { page_cap: Some(7), ..Options::default() }).await;
    let user = format!("/users/{}", client.member());
    let window = W2024.replace("2027", "2026");
    let headers = [client::IMMUTABLE, ("prefer", "odata.maxpagesize=50")];
    let (rows, link) = client.round(&format!("{user}/calendarView/delta?{window}"), &headers).await;
    let (view, _) = client.all(&format!("{user}/calendarView?{window}&$top=50")).await;
    let masters = rows.iter().filter(|row| row["type"] == "seriesMaster").count();
    let told: BTreeSet<&str> = ids(&rows).into_iter().collect();
    assert_eq!(told.len(), rows.len());
    assert_eq!(rows.len() - masters, view.len());
    assert!(masters > 2 && ids(&view).iter().all(|id| told.contains(id)));
    let occurrence = rows.iter().find(|row| row["type"] == "occurrence").unwrap();
    assert!(occurrence["seriesMasterId"].is_string() && occurrence.get("subject").is_none());
    let (nothing, _) = client.round(&link, &headers).await;
    assert_eq!(nothing, [] as [Value; 0]);
}

#[tokio::test]
async fn attachments_of_events() {
    let client = client().await;
    let user = format!("/users/{}", client.member());
    let (events, _) = client.all(&format!("{user}/events?$filter=hasAttachments eq true")).await;
    let event = format!("{user}/events/{}", events[0]["id"].as_str().unwrap());
    let all = client.get(&format!("{event}/attachments?$select=id,name,size,isInline")).await;
    assert_eq!(all.rows().len(), 5);
    assert!(all.rows().iter().all(|row| row.get("contentBytes").is_none()));
    let mut kinds = BTreeSet::new();
    for row in all.rows() {
        let path = format!("{event}/attachments/{}", row["id"].as_str().unwrap());
        let (one, value) = (client.get(&path).await, client.get(&format!("{path}/$value")).await);
        let kind = one.body["@odata.type"].as_str().unwrap().to_owned();
        match kind.as_str() {
            "#microsoft.graph.referenceAttachment" => assert_eq!(value.status, 405),
            "#microsoft.graph.fileAttachment" => {
                use base64::Engine;
                let bytes = base64::engine::general_purpose::STANDARD
                    .decode(one.body["contentBytes"].as_str().unwrap());
                assert_eq!(bytes.unwrap(), value.bytes);
            }
            _ => assert!(value.bytes.starts_with(b"From:")),
        }
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 3);
}

#[tokio::test]
async fn contacts_lie_in_folders() {
    let client = client().await;
    let user = format!("/users/{}", client.member());
    let (folders, _) = client.all(&format!("{user}/contactFolders")).await;
    let named = |name: &str| {
        folders.iter().find(|f| f["displayName"] == name).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(folders.len(), 2);
    let suppliers = named("Lieferanten & Kunden");
    let (inner, _) = client.all(&format!("{user}/contactFolders/{suppliers}/childFolders")).await;
    assert_eq!(inner.len(), 1);
    let (default, pages) = client.all(&format!("{user}/contacts?$top=3")).await;
    assert_eq!((default.len(), pages), (7, 3));
    let by_name = client.all(&format!("{user}/contactFolders/Contacts/contacts?$top=50")).await.0;
    assert_eq!(ids(&by_name), ids(&default));
    let (all_folders, _) =
        client.round(&format!("{user}/contactFolders/delta"), &[client::IMMUTABLE]).await;
    assert_eq!(all_folders.len(), 4);
    let (mut told, mut pictures) = (0, 0);
    for folder in &all_folders {
        let folder = format!("{user}/contactFolders/{}", folder["id"].as_str().unwrap());
        let (rows, _) =
            client.round(&format!("{folder}/contacts/delta"), &[client::IMMUTABLE]).await;
        told += rows.len();
        for row in rows {
            let contact = format!("{folder}/contacts/{}", row["id"].as_str().unwrap());
            let picture = client.get(&format!("{contact}/photo/$value")).await;
            let property = "Boolean {00062004-0000-0000-C000-000000000046} Id 0x8015";
            let expand = format!(
                "{contact}?$expand=singleValueExtendedProperties($filter=id eq '{property}')"
            );
            let said = client.get(&expand).await.body["singleValueExtendedProperties"][0]["value"]
                == "true";
            assert_eq!(said, picture.status == 200);
            match picture.status {
                200 => {
                    assert!(picture.bytes.starts_with(&[0xff, 0xd8]));
                    pictures += 1;
                }
                status => assert_eq!((status, picture.code()), (404, "ImageNotFound")),
            }
        }
    }
    assert_eq!((told, pictures), (10, 4));
    let full = default.iter().find(|c| c["middleName"] == "Maria").unwrap();
    assert_eq!(full["primaryEmailAddress"], full["emailAddresses"][0]);
    assert_eq!(full["birthday"], "1974-02-28T11:59:00Z");
}

#[tokio::test]
async fn tasks_and_what_belongs_to_them() {
    let client = client().await;
    let todo = format!("/users/{}/todo/lists", client.member());
    let (lists, _) = client.round(&format!("{todo}/delta"), &[]).await;
    assert_eq!(lists.iter().filter(|l| l["wellknownListName"] != "none").count(), 2);
    assert_eq!(lists.iter().filter(|l| l["isOwner"] == false).count(), 1);
    let (mut tasks, mut files) = (0, 0);
    for list in &lists {
        let list = format!("{todo}/{}/tasks", list["id"].as_str().unwrap());
        let (rows, _) = client.round(&format!("{list}/delta"), &[]).await;
        assert_eq!(ids(&client.all(&list).await.0), ids(&rows));
        tasks += rows.len();
        for row in rows.iter().filter(|row| row["hasAttachments"] == true) {
            let task = format!("{list}/{}", row["id"].as_str().unwrap());
            assert_eq!(client.get(&format!("{task}/checklistItems")).await.rows().len(), 2);
            assert_eq!(client.get(&format!("{task}/linkedResources")).await.rows().len(), 1);
            let listed = client.get(&format!("{task}/attachments")).await;
            assert_eq!(listed.rows()[0].get("contentBytes"), None);
            let file = format!("{task}/attachments/{}", listed.rows()[0]["id"].as_str().unwrap());
            let bytes = client.get(&format!("{file}/$value")).await.bytes;
            assert_eq!(listed.rows()[0]["size"], bytes.len());
            assert!(client.get(&file).await.body["contentBytes"].is_string());
            files += 1;
        }
    }
    assert_eq!((tasks, files), (8, 2));
}

#[tokio::test]
async fn settings_rules_categories_and_pictures() {
    let client = Client::new(Options { users: 8, mails: 2, files: 2, ..Options::default() }).await;
    let user = format!("/users/{}", client.member());
    let settings = client.get(&format!("{user}/mailboxSettings")).await.body;
    assert_eq!(settings["workingHours"]["timeZone"]["name"], "W. Europe Standard Time");
    let rules = client.get(&format!("{user}/mailFolders/inbox/messageRules")).await;
    assert_eq!(rules.rows().len(), 3);
    let archive = client.get(&format!("{user}/mailFolders/archive")).await.body;
    assert_eq!(rules.rows()[0]["actions"]["moveToFolder"], archive["id"]);
    let categories = client.get(&format!("{user}/outlook/masterCategories")).await;
    assert_eq!(categories.rows().len(), 4);
    let people = client.simulator.tenant().users();
    let mut statuses = BTreeSet::new();
    for person in people
        .iter()
        .filter(|person| person.kind == UserKind::Member || person.kind == UserKind::Room)
    {
        let answer = client.get(&format!("/users/{}/photo/$value", person.id)).await;
        statuses.insert(answer.status);
        if answer.status == 404 {
            assert_eq!(answer.code(), "ImageNotFound");
        }
    }
    assert_eq!(statuses, BTreeSet::from([200, 404]));
    let guest = client.user(UserKind::Guest).id;
    for path in ["calendars", "contacts", "todo/lists", "mailboxSettings"] {
        let answer = client.get(&format!("/users/{guest}/{path}")).await;
        assert_eq!((answer.status, answer.code()), (404, "MailboxNotEnabledForRESTAPI"), "{path}");
    }
}

#[tokio::test]
async fn what_an_application_sees_of_groups() {
    let client = client().await;
    let (groups, _) = client.all("/groups?$filter=groupTypes/any(c:c eq 'Unified')").await;
    assert_eq!(groups.len(), 2);
    let (groups, _) = client.all("/groups").await;
    let unified: Vec<&Value> =
        groups.iter().filter(|group| group["groupTypes"][0] == "Unified").collect();
    assert_eq!((groups.len(), unified.len()), (3, 2));
    let group = format!("/groups/{}", unified[0]["id"].as_str().unwrap());
    let (conversations, pages) = client.all(&format!("{group}/conversations?$top=3")).await;
    assert_eq!((conversations.len(), pages), (4, 2));
    let (threads, _) = client.all(&format!("{group}/threads")).await;
    let (mut inside, mut posts) = (0, 0);
    for conversation in &conversations {
        let path =
            format!("{group}/conversations/{}/threads", conversation["id"].as_str().unwrap());
        for thread in client.all(&path).await.0 {
            inside += 1;
            let path = format!("{group}/threads/{}/posts", thread["id"].as_str().unwrap());
            for post in client.all(&path).await.0 {
                posts += 1;
                let answer = client
                    .get(&format!("{path}/{}/attachments", post["id"].as_str().unwrap()))
                    .await;
                assert_eq!((answer.status, answer.code()), (403, "ErrorAccessDenied"));
            }
        }
    }
    assert_eq!(inside, threads.len());
    assert!(posts > inside);
    assert_eq!(client.get(&format!("{group}/events")).await.status, 403);
    let view = client.get(&format!("{group}/calendarView?{W2024}&$top=50")).await;
    assert_eq!(view.rows().len(), 9);
    assert_eq!(client.get(&format!("{group}/members")).await.rows().len(), 3);
}

#[tokio::test]
async fn nobody_reads_without_the_role() {
    let roles = vec!["User.Read.All".into(), "Mail.Read".into()];
    let credentials = Credentials { roles, ..Credentials::default() };
    let client = Client::new(Options { credentials, ..Options::default() }).await;
    let user = format!("/users/{}", client.member());
    for path in [
        "calendars",
        "contacts",
        "contactFolders/delta",
        "todo/lists",
        "mailboxSettings",
        "outlook/masterCategories",
        "mailFolders/inbox/messageRules",
    ] {
        let answer = client.get(&format!("{user}/{path}")).await;
        assert_eq!((answer.status, answer.code()), (403, "ErrorAccessDenied"), "{path}");
    }
}

#[tokio::test]
async fn faults_strike_here_too() {
    let faults = [
        "vanish:match=/events/,rate=1",
        "corrupt:match=/contacts/,rate=1",
        "throttle:match=/todo/",
        "delta-gone:match=/contacts/delta",
    ];
    let faults = faults.map(|text| text.parse().unwrap()).to_vec();
    let client = Client::new(Options { faults, ..Options::default() }).await;
    let user = format!("/users/{}", client.member());
    let first = client.get(&format!("{user}/events?$top=1")).await.rows()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(client.get(&format!("{user}/events/{first}")).await.code(), "ErrorItemNotFound");
    let contact = client.get(&format!("{user}/contacts?$top=1")).await.rows()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(client.get(&format!("{user}/contacts/{contact}")).await.code(), "ErrorCorruptData");
    let delta = client.get(&format!("{user}/contactFolders/contacts/contacts/delta")).await;
    let next = delta.delta().or(delta.next()).unwrap().to_owned();
    let gone = client.get(&next).await;
    assert_eq!((gone.status, gone.code()), (410, "SyncStateNotFound"));
    assert_eq!(client.get(&format!("{user}/todo/lists")).await.status, 429);
}

#[tokio::test]
async fn tests_change_things_behind_the_back_of_clients() {
    let client = client().await;
    let (user, tenant) = (client.member(), client.simulator.tenant());
    let kinds = |kind: &str| {
        let items = tenant.items(&user).unwrap();
        items.into_iter().filter(|item| item.kind == kind).collect::<Vec<_>>()
    };
    assert_eq!((kinds("event").len(), kinds("contact").len(), kinds("task").len()), (15, 10, 8));
    let contacts = format!("/users/{user}/contactFolders/contacts/contacts/delta");
    let (_, link) = client.round(&contacts, &[client::IMMUTABLE]).await;
    let (first, second) = (kinds("contact")[0].id.clone(), kinds("contact")[1].id.clone());
    tenant.change_item(&user, &first, serde_json::json!({"jobTitle": "Neu"})).unwrap();
    tenant.delete_item(&user, &second).unwrap();
    let (rows, _) = client.round(&link, &[client::IMMUTABLE]).await;
    assert_eq!(ids(&rows), [&first, &second]);
    assert_eq!(rows[0]["jobTitle"], "Neu");
    let guest = client.user(UserKind::Guest).id;
    assert_eq!(client.get(&format!("/users/{guest}/photo/$value")).await.code(), "ImageNotFound");
    let url = format!("{}/_sim/items?user={user}", client.simulator.graph_url());
    assert_eq!(client.get(&url).await.body.as_array().unwrap().len(), 32);
}

#[tokio::test]
async fn bodies_as_text_and_ids_in_both_forms() {
    let client = client().await;
    let user = format!("/users/{}", client.member());
    let path = format!("{user}/events?$top=100");
    let classic = client.get_with(&path, &[]).await;
    let text = ("prefer", "IdType=\"ImmutableId\", outlook.body-content-type=\"text\"");
    let plain = client.get_with(&path, &[text]).await;
    assert_eq!(plain.rows().len(), classic.rows().len());
    let html =
        |rows: &[Value]| rows.iter().filter(|row| row["body"]["contentType"] == "html").count();
    assert!(html(classic.rows()) > 5 && html(plain.rows()) == 0);
    for (one, other) in classic.rows().iter().zip(plain.rows()) {
        assert_ne!(one["id"], other["id"]);
        assert_eq!(one["iCalUId"], other["iCalUId"]);
        for id in [&one["id"], &other["id"]] {
            let answer = client.get(&format!("{user}/events/{}", id.as_str().unwrap())).await;
            assert_eq!(answer.body["id"], other["id"]);
        }
    }
}
