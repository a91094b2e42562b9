//! `drill`: whether an archive would come back, tried without touching a tenant.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use archive::metadata::Line;
use archive::{Head, OwnerNames, Region, Seal};
use chrono::{DateTime, Utc};
use importer::{
    Choice, Comparison, Destination, OnConflict, Options, Order, Service, Source, Summary, Target,
    TenantTarget,
};
use serde_json::json;
use simulator::{Credentials, Language, NewUser};
use tokio_util::sync::CancellationToken;

use crate::cli::{Connection, Drill};
use crate::commands::{demo, export, simulate};
use crate::config;
use crate::exit::{Code, Failure};
use crate::input::{Input, shown};
use crate::report;
use crate::terminal::{self, Data};

pub(super) async fn run(args: Drill) -> Result<Code, Failure> {
    let started = Utc::now();
    let selection = config::selection(&args.selection)?;
    let mut choice = Choice { selection, ..Choice::default() };
    choice.check()?;
    take_what_comes_back(&mut choice)?;
    let spool = export::spool(&args.spool)?;
    let work = tempfile::tempdir_in(&spool.dir)
        .map_err(|error| Failure::because(Code::Usage, "making a temporary folder", &error))?;
    let file = archive_file(&args.archive, &spool.dir)?;
    let (users, head, seal) = owners(&file)?;
    let again = args.keep.clone().unwrap_or_else(|| work.path().join("again.tar"));
    // Nothing is exported that the archive was not to have.
    let known = head.services.iter().filter_map(|name| exporter::Service::from_name(name));
    let services = known.collect();
    let (vcard, work) = (head.vcard, work.path());
    let drill = Trial { users, services, vcard, choice, spool, work, again };
    let (summary, comparison) = drill.run(&file).await?;
    let passed = summary.failed == 0 && comparison.is_equal();
    let report = json!({
        "tar365": env!("CARGO_PKG_VERSION"),
        "archive": shown(&args.archive),
        "archive_format": archive::FORMAT,
        "manifest_sha256": archive::hex(&seal.manifest.sha256),
        "archive_outcome": seal.outcome,
        "started": started.to_rfc3339(),
        "ended": Utc::now().to_rfc3339(),
        "users": drill.users.len(),
        "restore": summary,
        "comparison": comparison,
        "passed": passed,
    });
    if let Some(path) = &args.report {
        report::replace(path, format!("{report:#}\n").as_bytes()).map_err(|error| {
            Failure::because(Code::Fatal, &format!("writing {}", path.display()), &error)
        })?;
    }
    show(&args.archive, started, &summary, &comparison, &seal)?;
    Ok(if passed { Code::Success } else { Code::Missing })
}

/// Leaves out what no application may write: what is of groups.
fn take_what_comes_back(choice: &mut Choice) -> Result<(), Failure> {
    let selection = &mut choice.selection;
    if selection.groups.is_empty() && selection.users.is_empty() {
        selection.users.push("*".to_owned());
    }
    selection.groups.clear();
    let is_of_nobody = selection.users.is_empty();
    let named = &mut selection.services;
    if named.is_empty() {
        named.extend(Service::ALL.map(|service| service.name().to_owned()));
    }
    named.retain(|name| Service::from_name(name).is_some_and(|s| !s.roles().is_empty()));
    match named.is_empty() || is_of_nobody {
        true => Err(Failure::usage("nothing of that can be restored into a tenant")
            .hint("`tar365 extract` gets it out")),
        false => Ok(()),
    }
}

/// A simulated tenant, and what is tried with it.
struct Trial<'a> {
    users: Vec<NewUser>,
    /// Those of the archive.
    services: Vec<exporter::Service>,
    vcard: archive::VCard,
    choice: Choice,
    spool: exporter::SpoolOptions,
    work: &'a Path,
    /// The archive of what came back.
    again: PathBuf,
}

impl Trial<'_> {
    /// Restores into an empty tenant, exports that, and compares.
    async fn run(&self, file: &Region) -> Result<(Summary, Comparison), Failure> {
        let simulator = simulator::Options {
            // Its ids must not be those of an archive that comes from a simulator.
            seed: simulator::Options::default().seed + 1,
            empty: Some(self.users.clone()),
            credentials: Credentials::restoring(),
            limits: None,
            ..simulator::Options::default()
        };
        let mut connection = Connection::demo();
        connection.pace = crate::cli::Pace::None;
        let simulator = simulate::start(simulator).await?;
        let tenant = demo::client(simulator, &connection).await?;
        let summary = self.restore(file, &tenant).await?;
        let second = match self.users.is_empty() {
            // A shard that nobody belongs to: nothing is to come back, and nobody is exported.
            true => file.clone(),
            false => {
                self.export(&self.again, &tenant).await?;
                File::open(&self.again).and_then(Region::whole).map_err(|error| {
                    Failure::because(Code::Fatal, "opening the second archive", &error)
                })?
            }
        };
        let (first, second) = (Source::File(file.clone()), Source::File(second));
        let comparison = importer::compare(first, second, &self.choice, &self.spool.dir).await?;
        Ok((summary, comparison))
    }

    async fn restore(&self, file: &Region, tenant: &config::Tenant) -> Result<Summary, Failure> {
        let target = Target::Tenant(TenantTarget::new(tenant.graph.clone(), tenant.name.clone()));
        let options = Options {
            destination: Destination::InPlace,
            on_conflict: OnConflict::Skip,
            map_user: Vec::new(),
            to_user: None,
            concurrency: 8,
            spool_dir: self.spool.dir.clone(),
            spool_limit: self.spool.disk_bytes,
            // Nobody gets what a simulated mailbox sends.
            enable_rules: true,
            enable_replies: true,
            incomplete: false,
        };
        let order = Order {
            target: &target,
            choice: &self.choice,
            options: &options,
            journal: &self.work.join("journal"),
            only_failed: false,
            stop: CancellationToken::new(),
        };
        let source = Source::File(file.clone());
        let (summary, ended) = importer::restore(source, &order, &Quiet).await;
        ended?;
        Ok(summary)
    }

    async fn export(&self, to: &Path, tenant: &config::Tenant) -> Result<(), Failure> {
        let options = exporter::Options {
            services: self.services.clone(),
            selection: archive::Selection::default(),
            concurrency: 8,
            spool: self.spool.clone(),
            align: None,
            include_recoverable: true,
            vcard: self.vcard,
            tenant: tenant.name.clone(),
            states: None,
            plugins: plugin_host::Chain::default(),
            without_message_delta: false,
        };
        export::to_file(to, tenant, options, None).await.map(drop)
    }
}

/// The archive as a file: one on a pipe is read twice, so it is kept for that long.
fn archive_file(path: &Path, spool: &Path) -> Result<Region, Failure> {
    let failed = |error: io::Error| {
        Failure::because(Code::Fatal, "keeping the archive for the drill", &error)
    };
    Input::open(path)?.into_region(spool).map_err(failed)
}

/// Who and what is in the archive: the drill's tenant has the same people.
fn owners(file: &Region) -> Result<(Vec<NewUser>, Head, Seal), Failure> {
    let index = archive::Index::open(file.reader())?;
    let (head, seal) = (index.head().clone(), index.seal().clone());
    let is_user = |line: &Line| !OwnerNames::from_graph(&line.graph).is_group;
    let users = importer::owners(file)?.into_iter().filter(is_user).map(|line| {
        let names = OwnerNames::from_graph(&line.graph);
        let display_name = line.graph.get("displayName").and_then(|name| name.as_str());
        NewUser {
            id: line.id,
            display_name: display_name.unwrap_or(&names.upn).to_owned(),
            mail: names.mail.unwrap_or_else(|| names.upn.clone()),
            upn: names.upn,
            language: Language::English,
        }
    });
    Ok((users.collect(), head, seal))
}

fn show(
    archive: &Path,
    started: DateTime<Utc>,
    summary: &Summary,
    comparison: &Comparison,
    seal: &Seal,
) -> Result<(), Failure> {
    let mut data = Data::new();
    data.line(&format!("drill of {} at {}", shown(archive), started.to_rfc3339()))?;
    data.line(&format!("   manifest sha256 {}", archive::hex(&seal.manifest.sha256)))?;
    data.line(&format!(
        "   restored: {} of {} items, {} failed, {} not in the archive (its ledger says why)",
        summary.created + summary.present + summary.replaced,
        summary.wanted,
        summary.failed,
        summary.missing
    ))?;
    data.line(&format!(
        "   compared: {} items: {} equal, {} different, {} did not come back, {} too many; {} \
         folders did not come back",
        comparison.items,
        comparison.equal,
        comparison.different,
        comparison.absent,
        comparison.surplus,
        comparison.absent_folders
    ))?;
    for (loss, items) in &summary.losses {
        data.line(&format!("   known loss: {loss}: {items} items (doc/restore.md)"))?;
    }
    for (path, reason) in &summary.failures {
        data.line(&format!("   not restored: {path}: {reason}"))?;
    }
    for (path, what) in &comparison.differences {
        data.line(&format!("   {path}: {what}"))?;
    }
    let passed = summary.failed == 0 && comparison.is_equal();
    data.line(if passed { "PASSED" } else { "FAILED" })?;
    data.finish()
}

/// Nobody watches a drill but for its end.
struct Quiet;

impl importer::Monitor for Quiet {
    fn progress(&self, _: &importer::Progress, _: &str) {}

    fn warn(&self, message: &str) {
        terminal::line(&format!("tar365: warning: {message}"));
    }
}
