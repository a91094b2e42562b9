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

/// Receives what happens. Called often: must return quickly.
pub trait Monitor: Send + Sync {
    /// New numbers, with the path that is being written.
    fn progress(&self, progress: &Progress, path: &str);
    /// Something an admin should read, not tied to the end of the run.
    fn warn(&self, message: &str);
}

/// Says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Monitor for Silent {
    fn progress(&self, _: &Progress, _: &str) {}
    fn warn(&self, _: &str) {}
}
