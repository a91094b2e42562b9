//! The flags of the commands that let plugins decide, and the commands of those who write them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use plugin_host::Limits;

use super::SpoolArgs;

pub(super) const PLUGIN_EXAMPLES: &str = "\
EXAMPLES
  tar365 plugin new my-filter --lang js
  tar365 plugin build my-filter
  tar365 plugin check my-filter/my-filter.wasm=my-filter/settings.json
  tar365 plugin run my-filter/my-filter.wasm=my-filter/settings.json m365.tar";

/// Which plugins, and what they may use; the same on every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Plugins")]
pub(crate) struct PluginArgs {
    /// Let a plugin decide what passes: a component (.wasm), or the name of a bundled one
    /// (`tar365 plugin list`), with its settings; repeatable, in this order.
    #[arg(long, value_name = "FILE[=SETTINGS.json]", value_parser = parse_spec)]
    pub(crate) plugin: Vec<PluginSpec>,
    /// Memory of one plugin on one item.
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    pub(crate) plugin_memory: bytesize::ByteSize,
    /// Fuel of one plugin on one item, about one unit an instruction; more for what it reads.
    #[arg(long, value_name = "N", default_value_t = 2_000_000_000)]
    pub(crate) plugin_fuel: u64,
    /// So many folders and items may be missing because a plugin failed on them.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) max_plugin_failures: u64,
}

impl Default for PluginArgs {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            plugin: Vec::new(),
            plugin_memory: bytesize::ByteSize(limits.memory),
            plugin_fuel: limits.fuel,
            max_plugin_failures: 0,
        }
    }
}

/// `tar365 plugin ...`
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Begin a plugin: write a working one into a new folder.
    New(PluginNew),
    /// Build the plugin of a folder by its build.sh, and check it against the contract.
    Build(PluginBuild),
    /// Check a plugin against the contract, and show what it does to the demo tenant, item by item.
    Check(Box<PluginCheck>),
    /// Show what a plugin does to an archive, item by item; nothing is changed.
    Run(Box<PluginRun>),
    /// Measure a plugin: loading, decisions, contents.
    Bench(Box<PluginBench>),
    /// List the plugins that come with the program.
    List(PluginList),
}

/// What a plugin can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    Js,
    Python,
    C,
}

#[derive(Debug, Args)]
pub(crate) struct PluginNew {
    /// Its name in archives and messages: lower-case letters, digits and hyphens.
    #[arg(value_parser = parse_name)]
    pub(crate) name: String,
    /// The language to write it in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub(crate) lang: Language,
    /// The folder, new or empty [default: NAME].
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PluginBuild {
    /// The folder with its build.sh.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,
    /// One JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The plugins to try: one, and those that `--plugin` puts behind it.
#[derive(Debug, Args)]
pub(crate) struct Tried {
    /// The plugin: a component (.wasm) or the name of a bundled one, with its settings.
    #[arg(value_name = "FILE[=SETTINGS.json]", value_parser = parse_spec)]
    first: PluginSpec,
    #[command(flatten)]
    behind: PluginArgs,
}

impl Tried {
    /// All of them, as on the other commands.
    pub(crate) fn args(&self) -> PluginArgs {
        let behind = self.behind.clone();
        let first = std::iter::once(self.first.clone());
        PluginArgs { plugin: first.chain(behind.plugin).collect(), ..behind }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PluginCheck {
    #[command(flatten)]
    pub(crate) tried: Tried,
    /// Also show what is kept.
    #[arg(long)]
    pub(crate) all: bool,
    /// One JSON object a line, the last with the counts.
    #[arg(long)]
    pub(crate) json: bool,
    /// Filter twice and compare the archives byte by byte.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) determinism: bool,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PluginRun {
    #[command(flatten)]
    pub(crate) tried: Tried,
    /// The archive: a file, an address, or - for standard input.
    pub(crate) archive: PathBuf,
    /// Only these services: mail, calendar, contacts, tasks, settings, conversations, onedrive.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) service: Vec<String>,
    /// Only these users: UPN, object id or an earlier address; * and ? allowed.
    #[arg(long, value_name = "GLOB")]
    pub(crate) user: Vec<String>,
    /// Only these groups: mail address, display name or object id; * and ? allowed.
    #[arg(long, value_name = "GLOB")]
    pub(crate) group: Vec<String>,
    /// Keep the filtered archive in this file.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Also show what is kept.
    #[arg(long)]
    pub(crate) all: bool,
    /// One JSON object a line, the last with the counts.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PluginBench {
    #[command(flatten)]
    pub(crate) tried: Tried,
    /// An archive to measure with: a file or an address [default: the demo tenant's].
    #[cfg_attr(not(feature = "demo"), arg(required = true))]
    pub(crate) archive: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PluginList {
    /// One JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A plugin as it is named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginSpec {
    pub(crate) component: PathBuf,
    pub(crate) settings: Option<PathBuf>,
}

/// What is before the last `=` is the component, unless all of it is a file.
fn parse_spec(text: &str) -> Result<PluginSpec, String> {
    let whole = PathBuf::from(text);
    match text.rsplit_once('=') {
        Some((component, settings)) if !whole.is_file() => match (component, settings) {
            ("", _) | (_, "") => Err("FILE or FILE=SETTINGS.json is wanted".to_owned()),
            _ => Ok(PluginSpec { component: component.into(), settings: Some(settings.into()) }),
        },
        _ => Ok(PluginSpec { component: whole, settings: None }),
    }
}

/// A name that the contract allows and that cargo and npm take for a package.
fn parse_name(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let starts = bytes.next().is_some_and(|first| first.is_ascii_lowercase());
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if starts && bytes.all(fits) && !text.ends_with('-') && text.len() <= 64 {
        return Ok(text.to_owned());
    }
    Err("1 to 64 lower-case letters, digits and hyphens are wanted, a letter first".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_flags_are_those_of_the_host() {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            plugins: PluginArgs,
        }
        let flags = <Flags as clap::Parser>::parse_from(["x"]).plugins;
        let default = PluginArgs::default();
        assert_eq!(flags.plugin_memory, default.plugin_memory);
        assert_eq!(flags.plugin_fuel, default.plugin_fuel);
        assert_eq!(flags.max_plugin_failures, default.max_plugin_failures);
    }

    #[test]
    fn names_fit_the_contract() {
        for name in ["a", "my-filter", "x2"] {
            assert_eq!(parse_name(name).as_deref(), Ok(name));
        }
        for name in ["", "2x", "-a", "a-", "My", "a_b", "a/b", "..", &"a".repeat(65)] {
            assert!(parse_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn settings_stand_behind_the_last_equals_sign() {
        let spec = parse_spec("a=b.wasm=c.json").unwrap();
        assert_eq!(spec.component, PathBuf::from("a=b.wasm"));
        assert_eq!(spec.settings, Some(PathBuf::from("c.json")));
        assert_eq!(parse_spec("redact-pii").unwrap().settings, None);
        assert!(parse_spec("=x").is_err());
        assert!(parse_spec("x=").is_err());
    }
}
