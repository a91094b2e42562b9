//! An archive held against the one without faults, item by item.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;
use simulator::{Fault, Kind};

use super::{Baseline, Case, OWNER, Row, Way, baseline, export, options};
use crate::harness::{Archive, Member, Run, Tenant, run_with, runtime, sha256, tar365, text};
use crate::import_faults::impatience;

/// What no client can wait or ask its way out of: it shows in the archive.
pub(super) const LASTING: [Kind; 9] = [
    Kind::Change,
    Kind::Corrupt,
    Kind::Malware,
    Kind::Mime,
    Kind::Move,
    Kind::Restless,
    Kind::SizeLie,
    Kind::UnstableMime,
    Kind::Vanish,
];

/// What a set of faults may leave behind.
pub(super) struct Allowed {
    kinds: BTreeSet<&'static str>,
    way: Way,
}

impl Allowed {
    pub(super) fn of(case: &Case) -> Self {
        let kind = |text: &String| text.parse::<Fault>().unwrap().kind.name();
        Self { kinds: case.faults.iter().map(kind).collect(), way: case.way }
    }

    fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(kind.name())
    }

    /// Only what a client can wait or ask its way out of.
    pub(super) fn transient(&self) -> bool {
        // Without a length a file can't be streamed: the member then has its digest in front.
        let streamed_anyway = self.way == Way::Spooled || !self.has(Kind::NoLength);
        streamed_anyway && !LASTING.iter().any(|kind| self.has(*kind))
    }

    /// A download that is not whole at once.
    fn breaks(&self) -> bool {
        [Kind::Truncate, Kind::UrlExpired, Kind::Reset].iter().any(|kind| self.has(*kind))
    }

    /// Ledger lines that these faults may cause: outcome and cause.
    fn lines(&self) -> BTreeSet<(&'static str, &'static str)> {
        let mut lines = BTreeSet::new();
        for (kind, outcome, cause) in [
            (Kind::Vanish, "skipped", "vanished"),
            (Kind::Malware, "skipped", "malware"),
            (Kind::Corrupt, "failed", "corrupt"),
            (Kind::Mime, "converted", "no-mime"),
        ] {
            if self.has(kind) {
                lines.insert((outcome, cause));
            }
        }
        if (self.has(Kind::Restless) || self.has(Kind::Change)) && self.breaks() {
            lines.insert(("failed", "changing"));
            lines.insert(("damaged", "torn"));
        }
        // Gone after it changed while it was streamed: nobody tells what its bytes should be.
        if (self.has(Kind::Restless) || self.has(Kind::Change)) && self.has(Kind::Vanish) {
            lines.insert(("damaged", "unproven"));
        }
        // A download without a length is as long as the item says, which may not be so.
        let unsure = [Kind::SizeLie, Kind::Restless, Kind::Change];
        if self.has(Kind::NoLength) && unsure.iter().any(|kind| self.has(*kind)) {
            lines.insert(("damaged", "long"));
            lines.insert(("damaged", "short"));
        }
        lines
    }
}

/// Everything that is wrong with one run; all of it is reported, not only the first.
#[derive(Default)]
struct Findings {
    wrong: Vec<String>,
    /// How items differ from those of the archive without faults, as they may.
    effects: BTreeMap<&'static str, usize>,
}

impl Findings {
    fn count(&mut self, effect: &'static str, happened: bool) {
        if happened {
            *self.effects.entry(effect).or_default() += 1;
        }
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }
}

/// One item of an archive: its metadata line, its member, its ledger lines.
struct Item<'a> {
    line: &'a Value,
    member: Option<&'a Member>,
    ledger: Vec<&'a Value>,
}

fn is_item(line: &Value) -> bool {
    !matches!(text(line, "kind"), "owner" | "folder")
}

/// The items of a section by id; what is there twice is a finding.
fn items<'a>(
    lines: &'a [Value],
    archive: &'a Archive,
    ledger: &'a [Value],
    findings: &mut Findings,
) -> BTreeMap<&'a str, Item<'a>> {
    let members: BTreeMap<&str, &Member> =
        archive.members.iter().map(|member| (member.path.as_str(), member)).collect();
    let mut items = BTreeMap::new();
    for line in lines.iter().filter(|line| is_item(line)) {
        let (id, path) = (text(line, "id"), line.get("path").and_then(Value::as_str));
        let ledger = ledger
            .iter()
            .filter(|entry| {
                path.is_some_and(|path| text(entry, "path") == path) || text(entry, "id") == id
            })
            .collect();
        let member = path.and_then(|path| members.get(path)).copied();
        let twice = items.insert(id, Item { line, member, ledger });
        findings.check(twice.is_none(), || format!("{id} is in the metadata twice"));
    }
    items
}

/// Runs a case and holds it against the archive without faults.
pub(super) fn examine(case: &Case) -> Result<Row, String> {
    let base = baseline(case.way);
    let tenant = Tenant::start(options(case));
    let done = export(&tenant, case);
    let allowed = Allowed::of(case);
    let mut findings = Findings::default();
    let log = tenant.simulator.log().counts();
    let name = format!("{} (seed {}, {:?})", case.faults.join(" + "), case.seed, case.way);
    let mut row = Row {
        case: case.faults.join(" + "),
        code: done.code,
        requests: log.requests,
        hits: log.by_fault.values().sum(),
        content: "equal".to_owned(),
        ledger: String::new(),
    };
    // What is under way when a scope closes meets the closed door, each connection once. Where many
    // faults keep the machine busy, that may take longer than the simulator's grace.
    let closings: u64 =
        ["throttle", "unavailable"].iter().filter_map(|kind| log.by_fault.get(*kind)).sum();
    let under_way = if case.faults.len() > 2 { closings * 8 } else { 0 };
    findings.check(log.during_retry_after <= under_way, || {
        format!("{} requests during Retry-After", log.during_retry_after)
    });
    for (repeated, after, told) in impatience(&tenant.simulator.log().records()) {
        findings.wrong.push(format!("{repeated} again after {after} ms, was told {told}"));
    }
    // Requests under way when a scope closes are refused without being anybody's fault.
    let closes = allowed.has(Kind::Throttle) || allowed.has(Kind::Unavailable);
    findings.check(closes || log.provoked == 0, || format!("{} refusals provoked", log.provoked));
    findings
        .check(log.leaked_authorization == 0, || "a token went to the download host".to_owned());
    let most = log.max_concurrent.values().max().copied().unwrap_or(0);
    findings.check(most <= 4, || format!("{most} requests at once to one mailbox"));
    findings.check(!done.stderr.contains("internal error"), || "a panic".to_owned());
    let proof = run_with(tar365(&["verify", "-"]), &done.stdout);
    findings.check(proof.code == 0, || format!("verify: {}", proof.stderr));
    findings.check(matches!(done.code, 0 | 3), || format!("exit code {}", done.code));
    if proof.code == 0 && matches!(done.code, 0 | 3) {
        if allowed.transient() {
            findings.check(done.stdout == base.bytes, || difference(&done.stdout, base));
            findings.check(done.code == 0, || format!("exit code {}", done.code));
        } else {
            compare(&tenant, &done, base, &allowed, &mut row, &mut findings);
            let effects =
                findings.effects.iter().map(|(effect, count)| format!("{count} {effect}"));
            row.content = effects.collect::<Vec<_>>().join(", ");
            if row.content.is_empty() {
                row.content = "equal but for the ledger".to_owned();
            }
        }
    }
    if findings.wrong.is_empty() {
        return Ok(row);
    }
    findings.wrong.truncate(8);
    Err(format!("{name}:\n  {}\n  stderr: {}", findings.wrong.join("\n  "), done.stderr.trim()))
}

/// The first members that differ, by path.
fn difference(bytes: &[u8], base: &Baseline) -> String {
    let archive = Archive::new(bytes);
    let paths = |archive: &Archive| -> BTreeMap<String, String> {
        let digest = |member: &Member| format!("{} {}", sha256(&member.content), member.mtime);
        archive.members.iter().map(|m| (m.path.clone(), digest(m))).collect()
    };
    let (ours, theirs) = (paths(&archive), paths(&base.archive));
    let differing: Vec<&String> = ours
        .keys()
        .chain(theirs.keys())
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .take(4)
        .collect();
    let ledger: Vec<String> = archive
        .ledger()
        .iter()
        .filter(|line| !base.archive.ledger().contains(line))
        .take(4)
        .map(Value::to_string)
        .collect();
    format!("the bytes differ in {differing:?}; more in the ledger: {ledger:?}")
}

/// Item by item: the same as without faults, or explained, and nothing explained that is fine.
fn compare(
    tenant: &Tenant,
    done: &Run,
    base: &Baseline,
    allowed: &Allowed,
    row: &mut Row,
    findings: &mut Findings,
) {
    let archive = Archive::new(&done.stdout);
    let ledger = archive.ledger();
    let base_ledger = base.archive.ledger();
    let news: Vec<&Value> = ledger.iter().filter(|line| !base_ledger.contains(line)).collect();
    // What was not to be had anyway may have another reason now, one only.
    let replaced = |line: &Value| {
        let id = text(line, "id");
        !id.is_empty() && ledger.iter().filter(|now| text(now, "id") == id).count() == 1
    };
    for line in base_ledger.iter().filter(|line| !ledger.contains(line) && !replaced(line)) {
        findings.wrong.push(format!("not in the ledger any more: {line}"));
    }
    let lines = allowed.lines();
    for line in &news {
        let what = (text(line, "outcome"), text(line, "cause"));
        findings.check(lines.contains(&what), || format!("unexpected in the ledger: {line}"));
    }
    let mut causes: BTreeMap<String, usize> = BTreeMap::new();
    for line in &news {
        *causes.entry(format!("{} {}", text(line, "outcome"), text(line, "cause"))).or_default() +=
            1;
    }
    row.ledger = causes.iter().fold(String::new(), |mut all, (cause, count)| {
        let _ = write!(all, "{}{count} {cause}", if all.is_empty() { "" } else { ", " });
        all
    });
    let failed =
        ledger.iter().filter(|line| matches!(text(line, "outcome"), "failed" | "damaged")).count();
    let expected = if failed > 10 { 3 } else { 0 };
    findings
        .check(done.code == expected, || format!("exit code {} with {failed} failed", done.code));
    tenant.simulator.set_faults(Vec::new());
    for section in ["mail", "onedrive"] {
        let section = format!("users/{OWNER}/{section}");
        section_against(tenant, &section, &archive, &ledger, base, allowed, findings);
    }
    // Nothing but items may differ, and folders only by what is in them.
    for member in base.archive.members.iter().filter(|member| member.is_directory) {
        let same = archive.member(&member.path).is_some_and(|now| now.is_directory);
        findings.check(same, || format!("folder {} is missing", member.path));
    }
}

fn section_against(
    tenant: &Tenant,
    section: &str,
    archive: &Archive,
    ledger: &[Value],
    base: &Baseline,
    allowed: &Allowed,
    findings: &mut Findings,
) {
    let (lines, base_lines) = (archive.lines(section), base.archive.lines(section));
    let now = items(&lines, archive, ledger, findings);
    let base_ledger = base.archive.ledger();
    let then = items(&base_lines, &base.archive, &base_ledger, findings);
    let alive = alive(tenant);
    let largest = then
        .values()
        .filter_map(|item| Some((item.member?.content.len(), text(item.line, "id"))))
        .max()
        .map_or("", |(_, id)| id);
    findings.check(now.keys().eq(then.keys()), || {
        let lost: Vec<_> = then.keys().filter(|id| !now.contains_key(*id)).collect();
        let new: Vec<_> = now.keys().filter(|id| !then.contains_key(*id)).collect();
        format!("{section}: lost {lost:?}, invented {new:?}")
    });
    let mut moved = 0;
    for (id, item) in &now {
        let Some(was) = then.get(id) else { continue };
        let explained = item.ledger.iter().find(|line| !base_ledger.contains(line));
        let name = text(item.line, "path");
        let elsewhere = text(item.line, "path") != text(was.line, "path");
        moved += usize::from(elsewhere);
        findings.count("moved", elsewhere);
        // What the ledger says and what the tenant says.
        let gone = is_content(was) && !alive.contains(*id);
        let said_gone = explained.is_some_and(|line| text(line, "cause") == "vanished");
        // A streamed file is asked about again when it is open, or read: what went then is there.
        let was_read = allowed.way == Way::Streamed && item.member.is_some();
        findings.check(gone == said_gone || (gone && was_read) || !is_content(was), || {
            format!("{name}: gone {gone}, ledger {explained:?}")
        });
        match (was.member, item.member) {
            (None, None) => {}
            (None, Some(_)) => findings.wrong.push(format!("{name} has become a member")),
            (Some(_), None) => {
                findings.check(explained.is_some(), || {
                    format!("{name} is neither member nor explained")
                });
            }
            (Some(was), Some(is)) => {
                let converted = explained.is_some_and(|line| text(line, "outcome") == "converted");
                let damaged = explained.is_some_and(|line| text(line, "outcome") == "damaged");
                findings.check(explained.is_none() || converted || damaged, || {
                    format!("{name} is a member and explained: {explained:?}")
                });
                let same = was.content == is.content
                    || converted
                    || damaged
                    || (allowed.has(Kind::UnstableMime)
                        && without_boundaries(&was.content) == without_boundaries(&is.content))
                    || (may_change(allowed, id, largest)
                        && versions(tenant, id, gone, allowed.way).contains(&sha256(&is.content)));
                findings.check(same, || format!("{name} has other bytes"));
                findings.count("of another version or rendering", was.content != is.content);
                findings.check(was.mtime == is.mtime, || format!("{name} has another time"));
            }
        }
        let touched = explained.is_some() && allowed.has(Kind::Malware) || elsewhere;
        findings.count("with other metadata", !touched && item.line != was.line);
        findings.check(touched || same_line(item.line, was.line, allowed), || {
            format!("{name}: the metadata differ: {} {}", item.line, was.line)
        });
    }
    let moves = if allowed.has(Kind::Move) { 3 } else { 0 };
    findings.check(moved <= moves, || format!("{moved} items have another path"));
}

fn is_content(item: &Item<'_>) -> bool {
    item.member.is_some()
}

fn may_change(allowed: &Allowed, id: &str, largest: &str) -> bool {
    allowed.has(Kind::Change) || (allowed.has(Kind::Restless) && id == largest)
}

fn same_line(now: &Value, then: &Value, allowed: &Allowed) -> bool {
    let plain = |line: &Value| {
        let mut line = line.clone();
        if allowed.has(Kind::SizeLie)
            && let Some(graph) = line.get_mut("graph").and_then(Value::as_object_mut)
        {
            graph.remove("size");
        }
        line
    };
    plain(now) == plain(then)
}

/// Ids of all mails and files that the tenant has now.
fn alive(tenant: &Tenant) -> BTreeSet<String> {
    let tenant = tenant.simulator.tenant();
    let mails = tenant.messages(OWNER).unwrap().into_iter().map(|mail| mail.id);
    let files = tenant.files(OWNER).unwrap().into_iter().map(|file| file.id);
    mails.chain(files).collect()
}

/// A mail with its generated boundaries numbered.
fn without_boundaries(mail: &[u8]) -> String {
    let mail = String::from_utf8_lossy(mail).into_owned();
    let boundaries: Vec<String> = mail
        .split("boundary=\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"').map(|(boundary, _)| boundary.to_owned()))
        .collect();
    boundaries.iter().enumerate().fold(mail, |mail, (number, boundary)| {
        mail.replace(boundary, &format!("boundary {number}"))
    })
}

/// SHA-256 of all versions of a file, asked of the service by another client than ours. Of one
/// that is gone, those of its twin in a tenant that nobody has touched: saved the same way.
fn versions(tenant: &Tenant, item: &str, gone: bool, way: Way) -> BTreeSet<String> {
    let all = match gone {
        false => version_bytes(tenant, item, 0),
        true => {
            let twin = Tenant::start(options(&Case { faults: Vec::new(), seed: 1, way }));
            version_bytes(&twin, item, 50)
        }
    };
    all.iter().map(|bytes| sha256(bytes)).collect()
}

/// All versions of a file, when it has been saved so many times more.
pub(super) fn version_bytes(tenant: &Tenant, item: &str, saved: usize) -> Vec<Vec<u8>> {
    let simulator = &tenant.simulator;
    let users = simulator.tenant().users();
    let drive = users.iter().find_map(|user| user.drive.clone()).unwrap();
    let item = format!("{}/v1.0/drives/{drive}/items/{item}", simulator.graph_url());
    runtime().block_on(async {
        let client = tenant.client().await;
        let get = |url: String| client.get(url).send();
        if saved > 0 {
            simulator.set_faults(vec!["change:rate=1".parse().unwrap()]);
        }
        for _ in 0..saved {
            get(item.clone()).await.unwrap();
        }
        simulator.set_faults(Vec::new());
        let listed: Value = get(format!("{item}/versions")).await.unwrap().json().await.unwrap();
        let mut all = Vec::new();
        for version in listed["value"].as_array().into_iter().flatten() {
            let id = text(version, "id");
            // The newest version is the item itself (the service has no content address for it).
            let newest = get(format!("{item}/versions/{id}/content")).await.unwrap();
            let answer = match newest.status().is_success() {
                true => newest,
                false => get(format!("{item}/content")).await.unwrap(),
            };
            all.push(answer.bytes().await.unwrap().to_vec());
        }
        all
    })
}
