//! A simulator, the binary, and what came of running it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderMap};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use simulator::{Options, Simulator};
use tokio::runtime::Runtime;

/// The services of a test that names none.
const USUAL: &str = "mail,onedrive";

/// One runtime for all simulators of the test binary.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

/// A running simulator, and the binary pointed at it.
pub struct Tenant {
    pub simulator: Simulator,
}

/// What a run of the binary left.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    /// The run, which must have ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stderr:\n{}", self.stderr);
        self
    }
}

impl Tenant {
    pub fn start(options: Options) -> Self {
        Self { simulator: runtime().block_on(simulator::serve(options)).unwrap() }
    }

    /// `tar365 ARGUMENTS`, with the environment of this tenant and a quick pace. An export that
    /// names no service takes [`USUAL`]: what the spine does is tested on two of them.
    pub fn tar365(&self, arguments: &[&str]) -> Command {
        match arguments.split_first() {
            Some((command @ &("export" | "plan"), rest)) if !arguments.contains(&"--service") => {
                self.whole(&[&[command, "--service", USUAL], rest].concat())
            }
            _ => self.whole(arguments),
        }
    }

    /// The same with all services, as programs that start tar365 have it.
    pub fn whole(&self, arguments: &[&str]) -> Command {
        self.known_to(tar365(arguments))
    }

    /// Another command with that environment, for programs that start tar365; `$TAR365` is its
    /// path.
    pub fn known_to(&self, mut command: Command) -> Command {
        command
            .env("TAR365", env!("CARGO_BIN_EXE_tar365"))
            .env("TAR365_TENANT_ID", self.simulator.tenant_id())
            .env("TAR365_CLIENT_ID", self.simulator.client_id())
            .env("TAR365_CLIENT_SECRET", self.simulator.client_secret())
            .env("TAR365_GRAPH_URL", self.simulator.graph_url())
            .env("TAR365_LOGIN_URL", self.simulator.login_url())
            .env("TAR365_PACE", "none");
        command
    }

    /// A client that is not ours, with a token of its own.
    pub async fn client(&self) -> reqwest::Client {
        let simulator = &self.simulator;
        let login =
            format!("{}/{}/oauth2/v2.0/token", simulator.login_url(), simulator.tenant_id());
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &simulator.client_id()),
            ("client_secret", &simulator.client_secret()),
            ("scope", &format!("{}/.default", simulator.graph_url())),
        ];
        let client = || reqwest::Client::builder().no_proxy();
        let asked = client().build().unwrap().post(login).form(&form);
        let token: Value = asked.send().await.unwrap().json().await.unwrap();
        let bearer = format!("Bearer {}", text(&token, "access_token"));
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer.parse().unwrap())]);
        client().default_headers(headers).build().unwrap()
    }

    /// Exports to memory; for small tenants.
    pub fn export(&self, arguments: &[&str]) -> Run {
        run(self.tar365(&[&["export"], arguments].concat()))
    }
}

/// The binary without any tenant in its environment.
pub fn tar365(arguments: &[&str]) -> Command {
    let mut command = untouched(env!("CARGO_BIN_EXE_tar365"));
    command.args(arguments);
    command
}

/// A program that what is set up on this machine does not reach.
fn untouched(program: &str) -> Command {
    let mut command = Command::new(program);
    let ours = |name: &str| {
        let lower = name.to_lowercase();
        name.starts_with("TAR365_") || lower.ends_with("_proxy")
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A program from outside, as `tests/setup` provides it, in a UTF-8 locale. It finds the others.
#[track_caller]
pub fn tool(name: &str) -> Command {
    let provided = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin");
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::iter::once(provided).chain(std::env::split_paths(&usual)).collect();
    assert!(
        folders.iter().any(|folder| folder.join(name).is_file()),
        "{name} is missing: run tests/setup"
    );
    let mut command = untouched(name);
    command.env("PATH", std::env::join_paths(folders).unwrap()).env("LC_ALL", "C.UTF-8");
    command
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < limit, "after {limit:?} still not so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The exit code of a child that ends in time: its signal below zero if one ended it.
#[track_caller]
pub fn ends(child: &mut Child, limit: Duration) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let mut status = None;
    let id = child.id();
    wait_until(limit, &format!("process {id} has ended"), || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let status = status.unwrap();
    status.code().unwrap_or_else(|| -status.signal().unwrap())
}

/// Sends a signal to a process.
pub fn send(process: u32, signal: Signal) {
    let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(process, signal).unwrap();
}

/// Parent and state of a process that has not been waited for.
fn process(id: u32) -> Option<(u32, char)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

/// Whether a process runs; a zombie does not.
pub fn runs(id: u32) -> bool {
    process(id).is_some_and(|(_, state)| !matches!(state, 'Z' | 'X'))
}

/// The processes that a process has started and whose command line begins with a name.
pub fn children(of: u32, name: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap();
    let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let named = |id: &u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).take(2).map(String::from_utf8_lossy);
        words.any(|word| Path::new(&*word).file_name().is_some_and(|found| found == name))
    };
    ids.filter(|id| process(*id).is_some_and(|(parent, _)| parent == of)).filter(named).collect()
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Run {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `command` with `input` on its stdin.
pub fn run_with(mut command: Command, input: &[u8]) -> Run {
    use std::io::Write;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A reader that does not read to the end is a result, not an error of the test.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `verify` of an archive in memory.
#[track_caller]
pub fn verify(archive: &[u8]) -> Run {
    run_with(tar365(&["verify", "-"]), archive).expect(0)
}

/// A member of an archive in memory.
#[derive(Debug, Clone)]
pub struct Member {
    pub path: String,
    pub content: Vec<u8>,
    pub mtime: i64,
    pub is_directory: bool,
}

/// All members of an archive but its seal, read by the archive crate.
pub fn members(archive: &[u8]) -> Vec<Member> {
    let mut reader = archive::Reader::new(archive);
    let mut members = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.content().read_to_end(&mut content).unwrap();
        let is_directory = entry.kind == archive::Kind::Directory;
        members.push(Member { path: entry.path, content, mtime: entry.mtime, is_directory });
    }
    members
}

/// The lines of a JSON-lines member.
pub fn json_lines(content: &[u8]) -> Vec<Value> {
    content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Real-world test data beside the project, if it is there. Says so loudly if not, and fails when
/// `TAR365_REQUIRE_CORPUS=1`.
pub fn corpus() -> Option<PathBuf> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    if corpus.is_dir() {
        return Some(corpus);
    }
    assert!(
        std::env::var_os("TAR365_REQUIRE_CORPUS").is_none_or(|value| value != "1"),
        "{} is missing",
        corpus.display()
    );
    eprintln!("*** NOT TESTED with real-world files: {} is missing ***", corpus.display());
    None
}

/// An archive in memory, read to its end.
pub struct Archive {
    pub members: Vec<Member>,
}

impl Archive {
    pub fn new(archive: &[u8]) -> Self {
        Self { members: members(archive) }
    }

    pub fn member(&self, path: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.path == path)
    }

    /// The metadata lines of a section, `users/<upn>/<service>`; none if there is no section.
    pub fn lines(&self, section: &str) -> Vec<Value> {
        self.member(&format!("{section}.ndjson"))
            .map_or(Vec::new(), |member| json_lines(&member.content))
    }

    /// Path and content of every item of a section by the service's id.
    pub fn items(&self, section: &str) -> BTreeMap<String, &Member> {
        let by_path: BTreeMap<&str, &Member> =
            self.members.iter().map(|member| (member.path.as_str(), member)).collect();
        self.lines(section)
            .iter()
            .filter(|line| !matches!(text(line, "kind"), "owner" | "folder"))
            .filter_map(|line| {
                Some((text(line, "id").to_owned(), *by_path.get(text(line, "path"))?))
            })
            .collect()
    }

    pub fn ledger(&self) -> Vec<Value> {
        json_lines(&self.member(archive::LEDGER_PATH).unwrap().content)
    }
}

/// A string of a JSON object; empty when it has none of that name.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All files below a folder, by their path in it.
pub fn files_below(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if std::fs::symlink_metadata(&path).unwrap().is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Runs a python program; what it printed.
#[track_caller]
pub fn python(program: &str, arguments: &[&std::ffi::OsStr]) -> String {
    let mut command = Command::new("python3");
    command.arg("-c").arg(program).args(arguments).env("PYTHONIOENCODING", "utf-8");
    let run = run(command).expect(0);
    String::from_utf8(run.stdout).unwrap()
}

/// Examines all cases, `at_once` at a time; what came of them, in their order. Fails with
/// everything that any of them found.
#[track_caller]
pub fn examine_all<C: Sync, R: Send>(
    cases: &[C],
    at_once: usize,
    examine: impl Fn(&C) -> Result<R, String> + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(cases.len()) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else {
                        return;
                    };
                    let result = examine(case);
                    results.lock().unwrap().insert(number, result);
                }
            });
        }
    });
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for result in results.into_inner().unwrap().into_values() {
        match result {
            Ok(row) => rows.push(row),
            Err(failure) => failures.push(failure),
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
    rows
}
