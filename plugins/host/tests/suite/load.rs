//! What is loaded, and what is refused before the first item.

use plugin_host::{Cause, Error, MetadataDecision, Phase};
use sha2::{Digest as _, Sha256};

use crate::guest::{Guest, host, mail, source};

#[test]
fn a_filter_is_loaded_with_its_manifest() {
    let guest = Guest::new("a-filter-2").phases(&[0, 1, 2]).services(&["mail", "onedrive"]);
    let mut source = guest.source();
    source.settings = b"{}".to_vec();
    let plugin = host().load(source).unwrap();
    let manifest = plugin.manifest();
    assert_eq!(
        (manifest.name.as_str(), manifest.version.as_str(), manifest.author.as_str()),
        ("a-filter-2", "1.2.3", "the tests")
    );
    assert_eq!(manifest.description, "A filter\\nfor tests.");
    assert_eq!(manifest.phases, [Phase::Hold, Phase::Metadata, Phase::Content]);
    assert_eq!(manifest.services, ["mail", "onedrive"]);
    assert_eq!(manifest.contract, "1.0.0");
    let reference = plugin.reference();
    assert_eq!((reference.name.as_str(), reference.version.as_str()), ("a-filter-2", "1.2.3"));
    let sha256: [u8; 32] = Sha256::digest(guest.wat()).into();
    assert_eq!(reference.sha256, sha256);
    let settings: [u8; 32] = Sha256::digest("{}").into();
    assert_eq!(reference.settings_sha256, settings);
}

#[test]
fn a_plugin_is_asked_about_its_services_in_its_phases() {
    let some = Guest::new("some").phases(&[0, 2]).services(&["mail"]).load();
    assert!(some.wants(Phase::Hold, "mail") && some.wants(Phase::Content, "mail"));
    assert!(!some.wants(Phase::Metadata, "mail") && !some.wants(Phase::Hold, "onedrive"));
    let all = Guest::new("all").load();
    assert!(all.wants(Phase::Metadata, "a service yet to come"));
}

#[test]
fn wasi_imports_are_refused_with_all_their_names_and_the_cure() {
    let names = [
        "wasi:clocks/monotonic-clock@0.2.0",
        "wasi:filesystem/preopens@0.2.0",
        "wasi:sockets/network@0.2.0",
        "wasi:random/random@0.2.0",
    ];
    let guest = names.iter().fold(Guest::new("wasi"), |guest, name| {
        guest.import(&format!(
            "(import \"{name}\" (instance (export \"do-it\" (func (result u64)))))"
        ))
    });
    match guest.try_load() {
        Err(error @ Error::Imports { .. }) => {
            let message = error.to_string();
            for name in names {
                assert!(message.contains(name), "{message}");
            }
            assert!(message.contains("test.wat"), "{message}");
            assert!(message.contains("--stub-wasi"), "{message}");
            assert!(message.contains("wasm32-unknown-unknown"), "{message}");
            assert!(!message.contains("tar365:plugin/types"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_contract_does_not_have_is_refused_by_name() {
    let cases = [
        (
            r#"(import "tar365:plugin/current@1.0.0" (instance (export "delete" (func))))"#,
            "tar365:plugin/current@1.0.0 delete",
        ),
        (
            r#"(import "tar365:plugin/network@1.0.0" (instance (export "open" (func))))"#,
            "tar365:plugin/network@1.0.0 open",
        ),
        (
            r#"(import "tar365:plugin/current@1.0.0" (instance
                (export "handle" (type (sub resource)))))"#,
            "tar365:plugin/current@1.0.0 handle",
        ),
        (
            r#"(import "acme:filter/current@1.0.0" (instance (export "get" (func))))"#,
            "acme:filter/current@1.0.0",
        ),
        (r#"(import "tar365:plugin/types" (instance))"#, "tar365:plugin/types"),
        (r#"(import "shell" (func (param "command" string)))"#, "shell"),
    ];
    for (import, name) in cases {
        match Guest::new("strange").import(import).try_load() {
            Err(Error::Imports { imports, .. }) => assert_eq!(imports, [name]),
            other => panic!("{import}: {other:?}"),
        }
    }
}

#[test]
fn imports_of_other_types_are_refused() {
    let guest = Guest::new("wrong").import(
        r#"(import "tar365:plugin/settings@1.0.0" (instance (export "get" (func (result u32)))))"#,
    );
    match guest.try_load() {
        Err(Error::Contract { message, .. }) => {
            assert!(message.contains("tar365:plugin/settings@1.0.0"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_and_wrong_exports_are_refused() {
    let good = Guest::new("good").wat();
    let missing = good.replace("(export \"on-metadata\") (result (result", "(result (result");
    let wrong = good.replace(
        "(func (export \"configure\") (result (result (error string)))",
        "(func (export \"configure\") (result (result string (error string)))",
    );
    for (wat, name) in [(missing, "on-metadata"), (wrong, "configure")] {
        assert_ne!(wat, good);
        match host().load(source(&wat)) {
            Err(Error::Contract { message, contract, .. }) => {
                assert_eq!(contract, "1.0.0");
                assert!(message.contains(name), "{message}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    // Another world altogether.
    assert!(matches!(host().load(source("(component)")), Err(Error::Contract { .. })));
}

#[test]
fn files_that_are_no_components_are_told_apart() {
    let load = |bytes: &[u8]| {
        let mut source = source("");
        source.component = bytes.to_vec();
        host().load(source).unwrap_err()
    };
    let core = b"\0asm\x01\0\0\0";
    assert!(matches!(load(core), Error::CoreModule { .. }));
    assert!(load(core).to_string().contains("wasm-component-ld"));
    assert!(matches!(load(b"  (module)"), Error::CoreModule { .. }));
    assert!(matches!(load(b""), Error::NotWasm { .. }));
    assert!(matches!(load(b"\x7fELF\x02\x01"), Error::NotWasm { .. }));
    assert!(matches!(load(b"{\"not\": \"wasm\"}"), Error::NotWasm { .. }));
    assert!(matches!(load(b"\0asm\x0d\0\x01\0\xff\xff"), Error::Invalid { .. }));
    assert!(matches!(load(b"\0asm"), Error::Invalid { .. }));
    assert!(matches!(load(b"(component (nonsense))"), Error::Invalid { .. }));
}

#[test]
fn manifests_are_held_to_their_rules() {
    let long = "a".repeat(65);
    let many: Vec<String> = (0..65).map(|number| format!("service-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let bad = [
        ("no name", Guest::new("")),
        ("upper case", Guest::new("Filter")),
        ("escape", Guest::new("a\u{1b}[2J")),
        ("long name", Guest::new(&long)),
        ("no version", Guest::new("a").own_version("  ")),
        ("long version", Guest::new("a").own_version(&long)),
        ("line in version", Guest::new("a").own_version("1\n2")),
        ("no phase", Guest::new("a").phases(&[])),
        ("phase twice", Guest::new("a").phases(&[1, 0, 1])),
        ("service twice", Guest::new("a").services(&["mail", "mail"])),
        ("no service", Guest::new("a").services(&[""])),
        ("strange service", Guest::new("a").services(&["../mail"])),
        ("many services", Guest::new("a").services(&many)),
    ];
    for (what, guest) in bad {
        match guest.try_load() {
            Err(error @ Error::Manifest { .. }) => {
                assert!(!error.to_string().contains('\u{1b}'), "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    Guest::new(&long[..64]).own_version(&long[..64]).services(&many[..64]).load();
}

#[test]
fn features_that_answers_could_depend_on_are_not_there() {
    let cores = ["(memory $shared 1 1 shared)", "(memory $wide i64 1)"];
    for core in cores {
        let loaded = Guest::new("featured").core(core).try_load();
        assert!(matches!(loaded, Err(Error::Invalid { .. })), "{core}: {loaded:?}");
    }
}

/// Refuses settings that are not `good`.
fn choosy() -> Guest {
    let mut guest = Guest::new("choosy");
    let good = guest.text("good");
    let why = guest.text("only \u{1b}good\u{1b} will do");
    guest.configure(&format!(
        "(call $settings (i32.const 64))
         (if (result i32) (call $equal (i32.load (i32.const 64)) (i32.load (i32.const 68)) {good})
           (then (call $fine)) (else (call $refuse {why})))"
    ))
}

#[test]
fn a_plugin_judges_its_settings() {
    let load = |settings: &[u8]| {
        let mut source = choosy().source();
        source.settings = settings.to_vec();
        host().load(source)
    };
    load(b"good").unwrap();
    for bad in [&b"bad"[..], b""] {
        match load(bad) {
            Err(Error::Settings { message, .. }) => {
                assert_eq!(message, "only \\u{1b}good\\u{1b} will do");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(load(b"\xff"), Err(Error::Settings { .. })));
}

#[test]
fn a_manifest_does_not_depend_on_the_settings() {
    let guest = Guest::new("curious").describe(
        "(call $settings (i32.const 64)) (if (i32.load (i32.const 68)) (then unreachable))",
    );
    let mut source = guest.source();
    source.settings = b"something".to_vec();
    host().load(source).unwrap();
}

#[test]
fn plugins_that_fail_while_loading_are_refused() {
    let cases = [
        (Guest::new("a").describe("unreachable"), Cause::Trap),
        (Guest::new("a").describe("(loop $l (br $l))"), Cause::Fuel),
        (Guest::new("a").describe("(call $get (i32.const 64))"), Cause::Trap),
        (Guest::new("a").configure("(loop $l (br $l)) (call $fine)"), Cause::Fuel),
        (Guest::new("a").configure("(call $metadata (i32.const 64)) (call $fine)"), Cause::Trap),
        (Guest::new("a").phases(&[7]), Cause::Answer),
        (Guest::new("a").pages(100), Cause::Memory),
    ];
    for (guest, cause) in cases {
        match guest.try_load() {
            Err(Error::Failed(failure)) => assert_eq!(failure.cause, cause, "{failure}"),
            other => panic!("{cause:?}: {other:?}"),
        }
    }
}

#[test]
fn a_guest_may_import_all_functions_of_the_contract() {
    let mut guest = Guest::new("all").phases(&[1, 2]);
    let pointer = guest.text("/subject");
    let plugin = guest
        .on_metadata(&format!(
            "(call $get (i32.const 128)) (call $metadata (i32.const 64))
             (call $settings (i32.const 64)) (call $log (i32.const 0) {pointer})
             (call $value {pointer} (i32.const 64))
             ;; the option's case, then the text
             (if (i32.eqz (i32.load8_u (i32.const 64))) (then unreachable))
             (call $drop (i32.load (i32.const 68)) (i32.load (i32.const 72)))"
        ))
        .core("(func (call $read (i32.const 1) (i32.const 64)) (call $write (i32.const 0) (i32.const 1)))")
        .load();
    let decision = plugin.on_metadata(&mail("1")).unwrap();
    assert_eq!(decision, MetadataDecision::Drop("\"hello\"".into()));
}
