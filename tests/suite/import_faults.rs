//! The fault matrix of the write side: whatever the service does, nothing is made twice, nothing
//! is lost without being named, no half message is left behind, the exit code says how it went,
//! and a run without faults completes what is missing to the very state that no fault leads to.
//!
//! `TAR365_SOAK=1` runs every fault at every rate, 400 pairs of faults, and all together with 100
//! seeds instead of a sample, and writes the tables of `doc/faults.md` into `target/tmp`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;
use simulator::{Credentials, Fault, Kind, Language, NewUser, Options, Record};
use tempfile::TempDir;

use crate::harness::{Archive, Run, Tenant, run, runtime, text};

/// Runs under way at a time: they wait more than they compute.
const AT_ONCE: usize = 24;
pub const USER: &str = "0fa6e9cd-1b7a-4a70-9f0e-2d6f4f0c5a11";
const UPN: &str = "vera.neu@contoso.onmicrosoft.com";
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
    drafts: Vec<String>,
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
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &simulator.client_id()),
            ("client_secret", &simulator.client_secret()),
            ("scope", &format!("{}/.default", simulator.graph_url())),
        ];
        let login =
            format!("{}/{}/oauth2/v2.0/token", simulator.login_url(), simulator.tenant_id());
        let token: Value =
            client.post(login).form(&form).send().await.unwrap().json().await.unwrap();
        let asked = client.get(url).bearer_auth(text(&token, "access_token")).send().await.unwrap();
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

    fn report(&self) -> Value {
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

/// One run of the matrix.
#[derive(Debug, Clone)]
struct Case {
    faults: Vec<String>,
    seed: u64,
}

/// What came of it, for the table.
struct Row {
    case: String,
    code: i32,
    requests: u64,
    hits: u64,
    /// Items made; items that failed, by cause.
    made: u64,
    causes: String,
}

impl Case {
    fn has(&self, kind: Kind) -> bool {
        self.faults.iter().any(|fault| fault.parse::<Fault>().unwrap().kind == kind)
    }

    /// Only what a client can wait or ask its way out of.
    fn transient(&self) -> bool {
        // Three sessions are tried.
        let never = |fault: &String| fault.starts_with("session-lost:rate");
        !REFUSALS.iter().chain(&TAMPERING).any(|kind| self.has(*kind))
            && !self.faults.iter().any(never)
    }
}

/// What costs the item that it strikes.
const REFUSALS: [Kind; 3] = [Kind::Quota, Kind::TooLarge, Kind::Conflict];
/// They change or take away what was made, as somebody else might, or lie about it: what is told
/// wrong sizes can't be checked.
const TAMPERING: [Kind; 5] = [Kind::Vanish, Kind::Change, Kind::Move, Kind::Corrupt, Kind::SizeLie];

#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

/// Imports under faults, then without, and holds both against the import without faults.
fn examine(case: &Case) -> Result<Row, String> {
    let faults = case.faults.iter().map(|fault| fault.parse().unwrap()).collect();
    let place = Place::new(Options { faults, fault_seed: case.seed, ..empty() });
    let done = place.import("journal", &[]);
    let mut findings = Findings::default();
    log(case, &place, &mut findings);
    let log = place.tenant.simulator.log().counts();
    place.tenant.simulator.set_faults(Vec::new());
    let report = place.report();
    let summary = &report["summary"];
    let mut causes = String::new();
    for (cause, count) in summary["causes"].as_object().into_iter().flatten() {
        let _ = write!(causes, "{}{count} {cause}", if causes.is_empty() { "" } else { ", " });
    }
    let row = Row {
        case: case.faults.join(" + "),
        code: done.code,
        requests: log.requests,
        hits: log.by_fault.values().sum(),
        made: summary["created"].as_u64().unwrap_or_default(),
        causes,
    };
    outcome(case, &done, summary, &state(&place.tenant), &mut findings);

    // Whoever comes with the journal, or without, finds what is there and makes what is not.
    let journal = if case.seed.is_multiple_of(2) { "journal" } else { "another" };
    let again = place.import(journal, &[]);
    // What was changed since is somebody's own.
    let codes: &[i32] = if case.has(Kind::Change) { &[0, 3] } else { &[0] };
    findings.check(codes.contains(&again.code), || {
        format!("{journal}: exit code {}: {}", again.code, again.stderr)
    });
    if !(case.has(Kind::Change) || case.has(Kind::SizeLie)) {
        let difference = state(&place.tenant).difference(calm());
        findings.check(difference.is_none(), || {
            format!("completed with {journal}: {}", difference.unwrap_or_default())
        });
    }
    if findings.0.is_empty() {
        return Ok(row);
    }
    findings.0.truncate(8);
    let name = format!("{} (seed {})", case.faults.join(" + "), case.seed);
    let told = done.stderr.lines().filter(|line| !line.contains("not restored"));
    let told: Vec<&str> = told.collect();
    Err(format!("{name}:\n  {}\n  {}", findings.0.join("\n  "), told.join("\n  ")))
}

/// What the service saw: no impatience, no token for strangers, no mail to anybody.
fn log(case: &Case, place: &Place, findings: &mut Findings) {
    let simulator = &place.tenant.simulator;
    let counts = simulator.log().counts();
    let leaked = counts.leaked_authorization;
    for (repeated, after, told) in impatience(&simulator.log().records()) {
        findings.0.push(format!("{repeated} again after {after} ms, was told {told}"));
    }
    // What is under way when a scope closes meets the closed door: each connection once.
    let closings: u64 =
        ["throttle", "unavailable"].iter().filter_map(|kind| counts.by_fault.get(*kind)).sum();
    let during = counts.during_retry_after;
    findings.check(during <= closings * 8, || format!("{during} requests during Retry-After"));
    findings.check(leaked == 0, || "a token went to another host".to_owned());
    let closes = case.has(Kind::Throttle) || case.has(Kind::Unavailable);
    findings
        .check(closes || counts.provoked == 0, || format!("{} refusals provoked", counts.provoked));
    let most = simulator.log().max_concurrent(None);
    findings.check(most <= 4, || format!("{most} requests at once to one mailbox"));
    let mailed = simulator.tenant().mailed();
    findings.check(mailed.is_empty(), || format!("somebody was mailed: {mailed:?}"));
}

/// Requests that came again sooner than they had been told: which, after how many milliseconds,
/// and after how many they should have.
pub fn impatience(records: &[Record]) -> Vec<(String, u64, u64)> {
    let mut told: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut all = Vec::new();
    // Requests that differ in their bodies, or in what the log hides, can't be told apart.
    let is_known = |r: &&Record| {
        let of_item = r.path.contains("/messages/") || r.path.contains("/items/");
        of_item && r.method != "POST" && !r.query.contains("(hidden)")
    };
    for record in records.iter().filter(is_known) {
        let line = format!("{} {}?{}", record.method, record.path, record.query);
        if let Some((at, wait)) = told.remove(&line)
            && record.at < at + wait
        {
            all.push((line.clone(), record.at - at, wait));
        }
        if matches!(record.fault.as_deref(), Some("throttle" | "unavailable")) {
            // The least that a case of the matrix tells.
            told.insert(line, (record.at, 50));
        }
    }
    all
}

/// Each item is there once and whole, or named as failed; the exit code says which it is.
fn outcome(case: &Case, done: &Run, summary: &Value, is: &State, findings: &mut Findings) {
    let calm = calm();
    findings.check(!done.stderr.contains("panicked"), || "a panic".to_owned());
    let failed: BTreeSet<&str> = summary["failures"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|failure| failure[0].as_str())
        .collect();
    let codes: &[i32] = if case.transient() { &[0] } else { &[0, 3] };
    findings.check(codes.contains(&done.code), || format!("exit code {}", done.code));
    let expected = if failed.is_empty() { 0 } else { 3 };
    findings.check(done.code == expected, || {
        format!("exit code {} with {} failed", done.code, failed.len())
    });
    if !matches!(done.code, 0 | 3) {
        // It ended early and said so: what counts is that the next run completes it.
        return;
    }
    findings.check(is.drafts.is_empty(), || format!("drafts: {:?}", is.drafts));
    // A message that the service can't even remove stays, marked as half, named as failed.
    if case.has(Kind::Corrupt) {
        return;
    }
    let halves: Vec<_> = is.marks.iter().filter(|mark| mark.starts_with("partial")).collect();
    findings.check(halves.is_empty(), || format!("half messages: {halves:?}"));
    // What another than the service's own hand changed, or what it lies about, can't be compared.
    if case.has(Kind::Change) || case.has(Kind::SizeLie) {
        return;
    }
    if done.code == 0 && !case.has(Kind::Vanish) {
        // A folder that holds nothing is no item: that it could not be made is told.
        let told = done.stderr.contains("not made");
        let folders = if told { calm.folders.clone() } else { is.folders.clone() };
        let difference = State { folders, ..is.clone() }.difference(calm);
        findings.check(difference.is_none(), || difference.unwrap_or_default());
        return;
    }
    // What is there is what should be there, and once.
    for (ours, theirs) in
        [(&is.mails, &calm.mails), (&is.files, &calm.files), (&is.marks, &calm.marks)]
    {
        let mut left: Vec<&String> = theirs.iter().collect();
        for one in ours {
            match left.iter().position(|other| *other == one) {
                Some(at) => drop(left.swap_remove(at)),
                None => findings.0.push(format!("twice, or not as it should be: {one}")),
            }
        }
    }
    let there = is.mails.len() + is.files.len();
    let lost = calm.mails.len() + calm.files.len() - there.min(calm.mails.len() + calm.files.len());
    findings.check(lost <= failed.len() || case.has(Kind::Vanish), || {
        format!("{lost} items are not there, {} are named as failed", failed.len())
    });
    let known = source().paths();
    for path in failed {
        findings.check(known.contains(path), || format!("failed, but in no archive: {path}"));
    }
}

/// Examines all cases, a few at a time. Fails with everything that any of them found.
#[track_caller]
fn examine_all(cases: &[Case]) -> Vec<Row> {
    calm();
    crate::harness::examine_all(cases, AT_ONCE, examine)
}

/// How each fault is tried alone. The first stands for it in CI.
fn alone(kind: Kind) -> Vec<String> {
    let name = kind.name();
    let parameters: &[&str] = match kind {
        Kind::Throttle | Kind::Unavailable => &["rate=0.1,seconds=0.2", "seconds=0.05"],
        Kind::ThrottleBare | Kind::ServerError | Kind::Empty503 | Kind::Timeout => {
            &["rate=0.06", "match=POST,rate=0.1", "match=PUT,rate=0.3"]
        }
        Kind::HtmlError | Kind::Reset => &["rate=0.15", "match=POST", "match=PUT", "match=GET"],
        Kind::Truncate => &["rate=0.2", "match=POST", "match=PUT", "match=GET"],
        // A token refused twice in a row is a credential refused (the service's own rule).
        Kind::TokenExpiry => &["after=20", "match=attachments", "match=createUploadSession"],
        Kind::ResetAfter | Kind::ErrorAfter => &[
            "rate=0.15",
            "match=/messages",
            "match=attachments",
            "match=PUT",
            "match=Folders",
            "match=/children",
            "match=PATCH",
        ],
        Kind::SessionLost => &["", "rate=0.3", "rate=1,times=2", "rate=1"],
        Kind::Quota | Kind::TooLarge => &[
            "rate=0.15",
            "rate=1",
            "match=attachments,rate=0.5",
            "match=PUT",
            "match=children",
            "match=createUploadSession",
        ],
        Kind::Conflict => &[
            "rate=0.15",
            "rate=0.5",
            "match=Folders",
            "match=children",
            "match=createUploadSession",
            "match=PUT",
        ],
        Kind::Vanish | Kind::Change => &["rate=0.1", "rate=0.5"],
        Kind::Corrupt => &["rate=0.2"],
        Kind::SizeLie => &["rate=1"],
        _ => &["", "rate=0.5"],
    };
    let full = |parameters: &&str| match parameters.is_empty() {
        true => name.to_owned(),
        false => format!("{name}:{parameters}"),
    };
    parameters.iter().map(full).collect()
}

/// Kinds that only what an export asks for can meet.
const OF_READS: [Kind; 10] = [
    Kind::DeltaGone,
    Kind::Repeat,
    Kind::Mime,
    Kind::Malware,
    Kind::UrlExpired,
    Kind::UnstableMime,
    Kind::Restless,
    Kind::NoLength,
    Kind::RangeIgnored,
    Kind::Move,
];

fn kinds() -> Vec<Kind> {
    Kind::ALL.iter().copied().filter(|kind| !OF_READS.contains(kind)).collect()
}

/// Faults that need not show in the log.
const UNLOGGED: [Kind; 5] =
    [Kind::Reorder, Kind::SizeLie, Kind::Vanish, Kind::Change, Kind::Corrupt];

/// How a fault is tried together with others.
fn in_pair(kind: Kind, random: &mut Random) -> String {
    let name = kind.name();
    match kind {
        Kind::Throttle | Kind::Unavailable => format!("{name}:rate=0.06,seconds=0.2"),
        Kind::ThrottleBare | Kind::Timeout | Kind::ServerError | Kind::Empty503 => {
            format!("{name}:rate=0.04")
        }
        Kind::TokenExpiry => format!("{name}:after={}", 5 + random.below(60)),
        Kind::SessionLost => name.to_owned(),
        _ => format!("{name}:rate=0.{:02}", 3 + random.below(10)),
    }
}

/// Pairs of different kinds, now and then three of them.
fn pairs(count: usize, seed: u64) -> Vec<Case> {
    let mut random = Random(seed);
    let kinds = kinds();
    let draw = |random: &mut Random| kinds[random.below(kinds.len() as u64) as usize];
    (0..count)
        .map(|number| {
            let wanted = if random.below(5) == 0 { 3 } else { 2 };
            let mut chosen = vec![draw(&mut random)];
            while chosen.len() < wanted {
                let kind = draw(&mut random);
                if !chosen.contains(&kind) {
                    chosen.push(kind);
                }
            }
            let faults = chosen.iter().map(|kind| in_pair(*kind, &mut random)).collect();
            Case { faults, seed: number as u64 }
        })
        .collect()
}

pub fn soak() -> bool {
    std::env::var_os("TAR365_SOAK").is_some_and(|value| value == "1")
}

#[test]
fn each_fault_alone() {
    let mut cases = Vec::new();
    for kind in kinds() {
        for (number, fault) in alone(kind).into_iter().enumerate() {
            // In a soak with and without the journal.
            let seeds = if soak() { 1..=4 } else { 1..=1 };
            let chosen = soak() || number < 2 || Kind::OF_WRITES.contains(&kind);
            for seed in seeds.filter(|_| chosen) {
                cases.push(Case { faults: vec![fault.clone()], seed: seed + number as u64 });
            }
        }
    }
    let rows = examine_all(&cases);
    // A fault that never strikes proves nothing.
    for kind in kinds().into_iter().filter(|kind| !UNLOGGED.contains(kind)) {
        let of = |row: &&Row| row.case.split(':').next() == Some(kind.name());
        let hits: u64 = rows.iter().filter(of).map(|row| row.hits).sum();
        assert!(hits > 0, "{} never struck", kind.name());
    }
    write_table("import-faults", &table(&rows));
}

#[test]
fn faults_in_pairs() {
    let rows = examine_all(&pairs(if soak() { 400 } else { 16 }, 365));
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    for row in &rows {
        *codes.entry(row.code).or_default() += 1;
    }
    write_table("import-fault-pairs", &format!("{} pairs, by exit code: {codes:?}\n", rows.len()));
}

/// How a fault is tried together with all others: seldom, how seldom is drawn.
fn in_crowd(kind: Kind, random: &mut Random) -> String {
    let name = kind.name();
    // In thousandths.
    let mut share = |from: u64, to: u64| {
        format!("{name}:rate={}", (from + random.below(to - from + 1)) as f64 / 1000.0)
    };
    match kind {
        Kind::Throttle | Kind::Unavailable => share(10, 20) + ",seconds=0.1",
        // Each stops its scope for the seconds of a back-off.
        Kind::ThrottleBare | Kind::Timeout | Kind::ServerError | Kind::Empty503 => share(2, 8),
        Kind::TokenExpiry => format!("{name}:after={}", 5 + random.below(100)),
        Kind::SessionLost => name.to_owned(),
        Kind::SizeLie | Kind::Reorder => share(50, 400),
        _ => share(10, 40),
    }
}

/// Everything at once: with each seed all that a client can get over, which must cost no item;
/// the refusals as well, which cost what is named; and all there is.
#[test]
fn faults_all_together() {
    /// Their retries don't wait long.
    const QUICK: [u64; 3] = [1, 15, 67];
    let mut cases = Vec::new();
    for seed in if soak() { (1..=100).collect() } else { QUICK.to_vec() } {
        for without in [&[&REFUSALS[..], &TAMPERING].concat()[..], &TAMPERING, &[]] {
            let mut random = Random(seed);
            let kinds = kinds().into_iter().filter(|kind| !without.contains(kind));
            let faults = kinds.map(|kind| in_crowd(kind, &mut random)).collect();
            cases.push(Case { faults, seed });
        }
    }
    let rows = examine_all(&cases);
    // A mailbox that is full ends a run early.
    for (case, row) in cases.iter().zip(&rows) {
        assert!(row.hits > 0, "seed {}: nothing struck", case.seed);
    }
    write_table("import-faults-together", &table_of_crowds(&cases, rows));
}

/// The results of a soak, for the documentation.
fn write_table(name: &str, table: &str) {
    if soak() {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.md"));
        std::fs::write(file, table).unwrap();
    }
}

/// All kinds at once: a row for each of the three sets, with all causes that any run named.
fn table_of_crowds(cases: &[Case], rows: Vec<Row>) -> String {
    let name = |case: &Case| match (case.transient(), case.has(Kind::Change)) {
        (true, _) => "all that pass",
        (_, false) => "refusals as well",
        (_, true) => "all",
    };
    let mut causes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (case, row) in cases.iter().zip(&rows) {
        let of_row = row.causes.split(", ").filter_map(|cause| cause.split_once(' '));
        causes.entry(name(case)).or_default().extend(of_row.map(|(_, cause)| cause.to_owned()));
    }
    let named = cases.iter().zip(rows).map(|(case, row)| {
        let all: Vec<_> = causes[name(case)].iter().cloned().collect();
        Row { case: name(case).to_owned(), causes: all.join(", "), ..row }
    });
    table(&named.collect::<Vec<_>>())
}

/// One row a fault: its runs together.
fn table(rows: &[Row]) -> String {
    let mut faults: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        faults.entry(&row.case).or_default().push(row);
    }
    let mut table = String::from("| fault | runs | requests | hits | exit | made | failed |\n");
    table.push_str("|---|---|---|---|---|---|---|\n");
    for (fault, rows) in faults {
        let all = |of: &dyn Fn(&Row) -> String| {
            let texts: BTreeSet<String> = rows.iter().map(|row| of(row)).collect();
            texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
        };
        let made = rows.iter().map(|row| row.made);
        let (least, most) = (made.clone().min().unwrap_or(0), made.max().unwrap_or(0));
        let made = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let _ = writeln!(
            table,
            "| `{fault}` | {} | {} | {} | {} | {made} | {} |",
            rows.len(),
            rows.iter().map(|row| row.requests).sum::<u64>(),
            rows.iter().map(|row| row.hits).sum::<u64>(),
            all(&|row| row.code.to_string()),
            all(&|row| row.causes.clone()),
        );
    }
    table
}
