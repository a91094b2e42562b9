//! Plugins that are loaded to be looked at.

use plugin_host::{Chain, Error, Host, Manifest, Phase, Plugin};
use serde_json::{Value, json};

use super::imports;
use crate::cli::{PluginArgs, PluginSpec};
use crate::exit::{Code, Failure};
use crate::plugins;
use crate::terminal::Data;

/// A plugin that keeps to the contract, and what is to be said of it.
pub(super) struct Loaded {
    plugin: Plugin,
    /// As the command line names it.
    name: String,
    size: usize,
    /// Unknown of a component that is given as text.
    imports: Option<Vec<String>>,
    has_settings: bool,
}

/// Loads the plugins of `args`, in their order.
pub(super) fn all(args: &PluginArgs) -> Result<Vec<Loaded>, Failure> {
    let host = plugins::host(args)?;
    args.plugin.iter().map(|spec| one(&host, spec)).collect()
}

/// Loads one plugin.
pub(super) fn one(host: &Host, spec: &PluginSpec) -> Result<Loaded, Failure> {
    let source = plugins::source(spec)?;
    let (name, size) = (source.name.clone(), source.component.len());
    let imports = imports::of(&source.component);
    let has_settings = spec.settings.is_some();
    let plugin = host.load(source).map_err(|error| {
        let failure = Failure::because(Code::Usage, "", &error);
        match error {
            Error::Settings { .. } if !has_settings => {
                failure.hint("its settings are given behind it: FILE=SETTINGS.json")
            }
            _ => failure,
        }
    })?;
    Ok(Loaded { plugin, name, size, imports, has_settings })
}

/// The chain that they are.
pub(super) fn chain(plugins: Vec<Loaded>) -> Chain {
    Chain::new(plugins.into_iter().map(|loaded| loaded.plugin).collect())
}

impl Loaded {
    /// What it says of itself, and what it is.
    pub(super) fn show(&self, as_json: bool, data: &mut Data) -> Result<(), Failure> {
        if as_json {
            return data.line(&self.json().to_string());
        }
        let manifest = self.plugin.manifest();
        data.line(&format!("{} {}: {}", manifest.name, manifest.version, manifest.description))?;
        let mut row = |what: &str, text: &str| data.line(&format!("   {what:<10} {text}"));
        row("author", &manifest.author)?;
        row("phases", &phases(manifest).join(", "))?;
        row("services", &services(manifest))?;
        row("contract", &format!("tar365:plugin {}", manifest.contract))?;
        if let Some(imports) = &self.imports {
            row("imports", &imports.join(", "))?;
        }
        row("component", &format!("{}, {} bytes", self.name, self.size))?;
        let reference = self.plugin.reference();
        row("sha256", &archive::hex(&reference.sha256))?;
        if self.has_settings {
            row("settings", &format!("sha256 {}", archive::hex(&reference.settings_sha256)))?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let manifest = self.plugin.manifest();
        let reference = self.plugin.reference();
        let mut json = json!({
            "plugin": manifest.name,
            "version": manifest.version,
            "author": manifest.author,
            "description": manifest.description,
            "phases": phases(manifest),
            "services": manifest.services,
            "contract": manifest.contract,
            "component": self.name,
            "size": self.size,
            "sha256": archive::hex(&reference.sha256),
            "settings_sha256": archive::hex(&reference.settings_sha256),
        });
        if let Some(imports) = &self.imports {
            json["imports"] = imports.clone().into();
        }
        json
    }
}

/// Its phases, by the contract's names.
pub(super) fn phases(manifest: &Manifest) -> Vec<&'static str> {
    let name = |phase: &Phase| match phase {
        Phase::Hold => "hold",
        Phase::Metadata => "metadata",
        Phase::Content => "content",
    };
    manifest.phases.iter().map(name).collect()
}

fn services(manifest: &Manifest) -> String {
    match manifest.services.is_empty() {
        true => "all".to_owned(),
        false => manifest.services.join(", "),
    }
}
