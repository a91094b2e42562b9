//! `plugin run`: what a plugin does to an archive, tried without changing anything.

use std::io;
use std::path::Path;

use archive::Region;

use super::loaded;
use super::watch::{self, Show};
use crate::cli::{PluginRun, SelectionArgs, Sink};
use crate::commands::export;
use crate::config;
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::output;
use crate::plugins;

pub(super) async fn run(args: &PluginRun) -> Result<Code, Failure> {
    let plugins = args.tried.args();
    let chain = tokio::task::block_in_place(|| loaded::all(&plugins)).map(loaded::chain)?;
    let selection = config::selection(&SelectionArgs {
        service: args.service.clone(),
        user: args.user.clone(),
        group: args.group.clone(),
        ..SelectionArgs::default()
    })?;
    let spool = export::spool(&args.spool)?;
    let input = tokio::task::block_in_place(|| Input::open(&args.archive))?;
    let show = Show { all: args.all, json: args.json };
    let (filtered, summary, counts) = watch::filter(input, chain, &selection, spool, show).await?;
    counts.show(&summary, show)?;
    if let Some(path) = &args.output {
        tokio::task::block_in_place(|| keep(&filtered, path))?;
    }
    Ok(plugins::told(&plugins, &summary))
}

/// Copies the archive to a file that appears when it is whole.
fn keep(archive: &Region, path: &Path) -> Result<(), Failure> {
    let (mut output, _) = output::open(&Sink::file(path), None)?;
    let failed = |error: io::Error| {
        Failure::because(Code::Fatal, &format!("writing {}", path.display()), &error)
    };
    io::copy(&mut archive.reader(), &mut output).map_err(failed)?;
    output.complete().map_err(failed)
}
