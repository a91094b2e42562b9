//! One file a verb. Each turns flags into options, calls one library function, and says how it
//! ended.

mod cat;
mod completions;
#[cfg(feature = "demo")]
pub(crate) mod demo;
mod diff;
mod doctor;
#[cfg(feature = "demo")]
mod drill;
mod export;
mod extract;
mod find;
mod import;
mod list;
mod plan;
mod plugin;
#[cfg(feature = "demo")]
mod simulate;
mod verify;

pub(crate) use list::first_line;

use std::future::Future;
use std::process::ExitCode;

use crate::cli::Command;
use crate::exit::{Code, Failure};
use crate::terminal;

/// Runs a command to its exit code.
pub(crate) fn run(command: Command) -> ExitCode {
    terminal::install_panic_message();
    terminal::log_to_stderr();
    raise_open_files();
    let ended = match command {
        Command::Export(args) => in_runtime(export::run(*args)),
        Command::Find(args) => in_runtime(find::run(*args)),
        Command::Diff(args) => in_runtime(diff::run(*args)),
        Command::Import(args) => in_runtime(import::run(*args)),
        Command::List(args) => blocking(move || list::run(&args)),
        Command::Cat(args) => blocking(move || cat::run(&args)),
        Command::Extract(args) => blocking(move || extract::run(&args)),
        Command::Verify(args) => blocking(move || verify::run(&args)),
        Command::Doctor(args) => in_runtime(doctor::run(*args)),
        Command::Plan(args) => in_runtime(plan::run(*args)),
        Command::Plugin(command) => in_runtime(plugin::run(command)),
        #[cfg(feature = "demo")]
        Command::Drill(args) => in_runtime(drill::run(*args)),
        #[cfg(feature = "demo")]
        Command::Simulate(args) => in_runtime(simulate::run(*args)),
        #[cfg(feature = "demo")]
        Command::Demo(args) => in_runtime(demo::run(args)),
        Command::Completions(args) => completions::run(&args),
    };
    match ended {
        Ok(code) => code.into(),
        Err(failure) => {
            terminal::failure(&failure);
            failure.code.into()
        }
    }
}

/// A hundred mailboxes at a time have connections and temporary files of their own; the usual soft
/// limit of 1,024 is for programs that use `select`.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it can't be raised, it may still be enough.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Runs on a runtime whose idle threads do not keep the process alive.
fn in_runtime(command: impl Future<Output = Result<Code, Failure>>) -> Result<Code, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        // One for each section of the largest `--concurrency`, and what else blocks: converters
        // wait for room with a thread each, and the one that all wait for needs one, too.
        .max_blocking_threads(2048)
        .enable_all()
        .build()
        .map_err(|error| Failure::because(Code::Fatal, "starting", &error))?;
    let ended = runtime.block_on(command);
    // Left running until the process ends, which is next: a task that comes back from a blocking
    // read after its runtime was shut down panics at its next timer.
    std::mem::forget(runtime);
    ended
}

/// A few threads suffice for what waits on the network, and each costs memory of its own.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8)
}

/// Runs on a thread that may block, beside a runtime for the decoders.
fn blocking(
    command: impl FnOnce() -> Result<Code, Failure> + Send + 'static,
) -> Result<Code, Failure> {
    in_runtime(async {
        tokio::task::spawn_blocking(command)
            .await
            .unwrap_or_else(|_| Err(Failure::new(Code::Fatal, "internal error")))
    })
}
