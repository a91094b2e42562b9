//! `--state`: from where the next listings go on.

use std::io;
use std::path::Path;
use std::sync::Arc;

use archive::Selection;
use exporter::{State, States};

use crate::exit::{Code, Failure};
use crate::report;
use crate::terminal;

/// What the last run left; nothing if there is no such file yet.
pub(crate) fn read(
    path: Option<&Path>,
    tenant: &str,
    selection: &Selection,
) -> Result<Option<Arc<States>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let doing = format!("reading the state {}", path.display());
    let before = match std::fs::read_to_string(path) {
        Ok(text) => Some(State::from_json(&text).map_err(|error| {
            Failure::because(Code::Usage, &doing, &error)
                .hint("without the file everything is listed again: it may be removed")
        })?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::because(Code::Usage, &doing, &error)),
    };
    Ok(Some(Arc::new(States::new(before, tenant, &selection.to_json()))))
}

/// Keeps it for the next run. The archive is what counts: a state that is lost costs a listing.
pub(crate) fn write(path: &Path, states: &States) {
    if let Err(error) = report::replace_private(path, states.after().to_json().as_bytes()) {
        terminal::line(&format!("tar365: warning: writing {}: {error}", path.display()));
    }
}
