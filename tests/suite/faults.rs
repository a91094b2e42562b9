//! The fault matrix: whatever the service does, the archive is proven, has the right bytes or a
//! line in the ledger, nothing is lost, nothing is there twice, and the exit code says so.
//!
//! `TAR365_SOAK=1` runs every pair of faults instead of a sample, with several seeds, and all
//! together with 100 seeds, and writes the tables of `doc/faults.md` into `target/tmp`.

pub mod busy;
mod compare;
mod listings;
mod tables;

use std::sync::OnceLock;

use simulator::{Kind, Options};

use compare::{LASTING, examine};
use tables::{table_of_crowds, table_of_pairs, table_of_singles};

use crate::harness::{Archive, Run, Tenant};
use crate::import_faults::Random;
use crate::soak::{soak, write_table};

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
        Kind::Throttle | Kind::Unavailable => &["seconds=0.1", "rate=0.1,seconds=0.3"],
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
        // What is missing again and again is a failed listing: see `listings`.
        Kind::Missing => &["rate=0.05", "match=childFolders"],
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
        Kind::Missing => format!("{name}:rate=0.02"),
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
        Kind::Missing => share(2, 10),
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
