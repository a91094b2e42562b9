//! Names: what they choose on the command line, and that none of them is dangerous on a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use simulator::{Options, Profile};

use crate::harness::{Archive, Tenant, files_below, python, run, run_with, tar365, text, verify};

/// What python says of paths, one JSON string a line in the file that is its argument.
const JUDGE: &str = r#"
import collections, json, re, sys, unicodedata
paths = json.load(open(sys.argv[1], encoding="utf-8"))
# The mark that makes emoji of letters is harmless; what turns the direction of text is not.
BIDI = {"L", "R"}
DEVICE = re.compile(r"^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.I)
def fold(s): return unicodedata.normalize("NFC", unicodedata.normalize("NFC", s).casefold())
bad, seen = [], {}
for path in paths:
    parts = path.split("/")
    for at, part in enumerate(parts):
        why = None
        if not part or part in (".", ".."): why = "dots or nothing"
        elif len(part.encode()) > 200: why = "too long"
        elif DEVICE.match(part): why = "a device of Windows"
        elif part != part.rstrip(". ") or part != part.lstrip(" "): why = "space or dot at an end"
        elif re.search(r'[\x00-\x1f\x7f-\x9f<>:"\\|?*\u2028\u2029]', part): why = "a character"
        elif re.search("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", part): why = "turns text"
        elif unicodedata.normalize("NFC", part) != part: why = "not NFC"
        if why: bad.append([path, why])
        # Two spellings of one path up to here would be one file on some systems.
        here = "/".join(parts[:at + 1])
        if seen.setdefault(fold(here), here) != here: bad.append([here, "collides with " + seen[fold(here)]])
if len(set(paths)) != len(paths): bad.append(["", "two equal paths"])
print(json.dumps(bad))
"#;

#[track_caller]
fn assert_harmless(paths: &[String]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_vec(paths).unwrap()).unwrap();
    assert_eq!(python(JUDGE, &[file.path().as_os_str()]).trim(), "[]");
}

/// Every hazard of the simulator, and some more.
fn nasty() -> Tenant {
    let options =
        Options { users: 2, mails: 400, files: 20, profile: Profile::Nasty, ..Options::default() };
    let tenant = Tenant::start(options);
    let world = tenant.simulator.tenant();
    let user = &world.users()[0].id;
    let long = "Ungewöhnlich lange Bezeichnung ".repeat(14);
    let long_twin = format!("{long}zwei");
    let names = [
        "com1",
        "LPT9.txt",
        "COM¹.dat",
        "NUL",
        "con.tar.gz",
        "conout$",
        "a:b",
        "a?b*c",
        "pipe|quote\"",
        "\u{2066}iso\u{2069}",
        "del\u{7f}\u{85}",
        "line\u{2028}sep",
        "STRASSE",
        "straße",
        "ﬁle",
        "file",
        "Ǆ",
        "ǆ",
        "I\u{307}x",
        "ix",
        "\u{212b}",
        "\u{c5}",
        "%",
        "%25",
        "~",
        "...",
        " . ",
        "tab\t",
        long.as_str(),
        long_twin.as_str(),
        "e\u{301}\u{327}",
        "\u{329}%",
    ];
    for (number, name) in names.iter().enumerate() {
        world.add_folder(user, "Sonderfälle", name).unwrap();
        let mail = format!("Subject: nasty\r\n\r\n{number}\r\n");
        world.add_message(user, &format!("Sonderfälle/{name}"), mail.as_bytes()).unwrap();
        // A drive has paths; a slash in a name comes from the generated ones.
        world.put_file(user, &format!("Noch mehr/{name}"), format!("{number}").as_bytes()).unwrap();
    }
    // Folder upon folder.
    let mut parent = world.add_folder(user, "inbox", "tief").unwrap();
    for depth in 0..25 {
        parent = world.add_folder(user, &parent, &format!("{depth} {}", "x".repeat(180))).unwrap();
    }
    world.add_message(user, &parent, b"Subject: deep\r\n\r\ndeep\r\n").unwrap();
    tenant
}

#[test]
fn nasty_names_are_harmless_and_can_be_read_back() {
    let tenant = nasty();
    let run = tenant.export(&[]).expect(0);
    verify(&run.stdout);
    let archive = Archive::new(&run.stdout);
    let paths: Vec<String> = archive.members.iter().map(|member| member.path.clone()).collect();
    assert_harmless(&paths);

    let world = tenant.simulator.tenant();
    let (mut reversed, mut cut) = (0, 0);
    for user in world.users() {
        // Files and folders: the exact name stands in the metadata and, uncut, in the path.
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for file in world.files(&user.id).unwrap_or_default() {
            names.insert(file.id, file.path.last().unwrap().clone());
        }
        for folder in world.folders(&user.id).unwrap_or_default() {
            names.insert(folder.id, folder.path.last().cloned().unwrap_or_default());
        }
        let section = |service: &str| {
            format!("users/{}/{service}", archive::path::directory_component(&user.upn, &user.id))
        };
        let lines = [archive.lines(&section("mail")), archive.lines(&section("onedrive"))].concat();
        let mut told = 0;
        for line in lines.iter().filter(|line| line["kind"] != "message" && line["kind"] != "owner")
        {
            let Some(name) = names.get(text(line, "id")).filter(|name| !name.is_empty()) else {
                continue;
            };
            told += 1;
            let key = if text(line, "kind") == "file" { "name" } else { "displayName" };
            assert_eq!(text(&line["graph"], key), name, "{line}");
            let component = text(line, "path").rsplit('/').next().unwrap();
            if component.contains('~') {
                cut += 1;
            } else {
                reversed += 1;
                let nfc = |text: &str| unicode(text);
                assert_eq!(nfc(&unescaped(component)), nfc(name));
                assert_eq!(archive::path::unescape(component), unescaped(component));
            }
        }
        let folders = world.folders(&user.id).unwrap_or_default().len();
        let expected = names.len() - if folders > 0 { 4 } else { 0 };
        if user.upn != "vera.vorstand@contoso.onmicrosoft.com" {
            assert_eq!(
                told, expected,
                "{}: all but the root, search folders and recoverable items",
                user.upn
            );
        }
        for line in lines.iter().filter(|line| line["kind"] == "message") {
            let mail = world.message(&user.id, text(line, "id")).unwrap();
            assert_eq!(text(&line["graph"], "subject"), mail.subject);
        }
    }
    assert!(reversed > 150 && cut > 20, "{reversed} uncut, {cut} cut or tagged");
}

/// The reverse of the escaping, written once more.
fn unescaped(component: &str) -> String {
    if component == "%" {
        return String::new();
    }
    let mut bytes = Vec::new();
    let mut rest = component.as_bytes();
    while let Some(first) = rest.first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(&rest[1..3]).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &rest[3..];
        } else {
            bytes.push(*first);
            rest = &rest[1..];
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// NFC, by folding nothing else.
fn unicode(text: &str) -> String {
    use std::sync::Mutex;
    static KNOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut known = KNOWN.lock().unwrap();
    let program =
        "import sys, unicodedata; print(unicodedata.normalize('NFC', sys.argv[1]), end='')";
    known.entry(text.to_owned()).or_insert_with(|| python(program, &[text.as_ref()])).clone()
}

#[test]
fn nasty_names_extract_inside_their_folder() {
    let tenant = nasty();
    let run = tenant.export(&[]).expect(0);
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    let extract = tar365(&["extract", "-", "-C", target.to_str().unwrap()]);
    let told = run_with(extract, &run.stdout).expect(0);
    assert!(!told.stderr.chars().any(|c| c.is_control() && c != '\n'), "{:?}", told.stderr);
    let beside: Vec<_> = std::fs::read_dir(outside.path()).unwrap().collect();
    assert_eq!(beside.len(), 1, "something lies outside: {beside:?}");
    let found = files_below(&target);
    let archive = Archive::new(&run.stdout);
    let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for member in archive.members.into_iter().filter(|member| !member.is_directory) {
        if !member.path.starts_with(".tar365/") {
            expected.insert(member.path, member.content);
        }
    }
    let found: BTreeMap<String, Vec<u8>> =
        found.into_iter().filter(|(path, _)| !path.starts_with(".tar365/")).collect();
    assert!(found.keys().eq(expected.keys()), "{:?}", differing(&found, &expected));
    assert!(found == expected, "contents differ");
    assert!(found.len() > 900, "{}", found.len());
}

fn differing<V>(found: &BTreeMap<String, V>, expected: &BTreeMap<String, V>) -> Vec<String> {
    let one: BTreeSet<&String> = found.keys().collect();
    let other: BTreeSet<&String> = expected.keys().collect();
    one.symmetric_difference(&other).take(5).map(|path| path.to_string()).collect()
}

/// The owners, services and items of an archive.
fn selected(archive: &[u8]) -> (BTreeSet<String>, BTreeSet<String>) {
    let archive = Archive::new(archive);
    let mut sections = BTreeSet::new();
    let mut items = BTreeSet::new();
    for member in archive.members.iter().filter(|member| member.path.starts_with("users/")) {
        match member.path.strip_suffix(".ndjson") {
            Some(section) if section.matches('/').count() == 2 => {
                sections.extend([section.to_owned()])
            }
            _ if !member.is_directory => items.extend([member.path.clone()]),
            _ => {}
        }
    }
    (sections, items)
}

#[test]
fn owners_and_services_are_chosen_by_name() {
    let tenant = Tenant::start(Options {
        users: 3,
        mails: 20,
        files: 5,
        special_users: false,
        ..Options::default()
    });
    let users = tenant.simulator.tenant().users();
    let upns: Vec<&str> = users.iter().map(|user| user.upn.as_str()).collect();
    assert_eq!(upns[0], "anna.schmidt@contoso.onmicrosoft.com");
    let all = ["mail", "onedrive"];
    let cases: [(&[&str], &[usize], &[&str]); 9] = [
        (&["--user", upns[1]], &[1], &all),
        (&["--user", "ANNA.*"], &[0], &all),
        (&["--user", "anna*", "--user", upns[2]], &[0, 2], &all),
        (&["--user", &users[2].id], &[2], &all),
        // An earlier address: `smtp:<number>@alias.<domain>`.
        (&["--user", "1@alias.*"], &[1], &all),
        (&["--user", "*", "--service", "mail"], &[0, 1, 2], &["mail"]),
        (&["--service", "onedrive"], &[0, 1, 2], &["onedrive"]),
        (&["--service", "mail,onedrive", "--user", "?en.*"], &[1], &all),
        (&["--exclude", "users/anna.*/onedrive"], &[0, 1, 2], &all),
    ];
    for (number, (flags, owners, services)) in cases.iter().enumerate() {
        let archive = tenant.export(flags).expect(0).stdout;
        verify(&archive);
        let mut expected = BTreeSet::new();
        for owner in *owners {
            expected
                .extend(services.iter().map(|service| format!("users/{}/{service}", upns[*owner])));
        }
        if number == 8 {
            expected.remove(&format!("users/{}/onedrive", upns[0]));
        }
        assert_eq!(selected(&archive).0, expected, "{flags:?}");
    }
    let mistakes = [
        (["--user", "nobody@*"], "matches no owner"),
        (["--user", "anna"], "matches no owner"),
        (["--service", "post"], "\"post\""),
        (["--user", "["], "["),
    ];
    for (flags, told) in mistakes {
        let run = tenant.export(&flags).expect(2);
        assert!(run.stdout.is_empty(), "{flags:?} wrote {} bytes", run.stdout.len());
        assert!(run.stderr.contains(told), "{}", run.stderr);
    }
}

#[test]
fn items_are_chosen_by_path_and_time() {
    let tenant = Tenant::start(Options {
        users: 2,
        mails: 60,
        files: 30,
        special_users: false,
        ..Options::default()
    });
    let whole = tenant.export(&[]).expect(0).stdout;
    let everything = Archive::new(&whole);
    let items: Vec<(String, i64)> = everything
        .members
        .iter()
        .filter(|member| member.path.starts_with("users/") && !member.is_directory)
        .filter(|member| member.path.matches('/').count() > 2)
        .map(|member| (member.path.clone(), member.mtime))
        .collect();
    let time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp();
    let (since, until) = (time("2019-05-01T00:00:00Z"), time("2022-02-03T04:05:06Z"));
    // A time that an item has: --since takes it, --until does not.
    let edge = items[items.len() / 3].1;
    let edge_text = chrono::DateTime::from_timestamp(edge, 0)
        .unwrap()
        .format("%Y-%m-%dT%H:%M:%S+00:00")
        .to_string();
    type Wanted<'a> = Box<dyn Fn(&str, i64) -> bool + 'a>;
    let cases: [(&[&str], Wanted<'_>); 9] = [
        (&["--include", "*.eml"], Box::new(|path, _| path.ends_with(".eml"))),
        (
            &["--include", "users/*/mail/Posteingang"],
            Box::new(|path, _| path.contains("/mail/Posteingang/")),
        ),
        (
            &["--include", "users/*/mail/*/*.eml"],
            Box::new(|path, _| path.contains("/mail/") && path.matches('/').count() == 4),
        ),
        (
            &["--include", "users/**/*.docx", "--exclude", "Projekte"],
            Box::new(|path, _| path.ends_with(".docx") && !path.contains("/Projekte/")),
        ),
        (
            &["--exclude", "users/*/mail/*/Projekte/**", "--exclude", "*.pdf"],
            Box::new(|path, _| {
                !path.contains("/Projekte/") | path.contains("/onedrive/")
                    && !path.ends_with(".pdf")
            }),
        ),
        (&["--since", "2019-05-01"], Box::new(move |_, at| at >= since)),
        (&["--until", "2022-02-03T04:05:06Z"], Box::new(move |_, at| at < until)),
        (&["--since", &edge_text], Box::new(move |_, at| at >= edge)),
        (
            &["--until", &edge_text, "--include", "mail"],
            Box::new(move |path, at| at < edge && path.contains("/mail/")),
        ),
    ];
    for (flags, wanted) in cases {
        let run = tenant.export(flags).expect(0);
        verify(&run.stdout);
        let expected: BTreeSet<String> = items
            .iter()
            .filter(|(path, at)| wanted(path, *at))
            .map(|(path, _)| path.clone())
            .collect();
        assert!(
            !expected.is_empty() && expected.len() < items.len(),
            "{flags:?} chooses nothing or all"
        );
        let found = selected(&run.stdout).1;
        assert_eq!(found, expected, "{flags:?}");
        // The same selection of the whole archive chooses the same.
        let listed =
            run_with(tar365(&[&["list", "-", "--json"], flags].concat()), &whole).expect(0);
        let listed: BTreeSet<String> = paths(&listed.stdout)
            .into_iter()
            .filter(|path| path.matches('/').count() > 2)
            .collect();
        let listed =
            listed.into_iter().filter(|path| items.iter().any(|(item, _)| item == path)).collect();
        assert_eq!(found, listed, "list {flags:?}");
    }
    let run = tenant.export(&["--since", "2020-01-01", "--until", "2019-01-01"]).expect(2);
    assert!(run.stdout.is_empty());
}

/// The paths that `list --json` names.
fn paths(json: &[u8]) -> Vec<String> {
    let lines = json.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| text(&serde_json::from_slice::<Value>(line).unwrap(), "path").to_owned())
        .collect()
}

#[test]
fn archives_are_read_from_files_and_pipes_plain_and_compressed() {
    let tenant = Tenant::start(Options {
        users: 2,
        mails: 40,
        files: 12,
        special_users: false,
        ..Options::default()
    });
    let users = tenant.simulator.tenant().users();
    let plain = tenant.export(&[]).expect(0).stdout;
    let members = Archive::new(&plain).members;
    let mail = members
        .iter()
        .find(|m| {
            m.path.starts_with(&format!("users/{}/mail/", users[1].upn)) && m.path.ends_with(".eml")
        })
        .unwrap();
    let id = Archive::new(&plain)
        .lines(&format!("users/{}/mail", users[1].upn))
        .into_iter()
        .find(|line| text(line, "path") == mail.path)
        .unwrap();
    let mime = tenant.simulator.tenant().message(&users[1].id, text(&id, "id")).unwrap().mime();
    let dir = tempfile::tempdir().unwrap();
    let mut sizes = Vec::new();
    for compress in ["none", "zstd", "gzip"] {
        let file = dir.path().join(compress);
        let mut flags = vec!["--output", file.to_str().unwrap()];
        if compress != "none" {
            flags.extend(["--compress", compress]);
        }
        assert!(tenant.export(&flags).expect(0).stdout.is_empty());
        let bytes = std::fs::read(&file).unwrap();
        match compress {
            "zstd" => assert!(bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])),
            "gzip" => assert!(bytes.starts_with(&[0x1f, 0x8b])),
            _ => assert!(bytes == plain),
        }
        sizes.push(bytes.len());
        for piped in [false, true] {
            let read = |arguments: &[&str]| {
                let place = if piped { "-" } else { file.to_str().unwrap() };
                let arguments: Vec<&str> = arguments
                    .iter()
                    .map(|argument| if *argument == "@" { place } else { argument })
                    .collect();
                let command: Command = tar365(&arguments);
                (if piped { run_with(command, &bytes) } else { run(command) }).expect(0)
            };
            assert!(read(&["verify", "@", "--json"]).stdout.starts_with(b"{"));
            let listed = paths(&read(&["list", "@", "--json"]).stdout);
            assert_eq!(
                listed.iter().filter(|path| !path.starts_with(".tar365/")).count(),
                members.len() - 3
            );
            assert!(String::from_utf8_lossy(&read(&["list", "@"]).stdout).contains(&mail.path));
            let one = read(&["cat", "@", &mail.path]).stdout;
            assert!(one == mime, "cat gives other bytes ({compress}, piped: {piped})");
            let target = tempfile::tempdir().unwrap();
            read(&["extract", "@", "-C", target.path().to_str().unwrap(), "--user", &users[1].upn]);
            let found = files_below(target.path());
            let here = format!("users/{}/", users[1].upn);
            let expected: BTreeMap<String, Vec<u8>> = members
                .iter()
                .filter(|member| member.path.starts_with(&here) && !member.is_directory)
                .map(|member| (member.path.clone(), member.content.clone()))
                .collect();
            assert!(found == expected, "{:?}", differing(&found, &expected));
        }
    }
    assert!(sizes[1] < sizes[0] && sizes[2] < sizes[0], "{sizes:?}");
}

#[test]
fn what_is_not_there_can_not_be_read() {
    let tenant = Tenant::start(Options {
        users: 1,
        mails: 5,
        files: 0,
        special_users: false,
        ..Options::default()
    });
    let plain = tenant.export(&[]).expect(0).stdout;
    let members = Archive::new(&plain).members;
    let mail = &members.iter().find(|member| member.path.ends_with(".eml")).unwrap().path;
    for paths in [vec!["users/nobody.eml"], vec![mail, "no"]] {
        let failed =
            run_with(tar365(&[vec!["cat", "-"], paths.clone()].concat()), &plain).expect(1);
        assert!(failed.stderr.contains(paths[paths.len() - 1]), "{}", failed.stderr);
    }
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    for verb in ["verify", "list", "extract"] {
        run(tar365(&[verb, absent.to_str().unwrap()])).expect(1);
    }
}
