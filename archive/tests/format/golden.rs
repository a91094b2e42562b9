//! The archives of released format versions are read for ever, and today's writer still writes
//! the newest of them byte for byte.

use std::{fmt::Write, fs};

use archive::{End, Reader, hex};

use crate::sample;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden");

#[test]
fn version_1_is_read_and_proven() {
    let bytes = fs::read(format!("{GOLDEN}/v1-small.tar")).unwrap();
    assert!(bytes.len() < 64 * 1024);
    assert_eq!(sample::problems(&bytes), Vec::<String>::new());
    let mut reader = Reader::new(&bytes[..]);
    let mut listing = String::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let sha256 = reader.content().verify().unwrap();
        let sha256 = sha256.as_ref().map_or_else(|| "-".into(), hex);
        writeln!(
            listing,
            "{} {} {} {sha256} {}",
            entry.offset, entry.size, entry.mtime, entry.path
        )
        .unwrap();
    }
    assert!(matches!(reader.finish().unwrap(), End::Sealed(_)));
    assert_eq!(listing, fs::read_to_string(format!("{GOLDEN}/v1-small.txt")).unwrap());
}

#[test]
fn version_1_is_what_the_writer_writes() {
    let (bytes, ..) = sample::full(None);
    let golden = fs::read(format!("{GOLDEN}/v1-small.tar")).unwrap();
    let differs = bytes.iter().zip(&golden).position(|(one, other)| one != other);
    assert_eq!((differs, bytes.len()), (None, golden.len()), "a change of the format");
}

#[test]
fn the_example_of_the_document_is_in_the_golden_archive() {
    let golden = fs::read(format!("{GOLDEN}/v1-small.tar")).unwrap();
    let document = fs::read_to_string(format!("{GOLDEN}/../../doc/format.md")).unwrap();
    let mut rows = 0;
    for line in document.lines() {
        let Some((offset, rest)) = line.split_once(": ") else {
            continue;
        };
        let Ok(offset) = usize::from_str_radix(offset, 16) else {
            continue;
        };
        let digits: String = rest[..39].split(' ').collect();
        let shown = data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap();
        assert_eq!(shown, golden[offset..offset + 16], "{line}");
        rows += 1;
    }
    assert!(rows > 30);
}
