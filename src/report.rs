//! What is left of a run besides the archive: `--report` (JSON) and `--metrics` (Prometheus).

use std::io::{self, Write};
use std::path::Path;

use archive::Shard;
use chrono::{DateTime, Utc};
use exporter::{Summary, Verdict};
use graph::Counters;
use serde::Serialize;
use serde_json::{Value, json};

use crate::exit::Code;

/// How the streams of a run ended, where each owner has one.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct StreamCounts {
    /// Stored whole.
    pub(crate) complete: u64,
    /// Stored, and more is missing than tolerated.
    pub(crate) partial: u64,
    /// Not stored.
    pub(crate) failed: u64,
    /// Not begun.
    pub(crate) not_begun: u64,
    /// Names of those that failed or are partial, the first [`NAMED`].
    pub(crate) named: Vec<String>,
}

/// More names than this help nobody: the last stream has them all.
pub(crate) const NAMED: usize = 100;

/// How a run ended, for programs.
pub(crate) struct Report<'a> {
    pub(crate) started: DateTime<Utc>,
    pub(crate) ended: DateTime<Utc>,
    pub(crate) tenant: &'a str,
    pub(crate) shard: Option<Shard>,
    pub(crate) summary: &'a Summary,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) counters: Option<&'a Counters>,
    pub(crate) streams: Option<&'a StreamCounts>,
    pub(crate) code: Code,
    pub(crate) error: Option<&'a str>,
}

impl Report<'_> {
    fn json(&self) -> Value {
        json!({
            "tar365": env!("CARGO_PKG_VERSION"),
            "format": archive::FORMAT,
            "tenant": self.tenant,
            "shard": self.shard.map(|shard| shard.to_string()),
            "started": self.started.to_rfc3339(),
            "ended": self.ended.to_rfc3339(),
            "seconds": (self.ended - self.started).as_seconds_f64(),
            "exit_code": self.code.number(),
            "error": self.error,
            "verdict": self.verdict,
            "summary": self.summary,
            "coverage": self.summary.coverage,
            "streams": self.streams,
            "requests": self.counters.map(|c| &c.requests),
            "scopes": self.counters.map(scopes),
            "retries": self.counters.map(|c| c.retries),
            "throttled": self.counters.map(|c| c.throttled),
            "waited_seconds": self.counters.map(|c| c.waited.as_secs_f64()),
            "received_bytes": self.counters.map(|c| c.bytes),
        })
    }

    /// Writes the JSON report; it appears when it is whole.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let text = format!("{:#}\n", self.json());
        replace(path, text.as_bytes())
    }

    /// Writes Prometheus text for node_exporter's textfile collector.
    pub(crate) fn write_metrics(&self, path: &Path) -> io::Result<()> {
        let tenant = self.tenant.replace(['\\', '"', '\n'], "_");
        let shard = self.shard.map(|shard| format!(",shard=\"{shard}\"")).unwrap_or_default();
        let mut text = String::new();
        for (name, help, value) in self.gauges() {
            text.push_str(&format!(
                "# HELP tar365_{name} {help}\n# TYPE tar365_{name} gauge\n\
                 tar365_{name}{{tenant=\"{tenant}\"{shard}}} {value}\n"
            ));
        }
        replace(path, text.as_bytes())
    }

    fn gauges(&self) -> Vec<(&'static str, &'static str, f64)> {
        let length = (self.ended - self.started).as_seconds_f64();
        let sealed = f64::from(u8::from(self.summary.sealed));
        let mut gauges = vec![
            ("last_run_timestamp_seconds", "End of the last run.", seconds(self.ended)),
            ("last_exit_code", "Exit code of the last run.", f64::from(self.code.number())),
            ("last_duration_seconds", "Length of the last run.", length),
            ("sealed", "1 when the stream has its seal.", sealed),
        ];
        gauges.extend(self.counts().map(|(name, help, count)| (name, help, float(count))));
        if self.code == Code::Success {
            let help = "End of the last run with exit code 0.";
            gauges.push(("last_success_timestamp_seconds", help, seconds(self.ended)));
        }
        if let Some(streams) = self.streams {
            let missing = float(streams.failed + streams.not_begun);
            gauges.push((
                "streams_partial",
                "Streams with too much missing.",
                float(streams.partial),
            ));
            gauges.push(("streams_failed", "Streams that were not stored.", missing));
        }
        if let Some(counters) = self.counters {
            let throttled = float(counters.throttled);
            gauges.push(("requests", "Requests sent.", float(counters.requests.values().sum())));
            gauges.push(("requests_throttled", "Answers that told us to slow down.", throttled));
        }
        gauges
    }

    fn counts(&self) -> [(&'static str, &'static str, u64); 8] {
        let summary = self.summary;
        [
            ("owners", "Owners selected.", summary.owners),
            ("items_exported", "Items in the archive.", summary.items),
            ("items_skipped", "Ledger lines: the service does not give it.", summary.skipped),
            ("items_failed", "Ledger lines: it should be here and is not.", summary.failed),
            ("items_converted", "Ledger lines: came by a fallback.", summary.converted),
            ("items_damaged", "Ledger lines: padded.", summary.damaged),
            ("failed_listings", "Listings not read to their end.", summary.failed_listings),
            ("archive_bytes", "Bytes of the tar, before compression.", summary.bytes),
        ]
    }
}

/// What each limited scope was asked for.
fn scopes(counters: &Counters) -> Value {
    let scopes = counters.scopes.iter().map(|(name, scope)| {
        let numbers = json!({
            "requests": scope.requests,
            "units": scope.units,
            "throttled": scope.throttled,
            "waited_seconds": scope.waited.as_secs_f64(),
        });
        ((*name).to_owned(), numbers)
    });
    Value::Object(scopes.collect())
}

/// How a restore ended, for programs and auditors.
pub(crate) struct Restore<'a> {
    pub(crate) started: DateTime<Utc>,
    pub(crate) ended: DateTime<Utc>,
    pub(crate) target: String,
    pub(crate) journal: &'a Path,
    pub(crate) summary: &'a importer::Summary,
    pub(crate) counters: Option<Counters>,
    pub(crate) code: Code,
    pub(crate) error: Option<String>,
}

impl Restore<'_> {
    /// Writes the JSON report; it appears when it is whole.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let counters = self.counters.as_ref();
        let json = json!({
            "tar365": env!("CARGO_PKG_VERSION"),
            "format": archive::FORMAT,
            "target": self.target,
            "journal": self.journal,
            "started": self.started.to_rfc3339(),
            "ended": self.ended.to_rfc3339(),
            "seconds": (self.ended - self.started).as_seconds_f64(),
            "exit_code": self.code.number(),
            "error": self.error,
            "summary": self.summary,
            "requests": counters.map(|c| &c.requests),
            "writes": counters.map(|c| c.writes),
            "uploaded_bytes": counters.map(|c| c.uploaded),
            "retries": counters.map(|c| c.retries),
            "throttled": counters.map(|c| c.throttled),
            "waited_seconds": counters.map(|c| c.waited.as_secs_f64()),
        });
        replace(path, format!("{json:#}\n").as_bytes())
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn float(n: u64) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a float")]
fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp() as f64
}

/// A reader of `path` sees the old file or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Collectors run as someone else.
    replace_with(path, bytes, 0o644)
}

/// The same, for nobody else to read.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, 0o600)
}

fn replace_with(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    let mut permissions = file.as_file().metadata()?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, mode);
    file.as_file().set_permissions(permissions)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
