//! Ids that are digits alone.

use super::super::card::luhn;
use super::super::run::{Number, Separator};
use super::{Country, Sure, is_date};

/// Whether a number is an id of a country.
pub(super) fn sure(country: Country, number: &Number) -> Sure {
    let length = number.digits().len();
    match (country, length) {
        (Country::At, 10) => austria(number),
        (Country::Be, 11) => belgium(number),
        (Country::Br, 11) => brazil(number),
        (Country::Ca, 9) => canada(number),
        (Country::Ch, 13) => switzerland(number),
        (Country::Cn, 18) => china(number),
        (Country::De, 11) => germany(number),
        (Country::Dk, 10) => denmark(number),
        (Country::Ee | Country::Lt, 11) => baltic(number),
        (Country::Fr, 15) => france(number),
        (Country::In, 12) => india(number),
        (Country::Kr, 13) => korea(number),
        (Country::Nl, 9) => netherlands(number),
        (Country::No, 11) => norway(number),
        (Country::Pl, 11) => poland(number),
        (Country::Ro, 13) => romania(number),
        (Country::Se, 10 | 12) => sweden(number),
        (Country::Tr, 11) => turkey(number),
        (Country::Us, 9) => united_states(number),
        (Country::Za, 13) => south_africa(number),
        _ => Sure::No,
    }
}

/// Sure if it bears out and stands alone in one of the forms.
fn sure_if(valid: bool, number: &Number, shapes: &[&[u8]]) -> Sure {
    if valid && number.stands_alone() && shapes.contains(&number.shape()) {
        Sure::Yes
    } else {
        Sure::No
    }
}

/// Likewise, but only if a word says what it is.
fn said_if(valid: bool, number: &Number) -> Sure {
    if valid && number.stands_alone() { Sure::IfSaid } else { Sure::No }
}

/// The digits, each times its weight, summed up.
fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

fn last(number: &Number) -> u32 {
    number.digits().last().map_or(0, |digit| u32::from(*digit))
}

fn date(number: &Number, month: usize, day: usize) -> bool {
    is_date(number.value(month..month + 2), number.value(day..day + 2))
}

/// Sozialversicherungsnummer: serial, check digit, day of birth.
fn austria(number: &Number) -> Sure {
    let digits = number.digits();
    let check = weighted(digits, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11;
    let valid = digits[0] != 0 && check == u32::from(digits[3]) && date(number, 6, 4);
    sure_if(valid, number, &[&[4, 6], &[4, 2, 2, 2]]).max(said_if(valid, number))
}

/// Rijksregisternummer, numéro de registre national: mod 97, with a 2 before it from 2000 on.
fn belgium(number: &Number) -> Sure {
    let (body, check) = (number.value(0..9), number.value(9..11));
    let bears = 97 - body % 97 == check || 97 - (2_000_000_000 + body) % 97 == check;
    // Bis numbers add 20 or 40 to the month.
    let month = number.value(2..4) % 20;
    let valid = bears && is_date(month, number.value(4..6));
    sure_if(valid, number, &[&[11], &[2, 2, 2, 3, 2], &[6, 3, 2], &[9, 2], &[6, 5]])
}

/// Cadastro de pessoas físicas: two check digits.
fn brazil(number: &Number) -> Sure {
    let digits = number.digits();
    let check = |count: usize| {
        let weights = digits[..count].iter().rev().zip(2..);
        let sum: u32 = weights.map(|(digit, weight)| u32::from(*digit) * weight).sum();
        sum * 10 % 11 % 10 == u32::from(digits[count])
    };
    let valid = check(9) && check(10) && digits.iter().any(|digit| *digit != digits[0]);
    sure_if(valid, number, &[&[3, 3, 3, 2], &[9, 2]]).max(said_if(valid, number))
}

/// Social insurance number: Luhn.
fn canada(number: &Number) -> Sure {
    said_if(luhn(number.digits()) && number.digits()[0] != 0, number)
}

/// AHV-Nummer, numéro AVS: EAN-13 with Switzerland's prefix.
fn switzerland(number: &Number) -> Sure {
    let digits = number.digits();
    let sum = weighted(digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]);
    let valid = number.value(0..3) == 756 && sum.is_multiple_of(10);
    sure_if(valid, number, &[&[13], &[3, 4, 4, 2]])
}

/// Resident identity card: GB 11643, ISO 7064 mod 11-2; with the check character X it is among the
/// lettered ones.
fn china(number: &Number) -> Sure {
    let valid = super::lettered::is_china(&number.digits()[..17], last(number));
    sure_if(valid, number, &[&[18], &[6, 8, 4], &[17, 1]])
}

/// Steuerliche Identifikationsnummer: ISO 7064 mod 11,10, and one digit of the first ten twice or
/// three times.
fn germany(number: &Number) -> Sure {
    let digits = number.digits();
    let mut counts = [0_u8; 10];
    for digit in &digits[..10] {
        counts[usize::from(*digit)] += 1;
    }
    let repeated: Vec<u8> = counts.into_iter().filter(|count| *count > 1).collect();
    let product = digits[..10].iter().fold(10, |product, digit| {
        let sum = (u32::from(*digit) + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    let valid =
        digits[0] != 0 && matches!(repeated[..], [2 | 3]) && (11 - product) % 10 == last(number);
    sure_if(valid, number, &[&[11], &[2, 3, 3, 3]])
}

/// CPR-nummer: day of birth and serial; the check digit is no longer kept to.
fn denmark(number: &Number) -> Sure {
    let valid = date(number, 2, 0);
    let dashed = number.separator == Some(Separator::Dash);
    sure_if(valid && dashed, number, &[&[6, 4]]).max(said_if(valid, number))
}

/// Isikukood, asmens kodas: century, day of birth, serial, two-stage mod 11.
fn baltic(number: &Number) -> Sure {
    let digits = number.digits();
    let check = match weighted(digits, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11 {
        10 => weighted(digits, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10,
        check => check,
    };
    let valid = (1..=6).contains(&digits[0]) && date(number, 3, 5) && check == last(number);
    sure_if(valid, number, &[&[11]])
}

/// Numéro d'inscription au répertoire: sex, year, month, department, municipality, serial, key.
/// Those of Corsica are among the lettered ones.
fn france(number: &Number) -> Sure {
    let month = number.value(3..5);
    let known = matches!(month, 1..=12 | 20 | 30..=42 | 50..=99);
    let valid = matches!(number.digits()[0], 1..=4 | 7 | 8)
        && known
        && number.value(5..7) > 0
        && 97 - number.value(0..13) % 97 == number.value(13..15);
    if valid && number.even { Sure::Yes } else { Sure::No }
}

/// Aadhaar: Verhoeff.
fn india(number: &Number) -> Sure {
    let valid = number.digits()[0] >= 2 && verhoeff(number.digits());
    sure_if(valid, number, &[&[4, 4, 4]]).max(said_if(valid, number))
}

/// Verhoeff's check: permutations in the dihedral group of ten elements.
fn verhoeff(digits: &[u8]) -> bool {
    const SWAP: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let multiply = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let check = digits.iter().rev().enumerate().fold(0, |check, (place, digit)| {
        let permuted = (0..place % 8).fold(*digit, |digit, _| SWAP[usize::from(digit)]);
        multiply(check, permuted)
    });
    check == 0
}

/// Resident registration number: day of birth, sex and century, serial. Those given since October
/// 2020 have no check digit.
fn korea(number: &Number) -> Sure {
    let digits = number.digits();
    let sum = weighted(digits, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    let valid = date(number, 2, 4) && (1..=8).contains(&digits[6]);
    let checked = valid && (11 - sum % 11) % 10 == last(number);
    sure_if(checked, number, &[&[6, 7]]).max(said_if(valid, number))
}

/// Burgerservicenummer: the eleven test.
fn netherlands(number: &Number) -> Sure {
    let sum = weighted(number.digits(), &[9, 8, 7, 6, 5, 4, 3, 2]);
    said_if(sum > 0 && sum % 11 == last(number), number)
}

/// Fødselsnummer: day of birth, serial, two check digits.
fn norway(number: &Number) -> Sure {
    let digits = number.digits();
    let first = weighted(digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]) % 11;
    let second = weighted(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]) % 11;
    // D numbers add 40 to the day, H numbers and synthetic ones 40 or 80 to the month.
    let valid =
        first == 0 && second == 0 && is_date(number.value(2..4) % 40, number.value(0..2) % 40);
    sure_if(valid, number, &[&[11], &[6, 5]])
}

/// PESEL: day of birth with the century in the month, serial, check digit. Those born in the 20th
/// and 21st century.
fn poland(number: &Number) -> Sure {
    let sum = weighted(number.digits(), &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    let month = number.value(2..4);
    let born = matches!(month, 1..=12 | 21..=32) && is_date(month % 20, number.value(4..6));
    sure_if(born && sum.is_multiple_of(10), number, &[&[11]])
}

/// Cod numeric personal: sex and century, day of birth, county, serial, check digit.
fn romania(number: &Number) -> Sure {
    let digits = number.digits();
    let check = match weighted(digits, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11 {
        10 => 1,
        check => check,
    };
    let valid = (1..=9).contains(&digits[0])
        && date(number, 3, 5)
        && (1..=52).contains(&number.value(7..9))
        && check == last(number);
    sure_if(valid, number, &[&[13]])
}

/// Personnummer: day of birth, serial, Luhn of the ten digits without the century.
fn sweden(number: &Number) -> Sure {
    let digits = number.digits();
    let century = digits.len() - 10;
    // Coordination numbers add 60 to the day.
    let day = number.value(century + 4..century + 6);
    let valid = luhn(&digits[century..])
        && is_date(number.value(century + 2..century + 4), if day > 60 { day - 60 } else { day })
        && (century == 0 || matches!(number.value(0..2), 18..=20));
    let dashed = number.separator == Some(Separator::Dash);
    let form = sure_if(valid && dashed, number, &[&[6, 4], &[8, 4]]);
    form.max(sure_if(valid, number, &[&[12]])).max(said_if(valid, number))
}

/// Kimlik numarası: two check digits.
fn turkey(number: &Number) -> Sure {
    let digits = number.digits();
    let odd = weighted(digits, &[1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let even = weighted(digits, &[0, 1, 0, 1, 0, 1, 0, 1]);
    let tenth = (odd * 7 + 100 - even) % 10;
    let eleventh = weighted(digits, &[1; 10]) % 10;
    let valid = digits[0] != 0 && tenth == u32::from(digits[9]) && eleventh == last(number);
    said_if(valid, number)
}

/// Social security number: no check digits, but numbers that are never given.
fn united_states(number: &Number) -> Sure {
    let area = number.value(0..3);
    let given = area != 0
        && area != 666
        && area < 900
        && number.value(3..5) != 0
        && number.value(5..9) != 0;
    // Printed on specimen cards.
    let specimen = matches!(number.value(0..9), 78_051_120 | 219_099_999);
    let valid = given && !specimen;
    let dashed = number.separator == Some(Separator::Dash) && number.lines == 0;
    sure_if(valid && dashed, number, &[&[3, 2, 4]]).max(said_if(valid, number))
}

/// Identity number: day of birth, serial, citizenship, Luhn.
fn south_africa(number: &Number) -> Sure {
    let digits = number.digits();
    let valid = date(number, 2, 4) && digits[10] <= 2 && luhn(digits);
    sure_if(valid, number, &[&[13], &[6, 4, 3], &[6, 4, 2, 1]])
}
