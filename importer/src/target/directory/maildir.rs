//! Mail as a Maildir++ tree, the way Dovecot lays it out by default.
//!
//! - The inbox is the root. `Projects` is `.Projects`, its child `Alpha` is `.Projects.Alpha`, a
//!   child of the inbox `.INBOX.Alpha`. A folder beside the inbox that is called `INBOX` too gets
//!   a tag, because readers would take it for the inbox.
//! - Names are those of the archive's paths, in which `/ \ : *` and the like are percent-escaped, so
//!   that no two folders meet in one; a dot, which would begin a child, becomes `%2E`. Then comes
//!   modified UTF-7 (RFC 3501, 5.1.3). What is deeper than a name of 255 bytes can tell is cut
//!   between folders and ends in `.~<tag of its path>`.
//! - A message is `cur/<received>.<tag>.tar365,S=<size>:2,<flags>`: seconds since 1970, 26
//!   characters of the tag of its id, its bytes. Windows forbids the colon: there it is `;`.
//! - Bytes are those of the archive, with CRLF where the mail has it: readers of Maildir take both,
//!   and Dovecot serves CRLF anyway.
//! - A message whose flags were changed since, or that is in `new`, is still the same message.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use sha2::{Digest, Sha256};

use super::file::{Files, join};
use super::flags::Flags;
use super::ground::{Ground, MAX_NAME, lock, parent, unwritable};
use crate::error::Error;
use crate::item::Item;
use crate::place::{Made, Restored, Undone};
use crate::section::Folder;

/// Stands between the name of a message and its flags.
const INFO: char = if cfg!(windows) { ';' } else { ':' };

/// The Maildir of one owner.
#[derive(Debug)]
pub(super) struct Maildir {
    /// Its root.
    base: String,
    known: Mutex<BTreeMap<String, Arc<Known>>>,
}

/// What was in a folder when the restore came to it: digest of the name before the flags, and the
/// flags. 16 bytes a message. Sorted.
#[derive(Debug)]
struct Known(Vec<(u64, u64)>);

impl Maildir {
    pub(super) fn new(base: String) -> Self {
        Self { base, known: Mutex::default() }
    }

    /// Makes a folder and what belongs in it.
    pub(super) fn folder(&self, ground: &Ground, trail: &[Folder]) -> Result<String, Error> {
        let name = folder_name(trail);
        let folder = if name.is_empty() { self.base.clone() } else { join(&self.base, &name) };
        for part in ["tmp", "new", "cur"] {
            ground.folder(&join(&folder, part))?;
        }
        if !name.is_empty() {
            let mark = join(&folder, "maildirfolder");
            let place = ground.path(&mark);
            if fs::symlink_metadata(&place).is_err() {
                ground.remember(&mark)?;
                fs::File::create_new(&place).map_err(|source| unwritable(&place, source))?;
            }
        }
        Ok(folder)
    }

    pub(super) fn put(
        &self,
        files: &Files<'_>,
        item: &Item,
        trail: &[Folder],
    ) -> Result<Restored, Error> {
        let folder = self.folder(files.ground, trail)?;
        let known = self.known(files.ground, &folder)?;
        let flags = Flags::of(&item.line);
        let tag = archive::path::long_tag(&item.line.id);
        let (seconds, size) = (item.mtime.max(0), item.size);
        let nth = |copy: u32| {
            let copy = if copy == 1 { String::new() } else { format!("_{copy}") };
            let base = format!("{seconds}.{tag}{copy}.tar365,S={size}");
            let now = known.find(&base).filter(|name| {
                let place = files.ground.path(&join(&folder, name));
                fs::symlink_metadata(place).is_ok()
            });
            now.unwrap_or_else(|| format!("cur/{base}{INFO}2,{}", flags.letters))
        };
        let mut restored = files.put(item, &folder, &nth)?;
        restored.losses.extend(flags.loss_in_maildir());
        Ok(restored)
    }

    pub(super) fn undo(&self, files: &Files<'_>, made: &Made) -> Result<Undone, Error> {
        files.undo(made, &|id| {
            let (folder, wanted) = (parent(parent(id)), base_of(id.rsplit('/').next()?));
            files.ground.existing(&join(folder, "cur"))?;
            let now = self.known(files.ground, folder).ok()?.find(wanted)?;
            let now = join(folder, &now);
            if fs::symlink_metadata(files.ground.path(&now)).is_ok() {
                return Some(now);
            }
            // Its letters are in another order, or changed meanwhile.
            ["cur", "new"].iter().find_map(|part| {
                let part = join(folder, part);
                let mut names = names_in(&files.ground.existing(&part)?).ok()?;
                names.find(|name| base_of(name) == wanted).map(|name| join(&part, &name))
            })
        })
    }

    fn known(&self, ground: &Ground, folder: &str) -> Result<Arc<Known>, Error> {
        let mut all = lock(&self.known);
        if let Some(known) = all.get(folder) {
            return Ok(Arc::clone(known));
        }
        let mut entries = Vec::new();
        for (part, mark) in [("cur", 0), ("new", NEW)] {
            let place = ground.path(&join(folder, part));
            let names = names_in(&place).map_err(|source| unwritable(&place, source))?;
            entries.extend(names.map(|name| (digest(base_of(&name)), mark | letters(&name))));
        }
        entries.sort_unstable();
        let known = Arc::new(Known(entries));
        all.insert(folder.to_owned(), Arc::clone(&known));
        Ok(known)
    }
}

const NEW: u64 = 1 << 63;

impl Known {
    /// What the message of this base is called, as seen from the folder.
    fn find(&self, base: &str) -> Option<String> {
        let wanted = digest(base);
        let at = self.0.partition_point(|(other, _)| *other < wanted);
        let (_, letters) = self.0.get(at).filter(|(other, _)| *other == wanted)?;
        if letters & NEW != 0 {
            return Some(format!("new/{base}"));
        }
        let letters: String = LETTERS
            .chars()
            .enumerate()
            .filter(|(at, _)| letters >> at & 1 == 1)
            .map(|(_, letter)| letter)
            .collect();
        Some(format!("cur/{base}{INFO}2,{letters}"))
    }
}

/// Letters that flags may have, in the order they stand in; the small ones are Dovecot's keywords.
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn letters(name: &str) -> u64 {
    let flags = name.rsplit_once(INFO).map_or("", |(_, info)| info.trim_start_matches("2,"));
    flags.chars().filter_map(|flag| LETTERS.find(flag)).fold(0, |all, at| all | 1 << at)
}

fn base_of(name: &str) -> &str {
    name.rsplit_once(INFO).map_or(name, |(base, _)| base)
}

fn digest(base: &str) -> u64 {
    let digest = Sha256::digest(base.as_bytes());
    digest.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Names of messages; of a folder that is missing, none.
fn names_in(folder: &Path) -> std::io::Result<impl Iterator<Item = String> + use<>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let entries = entries.into_iter().flatten();
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()))
}

/// The name of a folder below the root; empty for the inbox, which is the root.
fn folder_name(trail: &[Folder]) -> String {
    let mut names = super::components(trail);
    // Above it there may be the root of the mailbox, which is no part of paths.
    let inbox = trail.iter().find(|folder| folder.well_known.as_deref() == Some("inbox"));
    let is_in_inbox = inbox.is_some_and(|inbox| names.first() == Some(&inbox.path));
    if is_in_inbox && names.len() == 1 {
        return String::new();
    }
    if let Some(first) = names.first_mut() {
        if is_in_inbox {
            "INBOX".clone_into(first);
        } else if first.eq_ignore_ascii_case("inbox") {
            *first = format!("{first}~{}", archive::path::tag(first));
        }
    }
    let encoded = names.iter().map(|name| format!(".{}", modified_utf7(&name.replace('.', "%2E"))));
    let encoded: Vec<_> = encoded.collect();
    let whole = encoded.concat();
    if whole.len() <= MAX_NAME {
        return whole;
    }
    let tag = format!(".~{}", archive::path::tag(&names.join("/")));
    let mut cut = String::new();
    for name in encoded {
        if cut.len() + name.len() + tag.len() > MAX_NAME {
            break;
        }
        cut.push_str(&name);
    }
    cut + &tag
}

/// RFC 3501, 5.1.3: printable ASCII as it is, `&` as `&-`, the rest as UTF-16 in base64.
fn modified_utf7(name: &str) -> String {
    let engine = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);
    let mut encoded = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let is_plain = |c: char| matches!(c, ' '..='~');
        let end = rest.find(|c| is_plain(c) != is_plain(first)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if is_plain(first) {
            encoded.push_str(&run.replace('&', "&-"));
        } else {
            let units: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
            encoded.push('&');
            encoded.push_str(&engine.encode(units));
            encoded.push('-');
        }
        rest = after;
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &str, well_known: Option<&str>) -> Folder {
        Folder {
            id: path.to_owned(),
            name: path.rsplit('/').next().unwrap().to_owned(),
            well_known: well_known.map(str::to_owned),
            path: path.to_owned(),
            graph: serde_json::Value::Null,
        }
    }

    #[test]
    fn names_of_folders() {
        let name = |path: &str, first: Option<&str>| {
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
            let trail: Vec<_> = ends
                .enumerate()
                .map(|(depth, end)| folder(&path[..end], first.filter(|_| depth == 0)))
                .collect();
            folder_name(&trail)
        };
        assert_eq!(folder_name(&[]), "");
        assert_eq!(name("Posteingang", Some("inbox")), "");
        assert_eq!(name("Posteingang/Alpha", Some("inbox")), ".INBOX.Alpha");
        let root = folder("Oberste Ebene", None);
        let inbox = folder("Posteingang", Some("inbox"));
        assert_eq!(folder_name(&[root.clone(), inbox]), "");
        assert_eq!(folder_name(&[root, folder("Ablage", None)]), ".Ablage");
        assert_eq!(name("Projects/Alpha/1", None), ".Projects.Alpha.1");
        assert_eq!(name("v1.2 & more", None), ".v1%2E2 &- more");
        // The example of RFC 3501 and RFC 2060.
        assert_eq!(name("~peter/mail/台北/日本語", None), ".~peter.mail.&U,BTFw-.&ZeVnLIqe-");
        assert_eq!(name("Entwürfe", Some("drafts")), ".Entw&APw-rfe");
        let inbox = name("Inbox", None);
        assert!(inbox.starts_with(".Inbox~") && inbox.len() == 17, "{inbox}");
        assert_ne!(inbox, name("INBOX", None));
    }

    #[test]
    fn deep_folders_fit() {
        let deep = |last: &str| {
            let path = format!("{}/{last}", vec!["abcdefghi"; 25].join("/"));
            folder_name(&[folder(&path, None)])
        };
        assert_eq!(deep("1234").len(), 255);
        assert!(!deep("1234").contains('~'));
        assert!(deep("12345").len() <= 255);
        assert!(deep("12345").starts_with(".abcdefghi.abcdefghi."));
        assert_ne!(deep("12345"), deep("12346"));
    }
}
