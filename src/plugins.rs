//! From flags to a chain of plugins.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::{Region, Selection};
use exporter::{Monitor, Progress, Service, SpoolOptions, Summary};
use plugin_host::{Chain, Host, Limits, Source};
use tokio_util::sync::CancellationToken;

use crate::bundled;
use crate::cli::{PluginArgs, PluginSpec};
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::output;
use crate::terminal;

/// Larger files are no plugins and no settings.
const MOST: u64 = 512 << 20;

/// Loads the plugins that the flags name, in their order.
pub(crate) fn chain(args: &PluginArgs) -> Result<Chain, Failure> {
    if args.plugin.is_empty() {
        return Ok(Chain::default());
    }
    let host = host(args)?;
    let plugins = args.plugin.iter().map(|spec| {
        host.load(source(spec)?).map_err(|error| {
            Failure::because(Code::Usage, "", &error)
                .hint(format!("`tar365 plugin check {}` says more", spec.component.display()))
        })
    });
    plugins.collect::<Result<_, _>>().map(Chain::new)
}

/// The archive as the plugins leave it, in a file of the spool directory that is gone with us, and
/// how many items they failed on. All of it is there before anybody is given a byte of it. Of the
/// selection, owners and services are not written in vain.
pub(crate) async fn filtered(
    input: Input,
    args: &PluginArgs,
    selection: &Selection,
    spool: SpoolOptions,
) -> Result<(Region, Summary), Failure> {
    let plugins = tokio::task::block_in_place(|| chain(args))?;
    rewritten(input, plugins, selection, spool, Arc::new(Warnings)).await
}

/// See [`filtered`].
pub(crate) async fn rewritten(
    input: Input,
    plugins: Chain,
    selection: &Selection,
    spool: SpoolOptions,
    monitor: Arc<dyn Monitor>,
) -> Result<(Region, Summary), Failure> {
    let failed = |error: io::Error| {
        let doing = format!("filtering the archive in {}", spool.dir.display());
        Failure::because(Code::Fatal, &doing, &error)
            .hint("--spool-dir names a directory with room for what is wanted of the archive")
    };
    let archive = input.into_region(&spool.dir).map_err(failed)?;
    let file = tempfile::tempfile_in(&spool.dir).map_err(failed)?;
    let output = output::plain(file.try_clone().map_err(failed)?);
    let options = exporter::Options {
        services: Service::ALL
            .into_iter()
            .filter(|service| {
                let wanted = &selection.services;
                wanted.is_empty() || wanted.contains(service.name())
            })
            .collect(),
        selection: Selection {
            users: selection.users.clone(),
            groups: selection.groups.clone(),
            services: selection.services.clone(),
            ..Selection::default()
        },
        concurrency: 4,
        spool,
        align: None,
        include_recoverable: true,
        vcard: archive::VCard::default(),
        tenant: String::new(),
        plugins,
        states: None,
        without_message_delta: false,
    };
    let stop = CancellationToken::new();
    let (summary, ended) = exporter::rewrite(archive, options, output, monitor, stop).await;
    ended.map_err(bad_archive)?;
    let region = Region::whole(file)
        .map_err(|error| Failure::because(Code::Fatal, "reading what was filtered", &error))?;
    Ok((region, summary))
}

/// The archive is nobody's base here.
fn bad_archive(error: exporter::Error) -> Failure {
    match error {
        exporter::Error::BadBase(error) => Failure::from(error)
            .hint("only a finished archive can be filtered: nobody knows what is missing"),
        error => error.into(),
    }
}

/// Says how filtering an archive went, and how it makes the command end: items that are damaged in
/// the archive are not among what was filtered.
pub(crate) fn told(args: &PluginArgs, summary: &Summary) -> Code {
    let Summary { dropped, plugin_failures, .. } = summary;
    let damaged = summary.causes.get("damaged").copied().unwrap_or_default();
    terminal::line(&format!(
        "tar365: plugins: {dropped} dropped, {plugin_failures} failed; {damaged} damaged in the archive"
    ));
    match (damaged, *plugin_failures > args.max_plugin_failures) {
        (0, false) => Code::Success,
        (0, true) => Code::Missing,
        _ => Code::Fatal,
    }
}

/// Says what goes wrong, and nothing else.
struct Warnings;

impl Monitor for Warnings {
    fn progress(&self, _: &Progress, _: &str) {}

    fn warn(&self, message: &str) {
        terminal::line(&format!("tar365: warning: {message}"));
    }
}

/// A host with the limits of the flags.
pub(crate) fn host(args: &PluginArgs) -> Result<Host, Failure> {
    let limits =
        Limits { memory: args.plugin_memory.as_u64(), fuel: args.plugin_fuel, ..Limits::default() };
    Host::new(&limits, cache_dir().as_deref())
        .map_err(|error| Failure::because(Code::Usage, "", &error))
}

/// The component and its settings. A name without a folder is a bundled plugin's first.
pub(crate) fn source(spec: &PluginSpec) -> Result<Source, Failure> {
    let name = spec.component.display().to_string();
    let component = match bundled::find(&name) {
        Some(bundled) => bundled.component.to_vec(),
        None => read(&spec.component)
            .map_err(|failure| failure.hint("`tar365 plugin list` names the bundled plugins"))?,
    };
    let settings = spec.settings.as_deref().map(read).transpose()?.unwrap_or_default();
    Ok(Source { name, component, settings })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::because(Code::Usage, &format!("reading {}", path.display()), &error)
    };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MOST {
        return Err(Failure::usage(format!("{} is too large: {length} bytes", path.display())));
    }
    std::fs::read(path).map_err(failed)
}

/// Where compiled plugins are kept; none if there is no home.
fn cache_dir() -> Option<PathBuf> {
    let given = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let dir = given("TAR365_PLUGIN_CACHE")
        .or_else(|| given("XDG_CACHE_HOME").map(|dir| dir.join("tar365/plugins")))
        .or_else(|| given("HOME").map(|dir| dir.join(".cache/tar365/plugins")))?;
    match std::fs::create_dir_all(&dir).and_then(|()| dir.canonicalize()) {
        Ok(dir) => Some(dir),
        Err(error) => {
            let dir = dir.display();
            terminal::line(&format!(
                "tar365: warning: compiled plugins are not kept in {dir}: {error}"
            ));
            None
        }
    }
}
