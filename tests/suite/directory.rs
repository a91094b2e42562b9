//! An archive restored to a directory: what is there is read by programs that know nothing of us,
//! is there once whatever happens, and goes again when it is taken back.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use simulator::Options;
use tempfile::TempDir;

use crate::harness::{
    Archive, Run, Tenant, ends, files_below, python, run, send, sha256, tar365, text, wait_until,
};

const LAYOUTS: [&str; 3] = ["native", "maildir", "mboxrd"];

/// One archive for all tests.
struct Fixture {
    archive: Archive,
    dir: TempDir,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let options =
            Options { users: 2, mails: 80, files: 25, special_users: false, ..Options::default() };
        let bytes = Tenant::start(options).export(&[]).expect(0).stdout;
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("m365.tar"), &bytes).unwrap();
        Fixture { archive: Archive::new(&bytes), dir }
    })
}

/// A mail of the archive as a mailbox should show it: digest, letters of Maildir, seconds.
type Mail = (String, String, i64);

impl Fixture {
    fn path(&self) -> PathBuf {
        self.dir.path().join("m365.tar")
    }

    /// The sections of a service.
    fn sections(&self, service: &str) -> Vec<String> {
        let paths = self.archive.members.iter().map(|member| member.path.as_str());
        let of_service = |path: &str| {
            let prefix = path.strip_suffix(".ndjson")?;
            (prefix.split('/').count() == 3 && prefix.ends_with(&format!("/{service}")))
                .then(|| prefix.to_owned())
        };
        paths.filter_map(of_service).collect()
    }

    /// All files that were exported.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let items = self.archive.members.iter().filter(|member| {
            member.path.starts_with("users/")
                && member.path.split('/').count() > 3
                && !member.is_directory
        });
        items.map(|member| (member.path.clone(), member.content.clone())).collect()
    }

    /// The mails of a section by their folder's path, each with its bytes changed by `as_stored`.
    fn mails(
        &self,
        section: &str,
        as_stored: impl Fn(&[u8]) -> Vec<u8>,
    ) -> BTreeMap<String, Vec<Mail>> {
        let mut mails: BTreeMap<String, Vec<Mail>> = BTreeMap::new();
        let members = self.archive.items(section);
        for line in self.archive.lines(section) {
            if let Some(member) = members.get(text(&line, "id")) {
                let (folder, _) = member.path[section.len() + 1..].rsplit_once('/').unwrap();
                let mail =
                    (sha256(&as_stored(&member.content)), letters(&line["graph"]), member.mtime);
                mails.entry(folder.to_owned()).or_default().push(mail);
            }
        }
        mails.values_mut().for_each(|mails| mails.sort());
        mails
    }
}

fn letters(graph: &Value) -> String {
    let properties = graph["singleValueExtendedProperties"].as_array();
    let verb = properties.into_iter().flatten().find(|p| text(p, "id") == "Integer 0x1081");
    let verb = verb.map_or("", |verb| text(verb, "value"));
    let letters = [
        ("D", graph["isDraft"] == true),
        ("F", graph["flag"]["flagStatus"] == "flagged"),
        ("P", verb == "104"),
        ("R", verb == "102" || verb == "103"),
        ("S", graph["isRead"] == true),
    ];
    letters.into_iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| letter).collect()
}

/// A directory, and journals beside it.
struct Place {
    dir: TempDir,
    layout: &'static str,
}

impl Place {
    fn new(layout: &'static str) -> Self {
        let place = Self { dir: TempDir::new().unwrap(), layout };
        std::fs::create_dir(place.root()).unwrap();
        place
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    fn journal(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn command(&self, journal: &str, more: &[&str]) -> Command {
        let to = format!("directory:{}", self.root().display());
        let mut command = tar365(&["import"]);
        command.arg(fixture().path()).args(["--to", &to, "--layout", self.layout]);
        command.args(["--journal", &self.journal(journal)]).args(more);
        command
    }

    fn import(&self, journal: &str, more: &[&str]) -> Run {
        run(self.command(journal, more))
    }

    fn undo(&self, journal: &str) -> Run {
        run(tar365(&["import", "--undo", &self.journal(journal)]))
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files_below(&self.root())
    }

    /// The mails that a Python program finds below an owner's folder, by folder.
    fn python(&self, program: &str, owner: &str) -> BTreeMap<String, Vec<Mail>> {
        let printed = python(program, &[self.root().join(owner).as_os_str()]);
        let mut mails: BTreeMap<String, Vec<Mail>> = serde_json::from_str(&printed).unwrap();
        mails.retain(|_, mails| !mails.is_empty());
        mails.values_mut().for_each(|mails| mails.sort());
        mails
    }
}

fn owner(section: &str) -> &str {
    section.split('/').nth(1).unwrap()
}

fn folders_in(root: &Path) -> usize {
    std::fs::read_dir(root).unwrap().count()
}

#[test]
fn native_is_the_archive() {
    let place = Place::new("native");
    place.import("1", &[]).expect(0);
    let wanted = fixture().files();
    assert!(wanted.len() > 100);
    assert!(place.files() == wanted, "{:?}", place.files().keys());
    for member in fixture().archive.members.iter().filter(|m| wanted.contains_key(&m.path)) {
        let found = std::fs::metadata(place.root().join(&member.path)).unwrap();
        assert_eq!(found.mtime(), member.mtime, "{}", member.path);
    }
}

const READ_MAILDIR: &str = r"
import hashlib, json, mailbox, sys
box = mailbox.Maildir(sys.argv[1], create=False)
def all(box):
    return [[hashlib.sha256(box.get_bytes(k)).hexdigest(), m.get_flags(), int(m.get_date())]
            for k, m in box.iteritems()]
folders = {name: all(box.get_folder(name)) for name in box.list_folders()}
print(json.dumps({**folders, '': all(box)}))
";

#[test]
fn maildir_is_read_by_python() {
    let place = Place::new("maildir");
    place.import("1", &[]).expect(0);
    for section in fixture().sections("mail") {
        let mails = fixture().mails(&section, <[u8]>::to_vec);
        let found = place.python(READ_MAILDIR, owner(&section));
        let inbox = well_known_inbox(&section);
        assert_eq!(found[""], mails[&inbox]);
        // Names of folders have their own tests; here, nothing is lost between them.
        let all = |mails: &BTreeMap<String, Vec<Mail>>| {
            let mut all: Vec<_> = mails.values().cloned().collect();
            all.sort();
            all
        };
        assert_eq!(all(&found), all(&mails));
    }
}

/// Path of the inbox in a section.
fn well_known_inbox(section: &str) -> String {
    let lines = fixture().archive.lines(section);
    let inbox = lines.iter().find(|line| line["graph"]["wellKnownName"] == "inbox").unwrap();
    text(inbox, "path")[section.len() + 1..].trim_end_matches('/').to_owned()
}

const READ_MBOX: &str = r"
import calendar, glob, hashlib, json, mailbox, os, re, sys, time
def message(box, key):
    content = re.sub(rb'(?m)^>(>*From )', rb'\1', box.get_bytes(key))
    sender, date = box.get_message(key).get_from().split(' ', 1)
    assert re.fullmatch(r'[!-~]+', sender), sender
    seconds = calendar.timegm(time.strptime(date, '%a %b %d %H:%M:%S %Y'))
    return [hashlib.sha256(content).hexdigest(), '', seconds]
def all(path):
    box = mailbox.mbox(path, create=False)
    return [message(box, key) for key in box.keys()]
root = glob.escape(sys.argv[1])
print(json.dumps({os.path.relpath(path, sys.argv[1])[:-5]: all(path)
                  for path in glob.glob(root + '/**/*.mbox', recursive=True)}))
";

#[test]
fn mboxrd_is_read_by_python() {
    let place = Place::new("mboxrd");
    place.import("1", &[]).expect(0);
    let as_stored = |bytes: &[u8]| {
        let mut lf: Vec<u8> = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte == b'\n' && lf.last() == Some(&b'\r') {
                lf.pop();
            }
            lf.push(byte);
        }
        if lf.last().is_some_and(|last| *last != b'\n') {
            lf.push(b'\n');
        }
        lf
    };
    for section in fixture().sections("mail") {
        let mut mails = fixture().mails(&section, as_stored);
        for mail in mails.values_mut().flatten() {
            mail.1.clear();
        }
        mails.values_mut().for_each(|mails| mails.sort());
        assert_eq!(place.python(READ_MBOX, owner(&section)), mails);
    }
}

#[test]
fn a_second_run_adds_nothing_and_undo_takes_all() {
    for layout in LAYOUTS {
        let place = Place::new(layout);
        std::fs::write(place.root().join("mine"), "mine").unwrap();
        place.import("1", &[]).expect(0);
        let files = place.files();
        place.import("2", &[]).expect(0);
        assert!(place.files() == files, "{layout}: {:?}", place.files().keys());
        place.undo("2").expect(0);
        assert!(place.files() == files, "{layout}: what was there before the run stays");
        place.undo("1").expect(0);
        assert_eq!(place.files().into_keys().collect::<Vec<_>>(), ["mine"]);
        assert_eq!(folders_in(&place.root()), 1, "{layout}: no folder stays");
    }
}

/// Killed whenever so much is there; then it goes on, or is taken back.
#[test]
fn killed_and_gone_on() {
    for layout in LAYOUTS {
        let whole = Place::new(layout);
        whole.import("1", &[]).expect(0);
        let size = |place: &Place| place.files().values().map(Vec::len).sum::<usize>();
        let total = size(&whole);
        for part in 1..8 {
            let place = Place::new(layout);
            let mut command = place.command("1", &[]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            wait_until(Duration::from_secs(60), "so much is there", || {
                lives_size(&place.root()) >= total / 8 * part || child.try_wait().unwrap().is_some()
            });
            send(child.id(), Signal::KILL);
            ends(&mut child, Duration::from_secs(10));
            if part % 3 == 0 {
                place.undo("1").expect(0);
                assert_eq!(folders_in(&place.root()), 0, "{layout}, {part}/8");
                continue;
            }
            place.import("1", &[]).expect(0);
            assert!(place.files() == whole.files(), "{layout}, {part}/8");
            place.undo("1").expect(0);
            assert_eq!(folders_in(&place.root()), 0, "{layout}, {part}/8");
        }
    }
}

/// Bytes below a folder that somebody writes to.
fn lives_size(root: &Path) -> usize {
    let entries = std::fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => lives_size(&entry.path()),
        Ok(found) => usize::try_from(found.len()).unwrap(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[test]
fn another_file_of_the_name() {
    let place = Place::new("native");
    let (path, content) = fixture().files().pop_first().unwrap();
    let mine = place.root().join(&path);
    std::fs::create_dir_all(mine.parent().unwrap()).unwrap();
    std::fs::write(&mine, "mine").unwrap();
    let told = place.import("skip", &[]).expect(3);
    assert!(
        told.stderr.contains("exists") || told.stderr.contains("another file"),
        "{}",
        told.stderr
    );
    assert_eq!(std::fs::read(&mine).unwrap(), b"mine");
    place.undo("skip").expect(0);
    place.import("replace", &["--on-conflict", "replace"]).expect(0);
    assert_eq!(std::fs::read(&mine).unwrap(), content);
    place.undo("replace").expect(0);
    assert_eq!(place.files(), BTreeMap::from([(path, b"mine".to_vec())]));
}

#[test]
fn links_are_not_followed() {
    for (layout, link) in [("native", "users"), ("maildir", ""), ("mboxrd", "")] {
        let place = Place::new(layout);
        let outside = place.dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let section = &fixture().sections("mail")[0];
        let link = if link.is_empty() { owner(section) } else { link };
        symlink(&outside, place.root().join(link)).unwrap();
        place.import("1", &[]).expect(3);
        assert_eq!(folders_in(&outside), 0, "{layout}");
    }
}
