//! International bank account numbers: ISO 13616.

use std::ops::Range;

/// Countries and the lengths of their numbers: the registry's, and those in partial use.
#[rustfmt::skip]
const LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24), (b"AE", 23), (b"AL", 28), (b"AO", 25), (b"AT", 20), (b"AZ", 28), (b"BA", 20),
    (b"BE", 16), (b"BF", 28), (b"BG", 22), (b"BH", 22), (b"BI", 27), (b"BJ", 28), (b"BR", 29),
    (b"BY", 28), (b"CF", 27), (b"CG", 27), (b"CH", 21), (b"CI", 28), (b"CM", 27), (b"CR", 22),
    (b"CV", 25), (b"CY", 28), (b"CZ", 24), (b"DE", 22), (b"DJ", 27), (b"DK", 18), (b"DO", 28),
    (b"DZ", 26), (b"EE", 20), (b"EG", 29), (b"ES", 24), (b"FI", 18), (b"FK", 18), (b"FO", 18),
    (b"FR", 27), (b"GA", 27), (b"GB", 22), (b"GE", 22), (b"GI", 23), (b"GL", 18), (b"GQ", 27),
    (b"GR", 27), (b"GT", 28), (b"GW", 25), (b"HN", 28), (b"HR", 21), (b"HU", 28), (b"IE", 22),
    (b"IL", 23), (b"IQ", 23), (b"IR", 26), (b"IS", 26), (b"IT", 27), (b"JO", 30), (b"KM", 27),
    (b"KW", 30), (b"KZ", 20), (b"LB", 28), (b"LC", 32), (b"LI", 21), (b"LT", 20), (b"LU", 20),
    (b"LV", 21), (b"LY", 25), (b"MA", 28), (b"MC", 27), (b"MD", 24), (b"ME", 22), (b"MG", 27),
    (b"MK", 19), (b"ML", 28), (b"MN", 20), (b"MR", 27), (b"MT", 31), (b"MU", 30), (b"MZ", 25),
    (b"NE", 28), (b"NI", 28), (b"NL", 18), (b"NO", 15), (b"OM", 23), (b"PK", 24), (b"PL", 28),
    (b"PS", 29), (b"PT", 25), (b"QA", 29), (b"RO", 24), (b"RS", 22), (b"RU", 33), (b"SA", 24),
    (b"SC", 31), (b"SD", 18), (b"SE", 24), (b"SI", 19), (b"SK", 24), (b"SM", 27), (b"SN", 28),
    (b"SO", 23), (b"ST", 25), (b"SV", 28), (b"TD", 27), (b"TG", 28), (b"TL", 23), (b"TN", 24),
    (b"TR", 26), (b"UA", 29), (b"VA", 22), (b"VG", 24), (b"XK", 20), (b"YE", 30),
];

/// Every number has some: words that happen to fit have not.
const FEWEST_DIGITS: usize = 8;

/// The number whose check digits are the first two of this group.
pub(super) fn around(text: &[u8], group: &Range<usize>) -> Option<Range<usize>> {
    let start = country(text, group.start)?;
    let name = [text[start].to_ascii_uppercase(), text[start + 1].to_ascii_uppercase()];
    let length = LENGTHS.iter().find(|(country, _)| **country == name)?.1;
    let mut compact = Vec::with_capacity(length);
    let mut groups: Vec<usize> = Vec::new();
    let mut end = start;
    let mut at = start;
    let mut lines = 0;
    while compact.len() < length {
        let byte = *text.get(at)?;
        if byte.is_ascii_alphanumeric() {
            match groups.last_mut() {
                Some(last) if at == end => *last += 1,
                _ => groups.push(1),
            }
            compact.push(byte);
            at += 1;
            end = at;
            continue;
        }
        match byte {
            b' ' | b'-' | b'.' | b'\r' => {}
            b'\n' | b'\t' => lines += 1,
            _ => return None,
        }
        at += 1;
        if lines > 1 || (lines == 0 && at - end > 3) || at - end > 16 {
            return None;
        }
    }
    // What follows right behind belongs to a longer word.
    if text.get(end).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    (is_written_so(&compact, &groups) && is_valid(&compact)).then_some(start..end)
}

/// Where the two letters of a country stand before check digits, at the beginning of a word or
/// behind the word IBAN.
fn country(text: &[u8], digits: usize) -> Option<usize> {
    let mut end = digits;
    if end > 0 && text[end - 1] == b' ' {
        end -= 1;
    }
    let start = end.checked_sub(2)?;
    if !text[start..end].iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    let before = &text[start.saturating_sub(4)..start];
    let begins = before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric());
    (begins || before.eq_ignore_ascii_case(b"IBAN")).then_some(start)
}

/// In one piece, in groups of four, in any groups of digits, or in any groups of capitals.
fn is_written_so(compact: &[u8], groups: &[usize]) -> bool {
    let letters = || compact[4..].iter().filter(|byte| byte.is_ascii_alphabetic());
    let fours = groups
        .split_last()
        .is_some_and(|(last, rest)| *last <= 4 && rest.iter().all(|length| *length == 4));
    groups.len() == 1
        || fours
        || letters().next().is_none()
        || letters().all(u8::is_ascii_uppercase)
}

/// ISO 7064, mod 97-10, of the number with its first four characters moved to the end.
fn is_valid(compact: &[u8]) -> bool {
    if !compact[2..4].iter().all(u8::is_ascii_digit)
        || compact.iter().filter(|byte| byte.is_ascii_digit()).count() < FEWEST_DIGITS
    {
        return false;
    }
    let rest = compact[4..].iter().chain(&compact[..4]).try_fold(0, |rest: u32, byte| {
        let value = char::from(*byte).to_digit(36)?;
        Some((rest * if value < 10 { 10 } else { 100 } + value) % 97)
    });
    rest == Some(1)
}
