//! Content lines of iCalendar and vCard (RFC 5545 and RFC 6350, 3.1 and 3.2), unfolded while they
//! pass: a value may be an attachment of any size, so only what stands before it is held.

/// More than the name and the parameters of any line that means something.
const MOST_OF_HEAD: usize = 64 * 1024;
/// Octets of a line on the wire, without its end.
const WIDTH: usize = 75;

/// A piece of a logical line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Name and parameters, with the colon if there is one.
    Head(&'a [u8]),
    /// Some of the value.
    Value(&'a [u8]),
    /// The line is over.
    End,
}

/// Cuts bytes into lines, however they come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    head: Vec<u8>,
    /// The colon was there.
    in_value: bool,
    /// A colon between quotes is none.
    is_quoted: bool,
    pending: Pending,
    /// A line ended without CR.
    pub(super) bare: bool,
}

/// What decides with the next byte.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Pending {
    #[default]
    Nothing,
    Cr,
    /// The next line is one of its own, or goes on with this one.
    Break,
}

impl Lines {
    /// Takes the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut impl FnMut(Piece<'_>)) {
        while let Some(&next) = bytes.first() {
            match std::mem::take(&mut self.pending) {
                Pending::Nothing => {
                    let end = memchr::memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
                    self.text(&bytes[..end], out);
                    bytes = &bytes[end..];
                    if let Some((&end, rest)) = bytes.split_first() {
                        self.bare |= end == b'\n';
                        self.pending = if end == b'\r' { Pending::Cr } else { Pending::Break };
                        bytes = rest;
                    }
                }
                Pending::Cr if next == b'\n' => {
                    self.pending = Pending::Break;
                    bytes = &bytes[1..];
                }
                // No end of a line.
                Pending::Cr => self.text(b"\r", out),
                Pending::Break if matches!(next, b' ' | b'\t') => bytes = &bytes[1..],
                Pending::Break => self.end(out),
            }
        }
    }

    /// After the last byte.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        if std::mem::take(&mut self.pending) == Pending::Cr {
            self.text(b"\r", out);
        }
        self.end(out);
    }

    fn text(&mut self, bytes: &[u8], out: &mut impl FnMut(Piece<'_>)) {
        if bytes.is_empty() {
            return;
        }
        if self.in_value {
            return out(Piece::Value(bytes));
        }
        let colon = bytes.iter().position(|byte| {
            self.is_quoted ^= *byte == b'"';
            *byte == b':' && !self.is_quoted
        });
        let (head, value) = bytes.split_at(colon.map_or(bytes.len(), |at| at + 1));
        self.head.extend_from_slice(head);
        if colon.is_some() || self.head.len() > MOST_OF_HEAD {
            self.in_value = true;
            out(Piece::Head(&self.head));
            if !value.is_empty() {
                out(Piece::Value(value));
            }
        }
    }

    fn end(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        if !self.head.is_empty() {
            if !self.in_value {
                out(Piece::Head(&self.head));
            }
            out(Piece::End);
        }
        self.head.clear();
        (self.in_value, self.is_quoted) = (false, false);
    }
}

/// The parts of a [`Piece::Head`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// `item1` of `item1.TEL`, as written; empty without one.
    pub(super) group: &'a str,
    /// In capitals.
    pub(super) name: String,
    /// Each as written, with its name.
    pub(super) parameters: Vec<&'a str>,
}

impl<'a> Head<'a> {
    /// None of what is not UTF-8: no line that we know is.
    pub(super) fn parse(head: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?;
        let mut parts = split_unquoted(text.strip_suffix(':').unwrap_or(text));
        let full = parts.next().unwrap_or_default();
        let (group, name) = full.rsplit_once('.').unwrap_or(("", full));
        Some(Self { group, name: name.to_ascii_uppercase(), parameters: parts.collect() })
    }
}

/// Name of a parameter, in capitals, and its value as written.
pub(super) fn parameter(written: &str) -> (String, &str) {
    let (name, value) = written.split_once('=').unwrap_or((written, ""));
    (name.to_ascii_uppercase(), value)
}

/// What stands between semicolons that are not quoted.
fn split_unquoted(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == ';' && !is_quoted
    })
}

/// Writes logical lines, folded.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// Octets of the line so far.
    column: usize,
}

impl Folded {
    pub(super) fn text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        // Never inside of a character: not all programs put those together again.
        let is_inside = |byte: u8| (0x80..0xc0).contains(&byte);
        let mut rest = text;
        while let Some(&next) = rest.first() {
            if self.column >= WIDTH && !is_inside(next) {
                out.extend_from_slice(b"\r\n ");
                self.column = 1;
            }
            let mut end = WIDTH.saturating_sub(self.column).clamp(1, rest.len());
            while rest.get(end).is_some_and(|byte| is_inside(*byte)) {
                end += 1;
            }
            out.extend_from_slice(&rest[..end]);
            self.column += end;
            rest = &rest[end..];
        }
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
        self.column = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &[u8], cut: usize) -> (Vec<(String, String)>, bool) {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        let mut current: Option<(String, String)> = None;
        let mut take = |piece: Piece<'_>| match piece {
            Piece::Head(head) => {
                current = Some((String::from_utf8(head.to_vec()).unwrap(), String::new()));
            }
            Piece::Value(value) => {
                let value = String::from_utf8_lossy(value).into_owned();
                current.as_mut().unwrap().1.push_str(&value);
            }
            Piece::End => out.push(current.take().unwrap()),
        };
        lines.push(&text[..cut], &mut take);
        lines.push(&text[cut..], &mut take);
        lines.finish(&mut take);
        (out, lines.bare)
    }

    #[test]
    fn lines_are_unfolded_wherever_they_are_cut() {
        let text = b"BEGIN:VCARD\r\nITEM1.TEL;X=\"a:b;c\":1\r\n 2\r\n\t3\r\n\r\nNO COLON\r\nA:b\rc";
        let expected = [
            ("BEGIN:", "VCARD"),
            ("ITEM1.TEL;X=\"a:b;c\":", "123"),
            ("NO COLON", ""),
            ("A:", "b\rc"),
        ];
        for cut in 0..=text.len() {
            let (lines, bare) = pieces(text, cut);
            let lines: Vec<_> = lines.iter().map(|(h, v)| (h.as_str(), v.as_str())).collect();
            assert_eq!(lines, expected, "cut at {cut}");
            assert!(!bare);
        }
        assert!(pieces(b"A:1\nB:2\n", 0).1);
    }

    #[test]
    fn a_head_without_end_is_not_held() {
        let mut lines = Lines::default();
        let mut longest = 0;
        for _ in 0..100 {
            lines.push(&[b'x'; 4096], &mut |piece| {
                if let Piece::Head(bytes) | Piece::Value(bytes) = piece {
                    longest = longest.max(bytes.len());
                }
            });
        }
        assert!(longest <= MOST_OF_HEAD + 4096, "{longest}");
    }

    #[test]
    fn heads() {
        let head = Head::parse(b"item1.Tel;TYPE=home;X=\"a;b\":").unwrap();
        assert_eq!((head.group, head.name.as_str()), ("item1", "TEL"));
        assert_eq!(head.parameters, ["TYPE=home", "X=\"a;b\""]);
        assert_eq!(parameter("type=home"), ("TYPE".to_owned(), "home"));
    }

    #[test]
    fn folding_is_undone_by_unfolding() {
        let text = format!("SUMMARY:{}", "ä€𝄞x".repeat(40));
        let (mut out, mut folded) = (Vec::new(), Folded::default());
        folded.text(text.as_bytes(), &mut out);
        folded.end(&mut out);
        let written = String::from_utf8(out.clone()).unwrap();
        assert!(written.split("\r\n").all(|line| line.len() <= WIDTH + 3), "{written}");
        let (lines, _) = pieces(&out, 0);
        assert_eq!(format!("{}{}", lines[0].0, lines[0].1), text);
    }
}
