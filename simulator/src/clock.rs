//! The service's clock, which can run faster or slower than ours.

use std::time::{Duration, Instant};

use crate::Error;

/// Time as the service reckons it: since its start, `scale` times as fast as ours. All limits are
/// reckoned by it; what a client is told, such as a `Retry-After`, is in the client's time.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    started: Instant,
    scale: f64,
}

impl Clock {
    pub(crate) fn new(scale: f64) -> Result<Clock, Error> {
        // The upper end keeps a year of ours within what a `Duration` holds.
        if scale > 0.0 && scale <= 1e6 {
            Ok(Clock { started: Instant::now(), scale })
        } else {
            Err(Error::Setting(format!(
                "the clock's scale is above 0 and at most 1e6, not {scale}"
            )))
        }
    }

    /// The service's time since its start.
    pub(crate) fn now(&self) -> Duration {
        self.at(Instant::now())
    }

    /// The service's time at a moment of ours.
    pub(crate) fn at(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.started).mul_f64(self.scale)
    }

    /// Whether seconds of the service's are short ones, which take fractions to tell.
    pub(crate) fn is_fast(&self) -> bool {
        self.scale > 1.0
    }

    /// Seconds that pass for us during `time` of the service's.
    pub(crate) fn ours(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.scale
    }

    /// What passes for the service during so many of our seconds.
    pub(crate) fn theirs(&self, seconds: f64) -> Duration {
        Duration::try_from_secs_f64(seconds * self.scale).unwrap_or(Duration::MAX)
    }
}
