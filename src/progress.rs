//! Progress of an export on stderr: a bar, a line now and then, or JSON lines.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use exporter::{Monitor, Progress};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

use crate::cli::ProgressMode;
use crate::terminal;

/// A line in plain mode; backup logs are kept for years.
const PLAIN_EVERY: Duration = Duration::from_secs(30);
const JSON_EVERY: Duration = Duration::from_secs(1);

/// Shows progress as the flags say.
pub(crate) struct Shown {
    how: How,
    last: Mutex<Option<Instant>>,
}

enum How {
    Bar(ProgressBar),
    Plain,
    Json,
    None,
}

impl Shown {
    pub(crate) fn new(mode: ProgressMode) -> Self {
        let how = match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() => How::Bar(bar()),
            ProgressMode::Auto | ProgressMode::Plain => How::Plain,
            ProgressMode::Json => How::Json,
            ProgressMode::None => How::None,
        };
        Self { how, last: Mutex::new(None) }
    }

    /// Leaves the terminal as it was.
    pub(crate) fn finish(&self) {
        if let How::Bar(bar) = &self.how {
            bar.finish_and_clear();
        }
    }

    fn status(&self, text: impl Fn() -> String, numbers: &impl serde::Serialize, path: &str) {
        match &self.how {
            How::Bar(bar) => bar.set_message(format!("{}  {path}", text())),
            How::Plain if self.is_due(PLAIN_EVERY) => {
                terminal::line(&format!("tar365: {}", text()))
            }
            How::Json if self.is_due(JSON_EVERY) => {
                let mut line =
                    serde_json::json!({ "message_type": "status", "current_path": path });
                if let (Some(line), Ok(serde_json::Value::Object(mut numbers))) =
                    (line.as_object_mut(), serde_json::to_value(numbers))
                {
                    line.append(&mut numbers);
                }
                terminal::line(&line.to_string());
            }
            _ => {}
        }
    }

    fn is_due(&self, every: Duration) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // The first is due after one interval: short runs say only how they ended.
        let since = last.get_or_insert_with(Instant::now);
        let due = since.elapsed() >= every;
        if due {
            *since = Instant::now();
        }
        due
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

impl importer::Monitor for Shown {
    fn progress(&self, progress: &importer::Progress, path: &str) {
        let text = || {
            format!(
                "{} of {} items, {}, {} failed",
                HumanCount(progress.restored),
                HumanCount(progress.wanted),
                HumanBytes(progress.bytes),
                progress.failed
            )
        };
        self.status(text, progress, path);
    }

    fn warn(&self, message: &str) {
        Monitor::warn(self, message);
    }
}

impl Monitor for Shown {
    fn progress(&self, progress: &Progress, path: &str) {
        let text = || {
            format!(
                "{} of {} items, {}, {} skipped, {} failed",
                HumanCount(progress.items),
                HumanCount(progress.listed),
                HumanBytes(progress.bytes),
                progress.skipped,
                progress.failed
            )
        };
        self.status(text, progress, path);
    }

    fn warn(&self, message: &str) {
        match &self.how {
            How::Bar(bar) => bar.println(format!("tar365: warning: {message}")),
            How::Json => terminal::line(
                &serde_json::json!({ "message_type": "warning", "message": message }).to_string(),
            ),
            How::Plain | How::None => terminal::line(&format!("tar365: warning: {message}")),
        }
    }
}
