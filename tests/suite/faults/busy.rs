//! Large files that change while they are streamed.

use simulator::Options;

use super::OWNER;
use super::compare::version_bytes;
use crate::harness::{Archive, Member, Run, Tenant, json_lines, run_with, sha256, tar365, text};

/// A tenant with a file of 30 MiB, and an export that streams it. Whoever opens the file finds it
/// changed, every read of it breaks in the middle, and after `spared` reads the address has expired
/// when it is used again: the next one leads to another version.
pub struct Busy {
    pub tenant: Tenant,
    /// Of the file.
    pub id: String,
}

impl Busy {
    pub fn new(spared: usize, versions: &str) -> Self {
        let tenant = Tenant::start(Options {
            users: 1,
            special_users: false,
            mails: 8,
            files: 12,
            big_file: Some(30 << 20),
            ..Options::default()
        });
        let files = tenant.simulator.tenant().files(OWNER).unwrap();
        let file = files.iter().max_by_key(|file| file.size).unwrap();
        let (id, unique) = (file.id.clone(), file.etag[2..38].to_lowercase());
        let faults = [
            format!("restless:versions={versions},match=/versions"),
            format!("change:rate=1,match={id}/content"),
            format!("truncate:rate=1,times=12,match={unique}"),
            format!("url-expired:times=1,after={spared},match={unique}"),
        ];
        tenant.simulator.set_faults(faults.iter().map(|fault| fault.parse().unwrap()).collect());
        Self { tenant, id }
    }

    fn export(&self, flags: &[&str]) -> Run {
        let arguments = ["--progress", "none", "--spool-limit", "1MiB"];
        self.tenant.export(&[&arguments[..], flags].concat())
    }

    /// All versions the file has had.
    fn versions(&self) -> Vec<Vec<u8>> {
        version_bytes(&self.tenant, &self.id, 0)
    }
}

/// The archive of the same tenant when nobody touches the file.
fn calm() -> Archive {
    let busy = Busy::new(0, "kept");
    busy.tenant.simulator.set_faults(Vec::new());
    Archive::new(&busy.export(&[]).expect(0).stdout)
}

/// The large file: the only member of that size.
fn largest(archive: &Archive) -> &Member {
    archive.members.iter().max_by_key(|member| member.content.len()).unwrap()
}

/// All members but one are those of another archive, and in the same order.
#[track_caller]
fn assert_same_but(archive: &Archive, other: &Archive, path: &str) {
    let rest = |archive: &Archive| -> Vec<(String, String)> {
        let kept = |member: &&Member| member.path != path && !member.path.starts_with(".tar365/");
        let one = |member: &Member| (member.path.clone(), sha256(&member.content));
        archive.members.iter().filter(kept).map(one).collect()
    };
    assert_eq!(rest(archive), rest(other));
}

#[test]
fn a_large_file_that_changes_on_every_read_is_one_whole_version() {
    let calm = calm();
    let mut mixed = Vec::new();
    for spared in 0..8 {
        let busy = Busy::new(spared, "kept");
        let run = busy.export(&[]);
        run_with(tar365(&["verify", "-"]), &run.stdout).expect(0);
        let archive = Archive::new(&run.stdout);
        let file = largest(&archive);
        assert_same_but(&archive, &calm, &file.path);
        let versions = busy.versions();
        assert!(versions.len() > 1, "after {spared} reads: the file never changed");
        if run.code != 0 || !versions.contains(&file.content) || run.stderr.contains("1 damaged") {
            mixed.push(format!("after {spared} reads: {}", run.stderr.trim()));
        }
    }
    assert!(mixed.is_empty(), "not one whole version:\n{}", mixed.join("\n"));
}

#[test]
fn a_large_file_whose_version_is_gone_costs_that_file_only() {
    // When the address expires under a read that counts: how often the file is opened before is
    // the exporter's own business.
    let torn = |spared: &usize| Busy::new(*spared, "gone").export(&[]).stderr.contains("1 damaged");
    let spared = (0..8).find(torn).expect("no read of the large file ever breaks");
    // One damaged file is tolerated; --strict tolerates nothing (design 6).
    Busy::new(spared, "gone").export(&["--strict"]).expect(3);
    Busy::new(spared, "gone").export(&["--allow-partial"]).expect(0);
    let busy = Busy::new(spared, "gone");
    let run = busy.export(&[]).expect(0);
    run_with(tar365(&["verify", "-"]), &run.stdout).expect(0);

    let archive = Archive::new(&run.stdout);
    let file = largest(&archive);
    let ledger = archive.ledger();
    let damaged: Vec<_> = ledger.iter().filter(|line| text(line, "outcome") == "damaged").collect();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert_eq!(text(damaged[0], "path"), file.path);
    let manifest = json_lines(&archive.member(archive::MANIFEST_PATH).unwrap().content);
    let listed: Vec<_> = manifest.iter().filter(|line| line.get("damaged").is_some()).collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(text(listed[0], "path"), file.path);
    assert_eq!(listed[0]["size"], file.content.len());
    assert_same_but(&archive, &calm(), &file.path);

    // What came is the beginning of one version, what did not come is zeros.
    let zeros = file.content.iter().rev().take_while(|byte| **byte == 0).count();
    let came = &file.content[..file.content.len() - zeros];
    assert!(!came.is_empty() && zeros > 1 << 20, "{} of {}", came.len(), file.content.len());
    let of = |version: &Vec<u8>| version.len() == file.content.len() && version.starts_with(came);
    assert!(busy.versions().iter().any(of), "the beginning is of no version");
    refused_by_readers(&run.stdout, &file.path, file.content.len());
}

/// Readers do not hand a damaged file out as if it were whole.
fn refused_by_readers(bytes: &[u8], path: &str, size: usize) {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.tar");
    std::fs::write(&whole, bytes).unwrap();
    let whole = whole.to_str().unwrap();
    for (name, input) in [("file", whole), ("pipe", "-")] {
        let into = dir.path().join(name);
        let target = into.to_str().unwrap();
        let refused = run_with(tar365(&["extract", input, "-C", target]), bytes).expect(1);
        assert!(refused.stderr.contains(path), "{}", refused.stderr);
        assert!(refused.stderr.contains("damaged"), "{}", refused.stderr);
        assert!(!into.join(path).exists());
        let others = Archive::new(bytes).members.into_iter().filter(|m| m.path.ends_with(".eml"));
        for mail in others {
            assert_eq!(std::fs::read(into.join(&mail.path)).unwrap(), mail.content);
        }
        let into = dir.path().join(format!("{name}-damaged"));
        let target = into.to_str().unwrap();
        run_with(tar365(&["extract", input, "-C", target, "--damaged"]), bytes).expect(0);
        assert_eq!(std::fs::metadata(into.join(path)).unwrap().len(), size as u64);
        let cat = run_with(tar365(&["cat", input, path]), bytes);
        assert_ne!(cat.code, 0, "cat {input} hands a damaged file out as if it were whole");
        assert!(cat.stderr.contains("damaged"), "{}", cat.stderr);
    }
}
