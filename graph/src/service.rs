//! The service itself.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use url::Url;

use crate::Json;
use crate::body::Body;
use crate::call::{Call, Purpose};
use crate::config::Config;
use crate::counters::{Counters, Tally};
use crate::credential::Credential;
use crate::download::Download;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::identity::Identity;
use crate::link::{DeltaLink, Root, segment};
use crate::login::Login;
use crate::page::Pages;
use crate::prefer::Prefer;
use crate::scope::Scope;
use crate::throttle::Pacer;
use crate::token::Tokens;
use crate::transport::Transport;

/// Microsoft Graph for one app in one tenant. Clones share everything.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) engine: Arc<Engine>,
    certificate_expiry: Option<DateTime<Utc>>,
}

impl Graph {
    /// Checks configuration and credential; asks nobody.
    pub fn new(config: Config, credential: Credential) -> Result<Graph, Error> {
        let service = match &config.graph_url {
            Some(url) => url.clone(),
            None => Url::parse(config.cloud.graph_root()).map_err(bad_root)?,
        };
        let plain = service.username().is_empty() && service.password().is_none();
        let plain = plain && service.query().is_none() && service.fragment().is_none();
        if service.host().is_none() || !plain {
            let error = Error::new(ErrorKind::Configuration, "read the Graph URL");
            return Err(error.with_message("it must be like https://graph.microsoft.com"));
        }
        let transport = Transport::new(&config)?;
        let tally = Arc::new(Tally::default());
        let login = Login::new(&config, credential, &transport, Arc::clone(&tally))?;
        let host = service.host_str().unwrap_or_default();
        let pacer = Pacer::new(&config, host, login.client_id().unwrap_or("managed identity"));
        let engine = Engine {
            root: Root::new(&service),
            pacer,
            patience: config.patience,
            backoff: config.backoff,
            rooms: Arc::new(tokio::sync::Semaphore::new(crate::engine::ROOMS)),
            transport,
            tally,
            tokens: Tokens::new(login),
        };
        let certificate_expiry = engine.tokens.login().certificate_expiry();
        Ok(Graph { engine: Arc::new(engine), certificate_expiry })
    }

    /// Fetches a token now, to find out before anything else whether that works.
    pub async fn sign_in(&self) -> Result<Identity, Error> {
        let token = self.engine.tokens.get().await?;
        Ok(token.identity(self.engine.tokens.login()))
    }

    /// When the client certificate ends, if there is one.
    pub fn certificate_expiry(&self) -> Option<DateTime<Utc>> {
        self.certificate_expiry
    }

    /// One object. `path` is below `/v1.0`, with query; ids in it go through [`segment`].
    pub async fn get(&self, scope: &Scope, path: &str, prefer: Prefer) -> Result<Json, Error> {
        let mut call = self.call("get", Purpose::Object, scope.clone(), path)?;
        call.prefer = prefer;
        let (json, _) = self.engine.json(&mut call, |text| serde_json::from_str(text)).await?;
        Ok(json)
    }

    /// A list, or the first round of a delta.
    pub fn pages(&self, scope: Scope, path: &str, prefer: Prefer) -> Pages {
        let call = self.call("list", Purpose::FirstPage, scope, path);
        Pages::new(Arc::clone(&self.engine), call.map(|call| Call { prefer, ..call }))
    }

    /// A later round of a delta, or a restart that [`ErrorKind::SyncStateLost`] names.
    pub fn delta_from(&self, scope: Scope, link: &DeltaLink, prefer: Prefer) -> Pages {
        let url = self.engine.root.follow(link.as_str());
        let call = url.map(|url| Call {
            operation: "list changes",
            purpose: Purpose::NextPage,
            scope,
            url,
            prefer,
            write: None,
        });
        Pages::new(Arc::clone(&self.engine), call)
    }

    /// The raw content of a message or attachment: a path that ends in `/$value` (FACTS 4.1, 4.2).
    pub async fn value(&self, scope: &Scope, path: &str) -> Result<Body, Error> {
        let call = self.call("read", Purpose::Value, scope.clone(), path)?;
        Body::open(Arc::clone(&self.engine), call).await
    }

    /// The current content of a file (FACTS 4.3).
    pub async fn open_file(&self, drive: &str, item: &str) -> Result<Download, Error> {
        let path = format!("/drives/{}/items/{}/content", segment(drive), segment(item));
        let call = self.call("download", Purpose::Content, Scope::SharePoint, &path)?;
        Download::open(Arc::clone(&self.engine), call, 0, self.engine.attempts()).await
    }

    /// The same with few tries, for content that the service often does not give (parts of
    /// notebooks, FACTS 3.6).
    pub async fn open_file_briefly(&self, drive: &str, item: &str) -> Result<Download, Error> {
        let path = format!("/drives/{}/items/{}/content", segment(drive), segment(item));
        let call = self.call("download", Purpose::Content, Scope::SharePoint, &path)?;
        Download::open(Arc::clone(&self.engine), call, 0, self.engine.attempts().brief()).await
    }

    /// The content of an earlier version (FACTS 4.5), from `offset` on.
    pub async fn open_version(
        &self,
        drive: &str,
        item: &str,
        version: &str,
        offset: u64,
    ) -> Result<Download, Error> {
        let (drive, item, version) = (segment(drive), segment(item), segment(version));
        let path = format!("/drives/{drive}/items/{item}/versions/{version}/content");
        let call = self.call("download version", Purpose::Content, Scope::SharePoint, &path)?;
        Download::open(Arc::clone(&self.engine), call, offset, self.engine.attempts()).await
    }

    /// What has been asked of the service so far.
    pub fn counters(&self) -> Counters {
        self.engine.tally.snapshot()
    }

    pub(crate) fn call(
        &self,
        operation: &'static str,
        purpose: Purpose,
        scope: Scope,
        path: &str,
    ) -> Result<Call, Error> {
        let url = self.engine.root.resolve(path)?;
        Ok(Call { operation, purpose, scope, url, prefer: Prefer::none(), write: None })
    }
}

fn bad_root(error: url::ParseError) -> Error {
    Error::new(ErrorKind::Configuration, "read the Graph URL").because(error)
}
