//! Why a plugin can't be used at all: found before the first byte is written.

use crate::Failure;

/// An error of loading. `plugin` is the name that the operator gave it by ([`crate::Source::name`]).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host itself can't run plugins here.
    #[error("plugins can't be run on this machine: {0}")]
    Engine(String),
    /// Neither a binary of WebAssembly nor its text.
    #[error("plugin {plugin}: the file is no WebAssembly")]
    NotWasm {
        /// The plugin.
        plugin: String,
    },
    /// A core module, which knows no types but numbers.
    #[error(
        "plugin {plugin}: the file is a WebAssembly core module, and plugins are components; build \
         it with the linker wasm-component-ld, or make a component of it by `wasm-tools component \
         new`"
    )]
    CoreModule {
        /// The plugin.
        plugin: String,
    },
    /// WebAssembly that is broken or uses features that are not there.
    #[error("plugin {plugin}: the component is not valid: {message}")]
    Invalid {
        /// The plugin.
        plugin: String,
        /// What the compiler says.
        message: String,
    },
    /// It wants what no plugin gets.
    #[error("plugin {plugin}: it imports what plugins do not have: {}; {cure}", imports.join(", "))]
    Imports {
        /// The plugin.
        plugin: String,
        /// Every import that is not there.
        imports: Vec<String>,
        /// What its author can do.
        cure: &'static str,
    },
    /// It is built for another version of the contract.
    #[error(
        "plugin {plugin}: it is built for tar365:plugin {version}; this program runs {supported}"
    )]
    Version {
        /// The plugin.
        plugin: String,
        /// Its version, or versions.
        version: String,
        /// What we run.
        supported: String,
    },
    /// Its functions are not those of the contract.
    #[error("plugin {plugin}: it is no filter of tar365:plugin {contract}: {message}")]
    Contract {
        /// The plugin.
        plugin: String,
        /// The version it was taken for.
        contract: &'static str,
        /// The first difference.
        message: String,
    },
    /// What it says of itself makes no sense.
    #[error("plugin {plugin}: its manifest is not valid: {message}")]
    Manifest {
        /// The plugin.
        plugin: String,
        /// The first rule that it breaks.
        message: String,
    },
    /// The settings are not accepted, by us or by the plugin.
    #[error("plugin {plugin}: its settings are not accepted: {message}")]
    Settings {
        /// The plugin.
        plugin: String,
        /// What is wrong with them.
        message: String,
    },
    /// It failed while it was asked for its manifest or given its settings.
    #[error("it can't be loaded: {0}")]
    Failed(#[source] Failure),
}
