//! What all processes of this host know together of one app in one tenant.
//!
//! A small file under `flock`: a process that is killed leaves no lock, and what it was writing
//! does not match its digest and is replaced. The digest is also over the version of the record and
//! the boot, so that neither another version nor the clock of an earlier boot is believed.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard};
use tracing::warn;

use crate::throttle::memory::Memory;

/// Begins what the digest is over. Another number for another layout of [`Memory`].
const RECORD: &[u8] = b"tar365 pace 1";

/// A new value at every boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Bytes of the file for each scope.
const REGION: usize = 16 * 1024;

/// Bytes of a digest, and of the length after it.
const DIGEST: usize = 16;
const LENGTH: usize = 4;

/// How long the others may hold the lock, which they need for microseconds; one that is stopped
/// holds it on.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(1);

/// How long we go on alone before the next attempt to share.
const ALONE: Duration = Duration::from_secs(10);

/// The counter that all processes of this host share, also while it sleeps.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// A file that several processes keep their books in.
#[derive(Debug)]
pub(crate) struct Shared {
    directory: OwnedFd,
    name: String,
    boot: Vec<u8>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    file: File,
    alone_until: Option<Instant>,
    warned: bool,
    buffer: Vec<u8>,
}

/// The file, while nobody else has it.
pub(crate) struct Locked<'shared> {
    shared: &'shared Shared,
    held: MutexGuard<'shared, Held>,
}

/// The name of the file for one app in one tenant of one service; it tells none of them.
pub(crate) fn file_name(host: &str, tenant: &str, app: &str) -> String {
    let mut digest = Sha256::new();
    for part in [host, tenant, app] {
        digest.update(part.to_ascii_lowercase());
        digest.update([0]);
    }
    let digest = digest.finalize();
    digest[..DIGEST].iter().map(|byte| format!("{byte:02x}")).chain([".pace".to_owned()]).collect()
}

impl Shared {
    /// Makes directory and file where they are not there.
    ///
    /// Errors: they can't be made or written, belong to somebody else, may be written by somebody
    /// else, or are links; or the system does not tell its boots apart.
    pub(crate) fn open(directory: &Path, name: String) -> io::Result<Shared> {
        let boot = std::fs::read(BOOT_ID)?;
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&directory)?;
        let others = Mode::WGRP | Mode::WOTH;
        if !is_own(&stat) || Mode::from_raw_mode(stat.st_mode).intersects(others) {
            return Err(denied("the directory is not this user's alone"));
        }
        let file = open_file(&directory, &name)?;
        let buffer = vec![0; REGION];
        let held = Held { file, alone_until: None, warned: false, buffer };
        Ok(Shared { directory, name, boot, held: Mutex::new(held) })
    }

    /// The time that all processes agree on.
    pub(crate) fn now() -> Duration {
        Duration::try_from(clock_gettime(CLOCK)).unwrap_or_default()
    }

    /// Waits for the others, but not for long: none if we have to go on without them.
    pub(crate) async fn lock(&self) -> Option<Locked<'_>> {
        let mut held = self.held.lock().await;
        let start = Instant::now();
        if held.alone_until.is_some_and(|until| start < until) {
            return None;
        }
        loop {
            match self.try_lock(&mut held) {
                Ok(true) => return Some(Locked { shared: self, held }),
                Ok(false) if start.elapsed() < PATIENCE => tokio::time::sleep(RETRY).await,
                Ok(false) => {
                    held.leave(&io::Error::other("another process does not let go of it"));
                    return None;
                }
                Err(error) => {
                    held.leave(&error);
                    return None;
                }
            }
        }
    }

    fn try_lock(&self, held: &mut Held) -> io::Result<bool> {
        match rustix::fs::flock(&held.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if rustix::fs::fstat(&held.file)?.st_nlink > 0 {
            return Ok(true);
        }
        // Somebody tidied up: who comes new has another file.
        held.file = open_file(&self.directory, &self.name)?;
        Ok(false)
    }

    fn digest(&self, payload: &[u8]) -> [u8; DIGEST] {
        let digest = Sha256::new().chain_update(RECORD).chain_update(&self.boot);
        let digest = digest.chain_update(payload).finalize();
        let mut start = [0; DIGEST];
        start.copy_from_slice(&digest[..DIGEST]);
        start
    }
}

impl Held {
    /// Goes on without the others.
    fn leave(&mut self, error: &io::Error) {
        self.alone_until = Some(Instant::now() + ALONE);
        if !std::mem::replace(&mut self.warned, true) {
            warn!(%error, "limits are not shared with other processes for now");
        }
    }
}

impl Locked<'_> {
    /// What was stored of scope number `scope`, if it can be believed.
    pub(crate) fn load(&mut self, scope: usize) -> Option<Memory> {
        let Held { file, buffer, .. } = &mut *self.held;
        let count = file.read_at(buffer, (scope * REGION) as u64).ok()?;
        let (digest, rest) = buffer[..count].split_first_chunk::<DIGEST>()?;
        let (length, rest) = rest.split_first_chunk::<LENGTH>()?;
        let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let is_ours = *digest == self.shared.digest(payload);
        is_ours.then(|| postcard::from_bytes(payload).ok()).flatten()
    }

    pub(crate) fn store(&mut self, scope: usize, memory: &Memory) {
        let Held { file, buffer, .. } = &mut *self.held;
        let stored = postcard::to_slice(memory, &mut buffer[DIGEST + LENGTH..])
            .map(|payload| payload.len())
            .map_err(io::Error::other)
            .and_then(|count| {
                let end = DIGEST + LENGTH + count;
                let length = u32::try_from(count).map_err(io::Error::other)?;
                let digest = self.shared.digest(&buffer[DIGEST + LENGTH..end]);
                buffer[..DIGEST].copy_from_slice(&digest);
                buffer[DIGEST..DIGEST + LENGTH].copy_from_slice(&length.to_le_bytes());
                file.write_all_at(&buffer[..end], (scope * REGION) as u64)
            });
        if let Err(error) = stored {
            self.held.leave(&error);
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Closing the file would unlock it as well.
        let _ = rustix::fs::flock(&self.held.file, FlockOperation::Unlock);
    }
}

fn open_file(directory: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?;
    let stat = rustix::fs::fstat(&file)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_file || !is_own(&stat) || stat.st_nlink > 1 {
        return Err(denied("the file is not this user's alone"));
    }
    Ok(file.into())
}

fn is_own(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

fn denied(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
