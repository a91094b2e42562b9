//! The fault matrix: whatever the service does, the archive is proven, has the right bytes or a
//! line in the ledger, nothing is lost, nothing is there twice, and the exit code says so.
//!
//! `TAR365_SOAK=1` runs every pair of faults instead of a sample, with several seeds, and all
//! together with 100 seeds, and writes the tables of `doc/faults.md` into `target/tmp`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::OnceLock;

use serde_json::Value;
use simulator::{Fault, Kind, Options};

use crate::harness::{
    Archive, Member, Run, Tenant, json_lines, run_with, runtime, sha256, tar365, text,
};
use crate::import_faults::{Random, impatience};

/// Runs under way at a time: they wait more than they compute.
const AT_ONCE: usize = 12;
const OWNER: &str = "anna.schmidt@contoso.onmicrosoft.com";

/// Spooled as usual, or with every larger file streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Way {
    Spooled,
    Streamed,
}

/// One run of the matrix.
#[derive(Debug, Clone)]
struct Case {
    faults: Vec<String>,
    seed: u64,
    way: Way,
}

/// What came of it, for the table.
struct Row {
    case: String,
    code: i32,
    requests: u64,
    hits: u64,
    /// `equal` to the archive without faults, or how many items differ and how.
    content: String,
    ledger: String,
}

/// A small tenant with every kind of mail and file, in several pages.
fn options(case: &Case) -> Options {
    Options {
        users: 1,
        special_users: false,
        mails: 26,
        files: 18,
        page_cap: Some(12),
        big_file: (case.way == Way::Streamed).then_some(600_000),
        faults: case.faults.iter().map(|fault| fault.parse().unwrap()).collect(),
        fault_seed: case.seed,
        ..Options::default()
    }
}

fn export(tenant: &Tenant, case: &Case) -> Run {
    let mut arguments = vec!["--progress", "none"];
    if case.way == Way::Streamed {
        arguments.extend(["--spool-limit", "100KB"]);
    }
    tenant.export(&arguments)
}

/// The archive of the same tenant without faults.
struct Baseline {
    bytes: Vec<u8>,
    archive: Archive,
}

fn baseline(way: Way) -> &'static Baseline {
    static BASELINES: [OnceLock<Baseline>; 2] = [const { OnceLock::new() }; 2];
    BASELINES[way as usize].get_or_init(|| {
        let case = Case { faults: Vec::new(), seed: 1, way };
        let tenant = Tenant::start(options(&case));
        let run = export(&tenant, &case).expect(0);
        let archive = Archive::new(&run.stdout);
        Baseline { bytes: run.stdout, archive }
    })
}

/// What no client can wait or ask its way out of: it shows in the archive.
const LASTING: [Kind; 9] = [
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
struct Allowed {
    kinds: BTreeSet<&'static str>,
    way: Way,
}

impl Allowed {
    fn of(case: &Case) -> Self {
        let kind = |text: &String| text.parse::<Fault>().unwrap().kind.name();
        Self { kinds: case.faults.iter().map(kind).collect(), way: case.way }
    }

    fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(kind.name())
    }

    /// Only what a client can wait or ask its way out of.
    fn transient(&self) -> bool {
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
fn examine(case: &Case) -> Result<Row, String> {
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
fn version_bytes(tenant: &Tenant, item: &str, saved: usize) -> Vec<Vec<u8>> {
    let simulator = &tenant.simulator;
    let users = simulator.tenant().users();
    let drive = users.iter().find_map(|user| user.drive.clone()).unwrap();
    let item = format!("{}/v1.0/drives/{drive}/items/{item}", simulator.graph_url());
    runtime().block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let secret = simulator.client_secret();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &simulator.client_id()),
            ("client_secret", &secret),
            ("scope", &format!("{}/.default", simulator.graph_url())),
        ];
        let login =
            format!("{}/{}/oauth2/v2.0/token", simulator.login_url(), simulator.tenant_id());
        let token: Value =
            client.post(login).form(&form).send().await.unwrap().json().await.unwrap();
        let token = text(&token, "access_token");
        let get = |url: String| client.get(url).bearer_auth(token).send();
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

/// Examines all cases, a few at a time. Fails with everything that any of them found.
#[track_caller]
fn examine_all(cases: &[Case]) -> Vec<Row> {
    for way in [Way::Spooled, Way::Streamed] {
        baseline(way);
    }
    crate::harness::examine_all(cases, AT_ONCE, examine)
}

/// How each fault is tried alone: often, and again and again on the same request.
fn alone(kind: Kind) -> Vec<String> {
    let name = kind.name();
    let parameters: &[&str] = match kind {
        Kind::Throttle | Kind::Unavailable => &["seconds=0.05", "rate=0.1,seconds=0.3"],
        // Each stops its scope for the seconds of a back-off.
        Kind::ThrottleBare | Kind::ServerError | Kind::Empty503 => {
            &["rate=0.08", "match=delta,rate=0.2", "times=2,match=/root/delta"]
        }
        // A listing that times out is asked for in smaller pages: another request each time.
        Kind::Timeout => &["match=messages", "match=delta,rate=0.3", "rate=0.15"],
        Kind::HtmlError | Kind::Reset => &["match=messages", "match=delta", "rate=0.15"],
        Kind::Truncate => &["rate=0.2", "match=$value", "times=2,match=download.aspx"],
        // A token refused twice in a row is a credential refused (the service's own rule).
        Kind::TokenExpiry => &["after=20", "match=$value", "match=delta"],
        Kind::Restless => &["", "versions=gone"],
        Kind::Corrupt => &["rate=0.1", "rate=1"],
        Kind::UrlExpired => &["", "times=2"],
        Kind::Vanish | Kind::Change => &["", "rate=0.4"],
        Kind::Move => &["", "times=3"],
        Kind::SizeLie => &["", "rate=1"],
        _ => &["", "rate=0.5"],
    };
    parameters
        .iter()
        .map(|parameters| match parameters.is_empty() {
            true => name.to_owned(),
            false => format!("{name}:{parameters}"),
        })
        .collect()
}

/// How a fault is tried together with another.
fn in_pair(kind: Kind) -> String {
    let name = kind.name();
    match kind {
        Kind::Throttle | Kind::Unavailable => format!("{name}:rate=0.06,seconds=0.2"),
        Kind::ThrottleBare
        | Kind::Timeout
        | Kind::ServerError
        | Kind::HtmlError
        | Kind::Empty503
        | Kind::Reset => format!("{name}:rate=0.06"),
        Kind::Truncate => format!("{name}:rate=0.1"),
        Kind::TokenExpiry => format!("{name}:after=30"),
        Kind::DeltaGone | Kind::Repeat | Kind::Reorder => format!("{name}:rate=0.3"),
        Kind::Vanish | Kind::Change | Kind::Malware | Kind::Mime | Kind::Corrupt => {
            format!("{name}:rate=0.1")
        }
        _ => name.to_owned(),
    }
}

/// Every kind that an export can meet.
fn kinds() -> Vec<Kind> {
    Kind::ALL.iter().copied().filter(|kind| !Kind::OF_WRITES.contains(kind)).collect()
}

fn pairs() -> Vec<Vec<String>> {
    let kinds = kinds();
    let mut pairs = Vec::new();
    for (number, one) in kinds.iter().enumerate() {
        for other in &kinds[number + 1..] {
            pairs.push(vec![in_pair(*one), in_pair(*other)]);
        }
    }
    pairs
}

fn soak() -> bool {
    std::env::var_os("TAR365_SOAK").is_some_and(|value| value == "1")
}

#[test]
fn each_fault_alone() {
    let mut cases = Vec::new();
    for kind in kinds() {
        for fault in alone(kind) {
            for way in [Way::Spooled, Way::Streamed] {
                cases.push(Case { faults: vec![fault.clone()], seed: 1, way });
            }
        }
    }
    let rows = examine_all(&cases);
    assert_eq!(rows.len(), cases.len());
    // A fault that never strikes proves nothing: it is in the log, or it shows in the archive.
    let strikes = |kind: Kind| {
        let of = |case: &Case| case.faults[0].split(':').next() == Some(kind.name());
        cases.iter().zip(&rows).filter(|(case, _)| of(case)).map(|(_, row)| row).any(|row| {
            match kind {
                Kind::Vanish | Kind::Mime | Kind::Corrupt | Kind::Malware => !row.ledger.is_empty(),
                Kind::Change | Kind::UnstableMime => row.content.contains("of another version"),
                Kind::Move => row.content.contains("moved"),
                Kind::SizeLie => row.content.contains("with other metadata"),
                // What they do to pages and headers leaves no trace.
                Kind::Repeat | Kind::Reorder | Kind::NoLength | Kind::RangeIgnored => true,
                Kind::DeltaGone => row.requests > 170,
                _ => row.hits > 0,
            }
        })
    };
    for kind in kinds() {
        assert!(strikes(kind), "{} never struck", kind.name());
    }
    write_table("faults", &table_of_singles(&rows));
}

/// Every `STEP`-th pair in CI; all of them, with several seeds and both ways, in a soak.
#[test]
fn faults_in_pairs() {
    const STEP: usize = 11;
    let mut cases = Vec::new();
    for (number, faults) in pairs().into_iter().enumerate() {
        let way = if number % 2 == 0 { Way::Spooled } else { Way::Streamed };
        if soak() {
            for seed in 1..=3 {
                for way in [Way::Spooled, Way::Streamed] {
                    cases.push(Case { faults: faults.clone(), seed, way });
                }
            }
        } else if number % STEP == 0 {
            cases.push(Case { faults, seed: 1 + number as u64, way });
        }
    }
    write_table("fault-pairs", &table_of_pairs(&examine_all(&cases)));
}

/// How a fault is tried together with all others: seldom, how seldom is drawn.
fn in_crowd(kind: Kind, random: &mut Random) -> String {
    let name = kind.name();
    // In thousandths.
    let mut share = |from: u64, to: u64| {
        format!("{name}:rate={}", (from + random.below(to - from + 1)) as f64 / 1000.0)
    };
    match kind {
        Kind::Throttle | Kind::Unavailable => share(10, 20) + ",seconds=0.1",
        // Each stops its scope for the seconds of a back-off.
        Kind::ThrottleBare | Kind::Timeout | Kind::ServerError | Kind::Empty503 => share(2, 8),
        Kind::HtmlError | Kind::Reset => share(10, 20),
        Kind::Truncate => share(10, 50),
        Kind::TokenExpiry => format!("{name}:after={}", 5 + random.below(150)),
        Kind::Vanish | Kind::Change | Kind::Malware | Kind::Mime | Kind::Corrupt => share(20, 80),
        // What never comes right is given up after some tries; that is not what this is about.
        Kind::DeltaGone | Kind::UrlExpired => share(20, 120),
        Kind::Move => name.to_owned(),
        Kind::Restless => format!("{name}:versions={}", ["kept", "gone"][random.below(2) as usize]),
        _ => share(50, 400),
    }
}

/// Everything at once: with each seed all that a client can get over, which must cost no byte,
/// and all there is.
#[test]
fn faults_all_together() {
    let mut cases = Vec::new();
    for seed in 1..=if soak() { 100 } else { 5 } {
        let way = if seed % 2 == 0 { Way::Spooled } else { Way::Streamed };
        for with_lasting in [false, true] {
            let mut random = Random(seed);
            // Without a length nothing can be streamed.
            let is_one = |kind: &Kind| {
                with_lasting
                    || !LASTING.contains(kind) && (*kind != Kind::NoLength || way == Way::Spooled)
            };
            let faults = kinds().into_iter().filter(is_one);
            let faults = faults.map(|kind| in_crowd(kind, &mut random)).collect();
            cases.push(Case { faults, seed, way });
        }
    }
    let rows = examine_all(&cases);
    for (case, row) in cases.iter().zip(&rows) {
        assert!(row.hits > 0, "seed {}: nothing struck", case.seed);
    }
    write_table("faults-together", &table_of_crowds(&cases, &rows));
}

/// The results of a soak, for the documentation.
fn write_table(name: &str, table: &str) {
    if soak() {
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.md"));
        std::fs::write(file, table).unwrap();
    }
}

/// One row a fault: its runs together.
fn table_of_singles(rows: &[Row]) -> String {
    let mut faults: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        faults.entry(&row.case).or_default().push(row);
    }
    let mut table = String::from("| fault | requests | hits | exit | content | ledger |\n");
    table.push_str("|---|---|---|---|---|---|\n");
    for (fault, rows) in faults {
        let all = |of: &dyn Fn(&Row) -> String| {
            let texts: BTreeSet<String> = rows.iter().map(|row| of(row)).collect();
            texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
        };
        let _ = writeln!(
            table,
            "| `{fault}` | {} | {} | {} | {} | {} |",
            rows.iter().map(|row| row.requests).sum::<u64>(),
            rows.iter().map(|row| row.hits).sum::<u64>(),
            all(&|row| row.code.to_string()),
            all(&|row| row.content.clone()),
            all(&|row| row.ledger.clone()),
        );
    }
    table
}

/// All kinds at once: one line for those that leave no trace, one for all.
fn table_of_crowds(cases: &[Case], rows: &[Row]) -> String {
    let mut table = String::from("| faults | runs | requests | hits | equal | per item | exit |\n");
    table.push_str("|---|---|---|---|---|---|---|\n");
    for (name, transient) in [("all that pass", true), ("all", false)] {
        let of = |(case, _): &(&Case, &Row)| Allowed::of(case).transient() == transient;
        let rows: Vec<&Row> = cases.iter().zip(rows).filter(of).map(|(_, row)| row).collect();
        let equal = rows.iter().filter(|row| row.content == "equal").count();
        let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
        for row in &rows {
            *codes.entry(row.code).or_default() += 1;
        }
        let codes: Vec<_> = codes.iter().map(|(code, runs)| format!("{code} ({runs})")).collect();
        let _ = writeln!(
            table,
            "| {name} | {} | {} | {} | {equal} | {} | {} |",
            rows.len(),
            rows.iter().map(|row| row.requests).sum::<u64>(),
            rows.iter().map(|row| row.hits).sum::<u64>(),
            rows.len() - equal,
            codes.join(", "),
        );
    }
    table
}

/// Each kind with each other: `=` when all bytes are those of the archive without faults, `i` when
/// each item is, or the ledger or the tenant tells why not.
fn table_of_pairs(rows: &[Row]) -> String {
    let kind = |fault: &str| fault.split(':').next().unwrap_or_default().to_owned();
    let mut cells: BTreeMap<(String, String), &str> = BTreeMap::new();
    for row in rows {
        let Some((one, other)) = row.case.split_once(" + ") else { continue };
        let cell = cells.entry((kind(one), kind(other))).or_insert("=");
        if row.content != "equal" {
            *cell = "i";
        }
    }
    let names: Vec<&str> = kinds().iter().map(|kind| kind.name()).collect();
    let mut table = String::from("| |");
    for number in 1..=names.len() {
        let _ = write!(table, " {number} |");
    }
    let _ = writeln!(table, "\n|---|{}", "---|".repeat(names.len()));
    for (number, one) in names.iter().enumerate() {
        let _ = write!(table, "| {} {one} |", number + 1);
        for other in &names {
            let cell = cells.get(&((*one).to_owned(), (*other).to_owned()));
            let _ = write!(table, " {} |", cell.copied().unwrap_or_default());
        }
        table.push('\n');
    }
    table
}

/// A tenant with a file of 30 MiB, and an export that streams it. Whoever opens the file finds it
/// changed, every read of it breaks in the middle, and after `spared` reads the address has expired
/// when it is used again: the next one leads to another version.
struct Busy {
    tenant: Tenant,
    id: String,
}

impl Busy {
    fn new(spared: usize, versions: &str) -> Self {
        let tenant = Tenant::start(Options {
            users: 1,
            special_users: false,
            mails: 8,
            files: 12,
            big_file: Some(30 << 20),
            ..Options::default()
        });
        let files = tenant.simulator.tenant().files(OWNER).unwrap();
        let file = files.iter().max_by_key(|file| file.size).unwrap();
        let (id, unique) = (file.id.clone(), file.etag[2..38].to_lowercase());
        let faults = [
            format!("restless:versions={versions},match=/versions"),
            format!("change:rate=1,match={id}/content"),
            format!("truncate:rate=1,times=12,match={unique}"),
            format!("url-expired:times=1,after={spared},match={unique}"),
        ];
        tenant.simulator.set_faults(faults.iter().map(|fault| fault.parse().unwrap()).collect());
        Self { tenant, id }
    }

    fn export(&self, flags: &[&str]) -> Run {
        let arguments = ["--progress", "none", "--spool-limit", "1MiB"];
        self.tenant.export(&[&arguments[..], flags].concat())
    }

    /// All versions the file has had.
    fn versions(&self) -> Vec<Vec<u8>> {
        version_bytes(&self.tenant, &self.id, 0)
    }
}

/// The archive of the same tenant when nobody touches the file.
fn calm() -> Archive {
    let busy = Busy::new(0, "kept");
    busy.tenant.simulator.set_faults(Vec::new());
    Archive::new(&busy.export(&[]).expect(0).stdout)
}

/// The large file: the only member of that size.
fn largest(archive: &Archive) -> &Member {
    archive.members.iter().max_by_key(|member| member.content.len()).unwrap()
}

/// All members but one are those of another archive, and in the same order.
#[track_caller]
fn assert_same_but(archive: &Archive, other: &Archive, path: &str) {
    let rest = |archive: &Archive| -> Vec<(String, String)> {
        let kept = |member: &&Member| member.path != path && !member.path.starts_with(".tar365/");
        let one = |member: &Member| (member.path.clone(), sha256(&member.content));
        archive.members.iter().filter(kept).map(one).collect()
    };
    assert_eq!(rest(archive), rest(other));
}

#[test]
fn a_large_file_that_changes_on_every_read_is_one_whole_version() {
    let calm = calm();
    let mut mixed = Vec::new();
    for spared in 0..8 {
        let busy = Busy::new(spared, "kept");
        let run = busy.export(&[]);
        run_with(tar365(&["verify", "-"]), &run.stdout).expect(0);
        let archive = Archive::new(&run.stdout);
        let file = largest(&archive);
        assert_same_but(&archive, &calm, &file.path);
        let versions = busy.versions();
        assert!(versions.len() > 1, "after {spared} reads: the file never changed");
        if run.code != 0 || !versions.contains(&file.content) || run.stderr.contains("1 damaged") {
            mixed.push(format!("after {spared} reads: {}", run.stderr.trim()));
        }
    }
    assert!(mixed.is_empty(), "not one whole version:\n{}", mixed.join("\n"));
}

#[test]
fn a_large_file_whose_version_is_gone_costs_that_file_only() {
    // When the address expires under a read that counts: how often the file is opened before is
    // the exporter's own business.
    let torn = |spared: &usize| Busy::new(*spared, "gone").export(&[]).stderr.contains("1 damaged");
    let spared = (0..8).find(torn).expect("no read of the large file ever breaks");
    // One damaged file is tolerated; --strict tolerates nothing (design 6).
    Busy::new(spared, "gone").export(&["--strict"]).expect(3);
    Busy::new(spared, "gone").export(&["--allow-partial"]).expect(0);
    let busy = Busy::new(spared, "gone");
    let run = busy.export(&[]).expect(0);
    run_with(tar365(&["verify", "-"]), &run.stdout).expect(0);

    let archive = Archive::new(&run.stdout);
    let file = largest(&archive);
    let ledger = archive.ledger();
    let damaged: Vec<_> = ledger.iter().filter(|line| text(line, "outcome") == "damaged").collect();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert_eq!(text(damaged[0], "path"), file.path);
    let manifest = json_lines(&archive.member(archive::MANIFEST_PATH).unwrap().content);
    let listed: Vec<_> = manifest.iter().filter(|line| line.get("damaged").is_some()).collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(text(listed[0], "path"), file.path);
    assert_eq!(listed[0]["size"], file.content.len());
    assert_same_but(&archive, &calm(), &file.path);

    // What came is the beginning of one version, what did not come is zeros.
    let zeros = file.content.iter().rev().take_while(|byte| **byte == 0).count();
    let came = &file.content[..file.content.len() - zeros];
    assert!(!came.is_empty() && zeros > 1 << 20, "{} of {}", came.len(), file.content.len());
    let of = |version: &Vec<u8>| version.len() == file.content.len() && version.starts_with(came);
    assert!(busy.versions().iter().any(of), "the beginning is of no version");
    refused_by_readers(&run.stdout, &file.path, file.content.len());
}

/// Readers do not hand a damaged file out as if it were whole.
fn refused_by_readers(bytes: &[u8], path: &str, size: usize) {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.tar");
    std::fs::write(&whole, bytes).unwrap();
    let whole = whole.to_str().unwrap();
    for (name, input) in [("file", whole), ("pipe", "-")] {
        let into = dir.path().join(name);
        let target = into.to_str().unwrap();
        let refused = run_with(tar365(&["extract", input, "-C", target]), bytes).expect(1);
        assert!(refused.stderr.contains(path), "{}", refused.stderr);
        assert!(refused.stderr.contains("damaged"), "{}", refused.stderr);
        assert!(!into.join(path).exists());
        let others = Archive::new(bytes).members.into_iter().filter(|m| m.path.ends_with(".eml"));
        for mail in others {
            assert_eq!(std::fs::read(into.join(&mail.path)).unwrap(), mail.content);
        }
        let into = dir.path().join(format!("{name}-damaged"));
        let target = into.to_str().unwrap();
        run_with(tar365(&["extract", input, "-C", target, "--damaged"]), bytes).expect(0);
        assert_eq!(std::fs::metadata(into.join(path)).unwrap().len(), size as u64);
        let cat = run_with(tar365(&["cat", input, path]), bytes);
        assert_ne!(cat.code, 0, "cat {input} hands a damaged file out as if it were whole");
        assert!(cat.stderr.contains("damaged"), "{}", cat.stderr);
    }
}
