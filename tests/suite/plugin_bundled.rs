//! The bundled plugins, as they come with the binary, on a tenant.

use std::path::Path;

use serde_json::json;
use simulator::Options;

use crate::base::Shelf;
use crate::harness::{Archive, Tenant, corpus, members, python, run, sha256, tar365, tool, verify};

/// What plants secrets, and looks for them again with readers of its own.
const PLANT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/filters/redact-pii/tests/plant.py");

fn plant(command: &str, paths: [&Path; 2]) {
    let mut planting = tool("python3");
    planting.args([PLANT, command]).args(paths);
    run(planting).expect(0);
}

/// Looks for secrets in bytes that are no mail, in every way.
fn left_in(file: &Path) -> String {
    let program = "import sys, pathlib, runpy
plant = runpy.run_path(sys.argv[1])
print(sorted(plant['found'](pathlib.Path(sys.argv[2]).read_bytes(), False)))";
    python(program, &[PLANT.as_ref(), file.as_os_str()])
}

/// Redacts a tenant that is made of these files; nothing planted may be left.
fn redacted(planted: &Path) {
    let tenant = Tenant::start(Options { content: Some(planted.to_owned()), ..Options::default() });
    let shelf = Shelf::new();
    let archive = tenant.export(&["--plugin", "redact-pii"]).expect(0).stdout;
    verify(&archive);
    // All that was a file of its own is held against what it was.
    let out = shelf.path("out");
    std::fs::create_dir(&out).unwrap();
    let office = tenant.simulator.tenant();
    let user = office.users().into_iter().find(|user| user.upn.starts_with("content")).unwrap();
    let read = Archive::new(&archive);
    let mut names = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(planted).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        names.insert(sha256(&std::fs::read(&path).unwrap()), name);
    }
    let mails = read.items(&format!("users/{}/mail", user.upn));
    for mail in office.messages(&user.id).unwrap() {
        let name = &names[&sha256(&mail.mime())];
        std::fs::write(out.join(name), &mails[&mail.id].content).unwrap();
    }
    for (_, file) in read.items(&format!("users/{}/onedrive", user.upn)) {
        let name = archive::path::unescape(file.path.rsplit('/').next().unwrap());
        std::fs::write(out.join(name), &file.content).unwrap();
    }
    assert_eq!(mails.len(), names.values().filter(|name| name.ends_with(".eml")).count());
    plant("check", [planted, &out]);
    // And all that is not: names, metadata, manifest, ledger.
    for member in members(&archive) {
        let is_content = member.path.starts_with("users/") && !member.path.ends_with(".ndjson");
        let bytes = if is_content { member.path.as_bytes() } else { &member.content };
        if !member.is_directory {
            let file = shelf.put("member", bytes);
            if !is_content || bytes.iter().filter(|byte| byte.is_ascii_digit()).count() > 30 {
                assert_eq!(left_in(file.as_ref()).trim(), "[]", "{}", member.path);
            }
        }
    }
}

#[test]
fn what_is_planted_in_every_place_is_gone() {
    let planted = tempfile::tempdir().unwrap();
    plant("make", [planted.path(), "60".as_ref()]);
    redacted(planted.path());
}

#[test]
fn what_is_planted_in_real_mails_is_gone() {
    let Some(corpus) = corpus() else { return };
    let planted = tempfile::tempdir().unwrap();
    plant("corpus", [&corpus.join("eml"), planted.path()]);
    redacted(planted.path());
}

#[test]
fn a_custodians_items_are_held_whatever_others_say() {
    let tenant = Tenant::start(Options { users: 2, mails: 30, files: 10, ..Options::default() });
    let whole = Archive::new(&tenant.export(&[]).expect(0).stdout);
    let shelf = Shelf::new();
    let hold = json!({ "holds": [{ "name": "case 7", "custodians": ["anna.*"] }] }).to_string();
    let hold = format!("legal-hold={}", shelf.put("hold.json", hold.as_bytes()));
    let none = format!("keep-only={}", shelf.put("none.json", br#"{"keep": "false"}"#));
    let run = tenant.export(&["--plugin", &none, "--plugin", &hold]).expect(0);
    verify(&run.stdout);
    let filtered = Archive::new(&run.stdout);
    for user in tenant.simulator.tenant().users() {
        for service in ["mail", "onedrive"] {
            let section = format!("users/{}/{service}", user.upn);
            let (before, after) = (whole.items(&section), filtered.items(&section));
            match user.upn.starts_with("anna") {
                true => assert!(
                    !after.is_empty()
                        && before.len() == after.len()
                        && after.iter().all(|(id, item)| before[id].content == item.content)
                ),
                false => assert!(after.is_empty(), "{section}"),
            }
        }
    }
}

#[test]
fn attachments_leave_a_stub_that_names_them() {
    let tenant = Tenant::start(Options { users: 2, mails: 60, files: 0, ..Options::default() });
    let shelf = Shelf::new();
    let run = tenant.export(&["--service", "mail", "--plugin", "drop-attachments"]).expect(0);
    let archive = shelf.put("filtered.tar", &run.stdout);
    verify(&run.stdout);
    let whole = tenant.export(&["--service", "mail"]).expect(0).stdout;
    let before = shelf.put("whole.tar", &whole);
    // Python takes both apart: each attachment's digest and size stand in what took its place.
    let program = "import email, hashlib, sys, tarfile
def mails(path):
    with tarfile.open(path) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.name.endswith('.eml')}
before, after = mails(sys.argv[1]), mails(sys.argv[2])
assert before.keys() == after.keys()
dropped = 0
for name, mail in before.items():
    old = list(email.message_from_bytes(mail).walk())
    new = list(email.message_from_bytes(after[name]).walk())
    assert len(old) == len(new), name
    for one, other in zip(old, new):
        if one.get_payload(decode=True) != other.get_payload(decode=True):
            content = one.get_payload(decode=True)
            stub = other.get_payload(decode=True).decode()
            assert other.get_content_type() == 'text/plain', name
            assert hashlib.sha256(content).hexdigest() in stub, (name, stub)
            dropped += 1
print(dropped)";
    let dropped: u32 =
        python(program, &[before.as_ref(), archive.as_ref()]).trim().parse().unwrap();
    assert!(dropped > 5, "{dropped}");
}

#[test]
fn the_list_names_what_comes_with_the_program() {
    let list = run(tar365(&["plugin", "list"])).expect(0);
    let list = String::from_utf8(list.stdout).unwrap();
    for name in ["drop-attachments", "keep-only", "legal-hold", "redact-pii", "strip-tracking"] {
        let component =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/bundled/{name}.wasm"));
        let digest = sha256(&std::fs::read(component).unwrap());
        assert!(list.contains(name) && list.contains(&digest[..12]), "{name}:\n{list}");
        assert!(
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("doc/plugins/{name}.md")).is_file()
        );
    }
}

/// The components in the repository are what the sources beside them make: byte by byte with the
/// compiler that they were made with, and with another one at least in what they decide.
#[test]
fn the_components_are_made_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = root.join("target/plugins");
    let bundled = root.join("plugins/bundled");
    for name in ["drop-attachments", "keep-only", "legal-hold", "redact-pii", "strip-tracking"] {
        let mut build = tool("sh");
        build.arg(root.join("plugins/build")).arg(root.join("plugins/filters").join(name));
        build.env("CARGO_TARGET_DIR", &built);
        let path = String::from_utf8(run(build).expect(0).stdout).unwrap();
        let made = std::fs::read(path.trim()).unwrap();
        let committed = std::fs::read(bundled.join(format!("{name}.wasm"))).unwrap();
        let compiler = |at: &Path| std::fs::read_to_string(at).unwrap();
        if compiler(&built.join("rustc-version")) == compiler(&bundled.join("RUSTC")) {
            assert!(made == committed, "{name}: run plugins/build --bundled");
            continue;
        }
        let shelf = Shelf::new();
        let settings = match name {
            "keep-only" => r#"{"keep": "has(item.subject) && item.subject.size() % 2 == 0"}"#,
            "legal-hold" => r#"{"holds": [{"name": "a", "custodians": ["anna.*"]}]}"#,
            _ => "{}",
        };
        let settings = shelf.put("settings.json", settings.as_bytes());
        let decides = |component: &Path| {
            let plugin = format!("{}={settings}", component.display());
            run(tar365(&["plugin", "check", &plugin, "--json"])).expect(0).stdout
        };
        let made = decides(path.trim().as_ref());
        assert!(made == decides(&bundled.join(format!("{name}.wasm"))), "{name} decides otherwise");
    }
}
