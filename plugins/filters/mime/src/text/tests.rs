use proptest::prelude::*;

use super::*;

fn part(charset: Option<&str>, encoding: &str) -> Part {
    let charset = charset.map_or(String::new(), |charset| format!("; charset=\"{charset}\""));
    let head = format!(
        "Content-Type: text/plain{charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    Part::parse(head.into_bytes(), Vec::new(), false)
}

#[test]
fn text_is_read_in_its_charset_and_written_in_it() {
    for (charset, body, text) in [
        ("utf-8", &b"caf\xc3\xa9"[..], "café"),
        ("ISO-8859-1", b"caf\xe9", "café"),
        ("iso-2022-jp", b"\x1b$B$3\x1b(B<", "こ<"),
        ("shift_jis", b"\x95\x5c<b>", "表<b>"),
        ("gb18030", b"\xc4\xe3", "你"),
        ("utf-16le", b"a\0\xac\x20", "a€"),
        ("utf-16be", b"\0a\x20\xac", "a€"),
        ("koi8-r", b"\xf0", "П"),
    ] {
        let text_of = Text::decode(&part(Some(charset), "8bit"), body).unwrap();
        assert_eq!(text_of.text, text, "{charset}");
        assert_eq!(text_of.encode(text), body, "{charset}");
        assert_eq!(
            Text::decode(&part(Some(charset), "8bit"), &text_of.encode(&text.repeat(2)))
                .unwrap()
                .text,
            text.repeat(2),
            "{charset}"
        );
    }
}

#[test]
fn what_is_no_text_in_its_charset_is_kept_too() {
    let broken = b"<p>\xc3(\xff</p>";
    for charset in [None, Some("utf-8"), Some("x-unknown"), Some("iso-2022-kr")] {
        let text = Text::decode(
            &part(charset, "base64"),
            &transfer::encode(Encoding::Base64, broken, b""),
        )
        .unwrap();
        assert!(text.text.starts_with("<p>") && text.text.ends_with("</p>"), "{charset:?}");
        let changed = text.encode(&text.text.replace("<p>", "<b>€"));
        assert_eq!(transfer::decode(Encoding::Base64, &changed), b"<b>&#8364;\xc3(\xff</p>");
    }
}

#[test]
fn what_the_charset_lacks_is_a_reference_and_an_unknown_encoding_is_left() {
    let text = Text::decode(&part(Some("iso-8859-5"), "quoted-printable"), b"=B0").unwrap();
    assert_eq!(text.text, "А");
    assert_eq!(text.encode("Аé="), b"=B0&#233;=3D");
    assert!(Text::decode(&part(None, "x-uuencode"), b"").is_none());
}

proptest! {
    #[test]
    fn unedited_text_is_the_same_bytes(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        charset in prop::sample::select(vec!["utf-8", "iso-2022-jp", "shift_jis", "big5", "gb18030", "euc-kr", "utf-16le", "windows-1253", "us-ascii", "utf-7"]),
    ) {
        let text = Text::decode(&part(Some(charset), "8bit"), &bytes).unwrap();
        prop_assert_eq!(text.encode(&text.text), bytes);
    }
}
