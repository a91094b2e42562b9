//! Contacts to vCards and back: every property, any text, other programs, cards of the field.

#![recursion_limit = "256"]

mod programs;
mod published;

use convert::contact::{LOSSY, Version, read, write};
use proptest::prelude::*;
use published::{Schema, shared};
use serde_json::{Map, Value, json};

const VERSIONS: [Version; 2] = [Version::V3, Version::V4];

fn card(contact: &Value, photo: Option<&[u8]>, version: Version) -> String {
    let mut out = Vec::new();
    let mut photo = photo;
    let photo = photo.as_mut().map(|photo| photo as &mut dyn std::io::Read);
    write(contact, photo, version, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What the card of a contact becomes again, without what the service sets.
fn back(contact: &Value, version: Version) -> Value {
    let mut contacts = read(card(contact, None, version).as_bytes()).unwrap();
    assert_eq!(contacts.len(), 1);
    let contact = contacts.remove(0);
    assert_eq!(contact.losses, [], "{}", contact.body);
    contact.body
}

/// One that has everything.
fn alice() -> Value {
    json!({
        "id": "AAMkAGI2THk0AAA=", "changeKey": "EQAAABYAAACd", "parentFolderId": "AAMkAGI2AAEOAAA=",
        "createdDateTime": "2014-10-19T23:08:24Z", "lastModifiedDateTime": "2026-11-20T23:08:24.5Z",
        "displayName": "Alice Żółć-Müller", "fileAs": "Müller, \"Alice\"", "givenName": "Alice",
        "middleName": "B;C", "surname": "Müller, geb. Meier", "initials": "A.B.M.", "title": "Dr.",
        "generation": "Jr.", "nickName": "Ali, the first", "yomiGivenName": "アリス",
        "yomiSurname": "ミュラー", "yomiCompanyName": "コントソ", "companyName": "Contoso; Inc.",
        "department": "Sales & Marketing", "jobTitle": "Web\\Manager", "officeLocation": "20/1101",
        "profession": "Engineer", "assistantName": "Bob", "manager": "Carol", "spouseName": "Dan",
        "children": ["Eve", "Frank"], "birthday": "1974-07-22T11:59:00Z",
        "personalNotes": "first line\r\nsecond, line; with all \\ of it\n\n  indented",
        "businessHomePage": "https://www.contoso.com/a;b,c?d=e\\f",
        "emailAddresses": [{"name": "Alice M.", "address": "alice@contoso.com"},
            {"address": "a@example.org"}, {"name": "X.500", "address": "/o=ExchangeLabs/cn=a"}],
        "imAddresses": ["sip:alice@contoso.com", "alice on the old one"],
        "businessPhones": ["+1 918 555 0101", "0102;ext=3"], "homePhones": ["0103"],
        "mobilePhone": "0104", "categories": ["Red category", "a,b"],
        "businessAddress": {"street": "10 Contoso Way\r\nHouse 2", "city": "Redmond",
            "state": "WA", "countryOrRegion": "USA", "postalCode": "98075"},
        "homeAddress": {"city": "Köln"}, "otherAddress": {"street": "Somewhere; else"},
        "singleValueExtendedProperties": [{"id": "String 0x3a24", "value": "0105"},
            {"id": "SystemTime 0x3A41", "value": "2009-06-03T00:00:00Z"},
            {"id": "String 0x3A50", "value": "https://alice.example"}],
    })
}

#[test]
fn a_card_of_version_3_is_as_rfc_2426_says() {
    let expected = "\
BEGIN:VCARD
VERSION:3.0
PRODID:-//tar365//tar365//EN
UID:85bfa8a9-b686-8ec2-8c83-0bc8d7fde56e
REV:2026-11-20T23:08:24Z
FN:Alice Żółć-Müller
N:Müller\\, geb. Meier;Alice;B\\;C;Dr.;Jr.
NICKNAME:Ali\\, the first
ORG:Contoso\\; Inc.;Sales & Marketing;20/1101
SORT-STRING:Müller\\, \"Alice\"
X-TAR365-INITIALS:A.B.M.
X-PHONETIC-FIRST-NAME:アリス
X-PHONETIC-LAST-NAME:ミュラー
X-PHONETIC-ORG:コントソ
TITLE:Web\\\\Manager
ROLE:Engineer
X-MS-MANAGER:Carol
X-MS-ASSISTANT:Bob
X-MS-SPOUSE:Dan
NOTE:first line\\nsecond\\, line\\; with all \\\\ of it\\n\\n  indented
X-MS-CHILD:Eve
X-MS-CHILD:Frank
TEL;TYPE=WORK:+1 918 555 0101
TEL;TYPE=WORK:0102\\;ext=3
TEL;TYPE=HOME:0103
TEL;TYPE=CELL:0104
TEL;TYPE=WORK,FAX:0105
item1.EMAIL;TYPE=INTERNET,PREF:alice@contoso.com
item1.X-ABLabel:Alice M.
EMAIL;TYPE=INTERNET:a@example.org
item3.EMAIL;TYPE=INTERNET:/o=ExchangeLabs/cn=a
item3.X-ABLabel:X.500
IMPP:sip:alice@contoso.com
X-MS-IMADDRESS:alice on the old one
URL;TYPE=WORK:https://www.contoso.com/a;b,c?d=e\\\\f
URL;TYPE=HOME:https://alice.example
ADR;TYPE=WORK:;;10 Contoso Way\\nHouse 2;Redmond;WA;98075;USA
ADR;TYPE=HOME:;;;Köln;;;
ADR;TYPE=POSTAL:;;Somewhere\\; else;;;;
BDAY:1974-07-22
X-ANNIVERSARY:2009-06-03
CATEGORIES:Red category,a\\,b
END:VCARD
";
    let unfolded = card(&alice(), None, Version::V3).replace("\r\n ", "");
    assert_eq!(unfolded, expected.replace('\n', "\r\n"));
}

#[test]
fn a_card_of_version_4_differs_where_rfc_6350_does() {
    let v3 = card(&alice(), Some(b"\xff\xd8\xff"), Version::V3).replace("\r\n ", "");
    let v4 = card(&alice(), Some(b"\xff\xd8\xff"), Version::V4).replace("\r\n ", "");
    let only = |a: &str, b: &str| -> Vec<String> {
        a.lines().filter(|line| b.lines().all(|other| other != *line)).map(str::to_owned).collect()
    };
    let uid = v3.lines().find_map(|line| line.strip_prefix("UID:")).unwrap();
    assert_eq!(
        only(&v4, &v3),
        [
            "VERSION:4.0",
            &format!("UID:urn:uuid:{uid}"),
            "REV:20261120T230824Z",
            "X-EVOLUTION-FILE-AS:Müller\\, \"Alice\"",
            "RELATED;TYPE=spouse;VALUE=text:Dan",
            "RELATED;TYPE=child;VALUE=text:Eve",
            "RELATED;TYPE=child;VALUE=text:Frank",
            "item1.EMAIL;PREF=1:alice@contoso.com",
            "EMAIL:a@example.org",
            "item3.EMAIL:/o=ExchangeLabs/cn=a",
            "ADR:;;Somewhere\\; else;;;;",
            "BDAY:19740722",
            "ANNIVERSARY:20090603",
            "PHOTO:data:image/jpeg;base64,/9j/",
        ]
    );
    assert_eq!(only(&v3, &v4).len(), 14);
}

#[test]
fn every_published_property_comes_back_or_is_declared() {
    let Some(schema) = Schema::read() else { return };
    let lossy = |name: &str| LOSSY.iter().any(|(lossy, _)| *lossy == name);
    let properties = schema.properties("graph.contact");
    assert!(properties.len() > 40, "{properties:?}");
    for (name, of) in &properties {
        // The photo is content: `photos_come_back`.
        if lossy(name) || name == "photo" {
            continue;
        }
        let sample = schema.sample(of, "");
        let contact = json!({"id": "1", "displayName": "d", name.as_str(): sample});
        for version in VERSIONS {
            assert_eq!(back(&contact, version)[name], sample, "{name} {version:?}");
        }
    }
    for (name, _) in LOSSY {
        assert!(properties.iter().any(|(is, _)| is == name), "{name} is no property");
    }
}

#[test]
fn the_list_of_losses_is_documented() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../doc/contacts.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (name, _) in LOSSY {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in doc/contacts.md");
    }
}

#[test]
fn photos_come_back() {
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let photos: [&[u8]; 5] =
        [b"\xff\xd8\xff\xe0JFIF", b"\x89PNG\r\n\x1a\n", b"GIF89a!", b"<svg>all ASCII</svg>", &all];
    for photo in photos {
        for version in VERSIONS {
            let text = card(&alice(), Some(photo), version);
            assert!(text.split("\r\n").all(|line| line.len() <= 75));
            let contact = read(text.as_bytes()).unwrap().remove(0);
            assert_eq!(contact.photo.as_deref(), Some(photo), "{version:?}");
            assert_eq!(contact.losses, []);
        }
    }
}

#[test]
fn what_a_card_does_not_hold_is_named() {
    let contact = json!({
        "id": "1", "displayName": "bell\u{7}", "categories": ["a  b"], "flag": {"flagStatus": "flagged"},
        "weddingGift": "toaster", "@odata.etag": "W/1", "emailAddresses@odata.context": "x",
        "extensions": [{"id": "e"}], "multiValueExtendedProperties": [],
        "singleValueExtendedProperties": [{"id": "String 0x3A43", "value": "chess"}],
    });
    let losses = write(&contact, None, Version::V3, &mut Vec::new()).unwrap();
    let named: Vec<_> = losses.iter().map(|loss| loss.property.as_str()).collect();
    assert_eq!(
        named,
        ["String 0x3A43", "categories", "displayName", "extensions", "flag", "weddingGift"]
    );
}

#[test]
fn json_that_is_not_as_documented_is_refused() {
    for contact in [
        json!([]),
        json!({"displayName": "no id"}),
        json!({"id": "1", "displayName": 5}),
        json!({"id": "1", "businessPhones": "5"}),
        json!({"id": "1", "businessPhones": [5]}),
        json!({"id": "1", "homeAddress": []}),
        json!({"id": "1", "birthday": "someday"}),
    ] {
        assert!(write(&contact, None, Version::V3, &mut Vec::new()).is_err(), "{contact}");
    }
}

#[test]
fn nothing_is_not_written() {
    let empty = json!({
        "id": "1", "displayName": "", "nickName": null, "birthday": "0001-01-01T00:00:00Z",
        "emailAddresses": [{}], "businessPhones": [""], "homeAddress": {}, "categories": [" "],
    });
    let card = card(&empty, None, Version::V3);
    let names: Vec<_> = card.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(names, ["BEGIN", "VERSION", "PRODID", "UID", "FN", "N", "END"]);
    assert!(card.contains("FN:unnamed\r\n"), "{card}");
}

#[test]
fn newer_addresses_stand_after_the_older_ones() {
    let contact = json!({
        "id": "1", "displayName": "d", "emailAddresses": [{"address": "a@x"}],
        "primaryEmailAddress": {"address": "a@x"}, "secondaryEmailAddress": {"address": "b@x"},
    });
    let expected = json!([{"address": "a@x"}, {"address": "b@x"}]);
    assert_eq!(back(&contact, Version::V3)["emailAddresses"], expected);
}

#[test]
fn cards_of_other_programs_are_understood() {
    let card = "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=windows-1252;ENCODING=QUOTED-PRINTABLE:\
        M=FCller;Ren=E9\r\nFN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Ren=C3=A9=\r\n M=C3=BCller\r\n\
        TEL;WORK;FAX:1\r\nTEL;CELL:2\r\nTEL:3\r\nX-AIM:rene\r\nBDAY:--0722\r\n\
        item1.X-ABRELATEDNAMES:Eve\r\nitem1.X-ABLabel:_$!<Child>!$_\r\n\
        EMAIL;INTERNET:b@x\r\nEMAIL;PREF;INTERNET:a@x\r\nEMAIL:c@x\r\nEMAIL:d@x\r\n\
        ADR;HOME:box;;street;town\r\nPHOTO;VALUE=uri:http://example.com/p.jpg\r\nGEO:1;2\r\n\
        END:VCARD\r\n";
    let mut contacts = read(card.as_bytes()).unwrap();
    let contact = contacts.remove(0);
    assert_eq!(
        contact.body,
        json!({
            "surname": "Müller", "givenName": "René", "displayName": "René Müller",
            "mobilePhone": "2", "imAddresses": ["aim:rene"], "birthday": "1604-07-22T11:59:00Z",
            "children": ["Eve"], "homeAddress": {"street": "box\nstreet", "city": "town"},
            "emailAddresses": [{"address": "a@x"}, {"address": "b@x"}, {"address": "c@x"}],
            "singleValueExtendedProperties": [
                {"id": "String 0x3A1F", "value": "3"}, {"id": "String 0x3A24", "value": "1"}],
        })
    );
    let lost: Vec<_> = contact.losses.iter().map(|loss| loss.property.as_str()).collect();
    assert_eq!(lost, ["EMAIL", "GEO", "PHOTO"]);
    assert!(read(b"nothing of the kind").is_err());
}

#[test]
#[expect(clippy::print_stderr, reason = "counts of real files are to be seen")]
fn cards_of_the_field_lose_nothing_silently() {
    let Some(corpus) = shared("corpus/vcf/ez-vcard") else { return };
    let (mut files, mut cards, mut lines) = (0, 0, 0);
    let mut lost = std::collections::BTreeMap::<_, usize>::new();
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let contacts = read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text = String::from_utf8_lossy(&bytes).to_ascii_uppercase();
        let there = text.lines().filter(|line| line.trim_end() == "BEGIN:VCARD").count();
        assert_eq!(contacts.len(), there, "{}", path.display());
        files += 1;
        for contact in contacts {
            cards += 1;
            lines += contact.body.as_object().unwrap().len();
            for loss in &contact.losses {
                *lost.entry(loss.property.clone()).or_default() += loss.count as usize;
            }
            // What was understood is kept from then on.
            let mut body = contact.body.clone();
            body["id"] = json!("1");
            for version in VERSIONS {
                let again =
                    read(card(&body, contact.photo.as_deref(), version).as_bytes()).unwrap();
                assert_eq!(again[0].body, contact.body, "{}", path.display());
                assert_eq!(again[0].photo, contact.photo, "{}", path.display());
            }
        }
    }
    assert_eq!(files, 10);
    eprintln!("{files} files, {cards} cards, {lines} properties read; without a place: {lost:?}");
}

/// Texts on which readers have stumbled.
const AWKWARD: [&str; 12] = [
    "a;b,c:d=e\\f",
    "\\n is no line end, \\\\n neither",
    "line one\r\nline two\n\n  three",
    "  around  ",
    "\"quoted\" and 'quoted' ^'",
    "BEGIN:VCARD\nEND:VCARD",
    "Żółć 漢字かな 😀👩‍👩‍👧 e\u{301}",
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{202e}tfel\u{202c} \u{feff}",
    "tab\there",
    "100 % =20 =3D",
    "\\",
    ",;,;",
];

#[test]
fn other_programs_read_the_cards_and_keep_them() {
    let directory = tempfile::tempdir().unwrap();
    let mut number = 0;
    let mut put = |contact: &Value, photo: Option<&[u8]>| {
        for (version, prefix) in [(Version::V3, "v3"), (Version::V4, "v4")] {
            let mut contact = contact.clone();
            contact["id"] = json!(format!("{prefix} {number}"));
            let file = directory.path().join(format!("{prefix}-{number}.vcf"));
            std::fs::write(&file, card(&contact, photo, version)).unwrap();
            std::fs::write(file.with_extension("json"), contact.to_string()).unwrap();
            if let Some(photo) = photo {
                std::fs::write(file.with_extension("photo"), photo).unwrap();
            }
        }
        number += 1;
    };
    let picture: Vec<u8> =
        b"\xff\xd8\xff".iter().copied().chain(0..=255).cycle().take(20_000).collect();
    put(&alice(), Some(&picture));
    put(&json!({"displayName": "All but a name"}), Some(b"\x89PNG in full ASCII"));
    for text in AWKWARD {
        let long = text.repeat(9);
        let address = json!({"street": text, "city": long, "state": text, "postalCode": text,
            "countryOrRegion": text});
        put(
            &json!({
                "displayName": text, "surname": text, "givenName": long, "middleName": text,
                "title": text, "generation": text, "companyName": text, "department": long,
                "officeLocation": text, "jobTitle": text, "profession": long, "manager": text,
                "fileAs": text, "personalNotes": long, "spouseName": text, "mobilePhone": text,
                "emailAddresses": [{"name": text, "address": text}, {"address": long}],
                "businessPhones": [text, long], "homePhones": [text], "businessAddress": address,
                "homeAddress": address, "categories": [text.trim().replace(['\n', '\t', '\r'], "")
                    .split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")],
            }),
            None,
        );
    }
    let said = programs::python("cards.py", &[directory.path()]);
    assert!(said.contains(&format!("{} cards", 2 * number)), "{said}");
}

/// Text as people and programs leave it in contacts.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,8}", "[ -~\t\r\n\u{7}äß漢😀\u{85}\u{2028},;:\\\\\"^']{0,100}"]
}

fn texts() -> impl Strategy<Value = Value> {
    prop::collection::vec(text(), 0..3).prop_map(|texts| json!(texts))
}

fn contact() -> impl Strategy<Value = Value> {
    const TEXTS: [&str; 22] = [
        "displayName",
        "fileAs",
        "givenName",
        "middleName",
        "surname",
        "initials",
        "title",
        "generation",
        "nickName",
        "yomiGivenName",
        "yomiSurname",
        "yomiCompanyName",
        "companyName",
        "department",
        "jobTitle",
        "officeLocation",
        "profession",
        "assistantName",
        "manager",
        "spouseName",
        "personalNotes",
        "mobilePhone",
    ];
    const LISTS: [&str; 5] =
        ["children", "businessPhones", "homePhones", "imAddresses", "categories"];
    let members = |names: &'static [&'static str]| {
        prop::collection::vec(prop::option::of(text()), names.len()).prop_map(move |values| {
            let members = names.iter().zip(values);
            Value::Object(members.map(|(name, text)| ((*name).to_owned(), json!(text))).collect())
        })
    };
    (
        members(&TEXTS),
        prop::collection::vec(texts(), LISTS.len()),
        prop::collection::vec(members(&["name", "address"]), 0..=3),
        members(&["street", "city", "state", "postalCode", "countryOrRegion"]),
        prop::option::of("[12][0-9]{3}-0[1-9]-[12][0-8]T1[0-9]:59:00Z"),
    )
        .prop_map(|(mut contact, lists, emails, address, birthday)| {
            contact["id"] = json!("AAMk");
            contact["lastModifiedDateTime"] = json!("2026-11-22T10:00:00Z");
            for (name, list) in LISTS.iter().zip(lists) {
                contact[*name] = list;
            }
            contact["emailAddresses"] = json!(emails);
            contact["otherAddress"] = address;
            contact["birthday"] = json!(birthday);
            contact
        })
}

/// A contact as it is expected back.
fn expected(contact: &Value) -> Value {
    let mut expected = clean(contact).unwrap_or_else(|| json!({}));
    let object = expected.as_object_mut().unwrap();
    for (name, _) in LOSSY {
        object.remove(*name);
    }
    for name in ["nickName", "categories"] {
        if let Some(value) = object.remove(name).as_ref().and_then(tidy) {
            object.insert(name.to_owned(), value);
        }
    }
    if let Some(Value::String(birthday)) = object.get_mut("birthday") {
        birthday.replace_range(10.., "T11:59:00Z");
    }
    expected
}

/// Without nulls, empty values and control characters; line ends as LF.
fn clean(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => {
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            let text: String =
                text.chars().filter(|c| !c.is_ascii_control() || "\t\n".contains(*c)).collect();
            (!text.is_empty()).then(|| json!(text))
        }
        Value::Array(list) => {
            let list: Vec<_> = list.iter().filter_map(clean).collect();
            (!list.is_empty()).then(|| json!(list))
        }
        Value::Object(members) => {
            let members =
                members.iter().filter_map(|(name, value)| Some((name.clone(), clean(value)?)));
            let members: Map<_, _> = members.collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        Value::Null => None,
        other => Some(other.clone()),
    }
}

/// Without surplus blanks.
fn tidy(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => {
            let words: Vec<_> = text.split_ascii_whitespace().collect();
            (!words.is_empty()).then(|| json!(words.join(" ")))
        }
        Value::Array(list) => {
            let list: Vec<_> = list.iter().filter_map(tidy).collect();
            (!list.is_empty()).then(|| json!(list))
        }
        other => Some(other.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_written_comes_back(contact in contact()) {
        for version in VERSIONS {
            let mut expected = expected(&contact);
            let mut body = back(&contact, version);
            // FN must be there: `nothing_is_not_written`.
            let name = body["displayName"].take();
            prop_assert!(name.as_str().is_some_and(|name| !name.is_empty()));
            let shown = expected["displayName"].take();
            if shown.as_str().is_some_and(|shown| !shown.trim().is_empty()) {
                prop_assert_eq!(&name, &shown);
            }
            prop_assert_eq!(&body, &expected);
            // What came back is a fixed point.
            body["displayName"] = name;
            let mut again = body.clone();
            again["id"] = contact["id"].clone();
            again["lastModifiedDateTime"] = contact["lastModifiedDateTime"].clone();
            prop_assert_eq!(back(&again, version), body);
            let mut out = Vec::new();
            if write(&contact, None, version, &mut out).unwrap().is_empty() {
                prop_assert_eq!(String::from_utf8(out).unwrap(), card(&again, None, version));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(text in "(BEGIN:VCARD\r\n)?[ -~\r\n]{0,200}(END:VCARD)?") {
        let _ = read(text.as_bytes());
    }
}
