//! From a file to a plugin that can be asked.

use std::{fs, io::Write, path::Path, time::Instant};

use plugin_host::{Host, Limits};

use crate::{Result, bundled, rates::median, source};

/// Writes the table of milliseconds until a plugin is ready, with its compiled code cached and not.
pub(crate) fn table(out: &mut impl Write) -> Result<()> {
    writeln!(out, "| start-up | component | cold cache | warm cache |")?;
    writeln!(out, "|---|---|---|---|")?;
    let mut files: Vec<_> = fs::read_dir(bundled())?.collect::<std::result::Result<_, _>>()?;
    files.retain(|file| file.path().extension().is_some_and(|extension| extension == "wasm"));
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files {
        let path = file.path();
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("a name is not UTF-8")?;
        let (mut cold, mut warm) = ([0.0; 5], [0.0; 5]);
        for (cold, warm) in cold.iter_mut().zip(&mut warm) {
            let cache = tempfile::tempdir()?;
            *cold = milliseconds(name, cache.path())?;
            *warm = milliseconds(name, cache.path())?;
        }
        let size = file.metadata()?.len() / 1000;
        let (cold, warm) = (median(cold), median(warm));
        writeln!(out, "| {name} | {size} KB | {cold:.0} ms | {warm:.1} ms |")?;
    }
    Ok(())
}

/// How long it takes from nothing.
fn milliseconds(name: &str, cache: &Path) -> Result<f64> {
    // What a plugin must be told to accept its settings.
    let settings = match name {
        "keep-only" => r#"{"keep": "true"}"#,
        "legal-hold" => r#"{"holds": [{"name": "all", "custodians": ["*"]}]}"#,
        _ => "",
    };
    let start = Instant::now();
    let host = Host::new(&Limits::default(), Some(cache))?;
    host.load(source(name, settings)?)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
