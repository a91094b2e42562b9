//! `plugin list`: the plugins that come with the program.

use plugin_host::Source;
use serde_json::json;

use super::loaded;
use crate::bundled;
use crate::cli::{PluginArgs, PluginList};
use crate::exit::{Code, Failure};
use crate::plugins;
use crate::terminal::Data;

pub(super) fn run(args: &PluginList) -> Result<Code, Failure> {
    let host = plugins::host(&PluginArgs::default())?;
    let mut data = Data::new();
    for bundled in bundled::ALL {
        let source = Source {
            name: bundled.name.to_owned(),
            component: bundled.component.to_vec(),
            settings: least_settings(bundled.name).into(),
        };
        let plugin = host.load(source).map_err(|error| {
            Failure::because(Code::Fatal, "loading what comes with the program", &error)
        })?;
        let manifest = plugin.manifest();
        let (phases, sha256) = (loaded::phases(manifest), archive::hex(&plugin.reference().sha256));
        if args.json {
            let line = json!({
                "name": bundled.name,
                "version": manifest.version,
                "phases": phases,
                "services": manifest.services,
                "description": manifest.description,
                "sha256": sha256,
            });
            data.line(&line.to_string())?;
            continue;
        }
        data.line(&format!("{} {}: {}", bundled.name, manifest.version, manifest.description))?;
        data.line(&format!("   {}; sha256 {sha256}", phases.join(", ")))?;
    }
    data.finish()?;
    Ok(Code::Success)
}

/// Settings that a plugin is loaded with to read its manifest, which does not depend on them. Those
/// that are no use without settings refuse to be without.
fn least_settings(name: &str) -> &'static str {
    match name {
        "keep-only" => r#"{"keep": "true"}"#,
        "legal-hold" => r#"{"holds": [{"name": "none", "custodians": ["*"]}]}"#,
        _ => "",
    }
}
