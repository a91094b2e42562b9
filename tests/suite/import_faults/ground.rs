//! What is restored where: an archive of a few mails and files, and an empty tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use simulator::{Credentials, Language, NewUser, Options};
use tempfile::TempDir;

use crate::harness::{Archive, Run, Tenant, run, runtime, text};

pub const USER: &str = "0fa6e9cd-1b7a-4a70-9f0e-2d6f4f0c5a11";
pub const UPN: &str = "vera.neu@contoso.onmicrosoft.com";
/// The property by which an import knows what it made, and which says "partial" until it is whole.
const MARK: &str = "String {00020329-0000-0000-C000-000000000046} Name tar365-source";

/// An empty tenant with one user; the same user, whether it is exported or imported into.
pub fn empty() -> Options {
    Options {
        empty: Some(vec![NewUser {
            id: USER.into(),
            upn: UPN.into(),
            display_name: "Vera Neu".into(),
            mail: UPN.into(),
            language: Language::German,
        }]),
        credentials: Credentials::restoring(),
        ..Options::default()
    }
}

/// The archive that all imports restore, small enough for hundreds of them: every way in which a
/// message or a file is made.
pub struct Source {
    dir: TempDir,
    pub archive: Archive,
}

pub fn source() -> &'static Source {
    static SOURCE: OnceLock<Source> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let tenant = Tenant::start(empty());
        fill(&tenant);
        let bytes = tenant.export(&["--progress", "none"]).expect(0).stdout;
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("m365.tar"), &bytes).unwrap();
        Source { dir, archive: Archive::new(&bytes) }
    })
}

impl Source {
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("m365.tar")
    }

    /// Ids of all mails.
    fn mails(&self) -> Vec<String> {
        let mut ids: Vec<_> =
            self.archive.items(&format!("users/{UPN}/mail")).into_keys().collect();
        ids.sort();
        ids
    }

    /// Paths of all items.
    pub fn paths(&self) -> BTreeSet<String> {
        let sections = ["mail", "onedrive"].map(|service| format!("users/{UPN}/{service}"));
        let items = sections.iter().flat_map(|section| self.archive.items(section));
        items.map(|(_, member)| member.path.clone()).collect()
    }
}

fn fill(tenant: &Tenant) {
    let tenant = tenant.simulator.tenant();
    let projects = tenant.add_folder(USER, "inbox", "Projekte & Pläne").unwrap();
    let deep = &tenant.add_folder(USER, &projects, "Größe 2").unwrap();
    tenant.add_folder(USER, "msgfolderroot", "Leer").unwrap();
    let add = |folder: &str, eml: &str| {
        tenant.add_message(USER, folder, eml.as_bytes()).unwrap();
    };
    for number in 0..6 {
        add("inbox", &mail(number, "Kurz", &[]));
        add(deep, &mail(10 + number, "Tief", &[(20_000, "notiz.txt")]));
    }
    // The same mail twice is two mails.
    add("sentitems", &mail(20, "Zweimal", &[]));
    add("sentitems", &mail(20, "Zweimal", &[]));
    add("inbox", &mail(21, "Ohne Kennung", &[]).replace("Message-ID: <21@example.com>\r\n", ""));
    // Two upload sessions for attachments of one name, one of them of two parts, and a small one.
    add("inbox", &mail(22, "Große", &[(3_100_000, "a.bin"), (4_200_000, "a.bin"), (9, "b.txt")]));
    // Too much for one request, nothing large: some come after the message, one by one.
    add(
        deep,
        &mail(23, "Viele", &[(900_000, "1"), (900_000, "2"), (900_000, "3"), (900_000, "4")]),
    );
    add("archive", &nested(&mail(24, "Innen", &[(5_000, "innen.pdf")])));
    let put = |path: &str, bytes: &[u8]| {
        tenant.put_file(UPN, path, bytes).unwrap();
    };
    put("Leer.txt", b"");
    put("Klein.txt", b"klein");
    put("Ordner/tief/Mittel.bin", &noise(400_000, 1));
    put("Ordner/Bericht.docx", &noise(30_000, 2));
    put("Ordner/Groß.iso", &noise(6_500_000, 3));
    for number in 0..4 {
        put(&format!("Ordner/viele/{number}.txt"), &noise(1000, number));
    }
}

fn mail(number: u64, subject: &str, attachments: &[(usize, &str)]) -> String {
    let mut eml = format!(
        "From: Anna <anna@example.com>\r\nTo: vera@example.com\r\nSubject: {subject} {number}\r\n\
         Message-ID: <{number}@example.com>\r\nDate: Tue, {:02} Sep 2026 10:11:12 +0200\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=grenze\r\n\r\n\
         --grenze\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Text {number}</p>\r\n",
        number + 1,
    );
    for (at, (size, name)) in attachments.iter().enumerate() {
        let _ = write!(
            eml,
            "--grenze\r\nContent-Type: application/octet-stream\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n"
        );
        let bytes = noise(*size, number * 100 + at as u64);
        for line in bytes.chunks(57) {
            eml += &base64::Engine::encode(&base64::engine::general_purpose::STANDARD, line);
            eml += "\r\n";
        }
    }
    eml + "--grenze--\r\n"
}

fn nested(inner: &str) -> String {
    format!(
        "From: anna@example.com\r\nTo: vera@example.com\r\nSubject: Weitergeleitet\r\n\
         Message-ID: <outer@example.com>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=aussen\r\n\r\n\
         --aussen\r\nContent-Type: text/plain\r\n\r\nsiehe unten\r\n\
         --aussen\r\nContent-Type: message/rfc822\r\n\r\n{inner}\r\n--aussen--\r\n"
    )
}

/// Bytes that nothing compresses, the same for the same seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// `SplitMix64`: the same numbers for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Everything in a tenant that matters, with everything that is there twice there twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    pub folders: Vec<String>,
    pub mails: Vec<String>,
    /// What the marks of the mails say, in order; those without a mark are not among them.
    pub marks: Vec<String>,
    pub files: Vec<String>,
    pub(super) drafts: Vec<String>,
}

impl State {
    /// What is in one and not in the other, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self == other {
            return None;
        }
        let mut text = String::new();
        let parts = [
            ("folders", &self.folders, &other.folders),
            ("mails", &self.mails, &other.mails),
            ("marks", &self.marks, &other.marks),
            ("files", &self.files, &other.files),
            ("drafts", &self.drafts, &other.drafts),
        ];
        for (what, ours, theirs) in parts {
            let mut missing = theirs.clone();
            let mut more = Vec::new();
            for one in ours {
                match missing.iter().position(|other| other == one) {
                    Some(at) => drop(missing.swap_remove(at)),
                    None => more.push(one),
                }
            }
            for (sign, all) in [("-", missing.iter().collect::<Vec<_>>()), ("+", more)] {
                for one in all.iter().take(3) {
                    let _ = write!(text, " {what} {sign}{one};");
                }
            }
        }
        Some(text)
    }
}

pub fn state(tenant: &Tenant) -> State {
    let simulated = tenant.simulator.tenant();
    let folders = simulated.folders(USER).unwrap();
    let names: BTreeMap<String, String> =
        folders.iter().map(|folder| (folder.id.clone(), folder.path.join("/"))).collect();
    let paths = folders.iter().map(|folder| folder.path.join("/")).collect();
    let mut state = State { folders: paths, ..State::default() };
    for mail in simulated.messages(USER).unwrap() {
        let name = format!("{}/{}", names[&mail.folder], mail.subject);
        if mail.is_draft {
            state.drafts.push(name.clone());
        }
        let attached: Vec<_> = mail
            .attachments()
            .iter()
            .map(|a| format!("{} {} {}", a.name, a.kind, a.sha256))
            .collect();
        // What has none is given one by the service.
        let id = mail.message_id.as_deref().filter(|id| !id.ends_with("outlook.com>"));
        let (received, sent) = (&mail.received, &mail.sent);
        let (read, flag, importance) = (mail.is_read, &mail.flag, mail.importance);
        let told = format!(
            "{id:?} {received:?} {sent:?} {read} {flag} {importance} {:?}",
            mail.categories
        );
        state.mails.push(format!("{name} {told} {attached:?}"));
    }
    for file in simulated.files(UPN).unwrap() {
        state.files.push(format!("{} {} {}", file.path.join("/"), file.size, file.sha256()));
    }
    state.marks = marks(tenant);
    for part in [
        &mut state.folders,
        &mut state.mails,
        &mut state.marks,
        &mut state.files,
        &mut state.drafts,
    ] {
        part.sort();
    }
    state
}

/// The marks of all mails, asked of the service by another client than ours.
fn marks(tenant: &Tenant) -> Vec<String> {
    let simulator = &tenant.simulator;
    let expand = format!("singleValueExtendedProperties($filter=id eq '{MARK}')");
    let mut url = reqwest::Url::parse(&format!("{}/v1.0/", simulator.graph_url())).unwrap();
    url = url.join(&format!("users/{USER}/messages")).unwrap();
    url.query_pairs_mut()
        .append_pair("$select", "id")
        .append_pair("$top", "1000")
        .append_pair("$expand", &expand);
    let listed: Value = runtime().block_on(async {
        let asked = tenant.client().await.get(url).send().await.unwrap();
        asked.json().await.unwrap()
    });
    assert!(listed.get("@odata.nextLink").is_none(), "more than a page of mails");
    let messages = listed["value"].as_array().unwrap_or_else(|| panic!("{listed}"));
    let properties = messages.iter().filter_map(|m| m["singleValueExtendedProperties"].as_array());
    properties.flatten().map(|property| text(property, "value").to_owned()).collect()
}

/// A tenant that is imported into, with journals beside it.
pub struct Place {
    pub tenant: Tenant,
    dir: TempDir,
}

impl Place {
    pub fn new(options: Options) -> Self {
        Self { tenant: Tenant::start(options), dir: TempDir::new().unwrap() }
    }

    pub fn journal(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    pub fn command(&self, journal: &str, more: &[&str]) -> Command {
        let mut command = self.tenant.tar365(&["import", "--progress", "none"]);
        command.arg(source().path()).args(["--journal", &self.journal(journal)]);
        command.arg("--report").arg(self.dir.path().join("report.json")).args(more);
        command
    }

    pub fn import(&self, journal: &str, more: &[&str]) -> Run {
        run(self.command(journal, more))
    }

    pub fn undo(&self, journal: &str) -> Run {
        run(self.tenant.tar365(&["import", "--undo", &self.journal(journal)]))
    }

    pub(super) fn report(&self) -> Value {
        let path: &Path = &self.dir.path().join("report.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

/// What a run without faults leads to.
pub fn calm() -> &'static State {
    static CALM: OnceLock<State> = OnceLock::new();
    CALM.get_or_init(|| {
        let place = Place::new(empty());
        place.import("journal", &[]).expect(0);
        let state = state(&place.tenant);
        assert_eq!(state.marks, source().mails(), "each mail of the archive is there once");
        assert_eq!(state.mails.len() + state.files.len(), source().paths().len());
        assert_eq!(state.drafts, [""; 0]);
        state
    })
}
