//! An export that is killed at any moment: whoever takes its stream holds nothing that `verify`
//! accepts, unless it is the whole archive, byte for byte.
//!
//! `TAR365_SOAK=1` kills at 168 points instead of a few, and writes the table of `doc/faults.md`
//! into `target/tmp`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use simulator::Options;
use tempfile::TempDir;

use crate::engines::{Borg, Engine, Restic, script};
use crate::harness::{
    Archive, Tenant, children, ends, examine_all, files_below, json_lines, run, run_with, send,
    tar365,
};
use crate::import_faults::Random;
use crate::import_kill::{kill_when, reached};
use crate::soak::{soak, write_table};

const LONG: Duration = Duration::from_secs(120);
/// Kills at a time: they wait more than they compute.
const AT_ONCE: usize = 6;
/// Names it `m365.tar`, or as its stream.
const STORE: &str = "cat > \"$OUT/${TAR365_NAME:-m365}.tar\"";
/// What comes to the engine is also in a file: the engine may not tell.
const RESTIC: &str = "tee \"$OUT/came\" | restic --quiet backup --stdin --stdin-filename m365.tar";
const BORG: &str = "tee \"$OUT/came\" | borg import-tar ::m365 -";

/// Who takes the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Consumer {
    /// Whatever reads a pipe to its end, or to where it happens to be.
    Pipe,
    /// `--output FILE`.
    File,
    /// `--to-command` with an engine that takes any end for the end.
    Store,
    /// restic that starts the export, and is told how it ended.
    RunByRestic,
    /// restic behind `--to-command`.
    Restic,
    /// borg behind `--to-command`.
    Borg,
    /// `--each` with engines that take any end for the end.
    Each,
    /// `--output {name}.tar`.
    EachFile,
}

impl Consumer {
    const ALL: [Self; 8] = [
        Self::Pipe,
        Self::File,
        Self::Store,
        Self::RunByRestic,
        Self::Restic,
        Self::Borg,
        Self::Each,
        Self::EachFile,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Pipe => "a pipe, read to its end",
            Self::File => "`--output FILE`",
            Self::Store => "`--to-command 'cat > FILE'`",
            Self::RunByRestic => "`restic --stdin-from-command`",
            Self::Restic => "`--to-command 'restic backup --stdin'`",
            Self::Borg => "`--to-command 'borg import-tar'`",
            Self::Each => "`--each 'cat > FILE'`",
            Self::EachFile => "`--output {name}.tar`",
        }
    }

    fn is_each(self) -> bool {
        matches!(self, Self::Each | Self::EachFile)
    }
}

/// When the export is killed.
#[derive(Debug, Clone, Copy)]
enum At {
    /// As soon as the service has seen this many requests; none: as soon as the process is there.
    Requests(u64),
    /// When this many bytes have come to the consumer, and nothing that was on its way comes any
    /// more: where `exact`, the end is at this very byte.
    Bytes { count: u64, exact: bool },
}

#[derive(Debug, Clone, Copy)]
struct Case {
    consumer: Consumer,
    at: At,
    seed: u64,
}

/// Archives or what should be ones, by name.
type Held = BTreeMap<String, Vec<u8>>;

/// What a run leaves when all is over.
struct Left {
    killed: bool,
    held: Held,
    /// How many bytes came to the consumer; restic does not tell of those that it throws away.
    came: Option<usize>,
}

impl Left {
    fn new(killed: bool, held: Held) -> Self {
        let came = Some(held.values().map(Vec::len).sum());
        Self { killed, held, came }
    }
}

/// How far the stream had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Before,
    Within,
    After,
}

/// What came of a kill.
struct Row {
    consumer: Consumer,
    /// None: the export had ended before.
    part: Option<Part>,
    accepted: usize,
    refused: usize,
}

fn tenant() -> Tenant {
    Tenant::start(Options {
        users: 3,
        special_users: false,
        mails: 16,
        files: 8,
        latency: Duration::from_millis(1),
        ..Options::default()
    })
}

/// What an export leaves that nobody disturbs, as one stream or as several.
struct Undisturbed {
    held: Held,
    requests: u64,
    /// The streams one after the other: where each member of them begins.
    borders: Vec<(String, u64)>,
}

impl Undisturbed {
    fn of(is_each: bool) -> &'static Self {
        static ALL: [OnceLock<Undisturbed>; 2] = [const { OnceLock::new() }; 2];
        ALL[usize::from(is_each)].get_or_init(|| {
            let (tenant, out) = (tenant(), TempDir::new().unwrap());
            let name = if is_each { "{name}.tar" } else { "m365.tar" };
            let path = out.path().join(name);
            tenant.export(&["--output", path.to_str().unwrap()]).expect(0);
            let held = files_below(out.path());
            let of = |(name, bytes): (&String, &Vec<u8>)| {
                borders(bytes).into_iter().map(|at| (name.clone(), at)).collect::<Vec<_>>()
            };
            let borders = held.iter().flat_map(of).collect();
            Self { held, requests: tenant.simulator.log().counts().requests, borders }
        })
    }

    /// The stream that a kill at a byte is about.
    fn stream(&self, seed: u64) -> (&String, &Vec<u8>) {
        self.held.iter().nth(seed as usize % self.held.len()).unwrap()
    }
}

/// Where the members of an archive begin, to the manifest.
fn borders(bytes: &[u8]) -> Vec<u64> {
    let archive = Archive::new(bytes);
    let manifest = json_lines(&archive.member(archive::MANIFEST_PATH).unwrap().content);
    let mut at = 0;
    let mut borders = vec![0];
    for line in &manifest {
        at += line["span"].as_u64().unwrap();
        borders.push(at);
    }
    borders
}

impl Case {
    /// The kinds of points in turn, each for every consumer.
    fn new(number: usize, seed: u64) -> Self {
        let consumer = Consumer::ALL[number % Consumer::ALL.len()];
        let whole = Undisturbed::of(consumer.is_each());
        let mut random = Random(seed);
        let (name, bytes) = whole.stream(seed);
        let length = bytes.len() as u64;
        let exact = random.below(2) == 0;
        let at = match (number / Consumer::ALL.len() + number) % 7 {
            0 => At::Requests(random.below(6)),
            1 => At::Requests(random.below(whole.requests)),
            2 => At::Requests(whole.requests - random.below(6)),
            3 => At::Bytes { count: random.below(length), exact },
            4 => {
                let here: Vec<_> = whole.borders.iter().filter(|(of, _)| of == name).collect();
                let count = here[random.below(here.len() as u64) as usize].1;
                At::Bytes { count, exact: true }
            }
            // Manifest, ledger, seal, end blocks: all begin and end at whole blocks.
            5 => {
                let count = length - 512 * random.below(length.min(16_384) / 512);
                At::Bytes { count, exact: true }
            }
            _ => At::Bytes { count: length, exact },
        };
        // restic does not say how much it has read.
        let at = match at {
            At::Bytes { count, .. } if consumer == Consumer::RunByRestic => {
                At::Requests(whole.requests * count / length)
            }
            at => at,
        };
        Self { consumer, at, seed }
    }
}

/// An export, all that it runs, and where they put what they have. All of them hold its stdout.
struct Exporter {
    child: Child,
    out: TempDir,
}

impl Exporter {
    fn start(mut command: Command, out: TempDir) -> Self {
        command.env("OUT", out.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), out }
    }

    /// Kills the export as the case says, unless its engine does; waits until nobody is left.
    fn killed(mut self, case: &Case, tenant: &Tenant) -> Left {
        if let At::Requests(count) = case.at {
            kill_when(&mut self.child, || requests(tenant) >= count);
        }
        self.ended()
    }

    fn ended(mut self) -> Left {
        self.child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        Left::new(was_killed(&mut self.child), files_below(self.out.path()))
    }
}

fn was_killed(child: &mut Child) -> bool {
    let code = ends(child, LONG);
    assert!(matches!(code, 0 | -9), "exit code {code}");
    code == -9
}

fn requests(tenant: &Tenant) -> u64 {
    tenant.simulator.log().counts().requests
}

fn into_pipe(case: &Case, tenant: &Tenant) -> Left {
    let command = tenant.tar365(&["export"]);
    let mut exporter = Exporter::start(command, TempDir::new().unwrap());
    let mut stdout = exporter.child.stdout.take().unwrap();
    let mut came = Vec::new();
    match case.at {
        At::Requests(count) => std::thread::scope(|scope| {
            let reader = scope.spawn(|| stdout.read_to_end(&mut came).unwrap());
            kill_when(&mut exporter.child, || requests(tenant) >= count);
            reader.join().unwrap();
        }),
        At::Bytes { count, exact } => {
            (&mut stdout).take(count).read_to_end(&mut came).unwrap();
            kill_when(&mut exporter.child, || true);
            if !exact {
                stdout.read_to_end(&mut came).unwrap();
            }
        }
    }
    Left::new(was_killed(&mut exporter.child), Held::from([("m365.tar".to_owned(), came)]))
}

/// How many bytes of a stream are in a folder, by whatever name.
fn size_of(stream: &str, out: &Path) -> u64 {
    let entries = std::fs::read_dir(out).unwrap().flatten();
    let of_it = entries.filter(|entry| entry.file_name().to_string_lossy().contains(stream));
    of_it.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

/// Files that have their names only when they are whole.
fn into_files(case: &Case, tenant: &Tenant) -> Result<Left, String> {
    let out = TempDir::new().unwrap();
    let whole = Undisturbed::of(case.consumer.is_each());
    let name = if case.consumer.is_each() { "{name}.tar" } else { "m365.tar" };
    let command = tenant.tar365(&["export", "--output", out.path().join(name).to_str().unwrap()]);
    let mut exporter = Exporter::start(command, out);
    if let At::Bytes { count, .. } = case.at {
        let stream = whole.stream(case.seed).0;
        let out = exporter.out.path().to_owned();
        kill_when(&mut exporter.child, || size_of(stream, &out) >= count);
    }
    let left = exporter.killed(case, tenant);
    let torn = left.held.iter().find(|(name, it)| whole.held.get(*name).is_some_and(|w| w != *it));
    match torn {
        Some((name, _)) => Err(format!("{case:?}: {name} has its name and is not whole")),
        None => Ok(left),
    }
}

/// The command line of an engine, which kills the export that feeds it where bytes are counted.
fn engine(case: &Case, command: &str) -> String {
    let At::Bytes { count, exact } = case.at else { return format!("bash -c '{command}'") };
    let rest = if exact { "" } else { "cat;" };
    // $PPID is the export, also in a part of a pipeline.
    let killer = format!("{{ head -c {count}; kill -9 $PPID; {rest} }} | {command}");
    if !case.consumer.is_each() {
        return format!("bash -c '{killer}'");
    }
    let name = Undisturbed::of(true).stream(case.seed).0.trim_end_matches(".tar");
    format!("bash -c 'case $TAR365_NAME in {name}) {killer};; *) {command};; esac'")
}

fn into_engines(case: &Case, tenant: &Tenant, flags: &[&str]) -> Left {
    let mut command = tenant.tar365(&[&["export"], flags].concat());
    command.arg(engine(case, STORE));
    Exporter::start(command, TempDir::new().unwrap()).killed(case, tenant)
}

/// Into an engine with a repository; what came to it, and nothing yet of what it holds.
fn into_repository(case: &Case, tenant: &Tenant, known: &impl Engine, command: &str) -> Left {
    let text = r#"exec "$TAR365" export --to-command "$ENGINE""#;
    let mut export = script(tenant, known, text);
    export.env("ENGINE", engine(case, command));
    let left = Exporter::start(export, TempDir::new().unwrap()).killed(case, tenant);
    Left { held: Held::new(), ..left }
}

fn run_by_restic(case: &Case, tenant: &Tenant) -> Result<Left, String> {
    let restic = Restic::new();
    let text = r#"exec restic --quiet backup --stdin-filename m365.tar --stdin-from-command \
        -- "$TAR365" export"#;
    let mut command = script(tenant, &restic, text);
    let mut engine = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let At::Requests(count) = case.at else { unreachable!("restic tells no bytes") };
    let (of, mut export) = (engine.id(), None);
    let in_time = reached(&mut engine, || {
        export = export.or_else(|| children(of, "tar365").pop());
        export.is_some() && requests(tenant) >= count
    });
    if let (true, Some(export)) = (in_time, export) {
        send(export, Signal::KILL);
    }
    let killed = ends(&mut engine, LONG) != 0;
    let held = snapshots(&restic);
    if killed && !held.is_empty() {
        return Err(format!("{case:?}: restic keeps what it was told is torn"));
    }
    Ok(Left { killed, held, came: None })
}

/// What restic gives back. A stream without a byte becomes a snapshot without a file.
fn snapshots(restic: &Restic) -> Held {
    if restic.kept() == 0 {
        return Held::new();
    }
    let dump = run(restic.command(&["dump", "latest", "m365.tar"]));
    if dump.stderr.contains("not found in snapshot") {
        return Held::new();
    }
    Held::from([("m365.tar".to_owned(), dump.expect(0).stdout)])
}

/// What borg gives back: a tar of its own with our members. If our seal is among them, so are all.
fn archives(borg: &Borg) -> Result<Held, String> {
    let whole = &Undisturbed::of(false).held["m365.tar"];
    let mut held = Held::new();
    for name in borg.list(&["--short", "--consider-checkpoints"]) {
        let of = format!("::{name}");
        let paths = borg.list(&["--format", "{path}{NL}", &of]);
        if !paths.iter().any(|path| path == archive::SEAL_PATH) {
            let exported = run(borg.command(&["export-tar", &of, "-"])).expect(0);
            held.insert(name, exported.stdout);
            continue;
        }
        let dir = TempDir::new().unwrap();
        let mut extract = borg.command(&["extract", &of]);
        extract.current_dir(dir.path());
        run(extract).expect(0);
        let unpacked = files_below(dir.path());
        let wanted = Archive::new(whole).members.into_iter().filter(|member| !member.is_directory);
        for member in wanted {
            if unpacked.get(&member.path) != Some(&member.content) {
                return Err(format!("{name} in borg has a seal, but not {} as it is", member.path));
            }
        }
        held.insert("m365.tar".to_owned(), whole.clone());
    }
    Ok(held)
}

/// One kill, and what everybody holds after it.
fn examine(case: &Case) -> Result<Row, String> {
    let tenant = tenant();
    let left = match case.consumer {
        Consumer::Pipe => into_pipe(case, &tenant),
        Consumer::File | Consumer::EachFile => into_files(case, &tenant)?,
        Consumer::Store => into_engines(case, &tenant, &["--to-command"]),
        Consumer::Each => into_engines(case, &tenant, &["--streams", "2", "--each"]),
        Consumer::RunByRestic => run_by_restic(case, &tenant)?,
        Consumer::Restic => {
            let restic = Restic::new();
            let left = into_repository(case, &tenant, &restic, RESTIC);
            Left { held: snapshots(&restic), ..left }
        }
        Consumer::Borg => {
            let borg = Borg::new();
            let left = into_repository(case, &tenant, &borg, BORG);
            Left { held: archives(&borg)?, ..left }
        }
    };
    judge(case, &tenant, &left)
}

fn judge(case: &Case, tenant: &Tenant, left: &Left) -> Result<Row, String> {
    let whole = Undisturbed::of(case.consumer.is_each());
    let (mut accepted, mut refused) = (0, 0);
    for (name, bytes) in &left.held {
        if !accepts(bytes)? {
            refused += 1;
            continue;
        }
        accepted += 1;
        // A file that has no name of its own yet has its stream's in it.
        if !whole.held.iter().any(|(of, wanted)| name.contains(of) && wanted == bytes) {
            return Err(format!("{case:?}: verify accepts {} bytes as {name}", bytes.len()));
        }
    }
    if !left.killed && accepted < whole.held.len() {
        return Err(format!("{case:?}: it came to its end, and only {accepted} are whole"));
    }
    let all: usize = whole.held.values().map(Vec::len).sum();
    let (came, all) = match left.came {
        Some(came) => (came as u64, all as u64),
        None => (requests(tenant), whole.requests),
    };
    let part = match came {
        0 => Part::Before,
        came if came < all => Part::Within,
        _ => Part::After,
    };
    let part = left.killed.then_some(part);
    Ok(Row { consumer: case.consumer, part, accepted, refused })
}

/// Whether `verify` takes this for an archive.
fn accepts(bytes: &[u8]) -> Result<bool, String> {
    let verdict = run_with(tar365(&["verify", "-"]), bytes);
    let is_told = !verdict.stderr.is_empty() && !verdict.stderr.contains("panicked");
    match verdict.code {
        0 => Ok(true),
        1 if is_told => Ok(false),
        code => Err(format!("verify ended with {code}: {}", verdict.stderr)),
    }
}

#[test]
fn what_a_killed_export_leaves_is_refused_or_whole() {
    let count = if soak() { 168 } else { 12 };
    let cases: Vec<_> = (0..count).map(|number| Case::new(number, number as u64 + 1)).collect();
    let rows = examine_all(&cases, AT_ONCE, examine);
    let kills = rows.iter().filter(|row| row.part.is_some()).count();
    assert!(kills * 4 > count * 3, "only {kills} of {count} were killed in time");
    write_table("export-kills", &table(&rows));
}

/// One row a consumer; accepted and refused are streams, of which `--each` has several.
fn table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| consumer | kills | before | within | after | equal | refused | nothing kept |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let mut line = |name: &str, of: &dyn Fn(&Row) -> bool| {
        let rows: Vec<_> = rows.iter().filter(|row| row.part.is_some() && of(row)).collect();
        let count = |so: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| so(row)).count();
        let _ = writeln!(
            table,
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            rows.len(),
            count(&|row| row.part == Some(Part::Before)),
            count(&|row| row.part == Some(Part::Within)),
            count(&|row| row.part == Some(Part::After)),
            rows.iter().map(|row| row.accepted).sum::<usize>(),
            rows.iter().map(|row| row.refused).sum::<usize>(),
            count(&|row| row.accepted + row.refused == 0),
        );
    };
    for consumer in Consumer::ALL {
        line(consumer.name(), &|row| row.consumer == consumer);
    }
    line("all", &|_| true);
    table
}
