//! The demo tenant, as an archive to try plugins on.

use archive::Region;
use exporter::SpoolOptions;

use crate::exit::Failure;

/// The demo tenant's archive, in a file of the spool directory that is gone with us.
#[cfg(feature = "demo")]
pub(super) async fn archive(spool: &SpoolOptions) -> Result<Region, Failure> {
    use crate::cli::{Connection, Pace};
    use crate::commands::{demo, export, simulate};
    use crate::exit::Code;

    let failed = |error: std::io::Error| {
        Failure::because(Code::Usage, &format!("writing to {}", spool.dir.display()), &error)
    };
    let simulator = simulator::Options { limits: None, ..simulator::Options::default() };
    let connection = Connection { pace: Pace::None, ..Connection::demo() };
    let tenant = demo::client(simulate::start(simulator).await?, &connection).await?;
    let options = exporter::Options {
        services: exporter::Service::ALL.to_vec(),
        selection: archive::Selection::default(),
        concurrency: 16,
        spool: spool.clone(),
        align: None,
        include_recoverable: false,
        vcard: archive::VCard::default(),
        tenant: tenant.name.clone(),
        states: None,
        plugins: plugin_host::Chain::default(),
        without_message_delta: false,
    };
    let directory = tempfile::tempdir_in(&spool.dir).map_err(failed)?;
    let file = directory.path().join("demo.tar");
    export::to_file(&file, &tenant, options, None).await?;
    std::fs::File::open(&file).and_then(Region::whole).map_err(failed)
}

/// There is none in this build.
#[cfg(not(feature = "demo"))]
pub(super) async fn archive(_: &SpoolOptions) -> Result<Region, Failure> {
    Err(Failure::usage("this build has no demo tenant").hint("name an archive"))
}
