//! Which line of a card holds which property of a contact, where that is all there is to it.

use super::Version;

/// A text of the contact that is one line of the card.
pub(super) struct Text {
    /// The contact's property.
    pub(super) graph: &'static str,
    v3: &'static str,
    v4: &'static str,
    /// Names that other programs give the line.
    aliases: &'static [&'static str],
}

impl Text {
    const fn new(
        graph: &'static str,
        line: &'static str,
        aliases: &'static [&'static str],
    ) -> Self {
        Self { graph, v3: line, v4: line, aliases }
    }

    /// Name and parameters of the line.
    pub(super) fn head(&self, version: Version) -> &'static str {
        match version {
            Version::V3 => self.v3,
            Version::V4 => self.v4,
        }
    }
}

pub(super) const TEXTS: &[Text] = &[
    // SORT-AS, version 4.0's parameter of N, can hold no quotes.
    Text {
        graph: "fileAs",
        v3: "SORT-STRING",
        v4: "X-EVOLUTION-FILE-AS",
        aliases: &["SORT-STRING", "X-EVOLUTION-FILE-AS"],
    },
    Text::new("initials", "X-TAR365-INITIALS", &[]),
    Text::new("yomiGivenName", "X-PHONETIC-FIRST-NAME", &[]),
    Text::new("yomiSurname", "X-PHONETIC-LAST-NAME", &[]),
    Text::new("yomiCompanyName", "X-PHONETIC-ORG", &[]),
    Text::new("jobTitle", "TITLE", &[]),
    Text::new("profession", "ROLE", &["X-KADDRESSBOOK-X-PROFESSION"]),
    Text::new(
        "manager",
        "X-MS-MANAGER",
        &["X-MANAGER", "X-EVOLUTION-MANAGER", "X-KADDRESSBOOK-X-MANAGERSNAME"],
    ),
    Text::new(
        "assistantName",
        "X-MS-ASSISTANT",
        &["X-ASSISTANT", "X-EVOLUTION-ASSISTANT", "X-KADDRESSBOOK-X-ASSISTANTSNAME"],
    ),
    Text {
        graph: "spouseName",
        v3: "X-MS-SPOUSE",
        v4: "RELATED;TYPE=spouse;VALUE=text",
        aliases: &["X-SPOUSE", "X-EVOLUTION-SPOUSE", "X-KADDRESSBOOK-X-SPOUSESNAME"],
    },
    Text::new("personalNotes", "NOTE", &[]),
];

/// The contact's property that the line of this name, in capitals, holds.
pub(super) fn text_of(line: &str) -> Option<&'static str> {
    let of = |text: &&Text| text.v3 == line || text.v4 == line || text.aliases.contains(&line);
    TEXTS.iter().find(of).map(|text| text.graph)
}

/// The scheme of the addresses in a line of this name, in capitals, which the field used before
/// there was IMPP.
pub(super) fn messenger(line: &str) -> Option<&'static str> {
    Some(match line {
        "X-AIM" => "aim",
        "X-GADUGADU" => "gg",
        "X-ICQ" => "icq",
        "X-JABBER" | "X-GTALK" | "X-GOOGLE-TALK" => "xmpp",
        "X-MSN" => "msnim",
        "X-SKYPE" | "X-SKYPE-USERNAME" => "skype",
        "X-YAHOO" => "ymsgr",
        _ => return None,
    })
}

/// Postal addresses: the contact's property and the line's type. Version 3.0 takes an address
/// without a type for one at work (RFC 2426, 3.2.1), version 4.0 knows no type for the third one.
pub(super) const ADDRESSES: &[(&str, &str, &str)] = &[
    ("businessAddress", "ADR;TYPE=WORK", "ADR;TYPE=WORK"),
    ("homeAddress", "ADR;TYPE=HOME", "ADR;TYPE=HOME"),
    ("otherAddress", "ADR;TYPE=POSTAL", "ADR"),
];

/// Members of a postal address in the order of ADR, after post office box and extension.
pub(super) const ADDRESS: [&str; 5] = ["street", "city", "state", "postalCode", "countryOrRegion"];

/// Members of N, in its order.
pub(super) const NAME: [&str; 5] = ["surname", "givenName", "middleName", "title", "generation"];

/// Members of ORG, in its order.
pub(super) const ORGANIZATION: [&str; 3] = ["companyName", "department", "officeLocation"];

/// The contact's properties that `write` looks at in other ways than [`TEXTS`] says.
pub(super) const STRUCTURED: &[&str] = &[
    "birthday",
    "businessHomePage",
    "businessPhones",
    "categories",
    "children",
    "displayName",
    "emailAddresses",
    "homePhones",
    "imAddresses",
    "mobilePhone",
    "nickName",
    "photo",
];
