//! An import that is killed at any moment: the next one completes it, with the journal or without,
//! to exactly what an undisturbed one makes; and the journal takes back what was done until then.
//!
//! `TAR365_SOAK=1` kills at 50 points instead of a few.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use simulator::Options;
use tempfile::TempDir;

use crate::harness::{Archive, Tenant, ends, examine_all, files_below, run, send, tar365, text};
use crate::import_faults::{Place, Random, State, UPN, empty, source, state};
use crate::soak::soak;

/// What happens after the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The same command again.
    Resume,
    /// The same command with another journal.
    Anew,
    /// Nothing but the undo.
    Undo,
    /// First the same command again, then the undo.
    ResumeAndUndo,
}

impl Then {
    pub const ALL: [Self; 4] = [Self::ResumeAndUndo, Self::Undo, Self::Anew, Self::Resume];
}

/// Kills at a time: they wait more than they compute.
const AT_ONCE: usize = 6;

fn points() -> u64 {
    if soak() { 50 } else { 5 }
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until something is so; false if the child ended before.
pub fn reached(child: &mut Child, mut so: impl FnMut() -> bool) -> bool {
    while !so() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    true
}

/// Kills the child as soon as something is so; false if it ended before.
pub fn kill_when(child: &mut Child, so: impl FnMut() -> bool) -> bool {
    if !reached(child, so) {
        return false;
    }
    send(child.id(), Signal::KILL);
    ends(child, Duration::from_secs(20)) == -9
}

/// A tenant that is not empty: one mail and one file are there already.
fn lived_in() -> Place {
    let options = Options { latency: Duration::from_millis(1), ..empty() };
    let place = Place::new(options);
    let tenant = place.tenant.simulator.tenant();
    let user = crate::import_faults::USER;
    tenant
        .add_message(user, "inbox", b"Message-ID: <own@example.com>\r\nSubject: Da\r\n\r\n")
        .unwrap();
    let drive = tenant.users().into_iter().find_map(|user| user.drive).unwrap();
    tenant.put_file(&drive, "Ordner/Eigenes.txt", b"da").unwrap();
    place
}

/// What there is without the import and with it, and how many requests it takes.
struct Undisturbed {
    with: Vec<(&'static str, Vec<String>)>,
    requests: u64,
}

/// A state without what differs from tenant to tenant: when the mail of one's own came.
fn comparable(state: &State) -> Vec<(&'static str, Vec<String>)> {
    let mails = state.mails.iter().map(|mail| match mail.contains("<own@example.com>") {
        true => "own".to_owned(),
        false => mail.clone(),
    });
    let mut mails: Vec<String> = mails.collect();
    mails.sort();
    vec![
        ("folders", state.folders.clone()),
        ("mails", mails),
        ("marks", state.marks.clone()),
        ("files", state.files.clone()),
    ]
}

fn undisturbed() -> &'static Undisturbed {
    static UNDISTURBED: OnceLock<Undisturbed> = OnceLock::new();
    UNDISTURBED.get_or_init(|| {
        let place = lived_in();
        place.import("1", &[]).expect(0);
        let requests = place.tenant.simulator.log().counts().requests;
        Undisturbed { with: comparable(&state(&place.tenant)), requests }
    })
}

pub fn requests(tenant: &Tenant) -> u64 {
    tenant.simulator.log().counts().requests
}

/// One kill and what follows; what is wrong with it.
fn killed(seed: u64, then: Then) -> Result<bool, String> {
    let mut random = Random(seed);
    let place = lived_in();
    let before = comparable(&state(&place.tenant));
    let at = requests(&place.tenant) + 1 + random.below(undisturbed().requests);
    let mut child = start(place.command("1", &[]));
    let was_killed = kill_when(&mut child, || requests(&place.tenant) >= at);
    let name = format!("seed {seed}, {then:?}");
    let same = |what: &str, wanted: &[(&'static str, Vec<String>)]| {
        let is = comparable(&state(&place.tenant));
        for ((part, is), (_, wanted)) in is.iter().zip(wanted) {
            let more: Vec<_> = is.iter().filter(|one| !wanted.contains(one)).take(3).collect();
            let less: Vec<_> = wanted.iter().filter(|one| !is.contains(one)).take(3).collect();
            if is != wanted {
                return Err(format!("{name}: {what}: {part}: +{more:?} -{less:?}"));
            }
        }
        Ok(())
    };
    let ends = |what: &str, run: &crate::harness::Run| match run.code {
        0 => Ok(()),
        code => Err(format!("{name}: {what} ended with {code}: {}", run.stderr)),
    };
    match then {
        Then::Anew => ends("without the journal", &place.import("2", &[]))?,
        Then::Resume | Then::ResumeAndUndo => ends("resuming", &place.import("1", &[]))?,
        Then::Undo => {}
    }
    if then != Then::Undo {
        same("completed", &undisturbed().with)?;
    }
    if matches!(then, Then::Undo | Then::ResumeAndUndo) && Path::new(&place.journal("1")).exists() {
        ends("undo", &place.undo("1"))?;
        same("undone", &before)?;
        ends("undo again", &place.undo("1"))?;
    }
    Ok(was_killed)
}

/// Examines all, a few at a time; each says whether the kill came before the end.
#[track_caller]
pub fn all_of<C: Sync>(cases: &[C], examine: impl Fn(&C) -> Result<bool, String> + Sync) {
    let in_time = examine_all(cases, AT_ONCE, examine);
    let killed = in_time.iter().filter(|in_time| **in_time).count();
    assert!(killed * 4 > cases.len() * 3, "only {killed} of {} were killed in time", cases.len());
}

#[test]
fn a_killed_import_to_the_tenant_is_completed_or_taken_back() {
    undisturbed();
    let cases: Vec<_> = (0..points()).flat_map(|seed| Then::ALL.map(|then| (seed, then))).collect();
    all_of(&cases, |(seed, then)| killed(*seed, *then));
}

/// They are set at the end, so the run that goes on has to know whose folders it finds.
#[test]
fn folders_have_their_times_although_the_run_that_made_them_died() {
    let section = format!("users/{UPN}/onedrive");
    let times = |archive: &Archive| -> BTreeMap<String, String> {
        let lines = archive.lines(&section).into_iter();
        let folders = lines.filter(|line| text(line, "kind") == "folder");
        let time = |line: &Value| {
            text(&line["graph"]["fileSystemInfo"], "lastModifiedDateTime").to_owned()
        };
        folders.map(|line| (text(&line["graph"], "name").to_owned(), time(&line))).collect()
    };
    let service = ["--service", "onedrive"];
    let place = Place::new(Options { latency: Duration::from_millis(2), ..empty() });
    let mut child = start(place.command("1", &service));
    let files = || place.tenant.simulator.tenant().files(UPN).unwrap().len();
    assert!(kill_when(&mut child, || files() >= 4), "it was too quick");
    place.import("1", &service).expect(0);
    let restored = times(&Archive::new(&place.tenant.export(&service).expect(0).stdout));
    let mut wanted = times(&source().archive);
    wanted.remove("root");
    assert_eq!(wanted.len(), 3, "{wanted:?}");
    for (name, time) in wanted {
        assert_eq!(restored.get(&name), Some(&time), "{name}: {restored:?}");
    }
}

/// A directory with something in it, and journals beside it.
struct Directory {
    dir: TempDir,
    layout: &'static str,
}

impl Directory {
    fn new(layout: &'static str) -> Self {
        let directory = Self { dir: TempDir::new().unwrap(), layout };
        std::fs::create_dir(directory.root()).unwrap();
        std::fs::write(directory.root().join("eigenes.txt"), "da").unwrap();
        directory
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    fn journal(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn command(&self, journal: &str) -> Command {
        let to = format!("directory:{}", self.root().display());
        let mut command = tar365(&["import", "--progress", "none"]);
        command.arg(source().path()).args(["--to", &to, "--layout", self.layout]);
        command.args(["--journal", &self.journal(journal)]);
        command
    }

    /// All there is, folders as well, by names that do not differ from run to run. The hidden
    /// folder that a dead run leaves counts only when its journal is at hand: nobody else knows
    /// whether the run is dead.
    fn state(&self, with_hidden: bool) -> Vec<String> {
        let is_seen = |path: &str| with_hidden || !path.contains(".tar365-");
        let mut all: Vec<String> = files_below(&self.root())
            .iter()
            .filter(|(path, _)| is_seen(path))
            .map(|(path, bytes)| format!("{} {}", stable(path), crate::harness::sha256(bytes)))
            .collect();
        let mut open = vec![self.root()];
        while let Some(next) = open.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if std::fs::symlink_metadata(&path).unwrap().is_dir() {
                    let name = path.strip_prefix(self.root()).unwrap();
                    let name = format!("{}/", name.display());
                    if is_seen(&name) {
                        all.push(name);
                    }
                    open.push(path);
                }
            }
        }
        all.sort();
        all
    }
}

/// The name of a Maildir file without its first part, which no two may share.
fn stable(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, name)) if folder.ends_with("/cur") || folder.ends_with("/new") => {
            format!("{folder}/{}", name.rsplit_once(':').map_or("", |(_, flags)| flags))
        }
        _ => path.to_owned(),
    }
}

/// How many bytes lie below a folder; whatever goes away meanwhile does not count.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => 1 + bytes_below(&entry.path()),
        _ => 1 + entry.metadata().map_or(0, |metadata| metadata.len()),
    });
    sizes.sum()
}

fn killed_in(layout: &'static str, seed: u64, then: Then) -> Result<bool, String> {
    let calm = Directory::new(layout);
    run(calm.command("1")).expect(0);
    let (with, bytes) = (calm.state(true), bytes_below(&calm.root()));
    let directory = Directory::new(layout);
    let before = directory.state(true);
    let at = Random(seed).below(bytes);
    let mut child = start(directory.command("1"));
    let was_killed = kill_when(&mut child, || bytes_below(&directory.root()) > at);
    let name = format!("{layout}, seed {seed}, {then:?}");
    let ends = |what: &str, command: Command| match run(command) {
        run if run.code == 0 => Ok(()),
        run => Err(format!("{name}: {what} ended with {}: {}", run.code, run.stderr)),
    };
    let same = |what: &str, wanted: &[String]| {
        // A finished mailbox keeps the note of what was appended last before a kill.
        let with_hidden = what == "undone" || (layout != "mboxrd" && then != Then::Anew);
        let is = directory.state(with_hidden);
        let more: Vec<_> = is.iter().filter(|one| !wanted.contains(one)).take(3).collect();
        let less: Vec<_> = wanted.iter().filter(|one| !is.contains(one)).take(3).collect();
        match is == wanted {
            true => Ok(()),
            false => Err(format!("{name}: {what}: +{more:?} -{less:?}")),
        }
    };
    match then {
        Then::Anew => ends("without the journal", directory.command("2"))?,
        Then::Resume | Then::ResumeAndUndo => ends("resuming", directory.command("1"))?,
        Then::Undo => {}
    }
    if then != Then::Undo {
        same("completed", &with)?;
    }
    let journal = directory.journal("1");
    if matches!(then, Then::Undo | Then::ResumeAndUndo) && Path::new(&journal).exists() {
        ends("undo", tar365(&["import", "--undo", &journal]))?;
        same("undone", &before)?;
    }
    Ok(was_killed)
}

#[test]
fn a_killed_import_to_a_directory_is_completed_or_taken_back() {
    let cases: Vec<_> = (0..points()).flat_map(|seed| Then::ALL.map(|then| (seed, then))).collect();
    for layout in ["native", "maildir", "mboxrd"] {
        all_of(&cases, |(seed, then)| killed_in(layout, *seed, *then));
    }
}
