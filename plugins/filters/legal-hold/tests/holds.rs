//! Holds over items, as the host asks.

use legal_hold::LegalHold;
use serde_json::{Value, json};
use tar365_plugin::{Filter, Item, MetadataDecision, native};

/// A mail to ada@example.com, whose object id is 6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0.
fn mail() -> Item {
    native::item(
        "mail",
        "message",
        json!({
            "id": "AAMk", "subject": "Project ÜBER: next steps",
            "receivedDateTime": "2024-06-30T23:59:59Z", "createdDateTime": "2024-07-01T00:00:00Z",
            "lastModifiedDateTime": "2025-02-03T04:05:06.789Z",
            "from": {"emailAddress": {"name": "Ben Müller", "address": "ben@partner.example"}},
            "ccRecipients": [{"emailAddress": {"name": "", "address": "Counsel@Law.example"}}],
            "categories": ["secretword"],
        }),
    )
}

/// The name of the hold that holds it, if one does.
#[track_caller]
fn held(holds: &Value, item: &Item) -> Option<String> {
    match native::on_metadata::<LegalHold>(&json!({"holds": holds}).to_string(), item).unwrap() {
        MetadataDecision::Keep => None,
        MetadataDecision::Hold(name) => Some(name),
        other => panic!("{other:?}"),
    }
}

/// Whether a hold of everybody with this condition covers an item.
#[track_caller]
fn covers(condition: &str, value: Value, item: &Item) -> bool {
    let mut hold = json!({"name": "x", "custodians": ["*"]});
    hold[condition] = value;
    held(&json!([hold]), item).is_some()
}

#[test]
fn custodians() {
    for (custodians, is_held) in [
        (json!(["ada@example.com"]), true),
        (json!(["ADA@Example.com"]), true),
        (json!(["ben@example.com", "*@example.com"]), true),
        (json!(["6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0"]), true),
        (json!(["6EA91A8D-*"]), true),
        (json!(["ben@partner.example"]), false),
        (json!(["ada@example.co"]), false),
        (json!(["a?a@example.com"]), true),
    ] {
        assert_eq!(covers("custodians", custodians.clone(), &mail()), is_held, "{custodians}");
    }
}

#[test]
fn services_and_dates() {
    let item = &mail();
    assert!(covers("services", json!(["onedrive", "mail"]), item));
    assert!(!covers("services", json!(["onedrive"]), item));
    for (period, is_held) in [
        (json!({}), true),
        (json!({"from": "2024-06-30", "before": "2024-07-01"}), true),
        (json!({"from": "2024-06-30T23:59:59Z"}), true),
        (json!({"from": "2024-07-01T00:00:00Z"}), false),
        (json!({"from": "2024-07-01T01:00:00+02:00"}), true),
        (json!({"before": "2024-06-30T23:59:59Z"}), false),
        (json!({"before": "2024-06-30"}), false),
    ] {
        assert_eq!(covers("received", period.clone(), item), is_held, "{period}");
    }
    assert!(covers("modified", json!({"from": "2025-02-03", "before": "2025-02-04"}), item));
    assert!(!covers("modified", json!({"before": "2025-02-03"}), item));
    let file = native::item("onedrive", "file", json!({"createdDateTime": "2024-01-01T00:00:00Z"}));
    assert!(covers("received", json!({"from": "2024-01-01"}), &file));
    assert!(!covers("received", json!({"from": "2024-01-02"}), &file));
}

#[test]
fn what_an_item_lacks_does_not_release_it() {
    let nothing = native::item("mail", "message", json!({"receivedDateTime": "unknown"}));
    assert!(covers("received", json!({"from": "2024-01-01"}), &nothing));
    assert!(covers("modified", json!({"before": "2024-01-01"}), &nothing));
    assert!(covers("keywords", json!(["merger"]), &nothing));
}

#[test]
fn keywords() {
    for (keyword, is_held) in [
        ("project über", true),
        ("NEXT", true),
        ("MÜLLER", true),
        ("partner.example", true),
        ("counsel@law", true),
        ("secretword", false),
        ("AAMk", false),
    ] {
        assert_eq!(covers("keywords", json!(["nowhere", keyword]), &mail()), is_held, "{keyword}");
    }
    let file = native::item(
        "onedrive",
        "file",
        json!({"name": "Merger.docx", "lastModifiedBy": {"user": {"displayName": "Eve"}}}),
    );
    assert!(
        covers("keywords", json!(["merger"]), &file) && covers("keywords", json!(["eve"]), &file)
    );
}

#[test]
fn all_conditions_of_one_hold_and_any_hold() {
    let with = |word: &str| {
        json!([
            {"name": "A v. B", "custodians": ["ada@*"], "services": ["mail"], "keywords": [word], "received": {"from": "2024-01-01"}},
            {"name": "second", "custodians": ["6ea91a8d-*"], "modified": {"from": "2025-02-01"}},
            {"name": "third", "custodians": ["*"]},
        ])
    };
    assert_eq!(held(&with("über"), &mail()).as_deref(), Some("A v. B"));
    assert_eq!(held(&with("nowhere"), &mail()).as_deref(), Some("second"));
}

#[test]
fn folders_are_held_with_their_custodian() {
    let folder = native::item(
        "mail",
        "folder",
        json!({"displayName": "Old", "lastModifiedDateTime": "2000-01-01T00:00:00Z"}),
    );
    assert!(covers("keywords", json!(["nowhere"]), &folder));
    assert!(covers("modified", json!({"from": "2024-01-01"}), &folder));
    assert!(!covers("services", json!(["onedrive"]), &folder));
    assert!(!covers("custodians", json!(["ben@*"]), &folder));
}

#[test]
fn settings_that_are_wrong_say_where() {
    for (settings, what) in [
        ("", "holds: there is none"),
        (r#"{"holds": []}"#, "holds: there is none"),
        (r#"{"hold": []}"#, "unknown field `hold`"),
        (r#"{"holds": [{"name": "x"}]}"#, "missing field `custodians`"),
        (r#"{"holds": [{"custodians": ["*"]}]}"#, "missing field `name`"),
        (r#"{"holds": [{"name": "x", "custodians": []}]}"#, "holds[0]: custodians"),
        (r#"{"holds": [{"name": "x", "custodians": [""]}]}"#, "empty glob"),
        (
            r#"{"holds": [{"name": "x", "custodians": ["*"], "services": ["Mail"]}]}"#,
            "no `Mail`; there are mail,",
        ),
        (
            r#"{"holds": [{"name": "x", "custodians": ["*"], "keyword": []}]}"#,
            "unknown field `keyword`",
        ),
        (
            r#"{"holds": [{"name": "x", "custodians": ["*"], "keywords": [" "]}]}"#,
            "holds[0]: keywords",
        ),
        (
            r#"{"holds": [{"name": "x", "custodians": ["*"], "received": {"until": "2024-01-01"}}]}"#,
            "unknown field `until`",
        ),
        (
            r#"{"holds": [{"name": "x", "custodians": ["*"], "received": {"from": "01/02/2024"}}]}"#,
            "\"01/02/2024\" is neither",
        ),
        (
            r#"{"holds": [{"name": "x", "custodians": ["*"]}, {"name": "y", "custodians": ["*"], "modified": {"from": "2024-01-01", "before": "2024-01-01"}}]}"#,
            "holds[1]: modified",
        ),
    ] {
        let error = LegalHold::configure(settings).unwrap_err();
        assert!(error.starts_with("settings: ") && error.contains(what), "{settings}: {error}");
    }
}

#[test]
fn the_services_are_those_of_the_archive() {
    assert_eq!(legal_hold::SERVICES, archive::metadata::SERVICES);
}
