//! Old guests run, guests of the future are refused.

use plugin_host::{Error, MetadataDecision};

use crate::guest::{Guest, host, mail, source};

/// A guest of contract 0.1 that keeps what is not of the kind `folder`, and fails for the id `bad`.
const OLD: &str = r#"(component
  (import "tar365:plugin/current@VERSION" (instance $current
    (type $item' (record (field "id" string) (field "service" string) (field "kind" string)
      (field "owner" string) (field "path" string)))
    (export "item" (type $item (eq $item')))
    (export "get" (func (result $item)))
  ))
  (core module $memory-module
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (global.get $heap))
      (global.set $heap (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $memory-module))
  (core func $get (canon lower (func $current "get")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core module $main
    (import "memory" "memory" (memory 1))
    (import "host" "get" (func $get (param i32)))
    (data (i32.const 512) "oldie0.9no")
    (func (export "describe") (result i32)
      (i32.store (i32.const 16) (i32.const 512)) (i32.store (i32.const 20) (i32.const 5))
      (i32.store (i32.const 24) (i32.const 517)) (i32.store (i32.const 28) (i32.const 3))
      (i32.const 16))
    (func (export "keep") (result i32)
      (call $get (i32.const 64))
      ;; an id of three characters is an error, a kind of six a folder
      (if (i32.eq (i32.load (i32.const 68)) (i32.const 3))
        (then
          (i32.store8 (i32.const 16) (i32.const 1))
          (i32.store (i32.const 20) (i32.const 520)) (i32.store (i32.const 24) (i32.const 2)))
        (else
          (i32.store8 (i32.const 16) (i32.const 0))
          (i32.store8 (i32.const 20) (i32.ne (i32.load (i32.const 84)) (i32.const 6)))))
      (i32.const 16)))
  (core instance $main (instantiate $main
    (with "memory" (instance $memory))
    (with "host" (instance (export "get" (func $get))))))
  (func (export "describe") (result (tuple string string)) (canon lift
    (core func $main "describe") (memory (core memory $memory "memory"))))
  (func (export "keep") (result (result bool (error string))) (canon lift
    (core func $main "keep") (memory (core memory $memory "memory"))))
)"#;

fn old(version: &str) -> Result<plugin_host::Plugin, Error> {
    host().load(source(&OLD.replace("VERSION", version)))
}

#[test]
fn a_guest_of_the_first_contract_runs() {
    let plugin = old("0.1.0").unwrap();
    let manifest = plugin.manifest();
    assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("oldie", "0.9"));
    assert_eq!(manifest.contract, "0.1.0");
    assert_eq!(plugin.on_metadata(&mail("1")), Ok(MetadataDecision::Keep));
    let folder = plugin_host::Item { kind: "folder".into(), ..mail("1") };
    assert!(matches!(plugin.on_metadata(&folder), Ok(MetadataDecision::Drop(_))));
    let failure = plugin.on_metadata(&mail("bad")).unwrap_err();
    assert_eq!((failure.cause.word(), failure.plugin.as_str()), ("plugin-error", "oldie"));
    assert!(failure.message.ends_with(": no"), "{failure}");
}

#[test]
fn a_guest_without_imports_is_known_by_its_exports() {
    let idle = r#"(component
      (core module $m
        (memory (export "memory") 1)
        (data (i32.const 0) "idle")
        (func (export "describe") (result i32)
          (i32.store (i32.const 20) (i32.const 4)) (i32.store (i32.const 28) (i32.const 1))
          (i32.const 16))
        (func (export "keep") (result i32) (i32.const 64)))
      (core instance $m (instantiate $m))
      (func (export "describe") (result (tuple string string)) (canon lift
        (core func $m "describe") (memory (core memory $m "memory"))))
      (func (export "keep") (result (result bool (error string))) (canon lift
        (core func $m "keep") (memory (core memory $m "memory")))))"#;
    let plugin = host().load(source(idle)).unwrap();
    assert_eq!(plugin.manifest().contract, "0.1.0");
    assert!(matches!(plugin.on_metadata(&mail("1")), Ok(MetadataDecision::Drop(_))));
}

#[test]
fn a_guest_runs_whatever_the_patch_of_its_version() {
    for version in ["1.0.0", "1.0.7"] {
        let plugin = Guest::new("now").built_for(version).load();
        assert_eq!(plugin.manifest().contract, "1.0.0");
        assert_eq!(plugin.on_metadata(&mail("1")), Ok(MetadataDecision::Keep));
    }
    old("0.1.3").unwrap();
}

#[test]
fn guests_of_other_versions_are_refused_with_both_versions() {
    let refused = |loaded: Result<plugin_host::Plugin, Error>, version: &str| match loaded {
        Err(error @ Error::Version { .. }) => {
            let message = error.to_string();
            assert!(message.contains(version), "{message}");
            assert!(message.contains("1.0") && message.contains("0.1"), "{message}");
        }
        other => panic!("{version}: {other:?}"),
    };
    for version in ["1.1.0", "1.99.3", "2.0.0", "0.2.0", "1.0.0-rc.1"] {
        refused(Guest::new("later").built_for(version).try_load(), version);
    }
    for version in ["0.2.0", "0.0.1", "3.1.4"] {
        refused(old(version), version);
    }
    let mixed = Guest::new("mixed")
        .import(r#"(import "tar365:plugin/log@1.1.0" (instance (export "trace" (func))))"#);
    refused(mixed.try_load(), "1.0.0 and 1.1.0");
}
