//! What was exported, restored into a tenant and exported again is what it was: read by Python,
//! but for what doc/restore.md says that the service makes anew.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use simulator::{Credentials, Language, NewUser, Options, Profile, Record};
use tempfile::TempDir;

use crate::harness::{Run, Tenant, corpus, files_below, python, run, run_with, verify};

/// An archive in a folder of its own, which has room for journals.
pub struct Saved {
    pub bytes: Vec<u8>,
    dir: TempDir,
}

impl Saved {
    pub fn new(bytes: Vec<u8>) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("m365.tar"), &bytes).unwrap();
        Self { bytes, dir }
    }

    /// All that a tenant holds.
    #[track_caller]
    pub fn export(tenant: &Tenant) -> Self {
        Self::new(tenant.export(&[]).expect(0).stdout)
    }

    pub fn path(&self) -> String {
        self.file("m365.tar")
    }

    /// A file beside the archive.
    pub fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Restores from the file, with the journal of that name.
    pub fn import(&self, tenant: &Tenant, journal: &str, arguments: &[&str]) -> Run {
        let (path, journal) = (self.path(), self.file(journal));
        let fixed = ["import", &path, "--journal", &journal];
        run(tenant.tar365(&[&fixed, arguments].concat()))
    }

    /// The same from a pipe.
    pub fn pipe(&self, tenant: &Tenant, journal: &str, arguments: &[&str]) -> Run {
        let journal = self.file(journal);
        let fixed = ["import", "-", "--journal", &journal];
        run_with(tenant.tar365(&[&fixed, arguments].concat()), &self.bytes)
    }

    /// Takes back what the run with this journal did.
    pub fn undo(&self, tenant: &Tenant, journal: &str) -> Run {
        run(tenant.tar365(&["import", "--undo", &self.file(journal)]))
    }
}

/// A tenant that may be written to, without special users.
pub fn writable(options: Options) -> Tenant {
    Tenant::start(Options {
        credentials: Credentials::restoring(),
        special_users: false,
        limits: None,
        ..options
    })
}

/// One with the same users and nothing in their mailboxes and drives.
pub fn emptied(of: &Tenant, language: Language) -> Tenant {
    emptied_with(of, language, Options::default())
}

/// The same, otherwise as `options` say.
pub fn emptied_with(of: &Tenant, language: Language, options: Options) -> Tenant {
    let users = of.simulator.tenant().users().into_iter();
    let users = users.map(|user| NewUser {
        id: user.id,
        mail: user.upn.clone(),
        upn: user.upn,
        display_name: user.display_name,
        language,
    });
    writable(Options { empty: Some(users.collect()), ..options })
}

/// Requests that change something.
pub fn writes(tenant: &Tenant) -> Vec<Record> {
    let records = tenant.simulator.log().records();
    let is_write = |record: &Record| {
        record.host != simulator::Host::Login && !matches!(record.method.as_str(), "GET" | "HEAD")
    };
    records.into_iter().filter(is_write).collect()
}

/// Nobody got a mail of it, and nothing that could send one was asked for.
#[track_caller]
pub fn assert_nobody_was_mailed(tenant: &Tenant) {
    let mailed = tenant.simulator.tenant().mailed();
    assert!(mailed.is_empty(), "{mailed:?}");
    for record in writes(tenant) {
        let action = record.path.rsplit('/').next().unwrap_or_default().to_lowercase();
        let harmless = [
            "messages",
            "childfolders",
            "contactfolders",
            "contacts",
            "attachments",
            "createuploadsession",
            "permanentdelete",
            "move",
            "children",
            "content",
            "restoreversion",
            "mastercategories",
            "messagerules",
            "overrides",
        ];
        let is_item = matches!(record.method.as_str(), "PATCH" | "PUT" | "DELETE");
        assert!(is_item || harmless.contains(&&*action), "{} {}", record.method, record.path);
    }
}

/// Items that a run says it made, replaced, found there, could not restore, and did not find.
pub fn counts(run: &Run) -> [u64; 5] {
    ["created", "replaced", "there already", "failed", "not in the archive"]
        .map(|what| counted(run, what))
}

/// Items of which the summary of a run says this.
pub fn counted(run: &Run, what: &str) -> u64 {
    let line = run.stderr.lines().find(|line| line.contains(" items wanted: "));
    let line = line.unwrap_or_else(|| panic!("no summary:\n{}", run.stderr));
    let (_, rest) = line.split_once(" items wanted: ").unwrap();
    let found = rest.split(", ").find_map(|part| {
        let (number, words) = part.split_once(' ')?;
        words.starts_with(what).then(|| number.parse().unwrap())
    });
    found.unwrap_or_else(|| panic!("{what:?} is not in {line}"))
}

/// What `import_compare.py` says.
#[derive(Debug, Deserialize)]
pub struct Compared {
    #[serde(default)]
    pub mails: usize,
    #[serde(default)]
    pub files: usize,
    /// How many differences come of each of the documented causes.
    pub explained: BTreeMap<String, u64>,
    pub unexplained: Vec<String>,
    /// All such causes.
    pub documented: BTreeSet<String>,
}

/// Compares two archives; `mode` is `beside` or `in-place`.
#[track_caller]
pub fn compare(before: &Saved, after: &Saved, mode: &str, corpus: Option<&Path>) -> Compared {
    let (before, after) = (before.path(), after.path());
    let mut arguments: Vec<&OsStr> = [&before, &after].map(OsStr::new).to_vec();
    arguments.push(OsStr::new(mode));
    arguments.extend(corpus.map(Path::as_os_str));
    let text = python(include_str!("import_compare.py"), &arguments);
    let compared: Compared = serde_json::from_str(&text).unwrap();
    assert!(compared.unexplained.is_empty(), "{:#?}", compared.unexplained);
    compared
}

/// The corpus with a time of its own for each file: that tells them apart.
fn dated_corpus(dir: &Path) -> (TempDir, usize) {
    let copy = TempDir::new().unwrap();
    let files = files_below(dir);
    for (number, (name, content)) in files.iter().enumerate() {
        let path: PathBuf = copy.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let seconds = 1_700_000_000 + number as u64 * 3600;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    (copy, files.len())
}

/// Causes of differences that the mails of the corpus do not have.
const ONLY_GENERATED: [&str; 2] = ["folder", "name"];
/// Causes that only large mails have.
const ONLY_LARGE: [&str; 1] = ["body-as-attachment"];

#[test]
fn the_corpus_comes_back() {
    let Some(dir) = corpus() else { return };
    let (copy, files) = dated_corpus(&dir);
    let content = Some(copy.path().to_owned());
    let source = writable(Options { content, ..Options::default() });
    let saved = Saved::export(&source);
    for (language, mode) in [(Language::German, "beside"), (Language::Japanese, "in-place")] {
        let target = emptied(&source, language);
        let arguments: &[&str] = if mode == "beside" { &[] } else { &["--in-place"] };
        let run = saved.import(&target, mode, arguments).expect(0);
        assert_eq!(counts(&run), [files as u64, 0, 0, 0, 0], "{}", run.stderr);
        let after = Saved::export(&target);
        verify(&after.bytes);
        let compared = compare(&saved, &after, mode, Some(&dir));
        assert_eq!(compared.mails + compared.files, files);
        assert!(compared.mails >= 140, "{}", compared.mails);
        for cause in &compared.documented {
            let can_be = !ONLY_GENERATED.iter().chain(&ONLY_LARGE).any(|other| other == cause)
                // The simulator's well-known folders have the same ids everywhere.
                && (mode == "beside" || cause != "parentFolderId");
            let count = compared.explained.get(cause).copied().unwrap_or_default();
            assert_eq!(count > 0, can_be, "{mode}: {count} come of {cause}: {compared:?}");
        }
        assert_nobody_was_mailed(&target);
    }
}

#[test]
fn the_nastiest_tenant_comes_back() {
    let nasty =
        Options { users: 3, mails: 180, files: 60, profile: Profile::Nasty, ..Options::default() };
    let source = writable(nasty);
    let saved = Saved::export(&source);
    for (language, mode) in [(Language::English, "beside"), (Language::Japanese, "in-place")] {
        let target = emptied(&source, language);
        let arguments: &[&str] = if mode == "beside" { &[] } else { &["--in-place"] };
        let run = saved.import(&target, mode, arguments).expect(0);
        let [created, replaced, present, failed, missing] = counts(&run);
        assert!(created > 500 && [replaced, present, failed] == [0; 3], "{}", run.stderr);
        let after = Saved::export(&target);
        let compared = compare(&saved, &after, mode, None);
        assert_eq!((compared.mails + compared.files) as u64, created);
        assert!(compared.mails > 400 && compared.files > 180, "{compared:?}");
        assert!(missing < 20, "{}", run.stderr);
        for cause in ONLY_GENERATED {
            assert!(compared.explained.contains_key(cause), "{cause} does not occur");
        }
        assert_nobody_was_mailed(&target);
    }
}

#[test]
fn the_documentation_names_whatever_is_not_as_it_was() {
    let text = include_str!("../../doc/restore.md");
    let source = include_str!("../../importer/src/place.rs");
    let names = source.split("Self::").filter_map(|arm| arm.split_once(" => \""));
    let losses: Vec<_> = names.map(|(_, rest)| rest.split('"').next().unwrap()).collect();
    assert!(losses.len() >= 14 && losses.contains(&"converted"), "{losses:?}");
    for loss in &losses {
        let paragraph = format!("\n- `{loss}`: ");
        assert_eq!(text.matches(&paragraph).count(), 1, "{loss} has no paragraph");
    }
    let empty = Saved::export(&writable(Options { users: 1, mails: 1, ..Options::default() }));
    let documented = compare(&empty, &empty, "in-place", None).documented;
    assert!(documented.len() > 30);
    for cause in documented {
        assert!(text.contains(&format!("`{cause}`")), "{cause} is not in the document");
    }
}
