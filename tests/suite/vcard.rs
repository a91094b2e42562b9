//! Contacts in vCard 4.0: what is asked for is what comes, whatever the base has, and it comes back
//! like any other.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simulator::{Language, Options, Profile};
use tempfile::TempDir;

use crate::base::{Night, Shelf, WAYS, Way, night, same};
use crate::contacts::KHARD;
use crate::dav_fake::Fake;
use crate::dav_server::{Kind, Server, differences};
use crate::harness::{Archive, Tenant, files_below, run, run_with, tar365, tool, verify};
use crate::import::{Saved, counts, emptied, writable};

const CONTACTS: [&str; 2] = ["--service", "contacts"];
const VERSIONS: [&str; 2] = ["3.0", "4.0"];

fn small() -> Options {
    Options { users: 2, mails: 1, files: 1, contacts: 12, ..Options::default() }
}

/// Contacts in that version.
#[track_caller]
fn export(tenant: &Tenant, version: &str) -> Vec<u8> {
    let bytes = tenant.export(&[&CONTACTS[..], &["--vcard", version]].concat()).expect(0).stdout;
    verify(&bytes);
    bytes
}

fn head(archive: &Archive) -> Value {
    serde_json::from_slice(&archive.member(".tar365/archive.json").unwrap().content).unwrap()
}

/// Cards by their paths.
fn cards(archive: &Archive) -> BTreeMap<&str, &str> {
    let cards = archive.members.iter().filter(|member| member.path.ends_with(".vcf"));
    cards.map(|card| (card.path.as_str(), std::str::from_utf8(&card.content).unwrap())).collect()
}

/// Cards of that version.
fn of_version(archive: &Archive, version: &str) -> usize {
    let start = format!("BEGIN:VCARD\r\nVERSION:{version}\r\n");
    cards(archive).values().filter(|card| card.starts_with(&start)).count()
}

#[test]
fn only_the_cards_and_the_head_tell_of_it() {
    let tenant = Tenant::start(small());
    let [usual, older, newer] =
        [tenant.export(&CONTACTS).expect(0).stdout, export(&tenant, "3.0"), export(&tenant, "4.0")];
    same(&older, &usual, "3.0 is the default");
    let (older, newer) = (Archive::new(&older), Archive::new(&newer));
    assert_eq!(head(&older).get("vcard"), None);
    let mut same_but_version = head(&older);
    same_but_version["vcard"] = json!("4.0");
    assert_eq!(head(&newer), same_but_version);
    assert!(cards(&older).len() > 20, "{}", cards(&older).len());
    assert!(cards(&older).keys().eq(cards(&newer).keys()));
    let all = cards(&older).len();
    assert_eq!([of_version(&older, "3.0"), of_version(&newer, "4.0")], [all, all]);
    let metadata = |archive: &Archive| -> BTreeMap<String, Vec<u8>> {
        let own = archive.members.iter().filter(|m| m.path.ends_with("/contacts.ndjson"));
        own.map(|member| (member.path.clone(), member.content.clone())).collect()
    };
    assert_eq!(metadata(&older), metadata(&newer));
    // Where there are no contacts it changes nothing.
    let mail = |more: &[&str]| tenant.export(&[&["--service", "mail"], more].concat()).expect(0);
    same(&mail(&["--vcard", "4.0"]).stdout, &mail(&[]).stdout, "mail");
    tenant.export(&["--vcard", "2.1"]).expect(2);
}

/// A contact that changed, and one that is gone.
fn edit(tenant: &Tenant) {
    let office = tenant.simulator.tenant();
    let user = &office.users()[0].id;
    let items = office.items(user).unwrap();
    let contacts: Vec<_> = items.iter().filter(|item| item.kind == "contact").collect();
    office.change_item(user, &contacts[0].id, json!({"nickName": "Änne"})).unwrap();
    office.delete_item(user, &contacts[1].id).unwrap();
}

#[track_caller]
fn gives(night: Night, wanted: &[u8], from_base: u64, what: &str) {
    let found = night.number("from_base");
    same(&night.run.expect(0).stdout, wanted, what);
    assert_eq!(found, from_base, "{what}");
}

#[test]
fn a_base_of_the_other_version_gives_what_no_base_gives() {
    let tenant = Tenant::start(small());
    let before = VERSIONS.map(|version| export(&tenant, version));
    edit(&tenant);
    let now = VERSIONS.map(|version| export(&tenant, version));
    for (version, wanted) in VERSIONS.iter().zip(&now) {
        for (base_version, base) in VERSIONS.iter().zip(&before) {
            // What is as it was comes from a base of the same version only.
            let unchanged = cards(&Archive::new(wanted)).len() as u64 - 1;
            let from_base = if version == base_version { unchanged } else { 0 };
            for way in WAYS {
                let flags = [&CONTACTS[..], &["--vcard", version]].concat();
                let what = format!("{version} on {base_version}, {way:?}");
                gives(night(&tenant, base, way, &flags), wanted, from_base, &what);
            }
        }
    }
    // Other services have nothing to do with it.
    let both = ["--service", "mail,contacts", "--vcard"];
    let base = tenant.export(&[&both[..], &["3.0"]].concat()).expect(0).stdout;
    let wanted = tenant.export(&[&both[..], &["4.0"]].concat()).expect(0).stdout;
    for way in WAYS {
        let night = night(&tenant, &base, way, &[&both[..], &["4.0"]].concat());
        let mails = Archive::new(&wanted).members;
        let mails = mails.iter().filter(|member| member.path.ends_with(".eml")).count() as u64;
        gives(night, &wanted, mails, &format!("mail, too, {way:?}"));
    }
}

#[test]
fn a_state_goes_on_with_the_other_version() {
    let tenant = Tenant::start(Options { page_cap: Some(5), ..small() });
    for (base, version) in [("3.0", "4.0"), ("4.0", "3.0")] {
        let shelf = Shelf::new();
        let state = shelf.path("state");
        let with_state = |version| {
            let state = ["--state", state.to_str().unwrap()];
            [&CONTACTS[..], &["--vcard", version], &state].concat()
        };
        let first = tenant.export(&with_state(base)).expect(0).stdout;
        edit(&tenant);
        let lists = |path: &str| path.contains("/contactFolders/") && path.ends_with("/contacts");
        let records = tenant.simulator.log().records();
        assert!(records.iter().any(|record| lists(&record.path)), "no folder was listed at first");
        let cheap = night(&tenant, &first, Way::File, &with_state(version));
        assert!(!cheap.asked.iter().any(|record| lists(&record.path)), "a folder was listed");
        gives(cheap, &export(&tenant, version), 0, version);
        // The state that it left belongs to what it wrote.
        let second = export(&tenant, version);
        let third = night(&tenant, &second, Way::File, &with_state(base));
        gives(third, &export(&tenant, base), 0, base);
    }
}

#[test]
fn an_unfinished_export_is_resumed_in_the_version_that_is_asked_for() {
    let tenant = Tenant::start(small());
    let [older, newer] = VERSIONS.map(|version| export(&tenant, version));
    let half = &older[..older.len() / 2];
    let flags = [&CONTACTS[..], &["--vcard", "4.0", "--resume"]].concat();
    gives(night(&tenant, half, Way::File, &flags), &newer, 0, "resumed");
}

#[test]
fn it_comes_back_like_any_other() {
    let source = writable(small());
    let saved = Saved::new(export(&source, "4.0"));
    let target = emptied(&source, Language::German);
    let run_in = saved.import(&target, "one", &["--in-place"]).expect(0);
    assert_eq!(counts(&run_in), [24, 0, 0, 0, 0], "{}", run_in.stderr);
    // What is restored has new ids, so the names of files are others.
    let plain = |bytes: &[u8]| {
        let archive = Archive::new(bytes);
        let mut all: Vec<String> = cards(&archive)
            .values()
            .map(|card| {
                let is_kept = |line: &&str| !line.starts_with("UID:") && !line.starts_with("REV:");
                card.split("\r\n").filter(is_kept).collect::<Vec<_>>().join("\n")
            })
            .collect();
        all.sort();
        all
    };
    assert_eq!(plain(&export(&target, "4.0")), plain(&saved.bytes));
    // Photos, too.
    assert_eq!(plain(&export(&target, "3.0")), plain(&export(&source, "3.0")));
    let drill = run(tar365(&["drill", &saved.path()])).expect(0);
    let said = String::from_utf8(drill.stdout).unwrap();
    assert!(said.contains("24 equal, 0 different") && said.contains("PASSED"), "{said}");
    // Compared with the tenant, it is what the tenant would be in this version.
    let same = run(source.tar365(&["diff", &saved.path(), "--tenant"])).expect(0);
    assert_eq!(String::from_utf8(same.stdout).unwrap(), "");
    // To a directory, the bytes of the archive.
    let dir = TempDir::new().unwrap();
    let to = dir.path().join("out");
    let (archive, to) = (saved.path(), to.to_str().unwrap());
    run(tar365(&["import", &archive, "--to", &format!("directory:{to}")])).expect(0);
    let archive = Archive::new(&saved.bytes);
    let files = files_below(dir.path());
    let there = files.iter().filter(|(path, _)| path.ends_with(".vcf"));
    let mut there: Vec<&[u8]> = there.map(|(_, content)| content.as_slice()).collect();
    let mut wanted: Vec<&[u8]> = cards(&archive).values().map(|card| card.as_bytes()).collect();
    there.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(there, wanted);
}

/// The texts of cards, sorted.
fn sorted<'a>(cards: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = cards.map(str::to_owned).collect();
    all.sort();
    all
}

/// A server that takes no more than 3.0 has what an archive in 3.0 has, with photos; the server that
/// says it takes 4.0 has the bytes of the archive.
#[test]
fn carddav_servers_get_the_version_that_they_take() {
    const BOTH: &str = "<A:supported-address-data>\
        <A:address-data-type content-type='text/vcard' version='3.0'/>\
        <A:address-data-type content-type='text/vcard' version='4.0'/></A:supported-address-data>";
    const JSON: &str = "<A:supported-address-data>\
        <A:address-data-type content-type='text/vcard' version='3.0'/>\
        <A:address-data-type content-type='application/vcard+json' version='4.0'/>\
        </A:supported-address-data>";
    let tenant = Tenant::start(Options { special_users: false, ..small() });
    let bytes = VERSIONS.map(|version| export(&tenant, version));
    let [older, newer] = [&bytes[0], &bytes[1]].map(|bytes| Archive::new(bytes));
    let wanted = |archive| sorted(cards(archive).into_values());
    let saved = Saved::new(bytes[1].clone());
    for (properties, expected) in [(BOTH, &newer), (JSON, &older), ("", &older)] {
        let fake = Fake::start("1, 3, addressbook", properties, |_, _| None);
        let to = fake.address().replace("caldav+", "carddav+");
        for (archive, input, created) in
            [(saved.path(), None, 24), ("-".to_owned(), Some(&saved.bytes), 0)]
        {
            let mut command = tar365(&["import", &archive, "--to", &to, "--label", "x"]);
            command.env("TAR365_DAV_PASSWORD", "geheim");
            let done = match input {
                Some(bytes) => run_with(command, bytes),
                None => run(command),
            };
            let done = done.expect(0);
            assert_eq!(counts(&done)[0], created, "{}", done.stderr);
        }
        let held = fake.objects.lock().unwrap();
        assert_eq!(sorted(held.values().map(String::as_str)), wanted(expected), "{properties}");
    }
    for kind in [Kind::Radicale, Kind::Xandikos] {
        let server = Server::start(kind);
        let path = std::path::PathBuf::from(saved.path());
        let done = server.import(&path, "carddav", &[]).expect(0);
        assert_eq!(counts(&done)[0], 24, "{}", done.stderr);
        assert!(!done.stderr.contains("altered"), "{}", done.stderr);
        let seen = server.seen();
        let uid = |card: &str| {
            let card = card.replace("\r\n ", "").replace("\n ", "");
            card.lines().find(|line| line.starts_with("UID:")).unwrap().to_owned()
        };
        let there: BTreeMap<_, _> = seen.objects.values().map(|card| (uid(card), card)).collect();
        let pairs: Vec<(&str, &str)> =
            cards(&older).into_values().map(|card| (card, there[&uid(card)].as_str())).collect();
        assert_eq!((pairs.len(), differences(&pairs)), (24, Vec::new()), "{kind:?}");
    }
}

/// Reads each card by the grammar of RFC 6350, and lets khard list all: how many cards, photos, and
/// cards that khard lists. vobject, which khard reads with, cuts the photos of 4.0 off.
const READ: &str = r##"
import base64, json, pathlib, re, subprocess, sys

root = pathlib.Path(sys.argv[1])
LINE = re.compile(
    r'^(?:(?P<group>[A-Za-z0-9-]+)\.)?(?P<name>[A-Za-z0-9-]+)'
    r'(?P<params>(?:;[A-Za-z0-9-]+=(?:"[^"\x00-\x08\x0a-\x1f]*"|[^":;\x00-\x08\x0a-\x1f]*)'
    r'(?:,(?:"[^"]*"|[^":;,\x00-\x1f]*))*)*):(?P<value>[^\x00-\x08\x0a-\x1f\x7f]*)$', re.S)
# RFC 6350, 6: no more than one of each (but for alternatives, of which there are none).
ONCE = {'KIND', 'N', 'BDAY', 'ANNIVERSARY', 'GENDER', 'PRODID', 'REV', 'UID'}
# What 4.0 has no more (RFC 6350, A.2 and A.3).
GONE = {'NAME', 'MAILER', 'LABEL', 'CLASS', 'SORT-STRING', 'PROFILE', 'AGENT'}

count = photos = 0
for file in sorted(root.rglob("*.vcf")):
    text = file.read_bytes().decode()
    assert text.endswith("\r\n") and "\n" not in text.replace("\r\n", ""), file
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n")), file
    lines = text.replace("\r\n ", "").split("\r\n")[:-1]
    assert lines[:2] == ["BEGIN:VCARD", "VERSION:4.0"] and lines[-1] == "END:VCARD", file
    names = []
    for line in lines[2:-1]:
        match = LINE.match(line)
        assert match, (file, line[:200])
        name, params, value = match["name"].upper(), match["params"].upper(), match["value"]
        names.append(name)
        assert name not in GONE and "ENCODING=" not in params and "CHARSET=" not in params, line
        if name == "PHOTO":
            head, data = value.split(",", 1)
            assert head == "data:image/jpeg;base64", head
            assert base64.b64decode(data, validate=True).startswith(b"\xff\xd8\xff"), file
            photos += 1
        if name == "UID":
            assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value), value
        if name in ("BDAY", "ANNIVERSARY"):
            assert re.fullmatch(r"\d{8}", value), value
        if name == "REV":
            assert re.fullmatch(r"\d{8}T\d{6}Z", value), value
        if name == "N":
            assert len(re.split(r"(?<!\\)(?:\\\\)*;", value)) == 5, value
    assert "FN" in names and "UID" in names, file
    assert all(names.count(name) <= 1 for name in ONCE), (file, names)
    count += 1
"##;

#[test]
fn every_card_is_one_by_the_standard_and_khard_lists_it() {
    for profile in [Profile::Plain, Profile::Nasty] {
        let tenant = Tenant::start(Options {
            users: 2,
            contacts: 40,
            special_users: false,
            profile,
            ..Options::default()
        });
        let bytes = export(&tenant, "4.0");
        let all = cards(&Archive::new(&bytes)).len();
        let dir = TempDir::new().unwrap();
        let to = dir.path().to_str().unwrap();
        run_with(tar365(&["extract", "-", "-C", to]), &bytes).expect(0);
        let mut command = tool("python3");
        command.args(["-c", &[READ, KHARD].concat(), to]);
        let said = run(command).expect(0).stdout;
        let [count, photos, uids]: [usize; 3] = serde_json::from_slice(&said).unwrap();
        assert_eq!((count, uids), (all, all), "{profile:?}");
        assert!(photos > 20, "{photos}");
    }
}
