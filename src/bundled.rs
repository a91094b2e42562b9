//! The plugins that come with the program, as components. `plugins/build --bundled` makes them of
//! `plugins/filters`; they are in the repository so that nobody needs a compiler for WebAssembly to
//! use them, and so that the same version of tar365 has the same plugins, byte by byte, everywhere.

/// A bundled plugin.
pub(crate) struct Bundled {
    pub(crate) name: &'static str,
    pub(crate) component: &'static [u8],
}

macro_rules! bundled {
    ($($name:literal),*) => {
        &[$(Bundled {
            name: $name,
            component: include_bytes!(concat!("../plugins/bundled/", $name, ".wasm")),
        }),*]
    };
}

/// All of them, by name.
pub(crate) const ALL: &[Bundled] =
    bundled!["drop-attachments", "keep-only", "legal-hold", "redact-pii", "strip-tracking"];

/// The plugin of that name.
pub(crate) fn find(name: &str) -> Option<&'static Bundled> {
    ALL.iter().find(|bundled| bundled.name == name)
}
