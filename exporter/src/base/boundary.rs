//! Two renderings of one mail: Exchange makes new boundaries each time (FACTS 4.1).

/// Whether two mails differ in nothing but their boundaries (RFC 2046 section 5.1.1).
pub(crate) fn equal_but_boundaries(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let (ours, theirs) = (boundaries(one), boundaries(other));
    if ours.is_empty() || ours.len() != theirs.len() {
        return false;
    }
    normalised(one, &ours) == normalised(other, &theirs)
}

/// The values of all boundary parameters, in their order.
fn boundaries(mail: &[u8]) -> Vec<&[u8]> {
    const NAME: &[u8] = b"boundary=";
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = position(&mail[at..], NAME) {
        let value = &mail[at + start + NAME.len()..];
        let value = match value.first() {
            Some(b'"') => {
                let value = &value[1..];
                let end = value.iter().position(|byte| matches!(byte, b'"' | b'\r' | b'\n'));
                &value[..end.unwrap_or(value.len())]
            }
            _ => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b';';
                &value[..value.iter().position(ends).unwrap_or(value.len())]
            }
        };
        // RFC 2046: at most 70 characters.
        if !value.is_empty() && value.len() <= 70 {
            found.push(value);
        }
        at += start + NAME.len();
    }
    found
}

fn position(text: &[u8], name: &[u8]) -> Option<usize> {
    text.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))
}

/// The mail with each boundary replaced by its number.
fn normalised(mail: &[u8], boundaries: &[&[u8]]) -> Vec<u8> {
    // Longest first: one may begin like another.
    let mut order: Vec<usize> = (0..boundaries.len()).collect();
    order.sort_by_key(|number| std::cmp::Reverse(boundaries[*number].len()));
    let mut normal = Vec::with_capacity(mail.len());
    let mut at = 0;
    while at < mail.len() {
        let rest = &mail[at..];
        // Boundaries stand behind two hyphens, or in their parameter.
        let is_here =
            rest.starts_with(b"--") || at >= 1 && matches!(mail[at - 1], b'=' | b'"' | b'-');
        let skip = if rest.starts_with(b"--") { 2 } else { 0 };
        let found = is_here
            .then(|| order.iter().find(|number| rest[skip..].starts_with(boundaries[**number])))
            .flatten();
        match found {
            Some(number) => {
                normal.extend_from_slice(&rest[..skip]);
                normal.extend_from_slice(format!("\\0{number}\\0").as_bytes());
                at += skip + boundaries[*number].len();
            }
            None => {
                normal.push(rest[0]);
                at += 1;
            }
        }
    }
    normal
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
}
