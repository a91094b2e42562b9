//! Recurrences that Graph could have, as three readers expand what we write of them: ours, which
//! walks the days of Graph's pattern and knows nothing of RRULE, libical, and recurring-ical-events.
//!
//! `TAR365_SOAK=1` takes every pattern in every zone instead of in two.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use convert::event::{self, Series};
use serde_json::Value;

mod generate;
mod walk;

use generate::{Case, PATTERNS, ZONES};

/// What happens when, in seconds since 1970.
type Occurrences = Vec<(i64, String)>;

/// A series of which libical 3.0.16 passes over the rest of the first week: every third week,
/// weeks beginning on Saturday, DTSTART on Tuesday. By RFC 5545, 3.3.10 the Wednesday belongs to it.
const LIBICAL_SKIPS: u64 = 409;

#[test]
fn recurrences_are_what_three_readers_make_of_them() {
    let soak = std::env::var_os("TAR365_SOAK").is_some();
    let directory = tempfile::tempdir().expect("a directory");
    let mut cases = BTreeMap::new();
    for number in 0..PATTERNS {
        let zones: Vec<usize> = match soak {
            true => (0..ZONES.len()).collect(),
            // Each zone meets each kind of pattern.
            false => vec![number * 5 % 12, (number * 5 + 7 + number / 12 % 4) % 12],
        };
        for zone in zones {
            let case = Case::generate(number as u64, zone, None);
            if case.meets_a_change() {
                let noon = Case::generate(number as u64, zone, Some(12));
                cases.insert(directory.path().join(format!("{number}-{zone}-noon.ics")), noon);
            }
            cases.insert(directory.path().join(format!("{number}-{zone}.ics")), case);
        }
    }
    assert!(PATTERNS >= 500 && cases.len() >= 2 * PATTERNS);
    for (file, case) in &cases {
        std::fs::write(file, written(case)).expect("a file");
    }
    let libical = run(&mut Command::new(libical_reader(directory.path())), &cases);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recurrence/occurrences.py");
    let python = run(Command::new("python3").arg(script), &cases);
    let mut wrong = Vec::new();
    let (mut total, mut faults) = (0, 0);
    for (file, case) in &cases {
        let walked = walk::occurrences(case);
        total += walked.len();
        for (reader, found) in [("libical", &libical), ("recurring-ical-events", &python)] {
            let found = found.get(file).cloned().unwrap_or_default();
            if found == walked {
                continue;
            }
            // Where clocks change, libical 3.0.16 is at fault: of a time that is shown twice it
            // takes the second (RFC 5545, 3.3.5: the first), and having met a day without the time
            // it goes on an hour later on days that have it. The same series at noon must be right.
            if reader == "libical" && (case.meets_a_change() || case.number == LIBICAL_SKIPS) {
                faults += 1;
            } else {
                wrong.push(difference(file, case, reader, &walked, &found));
            }
        }
    }
    assert!(total > cases.len() * 10, "{total} occurrences of {} series", cases.len());
    assert!(faults < cases.len() / 10, "libical differs in {faults} of {}", cases.len());
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
}

fn written(case: &Case) -> Vec<u8> {
    let mut bytes = Vec::new();
    let series = Series {
        event: &case.master,
        exceptions: &case.exceptions,
        cancelled: &case.cancelled,
        zone: None,
    };
    event::write(&series, &mut bytes, |_| unreachable!("there are no attachments"))
        .expect("an event");
    bytes
}

fn difference(
    file: &Path,
    case: &Case,
    reader: &str,
    walked: &Occurrences,
    found: &Occurrences,
) -> String {
    let missing: Vec<_> = walked.iter().filter(|at| !found.contains(at)).take(4).collect();
    let more: Vec<_> = found.iter().filter(|at| !walked.contains(at)).take(4).collect();
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<_> = text.lines().skip_while(|line| *line != "BEGIN:VEVENT").take(8).collect();
    let recurrence: &Value = &case.master["recurrence"];
    format!(
        "{reader}, {}: missing {missing:?}, more {more:?}\n{recurrence}\n{lines:#?}",
        file.display()
    )
}

/// Compiles the program that asks libical.
fn libical_reader(directory: &Path) -> PathBuf {
    let flags = Command::new("pkg-config").args(["--cflags", "--libs", "libical"]).output();
    let flags = flags.expect("pkg-config (tests/setup installs it)");
    assert!(flags.status.success(), "libical is missing: tests/setup installs it");
    let flags = String::from_utf8(flags.stdout).expect("flags");
    let program = directory.join("occurrences");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recurrence/occurrences.c");
    let compiled = Command::new("gcc")
        .arg("-O1")
        .arg("-o")
        .arg(&program)
        .arg(source)
        .args(flags.split_whitespace())
        .status()
        .expect("gcc");
    assert!(compiled.success());
    program
}

/// The occurrences a reader prints of each file.
fn run(reader: &mut Command, files: &BTreeMap<PathBuf, Case>) -> BTreeMap<PathBuf, Occurrences> {
    let (from, to) = walk::window();
    let mut reader = reader
        .args([from.to_string(), to.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a reader (tests/setup installs them)");
    let list: String = files.keys().map(|file| format!("{}\n", file.display())).collect();
    let mut input = reader.stdin.take().expect("a pipe");
    let feeder = std::thread::spawn(move || input.write_all(list.as_bytes()));
    let output = reader.wait_with_output().expect("output");
    feeder.join().expect("a thread").expect("all is read");
    assert!(output.status.success(), "{}", output.status);
    let mut found: BTreeMap<PathBuf, Occurrences> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let mut fields = line.splitn(3, '\t');
        let mut next = || fields.next().expect("three fields");
        let file = PathBuf::from(next());
        let start = next().parse().expect("seconds");
        found.entry(file).or_default().push((start, next().to_owned()));
    }
    for occurrences in found.values_mut() {
        occurrences.sort();
    }
    found
}
