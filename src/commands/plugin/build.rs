//! `plugin build`: a plugin's own build.sh, and the contract's check of what it made.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::loaded;
use crate::cli::{PluginArgs, PluginBuild, PluginSpec};
use crate::exit::{Code, Failure};
use crate::plugins;
use crate::terminal::{self, Data};

/// What every plugin's folder has.
const SCRIPT: &str = "build.sh";
/// What its settings are read from, if it has any.
const SETTINGS: &str = "settings.json";

pub(super) fn run(args: &PluginBuild) -> Result<Code, Failure> {
    let directory = &args.directory;
    if !directory.join(SCRIPT).is_file() {
        return Err(Failure::usage(format!("{} has no {SCRIPT}", directory.display()))
            .hint("`tar365 plugin new NAME` writes a folder that can be built"));
    }
    let component = build(directory)?;
    let settings = Some(directory.join(SETTINGS)).filter(|path| path.is_file());
    let host = plugins::host(&PluginArgs::default())?;
    let plugin = loaded::one(&host, &PluginSpec { component, settings })?;
    let mut data = Data::new();
    plugin.show(args.json, &mut data)?;
    data.finish()?;
    Ok(Code::Success)
}

/// Runs the script; the last line that it writes to stdout is the path of the component.
fn build(directory: &Path) -> Result<PathBuf, Failure> {
    let failed = |error: io::Error| {
        let doing = format!("running {}", directory.join(SCRIPT).display());
        Failure::because(Code::Fatal, &doing, &error)
    };
    let mut child = Command::new("sh")
        .arg(SCRIPT)
        .current_dir(directory)
        .env_remove("TAR365_CLIENT_SECRET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut last = String::new();
    for line in child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
        last = line.map_err(failed)?;
        terminal::line(&last);
    }
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        let script = directory.join(SCRIPT);
        return Err(Failure::new(Code::Fatal, format!("{} failed: {status}", script.display())));
    }
    let component = directory.join(&last);
    if last.is_empty() || !component.is_file() {
        let script = directory.join(SCRIPT);
        return Err(Failure::new(Code::Fatal, format!("{} made no component", script.display()))
            .hint("the last line that it writes to stdout is to be the path of it"));
    }
    Ok(component)
}
