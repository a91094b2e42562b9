//! Looking into an archive: what `find`, `list`, `cat`, `extract` and `import` show of it, and how
//! little they read for it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use archive::Selection;
use archive::metadata::Line;
use archive::writer::{FileMember, Head, Options, Writer};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::harness::{Archive, Run, files_below, json_lines, run, run_with, tar365, text};
use crate::import::{Saved, writable};
use crate::web::{Counts, Manner, SECRET, Web};

/// Metadata lines of all items of an archive.
fn lines(archive: &Archive) -> Vec<Value> {
    let metadata = archive
        .members
        .iter()
        .filter(|member| member.path.ends_with("l.ndjson") || member.path.ends_with("e.ndjson"));
    let lines = metadata
        .filter(|member| member.path.starts_with("users/"))
        .flat_map(|member| json_lines(&member.content));
    lines.filter(|line| matches!(text(line, "kind"), "message" | "file")).collect()
}

fn find(archive: &str, arguments: &[&str]) -> Run {
    run(tar365(&[&["find", archive], arguments].concat()))
}

fn found(run: &Run) -> Vec<String> {
    let paths = json_lines(&run.stdout).into_iter();
    paths.map(|line| text(&line, "path").to_owned()).collect()
}

#[test]
fn items_are_found_by_what_is_known_of_them() {
    let source =
        writable(simulator::Options { users: 2, mails: 90, files: 30, ..Default::default() });
    let saved = Saved::export(&source);
    let archive = Archive::new(&saved.bytes);
    let held: BTreeSet<_> = archive.members.iter().map(|member| member.path.as_str()).collect();
    let size = |line: &Value| archive.member(text(line, "path")).unwrap().content.len();
    let items: Vec<_> =
        lines(&archive).into_iter().filter(|line| held.contains(text(line, "path"))).collect();
    let subject = |line: &Value| text(&line["graph"], "subject").to_lowercase();
    let people = |line: &Value, key: &str| line["graph"][key].to_string();
    let name = |line: &Value| text(&line["graph"], "name").to_lowercase();
    let mime =
        |line: &Value| line["graph"]["file"]["mimeType"].as_str().unwrap_or_default().to_owned();
    let date = |line: &Value| {
        let graph = &line["graph"];
        let date = [
            text(graph, "receivedDateTime"),
            if text(line, "kind") == "message" { text(graph, "createdDateTime") } else { "" },
            graph["fileSystemInfo"]["lastModifiedDateTime"].as_str().unwrap_or_default(),
        ];
        date.into_iter().find(|date| !date.is_empty()).unwrap().to_owned()
    };
    let one = items
        .iter()
        .find(|line| text(&line["graph"], "internetMessageId").contains("AM0PR"))
        .unwrap();
    let (id, path) = (text(&one["graph"], "internetMessageId"), text(one, "path"));
    let folder = path.rsplit_once('/').unwrap().0;
    let user = path.split('/').nth(1).unwrap();
    let below = path.split_once("/mail/").unwrap().1;
    type Wanted<'a> = &'a dyn Fn(&Value) -> bool;
    let cases: [(&[&str], Wanted<'_>); 21] = [
        (&["--subject", "ANGEBOT"], &|line| subject(line).contains("angebot")),
        (&["--subject", "re: *"], &|line| subject(line).starts_with("re: ")),
        (&["--subject", "angebot", "--subject", "status"], &|line| {
            subject(line).contains("angebot") || subject(line).contains("status")
        }),
        (&["--from", "fabrikam.example"], &|line| {
            (people(line, "from") + &people(line, "sender")).contains("fabrikam.example")
        }),
        (&["--recipient", "fabrikam.example"], &|line| {
            let all =
                ["toRecipients", "ccRecipients", "bccRecipients"].map(|key| people(line, key));
            all.concat().contains("fabrikam.example")
        }),
        (&["--message-id", id], &|line| text(&line["graph"], "internetMessageId") == id),
        (&["--message-id", id.trim_matches(['<', '>'])], &|line| {
            text(&line["graph"], "internetMessageId") == id
        }),
        (&["--path", path], &|line| text(line, "path") == path),
        (&["--path", below], &|line| text(line, "path") == path),
        (&["--path", folder], &|line| text(line, "path").starts_with(&format!("{folder}/"))),
        (&["--path", "**/*.pdf"], &|line| text(line, "path").ends_with(".pdf")),
        (&["--since", "2022-01-01", "--until", "2024-01-01"], &|line| {
            ("2022-01-01".."2024-01-01").contains(&&*date(line))
        }),
        (&["--larger", "50KB"], &|line| size(line) >= 50_000),
        (&["--smaller", "50KB", "--larger", "4KiB"], &|line| (4096..50_000).contains(&size(line))),
        (&["--type", "message"], &|line| text(line, "kind") == "message"),
        (&["--type", "file"], &|line| text(line, "kind") == "file"),
        (&["--type", "pdf"], &|line| name(line).ends_with(".pdf")),
        (&["--type", "application/p*"], &|line| mime(line).starts_with("application/p")),
        (&["--type", "pdf", "--type", "message"], &|line| {
            name(line).ends_with(".pdf") || text(line, "kind") == "message"
        }),
        (&["--user", user, "--service", "onedrive"], &|line| {
            text(line, "path").starts_with(&format!("users/{user}/onedrive/"))
        }),
        (&["--user", user, "--subject", "angebot", "--since", "2020-01-01"], &|line| {
            text(line, "path").starts_with(&format!("users/{user}/"))
                && subject(line).contains("angebot")
                && *date(line) >= *"2020"
        }),
    ];
    for (arguments, wanted) in cases {
        let expected: Vec<_> = items.iter().filter(|line| wanted(line)).collect();
        assert!(
            !expected.is_empty() && expected.len() < items.len(),
            "{arguments:?}: {}",
            expected.len()
        );
        let as_json = [arguments, &["--json"]].concat();
        let run = find(&saved.path(), &as_json).expect(0);
        let paths: Vec<_> = expected.iter().map(|line| text(line, "path")).collect();
        assert_eq!(found(&run), paths, "{arguments:?}");
        for (line, item) in json_lines(&run.stdout).iter().zip(&expected) {
            let member = archive.member(text(item, "path")).unwrap();
            assert_eq!(line["size"], member.content.len());
            assert_eq!(text(line, "sha256"), crate::harness::sha256(&member.content));
            assert_eq!(
                (text(line, "id"), text(line, "kind")),
                (text(item, "id"), text(item, "kind"))
            );
            assert_eq!(text(line, "date").get(..10), date(item).get(..10));
            for key in ["subject", "from", "toRecipients", "internetMessageId", "name"] {
                assert_eq!(line.get(key), item["graph"].get(key), "{key}");
            }
        }
        let shown = find(&saved.path(), arguments).expect(0);
        let shown_text = String::from_utf8(shown.stdout.clone()).unwrap();
        for item in &expected {
            let told = shown_text
                .lines()
                .filter(|line| line.ends_with(&format!("  {}", text(item, "path"))))
                .count();
            assert_eq!(told, 1, "{arguments:?}: {item}\n{shown_text}");
            assert!(shown_text.to_lowercase().contains(&subject(item)));
        }
        // A pipe and a file say the same.
        for (arguments, of_file) in [(&*as_json, run), (arguments, shown)] {
            let command = tar365(&[&["find", "-"], arguments].concat());
            let piped = run_with(command, &saved.bytes).expect(0);
            assert!(piped.stdout == of_file.stdout, "{arguments:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_not_found_and_what_is_wrong_is_said() {
    let source =
        writable(simulator::Options { users: 1, mails: 20, files: 10, ..Default::default() });
    let saved = Saved::export(&source);
    for arguments in [
        &["--subject", "no such subject"][..],
        &["--user", "nobody@example.com"],
        &["--since", "2199-01-01"],
        &["--type", "no-such-type"],
        &["--larger", "1TB"],
    ] {
        let run = find(&saved.path(), arguments).expect(3);
        assert!(run.stdout.is_empty());
        let piped = run_with(tar365(&[&["find", "-"], arguments].concat()), &saved.bytes).expect(3);
        assert!(piped.stdout.is_empty());
    }
    for arguments in [
        &["--subject", "[a"][..],
        &["--path", "{a"],
        &["--from", "[z-a]"],
        &["--recipient", "[a"],
        &["--include", "[a"],
        &["--type", "image/[a"],
        &["--service", "calender"],
        &["--larger", "much"],
        &["--since", "yesterday"],
    ] {
        // Before anything is opened.
        let run = find("/no/such/archive.tar", arguments).expect(2);
        assert!(run.stdout.is_empty() && run.stderr.contains("error"), "{}", run.stderr);
    }
    find("/no/such/archive.tar", &[]).expect(1);
    // What may be incomplete is never said to be all.
    let cut = Saved::new(saved.bytes[..saved.bytes.len() - 3072].to_vec());
    find(&cut.path(), &[]).expect(1);
    run_with(tar365(&["find", "-"]), &cut.bytes).expect(1);
    let mut damaged = saved.bytes.clone();
    let line = damaged.windows(19).position(|bytes| bytes == b"\"internetMessageId\"").unwrap();
    damaged[line] ^= 1;
    find(&Saved::new(damaged).path(), &[]).expect(1);
}

const OWNERS: usize = 8;
const MAILS: usize = 300;
const MAIL_SIZE: usize = 100_000;
const FILES: usize = 10;
const FILE_SIZE: usize = 1_000_000;

fn user(number: usize) -> String {
    format!("user{number}@example.com")
}

/// A line as long as those of real exports.
fn message(user: &str, number: usize, folder: &str) -> Line {
    let person = |name: &str| json!({ "emailAddress": { "address": format!("{name}@example.com"), "name": name } });
    let time =
        format!("2025-{:02}-{:02}T10:{:02}:00Z", number / 27 + 1, number % 27 + 1, number % 60);
    let filler = "x".repeat(750);
    Line {
        kind: "message".into(),
        id: format!("{user}-{number:06}"),
        path: Some(format!(
            "{folder}/{} Subject {number:06} of {user} ~{number:010}.eml",
            time.replace(['-', ':'], "")
        )),
        graph: json!({
            "id": format!("{user}-{number:06}"), "subject": format!("Subject {number:06} of {user}"),
            "from": person("ann"), "sender": person("ann"), "toRecipients": [person(user)],
            "receivedDateTime": time, "sentDateTime": time, "parentFolderId": "inbox",
            "internetMessageId": format!("<{number}.{user}>"), "conversationId": filler,
            "isRead": true, "isDraft": false, "categories": [], "importance": "normal",
        }),
    }
}

/// Bytes that no two items have in common.
fn noise(seed: &str, size: usize) -> Vec<u8> {
    let mut content = format!("Subject: {seed}\r\n\r\n").into_bytes();
    let digest = crate::harness::sha256(seed.as_bytes());
    content.extend(std::iter::repeat_n(digest.as_bytes(), size / digest.len() + 1).flatten());
    content.truncate(size);
    content
}

/// Hundreds of megabytes of mail and files of the sizes that they have.
fn write_large(path: &Path, spool: &Path) {
    let options = Options { align: None, spool_dir: spool.to_owned() };
    let mut writer = Writer::new(File::create(path).unwrap(), options).unwrap();
    let services = ["mail", "onedrive"].map(String::from).to_vec();
    writer
        .head(&Head::new("t".into(), services, Selection::default().to_json(), Vec::new()))
        .unwrap();
    for owner in 0..OWNERS {
        let user = user(owner);
        let graph = json!({ "id": owner.to_string(), "userPrincipalName": user, "mail": user });
        let owner = Line { kind: "owner".into(), id: owner.to_string(), path: None, graph };
        for (service, count, size) in [("mail", MAILS, MAIL_SIZE), ("onedrive", FILES, FILE_SIZE)] {
            let section = format!("users/{user}/{service}");
            let folder = format!("{section}/Inbox");
            let of_folder = Line {
                kind: "folder".into(),
                id: "inbox".into(),
                path: Some(folder.clone()),
                graph: json!({ "id": "inbox", "displayName": "Inbox", "name": "Inbox", "folder": {} }),
            };
            let items: Vec<_> = (0..count)
                .map(|number| match service {
                    "mail" => message(&user, number, &folder),
                    _ => Line {
                        kind: "file".into(),
                        id: format!("{number:06}"),
                        path: Some(format!("{folder}/{number}.bin")),
                        graph: json!({ "id": format!("{number:06}"), "name": format!("{number}.bin"), "file": {}, "size": size,
                            "parentReference": { "id": "inbox" } }),
                    },
                })
                .collect();
            let mut all = owner.encode() + &of_folder.encode();
            items.iter().for_each(|line| all += &line.encode());
            let mut file = |path: &str, content: &[u8], item| {
                let sha256 = Sha256::digest(content).into();
                let member = FileMember {
                    path,
                    mtime: 1_750_000_000,
                    size: content.len() as u64,
                    sha256,
                    item,
                };
                writer.file(&member, &mut &*content).unwrap();
            };
            file(&format!("{section}.ndjson"), all.as_bytes(), false);
            for line in &items {
                let path = line.path.as_deref().unwrap();
                file(path, &noise(path, size), true);
            }
        }
    }
    writer.finish(None).unwrap();
}

/// What a command read of anything, with the system calls counted by the kernel.
fn reads(mut command: Command) -> (Run, u64) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), String::new());
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let id = Pid::from_child(&child);
    // It has ended, and is still there to be asked.
    waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let io = std::fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap();
    let code = child.wait().unwrap().code().unwrap();
    (Run { code, stdout, stderr }, read)
}

#[test]
fn one_mail_costs_little_of_a_large_archive() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("m365.tar");
    write_large(&path, dir.path());
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size > 300_000_000, "{size}");
    let web = Web::serve(&path, Manner::Good);
    let user = user(5);
    let of_user = |service: &str| format!("users/{user}/{service}");
    let wanted = message(&user, 123, &format!("{}/Inbox", of_user("mail")));
    let member = wanted.path.clone().unwrap();
    let content = noise(&member, MAIL_SIZE);
    let subject = format!("Subject 000123 of {user}");
    let check_import = |done: &Run, target: &Path| {
        assert!(done.stderr.contains("1 created"), "{}", done.stderr);
        let files = files_below(target);
        let mails: Vec<_> = files.iter().filter(|(name, _)| name.ends_with(".eml")).collect();
        assert_eq!(mails.len(), 1);
        assert!(*mails[0].1 == content);
    };
    // What a program reads of its own: libraries, time zones, temporary files.
    let (_, own) = reads(tar365(&["find", "/dev/null"]));
    for (place, number) in [(web.url(), 1), (path.to_str().unwrap().to_owned(), 2)] {
        let is_url = number == 1;
        let done = |arguments: &[&str], permille: u64| {
            let mut command = tar365(&[&[arguments[0], &place], &arguments[1..]].concat());
            command.env("TAR365_SPOOL_DIR", dir.path()).env("HOME", dir.path());
            web.take();
            let (run, read) = reads(command);
            let run = run.expect(0);
            let read = if is_url { web.take().bytes } else { read.saturating_sub(own) };
            eprintln!(
                "{place:.4} {arguments:?}: {read} of {size}, {:.3} %",
                read as f64 * 100.0 / size as f64
            );
            assert!(
                read > content.len() as u64 / 2 && read * 1000 < size * permille,
                "{arguments:?}: {read} of {size} bytes"
            );
            run
        };
        let run = done(&["find", "--user", &user, "--subject", &subject, "--json"], 10);
        assert_eq!(found(&run), [&*member]);
        let run = done(&["find", "--subject", &subject, "--json"], 20);
        assert_eq!(found(&run), [&*member]);
        let run = done(&["cat", &member], 10);
        assert!(run.stdout == content);
        let target = |name: &str| dir.path().join(format!("{name} {number}"));
        let (one, two) = (target("one"), target("two"));
        let to = |target: &Path| format!("directory:{}", target.display());
        let run = done(&["import", "--user", &user, "--subject", &subject, "--to", &to(&one)], 10);
        check_import(&run, &one);
        let run = done(&["import", "--subject", &subject, "--to", &to(&two)], 20);
        check_import(&run, &two);
        let run = done(&["list", "--json", "--user", &user], 10);
        let listed = json_lines(&run.stdout).len();
        assert_eq!(listed, MAILS + FILES + 2);
    }
}

fn small() -> Saved {
    let source =
        writable(simulator::Options { users: 2, mails: 60, files: 20, ..Default::default() });
    Saved::export(&source)
}

/// All that can be done with an archive on a server, each with what it writes; and the place where
/// files come to be.
fn commands<'a>(member: &'a str, target: &'a str, to: &'a str) -> [Vec<&'a str>; 6] {
    [
        vec!["find", "--json"],
        vec!["list"],
        vec!["list", "--json"],
        vec!["cat", member],
        vec!["extract", "-C", target],
        vec!["import", "--to", to, "--progress", "none"],
    ]
}

fn ask(place: &str, arguments: &[&str], home: &Path) -> Run {
    let mut command = tar365(&[&[arguments[0], place], &arguments[1..]].concat());
    // The most talkative it can be.
    command.env("HOME", home).env("TAR365_LOG", "trace");
    let run = run(command);
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &run.stderr;
    for secret in [SECRET, "tr3asure", "pa55word"] {
        assert!(!said.contains(secret), "{arguments:?}: {}", run.stderr);
    }
    run
}

#[test]
fn an_archive_on_a_server_is_like_one_in_a_file() {
    let saved = small();
    let archive = Archive::new(&saved.bytes);
    let items = lines(&archive);
    let member = text(&items[7], "path");
    // Also from servers that fail now and then, or give less than they are asked for.
    for manner in [Manner::Good, Manner::Unavailable(7), Manner::Truncates(7), Manner::Stingy] {
        let web = Web::serve(Path::new(&saved.path()), manner);
        let dir = TempDir::new().unwrap();
        let mut results = Vec::new();
        for (name, place) in [("file", saved.path()), ("web", web.url())] {
            let target = dir.path().join(name);
            std::fs::create_dir(&target).unwrap();
            let [extracted, imported] = ["extracted", "imported"].map(|name| target.join(name));
            std::fs::create_dir(&extracted).unwrap();
            let to = format!("directory:{}", imported.display());
            let runs = commands(member, extracted.to_str().unwrap(), &to);
            let outputs: Vec<_> = runs
                .iter()
                .map(|arguments| ask(&place, arguments, dir.path()).expect(0).stdout)
                .collect();
            results.push((outputs, files_below(&target)));
        }
        let [file, web_result] = results.try_into().unwrap();
        assert!(file.1.len() > items.len());
        assert!(file == web_result, "{manner:?}");
        let Counts { requests, authorized, .. } = web.counts();
        assert!(requests == authorized && requests > 6, "{manner:?}: {requests}");
    }
}

#[test]
fn a_compressed_archive_on_a_server_is_read_as_a_stream() {
    let source =
        writable(simulator::Options { users: 1, mails: 20, files: 5, ..Default::default() });
    let plain = source.export(&[]).expect(0).stdout;
    for compression in ["zstd", "gzip"] {
        let saved = Saved::new(source.export(&["--compress", compression]).expect(0).stdout);
        let web = Web::serve(Path::new(&saved.path()), Manner::Good);
        let dir = TempDir::new().unwrap();
        let run = ask(&web.url(), &["find", "--json"], dir.path()).expect(0);
        assert!(
            run.stdout == find(&Saved::new(plain.clone()).path(), &["--json"]).expect(0).stdout
        );
        ask(&web.url(), &["verify"], dir.path()).expect(0);
    }
}

#[test]
fn a_server_that_can_not_be_relied_on_is_an_error_that_says_why() {
    let saved = small();
    let archive = Archive::new(&saved.bytes);
    let member = text(&lines(&archive)[7], "path").to_owned();
    let bytes = archive.member(&member).unwrap().content.clone();
    let cases = [
        (Manner::NoParts, "gives no parts of files"),
        (Manner::Changes(2), "another one now"),
        (Manner::ChangesSilently { after: 2, tagged: true }, "another one now"),
        (Manner::ChangesSilently { after: 2, tagged: false }, "another one now"),
        (Manner::Elsewhere(2), "another part than it was asked for"),
        (Manner::Status(403), "403"),
        (Manner::Status(404), "404"),
        (Manner::Status(503), "503"),
        (Manner::Truncates(1), ""),
    ];
    std::thread::scope(|scope| {
        for (manner, reason) in cases {
            let (saved, member, bytes) = (&saved, &member, &bytes);
            scope.spawn(move || {
                let dir = TempDir::new().unwrap();
                let to = format!("directory:{}", dir.path().join("imported").display());
                let commands =
                    [&["find", "--json"][..], &["cat", member], &["import", "--to", &to]];
                // It is waited for a while.
                let waits = matches!(manner, Manner::Status(503) | Manner::Truncates(1));
                for arguments in commands.into_iter().take(if waits { 1 } else { 3 }) {
                    let web = Web::serve(Path::new(&saved.path()), manner);
                    let run = ask(&web.url(), arguments, dir.path()).expect(1);
                    assert!(run.stderr.contains(reason), "{manner:?}: {}", run.stderr);
                    let error = run
                        .stderr
                        .lines()
                        .filter(|line| line.starts_with("tar365: error: "))
                        .count();
                    assert_eq!(error, 1, "{}", run.stderr);
                    if arguments[0] == "cat" {
                        assert!(bytes.starts_with(&run.stdout), "wrong bytes");
                    }
                }
            });
        }
    });
}

#[test]
fn a_server_that_is_not_there_is_an_error_without_its_secrets() {
    let dir = TempDir::new().unwrap();
    for place in [
        "http://eve:pa55word@127.0.0.1:1/m365.tar?sig=tr3asure",
        "http://[/?sig=tr3asure",
        "http://?sig=tr3asure",
    ] {
        for command in [
            &["find"][..],
            &["list"],
            &["cat", "x"],
            &["verify"],
            &["extract"],
            &["drill"],
            &["diff", place],
        ] {
            let run = ask(place, command, dir.path()).expect(1);
            assert!(run.stderr.contains("opening http://"), "{}", run.stderr);
        }
    }
}
