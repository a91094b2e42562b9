//! Whom to trust: the roots of the system, Mozilla's, and those of a CA file. A self-signed server
//! certificate that stands in the CA file itself is trusted by name, as towards Graph.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::Error;

const HINT: &str = "give a PEM file of CA certificates";

/// TLS as a client, with the certificates of a PEM file as further roots.
pub(super) fn config(pem: Option<&[u8]>) -> Result<ClientConfig, Error> {
    let unusable = |what: String| Error::Usage {
        what: format!("the CA certificates are of no use: {what}"),
        hint: HINT,
    };
    let mut extra = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.unwrap_or_default()) {
        extra.push(der.map_err(|error| unusable(error.to_string()))?);
    }
    if pem.is_some() && extra.is_empty() {
        return Err(unusable("there is none".to_owned()));
    }
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // Certificates of the system that nobody can parse are nobody's concern here.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in &extra {
        roots.add(certificate.clone()).map_err(|error| unusable(error.to_string()))?;
    }
    let provider = Arc::new(ring::default_provider());
    let by_path =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(error.to_string()))?;
    let verifier = Named { by_path, named: extra, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

/// Path validation, and certificates trusted by name.
#[derive(Debug)]
struct Named {
    by_path: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Named {
    /// Whether it is, byte for byte, one of the CA file, valid now and for the name.
    fn is_named(
        &self,
        certificate: &CertificateDer<'_>,
        server: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<bool, rustls::Error> {
        if !self.named.iter().any(|named| named.as_ref() == certificate.as_ref()) {
            return Ok(false);
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, server)?;
        let bad = || rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| bad())?;
        let seconds = i64::try_from(now.as_secs()).map_err(|_| bad())?;
        let validity = parsed.validity();
        if seconds < validity.not_before.timestamp() {
            return Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYet));
        }
        if seconds > validity.not_after.timestamp() {
            return Err(rustls::Error::InvalidCertificate(CertificateError::Expired));
        }
        Ok(true)
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.by_path.verify_server_cert(certificate, intermediates, server, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.is_named(certificate, server, now)? =>
            {
                Ok(ServerCertVerified::assertion())
            }
            by_path => by_path,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
