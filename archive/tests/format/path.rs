//! Names: reversible, portable, bounded, unique.

use std::collections::BTreeSet;

use archive::path::{
    check, component, directory_component, fold, is_portable, mail_name, tag, tagged_component,
    tagged_directory_component, unescape,
};
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization;

#[test]
fn names_a_person_can_read() {
    let cases = [
        ("Quarterly report.docx", "Quarterly report.docx"),
        ("", "%"),
        (".", "%2E"),
        ("..", ".%2E"),
        (".gitignore", ".gitignore"),
        ("a/b\\c", "a%2Fb%5Cc"),
        ("100% ~safe~", "100%25 %7Esafe%7E"),
        (" lead and trail ", "%20lead and trail%20"),
        ("what?.txt", "what%3F.txt"),
        ("CON", "%43ON"),
        ("nul.tar.gz", "%6Eul.tar.gz"),
        ("COM0", "%43OM0"),
        ("lpt¹.txt", "%6Cpt¹.txt"),
        ("CONSOLE", "CONSOLE"),
        ("COM10", "COM10"),
        ("tab\there", "tab%09here"),
        ("exe\u{202e}txt", "exe%E2%80%AEtxt"),
        ("u\u{308}ber", "über"),
        ("a:\u{308}", "a%3A%CC%88"),
    ];
    for (name, expected) in cases {
        assert_eq!(component(name, "id"), expected, "{name:?}");
        assert_eq!(unescape(expected), name.nfc().collect::<String>(), "{name:?}");
    }
}

#[test]
fn tags_stand_before_the_extension() {
    assert_eq!(tag("AAMk1="), "k2n89n259b");
    let tag = tag("id");
    assert_eq!(tagged_component("a.txt", "id"), format!("a~{tag}.txt"));
    assert_eq!(tagged_component(".profile", "id"), format!(".profile~{tag}"));
    assert_eq!(
        tagged_component("x.an extension too long", "id"),
        format!("x.an extension too long~{tag}")
    );
    assert_eq!(tagged_directory_component("a.b", "id"), format!("a.b~{tag}"));
    let long = component(&("ü".repeat(150) + ".tar"), "id");
    assert_eq!(long, format!("{}~{tag}.tar", "ü".repeat(92)));
    let long = directory_component(&("?".repeat(150) + ".tar"), "id");
    assert_eq!(long, format!("{}~{tag}", "%3F".repeat(63)));
}

#[test]
fn mail_names() {
    let tag = tag("id");
    assert_eq!(
        mail_name(1_795_342_500, "Quarterly report", "id"),
        format!("20261122T101500Z Quarterly report ~{tag}.eml")
    );
    assert_eq!(mail_name(0, " \r\n", "id"), format!("19700101T000000Z ~{tag}.eml"));
    assert_eq!(mail_name(i64::MIN, "a/b", "id"), format!("00000101T000000Z a%2Fb ~{tag}.eml"));
    assert_eq!(mail_name(i64::MAX, "x", "id"), format!("99991231T235959Z x ~{tag}.eml"));
}

#[test]
fn folding_is_what_windows_and_macos_do_at_least() {
    for (one, other) in [
        ("README.md", "readme.MD"),
        ("STRASSE", "straße"),
        ("Ünlü", "u\u{308}nlu\u{308}"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ] {
        assert_eq!(fold(one), fold(other));
    }
    assert_ne!(fold("a"), fold("b"));
    for character in '\0'..=char::MAX {
        let text = character.to_string();
        let folded = fold(&text);
        assert_eq!(fold(&folded), folded, "{character:?}");
        assert_eq!(fold(&text.to_uppercase()), folded, "{character:?}");
        assert_eq!(fold(&text.to_lowercase()), folded, "{character:?}");
    }
}

#[test]
fn every_character_alone_and_inside() {
    for character in '\0'..=char::MAX {
        for name in
            [character.to_string(), format!("a{character}b"), format!("%{character}\u{301}")]
        {
            let made = component(&name, "id");
            assert!(is_portable(&made), "{made:?}");
            assert_eq!(unescape(&made), name.nfc().collect::<String>());
        }
    }
}

#[test]
fn unsafe_paths_are_refused() {
    for path in ["a", "a/b.c", "users/a@b/mail/x y"] {
        assert_eq!(check(path), Ok(()));
    }
    let long = ["x".repeat(256), "x/".repeat(10_000) + "x"];
    let unsafe_paths = ["", "/", "/a", "a/", "a//b", ".", "a/..", "../a", "a\\b", "a\0", "a\u{85}"];
    for path in unsafe_paths.into_iter().chain(long.iter().map(String::as_str)) {
        assert!(check(path).is_err(), "{path:?}");
    }
}

/// Names with much of what is awkward.
fn name() -> impl Strategy<Value = String> {
    let awkward = "[ .~%/\\\\:a-cA-C\u{301}\u{308}\u{202e}ßü日👍\r]{0,12}";
    let device = "(con|LPT1|nul|com¹)( )?(\\.[a-z]{0,3})?";
    let long = "(ü|%|日|x|\u{301}){90,300}(\\.[a-z?ü]{0,12})?";
    prop_oneof![any::<String>(), awkward, device, long]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn components_are_safe_bounded_and_reversible(name in name(), id in ".{1,20}") {
        let made = [
            component(&name, &id),
            tagged_component(&name, &id),
            directory_component(&name, &id),
            tagged_directory_component(&name, &id),
            mail_name(1_700_000_000, &name, &id),
        ];
        for (number, made) in made.iter().enumerate() {
            prop_assert!(made.len() <= 200, "{} bytes", made.len());
            prop_assert!(is_portable(made), "{made:?}");
            prop_assert_eq!(check(made), Ok(()));
            prop_assert_eq!(made.matches('~').count(), usize::from(made.contains(&tag(&id))));
            prop_assert!(number % 2 == 0 && number < 4 || made.contains(&tag(&id)));
            prop_assert!(!unescape(made).contains(char::REPLACEMENT_CHARACTER) || name.contains(char::REPLACEMENT_CHARACTER));
            if !made.contains('~') {
                prop_assert_eq!(unescape(made), name.nfc().collect::<String>());
            }
        }
    }

    #[test]
    fn different_names_give_different_components(names in proptest::collection::btree_set(name(), 2..30)) {
        let normal: BTreeSet<String> = names.iter().map(|name| name.nfc().collect()).collect();
        let made: BTreeSet<String> = normal.iter().map(|name| component(name, name)).collect();
        prop_assert_eq!(made.len(), normal.len());
        let tagged: BTreeSet<String> =
            normal.iter().map(|name| fold(&tagged_component(name, name))).collect();
        prop_assert_eq!(tagged.len(), normal.len());
    }
}
