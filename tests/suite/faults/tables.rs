//! The tables of doc/faults.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::compare::Allowed;
use super::{Case, Row, kinds};

/// One row a fault: its runs together.
pub(super) fn table_of_singles(rows: &[Row]) -> String {
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
pub(super) fn table_of_crowds(cases: &[Case], rows: &[Row]) -> String {
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
pub(super) fn table_of_pairs(rows: &[Row]) -> String {
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
