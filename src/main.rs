//! `tar365`: Microsoft 365 as a deterministic tar, for the backup software you already trust.

mod base;
mod bundled;
mod cli;
mod commands;
mod config;
mod exit;
mod input;
mod label;
mod narrow;
mod output;
mod plugins;
mod program;
mod progress;
mod remote;
mod report;
mod shard;
mod signals;
mod state;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;

/// See Cargo.toml; `.cargo/config.toml` has its settings.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match cli::Cli::try_parse() {
        Ok(cli) => commands::run(cli.command),
        Err(error) => terminal::usage(&error),
    }
}
