//! The only way the importer talks to the outside while it runs.

/// Numbers of a run so far.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Progress {
    /// Items wanted, as far as the archive was read.
    pub wanted: u64,
    /// Items that are where they should be: made now, or there before.
    pub restored: u64,
    /// Items that are not.
    pub failed: u64,
    /// Bytes of content of the restored items.
    pub bytes: u64,
}

/// Receives what happens. Called often: must return quickly.
pub trait Monitor: Send + Sync {
    /// New numbers, with the path of the item that was done last.
    fn progress(&self, progress: &Progress, path: &str);
    /// Something an admin should read, not tied to the end of the run.
    fn warn(&self, message: &str);
}
