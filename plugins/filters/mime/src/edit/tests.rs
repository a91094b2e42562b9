use super::*;

const MAIL: &str = "Subject: word\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nword\r\n--b\r\n\
    Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
    a w=\r\nord =E9\r\n--b\r\nContent-Type: text/html\r\n\r\n\r\n--b\r\nContent-Type: text/x-log; \
    name=word.txt\r\n\r\nword\r\n--b--\r\n";

fn edit(limit: usize) -> (String, Outcome) {
    let mut out = Vec::new();
    let outcome = edit_texts(
        MAIL.as_bytes(),
        &mut out,
        limit,
        |part| !part.is_attachment(),
        |_, text| text.contains("word").then(|| text.replace("word", "term ł")),
    );
    (String::from_utf8(out).unwrap(), outcome.unwrap())
}

#[test]
fn only_the_texts_that_are_wanted_change() {
    let (out, outcome) = edit(100);
    assert_eq!(outcome, Outcome { changed: true, too_long: 0 });
    assert_eq!(out, MAIL.replace("w=\r\nord", "term &#322;"));
}

#[test]
fn nothing_is_written_of_a_mail_without_changes() {
    assert_eq!(edit(5), (String::new(), Outcome { changed: false, too_long: 1 }));
}

#[test]
fn a_long_mail_is_passed_through() {
    let mail = format!("Subject: x\n\n{}", "0123456789\n".repeat(200_000));
    let mut out = Vec::new();
    let outcome =
        edit_texts(mail.as_bytes(), &mut out, 1000, |_| true, |_, _| Some("never".into())).unwrap();
    assert_eq!(outcome, Outcome { changed: false, too_long: 1 });
    // Kept back was more than is allowed, so all of it is there.
    assert!(mail.as_bytes() == out);
}

#[test]
fn both_ends_of_one_content() {
    struct Both(std::io::Cursor<Vec<u8>>, Vec<u8>);
    impl Read for Both {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Write for Both {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let both = RefCell::new(Both(std::io::Cursor::new(b"\n\nx".to_vec()), Vec::new()));
    let outcome =
        edit_texts(Half(&both), Half(&both), 9, |_| true, |_, text| Some(text.to_uppercase()));
    assert!(outcome.unwrap().changed);
    assert_eq!(both.into_inner().1, b"\n\nX".map(|byte| byte));
}
