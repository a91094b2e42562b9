//! What the fuzz targets do with their bytes. The test suite runs the same with bytes of its own,
//! so this needs nothing but what both have: `archive` and `serde_json`.

use std::io::{Cursor, Read};

use archive::{Index, OwnerNames, Reader, Selection};

/// Reads a stream to its end or its first error: whatever it is, what was read adds up.
pub fn archive_reader(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut spans = 0;
    while let Ok(Some(entry)) = reader.next_entry() {
        assert_eq!(entry.offset, spans, "members follow each other");
        spans += entry.span;
        let mut content = reader.content();
        let read = std::io::copy(&mut content, &mut std::io::sink());
        match read {
            Ok(read) => assert_eq!(read, entry.size),
            Err(_) => return,
        }
    }
    let ended = reader.finish();
    drop(ended);
}

/// Opens a file by its seal, lists it, and reads each member that the manifest speaks of.
pub fn index(data: &[u8]) {
    let Ok(mut index) = Index::open(Cursor::new(data)) else { return };
    let mut entries = Vec::new();
    let listed = index.each(&mut |entry| {
        entries.push(entry.clone());
        entries.len() < 1000
    });
    for entry in &entries {
        let Ok(mut reader) = index.open_entry(entry) else { continue };
        let mut content = Vec::new();
        if reader.content().read_to_end(&mut content).is_ok() {
            assert_eq!(content.len() as u64, entry.line.size);
        }
    }
    drop(listed);
}

/// Builds a selection out of lines (field, then value) and asks it about one of them.
pub fn selection(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut selection = Selection::default();
    let mut asked = "";
    for line in text.lines() {
        let (field, value) = line.split_at_checked(1).unwrap_or((line, ""));
        let value = || value.to_owned();
        match field {
            "u" => selection.users.push(value()),
            "i" => selection.include.push(value()),
            "e" => selection.exclude.push(value()),
            "s" => drop(selection.services.insert(value())),
            _ => asked = line,
        }
    }
    let json = selection.to_json();
    serde_json::to_string(&json).expect("a selection can be written");
    let Ok(selector) = selection.compile() else { return };
    let names = OwnerNames { upn: asked.to_owned(), ..OwnerNames::default() };
    let (path, service) = (selector.matches_path(asked), selector.matches_service(asked));
    if selector.excludes_subtree(asked) {
        assert!(!path, "what is below is excluded, and it is not: {asked:?}");
    }
    let _ = (selector.matches_owner(&names), service);
}
