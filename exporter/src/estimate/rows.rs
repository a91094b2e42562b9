//! What an estimate looks at: whole listings of next to nothing a row, and averages of a part.

use std::io::{self, Write};

use graph::{ErrorKind, Graph, Prefer, Scope};
use serde_json::Value;

use super::Depth;
use crate::error::is_fatal;

/// Items that are looked at one by one, where their average stands for the rest.
const SAMPLE: u64 = 10;

/// Shows all rows of a listing. The number of its pages, and whether it could be read to its end.
///
/// # Errors
/// If nothing of it can be had, or if that would end an export.
pub(crate) async fn all_rows(
    graph: &Graph,
    scope: &Scope,
    path: &str,
    prefer: Prefer,
    mut take: impl FnMut(Value),
) -> Result<(u64, bool), graph::Error> {
    let mut pages = graph.pages(scope.clone(), path, prefer);
    let mut count = 0;
    loop {
        match pages.next().await {
            Ok(Some(page)) => {
                count += 1;
                for item in &page.items {
                    take(item.parse()?);
                }
            }
            Ok(None) => return Ok((count, true)),
            Err(error) if count == 0 || is_fatal(&error) => return Err(error),
            Err(_) => return Ok((count, false)),
        }
    }
}

/// The rows of the first of these paths that the service does not refuse as a bad request: how many
/// rows a page may have, and what may be asked for with them, is not documented of all listings
/// (FACTS 3.2).
///
/// # Errors
/// As [`all_rows`], of the last one.
pub(crate) async fn rows_of_any(
    graph: &Graph,
    scope: &Scope,
    paths: &[String],
    mut take: impl FnMut(Value),
) -> Result<(u64, bool), graph::Error> {
    for (at, path) in paths.iter().enumerate() {
        let is_last = at + 1 == paths.len();
        match all_rows(graph, scope, path, Prefer::none(), &mut take).await {
            Err(error) if !is_last && is_bad_request(&error) => {}
            listed => return listed,
        }
    }
    Ok((0, true))
}

/// What was asked for is not understood, or not here.
pub(crate) fn is_bad_request(error: &graph::Error) -> bool {
    matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::Unsupported)
}

/// An average of some that stands for all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    of: u64,
    sum: u64,
}

impl Sample {
    /// How many of a kind are looked at.
    pub(crate) const fn size(depth: Depth) -> u64 {
        match depth {
            Depth::Quick => 0,
            Depth::Sampled => SAMPLE,
            Depth::Exact => u64::MAX,
        }
    }

    pub(crate) const fn add(&mut self, value: u64) {
        self.of += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// So many were looked at.
    pub(crate) const fn of(&self) -> u64 {
        self.of
    }

    /// The sum over `all`; none if nothing was looked at.
    pub(crate) fn total(&self, all: u64) -> Option<u64> {
        let sum = (u128::from(self.sum) * u128::from(all)).checked_div(u128::from(self.of))?;
        Some(u64::try_from(sum).unwrap_or(u64::MAX))
    }
}

/// Counts what is written.
#[derive(Debug, Default)]
pub(crate) struct Counter(pub(crate) u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
