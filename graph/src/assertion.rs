//! A certificate as credential: the signed assertion (FACTS 1.3, RFC 7523).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto, encode};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::{Error, ErrorKind};

/// Life of an assertion: Entra takes 5 to 10 minutes.
const LIFE_SECONDS: i64 = 600;

/// A certificate with its key. `Debug` does not show the key.
pub(crate) struct ClientCertificate {
    header: Header,
    key: EncodingKey,
    expiry: DateTime<Utc>,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: i64,
    iat: i64,
    exp: i64,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}

impl ClientCertificate {
    /// The first certificate of `pem` and the private key that belongs to it.
    pub(crate) fn parse(pem: &[u8], legacy: bool) -> Result<ClientCertificate, Error> {
        let der = CertificateDer::from_pem_slice(pem)
            .map_err(|error| unusable("no readable CERTIFICATE in the PEM").because(error))?;
        let (_, certificate) = X509Certificate::from_der(&der)
            .map_err(|error| unusable("the CERTIFICATE in the PEM is damaged").because(error))?;
        let key = private_key(pem)?;
        let algorithm = if legacy { Algorithm::RS256 } else { Algorithm::PS256 };
        let public = DecodingKey::from_rsa_der(&certificate.public_key().subject_public_key.data);
        check_pair(&key, &public, algorithm)?;
        let mut header = Header::new(algorithm);
        if legacy {
            header.x5t = Some(thumbprint_sha1(&der));
        } else {
            header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(Sha256::digest(&der)));
        }
        let expiry = certificate.validity().not_after.timestamp();
        let expiry = DateTime::from_timestamp(expiry, 0)
            .ok_or_else(|| unusable("the certificate has no sensible end"))?;
        Ok(ClientCertificate { header, key, expiry })
    }

    pub(crate) fn expiry(&self) -> DateTime<Utc> {
        self.expiry
    }

    /// A fresh assertion of `client_id` for the token endpoint `audience`.
    pub(crate) fn sign(&self, client_id: &str, audience: &str) -> Result<String, Error> {
        let now = Utc::now().timestamp();
        let claims = Claims {
            aud: audience,
            iss: client_id,
            sub: client_id,
            jti: Uuid::new_v4().to_string(),
            nbf: now,
            iat: now,
            exp: now + LIFE_SECONDS,
        };
        encode(&self.header, &claims, &self.key)
            .map_err(|error| unusable("the private key does not sign").because(error))
    }
}

fn unusable(why: &str) -> Error {
    Error::new(ErrorKind::Configuration, "read the client certificate").with_message(why)
}

fn private_key(pem: &[u8]) -> Result<EncodingKey, Error> {
    if pem.windows(26).any(|part| part == b"BEGIN ENCRYPTED PRIVATE KE") {
        return Err(unusable("the private key in the PEM is encrypted: decrypt it first"));
    }
    let key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| unusable("no readable PRIVATE KEY in the PEM").because(error))?;
    let text = match key {
        // `jsonwebtoken` wants PKCS#1 as DER and takes PKCS#8 only as PEM.
        PrivateKeyDer::Pkcs1(key) => return Ok(EncodingKey::from_rsa_der(key.secret_pkcs1_der())),
        PrivateKeyDer::Pkcs8(key) => pkcs8_pem(key.secret_pkcs8_der()),
        _ => return Err(unusable("the private key in the PEM is no RSA key")),
    };
    EncodingKey::from_rsa_pem(text.as_bytes())
        .map_err(|error| unusable("the private key in the PEM is no RSA key").because(error))
}

fn pkcs8_pem(der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for line in body.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END PRIVATE KEY-----\n"
}

/// Found here, a wrong key costs a second; found by the service, a night.
fn check_pair(key: &EncodingKey, public: &DecodingKey, algorithm: Algorithm) -> Result<(), Error> {
    let probe = b"probe";
    let signature = crypto::sign(probe, key, algorithm)
        .map_err(|error| unusable("the private key does not sign").because(error))?;
    match crypto::verify(&signature, probe, public, algorithm) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(unusable("the private key does not belong to the certificate")),
    }
}

/// The thumbprint that older pages describe.
fn thumbprint_sha1(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    URL_SAFE_NO_PAD.encode(digest)
}
