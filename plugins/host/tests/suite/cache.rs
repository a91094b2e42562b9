//! Answers do not depend on the machine's memory, nor on what is in the cache.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use plugin_host::{ContentDecision, Host, MetadataDecision, Plugin};

use crate::guest::{Guest, limits, mail};

/// Drops with what it computed as reason: NaNs of two makings, and how much memory there was.
fn computes() -> Guest {
    Guest::new("computes").on_metadata(
        "(i64.store (i32.const 128) (i64.or (i64.const 0x3030303030303030) (i64.and
           (i64.const 0x0707070707070707)
           (i64.reinterpret_f64 (f64.div (f64.const 0) (f64.const 0))))))
         (i64.store (i32.const 136) (i64.or (i64.const 0x3030303030303030) (i64.and
           (i64.const 0x0707070707070707)
           (i64.reinterpret_f64 (f64.add (f64.const nan:0x5555555555555) (f64.const 1))))))
         (i32.store (i32.const 144) (i32.or (i32.const 0x30303030)
           (memory.grow (i32.const 3))))
         (call $drop (i32.const 128) (i32.const 20))",
    )
}

fn answer(plugin: &Plugin) -> String {
    match plugin.on_metadata(&mail("1")).unwrap() {
        MetadataDecision::Drop(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// The lowest octal digit of each byte of a canonical NaN, of another one, and 2 pages of before.
const EXPECTED: &str = "00000007000000072000";

fn load(cache: Option<&Path>) -> Plugin {
    Host::new(&limits(), cache).unwrap().load(computes().source()).unwrap()
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn answers_are_the_same_without_a_cache_and_with_it_cold_warm_and_broken() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("new").join("cache");
    let none = answer(&load(None));
    assert_eq!(none, EXPECTED);
    assert_eq!(answer(&load(Some(&cache))), EXPECTED, "cold");
    let stored = files(&cache);
    assert!(!stored.is_empty());
    assert_eq!(cache.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(answer(&load(Some(&cache))), EXPECTED, "warm");
    for file in stored {
        fs::write(file, b"broken").unwrap();
    }
    assert_eq!(answer(&load(Some(&cache))), EXPECTED, "broken");
}

#[test]
fn a_cache_that_cannot_be_is_done_without() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    answer(&load(Some(&file)));
    answer(&load(Some(&file.join("below"))));
}

#[test]
fn code_is_not_run_from_where_others_can_write() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    answer(&load(Some(directory.path())));
    assert_eq!(files(directory.path()), [] as [&Path; 0]);
}

/// Set when the test below runs itself in little address space.
const CRAMPED: &str = "PLUGIN_HOST_TEST_CRAMPED";

#[test]
fn without_address_space_for_the_pool_plugins_run_all_the_same() {
    if std::env::var_os(CRAMPED).is_some() {
        let plugin = load(None);
        assert_eq!(answer(&plugin), EXPECTED);
        let (decision, _) = plugin.on_content(&mail("1"), std::io::empty(), std::io::sink());
        assert_eq!(decision.unwrap(), ContentDecision::Keep);
        return;
    }
    let name = "cache::without_address_space_for_the_pool_plugins_run_all_the_same";
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 2000000 && exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(CRAMPED, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}
