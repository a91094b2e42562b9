//! `diff`: what changed between two archives, or between an archive and the tenant.

use std::collections::BTreeMap;

use archive::Selection;
use exporter::{Base, BaseSource};
use importer::{Choice, Source};
use serde_json::json;

use crate::cli::Diff;
use crate::commands::export;
use crate::config;
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::terminal::Data;

pub(super) async fn run(args: Diff) -> Result<Code, Failure> {
    let choice = Choice { selection: config::selection(&args.selection)?, ..Choice::default() };
    choice.check()?;
    if args.first.as_os_str() == "-" && args.second.as_ref() == Some(&args.first) {
        return Err(Failure::usage("standard input can be one of the archives, not both"));
    }
    let spool = export::spool(&args.spool)?;
    let (first, second, _present) = match &args.second {
        Some(second) => {
            let second = Input::open(second)?.into_source();
            (Input::open(&args.first)?.into_source(), second, None)
        }
        None => present(&args, &choice, &spool).await?,
    };
    let mut data = Data::new();
    let (mut counts, mut failed) = (BTreeMap::new(), Ok(()));
    importer::difference(first, second, &choice, &spool.dir, |found| {
        *counts.entry(found.change).or_insert(0_u64) += 1;
        failed = if args.json {
            data.line(&json!(found).to_string())
        } else {
            let was = found.was.as_ref().map(|was| format!("  (was {was})")).unwrap_or_default();
            data.line(&format!("{:<9} {}{was}", found.change.name(), found.path))
        };
        failed.is_ok()
    })
    .await?;
    failed?;
    let count = |change: &importer::Change| counts.get(change).copied().unwrap_or(0);
    if args.json {
        let counts: BTreeMap<_, _> =
            importer::Change::ALL.iter().map(|change| (change.name(), count(change))).collect();
        data.line(&json!({ "summary": counts }).to_string())?;
    }
    data.finish()?;
    Ok(if counts.is_empty() { Code::Success } else { Code::Missing })
}

type Sides = (Source, Source, Option<tempfile::TempDir>);

/// The archive, and the tenant as it is now: exported with the archive as base, so that only
/// what changed is fetched.
async fn present(
    args: &Diff,
    choice: &Choice,
    spool: &exporter::SpoolOptions,
) -> Result<Sides, Failure> {
    let Input::Seekable(file) = Input::open(&args.first)? else {
        return Err(Failure::usage("--tenant wants an archive in a file")
            .hint("save the pipe to a file first"));
    };
    let head = archive::Index::open(file.reader())?.head().clone();
    let services = head.services.clone();
    let named = &choice.selection.services;
    let services = services.iter().filter(|name| named.is_empty() || named.contains(*name));
    let tenant = config::connect(&args.connection).await?;
    let options = exporter::Options {
        services: services.filter_map(|name| exporter::Service::from_name(name)).collect(),
        // Who is in other shards is not missing in this one.
        selection: Selection { shard: head.shard(), ..choice.selection.clone() },
        concurrency: 16,
        spool: spool.clone(),
        align: None,
        include_recoverable: false,
        vcard: head.vcard,
        tenant: tenant.name.clone(),
        states: None,
        plugins: plugin_host::Chain::default(),
        without_message_delta: tenant.without_message_delta,
    };
    let dir = tempfile::tempdir_in(&spool.dir)
        .map_err(|error| Failure::because(Code::Usage, "making a temporary folder", &error))?;
    let now = dir.path().join("now.tar");
    let base = Base { source: BaseSource::File(file.clone()), incomplete: false, reread: 0.0 };
    export::to_file(&now, &tenant, options, Some(base)).await?;
    let now = std::fs::File::open(&now)
        .and_then(archive::Region::whole)
        .map_err(|error| Failure::because(Code::Fatal, "opening the second archive", &error))?;
    Ok((Source::File(file), Source::File(now), Some(dir)))
}
