//! Groups of digits that belong together, and numbers in them.

use std::ops::Range;

/// Blanks and signs between two groups of a number: `4111 - 1111`.
const SEPARATOR: usize = 3;
/// Blanks around a line break between two groups.
const MARGIN: usize = 16;
/// Digits of the longest number.
pub(super) const LONGEST: usize = 19;

/// What stands between two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    Blank,
    Dash,
    Dot,
    /// Blanks and signs mixed: ` - `.
    Mixed,
    /// A line break or tabulator with blanks around it.
    Line,
}

/// Groups of digits with nothing but separators between them.
#[derive(Default)]
pub(super) struct Run {
    pub(super) groups: Vec<Range<usize>>,
    /// One less than groups.
    separators: Vec<Separator>,
    /// Digits of all groups.
    pub(super) digits: usize,
}

/// Groups `first..=last` of a run as one number.
pub(super) struct Number {
    digits: [u8; LONGEST],
    length: usize,
    /// Lengths of the groups.
    shape: [u8; LONGEST],
    groups: usize,
    /// What stands between the groups, if it is the same everywhere; a line break counts as any.
    pub(super) separator: Option<Separator>,
    /// Line breaks in it.
    pub(super) lines: usize,
    /// What joins it to digits before and behind it.
    pub(super) before: Option<Separator>,
    pub(super) behind: Option<Separator>,
    /// Letters stand right before or behind it.
    pub(super) lettered: bool,
    /// A `+` stands before it.
    pub(super) plus: bool,
    /// All separators are the same, but for line breaks.
    pub(super) even: bool,
}

impl Number {
    /// The digits' values.
    pub(super) fn digits(&self) -> &[u8] {
        &self.digits[..self.length]
    }

    /// The lengths of its groups.
    pub(super) fn shape(&self) -> &[u8] {
        &self.shape[..self.groups]
    }

    /// Whether no digits hang on to it; those beyond a blank are another number, if it has no
    /// blanks itself.
    pub(super) fn stands_alone(&self) -> bool {
        [self.before, self.behind].iter().all(|joint| match joint {
            None | Some(Separator::Line) => true,
            Some(Separator::Blank) => self.separator != Some(Separator::Blank),
            Some(Separator::Mixed) => self.separator != Some(Separator::Mixed),
            Some(Separator::Dash | Separator::Dot) => false,
        })
    }

    /// The value of some of its digits.
    pub(super) fn value(&self, range: Range<usize>) -> u64 {
        self.digits()[range].iter().fold(0, |value, digit| value * 10 + u64::from(*digit))
    }
}

impl Run {
    /// Becomes the next run at or behind `at`; whether there is one.
    pub(super) fn next(&mut self, text: &[u8], at: usize) -> bool {
        self.groups.clear();
        self.separators.clear();
        let Some(found) = text[at..].iter().position(u8::is_ascii_digit) else { return false };
        let start = at + found;
        let mut end = digits_end(text, start);
        self.digits = end - start;
        self.groups.push(start..end);
        while let Some((separator, next)) = separator(text, end) {
            end = digits_end(text, next);
            self.digits += end - next;
            self.separators.push(separator);
            self.groups.push(next..end);
            if self.groups.len() >= 512 {
                break; // A table of numbers; its next rows are another run.
            }
        }
        true
    }

    /// Where it ends in the text.
    pub(super) fn end(&self) -> usize {
        self.groups.last().map_or(0, |group| group.end)
    }

    /// Groups as one number. None if they are too many digits or cut out of a word of letters and
    /// digits.
    pub(super) fn number(&self, text: &[u8], first: usize, last: usize) -> Option<Number> {
        let groups = &self.groups[first..=last];
        let length: usize = groups.iter().map(ExactSizeIterator::len).sum();
        if length > LONGEST {
            return None;
        }
        let mut number = Number {
            digits: [0; LONGEST],
            length,
            shape: [0; LONGEST],
            groups: groups.len(),
            separator: None,
            lines: 0,
            before: first.checked_sub(1).map(|before| self.separators[before]),
            behind: self.separators.get(last).copied(),
            lettered: false,
            plus: false,
            even: true,
        };
        let mut at = 0;
        for (index, group) in groups.iter().enumerate() {
            number.shape[index] = u8::try_from(group.len()).unwrap_or(u8::MAX);
            for digit in &text[group.clone()] {
                number.digits[at] = digit - b'0';
                at += 1;
            }
        }
        for separator in &self.separators[first..last] {
            match separator {
                Separator::Line => number.lines += 1,
                other if number.separator.is_none() => number.separator = Some(*other),
                other => number.even &= number.separator == Some(*other),
            }
        }
        let (start, end) = (groups[0].start, groups[groups.len() - 1].end);
        number.plus = start > 0 && text[start - 1] == b'+';
        let letter = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
        number.lettered =
            letter(start.checked_sub(1).and_then(|at| text.get(at))) || letter(text.get(end));
        (!number.lettered || letters_around(text, &(start..end))).then_some(number)
    }
}

/// Whether only letters stand around a range, up to where words end: `Visa4111111111111111x`, not
/// `9f4111111111111111`.
fn letters_around(text: &[u8], range: &Range<usize>) -> bool {
    let mut before =
        text[..range.start].iter().rev().take(64).take_while(|byte| byte.is_ascii_alphanumeric());
    let mut behind = text[range.end..].iter().take(64).take_while(|b| b.is_ascii_alphanumeric());
    before.all(u8::is_ascii_alphabetic) && behind.all(u8::is_ascii_alphabetic)
}

fn digits_end(text: &[u8], start: usize) -> usize {
    let length = text[start..].iter().position(|byte| !byte.is_ascii_digit());
    length.map_or(text.len(), |length| start + length)
}

/// What separates the digits before `end` from those that follow, and where they begin.
fn separator(text: &[u8], end: usize) -> Option<(Separator, usize)> {
    let mut kind = None;
    let mut line = false;
    for (offset, byte) in text[end..].iter().enumerate().take(MARGIN) {
        let this = match byte {
            b' ' => Separator::Blank,
            b'-' => Separator::Dash,
            // A sentence ends.
            b'.' if matches!(text.get(end + offset + 1), Some(b' ')) => return None,
            b'.' => Separator::Dot,
            b'\r' => continue,
            b'\n' | b'\t' => {
                if line {
                    return None;
                }
                line = true;
                continue;
            }
            byte if byte.is_ascii_digit() && offset > 0 => {
                let kind = if line { Separator::Line } else { kind? };
                return (line || offset <= SEPARATOR).then_some((kind, end + offset));
            }
            _ => return None,
        };
        kind = match kind {
            None => Some(this),
            Some(kind) if kind == this => Some(kind),
            Some(_) => Some(Separator::Mixed),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_joined_by_what_people_write_between_them() {
        let shape = |text: &str| {
            let mut run = Run::default();
            assert!(run.next(text.as_bytes(), 0));
            run.groups.iter().map(ExactSizeIterator::len).collect::<Vec<_>>()
        };
        assert_eq!(shape("a 4111 1111-22.3 - 4\n 5\t6 x 7"), [4, 4, 2, 1, 1, 1, 1]);
        assert_eq!(shape("4111, 1111"), [4]);
        assert_eq!(shape("41\n\n11"), [2]);
        assert_eq!(shape("41    11"), [2]);
        assert_eq!(shape("41-"), [2]);
    }
}
