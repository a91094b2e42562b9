//! `plugin new`: a plugin that works, to be made one's own.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::template::{self, PLACEHOLDER};
use crate::cli::{Language, PluginNew};
use crate::exit::{Code, Failure};
use crate::terminal::Data;

pub(super) fn run(args: &PluginNew) -> Result<Code, Failure> {
    let directory = args.directory.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if args.lang == Language::Rust && is_dependency(&args.name) {
        return Err(Failure::usage(format!(
            "{} is a crate that plugins in Rust are made of; another name is wanted",
            args.name
        )));
    }
    let failed = |error: io::Error| {
        Failure::because(Code::Usage, &format!("writing to {}", directory.display()), &error)
    };
    if !is_free(&directory).map_err(failed)? {
        return Err(Failure::usage(format!("{} is there already", directory.display()))
            .hint("--directory names another folder, new or empty"));
    }
    for (path, text) in template::files(args.lang) {
        write(&directory.join(path), &text.replace(PLACEHOLDER, &args.name)).map_err(failed)?;
    }
    tell(&directory, &args.name)?;
    Ok(Code::Success)
}

/// Whether a package of this name is among those that a plugin in Rust is built of.
fn is_dependency(name: &str) -> bool {
    let line = format!("name = \"{name}\"");
    let mut lock = template::files(Language::Rust).iter().filter(|(path, _)| *path == "Cargo.lock");
    name != PLACEHOLDER && lock.any(|(_, text)| text.lines().any(|of_lock| of_lock == line))
}

/// Whether there is nothing at `directory`, or an empty folder.
fn is_free(directory: &Path) -> io::Result<bool> {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Writes a new file and the folders that it is in. Scripts can be run.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mode = if text.starts_with("#!") { 0o777 } else { 0o666 };
    let mut file = std::fs::File::options().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}

fn tell(directory: &Path, name: &str) -> Result<(), Failure> {
    let directory = directory.display();
    let plugin = format!("{directory}/{name}.wasm={directory}/settings.json");
    let mut data = Data::new();
    data.line(&format!("{directory} has a plugin that works; its README.md says more. Next:"))?;
    data.line(&format!("   tar365 plugin build {directory}"))?;
    data.line(&format!("   tar365 plugin check {plugin}"))?;
    data.line(&format!("   tar365 export --plugin {plugin} ..."))?;
    data.finish()
}
