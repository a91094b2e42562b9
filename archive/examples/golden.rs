//! Writes the golden archive of the current format version and its listing:
//! `cargo run -p archive --example golden tests/golden/v1-small`. Only for a new format version:
//! the archives of released versions are never written again.

use std::{fmt::Write, fs};

use archive::{Reader, hex};

#[path = "../tests/format/sample.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod sample;

fn main() {
    let place = std::env::args().nth(1).expect("the path of the archive without .tar");
    let (bytes, ..) = sample::full(None);
    let mut reader = Reader::new(&bytes[..]);
    let mut listing = String::new();
    while let Some(entry) = reader.next_entry().expect("our own archive") {
        let sha256 = reader.content().verify().expect("our own archive");
        let sha256 = sha256.as_ref().map_or_else(|| "-".into(), hex);
        let archive::Entry { offset, size, mtime, path, .. } = entry;
        writeln!(listing, "{offset} {size} {mtime} {sha256} {path}").expect("a String takes all");
    }
    fs::write(format!("{place}.tar"), bytes).expect("a folder that can be written");
    fs::write(format!("{place}.txt"), listing).expect("a folder that can be written");
}
