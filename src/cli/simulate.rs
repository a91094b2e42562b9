//! The flags of `simulate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

#[derive(Debug, Clone, Args)]
pub(crate) struct Simulate {
    /// Where login and Graph listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: std::net::SocketAddr,
    /// Where file contents are served: another port stands for another host.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) download_listen: std::net::SocketAddr,
    /// Everything generated is a function of this number.
    #[arg(long, value_name = "N", default_value_t = 365)]
    pub(crate) seed: u64,
    /// Ordinary users.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) users: u32,
    /// Mails in each mailbox.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) mails: u64,
    /// Files in each drive.
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub(crate) files: u64,
    /// Events of each mailbox: twelve have every kind once.
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub(crate) events: u64,
    /// Contacts of each mailbox.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) contacts: u64,
    /// Tasks of each mailbox.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) tasks: u64,
    /// Groups; every third one has no mailbox.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) groups: u64,
    /// A file of this size in the first drive.
    #[arg(long, value_name = "SIZE")]
    pub(crate) big_file: Option<bytesize::ByteSize>,
    /// Every name and shape that is known to break things.
    #[arg(long)]
    pub(crate) nasty: bool,
    /// The application may write too: for trying `import`.
    #[arg(long)]
    pub(crate) writable: bool,
    /// Do not keep uploaded files larger than this: only their size and digests.
    #[arg(long, value_name = "SIZE")]
    pub(crate) forget_content_over: Option<bytesize::ByteSize>,
    /// Only ordinary users: no guest, shared mailbox, unlicensed user, room.
    #[arg(long)]
    pub(crate) ordinary: bool,
    /// Serve the real mails and files of a folder instead of generated ones.
    #[arg(long, value_name = "DIR")]
    pub(crate) content: Option<PathBuf>,
    /// A fault: NAME[:rate=0.1,times=2,after=5,match=TEXT]; repeatable. `--fault help` lists them.
    #[arg(long, value_name = "FAULT")]
    pub(crate) fault: Vec<String>,
    /// Decides which requests a fault with a rate hits.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) fault_seed: u64,
    /// Give at most this many rows a page.
    #[arg(long, value_name = "N")]
    pub(crate) page_cap: Option<usize>,
    /// Permute the rows of pages.
    #[arg(long)]
    pub(crate) reorder: bool,
    /// Enforce no limits.
    #[arg(long)]
    pub(crate) no_limits: bool,
    /// Licensed users, by which the service sets its limits [default: those of --users].
    #[arg(long, value_name = "N", conflicts_with = "no_limits")]
    pub(crate) licences: Option<u32>,
    /// The clock that the limits go by runs this many times faster than ours.
    #[arg(long, value_name = "N", default_value_t = 1.0, conflicts_with = "no_limits")]
    pub(crate) clock_scale: f64,
    /// Limits hold from one fixed minute to the next, instead of for any minute.
    #[arg(long, conflicts_with = "no_limits")]
    pub(crate) fixed_windows: bool,
    /// The part of SharePoint's limits that other applications use up, from 0 to less than 1.
    #[arg(long, value_name = "PART", default_value_t = 0.0, conflicts_with = "no_limits")]
    pub(crate) others: f64,
    /// Every answer takes this long.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    pub(crate) latency: Duration,
    /// How long an access token is valid.
    #[arg(long, value_name = "TIME", default_value = "3599s", value_parser = humantime::parse_duration)]
    pub(crate) token_lifetime: Duration,
    /// How long a download URL is valid.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) url_lifetime: Duration,
    /// With --connect: write the CA certificate to trust to this file.
    #[arg(long, value_name = "FILE", requires = "connect")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Also listen as an HTTP proxy that answers for the real host names, over TLS.
    #[arg(long, value_name = "ADDRESS", requires = "tls_ca")]
    pub(crate) connect: Option<std::net::SocketAddr>,
}
