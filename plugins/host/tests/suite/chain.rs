//! Several plugins: order, holding, changes.

use std::sync::Arc;

use plugin_host::{Cause, Chain, Item, Phase, Plugin, Verdict};

use crate::guest::{Guest, mail};

/// Answers with this text in the phases given.
fn always(name: &str, phases: &[u8], answer: &str, text: &str) -> Plugin {
    let mut guest = Guest::new(name).phases(phases);
    let text = guest.text(text);
    guest.on_metadata(&format!("(call {answer} {text})")).load()
}

/// Drops what has this JSON text at `pointer`.
fn drops_where(name: &str, pointer: &str, value: &str) -> Plugin {
    let mut guest = Guest::new(name);
    let (pointer, value) = (guest.text(pointer), guest.text(value));
    guest
        .on_metadata(&format!(
            "(call $value {pointer} (i32.const 64))
             (if (result i32) (call $equal (i32.load (i32.const 68)) (i32.load (i32.const 72)) {value})
               (then (call $drop {value})) (else (call $keep)))"
        ))
        .load()
}

fn drops(name: &str) -> Plugin {
    always(name, &[1], "$drop", "dropped")
}

fn dropped_by(plugin: &str, reason: &str) -> Verdict {
    Verdict::Drop { plugin: plugin.into(), reason: reason.into() }
}

#[test]
fn an_empty_chain_keeps_and_wants_nothing() {
    let chain = Chain::new(Vec::new());
    assert!(chain.is_empty() && !chain.wants_metadata("mail") && !chain.wants_content("mail"));
    assert_eq!(chain.references(), []);
    assert_eq!(chain.on_metadata(&mail("1")), Ok(Verdict::Keep));
}

#[test]
fn the_first_that_drops_decides() {
    let chain = Chain::new(vec![Guest::new("keeps").load(), drops("b"), drops("c")]);
    assert_eq!(chain.on_metadata(&mail("1")), Ok(dropped_by("b", "dropped")));
    let names: Vec<_> = chain.references().into_iter().map(|reference| reference.name).collect();
    assert_eq!(names, ["keeps", "b", "c"]);
}

#[test]
fn who_holds_is_asked_before_all_others() {
    let holder = always("holder", &[0], "$hold", "trial of\n2026");
    let chain = Chain::new(vec![drops("b"), holder]);
    let held = Verdict::Hold { plugin: "holder".into(), reason: "trial of\\n2026".into() };
    assert_eq!(chain.on_metadata(&mail("1")), Ok(held));
    let indifferent = Guest::new("indifferent").phases(&[0]).load();
    let chain = Chain::new(vec![drops("b"), indifferent]);
    assert_eq!(chain.on_metadata(&mail("1")), Ok(dropped_by("b", "dropped")));
}

#[test]
fn a_holder_of_another_service_is_not_asked() {
    let mut guest = Guest::new("holder").phases(&[0]).services(&["onedrive"]);
    let text = guest.text("held");
    let holder = guest.on_metadata(&format!("(call $hold {text})")).load();
    let chain = Chain::new(vec![drops("b"), holder]);
    assert_eq!(chain.on_metadata(&mail("1")), Ok(dropped_by("b", "dropped")));
    let file = Item { service: "onedrive".into(), ..mail("1") };
    assert!(matches!(chain.on_metadata(&file), Ok(Verdict::Hold { .. })));
}

#[test]
fn a_plugin_of_both_phases_drops_in_its_turn() {
    let both = always("both", &[0, 1], "$drop", "both");
    let chain = Chain::new(vec![drops("first"), both]);
    assert_eq!(chain.on_metadata(&mail("1")), Ok(dropped_by("first", "dropped")));
    let both = always("both", &[0, 1], "$drop", "both");
    let chain = Chain::new(vec![Guest::new("keeps").load(), both]);
    assert_eq!(chain.on_metadata(&mail("1")), Ok(dropped_by("both", "both")));
}

#[test]
fn holding_what_others_have_changed_is_a_failure() {
    let redacted = r#"{"id":"1","receivedDateTime":"2026-01-02T03:04:05Z","subject":"redacted"}"#;
    let changes = always("changes", &[1], "$change", redacted);
    let mut guest = Guest::new("late").phases(&[0, 1]);
    let (pointer, value) = (guest.text("/subject"), guest.text("\"redacted\""));
    let late = guest
        .on_metadata(&format!(
            "(call $value {pointer} (i32.const 64))
             (if (result i32) (call $equal (i32.load (i32.const 68)) (i32.load (i32.const 72)) {value})
               (then (call $hold {value})) (else (call $keep)))"
        ))
        .load();
    let failure = Chain::new(vec![changes, late]).on_metadata(&mail("1")).unwrap_err();
    assert_eq!((failure.cause, failure.plugin.as_str()), (Cause::Answer, "late"));
}

#[test]
fn answers_that_a_phase_does_not_allow_are_failures() {
    let cases = [
        (always("a", &[1], "$hold", "x"), "without having the phase hold"),
        (always("a", &[0], "$drop", "x"), "without having the phase metadata"),
        (always("a", &[0], "$change", "{}"), "without having the phase metadata"),
    ];
    for (plugin, message) in cases {
        let failure = Chain::new(vec![plugin]).on_metadata(&mail("1")).unwrap_err();
        assert_eq!((failure.cause, failure.cause.word()), (Cause::Answer, "plugin-answer"));
        assert!(failure.message.contains(message), "{failure}");
    }
}

#[test]
fn a_change_is_seen_by_the_next_and_given_in_canonical_form() {
    let change = |name, subject: &str| {
        let text = format!(
            "{{ \"subject\": \"{subject}\", \"receivedDateTime\": \"2026-01-02T03:04:05Z\", \"id\": \"1\" }}"
        );
        always(name, &[1], "$change", &text)
    };
    let sees = || drops_where("sees", "/subject", "\"redacted\"");
    let chain = Chain::new(vec![change("a", "redacted"), sees()]);
    assert_eq!(chain.on_metadata(&mail("1")), Ok(dropped_by("sees", "\"redacted\"")));
    let chain = Chain::new(vec![sees(), change("a", "redacted"), change("b", "again")]);
    let changed = r#"{"id":"1","receivedDateTime":"2026-01-02T03:04:05Z","subject":"again"}"#;
    assert_eq!(chain.on_metadata(&mail("1")), Ok(Verdict::Change(changed.into())));
}

#[test]
fn changes_of_what_must_stay_are_failures() {
    let before = r#"{"id":"1","createdDateTime":"2026-01-01T00:00:00Z","parentReference":{"id":"p","path":"/a"},"file":{"mimeType":"a/b"},"name":"n"}"#;
    let item = Item { metadata: Arc::from(before), ..mail("1") };
    let verdict = |after: &str| {
        Chain::new(vec![always("changes", &[1], "$change", after)]).on_metadata(&item)
    };
    let good = before.replace("\"n\"", "\"m\"").replace("\"/a\"", "\"/b\"").replace("a/b", "c/d");
    assert!(matches!(verdict(&good), Ok(Verdict::Change(_))));
    let bad = [
        ("/id", before.replace("\"id\":\"1\"", "\"id\":\"2\"")),
        ("/id", before.replace("\"id\":\"1\"", "\"id\":1")),
        ("/createdDateTime", before.replace("2026-01-01", "2026-01-02")),
        ("/createdDateTime", before.replace("createdDateTime", "created")),
        ("/receivedDateTime", before.replace("\"name\"", "\"receivedDateTime\"")),
        ("/parentFolderId", before.replace("\"name\"", "\"parentFolderId\"")),
        ("/parentReference/id", before.replace("\"p\"", "\"q\"")),
        ("/parentReference/id", before.replace("{\"id\":\"p\",\"path\":\"/a\"}", "null")),
        ("/file", before.replace("\"file\"", "\"none\"")),
        ("/folder", before.replace("\"name\"", "\"folder\"")),
        ("not JSON", before.replace('}', "")),
        ("not JSON", format!("{before} {before}")),
        ("not JSON", String::new()),
        ("not a JSON object", "[]".into()),
    ];
    for (what, after) in bad {
        assert_ne!(after, before);
        let failure = verdict(&after).unwrap_err();
        assert_eq!((failure.cause, failure.plugin.as_str()), (Cause::Answer, "changes"));
        assert!(failure.message.contains(what), "{after}: {failure}");
    }
}

#[test]
fn a_failure_ends_the_chain_and_names_its_plugin() {
    let broken = Guest::new("broken").on_metadata("unreachable").load();
    let chain = Chain::new(vec![broken, drops("b")]);
    let failure = chain.on_metadata(&mail("1")).unwrap_err();
    assert_eq!((failure.plugin.as_str(), failure.cause), ("broken", Cause::Trap));
}

#[test]
fn content_plugins_come_in_order_by_service() {
    let chain = Chain::new(vec![
        Guest::new("a").phases(&[2]).services(&["mail"]).load(),
        Guest::new("b").phases(&[1]).load(),
        Guest::new("c").phases(&[0, 2]).load(),
    ]);
    let names = |service: &str| -> Vec<String> {
        let plugins = chain.content_plugins(service);
        plugins.map(|plugin| plugin.manifest().name.clone()).collect()
    };
    assert_eq!(names("mail"), ["a", "c"]);
    assert_eq!(names("onedrive"), ["c"]);
    assert!(chain.wants_content("mail") && chain.wants_metadata("mail"));
    let only = Chain::new(vec![Guest::new("a").phases(&[2]).services(&["mail"]).load()]);
    assert!(!only.wants_metadata("mail") && !only.wants_content("onedrive"));
    assert!(only.plugins()[0].wants(Phase::Content, "mail"));
}
