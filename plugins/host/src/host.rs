//! Loading plugins.

use std::{path::Path, sync::Arc};

use archive::FilterRef;
use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use crate::{
    Error, Limits, Plugin,
    contract::Contracts,
    engine,
    limits::MESSAGE,
    runner::{Calls, Runner},
    text::shown,
};

/// A plugin as it is given to the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// For messages until the plugin has said its own name: file name, or name of a bundled one.
    pub name: String,
    /// The component, binary or as text (`.wat`).
    pub component: Vec<u8>,
    /// The text of the settings file; empty if none was given.
    pub settings: Vec<u8>,
}

/// Compiles plugins and runs their instances.
pub struct Host {
    engine: Engine,
    contracts: Contracts,
    limits: Limits,
    calls: Arc<Calls>,
}

impl Host {
    /// A host that holds all its plugins to `limits`. Compiled code is kept in `cache_dir`, an
    /// optimisation: a directory that can't be used, or that others can write to, is warned about
    /// in the log and not used. Fails with [`Error::Engine`] if the machine can't run WebAssembly.
    pub fn new(limits: &Limits, cache_dir: Option<&Path>) -> Result<Self, Error> {
        let engine = engine::engine(cache_dir)?;
        let contracts =
            Contracts::new(&engine).map_err(|error| Error::Engine(format!("{error:#}")))?;
        Ok(Host { engine, contracts, limits: limits.clone(), calls: Arc::new(Calls::default()) })
    }

    /// Compiles a plugin, checks it against the contract, asks for its manifest and gives it its
    /// settings. See [`Error`] for what can be wrong with it.
    pub fn load(&self, source: Source) -> Result<Plugin, Error> {
        let Source { name, component: bytes, settings } = source;
        let sha256 = Sha256::digest(&bytes).into();
        let settings_sha256 = Sha256::digest(&settings).into();
        let Ok(settings) = String::from_utf8(settings) else {
            return Err(Error::Settings { plugin: name, message: "they are not UTF-8".into() });
        };
        let component = self.compile(&name, &bytes)?;
        let (contract, guest) = self.contracts.link(&name, &component)?;
        let runner = |name: &str, settings: &str| Runner {
            name: name.into(),
            settings: settings.into(),
            limits: self.limits.clone(),
            engine: self.engine.clone(),
            calls: Arc::clone(&self.calls),
        };
        // What it says of itself can't depend on the settings: it does not get them yet.
        let manifest = runner(&name, "")
            .begin()
            .ask(&*guest, |instance, store| instance.describe(store))
            .map_err(Error::Failed)?;
        debug_assert_eq!(manifest.contract, contract, "bindings say their contract");
        let manifest = manifest
            .check()
            .map_err(|message| Error::Manifest { plugin: name.clone(), message })?;
        let runner = runner(&manifest.name, &settings);
        runner
            .begin()
            .ask(&*guest, |instance, store| instance.configure(store))
            .map_err(Error::Failed)?
            .map_err(|message| Error::Settings {
                plugin: name,
                message: shown(&message, MESSAGE),
            })?;
        let reference = FilterRef {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            sha256,
            settings_sha256,
        };
        Ok(Plugin::new(manifest, reference, guest, runner))
    }

    fn compile(&self, plugin: &str, bytes: &[u8]) -> Result<Component, Error> {
        /// Version and layer of a core module's preamble; a component has another layer.
        const CORE: &[u8] = b"\0asm\x01\0\0\0";
        let plugin = || plugin.to_owned();
        let text = if bytes.starts_with(b"\0asm") {
            None
        } else {
            let text = std::str::from_utf8(bytes).ok().map(str::trim_start);
            // A list, or a comment before it.
            let is_text = |text: &&str| ["(", ";;"].iter().any(|start| text.starts_with(start));
            Some(text.filter(is_text).ok_or_else(|| Error::NotWasm { plugin: plugin() })?)
        };
        if bytes.starts_with(CORE) || text.is_some_and(|text| text.starts_with("(module")) {
            return Err(Error::CoreModule { plugin: plugin() });
        }
        Component::new(&self.engine, bytes).map_err(|error| Error::Invalid {
            plugin: plugin(),
            message: shown(&format!("{error:#}"), MESSAGE),
        })
    }
}
