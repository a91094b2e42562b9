//! `simulate`: a Microsoft 365 on loopback, until it is interrupted.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use simulator::connect::serve_connect;
use simulator::tls::Authority;
use simulator::{Fault, Kind, Limits, Options, Profile, Simulator, Windows};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::cli::Simulate;
use crate::exit::{Code, Failure};
use crate::terminal::Data;

pub(super) async fn run(args: Simulate) -> Result<Code, Failure> {
    let mut data = Data::new();
    if args.fault.iter().any(|fault| fault == "help") {
        for kind in Kind::ALL {
            data.line(kind.name())?;
        }
        data.finish()?;
        return Ok(Code::Success);
    }
    let simulator = Arc::new(start(options(&args)?).await?);
    for (name, value) in environment(&simulator) {
        data.line(&format!("export {name}='{}'", value.replace('\'', r"'\''")))?;
    }
    let front = match (&args.connect, &args.tls_ca) {
        (Some(address), Some(file)) => Some(connect(*address, file, &simulator, &mut data).await?),
        _ => None,
    };
    data.line("# ready")?;
    data.finish()?;
    let failed = |error: std::io::Error| Failure::because(Code::Fatal, "watching signals", &error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    front.inspect(JoinHandle::abort);
    Ok(Code::Success)
}

/// A proxy that answers for the real host names, over TLS, for clients whose service roots can't
/// be set.
async fn connect(
    address: SocketAddr,
    ca_file: &Path,
    simulator: &Arc<Simulator>,
    data: &mut Data,
) -> Result<JoinHandle<()>, Failure> {
    let authority = Authority::new(std::iter::empty::<String>())
        .map_err(|error| Failure::because(Code::Fatal, "making certificates", &error))?;
    std::fs::write(ca_file, authority.ca_pem()).map_err(|error| {
        Failure::because(Code::Usage, &format!("writing {}", ca_file.display()), &error)
    })?;
    let failed = |error: std::io::Error| {
        Failure::because(Code::Usage, &format!("listening on {address}"), &error)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    data.line("# for the real host names, in place of the two URLs above:")?;
    data.line(&format!(
        "# export HTTPS_PROXY='http://{address}' TAR365_CA_CERTIFICATE='{}'",
        ca_file.display()
    ))?;
    let simulator = Arc::clone(simulator);
    Ok(tokio::spawn(async move {
        let router_for = move |host: &str| simulator.router_for(host);
        let _ = serve_connect(listener, router_for, &authority).await;
    }))
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
    let mut options = Options {
        listen: args.listen,
        download_listen: args.download_listen,
        seed: args.seed,
        users: args.users,
        special_users: !args.ordinary,
        mails: args.mails,
        files: args.files,
        events: args.events,
        contacts: args.contacts,
        tasks: args.tasks,
        groups: args.groups,
        big_file: args.big_file.map(|size| size.as_u64()),
        profile: if args.nasty { Profile::Nasty } else { Profile::Plain },
        content: args.content.clone(),
        faults: faults.collect::<Result<_, _>>()?,
        fault_seed: args.fault_seed,
        page_cap: args.page_cap,
        reorder: args.reorder,
        forget_content_over: args.forget_content_over.map(|size| size.as_u64()),
        latency: args.latency,
        token_lifetime: args.token_lifetime,
        url_lifetime: args.url_lifetime,
        ..Options::default()
    };
    if args.writable {
        options.credentials = simulator::Credentials::restoring();
    }
    options.limits = (!args.no_limits).then(|| limits(args));
    Ok(options)
}

fn limits(args: &Simulate) -> Limits {
    let mut limits = Limits::documented(args.licences.unwrap_or(args.users));
    limits.clock_scale = args.clock_scale;
    if args.fixed_windows {
        limits.windows = Windows::Fixed;
    }
    if let Some(sharepoint) = &mut limits.sharepoint {
        sharepoint.others = args.others;
    }
    limits
}
