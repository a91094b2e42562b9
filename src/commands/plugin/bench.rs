//! `plugin bench`: what a plugin costs on this machine.

use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use archive::{Region, Selection};
use exporter::{Silent, SpoolOptions};
use plugin_host::{Chain, ContentDecision, ContentError, Host, Item, Limits};

use super::demo;
use super::sample::Sample;
use crate::cli::{PluginArgs, PluginBench};
use crate::commands::export;
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::plugins;
use crate::terminal::Data;

/// How long calls are repeated.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

pub(super) async fn run(args: &PluginBench) -> Result<Code, Failure> {
    let plugins = args.tried.args();
    let spool = export::spool(&args.spool)?;
    let (chain, cold, warm) = tokio::task::block_in_place(|| loading(&plugins))?;
    let mut data = Lines(Vec::new());
    data.line("load, cold cache", &format!("{:.1} ms", cold.as_secs_f64() * 1e3));
    data.line("load, warm cache", &format!("{:.1} ms", warm.as_secs_f64() * 1e3));
    let archive = match &args.archive {
        Some(path) => match tokio::task::block_in_place(|| Input::open(path))? {
            Input::Seekable(archive) => archive,
            Input::Stream(_) => {
                return Err(Failure::usage(
                    "a plugin is not measured with a compressed or piped \
                     archive",
                ));
            }
        },
        None => demo::archive(&spool).await?,
    };
    tokio::task::block_in_place(|| {
        let sample = Sample::of(&archive)?;
        data.line("metadata", &decisions(&chain, &sample));
        data.line("content", &contents(&chain, &sample));
        Ok::<_, Failure>(())
    })?;
    // Once unmeasured, so that the second is not the one that has the file in memory.
    whole(&archive, Chain::default(), &spool).await?;
    let without = whole(&archive, Chain::default(), &spool).await?;
    let with = whole(&archive, chain, &spool).await?;
    data.line("archive without it", &speed(archive.length(), without));
    data.line("archive through it", &speed(archive.length(), with));
    data.show()?;
    Ok(Code::Success)
}

/// What was measured, by lines.
struct Lines(Vec<String>);

impl Lines {
    fn line(&mut self, what: &str, result: &str) {
        self.0.push(format!("{what:<20}{result}"));
    }

    fn show(&self) -> Result<(), Failure> {
        let mut data = Data::new();
        self.0.iter().try_for_each(|line| data.line(line))?;
        data.finish()
    }
}

/// The chain, and how long it takes to load into an empty cache and from a full one.
fn loading(args: &PluginArgs) -> Result<(Chain, Duration, Duration), Failure> {
    let cache = tempfile::tempdir()
        .map_err(|error| Failure::because(Code::Usage, "making a temporary folder", &error))?;
    let limits =
        Limits { memory: args.plugin_memory.as_u64(), fuel: args.plugin_fuel, ..Limits::default() };
    let load = || {
        let sources = args.plugin.iter().map(plugins::source).collect::<Result<Vec<_>, _>>()?;
        let host = Host::new(&limits, Some(cache.path()))
            .map_err(|error| Failure::because(Code::Usage, "", &error))?;
        let start = Instant::now();
        let plugins = sources.into_iter().map(|source| host.load(source));
        let plugins = plugins
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure::because(Code::Usage, "", &error))?;
        Ok::<_, Failure>((Chain::new(plugins), start.elapsed()))
    };
    let (_, cold) = load()?;
    let (chain, warm) = load()?;
    Ok((chain, cold, warm))
}

/// How many folders and items a second the chain decides on by metadata, on one core.
fn decisions(chain: &Chain, sample: &Sample) -> String {
    let asked: Vec<&Item> =
        sample.items.iter().filter(|item| chain.wants_metadata(&item.service)).collect();
    let (calls, failed, _, time) = repeated(asked.len(), |number| {
        let is_failure = asked.get(number).is_some_and(|item| chain.on_metadata(item).is_err());
        (is_failure, 0)
    });
    if calls == 0 {
        return "it is not asked".to_owned();
    }
    format!("{:.0} decisions/s on one core{}", per_second(calls, time), failures(failed, calls))
}

/// How much content the chain takes, on one core.
fn contents(chain: &Chain, sample: &Sample) -> String {
    let asked: Vec<(&Item, &Arc<[u8]>)> = sample
        .contents
        .iter()
        .filter_map(|(item, content)| Some((sample.items.get(*item)?, content)))
        .filter(|(item, _)| chain.wants_content(&item.service))
        .collect();
    let (calls, failed, bytes, time) = repeated(asked.len(), |number| {
        let Some((item, content)) = asked.get(number) else { return (false, 0) };
        (pass(chain, item, content).is_err(), content.len() as u64)
    });
    if calls == 0 {
        return "it is not asked".to_owned();
    }
    format!(
        "{:.1} MB/s, {:.0} items/s on one core{}",
        per_second(bytes, time) / 1e6,
        per_second(calls, time),
        failures(failed, calls)
    )
}

/// One content through the chain.
fn pass(chain: &Chain, item: &Item, content: &Arc<[u8]>) -> Result<(), ContentError> {
    let mut replaced: Option<Vec<u8>> = None;
    for plugin in chain.content_plugins(&item.service) {
        let (decision, written) = match replaced.clone() {
            Some(content) => plugin.on_content(item, Cursor::new(content), Vec::new()),
            None => plugin.on_content(item, Cursor::new(Arc::clone(content)), Vec::new()),
        };
        match decision? {
            ContentDecision::Keep => {}
            ContentDecision::Drop(_) => break,
            ContentDecision::Replace => replaced = Some(written),
        }
    }
    Ok(())
}

/// Calls with the numbers below `count`, over and over, for long enough. Each says whether it
/// failed and how many bytes it took; the sums of that, and the time.
fn repeated(count: usize, mut call: impl FnMut(usize) -> (bool, u64)) -> (u64, u64, u64, Duration) {
    let (mut calls, mut failed, mut bytes) = (0, 0, 0);
    let start = Instant::now();
    for number in (0..count).cycle() {
        let (is_failure, of_call) = call(number);
        calls += 1;
        failed += u64::from(is_failure);
        bytes += of_call;
        if start.elapsed() >= LONG_ENOUGH {
            break;
        }
    }
    (calls, failed, bytes, start.elapsed())
}

/// How long the archive takes through a chain, all of it, as `plugin run` does it.
async fn whole(archive: &Region, chain: Chain, spool: &SpoolOptions) -> Result<Duration, Failure> {
    let start = Instant::now();
    let input = Input::Seekable(archive.clone());
    let everything = Selection::default();
    plugins::rewritten(input, chain, &everything, spool.clone(), Arc::new(Silent)).await?;
    Ok(start.elapsed())
}

fn speed(bytes: u64, time: Duration) -> String {
    format!("{:.2} s, {:.1} MB/s", time.as_secs_f64(), per_second(bytes, time) / 1e6)
}

#[expect(clippy::cast_precision_loss, reason = "a number for people")]
fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn failures(failed: u64, calls: u64) -> String {
    match failed {
        0 => String::new(),
        failed => format!("; {failed} of {calls} failed"),
    }
}
