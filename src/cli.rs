//! The command line, as data: help, completions and man pages are made of it.

mod import;
mod plan;
mod plugin;
#[cfg(feature = "demo")]
mod simulate;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "demo")]
pub(crate) use import::Drill;
pub(crate) use import::{Conflict, Import, MailLayout};
pub(crate) use plan::Plan;
pub(crate) use plugin::{
    Language, PluginArgs, PluginBench, PluginBuild, PluginCheck, PluginCommand, PluginList,
    PluginNew, PluginRun, PluginSpec,
};
#[cfg(feature = "demo")]
pub(crate) use simulate::Simulate;

/// Version of the program and of the archive format it writes.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (archive format 1)");

const EXIT_STATUS: &str = "\
EXIT STATUS
  0    complete stream; what is missing is tolerated and in the ledger
  1    fatal: the stream has no seal; for readers: the archive is bad
  2    wrong use or configuration, before the first byte
  3    complete stream, but more is missing than tolerated
  74   the consumer of the stream went away
  75   service unreachable or throttled for longer than --patience: try again later
  77   credentials or permissions refused
  130  interrupted
  143  terminated";

/// Microsoft 365 as a deterministic tar, for the backup software you already trust.
#[derive(Debug, Parser)]
#[command(name = "tar365", version = VERSION, after_help = EXIT_STATUS, max_term_width = 100)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Stream a tenant as one tar to stdout, a file or a backup engine.
    #[command(after_long_help = EXPORT_EXAMPLES)]
    Export(Box<Export>),
    /// Estimate items, bytes, requests and time of an export, before the first big one.
    #[command(after_long_help = plan::PLAN_EXAMPLES)]
    Plan(Box<Plan>),
    /// Put an archive, or a selection of it, back: into the tenant, a folder, an IMAP, CalDAV or
    /// CardDAV server.
    #[command(alias = "restore", after_long_help = import::IMPORT_EXAMPLES)]
    Import(Box<Import>),
    /// Restore an archive into an embedded simulator and compare: a test that touches no tenant.
    #[cfg(feature = "demo")]
    #[command(after_long_help = import::DRILL_NOTES)]
    Drill(Box<Drill>),
    /// List what is in an archive.
    List(List),
    /// Find items of an archive by what is known of them.
    Find(Box<Find>),
    /// Write members of an archive to stdout.
    Cat(Cat),
    /// Tell what changed between two archives, or between an archive and the tenant.
    Diff(Box<Diff>),
    /// Unpack an archive, or a selection of it, into a folder.
    Extract(Extract),
    /// Prove an archive: digests, order, paths, JSON, counts, seal.
    Verify(Verify),
    /// Check credentials, permissions, reachability, clock and expiry.
    Doctor(Box<Doctor>),
    /// Write, build, try and measure plugins; list those that come with the program.
    #[command(subcommand, after_long_help = plugin::PLUGIN_EXAMPLES)]
    Plugin(PluginCommand),
    /// Run a Microsoft 365 on loopback, to try things with.
    #[cfg(feature = "demo")]
    Simulate(Box<Simulate>),
    /// The main job without a tenant: export the simulator, verify, list, restore one mail.
    #[cfg(feature = "demo")]
    Demo(Demo),
    /// Write shell completions or man pages.
    Completions(Completions),
}

const EXPORT_EXAMPLES: &str = "\
EXAMPLES
  restic backup --stdin-filename m365.tar --stdin-from-command -- tar365 export
  tar365 export --to-command 'borg import-tar /backup/repo::m365-{now} -'
  tar365 export --each 'restic backup --stdin --stdin-filename {name}.tar --tag {name}' \
    --base-command 'restic dump --tag {name} latest {name}.tar' --base-missing full
  tar365 export --service mail --user 'alice@*' --output alice.tar
  tar365 export --demo | tar t";

/// Which tenant, and as whom. Every flag has its environment variable.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tenant")]
pub(crate) struct Connection {
    /// Tenant id or one of its domains.
    #[arg(long, env = "TAR365_TENANT_ID", value_name = "ID")]
    pub(crate) tenant_id: Option<String>,
    /// Application (client) id.
    #[arg(long, env = "TAR365_CLIENT_ID", value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// File with the client secret; or put the secret itself into TAR365_CLIENT_SECRET.
    #[arg(long, env = "TAR365_CLIENT_SECRET_FILE", value_name = "FILE")]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// PEM file with certificate and private key.
    #[arg(long, env = "TAR365_CLIENT_CERTIFICATE", value_name = "FILE")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// Sign the assertion with RS256 and x5t, for authorities that do not know PS256.
    #[arg(long)]
    pub(crate) legacy_assertion: bool,
    /// File with the token of an outside issuer (workload identity federation).
    #[arg(long, env = "TAR365_FEDERATED_TOKEN_FILE", value_name = "FILE")]
    pub(crate) federated_token_file: Option<PathBuf>,
    /// Use the managed identity of this machine.
    #[arg(long)]
    pub(crate) managed_identity: bool,
    /// Address of the identity service, for --managed-identity on something like Azure.
    #[arg(long, env = "TAR365_IMDS_URL", value_name = "URL", hide = true)]
    pub(crate) imds_url: Option<url::Url>,
    /// Sign in as a person: shows a code to enter in a browser. Sees what that person sees.
    #[arg(long)]
    pub(crate) device_code: bool,
    /// The cloud the tenant is in.
    #[arg(long, env = "TAR365_CLOUD", value_enum, default_value_t = Cloud::Global)]
    pub(crate) cloud: Cloud,
    /// Service root without /v1.0, for proxies and tests.
    #[arg(long, env = "TAR365_GRAPH_URL", value_name = "URL")]
    pub(crate) graph_url: Option<url::Url>,
    /// Authority host, for proxies and tests.
    #[arg(long, env = "TAR365_LOGIN_URL", value_name = "URL")]
    pub(crate) login_url: Option<url::Url>,
    /// PEM file with certificates to trust besides the system's.
    #[arg(long, env = "TAR365_CA_CERTIFICATE", value_name = "FILE")]
    pub(crate) ca_certificate: Option<PathBuf>,
    /// How to introduce ourselves; undecorated traffic is throttled first.
    #[arg(long, env = "TAR365_USER_AGENT", value_name = "TEXT")]
    pub(crate) user_agent: Option<String>,
    /// Use the embedded simulator instead of a tenant.
    #[cfg(feature = "demo")]
    #[arg(long)]
    pub(crate) demo: bool,
    /// How long a service may be unreachable or throttle us before we give up [default: 1h].
    #[arg(long, env = "TAR365_PATIENCE", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) patience: Option<Duration>,
    /// How to keep the documented limits.
    #[arg(long, env = "TAR365_PACE", value_enum, default_value_t = Pace::Adaptive)]
    pub(crate) pace: Pace,
    /// Licences of the tenant: they choose among the documented limits of SharePoint and the
    /// directory [default: the smallest tenant's limits].
    #[arg(long, env = "TAR365_LICENCES", value_name = "N", alias = "licenses")]
    pub(crate) licences: Option<u64>,
    /// Use only this part of each limit, for the rest is for other tools: 80% [default: 99%].
    #[arg(long, env = "TAR365_THROTTLE_SHARE", value_name = "N%", value_parser = parse_part)]
    pub(crate) throttle_share: Option<f64>,
    /// Directory in which the processes of this host share the tenant-wide limits [default:
    /// $XDG_RUNTIME_DIR/tar365, else one of this user's among the temporary files; none for a
    /// service on loopback].
    #[arg(long, env = "TAR365_PACE_DIR", value_name = "DIR")]
    pub(crate) pace_dir: Option<PathBuf>,
    /// Another limit for a scope: mailbox=10000/600, mailbox-upload=150000000/300,
    /// sharepoint=1250/60, directory=3500/10, directory-write=3000/150.
    #[arg(long, env = "TAR365_BUDGET", value_name = "SCOPE=N/SECONDS", value_delimiter = ',')]
    pub(crate) budget: Vec<graph::Budget>,
}

#[cfg(feature = "demo")]
impl Connection {
    /// The embedded simulator, whatever the environment says.
    pub(crate) fn demo() -> Self {
        Self {
            tenant_id: None,
            client_id: None,
            client_secret_file: None,
            client_certificate: None,
            legacy_assertion: false,
            federated_token_file: None,
            managed_identity: false,
            imds_url: None,
            device_code: false,
            cloud: Cloud::Global,
            graph_url: None,
            login_url: None,
            ca_certificate: None,
            user_agent: None,
            demo: true,
            patience: None,
            pace: Pace::Adaptive,
            licences: None,
            throttle_share: None,
            pace_dir: None,
            budget: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cloud {
    Global,
    GccHigh,
    Dod,
    China,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pace {
    /// The documented budgets, as fast as they allow.
    Documented,
    /// Within them, slower after a refusal and gradually faster again.
    Adaptive,
    /// No budgets: for simulators. Retry-After and 4 requests a mailbox still hold.
    None,
}

/// What to take; the same on every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionArgs {
    /// Only these services: mail, calendar, contacts, tasks, settings, conversations, onedrive.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) service: Vec<String>,
    /// Only these users: UPN, object id or an earlier address; * and ? allowed.
    #[arg(long, value_name = "GLOB")]
    pub(crate) user: Vec<String>,
    /// Only these groups: mail address, display name or object id; * and ? allowed. Where only
    /// groups are named, no user is taken, and the other way round.
    #[arg(long, value_name = "GLOB")]
    pub(crate) group: Vec<String>,
    /// Only archive paths that match, and all below them.
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// No archive paths that match, nor what is below them.
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Only items from this time on: 2026-01-31 or RFC 3339.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only items before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// A part of the tenant, for several processes that do the whole.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct ShardArgs {
    /// Only the owners of shard I of N, counted from 0: every owner is in one of the N.
    #[arg(long, env = "TAR365_SHARD", value_name = "I/N")]
    pub(crate) shard: Option<archive::Shard>,
    /// So many shards; which one is this comes from the scheduler: JOB_COMPLETION_INDEX
    /// (Kubernetes) or SLURM_ARRAY_TASK_ID.
    #[arg(long, env = "TAR365_SHARDS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(archive::Shard::MOST)))]
    pub(crate) shards: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    Zstd,
    Gzip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VCard {
    #[value(name = "3.0")]
    V3,
    #[value(name = "4.0")]
    V4,
}

impl From<VCard> for archive::VCard {
    fn from(version: VCard) -> Self {
        match version {
            VCard::V3 => Self::V3,
            VCard::V4 => Self::V4,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar on a terminal, else a line now and then.
    Auto,
    Plain,
    /// One JSON object a line.
    Json,
    None,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) shard: ShardArgs,
    #[command(flatten)]
    pub(crate) sink: Sink,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
    #[command(flatten)]
    pub(crate) base: BaseArgs,
    #[command(flatten)]
    pub(crate) plugins: PluginArgs,
    #[command(flatten)]
    pub(crate) outcome: OutcomeArgs,
    /// Content requests in flight; a mailbox never has more than 4, so 200 are fifty mailboxes at a
    /// time. More take more memory.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,
    /// Also the recoverable items of each mailbox.
    #[arg(long)]
    pub(crate) include_recoverable: bool,
    /// The version of vCard that contacts are written in. Some programs cut the photos of 4.0 off.
    #[arg(long, value_enum, value_name = "VERSION", default_value_t = VCard::V3)]
    pub(crate) vcard: VCard,
    /// Progress on stderr.
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto)]
    pub(crate) progress: ProgressMode,
    /// Write a JSON summary of the run.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write Prometheus metrics of the run.
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Sink {
    /// Write to a file instead of stdout; it appears when it is whole.
    #[arg(long, short, value_name = "FILE", conflicts_with = "to_command")]
    pub(crate) output: Option<PathBuf>,
    /// Run a command that reads the stream, and end it before its input ends if we fail.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) to_command: Option<String>,
    /// A stream for each owner: run this command for every one, and again for a last stream,
    /// _tenant, that tells of them. {name} and {id} stand for the owner's, also in --base,
    /// --base-command, --state and --partial-copy. --output FILE with {name} in it does the same
    /// with files.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["output", "to_command"])]
    pub(crate) each: Option<String>,
    /// Streams at a time, with --each; they share --concurrency and --spool-limit.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) streams: u16,
    /// Compress the stream; for tape and plain files. Engines deduplicate raw bytes better.
    #[arg(long, value_enum)]
    pub(crate) compress: Option<Compression>,
    /// Align contents to this many bytes, for targets that deduplicate fixed blocks.
    #[arg(long, value_name = "BYTES", value_parser = parse_align)]
    pub(crate) align: Option<u64>,
}

impl Sink {
    /// A file, as it is.
    pub(crate) fn file(path: &std::path::Path) -> Self {
        let output = Some(path.to_owned());
        Self { output, to_command: None, each: None, streams: 1, compress: None, align: None }
    }

    /// Whether each owner gets a stream of its own.
    pub(crate) fn is_divided(&self) -> bool {
        let output = self.output.as_ref().and_then(|path| path.to_str());
        self.each.is_some() || output.is_some_and(crate::label::is_template)
    }
}

fn parse_align(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(bytes) if bytes.is_power_of_two() && (512..=65536).contains(&bytes) => Ok(bytes),
        _ => Err("a power of two from 512 to 65536 is wanted".to_owned()),
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Spool")]
pub(crate) struct SpoolArgs {
    /// Directory for temporary files [default: $TMPDIR, else /var/tmp].
    #[arg(long, env = "TAR365_SPOOL_DIR", value_name = "DIR")]
    pub(crate) spool_dir: Option<PathBuf>,
    /// Most bytes of content on disk ahead of their turn; longer files are streamed
    /// [default: half of what is free].
    #[arg(long, env = "TAR365_SPOOL_LIMIT", value_name = "SIZE")]
    pub(crate) spool_limit: Option<bytesize::ByteSize>,
}

/// The archive of an earlier run, as the source of what has not changed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Base")]
pub(crate) struct BaseArgs {
    /// An earlier archive: what has not changed since is taken from there. It must stay readable
    /// during the run.
    #[arg(long, value_name = "FILE", conflicts_with = "base_command")]
    pub(crate) base: Option<PathBuf>,
    /// A command that writes an earlier archive to its stdout.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) base_command: Option<String>,
    /// When there is no base: no file, or a command that writes nothing.
    #[arg(long, value_enum, default_value_t = BaseMissing::Fail)]
    pub(crate) base_missing: BaseMissing,
    /// The base may be an unfinished archive: what it holds whole is used.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Fetch this share of the unchanged items all the same, and compare: 0.5%, 10%.
    #[arg(long, value_name = "N%", value_parser = parse_percent, default_value = "0%")]
    pub(crate) full_reread: f64,
    /// Keep in this file from where the next listings go on; used with the --base FILE of the run
    /// that wrote it. It holds tokens of the service.
    #[arg(long, value_name = "FILE", conflicts_with = "plugin")]
    pub(crate) state: Option<PathBuf>,
    /// Also write the stream to this file, for --resume; it is removed when the run succeeds.
    #[arg(long, value_name = "FILE")]
    pub(crate) partial_copy: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BaseMissing {
    /// Fail: a base that is not there is a mistake.
    Fail,
    /// Export in full: a first night.
    Full,
}

/// A share, 0 to 1.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim().parse::<f64>().ok();
    let share = number.map(|percent| percent / 100.0).filter(|s| (0.0..=1.0).contains(s));
    share.ok_or_else(|| "a percentage such as 0.5% is wanted".to_owned())
}

/// A share, more than nothing and at most all.
fn parse_part(text: &str) -> Result<f64, String> {
    let part = parse_percent(text).ok().filter(|part| *part > 0.0);
    part.ok_or_else(|| "a part such as 80% is wanted".to_owned())
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Outcome")]
pub(crate) struct OutcomeArgs {
    /// Exit with 3 if anything failed at all.
    #[arg(long, conflicts_with = "allow_partial")]
    pub(crate) strict: bool,
    /// Never exit with 3 because of what failed.
    #[arg(long)]
    pub(crate) allow_partial: bool,
    /// Do not exit with 3 when no owner has a service that was asked for.
    #[arg(long)]
    pub(crate) allow_empty: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// The archive; - for standard input.
    pub(crate) archive: PathBuf,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// One JSON object a line: path, size, sha256, span.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Find {
    /// The archive; - for standard input.
    pub(crate) archive: PathBuf,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) items: import::ItemArgs,
    /// Only items of this kind: message, event, post, file, or what a file is: pdf, image/*.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Vec<String>,
    /// Only items of at least this size.
    #[arg(long, value_name = "SIZE")]
    pub(crate) larger: Option<bytesize::ByteSize>,
    /// Only items smaller than this.
    #[arg(long, value_name = "SIZE")]
    pub(crate) smaller: Option<bytesize::ByteSize>,
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Directory for temporary files [default: $TMPDIR, else /var/tmp].
    #[arg(long, env = "TAR365_SPOOL_DIR", value_name = "DIR")]
    pub(crate) spool_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The earlier archive; - for standard input.
    pub(crate) first: PathBuf,
    /// The later archive.
    #[arg(required_unless_present = "tenant", conflicts_with = "tenant")]
    pub(crate) second: Option<PathBuf>,
    /// Compare with the tenant as it is now. What has not changed is not fetched.
    #[arg(long)]
    pub(crate) tenant: bool,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// One JSON object a line, the last with the counts.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// The archive; - for standard input.
    pub(crate) archive: PathBuf,
    /// Paths of members, as `list` shows them.
    #[arg(required = true)]
    pub(crate) paths: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Extract {
    /// The archive; - for standard input.
    pub(crate) archive: PathBuf,
    /// Unpack into this folder.
    #[arg(long, short = 'C', value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Replace files that are there.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Also write members that the export calls damaged.
    #[arg(long)]
    pub(crate) damaged: bool,
    /// Unpack what there is of an archive that was never finished.
    #[arg(long, conflicts_with = "plugin")]
    pub(crate) incomplete: bool,
    #[command(flatten)]
    pub(crate) plugins: PluginArgs,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The archive; - for standard input.
    pub(crate) archive: PathBuf,
    /// The result as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Directory for temporary files [default: $TMPDIR, else /var/tmp].
    #[arg(long, env = "TAR365_SPOOL_DIR", value_name = "DIR")]
    pub(crate) spool_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Users whose mailbox and drive are tried.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) sample: u32,
}

#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep archive and restored mail in this folder [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which completions to write to stdout.
    #[arg(value_enum, required_unless_present = "man")]
    pub(crate) shell: Option<clap_complete::Shell>,
    /// Write man pages of all commands into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) man: Option<PathBuf>,
}
