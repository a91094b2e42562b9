use proptest::prelude::*;

use super::*;

/// Events of a mail, one line each, and what their bytes are together. The reader gives
/// `at_once` bytes at a time.
fn walked(mail: &[u8], at_once: usize) -> (Vec<String>, Vec<u8>) {
    struct Slow<'a>(&'a [u8], usize);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }
    let mut walk = Walk::new(Slow(mail, at_once));
    let (mut events, mut bytes) = (Vec::new(), Vec::new());
    let mut body = Vec::new();
    while let Some(event) = walk.next_event().unwrap() {
        match event {
            Event::Between(between) => bytes.extend_from_slice(between),
            Event::Head(part) => {
                bytes.extend_from_slice(&part.raw);
                let path: String =
                    part.within.iter().map(|within| format!("{within} > ")).collect();
                events.push(format!("{path}{}", part.media_type));
            }
            Event::Body(piece) => {
                bytes.extend_from_slice(piece);
                body.extend_from_slice(piece);
            }
            Event::End { open_line } => {
                let open = if open_line { " (open)" } else { "" };
                events.push(format!("= {:?}{open}", String::from_utf8_lossy(&body)));
                body.clear();
            }
        }
    }
    (events, bytes)
}

/// What is found is the same whatever the pieces that the mail comes in, and the bytes are its.
#[track_caller]
fn events(mail: &str) -> Vec<String> {
    let (events, bytes) = walked(mail.as_bytes(), usize::MAX);
    assert_eq!(String::from_utf8_lossy(&bytes), mail);
    for at_once in [1, 2, 3, 7] {
        assert_eq!(walked(mail.as_bytes(), at_once), (events.clone(), bytes.clone()));
    }
    events
}

/// The same structure with all three kinds of line ends.
#[track_caller]
fn structure(mail: &str, expected: &[&str]) {
    for end in ["\r\n", "\n", "\r"] {
        let expected: Vec<String> = expected
            .iter()
            .map(|line| line.replace("\\n", &end.escape_debug().to_string()))
            .collect();
        assert_eq!(events(&mail.replace('\n', end)), expected, "{end:?}");
    }
}

#[test]
fn a_mail_of_one_part() {
    structure("Subject: x\n\nHello\n\nyou\n", &["text/plain", "= \"Hello\\n\\nyou\\n\" (open)"]);
    structure("Subject: x\n\nno end", &["text/plain", "= \"no end\" (open)"]);
    structure("", &["text/plain", "= \"\" (open)"]);
    structure("Subject: x", &["text/plain", "= \"\" (open)"]);
    structure("\nbody", &["text/plain", "= \"body\" (open)"]);
    structure("no head at all\n\nbody", &["text/plain", "= \"no head at all\\n\\nbody\" (open)"]);
}

#[test]
fn parts_and_what_is_between_them() {
    structure(
        "Content-Type: Multipart/Mixed;\n boundary=\"b 1\"\n\npreamble\n--b 1  \n\nfirst\n\n--b 1\n\
         Content-Type: multipart/alternative; boundary=b2\n\n--b2\nContent-Type: TEXT/html\n\n\
         <p>\n--b2--\n\n--b 1\nContent-Type: image/png\n\n--b 1--\nepilogue\n",
        &[
            "multipart/mixed",
            "multipart/mixed > text/plain",
            "= \"first\\n\"",
            "multipart/mixed > multipart/alternative",
            "multipart/mixed > multipart/alternative > text/html",
            "= \"<p>\"",
            "multipart/mixed > image/png",
            "= \"\" (open)",
        ],
    );
}

#[test]
fn embedded_messages_and_digests() {
    structure(
        "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: in\nContent-Type: \
         multipart/mixed; boundary=i\n\n--i\n\ndeep\n--i--\n--d\nContent-Type: message/rfc822\n\n\
         Subject: flat\n\nflat\n--d\nContent-Type: message/rfc822\nContent-Transfer-Encoding: \
         base64\n\nU3ViamVjdDogeAoKeA==\n--d--\n",
        &[
            "multipart/digest",
            "multipart/digest > message/rfc822",
            "multipart/digest > message/rfc822 > multipart/mixed",
            "multipart/digest > message/rfc822 > multipart/mixed > text/plain",
            "= \"deep\"",
            "multipart/digest > message/rfc822",
            "multipart/digest > message/rfc822 > text/plain",
            "= \"flat\"",
            "multipart/digest > message/rfc822",
            "= \"U3ViamVjdDogeAoKeA==\"",
        ],
    );
}

#[test]
fn boundaries_that_look_alike_and_parts_without_an_end() {
    // The inner boundary is the outer and "--"; the inner multipart is not closed.
    structure(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; \
         boundary=b--\n\n--b--\n\nin\n--bx\n--b\n\nout\n--b--\n--b\n\nlate",
        &[
            "multipart/mixed",
            "multipart/mixed > multipart/mixed",
            "multipart/mixed > multipart/mixed > text/plain",
            "= \"in\\n--bx\"",
            "multipart/mixed > text/plain",
            "= \"out\"",
            "multipart/mixed > text/plain",
            "= \"late\" (open)",
        ],
    );
}

#[test]
fn one_boundary_twice_is_that_of_the_inner_multipart() {
    structure(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; \
         boundary=b\n\n--b\n\nin\n--b--\n",
        &[
            "multipart/mixed",
            "multipart/mixed > multipart/alternative",
            "multipart/mixed > multipart/alternative > text/plain",
            "= \"in\"",
        ],
    );
}

#[test]
fn heads_that_are_none() {
    // A boundary in a head, a line that is no field, white space before a colon, mbox's line.
    structure(
        "From me@example.com Thu Jan  1 00:00:00 1970\nContent-Type : multipart/mixed; boundary=b\n\n\
         --b\nContent-Type: image/png\n--b\nContent-Type: text/html\nno field\nContent-Type: a/b\n\
         --b--",
        &[
            "multipart/mixed",
            "multipart/mixed > image/png",
            "= \"\" (open)",
            "multipart/mixed > text/html",
            "= \"no field\\nContent-Type: a/b\"",
        ],
    );
}

#[test]
fn heads_and_nesting_without_end_are_refused() {
    let endless = format!("Subject: {}", "x".repeat(MAX_HEAD));
    assert!(Walk::new(endless.as_bytes()).next_event().is_err());
    let folded = "Subject: x\n".repeat(MAX_HEAD / 11 + 1);
    assert!(Walk::new(folded.as_bytes()).next_event().is_err());
    let deep = "Content-Type: message/rfc822\n\n".repeat(MAX_DEPTH + 1);
    let mut walk = Walk::new(deep.as_bytes());
    assert!((0..MAX_DEPTH).all(|_| walk.next_event().is_ok()));
    assert!(walk.next_event().is_err());
}

#[test]
fn memory_does_not_grow_with_the_mail() {
    let head = b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: a/b\n\n";
    let lines = std::io::repeat(b'A').take(20 << 20);
    let mut walk = Walk::new(head.chain(lines).chain(&b"\n--b--\n"[..]));
    let mut seen = 0;
    while let Some(event) = walk.next_event().unwrap() {
        if let Event::Body(piece) = event {
            seen += piece.len();
        }
        assert!(walk.buffer.capacity() + walk.out.capacity() < 1 << 20);
    }
    assert_eq!(seen, 20 << 20);
}

proptest! {
    #[test]
    fn every_byte_comes_out_again(
        lines in prop::collection::vec(
            prop::sample::select(vec![
                "--b", "--b--", "--c", "--c--", "--", "", "x", "Content-Type: multipart/mixed; boundary=b",
                "Content-Type: multipart/digest; boundary=c", "Content-Type: message/rfc822", " fold",
                "Content-Transfer-Encoding: base64", "--b ",
            ]),
            0..30,
        ),
        ends in prop::collection::vec(prop::sample::select(vec!["\r\n", "\n", "\r"]), 30),
        at_once in 1..9_usize,
    ) {
        let mail: String = lines.iter().zip(&ends).map(|(line, end)| format!("{line}{end}")).collect();
        let (events, bytes) = walked(mail.as_bytes(), usize::MAX);
        prop_assert_eq!(String::from_utf8(bytes.clone()).unwrap(), mail.clone());
        prop_assert_eq!(walked(mail.as_bytes(), at_once), (events, bytes));
    }
}
