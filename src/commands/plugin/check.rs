//! `plugin check`: whether a plugin keeps to the contract, and what it does to the demo tenant.

use std::io::{self, Read};
use std::sync::Arc;

use archive::{Region, Selection};
use exporter::{Silent, SpoolOptions};
use plugin_host::Chain;

use super::demo;
use super::loaded;
use super::watch::{self, Show};
use crate::cli::PluginCheck;
use crate::commands::export;
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::plugins;
use crate::terminal::{self, Data};

pub(super) async fn run(args: &PluginCheck) -> Result<Code, Failure> {
    let plugins = args.tried.args();
    let loaded = tokio::task::block_in_place(|| loaded::all(&plugins))?;
    let mut data = Data::new();
    for plugin in &loaded {
        plugin.show(args.json, &mut data)?;
    }
    data.finish()?;
    if cfg!(not(feature = "demo")) {
        return Ok(Code::Success);
    }
    let spool = export::spool(&args.spool)?;
    let archive = demo::archive(&spool).await?;
    let chain = loaded::chain(loaded);
    let (show, everything) = (Show { all: args.all, json: args.json }, Selection::default());
    let (first, summary, counts) = watch::filter(
        Input::Seekable(archive.clone()),
        chain.clone(),
        &everything,
        spool.clone(),
        show,
    )
    .await?;
    counts.show(&summary, show)?;
    if args.determinism {
        same_again(archive, chain, spool, &first).await?;
    }
    Ok(match summary.plugin_failures > plugins.max_plugin_failures {
        true => Code::Missing,
        false => Code::Success,
    })
}

/// Filters once more; the archive must be the same.
async fn same_again(
    archive: Region,
    chain: Chain,
    spool: SpoolOptions,
    first: &Region,
) -> Result<(), Failure> {
    let input = Input::Seekable(archive);
    let (second, _) =
        plugins::rewritten(input, chain, &Selection::default(), spool, Arc::new(Silent)).await?;
    let same = tokio::task::block_in_place(|| is_same(first, &second)).map_err(|error| {
        Failure::because(Code::Fatal, "reading the archives that were filtered", &error)
    })?;
    if !same {
        return Err(Failure::new(Code::Fatal, "filtered twice, the archives are not the same")
            .hint("no plugin should be able to do that: this is a defect of tar365"));
    }
    terminal::line("tar365: filtered twice, the archives are the same byte for byte");
    Ok(())
}

fn is_same(first: &Region, second: &Region) -> io::Result<bool> {
    if first.length() != second.length() {
        return Ok(false);
    }
    let (mut first, mut second) = (first.reader(), second.reader());
    let (mut one, mut other) = (Vec::new(), Vec::new());
    loop {
        one.clear();
        other.clear();
        let read = first.by_ref().take(1 << 20).read_to_end(&mut one)?;
        second.by_ref().take(1 << 20).read_to_end(&mut other)?;
        if one != other {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}
