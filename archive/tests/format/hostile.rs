//! Archives made to harm: readers fail or report, they never panic, hang or take much memory.

use archive::{Index, Kind, Reader, SEAL_PATH, extract, verify};
use proptest::prelude::*;

use crate::sample;

/// A ustar member with any header fields, as another program could write it.
fn member(name: &[u8], flag: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(tar::EntryType::new(flag));
    header.set_size(size);
    header.set_mode(0o644);
    if matches!(flag, b'1' | b'2') {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn plain(name: &str, content: &[u8]) -> Vec<u8> {
    member(name.as_bytes(), b'0', content.len() as u64, content)
}

fn pax(body: &[u8]) -> Vec<u8> {
    member(b"PaxHeaders/x", b'x', body.len() as u64, body)
}

/// Verifies, reads and extracts; the problems and what was written below the directory.
fn survive(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let problems = sample::problems(bytes);
    assert!(!problems.is_empty());
    drop(Index::open(std::io::Cursor::new(bytes)));
    let place = tempfile::tempdir().unwrap();
    let target = place.path().join("target");
    let options = extract::Options { overwrite: true, damaged: true };
    drop(extract::extract(bytes, &target, options, &mut |_: &archive::Entry| true, &mut |_, _| {}));
    let written = sample::tree(place.path()).into_keys();
    (problems, written.filter(|name| name != "target").collect())
}

#[test]
fn paths_that_leave_the_directory() {
    for name in
        ["../evil", "/evil", "a/../../evil", "./evil", "a//evil", "..", "a\\..\\evil", "a\nb"]
    {
        let (_, written) = survive(&plain(name, b"x"));
        assert_eq!(written, Vec::<String>::new(), "{name}");
        let (_, written) = survive(&member(name.as_bytes(), b'5', 0, b""));
        assert_eq!(written, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn links_and_devices_are_never_made() {
    for flag in *b"1234SMVNDA" {
        let bytes = [member(b"a", flag, 0, b""), plain("a/b", b"x")].concat();
        let (_, written) = survive(&bytes);
        assert!(written.iter().all(|name| name == "target/a" || name == "target/a/b"), "{flag}");
        let mut reader = Reader::new(&bytes[..]);
        match reader.next_entry() {
            Ok(entry) => assert_eq!(entry.unwrap().kind, Kind::Other(flag)),
            Err(error) => drop(error),
        }
    }
}

#[cfg(unix)]
#[test]
fn links_that_lie_in_the_way_are_not_followed() {
    let place = tempfile::tempdir().unwrap();
    let (target, outside) = (place.path().join("target"), place.path().join("outside"));
    std::fs::create_dir(&target).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, target.join("a")).unwrap();
    std::os::unix::fs::symlink(outside.join("file"), target.join("b")).unwrap();
    let bytes = [plain("a/x", b"1"), plain("b", b"2"), member(b"a/d", b'5', 0, b"")].concat();
    let options = extract::Options { overwrite: true, damaged: true };
    let done = extract::extract(
        &bytes[..],
        &target,
        options,
        &mut |_: &archive::Entry| true,
        &mut |_, _| {},
    );
    assert_eq!(done.unwrap().refused, 2);
    assert!(sample::tree(&outside).is_empty());
    assert_eq!(std::fs::read(target.join("b")).unwrap(), b"2");
}

#[test]
fn absurd_sizes() {
    let huge = [u64::MAX, u64::MAX - 511, 1 << 62, 1 << 40];
    for size in huge {
        survive(&member(b"a", b'0', size, b"x"));
        survive(&member(b"a", b'x', size, b"x"));
        survive(&member(b"a", b'L', size, b"x"));
        survive(&member(b"a", b'g', size, b"x"));
        survive(&member(SEAL_PATH.as_bytes(), b'0', size, b"x"));
        survive(&member(b".tar365/archive.json", b'0', size, b"{}"));
        survive(&member(b".tar365/EXPORT-FAILED", b'0', size, b"reason"));
        let length = format!("6 size={size}\n").len() + 1;
        let record = format!("{length} size={size}\n");
        survive(&[pax(record.as_bytes()), plain("a", b"x")].concat());
    }
}

#[test]
fn malformed_pax_records() {
    let long = format!("{} path={}\n", 17_008, "x".repeat(16_996));
    let bodies: Vec<&[u8]> = vec![
        b"",
        b"\0",
        b"5 a\n",
        b"99999999999999999999 path=x\n",
        b"0 path=x\n",
        b"-1 path=x\n",
        b"10 path=x\n",
        b"9 path=x\n9 path",
        b"8 path=x\n",
        b"10 path=\xff\n",
        b" path=x\n",
        b"11 size=-1\n",
        b"12 size=1e9\n",
        b"24 size=99999999999999999\n",
        long.as_bytes(),
        b"9 path=/\n",
        b"8 path=\n",
        b"17 mtime=99999999\n",
        b"30 mtime=9223372036854775807.5\n",
    ];
    for body in bodies {
        survive(&[pax(body), plain("a", b"x")].concat());
    }
    let chain: Vec<u8> = (0..2000).flat_map(|_| pax(b"9 path=x\n")).collect();
    survive(&chain);
}

#[test]
fn bad_json_everywhere() {
    let deep = "[".repeat(100_000);
    let lines = ["", "{", "null", "[]", "{\"kind\":\"owner\"}", "\u{0}", "{}", deep.as_str()];
    let paths = [
        ".tar365/archive.json",
        "users/a/mail.ndjson",
        "directory/users.ndjson",
        ".tar365/manifest.ndjson",
        ".tar365/ledger.ndjson",
        ".tar365/seal.json",
    ];
    for line in lines {
        for path in paths {
            let head = plain(".tar365/archive.json", sample::head().encode().as_bytes());
            for text in [line.to_owned(), format!("{line}\n"), format!("{line}\n{line}\n")] {
                survive(&plain(path, text.as_bytes()));
                survive(&[&head[..], &plain(path, text.as_bytes())].concat());
                let padded = format!("{text:4096}");
                survive(&[head.clone(), plain(path, padded.as_bytes()), vec![0; 1024]].concat());
            }
        }
    }
}

#[test]
fn a_line_without_an_end_is_not_collected() {
    // 64 MiB of one line: the reader stops at its limit instead of holding it.
    let body = vec![b'x'; 64 << 20];
    let bytes = plain("users/a/mail.ndjson", &body);
    let problems = sample::problems(&bytes);
    assert!(problems.iter().any(|problem| problem.contains("too long")), "{problems:?}");
}

#[test]
fn the_seal_of_another_file_is_not_trusted() {
    let (bytes, seal, _) = sample::full(None);
    let tail = &bytes[bytes.len() - 4096 - 1024 - 512..];
    assert!(Index::open(std::io::Cursor::new(tail)).is_err());
    let mut forged = seal;
    forged.manifest.length = u64::MAX;
    forged.ledger.offset = u64::MAX;
    let end = bytes.len() - 4096 - 1024;
    let bytes = [&bytes[..end], &forged.encode(), &[0; 1024]].concat();
    assert!(Index::open(std::io::Cursor::new(&bytes)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn noise_is_survived(noise in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let report = verify::verify(&noise[..], &std::env::temp_dir(), &mut |_| {}).unwrap();
        prop_assert!(!report.is_proven());
        drop(Index::open(std::io::Cursor::new(&noise)));
    }

    #[test]
    fn noise_in_a_good_archive_is_survived(
        at in 0_usize..60_000,
        noise in proptest::collection::vec(any::<u8>(), 1..600),
    ) {
        let (mut bytes, ..) = sample::full(None);
        let at = at % bytes.len();
        let end = bytes.len().min(at + noise.len());
        let before = bytes[at..end].to_vec();
        bytes[at..end].copy_from_slice(&noise[..end - at]);
        let report = verify::verify(&bytes[..], &std::env::temp_dir(), &mut |_| {}).unwrap();
        prop_assert_eq!(report.is_proven(), before == bytes[at..end]);
    }
}
