//! Generated contacts: from those with a name only to those with every field there is.

use serde_json::{Value, json};

use crate::compose::object;
use crate::contacts;
use crate::seed::outlook::{CATEGORIES, Source, photo};
use crate::seed::words;
use crate::shelf::{Kind, Number, Shelf};

/// Streams of numbers.
const SORT: u64 = 70;

/// The contact folders and contacts of a mailbox; the first folder is the default one.
pub(crate) fn fill(shelf: &Shelf, source: &Source) {
    let name = ["Kontakte", "Contacts", "連絡先"][source.language % 3];
    let default = folder(shelf, source, None, name);
    if !source.lived_in {
        return;
    }
    let suppliers = folder(shelf, source, Some(default), "Lieferanten & Kunden");
    let inner = folder(shelf, source, Some(suppliers), "Übersee/アジア");
    folder(shelf, source, Some(default), "Leer");
    for number in 0..source.contacts {
        let at = match number % 10 {
            6 | 7 => suppliers,
            8 => inner,
            _ => default,
        };
        let contact = contacts::created(object(contact(source, number)))
            .expect("generated contacts are accepted");
        let name = contact["displayName"].as_str().unwrap_or_default().to_owned();
        let when = source.made(SORT, number);
        let id = shelf.put(Kind::Contact, Some(at), contact, when);
        if number.is_multiple_of(3) {
            shelf.change(id.into(), when, |thing| thing.photo = Some(photo(&name)));
        }
    }
}

fn folder(shelf: &Shelf, source: &Source, parent: Option<Number>, name: &str) -> Number {
    let folder = object(json!({"displayName": name}));
    shelf.put(Kind::ContactFolder, parent, folder, source.made(SORT, 0))
}

fn contact(source: &Source, number: u64) -> Value {
    let mut dice = source.dice(SORT + 1, number);
    let (given, surname) = (dice.pick(words::GIVEN), dice.pick(words::SURNAMES));
    let local = format!("{}.{}{number}", words::ascii(given), words::ascii(surname));
    let mail = json!({"name": format!("{given} {surname}"), "address": format!("{local}@fabrikam.example")});
    let phone = |dice: &mut crate::dice::Dice| format!("+49 89 555{:04}", dice.below(10_000));
    match number % 5 {
        // Everything.
        0 => json!({
            "givenName": given, "middleName": "Maria", "surname": surname, "title": "Dr.",
            "generation": "jun.", "initials": "M.", "nickName": "Mimi", "fileAs": format!("{surname}, {given} (Fabrikam)"),
            "yomiGivenName": "アンナ", "yomiSurname": "シュミット", "yomiCompanyName": "ファブリカム",
            "companyName": "Fabrikam; Söhne, GmbH", "department": dice.pick(words::JOBS), "jobTitle": "Leiterin\\Einkauf",
            "officeLocation": "3/214", "profession": "Ingenieurin", "assistantName": "Ben Müller", "manager": "Clara Weber",
            "spouseName": "Jonas", "children": ["Mila", "Noah, jun."], "birthday": "1974-02-28T11:59:00Z",
            "personalNotes": "Zeile eins\r\nZeile zwei: Grüße; 会議 🚀",
            "businessHomePage": "https://fabrikam.example/?a=1&b=2",
            "emailAddresses": [mail, {"name": "privat", "address": format!("{local}@example.org")}, {"name": "", "address": format!("{local}@third.example")}],
            "imAddresses": [format!("sip:{local}@fabrikam.example")],
            "businessPhones": [phone(&mut dice), phone(&mut dice)], "homePhones": [phone(&mut dice)], "mobilePhone": phone(&mut dice),
            "businessAddress": {"street": "Marienplatz 1\r\nHinterhaus", "city": "München", "state": "Bayern", "postalCode": "80331", "countryOrRegion": "Deutschland"},
            "homeAddress": {"street": "Rue de l’Été 5", "city": "Genève", "countryOrRegion": "Suisse"},
            "otherAddress": {"city": "東京", "countryOrRegion": "日本"},
            "categories": [CATEGORIES[0].0, CATEGORIES[2].0],
            "singleValueExtendedProperties": [
                {"id": "String 0x3a24", "value": "+49 89 5550001"},
                {"id": "SystemTime 0x3a41", "value": "1999-09-09T00:00:00Z"},
            ],
        }),
        1 => {
            json!({"givenName": given, "surname": surname, "emailAddresses": [mail], "mobilePhone": phone(&mut dice)})
        }
        2 => {
            json!({"companyName": format!("{surname} & Co."), "displayName": format!("{surname} & Co."), "businessPhones": [phone(&mut dice)]})
        }
        3 => {
            json!({"displayName": "山田太郎 👩\u{200d}💻", "givenName": "太郎", "surname": "山田", "birthday": "2000-02-29T00:00:00Z", "emailAddresses": [mail]})
        }
        // A name only.
        _ => json!({"displayName": format!("{given}\"; {surname}")}),
    }
}
