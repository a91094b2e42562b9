//! What goes wrong before or around an export ends with the documented exit code, one message that
//! names the cause, a hint where a person can do something, nothing on stdout that could be taken
//! for an archive, and no secret in any output.

mod archives;
mod disks;

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
