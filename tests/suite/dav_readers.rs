//! What a restore put on a DAV server is read by programs that people use: khal lists every event of
//! Radicale's folders, and khard every contact.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use simulator::Options;

use crate::dav_server::{Kind, Server};
use crate::harness::{Tenant, members, run, tool};

/// The folders of the server's collections, and the `UID`s of what is in them of a kind.
fn collections(server: &Server, begins: &str) -> Vec<PathBuf> {
    let mut open = vec![server.dir.path().join("store/collection-root")];
    let mut found = BTreeSet::new();
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let is_hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
            if path.is_dir() && !is_hidden {
                open.push(path);
            } else if !is_hidden && std::fs::read_to_string(&path).unwrap().contains(begins) {
                found.insert(path.parent().unwrap().to_owned());
            }
        }
    }
    found.into_iter().collect()
}

/// The `UID` of each item of an archive that has such a component.
fn uids(archive: &[u8], begins: &str) -> BTreeSet<String> {
    let texts = members(archive).into_iter().filter(|member| !member.is_directory);
    let texts = texts.filter_map(|member| String::from_utf8(member.content).ok());
    let texts = texts.filter(|text| text.starts_with("BEGIN:V") && text.contains(begins));
    texts
        .map(|text| {
            let text = text.replace("\r\n ", "");
            let line = text.lines().find_map(|line| line.strip_prefix("UID:"));
            line.unwrap().trim().to_owned()
        })
        .collect()
}

/// A server with all that a tenant has, and the archive that it came from.
fn restored(service: &str, protocol: &str) -> (Server, Vec<u8>) {
    let tenant = Tenant::start(Options { users: 2, mails: 1, files: 1, ..Options::default() });
    let bytes = tenant.export(&["--service", service]).expect(0).stdout;
    let server = Server::start(Kind::Radicale);
    let archive = server.dir.path().join("m365.tar");
    std::fs::write(&archive, &bytes).unwrap();
    let journal = server.dir.path().join("journal");
    let more = ["--journal", journal.to_str().unwrap()];
    server.import(&archive, protocol, &more).expect(0);
    (server, bytes)
}

/// What a program prints, a line each.
fn listed(program: &str, config: &Path, arguments: &[&str], dir: &Path) -> BTreeSet<String> {
    let mut command = tool(program);
    command.arg("-c").arg(config).args(arguments);
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
        command.env(variable, dir);
    }
    let said = String::from_utf8(run(command).expect(0).stdout).unwrap();
    said.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn khal_lists_every_event() {
    let (server, archive) = restored("calendar", "caldav");
    let dir = server.dir.path();
    let mut text = format!(
        "[sqlite]\npath = {}\n[locale]\nlocal_timezone = UTC\ndefault_timezone = UTC\n\
         timeformat = %H:%M\ndateformat = %Y-%m-%d\nlongdateformat = %Y-%m-%d\n\
         datetimeformat = %Y-%m-%d %H:%M\nlongdatetimeformat = %Y-%m-%d %H:%M\n[calendars]\n",
        dir.join("khal.db").display()
    );
    let calendars = collections(&server, "BEGIN:VEVENT");
    assert!(calendars.len() >= 4, "{calendars:?}");
    for (number, calendar) in calendars.iter().enumerate() {
        let _ = write!(text, "[[calendar{number}]]\npath = {}\n", calendar.display());
    }
    let config = dir.join("khal.conf");
    std::fs::write(&config, text).unwrap();
    let arguments =
        ["list", "--once", "--format", "{uid}", "--day-format", "", "2020-01-01", "2029-01-01"];
    let listed = listed("khal", &config, &arguments, dir);
    let wanted = uids(&archive, "BEGIN:VEVENT");
    assert!(wanted.len() > 20, "{}", wanted.len());
    assert_eq!(listed, wanted);
}

#[test]
fn khard_lists_every_contact() {
    let (server, archive) = restored("contacts", "carddav");
    let dir = server.dir.path();
    let mut text = "[addressbooks]\n".to_owned();
    let books = collections(&server, "BEGIN:VCARD");
    assert!(books.len() >= 2, "{books:?}");
    for (number, book) in books.iter().enumerate() {
        let _ = write!(text, "[[book{number}]]\npath = {}\n", book.display());
    }
    text += "[general]\ndebug = no\n";
    let config = dir.join("khard.conf");
    std::fs::write(&config, text).unwrap();
    let listed = listed("khard", &config, &["list", "--parsable", "--fields", "uid"], dir);
    let wanted = uids(&archive, "BEGIN:VCARD");
    assert!(wanted.len() >= 20, "{}", wanted.len());
    assert_eq!(listed, wanted);
}
