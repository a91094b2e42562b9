use super::*;

fn inventory() -> Inventory {
    Inventory::create(&std::env::temp_dir(), LEAST_CACHE).unwrap()
}

fn node<'a>(id: &'a str, parent: &'a str, folder: bool, name: &'a str) -> Node<'a> {
    let kind = if folder { "folder" } else { "file" };
    Node {
        id,
        listing: "drive",
        parent,
        kind,
        folder,
        key: 0,
        mtime: 0,
        name: Name::Native(name),
        json: "{}",
        unwanted: None,
    }
}

fn paths(inventory: &Inventory) -> Vec<String> {
    inventory.arrange("root", "d").unwrap();
    let folders = inventory.folders_after("", 100).unwrap();
    let items = inventory.items_after((i64::MIN, ""), 100).unwrap();
    folders.into_iter().chain(items).map(|item| item.path).collect()
}

#[test]
fn paths_are_rebuilt_from_parents_in_any_order() {
    let inventory = inventory();
    inventory.put(&node("f", "b", false, "x.txt")).unwrap();
    inventory.put(&node("b", "a", true, "B")).unwrap();
    inventory.put(&node("a", "root", true, "A")).unwrap();
    inventory.put(&node("root", "", true, "root")).unwrap();
    assert_eq!(paths(&inventory), ["d/A", "d/A/B", "d", "d/A/B/x.txt"]);
}

#[test]
fn names_that_some_file_system_folds_together_are_all_tagged() {
    let inventory = inventory();
    inventory.put(&node("root", "", true, "root")).unwrap();
    inventory.put(&node("1", "root", false, "Readme.TXT")).unwrap();
    inventory.put(&node("2", "root", false, "readme.txt")).unwrap();
    inventory.put(&node("3", "root", true, "README.txt")).unwrap();
    inventory.put(&node("4", "root", false, "other.txt")).unwrap();
    let tag = archive::path::tag;
    assert_eq!(
        paths(&inventory),
        [
            format!("d/README.txt~{}", tag("3")),
            "d".to_owned(),
            format!("d/Readme~{}.TXT", tag("1")),
            format!("d/readme~{}.txt", tag("2")),
            "d/other.txt".to_owned(),
        ]
    );
}

#[test]
fn what_has_no_folder_is_in_an_odd_place_but_not_lost() {
    let inventory = inventory();
    inventory.put(&node("root", "", true, "root")).unwrap();
    inventory.put(&node("1", "gone", false, "orphan.txt")).unwrap();
    inventory.put(&node("c1", "c2", true, "circle one")).unwrap();
    inventory.put(&node("c2", "c1", true, "circle two")).unwrap();
    inventory.put(&node("2", "c1", false, "in the circle.txt")).unwrap();
    let found = paths(&inventory);
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.iter().any(|path| path.starts_with("d/orphan~")), "{found:?}");
    assert!(found.iter().any(|path| path.ends_with("/in the circle.txt")), "{found:?}");
}

#[test]
fn a_mail_told_of_by_two_folders_is_where_it_was_told_last() {
    let inventory = inventory();
    inventory.put(&node("root", "", true, "root")).unwrap();
    inventory.put(&node("a", "root", true, "A")).unwrap();
    inventory.put(&node("b", "root", true, "B")).unwrap();
    let told = |listing: &'static str| Node {
        listing,
        parent: listing,
        name: Name::Unique("m.eml"),
        ..node("m", "", false, "")
    };
    inventory.put(&told("a")).unwrap();
    inventory.put(&told("b")).unwrap();
    inventory.remove("a", "m").unwrap();
    assert_eq!(paths(&inventory), ["d/A", "d/B", "d", "d/B/m.eml"]);
    // The other order: back to A before B was asked what left it.
    inventory.put(&told("a")).unwrap();
    inventory.remove("b", "m").unwrap();
    assert_eq!(paths(&inventory), ["d/A", "d/B", "d", "d/A/m.eml"]);
}

#[test]
fn very_deep_trees_stay_extractable() {
    let inventory = inventory();
    inventory.put(&node("root", "", true, "root")).unwrap();
    let name = "n".repeat(150);
    let ids: Vec<String> = (0..60).map(|depth| format!("{depth:03}")).collect();
    for (depth, id) in ids.iter().enumerate() {
        let parent = if depth == 0 { "root" } else { &ids[depth - 1] };
        inventory.put(&node(id, parent, true, &name)).unwrap();
    }
    inventory.put(&node("x", "059", false, "deepest.txt")).unwrap();
    let found = paths(&inventory);
    assert_eq!(found.len(), 62);
    assert!(
        found.iter().all(|path| path.len() < 2000),
        "{:?}",
        found.iter().map(String::len).max()
    );
}

#[test]
fn only_folders_above_what_is_used_are_used() {
    let inventory = inventory();
    inventory.put(&node("root", "", true, "root")).unwrap();
    inventory.put(&node("a", "root", true, "A")).unwrap();
    inventory.put(&node("b", "a", true, "B")).unwrap();
    inventory.put(&node("c", "root", true, "C")).unwrap();
    inventory.put(&node("f", "b", false, "x")).unwrap();
    inventory.arrange("root", "d").unwrap();
    inventory.hide("c").unwrap();
    inventory.use_folders().unwrap();
    let used: Vec<_> = inventory
        .folders_after("", 9)
        .unwrap()
        .into_iter()
        .map(|folder| (folder.id, folder.used))
        .collect();
    let expected = [("a", true), ("b", true), ("c", false), ("root", true)];
    assert_eq!(used, expected.map(|(id, used)| (id.to_owned(), used)));
}

#[test]
fn what_is_not_told_again_is_removed() {
    let inventory = inventory();
    let mut event = node("1", "root", false, "one");
    assert!(inventory.update(&event).unwrap());
    assert!(inventory.update(&node("2", "root", false, "two")).unwrap());
    assert!(inventory.update(&Node { listing: "other", ..node("3", "root", false, "x") }).unwrap());
    inventory.outdate("drive").unwrap();
    assert!(!inventory.update(&event).unwrap());
    assert_eq!(inventory.remove_outdated("drive").unwrap(), 1);
    assert_eq!(inventory.items().unwrap(), 2);
    inventory.outdate("drive").unwrap();
    event.json = "{\"a\":1}";
    assert!(inventory.update(&event).unwrap());
    assert_eq!(inventory.remove_outdated("drive").unwrap(), 0);
}

#[test]
fn what_has_no_root_of_its_own_stands_under_the_service() {
    let inventory = inventory();
    inventory.put(&node("c", "", true, "Calendar")).unwrap();
    inventory.put(&node("e", "c", false, "e.ics")).unwrap();
    inventory.put(&node("s", "", false, "s.json")).unwrap();
    inventory.arrange("", "d").unwrap();
    let folders = inventory.folders_after("", 9).unwrap();
    let items = inventory.items_after((i64::MIN, ""), 9).unwrap();
    let paths: Vec<_> = folders.into_iter().chain(items).map(|item| item.path).collect();
    assert_eq!(paths, ["d/Calendar", "d/Calendar/e.ics", "d/s.json"]);
}

/// Bytes of the largest file without a name that this process has open.
fn largest_nameless_file() -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let nameless = open.filter(|file| {
        let target = std::fs::read_link(file.path()).unwrap_or_default();
        target.to_string_lossy().ends_with(" (deleted)")
    });
    nameless.filter_map(|file| Some(std::fs::metadata(file.path()).ok()?.len())).max().unwrap_or(0)
}

#[test]
fn what_is_beyond_its_share_of_memory_is_in_a_file_without_a_name() {
    // More than any other test has in a file at the same time.
    const MUCH: u64 = 24 << 20;
    let inventory = inventory();
    let json = format!("{{\"text\":\"{}\"}}", "x".repeat(10_000));
    for number in 0..3000 {
        let id = format!("{number:05}");
        inventory.put(&Node { json: &json, ..node(&id, "root", false, &id) }).unwrap();
        assert!(number > 2000 || largest_nameless_file() < MUCH);
    }
    assert!(largest_nameless_file() > MUCH);
    assert_eq!(inventory.items().unwrap(), 3000);
}
