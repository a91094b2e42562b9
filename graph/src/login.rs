//! Asking for a token.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::{
    AuthType, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointNotSet, EndpointSet,
    RefreshToken, Scope, TokenResponse as _, TokenUrl,
};
use url::Url;
use uuid::Uuid;

use crate::assertion::ClientCertificate;
use crate::config::Config;
use crate::counters::Tally;
use crate::credential::Credential;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Exchange, SIGN_IN};
use crate::imds::Imds;
use crate::link::segment;
use crate::retry::{Attempts, jitter};
use crate::token::Token;
use crate::transport::Transport;

/// Life of a token whose answer does not tell: the shortest a tenant can set (FACTS 1.7).
const SHORTEST_LIFE: Duration = Duration::from_secs(600);

/// How this app gets its tokens. `Debug` shows no secret.
#[derive(Debug)]
pub(crate) struct Login {
    tenant: String,
    patience: Duration,
    sign_in_patience: Duration,
    signed_in: AtomicBool,
    backoff: Duration,
    way: Way,
    tally: Arc<Tally>,
}

#[derive(Debug)]
enum Way {
    Entra(Arc<Entra>),
    ManagedIdentity(Imds),
}

/// An `oauth2` client whose endpoints are known.
pub(crate) type OauthClient =
    BasicClient<EndpointNotSet, EndpointSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// The login host of a cloud.
#[derive(Debug)]
pub(crate) struct Entra {
    pub(crate) http: reqwest::Client,
    pub(crate) tally: Arc<Tally>,
    client_id: String,
    /// The audience of an assertion as well (FACTS 1.3).
    token_url: String,
    client: OauthClient,
    pub(crate) scope: String,
    proof: Proof,
}

enum Proof {
    Secret(String),
    Certificate(Box<ClientCertificate>),
    Federated(PathBuf),
    Device {
        prompt: Box<dyn Fn(&str) + Send + Sync>,
        /// The newest one: it may rotate (FACTS 1.6).
        refresh: Mutex<Option<RefreshToken>>,
    },
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proof::Secret(_) => "Secret",
            Proof::Certificate(_) => "Certificate",
            Proof::Federated(_) => "Federated",
            Proof::Device { .. } => "Device",
        })
    }
}

impl Login {
    pub(crate) fn new(
        config: &Config,
        credential: Credential,
        transport: &Transport,
        tally: Arc<Tally>,
    ) -> Result<Login, Error> {
        let entra = |client_id, proof| {
            let entra = Entra::new(config, client_id, proof, transport, Arc::clone(&tally))?;
            Ok(Way::Entra(Arc::new(entra)))
        };
        let way = match credential {
            Credential::Secret { client_id, secret } => entra(client_id, Proof::Secret(secret)),
            Credential::Certificate { client_id, pem, legacy } => {
                let certificate = ClientCertificate::parse(&pem, legacy)?;
                entra(client_id, Proof::Certificate(Box::new(certificate)))
            }
            Credential::FederatedToken { client_id, file } => {
                entra(client_id, Proof::Federated(file))
            }
            Credential::DeviceCode { client_id, prompt } => {
                entra(client_id, Proof::Device { prompt, refresh: Mutex::default() })
            }
            Credential::ManagedIdentity { client_id, endpoint } => {
                let http = transport.local.clone();
                let imds = Imds::new(config, http, client_id, endpoint, Arc::clone(&tally))?;
                Ok(Way::ManagedIdentity(imds))
            }
        }?;
        Ok(Login {
            tenant: config.tenant.clone(),
            patience: config.patience,
            sign_in_patience: config.sign_in_patience,
            signed_in: AtomicBool::new(false),
            backoff: config.backoff,
            way,
            tally,
        })
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        match &self.way {
            Way::Entra(entra) => Some(&entra.client_id),
            Way::ManagedIdentity(imds) => imds.client_id(),
        }
    }

    /// The configured tenant, if that is its id.
    pub(crate) fn tenant_id(&self) -> Option<String> {
        Uuid::parse_str(&self.tenant).is_ok().then(|| self.tenant.clone())
    }

    pub(crate) fn certificate_expiry(&self) -> Option<DateTime<Utc>> {
        match &self.way {
            Way::Entra(entra) => match &entra.proof {
                Proof::Certificate(certificate) => Some(certificate.expiry()),
                _ => None,
            },
            Way::ManagedIdentity(_) => None,
        }
    }

    /// A new token. What is over soon is waited for, as long as our patience lasts.
    pub(crate) async fn token(&self) -> Result<Token, Error> {
        let entra = match &self.way {
            Way::Entra(entra) => entra,
            Way::ManagedIdentity(imds) => return imds.token().await,
        };
        let patience = match self.signed_in.load(Ordering::Relaxed) {
            true => self.patience,
            false => self.sign_in_patience,
        };
        let mut tries = Attempts::new(patience, self.backoff);
        loop {
            let refused = match entra.ask().await {
                Ok(token) => {
                    self.signed_in.store(true, Ordering::Relaxed);
                    return Ok(token);
                }
                Err(refused) => refused,
            };
            let id = Uuid::new_v4();
            match refused.trouble.and_then(|trouble| tries.after(trouble, jitter(id))) {
                Some(wait) => {
                    self.tally.retry();
                    self.tally.wait(wait).await;
                }
                None => return Err(refused.error.with_retries(tries.retries)),
            }
        }
    }
}

/// A request for a token that failed, and whether it may succeed later.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) error: Error,
    pub(crate) trouble: Option<crate::retry::Trouble>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused { error, trouble: None }
    }
}

impl Entra {
    fn new(
        config: &Config,
        client_id: String,
        proof: Proof,
        transport: &Transport,
        tally: Arc<Tally>,
    ) -> Result<Entra, Error> {
        let bad = |error| Error::new(ErrorKind::Configuration, "read the login URL").because(error);
        let authority = match &config.login_url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("https://{}", config.cloud.login_host())).map_err(bad)?,
        };
        let authority = authority.as_str().trim_end_matches('/');
        let base = format!("{authority}/{}/oauth2/v2.0", segment(&config.tenant));
        let token_url = format!("{base}/token");
        let device_url = DeviceAuthorizationUrl::new(format!("{base}/devicecode")).map_err(bad)?;
        let mut client = BasicClient::new(ClientId::new(client_id.clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(TokenUrl::new(token_url.clone()).map_err(bad)?)
            .set_device_authorization_url(device_url);
        if let Proof::Secret(secret) = &proof {
            client = client.set_client_secret(ClientSecret::new(secret.clone()));
        }
        let http = transport.service.clone();
        let scope = config.cloud.scope();
        Ok(Entra { http, tally, client_id, token_url, client, scope, proof })
    }

    /// The secret that no message may repeat.
    pub(crate) fn secret(&self) -> Option<&str> {
        match &self.proof {
            Proof::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    pub(crate) fn client(&self) -> &OauthClient {
        &self.client
    }

    async fn ask(self: &Arc<Self>) -> Result<Token, Refused> {
        let asked = Instant::now();
        let exchange = Exchange::new(self);
        let answer = match &self.proof {
            Proof::Secret(_) => self.client_credentials(&exchange, None).await?,
            Proof::Certificate(certificate) => {
                let assertion = certificate.sign(&self.client_id, &self.token_url)?;
                self.client_credentials(&exchange, Some(assertion)).await?
            }
            Proof::Federated(file) => {
                let assertion = read_assertion(file).await?;
                self.client_credentials(&exchange, Some(assertion)).await?
            }
            Proof::Device { prompt, refresh } => {
                let known = refresh.lock().unwrap_or_else(|p| p.into_inner()).clone();
                let answer = match known {
                    Some(known) => self.refresh(&exchange, &known).await?,
                    None => exchange.device_code(prompt.as_ref()).await?,
                };
                if let Some(newest) = answer.refresh_token() {
                    let mut refresh = refresh.lock().unwrap_or_else(|p| p.into_inner());
                    *refresh = Some(newest.clone());
                }
                answer
            }
        };
        // A person needs minutes to sign in; the token is newer than the question.
        let asked = exchange.last_sent().unwrap_or(asked);
        let life = answer.expires_in().unwrap_or(SHORTEST_LIFE);
        Ok(Token::new(answer.access_token().secret(), life, asked, exchange.server_date())?)
    }

    /// FACTS 1.2, and with an assertion 1.3 and 1.4.
    async fn client_credentials(
        &self,
        exchange: &Exchange,
        assertion: Option<String>,
    ) -> Result<BasicTokenResponse, Refused> {
        let mut request =
            self.client.exchange_client_credentials().add_scope(Scope::new(self.scope.clone()));
        if let Some(assertion) = assertion {
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            request = request
                .add_extra_param("client_assertion_type", kind)
                .add_extra_param("client_assertion", assertion);
        }
        request.request_async(exchange).await.map_err(|error| exchange.refused(error))
    }

    /// FACTS 1.6.
    async fn refresh(
        &self,
        exchange: &Exchange,
        token: &RefreshToken,
    ) -> Result<BasicTokenResponse, Refused> {
        let request = self.client.exchange_refresh_token(token);
        let request = request
            .add_scope(Scope::new(self.scope.clone()))
            .add_scope(Scope::new("offline_access".to_owned()));
        request.request_async(exchange).await.map_err(|error| exchange.refused(error))
    }
}

/// Read again for every request: the token in it is short-lived (FACTS 1.4).
async fn read_assertion(file: &PathBuf) -> Result<String, Error> {
    let unreadable = || Error::new(ErrorKind::Local, SIGN_IN).at(file.display().to_string());
    let read = tokio::fs::read_to_string(file).await;
    let assertion = read.map_err(|error| unreadable().because(error))?.trim().to_owned();
    if assertion.is_empty() {
        return Err(unreadable().with_message("the federated token file is empty"));
    }
    Ok(assertion)
}
