//! The examples in the documentation.

use keep_only::KeepOnly;
use tar365_plugin::Filter;

#[test]
fn the_examples_are_good_settings() {
    let page = include_str!("../../../../doc/plugins/keep-only.md");
    let examples: Vec<&str> =
        page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        KeepOnly::configure(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
    }
}

#[test]
fn the_examples_say_what_they_are_said_to() {
    use serde_json::json;
    use tar365_plugin::{MetadataDecision, native};

    let page = include_str!("../../../../doc/plugins/keep-only.md");
    let settings = |begin: &str| {
        let (_, rest) = page.split_once(begin).unwrap();
        rest.split("```json\n").nth(1).unwrap().split("```").next().unwrap()
    };
    let mail = |from: &str, to: &str, class: &str, received: &str| {
        native::item(
            "mail",
            "message",
            json!({
                "subject": "x", "inferenceClassification": class, "receivedDateTime": received,
                "from": {"emailAddress": {"address": from}},
                "toRecipients": [{"emailAddress": {"address": to}}],
            }),
        )
    };
    let file = |name: &str, media_type: &str, size: u64| {
        let mut item = native::item(
            "onedrive",
            "file",
            json!({"name": name, "createdDateTime": "2025-12-31T23:59:59Z"}),
        );
        item.media_type = Some(media_type.into());
        item.size = Some(size);
        item
    };
    let inside = mail("ben@example.com", "ada@example.com", "focused", "2025-01-01T00:00:00Z");
    let news = mail("No-Reply@Shop.example", "ada@example.com", "other", "2026-01-01T00:00:00Z");
    let pdf = file("A.PDF", "application/octet-stream", 1);
    let video = file("a.mp4", "video/mp4", 1 << 30);
    for (begin, kept, dropped) in [
        ("Without newsletters", vec![&inside, &pdf, &video], vec![&news]),
        ("Only mail with people outside", vec![&news, &pdf, &video], vec![&inside]),
        ("Only what was received or created in 2025", vec![&inside, &pdf, &video], vec![&news]),
        ("Only PDF files", vec![&inside, &news, &pdf], vec![&video]),
        ("No large videos", vec![&inside, &news, &pdf], vec![&video]),
    ] {
        let ask = |item| native::on_metadata::<KeepOnly>(settings(begin), item).unwrap();
        assert!(kept.into_iter().all(|item| ask(item) == MetadataDecision::Keep), "{begin}");
        assert!(dropped.into_iter().all(|item| ask(item) != MetadataDecision::Keep), "{begin}");
    }
}
