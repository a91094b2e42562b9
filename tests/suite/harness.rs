//! A simulator, the binary, and what came of running it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use simulator::{Options, Simulator};
use tokio::runtime::Runtime;

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

    /// `tar365 ARGUMENTS`, with the environment of this tenant and a quick pace.
    pub fn tar365(&self, arguments: &[&str]) -> Command {
        let mut command = tar365(arguments);
        command
            .env("TAR365_TENANT_ID", self.simulator.tenant_id())
            .env("TAR365_CLIENT_ID", self.simulator.client_id())
            .env("TAR365_CLIENT_SECRET", self.simulator.client_secret())
            .env("TAR365_GRAPH_URL", self.simulator.graph_url())
            .env("TAR365_LOGIN_URL", self.simulator.login_url())
            .env("TAR365_PACE", "none");
        command
    }

    /// Exports to memory; for small tenants.
    pub fn export(&self, arguments: &[&str]) -> Run {
        run(self.tar365(&[&["export"], arguments].concat()))
    }
}

/// The binary without any tenant in its environment.
pub fn tar365(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tar365"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TAR365_")) {
        command.env_remove(name);
    }
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy);
    }
    command.args(arguments).stdin(Stdio::null());
    command
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
pub fn json_lines(content: &[u8]) -> Vec<serde_json::Value> {
    content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// The ledger of an archive in memory.
pub fn ledger(archive: &[u8]) -> Vec<serde_json::Value> {
    let members = members(archive);
    let ledger = members.iter().find(|member| member.path == archive::LEDGER_PATH).unwrap();
    json_lines(&ledger.content)
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
    pub fn lines(&self, section: &str) -> Vec<serde_json::Value> {
        self.member(&format!("{section}.ndjson")).map_or(Vec::new(), |member| json_lines(&member.content))
    }

    /// Path and content of every item of a section by the service's id.
    pub fn items(&self, section: &str) -> BTreeMap<String, &Member> {
        let by_path: BTreeMap<&str, &Member> =
            self.members.iter().map(|member| (member.path.as_str(), member)).collect();
        self.lines(section)
            .iter()
            .filter(|line| !matches!(text(line, "kind"), "owner" | "folder"))
            .filter_map(|line| Some((text(line, "id").to_owned(), *by_path.get(text(line, "path"))?)))
            .collect()
    }

    pub fn ledger(&self) -> Vec<serde_json::Value> {
        json_lines(&self.member(archive::LEDGER_PATH).unwrap().content)
    }
}

/// A string of a JSON object; empty when it has none of that name.
pub fn text<'a>(value: &'a serde_json::Value, key: &str) -> &'a str {
    value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default()
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
