//! The fault matrix of the write side: whatever the service does, nothing is made twice, nothing
//! is lost without being named, no half message is left behind, the exit code says how it went,
//! and a run without faults completes what is missing to the very state that no fault leads to.
//!
//! `TAR365_SOAK=1` runs every fault at every rate, 400 pairs of faults, and all together with 100
//! seeds instead of a sample, and writes the tables of `doc/faults.md` into `target/tmp`.

mod ground;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;
use simulator::{Fault, Kind, Options, Record};

pub use ground::{Place, Random, State, UPN, USER, calm, empty, source, state};

use crate::harness::Run;
use crate::soak::{soak, write_table};

/// Runs under way at a time: they wait more than they compute.
const AT_ONCE: usize = 24;
/// One run of the matrix.
#[derive(Debug, Clone)]
struct Case {
    faults: Vec<String>,
    seed: u64,
}

/// What came of it, for the table.
struct Row {
    case: String,
    code: i32,
    requests: u64,
    hits: u64,
    /// Items made; items that failed, by cause.
    made: u64,
    causes: String,
}

impl Case {
    fn has(&self, kind: Kind) -> bool {
        self.faults.iter().any(|fault| fault.parse::<Fault>().unwrap().kind == kind)
    }

    /// Only what a client can wait or ask its way out of.
    fn transient(&self) -> bool {
        // Three sessions are tried.
        let never = |fault: &String| fault.starts_with("session-lost:rate");
        !REFUSALS.iter().chain(&TAMPERING).any(|kind| self.has(*kind))
            && !self.faults.iter().any(never)
    }
}

/// What costs the item that it strikes.
const REFUSALS: [Kind; 3] = [Kind::Quota, Kind::TooLarge, Kind::Conflict];
/// They change or take away what was made, as somebody else might, or lie about it: what is told
/// wrong sizes can't be checked.
const TAMPERING: [Kind; 5] = [Kind::Vanish, Kind::Change, Kind::Move, Kind::Corrupt, Kind::SizeLie];

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

/// Imports under faults, then without, and holds both against the import without faults.
fn examine(case: &Case) -> Result<Row, String> {
    let faults = case.faults.iter().map(|fault| fault.parse().unwrap()).collect();
    let place = Place::new(Options { faults, fault_seed: case.seed, ..empty() });
    let done = place.import("journal", &[]);
    let mut findings = Findings::default();
    log(case, &place, &mut findings);
    let log = place.tenant.simulator.log().counts();
    place.tenant.simulator.set_faults(Vec::new());
    let report = place.report();
    let summary = &report["summary"];
    let mut causes = String::new();
    for (cause, count) in summary["causes"].as_object().into_iter().flatten() {
        let _ = write!(causes, "{}{count} {cause}", if causes.is_empty() { "" } else { ", " });
    }
    let row = Row {
        case: case.faults.join(" + "),
        code: done.code,
        requests: log.requests,
        hits: log.by_fault.values().sum(),
        made: summary["created"].as_u64().unwrap_or_default(),
        causes,
    };
    outcome(case, &done, summary, &state(&place.tenant), &mut findings);

    // Whoever comes with the journal, or without, finds what is there and makes what is not.
    let journal = if case.seed.is_multiple_of(2) { "journal" } else { "another" };
    let again = place.import(journal, &[]);
    // What was changed since is somebody's own.
    let codes: &[i32] = if case.has(Kind::Change) { &[0, 3] } else { &[0] };
    findings.check(codes.contains(&again.code), || {
        format!("{journal}: exit code {}: {}", again.code, again.stderr)
    });
    if !(case.has(Kind::Change) || case.has(Kind::SizeLie)) {
        let difference = state(&place.tenant).difference(calm());
        findings.check(difference.is_none(), || {
            format!("completed with {journal}: {}", difference.unwrap_or_default())
        });
    }
    if findings.0.is_empty() {
        return Ok(row);
    }
    findings.0.truncate(8);
    let name = format!("{} (seed {})", case.faults.join(" + "), case.seed);
    let told = done.stderr.lines().filter(|line| !line.contains("not restored"));
    let told: Vec<&str> = told.collect();
    Err(format!("{name}:\n  {}\n  {}", findings.0.join("\n  "), told.join("\n  ")))
}

/// What the service saw: no impatience, no token for strangers, no mail to anybody.
fn log(case: &Case, place: &Place, findings: &mut Findings) {
    let simulator = &place.tenant.simulator;
    let counts = simulator.log().counts();
    let leaked = counts.leaked_authorization;
    for (repeated, after, told) in impatience(&simulator.log().records()) {
        findings.0.push(format!("{repeated} again after {after} ms, was told {told}"));
    }
    // What is under way when a scope closes meets the closed door: each connection once.
    let closings: u64 =
        ["throttle", "unavailable"].iter().filter_map(|kind| counts.by_fault.get(*kind)).sum();
    let during = counts.during_retry_after;
    findings.check(during <= closings * 8, || format!("{during} requests during Retry-After"));
    findings.check(leaked == 0, || "a token went to another host".to_owned());
    let closes = case.has(Kind::Throttle) || case.has(Kind::Unavailable);
    findings
        .check(closes || counts.provoked == 0, || format!("{} refusals provoked", counts.provoked));
    let most = simulator.log().max_concurrent(None);
    findings.check(most <= 4, || format!("{most} requests at once to one mailbox"));
    let mailed = simulator.tenant().mailed();
    findings.check(mailed.is_empty(), || format!("somebody was mailed: {mailed:?}"));
}

/// Requests that came again sooner than they had been told: which, after how many milliseconds,
/// and after how many they should have.
pub fn impatience(records: &[Record]) -> Vec<(String, u64, u64)> {
    let mut told: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut all = Vec::new();
    // Requests that differ in their bodies, or in what the log hides, can't be told apart.
    let is_known = |r: &&Record| {
        let of_item = r.path.contains("/messages/") || r.path.contains("/items/");
        of_item && r.method != "POST" && !r.query.contains("(hidden)")
    };
    for record in records.iter().filter(is_known) {
        let line = format!("{} {}?{}", record.method, record.path, record.query);
        if let Some((at, wait)) = told.remove(&line)
            && record.at < at + wait
        {
            all.push((line.clone(), record.at - at, wait));
        }
        if matches!(record.fault.as_deref(), Some("throttle" | "unavailable")) {
            // The least that a case of the matrix tells.
            told.insert(line, (record.at, 50));
        }
    }
    all
}

/// Each item is there once and whole, or named as failed; the exit code says which it is.
fn outcome(case: &Case, done: &Run, summary: &Value, is: &State, findings: &mut Findings) {
    let calm = calm();
    findings.check(!done.stderr.contains("panicked"), || "a panic".to_owned());
    let failed: BTreeSet<&str> = summary["failures"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|failure| failure[0].as_str())
        .collect();
    let codes: &[i32] = if case.transient() { &[0] } else { &[0, 3] };
    findings.check(codes.contains(&done.code), || format!("exit code {}", done.code));
    let expected = if failed.is_empty() { 0 } else { 3 };
    findings.check(done.code == expected, || {
        format!("exit code {} with {} failed", done.code, failed.len())
    });
    if !matches!(done.code, 0 | 3) {
        // It ended early and said so: what counts is that the next run completes it.
        return;
    }
    findings.check(is.drafts.is_empty(), || format!("drafts: {:?}", is.drafts));
    // A message that the service can't even remove stays, marked as half, named as failed.
    if case.has(Kind::Corrupt) {
        return;
    }
    let halves: Vec<_> = is.marks.iter().filter(|mark| mark.starts_with("partial")).collect();
    findings.check(halves.is_empty(), || format!("half messages: {halves:?}"));
    // What another than the service's own hand changed, or what it lies about, can't be compared.
    if case.has(Kind::Change) || case.has(Kind::SizeLie) {
        return;
    }
    if done.code == 0 && !case.has(Kind::Vanish) {
        // A folder that holds nothing is no item: that it could not be made is told.
        let told = done.stderr.contains("not made");
        let folders = if told { calm.folders.clone() } else { is.folders.clone() };
        let difference = State { folders, ..is.clone() }.difference(calm);
        findings.check(difference.is_none(), || difference.unwrap_or_default());
        return;
    }
    // What is there is what should be there, and once.
    for (ours, theirs) in
        [(&is.mails, &calm.mails), (&is.files, &calm.files), (&is.marks, &calm.marks)]
    {
        let mut left: Vec<&String> = theirs.iter().collect();
        for one in ours {
            match left.iter().position(|other| *other == one) {
                Some(at) => drop(left.swap_remove(at)),
                None => findings.0.push(format!("twice, or not as it should be: {one}")),
            }
        }
    }
    let there = is.mails.len() + is.files.len();
    let lost = calm.mails.len() + calm.files.len() - there.min(calm.mails.len() + calm.files.len());
    findings.check(lost <= failed.len() || case.has(Kind::Vanish), || {
        format!("{lost} items are not there, {} are named as failed", failed.len())
    });
    let known = source().paths();
    for path in failed {
        findings.check(known.contains(path), || format!("failed, but in no archive: {path}"));
    }
}

/// Examines all cases, a few at a time. Fails with everything that any of them found.
#[track_caller]
fn examine_all(cases: &[Case]) -> Vec<Row> {
    calm();
    crate::harness::examine_all(cases, AT_ONCE, examine)
}

/// How each fault is tried alone. The first stands for it in CI.
fn alone(kind: Kind) -> Vec<String> {
    let name = kind.name();
    let parameters: &[&str] = match kind {
        Kind::Throttle | Kind::Unavailable => &["rate=0.1,seconds=0.2", "seconds=0.05"],
        Kind::ThrottleBare | Kind::ServerError | Kind::Empty503 | Kind::Timeout => {
            &["rate=0.06", "match=POST,rate=0.1", "match=PUT,rate=0.3"]
        }
        Kind::HtmlError | Kind::Reset => &["rate=0.15", "match=POST", "match=PUT", "match=GET"],
        Kind::Truncate => &["rate=0.2", "match=POST", "match=PUT", "match=GET"],
        // A token refused twice in a row is a credential refused (the service's own rule).
        Kind::TokenExpiry => &["after=20", "match=attachments", "match=createUploadSession"],
        Kind::ResetAfter | Kind::ErrorAfter => &[
            "rate=0.15",
            "match=/messages",
            "match=attachments",
            "match=PUT",
            "match=Folders",
            "match=/children",
            "match=PATCH",
        ],
        Kind::SessionLost => &["", "rate=0.3", "rate=1,times=2", "rate=1"],
        Kind::Quota | Kind::TooLarge => &[
            "rate=0.15",
            "rate=1",
            "match=attachments,rate=0.5",
            "match=PUT",
            "match=children",
            "match=createUploadSession",
        ],
        Kind::Conflict => &[
            "rate=0.15",
            "rate=0.5",
            "match=Folders",
            "match=children",
            "match=createUploadSession",
            "match=PUT",
        ],
        Kind::Vanish | Kind::Change => &["rate=0.1", "rate=0.5"],
        Kind::Corrupt => &["rate=0.2"],
        Kind::SizeLie => &["rate=1"],
        _ => &["", "rate=0.5"],
    };
    let full = |parameters: &&str| match parameters.is_empty() {
        true => name.to_owned(),
        false => format!("{name}:{parameters}"),
    };
    parameters.iter().map(full).collect()
}

/// Kinds that only what an export asks for can meet.
const OF_READS: [Kind; 11] = [
    Kind::DeltaGone,
    // A list that can't be read costs its items: nothing is made that may be there.
    Kind::Missing,
    Kind::Repeat,
    Kind::Mime,
    Kind::Malware,
    Kind::UrlExpired,
    Kind::UnstableMime,
    Kind::Restless,
    Kind::NoLength,
    Kind::RangeIgnored,
    Kind::Move,
];

fn kinds() -> Vec<Kind> {
    Kind::ALL.iter().copied().filter(|kind| !OF_READS.contains(kind)).collect()
}

/// Faults that need not show in the log.
const UNLOGGED: [Kind; 5] =
    [Kind::Reorder, Kind::SizeLie, Kind::Vanish, Kind::Change, Kind::Corrupt];

/// How a fault is tried together with others.
fn in_pair(kind: Kind, random: &mut Random) -> String {
    let name = kind.name();
    match kind {
        Kind::Throttle | Kind::Unavailable => format!("{name}:rate=0.06,seconds=0.2"),
        Kind::ThrottleBare | Kind::Timeout | Kind::ServerError | Kind::Empty503 => {
            format!("{name}:rate=0.04")
        }
        Kind::TokenExpiry => format!("{name}:after={}", 5 + random.below(60)),
        Kind::SessionLost => name.to_owned(),
        _ => format!("{name}:rate=0.{:02}", 3 + random.below(10)),
    }
}

/// Pairs of different kinds, now and then three of them.
fn pairs(count: usize, seed: u64) -> Vec<Case> {
    let mut random = Random(seed);
    let kinds = kinds();
    let draw = |random: &mut Random| kinds[random.below(kinds.len() as u64) as usize];
    (0..count)
        .map(|number| {
            let wanted = if random.below(5) == 0 { 3 } else { 2 };
            let mut chosen = vec![draw(&mut random)];
            while chosen.len() < wanted {
                let kind = draw(&mut random);
                if !chosen.contains(&kind) {
                    chosen.push(kind);
                }
            }
            let faults = chosen.iter().map(|kind| in_pair(*kind, &mut random)).collect();
            Case { faults, seed: number as u64 }
        })
        .collect()
}

#[test]
fn each_fault_alone() {
    let mut cases = Vec::new();
    for kind in kinds() {
        for (number, fault) in alone(kind).into_iter().enumerate() {
            // In a soak with and without the journal.
            let seeds = if soak() { 1..=4 } else { 1..=1 };
            let chosen = soak() || number < 2 || Kind::OF_WRITES.contains(&kind);
            for seed in seeds.filter(|_| chosen) {
                cases.push(Case { faults: vec![fault.clone()], seed: seed + number as u64 });
            }
        }
    }
    let rows = examine_all(&cases);
    // A fault that never strikes proves nothing.
    for kind in kinds().into_iter().filter(|kind| !UNLOGGED.contains(kind)) {
        let of = |row: &&Row| row.case.split(':').next() == Some(kind.name());
        let hits: u64 = rows.iter().filter(of).map(|row| row.hits).sum();
        assert!(hits > 0, "{} never struck", kind.name());
    }
    write_table("import-faults", &table(&rows));
}

#[test]
fn faults_in_pairs() {
    let rows = examine_all(&pairs(if soak() { 400 } else { 16 }, 365));
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    for row in &rows {
        *codes.entry(row.code).or_default() += 1;
    }
    write_table("import-fault-pairs", &format!("{} pairs, by exit code: {codes:?}\n", rows.len()));
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
        Kind::TokenExpiry => format!("{name}:after={}", 5 + random.below(100)),
        Kind::SessionLost => name.to_owned(),
        Kind::SizeLie | Kind::Reorder => share(50, 400),
        _ => share(10, 40),
    }
}

/// Everything at once: with each seed all that a client can get over, which must cost no item;
/// the refusals as well, which cost what is named; and all there is.
#[test]
fn faults_all_together() {
    /// Their retries don't wait long.
    const QUICK: [u64; 3] = [1, 15, 67];
    let mut cases = Vec::new();
    for seed in if soak() { (1..=100).collect() } else { QUICK.to_vec() } {
        for without in [&[&REFUSALS[..], &TAMPERING].concat()[..], &TAMPERING, &[]] {
            let mut random = Random(seed);
            let kinds = kinds().into_iter().filter(|kind| !without.contains(kind));
            let faults = kinds.map(|kind| in_crowd(kind, &mut random)).collect();
            cases.push(Case { faults, seed });
        }
    }
    let rows = examine_all(&cases);
    // A mailbox that is full ends a run early.
    for (case, row) in cases.iter().zip(&rows) {
        assert!(row.hits > 0, "seed {}: nothing struck", case.seed);
    }
    write_table("import-faults-together", &table_of_crowds(&cases, rows));
}

/// All kinds at once: a row for each of the three sets, with all causes that any run named.
fn table_of_crowds(cases: &[Case], rows: Vec<Row>) -> String {
    let name = |case: &Case| match (case.transient(), case.has(Kind::Change)) {
        (true, _) => "all that pass",
        (_, false) => "refusals as well",
        (_, true) => "all",
    };
    let mut causes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (case, row) in cases.iter().zip(&rows) {
        let of_row = row.causes.split(", ").filter_map(|cause| cause.split_once(' '));
        causes.entry(name(case)).or_default().extend(of_row.map(|(_, cause)| cause.to_owned()));
    }
    let named = cases.iter().zip(rows).map(|(case, row)| {
        let all: Vec<_> = causes[name(case)].iter().cloned().collect();
        Row { case: name(case).to_owned(), causes: all.join(", "), ..row }
    });
    table(&named.collect::<Vec<_>>())
}

/// One row a fault: its runs together.
fn table(rows: &[Row]) -> String {
    let mut faults: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        faults.entry(&row.case).or_default().push(row);
    }
    let mut table = String::from("| fault | runs | requests | hits | exit | made | failed |\n");
    table.push_str("|---|---|---|---|---|---|---|\n");
    for (fault, rows) in faults {
        let all = |of: &dyn Fn(&Row) -> String| {
            let texts: BTreeSet<String> = rows.iter().map(|row| of(row)).collect();
            texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
        };
        let made = rows.iter().map(|row| row.made);
        let (least, most) = (made.clone().min().unwrap_or(0), made.max().unwrap_or(0));
        let made = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let _ = writeln!(
            table,
            "| `{fault}` | {} | {} | {} | {} | {made} | {} |",
            rows.len(),
            rows.iter().map(|row| row.requests).sum::<u64>(),
            rows.iter().map(|row| row.hits).sum::<u64>(),
            all(&|row| row.code.to_string()),
            all(&|row| row.causes.clone()),
        );
    }
    table
}
