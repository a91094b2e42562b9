//! What the writer writes, every reader of this crate reads.

mod sample;

use std::io::{Cursor, Read};

use archive::{End, Index, Kind, Reader, Writer};

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
        assert_eq!((seal.items, seal.skipped, seal.failed), (13, 2, 2));
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
        assert!(matches!(writer.file(&file, &mut &b"abcd"[..]), Err(Error::Size { .. })));
    }
    let mut writer = Writer::new(Vec::new(), sample::options(None)).unwrap();
    writer.head(&sample::head()).unwrap();
    assert!(matches!(writer.file(&file, &mut &b"abcd"[..]), Err(Error::Digest { .. })));
    for align in [0, 256, 3000, 131_072] {
        assert!(Writer::new(Vec::new(), sample::options(Some(align))).is_err());
    }
}
