//! `export --base`: what it gives is what a full export gives, byte by byte, and the service is
//! asked for nothing that has not changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use simulator::{Fault, Host, Options, Profile, Record};
use tempfile::TempDir;

use crate::harness::{Archive, Run, Tenant, text, verify};
use crate::soak::soak;

pub fn small() -> Options {
    Options { users: 2, mails: 60, files: 30, ..Options::default() }
}

/// A folder for archives of one test.
pub struct Shelf(TempDir);

impl Shelf {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The numbers of the run that wrote this report.
    pub fn summary(&self, name: &str) -> Value {
        let report = std::fs::read(self.path(name)).unwrap();
        serde_json::from_slice::<Value>(&report).unwrap()["summary"].clone()
    }
}

/// The two ways to name a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    File,
    Pipe,
}

pub const WAYS: [Way; 2] = [Way::File, Way::Pipe];

/// An export on a base, and what came of it.
pub struct Night {
    pub run: Run,
    pub summary: Value,
    /// What the service was asked.
    pub asked: Vec<Record>,
}

impl Night {
    pub fn number(&self, name: &str) -> u64 {
        self.summary[name].as_u64().unwrap_or_else(|| panic!("no number {name}"))
    }
}

/// An export on a base of these bytes; only its own requests are in the log after it.
pub fn night(tenant: &Tenant, base: &[u8], way: Way, flags: &[&str]) -> Night {
    let shelf = Shelf::new();
    let path = shelf.put("base.tar", base);
    let report = shelf.path("report.json");
    let named = match way {
        Way::File => ["--base".to_owned(), path],
        Way::Pipe => ["--base-command".to_owned(), format!("cat '{path}'")],
    };
    let mut arguments = vec![named[0].as_str(), &named[1], "--report", report.to_str().unwrap()];
    arguments.extend(flags);
    tenant.simulator.log().clear();
    let run = tenant.export(&arguments);
    let asked = tenant.simulator.log().records();
    Night { run, summary: shelf.summary("report.json"), asked }
}

/// The ids of the items whose content was given, as often as it was. What the service refuses
/// (parts of notebooks) is in no base and is asked for each night.
pub fn contents(asked: &[Record]) -> Vec<String> {
    let asked = asked.iter().filter(|record| (200..400).contains(&record.status));
    let id = |record: &Record| {
        let path = record.path.strip_suffix("/$value").or(record.path.strip_suffix("/content"))?;
        let encoded = path.rsplit('/').next()?;
        Some(percent_decoded(encoded))
    };
    asked.filter_map(id).collect()
}

pub fn percent_decoded(text: &str) -> String {
    text.replace("%3D", "=").replace("%3d", "=").replace("%2D", "-").replace("%5F", "_")
}

/// All requests but those for content, in no order.
fn listings(asked: &[Record]) -> Vec<String> {
    let is_content = |record: &&Record| {
        let path = &record.path;
        path.ends_with("/$value") || path.ends_with("/content") || record.host == Host::Download
    };
    let others = asked.iter().filter(|record| !is_content(record));
    let mut all: Vec<_> = others.map(|r| format!("{} {}", r.method, r.path)).collect();
    all.sort();
    all
}

#[track_caller]
pub fn same(got: &[u8], wanted: &[u8], what: &str) {
    if got == wanted {
        return;
    }
    let at = got.iter().zip(wanted).take_while(|(one, other)| one == other).count();
    let (got, wanted) = (Archive::new(got), Archive::new(wanted));
    let all = got.members.iter().zip(&wanted.members);
    let first = all.into_iter().find(|(g, w)| (&g.path, &g.content) != (&w.path, &w.content));
    let first = first.map(|(g, w)| (&g.path, &w.path));
    panic!("{what}: other bytes from {at} on; {first:?}");
}

#[test]
fn an_unchanged_tenant_costs_no_content() {
    for profile in [Profile::Plain, Profile::Nasty] {
        let tenant = Tenant::start(Options { profile, ..small() });
        tenant.simulator.log().clear();
        let whole = tenant.export(&[]).expect(0).stdout;
        let all = tenant.simulator.log().records();
        verify(&whole);
        for way in WAYS {
            for flags in [&[][..], &["--concurrency", "1"], &["--align", "4096"]] {
                let night = night(&tenant, &whole, way, flags);
                assert_eq!(night.run.code, 0, "{}", night.run.stderr);
                assert_eq!(contents(&night.asked), [""; 0], "{profile:?} {way:?}");
                assert_eq!(listings(&night.asked), listings(&all), "{profile:?} {way:?}");
                assert_eq!(night.number("from_base"), night.number("items"));
                let wanted = tenant.export(flags).expect(0).stdout;
                same(&night.run.stdout, &wanted, &format!("{profile:?} {way:?} {flags:?}"));
            }
        }
        // A base that is compressed is one on a pipe; one that is aligned has other headers.
        for flag in [["--compress", "zstd"], ["--align", "4096"]] {
            let other = tenant.export(&flag).expect(0).stdout;
            let night = night(&tenant, &other, Way::File, &[]);
            same(&night.run.expect(0).stdout, &whole, flag[1]);
            assert_eq!(contents(&night.asked), [""; 0], "{flag:?}");
        }
    }
}

/// What a day brings, by ids.
#[derive(Default)]
struct Day {
    /// Content that the base can't have.
    new: BTreeSet<String>,
    /// Items whose change key has moved.
    touched: BTreeSet<String>,
}

/// A day in the life of an owner: mails come, go, move and are read, files change.
fn live(tenant: &Tenant, user: &str, day: &mut Day) {
    let office = tenant.simulator.tenant();
    let mails = office.messages(user).unwrap();
    let folders = office.folders(user).unwrap();
    let inbox = folders.iter().find(|f| f.well_known == Some("inbox")).unwrap();
    for number in 0..5 {
        let eml = format!("Subject: new {number}\r\n\r\nsince yesterday\r\n");
        day.new.insert(office.add_message(user, &inbox.id, eml.as_bytes()).unwrap());
    }
    let mut rest = mails.iter();
    for mail in rest.by_ref().take(3) {
        office.delete_message(user, &mail.id).unwrap();
    }
    for mail in rest.by_ref().take(3) {
        let other = folders.iter().find(|f| f.id != mail.folder && !f.search).unwrap();
        office.move_message(user, &mail.id, &other.id).unwrap();
        day.touched.insert(mail.id.clone());
    }
    for (number, mail) in rest.by_ref().take(8).enumerate() {
        match number % 3 {
            0 => office.set_read(user, &mail.id, !mail.is_read).unwrap(),
            1 => office.set_flag(user, &mail.id, mail.flag != "flagged").unwrap(),
            _ => office.set_categories(user, &mail.id, vec!["Red".to_owned()]).unwrap(),
        }
        day.touched.insert(mail.id.clone());
    }
    let path = |trail: &[String]| trail.join("/");
    let files = office.files(user).unwrap();
    let mut rest = files.iter().filter(|file| !file.malware);
    for number in 0..2 {
        let added = office.put_file(user, &format!("Neu/{number}.txt"), b"a new file").unwrap();
        day.new.insert(added);
        let file = rest.next().unwrap();
        let bytes = format!("another version of {}", file.path.join("/"));
        day.new.insert(office.put_file(user, &path(&file.path), bytes.as_bytes()).unwrap());
    }
    office.delete_file(user, &path(&rest.next().unwrap().path)).unwrap();
    let file = rest.next().unwrap();
    office.rename_file(user, &path(&file.path), "another name.bin").unwrap();
    day.touched.insert(file.id.clone());
    let file = rest.next().unwrap();
    office.move_file(user, &path(&file.path), "Archiv/2026").unwrap();
    day.touched.insert(file.id.clone());
    let file = rest.next().unwrap();
    office.touch(user, &path(&file.path)).unwrap();
    day.touched.insert(file.id.clone());
}

#[test]
fn the_second_day_fetches_what_the_day_has_changed() {
    for profile in [Profile::Plain, Profile::Nasty] {
        let tenant = Tenant::start(Options { profile, ..small() });
        let first = tenant.export(&[]).expect(0).stdout;
        let mut day = Day::default();
        for user in tenant.simulator.tenant().users().iter().take(2) {
            live(&tenant, &user.id, &mut day);
        }
        tenant.simulator.log().clear();
        let whole = tenant.export(&[]).expect(0).stdout;
        let all = tenant.simulator.log().records();
        for way in WAYS {
            let night = night(&tenant, &first, way, &[]);
            same(&night.run.expect(0).stdout, &whole, &format!("{profile:?} {way:?}"));
            let fetched = contents(&night.asked);
            let once: BTreeSet<String> = fetched.iter().cloned().collect();
            assert_eq!(fetched.len(), once.len(), "something was fetched twice");
            let missing: Vec<_> = day.new.difference(&once).collect();
            assert!(missing.is_empty(), "{way:?}: not fetched: {missing:?}");
            let allowed: BTreeSet<_> = day.new.union(&day.touched).cloned().collect();
            let needless: Vec<_> = once.difference(&allowed).collect();
            assert!(needless.is_empty(), "{way:?}: fetched without need: {needless:?}");
            assert_eq!(listings(&night.asked), listings(&all), "{way:?}");
        }
    }
}

#[test]
fn new_names_cost_no_content() {
    let tenant = Tenant::start(small());
    let first = tenant.export(&[]).expect(0).stdout;
    let office = tenant.simulator.tenant();
    let users = office.users();
    let user = &users[0].id;
    for folder in office.folders(user).unwrap().iter().filter(|f| f.well_known.is_none()).take(3) {
        if !folder.search {
            office.rename_folder(user, &folder.id, "Umbenannt / neu").unwrap();
        }
    }
    let folder =
        office.files(user).unwrap().iter().find(|f| f.path.len() > 1).unwrap().path[0].clone();
    office.rename_file(user, &folder, "Anders als zuvor").unwrap();
    office.rename_user(user, "somebody.else@contoso.onmicrosoft.com").unwrap();
    let whole = tenant.export(&[]).expect(0).stdout;
    assert!(whole != first);
    for way in WAYS {
        let night = night(&tenant, &first, way, &[]);
        same(&night.run.expect(0).stdout, &whole, &format!("{way:?}"));
        assert_eq!(contents(&night.asked), [""; 0], "{way:?}");
    }
}

/// Users who come and go, and a selection of them: the base has sections that we have not, and
/// the other way round.
#[test]
fn sections_that_only_one_side_has_are_no_obstacle() {
    let tenant = Tenant::start(Options { users: 5, mails: 10, files: 5, ..Options::default() });
    let users = tenant.simulator.tenant().users();
    let some = ["--user", &users[1].upn, "--user", &users[3].upn];
    let (all, part) = (tenant.export(&[]).expect(0).stdout, tenant.export(&some).expect(0).stdout);
    let mails = tenant.export(&["--service", "mail"]).expect(0).stdout;
    for way in WAYS {
        let less = night(&tenant, &all, way, &some);
        same(&less.run.expect(0).stdout, &part, "less than the base");
        assert_eq!(contents(&less.asked), [""; 0]);
        let more = night(&tenant, &part, way, &[]);
        same(&more.run.expect(0).stdout, &all, "more than the base");
        let known: BTreeSet<_> = ids(&part);
        assert!(contents(&more.asked).iter().all(|id| !known.contains(id)), "{way:?}");
        let more = night(&tenant, &mails, way, &[]);
        same(&more.run.expect(0).stdout, &all, "another service");
        let only = night(&tenant, &all, way, &["--service", "onedrive"]);
        only.run.expect(0);
        assert_eq!(contents(&only.asked), [""; 0]);
    }
}

/// The ids of all items that an archive has content of.
pub fn ids(archive: &[u8]) -> BTreeSet<String> {
    let archive = Archive::new(archive);
    let sections = archive.members.iter().filter(|m| m.path.ends_with(".ndjson"));
    let sections = sections.filter_map(|m| m.path.strip_suffix(".ndjson"));
    sections.flat_map(|section| archive.items(section).into_keys()).collect()
}

fn boundaries(mail: &[u8]) -> usize {
    mail.windows(9).filter(|window| *window == b"boundary=").count()
}

#[test]
fn a_mail_that_differs_in_its_boundaries_only_stays_what_it_was() {
    let tenant = Tenant::start(Options { users: 1, mails: 40, special_users: false, ..small() });
    tenant.simulator.set_faults(vec!["unstable-mime".parse::<Fault>().unwrap()]);
    let first = tenant.export(&[]).expect(0).stdout;
    assert!(tenant.export(&[]).expect(0).stdout != first, "boundaries are made anew");
    let before = Archive::new(&first);
    let office = tenant.simulator.tenant();
    let user = office.users().remove(0);
    let section = format!("users/{}/mail", user.upn);
    let mut touched = BTreeMap::new();
    for (id, mail) in before.items(&section).into_iter().step_by(3) {
        office.set_flag(&user.id, &id, true).unwrap();
        office.set_categories(&user.id, &id, vec!["Blue".to_owned()]).unwrap();
        touched.insert(id, boundaries(&mail.content));
    }
    let parted = touched.values().filter(|boundaries| **boundaries > 0).count() as u64;
    assert!(parted > 3 && parted < touched.len() as u64, "{parted} of {}", touched.len());
    for way in WAYS {
        let night = night(&tenant, &first, way, &[]);
        assert_eq!(night.number("kept"), parted, "{way:?}");
        assert_eq!(contents(&night.asked).len(), touched.len());
        let now = night.run.expect(0).stdout;
        verify(&now);
        let now = Archive::new(&now);
        for (id, mail) in now.items(&section) {
            assert!(mail.content == before.items(&section)[&id].content, "{way:?}: {}", mail.path);
        }
        // What the service has is compared, and is the same.
        let again = self::night(&tenant, &first, way, &["--full-reread", "100%"]);
        assert_eq!(again.number("drifted"), 0, "{way:?}: {}", again.run.stderr);
        let items = again.number("items");
        assert_eq!(again.number("reread"), items - touched.len() as u64, "{way:?}");
        assert_eq!(contents(&again.asked).len() as u64, items);
    }
}

/// What came by a fallback is told again each night.
#[test]
fn what_was_converted_is_told_again() {
    let tenant = Tenant::start(Options { users: 1, mails: 40, ..small() });
    tenant.simulator.set_faults(vec!["mime:rate=0.3".parse::<Fault>().unwrap()]);
    let whole = tenant.export(&[]).expect(0).stdout;
    let converted = Archive::new(&whole).ledger();
    let converted = converted.iter().filter(|line| text(line, "outcome") == "converted").count();
    assert!(converted > 5, "{converted}");
    for way in WAYS {
        let night = night(&tenant, &whole, way, &[]);
        same(&night.run.expect(0).stdout, &whole, &format!("{way:?}"));
        if way == Way::File {
            assert_eq!(contents(&night.asked), [""; 0]);
        }
        let again = self::night(&tenant, &whole, way, &["--full-reread", "100%"]);
        assert_eq!(again.number("drifted"), 0);
        same(&again.run.expect(0).stdout, &whole, &format!("{way:?} again"));
    }
}

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit as u64) as usize
    }
}

/// Any edit to any user.
fn edit(tenant: &Tenant, dice: &mut Dice, serial: usize) {
    let office = tenant.simulator.tenant();
    let users: Vec<_> = office.users().into_iter().filter(|user| user.drive.is_some()).collect();
    let user = &users[dice.below(users.len())].id;
    let mails = office.messages(user).unwrap();
    let folders: Vec<_> = office.folders(user).unwrap().into_iter().filter(|f| !f.search).collect();
    let files = office.files(user).unwrap();
    let folder = &folders[dice.below(folders.len())];
    // There may be nothing left to change.
    let Some(mail) = mails.get(dice.below(mails.len().max(1))) else { return };
    let Some(file) = files.get(dice.below(files.len().max(1))) else { return };
    let path = file.path.join("/");
    // An edit that the tenant refuses (a folder into itself) is none.
    let refused = match dice.below(14) {
        0 | 1 => {
            let eml = format!(
                "Subject: {serial}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\n{serial}"
            );
            office.add_message(user, &folder.id, eml.as_bytes()).is_err()
        }
        2 => office.delete_message(user, &mail.id).is_err(),
        3 => office.move_message(user, &mail.id, &folder.id).is_err(),
        4 => office.set_read(user, &mail.id, !mail.is_read).is_err(),
        5 => office.set_flag(user, &mail.id, true).is_err(),
        6 => office.add_folder(user, &folder.id, &format!("Ordner {serial}")).is_err(),
        7 if folder.well_known.is_none() => {
            office.rename_folder(user, &folder.id, &format!("Neuer Name {serial}")).is_err()
        }
        8 => office.put_file(user, &path, format!("content {serial}").as_bytes()).is_err(),
        9 => office.put_file(user, &format!("a/b/{serial}.txt"), b"new").is_err(),
        10 => office.delete_file(user, &path).is_err(),
        11 => office.rename_file(user, &path, &format!("{serial} renamed.bin")).is_err(),
        12 => {
            office.rename_user(user, &format!("renamed.{serial}@contoso.onmicrosoft.com")).is_err()
        }
        _ => office.move_file(user, &path, &format!("c/{}", serial % 3)).is_err(),
    };
    assert!(!refused || path.is_empty(), "an edit of {path} was refused");
}

#[test]
fn ten_nights_on_a_base_are_ten_full_exports() {
    for seed in 0..if soak() { 40 } else { 2 } {
        let profile = if seed % 2 == 0 { Profile::Plain } else { Profile::Nasty };
        let tenant = Tenant::start(Options {
            users: 2,
            mails: 15,
            files: 10,
            seed: 1000 + seed,
            profile,
            ..Options::default()
        });
        let mut dice = Dice(seed);
        let mut base = tenant.export(&[]).expect(0).stdout;
        for number in 0..10 {
            for serial in 0..dice.below(12) {
                edit(&tenant, &mut dice, number * 100 + serial);
            }
            let whole = tenant.export(&[]).expect(0).stdout;
            let way = WAYS[dice.below(2)];
            let night = night(&tenant, &base, way, &[]);
            base = night.run.expect(0).stdout;
            same(&base, &whole, &format!("seed {seed}, night {number}, {way:?}"));
            verify(&base);
        }
    }
}

/// Content that was changed behind the service's back.
pub fn rebuilt(
    whole: &[u8],
    head: impl FnOnce(&mut archive::Head),
    mut content: impl FnMut(&str, &mut Vec<u8>),
) -> Vec<u8> {
    use archive::writer::{FileMember, Options};
    use sha2::Digest;
    let spool_dir = std::env::temp_dir();
    let mut writer = archive::Writer::new(Vec::new(), Options { align: None, spool_dir }).unwrap();
    let mut head = Some(head);
    for member in Archive::new(whole).members {
        let (path, mtime) = (member.path.as_str(), member.mtime);
        let mut bytes = member.content;
        match path {
            archive::HEAD_PATH => {
                let mut parsed = archive::Head::parse(&bytes).unwrap();
                head.take().unwrap()(&mut parsed);
                writer.head(&parsed).unwrap();
            }
            archive::MANIFEST_PATH => {}
            archive::LEDGER_PATH => {
                for line in String::from_utf8(bytes).unwrap().lines() {
                    writer.ledger(&archive::LedgerLine::parse(line).unwrap()).unwrap();
                }
            }
            _ if member.is_directory => writer.directory(path, mtime).unwrap(),
            _ => {
                content(path, &mut bytes);
                let sha256 = sha2::Sha256::digest(&bytes).into();
                let (size, item) = (bytes.len() as u64, !path.ends_with(".ndjson"));
                let file = FileMember { path, mtime, size, sha256, item };
                writer.file(&file, &mut bytes.as_slice()).unwrap();
            }
        }
    }
    writer.finish(None).unwrap().0
}

#[test]
fn what_has_drifted_is_found_and_the_present_wins() {
    let tenant = Tenant::start(Options { users: 1, special_users: false, ..small() });
    let whole = tenant.export(&[]).expect(0).stdout;
    same(&rebuilt(&whole, |_| {}, |_, _| {}), &whole, "rebuilt as it was");
    let mut changed = 0;
    let drifted = rebuilt(
        &whole,
        |_| {},
        |path, bytes| {
            if path.contains("/mail/") && changed < 7 {
                bytes.extend_from_slice(b"drifted");
                changed += 1;
            }
        },
    );
    verify(&drifted);
    for way in WAYS {
        // Nobody looks: the base is believed.
        let trusting = night(&tenant, &drifted, way, &[]);
        same(&trusting.run.expect(0).stdout, &drifted, "the base is believed");
        let night = night(&tenant, &drifted, way, &["--full-reread", "100%"]);
        assert_eq!((night.number("reread"), night.number("drifted")), (night.number("items"), 7));
        assert!(night.run.stderr.contains("differs from the base"), "{}", night.run.stderr);
        same(&night.run.expect(0).stdout, &whole, "the present wins");
    }
}

#[test]
fn the_sample_of_a_reread_is_the_same_each_time() {
    let tenant = Tenant::start(Options { users: 2, mails: 200, ..small() });
    let whole = tenant.export(&[]).expect(0).stdout;
    let sample = |way, percent| {
        let night = night(&tenant, &whole, way, &["--full-reread", percent]);
        assert_eq!(night.number("reread"), contents(&night.asked).len() as u64);
        assert_eq!(night.number("drifted"), 0);
        let all = night.number("items");
        same(&night.run.expect(0).stdout, &whole, percent);
        (contents(&night.asked).into_iter().collect::<BTreeSet<_>>(), all as usize)
    };
    let (tenth, all) = sample(Way::File, "10%");
    assert!(tenth.len() > all / 20 && tenth.len() < all / 5, "{} of {all}", tenth.len());
    assert_eq!(sample(Way::Pipe, "10%").0, tenth);
    // A larger one has all of the smaller.
    let (half, _) = sample(Way::File, "50%");
    assert!(half.len() < all * 2 / 3 && half.is_superset(&tenth), "{} of {all}", half.len());
}

/// What is unchanged, but can't be had when it is looked at again, is not lost.
#[test]
fn a_reread_that_fails_takes_nothing_away() {
    let tenant = Tenant::start(Options { users: 1, special_users: false, ..small() });
    let whole = tenant.export(&[]).expect(0).stdout;
    tenant.simulator.set_faults(vec!["corrupt:rate=0.2".parse::<Fault>().unwrap()]);
    assert!(tenant.export(&["--allow-partial"]).expect(0).stdout != whole);
    for way in WAYS {
        let night = night(&tenant, &whole, way, &["--full-reread", "100%"]);
        assert!(night.number("reread") < night.number("items"));
        same(&night.run.expect(0).stdout, &whole, &format!("{way:?}"));
    }
}

/// Where the content of a member stands in an archive.
pub fn place_of(whole: &[u8], is_it: impl Fn(&archive::Entry) -> bool) -> (usize, usize) {
    let mut reader = archive::Reader::new(whole);
    while let Some(entry) = reader.next_entry().unwrap() {
        if entry.kind == archive::Kind::File && entry.size > 0 && is_it(&entry) {
            return (entry.data_offset as usize, entry.size as usize);
        }
    }
    panic!("there is no such member");
}

/// The archive that `path` names, as the tests of other modules want it.
pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
