//! A text as its reader sees it, with a way back to the bytes it is written in.
//!
//! `4111<b> 1111</b>&nbsp;11&#49;1 1111` reads as `4111 1111 1111 1111`. The search runs on what is
//! read; the change is made where it is written, and what lies between (tags, line breaks) stays.

mod html;
mod rtf;

use std::borrow::Cow;
use std::ops::Range;

use crate::edit::Edit;
use crate::find::Hit;

pub use html::{Dialect, escape, html, markup};
pub use rtf::{escape as rtf_escape, rtf};

/// From here to the next stretch, text of the view and of the source correspond.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    view: usize,
    source: usize,
    /// Bytes in the source.
    length: usize,
    /// Byte for byte; otherwise only as a whole.
    literal: bool,
}

/// What is read, and where it is written.
#[derive(Debug)]
pub struct View<'a> {
    text: Cow<'a, str>,
    /// In order; empty if view and source are the same.
    stretches: Vec<Stretch>,
}

impl View<'_> {
    /// What is read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The edits of the source that put something in place of each hit, as `write` gives it. `hits`
    /// are in order and do not overlap.
    #[must_use]
    pub fn edits(&self, hits: &[Hit], write: impl Fn(&Hit) -> String) -> Vec<Edit> {
        let mut edits = Vec::new();
        for hit in hits {
            let with = write(hit).into_bytes();
            if self.stretches.is_empty() {
                edits.push(Edit { range: hit.range.clone(), with });
                continue;
            }
            let mut with = Some(with);
            for range in self.written(&hit.range) {
                edits.push(Edit { range, with: with.take().unwrap_or_default() });
            }
        }
        edits
    }

    /// Where a range of the view is written.
    fn written(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let first = self.stretches.partition_point(|stretch| stretch.view <= range.start);
        let mut found: Vec<Range<usize>> = Vec::new();
        for index in first.saturating_sub(1)..self.stretches.len() {
            let stretch = self.stretches[index];
            if stretch.view >= range.end {
                break;
            }
            let end = self.stretches.get(index + 1).map_or(self.text.len(), |next| next.view);
            let invisible = stretch.view == end && stretch.view > range.start;
            if !invisible && end <= range.start {
                continue;
            }
            let source = if stretch.literal {
                let from = range.start.max(stretch.view) - stretch.view;
                let to = range.end.min(end) - stretch.view;
                stretch.source + from..stretch.source + to
            } else {
                stretch.source..stretch.source + stretch.length
            };
            match found.last_mut() {
                Some(last) if last.end == source.start => last.end = source.end,
                _ => found.push(source),
            }
        }
        found
    }
}

/// Builds a [`View`] from left to right.
#[derive(Default)]
pub(crate) struct Builder {
    text: String,
    stretches: Vec<Stretch>,
}

impl Builder {
    /// Text that is written as it is read.
    fn literal(&mut self, source: &str, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let view = self.text.len();
        self.stretches.push(Stretch {
            view,
            source: range.start,
            length: range.len(),
            literal: true,
        });
        self.text.push_str(&source[range]);
    }

    /// A character that is written otherwise: an entity, a wide digit.
    fn sign(&mut self, read: char, range: Range<usize>) {
        let view = self.text.len();
        self.stretches.push(Stretch {
            view,
            source: range.start,
            length: range.len(),
            literal: false,
        });
        self.text.push(read);
    }

    /// Something that is not seen and goes with what is around it: a soft hyphen, a fold.
    fn invisible(&mut self, range: Range<usize>) {
        let view = self.text.len();
        self.stretches.push(Stretch {
            view,
            source: range.start,
            length: range.len(),
            literal: false,
        });
    }

    /// A mark that nothing is read across, or only once; nothing is written there.
    fn mark(&mut self, marks: &str, at: usize) {
        let view = self.text.len();
        self.stretches.push(Stretch { view, source: at, length: 0, literal: false });
        self.text.push_str(marks);
    }

    fn char(&mut self, found: char, range: Range<usize>) {
        match seen(found) {
            Seen::As(read) => self.sign(read, range),
            Seen::Not => self.invisible(range),
            Seen::Itself => self.sign(found, range),
        }
    }

    fn build(self) -> View<'static> {
        View { text: Cow::Owned(self.text), stretches: self.stretches }
    }
}

/// What a character is to a reader who looks for numbers.
enum Seen {
    Itself,
    As(char),
    Not,
}

/// Digits of other scripts are digits, wide letters are letters, all kinds of blanks, dashes and
/// dots are one kind each, and what takes no room is not there.
fn seen(found: char) -> Seen {
    let digit = |zero: u32| char::from_digit((found as u32).wrapping_sub(zero), 10);
    let read = match found {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => {
            Some(' ')
        }
        '\u{2010}'..='\u{2015}'
        | '\u{2212}'
        | '\u{2043}'
        | '\u{fe58}'
        | '\u{fe63}'
        | '\u{ff0d}' => Some('-'),
        '\u{b7}' | '\u{2022}' | '\u{2024}' | '\u{2219}' | '\u{22c5}' | '\u{30fb}' | '\u{ff0e}' => {
            Some('.')
        }
        '\u{2028}' | '\u{2029}' | '\u{85}' => Some('\n'),
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{2069}'
        | '\u{feff}'
        | '\u{fe00}'..='\u{fe0f}' => return Seen::Not,
        '\u{660}'..='\u{669}' => digit(0x660),
        '\u{6f0}'..='\u{6f9}' => digit(0x6f0),
        '\u{966}'..='\u{96f}' => digit(0x966),
        '\u{9e6}'..='\u{9ef}' => digit(0x9e6),
        '\u{e50}'..='\u{e59}' => digit(0xe50),
        '\u{ff10}'..='\u{ff19}' => digit(0xff10),
        '\u{1d7ce}'..='\u{1d7ff}' => char::from_digit((found as u32 - 0x1d7ce) % 10, 10),
        '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' | '\u{ff20}' => {
            char::from_u32(found as u32 - 0xfee0)
        }
        _ => None,
    };
    read.map_or(Seen::Itself, Seen::As)
}

/// How lines of a plain text hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// As they stand.
    Plain,
    /// `format=flowed` (RFC 3676): a line that ends in a blank goes on in the next one.
    Flowed {
        /// That blank is not part of the text.
        delete_space: bool,
    },
    /// A line that begins with a blank is the rest of the one before, without that blank
    /// (RFC 5545, RFC 6350).
    Folded,
    /// Likewise, but the blank is part of the text (RFC 5322).
    Header,
}

/// Plain text.
#[must_use]
pub fn plain(source: &str, lines: Lines) -> View<'_> {
    let mut builder = Builder::default();
    let mut done = 0;
    let mut at = 0;
    let bytes = source.as_bytes();
    while let Some(next) = bytes[at..].iter().position(|byte| *byte >= 0x80 || *byte == b'\n') {
        let start = at + next;
        if bytes[start] == b'\n' {
            at = start + 1;
            if let Some((range, read)) = line_break(bytes, start, lines) {
                builder.literal(source, done..range.start);
                match read {
                    Some(read) => builder.sign(read, range.clone()),
                    None => builder.invisible(range.clone()),
                }
                done = range.end;
                at = range.end;
            }
            continue;
        }
        let found = source[start..].chars().next().unwrap_or('?');
        at = start + found.len_utf8();
        if !matches!(seen(found), Seen::Itself) {
            builder.literal(source, done..start);
            builder.char(found, start..at);
            done = at;
        }
    }
    if done == 0 {
        return View { text: Cow::Borrowed(source), stretches: Vec::new() };
    }
    builder.literal(source, done..source.len());
    builder.build()
}

/// How the line break at `start` reads if it does not read as a line break: which bytes, and as
/// what. None if it is one.
fn line_break(bytes: &[u8], start: usize, lines: Lines) -> Option<(Range<usize>, Option<char>)> {
    let begin = if start > 0 && bytes[start - 1] == b'\r' { start - 1 } else { start };
    let after = bytes.get(start + 1).copied();
    match lines {
        Lines::Folded => matches!(after, Some(b' ' | b'\t')).then_some((begin..start + 2, None)),
        Lines::Header => matches!(after, Some(b' ' | b'\t')).then_some((begin..start + 1, None)),
        Lines::Plain | Lines::Flowed { .. } => {
            let mut end = start + 1;
            while end < bytes.len() && matches!(bytes[end], b'>' | b'|') {
                end += 1;
                if bytes.get(end) == Some(&b' ') && matches!(bytes.get(end + 1), Some(b'>' | b'|'))
                {
                    end += 1;
                }
            }
            let quoted = end > start + 1;
            if let Lines::Flowed { delete_space } = lines
                && begin > 0
                && bytes[begin - 1] == b' '
            {
                // A line may be stuffed with a blank at its beginning.
                end += usize::from(bytes.get(end) == Some(&b' '));
                let from = if delete_space { begin - 1 } else { begin };
                return Some((from..end, None));
            }
            quoted.then_some((begin..end, Some('\n')))
        }
    }
}

/// Text in which `%34` may stand for a character: addresses of pages.
#[must_use]
pub fn percent(source: &str) -> View<'_> {
    if !source.contains('%') {
        return plain(source, Lines::Plain);
    }
    let mut builder = Builder::default();
    let mut done = 0;
    let mut at = 0;
    while let Some(next) = source[at..].find('%') {
        let start = at + next;
        let mut bytes = Vec::new();
        let mut end = start;
        while let Some(byte) = escaped(source.as_bytes(), end) {
            bytes.push(byte);
            end += 3;
        }
        if bytes.is_empty() {
            at = start + 1;
            continue;
        }
        builder.literal(source, done..start);
        let mut offset = start;
        for chunk in bytes.utf8_chunks() {
            for found in chunk.valid().chars() {
                let length = 3 * found.len_utf8();
                builder.char(found, offset..offset + length);
                offset += length;
            }
            for _ in chunk.invalid() {
                builder.sign(char::REPLACEMENT_CHARACTER, offset..offset + 3);
                offset += 3;
            }
        }
        done = end;
        at = end;
    }
    builder.literal(source, done..source.len());
    builder.build()
}

/// The byte that `%34` stands for.
fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = bytes.get(at..at + 3)? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? * 16 + digit(*low)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::apply_text;

    fn hit(text: &str, needle: &str) -> Hit {
        let start = text.find(needle).unwrap_or_else(|| panic!("no {needle:?} in {text:?}"));
        Hit { range: start..start + needle.len(), with: "X".to_owned(), address: false }
    }

    fn replaced(source: &str, view: &View<'_>, needle: &str) -> String {
        apply_text(source, &view.edits(&[hit(view.text(), needle)], |hit| hit.with.clone()))
    }

    #[test]
    fn what_is_read_is_replaced_where_it_is_written() {
        let source = "a\u{a0}4\u{ad}1-\u{ff11}\u{2011}2 b";
        let view = plain(source, Lines::Plain);
        assert_eq!(view.text(), "a 41-1-2 b");
        assert_eq!(replaced(source, &view, "41-1-2"), "a\u{a0}X b");
        assert_eq!(replaced(source, &view, "41"), "a\u{a0}X-\u{ff11}\u{2011}2 b");
    }

    #[test]
    fn lines_that_hang_together_are_read_as_one() {
        let flowed = "> 41 \r\n> 11\r\n12";
        let view = plain(flowed, Lines::Flowed { delete_space: false });
        assert_eq!(view.text(), "> 41 11\r\n12");
        assert_eq!(replaced(flowed, &view, "41 11"), "> X\r\n12");
        let view = plain("41 \r\n11", Lines::Flowed { delete_space: true });
        assert_eq!(view.text(), "4111");
        let view = plain("NOTE:41\r\n 11\r\nEND", Lines::Folded);
        assert_eq!(view.text(), "NOTE:4111\r\nEND");
        assert_eq!(replaced("NOTE:41\r\n 11\r\nEND", &view, "4111"), "NOTE:X\r\nEND");
        assert_eq!(plain("41\r\n 11", Lines::Header).text(), "41 11");
        assert_eq!(plain("> 41\n> > 11", Lines::Plain).text(), "> 41\n 11");
    }

    #[test]
    fn percent_signs_are_read_as_what_they_stand_for() {
        let source = "https://x/a%20%34%C2%A01/%zz";
        let view = percent(source);
        assert_eq!(view.text(), "https://x/a 4 1/%zz");
        assert_eq!(replaced(source, &view, "4 1"), "https://x/a%20X/%zz");
    }
}
