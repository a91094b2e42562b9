//! What a caller may configure.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use url::Url;

use crate::cloud::Cloud;

/// Where the tenant is and how the service is to be treated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Tenant id or one of its domains.
    pub tenant: String,
    /// The cloud the tenant lives in.
    pub cloud: Cloud,
    /// Service root without `/v1.0`, in place of the cloud's own.
    pub graph_url: Option<Url>,
    /// Authority host, in place of the cloud's own.
    pub login_url: Option<Url>,
    /// Certificates to trust besides the system's and Mozilla's.
    pub ca_certificates_pem: Option<Vec<u8>>,
    /// Undecorated traffic is throttled first (FACTS 2.3), so it says who we are.
    pub user_agent: String,
    /// How long one request may be refused or find nobody before that is an error.
    pub patience: Duration,
    /// The same until the first token is there: a typo in a host name should not be found out
    /// after an hour.
    pub sign_in_patience: Duration,
    /// How the documented limits are kept.
    pub pace: Pace,
    /// Replacements for the documented limits. The budgets of a scope replace all documented ones
    /// of that scope; several for one scope hold together.
    pub budgets: Vec<Budget>,
    /// Licences of the tenant, which choose among the documented limits (FACTS 2.3, 2.5); none for
    /// the smallest tenant's, which are safe for all.
    pub licences: Option<u64>,
    /// Part of each limit that is used, more than 0 and at most 1; the rest is for other tools.
    pub throttle_share: f64,
    /// Directory of a file in which the processes of this host share the tenant-wide limits. Made
    /// if it is not there; it must belong to this user, who alone may write to it. Without one, or
    /// where it can't be used, a process knows of itself only.
    pub pace_dir: Option<PathBuf>,
    /// Requests of one mailbox at the same time; the service allows an app 4 (FACTS 2.2).
    pub mailbox_connections: usize,
    /// Time to reach a host.
    pub connect_timeout: Duration,
    /// Time without a byte after which a connection counts as torn.
    pub read_timeout: Duration,
    /// First delay of the exponential back-off, where the service names none (FACTS 2.7).
    pub backoff: Duration,
}

impl Config {
    /// The part of each limit that is used by default. Requests are counted as the service counts
    /// them, so that little need be left for what is not known.
    pub const THROTTLE_SHARE: f64 = 0.99;

    /// The documented defaults for `tenant` in the global cloud.
    pub fn new(tenant: impl Into<String>) -> Config {
        let tenant = tenant.into();
        let user_agent = format!("NONISV|{tenant}|tar365/{}", env!("CARGO_PKG_VERSION"));
        Config {
            tenant,
            cloud: Cloud::default(),
            graph_url: None,
            login_url: None,
            ca_certificates_pem: None,
            user_agent,
            patience: Duration::from_secs(3600),
            sign_in_patience: Duration::from_secs(75),
            pace: Pace::default(),
            budgets: Vec::new(),
            licences: None,
            throttle_share: Config::THROTTLE_SHARE,
            pace_dir: None,
            mailbox_connections: 4,
            connect_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(120),
            backoff: Duration::from_secs(1),
        }
    }
}

/// How requests are paced. The limit of 4 requests a mailbox and the pause that a `Retry-After`
/// asks for hold in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pace {
    /// The documented budget of each scope (FACTS 2.2, 2.3, 2.5), as fast as that allows.
    Documented,
    /// Within that budget, slower after a refusal and gradually faster again: who shares a budget
    /// with others it does not know of finds its part, and who does not loses nothing.
    #[default]
    Adaptive,
    /// No budgets.
    None,
}

impl FromStr for Pace {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Pace, UnknownName> {
        match name {
            "documented" => Ok(Pace::Documented),
            "adaptive" => Ok(Pace::Adaptive),
            "none" => Ok(Pace::None),
            _ => Err(UnknownName::new(name, "documented, adaptive, none")),
        }
    }
}

/// So many requests (resource units) in so many seconds, for one scope: `mailbox=10000/600`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Budget {
    /// `mailbox` (each of them), `sharepoint`, `directory` or `other`; `mailbox-upload` and
    /// `directory-write` bound what is written there besides.
    pub scope: String,
    /// Requests; for SharePoint and the directory, resource units; for `mailbox-upload`, bytes of
    /// bodies.
    pub requests: u32,
    /// Length of the window.
    pub seconds: f64,
}

impl Budget {
    pub(crate) const SCOPES: [&'static str; 6] =
        ["mailbox", "mailbox-upload", "sharepoint", "directory", "directory-write", "other"];
}

/// Why a text is no [`Budget`].
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "budget {0:?} is not like mailbox=10000/600, mailbox-upload=150000000/300, \
     sharepoint=1250/60, directory=3500/10 or directory-write=3000/150"
)]
pub struct BudgetError(String);

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Budget, BudgetError> {
        let parse = || {
            let (scope, budget) = text.split_once('=')?;
            let (requests, seconds) = budget.split_once('/')?;
            let scope = Budget::SCOPES.into_iter().find(|known| *known == scope)?;
            let requests = requests.parse().ok().filter(|n| *n > 0)?;
            let seconds = seconds.parse().ok().filter(|s| (0.001..=1e7).contains(s))?;
            Some(Budget { scope: scope.to_owned(), requests, seconds })
        };
        parse().ok_or_else(|| BudgetError(text.to_owned()))
    }
}

/// A name that is none of those a setting knows.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name:?} is none of {known}")]
pub struct UnknownName {
    name: String,
    known: &'static str,
}

impl UnknownName {
    pub(crate) fn new(name: &str, known: &'static str) -> UnknownName {
        UnknownName { name: name.to_owned(), known }
    }
}
