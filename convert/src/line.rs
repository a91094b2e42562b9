//! Content lines, which iCalendar (RFC 5545, 3.1) and vCard (RFC 2426, 2.6; RFC 6350, 3.2) share:
//! folded at 75 octets, ended by CRLF, text escaped by backslashes.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use data_encoding::BASE64;

use crate::loss::Losses;

/// Octets of a line without its end; more are folded.
const WIDTH: usize = 75;

/// Writes content lines; nothing longer than a line is held.
pub(crate) struct Lines<'a, W: Write> {
    out: &'a mut W,
    column: usize,
}

impl<'a, W: Write> Lines<'a, W> {
    pub(crate) fn new(out: &'a mut W) -> Self {
        Self { out, column: 0 }
    }

    /// A line whose value stands as it is: no text, or escaped already. `head` is the name with
    /// its group and parameters.
    pub(crate) fn raw(&mut self, head: &str, value: &str) -> io::Result<()> {
        self.put(head)?;
        self.put(":")?;
        self.put(value)?;
        self.end()
    }

    /// A line with one text as its value.
    pub(crate) fn text(&mut self, head: &str, value: &str) -> io::Result<()> {
        self.raw(head, &escape(value))
    }

    /// A line with a list of texts or the components of a structured text as its value.
    pub(crate) fn texts(&mut self, head: &str, separator: &str, values: &[&str]) -> io::Result<()> {
        let values: Vec<_> = values.iter().map(|value| escape(value)).collect();
        self.raw(head, &values.join(separator))
    }

    /// A line with bytes in base64 as its value, after `prefix`; returns how many bytes they were.
    pub(crate) fn base64(
        &mut self,
        head: &str,
        prefix: &str,
        content: &mut dyn Read,
    ) -> io::Result<u64> {
        self.put(head)?;
        self.put(":")?;
        self.put(prefix)?;
        // A multiple of three, so that padding comes at the end only.
        let mut chunk = [0; 3 * 4096];
        let mut total = 0;
        loop {
            let filled = fill(content, &mut chunk)?;
            total += filled as u64;
            self.put(&BASE64.encode(&chunk[..filled]))?;
            if filled < chunk.len() {
                break;
            }
        }
        self.end()?;
        Ok(total)
    }

    fn put(&mut self, mut text: &str) -> io::Result<()> {
        while self.column + text.len() > WIDTH {
            let cut = text.floor_char_boundary(WIDTH - self.column);
            self.out.write_all(&text.as_bytes()[..cut])?;
            self.out.write_all(b"\r\n ")?;
            self.column = 1;
            text = &text[cut..];
        }
        self.out.write_all(text.as_bytes())?;
        self.column += text.len();
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.column = 0;
        self.out.write_all(b"\r\n")
    }
}

/// Reads until `buffer` is full or the content ends; returns how much that was.
fn fill(content: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Text as a value: line ends become `\n`, other control characters go, as no line may hold them
/// ([`has_controls`] tells).
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_all(text, &['\\', ';', ','])
}

/// A URI, or what stands for one, as a value. It is no list, so its commas and semicolons stand.
pub(crate) fn escape_uri(text: &str) -> Cow<'_, str> {
    escape_all(text, &['\\'])
}

fn escape_all<'a>(text: &'a str, special: &[char]) -> Cow<'a, str> {
    if !text.contains(|c: char| c.is_ascii_control() || special.contains(&c)) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => {
                rest.next_if_eq(&'\n');
                escaped.push_str("\\n");
            }
            c if is_control(c) => {}
            c if special.contains(&c) => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a text has characters that [`escape`] drops.
pub(crate) fn has_controls(text: &str) -> bool {
    text.contains(is_control)
}

/// A member of a list without the white space that readers of lists drop.
pub(crate) fn tidy(text: &str, property: &str, losses: &mut Losses) -> String {
    let visible = text.replace(|c: char| c.is_ascii_control() && !c.is_ascii_whitespace(), "");
    let tidy = visible.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    if tidy != visible {
        losses.add(property, "surplus white space was left out");
    }
    tidy
}

/// Control characters that no content line may hold, line ends aside.
fn is_control(c: char) -> bool {
    c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r')
}
