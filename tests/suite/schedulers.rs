//! The shards of `examples/`, started by schedulers: each a snapshot of its own in one repository.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use simulator::{Fault, Options};
use tempfile::TempDir;

use crate::base::contents;
use crate::harness::{Member, Tenant, examine_all, members, run, tool, verify};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

fn tenant() -> Tenant {
    Tenant::start(Options { users: 8, mails: 6, files: 4, ..Options::default() })
}

/// What an archive has of the tenant.
fn holdings(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let members = members(archive).into_iter();
    let ours = members.filter(|member: &Member| !member.path.starts_with(".tar365/"));
    ours.map(|member| (member.path, member.content)).collect()
}

/// A repository that many write into, and the scripts' environment.
struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(TempDir::new().unwrap());
        run(repository.known_to(tool("restic"), &["--quiet", "init"])).expect(0);
        repository
    }

    fn known_to(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .env("RESTIC_REPOSITORY", self.0.path().join("repository"))
            .env("RESTIC_CACHE_DIR", self.0.path().join("cache"))
            .env("RESTIC_PASSWORD", "of no worth");
        command
    }

    /// What all shards' last snapshots hold together; fails if two hold the same.
    fn holdings(&self, shards: u32) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        for index in 0..shards {
            let name = format!("m365-{index}.tar");
            let path = format!("/{name}");
            let dump = ["dump", "--path", &path, "latest", &name];
            let archive = run(self.known_to(tool("restic"), &dump)).expect(0).stdout;
            verify(&archive);
            for (path, content) in holdings(&archive) {
                assert!(all.insert(path.clone(), content).is_none(), "{path} in two shards");
            }
        }
        all
    }

    fn snapshots(&self) -> usize {
        let list = run(self.known_to(tool("restic"), &["snapshots", "--json"])).expect(0).stdout;
        serde_json::from_slice::<Value>(&list).unwrap().as_array().unwrap().len()
    }
}

/// A file somewhere in the tenant that was not there before.
fn edit(tenant: &Tenant) {
    let office = tenant.simulator.tenant();
    let user = office.users().into_iter().find(|user| user.drive.is_some()).unwrap();
    office.put_file(user.drive.as_ref().unwrap(), "new.txt", b"new").unwrap();
}

/// Runs a command inside a Slurm of its own.
fn slurm(tenant: &Tenant, repository: &Repository, shell: &str) -> Command {
    let dir = repository.0.path();
    std::fs::write(dir.join("settings"), "").unwrap();
    // Five ports in a row that nobody has; another test's Slurm could only take them now.
    let port = loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let free = |port| TcpListener::bind(("0.0.0.0", port)).is_ok();
        if first < 60_000 && (first..first + 5).all(free) {
            break first;
        }
    };
    let mut command = tool("bash");
    command.args([&format!("{EXAMPLES}/slurm/try"), "bash", "-euc", shell]).current_dir(dir);
    let mut command = repository.known_to(command, &[]);
    command
        .env("SLURM_TRY_PORT", port.to_string())
        .env("TAR365_EXAMPLES", EXAMPLES)
        .env("TAR365_SETTINGS", dir.join("settings"))
        .env("TAR365_SHARDS", "5")
        .env("JOB", format!("{EXAMPLES}/slurm/tar365.sbatch"));
    tenant.known_to(command)
}

#[test]
fn a_job_array_of_slurm_backs_up_all_shards() {
    let (tenant, repository) = (tenant(), Repository::new());
    let whole = holdings(&run(tenant.whole(&["export"])).expect(0).stdout);
    run(slurm(&tenant, &repository, r#"sbatch --wait --array=0-4%3 "$JOB""#)).expect(0);
    assert!(repository.holdings(5) == whole);
    // What has not changed is not asked for.
    edit(&tenant);
    let whole = holdings(&run(tenant.whole(&["export"])).expect(0).stdout);
    tenant.simulator.log().clear();
    run(slurm(&tenant, &repository, r#"sbatch --wait --array=0-4 "$JOB""#)).expect(0);
    assert_eq!(contents(&tenant.simulator.log().records()).len(), 1);
    assert!(repository.holdings(5) == whole);
    assert_eq!(repository.snapshots(), 10);
    // Two of them are done again: the same two, though the array is another. One that is numbered
    // otherwise fails in every task, and leaves nothing.
    let shell = r#"sbatch --wait --array=1,3 "$JOB"
        sbatch --wait --array=1-5 "$JOB" || exit $?"#;
    run(slurm(&tenant, &repository, shell)).expect(2);
    assert!(repository.holdings(5) == whole);
    assert_eq!(repository.snapshots(), 12);
}

#[test]
fn a_shard_that_is_turned_away_is_queued_again() {
    let (tenant, repository) = (tenant(), Repository::new());
    tenant.simulator.set_faults(vec!["unavailable:rate=1".parse::<Fault>().unwrap()]);
    let shell = r#"export TAR365_PATIENCE=1s
        job=$(sbatch --parsable --array=0-1 "$JOB")
        for attempt in $(seq 300); do
            reasons=$(squeue --noheader --array --format=%r --jobs "$job" | sort -u)
            [ "$reasons" != BeginTime ] || break
            sleep 0.1
        done
        scontrol show job "$job" | grep -o 'Restarts=.'"#;
    let run = run(slurm(&tenant, &repository, shell)).expect(0);
    assert_eq!(String::from_utf8(run.stdout).unwrap(), "Restarts=1\nRestarts=1\n");
    assert_eq!(repository.snapshots(), 0);
}

/// Reads the manifests with what carries Kubernetes' own schemas.
fn manifests() -> Vec<Value> {
    let program = "import sys, json, yaml
for file in sys.argv[1:]:
    for manifest in yaml.safe_load_all(open(file)):
        print(json.dumps(manifest))";
    let mut python = tool("python3");
    python.args(["-c", program]).args(manifest_files());
    crate::harness::json_lines(&run(python).expect(0).stdout)
}

fn manifest_files() -> Vec<PathBuf> {
    ["tenant", "cronjob"].map(|name| format!("{EXAMPLES}/kubernetes/{name}.yaml").into()).into()
}

fn validate(files: &[PathBuf], version: &str) -> i32 {
    let mut python = tool("python3");
    python.args(["-m", "kubernetes_validate", "--strict", "--quiet", "-k", version]).args(files);
    run(python).code
}

#[test]
fn the_manifests_are_as_kubernetes_wants_them() {
    for version in ["1.29", "1.33", "1.37"] {
        assert_eq!(validate(&manifest_files(), version), 0, "{version}");
    }
    let dir = TempDir::new().unwrap();
    let good = std::fs::read_to_string(&manifest_files()[1]).unwrap();
    for (good_key, bad) in [("maxFailedIndexes:", "maxFailedIndices:"), ("16  ", "\"x\" ")] {
        let file = dir.path().join("bad.yaml");
        std::fs::write(&file, good.replace(good_key, bad)).unwrap();
        assert_ne!(validate(&[file], "1.33"), 0, "{bad}");
    }
    // What the schemas don't know and the server refuses.
    let all = manifests();
    let job = &all.iter().find(|one| one["kind"] == "CronJob").unwrap()["spec"]["jobTemplate"];
    let job = &job["spec"];
    assert_eq!(job["completionMode"], "Indexed");
    assert!(job["maxFailedIndexes"].as_u64() <= job["completions"].as_u64());
    let pod = &job["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Never");
    let container = &pod["containers"][0];
    for rule in job["podFailurePolicy"]["rules"].as_array().unwrap() {
        let named = rule.pointer("/onExitCodes/containerName");
        assert!(named.is_none_or(|name| *name == container["name"]));
    }
    let shards = container["env"].as_array().unwrap().iter().find(|e| e["name"] == "TAR365_SHARDS");
    assert_eq!(shards.unwrap()["value"], json!(job["completions"].to_string()));
    // What is referred to is there.
    let is_there = |kind: &str, name: &Value| {
        all.iter().any(|one| one["kind"] == *kind && one["metadata"]["name"] == *name)
    };
    assert!(is_there("ServiceAccount", &pod["serviceAccountName"]));
    assert!(is_there("ConfigMap", &container["envFrom"][0]["configMapRef"]["name"]));
    let volumes = pod["volumes"].as_array().unwrap();
    let secret = volumes.iter().find_map(|volume| volume.pointer("/secret/secretName"));
    assert!(is_there("Secret", secret.unwrap()));
    for mount in container["volumeMounts"].as_array().unwrap() {
        assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
    }
}

/// What a pod of the manifest would run, with the paths of a test.
fn pod(tenant: &Tenant, repository: &Repository, container: &Value, index: u64) -> Command {
    let dir = repository.0.path();
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&container["command"]), ["tar365-shard"]);
    let mut command = tool("bash");
    command.arg(Path::new(EXAMPLES).join("shard.sh")).args(texts(&container["args"]));
    for variable in container["env"].as_array().unwrap() {
        let value = variable["value"].as_str().unwrap();
        if value.starts_with('/') {
            continue;
        }
        command.env(variable["name"].as_str().unwrap(), value);
    }
    command.env("JOB_COMPLETION_INDEX", index.to_string()).env("TMPDIR", dir);
    tenant.known_to(repository.known_to(command, &[]))
}

#[test]
fn the_pods_of_an_indexed_job_back_up_all_shards() {
    let (tenant, repository) = (tenant(), Repository::new());
    let all = manifests();
    let job = &all.iter().find(|one| one["kind"] == "CronJob").unwrap()["spec"]["jobTemplate"];
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    let shards = job["spec"]["completions"].as_u64().unwrap();
    let pods: Vec<u64> = (0..shards).collect();
    let whole = holdings(&run(tenant.whole(&["export"])).expect(0).stdout);
    examine_all(&pods, 4, |index| match run(pod(&tenant, &repository, container, *index)) {
        done if done.code == 0 => Ok(()),
        failed => Err(format!("pod {index}: {}, {}", failed.code, failed.stderr)),
    });
    assert!(repository.holdings(u32::try_from(shards).unwrap()) == whole);
    // The exit code is the export's, which the failure policy of the job decides on.
    tenant.simulator.set_faults(vec!["unavailable:rate=1".parse::<Fault>().unwrap()]);
    let mut late = pod(&tenant, &repository, container, 3);
    late.env("TAR365_PATIENCE", "1s");
    run(late).expect(75);
    let mut wrong = pod(&tenant, &repository, container, 3);
    wrong.env("TAR365_SHARDS", "3");
    run(wrong).expect(2);
    assert_eq!(repository.snapshots(), pods.len());
}
