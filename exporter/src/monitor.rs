//! The only way the exporter talks to the outside while it runs.

/// Numbers of a run so far.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Progress {
    /// Owners whose sections are written.
    pub owners_done: u64,
    /// Owners of the selection.
    pub owners: u64,
    /// Items found by listing.
    pub listed: u64,
    /// Items written.
    pub items: u64,
    /// Bytes handed to the consumer (before compression).
    pub bytes: u64,
    /// Items the service itself does not give.
    pub skipped: u64,
    /// Items that should be here and are not.
    pub failed: u64,
}

impl Progress {
    /// Adds the numbers of another stream.
    pub fn add(&mut self, other: &Self) {
        self.owners_done += other.owners_done;
        self.owners += other.owners;
        self.listed += other.listed;
        self.items += other.items;
        self.bytes += other.bytes;
        self.skipped += other.skipped;
        self.failed += other.failed;
    }
}

/// What a plugin decided on a folder or item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Path in the archive, before this decision.
    pub path: &'a str,
    /// Kind of its metadata line.
    pub kind: &'a str,
    /// `keep`, `drop`, `change`, `hold`, `keep content`, `replace content` or `fail`.
    pub what: &'a str,
    /// The plugin's name; empty where the chain as a whole decided.
    pub plugin: &'a str,
    /// The plugin's own words.
    pub reason: &'a str,
}

/// Receives what happens. Called often: must return quickly.
pub trait Monitor: Send + Sync {
    /// New numbers, with the path that is being written.
    fn progress(&self, progress: &Progress, path: &str);
    /// Something an admin should read, not tied to the end of the run.
    fn warn(&self, message: &str);
    /// What plugins decide, item by item, as it happens.
    fn decided(&self, _decision: &Decision<'_>) {}
}

/// Says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Monitor for Silent {
    fn progress(&self, _: &Progress, _: &str) {}
    fn warn(&self, _: &str) {}
}
