//! Conversations of groups: posts as mails that a mail program reads, whose they are, and that
//! nothing of them is ever written back to where it would be mailed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use simulator::{Credentials, Options, PostInfo};

use crate::base::{Way, night};
use crate::conformance::{Point, Subject};
use crate::harness::{
    Archive, Run, Tenant, corpus, files_below, python, run, run_with, tar365, text, verify,
};
use crate::import::Saved;

/// Conversations among all services.
pub const SUBJECT: Subject = Subject {
    service: "conversations",
    arguments: &[],
    delta: Point::Void("there is no delta of conversations"),
    contents: &["/attachments", "/$value"],
    vanishing: Point::Asked("/attachments?"),
    change: |tenant| {
        let office = tenant.simulator.tenant();
        let group = &office.groups()[0].id;
        let mut posts = office.posts(group).unwrap().into_iter();
        let post = posts.find(|post| post.attachments.is_empty()).unwrap();
        let body = serde_json::json!({"contentType": "html", "content": "<p>Anders</p>"});
        office.change_item(group, &post.id, serde_json::json!({ "body": body })).unwrap();
        post.id
    },
    // Two posts of each group have attachments.
    unsure: 4,
    held: Some(|tenant| {
        let office = tenant.simulator.tenant();
        let posts = office.groups().into_iter().flat_map(|group| office.posts(&group.id).unwrap());
        posts.map(|post| post.id).collect()
    }),
};

const GROUPS: [&str; 2] = ["--service", "conversations"];

fn small() -> Options {
    Options { users: 2, special_users: false, mails: 3, files: 3, ..Options::default() }
}

fn tenant() -> Tenant {
    Tenant::start(small())
}

/// Prefix of the section of the nth group with a mailbox.
fn section(tenant: &Tenant, number: usize) -> String {
    format!("groups/{}/conversations", tenant.simulator.tenant().groups()[number].mail)
}

fn posts(tenant: &Tenant, number: usize) -> Vec<PostInfo> {
    let id = tenant.simulator.tenant().groups()[number].id.clone();
    tenant.simulator.tenant().posts(&id).unwrap()
}

/// Signs in as a person, who may read what no application may.
fn export_as_person(tenant: &Tenant, flags: &[&str]) -> Run {
    let mut command = tenant.tar365(&[&["export", "--device-code"], flags].concat());
    command.env_remove("TAR365_CLIENT_SECRET");
    run(command)
}

/// What python's parser of mails finds in each: headers, text, attachments, defects at any depth.
const READ: &str = r#"
import email, email.policy, hashlib, json, pathlib, sys
from datetime import timezone
found = {}
for path in pathlib.Path(sys.argv[1]).rglob("*.eml"):
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    defects = [repr(d) for part in mail.walk() for d in part.defects]
    defects += [repr(d) for part in mail.walk() for value in part.values() for d in value.defects]
    body = mail.get_body()
    found[str(path.relative_to(sys.argv[1]))] = {
        "defects": defects,
        "subject": mail["subject"],
        "from": mail["from"].addresses[0].addr_spec,
        "to": [a.addr_spec for a in mail["to"].addresses],
        "date": mail["date"].datetime.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "id": str(mail["message-id"]),
        "answers": str(mail["in-reply-to"] or ""),
        "references": str(mail["references"] or ""),
        "type": body.get_content_type(),
        "body": body.get_content(),
        "parts": [{
            "name": part.get_filename(),
            "type": part.get_content_type(),
            "inline": part.get_content_disposition() == "inline",
            "cid": str(part["content-id"] or ""),
            "sha256": hashlib.sha256(part.get_content().as_bytes() if part.is_multipart()
                                     else part.get_payload(decode=True)).hexdigest(),
        } for part in list(mail.iter_parts())[1:]],
    }
print(json.dumps(found))
"#;

/// Property names of types of Microsoft's published schema, with those they inherit.
const SCHEMA: &str = r#"
import json, lzma, sys
import xml.etree.ElementTree as tree
edm = "{http://docs.oasis-open.org/odata/ns/edm}"
types = {e.get("Name"): e for e in tree.parse(lzma.open(sys.argv[1])).iter(edm + "EntityType")}
def names(kind):
    found = types.get(kind)
    if found is None: return []
    own = [p.get("Name") for p in found if p.tag in (edm + "Property", edm + "NavigationProperty")]
    return own + names((found.get("BaseType") or "").split(".")[-1])
print(json.dumps({kind: names(kind) for kind in sys.argv[2:]}))
"#;

/// The schema of what conversations are made of, if it is there.
fn schema() -> Option<Value> {
    let corpus = corpus()?;
    let file = corpus.parent()?.join("graph/v1.0-Prod.csdl.xz");
    let kinds = ["post", "conversationThread", "conversation"];
    let arguments: Vec<&OsStr> =
        [file.as_os_str()].into_iter().chain(kinds.iter().map(OsStr::new)).collect();
    Some(serde_json::from_str(&python(SCHEMA, &arguments)).unwrap())
}

/// The posts of an archive as mails, by their paths.
fn mails(archive: &[u8]) -> BTreeMap<String, Value> {
    let dir = tempfile::tempdir().unwrap();
    let extract = ["extract", "-", "-C", dir.path().to_str().unwrap()];
    run_with(tar365(&extract), archive).expect(0);
    serde_json::from_str(&python(READ, &[dir.path().as_os_str()])).unwrap()
}

#[test]
fn each_post_is_a_mail() {
    let tenant = tenant();
    let archive = tenant.export(&GROUPS).expect(0).stdout;
    verify(&archive);
    let mails = mails(&archive);
    let read = Archive::new(&archive);
    let (mut seen, mut answers) = (0, 0);
    for number in 0..2 {
        let section = section(&tenant, number);
        let items = read.items(&section);
        let lines = read.lines(&section);
        let threads: BTreeMap<&str, &Value> = lines
            .iter()
            .filter(|line| text(line, "kind") == "folder")
            .map(|line| (text(line, "id"), line))
            .collect();
        for post in posts(&tenant, number) {
            let mail = &mails[&items[&post.id].path];
            assert_eq!(mail["defects"], serde_json::json!([]), "{mail:#}");
            assert_eq!(mail["subject"], post.topic.as_str());
            assert_eq!(mail["from"], post.properties["from"]["emailAddress"]["address"]);
            assert_eq!(mail["to"][0], tenant.simulator.tenant().groups()[number].mail.as_str());
            assert_eq!(mail["date"], post.received.format("%FT%TZ").to_string());
            assert_eq!(mail["type"], "text/html");
            assert_eq!(mail["body"], post.properties["body"]["content"]);
            // An application gets no attachments.
            assert_eq!(mail["parts"], serde_json::json!([]));
            let line = lines.iter().find(|line| text(line, "id") == post.id).unwrap();
            assert_eq!(text(line, "kind"), "post");
            let thread = threads[text(&line["graph"], "parentFolderId")];
            assert_eq!(thread["graph"]["topic"], post.topic.as_str());
            assert_eq!(thread["graph"]["conversation"]["id"], line["graph"]["conversationId"]);
            assert!(items[&post.id].path.starts_with(text(thread, "path")));
            seen += 1;
        }
        // Who answers whom, by ids that are there.
        let ids: BTreeSet<&str> = mails.values().map(|mail| text(mail, "id")).collect();
        assert_eq!(ids.len(), mails.len());
        for mail in mails.values().filter(|mail| !text(mail, "answers").is_empty()) {
            assert!(ids.contains(text(mail, "answers")), "{mail:#}");
            assert!(text(mail, "references").contains(text(mail, "answers")), "{mail:#}");
            answers += 1;
        }
    }
    assert_eq!(seen, mails.len());
    assert!(answers > 3, "{answers} answers");
    let own = |mail: &&Value| text(mail, "id").starts_with("<post.");
    assert!(mails.values().any(|mail| own(&mail)) && !mails.values().all(|mail| own(&mail)));
}

#[test]
fn what_an_application_may_not_read_is_declared() {
    let tenant = tenant();
    let read = Archive::new(&tenant.export(&GROUPS).expect(0).stdout);
    let ledger = read.ledger();
    for number in 0..2 {
        let section = section(&tenant, number);
        let of_group: Vec<_> =
            ledger.iter().filter(|line| text(line, "scope") == section).collect();
        let codes: Vec<_> = of_group.iter().map(|line| text(line, "code")).collect();
        assert_eq!(codes, ["post-attachments"]);
        let without: BTreeSet<String> = ledger
            .iter()
            .filter(|line| text(line, "path").starts_with(&section))
            .map(|line| {
                let told = (text(line, "outcome"), text(line, "cause"), text(line, "code"));
                assert_eq!(told, ("converted", "attachments-refused", "ErrorAccessDenied"));
                text(line, "id").to_owned()
            })
            .collect();
        let with = posts(&tenant, number).into_iter().filter(|post| !post.attachments.is_empty());
        assert_eq!(without, with.map(|post| post.id).collect());
        assert_eq!(without.len(), 2);
    }
}

#[test]
fn a_person_gets_the_attachments_too() {
    let tenant = tenant();
    let run = export_as_person(&tenant, &GROUPS).expect(0);
    verify(&run.stdout);
    let mails = mails(&run.stdout);
    let read = Archive::new(&run.stdout);
    assert!(read.ledger().iter().all(|line| text(line, "outcome") == "skipped"));
    let mut kinds = BTreeSet::new();
    for number in 0..2 {
        let items = read.items(&section(&tenant, number));
        for post in posts(&tenant, number) {
            let mail = &mails[&items[&post.id].path];
            assert_eq!(mail["defects"], serde_json::json!([]), "{mail:#}");
            let parts = mail["parts"].as_array().unwrap();
            assert_eq!(parts.len(), post.attachments.len());
            for wanted in &post.attachments {
                kinds.insert(wanted.kind);
                let name = match wanted.kind {
                    // All that the service tells of what is elsewhere.
                    "referenceAttachment" => format!("{}.txt", wanted.name),
                    _ => wanted.name.clone(),
                };
                let part = parts.iter().find(|part| text(part, "name") == name).unwrap();
                assert_eq!(part["inline"], wanted.inline);
                if let Some(id) = &wanted.content_id {
                    assert_eq!(part["cid"], format!("<{id}>"));
                }
                match wanted.kind {
                    "fileAttachment" => assert_eq!(text(part, "sha256"), wanted.sha256),
                    "itemAttachment" => assert_eq!(text(part, "type"), "message/rfc822"),
                    _ => assert_eq!(text(part, "type"), "text/plain"),
                }
            }
        }
    }
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    // With a base, those with attachments are not taken for whole ones.
    let app = tenant.export(&GROUPS).expect(0).stdout;
    for way in [Way::File, Way::Pipe] {
        assert!(night(&tenant, &app, way, &GROUPS).run.expect(0).stdout == app, "{way:?}");
    }
}

#[test]
fn nothing_of_what_graph_says_is_lost() {
    let Some(schema) = schema() else { return };
    let properties = |kind: &str| -> BTreeSet<String> {
        let names = schema[kind].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let tenant = tenant();
    let read = Archive::new(&export_as_person(&tenant, &GROUPS).expect(0).stdout);
    let lines: Vec<Value> = (0..2).flat_map(|n| read.lines(&section(&tenant, n))).collect();
    let keys = |pointer: &str, kind: &str| -> BTreeSet<String> {
        let lines = lines.iter().filter(|line| text(line, "kind") == kind);
        let graphs = lines.filter_map(|line| line.pointer(pointer)?.as_object());
        graphs.flat_map(|graph| graph.keys().cloned()).collect()
    };
    // What stands elsewhere, and what is not exported: see doc/format.md, doc/restore.md.
    let elsewhere: &[(&str, &[&str])] = &[
        (
            "post",
            &[
                "attachments", // in the EML
                "extensions",
                "multiValueExtendedProperties",
            ],
        ),
        ("conversationThread", &["posts"]),
        ("conversation", &["threads"]),
    ];
    for (kind, pointer, line) in [
        ("post", "/graph", "post"),
        ("conversationThread", "/graph", "folder"),
        ("conversation", "/graph/conversation", "folder"),
    ] {
        let there = keys(pointer, line);
        let elsewhere = elsewhere.iter().find(|(of, _)| *of == kind).unwrap().1;
        let properties = properties(kind);
        assert!(properties.len() >= 7, "{properties:?}");
        let lost: Vec<_> = properties
            .iter()
            .filter(|name| !there.contains(*name) && !elsewhere.contains(&name.as_str()))
            .collect();
        assert!(lost.is_empty(), "{kind}: {lost:?} are neither carried nor declared");
    }
}

#[test]
fn groups_are_selected() {
    let tenant = tenant();
    let known = tenant.simulator.tenant().groups();
    let upn = tenant.simulator.tenant().users()[0].upn.clone();
    let owners = |archive: &[u8]| -> BTreeSet<String> {
        let read = Archive::new(archive);
        let sections = read.members.iter().filter_map(|member| {
            let (prefix, _) = archive::metadata::section_of(&member.path)?;
            Some(prefix.rsplit_once('/')?.0.to_owned())
        });
        sections.collect()
    };
    let both: BTreeSet<String> = known.iter().map(|g| format!("groups/{}", g.mail)).collect();
    let first = BTreeSet::from([format!("groups/{}", known[0].mail)]);
    let services = ["--service", "mail,conversations"];
    let glob = format!("{}*", &known[0].mail[..6]);
    for name in [&known[0].mail, &known[0].id, &known[0].name, &glob] {
        tenant.simulator.log().clear();
        let flags = [&services[..], &["--group", name, "--allow-empty"]].concat();
        let archive = tenant.export(&flags).expect(0).stdout;
        assert_eq!(owners(&archive), first, "{name}");
        let asked = tenant.simulator.log().count(|record| record.path.contains("/users"));
        assert_eq!(asked, 0, "users were asked for");
    }
    tenant.simulator.log().clear();
    tenant.export(&["--service", "mail,conversations", "--user", &upn]).expect(3);
    assert_eq!(tenant.simulator.log().count(|record| record.path.contains("/groups")), 0);
    let everything = tenant.export(&services).expect(0).stdout;
    assert!(owners(&everything).is_superset(&both) && owners(&everything).len() == 4);
    let flags = ["--user", &upn, "--group", &known[1].mail];
    let two = tenant.export(&[&services[..], &flags].concat()).expect(0).stdout;
    let wanted = BTreeSet::from([format!("users/{upn}"), format!("groups/{}", known[1].mail)]);
    assert_eq!(owners(&two), wanted);
    for nobody in ["nobody@*", "Nur Sicherheit"] {
        let run = tenant.export(&["--service", "conversations", "--group", nobody]).expect(2);
        assert!(run.stderr.contains("matches no owner") && run.stdout.is_empty());
    }
    // The same words choose of an archive.
    let dir = tempfile::tempdir().unwrap();
    let extract = ["extract", "-", "-C", dir.path().to_str().unwrap(), "--group", &known[0].name];
    run_with(tar365(&extract), &everything).expect(0);
    let there = files_below(dir.path());
    assert!(!there.is_empty() && there.keys().all(|path| path.starts_with("groups/projekt")));
    let listed = run_with(tar365(&["list", "-", "--group", &known[1].id]), &everything).expect(0);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&known[1].mail) && !listed.contains(&known[0].mail), "{listed}");
    assert!(!listed.contains("users/"), "{listed}");
    let topic = "--subject=neues büro";
    let found = run_with(tar365(&["find", "-", "--type", "post", topic]), &everything).expect(0);
    let found = String::from_utf8(found.stdout).unwrap();
    let expected = (0..2).flat_map(|n| posts(&tenant, n));
    let expected = expected.filter(|post| post.topic.starts_with("Neues Büro")).count();
    assert_eq!(found.matches(".eml").count(), expected, "{found}");
}

#[test]
fn users_are_what_they_are_without_groups() {
    let tenant = tenant();
    let of_users = |services: &str, flags: &[&str]| -> BTreeMap<String, Vec<u8>> {
        let archive = tenant.export(&[&["--service", services], flags].concat()).expect(0).stdout;
        let members = Archive::new(&archive).members.into_iter();
        let members = members.filter(|member| member.path.starts_with("users/"));
        members.map(|member| (member.path, member.content)).collect()
    };
    let without = of_users("mail,onedrive", &[]);
    let with = of_users("mail,conversations,onedrive", &[]);
    assert!(without.len() > 10 && without == with);
    // Whoever selects users gets the same stream, groups or not.
    let flags = ["--service", "mail,onedrive", "--user", "*"];
    let named = tenant.export(&flags).expect(0).stdout;
    let groupless = Tenant::start(Options { groups: 0, ..small() });
    assert!(named == groupless.export(&flags).expect(0).stdout);
}

#[test]
fn groups_that_are_refused_or_have_no_mailbox() {
    let tenant = tenant();
    let known = tenant.simulator.tenant().groups();
    let cause = |run: &Run, number: usize| {
        let section = format!("groups/{}/conversations", known[number].mail);
        let ledger = Archive::new(&run.stdout).ledger();
        let line = ledger.iter().find(|line| text(line, "scope") == section).unwrap().clone();
        assert_eq!(text(&line, "outcome"), "skipped");
        text(&line, "cause").to_owned()
    };
    let world = tenant.simulator.tenant();
    world.refuse_group(&known[0].id, 404, "MailboxNotEnabledForRESTAPI").unwrap();
    let run = tenant.export(&GROUPS).expect(0);
    assert_eq!((cause(&run, 0), cause(&run, 1)), ("no-service".into(), "not-covered".into()));
    world.refuse_group(&known[1].id, 403, "ErrorGroupsAccessDenied").unwrap();
    // It is refused for everybody who has it.
    assert!(tenant.export(&GROUPS).expect(77).stdout.is_empty());
    let tenant = self::tenant();
    tenant.simulator.tenant().refuse_group(&known[1].id, 403, "ErrorGroupsAccessDenied").unwrap();
    let run = tenant.export(&GROUPS).expect(0);
    verify(&run.stdout);
    assert_eq!((cause(&run, 0), cause(&run, 1)), ("not-covered".into(), "refused".into()));
}

#[test]
fn nobody_reads_groups_without_the_role() {
    let mut credentials = Credentials::default();
    credentials.roles.retain(|role| !role.starts_with("Group."));
    let tenant = Tenant::start(Options { credentials, ..small() });
    let run = tenant.export(&["--service", "mail,conversations"]).expect(77);
    assert!(run.stdout.is_empty() && run.stderr.contains("groups"), "{}", run.stderr);
    // Calendars of users are there without those of groups, and the ledger says what is not.
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let arguments = ["--service", "calendar", "--report", report.to_str().unwrap()];
    let run = tenant.export(&arguments).expect(0);
    let archive = Archive::new(&run.stdout);
    let line = archive.ledger().into_iter().find(|line| line["scope"] == "groups");
    assert!(line.is_some_and(|line| line["cause"] == "refused"));
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let refused =
        json!({"service": "calendar", "what": "groups", "state": "not-permitted", "owners": 1});
    assert!(report["coverage"].as_array().unwrap().contains(&refused), "{report}");
    tenant.export(&["--service", "calendar", "--group", "*"]).expect(77);
    // Who wants none needs none.
    tenant.export(&["--service", "mail"]).expect(0);
    tenant.export(&["--service", "mail,conversations", "--user", "*"]).expect(3);
}

#[test]
fn the_next_night_brings_what_is_new() {
    let tenant = tenant();
    let world = tenant.simulator.tenant();
    let group = world.groups()[0].id.clone();
    let before = tenant.export(&GROUPS).expect(0).stdout;
    assert!(tenant.export(&GROUPS).expect(0).stdout == before);
    let when: DateTime<Utc> = "2026-10-01T08:00:00Z".parse().unwrap();
    let topic = posts(&tenant, 0)[0].topic.clone();
    // One that nobody answers: what is said of an answer follows from it.
    let gone = posts(&tenant, 0).pop().unwrap().id;
    let added = [
        world.add_post(&group, &topic, "<p>Noch etwas</p>", when).unwrap(),
        world.add_post(&group, "Ganz neu", "<p>Anfang</p>", when).unwrap(),
    ];
    world.delete_post(&group, &gone).unwrap();
    let after = tenant.export(&GROUPS).expect(0).stdout;
    for way in [Way::File, Way::Pipe] {
        let next = night(&tenant, &before, way, &GROUPS);
        let reused = next.number("from_base");
        let archive = next.run.expect(0).stdout;
        assert!(archive == after, "{way:?}");
        let (rest, with) = (posts(&tenant, 0).len() + posts(&tenant, 1).len() - 2, 4);
        // A base on a pipe does not tell in time what was left out of a post.
        let expected = if way == Way::File { rest } else { rest - with };
        assert_eq!(reused, expected as u64, "{way:?}");
    }
    let read = Archive::new(&after);
    let items: BTreeSet<String> = read.items(&section(&tenant, 0)).into_keys().collect();
    assert!(added.iter().all(|id| items.contains(id)) && !items.contains(&gone));
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one.tar", "two.tar"].map(|n| dir.path().join(n));
    std::fs::write(&one, &before).unwrap();
    std::fs::write(&two, &after).unwrap();
    let diff = ["diff", one.to_str().unwrap(), two.to_str().unwrap(), "--json"];
    let diff = run(tar365(&diff)).expect(3);
    let diff = String::from_utf8(diff.stdout).unwrap();
    assert_eq!(diff.matches("\"change\":\"added\"").count(), 2, "{diff}");
    assert_eq!(diff.matches("\"change\":\"removed\"").count(), 1, "{diff}");
}

/// What has no delta is listed whole, whatever a state says.
#[test]
fn a_state_leaves_nothing_out() {
    let tenant = tenant();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let flags = [&GROUPS[..], &["--state", state.to_str().unwrap()]].concat();
    let first = tenant.export(&flags).expect(0).stdout;
    let world = tenant.simulator.tenant();
    let when: DateTime<Utc> = "2026-10-01T08:00:00Z".parse().unwrap();
    let topic = posts(&tenant, 1)[3].topic.clone();
    world.add_post(&world.groups()[1].id, &topic, "<p>Noch etwas</p>", when).unwrap();
    let second = night(&tenant, &first, Way::File, &flags).run.expect(0).stdout;
    assert!(second != first && second == tenant.export(&GROUPS).expect(0).stdout);
}

#[test]
fn pages_order_and_faults_change_nothing() {
    let plain = tenant().export(&GROUPS).expect(0).stdout;
    let faults = ["throttle:rate=0.2,seconds=0.1", "server-error:rate=0.1", "truncate:rate=0.1"];
    let faults = faults.map(|fault| fault.parse().unwrap()).to_vec();
    let other = Tenant::start(Options { page_cap: Some(1), reorder: true, faults, ..small() });
    let flags = [&GROUPS[..], &["--concurrency", "7"]].concat();
    assert!(other.export(&flags).expect(0).stdout == plain);
}

#[test]
fn conversations_are_never_written_back() {
    let tenant = Tenant::start(Options { credentials: Credentials::restoring(), ..small() });
    let saved = Saved::new(tenant.export(&["--service", "mail,conversations"]).expect(0).stdout);
    let count = posts(&tenant, 0).len() + posts(&tenant, 1).len();
    let restored = saved.import(&tenant, "journal", &[]).expect(3);
    assert!(restored.stderr.contains("--to directory"), "{}", restored.stderr);
    assert!(restored.stderr.contains(&format!("{count} failed")), "{}", restored.stderr);
    assert!(!restored.stderr.contains(" 0 created"), "{}", restored.stderr);
    let upn = tenant.simulator.tenant().users()[0].upn.clone();
    let to_user = ["--service", "conversations", "--to-user", &upn];
    saved.import(&tenant, "other", &to_user).expect(3);
    let wrote =
        |record: &simulator::Record| record.method != "GET" && record.path.contains("/groups/");
    assert_eq!(tenant.simulator.log().count(wrote), 0);
    assert!(tenant.simulator.tenant().mailed().is_empty());
    // Out of the archive they come.
    let target = format!("directory:{}", saved.file("out"));
    saved.import(&tenant, "third", &["--to", &target, "--group", "*"]).expect(0);
    let there = files_below(std::path::Path::new(&saved.file("out")));
    assert_eq!(there.keys().filter(|path| path.ends_with(".eml")).count(), count);
    // A drill is of what can come back.
    let drill = run(tar365(&["drill", &saved.path()])).expect(0);
    assert!(String::from_utf8(drill.stdout).unwrap().contains("PASSED"));
    run(tar365(&["drill", &saved.path(), "--group", "*"])).expect(2);
}

#[test]
fn a_stream_for_each_group() {
    let tenant = tenant();
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("{name}.tar");
    let flags = ["--service", "mail,conversations", "--output", output.to_str().unwrap()];
    tenant.export(&flags).expect(0);
    let world = tenant.simulator.tenant();
    let mut expected: BTreeSet<String> =
        world.users().iter().map(|user| format!("{}.tar", user.upn)).collect();
    expected.extend(world.groups().iter().map(|group| format!("{}-group.tar", group.mail)));
    expected.insert("_tenant.tar".to_owned());
    assert_eq!(files_below(dir.path()).into_keys().collect::<BTreeSet<_>>(), expected);
    // The shards of a selection are all of it, and each owner is in one.
    let whole = tenant.export(&GROUPS).expect(0).stdout;
    let mut parts = BTreeMap::new();
    for shard in 0..3 {
        let shard = format!("{shard}/3");
        let flags = [&GROUPS[..], &["--shard", &shard]].concat();
        let part = tenant.export(&flags);
        assert!([0, 2].contains(&part.code), "{}", part.stderr);
        for member in Archive::new(&part.stdout).members.into_iter() {
            if member.path.starts_with("groups/") {
                assert!(parts.insert(member.path, member.content).is_none());
            }
        }
    }
    let whole = Archive::new(&whole).members.into_iter();
    let whole = whole.filter(|member| member.path.starts_with("groups/"));
    let whole: BTreeMap<_, _> = whole.map(|member| (member.path, member.content)).collect();
    assert!(whole == parts);
    let plan = run(tenant.tar365(&[
        "plan",
        "--service",
        "calendar,conversations",
        "--group",
        "*",
        "--json",
    ]))
    .expect(0);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let uncounted = |service: &str| plan["plan"]["services"][service]["uncounted"].clone();
    assert_eq!(
        (uncounted("conversations"), uncounted("calendar")),
        (0.into(), 2.into()),
        "{plan:#}"
    );
}
