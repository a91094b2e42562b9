//! `demo`: the main job from end to end, without a tenant.

use std::fs::File;
use std::path::{Path, PathBuf};

use archive::{Index, IndexEntry};
use exporter::{Options, SpoolOptions};

use crate::cli::{Connection, Demo};
use crate::commands::{export, simulate, verify};
use crate::config::{self, Tenant};
use crate::exit::{Code, Failure};
use crate::terminal::Data;

/// A client of an embedded simulator, for `--demo` on any command.
pub(crate) async fn tenant(connection: &Connection) -> Result<Tenant, Failure> {
    client(simulate::start(simulator::Options::default()).await?, connection).await
}

/// A client of this simulator.
pub(crate) async fn client(
    simulator: simulator::Simulator,
    connection: &Connection,
) -> Result<Tenant, Failure> {
    let url = |text: String| {
        text.parse().map_err(|_| Failure::new(Code::Fatal, format!("bad simulator address {text}")))
    };
    let mut config = graph::Config::new(simulator.tenant_id());
    config.graph_url = Some(url(simulator.graph_url())?);
    config.login_url = Some(url(simulator.login_url())?);
    config::pace(&mut config, connection);
    let credential = graph::Credential::Secret {
        client_id: simulator.client_id(),
        secret: simulator.client_secret(),
    };
    let mut tenant = config::sign_in(config, credential, simulator.tenant_id(), connection).await?;
    tenant.simulator = Some(simulator);
    Ok(tenant)
}

pub(super) async fn run(args: Demo) -> Result<Code, Failure> {
    let temporary = tempfile::tempdir()
        .map_err(|error| Failure::because(Code::Fatal, "making a temporary folder", &error))?;
    let directory = args.directory.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&directory).map_err(|error| {
        Failure::because(Code::Usage, &format!("making {}", directory.display()), &error)
    })?;
    let archive = directory.join("m365.tar");
    let mut data = Data::new();

    data.line("1. A simulated Microsoft 365 starts on loopback; its tenant is exported:")?;
    let exported = exported(&archive).await?;
    data.line(&format!("   {exported}"))?;

    let (archive_file, spool) = (archive.clone(), exporter::default_spool_dir());
    let lines = tokio::task::spawn_blocking(move || show(&archive_file, &spool, &directory))
        .await
        .map_err(|_| Failure::new(Code::Fatal, "internal error"))??;
    for line in lines {
        data.line(&line)?;
    }
    for line in NEXT_STEPS.lines() {
        data.line(line)?;
    }
    data.finish()?;
    Ok(Code::Success)
}

const NEXT_STEPS: &str = "
With your own tenant (doc/tenant-setup.md registers the app in ten minutes):
   export TAR365_TENANT_ID=... TAR365_CLIENT_ID=... TAR365_CLIENT_CERTIFICATE=/etc/tar365/app.pem
   tar365 doctor
   restic backup --stdin-filename m365.tar --stdin-from-command -- tar365 export
   restic dump latest m365.tar | tar365 verify -
   restic dump latest m365.tar | tar365 extract - --user alice@example.com -C restored";

async fn exported(archive: &Path) -> Result<String, Failure> {
    let tenant = tenant(&Connection::demo()).await?;
    let spool = SpoolOptions::in_dir(exporter::default_spool_dir())
        .map_err(|error| Failure::because(Code::Usage, "using the spool directory", &error))?;
    let options = Options {
        services: exporter::Service::ALL.to_vec(),
        selection: archive::Selection::default(),
        concurrency: 16,
        spool,
        align: None,
        include_recoverable: false,
        vcard: archive::VCard::default(),
        tenant: tenant.name.clone(),
        states: None,
        plugins: plugin_host::Chain::default(),
        without_message_delta: false,
    };
    let summary = export::to_file(archive, &tenant, options, None).await?;
    Ok(format!(
        "{} owners, {} items, {} bytes in {}; {} lines in the ledger tell what is not in it",
        summary.owners,
        summary.items,
        summary.bytes,
        archive.display(),
        summary.skipped + summary.failed + summary.converted + summary.damaged
    ))
}

/// Verifies, lists a few paths, restores one mail.
fn show(archive: &Path, spool: &Path, directory: &Path) -> Result<Vec<String>, Failure> {
    let open = || {
        File::open(archive)
            .map_err(|error| Failure::because(Code::Fatal, "opening the archive", &error))
    };
    let mut lines = vec!["2. tar365 verify m365.tar".to_owned()];
    let report = archive::verify::verify(open()?, spool, &mut |_| {})?;
    lines.extend(verify::summary(&report).lines().map(|line| format!("   {line}")));
    if !report.is_proven() {
        return Err(Failure::new(Code::Fatal, lines.join("\n")));
    }

    lines.push("3. tar365 list m365.tar (any tar lists it too)".to_owned());
    let mut index = Index::open(open()?)?;
    let mut mails: Vec<IndexEntry> = Vec::new();
    index.each(&mut |entry| {
        if entry.line.path.ends_with(".eml") {
            mails.push(entry.clone());
        }
        mails.len() < 3
    })?;
    lines.extend(mails.iter().map(|entry| format!("   {}", entry.line.path)));

    lines.push("4. One mail comes back into a folder:".to_owned());
    let Some(mail) = mails.first() else {
        return Err(Failure::new(Code::Fatal, "the archive has no mail"));
    };
    let restored: PathBuf = directory.join("restored.eml");
    let mut reader = index.open_entry(mail)?;
    let content = reader.content().into_vec(64 << 20)?;
    std::fs::write(&restored, &content).map_err(|error| {
        Failure::because(Code::Fatal, &format!("writing {}", restored.display()), &error)
    })?;
    lines.push(format!("   {} ({} bytes, digest proven)", restored.display(), content.len()));
    let text = String::from_utf8_lossy(&content);
    lines.extend(
        text.lines()
            .filter(|line| ["From:", "Subject:", "Date:"].iter().any(|name| line.starts_with(name)))
            .take(3)
            .map(|line| format!("   | {line}")),
    );
    Ok(lines)
}
