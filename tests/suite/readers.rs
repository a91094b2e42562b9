//! Whatever reads tar reads an archive: the same tree, without a word of complaint. And refuses
//! what an export has given up.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use simulator::{Fault, Options, Profile};
use tempfile::TempDir;

use crate::harness::{Archive, Run, Tenant, run, run_with, sha256, tar365, tool, verify};

/// A reader: how it is told to list stdin, and to unpack stdin into the working directory. `None`
/// where that takes more than a command.
struct Reader {
    name: &'static str,
    list: &'static str,
    unpack: &'static str,
}

/// In their plainest use.
const READERS: [Reader; 5] = [
    Reader { name: "tar", list: "tar -tf - --quoting-style=literal", unpack: "tar -xf -" },
    Reader { name: "bsdtar", list: "bsdtar -tf -", unpack: "bsdtar -xf -" },
    Reader { name: "busybox", list: "busybox tar -tf -", unpack: "busybox tar -xf -" },
    Reader {
        name: "python3",
        list: "python3 -c 'import sys, tarfile
for member in tarfile.open(fileobj=sys.stdin.buffer, mode=\"r|*\"): print(member.name)'",
        unpack: "python3 -c 'import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode=\"r|*\").extractall()'",
    },
    Reader {
        name: "borg",
        list: "borg init -e none; borg import-tar ::a -; borg list --format '{path}{NL}' ::a",
        unpack: "borg init -e none; borg import-tar ::a -; borg extract ::a",
    },
];

impl Reader {
    fn command(&self, script: &str, dir: &Path, scratch: &TempDir) -> Command {
        drop(tool(self.name)); // fails here if it is missing
        let mut command = tool("bash");
        command
            .args(["-euc", script])
            .current_dir(dir)
            .env("PYTHONIOENCODING", "utf-8")
            .env("BORG_REPO", scratch.path().join("repository"))
            .env("BORG_BASE_DIR", scratch.path().join("base"))
            .env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        command
    }

    fn list(&self, archive: &[u8]) -> Run {
        let scratch = TempDir::new().unwrap();
        run_with(self.command(self.list, scratch.path(), &scratch), archive)
    }

    fn unpack(&self, archive: &[u8], into: &Path) -> Run {
        let scratch = TempDir::new().unwrap();
        run_with(self.command(self.unpack, into, &scratch), archive)
    }
}

/// A member as a file system holds it; folders have no size, digest or time of their own.
#[derive(Debug, PartialEq, Eq)]
struct Unpacked {
    folder: bool,
    size: u64,
    digest: String,
    mtime: i64,
}

fn tree(dir: &Path) -> BTreeMap<String, Unpacked> {
    let mut tree = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            let unpacked = if meta.is_dir() {
                open.push(path);
                Unpacked { folder: true, size: 0, digest: String::new(), mtime: 0 }
            } else {
                assert!(meta.is_file(), "{name}");
                let digest = sha256(&std::fs::read(&path).unwrap());
                Unpacked { folder: false, size: meta.len(), digest, mtime: meta.mtime() }
            };
            tree.insert(name, unpacked);
        }
    }
    tree
}

/// The tree that the archive's own manifest states, and its paths in the order of the stream.
fn stated(archive: &[u8]) -> (BTreeMap<String, Unpacked>, Vec<String>) {
    let read = Archive::new(archive);
    let manifest =
        crate::harness::json_lines(&read.member(archive::MANIFEST_PATH).unwrap().content);
    let mtimes: BTreeMap<_, _> =
        read.members.iter().map(|member| (member.path.as_str(), member.mtime)).collect();
    let mut order = Vec::new();
    let mut tree = BTreeMap::new();
    let mut add = |path: &str, member: Unpacked| {
        // A folder that is no member is there for what is in it.
        for (slash, _) in path.match_indices('/') {
            let folder = Unpacked { folder: true, size: 0, digest: String::new(), mtime: 0 };
            tree.entry(path[..slash].to_owned()).or_insert(folder);
        }
        tree.insert(path.to_owned(), member);
        order.push(path.to_owned());
    };
    for line in &manifest {
        let path = line["path"].as_str().unwrap();
        let folder = line.get("sha256").is_none();
        let digest = line.get("sha256").map_or("", |digest| digest.as_str().unwrap()).to_owned();
        let (size, mtime) = (line["size"].as_u64().unwrap(), if folder { 0 } else { mtimes[path] });
        add(path, Unpacked { folder, size, digest, mtime });
    }
    for path in [archive::MANIFEST_PATH, archive::LEDGER_PATH] {
        let content = &read.member(path).unwrap().content;
        let (size, digest) = (content.len() as u64, sha256(content));
        add(path, Unpacked { folder: false, size, digest, mtime: 0 });
    }
    let seal = &archive[archive.len() - 1024 - 4096..archive.len() - 1024];
    let digest = sha256(seal);
    add(archive::SEAL_PATH, Unpacked { folder: false, size: 4096, digest, mtime: 0 });
    (tree, order)
}

fn all_read_the_same(options: Options, arguments: &[&str]) {
    let tenant = Tenant::start(options);
    let archive = tenant.export(&[&["--allow-partial"], arguments].concat()).expect(0).stdout;
    verify(&archive);
    let (tree_stated, order) = stated(&archive);
    assert!(order.len() > 100, "{}", order.len());
    let files = tree_stated.values().filter(|member| !member.folder).count();
    assert!(files > 50 && files < order.len(), "{files} files of {} members", order.len());
    for reader in &READERS {
        let name = reader.name;
        let listed = reader.list(&archive).expect(0);
        assert_eq!(listed.stderr, "", "{name} complains");
        let listed = String::from_utf8(listed.stdout).unwrap();
        let listed: Vec<_> = listed.lines().map(|path| path.trim_end_matches('/')).collect();
        assert_eq!(listed, order, "{name} lists something else");

        let into = TempDir::new().unwrap();
        let unpacked = reader.unpack(&archive, into.path()).expect(0);
        assert_eq!((unpacked.stderr.as_str(), unpacked.stdout.len()), ("", 0), "{name} complains");
        let unpacked = tree(into.path());
        for (path, member) in &tree_stated {
            assert_eq!(unpacked.get(path), Some(member), "{name}: {path}");
        }
        assert_eq!(unpacked.len(), tree_stated.len(), "{name} unpacks more");
    }
}

fn plain() -> Options {
    Options { users: 2, mails: 60, files: 30, ..Options::default() }
}

fn nasty() -> Options {
    Options { profile: Profile::Nasty, ..plain() }
}

#[test]
fn every_reader_reads_the_same() {
    all_read_the_same(plain(), &[]);
}

#[test]
fn every_reader_reads_the_same_of_a_nasty_tenant() {
    all_read_the_same(nasty(), &[]);
}

#[test]
fn every_reader_reads_the_same_when_aligned() {
    all_read_the_same(nasty(), &["--align", "4096"]);
    all_read_the_same(plain(), &["--align", "65536"]);
}

#[test]
fn alignment_is_where_it_was_asked_for() {
    let tenant = Tenant::start(nasty());
    let archive = tenant.export(&["--allow-partial", "--align", "4096"]).expect(0).stdout;
    let offsets = "import sys, tarfile
for member in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'):
    if member.isfile() and member.size and member.name != '.tar365/seal.json':
        print(member.offset_data)";
    let mut command = tool("python3");
    command.args(["-c", offsets]);
    let offsets = String::from_utf8(run_with(command, &archive).expect(0).stdout).unwrap();
    assert!(offsets.lines().count() > 100);
    for offset in offsets.lines() {
        assert_eq!(offset.parse::<u64>().unwrap() % 4096, 0, "{offset}");
    }
}

#[test]
fn a_compressed_archive_is_one_for_every_reader() {
    let tenant = Tenant::start(plain());
    let archive = tenant.export(&[]).expect(0).stdout;
    let (stated, _) = stated(&archive);
    let packed = [("zstd", "zstd -dc"), ("gzip", "gzip -dc")];
    for (format, decoder) in packed {
        let packed = tenant.export(&["--compress", format]).expect(0).stdout;
        assert!(packed.len() < archive.len());
        let mut unpack = tool("bash");
        unpack.args(["-c", decoder]);
        let unpacked = run_with(unpack, &packed).expect(0);
        assert!(unpacked.stdout == archive, "{format}: other bytes");
        verify(&packed);
        for script in [format!("tar --{format} -xf -"), "bsdtar -xf -".to_owned()] {
            let into = TempDir::new().unwrap();
            let mut command = tool("bash");
            command.args(["-c", &script]).current_dir(into.path());
            let unpacked = run_with(command, &packed).expect(0);
            assert_eq!(unpacked.stderr, "", "{script}");
            assert_eq!(tree(into.path()), stated, "{script}");
        }
    }
}

/// An export that gives up between two members.
fn given_up(tenant: &Tenant, arguments: &[&str]) -> Vec<u8> {
    let fault: Fault = "token-expiry:rate=1,after=90".parse().unwrap();
    tenant.simulator.set_faults(vec![fault]);
    // Little is ahead of its turn, so that much is written by then.
    let torn = tenant.export(&[arguments, &["--concurrency", "4"]].concat()).expect(77).stdout;
    assert!(torn.len() > 10_000, "{}", torn.len());
    torn
}

#[test]
fn every_reader_refuses_what_was_given_up() {
    let tenant = Tenant::start(plain());
    let torn = given_up(&tenant, &[]);
    for reader in &READERS {
        let into = TempDir::new().unwrap();
        let unpacked = reader.unpack(&torn, into.path());
        assert_ne!(unpacked.code, 0, "{} unpacks it as if it were whole", reader.name);
        assert_ne!(unpacked.stderr, "", "{}", reader.name);
        let listed = reader.list(&torn);
        assert_ne!(listed.code, 0, "{} lists it as if it were whole", reader.name);
    }
    // Those who look see what it is.
    let mut list = tool("tar");
    list.args(["-tf", "-"]);
    let listed = String::from_utf8(run_with(list, &torn).stdout).unwrap();
    assert!(listed.ends_with(".tar365/EXPORT-FAILED\n"), "{listed}");
    let refusal = run_with(tar365(&["verify", "-"]), &torn).expect(1);
    assert!(
        refusal.stderr.contains("fail") || refusal.stderr.contains("seal"),
        "{}",
        refusal.stderr
    );
    let refusal = run_with(read_archive(), &torn);
    assert_ne!(refusal.code, 0);
}

#[test]
fn every_reader_refuses_what_was_given_up_and_compressed() {
    let tenant = Tenant::start(plain());
    for format in ["zstd", "gzip"] {
        let torn = given_up(&tenant, &["--compress", format]);
        let decoders = [format!("{format} -t"), format!("{format} -dc > /dev/null")];
        let readers = [format!("tar --{format} -xf -"), "bsdtar -xf -".into(), "python".into()];
        for script in decoders.into_iter().chain(readers) {
            if script == "python" && format == "zstd" {
                continue; // python3's tarfile knows gzip only
            }
            let script = if script == "python" { READERS[3].unpack } else { &script };
            let into = TempDir::new().unwrap();
            let mut command = tool("bash");
            command.args(["-o", "pipefail", "-c", script]).current_dir(into.path());
            let unpacked = run_with(command, &torn);
            assert_ne!(unpacked.code, 0, "{format}: `{script}` takes it for whole");
        }
        run_with(tar365(&["verify", "-"]), &torn).expect(1);
    }
}

/// The reader that the format's page comes with.
fn read_archive() -> Command {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/read_archive.py");
    let mut command = tool("python3");
    command.arg(program).arg("-").env("PYTHONIOENCODING", "utf-8");
    command
}

#[test]
fn the_reader_of_the_format_page_proves_an_archive() {
    let tenant = Tenant::start(nasty());
    for arguments in [&["--allow-partial"][..], &["--allow-partial", "--align", "4096"]] {
        let archive = tenant.export(arguments).expect(0).stdout;
        let read = run_with(read_archive(), &archive).expect(0);
        assert_eq!(read.stderr, "");
        let said = String::from_utf8(read.stdout).unwrap();
        let (_, order) = stated(&archive);
        for path in order.iter().filter(|path| !path.starts_with(".tar365/")) {
            assert!(said.contains(&format!("  {path}\n")), "{path}");
        }
        let verdict: serde_json::Value = serde_json::from_slice(
            &run_with(tar365(&["verify", "--json", "-"]), &archive).expect(0).stdout,
        )
        .unwrap();
        let seal = verdict.get("seal").unwrap_or(&verdict);
        let last = said.lines().last().unwrap();
        assert!(last.contains(&format!("{} members", seal["members"])), "{last} {verdict}");

        // One flipped bit in any content, or a lost end, is noticed by both.
        let position = |needle: &[u8]| {
            archive.windows(needle.len()).position(|window| window == needle).unwrap()
        };
        for at in [position(b"Subject: "), position(b"\"kind\":\"message\"") + 9] {
            let mut damaged = archive.clone();
            damaged[at] ^= 1;
            assert_ne!(run_with(read_archive(), &damaged).code, 0, "{at}");
            run_with(tar365(&["verify", "-"]), &damaged).expect(1);
        }
        for cut in [archive.len() - 1024 - 4096 - 512, archive.len() / 2, 100] {
            assert_ne!(run_with(read_archive(), &archive[..cut]).code, 0, "{cut}");
            run_with(tar365(&["verify", "-"]), &archive[..cut]).expect(1);
        }
    }
}

#[test]
fn one_mail_comes_out_of_a_file_without_tar365() {
    let tenant = Tenant::start(plain());
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("m365.tar");
    tenant.export(&["--output", file.to_str().unwrap()]).expect(0);
    let archive = Archive::new(&std::fs::read(&file).unwrap());
    let mail = archive.members.iter().rfind(|member| member.path.ends_with(".eml")).unwrap();
    for program in [&["tar"][..], &["bsdtar"], &["busybox", "tar"]] {
        let mut command = tool(program[0]);
        command.args(&program[1..]).arg("-xOf").arg(&file).arg(&mail.path);
        let got = run(command).expect(0);
        assert_eq!(got.stderr, "", "{program:?}");
        assert!(got.stdout == mail.content, "{program:?}");
    }
}
