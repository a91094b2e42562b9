//! The one module that speaks: stderr for people, stdout for data.
#![expect(clippy::print_stderr, reason = "this is the module that may")]

use std::io::{self, Write};
use std::process::ExitCode;

use crate::exit::{Code, Failure};

/// One line on stderr. A closed stderr is no reason to stop a backup.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A failure: the chain once, then the hint.
pub(crate) fn failure(failure: &Failure) {
    line(&format!("tar365: error: {failure}"));
    if let Some(hint) = failure.hint_text() {
        line(&format!("hint: {hint}"));
    }
}

/// What clap has to say: help and version on stdout, wrong use on stderr.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match (error.exit_code(), printed) {
        (0, Ok(())) => Code::Success.into(),
        (0, Err(_)) => Code::ConsumerGone.into(),
        _ => Code::Usage.into(),
    }
}

/// Writes data to stdout, without the panic that `println!` makes of a closed pipe.
pub(crate) struct Data(io::BufWriter<io::StdoutLock<'static>>);

impl Data {
    pub(crate) fn new() -> Self {
        Self(io::BufWriter::new(io::stdout().lock()))
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.0, "{text}").map_err(|error| gone(&error))
    }

    pub(crate) fn copy(&mut self, content: &mut impl io::Read) -> io::Result<u64> {
        io::copy(content, &mut self.0)
    }

    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.0.flush().map_err(|error| gone(&error))
    }
}

pub(crate) fn gone(error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::BrokenPipe => Code::ConsumerGone,
        _ => Code::Fatal,
    };
    Failure::because(code, "writing to stdout", error)
}

/// Logs to stderr; TAR365_LOG sets what. By default warnings of those that have no other voice.
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TAR365_LOG").unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new("error,graph=warn,plugin=warn,plugin_host=warn")
    });
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

/// Says that a panic is a defect, without a backtrace nobody asked for.
pub(crate) fn install_panic_message() {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("tar365: internal error: {panic}");
        eprintln!("hint: this is a defect of tar365; the stream, if any, has no seal");
    }));
}
