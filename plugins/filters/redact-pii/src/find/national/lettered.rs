//! Ids that have letters in them.

use std::ops::Range;

use super::{Country, is_date};

/// The id with letters that the group of digits is the first digits of, and its name.
pub(in crate::find) fn lettered(
    text: &[u8],
    group: &Range<usize>,
    countries: &[Country],
) -> Option<(Range<usize>, &'static str)> {
    // Nearly all groups can be none of them by what stands beside them.
    let letter = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphabetic);
    let follows = |signs: &[u8]| text.get(group.end).is_some_and(|byte| signs.contains(byte));
    let start = group.start;
    let can_be = match group.len() {
        1 => follows(b" -."),
        2 => {
            let blank = usize::from(start > 0 && text[start - 1] == b' ');
            start > blank && letter(start - 1 - blank) || follows(b".")
        }
        6 | 7 | 8 | 17 => true,
        _ => false,
    };
    if !can_be {
        return None;
    }
    countries.iter().find_map(|country| {
        let range = match (country, group.len()) {
            (Country::Es, 2 | 7 | 8) => spain(text, group),
            (Country::It, 2) => italy(text, group),
            (Country::Gb, 2 | 6) => united_kingdom(text, group),
            (Country::Fi, 6) => finland(text, group),
            (Country::Cn, 17) => china(text, group),
            (Country::Fr, 1 | 6) => corsica(text, group),
            (Country::Cz | Country::Sk, 6) => czech(text, group),
            _ => None,
        }?;
        stands_alone(text, &range).then(|| (range, country.name()))
    })
}

fn stands_alone(text: &[u8], range: &Range<usize>) -> bool {
    let letter = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
    !letter(range.start.checked_sub(1).and_then(|at| text.get(at))) && !letter(text.get(range.end))
}

/// Characters of the given kinds (`d` digit, `l` letter, anything else itself) from `at` on, with at
/// most one blank, dash or dot between any two: what they are, in capitals, and where they end.
fn read(text: &[u8], at: usize, kinds: &str) -> Option<(Vec<u8>, usize)> {
    let mut found = Vec::with_capacity(kinds.len());
    let mut at = at;
    for kind in kinds.bytes() {
        if !found.is_empty() && matches!(text.get(at), Some(b' ' | b'-' | b'.')) {
            at += 1;
        }
        let byte = text.get(at)?.to_ascii_uppercase();
        let fits = match kind {
            b'd' => byte.is_ascii_digit(),
            b'l' => byte.is_ascii_uppercase(),
            _ => byte == kind,
        };
        if !fits {
            return None;
        }
        found.push(byte);
        at += 1;
    }
    Some((found, at))
}

fn value(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))
}

/// DNI: eight digits and a letter; NIE: X, Y or Z for the first. Mod 23.
fn spain(text: &[u8], group: &Range<usize>) -> Option<Range<usize>> {
    let before = group.start.checked_sub(1).map(|at| text[at]);
    let nie = |byte: u8| matches!(byte.to_ascii_uppercase(), b'X'..=b'Z');
    // `X1234567L`, `X-1234567-L`, `12345678Z`, `12.345.678-Z`
    let start = match before {
        Some(byte) if nie(byte) => group.start - 1,
        Some(b'-' | b' ') if group.start > 1 && nie(text[group.start - 2]) && group.len() == 7 => {
            group.start - 2
        }
        _ => group.start,
    };
    let foreign = start < group.start;
    let (found, end) = read(text, start, if foreign { "lddddddd" } else { "dddddddd" })?;
    let dots = text[start..end].iter().filter(|byte| !byte.is_ascii_alphanumeric()).count();
    if dots > 3 || text[start..end].contains(&b' ') && !foreign {
        return None;
    }
    let (letter, end) = match text.get(end)? {
        b'-' | b' ' => (text.get(end + 1)?, end + 2),
        letter => (letter, end + 1),
    };
    let number = match found[0] {
        b'X'..=b'Z' => u64::from(found[0] - b'X') * 10_000_000 + value(&found[1..]),
        _ => value(&found),
    };
    let letters = b"TRWAGMYFPDXBNJZSQVHLCKE";
    // Words of one letter follow numbers; ids are written in capitals then.
    let spaced = text[end - 2] == b' ';
    let same = if spaced { *letter } else { letter.to_ascii_uppercase() };
    (same == letters[usize::try_from(number % 23).ok()?]).then_some(start..end)
}

/// Codice fiscale: names, day of birth, municipality, check letter. Those in
/// which letters stand for digits, because two persons would have the same, are not found.
fn italy(text: &[u8], group: &Range<usize>) -> Option<Range<usize>> {
    let mut start = group.start;
    for _ in 0..6 {
        if start > 0 && text[start - 1] == b' ' {
            start -= 1;
        }
        start = start.checked_sub(1)?;
        if !text[start].is_ascii_alphabetic() {
            return None;
        }
    }
    let (found, end) = read(text, start, "llllllddlddldddl")?;
    let day = value(&found[9..11]);
    if !b"ABCDEHLMPRST".contains(&found[8]) || !matches!(day, 1..=31 | 41..=71) {
        return None;
    }
    let odd = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let sum: usize = found[..15]
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            let index = usize::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
            if place % 2 == 0 { odd[index] } else { index }
        })
        .sum();
    (usize::from(found[15] - b'A') == sum % 26).then_some(start..end)
}

/// National insurance number: no check digits, but prefixes that are never given.
fn united_kingdom(text: &[u8], group: &Range<usize>) -> Option<Range<usize>> {
    let blank = usize::from(group.start > 0 && text[group.start - 1] == b' ');
    let start = group.start.checked_sub(2 + blank)?;
    let (found, end) = read(text, start, "llddddddl")?;
    let (first, second) = (found[0], found[1]);
    let given = !b"DFIQUV".contains(&first)
        && !b"DFIQUVO".contains(&second)
        && ![b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"].contains(&&[first, second])
        && matches!(found[8], b'A'..=b'D');
    // In small letters and with blanks it may be anything: `at 12 34 56 a`.
    let capitals = !text[start..end].iter().any(u8::is_ascii_lowercase);
    let blanks = text[start..end].contains(&b' ');
    (given && (capitals || !blanks)).then_some(start..end)
}

/// Henkilötunnus: day of birth, century, serial, check character by mod 31.
fn finland(text: &[u8], group: &Range<usize>) -> Option<Range<usize>> {
    let end = group.start + 11;
    let found = text.get(group.start..end)?;
    let century = found[6].to_ascii_uppercase();
    if !matches!(century, b'+' | b'-' | b'A'..=b'F' | b'U'..=b'Y')
        || !found[7..10].iter().all(u8::is_ascii_digit)
        || !is_date(value(&found[2..4]), value(&found[..2]))
    {
        return None;
    }
    let number = value(&found[..6]) * 1000 + value(&found[7..10]);
    let check = b"0123456789ABCDEFHJKLMNPRSTUVWXY"[usize::try_from(number % 31).ok()?];
    (found[10].to_ascii_uppercase() == check).then_some(group.start..end)
}

/// Resident identity card with the check character X.
fn china(text: &[u8], group: &Range<usize>) -> Option<Range<usize>> {
    let digits: Vec<u8> = text[group.clone()].iter().map(|byte| byte - b'0').collect();
    let is_x = matches!(text.get(group.end), Some(b'X' | b'x'));
    (is_x && is_china(&digits, 10)).then(|| group.start..group.end + 1)
}

/// Whether 17 digits have this check value (X is 10).
pub(super) fn is_china(digits: &[u8], check: u32) -> bool {
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 =
        digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    let two = |at: usize| u64::from(digits[at]) * 10 + u64::from(digits[at + 1]);
    (12 - sum % 11) % 11 == check
        && digits[0] != 0
        && matches!(two(6), 18..=20)
        && is_date(two(10), two(12))
}

/// Numéro d'inscription au répertoire of those born in Corsica: 2A is counted as 19, 2B as 18.
fn corsica(text: &[u8], group: &Range<usize>) -> Option<Range<usize>> {
    let (counted, (mut found, end)) =
        [("A", b'9'), ("B", b'8')].iter().find_map(|(letter, counted)| {
            let kinds = ["dddddd", letter, "dddddddd"].concat();
            Some((*counted, read(text, group.start, &kinds)?))
        })?;
    if !matches!(found[0], b'1'..=b'4' | b'7' | b'8') || found[5] != b'2' {
        return None;
    }
    (found[5], found[6]) = (b'1', counted);
    (97 - value(&found[..13]) % 97 == value(&found[13..])).then_some(group.start..end)
}

/// Rodné číslo of those born since 1954: day of birth (women's months are 50 more), serial, check
/// digit: mod 11, and 0 for 10 (in numbers given until 1985).
fn czech(text: &[u8], group: &Range<usize>) -> Option<Range<usize>> {
    let end = group.start + 11;
    let found = text.get(group.start..end)?;
    if found[6] != b'/' || !found[7..].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let body = value(&found[..6]) * 1000 + value(&found[7..10]);
    let month = value(&found[2..4]) % 50;
    let month = if month > 20 { month - 20 } else { month };
    (body % 11 % 10 == u64::from(found[10] - b'0') && is_date(month, value(&found[4..6])))
        .then_some(group.start..end)
}
