//! The flags of `plan`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Connection, SelectionArgs, ShardArgs};

pub(super) const PLAN_EXAMPLES: &str = "\
EXAMPLES
  tar365 plan
  tar365 plan --sample 500 --licences 12000
  tar365 plan --service onedrive --user 'alice@*' --exact --json

EXIT STATUS
  0    the estimate is on standard output
  2    wrong use or configuration, also a selection that matches no owner
  75   service unreachable or throttled for too long
  77   credentials or permissions refused, or a service is refused for every owner";

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) shard: ShardArgs,
    /// Ask so many owners only, and take them for all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sample: Option<u64>,
    /// Look at all files, mails, events, contacts, tasks and posts, instead of some of each owner's.
    #[arg(long)]
    pub(crate) exact: bool,
    /// Also the recoverable items of each mailbox.
    #[arg(long)]
    pub(crate) include_recoverable: bool,
    /// Requests in flight, now and in the export.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// How long a request is assumed to take.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = humantime::parse_duration)]
    pub(crate) latency: Duration,
    /// One JSON document.
    #[arg(long)]
    pub(crate) json: bool,
    /// Directory for temporary files [default: $TMPDIR, else /var/tmp].
    #[arg(long, env = "TAR365_SPOOL_DIR", value_name = "DIR")]
    pub(crate) spool_dir: Option<PathBuf>,
}
