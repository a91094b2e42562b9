//! Payment card numbers: ISO/IEC 7812, with the ranges that issuers have.

use super::run::{Number, Separator};

/// Issuers' ranges: the first digits (from, to; six of them), and how many digits there are.
/// Ranges that are reserved or closed are left out: a number of theirs is more likely no card.
const RANGES: &[(u64, u64, &[usize])] = &[
    (220_000, 220_499, &[16, 17, 18, 19]),     // Mir
    (222_100, 272_099, &[16]),                 // Mastercard
    (300_000, 305_999, &[14, 16]),             // Diners Club
    (309_500, 309_599, &[14, 16]),             // Diners Club
    (340_000, 349_999, &[15]),                 // American Express
    (352_800, 358_999, &[16, 17, 18, 19]),     // JCB
    (360_000, 369_999, &[14, 16]),             // Diners Club
    (370_000, 379_999, &[15]),                 // American Express
    (380_000, 399_999, &[14, 16]),             // Diners Club
    (400_000, 499_999, &[13, 16, 19]),         // Visa
    (501_900, 501_999, &[16]),                 // Dankort
    (501_800, 501_899, &[13, 15, 16, 18, 19]), // Maestro
    (502_000, 502_099, &[13, 15, 16, 18, 19]), // Maestro
    (503_800, 503_899, &[13, 15, 16, 18, 19]), // Maestro
    (504_175, 504_175, &[16]),                 // Elo
    (506_099, 506_198, &[16, 18, 19]),         // Verve
    (506_699, 506_778, &[16]),                 // Elo
    (508_000, 508_999, &[16]),                 // RuPay
    (509_000, 509_999, &[16]),                 // Elo
    (510_000, 559_999, &[16]),                 // Mastercard
    (560_000, 589_999, &[16, 18, 19]),         // Maestro
    (600_000, 609_999, &[16]),                 // Discover (6011), RuPay, Hipercard
    (620_000, 629_999, &[16, 17, 18, 19]),     // UnionPay
    (630_400, 639_999, &[16, 18, 19]),         // Maestro, Elo
    (644_000, 659_999, &[16, 17, 18, 19]),     // Discover, RuPay, Troy, Verve
    (670_000, 679_999, &[16, 18, 19]),         // Maestro
    (810_000, 829_999, &[16, 17, 18, 19]),     // UnionPay, RuPay
    (979_200, 979_299, &[16]),                 // Troy
];

/// Whether it is a card's number, by its digits and by the way it is written.
pub(super) fn is_card(number: &Number) -> bool {
    let digits = number.digits();
    (13..=19).contains(&digits.len()) && is_issued(number) && luhn(digits) && is_written_so(number)
}

fn is_issued(number: &Number) -> bool {
    let first = number.value(0..6);
    let length = number.digits().len();
    RANGES
        .iter()
        .any(|(from, to, lengths)| (*from..=*to).contains(&first) && lengths.contains(&length))
}

/// ISO/IEC 7812-1, annex B.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Numbers of cards are written in one piece, in the groups that are embossed on them, or in
/// groups of any kind if nothing else is around. One line break may be in them.
fn is_written_so(number: &Number) -> bool {
    // No telephone number has more than 15 digits.
    if number.lines > 1 || number.plus && number.digits().len() < 16 {
        return false;
    }
    if number.shape().len() == 1 {
        // Digits behind a decimal point are no card.
        return number.before != Some(Separator::Dot);
    }
    let separate = |joint: Option<Separator>| {
        !matches!(joint, Some(Separator::Dash | Separator::Dot)) || joint != number.separator
    };
    if is_embossed(number.shape()) {
        return separate(number.before) && separate(number.behind);
    }
    // A visa of 13 digits in odd groups is a telephone number.
    !number.plus && number.digits().len() > 13 && number.even && number.stands_alone()
}

fn is_embossed(shape: &[u8]) -> bool {
    match shape {
        [4, 6, 4 | 5] | [4, 3, 3, 3] | [8, 8] | [4, 12] | [6, 13] => true,
        [fours @ .., last] => fours.len() >= 3 && fours.iter().all(|n| *n == 4) && *last <= 4,
        [] => false,
    }
}
