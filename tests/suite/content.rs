//! What is in an archive is what the service has: bytes, metadata, folders, nothing else; and what
//! it cost to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Fault, Host, MailFolder, Options, Profile, Record, User, UserKind};

use crate::harness::{
    Archive, Tenant, corpus, files_below, python, run_with, runtime, sha256, tar365, text, verify,
};

const RECOVERABLE: &str = "recoverableitemsdeletions";

fn tenant(users: u32, mails: u64, files: u64) -> Options {
    Options { users, mails, files, special_users: false, ..Options::default() }
}

/// The section of a user's service in the archive, found by the owner line.
fn section(archive: &Archive, user: &User, service: &str) -> Option<String> {
    let ending = format!("/{service}.ndjson");
    archive
        .members
        .iter()
        .filter(|member| member.path.starts_with("users/") && member.path.ends_with(&ending))
        .map(|member| member.path.trim_end_matches(".ndjson").to_owned())
        .find(|section| archive.lines(section)[0]["id"] == user.id.as_str())
}

fn has_mailbox(user: &User) -> bool {
    let without = [UserKind::Guest, UserKind::Unlicensed, UserKind::OutOfScope];
    !without.contains(&user.kind)
}

/// Whether messages of the folder are exported by default.
fn is_listed(folder: &MailFolder) -> bool {
    !folder.search && folder.well_known != Some(RECOVERABLE)
}

/// Digests of a user's messages by id, those of folders that `wanted` takes.
fn digests(
    tenant: &Tenant,
    user: &User,
    wanted: impl Fn(&MailFolder) -> bool,
) -> BTreeMap<String, String> {
    let world = tenant.simulator.tenant();
    let folders = world.folders(&user.id).unwrap();
    let wanted: BTreeSet<String> =
        folders.into_iter().filter(wanted).map(|folder| folder.id).collect();
    let messages = world.messages(&user.id).unwrap();
    let here = messages.iter().filter(|mail| wanted.contains(&mail.folder));
    here.map(|mail| (mail.id.clone(), mail.sha256())).collect()
}

/// Digests of what a section holds, by id.
fn exported(archive: &Archive, section: &str) -> BTreeMap<String, String> {
    let items = archive.items(section).into_iter();
    items.map(|(id, member)| (id, sha256(&member.content))).collect()
}

/// What the service answers to us.
fn ask(tenant: &Tenant, path: &str) -> Value {
    let url = format!("{}/v1.0{path}", tenant.simulator.graph_url());
    runtime().block_on(async {
        let asked = tenant.client().await.get(url).header("prefer", "IdType=\"ImmutableId\"");
        let answer = asked.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    })
}

#[test]
fn every_byte_of_every_message_and_file() {
    for profile in [Profile::Plain, Profile::Nasty] {
        // Two rounds of the shapes that mails come in, and every kind of file.
        let mails = if profile == Profile::Nasty { 200 } else { 70 };
        let options = Options { profile, special_users: true, ..tenant(2, mails, 30) };
        let tenant = Tenant::start(options);
        let run = tenant.export(&[]).expect(0);
        verify(&run.stdout);
        let archive = Archive::new(&run.stdout);
        let ledger = archive.ledger();
        let mut sections = BTreeSet::new();
        let mut mails = 0;
        for user in tenant.simulator.tenant().users() {
            if has_mailbox(&user) {
                let section = section(&archive, &user, "mail").unwrap();
                let expected = digests(&tenant, &user, is_listed);
                mails += expected.len();
                assert_eq!(exported(&archive, &section), expected, "{}", user.upn);
                sections.insert(section);
            }
            if user.drive.is_some() {
                let section = section(&archive, &user, "onedrive").unwrap();
                let mut found = exported(&archive, &section);
                for file in tenant.simulator.tenant().files(&user.id).unwrap() {
                    let packed = file.path.iter().any(|name| name == "Notizbuch");
                    let found = found.remove(&file.id);
                    if file.malware || packed {
                        let cause = if packed { "onenote-package" } else { "malware" };
                        let line = ledger.iter().find(|line| text(line, "id") == file.id).unwrap();
                        assert_eq!(
                            (text(line, "outcome"), text(line, "cause")),
                            ("skipped", cause)
                        );
                        assert_eq!(found, None);
                    } else {
                        assert_eq!(found, Some(file.sha256()), "{:?}", file.path);
                    }
                }
                assert!(found.is_empty(), "not in the drive: {found:?}");
                sections.insert(section);
            }
        }
        assert!(mails > 150, "too few mails to mean anything: {mails}");
        // Nothing extra: every member is announced by a line or is the archive's own.
        let mut announced: BTreeSet<String> = BTreeSet::new();
        for section in &sections {
            announced.insert(format!("{section}.ndjson"));
            let lines = archive.lines(section);
            announced.extend(lines.iter().map(|line| text(line, "path").to_owned()));
        }
        announced.extend(
            [archive::HEAD_PATH, archive::MANIFEST_PATH, archive::LEDGER_PATH].map(String::from),
        );
        let strange = archive.members.iter().find(|member| !announced.contains(&member.path));
        assert!(strange.is_none(), "{:?}", strange.map(|member| &member.path));
        let paths: BTreeSet<&str> = archive.members.iter().map(|m| m.path.as_str()).collect();
        assert_eq!(paths.len(), archive.members.len(), "two members of one path");
    }
}

#[test]
fn recoverable_items_only_when_asked_for() {
    let tenant = Tenant::start(tenant(1, 60, 0));
    let user = &tenant.simulator.tenant().users()[0];
    let only = digests(&tenant, user, |folder| folder.well_known == Some(RECOVERABLE));
    assert!(!only.is_empty());
    let archive = Archive::new(&tenant.export(&["--include-recoverable"]).expect(0).stdout);
    let section = section(&archive, user, "mail").unwrap();
    assert_eq!(exported(&archive, &section), digests(&tenant, user, |folder| !folder.search));
}

/// FACTS 8.2, without what stands in the EML.
const MESSAGE: &str = "id changeKey categories createdDateTime lastModifiedDateTime subject from \
    sender toRecipients ccRecipients bccRecipients replyTo conversationId conversationIndex \
    internetMessageId receivedDateTime sentDateTime hasAttachments importance \
    inferenceClassification isRead isDraft isReadReceiptRequested isDeliveryReceiptRequested flag \
    parentFolderId";
const MEETING: &str = "meetingMessageType startDateTime endDateTime location isAllDay isOutOfDate \
    isDelegated recurrence type previousLocation previousStartDateTime previousEndDateTime \
    responseRequested allowNewTimeProposals meetingRequestType";
const IN_THE_EML: [&str; 5] =
    ["body", "bodyPreview", "uniqueBody", "webLink", "internetMessageHeaders"];

#[test]
fn metadata_of_messages_has_every_property() {
    let tenant = Tenant::start(tenant(1, 70, 0));
    let world = tenant.simulator.tenant();
    let user = &world.users()[0];
    let archive = Archive::new(&tenant.export(&["--service", "mail"]).expect(0).stdout);
    let section = section(&archive, user, "mail").unwrap();
    let lines = archive.lines(&section);
    let mut rows = BTreeMap::new();
    for folder in world.folders(&user.id).unwrap().iter().filter(|folder| is_listed(folder)) {
        let path = format!("/users/{}/mailFolders/{}/messages?$top=1000", user.id, folder.id);
        for row in ask(&tenant, &path)["value"].as_array().unwrap() {
            rows.insert(text(row, "id").to_owned(), row.clone());
        }
    }
    let messages: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "message").collect();
    assert_eq!(messages.len(), rows.len());
    let mut meetings = 0;
    for line in messages {
        let (graph, row) = (line["graph"].as_object().unwrap(), &rows[text(line, "id")]);
        let is_meeting = text(row, "@odata.type") == "#microsoft.graph.eventMessageRequest";
        meetings += u32::from(is_meeting);
        let also = if is_meeting { MEETING } else { "" };
        for name in MESSAGE.split_whitespace().chain(also.split_whitespace()) {
            assert!(graph.contains_key(name), "{name} is missing in {line}");
        }
        for (name, value) in row.as_object().unwrap() {
            if IN_THE_EML.contains(&name.as_str()) {
                assert!(!graph.contains_key(name), "{name} stands in the EML");
            } else if !name.starts_with('@') {
                assert_eq!(graph.get(name), Some(value), "{name} of {}", text(line, "path"));
            }
        }
        if is_meeting {
            assert_eq!(graph["@odata.type"], row["@odata.type"]);
        }
        let class = world.message(&user.id, text(line, "id")).unwrap().class;
        let properties = graph["singleValueExtendedProperties"].as_array().unwrap();
        assert!(properties.iter().any(|p| p["value"] == class), "{class} is not in {properties:?}");
    }
    assert!(meetings >= 2, "no meeting request to look at");
}

#[test]
fn metadata_of_files_has_every_property() {
    let tenant = Tenant::start(tenant(1, 0, 40));
    let user = &tenant.simulator.tenant().users()[0];
    let archive = Archive::new(&tenant.export(&["--service", "onedrive"]).expect(0).stdout);
    let lines = archive.lines(&section(&archive, user, "onedrive").unwrap());
    let by_id: BTreeMap<&str, &Value> = lines.iter().map(|line| (text(line, "id"), line)).collect();
    let drive = user.drive.as_ref().unwrap();
    let rows = ask(&tenant, &format!("/drives/{drive}/root/delta?$top=999"));
    let rows = rows["value"].as_array().unwrap();
    // Tokens, what follows from a rename of something else, counts (FACTS 9).
    let volatile = ["webUrl", "webDavUrl", "@microsoft.graph.downloadUrl"];
    assert!(rows.len() > 40);
    for row in rows {
        let line = by_id[text(row, "id")];
        for (name, value) in row.as_object().unwrap() {
            let has = line["graph"].get(name);
            match name.as_str() {
                name if name.starts_with('@') || volatile.contains(&name) => assert_eq!(has, None),
                "folder" => assert!(has.is_some(), "{name} in {line}"),
                "size" if row.get("file").is_none() => {}
                _ => assert_eq!(has, Some(value), "{name} of {}", text(row, "name")),
            }
        }
        let kind = match row {
            row if row.get("remoteItem").is_some() => "shortcut",
            row if row.get("file").is_some() => "file",
            _ => "folder",
        };
        assert_eq!(line["kind"], kind);
        assert_eq!(line.get("path").is_none(), kind == "shortcut", "{line}");
    }
    assert_eq!(lines.len(), rows.len() + 1, "one line a row and one for the owner");
}

#[test]
fn folders_are_lines_and_members_and_search_folders_are_neither() {
    let tenant = Tenant::start(tenant(3, 40, 10));
    for user in tenant.simulator.tenant().users() {
        tenant.simulator.log().clear();
        let run = tenant.export(&["--user", &user.upn]).expect(0);
        let archive = Archive::new(&run.stdout);
        let section = section(&archive, &user, "mail").unwrap();
        let lines = archive.lines(&section);
        assert_eq!(lines[0]["kind"], "owner");
        assert_eq!(lines[0]["graph"]["userPrincipalName"], user.upn.as_str());
        assert_eq!(lines[0]["graph"]["displayName"], user.display_name.as_str());
        let by_id: BTreeMap<&str, &Value> = lines
            .iter()
            .filter(|line| line["kind"] == "folder")
            .map(|l| (text(l, "id"), l))
            .collect();
        let (mut hidden, mut empty, mut known, mut wanted) = (0, 0, 0, 0);
        for folder in tenant.simulator.tenant().folders(&user.id).unwrap() {
            if folder.search || matches!(folder.well_known, Some(RECOVERABLE | "searchfolders")) {
                assert!(!by_id.contains_key(folder.id.as_str()), "{:?}", folder.path);
                let asked = tenant.simulator.log().count(|record| record.path.contains(&folder.id));
                assert_eq!(asked, 0, "{:?} was enumerated", folder.path);
                continue;
            }
            wanted += 1;
            let line = by_id[folder.id.as_str()];
            let name = folder.path.last().map_or("", String::as_str);
            if folder.well_known != Some("msgfolderroot") {
                assert_eq!(text(&line["graph"], "displayName"), name);
                let tail = folder.path.join("/");
                assert!(
                    text(line, "path").ends_with(&tail) || tail.contains('~'),
                    "{line}: {tail}"
                );
                assert_eq!(line["graph"]["isHidden"], folder.hidden);
                let well_known = line["graph"].get("wellKnownName").and_then(Value::as_str);
                assert_eq!(well_known, folder.well_known);
                known += u32::from(folder.well_known.is_some());
            }
            assert!(line["graph"].get("parentFolderId").is_some());
            assert!(archive.member(text(line, "path")).unwrap().is_directory);
            hidden += u32::from(folder.hidden && folder.total > 0 && folder.well_known.is_none());
            empty += u32::from(folder.total == 0);
        }
        assert_eq!(by_id.len(), wanted);
        assert!(hidden == 1 && empty > 4 && known > 10, "{hidden} {empty} {known}");
    }
}

#[test]
fn real_mails_and_files_come_back_byte_for_byte() {
    let Some(dir) = corpus() else { return };
    let disk = files_below(&dir);
    let malformed = disk.keys().filter(|path| path.contains("malformed")).count();
    assert!(disk.len() > 300 && malformed > 10, "{} files, {malformed} malformed", disk.len());
    let tenant = Tenant::start(Options { content: Some(dir), ..Options::default() });
    let run = tenant.export(&[]).expect(0);
    verify(&run.stdout);
    let target = tempfile::tempdir().unwrap();
    let extract = tar365(&["extract", "-", "-C", target.path().to_str().unwrap()]);
    run_with(extract, &run.stdout).expect(0);
    let mut files: Vec<(String, Vec<u8>)> = files_below(target.path()).into_iter().collect();
    let archive = Archive::new(&run.stdout);
    let streamed = archive.members.into_iter().filter(|member| !member.is_directory);
    let streamed: Vec<_> = streamed.map(|member| (member.path, member.content)).collect();
    for found in [&mut files, &mut streamed.clone()] {
        found.retain(|(path, _)| !path.starts_with(".tar365/") && !path.ends_with(".ndjson"));
        assert_eq!(found.len(), disk.len());
        let user = "users/content@contoso.onmicrosoft.com";
        let mut mails: Vec<(String, String)> = Vec::new();
        for (path, content) in found.iter() {
            if let Some(path) = path.strip_prefix(&format!("{user}/onedrive/")) {
                let name = archive::path::unescape(path);
                assert!(disk.get(&name) == Some(content), "{name} differs");
            } else {
                let path = path.strip_prefix(&format!("{user}/mail/")).unwrap();
                mails.push((path.rsplit_once('/').unwrap().0.to_owned(), sha256(content)));
            }
        }
        // A mail has a name of our making; it is in the folder it came from.
        let given = disk.iter().filter(|(path, _)| path.ends_with(".eml"));
        let given =
            given.map(|(path, mail)| (path.rsplit_once('/').unwrap().0.to_owned(), sha256(mail)));
        let mut given: Vec<_> = given.collect();
        given.sort();
        mails.sort();
        assert_eq!(mails, given);
    }
}

/// The folder's id in the path of a request below it.
fn folder_of(record: &Record) -> Option<&str> {
    let (_, rest) = record.path.split_once("/mailFolders")?;
    let rest = rest.trim_start_matches(['/', '(', '\'']);
    rest.split(['/', '\'', ')']).next()
}

fn is_delta(record: &Record) -> bool {
    record.path.ends_with("/messages/delta")
}

/// The message's id in the path of a request for it.
fn message_of(record: &Record) -> Option<String> {
    let id = record.path.split_once("/messages/")?.1.split('/').next()?;
    let pair = format!("id={}", id.replace('+', "%2B"));
    let (_, id) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
    Some(id.into_owned()).filter(|id| id != "delta")
}

#[test]
fn no_request_more_than_needed() {
    let tenant = Tenant::start(tenant(1, 3100, 40));
    let user = &tenant.simulator.tenant().users()[0];
    tenant.export(&[]).expect(0);
    let log = tenant.simulator.log();
    let records = log.records();
    let ids = digests(&tenant, user, is_listed);
    let mut asked: BTreeMap<String, u32> = BTreeMap::new();
    for record in records.iter().filter(|record| record.path.contains("/messages/")) {
        if let Some(id) = message_of(record) {
            assert!(record.path.ends_with("/$value"), "{}", record.path);
            assert!(ids.contains_key(&id), "{id} is no immutable id");
            *asked.entry(id).or_default() += 1;
        }
    }
    assert_eq!(asked.len(), ids.len());
    assert!(asked.values().all(|n| *n == 1));
    let folders = tenant.simulator.tenant().folders(&user.id).unwrap();
    let mut expected = asked.len();
    let mut largest = 0;
    for folder in folders
        .iter()
        .filter(|folder| is_listed(folder) && folder.well_known != Some("searchfolders"))
    {
        let here = |r: &&Record| is_delta(r) && folder_of(r) == Some(&folder.id);
        let closing = |r: &&Record| r.query.contains("deltatoken");
        let all: Vec<&Record> = records.iter().filter(here).collect();
        let closing = all.iter().copied().filter(|record| closing(record)).count();
        let pages = usize::try_from(folder.total.div_ceil(1000)).unwrap().max(1);
        assert_eq!((all.len() - closing, closing), (pages, 1), "{:?}", folder.path);
        // Its own listing, and the listing of the folders below it.
        expected += all.len() + 1;
        largest = largest.max(pages);
    }
    assert!(largest >= 2, "no folder needs a second page");
    let files = tenant.simulator.tenant().files(&user.id).unwrap();
    let contents: BTreeSet<&str> =
        records.iter().filter(|r| r.path.ends_with("/content")).map(|r| r.path.as_str()).collect();
    let readable = files.iter().filter(|file| !file.malware).count();
    assert_eq!(contents.len(), readable);
    assert_eq!(log.count(|r| r.path.ends_with("/content")), readable, "one request a file");
    let downloads = log.count(|r| r.host == Host::Download);
    assert!(downloads <= readable);
    assert_eq!(log.count(|r| r.path.contains("/root/delta")), 2, "one page and one closing round");
    // The rest: users, each service opened twice at most, 15 well-known names, and once before and
    // once after the listing what became of the folders.
    expected += readable + 2 + 1 + 4 + 15 + 2;
    let graph = log.count(|r| r.host == Host::Graph);
    assert!(graph <= expected, "{graph} requests, {expected} would do");
    assert_eq!(log.count(|r| r.host == Host::Login), 1);
    assert_eq!(log.counts().leaked_authorization, 0);
    assert!(log.max_concurrent(None) <= 4);
}

#[test]
fn nothing_is_asked_of_what_is_excluded() {
    let tenant = Tenant::start(tenant(3, 60, 10));
    let users = tenant.simulator.tenant().users();
    let (kept, mailbox) = (&users[1], "users/*/mail/Sent Items");
    let run = tenant
        .export(&[
            "--user",
            &kept.upn,
            "--exclude",
            mailbox,
            "--exclude",
            "onedrive",
            "--allow-empty",
        ])
        .expect(0);
    let log = tenant.simulator.log();
    for user in users.iter().filter(|user| user.id != kept.id) {
        assert_eq!(log.count(|r| r.path.contains(&user.id)), 0, "{} was not asked for", user.upn);
    }
    let folders = tenant.simulator.tenant().folders(&kept.id).unwrap();
    let sent = folders.iter().find(|folder| folder.well_known == Some("sentitems")).unwrap();
    assert_eq!(sent.path, ["Sent Items"]);
    assert_eq!(log.count(|r| is_delta(r) && folder_of(r) == Some(&sent.id)), 0);
    assert_eq!(log.count(|r| r.path.starts_with("/v1.0/drives/")), 0);
    let fetched: BTreeSet<String> = log
        .records()
        .iter()
        .filter(|record| record.path.ends_with("/$value"))
        .filter_map(message_of)
        .collect();
    let wanted = digests(&tenant, kept, |folder| is_listed(folder) && folder.id != sent.id);
    assert!(fetched.iter().eq(wanted.keys()) && fetched.len() > 20);
    assert_eq!(exported(&Archive::new(&run.stdout), &format!("users/{}/mail", kept.upn)), wanted);
}

/// Messages that are not in the archive exactly once, in the folder where they are now.
fn misplaced(tenant: &Tenant, user: &User, archive: &[u8]) -> Vec<String> {
    verify(archive);
    let archive = Archive::new(archive);
    let section = section(&archive, user, "mail").unwrap();
    let world = tenant.simulator.tenant();
    let lines = archive.lines(&section);
    let places: BTreeMap<&str, &str> = lines
        .iter()
        .filter(|line| line["kind"] == "folder")
        .map(|line| (text(line, "id"), text(line, "path")))
        .collect();
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["kind"] == "message") {
        found.entry(text(line, "id")).or_default().push(text(line, "path"));
    }
    let folders = world.folders(&user.id).unwrap();
    let names: BTreeMap<String, String> =
        folders.iter().map(|folder| (folder.id.clone(), folder.path.join("/"))).collect();
    let listed: BTreeSet<String> =
        folders.into_iter().filter(is_listed).map(|folder| folder.id).collect();
    let mut wrong = Vec::new();
    let mut expected = 0;
    for mail in
        world.messages(&user.id).unwrap().iter().filter(|mail| listed.contains(&mail.folder))
    {
        expected += 1;
        let place = places.get(mail.folder.as_str()).copied().unwrap_or("no line");
        match found.get(mail.id.as_str()).map(Vec::as_slice) {
            Some([path]) if path.rsplit_once('/').map(|(folder, _)| folder) == Some(place) => {}
            other => {
                wrong.push(format!("{} in {:?}: {other:?}", mail.subject, names[&mail.folder]))
            }
        }
    }
    if wrong.is_empty() {
        assert_eq!((found.len(), exported(&archive, &section).len()), (expected, expected));
    }
    wrong
}

/// Runs an export; the first time the service lets a request with `place` in it wait, does `act`.
#[track_caller]
fn export_while(tenant: &Tenant, place: &str, act: impl FnOnce()) -> Vec<u8> {
    let fault = format!("throttle:times=1,seconds=0.5,match={place}");
    tenant.simulator.set_faults(vec![fault.parse().unwrap()]);
    tenant.simulator.log().clear();
    std::thread::scope(|scope| {
        let export = scope.spawn(|| tenant.export(&["--service", "mail"]));
        let struck =
            || tenant.simulator.log().count(|record| record.fault.as_deref() == Some("throttle"));
        while struck() == 0 {
            assert!(!export.is_finished(), "{place} was never asked for");
            std::thread::sleep(Duration::from_millis(1));
        }
        tenant.simulator.set_faults(Vec::new());
        act();
        export.join().unwrap().expect(0).stdout
    })
}

#[test]
fn a_mail_moved_during_listing_is_there_once() {
    // In which order folders are listed, from a run that nobody disturbs.
    let quiet = Tenant::start(tenant(1, 40, 0));
    let user = quiet.simulator.tenant().users()[0].clone();
    quiet.export(&["--service", "mail"]).expect(0);
    let records = quiet.simulator.log().records();
    let first = records.iter().filter(|r| is_delta(r) && !r.query.contains("token"));
    let order: Vec<&str> = first.filter_map(folder_of).collect();
    let value = "$value".to_owned();
    let listing = |at: usize| format!("{}/messages/delta?$select", order[at]);
    let closing = |at: usize| format!("mailFolders('{}')/messages/delta?$deltatoken", order[at]);
    let last = order.len() - 1;
    assert!(last > 12, "{order:?}");
    let moments =
        [listing(0), listing(last / 2), listing(last), closing(0), closing(last / 2), value];
    let mut wrong = Vec::new();
    for (moment, late) in moments.iter().zip([false, false, false, false, false, true]) {
        let tenant = Tenant::start(tenant(1, 40, 0));
        let world = tenant.simulator.tenant();
        let mut moves = Vec::new();
        let mut add = |from: &str, to: &str| {
            let mail = format!("Subject: mail {}\r\n\r\n{from} to {to}\r\n", moves.len());
            let id = world.add_message(&user.id, from, mail.as_bytes()).unwrap();
            moves.push((id, to.to_owned()));
        };
        for from in &order {
            for to in order.iter().filter(|to| *to != from) {
                add(from, to);
            }
            // To a folder that is made meanwhile, and one below that; and home again.
            add(from, "new");
            add(from, "newer");
            add(from, from);
        }
        let archive = export_while(&tenant, moment, || {
            let new = world.add_folder(&user.id, order[last / 3], "Neu").unwrap();
            let newer = world.add_folder(&user.id, &new, "Neuer").unwrap();
            let elsewhere = order[last / 2];
            for (id, to) in &moves {
                if world.message(&user.id, id).unwrap().folder == *to {
                    world.move_message(&user.id, id, elsewhere).unwrap();
                }
                let to = match to.as_str() {
                    "new" => &new,
                    "newer" => &newer,
                    to => to,
                };
                world.move_message(&user.id, id, to).unwrap();
            }
        });
        if late {
            // What was listed keeps the place it had; nothing is lost or doubled.
            let found = Archive::new(&archive);
            let section = section(&found, &user, "mail").unwrap();
            assert_eq!(exported(&found, &section), digests(&tenant, &user, is_listed));
        } else {
            let found = misplaced(&tenant, &user, &archive);
            wrong.extend(
                found.iter().take(5).map(|mail| format!("{}, {moment}: {mail}", found.len())),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn mails_only_moved_to_a_new_folder_are_there() {
    // Nothing has left a folder that was listed before: no delta tells of the new folder.
    let quiet = Tenant::start(tenant(1, 40, 0));
    let user = quiet.simulator.tenant().users()[0].clone();
    quiet.export(&["--service", "mail"]).expect(0);
    let records = quiet.simulator.log().records();
    let first = records.iter().find(|r| is_delta(r)).and_then(folder_of).unwrap();
    let tenant = Tenant::start(tenant(1, 40, 0));
    let world = tenant.simulator.tenant();
    let archive = export_while(&tenant, &format!("{first}/messages/delta?$select"), || {
        let folder = world.add_folder(&user.id, "inbox", "Neu").unwrap();
        let mails = world.messages(&user.id).unwrap();
        let mail = mails.iter().find(|mail| mail.folder != first).unwrap();
        world.move_message(&user.id, &mail.id, &folder).unwrap();
    });
    assert_eq!(misplaced(&tenant, &user, &archive), Vec::<String>::new());
}

#[test]
fn the_move_fault_loses_and_doubles_nothing() {
    for fault in ["move", "move:times=3", "move:times=12"] {
        let faults = vec![fault.parse::<Fault>().unwrap()];
        let tenant = Tenant::start(Options { faults, page_cap: Some(7), ..tenant(2, 120, 0) });
        let run = tenant.export(&["--service", "mail"]).expect(0);
        let log = tenant.simulator.log();
        for user in tenant.simulator.tenant().users() {
            assert_eq!(log.count(|r| r.path.contains(&user.id) && r.path.ends_with("$value")), 114);
            let archive = Archive::new(&run.stdout);
            let section = section(&archive, &user, "mail").unwrap();
            assert_eq!(exported(&archive, &section), digests(&tenant, &user, is_listed), "{fault}");
        }
    }
}

#[test]
fn who_has_nothing_is_in_the_ledger() {
    let tenant = Tenant::start(Options { special_users: true, ..tenant(1, 20, 10) });
    let run = tenant.export(&[]).expect(0);
    let archive = Archive::new(&run.stdout);
    let mut found = BTreeSet::new();
    for line in archive.ledger().iter().filter(|line| line["cause"] != "not-covered") {
        let Some(scope) = line.get("scope").and_then(Value::as_str) else { continue };
        assert_eq!(line["outcome"], "skipped", "{line}");
        let name = scope.trim_start_matches("users/").replace("@contoso.onmicrosoft.com", "");
        found.insert((name, text(line, "cause").to_owned(), text(line, "code").to_owned()));
    }
    let expected = [
        ("robin_fabrikam.example#EXT#/mail", "guest", ""),
        ("robin_fabrikam.example#EXT#/onedrive", "guest", ""),
        ("buchhaltung/onedrive", "unlicensed", "ResourceNotFound"),
        ("nora.neu/mail", "unlicensed", "MailboxNotEnabledForRESTAPI"),
        ("nora.neu/onedrive", "unlicensed", "itemNotFound"),
        ("raum.isar/onedrive", "unlicensed", "ResourceNotFound"),
        ("otto.ohne/onedrive", "no-service", "ResourceNotFound"),
        ("vera.vorstand/mail", "refused", "ErrorAccessDenied"),
    ];
    let expected =
        expected.map(|(name, cause, code)| (name.to_owned(), cause.to_owned(), code.to_owned()));
    assert_eq!(found, BTreeSet::from(expected));
    // What this version leaves behind is told of every owner that has the service.
    for user in tenant.simulator.tenant().users().iter().filter(|user| has_mailbox(user)) {
        let scope = format!("users/{}/mail", user.upn);
        let told = |line: &Value| line["cause"] == "not-covered" && line["scope"] == scope.as_str();
        assert!(archive.ledger().iter().any(told), "{scope}");
    }
}

/// Compares mails (folder 1: as delivered, folder 2: ours) with python's own parser.
const COMPARE: &str = r#"
import email, email.policy, hashlib, json, os, sys
STRUCTURE = {"content-type", "content-transfer-encoding", "mime-version", "content-length", "content-disposition"}
def name(part):
    value = part.get_filename()
    if value is None: return None
    return str(email.header.make_header(email.header.decode_header(value)))
def look(path):
    mail = email.message_from_bytes(open(path, "rb").read(), policy=email.policy.compat32)
    parts, texts, skip = [], {}, set()
    for part in mail.walk():
        if id(part) in skip: continue
        if part.get_content_type() == "message/rfc822":
            skip |= {id(p) for inner in part.get_payload() for p in inner.walk()}
            content = part.get_payload()[0].as_bytes().replace(b"\r\n", b"\n").rstrip(b"\n")
            parts.append(["message", hashlib.sha256(content).hexdigest()])
        elif part.is_multipart(): continue
        elif name(part) is not None or part.get("Content-ID"):
            parts.append([name(part), hashlib.sha256(part.get_payload(decode=True)).hexdigest()])
        elif part.get_content_maintype() == "text":
            text = part.get_payload(decode=True).decode(part.get_content_charset() or "ascii")
            if "sharepoint.com/\">Link<" in text: continue
            texts.setdefault(part.get_content_subtype(), text.replace("\r\n", "\n").rstrip("\n"))
    head = []
    for key, value in mail.items():
        if key.lower() in STRUCTURE: continue
        value = str(email.header.make_header(email.header.decode_header("".join(value.splitlines()))))
        head.append([key.lower(), " ".join(value.split())])
    return {"parts": sorted(parts, key=str), "texts": texts, "head": head, "defects": [str(d) for d in mail.defects]}
print(json.dumps({n: [look(os.path.join(d, n)) for d in sys.argv[1:3]] for n in sorted(os.listdir(sys.argv[1]))}))
"#;

#[test]
fn without_mime_headers_body_and_attachments_stay() {
    let faults = vec!["mime:rate=1".parse::<Fault>().unwrap()];
    let tenant = Tenant::start(Options { faults, ..tenant(2, 96, 0) });
    let run = tenant.export(&["--service", "mail"]).expect(0);
    verify(&run.stdout);
    let archive = Archive::new(&run.stdout);
    let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut kinds: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for (at, user) in tenant.simulator.tenant().users().iter().enumerate() {
        let section = section(&archive, user, "mail").unwrap();
        let items = archive.items(&section);
        assert_eq!(items.len(), digests(&tenant, user, is_listed).len());
        for (number, (id, member)) in items.iter().enumerate() {
            let mail = tenant.simulator.tenant().message(&user.id, id).unwrap();
            let name = format!("{at}-{number}");
            std::fs::write(theirs.path().join(&name), mail.mime()).unwrap();
            std::fs::write(ours.path().join(&name), &member.content).unwrap();
            let draft = archive
                .lines(&section)
                .iter()
                .any(|l| text(l, "id") == id && l["graph"]["isDraft"] == true);
            kinds.insert(name, (draft, mail.class == "IPM.Note.SMIME"));
            let told = |line: &Value| text(line, "id") == id && line["outcome"] == "converted";
            let line = archive.ledger().into_iter().find(told).unwrap();
            assert_eq!(line["code"], "ErrorMimeContentConversionFailed");
            assert_eq!(text(&line, "path"), member.path);
        }
    }
    let compared: Value = serde_json::from_str(&python(
        COMPARE,
        &[theirs.path().as_os_str(), ours.path().as_os_str()],
    ))
    .unwrap();
    let mut attachments = 0;
    for (name, pair) in compared.as_object().unwrap() {
        let (theirs, ours, (draft, smime)) = (&pair[0], &pair[1], kinds[name]);
        assert_eq!(ours["defects"], json!([]), "{name}");
        // A link to a file in the cloud has no bytes; ours says its name.
        let linked =
            |part: &&Value| part[0].as_str().is_none_or(|n| !n.starts_with("Gemeinsame Planung"));
        let parts = |mail: &Value| {
            mail["parts"].as_array().unwrap().iter().filter(linked).cloned().collect::<Vec<_>>()
        };
        attachments += parts(ours).len();
        assert_eq!(parts(ours), parts(theirs), "attachments of {name}");
        if !smime {
            let body =
                |mail: &Value| mail["texts"].get("html").or(mail["texts"].get("plain")).cloned();
            assert_eq!(body(ours), body(theirs), "body of {name}");
        }
        // A draft has no headers yet: what Outlook shows of it must do.
        let kept = ["from", "to", "cc", "subject"];
        let head = |mail: &Value| {
            let all = mail["head"].as_array().unwrap().iter().cloned();
            all.filter(|line| !draft || kept.contains(&line[0].as_str().unwrap()))
                .collect::<Vec<_>>()
        };
        let (mut ours, mut theirs) = (head(ours), head(theirs));
        if draft {
            let plain = |line: &Value| json!([line[0], line[1].as_str().unwrap().replace('"', "")]);
            ours = ours.iter().map(plain).collect();
            theirs = theirs.iter().map(plain).collect();
        }
        assert_eq!(ours, theirs, "headers of {name}");
    }
    assert!(
        attachments > 20 && kinds.values().any(|kind| kind.0) && kinds.values().any(|kind| kind.1)
    );
    assert!(kinds.len() > 150);
}
