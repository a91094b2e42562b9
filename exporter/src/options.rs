//! What an export is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Service, States};

/// Everything that bounds or selects an export.
#[derive(Debug, Clone)]
pub struct Options {
    /// Services in any order; written in the format's order.
    pub services: Vec<Service>,
    /// What is selected.
    pub selection: archive::Selection,
    /// Most content requests in flight, at least 1. A mailbox never has more than 4 of them.
    pub concurrency: usize,
    /// Where and how much is spooled.
    pub spool: SpoolOptions,
    /// Align members to this many bytes, for targets that deduplicate fixed blocks.
    pub align: Option<u64>,
    /// Also export the recoverable items of each mailbox.
    pub include_recoverable: bool,
    /// What contacts are written as.
    pub vcard: archive::VCard,
    /// The tenant as the head of the archive names it.
    pub tenant: String,
    /// Plugins that decide what becomes of items.
    pub plugins: plugin_host::Chain,
    /// From where listings go on, and where they end.
    pub states: Option<Arc<States>>,
    /// True where messages have no delta (FACTS 10: 21Vianet).
    pub without_message_delta: bool,
}

/// Requests that a mailbox takes at a time (FACTS 2.2).
const MOST_SHARE: usize = 4;

impl Options {
    /// Of [`Options::concurrency`], what each section begins with.
    pub(crate) fn share(&self) -> usize {
        (self.concurrency / self.concurrency.div_ceil(MOST_SHARE).max(1)).max(1)
    }

    /// Sections of a stream that are under way at the same time.
    pub(crate) fn sections(&self) -> usize {
        (self.concurrency / self.share()).max(1)
    }
}

/// Where content waits for its turn.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// Directory of the unlinked temporary files.
    pub dir: PathBuf,
    /// Most bytes on disk fetched ahead; a file larger than this is streamed.
    pub disk_bytes: u64,
    /// Most bytes of content in memory.
    pub memory_bytes: u64,
    /// Most bytes of inventories in memory, as long as few sections are under way.
    pub inventory_bytes: u64,
}

impl SpoolOptions {
    /// Spools into `dir`, at most half of what is free there now.
    ///
    /// # Errors
    /// When `dir` is not there.
    pub fn in_dir(dir: PathBuf) -> std::io::Result<Self> {
        let disk_bytes = free_bytes(&dir)? / 2;
        Ok(Self { dir, disk_bytes, memory_bytes: 6 << 20, inventory_bytes: 8 << 20 })
    }
}

/// `$TMPDIR`, else `/var/tmp` (design.md 3.5: `/tmp` is often memory).
#[must_use]
pub fn default_spool_dir() -> PathBuf {
    match std::env::var_os("TMPDIR") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => PathBuf::from("/var/tmp"),
    }
}

fn free_bytes(dir: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// True when files in `dir` live in memory (tmpfs, ramfs): the spool would then eat what it
/// is there to save.
#[must_use]
pub fn spool_dir_is_memory(dir: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::statfs(dir).is_ok_and(|stat| {
        let kind = u64::try_from(stat.f_type).unwrap_or(0);
        kind == TMPFS || kind == RAMFS
    })
}
