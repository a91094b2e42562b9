//! The selection language.

use archive::{OwnerNames, Selection, Selector, json::canonical, select::parse_instant};
use serde_json::json;

fn paths(include: &[&str], exclude: &[&str]) -> Selector {
    let texts = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    Selection { include: texts(include), exclude: texts(exclude), ..Selection::default() }
        .compile()
        .unwrap()
}

fn users(users: &[&str]) -> Selector {
    let users = users.iter().map(|user| (*user).to_owned()).collect();
    Selection { users, ..Selection::default() }.compile().unwrap()
}

#[test]
fn owners_are_found_by_any_of_their_names() {
    let alice = OwnerNames::from_graph(&json!({
        "id": "0aF0", "userPrincipalName": "alice@contoso.com", "mail": "Alice.Ash@contoso.com",
        "proxyAddresses": ["SMTP:Alice.Ash@contoso.com", "smtp:alice.before@contoso.com", "X500:/o=x"],
    }));
    let matching = [
        "alice@contoso.com",
        "ALICE@contoso.com",
        "0af0",
        "alice.ash@*",
        "alice.before@contoso.com",
        "*@contoso.com",
        "{bob,alice}@*",
    ];
    for glob in matching {
        assert!(users(&[glob]).matches_owner(&alice), "{glob}");
    }
    for glob in ["bob@contoso.com", "alice", "alice@contoso.com.evil", "smtp:*"] {
        assert!(!users(&[glob]).matches_owner(&alice), "{glob}");
    }
    assert!(users(&[]).matches_owner(&alice));
    let only_groups = Selection { groups: vec!["staff".into()], ..Selection::default() };
    assert!(!only_groups.compile().unwrap().matches_owner(&alice));
}

#[test]
fn a_folder_stands_for_all_below_it() {
    let inbox = "users/a@b.c/mail/Inbox";
    let mail = "users/a@b.c/mail/Inbox/Sub/x ~1.eml";
    for glob in [
        "users/*/mail/Inbox",
        "users/*/mail/Inbox/",
        "**/Inbox/**/*.eml",
        "Inbox",
        "*.eml",
        "/users/a@b.c",
        "users/**",
    ] {
        assert!(paths(&[glob], &[]).matches_path(mail), "{glob}");
        assert!(!paths(&[], &[glob]).matches_path(mail), "{glob}");
    }
    for glob in ["users/*/Inbox", "inbox", "users/*/mail/Inbox/*.eml", "Inb", "mail/Inbox"] {
        assert!(!paths(&[glob], &[]).matches_path(mail), "{glob}");
        assert!(paths(&[], &[glob]).matches_path(mail), "{glob}");
    }
    assert!(!paths(&["Inbox"], &["Sub"]).matches_path(mail));
    assert!(paths(&[], &["Inbox"]).excludes_subtree(inbox));
    assert!(paths(&[], &["users/*/mail"]).excludes_subtree(inbox));
    assert!(!paths(&[], &["*.eml"]).excludes_subtree(inbox));
    assert!(!paths(&["other"], &[]).excludes_subtree(inbox));
}

#[test]
fn times_include_the_first_and_exclude_the_last() {
    let since = Some(parse_instant("2026-01-31").unwrap());
    let until = Some(parse_instant("2026-02-01T01:00:00+01:00").unwrap());
    assert_eq!((since, until), (Some(1_769_817_600), Some(1_769_904_000)));
    let selector = Selection { since, until, ..Selection::default() }.compile().unwrap();
    let inside = [1_769_817_599, 1_769_817_600, 1_769_903_999, 1_769_904_000];
    let matched = inside.map(|time| selector.matches_time(time));
    assert_eq!(matched, [false, true, true, false]);
}

#[test]
fn mistakes_are_named() {
    for text in ["2026-13-01", "yesterday", "2026-01-31T00:00:00", ""] {
        assert!(parse_instant(text).is_err(), "{text}");
    }
    let bad = |selection: Selection| selection.compile().unwrap_err().to_string();
    let message = bad(Selection { users: vec!["[".into()], ..Selection::default() });
    assert!(message.starts_with("bad selection \"[\": "), "{message}");
    bad(Selection { exclude: vec![String::new()], ..Selection::default() });
    bad(Selection { sites: vec!["{".into()], ..Selection::default() });
    bad(Selection { since: Some(5), until: Some(5), ..Selection::default() });
}

#[test]
fn the_head_says_only_what_was_given() {
    assert_eq!(canonical(&Selection::default().to_json()), "{}");
    let selection = Selection {
        services: ["onedrive".into(), "mail".into()].into(),
        users: vec!["b".into(), "a".into(), "b".into()],
        since: Some(0),
        ..Selection::default()
    };
    let expected = r#"{"services":["mail","onedrive"],"since":0,"users":["a","b"]}"#;
    assert_eq!(canonical(&selection.to_json()), expected);
    let selector = selection.compile().unwrap();
    assert!(selector.matches_service("mail") && !selector.matches_service("tasks"));
}
