//! Who we are to the tenant.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// What a sign-in told us.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Identity {
    /// The permissions in the token, or none if the token is opaque: a token can be issued
    /// although nothing was consented (FACTS 1.2).
    pub roles: Option<Vec<String>>,
    /// The tenant's id, if the token or the configuration tells.
    pub tenant_id: Option<String>,
    /// The application id.
    pub app_id: Option<String>,
    /// Life of the token from when it was issued.
    pub expires_in: Duration,
    /// The clock of the service.
    pub server_date: Option<DateTime<Utc>>,
    /// The service's clock less ours.
    pub clock_skew: Option<TimeDelta>,
}
