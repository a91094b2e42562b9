//! What `plugin new` writes: `plugins/templates`, the contract, and for Rust the SDK.

use crate::cli::Language;

/// A file of a template: its path in the folder, and its text.
pub(super) type File = (&'static str, &'static str);

/// What stands in the templates for the plugin's name.
pub(super) const PLACEHOLDER: &str = "my-filter";

macro_rules! files {
    ($directory:literal: $($path:literal)*) => {
        &[$((
            $path,
            include_str!(concat!("../../../plugins/templates/", $directory, "/", $path)),
        )),*]
    };
}

const RUST: &[File] = files!("rust":
    ".gitignore" "Cargo.lock" "Cargo.toml" "README.md" "build.sh" "settings.json" "src/lib.rs"
    "tar365-plugin/Cargo.toml" "tar365-plugin/src/content.rs" "tar365-plugin/src/guest.rs"
    "tar365-plugin/src/item.rs" "tar365-plugin/src/lib.rs" "tar365-plugin/src/log.rs"
    "tar365-plugin/src/native.rs" "tar365-plugin/src/settings.rs" "tar365-plugin/wit/plugin.wit");
const JS: &[File] = files!("js":
    ".gitignore" "README.md" "build.sh" "filter.js" "package.json" "settings.json"
    "wit/plugin.wit");
const PYTHON: &[File] = files!("python":
    ".gitignore" "README.md" "app.py" "build.sh" "requirements.txt" "settings.json"
    "wit/plugin.wit");
const C: &[File] = files!("c":
    ".gitignore" "README.md" "build.sh" "filter.c" "filter.h" "main.c" "settings.json"
    "wit/plugin.wit");

/// All files for a language.
pub(super) const fn files(language: Language) -> &'static [File] {
    match language {
        Language::Rust => RUST,
        Language::Js => JS,
        Language::Python => PYTHON,
        Language::C => C,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// What building, installing and testing leave in a template's folder, or is for the
    /// project's own tests.
    const NOT_WRITTEN: [&str; 5] = ["target", "node_modules", ".venv", "__pycache__", "tests"];

    /// Files below a folder, through links.
    fn found(directory: &Path, prefix: &str, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if NOT_WRITTEN.contains(&name) || name.ends_with(".wasm") {
                continue;
            }
            let inner = format!("{prefix}{name}");
            if path.is_dir() {
                found(&path, &format!("{inner}/"), into);
            } else {
                into.insert(inner);
            }
        }
    }

    #[test]
    fn every_file_of_a_template_is_written() {
        let all = [
            (Language::Rust, "rust"),
            (Language::Js, "js"),
            (Language::Python, "python"),
            (Language::C, "c"),
        ];
        for (language, directory) in all {
            let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/templates");
            let mut on_disk = BTreeSet::new();
            found(&templates.join(directory), "", &mut on_disk);
            let listed: BTreeSet<_> =
                files(language).iter().map(|(path, _)| (*path).to_owned()).collect();
            assert_eq!(listed, on_disk, "{directory}");
        }
    }
}
