//! What plugins cost, beside the same filters compiled natively: Markdown tables on stdout.
//!
//!     throughput [--write-guests DIR]
//!
//! Components are those in `plugins/bundled`. With `--write-guests` nothing is measured: two guests
//! that read all content are written to DIR, `keeps.wat` and `copies.wat`.

mod content;
#[path = "../../tests/suite/guest.rs"]
#[allow(dead_code, reason = "what only the host's tests use")]
mod guest;
mod load;
mod metadata;
mod rates;

use std::{
    env,
    error::Error,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use plugin_host::{Host, Limits, Plugin, Source};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let host = Host::new(&Limits::default(), None)?;
            let mut out = io::stdout().lock();
            metadata::table(&host, &mut out)?;
            writeln!(out)?;
            content::table(&host, &mut out)?;
            writeln!(out)?;
            load::table(&mut out)?;
            Ok(())
        }
        ["--write-guests", directory] => {
            let directory = Path::new(directory);
            fs::write(directory.join("keeps.wat"), content::keeps().wat())?;
            fs::write(directory.join("copies.wat"), content::copies().wat())?;
            Ok(())
        }
        _ => Err("usage: throughput [--write-guests DIR]".into()),
    }
}

/// The folder of the bundled plugins.
fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bundled")
}

/// A bundled plugin as the program gives it to the host.
fn source(name: &str, settings: &str) -> Result<Source> {
    let path = bundled().join(name).with_extension("wasm");
    let component = fs::read(&path).map_err(|error| {
        format!("{}: {error}; `plugins/build --bundled` makes it", path.display())
    })?;
    Ok(Source { name: name.into(), component, settings: settings.into() })
}

fn plugin(host: &Host, name: &str, settings: &str) -> Result<Plugin> {
    Ok(host.load(source(name, settings)?)?)
}
