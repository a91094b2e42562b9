//! Same content, same bytes; a change in the tenant changes what it must and nothing else.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use simulator::{Fault, Limits, Options, Profile};

use crate::harness::{Run, Tenant, run, sha256, text, verify};
use crate::soak::soak;

/// Faults that an export must leave no trace of.
const FAULTS: &[&[&str]] = &[
    &[],
    &["throttle:rate=0.02,seconds=0.15", "reset:rate=0.01"],
    &["throttle-bare:rate=0.005", "unavailable:rate=0.02,seconds=0.1"],
    &["server-error:rate=0.01", "empty-503:rate=0.005", "html-error:rate=0.005"],
    &["truncate:rate=0.05", "timeout:rate=0.02"],
    &["token-expiry:after=20", "token-expiry:after=90", "repeat:rate=0.5"],
    &["delta-gone:times=1", "reorder:rate=0.5"],
    &["repeat", "reorder", "reset:rate=0.03", "truncate:rate=0.02"],
    &["url-expired:times=2", "no-length"],
    &["range-ignored", "url-expired:times=1", "truncate:rate=0.1,match=download.aspx"],
];
const CONCURRENCY: [&str; 3] = ["1", "4", "32"];
const PAGES: [Option<usize>; 4] = [None, Some(1), Some(7), Some(100)];
const PLACES: [(&str, &str); 4] = [
    ("UTC", "C"),
    ("Asia/Kathmandu", "de_DE.UTF-8"),
    ("America/St_Johns", "tr_TR.UTF-8"),
    ("Pacific/Kiritimati", "ja_JP.eucJP"),
];

/// One way to run the same export.
#[derive(Debug, Clone)]
struct Way {
    concurrency: &'static str,
    page_cap: Option<usize>,
    reorder: bool,
    faults: &'static [&'static str],
    place: (&'static str, &'static str),
}

/// Numbers that look random and are not.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn ways(profile: Profile) -> Vec<Way> {
    let mut ways = Vec::new();
    for concurrency in CONCURRENCY {
        for page_cap in PAGES {
            for reorder in [false, true] {
                for faults in FAULTS {
                    for place in PLACES {
                        ways.push(Way { concurrency, page_cap, reorder, faults, place });
                    }
                }
            }
        }
    }
    if soak() {
        return ways;
    }
    // Every set of faults, with everything else drawn; with ordinary names twice.
    let (rounds, seed) = if profile == Profile::Plain { (2, 0x365) } else { (1, 0x5363) };
    let mut dice = Dice(seed << 32 | seed);
    let draw = |number: usize| {
        let faults = FAULTS[number % FAULTS.len()];
        let fitting: Vec<&Way> = ways.iter().filter(|way| way.faults == faults).collect();
        fitting[dice.below(fitting.len())].clone()
    };
    (0..rounds * FAULTS.len()).map(draw).collect()
}

fn options(profile: Profile) -> Options {
    Options { users: 2, mails: 70, files: 24, profile, limits: None, ..Options::default() }
}

fn export(options: Options, way: &Way) -> (Tenant, Run) {
    let faults = way.faults.iter().map(|fault| fault.parse::<Fault>().unwrap()).collect();
    let (page_cap, reorder) = (way.page_cap, way.reorder);
    let limits = Some(Limits::default());
    let tenant = Tenant::start(Options { faults, page_cap, reorder, limits, ..options });
    let mut command = tenant.tar365(&["export", "--concurrency", way.concurrency]);
    command.env("TZ", way.place.0).env("LANG", way.place.1).env("LC_ALL", way.place.1);
    let run = run(command);
    (tenant, run)
}

#[track_caller]
fn assert_same(found: &[u8], expected: &[u8], why: &str) {
    if found != expected {
        let at = found.iter().zip(expected).take_while(|(a, b)| a == b).count();
        let member = members(expected).into_iter().find(|member| member.bytes.contains(&at));
        let show = |bytes: &[u8]| {
            let near = at.saturating_sub(120)..(at + 120).min(bytes.len());
            String::from_utf8_lossy(&bytes[near]).into_owned()
        };
        panic!(
            "{why}: differ at {at}, in {:?}\nfound:    {}\nexpected: {}",
            member.map(|member| member.path),
            show(found),
            show(expected)
        );
    }
}

fn same_in_every_way(profile: Profile) {
    let plain = Tenant::start(options(profile)).export(&[]).expect(0).stdout;
    verify(&plain);
    let ways = ways(profile);
    let (next, struck) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    // Most of the time they wait for a service that told them to.
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                while let Some((number, way)) =
                    Some(next.fetch_add(1, Relaxed)).and_then(|at| Some((at, ways.get(at)?)))
                {
                    let (tenant, run) =
                        export(Options { fault_seed: number as u64, ..options(profile) }, way);
                    let run = run.expect(0);
                    struck
                        .lock()
                        .unwrap()
                        .extend(tenant.simulator.log().counts().by_fault.into_keys());
                    assert_same(&run.stdout, &plain, &format!("{way:?}"));
                }
            });
        }
    });
    let struck = struck.into_inner().unwrap();
    assert!(struck.len() > 8, "hardly any fault struck: {struck:?}");
}

/// A member as it lies in the stream, found by a reader of our own.
#[derive(Debug, Clone)]
struct Raw {
    path: String,
    /// All of it: `x` header, header, content, padding.
    bytes: Range<usize>,
    content: Range<usize>,
}

fn members(archive: &[u8]) -> Vec<Raw> {
    let (mut members, mut at) = (Vec::new(), 0);
    while archive[at..at + 512].iter().any(|byte| *byte != 0) {
        let (start, mut path) = (at, None);
        let size = |at: usize| {
            let digits = std::str::from_utf8(&archive[at + 124..at + 135]).unwrap();
            usize::from_str_radix(digits, 8).unwrap()
        };
        if archive[at + 156] == b'x' {
            let mut records = &archive[at + 512..at + 512 + size(at)];
            while !records.is_empty() {
                let space = records.iter().position(|byte| *byte == b' ').unwrap();
                let length: usize =
                    std::str::from_utf8(&records[..space]).unwrap().parse().unwrap();
                let record = std::str::from_utf8(&records[space + 1..length - 1]).unwrap();
                path = record.strip_prefix("path=").map(str::to_owned).or(path);
                records = &records[length..];
            }
            at += 512 + size(at).next_multiple_of(512);
        }
        let name = archive[at..at + 100].split(|byte| *byte == 0).next().unwrap();
        let path = path.unwrap_or_else(|| String::from_utf8(name.to_vec()).unwrap());
        let content = at + 512..at + 512 + size(at);
        at = content.start + content.len().next_multiple_of(512);
        members.push(Raw { path, bytes: start..at, content });
    }
    assert_eq!(archive.len(), at + 1024, "two end blocks");
    members
}

/// What a change of the tenant did to the archive.
#[derive(Debug, Default)]
struct Difference {
    /// Paths only before, only after.
    gone: Vec<String>,
    new: Vec<String>,
    /// Members whose bytes, header included, are not the same.
    changed: Vec<String>,
}

fn lines<'a>(archive: &'a [u8], path: &str) -> Vec<&'a [u8]> {
    let member = members(archive).into_iter().find(|member| member.path == path).unwrap();
    archive[member.content].split(|byte| *byte == b'\n').collect()
}

/// Compares member by member; those in both must have kept their order.
fn compare(before: &[u8], after: &[u8]) -> Difference {
    let (old, new) = (members(before), members(after));
    let names = |members: &[Raw]| members.iter().map(|m| m.path.clone()).collect::<Vec<_>>();
    let (old_names, new_names) = (names(&old), names(&new));
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|name| !those.contains(name)).cloned().collect::<Vec<_>>()
    };
    let difference = Difference {
        gone: only(&old_names, &new_names),
        new: only(&new_names, &old_names),
        changed: old
            .iter()
            .filter_map(|member| {
                Some((member, new.iter().find(|other| other.path == member.path)?))
            })
            .filter(|(a, b)| before[a.bytes.clone()] != after[b.bytes.clone()])
            .map(|(member, _)| member.path.clone())
            .collect(),
    };
    let kept = |names: &[String], others: &[String]| {
        names.iter().filter(|name| others.contains(name)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(kept(&old_names, &new_names), kept(&new_names, &old_names), "order");
    difference
}

/// The numbers of the lines of a member that are not the same.
fn changed_lines(before: &[u8], after: &[u8], path: &str) -> Vec<usize> {
    let (old, new) = (lines(before, path), lines(after, path));
    assert_eq!(old.len(), new.len(), "{path}");
    (0..old.len()).filter(|at| old[*at] != new[*at]).collect()
}

const TAIL: [&str; 2] = [archive::MANIFEST_PATH, archive::SEAL_PATH];

fn export_of(tenant: &Tenant) -> Vec<u8> {
    let archive = tenant.export(&[]).expect(0).stdout;
    verify(&archive);
    archive
}

/// A tenant, its first user's mail section, and the archive of it.
fn start() -> (Tenant, String, String, Vec<u8>) {
    let tenant = Tenant::start(Options { special_users: false, ..options(Profile::Plain) });
    let user = tenant.simulator.tenant().users()[0].clone();
    let before = export_of(&tenant);
    assert_same(&export_of(&tenant), &before, "the same again");
    (tenant, user.id, format!("users/{}/mail", user.upn), before)
}

fn path_of(archive: &[u8], section: &str, id: &str) -> String {
    let metadata = format!("{section}.ndjson");
    let lines = lines(archive, &metadata);
    let mut values =
        lines.iter().filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let line = values.find(|line| text(line, "id") == id).unwrap();
    text(&line, "path").to_owned()
}

#[test]
fn the_same_in_every_way() {
    same_in_every_way(Profile::Plain);
}

#[test]
fn the_same_in_every_way_with_nasty_names() {
    same_in_every_way(Profile::Nasty);
}

#[test]
fn a_read_flag_changes_its_line_the_manifest_line_and_the_seal() {
    let (tenant, user, section, before) = start();
    let world = tenant.simulator.tenant();
    let metadata = format!("{section}.ndjson");
    let changes: [&dyn Fn(&str); 3] = [
        &|id| world.set_read(&user, id, false).unwrap(),
        &|id| world.set_flag(&user, id, true).unwrap(),
        &|id| {
            world.set_categories(&user, id, vec!["Ä".to_owned(), "a category".to_owned()]).unwrap()
        },
    ];
    let mut before = before;
    for (change, at) in changes.iter().zip([5, 30, 57]) {
        let mail = &world.messages(&user).unwrap()[at];
        change(&mail.id);
        let after = export_of(&tenant);
        let difference = compare(&before, &after);
        assert_eq!((difference.gone.len(), difference.new.len()), (0, 0));
        assert_eq!(difference.changed, [metadata.as_str(), TAIL[0], TAIL[1]]);
        let changed = changed_lines(&before, &after, &metadata);
        assert_eq!(changed.len(), 1);
        let line: serde_json::Value =
            serde_json::from_slice(lines(&after, &metadata)[changed[0]]).unwrap();
        assert_eq!(text(&line, "id"), mail.id);
        let manifest = changed_lines(&before, &after, TAIL[0]);
        assert_eq!(manifest.len(), 1);
        let line: serde_json::Value =
            serde_json::from_slice(lines(&after, TAIL[0])[manifest[0]]).unwrap();
        assert_eq!(text(&line, "path"), metadata);
        before = after;
    }
}

/// The contents of a section in stream order, whatever their names.
fn contents(archive: &[u8], section: &str) -> Vec<String> {
    let below = format!("{section}/");
    let items = members(archive)
        .into_iter()
        .filter(|m| m.path.starts_with(&below) && !m.path.ends_with('/'));
    items.map(|member| sha256(&archive[member.content])).collect()
}

#[test]
fn a_move_and_a_rename_change_names_in_place() {
    let (tenant, user, section, before) = start();
    let world = tenant.simulator.tenant();
    let metadata = format!("{section}.ndjson");
    let mail = &world.messages(&user).unwrap()[40];
    let old = path_of(&before, &section, &mail.id);
    let folder = world.add_folder(&user, "archive", "Neu").unwrap();
    let with_folder = export_of(&tenant);
    world.move_message(&user, &mail.id, &folder).unwrap();
    let after = export_of(&tenant);
    let difference = compare(&with_folder, &after);
    let new = path_of(&after, &section, &mail.id);
    assert_eq!((difference.gone, difference.new), (vec![old], vec![new.clone()]));
    assert!(new.contains("/Neu/"), "{new}");
    assert_eq!(difference.changed, [metadata.as_str(), TAIL[0], TAIL[1]]);
    assert_eq!(contents(&with_folder, &section), contents(&after, &section));
    // A folder with folders and mails in it gets another name.
    let inbox =
        world.folders(&user).unwrap().into_iter().find(|f| f.well_known == Some("inbox")).unwrap();
    let below = |archive: &[u8], name: &str| {
        let prefix = format!("{section}/{name}/");
        members(archive)
            .into_iter()
            .filter(|m| m.path.starts_with(&prefix))
            .map(|m| m.path)
            .collect::<Vec<_>>()
    };
    let affected = below(&after, &inbox.path[0]);
    world.rename_folder(&user, "inbox", "Eingang").unwrap();
    let renamed = export_of(&tenant);
    let difference = compare(&after, &renamed);
    assert_eq!(difference.gone, affected);
    assert_eq!(difference.new, below(&renamed, "Eingang"));
    assert!(difference.gone.len() > 30);
    assert_eq!(difference.changed, [metadata.as_str(), TAIL[0], TAIL[1]]);
    assert_eq!(contents(&after, &section), contents(&renamed, &section));
}

#[test]
fn deleting_and_adding_leave_everything_else() {
    let (tenant, user, section, before) = start();
    let world = tenant.simulator.tenant();
    let metadata = format!("{section}.ndjson");
    let mail = &world.messages(&user).unwrap()[33];
    let gone = path_of(&before, &section, &mail.id);
    world.delete_message(&user, &mail.id).unwrap();
    let without = export_of(&tenant);
    let difference = compare(&before, &without);
    assert_eq!((difference.gone, difference.new.len()), (vec![gone], 0));
    assert_eq!(difference.changed, [metadata.as_str(), TAIL[0], TAIL[1]]);
    let id = world.add_message(&user, "inbox", b"Subject: late\r\n\r\nlate\r\n").unwrap();
    let with = export_of(&tenant);
    let difference = compare(&without, &with);
    assert_eq!((difference.gone.len(), difference.new), (0, vec![path_of(&with, &section, &id)]));
    assert_eq!(difference.changed, [metadata.as_str(), TAIL[0], TAIL[1]]);
    // Files: a new version, a rename, a deletion, a new one.
    let drive = section.replace("/mail", "/onedrive");
    let metadata = format!("{drive}.ndjson");
    let files = world.files(&user).unwrap();
    let name = |at: usize| files[at].path.join("/");
    let path = |archive: &[u8], at: usize| path_of(archive, &drive, &files[at].id);
    world.put_file(&user, &name(7), b"other bytes").unwrap();
    let changed = export_of(&tenant);
    let difference = compare(&with, &changed);
    assert_eq!((difference.gone.len(), difference.new.len()), (0, 0));
    assert_eq!(difference.changed, [metadata.as_str(), &path(&with, 7), TAIL[0], TAIL[1]]);
    world.rename_file(&user, &name(9), "anders.bin").unwrap();
    world.delete_file(&user, &name(12)).unwrap();
    world.put_file(&user, "ganz neu.txt", b"new").unwrap();
    let last = export_of(&tenant);
    let difference = compare(&changed, &last);
    let gone: BTreeSet<String> = difference.gone.into_iter().collect();
    let mut expected = BTreeSet::from([path(&changed, 9), path(&changed, 12)]);
    assert_eq!(gone, expected);
    expected = BTreeSet::from([path(&last, 9), format!("{drive}/ganz neu.txt")]);
    assert_eq!(difference.new.into_iter().collect::<BTreeSet<_>>(), expected);
    assert_eq!(difference.changed, [metadata.as_str(), TAIL[0], TAIL[1]]);
}
