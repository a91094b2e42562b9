//! Names, words and the prose made of them.

use crate::dice::Dice;

pub(crate) const GIVEN: &[&str] = &[
    "Anna", "Ben", "Clara", "David", "Elif", "Felix", "Greta", "Hannes", "Ines", "Jonas", "Käthe",
    "Leon", "Mila", "Noah", "Olga", "Paul", "Quentin", "Rosa", "Søren", "Theo", "Uma", "Victor",
    "Wanda", "Yusuf",
];

pub(crate) const SURNAMES: &[&str] = &[
    "Schmidt",
    "Müller",
    "Weber",
    "Wagner",
    "Becker",
    "Hoffmann",
    "Schäfer",
    "Koch",
    "Richter",
    "Klein",
    "Wolf",
    "Schröder",
    "Neumann",
    "Braun",
    "Zimmermann",
    "Krüger",
    "Hartmann",
    "Lange",
    "Krause",
    "Lehmann",
    "Köhler",
    "Maier",
    "Fuchs",
    "Kaiser",
    "Vogel",
    "Jansen",
    "Øster",
    "Roth",
    "Yılmaz",
    "Winter",
    "Sommer",
];

pub(crate) const JOBS: &[&str] = &[
    "Einkauf",
    "Vertrieb",
    "Controlling",
    "Entwicklung",
    "Personal",
    "Rechtsabteilung",
    "Marketing",
];

const WORDS: &[&str] = &[
    "the",
    "project",
    "budget",
    "meeting",
    "review",
    "quarter",
    "customer",
    "delivery",
    "please",
    "attached",
    "report",
    "figures",
    "tomorrow",
    "contract",
    "version",
    "schedule",
    "invoice",
    "draft",
    "team",
    "update",
    "and",
    "for",
    "with",
    "about",
    "between",
    "without",
    "before",
    "release",
    "planning",
    "supplier",
    "warehouse",
    "forecast",
    "approval",
    "signature",
    "travel",
    "agenda",
    "minutes",
    "decision",
    "deadline",
    "estimate",
    "proposal",
    "feedback",
    "question",
    "answer",
    "order",
    "shipment",
    "return",
    "agreement",
    "offer",
    "comparison",
    "summary",
    "system",
    "backup",
    "migration",
    "server",
    "ticket",
    "incident",
    "workshop",
    "training",
];

const TOPICS: &[&str] = &[
    "Quarterly report",
    "Angebot",
    "Meeting notes",
    "Rechnung",
    "Re: Terminabstimmung",
    "Status",
    "WG: Lieferschein",
    "Invoice",
    "Urlaubsantrag",
    "Release plan",
    "AW: Rückfrage",
    "Newsletter",
    "Protokoll",
    "Budget 2026",
    "Travel booking",
    "Sicherheitshinweis",
    "Einladung Sommerfest",
];

/// At least `len` bytes of sentences, then cut.
pub(crate) fn paragraphs(dice: &mut Dice, len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 128);
    while text.len() < len {
        let words = 6 + dice.below(10);
        for n in 0..words {
            let word = dice.pick(WORDS);
            if n == 0 {
                text.push(word.as_bytes()[0].to_ascii_uppercase());
                text.extend_from_slice(&word.as_bytes()[1..]);
            } else {
                text.push(b' ');
                text.extend_from_slice(word.as_bytes());
            }
        }
        text.extend_from_slice(if dice.below(4) == 0 { b".\r\n\r\n" } else { b".\r\n" });
    }
    text.truncate(len);
    text
}

pub(crate) fn prose(dice: &mut Dice, len: usize) -> String {
    String::from_utf8(paragraphs(dice, len)).expect("words are ASCII")
}

pub(crate) fn topic(dice: &mut Dice) -> String {
    format!("{} {}", dice.pick(TOPICS), dice.below(900) + 100)
}

pub(crate) fn word(dice: &mut Dice) -> &'static str {
    dice.pick(WORDS)
}

/// ASCII for addresses: `Käthe` is `kaethe`.
pub(crate) fn ascii(name: &str) -> String {
    let mut plain = String::new();
    for letter in name.to_lowercase().chars() {
        match letter {
            'ä' => plain.push_str("ae"),
            'ö' | 'ø' => plain.push_str("oe"),
            'ü' => plain.push_str("ue"),
            'ß' => plain.push_str("ss"),
            'ı' => plain.push('i'),
            letter if letter.is_ascii_alphanumeric() => plain.push(letter),
            _ => {}
        }
    }
    plain
}

/// Names that file systems, archives and terminals stumble over.
pub(crate) const NASTY_NAMES: &[&str] = &[
    "..",
    "../../etc/passwd",
    "C:\\Windows\\win.ini",
    "nul\u{0}byte",
    "CON",
    "aux.txt",
    "trailing dot.",
    "trailing space ",
    " leading space",
    "\u{202e}gpj.exe",
    "caf\u{e9}",
    "cafe\u{301}",
    "README",
    "readme",
    "tab\tand\nnewline",
    "percent %2e%2e%2f 100%",
    "hash #1?&=",
    "tilde ~k3f9a2c1d4",
    "-rf",
    "emoji \u{1f4e7}\u{200d}\u{1f525}",
    "zero\u{200b}width",
    ".",
    ".tar365",
];
