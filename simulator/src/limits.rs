//! The limits of the service, as documented (FACTS 2), and how they may differ.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The limits in force. There is one application, so what the service counts per application and
/// mailbox, or per application and tenant, is counted per mailbox and per tenant here.
///
/// A request that is refused counts like any other (FACTS 2.1), except that the bytes of its body
/// do not. Parts of a batch count one by one, the envelope does not. A refusal closes its scope (a
/// mailbox, SharePoint or the directory) for the time it tells: what is sent there before that is
/// refused, too, and is counted as [`crate::Counts::during_retry_after`] unless it may already have
/// been under way, that is, began to arrive within 50 ms of the answer, or within half the time told
/// where that is shorter, as it is with a fast clock.
///
/// By default only those of mailboxes are in force; [`Limits::documented`] has all.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests in flight in a mailbox.
    pub concurrent: usize,
    /// Requests to a mailbox per window.
    pub requests: u64,
    /// The window.
    pub window: Duration,
    /// Bytes of request bodies per window of uploads, by mailbox.
    pub upload_bytes: u64,
    /// The window of uploads.
    pub upload_window: Duration,
    /// SharePoint's and OneDrive's limits; `None` only counts.
    pub sharepoint: Option<SharePoint>,
    /// The directory's limits; `None` only counts.
    pub directory: Option<Directory>,
    /// How windows lie.
    pub windows: Windows,
    /// The service's clock runs this many times faster than ours.
    pub clock_scale: f64,
}

/// How the windows of limits lie. The documentation says "per minute" and leaves it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Windows {
    /// A window begins with the first request after the last one has ended, and all is forgotten
    /// when it ends: twice the limit may pass around its end.
    Fixed,
    /// The limit holds for any stretch of the window's length. The stricter choice, so the default:
    /// who keeps to it keeps to fixed windows as well, wherever they lie.
    ///
    /// Times are kept to a ten-thousandth of the window, rounded to the strict side.
    #[default]
    Sliding,
}

/// SharePoint's and OneDrive's limits for the application in a tenant (FACTS 2.3).
#[derive(Debug, Clone)]
pub struct SharePoint {
    /// Resource units a minute.
    pub minute: u64,
    /// Resource units in 24 hours.
    pub day: u64,
    /// Resource units of all applications of the tenant in 5 minutes.
    pub tenant: u64,
    /// Bytes of contents an hour, each way.
    pub transfer: u64,
    /// The part of each of these that others use up, from 0 to less than 1.
    pub others: f64,
}

impl SharePoint {
    /// The tier of a tenant with so many licences.
    pub fn for_licences(licences: u32) -> SharePoint {
        let tier: u64 = match licences {
            0..=1_000 => 1,
            1_001..=5_000 => 2,
            5_001..=15_000 => 3,
            15_001..=50_000 => 4,
            _ => 5,
        };
        SharePoint {
            minute: 1_250 * tier,
            day: 1_200_000 * tier,
            tenant: 18_750 * tier,
            transfer: 400_000_000_000,
            others: 0.0,
        }
    }
}

/// The directory's limits for the application in a tenant (FACTS 2.5).
#[derive(Debug, Clone)]
pub struct Directory {
    /// Resource units that a bucket holds; it is refilled within 10 seconds.
    pub units: u64,
    /// Writes in 150 seconds.
    pub writes: u64,
}

impl Directory {
    /// The tier of a tenant with so many users.
    pub fn for_users(users: u32) -> Directory {
        let units = match users {
            0..50 => 3_500,
            50..=500 => 5_000,
            _ => 8_000,
        };
        Directory { units, writes: 3_000 }
    }
}

impl Limits {
    /// All documented limits, for a tenant with so many licensed users.
    pub fn documented(licences: u32) -> Limits {
        Limits {
            sharepoint: Some(SharePoint::for_licences(licences)),
            directory: Some(Directory::for_users(licences)),
            ..Limits::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            concurrent: 4,
            requests: 10_000,
            window: Duration::from_secs(600),
            upload_bytes: 150_000_000,
            upload_window: Duration::from_secs(300),
            sharepoint: None,
            directory: None,
            windows: Windows::default(),
            clock_scale: 1.0,
        }
    }
}

/// What the limits are multiplied by. The service may change them without notice, so this can be
/// set while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factors {
    /// Mailboxes' limits on requests and bytes; as many may be in flight as ever.
    pub outlook: f64,
    /// SharePoint's limits.
    pub sharepoint: f64,
    /// The directory's limits.
    pub directory: f64,
    /// The part of SharePoint's limits, so multiplied, that others use up.
    pub others: f64,
}

impl Factors {
    /// As the limits say.
    pub(crate) fn new(limits: Option<&Limits>) -> Result<Factors, Error> {
        let sharepoint = limits.and_then(|limits| limits.sharepoint.as_ref());
        let others = sharepoint.map_or(0.0, |sharepoint| sharepoint.others);
        Factors { outlook: 1.0, sharepoint: 1.0, directory: 1.0, others }.checked()
    }

    /// # Errors
    /// If a factor is not above 0, or the others' part not from 0 to less than 1.
    pub(crate) fn checked(self) -> Result<Factors, Error> {
        let positive = |factor: f64| factor.is_finite() && factor > 0.0;
        let good = positive(self.outlook)
            && positive(self.sharepoint)
            && positive(self.directory)
            && (0.0..1.0).contains(&self.others);
        let wrong = || {
            let text = "factors of limits are above 0, others' part is from 0 to less than 1";
            Error::Setting(text.into())
        };
        good.then_some(self).ok_or_else(wrong)
    }
}
