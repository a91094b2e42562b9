//! The versions of the contract. Each is one module with its bindings; the rest of the crate knows
//! a [`Contract`] to link against and a [`Guest`] to call.

mod v0;
mod v1;

use wasmtime::{
    Engine, Result, Store,
    component::{
        Component, InstancePre,
        types::{self, ComponentExtern, ComponentItem},
    },
};

use crate::{ContentDecision, Error, Manifest, MetadataDecision, imports::Imports, state::State};

/// One version of the contract.
pub(crate) struct Contract {
    /// What is compared with the version in a guest's imports.
    major: u64,
    minor: u64,
    /// The same as text, with the patch.
    pub(crate) version: &'static str,
    /// The functions that it gives.
    imports: Imports,
    /// Finds the exports that it wants.
    bind: fn(InstancePre<State>) -> Result<Box<dyn Guest>>,
}

/// A component that has the exports of some version.
pub(crate) trait Guest: Send + Sync {
    /// Makes the instance, in a fresh store.
    fn instantiate(&self, store: &mut Store<State>) -> Result<Box<dyn Instance>>;
}

/// An instance, to be asked one thing. The outer error is a failure of the guest, the inner one
/// its own.
pub(crate) trait Instance {
    /// What it says of itself, not checked yet.
    fn describe(&self, store: &mut Store<State>) -> Result<Manifest>;
    /// Whether it accepts its settings.
    fn configure(&self, store: &mut Store<State>) -> Result<Result<(), String>>;
    /// By metadata.
    fn on_metadata(&self, store: &mut Store<State>) -> Result<Result<MetadataDecision, String>>;
    /// By content.
    fn on_content(&self, store: &mut Store<State>) -> Result<Result<ContentDecision, String>>;
}

/// All that we run: the current version and the one before.
pub(crate) struct Contracts(Vec<Contract>);

impl Contracts {
    pub(crate) fn new(engine: &Engine) -> Result<Self> {
        Ok(Contracts(vec![v1::contract(engine)?, v0::contract(engine)?]))
    }

    /// Finds the contract that a component is built for, and links it.
    pub(crate) fn link(
        &self,
        plugin: &str,
        component: &Component,
    ) -> std::result::Result<(&'static str, Box<dyn Guest>), Error> {
        let contract = self.of(plugin, component)?;
        let mismatch = |error: wasmtime::Error| Error::Contract {
            plugin: plugin.to_owned(),
            contract: contract.version,
            message: format!("{error:#}"),
        };
        let linked = contract.imports.linker().instantiate_pre(component).map_err(mismatch)?;
        let guest = (contract.bind)(linked).map_err(mismatch)?;
        Ok((contract.version, guest))
    }

    /// The contract of all imports. Fails with all imports that none of them has.
    fn of(&self, plugin: &str, component: &Component) -> std::result::Result<&Contract, Error> {
        let engine = component.engine();
        let ty = component.component_type();
        let mut foreign = Vec::new();
        let mut versions: Vec<&str> = Vec::new();
        let mut ours = Vec::new();
        for (name, item) in ty.imports(engine) {
            match name.strip_prefix("tar365:plugin/").map(|rest| rest.split_once('@')) {
                Some(Some((interface, version))) => {
                    versions.push(version);
                    ours.push((name.to_owned(), interface.to_owned(), item));
                }
                // Types carry no power; they only name what the functions speak of.
                None if matches!(item.ty, ComponentItem::Type(_)) => {}
                _ => foreign.push(name.to_owned()),
            }
        }
        versions.sort_unstable();
        versions.dedup();
        let contract = match versions[..] {
            [] => Some(self.by_exports(&ty, engine)),
            [version] => self.by_version(version),
            _ => None,
        };
        if let Some(contract) = contract {
            for (name, interface, item) in &ours {
                foreign.extend(contract.missing(engine, interface, item).map(|function| {
                    if function.is_empty() { name.clone() } else { format!("{name} {function}") }
                }));
            }
        }
        if !foreign.is_empty() {
            let cure = cure(&foreign);
            return Err(Error::Imports { plugin: plugin.to_owned(), imports: foreign, cure });
        }
        contract.ok_or_else(|| Error::Version {
            plugin: plugin.to_owned(),
            version: versions.join(" and "),
            supported: self.supported(),
        })
    }

    /// A guest of an earlier version of the same major is run; of 0.x, where every minor is major,
    /// only the same.
    fn by_version(&self, version: &str) -> Option<&Contract> {
        let (major, minor) = major_and_minor(version)?;
        self.0.iter().find(|contract| {
            contract.major == major
                && if major == 0 { minor == contract.minor } else { minor <= contract.minor }
        })
    }

    /// A guest that imports nothing says by its exports what it is.
    fn by_exports(&self, component: &types::Component, engine: &Engine) -> &Contract {
        let is_old = component.get_export(engine, "keep").is_some();
        let [current, before] = &self.0[..] else { unreachable!("there are two contracts") };
        if is_old { before } else { current }
    }

    fn supported(&self) -> String {
        let each = self.0.iter().map(|contract| match contract {
            Contract { major: 0, minor, .. } => format!("0.{minor}"),
            Contract { major, minor: 0, .. } => format!("{major}.0"),
            Contract { major, minor, .. } => format!("{major}.0 to {major}.{minor}"),
        });
        each.collect::<Vec<_>>().join(" and ")
    }
}

impl Contract {
    /// What of an imported interface this version does not have: functions, or the interface as a
    /// whole, which is the empty name.
    fn missing(
        &self,
        engine: &Engine,
        interface: &str,
        item: &ComponentExtern,
    ) -> impl Iterator<Item = String> {
        let missing = match &item.ty {
            ComponentItem::ComponentInstance(instance) => instance
                .exports(engine)
                .filter(|(name, item)| match item.ty {
                    ComponentItem::Type(_) => false,
                    ComponentItem::ComponentFunc(_) => !self.imports.has_function(interface, name),
                    _ => true,
                })
                .map(|(name, _)| name.to_owned())
                .collect(),
            _ => vec![String::new()],
        };
        missing.into_iter()
    }
}

/// Major and minor of a plain `1.2.3`.
fn major_and_minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.splitn(3, '.').map(|part| part.parse().ok());
    let (major, minor, _patch): (u64, u64, u64) = (parts.next()??, parts.next()??, parts.next()??);
    Some((major, minor))
}

/// What the author of a plugin with these imports can do.
fn cure(imports: &[String]) -> &'static str {
    if imports.iter().any(|name| name.starts_with("wasi:")) {
        "a plugin has no clock, files, network or randomness: build Rust for \
         wasm32-unknown-unknown, and JavaScript and Python with --stub-wasi"
    } else {
        "a plugin has nothing but the functions of tar365:plugin"
    }
}
