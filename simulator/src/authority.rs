//! Access tokens: who gets one, what stands in it, and whether it still counts.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::pem::Pem;

use crate::call::{Roots, fresh_guid};
use crate::error::Refusal;
use crate::options::Credentials;
use crate::{Error, dice};

pub(crate) struct Authority {
    pub(crate) credentials: Credentials,
    certificates: Vec<Certificate>,
    key: [u8; 32],
    lifetime: Duration,
    revoked: Mutex<HashSet<u64>>,
    pub(crate) grants: Mutex<Grants>,
}

/// Device codes waiting for the user and refresh tokens given out.
#[derive(Default)]
pub(crate) struct Grants {
    pub(crate) devices: HashMap<String, DeviceGrant>,
    /// Refresh token to scope; each is good once.
    pub(crate) refresh: HashMap<String, String>,
}

pub(crate) struct DeviceGrant {
    pub(crate) polls_left: u32,
    pub(crate) scope: String,
}

struct Certificate {
    sha256: String,
    sha1: String,
    key: DecodingKey,
    until: i64,
}

/// Who is asking.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    /// Application roles, or the scopes of a delegated token.
    pub(crate) granted: Vec<String>,
    /// The signed-in user's id in a delegated token.
    pub(crate) user: Option<String>,
}

impl Identity {
    pub(crate) fn has(&self, any: &[&str]) -> bool {
        let delegated = |wanted: &str, held: &str| {
            let short = |name: &str| name.trim_end_matches(".All").to_owned();
            self.user.is_some() && short(wanted) == short(held)
        };
        any.iter()
            .any(|wanted| self.granted.iter().any(|held| held == wanted || delegated(wanted, held)))
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    /// Opaque to clients; holds the exact end, in milliseconds.
    aio: String,
    app_displayname: String,
    appid: String,
    appidacr: String,
    idtyp: String,
    oid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scp: Option<String>,
    sub: String,
    tid: String,
    uti: String,
    ver: String,
}

#[derive(Deserialize)]
struct Assertion {
    sub: String,
    iss: String,
    aud: String,
    /// JWT dates are numbers, and some libraries send fractions.
    exp: f64,
    nbf: Option<f64>,
}

/// An OAuth error: code, AADSTS number, text.
pub(crate) struct OauthError {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) number: u32,
    pub(crate) text: String,
}

pub(crate) fn oauth(
    status: u16,
    error: &'static str,
    number: u32,
    text: impl Into<String>,
) -> OauthError {
    OauthError { status, error, number, text: text.into() }
}

impl Authority {
    pub(crate) fn new(
        credentials: Credentials,
        lifetime: Duration,
        seed: u64,
    ) -> Result<Authority, Error> {
        let pems = credentials.certificates.iter().map(|pem| certificate(pem));
        let certificates = pems.collect::<Result<_, _>>()?;
        let key = Sha256::digest(format!("token key {seed}")).into();
        Ok(Authority {
            credentials,
            certificates,
            key,
            lifetime,
            revoked: Mutex::default(),
            grants: Mutex::default(),
        })
    }

    pub(crate) fn lifetime(&self) -> u64 {
        self.lifetime.as_secs()
    }

    /// A token for the application, or for a user who signed in.
    pub(crate) fn mint(&self, roots: &Roots, delegated: Option<(&str, &str)>) -> String {
        let credentials = &self.credentials;
        let now = Utc::now();
        let end = now.timestamp_millis() + self.lifetime.as_millis() as i64;
        let principal = dice::guid(&[dice::text(&credentials.client_id)]);
        let oid = delegated.map_or(principal, |(user, _)| user.to_owned());
        let roles = (delegated.is_none() && !credentials.roles.is_empty())
            .then(|| credentials.roles.clone());
        let claims = Claims {
            aud: roots.graph.clone(),
            iss: format!("https://sts.windows.net/{}/", credentials.tenant_id),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: end / 1000,
            aio: format!("k2{end:x}"),
            app_displayname: "tar365".into(),
            appid: credentials.client_id.clone(),
            appidacr: "1".into(),
            idtyp: if delegated.is_some() { "user" } else { "app" }.into(),
            oid: oid.clone(),
            roles,
            scp: delegated.map(|(_, scope)| scope.to_owned()),
            sub: oid,
            tid: credentials.tenant_id.clone(),
            uti: fresh_guid(),
            ver: "1.0".into(),
        };
        jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(&self.key))
            .expect("claims serialise")
    }

    /// Who a token belongs to, if it still counts.
    pub(crate) fn identify(&self, token: Option<&str>) -> Result<Identity, Refusal> {
        let refused = |message: &str| {
            Refusal::new(401, "InvalidAuthenticationToken", message).with_header(
                "www-authenticate",
                "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", client_id=\"00000003-0000-0000-c000-000000000000\"",
            )
        };
        let token = token.ok_or_else(|| refused("Access token is empty."))?;
        let mut checks = Validation::new(Algorithm::HS256);
        checks.validate_aud = false;
        checks.validate_exp = false;
        let key = DecodingKey::from_secret(&self.key);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &checks)
            .map_err(|_| refused("IDX14100: JWT is not well formed or its signature is invalid."))?
            .claims;
        let end = i64::from_str_radix(claims.aio.trim_start_matches("k2"), 16).unwrap_or(0);
        let revoked = self.revoked.lock().expect("no panic under this lock");
        if Utc::now().timestamp_millis() >= end || revoked.contains(&dice::text(token)) {
            return Err(refused("Lifetime validation failed, the token is expired."));
        }
        let scopes = |text: String| text.split(' ').map(String::from).collect();
        let user = claims.scp.is_some().then_some(claims.oid);
        let granted = claims.roles.or(claims.scp.map(scopes)).unwrap_or_default();
        Ok(Identity { granted, user })
    }

    /// From now on this token is worth nothing.
    pub(crate) fn revoke(&self, token: &str) {
        self.revoked.lock().expect("no panic under this lock").insert(dice::text(token));
    }

    /// Checks a client's secret.
    pub(crate) fn check_secret(&self, secret: &str) -> Result<(), OauthError> {
        let credentials = &self.credentials;
        if secret != credentials.client_secret {
            let text = "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app";
            let text = format!("{text} '{}'.", credentials.client_id);
            return Err(oauth(401, "invalid_client", 7_000_215, text));
        }
        match credentials.secret_expires {
            Some(end) if end <= Utc::now() => {
                let text = format!(
                    "The provided client secret keys for app '{}' are expired. Visit the Azure portal to create new keys for your app.",
                    credentials.client_id
                );
                Err(oauth(401, "invalid_client", 7_000_222, text))
            }
            _ => Ok(()),
        }
    }

    /// Checks a signed assertion, or a token of an outside issuer, made out to `audiences`.
    pub(crate) fn check_assertion(
        &self,
        assertion: &str,
        audiences: &[String],
    ) -> Result<(), OauthError> {
        if self.credentials.federated_tokens.iter().any(|token| token == assertion) {
            return Ok(());
        }
        let invalid = |number, text: &str| oauth(401, "invalid_client", number, text);
        let header = jsonwebtoken::decode_header(assertion)
            .map_err(|_| invalid(50_027, "JWT token is invalid or malformed."))?;
        // Some libraries pad the thumbprint, which the service does not mind.
        let thumbprint = header.x5t_s256.or(header.x5t).unwrap_or_default();
        let thumbprint = thumbprint.trim_end_matches('=');
        let named = |c: &&Certificate| c.sha256 == thumbprint || c.sha1 == thumbprint;
        let unknown = || {
            invalid(
                700_027,
                "The certificate with identifier used to sign the client assertion is not registered on application.",
            )
        };
        let certificate = self.certificates.iter().find(named).ok_or_else(unknown)?;
        if !matches!(header.alg, Algorithm::PS256 | Algorithm::RS256) {
            return Err(invalid(5_002_738, "Invalid JWT token. The algorithm is not supported."));
        }
        let mut checks = Validation::new(header.alg);
        checks.validate_aud = false;
        checks.validate_exp = false;
        let claims = jsonwebtoken::decode::<Assertion>(assertion, &certificate.key, &checks)
            .map_err(|_| invalid(700_027, "Client assertion failed signature validation."))?
            .claims;
        let now = Utc::now().timestamp() as f64;
        if certificate.until as f64 <= now {
            return Err(invalid(
                700_027,
                "The certificate used to sign the client assertion is expired on application.",
            ));
        }
        if claims.exp <= now || claims.nbf.is_some_and(|start| start > now + 300.0) {
            let text = "Client assertion is not within its valid time range.";
            return Err(invalid(700_024, text));
        }
        let client = &self.credentials.client_id;
        if claims.iss != *client || claims.sub != *client {
            return Err(invalid(
                700_021,
                "Client assertion application identifier doesn't match 'client_id' parameter.",
            ));
        }
        if !audiences.contains(&claims.aud) {
            return Err(invalid(
                700_023,
                "Client assertion audience claim does not match Realm issuer.",
            ));
        }
        Ok(())
    }
}

fn certificate(pem: &str) -> Result<Certificate, Error> {
    let wrong = |why: String| Error::Setting(format!("certificate: {why}"));
    let blocks = Pem::iter_from_buffer(pem.as_bytes());
    let block = blocks
        .filter_map(Result::ok)
        .find(|block| block.label == "CERTIFICATE")
        .ok_or_else(|| wrong("no CERTIFICATE block".into()))?;
    let parsed = block.parse_x509().map_err(|e| wrong(e.to_string()))?;
    let public = &parsed.public_key().subject_public_key.data;
    let base64 = data_encoding::BASE64URL_NOPAD;
    Ok(Certificate {
        sha256: base64.encode(&Sha256::digest(&block.contents)),
        sha1: base64.encode(&sha1(&block.contents)),
        key: DecodingKey::from_rsa_der(public),
        until: parsed.validity().not_after.timestamp(),
    })
}

/// SHA-1, which only old thumbprints need.
fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut w = [0_u32; 80];
        for (word, four) in w.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes(four.try_into().expect("four bytes"));
        }
        for i in 16..80 {
            w[i] = (w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16]).rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (i, word) in w.iter().enumerate() {
            let (f, k) = match i / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e);
            let next = next.wrapping_add(k).wrapping_add(*word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (into, from) in state.iter_mut().zip([a, b, c, d, e]) {
            *into = into.wrapping_add(from);
        }
    }
    let mut out = [0; 20];
    for (four, word) in out.chunks_exact_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::sha1;

    #[test]
    fn thumbprints() {
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&sha1(bytes));
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(&[b'a'; 1000]), "291e9a6c66994949b57ba5e650361e98fc36b1ba");
    }
}
