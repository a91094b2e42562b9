//! Imports of calendars, contacts, tasks and settings that are killed at any moment, or whose answers
//! get lost: what comes of them is what an undisturbed one makes, nothing is there twice, an undo
//! leaves what was there before to the byte, and nobody is mailed.
//!
//! `TAR365_SOAK=1` kills at 40 points of each instead of a few.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Fault, Language, Options};

use crate::calendar_import::{assert_nobody_was_mailed, said};
use crate::contacts::contacts;
use crate::harness::{Archive, Tenant, examine_all, sha256, text};
use crate::import::{Saved, emptied_with, writable};
use crate::import_faults::Random;
use crate::import_kill::{Then, all_of, kill_when, requests};
use crate::soak::soak;

/// Runs under way at a time: they wait more than they compute.
const AT_ONCE: usize = 4;
/// Kills of each way to restore, and what follows them.
const KILLS: u64 = 4;

/// A way to restore: an archive, a mailbox that is lived in, and how its content is told.
struct Subject {
    service: &'static str,
    arguments: &'static [&'static str],
    saved: Saved,
    lived_in: fn(Options) -> Tenant,
    said: fn(&Archive) -> Vec<String>,
}

/// Something that goes wrong, and what follows.
#[derive(Debug, Clone, Copy)]
struct Case {
    seed: u64,
    subject: usize,
    then: Then,
}

impl Subject {
    fn target(&self) -> Tenant {
        (self.lived_in)(Options { latency: Duration::from_millis(1), ..one_user() })
    }

    fn export(&self, tenant: &Tenant) -> Vec<u8> {
        let flags = ["--service", self.service, "--user", "*", "--progress", "none"];
        tenant.export(&flags).expect(0).stdout
    }

    fn said(&self, tenant: &Tenant) -> Vec<String> {
        let mut said = (self.said)(&Archive::new(&self.export(tenant)));
        said.sort();
        said
    }

    /// What an undisturbed restore makes, and with how many requests.
    fn undisturbed(&self) -> (Vec<String>, u64) {
        let target = self.target();
        let before = requests(&target);
        self.saved.import(&target, "undisturbed", self.arguments).expect(0);
        let took = requests(&target) - before;
        (self.said(&target), took)
    }
}

fn one_user() -> Options {
    Options { users: 1, mails: 1, files: 1, ..Options::default() }
}

fn saved(tenant: &Tenant, service: &str) -> Saved {
    Saved::new(tenant.export(&["--service", service, "--user", "*"]).expect(0).stdout)
}

/// The mailbox that was exported, of whose events, contacts and tasks every second one is gone:
/// events that are there have people, who would be mailed if they were touched.
fn half(options: Options) -> Tenant {
    let tenant = writable(options);
    let office = tenant.simulator.tenant();
    let user = office.users().remove(0).id;
    for kind in ["event", "contact", "task"] {
        let items = office.items(&user).unwrap().into_iter().filter(|item| item.kind == kind);
        for item in items.step_by(2) {
            office.delete_item(&user, &item.id).unwrap();
        }
    }
    tenant
}

/// All contacts with the names of their folders.
fn contacts_said(archive: &Archive) -> Vec<String> {
    let sections = crate::contacts::sections(archive);
    let contacts = sections.iter().flat_map(|section| contacts(archive, section, None));
    contacts.map(|contact| format!("{contact:?}")).collect()
}

fn tasks_said(archive: &Archive) -> Vec<String> {
    crate::tasks_import::said(archive, true)
}

/// All events with the names of their calendars.
fn calendar_said(archive: &Archive) -> Vec<String> {
    let mut sections = archive.members.iter().filter_map(|m| m.path.strip_suffix(".ndjson"));
    let section = sections.find(|path| path.ends_with("/calendar")).unwrap();
    let lines = archive.lines(section);
    let contents = archive.items(section);
    let name = |event: &Value| {
        let parent = text(&event["graph"], "parentFolderId");
        let calendar = lines.iter().find(|line| text(line, "id") == parent).unwrap();
        text(&calendar["graph"], "name").to_owned()
    };
    let events = lines.iter().filter(|line| line["kind"] == "event");
    events
        .map(|event| {
            let file = String::from_utf8(contents[text(event, "id")].content.clone()).unwrap();
            let file = file.replace("\r\n ", "");
            let attached = file.lines().filter(|line| line.starts_with("ATTACH;"));
            let mut bytes: Vec<_> =
                attached.map(|line| sha256(line.rsplit(':').next().unwrap().as_bytes())).collect();
            bytes.sort_unstable();
            format!("{}: {} {bytes:?}", name(event), said(&event["graph"]))
        })
        .collect()
}

/// A mailbox with settings of its own, a rule of a name that the archive has, and a picture.
fn own_settings(options: Options) -> Tenant {
    let of = Tenant::start(Options { special_users: false, ..options.clone() });
    let tenant = emptied_with(&of, Language::German, options);
    let office = tenant.simulator.tenant();
    let user = office.users().remove(0).upn;
    office.change_settings(&user, json!({"timeZone": "Tokyo Standard Time"})).unwrap();
    office.set_photo(&user, Some(("image/png", b"\x89PNG mine"))).unwrap();
    let red = json!({"displayName": "rote kategorie", "color": "preset7"});
    office.add_setting(&user, "outlookCategory", red).unwrap();
    let rule = json!({"displayName": "Mine", "sequence": 1, "isEnabled": true, "hasError": false,
        "isReadOnly": false, "conditions": {"sentToMe": true}, "actions": {"delete": true}});
    office.add_setting(&user, "messageRule", rule).unwrap();
    tenant
}

/// All settings, a line each; what the service makes anew is not among them.
fn settings_said(archive: &Archive) -> Vec<String> {
    let all = crate::settings_import::comparable(crate::settings_import::documents(archive));
    all.into_iter()
        .flat_map(|(path, mut document)| {
            // Two of one name stay two, and have tags in their paths.
            let path = if path.contains("/rules/") { "rule" } else { &path };
            match document.get_mut("value").map(Value::take) {
                Some(Value::Array(rows)) => {
                    rows.iter().map(|row| format!("{path}: {row}")).collect::<Vec<_>>()
                }
                _ => vec![format!("{path}: {document}")],
            }
        })
        .collect()
}

/// Settings with two rules that are alike, which stay two.
fn many_settings() -> Saved {
    let tenant = writable(one_user());
    let office = tenant.simulator.tenant();
    let user = office.users().remove(0).upn;
    for name in ["Twice", "Twice", "Twice", "Mine"] {
        let rule = json!({"displayName": name, "sequence": 9, "isEnabled": true, "hasError": false,
            "isReadOnly": false, "conditions": {"subjectContains": ["x"]},
            "actions": {"markAsRead": true}});
        office.add_setting(&user, "messageRule", rule).unwrap();
    }
    let away = json!({"automaticRepliesSetting": {
        "status": "alwaysEnabled", "externalAudience": "all",
        "internalReplyMessage": "<p>Bin weg</p>", "externalReplyMessage": ""}});
    office.change_settings(&user, away).unwrap();
    saved(&tenant, "settings")
}

fn subjects() -> Vec<Subject> {
    let part = |service, arguments, said| Subject {
        service,
        arguments,
        saved: saved(&writable(one_user()), service),
        lived_in: half,
        said,
    };
    let settings = |arguments| Subject {
        service: "settings",
        arguments,
        saved: many_settings(),
        lived_in: own_settings,
        said: settings_said,
    };
    vec![
        part("calendar", &["--in-place"], calendar_said),
        part("calendar", &["--label", "L"], calendar_said),
        part("contacts", &["--in-place"], contacts_said),
        part("tasks", &["--in-place"], tasks_said),
        settings(&["--in-place", "--on-conflict", "replace"]),
        settings(&["--in-place", "--on-conflict", "copy", "--enable-rules"]),
        settings(&[]),
    ]
}

/// What is in one and not in the other, each as often as it is.
fn difference(wanted: &[String], is: &[String]) -> Result<(), String> {
    if wanted == is {
        return Ok(());
    }
    let less = |of: &[String], other: &[String]| {
        let mut rest = other.to_vec();
        let mut left = Vec::new();
        for one in of {
            match rest.iter().position(|other| other == one) {
                Some(at) => drop(rest.swap_remove(at)),
                None => left.push(one.clone()),
            }
        }
        left
    };
    Err(format!("+{:#?}\n-{:#?}", less(is, wanted), less(wanted, is)))
}

/// One kill and what follows; whether it came in time.
fn killed(subject: &Subject, wanted: &(Vec<String>, u64), case: &Case) -> Result<bool, String> {
    let name = format!("{case:?} {} {:?}", subject.service, subject.arguments);
    let told = |what: &str, result: Result<(), String>| {
        result.map_err(|why| format!("{name}: {what}: {why}"))
    };
    let target = subject.target();
    let before = subject.export(&target);
    let first = format!("first {}", case.seed);
    let (path, journal) = (subject.saved.path(), subject.saved.file(&first));
    let fixed = ["import", &path, "--journal", &journal, "--progress", "none"];
    let mut command = target.tar365(&[&fixed, subject.arguments].concat());
    let at = requests(&target) + 1 + Random(case.seed).below(wanted.1);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let in_time = kill_when(&mut child, || requests(&target) >= at);
    assert_nobody_was_mailed(&target);
    let again = match case.then {
        Then::Undo => None,
        Then::Anew => Some(format!("other {}", case.seed)),
        Then::Resume | Then::ResumeAndUndo => Some(first.clone()),
    };
    if let Some(journal) = again {
        let run = subject.saved.import(&target, &journal, subject.arguments);
        told("again", (run.code == 0).then_some(()).ok_or(run.stderr))?;
        told("completed", difference(&wanted.0, &subject.said(&target)))?;
    }
    let is_undone = matches!(case.then, Then::Undo | Then::ResumeAndUndo);
    if is_undone && std::path::Path::new(&subject.saved.file(&first)).exists() {
        let run = subject.saved.undo(&target, &first);
        told("undo", (run.code == 0).then_some(()).ok_or(run.stderr))?;
        let after = subject.export(&target);
        if after != before {
            let said = |bytes: &[u8]| {
                let mut said = (subject.said)(&Archive::new(bytes));
                said.sort();
                said
            };
            told("undone", difference(&said(&before), &said(&after)))?;
            return Err(format!("{name}: undone: another archive that says the same"));
        }
    }
    assert_nobody_was_mailed(&target);
    Ok(in_time)
}

#[test]
fn whenever_it_is_killed_it_is_completed_or_taken_back() {
    let subjects = subjects();
    let wanted: Vec<_> = subjects.iter().map(Subject::undisturbed).collect();
    let kills = if soak() { 5 * KILLS } else { KILLS };
    let cases = (0..subjects.len() as u64).flat_map(|subject| {
        (0..kills).map(move |number| Case {
            seed: subject * 1000 + number,
            subject: subject as usize,
            then: Then::ALL[number as usize % Then::ALL.len()],
        })
    });
    let cases: Vec<_> = cases.collect();
    all_of(&cases, |case| killed(&subjects[case.subject], &wanted[case.subject], case));
}

#[test]
fn answers_that_are_lost_make_nothing_twice() {
    let subjects = subjects();
    let wanted: Vec<_> = subjects.iter().map(Subject::undisturbed).collect();
    let faults = ["reset-after:rate=0.3,times=1", "error-after:rate=0.3,times=1"];
    let cases: Vec<_> =
        (0..subjects.len()).flat_map(|at| faults.map(move |fault| (at, fault))).collect();
    let struck = examine_all(&cases, AT_ONCE, |(at, fault)| {
        let (subject, (wanted, _)) = (&subjects[*at], &wanted[*at]);
        let name = format!("{fault} {} {:?}", subject.service, subject.arguments);
        let target = subject.target();
        let before = subject.export(&target);
        target.simulator.set_faults(vec![fault.parse::<Fault>().unwrap()]);
        let run = subject.saved.import(&target, fault, subject.arguments);
        let struck = target.simulator.log().records();
        let struck = struck.iter().filter(|record| record.fault.is_some()).count();
        target.simulator.set_faults(Vec::new());
        if run.code != 0 {
            return Err(format!("{name}: {}", run.stderr));
        }
        difference(wanted, &subject.said(&target)).map_err(|why| format!("{name}: {why}"))?;
        let undone = subject.saved.undo(&target, fault);
        if undone.code != 0 || subject.export(&target) != before {
            return Err(format!("{name}: undone: {}", undone.stderr));
        }
        assert_nobody_was_mailed(&target);
        Ok(struck)
    });
    assert!(struck.iter().all(|struck| *struck > 0), "{struck:?}");
}
