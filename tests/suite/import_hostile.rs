//! Archives that somebody made to do harm, or that broke: they end with a clear error and the
//! documented exit code, never with a panic; nothing is written outside of the target; and what a
//! file can be seen to lack is refused before the first write.
//!
//! What the fuzz targets do is done here, too, with broken pieces of a sound archive.

mod forged;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use forged::{EML, Forged, file, folder, message, owner};

use crate::harness::{Run, files_below, run, run_with, sha256, tar365};
use crate::import_faults::Random;
use crate::soak::soak;

const LAYOUTS: [&str; 3] = ["native", "maildir", "mboxrd"];
const MAIL: &str = "users/eva@example.com/mail";
const DRIVE: &str = "users/eva@example.com/onedrive";
/// A head that every reader takes.
const HEAD: &str =
    r#"{"filters":[],"format":1,"selection":{},"services":["mail","onedrive"],"tenant":"t"}"#;

/// A place to restore to, with a neighbour that must stay as it is.
struct Ground {
    dir: TempDir,
}

impl Ground {
    fn new() -> Self {
        let ground = Self { dir: TempDir::new().unwrap() };
        for name in ["target", "neighbour"] {
            std::fs::create_dir(ground.at(name)).unwrap();
        }
        std::fs::write(ground.at("neighbour/secret"), "untouched").unwrap();
        ground
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Everything that was done outside of the target.
    fn outside(&self) -> Vec<String> {
        assert_eq!(std::fs::read(self.at("neighbour/secret")).unwrap(), b"untouched");
        let names = |dir: PathBuf| {
            let entries = std::fs::read_dir(dir).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
        };
        let known = ["archive.tar", "journal", "journal-wal", "journal-shm", "target", "neighbour"];
        let beside =
            names(self.dir.path().to_owned()).filter(|name| !known.contains(&name.as_str()));
        beside.chain(names(self.at("neighbour")).filter(|name| name != "secret")).collect()
    }

    fn import(&self, archive: &[u8], layout: &str, way: Way) -> Run {
        let mut command = tar365(&["import", "--progress", "none", "--layout", layout]);
        command.arg("--to").arg(format!("directory:{}", self.at("target").display()));
        command.arg("--journal").arg(self.at("journal"));
        self.give(command, archive, way)
    }

    fn extract(&self, archive: &[u8], way: Way) -> Run {
        let mut command = tar365(&["extract"]);
        command.arg("-C").arg(self.at("target"));
        self.give(command, archive, way)
    }

    fn give(&self, mut command: Command, archive: &[u8], way: Way) -> Run {
        command.env("RUST_BACKTRACE", "0").env("HOME", self.dir.path());
        match way {
            Way::Pipe => {
                command.arg("-");
                run_with(command, archive)
            }
            Way::File => {
                std::fs::write(self.at("archive.tar"), archive).unwrap();
                command.arg(self.at("archive.tar"));
                run(command)
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    File,
    Pipe,
}

/// What holds for every hostile archive; what is wrong with this one.
fn wrong(ground: &Ground, name: &str, done: &Run) -> Vec<String> {
    let mut wrong = Vec::new();
    if !matches!(done.code, 0..=3) {
        wrong.push(format!("{name}: exit code {}: {}", done.code, tail(&done.stderr)));
    }
    for word in ["panicked", "internal error", "RUST_BACKTRACE", "overflow"] {
        if done.stderr.contains(word) {
            wrong.push(format!("{name}: {word}: {}", tail(&done.stderr)));
        }
    }
    if done.code != 0 && done.stderr.trim().is_empty() {
        wrong.push(format!("{name}: exit code {} without a word", done.code));
    }
    let outside = ground.outside();
    if !outside.is_empty() {
        wrong.push(format!("{name}: outside of the target: {outside:?}"));
    }
    for path in links_below(&ground.at("target")) {
        wrong.push(format!("{name}: a link: {}", path.display()));
    }
    wrong
}

fn tail(text: &str) -> String {
    let from = text.char_indices().rev().nth(400).map_or(0, |(at, _)| at);
    text[from..].trim().to_owned()
}

fn links_below(dir: &Path) -> Vec<PathBuf> {
    let mut links = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                open.push(path);
            } else if !kind.is_file() {
                links.push(path);
            }
        }
    }
    links
}

/// Runs an archive against everything that reads it. `codes` are those that an import may end with.
fn against_all(name: &str, archive: &[u8], codes: &[i32]) -> Vec<String> {
    let mut all = Vec::new();
    for way in [Way::File, Way::Pipe] {
        for layout in LAYOUTS {
            let ground = Ground::new();
            let done = ground.import(archive, layout, way);
            let name = format!("{name}, {layout}, {way:?}");
            all.extend(wrong(&ground, &name, &done));
            if !codes.contains(&done.code) {
                all.push(format!("{name}: exit code {}: {}", done.code, tail(&done.stderr)));
            }
        }
        let ground = Ground::new();
        let done = ground.extract(archive, way);
        all.extend(wrong(&ground, &format!("{name}, extract, {way:?}"), &done));
    }
    all
}

#[track_caller]
fn all_refused(cases: BTreeMap<String, Vec<u8>>, codes: &[i32]) {
    let mut all = Vec::new();
    for (name, archive) in &cases {
        all.extend(against_all(name, archive, codes));
    }
    assert!(all.is_empty(), "{} findings:\n{}", all.len(), all.join("\n"));
}

/// A sound archive of one mail and one file: the cases below would prove nothing if this failed.
fn sound() -> Forged {
    let mut forged = Forged::new();
    let eml = format!("{MAIL}/Inbox/a.eml");
    let lines =
        [owner(), folder("f", "r", "Inbox", &format!("{MAIL}/Inbox")), message("m", "f", &eml)];
    forged.section(MAIL, &lines, &[(&eml, EML)]);
    let txt = format!("{DRIVE}/a.txt");
    forged.section(DRIVE, &[owner(), file("i", "r", "a.txt", &txt)], &[(&txt, b"a")]);
    forged
}

#[test]
fn the_forger_can_make_a_sound_archive() {
    let archive = sound().sealed();
    assert_eq!(against_all("sound", &archive, &[0]), [""; 0]);
    let ground = Ground::new();
    ground.import(&archive, "native", Way::File).expect(0);
    let files = files_below(&ground.at("target"));
    assert_eq!(files[&format!("{MAIL}/Inbox/a.eml")], EML);
    assert_eq!(files[&format!("{DRIVE}/a.txt")], b"a");
}

/// Names that lead elsewhere, somewhere special, or nowhere.
const EVIL: [&str; 22] = [
    "../evil",
    "../../../../../../tmp/tar365-evil",
    "/tmp/tar365-evil",
    "x/../../../../neighbour/evil",
    "..\\evil",
    "C:\\evil",
    "C:evil",
    "\\\\host\\share\\evil",
    "a/./b",
    "a//b",
    ".",
    "..",
    "",
    "a\0b",
    "a\nb",
    "NUL",
    "con.txt",
    "a:stream",
    ".tar365-x",
    "~",
    "-rf",
    "\u{202e}txt.exe",
];

#[test]
fn paths_that_lead_elsewhere() {
    let mut cases = BTreeMap::new();
    for evil in EVIL {
        for absolute in [false, true] {
            let path = |prefix: &str| match absolute {
                true => evil.to_owned(),
                false => format!("{prefix}/{evil}"),
            };
            let mut forged = Forged::new();
            let (eml, txt) = (path(MAIL), path(DRIVE));
            forged.section(MAIL, &[owner(), message("m", "r", &eml)], &[(&eml, EML)]);
            forged.section(DRIVE, &[owner(), file("i", "r", evil, &txt)], &[(&txt, b"a")]);
            cases.insert(format!("member {evil:?} {absolute}"), forged.sealed());
        }
        // The member has a good path: the metadata alone are evil.
        let mut forged = Forged::new();
        let (eml, txt) = (format!("{MAIL}/a.eml"), format!("{DRIVE}/a.txt"));
        let lines =
            [owner(), folder("f", "r", evil, &format!("{MAIL}/{evil}")), message("m", "f", &eml)];
        forged.section(MAIL, &lines, &[(&eml, EML)]);
        let lines = [
            owner(),
            folder("f", "r", evil, &format!("{DRIVE}/{evil}")),
            file("i", "f", evil, &txt),
        ];
        forged.section(DRIVE, &lines, &[(&txt, b"a")]);
        cases.insert(format!("metadata {evil:?}"), forged.sealed());
        // The owner himself.
        let mut forged = Forged::new();
        let prefix = format!("users/{evil}/mail");
        let eml = format!("{prefix}/a.eml");
        let mut of = owner();
        of["graph"]["userPrincipalName"] = evil.into();
        forged.section(&prefix, &[of, message("m", "r", &eml)], &[(&eml, EML)]);
        cases.insert(format!("owner {evil:?}"), forged.sealed());
    }
    all_refused(cases, &[0, 1, 3]);
    assert!(!Path::new("/tmp/tar365-evil").exists());
}

#[test]
fn links_and_devices_in_the_archive() {
    let mut cases = BTreeMap::new();
    for (kind, link) in [
        (b'1', "../../../neighbour/secret"),
        (b'2', "../../../../neighbour"),
        (b'2', "/etc/passwd"),
        (b'3', ""),
        (b'4', ""),
        (b'6', ""),
        (b'7', ""),
        (b'L', ""),
        (b'K', ""),
        (b'g', ""),
        (b'S', ""),
    ] {
        let mut forged = Forged::new();
        let (at, inside) = (format!("{DRIVE}/link"), format!("{DRIVE}/link/evil"));
        let lines = [owner(), file("i", "r", "link", &at), file("j", "r", "evil", &inside)];
        forged.section(DRIVE, &lines, &[]);
        forged.special(&at, kind, link);
        forged.file(&inside, b"evil");
        cases.insert(format!("type {} {link}", kind as char), forged.sealed());
    }
    all_refused(cases, &[0, 1, 3]);
}

#[test]
fn a_link_that_lies_in_the_target_is_not_followed() {
    let archive = sound().sealed();
    for below in [
        "users",
        "users/eva@example.com",
        MAIL,
        "eva@example.com",
        "eva@example.com/.Inbox",
        "eva@example.com/cur",
        "eva@example.com/Inbox",
        "eva@example.com/Inbox.mbox",
    ] {
        for layout in LAYOUTS {
            let ground = Ground::new();
            let link = ground.at("target").join(below);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(ground.at("neighbour"), &link).unwrap();
            let done = ground.import(&archive, layout, Way::File);
            assert_eq!(ground.outside(), [""; 0], "{layout} through {below}: {}", done.stderr);
            assert!(matches!(done.code, 0 | 1 | 3), "{layout} through {below}: {}", done.stderr);
        }
        let ground = Ground::new();
        let link = ground.at("target").join(below);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(ground.at("neighbour"), &link).unwrap();
        let done = ground.extract(&archive, Way::File);
        assert_eq!(ground.outside(), [""; 0], "extract through {below}: {}", done.stderr);
    }
}

#[test]
fn absurd_metadata() {
    let mut cases = BTreeMap::new();
    let txt = format!("{DRIVE}/a.txt");
    let eml = format!("{MAIL}/a.eml");
    let mut add = |name: &str, prefix: &str, lines: &[Value], members: &[(&str, &[u8])]| {
        let mut forged = Forged::new();
        forged.section(prefix, lines, members);
        cases.insert(name.to_owned(), forged.sealed());
    };
    let member: &[(&str, &[u8])] = &[(&txt, b"a")];
    add("no owner", DRIVE, &[file("i", "r", "a.txt", &txt)], member);
    add("nothing", DRIVE, &[], member);
    let twice = [owner(), file("i", "r", "a.txt", &txt), file("j", "r", "a.txt", &txt)];
    add("a path twice in the metadata", DRIVE, &twice, member);
    add("a member twice", DRIVE, &twice[..2], &[(&txt, b"a"), (&txt, b"b")]);
    add(
        "an id twice",
        DRIVE,
        &[owner(), file("i", "r", "a.txt", &txt), file("i", "r", "b", "b")],
        member,
    );
    // Folders in a circle, in themselves, and in a chain that no service has.
    for (prefix, item, member) in [
        (MAIL, message("m", "f0", &eml), (eml.as_str(), EML)),
        (DRIVE, file("i", "f0", "a.txt", &txt), (txt.as_str(), b"a" as &[u8])),
    ] {
        let circle = |parent: &str| {
            [
                owner(),
                folder("f0", parent, "A", &format!("{prefix}/A")),
                folder("f1", "f0", "B", &format!("{prefix}/A/B")),
                item.clone(),
            ]
        };
        add(&format!("{prefix}: a circle"), prefix, &circle("f1"), &[member]);
        add(&format!("{prefix}: its own parent"), prefix, &circle("f0"), &[member]);
        let mut chain = vec![owner()];
        for at in (0..600).rev() {
            let parent = format!("f{}", at + 1);
            chain.push(folder(&format!("f{at}"), &parent, "n", &format!("{prefix}/n{at}")));
        }
        chain.push(item.clone());
        add(&format!("{prefix}: a chain"), prefix, &chain, &[member]);
        let long = "ü".repeat(10_000);
        let names = [owner(), folder("f0", "r", &long, &format!("{prefix}/{long}")), item.clone()];
        add(&format!("{prefix}: a long name"), prefix, &names, &[member]);
    }
    let mut long = file("i", "r", &"n".repeat(10_000), &txt);
    add("a file with a long name", DRIVE, &[owner(), long.clone()], member);
    long["path"] = format!("{DRIVE}/{}", "n/".repeat(10_000)).into();
    add("a path of 20,000 characters", DRIVE, &[owner(), long], member);
    // 16 MiB is the most of a line.
    let mut wide = file("i", "r", "a.txt", &txt);
    wide["graph"]["x"] = "x".repeat((16 << 20) + 10).into();
    add("a line of more than 16 MiB", DRIVE, &[owner(), wide], member);
    let deep: Value =
        serde_json::from_str(&format!("{}{}", "[".repeat(120), "]".repeat(120))).unwrap();
    let mut nested = file("i", "r", "a.txt", &txt);
    nested["graph"]["x"] = deep;
    add("nested", DRIVE, &[owner(), nested], member);
    all_refused(cases, &[0, 1, 2, 3]);
}

#[test]
fn metadata_of_wrong_types() {
    let mut cases = BTreeMap::new();
    let values =
        [json!(null), json!(-1), json!(1e300), json!(true), json!([]), json!({}), json!("")];
    let eml = format!("{MAIL}/Inbox/a.eml");
    let txt = format!("{DRIVE}/a.txt");
    let right = [
        (
            MAIL,
            folder("f", "r", "Inbox", &format!("{MAIL}/Inbox")),
            message("m", "f", &eml),
            (eml.as_str(), EML),
        ),
        (
            DRIVE,
            folder("f", "r", "A", &format!("{DRIVE}/A")),
            file("i", "f", "a.txt", &txt),
            (txt.as_str(), b"a" as &[u8]),
        ),
    ];
    for (prefix, folder, item, member) in right {
        for (number, value) in values.iter().enumerate() {
            // All of one line at a time: the places that read them are apart anyway.
            let all = |line: &Value| {
                let mut line = line.clone();
                let keys: Vec<String> =
                    line["graph"].as_object().unwrap().keys().cloned().collect();
                for key in keys {
                    line["graph"][&key] = value.clone();
                }
                for key in [
                    "flag",
                    "categories",
                    "importance",
                    "sentDateTime",
                    "singleValueExtendedProperties",
                    "wellKnownName",
                    "internetMessageId",
                    "fileSystemInfo",
                    "from",
                ] {
                    line["graph"][key] = value.clone();
                }
                line
            };
            for (what, lines) in [
                ("owner", [all(&owner()), folder.clone(), item.clone()]),
                ("folder", [owner(), all(&folder), item.clone()]),
                ("item", [owner(), folder.clone(), all(&item)]),
            ] {
                let mut forged = Forged::new();
                forged.section(prefix, &lines, &[member]);
                cases.insert(format!("{prefix} {what} {number}"), forged.sealed());
            }
            for key in ["kind", "id", "path", "graph"] {
                let mut line = item.clone();
                line[key] = value.clone();
                let mut forged = Forged::new();
                forged.section(prefix, &[owner(), folder.clone(), line], &[member]);
                cases.insert(format!("{prefix} {key} {number}"), forged.sealed());
            }
        }
    }
    all_refused(cases, &[0, 1, 2, 3]);
}

#[test]
fn bytes_that_are_no_json() {
    let mut cases = BTreeMap::new();
    let texts: [(&str, &[u8]); 7] = [
        ("no json", b"{\n"),
        ("no utf-8", b"{\"id\":\"\xff\"}\n"),
        ("nothing", b""),
        ("a list", b"[]\n"),
        ("zeros", &[0; 600]),
        ("no newline", b"{\"kind\":\"owner\",\"id\":\"1\",\"graph\":{}}"),
        ("a lone surrogate", b"{\"kind\":\"owner\",\"id\":\"\\ud800\",\"graph\":{}}\n"),
    ];
    for (name, text) in texts {
        for prefix in [MAIL, DRIVE] {
            let mut forged = Forged::new();
            forged.file(&format!("{prefix}.ndjson"), text);
            forged.file(&format!("{prefix}/a.eml"), EML);
            cases.insert(format!("{prefix} {name}"), forged.sealed());
        }
        let mut forged = sound();
        forged.manifest = String::from_utf8_lossy(text).into_owned();
        cases.insert(format!("manifest {name}"), forged.sealed());
    }
    all_refused(cases, &[0, 1, 2, 3]);
}

#[test]
fn a_manifest_or_seal_that_lies() {
    let mut cases = BTreeMap::new();
    let absurd =
        [json!(0), json!(1), json!(511), json!(u64::MAX), json!(i64::MAX), json!(1_u64 << 40)];
    for (number, value) in absurd.iter().enumerate() {
        for key in ["size", "span"] {
            for line in 0..5 {
                let mut forged = sound();
                let mut lines: Vec<Value> = forged
                    .manifest
                    .lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect();
                lines[line][key] = value.clone();
                forged.manifest = lines.iter().map(|line| format!("{line}\n")).collect();
                cases.insert(format!("manifest {line} {key} {number}"), forged.sealed());
            }
        }
        for part in ["manifest", "ledger"] {
            for key in ["offset", "length"] {
                let archive = sound().sealed_with(|seal| seal[part][key] = value.clone());
                cases.insert(format!("seal {part} {key} {number}"), archive);
            }
        }
        for key in ["members", "items", "converted", "failed", "version"] {
            let archive = sound().sealed_with(|seal| seal[key] = value.clone());
            cases.insert(format!("seal {key} {number}"), archive);
        }
    }
    all_refused(cases, &[0, 1, 2, 3]);

    // Another digest is another content: what is there is not what was sealed.
    for line in [2_usize, 4] {
        let mut forged = sound();
        let mut lines: Vec<Value> =
            forged.manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines[line]["sha256"] = sha256(b"another").into();
        forged.manifest = lines.iter().map(|line| format!("{line}\n")).collect();
        let archive = forged.sealed();
        assert_eq!(against_all("digest", &archive, &[1]), [""; 0]);
    }
}

#[test]
fn sizes_that_nobody_has() {
    let mut cases = BTreeMap::new();
    for size in [1 << 20, 1 << 33, 1 << 40, u64::MAX >> 1, u64::MAX] {
        let mut forged = Forged::new();
        let txt = format!("{DRIVE}/a.txt");
        forged.section(DRIVE, &[owner(), file("i", "r", "a.txt", &txt)], &[]);
        forged.header(&txt, size, b'0', "");
        forged.padded(b"a");
        forged.line(&json!({ "path": txt, "sha256": sha256(b"a"), "size": size, "span": 1024 }));
        cases.insert(format!("a member of {size}"), forged.sealed());
    }
    all_refused(cases, &[1, 3]);
}

/// Cut off at every block: refused before the first write if it is a file, and never a success.
#[test]
fn truncated_at_every_block() {
    let whole = sound().sealed();
    let mut all = Vec::new();
    for cut in (0..whole.len() - 512).step_by(512) {
        // The second of the two end blocks is the last that anybody misses.
        let archive = &whole[..cut];
        let ground = Ground::new();
        let done = ground.import(archive, "native", Way::File);
        all.extend(wrong(&ground, &format!("{cut} as a file"), &done));
        if done.code != 1 || std::fs::read_dir(ground.at("target")).unwrap().count() > 0 {
            all.push(format!("{cut} as a file: exit code {}: {}", done.code, tail(&done.stderr)));
        }
        let ground = Ground::new();
        let done = ground.import(archive, LAYOUTS[cut / 512 % 3], Way::Pipe);
        all.extend(wrong(&ground, &format!("{cut} on a pipe"), &done));
        if done.code != 1 {
            all.push(format!("{cut} on a pipe: exit code {}: {}", done.code, tail(&done.stderr)));
        }
        let ground = Ground::new();
        let done = ground.extract(archive, Way::Pipe);
        all.extend(wrong(&ground, &format!("{cut} extracted"), &done));
        if done.code != 1 {
            all.push(format!("{cut} extracted: exit code {}: {}", done.code, tail(&done.stderr)));
        }
    }
    assert!(all.is_empty(), "{} findings:\n{}", all.len(), all.join("\n"));
}

#[path = "../../fuzz/src/bodies.rs"]
mod bodies;

/// A sound archive with a few bytes changed, cut, doubled or moved.
fn broken(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=random.below(4) {
        let length = bytes.len().max(1) as u64;
        let (at, to) = (random.below(length) as usize, random.below(length) as usize);
        let block = (at / 512 * 512, (at / 512 * 512 + 512).min(bytes.len()));
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(block.0..block.1)),
            2 => bytes.extend_from_within(block.0..block.1),
            3 => bytes[at] = random.below(256) as u8,
            4 => bytes[at] ^= 1 << random.below(8),
            _ => bytes.swap(at, to),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn the_bodies_of_the_fuzz_targets_hold() {
    let golden = include_bytes!("../golden/v1-small.tar");
    let forged = sound().sealed();
    let mut random = Random(365);
    for _ in 0..if soak() { 200_000 } else { 5_000 } {
        for whole in [&golden[..], &forged] {
            let bytes = broken(whole, &mut random);
            bodies::archive_reader(&bytes);
            bodies::index(&bytes);
        }
    }
    let pieces =
        ["u", "i", "e", "s", "*", "**", "/", "?", "[a-", "]", "{a,b}", "\\", "\n", "ü", "a"];
    for _ in 0..if soak() { 500_000 } else { 20_000 } {
        let text: String =
            (0..random.below(24)).map(|_| pieces[random.below(15) as usize]).collect();
        bodies::selection(text.as_bytes());
    }
}
