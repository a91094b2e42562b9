//! Whatever happens to the bytes of an archive, verification notices.

use archive::{Kind, Reader, verify};

use crate::sample;

fn is_proven(bytes: &[u8]) -> bool {
    let report = verify::verify(bytes, &std::env::temp_dir(), &mut |_| {}).unwrap();
    report.is_proven()
}

/// The members of an archive as byte ranges, the seal and the end blocks as the last.
fn members(bytes: &[u8]) -> Vec<&[u8]> {
    let mut reader = Reader::new(bytes);
    let mut members = Vec::new();
    let mut end = 0;
    while let Some(entry) = reader.next_entry().unwrap() {
        end = (entry.offset + entry.span) as usize;
        members.push(&bytes[entry.offset as usize..end]);
    }
    members.push(&bytes[end..]);
    members
}

#[test]
fn a_cut_at_every_block_and_beside_it() {
    let (bytes, ..) = sample::full(None);
    assert!(is_proven(&bytes));
    for end in (0..bytes.len()).step_by(512) {
        assert!(!is_proven(&bytes[..end]), "cut at {end}");
        assert!(!is_proven(&bytes[..end + 1]), "cut at {}", end + 1);
        assert!(!is_proven(&bytes[..end + 511]), "cut at {}", end + 511);
    }
}

#[test]
fn every_flipped_bit_of_a_small_archive() {
    let mut sample = sample::Sample::new(None);
    let prefix = "users/a@b.c/mail";
    let line = sample::message(prefix, 1, "Grüße");
    sample.metadata(prefix, &[sample::owner("1", "a@b.c"), line.clone()]);
    sample.file(line.path.as_deref().unwrap(), 1, b"Subject: x\r\n\r\n", true);
    let (mut bytes, ..) = sample.finish();
    assert!(is_proven(&bytes));
    // One bit of each byte: which one changes from byte to byte.
    for at in 0..bytes.len() {
        let bit = 1 << (at % 8);
        bytes[at] ^= bit;
        assert!(!is_proven(&bytes), "byte {at}, bit {bit}");
        bytes[at] ^= bit;
    }
}

#[test]
fn a_flipped_bit_in_each_block_of_the_full_archive() {
    let (mut bytes, ..) = sample::full(None);
    for block in 0..bytes.len() / 512 {
        for at in [0, 1, 100, 124, 148, 156, 257, 300, 500, 511] {
            bytes[block * 512 + at] ^= 0x20;
            assert!(!is_proven(&bytes), "block {block}, byte {at}");
            bytes[block * 512 + at] ^= 0x20;
        }
    }
}

#[test]
fn a_member_dropped_doubled_or_moved() {
    let (bytes, ..) = sample::full(None);
    let members = members(&bytes);
    assert!(members.len() > 20);
    for at in 0..members.len() {
        let mut dropped = members.clone();
        dropped.remove(at);
        assert!(!is_proven(&dropped.concat()), "member {at} dropped");
        let mut doubled = members.clone();
        doubled.insert(at, members[at]);
        assert!(!is_proven(&doubled.concat()), "member {at} doubled");
        if at > 0 {
            let mut swapped = members.clone();
            swapped.swap(at - 1, at);
            assert!(!is_proven(&swapped.concat()), "members {} and {at} swapped", at - 1);
        }
    }
}

#[test]
fn blocks_added_at_every_member_border() {
    let (bytes, ..) = sample::full(None);
    let mut end = 0;
    for member in members(&bytes) {
        end += member.len();
        for block in [[0; 512], [b'x'; 512]] {
            let longer = [&bytes[..end], &block, &bytes[end..]].concat();
            assert!(!is_proven(&longer), "at {end}");
        }
    }
    assert!(!is_proven(&[&bytes[..], b"x"].concat()));
    assert!(!is_proven(&[&bytes[..], b"\0"].concat()));
}

#[test]
fn what_another_tar_wrote_again_is_readable_but_not_proven() {
    let (bytes, _, expected) = sample::full(None);
    let mut builder = tar::Builder::new(Vec::new());
    let mut reader = Reader::new(&bytes[..]);
    while let Some(entry) = reader.next_entry().unwrap() {
        let content = reader.content().into_vec(u64::MAX).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(entry.size);
        if entry.kind == Kind::Directory {
            header.set_entry_type(tar::EntryType::Directory);
        }
        builder.append_data(&mut header, &entry.path, &content[..]).unwrap();
    }
    let foreign = builder.into_inner().unwrap();
    let mut reader = Reader::new(&foreign[..]);
    for (path, content) in expected {
        assert_eq!(reader.next_entry().unwrap().unwrap().path, path);
        let read = reader.content().into_vec(u64::MAX).unwrap();
        assert_eq!(read, content.unwrap_or_default());
    }
    assert!(!is_proven(&foreign));
}
