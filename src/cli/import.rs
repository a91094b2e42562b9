//! The flags of the commands that put things back.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Connection, PluginArgs, ProgressMode, SelectionArgs, SpoolArgs};

pub(super) const IMPORT_EXAMPLES: &str = "\
EXAMPLES
  restic dump latest m365.tar | tar365 import - --user alice@example.com --subject 'offer'
  tar365 import m365.tar --user alice@example.com --dry-run
  tar365 import m365.tar --user gone@example.com --map-user gone@example.com=heir@example.com
  tar365 import m365.tar --to directory:/restore --layout maildir
  TAR365_IMAP_PASSWORD=... tar365 import m365.tar --to imaps://alice%40example.com@imap.example.com
  TAR365_DAV_PASSWORD=... tar365 import m365.tar --to caldav+https://alice@dav.example.com
  tar365 import --undo ~/.local/state/tar365/import-....journal

EXIT STATUS
  0    everything that was wanted is where it should be
  1    the archive is bad or was never finished; what it holds was restored as far as said
  2    wrong use or configuration, before the first write
  3    some items could not be restored: the summary and the journal say which
  75   service unreachable or throttled for too long: the same command goes on
  77   credentials or permissions refused";

#[cfg(feature = "demo")]
pub(super) const DRILL_NOTES: &str = "\
The archive is restored into an empty simulated tenant, which is exported again; both archives are
compared item by item. What Microsoft 365 itself does not take back (doc/restore.md) is counted as a
loss, not as a difference.

EXIT STATUS
  0    everything came back
  1    the archive is bad
  3    something did not come back, or came back different";

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The archive; - for standard input.
    #[arg(required_unless_present = "undo")]
    pub(crate) archive: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) items: ItemArgs,
    #[command(flatten)]
    pub(crate) plugins: PluginArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) journal: JournalArgs,
    /// Restore what there is of an archive that was never finished.
    #[arg(long, conflicts_with = "plugin")]
    pub(crate) incomplete: bool,
    /// Say what would be done, and do nothing.
    #[arg(long, conflicts_with_all = ["undo", "only_failed"])]
    pub(crate) dry_run: bool,
    /// The plan of --dry-run as JSON.
    #[arg(long, requires = "dry_run")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
    /// Items under way at a time; a mailbox never has more than 4.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) concurrency: u16,
    /// Progress on stderr.
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto)]
    pub(crate) progress: ProgressMode,
    /// Write a JSON summary of the run.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// What of the selection, item by item.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct ItemArgs {
    /// Only mail with these words in its subject, or whose subject matches this glob.
    #[arg(long, value_name = "TEXT")]
    pub(crate) subject: Vec<String>,
    /// Only mail from whoever has this in name or address.
    #[arg(long, value_name = "TEXT")]
    pub(crate) from: Vec<String>,
    /// Only mail to whoever has this in name or address, copies too.
    #[arg(long, value_name = "TEXT")]
    pub(crate) recipient: Vec<String>,
    /// Only the mail with this Message-ID.
    #[arg(long, value_name = "ID")]
    pub(crate) message_id: Vec<String>,
    /// Only this item or folder, by its path in the archive or below the owner's service.
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Vec<String>,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArgs {
    /// directory:PATH, imaps://USER@HOST, caldav+https://USER@HOST/PATH or
    /// carddav+https://USER@HOST/PATH [default: the tenant].
    #[arg(long, value_name = "TARGET")]
    pub(crate) to: Option<String>,
    /// How mail lies in a directory.
    #[arg(long, value_enum, default_value_t = MailLayout::Native)]
    pub(crate) layout: MailLayout,
    /// Put items where they were, among the live ones, instead of into a new folder.
    #[arg(long, conflicts_with = "label")]
    pub(crate) in_place: bool,
    /// Name of the new folder: `tar365 restore LABEL` [default: date and digest of the snapshot].
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Option<String>,
    /// Give everything to this user.
    #[arg(long, value_name = "UPN", conflicts_with = "map_user")]
    pub(crate) to_user: Option<String>,
    /// Give what was OLD's to NEW; repeatable.
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_mapping)]
    pub(crate) map_user: Vec<(String, String)>,
    /// What to do with an item that is there already.
    #[arg(long, value_enum, default_value_t = Conflict::Skip)]
    pub(crate) on_conflict: Conflict,
    /// Inbox rules that were on come back on; else all come back off. Those that forward send mail.
    #[arg(long)]
    pub(crate) enable_rules: bool,
    /// Automatic replies that were on come back on, with --in-place; else they come back off.
    #[arg(long)]
    pub(crate) enable_automatic_replies: bool,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Journal")]
pub(crate) struct JournalArgs {
    /// What was done, on disk; the same file again goes on where a run ended
    /// [default: a new one in ~/.local/state/tar365].
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Restore what the run with this journal could not.
    #[arg(long, value_name = "JOURNAL", conflicts_with = "journal")]
    pub(crate) only_failed: Option<PathBuf>,
    /// Take back what the run with this journal did.
    #[arg(long, value_name = "JOURNAL", conflicts_with_all = ["journal", "only_failed", "archive"])]
    pub(crate) undo: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MailLayout {
    /// As in the archive: one .eml file a mail.
    Native,
    Maildir,
    Mboxrd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Conflict {
    /// Leave it alone.
    Skip,
    /// Put another beside it.
    Copy,
    /// Put the archive's in its stead.
    Replace,
}

fn parse_mapping(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.into(), new.into())),
        _ => Err("OLD=NEW is wanted".to_owned()),
    }
}

#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(crate) struct Drill {
    /// The archive; - for standard input.
    pub(crate) archive: PathBuf,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Keep the archive of what came back.
    #[arg(long, value_name = "FILE")]
    pub(crate) keep: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
}
