//! Who has to wait: limits per mailbox, and scopes that were told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::error::Refusal;
use crate::log::Log;
use crate::options::Limits;

/// Requests that were under way when the scope closed are not held against the client.
const GRACE: Duration = Duration::from_millis(50);

/// The limits in force and the scopes that are closed.
pub(crate) struct Throttle {
    limits: Option<Limits>,
    log: Arc<Log>,
    scopes: Mutex<HashMap<String, Scope>>,
}

#[derive(Default)]
struct Scope {
    closed: Option<(Instant, Instant)>,
    window: Option<(Instant, u64)>,
    uploads: Option<(Instant, u64)>,
}

/// A request counted into its mailbox until the reply has been sent.
pub(crate) struct Slot {
    log: Arc<Log>,
    mailbox: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.log.leave(&self.mailbox);
    }
}

/// A request that has to wait.
pub(crate) struct Wait {
    pub(crate) refusal: Refusal,
    /// It was sent although the client had been told to wait.
    pub(crate) told: bool,
}

impl Throttle {
    pub(crate) fn new(limits: Option<Limits>, log: Arc<Log>) -> Throttle {
        Throttle { limits, log, scopes: Mutex::default() }
    }

    /// Closes a scope for a while.
    pub(crate) fn close(&self, scope: &str, seconds: f64) {
        let now = Instant::now();
        let until = now + Duration::from_secs_f64(seconds);
        let mut scopes = self.scopes.lock().expect("no panic under this lock");
        scopes.entry(scope.to_owned()).or_default().closed = Some((now, until));
    }

    /// Lets a request into its scope, or tells it to wait.
    pub(crate) fn check(&self, scope: &str) -> Result<(), Box<Wait>> {
        let mut scopes = self.scopes.lock().expect("no panic under this lock");
        let Some(scope) = scopes.get_mut(scope) else {
            return Ok(());
        };
        let now = Instant::now();
        match scope.closed {
            Some((since, until)) if now < until => {
                let seconds = (until - now).as_secs_f64();
                Err(Box::new(Wait { refusal: too_many(seconds), told: now > since + GRACE }))
            }
            _ => {
                scope.closed = None;
                Ok(())
            }
        }
    }

    /// Counts a request into a mailbox against the limits of the service.
    pub(crate) fn enter(&self, mailbox: &str) -> Result<Slot, Box<Wait>> {
        let now_there = self.log.enter(mailbox);
        let slot = Slot { log: Arc::clone(&self.log), mailbox: mailbox.to_owned() };
        let Some(limits) = &self.limits else {
            return Ok(slot);
        };
        let wait = |seconds: f64, message: &str| {
            let mut refusal = too_many(seconds / limits.clock_scale);
            refusal.code = "ApplicationThrottled".into();
            refusal.message = message.into();
            Box::new(Wait { refusal, told: false })
        };
        if now_there > limits.concurrent {
            return Err(wait(1.0, "Application is over its MailboxConcurrency limit."));
        }
        let window = limits.window.div_f64(limits.clock_scale.max(f64::MIN_POSITIVE));
        let mut scopes = self.scopes.lock().expect("no panic under this lock");
        let scope = scopes.entry(mailbox.to_owned()).or_default();
        let now = Instant::now();
        let (start, count) =
            scope.window.filter(|(start, _)| now < *start + window).unwrap_or((now, 0));
        scope.window = Some((start, count + 1));
        if count >= limits.requests {
            let until = start + window;
            scope.closed = Some((now, until));
            let seconds = (until - now).as_secs_f64();
            let mut wait = wait(seconds, "Application is over its limit.");
            wait.refusal.headers = vec![("retry-after", format!("{seconds:.3}"))];
            return Err(wait);
        }
        Ok(slot)
    }

    /// Counts the body of a write into a mailbox against the limit of the service.
    pub(crate) fn upload(&self, mailbox: &str, bytes: u64) -> Result<(), Box<Wait>> {
        let Some(limits) = &self.limits else {
            self.log.uploaded(mailbox, bytes);
            return Ok(());
        };
        let window = limits.upload_window.div_f64(limits.clock_scale.max(f64::MIN_POSITIVE));
        let mut scopes = self.scopes.lock().expect("no panic under this lock");
        let scope = scopes.entry(format!("mailbox:{mailbox}")).or_default();
        let now = Instant::now();
        let (start, sum) =
            scope.uploads.filter(|(start, _)| now < *start + window).unwrap_or((now, 0));
        // A body that is over the limit all by itself would never get through.
        if sum > 0 && sum + bytes > limits.upload_bytes {
            let until = start + window;
            scope.closed = Some((now, until));
            let mut refusal = too_many((until - now).as_secs_f64());
            refusal.code = "ApplicationThrottled".into();
            refusal.message = "Application is over its upload limit.".into();
            return Err(Box::new(Wait { refusal, told: false }));
        }
        scope.uploads = Some((start, sum + bytes));
        self.log.uploaded(mailbox, bytes);
        Ok(())
    }
}

/// 429 with its header.
pub(crate) fn too_many(seconds: f64) -> Refusal {
    Refusal::new(429, "TooManyRequests", "Please retry again later.")
        .with_header("retry-after", format!("{seconds:.3}"))
}
