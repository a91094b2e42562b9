//! `verify`: prove an archive.

use archive::verify::{Report, verify};
use serde_json::json;

use crate::cli::Verify;
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::terminal::Data;

pub(super) fn run(args: &Verify) -> Result<Code, Failure> {
    let spool_dir = args.spool_dir.clone().unwrap_or_else(exporter::default_spool_dir);
    let input = Input::open(&args.archive)?.into_stream();
    let report = verify(input, &spool_dir, &mut |_| {})?;
    let mut data = Data::new();
    if args.json {
        data.line(&json(&report).to_string())?;
    } else {
        for line in text(&report) {
            data.line(&line)?;
        }
    }
    data.finish()?;
    if report.is_proven() {
        return Ok(Code::Success);
    }
    let failure =
        Failure::new(Code::Fatal, format!("the archive is bad: {} problems", report.problem_count));
    Err(match report.seal {
        None => failure.hint("an archive without its seal comes from an export that did not end well: take an earlier one"),
        Some(_) => failure,
    })
}

fn text(report: &Report) -> Vec<String> {
    let mut lines: Vec<String> = report
        .problems
        .iter()
        .map(|problem| format!("bad   {}: {}", problem.place, problem.what))
        .collect();
    let more = report.problem_count.saturating_sub(report.problems.len() as u64);
    if more > 0 {
        lines.push(format!("bad   ... and {more} more"));
    }
    if let Some(seal) = &report.seal {
        lines.push(format!(
            "{}    {} members, {} items, {} bytes; export {}: {} skipped, {} failed, {} converted, {} damaged",
            if report.is_proven() { "ok" } else { "  " },
            report.members,
            seal.items,
            report.bytes,
            outcome(report),
            seal.skipped,
            seal.failed,
            seal.converted,
            seal.damaged
        ));
    }
    lines
}

fn outcome(report: &Report) -> serde_json::Value {
    report
        .seal
        .as_ref()
        .and_then(|seal| serde_json::to_value(seal.outcome).ok())
        .unwrap_or_default()
}

fn json(report: &Report) -> serde_json::Value {
    json!({
        "proven": report.is_proven(),
        "members": report.members,
        "bytes": report.bytes,
        "seal": report.seal.as_ref().and_then(|seal| serde_json::to_value(seal).ok()),
        "problem_count": report.problem_count,
        "problems": report
            .problems
            .iter()
            .map(|problem| json!({ "place": problem.place, "what": problem.what }))
            .collect::<Vec<_>>(),
    })
}

/// As [`run`], for the demo.
#[cfg(feature = "demo")]
pub(super) fn summary(report: &Report) -> String {
    text(report).join("\n")
}
