//! Places in a real directory, read by Python's `mailbox` where there is a format to get right.

mod mailboxes;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use archive::metadata::Line;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::content::{Content, Passing};
use crate::options::Destination;
use crate::place::{How, Loss};
use crate::section::Owner;

const MAIL: &str = "users/anna@contoso.com/mail";
const DRIVE: &str = "users/anna@contoso.com/onedrive";

/// A directory, and a journal beside it.
struct World {
    dir: TempDir,
    layout: Layout,
    policy: OnConflict,
    /// Those that are in use: they can be opened only once.
    journals: Mutex<HashMap<String, Weak<Journal>>>,
}

impl World {
    fn new(layout: Layout) -> Self {
        let (dir, journals) = (TempDir::new().unwrap(), Mutex::default());
        let world = Self { dir, layout, policy: OnConflict::Skip, journals };
        fs::create_dir(world.root()).unwrap();
        world
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    fn journal(&self, name: &str) -> Arc<Journal> {
        let mut journals = self.journals.lock().unwrap();
        if let Some(journal) = journals.get(name).and_then(Weak::upgrade) {
            return journal;
        }
        let journal = Arc::new(Journal::open(&self.dir.path().join(name), &[]).unwrap());
        journals.insert(name.to_owned(), Arc::downgrade(&journal));
        journal
    }

    /// A run of one section; `name` is its journal.
    fn run(&self, section: &str, name: &str) -> Run {
        self.try_run(section, name).unwrap()
    }

    fn try_run(&self, prefix: &str, name: &str) -> Result<Run, Error> {
        let service = if prefix.ends_with("/mail") { Service::Mail } else { Service::OneDrive };
        let (owner, label) = (Owner::default(), String::new());
        let section = Section { prefix: prefix.to_owned(), service, owner, label };
        let options = Options {
            destination: Destination::Beside { label: None },
            on_conflict: self.policy,
            map_user: Vec::new(),
            to_user: None,
            concurrency: 1,
            spool_dir: self.dir.path().to_owned(),
            spool_limit: 1 << 20,
            enable_rules: false,
            enable_replies: false,
            incomplete: false,
        };
        let journal = self.journal(name);
        let target = DirectoryTarget::new(self.root(), self.layout);
        let place = target.open_now(&section, &options, Arc::clone(&journal))?;
        Ok(Run { place, journal, section: prefix.to_owned() })
    }

    /// Takes back all that a journal knows. What was kept.
    fn undo(&self, name: &str) -> Vec<String> {
        let journal = self.journal(name);
        let target = DirectoryTarget::new(self.root(), self.layout);
        let mut kept = Vec::new();
        for (section, stored) in journal.places().unwrap() {
            let place = target.reopen(&section, &stored, Arc::clone(&journal)).unwrap();
            for what in [What::Item, What::Folder] {
                let all = journal.made(&section, what, None, 1000).unwrap();
                let mut told = |(_, made): &(i64, Made), undone: Result<Undone, Error>| {
                    if undone? == Undone::Kept {
                        kept.push(made.path.clone());
                    }
                    Ok(())
                };
                place.undo_all_now(&all, &mut told).unwrap();
            }
            place.finish_now().unwrap();
        }
        kept
    }

    /// All there is: of files the bytes, of links where they lead, of folders nothing.
    fn tree(&self) -> BTreeMap<String, Vec<u8>> {
        let mut tree = BTreeMap::new();
        let mut open = vec![self.root()];
        while let Some(next) = open.pop() {
            for entry in fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.root()).unwrap().to_str().unwrap().to_owned();
                let found = fs::symlink_metadata(&path).unwrap();
                if found.is_dir() {
                    tree.insert(name + "/", Vec::new());
                    open.push(path);
                } else if found.is_symlink() {
                    let leads = fs::read_link(&path).unwrap();
                    tree.insert(name + "@", leads.to_str().unwrap().into());
                } else {
                    tree.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        tree
    }

    fn files(&self) -> Vec<String> {
        self.tree().into_keys().filter(|name| !name.ends_with('/')).collect()
    }

    /// What a Python program prints, as JSON; its argument is the directory.
    fn python(&self, program: &str) -> Value {
        let output =
            Command::new("python3").arg("-c").arg(program).arg(self.root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

struct Run {
    place: DirectoryPlace,
    journal: Arc<Journal>,
    section: String,
}

impl Run {
    /// As the restore does it, up to the journal: a kill there is the worst.
    fn put_and_die(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        self.journal.begin(&self.section, &item.path, &item.line.id)?;
        self.place.put_now(item, trail)
    }

    fn put(&self, item: &Item, trail: &[Folder]) -> Result<Restored, Error> {
        let restored = self.put_and_die(item, trail);
        match &restored {
            Ok(restored) => self.journal.done(&self.section, &item.path, restored)?,
            Err(error) => self.journal.fail(&self.section, &item.path, error)?,
        }
        restored
    }

    fn how(&self, item: &Item, trail: &[Folder]) -> How {
        self.put(item, trail).unwrap().how
    }
}

fn item(path: &str, bytes: &[u8], graph: Value) -> Item {
    let line = Line { kind: "x".into(), id: path.to_owned(), path: Some(path.to_owned()), graph };
    Item {
        line,
        path: path.to_owned(),
        mtime: 1_600_000_000,
        size: bytes.len() as u64,
        converted: false,
        is_doubtful: false,
        may_be_late: false,
        content: Content::Memory(bytes.to_vec().into()),
    }
}

fn mail(name: &str, bytes: &[u8]) -> Item {
    item(&format!("{MAIL}/Inbox/{name}.eml"), bytes, json!({"isRead": true}))
}

fn file(path: &str, bytes: &[u8]) -> Item {
    item(&format!("{DRIVE}/{path}"), bytes, Value::Null)
}

fn trail(path: &str, graph: Value) -> Vec<Folder> {
    let name = path.rsplit('/').next().unwrap().to_owned();
    let well_known = (path == "Inbox").then(|| "inbox".to_owned());
    vec![Folder { id: path.to_owned(), name, well_known, path: path.to_owned(), graph }]
}

fn inbox() -> Vec<Folder> {
    trail("Inbox", Value::Null)
}

#[test]
fn native_files_are_those_of_the_archive() {
    let world = World::new(Layout::Native);
    let times = json!({"fileSystemInfo": {"lastModifiedDateTime": "2020-01-02T03:04:05Z"}});
    let docs = trail("Docs", times);
    let large = vec![7; 300_000];
    let passing = Item {
        content: Content::Passing(Passing::new(Box::new(std::io::Cursor::new(large.clone())))),
        ..file("Docs/large.bin", &large)
    };
    let run = world.run(DRIVE, "1");
    run.place.folder_now(&docs).unwrap();
    assert_eq!(run.how(&file("Docs/a.txt", b"a"), &docs), How::Created);
    assert_eq!(run.how(&file("Docs/empty", b""), &docs), How::Created);
    assert_eq!(run.how(&passing, &docs), How::Created);
    run.place.finish_now().unwrap();
    let tree = world.tree();
    let root = "users/anna@contoso.com/onedrive/Docs";
    assert_eq!(world.files(), ["a.txt", "empty", "large.bin"].map(|name| format!("{root}/{name}")));
    assert_eq!(tree[&format!("{root}/large.bin")], large);
    let time = |path: &str| fs::metadata(world.root().join(path)).unwrap().mtime();
    assert_eq!((time(&format!("{root}/a.txt")), time(root)), (1_600_000_000, 1_577_934_245));

    let again = world.run(DRIVE, "2");
    assert_eq!(again.how(&file("Docs/a.txt", b"a"), &docs), How::Present);
    assert_eq!(again.how(&file("Docs/empty", b""), &docs), How::Present);
    again.place.finish_now().unwrap();
    assert_eq!(world.tree(), tree);
    assert_eq!(world.undo("2"), [""; 0]);
    assert_eq!(world.tree(), tree, "the second run made nothing, so its undo takes nothing");
    assert_eq!(world.undo("1"), [""; 0]);
    assert_eq!(world.tree(), BTreeMap::new());
}

#[test]
fn content_that_is_not_proven_never_appears() {
    let world = World::new(Layout::Native);
    let run = world.run(DRIVE, "1");
    let short = Item { size: 5, ..file("a.txt", b"1234") };
    let error = run.put(&short, &[]).unwrap_err();
    assert!(matches!(error, Error::Content { .. }), "{error:?}");
    run.place.finish_now().unwrap();
    assert_eq!(world.files(), [""; 0]);
}

#[test]
fn conflicts() {
    let mut world = World::new(Layout::Native);
    let folder = world.root().join(DRIVE);
    fs::create_dir_all(folder.join("c.txt")).unwrap();
    fs::write(folder.join("a.txt"), "mine").unwrap();
    symlink("/etc/passwd", folder.join("b.txt")).unwrap();
    let before = world.tree();
    let (a, b, c) = (file("a.txt", b"new"), file("b.txt", b"new"), file("c.txt", b"new"));
    let run = world.run(DRIVE, "skip");
    for item in [&a, &b, &c] {
        assert_eq!(run.put(item, &[]).unwrap_err().cause(), "exists");
    }
    run.place.finish_now().unwrap();
    assert_eq!(world.tree(), before);

    world.policy = OnConflict::Copy;
    for (journal, wanted) in [("copy", How::Created), ("copy again", How::Present)] {
        let run = world.run(DRIVE, journal);
        for item in [&a, &b, &c] {
            assert_eq!(run.how(item, &[]), wanted);
        }
        run.place.finish_now().unwrap();
        assert_eq!(fs::read(folder.join("b (2).txt")).unwrap(), b"new");
        assert_eq!(world.tree().len(), before.len() + 3);
    }
    assert_eq!(world.undo("copy"), [""; 0]);
    assert_eq!(world.tree(), before);

    world.policy = OnConflict::Replace;
    let run = world.run(DRIVE, "replace");
    for item in [&a, &b] {
        assert!(matches!(run.how(item, &[]), How::Replaced { .. }));
    }
    assert_eq!(run.put(&c, &[]).unwrap_err().cause(), "exists");
    run.place.finish_now().unwrap();
    assert_eq!(fs::read(folder.join("a.txt")).unwrap(), b"new");
    assert_eq!(fs::read(folder.join("b.txt")).unwrap(), b"new");
    assert_eq!(world.undo("replace"), [""; 0]);
    assert_eq!(world.tree(), before);
}

#[test]
fn nothing_leaves_the_directory() {
    let world = World::new(Layout::Native);
    let outside = world.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let run = world.run(DRIVE, "1");
    for path in [
        "../x",
        "a/../../x",
        "/x",
        "a//x",
        "./x",
        "a\\x",
        "a\nx",
        "CON",
        "a/nul.txt",
        "a:b",
        "a ",
        "a.",
        "a\u{202e}b",
    ] {
        let error = run.put(&file(path, b"x"), &[]).unwrap_err();
        assert_eq!(error.cause(), "path", "{path:?}: {error}");
    }
    let elsewhere = item("users/other@contoso.com/onedrive/x", b"x", Value::Null);
    assert_eq!(run.put(&elsewhere, &[]).unwrap_err().cause(), "path");
    assert_eq!(run.place.folder_now(&trail("../x", Value::Null)).unwrap_err().cause(), "path");
    symlink(&outside, world.root().join(DRIVE).join("link")).unwrap();
    let error = run.put(&file("link/x", b"x"), &[]).unwrap_err();
    assert!(matches!(error, Error::Directory { .. }), "{error:?}");
    assert!(run.place.folder_now(&trail("link/y", Value::Null)).is_err());
    run.place.finish_now().unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    for prefix in ["users/../mail", "/users/a/mail", "users/a/CON/mail"] {
        assert_eq!(world.try_run(prefix, "2").err().unwrap().cause(), "path");
    }
}

#[test]
fn links_in_mail_trees_are_not_followed() {
    for layout in [Layout::Maildir, Layout::Mboxrd] {
        let world = World::new(layout);
        let outside = world.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let run = world.run(MAIL, "1");
        let owner = world.root().join("anna@contoso.com");
        symlink(&outside, owner.join(".Sent")).unwrap();
        fs::write(outside.join("Sent.mbox"), "").unwrap();
        symlink(outside.join("Sent.mbox"), owner.join("Sent.mbox")).unwrap();
        let error = run.put(&mail("1", b"x"), &trail("Sent", Value::Null)).unwrap_err();
        assert!(matches!(error, Error::Directory { .. }), "{error:?}");
        assert_eq!(fs::read(outside.join("Sent.mbox")).unwrap(), b"");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }
}

/// Killed between the file and the journal: the next run knows its own, and so does an undo.
#[test]
fn killed_before_the_journal_knew() {
    for layout in [Layout::Native, Layout::Maildir, Layout::Mboxrd] {
        for resumed in [false, true] {
            let world = World::new(layout);
            let other = world.run(MAIL, "other");
            assert_eq!(other.how(&mail("there", b"A: there\n\n"), &inbox()), How::Created);
            other.place.finish_now().unwrap();
            let before = world.tree();
            let (first, second) = (mail("1", b"A: b\n\n1"), mail("2", b"A: b\n\n2"));
            let there = mail("there", b"A: there\n\n");
            let killed = world.run(MAIL, "1");
            assert_eq!(killed.put_and_die(&there, &inbox()).unwrap().how, How::Present);
            assert_eq!(killed.how(&first, &inbox()), How::Created);
            assert_eq!(killed.put_and_die(&second, &inbox()).unwrap().how, How::Created);
            drop(killed);
            if resumed {
                let run = world.run(MAIL, "1");
                assert_eq!(run.how(&there, &inbox()), How::Present);
                assert_eq!(run.how(&second, &inbox()), How::Created, "its own, {layout:?}");
                run.place.finish_now().unwrap();
            }
            assert_eq!(world.undo("1"), [""; 0]);
            assert_eq!(world.tree(), before, "{layout:?}, resumed: {resumed}");
        }
    }
}

#[test]
fn killed_while_replacing() {
    let mut world = World::new(Layout::Native);
    world.policy = OnConflict::Replace;
    let folder = world.root().join(DRIVE);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("a.txt"), "mine").unwrap();
    let before = world.tree();
    let a = file("a.txt", b"new");
    let run = world.run(DRIVE, "1");
    run.put_and_die(&a, &[]).unwrap();
    drop(run);
    // As if the new file had not come to its name yet.
    fs::remove_file(folder.join("a.txt")).unwrap();
    assert!(matches!(world.run(DRIVE, "1").how(&a, &[]), How::Replaced { .. }));
    fs::remove_file(folder.join("a.txt")).unwrap();
    assert_eq!(world.undo("1"), [""; 0]);
    assert_eq!(world.tree(), before);
}

#[test]
fn what_was_changed_since_stays() {
    let world = World::new(Layout::Native);
    let run = world.run(DRIVE, "1");
    run.put(&file("d/a.txt", b"a"), &[]).unwrap();
    run.put(&file("d/b.txt", b"b"), &[]).unwrap();
    run.place.finish_now().unwrap();
    fs::write(world.root().join(DRIVE).join("d/a.txt"), "edited").unwrap();
    let kept = world.undo("1");
    assert!(kept.contains(&format!("{DRIVE}/d/a.txt")), "{kept:?}");
    assert_eq!(world.files(), [format!("{DRIVE}/d/a.txt")]);
}

#[test]
fn folders_of_several_sections_go_with_the_last() {
    for layout in [Layout::Native, Layout::Maildir, Layout::Mboxrd] {
        let world = World::new(layout);
        fs::remove_dir(world.root()).unwrap();
        for (section, item) in [(MAIL, mail("1", b"A: b\n\n")), (DRIVE, file("a", b"a"))] {
            let run = world.run(section, "1");
            run.put(&item, &[]).unwrap();
            run.place.finish_now().unwrap();
        }
        assert_eq!(world.undo("1"), [""; 0], "{layout:?}");
        assert!(!world.root().exists());
    }
}

/// Something else is where a folder belongs: what is in the folder fails, the rest does not, and
/// nothing of it changes, not even its time.
#[test]
fn what_is_in_the_way_of_a_folder_stays_as_it_is() {
    let world = World::new(Layout::Native);
    let (base, outside) = (world.root().join(DRIVE), world.dir.path().join("outside"));
    fs::create_dir_all(&base).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(base.join("file"), "mine").unwrap();
    symlink(&outside, base.join("link")).unwrap();
    symlink("nowhere", base.join("loose")).unwrap();
    let time = |path: &Path| fs::metadata(path).unwrap().mtime();
    let before = (time(&base.join("file")), time(&outside));
    let times = json!({"lastModifiedDateTime": "2001-02-03T04:05:06Z"});
    let run = world.run(DRIVE, "1");
    for name in ["file", "link", "loose"] {
        let folder = trail(name, times.clone());
        assert!(run.place.folder_now(&folder).is_err(), "{name}");
        assert!(run.put(&file(&format!("{name}/a"), b"a"), &folder).is_err(), "{name}");
    }
    run.put(&file("good/a", b"a"), &trail("good", times)).unwrap();
    run.place.finish_now().unwrap();
    assert_eq!((time(&base.join("file")), time(&outside)), before);
    assert_eq!(time(&base.join("good")), 981_173_106);
    assert_eq!(world.files().len(), 4);
}

/// A run that goes on with an archive that breaks off fails what it does not see.
#[test]
fn what_was_there_before_stays_although_a_later_run_failed() {
    let world = World::new(Layout::Native);
    let place = world.root().join(DRIVE).join("a");
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, "a").unwrap();
    let run = world.run(DRIVE, "1");
    let (there, made) = (file("a", b"a"), file("b", b"b"));
    assert_eq!(run.how(&there, &[]), How::Present);
    assert_eq!(run.how(&made, &[]), How::Created);
    let damaged = Error::Item { cause: "damaged", what: "disproven".into() };
    for item in [&there, &made] {
        run.journal.fail(DRIVE, &item.path, &damaged).unwrap();
        run.place.ground.clear().unwrap();
    }
    // Found again, what a run of this journal made is still its own.
    let run = world.run(DRIVE, "1");
    run.put(&made, &[]).unwrap();
    run.place.finish_now().unwrap();
    drop(run);
    assert_eq!(world.undo("1"), [""; 0]);
    assert_eq!(world.files(), [format!("{DRIVE}/a")]);
}

const READ_MAILDIR: &str = r"
import mailbox, sys, json
box = mailbox.Maildir(sys.argv[1] + '/anna@contoso.com', create=False)
def all(box):
    return sorted([box.get_bytes(k).decode('latin-1'), m.get_subdir(), m.get_flags(), m.get_date()]
                  for k, m in box.iteritems())
print(json.dumps({'': all(box), **{name: all(box.get_folder(name)) for name in box.list_folders()}}))
";

#[test]
fn maildir_is_read_by_python() {
    let world = World::new(Layout::Maildir);
    let sub = trail("Entwürfe v1.0/Alt", Value::Null);
    let flagged = json!({"isDraft": true, "flag": {"flagStatus": "flagged"}, "categories": ["x"]});
    let draft = item(&format!("{MAIL}/Entwürfe v1.0/Alt/2.eml"), b"B: 2\r\n\r\nc\r\n", flagged);
    let run = world.run(MAIL, "1");
    let restored = run.put(&mail("1", b"A: 1\r\n\r\nx\xff"), &inbox()).unwrap();
    assert_eq!(restored.losses, []);
    let tag = archive::path::long_tag(&format!("{MAIL}/Inbox/1.eml"));
    let name = format!("1600000000.{tag}.tar365,S=10:2,S");
    assert_eq!(restored.id, format!("anna@contoso.com/cur/{name}"));
    assert_eq!(run.put(&draft, &sub).unwrap().losses, [Loss::Flags]);
    run.place.finish_now().unwrap();
    let wanted = json!({
        "": [["A: 1\r\n\r\nx\u{ff}", "cur", "S", 1_600_000_000.0]],
        "Entw&APw-rfe v1%2E0.Alt": [["B: 2\r\n\r\nc\r\n", "cur", "DF", 1_600_000_000.0]],
    });
    assert_eq!(world.python(READ_MAILDIR), wanted);

    // A reader marks one as answered and another as not seen by anybody.
    let base = world.root().join("anna@contoso.com");
    fs::rename(
        base.join("cur").join(&name),
        base.join("cur").join(format!("{name}a").replace("2,Sa", "2,RSa")),
    )
    .unwrap();
    let folder = base.join(".Entw&APw-rfe v1%2E0.Alt");
    let tag = archive::path::long_tag(&draft.line.id);
    let plain = format!("1600000000.{tag}.tar365,S=11");
    fs::rename(folder.join(format!("cur/{plain}:2,DF")), folder.join("new").join(plain)).unwrap();
    let tree = world.tree();
    let again = world.run(MAIL, "2");
    assert_eq!(again.how(&mail("1", b"A: 1\r\n\r\nx\xff"), &inbox()), How::Present);
    assert_eq!(again.how(&draft, &sub), How::Present);
    again.place.finish_now().unwrap();
    assert_eq!(world.tree(), tree);
    assert_eq!(world.undo("1"), [""; 0]);
    assert_eq!(world.tree(), BTreeMap::new());
}

#[test]
fn a_journal_is_of_one_place() {
    let mut world = World::new(Layout::Native);
    world.run(MAIL, "1");
    world.layout = Layout::Maildir;
    let error = world.try_run(MAIL, "1").err().unwrap();
    assert!(matches!(error, Error::Usage { .. }), "{error:?}");
    world.run(MAIL, "2");
}

#[test]
fn names_that_are_too_long_are_cut() {
    let name = format!("{}.txt", "ä".repeat(125));
    let second = copy_name(&name, 2);
    assert!(second.len() <= 255 && second.ends_with(" (2).txt"), "{second}");
    assert_ne!(second, copy_name(&name, 3));
    assert_eq!(copy_name("a.tar.gz", 3), "a.tar (3).gz");
    assert_eq!(copy_name(".profile", 2), ".profile (2)");
}
