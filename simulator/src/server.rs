//! Listening, and everything that happens to a request before and after its route.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use http::{Request, Response, header};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::authority::Authority;
use crate::call::{Call, Roots};
use crate::faults::Faults;
use crate::log::{Host, Log, Record};
use crate::routes::attachment_upload::Sessions;
use crate::routes::{self, Outcome};
use crate::spool::Spool;
use crate::tenant::Tenant;
use crate::throttle::Throttle;
use crate::tickets::Tickets;
use crate::tls::OverTls;
use crate::{Error, Options};

/// Everything the routes share.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) tenant: Tenant,
    pub(crate) authority: Authority,
    pub(crate) faults: Faults,
    pub(crate) throttle: Throttle,
    pub(crate) tickets: Tickets,
    /// Where what clients write is put.
    pub(crate) spool: Spool,
    /// Attachments on their way.
    pub(crate) sessions: Sessions,
    pub(crate) log: Arc<Log>,
    download: String,
}

/// A running simulator. It ends when it is shut down or dropped.
pub struct Simulator {
    world: Arc<World>,
    root: String,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a simulator.
///
/// # Errors
/// If a listener cannot be had, a certificate is none, or the content folder cannot be read.
pub async fn serve(options: Options) -> Result<Simulator, Error> {
    let bind = async |address| {
        let failed = |source| Error::Io { what: format!("listen on {address}"), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok::<_, Error>((listener, format!("http://{address}")))
    };
    let (listener, root) = bind(options.listen).await?;
    let (download_listener, download) = bind(options.download_listen).await?;
    let log = Arc::new(Log::new(options.log_capacity));
    let world = Arc::new(World {
        tenant: Tenant::new(&options)?,
        authority: Authority::new(
            options.credentials.clone(),
            options.token_lifetime,
            options.seed,
        )?,
        faults: Faults::new(options.fault_seed, options.faults.clone()),
        throttle: Throttle::new(&options, Arc::clone(&log))?,
        tickets: Tickets::new(options.seed, options.url_lifetime),
        spool: Spool::default(),
        sessions: Sessions::default(),
        log,
        download,
        options,
    });
    let tasks = vec![
        tokio::spawn(listen(listener, router(&world, Door::Service))),
        tokio::spawn(listen(download_listener, router(&world, Door::Download))),
    ];
    Ok(Simulator { world, root, tasks })
}

async fn listen(listener: TcpListener, router: Router) {
    let served = crate::tls::accept(listener, |stream| {
        let service = TowerToHyperService::new(router.clone());
        async move {
            let _ = stream.set_nodelay(true);
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that goes away, or was sent away by a fault, is nobody's concern.
            let _ = connection.await;
        }
    });
    if let Err(error) = served.await {
        tracing::error!(%error, "listener failed");
    }
}

/// Which of the simulated hosts a connection reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Graph, login and IMDS: told apart by path.
    Service,
    Download,
}

fn router(world: &Arc<World>, door: Door) -> Router {
    Router::new().fallback(handle).with_state((Arc::clone(world), door))
}

impl Simulator {
    /// The root of Graph, without `/v1.0`.
    pub fn graph_url(&self) -> String {
        self.root.clone()
    }

    /// The authority host, without the tenant.
    pub fn login_url(&self) -> String {
        self.root.clone()
    }

    /// The machine's identity endpoint, to be used instead of `http://169.254.169.254`.
    pub fn imds_url(&self) -> String {
        self.root.clone()
    }

    /// The root of the host that hands out files.
    pub fn download_url(&self) -> String {
        self.world.download.clone()
    }

    /// The tenant's GUID.
    pub fn tenant_id(&self) -> String {
        self.world.authority.credentials.tenant_id.clone()
    }

    /// The application's GUID.
    pub fn client_id(&self) -> String {
        self.world.authority.credentials.client_id.clone()
    }

    /// The application's secret.
    pub fn client_secret(&self) -> String {
        self.world.authority.credentials.client_secret.clone()
    }

    /// The tenant, to look at and to change.
    pub fn tenant(&self) -> &Tenant {
        &self.world.tenant
    }

    /// What clients did.
    pub fn log(&self) -> &Log {
        &self.world.log
    }

    /// Puts other faults in force.
    pub fn set_faults(&self, faults: Vec<crate::Fault>) {
        self.world.faults.replace(faults);
    }

    /// Changes the limits from now on, as the service may without notice.
    ///
    /// # Errors
    /// If a factor makes no sense.
    pub fn set_factors(&self, factors: crate::Factors) -> Result<(), Error> {
        self.world.throttle.set_factors(factors)
    }

    /// What answers for a host name, for fronts that take the place of the real addresses:
    /// `*.sharepoint.com` hands out files, every other name is the service.
    pub fn router_for(&self, host: &str) -> Router {
        let download = host.to_lowercase().ends_with(".sharepoint.com");
        router(&self.world, if download { Door::Download } else { Door::Service })
    }

    /// Closes the listeners and every connection.
    pub async fn shutdown(mut self) {
        for task in &mut self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn handle(
    State((world, door)): State<(Arc<World>, Door)>,
    request: Request<Body>,
) -> Response<Body> {
    let arrived = Instant::now();
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let tls = parts.extensions.get::<OverTls>().is_some();
    let name = parts.headers.get(header::HOST).and_then(|name| name.to_str().ok());
    let roots = world.roots(tls, name.unwrap_or("localhost"));
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let host = host_of(door, target);
    let mut call = Call::new(host, parts.method, target, parts.headers, body, roots);
    call.arrived = arrived;
    let mut outcome = routes::answer(&world, &call);
    let delay = world.options.latency;
    if !delay.is_zero() && host != Host::Control {
        tokio::time::sleep(delay).await;
    }
    world.write_down(&call, &outcome);
    let gzip = world.options.gzip && call.accepts_gzip() && host != Host::Download;
    routes::stamp(&call, &mut outcome.reply);
    outcome.reply.into_response(gzip, outcome.slot)
}

fn host_of(door: Door, target: &str) -> Host {
    let path = target.split('?').next().unwrap_or_default();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match (door, first) {
        (_, "_sim") => Host::Control,
        (Door::Download, _) => Host::Download,
        (_, "metadata") => Host::Imds,
        (_, "v1.0" | "beta") => Host::Graph,
        _ => Host::Login,
    }
}

impl World {
    fn roots(&self, tls: bool, name: &str) -> Roots {
        if let Some(public) = &self.options.public {
            return Roots {
                graph: public.graph.clone(),
                login: public.login.clone(),
                download: public.download.clone(),
            };
        }
        if tls {
            let root = format!("https://{name}");
            let tenant = self.tenant.domain.split('.').next().unwrap_or("contoso");
            return Roots {
                graph: root.clone(),
                login: root,
                download: format!("https://{tenant}-my.sharepoint.com"),
            };
        }
        let root = format!("http://{name}");
        Roots { graph: root.clone(), login: root, download: self.download.clone() }
    }

    /// Enters a request and its outcome in the log.
    pub(crate) fn write_down(&self, call: &Call, outcome: &Outcome) {
        let secret = |pair: &str| {
            let hidden = ["tempauth=", "authtoken=", "client_secret="];
            match hidden.iter().find(|key| pair.starts_with(**key)) {
                Some(key) => format!("{key}(hidden)"),
                None => pair.to_owned(),
            }
        };
        let record = Record {
            seq: 0,
            at: 0,
            host: call.host,
            method: call.method.to_string(),
            path: call.path.clone(),
            query: call.raw_query.split('&').map(secret).collect::<Vec<_>>().join("&"),
            status: if outcome.reply.reset { 0 } else { outcome.reply.status.as_u16() },
            owner: outcome.owner.clone(),
            fault: outcome.fault.map(|kind| kind.name().to_owned()),
            authorization: call.headers.contains_key(header::AUTHORIZATION),
            prefer: call.header("prefer").map(str::to_owned),
            batched: call.batched,
            during_retry_after: outcome.told,
            user_agent: call.header("user-agent").unwrap_or_default().to_owned(),
        };
        if let (Some(units), Some(owner)) = (outcome.units, &outcome.owner) {
            self.log.charge(owner, units);
        }
        self.log.add(record, outcome.provoked);
    }
}
