//! SIGINT and SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{Code, Failure};

/// Whether we were told to stop, and by which signal.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    number: Arc<AtomicI32>,
    token: CancellationToken,
}

/// Watches from now on.
pub(crate) fn watch() -> Result<Stop, Failure> {
    let failed = |error: std::io::Error| Failure::because(Code::Fatal, "watching signals", &error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let stop = Stop::default();
    let told = stop.clone();
    tokio::spawn(async move {
        let which = tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
        };
        told.number.store(which, Ordering::Relaxed);
        told.token.cancel();
    });
    Ok(stop)
}

impl Stop {
    /// Ends when a signal came.
    pub(crate) async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Whether one came.
    pub(crate) fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Is cancelled when a signal comes.
    pub(crate) fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// How a command ends that was stopped, and what it leaves behind.
    pub(crate) fn failure(&self, left: &str) -> Failure {
        let code = match self.number.load(Ordering::Relaxed) {
            15 => Code::Terminated,
            _ => Code::Interrupted,
        };
        Failure::new(code, format!("interrupted; {left}"))
    }
}
