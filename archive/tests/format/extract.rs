//! Extraction by this crate.

use archive::{
    End, Reader,
    extract::{Extracted, Options, extract},
};

use crate::sample;

fn run(bytes: &[u8], target: &std::path::Path, options: Options) -> (Extracted, Vec<String>) {
    let mut refused = Vec::new();
    let done =
        extract(bytes, target, options, &mut |_: &archive::Entry| true, &mut |path, error| {
            refused.push(format!("{path}: {error}"));
        });
    (done.unwrap(), refused)
}

/// What extraction should leave: the members and the folders above them.
fn expected_tree(
    expected: &[sample::Expected],
) -> std::collections::BTreeMap<String, Option<Vec<u8>>> {
    let mut tree = std::collections::BTreeMap::new();
    for (path, content) in expected {
        for (end, _) in path.match_indices('/') {
            tree.insert(path[..end].to_owned(), None);
        }
        tree.insert(path.clone(), content.clone());
    }
    tree
}

#[test]
fn the_tree_is_the_members() {
    let (bytes, seal, mut expected) = sample::full(None);
    let target = tempfile::tempdir().unwrap();
    let (done, refused) = run(&bytes, target.path(), Options::default());
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].ends_with("damaged.iso: it is damaged"), "{refused:?}");
    assert_eq!(done.end, End::Sealed(seal));
    let mut tree = sample::tree(target.path());
    assert!(tree.remove(archive::MANIFEST_PATH).is_some());
    assert!(tree.remove(archive::LEDGER_PATH).is_some());
    expected.retain(|(path, _)| !path.ends_with("damaged.iso"));
    assert_eq!(tree, expected_tree(&expected));
}

#[test]
fn damaged_files_come_when_wanted() {
    let (bytes, _, expected) = sample::full(None);
    let target = tempfile::tempdir().unwrap();
    let wanted = &mut |entry: &archive::Entry| !entry.path.starts_with(".tar365/m");
    let options = Options { damaged: true, overwrite: false };
    let done = extract(&bytes[..], target.path(), options, wanted, &mut |_, _| {}).unwrap();
    assert_eq!(done.refused, 0);
    let mut tree = sample::tree(target.path());
    assert!(tree.remove(archive::LEDGER_PATH).is_some());
    assert_eq!(tree, expected_tree(&expected));
}

#[test]
fn times_are_set_on_files_and_folders() {
    let (bytes, ..) = sample::full(None);
    let target = tempfile::tempdir().unwrap();
    run(&bytes, target.path(), Options::default());
    let drive = target.path().join("users/alice@contoso.com/onedrive");
    for (name, seconds) in [("one.txt", 1_500_000_001), ("Documents", 1_600_000_000)] {
        let modified = drive.join(name).metadata().unwrap().modified().unwrap();
        let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_secs(), seconds, "{name}");
    }
}

#[test]
fn existing_files_are_replaced_only_when_told() {
    let (bytes, ..) = sample::full(None);
    let target = tempfile::tempdir().unwrap();
    let (first, _) = run(&bytes, target.path(), Options::default());
    let (second, refused) = run(&bytes, target.path(), Options::default());
    assert_eq!((second.files, second.refused), (0, first.files + 1));
    assert!(refused[0].starts_with(".tar365/") || refused[0].starts_with("users/"));
    // The manifest that lies there is not the one that proves.
    std::fs::write(target.path().join(archive::MANIFEST_PATH), "").unwrap();
    let drive = target.path().join("users/alice@contoso.com/onedrive/Documents");
    std::fs::remove_file(drive.join("streamed.iso")).unwrap();
    let (again, _) = run(&bytes, target.path(), Options::default());
    assert_eq!(again.files, 1);
    assert!(drive.join("streamed.iso").exists());
    let options = Options { overwrite: true, damaged: false };
    let (third, _) = run(&bytes, target.path(), options);
    assert_eq!((third.files, third.refused), (first.files, first.refused));
}

#[test]
fn what_is_not_proven_leaves_nothing_behind() {
    let (mut bytes, ..) = sample::full(None);
    // Cut behind the streamed files, before the manifest.
    let mut reader = Reader::new(&bytes[..]);
    let (mut streamed, mut flipped) = (0, 0);
    while let Some(entry) = reader.next_entry().unwrap() {
        if entry.path.ends_with("damaged.iso") {
            streamed = (entry.offset + entry.span) as usize;
        }
        if entry.path.ends_with("one.txt") {
            flipped = entry.data_offset as usize;
        }
    }
    bytes[flipped] ^= 1;
    let target = tempfile::tempdir().unwrap();
    let (done, refused) = run(&bytes[..streamed], target.path(), Options::default());
    assert_eq!(done.end, End::Unsealed);
    for (name, what) in [
        ("one.txt", "does not match its digest"),
        ("streamed.iso", "nothing proves it"),
        ("damaged.iso", "nothing proves it"),
    ] {
        let told = refused.iter().any(|line| line.contains(name) && line.ends_with(what));
        assert!(told, "{name}: {refused:?}");
    }
    // The head is not proven either without a manifest.
    assert_eq!(done.refused, 4);
    let names = sample::tree(target.path());
    for name in ["one.txt", "streamed.iso", "damaged.iso", "archive.json", ".tar365-"] {
        assert!(names.keys().all(|path| !path.contains(name)), "{name}");
    }
    let options = Options { overwrite: true, damaged: true };
    let torn = &bytes[..streamed - 600];
    assert!(
        extract(torn, target.path(), options, &mut |_: &archive::Entry| true, &mut |_, _| {})
            .is_err()
    );
    let names = sample::tree(target.path());
    assert!(names.keys().any(|name| name.ends_with("streamed.iso")));
    assert!(names.keys().all(|name| !name.contains(".tar365-")));
}
