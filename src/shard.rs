//! `--shard`, `--shards`: the part of the tenant that is this process's.

use std::env;
use std::ffi::OsStr;

use archive::Shard;

use crate::cli::ShardArgs;
use crate::exit::Failure;

/// Where a scheduler writes the number of the process.
const KUBERNETES: &str = "JOB_COMPLETION_INDEX";
const SLURM: &str = "SLURM_ARRAY_TASK_ID";
/// The highest number of a job array of Slurm.
const SLURM_MAX: &str = "SLURM_ARRAY_TASK_MAX";

/// The shard that is asked for; none if the whole tenant is.
///
/// # Errors
/// If only the number of shards is known, or what is known does not fit together: another shard
/// than the one meant, or the whole tenant, would not be noticed for long.
pub(crate) fn chosen(args: &ShardArgs) -> Result<Option<Shard>, Failure> {
    match (args.shard, args.shards) {
        (None, None) => Ok(None),
        (Some(shard), None) => Ok(Some(shard)),
        (Some(shard), Some(of)) if shard.of() == of => Ok(Some(shard)),
        (Some(shard), Some(of)) => {
            Err(Failure::usage(format!("--shard {shard} is none of --shards {of}"))
                .hint("TAR365_SHARD and TAR365_SHARDS of the environment count, too"))
        }
        (None, Some(of)) => scheduled(of).map(Some),
    }
}

/// The shard whose number the scheduler gave us.
fn scheduled(of: u32) -> Result<Shard, Failure> {
    let none = || {
        Failure::usage(format!("--shards {of} does not say which of them this is"))
            .hint(format!("{KUBERNETES} or {SLURM} would; --shard I/{of} says it, too"))
    };
    let (name, index) = match (number(KUBERNETES)?, number(SLURM)?) {
        (Some(index), None) => (KUBERNETES, index),
        (None, Some(index)) => (SLURM, index),
        (Some(index), Some(other)) if index == other => (KUBERNETES, index),
        (Some(index), Some(other)) => {
            let what = format!("{KUBERNETES} is {index}, but {SLURM} is {other}");
            return Err(Failure::usage(what).hint(format!("--shard I/{of} decides")));
        }
        (None, None) => return Err(none()),
    };
    // An array that begins at 1 would leave shard 0 out: none of its tasks may pass.
    let highest = if name == SLURM { number(SLURM_MAX)?.unwrap_or(index) } else { index };
    let outside = || {
        let last = of - 1;
        Failure::usage(format!("{name} is {index} of at most {highest}, for shards 0 to {last}"))
            .hint(format!(
                "number the processes as the shards: --array=0-{last}, completions: {of}"
            ))
    };
    match Shard::new(index, of) {
        Ok(shard) if highest < of => Ok(shard),
        _ => Err(outside()),
    }
}

/// A number of the environment; none if it is not there or empty.
fn number(name: &str) -> Result<Option<u32>, Failure> {
    let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.to_str().filter(digits).and_then(|text| text.parse().ok());
    let bad = |value: &OsStr| Failure::usage(format!("{name} is {}, no number", value.display()));
    number.map(Some).ok_or_else(|| bad(&value))
}
