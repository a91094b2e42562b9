//! Download and upload addresses that need no token, for a while.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use chrono::Utc;
use serde::{Deserialize, Serialize};

use crate::call::fresh_guid;
use crate::{dice, page};

/// What an address opens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) drive: String,
    pub(crate) item: u32,
    /// A version's number; `None` is whatever is current.
    pub(crate) version: Option<u32>,
    /// The number of an upload session: this is no download. It ends with the session.
    pub(crate) upload: Option<u64>,
    /// It was given out by `/content`, which is charged as the download.
    pub(crate) redirected: bool,
    until: i64,
    nonce: String,
}

pub(crate) struct Tickets {
    seed: u64,
    lifetime: Duration,
    dead: Mutex<HashSet<u64>>,
}

impl Tickets {
    pub(crate) fn new(seed: u64, lifetime: Duration) -> Tickets {
        Tickets { seed, lifetime, dead: Mutex::default() }
    }

    /// A fresh `tempauth` value.
    pub(crate) fn issue(&self, drive: &str, item: u32) -> String {
        self.sealed(&self.ticket(drive, item))
    }

    /// The same for a redirection.
    pub(crate) fn issue_redirect(&self, drive: &str, item: u32, version: Option<u32>) -> String {
        self.sealed(&Ticket { version, redirected: true, ..self.ticket(drive, item) })
    }

    /// The same for an upload session.
    pub(crate) fn issue_upload(&self, drive: &str, session: u64) -> String {
        self.sealed(&Ticket { upload: Some(session), until: i64::MAX, ..self.ticket(drive, 0) })
    }

    fn ticket(&self, drive: &str, item: u32) -> Ticket {
        let until = Utc::now().timestamp_millis() + self.lifetime.as_millis() as i64;
        Ticket {
            drive: drive.to_owned(),
            item,
            version: None,
            upload: None,
            redirected: false,
            until,
            nonce: fresh_guid(),
        }
    }

    fn sealed(&self, ticket: &Ticket) -> String {
        let text = page::seal_plain(ticket);
        format!("v1.{text}.{:016x}", self.sign(&text))
    }

    /// What a `tempauth` value opens, unless it is forged, too old or was killed.
    pub(crate) fn check(&self, tempauth: &str) -> Option<Ticket> {
        let (text, sum) = tempauth.strip_prefix("v1.")?.split_once('.')?;
        if sum != format!("{:016x}", self.sign(text)) {
            return None;
        }
        let ticket: Ticket = page::open_plain(text).ok()?;
        let dead = self.dead.lock().expect("no panic under this lock");
        let alive = Utc::now().timestamp_millis() < ticket.until;
        (alive && !dead.contains(&dice::text(tempauth))).then_some(ticket)
    }

    /// Ends an address before its time.
    pub(crate) fn kill(&self, tempauth: &str) {
        self.dead.lock().expect("no panic under this lock").insert(dice::text(tempauth));
    }

    fn sign(&self, text: &str) -> u64 {
        dice::hash(&[self.seed, 0x7469_636b, dice::text(text)])
    }
}
