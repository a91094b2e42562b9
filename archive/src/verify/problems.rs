//! What is wrong, up to a bound.

use super::MAX_PROBLEMS;
use crate::Error;

/// Something that contradicts the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: a path, with a line number where there is one, or a place in the stream.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// The problems so far.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) list: Vec<Problem>,
    pub(super) count: u64,
}

impl Problems {
    pub(super) fn add(&mut self, place: &str, what: &str) {
        self.count += 1;
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(Problem { place: place.to_owned(), what: what.to_owned() });
        }
    }

    /// An error with all its causes.
    pub(super) fn add_error(&mut self, place: &str, error: &dyn std::error::Error) {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            what = format!("{what}: {error}");
            cause = error.source();
        }
        self.add(place, &what);
    }

    /// Turns an error about what the archive says into a problem and none; others stay errors:
    /// behind them there is nothing to read.
    pub(super) fn absorb<T>(
        &mut self,
        place: &str,
        outcome: Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(
                error @ (Error::Json { .. }
                | Error::Invalid { .. }
                | Error::Digest { .. }
                | Error::Version { .. }
                | Error::Size { .. }),
            ) => {
                self.add_error(place, &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether so much is wrong that costly searches for more are pointless.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() == MAX_PROBLEMS
    }
}
