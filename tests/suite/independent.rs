//! Clients that know nothing of us believe the simulator: rclone, and Microsoft's own msal and
//! msgraph-sdk, under the real host names over TLS. What they get is what is in the archive.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    Archive, Run, ends, files_below, run, runtime, send, sha256, tar365, text, tool, verify,
};

/// `tar365 simulate` with its proxy, and what it says of itself.
struct Simulated {
    process: Child,
    /// What a client needs over plain HTTP.
    environment: BTreeMap<String, String>,
    proxy: String,
    dir: TempDir,
}

impl Simulated {
    fn start(arguments: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let mut command = tar365(&["simulate", "--connect", "127.0.0.1:0", "--tls-ca", "ca.pem"]);
        command.args(arguments).current_dir(dir.path()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (mut environment, mut proxy) = (BTreeMap::new(), String::new());
        for line in lines.by_ref().map(Result::unwrap).take_while(|line| line != "# ready") {
            let settings = line.trim_start_matches("# ").strip_prefix("export ");
            for setting in settings.into_iter().flat_map(|settings| settings.split("' ")) {
                let (name, value) = setting.split_once("='").unwrap();
                let value = value.trim_end_matches('\'').to_owned();
                if name == "HTTPS_PROXY" {
                    proxy = value;
                } else if line.starts_with("export ") {
                    environment.insert(name.to_owned(), value);
                }
            }
        }
        assert!(proxy.starts_with("http://127.0.0.1:"), "no proxy: {proxy:?}");
        Self { process, environment, proxy, dir }
    }

    /// The certificate authority.
    fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A program that reaches the simulator under the real names only.
    fn client(&self, mut command: Command) -> Command {
        let identity = ["TAR365_TENANT_ID", "TAR365_CLIENT_ID", "TAR365_CLIENT_SECRET"];
        command
            .envs(identity.map(|name| (name, &self.environment[name])))
            .env("HTTPS_PROXY", &self.proxy)
            .env("SSL_CERT_FILE", self.ca())
            .env("REQUESTS_CA_BUNDLE", self.ca())
            .env("HOME", self.dir.path());
        command
    }

    /// An export over plain HTTP.
    fn export(&self, arguments: &[&str]) -> Run {
        let mut command = tar365(&["export", "--pace", "none"]);
        run({
            command.args(arguments).envs(&self.environment);
            command
        })
    }

    fn http(&self) -> reqwest::Client {
        let ca = std::fs::read(self.ca()).unwrap();
        reqwest::Client::builder()
            .proxy(reqwest::Proxy::https(&self.proxy).unwrap())
            .add_root_certificate(reqwest::Certificate::from_pem(&ca).unwrap())
            .build()
            .unwrap()
    }

    /// What Graph answers to a GET, by the way that the clients take.
    fn get(&self, token: &str, path: &str) -> Value {
        let url = format!("https://graph.microsoft.com/v1.0{path}");
        answer(self.http().get(url).bearer_auth(token))
    }

    fn token(&self) -> String {
        let path = format!("{}/oauth2/v2.0/token", self.environment["TAR365_TENANT_ID"]);
        let url = format!("https://login.microsoftonline.com/{path}");
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.environment["TAR365_CLIENT_ID"]),
            ("client_secret", &self.environment["TAR365_CLIENT_SECRET"]),
            ("scope", "https://graph.microsoft.com/.default"),
        ];
        text(&answer(self.http().post(url).form(&fields)), "access_token").to_owned()
    }
}

fn answer(request: reqwest::RequestBuilder) -> Value {
    runtime().block_on(async {
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        answer.json().await.unwrap()
    })
}

impl Drop for Simulated {
    fn drop(&mut self) {
        send(self.process.id(), Signal::TERM);
        assert_eq!(ends(&mut self.process, Duration::from_secs(10)), 0);
    }
}

const USER: &str = "anna.schmidt@contoso.onmicrosoft.com";

/// The files of a user's drive by their real paths, as the archive has them.
fn files(archive: &Archive, upn: &str) -> BTreeMap<String, Vec<u8>> {
    let section = format!("users/{upn}/onedrive");
    let lines = archive.lines(&section);
    let by_id: BTreeMap<&str, &Value> = lines.iter().map(|line| (text(line, "id"), line)).collect();
    // Names from the metadata: those of members are escaped.
    fn real_path<'a>(by_id: &BTreeMap<&str, &'a Value>, id: &'a str) -> String {
        let (mut id, mut names) = (id, Vec::new());
        while let Some(line) = by_id.get(id) {
            let graph = &line["graph"];
            if graph.get("root").is_some() {
                break;
            }
            names.push(text(graph, "name"));
            id = text(&graph["parentReference"], "id");
        }
        names.reverse();
        names.join("/")
    }
    let items = archive.items(&section);
    items.iter().map(|(id, member)| (real_path(&by_id, id), member.content.clone())).collect()
}

#[test]
fn real_host_names_give_the_same_archive() {
    let simulated = Simulated::start(&[]);
    let plain = simulated.export(&[]).expect(0).stdout;
    let mut command = simulated.client(tar365(&["export", "--pace", "none"]));
    command.env_remove("SSL_CERT_FILE").env("TAR365_CA_CERTIFICATE", simulated.ca());
    let real = run(command).expect(0);
    verify(&real.stdout);
    assert!(real.stdout == plain, "host names matter");

    // The proxy is honoured only for what it is for, and the certificate matters.
    let mut command = simulated.client(tar365(&["export", "--patience", "2s"]));
    command.env_remove("SSL_CERT_FILE");
    let refused = run(command).expect(2);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    assert_eq!(refused.stdout.len(), 0);

    // doctor takes the same way.
    let mut command = simulated.client(tar365(&["doctor"]));
    command.env_remove("SSL_CERT_FILE").env("TAR365_CA_CERTIFICATE", simulated.ca());
    run(command).expect(0);
}

#[test]
fn rclone_reads_a_drive() {
    let simulated = Simulated::start(&["--files", "60", "--page-cap", "7"]);
    let token = simulated.token();
    let drive = simulated.get(&token, &format!("/users/{USER}/drive"));
    let drive = text(&drive, "id");
    let settings = &simulated.environment;
    let configuration = simulated.dir.path().join("rclone.conf");
    let remotes = format!(
        r#"[token]
type = onedrive
drive_id = {drive}
drive_type = business
token = {{"access_token":"{token}","token_type":"Bearer","expiry":"2099-01-01T00:00:00Z"}}

[secret]
type = onedrive
drive_id = {drive}
drive_type = business
tenant = {}
client_id = {}
client_secret = {}
client_credentials = true
"#,
        settings["TAR365_TENANT_ID"],
        settings["TAR365_CLIENT_ID"],
        settings["TAR365_CLIENT_SECRET"],
    );
    std::fs::write(&configuration, remotes).unwrap();
    let rclone = |arguments: &[&str]| {
        let mut command = simulated.client(tool("rclone"));
        command.arg("--config").arg(&configuration).args(["--retries", "1"]).args(arguments);
        run(command)
    };

    let archive = Archive::new(&simulated.export(&[]).expect(0).stdout);
    let wanted = files(&archive, USER);
    assert!(wanted.len() > 30, "{}", wanted.len());
    let foreign = |path: &str| path.starts_with("Freigegeben von ");
    // What the archive lacks, and says so, rclone does not get either.
    let ledger = archive.ledger();
    let drive_path = format!("users/{USER}/onedrive/");
    let refused: Vec<_> = ledger
        .iter()
        .filter(|line| text(line, "path").starts_with(&drive_path))
        .filter(|line| text(line, "cause") == "malware")
        .map(|line| text(line, "path").strip_prefix(&drive_path).unwrap())
        .collect();
    assert!(!refused.is_empty(), "{ledger:?}");

    for remote in ["token:", "secret:"] {
        let listed = rclone(&["lsf", "-R", "--files-only", remote]).expect(0);
        let listed = String::from_utf8(listed.stdout).unwrap();
        // rclone goes through a shortcut into another's drive; an export of this one does not.
        let mut listed: Vec<_> = listed.lines().filter(|path| !foreign(path)).collect();
        listed.sort_unstable();
        let mut paths: Vec<_> = wanted.keys().map(String::as_str).collect();
        paths.extend(&refused);
        paths.sort_unstable();
        assert_eq!(listed, paths, "{remote}");
    }

    let copy = simulated.dir.path().join("copy");
    let copy = copy.to_str().unwrap();
    let without: Vec<String> = refused.iter().map(|path| format!("/{path}")).collect();
    let mut arguments = vec!["copy", "token:", copy, "--exclude", "/Freigegeben von */**"];
    arguments.extend(without.iter().flat_map(|path| ["--exclude", path]));
    rclone(&arguments).expect(0);
    let copied = files_below(copy.as_ref());
    assert_eq!(copied.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (path, content) in &wanted {
        assert!(copied[path] == *content, "{path} is another");
    }
    // rclone reckons quickXorHash itself.
    arguments[0] = "check";
    rclone(&arguments).expect(0);
    // And the virus is what the service says it is.
    let infected = format!("token:{}", refused[0]);
    let refusal = rclone(&["cat", &infected]);
    assert_ne!(refusal.code, 0);
    assert!(refusal.stderr.contains("virus"), "{}", refusal.stderr);
}

#[test]
fn microsofts_clients_read_a_tenant() {
    let simulated = Simulated::start(&["--files", "30"]);
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/independent.py");
    let mut command = simulated.client(tool("python3"));
    command.args([program, USER]);
    let seen = run(command).expect(0);
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert!(seen["pages"].as_u64().unwrap() > 5, "paging is not what it should be: {seen}");

    let archive = Archive::new(&simulated.export(&[]).expect(0).stdout);
    let section = format!("users/{USER}/mail");
    let lines = archive.lines(&section);
    let of_kind = |kind: &str| -> BTreeMap<String, &Value> {
        let lines = lines.iter().filter(|line| text(line, "kind") == kind);
        lines.map(|line| (text(line, "id").to_owned(), &line["graph"])).collect()
    };

    // Every user there is has a place in the archive or in its ledger.
    let ledger = archive.ledger();
    for upn in seen["users"].as_object().unwrap().values() {
        let upn = upn.as_str().unwrap();
        let place = format!("users/{}/", upn.replace('#', "%23"));
        let escaped = format!("users/{upn}/");
        let here = |path: &str| path.starts_with(&place) || path.starts_with(&escaped);
        let told = ledger.iter().any(|line| here(&format!("{}/", text(line, "scope"))));
        assert!(told || archive.members.iter().any(|member| here(&member.path)), "{upn}");
    }

    // Hidden folders are not in the answer to a plain question.
    let folders = of_kind("folder");
    let visible = folders.iter().filter(|(_, folder)| folder.get("isHidden") != Some(&true.into()));
    let visible: BTreeMap<_, _> =
        visible.map(|(id, folder)| (id.clone(), folder["displayName"].clone())).collect();
    let seen_folders = seen["folders"].as_object().unwrap().clone();
    assert_eq!(seen_folders.into_iter().collect::<BTreeMap<_, _>>(), visible);

    let messages = of_kind("message");
    let contents = archive.items(&section);
    let mails = seen["mails"].as_object().unwrap();
    assert!(mails.len() >= 50, "{}", mails.len());
    for (id, mail) in mails {
        let graph = messages.get(id).unwrap_or_else(|| panic!("{id} is not in the archive"));
        assert_eq!(graph.get("subject").unwrap_or(&Value::Null), &mail["subject"]);
        assert_eq!(graph["isRead"], mail["isRead"]);
        let received = text(mail, "received").replace("+00:00", "Z");
        assert_eq!(text(graph, "receivedDateTime"), received);
        assert_eq!(sha256(&contents[id].content), mail["sha256"], "{id}");
    }
    // The archive may have more, of folders that a plain listing leaves out; not less.
    assert!(messages.len() >= mails.len());

    let files = files(&archive, USER);
    let digests: BTreeMap<_, _> =
        files.iter().map(|(path, content)| (path.clone(), Value::from(sha256(content)))).collect();
    let seen_files: BTreeMap<_, _> =
        seen["files"].as_object().unwrap().clone().into_iter().collect();
    assert_eq!(seen_files, digests);
}
