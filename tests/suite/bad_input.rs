//! What goes wrong before or around an export ends with the documented exit code, one message that
//! names the cause, a hint where a person can do something, nothing on stdout that could be taken
//! for an archive, and no secret in any output.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use simulator::{Credentials, Options};

use crate::harness::{Archive, Run, Tenant, run, run_with, runtime, tar365, text};

/// One user with a few mails and files.
fn small() -> Options {
    Options { users: 1, special_users: false, mails: 12, files: 8, ..Options::default() }
}

fn tenant(credentials: Credentials) -> Tenant {
    Tenant::start(Options { credentials, ..small() })
}

/// What must not stand in any output: the secret as it is and as it is sent, tokens, addresses
/// that open a file, keys.
fn assert_no_secret(run: &Run) {
    let secret = Credentials::default().client_secret;
    let sent = "simulated~not-a-secret%2B%2F%3D%26%25";
    for forbidden in [&secret, sent, "tempauth", "Bearer ", "eyJ", "-----BEGIN", "federated-token"]
    {
        // Of a megabyte of log, only the line is worth showing.
        let line = run.stderr.lines().find(|line| line.contains(forbidden));
        assert!(line.is_none(), "{forbidden:?} in {}", line.unwrap_or_default());
        let bytes = forbidden.as_bytes();
        let in_stdout = run.stdout.windows(bytes.len()).any(|window| window == bytes);
        assert!(!in_stdout, "{forbidden:?} in stdout");
    }
}

/// One `error:` line that names all of `causes`, then the hint, if one is wanted.
#[track_caller]
fn assert_message(run: &Run, causes: &[&str], hint: Option<&str>) {
    let errors: Vec<&str> = run.stderr.lines().filter(|line| line.contains("error: ")).collect();
    assert_eq!(errors.len(), 1, "one message is wanted:\n{}", run.stderr);
    for cause in causes {
        assert!(
            errors[0].to_lowercase().contains(&cause.to_lowercase()),
            "{cause:?} is not named:\n{}",
            run.stderr
        );
    }
    let hints: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("hint: ")).collect();
    assert!(hints.len() <= 1, "{}", run.stderr);
    if let Some(hint) = hint {
        assert!(
            hints.first().is_some_and(|line| line.to_lowercase().contains(hint)),
            "no hint of {hint:?}:\n{}",
            run.stderr
        );
    }
    for word in ["panicked", "internal error", "RUST_BACKTRACE", "defect"] {
        assert!(!run.stderr.contains(word), "{}", run.stderr);
    }
}

/// Runs a command twice: once as a user would, once with the whole log, which keeps secrets too.
#[track_caller]
fn fails(command: impl Fn() -> Command, code: i32, causes: &[&str], hint: Option<&str>) -> Run {
    let mut logged = command();
    logged.env("TAR365_LOG", "trace");
    let logged = run(logged).expect(code);
    assert_no_secret(&logged);
    let plain = run(command()).expect(code);
    assert_message(&plain, causes, hint);
    assert_no_secret(&plain);
    assert!(plain.stdout.is_empty(), "{} bytes on stdout", plain.stdout.len());
    plain
}

/// An export that fails before its first byte; `--report` and `--metrics` say so as well.
#[track_caller]
fn export_fails(
    command: impl Fn(&[&str]) -> Command,
    code: i32,
    causes: &[&str],
    hint: Option<&str>,
) {
    let dir = tempfile::tempdir().unwrap();
    let (report, metrics) = (dir.path().join("report.json"), dir.path().join("metrics.prom"));
    let arguments = [
        "export",
        "--progress",
        "none",
        "--report",
        report.to_str().unwrap(),
        "--metrics",
        metrics.to_str().unwrap(),
    ];
    fails(|| command(&arguments), code, causes, hint);
    assert_reported(&report, &metrics, code);
}

/// Both files are there and name the exit code and the cause; neither holds a secret.
#[track_caller]
fn assert_reported(report: &Path, metrics: &Path, code: i32) {
    let written = std::fs::read_to_string(report).expect("--report is not written on failure");
    let value: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(value["exit_code"], code, "{written}");
    assert!(!text(&value, "error").is_empty(), "{written}");
    let gauges = std::fs::read_to_string(metrics).expect("--metrics is not written on failure");
    let last = gauges.lines().find(|line| line.starts_with("tar365_last_exit_code")).unwrap();
    assert!(last.ends_with(&format!(" {code}")), "{last}");
    assert!(!gauges.contains("last_success_timestamp_seconds{"), "{gauges}");
    assert_no_secret(&Run { code, stdout: gauges.into_bytes(), stderr: written });
}

/// `openssl ARGUMENTS`, for keys and certificates as an administrator makes them.
fn openssl(arguments: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::null());
    run(command).expect(0);
}

/// Certificates and keys: `rsa.pem`, `other.pem` and `ec.pem` hold both, `certificate.pem` and
/// `key.pem` are the halves of `rsa.pem`.
fn certificates() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for (name, key) in [
            ("rsa", &["-newkey", "rsa:2048"][..]),
            ("other", &["-newkey", "rsa:2048"]),
            ("ec", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]),
        ] {
            let (key_file, certificate) = (at("key"), at("certificate"));
            let rest = [
                "-nodes",
                "-x509",
                "-days",
                "30",
                "-subj",
                "/CN=tar365",
                "-keyout",
                &key_file,
                "-out",
                &certificate,
            ];
            openssl(&[&["req"], key, &rest].concat());
            let (key, certificate) =
                (std::fs::read(key_file).unwrap(), std::fs::read(certificate).unwrap());
            std::fs::write(at(&format!("{name}.pem")), [&certificate[..], &key].concat()).unwrap();
            if name == "rsa" {
                std::fs::write(at("certificate.pem"), certificate).unwrap();
                std::fs::write(at("key.pem"), key).unwrap();
            }
        }
        std::fs::write(at("garbage.pem"), "neither PEM nor anything else\n").unwrap();
        dir
    });
    dir.path()
}

/// A port of this machine at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn secrets_that_are_refused() {
    let good = tenant(Credentials::default());
    let with = |name: &'static str, value: &'static str| {
        let good = &good;
        move |arguments: &[&str]| {
            let mut command = good.tar365(arguments);
            command.env(name, value);
            command
        }
    };
    export_fails(
        with("TAR365_CLIENT_SECRET", "wrong"),
        77,
        &["AADSTS7000215"],
        Some("value, not its id"),
    );
    let nowhere = "00000000-0000-4000-8000-000000000000";
    export_fails(
        with("TAR365_TENANT_ID", nowhere),
        77,
        &["AADSTS90002"],
        Some("check tenant and cloud"),
    );
    export_fails(with("TAR365_CLIENT_ID", nowhere), 77, &["AADSTS700016"], Some("check client id"));
    let past = Some("2020-01-01T00:00:00Z".parse().unwrap());
    let expired = tenant(Credentials { secret_expires: past, ..Credentials::default() });
    export_fails(|arguments| expired.tar365(arguments), 77, &["AADSTS7000222"], Some("expired"));
    // A secret in a file is as good, also with a line end behind it.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, format!("{}\n", good.simulator.client_secret())).unwrap();
    let mut command = good.tar365(&["export", "--client-secret-file", file.to_str().unwrap()]);
    command.env_remove("TAR365_CLIENT_SECRET");
    run(command).expect(0);
}

#[test]
fn missing_permissions() {
    let without = |roles: &[&str]| {
        let mut credentials = Credentials::default();
        credentials.roles.retain(|role| !roles.contains(&role.as_str()));
        tenant(credentials)
    };
    // One service refused for every owner ends the run, also when the other would be had.
    let no_mail = without(&["Mail.Read"]);
    for flags in [&["--service", "mail"][..], &[]] {
        export_fails(
            |arguments| no_mail.tar365(&[arguments, flags].concat()),
            77,
            &["mail was refused for every owner", "1 of 1"],
            Some("doctor"),
        );
    }
    let run = no_mail.export(&["--service", "onedrive"]).expect(0);
    run_with(tar365(&["verify", "-"]), &run.stdout).expect(0);
    // The warning names the role before the refusal comes.
    let run = no_mail.export(&["--service", "mail"]).expect(77);
    assert!(run.stderr.contains("Mail.Read is missing"), "{}", run.stderr);
    let no_files = without(&["Files.Read.All", "Sites.Read.All"]);
    export_fails(
        |arguments| no_files.tar365(&[arguments, &["--service", "onedrive"]].concat()),
        77,
        &["onedrive was refused for every owner"],
        Some("doctor"),
    );
    let no_users = without(&["User.Read.All"]);
    export_fails(
        |arguments| no_users.tar365(arguments),
        77,
        &["listing the users", "Authorization_RequestDenied"],
        Some("permission"),
    );
}

#[test]
fn hosts_that_do_not_answer() {
    let good = tenant(Credentials::default());
    for name in ["TAR365_LOGIN_URL", "TAR365_GRAPH_URL"] {
        for address in [nobody(), "http://no-such-host.invalid".to_owned()] {
            export_fails(
                |arguments| {
                    let mut command = good.tar365(&[arguments, &["--patience", "1s"]].concat());
                    command.env(name, &address);
                    command
                },
                75,
                &["unreachable"],
                Some("check the network"),
            );
        }
    }
    let fault = "throttle:rate=1,seconds=3600".parse().unwrap();
    let busy = Tenant::start(Options { faults: vec![fault], ..small() });
    export_fails(
        |arguments| busy.tar365(&[arguments, &["--patience", "1s"]].concat()),
        75,
        &["throttled"],
        Some("try again later"),
    );
}

/// The service goes away in the middle: no seal, and the stream says so in the data.
#[test]
fn a_service_that_dies_during_the_export() {
    let tenant =
        Tenant::start(Options { mails: 400, latency: Duration::from_millis(5), ..small() });
    let dir = tempfile::tempdir().unwrap();
    let (report, metrics) = (dir.path().join("report.json"), dir.path().join("metrics.prom"));
    let reports = ["--report", report.to_str().unwrap(), "--metrics", metrics.to_str().unwrap()];
    let mut command = tenant
        .tar365(&[&["export", "--patience", "2s", "--progress", "none"][..], &reports].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut bytes = vec![0; 100_000];
    stdout.read_exact(&mut bytes).unwrap();
    runtime().block_on(tenant.simulator.shutdown());
    stdout.read_to_end(&mut bytes).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let done =
        Run { code: output.status.code().unwrap_or(-1), stdout: Vec::new(), stderr }.expect(75);
    assert_message(&done, &["unreachable"], Some("check the network"));
    assert_no_secret(&done);
    assert_reported(&report, &metrics, 75);
    assert_poisoned(&bytes);
}

/// No reader takes it for an archive.
#[track_caller]
fn assert_poisoned(bytes: &[u8]) {
    let failed = run_with(tar365(&["verify", "-"]), bytes).expect(1);
    let told = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(told.contains("failed: "), "{told}{}", failed.stderr);
    let mut tar = Command::new("tar");
    tar.args(["-xO", "--warning=none"]);
    assert_ne!(run_with(tar, bytes).code, 0, "GNU tar takes it for whole");
    let sealed = bytes.windows(18).any(|window| window == b".tar365/seal.json\0");
    assert!(!sealed, "there is a seal");
}

#[test]
fn client_certificates() {
    let at = |name: &str| certificates().join(name).to_str().unwrap().to_owned();
    let pem = std::fs::read_to_string(at("certificate.pem")).unwrap();
    let tenant = tenant(Credentials { certificates: vec![pem], ..Credentials::default() });
    let with = |file: String| {
        let tenant = &tenant;
        move |arguments: &[&str]| {
            let mut command = tenant.tar365(arguments);
            command.env_remove("TAR365_CLIENT_SECRET").env("TAR365_CLIENT_CERTIFICATE", &file);
            command
        }
    };
    for (file, cause) in [
        (at("missing.pem"), "No such file"),
        (at("garbage.pem"), "certificate"),
        (at("certificate.pem"), "key"),
        (at("key.pem"), "certificate"),
        (at("ec.pem"), "RSA"),
    ] {
        export_fails(with(file), 2, &["client certificate", cause], None);
    }
    export_fails(with(at("other.pem")), 77, &["AADSTS700027"], Some("not registered"));
    for flags in [&["export"][..], &["export", "--legacy-assertion"]] {
        let mut command = with(at("rsa.pem"))(flags);
        command.env("TAR365_LOG", "trace");
        let done = run(command).expect(0);
        assert_no_secret_in_log(&done);
        run_with(tar365(&["verify", "-"]), &done.stdout).expect(0);
    }
}

/// As for failures; the archive itself may hold whatever people mail each other.
fn assert_no_secret_in_log(run: &Run) {
    assert_no_secret(&Run { code: 0, stdout: Vec::new(), stderr: run.stderr.clone() });
}

#[test]
fn federated_token() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let tokens = vec!["federated-token.of.an-issuer".to_owned()];
    let tenant = tenant(Credentials { federated_tokens: tokens, ..Credentials::default() });
    let command = |arguments: &[&str]| {
        let mut command = tenant.tar365(arguments);
        command.env_remove("TAR365_CLIENT_SECRET").env("TAR365_FEDERATED_TOKEN_FILE", &file);
        command
    };
    export_fails(command, 2, &[file.to_str().unwrap(), "No such file"], None);
    std::fs::write(&file, "another.to.ken").unwrap();
    export_fails(command, 77, &["AADSTS"], None);
    std::fs::write(&file, "federated-token.of.an-issuer\n").unwrap();
    let mut good = command(&["export"]);
    good.env("TAR365_LOG", "trace");
    let done = run(good).expect(0);
    assert_no_secret_in_log(&done);
    run_with(tar365(&["verify", "-"]), &done.stdout).expect(0);
}

#[test]
fn managed_identity() {
    let tenant = tenant(Credentials::default());
    let command = |url: String, client: Option<&'static str>| {
        let tenant = &tenant;
        move |arguments: &[&str]| {
            let mut command =
                tenant.tar365(&[arguments, &["--managed-identity", "--imds-url", &url]].concat());
            command.env_remove("TAR365_CLIENT_SECRET").env_remove("TAR365_CLIENT_ID");
            command.envs(client.map(|id| ("TAR365_CLIENT_ID", id)));
            command
        }
    };
    let imds = tenant.simulator.imds_url();
    let mut good = command(imds.clone(), None)(&["export"]);
    good.env("TAR365_LOG", "trace");
    let done = run(good).expect(0);
    assert_no_secret_in_log(&done);
    run_with(tar365(&["verify", "-"]), &done.stdout).expect(0);
    export_fails(command(imds, Some("another-client")), 77, &["Identity not found"], None);
}

#[test]
fn no_managed_identity_on_this_machine() {
    let tenant = tenant(Credentials::default());
    let nobody = nobody();
    let flags = ["export", "--managed-identity", "--imds-url", &nobody, "--patience", "1s"];
    let done = run(tenant.tar365(&flags)).expect(75);
    assert_message(&done, &["unreachable"], Some("only on a machine in azure"));
    assert!(done.stdout.is_empty());
}

#[test]
fn device_code() {
    let tenant = tenant(Credentials::default());
    let mut command = tenant.tar365(&["export", "--device-code", "--progress", "none"]);
    command.env_remove("TAR365_CLIENT_SECRET").env("TAR365_LOG", "trace");
    let done = run(command).expect(0);
    assert!(done.stderr.contains("enter the code"), "{}", done.stderr);
    assert_no_secret_in_log(&done);
    run_with(tar365(&["verify", "-"]), &done.stdout).expect(0);
    assert_eq!(
        Archive::new(&done.stdout)
            .ledger()
            .iter()
            .filter(|line| text(line, "outcome") == "failed")
            .count(),
        0
    );
}

/// A service behind TLS of an authority of our own.
#[test]
fn servers_that_are_not_trusted() {
    let tenant = Arc::new(tenant(Credentials::default()));
    let authority = simulator::tls::Authority::new(std::iter::empty::<String>()).unwrap();
    let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.ca_pem()).unwrap();
    let shared = Arc::clone(&tenant);
    let front = runtime().spawn(async move {
        let router_for = move |host: &str| shared.simulator.router_for(host);
        let _ = simulator::connect::serve_connect(listener, router_for, &authority).await;
    });
    let command = |arguments: &[&str], ca: Option<&Path>| {
        let mut command = tenant.tar365(arguments);
        command
            .env_remove("TAR365_GRAPH_URL")
            .env_remove("TAR365_LOGIN_URL")
            .env("HTTPS_PROXY", &proxy);
        command.envs(ca.map(|file| ("TAR365_CA_CERTIFICATE", file)));
        command
    };
    export_fails(|arguments| command(arguments, None), 2, &["certificate"], Some("ca file"));
    let garbage = certificates().join("garbage.pem");
    export_fails(
        |arguments| command(arguments, Some(&garbage)),
        2,
        &["CA certificate"],
        Some("pem"),
    );
    let missing = dir.path().join("missing.pem");
    export_fails(
        |arguments| command(arguments, Some(&missing)),
        2,
        &["CA certificate", "No such file"],
        None,
    );
    let done = run(command(&["export"], Some(&ca))).expect(0);
    run_with(tar365(&["verify", "-"]), &done.stdout).expect(0);
    front.abort();
}

#[test]
fn values_that_mean_nothing() {
    let tenant = tenant(Credentials::default());
    for (flags, cause) in [
        (&["--service", "fax"][..], "fax"),
        (&["--service", ""], "service"),
        (&["--since", "yesterday"], "yesterday"),
        (&["--until", "2026-13-01"], "2026-13-01"),
        (&["--include", "users/["], "users/["),
        (&["--exclude", "{a"], "{a"),
        (&["--user", "[x"], "[x"),
        (&["--user", "nobody@contoso.example"], "matches no owner"),
        (&["--pace", "fast"], "fast"),
        (&["--budget", "mailbox=many"], "mailbox=many"),
        (&["--cloud", "mars"], "mars"),
        (&["--concurrency", "0"], "0"),
        (&["--align", "1000"], "1000"),
        (&["--compress", "xz"], "xz"),
        (&["--patience", "soon"], "soon"),
        (&["--progress", "loud"], "loud"),
        (&["--spool-limit", "lots"], "lots"),
        (&["--spool-dir", "/no/such/place"], "/no/such/place"),
        (&["--graph-url", "nowhere"], "nowhere"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["surplus"], "surplus"),
        (&["--strict", "--allow-partial"], "--allow-partial"),
        (&["--output", "x.tar", "--to-command", "cat"], "--to-command"),
        (&["--to-command", ""], "--to-command"),
        (&["--to-command", "'unclosed"], "--to-command"),
        (&["--to-command", "/no/such/engine --fast"], "/no/such/engine"),
        (&["--output", "/proc/version/x.tar"], "/proc/version/x.tar"),
        (&["--output", "/no/such/folder/x.tar"], "/no/such/folder/x.tar"),
        (&["--output", "/"], "/"),
    ] {
        let done = tenant.export(flags);
        assert_eq!(done.code, 2, "{flags:?}:\n{}", done.stderr);
        assert!(done.stdout.is_empty(), "{flags:?}");
        assert!(done.stderr.contains("error: "), "{flags:?}:\n{}", done.stderr);
        assert!(done.stderr.contains(cause), "{flags:?}:\n{}", done.stderr);
        assert!(!done.stderr.contains("panicked"), "{flags:?}:\n{}", done.stderr);
    }
    let since_after_until = ["--since", "2026-02-01", "--until", "2026-01-01"];
    let done = tenant.export(&since_after_until);
    assert_eq!(done.code, 2, "a span that ends before it begins selects nothing:\n{}", done.stderr);
}

#[test]
fn settings_that_are_missing() {
    let tenant = tenant(Credentials::default());
    for (name, cause, hint) in [
        ("TAR365_TENANT_ID", "no tenant", "TAR365_TENANT_ID"),
        ("TAR365_CLIENT_ID", "no application", "TAR365_CLIENT_ID"),
        ("TAR365_CLIENT_SECRET", "no credential", "TAR365_CLIENT_CERTIFICATE"),
    ] {
        for empty in [false, true] {
            let command = |arguments: &[&str]| {
                let mut command = tenant.tar365(arguments);
                if empty {
                    command.env(name, "")
                } else {
                    command.env_remove(name)
                };
                command
            };
            export_fails(command, 2, &[cause], Some(&hint.to_lowercase()));
        }
    }
    for verb in ["export", "list", "cat", "extract", "verify", "doctor", "simulate", "nonsense"] {
        let done = run(tar365(&[verb, "--no-such-flag"])).expect(2);
        assert!(done.stdout.is_empty(), "{verb}");
    }
}

#[test]
fn a_terminal_as_stdout() {
    const PTY: &str = "
import os, pty, subprocess, sys
master, slave = pty.openpty()
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE)
said = child.stderr.read()
code = child.wait()
os.set_blocking(master, False)
try:
    shown = os.read(master, 1000)
except OSError:
    shown = b''
sys.stderr.buffer.write(said)
sys.stdout.buffer.write(shown)
sys.exit(code)
";
    let tenant = tenant(Credentials::default());
    let wrapped = |arguments: &[&str]| {
        let inner = tenant.tar365(arguments);
        let mut command = Command::new("python3");
        command.args(["-c", PTY]).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null());
        command
    };
    fails(|| wrapped(&["export"]), 2, &["terminal"], Some("--output"));
    assert_eq!(tenant.simulator.log().counts().requests, 0);
    // A list is for people: it may.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.tar");
    run(tenant.tar365(&["export", "--output", file.to_str().unwrap()])).expect(0);
    let listed = run(wrapped(&["list", file.to_str().unwrap()])).expect(0);
    assert!(!listed.stdout.is_empty());
}

/// Runs `tar365` where no file may grow beyond `blocks` of 1,024 bytes. The disk is full then,
/// also for who is not root and can't mount a small one.
fn on_a_small_disk(command: &Command, blocks: u32) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""), "bash"]);
    shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// A small file system, for as long as this lives. Only root can have one.
struct Mount(PathBuf);

impl Mount {
    fn new(dir: &Path, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| Self(dir.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// The spool fills up in the middle of a file: poison, exit code 1, no file left behind.
#[test]
fn a_full_disk_in_the_spool() {
    let tenant = Tenant::start(Options { big_file: Some(90 << 20), ..small() });
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    std::fs::create_dir(&spool).unwrap();
    let report = dir.path().join("report.json");
    let metrics = dir.path().join("metrics.prom");
    let arguments = [
        "export",
        "--progress",
        "none",
        "--spool-dir",
        spool.to_str().unwrap(),
        "--spool-limit",
        "1GiB",
        "--report",
        report.to_str().unwrap(),
        "--metrics",
        metrics.to_str().unwrap(),
    ];
    let check = |done: &Run| {
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert_message(done, &["spool", spool.to_str().unwrap()], Some("--spool-dir"));
        assert_no_secret_in_log(done);
        assert_poisoned(&done.stdout);
        assert_reported(&report, &metrics, 1);
        assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0, "a file is left in the spool");
        std::fs::remove_file(&report).unwrap();
        std::fs::remove_file(&metrics).unwrap();
    };
    check(&run(on_a_small_disk(&tenant.tar365(&arguments), 60 * 1024)));
    if let Some(_mount) = Mount::new(&spool, "30m") {
        let done = run(tenant.tar365(&arguments));
        check(&Run {
            // That the spool is in memory is worth a warning, not an error.
            stderr: done.stderr.replace("warning: the spool", "warning: the temporary"),
            ..done
        });
    } else {
        eprintln!("*** NOT TESTED on a full tmpfs: mount needs root ***");
    }
    // With so little room that not even the list of what there is fits.
    let done = run(on_a_small_disk(&tenant.tar365(&arguments), 4));
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert_message(&done, &[spool.to_str().unwrap()], Some("--spool-dir"));
    run_with(tar365(&["verify", "-"]), &done.stdout).expect(1);
}

#[test]
fn a_full_disk_in_the_output() {
    let tenant = tenant(Credentials::default());
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = tenant.tar365(&["export", "--progress", "none"]);
    command.stdout(full()).stderr(Stdio::piped());
    let done = run_as_it_is(command).expect(1);
    assert_message(&done, &["output", "No space left"], None);
    let done = tenant.export(&["--progress", "none", "--output", "/dev/full"]).expect(1);
    assert_message(&done, &["output", "No space left"], None);
    // A file appears when it is whole, so not at all.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.tar");
    let export =
        tenant.tar365(&["export", "--progress", "none", "--output", file.to_str().unwrap()]);
    let done = run(on_a_small_disk(&export, 64)).expect(1);
    assert_message(&done, &["File too large"], None);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something is left");
}

/// As `run`, with the stdout the command has.
fn run_as_it_is(mut command: Command) -> Run {
    let output = command.spawn().unwrap().wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_consumer_that_goes_away() {
    let tenant = Tenant::start(Options { mails: 200, files: 40, ..small() });
    for taken in [0, 1, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let (report, metrics) = (dir.path().join("report.json"), dir.path().join("metrics.prom"));
        let reports =
            ["--report", report.to_str().unwrap(), "--metrics", metrics.to_str().unwrap()];
        let mut command =
            tenant.tar365(&[&["export", "--progress", "none"][..], &reports].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut vec![0; taken]).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), None, "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().unwrap_or(-1);
        let done = Run { code, stdout: Vec::new(), stderr }.expect(74);
        assert_message(&done, &["consumer", "went away"], Some("program that reads"));
        assert_reported(&report, &metrics, 74);
    }
    for engine in ["false", "head -c 100000", "bash -c 'head -c 100000 >/dev/null; exit 5'"] {
        let done = tenant.export(&["--progress", "none", "--to-command", engine]);
        assert_eq!(done.code, 74, "{engine}: {}", done.stderr);
        assert_message(&done, &[], Some("program that reads"));
    }
    // It took everything, and then says that it did not store it.
    let done =
        tenant.export(&["--progress", "none", "--to-command", "bash -c 'cat >/dev/null; exit 5'"]);
    assert_eq!(done.code, 74, "{}", done.stderr);
    assert_message(&done, &["bash"], None);
    // What an engine is run with is nobody's secret.
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("environment");
    let engine = format!("bash -c 'env >{}; cat >/dev/null'", seen.display());
    tenant.export(&["--to-command", &engine]).expect(0);
    let seen = std::fs::read_to_string(seen).unwrap();
    assert!(!seen.contains(&tenant.simulator.client_secret()), "the engine knows the secret");
}

/// A sealed archive, and what bad luck can make of it.
fn broken_archives() -> Vec<(&'static str, Vec<u8>)> {
    let tenant = tenant(Credentials::default());
    let whole = tenant.export(&[]).expect(0).stdout;
    let fault = "token-expiry:rate=1,after=30".parse().unwrap();
    let refused = Tenant::start(Options { faults: vec![fault], ..small() });
    let poisoned = refused.export(&[]).expect(77).stdout;
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 1;
    let mut longer = whole.clone();
    longer.extend_from_slice(&[0; 512]);
    let mut spliced = whole.clone();
    spliced.drain(512..1024);
    vec![
        ("empty", Vec::new()),
        ("one byte", whole[..1].to_vec()),
        ("cut in a header", whole[..300].to_vec()),
        ("cut at a block", whole[..whole.len() / 2 / 512 * 512].to_vec()),
        ("cut in a block", whole[..whole.len() / 2 + 77].to_vec()),
        ("without the last byte", whole[..whole.len() - 1].to_vec()),
        ("without the end blocks", whole[..whole.len() - 1024].to_vec()),
        ("without the seal", whole[..whole.len() - 1024 - 4096 - 512].to_vec()),
        ("poisoned", poisoned),
        ("a flipped bit", flipped),
        ("more behind the end", longer),
        ("a missing block", spliced),
        ("text", b"This is not an archive.\n".repeat(1000)),
        ("zeros", vec![0; 10_240]),
        ("gzip of nothing", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
        ("zstd of nothing", vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0]),
    ]
}

#[test]
fn archives_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.tar");
    let name = file.to_str().unwrap();
    for (what, bytes) in broken_archives() {
        std::fs::write(&file, &bytes).unwrap();
        for input in [name, "-"] {
            let target = dir.path().join("out");
            let out = target.to_str().unwrap();
            for arguments in [
                &["verify", input][..],
                &["verify", "--json", input],
                &["extract", input, "-C", out],
                &["list", input],
                &["list", "--json", input],
                &["cat", input, "no/such/member"],
            ] {
                let done = run_with(tar365(arguments), &bytes);
                let told = format!("{what}: {arguments:?}:\n{}", done.stderr);
                // A list need not look at every byte, and tapes pad what is read from a pipe: what
                // such readers hand out is proven all the same.
                let lenient = match what {
                    "a flipped bit" => arguments[0] == "list",
                    "more behind the end" => arguments[0] == "list" || input == "-",
                    _ => false,
                } && arguments[0] != "verify";
                assert!(done.code == 1 || (lenient && done.code == 0), "{}: {told}", done.code);
                if done.code == 1 {
                    assert_message(
                        &Run { code: 1, stdout: Vec::new(), stderr: done.stderr },
                        &[],
                        None,
                    );
                }
                match arguments[0] {
                    "cat" => assert!(done.stdout.is_empty(), "{told}"),
                    // What is bad, and where, is what verify has to say; it can't of what does not
                    // unpack.
                    "verify" if !what.ends_with("of nothing") => {
                        assert!(!done.stdout.is_empty(), "{told}")
                    }
                    _ => {}
                }
                if arguments[0] == "extract" && input == name && what.starts_with("cut") {
                    assert!(
                        !target.exists() || std::fs::read_dir(&target).unwrap().count() == 0,
                        "{told}"
                    );
                }
                let _ = std::fs::remove_dir_all(&target);
            }
        }
    }
    for verb in ["verify", "list", "extract"] {
        for path in ["/no/such/archive.tar", "/"] {
            let done = run(tar365(&[verb, path])).expect(1);
            assert_message(&done, &[path], None);
        }
    }
}

/// What is whole in a broken archive can still be had, by name.
#[test]
fn one_member_of_a_broken_archive() {
    let tenant = tenant(Credentials::default());
    let whole = tenant.export(&[]).expect(0).stdout;
    let archive = Archive::new(&whole);
    let mail = archive.members.iter().find(|member| member.path.ends_with(".eml")).unwrap();
    let cut = &whole[..whole.len() - 6000];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cut.tar");
    std::fs::write(&file, cut).unwrap();
    for input in [file.to_str().unwrap(), "-"] {
        let done = run_with(tar365(&["cat", input, &mail.path]), cut).expect(0);
        assert_eq!(done.stdout, mail.content);
    }
    let out: PathBuf = dir.path().join("out");
    let flags = ["extract", file.to_str().unwrap(), "-C", out.to_str().unwrap(), "--incomplete"];
    run(tar365(&flags)).expect(0);
    assert_eq!(std::fs::read(out.join(&mail.path)).unwrap(), mail.content);
}

/// A bit that flipped in a member is noticed by whoever reads it.
#[test]
fn a_member_that_is_not_what_it_was() {
    let tenant = tenant(Credentials::default());
    let whole = tenant.export(&[]).expect(0).stdout;
    let archive = Archive::new(&whole);
    let mail = archive.members.iter().find(|member| member.path.ends_with(".eml")).unwrap();
    let at = whole.windows(64).position(|window| window == &mail.content[..64]).unwrap();
    let mut flipped = whole.clone();
    flipped[at + 10] ^= 4;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("flipped.tar");
    std::fs::File::create(&file).unwrap().write_all(&flipped).unwrap();
    for input in [file.to_str().unwrap(), "-"] {
        let done = run_with(tar365(&["cat", input, &mail.path]), &flipped).expect(1);
        assert_message(&done, &["digest"], None);
        let out = dir.path().join("out");
        let done =
            run_with(tar365(&["extract", input, "-C", out.to_str().unwrap()]), &flipped).expect(1);
        assert!(done.stderr.contains(&mail.path), "{}", done.stderr);
        assert!(!out.join(&mail.path).exists(), "what is wrong is not kept");
        std::fs::remove_dir_all(&out).unwrap();
    }
}

/// Nothing that opens a door is written, also when all goes well.
#[test]
fn no_secret_in_the_log() {
    let tenant = tenant(Credentials::default());
    let dir = tempfile::tempdir().unwrap();
    let (report, metrics) = (dir.path().join("report.json"), dir.path().join("metrics.prom"));
    let reports = ["--report", report.to_str().unwrap(), "--metrics", metrics.to_str().unwrap()];
    let mut command = tenant.tar365(&[&["export", "--progress", "json"][..], &reports].concat());
    command.env("TAR365_LOG", "trace");
    let done = run(command).expect(0);
    assert!(done.stderr.len() > 10_000, "there is hardly a log");
    assert_no_secret_in_log(&done);
    for file in [report, metrics] {
        assert_no_secret(&Run {
            code: 0,
            stdout: std::fs::read(file).unwrap(),
            stderr: String::new(),
        });
    }
    let head = Archive::new(&done.stdout).members[0].content.clone();
    assert_no_secret(&Run { code: 0, stdout: head, stderr: String::new() });
    let mut doctor = tenant.tar365(&["doctor"]);
    doctor.env("TAR365_LOG", "trace");
    assert_no_secret(&run(doctor).expect(0));
}
