//! What there is to restore. A new content type is one file here and one arm in each match.

pub(crate) mod mail;
pub(crate) mod onedrive;

use serde::Serialize;

/// A service, in the order of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Service {
    /// Messages.
    Mail,
    /// The user's drive.
    OneDrive,
}

impl Service {
    /// All services, in the order of the format.
    pub const ALL: [Self; 2] = [Self::Mail, Self::OneDrive];

    /// The name in `--service`, in the head and in paths.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::OneDrive => "onedrive",
        }
    }

    /// Application roles that restoring it needs (FACTS 1.8), least first; any one suffices.
    #[must_use]
    pub const fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Mail => &["Mail.ReadWrite"],
            Self::OneDrive => {
                &["Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All"]
            }
        }
    }

    /// The service of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }
}
