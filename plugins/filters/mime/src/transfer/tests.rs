use proptest::prelude::*;

use super::*;

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn base64_as_mailers_write_it() {
    for (body, bytes) in [
        ("aGVsbG8=", "hello"),
        ("aGVs\r\n bG8", "hello"),
        ("aGVsbG8=aGVsbG8=", "hellohello"),
        ("aGVsbG8=====\r\n", "hello"),
        ("*aG!Vs", "hel"),
        ("a", ""),
        ("", ""),
    ] {
        assert_eq!(text(&decode(Encoding::Base64, body.as_bytes())), bytes, "{body}");
    }
    assert_eq!(encode(Encoding::Base64, b"hello", b"xx\n"), b"aGVsbG8=\n");
    assert_eq!(encode(Encoding::Base64, &[0xfb; 58], b"a\r\nb"), {
        let line = "+/v7".repeat(19);
        format!("{line}\r\n+w==").into_bytes()
    });
}

#[test]
fn quoted_printable_as_mailers_write_it() {
    for (body, bytes) in [
        ("caf=C3=a9 =\r\nolé \t\r\nx", "caf\u{e9} ol\u{e9}\r\nx"),
        ("soft=  \nbreak=", "softbreak"),
        ("soft=\rbreak", "softbreak"),
        ("no=escape =3 =G0=", "no=escape =3 =G0"),
        ("== =3=3D", "== =3="),
        ("  lead", "  lead"),
        ("end  ", "end"),
        ("a =20\r\n", "a  \r\n"),
    ] {
        assert_eq!(
            String::from_utf8_lossy(&decode(Encoding::QuotedPrintable, body.as_bytes())),
            bytes,
            "{body}"
        );
    }
    let encoded = encode(Encoding::QuotedPrintable, "é= \r\n\n\tx ".as_bytes(), b"a\r\n");
    assert_eq!(text(&encoded), "=C3=A9=3D=20\\r\\n=0A\\tx=20");
    let long = encode(Encoding::QuotedPrintable, "ab".repeat(70).as_bytes(), b"a\n");
    assert!(text(&long).split("\\n").all(|line| line.len() <= LINE), "{}", text(&long));
}

#[test]
fn the_names_of_encodings() {
    assert_eq!(Encoding::named(" BASE64 "), Encoding::Base64);
    assert_eq!(Encoding::named("Quoted-Printable"), Encoding::QuotedPrintable);
    assert_eq!(Encoding::named("8Bit"), Encoding::Identity);
    assert_eq!(Encoding::named("x-uuencode"), Encoding::Other);
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_again_in_any_pieces(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b" \t\r\n=.aF".to_vec())], 0..300),
        like in prop::sample::select(vec!["x\r\n", "x\n", "x"]),
        at_once in 1..20_usize,
    ) {
        for encoding in [Encoding::Base64, Encoding::QuotedPrintable, Encoding::Identity] {
            let body = encode(encoding, &bytes, like.as_bytes());
            let mut out = Vec::new();
            let mut decoder = Decoder::new(encoding);
            body.chunks(at_once).for_each(|piece| decoder.push(piece, &mut out));
            decoder.finish(&mut out);
            prop_assert_eq!(&out, &bytes, "{:?} {}", encoding, body.escape_ascii());
            if encoding != Encoding::Identity {
                let end = line_end(like.as_bytes());
                let lines = String::from_utf8(body.clone()).unwrap();
                let end = std::str::from_utf8(end).unwrap();
                prop_assert!(lines.split(end).all(|line| line.len() <= LINE), "{}", lines);
                prop_assert!(body.iter().all(|byte| byte.is_ascii()));
            }
        }
    }

    #[test]
    fn nothing_that_comes_makes_a_decoder_fail(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for encoding in [Encoding::Base64, Encoding::QuotedPrintable] {
            prop_assert!(decode(encoding, &body).len() <= body.len());
        }
    }
}
