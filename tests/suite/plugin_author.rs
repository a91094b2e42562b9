//! `tar365 plugin`: the way of somebody who has never seen it, from an empty folder to a filter
//! that runs, in every language; and what is said when something is wrong.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::base::Shelf;
use crate::guest::Guest;
use crate::harness::{
    Archive, Run, files_below, json_lines, run, run_with, sha256, tar365, text, verify,
};

/// A word that some subjects of the demo tenant have, in any case.
const WORD: &str = "report";

/// Compiled plugins, and Rust's dependencies, from one run of the tests to the next.
fn kept(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin_author").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// `tar365 ARGUMENTS` in a folder.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = tar365(arguments);
    command.current_dir(folder).env("TAR365_PLUGIN_CACHE", kept("cache"));
    command
}

fn in_folder(folder: &Path, arguments: &[&str]) -> Run {
    run(command(folder, arguments))
}

fn lines(run: &Run) -> Vec<String> {
    String::from_utf8(run.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

/// `plugin build`, with the network as this machine has it: compilers are installed by it.
fn build(folder: &Path, arguments: &[&str]) -> Run {
    let mut command = command(folder, arguments);
    let of_network = |name: &str| name.to_lowercase().ends_with("_proxy");
    command.envs(std::env::vars().filter(|(name, _)| of_network(name)));
    command.env("CARGO_TARGET_DIR", kept("rust"));
    run(command)
}

/// Goes the way that `plugin new` tells, command by command. Of what is dropped every mail has the
/// word in its subject, and of what stays none.
fn stranger(language: &str) {
    let home = TempDir::new().unwrap();
    let folder = home.path();
    let told = in_folder(folder, &["plugin", "new", "my-own", "--lang", language]).expect(0);
    let told = lines(&told);
    let commands: Vec<Vec<&str>> = told
        .iter()
        .filter_map(|line| line.strip_prefix("   tar365 "))
        .map(|line| line.split(' ').collect())
        .collect();
    let [building, checking, exporting] = &commands[..] else { panic!("{told:?}") };

    let built = build(folder, building).expect(0);
    let component = folder.join("my-own/my-own.wasm");
    let sha256 = sha256(&std::fs::read(&component).unwrap());
    let said = String::from_utf8(built.stdout).unwrap();
    for part in ["my-own 0.1.0: ", "metadata", "tar365:plugin 1.0.0", "my-own.wasm", &sha256] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }

    let checked = in_folder(folder, checking).expect(0);
    assert!(checked.stderr.contains("the same byte for byte"), "{}", checked.stderr);
    let dropped = lines(&checked).iter().filter(|line| line.starts_with("drop ")).count();

    let whole = in_folder(folder, &["export", "--demo"]).expect(0).stdout;
    let (last, exporting) = exporting.split_last().unwrap();
    assert_eq!(*last, "...");
    let filtered = in_folder(folder, &[exporting, &["--demo"]].concat()).expect(0).stdout;
    let (whole, filtered) = (Archive::new(&whole), Archive::new(&filtered));
    let (before, after) = (mails(&whole), mails(&filtered));
    let has_word = |subject: &str| subject.to_lowercase().contains(WORD);
    let expected: BTreeSet<_> =
        before.iter().filter(|(_, subject)| !has_word(subject)).cloned().collect();
    assert_eq!(after, expected);
    assert_eq!(before.len() - after.len(), dropped);
    assert!(dropped > 0 && !after.is_empty());
    let head = filtered.member(".tar365/archive.json").unwrap();
    let head: Value = serde_json::from_slice(&head.content).unwrap();
    assert_eq!(head["filters"][0]["name"], "my-own");
    assert_eq!(head["filters"][0]["sha256"], sha256.as_str());

    std::fs::write(folder.join("my-own/settings.json"), "{\"subject").unwrap();
    let refused = in_folder(folder, checking).expect(2);
    assert!(refused.stderr.contains("its settings are not accepted"), "{}", refused.stderr);
    let without = in_folder(folder, &["plugin", "check", "my-own/my-own.wasm"]).expect(2);
    assert!(without.stderr.contains("FILE=SETTINGS.json"), "{}", without.stderr);
}

/// Id and subject of every mail.
fn mails(archive: &Archive) -> BTreeSet<(String, String)> {
    let of_mail = |path: &str| path.starts_with("users/") && path.ends_with("/mail.ndjson");
    archive
        .members
        .iter()
        .filter(|member| of_mail(&member.path))
        .flat_map(|member| json_lines(&member.content))
        .filter(|line| text(line, "kind") == "message")
        .map(|line| (text(&line, "id").to_owned(), text(&line["graph"], "subject").to_owned()))
        .collect()
}

#[test]
fn a_stranger_gets_to_a_filter_in_rust() {
    stranger("rust");
}

#[test]
fn a_stranger_gets_to_a_filter_in_javascript() {
    stranger("js");
}

#[test]
fn a_stranger_gets_to_a_filter_in_python() {
    stranger("python");
}

#[test]
fn a_stranger_gets_to_a_filter_in_c() {
    stranger("c");
}

#[test]
fn the_tests_of_a_new_filter_in_rust_pass() {
    let home = TempDir::new().unwrap();
    in_folder(home.path(), &["plugin", "new", "my-own"]).expect(0);
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--release"]).current_dir(home.path().join("my-own"));
    cargo.env("CARGO_TARGET_DIR", kept("rust"));
    let passed = run(cargo).expect(0);
    let said = String::from_utf8(passed.stdout).unwrap();
    assert!(said.contains("subjects_with_the_word_are_dropped ... ok"), "{said}");
}

#[test]
fn new_never_writes_over_anything() {
    let home = TempDir::new().unwrap();
    let folder = home.path();
    std::fs::create_dir_all(folder.join("full")).unwrap();
    std::fs::write(folder.join("full/notes"), "mine").unwrap();
    std::fs::write(folder.join("file"), "mine").unwrap();
    for there in ["full", "file"] {
        let refused = in_folder(folder, &["plugin", "new", there, "--lang", "c"]).expect(2);
        assert!(refused.stderr.contains(there), "{}", refused.stderr);
    }
    let left: Vec<_> = files_below(folder).into_iter().collect();
    let mine = || b"mine".to_vec();
    assert_eq!(left, [("file".to_owned(), mine()), ("full/notes".to_owned(), mine())]);

    std::fs::create_dir(folder.join("empty")).unwrap();
    let at = ["plugin", "new", "a-name", "--lang", "js", "--directory", "empty"];
    in_folder(folder, &at).expect(0);
    let written = files_below(&folder.join("empty"));
    assert!(written.contains_key("wit/plugin.wit"), "{:?}", written.keys());
    for (path, content) in written {
        let content = String::from_utf8(content).unwrap();
        assert!(!content.contains("my-filter"), "{path}");
    }
    in_folder(folder, &at).expect(2);
}

#[test]
fn names_that_make_no_plugin_are_refused() {
    let home = TempDir::new().unwrap();
    for name in ["My-Filter", "2nd", "a_b", "../up", "end-", "serde", "tar365-plugin"] {
        in_folder(home.path(), &["plugin", "new", name]).expect(2);
    }
    assert!(files_below(home.path()).is_empty());
}

#[test]
fn build_says_what_went_wrong() {
    let home = TempDir::new().unwrap();
    let failed = in_folder(home.path(), &["plugin", "build"]).expect(2);
    assert!(failed.stderr.contains("build.sh"), "{}", failed.stderr);
    for (script, code, message) in [
        ("echo compiling; exit 7", 1, "failed"),
        ("true", 1, "made no component"),
        ("echo missing.wasm", 1, "made no component"),
        ("echo '(module)' >core.wat; echo \"$PWD/core.wat\"", 2, "core module"),
    ] {
        std::fs::write(home.path().join("build.sh"), script).unwrap();
        let failed = in_folder(home.path(), &["plugin", "build"]).expect(code);
        assert!(failed.stderr.contains(message), "{script}: {}", failed.stderr);
    }
}

/// A plugin, and what is wrong with it.
fn refused(plugin: &str, parts: &[&str]) {
    let shelf = Shelf::new();
    let file = shelf.put("plugin.wat", plugin.as_bytes());
    let checked = run(tar365(&["plugin", "check", &file])).expect(2);
    for part in parts {
        assert!(checked.stderr.contains(part), "{part} is not in\n{}", checked.stderr);
    }
    assert!(checked.stdout.is_empty());
}

#[test]
fn check_says_what_is_no_plugin() {
    refused("hello", &["plugin.wat", "no WebAssembly"]);
    refused("(module)", &["core module", "wasm-component-ld"]);
    refused("(component (", &["not valid"]);
    refused("(component)", &["no filter of tar365:plugin 1.0.0"]);
    refused(
        "(component (import \"wasi:clocks/wall-clock@0.2.0\" (instance))
         (import \"wasi:random/random@0.2.0\" (instance)))",
        &["wasi:clocks/wall-clock@0.2.0", "wasi:random/random@0.2.0", "--stub-wasi"],
    );
    refused(&Guest::new("future").built_for("7.0.0").wat(), &["tar365:plugin 7.0.0", "1.0", "0.1"]);
    let mut choosy = Guest::new("choosy");
    let reason = choosy.text("no colour is named");
    let choosy = choosy.configure(&format!("(call $refuse {reason})"));
    refused(&choosy.wat(), &["no colour is named", "FILE=SETTINGS.json"]);
    let unknown = run(tar365(&["plugin", "check", "no-such-plugin"])).expect(2);
    assert!(unknown.stderr.contains("tar365 plugin list"), "{}", unknown.stderr);
}

/// A plugin for mails: folders stay, and messages go the way that `then` writes.
fn for_messages(name: &str, then: impl FnOnce(&mut Guest) -> String) -> Guest {
    let mut guest = Guest::new(name).services(&["mail"]);
    let (subject, then) = (guest.text("/subject"), then(&mut guest));
    guest.on_metadata(&format!(
        "(call $value {subject} (i32.const 64))
         (if (i32.load8_u (i32.const 64)) (then (return {then})))
         (call $keep)"
    ))
}

fn drops_messages() -> Guest {
    for_messages("drops-messages", |guest| {
        let reason = guest.text("no mails");
        format!("(call $drop {reason})")
    })
}

/// Puts a text in the place of every file.
fn replaces_files() -> Guest {
    let mut guest = Guest::new("replaces-files").services(&["onedrive"]);
    let content = guest.text("gone");
    guest.on_content(&format!("(call $write {content}) (call $replace)"))
}

#[test]
fn check_shows_item_by_item_what_becomes_of_the_demo_tenant() {
    let shelf = Shelf::new();
    let drops = shelf.put("drops.wat", drops_messages().wat().as_bytes());
    let replaces = shelf.put("replaces.wat", replaces_files().wat().as_bytes());
    let arguments = ["plugin", "check", &drops, "--plugin", &replaces];
    let checked = run(tar365(&arguments)).expect(0);
    let shown = lines(&checked);
    let count = |start: &str| shown.iter().filter(|line| line.starts_with(start)).count();
    let exported = run(tar365(&["export", "--demo"])).expect(0);
    let demo = Archive::new(&exported.stdout);
    let items = exported.stderr.split(" items,").next().and_then(|said| said.rsplit(' ').next());
    let items: usize = items.unwrap().parse().unwrap();
    let messages = mails(&demo).len();
    let files = demo.members.iter().filter(|m| m.path.contains("/onedrive/") && !m.is_directory);
    let files = files.count();
    assert_eq!((count("drop "), count("replace content ")), (messages, files));
    assert!(shown.iter().any(|line| {
        line.starts_with("drop ") && line.ends_with(".eml  (drops-messages: no mails)")
    }));
    assert_eq!(count("keep "), 0);
    let left = items - messages;
    let last = format!("{files} replaced; {messages} dropped, 0 failed; {left} items are left");
    assert!(shown.last().unwrap().ends_with(&last), "{:?}", shown.last());

    let all = run(tar365(&[&arguments[..], &["--all"]].concat())).expect(0);
    assert!(lines(&all).iter().any(|line| line.starts_with("keep ")));

    let as_json = run(tar365(&[&arguments[..], &["--json"]].concat())).expect(0);
    let rows = json_lines(&as_json.stdout);
    let names: Vec<_> = rows.iter().take(2).map(|row| text(row, "plugin")).collect();
    assert_eq!(names, ["drops-messages", "replaces-files"]);
    let decided = |what| rows.iter().filter(|row| row["decision"] == what).count();
    assert_eq!((decided("drop"), decided("replace content")), (messages, files));
    let counts = rows.last().unwrap();
    assert_eq!(counts["decisions"]["drop"], json!(messages));
    assert_eq!(counts["items_left"], json!(left));
}

#[test]
fn failures_of_a_plugin_are_shown_and_end_with_3() {
    let shelf = Shelf::new();
    let traps = for_messages("traps", |_| "(unreachable)".to_owned());
    let traps = shelf.put("traps.wat", traps.wat().as_bytes());
    let checked = run(tar365(&["plugin", "check", &traps])).expect(3);
    let shown = lines(&checked);
    let failed: Vec<_> = shown.iter().filter(|line| line.starts_with("fail ")).collect();
    assert!(failed[0].contains(".eml  (traps: "), "{failed:?}");
    let last = format!("0 dropped, {} failed", failed.len());
    assert!(shown.last().unwrap().contains(&last), "{:?}", shown.last());
    let tolerated = failed.len().to_string();
    let most = ["plugin", "check", &traps, "--max-plugin-failures", &tolerated];
    run(tar365(&most)).expect(0);

    let archive = shelf.put("demo.tar", &run(tar365(&["export", "--demo"])).expect(0).stdout);
    let ran = run(tar365(&["plugin", "run", &traps, &archive])).expect(3);
    assert_eq!(lines(&ran).iter().filter(|line| line.starts_with("fail ")).count(), failed.len());
}

#[test]
fn run_tries_an_archive_and_leaves_it_alone() {
    let shelf = Shelf::new();
    let drops = shelf.put("drops.wat", drops_messages().wat().as_bytes());
    let whole = run(tar365(&["export", "--demo"])).expect(0).stdout;
    let archive = shelf.put("demo.tar", &whole);
    let before = files_below(shelf.path("").as_path());
    let ran = run(tar365(&["plugin", "run", &drops, &archive])).expect(0);
    assert_eq!(files_below(shelf.path("").as_path()), before);
    let dropped = |run: &Run| lines(run).iter().filter(|line| line.starts_with("drop ")).count();
    assert_eq!(dropped(&ran), mails(&Archive::new(&whole)).len());

    // What is kept of it is what an export with the plugin gives, from a file and from a pipe. The
    // ledger is not compared: what it says of owners without a service stands first.
    let exported = run(tar365(&["export", "--demo", "--plugin", &drops])).expect(0).stdout;
    let kept = shelf.path("kept.tar");
    let kept = kept.to_str().unwrap();
    let piped = run_with(tar365(&["plugin", "run", &drops, "-", "--output", kept]), &whole);
    assert_eq!(lines(&piped.expect(0)), lines(&ran));
    let filtered = std::fs::read(kept).unwrap();
    let but_ledger = |archive: &[u8]| {
        let members = Archive::new(archive).members.into_iter();
        let members = members.filter(|member| member.path != archive::LEDGER_PATH);
        members.map(|member| (member.path, member.mtime, member.content)).collect::<Vec<_>>()
    };
    assert!(but_ledger(&filtered) == but_ledger(&exported), "not what an export gives");
    verify(&filtered);

    let some = ["plugin", "run", &drops, &archive, "--user", "anna*", "--service", "mail"];
    let some = run(tar365(&some)).expect(0);
    let of_anna = |line: &String| line.contains("  users/anna.");
    let expected: Vec<_> = lines(&ran).into_iter().filter(of_anna).collect();
    let shown: Vec<_> = lines(&some).into_iter().filter(|l| l.starts_with("drop ")).collect();
    assert!(!shown.is_empty());
    assert_eq!(shown, expected);

    let torn = shelf.put("torn.tar", &whole[..whole.len() / 2]);
    let refused = run(tar365(&["plugin", "run", &drops, &torn, "--output", kept])).expect(1);
    assert!(refused.stderr.contains("finished"), "{}", refused.stderr);
    assert!(std::fs::read(kept).unwrap() == filtered, "it is another");
}

#[test]
fn bench_has_a_number_for_each_thing() {
    let shelf = Shelf::new();
    let drops = shelf.put("drops.wat", drops_messages().wat().as_bytes());
    let replaces = shelf.put("replaces.wat", replaces_files().wat().as_bytes());
    let measured = |plugin: &str| {
        let shown = lines(&run(tar365(&["plugin", "bench", plugin])).expect(0));
        let names = ["load, cold cache", "load, warm cache", "metadata", "content"];
        let names = names.into_iter().chain(["archive without it", "archive through it"]);
        assert_eq!(shown.len(), 6, "{shown:?}");
        names.zip(&shown).for_each(|(name, line)| assert!(line.starts_with(name), "{line}"));
        shown
    };
    let metadata = measured(&drops);
    assert!(metadata[2].contains("decisions/s") && metadata[3].contains("not asked"));
    let content = measured(&replaces);
    assert!(content[2].contains("not asked") && content[3].contains("MB/s"));
}

#[test]
fn every_filter_of_the_project_is_listed_and_loads_by_name() {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    let filters = std::fs::read_dir(plugins.join("filters")).unwrap().filter_map(|entry| {
        let folder = entry.unwrap().path();
        // Those that make a component; the others are libraries of theirs.
        let crate_file = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        crate_file.contains("cdylib").then_some(name)
    });
    let filters: BTreeSet<String> = filters.collect();
    let rows = json_lines(&run(tar365(&["plugin", "list", "--json"])).expect(0).stdout);
    let listed: BTreeSet<String> = rows.iter().map(|row| text(row, "name").to_owned()).collect();
    assert_eq!(listed, filters);
    for row in &rows {
        let component = plugins.join("bundled").join(format!("{}.wasm", text(row, "name")));
        assert_eq!(text(row, "sha256"), sha256(&std::fs::read(component).unwrap()));
        assert!(!text(row, "description").is_empty());
    }
    let shown = lines(&run(tar365(&["plugin", "list"])).expect(0));
    for name in &filters {
        assert!(shown.iter().any(|line| line.starts_with(&format!("{name} "))), "{shown:?}");
    }
}
