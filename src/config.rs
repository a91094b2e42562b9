//! From flags and environment to a [`Graph`], and from flags to a selection.

use std::path::{Path, PathBuf};

use archive::Selection;
use archive::select::parse_instant;
use graph::{Config, Credential, Graph};

use crate::cli::{Cloud, Connection, Pace, SelectionArgs};
use crate::exit::{Code, Failure};

/// A signed-in client.
pub(crate) struct Tenant {
    pub(crate) graph: Graph,
    pub(crate) identity: graph::Identity,
    /// The tenant as the archive's head names it: its id where known, else as configured.
    pub(crate) name: String,
    /// True where messages have no delta (FACTS 10).
    pub(crate) without_message_delta: bool,
    /// Keeps the embedded simulator alive.
    #[cfg(feature = "demo")]
    pub(crate) simulator: Option<simulator::Simulator>,
}

/// Connects as the flags say, and signs in.
pub(crate) async fn connect(connection: &Connection) -> Result<Tenant, Failure> {
    #[cfg(feature = "demo")]
    if connection.demo {
        return crate::commands::demo::tenant(connection).await;
    }
    let config = config(connection)?;
    let name = config.tenant.clone();
    sign_in(config, credential(connection)?, name, connection).await
}

pub(crate) async fn sign_in(
    mut config: Config,
    credential: Credential,
    name: String,
    connection: &Connection,
) -> Result<Tenant, Failure> {
    if let Some(patience) = connection.patience {
        config.patience = patience;
        config.sign_in_patience = patience;
    }
    let graph = Graph::new(config, credential).map_err(|error| unusable(error, connection))?;
    let identity = graph.sign_in().await?;
    Ok(Tenant {
        graph,
        name: identity.tenant_id.clone().unwrap_or(name),
        identity,
        without_message_delta: connection.cloud == Cloud::China,
        #[cfg(feature = "demo")]
        simulator: None,
    })
}

/// Names the file that the client could not use.
fn unusable(error: graph::Error, connection: &Connection) -> Failure {
    let (what, file, hint) = match error.kind() {
        graph::ErrorKind::CaCertificate => (
            "the CA certificate",
            &connection.ca_certificate,
            "TAR365_CA_CERTIFICATE is a PEM file with one or more certificates",
        ),
        graph::ErrorKind::Configuration => (
            "the client certificate",
            &connection.client_certificate,
            "TAR365_CLIENT_CERTIFICATE is a PEM file with the certificate and its unencrypted RSA \
             private key: `cat app.crt app.key > app.pem`",
        ),
        _ => return error.into(),
    };
    match file {
        Some(file) => {
            let doing = format!("using {what} {}", file.display());
            Failure::because(Code::Usage, &doing, &error).hint(hint)
        }
        None => error.into(),
    }
}

/// What the flags say of the service, without the tenant's secrets.
pub(crate) fn config(connection: &Connection) -> Result<Config, Failure> {
    let Some(tenant) = connection.tenant_id.clone().filter(|id| !id.is_empty()) else {
        return Err(Failure::usage("no tenant is named")
            .hint("set TAR365_TENANT_ID, or try `--demo`; doc/tenant-setup.md tells how to register the app"));
    };
    let mut config = Config::new(tenant);
    config.cloud = match connection.cloud {
        Cloud::Global => graph::Cloud::Global,
        Cloud::GccHigh => graph::Cloud::GccHigh,
        Cloud::Dod => graph::Cloud::Dod,
        Cloud::China => graph::Cloud::China,
    };
    config.graph_url.clone_from(&connection.graph_url);
    config.login_url.clone_from(&connection.login_url);
    for url in [&connection.graph_url, &connection.login_url].into_iter().flatten() {
        check_url(url)?;
    }
    if let Some(file) = &connection.ca_certificate {
        config.ca_certificates_pem = Some(read(file, "the CA certificate")?);
    }
    pace(&mut config, connection);
    if config.pace_dir.is_none() && !connection.graph_url.as_ref().is_some_and(is_loopback) {
        config.pace_dir = Some(pace_dir());
    }
    Ok(config)
}

/// A secret or token on an unencrypted network is everybody's.
fn check_url(url: &url::Url) -> Result<(), Failure> {
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(Failure::usage(format!("{url} is no address of a service"))
            .hint("TAR365_GRAPH_URL and TAR365_LOGIN_URL are https URLs"));
    }
    if url.scheme() != "https" && !is_loopback(url) {
        let host = url.host_str().unwrap_or_default();
        let text = format!("tar365: warning: credentials and content go to {host} unencrypted");
        crate::terminal::line(&text);
    }
    Ok(())
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Where the processes of this user on this host share limits, unless told otherwise.
fn pace_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(runtime) => PathBuf::from(runtime).join("tar365"),
        None => {
            let user = rustix::process::geteuid().as_raw();
            std::env::temp_dir().join(format!("tar365-{user}"))
        }
    }
}

/// How fast the flags allow us to be.
pub(crate) fn pace(config: &mut Config, connection: &Connection) {
    if let Some(user_agent) = &connection.user_agent {
        config.user_agent.clone_from(user_agent);
    }
    config.pace = match connection.pace {
        Pace::Documented => graph::Pace::Documented,
        Pace::Adaptive => graph::Pace::Adaptive,
        Pace::None => graph::Pace::None,
    };
    config.budgets.clone_from(&connection.budget);
    config.licences = connection.licences;
    config.throttle_share = connection.throttle_share.unwrap_or(Config::THROTTLE_SHARE);
    config.pace_dir.clone_from(&connection.pace_dir);
}

pub(crate) fn read(file: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| {
        Failure::because(Code::Usage, &format!("reading {what} {}", file.display()), &error)
            .hint("is the path right, and may this user read it?")
    })
}

/// The credential that is configured; the more specific one wins: managed identity, device code,
/// certificate, federated token, secret.
fn credential(connection: &Connection) -> Result<Credential, Failure> {
    if connection.managed_identity {
        let client_id = connection.client_id.clone().filter(|id| !id.is_empty());
        let endpoint = connection.imds_url.clone();
        return Ok(Credential::ManagedIdentity { client_id, endpoint });
    }
    let Some(client_id) = connection.client_id.clone().filter(|id| !id.is_empty()) else {
        return Err(Failure::usage("no application is named")
            .hint("set TAR365_CLIENT_ID to the application (client) id of the app registration"));
    };
    if connection.device_code {
        let prompt = Box::new(|message: &str| crate::terminal::line(message));
        return Ok(Credential::DeviceCode { client_id, prompt });
    }
    if let Some(file) = &connection.client_certificate {
        let pem = read(file, "the client certificate")?;
        return Ok(Credential::Certificate { client_id, pem, legacy: connection.legacy_assertion });
    }
    if let Some(file) = &connection.federated_token_file {
        // Read again for every token; this only tells a wrong path now.
        read(file, "the federated token")?;
        return Ok(Credential::FederatedToken { client_id, file: file.clone() });
    }
    let secret = match &connection.client_secret_file {
        Some(file) => String::from_utf8(read(file, "the client secret")?)
            .map_err(|_| Failure::usage(format!("{} is not text", file.display())))?
            .trim_end_matches(['\r', '\n'])
            .to_owned(),
        None => std::env::var("TAR365_CLIENT_SECRET").unwrap_or_default(),
    };
    if secret.is_empty() {
        return Err(Failure::usage("no credential is given").hint(
            "set TAR365_CLIENT_CERTIFICATE, TAR365_FEDERATED_TOKEN_FILE or TAR365_CLIENT_SECRET, \
             or use --managed-identity or --device-code",
        ));
    }
    Ok(Credential::Secret { client_id, secret })
}

/// The selection as the archive crate knows it.
pub(crate) fn selection(args: &SelectionArgs) -> Result<Selection, Failure> {
    let instant = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => parse_instant(text).map(Some).map_err(Failure::from),
    };
    let selection = Selection {
        services: args.service.iter().cloned().collect(),
        users: args.user.clone(),
        groups: args.group.clone(),
        include: args.include.clone(),
        exclude: args.exclude.clone(),
        since: instant(&args.since)?,
        until: instant(&args.until)?,
        ..Selection::default()
    };
    selection.compile()?;
    Ok(selection)
}

/// The services to export, and whether they were named.
pub(crate) fn services(args: &SelectionArgs) -> Result<(Vec<exporter::Service>, bool), Failure> {
    if args.service.is_empty() {
        return Ok((exporter::Service::ALL.to_vec(), false));
    }
    let named = args.service.iter().map(|name| {
        exporter::Service::from_name(name).ok_or_else(|| {
            let known: Vec<_> = exporter::Service::ALL.iter().map(|s| s.name()).collect();
            Failure::usage(format!("no service is called {name:?}"))
                .hint(format!("services are: {}", known.join(", ")))
        })
    });
    Ok((named.collect::<Result<_, _>>()?, true))
}
