//! Expressions over items, as the host asks.

use keep_only::KeepOnly;
use serde_json::{Value, json};
use tar365_plugin::{Filter, Item, MetadataDecision, native};

fn mail() -> Item {
    let address =
        |name: &str, address: &str| json!({"emailAddress": {"name": name, "address": address}});
    let graph = json!({
        "id": "AAMk", "subject": "Re: Quarterly REPORT", "isRead": true, "hasAttachments": false,
        "importance": "high", "categories": ["red", "Blue"], "flag": null,
        "receivedDateTime": "2024-11-22T10:15:00Z", "lastModifiedDateTime": "2025-01-02T03:04:05Z",
        "from": address("Ben", "Ben@Partner.Example"),
        "toRecipients": [address("Ada", "ada@example.com"), address("X", "/o=ExchangeLabs/x")],
        "ccRecipients": [address("Li", "li@EXAMPLE.com")], "bccRecipients": [],
        "singleValueExtendedProperties": [{"id": "String 0x001A", "value": "IPM.Note"}],
    });
    native::item("mail", "message", graph)
}

fn file() -> Item {
    let graph = json!({
        "id": "01ABC", "name": "Plan.PDF", "size": 5_000_000_000_u64, "file": {"mimeType": "application/pdf"},
        "createdDateTime": "2020-01-01T00:00:00Z", "lastModifiedDateTime": "2023-06-01T00:00:00.1234567Z",
    });
    let mut item = native::item("onedrive", "file", graph);
    item.size = Some(5_000_000_000);
    item.media_type = Some("application/pdf".into());
    item
}

fn ask(settings: &Value, item: &Item) -> Result<bool, String> {
    match native::on_metadata::<KeepOnly>(&settings.to_string(), item)? {
        MetadataDecision::Keep => Ok(true),
        MetadataDecision::Drop(_) => Ok(false),
        other => panic!("{other:?}"),
    }
}

/// What an expression says; asserts that `drop` is the opposite of `keep`.
#[track_caller]
fn says(expression: &str, item: &Item) -> bool {
    let keep = ask(&json!({"keep": expression}), item);
    let drop = ask(&json!({"drop": expression}), item);
    let keep = keep.unwrap_or_else(|error| panic!("{expression}: {error}"));
    assert_eq!(drop, Ok(!keep), "{expression}");
    keep
}

#[test]
fn what_is_known_of_a_mail() {
    for (expression, expected) in [
        ("true", true),
        ("kind == 'message' && service == 'mail'", true),
        ("owner == 'ada@example.com' && ownerId.startsWith('6ea91a8d-')", true),
        ("path.contains('/mail/')", true),
        ("item.isRead && item.importance == 'high'", true),
        ("item.subject == name && name.endsWith('REPORT')", true),
        ("size == null && mediaType == ''", true),
        ("sender == 'ben@partner.example'", true),
        ("recipients == ['ada@example.com', '/o=exchangelabs/x', 'li@example.com']", true),
        ("sender.domain() == domain('x@PARTNER.example') && domain('nobody') == ''", true),
        ("recipients.exists(one, one.domain() == 'example.com')", true),
        ("recipients.all(one, one.domain() == 'example.com')", false),
        ("name.matches('(?i)^re: .*report$')", true),
        ("matches(name, 'report')", false),
        ("name.lower().contains('report')", true),
        ("name.glob('re:*report') && !glob(name, 'report*')", true),
        ("received > timestamp('2024-01-01T00:00:00Z')", true),
        ("received > timestamp('2024-11-22T11:15:00+01:00')", false),
        ("received + duration('24h') < modified", true),
        ("received.getFullYear() == 2024", true),
        ("timestamp(item.lastModifiedDateTime) == modified", true),
        ("'red' in item.categories && item.categories.size() == 2", true),
        ("item.categories.map(one, one.lower()).exists(one, one == 'blue')", true),
        (
            "item.singleValueExtendedProperties.filter(p, p.id == 'String 0x001A')[0].value == 'IPM.Note'",
            true,
        ),
        ("has(item.subject) && !has(item.flag) && !has(item.nothing)", true),
        ("has(item.flag) && item.flag.flagStatus == 'flagged'", false),
        ("item.hasAttachments ? false : type(name) == string", true),
        (
            "domain(sender) != domain(owner) || !recipients.all(one, domain(one) == domain(owner))",
            true,
        ),
    ] {
        assert_eq!(says(expression, &mail()), expected, "{expression}");
    }
}

#[test]
fn every_function_of_the_language_is_there() {
    for expression in [
        "size('é') == 1 && type(1) == int && dyn(1) == 1 && bool('true')",
        "int('1') == 1 && uint(1) == 1u && double('1.5') == 1.5 && string(1) == '1'",
        "bytes('a') == b'a'",
        "received.getFullYear() == 2024 && received.getMonth() == 10",
        "received.getDayOfMonth() == 21 && received.getDate() == 22",
        "received.getDayOfYear() == 326 && received.getDayOfWeek() == 5",
        "received.getHours() == 10 && received.getMinutes() == 15 && received.getSeconds() == 0",
        "received.getHours('Europe/Berlin') == 11 && received.getMilliseconds() == 0",
        "duration('1h30m').getMinutes() == 90 && 'a'.contains('') && 1 in [1, 2]",
    ] {
        assert!(says(expression, &mail()), "{expression}");
    }
}

/// `size` is of the library, which declares functions on texts of its own.
#[test]
fn functions_on_texts_are_the_same_with_the_library_and_without() {
    for (expression, expected) in [
        ("name.contains('REP')", Ok(true)),
        ("name.contains('rep')", Ok(false)),
        ("name.startsWith('Re')", Ok(true)),
        ("name.startsWith('REPORT')", Ok(false)),
        ("name.endsWith('REPORT')", Ok(true)),
        ("name.endsWith('Re')", Ok(false)),
        ("name.contains(1)", Err(())),
        ("item.isRead.startsWith('t')", Err(())),
        ("item.categories.contains('red')", Err(())),
        ("contains(name, 'REP')", Err(())),
        ("name.endsWith()", Err(())),
    ] {
        let answer = |expression: &str| ask(&json!({"keep": expression}), &mail()).map_err(drop);
        assert_eq!(answer(expression), expected, "{expression}");
        let with_library = format!("size('') == 0 && {expression}");
        assert_eq!(answer(&with_library), expected, "{with_library}");
    }
}

#[test]
fn the_item_is_the_same_as_a_whole_and_by_fields() {
    for (expression, expected) in [
        ("has(item.subject) && item.subject == item['subject']", Ok(true)),
        ("has(item.flag) || 'flag' in item", Ok(false)),
        ("item.exists(name, name == 'flag')", Ok(false)),
        ("item.exists(name, name == 'importance')", Ok(true)),
        ("item.from == item['from'] && item.from.emailAddress.name == 'Ben'", Ok(true)),
        ("recipients.exists(item, item == 'li@example.com')", Ok(true)),
        ("recipients.exists(item, item.subject == 'x')", Err(())),
        ("item.toRecipients.exists(item, item.emailAddress.name == 'Ada')", Ok(true)),
        ("item.nothing == 'x'", Err(())),
        ("item.flag == 'x'", Err(())),
    ] {
        let answer = |expression: &str| ask(&json!({"keep": expression}), &mail()).map_err(drop);
        assert_eq!(answer(expression), expected, "{expression}");
        let with_whole = format!("item != {{}} && ({expression})");
        assert_eq!(answer(&with_whole), expected, "{with_whole}");
    }
}

#[test]
fn what_is_known_of_a_file() {
    for (expression, expected) in [
        ("name.glob('*.pdf') && mediaType == 'application/pdf'", true),
        ("size > 4 * 1024 * 1024 * 1024 && item.size == size", true),
        ("item.file.mimeType.startsWith('image/')", false),
        ("sender == '' && recipients == []", true),
        ("received == timestamp('2020-01-01T00:00:00Z')", true),
        ("modified > timestamp('2023-06-01T00:00:00.1Z')", true),
        ("kind != 'message' || item.isRead", true),
    ] {
        assert_eq!(says(expression, &file()), expected, "{expression}");
    }
}

#[test]
fn what_cannot_be_said_fails_the_item_and_names_the_expression() {
    let draft = native::item("mail", "message", json!({"id": "a"}));
    for (expression, what) in [
        ("item.subject == 'x'", "there is no `subject`; ask has() first"),
        ("item.id", "is a string, not true or false"),
        ("size > 10", ""),
        ("received > timestamp('2024-01-01T00:00:00Z')", ""),
        ("timestamp('yesterday') > received", ""),
        ("name.matches('[' + item.id)", "regex parse error"),
        ("1 / 0 == 1", ""),
    ] {
        let error = ask(&json!({"keep": expression}), &draft).unwrap_err();
        let begin = format!("the expression `{expression}`: ");
        assert!(error.starts_with(&begin) && error.len() > begin.len(), "{error}");
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn folders_and_kinds() {
    let folder = native::item("mail", "folder", json!({"id": "f", "displayName": "Old"}));
    for (settings, stays) in [
        (json!({"keep": "true"}), false),
        (json!({"keep": "false", "folders": "used"}), false),
        (json!({"keep": "false", "folders": "all"}), true),
        (json!({"keep": "name == 'Old'", "folders": "asked"}), true),
        (json!({"drop": "name == 'Old'", "folders": "asked"}), false),
        (json!({"keep": "false", "kinds": ["message"], "folders": "asked"}), false),
    ] {
        assert_eq!(ask(&settings, &folder), Ok(stays), "{settings}");
    }
    let settings = json!({"keep": "item.isRead == false", "kinds": ["message"]});
    assert_eq!(ask(&settings, &mail()), Ok(false));
    assert_eq!(ask(&settings, &file()), Ok(true));
}

#[test]
fn settings_that_are_wrong_say_where() {
    for (settings, what) in [
        (json!({}), "give one of"),
        (json!({"keep": "true", "drop": "true"}), "give one of"),
        (json!({"keeps": "true"}), "unknown field `keeps`"),
        (json!({"keep": "true", "folders": "some"}), "unknown variant `some`"),
        (json!({"keep": "true &&\n  (kind"}), "keep: line 2, column 8: "),
        (json!({"drop": "kind = 'message'"}), "drop: line 1, column 6: "),
        (json!({"keep": ""}), "keep: "),
        (json!({"keep": "itme.subject == 'x'"}), "no variable `itme`"),
        (json!({"keep": "item.to.exists(one, two == 'x')"}), "no variable `two`"),
        (json!({"keep": "recipients.exists(one, true) && one == ''"}), "no variable `one`"),
        (json!({"keep": "name.startswith('x')"}), "no function `startswith`"),
        (json!({"keep": "name.matches('(')"}), "unclosed group"),
        (json!({"keep": "{'a': nothing}.a"}), "no variable `nothing`"),
    ] {
        let error = KeepOnly::configure(&settings.to_string()).unwrap_err();
        assert!(error.starts_with("settings: ") && error.contains(what), "{settings}: {error}");
    }
    assert!(KeepOnly::configure("").unwrap_err().contains("give one of"));
}

#[test]
fn deep_and_long_expressions_end() {
    for (open, close) in [("[", "]"), ("-(", ")"), ("(true && ", ")"), ("{'a': ", "}")] {
        let deep = format!("{}true{}", open.repeat(5000), close.repeat(5000));
        let answer = KeepOnly::configure(&json!({"keep": deep}).to_string());
        assert!(answer.is_err(), "{open}");
    }
    let long = vec!["item.isRead"; 200].join(" && ");
    assert!(says(&long, &mail()));
}
