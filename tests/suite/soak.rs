//! The full count of what CI runs a slice of.

use std::path::Path;

/// Whether it was asked for with `TAR365_SOAK=1`.
pub fn soak() -> bool {
    std::env::var_os("TAR365_SOAK").is_some_and(|value| value == "1")
}

/// The results of a soak, for the documentation.
pub fn write_table(name: &str, table: &str) {
    if soak() {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.md"));
        std::fs::write(file, table).unwrap();
    }
}
