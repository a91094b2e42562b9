//! `plugin`: for those who write plugins, and those who choose among them.

mod bench;
mod build;
mod check;
mod demo;
mod imports;
mod list;
mod loaded;
mod new;
mod run;
mod sample;
mod template;
mod watch;

use crate::cli::PluginCommand;
use crate::exit::{Code, Failure};

pub(super) async fn run(command: PluginCommand) -> Result<Code, Failure> {
    match command {
        PluginCommand::New(args) => new::run(&args),
        PluginCommand::Build(args) => tokio::task::block_in_place(|| build::run(&args)),
        PluginCommand::Check(args) => check::run(&args).await,
        PluginCommand::Run(args) => run::run(&args).await,
        PluginCommand::Bench(args) => bench::run(&args).await,
        PluginCommand::List(args) => tokio::task::block_in_place(|| list::run(&args)),
    }
}
