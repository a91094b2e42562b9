//! How the app proves who it is.

use std::fmt;
use std::path::PathBuf;

use url::Url;

/// One of the ways to get a token. `Debug` shows no secret.
#[non_exhaustive]
pub enum Credential {
    /// Client credentials with a secret (FACTS 1.2).
    Secret {
        /// Application id.
        client_id: String,
        /// The secret's value, not its id.
        secret: String,
    },
    /// Client credentials with a signed assertion (FACTS 1.3).
    Certificate {
        /// Application id.
        client_id: String,
        /// Certificate and RSA private key, in any order.
        pem: Vec<u8>,
        /// `RS256` and the SHA-1 thumbprint `x5t` instead of `PS256` and `x5t#S256`.
        legacy: bool,
    },
    /// A token of another issuer in place of the assertion (FACTS 1.4).
    FederatedToken {
        /// Application id.
        client_id: String,
        /// Read again for every token request: its content is short-lived.
        file: PathBuf,
    },
    /// The identity of the machine in Azure (FACTS 1.5).
    ManagedIdentity {
        /// For a user-assigned identity.
        client_id: Option<String>,
        /// In place of `http://169.254.169.254`.
        endpoint: Option<Url>,
    },
    /// A person signs in with a browser elsewhere (FACTS 1.6).
    DeviceCode {
        /// Application id.
        client_id: String,
        /// Shows the person what to do.
        prompt: Box<dyn Fn(&str) + Send + Sync>,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, client_id) = match self {
            Credential::Secret { client_id, .. } => ("Secret", Some(client_id)),
            Credential::Certificate { client_id, .. } => ("Certificate", Some(client_id)),
            Credential::FederatedToken { client_id, .. } => ("FederatedToken", Some(client_id)),
            Credential::ManagedIdentity { client_id, .. } => {
                ("ManagedIdentity", client_id.as_ref())
            }
            Credential::DeviceCode { client_id, .. } => ("DeviceCode", Some(client_id)),
        };
        f.debug_struct(kind).field("client_id", &client_id).finish_non_exhaustive()
    }
}
