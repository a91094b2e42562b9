//! What of events and tasks is too large for one request: attachments go through upload sessions,
//! also through one that gets lost on the way; a text that no request takes fails, and is told.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulator::{Fault, Language, Options};

use crate::calendar_import::assert_nobody_was_mailed;
use crate::harness::{Archive, Tenant, examine_all, sha256, text};
use crate::import::{Saved, counts, emptied_with, writable};
use crate::import_faults::Random;

/// A session of two parts, one of a single part, and no session at all.
const SIZES: [usize; 3] = [4_200_001, 3_000_000, 2_999_999];

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes: Vec<u8> =
        (0..length / 8 + 1).flat_map(|_| random.next().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// Somebody with few events and tasks, and the ids of two of a kind.
fn source(kind: &str) -> (Tenant, String, Vec<String>) {
    let options = Options { users: 1, mails: 1, files: 1, tasks: 4, ..Options::default() };
    let tenant = writable(options);
    let office = tenant.simulator.tenant();
    let user = office.users().remove(0).id;
    let items = office.items(&user).unwrap().into_iter();
    // Single ones without people: nothing of them is a matter of something else.
    let plain = items.filter(|item| {
        let is_plain = |name: &str| {
            let value = &item.properties[name];
            value.is_null() || value.as_array().is_some_and(Vec::is_empty)
        };
        let is_mine = item.folder == "Kalender" || kind == "task";
        item.kind == kind
            && is_mine
            && ["recurrence", "attendees"].iter().all(|name| is_plain(name))
    });
    let ids: Vec<_> = plain.map(|item| item.id).take(2).collect();
    assert_eq!(ids.len(), 2, "{kind}");
    (tenant, user, ids)
}

/// Of users: what groups have goes back to nobody.
fn saved(tenant: &Tenant, service: &str) -> Saved {
    Saved::new(tenant.export(&["--service", service, "--user", "*"]).expect(0).stdout)
}

/// Digests of the bytes of attachments, by the name of the item.
fn attached(archive: &Archive, service: &str) -> BTreeMap<String, Vec<String>> {
    let section = archive.members.iter().find_map(|member| {
        member
            .path
            .strip_suffix(&format!("/{service}.ndjson"))
            .map(|owner| format!("{owner}/{service}"))
    });
    let section = section.unwrap();
    let contents = archive.items(&section);
    let lines = archive.lines(&section).into_iter();
    let lines = lines.filter(|line| matches!(text(line, "kind"), "event" | "task"));
    let of = |line: &Value| {
        let file = String::from_utf8(contents[text(line, "id")].content.clone()).unwrap();
        let file = file.replace("\r\n ", "");
        let lines = file.lines().filter(|line| line.starts_with("ATTACH;"));
        let mut bytes: Vec<_> =
            lines.map(|line| sha256(line.rsplit(':').next().unwrap().as_bytes())).collect();
        bytes.sort_unstable();
        bytes
    };
    let name = |graph: &Value| {
        let name = ["subject", "title"].map(|key| text(graph, key).to_owned()).concat();
        format!("{name} {}", graph["start"]["dateTime"])
    };
    lines.map(|line| (name(&line["graph"]), of(&line))).collect()
}

#[test]
fn large_attachments_arrive_whole_whatever_becomes_of_their_sessions() {
    let mut cases = Vec::new();
    for (kind, service, matching) in
        [("event", "calendar", "AttachmentSessions"), ("task", "tasks", "attachmentSessions")]
    {
        for fault in
            ["", "session-lost:times=1,after=1", "reset-after:times=1", "error-after:times=1"]
        {
            for bare in [false, true] {
                // Only tasks have sessions of two kinds.
                if !bare || kind == "task" && !fault.contains("after:") {
                    cases.push((kind, service, matching, fault, bare));
                }
            }
        }
    }
    let sources: BTreeMap<_, _> = [("event", "calendar"), ("task", "tasks")]
        .map(|(kind, service)| {
            let (tenant, user, ids) = source(kind);
            for (number, size) in SIZES.into_iter().enumerate() {
                let bytes = noise(size, number as u64);
                // Two of one name are two.
                let name = if number == 1 { "a.bin" } else { "b.bin" };
                tenant.simulator.tenant().attach(&user, &ids[number % 2], name, &bytes).unwrap();
            }
            let saved = saved(&tenant, service);
            (kind, (tenant, saved))
        })
        .into();
    examine_all(&cases, 3, |(kind, service, matching, fault, bare)| {
        let (source, saved) = &sources[kind];
        let name = format!("{kind} {fault:?} bare: {bare}");
        let options = Options { bare_task_sessions: *bare, ..Options::default() };
        let target = emptied_with(source, Language::German, options);
        if !fault.is_empty() {
            let join = if fault.contains(':') { ',' } else { ':' };
            let fault = format!("{fault}{join}match={matching}");
            target.simulator.set_faults(vec![fault.parse::<Fault>().unwrap()]);
        }
        let run = saved.import(&target, &name.replace('/', " "), &["--in-place"]);
        let log = target.simulator.log();
        let sessions = log.records().into_iter();
        let sessions =
            sessions.filter(|record| record.path.ends_with("/createUploadSession")).count();
        let struck = !log.counts().by_fault.is_empty() || sessions > 2;
        target.simulator.set_faults(Vec::new());
        if run.code != 0 {
            return Err(format!("{name}: {}", run.stderr));
        }
        if sessions < 2 || struck == fault.is_empty() {
            return Err(format!("{name}: {sessions} sessions"));
        }
        let wanted = attached(&Archive::new(&saved.bytes), service);
        let is = attached(&Archive::new(&self::saved(&target, service).bytes), service);
        // What the service's own calendars hold goes elsewhere.
        if wanted != is {
            return Err(format!("{name}: {is:#?} is not {wanted:#?}"));
        }
        assert_nobody_was_mailed(&target);
        Ok(())
    });
}

/// No request takes more than about 4 MB, and the text of an event goes in one.
#[test]
fn a_text_that_no_request_takes_fails_alone_and_is_told() {
    for (kind, service, key) in [("event", "calendar", "body"), ("task", "tasks", "body")] {
        let (tenant, user, ids) = source(kind);
        let office = tenant.simulator.tenant();
        let content = "Ein sehr langer Text. ".repeat(200_000);
        let change = json!({key: {"contentType": "text", "content": content}});
        office.change_item(&user, &ids[0], change).unwrap();
        let saved = saved(&tenant, service);
        let archive = Archive::new(&saved.bytes);
        let all = archive.members.iter().filter(|member| member.path.ends_with(".ics")).count();
        let large = archive
            .members
            .iter()
            .find(|member| member.content.len() > 4_000_000 && member.path.ends_with(".ics"));
        let path = large.unwrap().path.clone();
        let target = emptied_with(&tenant, Language::German, Options::default());
        let report = saved.file("report.json");
        let run = saved.import(&target, "journal", &["--in-place", "--report", &report]).expect(3);
        assert_eq!(counts(&run), [all as u64 - 1, 0, 0, 1, 0], "{}", run.stderr);
        assert!(run.stderr.contains(&path), "{}", run.stderr);
        assert!(run.stderr.contains("too large"), "{}", run.stderr);
        let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        let summary = &report["summary"];
        assert_eq!(summary["causes"], json!({"too-large": 1}));
        assert_eq!(summary["failures"][0][0], path.as_str(), "{summary}");
        // Nothing of it is left behind, and a second run says the same.
        let there = attached(&Archive::new(&self::saved(&target, service).bytes), service);
        assert_eq!(there.len(), all - 1);
        let again = saved.import(&target, "other", &["--in-place"]).expect(3);
        assert_eq!(counts(&again), [0, 0, all as u64 - 1, 1, 0], "{}", again.stderr);
        assert_nobody_was_mailed(&target);
    }
}
