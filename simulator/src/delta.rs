//! What delta tokens say. Clients must not look inside; nobody else need.

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::error::Refusal;
use crate::faults::Kind;
use crate::page;
use crate::server::World;

/// A place in the rounds of a message delta.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MailToken {
    /// The mailbox's user id and the folder's number: a token is good for nothing else.
    pub(crate) user: String,
    pub(crate) folder: u32,
    pub(crate) round: Round,
    /// Options are baked in.
    pub(crate) select: Option<String>,
    pub(crate) expand: Option<String>,
    pub(crate) filter: Option<String>,
    /// Rows still allowed by a `$top`, which caps the round as a whole.
    pub(crate) left: Option<usize>,
}

/// Where in a round.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Round {
    /// Everything, beyond key `after`; changes count from `seq`.
    First { after: Option<u64>, seq: u64 },
    /// Changes after `since` up to `until`, beyond change `from`.
    Later { since: u64, from: u64, until: Option<u64> },
}

/// A place in the rounds of a folder delta.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FolderToken {
    pub(crate) user: String,
    /// `None`: everything.
    pub(crate) since: Option<u64>,
    pub(crate) skip: usize,
    pub(crate) seq: Option<u64>,
    pub(crate) select: Option<String>,
}

/// A place in the rounds of a drive delta.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DriveToken {
    pub(crate) drive: String,
    /// `None`: everything.
    pub(crate) since: Option<u64>,
    pub(crate) skip: usize,
    /// The round ends here; unset until it begins.
    pub(crate) until: Option<u64>,
    /// Also whatever was modified since then (Unix seconds).
    pub(crate) newer: Option<i64>,
    pub(crate) top: Option<usize>,
    pub(crate) select: Option<String>,
}

/// The token of a message or folder delta request, if it has one.
pub(crate) fn outlook_token<T: serde::de::DeserializeOwned>(
    world: &World,
    call: &Call,
) -> Result<Option<T>, Refusal> {
    let raw = call.raw_option("skiptoken").or(call.raw_option("deltatoken"));
    let Some(raw) = raw else { return Ok(None) };
    if world.faults.strikes(Kind::DeltaGone, &call.line(), &call.path).is_some() {
        return Err(Refusal::new(
            410,
            "SyncStateNotFound",
            "The sync state generation is not found; try full sync.",
        ));
    }
    page::open(raw).map(Some).map_err(|_| {
        Refusal::new(400, "SyncStateInvalid", "The sync state is invalid or badly formed.")
    })
}
