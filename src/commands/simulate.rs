//! `simulate`: a Microsoft 365 on loopback, until it is interrupted.

use simulator::{Fault, Options, Profile, Simulator};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Simulate;
use crate::exit::{Code, Failure};
use crate::terminal::Data;

pub(super) async fn run(args: Simulate) -> Result<Code, Failure> {
    if args.fault.iter().any(|fault| fault == "help") {
        let mut data = Data::new();
        for (name, what) in Fault::NAMES {
            data.line(&format!("{name:<16} {what}"))?;
        }
        data.finish()?;
        return Ok(Code::Success);
    }
    let simulator = start(options(&args)?).await?;
    let mut data = Data::new();
    for (name, value) in environment(&simulator) {
        data.line(&format!("export {name}='{}'", value.replace('\'', r"'\''")))?;
    }
    if let Some(file) = &args.tls_ca {
        std::fs::write(file, simulator.ca_pem().unwrap_or_default()).map_err(|error| {
            Failure::because(Code::Usage, &format!("writing {}", file.display()), &error)
        })?;
        data.line(&format!("export TAR365_CA_CERTIFICATE='{}'", file.display()))?;
    }
    if let Some(address) = simulator.connect_address() {
        data.line(&format!("# HTTPS_PROXY=http://{address} answers for the real host names"))?;
    }
    data.line("# ready")?;
    data.finish()?;
    let failed = |error: std::io::Error| Failure::because(Code::Fatal, "watching signals", &error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    simulator.shutdown().await;
    Ok(Code::Success)
}

pub(super) async fn start(options: Options) -> Result<Simulator, Failure> {
    simulator::serve(options)
        .await
        .map_err(|error| Failure::because(Code::Usage, "starting the simulator", &error))
}

/// What a client needs to reach it, in the contract's names.
pub(super) fn environment(simulator: &Simulator) -> [(&'static str, String); 5] {
    [
        ("TAR365_TENANT_ID", simulator.tenant_id()),
        ("TAR365_CLIENT_ID", simulator.client_id()),
        ("TAR365_CLIENT_SECRET", simulator.client_secret()),
        ("TAR365_GRAPH_URL", simulator.graph_url()),
        ("TAR365_LOGIN_URL", simulator.login_url()),
    ]
}

fn options(args: &Simulate) -> Result<Options, Failure> {
    let faults = args.fault.iter().map(|text| {
        text.parse::<Fault>().map_err(|error| {
            Failure::because(Code::Usage, &format!("--fault {text}"), &error)
                .hint("`--fault help` lists the faults")
        })
    });
    let mut options = Options::default();
    options.listen = args.listen;
    options.download_listen = args.download_listen;
    options.seed = args.seed;
    options.users = args.users;
    options.special_users = !args.ordinary;
    options.mails = args.mails;
    options.files = args.files;
    options.big_file = args.big_file.map(|size| size.as_u64());
    options.profile = if args.nasty { Profile::Nasty } else { Profile::Plain };
    options.content.clone_from(&args.content);
    options.faults = faults.collect::<Result<_, _>>()?;
    options.fault_seed = args.fault_seed;
    options.page_cap = args.page_cap;
    options.reorder = args.reorder;
    options.token_lifetime = args.token_lifetime;
    options.url_lifetime = args.url_lifetime;
    options.tls = args.tls_ca.is_some();
    options.connect_listen = args.connect;
    if args.no_limits {
        options.limits = None;
    }
    Ok(options)
}
