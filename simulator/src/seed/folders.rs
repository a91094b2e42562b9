//! The folders of a mailbox and which generated mails lie in them.

use crate::Profile;
use crate::seed::words::NASTY_NAMES;

/// A mail folder. Its number is its place in the list and never changes.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) parent: Option<u32>,
    pub(crate) well_known: Option<&'static str>,
    pub(crate) hidden: bool,
    pub(crate) search: bool,
    /// Outside the tree that `mailFolders` lists: reached by its well-known name only.
    pub(crate) apart: bool,
    pub(crate) gone: bool,
    /// Of each round of generated mails, these are here.
    pub(crate) lanes: Vec<u64>,
}

/// The root of the tree has number 0.
pub(crate) const ROOT: u32 = 0;

/// Well-known name, parent, lanes; German, English and Japanese display names.
type Row = (&'static str, Option<&'static str>, &'static [u64], [&'static str; 3]);

const WELL_KNOWN: &[Row] = &[
    (
        "msgfolderroot",
        None,
        &[],
        [
            "Oberste Ebene des Informationsspeichers",
            "Top of Information Store",
            "インフォメーション ストアの先頭",
        ],
    ),
    (
        "inbox",
        Some("msgfolderroot"),
        &[0, 2, 5, 8, 11, 14, 17],
        ["Posteingang", "Inbox", "受信トレイ"],
    ),
    ("drafts", Some("msgfolderroot"), &[3], ["Entwürfe", "Drafts", "下書き"]),
    (
        "sentitems",
        Some("msgfolderroot"),
        &[1, 7, 13, 18],
        ["Gesendete Elemente", "Sent Items", "送信済みアイテム"],
    ),
    (
        "deleteditems",
        Some("msgfolderroot"),
        &[9],
        ["Gelöschte Elemente", "Deleted Items", "削除済みアイテム"],
    ),
    ("junkemail", Some("msgfolderroot"), &[10], ["Junk-E-Mail", "Junk Email", "迷惑メール"]),
    ("outbox", Some("msgfolderroot"), &[], ["Postausgang", "Outbox", "送信トレイ"]),
    ("archive", Some("msgfolderroot"), &[6], ["Archiv", "Archive", "アーカイブ"]),
    (
        "conversationhistory",
        Some("msgfolderroot"),
        &[],
        ["Aufgezeichnete Unterhaltungen", "Conversation History", "会話の履歴"],
    ),
    (
        "syncissues",
        Some("msgfolderroot"),
        &[],
        ["Synchronisierungsprobleme", "Sync Issues", "同期の失敗"],
    ),
    ("conflicts", Some("syncissues"), &[], ["Konflikte", "Conflicts", "競合"]),
    (
        "localfailures",
        Some("syncissues"),
        &[],
        ["Lokale Fehler", "Local Failures", "ローカルの失敗"],
    ),
    (
        "serverfailures",
        Some("syncissues"),
        &[],
        ["Serverfehler", "Server Failures", "サーバーの失敗"],
    ),
    ("recoverableitemsdeletions", None, &[16], ["Deletions", "Deletions", "Deletions"]),
    ("searchfolders", None, &[], ["Suchordner", "Finder", "検索フォルダー"]),
];

/// Lanes of the ordinary folders; nasty ones follow.
const LANES: u64 = 20;

/// The folders of a generated mailbox and the number of lanes.
pub(crate) fn generated(language: usize, profile: Profile) -> (Vec<Folder>, u64) {
    let mut folders = well_known(language);
    let inbox = by_name(&folders, "inbox");
    let projects = add(&mut folders, inbox, "Projekte", &[4]);
    let year = add(&mut folders, projects, "2026", &[12]);
    let quarter = add(&mut folders, year, "Q1 (Angebote & Aufträge)", &[19]);
    add(&mut folders, quarter, "Ganz unten", &[]);
    add(&mut folders, inbox, "Leer", &[]);
    let cache = add(&mut folders, ROOT, "Besprechungs-Cache", &[15]);
    folders[cache as usize].hidden = true;
    let search = add(&mut folders, ROOT, "Ungelesene Nachrichten", &[]);
    folders[search as usize].search = true;
    let mut lanes = LANES;
    if profile == Profile::Nasty {
        let parent = add(&mut folders, ROOT, "Sonderfälle", &[]);
        for name in NASTY_NAMES {
            add(&mut folders, parent, name, &[lanes]);
            lanes += 1;
        }
    }
    (folders, lanes)
}

/// Only what every mailbox has, empty.
pub(crate) fn well_known(language: usize) -> Vec<Folder> {
    let mut folders: Vec<Folder> = Vec::new();
    for (name, parent, lanes, names) in WELL_KNOWN {
        let parent = parent.map(|parent| by_name(&folders, parent));
        folders.push(Folder {
            name: names[language % names.len()].to_owned(),
            parent,
            well_known: Some(name),
            hidden: parent.is_none(),
            search: false,
            apart: parent.is_none() && *name != "msgfolderroot",
            gone: false,
            lanes: lanes.to_vec(),
        });
    }
    folders
}

/// The well-known name of a display name in any language known here.
pub(crate) fn known_by(display_name: &str) -> Option<&'static str> {
    let same = |text: &str| text.to_lowercase() == display_name.to_lowercase();
    WELL_KNOWN
        .iter()
        .find(|(name, _, _, names)| same(name) || names.iter().any(|name| same(name)))
        .map(|(name, ..)| *name)
}

pub(crate) fn by_name(folders: &[Folder], well_known: &str) -> u32 {
    let at = folders.iter().position(|f| f.well_known == Some(well_known));
    at.expect("every mailbox has the well-known folders") as u32
}

/// Appends a folder; returns its number.
pub(crate) fn add(folders: &mut Vec<Folder>, parent: u32, name: &str, lanes: &[u64]) -> u32 {
    folders.push(Folder {
        name: name.to_owned(),
        parent: Some(parent),
        well_known: None,
        hidden: false,
        search: false,
        apart: false,
        gone: false,
        lanes: lanes.to_vec(),
    });
    folders.len() as u32 - 1
}
