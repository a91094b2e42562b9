//! Who has to wait: the service's limits, and scopes that were told to.
//!
//! A scope is `mailbox:` and a user id, `sharepoint`, `directory`, or a name of no service's, which
//! has no limits but can be closed by a fault.

mod meter;
mod pauses;
mod scope;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use self::scope::{Excess, Scope, Share, Usage};
use crate::clock::Clock;
use crate::error::Refusal;
use crate::limits::{Factors, Limits};
use crate::log::Log;
use crate::{Error, Options};

/// Seconds of ours for which requests may have been under way when their scope was closed: on
/// loopback and on a busy machine. The service's clock does not speed these up.
const GRACE: f64 = 0.05;

/// The limits in force and the scopes that are closed.
pub(crate) struct Throttle {
    clock: Clock,
    limits: Option<Limits>,
    log: Arc<Log>,
    /// Application and tenant, as the directory names them in a refusal.
    whose: String,
    /// How long answers are held back.
    latency: Duration,
    state: Mutex<State>,
}

struct State {
    scopes: HashMap<String, Scope>,
    factors: Factors,
}

/// A service with limits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Outlook,
    SharePoint,
    Directory,
}

impl Area {
    pub(crate) fn of(scope: &str) -> Option<Area> {
        match scope {
            "sharepoint" => Some(Area::SharePoint),
            "directory" => Some(Area::Directory),
            _ => scope.starts_with("mailbox:").then_some(Area::Outlook),
        }
    }
}

/// What a request takes of the limits of its scope.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Requests to a mailbox, resource units elsewhere.
    pub(crate) units: u64,
    /// Bytes of a body; to the directory: writes.
    pub(crate) written: u64,
}

/// A moment of the service's time.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Duration,
    /// When an answer that is made now is sent.
    pub(crate) answered: Duration,
    /// How long after that requests may be under way that were sent before.
    pub(crate) grace: Duration,
}

/// A request counted into its scope until the reply has been sent.
pub(crate) struct Slot {
    log: Arc<Log>,
    scope: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.log.leave(&self.scope);
    }
}

/// A request that has to wait.
pub(crate) struct Wait {
    pub(crate) refusal: Refusal,
    /// It was sent although the client had been told to wait.
    pub(crate) told: bool,
}

impl Throttle {
    /// # Errors
    /// If the limits make no sense.
    pub(crate) fn new(options: &Options, log: Arc<Log>) -> Result<Throttle, Error> {
        let (limits, credentials) = (options.limits.clone(), &options.credentials);
        let clock = Clock::new(limits.as_ref().map_or(1.0, |limits| limits.clock_scale))?;
        let factors = Factors::new(limits.as_ref())?;
        let state = Mutex::new(State { scopes: HashMap::new(), factors });
        let whose = format!("{}/{}", credentials.client_id, credentials.tenant_id);
        let latency = clock.theirs(options.latency.as_secs_f64());
        Ok(Throttle { clock, limits, log, whose, latency, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under this lock")
    }

    pub(crate) fn factors(&self) -> Factors {
        self.state().factors
    }

    /// Changes the limits from now on.
    ///
    /// # Errors
    /// If a factor makes no sense.
    pub(crate) fn set_factors(&self, factors: Factors) -> Result<(), Error> {
        self.state().factors = factors.checked()?;
        Ok(())
    }

    /// Closes a scope for some seconds of ours.
    pub(crate) fn close(&self, scope: &str, seconds: f64) {
        let mut state = self.state();
        let moment = self.moment();
        let until = moment.now.saturating_add(self.clock.theirs(seconds));
        state.scope(scope, self.limits.as_ref()).pauses.tell(moment, until);
    }

    fn moment(&self) -> Moment {
        let now = self.clock.now();
        let answered = now.saturating_add(self.latency);
        Moment { now, answered, grace: self.clock.theirs(GRACE) }
    }

    /// Lets a request into its scope, or tells it to wait.
    pub(crate) fn enter(
        &self,
        scope: &str,
        cost: Cost,
        arrived: Instant,
    ) -> Result<Slot, Box<Wait>> {
        let in_flight = self.log.enter(scope, cost.units);
        let slot = Slot { log: Arc::clone(&self.log), scope: scope.to_owned() };
        let mut state = self.state();
        let share = Share::of(Area::of(scope), state.factors);
        let moment = self.moment();
        let here = state.scope(scope, self.limits.as_ref());
        let told = here.pauses.told(self.clock.at(arrived));
        match here.admit(moment, cost, in_flight, share) {
            Ok(()) => {
                self.log.let_in(scope, cost.written);
                Ok(slot)
            }
            Err(refused) => {
                self.log.refused(scope, told);
                let seconds = self.clock.ours(refused.until - moment.now);
                Err(Box::new(Wait { refusal: self.refusal(refused.excess, seconds), told }))
            }
        }
    }

    fn refusal(&self, excess: Excess, seconds: f64) -> Refusal {
        let mut refusal = too_many(seconds);
        let (code, text) = match excess {
            Excess::Closed => return refusal,
            Excess::Concurrency => {
                ("ApplicationThrottled", "Application is over its MailboxConcurrency limit.")
            }
            Excess::Requests => ("ApplicationThrottled", "Application is over its limit."),
            Excess::Uploads => ("ApplicationThrottled", "Application is over its upload limit."),
            Excess::SharePoint => ("activityLimitReached", "The request has been throttled."),
            Excess::DirectoryUnits | Excess::DirectoryWrites => {
                ("Request_ThrottledTemporarily", "Too many requests. Please retry again later.")
            }
        };
        refusal.code = code.into();
        refusal.message = text.into();
        let (limit, information) = match excess {
            Excess::DirectoryUnits => ("ReadWrite", "ResourceUnitLimitExceeded"),
            Excess::DirectoryWrites => ("Write", "WriteLimitExceeded"),
            _ => return refusal,
        };
        refusal
            .with_header(
                "x-ms-throttle-scope",
                format!("Tenant_Application/{limit}/{}", self.whose),
            )
            .with_header("x-ms-throttle-information", information)
    }

    /// Counts the contents of an answer.
    pub(crate) fn sent(&self, scope: &str, bytes: u64) {
        let mut state = self.state();
        let now = self.clock.now();
        state.scope(scope, self.limits.as_ref()).sent(now, bytes);
    }

    /// How much of its limit a scope has used, where there is one.
    fn usage(&self, scope: &str) -> Option<Usage> {
        let mut state = self.state();
        let share = Share::of(Area::of(scope), state.factors);
        let now = self.clock.now();
        state.scope(scope, self.limits.as_ref()).usage(now, share)
    }

    /// `RateLimit-*` of an answer, from 80 % of the limit of a minute on (FACTS 2.3). With sliding
    /// windows the reset is when use would be less than that again.
    pub(crate) fn sharepoint_headers(&self) -> Vec<(&'static str, String)> {
        let Some(usage) = self.usage("sharepoint").filter(|usage| usage.told) else {
            return Vec::new();
        };
        let reset = self.clock.ours(usage.reset);
        // Whole seconds, as the header has them, unless a second is long.
        let reset =
            if self.clock.is_fast() { seconds_text(reset) } else { reset.ceil().to_string() };
        vec![
            ("ratelimit-limit", usage.limit.to_string()),
            ("ratelimit-remaining", usage.limit.saturating_sub(usage.used).to_string()),
            ("ratelimit-reset", reset),
        ]
    }

    /// `x-ms-*` of an answer (FACTS 2.5).
    pub(crate) fn directory_headers(&self, units: u64) -> Vec<(&'static str, String)> {
        let Some(usage) = self.usage("directory") else {
            return Vec::new();
        };
        let mut headers = vec![("x-ms-resource-unit", units.to_string())];
        if usage.told {
            let part = usage.used as f64 / usage.limit as f64;
            headers.push(("x-ms-throttle-limit-percentage", format!("{part:.2}")));
        }
        headers
    }
}

impl State {
    fn scope(&mut self, name: &str, limits: Option<&Limits>) -> &mut Scope {
        // Looked up first: the name is copied only once.
        if !self.scopes.contains_key(name) {
            self.scopes.insert(name.to_owned(), Scope::new(Area::of(name), limits));
        }
        self.scopes.get_mut(name).expect("it is there or was put there")
    }
}

/// 429 with its header.
pub(crate) fn too_many(seconds: f64) -> Refusal {
    Refusal::new(429, "TooManyRequests", "Please retry again later.")
        .with_header("retry-after", seconds_text(seconds))
}

/// With a fraction, as some services send it, and never rounded down.
fn seconds_text(seconds: f64) -> String {
    format!("{:.3}", (seconds * 1000.0).ceil() / 1000.0)
}
