//! Two renderings of one mail: Exchange makes new boundaries each time (FACTS 4.1).

/// Whether two mails differ in nothing but the boundaries of their parts (RFC 2046 section 5.1.1).
/// Only those that structure the mail count: what a text says of a boundary is text.
pub(crate) fn equal_but_boundaries(one: &[u8], other: &[u8]) -> bool {
    one == other || pieces(one) == pieces(other)
}

/// A part of a mail.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Bytes(&'a [u8]),
    /// A boundary, by its number in the mail.
    Boundary(usize),
}

/// The mail, with the number of each boundary instead of its value.
fn pieces(mail: &[u8]) -> Vec<Piece<'_>> {
    let mut boundaries: Vec<&[u8]> = Vec::new();
    let mut pieces = Vec::new();
    let mut headers = Some(Headers::default());
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        let split = match &mut headers {
            Some(seen) if line.trim_ascii().is_empty() => {
                // The content of a message is a mail again (RFC 2046 section 5.2.1).
                headers = seen.is_message.then(Headers::default);
                None
            }
            Some(seen) => seen.boundary(line).map(|(start, value)| {
                let number = boundaries.iter().position(|known| *known == value);
                let number = number.unwrap_or_else(|| {
                    boundaries.push(value);
                    boundaries.len() - 1
                });
                (start, value.len(), number)
            }),
            None => delimiter(line, &boundaries),
        };
        let Some((start, length, number)) = split else {
            pieces.push(Piece::Bytes(line));
            continue;
        };
        let (before, after) = (&line[..start], &line[start + length..]);
        pieces.extend([Piece::Bytes(before), Piece::Boundary(number), Piece::Bytes(after)]);
        if headers.is_none() && !after.starts_with(b"--") {
            headers = Some(Headers::default());
        }
    }
    pieces
}

/// Place, length and number of the boundary in a line between two parts. The longest that fits:
/// one may begin like another.
fn delimiter(line: &[u8], boundaries: &[&[u8]]) -> Option<(usize, usize, usize)> {
    let text = line.strip_prefix(b"--")?;
    let is_here = |boundary: &[u8]| {
        let rest = text.strip_prefix(boundary);
        rest.is_some_and(|rest| rest.strip_prefix(b"--").unwrap_or(rest).trim_ascii().is_empty())
    };
    let fits = boundaries.iter().enumerate().filter(|(_, boundary)| is_here(boundary));
    let (number, boundary) = fits.max_by_key(|(_, boundary)| boundary.len())?;
    Some((2, boundary.len(), number))
}

/// What a block of headers has said so far.
#[derive(Default)]
struct Headers {
    /// The line at hand belongs to the content type, and that has several parts.
    in_multipart: bool,
    is_message: bool,
}

impl Headers {
    /// Place and value of the boundary parameter in the next line, if that has one.
    fn boundary<'a>(&mut self, line: &'a [u8]) -> Option<(usize, &'a [u8])> {
        const NAME: &[u8] = b"boundary=";
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = b"content-type:";
            let starts = |text: &[u8], with: &[u8]| {
                text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
            };
            let is_type = starts(line, name);
            let kind = if is_type { line[name.len()..].trim_ascii_start() } else { &[] };
            self.in_multipart = starts(kind, b"multipart/");
            self.is_message |= starts(kind, b"message/rfc822");
        }
        if !self.in_multipart {
            return None;
        }
        let is_name = |window: &[u8]| window.eq_ignore_ascii_case(NAME);
        let mut start = line.windows(NAME.len()).position(is_name)? + NAME.len();
        let is_quoted = line[start..].starts_with(b"\"");
        start += usize::from(is_quoted);
        let ends = |byte: &u8| match is_quoted {
            true => matches!(byte, b'"' | b'\r' | b'\n'),
            false => byte.is_ascii_whitespace() || *byte == b';',
        };
        let value = &line[start..];
        let value = &value[..value.iter().position(ends).unwrap_or(value.len())];
        // RFC 2046: at most 70 characters.
        (1..=70).contains(&value.len()).then_some((start, value))
    }
}

#[cfg(test)]
mod tests {
    use super::equal_but_boundaries;

    fn mail(outer: &str, inner: &str, text: &str) -> Vec<u8> {
        format!(
            "Content-Type: multipart/mixed;\r\n\tboundary=\"{outer}\"\r\n\r\n--{outer}\r\n\
             Content-Type: multipart/related; boundary={inner}; type=\"text/html\"\r\n\r\n\
             --{inner}\r\n\r\n{text}\r\n--{inner}--\r\n--{outer}--\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn only_boundaries_may_differ() {
        let one = mail("_000_AAA_", "_001_AAA_", "text");
        assert!(equal_but_boundaries(&one, &one));
        assert!(equal_but_boundaries(&one, &mail("_000_BBB_", "_001_BBB_", "text")));
        assert!(equal_but_boundaries(&one, &mail("_000_B_", "_001_BBBBBB_", "text")));
        assert!(!equal_but_boundaries(&one, &mail("_000_BBB_", "_001_BBB_", "texT")));
        assert!(!equal_but_boundaries(b"a", b"b"));
    }

    #[test]
    fn one_boundary_may_begin_like_another() {
        let one = mail("b", "bb", "text");
        assert!(equal_but_boundaries(&one, &mail("xx", "x", "text")));
        assert!(!equal_but_boundaries(&one, &mail("xx", "x", "text b")));
    }

    #[test]
    fn what_a_text_says_of_a_boundary_is_text() {
        for text in ["boundary=", "--", "Content-Type: multipart/mixed; boundary=", "x\r\n\r\n--"] {
            let with = |word: &str| mail("a", "b", &format!("{text}{word}\r\n--{word}"));
            assert!(!equal_but_boundaries(&with("one"), &with("two")), "{text}");
            let alone = |word: &str| format!("Subject: a\r\n\r\n{text}{word}\r\n").into_bytes();
            assert!(!equal_but_boundaries(&alone("one"), &alone("two")), "{text}");
        }
    }

    #[test]
    fn an_attached_message_has_boundaries_of_its_own() {
        let with = |outer: &str, inner: &str, text: &str| {
            let mut whole = format!(
                "Content-Type: multipart/mixed; boundary={outer}\r\n\r\n--{outer}\r\n\
                 Content-Type: message/rfc822\r\n\r\n"
            )
            .into_bytes();
            whole.extend(mail(inner, "i", text));
            whole.extend(format!("\r\n--{outer}--\r\n").into_bytes());
            whole
        };
        assert!(equal_but_boundaries(&with("a", "b", "text"), &with("c", "dd", "text")));
        assert!(!equal_but_boundaries(&with("a", "b", "text"), &with("c", "dd", "texts")));
    }
}
