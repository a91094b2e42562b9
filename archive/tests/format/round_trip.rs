//! What the writer writes, every reader of this crate reads.

use crate::sample;

use std::io::{Cursor, Read};

use archive::{End, Index, Kind, Reader, Writer, path};
use proptest::prelude::*;

#[test]
fn the_reader_sees_every_member() {
    for align in [None, Some(512), Some(4096), Some(65536)] {
        let (bytes, seal, expected) = sample::full(align);
        let mut reader = Reader::new(&bytes[..]);
        for (path, content) in &expected {
            let entry = reader.next_entry().unwrap().unwrap();
            assert_eq!(&entry.path, path);
            assert_eq!(entry.kind == Kind::Directory, content.is_none());
            let read = reader.content().into_vec(u64::MAX).unwrap();
            assert_eq!(read, content.clone().unwrap_or_default(), "{path}");
            if let Some(align) = align.filter(|_| entry.size > 0) {
                assert_eq!(entry.data_offset % align, 0, "{path}");
            }
        }
        assert_eq!(reader.next_entry().unwrap().unwrap().path, archive::MANIFEST_PATH);
        assert_eq!(reader.next_entry().unwrap().unwrap().path, archive::LEDGER_PATH);
        assert_eq!(reader.next_entry().unwrap(), None);
        assert_eq!(reader.finish().unwrap(), End::Sealed(seal));
        assert_eq!(reader.position(), bytes.len() as u64);
    }
}

#[test]
fn the_index_finds_every_member() {
    let (bytes, seal, expected) = sample::full(None);
    let mut index = Index::open(Cursor::new(&bytes)).unwrap();
    assert_eq!(index.seal(), &seal);
    assert_eq!(index.head(), &sample::head());
    let mut entries = Vec::new();
    index
        .each(&mut |entry| {
            entries.push(entry.clone());
            true
        })
        .unwrap();
    assert_eq!(entries.len(), expected.len());
    for (entry, (path, content)) in entries.iter().zip(&expected) {
        assert_eq!(&entry.line.path, path);
        assert_eq!(index.entry_at(path).unwrap().as_ref(), Some(entry));
        let mut read = Vec::new();
        index.open_entry(entry).unwrap().content().read_to_end(&mut read).unwrap();
        assert_eq!(&read, content.as_deref().unwrap_or_default());
        assert_eq!(entry.line.damaged, path.ends_with("damaged.iso"));
    }
    assert_eq!(index.entry_at("users/nobody").unwrap(), None);
}

#[test]
fn the_full_sample_is_proven() {
    for align in [None, Some(4096)] {
        let (bytes, seal, expected) = sample::full(align);
        assert_eq!(sample::problems(&bytes), Vec::<String>::new());
        assert_eq!(seal.members, expected.len() as u64);
        assert_eq!((seal.items, seal.skipped, seal.failed), (13, 2, 1));
        assert_eq!((seal.converted, seal.damaged), (1, 1));
    }
}

#[test]
fn a_failed_stream_says_why() {
    let mut sample = sample::Sample::new(None);
    sample.directory("users/a", 0);
    let bytes = sample.writer.fail("the tenant\u{7} is gone").unwrap();
    let mut reader = Reader::new(&bytes[..]);
    while reader.next_entry().unwrap().is_some() {}
    assert_eq!(reader.finish().unwrap(), End::Poisoned("the tenant  is gone".into()));
    assert_eq!(bytes.len() % 512, 0);
}

#[test]
fn a_stream_that_fails_inside_a_member_stays_torn() {
    let mut writer = Writer::new(Vec::new(), sample::options(None)).unwrap();
    writer.head(&sample::head()).unwrap();
    writer.begin_stream("users/a", 0, 10_000).unwrap();
    writer.stream(&[1; 600]).unwrap();
    let length = writer.position();
    let bytes = writer.fail("reason").unwrap();
    assert_eq!(bytes.len() as u64, length);
    assert!(Reader::new(&bytes[..]).finish().is_err());
}

#[test]
fn the_writer_refuses_what_it_must() {
    use archive::{Error, writer::FileMember};
    let mut writer = Writer::new(Vec::new(), sample::options(None)).unwrap();
    assert!(!writer.started());
    assert!(matches!(writer.directory("a", 0), Err(Error::Usage { .. })));
    writer.head(&sample::head()).unwrap();
    assert!(matches!(writer.head(&sample::head()), Err(Error::Usage { .. })));
    assert!(matches!(writer.directory("../a", 0), Err(Error::Path { .. })));
    assert!(matches!(writer.directory(".tar365/x", 0), Err(Error::Usage { .. })));
    assert!(matches!(writer.stream(b"x"), Err(Error::Usage { .. })));
    writer.begin_stream("a", 0, 3).unwrap();
    assert!(matches!(writer.directory("b", 0), Err(Error::Usage { .. })));
    assert!(matches!(writer.stream(b"four"), Err(Error::Size { found: 4, .. })));
    assert_eq!(writer.end_stream().unwrap(), 3);
    let file = FileMember { path: "b", mtime: 0, size: 4, sha256: [0; 32], item: true };
    assert!(matches!(writer.file(&file, &mut &b"abc"[..]), Err(Error::Size { found: 3, .. })));
    assert!(matches!(writer.finish(None), Err(Error::Usage { .. })));
    for size in [3, 5] {
        let mut writer = Writer::new(Vec::new(), sample::options(None)).unwrap();
        writer.head(&sample::head()).unwrap();
        let file = FileMember { size, ..file };
        assert!(matches!(writer.file_in_memory(&file, b"abcd"), Err(Error::Size { .. })));
        assert!(matches!(writer.file(&file, &mut &b"abcd"[..]), Err(Error::Size { .. })));
    }
    let mut writer = Writer::new(Vec::new(), sample::options(None)).unwrap();
    writer.head(&sample::head()).unwrap();
    assert!(matches!(writer.file(&file, &mut &b"abcd"[..]), Err(Error::Digest { .. })));
    for align in [0, 256, 3000, 131_072] {
        assert!(Writer::new(Vec::new(), sample::options(Some(align))).is_err());
    }
}

#[test]
fn content_in_memory_is_written_as_any_other() {
    use archive::writer::FileMember;
    use sha2::{Digest, Sha256};
    for size in [0, 1, 511, 512, 200_000] {
        let content = vec![7; size];
        let sha256 = Sha256::digest(&content).into();
        let file = FileMember { path: "a", mtime: 3, size: size as u64, sha256, item: true };
        let write = |in_memory| {
            let mut writer = Writer::new(Vec::new(), sample::options(None)).unwrap();
            writer.head(&sample::head()).unwrap();
            match in_memory {
                true => writer.file_in_memory(&file, &content).unwrap(),
                false => writer.file(&file, &mut &content[..]).unwrap(),
            }
            writer.finish(None).unwrap().0
        };
        assert!(write(true) == write(false), "{size} bytes");
    }
}

#[test]
fn sizes_that_ustar_cannot_hold() {
    /// Keeps the first bytes of a stream that is too long to keep.
    struct Start(Vec<u8>);
    impl std::io::Write for Start {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let room = 8192 - self.0.len();
            self.0.extend(&bytes[..room.min(bytes.len())]);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for size in [(1 << 33) - 1, 1 << 33, 9 << 30, 1 << 50] {
        let mut writer = Writer::new(Start(Vec::new()), sample::options(None)).unwrap();
        writer.head(&sample::head()).unwrap();
        writer.begin_stream("users/a/big", 0, size).unwrap();
        let start = writer.fail("unused: inside a member").unwrap();
        let mut reader = Reader::new(&start.0[..]);
        reader.next_entry().unwrap();
        assert_eq!(reader.next_entry().unwrap().unwrap().size, size);
        // Base-256 from 8 GiB on, for readers that know no PAX size.
        let ustar = start.0.chunks(512).rfind(|block| block.starts_with(b"users/a/big")).unwrap();
        assert_eq!(ustar[124] == 0x80, size >= 1 << 33);
    }
}

/// A member: its name below a folder, its content, and whether it is streamed.
fn members() -> impl Strategy<Value = Vec<(String, Vec<u8>, bool)>> {
    let size = prop_oneof![0_usize..3, 500_usize..530, 0_usize..5000];
    let content = size.prop_flat_map(|size| proptest::collection::vec(any::<u8>(), size));
    proptest::collection::vec((any::<String>(), content, any::<bool>()), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_written_is_read(members in members(), align in 8_u32..14) {
        let align = (align > 8).then(|| 1_u64 << align);
        let prefix = "users/a@b.c/onedrive";
        let mut lines = vec![sample::owner("1", "a@b.c")];
        for (number, (name, ..)) in members.iter().enumerate() {
            let (depth, number) = (number % 4, number as u32);
            let folders = format!("{}/", path::directory_component(name, "f")).repeat(depth);
            let name = path::tagged_component(name, &number.to_string());
            lines.push(sample::drive_file(number, &format!("{prefix}/{folders}{name}")));
        }
        let mut sample = sample::Sample::new(align);
        sample.metadata(prefix, &lines);
        for (line, (_, content, streamed)) in lines[1..].iter().zip(&members) {
            let path = line.path.as_deref().unwrap();
            if *streamed {
                sample.streamed(path, content.len() as u64, content);
            } else {
                sample.file(path, i64::from(content.len() as u32) - 100, content, true);
            }
        }
        let (bytes, seal, expected) = sample.finish();
        prop_assert_eq!(seal.items, members.len() as u64);
        let mut reader = Reader::new(&bytes[..]);
        for (path, content) in &expected {
            let entry = reader.next_entry().unwrap().unwrap();
            prop_assert_eq!(&entry.path, path);
            let read = reader.content().into_vec(u64::MAX).unwrap();
            prop_assert_eq!(Some(&read), content.as_ref());
        }
        prop_assert_eq!(reader.finish().unwrap(), End::Sealed(seal));
        // Two folders that differ only in case may have come of two names: nothing else.
        for problem in sample::problems(&bytes) {
            prop_assert!(problem.contains("but for case"), "{problem}");
        }
    }
}
