//! Other programs, which read what was written: Debian's, and Python's packages of `tests/setup`.

use std::path::Path;
use std::process::Command;

/// Runs a Python script of this directory; panics with what it said if it fails, else returns it.
pub(crate) fn python(script: &str, arguments: &[&Path]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let provided = root.join("../target/tools/bin/python3");
    let interpreter = if provided.exists() { provided } else { "python3".into() };
    let script = root.join("tests/programs").join(script);
    let output = Command::new(interpreter)
        .arg(script)
        .args(arguments)
        .output()
        .expect("python3 runs: see tests/setup");
    let (out, err) = (output.stdout, output.stderr);
    let said = [String::from_utf8_lossy(&out), String::from_utf8_lossy(&err)].concat();
    assert!(output.status.success(), "{said}");
    said
}
